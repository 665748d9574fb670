"""Recurrent machine: a restricted Boltzmann machine at each step, whose biases depend on a recurrent state.

If ``u`` is the state before a frame, the frame's machine has the visible biases ``vbias + u Wuv`` and the hidden biases
``hbias + u Wuh``; the cell then computes the next state from ``u`` and the frame (Boulanger-Lewandowski, Bengio and
Vincent 2012). Everything except the recurrence itself is computed for the frames of all steps at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from deepbelief.backends import Backend, Product
from deepbelief.errors import DataError
from deepbelief.fields import Fields, restoring
from deepbelief.machine import Machine, Workspace
from deepbelief.recurrent.cells import get_cell
from deepbelief.seeds import host_rng
from deepbelief.stack import State, Weights, weights_from_state
from deepbelief.typing import DeviceArray, FloatArray, StrDict

NAMES = ("Wuv", "Wuh", "Wvu", "Wuu", "ubias", "u0")
INPUT_SPREAD = 0.1  # standard deviation of the initial weights from frames to states


@dataclass(frozen=True, eq=False)
class RecurrentWeights:
    """Host values of a recurrent machine.

    Parameters
    ----------
    frame : Weights
        W and the biases shared by all frames.
    Wuv : ndarray of shape (n_recurrent, n_visible)
    Wuh : ndarray of shape (n_recurrent, n_hidden)
    Wvu : ndarray of shape (n_visible, n_gates * n_recurrent)
    Wuu : ndarray of shape (n_recurrent, n_gates * n_recurrent)
    ubias : ndarray of shape (n_gates * n_recurrent,)
    u0 : ndarray of shape (n_recurrent,)
        State before the first frame.
    cell : str
        Name of the recurrent cell.
    """

    frame: Weights
    Wuv: FloatArray
    Wuh: FloatArray
    Wvu: FloatArray
    Wuu: FloatArray
    ubias: FloatArray
    u0: FloatArray
    cell: str = "tanh"

    def __post_init__(self) -> None:
        """Check that the shapes agree."""
        if self.u0.ndim != 1:
            raise DataError(f"u0 must have 1 dimension, got shape {self.u0.shape}")
        n, gates = self.n_recurrent, get_cell(self.cell).n_gates
        shapes: dict[str, tuple[int, ...]] = {"Wuv": (n, self.frame.n_visible), "Wuh": (n, self.frame.n_hidden)}
        shapes |= {"Wvu": (self.frame.n_visible, gates * n), "Wuu": (n, gates * n), "ubias": (gates * n,), "u0": (n,)}
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise DataError(f"{name} must have shape {shape}, got {getattr(self, name).shape}")

    @property
    def n_recurrent(self) -> int:
        """Number of recurrent units."""
        return int(self.u0.shape[0])

    def arrays(self) -> dict[str, FloatArray]:
        """Return all arrays except those of the frames' machine, by name."""
        return {f.name: a for f in fields(self) if isinstance(a := getattr(self, f.name), np.ndarray)}


def recurrent_state(weights: RecurrentWeights) -> State:
    """Return a recurrent machine as nested plain values and arrays."""
    return {**vars(weights), "frame": dict(vars(weights.frame))}


def recurrent_from_state(state: State) -> RecurrentWeights:
    """Rebuild a machine from the values of `recurrent_state`; raise FileFormatError if they are not valid."""
    state = Fields.of(state)
    frame = weights_from_state(state.fields("frame"))
    arrays = {name: state.array(name) for name in NAMES}
    with restoring(state.where):
        return RecurrentWeights(frame, **arrays, cell=state.text("cell"))


def initial_recurrent(frame: Weights, n_recurrent: int, cell: str, seed: int) -> RecurrentWeights:
    """Return an initial machine, whose biases do not yet depend on the states and whose states decay slowly.

    The weights from frames to states are small; those from states to biases start at 0.
    """
    rng, kind, dtype = host_rng(seed, "recurrent weights"), get_cell(cell), frame.W.dtype
    n_inputs = kind.n_gates * n_recurrent

    def zeros(*shape: int) -> FloatArray:
        return np.zeros(shape, dtype)

    Wuu = kind.initial(n_recurrent, rng).astype(dtype)
    Wvu = rng.normal(0, INPUT_SPREAD, (frame.n_visible, n_inputs)).astype(dtype)
    ubias = kind.initial_bias(n_recurrent).astype(dtype)
    return RecurrentWeights(
        frame, zeros(n_recurrent, frame.n_visible), zeros(n_recurrent, frame.n_hidden), Wvu, Wuu, ubias,
        zeros(n_recurrent), kind.name,
    )  # fmt: skip


class RecurrentMachine:
    """Recurrent machine with its parameters on a device.

    Parameters
    ----------
    weights : RecurrentWeights
        Initial values on the host; they are not modified.
    bk : Backend
    """

    def __init__(self, weights: RecurrentWeights, bk: Backend) -> None:
        self.bk = bk
        self.machine = Machine(weights.frame, bk)
        self.dtype = self.machine.dtype
        self.cell = get_cell(weights.cell)
        self.n_recurrent = weights.n_recurrent
        self._host = weights
        self.Wuv, self.Wuh, self.Wvu, self.Wuu, self.ubias, self.u0 = (
            bk.asarray(getattr(weights, name).astype(self.dtype, copy=True)) for name in NAMES
        )
        self._space = Workspace(bk, self.dtype)
        self._room = [bk.xp.empty_like(p) for p in self.params]
        self._v: DeviceArray = None

    @property
    def params(self) -> list[DeviceArray]:
        """Return W, vbias, hbias, Wuv, Wuh, Wvu, Wuu, ubias and u0."""
        return [*self.machine.params, self.Wuv, self.Wuh, self.Wvu, self.Wuu, self.ubias, self.u0]

    def weights(self) -> RecurrentWeights:
        """Return the parameters as host values."""
        arrays: StrDict = {name: self.bk.to_numpy(getattr(self, name)).copy() for name in NAMES}
        return replace(self._host, frame=self.machine.weights(), **arrays)

    def forward(self, v: DeviceArray, entering: DeviceArray, steps: Sequence[int]) -> DeviceArray:
        """Run the recurrence over the packed frames of a minibatch of windows.

        Parameters
        ----------
        v : array of shape (n_frames, n_visible)
            Packed by step, as in `WindowPlan`.
        entering : array of shape (n_windows, n_recurrent)
            States before the windows.
        steps : sequence of int
            Number of windows that run at each step; it never increases.

        Returns
        -------
        array of shape (n_windows, n_recurrent)
            States after the windows. The attributes `before` and `after` hold the states before and after each frame
            until the next call.
        """
        bk, xp, space = self.bk, self.bk.xp, self._space
        n, width = len(v), self.Wuu.shape[1]
        self._v, self._steps = v, steps
        x = self._x = xp.matmul(v, self.Wvu, out=space("x", n, width))
        x += self.ubias
        a = self._a = space("a", n, width)
        self.before, self.after = (space(name, n, self.n_recurrent) for name in ("before", "after"))
        leaving = space("leaving", *entering.shape)
        state, start = entering, 0
        for running, following in zip(steps, [*steps[1:], 0], strict=True):
            rows = slice(start, start + running)
            state = state[:running]
            self.before[rows] = state
            xp.matmul(state, self.Wuu, out=a[rows])
            self.cell.forward(bk, x[rows], a[rows], state, self.after[rows])
            state = self.after[rows]
            if following < running:
                leaving[following:running] = state[following:]
            start += running
        return leaving

    def driven(self) -> Machine:
        """Return the machines of the frames of the last `forward` as one machine with separate biases for each row."""
        return self.driven_by(self.before, self._space)

    def driven_by(self, before: DeviceArray, space: Workspace) -> Machine:
        """Return the machines of frames, given the states before them, as one with biases for each row."""
        xp, machine, n = self.bk.xp, self.machine, len(before)
        vbias = xp.matmul(before, self.Wuv, out=space("vbias", n, self.Wuv.shape[1]))
        vbias += machine.vbias
        hbias = xp.matmul(before, self.Wuh, out=space("hbias", n, self.Wuh.shape[1]))
        hbias += machine.hbias
        return machine.with_biases(vbias, hbias)

    def backward(
        self, frame: tuple[DeviceArray | Product, DeviceArray, DeviceArray], first: DeviceArray
    ) -> list[DeviceArray | Product]:
        """Return the gradients of `params`, by backpropagation through the steps of the windows.

        Parameters
        ----------
        frame : tuple
            Gradients of W and of the biases of each frame, of shape (n_frames, n_visible) and (n_frames, n_hidden).
        first : array of shape (n_windows, 1)
            1 for windows at the beginning of a sequence, which start from ``u0``; 0 for others, where the gradient is
            truncated.
        """
        xp, space, room = self.bk.xp, self._space, self._room
        dW, dv, dh = frame
        n = len(dv)
        up = xp.matmul(dv, self.Wuv.T, out=space("up", n, self.n_recurrent))
        up += xp.matmul(dh, self.Wuh.T, out=space("up_hidden", n, self.n_recurrent))
        dx, da, entering = self._through_time(up, len(first))
        xp.sum(dv, axis=0, out=room[1])
        xp.sum(dh, axis=0, out=room[2])
        xp.sum(dx, axis=0, out=room[7])
        xp.matmul(first[:, 0], entering, out=room[8])
        products = ((self.before, dv), (self.before, dh), (self._v, dx), (self.before, da))
        middle = [Product(*pair, room[i]) for i, pair in enumerate(products, 3)]
        return [dW, room[1], room[2], *middle, room[7], room[8]]

    def _through_time(self, up: DeviceArray, n_windows: int) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
        """Return the gradients with respect to the gates' inputs and the states before the windows.

        ``up`` is the gradient with respect to the state before each frame, through the frame's biases.
        """
        xp, space, cell = self.bk.xp, self._space, self.cell
        dx = space("dx", *self._x.shape)
        da = space("da", *self._x.shape) if cell.splits else dx
        g, through = (space(name, n_windows, self.n_recurrent) for name in ("g", "through"))
        g.fill(0)
        stop, Wuu = len(up), self.Wuu.T
        for running in reversed(self._steps):
            rows, running_g = slice(stop - running, stop), g[:running]
            cell.backward(
                self.bk, running_g, self._x[rows], self._a[rows], self.before[rows], self.after[rows], dx[rows],
                da[rows],
            )  # fmt: skip
            running_g += xp.matmul(da[rows], Wuu, out=through[:running])
            running_g += up[rows]
            stop -= running
        return dx, da, g

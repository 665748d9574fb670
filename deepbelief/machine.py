"""One restricted Boltzmann machine on a device: conditionals, free energy, sufficient statistics."""

from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import replace
from typing import cast

import numpy as np

from deepbelief.backends import Backend, Product, Rng
from deepbelief.stack import Weights
from deepbelief.typing import Array, DeviceArray, DtypeLike
from deepbelief.units import get_unit
from deepbelief.units.unit import Parametrised


class Workspace:
    """Named device buffers that grow to the largest number of rows asked for and are then reused."""

    def __init__(self, bk: Backend, dtype: DtypeLike) -> None:
        self._bk = bk
        self._dtype = dtype
        self._buffers: dict[str, DeviceArray] = {}

    def __call__(self, name: str, rows: int, columns: int) -> DeviceArray:
        """Return an array of this shape; the same memory, and what it held, for the same name."""
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < rows:
            grown = self._buffers[name] = self._bk.xp.empty((rows, columns), self._dtype)
            if buffer is not None:
                grown[: len(buffer)] = buffer  # a minibatch may lie there already
            buffer = grown
        return buffer[:rows]


class Machine:
    """A restricted Boltzmann machine with its parameters on a device.

    Rows ``v`` are of shape (n_rows, n_visible), hidden states ``h`` of shape (n_rows, n_hidden), as device
    arrays of the machine's dtype, already scaled by the layer's ``mean`` and ``scale``. Hidden states are computed
    from sparse rows too.

    Parameters
    ----------
    weights : Weights
        Initial values on the host; they are not modified.
    bk : Backend
    dtype : numpy dtype
        float32, or float64 for exact work.
    fixed : bool, default=False
        Whether the parameters stay as they are. On a backend of the host they are then the caller's own arrays, since a
        copy of the weights takes longer than the hidden means of one row.
    """

    def __init__(self, weights: Weights, bk: Backend, dtype: DtypeLike | None = None, *, fixed: bool = False) -> None:
        self.bk = bk
        self.dtype = weights.W.dtype if dtype is None else dtype
        self.visible = get_unit(weights.visible)
        self.hidden = get_unit(weights.hidden)
        self._host = weights
        self._base_vbias: DeviceArray = None
        self.hidden_parameters: DeviceArray = None
        if self.hidden.parameters:
            own = weights.hidden_parameters
            if own is None:
                own = cast(Parametrised, self.hidden).initial_parameters(weights.n_hidden)
            self._bind(bk.asarray(own.astype(self.dtype, copy=not fixed)))
        self.visible_mean: DeviceArray = None if weights.visible_mean is None else bk.asarray(weights.visible_mean)
        # Copies, where the parameters move in place: they must not move the caller's values.
        self.W, self.vbias, self.hbias = (
            bk.asarray(a.astype(self.dtype, copy=not fixed)) for a in (weights.W, weights.vbias, weights.hbias)
        )

    def _bind(self, hidden_parameters: DeviceArray) -> None:
        """Take these parameters of hidden units, which have them as they move in place."""
        self.hidden_parameters = hidden_parameters
        self.hidden = cast(Parametrised, self.hidden).bound(hidden_parameters)

    @property
    def params(self) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
        """Return (W, vbias, hbias)."""
        return self.W, self.vbias, self.hbias

    def copy(self) -> "Machine":
        """Return a machine with a copy of the parameters."""
        other = copy(self)
        other.W, other.vbias, other.hbias = (p.copy() for p in self.params)
        if self.hidden_parameters is not None:
            other._bind(self.hidden_parameters.copy())
        return other

    def enter(self, v: DeviceArray) -> DeviceArray:
        """Return device rows in the units of the data as they enter the machine."""
        if self._host.mean is None or self._host.scale is None:
            return v
        return (v - self.bk.asarray(self._host.mean)) / self.bk.asarray(self._host.scale)

    def leave(self, v: DeviceArray) -> DeviceArray:
        """Return device rows of the machine in the units of the data."""
        if self._host.mean is None or self._host.scale is None:
            return v
        return v * self.bk.asarray(self._host.scale) + self.bk.asarray(self._host.mean)

    def rescale(self, factor: Array) -> None:
        """Let rows enter divided by this host vector beside their scale; the parameters stay."""
        host = self._host
        mean = np.zeros_like(host.vbias) if host.mean is None else host.mean
        scale = np.ones_like(host.vbias) if host.scale is None else host.scale
        self._host = replace(host, mean=mean, scale=(scale * factor).astype(scale.dtype))

    @property
    def base_vbias(self) -> DeviceArray:
        """Visible biases that fit the data's column means where W = 0; 0 where these are not known."""
        if self._base_vbias is None:
            mean = self._host.visible_mean
            base = np.zeros(len(self.vbias)) if mean is None else self.visible.initial_bias(mean.astype(np.float64))
            self._base_vbias = self.bk.asarray(np.asarray(base, dtype=self.dtype))
        return self._base_vbias

    def with_biases(self, vbias: DeviceArray, hbias: DeviceArray) -> "Machine":
        """Return a machine of the same weights with other biases, which may be one for each row.

        Conditionals and free energy take either; the sums of `statistics` are those of biases shared by all rows.
        """
        other = copy(self)
        other.vbias, other.hbias = vbias, hbias
        return other

    def weights(self) -> Weights:
        """Return the parameters as host values."""
        to_numpy, own = self.bk.to_numpy, self.hidden_parameters
        return replace(
            self._host, W=to_numpy(self.W).copy(), vbias=to_numpy(self.vbias).copy(), hbias=to_numpy(self.hbias).copy(),
            hidden_parameters=None if own is None else to_numpy(own).copy(),
        )  # fmt: skip

    def mean_hidden(self, v: DeviceArray, out: DeviceArray = None) -> DeviceArray:
        """Return E[h | v]."""
        return self.hidden.mean(self.bk, self.bk.matmul(v, self.W, out), self.hbias)

    def mean_visible(self, h: DeviceArray, out: DeviceArray = None) -> DeviceArray:
        """Return E[v | h]."""
        return self.visible.mean(self.bk, self.bk.matmul(h, self.W.T, out), self.vbias)

    def sample_hidden(self, v: DeviceArray, rng: Rng, out: DeviceArray, mean: DeviceArray = None) -> DeviceArray:
        """Draw h given v into ``out``, and write E[h | v] into ``mean`` if given."""
        x = self.bk.matmul(v, self.W, mean)
        return self.hidden.sample(self.bk, x, self.hbias, rng, out)

    def sample_visible(self, h: DeviceArray, rng: Rng, out: DeviceArray, mean: DeviceArray = None) -> DeviceArray:
        """Draw v given h into ``out``, and write E[v | h] into ``mean`` if given."""
        x = self.bk.matmul(h, self.W.T, mean)
        return self.visible.sample(self.bk, x, self.vbias, rng, out)

    def free_energy(self, v: DeviceArray) -> DeviceArray:
        """Return F(v) = -log sum_h exp(-E(v, h)), shape (n_rows,)."""
        return self.free_energy_of(v, v @ self.W)

    def free_energy_of(self, v: DeviceArray, x: DeviceArray) -> DeviceArray:
        """Return F(v) where the product of ``v`` and ``W`` is known."""
        return self.visible.energy(self.bk, v, self.vbias) - self.hidden.log_partition(self.bk, x + self.hbias)

    def statistics(
        self, v: DeviceArray, h: DeviceArray, row_weight: DeviceArray,
        out: tuple[DeviceArray, DeviceArray, DeviceArray], offsets: tuple[DeviceArray, DeviceArray] | None = None,
    ) -> tuple[Product, DeviceArray, DeviceArray]:  # fmt: skip
        """Return the weighted sums of dE/dparams over rows: -(v h), -v and -h.

        ``h`` is used as scratch space, and the first sum is a product of ``v`` and it. Both phases go through
        here, the negative one with negative weights: the gradient of -log p(v) is the mean of dE over the data
        less its mean over the model. With ``offsets`` the units in the product are centred: -(v - mu) (h - lambda).

        Parameters
        ----------
        v : array of shape (n_rows, n_visible)
        h : array of shape (n_rows, n_hidden)
        row_weight : array of shape (n_rows, 1)
        out : tuple of arrays shaped like `params`
        offsets : tuple of arrays of shape (n_visible,) and (n_hidden,), optional
            Subtracted from ``v`` and ``h`` in place.
        """
        xp = self.bk.xp
        negative = -row_weight
        xp.matmul(negative[:, 0], v, out=out[1])
        if offsets is None:
            self.bk.weigh(h, negative, out=out[2])
        else:
            xp.matmul(negative[:, 0], h, out=out[2])
            v -= offsets[0]
            h -= offsets[1]
            h *= negative
        return Product(v, h, out[0]), out[1], out[2]


class Layers:
    """The machines of a stack on a device, gone through upwards and downwards by their means.

    Parameters
    ----------
    stack : iterable of Weights
        From the data upwards.
    bk : Backend
    """

    def __init__(self, stack: Iterable[Weights], bk: Backend) -> None:
        self.machines = [Machine(weights, bk, fixed=True) for weights in stack]

    def up(self, v: DeviceArray) -> Iterator[DeviceArray]:
        """Yield the hidden means of each layer; ``v`` are rows as they enter the first, sparse or dense."""
        for i, machine in enumerate(self.machines):
            v = machine.mean_hidden(machine.enter(v) if i else v)
            yield v

    def down(self, h: DeviceArray, n_layers: int | None = None) -> DeviceArray:
        """Return the visible means, as rows enter the first layer, below hidden states of the top layer.

        With ``n_layers`` the states are those of the last of that number of layers.
        """
        for i in reversed(range(len(self.machines) if n_layers is None else n_layers)):
            h = self.machines[i].mean_visible(h)
            h = self.machines[i].leave(h) if i else h
        return h

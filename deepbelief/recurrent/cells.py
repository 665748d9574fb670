"""Recurrent cells, which compute a state from the previous state and the current frame."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from deepbelief.backends import Backend
from deepbelief.errors import SettingError, unknown
from deepbelief.typing import Array, DeviceArray

CLOSED = 3.0  # initial bias of the update gate: each step keeps 95 % of the state


class Cell(Protocol):
    """Interface of a recurrent cell; a new cell is one class and one entry in `CELLS`.

    A step processes a block of rows, one for each sequence. The inputs of all gates are adjacent: ``x``, computed from
    the frames, and ``a``, computed from the previous states, have shape (n_rows, n_gates * n_recurrent).
    """

    @property
    def name(self) -> str:
        """Spelling in settings and files."""

    @property
    def n_gates(self) -> int:
        """Inputs of each unit."""

    @property
    def splits(self) -> bool:
        """Whether the gradients with respect to ``a`` and ``x`` differ."""

    def initial(self, n: int, rng: np.random.Generator) -> Array:
        """Return initial recurrent weights of shape (n, n_gates * n)."""

    def initial_bias(self, n: int) -> Array:
        """Return initial biases of shape (n_gates * n,)."""

    def forward(self, bk: Backend, x: DeviceArray, a: DeviceArray, before: DeviceArray, out: DeviceArray) -> None:
        """Write the new states into ``out``, and into ``x`` and ``a`` the values that `backward` needs."""

    def backward(
        self, bk: Backend, g: DeviceArray, x: DeviceArray, a: DeviceArray, before: DeviceArray, after: DeviceArray,
        dx: DeviceArray, da: DeviceArray,
    ) -> None:  # fmt: skip
        """Write the gradients with respect to ``x`` and ``a``, given the gradient ``g`` with respect to the new states.

        ``g`` is replaced by the part of the gradient that reaches the previous states other than through ``a``.
        """


def _orthogonal(n: int, rng: np.random.Generator) -> Array:
    """Return a random rotation, which preserves the norm of a state from step to step."""
    q, r = np.linalg.qr(rng.normal(size=(n, n)))
    return np.asarray(q * np.sign(np.diag(r)))


@dataclass(frozen=True)
class Tanh:
    """``tanh(x + a)``, as in the paper (its logistic units moved to [-1, 1])."""

    name: str = "tanh"
    n_gates: int = 1
    splits: bool = False

    def initial(self, n: int, rng: np.random.Generator) -> Array:
        """Return a random rotation."""
        return _orthogonal(n, rng)

    def initial_bias(self, n: int) -> Array:
        """Return zeros."""
        return np.zeros(n)

    def forward(self, bk: Backend, x: DeviceArray, a: DeviceArray, before: DeviceArray, out: DeviceArray) -> None:
        """Write tanh(x + a)."""
        bk.xp.add(x, a, out=out)
        bk.xp.tanh(out, out=out)

    def backward(
        self, bk: Backend, g: DeviceArray, x: DeviceArray, a: DeviceArray, before: DeviceArray, after: DeviceArray,
        dx: DeviceArray, da: DeviceArray,
    ) -> None:  # fmt: skip
        """Write g (1 - after**2); the whole gradient goes through ``a``."""
        bk.xp.multiply(after, after, out=dx)
        dx *= g
        bk.xp.subtract(g, dx, out=dx)
        g.fill(0)


@dataclass(frozen=True)
class GRU:
    """Gated recurrent units, each of which keeps its state until its gate opens (Cho et al. 2014).

    The gates r and z and the candidate c are adjacent: ``c = tanh(x_c + r a_c)``, and the new state is
    ``(1 - z) c + z before``, so that a closed gate preserves state and gradient over any number of steps.
    """

    name: str = "gru"
    n_gates: int = 3
    splits: bool = True

    def initial(self, n: int, rng: np.random.Generator) -> Array:
        """Return a random rotation for each gate."""
        return np.concatenate([_orthogonal(n, rng) for _ in range(3)], axis=1)

    def initial_bias(self, n: int) -> Array:
        """Return biases that keep gates nearly closed, so that gradients reach back dozens of steps from the start."""
        return np.repeat([0.0, CLOSED, 0.0], n)

    def forward(self, bk: Backend, x: DeviceArray, a: DeviceArray, before: DeviceArray, out: DeviceArray) -> None:
        """Write (1 - z) c + z before; ``x`` then holds r, z and c."""
        n = out.shape[1]
        xp = bk.xp
        gates = x[:, : 2 * n] + a[:, : 2 * n]
        x[:, : 2 * n] = bk.sigmoid(gates)
        r, z, c = x[:, :n], x[:, n : 2 * n], x[:, 2 * n :]
        c += r * a[:, 2 * n :]
        xp.tanh(c, out=c)
        xp.subtract(before, c, out=out)
        out *= z
        out += c

    def backward(
        self, bk: Backend, g: DeviceArray, x: DeviceArray, a: DeviceArray, before: DeviceArray, after: DeviceArray,
        dx: DeviceArray, da: DeviceArray,
    ) -> None:  # fmt: skip
        """Write the gradients of the gates; z g reaches the previous states directly."""
        n = g.shape[1]
        r, z, c = x[:, :n], x[:, n : 2 * n], x[:, 2 * n :]
        dc = g * (1 - z) * (1 - c * c)
        dx[:, 2 * n :] = dc
        dx[:, :n] = dc * a[:, 2 * n :] * r * (1 - r)
        dx[:, n : 2 * n] = g * (before - c) * z * (1 - z)
        da[:, : 2 * n] = dx[:, : 2 * n]
        da[:, 2 * n :] = dc * r
        g *= z


CELLS: dict[str, type[Cell]] = {"tanh": Tanh, "gru": GRU}
"""Recurrent cells by name."""


def get_cell(cell: str | Cell) -> Cell:
    """Return the cell with this name; an instance is returned unchanged.

    Examples
    --------
    >>> get_cell("gru").n_gates
    3
    """
    if not isinstance(cell, str):
        if not hasattr(cell, "n_gates"):
            raise SettingError(f"cell must be one of {', '.join(CELLS)} or an instance, got {cell!r}")
        return cell
    if cell not in CELLS:
        raise SettingError(unknown("cell", cell, CELLS))
    return CELLS[cell]()

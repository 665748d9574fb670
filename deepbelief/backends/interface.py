"""Interface of a backend: its operations, random streams and sparse tables."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

import numpy as np

from deepbelief.typing import Array, DeviceArray, DtypeLike, StrMapping


@dataclass(frozen=True, eq=False)
class Product:
    """The matrix ``left.T @ right``, not multiplied out: a backend may add it to a velocity while it multiplies.

    Parameters
    ----------
    left : array of shape (n_rows, n_in)
    right : array of shape (n_rows, n_out)
    out : array of shape (n_in, n_out)
        Room for the product, where it is wanted as an array.
    plus : tuple of SparseRows of shape (n, n_in) and array of shape (n, n_out), optional
        A second such product that is added.
    """

    left: DeviceArray
    right: DeviceArray
    out: DeviceArray
    plus: tuple["SparseRows", DeviceArray] | None = None

    def array(self, bk: "Backend") -> DeviceArray:
        """Multiply out, into ``out``."""
        out = bk.matmul(self.left.T, self.right, self.out)
        if self.plus is not None:
            rows, right = self.plus
            rows.add_transposed(right, out)
        return out


class SparseRows(Protocol):
    """Rows on the device of which only nonzero values are stored."""

    shape: tuple[int, int]
    pays_transposed: bool  # whether `add_transposed` is faster than a product with dense rows

    def __len__(self) -> int:
        """Return the number of rows."""

    def dense(self, out: DeviceArray) -> DeviceArray:
        """Write the rows into ``out``."""

    def times(self, W: DeviceArray, out: DeviceArray | None = None) -> DeviceArray:
        """Return the rows times ``W``, in ``out`` where that is given."""

    def add_transposed(self, h: DeviceArray, out: DeviceArray, factor: float = 1) -> None:
        """Add ``factor`` times the transposed rows times ``h`` to ``out``."""


class Sparse(Protocol):
    """A table on the device of which only nonzero values are stored."""

    pays: bool  # whether it is sparse enough for products with its rows to be faster than with dense ones

    def shuffled(self, order: DeviceArray) -> "Sparse":
        """Return the rows in this order."""

    def part(self, start: int, stop: int) -> SparseRows:
        """Return consecutive rows, which may share memory."""


class Rng(Protocol):
    """A stream of random numbers on the device; every method fills ``out``."""

    def bernoulli(self, p: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Write 1 with probability ``p``, else 0 (``out`` may not be ``p``)."""

    def uniform(self, out: DeviceArray) -> DeviceArray:
        """Write draws from U[0, 1)."""

    def normal(self, out: DeviceArray) -> DeviceArray:
        """Write draws from N(0, 1)."""

    def state(self) -> StrMapping:
        """Return where the stream stands, as plain values and NumPy arrays."""

    def set_state(self, state: StrMapping) -> None:
        """Go on from where a stream stood."""


class LazyModule:
    """A module that is imported when a name of it is first looked up.

    Parameters
    ----------
    name : str

    Examples
    --------
    >>> LazyModule("math").floor(2.5)
    2
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Callable[..., DeviceArray]:
        """Return what the module has under a name."""
        return getattr(importlib.import_module(self._name), name)  # type: ignore[no-any-return]


class Backend(Protocol):
    """Interface of a backend: the namespace of its arrays, and fused steps."""

    name: str
    xp: ModuleType
    special: ModuleType | LazyModule  # namespace of special functions, named as in scipy.special
    least_batch: int  # rows in a minibatch below which the backend is not busy
    concurrent: bool  # whether several runs at a time are faster than one after another

    def asarray(self, x: DeviceArray, dtype: DtypeLike | None = None) -> DeviceArray:
        """Return ``x`` as a C-contiguous array on the device (no copy where it is one)."""

    def to_numpy(self, x: DeviceArray) -> Array:
        """Return ``x`` as a NumPy array."""

    def owns(self, x: object) -> bool:
        """Return whether ``x`` is an array of this backend's device type."""

    def sparse(self, matrix: object) -> Sparse:
        """Return a SciPy CSR matrix on the device."""

    def matmul(self, rows: DeviceArray | SparseRows, W: DeviceArray, out: DeviceArray | None = None) -> DeviceArray:
        """Return ``rows @ W``, in ``out`` where that is given."""

    def rng(self, seed: np.random.SeedSequence) -> Rng:
        """Return the random stream of this seed."""

    def take(self, rows: DeviceArray, index: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Gather rows into ``out``."""

    def sigmoid(self, x: DeviceArray, bias: DeviceArray | None = None) -> DeviceArray:
        """Replace ``x`` by ``1 / (1 + exp(-(x + bias)))``; the bias is one for all rows, or shaped like ``x``."""

    def sigmoid_sample(self, x: DeviceArray, bias: DeviceArray, rng: Rng, out: DeviceArray) -> DeviceArray:
        """Do what `sigmoid` does to ``x``, and write into ``out`` 1 with that probability, else 0."""

    def softmax(self, x: DeviceArray, bias: DeviceArray, sizes: tuple[int, ...]) -> DeviceArray:
        """Replace ``x`` by the softmax of ``x + bias`` within groups of these sizes; the bias as for `sigmoid`."""

    def log_partition(self, x: DeviceArray, sizes: tuple[int, ...]) -> DeviceArray:
        """Return the log of the sum of exponentials of each group of columns, summed over groups."""

    def one_hot_sample(self, p: DeviceArray, rng: Rng, sizes: tuple[int, ...], out: DeviceArray) -> DeviceArray:
        """Write 1 for one column of each group, drawn with the probabilities ``p``, and 0 for the others."""

    def sigmoid_backward(self, grad: DeviceArray, y: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Write ``(1 - y) * y * grad`` into ``out``, which is neither of them."""

    def weigh(self, x: DeviceArray, weight: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Multiply each row of ``x`` by its weight, of shape (n_rows, 1), and write the columns' sums into ``out``."""

    def log_odds(self, x: DeviceArray, v: DeviceArray, W: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Write what Bernoulli hidden units add to the log-odds of each visible unit given all others.

        Parameters
        ----------
        x : array of shape (n_rows, n_hidden)
            Hidden inputs of the rows.
        v : array of shape (n_rows, n_units)
            States of the units asked about, as they count in ``x``.
        W : array of shape (n_units, n_hidden)
            Their weights.
        out : array of shape (n_rows, n_units)
            The sum over hidden units of ``softplus(o + W) - softplus(o)``, with ``o = x - v W`` the hidden inputs
            while the unit is off.
        """

    def momentum_step(
        self, w: DeviceArray, velocity: DeviceArray, grad: DeviceArray | Product, rate: float, momentum: float,
        decay: float, nesterov: bool,
    ) -> None:  # fmt: skip
        """Take one step downhill.

        With ``g = rate * (grad + decay * w)``: ``velocity = momentum * velocity - g`` and ``w += velocity``;
        with ``nesterov``, ``w += momentum * velocity - g``. A ``grad`` that is an array is used as scratch space.
        """

    def adam_step(
        self, w: DeviceArray, mean: DeviceArray, square: DeviceArray, grad: DeviceArray | Product, rate: float,
        betas: tuple[float, float], epsilon: float, decay: float,
    ) -> None:  # fmt: skip
        """Take one step downhill by the gradient's running mean over its running root mean square.

        With ``g = grad + decay * w``: ``mean = beta1 * mean + (1 - beta1) * g``, ``square`` likewise of ``g**2``, and
        ``w -= rate * mean / (sqrt(square) + epsilon)``. A ``grad`` that is an array is used as scratch space.
        """

    def memory(self) -> int:
        """Return the bytes of memory that there are where arrays live."""

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked."""

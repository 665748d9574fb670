"""Interface of a backend: its operations, random streams and sparse tables."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple, Protocol

import numpy as np

from deepbelief.typing import Array, DeviceArray, DtypeLike, StrMapping


@dataclass(frozen=True, eq=False)
class Product:
    """The matrix ``left.T @ right`` in unevaluated form, so that a backend can add it to a velocity as it multiplies.

    Parameters
    ----------
    left : array of shape (n_rows, n_in)
    right : array of shape (n_rows, n_out)
    out : array of shape (n_in, n_out)
        Buffer for the product, used if it is evaluated.
    plus : tuple of SparseRows of shape (n, n_in) and array of shape (n, n_out), optional
        Factors of a second product, which is added.
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


class Rescaling(NamedTuple):
    """A change of the scale by which inputs are multiplied after a bias is added.

    Parameters
    ----------
    bias : array of shape (n_units,) or (n_rows, n_units)
    before, after : float
        The two scales, at least 0.
    """

    bias: DeviceArray
    before: float
    after: float

    def apply(self, x: DeviceArray, log_partition: Callable[[DeviceArray], DeviceArray]) -> DeviceArray:
        """Replace ``x`` by ``(x + bias) * after``, and return in float64 how its log partition changes from ``before``.

        The change may be a small difference of two large numbers: both are computed in float64.
        """
        x += self.bias
        wide = x.astype(np.float64)
        x *= self.after
        before = log_partition(wide * self.before)
        wide *= self.after
        return log_partition(wide) - before


class SparseRows(Protocol):
    """Rows on the device that store only nonzero values."""

    shape: tuple[int, int]
    pays_transposed: bool  # whether `add_transposed` is faster than a product with dense rows

    def __len__(self) -> int:
        """Return the number of rows."""

    def dense(self, out: DeviceArray) -> DeviceArray:
        """Write the rows into ``out``."""

    def times(self, W: DeviceArray, out: DeviceArray | None = None) -> DeviceArray:
        """Return the rows times ``W``, in ``out`` if given."""

    def add_transposed(self, h: DeviceArray, out: DeviceArray, factor: float = 1) -> None:
        """Add ``factor`` times the transposed rows times ``h`` to ``out``."""


class Sparse(Protocol):
    """Table on the device that stores only nonzero values."""

    pays: bool  # whether the table is sparse enough for its products to be faster than dense ones

    def shuffled(self, order: DeviceArray) -> "Sparse":
        """Return the rows in this order."""

    def part(self, start: int, stop: int) -> SparseRows:
        """Return consecutive rows, which may share memory with the table."""


class Rng(Protocol):
    """Stream of random numbers on the device; every method fills ``out``."""

    def bernoulli(self, p: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Write 1 with probability ``p``, else 0 (``out`` may not be ``p``)."""

    def uniform(self, out: DeviceArray) -> DeviceArray:
        """Write draws from U[0, 1)."""

    def normal(self, out: DeviceArray) -> DeviceArray:
        """Write draws from N(0, 1)."""

    def state(self) -> StrMapping:
        """Return the position of the stream as plain values and NumPy arrays."""

    def set_state(self, state: StrMapping) -> None:
        """Continue from the position of a stream."""


class LazyModule:
    """Module that is imported at the first access to one of its names.

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
        """Import the module, and return its attribute."""
        return getattr(importlib.import_module(self._name), name)  # type: ignore[no-any-return]


class Backend(Protocol):
    """Interface of a backend: the namespace of its arrays, and fused steps."""

    name: str
    xp: ModuleType
    special: ModuleType | LazyModule  # namespace of special functions, named as in scipy.special
    least_batch: int  # smallest number of rows in a minibatch that keeps the backend busy
    concurrent: bool  # whether several runs at once are faster than one after another

    def asarray(self, x: DeviceArray, dtype: DtypeLike | None = None) -> DeviceArray:
        """Return ``x`` as a C-contiguous array on the device, without a copy if it already is one."""

    def to_numpy(self, x: DeviceArray) -> Array:
        """Return ``x`` as a NumPy array."""

    def owns(self, x: object) -> bool:
        """Return whether ``x`` is an array of this backend's device type."""

    def sparse(self, matrix: object) -> Sparse:
        """Return a SciPy CSR matrix on the device."""

    def matmul(self, rows: DeviceArray | SparseRows, W: DeviceArray, out: DeviceArray | None = None) -> DeviceArray:
        """Return ``rows @ W``, in ``out`` if given."""

    def rng(self, seed: np.random.SeedSequence) -> Rng:
        """Return the random stream of this seed."""

    def take(self, rows: DeviceArray, index: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Gather rows into ``out``."""

    def sigmoid(self, x: DeviceArray, bias: DeviceArray | None = None) -> DeviceArray:
        """Replace ``x`` by ``1 / (1 + exp(-(x + bias)))``; the bias is one row or shaped like ``x``."""

    def sigmoid_sample(self, x: DeviceArray, bias: DeviceArray, rng: Rng, out: DeviceArray) -> DeviceArray:
        """Apply `sigmoid` to ``x``, and write 1 into ``out`` with that probability, else 0."""

    def softmax(self, x: DeviceArray, bias: DeviceArray, sizes: tuple[int, ...]) -> DeviceArray:
        """Replace ``x`` by the softmax of ``x + bias`` within groups of these sizes; for the bias see `sigmoid`."""

    def log_partition(
        self, x: DeviceArray, sizes: tuple[int, ...] | None = None, rescaling: Rescaling | None = None
    ) -> DeviceArray:
        """Return the log of the sum of exponentials of each group of columns, summed over groups.

        Without sizes, each column is a group with a second state of input 0: the sum of the softplus function. Given a
        rescaling, apply it to ``x``, and return the change.
        """

    def one_hot_sample(self, p: DeviceArray, rng: Rng, sizes: tuple[int, ...], out: DeviceArray) -> DeviceArray:
        """Write 1 for one column of each group, drawn with the probabilities ``p``, and 0 for the others."""

    def sigmoid_backward(self, grad: DeviceArray, y: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Write ``(1 - y) * y * grad`` into ``out``, which must be neither ``y`` nor ``grad``."""

    def weigh(self, x: DeviceArray, weight: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Multiply each row of ``x`` by its weight, of shape (n_rows, 1), and write the column sums into ``out``."""

    def log_odds(self, x: DeviceArray, v: DeviceArray, W: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Write the contribution of Bernoulli hidden units to the log-odds of each visible unit given all others.

        Parameters
        ----------
        x : array of shape (n_rows, n_hidden)
            Hidden inputs of the rows.
        v : array of shape (n_rows, n_units)
            States of the visible units in question, which ``x`` includes.
        W : array of shape (n_units, n_hidden)
            Their weights, which may be float32 where all else is float64.
        out : array of shape (n_rows, n_units)
            The sum over hidden units of ``softplus(o + W) - softplus(o)``, with ``o = x - v W`` the hidden inputs
            while the unit is off.
        """

    def momentum_step(
        self, w: DeviceArray, velocity: DeviceArray, grad: DeviceArray | Product, rate: float, momentum: float,
        decay: float, nesterov: bool,
    ) -> None:  # fmt: skip
        """Take one optimizer step.

        With ``g = rate * (grad + decay * w)``: ``velocity = momentum * velocity - g`` and ``w += velocity``;
        with ``nesterov``, ``w += momentum * velocity - g``. If ``grad`` is an array, it is used as scratch space.
        """

    def adam_step(
        self, w: DeviceArray, mean: DeviceArray, square: DeviceArray, grad: DeviceArray | Product, rate: float,
        betas: tuple[float, float], epsilon: float, decay: float,
    ) -> None:  # fmt: skip
        """Take one step along the running mean of the gradient divided by its running root mean square.

        With ``g = grad + decay * w``: ``mean = beta1 * mean + (1 - beta1) * g``, the same for ``square`` and ``g**2``,
        and ``w -= rate * mean / (sqrt(square) + epsilon)``. If ``grad`` is an array, it is used as scratch space.
        """

    def memory(self) -> int:
        """Return the size in bytes of the memory that holds the arrays."""

    def synchronize(self) -> None:
        """Wait until the device has finished all its work."""

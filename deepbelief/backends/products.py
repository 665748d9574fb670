"""Choice between the products of loops.c and those of the BLAS, by shapes."""

from dataclasses import dataclass

from deepbelief.backends.loops import FLOAT64, Loops, load, loops_for
from deepbelief.typing import Array

MIN_ROWS = 4  # of a minibatch: fewer rows leave most of a tile empty


@dataclass(frozen=True)
class Limits:
    """Shapes beyond which the BLAS is as fast.

    Parameters
    ----------
    rows, turned_rows, step_rows : int
        Largest number of rows of a minibatch whose product with weights or with their transpose is computed here, and
        of both phases together in a step.
    multiplications : int
        Smallest number: below it a call takes longer than the product.
    weights : int
        Largest number of weights.
    """

    rows: int
    turned_rows: int
    step_rows: int
    multiplications: int
    weights: int


LIMITS = {32: Limits(256, 256, 512, 2**15, 2**21), 64: Limits(200, 256, 512, 2**20, 2**24)}
"""Limits by the bytes of a vector, as measured on AMD's Zen 3 and on Intel's Sapphire Rapids."""


def multiply(left: Array, right: Array, out: Array | None = None) -> Array | None:
    """Return ``left @ right`` where compiled loops are faster than the BLAS, else None.

    ``left`` is a minibatch. Either ``right`` are weights, by rows or by columns, and ``out`` receives the product; or
    ``right`` is a float64 vector, and NumPy would have to copy the float32 minibatch to float64.
    """
    if left.ndim == 2 and left.shape[1:] == right.shape and out is None:
        found = loops_for(left) if loops_for(right, dtype=FLOAT64) else None
        return None if found is None else found.weighted_sums(left, right)
    if left.ndim != 2 or right.ndim != 2 or out is None:
        return None
    turned = not right.flags.c_contiguous
    weights = right.T if turned else right
    found = _takes("turned_rows" if turned else "rows", len(left), weights, left, out)
    if found is None or left.shape[1] != len(right) or out.shape != (len(left), right.shape[1]):
        return None
    (found.multiply_by_transposed if turned else found.multiply)(left, weights, out)
    return out


def step_along(
    left: Array, right: Array, w: Array, velocity: Array, rate: float, momentum: float, decay: float, nesterov: bool
) -> bool:
    """Take a step along ``left.T @ right`` where compiled loops are faster; return whether it was taken."""
    found = _takes("step_rows", len(left), w, left, right, velocity)
    if found is None or w.shape != velocity.shape or w.shape != (left.shape[1], right.shape[1]):
        return False
    found.step_along(left, right, w, velocity, rate, momentum, decay, nesterov)
    return True


def scratch_bytes(n_rows: int, n_visible: int, n_hidden: int) -> int:
    """Return the bytes that a step along this number of rows takes for copies of its factors; 0 where BLAS takes it.

    Examples
    --------
    >>> scratch_bytes(10**6, 784, 500)
    0
    """
    found = load()
    if found is None or not _fits("step_rows", found.multiplies, n_rows, n_visible * n_hidden):
        return 0
    return 4 * n_rows * (n_visible + n_hidden)


def _takes(limit: str, n_rows: int, weights: Array, *arrays: Array) -> Loops | None:
    """Return the loops where they are faster for this number of rows and these weights, and take these arrays."""
    found = loops_for(weights, *arrays)
    return found if found is not None and _fits(limit, found.multiplies, n_rows, weights.size) else None


def _fits(limit: str, width: int, n_rows: int, size: int) -> bool:
    """Return whether products with this number of weights are faster here, by vectors of this width in bytes."""
    if not width:
        return False
    limits = LIMITS[width]
    fits = MIN_ROWS <= n_rows <= getattr(limits, limit) and size <= limits.weights
    return bool(fits and n_rows * size >= limits.multiplications)

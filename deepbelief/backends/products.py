"""Choice between the products of loops.c and those of the BLAS, by shapes."""

from deepbelief.backends.loops import Loops, loops_for
from deepbelief.typing import Array

MIN_ROWS = 4  # of a minibatch: fewer rows leave most of a tile of six empty
MAX_ROWS = 256  # of a minibatch: beyond it the BLAS is as fast
MAX_ROWS_OF_STEP = 128  # of both phases together: beyond it the BLAS is as fast
MIN_MULTIPLICATIONS = 2**15  # below it a call takes longer than the product
MAX_WEIGHTS = 2**21  # values of the matrix of weights: beyond it the BLAS is as fast


def multiply(left: Array, right: Array, out: Array) -> bool:
    """Write ``left @ right`` into ``out`` where compiled loops are faster than the BLAS; return whether they were used.

    ``left`` is a minibatch, and ``right`` are weights, by rows or by columns.
    """
    if left.ndim != 2 or right.ndim != 2:
        return False
    turned = not right.flags.c_contiguous
    weights = right.T if turned else right
    found = _takes(len(left), weights, left, out)
    if found is None or left.shape[1] != len(right) or out.shape != (len(left), right.shape[1]):
        return False
    (found.multiply_by_turned if turned else found.multiply)(left, weights, out)
    return True


def step_along(
    left: Array, right: Array, w: Array, velocity: Array, rate: float, momentum: float, decay: float, nesterov: bool
) -> bool:
    """Take a step along ``left.T @ right`` where compiled loops are faster; return whether it was taken."""
    found = _takes(len(left), w, left, right, velocity) if len(left) <= MAX_ROWS_OF_STEP else None
    if found is None or w.shape != velocity.shape or w.shape != (left.shape[1], right.shape[1]):
        return False
    found.step_along(left, right, w, velocity, rate, momentum, decay, nesterov)
    return True


def _takes(n_rows: int, weights: Array, *arrays: Array) -> Loops | None:
    """Return the loops where they are faster for this number of rows and these weights, and take these arrays."""
    size = weights.size
    if not (MIN_ROWS <= n_rows <= MAX_ROWS and n_rows * size >= MIN_MULTIPLICATIONS and size <= MAX_WEIGHTS):
        return None
    found = loops_for(weights, *arrays)
    return found if found is not None and found.multiplies else None

"""Decimals of the numbers in a column."""

import numpy as np

from deepbelief.typing import Array

MAX_DECIMALS = 6  # of a number whose drawn values are rounded as its training values are


def decimals_of(values: Array) -> int | None:
    """Return the smallest number of decimals, at most 6, that all values have; None where they have more.

    Values of single precision need to agree with their decimals in single precision only.

    Examples
    --------
    >>> decimals_of(np.array([3.0, 20.0])), decimals_of(np.array([2.5, 0.25])), decimals_of(np.array([1 / 3]))
    (0, 2, None)
    """
    with np.errstate(over="ignore", invalid="ignore"):
        single = bool((values.astype(np.float32) == values).all())
        tolerance = np.abs(values) * np.finfo(np.float32 if single else np.float64).eps
        for n in range(MAX_DECIMALS + 1):  # whole numbers are exact, other decimals are not
            if (np.abs(values - np.round(values, n)) <= (tolerance if n else 0)).all():
                return n
    return None

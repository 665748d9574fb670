"""Missing at random: a test of whether missing values of a column depend on the other columns."""

from collections.abc import Sequence

import numpy as np

from deepbelief.typing import Array

LEVEL = 1e-3  # largest p-value, times the number of tests, at which missing values depend on a column


def depends_on_others(codes: Sequence[Array], i: int, weights: Array | None = None) -> bool:
    """Return whether values of a column are missing more often for some values of another column.

    The test is a chi-squared test for each other column; there, missing values count as a separate value.

    Parameters
    ----------
    codes : sequence of ndarray of int of shape (n_rows,)
        Number of the value of each row, for each column; -1: missing.
    i : int
        Column to test.
    weights : ndarray of shape (n_rows,), optional
        Numbers of rows that each row stands for.

    Returns
    -------
    bool

    Examples
    --------
    >>> kind = np.arange(200) % 2
    >>> size = np.where(kind == 1, -1, np.arange(200) % 3)
    >>> depends_on_others([kind, size], 1), depends_on_others([np.arange(200) // 2 % 2, size], 1)
    (True, False)
    """
    from scipy.special import chdtrc

    missing: Array = codes[i] < 0
    share = float(np.average(missing, weights=weights))
    if not 0 < share < 1:
        return False
    for j, other in enumerate(codes):
        if j == i:
            continue
        n = np.bincount(other + 1, weights)
        gone = np.bincount(other[missing] + 1, None if weights is None else weights[missing], minlength=len(n))
        there = n > 0
        statistic = np.sum((gone[there] - share * n[there]) ** 2 / (share * (1 - share) * n[there]))
        if there.sum() > 1 and chdtrc(there.sum() - 1, statistic) * (len(codes) - 1) < LEVEL:
            return True
    return False

"""Deviations of columns within classes."""

import numpy as np

from deepbelief.sources import RowSource, blocks, weights_of
from deepbelief.typing import Array, Float64Array

LEAST_SHARE = 0.1  # of the deviation over all rows: classes that are points have none


def deviation_shares(source: RowSource, numbers: Array) -> Float64Array:
    """Return the standard deviation of each column within classes as a share of that over all rows.

    Parameters
    ----------
    source : RowSource
        NaN is a missing value, which does not count.
    numbers : ndarray of int of shape (n_rows,)
        Classes.

    Returns
    -------
    ndarray of shape (n_features,)
        From 0.1 to 1; 1 for columns that are constant.

    Examples
    --------
    >>> from deepbelief.sources import as_source
    >>> rows = as_source([[0.0, 1.0], [2.0, 3.0], [8.0, 1.0], [10.0, 3.0]])
    >>> deviation_shares(rows, np.array([0, 0, 1, 1])).round(3).tolist()
    [0.297, 1.0]
    """
    shape = int(numbers.max()) + 1, source.shape[1]
    counts, sums, squares = np.zeros(shape), np.zeros(shape), np.zeros(shape[1])
    weights, start, origin = weights_of(source), 0, np.zeros(shape[1])
    for block in blocks(source):
        rows = np.asarray(block, dtype=np.float64)
        if not start:
            origin = np.nan_to_num(rows[0])
        present = ~np.isnan(rows)
        beyond = np.where(present, rows - origin, 0.0)
        own = np.ones(len(rows)) if weights is None else weights[start : start + len(rows)]
        members = own[:, None] * np.eye(shape[0])[numbers[start : start + len(rows)]]
        counts += members.T @ present
        sums += members.T @ beyond
        squares += own @ np.square(beyond)
        start += len(rows)
    n, n_classes = counts.sum(axis=0), (counts > 0).sum(axis=0)
    over_all = squares - np.square(sums.sum(axis=0)) / n
    within = squares - (np.square(sums) / np.maximum(counts, np.finfo(np.float64).tiny)).sum(axis=0)
    known = (over_all > 0) & (within > 0) & (n > n_classes)
    shares = np.where(over_all > 0, LEAST_SHARE, 1.0)
    shares[known] = np.sqrt(within[known] / (n - n_classes)[known] / (over_all[known] / (n[known] - 1)))
    return np.clip(shares, LEAST_SHARE, 1.0)

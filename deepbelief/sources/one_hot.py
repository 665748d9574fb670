"""One-hot groups among the columns of plain rows."""

from collections.abc import Iterator

import numpy as np

from deepbelief.errors import DataError
from deepbelief.sources.rows import RowSource, blocks
from deepbelief.typing import Array

MAX_COLUMNS = 8192  # whose products of pairs are kept


def one_hot_groups(source: RowSource) -> list[slice]:
    """Return the groups of neighbouring columns of which exactly one is 1 and all others are 0 in every row.

    A group may be missing (NaN) as a whole. A column that is 1 in all rows is not a group.

    Parameters
    ----------
    source : RowSource

    Returns
    -------
    list of slice
        Of at least two columns each, left to right.

    Raises
    ------
    DataError
        If there are more than 8,192 columns.

    Examples
    --------
    >>> from deepbelief.sources import as_source
    >>> rows = np.array([[0.3, 1, 0, 0, 1], [0.1, 0, 0, 1, 1], [0.9, 0, 1, 0, 0]])
    >>> one_hot_groups(as_source(rows))
    [slice(1, 4, None)]
    """
    n, d = source.shape
    if d > MAX_COLUMNS:
        raise DataError(f"groups are found among at most {MAX_COLUMNS} columns, got {d}: name them, 'softmax:3,3,2'")
    together, gone, bits = np.zeros((d, d)), np.zeros(d, np.int64), np.ones(d, bool)
    for block in blocks(source):
        missing = np.isnan(block)
        known = np.where(missing, 0, block).astype(np.float64)
        bits &= ((known == 0) | (known == 1)).all(axis=0)
        known[:, ~bits] = 0
        together += known.T @ known
        gone += missing.sum(axis=0)
    return list(_groups(together, gone, bits, n))


def _groups(together: Array, gone: Array, bits: Array, n: int) -> Iterator[slice]:
    """Yield groups, given how often two columns are 1 together, columns are missing, and which hold bits."""
    start, d = 0, len(bits)
    while start < d:
        stop, ones = start, 0
        while stop < d and bits[stop] and gone[stop] == gone[start] and not together[start:stop, stop].any():
            ones += int(together[stop, stop])
            stop += 1
            if ones + gone[start] == n:
                break
        if stop - start > 1 and ones + gone[start] == n and ones:
            yield slice(start, stop)
            start = stop
        else:
            start += 1

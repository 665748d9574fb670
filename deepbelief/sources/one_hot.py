"""One-hot groups among the columns of plain rows."""

import warnings
from collections.abc import Iterator

import numpy as np

from deepbelief.errors import DataError, DataWarning, user_level
from deepbelief.sources.rows import RowSource, blocks
from deepbelief.typing import Array

MAX_COLUMNS = 8192  # whose products of pairs are kept
MAX_WRONG = 0.01  # share of rows that break a group which the user is told of
MAX_TOLD = 5  # groups that one warning names


def one_hot_groups(source: RowSource, *, tell: bool = False) -> list[slice]:
    """Return the groups of neighbouring columns of which exactly one is 1 and all others are 0 in every row.

    A group may be missing (NaN) as a whole. A column that is 1 in all rows is not a group.

    Parameters
    ----------
    source : RowSource
    tell : bool, default=False
        Whether to warn of columns that are one-hot in all but at most 1 % of the rows, which are not a group.

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
    found = list(_groups(together, gone, bits, n, 0))
    if tell:
        for group in found:
            bits[group] = False
        _warn_of_broken(source, list(_groups(together, gone, bits, n, int(MAX_WRONG * n))))
    return found


def _groups(together: Array, gone: Array, bits: Array, n: int, n_wrong: int) -> Iterator[slice]:
    """Yield groups, given how often two columns are 1 together, columns are missing, and which hold bits.

    With ``n_wrong`` above 0, about as many rows may break a group.
    """
    start, d = 0, len(bits)
    while start < d:
        stop, ones = start, 0
        while stop < d and bits[stop] and gone[stop] == gone[start] and together[start:stop, stop].sum() <= n_wrong:
            if ones + gone[start] >= n - n_wrong and ones + together[stop, stop] + gone[start] > n + n_wrong:
                break
            ones += int(together[stop, stop])
            stop += 1
            if ones + gone[start] == n and not n_wrong:
                break
        whole = stop > start and ones > 0 and abs(ones + gone[start] - n) <= n_wrong
        if whole and together.diagonal()[start:stop].max() + gone[start] < n - n_wrong:
            yield slice(start, stop)
            start = stop
        else:
            start += 1


def _warn_of_broken(source: RowSource, groups: list[slice]) -> None:
    """Warn of columns that would be groups without a few rows, which may be faulty."""
    wrong: list[list[int]] = [[] for _ in groups]
    start = 0
    for block in blocks(source) if groups else ():
        for group, found in zip(groups, wrong, strict=True):
            rows = np.flatnonzero((block[:, group].sum(axis=1) != 1) & ~np.isnan(block[:, group]).any(axis=1))
            found.extend((start + rows).tolist())
        start += len(block)
    told = [
        f"columns {group.start} to {group.stop - 1} in all rows but {len(rows)}, such as row {rows[0]}"
        for group, rows in zip(groups, wrong, strict=True) if rows
    ]  # fmt: skip
    if len(told) > MAX_TOLD:
        told[MAX_TOLD:] = [f"and {len(told) - MAX_TOLD} more groups of columns"]
    if told:
        message = f"nearly one-hot, and not taken as groups: {'; '.join(told)}. Correct these rows, or leave them out"
        warnings.warn(DataWarning(message), stacklevel=user_level())

"""Groups of 0/1 columns that exclude each other, and rows with these groups as one-hot columns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deepbelief.errors import DataError
from deepbelief.sources.convert import as_source
from deepbelief.sources.one_hot import MAX_COLUMNS, one_hot_groups
from deepbelief.sources.rows import RowSource, blocks
from deepbelief.typing import Array, RowsLike

MAX_CHANCE = 1e-3  # probability that any pair of independent columns is never 1 together


@dataclass(frozen=True)
class ExclusiveGroups:
    """Groups of columns of which at most one is 1.

    Parameters
    ----------
    groups : tuple of tuple of int
        Numbers of the columns of each group, at least two.
    optional : tuple of bool
        Whether all columns of a group can be 0; the encoded group then has a further column for that state.
    n_columns : int
        Number of columns of the rows.
    """

    groups: tuple[tuple[int, ...], ...]
    optional: tuple[bool, ...]
    n_columns: int

    @property
    def single(self) -> tuple[int, ...]:
        """Numbers of the columns in no group."""
        grouped = {column for group in self.groups for column in group}
        return tuple(column for column in range(self.n_columns) if column not in grouped)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of states of the groups."""
        return tuple(len(group) + more for group, more in zip(self.groups, self.optional, strict=True))

    @property
    def visible(self) -> str:
        """Type of the visible units for encoded rows, for instance ``"parts:softmax:3,2;bernoulli*4"``."""
        softmax = "softmax:" + ",".join(map(str, self.sizes))
        if not self.groups:
            return "bernoulli"
        return f"parts:{softmax};bernoulli*{len(self.single)}" if self.single else softmax

    def holding(self, X: RowsLike) -> "ExclusiveGroups":
        """Return the groups that hold in further rows too, with the state "all 0" where these rows need it.

        A model of softmax groups gives rows that break a group a probability of 0.
        """
        broken, empty = np.zeros(len(self.groups), bool), np.zeros(len(self.groups), bool)
        for block in blocks(as_source(X)):
            for i, columns in enumerate(self.groups):
                ones = (np.asarray(block)[:, columns] != 0).sum(axis=1)
                broken[i] |= bool((ones > 1).any())
                empty[i] |= bool((ones == 0).any())
        kept = [i for i in range(len(self.groups)) if not broken[i]]
        optional = tuple(bool(self.optional[i] or empty[i]) for i in kept)
        return replace(self, groups=tuple(self.groups[i] for i in kept), optional=optional)

    def encode(self, X: RowsLike) -> Array:
        """Return rows with the columns of each group adjacent and exactly one of them 1, then all other columns.

        Raises
        ------
        DataError
            If a row breaks a group.
        """
        found, start = [], 0
        for block in blocks(as_source(X)):
            found.append(self._encoded(np.asarray(block), start))
            start += len(block)
        return np.concatenate(found)

    def _encoded(self, rows: Array, start: int) -> Array:
        if rows.shape[1] != self.n_columns:
            raise DataError(f"X has {rows.shape[1]} columns, the groups are of {self.n_columns}")
        parts = []
        for columns, optional in zip(self.groups, self.optional, strict=True):
            ones = rows[:, columns].sum(axis=1)
            wrong = np.flatnonzero((ones > 1) | ((ones < 1) & (not optional)))
            if wrong.size:
                row = int(wrong[0])
                raise DataError(
                    f"row {start + row} has {ones[row]:g} ones in the group of columns {columns}: use holding(X) to "
                    "keep only groups that hold in these rows",
                    row=start + row, column=columns[0], value=float(ones[row]),
                )  # fmt: skip
            parts += [rows[:, columns], (1 - ones)[:, None]] if optional else [rows[:, columns]]
        return np.concatenate([*parts, rows[:, self.single]], axis=1)

    def decode(self, rows: Array) -> Array:
        """Return encoded rows, or probabilities of their columns, with the columns that they were encoded from."""
        found, start = np.empty((len(rows), self.n_columns), rows.dtype), 0
        for columns, size in zip(self.groups, self.sizes, strict=True):
            found[:, columns] = rows[:, start : start + len(columns)]
            start += size
        found[:, self.single] = rows[:, start:]
        return found


def exclusive_groups(X: RowsLike) -> ExclusiveGroups:
    """Find groups of 0/1 columns, neighbours or not, of which at most one is 1 in every row.

    Neighbouring columns of which exactly one is 1 in every row come first. Other columns are joined if they are never 1
    together and would be if they were independent: the pair that would coincide most often first, as long as not one of
    all pairs is expected to exclude each other by chance. Groups found in training rows need not hold in others: see
    `ExclusiveGroups.holding`.

    Parameters
    ----------
    X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
        Rows of 0 and 1.

    Returns
    -------
    ExclusiveGroups

    Raises
    ------
    DataError
        If a value is neither 0 nor 1, or there are more than 8,192 columns.

    Examples
    --------
    >>> from deepbelief.sources import exclusive_groups
    >>> colour, size = np.arange(240) % 3, np.arange(240) % 4
    >>> rows = np.hstack([np.eye(3)[colour], np.eye(4)[size]])[:, [0, 3, 1, 4, 2, 5]]  # without the last size
    >>> found = exclusive_groups(rows)
    >>> found.groups, found.visible
    (((1, 3, 5), (0, 2, 4)), 'softmax:4,3')
    """
    source = as_source(X)
    together, n = _together(source)
    whole = [tuple(range(s.start, s.stop)) for s in one_hot_groups(source)]
    taken = {column for group in whole for column in group}
    rest = [column for column in range(len(together)) if column not in taken]
    joined = [tuple(rest[i] for i in group) for group in _joined(together[np.ix_(rest, rest)], n)]
    counts = np.diag(together)
    groups = [*whole, *joined]
    optional = {group: bool(counts[list(group)].sum() < n) for group in groups}
    groups.sort(key=lambda group: (-len(group) - optional[group], group))
    return ExclusiveGroups(tuple(groups), tuple(optional[group] for group in groups), len(together))


def _together(source: RowSource) -> tuple[Array, int]:
    """Return how often two columns are 1 together, and the number of rows."""
    n, d = source.shape
    if d > MAX_COLUMNS:
        raise DataError(f"groups are found among at most {MAX_COLUMNS} columns, got {d}: choose some")
    together, start = np.zeros((d, d)), 0
    for block in blocks(source):
        rows = np.asarray(block, np.float64)
        wrong = np.argwhere((rows != 0) & (rows != 1))
        if len(wrong):
            row, column = map(int, wrong[0])
            raise DataError(
                f"row {start + row}, column {column} is {rows[row, column]:g}: groups are of columns of 0 and 1",
                row=start + row, column=column, value=float(rows[row, column]),
            )  # fmt: skip
        together += rows.T @ rows
        start += len(rows)
    return together, n


def _joined(together: Array, n: int) -> list[Sequence[int]]:
    """Return groups of at least two columns, given how often columns are 1 together in ``n`` rows.

    Independent columns that would coincide c times on average never do so with a probability of exp(-c).
    """
    counts, d = np.diag(together).copy(), len(together)
    least = math.log(max(1, d * (d - 1) / 2) / MAX_CHANCE)
    conflicts = together - np.diag(counts)
    groups: list[list[int]] = [[i] for i in range(d)]
    expected = np.where(conflicts == 0, np.outer(counts, counts) / max(1, n), -1.0)
    np.fill_diagonal(expected, -1)
    there = np.ones(d, bool)
    while d:
        i, j = sorted(map(int, np.unravel_index(np.argmax(expected), expected.shape)))
        if expected[i, j] < least:
            break
        groups[i] += groups[j]
        groups[j] = []
        there[j] = False
        counts[i] += counts[j]
        conflicts[i] += conflicts[j]
        conflicts[:, i] = conflicts[i]
        expected[j] = expected[:, j] = -1
        expected[i] = np.where((conflicts[i] == 0) & there, counts[i] * counts / n, -1.0)
        expected[i, i] = -1
        expected[:, i] = expected[i]
    return [sorted(group) for group in groups if len(group) > 1]

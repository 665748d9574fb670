"""One pass over the rows: column statistics, finiteness, and the unit interval."""

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from deepbelief.backends.loops import loops_for
from deepbelief.errors import DataError, Mention, Message
from deepbelief.sources.derived_rows import underlying
from deepbelief.sources.rows import ArraySource, HostRows, RowIndex, RowSource, blocks, chunk_rows
from deepbelief.sources.weighted import counted, weights_of
from deepbelief.typing import Array, DtypeLike, FloatArray
from deepbelief.units import Foreign, Unit

N_ROUNDINGS = 8  # rounding errors by which the values of a constant column may differ


@dataclass(frozen=True, eq=False)
class ColumnStatistics:
    """Statistics of each column, from one pass over the rows.

    Parameters
    ----------
    n : int
        Number of rows.
    mean, var, min, max : ndarray of float64 of shape (n_features,)
        `var` is the population variance (divided by `n`). Missing values do not count.
    present : ndarray of shape (n_features,), optional
        Number of values of each column that are not missing. None means all.
    """

    n: int
    mean: NDArray[np.float64]
    var: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    present: NDArray[np.float64] | None = None

    @property
    def counts(self) -> NDArray[np.float64] | int:
        """Number of values of each column, or one number for all columns."""
        return self.n if self.present is None else self.present

    def scaled(self, mean: Array, scale: Array) -> "ColumnStatistics":
        """Return those of the rows ``(v - mean) / scale``."""
        center, low, high = ((values - mean) / scale for values in (self.mean, self.min, self.max))
        return ColumnStatistics(self.n, center, self.var / np.square(scale), low, high, self.present)

    def constant(self, dtype: DtypeLike) -> NDArray[np.bool_]:
        """Return a mask of the constant columns, up to the rounding of values of this dtype."""
        largest = np.maximum(np.abs(self.min), np.abs(self.max))
        return np.asarray(np.sqrt(self.var) <= N_ROUNDINGS * np.finfo(dtype).eps * largest)

    def two_valued(self, dtype: DtypeLike) -> NDArray[np.bool_]:
        """Return a mask of the columns with two values only: no others have that variance between these ends."""
        bound = (self.max - self.mean) * (self.mean - self.min)
        return np.asarray(~self.constant(dtype) & (self.var >= bound * (1 - 1e-9)))


def _first(bad: NDArray[np.bool_]) -> tuple[int, int]:
    """Return row and column of the first True."""
    row, column = np.unravel_index(int(np.argmax(bad)), bad.shape)
    return int(row), int(column)


def _refuse_non_finite(
    block: FloatArray, start: int, numbers: NDArray[np.intp] | None = None, *, missing: bool = False
) -> None:
    """Raise DataError naming the first value of the block that is not finite, nor NaN where values may be missing."""
    bad = np.isinf(block) if missing else ~np.isfinite(block)
    if not bad.any():  # a sum has overflown
        return
    row, column = _first(bad)
    raise DataError(
        f"row {start + row if numbers is None else numbers[row]}, column {column} (both counted from 0) is "
        f"{block[row, column]}; all values must be finite: impute or drop missing values first"
    )


@dataclass(eq=False, repr=False)
class FiniteSource(HostRows):
    """Rows that are checked as they are read: a value that is not finite is refused, by row and column.

    Parameters
    ----------
    source : RowSource
    missing : bool
        Let NaN pass as a missing value.
    """

    source: RowSource
    missing: bool = False

    def __post_init__(self) -> None:
        """Take over the shape and the dtype."""
        self.shape, self.dtype = self.source.shape, self.source.dtype

    def take(self, rows: RowIndex, out: FloatArray | None = None) -> FloatArray:
        """Return these rows, as `RowSource.take`."""
        block = self.source.take(rows, out)
        if not np.isfinite(block).all() and (not self.missing or np.isinf(block).any()):
            numbers = np.arange(self.shape[0])[rows] if isinstance(rows, slice) else rows
            _refuse_non_finite(block, 0, numbers, missing=self.missing)
        return block


def _of_block(block: FloatArray) -> tuple[Array, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return number of values, mean, sum of squares around it, minimum and maximum of each column.

    Missing values (NaN) do not count. Sums are of deviations from the first value, which are exactly 0 in constant
    columns, and small relative to any offset. An infinity makes the mean not finite.
    """
    found = loops_for(block)
    if found is not None:
        return found.column_statistics(block)
    with np.errstate(invalid="ignore", over="ignore"):
        rows = np.asarray(block, dtype=np.float64)
        shifted = rows - rows[0]
        shift_mean = shifted.mean(axis=0)
        if not np.isfinite(shift_mean).all():
            return _of_gappy_block(block)
        shifted -= shift_mean
        squares = np.einsum("ij,ij->j", shifted, shifted)
        mean = rows[0] + shift_mean
    return np.full(len(mean), len(block)), mean, squares, block.min(axis=0), block.max(axis=0)


def _of_gappy_block(block: FloatArray) -> tuple[Array, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return what `_of_block` returns, of a block with values that are not finite."""
    missing = np.isnan(block)
    counts = len(block) - np.count_nonzero(missing, axis=0)
    first = block[np.argmin(missing, axis=0), np.arange(block.shape[1])].astype(np.float64)
    first[counts == 0] = 0
    with np.errstate(over="ignore", invalid="ignore"):
        beyond = block - first
        np.putmask(beyond, missing, 0.0)
        mean = beyond.sum(axis=0) / np.maximum(counts, 1)
        beyond -= mean
        np.putmask(beyond, missing, 0.0)
        squares = np.einsum("ij,ij->j", beyond, beyond)
    low, high = np.fmin.reduce(block, axis=0), np.fmax.reduce(block, axis=0)
    low[counts == 0], high[counts == 0] = np.inf, -np.inf
    return counts, first + mean, squares, low, high


def _of_weighted_block(block: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the sum of the weights of the values of each column, their mean, and squares around that."""
    missing = np.isnan(block)
    counts: FloatArray = weights @ ~missing
    first = block[np.argmin(missing, axis=0), np.arange(block.shape[1])].astype(np.float64)
    first[counts == 0] = 0
    beyond = np.where(missing, 0.0, block - first)
    mean = weights @ beyond / np.maximum(counts, np.finfo(np.float64).tiny)
    squares = weights @ np.square(np.where(missing, 0.0, beyond - mean))
    return counts, first + mean, squares


def _refuse_huge(squares: FloatArray, low: FloatArray, high: FloatArray) -> None:
    """Raise DataError naming the first column whose sum of squares has overflown."""
    if np.isfinite(squares).all():
        return
    column = int(np.argmin(np.isfinite(squares)))
    raise DataError(
        f"column {column} (counted from 0) has values from {low[column]:.3g} to {high[column]:.3g}, whose squares "
        "exceed the largest number: divide it by a constant",
        column=column,
    )


def column_statistics(source: RowSource, block_size: int = 256, *, missing: bool = False) -> ColumnStatistics:
    """Return number, mean, variance, minimum and maximum of each column, in one pass.

    Blocks are reduced in float64 around their own mean and merged by Chan's formula, so a large
    common offset does not swamp the variance. A constant column has variance exactly 0. Rows of `with_weights`
    count by their weights.

    Parameters
    ----------
    source : RowSource
    block_size : int
        Number of rows in memory at a time.
    missing : bool
        Take NaN for a missing value, which does not count.

    Returns
    -------
    ColumnStatistics

    Raises
    ------
    DataError
        Naming row and column of the first value that is not finite, or a column without a value.

    Examples
    --------
    >>> from deepbelief.sources import as_source
    >>> column_statistics(as_source([[1.0, 5.0], [3.0, 5.0]])).var.tolist()
    [1.0, 0.0]
    >>> column_statistics(as_source([[1.0, np.nan], [3.0, 5.0]]), missing=True).mean.tolist()
    [2.0, 5.0]
    """
    n_features, weights = source.shape[1], weights_of(source)
    counts_of_rows = None if weights is None else counted(weights)
    start, n = 0, 0  # `n` is an array where columns have their own numbers of values
    mean, squares = np.zeros(n_features), np.zeros(n_features)
    low, high = np.full(n_features, np.inf), np.full(n_features, -np.inf)
    # A chunk of a file is read, and decompressed, as a whole.
    large = blocks(source, block_size * min(8, max(1, chunk_rows(source) // block_size)))
    for block in (rows[i : i + block_size] for rows in large for i in range(0, len(rows), block_size)):
        counts, block_mean, block_squares, block_low, block_high = _of_block(block)
        whole = bool((counts == len(block)).all())
        if not (np.isfinite(block_mean).all() and (whole or missing)):
            _refuse_non_finite(block, start, missing=missing)
        count: Any = len(block) if whole else counts.astype(np.float64)
        if counts_of_rows is not None:
            count, block_mean, block_squares = _of_weighted_block(block, counts_of_rows[start : start + len(block)])
        total = n + count
        weight = count / (total if isinstance(total, int) else np.maximum(total, np.finfo(np.float64).tiny))
        with np.errstate(over="ignore", invalid="ignore"):
            delta = block_mean - mean
            squares += block_squares + delta * (delta * (n * weight))
            mean += delta * weight
        n, start = total, start + len(block)
        np.minimum(low, block_low, out=low)
        np.maximum(high, block_high, out=high)
    _refuse_huge(squares, low, high)
    if isinstance(n, int):
        return ColumnStatistics(n, mean, squares / n, low, high)
    if not n.all():
        column = int(np.argmin(n))
        raise DataError(f"column {column} (counted from 0) has no value at all: leave it out", column=column)
    return ColumnStatistics(start, mean, squares / n, low, high, n)


def has_missing(source: RowSource) -> bool:
    """Return whether rows in memory have missing values (NaN); all other rows must be complete."""
    below = underlying(source)
    array = below.array if isinstance(below, ArraySource) and below.is_in_memory else None
    if array is None or array.dtype.kind != "f":
        return False
    with np.errstate(over="ignore", invalid="ignore"):  # a sum is NaN with every missing value, and seldom without
        return any(np.isnan(block.sum()) and np.isnan(block).any() for block in blocks(below))


def check_groups(rows: FloatArray, unit: Unit, name: str = "X", start: int = 0) -> None:
    """Refuse rows in which a unit of several columns is missing in part.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_visible)
    unit : Unit
    name : str
        Of the rows, in the message.
    start : int
        Number of the first row.

    Raises
    ------
    DataError
        If a row has no state, or several, in a group.
    """
    sizes = unit.group_sizes(rows.shape[1])
    if len(sizes) == rows.shape[1]:  # each column is a unit
        return
    starts, missing = np.cumsum([0, *sizes[:-1]]), np.isnan(rows)
    parted = (missing[:, 1:] != missing[:, :-1]).any(axis=0)
    parted[starts[1:] - 1] = False  # between groups
    if not parted.any():
        return
    share = np.add.reduceat(missing.astype(float), starts, axis=1) / np.array(sizes)
    wrong = np.argwhere((share > 0) & (share < 1))
    if len(wrong):
        raise DataError(
            f"{name}: row {start + wrong[0][0]}, softmax group {wrong[0][1]} is missing in part: a group is one unit, "
            "which is missing as a whole or not at all"
        )


def check_domain(
    source: RowSource,
    unit: Unit,
    own: tuple[Array, Array] | None = None,
    *,
    block_size: int = 1024,
    missing: bool = False,
    finite: bool = False,
) -> None:
    """Raise DataError unless every value, scaled where a map is given, belongs to a unit type.

    Parameters
    ----------
    source : RowSource
    unit : Unit
    own : tuple of (mean, scale), optional
        Map by which the rows enter.
    block_size : int
        Number of rows in memory at a time.
    missing : bool
        Let NaN pass as a missing value.
    finite : bool
        All values are known to be finite, or NaN where they may be missing, and are not tested for it again.

    Raises
    ------
    DataError
        Naming row, column, value and the remedies.
    """
    start = 0
    for block in blocks(source, block_size):
        if not finite and not np.isfinite(block).all():
            _refuse_non_finite(block, start, missing=missing)
        if missing:
            check_groups(block, unit, start=start)
        found = unit.foreign(block if own is None else (block - own[0]) / own[1])
        if found is not None:
            refuse_foreign(unit, found, start + found.row, block[found.row, found.column])
        start += len(block)


TO_SCALE_ALIKE = Message(
    "it is far outside the range of the rows that determined the scaling: start the training with rows of the "
    "whole range, or use ",
    Mention("visible", "gaussian"),
)


def refuse_foreign(
    unit: Unit, found: Foreign, row: int, value: float, remedy: str | Message | None = None
) -> NoReturn:  # fmt: skip
    """Raise the DataError of a value that does not belong to a unit type."""
    detail = f", {found.detail}" if found.detail else ""
    raise DataError(
        f"row {row}, column {found.column} (both counted from 0) is {value:g}{detail}; {unit.domain}: ",
        unit.remedy if remedy is None else remedy, row=row, column=found.column, value=float(value),
    )  # fmt: skip

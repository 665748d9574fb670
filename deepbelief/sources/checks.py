"""One pass over the rows: column statistics, finiteness, and the unit interval."""

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from deepbelief.backends.loops import loops_for
from deepbelief.errors import DataError
from deepbelief.sources.rows import Array, Rows, RowSource, blocks, chunk_rows
from deepbelief.units import Foreign, Unit

N_ROUNDINGS = 8  # relative roundings by which the values of a constant column may differ


@dataclass(frozen=True, eq=False)
class ColumnStatistics:
    """What one pass over the rows tells about each column.

    Parameters
    ----------
    n : int
        Number of rows.
    mean, var, min, max : ndarray of float64 of shape (n_features,)
        `var` is the population variance (divided by `n`).
    """

    n: int
    mean: NDArray[np.float64]
    var: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]

    def scaled(self, mean: Any, scale: Any) -> "ColumnStatistics":
        """Return those of the rows ``(v - mean) / scale``."""
        center, low, high = ((values - mean) / scale for values in (self.mean, self.min, self.max))
        return ColumnStatistics(self.n, center, self.var / np.square(scale), low, high)

    def constant(self, dtype: Any) -> NDArray[np.bool_]:
        """Tell which columns are constant, up to the rounding of values of this dtype."""
        largest = np.maximum(np.abs(self.min), np.abs(self.max))
        return np.asarray(np.sqrt(self.var) <= N_ROUNDINGS * np.finfo(dtype).eps * largest)

    def two_valued(self, dtype: Any) -> NDArray[np.bool_]:
        """Tell which columns hold two values only: no others have that variance between these ends."""
        bound = (self.max - self.mean) * (self.mean - self.min)
        return np.asarray(~self.constant(dtype) & (self.var >= bound * (1 - 1e-9)))


def _first(bad: NDArray[np.bool_]) -> tuple[int, int]:
    """Return row and column of the first True."""
    row, column = np.unravel_index(int(np.argmax(bad)), bad.shape)
    return int(row), int(column)


def _refuse_non_finite(block: Array, start: int, numbers: NDArray[np.intp] | None = None) -> None:
    """Raise DataError naming the first value of the block that is not finite."""
    row, column = _first(~np.isfinite(block))
    raise DataError(
        f"row {start + row if numbers is None else numbers[row]}, column {column} (both counted from 0) is "
        f"{block[row, column]}; all values must be finite: impute or drop missing values first"
    )


@dataclass(frozen=True, eq=False)
class FiniteSource:
    """Rows that are checked as they are read: a value that is not finite is refused, by row and column.

    Parameters
    ----------
    source : RowSource
    """

    source: RowSource

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and number of features."""
        return self.source.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that `take` gives."""
        return self.source.dtype

    def take(self, rows: Rows, out: Array | None = None) -> Array:
        """Return these rows, as `RowSource.take`."""
        block = self.source.take(rows, out)
        if not np.isfinite(block).all():
            numbers = np.arange(self.shape[0])[rows] if isinstance(rows, slice) else rows
            _refuse_non_finite(block, 0, numbers)
        return block


def _of_block(block: Array) -> tuple[Array, Array, Array, Array]:
    """Return what the columns have over the first row in the mean, squares around that, minimum and maximum.

    Deviations from the first row are exact zeros in constant columns, and small beside any offset. A value that is not
    finite is in the mean.
    """
    found = loops_for(block)
    if found is not None:
        return found.column_statistics(block)
    with np.errstate(invalid="ignore"):
        rows = np.asarray(block, dtype=np.float64)
        shifted = rows - rows[0]
        shift_mean = shifted.mean(axis=0)
        shifted -= shift_mean
        squares = np.einsum("ij,ij->j", shifted, shifted)
    return shift_mean, squares, block.min(axis=0), block.max(axis=0)


def column_statistics(source: RowSource, block_size: int = 256) -> ColumnStatistics:
    """Return number, mean, variance, minimum and maximum of each column, in one pass.

    Blocks are reduced in float64 around their own mean and merged by Chan's formula, so a large
    common offset does not swamp the variance. A constant column has variance exactly 0.

    Parameters
    ----------
    source : RowSource
    block_size : int
        Rows that are in memory at once.

    Returns
    -------
    ColumnStatistics

    Raises
    ------
    DataError
        Naming row and column of the first value that is not finite.

    Examples
    --------
    >>> from deepbelief.sources import as_source
    >>> column_statistics(as_source([[1.0, 5.0], [3.0, 5.0]])).var.tolist()
    [1.0, 0.0]
    """
    n_features = source.shape[1]
    n = 0
    mean, squares = np.zeros(n_features), np.zeros(n_features)
    low, high = np.full(n_features, np.inf), np.full(n_features, -np.inf)
    # A chunk of a file is read, and decompressed, as a whole.
    large = blocks(source, block_size * min(8, max(1, chunk_rows(source) // block_size)))
    for block in (rows[i : i + block_size] for rows in large for i in range(0, len(rows), block_size)):
        shift_mean, block_squares, block_low, block_high = _of_block(block)
        if not np.isfinite(shift_mean).all() and not np.isfinite(block).all():
            _refuse_non_finite(block, n)
        total = n + len(block)
        delta = block[0] + shift_mean - mean
        weight = len(block) / total
        squares += block_squares + delta * (delta * (n * weight))
        mean += delta * weight
        n = total
        np.minimum(low, block_low, out=low)
        np.maximum(high, block_high, out=high)
    return ColumnStatistics(n, mean, squares / n, low, high)


def check_domain(source: RowSource, unit: Unit, own: tuple[Any, Any] | None = None, *, block_size: int = 1024) -> None:
    """Raise DataError unless every value, scaled where a map is given, belongs to a unit type.

    Parameters
    ----------
    source : RowSource
    unit : Unit
    own : tuple of (mean, scale), optional
    block_size : int
        Rows that are in memory at once.

    Raises
    ------
    DataError
        Naming row, column, value and the remedies.
    """
    start = 0
    for block in blocks(source, block_size):
        if not np.isfinite(block).all():
            _refuse_non_finite(block, start)
        found = unit.foreign(block if own is None else (block - own[0]) / own[1])
        if found is not None:
            refuse_foreign(unit, found, start + found.row, block[found.row, found.column])
        start += len(block)


def refuse_foreign(unit: Unit, found: Foreign, row: int, value: Any) -> NoReturn:
    """Raise the DataError of a value that does not belong to a unit type."""
    detail = f", {found.detail}" if found.detail else ""
    raise DataError(
        f"row {row}, column {found.column} (both counted from 0) is {value:g}{detail}; {unit.domain}: "
        "scale the columns (scale='minmax' or '255', --scale minmax or 255) or use visible='gaussian'",
        row=row, column=found.column, value=float(value),
    )  # fmt: skip

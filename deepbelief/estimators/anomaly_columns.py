"""Columns of a table for an outlier detector: a schema with cells of equal width, and clipped values to reconstruct."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from deepbelief.errors import DataError
from deepbelief.sources import quantile
from deepbelief.sources.frames import Frame, as_frame
from deepbelief.sources.schema import Schema
from deepbelief.sources.table_columns import READINGS, Column, cells_of, read_column
from deepbelief.typing import Array, RowsLike

CLIP = 5.0  # values for reconstruction are clipped here, in robust standard deviations
INNER = (0.05, 0.95)  # quantiles, which are 3.29 standard deviations apart in a normal distribution
MIN_SHARE = 1e-3  # smallest share of a category, and of all other categories together


@dataclass(frozen=True, eq=False)
class DetectorColumns:
    """Columns of a table as an outlier detector reads them.

    Parameters
    ----------
    schema : Schema
        Numbers have cells of equal width; missing values have a unit.
    centres, scales : ndarray of shape (n_values,)
        Centres and scales of the columns of `values`: median and robust standard deviation of a number, mean and
        standard deviation of the 0/1 column of a category.
    """

    schema: Schema
    centres: Array
    scales: Array

    @classmethod
    def fit(cls, rows: RowsLike, weights: Array | None = None) -> Self:
        """Determine cells and scales from training rows, with weights if given.

        Columns with the same value in all rows are left out, unless all columns are constant.

        Raises
        ------
        DataError
            If no column has a value, or a column has values of several types or values that are not finite.
        """
        frame = as_frame(rows)
        columns = [read_column(frame, i, None, READINGS["equal"], weights) for i in range(len(frame.names))]
        if not any(column.width for column in columns):
            columns = [_two_cells(*pair) for pair in zip(columns, frame.numeric, strict=True)]
        schema = Schema(tuple(columns), frame.library)
        if not schema.used:
            raise DataError("no column of the table has a value: pass a table with values")
        scales = []
        for column, values, missing in _blocks(schema, frame):
            own = None if weights is None else weights[~missing]
            scales.append((_robust if column.kind == "number" else _by_share)(values[~missing], own))
        centres, deviations = np.concatenate(scales, axis=1)
        return cls(schema, centres, deviations)

    @property
    def n_values(self) -> int:
        """Number of columns of `values`."""
        return sum(column.n_values if column.kind == "category" else 1 for column in self.schema.used)

    def states(self, rows: RowsLike) -> Array:
        """Return one group of 0/1 units for each column."""
        return self.schema.encode(rows, handle_unknown=None, dtype=np.float64)

    def values(self, rows: RowsLike) -> Array:
        """Return scaled values: a clipped column for each number, a column for each category; 0 where missing."""
        found, start = [], 0
        for column, values, missing in _blocks(self.schema, as_frame(rows, self.schema.names)):
            own = slice(start, start + values.shape[1])
            scaled = (np.where(missing[:, None], self.centres[own], values) - self.centres[own]) / self.scales[own]
            found.append(np.clip(scaled, -CLIP, CLIP) if column.kind == "number" else scaled)
            start = own.stop
        return np.hstack(found)


def _two_cells(column: Column, is_number: bool) -> Column:
    """Return a constant column with two units, for tables in which no column varies."""
    if not column.values:
        return column
    if not is_number:
        return replace(column, kind="category", missing_unit=1, reason="")
    value = float(column.values[0])
    cells = (value, value + abs(value) * 1e-6 + 1e-12)
    return replace(
        column, kind="number", values=(), cells=cells, edges=cells[1:], low=cells, high=cells, scores=(0.0, 0.0),
        missing_unit=0, reason="",
    )  # fmt: skip


def _blocks(schema: Schema, frame: Frame) -> Iterator[tuple[Column, Array, Array]]:
    """Yield each column in use, its values (for categories, one 0/1 column each), and a mask of the missing ones."""
    for column in schema.used:
        i = frame.names.index(column.name)
        values, missing = frame.column(i)
        if column.kind == "number":
            yield column, np.where(missing, np.nan, values).astype(np.float64).reshape(-1, 1), missing
        else:
            places = cells_of(frame, i, column, None)
            yield column, (places[:, None] == np.arange(column.n_values)).astype(np.float64), missing


def _robust(values: Array, weights: Array | None) -> Array:
    """Return the median and a robust standard deviation of a number, each as an array of length 1."""
    known = values[:, 0]
    mean = np.average(known, weights=weights)
    deviation = float(np.sqrt(np.average(np.square(known - mean), weights=weights)))
    low, centre, high = (quantile(known, q, weights) for q in (INNER[0], 0.5, INNER[1]))
    return np.array([[centre], [(high - low) / 3.29 or deviation or 1.0]])


def _by_share(values: Array, weights: Array | None) -> Array:
    """Return the mean and standard deviation of each category's column."""
    shares = np.clip(np.average(values, axis=0, weights=weights), MIN_SHARE, 1 - MIN_SHARE)
    return np.array([shares, np.sqrt(shares * (1 - shares))])

"""Columns of a table for an outlier detector: a schema of equal cells, and clipped values for reconstructions."""

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

CLIP = 5.0  # largest value that reconstructions see, in robust standard deviations
INNER = (0.05, 0.95)  # quantiles, which lie 3.29 standard deviations apart in a normal distribution
MIN_SHARE = 1e-3  # of a category, and of all others together


@dataclass(frozen=True, eq=False)
class DetectorColumns:
    """Columns of a table as an outlier detector reads them.

    Parameters
    ----------
    schema : Schema
        Numbers have cells of equal width, and missing values a unit.
    centres, scales : ndarray of shape (n_values,)
        Of the columns of `values`: of a number its median and a robust standard deviation, of a category its share.
    """

    schema: Schema
    centres: Array
    scales: Array

    @classmethod
    def fit(cls, rows: RowsLike, weights: Array | None = None) -> Self:
        """Decide on cells and scales from training rows, by their weights where they are given.

        Columns with the same value in all rows are left out, unless this holds for all columns.

        Raises
        ------
        DataError
            If no column has a value, or one has values of several types or values that are not finite.
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
        """Return one group of 0 and 1 for each column."""
        return self.schema.encode(rows, handle_unknown=None, dtype=np.float64)

    def values(self, rows: RowsLike) -> Array:
        """Return scaled values, those of numbers clipped, and 0 where they are missing; a column for each category."""
        found, start = [], 0
        for column, values, missing in _blocks(self.schema, as_frame(rows, self.schema.names)):
            own = slice(start, start + values.shape[1])
            scaled = (np.where(missing[:, None], self.centres[own], values) - self.centres[own]) / self.scales[own]
            found.append(np.clip(scaled, -CLIP, CLIP) if column.kind == "number" else scaled)
            start = own.stop
        return np.hstack(found)


def _two_cells(column: Column, is_number: bool) -> Column:
    """Return a column that does not vary with two units, where no column varies."""
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
    """Give each column that is used, its values (of a category a column of 0 and 1 each), and which are missing."""
    for column in schema.used:
        i = frame.names.index(column.name)
        values, missing = frame.column(i)
        if column.kind == "number":
            yield column, np.where(missing, np.nan, values).astype(np.float64).reshape(-1, 1), missing
        else:
            places = cells_of(frame, i, column, None)
            yield column, (places[:, None] == np.arange(column.n_values)).astype(np.float64), missing


def _robust(values: Array, weights: Array | None) -> Array:
    """Return median and robust standard deviation of a number, each as a column of one."""
    known = values[:, 0]
    mean = np.average(known, weights=weights)
    deviation = float(np.sqrt(np.average(np.square(known - mean), weights=weights)))
    low, centre, high = (quantile(known, q, weights) for q in (INNER[0], 0.5, INNER[1]))
    return np.array([[centre], [(high - low) / 3.29 or deviation or 1.0]])


def _by_share(values: Array, weights: Array | None) -> Array:
    """Return mean and standard deviation of each category's column."""
    shares = np.clip(np.average(values, axis=0, weights=weights), MIN_SHARE, 1 - MIN_SHARE)
    return np.array([shares, np.sqrt(shares * (1 - shares))])

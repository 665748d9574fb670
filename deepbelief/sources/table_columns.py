"""Columns of a table of mixed columns: kinds, and encoding of their values as units."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deepbelief.errors import DataError, Mention
from deepbelief.sources.decimals import MAX_DECIMALS, decimals_of
from deepbelief.sources.frames import Frame
from deepbelief.sources.weighted import counted
from deepbelief.typing import Array, StrDict, StrMapping

MAX_CELLS = 20  # cells of a number; a number with so few distinct values has one for each
EQUAL_CELLS = 12  # cells of equal width
REACH = 3.0  # standard deviations from the mean to the outer bounds of cells of equal width
MAX_CATEGORIES = 100  # of one column
IDENTIFIER_SHARE = 0.9  # share of a text column's rows with different values above which they identify rows
MIN_MISSING = 10  # minimum number of rows without a value for missing values to be modelled
MIN_MISSING_SHARE = 0.05  # and the minimum share of such rows; that of known values must be as large
MIN_IDENTIFIER_ROWS = 20  # minimum number of rows for that warning
USED = ("number", "category")
KINDS = (*USED, "dropped")


@dataclass(frozen=True)
class Column:
    """Kind and values of one column of a table.

    Parameters
    ----------
    name : str
    kind : {"number", "category", "dropped"}
        A number is one softmax group over cells of its range, a category one over its values. A dropped column is
        left out of the model.
    dtype : str
        Name of the dtype in the table's library, to restore it.
    values : tuple
        Categories, in the order of their units; of a dropped constant its value.
    cells : tuple of float
        Of a number: the mean training value of each cell, ascending.
    edges : tuple of float
        Of a number: bounds between neighbouring cells; one fewer.
    low, high : tuple of float
        Of a number: smallest and largest training value of each cell.
    scores : tuple of float
        Of a number: the normal score of each cell's middle rank.
    decimals : int, optional
        Of a number: the smallest number of decimals, 0 to 6, that all training values have; None where they have more.
    reason : str
        Reason for the kind of the column, in words.
    levels : tuple
        Categories of pandas' dtype, whether they occurred or not.
    ordered : bool
        Whether these are in order.
    gaps : bool
        Whether two more units say if a value is present or missing: where enough values are missing, and that depends
        on other columns.
    absent : float
        Share of rows without a value, where enough values are missing, but that depends on no other column.
    missing_unit : int, optional
        Unit of a missing value: one more than those of the values, or the unit of the most frequent value. None: all
        units of a missing value are NaN.
    """

    name: str
    kind: str
    dtype: str = ""
    values: tuple[str | float, ...] = ()
    cells: tuple[float, ...] = ()
    edges: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    decimals: int | None = None
    reason: str = ""
    levels: tuple[object, ...] = ()
    ordered: bool = False
    gaps: bool = False
    absent: float = 0.0
    missing_unit: int | None = None

    @property
    def n_values(self) -> int:
        """Number of cells of a number, or of categories."""
        return len(self.cells) if self.kind == "number" else len(self.values) if self.kind == "category" else 0

    @property
    def width(self) -> int:
        """Number of visible units."""
        return self.n_values + (self.missing_unit == self.n_values)

    @property
    def is_whole(self) -> bool:
        """Whether the values are whole numbers."""
        if self.kind == "number":
            return self.decimals == 0
        return bool(self.values) and all(isinstance(v, float) and v.is_integer() for v in self.values)

    def __str__(self) -> str:
        """Return a description of the column."""
        what = {
            "number": f"number, {len(self.cells)} bins from {_text(self.low[:1])} to {_text(self.high[-1:])}",
            "category": f"category of {len(self.values)}: {', '.join(map(str, self.values[:6]))}"
            + (", ..." if len(self.values) > 6 else ""),
            "dropped": "dropped",
        }[self.kind]
        what += ", or missing" if self.gaps else f", {self.absent:.0%} missing at random" if self.absent else ""
        return f"{self.name}: {what}" + (f" ({self.reason})" if self.reason else "")


def _text(values: Sequence[float]) -> str:
    return f"{values[0]:g}" if values else ""


@dataclass(frozen=True)
class Reading:
    """Cells of numbers, and the treatment of missing values.

    Parameters
    ----------
    edges : callable
        Takes the distinct values of a number, the number of rows with each, and a number of cells; returns the bounds
        between neighbouring cells.
    n_cells : int
        Largest number of cells of a number; one with so few distinct values has a cell for each.
    missing_units : bool
        Whether a missing value has a unit (see `Column`) instead of being unknown.
    """

    edges: Callable[[Array, Array, int], Array]
    n_cells: int
    missing_units: bool = False


def quantile_edges(distinct: Array, counts: Array, n_cells: int) -> Array:
    """Return the bounds of cells with about equal numbers of rows."""
    ranks = np.linspace(0, 1, n_cells + 1)[1:-1]
    last_rows = np.cumsum(counts)
    edges = np.unique(distinct[np.searchsorted(last_rows, np.floor(ranks * (last_rows[-1] - 1)), side="right")])
    return np.unique((edges + distinct[np.minimum(np.searchsorted(distinct, edges) + 1, len(distinct) - 1)]) / 2)


def equal_edges(distinct: Array, counts: Array, n_cells: int) -> Array:
    """Return the bounds of cells of equal width, between three standard deviations below and above the mean."""
    mean = np.average(distinct, weights=counts)
    deviation = np.sqrt(np.average(np.square(distinct - mean), weights=counts))
    return np.asarray(mean + deviation * np.linspace(-REACH, REACH, n_cells + 1)[1:-1])


READINGS = {
    "quantile": Reading(quantile_edges, MAX_CELLS),
    "equal": Reading(equal_edges, EQUAL_CELLS, missing_units=True),
}


def column_from(values: StrMapping) -> Column:
    """Return the column described by plain values.

    Raises
    ------
    ValueError
        If they describe none.
    """
    plain: StrDict = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    if plain.pop("whole", False):  # in files of early versions, which know no other decimals
        plain["decimals"] = 0
    column = Column(**plain)
    edges = np.array(column.edges, np.float64)
    lengths = {len(column.low), len(column.high), len(column.scores), len(column.cells), len(edges) + 1}
    unit = column.missing_unit
    valid = column.kind in KINDS and isinstance(column.name, str) and isinstance(column.gaps, bool)
    valid &= len(set(column.values)) == len(column.values)
    valid &= unit is None or (type(unit) is int and column.kind in USED)
    valid &= column.decimals is None or (type(column.decimals) is int and 0 <= column.decimals <= MAX_DECIMALS)
    if column.kind == "number":
        valid &= len(lengths) == 1 and bool(np.isfinite(edges).all() and (np.diff(edges) > 0).all())
    valid &= (column.n_values > 0) == (column.kind in USED)
    if not valid or (unit is not None and not 0 <= unit <= column.n_values):
        raise ValueError(f"the schema's column {column.name!r} is not valid")
    return column


def has_gaps(missing: Array, weights: Array | None = None) -> bool:
    """Return whether values are missing, and present, in enough rows to learn from which are."""
    share = float(np.average(missing, weights=weights))
    return bool(missing.sum() >= MIN_MISSING) and MIN_MISSING_SHARE <= share <= 1 - MIN_MISSING_SHARE


def read_column(
    frame: Frame, i: int, wanted: str | None, reading: Reading, weights: Array | None = None
) -> Column:  # fmt: skip
    """Determine the kind of one column."""
    column = _read(frame, i, wanted, reading, weights)
    if not reading.missing_units or not column.n_values:
        return column
    _, missing = frame.column(i)
    if missing.any():
        return replace(column, missing_unit=column.n_values)
    counts = np.bincount(cells_of(frame, i, column, None), weights, minlength=column.n_values)
    return replace(column, missing_unit=int(counts.argmax()))


def _read(frame: Frame, i: int, wanted: str | None, reading: Reading, weights: Array | None) -> Column:
    name, dtype = frame.names[i], frame.dtypes[i]
    values, missing = frame.column(i)
    drop = Mention("columns", {name: "dropped"})
    own_unit = reading.missing_units and bool(missing.any())
    if missing.all() and reading.missing_units:
        return Column(name, "dropped", dtype, reason="no value at all")
    if missing.all() and wanted != "dropped":
        raise DataError(f"column {name!r} has no value at all: leave it out, or pass ", drop)
    known = values[~missing]
    if wanted == "dropped":
        return Column(name, "dropped", dtype, reason="as asked")
    kind = wanted or ("number" if frame.numeric[i] else "category")
    if kind == "number":
        numbers, own = numbers_of(known, name, missing), None if weights is None else counted(weights[~missing])
        return _number(name, dtype, numbers, reading, wanted is not None, own_unit, own)
    categories = _categories(known, name, np.flatnonzero(~missing))
    if len(categories) == 1 and wanted is None and not own_unit:
        return Column(name, "dropped", dtype, tuple(categories), reason="the same value in all rows")
    if wanted is None and len(known) >= MIN_IDENTIFIER_ROWS and len(categories) > IDENTIFIER_SHARE * len(known):
        return Column(
            name, "dropped", dtype, reason=f"{len(categories)} values in {len(known)} rows: they identify rows"
        )
    if wanted is None and len(categories) > MAX_CATEGORIES:
        return Column(name, "dropped", dtype, reason=f"{len(categories)} categories, more than {MAX_CATEGORIES}")
    if len(categories) < 2 and not own_unit:
        raise DataError(f"column {name!r} has one category only: pass ", drop)
    return Column(name, "category", dtype, tuple(categories))


def rated_columns(frame: Frame) -> list[Column]:
    """Return columns of ratings, all with the same cells: the levels that occur in the ratings.

    Raises
    ------
    DataError
        If there are no ratings, or all are alike.
    """
    known = [values[~missing] for values, missing in zip(frame.values, frame.missing, strict=True)]
    every = np.concatenate(known)
    if len(np.unique(every)) < 2:
        raise DataError(f"ratings must differ, got {len(every)} equal ones: pass at least two different ratings")
    found = _number("", "float64", every, READINGS["quantile"], wanted=False, own_unit=False, weights=None)
    mean = (float(every.mean()),)
    return [
        replace(found, name=name, decimals=None)
        if len(own)
        else Column(name, "dropped", "float64", mean, reason="no rating")
        for name, own in zip(frame.names, known, strict=True)
    ]


def check_ratings(frame: Frame, column: Column) -> None:
    """Refuse a rating below or above all levels of the training rows, such as a 0 for an absent one.

    Raises
    ------
    DataError
    """
    values, missing = frame.column(frame.names.index(column.name))
    known = numbers_of(values[~missing], column.name, missing)
    outside = (known < column.low[0]) | (known > column.high[-1])
    wrong = np.flatnonzero(~missing)[outside]
    if len(wrong) and column.low == column.high:
        raise DataError(
            f"user {wrong[0]}, {column.name}: {known[outside][0]:g} is not a rating from {column.low[0]:g} to "
            f"{column.high[-1]:g}; absent ratings are NaN, or absent entries of Ratings(sparse matrix)",
            row=int(wrong[0]),
        )


def numbers_of(known: Array, name: str, missing: Array) -> Array:
    """Return the known values of a column as numbers, or raise DataError with the row of the first that is none."""
    try:
        numbers: Array = known.astype(np.float64)
    except (TypeError, ValueError):
        rows = np.flatnonzero(~missing)
        bad = next(i for i, value in enumerate(known) if not _is_number(value))
        raise DataError(
            f"row {rows[bad]}, column {name!r}: {known[bad]!r} is not a number", row=int(rows[bad])
        ) from None
    if not np.isfinite(numbers).all():
        bad = int(np.argmin(np.isfinite(numbers)))
        row = int(np.flatnonzero(~missing)[bad])
        raise DataError(f"row {row}, column {name!r}: {numbers[bad]} is not finite", row=row)
    return numbers


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _categories(known: Array, name: str, rows: Array) -> list[str | float]:
    """Return the categories of a column in order, given its values and their row numbers."""
    types = [type(value).__name__ for value in known.tolist()] if known.dtype == object else []
    kinds = set(types)
    if strange := kinds - {"int", "float", "str", "bool"}:
        raise DataError(
            f"column {name!r} has values of type {', '.join(sorted(strange))}: convert them to texts or numbers"
        )
    if len(kinds - {"int", "float"}) > 1 or (len(kinds) > 1 and kinds & {"str", "bool"}):
        found = ", ".join(f"{kind} in row {rows[types.index(kind)]}" for kind in sorted(kinds))
        raise DataError(f"column {name!r} has values of several types ({found}): convert them to one type")
    return sorted(set(known.tolist()))


def _number(
    name: str, dtype: str, numbers: Array, reading: Reading, wanted: bool, own_unit: bool, weights: Array | None
) -> Column:  # fmt: skip
    """Return the cells of a number: its distinct values, or those of a reading."""
    from scipy.special import ndtri

    distinct, places = np.unique(numbers, return_inverse=True)
    counts = np.bincount(places, weights)
    if len(distinct) == 1 and not own_unit:
        if wanted:
            raise DataError(f"column {name!r} has one value only: pass ", Mention("columns", {name: "dropped"}))
        return Column(name, "dropped", dtype, (float(distinct[0]),), reason="the same value in all rows")
    if len(distinct) <= reading.n_cells:
        edges = (distinct[1:] + distinct[:-1]) / 2
    else:
        edges = reading.edges(distinct, counts, reading.n_cells)
    filled = np.unique(
        np.searchsorted(edges, distinct)
    )  # a cell without values is merged with the nearest one that has some
    edges = edges[(filled[:-1] + filled[1:] + 1) // 2 - 1]
    cell = np.searchsorted(edges, distinct)
    n = np.bincount(cell, counts)
    means = np.bincount(cell, counts * distinct) / n
    first = np.searchsorted(cell, np.arange(len(n)))
    last = np.append(first[1:], len(distinct)) - 1
    middle = (np.cumsum(n) - n / 2) / n.sum()
    cells = {"cells": means, "edges": edges, "low": distinct[first], "high": distinct[last]}
    plain: StrDict = {key: tuple(array.tolist()) for key, array in cells.items()}
    scores = tuple(ndtri(middle).tolist())
    return Column(name, "number", dtype, **plain, scores=scores, decimals=decimals_of(distinct))


def cells_of(frame: Frame, i: int, column: Column, handle_unknown: str | None) -> Array:
    """Return the unit of each row within its column's group, -1 where the value is missing and has no unit."""
    values, missing = frame.column(i)
    cells = np.full(len(values), -1 if column.missing_unit is None else column.missing_unit, np.intp)
    known = values[~missing]
    if column.kind == "number":
        cells[~missing] = np.searchsorted(np.array(column.edges), numbers_of(known, column.name, missing))
        return cells
    places = {value: place for place, value in enumerate(column.values)}
    found = np.array([places.get(value, -1) for value in known.tolist()], np.intp)
    if (found < 0).any() and handle_unknown != "missing":
        bad = int(np.argmax(found < 0))
        shown = ", ".join(repr(value) for value in column.values[:10]) + (", ..." if len(column.values) > 10 else "")
        row = int(np.flatnonzero(~missing)[bad])
        advice = ("; ", Mention("handle_unknown", "missing"), " treats it as a missing value")
        raise DataError(
            f"row {row}, column {column.name!r}: {known.tolist()[bad]!r} is a category that the training rows lack "
            f"({shown})", *(() if handle_unknown is None else advice), row=row, value=known[bad],
        )  # fmt: skip
    cells[~missing] = found
    return cells


def values_of(
    column: Column, units: Array, random: np.random.Generator | None, *, rounded: bool = True
) -> list[object]:  # fmt: skip
    """Return the values of one column from its units; means in floating-point columns may have all their digits."""
    missing: Array = np.asarray(np.isnan(units).any(axis=1))
    p = np.where(missing[:, None], 1.0, units).astype(np.float64)
    if random is None:
        best = p.argmax(axis=1)
    else:
        best = (np.cumsum(p, axis=1) <= random.random((len(p), 1)) * p.sum(axis=1, keepdims=True)).sum(axis=1)
        best = np.minimum(best, p.shape[1] - 1)
    if column.kind == "category":
        return [None if gone else column.values[k] for gone, k in zip(missing, best, strict=True)]
    if random is None:
        numbers = p @ np.array(column.cells) / np.maximum(p.sum(axis=1), 1e-30)
    else:
        low, mean, high = (np.array(each)[best] for each in (column.low, column.cells, column.high))
        numbers = _drawn(low, mean, high, random)
    whole = column.decimals == 0 and not column.dtype.lower().startswith(("float", "double"))
    if column.decimals is not None and (rounded or whole):
        numbers = np.round(numbers, column.decimals)
    return [None if gone else float(x) for gone, x in zip(missing, numbers, strict=True)]


def _drawn(low: Array, mean: Array, high: Array, random: np.random.Generator) -> Array:
    """Draw a number from each range: uniformly below or above its mean, with probabilities that preserve the mean."""
    below = random.random(len(low)) * (high - low) < high - mean
    start, stop = np.where(below, low, mean), np.where(below, mean, high)
    return np.asarray(start + random.random(len(low)) * (stop - start))

"""Columns of an outlier detector as plain values in a file, and back."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from deepbelief.errors import FileFormatError
from deepbelief.estimators.anomaly_columns import CategoryColumn, DetectorColumns, NumberColumn
from deepbelief.fields import Fields
from deepbelief.typing import Array, StrDict


def plain_columns(columns: DetectorColumns) -> list[StrDict]:
    """Return plain values, fit for JSON."""
    kinds = {NumberColumn: "number", CategoryColumn: "category"}
    plain = []
    for name, column in zip(columns.names, columns.columns, strict=True):
        values = {"kind": "constant"} if column is None else {"kind": kinds[type(column)], **vars(column)}
        lists = {key: value.tolist() for key, value in values.items() if isinstance(value, np.ndarray)}
        plain.append({"name": name, **values, **lists})
    return plain


def columns_from_file(values: Sequence[Fields]) -> DetectorColumns:
    """Return the columns that `plain_columns` described.

    Raises
    ------
    FileFormatError
        If a value is not what `DetectorColumns.fit` gives.
    """
    kinds: dict[str, Callable[[Fields], NumberColumn | CategoryColumn | None]] = {
        "number": _number, "category": _category, "constant": _constant,
    }  # fmt: skip
    names = tuple(each.text("name") for each in values)
    columns = DetectorColumns(names, tuple(kinds[each.text("kind", tuple(kinds))](each) for each in values))
    if len(set(names)) < len(names) or not columns.groups:
        raise FileFormatError("the file's columns must have different names, and one of them must vary")
    return columns


def _number(values: Fields) -> NumberColumn:
    edges, used = _numbers(values, "edges"), _numbers(values, "used")
    whole = used == np.rint(used)
    if (np.diff(edges) < 0).any() or not (len(used) and whole.all() and (np.diff(used) > 0).all()):
        raise FileFormatError(f"{values.where}: edges and used must be in order")
    if used[0] < 0 or used[-1] > len(edges):
        raise FileFormatError(f"{values.where}: used must be the numbers of bins, from 0 to {len(edges)}")
    centre, scale = finite(values, "centre"), finite(values, "scale")
    if scale <= 0:
        raise FileFormatError(f"{values.where}.scale must be above 0, got {scale}")
    fallback, has_missing = values.integer("fallback", high=len(used) - 1), values.flag("has_missing")
    return NumberColumn(edges, used.astype(np.intp), fallback, centre, scale, has_missing)


def _category(values: Fields) -> CategoryColumn:
    categories, shares = tuple(values.items_of("categories")), _numbers(values, "shares")
    if len({str(value) for value in categories}) != len(categories) or len(shares) != len(categories) or not categories:
        raise FileFormatError(f"{values.where}: categories must be different, and have a share each")
    if (shares <= 0).any() or (shares >= 1).any():
        raise FileFormatError(f"{values.where}.shares must be between 0 and 1")
    fallback, has_missing = values.integer("fallback", high=len(categories) - 1), values.flag("has_missing")
    return CategoryColumn(values.text("name"), categories, shares, fallback, has_missing)


def _constant(values: Fields) -> None:
    return None


def finite(values: Fields, name: str) -> float:
    """Return a finite number."""
    number = values.number(name)
    if not math.isfinite(number):
        raise FileFormatError(f"{values.where}.{name} must be finite, got {number}")
    return number


def _numbers(values: Fields, name: str) -> Array:
    """Return a list of finite numbers."""
    items = Fields({str(i): item for i, item in enumerate(values.items_of(name))}, f"{values.where}.{name}")
    return np.array([finite(items, i) for i in items], np.float64)

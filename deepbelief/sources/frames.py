"""Tables of pandas, polars, pyarrow, mappings and arrays as columns of values, and back."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from deepbelief.errors import DataError
from deepbelief.sources.ratings import LIBRARY as RATINGS
from deepbelief.sources.ratings import Ratings
from deepbelief.typing import Array, RowsLike, StrDict, TableLike

_KIND_AND_BITS = re.compile(r"(u?int|float)(\d+)")


@dataclass(frozen=True, eq=False)
class Frame:
    """A table as a list of columns.

    Parameters
    ----------
    names : tuple of str
    values : tuple of ndarray
        One array for each column; of objects where it is not numeric.
    missing : tuple of ndarray of bool
    numeric : tuple of bool
        Whether a column holds numbers, and not booleans.
    dtypes : tuple of str
        Names of the dtypes in the library.
    library : str
    levels : mapping of str to tuple
        Categories of pandas' categorical columns, and whether these are ordered.
    """

    names: tuple[str, ...]
    values: tuple[Array, ...]
    missing: tuple[Array, ...]
    numeric: tuple[bool, ...]
    dtypes: tuple[str, ...]
    library: str
    levels: Mapping[str, tuple[tuple[object, ...], bool]] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.values[0])

    def column(self, i: int) -> tuple[Array, Array]:
        """Return the values of a column and the mask of those that are missing."""
        return self.values[i], self.missing[i]


def is_table(X: RowsLike) -> bool:
    """Return whether ``X`` is a DataFrame or Table of pandas, polars or pyarrow, or a mapping of columns."""
    if isinstance(X, (Mapping, Ratings)):
        return not hasattr(X, "tocsr")  # a sparse matrix by keys is not a table
    root = type(X).__module__.partition(".")[0]
    return root in ("pandas", "polars", "pyarrow") and hasattr(X, "columns") and hasattr(X, "shape")


def needs_schema(X: RowsLike, *, numbers: bool = True) -> bool:
    """Return whether a table has columns that are not plain numbers, or missing values.

    A table of booleans alone counts as numbers 0 and 1.

    Parameters
    ----------
    X : object
        No table: False.
    numbers : bool, default=True
        Whether a table of numbers with missing values counts.

    Examples
    --------
    >>> needs_schema({"a": [1, 2]}), needs_schema({"a": ["x", "y"]}), needs_schema({"a": [1.0, None]})
    (False, True, True)
    """
    if not is_table(X) or _is_plain(X):
        return False
    if isinstance(X, Ratings):
        return True
    frame = as_frame(X)
    gaps = any(missing.any() for missing in frame.missing)
    present = (column[~gone].tolist() for column, gone in zip(frame.values, frame.missing, strict=True))
    booleans = all(isinstance(value, (bool, np.bool_)) for values in present for value in values)
    if (booleans and not any(frame.numeric)) or all(frame.numeric):
        return gaps and (numbers or not all(frame.numeric))
    return True


def _is_plain(X: RowsLike) -> bool:
    """Return whether scikit-learn's checks apply to a DataFrame, or whether it breaks them, without reading values."""
    if not hasattr(X, "dtypes") or not hasattr(X, "columns") or not hasattr(X, "iloc"):
        return False
    kinds = list(X.dtypes)
    if not X.columns.is_unique:
        return True
    if any(str(kind).startswith("Sparse") or getattr(kind, "kind", "") == "c" for kind in kinds):
        return all(getattr(kind, "kind", "O") in "iubfc" for kind in kinds)  # beside texts they are columns of a table
    one_kind = len({getattr(kind, "kind", "") == "b" for kind in kinds}) == 1
    if not one_kind or not all(isinstance(kind, np.dtype) and kind.kind in "iubf" for kind in kinds):
        return False
    return not X.isna().to_numpy().any()


def as_frame(table: TableLike, names: Sequence[str] | None = None) -> Frame:
    """Return a table as columns.

    Parameters
    ----------
    table : DataFrame, Table, mapping of columns or array of shape (n_rows, n_columns)
    names : sequence of str, optional
        Of the columns of an array; ``x0``, ``x1`` ... else.

    Raises
    ------
    DataError
        If the table has no rows or columns, columns of different lengths, two columns of the same name, or dates.
    """
    if not is_table(table):
        array = np.asarray(table)
        if array.ndim != 2:
            raise DataError(f"a table has two dimensions, got shape {array.shape}")
        n = array.shape[1]
        named = tuple(names) if names is not None and len(names) == n else tuple(f"x{i}" for i in range(n))
        columns = {name: array[:, i] for i, name in enumerate(named)}
        return _frame(columns, {name: str(array.dtype) for name in named}, "array")
    check_different_names(table)
    if isinstance(table, Ratings):
        by_item = dict(zip(table.columns, table.array().T, strict=True))
        return _frame(by_item, dict.fromkeys(by_item, "float64"), RATINGS)
    if isinstance(table, Mapping):
        columns = {str(name): _array(values) for name, values in table.items()}
        return _frame(columns, {name: str(values.dtype) for name, values in columns.items()}, "array")
    return _from_library(table)


def check_different_names(table: TableLike) -> None:
    """Raise DataError if two columns of a DataFrame, Table or mapping have the same name, as texts."""
    own = table if isinstance(table, Mapping) else getattr(table, "column_names", table.columns)
    twice = [name for name, n in Counter(str(name) for name in own).items() if n > 1]
    if twice:
        raise DataError(f"two columns of the table have the same name, {twice[0]!r}: rename one")


def as_objects(values: Sequence[object]) -> Array:
    """Return values as an array that keeps the type of each."""
    return np.array([*values, None], dtype=object)[:-1]


def _array(values: Sequence[object] | Array) -> Array:
    return values if isinstance(values, np.ndarray) else as_objects(values)


def _from_library(table: TableLike) -> Frame:
    import narwhals as nw

    library = type(table).__module__.partition(".")[0]
    if library == "pandas":
        table = table.set_axis([str(name) for name in table.columns], axis=1)  # also of numbers
    frame = nw.from_native(table, eager_only=True)
    columns: dict[str, Array] = {}
    dtypes: dict[str, str] = {}
    levels: dict[str, tuple[tuple[object, ...], bool]] = {}
    for i, (name, series) in enumerate(zip(frame.columns, frame.iter_columns(), strict=True)):
        if series.dtype.is_temporal():
            raise DataError(
                f"column {name!r} holds dates or times ({series.dtype}): turn them into numbers or leave it out"
            )
        own = table.dtypes.iloc[i] if library == "pandas" else series.dtype
        dtypes[str(name)] = str(own)
        if dtypes[str(name)] == "category" and library == "pandas":
            levels[str(name)] = tuple(own.categories.tolist()), bool(own.ordered)
        if series.dtype.is_numeric():
            numbers = series.cast(nw.Float64())
            columns[str(name)] = np.where(series.is_null().to_numpy(), np.nan, numbers.to_numpy())
        else:
            gone = series.is_null().to_list()
            listed = [None if g else v for g, v in zip(gone, series.to_list(), strict=True)]
            columns[str(name)] = as_objects(listed)
    return replace(_frame(columns, dtypes, library), levels=levels)


def _frame(columns: Mapping[str, Array], dtypes: Mapping[str, str], library: str) -> Frame:
    lengths = {len(values) for values in columns.values()}
    if not columns or lengths == {0}:
        raise DataError("the table has no columns" if not columns else "the table has no rows")
    if len(lengths) != 1:
        raise DataError(f"the columns of the table have different lengths: {', '.join(map(str, sorted(lengths)))}")
    values, missing, numeric = [], [], []
    for name, column in columns.items():
        cleaned, gone = _cleaned(name, column)
        values.append(cleaned)
        missing.append(gone)
        numeric.append(cleaned.dtype.kind == "f")
    return Frame(
        tuple(columns), tuple(values), tuple(missing), tuple(numeric), tuple(dtypes[name] for name in columns), library
    )


def _cleaned(name: str, column: Array) -> tuple[Array, Array]:
    """Return a column as float64, or as objects, and the mask of its missing values."""
    if column.dtype.kind in "iuf":
        numbers = column.astype(np.float64)
        return numbers, np.isnan(numbers)
    if column.dtype.kind in "mM":
        raise DataError(f"column {name!r} holds dates or times: turn them into numbers or leave it out")
    listed = [None if _is_missing(value) else value for value in map(_plain, column.tolist())]
    gone = np.array([value is None for value in listed])
    known = [value for value in listed if value is not None]
    if known and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known):
        return np.array([np.nan if value is None else value for value in listed], np.float64), gone
    return as_objects(listed), gone


def _plain(value: object) -> object:
    """Return a scalar of NumPy as Python's own."""
    return value.item() if isinstance(value, np.generic) else value


def _is_missing(value: object) -> bool:
    """Return whether a value is None, NaN, pandas' NA or NaT, or an empty text."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return True
    return type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)


def frame_like(
    values: Mapping[str, Sequence[object]], dtypes: Mapping[str, str], library: str,
    levels: Mapping[str, tuple[tuple[object, ...], bool]] | None = None,
) -> TableLike:  # fmt: skip
    """Return columns as a table of a library, in these dtypes where the values allow it.

    Parameters
    ----------
    values : mapping of str to sequence
        None: missing.
    dtypes : mapping of str to str
    library : {"pandas", "polars", "pyarrow", "array"}
        ``"array"`` gives an array of floats, or of objects where a column is not numeric.
    levels : mapping of str to tuple, optional
        As in `Frame`.

    Returns
    -------
    DataFrame, Table or ndarray
    """
    if library in ("array", RATINGS):
        numeric = all(all(v is None or isinstance(v, (int, float)) for v in column) for column in values.values())
        columns = [[np.nan if v is None and numeric else v for v in column] for column in values.values()]
        return np.array(columns, dtype=np.float64 if numeric else object).T
    if library == "pandas":
        return _pandas(values, dtypes, levels or {})
    import narwhals as nw

    backend: Any = library
    frame = nw.from_dict(dict(values), backend=backend)
    casts = []
    for name, dtype in dtypes.items():
        kind = getattr(nw, dtype.partition("(")[0], None)
        if kind is not None and frame[name].dtype != kind and "(" not in dtype and _fit(values[name], dtype):
            casts.append(nw.col(name).cast(kind()))
    return (frame.with_columns(*casts) if casts else frame).to_native()


def _fit(column: Sequence[object], dtype: str) -> bool:
    """Return whether a dtype can hold the numbers of a column: one of integers holds no others, nor larger ones."""
    numbers = [value for value in column if isinstance(value, (int, float))]
    found = _KIND_AND_BITS.match(dtype.lower())
    if found is None or not numbers:
        return True
    kind, bits = found[1], int(found[2])
    low, high = min(numbers), max(numbers)
    if kind == "float":
        largest = float(np.finfo(f"float{bits}").max)
        return -largest <= low and high <= largest
    signed = kind == "int"
    fits = -signed * 2 ** (bits - 1) <= low and high < 2 ** (bits - signed)
    return fits and all(float(value).is_integer() for value in numbers)


def _pandas(
    values: Mapping[str, Sequence[object]], dtypes: Mapping[str, str],
    levels: Mapping[str, tuple[tuple[object, ...], bool]],
) -> TableLike:  # fmt: skip
    import pandas as pd

    columns = {}
    for name, column in values.items():
        dtype, whole = dtypes[name], any(v is None for v in column)
        series = pd.Series(list(column), dtype=object)
        plain = dtype.startswith(("int", "uint")) and "[" not in dtype
        if not _fit(column, dtype):
            dtype, plain = ("float64" if plain or dtype.startswith("float") else "Float64"), False
        elif plain and whole:
            dtype = "float64"  # the dtype that pandas uses for integers with missing values
        if dtype == "bool" and whole:
            dtype = "object"
        if dtype.lower().startswith(("int", "uint")) and not plain and dtype != "float64":
            series = series.astype("Float64")
        kind: Any = pd.CategoricalDtype(*levels[name]) if name in levels else dtype
        columns[name] = series if dtype == "object" else series.astype(kind)
    return pd.DataFrame(columns)


def with_columns(
    table: TableLike, values: Mapping[str, Sequence[object]], names: Sequence[str] | None = None
) -> TableLike:
    """Return a table with some of its columns replaced, and all others unchanged.

    Parameters
    ----------
    table : DataFrame, Table, mapping of columns or array
    values : mapping of str to sequence
        As in `frame_like`.
    names : sequence of str, optional
        As in `as_frame`.

    Returns
    -------
    DataFrame, Table, dict or ndarray
        Of the same kind, with the same dtypes where the values allow it.
    """
    frame = as_frame(table, names)
    if isinstance(table, Mapping):
        return {**table, **{name: _array(column) for name, column in values.items()}}
    if not is_table(table) or isinstance(table, Ratings):
        whole: StrDict = dict(zip(frame.names, frame.values, strict=True))
        return frame_like({**whole, **values}, {}, "array")
    dtypes = dict(zip(frame.names, frame.dtypes, strict=True))
    if not values:
        return table
    new = frame_like(values, {name: dtypes[name] for name in values}, frame.library, frame.levels)
    if frame.library == "pandas":
        out = table.copy()
        for place, name in enumerate(frame.names):
            if name in values:
                out.isetitem(place, new[name].set_axis(table.index))
        return out
    import narwhals as nw

    made = nw.from_native(new, eager_only=True)
    return nw.from_native(table, eager_only=True).with_columns(*(made[name] for name in values)).to_native()

"""Schema of a table of mixed columns: the kind of each column, and its encoding as visible units."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from deepbelief.errors import DataError, Mention, SettingError, unknown
from deepbelief.sources.derived_rows import underlying
from deepbelief.sources.frames import Frame, as_frame, frame_like
from deepbelief.sources.ratings import LIBRARY as RATINGS
from deepbelief.sources.rows import ArraySource, RowSource
from deepbelief.sources.table_columns import (
    KINDS,
    MAX_CELLS,
    READINGS,
    Column,
    cells_of,
    check_ratings,
    column_from,
    has_gaps,
    rated_columns,
    read_column,
    values_of,
)
from deepbelief.sources.weighted import counted
from deepbelief.typing import Array, DtypeLike, StrDict, StrMapping, TableLike

LEVEL = 1e-3  # largest p-value, times the number of tests, at which missing values depend on a column
UNKNOWN = ("error", "missing")  # treatments of a category that does not occur in the training rows


@dataclass(frozen=True)
class Schema:
    """Columns of a table; it encodes rows of the table as rows of 0 and 1, and decodes them.

    Parameters
    ----------
    columns : tuple of Column
    library : str
        Of the table that it was made from: ``"pandas"``, ``"polars"``, ``"pyarrow"`` or ``"array"``.
    alphabet : str
        Letters of aligned sequences, the gap first, whose sites the columns are; empty for tables.

    Examples
    --------
    >>> schema = Schema.fit({"size": [1.5, 2.0, None, 9.0], "colour": ["red", "blue", "red", "red"]})
    >>> print(schema)
    size: number, 3 bins from 1.5 to 9
    colour: category of 2: blue, red
    >>> schema.encode({"size": [2.0, None], "colour": ["blue", "red"]}).tolist()
    [[0.0, 1.0, 0.0, 1.0, 0.0], [nan, nan, nan, 0.0, 1.0]]
    """

    columns: tuple[Column, ...]
    library: str = "array"
    alphabet: str = ""

    @property
    def used(self) -> tuple[Column, ...]:
        """Columns that take part in the model."""
        return tuple(column for column in self.columns if column.width)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column | None:
        """Return the column of a name; None where there is none."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def n_units(self) -> int:
        """Number of visible units."""
        return sum(self.groups)

    @property
    def groups(self) -> tuple[int, ...]:
        """Numbers of units of the columns that are used, and two for each column with gaps: present and missing."""
        return (*(column.width for column in self.used), *(2 for _ in self.gaps))

    @property
    def starts(self) -> tuple[int, ...]:
        """First unit of each column that is used."""
        return tuple(int(n) for n in np.cumsum([0, *self.groups])[: len(self.used)])

    @property
    def gaps(self) -> dict[str, int]:
        """First of the two units that say whether a value is missing, by column."""
        first = sum(column.width for column in self.columns)
        return {column.name: first + 2 * i for i, column in enumerate(c for c in self.used if c.gaps)}

    @property
    def visible(self) -> str:
        """Type of the visible units, as `deepbelief.units.get_unit` reads it."""
        return "softmax:" + ",".join(map(str, self.groups))

    @property
    def grids(self) -> tuple[tuple[int, tuple[float, ...]], ...]:
        """First unit and normal scores of the cells, for each number of more than two cells."""
        return tuple(
            (start, column.scores)
            for start, column in zip(self.starts, self.used, strict=True)
            if column.kind == "number" and column.width > 2
        )

    def __str__(self) -> str:
        """Return one line for each column, or one for all sites of sequences."""
        if self.alphabet:
            return f"{len(self.columns)} sites, letters {self.alphabet}"
        return "\n".join(map(str, self.columns))

    @classmethod
    def fit(
        cls, table: TableLike, columns: Mapping[str, str] | None = None, *, max_cells: int = MAX_CELLS,
        weights: Array | None = None, labelled: bool = False,
    ) -> "Schema":  # fmt: skip
        """Determine the kind of each column from training rows.

        A column of text or booleans is a category, and so is one that its library calls categorical. All other columns
        are numbers. Columns with a single value, and text columns with a different value in nearly every row, are
        dropped.

        Parameters
        ----------
        table : DataFrame, Table, mapping of columns or array of shape (n_rows, n_columns)
            Of pandas, polars or pyarrow. Missing values are those of the library, None and NaN.
        columns : mapping of str to {"number", "category", "dropped"}, optional
            Kinds of named columns, which override the automatic choice.
        max_cells : int, default=20
            Largest number of cells of a number.
        weights : ndarray of shape (n_rows,), optional
            Weight of each row as a number of rows; it affects the cells of numbers.
        labelled : bool, default=False
            Whether the rows have labels apart from the table, which missing values may depend on.

        Returns
        -------
        Schema

        Raises
        ------
        DataError
            If a column has no value at all, values of several types, or dates.
        SettingError
            If ``columns`` names a column that is not there, or an unknown kind.
        """
        frame = as_frame(table)
        if frame.library == RATINGS:
            return cls(tuple(rated_columns(frame)), RATINGS)
        wanted = check_columns(columns) or {}
        for name in wanted:
            if name not in frame.names:
                raise SettingError(Mention("columns"), f" names {name!r}: ", unknown("column", name, frame.names))
        reading = replace(READINGS["quantile"], n_cells=max_cells)
        found = [read_column(frame, i, wanted.get(name), reading, weights) for i, name in enumerate(frame.names)]
        for i, (levels, ordered) in ((frame.names.index(name), each) for name, each in frame.levels.items()):
            found[i] = replace(found[i], levels=levels, ordered=ordered)
        found = _with_gaps(frame, found, weights, labelled=labelled)
        if not any(column.width for column in found):
            raise DataError("all columns of the table are constant: pass rows that differ")
        return cls(tuple(found), frame.library)

    def encode(
        self, table: TableLike, *, handle_unknown: str | None = "error", dtype: DtypeLike = np.float32,
        gaps: bool = True,
    ) -> Array:  # fmt: skip
        """Return rows of visible units: one group of 0 and 1 for each column; NaN where a value is missing.

        After these groups, each column with gaps has a further group for whether its value is missing.

        Parameters
        ----------
        table : DataFrame, Table, mapping of columns or array
            With the columns that are used, in any order; further columns are an error, except dropped ones.
        handle_unknown : {"error", "missing", None}, default="error"
            Treatment of a category that does not occur in the training rows. None is ``"error"`` without the advice in
            the message.
        dtype : numpy dtype, default=float32
        gaps : bool, default=True
            False: a missing value may be missing or not (NaN), for rows that are conditions rather than observations.

        Returns
        -------
        ndarray of shape (n_rows, n_units)

        Raises
        ------
        DataError
            If a column is missing or unknown, or a value cannot belong to its column.
        """
        frame = as_frame(table, self.names)
        self._check_names(frame)
        out = np.zeros((frame.n_rows, self.n_units), dtype)
        for start, column in zip(self.starts, self.used, strict=True):
            if self.library == RATINGS:
                check_ratings(frame, column)
            cells = cells_of(frame, frame.names.index(column.name), column, handle_unknown)
            missing = cells < 0
            out[np.flatnonzero(~missing), start + cells[~missing]] = 1
            out[missing, start : start + column.width] = np.nan
        for name, start in self.gaps.items():
            missing = frame.column(frame.names.index(name))[1]
            out[:, start : start + 2] = np.column_stack([~missing, missing])
            if not gaps:
                out[missing, start : start + 2] = np.nan
        return out

    def _check_names(self, frame: Frame) -> None:
        missing = [column.name for column in self.used if column.name not in frame.names]
        extra = [name for name in frame.names if name not in self.names]
        if missing:
            has = f"; it has {_listed(extra)}, which the training rows lack" if extra else ""
            raise DataError(f"the table lacks {_listed(missing)}{has}")
        if extra:
            them = "it" if len(extra) == 1 else "them"
            raise DataError(f"the table has {_listed(extra)}, which the training rows lack: leave {them} out")

    def decode(
        self, units: Array, *, random: np.random.Generator | None = None, gaps: bool = False, rounded: bool = True
    ) -> dict[str, list[object]]:
        """Return the column values of rows of visible units.

        Parameters
        ----------
        units : ndarray of shape (n_rows, n_units)
            States, or probabilities; NaN: missing.
        random : Generator, optional
            Draw a category or a cell by the probabilities, and a number from the range of its cell. Without, a category
            is the most probable one, and a number the mean of its cells' values, weighted by their probabilities.
        gaps : bool, default=False
            Whether to leave out values whose units say that they are missing.
        rounded : bool, default=True
            Whether to round numbers to the decimals of the training values even in columns of a floating-point dtype.

        Returns
        -------
        dict of str to list
            Of all columns; None where a value is missing. Dropped columns have their constant value, or None.
        """
        values: dict[str, list[object]] = {}
        starts = dict(zip([column.name for column in self.used], self.starts, strict=True))
        for column in self.columns:
            if column.name in starts:
                start = starts[column.name]
                values[column.name] = values_of(column, units[:, start : start + column.width], random, rounded=rounded)
            else:
                values[column.name] = [column.values[0] if column.values else None] * len(units)
        for name, start in self.gaps.items() if gaps else ():
            bound = 0.5 if random is None else random.random(len(units))
            missing = units[:, start + 1] > bound
            values[name] = [None if gone else value for gone, value in zip(missing, values[name], strict=True)]
        return values if random is None or not gaps else self._with_absent(values, len(units), random)

    def _with_absent(
        self, values: dict[str, list[object]], n_rows: int, random: np.random.Generator
    ) -> dict[str, list[object]]:
        """Leave out values of the columns in which they are missing whatever other columns hold."""
        absent = {column.name: column.absent for column in self.used if column.absent}
        for name, share in absent.items():
            missing = random.random(n_rows) < share
            values[name] = [None if gone else value for gone, value in zip(missing, values[name], strict=True)]
        return values

    def table(self, values: Mapping[str, Sequence[object]]) -> TableLike:
        """Return columns as a table of the kind that the schema was made from, with its dtypes."""
        levels = {column.name: (column.levels, column.ordered) for column in self.columns if column.levels}
        return frame_like(values, {column.name: column.dtype for column in self.columns}, self.library, levels)

    def to_dict(self) -> StrDict:
        """Return plain values, fit for JSON."""
        values = {"library": self.library, "columns": [asdict(column) for column in self.columns]}
        return {**values, "alphabet": self.alphabet} if self.alphabet else values

    @classmethod
    def from_dict(cls, values: StrMapping) -> "Schema":
        """Return the schema that `to_dict` described.

        Raises
        ------
        DataError
            If the values describe no schema.
        """
        try:
            columns = tuple(column_from(column) for column in values["columns"])
            schema = cls(columns, str(values["library"]), str(values.get("alphabet", "")))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(f"the values describe no schema: {error}") from error
        if len(set(schema.names)) < len(columns) or not schema.used:
            raise DataError("the columns of a schema must have different names, and one of them must vary")
        if schema.alphabet and any(column.values != tuple(schema.alphabet) for column in columns):
            raise DataError("the sites of a schema must have the letters of its alphabet")
        return schema


def _listed(names: Sequence[str]) -> str:
    """Return names of columns in words."""
    return f"the column{'s' * (len(names) > 1)} {', '.join(map(repr, names))}"


def _with_gaps(
    frame: Frame, columns: Sequence[Column], weights: Array | None, *, labelled: bool
) -> list[Column]:  # fmt: skip
    """Return columns that say how their values are missing."""
    used = [i for i, column in enumerate(columns) if column.width]
    codes = [cells_of(frame, i, columns[i], "error") for i in used]
    found, counts = list(columns), None if weights is None else counted(weights)
    for place, i in enumerate(used):
        missing = frame.column(i)[1]
        if not has_gaps(missing, weights):
            continue
        if labelled or depends_on_others(codes, place, counts):
            found[i] = replace(columns[i], gaps=True)
        else:
            found[i] = replace(columns[i], absent=float(np.average(missing, weights=weights)))
    return found


def depends_on_others(codes: Sequence[Array], i: int, weights: Array | None = None) -> bool:
    """Return whether values of a column are missing more often for some values of another column.

    The test is a chi-squared test for each other column; there, missing values count as a separate value.

    Parameters
    ----------
    codes : sequence of ndarray of int of shape (n_rows,)
        Number of the value of each row, for each column; -1: missing.
    i : int
        Column to test.
    weights : ndarray of shape (n_rows,), optional
        Numbers of rows that each row stands for.

    Returns
    -------
    bool

    Examples
    --------
    >>> kind = np.arange(200) % 2
    >>> size = np.where(kind == 1, -1, np.arange(200) % 3)
    >>> depends_on_others([kind, size], 1), depends_on_others([np.arange(200) // 2 % 2, size], 1)
    (True, False)
    """
    from scipy.special import chdtrc

    missing: Array = codes[i] < 0
    share = float(np.average(missing, weights=weights))
    if not 0 < share < 1:
        return False
    for j, other in enumerate(codes):
        if j == i:
            continue
        n = np.bincount(other + 1, weights)
        gone = np.bincount(other[missing] + 1, None if weights is None else weights[missing], minlength=len(n))
        there = n > 0
        statistic = np.sum((gone[there] - share * n[there]) ** 2 / (share * (1 - share) * n[there]))
        if there.sum() > 1 and chdtrc(there.sum() - 1, statistic) * (len(codes) - 1) < LEVEL:
            return True
    return False


def table_rows(units: Array, schema: Schema) -> ArraySource:
    """Return rows of visible units that encode the rows of a table, with its schema."""
    source = ArraySource(units, compact=units.dtype == np.uint8)
    vars(source)["schema"] = schema
    return source


def table_schema(source: RowSource) -> Schema | None:
    """Return the schema of rows that encode a table; None for other rows."""
    found = getattr(underlying(source), "schema", None)
    return found if isinstance(found, Schema) else None


def check_columns(columns: object) -> dict[str, str] | None:
    """Return the kinds of columns that were given, checked."""
    if columns is None:
        return None
    if not isinstance(columns, Mapping):
        raise SettingError(f"`columns` must map names of columns to kinds, got {columns!r}.")
    for name, kind in columns.items():
        if kind not in KINDS:
            raise SettingError(Mention("columns"), f" of {name!r}: ", unknown("kind", kind, KINDS))
    return dict(columns)

"""Files of mixed columns as rows of visible units: numbers, text, booleans and missing values."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from deepbelief.errors import DataError, NotNumericError
from deepbelief.sources.content import MEMORY_LIMIT, Content, FileTable, size_text
from deepbelief.sources.files import labels_of, read, split_spec, told
from deepbelief.sources.formats import FORMATS, format_of
from deepbelief.sources.frames import as_frame, needs_schema
from deepbelief.sources.rows import ArraySource, RowSource
from deepbelief.sources.schema import Schema, table_rows, table_schema
from deepbelief.sources.table_columns import Column


def type_of(column: Column) -> str:
    """Return the type of a column's cells in a text file."""
    if column.kind == "number" or (column.values and isinstance(column.values[0], (int, float))):
        return "boolean" if column.values and isinstance(column.values[0], bool) else "number"
    return "text"


def read_table(
    spec: str, labels: str | None = None, limit: int | None = None, *, schema: Schema | None = None,
    columns: Mapping[str, str] | None = None,
) -> FileTable:  # fmt: skip
    """Read a CSV or Parquet file as columns, each with numbers, booleans or texts.

    Parameters
    ----------
    spec : str
    labels : str, optional
        As in `deepbelief.sources.read`.
    limit : int, optional
        Read the first rows only.
    schema : Schema, optional
        Schema of a fitted model, with the types of its columns.
    columns : mapping of str to {"number", "category", "dropped"}, optional
        Kinds that the user requested.

    Raises
    ------
    DataError
        One line that names the file.
    """
    path, part = split_spec(spec)
    reader = FORMATS[format_of(path)].read_columns
    if reader is None or part is not None:
        kinds = ", ".join(kind for kind, known in FORMATS.items() if known.read_columns is not None)
        raise DataError(f"{spec}: columns of text and missing values are read from files of the formats {kinds} only")
    apart = labels_of(labels)
    types = {} if schema is None else {column.name: type_of(column) for column in schema.used}
    with told(path):
        found = reader(path, None if apart else labels, limit, types, columns or {})
    if apart is not None:
        n = as_frame(found.columns).n_rows
        separate = apart(n)
        if len(separate) < n or (limit is None and len(separate) != n):
            raise DataError(f"{spec} has {n} rows but there are {len(separate)} labels in {labels}; each row needs one")
        found = replace(found, labels=separate[:n])
    return found


def encoded_rows(spec: str, table: FileTable, schema: Schema, handle_unknown: str = "error") -> ArraySource:
    """Return a file's rows as visible units of a schema; errors name the file, and the line of a text file.

    Raises
    ------
    DataError
    """
    n_bytes = as_frame(table.columns).n_rows * schema.n_units * 4
    if n_bytes > MEMORY_LIMIT:
        raise DataError(f"{spec}: the rows need {size_text(n_bytes)} of memory; use fewer rows, or split the file")
    try:
        return table_rows(schema.encode(table.columns, handle_unknown=handle_unknown), schema)
    except DataError as error:
        line = "" if table.lines is None or error.row is None else f"line {table.lines[error.row]}, "
        raise error.prefixed(f"{spec}: {line}") from None


def column_names(spec: str) -> list[str]:
    """Return the names of the columns of a file, including labels; empty if it has none."""
    path, _ = split_spec(spec)
    reader = FORMATS[format_of(path)].column_names
    with told(path):
        return [] if reader is None else reader(path)


def read_mixed(
    spec: str, labels: str | None = None, limit: int | None = None, n_features: int | None = None, *,
    schema: Schema | None = None, columns: Mapping[str, str] | None = None, handle_unknown: str | None = None,
    numbers: bool = True,
) -> Content:  # fmt: skip
    """Read rows of any file; where columns hold text, booleans or missing values, as visible units of a schema.

    Parameters
    ----------
    spec, labels, limit, n_features
        As in `deepbelief.sources.read`.
    schema : Schema, optional
        Of a fitted model; None: found from the columns, where they need one.
    columns : mapping, optional
        As in `Schema.fit`; with it a file of numbers is such a table too.
    handle_unknown : {"error", "missing"}, optional
        ``"error"`` by default; of aligned sequences letters that are not in the alphabet are gaps by default.
    numbers : bool, default=True
        Whether a table of numbers with missing values gets a schema; else it stays numbers and NaN.

    Returns
    -------
    Content
        Its rows have the schema, see `table_schema`, where there is one.
    """
    if schema is not None and schema.alphabet:
        return _read_sites(spec, labels, limit, schema, handle_unknown)
    if schema is None and columns is None:
        try:
            return read(spec, labels, limit, n_features, unknown=handle_unknown)
        except NotNumericError:
            if FORMATS[format_of(split_spec(spec)[0])].read_columns is None:
                raise
    table = read_table(spec, labels, limit, schema=schema, columns=columns)
    rows: RowSource
    if schema is None and columns is None and not needs_schema(table.columns, numbers=numbers):
        frame = as_frame(table.columns)
        rows = ArraySource(np.column_stack([values.astype(np.float64) for values in frame.values]), list(frame.names))
        return Content(rows, table.labels, False, list(frame.names), table.label_name)
    if schema is None:
        try:
            schema = Schema.fit(table.columns, columns, labelled=table.labels is not None)
        except DataError as error:
            raise error.prefixed(f"{spec}: ") from None
    return Content(
        encoded_rows(spec, table, schema, handle_unknown or "error"), table.labels, False, None, table.label_name
    )


def _read_sites(
    spec: str, labels: str | None, limit: int | None, schema: Schema, handle_unknown: str | None
) -> Content:  # fmt: skip
    """Read aligned sequences for a model, by its alphabet.

    Raises
    ------
    DataError
        If the file has no sequences, or they have another number of sites.
    """
    path, _ = split_spec(spec)
    if not FORMATS[format_of(path)].letters:
        raise DataError(f"{spec}: the model takes aligned sequences of {len(schema.columns)} sites: give a FASTA file")
    content = read(f"{path}:{schema.alphabet}", labels, limit, unknown=handle_unknown)
    found = table_schema(content.rows)
    if found is None or len(found.columns) != len(schema.columns):
        n = 0 if found is None else len(found.columns)
        raise DataError(f"{spec}: sequences have {n} sites, the model was trained on {len(schema.columns)}")
    return content

"""Parquet files as data: columns of numbers, read with the package ``pyarrow`` where it is installed."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepbelief.errors import FileError, MissingExtraError, NotNumericError
from deepbelief.sources.bands import BandedSource, Bands
from deepbelief.sources.content import (
    IN_MEMORY,
    MEMORY_LIMIT,
    ROW_LIMIT,
    Content,
    FileTable,
    check_declared_size,
    names_text,
    size_text,
)
from deepbelief.sources.label_values import MAX_LABELS, check_text, label_vector, text_labels
from deepbelief.sources.rows import ArraySource, RowSource, check_shape, row_dtype, stored_dtype
from deepbelief.typing import Array, Dtype, TableLike

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import FileMetaData, ParquetFile


class ParquetSource(BandedSource):
    """Rows of a Parquet file, read as they are taken, a row group at a time.

    Parameters
    ----------
    file : pyarrow.parquet.ParquetFile
        Every column is a feature: of integers, floats or booleans. The index that pandas has written is left out.
    without : str, optional
        A column that is not a feature, such as the labels.
    name : str, optional
        Name of the file in messages.
    """

    def __init__(self, file: "ParquetFile", without: str | None = None, name: str = "the Parquet file") -> None:
        self.file, self.name = file, name
        self.feature_names, self._columns, dtypes = _features(file.schema_arrow, without, name)
        self.shape = check_shape((file.metadata.num_rows, len(self._columns)))
        self.dtype = max((row_dtype(dtype) for dtype in dtypes), key=lambda dtype: dtype.itemsize)
        self.whole = all(dtype.kind in "biu" for dtype in dtypes)
        lengths = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        self.chunk_rows = max(lengths)
        n_bytes = self.chunk_rows * self.shape[1] * self.dtype.itemsize
        if n_bytes > ROW_LIMIT:
            least = ROW_LIMIT // (self.shape[1] * self.dtype.itemsize)
            raise FileError(
                f"{name}: has row groups of {self.chunk_rows} rows, over {ROW_LIMIT >> 20} MiB that are read at once: "
                f"write it with row_group_size={least} or less"
            )
        bounds = [0, *np.cumsum(lengths).tolist()]
        self._bands = Bands(bounds, self._read, name)
        wide = [dtype for dtype in dtypes if dtype.kind in "iu" and dtype.itemsize > 2]
        if wide and self.dtype == np.float32:
            self.dtype = stored_dtype(wide[0], self._bands.between, bounds)

    def _read(self, group: int) -> Array:
        columns = self.file.read_row_group(group, use_threads=False).columns
        columns = [columns[place] for place in self._columns]
        for j, column in enumerate(columns):
            if column.null_count:
                row = int(np.argmax(column.is_null().to_numpy()))
                row += sum(self.file.metadata.row_group(i).num_rows for i in range(group))
                raise NotNumericError(
                    f"{self.name}: row {row} (counted from 0) has no value in column {self.feature_names[j][:40]!r}; "
                    "all values must be there: impute or drop missing values first"
                )
        return _rows_of(np.array([column.to_numpy() for column in columns]))


def _rows_of(columns: Array) -> Array:
    """Return the transposed array, in blocks: five times as fast as at once."""
    rows = np.empty(columns.shape[::-1], columns.dtype)
    for start in range(0, len(rows), 256):
        rows[start : start + 256] = columns[:, start : start + 256].T
    return rows


def _index_columns(schema: "pa.Schema") -> set[str]:
    """Return the columns in which pandas has written the index of a frame."""
    return {name for name in (schema.pandas_metadata or {}).get("index_columns", ()) if isinstance(name, str)}


def _features(schema: "pa.Schema", without: str | None, name: str) -> tuple[list[str], list[int], list[Dtype]]:
    """Return names, places and dtypes of the columns that are features."""
    index = _index_columns(schema) - {without}
    names, places, dtypes = [], [], []
    for place, field in enumerate(schema):
        if field.name == without or field.name in index:
            continue
        try:
            dtype = np.dtype(field.type.to_pandas_dtype())
        except (NotImplementedError, TypeError):
            dtype = np.dtype(object)
        if dtype.kind not in "biuf":
            kind = str(field.type)[:40]
            raise NotNumericError(
                f"{name}: column {field.name[:40]!r} is of type {kind}; features must be integers, floats or "
                "booleans: convert or drop it, or name it as labels"
            )
        names.append(field.name)
        places.append(place)
        dtypes.append(dtype)
    _check_names(schema, name)
    if not names:
        raise FileError(f"{name}: there is no column of numbers{' beside the labels' if without else ''}")
    return names, places, dtypes


def _check_names(schema: "pa.Schema", name: str) -> None:
    """Refuse two columns of one name."""
    twice = [column for column, n in Counter(schema.names).items() if n > 1]
    if twice:
        raise FileError(f"{name}: two columns are called {twice[0][:40]!r}; rename one")


def _open(path: Path) -> "ParquetFile":
    """Open for reading."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("Parquet files need pyarrow: pip install 'deepbelief[parquet]'") from error
    return pyarrow.parquet.ParquetFile(path)


def read_parquet(path: Path, labels: str | None = None) -> Content:
    """Read rows, and labels where a column of them is named, from a Parquet file."""
    file = _open(path)
    found = None if labels is None else _labels(path, file, labels)
    source = ParquetSource(file, labels, str(path))
    _check_pages(path, file.metadata)
    check_declared_size(path, source.shape, source.dtype.itemsize, limit=2**63)
    rows: RowSource = source
    if source.shape[0] * source.shape[1] * source.dtype.itemsize <= IN_MEMORY:
        rows = ArraySource(source.take(slice(0, source.shape[0])), source.feature_names)
        file.close()
    return Content(rows, found, source.whole, source.feature_names, labels)


def parquet_names(path: Path) -> list[str]:
    """Return the names of the columns."""
    return list(_open(path).schema_arrow.names)


def read_parquet_table(path: Path, labels: str | None = None, limit: int | None = None) -> FileTable:
    """Read columns of any type as a pyarrow Table, and the labels where a column of them is named."""
    file = _open(path)
    found = None if labels is None else _labels(path, file, labels)
    schema = file.schema_arrow
    index = _index_columns(schema) - {labels}
    _check_names(schema, str(path))
    names = [name for name in schema.names if name != labels and name not in index]
    _check_pages(path, file.metadata)
    n_bytes = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
    if n_bytes > MEMORY_LIMIT:
        raise FileError(f"{path}: the data need {size_text(n_bytes)}, over the limit of {size_text(MEMORY_LIMIT)}")
    columns = file.read(columns=names, use_threads=False)
    if limit is not None:
        columns, found = columns.slice(0, limit), None if found is None else found[:limit]
    return FileTable(columns, found, labels)


def write_table(path: Path, columns: TableLike) -> None:
    """Write a mapping of columns, or a pyarrow Table, to a Parquet file."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("Parquet files need pyarrow: pip install 'deepbelief[parquet]'") from error
    table = columns if isinstance(columns, pyarrow.Table) else pyarrow.table(dict(columns))
    pyarrow.parquet.write_table(table, path)


def _check_pages(path: Path, metadata: "FileMetaData") -> None:
    """Refuse row groups whose declared decompressed size exceeds the limit for one read."""
    for i in range(metadata.num_row_groups):
        declared = metadata.row_group(i).total_byte_size  # where its column(j) is damaged pyarrow ends the process
        if not 0 <= declared <= 2 * ROW_LIMIT:
            raise FileError(
                f"{path}: row group {i} decompresses to {size_text(declared)}, over {size_text(2 * ROW_LIMIT)}: "
                "write it with a smaller row_group_size"
            )


def _labels(path: Path, file: "ParquetFile", name: str) -> Array:
    """Read a column of labels: numbers or strings."""
    names = file.schema_arrow.names
    if name not in names:
        raise FileError(f"{path}: no column and no file is called {name!r}; available: {names_text(names)}")
    import pyarrow
    from pyarrow.compute import max as largest
    from pyarrow.compute import utf8_length

    parts, n_bytes = [], 0
    for batch in file.iter_batches(columns=[name], use_threads=False):
        part = batch.column(0)
        if pyarrow.types.is_dictionary(part.type):
            part = part.cast(part.type.value_type)
        if pyarrow.types.is_null(part.type):  # of a column without any value
            part = part.cast(pyarrow.float64())
        n_bytes += part.nbytes
        if n_bytes > MAX_LABELS:
            raise FileError(f"{path}: the labels {name!r} take {size_text(n_bytes)} or more; is it the right column?")
        if is_text := pyarrow.types.is_string(part.type) or pyarrow.types.is_large_string(part.type):
            check_text(largest(utf8_length(part)).as_py() or 0, file.metadata.num_rows, f"{path}:{name}")
        parts.append(part)
    if not parts:
        raise FileError(f"{path}: the column {name!r} holds no labels")
    column = pyarrow.chunked_array(parts)
    return (
        text_labels(column.to_pylist(), f"{path}:{name}")
        if is_text
        else label_vector(column.to_numpy(), f"{path}:{name}")
    )


def read_parquet_labels(path: Path) -> Array:
    """Read labels from a Parquet file with one column."""
    file = _open(path)
    names = [name for name in file.schema_arrow.names if name not in _index_columns(file.schema_arrow)]
    if len(names) != 1:
        raise FileError(f"{path}: a file of labels must have one column, it has {len(names)}")
    return _labels(path, file, names[0])

"""Reading of files and folders by name, with parts and labels."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from deepbelief.errors import DataError, DeepBeliefError, FileError
from deepbelief.sources.content import Content, reason_text
from deepbelief.sources.derived_rows import SubsetSource
from deepbelief.sources.formats import FORMATS, format_of
from deepbelief.sources.gzipped import check_regular
from deepbelief.sources.rows import ArraySource
from deepbelief.sources.sparse_rows import SparseSource
from deepbelief.typing import Array


def split_spec(spec: str) -> tuple[Path, str | None]:
    """Return path and part of ``FILE`` or ``FILE:PART`` (a dataset, a key or a split), or raise DataError."""
    head, colon, part = spec.rpartition(":")
    try:
        if spec and (path := Path(spec).expanduser()).exists():
            return path, None
        if colon and head and (path := Path(head).expanduser()).exists():
            return path, part
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{spec[:200]}: cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    raise DataError(f"no such file or folder: {spec}")


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn every exception of a reader into one line that names the file."""
    try:
        yield
    except FileError:
        raise
    except DataError as error:
        raise FileError(f"{path}: {error}") from error
    except MemoryError as error:
        raise FileError(f"{path}: the data do not fit into memory") from error
    except EOFError as error:
        raise FileError(f"{path}: the file is cut off: it ends before its compressed data do") from error
    except (DeepBeliefError, Warning):  # a warning is raised where the filters say so
        raise
    except Exception as error:  # on damaged files, the underlying libraries raise errors of any kind
        raise FileError(f"{path}: cannot be read: {reason_text(error)}") from error


def read(
    spec: str, labels: str | None = None, limit: int | None = None, n_features: int | None = None,
    first_index: int | None = None, unknown: str | None = None,
) -> Content:  # fmt: skip
    """Read a file, a part of a file (``FILE:PART``) or a folder of IDX files.

    Parameters
    ----------
    spec : str
        Path of a ``.npy``, ``.npz``, ``.csv``, ``.tsv``, ``.h5``, ``.parquet``, IDX, svmlight or FASTA file, of a Zarr
        store, or of a folder named as MNIST's; ``:PART`` after it names the HDF5 dataset, the Zarr array, the npz key,
        the split of a folder, or the alphabet of sequences.
    labels : str, optional
        A file with one label per row; else a column name or index (CSV), a column name (Parquet), or a key (npz, HDF5,
        Zarr).
    limit : int, optional
        Keep the first rows only.
    n_features : int, optional
        Number of features if the file does not contain it: svmlight omits trailing columns of zeros.
    first_index : {0, 1}, optional
        Index of the first column of an svmlight file in which no row has index 0.
    unknown : {"gap", "missing", "error"}, optional
        Treatment of letters that the alphabet of aligned sequences lacks; gaps by default.

    Returns
    -------
    Content

    Raises
    ------
    DataError
        One line that names the file, whatever is wrong with it.
    """
    path, part = split_spec(spec)
    label_file = _label_file(labels)
    with told(path):
        content = _read(path, part, None if label_file else labels, None if label_file else limit, unknown)
    if label_file:
        content = replace(content, labels=_read_labels(*label_file, content.rows.shape[0]))
    if first_index == 0 and content.first_index == 1 and isinstance(content.rows, SparseSource):
        content = replace(content, rows=content.rows.after_zeros(), first_index=0)
    if n_features is not None and isinstance(content.rows, SparseSource) and FORMATS[format_of(path)].open_ended:
        content = replace(content, rows=content.rows.widened(n_features))
    _check_labels(spec, content, labels)
    return first_rows(content, limit)


def read_vector(name: str, data: str) -> Array:
    """Read labels or other values for the rows: from a separate file, or by their key in the data's file.

    Parameters
    ----------
    name : str
        A file, ``FILE:PART``, or a key.
    data : str
        The data's file, as `read` takes it.

    Returns
    -------
    ndarray of shape (n,)
        int64, float64 or str.

    Raises
    ------
    DataError
        One line that names the file.
    """
    found = _label_file(name)
    try:
        path, part = found or (split_spec(data)[0], name)
    except DataError as error:
        raise DataError(f"no such file: {name}") from error
    if found is None and not FORMATS[format_of(path)].arrays:
        kinds = ", ".join(kind for kind, other in FORMATS.items() if other.arrays)
        raise DataError(f"no such file: {name} (names of arrays within the data: {kinds} only)")
    with told(path):
        return _read_labels(path, part, -1)


def _label_file(labels: str | None) -> tuple[Path, str | None] | None:
    """Return path and part if `labels` is a file; otherwise it is a name within the data."""
    if labels is None:
        return None
    try:
        path, part = split_spec(labels)
    except DataError:
        return None
    there = not path.is_dir() or FORMATS[format_of(path)].read_labels is not None
    return (check_regular(path), part) if there else None


def labels_of(labels: str | None) -> Callable[[int], Array] | None:
    """Return a reader of labels from a separate file, given the number of rows; None if there is no such file."""
    found = _label_file(labels)
    return None if found is None else lambda n_rows: _read_labels(*found, n_rows)


def _check_labels(spec: str, content: Content, labels: str | None) -> None:
    """Raise DataError unless there is one label per row, where there are labels."""
    if content.labels is not None and len(content.labels) != content.rows.shape[0]:
        origin = f" in {labels}" if labels else ""
        raise DataError(
            f"{spec} has {content.rows.shape[0]} rows but there are {len(content.labels)} labels{origin}; "
            "each row needs one (-1 for an unlabelled row)"
        )


def first_rows(content: Content, limit: int | None) -> Content:
    """Return the first rows only."""
    rows = content.rows
    if limit is None or limit >= rows.shape[0]:
        return content
    if isinstance(rows, ArraySource):
        rows = ArraySource(rows.array[:limit], rows.feature_names, compact=rows.compact)
    elif isinstance(rows, SparseSource):
        rows = SparseSource(rows.matrix[:limit])
    else:
        rows = SubsetSource(rows, np.arange(limit))
    labels = None if content.labels is None else content.labels[:limit]
    return replace(content, rows=rows, labels=labels)


def _read(
    path: Path, part: str | None, labels: str | None, limit: int | None, unknown: str | None = None
) -> Content:  # fmt: skip
    """Read with the reader of the file's format."""
    kind = format_of(path)
    chosen = FORMATS[kind]
    if path.is_file() and not path.stat().st_size:
        raise FileError(f"{path}: the file is empty")
    if part is not None and not (chosen.arrays or chosen.folder or chosen.letters):
        raise FileError(f"{path}: a {kind} file has no parts, got :{part}")
    if labels is not None and not chosen.labelled:
        labelled = ", ".join(name for name, other in FORMATS.items() if other.labelled)
        raise DataError(f"no such file of labels: {labels} (names of labels within a file: {labelled} only)")
    how = {"unknown": unknown} if chosen.letters and unknown is not None else {}
    return chosen.read(path, part, labels, limit, **how)


def _read_labels(path: Path, part: str | None, n_rows: int) -> Array:
    """Read one label per row from a separate file."""
    with told(path):
        kind = format_of(path)
        reader = FORMATS[kind].read_labels
        if reader is None:
            kinds = ", ".join(name for name, other in FORMATS.items() if other.read_labels is not None)
            raise FileError(f"{path}: labels come from files of the formats {kinds}, not a {kind}")
        return reader(path, part, n_rows)

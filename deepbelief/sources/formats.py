"""Data formats: how a file or folder is recognised, and the readers of its rows and labels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepbelief.errors import FileError
from deepbelief.sources.content import Content, FileTable, table
from deepbelief.sources.fasta import FASTA, WITH_INSERTS, read_fasta
from deepbelief.sources.gzipped import check_regular
from deepbelief.sources.h5 import read_h5, read_h5_labels
from deepbelief.sources.idx import read_idx, read_idx_array, read_idx_folder
from deepbelief.sources.label_values import label_vector
from deepbelief.sources.npz import headers_of_python_2, read_npy_header, read_npz, read_npz_labels
from deepbelief.sources.parquet import parquet_names, read_parquet, read_parquet_labels, read_parquet_table
from deepbelief.sources.rows import ArraySource
from deepbelief.sources.svmlight import read_svmlight
from deepbelief.sources.text import read_label_text, read_text
from deepbelief.sources.text_columns import read_columns, text_names
from deepbelief.sources.zarr import is_zarr, read_zarr, read_zarr_labels
from deepbelief.typing import Array

Types = Mapping[str, str]
MAGIC_IDX = tuple(bytes([0, 0, kind]) for kind in (8, 9, 11, 12, 13, 14))


@dataclass(frozen=True)
class Format:
    """Data format; to add one, create an instance and add it to `FORMATS`.

    Parameters
    ----------
    read : callable
        ``read(path, part, labels, limit)`` returns the `Content` of a file: ``part`` is the text after ``FILE:``,
        ``labels`` the name of the labels within the file, each None where it is not given; rows after the first
        ``limit`` may be left out. It raises `DataError`; any other error is reported as a file that cannot be read.
    endings : tuple of str
        Endings of the names of its files, in lower case.
    matches : callable, optional
        ``matches(path)`` decides by the content whether a file of another name has this format.
    read_labels : callable, optional
        ``read_labels(path, part, n_rows)`` returns the labels in a file that contains only labels. None means that the
        format has no such files.
    labelled : bool
        Whether labels are stored with the rows, under a name.
    arrays : bool
        Whether a file holds several arrays, each with a name.
    folder : bool
        Whether it is a folder, not a file.
    open_ended : bool
        Whether columns that are zero at the end are left out.
    read_columns : callable, optional
        ``read_columns(path, labels, limit, known, wanted)`` returns the `FileTable` of a file with columns of any type;
        ``known`` are the types of columns of a fitted model by name (``"number"``, ``"boolean"``, ``"text"``),
        ``wanted`` the kinds that a user has asked for. None: its rows are numbers.
    letters : bool
        Whether rows are sequences of letters: ``part`` is then their alphabet, and ``read`` takes ``unknown=``, the
        treatment of letters that it lacks.
    column_names : callable, optional
        ``column_names(path)`` returns the names of all columns of such a file; none where it has none.
    """

    read: Callable[..., Content]
    endings: tuple[str, ...] = ()
    matches: Callable[[Path], bool] | None = None
    read_labels: Callable[[Path, str | None, int], Array] | None = None
    labelled: bool = False
    arrays: bool = False
    folder: bool = False
    open_ended: bool = False
    read_columns: Callable[[Path, str | None, int | None, Types, Types], FileTable] | None = None
    column_names: Callable[[Path], list[str]] | None = None
    letters: bool = False


def _is_idx(path: Path) -> bool:
    """Return whether a file has a name like MNIST's files, or the first bytes of an IDX file."""
    with path.open("rb") as file:
        return "idx" in path.name.lower() or file.read(3) in MAGIC_IDX


def _load_npy(path: Path) -> Array:
    """Return a memory map of a .npy file after checking its header."""
    with path.open("rb") as file:
        shape, _ = read_npy_header(path, file)
    if 0 in shape:
        raise FileError(f"{path}: the data are empty: shape {shape}; at least one row and one column are needed")
    with headers_of_python_2():
        return np.lib.format.open_memmap(path, mode="r")


def _read_npy(path: Path, part: str | None, labels: str | None, limit: int | None) -> Content:
    array = _load_npy(path)
    return Content(ArraySource(table(array)), whole=array.dtype.kind in "biu")


FORMATS: dict[str, Format] = {
    "folder": Format(lambda path, part, *_: read_idx_folder(path, part), matches=lambda path: True, folder=True),
    "npy": Format(
        _read_npy, (".npy",), read_labels=lambda path, *_: label_vector(np.array(_load_npy(path)), str(path))
    ),
    "npz": Format(
        lambda path, part, labels, _: read_npz(path, part, labels),
        (".npz",),
        read_labels=lambda path, part, _: read_npz_labels(path, part),
        labelled=True,
        arrays=True,
    ),
    "text": Format(
        lambda path, _, labels, limit: read_text(path, labels, limit),
        (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz"),
        read_labels=lambda path, _, n_rows: read_label_text(path, n_rows),
        labelled=True,
        read_columns=read_columns,
        column_names=text_names,
    ),
    "h5": Format(
        lambda path, part, labels, _: read_h5(path, part, labels),
        (".h5", ".hdf5"),
        read_labels=lambda path, part, _: read_h5_labels(path, part),
        labelled=True,
        arrays=True,
    ),
    "zarr": Format(
        lambda path, part, labels, _: read_zarr(path, part, labels),
        matches=is_zarr,
        read_labels=lambda path, part, _: read_zarr_labels(path, part),
        labelled=True,
        arrays=True,
        folder=True,
    ),
    "parquet": Format(
        lambda path, _, labels, __: read_parquet(path, labels),
        (".parquet",),
        read_labels=lambda path, *_: read_parquet_labels(path),
        labelled=True,
        read_columns=lambda path, labels, limit, *_: read_parquet_table(path, labels, limit),
        column_names=parquet_names,
    ),
    "svmlight": Format(
        lambda path, *_: read_svmlight(path),
        (".svmlight", ".svmlight.gz", ".libsvm", ".libsvm.gz", ".svm", ".svm.gz"),
        open_ended=True,
    ),
    "fasta": Format(
        lambda path, part, _, limit, **how: read_fasta(path, part, limit, **how),
        (*FASTA, *WITH_INSERTS),
        letters=True,
    ),
    "idx": Format(
        lambda path, *_: read_idx(path),
        (".idx", ".idx.gz"),
        matches=_is_idx,
        read_labels=lambda path, *_: label_vector(read_idx_array(path), str(path)),
    ),
}
"""Data formats by name. Where several match, the last one is chosen."""


def format_of(path: Path) -> str:
    """Return the format of a file or folder, a key of `FORMATS`: by its name, else by its content.

    Raises
    ------
    DataError
        If no format matches, or the path is neither a regular file nor a folder.
    """
    is_folder = check_regular(path).is_dir()
    name = path.name.lower()
    found = {kind: known for kind, known in reversed(FORMATS.items()) if known.folder == is_folder}
    for kind, known in found.items():
        if name.endswith(known.endings):
            return kind
    for kind, known in found.items():
        if known.matches is not None and known.matches(path):
            return kind
    raise FileError(f"{path}: unknown kind of file. Give one of {formats_text()}.")


def formats_text() -> str:
    """Return the formats that can be read, as help texts and messages list them.

    Examples
    --------
    >>> formats_text()
    '.npy, .npz, .csv, .h5, .parquet, .svmlight, .fasta, .idx, a Zarr store or a folder of IDX files'
    """
    endings = [known.endings[0] for known in FORMATS.values() if known.endings]
    return f"{', '.join(endings)}, a Zarr store or a folder of IDX files"

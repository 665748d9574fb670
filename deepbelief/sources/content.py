"""Result of every reader, and checks of every file."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deepbelief.errors import FileError
from deepbelief.sources.rows import RowSource, row_dtype
from deepbelief.typing import Array, TableLike

MEMORY_LIMIT = 16 * 2**30
"""Bytes that one data set may take in memory; a file that declares more is refused before it is read."""

MAX_SHOWN = 8  # names that a message lists

MAX_EXPANSION = 1100
"""No gzip stream expands more than 1,032 times, so a file that declares more than this is invalid."""

MAX_LARGE_EXPANSION = 200
"""Times that arrays of more than `FREE_EXPANSION` may expand: real data expand less, bombs more."""

FREE_EXPANSION = 2**26
"""Bytes that any file may expand to."""

IN_MEMORY = 2**28
"""Tables up to this many bytes are read at once, larger ones as their rows are taken."""

ROW_LIMIT = 2**28
"""Maximum size in bytes of one row, or of the part of a file that is decoded at once."""

LONGEST_REASON = 200
"""Characters of another library's message that an error repeats."""

FEATURE_NAMES = "feature_names"
"""Key of the names of the columns beside an array in npz and HDF5 files."""

PREFERRED = ("X", "data")


@dataclass(frozen=True, eq=False)
class Content:
    """Rows with their labels and names, before any scaling.

    Parameters
    ----------
    rows : RowSource
    labels : ndarray of shape (n_rows,) or None
        int64, float64 or str.
    whole : bool
        True where the values are integers, by dtype or as written in a text file.
    feature_names : list of str or None
        Names of the columns, where they have some.
    label_name : str or None
        Name of the column that the labels come from, where it has one.
    first_index : int or None
        Index that an svmlight file has for the first column.
    """

    rows: RowSource
    labels: Array | None = None
    whole: bool = False
    feature_names: list[str] | None = None
    label_name: str | None = None
    first_index: int | None = None


@dataclass(frozen=True, eq=False)
class FileTable:
    """A table as read from a file.

    Parameters
    ----------
    columns : mapping of str to ndarray, or pyarrow Table
        float64 with NaN, or objects with None, without the labels.
    labels : ndarray or None
    label_name : str or None
    lines : ndarray of int or None
        Line of each row in a text file.
    """

    columns: TableLike
    labels: Array | None = field(default=None, repr=False)
    label_name: str | None = None
    lines: Array | None = field(default=None, repr=False)


def size_text(n_bytes: int) -> str:
    """Return a number of bytes with a unit."""
    size = float(n_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"


def reason_text(error: BaseException) -> str:
    """Return the first line of another library's message, truncated if it is long."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    line = next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]} ..."


def names_text(names: Iterable[str]) -> str:
    """Return a list of names for a message: the first ones, truncated if they are long."""
    shown = [name if len(name) <= 40 else f"{name[:40]}..." for name in itertools.islice(names, MAX_SHOWN + 1)]
    return ", ".join([*shown[:MAX_SHOWN], *(["..."] if len(shown) > MAX_SHOWN else [])]) or "none"


def check_declared_size(path: Path, shape: tuple[int, ...], itemsize: int, limit: int | None = None) -> int:
    """Return the bytes that a file declares, after checking them against its real size and the memory limit."""
    n_bytes = itemsize
    for length in shape:  # as Python integers: the product may exceed 64 bits
        n_bytes *= int(length)
    limit = MEMORY_LIMIT if limit is None else limit
    real = path.stat().st_size if path.is_file() else sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    if n_bytes > MAX_EXPANSION * real:
        declared = f"declares {size_text(n_bytes)} of data (shape {shape}) but has only {size_text(real)}"
        raise FileError(f"{path}: the file {declared}; it is damaged or its header is wrong")
    if n_bytes > max(FREE_EXPANSION, MAX_LARGE_EXPANSION * real):
        told = f"{size_text(real)} expand to {size_text(n_bytes)}, over {MAX_LARGE_EXPANSION} times"
        raise FileError(f"{path}: {told}: store the data uncompressed, or as a sparse matrix, if this is intended")
    if n_bytes > limit:
        raise FileError(f"{path}: the data need {size_text(n_bytes)}, over the limit of {size_text(limit)}; split them")
    return n_bytes


def choose_table(path: Path, ranks: dict[str, int], part: str | None, things: str) -> str:
    """Return the name of the table to read: the requested one, the only one of two dimensions, or X or data."""
    if part:
        return part
    tables = [name for name, rank in ranks.items() if rank >= 2] or list(ranks)
    if not tables:
        raise FileError(f"{path}: the file holds no {things}")
    preferred = [name for name in PREFERRED if name in ranks]
    if len(tables) > 1 and not preferred:
        raise FileError(f"{path}: the file holds several {things}; write {path}:/NAME with one of: {names_text(ranks)}")
    return (preferred or tables)[0]


def names_vector(values: Array, n_columns: int, origin: str) -> list[str]:
    """Return the names of columns stored with an array, or raise DataError."""
    names = [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in np.ravel(values).tolist()]
    if len(names) != n_columns or len(set(names)) != n_columns:
        raise FileError(f"{origin}: {FEATURE_NAMES} must be {n_columns} different names, got {len(names)}")
    return names


def table(array: Array) -> Array:
    """Flatten images and other arrays into rows: shape (n, ...) becomes (n, n_features)."""
    row_dtype(array.dtype)
    return array.reshape(len(array), -1) if array.ndim > 2 and array.size else array

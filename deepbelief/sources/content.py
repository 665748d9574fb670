"""What every reader gives back, and the checks that every file goes through."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbelief.errors import DataError
from deepbelief.sources.rows import RowSource, row_dtype

MEMORY_LIMIT = 16 * 2**30
"""Bytes that one data set may take in memory; a file that declares more is refused before it is read."""

MAX_EXPANSION = 1100
"""No gzip stream expands more than 1,032 times, so a file that declares more than this is not honest."""

IN_MEMORY = 2**28
"""Tables up to this many bytes are read at once, larger ones as their rows are taken."""

ROW_LIMIT = 2**28
"""Bytes that one row, or what of a file is decoded at once, may take."""

PREFERRED = ("X", "data")


@dataclass(frozen=True, eq=False)
class Content:
    """Rows and what came with them, before any scaling.

    Parameters
    ----------
    rows : RowSource
    labels : ndarray of shape (n_rows,) or None
        int64, float64 or str.
    whole : bool
        True where the values are integers, by dtype or as written in a text file.
    feature_names : list of str or None
    """

    rows: RowSource
    labels: NDArray[Any] | None = None
    whole: bool = False
    feature_names: list[str] | None = None


def size_text(n_bytes: int) -> str:
    """Return a number of bytes as people write it."""
    size = float(n_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"


def check_declared_size(path: Path, shape: tuple[int, ...], itemsize: int, limit: int | None = None) -> int:
    """Return the bytes that a file declares, after checking them against its real size and the memory limit."""
    n_bytes = itemsize
    for length in shape:  # as Python integers: the product may exceed 64 bits
        n_bytes *= int(length)
    limit = MEMORY_LIMIT if limit is None else limit
    real = path.stat().st_size if path.is_file() else sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    if n_bytes > MAX_EXPANSION * real:
        declared = f"declares {size_text(n_bytes)} of data (shape {shape}) but has only {size_text(real)}"
        raise DataError(f"{path}: the file {declared}; it is damaged or not what it says")
    if n_bytes > limit:
        raise DataError(f"{path}: the data need {size_text(n_bytes)}, over the limit of {size_text(limit)}; split them")
    return n_bytes


def choose_table(path: Path, ranks: dict[str, int], part: str | None, things: str) -> str:
    """Return the name of the table to read: the one asked for, the only one of two dimensions, or X or data."""
    if part:
        return part
    tables = [name for name, rank in ranks.items() if rank >= 2] or list(ranks)
    if not tables:
        raise DataError(f"{path}: the file holds no {things}")
    preferred = [name for name in PREFERRED if name in ranks]
    if len(tables) > 1 and not preferred:
        raise DataError(f"{path}: the file holds several {things}; write {path}:/NAME with one of: {', '.join(ranks)}")
    return (preferred or tables)[0]


def table(array: NDArray[Any]) -> NDArray[Any]:
    """Return images and the like as one row each: shape (n, ...) becomes (n, n_features)."""
    row_dtype(array.dtype)
    return array.reshape(len(array), -1) if array.ndim > 2 and array.size else array


def label_vector(values: Any, origin: str) -> NDArray[Any]:
    """Return labels as a vector of int64, float64 or str, or raise DataError."""
    labels = np.asarray(values)
    if labels.ndim == 2 and 1 in labels.shape:
        labels = labels.ravel()
    if labels.ndim != 1:
        raise DataError(f"{origin}: labels must be one per row, got shape {labels.shape}")
    kind = labels.dtype.kind
    if kind in "biu":
        return labels.astype(np.int64)
    if kind == "f":
        if not np.isfinite(labels).all():
            bad = int(np.argmin(np.isfinite(labels)))
            raise DataError(f"{origin}: label {bad} (counted from 0) is {labels[bad]}; write -1 for an unlabelled row")
        return labels.astype(np.float64)
    if kind == "S":
        return np.char.decode(labels, "utf-8")
    if kind == "U":
        return labels
    raise DataError(f"{origin}: labels must be integers, floats or strings, got dtype {labels.dtype}")


def parse_labels(cells: list[str], origin: str) -> NDArray[Any]:
    """Return labels written as text: integers if all are, else floats if all are, else strings."""
    for convert in (int, float):
        try:
            return label_vector([convert(cell) for cell in cells], origin)
        except DataError:
            raise
        except (ValueError, OverflowError):
            continue
    return np.array([cell.strip() for cell in cells])

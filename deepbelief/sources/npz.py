"""NumPy's archives as data: arrays, and sparse matrices as ``scipy.sparse.save_npz`` writes them."""

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from deepbelief.errors import FileError
from deepbelief.sources.content import (
    FEATURE_NAMES,
    ROW_LIMIT,
    Content,
    check_declared_size,
    names_text,
    names_vector,
    table,
)
from deepbelief.sources.label_values import label_vector
from deepbelief.sources.rows import ArraySource
from deepbelief.sources.sparse_rows import SparseSource, check_columns
from deepbelief.typing import Array, Dtype

PICKLED = "holds pickled Python objects, which are never loaded; save an array of numbers"


@contextmanager
def headers_of_python_2() -> Iterator[None]:
    """Suppress NumPy's warning that the header of an array written by Python 2 is slow to read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def read_npy_header(path: Path, file: IO[bytes]) -> tuple[tuple[int, ...], Dtype]:
    """Return shape and dtype of the array that starts here, after refusing pickled objects."""
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with headers_of_python_2():
        shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise FileError(f"{path}: {PICKLED}")
    return shape, dtype


@contextmanager
def _open(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive of arrays."""
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            raise FileError(f"{path}: not an .npz file")
        with zipfile.ZipFile(file) as archive:
            yield archive


def _keys(archive: zipfile.ZipFile) -> list[str]:
    """Return the names of the arrays."""
    return [name.removesuffix(".npy") for name in archive.namelist()]


def _choose(path: Path, keys: list[str], part: str | None) -> str:
    """Return the key to read: the requested one, the only one, or the one called X or data."""
    if part is not None:
        if part not in keys:
            raise FileError(f"{path}: no array {part!r}; available: {names_text(keys)}")
        return part
    preferred = [key for key in ("X", "data") if key in keys]
    if len(keys) != 1 and not preferred:
        raise FileError(f"{path}: the file holds several arrays; write {path}:NAME with one of: {names_text(keys)}")
    return (preferred or keys)[0]


def _array(path: Path, archive: zipfile.ZipFile, key: str) -> Array:
    """Return one array of an archive, after checking its header, and without unpickling."""
    names = set(archive.namelist())
    member = archive.getinfo(f"{key}.npy" if f"{key}.npy" in names else key)
    check_declared_size(path, (member.file_size,), 1)
    with archive.open(member) as file:
        shape, dtype = read_npy_header(path, file)
    check_declared_size(path, shape, dtype.itemsize)
    n_bytes = dtype.itemsize
    for length in shape:
        n_bytes *= int(length)
    if n_bytes > member.file_size:
        raise FileError(f"{path}: the array {key!r} is cut off: it declares shape {shape} of {dtype}")
    with archive.open(member) as file, headers_of_python_2():
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def read_npz(path: Path, part: str | None, labels: str | None) -> Content:
    """Read an array, or a matrix as scipy.sparse.save_npz writes it, its labels, and the names of its columns."""
    with _open(path) as archive:
        keys, found = _keys(archive), None
        if labels is not None:
            if labels not in keys:
                raise FileError(f"{path}: no file and no array is called {labels!r}; available: {names_text(keys)}")
            found = label_vector(_array(path, archive, labels), f"{path}:{labels}")
        if part is None and {"format", "data", "shape"} <= set(keys):
            rows = _sparse(path, {key: _array(path, archive, key) for key in keys if key != labels})
            return Content(rows, found, bool((rows.matrix.data == np.rint(rows.matrix.data)).all()))
        array = table(_array(path, archive, _choose(path, keys, part)))
        names = None
        if FEATURE_NAMES in keys and array.ndim == 2:
            names = names_vector(_array(path, archive, FEATURE_NAMES), array.shape[1], str(path))
    return Content(ArraySource(array, names), found, array.dtype.kind in "biu", names)


def read_npz_labels(path: Path, part: str | None) -> Array:
    """Read labels from an array of an archive."""
    with _open(path) as archive:
        key = _choose(path, _keys(archive), part)
        return label_vector(_array(path, archive, key), f"{path}:{key}")


def _sparse(path: Path, arrays: dict[str, Array]) -> SparseSource:
    """Build a sparse matrix from arrays in memory; `SparseSource` checks its indices."""
    import scipy.sparse

    kind = arrays["format"].item()
    kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
    shape = tuple(int(n) for n in arrays["shape"].ravel())
    if len(shape) != 2 or min(shape) < 0:
        raise FileError(f"{path}: a sparse matrix has two dimensions, got shape {shape}")
    check_columns(shape[1], str(path))
    if 8 * shape[0] > max(ROW_LIMIT, 200 * path.stat().st_size):
        raise FileError(f"{path}: declares {shape[0]} rows, more than the file can hold")
    data = arrays["data"]
    match kind:
        case "csr" | "csc" | "bsr":
            build = getattr(scipy.sparse, f"{kind}_array")
            return SparseSource(build((data, arrays["indices"], arrays["indptr"]), shape=shape))
        case "coo":
            places = (arrays["row"], arrays["col"]) if "row" in arrays else tuple(arrays["coords"])
            return SparseSource(scipy.sparse.coo_array((data, places), shape=shape))
        case "dia":
            return SparseSource(scipy.sparse.dia_array((data, arrays["offsets"]), shape=shape))
    raise FileError(f"{path}: a sparse matrix of the unknown format {kind[:20]!r}")

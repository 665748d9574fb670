"""Rows on the host, read by index: the common interface of all kinds of data."""

import hashlib
import itertools
import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deepbelief.errors import DataError
from deepbelief.typing import Array, Dtype, FloatArray, StrDict

RowIndex: TypeAlias = slice | NDArray[np.intp]


LARGEST_BLOCK = 2**28  # bytes of rows that are read at once
MAPPED_ROWS = 64  # scattered rows of a memory map that are read at once: each maps the pages around it too
LARGEST_EXACT = 2**24  # up to which float32 holds each integer


@runtime_checkable
class RowSource(Protocol):
    """Interface of rows of numbers that are read by index.

    Attributes
    ----------
    shape : tuple of int
        (n_rows, n_features).
    dtype : numpy.dtype
        Dtype of the rows that `take` returns: float64 for float64 data and integers beyond 2**24, otherwise float32.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and number of features."""
        ...

    @property
    def dtype(self) -> Dtype:
        """Dtype of the rows that `take` returns."""
        ...

    def take(self, rows: RowIndex, out: FloatArray | None = None) -> FloatArray:
        """Return these rows as a C-contiguous array, written into `out` if given.

        Parameters
        ----------
        rows : slice or ndarray of int of shape (n,)
            Indices lie in 0 to n_rows - 1, in any order and with repeats.
        out : ndarray of shape (n, n_features), optional
            Without it the result may be a view of the data: do not write to it.

        Returns
        -------
        ndarray of shape (n, n_features)
        """
        ...


def row_dtype(dtype: Dtype) -> Dtype:
    """Return float64 for float64 (or wider) data and float32 for every other real dtype."""
    if dtype.kind not in "biuf":
        raise DataError(f"rows must be real numbers, got dtype {dtype}; convert them to floats or integers first")
    return np.dtype(np.float64 if dtype.kind == "f" and dtype.itemsize >= 8 else np.float32)


def exact_dtype(values: Array) -> Dtype:
    """Return the dtype of rows that hold these values: float64 for integers that float32 would round.

    Examples
    --------
    >>> exact_dtype(np.array([1, 255])), exact_dtype(np.array([1_700_000_001, 0]))
    (dtype('float32'), dtype('float64'))
    """
    dtype = row_dtype(values.dtype)
    wide = values.dtype.kind in "iu" and values.dtype.itemsize > 2 and values.size
    if wide and (int(values.max()) > LARGEST_EXACT or int(values.min()) < -LARGEST_EXACT):
        return np.dtype(np.float64)
    return dtype


def stored_dtype(dtype: Dtype, read: Callable[[slice], Array], bounds: Iterable[int]) -> Dtype:
    """Return the dtype of rows of a file; integers of more than 16 bits are read until one is too large for float32.

    Parameters
    ----------
    dtype : dtype
        Of the file.
    read : callable
        Returns the rows of a slice.
    bounds : iterable of int
        Rows from the first to the number of rows; those between two neighbours are read together.
    """
    if dtype.kind in "iu" and dtype.itemsize > 2:
        for start, stop in itertools.pairwise(bounds):
            if exact_dtype(read(slice(start, stop))) == np.float64:
                return np.dtype(np.float64)
    return row_dtype(dtype)


def bounds_of(n: int, size: int, n_bytes: int) -> list[int]:
    """Return the bounds of blocks of whole chunks of ``size`` rows, as many as take up to `LARGEST_BLOCK` bytes.

    Parameters
    ----------
    n, size : int
        Rows of the whole, and of a chunk.
    n_bytes : int
        Of one row.
    """
    return [*range(0, n, max(1, LARGEST_BLOCK // (n_bytes * size)) * size), n]


def check_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the shape of a non-empty table, otherwise raise DataError."""
    if len(shape) != 2:
        raise DataError(f"rows must form a table of shape (n_rows, n_features), got shape {shape}; reshape it first")
    if 0 in shape:
        raise DataError(f"the data are empty: shape {shape}; at least one row and one column are needed")
    return int(shape[0]), int(shape[1])


def _count(rows: RowIndex, n: int) -> int:
    """Return the number of requested rows."""
    return len(range(*rows.indices(n))) if isinstance(rows, slice) else len(rows)


def _indices(rows: Array, n: int) -> NDArray[np.intp]:
    """Return the indices as intp after checking that each names a row."""
    indices = np.asarray(rows)
    if indices.ndim != 1 or (indices.dtype.kind not in "iu" and indices.size):
        raise IndexError(f"row indices must be a vector of integers, got {indices.dtype} of shape {indices.shape}")
    indices = np.ascontiguousarray(indices, dtype=np.intp)
    # As unsigned words negative indices become huge, so one reduction finds both ends.
    if indices.size and indices.view(np.uintp).max() >= n:
        raise IndexError(f"row indices must lie in 0..{n - 1}, got {indices.min()}..{indices.max()}")
    return indices


class HostRows:
    """Base of sources that keep their shape and dtype as attributes."""

    shape: tuple[int, int]
    dtype: Dtype

    def __repr__(self) -> str:
        """Show the shape rather than the values."""
        return f"{type(self).__name__}({self.shape[0]} x {self.shape[1]}, {self.dtype})"

    def _room(self, rows: RowIndex) -> FloatArray:
        """Return an array for these rows, to be filled."""
        return np.empty((_count(rows, self.shape[0]), self.shape[1]), self.dtype)


def _deliver(values: Array, dtype: Dtype, out: FloatArray | None) -> FloatArray:
    """Copy the values into `out`, or convert them to a C-contiguous array of this dtype where they are not one."""
    if out is None:
        found: FloatArray = np.ascontiguousarray(values, dtype=dtype)
        return found if found.flags.aligned else found.copy()
    np.copyto(out, values, casting="unsafe")
    return out


def _map_behind(array: Array) -> mmap.mmap | None:
    """Return the read-only memory map that holds an array, or None."""
    owner: object = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return owner if isinstance(owner, mmap.mmap) else None


def _forget(map_: mmap.mmap, part: Array) -> None:
    """Release the pages of a map that have been copied: the system keeps them, but not as this process's memory.

    Pages of a writable map are kept, because they may hold data that are not in the file.
    """
    if part.flags.writeable or not part.flags.c_contiguous or not part.nbytes or not hasattr(map_, "madvise"):
        return
    first = part.ctypes.data - np.frombuffer(map_, np.uint8).ctypes.data
    start = first - first % mmap.PAGESIZE
    map_.madvise(mmap.MADV_DONTNEED, start, first + part.nbytes - start)


def chunk_rows(source: object) -> int:
    """Return the minimum number of rows of a file that are read together."""
    while hasattr(source, "source"):
        source = source.source
    return int(getattr(source, "chunk_rows", 1))


class ArraySource(HostRows):
    """Rows of a dense array or memory map of any real dtype, which is not copied.

    Parameters
    ----------
    array : ndarray of shape (n_rows, n_features)
    feature_names : list of str, optional
        Names of the columns.
    compact : bool
        Whether a reader chose the dtype only to save memory.

    Examples
    --------
    >>> import numpy as np
    >>> ArraySource(np.eye(3, dtype=np.uint8)).take(np.array([2, 0]))
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """

    def __init__(self, array: Array, feature_names: list[str] | None = None, *, compact: bool = False) -> None:
        self.array, self.compact = np.asarray(array), compact
        self.feature_names = feature_names
        self.shape = check_shape(self.array.shape)
        self.dtype = exact_dtype(self.array)
        # np.take copies the whole array first unless it is C-contiguous, aligned and in native byte order.
        flags = self.array.flags
        self._plain = flags.c_contiguous and flags.aligned and self.array.dtype.isnative
        self._map = _map_behind(self.array)

    @property
    def is_in_memory(self) -> bool:
        """Whether the rows are in memory, rather than in a file that is mapped into it."""
        return self._map is None

    def take(self, rows: RowIndex, out: FloatArray | None = None) -> FloatArray:
        """Return these rows (see `RowSource.take`)."""
        if isinstance(rows, slice):
            found = _deliver(self.array[rows], self.dtype, out)
            if out is not None:
                self.release()
            return found
        rows = _indices(rows, self.shape[0])
        if self._map is not None and len(rows) > MAPPED_ROWS:
            out = np.empty((len(rows), self.shape[1]), self.dtype) if out is None else out
            for start in range(0, len(rows), MAPPED_ROWS):
                self.take(rows[start : start + MAPPED_ROWS], out[start : start + MAPPED_ROWS])
            return out
        if self._plain and self.array.dtype == self.dtype and (out is None or out.dtype == self.dtype):
            found = np.take(self.array, rows, axis=0, out=out, mode="clip")
        else:
            found = _deliver(np.take(self.array, rows, axis=0) if self._plain else self.array[rows], self.dtype, out)
        self.release()
        return found

    def release(self) -> None:
        """Release all pages of a memory map: the system keeps them, but not as this process's memory.

        Reading a row maps the pages around it too, which would add up to the whole file.
        """
        if self._map is not None:
            _forget(self._map, self.array)


def blocks(source: RowSource, size: int = 1024) -> Iterator[FloatArray]:
    """Yield consecutive blocks of at most `size` rows; they may be views: do not write to them."""
    size = max(1, min(size, LARGEST_BLOCK // (source.shape[1] * source.dtype.itemsize)))
    below: object = source
    while hasattr(below, "source"):
        below = below.source
    for start in range(0, source.shape[0], size):
        yield source.take(slice(start, start + size))
        if isinstance(below, ArraySource):  # a mapped file would else count as this process's memory
            below.release()


WHOLE = 2**28  # bytes; smaller sets are digested whole
PARTS, PART_ROWS = 64, 256  # of larger sets: number of blocks, and rows of each


def fingerprint(source: RowSource) -> StrDict:
    """Return plain values that identify the rows; above 256 MiB they depend on evenly spaced blocks only.

    Examples
    --------
    >>> from deepbelief.sources import as_source
    >>> one, other = (fingerprint(as_source([[0.0, value]])) for value in (1.0, 2.0))
    >>> one["rows"], one["columns"], one["sha256"] == other["sha256"]
    (1, 2, False)
    """
    n, n_features = source.shape
    starts: Sequence[int] = range(0, n, PART_ROWS)
    if n * n_features * source.dtype.itemsize > WHOLE and n > PARTS * PART_ROWS:
        starts = np.linspace(0, n - PART_ROWS, PARTS).astype(int).tolist()
    found = hashlib.sha256()
    for start in starts:
        found.update(source.take(slice(start, start + PART_ROWS)).data)
    return {"rows": n, "columns": n_features, "dtype": source.dtype.name, "sha256": found.hexdigest()}


def digest(array: Array) -> str:
    """Return the SHA-256 of an array's dtype, shape and values, in hexadecimal digits."""
    found = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    found.update(repr(array.tolist()).encode() if array.dtype.hasobject else np.ascontiguousarray(array).tobytes())
    return found.hexdigest()

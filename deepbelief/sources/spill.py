"""Computed rows that do not fit in memory: stored in an unnamed temporary file, or recomputed."""

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from deepbelief.errors import DataError
from deepbelief.sources.rows import HostRows, RowIndex, RowSource, _deliver, _indices, check_shape
from deepbelief.typing import DtypeLike, FloatArray

DISK_SHARE = 2  # maximum share of the free disk space for spilled rows


def spill_folder() -> str:
    """Return the folder for spilled rows: TMPDIR, else /var/tmp (on disk, unlike /tmp), else the system's default."""
    large = Path("/var/tmp")
    usable = "TMPDIR" not in os.environ and large.is_dir() and os.access(large, os.W_OK)
    return str(large) if usable else tempfile.gettempdir()


def fits_on_disk(n_bytes: int) -> bool:
    """Return whether a number of bytes may be spilled."""
    return n_bytes <= shutil.disk_usage(spill_folder()).free // DISK_SHARE


class SpilledSource(HostRows):
    """Rows in a temporary file, appended block by block before the first is taken.

    On POSIX systems the file has no name and disappears when the process ends for any reason.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    dtype : numpy dtype
        Dtype of the values.

    Examples
    --------
    >>> source = SpilledSource((3, 2), np.float32)
    >>> source.append(np.arange(6, dtype=np.float32).reshape(3, 2))
    >>> source.take(np.array([2, 0]))
    array([[4., 5.],
           [0., 1.]], dtype=float32)
    """

    def __init__(self, shape: tuple[int, int], dtype: DtypeLike) -> None:
        self.shape = check_shape(shape)
        self.dtype = np.dtype(dtype)
        self._row = self.shape[1] * self.dtype.itemsize
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=spill_folder(), buffering=0)  # noqa: SIM115
        self._lock = threading.Lock()
        weakref.finalize(self, self._file.close)

    def append(self, block: FloatArray) -> None:
        """Write the next rows; OSError where the disk is full."""
        left = np.ascontiguousarray(block, self.dtype).data.cast("B")
        while left:
            left = left[self._file.write(left) :]

    def take(self, rows: RowIndex, out: FloatArray | None = None) -> FloatArray:
        """Return these rows (see `RowSource.take`)."""
        index = np.arange(*rows.indices(self.shape[0])) if isinstance(rows, slice) else _indices(rows, self.shape[0])
        room = np.empty((len(index), self.shape[1]), self.dtype) if out is None or out.dtype != self.dtype else out
        # Neighbours are read together.
        ends = np.flatnonzero(np.diff(index) != 1) + 1
        for start, stop in zip([0, *ends], [*ends, len(index)], strict=True):
            if stop > start:
                self._read(int(index[start]), room[start:stop])
        if out is not None and out is not room:
            np.copyto(out, room, casting="unsafe")
        return room if out is None else out

    def _read(self, first: int, room: FloatArray) -> None:
        view = room.data.cast("B")
        with self._lock:  # two threads share the place in the file
            self._file.seek(first * self._row)
            while view:
                n = self._file.readinto(view)  # type: ignore[attr-defined]
                if not n:
                    raise DataError("rows that were kept in a temporary file are no longer there")
                view = view[n:]


class ComputedSource(HostRows):
    """Rows that are computed from those of another source at each read, if there is no space to store them.

    Parameters
    ----------
    source : RowSource
    compute : callable
        Computes rows from rows of the source.
    width : int
        Number of columns of the result.
    dtype : numpy dtype
        Dtype of the result.
    """

    def __init__(
        self, source: RowSource, compute: Callable[[FloatArray], FloatArray], width: int, dtype: DtypeLike
    ) -> None:
        self.below, self._compute = source, compute
        self.shape, self.dtype = (source.shape[0], width), np.dtype(dtype)

    def take(self, rows: RowIndex, out: FloatArray | None = None) -> FloatArray:
        """Return these rows (see `RowSource.take`)."""
        return _deliver(self._compute(self.below.take(rows)), self.dtype, out)

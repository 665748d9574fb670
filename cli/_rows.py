"""Rows of numbers or labels out: CSV, NPY or HDF5, block by block."""

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from deepbelief.errors import SettingError, unknown
from deepbelief.typing import Array, DtypeLike

STDOUT = "-"


class Writer(Protocol):
    """Takes consecutive blocks of rows."""

    def write(self, block: Array) -> None:
        """Append a block of shape (n, n_columns) or (n,)."""


class CsvWriter:
    """Comma-separated cells below a header; floats with the digits that give them back."""

    def __init__(self, file: IO[str], header: Sequence[str]) -> None:
        self._out = csv.writer(file, lineterminator="\n")
        self._out.writerow(header)

    def write(self, block: Array) -> None:
        """Append a block."""
        table = block.reshape(len(block), -1)
        if table.dtype.kind == "f":
            digits = "%.9g" if table.dtype.itemsize <= 4 else "%.17g"
            self._out.writerows([digits % value for value in row] for row in table.tolist())
        else:
            self._out.writerows(table.tolist())


class NpyWriter:
    """NumPy's format: a header for all rows, then their bytes."""

    def __init__(self, file: IO[bytes], shape: tuple[int, ...], dtype: DtypeLike) -> None:
        self._file, self._dtype = file, np.dtype(dtype)
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)

    def write(self, block: Array) -> None:
        """Append a block."""
        self._file.write(np.ascontiguousarray(block, self._dtype).tobytes())


class Hdf5Writer:
    """An HDF5 file with one dataset."""

    def __init__(self, file: Any, name: str, shape: tuple[int, ...], dtype: DtypeLike) -> None:
        self._dataset = file.create_dataset(name, shape, dtype)
        self._next = 0

    def write(self, block: Array) -> None:
        """Append a block."""
        self._dataset[self._next : self._next + len(block)] = block
        self._next += len(block)


def check_format(path: str, formats: Iterable[str]) -> str:
    """Return the format of an output file by the end of its name.

    Raises
    ------
    SettingError
        If it is none of the allowed ones.
    """
    formats = tuple(formats)
    ending = ".csv" if path == STDOUT else Path(path).suffix.lower()
    if ending not in formats:
        raise SettingError(f"{path}: ", unknown("ending", ending, formats))
    return ending


@contextmanager
def writing(
    path: str, *, shape: tuple[int, ...], dtype: DtypeLike, header: Sequence[str], name: str
) -> Iterator[Writer]:
    """Give a writer for a file that appears whole or not at all, or for stdout (``-``).

    Parameters
    ----------
    path : str
    shape, dtype
        Of all blocks together.
    header : sequence of str
        Column names (CSV).
    name : str
        Name of the dataset (HDF5).
    """
    if path == STDOUT:
        yield CsvWriter(sys.stdout, header)
        return
    from deepbelief.hdf5 import replacing

    with replacing(path) as temporary:
        match check_format(path, (".csv", ".npy", ".h5")):
            case ".csv":
                with temporary.open("w", encoding="utf-8", newline="") as text:
                    yield CsvWriter(text, header)
            case ".npy":
                with temporary.open("wb") as binary:
                    yield NpyWriter(binary, shape, dtype)
            case _:
                import h5py

                with h5py.File(temporary, "w") as file:
                    yield Hdf5Writer(file, name, shape, dtype)

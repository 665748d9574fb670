"""Rows in files: CSV, npy and HDF5, written block by block, so that they need not fit in memory."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from deepbelief.errors import SettingError, unknown
from deepbelief.typing import StrMapping

from ._annotations import Array, DtypeLike
from ._tables import STDOUT, csv_file


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


def write_blocks(
    path: str, blocks: Iterable[Array], *, shape: tuple[int, ...], dtype: DtypeLike, header: Sequence[str], name: str
) -> None:
    """Write blocks of rows to a file that appears whole or not at all, or to stdout (``-``).

    Parameters
    ----------
    path : str
    blocks : iterable of ndarray
    shape, dtype
        Of all blocks together.
    header : sequence of str
        Column names (CSV).
    name : str
        Name of the dataset (HDF5).
    """
    import numpy as np

    from deepbelief.hdf5 import replacing

    ending = check_format(path, (".csv", ".npy", ".h5"))
    if ending == ".csv":
        with csv_file(path) as text:
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(header)
            for block in blocks:
                writer.writerows(_cells(block))
        return
    with replacing(path) as temporary:
        if ending == ".npy":
            about: StrMapping = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False}
            with temporary.open("wb") as file:
                np.lib.format.write_array_header_2_0(file, {**about, "shape": shape})
                for block in blocks:
                    file.write(np.ascontiguousarray(block, dtype).tobytes())
            return
        import h5py

        with h5py.File(temporary, "w") as store:
            dataset, start = store.create_dataset(name, shape, dtype), 0
            for block in blocks:
                dataset[start : start + len(block)] = block
                start += len(block)


def _cells(block: Array) -> Iterator[Sequence[object]]:
    """Yield the rows of a block with enough digits of each number to read it back."""
    rows = block.reshape(len(block), -1).tolist()
    if block.dtype.kind != "f":
        yield from rows
        return
    digits = "%.9g" if block.dtype.itemsize <= 4 else "%.17g"
    for row in rows:
        yield [digits % value for value in row]

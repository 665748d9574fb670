"""Strings of variable length in HDF5 files; their heaps are checked first, because libhdf5 may loop on damaged ones."""

import mmap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepbelief.errors import FileError

if TYPE_CHECKING:
    import h5py

SIGNATURE = b"GCOL\x01\x00\x00\x00"  # with version 1 and three reserved bytes
HEADER = 16  # bytes before the objects of a heap, and before the data of each object
FREE_SPACE = 0  # index of the object that is the unused rest


def check_strings(path: Path, dataset: "h5py.Dataset") -> None:
    """Refuse values in damaged global heaps, and values of variable length that are not strings.

    Raises
    ------
    DataError
    """
    import h5py

    if not dataset.dtype.hasobject:
        return
    where = f"{path}:{dataset.name}"
    if h5py.check_string_dtype(dataset.dtype) is None:
        raise FileError(f"{where} must hold numbers or strings, got dtype {dataset.dtype}: convert it")
    layout = dataset.file.id.get_create_plist()
    offset_width, length_width = layout.get_sizes()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        left = len(content) // HEADER  # number of objects that fit into adjacent heaps
        for start in _heaps(content, dataset, offset_width, layout.get_userblock()):
            left -= _count_objects(content, start, length_width, left)
            if left < 0:
                raise FileError(f"{where} is damaged: the heap of its strings at byte {start} cannot be read")


def _heaps(content: mmap.mmap, dataset: "h5py.Dataset", offset_width: int, base: int) -> list[int]:
    """Return the addresses of the heaps that libhdf5 may read for this dataset."""
    first = dataset.id.get_offset()
    if first is None or not dataset.id.get_storage_size():  # chunked, compact or never written: any heap of the file
        found, at = [], content.find(SIGNATURE)
        while at >= 0:
            found.append(at)
            at = content.find(SIGNATURE, at + 1)
        return found
    # Each value is its length in 4 bytes, the address of its heap, and its index there in 4 bytes.
    value = 8 + offset_width
    raw = np.frombuffer(content[first : first + value * dataset.size], np.uint8)
    addresses = raw[: raw.size // value * value].reshape(-1, value)[:, 4 : 4 + offset_width]
    unique = {int.from_bytes(row, "little") for row in np.unique(addresses, axis=0).tolist()}
    undefined = 256**offset_width - 1
    return sorted(base + address for address in unique if address not in {0, undefined})


def _count_objects(content: mmap.mmap, start: int, width: int, limit: int) -> int:
    """Return the number of objects of a heap; more than the limit where they do not lead to its end."""

    def number(at: int, size: int) -> int:
        return int.from_bytes(content[at : at + size], "little")

    stop = start + number(start + len(SIGNATURE), width)
    if content[start : start + len(SIGNATURE)] != SIGNATURE or stop > len(content):
        return limit + 1
    at, count = start + HEADER, 0
    while at + HEADER <= stop and count <= limit:
        size = number(at + 8, width)
        step = size if number(at, 2) == FREE_SPACE else HEADER + -(-size // 8) * 8
        if step < HEADER:
            return limit + 1
        at, count = at + step, count + 1
    return count if at <= stop else limit + 1

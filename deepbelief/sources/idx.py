"""IDX files, MNIST's format, plain or compressed with gzip; single or as a folder of four."""

import gzip
import math
import re
from pathlib import Path
from typing import IO

import numpy as np

from deepbelief.errors import FileError
from deepbelief.sources.content import Content, check_declared_size, size_text, table
from deepbelief.sources.gzipped import is_gzip
from deepbelief.sources.label_values import label_vector
from deepbelief.sources.rows import ArraySource
from deepbelief.typing import Array, Dtype

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
SPLITS = {"train": ("train",), "test": ("t10k", "test")}


def _header(path: Path, file: IO[bytes] | gzip.GzipFile) -> tuple[Dtype, tuple[int, ...]]:
    """Read dtype and shape."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES or not magic[3]:
        raise FileError(f"{path}: not an IDX file: it starts with {magic.hex(' ') or 'nothing'}, not 00 00 TYPE DIMS")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise FileError(f"{path}: the IDX file is cut off within its header")
    return np.dtype(DTYPES[magic[2]]), tuple(int(n) for n in np.frombuffer(sizes, ">u4"))


def read_idx_array(path: Path) -> Array:
    """Return the array in an IDX file: a memory map of a plain file, an array from a compressed one."""
    if is_gzip(path):
        with gzip.open(path) as file:
            dtype, shape = _header(path, file)
            n_bytes = check_declared_size(path, shape, dtype.itemsize)
            data = file.read(n_bytes)
            extra = len(file.read(1))  # reaching the end also verifies the checksum
        _check_length(path, len(data), n_bytes, extra)
        return np.frombuffer(data, dtype).reshape(shape)
    with path.open("rb") as file:
        dtype, shape = _header(path, file)
        offset = file.tell()
    n_bytes = dtype.itemsize * math.prod(shape)
    there = path.stat().st_size - offset
    _check_length(path, min(there, n_bytes), n_bytes, max(there - n_bytes, 0))
    if not n_bytes:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape)


def _check_length(path: Path, there: int, expected: int, extra: int) -> None:
    """Raise DataError unless the data have the length that the header declares."""
    if there < expected:
        raise FileError(f"{path}: the IDX file is cut off: {size_text(there)} of {size_text(expected)} are there")
    if extra:
        raise FileError(f"{path}: the IDX file continues after the {size_text(expected)} that its header declares")


def read_idx(path: Path) -> Content:
    """Read rows from an IDX file; images become one row each."""
    array = read_idx_array(path)
    if array.ndim == 1:
        raise FileError(f"{path}: holds one number per row, as files of labels do; give the file of images")
    return Content(ArraySource(table(array)), whole=array.dtype.kind in "iu")


def _find(folder: Path, split: str, what: str) -> Path | None:
    """Return the file of images or labels of a split, the plain one before the compressed one."""
    pattern = re.compile(rf"({'|'.join(SPLITS[split])})[-_.]{what}[-_.]idx\d[-_.]ubyte(\.gz)?", re.IGNORECASE)
    found = [p for p in folder.iterdir() if p.is_file() and pattern.fullmatch(p.name)]
    return min(found, default=None)


def has_idx_files(folder: Path) -> bool:
    """Return whether the folder holds images under one of MNIST's file names."""
    return folder.is_dir() and any(_find(folder, split, "images") for split in SPLITS)


def read_idx_folder(folder: Path, split: str | None) -> Content:
    """Read a folder named as MNIST's is: train-images-idx3-ubyte(.gz), t10k-labels-idx1-ubyte(.gz) and so on."""
    split = split or "train"
    if split not in SPLITS:
        raise FileError(f"{folder}: no split {split!r}; write {folder}:train or {folder}:test")
    images, labels = (_find(folder, split, what) for what in ("images", "labels"))
    if images is None:
        other = "test" if split == "train" else "train"
        hint = f"; {folder}:{other} is there" if _find(folder, other, "images") else ""
        raise FileError(f"{folder}: no file {SPLITS[split][0]}-images-idx3-ubyte or .gz in this folder{hint}")
    content = read_idx(images)
    if labels is None:
        return content
    return Content(content.rows, label_vector(read_idx_array(labels), str(labels)), content.whole)

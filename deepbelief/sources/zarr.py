"""Zarr stores as data: folders of chunks, read with the package ``zarr`` where it is installed."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from deepbelief.errors import FileError, MissingExtraError
from deepbelief.sources.bands import BandedSource, Bands
from deepbelief.sources.content import (
    IN_MEMORY,
    ROW_LIMIT,
    Content,
    check_declared_size,
    choose_table,
    names_text,
    table,
)
from deepbelief.sources.gzipped import check_regular
from deepbelief.sources.label_values import label_vector, text_labels
from deepbelief.sources.rows import ArraySource, check_shape, row_dtype, stored_dtype
from deepbelief.typing import Array, StrDict

ZarrArray: TypeAlias = Any  # zarr.Array: zarr is an extra
ZarrItem: TypeAlias = Any  # zarr.Array or zarr.Group
MARKS = ("zarr.json", ".zarray", ".zgroup")
"""A folder that holds one of these files is a Zarr store."""
CODECS = {
    "bytes", "transpose", "gzip", "zlib", "zstd", "blosc", "lz4", "bz2", "crc32c", "sharding_indexed", "vlen-utf8",
}  # fmt: skip
"""Codecs that are decoded. Others may execute code from the store, as ``pickle`` does."""


class ZarrSource(BandedSource):
    """Rows of a Zarr array, read from the store as they are taken.

    Parameters
    ----------
    array : zarr.Array of shape (n_rows, n_features)
    """

    def __init__(self, array: ZarrArray) -> None:
        self.array = array
        self.shape = check_shape(array.shape)
        row_dtype(array.dtype)
        _check_codecs(array)
        n, self.chunk_rows = self.shape[0], int(array.chunks[0])
        bounds = [*range(0, n, self.chunk_rows), n]
        self._bands = Bands(bounds, lambda band: array[bounds[band] : bounds[band + 1]], str(array.store_path))
        self.dtype = stored_dtype(array.dtype, self._bands.between, bounds)


def is_zarr(path: Path) -> bool:
    """Return whether a folder is a Zarr store."""
    return any((path / mark).is_file() for mark in MARKS)


def _codecs(metadata: object) -> Iterator[str]:
    """Yield the names of all codecs within an array's metadata, of format 2 or 3."""
    if isinstance(metadata, (list, tuple)):
        for item in metadata:
            yield from _codecs(item)
    elif isinstance(metadata, dict):
        if name := metadata.get("name", metadata.get("id")):
            yield str(name)
        yield from _codecs(list(metadata.get("configuration", {}).values()))


def _check_codecs(array: ZarrArray) -> None:
    """Refuse codecs that are not known to be safe, and absurdly large chunks."""
    metadata = array.metadata.to_dict()
    for name in _codecs([metadata.get(key) for key in ("codecs", "compressor", "filters")]):
        if name not in CODECS:
            known = ", ".join(sorted(CODECS))
            raise FileError(
                f"{array.store_path}: uses the codec {name!r}; only {known} are read: store the array again with one "
                "of these"
            )
    band = int(array.chunks[0]) * int(np.prod(array.shape[1:], dtype=object)) * array.dtype.itemsize
    if band > ROW_LIMIT:
        raise FileError(
            f"{array.store_path}: its chunks have {array.chunks[0]} rows, over {ROW_LIMIT >> 20} MiB that are read at "
            "once: store it with fewer rows in a chunk"
        )


def _check_files(path: Path) -> None:
    """Refuse stores with links to other places."""
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            if (found := Path(folder) / name).is_symlink():
                raise FileError(
                    f"{path}: {found.relative_to(path)} is a link, which is not followed: copy its target instead"
                )
            check_regular(found)


def _open(path: Path) -> ZarrItem:
    """Open for reading."""
    try:
        import zarr
    except ImportError as error:
        raise MissingExtraError("Zarr stores need zarr: pip install 'deepbelief[zarr]'") from error
    _check_files(path)
    return zarr.open(str(path), mode="r")


def _arrays(store: ZarrItem) -> StrDict:
    """Return all arrays of a store by name; the name is empty if the store is itself an array."""
    if not hasattr(store, "members"):
        return {"": store}
    return {name: item for name, item in store.members(max_depth=None) if not hasattr(item, "members")}


def _array(path: Path, arrays: StrDict, name: str) -> ZarrArray:
    """Return an array by name, after checking its codecs and its declared size."""
    name = name.strip("/")
    if name not in arrays:
        raise FileError(f"{path}: no array {name!r}; available: {names_text(arrays)}")
    array = arrays[name]
    check_declared_size(path, array.shape, array.dtype.itemsize, limit=2**63)
    _check_codecs(array)
    return array


def read_zarr(path: Path, part: str | None = None, labels: str | None = None) -> Content:
    """Read rows, and labels where an array of them is named, from a Zarr store."""
    arrays = _arrays(_open(path))
    name = choose_table(path, {key: array.ndim for key, array in arrays.items()}, part, "arrays")
    array = _array(path, arrays, name)
    row_dtype(array.dtype)
    whole = array.dtype.kind in "biu"
    found = None if labels is None else _labels(path, arrays, labels)
    if array.size * array.dtype.itemsize <= IN_MEMORY:
        return Content(ArraySource(table(np.asarray(array[...]))), found, whole)
    return Content(ZarrSource(array), found, whole)


def _labels(path: Path, arrays: StrDict, name: str) -> Array:
    """Read an array of labels: numbers or strings."""
    array = _array(path, arrays, name)
    check_declared_size(path, array.shape, array.dtype.itemsize)
    values = np.asarray(array[...])
    if values.dtype.kind == "T":
        return text_labels(values.ravel().tolist(), f"{path}:{name}")
    return label_vector(values, f"{path}:{name}")


def read_zarr_labels(path: Path, part: str | None) -> Array:
    """Read labels from an array of a Zarr store."""
    arrays = _arrays(_open(path))
    return _labels(path, arrays, choose_table(path, {key: a.ndim for key, a in arrays.items()}, part, "arrays"))

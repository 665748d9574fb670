"""HDF5 files as data; only datasets stored in the file itself are read.

Heaps of strings are checked first, because libhdf5 may loop on damaged ones.
"""

import mmap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepbelief.errors import FileError
from deepbelief.sources.columns import named
from deepbelief.sources.content import (
    FEATURE_NAMES,
    IN_MEMORY,
    ROW_LIMIT,
    Content,
    check_declared_size,
    choose_table,
    names_text,
    names_vector,
    table,
)
from deepbelief.sources.label_values import label_vector, text_labels
from deepbelief.sources.rows import (
    ArraySource,
    HostRows,
    RowIndex,
    _deliver,
    _indices,
    bounds_of,
    check_shape,
    row_dtype,
    stored_dtype,
)
from deepbelief.typing import Array, FloatArray

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


MODEL = b"deepbelief\n"  # first bytes of the package's own model files
FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32"}
DENSE = 4  # maximum number of rows read for each requested row


class HDF5Source(HostRows):
    """Rows of an HDF5 dataset, read from the file as they are taken.

    Parameters
    ----------
    dataset : "h5py.Dataset" of shape (n_rows, n_features)
        Its file must stay open.
    """

    def __init__(self, dataset: "h5py.Dataset") -> None:
        self.dataset = dataset
        self.shape = check_shape(dataset.shape)
        self.chunk_rows = dataset.chunks[0] if dataset.chunks else 1
        self._size = self._size_now()
        bounds = bounds_of(self.shape[0], self.chunk_rows, self.shape[1] * dataset.dtype.itemsize)
        self.dtype = stored_dtype(dataset.dtype, self._readable, bounds)

    def take(self, rows: RowIndex, out: FloatArray | None = None) -> FloatArray:
        """Return these rows (see `RowSource.take`)."""
        return _deliver(self._readable(rows), self.dtype, out)

    def _readable(self, rows: RowIndex) -> Array:
        """Read these rows, or raise DataError."""
        try:
            values = self._read(rows)
        except OSError as error:
            raise FileError(f"{self.dataset.file.filename}: rows cannot be read: {error}") from error
        if self._size_now() < self._size:  # HDF5 reads zeros beyond the end of a file
            raise FileError(f"{self.dataset.file.filename}: the file has become shorter while it was read")
        return values

    def _size_now(self) -> int:
        """Return the size of the file in bytes; 0 if it is not a local file."""
        try:
            return Path(self.dataset.file.filename).stat().st_size
        except (OSError, TypeError):
            return 0

    def _read(self, rows: RowIndex) -> Array:
        """Read these rows in the dtype of the file."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(self.shape[0])
            if step == 1:
                values: Array = self.dataset[start : max(start, stop)]
                return values
            rows = np.arange(start, stop, step)
        # HDF5 selects rows in increasing order only, and each once. Many single rows cost more than the range that
        # holds them.
        unique, back = np.unique(_indices(rows, self.shape[0]), return_inverse=True)
        if len(unique) and unique[-1] - unique[0] < DENSE * len(unique):
            between: Array = self.dataset[unique[0] : unique[-1] + 1]
            dense: Array = between[unique - unique[0]][back]
            return dense
        picked: Array = self.dataset[unique][back]
        return picked


def _open(path: Path) -> "h5py.File":
    """Open for reading."""
    import h5py

    if not h5py.is_hdf5(path):
        raise FileError(f"{path}: not an HDF5 file, or one that is cut off at its start")
    return h5py.File(path, "r")


def _names(path: Path, file: "h5py.File") -> list[str]:
    """Return the names of all datasets that hard links reach."""
    import h5py

    names: list[str] = []

    def visit(name: str, item: "h5py.Group | h5py.Dataset") -> None:
        if isinstance(item, h5py.Dataset):
            names.append(name)

    file.visititems(visit)
    if not names:
        raise FileError(f"{path}: the file holds no dataset")
    return names


def _dataset(path: Path, file: "h5py.File", name: str) -> "h5py.Dataset":
    """Return a dataset by name, following hard links only, after checking how it is stored."""
    import h5py

    item = file
    for part in filter(None, name.split("/")):
        link = item.get(part, getlink=True) if isinstance(item, h5py.Group) else None
        if link is None:
            raise FileError(f"{path}: no dataset {name!r}; available: {names_text(_names(path, file))}")
        if not isinstance(link, h5py.HardLink):
            raise FileError(f"{path}: {name!r} is a soft or external link, not followed; name the dataset itself")
        item = item[part]
    if not isinstance(item, h5py.Dataset):
        raise FileError(f"{path}: {name or '/'!r} is not a dataset; available: {names_text(_names(path, file))}")
    _check_storage(path, item)
    return item


def _check_storage(path: Path, dataset: "h5py.Dataset") -> None:
    """Refuse datasets that are stored elsewhere, need unknown filters, or are absurdly large."""
    layout = dataset.id.get_create_plist()
    where = f"{path}:{dataset.name}"
    if layout.get_external_count():
        raise FileError(f"{where} keeps its data in another file (external storage), which is not read")
    if dataset.is_virtual:
        raise FileError(f"{where} is a virtual dataset, which is not read; give the files that it is made of")
    for i in range(layout.get_nfilters()):
        code = layout.get_filter(i)[0]
        if code not in FILTERS:
            raise FileError(f"{where} uses filter {code}; only {', '.join(FILTERS.values())} are read: repack the file")
    if dataset.shape is None:
        raise FileError(f"{where} is empty")
    itemsize = dataset.dtype.itemsize
    check_declared_size(path, dataset.shape, itemsize, limit=2**63)
    if dataset.chunks:
        check_declared_size(path, dataset.chunks, itemsize, limit=ROW_LIMIT)
    check_declared_size(path, dataset.shape[1:], itemsize, limit=ROW_LIMIT)
    check_strings(path, dataset)


def _choose(path: Path, file: "h5py.File", part: str | None) -> str:
    """Return the name of the dataset to read."""
    if part:
        return part
    with path.open("rb") as head:
        if head.read(len(MODEL)) == MODEL:
            raise FileError(f"{path}: the file holds a model, not rows: give the file of the rows")
    return choose_table(path, {name: len(file[name].shape or ()) for name in _names(path, file)}, None, "datasets")


def read_h5(path: Path, part: str | None = None, labels: str | None = None) -> Content:
    """Read rows, and labels where a dataset of them is named, from an HDF5 file."""
    file = _open(path)
    keep_open = False
    try:
        dataset = _dataset(path, file, _choose(path, file, part))
        row_dtype(dataset.dtype)
        whole = dataset.dtype.kind in "biu"
        found = None if labels is None else _labels(path, file, labels)
        if dataset.size * dataset.dtype.itemsize <= IN_MEMORY:
            array = table(dataset[()])
            names = _feature_names(path, file, array.shape)
            return Content(ArraySource(array, names), found, whole, names)
        keep_open = True
        rows, names = HDF5Source(dataset), _feature_names(path, file, dataset.shape)
        return Content(named(rows, names), found, whole, names)
    finally:
        if not keep_open:
            file.close()


def _feature_names(path: Path, file: "h5py.File", shape: tuple[int, ...]) -> list[str] | None:
    """Return the names of the columns, from a dataset of this name beside the rows; None where there is none."""
    import h5py

    if not isinstance(file.get(FEATURE_NAMES, getlink=True), h5py.HardLink) or len(shape) != 2:
        return None
    dataset = _dataset(path, file, FEATURE_NAMES)
    check_declared_size(path, dataset.shape, dataset.dtype.itemsize)
    return names_vector(dataset[()], shape[1], str(path))


def _labels(path: Path, file: "h5py.File", name: str) -> Array:
    """Read a dataset of labels: numbers or strings."""
    import h5py

    dataset = _dataset(path, file, name)
    check_declared_size(path, dataset.shape, dataset.dtype.itemsize)
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return text_labels(np.ravel(dataset.asstr()[()]).tolist(), f"{path}:{name}")
    return label_vector(dataset[()], f"{path}:{name}")


def read_h5_labels(path: Path, part: str | None) -> Array:
    """Read labels from a dataset of an HDF5 file."""
    with _open(path) as file:
        return _labels(path, file, part or _choose(path, file, None))

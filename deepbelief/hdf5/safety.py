"""Safe access to HDF5 objects, which stays within the file and the available memory.

Links are checked before they are followed, and storage, filters, types and sizes before a value is read. Only h5py's
low-level interface is used, because the high-level interface follows links and reads values on its own.
"""

import math
import os
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from h5py import h5a, h5d, h5g, h5l, h5o, h5s, h5t, h5z

from deepbelief.errors import FileFormatError, Mention
from deepbelief.hdf5.model_file import MAX_ATTRIBUTE_TEXT, NUMBERS
from deepbelief.typing import Array, Dtype, StrDict

Item: TypeAlias = h5g.GroupID | h5d.DatasetID
FILTERS = {h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32}
LAYOUTS = {h5d.COMPACT, h5d.CONTIGUOUS, h5d.CHUNKED}
MAX_MEMBERS = 4096
MAX_CHUNKS = 65536
MAX_INFLATION = 1032  # largest number of bytes that deflate expands one byte to
BASE_MEMORY = 64 * 2**20  # bytes that the content of any file may use
MEMORY_FACTOR = 40  # additional bytes for each byte of the file
_TYPES = [(dtype, h5t.py_create(dtype)) for dtype in NUMBERS]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Dataset that passed all checks except that of the total size.

    Parameters
    ----------
    id : h5py.h5d.DatasetID
    where : str
        Its path, for messages.
    dtype : numpy.dtype
        Little-endian number, bool or ``S`` for UTF-8 strings.
    shape : tuple of int
    nbytes : int
        Memory needed to read it.
    """

    id: h5d.DatasetID
    where: str
    dtype: Dtype
    shape: tuple[int, ...]
    nbytes: int

    def read(self) -> Array:
        """Return the values in the machine's byte order."""
        out = np.empty(self.shape, self.dtype)
        if out.size:
            self.id.read(h5s.ALL, h5s.ALL, out, mtype=self.id.get_type())
        return out.astype(out.dtype.newbyteorder("="), copy=False)


def members(group: h5g.GroupID, where: str) -> StrDict:
    """Open the members of a group and return them by name; all must be reached by hard links."""
    if group.get_num_objs() > MAX_MEMBERS:
        raise FileFormatError(f"{where} has more than {MAX_MEMBERS} members")
    found = {}
    for name in list(group):
        text = name.decode("utf-8")
        if group.links.get_info(name).type != h5l.TYPE_HARD:
            raise FileFormatError(f"{where} has a soft or external link ({ascii(text)[:60]}), which is not allowed")
        found[text] = h5o.open(group, name)
    return found


def as_group(item: Item, where: str) -> h5g.GroupID:
    """Return the item if it is a group."""
    if not isinstance(item, h5g.GroupID):
        raise FileFormatError(f"{where} must be a group")
    return item


def as_dataset(item: Item, where: str) -> Dataset:
    """Return the item if it is an ordinary dataset."""
    if not isinstance(item, h5d.DatasetID):
        raise FileFormatError(f"{where} must be a dataset")
    plan = item.get_create_plist()
    layout = plan.get_layout()
    if layout not in LAYOUTS:
        raise FileFormatError(f"{where} is a virtual dataset, which is not allowed")
    if plan.get_external_count():
        raise FileFormatError(f"{where} has external storage, which is not allowed")
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    if not FILTERS.issuperset(filters) or len(filters) > len(set(filters)):
        raise FileFormatError(f"{where} has a filter other than gzip, shuffle and fletcher32, or one twice")
    dtype = _dtype(item.get_type(), where)
    shape = _shape(item.get_space(), where)
    nbytes = math.prod(shape) * dtype.itemsize
    if layout == h5d.CHUNKED:
        nbytes += _check_chunks(plan.get_chunk(), shape, where) * dtype.itemsize
    elif item.get_storage_size() != nbytes:
        raise FileFormatError(f"{where} declares {nbytes} bytes but has {item.get_storage_size()}")
    return Dataset(item, where, dtype, shape, nbytes)


def _check_chunks(chunk: tuple[int, ...], shape: tuple[int, ...], where: str) -> int:
    """Check the chunks, and return the number of elements of one."""
    if math.prod(-(-n // c) for n, c in zip(shape, chunk, strict=True)) > MAX_CHUNKS:
        raise FileFormatError(f"{where} has more than {MAX_CHUNKS} chunks")
    return math.prod(chunk)


def _dtype(kind: h5t.TypeID, where: str) -> Dtype:
    if kind.get_class() == h5t.STRING:
        plain = not kind.is_variable_str() and kind.get_cset() == h5t.CSET_UTF8
        if plain and kind.get_strpad() == h5t.STR_NULLPAD:
            return np.dtype(f"S{kind.get_size()}")
    elif kind.get_class() in (h5t.INTEGER, h5t.FLOAT, h5t.ENUM):
        for dtype, same in _TYPES:
            if kind.equal(same):
                return dtype
    raise FileFormatError(f"{where} has a type that is not allowed (see the specification in deepbelief.hdf5)")


def _shape(space: h5s.SpaceID, where: str) -> tuple[int, ...]:
    if space.get_simple_extent_type() not in (h5s.SCALAR, h5s.SIMPLE):
        raise FileFormatError(f"{where} has no extent")
    return tuple(int(n) for n in space.get_simple_extent_dims())


def _attribute(owner: Item, name: str, where: str) -> tuple[h5a.AttrID, Dtype]:
    """Open a scalar attribute and return it with its type."""
    if not h5a.exists(owner, name.encode()):
        raise FileFormatError(f"{where} lacks the attribute {name}")
    attribute = h5a.open(owner, name.encode())
    dtype = _dtype(attribute.get_type(), f"{where}, attribute {name},")
    if attribute.get_space().get_simple_extent_type() != h5s.SCALAR or dtype.itemsize > MAX_ATTRIBUTE_TEXT:
        raise FileFormatError(f"{where}, attribute {name}, is not a single short value")
    return attribute, dtype


def integer(owner: Item, name: str, where: str) -> int:
    """Return an integer attribute."""
    attribute, dtype = _attribute(owner, name, where)
    if dtype != np.dtype("<i8"):
        raise FileFormatError(f"{where}, attribute {name}, must be a 64-bit integer")
    value = np.empty((), dtype)
    attribute.read(value)
    return int(value)


def text(owner: Item, name: str, where: str) -> str:
    """Return a text attribute."""
    attribute, dtype = _attribute(owner, name, where)
    if dtype.kind != "S":
        raise FileFormatError(f"{where}, attribute {name}, must be a text")
    value = np.empty((), dtype)
    attribute.read(value, mtype=attribute.get_type())
    return bytes(value[()]).decode("utf-8")


def check_memory(needed: int, file_length: int, limit: int | None) -> None:
    """Refuse content with more bytes than the limit, or than a file of this length can hold."""
    if needed > file_length * MAX_INFLATION:
        raise FileFormatError(f"it declares {needed} bytes of content, which a file of {file_length} bytes cannot hold")
    limit = default_limit(file_length) if limit is None else limit
    if needed > limit:
        raise FileFormatError(
            f"it needs {needed} bytes of memory, the limit is {limit}: raise ",
            Mention("memory_limit"),
            " if you trust it",
        )


def default_limit(file_length: int) -> int:
    """Return 64 MiB plus 40 times the file's length, but at most half of the physical memory.

    A file of this library needs up to 32 times its length in memory, if it is all JSON; compressed zeros need 1032
    times.
    """
    try:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        physical = 4 * 2**30
    return min(BASE_MEMORY + MEMORY_FACTOR * file_length, physical)

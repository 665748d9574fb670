"""Writing of model files."""

import hashlib
import io
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from deepbelief.errors import DataError
from deepbelief.hdf5 import plain
from deepbelief.hdf5.envelope import USER_BLOCK, seal
from deepbelief.hdf5.model_file import FLOATS, FORMAT, FORMAT_VERSION, MAX_ATTRIBUTE_TEXT, NAME, NUMBERS, ModelFile
from deepbelief.hdf5.replacement import replace_file
from deepbelief.stack import Stack
from deepbelief.typing import Array, StrMapping


def write(path: str | os.PathLike[str], model: ModelFile, *, previous: Path | None = None) -> None:
    """Write a model file atomically.

    The HDF5 part is built in memory, which needs about as much additional memory as the arrays.

    Parameters
    ----------
    path : str or path-like
        An existing file is replaced in one step; programs that have it open continue to read the old one.
    model : ModelFile
    previous : path, optional
        Path to which an existing file is moved, instead of being deleted.

    Raises
    ------
    DataError
        If a value cannot be stored or the file cannot be written; an existing file is then unchanged.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(f"{folder}/model.h5", ModelFile("RBM", {"n_components": 16}))
    """
    image = io.BytesIO()
    with h5py.File(image, "w", userblock_size=USER_BLOCK, libver=("earliest", "v108"), track_order=False) as file:
        _write_model(file, model)
    with image.getbuffer() as content:
        body = content[USER_BLOCK:]
        content[:USER_BLOCK] = seal(len(body), hashlib.sha256(body).hexdigest())
        body.release()
        replace_file(path, content, previous=previous)


def _write_model(file: h5py.File, model: ModelFile) -> None:
    _set_text(file, "format", FORMAT)
    _set_integer(file, "format_version", FORMAT_VERSION)
    _write_object(file, "metadata", model.metadata)
    _write_object(file, "versions", versions())
    _write_content(file, model)
    if model.parts:
        group = file.create_group("parts")
        for name, part in model.parts.items():
            _check_name(name, "part")
            _write_content(group.create_group(name), part)


def _write_content(group: h5py.Group, model: ModelFile) -> None:
    """Write the members that the root and each part have in common."""
    if not (isinstance(model.kind, str) and NAME.fullmatch(model.kind)):
        raise DataError(f"kind must be the name of a class, got {model.kind!r}")
    _set_text(group, "kind", model.kind)
    for name in ("params", "attributes"):
        _write_object(group, name, getattr(model, name))
    if not all(isinstance(record, Mapping) for record in model.history):
        raise DataError("history must be a list of dicts")
    _write_json(group, "history", list(model.history), "history")
    for name, stack in (("stack", model.stack), ("pretrained", model.pretrained)):
        if stack is not None:
            _write_stack(group.create_group(name), stack)
    if model.arrays:
        arrays = group.create_group("arrays")
        for name, array in model.arrays.items():
            _check_name(name, "array")
            _write_array(arrays, name, np.asarray(array))


def _check_name(name: object, what: str) -> None:
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise DataError(
            f"the name of each {what} must consist of letters, digits, underscores, dots and hyphens, got {name!r}"
        )


def _write_stack(group: h5py.Group, stack: Stack) -> None:
    _set_integer(group, "tuned", int(stack.tuned))
    _write_object(group, "metadata", stack.metadata)
    for number, weights in enumerate(stack, start=1):
        layer = group.create_group(f"layer_{number}")
        for name in ("n_visible", "n_hidden"):
            _set_integer(layer, name, getattr(weights, name))
        for name in ("visible", "hidden"):
            _set_text(layer, name, getattr(weights, name))
        for name, array in weights.arrays().items():
            if array.dtype.newbyteorder("<") not in FLOATS:
                raise DataError(f"{name} of layer {number} must be float32 or float64, got {array.dtype}")
            _write_array(layer, name, array)


def _write_array(group: h5py.Group, name: str, array: Array) -> None:
    where = f"{group.name}/{name}"
    if array.dtype.kind in "UO":
        _write_strings(group, name, array, where)
        return
    dtype = array.dtype.newbyteorder("<") if array.dtype.kind in "biuf" else array.dtype
    if dtype not in NUMBERS:
        raise DataError(f"{where} has dtype {array.dtype}: use float32, float64, an integer, bool or strings")
    if dtype in FLOATS and not np.isfinite(array).all():
        raise DataError(f"{where} has values that are not finite; a model file holds none")
    group.create_dataset(name, data=np.asarray(array, dtype=dtype, order="C"), track_times=False)


def _write_strings(group: h5py.Group, name: str, array: Array, where: str) -> None:
    values = array.ravel().tolist()
    if not all(isinstance(value, str) for value in values):
        raise DataError(f"{where} has dtype object: all values must be strings")
    if any(value.endswith("\0") for value in values):
        raise DataError(f"{where} has a string that ends in NUL, which a file cannot hold")
    try:
        encoded = [value.encode("utf-8") for value in values]
    except UnicodeEncodeError:
        raise DataError(f"{where} has a string that is not valid Unicode (a lone surrogate)") from None
    width = max([1, *map(len, encoded)])
    data = np.array(encoded, dtype=f"S{width}").reshape(array.shape)
    dataset = _write_bytes(group, name, data)
    _set_integer(dataset, "characters", array.dtype.itemsize // 4 if array.dtype.kind == "U" else 0)


def _write_object(group: h5py.Group, name: str, value: StrMapping) -> None:
    where = f"{group.name}/{name}".strip("/")
    if not (isinstance(value, Mapping) and all(isinstance(key, str) for key in value)):
        raise DataError(f"{where} must be a dict with strings as keys, got {type(value).__name__}")
    _write_json(group, name, value, where)


def _write_json(group: h5py.Group, name: str, value: object, where: str) -> None:
    text = plain.dumps(value, where)
    _write_bytes(group, name, np.array(text, dtype=f"S{len(text)}"))


def _write_bytes(group: h5py.Group, name: str, data: NDArray[np.bytes_]) -> h5py.Dataset:
    """Write UTF-8 strings of a fixed length; HDF5 does not convert character sets, so the memory type is given."""
    dtype = h5py.string_dtype("utf-8", data.dtype.itemsize)
    dataset = group.create_dataset(name, shape=data.shape, dtype=dtype, track_times=False)
    if data.size:
        dataset.id.write(h5py.h5s.ALL, h5py.h5s.ALL, data, mtype=dataset.id.get_type())
    return dataset


def _set_text(owner: h5py.HLObject, name: str, text: str) -> None:
    data = text.encode("utf-8")
    if not 0 < len(data) <= MAX_ATTRIBUTE_TEXT or "\0" in text:
        raise DataError(f"{name} must be 1 to {MAX_ATTRIBUTE_TEXT} bytes of text without NUL, got {text[:40]!r}")
    owner.attrs.create(name, np.bytes_(data), dtype=h5py.string_dtype("utf-8", len(data)))


def _set_integer(owner: h5py.HLObject, name: str, value: int) -> None:
    owner.attrs.create(name, np.int64(value), dtype="<i8")


def versions() -> dict[str, str]:
    """Return the versions of the libraries that are writing a file."""
    package = sys.modules[__name__.partition(".")[0]]
    return {
        "deepbelief": getattr(package, "__version__", "unknown"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "h5py": h5py.__version__,
        "hdf5": h5py.version.hdf5_version,
    }

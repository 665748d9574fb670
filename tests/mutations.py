"""Seeded mutations of files: of raw bytes, of JSON values, and of the contents of HDF5 files."""

import io
import json
import random
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

NUMBERS: list[Any] = [0, 1, -1, 2, 3, 7, 255, 2**31, 2**63 - 1, 2**64, -(2**63), 10**400, 0.5, -0.5, 1e308, -1e-320]
TEXTS: list[Any] = ["", "x", "auto", "é\x1b[2J"]
NESTED: list[Any] = [[], {}, [1, 2], {"a": 1}, {"$float": "nan"}, {"$float": "inf"}, {"$float": "x"}, {"array at": "a"}]
VALUES: list[Any] = [*NUMBERS, *TEXTS, *NESTED, None, True, False, {"$map": [[1, 2]]}]
NAMES = ["gaussian", "rectified", "softmax:2,2", "softmax:3", "bernoulli", "labels:3", "", "x", "RBM", "DBN", "Stack"]
NAMES += ["DBNClassifier", "DBNRegressor", "DeepAutoencoder", "RecurrentRBM", "RBMClassifier", "Checkpoint"]
DTYPES = ["f2", "f4", "f8", ">f4", "i1", "u1", "i4", "i8", "u8", "?", "c8", "S3"]


# Raw bytes


def mutate_bytes(rng: random.Random, content: bytes) -> bytes:
    """Return the bytes with some of them changed, cut, repeated, moved or added."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        if not data:
            break
        start = rng.randrange(len(data))
        stop = min(len(data), start + rng.choice([1, 1, 2, 4, 16, 256]))
        match rng.randrange(6):
            case 0:
                data[start] = rng.choice([0, 1, 8, 10, 34, 44, 127, 128, 255, rng.randrange(256)])
            case 1:
                data[start] ^= 1 << rng.randrange(8)
            case 2:
                del data[start:stop]
            case 3:
                data[start:start] = data[start:stop] * rng.choice([1, 2, 9])
            case 4:
                data[start:stop] = rng.randbytes(stop - start)
            case _:
                del data[rng.choice([start, len(data) - 1, len(data) // 2]) :]
    return bytes(data)


# JSON


def mutate_json(rng: random.Random, value: Any) -> Any:
    """Return a JSON value with one of its parts replaced, removed, added, renamed or nested."""
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.1:
        return _other_value(rng, value)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key, out = rng.choice(keys), value.copy()
    match rng.randrange(8):
        case 0:
            del out[key]
        case 1 if isinstance(out, dict):
            out[rng.choice(["x", "", "$x", "kind", "state", *map(str, keys)])] = out.pop(key)
        case 2 if isinstance(out, dict):
            out[f"{key}2"] = rng.choice(VALUES)
        case 3 if isinstance(out, list):
            out.append(rng.choice([*VALUES, out[key]]))
        case 4:
            out[key] = out[rng.choice(keys)]
        case _:
            out[key] = mutate_json(rng, out[key])
    return out


def _other_value(rng: random.Random, value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and rng.random() < 0.5:
        return rng.choice([value + 1, value - 1, -value, value * 2, value / 2, float(value), int(value), str(value)])
    if isinstance(value, str) and value and rng.random() < 0.5:
        return rng.choice([value[:-1], value + "x", value.upper(), [value], {value: value}])
    if isinstance(value, (dict, list)) and rng.random() < 0.3:
        return rng.choice([[value], {"a": value}, {"$map": [[value, value]]}])
    return rng.choice(VALUES)


# HDF5


def mutate_hdf5(rng: random.Random, content: bytes) -> bytes:
    """Return an HDF5 file with some of its datasets, attributes, names, links and filters changed."""
    image = io.BytesIO(content)
    with h5py.File(image, "r+") as file:
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            change = rng.choice(CHANGES)
            try:
                change(rng, file)
            except (KeyError, ValueError, TypeError, OSError, RuntimeError, OverflowError):
                continue  # HDF5 itself refuses it
    return image.getvalue()


def _objects(file: h5py.File, kind: type) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, kind) else None)
    return names


def _texts(file: h5py.File) -> list[str]:
    return [name for name in _objects(file, h5py.Dataset) if file[name].shape == () and file[name].dtype.kind in "SO"]


def _put_text(file: h5py.File, name: str, text: bytes) -> None:
    del file[name]
    file.create_dataset(name, data=np.bytes_(text), dtype=h5py.string_dtype("utf-8", max(1, len(text))))


def _change_json(rng: random.Random, file: h5py.File) -> None:
    name = rng.choice(_texts(file))
    value = json.loads(file[name][()])
    _put_text(file, name, json.dumps(mutate_json(rng, value), ensure_ascii=rng.random() < 0.8).encode())


def _change_text(rng: random.Random, file: h5py.File) -> None:
    name = rng.choice(_texts(file))
    text = bytes(file[name][()])
    deep = rng.choice([b"[", b'{"a":']) * rng.choice([60, 70, 5000])
    _put_text(file, name, rng.choice([mutate_bytes(rng, text), deep, text.replace(b":", b": NaN, ", 1), b"{}", b"[]"]))


def _change_shape(rng: random.Random, file: h5py.File) -> None:
    name = rng.choice(_objects(file, h5py.Dataset))
    array = file[name][()]
    shape = list(array.shape)
    match rng.randrange(5):
        case 0 if shape:
            shape[rng.randrange(len(shape))] += rng.choice([1, -1, 3])
        case 1:
            shape.reverse()
        case 2:
            shape.insert(rng.randint(0, len(shape)), rng.choice([0, 1, 2]))
        case 3 if shape:
            shape = [int(np.prod(shape))]
        case _:
            shape = shape[1:]
    _replace(file, name, np.resize(array, shape))


def _change_dtype(rng: random.Random, file: h5py.File) -> None:
    name = rng.choice(_objects(file, h5py.Dataset))
    array = file[name][()]
    with np.errstate(all="ignore"):
        _replace(file, name, np.asarray(array).astype(rng.choice(DTYPES)))


def _change_values(rng: random.Random, file: h5py.File) -> None:
    name = rng.choice(_objects(file, h5py.Dataset))
    array = file[name][()]
    if not np.size(array) or array.dtype.kind not in "fiub":
        raise ValueError
    flat = np.array(array).reshape(-1)
    with np.errstate(all="ignore"):
        match rng.randrange(4):
            case 0:
                flat[rng.randrange(flat.size)] = np.array(rng.choice([0.0, -1.0, 1e30, np.nan, np.inf])).astype(
                    flat.dtype
                )
            case 1:
                flat[:] = flat[0]
            case 2:
                flat[:] = flat[::-1].copy()
            case _:
                flat[:] = (flat * rng.choice([-1, 0, 1e6, 1e-30])).astype(flat.dtype)
    _replace(file, name, flat.reshape(np.shape(array)))


def _replace(file: h5py.File, name: str, array: Any, **options: Any) -> None:
    attributes = dict(file[name].attrs)
    del file[name]
    dataset = file.create_dataset(name, data=array, **options)
    for key, value in attributes.items():
        dataset.attrs[key] = value


def _change_storage(rng: random.Random, file: h5py.File) -> None:
    name = rng.choice(_objects(file, h5py.Dataset))
    array = np.asarray(file[name][()])
    chunks = tuple(max(1, rng.randint(1, n)) for n in array.shape) or None
    options = [{"compression": "gzip"}, {"shuffle": True}, {"fletcher32": True}, {"compression": "lzf"}, {}]
    _replace(file, name, array, chunks=chunks, maxshape=(None,) * array.ndim, **rng.choice(options))


def _change_attribute(rng: random.Random, file: h5py.File) -> None:
    owners = ["/", *_objects(file, (h5py.Group, h5py.Dataset))]  # type: ignore[arg-type]
    owner = file[rng.choice([name for name in owners if len(file[name].attrs)])]
    name = rng.choice(list(owner.attrs))
    value = owner.attrs[name]
    match rng.randrange(6):
        case 0:
            del owner.attrs[name]
        case 1:
            owner.attrs[f"{name}2"] = value
        case 2 if isinstance(value, (int, np.integer)):
            owner.attrs[name] = np.int64(rng.choice([0, 1, -1, int(value) + 1, int(value) - 1, 10**6, 2**62]))
        case 3:
            owner.attrs[name] = rng.choice([np.int64(1), np.float32(1), np.ones(3), "text", np.bytes_(b"x" * 70)])
        case _:
            text = rng.choice([*NAMES, mutate_bytes(rng, str(value).encode()).decode("latin-1")]).encode()
            owner.attrs.create(name, np.bytes_(text), dtype=h5py.string_dtype("utf-8", max(1, len(text))))


def _change_links(rng: random.Random, file: h5py.File) -> None:
    names = _objects(file, (h5py.Group, h5py.Dataset))  # type: ignore[arg-type]
    name, other = rng.choice(names), rng.choice(names)
    match rng.randrange(8):
        case 0 | 1:
            del file[name]
        case 2:
            file.move(name, rng.choice([f"{name}2", f"{name[:-1]}7", f"arrays/{name.replace('/', '.')}", "arrays/new"]))
        case 3:
            file.copy(other, f"{name}2")
        case 4:
            item = file[other]
            del file[name]
            file[name] = item
        case 5:
            del file[name]
            file[name] = h5py.SoftLink(f"/{other}")
        case 6:
            del file[name]
            file[name] = h5py.ExternalLink("other.h5", f"/{other}")
        case _:
            del file[name]
            file.create_group(name)


CHANGES: list[Callable[[random.Random, h5py.File], None]] = [
    _change_json, _change_json, _change_json, _change_text, _change_shape, _change_dtype, _change_values,
    _change_storage, _change_attribute, _change_attribute, _change_links,
]  # fmt: skip

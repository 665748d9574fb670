"""Reading of model files, with a check of every value before its use."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np

from deepbelief.errors import DeepBeliefError, FileFormatError
from deepbelief.fields import restoring
from deepbelief.hdf5 import plain, safety
from deepbelief.hdf5.envelope import open_verified
from deepbelief.hdf5.model_file import FLOATS, FORMAT, FORMAT_VERSION, LAYER_ARRAYS, MAX_JSON, NAME, ModelFile
from deepbelief.stack import Stack, Weights, check_scale, check_units
from deepbelief.typing import Array, StrDict
from deepbelief.units import get_unit

_JSON_MEMORY = 32  # bytes of memory per byte of JSON in Python, at worst
_STRING_MEMORY = 128  # bytes of memory for one short string in Python
_TEXTS: dict[str, type] = {"params": dict, "attributes": dict, "history": list}
_ROOT_TEXTS: dict[str, type] = {"metadata": dict, "versions": dict}
_GROUPS = ("arrays", "stack", "pretrained")


def read(path: str | os.PathLike[str], *, memory_limit: int | None = None) -> ModelFile:
    """Read a model file.

    Parameters
    ----------
    path : str or path-like
    memory_limit : int, optional
        Largest size of the content in bytes; by default 64 MiB plus 40 times the length of the file, but at most half
        of the machine's memory.

    Returns
    -------
    ModelFile

    Raises
    ------
    DataError
        If there is no such file or it cannot be read.
    FileFormatError
        If it is not a model file, is damaged, malicious or too large, or has a newer version.

    Examples
    --------
    >>> import tempfile
    >>> from deepbelief.hdf5 import write
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(f"{folder}/model.h5", ModelFile("RBM", {"n_components": 16}))
    ...     read(f"{folder}/model.h5").params
    {'n_components': 16}
    """
    return _load(path, memory_limit)[0]


def describe(path: str | os.PathLike[str], *, memory_limit: int | None = None) -> StrDict:
    """Return a summary of a model file, after the same checks as `read`.

    Parameters
    ----------
    path : str or path-like
    memory_limit : int, optional
        As in `read`.

    Returns
    -------
    dict
        Plain values: ``format``, ``format_version``, ``kind``, ``sizes`` (for instance [784, 500, 250], or None),
        ``layers`` (per layer ``n_visible``, ``n_hidden``, ``visible``, ``hidden``, ``dtype``, ``scaled``), ``tuned``,
        ``pretrained`` (whether the stack before fine-tuning was kept), ``arrays`` (name to ``shape`` and ``dtype``),
        ``params``, ``attributes``, ``epochs`` (length of the history), ``metadata``, ``stack_metadata``, ``versions``
        (of the libraries that wrote the file), ``parts`` (``kind`` and ``layers`` of the models that this one consists
        of, by name), ``bytes``. Texts come from the file: strip control characters before printing.

    Raises
    ------
    DataError, FileFormatError
        As `read` does.
    """
    model, versions, length = _load(path, memory_limit)
    stack = model.stack
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "kind": model.kind,
        "sizes": None if stack is None else list(stack.sizes),
        "layers": _layers_of(stack),
        "tuned": stack is not None and stack.tuned,
        "pretrained": model.pretrained is not None,
        "arrays": {name: _describe_array(array) for name, array in model.arrays.items()},
        "params": dict(model.params),
        "attributes": dict(model.attributes),
        "epochs": len(model.history),
        "metadata": dict(model.metadata),
        "stack_metadata": {} if stack is None else dict(stack.metadata),
        "versions": versions,
        "parts": {name: {"kind": part.kind, "layers": _layers_of(part.stack)} for name, part in model.parts.items()},
        "bytes": length,
    }


def _layers_of(stack: Stack | None) -> list[StrDict]:
    return [] if stack is None else [_describe_layer(weights) for weights in stack]


def _describe_layer(weights: Weights) -> StrDict:
    return {
        "n_visible": weights.n_visible,
        "n_hidden": weights.n_hidden,
        "visible": weights.visible,
        "hidden": weights.hidden,
        "dtype": weights.W.dtype.name,
        "scaled": weights.mean is not None,
    }


def _describe_array(array: Array) -> StrDict:
    return {"shape": list(array.shape), "dtype": "str" if array.dtype.kind in "UO" else array.dtype.name}


def _load(path: str | os.PathLike[str], memory_limit: int | None) -> tuple[ModelFile, StrDict, int]:
    with open_verified(path) as (handle, length), _one_line(path):
        with h5py.File(handle, "r") as file:
            plan = _Plan()
            finish = _plan_model(file.id, plan)
            safety.check_memory(plan.nbytes, length, memory_limit)
            model, versions = finish()
        return model, versions, length


@contextmanager
def _one_line(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn any error that a malicious file causes in the library into one clear line."""
    try:
        yield
    except DeepBeliefError as error:
        raise FileFormatError(f"{path} is not a valid model file: {error}") from error
    except MemoryError as error:
        raise FileFormatError(f"{path} needs more memory than is available") from error
    except Exception as error:
        reason = type(error).__name__
        raise FileFormatError(f"{path} is not a valid model file: its HDF5 part cannot be read ({reason})") from error


@dataclass
class _Plan:
    """Memory needed for reading; nothing is read before the total is known."""

    nbytes: int = 0

    def json(self, item: safety.Item, where: str, kind: type) -> Callable[[], Any]:
        """Plan to read a JSON text."""
        dataset = safety.as_dataset(item, where)
        if dataset.dtype.kind != "S" or dataset.shape != () or dataset.dtype.itemsize > MAX_JSON:
            raise FileFormatError(f"{where} must be a single text of at most {MAX_JSON} bytes")
        self.nbytes += _JSON_MEMORY * dataset.nbytes

        def finish() -> Any:
            value = plain.loads(bytes(dataset.read()[()]), where)
            objects = value if kind is list else [value]
            if not (isinstance(objects, list) and all(isinstance(item, dict) for item in objects)):
                raise FileFormatError(f"{where} must hold {'a list of objects' if kind is list else 'an object'}")
            return value

        return finish

    def array(self, item: safety.Item, where: str, shape: tuple[int, ...] | None = None) -> Callable[[], Array]:
        """Plan to read an array; with a shape, require a floating array of that shape."""
        dataset = safety.as_dataset(item, where)
        if shape is not None and (dataset.shape != shape or dataset.dtype not in FLOATS):
            raise FileFormatError(f"{where} must be floating of shape {shape}, got {dataset.dtype} {dataset.shape}")
        self.nbytes += dataset.nbytes
        return self._strings(dataset) if dataset.dtype.kind == "S" else lambda: _finite(dataset)

    def _strings(self, dataset: safety.Dataset) -> Callable[[], Array]:
        width = safety.integer(dataset.id, "characters", dataset.where)
        if not 0 <= width <= MAX_JSON:
            raise FileFormatError(f"{dataset.where} declares strings of {width} characters")
        count = dataset.nbytes // dataset.dtype.itemsize
        self.nbytes += count * (_STRING_MEMORY + 4 * width + dataset.dtype.itemsize)
        return lambda: _decode_strings(dataset, width)


def _plan_model(root: safety.Item, plan: _Plan) -> Callable[[], tuple[ModelFile, StrDict]]:
    root = safety.as_group(h5py.h5o.open(root, b"/"), "/")
    if safety.text(root, "format", "/") != FORMAT or safety.integer(root, "format_version", "/") != FORMAT_VERSION:
        raise FileFormatError(f"the HDF5 part is not of format {FORMAT} {FORMAT_VERSION}")
    items = safety.members(root, "/")
    _expect(items, "/", required=(*_TEXTS, *_ROOT_TEXTS), optional=(*_GROUPS, "parts"))
    texts = {name: plan.json(items[name], name, kind) for name, kind in _ROOT_TEXTS.items()}
    content = _plan_content(root, items, "", plan)
    parts = _named(items["parts"], "parts") if "parts" in items else {}
    planned = {name: _plan_part(part, f"parts/{name}", plan) for name, part in parts.items()}

    def finish() -> tuple[ModelFile, StrDict]:
        metadata, versions = (read_text() for read_text in texts.values())
        parts = {name: read_part() for name, read_part in planned.items()}
        return replace(content(), metadata=metadata, parts=parts), versions

    return finish


def _plan_part(item: safety.Item, where: str, plan: _Plan) -> Callable[[], ModelFile]:
    group = safety.as_group(item, where)
    items = safety.members(group, where)
    _expect(items, where, required=_TEXTS, optional=_GROUPS)
    return _plan_content(group, items, f"{where}/", plan)


def _plan_content(
    group: h5py.h5g.GroupID, items: Mapping[str, safety.Item], where: str, plan: _Plan
) -> Callable[[], ModelFile]:
    """Plan to read the members that the root and each part have in common."""
    kind = safety.text(group, "kind", where or "/")
    if not NAME.fullmatch(kind):
        raise FileFormatError(f"{where}kind is not the name of a class")
    texts = {name: plan.json(items[name], f"{where}{name}", kind) for name, kind in _TEXTS.items()}
    stacks = {name: _plan_stack(items[name], f"{where}{name}", plan) for name in _GROUPS[1:] if name in items}
    arrays = _named(items["arrays"], f"{where}arrays") if "arrays" in items else {}
    planned = {name: plan.array(array, f"{where}arrays/{name}") for name, array in arrays.items()}

    def finish() -> ModelFile:
        values = {name: read_text() for name, read_text in texts.items()}
        values |= {name: read_stack() for name, read_stack in stacks.items()}
        return ModelFile(kind, arrays={name: read_array() for name, read_array in planned.items()}, **values)

    return finish


def _named(item: safety.Item, where: str) -> StrDict:
    """Return the members of a group, whose names must be allowed."""
    items = safety.members(safety.as_group(item, where), where)
    for name in items:
        if not NAME.fullmatch(name):
            raise FileFormatError(f"{where} has a member with a name that is not allowed: {ascii(name)[:60]}")
    return items


def _plan_stack(item: safety.Item, where: str, plan: _Plan) -> Callable[[], Stack]:
    group = safety.as_group(item, where)
    items = safety.members(group, where)
    names = [f"layer_{number}" for number in range(1, len(items))]
    _expect(items, where, required=["metadata", *names])
    tuned = safety.integer(group, "tuned", where)
    if tuned not in (0, 1):
        raise FileFormatError(f"{where}, attribute tuned, must be 0 or 1, got {tuned}")
    metadata = plan.json(items["metadata"], f"{where}/metadata", dict)
    layers = [_plan_layer(items[name], f"{where}/{name}", plan) for name in names]
    return lambda: Stack(tuple(layer() for layer in layers), tuned=bool(tuned), metadata=metadata())


def _plan_layer(item: safety.Item, where: str, plan: _Plan) -> Callable[[], Weights]:
    group = safety.as_group(item, where)
    items = safety.members(group, where)
    _expect(items, where, required=("W", "vbias", "hbias"), optional=LAYER_ARRAYS)
    n_visible, n_hidden = (safety.integer(group, name, where) for name in ("n_visible", "n_hidden"))
    units: StrDict = {name: safety.text(group, name, where) for name in ("visible", "hidden")}
    with restoring(f"{where}, attribute hidden,"):
        n_parameters = len(get_unit(units["hidden"]).parameters)
    shapes = {"W": (n_visible, n_hidden), "hbias": (n_hidden,), "hidden_parameters": (n_parameters, n_hidden)}
    arrays = {name: plan.array(items[name], f"{where}/{name}", shapes.get(name, (n_visible,))) for name in items}
    for name, count in (("visible", n_visible), ("hidden", n_hidden)):
        with restoring(f"{where}, attribute {name},"):
            check_units(units[name], count, visible=name == "visible")

    def finish() -> Weights:
        values: StrDict = units | {name: read_array() for name, read_array in arrays.items()}
        weights = Weights(**values)
        check_scale(weights, where)
        return weights

    return finish


def _expect(items: Iterable[str], where: str, *, required: Iterable[str], optional: Iterable[str] = ()) -> None:
    """Check that a group has these members and no others."""
    for name in required:
        if name not in items:
            raise FileFormatError(f"{where} lacks {name}")
    for name in items:
        if name not in required and name not in optional:
            raise FileFormatError(f"{where} has an unexpected member {ascii(name)[:60]}")


def _finite(dataset: safety.Dataset) -> Array:
    values = dataset.read()
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise FileFormatError(f"{dataset.where} has values that are not finite")
    return values


def _decode_strings(dataset: safety.Dataset, width: int) -> Array:
    values = [value.decode("utf-8") for value in dataset.read().ravel().tolist()]
    if width and any(len(value) > width for value in values):
        raise FileFormatError(f"{dataset.where} has a string of more than {width} characters")
    out = np.empty(len(values), dtype=f"U{width}" if width else object)
    out[:] = values
    return out.reshape(dataset.shape)

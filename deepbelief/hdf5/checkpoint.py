"""Checkpoints as model files of kind ``"Checkpoint"``, of which the last two are kept."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbelief.errors import DataError, FileFormatError
from deepbelief.hdf5.model import ModelFile
from deepbelief.hdf5.reading import read
from deepbelief.hdf5.writing import write
from deepbelief.stack import Checkpoint

KIND = "Checkpoint"
ARRAY = "array at"  # an object with this one key stands for an array of the file


def previous_of(path: str | os.PathLike[str]) -> Path:
    """Return where the checkpoint before the last one lies."""
    return Path(f"{os.fspath(path)}.previous")


def write_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all; the one that was there stays beside it, under `previous_of`.

    Raises
    ------
    DataError
        When it cannot be written; what was there is unchanged.
    """
    arrays: dict[str, NDArray[Any]] = {}
    state = _take_apart(checkpoint.state, "state", arrays)
    attributes = {
        "state": state, "data": checkpoint.data, "seed": checkpoint.seed, "machine": checkpoint.machine,
        "finished": checkpoint.finished,
    }  # fmt: skip
    model = ModelFile(KIND, checkpoint.settings, arrays=arrays, attributes=attributes, metadata=checkpoint.metadata)
    write(path, model, previous=previous_of(path))


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    DataError
        When there is no such file or it cannot be read.
    FileFormatError
        When it is damaged, or something else.
    """
    model = read(path)
    if model.kind != KIND:
        raise FileFormatError(f"{path} is a {model.kind}, not a checkpoint")
    values = dict(model.attributes)
    try:
        state = _put_together(values.pop("state"), model.arrays)
        return Checkpoint(state, model.params, metadata=model.metadata, **values)
    except (KeyError, TypeError) as error:
        raise FileFormatError(f"{path} is not a valid checkpoint: {error}") from error


def last_checkpoint(path: str | os.PathLike[str]) -> tuple[Checkpoint | None, str]:
    """Return the last whole checkpoint, if there is any, and what is wrong with the last one, if it is not that.

    Raises
    ------
    DataError, FileFormatError
        When there is one that cannot be used, and none before it.
    """
    previous = previous_of(path)
    if not (os.path.lexists(path) or previous.exists()):
        return None, ""
    try:
        return read_checkpoint(path), ""
    except (DataError, FileFormatError) as error:
        try:
            return read_checkpoint(previous), str(error)
        except (DataError, FileFormatError):
            raise type(error)(f"{error}; there is no whole checkpoint before it") from error


def _take_apart(value: Any, where: str, arrays: dict[str, NDArray[Any]]) -> Any:
    """Return nested values with names in the place of arrays, which go into ``arrays``."""
    if isinstance(value, np.ndarray):
        arrays[where] = value
        return {ARRAY: where}
    if isinstance(value, Mapping):
        return {name: _take_apart(item, f"{where}.{name}", arrays) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_take_apart(item, f"{where}.{i}", arrays) for i, item in enumerate(value)]
    return value


def _put_together(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Undo `_take_apart`."""
    if isinstance(value, dict):
        if value.keys() == {ARRAY}:
            return arrays[value[ARRAY]]
        return {name: _put_together(item, arrays) for name, item in value.items()}
    return [_put_together(item, arrays) for item in value] if isinstance(value, list) else value

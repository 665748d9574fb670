"""Checkpoints as model files of kind ``"Checkpoint"``; the last two are kept."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from deepbelief.errors import DataError, FileFormatError
from deepbelief.fields import Fields
from deepbelief.hdf5.envelope import MAGIC, cannot, open_regular
from deepbelief.hdf5.model_file import ModelFile
from deepbelief.hdf5.reading import read
from deepbelief.hdf5.writing import write
from deepbelief.stack import Checkpoint
from deepbelief.typing import Array

KIND = "Checkpoint"
LAYOUT = 2  # version of the state of a run; increased by each change that makes older checkpoints unreadable
ARRAY = "array at"  # an object with only this key stands for an array of the file


_HEAD = 8192  # bytes that contain the kind of every checkpoint, today at offset 1472
_IS_KIND = re.compile(rb"kind\0{4}.{16}" + KIND.encode() + rb"\0", re.DOTALL)


def previous_of(path: str | os.PathLike[str]) -> Path:
    """Return the path of the previous checkpoint, next to the file that a symbolic link points to."""
    return Path(f"{os.path.realpath(path) if Path(path).is_symlink() else os.fspath(path)}.previous")


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is a checkpoint, intact or damaged, by its first bytes.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    try:
        with open_regular(path) as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise cannot("read", path, error) from error
    return head.startswith(MAGIC) and _IS_KIND.search(head) is not None


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """Refuse a path where a checkpoint, or its predecessor, would replace a file of another kind.

    Raises
    ------
    FileFormatError
        If there is another file.
    DataError
        If the path cannot be read, for instance if it is a folder.
    """
    previous = previous_of(path)
    for file in (Path(path), previous):
        # A power failure may leave an empty file next to an older checkpoint.
        torn = file != previous and file.is_file() and not file.stat().st_size and previous.is_file()
        if file.exists() and not torn and not is_checkpoint(file):
            raise FileFormatError(f"{file} is not a checkpoint of deepbelief and is left as it is: choose another name")


def write_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint, *, damaged: bool = False) -> None:
    """Write a checkpoint atomically; the existing one is kept next to it, under the path of `previous_of`.

    Parameters
    ----------
    path : str or path-like
    checkpoint : Checkpoint
        State of the run.
    damaged : bool
        Whether the existing file is damaged: it is then replaced, and its predecessor is kept.

    Raises
    ------
    DataError
        If it cannot be written; the old file is then unchanged.
    FileFormatError
        If another file, not a checkpoint, is there.
    """
    check_replaceable(path)
    arrays: dict[str, Array] = {}
    state = _take_apart(checkpoint.state, "state", arrays)
    attributes = {
        "state": state, "data": checkpoint.data, "seed": checkpoint.seed, "machine": checkpoint.machine,
        "finished": checkpoint.finished, "layout": LAYOUT,
    }  # fmt: skip
    model = ModelFile(KIND, checkpoint.settings, arrays=arrays, attributes=attributes, metadata=checkpoint.metadata)
    write(path, model, previous=None if damaged else previous_of(path))


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    DataError
        If there is no such file or it cannot be read.
    FileFormatError
        If it is damaged or not a checkpoint.
    """
    model = read(path)
    if model.kind != KIND:
        raise FileFormatError(f"{path} is a {model.kind}, not a checkpoint")
    values = Fields(model.attributes, os.fspath(path))
    if values.get("layout", 1) != LAYOUT:
        raise FileFormatError(
            f"{path} is a checkpoint of another version of deepbelief, which this one cannot resume: finish the run "
            "with that version, or delete the file to start again"
        )
    state = Fields(_put_together(values["state"], model.arrays, f"{path}: state"), f"{path}: state")
    for name in ("context", "phase") if state else ():
        state.fields(name)
    return Checkpoint(
        state, model.params, dict(values.fields("data")), values.integer("seed"), dict(values.fields("machine")),
        model.metadata, values.flag("finished"),
    )  # fmt: skip


def last_checkpoint(path: str | os.PathLike[str]) -> tuple[Checkpoint | None, str]:
    """Return the last intact checkpoint, if there is one, and the error of the last one if it is damaged.

    Raises
    ------
    DataError, FileFormatError
        If the checkpoint cannot be used and has no predecessor, or the file is not a checkpoint.
    """
    check_replaceable(path)
    previous = previous_of(path)
    if not (Path(path).exists() or previous.exists()):
        return None, ""
    try:
        return read_checkpoint(path), ""
    except (DataError, FileFormatError) as error:
        try:
            return read_checkpoint(previous), str(error)
        except (DataError, FileFormatError):
            raise type(error)(f"{error}; there is no complete earlier checkpoint") from error


def _take_apart(value: object, where: str, arrays: dict[str, Array]) -> object:
    """Return nested values with arrays replaced by names, and put the arrays into ``arrays``."""
    if isinstance(value, np.ndarray):
        arrays[where] = value
        return {ARRAY: where}
    if isinstance(value, Mapping):
        return {name: _take_apart(item, f"{where}.{name}", arrays) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_take_apart(item, f"{where}.{i}", arrays) for i, item in enumerate(value)]
    return value


def _put_together(value: object, arrays: Mapping[str, Array], where: str) -> object:
    """Undo `_take_apart`."""
    if isinstance(value, list):
        return [_put_together(item, arrays, f"{where}.{i}") for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if value.keys() != {ARRAY}:
        return {name: _put_together(item, arrays, f"{where}.{name}") for name, item in value.items()}
    if not isinstance(value[ARRAY], str) or value[ARRAY] not in arrays:
        raise FileFormatError(f"{where} is an array that the file lacks: {ascii(value[ARRAY])[:60]}")
    return arrays[value[ARRAY]]

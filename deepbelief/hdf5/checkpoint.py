"""Checkpoints as model files of kind ``"Checkpoint"``, of which the last two are kept."""

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
LAYOUT = 2  # of a run's state; raised by each change that an older checkpoint cannot be read with
ARRAY = "array at"  # an object with this one key stands for an array of the file


_HEAD = 8192  # bytes in which the kind of every checkpoint stands, at offset 1472 today
_IS_KIND = re.compile(rb"kind\0{4}.{16}" + KIND.encode() + rb"\0", re.DOTALL)


def previous_of(path: str | os.PathLike[str]) -> Path:
    """Return the path of the checkpoint before the last one, beside the file that a symbolic link points to."""
    return Path(f"{os.path.realpath(path) if Path(path).is_symlink() else os.fspath(path)}.previous")


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is a checkpoint, whole or damaged, by its first bytes.

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
    """Refuse a path where a checkpoint, or the one before it, would take the place of any other file.

    Raises
    ------
    FileFormatError
        If there is another file.
    DataError
        If there is something that cannot be read, such as a folder.
    """
    previous = previous_of(path)
    for file in (Path(path), previous):
        # An empty file beside an older checkpoint is what a power failure makes of a checkpoint.
        torn = file != previous and file.is_file() and not file.stat().st_size and previous.is_file()
        if file.exists() and not torn and not is_checkpoint(file):
            raise FileFormatError(f"{file} is not a checkpoint of deepbelief and is left as it is: choose another name")


def write_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint, *, damaged: bool = False) -> None:
    """Write a checkpoint, whole or not at all; the one that was there stays beside it, under `previous_of`.

    Parameters
    ----------
    path : str or path-like
    checkpoint : Checkpoint
        State of the run.
    damaged : bool
        Whether the file that is there is damaged: it is then replaced, and the one before it stays.

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
        When there is no such file or it cannot be read.
    FileFormatError
        When it is damaged, or something else.
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
    """Return the last whole checkpoint, if there is any, and what is wrong with the last one, if it is not that.

    Raises
    ------
    DataError, FileFormatError
        If there is one that cannot be used and none before it, or another file that is not a checkpoint.
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
    """Return nested values with names instead of arrays, which go into ``arrays``."""
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

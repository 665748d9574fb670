"""Checkpoints of a command's run: paths, and resuming with the recorded options."""

import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from deepbelief.errors import DataError, FileFormatError, SettingError
from deepbelief.typing import StrDict, StrMapping

from ._annotations import Fields
from ._files import absolute, same_file
from ._options import option, option_name, together
from ._text import as_typed
from ._types import Steps

checkpoint_options = together(
    option("--checkpoint", metavar="FILE", help="Save the state of the run in FILE, to resume after a crash."),
    option("--checkpoint-every", metavar="INTERVAL", help="10min, 2h, 3epochs, 500updates.  [default: 5min]"),
    option("--resume", metavar="FILE", help="Resume from a checkpoint, on the same data with the same options."),
)

COMMANDS = ("pretrain", "finetune")
CLUSTERS = ("workers", "scheduler")
FREE = (
    "checkpoint", "checkpoint_every", "resume", "config", "data_dir", "out", "log", "quiet", "force", "plan", "machine",
    *CLUSTERS,
)  # fmt: skip
"""Options that may change when a run resumes."""

NOT_KEPT = ("resume", "config", "quiet", "force", "plan", "machine")
"""Options that a checkpoint does not record."""


def recorded(command: str, options: StrDict) -> StrDict:
    """Return the options, with ``--resume`` those of the run to resume.

    Raises
    ------
    DataError, SettingError
        If there is no checkpoint, or it belongs to a run with other options than those that were typed.
    """
    from deepbelief.fields import Fields
    from deepbelief.hdf5 import last_checkpoint

    path = options["resume"]
    if path is None:
        return options
    if options["checkpoint"] is not None and not _same(options["checkpoint"], path):
        raise SettingError(f"--resume {path} keeps writing that file: leave --checkpoint {options['checkpoint']} out")
    found, _ = last_checkpoint(path)
    if found is None:
        raise DataError(f"no such checkpoint: {path}")
    metadata = Fields(found.metadata, f"{path}: metadata")
    of = metadata.get("command")
    if of != command:
        raise SettingError(
            f"{path} is a checkpoint of {of}: deepbelief {of} --resume {shlex.quote(path)}"
            if of in COMMANDS
            else f"{path} was written by a Python program: the same fit resumes from it"
        )
    before = _options(metadata.fields("options"))
    context = click.get_current_context()
    source_of = context.get_parameter_source
    between = {p.name: "-" if isinstance(p.type, Steps) else "," for p in context.command.params}
    typed = {name: value for name, value in options.items() if source_of(name) not in (None, ParameterSource.DEFAULT)}
    other = [
        f"{option_name(name)} was {as_typed(before.get(name), between[name])}, is {as_typed(value, between[name])}"
        for name, value in typed.items()
        if name not in FREE and not _agree(value, before.get(name))
    ]
    if other:
        raise SettingError(f"{path} belongs to a run with other options: {'; '.join(other)}; leave them out to resume")
    free = {name: value for name, value in typed.items() if name in FREE}
    if not free.keys().isdisjoint(CLUSTERS):  # the run goes over from one cluster to another
        before = {name: value for name, value in before.items() if name not in CLUSTERS}
    return {**options, **before, **free, "checkpoint": path}


def _options(values: Fields) -> StrDict:
    """Return the recorded options as the command takes them.

    Raises
    ------
    FileFormatError
        If one is not an option of this command, or has a value that it does not take.
    """
    from deepbelief.fields import restoring

    context = click.get_current_context()
    parameters = {parameter.name: parameter for parameter in context.command.params}
    for name, value in values.items():
        if name not in parameters:
            raise FileFormatError(f"{values.where} has {ascii(name)[:60]}, which this release does not support")
        try:
            with restoring(f"{values.where}.{name}"):
                values[name] = None if value is None else parameters[name].type_cast_value(context, _tuple(value))
        except click.UsageError as error:
            raise FileFormatError(f"{values.where}.{name} cannot be used: {error.message}") from error
    return dict(values)


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _agree(typed: object, before: object) -> bool:
    if isinstance(typed, str) and isinstance(before, str):
        return before in (typed, absolute(typed), _folder(typed))
    return bool(_tuple(typed) == _tuple(before))


def _folder(path: str | None) -> str | None:
    """Return the absolute path of a folder."""
    return None if path is None else str(Path(path).expanduser().resolve())


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def checkpoint_for(command: str, options: StrMapping, out: str, inputs: Iterable[str | None], **values: object) -> Any:
    """Return the `CheckpointFile` of a run; without ``--checkpoint`` it is beside ``--out``, written when stopped.

    Parameters
    ----------
    command : str
    options : mapping
        As typed, or as `recorded` gave them.
    out : str
    inputs : iterable of str or None
        Files that are read, which it must not be.
    **values
        Options in the words by which the run finds everything again.

    Raises
    ------
    SettingError
        If there is a checkpoint already, which neither ``--resume`` nor ``--force`` speaks of.
    """
    from deepbelief.checkpoints import CheckpointFile, remove
    from deepbelief.hdf5 import check_replaceable, previous_of

    path, every = options["checkpoint"], options["checkpoint_every"]
    if every is None and path is not None:
        every = "5 min"
    path = path or f"{out.removesuffix('.h5')}.ckpt.h5"
    for mine in (path, str(previous_of(path))):
        for given in (*inputs, out, options["log"]):
            if given is not None and (same_file(mine, given) or _same(mine, given)):
                raise SettingError(f"--checkpoint {path} is already used as input or output; choose another name")
    check_replaceable(path)
    if options["resume"] is None and (Path(path).exists() or previous_of(path).exists()):
        if not options["force"]:
            raise SettingError(
                f"{path} belongs to a run that was stopped: resume with deepbelief {command} --resume "
                f"{shlex.quote(path)}, or start again with --force"
            )
        remove(path)
    kept = {name: value for name, value in options.items() if name not in NOT_KEPT}
    kept |= {"labels": absolute(kept["labels"]), "data_dir": _folder(kept["data_dir"])}
    kept |= {name: None if kept[name] is None else os.path.realpath(kept[name]) for name in ("log", "checkpoint")}
    kept |= {"out": os.path.realpath(out), **values}
    return CheckpointFile(path, every=every, metadata={"command": command, "options": kept})

"""Output files: tested before long work, never the input, written beside their place and then moved there."""

import contextlib
import os
import secrets
import shlex
import tempfile
from collections.abc import Iterable
from pathlib import Path

import click

from deepbelief.errors import DataError, SettingError
from deepbelief.typing import Estimator, StrMapping


def check_output(path: str, *, force: bool, inputs: Iterable[str | None] = (), option: str = "--out") -> None:
    """Find out before long work whether an output file can be written and is meant to be.

    Raises
    ------
    SettingError
        If it exists and ``--force`` is not given, or is one of the inputs.
    DataError
        If it cannot be written.
    """
    from deepbelief.hdf5 import check_writable

    for given in inputs:
        if given is not None and same_file(path, given):
            raise SettingError(f"{option} {path} is an input file; choose another name")
    if os.path.lexists(path) and not force and not Path(path).is_dir():
        raise SettingError(f"{path} exists; choose another {option}, or replace it with --force")
    check_writable(path)


def check_outputs(
    out: str | None, log: str | None, *, force: bool, inputs: Iterable[str | None], resumed: bool = False
) -> None:
    """Check the files of a run, as far as their names are known; a resumed run appends to its log.

    ``--force`` speaks of ``--out``, and of logs; another file is never replaced by a log.
    """
    from ._progress import is_log

    inputs = tuple(inputs)
    if out is not None:
        check_output(out, force=force, inputs=inputs)
    if log is not None:
        own = Path(log).is_file() and is_log(log)
        if Path(log).is_file() and force and not own and not any(given and same_file(log, given) for given in inputs):
            raise SettingError(f"--log {log} is not a log of deepbelief and is left as it is: choose another name")
        appended = resumed and own
        check_output(log, force=force or appended, inputs=(*inputs, out), option="--log")
    if log is not None and out is not None and os.path.realpath(log) == os.path.realpath(out):
        raise SettingError(f"--log and --out are both {out}; choose two names")


def write_whole(path: str, content: bytes) -> None:
    """Write a file that appears whole or not at all."""
    from deepbelief.hdf5 import replacing

    with replacing(path) as temporary:
        temporary.write_bytes(content)


def absolute(spec: str | None) -> str | None:
    """Return a file (``FILE`` or ``FILE:PART``) by its absolute path, other names as they are."""
    from deepbelief.sources.files import split_spec

    if spec is None:
        return None
    try:
        path, part = split_spec(spec)
    except DataError:
        return spec
    if not path.is_file():
        return spec
    return str(path.resolve()) + (f":{part}" if part else "")


def same_file(path: str, given: str) -> bool:
    """Return whether an input (``FILE`` or ``FILE:PART``) is the file at this path."""
    for name in (given, given.rpartition(":")[0]):
        with contextlib.suppress(OSError, ValueError):
            if name and Path(path).samefile(Path(name).expanduser()):
                return True
    return False


def save_model(estimator: Estimator, out: str, metadata: StrMapping, checkpoint: str, *, force: bool) -> None:
    """Save a trained model and remove the run's checkpoint; a model that cannot be written to its place is kept.

    Without ``force`` a file that has come to this place since the run began, such as another run's model, stays.

    Raises
    ------
    DataError
        If ``out`` cannot be written; it says where the model is instead: beside the checkpoint or in the folder for
        temporary files.
    """
    from deepbelief import save
    from deepbelief.checkpoints import remove

    try:
        if not force and os.path.lexists(out):
            raise DataError(f"{out} was written by another program meanwhile and is left as it is")
        save(estimator, out, metadata=metadata)
    except DataError as error:
        raise DataError(f"{error}; {_kept(estimator, out, metadata, checkpoint)}") from error
    remove(checkpoint)


def _kept(estimator: Estimator, out: str, metadata: StrMapping, checkpoint: str) -> str:
    """Save a model in another folder and return the words for where it is."""
    from deepbelief import save

    name = f"{Path(out).name.removesuffix('.h5')}-{secrets.token_hex(4)}.h5"
    for folder in (Path(os.path.realpath(checkpoint)).parent, Path(tempfile.gettempdir())):
        try:
            save(estimator, folder / name, metadata=metadata)
        except (DataError, OSError):
            continue
        return f"the trained model is in {folder / name}"
    if not Path(checkpoint).exists():
        return "no other folder is writable; the trained model is lost"
    command = click.get_current_context().info_name
    return f"after freeing space, run deepbelief {command} --resume {shlex.quote(checkpoint)} to write the model"

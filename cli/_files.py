"""Output files: tested before long work, never the input, written beside their place and then moved there."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from deepbelief.errors import SettingError


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
            raise SettingError(f"{option} {path} is the file that is read; choose another name")
    if os.path.lexists(path) and not force and not Path(path).is_dir():
        raise SettingError(f"{path} exists; choose another {option}, or replace it with --force")
    check_writable(path)


def check_outputs(
    out: str | None, log: str | None, *, force: bool, inputs: Iterable[str | None], resumed: bool = False
) -> None:
    """Check the files of a run, as far as their names are known; the log of one that goes on is there."""
    inputs = tuple(inputs)
    if out is not None:
        check_output(out, force=force, inputs=inputs)
    if log is not None:
        check_output(log, force=force or resumed, inputs=(*inputs, out), option="--log")
    if log is not None and out is not None and os.path.realpath(log) == os.path.realpath(out):
        raise SettingError(f"--log and --out are both {out}; choose two names")


def same_file(path: str, given: str) -> bool:
    """Tell whether an input (``FILE`` or ``FILE:PART``) is the file at this path."""
    for name in (given, given.rpartition(":")[0]):
        with contextlib.suppress(OSError, ValueError):
            if name and Path(path).samefile(Path(name).expanduser()):
                return True
    return False

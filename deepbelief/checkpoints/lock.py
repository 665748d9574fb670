"""An advisory lock, so that two runs do not write one checkpoint; whatever ends a process frees it."""

import contextlib
import importlib
import os
from collections.abc import Iterator
from pathlib import Path

from deepbelief.errors import DataError, SettingError
from deepbelief.hdf5 import previous_of


def _lock_of(path: str | os.PathLike[str]) -> Path:
    return Path(f"{os.path.realpath(path)}.lock")


@contextlib.contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the lock of a checkpoint file, ``PATH.lock``, which goes with it.

    Raises
    ------
    SettingError
        If another run holds it.
    DataError
        If the folder cannot be written to.
    """
    try:
        fcntl = importlib.import_module("fcntl")
    except ImportError:  # not a POSIX system: there is no lock
        yield
        return
    lock = _lock_of(path)
    handle = _hold(fcntl, lock, path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()  # first, so that nobody takes a lock on a file without a name
        os.close(handle)


def _hold(fcntl: object, lock: Path, path: str | os.PathLike[str]) -> int:
    while True:
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise DataError(f"cannot write {path}: {error.strerror or error}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # type: ignore[attr-defined]
            if os.path.samestat(os.fstat(handle), lock.stat()):
                return handle
        except BlockingIOError:
            os.close(handle)
            raise SettingError(
                f"{path} is the checkpoint of a run that is going on: wait for it, or choose another name"
            ) from None
        except FileNotFoundError:  # its last owner took it away in between
            pass
        except OSError:  # a file system without locks
            return handle
        os.close(handle)


def remove(path: str | os.PathLike[str]) -> None:
    """Take away a checkpoint and the one before it; SettingError if a run is writing it."""
    with locked(path):
        for file in (Path(path), previous_of(path)):
            file.unlink(missing_ok=True)

"""Advisory lock that keeps two runs from writing one checkpoint; it is released whenever the process ends."""

import contextlib
import importlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from deepbelief.errors import DataError, SettingError
from deepbelief.hdf5 import check_replaceable, previous_of

MARK = b"deepbelief lock\n"  # content of a lock file, which distinguishes it from other files


@contextlib.contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the lock of a checkpoint file, ``PATH.lock``, which is removed with it.

    Raises
    ------
    SettingError
        If another run holds the lock, or another file has that name.
    DataError
        If the folder cannot be written to.
    """
    try:
        fcntl = importlib.import_module("fcntl")
    except ImportError:  # not a POSIX system: there is no lock
        yield
        return
    lock = Path(f"{os.path.realpath(path)}.lock")
    handle = _hold(fcntl, lock, path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()  # first, so that no other run locks a file that has no name any more
        os.close(handle)


def _hold(fcntl: object, lock: Path, path: str | os.PathLike[str]) -> int:
    while True:
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        except OSError as error:
            raise DataError(f"cannot write {lock}: {error.strerror or error}") from error
        is_file = stat.S_ISREG(os.fstat(handle).st_mode)
        if not is_file or os.pread(handle, len(MARK) + 1, 0) not in (MARK, b""):
            os.close(handle)
            raise SettingError(f"{lock} exists, but is not the lock of {path}: choose another name")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # type: ignore[attr-defined]
            if os.path.samestat(os.fstat(handle), lock.stat()):
                with contextlib.suppress(OSError):  # the disk is full: an empty file also serves as a lock
                    os.pwrite(handle, MARK, 0)
                return handle
        except BlockingIOError:
            os.close(handle)
            raise SettingError(
                f"{path} is the checkpoint of a run in progress: wait for it, or choose another name"
            ) from None
        except FileNotFoundError:  # its last owner has removed it in the meantime
            pass
        except OSError:  # a file system without locks
            return handle
        os.close(handle)


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a checkpoint and its predecessor; symbolic links to it stay.

    Raises
    ------
    SettingError
        If a run is writing it.
    FileFormatError, DataError
        If one of the files is not a checkpoint; nothing is then removed.
    """
    check_replaceable(path)
    with locked(path):
        for file in (Path(os.path.realpath(path)), previous_of(path)):
            file.unlink(missing_ok=True)

"""Replacement of a file in one step: a temporary file in the same folder, synced and renamed."""

import contextlib
import functools
import hashlib
import os
import platform
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepbelief.errors import DataError, DeepBeliefError
from deepbelief.hdf5.envelope import cannot
from deepbelief.hdf5.model_file import FORMAT

_NAME = re.compile(rf"\.{FORMAT}-(?P<host>[0-9a-f]{{12}})-(?P<pid>\d+)-(?P<start>\d+)-[0-9a-f]{{8}}\.tmp")


def temporary_name(target: Path) -> Path:
    """Return an unused name in the folder of a file that identifies this process."""
    pid = os.getpid()
    return target.with_name(f".{FORMAT}-{_host()}-{pid}-{_start_of(pid)}-{secrets.token_hex(4)}.tmp")


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes on this machine that no longer run."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _NAME.fullmatch(entry.name)
            if found and found["host"] == _host() and _is_dead(int(found["pid"]), int(found["start"])):
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink()


def _is_dead(pid: int, start: int) -> bool:
    """Return whether a process has ended; False in doubt."""
    if os.name != "posix":  # os.kill(pid, 0) would end it
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OverflowError, OSError):
        return False
    return start != 0 and _start_of(pid) not in (0, start)  # another process may have this number now


def _start_of(pid: int) -> int:
    """Return the start time of a process, in clock ticks since the machine started; 0 if it is unknown."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


@functools.cache
def _host() -> str:
    """Return a name of this machine and container, within which process numbers are unique."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/etc/machine-id").read_text(encoding="ascii"))
    with contextlib.suppress(OSError, AttributeError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


PROBE = b"\0" * 4096  # bytes written to test a folder: even a full disk accepts an empty file


def replace_file(path: str | os.PathLike[str], content: memoryview, *, previous: Path | None = None) -> None:
    """Replace the content at a path atomically; the old file is moved to ``previous`` if given.

    A symbolic link stays and its target is replaced. The mode is that of the old file, or follows the umask.

    Raises
    ------
    DataError
        If it cannot be written; the old file is then unchanged.
    """
    target, mode = _target(path)
    if previous is None:  # otherwise it is a checkpoint of a run, which checked the folder at its start
        remove_leftovers(target.parent)
    with _temporary(path, target, mode) as temporary:
        _write_new(temporary, content, mode)
        if previous is not None and mode is not None:
            _give_name(target, previous)
        temporary.replace(target)
    sync_folder(target.parent)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary file in the folder of the path; rename it to the path after the body has written it.

    Raises
    ------
    DataError
        If it cannot be written; the old file is then unchanged.
    """
    target, mode = _target(path)
    remove_leftovers(target.parent)
    with _temporary(path, target, mode) as temporary:
        _write_new(temporary, memoryview(b""), mode)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    sync_folder(target.parent)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Check before a long run that a file can be written at a path.

    It writes and removes a small file, and removes temporary files left in the folder by killed processes.

    Raises
    ------
    DataError
        If the folder does not exist or cannot be written to, or the path is not a regular file.

    Examples
    --------
    >>> check_writable("no/such/folder/model.h5")
    Traceback (most recent call last):
    deepbelief.errors.DataError: cannot write no/such/folder/model.h5: the folder ... does not exist
    """
    target, mode = _target(path)
    remove_leftovers(target.parent)
    with _temporary(path, target, mode) as temporary:
        _write_new(temporary, memoryview(PROBE), mode)
        temporary.unlink()


def _give_name(file: Path, name: Path) -> None:
    """Give a file a second name, or rename it if the file system has no hard links."""
    between = temporary_name(name)
    try:
        between.hardlink_to(file)
    except OSError:
        file.replace(name)
    else:
        between.replace(name)


def _target(path: str | os.PathLike[str]) -> tuple[Path, int | None]:
    """Return the file to replace, with symbolic links resolved, and the mode of the old file."""
    try:
        target = Path(os.path.realpath(path))
        folder, mode = target.parent.is_dir(), None
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            mode = target.lstat().st_mode
    except (OSError, ValueError) as error:
        raise cannot("write", path, error) from error
    if not folder:
        raise DataError(f"cannot write {path}: the folder {target.parent} does not exist")
    if mode is not None and not stat.S_ISREG(mode):
        raise DataError(f"cannot write {path}: not a regular file")
    return target, mode


@contextmanager
def _temporary(path: str | os.PathLike[str], target: Path, mode: int | None) -> Iterator[Path]:
    """Yield a name in the folder of the target; remove the file after an error."""
    temporary = temporary_name(target)
    try:
        yield temporary
    except BaseException as error:
        reason = error if isinstance(error, OSError) else None
        if isinstance(error, RuntimeError) and not isinstance(error, DeepBeliefError):
            reason = _write_error(temporary)  # h5py raises a RuntimeError if a file cannot be closed
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if reason is not None:
            kept = "" if mode is None else "; the old file is unchanged"
            raise cannot("write", path, reason, kept) from error
        raise


def _write_error(file: Path) -> OSError | None:
    """Return the error of writing more bytes to a file, or None if that succeeds."""
    try:
        with file.open("ab", buffering=0) as opened:
            opened.write(PROBE)
            os.fsync(opened.fileno())
    except OSError as error:
        return error
    return None


def _write_new(path: Path, content: memoryview, mode: int | None) -> None:
    """Write a new file and sync it to the disk."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags, 0o666 if mode is None else 0o600), "wb") as file:
        file.write(content)
        file.flush()
        if mode is not None:
            path.chmod(stat.S_IMODE(mode))
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure, if the system can; the file is complete in either case."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

"""The outside of a model file: the user block that vouches for the rest, and replacing a file whole."""

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from deepbelief.errors import DataError, FileFormatError
from deepbelief.hdf5.model import FORMAT, FORMAT_VERSION

USER_BLOCK = 512
_MAGIC = FORMAT.encode() + b"\n"
_HDF5 = b"\x89HDF\r\n\x1a\n"


def seal(length: int, digest: str) -> bytes:
    """Return the user block for so many bytes with this SHA-256."""
    lines = f"{FORMAT}\nversion {FORMAT_VERSION}\nlength {length}\nsha256 {digest}\n"
    return lines.encode("ascii").ljust(USER_BLOCK, b"\0")


@contextmanager
def open_verified(path: str | os.PathLike[str]) -> Iterator[tuple[BufferedReader, int]]:
    """Open a model file whose every byte is as it was written.

    Yields
    ------
    file, length : binary file, int
        The very file that was checked, so that nothing can be put in its place, and its size.

    Raises
    ------
    DataError
        When there is no such file or it cannot be read.
    FileFormatError
        When it is not a model file, damaged, or of a newer version.
    """
    with _open(path) as file:
        try:
            block = file.read(USER_BLOCK)
            start = file.read(len(_HDF5))
            if not block.startswith(_MAGIC):
                raise _foreign(path, block, start)
            _check_version(path, block)
            file.seek(USER_BLOCK)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            length = os.fstat(file.fileno()).st_size
        except OSError as error:
            raise _cannot("read", path, error) from error
        if block != seal(length - USER_BLOCK, digest):
            raise FileFormatError(
                f"{path} is damaged: its {length} bytes are not those that were written (cut short or changed); "
                "restore it from a copy"
            )
        if start != _HDF5:
            raise FileFormatError(f"{path} is not a valid model file: no HDF5 part after the first {USER_BLOCK} bytes")
        yield file, length


def _open(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a regular file for reading; a pipe would wait for ever."""
    try:
        if stat.S_ISREG(Path(path).stat().st_mode):
            return Path(path).open("rb")
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except (OSError, ValueError) as error:
        raise _cannot("read", path, error) from error
    raise DataError(f"cannot read {path}: not a regular file")


def _foreign(path: str | os.PathLike[str], block: bytes, body: bytes) -> FileFormatError:
    """Return the error for a file that does not start as a model file does."""
    if not block:
        return FileFormatError(f"{path} is not a model file: it is empty")
    if block.startswith(_HDF5):
        return FileFormatError(f"{path} is an HDF5 file, but not a model that deepbelief wrote")
    if body == _HDF5:
        return FileFormatError(
            f"{path} is not a model that deepbelief wrote, or its first {USER_BLOCK} bytes are damaged: "
            "restore it from a copy"
        )
    return FileFormatError(f"{path} is not a model file: not HDF5")


def _check_version(path: str | os.PathLike[str], block: bytes) -> None:
    word, _, number = block.split(b"\n")[1].partition(b" ")
    if word == b"version" and number.isdigit() and len(number) < 10 and int(number) > FORMAT_VERSION:
        raise FileFormatError(
            f"{path} has format version {int(number)}, this release reads up to {FORMAT_VERSION}: upgrade deepbelief"
        )


def replace_file(path: str | os.PathLike[str], content: memoryview, *, previous: Path | None = None) -> None:
    """Put new content at a path, whole or not at all; the old file goes to ``previous`` where that is given.

    A symbolic link stays and its target is replaced; the mode is the old file's, or what the umask gives.

    Raises
    ------
    DataError
        When it cannot be written; the old file is then as it was.
    """
    target, mode = _target(path)
    with _temporary(path, target, mode) as temporary:
        _write_new(temporary, content, mode)
        if previous is not None and mode is not None:
            _give_name(target, previous)
        temporary.replace(target)
    _sync_folder(target.parent)


def _give_name(file: Path, name: Path) -> None:
    """Let a file be found under a second name too, or, where there are no hard links, under that name alone."""
    between = name.with_name(f".{FORMAT}-{secrets.token_hex(8)}.tmp")
    try:
        between.hardlink_to(file)
    except OSError:
        file.replace(name)
    else:
        between.replace(name)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out before long work whether a file can be written at a path; nothing stays behind.

    Raises
    ------
    DataError
        When the folder does not exist or cannot be written to, or the path is no regular file.

    Examples
    --------
    >>> check_writable("no/such/folder/model.h5")
    Traceback (most recent call last):
    deepbelief.errors.DataError: cannot write no/such/folder/model.h5: there is no folder ...
    """
    target, mode = _target(path)
    with _temporary(path, target, mode) as temporary:
        _write_new(temporary, memoryview(b""), mode)
        temporary.unlink()


def _target(path: str | os.PathLike[str]) -> tuple[Path, int | None]:
    """Return the file to replace, behind symbolic links, and the mode of the old one."""
    try:
        target = Path(os.path.realpath(path))
        mode = target.stat().st_mode if target.exists() else None
        folder = target.parent.is_dir()
    except (OSError, ValueError) as error:
        raise _cannot("write", path, error) from error
    if not folder:
        raise DataError(f"cannot write {path}: there is no folder {target.parent}")
    if mode is not None and not stat.S_ISREG(mode):
        raise DataError(f"cannot write {path}: not a regular file")
    return target, mode


@contextmanager
def _temporary(path: str | os.PathLike[str], target: Path, mode: int | None) -> Iterator[Path]:
    """Give a name in the folder of the target that is free again if anything goes wrong."""
    temporary = target.with_name(f".{FORMAT}-{secrets.token_hex(8)}.tmp")
    try:
        yield temporary
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            kept = "" if mode is None else "; the old file is unchanged"
            raise _cannot("write", path, error, kept) from error
        raise


def _write_new(path: Path, content: memoryview, mode: int | None) -> None:
    """Write a new file down to the disk."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags, 0o666 if mode is None else 0o600), "wb") as file:
        file.write(content)
        file.flush()
        if mode is not None:
            path.chmod(stat.S_IMODE(mode))
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the rename survive a power cut, where the system can; the file is whole either way."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _cannot(verb: str, path: str | os.PathLike[str], error: Exception, more: str = "") -> DataError:
    return DataError(f"cannot {verb} {path}: {getattr(error, 'strerror', None) or error}{more}")

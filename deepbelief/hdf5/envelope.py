"""The user block of a model file: format, version, length and checksum of the HDF5 part."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from deepbelief.errors import DataError, FileFormatError
from deepbelief.hdf5.model_file import FORMAT, FORMAT_VERSION

USER_BLOCK = 512
MAGIC = FORMAT.encode() + b"\n"
_HDF5 = b"\x89HDF\r\n\x1a\n"


def seal(length: int, digest: str) -> bytes:
    """Return the user block for a number of bytes with this SHA-256."""
    lines = f"{FORMAT}\nversion {FORMAT_VERSION}\nlength {length}\nsha256 {digest}\n"
    return lines.encode("ascii").ljust(USER_BLOCK, b"\0")


@contextmanager
def open_verified(path: str | os.PathLike[str]) -> Iterator[tuple[BufferedReader, int]]:
    """Open a model file after verifying every byte.

    Yields
    ------
    file, length : binary file, int
        The open file that was checked, so that it cannot be exchanged afterwards, and its size.

    Raises
    ------
    DataError
        If there is no such file or it cannot be read.
    FileFormatError
        If it is not a model file, is damaged, or has a newer version.
    """
    with open_regular(path) as file:
        try:
            block = file.read(USER_BLOCK)
            start = file.read(len(_HDF5))
            if not block.startswith(MAGIC):
                raise _foreign(path, block, start)
            _check_version(path, block)
            file.seek(USER_BLOCK)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            length = os.fstat(file.fileno()).st_size
        except OSError as error:
            raise cannot("read", path, error) from error
        if block != seal(length - USER_BLOCK, digest):
            raise FileFormatError(
                f"{path} is damaged: its {length} bytes differ from those that were written (truncated or changed); "
                "restore it from a copy"
            )
        if start != _HDF5:
            raise FileFormatError(f"{path} is not a valid model file: no HDF5 part after the first {USER_BLOCK} bytes")
        yield file, length


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a regular file for reading; a pipe would block."""
    try:
        if stat.S_ISREG(Path(path).stat().st_mode):
            return Path(path).open("rb")
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except (OSError, ValueError) as error:
        raise cannot("read", path, error) from error
    raise DataError(f"cannot read {path}: not a regular file")


def _foreign(path: str | os.PathLike[str], block: bytes, body: bytes) -> FileFormatError:
    """Return the error for a file that does not start like a model file."""
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


def cannot(verb: str, path: str | os.PathLike[str], error: BaseException, more: str = "") -> DataError:
    """Return the error for a file that cannot be read or written."""
    number = getattr(error, "errno", None)  # the system's text is short, while HDF5's has several lines
    reason = os.strerror(number) if number else (str(error) or type(error).__name__).splitlines()[0]
    return DataError(f"cannot {verb} {path}: {reason}{more}")

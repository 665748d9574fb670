"""Compressed streams with a limit on their expansion, and checks that a path is a regular file."""

import gzip
import io
import stat
from pathlib import Path
from typing import IO, Any

from deepbelief.errors import FileError
from deepbelief.sources.content import size_text

FREE_TEXT = 2**23
"""Bytes that any compressed text may expand to."""

MAX_TEXT_EXPANSION = 100
"""Times that a longer text may expand: tables expand 3 to 50 times."""

SMALL = 2**22
"""Bytes of a compressed text up to which it is decompressed once before any of it is parsed."""

KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_regular(path: Path) -> Path:
    """Return the path of a file or folder; refuse pipes, sockets and devices, which may block forever."""
    kind = KINDS.get(stat.S_IFMT(path.stat().st_mode))
    if kind is not None:
        raise FileError(f"{path}: is {kind}, not a file; write its content to a file first")
    return path


def is_gzip(path: Path) -> bool:
    """Return whether the file starts as gzip streams do."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


class Expanded(io.RawIOBase):
    """Content of a gzip file, with a limit on its expansion.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, gzip.open(path)  # noqa: SIM115
        self._limit = max(FREE_TEXT, MAX_TEXT_EXPANSION * path.stat().st_size)
        self._read = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer and return the number of bytes."""
        n = self._file.readinto(buffer)
        self._read += n
        if self._read > self._limit:
            told = f"expands to over {size_text(self._limit)}, {MAX_TEXT_EXPANSION} times its size"
            raise FileError(f"{self._path}: {told}: decompress it first if this is intended")
        return n

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        io.RawIOBase.close(self)


def open_bytes(path: Path) -> IO[bytes]:
    """Open for reading, through gzip where the content is compressed."""
    if not is_gzip(path):
        return path.open("rb")
    if path.stat().st_size <= SMALL:
        with io.BufferedReader(Expanded(path), 2**16) as file:
            while file.read(2**20):
                pass
    return io.BufferedReader(Expanded(path), 2**16)

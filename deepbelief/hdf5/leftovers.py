"""Temporary files: names that carry their process, and removal of the files that killed processes left."""

import contextlib
import functools
import hashlib
import os
import platform
import re
import secrets
from pathlib import Path

from deepbelief.hdf5.model_file import FORMAT

_NAME = re.compile(rf"\.{FORMAT}-(?P<host>[0-9a-f]{{12}})-(?P<pid>\d+)-(?P<start>\d+)-[0-9a-f]{{8}}\.tmp")


def temporary_name(target: Path) -> Path:
    """Return an unused name in the folder of a file, which carries this process."""
    pid = os.getpid()
    return target.with_name(f".{FORMAT}-{_host()}-{pid}-{_start_of(pid)}-{secrets.token_hex(4)}.tmp")


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes of this machine that no longer run."""
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
    return start != 0 and _start_of(pid) not in (0, start)  # another process has the number now


def _start_of(pid: int) -> int:
    """Return when a process began, in clock ticks since the machine did; 0 where that is unknown."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


@functools.cache
def _host() -> str:
    """Return a name of this machine, and of the container in it: process numbers count within that."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/etc/machine-id").read_text(encoding="ascii"))
    with contextlib.suppress(OSError, AttributeError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

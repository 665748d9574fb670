"""Progress of training: a live display on a terminal, plain lines elsewhere, a log of JSON lines on request."""

import contextlib
import errno
import importlib
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import click

from deepbelief.errors import LogWarning
from deepbelief.training import Record, Reporter, Reporters

from ._pace import Pace, scores
from ._text import as_json, clean, duration

MOST_LINES = 20  # epochs of a phase that are each worth a plain line; longer phases get about ten


class PlainReporter(Reporter):
    """One line per epoch on stderr, or about ten for a long phase."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    def begin(self, what: Record) -> None:
        """Begin a phase."""
        self._pace.begin(what)

    def note(self, text: str) -> None:
        """Print the line."""
        with contextlib.suppress(OSError):
            click.echo(clean(text), err=True)

    def record(self, record: Record) -> None:
        """Print the epoch, if it is one to print."""
        number, n = self._pace.at(record["epoch"])
        if n > MOST_LINES and number not in (1, n) and number * 10 // n == (number - 1) * 10 // n:
            return
        left = self._pace.left(record["epoch"])
        with contextlib.suppress(OSError):  # a full disk, or a reader that has ended, does not end the run
            click.echo(
                f"{self._pace.title()}: epoch {number}/{n}, {scores(record)}, {duration(record['seconds'])}, "
                f"{duration(left)} left",
                err=True,
            )


class LogReporter(Reporter):
    """One JSON object per epoch in a file, made when the first epoch has ended.

    A line is written whole or not at all: where that fails, as on a full disk, it warns once and training continues.
    The log of another run, which was begun after this one, is left as it is.

    Parameters
    ----------
    path : str
    append : bool, default=False
        Whether lines are added to those that are there.
    replace : bool, default=True
        Whether lines that are there when the first is written may go.
    """

    def __init__(self, path: str, *, append: bool = False, replace: bool = True) -> None:
        self._path, self._append, self._replace = Path(path), append, replace
        self._file: IO[bytes] | None = None
        self._warned = self._taken = False

    def record(self, record: Record) -> None:
        """Write the record."""
        if self._taken:
            return
        try:
            if self._file is None:
                self._file = self._opened()
            self._write(self._file, f"{as_json(record)}\n".encode())
        except OSError as error:
            if not self._warned:
                reason = error.strerror or error
                warnings.warn(f"no log: cannot write {self._path}: {reason}; training continues", LogWarning, 2)
            self._warned = True

    def _opened(self) -> IO[bytes]:
        """Return the file, locked; OSError if it is another run's."""
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(self._path.open("ab", buffering=0))
            self._taken = not _locked(file)
            if self._taken:
                raise OSError(errno.EBUSY, "another run is writing it")
            if not self._append and os.fstat(file.fileno()).st_size:
                self._taken = not self._replace
                if self._taken:
                    raise OSError(errno.EEXIST, "another run has written it meanwhile")
                file.truncate(0)
            stack.pop_all()
        return file

    def _write(self, file: IO[bytes], line: bytes) -> None:
        before = os.fstat(file.fileno()).st_size
        try:
            while line:
                line = line[file.write(line) :]
        except OSError:
            file.truncate(before)
            file.seek(before)
            raise

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()


def _locked(file: IO[bytes]) -> bool:
    """Lock a file until it is closed; False if another process has locked it. Where there are no locks, True."""
    try:
        fcntl = importlib.import_module("fcntl")
    except ImportError:  # not a POSIX system
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def is_log(path: str) -> bool:
    """Return whether a file is a log of this reporter, or empty."""
    with Path(path).open("rb") as file:
        line = file.readline(1 << 20)
    try:
        record = json.loads(line) if line else {"epoch": 0}
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and "epoch" in record


@contextlib.contextmanager
def reporting(
    *, quiet: bool, log: str | None, sizes: Sequence[int] = (), resumed: bool = False, force: bool = False
) -> Iterator[Reporter]:
    """Give the reporter of a run, to pass as ``verbose`` to an estimator; on resume the log is appended to."""
    with contextlib.ExitStack() as stack:
        reporters: list[Any] = []
        if not quiet:
            reporters.append(_display(sizes, stack))
        if log is not None:
            reporters.append(logger := LogReporter(log, append=resumed, replace=force))
            stack.callback(logger.close)
        yield Reporters(reporters)


def _display(sizes: Sequence[int], stack: contextlib.ExitStack) -> Reporter:
    """Return the display that suits stderr."""
    if not sys.stderr.isatty():
        return PlainReporter(Pace(sizes))
    from ._live import LiveReporter

    live = LiveReporter(Pace(sizes))
    stack.callback(live.close)
    return live

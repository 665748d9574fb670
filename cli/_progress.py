"""Progress of training: a live display on a terminal, plain lines elsewhere, a log of JSON lines on request."""

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import click

from deepbelief.errors import LogWarning
from deepbelief.training import Record, Reporter

from ._pace import Pace, scores
from ._text import as_json, clean, seconds

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
                f"{self._pace.title()}: epoch {number}/{n}, {scores(record)}, {seconds(record['seconds'])}, "
                f"{seconds(left)} left",
                err=True,
            )


class LogReporter(Reporter):
    """One JSON object per epoch in a file, made when the first epoch has ended.

    A line is written whole or not at all: where that fails, as on a full disk, it warns once and training continues.
    """

    def __init__(self, path: str, *, append: bool = False) -> None:
        self._path, self._append = Path(path), append
        self._file: IO[bytes] | None = None
        self._warned = False

    def record(self, record: Record) -> None:
        """Write the record."""
        try:
            if self._file is None:
                self._file = self._path.open("ab" if self._append else "wb", buffering=0)
            self._write(self._file, f"{as_json(record)}\n".encode())
        except OSError as error:
            if not self._warned:
                reason = error.strerror or error
                warnings.warn(f"no log: cannot write {self._path}: {reason}; training continues", LogWarning, 2)
            self._warned = True

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


def is_log(path: str) -> bool:
    """Tell whether a file is a log of this reporter, or empty."""
    with Path(path).open("rb") as file:
        line = file.readline(1 << 20)
    try:
        record = json.loads(line) if line else {"epoch": 0}
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and "epoch" in record


class Reporters(Reporter):
    """Tells several reporters."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._reporters = reporters

    def begin(self, what: Record) -> None:
        """Tell of a phase."""
        for reporter in self._reporters:
            reporter.begin(what)

    def note(self, text: str) -> None:
        """Tell of a fact about the data or the settings."""
        for reporter in self._reporters:
            reporter.note(text)

    def update(self, epoch: int, done: int, total: int) -> None:
        """Tell of an update."""
        for reporter in self._reporters:
            reporter.update(epoch, done, total)

    def record(self, record: Record) -> None:
        """Tell of an epoch."""
        for reporter in self._reporters:
            reporter.record(record)


@contextlib.contextmanager
def reporting(*, quiet: bool, log: str | None, sizes: Sequence[int] = (), resumed: bool = False) -> Iterator[Reporter]:
    """Give the reporter of a run, to pass as ``verbose`` to an estimator; on resume the log is appended to."""
    with contextlib.ExitStack() as stack:
        reporters: list[Any] = []
        if not quiet:
            reporters.append(_display(sizes, stack))
        if log is not None:
            reporters.append(logger := LogReporter(log, append=resumed))
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

"""The live display of training on a terminal."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from deepbelief.training import Record, Reporter

from ._pace import Pace, scores
from ._text import clean, duration

MOST_ROWS = 8  # phases on show at once; the oldest make room
REDRAW = 0.1  # seconds between two updates of the numbers


class LiveReporter(Reporter):
    """One bar per layer and pass, with errors and the time left for the whole run."""

    def __init__(self, pace: Pace, console: Console | None = None) -> None:
        self._pace = pace
        column = {"markup": False}
        self._progress = Progress(
            TextColumn("{task.description}", **column),  # type: ignore[arg-type]
            BarColumn(bar_width=20),
            TextColumn("{task.fields[epoch]}", **column),  # type: ignore[arg-type]
            TextColumn("{task.fields[scores]}", **column),  # type: ignore[arg-type]
            TextColumn("{task.fields[left]}", **column),  # type: ignore[arg-type]
            console=console or Console(stderr=True),
            refresh_per_second=5,
        )
        self._rows: list[TaskID] = []
        self._drawn = 0.0

    def begin(self, what: Record) -> None:
        """Add a bar."""
        self._pace.begin(what)
        if not self._rows:
            self._progress.start()
        self._rows.append(self._progress.add_task(self._pace.title(), total=None, epoch="", scores="", left=""))
        if len(self._rows) > MOST_ROWS:
            self._progress.remove_task(self._rows.pop(0))

    def note(self, text: str) -> None:
        """Print the line above the bars."""
        self._progress.console.print(clean(text), markup=False, highlight=False)

    def update(self, epoch: int, done: int, total: int) -> None:
        """Move the bar, some times a second."""
        now = time.perf_counter()
        if now - self._drawn >= REDRAW:
            self._drawn = now
            self._show(epoch, done / total)

    def record(self, record: Record) -> None:
        """Show the errors of the epoch."""
        self._show(record["epoch"], 1.0, scores=scores(record))
        number, n = self._pace.at(record["epoch"])
        if number == n:
            self._progress.update(self._rows[-1], left="")

    def _show(self, epoch: int, part: float, **fields: Any) -> None:
        number, n = self._pace.at(epoch)
        left = f"{duration(self._pace.left(epoch, part))} left"
        self._progress.update(
            self._rows[-1], total=n, completed=number - 1 + part, epoch=f"epoch {number}/{n}", left=left, **fields
        )

    def close(self) -> None:
        """Leave the display as it stands."""
        self._progress.stop()

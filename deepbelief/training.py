"""Minibatches, and the one epoch loop that trains machines and networks alike."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

import numpy as np

from deepbelief.backends import Backend, Rng
from deepbelief.checkpoints import NO_CHECKPOINTS, Checkpointer
from deepbelief.communicator import SINGLE_PROCESS, Communicator
from deepbelief.errors import Mention, SettingError
from deepbelief.fields import Fields, restoring
from deepbelief.row_windows import Index, WindowedOrder, Windows
from deepbelief.seeds import host_rng, stream
from deepbelief.sources import RowSource, SubsetSource
from deepbelief.stack import State
from deepbelief.streaming import BLOCK_ROWS, Rows
from deepbelief.typing import Array, StrDict

Record = StrDict


class Reporter:
    """Receives a run's progress and may ask it to stop; this one does neither.

    Estimators take an instance, or a list of them, as ``verbose``.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import RBM
    >>> class Enough(Reporter):
    ...     def record(self, record):
    ...         return record["reconstruction_error"] < 2
    >>> rbm = RBM(4, verbose=Enough(), random_state=0).fit(np.eye(8))
    >>> len(rbm.history_) < 100
    True
    """

    def begin(self, what: Record) -> None:
        """Begin a layer's share of a pass, or fine-tuning, as named by ``what``."""

    def note(self, text: str) -> None:
        """Take a line about the data, before training."""

    def update(self, epoch: int, done: int, total: int) -> None:
        """Count an update of an epoch."""

    def record(self, record: Record) -> bool | None:
        """Take the record of an epoch that has ended; return True to end the phase here: a layer's, or fine-tuning."""
        return None

    def end(self) -> None:
        """End the phase, finished or interrupted."""


class Reporters(Reporter):
    """Several reporters as one; each may ask the run to stop."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._reporters = tuple(reporters)

    def begin(self, what: Record) -> None:
        """Tell all of them."""
        for reporter in self._reporters:
            reporter.begin(what)

    def note(self, text: str) -> None:
        """Tell all of them."""
        for reporter in self._reporters:
            reporter.note(text)

    def update(self, epoch: int, done: int, total: int) -> None:
        """Tell all of them."""
        for reporter in self._reporters:
            reporter.update(epoch, done, total)

    def record(self, record: Record) -> bool:
        """Tell all of them, also where the first has had enough."""
        asked = [reporter.record(record) for reporter in self._reporters]
        return any(asked)

    def end(self) -> None:
        """Tell all of them."""
        for reporter in self._reporters:
            reporter.end()


class PrintReporter(Reporter):
    """Prints one line per epoch."""

    def note(self, text: str) -> None:
        """Print the line."""
        print(text)  # noqa: T201

    def record(self, record: Record) -> None:
        """Print the record."""
        shown = (f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in record.items() if v is not None)
        with contextlib.suppress(OSError):  # a full disk, or a reader that has ended, does not end the run
            print("  ".join(shown))  # noqa: T201


def get_reporter(verbose: int | bool | Reporter | Sequence[Reporter]) -> Reporter:
    """Return the reporter that ``verbose`` asks for."""
    if isinstance(verbose, Reporter):
        return verbose
    if isinstance(verbose, (list, tuple)) and all(isinstance(each, Reporter) for each in verbose):
        return Reporters(verbose)
    if not isinstance(verbose, (bool, int, np.integer)):
        raise SettingError(f"verbose must be a number, a bool, a Reporter or a list of them, got {verbose!r}")
    return PrintReporter() if verbose else Reporter()


@dataclass(frozen=True, eq=False)
class Run:
    """Context of a run: what stays the same from its first update to its last.

    Parameters
    ----------
    bk : Backend
    seed : int
        All random streams are derived from it.
    reporter : Reporter
    checkpointer : Checkpointer
        Writes the state of the run between its updates, and finds the state that a resumed run begins with.
    communicator : Communicator
        Other workers that train the same model on other rows.
    memory_limit : int, optional
        Bytes that rows may take in memory; None: a quarter of the memory. More rows are read in windows.
    """

    bk: Backend
    seed: int
    reporter: Reporter = field(default_factory=Reporter)
    checkpointer: Checkpointer = NO_CHECKPOINTS
    communicator: Communicator = SINGLE_PROCESS
    memory_limit: int | None = None


class Task(Protocol):
    """Task of the epoch loop."""

    finished: bool  # set by `end_epoch` to stop before the last epoch

    def begin_epoch(self, epoch: int, order: Index | WindowedOrder) -> None:
        """Prepare for an epoch over the rows in this order."""

    def update(self, start: int, stop: int, position: float, rng: Rng) -> None:
        """Make one update with the rows at these places of the order."""

    def end_epoch(self, epoch: int) -> Record:
        """Return the history record of the epoch."""


class ResumableTask(Task, Protocol):
    """Task whose run can stop between two updates and resume."""

    def snapshot(self) -> State:
        """Return everything that the next update and the end of the epoch read, as host values."""

    def restore(self, state: State) -> None:
        """Continue within an epoch that has begun, from the values of `snapshot`."""


def run_epochs(
    task: Task, n_rows: int, run: Run, *, epochs: range, horizon: int, batch_size: int, key: tuple[int | str, ...],
    shuffle: bool = True, windows: Windows | None = None,
) -> list[Record]:  # fmt: skip
    """Train for some epochs; the only training loop there is.

    Parameters
    ----------
    task : Task
        With a checkpointer, a `ResumableTask`.
    n_rows : int
    run : Run
    epochs : range
        Cumulative epoch numbers, from 0: streams and schedules count from the run's first epoch.
    horizon : int
        Epochs of the whole run, the length of learning-rate schedules.
    batch_size : int
        Rows in a minibatch; the last one may be shorter.
    key : tuple
        Name of the task's random streams; epoch and purpose are added.
    shuffle : bool
        False keeps the rows' order (`partial_fit`).
    windows : Windows, optional
        How the task reads rows that do not fit into memory; None: it has them.

    Returns
    -------
    list of dict
        One record per epoch.
    """
    loop = _Loop(task, n_rows, run, epochs, horizon, batch_size, key, shuffle, windows)
    place = None if (found := run.checkpointer.resume()) is None else Fields.of(found)
    history: list[Record] = [] if place is None else place.records("records")
    try:
        for epoch in epochs[len(history) :]:
            record = loop.run_epoch(epoch, history, place)
            place = None
            history.append({"epoch": epoch + 1, "n_epochs": epochs.stop} | record)
            enough = run.reporter.record(history[-1])
            if task.finished or enough:
                break
    finally:
        run.reporter.end()
    return history


@dataclass(frozen=True, eq=False)
class _Loop:
    """Values that stay the same from epoch to epoch."""

    task: Task
    n_rows: int
    run: Run
    epochs: range
    horizon: int
    batch_size: int
    key: tuple[int | str, ...]
    shuffle: bool
    windows: Windows | None

    def run_epoch(self, epoch: int, history: list[Record], place: Fields | None) -> Record:
        """Train for one epoch, or for the rest of it from a position, and return its record."""
        task, n, began = self.task, self.n_rows, time.perf_counter()
        rng = self.run.bk.rng(stream(self.run.seed, *self.key, epoch, "sampling"))
        order = self._order(host_rng(self.run.seed, *self.key, epoch, "order") if self.shuffle else None)
        starts = range(0, n, self.batch_size)
        # A run that diverges is reported once, by the task at the end of its epoch.
        with np.errstate(over="ignore", invalid="ignore"):
            task.begin_epoch(epoch, order)
            first = 0 if place is None else self._go_to(place, rng)
            for i in range(first, len(starts)):
                start = starts[i]
                task.update(start, min(start + self.batch_size, n), (epoch + i / len(starts)) / self.horizon, rng)
                self._keep(history, i + 1, len(starts), epoch, rng)
                self.run.reporter.update(epoch + 1, i + 1, len(starts))
            told = task.end_epoch(epoch)
        return told | {"seconds": time.perf_counter() - began}

    def _order(self, rng: np.random.Generator | None) -> Index | WindowedOrder:
        if self.windows is not None:
            return self.windows.order(rng)
        return np.arange(self.n_rows) if rng is None else rng.permutation(self.n_rows)

    def _go_to(self, place: Fields, rng: Rng) -> int:
        """Put task and stream where they stood, and return the number of updates done."""
        if "windows" in place and place["windows"] != self._windows():
            was, now = place["windows"] or "no windows", self._windows() or "none"
            raise SettingError(
                f"the run read its rows in {was}, but this one would in {now}: pass the rows in the same way, with ",
                "the same ",
                Mention("memory_limit"),
            )
        with restoring(f"{place.where}.task"):
            cast(ResumableTask, self.task).restore(place.fields("task"))
        with restoring(f"{place.where}.stream"):
            rng.set_state(place.fields("stream"))
        return place.integer("updates")

    def _windows(self) -> dict[str, int] | None:
        """Return how rows are read, as plain values: the order depends on it."""
        return None if self.windows is None else vars(self.windows)

    def _keep(self, history: list[Record], done: int, total: int, epoch: int, rng: Rng) -> None:
        last = done == total
        task = cast(ResumableTask, self.task)
        self.run.checkpointer.after_update(
            lambda: {
                "task": task.snapshot(), "stream": rng.state(), "updates": done, "records": list(history),
                "windows": self._windows(),
            },
            epoch_done=last, phase_done=last and epoch == self.epochs[-1],
        )  # fmt: skip


def split_rows(
    source: RowSource, fraction: float, seed: int, strata: Array | None = None
) -> tuple[RowSource, RowSource, Array, Array]:
    """Return (training rows, held-out rows, their two index arrays), drawn at random, by class where given."""
    n = source.shape[0]
    shuffled = host_rng(seed, "held-out").permutation(n)
    n_held = min(max(1, round(fraction * n)), n - 1)
    if strata is not None:
        # Rows ordered by class, then evenly spaced ones: each class in its proportion.
        by_class = shuffled[np.argsort(strata[shuffled], kind="stable")]
        places = ((np.arange(n_held) + 0.5) * n / n_held).astype(np.intp)
        held = np.sort(by_class[places])
    else:
        held = np.sort(shuffled[:n_held])
    kept = np.setdiff1d(np.arange(n), held)
    return SubsetSource(source, kept), SubsetSource(source, held), kept, held


__all__ = [
    "BLOCK_ROWS", "PrintReporter", "Record", "Reporter", "Reporters", "Rows", "Run", "Task", "get_reporter",
    "run_epochs", "split_rows",
]  # fmt: skip

"""Checkpointers, which write the state of a run between updates and find the state to resume from."""

import contextlib
import platform
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Self

import numpy as np
from threadpoolctl import threadpool_info

from deepbelief.backends import loops
from deepbelief.backends.numpy_backend import NumpyBackend
from deepbelief.checkpoints.file import CheckpointFile, as_checkpoint_file
from deepbelief.checkpoints.lock import locked
from deepbelief.errors import CheckpointWarning, DataError, FileFormatError, Interrupted, SettingError
from deepbelief.fields import Fields
from deepbelief.hdf5 import check_replaceable, check_writable, last_checkpoint, previous_of, versions, write_checkpoint
from deepbelief.seeds import run_seed
from deepbelief.stack import Checkpoint, State
from deepbelief.typing import RandomState, StrDict, StrMapping

Describe = Callable[[], tuple[StrMapping, StrMapping]]


@dataclass(frozen=True, eq=False)
class ResumePoint:
    """Stage and state from which a run is resumed.

    Parameters
    ----------
    context : mapping
        Value that the stage passed to `Checkpointer.enter`.
    task : mapping
        State of the task in training.
    """

    context: Fields
    task: Fields


class Checkpointer:
    """Checkpointer that writes nothing, and the interface of all checkpointers."""

    def begin(self, random_state: RandomState, describe: Describe) -> int:
        """Begin a run, or find the run to resume, and return its seed.

        Parameters
        ----------
        random_state : int, Generator, RandomState or None
        describe : callable
            Returns, as plain values, the settings and the description of the data, which a resumed run must share.

        Raises
        ------
        SettingError, DataError
            If the file is the checkpoint of another run.
        """
        return run_seed(random_state)

    def found(self, stage: str) -> ResumePoint | None:
        """Return where the run stood, if that is in this stage."""
        return None

    def enter(self, stage: str, context: Callable[[], State]) -> None:
        """Begin a stage, or a part of one; ``context`` returns the values needed to restore it."""

    def resume(self) -> State | None:
        """Return the state that `after_update` wrote at the point to resume from, at the first call only."""
        return None

    def after_update(
        self, state: Callable[[], State], *, epoch_done: bool, phase_done: bool, n_updates: int = 1
    ) -> None:
        """Keep the state between this update and the next, if it is time to.

        ``n_updates`` is the number of updates since the last call.

        Raises
        ------
        Interrupted
            If a signal has asked the run to stop; the state is written first.
        """

    def keep(self, state: State) -> bool:
        """Write this state at once, whatever the interval; return whether it was written."""
        return False

    def finish(self) -> None:
        """Mark the run as finished."""


NO_CHECKPOINTS = Checkpointer()


USUAL = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class Signals:
    """Record of the first of these signals; a second one acts at once. Handlers of other code stay in place."""

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Install the handlers, in the main thread only: other threads cannot."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: usual for number, usual in USUAL.items() if signal.getsignal(number) == usual}
            for number in self._before:
                signal.signal(number, self._hear)
        return self

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self.__exit__()

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        while self._before:
            signal.signal(*self._before.popitem())


class FileCheckpointer(Checkpointer):
    """Checkpointer that writes to a file.

    Parameters
    ----------
    file : CheckpointFile
        Path and intervals.
    signals : Signals
        Signals that ask the run to stop.
    """

    def __init__(self, file: CheckpointFile, signals: Signals) -> None:
        self._file, self._signals = file, signals
        self._path = str(file.path)
        self._interval = file.interval
        self._seed = 0
        self._settings: StrMapping = {}
        self._data: StrMapping = {}
        self._stage, self._context = "", {}  # type: tuple[str, State]
        self._found: Checkpoint | None = None
        self._last: Checkpoint | None = None
        self._warned = self._damaged = False
        self._machine = environment()
        self._start_counting()

    def begin(self, random_state: RandomState, describe: Describe) -> int:
        """Begin a run, or find the run to resume."""
        self._settings, self._data = describe()
        found, trouble = last_checkpoint(self._path)
        self._damaged = bool(trouble)
        if found is not None and found.finished and self._differences(found):
            found = None  # a finished run may be overwritten
        if trouble and found is not None:
            _warn(f"{trouble}; resuming from the previous one, {previous_of(self._path)}")
        if found is None:
            self._seed = run_seed(random_state)
            return self._seed
        if different := self._differences(found):
            raise different
        if elsewhere := differences(found.machine, self._machine):
            _warn(f"{self._path} was written elsewhere, and the last bits may differ: {'; '.join(elsewhere)}")
        self._found = self._last = found
        self._seed = found.seed
        return found.seed

    def _differences(self, found: Checkpoint) -> DataError | SettingError | None:
        """Return the error of resuming from the checkpoint of another run."""
        start_anew = f"resume it unchanged, or delete {self._path} to start again"
        for error, what, was, now in (
            (DataError, "data", found.data, self._data),
            (SettingError, "settings", found.settings, self._settings),
        ):
            lines = differences(was, now)
            if lines:
                message = f"{self._path} belongs to a run with other {what}: {'; '.join(lines)}; {start_anew}"
                return error(message, symptom="other-run")
        return None

    def found(self, stage: str) -> ResumePoint | None:
        """Return where the run stood, if that is in this stage."""
        if self._found is None:
            return None
        state = Fields.of(self._found.state)
        return (
            ResumePoint(state.fields("context"), state.fields("phase").fields("task"))
            if state["stage"] == stage
            else None
        )

    def enter(self, stage: str, context: Callable[[], State]) -> None:
        """Begin a stage, or a part of one."""
        self._stage, self._context = stage, context()

    def resume(self) -> State | None:
        """Return the state to resume from, at the first call only."""
        found, self._found = self._found, None
        return None if found is None else Fields.of(found.state).fields("phase")

    def after_update(
        self, state: Callable[[], State], *, epoch_done: bool, phase_done: bool, n_updates: int = 1
    ) -> None:
        """Keep the state between this update and the next, if it is time to."""
        self._updates += n_updates
        self._epochs += epoch_done
        stopped = self._signals.received
        if stopped or self._is_due(epoch_done, phase_done):
            written = self._write(state())
            if stopped:
                raise self._interrupted(stopped, written)

    def keep(self, state: State) -> bool:
        """Write this state at once."""
        return self._write(state)

    def _is_due(self, epoch_done: bool, phase_done: bool) -> bool:
        if self._interval is None:
            return False
        unit, n = self._interval
        if unit == "seconds":
            return phase_done or time.monotonic() - self._began >= n
        return phase_done or (self._updates >= n if unit == "updates" else epoch_done and self._epochs >= n)

    def _start_counting(self) -> None:
        self._began, self._updates, self._epochs = time.monotonic(), 0, 0

    def _write(self, phase: State) -> bool:
        """Write a checkpoint; if that fails, training continues and the old checkpoint stays."""
        state = {"stage": self._stage, "context": self._context, "phase": phase}
        self._start_counting()
        return self._put(
            Checkpoint(state, self._settings, self._data, self._seed, self._machine, dict(self._file.metadata))
        )

    def _put(self, checkpoint: Checkpoint) -> bool:
        try:
            write_checkpoint(self._path, checkpoint, damaged=self._damaged)
        except (DataError, FileFormatError, OSError, MemoryError) as error:
            if not self._warned:
                _warn(f"no checkpoint: {error or 'not enough memory'}; training continues")
            self._warned = True
            return False
        self._last, self._damaged = checkpoint, False
        return True

    def _interrupted(self, number: int, written: bool) -> Interrupted:
        name = signal.Signals(number).name
        if written or self._last is not None:
            return Interrupted(f"{name}: the run can resume from {self._path}", number, self._path)
        return Interrupted(f"{name}: no checkpoint could be written to {self._path}", number, "")

    def finish(self) -> None:
        """Mark the last checkpoint as that of a finished run."""
        if self._last is not None:
            self._put(replace(self._last, finished=True))


@contextlib.contextmanager
def checkpointing(checkpoint: str | Path | CheckpointFile | None) -> Iterator[Checkpointer]:
    """Yield the checkpointer for an estimator's ``checkpoint`` setting.

    Raises
    ------
    SettingError
        If the setting is not valid, or another run is writing that file.
    FileFormatError
        If the file exists and is not a checkpoint.
    """
    file = as_checkpoint_file(checkpoint)
    if file is None:
        yield NO_CHECKPOINTS
        return
    check_replaceable(file.path)
    check_writable(file.path)
    with locked(file.path), Signals() as signals:
        checkpointer = FileCheckpointer(file, signals)
        yield checkpointer
        checkpointer.finish()


def environment() -> StrDict:
    """Return the properties of the machine on which the last bits of results depend."""
    # NumPy and SciPy may each bring a BLAS; they are listed in no particular order.
    libraries = sorted(
        (pool["internal_api"], f"{pool['version']} {pool.get('architecture', '')} threads {pool['num_threads']}")
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    )
    blas = {f"{name} {i}": text for i, (name, text) in enumerate(libraries, start=1)}
    how = {"processor": platform.machine(), "memory": NumpyBackend().memory(), "loops": loops.describe()}
    return {**versions(), **how, **blas}


def differences(was: StrMapping, now: StrMapping, name: str = "") -> list[str]:
    """Return a line for each plain value that differs.

    Examples
    --------
    >>> differences({"rows": 10, "rbm": {"n_iter": 3}}, {"rows": 10, "rbm": {"n_iter": 5}})
    ['rbm.n_iter was 3, is 5']
    """
    found = []
    for key in dict.fromkeys([*was, *now]):
        old, new = (values.get(key, "not there") for values in (was, now))
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{name}{key}.")
        elif _plain(old) != _plain(new):
            found.append(f"{name}{key} was {_short(old)}, is {_short(new)}")
    return found


def _plain(value: object) -> object:
    """Return a value as it is read from a file."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value != value:
        return "nan"
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."


def _warn(message: str) -> None:
    warnings.warn(message, CheckpointWarning, stacklevel=2)

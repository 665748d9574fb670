"""Checkpointers: writing the state of a run between updates, and finding the state to resume from."""

import contextlib
import platform
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from deepbelief.backends import loops
from deepbelief.backends.numpy_backend import NumpyBackend
from deepbelief.checkpoints.file import CheckpointFile, as_checkpoint_file
from deepbelief.checkpoints.lock import locked
from deepbelief.checkpoints.signals import Signals
from deepbelief.errors import CheckpointWarning, DataError, FileFormatError, Interrupted, SettingError, literal
from deepbelief.fields import Fields
from deepbelief.hdf5 import check_replaceable, check_writable, last_checkpoint, previous_of, versions, write_checkpoint
from deepbelief.seeds import run_seed
from deepbelief.stack import Checkpoint, State
from deepbelief.typing import RandomState, StrDict, StrMapping

Describe = Callable[[], tuple[StrMapping, StrMapping]]


@dataclass(frozen=True, eq=False)
class ResumePoint:
    """Stage and state that a run is resumed from.

    Parameters
    ----------
    context : mapping
        What the stage gave to `Checkpointer.enter`.
    task : mapping
        State of the task that was being trained.
    """

    context: Fields
    task: Fields


class Checkpointer:
    """Interface of checkpointers, which write the state of a run between updates; this one writes nothing."""

    def begin(self, random_state: RandomState, describe: Describe) -> int:
        """Begin a run, or find one to resume, and return its seed.

        Parameters
        ----------
        random_state : int, Generator, RandomState or None
        describe : callable
            Returns what must be the same in a resumed run, as plain values: settings, and data.

        Raises
        ------
        SettingError, DataError
            If there is a checkpoint of another run.
        """
        return run_seed(random_state)

    def found(self, stage: str) -> ResumePoint | None:
        """Return where the run stood, if that is in this stage."""
        return None

    def enter(self, stage: str, context: Callable[[], State]) -> None:
        """Begin a stage, or a part of one; ``context`` returns what is needed to come back to it."""

    def resume(self) -> State | None:
        """Return what `after_update` was given where the run stood, once."""
        return None

    def after_update(
        self, state: Callable[[], State], *, epoch_done: bool, phase_done: bool, n_updates: int = 1
    ) -> None:
        """Keep the state between this update and the next, if it is time to.

        ``n_updates`` were made since the last call.

        Raises
        ------
        Interrupted
            If a signal has asked the run to stop: after that.
        """

    def keep(self, state: State) -> bool:
        """Keep this state at once, whatever the interval; True if that was done."""
        return False

    def finish(self) -> None:
        """End a run that has nothing left to do."""


NO_CHECKPOINTS = Checkpointer()


class FileCheckpointer(Checkpointer):
    """Writes checkpoints to a file.

    Parameters
    ----------
    file : CheckpointFile
        Path and intervals.
    signals : Signals
        Requests of the operating system to stop.
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
        """Begin a run, or find one to resume."""
        self._settings, self._data = describe()
        found, trouble = last_checkpoint(self._path)
        self._damaged = bool(trouble)
        if found is not None and found.finished and self._differences(found):
            found = None  # nothing is lost when the next run takes its place
        if trouble and found is not None:
            _warn(f"{trouble}; resuming from the previous one, {previous_of(self._path)}")
        if found is None:
            self._seed = run_seed(random_state)
            return self._seed
        if different := self._differences(found):
            raise different
        if elsewhere := differences(found.machine, self._machine):
            _warn(f"{literal(self._path)} was written elsewhere, and the last bits may differ: {'; '.join(elsewhere)}")
        self._found = self._last = found
        self._seed = found.seed
        return found.seed

    def _differences(self, found: Checkpoint) -> DataError | SettingError | None:
        """Return the error of resuming from another run's checkpoint."""
        start_anew = f"resume it unchanged, or delete {literal(self._path)} to start again"
        for error, what, was, now in (
            (DataError, "data", found.data, self._data),
            (SettingError, "settings", found.settings, self._settings),
        ):
            lines = differences(was, now)
            if lines:
                message = f"{literal(self._path)} is of a run with other {what}: {'; '.join(lines)}; {start_anew}"
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
        """Return where the run stood, once."""
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
        """Keep this state at once."""
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
        """Write a checkpoint; where that fails, training continues and the old one stays."""
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
        """Mark the last checkpoint as that of a run that has nothing left to do."""
        if self._last is not None:
            self._put(replace(self._last, finished=True))


@contextlib.contextmanager
def checkpointing(checkpoint: str | Path | CheckpointFile | None) -> Iterator[Checkpointer]:
    """Return a context with the checkpointer that an estimator's ``checkpoint`` asks for.

    Raises
    ------
    SettingError
        If it is not one, or another run writes that file.
    FileFormatError
        If there is a file that is not a checkpoint.
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
    """Return the properties of the machine that the last bits of results depend on."""
    # NumPy and SciPy may bring one each, which are listed in any order.
    libraries = sorted(
        (pool["internal_api"], f"{pool['version']} {pool.get('architecture', '')} threads {pool['num_threads']}")
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    )
    blas = {f"{name} {i}": text for i, (name, text) in enumerate(libraries, start=1)}
    how = {"processor": platform.machine(), "memory": NumpyBackend().memory(), "loops": loops.describe()}
    return {**versions(), **how, **blas}


def differences(was: StrMapping, now: StrMapping, name: str = "") -> list[str]:
    """Return a line for each plain value that is not the same.

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
    """Return a value as a file gives it back."""
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

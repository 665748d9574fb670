"""Part of a run on one worker: pretraining in a thread that communicates through the coordinator."""

import contextlib
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from deepbelief.backends import Backend, get_backend
from deepbelief.checkpoints import Checkpointer, ResumePoint
from deepbelief.communicator import Communicator
from deepbelief.distributed.worker_averaging import Averaging, Message, Question
from deepbelief.errors import BackendError, ClusterError, DeepBeliefError
from deepbelief.extensions import load_extensions
from deepbelief.fields import Fields
from deepbelief.layer import LayerState, RBMSettings
from deepbelief.pretraining import pretrain
from deepbelief.seeds import stream
from deepbelief.sources import ColumnStatistics, RowSource
from deepbelief.stack import Stack, State
from deepbelief.training import Record, Reporter, Run, split_rows
from deepbelief.typing import Array, StrDict

EPOCH = sys.maxsize  # number of updates that marks a finished epoch, for any worker and any number of rows


@dataclass(frozen=True, eq=False)
class Job:
    """Message to all workers of a run."""

    key: str
    n_parts: int
    averaging: Averaging
    sizes: Sequence[int]
    settings: Sequence[RBMSettings]
    seed: int
    n_passes: int
    validation_fraction: float
    start: Stack | None
    states: Sequence[LayerState] | None
    memory_limit: int | None


class _Ended(BaseException):
    """The coordinator has cancelled this part or timed out."""


class Part:
    """Rows of one worker, and the thread that trains on them."""

    def __init__(self, job: Job, number: int, source: RowSource, place: State | None = None) -> None:
        self.place = place
        self.job, self.number, self.source = job, number, source
        load_extensions()
        self.backend = worker_backend(job.averaging.backend)
        self._questions: queue.SimpleQueue[Question | Exception] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._step, self._last = -1, Question("begin", None, 1)
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=f"deepbelief part {number}", daemon=True)
        self._thread.start()

    def advance(self, step: int, answer: Message) -> Question:
        """Pass on the answer to the last question, and train until the next one; a repeated step returns the same.

        Step 0 has no answer: it asks for the first question.
        """
        if step != self._step:
            if step:
                self._answers.put(answer)
            found = self._questions.get()
            if isinstance(found, Exception):
                self._questions.put(found)  # the thread has ended: a repeated call returns the same result
                raise found
            self._step, self._last = step, found
        return self._last

    def ask(self, kind: str, value: Message) -> Message:
        """Send a question to all other workers, and wait for the answer."""
        self._questions.put(Question(kind, value, float(self.source.shape[0])))
        with contextlib.suppress(queue.Empty):
            answer = self._answers.get(timeout=4 * self.job.averaging.timeout)
            if not self._ended:
                return answer
        raise _Ended

    def end(self) -> None:
        """End the thread at the point where it waits for an answer."""
        self._ended = True
        self._answers.put(None)
        self._thread.join(timeout=1)

    def _run(self) -> None:
        job, communicator = self.job, PartCommunicator(self)
        try:
            source, held_out = self.source, None
            if job.validation_fraction:
                source, held_out, _, _ = split_rows(source, job.validation_fraction, communicator.seed(job.seed))
            run = Run(
                self.backend, job.seed, PartReporter(self), PartCheckpointer(self), communicator, job.memory_limit
            )
            result = pretrain(
                source, job.sizes, job.settings, run, n_passes=job.n_passes, held_out=held_out, start=job.start,
                states=job.states,
            )  # fmt: skip
            self.ask("done", result)
        except _Ended:
            heard = f"the run did not respond for {4 * job.averaging.timeout:g} seconds"
            self._fail(ClusterError(f"part {self.number + 1} of the rows has ended: {heard}"))
        except DeepBeliefError as error:
            self._fail(type(error)(f"part {self.number + 1} of the rows: {error}"))
        except Exception as error:
            self._fail(error)
        except BaseException as error:  # it would end the worker
            self._fail(ClusterError(f"part {self.number + 1} of the rows was stopped by {type(error).__name__}"))

    def _fail(self, error: Exception) -> None:
        self._questions.put(error)


class PartCommunicator(Communicator):
    """Communicator of a cluster: the coordinator merges the messages of all workers and returns the result."""

    def __init__(self, part: Part) -> None:
        self._part, averaging = part, part.job.averaging
        self._largest = 0
        self.velocities = averaging.velocities
        self.settling = averaging.gibbs_steps if part.job.n_parts > 1 else 0

    def seed(self, seed: int) -> int:
        """Return the seed of this part's draws; the first part has the seed of the run."""
        number = self._part.number
        return int(stream(seed, "part", number).generate_state(1, np.uint64)[0] >> 1) if number else seed

    def rows(self, n: int) -> int:
        """Return the number of rows of all parts."""
        total, self._largest = self._part.ask("rows", (n, n))
        return int(total)

    def rate(self, rate: float) -> float:
        """Return the learning rate for a number of workers."""
        return rate * self._part.job.averaging.factor(self._part.job.n_parts)

    def statistics(self, own: ColumnStatistics) -> ColumnStatistics:
        """Return the column statistics of all rows."""
        found: ColumnStatistics = self._part.ask("statistics", own)
        return found

    def rounds(self, start: int, stop: int, n: int, batch_size: int) -> int:
        """Return the number of rounds that end here; all parts have the same number in an epoch."""
        updates = -(-self._largest // batch_size)
        rounds = -(-updates // self._part.job.averaging.updates)
        return rounds * stop // n - rounds * start // n

    def mean(self, own: list[Array]) -> list[Array]:
        """Return the mean over all parts, weighted by their rows."""
        found: list[Array] = self._part.ask("mean", own)
        return found

    def judged(self, record: StrDict, reason: str) -> tuple[StrDict, str]:
        """Return the record merged over the rows of all parts."""
        found: tuple[StrDict, str] = self._part.ask("judged", (record, reason))
        return found


class PartReporter(Reporter):
    """Reporter that passes the records of this run to the coordinator's reporter."""

    def __init__(self, part: Part) -> None:
        self._part = part

    def begin(self, what: Record) -> None:
        """Begin a layer's share of a pass."""
        self._part.ask("begin", what)

    def record(self, record: Record) -> bool:
        """Return whether the coordinator's reporter wants to stop."""
        return bool(self._part.ask("record", record))

    def end(self) -> None:
        """End the phase."""
        self._part.ask("end", None)


class PartCheckpointer(Checkpointer):
    """Checkpointer that passes the state at the end of an epoch to joining workers and to a later run."""

    def __init__(self, part: Part) -> None:
        self._part, self._place, self._made = part, part.place, 0
        self._context: Callable[[], State] = dict

    def found(self, stage: str) -> ResumePoint | None:
        """Return the point that the other workers have reached, or that an earlier run had reached."""
        return (
            None
            if self._place is None
            else ResumePoint(Fields.of(self._place["context"]), Fields.of(self._place["phase"]["task"]))
        )

    def enter(self, stage: str, context: Callable[[], State]) -> None:
        """Begin a layer's share of a pass."""
        self._context = context

    def resume(self) -> State | None:
        """Return the state at the end of the finished epoch, at the first call only."""
        place, self._place = self._place, None
        return None if place is None else place["phase"]

    def after_update(
        self, state: Callable[[], State], *, epoch_done: bool, phase_done: bool, n_updates: int = 1
    ) -> None:
        """Send the state at the end of an epoch, if the coordinator wants it."""
        self._made += n_updates
        if epoch_done and self._part.ask("epoch", None):
            phase = {name: value for name, value in state().items() if name != "windows"} | {"updates": EPOCH}
            told = {"context": self._context(), "phase": phase, "phase_done": phase_done, "made": self._made}
            self._part.ask("state", told)
            self._made = 0


def worker_backend(name: str) -> Backend:
    """Return a worker's backend; ``"auto"`` is CuPy if there is a device."""
    if name == "auto":
        try:
            return get_backend("cupy")
        except BackendError:
            return get_backend("numpy")
    return get_backend(name)


_PARTS: dict[tuple[str, int], Part] = {}


def start(job: Job, number: int, source: RowSource, state: Question | None = None) -> int:
    """Begin a part on this worker, or join the other workers in this state, and return its number of rows; a task."""
    _PARTS[job.key, number] = Part(job, number, source, None if state is None else state.value)
    return int(source.shape[0])


def advance(key: str, number: int, step: int, answer: Message) -> Question:
    """Continue a part until its next question; a task."""
    if (part := _PARTS.get((key, number))) is None:
        raise ClusterError(f"part {number + 1} of the rows has left its worker, which may have been restarted")
    return part.advance(step, answer.value if isinstance(answer, Question) else answer)


def end(key: str) -> None:
    """End this worker's part of a run, and release its rows."""
    for name in [name for name in _PARTS if name[0] == key]:
        _PARTS.pop(name).end()

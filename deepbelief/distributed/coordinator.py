"""Coordinator of a run, which starts all parts together and merges their messages."""

import contextlib
import operator
import time
import warnings
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import CancelledError

from deepbelief.checkpoints import NO_CHECKPOINTS, Checkpointer
from deepbelief.distributed import part as worker
from deepbelief.distributed.clusters import (
    PATIENCE,
    Client,
    Future,
    alive,
    answering,
    brief,
    check_client,
    library,
    translated,
)
from deepbelief.distributed.waiting import POLL, Watch, finished, gathered
from deepbelief.distributed.worker_averaging import Message, Question, merged
from deepbelief.errors import ClusterError, DeepBeliefError, DeepBeliefWarning, SettingError
from deepbelief.pretraining import Pretrained
from deepbelief.training import Reporter
from deepbelief.typing import StrMapping


class Roster:
    """Assignment of workers to parts of the rows.

    Parameters
    ----------
    client : distributed.Client
    patience : float
        Seconds that a worker has to answer.
    """

    def __init__(self, client: object, patience: float) -> None:
        self._client, self._patience = client, patience
        self.workers: dict[int, str] = {}  # address by part
        self.orphans: set[int] = set()  # parts without a worker
        self.left: set[str] = set()  # addresses of workers that were left out although the scheduler still lists them

    def begin(self, addresses: Sequence[str]) -> None:
        """Give each worker a part."""
        self.workers = dict(enumerate(addresses))

    def idle(self) -> list[str]:
        """Return the addresses of the workers without a part that were not left out."""
        there = alive(self._client)
        self.left &= there  # a restarted one at the same address is a different worker
        return sorted(there - self.left - set(self.workers.values()))

    def gone(self) -> list[int]:
        """Return the parts whose workers are no longer connected."""
        there = alive(self._client)
        return [number for number, address in self.workers.items() if address not in there]

    def lost(self) -> list[int]:
        """Return the parts of lost workers, or else of workers that do not answer."""
        return self.gone() or self.parts_of(
            set(self.workers.values()) - answering(self._client, self.workers.values(), self._patience)
        )

    def parts_of(self, addresses: Collection[str]) -> list[int]:
        """Return the parts of these workers."""
        return [number for number, address in self.workers.items() if address in addresses]

    def leave_out(self, lost: Sequence[int]) -> None:
        """Continue without the workers of these parts.

        Raises
        ------
        ClusterError
            If none is left.
        """
        for number in set(lost):
            self.left.add(self.workers.pop(number))
            self.orphans.add(number)
        if not self.workers:
            raise ClusterError("all workers are lost, including the weights trained since the last checkpoint")


kind_of = operator.attrgetter("kind")  # a task

Recipe = tuple[Callable[..., object], *tuple[object, ...]]  # a function and its arguments
"""A function that returns the rows of a part, and its arguments."""


class Coordinator:
    """Coordinator that runs the parts of a job on the workers that hold their rows.

    Messages of the workers come here directly, not through the scheduler, and the merged message returns by way of one
    worker. A lost worker is left out from the current round on; at the end of the epoch its part goes to an idle
    worker, such as one that joined later, but never to a worker that was left out. Tasks do not depend on each other,
    so that Dask computes nothing twice. Every wait ends after a few times the timeout of `Averaging`.

    Parameters
    ----------
    client : distributed.Client
    job : Job
    reporter : Reporter
    checkpointer : Checkpointer
        Writes the state of the first part at the end of an epoch.
    """

    def __init__(
        self, client: Client, job: worker.Job, reporter: Reporter, checkpointer: Checkpointer = NO_CHECKPOINTS
    ) -> None:
        self.client, self.job, self.reporter, self.checkpointer = client, job, reporter, checkpointer
        self._last: StrMapping = {}  # phase last passed to the checkpointer
        self._recipes: list[Recipe] = []
        self._timeout: float = job.averaging.timeout
        self._patience = min(PATIENCE, self._timeout)
        self.roster = Roster(client, self._patience)
        self._rows: Question | None = None  # merged message of all parts about their rows
        self._steps: dict[int, int] = {}

    def run(self, recipes: dict[str, Recipe]) -> Pretrained:
        """Pretrain on the rows that these recipes return; the keys are worker addresses."""
        self.roster.begin(list(recipes))
        self._recipes = list(recipes.values())
        self._check_job()
        try:
            state = self._found()
            gathered(self.client, [self._start(number, state) for number in self.roster.workers], self._timeout)
            return self._rounds()
        except ClusterError as error:
            raise ClusterError(f"{error}: {self._way_out()}") from error
        finally:
            with contextlib.suppress(Exception):
                self.client.sync(
                    self.client._run, worker.end, self.job.key, on_error="ignore", callback_timeout=self._patience
                )

    def _check_job(self) -> None:
        """Refuse a job that cannot be sent to workers."""
        try:
            library().protocol.pickle.dumps(self.job)
        except Exception as error:
            raise ClusterError(
                f"the settings must be picklable to be sent to workers, got {brief(error)}: remove objects that "
                "belong to this process, such as locks and open files"
            ) from error

    def _found(self) -> Question | None:
        """Return the state from which the run resumes."""
        found = self.checkpointer.found("pretrain")
        phase = self.checkpointer.resume()
        if found is None or phase is None:
            return None
        if phase["updates"] != worker.EPOCH:
            raise SettingError(
                "the checkpoint is from the middle of an epoch of a run without a cluster: resume without one"
            )
        return Question("state", {"context": found.context, "phase": phase}, 1.0)

    def _keep(self, value: Message) -> None:
        self._last = value["phase"]
        self.checkpointer.enter("pretrain", lambda: value["context"])
        self.checkpointer.after_update(
            lambda: self._last, epoch_done=True, phase_done=value["phase_done"], n_updates=value["made"]
        )

    def _way_out(self) -> str:
        """Write the last state, and return advice for the message."""
        if self._last and self.checkpointer.keep(self._last):
            return "restart both; the run resumes from its checkpoint, at the end of the last epoch"
        return "restart both"

    def _start(self, number: int, state: Future = None) -> Future:
        rows = self._submit(self._recipes[number][0], number, *self._recipes[number][1:])
        self._steps[number] = 0
        return self._submit(worker.start, number, self.job, number, rows, state)

    def _advance(self, number: int, answer: Message) -> Message:
        self._steps[number] += 1
        return self._submit(worker.advance, number, self.job.key, number, self._steps[number] - 1, answer)

    def _submit(self, function: Callable[..., object], number: int, *args: object) -> Future:
        with translated(self.client):
            return self.client.submit(function, *args, workers=[self.roster.workers[number]], pure=False, retries=0)

    def _rounds(self) -> Pretrained:
        answer: Message = None
        joined: dict[int, Future] = {}
        while True:
            placed = self._placed(answer)
            asked = {
                number: self._advance(number, placed) for number in self.roster.workers if number not in joined
            } | joined
            question = merged(*self._gathered(asked))
            if question.kind == "done":
                result: Pretrained = question.value
                return result
            joined = self._join(question) if question.kind == "state" else {}
            answer = self._answer(question)

    def _placed(self, answer: Message) -> Message:
        """Return the message to the parts; a large one is first copied to the workers, from one to the next."""
        if not isinstance(answer, Question):
            return answer
        while True:
            try:
                return self._scatter(answer, list(self.roster.workers.values()), self._timeout)
            except (OSError, KeyError, TimeoutError, ValueError):
                self.roster.leave_out(self.roster.lost() or list(self.roster.workers))

    def _scatter(self, value: Question, addresses: list[str], timeout: float) -> Message:
        """Place a value on these workers."""
        check_client(self.client)
        return self.client.sync(
            self.client._scatter, value, workers=addresses, direct=True, broadcast=True, hash=False,
            timeout=PATIENCE, callback_timeout=timeout,
        )  # fmt: skip

    def _answer(self, question: Question) -> Message:
        """Return the answer to the parts: the reporter's decision, or their merged messages."""
        match question.kind:
            case "rows":
                self._rows = question
            case "epoch":
                return self.checkpointer is not NO_CHECKPOINTS or bool(self.roster.orphans and self.roster.idle())
            case "begin":
                return self.reporter.begin(question.value)
            case "record":
                return bool(self.reporter.record(question.value))
            case "end":
                return self.reporter.end()
            case "state":
                self._keep(question.value)
                return None
        return question

    def _join(self, state: Question) -> dict[int, Future]:
        """Let idle workers take over orphaned parts, and return the pending message of each.

        They receive the earlier answers until they reach the question about the epoch, which the others ask next;
        workers that do not get there in time are left out.
        """
        joined = {}
        deadline = time.monotonic() + self._timeout  # one deadline for all, since the other workers wait
        for number, address in zip(sorted(self.roster.orphans), self.roster.idle(), strict=False):
            self.roster.orphans.remove(number)  # it is offered once
            self.roster.workers[number] = address
            try:
                placed = self._scatter(state, [address], max(POLL, deadline - time.monotonic()))
                self._result(self._start(number, placed), deadline)
                asked, answers = self._advance(number, None), {"rows": self._rows, "begin": None}
                while (kind := self._result(self.client.submit(kind_of, asked, pure=False), deadline)) in answers:
                    asked = self._advance(number, answers[kind])
            except Exception as error:
                del self.roster.workers[number]
                self.roster.left.add(address)
                reason = brief(error)
                message = (
                    f"part {number + 1} of the rows is left out from here on: {address} could not take it ({reason})"
                )
                warnings.warn(DeepBeliefWarning(message, symptom="worker-lost"), stacklevel=2)
            else:
                joined[number] = asked
        return joined

    def _result(self, future: Future, deadline: float) -> Message:
        return future.result(timeout=max(POLL, deadline - time.monotonic()))

    def _gathered(self, asked: dict[int, Future]) -> list[Question]:
        """Wait for the messages of all remaining parts, and fetch them directly from the workers."""
        first, watch = None, Watch(self.client, self._timeout)
        while True:
            late = [number for number in self.roster.workers if asked[number].status == "pending"]
            if not late:
                self._raise_error(asked)
                if (found := self._brought([asked[number] for number in sorted(self.roster.workers)])) is not None:
                    return found
                self.roster.leave_out(self.roster.lost() or list(self.roster.workers))
                continue
            if first is None and len(late) < len(self.roster.workers):
                first = time.monotonic()
            if not finished(self.client, [asked[number] for number in late]):
                slow = first is not None and time.monotonic() - first > self._timeout
                silent = watch.silent([self.roster.workers[number] for number in late])
                self.roster.leave_out(self.roster.gone() + (late if slow else self.roster.parts_of(silent)))

    def _brought(self, futures: list[Future]) -> list[Question] | None:
        """Return the results; None if a worker is lost or takes too long.

        Dask waits for the results of a dead worker, so the workers are checked after some seconds.
        """
        patience, began = self._patience / 2, time.monotonic()
        while True:
            with translated(self.client), contextlib.suppress(TimeoutError):
                found: list[Question] = self.client.sync(
                    self.client._gather, futures, direct=True, callback_timeout=patience
                )
                return found
            if self.roster.gone() or time.monotonic() - began > self._timeout:
                return None
            patience *= 2

    def _raise_error(self, asked: dict[int, Future]) -> None:
        for number in self.roster.workers:
            with translated(self.client):
                if asked[number].status not in {"error", "finished"}:
                    raise CancelledError
            if asked[number].status == "error":
                error = asked[number].exception()
                if isinstance(error, DeepBeliefError):
                    raise error
                raise ClusterError(f"worker {self.roster.workers[number]} failed: {brief(error)}") from error

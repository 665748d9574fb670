"""The coordinator of a run: it lets all parts go on at once, and has their questions merged on the workers."""

import contextlib
import secrets
import time
from concurrent.futures import CancelledError
from typing import Any

from deepbelief.distributed import part as worker
from deepbelief.distributed.averaging import headline, merged
from deepbelief.distributed.clusters import alive, library
from deepbelief.errors import ClusterError
from deepbelief.pretraining import Pretrained
from deepbelief.training import Reporter

FAN_IN = 8  # questions that one task merges
POLL = 0.5  # seconds between two looks at who is there


class Coordinator:
    """Runs the parts of one job on the workers that hold them.

    What is large goes from worker to worker: questions are merged where they are, in a tree, and only what kind they
    are comes here. A worker that is lost is left out from the round in which that happens.

    Parameters
    ----------
    client : distributed.Client
    job : Job
    reporter : Reporter
    """

    def __init__(self, client: Any, job: worker.Job, reporter: Reporter) -> None:
        self.client, self.job, self.reporter = client, job, reporter
        self.workers: dict[int, str] = {}  # address by part

    def run(self, sources: dict[str, Any]) -> Pretrained:
        """Pretrain on these rows, by the worker's address: a source, or a future of one."""
        self.workers = dict(enumerate(sources))
        try:
            begun = {
                number: self._submit(worker.start, number, self.job, number, source)
                for number, source in enumerate(sources.values())
            }
            self.client.gather(list(begun.values()))
            return self._rounds()
        except CancelledError as error:  # what Dask makes of all that waited for a scheduler which is gone
            raise ClusterError("the scheduler is gone, and with it the run: start both anew") from error
        finally:
            with contextlib.suppress(Exception):
                self.client.run(worker.end, self.job.key, on_error="ignore")

    def _submit(self, function: Any, number: int, *args: Any) -> Any:
        return self.client.submit(function, *args, workers=[self.workers[number]], pure=False, retries=0)

    def _rounds(self) -> Pretrained:
        answer: Any = None
        step = 0
        while True:
            asked = {
                number: self._submit(worker.advance, number, self.job.key, number, step, answer)
                for number in self.workers
            }
            (kind, told), question = self._ask(asked)
            if kind == "done":
                result: Pretrained = self.client.gather(question, direct=True).value
                return result
            answer = self._answer(kind, told, question)
            step += 1

    def _answer(self, kind: str, told: Any, question: Any) -> Any:
        """Return what the parts are told: what the reporter says, or what all of them said, which stays out there."""
        if kind == "begin":
            return self.reporter.begin(told)
        if kind == "record":
            return bool(self.reporter.record(told))
        return self.reporter.end() if kind == "end" else question

    def _ask(self, asked: dict[int, Any]) -> tuple[tuple[str, Any], Any]:
        """Wait for the questions of all parts that are there, and return their headline and the future of them as one.

        Raises
        ------
        ClusterError
            If no worker, or no scheduler, is left.
        """
        while True:
            question = self._merged([asked[number] for number in self.workers])
            told = self.client.submit(headline, question, pure=False)
            if self._wait(told, asked):
                return told.result(), question

    def _merged(self, questions: list[Any]) -> Any:
        """Return the future of the questions as one."""
        while True:
            questions = [
                self.client.submit(merged, *questions[i : i + FAN_IN], pure=False)
                for i in range(0, len(questions), FAN_IN)
            ]
            if len(questions) == 1:
                return questions[0]

    def _wait(self, told: Any, asked: dict[int, Any]) -> bool:
        """Wait for a result; False: a worker was lost, and those that are left are to be asked without it."""
        first = None
        while not told.done():
            time_out = self._sleep(told)
            lost = [number for number, address in self.workers.items() if address not in alive(self.client)]
            late = [number for number in self.workers if not asked[number].done()]
            if first is None and len(late) < len(self.workers):
                first = time.monotonic()
            if first is not None and late and time.monotonic() - first > self.job.averaging.timeout:
                lost += late
            if time_out and lost:
                return self._leave_out(lost)
        if told.status == "finished":
            return True
        for number in self.workers:
            if asked[number].status == "error":
                raise asked[number].exception()
        raise ClusterError(f"a round was not finished: {told.status}; are the scheduler and the workers still there?")

    def _sleep(self, told: Any) -> bool:
        """Wait a little; True if that was not enough."""
        try:
            library().wait(told, timeout=POLL)
        except TimeoutError:
            return True
        return False

    def _leave_out(self, lost: list[int]) -> bool:
        for number in set(lost):
            del self.workers[number]
        if not self.workers:
            raise ClusterError("all workers are lost, and with them what was trained")
        return False


def new_key() -> str:
    """Return a name for a run that no other has."""
    return secrets.token_hex(8)


__all__ = ["Coordinator", "new_key"]

"""Bounded waiting for a cluster: a frozen worker keeps its connections and never answers."""

import contextlib
import time
from collections.abc import Collection, Sequence

from deepbelief.distributed.clusters import PATIENCE, Client, Future, alive, answering, library, no_answer, translated
from deepbelief.distributed.worker_averaging import Message

POLL = 0.5  # seconds between two checks of the workers


class Watch:
    """Detector of workers that have been silent for some time, such as frozen ones, which the scheduler still lists.

    Parameters
    ----------
    client : distributed.Client
    timeout : float
        Seconds of silence allowed. Workers are asked twice in that time.
    """

    def __init__(self, client: Client, timeout: float) -> None:
        self.client, self._interval = client, timeout / 2
        self._next = time.monotonic() + self._interval
        self._suspects: set[str] = set()

    def silent(self, addresses: Collection[str]) -> set[str]:
        """Return the workers that have not answered twice in a row."""
        if time.monotonic() < self._next:
            return set()
        missing = set(addresses) - answering(self.client, addresses, min(PATIENCE, self._interval))
        found, self._suspects = missing & self._suspects, missing
        self._next = time.monotonic() + self._interval
        return found

    def check(self) -> None:
        """Raise an error if workers have been silent.

        Raises
        ------
        ClusterError
        """
        if silent := self.silent(alive(self.client)):
            raise no_answer(silent)


def wait_for(client: Client, futures: Sequence[Future], timeout: float) -> None:
    """Wait until all futures are finished, while all workers answer.

    Raises
    ------
    ClusterError
        If a worker has been silent for `timeout` seconds, or any future ended in an error of Dask.
    """
    watch = Watch(client, timeout)
    while not finished(client, futures):
        watch.check()


def finished(client: Client, futures: Sequence[Future]) -> bool:
    """Wait briefly; return whether all futures are finished."""
    with translated(client), contextlib.suppress(TimeoutError):
        library().wait(futures, timeout=POLL)
        return True
    return False


def gathered(client: Client, futures: Sequence[Future], timeout: float) -> list[Message]:
    """Fetch results directly from the workers, while all workers answer.

    Raises
    ------
    ClusterError
        If a worker has been silent for `timeout` seconds.
    Exception
        That of a future.
    """
    wait_for(client, futures, timeout)
    watch, patience = Watch(client, timeout), timeout
    for future in futures:
        if future.status == "error":
            raise future.exception()
    while True:
        with translated(client), contextlib.suppress(TimeoutError):
            found: list[Message] = client.sync(client._gather, futures, direct=True, callback_timeout=patience)
            return found
        watch.check()
        patience *= 2  # results may be large

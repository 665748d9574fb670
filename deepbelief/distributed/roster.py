"""Roster of a cluster: the worker of each part of the rows, and the workers that are gone or idle."""

from collections.abc import Collection, Sequence

from deepbelief.distributed.clusters import alive, answering
from deepbelief.errors import ClusterError


class Roster:
    """Workers by the part of the rows that each has.

    Parameters
    ----------
    client : distributed.Client
    patience : float
        Seconds for a worker to answer.
    """

    def __init__(self, client: object, patience: float) -> None:
        self._client, self._patience = client, patience
        self.workers: dict[int, str] = {}  # address by part
        self.orphans: set[int] = set()  # parts without a worker
        self.left: set[str] = set()  # addresses of workers that were left out while the scheduler counted them

    def begin(self, addresses: Sequence[str]) -> None:
        """Give each worker a part."""
        self.workers = dict(enumerate(addresses))

    def idle(self) -> list[str]:
        """Return the addresses of the workers without a part that were not left out."""
        there = alive(self._client)
        self.left &= there  # a restarted one at the same address is a different worker
        return sorted(there - self.left - set(self.workers.values()))

    def gone(self) -> list[int]:
        """Return the parts whose workers the scheduler has lost."""
        there = alive(self._client)
        return [number for number, address in self.workers.items() if address not in there]

    def lost(self) -> list[int]:
        """Return the parts whose workers are gone; if none is, of those that do not answer."""
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

"""Those who train one stack together, each on rows of its own: what they ask one another between updates."""

from typing import Any

import numpy as np

from deepbelief.sources import ColumnStatistics

Array = np.ndarray[Any, np.dtype[Any]]


class Peers:
    """Nobody else: whatever the others would be asked is answered by what this one has.

    `deepbelief.distributed` has the peers of a cluster. All of them run the same program, `pretrain`, and ask in
    the same order; each question waits until all have asked it.
    """

    settling: int = 0
    """Gibbs steps that persistent chains take, without an update, after the parameters have become the mean."""

    velocities: bool = True
    """Whether velocities are averaged beside the parameters."""

    def seed(self, seed: int) -> int:
        """Return the seed of this one's own draws in a run of this seed."""
        return seed

    def rows(self, n: int) -> int:
        """Return the number of rows that all have together; this one has ``n``."""
        return n

    def rate(self, rate: float) -> float:
        """Return the learning rate that each uses where one alone would use ``rate``."""
        return rate

    def statistics(self, own: ColumnStatistics) -> ColumnStatistics:
        """Return the column statistics of all rows."""
        return own

    def rounds(self, start: int, stop: int, n: int, batch_size: int) -> int:
        """Return how many rounds end with the update of the rows from ``start`` to ``stop``, of ``n`` in an epoch."""
        return 0

    def mean(self, own: list[Array]) -> list[Array]:
        """Return the mean of these arrays over all, weighted by their rows."""
        return own

    def judged(self, record: dict[str, Any], reason: str) -> tuple[dict[str, Any], str]:
        """Return the record of an epoch for all rows, and why the run has diverged where it has for anyone."""
        return record, reason


ALONE = Peers()

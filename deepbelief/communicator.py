"""Interface for data-parallel training: what workers exchange between updates."""

from deepbelief.sources import ColumnStatistics
from deepbelief.typing import Array, StrDict


class Communicator:
    """Communication of a single process: every collective operation is the identity.

    `deepbelief.distributed` has that of a cluster. All workers run the same program, `pretrain`, and call the
    operations in the same order; each call waits until all workers have made it.
    """

    settling: int = 0
    """Gibbs steps of persistent chains, without an update, after parameters have been averaged."""

    velocities: bool = True
    """Whether velocities are averaged with the parameters."""

    def seed(self, seed: int) -> int:
        """Return the seed of this worker's draws in a run with this seed."""
        return seed

    def rows(self, n: int) -> int:
        """Return the number of rows of all workers; this one has ``n``."""
        return n

    def rate(self, rate: float) -> float:
        """Return the learning rate of each worker where a single process would use ``rate``."""
        return rate

    def statistics(self, own: ColumnStatistics) -> ColumnStatistics:
        """Return the column statistics of all rows."""
        return own

    def rounds(self, start: int, stop: int, n: int, batch_size: int) -> int:
        """Return how many rounds end with the update of the rows from ``start`` to ``stop``, of ``n`` in an epoch."""
        return 0

    def mean(self, own: list[Array]) -> list[Array]:
        """Return the mean of these arrays over all workers, weighted by their rows."""
        return own

    def judged(self, record: StrDict, reason: str) -> tuple[StrDict, str]:
        """Return the record of an epoch for all rows, and why the run has diverged if it has on any worker."""
        return record, reason


SINGLE_PROCESS = Communicator()

"""Simulation of parameter averaging on many workers: where more of them stop paying."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from deepbelief.cost.machine_rates import MachineRates
from deepbelief.errors import SettingError
from deepbelief.quantities import duration, size_of
from deepbelief.typing import StrDict

WORTHWHILE = 0.5  # least efficiency at which workers are said to pay


@dataclass(frozen=True)
class Link:
    """Network of a cluster.

    Parameters
    ----------
    bandwidth : float, default=1.25e9
        Bytes per second of each link; 1.25e9 is 10 Gbit/s.
    delay : float, default=1e-3
        Seconds of a message beside its bytes.
    """

    bandwidth: float = 1.25e9
    delay: float = 1e-3


@dataclass(frozen=True)
class Workers:
    """Workers of a simulated cluster.

    Parameters
    ----------
    spread : float, default=0.1
        Standard deviation of the log of a worker's time of a round.
    slow : float, default=0.0
        Share of the workers that are slow.
    slow_factor : float, default=2.0
        Time of a round of a slow worker, as a multiple.
    lost_per_hour : float, default=0.0
        Mean number of times that a worker is lost in an hour.
    patience : float, default=10.0
        Seconds until the others notice that a worker is lost.
    cores : int or None, default=None
        Processors that all workers share; None: each has its own.
    """

    spread: float = 0.1
    slow: float = 0.0
    slow_factor: float = 2.0
    lost_per_hour: float = 0.0
    patience: float = 10.0
    cores: int | None = None


@dataclass(frozen=True)
class SimulatedRun:
    """Simulated epoch on a number of workers; all times are in seconds.

    Parameters
    ----------
    workers : int
        Number of workers.
    round_seconds, epoch_seconds : float
        Mean time of a round, and time of an epoch.
    training, waiting, exchanging : float
        Shares of a round: of a usual worker's training, of waiting for the last one, and of the exchange of parameters.
    speedup : float
        Time of an epoch on one worker, divided by that on these.
    efficiency : float
        The speedup for each worker.
    network_bytes : int
        Of an epoch.
    lost : float
        Mean number of workers lost in an epoch.
    """

    workers: int
    round_seconds: float
    epoch_seconds: float
    training: float
    waiting: float
    exchanging: float
    speedup: float
    efficiency: float
    network_bytes: int
    lost: float


@dataclass(frozen=True)
class Simulation:
    """Simulated epochs by number of workers; predictions, not measurements.

    Parameters
    ----------
    runs : tuple of SimulatedRun
        One for each number of workers.
    one_worker : float
        Seconds of an epoch on one worker.
    """

    runs: tuple[SimulatedRun, ...]
    one_worker: float

    @property
    def fastest(self) -> int:
        """Number of workers with the shortest epoch: beyond it more workers take longer."""
        return min(self.runs, key=lambda run: run.epoch_seconds).workers

    @property
    def worthwhile(self) -> int:
        """Largest number of workers of which each does at least half of what one alone would; 1 if there is none."""
        return max((run.workers for run in self.runs if run.efficiency >= WORTHWHILE), default=1)

    def to_dict(self) -> StrDict:
        """Return plain values."""
        return {"simulated": True, **asdict(self), "fastest": self.fastest, "worthwhile": self.worthwhile}

    def __str__(self) -> str:
        lines = [
            f"simulated, not measured: an epoch takes {duration(self.one_worker)} on one worker",
            f"{'workers':>8}{'round':>10}{'epoch':>12}{'speedup':>9}{'efficiency':>12}{'waiting':>9}{'exchange':>10}"
            f"{'network':>12}",
        ]
        lines += [
            f"{run.workers:>8,}{duration(run.round_seconds):>10}{duration(run.epoch_seconds):>12}{run.speedup:>9.1f}"
            f"{run.efficiency:>12.0%}{run.waiting:>9.0%}{run.exchanging:>10.0%}{size_of(run.network_bytes):>12}"
            for run in self.runs
        ]
        lines.append(
            f"shortest epoch: {self.fastest:,} workers; at least half of the efficiency: up to {self.worthwhile:,}"
        )
        return "\n".join(lines)


def exchange_seconds(n_workers: int, n_bytes: int, rates: MachineRates, link: Link | None = None) -> float:
    """Return the time of the exchange of parameters at the end of a round.

    The coordinator takes the parameters of all workers one after the other, merges them, and sends the mean to one
    worker, from which copies spread to twice as many in each step.

    Parameters
    ----------
    n_workers, n_bytes : int
        Workers, and bytes that each of them sends.
    rates : MachineRates
        With rounds of workers.
    link : Link, optional
        None: workers are processes of the machine that `rates` were measured on.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    SettingError
        If `rates` has no rounds of workers.

    Examples
    --------
    >>> rates = MachineRates(0, 0, {}, 0, 0, 2, round_seconds=0.001, network_bytes=1e9)
    >>> round(exchange_seconds(4, 10**6, rates), 6)
    0.012
    >>> round(exchange_seconds(4, 10**6, rates, Link(1e9, 0.001)), 6)
    0.02
    """
    if rates.round_seconds is None or rates.network_bytes is None:
        raise SettingError("`rates` must include rounds of workers. Measure them by measure_rates(workers=2).")
    if n_workers == 1:
        return 0.0
    local = n_workers * (rates.round_seconds + 2 * n_bytes / rates.network_bytes)
    if link is None:
        return local
    steps = 1 + math.ceil(math.log2(n_workers))
    up = n_workers * n_bytes * max(0.0, 1 / link.bandwidth - 1 / rates.network_bytes)
    return local + up + link.delay * 2 + steps * (n_bytes / link.bandwidth + link.delay)


def simulate_averaging(
    n_rows: int,
    update_seconds: float,
    n_bytes: int,
    rates: MachineRates,
    *,
    workers: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000),
    batch_size: int = 100,
    updates_per_round: int = 100,
    link: Link | None = Link(),
    conditions: Workers = Workers(),
    n_rounds: int = 200,
    random_state: int = 0,
) -> Simulation:
    """Simulate an epoch of pretraining in rounds, on several numbers of workers.

    A round ends when the slowest worker has finished, and with it the exchange of parameters, whose time grows with the
    number of workers as fast as the number of rounds falls: an epoch cannot take less than that. A worker that is lost
    delays one round by the time until it is noticed, and another takes over its rows at the end of the epoch.

    Parameters
    ----------
    n_rows : int
        Rows of all workers together.
    update_seconds : float
        Time of an update on one worker, such as ``part.seconds / part.updates`` of `predict_cost`.
    n_bytes : int
        Bytes that a worker sends in a round, see `round_bytes`.
    rates : MachineRates
        With rounds of workers: the coordinator's times for messages and bytes.
    workers : sequence of int
        Numbers of workers to simulate.
    batch_size, updates_per_round : int, default=100
        Rows in a minibatch, and updates between two averages.
    link : Link or None
        Network; None: all workers are processes of one machine.
    conditions : Workers
        Slow and lost workers.
    n_rounds : int, default=200
        Rounds that are drawn for each number of workers.
    random_state : int, default=0
        Seed of the draws.

    Returns
    -------
    Simulation

    Examples
    --------
    >>> from deepbelief.cost import MachineRates, round_bytes, simulate_averaging
    >>> rates = MachineRates(0, 0, {}, 0, 0, 2, round_seconds=0.001, network_bytes=1e9)
    >>> found = simulate_averaging(10**6, 0.004, round_bytes(784, 500), rates, workers=(1, 4, 16, 1000))
    >>> found.runs[1].speedup > 3, found.fastest < 1000
    (True, True)
    """
    single = n_rows / batch_size * update_seconds
    runs = []
    for n in workers:
        rng = np.random.default_rng([random_state, n])
        shared = 1.0 if conditions.cores is None else max(1.0, n / conditions.cores)
        usual = update_seconds * updates_per_round * shared
        factors = np.ones(n)
        factors[: round(conditions.slow * n)] = conditions.slow_factor
        deviation = conditions.spread if n > 1 else 0.0
        noise = np.exp(deviation * rng.standard_normal((n_rounds, n)) - deviation**2 / 2)
        slowest = usual * (noise * factors).max(axis=1)
        lost = rng.poisson(conditions.lost_per_hour / 3600 * slowest[:, None], (n_rounds, n)).sum(axis=1)
        exchange = exchange_seconds(n, n_bytes, rates, link)
        training = float(slowest.mean())
        seconds = training + exchange + float((lost > 0).mean()) * conditions.patience
        rounds = math.ceil(math.ceil(n_rows / n / batch_size) / updates_per_round)
        # The last round of an epoch may be shorter; all workers train on equal numbers of rows.
        epoch = rounds * (seconds - training) + training * (n_rows / n / batch_size) / updates_per_round
        sent = 0 if n == 1 else 2 * n * n_bytes * rounds
        runs.append(
            SimulatedRun(
                n, seconds, epoch, usual / seconds, 1 - (usual + exchange) / seconds, exchange / seconds,
                single / epoch, single / epoch / n, sent, float(lost.mean()) * rounds,
            )
        )  # fmt: skip
    return Simulation(tuple(runs), single)

"""Averaging over workers: its frequency, and the learning rate of each worker."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from deepbelief.bounds import check_number
from deepbelief.errors import SettingError, unknown
from deepbelief.sources import ColumnStatistics
from deepbelief.typing import Array, StrDict

RATE_RULES: Mapping[str, Callable[[int], float]] = {
    "inverse": lambda n: 1 / n,
    "same": lambda n: 1.0,
    "sqrt": math.sqrt,
    "linear": float,
}
"""Factors of the learning rate for n workers, by name."""


@dataclass(frozen=True)
class Averaging:
    """Training on a cluster in rounds; after each round the workers continue from the mean of their parameters.

    Parameters
    ----------
    updates : int, default=100
        Updates of a worker in a round. An epoch consists of whole rounds, the same number on each worker.
    rate : {"sqrt", "same", "inverse", "linear"}, default="sqrt"
        Factor of the learning rate for n workers: sqrt n, 1, 1/n or n.
    velocities : bool, default=True
        Whether velocities are averaged along with the parameters.
    gibbs_steps : int, default=5
        Steps that persistent chains, which stay on their workers, take after each round without an update.
    backend : {"auto", "numpy", "cupy"}, default="auto"
        Backend of the workers; ``"auto"``: CuPy if a worker has a device.
    timeout : float, default=300
        Seconds that the other workers wait for a worker, after the first has finished a round, before they continue
        without it. A worker that does not answer for this time is treated as lost; a worker that receives no message
        for four times as long ends its part.

    Examples
    --------
    >>> Averaging().factor(4)
    2.0
    """

    updates: int = 100
    rate: str = "sqrt"
    velocities: bool = True
    gibbs_steps: int = 5
    backend: str = "auto"
    timeout: float = 300.0

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.rate not in RATE_RULES:
            raise SettingError(unknown("rate rule", self.rate, RATE_RULES))
        for name, least in (("updates", 1), ("gibbs_steps", 0)):
            check_number(name, getattr(self, name), low=least, integer=True)
        if not isinstance(self.timeout, (int, float)) or not 0 < self.timeout < math.inf:
            raise SettingError(f"timeout must be a number of seconds > 0, got {self.timeout!r}")

    def factor(self, n_workers: int) -> float:
        """Return the factor of the learning rate."""
        return RATE_RULES[self.rate](n_workers)


Message: TypeAlias = Any  # value of a question or an answer; its type depends on the kind of the question


@dataclass(frozen=True, eq=False)
class Question:
    """Question of a worker to the others; the answer merges the questions of all.

    Parameters
    ----------
    kind : str
        A key of `MERGED`.
    value : object
    weight : float
        Rows that it speaks for.
    """

    kind: str
    value: Message
    weight: float


def merged_means(a: list[Array], b: list[Array], share: float) -> list[Array]:
    """Return a + (b - a) share, which is exact where both are equal."""
    return [x + (y - x) * x.dtype.type(share) for x, y in zip(a, b, strict=True)]


def merged_statistics(a: ColumnStatistics, b: ColumnStatistics, share: float) -> ColumnStatistics:
    """Return the statistics of the rows of both parts (Chan, Golub and LeVeque 1983)."""
    n, delta = a.n + b.n, b.mean - a.mean
    weight = b.n / n
    var = a.var * (1 - weight) + b.var * weight + delta * delta * (weight * (1 - weight))
    return ColumnStatistics(n, a.mean + delta * weight, var, np.minimum(a.min, b.min), np.maximum(a.max, b.max))


def merged_records(a: tuple[StrDict, str], b: tuple[StrDict, str], share: float) -> tuple[StrDict, str]:
    """Return the mean of two records, and the reason if one of them has diverged."""
    (left, why), (right, other) = a, b
    record = dict(left)
    for name in ("reconstruction_error", "free_energy_gap", "never_on", "always_on", "deviation"):
        if left.get(name) is not None and right.get(name) is not None:
            record[name] = left[name] + (right[name] - left[name]) * share
    return record, why or other


MERGED: Mapping[str, Callable[[Message, Message, float], Message]] = {
    "rows": lambda a, b, share: (a[0] + b[0], max(a[1], b[1])),
    "statistics": merged_statistics,
    "mean": merged_means,
    "judged": merged_records,
    **dict.fromkeys(("begin", "record", "end", "epoch", "state", "done"), lambda a, b, share: a),
}
"""Functions by kind that merge a question of two workers; ``share`` is the second worker's share of their rows."""


def merged(*questions: Question) -> Question:
    """Return the questions of all workers as one."""
    total = questions[0]
    for each in questions[1:]:
        if each.kind != total.kind:
            raise RuntimeError(f"workers are out of step: {total.kind} and {each.kind}")
        weight = total.weight + each.weight
        value = MERGED[each.kind](total.value, each.value, each.weight / weight)
        total = Question(each.kind, value, weight)
    return total

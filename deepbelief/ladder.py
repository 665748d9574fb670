"""Ladders of machines whose neighbours exchange states, and the log partition functions along them."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from deepbelief.backends import Rng
from deepbelief.errors import SettingError
from deepbelief.machine import Machine
from deepbelief.typing import DeviceArray, Float64Array

BISECTIONS = 60  # halvings of the interval in which a log ratio lies
MARGIN = 40.0  # nats by which that interval exceeds the observed differences
RENEWED = 0.95  # share of the top rung's states that must have come from the first rung
CHECK_EVERY = 5  # sweeps between two looks at that share
ACCEPTANCE = 0.4  # of exchanges between neighbours, by which temperatures are chosen
MAX_RUNGS = 200
SETTLING = 10  # sweeps after a rung is added
HALVINGS = 16  # of the interval in which an inverse temperature lies
MAX_PREDICTED = 300  # states by whose pairs the acceptance is predicted


@dataclass(frozen=True)
class LogRatios:
    """Log partition functions along a ladder.

    Attributes
    ----------
    log_z : ndarray of shape (n_rungs,)
        Of each rung, in nats.
    error : float
        Standard error of the last one.
    acceptance : ndarray of shape (n_rungs - 1,)
        Mean probability with which neighbours exchange their states.
    """

    log_z: Float64Array
    error: float
    acceptance: Float64Array


def bennett(low: Float64Array, high: Float64Array) -> float:
    """Return log Z_b - log Z_a by Bennett's acceptance ratio.

    Bennett, "Efficient estimation of free energy differences from Monte Carlo data", J. Comput. Phys. 22, 1976. It is
    the maximum-likelihood estimate from samples of both machines (Shirts et al. 2003).

    Parameters
    ----------
    low, high : ndarray
        F_b - F_a at samples of the machine a, and of b.

    Examples
    --------
    >>> round(bennett(np.array([-1.0, -1.0]), np.array([-1.0])), 6)
    1.0
    """
    offset = np.log(high.size / low.size)
    ends = (min(low.min(), high.min()), max(low.max(), high.max()))
    least, most = offset - ends[1] - MARGIN, offset - ends[0] + MARGIN
    for _ in range(BISECTIONS):
        middle = (least + most) / 2
        if _posterior(low, middle, offset).sum() > high.size - _posterior(high, middle, offset).sum():
            least = middle
        else:
            most = middle
    return float((least + most) / 2)


def _posterior(difference: Float64Array, log_ratio: float, offset: float) -> Float64Array:
    """Return the probability that a sample with this F_b - F_a was drawn from b."""
    x = offset - difference - log_ratio
    return np.exp(-np.logaddexp(0, -x))


def log_partition_of(machine: Machine) -> float:
    """Return log Z of a machine without connections."""
    bk, xp = machine.bk, machine.bk.xp
    field = xp.zeros((1, machine.W.shape[0]), machine.dtype)
    visible = machine.visible.log_integral(bk, field, machine.vbias)
    hidden = machine.hidden.log_partition(bk, machine.hbias.reshape(1, -1))
    return float(bk.to_numpy(visible)[0]) + float(bk.to_numpy(hidden)[0])


class Ladder:
    """Chains of several machines, the first without connections, whose neighbours exchange states.

    The chains with the same index in all rungs form a column. States move between rungs only within their column, so
    that columns are independent of each other. A sweep draws the states of the first rung, moves those of all others by
    a Gibbs step, and offers exchanges to every second pair of neighbours, even and odd pairs in turn.

    Parameters
    ----------
    machines : sequence of Machine
        From the machine without connections to the target.
    v : device array of shape (n_rungs, n_columns, n_visible)
        Visible states, which move in place.
    held : object with a method ``hold``, optional
        Puts clamped visible states back into an array of shape (n_columns, n_visible).
    """

    def __init__(self, machines: Sequence[Machine], v: DeviceArray, held: DeviceArray = None) -> None:
        self.machines, self.v, self.held = list(machines), v, held
        self.bk = self.machines[0].bk
        xp, dtype = self.bk.xp, self.machines[0].dtype
        n_rungs, n_columns, n_visible = v.shape
        self.n_sweeps = 0
        self.renewed = xp.zeros((n_rungs, n_columns, 1), dtype)
        self.differences: list[list[tuple[Float64Array, Float64Array]]] | None = None
        self._mean = xp.empty((n_columns, n_visible), dtype)
        self._h = xp.empty((n_columns, self.machines[0].W.shape[1]), dtype)
        # Inputs of the hidden units for the states of each rung, which exchanges compute and the next sweep takes, and
        # for those of its neighbour.
        self._x = xp.empty((n_rungs, *self._h.shape), dtype)
        self._known = [False] * n_rungs
        self._crossed = xp.empty((2, *self._h.shape), dtype)
        self._u = xp.empty((n_columns, 1), dtype)

    def sweep(self, rng: Rng) -> None:
        """Move all states once."""
        for i, machine in enumerate(self.machines):
            self._move(i, machine, rng)
        for a in range(self.n_sweeps % 2, len(self.machines) - 1, 2):
            self._exchange(a, rng)
        self.n_sweeps += 1

    def _move(self, i: int, machine: Machine, rng: Rng) -> None:
        v = self.v[i]
        if i:
            if not self._known[i]:
                self.bk.matmul(v, machine.W, self._x[i])
            machine.hidden.sample(self.bk, self._x[i], machine.hbias, rng, self._h)
            self._known[i] = False
            machine.sample_visible(self._h, rng, v, mean=self._mean)
        else:
            self._mean[...] = 0
            machine.visible.sample(self.bk, self._mean, machine.vbias, rng, v)
            self.renewed[0] = 1
        if self.held is not None:
            self.held.hold(v)

    def _exchange(self, a: int, rng: Rng) -> None:
        """Offer the rungs ``a`` and ``a + 1`` to exchange the states of each column."""
        bk, xp, b = self.bk, self.bk.xp, a + 1
        low = self._energy(b, a, self._crossed[1]) - self._energy(a, a, self._x[a])
        high = self._energy(b, b, self._x[b]) - self._energy(a, b, self._crossed[0])
        if self.differences is not None:
            self.differences[a].append((bk.to_numpy(low).astype(float), bk.to_numpy(high).astype(float)))
        accepted = accept(xp, low, high, rng, self._u)
        for states in (self.v, self.renewed):
            swap(xp, accepted, states[a], states[b])
        for i in (a, b):
            xp.copyto(self._x[i], self._crossed[i - a], where=accepted)
            self._known[i] = True

    def _energy(self, i: int, j: int, x: DeviceArray) -> DeviceArray:
        """Return the free energy under a rung of the states of rung ``j``; ``x`` becomes their input there."""
        machine, v = self.machines[i], self.v[j]
        return machine.free_energy_of(v, self.bk.matmul(v, machine.W, x))

    def thermalise(self, rng: Rng, least: int, most: int) -> tuple[int, bool]:
        """Sweep until nearly all states of the top rung have come from the first rung since the start of this call.

        Returns
        -------
        tuple of int and bool
            Number of sweeps, and whether the states were renewed within ``most`` of them.
        """
        self.renewed[...] = 0
        for n in range(1, most + 1):
            self.sweep(rng)
            if n >= least and n % CHECK_EVERY == 0 and self.share() >= RENEWED:
                return n, True
        return most, self.share() >= RENEWED

    def share(self) -> float:
        """Return the share of the top rung's states that have come from the first rung."""
        return float(self.bk.to_numpy(self.renewed[-1].mean()))

    def record(self) -> None:
        """Begin to record the differences of free energy between neighbours."""
        self.differences = [[] for _ in self.machines[1:]]

    def log_ratios(self) -> LogRatios:
        """Return the log partition functions that the recorded differences give.

        The standard error follows from the columns, which are independent of each other.
        """
        log_z, acceptance, influence = [log_partition_of(self.machines[0])], [], 0.0
        for pairs in self.differences or []:
            low, high = (np.array(each) for each in zip(*pairs, strict=True))
            ratio = bennett(low, high)
            log_z.append(log_z[-1] + ratio)
            acceptance.append(float(np.exp(np.minimum(0, high - low)).mean()))
            from_low, from_high = _posterior(low, ratio, 0.0), _posterior(high, ratio, 0.0)
            slope = (from_low * (1 - from_low)).sum() + (from_high * (1 - from_high)).sum()
            influence = influence + (from_low - (1 - from_high)).sum(axis=0) / max(slope, np.finfo(float).tiny)
        columns = np.asarray(influence)
        n = columns.size
        error = float(np.sqrt(n / (n - 1) * np.square(columns - columns.mean()).sum())) if n > 1 else np.inf
        return LogRatios(np.array(log_z), 0.0 if len(log_z) == 1 else error, np.array(acceptance))


def difference(a: Machine, b: Machine, v: DeviceArray) -> DeviceArray:
    """Return F_b(v) - F_a(v)."""
    found = b.free_energy(v)
    found -= a.free_energy(v)
    return found


def exchange_probability(xp: ModuleType, low: DeviceArray, high: DeviceArray) -> DeviceArray:
    """Return the probability with which states of two machines change places, given F_b - F_a at those of a and of b.

    It is min(1, p_a(y) p_b(x) / (p_a(x) p_b(y))) for x of a and y of b, so that both machines keep their distributions
    (Metropolis). Replacing y by x with this probability keeps that of b.
    """
    return xp.exp(xp.minimum(high - low, 0))


def accept(xp: ModuleType, low: DeviceArray, high: DeviceArray, rng: Rng, u: DeviceArray) -> DeviceArray:
    """Draw which exchanges happen: booleans of shape (n, 1); ``u`` is scratch space of that shape."""
    rng.uniform(u)
    return u < exchange_probability(xp, low, high).reshape(-1, 1)


def swap(xp: ModuleType, accepted: DeviceArray, x: DeviceArray, y: DeviceArray) -> None:
    """Exchange the accepted rows of two arrays in place."""
    kept = xp.where(accepted, y, x)
    y[...] = xp.where(accepted, x, y)
    x[...] = kept


def annealed_ladder(
    machine: Machine, base: DeviceArray, n_columns: int, rng: Rng, held: DeviceArray = None
) -> tuple[Ladder, list[float]]:
    """Build a ladder from the machine without connections and with these visible biases to the given machine.

    Returns
    -------
    tuple of Ladder and list of float
        The ladder, not thermalised, and its inverse temperatures.
    """
    xp = machine.bk.xp
    first = machine.with_biases(base, xp.zeros_like(machine.hbias))
    first.W = xp.zeros_like(machine.W)
    ladder = Ladder([first], xp.empty((1, n_columns, machine.W.shape[0]), machine.dtype), held)
    ladder.sweep(rng)
    return extended(ladder, machine, rng)


def extended(ladder: Ladder, target: Machine, rng: Rng) -> tuple[Ladder, list[float]]:
    """Add rungs to a ladder whose parameters lie on the line from those of its last rung to the target's.

    Each rung is added where the states of the one before predict an acceptance of 0.4, and starts from those states,
    resampled by their odds, or from the states themselves where some are clamped.

    Returns
    -------
    tuple of Ladder and list of float
        The longer ladder, not thermalised, and the places of its old last rung (0) and of the new ones on that line.
    """
    bk, xp, first, held = target.bk, target.bk.xp, ladder.machines[-1], ladder.held
    betas, n = [0.0], ladder.v.shape[1]
    u = xp.empty((1, 1), target.dtype)
    while betas[-1] < 1:
        if len(ladder.machines) >= MAX_RUNGS:
            raise SettingError(f"the ladder needs more than {MAX_RUNGS} machines: the model's weights are too large")
        betas.append(_next_beta(first, target, ladder, betas[-1]))
        added = _between(first, target, betas[-1])
        log_odds = -bk.to_numpy(difference(ladder.machines[-1], added, ladder.v[-1])).astype(float)
        odds = np.exp(log_odds - log_odds.max())
        places = (np.arange(n) + float(bk.to_numpy(rng.uniform(u))[0, 0])) / n
        drawn = np.minimum(np.searchsorted(np.cumsum(odds / odds.sum()), places), n - 1)
        states = xp.take(ladder.v[-1], bk.asarray(drawn), axis=0) if held is None else ladder.v[-1]
        ladder = Ladder([*ladder.machines, added], xp.concatenate([ladder.v, states[None]]), held)
        for _ in range(SETTLING):
            ladder.sweep(rng)
    return ladder, betas


def _between(first: Machine, target: Machine, beta: float) -> Machine:
    """Return the machine at this place, from 0 to 1, of the line between two machines."""
    vbias, hbias = (a + (b - a) * beta for a, b in ((first.vbias, target.vbias), (first.hbias, target.hbias)))
    other = target.with_biases(vbias, hbias)
    other.W = first.W + (target.W - first.W) * beta
    return other


def _next_beta(first: Machine, target: Machine, ladder: Ladder, beta: float) -> float:
    """Return the farthest place on the line at which enough exchanges with the last rung are to be expected."""
    v = ladder.v[-1][:MAX_PREDICTED]
    low, high = beta, 2.0 - beta
    for i in range(HALVINGS):
        middle = 1.0 if i == 0 else (low + high) / 2
        found = difference(ladder.machines[-1], _between(first, target, middle), v)
        d = target.bk.to_numpy(found).astype(float)
        odds = np.exp(-(d - d.min()))
        acceptance = float((exchange_probability(np, d[:, None], d[None, :]).mean(axis=0) @ odds) / odds.sum())
        if acceptance >= ACCEPTANCE:
            if i == 0:
                return 1.0
            low = middle
        else:
            high = middle
    return max(low, min(1.0, beta + 1e-4))

"""log Z of machines that share their weights and differ in their biases: one machine for each frame of a sequence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deepbelief.backends import Rng
from deepbelief.errors import Mention, SettingError
from deepbelief.likelihood.ais import Runs, base_partition, check_betas
from deepbelief.machine import Machine
from deepbelief.typing import DeviceArray, Float64Array

EXACT_UNITS = 12  # hidden units up to which enumeration is cheaper than annealing
BLOCK_ROWS = 1024  # runs handled at a time, so that the arrays of a step stay in cache
WARM_UP = 30  # Gibbs steps, whose later half estimates the marginals
SMOOTHING = 1e-3  # of these marginals


@dataclass(frozen=True, eq=False)
class DrivenLogZ:
    """log Z of each machine.

    Attributes
    ----------
    log_z : ndarray of shape (n_machines,)
    variance : ndarray of shape (n_machines,)
        Of each estimate, from the spread of its runs; 0 where exact. In expectation, an estimate is too low by about
        half of it.
    method : str
    """

    log_z: Float64Array
    variance: Float64Array
    method: str


def exact_driven_log_z(machine: Machine) -> DrivenLogZ:
    """Sum over all hidden states; ``machine`` has biases for each row.

    Raises
    ------
    SettingError
        If there are more than 12 hidden units, or they are not Bernoulli units.
    """
    bk, xp, n = machine.bk, machine.bk.xp, machine.W.shape[1]
    if n > EXACT_UNITS or not machine.hidden.enumerable:
        raise SettingError(
            f"{n} {machine.hidden.spec} hidden units cannot be enumerated for each frame: at most {EXACT_UNITS} ",
            "Bernoulli units can; use ",
            Mention("method", "ais"),
        )
    h = bk.asarray(np.arange(2**n)[:, None] >> np.arange(n) & 1, dtype=machine.dtype)
    field = h @ machine.W.T
    found = np.empty(len(machine.vbias))
    for i in range(len(found)):
        log_p = machine.visible.log_integral(bk, field, machine.vbias[i]) + h @ machine.hbias[i]
        top = log_p.max()
        found[i] = float(bk.to_numpy(xp.log(xp.exp(log_p - top).sum()) + top))
    return DrivenLogZ(found, np.zeros(len(found)), f"exact, over the states of {n} hidden units")


def ais_driven_log_z(machine: Machine, rng: Rng, *, n_runs: int = 10, betas: int | Sequence[float] = 300) -> DrivenLogZ:
    """Estimate log Z of each machine by annealed importance sampling, with the runs of many machines in one matrix.

    Each machine has its own base: independent visible units with the marginals of short Gibbs chains of the machine.
    Such a base is near the machine, so that hundreds of steps suffice where a common base needs thousands.

    Parameters
    ----------
    machine : Machine
        With biases for each row.
    rng : Rng
    n_runs : int
        Of each machine.
    betas : int or sequence of float
        As for `deepbelief.likelihood.ais_log_z`.
    """
    steps, n = check_betas(betas), len(machine.vbias)
    log_z, variance = np.empty(n), np.empty(n)
    for part, _, log_w, base in _annealed(machine, rng, n_runs, steps):
        top = log_w.max(axis=0)
        w = np.exp(log_w - top)
        log_z[part] = np.log(w.mean(axis=0)) + top + base
        variance[part] = w.var(axis=0, ddof=1) / w.mean(axis=0) ** 2 / n_runs if n_runs > 1 else np.inf
    return DrivenLogZ(log_z, variance, f"AIS, {n_runs} runs of {len(steps) - 1} steps for each frame")


def ais_driven_means(
    machine: Machine, rng: Rng, *, n_runs: int = 10, betas: int | Sequence[float] = 300, gibbs_steps: int = 50
) -> DeviceArray:
    """Return E[v] of each machine, estimated from annealing runs that continue at the end.

    New chains stay in the mode that they find first. Annealing runs are spread over the modes, and their weights are
    the importance of each run (Neal 2001, eq. 9): they weight the mean of E[v | h] over the Gibbs steps that follow.

    Parameters
    ----------
    machine : Machine
        With biases for each row.
    rng : Rng
    n_runs : int
        Of each machine.
    betas : int or sequence of float
        As for `deepbelief.likelihood.ais_log_z`.
    gibbs_steps : int
        Of each run, at the end.

    Returns
    -------
    device array of shape (n_machines, n_visible)
        In the machine's dtype.
    """
    bk, xp = machine.bk, machine.bk.xp
    found = xp.empty(machine.vbias.shape, machine.dtype)
    for part, runs, log_w, _ in _annealed(machine, rng, n_runs, check_betas(betas)):
        w = np.exp(log_w - log_w.max(axis=0))
        w /= w.sum(axis=0) * gibbs_steps
        own, v = runs.machine, runs.v
        mean, total = xp.empty_like(v), xp.zeros_like(v)
        h = xp.empty(own.hbias.shape, machine.dtype)
        for _ in range(gibbs_steps):
            own.sample_hidden(v, rng, h)
            own.sample_visible(h, rng, v, mean=mean)
            total += mean
        total = total.reshape(n_runs, -1, v.shape[1])
        total *= bk.asarray(w[:, :, None], dtype=machine.dtype)
        found[part] = total.sum(axis=0)
    return found


def _annealed(
    machine: Machine, rng: Rng, n_runs: int, steps: Float64Array
) -> Iterator[tuple[slice, Runs, Float64Array, Float64Array]]:
    """Yield blocks of (slice of machines, their final runs, log weights of shape (n_runs, n), log Z of the bases)."""
    bk, size = machine.bk, max(1, BLOCK_ROWS // n_runs)
    for start in range(0, len(machine.vbias), size):
        part = slice(start, start + size)
        vbias, hbias = machine.vbias[part], machine.hbias[part]
        n = len(vbias)
        each = bk.asarray(np.tile(np.arange(n), n_runs))
        own = machine.with_biases(vbias[each], hbias[each])
        base = _base(own, n, rng)
        runs = Runs(own, base[each], n * n_runs, rng)
        runs.start()
        log_w = bk.to_numpy(runs.anneal(steps)).reshape(n_runs, n)
        yield part, runs, log_w, bk.to_numpy(base_partition(machine, base)).astype(np.float64)


def _base(machine: Machine, n: int, rng: Rng) -> DeviceArray:
    """Return visible biases whose marginals are those of Gibbs chains of n machines, several chains for each."""
    bk, xp = machine.bk, machine.bk.xp
    v, mean, total = (xp.zeros(machine.vbias.shape, machine.dtype) for _ in range(3))
    h = xp.empty(machine.hbias.shape, machine.dtype)
    machine.visible.sample(bk, mean, machine.vbias, rng, v)
    for step in range(WARM_UP):
        machine.sample_hidden(v, rng, h)
        machine.sample_visible(h, rng, v, mean=mean)
        if step >= WARM_UP // 2:
            total += mean
    total /= WARM_UP - WARM_UP // 2
    seen = bk.to_numpy(total).astype(np.float64).reshape(-1, n, total.shape[1]).mean(axis=0)
    if machine.visible.unit_interval:
        seen = (seen + SMOOTHING) / (1 + 2 * SMOOTHING)
    return bk.asarray(machine.visible.initial_bias(seen).astype(machine.dtype))

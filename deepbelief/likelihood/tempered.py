"""The partition function along a ladder of annealed machines whose chains exchange states."""

import math
import warnings
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deepbelief.backends import Backend, Rng, get_backend
from deepbelief.errors import DeepBeliefWarning, SettingError
from deepbelief.ladder import Ladder, difference, exchange_probability
from deepbelief.likelihood.ais import AISEstimate, base_vbias, other_base, positive
from deepbelief.likelihood.exact import double_machine, weights_of
from deepbelief.machine import Machine
from deepbelief.seeds import RandomState, run_seed, stream
from deepbelief.typing import DeviceArray, Float64Array

ACCEPTANCE = 0.4  # of exchanges between neighbours, by which temperatures are chosen
MAX_RUNGS = 200
MAX_SWEEPS = 2000  # of a thermalisation
SETTLING = 10  # sweeps after a rung is added
BISECTIONS = 16  # halvings of the interval in which an inverse temperature lies
MAX_PAIRED = 300  # states of which all pairs are looked at


@dataclass(frozen=True, eq=False)
class LadderEstimate:
    """An estimate of log Z along a ladder.

    Attributes
    ----------
    log_z : float
        In nats.
    low, high : float
        3 standard errors below and above; the errors follow from the columns of the ladder, which are independent.
    betas : ndarray of shape (n_rungs,)
        Inverse temperatures.
    acceptance : ndarray of shape (n_rungs - 1,)
        Mean probability of an exchange between neighbours.
    n_runs, n_sweeps : int
        Chains of each rung, and sweeps of the ladder in all.
    met : bool
        Whether the states of the model's chains had come from the first rung before anything was recorded.
    agrees : bool
        False if a ladder from another start, or the rows of a likelihood, show that a mode was missed; the interval
        then covers both.
    """

    log_z: float
    low: float
    high: float
    betas: Float64Array
    acceptance: Float64Array
    n_runs: int
    n_sweeps: int
    met: bool
    agrees: bool = True

    def __str__(self) -> str:
        """Return the estimate with its interval."""
        kind = "" if self.met else "; the chains have not met"
        return (
            f"log Z = {self.log_z:.3f} ({self.low:.3f} to {self.high:.3f} at 3 s.d.; a ladder of {len(self.betas)} "
            f"machines, {self.n_runs} chains each, {self.n_sweeps} sweeps{kind})"
        )


def ladder_log_z(
    model: Any, *, n_runs: int = 200, n_sweeps: int = 200, backend: str | Backend = "numpy",
    random_state: RandomState = 0,
) -> LadderEstimate:  # fmt: skip
    """Estimate log Z along a ladder of machines from one without connections to the model.

    The weights are scaled by inverse temperatures, chosen so that neighbours accept about 40 % of their exchanges. The
    ladder is swept until nearly all states of the model's chains have come from the first rung, whose states are drawn
    independently; then differences of free energy between neighbours are recorded for as many sweeps, at least
    ``n_sweeps``, and give the ratios of their partition functions (Bennett 1976). Unlike in annealing, a state can
    return to a higher temperature. A mode that the first machine never visits can still be missed without a sign; so a
    second ladder starts from another machine, for discrete units that of even odds.

    Parameters
    ----------
    model : fitted RBM or Weights
    n_runs : int, default=200
        Chains of each machine.
    n_sweeps : int, default=200
        Least number of sweeps that are recorded.
    backend : {"numpy", "cupy"} or Backend
    random_state : int, Generator, RandomState or None

    Returns
    -------
    LadderEstimate

    Raises
    ------
    SettingError
        If the units have no likelihood, a weight is not finite, or the ladder needs more than 200 machines.

    Warns
    -----
    DeepBeliefWarning
        If the chains have not met within 2,000 sweeps, or the two ladders disagree.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import Weights
    >>> from deepbelief.likelihood import exact_log_z
    >>> W = np.random.default_rng(0).normal(0, 0.5, (6, 4))
    >>> machine = Weights(W, np.zeros(6), np.zeros(4))
    >>> abs(ladder_log_z(machine).log_z - exact_log_z(machine)) < 0.1
    True
    """
    weights, bk = weights_of(model), get_backend(backend)
    n = positive("n_runs", n_runs)
    if n < 2:
        raise SettingError(f"n_runs must be at least 2, got {n}")
    least = positive("n_sweeps", n_sweeps)
    seed, machine = run_seed(random_state), double_machine(weights, bk)
    found = _along(machine, base_vbias(weights), n, least, bk.rng(stream(seed, "ladder")))
    other = other_base(weights)
    if other is not None:
        found = _checked(found, _along(machine, other, n, least, bk.rng(stream(seed, "ladder from another base"))))
    if not found.met:
        message = (
            f"the chains of a ladder of {len(found.betas)} machines have not met within {MAX_SWEEPS} sweeps: log Z "
            "may miss a mode of the model; compare with ais_log_z"
        )
        warnings.warn(DeepBeliefWarning(message, symptom="ladder-not-met"), stacklevel=2)
    return found


def _along(machine: Machine, base: Float64Array, n_runs: int, least: int, rng: Rng) -> LadderEstimate:
    """Return the estimate along a ladder from the machine without connections and with these visible biases."""
    ladder, betas = annealed_ladder(machine, machine.bk.asarray(base), n_runs, rng)
    sweeps, met = ladder.thermalise(rng, least=20, most=MAX_SWEEPS)
    ladder.record()
    for _ in range(max(2, least, sweeps)):
        ladder.sweep(rng)
    found = ladder.log_ratios()
    log_z, error = float(found.log_z[-1]), 3 * found.error
    return LadderEstimate(
        log_z, log_z - error, log_z + error, np.array(betas), found.acceptance, n_runs, ladder.n_sweeps, met
    )


def _checked(first: LadderEstimate, second: LadderEstimate) -> LadderEstimate:
    """Return the first of two estimates whose chains have met; if they disagree, the larger with an interval over both.

    They disagree if their intervals are apart.
    """
    if second.met and not first.met:
        first, second = second, first
    if first.low <= second.high and second.low <= first.high:
        return first
    larger = max(first, second, key=lambda each: each.log_z)
    message = (
        f"a ladder missed a mode of the model: from one start it finds log Z = {first.log_z:.2f}, from another "
        f"{second.log_z:.2f}; the larger is taken. Use exact_log_z where one side has few units."
    )
    warnings.warn(DeepBeliefWarning(message, symptom="missed-mode"), stacklevel=3)
    return replace(larger, low=min(first.low, second.low), high=max(first.high, second.high), agrees=False)


def annealed_ladder(
    machine: Machine, base: DeviceArray, n_columns: int, rng: Rng, held: Any = None
) -> tuple[Ladder, list[float]]:
    """Build a ladder from the machine without connections and with these visible biases to the given machine.

    Each rung is added at the inverse temperature at which the states of the one before predict an acceptance of 0.4,
    and starts from those states, drawn anew by their odds.

    Returns
    -------
    tuple of Ladder and list of float
        The ladder, not thermalised, and its inverse temperatures.
    """
    bk, xp = machine.bk, machine.bk.xp
    v = xp.empty((1, n_columns, machine.W.shape[0]), machine.dtype)
    betas = [0.0]
    ladder = Ladder([_at(machine, base, 0.0)], v, held)
    ladder.sweep(rng)
    u = xp.empty((1, 1), machine.dtype)
    while betas[-1] < 1:
        if len(betas) == MAX_RUNGS:
            raise SettingError(f"the ladder needs more than {MAX_RUNGS} machines: the model's weights are too large")
        beta = _next_beta(machine, base, ladder, betas[-1])
        added = _at(machine, base, beta)
        log_odds = -bk.to_numpy(difference(ladder.machines[-1], added, ladder.v[-1])).astype(float)
        odds = np.exp(log_odds - log_odds.max())
        places = (np.arange(n_columns) + float(bk.to_numpy(rng.uniform(u))[0, 0])) / n_columns
        drawn = np.minimum(np.searchsorted(np.cumsum(odds / odds.sum()), places), n_columns - 1)
        states = xp.take(ladder.v[-1], bk.asarray(drawn), axis=0) if held is None else ladder.v[-1]
        betas.append(beta)
        ladder = Ladder([*ladder.machines, added], xp.concatenate([ladder.v, states[None]]), held)
        for _ in range(SETTLING):
            ladder.sweep(rng)
    return ladder, betas


def _at(machine: Machine, base: DeviceArray, beta: float) -> Machine:
    """Return the machine at an inverse temperature: its visible biases lie between the base and its own."""
    other = copy(machine.with_biases(base + (machine.vbias - base) * beta, machine.hbias * beta))
    other.W = machine.W * beta
    return other


def _next_beta(machine: Machine, base: DeviceArray, ladder: Ladder, beta: float) -> float:
    """Return the largest inverse temperature at which enough exchanges with the last rung are to be expected."""
    v = ladder.v[-1][:MAX_PAIRED]
    low, high = beta, 2.0 - beta
    for i in range(BISECTIONS):
        middle = 1.0 if i == 0 else (low + high) / 2
        d = machine.bk.to_numpy(difference(ladder.machines[-1], _at(machine, base, middle), v)).astype(float)
        odds = np.exp(-(d - d.min()))
        acceptance = float((exchange_probability(np, d[:, None], d[None, :]).mean(axis=0) @ odds) / odds.sum())
        if acceptance >= ACCEPTANCE:
            if i == 0:
                return 1.0
            low = middle
        else:
            high = middle
    return max(low, min(1.0, beta + 1e-4))


def check_agreement(first: AISEstimate | LadderEstimate, second: AISEstimate | LadderEstimate) -> bool:
    """Return whether the intervals of two estimates of log Z overlap; warn if they do not.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import Weights
    >>> from deepbelief.likelihood import ais_log_z
    >>> machine = Weights(np.random.default_rng(0).normal(0, 0.5, (6, 4)), np.zeros(6), np.zeros(4))
    >>> check_agreement(ais_log_z(machine, betas=100), ladder_log_z(machine))
    True
    """
    agree = first.low <= second.high and second.low <= first.high
    if not agree:
        message = (
            f"two estimates disagree by {math.fabs(first.log_z - second.log_z):.2f} nats: {first}; {second}. Quote "
            "neither before more betas, or more runs and sweeps, bring them together."
        )
        warnings.warn(DeepBeliefWarning(message, symptom="estimates-disagree"), stacklevel=2)
    return agree

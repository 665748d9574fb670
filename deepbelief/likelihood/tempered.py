"""The partition function along a ladder of annealed machines whose chains exchange states."""

import math
import warnings
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from deepbelief.backends import Backend, Rng, get_backend
from deepbelief.errors import DeepBeliefWarning, invalid
from deepbelief.ladder import annealed_ladder
from deepbelief.likelihood.ais import base_vbias, other_base, positive
from deepbelief.likelihood.estimate import LogZEstimate
from deepbelief.likelihood.exact import double_machine, weights_of
from deepbelief.machine import Machine
from deepbelief.seeds import run_seed, stream
from deepbelief.typing import Estimator, Float64Array, RandomState

MAX_SWEEPS = 2000  # of a thermalisation
UNCERTAINTY = 0.3  # nats of an estimate of log Z without an interval


@dataclass(frozen=True, eq=False)
class LadderEstimate(LogZEstimate):
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
        Whether the states of the model's chains had come from the first rung before recording began.
    agrees : bool
        False if a ladder from another start, or the rows of a likelihood, show that a mode was missed; the interval
        then covers both.
    """

    method: ClassVar[str] = "ptt"
    betas: Float64Array
    acceptance: Float64Array
    n_runs: int
    n_sweeps: int
    met: bool

    def __str__(self) -> str:
        """Return the estimate with its interval."""
        kind = "" if self.met else "; the chains have not met"
        return (
            f"{self.interval}; a ladder of {len(self.betas)} machines, {self.n_runs} chains each, "
            f"{self.n_sweeps} sweeps{kind})"
        )


def ladder_log_z(
    model: Estimator, *, n_runs: int = 200, n_sweeps: int = 200, backend: str | Backend = "numpy",
    random_state: RandomState = 0,
) -> LadderEstimate:  # fmt: skip
    """Estimate log Z along a ladder of machines from one without connections to the model.

    The weights are scaled by inverse temperatures, chosen so that neighbours accept about 40 % of their exchanges. The
    ladder is swept until nearly all states of the model's chains have come from the first rung, whose states are drawn
    independently. Then differences of free energy between neighbours are recorded for the same number of sweeps, at
    least ``n_sweeps``; they give the ratios of the partition functions (Bennett 1976). Unlike in annealing, a state can
    return to a higher temperature. A mode that the first machine never visits can be missed silently. Therefore a
    second ladder starts from another machine, which for discrete units is the uniform distribution.

    Parameters
    ----------
    model : fitted RBM or Weights
    n_runs : int, default=200
        Chains of each machine.
    n_sweeps : int, default=200
        Minimum number of sweeps that are recorded.
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
        raise invalid("n_runs", "at least 2", n)
    least = positive("n_sweeps", n_sweeps)
    seed, machine = run_seed(random_state), double_machine(weights, bk)
    found = _along(machine, base_vbias(weights), n, least, bk.rng(stream(seed, "ladder")))
    other = other_base(weights)
    if other is not None:
        found = _checked(found, _along(machine, other, n, least, bk.rng(stream(seed, "ladder from another base"))))
    if not found.met:
        message = (
            f"the chains of a ladder of {len(found.betas)} machines did not meet within {MAX_SWEEPS} sweeps: log Z "
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
    """Return the first estimate whose chains have met or, if the two disagree, the larger with an interval over both.

    They disagree if their intervals do not overlap.
    """
    if second.met and not first.met:
        first, second = second, first
    if first.low <= second.high and second.low <= first.high:
        return first
    larger = max(first, second, key=lambda each: each.log_z)
    message = (
        f"a ladder missed a mode of the model: log Z is {first.log_z:.2f} from one start and "
        f"{second.log_z:.2f} from another; the larger value is used. Use exact_log_z if one side has few units."
    )
    warnings.warn(DeepBeliefWarning(message, symptom="missed-mode"), stacklevel=3)
    return replace(larger, low=min(first.low, second.low), high=max(first.high, second.high), agrees=False)


def check_agreement(first: LogZEstimate | float, second: LogZEstimate | float) -> bool:
    """Return whether the intervals of two estimates of log Z overlap; warn if they do not.

    Parameters
    ----------
    first, second : LogZEstimate or float
        Results of two methods for the same machine. A number, such as the ``log_z`` that ``history_`` has of training
        by trajectory tempering, counts as uncertain by 0.3 nats.

    Returns
    -------
    bool

    Warns
    -----
    DeepBeliefWarning
        If the intervals do not overlap.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import Weights
    >>> from deepbelief.likelihood import ais_log_z
    >>> machine = Weights(np.random.default_rng(0).normal(0, 0.5, (6, 4)), np.zeros(6), np.zeros(4))
    >>> check_agreement(ais_log_z(machine, betas=100), ladder_log_z(machine))
    True
    """
    one, other = (
        each if isinstance(each, LogZEstimate) else LogZEstimate(each, each - UNCERTAINTY, each + UNCERTAINTY)
        for each in (first, second)
    )
    agree = one.low <= other.high and other.low <= one.high
    if not agree:
        message = (
            f"two estimates disagree by {math.fabs(one.log_z - other.log_z):.2f} nats: {first}; {second}. Quote "
            "neither until they agree with more betas, or more runs and sweeps."
        )
        warnings.warn(DeepBeliefWarning(message, symptom="estimates-disagree"), stacklevel=2)
    return agree

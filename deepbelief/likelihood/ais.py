"""Annealed importance sampling of the partition function (Salakhutdinov and Murray 2008)."""

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import ClassVar

import numpy as np

from deepbelief.backends import Backend, Rescaling, Rng, get_backend
from deepbelief.errors import DataError, DeepBeliefWarning, SettingError, invalid
from deepbelief.likelihood.estimate import LogZEstimate
from deepbelief.likelihood.exact import enumerable, exact_samples, weights_of
from deepbelief.machine import Machine
from deepbelief.seeds import run_seed, stream
from deepbelief.stack import Weights
from deepbelief.typing import DeviceArray, Estimator, Float64Array, RandomState, RowsLike

PUBLISHED = ((0.5, 500), (0.9, 4000), (1.0, 10_000))
"""(up to, steps): the 14,500 inverse temperatures of Salakhutdinov and Murray."""
Progress = Callable[[int, int], None]
"""Called after each step with the number of steps done and the total."""
MIN_CHECK_RUNS = 10  # from another base
CHECK_STRIDE = 4  # these runs use every fourth inverse temperature
LEAST_EFFECTIVE = 0.1  # of the runs; with fewer, a handful of runs carries the estimate


@dataclass(frozen=True, eq=False)
class AISEstimate(LogZEstimate):
    """An estimate of log Z.

    Attributes
    ----------
    log_z : float
        In nats.
    low, high : float
        Logarithm of Z minus and plus 3 standard errors; ``low`` is -inf if 3 standard errors exceed Z.
    effective_sample_size : float
        Number of equally weighted runs that would be as precise.
    log_weights : ndarray of shape (n_runs,)
    agrees : bool
        For `ais_log_z`: False if runs from another start found a larger value; the interval then covers both.
    exact_start : bool
        For `reverse_ais_log_z`: whether the runs started from exact samples of the model, so that ``log_z`` is a
        stochastic upper bound. If not, it is only an indication. Forward runs always start from exact samples.
    """

    method: ClassVar[str] = "ais"
    effective_sample_size: float
    log_weights: Float64Array
    exact_start: bool = True

    def __str__(self) -> str:
        """Return the estimate with its interval."""
        kind = "" if self.exact_start else ", an indication: runs did not start from samples of the model"
        kind += "" if self.agrees else "; runs from another start disagree"
        return f"{self.interval}; {len(self.log_weights)} runs, {self.effective_sample_size:.1f} effective{kind})"


def default_betas() -> Float64Array:
    """Return 14,500 inverse temperatures from 0 to 1, densest near 1.

    Examples
    --------
    >>> betas = default_betas()
    >>> len(betas), float(betas[0]), float(betas[-1])
    (14501, 0.0, 1.0)
    """
    parts, low = [np.zeros(1)], 0.0
    for high, steps in PUBLISHED:
        parts.append(np.linspace(low, high, steps + 1)[1:])
        low = high
    return np.concatenate(parts)


def ais_log_z(
    model: Estimator,
    *,
    n_runs: int = 100,
    betas: int | Sequence[float] | None = None,
    backend: str | Backend = "numpy",
    random_state: RandomState = 0,
    progress: Progress | None = None,
) -> AISEstimate:
    """Estimate log Z by annealed importance sampling.

    The runs are the rows of one matrix, which is annealed from a machine without connections, whose visible biases fit
    the training rows, to the model. The estimate of Z is unbiased. That of log Z is too low in expectation, so that
    likelihoods look too good: judge them by ``high``. All runs may silently miss a mode of the model. Therefore half as
    many runs start from another machine and take a quarter of the steps; for discrete units that machine is the uniform
    distribution. Annealing hardly ever overestimates, so their estimate is used if it is clearly larger.

    Parameters
    ----------
    model : fitted RBM or Weights
        Bernoulli, softmax or Gaussian visible units.
    n_runs : int
        Number of annealing runs.
    betas : int, sequence of float or None
        Inverse temperatures from 0 to 1, or the number of equal steps between them. None means the 14,500 steps used in
        the literature.
    backend : {"numpy", "cupy"} or Backend
    random_state : int, Generator, RandomState or None
    progress : callable, optional
        Called with the number of steps done and the total.

    Returns
    -------
    AISEstimate

    Raises
    ------
    SettingError
        If the betas do not rise from 0 to 1, or the units have no likelihood, or a weight is not finite.

    Warns
    -----
    DeepBeliefWarning
        If the effective sample size is below a tenth of the runs, or runs from another start find a clearly larger
        value.

    References
    ----------
    Salakhutdinov and Murray, "On the quantitative analysis of deep belief networks", ICML 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import Weights
    >>> from deepbelief.likelihood import exact_log_z
    >>> W = np.random.default_rng(0).normal(0, 0.5, (6, 4))
    >>> machine = Weights(W, np.zeros(6), np.zeros(4))
    >>> abs(ais_log_z(machine, betas=100).log_z - exact_log_z(machine)) < 0.1
    True
    """
    weights, steps = weights_of(model), check_betas(betas)
    bk = get_backend(backend)
    n, seed = positive("n_runs", n_runs), run_seed(random_state)
    runs, log_z_base = _runs(weights, n, bk, seed)
    runs.start()
    found = _estimate(log_z_base + bk.to_numpy(runs.anneal(steps, progress)), sign=1)
    other = other_base(weights)
    if other is None or n < 2 * MIN_CHECK_RUNS:
        return found
    runs, log_z_base = _runs(weights, n // 2, bk, seed, other)
    runs.start()
    coarse = np.append(steps[:-1:CHECK_STRIDE], 1.0)
    return _checked(found, log_z_base + bk.to_numpy(runs.anneal(coarse)))


def reverse_ais_log_z(
    model: Estimator, X: RowsLike = None, *, n_runs: int = 100, betas: int | Sequence[float] | None = None,
    backend: str | Backend = "numpy", random_state: RandomState = 0, progress: Progress | None = None,
) -> AISEstimate:  # fmt: skip
    """Estimate log Z from the other side: from samples of the model to the machine without connections.

    With exact samples (at most 25 Bernoulli units on one side) the estimate is too high in expectation and, together
    with `ais_log_z`, brackets log Z. From rows it is only an indication, and its text says so.

    Parameters
    ----------
    model : fitted RBM or Weights
    X : array-like of shape (n_rows, n_visible), optional
        Rows to start from, as they enter the machine, where the model cannot be enumerated; ``n_runs`` of them are
        drawn.
    n_runs, betas, backend, random_state, progress
        As in `ais_log_z`.

    Returns
    -------
    AISEstimate

    Raises
    ------
    SettingError
        If the model cannot be enumerated and no rows are given, or for the reasons of `ais_log_z`.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import Weights
    >>> from deepbelief.likelihood import exact_log_z
    >>> W = np.random.default_rng(0).normal(0, 0.5, (6, 4))
    >>> machine = Weights(W, np.zeros(6), np.zeros(4))
    >>> abs(reverse_ais_log_z(machine, betas=100).log_z - exact_log_z(machine)) < 0.1
    True
    """
    weights, steps, seed = weights_of(model), check_betas(betas), run_seed(random_state)
    n = positive("n_runs", n_runs)
    exact = X is None
    if not exact:
        X = np.asarray(X, dtype=weights.W.dtype)
        if X.ndim != 2 or X.shape[1] != weights.n_visible or not len(X):
            raise DataError(f"X has shape {X.shape}, the machine has {weights.n_visible} visible units")
        start = X[np.random.default_rng(seed).integers(0, len(X), n)]
    elif enumerable(weights):
        start = exact_samples(weights, n, seed)
    else:
        raise SettingError("this model is too large for exact samples: give rows to start from, for instance test rows")
    bk = get_backend(backend)
    runs, log_z_base = _runs(weights, n, bk, seed)
    runs.start(start)
    return _estimate(bk.to_numpy(runs.anneal(steps[::-1], progress)) - log_z_base, sign=-1, exact_start=exact)


def check_betas(betas: int | Sequence[float] | None) -> Float64Array:
    """Return inverse temperatures that rise from 0 to 1."""
    if betas is None:
        return default_betas()
    if isinstance(betas, Integral) and not isinstance(betas, bool):
        return np.linspace(0, 1, positive("betas", betas) + 1)
    steps = np.asarray(betas, dtype=np.float64)
    if steps.ndim != 1 or len(steps) < 2 or steps[0] != 0 or steps[-1] != 1 or not (np.diff(steps) > 0).all():
        raise SettingError("betas must rise from 0 to 1 without a repetition, or be the number of equal steps")
    return steps


def positive(name: str, value: object) -> int:
    """Return an integer of at least 1."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise invalid(name, "an integer of at least 1", value)
    return int(value)


class Runs:
    """Annealing runs, one per row, between the base machine (beta 0) and the model (beta 1).

    At beta, the machine has weights beta W, hidden biases beta c, and visible biases interpolated between the two
    machines.

    Parameters
    ----------
    machine : Machine
        The model; its biases may be one for each run.
    base_vbias : device array of shape (n_visible,) or (n_runs, n_visible)
        Visible biases of the base machine, which has no connections and no hidden biases.
    n_runs : int
    rng : Rng
    """

    def __init__(self, machine: Machine, base_vbias: DeviceArray, n_runs: int, rng: Rng) -> None:
        self.bk, self.machine, self.rng = machine.bk, machine, rng
        xp, (n_visible, n_hidden) = self.bk.xp, machine.W.shape
        self.v, self._v_mean = (xp.empty((n_runs, n_visible), machine.dtype) for _ in range(2))
        self._x, self._h = (xp.empty((n_runs, n_hidden), machine.dtype) for _ in range(2))
        self._no_hbias = xp.zeros((n_hidden,), machine.dtype)
        # Log weights are sums of many small differences of large numbers: they are computed in float64.
        self._base_vbias = base_vbias.astype(np.float64)
        self._away = machine.vbias.astype(np.float64) - self._base_vbias

    def start(self, v: DeviceArray = None) -> None:
        """Start from these visible states, or from samples of the base machine."""
        if v is not None:
            self.v[...] = self.bk.asarray(v, dtype=self.machine.dtype)
            return
        self._v_mean[...] = 0
        vbias = self._base_vbias.astype(self.machine.dtype, copy=False)
        self.machine.visible.sample(self.bk, self._v_mean, vbias, self.rng, self.v)

    def anneal(self, betas: Float64Array, progress: Progress | None = None) -> DeviceArray:
        """Anneal from the first beta to the last, and return the log weights of the runs, in float64."""
        bk, machine, steps = self.bk, self.machine, betas.tolist()
        total = self._energy_of_0(steps[0]) - self._energy_of_0(steps[-1])
        for done, (before, after) in enumerate(itertools.pairwise(steps), 1):
            bk.matmul(self.v, machine.W, self._x)
            total += machine.hidden.rescale(bk, self._x, Rescaling(machine.hbias, before, after))
            total += (after - before) * self._slope()
            self._step(after)
            if progress is not None:
                progress(done, len(steps) - 1)
        return total

    def _vbias_at(self, beta: float) -> DeviceArray:
        vbias = self._away * beta
        vbias += self._base_vbias
        return vbias

    def _slope(self) -> DeviceArray:
        """Return the derivative by beta of the negative visible energy, without the part that all states share."""
        v, away = self.v, self._away
        return self.bk.matmul(v, away) if away.ndim == 1 else (v * away).sum(axis=1)

    def _energy_of_0(self, beta: float) -> DeviceArray:
        """Return the energy of the visible state 0: what the biases contribute to all energies, besides -v b."""
        zero = self.bk.xp.zeros(self.v.shape, np.float64)
        return self.machine.visible.energy(self.bk, zero, self._vbias_at(beta))

    def _step(self, beta: float) -> None:
        """Take one Gibbs step at this inverse temperature, given the scaled inputs of the hidden units."""
        machine, bk = self.machine, self.bk
        machine.hidden.sample(bk, self._x, self._no_hbias, self.rng, self._h)
        field = bk.matmul(self._h, machine.W.T, self._v_mean)
        field *= beta
        vbias = self._vbias_at(beta).astype(machine.dtype, copy=False)
        machine.visible.sample(bk, field, vbias, self.rng, self.v)


def base_partition(machine: Machine, vbias: DeviceArray) -> DeviceArray:
    """Return log Z of machines without connections and hidden biases, one for each row of visible biases."""
    bk = machine.bk
    hidden = machine.hidden.log_partition(bk, bk.xp.zeros((1, machine.W.shape[1]), vbias.dtype))
    return machine.visible.log_integral(bk, bk.xp.zeros_like(vbias), vbias) + hidden


def base_vbias(weights: Weights) -> Float64Array:
    """Return the visible biases of the base machine: those of the smoothed marginals of the training rows."""
    mean = weights.visible_mean
    base = weights.vbias if mean is None else weights.visible_unit.initial_bias(np.asarray(mean, np.float64))
    return np.asarray(base, np.float64)


def other_base(weights: Weights) -> Float64Array | None:
    """Return the visible biases of a base machine far from the usual one; None where there is none."""
    other = np.asarray(0 * weights.vbias if weights.visible_unit.discrete else weights.vbias, np.float64)
    return None if np.array_equal(other, base_vbias(weights)) else other


def _runs(
    weights: Weights, n_runs: int, bk: Backend, seed: int, base: Float64Array | None = None
) -> tuple[Runs, float]:
    """Return the runs for one machine, from the usual base machine or a given one, and the base machine's log Z."""
    machine = Machine(weights, bk)
    vbias = bk.asarray(base_vbias(weights) if base is None else base)
    log_z = base_partition(machine, vbias.reshape(1, -1))
    rng = bk.rng(stream(seed, "annealing" if base is None else "annealing from another base"))
    return Runs(machine, vbias, n_runs, rng), float(bk.to_numpy(log_z)[0])


def _relative_error(log_weights: Float64Array) -> float:
    """Return the standard error of the mean weight, divided by that mean."""
    w = np.exp(log_weights - log_weights.max())
    return float(w.std(ddof=1) / (w.mean() * math.sqrt(len(w))))


def _checked(found: AISEstimate, log_weights: Float64Array) -> AISEstimate:
    """Return the estimate, or that of runs from another base where it is larger by 3 standard errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeepBeliefWarning)  # few effective runs: this base is poor
        other = _estimate(log_weights, sign=1)
    error = math.hypot(_relative_error(found.log_weights), _relative_error(log_weights))
    if other.log_z <= found.log_z + 3 * error:
        return found
    message = (
        f"annealing missed a mode of the model: log Z is {found.log_z:.2f} from one start and "
        f"{other.log_z:.2f} from another; the larger value is used. Use more betas, or exact_log_z if one side has "
        "few units."
    )
    warnings.warn(DeepBeliefWarning(message, symptom="missed-mode"), stacklevel=3)
    return replace(other, low=min(found.low, other.low), high=max(found.high, other.high), agrees=False)


def _estimate(log_weights: Float64Array, *, sign: int, exact_start: bool = True) -> AISEstimate:
    """Return the estimate from the mean weight, with its interval; ``sign`` is -1 for reverse runs."""
    n = len(log_weights)
    top = float(log_weights.max())
    w = np.exp(log_weights - top)
    mean = float(w.mean())
    error = 3 * float(w.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    ends = [
        math.log(mean - error) if mean > error else -math.inf,
        math.log(mean + error) if error < math.inf else math.inf,
    ]
    low, high = sorted(sign * (top + end) for end in ends)
    effective = float(w.sum() ** 2 / np.square(w).sum())
    if effective < LEAST_EFFECTIVE * n:
        message = (
            f"the effective sample size of {n} annealing runs is {effective:.1f}: a few runs dominate the estimate; "
            "use more betas"
        )
        warnings.warn(DeepBeliefWarning(message, symptom="few-effective-runs"), stacklevel=3)
    return AISEstimate(sign * (top + math.log(mean)), low, high, effective, log_weights, exact_start)

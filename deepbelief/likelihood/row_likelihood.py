"""Log-likelihood of rows under a machine or a stack, with the error bar of log Z."""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np

from deepbelief.backends import Backend
from deepbelief.bounds import check_number
from deepbelief.errors import DataError, DeepBeliefWarning, GreyLevelError, Mention, SettingError, unknown
from deepbelief.likelihood.ais import ais_log_z
from deepbelief.likelihood.bound import N_VECTORS, bound_samples, check_bound
from deepbelief.likelihood.estimate import LogZEstimate
from deepbelief.likelihood.exact import double_machine, enumerable, exact_log_z, weights_of
from deepbelief.likelihood.marginal import is_exact
from deepbelief.likelihood.tempered import ladder_log_z
from deepbelief.sources import OF_DENSITIES, JoinedSource, RowSource, as_source, blocks, check_groups, entered
from deepbelief.stack import Stack, Weights
from deepbelief.typing import Estimator, Float64Array, RowsLike, StrDict
from deepbelief.units import states_of

METHODS = ("auto", "exact", "ais", "ptt")
ROUNDING = 0.01  # of a given log Z, in nats


@dataclass(frozen=True, eq=False)
class LogLikelihood:
    """Log-likelihoods of rows, in nats: of an RBM, or lower bounds on those of a deep belief network.

    Attributes
    ----------
    rows : ndarray of shape (n_rows,)
        By the estimate of log Z.
    low, high : float
        Interval of the mean, from ``high`` and ``low`` of log Z and 3 standard errors of a bound's draws. Both equal
        the mean where nothing is estimated. Quote ``low``.
    log_z : AISEstimate, LadderEstimate or float
        Of the top machine.
    method : {"exact", "ais", "ptt"}
        Method by which log Z was computed.
    n_layers : int
        With more than one layer, the values are lower bounds.
    sampling_error : float
        Standard error of the mean due to the draws of a lower bound; 0 for one layer.
    filled : bool
        Whether missing values were filled in, so that the values are lower bounds.
    """

    rows: Float64Array
    low: float
    high: float
    log_z: LogZEstimate | float
    method: str
    n_layers: int = 1
    sampling_error: float = 0.0
    filled: bool = False
    """Whether missing values enter by a lower bound, not by the exact sum over their states."""

    @property
    def is_bound(self) -> bool:
        """Whether the values are lower bounds."""
        return self.n_layers > 1 or self.filled

    @property
    def mean(self) -> float:
        """Mean over the rows."""
        return float(self.rows.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of the mean over rows, if they are a sample of a larger set."""
        return float(self.rows.std(ddof=1) / np.sqrt(len(self.rows))) if len(self.rows) > 1 else float("nan")

    def __str__(self) -> str:
        """Return the mean with its interval and the method."""
        interval = "" if self.low == self.high else f" ({self.low:.2f} to {self.high:.2f} at 3 s.d.)"
        how = "log Z exact" if self.method == "exact" else str(self.log_z)
        bound = "at least " if self.is_bound else ""
        return f"{bound}{self.mean:.2f} nats per row{interval}, {len(self.rows)} rows; {how}"


def log_likelihood(
    model: Estimator, X: RowsLike, *, method: str = "auto", log_z: LogZEstimate | float | None = None,
    backend: str | Backend = "numpy", n_vectors: int = N_VECTORS, **ais: Any,
) -> LogLikelihood:  # fmt: skip
    """Return the log-likelihood of rows: -F(v) - log Z, or a lower bound on it for a stack of machines.

    Parameters
    ----------
    model : fitted RBM or DBN, Weights or Stack
    X : array-like, CSR matrix or RowSource of shape (n_rows, n_visible)
        In the units of the training rows. Bernoulli units need rows of 0 and 1: grey values have no likelihood. NaN
        is a missing value, which is summed out: exactly with at most 12 Bernoulli hidden units, else by a lower bound.
    method : {"auto", "exact", "ais", "ptt"}, default="auto"
        Method for log Z. ``"auto"`` enumerates if one side has at most 25 Bernoulli units, or as many discrete states
        as 25 Bernoulli units at most; otherwise it anneals. ``"ptt"`` uses a ladder of machines: `ladder_log_z`.
    log_z : AISEstimate, LadderEstimate or float, optional
        Result of an earlier call.
    backend : {"numpy", "cupy"} or Backend
    n_vectors : int, default=20
        Number of draws of the hidden states for a lower bound; the draws are the same for all rows and calls.
    **ais
        Passed on to `ais_log_z`: ``n_runs``, ``betas``, ``random_state``, ``progress``; or to `ladder_log_z`:
        ``n_runs``, ``n_sweeps``, ``random_state``.

    Returns
    -------
    LogLikelihood
        Densities of Gaussian visible units are in the units of the rows.

    Raises
    ------
    DataError
        If rows of Bernoulli units are not 0 or 1: binarise them first, and report how.
    SettingError
        If the units have no likelihood, the layers are fine-tuned, or the method cannot be used.

    References
    ----------
    Salakhutdinov and Murray, "On the quantitative analysis of deep belief networks", ICML 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import Weights
    >>> found = log_likelihood(Weights(np.zeros((3, 2)), np.zeros(3), np.zeros(2)), np.eye(3))
    >>> found.rows.round(4).tolist()  # -3 ln 2
    [-2.0794, -2.0794, -2.0794]
    """
    stack = _stack_of(model)
    top = weights_of(stack.layers[-1])
    if method not in METHODS:
        raise SettingError(unknown("method", method, METHODS))
    if not isinstance(n_vectors, Integral) or isinstance(n_vectors, bool) or n_vectors < 1:
        raise SettingError(f"n_vectors must be an integer of at least 1, got {n_vectors!r}")
    source = as_source(X)
    check_rows(stack, source)
    given = log_z is not None
    if given and not isinstance(log_z, LogZEstimate):
        check_number("log_z", log_z, low=-math.inf, open_low=True)
    if log_z is None:
        log_z = _find_log_z(top, method, backend, ais)
    draws = unnormalised(stack, source, n_vectors=int(n_vectors), backend=backend)
    if (given or isinstance(log_z, LogZEstimate)) and len(stack) == 1 and top.visible_unit.discrete:
        log_z = _at_least(log_z, source, draws[:, 0])
    value = log_z.log_z if isinstance(log_z, LogZEstimate) else float(log_z)
    low, high = (log_z.high, log_z.low) if isinstance(log_z, LogZEstimate) else (value, value)
    how = log_z.method if isinstance(log_z, LogZEstimate) else "exact"
    rows = draws.mean(axis=1)
    means = draws.mean(axis=0)
    error = float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else 0.0
    mean = float(rows.mean())
    return LogLikelihood(
        rows - value, mean - low - 3 * error, mean - high + 3 * error, log_z, how, len(stack), error,
        _filled(stack, source),
    )  # fmt: skip


def _find_log_z(weights: Weights, method: str, backend: str | Backend, options: StrDict) -> LogZEstimate | float:
    """Return log Z by a method of `METHODS`."""
    if method == "exact" or (method == "auto" and enumerable(weights)):
        return exact_log_z(weights, backend=backend)
    if method != "ptt":
        return ais_log_z(weights, backend=backend, **options)
    if options.get("betas") is not None:
        raise SettingError(
            "betas is for ", Mention("method", "ais"), ": ", Mention("method", "ptt"), " chooses its own"
        )
    options = {name: value for name, value in options.items() if name not in ("betas", "progress")}
    return ladder_log_z(weights, backend=backend, **options)


def labelled_log_likelihood(weights: Weights, source: RowSource, **options: Any) -> LogLikelihood:
    """Return the log-likelihood of rows under a machine that also has label units: the sum over all labels.

    Parameters
    ----------
    weights : Weights
    source : RowSource
        Without the labels.
    **options
        Of `log_likelihood`.
    """
    n_labels = weights.n_visible - source.shape[1]
    found: LogLikelihood | None = None
    for label in np.eye(n_labels, dtype=np.uint8):
        labels = as_source(np.broadcast_to(label, (source.shape[0], n_labels)))
        more = {} if found is None else {"log_z": found.log_z}
        own = log_likelihood(weights, JoinedSource(source, labels), **(options | more))
        found = own if found is None else replace(found, rows=np.logaddexp(found.rows, own.rows), log_z=own.log_z)
    assert found is not None
    z = found.log_z
    value, least, most = (z, z, z) if isinstance(z, float) else (z.log_z, z.low, z.high)
    mean = float(found.rows.mean())
    return replace(found, low=mean + value - most, high=mean + value - least)


def _filled(stack: Stack, source: RowSource) -> bool:
    """Return whether rows have missing values that are not summed out."""
    machine = double_machine(stack.layers[0])
    return not is_exact(machine) and any(np.isnan(block).any() for block in blocks(source))


def _at_least(log_z: LogZEstimate | float, source: RowSource, log_p: Float64Array) -> LogZEstimate | float:
    """Return log Z, or the contribution of the distinct rows to it where that is larger."""
    value, high = (log_z.log_z, log_z.high) if isinstance(log_z, LogZEstimate) else (log_z, log_z + ROUNDING)
    if np.logaddexp.reduce(log_p) <= high:
        return log_z
    different: dict[bytes, float] = {}
    start = 0
    for block in blocks(source):
        bits, whole = np.packbits(np.asarray(block) != 0, axis=1), ~np.isnan(block).any(axis=1)
        different.update((bits[i].tobytes(), log_p[start + i]) for i in np.flatnonzero(whole))
        start += len(bits)
    if not different:
        return log_z
    known = float(np.logaddexp.reduce(list(different.values())))
    if known <= high:
        return log_z
    what = "the estimate" if isinstance(log_z, LogZEstimate) else "the given log Z"
    message = (
        f"{what} missed a mode of the model: with log Z = {value:.2f}, these {len(different)} distinct "
        f"rows have a total probability above 1; log Z is at least {known:.2f}, and that value is used"
    )
    warnings.warn(DeepBeliefWarning(message, symptom="missed-mode"), stacklevel=3)
    if not isinstance(log_z, LogZEstimate):
        return known
    return replace(log_z, log_z=known, high=known, agrees=False)


def _stack_of(model: Estimator) -> Stack:
    """Return the layers of a machine or a stack, fitted or bare; refuse layers without a likelihood."""
    stack = getattr(model, "stack_", model)
    if not isinstance(stack, Stack):
        stack = Stack((weights_of(model),))
    elif len(stack) == 1 and not stack.tuned:
        weights_of(stack.layers[0])
    check_bound(stack)
    return stack


def check_rows(stack: Stack, source: RowSource) -> None:
    """Refuse rows that have no likelihood under the first layer's units.

    Raises
    ------
    DataError
    """
    weights = stack.layers[0]
    if source.shape[1] != weights.n_visible:
        raise DataError(f"X has {source.shape[1]} features, the model has {weights.n_visible}")
    if not weights.visible_unit.discrete:
        return
    start, (low, high) = 0, states_of(weights.visible_unit, weights.n_visible)
    for block in blocks(source):
        v = weights.enter(block)
        wrong = np.argwhere((v != low) & (v != high) & ~np.isnan(v))
        if len(wrong):
            row, column = wrong[0]
            raise GreyLevelError(
                f"row {start + row}, column {column} is {block[row, column]:g}: a likelihood needs rows of "
                f"{low[column]:g} and {high[column]:g}; "
                "binarise them with deepbelief.sources.binarize_rows (thresholded or sampled once), and report which",
                row=int(start + row), column=int(column), value=float(block[row, column]),
            )  # fmt: skip
        start += len(block)


def unnormalised(
    stack: Stack, source: RowSource, *, n_vectors: int = N_VECTORS, backend: str | Backend = "numpy"
) -> Float64Array:
    """Return draws of the log-likelihood of rows plus log Z, in the units of the rows: see `bound_samples`.

    Returns
    -------
    ndarray of shape (n_rows, n_vectors), float64
        One column for a single layer.
    """
    parts = [bound_samples(stack, v, n_vectors=n_vectors, backend=backend) for v in _entering(stack.layers[0], source)]
    return np.concatenate(parts) - stack.layers[0].log_volume


def _entering(weights: Weights, source: RowSource) -> Iterator[Float64Array]:
    """Iterate over blocks of rows as they enter the first machine, in float64."""
    start = 0
    for block in blocks(source):
        rows: Float64Array = entered(np.asarray(block, np.float64), weights, OF_DENSITIES, start)  # type: ignore[assignment]
        check_groups(rows, weights.visible_unit, start=start)
        start += len(rows)
        yield rows

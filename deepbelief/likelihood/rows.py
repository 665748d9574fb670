"""The log-likelihood of rows, with the error bar that log Z brings."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbelief.errors import DataError, SettingError, unknown
from deepbelief.likelihood.ais import AISEstimate, ais_log_z
from deepbelief.likelihood.exact import double_machine, enumerable, exact_log_z, weights_of
from deepbelief.sources import RowSource, as_source, blocks
from deepbelief.stack import Weights

Array = NDArray[np.float64]

METHODS = ("auto", "exact", "ais")


@dataclass(frozen=True, eq=False)
class LogLikelihood:
    """Log-likelihoods of rows under an RBM, in nats.

    Attributes
    ----------
    rows : ndarray of shape (n_rows,)
        By the estimate of log Z.
    low, high : float
        The mean by log Z's ``high`` and ``low``; equal to the mean where log Z is exact. Quote ``low``.
    log_z : AISEstimate or float
    method : {"exact", "ais"}
    """

    rows: Array
    low: float
    high: float
    log_z: AISEstimate | float
    method: str

    @property
    def mean(self) -> float:
        """Mean over the rows."""
        return float(self.rows.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of the mean over rows, as draws of a larger set."""
        return float(self.rows.std(ddof=1) / np.sqrt(len(self.rows))) if len(self.rows) > 1 else float("nan")

    def __str__(self) -> str:
        """Return the mean with its interval and the method."""
        interval = "" if self.method == "exact" else f" ({self.low:.2f} to {self.high:.2f} at 3 s.d. of Z)"
        how = "exact" if self.method == "exact" else str(self.log_z)
        return f"{self.mean:.2f} nats per row{interval}, {len(self.rows)} rows; {how}"


def log_likelihood(
    model: Any, X: Any, *, method: str = "auto", log_z: AISEstimate | float | None = None, **ais: Any
) -> LogLikelihood:
    """Return the log-likelihood of rows: -F(v) - log Z.

    Parameters
    ----------
    model : fitted RBM or Weights
    X : array-like, CSR matrix or RowSource of shape (n_rows, n_visible)
        In the units of the training rows. Bernoulli units need rows of 0 and 1: grey values have no likelihood.
    method : {"auto", "exact", "ais"}, default="auto"
        How log Z is found; ``"auto"`` enumerates where one side has at most 25 Bernoulli units.
    log_z : AISEstimate or float, optional
        What an earlier call found.
    **ais
        Passed on to `ais_log_z`: ``n_runs``, ``betas``, ``backend``, ``random_state``.

    Returns
    -------
    LogLikelihood
        Densities of Gaussian visible units are in the units of the rows.

    Raises
    ------
    DataError
        If rows of Bernoulli units are not 0 or 1: binarise them first, and say how.
    SettingError
        If the units have no likelihood, or the method cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import Weights
    >>> found = log_likelihood(Weights(np.zeros((3, 2)), np.zeros(3), np.zeros(2)), np.eye(3))
    >>> found.rows.round(4).tolist()  # -3 ln 2
    [-2.0794, -2.0794, -2.0794]
    """
    weights = weights_of(model)
    if method not in METHODS:
        raise SettingError(unknown("method", method, METHODS))
    if log_z is None:
        exact = method == "exact" or (method == "auto" and enumerable(weights))
        log_z = exact_log_z(weights) if exact else ais_log_z(weights, **ais)
    known = isinstance(log_z, AISEstimate)
    value = log_z.log_z if isinstance(log_z, AISEstimate) else float(log_z)
    unnormalised = _log_p(weights, as_source(X))
    low, high = (log_z.high, log_z.low) if isinstance(log_z, AISEstimate) else (value, value)
    mean = float(unnormalised.mean())
    return LogLikelihood(unnormalised - value, mean - low, mean - high, log_z, "ais" if known else "exact")


def _log_p(weights: Weights, source: RowSource) -> Array:
    """Return -F of rows, less what scaling does to a density."""
    if source.shape[1] != weights.n_visible:
        raise DataError(f"X has {source.shape[1]} features, the model has {weights.n_visible}")
    machine, start = double_machine(weights), 0
    found = np.empty(source.shape[0])
    for block in blocks(source):
        v = np.asarray(block, dtype=np.float64)
        if weights.visible != "gaussian":
            wrong = np.argwhere((v != 0) & (v != 1))
            if len(wrong):
                row, column = wrong[0]
                raise DataError(
                    f"row {start + row}, column {column} is {v[row, column]:g}: a likelihood needs rows of 0 and 1; "
                    "threshold them, or sample them once, and say which"
                )
        shift = 0.0
        if weights.mean is not None and weights.scale is not None:
            v = (v - weights.mean) / weights.scale
            shift = float(np.log(weights.scale.astype(np.float64)).sum())
        found[start : start + len(v)] = -machine.free_energy(v) - shift
        start += len(v)
    return found

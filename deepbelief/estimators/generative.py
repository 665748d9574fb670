"""Sampling and imputation with a restricted Boltzmann machine."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from deepbelief.backends import Backend
from deepbelief.errors import DataError, SettingError, unknown
from deepbelief.estimators.base import check_backend, check_number, is_source, on_device
from deepbelief.estimators.streams import next_stream
from deepbelief.sampling import fill_in, sample
from deepbelief.sources import OF_DENSITIES, check_groups, check_values
from deepbelief.stack import Stack, Weights
from deepbelief.training import BLOCK_ROWS

Array = np.ndarray[Any, np.dtype[Any]]

IMPUTATIONS = ("gibbs", "mean_field")


class GenerativeMixin:
    """Sampling and imputation, for an estimator with ``weights_`` and ``h_samples_``."""

    weights_: Weights
    h_samples_: Array
    backend: str | Backend

    def sample(
        self, n_samples: int = 1, *, n_steps: int = 1000, temperature: float = 1.0, clamp: Any = None,
        random_state: Any = None,
    ) -> Array:  # fmt: skip
        """Draw rows from the model by Gibbs sampling.

        Parameters
        ----------
        n_samples : int, default=1
        n_steps : int, default=1000
            Gibbs steps from hidden states of the last negative phase.
        temperature : float, default=1.0
            The energy is divided by it: below 1 rows are more typical, above 1 more varied. Bernoulli and softmax
            units only.
        clamp : array-like of shape (n_features,) or (n_samples, n_features), optional
            Clamped values, in the units of the data; NaN: free.
        random_state : int, Generator or None
            None: continue with the model's own stream, so that two calls differ.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Means of the visible units given the last hidden states; what is held is as it was given.

        Raises
        ------
        DataError, SettingError

        Examples
        --------
        >>> import numpy as np
        >>> from deepbelief import RBM
        >>> X = np.repeat([[0, 0, 1, 1], [1, 1, 0, 0]], 50, axis=0)
        >>> rbm = RBM(4, random_state=0).fit(X)
        >>> rbm.sample(3, clamp=[1, np.nan, np.nan, np.nan], random_state=0).round().tolist()
        [[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]
        """
        check_is_fitted(self, "weights_")
        check_number("n_samples", n_samples, low=1, integer=True)
        check_number("n_steps", n_steps, low=1, integer=True)
        check_number("temperature", temperature, low=0, open_low=True)
        bk, weights = check_backend(self.backend, None), self.weights_
        held = None if clamp is None else _clamped(clamp, n_samples, weights)
        rng = bk.rng(next_stream(self, "sample", random_state))
        states = np.resize(self.h_samples_, (n_samples, weights.n_hidden))
        inside = None if held is None else weights.enter(held)
        rows = sample(Stack((weights,)), states, n_steps, bk, rng, temperature=float(temperature), clamp=inside)
        return rows if held is None else np.where(np.isnan(held), rows, held).astype(rows.dtype)

    def impute(
        self, X: Any, *, method: str = "gibbs", n_steps: int = 100, burn_in: int = 20, random_state: Any = None
    ) -> Any:
        """Fill in what is missing in rows with its mean given the rest of the row.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            NaN: missing.
        method : {"gibbs", "mean_field"}, default="gibbs"
            ``"gibbs"`` runs a chain for each row with what is known held and averages E[v | h] over it.
            ``"mean_field"`` iterates the means of both sides: deterministic and faster, and less exact where several
            answers fit a row.
        n_steps : int, default=100
            Gibbs steps that are averaged, or the most iterations of the mean field.
        burn_in : int, default=20
            Gibbs steps before the average.
        random_state : int, Generator or None
            None: continue with the model's own stream, so that two calls differ.

        Returns
        -------
        ndarray of shape (n_rows, n_features)
            What was known is as it was.

        Raises
        ------
        DataError
            If a row has no value at all, or a softmax group only a part of its values.
        SettingError

        Examples
        --------
        >>> import numpy as np
        >>> from deepbelief import RBM
        >>> X = np.repeat([[0, 0, 1, 1], [1, 1, 0, 0]], 50, axis=0)
        >>> rbm = RBM(4, random_state=0).fit(X)
        >>> rbm.impute([[1, np.nan, 0, np.nan]], random_state=0).round().tolist()
        [[1.0, 1.0, 0.0, 0.0]]
        """
        check_is_fitted(self, "weights_")
        if method not in IMPUTATIONS:
            raise SettingError(unknown("method", method, IMPUTATIONS))
        check_number("n_steps", n_steps, low=1, integer=True)
        check_number("burn_in", burn_in, low=0, integer=True)
        bk = check_backend(self.backend, X)
        rows = _with_gaps(self, X, bk)
        rng = bk.rng(next_stream(self, "impute", random_state)) if method == "gibbs" else None
        found = rows.copy()
        for start in range(0, len(rows), BLOCK_ROWS):
            block = found[start : start + BLOCK_ROWS]
            missing = np.isnan(block)
            filled = fill_in(
                self.weights_, self.weights_.enter(block), bk, rng, n_steps=int(n_steps), burn_in=int(burn_in)
            )
            block[missing] = self.weights_.leave(filled)[missing]
        return on_device(found, X, bk)


def _clamped(clamp: Any, n_samples: int, weights: Weights) -> Array:
    """Return what is held for each sample."""
    held = np.asarray(clamp, dtype=weights.W.dtype)
    if held.shape not in {(weights.n_visible,), (n_samples, weights.n_visible)} or np.isinf(held).any():
        raise DataError(
            f"clamp must be {weights.n_visible} numbers, or {n_samples} rows of them, NaN where a value is free; got "
            f"{'infinite values' if np.isinf(held).any() else f'shape {held.shape}'}"
        )
    held = np.broadcast_to(held, (n_samples, weights.n_visible))
    check_groups(held, weights.visible_unit, "clamp")
    check_values(held, weights)
    return held


def _with_gaps(estimator: Any, X: Any, bk: Backend) -> Array:
    """Return X as an array in which NaN may be, after refusing rows that cannot be filled in."""
    if is_source(X):
        X = X.take(slice(0, X.shape[0]))
    if bk.owns(X) and not isinstance(X, np.ndarray):
        X = bk.to_numpy(X)
    rows: Array = validate_data(
        estimator, X, reset=False, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan"
    )
    empty = np.flatnonzero(np.isnan(rows).all(axis=1))
    if len(empty):
        raise DataError(f"row {empty[0]} has no value at all: there is nothing to fill it in from; leave it out")
    check_groups(rows, estimator.weights_.visible_unit)
    check_values(rows, estimator.weights_, OF_DENSITIES)
    return rows

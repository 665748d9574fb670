"""How well rows fit a restricted Boltzmann machine: what an RBM estimator says of it."""

from typing import Any

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from deepbelief.backends import Backend
from deepbelief.estimators.base import check_backend, rows_to_use
from deepbelief.likelihood import LogLikelihood, log_likelihood, pseudo_log_likelihood
from deepbelief.machine import Machine
from deepbelief.pretraining import scaled
from deepbelief.sources import RowSource, blocks
from deepbelief.stack import Weights
from deepbelief.training import BLOCK_ROWS, Rows
from deepbelief.units import get_unit

Array = np.ndarray[Any, np.dtype[Any]]


def _tractable(rbm: Any) -> bool:
    hidden = rbm.weights_.hidden if hasattr(rbm, "weights_") else rbm.hidden
    return get_unit(hidden).tractable


def _has_pseudo_likelihood(rbm: Any) -> bool:
    if hasattr(rbm, "weights_"):
        return bool(rbm.weights_.has_pseudo_likelihood)
    return get_unit(rbm.hidden).enumerable and (rbm.visible == "auto" or get_unit(rbm.visible).has_pseudo_likelihood)


class ScoredMixin:
    """Scores of rows, for an estimator with ``weights_``."""

    weights_: Weights
    backend: str | Backend

    def _rows_of(self, X: Any) -> tuple[RowSource, Backend]:
        check_is_fitted(self, "weights_")
        bk = check_backend(self.backend, X)
        return rows_to_use(self, X, bk), bk

    @available_if(_tractable)  # type: ignore[untyped-decorator]
    def free_energy(self, X: Any) -> Array:
        """Return the free energy F(v) = -log sum_h exp(-E(v, h)) of each row, in nats.

        Levels are comparable between rows of one model only.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows,)
        """
        source, bk = self._rows_of(X)
        machine = Machine(self.weights_, bk)
        rows = Rows(scaled(source, self.weights_), bk, machine.dtype)
        parts = [bk.to_numpy(machine.free_energy(block)) for _, _, block in rows.blocks(BLOCK_ROWS)]
        return np.concatenate(parts)

    @available_if(_tractable)  # type: ignore[untyped-decorator]
    def score_samples(self, X: Any, n_bits: int | None = None) -> Array:
        """Return the pseudo-log-likelihood of each row, in nats, summed over visible units.

        It is the expectation of scikit-learn's random one-bit number, exact and deterministic. Gaussian visible
        units have none: there it is -F(v), comparable between rows of one model only.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
        n_bits : int, optional
            Use only so many visible units, the same for all rows, and scale up.

        Returns
        -------
        ndarray of shape (n_rows,)
        """
        if not _has_pseudo_likelihood(self):
            return -self.free_energy(X)  # type: ignore[no-any-return]
        source, bk = self._rows_of(X)
        parts = [pseudo_log_likelihood(self.weights_, block, n_bits=n_bits, backend=bk) for block in blocks(source)]
        return np.concatenate(parts)

    @available_if(_has_pseudo_likelihood)  # type: ignore[untyped-decorator]
    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean pseudo-log-likelihood of the rows, comparable between models.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
        y : ignored

        Returns
        -------
        float
        """
        return float(np.mean(self.score_samples(X)))

    def log_likelihood(self, X: Any, *, method: str = "auto", **ais: Any) -> LogLikelihood:
        """Return the log-likelihood of the rows, with the error that log Z brings.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
            0 and 1 for Bernoulli visible units.
        method : {"auto", "exact", "ais"}, default="auto"
            How log Z is found; ``"auto"`` enumerates where one side has at most 25 Bernoulli units.
        **ais
            Passed on to `deepbelief.likelihood.ais_log_z`; ``backend`` is this estimator's.

        Returns
        -------
        LogLikelihood
            ``mean``, ``low``, ``high`` in nats per row, and the ``rows``.

        Raises
        ------
        DataError, SettingError
        """
        source, bk = self._rows_of(X)
        return log_likelihood(self.weights_, source, method=method, **({"backend": bk} | ais))

"""Scores of rows under a restricted Boltzmann machine."""

from typing import Any

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from deepbelief.backends import Backend
from deepbelief.estimators.base import check_backend, rows_to_use
from deepbelief.estimators.reconstruction import LayerReconstructionMixin, explained_variance
from deepbelief.estimators.sample_weights import mean_of, present_rows, weighted
from deepbelief.likelihood import LogLikelihood, log_likelihood, pseudo_log_likelihood
from deepbelief.likelihood.marginal import marginal_log_p
from deepbelief.machine import Machine
from deepbelief.sources import OF_DENSITIES, RowSource, entering
from deepbelief.stack import Stack, Weights
from deepbelief.training import BLOCK_ROWS, Rows
from deepbelief.typing import Array, Estimator, RowsLike, TargetsLike, WeightsLike
from deepbelief.units import get_unit


def _tractable(rbm: Estimator) -> bool:
    hidden = rbm.weights_.hidden if hasattr(rbm, "weights_") else rbm.hidden
    return get_unit(hidden).tractable


class ScoredMixin(LayerReconstructionMixin):
    """Scores of rows, for an estimator with ``weights_``."""

    weights_: Weights
    backend: str | Backend

    def _generative_stack(self) -> Stack:
        return Stack((self.weights_,))

    def _rows_of(self, X: RowsLike, *, fill: bool = True) -> tuple[RowSource, Backend]:
        if not hasattr(self, "weights_"):  # the function makes the estimator's tags first
            check_is_fitted(self, "weights_")
        bk = check_backend(self.backend, X)
        return rows_to_use(self, X, bk, fill=fill), bk

    @available_if(_tractable)  # type: ignore[untyped-decorator]
    def free_energy(self, X: RowsLike) -> Array:
        """Return the free energy F(v) = -log sum_h exp(-E(v, h)) of each row, in nats.

        Values of different models are not comparable. Missing values (NaN) are also summed out: exactly with at most 12
        Bernoulli hidden units, otherwise by a mean-field upper bound.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows,)
        """
        source, bk = self._rows_of(X, fill=False)
        machine = Machine(self.weights_, bk, fixed=True)
        rows = Rows(entering(source, self.weights_, OF_DENSITIES), bk, machine.dtype)
        parts = [bk.to_numpy(-marginal_log_p(machine, block)) for _, _, block in rows.blocks(BLOCK_ROWS)]
        return np.concatenate(parts)

    @available_if(_tractable)  # type: ignore[untyped-decorator]
    def score_samples(self, X: RowsLike, n_bits: int | None = None) -> Array:
        """Return the pseudo-log-likelihood of each row, in nats, summed over visible units.

        It is the sum over units i of ``v_i log p_i + (1 - v_i) log(1 - p_i)``, where ``p_i`` is the probability that
        unit i is on given the values of all other units, including grey ones; a softmax group is one unit. On rows of 0
        and 1 it is exactly the expectation of the random number that ``BernoulliRBM.score_samples`` returns. On grey
        rows it is not: scikit-learn compares the free energy of a row with that after replacing ``v_i`` by ``1 - v_i``.
        Missing values (NaN) are left out of the sum; for the other units they are replaced by their mean field.

        Machines without a pseudo-likelihood (Gaussian visible or hidden units) return -F(v) instead, which is
        comparable only between rows of the same model.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
        n_bits : int, optional
            Number of visible units to score, the same for all rows; the sum is scaled up.

        Returns
        -------
        ndarray of shape (n_rows,)
        """
        if not self.weights_.has_pseudo_likelihood:
            return -self.free_energy(X)  # type: ignore[no-any-return]
        source, bk = self._rows_of(X, fill=False)
        return pseudo_log_likelihood(self.weights_, source, n_bits=n_bits, backend=bk)

    def score(self, X: RowsLike, y: TargetsLike = None, sample_weight: WeightsLike = None) -> float:
        """Return a measure of fit that is comparable between models with the same types of units; larger is better.

        With Bernoulli or softmax visible units and Bernoulli hidden units it is the mean of `score_samples`, in nats.
        Other machines have no pseudo-likelihood. Their score is the share of the rows' variance that is explained by
        reconstructions through the means of hidden and visible units: at most 1, and 0 for the column means. Gaussian
        columns are measured in standard deviations. To search by the likelihood of a machine with at most 25 Bernoulli
        hidden units instead, pass ``scoring=lambda rbm, X, y=None: rbm.log_likelihood(X).mean``.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
        y : ignored
        sample_weight : array-like of shape (n_rows,), optional

        Returns
        -------
        float

        Examples
        --------
        >>> from sklearn.datasets import load_wine
        >>> from deepbelief import RBM
        >>> X = load_wine().data
        >>> 0 < RBM(16, random_state=0).fit(X[::2]).score(X[1::2]) < 1
        True
        """
        if self.weights_.has_pseudo_likelihood:
            return mean_of(self.score_samples(X), sample_weight)
        X, _, weights = present_rows(X, sample_weight)
        source, bk = self._rows_of(X)
        back, by_column = self._reconstructions(source, bk), self.weights_.visible_unit.standardises
        return explained_variance(weighted(source, weights), back, by_column=by_column)

    def log_likelihood(self, X: RowsLike, *, method: str = "auto", **ais: Any) -> LogLikelihood:
        """Return the log-likelihood of the rows, with the uncertainty of log Z.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
            0 and 1 for Bernoulli visible units.
        method : {"auto", "exact", "ais", "ptt"}, default="auto"
            Method of computing log Z; ``"auto"`` enumerates if one side has at most 25 Bernoulli units.
        **ais
            Passed to `deepbelief.likelihood.ais_log_z`, with the ``backend`` of this estimator.

        Returns
        -------
        LogLikelihood
            ``mean``, ``low``, ``high`` in nats per row, and the ``rows``.

        Raises
        ------
        DataError, SettingError
        """
        source, bk = self._rows_of(X, fill=False)
        return log_likelihood(self.weights_, source, method=method, **({"backend": bk} | ais))

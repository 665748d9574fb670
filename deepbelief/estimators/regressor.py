"""Deep belief network regressor: a pretrained stack with a linear head, fine-tuned."""

from dataclasses import dataclass, field, replace

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from deepbelief.errors import DataError, FileFormatError
from deepbelief.estimators.base import check_backend
from deepbelief.estimators.documented import documented
from deepbelief.estimators.fitted import FittedState
from deepbelief.estimators.heads import Values
from deepbelief.estimators.labels import as_labels, row_weights
from deepbelief.estimators.supervised import SupervisedEstimator
from deepbelief.estimators.targets import as_numbers, value_head, value_loss
from deepbelief.finetuning import FineTuneSettings, TrainingSet
from deepbelief.hyperparameters import EXECUTION, FINE_TUNING, SUPERVISED_PRETRAINING
from deepbelief.optimizers import Optimizer
from deepbelief.sources import RowSource, SubsetSource
from deepbelief.typing import Array, RowsLike, TargetsLike, WeightsLike


@documented(FINE_TUNING, SUPERVISED_PRETRAINING, EXECUTION)
@dataclass(eq=False, repr=False, kw_only=True)
class DBNRegressor(RegressorMixin, SupervisedEstimator):
    """Deep belief network for regression: pretrained without targets, fine-tuned with a linear head.

    Targets are standardised inside the model, so neither their units nor their origin matter; predictions are in the
    units of y. The squared error is summed over the columns of y. Missing targets (None, NaN, ``pandas.NA``) are
    ignored; rows without any target are used in pretraining only.

    Parameters
    ----------
    loss : {"auto", "squared_error"} or Loss, default="auto"
        ``"auto"`` is the squared error. For classes and labels use `DBNClassifier`.
    solver : {"sgd", "adagrad", "rmsprop", "adam"} or Optimizer, default="adam"
        Adam is insensitive to the scale of the squared error, which grows with the width of the top layer.
    learning_rate_init : float or "auto", default="auto"
        ``"auto"``: 0.003 for Adam, 0.001 for RMSProp, 0.01 for AdaGrad; for SGD 1 / (number of units in the top
        layer), at most 0.03, and less if the momentum exceeds 0.9.
    early_stopping : bool, default=False
        Hold out a share of the rows, stop when their squared error, in variances of the targets, has not fallen by
        more than ``tol`` for ``n_iter_no_change`` epochs, and keep the best weights.
    warm_start : bool, default=False
        `fit` continues from the fine-tuned weights, in the units that the first `fit` standardised to.

    Attributes
    ----------
    n_unlabeled_ : int
        Number of rows without any target.
    target_mean_, target_scale_ : ndarray of shape (n_outputs,)
        Mean and standard deviation of the columns of y in `fit`, with the weights of the rows, in float64; 1 is the
        scale of a constant column.
    stack_ : Stack
        The fine-tuned layers; ``stack_.tuned`` is True.
    pretrained_stack_ : Stack
        The layers before fine-tuning.
    coefs_, intercepts_ : list of ndarray
        Weights and biases of each layer, with the head last.
    input_mean_, input_scale_ : ndarray of shape (n_features,)
        Rows enter the first layer as ``(X - input_mean_) / input_scale_``, which the weights leave out.
    resolved_ : dict
        Value of each setting that was ``"auto"``, and the reason for it; settings of the template are named
        ``rbm__NAME``.
    history_ : list of dict
        Fine-tuning epochs also have ``rmse`` and, with early stopping, ``validation_rmse``: in the unit of y if it has
        one column, otherwise over all columns in standard deviations.
    loss_curve_ : list of float
        Mean training loss of each fine-tuning epoch, in variances of the targets.
    n_iter_ : int
        Fine-tuning epochs done.
    n_features_in_ : int

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from deepbelief import DBNRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> regressor = DBNRegressor((32,), max_iter=30, random_state=0).fit(X, y)
    >>> regressor.score(X, y) > 0.4  # R2
    True
    """

    solver: str | Optimizer = "adam"

    target_mean_: Array = field(init=False)
    target_scale_: Array = field(init=False)
    _head: Values = field(init=False)

    def _settings(self) -> FineTuneSettings:
        value_loss(self.loss)
        return super()._settings()

    def _suited(self, settings: FineTuneSettings, n_top: int) -> FineTuneSettings:
        # The curvature of the squared error along the head is twice the sum of the top layer's squares.
        return replace(settings, rate=min(0.03, 1 / n_top))

    def _read(self, source: RowSource, y: Array, sample_weight: WeightsLike, again: bool) -> TrainingSet:
        """Return the rows with a target, their standardised targets, and their weights."""
        y = as_numbers(y)
        known = np.asarray(~np.isnan(y.reshape(len(y), -1)).all(axis=1))
        if not known.any():
            raise DataError("no row has a target: fine-tuning needs some; use DBN to pretrain only")
        weights = row_weights(y, known, sample_weight, None)
        y = y[known]
        if again:
            n_columns, n_outputs = 1 if y.ndim == 1 else y.shape[1], self._head.n_outputs
            if n_columns != n_outputs:
                raise DataError(f"warm_start continues with {n_outputs} target(s), y has {n_columns}")
            n_present = None if not np.isnan(y).any() else float((~np.isnan(y)).sum(axis=1).mean())
            self._keep(replace(self._head, own_loss=value_loss(self.loss), n_present=n_present))
        else:
            self._keep(value_head(y, self.loss, weights))
        self.n_unlabeled_ = int((~known).sum())
        rows = source if known.all() else SubsetSource(source, np.flatnonzero(known))
        return TrainingSet(rows, self._head.encode(y), weights)

    def _get_state(self) -> FittedState:
        state = super()._get_state()
        own = {"target_mean": self.target_mean_, "target_scale": self.target_scale_}
        values = {**state.values, "n_unlabeled": self.n_unlabeled_}
        return replace(state, arrays={**state.arrays, **own}, values=values)

    def _set_state(self, state: FittedState) -> None:
        mean = state.shaped("target_mean", (None,), np.float64)
        scale = state.shaped("target_scale", mean.shape, np.float64)
        if not (scale > 0).all():
            raise FileFormatError("the file's scale of the targets must be > 0")
        self._keep(Values(mean, scale, value_loss(self.loss)))
        self.n_unlabeled_ = state.count("n_unlabeled", 0)
        self._set_network(state, (*state.stack.sizes, len(mean)))

    def score(self, X: RowsLike, y: TargetsLike, sample_weight: WeightsLike = None) -> float:
        """Return R2, averaged over the columns of y; missing targets are left out.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
        y : array-like of shape (n_rows,) or (n_rows, n_outputs)
        sample_weight : array-like of shape (n_rows,), optional

        Returns
        -------
        float

        Raises
        ------
        DataError
            If a column has no target.
        """
        predicted = check_backend(self.backend, X).to_numpy(self.predict(X)).reshape(-1, self._head.n_outputs)
        truth = as_numbers(np.asarray(as_labels(y))).reshape(len(predicted), -1)
        if truth.shape != predicted.shape:
            raise DataError(f"y has shape {truth.shape}, the predictions have {predicted.shape}")
        present = ~np.isnan(truth)
        if present.all():
            return float(r2_score(truth, predicted, sample_weight=sample_weight))
        found = []
        for k, known in enumerate(present.T):
            if not known.any():
                raise DataError(f"column {k} of y (from 0) has no target to compare predictions with: leave it out")
            weights = None if sample_weight is None else np.asarray(sample_weight)[known]
            found.append(r2_score(truth[known, k], predicted[known, k], sample_weight=weights))
        return float(np.mean(found))

    def _keep(self, head: Values) -> None:
        self._head, self.target_mean_, self.target_scale_ = head, head.mean, head.scale

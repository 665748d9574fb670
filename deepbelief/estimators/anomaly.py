"""Outlier detection by density models and reconstructions."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from deepbelief.backends import get_backend
from deepbelief.bounds import check_number
from deepbelief.errors import DataError, FileFormatError, SettingError
from deepbelief.estimators.anomaly_columns import DetectorColumns
from deepbelief.estimators.constructors import DocumentationLinkMixin, RunParameters
from deepbelief.estimators.dbn import DBN
from deepbelief.estimators.fitted import FittedState
from deepbelief.estimators.rbm import RBM
from deepbelief.estimators.sample_weights import present_rows
from deepbelief.estimators.surprise import by_column, column_surprise
from deepbelief.estimators.tables import check_names, warn_dropped
from deepbelief.fields import Fields
from deepbelief.likelihood import conditional_log_likelihoods
from deepbelief.seeds import run_seed, stream
from deepbelief.sources import is_source, quantile
from deepbelief.sources.frames import as_frame, is_table
from deepbelief.sources.schema import Schema
from deepbelief.typing import Array, Estimator, RowsLike, StrDict, TargetsLike, WeightsLike

BATCH = 100
DENSITY_UPDATES = 1000
GAUSSIAN_UPDATES = 3000
RECONSTRUCTION_UPDATES = 2000
DENSITY_UNITS = 8
GAUSSIAN_UNITS = 32
RECONSTRUCTION_UNITS = 64
RECONSTRUCTIONS = 3  # networks whose errors are averaged
KEPT_SHARE = 0.9  # share of the training rows to which models are fitted a second time
LEAST_ERROR = 0.01  # lower limit of the mean squared error by which a column's errors are divided
FENCE = 3.0  # robust standard deviations below the median of the scores: contamination="auto"


def threshold_of(scores: Array, contamination: float | str, weights: Array | None = None) -> float:
    """Return the score below which rows are outliers: a quantile, or for ``"auto"`` a fence below the median."""
    if not isinstance(contamination, str):
        return quantile(scores, float(contamination), weights)
    median = quantile(scores, 0.5, weights)
    return median - FENCE * 1.4826 * quantile(np.abs(scores - median), 0.5, weights)


@dataclass(eq=False, repr=False, kw_only=True)
class AnomalyDetector(RunParameters, OutlierMixin, DocumentationLinkMixin, BaseEstimator):
    """Outlier detector for tables with numbers of any scale, categories and missing values.

    By default a row's score is the sum of three standardised scores, none of which needs scaled columns: the free
    energy of a small RBM on binned columns, the free energy of a Gaussian RBM with fixed variances, and the error of
    autoencoders that reconstruct the columns of partly masked rows. Both RBMs are fitted without the tenth of the rows
    that a first RBM finds least likely, so that outliers among the training rows do little harm. Columns
    with a single value, text columns that identify rows, and columns with more than 100 categories are left out.

    Parameters
    ----------
    estimator : RBM, DBN or DeepAutoencoder, optional
        Model whose score is used instead: the negative free energy if it has one, otherwise the negative
        reconstruction error.
    contamination : float or "auto", default="auto"
        Share of the training rows that `predict` classifies as outliers, above 0 and at most 0.5. ``"auto"``: rows
        whose score is more than three robust standard deviations below the median.
    backend : str or Backend, default="numpy"
    verbose : int or Reporter, default=0
        From 1 on, print a line per epoch of each model.
    random_state : int, RandomState, Generator or None, default=None

    Attributes
    ----------
    offset_ : float
        Value that `decision_function` subtracts from `score_samples`.
    estimator_ : fitted estimator
        The fitted model, if one was given.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Names of the columns; only if the training rows had names.

    See Also
    --------
    RBM.free_energy, DeepAutoencoder.reconstruction_error

    References
    ----------
    Fiore, Palmieri, Castiglione and De Santis, "Network anomaly detection with the discriminative restricted Boltzmann
    machine", 2013, for free energies as scores.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal([100, 0.01], [5, 0.001], (200, 2))
    >>> detector = AnomalyDetector(random_state=0).fit(X)
    >>> detector.predict([[100, 0.01], [130, 0.02]]).tolist()
    [1, -1]
    """

    estimator: Estimator = field(default=None, kw_only=False)
    contamination: float | str = "auto"

    def fit(self, X: RowsLike, y: TargetsLike = None, sample_weight: WeightsLike = None) -> Self:
        """Fit the models, and choose the threshold for outliers.

        Parameters
        ----------
        X : DataFrame, Table or array-like of shape (n_rows, n_features)
            NaN, None and empty texts are missing values. Some of the rows may be outliers.
        y : ignored
        sample_weight : array-like of shape (n_rows,), optional
            Weights of the rows: a weight of 2 counts as two copies of the row, a weight of 0 as none.

        Returns
        -------
        AnomalyDetector
            Itself.

        Raises
        ------
        DataError, SettingError
        """
        self._settings()
        self._seed = run_seed(self.random_state)
        X, _, weights = present_rows(X, sample_weight)
        rows = self._checked(X, reset=True)
        if self.estimator is not None:
            model = clone(self.estimator)
            self._check_model(model)
            self.estimator_ = model.set_params(random_state=self._seed, backend=self.backend, verbose=self.verbose)
            self.estimator_.fit(rows, **_weights(weights))
        else:
            self._fit_parts(rows, weights)
        scores = self._scores(rows)
        self.offset_ = threshold_of(scores, self.contamination, weights)
        return self

    def _settings(self) -> None:
        """Refuse settings that are out of range."""
        check_number("contamination", self.contamination, low=0, high=0.5, open_low=True, auto=True)
        get_backend(self.backend)

    @staticmethod
    def _check_model(model: Estimator) -> None:
        """Refuse a model that has no score."""
        if not hasattr(model, "fit") or not (hasattr(model, "free_energy") or hasattr(model, "reconstruction_error")):
            raise SettingError(
                f"`estimator` must be an RBM, DBN or DeepAutoencoder, got {type(model).__name__}: it needs "
                "free_energy or reconstruction_error"
            )

    def _get_state(self) -> FittedState:
        values = {"offset": self.offset_}
        if self.estimator is not None:
            return FittedState(None, {}, values, parts={"model": self.estimator_})
        networks = {f"network_{i}": network for i, network in enumerate(self._networks)}
        arrays = {"errors": np.array(self._errors), "centres": self._centres, "spreads": self._spreads}
        arrays |= {"column_centres": self._columns.centres, "column_scales": self._columns.scales}
        parts = {"binned": self._binned, "gaussian": self._gaussian, **networks}
        return FittedState(None, arrays, values | {"columns": self._columns.schema.to_dict()}, parts=parts)

    def _set_state(self, state: FittedState) -> None:
        values = Fields(state.values, "attributes")
        self.offset_ = values.finite("offset")
        if self.estimator is not None:
            self.estimator_ = state.part("model", type(self.estimator), self.n_features_in_)
            self._check_model(self.estimator_)
            return
        schema = Schema.from_dict(values.fields("columns"))
        if len(schema.columns) != self.n_features_in_:
            raise FileFormatError(f"the file's columns must be {self.n_features_in_}, got {len(schema.columns)}")
        n_values = DetectorColumns(schema, np.zeros(0), np.ones(0)).n_values
        scales = (state.shaped(f"column_{name}", (n_values,), np.float64) for name in ("centres", "scales"))
        self._columns = DetectorColumns(schema, *scales)
        self._binned = state.part("binned", RBM, schema.n_units)
        self._gaussian = state.part("gaussian", RBM, n_values)
        for rbm, visible in ((self._binned, schema.visible), (self._gaussian, "gaussian")):
            units, wanted = (rbm.weights_.visible, rbm.weights_.hidden), (visible, str(RBM().hidden))
            if units != wanted:
                raise FileFormatError(f"the file's machines must have {' and '.join(wanted)} units, got {units}")
        self._networks = [state.part(f"network_{i}", DBN, n_values) for i in range(RECONSTRUCTIONS)]
        self._errors = list(state.shaped("errors", (RECONSTRUCTIONS, n_values), np.float64))
        self._centres, self._spreads = (state.shaped(name, (3,), np.float64) for name in ("centres", "spreads"))
        for name, low in (("errors", 0), ("spreads", 0), ("column_scales", 0), ("column_centres", -np.inf)):
            found = state.arrays[name]
            if not (np.isfinite(found) & (found > low)).all():
                raise FileFormatError(f"the file's {name} must be finite{' and above 0' if low == 0 else ''}")

    def _checked(self, X: RowsLike, *, reset: bool) -> RowsLike:
        """Return rows after scikit-learn's checks; tables with their names as they are."""
        if is_table(X):
            frame = as_frame(X)
            check_names(self, X, frame.names, reset=reset)
            if reset and frame.n_rows < 2:
                raise DataError(f"found {frame.n_rows} sample(s) while a minimum of 2 is required by AnomalyDetector")
            return X
        if is_source(X):
            X = X.take(slice(0, X.shape[0]))
        return validate_data(
            self, X, reset=reset, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan",
            ensure_min_samples=2 if reset else 1,
        )  # fmt: skip

    def _fit_parts(self, rows: RowsLike, weights: Array | None) -> None:
        """Fit the three models."""
        self._columns = DetectorColumns.fit(rows, weights)
        warn_dropped(column for column in self._columns.schema.columns if not column.values)  # constants are normal
        states, values = self._columns.states(rows), self._columns.values(rows)
        energies = self._density(states, weights).free_energy(states)
        kept = energies <= quantile(energies, KEPT_SHARE, weights)
        kept = kept if kept.sum() >= 2 else np.ones(len(kept), bool)
        weights_kept = None if weights is None else weights[kept]
        self._binned = self._density(states[kept], weights_kept)
        batch = min(BATCH, int(kept.sum()))
        gaussian = RBM(
            GAUSSIAN_UNITS, visible="gaussian", batch_size=batch, n_iter=_epochs(GAUSSIAN_UPDATES, kept.sum(), batch),
            random_state=self._own_seed("gaussian"), **self._run,
        )  # fmt: skip
        gaussian._fit(values[kept], weights_kept)
        self._gaussian = gaussian
        batch = min(BATCH, len(values))
        template = RBM(
            visible="gaussian", learning_rate=0.05, schedule="constant", batch_size=batch,
            n_iter=_epochs(RECONSTRUCTION_UPDATES, len(values), batch),
        )  # fmt: skip
        self._networks = [
            DBN(
                (RECONSTRUCTION_UNITS,),
                rbm=template,
                pretraining="denoising",
                corruption="masking",
                corruption_level=0.3,
                random_state=self._own_seed("reconstruction", i),
                **self._run,
            ).fit(values, **_weights(weights))
            for i in range(RECONSTRUCTIONS)
        ]
        self._errors = [
            np.maximum(np.average(_squared(net, values), axis=0, weights=weights), LEAST_ERROR)
            for net in self._networks
        ]
        parts = self._parts(states, values)
        self._centres = np.average(parts, axis=1, weights=weights)
        variances = np.average(np.square(parts - self._centres[:, None]), axis=1, weights=weights)
        self._spreads = np.maximum(np.sqrt(variances), 1e-12)

    @property
    def _run(self) -> StrDict:
        return {"backend": self.backend, "verbose": self.verbose}

    def _own_seed(self, *purpose: int | str) -> int:
        return int(stream(self._seed, "anomaly", *purpose).generate_state(1)[0])

    def _density(self, states: Array, weights: Array | None) -> RBM:
        batch = min(BATCH, len(states))
        rbm = RBM(
            DENSITY_UNITS, visible=self._columns.schema.visible, centered=True, learning_rate=0.05, schedule="linear",
            momentum=0.0, weight_decay=0.0, batch_size=batch, n_iter=_epochs(DENSITY_UPDATES, len(states), batch),
            random_state=self._own_seed("density"), **self._run,
        )  # fmt: skip
        rbm._fit(states, weights)
        return rbm

    def _parts(self, states: Array, values: Array) -> Array:
        """Return the three scores of rows before standardisation; high values are unusual."""
        errors = [
            np.sqrt((_squared(net, values) / mean).sum(axis=1))
            for net, mean in zip(self._networks, self._errors, strict=True)
        ]
        return np.array(
            [self._binned.free_energy(states), self._gaussian.free_energy(values), np.mean(errors, axis=0)], np.float64
        )

    def _scores(self, rows: RowsLike) -> Array:
        if self.estimator is not None:
            if hasattr(self.estimator_, "free_energy"):
                return -np.asarray(self.estimator_.free_energy(rows), np.float64)
            return -np.asarray(self.estimator_.reconstruction_error(rows), np.float64)
        parts = self._parts(self._columns.states(rows), self._columns.values(rows))
        return -np.asarray(((parts - self._centres[:, None]) / self._spreads[:, None]).sum(axis=0))

    def score_samples(self, X: RowsLike) -> Array:
        """Return a score for each row; typical rows have high scores.

        Parameters
        ----------
        X : DataFrame, Table or array-like of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows,)
            Scores of different detectors are not comparable.
        """
        check_is_fitted(self, "offset_")
        return self._scores(self._checked(X, reset=False))

    def decision_function(self, X: RowsLike) -> Array:
        """Return `score_samples` minus ``offset_``, which is negative for outliers.

        Parameters
        ----------
        X : DataFrame, Table or array-like of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows,)
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: RowsLike) -> Array:
        """Return -1 for outliers and 1 for other rows.

        Parameters
        ----------
        X : DataFrame, Table or array-like of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows,)
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def explain(self, X: RowsLike) -> Array:
        """Return the surprise of each value given the rest of its row.

        Parameters
        ----------
        X : DataFrame, Table or array-like of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, n_features)
            In nats: the negative log-probability of the value's bin in the RBM on binned columns, given the bins of
            the other columns. Columns that were constant in training have 0. With an `estimator` of Bernoulli or
            softmax visible units, or fitted on a table: the same under that RBM; a softmax group of an array is one
            column. With any other `estimator`: the squared error of each value's reconstruction, in standard deviations
            where the model standardises.
        """
        check_is_fitted(self, "offset_")
        rows = self._checked(X, reset=False)
        if self.estimator is not None:
            return column_surprise(self.estimator_, rows)
        nats = -conditional_log_likelihoods(self._binned.weights_, self._columns.states(rows), backend=self.backend)
        return by_column(self._columns.schema, nats)

    def __sklearn_tags__(self) -> Tags:
        """Declare support for missing values and categories."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.estimator is None
        return tags


def _weights(weights: Array | None) -> dict[str, Array]:
    """Return the keyword argument of `fit` for the weights, if there are any."""
    return {} if weights is None else {"sample_weight": weights}


def _epochs(updates: int, n_rows: int, batch: int) -> int:
    return max(1, round(updates / -(-int(n_rows) // batch)))


def _squared(network: DBN, values: Array) -> Array:
    return np.asarray(np.square(network.inverse_transform(network.transform(values)) - values))

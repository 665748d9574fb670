"""Outliers among rows: scores of density models, reconstructions and outlier detectors, and explanations."""

from dataclasses import dataclass

import numpy as np

from deepbelief.bounds import check_number
from deepbelief.errors import SettingError
from deepbelief.estimators.anomaly import AnomalyDetector, threshold_of
from deepbelief.estimators.surprise import column_surprise, has_conditionals
from deepbelief.estimators.tables import schema_of
from deepbelief.typing import Array, Estimator, RowsLike


@dataclass(frozen=True, eq=False)
class Outliers:
    """Scores of rows and the threshold below which they are outliers.

    Attributes
    ----------
    scores : ndarray of shape (n_rows,)
        Higher values are more typical.
    threshold : float
        Score below which a row is an outlier.
    names : tuple of str
        Columns of `surprise`.
    surprise : ndarray of shape (n_rows, n_columns) or None
        How surprising each value is given the rest of its row, in nats; 0 where it is missing. None: the model does not
        say.
    """

    scores: Array
    threshold: float
    names: tuple[str, ...] = ()
    surprise: Array | None = None

    @property
    def is_outlier(self) -> Array:
        """Whether each row is an outlier."""
        return self.scores < self.threshold

    def worst(self, n: int) -> Array:
        """Return the positions of the n oddest rows, the oddest first."""
        return np.argsort(self.scores, kind="stable")[:n]

    def reason(self, row: int) -> tuple[str, float]:
        """Return the column whose surprise is the most above its mean over all rows, and this surprise in nats."""
        assert self.surprise is not None
        column = int((self.surprise[row] - self.surprise.mean(axis=0)).argmax())
        return self.names[column], float(self.surprise[row, column])


def find_outliers(model: Estimator, X: RowsLike, *, contamination: float | str | None = None) -> Outliers:
    """Score rows by a fitted model, and find the outliers among them.

    Parameters
    ----------
    model : fitted AnomalyDetector, RBM, DBN or DeepAutoencoder
        The score is that of the detector, the negative free energy, a bound on the log-likelihood of a `DBN`, or the
        negative reconstruction error.
    X : array-like, table or RowSource of shape (n_rows, n_features)
    contamination : float or "auto", optional
        Share of these rows that are outliers, above 0 and at most 0.5; ``"auto"``: those whose score lies more than
        three robust standard deviations below the median of these rows. None: ``"auto"``, and of a detector its own
        threshold.

    Returns
    -------
    Outliers

    Raises
    ------
    DataError
        If the rows do not fit the model.
    SettingError
        If the model has no score, or the share is not one.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import RBM
    >>> X = np.repeat([[0, 0, 1, 1], [1, 1, 0, 0]], 50, axis=0)
    >>> rbm = RBM(4, random_state=0).fit(X)
    >>> find_outliers(rbm, [[0, 0, 1, 1], [1, 1, 0, 0], [1, 0, 1, 0]], contamination=0.3).is_outlier.tolist()
    [False, False, True]
    """
    if contamination is not None:
        check_number("contamination", contamination, low=0, high=0.5, open_low=True, auto=True)
    scores = _scores(model, X)
    if contamination is None and isinstance(model, AnomalyDetector):
        threshold = float(model.offset_)
    else:
        threshold = threshold_of(scores, "auto" if contamination is None else contamination)
    names, surprise = _surprise(model, X)
    return Outliers(scores, threshold, names, surprise)


def _scores(model: Estimator, X: RowsLike) -> Array:
    if isinstance(model, AnomalyDetector):
        return np.asarray(model.score_samples(X), np.float64)
    for name, sign in (("free_energy", -1), ("score_samples", 1), ("reconstruction_error", -1)):
        if hasattr(model, name) and not hasattr(model, "predict"):
            return sign * np.asarray(getattr(model, name)(X), np.float64)
    raise SettingError(
        f"a {type(model).__name__} has no score of how usual rows are: give an RBM, DBN, DeepAutoencoder or "
        "AnomalyDetector"
    )


def _surprise(model: Estimator, X: RowsLike) -> tuple[tuple[str, ...], Array | None]:
    """Return names of columns and how surprising their values are, in nats, if the model supports it."""
    if isinstance(model, AnomalyDetector):
        if model.estimator is None:
            found = np.asarray(model.explain(X))
            names = getattr(model, "feature_names_in_", [f"x{i}" for i in range(found.shape[1])])
            return tuple(map(str, names)), found
        model = model.estimator_
    schema = schema_of(model)
    if schema is None or not has_conditionals(model):
        return (), None
    used = [i for i, column in enumerate(schema.columns) if column.width]
    return tuple(column.name for column in schema.used), column_surprise(model, X)[:, used]

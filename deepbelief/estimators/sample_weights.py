"""Sample weights in `fit` and `score` of density models."""

from collections.abc import Mapping

import numpy as np
from sklearn.utils import _safe_indexing

from deepbelief.distributed import is_dask
from deepbelief.errors import DataError
from deepbelief.sources import RowSource, SubsetSource, is_source, with_weights
from deepbelief.sources.ratings import Ratings
from deepbelief.typing import Array, RowsLike, TargetsLike, WeightsLike


def present_rows(
    X: RowsLike, sample_weight: WeightsLike, y: TargetsLike = None
) -> tuple[RowsLike, TargetsLike, Array | None]:
    """Leave out the rows with weight 0, and return rows, labels and weights.

    Parameters
    ----------
    X : array-like, CSR matrix, table or RowSource of shape (n_rows, n_features)
    sample_weight : array-like of shape (n_rows,), number or None
    y : array-like of n_rows, optional

    Returns
    -------
    X, y : as given, or those of the remaining rows
    weights : ndarray of shape (n_rows_left,) or None
        None where no weights are given.

    Raises
    ------
    DataError
        If the weights are not one number of at least 0 for each row, or all are 0.
    """
    if sample_weight is None:
        return X, y, None
    if is_dask(X):
        raise DataError("`sample_weight` must be None for rows on a cluster. Repeat rows instead.")
    weights = checked_weights(sample_weight, n_rows_of(X))
    if weights.all():
        return X, y, weights
    kept = np.flatnonzero(weights)
    return _picked(X, kept), None if y is None else _safe_indexing(y, kept), weights[kept]


def weighted(source: RowSource, weights: Array | None) -> RowSource:
    """Return rows with weights, if there are any."""
    return source if weights is None else with_weights(source, weights)


def checked_weights(sample_weight: WeightsLike, n_rows: int) -> Array:
    """Return the weights after checking them.

    Raises
    ------
    DataError
        If the weights are not one finite number of at least 0 for each row, or all are 0.
    """
    try:
        weights: Array = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"`sample_weight` must be numbers, got {sample_weight!r:.60}") from error
    if weights.ndim == 0:
        weights = np.full(n_rows, weights)
    if weights.shape != (n_rows,):
        raise DataError(f"`sample_weight` must have one number for each of the {n_rows} rows, got {weights.shape}")
    bad = ~np.isfinite(weights) | (weights < 0)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(f"`sample_weight` must be finite and at least 0, got {weights[row]:g} in row {row}")
    if not weights.any():
        raise DataError("`sample_weight` must be above 0 for some row, got only zero weights")
    return weights


def mean_of(values: Array, sample_weight: WeightsLike) -> float:
    """Return the mean of the values of rows, with weights if given."""
    if sample_weight is None:
        return float(np.mean(values, dtype=np.float64))
    return float(np.average(values.astype(np.float64), weights=checked_weights(sample_weight, len(values))))


def n_rows_of(X: RowsLike) -> int:
    """Return the number of rows of an array, matrix, table or source."""
    if isinstance(X, Mapping):
        return len(next(iter(X.values()), ()))
    shape = getattr(X, "shape", None)
    return int(shape[0]) if shape else len(X) if hasattr(X, "__len__") else len(np.asarray(X))


def _picked(X: RowsLike, rows: Array) -> RowsLike:
    """Return these rows of an array, matrix, table or source."""
    if isinstance(X, Mapping):
        return {name: _safe_indexing(column, rows) for name, column in X.items()}
    if is_source(X):
        return SubsetSource(X, rows)
    if isinstance(X, Ratings):
        return X.users(rows)
    return X.take(rows) if type(X).__module__.startswith("pyarrow") else _safe_indexing(X, rows)

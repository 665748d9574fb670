"""Labels of classifiers: which rows have one, and how much each row weighs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import _check_sample_weight

from deepbelief.errors import SettingError

Array = np.ndarray[Any, np.dtype[Any]]


def labelled_rows(y: Array, unlabeled: Any) -> Array:
    """Return a mask of the labelled rows.

    ``"auto"``: -1 marks unlabelled rows where at least two other labels are present, so that {-1, 1} stays
    an ordinary binary problem; None: every row is labelled; any other value is itself the mark.
    """
    if unlabeled is None:
        return np.ones(len(y), bool)
    if not (isinstance(unlabeled, str) and unlabeled == "auto"):
        return np.asarray(y != unlabeled)
    if y.dtype.kind not in "iuf":
        return np.ones(len(y), bool)
    known = y != -1
    return known if len(np.unique(y[known])) >= 2 else np.ones(len(y), bool)


def row_weights(
    y: Array, known: Array, sample_weight: Any, class_weight: Any, labelled: Array | None = None
) -> Array | None:
    """Return the weights of the labelled rows, by row times by class; None where all are 1.

    Parameters
    ----------
    y : ndarray of shape (n_rows,) or (n_rows, n_columns)
    known : ndarray of shape (n_rows,)
        Mask of the labelled rows.
    sample_weight : array-like of shape (n_rows,) or None
    class_weight : dict, "balanced", list of these or None
    labelled : ndarray of shape (n_labelled_rows, n_columns), optional
        Which labels the labelled rows have, where y has several columns.
    """
    weights = None
    if sample_weight is not None:
        checked = _check_sample_weight(sample_weight, np.empty((len(y), 1)), ensure_non_negative=True)
        weights = checked[known].astype(np.float64)
    if class_weight is not None:
        by_row = _by_class(y[known], class_weight) if y.ndim == 1 else _by_column(y[known], labelled, class_weight)
        weights = by_row if weights is None else weights * by_row
    return weights


def _by_column(y: Array, labelled: Array | None, class_weight: Any) -> Array:
    """Return the product of the weights of each row's classes; a missing label has weight 1."""
    each = class_weight if isinstance(class_weight, (list, tuple)) else [class_weight] * y.shape[1]
    if len(each) != y.shape[1] or isinstance(class_weight, Mapping):
        raise SettingError(
            f"class_weight must be 'balanced' or a list with one setting for each of the {y.shape[1]} columns of y, "
            f"got {class_weight!r}"
        )
    weights = np.ones(len(y))
    for k, weight in enumerate(each):
        known = slice(None) if labelled is None else labelled[:, k]
        if weight is not None:
            weights[known] *= _by_class(y[known, k], weight)
    return weights


def _by_class(y: Array, class_weight: Any) -> Array:
    """Return the weight of each row's class."""
    classes, numbers = np.unique(y, return_inverse=True)
    try:
        per_class = compute_class_weight(class_weight, classes=classes, y=y)
    except ValueError as error:
        raise SettingError(f"class_weight={class_weight!r} cannot be used: {error}") from error
    if not (np.isfinite(per_class).all() and per_class.min() >= 0 and per_class.max() > 0):
        raise SettingError(f"class_weight must be finite, >= 0 and not all 0, got {class_weight!r}")
    return per_class[numbers]  # type: ignore[no-any-return]

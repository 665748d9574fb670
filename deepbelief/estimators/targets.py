"""Targets of fine-tuning, with their losses and heads."""

from collections.abc import Sequence

import numpy as np

from deepbelief.activations import activation_of
from deepbelief.errors import DataError, Mention, SettingError
from deepbelief.estimators.base import check_number
from deepbelief.estimators.heads import ClassHead, Labels, OneClass, Tasks, Values
from deepbelief.estimators.labels import (
    check_classes,
    known_labels,
    labelled_rows,
    missing_labels,
    rows_to_compare,
)
from deepbelief.losses import Loss, MissingTargets, SoftmaxNLL, SquaredError, get_loss
from deepbelief.typing import Array
from deepbelief.units import Unit


def class_loss(loss: str | Loss) -> Loss:
    """Return a classifier's loss, softmax and NLL by default; refuse losses that are not for classes or labels."""
    chosen = SoftmaxNLL() if isinstance(loss, str) and loss == "auto" else get_loss(loss)
    if chosen.targets not in ("classes", "labels"):
        raise SettingError(
            Mention("loss", loss),
            " is for real values, which DBNRegressor predicts: use ",
            Mention("loss", "softmax_nll"),
            " for classes, ",
            Mention("loss", "cross_entropy"),
            " for a 0/1 matrix of labels",
        )
    return chosen


def value_loss(loss: str | Loss) -> Loss | None:
    """Return a regressor's custom loss, or None for the squared error; refuse losses that are not for real values."""
    if isinstance(loss, str) and loss in ("auto", "squared_error"):
        return None
    chosen = get_loss(loss)
    if chosen.targets != "values":
        raise SettingError(
            Mention("loss", loss),
            " is for classes or labels, which DBNClassifier predicts: use ",
            Mention("loss", "squared_error"),
        )
    return chosen


def reconstruction_loss(loss: str | Loss, visible: Unit) -> Loss:
    """Return the loss of an autoencoder for data of this type; refuse losses for other data."""
    if not isinstance(loss, str):
        return loss
    usual = visible.reconstruction_loss or ("cross_entropy" if visible.unit_interval else "")
    if not usual:
        raise SettingError(f"autoencoders need Bernoulli, Gaussian or softmax visible units, got {visible.spec}")
    name = usual if loss == "auto" else loss
    if name == "squared_error":
        return SquaredError(activation_of(visible).name if visible.reconstruction_loss else "sigmoid")
    chosen = get_loss(name)
    if chosen.targets == "labels" and not visible.unit_interval:
        raise SettingError(
            Mention("loss", name), " is for data in [0, 1]: use ", Mention("loss", "squared_error"), " for real values"
        )
    return chosen


def check_task_weights(weights: Sequence[float] | None) -> None:
    """Validate `task_weights`."""
    if weights is None:
        return
    if not isinstance(weights, (list, tuple)):
        raise SettingError(f"task_weights must be a list with one number for each task, or None, got {weights!r}")
    for weight in weights:
        check_number("task_weights", weight, low=0)
    if not any(weights):
        raise SettingError(f"task_weights must not all be 0, got {weights!r}")


def same_classes(one: Array | list[Array], other: Array | list[Array]) -> bool:
    """Return whether two heads have the same classes, in all tasks if there are several."""
    if isinstance(one, list) != isinstance(other, list):
        return False
    if not isinstance(one, list):
        return np.array_equal(one, other)
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def class_head(
    y: Array, loss: str | Loss, unlabeled: object, task_weights: Sequence[float] | None
) -> tuple[ClassHead, Array, Array]:
    """Return the head for these labels.

    Parameters
    ----------
    y : ndarray of shape (n_rows,) or (n_rows, n_columns)
    loss : str or Loss
        Determines whether several columns are tasks or 0/1 labels.
    unlabeled : "auto", None or label
    task_weights : sequence of float or None

    Returns
    -------
    head : ClassHead
    targets : ndarray
        Targets of the labelled rows, in the form that the head's loss expects.
    known : ndarray of shape (n_rows,)
        Mask of the labelled rows.

    Raises
    ------
    DataError, SettingError
    """
    chosen = class_loss(loss)
    if task_weights is not None and (y.ndim == 1 or chosen.targets == "labels"):
        raise SettingError("task_weights are for tasks: a y of several columns and ", Mention("loss", "softmax_nll"))
    if chosen.targets == "labels":
        return _labels(y, loss, chosen, unlabeled)
    if y.ndim == 1:
        known = labelled_rows(y, unlabeled)
        if not known.any():
            raise DataError("every row is unlabelled: fine-tuning needs labels; use DBN to pretrain only")
        classes, places = np.unique(check_classes(y[known]), return_inverse=True)
        return OneClass(classes, chosen), places.astype(np.intp), known
    if not isinstance(loss, str):
        raise SettingError(
            Mention("loss", loss),
            " supports a single task: use ",
            Mention("loss", "softmax_nll"),
            f" for {y.shape[1]} columns",
        )
    return _tasks(y, unlabeled, task_weights)


def _tasks(y: Array, unlabeled: object, task_weights: Sequence[float] | None) -> tuple[ClassHead, Array, Array]:
    targets = np.full(y.shape, -1, np.intp)
    classes = []
    for k, column in enumerate(y.T):
        known = labelled_rows(column, unlabeled)
        found, targets[known, k] = np.unique(check_classes(column[known]), return_inverse=True)
        classes.append(found)
    head = Tasks(classes, None if task_weights is None else tuple(map(float, task_weights)))
    labelled: Array = np.asarray((targets >= 0).any(axis=1))
    return head, targets[labelled], labelled


def _labels(y: Array, loss: str | Loss, chosen: Loss, unlabeled: object) -> tuple[ClassHead, Array, Array]:
    if y.ndim == 1:
        raise DataError(
            Mention("loss", loss),
            f" is for a 0/1 matrix y of shape (n_rows, n_labels), got shape {y.shape}: use ",
            Mention("loss", "softmax_nll"),
            " for one class per row",
        )
    present = rows_to_compare(y, np.arange(2), unlabeled)
    labels = known_labels(y[present])
    foreign = labels[~np.isin(labels, (0, 1))] if labels.dtype.kind in "biuf" else labels
    if len(foreign):
        raise DataError(
            Mention("loss", loss),
            f" needs a y of 0 and 1, and -1 for missing labels, got {foreign.tolist()[0]!r}: use ",
            Mention("loss", "softmax_nll"),
            " for classes in columns, or DBNRegressor for real values",
        )
    targets = np.full(y.shape, np.nan)
    targets[present] = labels
    known = np.asarray(present.any(axis=1))
    if not known.any():
        raise DataError("every row is unlabelled: fine-tuning needs labels; use DBN to pretrain only")
    targets = targets[known]
    return Labels(y.shape[1], MissingTargets(chosen) if np.isnan(targets).any() else chosen), targets, known


def as_numbers(y: Array) -> Array:
    """Return targets as numbers, with NaN for missing ones; refuse targets that are not numbers."""
    numbers = y
    if y.dtype.kind == "O":
        try:
            numbers = np.full(y.shape, np.nan)
            present = ~missing_labels(y)
            numbers[present] = y[present].astype(np.float64)
        except (TypeError, ValueError):
            numbers = y
    if numbers.dtype.kind not in "biuf":
        raise DataError(f"y must be numbers, got dtype {y.dtype}: use DBNClassifier for classes")
    return numbers


def value_head(y: Array, loss: str | Loss, weights: Array | None) -> Values:
    """Return the head for real values, with the weighted mean and standard deviation of each column."""
    columns = y.reshape(len(y), -1).astype(np.float64)
    if weights is not None:
        columns, weights = columns[weights > 0], weights[weights > 0]
        if not len(weights):
            raise DataError("the weights of all rows are 0: give some rows a weight > 0")
    present = ~np.isnan(columns)
    for k in np.flatnonzero(~present.any(axis=0)):
        raise DataError(f"column {k} of y (from 0) has no target in a row with a weight > 0: leave it out")
    each = [
        _mean_and_scale(column[known], None if weights is None else weights[known])
        for column, known in zip(columns.T, present.T, strict=True)
    ]
    mean, scale = np.array(each).T
    if not np.isfinite([mean, scale]).all():
        raise DataError("y has values too large for a mean and standard deviation: divide them by a number first")
    n_present = None if present.all() else float(np.average(present.sum(axis=1), weights=weights))
    return Values(mean, scale, value_loss(loss), n_present)


def _mean_and_scale(values: Array, weights: Array | None) -> tuple[float, float]:
    """Return the weighted mean and standard deviation of a column's targets; the latter is 1 if they are all equal."""
    if values.min() == values.max():
        return float(values[0]), 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.average(values, weights=weights)
        away = values - mean
        # Deviations are divided by the largest before squaring, so that neither huge nor tiny values overflow.
        largest = np.abs(away).max()
        return float(mean), float(largest * np.sqrt(np.average((away / largest) ** 2, weights=weights)))

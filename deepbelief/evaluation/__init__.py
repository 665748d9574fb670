"""Evaluation of fitted models of every kind on rows."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from deepbelief.backends import Backend, get_backend
from deepbelief.errors import DataError, SettingError
from deepbelief.estimators.labels import as_labels, is_text, known_labels, rows_to_compare
from deepbelief.estimators.sequences import is_list_of_arrays
from deepbelief.estimators.targets import as_numbers
from deepbelief.estimators.views import layers_of, rows_of, whole_rows_of
from deepbelief.evaluation import measures
from deepbelief.evaluation.densities import Density, Sequences
from deepbelief.evaluation.measures import expected_accuracy, pca_error, wilson_interval
from deepbelief.evaluation.outliers import Outliers, find_outliers
from deepbelief.evaluation.results import (
    Classification,
    Codes,
    Columns,
    Evaluation,
    Reconstruction,
    Regression,
)
from deepbelief.likelihood import log_likelihood
from deepbelief.recurrent.windows import check_lengths
from deepbelief.sources import as_source, binarized, check_domain, scaled
from deepbelief.typing import Array, Estimator, LengthsLike, RowsLike, TargetsLike
from deepbelief.units import get_unit

MAX_BITS = 16


def evaluate(
    model: Estimator, X: RowsLike, y: TargetsLike = None, *, lengths: LengthsLike = None, bits: int | None = None,
    backend: str | Backend = "numpy",
) -> Evaluation:  # fmt: skip
    """Evaluate a fitted model on rows.

    Parameters
    ----------
    model : fitted estimator or Stack
    X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
        In the form that `fit` received.
    y : array-like of shape (n_rows,) or (n_rows, n_columns), optional
        Classes for a classifier, targets for a regressor; other models ignore them. Rows without a label are left out,
        as in the model's ``score``.
    lengths : array-like of int, optional
        Lengths of the sequences, for a model of sequences. None means one sequence.
    bits : int, optional
        Also measure an autoencoder's error with codes rounded to this number of bits.
    backend : {"numpy", "cupy"} or Backend, default="numpy"
        For a `Stack`; an estimator uses its own.

    Returns
    -------
    Classification, Regression, Columns, Reconstruction, Codes or Sequences
        Depending on the kind of model; each prints as a summary and has ``to_dict()``, ``row_errors`` and ``worst(n)``.

    Raises
    ------
    DataError
        If rows or targets do not fit the model.
    SettingError
        If an argument is meant for another kind of model, the layers no longer reconstruct their input, or the model
        detects outliers.

    See Also
    --------
    evaluate_likelihood : log-likelihood of rows under a generative model.
    find_outliers : scores of rows by a density model or a detector of outliers.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import DBNClassifier
    >>> X, y = np.repeat(np.eye(2), 10, axis=0), np.repeat([0, 1], 10)
    >>> model = DBNClassifier((4,), random_state=0).fit(X, y)
    >>> evaluate(model, X, y).n_wrong
    0
    """
    if hasattr(model, "decision_function") and hasattr(model, "offset_"):
        raise SettingError(
            f"`model` must not be a detector of outliers, got {type(model).__name__}. Use find_outliers(model, X)."
        )
    kind = next((name for name in BY_CAPABILITY if hasattr(model, name)), None)
    if lengths is not None and kind != "predict_next":
        raise SettingError(f"`lengths` are for models of sequences, not for a {type(model).__name__}. Leave them out.")
    if bits is not None and kind != "coefs_":
        raise SettingError(f"`bits` rounds the codes of an autoencoder, not of a {type(model).__name__}. Leave it out.")
    if kind is None:
        return _layers(model, X, get_backend(getattr(model, "backend", backend)))
    return BY_CAPABILITY[kind](model, X, y, lengths, bits)


def evaluate_likelihood(
    model: Estimator, X: RowsLike, *, binarize: str | None = None, method: str = "auto", random_state: int = 0,
    backend: str | Backend = "numpy", **ais: Any,
) -> Density:  # fmt: skip
    """Measure the log-likelihood of rows under an RBM, or a lower bound on it under a deep belief network.

    Parameters
    ----------
    model : fitted RBM or DBN, Weights or Stack
    X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
    binarize : {"threshold", "sample"}, optional
        How to turn grey levels into 0 and 1: 1 from 0.5 on, or drawn once with the level as probability.
    method : {"auto", "exact", "ais", "ptt"}, default="auto"
        Method by which log Z is computed.
    random_state : int, default=0
        Seed of the draws and of annealing.
    backend : {"numpy", "cupy"} or Backend, default="numpy"
    **ais
        Passed on to `deepbelief.likelihood.ais_log_z`: ``n_runs``, ``betas``, ``progress``.

    Returns
    -------
    Density

    Raises
    ------
    DataError
        If rows of Bernoulli units are not 0 or 1 and `binarize` is not given.
    SettingError
        If the model has no likelihood.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import Stack, Weights
    >>> stack = Stack((Weights(np.zeros((3, 2)), np.zeros(3), np.zeros(2)),))
    >>> round(evaluate_likelihood(stack, np.eye(3)).likelihood.mean, 4)  # -3 ln 2
    -2.0794
    """
    rows = rows_of(model, X)
    if binarize is not None:
        stack = layers_of(model)
        rows = scaled(rows, stack.layers[0])
        check_domain(rows, get_unit("bernoulli"))
        rows = binarized(rows, binarize, random_state, "evaluate")
        bare = dataclasses.replace(stack.layers[0], mean=None, scale=None)  # the rows have entered
        model = dataclasses.replace(stack, layers=(bare, *stack.layers[1:]))
    found = log_likelihood(model, rows, method=method, backend=backend, random_state=random_state, **ais)
    return Density(-found.rows, layers_of(model).sizes, found, binarize, random_state)


def _classifier(model: Estimator, X: RowsLike, y: TargetsLike, lengths: LengthsLike, bits: int | None) -> Evaluation:
    y, unlabeled = _targets(model, y), getattr(model, "unlabeled", "auto")
    log_p = model.predict_log_proba(X)
    if isinstance(log_p, list):
        y = y.reshape(len(y), -1)
        _check_columns(y, len(log_p))
        each = zip(model.classes_, log_p, y.T, strict=True)
        return _columns([_classification(classes, p, column, unlabeled) for classes, p, column in each])
    if y.ndim == 2 and y.shape[1] > 1:  # a 0/1 matrix of labels
        p = np.asarray(model.predict_proba(X), np.float64)
        _check_columns(y, p.shape[1])
        with np.errstate(divide="ignore"):
            each = zip(np.log1p(-p).T, np.log(p).T, y.T, strict=True)
        both = ((np.column_stack([no, yes]), column) for no, yes, column in each)
        return _columns([_classification(np.arange(2), p, column, unlabeled) for p, column in both])
    return _classification(model.classes_, log_p, y.ravel(), unlabeled)


def _classification(classes: Array, log_p: Array, labels: Array, unlabeled: object) -> Classification:
    """Compare log-probabilities with the labels that are not missing."""
    known = rows_to_compare(labels, classes, unlabeled)
    if not known.any():
        raise DataError("no row has a label, so the predictions cannot be compared: pass labels")
    present = known_labels(labels[known])
    if is_text(classes) and not is_text(present):
        present = present.astype(str)
    foreign = ~np.isin(present, classes)
    if foreign.any():
        shown = ", ".join(str(c) for c in classes[:12])
        raise DataError(f"label {present[foreign][0]} is not one of the model's classes {shown}")
    log_p = np.asarray(log_p, np.float64)
    truth, predicted = np.searchsorted(classes, present), log_p.argmax(axis=1)
    errors = np.full(len(labels), np.nan)
    errors[known] = -log_p[known, truth]
    n = len(classes)
    confusion = np.bincount(truth * n + predicted[known], minlength=n * n).reshape(n, n)
    return Classification(
        errors, classes, confusion, float(errors[known].mean()), int((~known).sum()), classes[predicted]
    )


def _regressor(model: Estimator, X: RowsLike, y: TargetsLike, lengths: LengthsLike, bits: int | None) -> Evaluation:
    y = as_numbers(_targets(model, y))
    predicted = np.asarray(model.predict(X), np.float64).reshape(len(y), -1)
    y = y.reshape(len(y), -1)
    _check_columns(y, predicted.shape[1])
    return _columns([_regression(p, column) for p, column in zip(predicted.T, y.T, strict=True)])


def _regression(predicted: Array, y: Array) -> Regression:
    present = ~np.isnan(y)
    if not present.any():
        raise DataError("no row has a target, so the predictions cannot be compared: pass targets")
    squared = np.square(predicted - y)
    mean, variance = float(squared[present].mean()), float(y[present].var())
    return Regression(squared, math.sqrt(mean), 1 - mean / variance if variance else None, int((~present).sum()))


def _columns(found: Sequence[Evaluation]) -> Evaluation:
    """Return the only result, or all of them as one."""
    if len(found) == 1:
        return found[0]
    return Columns(np.nansum([each.row_errors for each in found], axis=0), tuple(found))


def _targets(model: Estimator, y: TargetsLike) -> Array:
    if y is None:
        raise DataError(f"`y` must be given to evaluate a {type(model).__name__}, got None. Pass the true labels.")
    return np.asarray(as_labels(y))


def _check_columns(y: Array, expected: int) -> None:
    if y.ndim != 2 or y.shape[1] != expected:
        raise DataError(f"`y` must have {expected} columns, as the model's predictions have, got {y.shape[-1]}")


def _autoencoder(model: Estimator, X: RowsLike, y: TargetsLike, lengths: LengthsLike, bits: int | None) -> Codes:
    if bits is not None and not 1 <= bits <= MAX_BITS:
        raise SettingError(f"`bits` must be an integer from 1 to {MAX_BITS}, got {bits!r}")
    rows, sizes = rows_of(model, X), model.stack_.sizes
    errors, cross = measures.code_errors(model, rows)
    rounded = None if bits is None else measures.rounded_error(model, rows, bits)
    n_bits = bits or 8 * model.coefs_[0].dtype.itemsize
    return Codes(
        errors, sizes, float(errors.mean()), cross, pca_error(whole_rows_of(model, rows), sizes[-1]), bits, rounded,
        measures.stored_bytes(rows), -(-sizes[-1] * n_bits // 8),
    )  # fmt: skip


def _layers(model: Estimator, X: RowsLike, bk: Backend) -> Reconstruction:
    stack, rows = layers_of(model), rows_of(model, X)
    if stack.tuned:
        raise SettingError(
            "fine-tuned layers without a head no longer reconstruct their input: evaluate the whole model"
        )
    if rows.shape[1] != stack.sizes[0]:
        raise DataError(f"X has {rows.shape[1]} features, the model expects {stack.sizes[0]}")
    errors = measures.reconstruction_errors(stack, rows, bk)
    pseudo, n = measures.first_layer_pseudo_likelihood(stack, rows) or (None, None)
    return Reconstruction(errors[-1], stack.sizes, tuple(errors.mean(axis=1).tolist()), pseudo, n)


def _sequences(model: Estimator, X: RowsLike, y: TargetsLike, lengths: LengthsLike, bits: int | None) -> Sequences:
    found = model.log_likelihood(X, lengths)
    if is_list_of_arrays(X):
        X, lengths = np.concatenate(X), [len(each) for each in X]
    frames = as_source(X)
    lengths = check_lengths(lengths, frames.shape[0])
    accuracy = None
    if model.machine_.frame.visible_unit.enumerable and lengths.max() > 1:
        rows = frames.take(slice(None))
        enter, predicted = model.machine_.frame.enter, np.asarray(model.predict_next(rows, lengths))
        accuracy = expected_accuracy(enter(predicted), enter(rows), lengths)
    return Sequences(-found.frames, len(lengths), found, accuracy)


BY_CAPABILITY: Mapping[str, Callable[..., Evaluation]] = {
    "predict_next": _sequences,
    "predict_log_proba": _classifier,
    "predict": _regressor,
    "coefs_": _autoencoder,
}
"""Evaluations by the attribute of a fitted model that they need; the first attribute that the model has decides."""

__all__ = [
    "Classification", "Codes", "Columns", "Density", "Evaluation", "Outliers", "Reconstruction", "Regression",
    "Sequences", "evaluate", "evaluate_likelihood", "expected_accuracy", "find_outliers", "pca_error",
    "wilson_interval",
]  # fmt: skip

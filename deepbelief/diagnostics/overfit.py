"""`overfit_check`: whether a model can drive its loss to almost zero on a handful of rows."""

import warnings
from dataclasses import dataclass, replace

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from deepbelief.backends import Backend
from deepbelief.diagnostics.gradient_checking import check_model, private_copy
from deepbelief.errors import DataError, DivergenceError, SizingWarning
from deepbelief.estimators.autoencoder import DeepAutoencoder
from deepbelief.estimators.base import check_backend, check_number
from deepbelief.estimators.labels import as_labels, known_labels, labelled_rows
from deepbelief.estimators.tuning import Problem, prepare
from deepbelief.finetuning import TrainingSet, finetune
from deepbelief.hyperparameters import EXECUTION, FINE_TUNING, NEVER
from deepbelief.losses import Loss
from deepbelief.schedules import get_schedule, needs_validation
from deepbelief.seeds import host_rng, run_seed
from deepbelief.sizing import suggest_layer_sizes
from deepbelief.sources import SubsetSource, is_source
from deepbelief.training import Record, Reporter, Run
from deepbelief.typing import Array, DeviceArray, Estimator, RandomState, RowsLike, TargetsLike

NATS = 0.05  # loss of each class label: the right class has a probability of 0.95
EXCESS_SHARE = 0.1  # share of the excess loss of the column means over the minimum loss

UNREGULARISED = {name: row.off for name, row in {**FINE_TUNING, **EXECUTION}.items() if row.off is not NEVER}
"""Settings of fine-tuning without regularisation."""


@dataclass(frozen=True, repr=False)
class OverfitCheck:
    """Result of `overfit_check`; it prints as a few lines.

    Attributes
    ----------
    ok : bool
        Whether the loss reached ``threshold``.
    loss : float
        Mean loss of the last epoch.
    threshold : float
        Loss that counts as almost zero.
    loss_curve : tuple of float
        Mean loss of each epoch, up to the epoch that reaches the threshold.
    n_rows : int
        Number of training rows.
    advice : str
        Recommended next step.
    """

    ok: bool
    loss: float
    threshold: float
    loss_curve: tuple[float, ...]
    n_rows: int
    advice: str

    def __repr__(self) -> str:
        """Return the finding and the advice."""
        found = "ok" if self.ok else "not ok"
        relation = "at most" if self.ok else "above"
        return (
            f"{found}: loss {self.loss:.4g} on {self.n_rows} rows after {len(self.loss_curve)} epochs, {relation} the "
            f"threshold of {self.threshold:.4g}\n{self.advice}"
        )


def overfit_check(
    model: Estimator,
    X: RowsLike,
    y: TargetsLike = None,
    *,
    n_rows: int = 20,
    max_iter: int = 500,
    random_state: RandomState = 0,
) -> OverfitCheck:
    """Check whether a model can memorise a few rows; a model that cannot will not learn many.

    A copy is pretrained and fine-tuned on the rows, with alpha, l1, dropout, max-norm, class weights and early stopping
    switched off; all other settings are those of the model. The model is not changed.

    Almost zero means, for class labels, a mean loss of 0.05 nats for each label: the right class has a probability of
    0.95. For real-valued targets (reconstruction, regression) it means a tenth of the way from the minimum loss to the
    loss of predicting the column means of these rows. The minimum is the loss of outputs equal to the targets: 0 for
    squared error, but the entropy of grey values for cross-entropy.

    Parameters
    ----------
    model : DBNClassifier or DeepAutoencoder
        Unfitted, with the settings to check.
    X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
    y : array-like of shape (n_rows,), optional
        For models that need it.
    n_rows : int, default=20
        Number of rows to memorise, drawn at random; from each class equally many where possible.
    max_iter : int, default=500
        Epochs to try.
    random_state : int, Generator or RandomState, default=0
        Seed of the drawn rows and of training.

    Returns
    -------
    OverfitCheck
        ``ok``, ``loss_curve``, ``advice`` and more.

    Raises
    ------
    SettingError, DataError
        If the model is not fine-tuned, or there are too few rows.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from deepbelief import DBNClassifier, overfit_check
    >>> X, y = load_digits(return_X_y=True)
    >>> overfit_check(DBNClassifier((30,), dropout=0.5), X / 16, y).ok
    True
    >>> overfit_check(DBNClassifier((30,), learning_rate_init=1e-6), X / 16, y, max_iter=50).ok
    False
    """
    check_model(model, y, "overfit_check", machines=False)
    check_number("n_rows", n_rows, low=2, integer=True)
    check_number("max_iter", max_iter, low=1, integer=True)
    seed = run_seed(random_state)
    own = private_copy(model)
    bk = check_backend(own.backend, X)
    own.random_state = seed
    chosen = _subset(own, X, y, int(n_rows), seed)
    for name, value in UNREGULARISED.items():
        if hasattr(own, name):
            setattr(own, name, value)
    if needs_validation(get_schedule(own.schedule)):
        own.schedule = "constant"
    _fix_sizes(own, X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SizingWarning)  # the number of rows is small on purpose
        y_chosen = None if y is None else _safe_indexing(y, chosen)
        problem = prepare(own, rows_at(X, chosen, bk), y_chosen, bk, Reporter())
    threshold = _threshold(problem, bk)
    losses = _Losses(threshold)
    diverged = _train(problem, int(max_iter), losses, bk, problem.seed)
    curve = tuple(losses.curve)
    ok = bool(curve) and curve[-1] <= threshold
    loss = curve[-1] if curve else float("inf")
    return OverfitCheck(ok, loss, threshold, curve, len(chosen), _advice(ok, diverged, curve, problem.train))


class _Enough(Exception):
    """The loss has reached the threshold."""


class _Losses(Reporter):
    """Keeps the losses, and ends the run at the threshold."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self.curve: list[float] = []

    def record(self, record: Record) -> None:
        """Keep an epoch's loss."""
        self.curve.append(record["loss"])
        if record["loss"] <= self._threshold:
            raise _Enough


def _subset(own: Estimator, X: RowsLike, y: TargetsLike, n_rows: int, seed: int) -> Array:
    """Return the indices of the rows to learn, balanced over the classes."""
    n = _num_samples(X)
    if y is not None and _num_samples(y) != n:
        raise DataError(f"X has {n} rows but y has {_num_samples(y)}")
    order = host_rng(seed, "overfit").permutation(n)
    places = np.arange(n)
    if y is not None and is_classifier(own):
        labels = np.asarray(as_labels(y))
        if labels.ndim == 1:
            order = order[labelled_rows(labels, own.unlabeled)[order]]
        chosen = known_labels(labels[order]) if labels.ndim == 1 else labels[order]
        _, classes = np.unique(chosen, axis=0 if chosen.dtype != object else None, return_inverse=True)
        classes = classes.ravel()
        if n_rows < (n_classes := len(np.unique(classes))) and labels.ndim == 1:
            raise DataError(f"n_rows={n_rows} is too few for {n_classes} classes: use n_rows={n_classes} or more")
        # The first of each class, then the second of each ...
        rank = np.empty(len(order), np.intp)
        for c in range(n_classes):
            rank[classes == c] = np.arange((classes == c).sum())
        places = np.argsort(rank, kind="stable")
    if len(order) < n_rows:
        raise DataError(f"n_rows={n_rows} exceeds the number of rows ({len(order)}): lower n_rows or add rows")
    return np.sort(order[places[:n_rows]])


def rows_at(X: RowsLike, index: Array, bk: Backend) -> DeviceArray:
    """Return some of the rows, in a container of the same kind as X."""
    if is_source(X):
        return SubsetSource(X, index)
    if bk.owns(X) and not isinstance(X, np.ndarray):
        return X[bk.asarray(index)]
    return _safe_indexing(X, index)


def _fix_sizes(own: Estimator, X: RowsLike, y: TargetsLike) -> None:
    """Give the copy the layer sizes that the model would have, which depend on the number of rows."""
    if own.pretrained is None and isinstance(own.hidden_layer_sizes, str) and own.hidden_layer_sizes == "auto":
        n_classes = labelled = None
        if is_classifier(own):
            labels = np.asarray(as_labels(y))
            known = labelled_rows(labels, own.unlabeled) if labels.ndim == 1 else np.ones(len(labels), bool)
            n_classes, labelled = len(np.unique(labels[known])), int(known.sum())
        shape = X.shape if hasattr(X, "shape") else np.shape(X)
        own.hidden_layer_sizes = suggest_layer_sizes(
            int(shape[1]), int(shape[0]), n_classes, n_labeled=labelled, autoencoder=isinstance(own, DeepAutoencoder)
        ).hidden_layer_sizes


def _train(problem: Problem, max_iter: int, losses: _Losses, bk: Backend, seed: int) -> DivergenceError | None:
    """Fine-tune until the loss is low enough; return the reason for a divergence, or None."""
    try:
        return finetune(
            problem.hidden, problem.head, problem.loss, problem.train, replace(problem.settings, max_iter=max_iter),
            Run(bk, seed, losses), tied=problem.tied,
        ).diverged  # fmt: skip
    except _Enough:
        return None
    except DivergenceError as error:
        return error


def _threshold(problem: Problem, bk: Backend) -> float:
    """Return the loss that counts as almost zero."""
    train, n_outputs = problem.train, len(problem.head[1])
    n = train.rows.shape[0]
    targets = train.rows.take(slice(0, n)) if train.targets is None else train.targets
    values = targets.reshape(n, -1)
    if values.shape[1] != n_outputs or (targets.ndim == 1 and targets.dtype.kind != "f"):
        return NATS * values.shape[1]  # class indices
    values = values.astype(problem.head[0].dtype)
    least = _mean_loss(problem.loss, values, values, bk)
    means = np.broadcast_to(values.mean(axis=0), values.shape)
    return least + EXCESS_SHARE * (_mean_loss(problem.loss, means, values, bk) - least)


def _mean_loss(loss: Loss, output: Array, target: Array, bk: Backend) -> float:
    values = loss.values(bk, bk.asarray(output.copy()), bk.asarray(target))
    return float(bk.to_numpy(values).mean(dtype=np.float64))


def _advice(ok: bool, diverged: DivergenceError | None, curve: tuple[float, ...], train: TrainingSet) -> str:
    """Return the recommended next step."""
    if ok:
        return (
            "It can learn: train on all rows, and if held-out rows then do worse than these, regularise "
            "(dropout, alpha, early_stopping)."
        )
    pair = _contradiction(train)
    if pair is not None:
        return "Rows {} and {} of those drawn are equal but have different targets: check the data first.".format(*pair)
    if diverged:
        return f"It diverged ({diverged}): use a lower learning_rate_init."
    half = curve[len(curve) // 2]
    if curve[-1] < 0.9 * half:
        return "The loss was still falling: use a higher learning_rate_init, or more max_iter."
    return "It cannot learn even these rows: use a larger net (hidden_layer_sizes), or a higher learning_rate_init."


def _contradiction(train: TrainingSet) -> tuple[int, int] | None:
    """Return two equal rows with different targets, if there are any."""
    if train.targets is None:
        return None
    rows = train.rows.take(slice(0, train.rows.shape[0]))
    _, groups = np.unique(rows, axis=0, return_inverse=True)
    first: dict[int, int] = {}
    for i, group in enumerate(groups.ravel().tolist()):
        j = first.setdefault(group, i)
        if not np.array_equal(train.targets[i], train.targets[j]):
            return j, i
    return None

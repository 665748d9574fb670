"""Output heads of a fine-tuned network: a class, a class for each task, labels, or real values.

A head defines the loss, encodes targets for it, and turns outputs into predictions.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np

from deepbelief.errors import DataError, SettingError
from deepbelief.estimators.labels import (
    as_labels,
    rows_to_compare,
    share_right,
)
from deepbelief.losses import Loss, MissingTargets, SquaredError, TaskSoftmaxNLL
from deepbelief.stack import Weights
from deepbelief.typing import Array, TargetsLike, WeightsLike


class Head(Protocol):
    """Interface of a head."""

    by_class: ClassVar[bool]  # whether held-out rows are stratified by class

    @property
    def loss(self) -> Loss:
        """Return the loss, which also computes the outputs."""

    @property
    def n_outputs(self) -> int:
        """Return the number of outputs."""

    def predict(self, output: Array) -> Array:
        """Return the predictions for outputs, in the form of the user's targets."""

    def constant(self, targets: Array, weights: Array | None) -> Array:
        """Return the best outputs that do not depend on the row."""


class ClassHead(Head, Protocol):
    """A head of a classifier."""

    targets: ClassVar[str]  # name in files

    @property
    def classes(self) -> Array | list[Array]:
        """Return ``classes_``: an array, or a list with one array per task."""

    def probabilities(self, output: Array) -> Array | list[Array]:
        """Return the result of ``predict_proba``."""

    def accuracy(self, y: TargetsLike, predicted: Array, unlabeled: object, weights: WeightsLike) -> float:
        """Return what ``score`` does."""


@dataclass(frozen=True, eq=False)
class OneClass:
    """One class per row, with softmax outputs."""

    classes: Array
    loss: Loss
    by_class: ClassVar[bool] = True
    targets: ClassVar[str] = "classes"

    def __post_init__(self) -> None:
        """Check that there are at least two classes."""
        if len(self.classes) < 2:
            raise DataError(f"DBNClassifier needs at least 2 classes, got 1 class: {self.classes.tolist()[0]!r}")

    @property
    def n_outputs(self) -> int:
        """One for each class."""
        return len(self.classes)

    def probabilities(self, output: Array) -> Array:
        """Return the outputs."""
        return output

    def predict(self, output: Array) -> Array:
        """Return the most probable classes."""
        return self.classes[output.argmax(axis=1)]  # type: ignore[no-any-return]

    def constant(self, targets: Array, weights: Array | None) -> Array:
        """Return the share of each class."""
        return _shares(targets, weights, len(self.classes))

    def accuracy(self, y: TargetsLike, predicted: Array, unlabeled: object, weights: WeightsLike) -> float:
        """Return the accuracy on the rows with a label."""
        return share_right(y, predicted, self.classes, unlabeled, weights)


@dataclass(frozen=True, eq=False)
class Tasks:
    """One class per task and row, with a softmax for each task on shared layers."""

    classes: list[Array]
    weights: tuple[float, ...] | None = None
    loss: TaskSoftmaxNLL = field(init=False, repr=False)  # sum of the tasks' losses
    by_class: ClassVar[bool] = False
    targets: ClassVar[str] = "tasks"

    def __post_init__(self) -> None:
        """Check that each task has classes, and a weight if weights are given; create the loss."""
        for k, classes in enumerate(self.classes):
            if len(classes) < 2:
                found = f"1 class: {classes.tolist()[0]!r}" if len(classes) else "no label"
                raise DataError(f"task {k} (column {k} of y, from 0) needs at least 2 classes, got {found}")
        if self.weights is not None and len(self.weights) != len(self.classes):
            raise SettingError(f"task_weights has {len(self.weights)} numbers, y has {len(self.classes)} tasks")
        object.__setattr__(self, "loss", TaskSoftmaxNLL(tuple(map(len, self.classes)), self.weights))

    @property
    def n_outputs(self) -> int:
        """One output for each class of each task."""
        return sum(map(len, self.classes))

    def probabilities(self, output: Array) -> list[Array]:
        """Return the outputs of each task."""
        return [output[:, columns] for columns in self.loss.columns()]

    def predict(self, output: Array) -> Array:
        """Return the most probable class of each task."""
        each = zip(self.classes, self.probabilities(output), strict=True)
        columns = [classes[p.argmax(axis=1)] for classes, p in each]
        if len({column.dtype.kind in "US" for column in columns}) > 1:  # texts beside numbers
            columns = [column.astype(object) for column in columns]
        return np.column_stack(columns)

    def constant(self, targets: Array, weights: Array | None) -> Array:
        """Return the share of each class among the labels of its task."""
        each = zip(targets.T, self.classes, strict=True)
        return np.concatenate([_shares(column, weights, len(classes)) for column, classes in each])

    def accuracy(self, y: TargetsLike, predicted: Array, unlabeled: object, weights: WeightsLike) -> float:
        """Return the mean accuracy over tasks, each on the rows with a label for the task."""
        y = np.asarray(as_labels(y))
        if y.shape != predicted.shape:
            raise DataError(f"y has shape {y.shape}, the predictions have {predicted.shape}")
        found = [
            share_right(y[:, k], predicted[:, k], classes, unlabeled, weights, f"task {k} (column {k} of y, from 0)")
            for k, classes in enumerate(self.classes)
        ]
        return float(np.mean(found))


@dataclass(frozen=True, eq=False)
class Labels:
    """Any number of labels per row, with one logistic output for each label."""

    n_outputs: int
    loss: Loss
    by_class: ClassVar[bool] = False
    targets: ClassVar[str] = "labels"

    @property
    def classes(self) -> Array:
        """Return the indices of the labels."""
        return np.arange(self.n_outputs)

    def probabilities(self, output: Array) -> Array:
        """Return the outputs."""
        return output

    def predict(self, output: Array) -> Array:
        """Return 1 if a label is more probable than not, else 0."""
        return (output > 0.5).astype(np.int64)

    def constant(self, targets: Array, weights: Array | None) -> Array:
        """Return the share of each label."""
        return _means(targets, weights)

    def accuracy(self, y: TargetsLike, predicted: Array, unlabeled: object, weights: WeightsLike) -> float:
        """Return the share of the labelled rows whose labels are all predicted correctly."""
        y = np.asarray(as_labels(y))
        if y.shape != predicted.shape:
            raise DataError(f"y has shape {y.shape}, the predictions have {predicted.shape}")
        known = rows_to_compare(y, self.classes, unlabeled)
        some = known.any(axis=1)
        if not some.any():
            raise DataError("y has no label, so the predictions cannot be compared: pass labels")
        right = ((predicted == y) | ~known).all(axis=1)
        return float(np.average(right[some], weights=None if weights is None else np.asarray(weights)[some]))


@dataclass(frozen=True, eq=False)
class Values:
    """Real values, with linear outputs for targets of mean 0 and standard deviation 1."""

    mean: Array
    scale: Array
    own_loss: Loss | None = None
    n_present: float | None = None  # mean number of targets of a row, if some are missing
    loss: Loss = field(init=False, repr=False)
    by_class: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Create the loss; its RMSE is in the unit of a single target, or in standard deviations of several."""
        unit = float(self.scale[0]) if self.n_outputs == 1 else (self.n_present or self.n_outputs) ** -0.5
        loss = SquaredError(rmse_unit=unit) if self.own_loss is None else self.own_loss
        object.__setattr__(self, "loss", loss if self.n_present is None else MissingTargets(loss))

    @property
    def n_outputs(self) -> int:
        """One output for each column of y."""
        return len(self.mean)

    def encode(self, y: Array) -> Array:
        """Return standardised targets of shape (n_rows, n_outputs)."""
        columns: Array = y.reshape(len(y), -1)
        return (columns - self.mean) / self.scale

    def constant(self, targets: Array, weights: Array | None) -> Array:
        """Return the mean of each target."""
        return _means(targets, weights)

    def predict(self, output: Array) -> Array:
        """Return the outputs in the units of y; a vector if there is one column."""
        values: Array = output * self.scale + self.mean
        return values.ravel() if self.n_outputs == 1 else values


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Reconstruction of the rows, as they enter the first layer."""

    first: Weights
    loss: Loss
    by_class: ClassVar[bool] = False

    @property
    def n_outputs(self) -> int:
        """One output for each visible unit."""
        return self.first.n_visible

    def constant(self, targets: Array, weights: Array | None) -> Array:
        """Return the mean of each column."""
        return np.asarray(np.average(targets, axis=0, weights=weights), targets.dtype)

    def predict(self, output: Array) -> Array:
        """Return the outputs in the units of the data."""
        rows: Array = self.first.leave(output)
        return rows


def _shares(targets: Array, weights: Array | None, n_classes: int) -> Array:
    """Return the weighted share of each class; -1 marks a missing label."""
    known = targets >= 0
    counts = np.bincount(targets[known], None if weights is None else weights[known], minlength=n_classes)
    return np.asarray(counts / max(counts.sum(), np.finfo(float).tiny))


def _means(targets: Array, weights: Array | None) -> Array:
    """Return the weighted mean of each column; NaN marks a missing target."""
    present = ~np.isnan(targets)
    counted = present if weights is None else present * weights[:, None]
    total = np.where(present, targets, 0) * (1 if weights is None else weights[:, None])
    return np.asarray(total.sum(axis=0) / np.maximum(counted.sum(axis=0), np.finfo(float).tiny))

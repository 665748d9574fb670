"""How good a model is on rows: error with its interval, likelihood, confusions, reconstructions."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbelief.backends import get_backend
from deepbelief.errors import DataError
from deepbelief.likelihood import pseudo_log_likelihood
from deepbelief.machine import Machine
from deepbelief.pretraining import scaled
from deepbelief.sources import RowSource
from deepbelief.stack import Stack
from deepbelief.training import BLOCK_ROWS

NORMAL_95 = 1.959963984540054
LIKELIHOOD_ROWS = 500  # the pseudo-likelihood costs as much per row as one Gibbs step per visible unit


def wilson(wrong: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of an error rate."""
    p, z2 = wrong / n, NORMAL_95**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = NORMAL_95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return 0.0 if wrong == 0 else middle - half, 1.0 if wrong == n else middle + half


@dataclass(frozen=True, eq=False)
class Classified:
    """A classifier's scores: ``confusion[i, j]`` rows of class i were taken for class j."""

    classes: list[Any]
    confusion: NDArray[np.int64]
    nll: float
    n_unlabeled: int

    @property
    def n_rows(self) -> int:
        """Number of rows that were judged."""
        return int(self.confusion.sum())

    @property
    def n_wrong(self) -> int:
        """Number of rows taken for another class."""
        return self.n_rows - int(np.trace(self.confusion))


def classify(classifier: Any, rows: RowSource, labels: NDArray[Any]) -> Classified:
    """Score a classifier on labelled rows; those labelled -1 are left out unless that is a class.

    Raises
    ------
    DataError
        If a label is not one of the classes, or no row has one.
    """
    classes = classifier.classes_
    if classes.dtype.kind in "US" and labels.dtype.kind not in "US":
        labels = labels.astype(str)
    known = np.ones(len(labels), bool)
    if labels.dtype.kind in "iuf" and -1 not in classes:
        known = labels != -1
    if not known.any():
        raise DataError("no row has a label: there is nothing to compare with")
    foreign = ~np.isin(labels[known], classes)
    if foreign.any():
        shown = ", ".join(str(c) for c in classes[:12])
        raise DataError(f"label {labels[known][foreign][0]} is not one of the model's classes {shown}")
    truth = np.searchsorted(classes, labels[known])
    log_p = np.asarray(classifier.predict_log_proba(rows), np.float64)[known]
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (truth, log_p.argmax(axis=1)), 1)
    nll = -float(log_p[np.arange(len(truth)), truth].mean())
    return Classified(classes.tolist(), confusion, nll, int((~known).sum()))


def regress(regressor: Any, rows: RowSource, labels: NDArray[Any]) -> tuple[float, float | None]:
    """Return the root mean squared error and R2 of a regressor; R2 is None where all labels are the same."""
    squared = float(np.square(regressor.predict(rows) - labels).mean())
    variance = float(labels.var())
    return math.sqrt(squared), 1 - squared / variance if variance else None


def reconstruction_errors(stack: Stack, rows: RowSource, backend: str) -> list[float]:
    """Return the mean squared error, summed over inputs, after going up through 1, 2 ... layers and down again."""
    bk = get_backend(backend)
    machines = [Machine(weights, bk) for weights in stack]
    source = scaled(rows, stack.layers[0])
    sums = np.zeros(len(machines))
    for start in range(0, source.shape[0], BLOCK_ROWS):
        v = bk.asarray(source.take(slice(start, start + BLOCK_ROWS)), dtype=machines[0].dtype)
        h = v
        for i, machine in enumerate(machines):
            if i and stack.layers[i].mean is not None:
                h = (h - bk.asarray(stack.layers[i].mean)) / bk.asarray(stack.layers[i].scale)
            h = machine.mean_hidden(h)
            sums[i] += float(bk.to_numpy(bk.xp.square(_down(stack, machines, h, i) - v).sum()))
    return [float(total) / source.shape[0] for total in sums]


def _down(stack: Stack, machines: list[Machine], h: Any, top: int) -> Any:
    for i in range(top, -1, -1):
        h = machines[i].mean_visible(h)
        weights = stack.layers[i]
        if i and weights.mean is not None:
            h = h * machines[i].bk.asarray(weights.scale) + machines[i].bk.asarray(weights.mean)
    return h


def first_layer_likelihood(stack: Stack, rows: RowSource) -> tuple[float, int] | None:
    """Return the mean pseudo-log-likelihood of the first layer and the number of rows it was taken over.

    None where the units have none.
    """
    weights = stack.layers[0]
    if weights.hidden != "bernoulli" or weights.visible == "gaussian":
        return None
    n = min(rows.shape[0], LIKELIHOOD_ROWS)
    index = np.linspace(0, rows.shape[0] - 1, n).round().astype(np.intp)
    return float(pseudo_log_likelihood(weights, scaled(rows, weights).take(index)).mean()), n

"""Labels as visible units beside the rows: initial weights, and the joint probability of rows and labels."""

import numpy as np

from deepbelief.backends import Backend
from deepbelief.errors import DataError
from deepbelief.estimators.class_deviations import deviation_shares
from deepbelief.estimators.labels import check_classes, labelled_rows, warn_doubts
from deepbelief.estimators.sample_weights import weighted
from deepbelief.layer import RBMSettings, choose_visible, initial_weights
from deepbelief.machine import Machine
from deepbelief.settings import FROM_ROWS
from deepbelief.sources import (
    JoinedSource,
    RowSource,
    SubsetSource,
    as_source,
    blocks,
    entering_as,
    has_missing,
    weights_of,
)
from deepbelief.stack import Weights
from deepbelief.training import BLOCK_ROWS, Reporter, Rows
from deepbelief.typing import Array
from deepbelief.units import Unit, WithLabels, named_unit


def labelled_part(
    source: RowSource, y: Array, unlabeled: object, reporter: Reporter
) -> tuple[RowSource, Array, Array]:  # fmt: skip
    """Return the rows with a label, their class numbers, and the classes."""
    if y.ndim != 1:
        raise DataError(f"y must be one column of classes, got shape {y.shape}")
    known = labelled_rows(y, unlabeled)
    if not known.any():
        raise DataError("every row is unlabelled: RBMClassifier needs labels; use RBM for rows without")
    classes, numbers = np.unique(check_classes(y[known]), return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"y has 1 class, {classes.tolist()[0]!r}: at least 2 classes are needed")
    warn_doubts(y, classes, unlabeled)
    if known.all():
        return source, numbers, classes
    reporter.note(f"{int((~known).sum())} of {len(y)} rows are unlabelled: they are left out")
    return SubsetSource(source, np.flatnonzero(known)), numbers, classes


def labelled_weights(
    source: RowSource, n_hidden: int, shares: Array, settings: RBMSettings, seed: int, numbers: Array
) -> Weights:  # fmt: skip
    """Return weights to start from, for rows with their labels beside them.

    Parameters
    ----------
    source : RowSource
        Without the labels.
    n_hidden : int
    shares : ndarray of shape (n_classes,)
        Of the rows.
    settings : RBMSettings
    seed : int
    numbers : ndarray of int of shape (n_rows,)
        Classes of the source's rows. Deviations within them are the scale of Gaussian columns.
    """
    n_classes = len(shares)
    visible = settings.visible if settings.visible in FROM_ROWS else named_unit(settings.visible)
    unit, mean, scale, visible_mean = choose_visible(visible, source, scale=settings.scale, missing=has_missing(source))
    means = np.concatenate([visible_mean, shares.astype(visible_mean.dtype)])
    if mean is not None and scale is not None:
        mean = np.concatenate([mean, np.zeros(n_classes, mean.dtype)])
        shares_within = deviation_shares(source, numbers).astype(scale.dtype) if unit.standardises else 1
        scale = np.where(unit.standardised(len(scale)), scale * shares_within, scale)
        scale = np.concatenate([scale, np.ones(n_classes, scale.dtype)])
    return initial_weights(
        n_hidden, WithLabels(unit, n_classes), named_unit(settings.hidden), mean, scale, means,
        seed=seed, layer=0, sparsity_target=settings.sparsity_target,
    )  # fmt: skip


def log_joint(weights: Weights, source: RowSource, n_classes: int, bk: Backend, beyond: float) -> Array:
    """Return log p(v, y) up to log Z for every class, of shape (n_rows, n_classes)."""
    machine, n = Machine(weights, bk), weights.n_visible - n_classes
    data: Unit = machine.visible.data  # type: ignore[attr-defined]
    mean, scale = (None if each is None else each[:n] for each in (weights.mean, weights.scale))
    source = entering_as(source, data, mean, scale, beyond)
    found = np.empty((source.shape[0], n_classes))
    for start, stop, v in Rows(source, bk, machine.dtype).blocks(BLOCK_ROWS):
        x = bk.xp.matmul(v, machine.W[:n])
        x += machine.hbias
        own = -data.energy(bk, v, machine.vbias[:n])
        for k in range(n_classes):
            log_p = machine.hidden.log_partition(bk, x + machine.W[n + k]) + machine.vbias[n + k] + own
            found[start:stop, k] = bk.to_numpy(log_p)
    return found


def beside(source: RowSource, labels: Array) -> RowSource:
    """Return rows with labels beside them; those with missing values in memory, where they are looked for."""
    joined = JoinedSource(source, as_source(labels))
    if not has_missing(source):
        return joined
    return weighted(as_source(np.concatenate(list(blocks(joined)))), weights_of(source))

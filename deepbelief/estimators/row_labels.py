"""Initial weights of rows with labels beside them, and the joint probability of rows and labels."""

import numpy as np

from deepbelief.backends import Backend
from deepbelief.errors import DataError
from deepbelief.estimators.labels import check_classes, labelled_rows, warn_doubts
from deepbelief.estimators.sample_weights import weighted
from deepbelief.layer import RBMSettings, choose_visible, initial_weights
from deepbelief.likelihood.marginal import marginal_log_p
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
from deepbelief.typing import Array, Float64Array
from deepbelief.units import Unit, WithLabels, named_unit

LEAST_SHARE = 0.1  # lower limit of a share; classes that consist of a single point have none


def deviation_shares(source: RowSource, numbers: Array) -> Float64Array:
    """Return the standard deviation of each column within classes, as a share of its deviation over all rows.

    Parameters
    ----------
    source : RowSource
        NaN marks a missing value, which is ignored.
    numbers : ndarray of int of shape (n_rows,)
        Classes.

    Returns
    -------
    ndarray of shape (n_features,)
        Between 0.1 and 1; 1 for constant columns.

    Examples
    --------
    >>> from deepbelief.sources import as_source
    >>> rows = as_source([[0.0, 1.0], [2.0, 3.0], [8.0, 1.0], [10.0, 3.0]])
    >>> deviation_shares(rows, np.array([0, 0, 1, 1])).round(3).tolist()
    [0.297, 1.0]
    """
    shape = int(numbers.max()) + 1, source.shape[1]
    counts, sums, squares = np.zeros(shape), np.zeros(shape), np.zeros(shape[1])
    weights, start, origin = weights_of(source), 0, np.zeros(shape[1])
    for block in blocks(source):
        rows = np.asarray(block, dtype=np.float64)
        if not start:
            origin = np.nan_to_num(rows[0])
        present = ~np.isnan(rows)
        beyond = np.where(present, rows - origin, 0.0)
        own = np.ones(len(rows)) if weights is None else weights[start : start + len(rows)]
        members = own[:, None] * np.eye(shape[0])[numbers[start : start + len(rows)]]
        counts += members.T @ present
        sums += members.T @ beyond
        squares += own @ np.square(beyond)
        start += len(rows)
    n, n_classes = counts.sum(axis=0), (counts > 0).sum(axis=0)
    over_all = squares - np.square(sums.sum(axis=0)) / n
    within = squares - (np.square(sums) / np.maximum(counts, np.finfo(np.float64).tiny)).sum(axis=0)
    known = (over_all > 0) & (within > 0) & (n > n_classes)
    shares = np.where(over_all > 0, LEAST_SHARE, 1.0)
    shares[known] = np.sqrt(within[known] / (n - n_classes)[known] / (over_all[known] / (n[known] - 1)))
    return np.clip(shares, LEAST_SHARE, 1.0)


def labelled_part(
    source: RowSource, y: Array, unlabeled: object, reporter: Reporter
) -> tuple[RowSource, Array, Array]:  # fmt: skip
    """Return the labelled rows, their class numbers, and the classes."""
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
    """Return initial weights for rows followed by their labels.

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
        Class numbers of the rows. Gaussian columns are scaled by their deviations within classes.
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
    """Return log p(v, y) up to log Z for every class, of shape (n_rows, n_classes); missing values are summed out."""
    machine, n = Machine(weights, bk), weights.n_visible - n_classes
    data: Unit = machine.visible.data  # type: ignore[attr-defined]
    mean, scale = (None if each is None else each[:n] for each in (weights.mean, weights.scale))
    source = entering_as(source, data, mean, scale, beyond)
    found = np.empty((source.shape[0], n_classes))
    for start, stop, v in Rows(source, bk, machine.dtype).blocks(BLOCK_ROWS):
        if np.isnan(bk.to_numpy(v.sum(axis=1))).any():
            for k in range(n_classes):
                labels = bk.xp.zeros((len(v), n_classes), machine.dtype)
                labels[:, k] = 1
                both = bk.xp.concatenate([v, labels], axis=1)
                found[start:stop, k] = bk.to_numpy(marginal_log_p(machine, both))
            continue
        x = bk.xp.matmul(v, machine.W[:n])
        x += machine.hbias
        own = -data.energy(bk, v, machine.vbias[:n])
        for k in range(n_classes):
            log_p = machine.hidden.log_partition(bk, x + machine.W[n + k]) + machine.vbias[n + k] + own
            found[start:stop, k] = bk.to_numpy(log_p)
    return found


def beside(source: RowSource, labels: Array) -> RowSource:
    """Return rows followed by their labels; rows with missing values are read into memory."""
    joined = JoinedSource(source, as_source(labels))
    if not has_missing(source):
        return joined
    return weighted(as_source(np.concatenate(list(blocks(joined)))), weights_of(source))

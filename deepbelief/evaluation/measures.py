"""Measures of error: intervals, confusion tables, reconstructions through each depth, PCA, and rounded codes."""

import math
from typing import Any

import numpy as np

from deepbelief.backends import Backend, get_backend
from deepbelief.estimators.base import whole_rows
from deepbelief.estimators.views import decode, reconstruct
from deepbelief.likelihood import pseudo_log_likelihood
from deepbelief.losses import CrossEntropy
from deepbelief.machine import Layers
from deepbelief.sources import OF_NETWORKS, RowSource, SubsetSource, as_source, blocks, entering, has_missing
from deepbelief.stack import Stack
from deepbelief.streaming import BLOCK_ROWS
from deepbelief.typing import Array, DtypeLike, Estimator

NORMAL_95 = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution
MAX_PSEUDO_ROWS = 500  # rows; the pseudo-likelihood of a row costs a Gibbs step for each visible unit
MAX_PCA_COLUMNS = 4096  # columns; PCA needs a matrix of this size squared


def wilson_interval(wrong: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of an error rate.

    References
    ----------
    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.

    Examples
    --------
    >>> low, high = wilson_interval(10, 100)
    >>> round(low, 3), round(high, 3)
    (0.055, 0.174)
    """
    p, z2 = wrong / n, NORMAL_95**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = NORMAL_95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return 0.0 if wrong == 0 else middle - half, 1.0 if wrong == n else middle + half


def reconstruction_errors(stack: Stack, rows: RowSource, bk: Backend) -> Array:
    """Return the squared error of each row, summed over inputs, after going through 1, 2 ... layers and back.

    Returns
    -------
    ndarray of shape (n_layers, n_rows), float64
        Gaussian inputs are in standard deviations of the training rows. Missing values are ignored.
    """
    layers, source = Layers(stack, bk), entering(whole_rows(rows, stack.layers[0], bk), stack.layers[0], OF_NETWORKS)
    gaps = has_missing(rows)
    errors = np.zeros((len(stack), source.shape[0]))
    for start in range(0, source.shape[0], BLOCK_ROWS):
        v = bk.asarray(source.take(slice(start, start + BLOCK_ROWS)), dtype=stack.layers[0].W.dtype)
        known = bk.asarray(_known(rows, start, stack.layers[0].W.dtype)) if gaps else None
        for i, h in enumerate(layers.up(v)):
            off = layers.down(h, i + 1) - v
            squared = bk.xp.square(off if known is None else off * known).sum(axis=1)
            errors[i, start : start + BLOCK_ROWS] = bk.to_numpy(squared)
    return errors


def _known(rows: RowSource, start: int, dtype: DtypeLike) -> Array:
    """Return 1 for each observed value of a block, and 0 for each missing one."""
    return (~np.isnan(rows.take(slice(start, start + BLOCK_ROWS)))).astype(dtype)


def first_layer_pseudo_likelihood(stack: Stack, rows: RowSource) -> tuple[float, int] | None:
    """Return the mean pseudo-log-likelihood of the first layer and the number of rows that it was taken over.

    None if the units have no pseudo-likelihood.
    """
    weights = stack.layers[0]
    if not weights.has_pseudo_likelihood:
        return None
    n = min(rows.shape[0], MAX_PSEUDO_ROWS)
    index = np.linspace(0, rows.shape[0] - 1, n).round().astype(np.intp)
    return float(pseudo_log_likelihood(weights, SubsetSource(rows, index)).mean()), n


def code_errors(autoencoder: Estimator, rows: RowSource) -> tuple[Array, float | None]:
    """Return the squared error of each row and, where outputs are probabilities, the mean cross-entropy per row.

    Missing values are ignored in the squared error.
    """
    squared, cross = np.zeros(rows.shape[0]), 0.0
    bk, entropy, start = get_backend(), CrossEntropy(), 0
    first = autoencoder.pretrained_stack_.layers[0]
    probabilities = first.visible_unit.unit_interval
    gaps, whole = has_missing(rows), whole_rows(rows, first, bk)
    for block in blocks(whole, BLOCK_ROWS):
        block = np.asarray(block, autoencoder.coefs_[0].dtype)
        back = reconstruct(autoencoder, as_source(block))
        if gaps:
            back = np.where(_known(rows, start, bool), back, block)
        squared[start : start + len(block)] = np.square(back - block).sum(axis=1, dtype=np.float64)
        start += len(block)
        if probabilities:
            cross += float(entropy.values(bk, first.enter(back), first.enter(block)).sum(dtype=np.float64))
    return squared, cross / rows.shape[0] if probabilities else None


def pca_error(rows: RowSource, n_components: int) -> float | None:
    """Return the mean squared error per row of PCA fitted to the same rows, the minimum over all linear codes.

    It is the sum of the omitted eigenvalues of the covariance. None if there are too many columns.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief.sources import as_source
    >>> round(pca_error(as_source(np.eye(3)), 1), 6)
    0.333333
    """
    n, width = rows.shape
    if width > MAX_PCA_COLUMNS:
        return None
    first = np.asarray(rows.take(slice(0, 1)), np.float64)
    total, products = np.zeros(width), np.zeros((width, width))
    for block in blocks(rows, BLOCK_ROWS):
        moved = np.asarray(block, np.float64) - first  # a common offset would dominate the products
        total += moved.sum(axis=0)
        products += moved.T @ moved
    covariance = products / n - np.outer(total, total) / n**2
    eigenvalues = np.linalg.eigvalsh(covariance)
    return float(np.maximum(eigenvalues[: max(width - n_components, 0)], 0).sum())


def rounded_error(autoencoder: Estimator, rows: RowSource, bits: int) -> float:
    """Return the mean squared error per row with the codes of each unit rounded to ``2**bits`` equal steps."""
    low, high = np.inf, -np.inf
    rows = whole_rows(rows, autoencoder.pretrained_stack_.layers[0], get_backend())
    for block in blocks(rows, BLOCK_ROWS):
        codes = autoencoder.transform(as_source(block))
        low, high = np.minimum(low, codes.min(axis=0)), np.maximum(high, codes.max(axis=0))
    step = np.where(high > low, (high - low) / (2**bits - 1), 1)
    squared = 0.0
    for block in blocks(rows, BLOCK_ROWS):
        block = np.asarray(block, autoencoder.coefs_[0].dtype)
        codes = np.rint((autoencoder.transform(as_source(block)) - low) / step) * step + low
        squared += float(np.square(decode(autoencoder, codes) - block).sum(dtype=np.float64))
    return squared / rows.shape[0]


def stored_bytes(rows: RowSource) -> int:
    """Return the size in bytes of a row where it is stored, before scaling."""
    inner: Any = rows
    for held in ("source", "array", "matrix", "dataset"):
        while hasattr(inner, held):
            inner = getattr(inner, held)
    return int(rows.shape[1] * np.dtype(inner.dtype).itemsize)


def expected_accuracy(predicted: Array, frames: Array, lengths: Array) -> float:
    """Return TP / (TP + FP + FN) of predicted next frames, each in expectation; first frames are not predicted.

    Parameters
    ----------
    predicted : ndarray of shape (n_frames, n_features)
        Row t is the expectation of frame t + 1.
    frames : ndarray of shape (n_frames, n_features)
    lengths : ndarray of int
        Of the sequences.

    Returns
    -------
    float
    """
    later = np.ones(len(frames), bool)
    later[np.cumsum(lengths)[:-1]] = False
    later[0] = False
    seen, expected = frames[later], predicted[np.flatnonzero(later) - 1]
    hits = float((seen * expected).sum())
    return hits / max(float(seen.sum() + expected.sum()) - hits, 1e-12)

"""How good codes are: errors of an autoencoder's reconstructions, of PCA's at the same size, and of rounded codes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbelief.backends import get_backend
from deepbelief.losses import CrossEntropy
from deepbelief.sources import RowSource, blocks
from deepbelief.training import BLOCK_ROWS

Array = NDArray[Any]
MOST_COLUMNS = 4096  # PCA needs a matrix of this width squared


def reconstruction_scores(autoencoder: Any, rows: RowSource) -> tuple[float, float | None]:
    """Return mean squared error and, for outputs that are probabilities, mean cross-entropy, both per row."""
    squared = cross = 0.0
    bk, entropy = get_backend(), CrossEntropy()
    bernoulli = autoencoder.pretrained_stack_.layers[0].visible == "bernoulli"
    for block in blocks(rows, BLOCK_ROWS):
        block = np.asarray(block, autoencoder.coefs_[0].dtype)
        back = autoencoder.inverse_transform(autoencoder.transform(block))
        squared += float(np.square(back - block).sum(dtype=np.float64))
        if bernoulli:
            cross += float(entropy.values(bk, back, block).sum(dtype=np.float64))
    n = rows.shape[0]
    return squared / n, cross / n if bernoulli else None


def pca_error(rows: RowSource, n_components: int) -> float | None:
    """Return the mean squared error per row of PCA fitted to these very rows: the least of any linear code.

    It is the sum of the eigenvalues of the covariance that are left out. None where there are too many columns.
    """
    n, width = rows.shape
    if width > MOST_COLUMNS:
        return None
    first = np.asarray(rows.take(slice(0, 1)), np.float64)
    total, products = np.zeros(width), np.zeros((width, width))
    for block in blocks(rows, BLOCK_ROWS):
        moved = np.asarray(block, np.float64) - first  # a common offset would swamp the products
        total += moved.sum(axis=0)
        products += moved.T @ moved
    covariance = products / n - np.outer(total, total) / n**2
    eigenvalues = np.linalg.eigvalsh(covariance)
    return float(np.maximum(eigenvalues[: max(width - n_components, 0)], 0).sum())


def rounded_error(autoencoder: Any, rows: RowSource, bits: int) -> float:
    """Return the mean squared error per row when each unit's codes are rounded to ``2**bits`` even steps."""
    low, high = np.inf, -np.inf
    for block in blocks(rows, BLOCK_ROWS):
        codes = autoencoder.transform(block)
        low, high = np.minimum(low, codes.min(axis=0)), np.maximum(high, codes.max(axis=0))
    step = np.where(high > low, (high - low) / (2**bits - 1), 1)
    squared = 0.0
    for block in blocks(rows, BLOCK_ROWS):
        block = np.asarray(block, autoencoder.coefs_[0].dtype)
        codes = np.rint((autoencoder.transform(block) - low) / step) * step + low
        squared += float(np.square(autoencoder.inverse_transform(codes) - block).sum(dtype=np.float64))
    return squared / rows.shape[0]


def stored_bytes(rows: RowSource) -> int:
    """Return the bytes that one row takes where it comes from, before scaling."""
    inner: Any = rows
    for held in ("source", "array", "matrix", "dataset"):
        while hasattr(inner, held):
            inner = getattr(inner, held)
    return int(rows.shape[1] * np.dtype(inner.dtype).itemsize)

"""Weighted rows."""

import numpy as np
from numpy.typing import ArrayLike

from deepbelief.sources.derived_rows import JoinedSource, SubsetSource
from deepbelief.sources.rows import RowSource
from deepbelief.typing import Array, Float64Array


def with_weights(source: RowSource, weights: ArrayLike) -> SubsetSource:
    """Return rows with weights, without the rows of weight 0.

    Weights are counts: a row with weight 2 counts as two such rows. Sources derived from the returned one keep them.

    Parameters
    ----------
    source : RowSource
    weights : array-like of shape (n_rows,)
        Finite numbers of at least 0, not all 0.

    Returns
    -------
    SubsetSource

    Examples
    --------
    >>> from deepbelief.sources import as_source
    >>> rows = with_weights(as_source([[1.0], [2.0], [3.0]]), [2, 0, 1])
    >>> rows.take(slice(None)).tolist(), rows.row_weights.tolist()
    ([[1.0], [3.0]], [2.0, 1.0])
    """
    given: Float64Array = np.asarray(weights, dtype=np.float64)
    present = np.flatnonzero(given)
    return SubsetSource(source, present, row_weights=given[present])


def weights_of(source: object) -> Float64Array | None:
    """Return the weight of each row of a source; None if all rows have equal weight.

    Examples
    --------
    >>> from deepbelief.sources import as_source
    >>> weighted = with_weights(as_source([[1.0], [2.0], [3.0]]), [2, 0, 1])
    >>> weights_of(SubsetSource(weighted, [1, 0])).tolist()
    [1.0, 2.0]
    """
    own: Float64Array | None = getattr(source, "row_weights", None)
    if own is not None:
        return own
    below = source.left if isinstance(source, JoinedSource) else getattr(source, "source", None)
    found = None if below is None else weights_of(below)
    return found[source.indices] if found is not None and isinstance(source, SubsetSource) else found


def mean_one(weights: Float64Array) -> Float64Array:
    """Return weights scaled to mean 1, so that learning rates have the same meaning as without weights."""
    return np.asarray(weights * (len(weights) / weights.sum()))


def counted(weights: Float64Array) -> Float64Array:
    """Return weights as numbers of rows: unchanged, or scaled up to the number of rows if their sum is smaller."""
    return np.asarray(weights * max(1.0, len(weights) / weights.sum()))


def quantile(values: Array, q: float, weights: Float64Array | None = None) -> float:
    """Return a weighted quantile of values, by linear interpolation.

    Examples
    --------
    >>> values = np.array([1.0, 2.0, 4.0])
    >>> quantile(values, 0.9, np.array([1.0, 2.0, 3.0])) == np.quantile([1, 2, 2, 4, 4, 4], 0.9)
    np.True_
    """
    if weights is None:
        return float(np.quantile(values, q))
    order = np.argsort(values)
    last = np.cumsum(counted(weights)[order])
    place = q * (last[-1] - 1)
    below, above = np.searchsorted(last, np.floor(place) + np.array([0, 1]), side="right").clip(max=len(values) - 1)
    low, high = values[order[below]], values[order[above]]
    return float(low + (high - low) * (place - np.floor(place)))

"""Site statistics that compare samples of a family of sequences with the sequences themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepbelief.sources import as_source, weights_of
from deepbelief.typing import Array, Float64Array, RowsLike


@dataclass(frozen=True, eq=False)
class SiteStatistics:
    """Frequencies of the letters at each site, and correlations of the letters at pairs of sites.

    Attributes
    ----------
    frequencies : ndarray of shape (n_units,)
    correlations : ndarray
        f_ij(a, b) - f_i(a) f_j(b) for all letters a and b of all pairs of different sites i < j.
    groups : tuple of int
        Number of letters of each site.
    """

    frequencies: Float64Array
    correlations: Float64Array
    groups: tuple[int, ...]

    def agreement(self, other: "SiteStatistics") -> tuple[float, float]:
        """Return Pearson's correlations of the frequencies, and of the correlations, with those of other sequences."""
        return (
            pearson(self.frequencies, other.frequencies),
            pearson(self.correlations, other.correlations),
        )


def site_statistics(rows: RowsLike, groups: Sequence[int], weights: Array | None = None) -> SiteStatistics:
    """Return the frequencies and pair correlations of sequences.

    Parameters
    ----------
    rows : array or RowSource of shape (n_sequences, n_units)
        0 and 1, one group of columns for each site.
    groups : sequence of int
        Sizes of the groups, as ``schema.groups``.
    weights : ndarray of shape (n_sequences,), optional
        By default the weights of the source, if it has any.

    Returns
    -------
    SiteStatistics

    Examples
    --------
    >>> rows = np.eye(2)[[[0, 0], [0, 0], [1, 1], [1, 1]]].reshape(4, 4)
    >>> found = site_statistics(rows, (2, 2))
    >>> found.frequencies.tolist(), found.correlations.tolist()
    ([0.5, 0.5, 0.5, 0.5], [0.25, -0.25, -0.25, 0.25])
    """
    source = as_source(rows)
    known = weights_of(source) if weights is None else weights
    w = np.ones(source.shape[0]) if known is None else np.asarray(known, np.float64)
    v = np.nan_to_num(np.asarray(source.take(slice(None)), np.float64))
    w = w / w.sum()
    frequencies = w @ v
    covariances = (v * w[:, None]).T @ v - np.outer(frequencies, frequencies)
    site = np.repeat(np.arange(len(groups)), groups)
    pairs = site[:, None] < site
    return SiteStatistics(frequencies, covariances[pairs], tuple(groups))


def pearson(x: Float64Array, y: Float64Array) -> float:
    """Return the correlation of two vectors; 0 if one is constant."""
    x, y = x - x.mean() if x.size else x, y - y.mean() if y.size else y
    norm = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float(x @ y) / norm if norm > 0 else 0.0

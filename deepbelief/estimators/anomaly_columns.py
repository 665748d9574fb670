"""Columns of a table as an outlier detector sees them: bins for a density, clipped values for reconstructions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from deepbelief.errors import DataError
from deepbelief.sources import quantile
from deepbelief.sources.frames import Frame, as_frame
from deepbelief.stack import Weights
from deepbelief.typing import Array, RowsLike

BINS = 12  # of a number between -3 and 3 standard deviations; one with so few values has a bin for each
REACH = 3.0
CLIP = 5.0  # largest value that reconstructions see, in robust standard deviations
INNER = (0.05, 0.95)  # quantiles, which lie 3.29 standard deviations apart in a normal distribution


@dataclass(frozen=True, eq=False)
class NumberColumn:
    """Bins and robust scale of a number."""

    edges: Array
    used: Array  # bins that training rows fall into
    fallback: int  # place of the most frequent bin, for values that are missing or fall between
    centre: float
    scale: float
    has_missing: bool

    @property
    def width(self) -> int:
        """Number of states."""
        return len(self.used) + self.has_missing

    def places(self, values: Array, missing: Array) -> Array:
        """Return the state of each row; values outside all bins of training rows take the nearest one."""
        bins = np.searchsorted(self.edges, np.where(missing, self.centre, values))
        right = np.minimum(np.searchsorted(self.used, bins), len(self.used) - 1)
        left = np.maximum(right - 1, 0)
        nearer = np.abs(self.used[left] - bins) < np.abs(self.used[right] - bins)
        places = np.where(nearer, left, right)
        return np.where(missing, len(self.used) if self.has_missing else self.fallback, places)

    def columns(self, values: Array, missing: Array) -> Array:
        """Return the clipped values, 0 where they are missing."""
        scaled = np.clip((np.where(missing, self.centre, values) - self.centre) / self.scale, -CLIP, CLIP)
        return scaled.reshape(-1, 1).astype(np.float64)


@dataclass(frozen=True, eq=False)
class CategoryColumn:
    """States of a category."""

    name: str
    categories: tuple[Any, ...]
    shares: Array
    fallback: int
    has_missing: bool

    @property
    def width(self) -> int:
        """Number of states."""
        return len(self.categories) + self.has_missing

    def places(self, values: Array, missing: Array) -> Array:
        """Return the state of each row; refuse a category that training rows did not have."""
        known = {value: place for place, value in enumerate(self.categories)}
        found = np.array([-1 if gone else known.get(v, -2) for v, gone in zip(values.tolist(), missing, strict=True)])
        if (found == -2).any():
            bad = int(np.argmax(found == -2))
            raise DataError(
                f"row {bad}, column {self.name!r}: {values[bad]!r} is a category that training rows did not have "
                f"({', '.join(map(repr, self.categories[:10]))})"
            )
        return np.where(missing, len(self.categories) if self.has_missing else self.fallback, found)

    def columns(self, values: Array, missing: Array) -> Array:
        """Return a standardised column of 0 and 1 for each category."""
        places = self.places(values, missing)
        ones = (places[:, None] == np.arange(len(self.categories))).astype(np.float64)
        ones[missing] = self.shares
        return np.asarray((ones - self.shares) / np.sqrt(self.shares * (1 - self.shares)), np.float64)


@dataclass(frozen=True, eq=False)
class DetectorColumns:
    """Columns of a table as an outlier detector reads them.

    Parameters
    ----------
    names : tuple of str
    columns : tuple
        One for each column; None for those that are constant in the training rows.
    """

    names: tuple[str, ...]
    columns: tuple[NumberColumn | CategoryColumn | None, ...]

    @classmethod
    def fit(cls, rows: RowsLike, weights: Array | None = None) -> Self:
        """Decide on bins and scales from training rows, by their weights where they are given.

        Raises
        ------
        DataError
            If no column varies.
        """
        frame = as_frame(rows)
        columns = tuple(_read(frame, i, weights) for i in range(len(frame.names)))
        if all(column is None for column in columns):
            columns = tuple(_constant(frame, i) for i in range(len(frame.names)))
        return cls(frame.names, columns)

    @property
    def groups(self) -> tuple[int, ...]:
        """Number of states of each column that varies."""
        return tuple(column.width for column in self.columns if column is not None)

    @property
    def n_values(self) -> int:
        """Number of columns of `values`."""
        return sum(
            len(column.categories) if isinstance(column, CategoryColumn) else 1
            for column in self.columns
            if column is not None
        )

    @property
    def visible(self) -> str:
        """Type of the visible units of the density."""
        return "softmax:" + ",".join(map(str, self.groups))

    def states(self, rows: RowsLike) -> Array:
        """Return one group of 0 and 1 for each column."""
        frame = as_frame(rows, self.names)
        out, start = np.zeros((frame.n_rows, sum(self.groups)), np.float64), 0
        for column, (values, missing) in self._pairs(frame):
            out[np.arange(len(out)), start + column.places(values, missing)] = 1
            start += column.width
        return out

    def values(self, rows: RowsLike) -> Array:
        """Return clipped, robustly scaled values."""
        frame = as_frame(rows, self.names)
        return np.hstack([column.columns(values, missing) for column, (values, missing) in self._pairs(frame)])

    def _pairs(self, frame: Frame) -> Any:
        for name, column in zip(self.names, self.columns, strict=True):
            if name not in frame.names:
                raise DataError(f"the table lacks the column {name!r}")
            if column is None:
                continue
            values, missing = frame.column(frame.names.index(name))
            if isinstance(column, NumberColumn) and values.dtype.kind != "f":
                bad = int(np.argmin(missing))
                raise DataError(f"row {bad}, column {name!r}: {values[bad]!r} is not a number")
            yield column, (values, missing)


def _read(frame: Frame, i: int, weights: Array | None) -> NumberColumn | CategoryColumn | None:
    """Return what one column is; None if it is constant or empty."""
    values, missing = frame.column(i)
    known, own = values[~missing], None if weights is None else weights[~missing]
    if not len(known):
        return None
    if frame.numeric[i]:
        return _number(frame.names[i], known, own, bool(missing.any()))
    categories, places = np.unique(np.array([str(v) for v in known]), return_inverse=True)
    counts = np.bincount(places, own)
    originals = {str(v): v for v in known.tolist()}
    if len(categories) + bool(missing.any()) < 2:
        return None
    shares = np.clip(counts / counts.sum(), 1e-3, 1 - 1e-3).astype(np.float64)
    found = tuple(originals[name] for name in categories.tolist())
    return CategoryColumn(frame.names[i], found, shares, int(counts.argmax()), bool(missing.any()))


def _number(name: str, known: Array, weights: Array | None, has_missing: bool) -> NumberColumn | None:
    if not np.isfinite(known).all():
        bad = int(np.argmin(np.isfinite(known)))
        raise DataError(f"column {name!r} has a value that is not finite: {known[bad]}")
    distinct = np.unique(known)
    if len(distinct) < 2 and not has_missing:
        return None
    mean = np.average(known, weights=weights)
    deviation = float(np.sqrt(np.average(np.square(known - mean), weights=weights)))
    centre = quantile(known, 0.5, weights)
    if len(distinct) <= BINS:
        edges = (distinct[1:] + distinct[:-1]) / 2
    else:
        edges = mean + deviation * np.linspace(-REACH, REACH, BINS + 1)[1:-1]
    used, places = np.unique(np.searchsorted(edges, known), return_inverse=True)
    counts = np.bincount(places, weights)
    if len(used) + has_missing < 2:
        return None
    low, high = (quantile(known, q, weights) for q in INNER)
    scale = (high - low) / 3.29 or deviation or 1.0
    return NumberColumn(edges, used, int(counts.argmax()), centre, scale, has_missing)


def _constant(frame: Frame, i: int) -> NumberColumn:
    """Return two states for a column that does not vary, where no column does."""
    values, missing = frame.column(i)
    centre = float(values[~missing][0]) if frame.numeric[i] and not missing.all() else 0.0
    return NumberColumn(np.array([centre + abs(centre) * 1e-6 + 1e-12]), np.array([0, 1]), 0, centre, 1.0, False)


def conditional_surprise(weights: Weights, columns: Sequence[Any], states: Array) -> Array:
    """Return -log p(state of a column | states of the others) for each row and column, in nats.

    Parameters
    ----------
    weights : Weights
        Of a machine with one softmax group for each column that varies, and Bernoulli hidden units.
    columns : sequence
        Each has a ``width``, or is None where it does not vary.
    states : ndarray of shape (n_rows, n_units)

    Returns
    -------
    ndarray of shape (n_rows, n_columns)
    """
    W, found, start = weights.W.astype(np.float64), np.zeros((len(states), len(columns))), 0
    x = states @ W + weights.hbias
    for j, column in enumerate(columns):
        if column is None:
            continue
        own = slice(start, start + column.width)
        start += column.width
        rest = x - states[:, own] @ W[own]
        logits = np.logaddexp(0, rest[:, None, :] + W[own]).sum(axis=2) + weights.vbias[own]
        logits -= logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        found[:, j] = -(log_p * states[:, own]).sum(axis=1)
    return found

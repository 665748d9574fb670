"""Scaling decided once on the training rows, kept as plain values and applied to any rows later."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepbelief.errors import DataError, SettingError, unknown
from deepbelief.sources.checks import ColumnStatistics, column_statistics
from deepbelief.sources.derived_rows import ScaledSource, csr_of
from deepbelief.sources.rows import RowSource
from deepbelief.typing import Dtype, FloatArray, StrDict, StrMapping

SCALES = ("auto", "none", "255", "minmax")
MIN_BYTE = 128  # bytes are treated as grey levels from this maximum on: smaller ones are counts or codes
MIN_BRIGHT = 0.25  # share of the columns of a table in image shape that reach it
MIN_SIDE = 8  # pixels of the smallest images


def column_map(scale: str, source: RowSource, statistics: ColumnStatistics) -> tuple[FloatArray, FloatArray] | None:
    """Return mean and scale of each column, for rows ``(v - mean) / scale``; None if rows are not scaled.

    Parameters
    ----------
    scale : {"none", "255", "minmax", "auto"}
        ``"auto"`` divides grey levels by 255, as detected by `grey_levels`, and leaves other rows unchanged.
    source : RowSource
    statistics : ColumnStatistics
        Of all training rows.

    Returns
    -------
    tuple of ndarray, or None
        Mean and scale of each column.

    Raises
    ------
    SettingError
        If there is no such scale.
    """
    if scale not in SCALES:
        raise SettingError(unknown("scale", scale, SCALES))
    if scale == "auto":
        scale = "255" if grey_levels(source, statistics) else "none"
    if scale == "minmax":
        spread = statistics.max - statistics.min
        return statistics.min, np.where(statistics.constant(source.dtype) | (spread <= 0), 1.0, spread)
    n = len(statistics.min)
    return (np.zeros(n), np.full(n, 255.0)) if scale == "255" else None


def grey_levels(source: RowSource, statistics: ColumnStatistics, names: Sequence[str] | None = None) -> str:
    """Return the reason why rows count as grey levels from 0 to 255; empty if they do not.

    Whole numbers are not enough, because tables of ages, counts and codes have them too.

    Parameters
    ----------
    source : RowSource
    statistics : ColumnStatistics
        Ranges of its columns.
    names : sequence of str, optional
        Names of the columns.

    Returns
    -------
    str

    Examples
    --------
    >>> from deepbelief.sources import as_source, column_statistics
    >>> rows = as_source(np.array([[0, 255], [130, 7]], np.uint8))
    >>> grey_levels(rows, column_statistics(rows))
    'they are bytes with a maximum of 255'
    """
    low, high = float(statistics.min.min()), float(statistics.max.max())
    if low < 0 or high > 255:
        return ""
    if original_dtype(source) == np.uint8 and high >= MIN_BYTE:
        return f"they are bytes with a maximum of {high:g}"
    if high != 255 or np.mean(statistics.max >= MIN_BYTE) < MIN_BRIGHT:
        return ""
    if names is not None and all(str(name).lower().startswith("pixel") for name in names):
        return "their columns are named as pixels and their maximum is 255"
    n = len(statistics.max)
    for channels, kind in ((1, ""), (3, " in colour")):
        side = math.isqrt(n // channels)
        if side >= MIN_SIDE and channels * side * side == n:
            return f"they have the shape of images of {side} x {side} pixels{kind} and a maximum of 255"
    side = math.isqrt(n - 1) + 1
    if side >= MIN_SIDE and side * side - n < side and csr_of(source) is not None:
        return f"they are sparse, of {side} x {side} pixels without the last {side * side - n}, with a maximum of 255"
    return ""


def original_dtype(source: object) -> Dtype | None:
    """Return the dtype of the original values, below all selection and scaling; None if a reader chose it."""
    for held in ("source", "array", "matrix", "dataset"):
        while hasattr(source, held):
            if getattr(source, "compact", False):
                return None
            source = getattr(source, held)
    return getattr(source, "dtype", None)


@dataclass(frozen=True)
class Scaling:
    """Scaling of a data set: a model sees ``(value - mean) / scale``.

    Parameters
    ----------
    kind : {"none", "255", "minmax"}
        Rule by which columns are scaled.
    mean, scale : tuple of float
        One value per column for ``"minmax"``, else empty.

    Examples
    --------
    >>> from deepbelief.sources import as_source
    >>> Scaling("255").apply(as_source([[0, 51]])).take(slice(None))
    array([[0. , 0.2]], dtype=float32)
    """

    kind: str = "none"
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check that the values fit the kind."""
        if self.kind not in SCALES[1:]:
            raise SettingError(f"scaling must be one of {', '.join(SCALES[1:])}, got {self.kind!r}")
        object.__setattr__(self, "mean", tuple(float(v) for v in self.mean))
        object.__setattr__(self, "scale", tuple(float(v) for v in self.scale))
        if len(self.mean) != len(self.scale) or bool(self.mean) != (self.kind == "minmax"):
            raise SettingError("scaling by 'minmax' needs one mean and one scale per column, the other kinds none")
        if not all(np.isfinite(self.mean)) or not all(np.isfinite(v) and v > 0 for v in self.scale):
            raise SettingError("the means of a scaling must be finite and its scales positive")

    def map_of(self, n_features: int) -> tuple[FloatArray, FloatArray] | None:
        """Return mean and scale of each column; None if rows are not scaled."""
        if self.kind == "255":
            return np.zeros(n_features), np.full(n_features, 255.0)
        if self.kind == "minmax":
            if len(self.mean) != n_features:
                raise DataError(f"the data have {n_features} features but the scaling has {len(self.mean)}")
            return np.array(self.mean), np.array(self.scale)
        return None

    def apply(self, source: RowSource) -> RowSource:
        """Return the rows scaled; DataError if their number of features is not that of the training rows."""
        if self.kind == "255":
            return ScaledSource(source, 0.0, 255.0)
        own = self.map_of(source.shape[1])
        return source if own is None else ScaledSource(source, *own)

    def to_dict(self) -> StrDict:
        """Return plain values, fit for JSON."""
        values = {"mean": list(self.mean), "scale": list(self.scale)} if self.mean else {}
        return {"kind": self.kind, **values}

    @classmethod
    def from_dict(cls, values: StrMapping) -> "Scaling":
        """Return the scaling that `to_dict` described."""
        return cls(str(values["kind"]), tuple(values.get("mean", ())), tuple(values.get("scale", ())))

    @classmethod
    def fit(cls, source: RowSource, scale: str = "auto", names: Sequence[str] | None = None) -> "Scaling":
        """Decide the scaling on the training rows.

        Parameters
        ----------
        source : RowSource
        scale : {"auto", "none", "255", "minmax"}
            ``"auto"`` divides grey levels by 255, as detected by `grey_levels`, and leaves other rows unchanged.
        names : sequence of str, optional
            Names of the columns.

        Returns
        -------
        Scaling
        """
        if scale not in SCALES:
            raise SettingError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")
        if scale == "minmax":
            columns = column_statistics(source)
            spread = columns.max - columns.min
            return cls("minmax", tuple(columns.min), tuple(np.where(spread > 0, spread, 1.0)))
        if scale == "auto":
            return cls("255" if grey_levels(source, column_statistics(source), names) else "none")
        return cls(scale)

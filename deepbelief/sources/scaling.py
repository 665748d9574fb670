"""Scaling decided once on the training rows, kept as plain values and applied to any rows later."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbelief.errors import DataError, SettingError
from deepbelief.sources.checks import column_statistics
from deepbelief.sources.rows import RowSource, ScaledSource, blocks

SCALES = ("auto", "none", "255", "minmax")


@dataclass(frozen=True)
class Scaling:
    """How the values of a data set become the rows that a model sees: ``(value - mean) / scale``.

    Parameters
    ----------
    kind : {"none", "255", "minmax"}
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

    def apply(self, source: RowSource) -> RowSource:
        """Return the rows scaled; DataError if their number of features is not that of the training rows."""
        if self.kind == "255":
            return ScaledSource(source, 0.0, 255.0)
        if self.kind == "minmax":
            if len(self.mean) != source.shape[1]:
                raise DataError(f"the data have {source.shape[1]} features but the scaling has {len(self.mean)}")
            return ScaledSource(source, self.mean, self.scale)
        return source

    def undo(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return scaled rows as the values that they came from.

        Examples
        --------
        >>> Scaling("255").undo(np.array([[0, 0.2]]))
        array([[ 0., 51.]])
        """
        if self.kind == "255":
            rows = rows * 255
        elif self.kind == "minmax":
            rows = (rows * np.asarray(self.scale) + np.asarray(self.mean)).astype(rows.dtype)
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON."""
        values = {"mean": list(self.mean), "scale": list(self.scale)} if self.mean else {}
        return {"kind": self.kind, **values}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Scaling":
        """Return the scaling that `to_dict` described."""
        return cls(str(values["kind"]), tuple(values.get("mean", ())), tuple(values.get("scale", ())))

    @classmethod
    def fit(cls, source: RowSource, scale: str = "auto", *, whole: bool = False) -> "Scaling":
        """Decide the scaling on the training rows.

        Parameters
        ----------
        source : RowSource
        scale : {"auto", "none", "255", "minmax"}
            ``"auto"`` divides whole numbers with a maximum in 2..255 by 255 and leaves all else as it is.
        whole : bool
            Whether the values are integers.

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
            return cls("255" if whole and _are_bytes(source) else "none")
        return cls(scale)


def _are_bytes(source: RowSource) -> bool:
    """Tell whether whole numbers look like grey levels: none negative, the largest in 2..255."""
    largest = 0.0
    for block in blocks(source):
        largest = max(largest, float(block.max()))
        if block.min() < 0 or largest > 255:
            return False
    return largest >= 2

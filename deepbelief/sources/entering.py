"""Rows as they enter a layer: scaled by its map, and checked against the domain of its units."""

import warnings
from dataclasses import dataclass

import numpy as np

from deepbelief.errors import DataWarning, user_level
from deepbelief.sources.checks import TO_SCALE_ALIKE, FiniteSource, check_groups, has_missing, refuse_foreign
from deepbelief.sources.derived_rows import ScaledSource, csr_of
from deepbelief.sources.rows import HostRows, RowIndex, RowSource
from deepbelief.stack import Weights
from deepbelief.typing import Array, FloatArray, SparseMatrix
from deepbelief.units import Foreign, Unit

OF_NETWORKS = 1.0
"""Distance from [0, 1] up to which a network clips values, as new rows may exceed the range of the training rows."""
OF_DENSITIES = 0.1
"""The same distance for scores of how typical rows are: a value far outside must not count as typical."""
BLOCK_ROWS = 1024  # rows checked at a time
INFINITY = np.full(1, np.inf)


def scaled(source: RowSource, weights: Weights) -> RowSource:
    """Return rows in the units of the data as they enter a layer."""
    if weights.mean is None or weights.scale is None:
        return source
    return ScaledSource(source, weights.mean, weights.scale)


@dataclass(eq=False, repr=False)
class EnteringSource(HostRows):
    """Rows as they enter a layer, checked as they are read.

    Values outside the domain of the units are clipped with a warning if their distance from it is at most ``beyond``;
    other values are refused.

    Parameters
    ----------
    source : RowSource
        In the units of the data.
    rows : RowSource
        The same rows, scaled.
    unit : Unit
    beyond : float
        In the units of the machine.
    """

    source: RowSource
    rows: RowSource
    unit: Unit
    beyond: float = 0.0

    def __post_init__(self) -> None:
        """Take over the shape and the dtype."""
        self.shape, self.dtype = self.rows.shape, self.rows.dtype

    def take(self, rows: RowIndex, out: FloatArray | None = None) -> FloatArray:
        """Return these rows, as `RowSource.take`."""
        block = self.rows.take(rows, out)
        found = self.unit.foreign(block)
        if found is None:
            return block
        numbers = np.arange(self.shape[0])[rows] if isinstance(rows, slice) else rows
        far = self.unit.foreign(block, self.beyond)
        if far is not None:
            self._refuse(far, int(numbers[far.row]))
        row = int(numbers[found.row])
        _warn_clipped(self.unit, found, row, self._value(row, found.column))
        block = block.copy() if out is None else out  # without `out` it may be a view of the data
        self.unit.clip(block)
        return block

    def _value(self, row: int, column: int) -> float:
        return float(self.source.take(np.array([row]))[0, column])

    def _refuse(self, found: Foreign, row: int) -> None:
        remedy = self.unit.remedy if self.rows is self.source else TO_SCALE_ALIKE
        refuse_foreign(self.unit, found, row, self._value(row, found.column), remedy)

    def csr(self) -> SparseMatrix | None:
        """Return all rows as a CSR matrix; None where they are not sparse, or must be checked one by one."""
        matrix = csr_of(self.rows)
        if matrix is None or matrix.nnz == 0:
            return matrix
        if self.unit.admits(np.minimum(matrix.data.min(), 0), np.maximum(matrix.data.max(), 0)):
            return matrix
        return None


def entering(source: RowSource, weights: Weights, beyond: float = 0.0) -> RowSource:
    """Return the rows as they enter a layer, checked as they are read; see `EnteringSource`."""
    return entering_as(source, weights.visible_unit, weights.mean, weights.scale, beyond)


def entering_as(
    source: RowSource, unit: Unit, mean: Array | None, scale: Array | None, beyond: float = 0.0
) -> RowSource:
    """Return rows as they enter units of this type by this map (None: as they are), checked as they are read."""
    rows = source if mean is None or scale is None else ScaledSource(source, mean, scale)
    return rows if unit.admits(-INFINITY, INFINITY) else EnteringSource(source, rows, unit, beyond)


def _warn_clipped(unit: Unit, found: Foreign, row: int, value: float) -> None:
    message = (
        f"row {row}, column {found.column} (both counted from 0) is {value:g}, slightly outside the range of the "
        f"training rows; such values are clipped ({unit.domain})"
    )
    warnings.warn(DataWarning(message, symptom="out-of-range"), stacklevel=user_level())


def entered(rows: FloatArray, weights: Weights, beyond: float = 0.0, start: int = 0) -> FloatArray:
    """Return an array of rows in the units of the data, NaN where a value is missing, as they enter a layer.

    Values outside the domain of its units are clipped, with a warning, or refused, as by `EnteringSource`.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_visible)
    weights : Weights
    beyond : float, default=0.0
        Distance from the domain up to which values are clipped, in the units of the machine.
    start : int, default=0
        Number of the first row.

    Returns
    -------
    ndarray of shape (n_rows, n_visible)
    """
    inside, unit = weights.enter(rows), weights.visible_unit
    found = unit.foreign(inside)
    if found is None:
        return inside  # type: ignore[no-any-return]
    far = unit.foreign(inside, beyond)
    if far is not None:
        remedy = unit.remedy if weights.mean is None else TO_SCALE_ALIKE
        refuse_foreign(unit, far, start + far.row, rows[far.row, far.column], remedy)
    _warn_clipped(unit, found, start + found.row, rows[found.row, found.column])
    inside = np.array(inside)
    unit.clip(inside)
    return inside


def check_states(states: FloatArray, unit: Unit) -> None:
    """Refuse states of hidden units that lie outside their domain by more than `OF_DENSITIES`."""
    found = unit.foreign(states, OF_DENSITIES) if unit.discrete else None
    if found is not None:
        value = states[found.row, found.column]
        refuse_foreign(unit, found, found.row, value, "give states of the top layer, as `transform` returns them")


def checked(source: RowSource, weights: Weights, beyond: float = 0.0) -> RowSource:
    """Return rows as they enter a layer after checking all of them once, because training rows are read many times.

    Values that are not finite are refused too, except missing values of rows in memory.
    """
    clipping = EnteringSource(source, scaled(source, weights), weights.visible_unit, beyond)
    missing = has_missing(source)
    rows = FiniteSource(source, missing)
    clipped = False
    for start in range(0, source.shape[0], BLOCK_ROWS):
        some = slice(start, min(start + BLOCK_ROWS, source.shape[0]))
        block = weights.enter(rows.take(some))
        if missing:
            check_groups(block, weights.visible_unit, start=start)
        if clipped or weights.visible_unit.foreign(block) is not None:
            clipping.take(some)
            clipped = True
    return clipping if clipped else clipping.rows

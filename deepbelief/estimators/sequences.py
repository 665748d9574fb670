"""Sequences in: rows with lengths, or lists of arrays, after the checks that all estimators make."""

from typing import Any

import numpy as np

from deepbelief.backends import Backend
from deepbelief.errors import DataError
from deepbelief.estimators.base import check_rows, is_source
from deepbelief.recurrent.windows import check_lengths
from deepbelief.sources import RowSource, blocks

Array = np.ndarray[Any, np.dtype[Any]]


def lengths_or_targets(X: Any, y: Any, lengths: Any) -> Any:
    """Return the lengths: also where they were given in the place of ``y``, as ``fit(X, lengths)``.

    Targets, which are ignored, have one entry for each row; lengths of at least 2 have fewer.
    """
    if lengths is not None or y is None or is_list_of_arrays(X) or np.ndim(y) != 1:
        return lengths
    n_rows = X.shape[0] if hasattr(X, "shape") and len(X.shape) else len(X)
    return y if len(y) != n_rows else None


def is_list_of_arrays(X: Any) -> bool:
    """Tell whether ``X`` is one table for each sequence rather than one table."""
    return isinstance(X, (list, tuple)) and len(X) > 0 and all(np.ndim(each) == 2 for each in X)


def as_sequences(
    estimator: Any, X: Any, lengths: Any, bk: Backend, *, reset: bool, shortest: int = 1
) -> tuple[RowSource, Array]:
    """Return the frames of all sequences as one source, and their lengths.

    Raises
    ------
    DataError
        If lengths do not sum to the rows, a sequence is too short, or a value is not finite; the message names
        sequence and frame.
    """
    if is_list_of_arrays(X):
        if lengths is not None:
            raise DataError("X is a list of arrays, one for each sequence: leave lengths out")
        lengths = [len(each) for each in X]
        check_lengths(lengths, sum(lengths), shortest=shortest)
        widths = sorted({each.shape[1] if hasattr(each, "shape") else len(each[0]) for each in X})
        if len(widths) > 1:
            raise DataError(f"sequences have from {widths[0]} to {widths[-1]} features: all must have the same")
        X = np.concatenate([np.asarray(each) for each in X])
    try:
        source = check_rows(estimator, X, bk, reset=reset, min_rows=shortest)
    except ValueError as error:
        if "NaN" in str(error) or "infinity" in str(error):
            _name_place(_table(X), lengths, error)
        raise
    lengths = check_lengths(lengths, source.shape[0], shortest=shortest)
    if is_source(X):
        start = 0
        for block in blocks(source):
            if not np.isfinite(block).all():
                _refuse(block, start, lengths)
            start += len(block)
    return source, lengths


def _table(X: Any) -> Array | None:
    """Return dense rows of numbers, if that is what they are."""
    try:
        return np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError):
        return None


def _name_place(X: Array | None, lengths: Any, error: ValueError) -> None:
    """Raise DataError with sequence and frame, if they can be known."""
    if X is None or X.ndim != 2 or np.isfinite(X).all():
        return
    try:
        known = check_lengths(lengths, len(X))
    except DataError:
        return
    _refuse(X, 0, known, error)


def _refuse(rows: Array, start: int, lengths: Array, error: ValueError | None = None) -> None:
    """Raise DataError naming the first value that is not finite."""
    row, column = np.argwhere(~np.isfinite(rows))[0]
    ends = np.cumsum(lengths)
    sequence = int(np.searchsorted(ends, start + row, side="right"))
    frame = start + row - (ends[sequence] - lengths[sequence])
    raise DataError(
        f"sequence {sequence}, frame {frame}, column {column} (all counted from 0) is {rows[row, column]}: NaN and inf "
        "are not allowed; fill it in, or cut the sequence there"
    ) from error

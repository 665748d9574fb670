"""Conversion of arrays, frames and matrices to row sources."""

from collections.abc import Callable
from typing import TypeGuard

import numpy as np

from deepbelief.errors import DataError
from deepbelief.sources.h5 import HDF5Source
from deepbelief.sources.parquet import ParquetSource
from deepbelief.sources.rows import ArraySource, HostRows, RowSource
from deepbelief.sources.sparse_rows import SparseSource
from deepbelief.sources.zarr import ZarrSource
from deepbelief.typing import RowsLike

STORED: dict[tuple[str, str], Callable[[RowsLike], RowSource]] = {
    ("h5py", "Dataset"): HDF5Source,
    ("zarr", "Array"): ZarrSource,
    ("pyarrow", "ParquetFile"): ParquetSource,
}
"""Sources by package and class name of the open files that they read; the packages need not be installed."""


def _stored(X: RowsLike) -> Callable[[RowsLike], RowSource] | None:
    """Return the source that reads from an open file; None for anything else."""
    kind = type(X)
    return STORED.get((kind.__module__.partition(".")[0], kind.__name__))


def is_stored(X: RowsLike) -> bool:
    """Return whether rows are read from an open file as they are taken."""
    return _stored(X) is not None


def is_source(X: RowsLike) -> TypeGuard[RowSource]:
    """Return whether ``X`` is a `RowSource`; data frames and other array-likes have a different ``take``."""
    # The check of a protocol takes a tenth of the time in which one row is scored.
    return isinstance(X, HostRows) or (hasattr(X, "take") and not hasattr(X, "__array__") and isinstance(X, RowSource))


def as_source(X: RowsLike) -> RowSource:
    """Return a row source over an array, a sparse matrix, a memory map, an open file or a row source.

    Parameters
    ----------
    X : array-like, scipy sparse matrix, RowSource, or of an open file
        h5py.Dataset, zarr.Array or pyarrow.parquet.ParquetFile; of shape (n_rows, n_features).

    Returns
    -------
    RowSource
        `X` itself if it is one.

    Raises
    ------
    DataError
        If `X` is empty, not a table or not of real numbers.

    Examples
    --------
    >>> as_source([[1, 2], [3, 4]]).shape
    (2, 2)
    """
    if isinstance(X, np.ndarray):
        return ArraySource(X)
    if hasattr(X, "tocsr"):
        return SparseSource(X)
    stored = _stored(X)
    if stored is not None:
        return stored(X)
    if is_source(X):
        return X
    try:
        return ArraySource(np.asarray(X))
    except (TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"rows cannot be read from a {type(X).__name__}: {error}") from error

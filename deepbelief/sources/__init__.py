"""Rows in: arrays, sparse matrices, memory maps, HDF5, IDX, CSV and svmlight files behind one interface."""

from deepbelief.sources.checks import ColumnStatistics, check_unit_interval, column_statistics
from deepbelief.sources.rows import (
    ArraySource,
    HDF5Source,
    RowSource,
    ScaledSource,
    SparseSource,
    SubsetSource,
    as_source,
    blocks,
)

__all__ = [
    "ArraySource",
    "ColumnStatistics",
    "HDF5Source",
    "RowSource",
    "ScaledSource",
    "SparseSource",
    "SubsetSource",
    "as_source",
    "blocks",
    "check_unit_interval",
    "column_statistics",
]

"""Rows in: arrays, sparse matrices, memory maps, HDF5, IDX, CSV and svmlight files behind one interface."""

from deepbelief.sources.checks import ColumnStatistics, check_unit_interval, column_statistics
from deepbelief.sources.content import Content
from deepbelief.sources.files import read
from deepbelief.sources.rows import (
    ArraySource,
    HDF5Source,
    RowSource,
    ScaledSource,
    SparseSource,
    SubsetSource,
    as_source,
    blocks,
    csr_of,
    underlying,
)
from deepbelief.sources.scaling import SCALES, Scaling

__all__ = [
    "SCALES",
    "ArraySource",
    "ColumnStatistics",
    "Content",
    "HDF5Source",
    "RowSource",
    "ScaledSource",
    "Scaling",
    "SparseSource",
    "SubsetSource",
    "as_source",
    "blocks",
    "check_unit_interval",
    "column_statistics",
    "csr_of",
    "read",
    "underlying",
]

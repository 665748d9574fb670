"""Sources of rows: arrays, sparse matrices and files of many kinds behind one interface."""

from deepbelief.sources.binary import BINARIZATIONS, binarize_rows, binarized, check_binarization
from deepbelief.sources.checks import (
    ColumnStatistics,
    FiniteSource,
    check_domain,
    check_groups,
    column_statistics,
    has_missing,
    refuse_foreign,
)
from deepbelief.sources.columns import ColumnsSource, match_columns, named, names_of
from deepbelief.sources.content import Content
from deepbelief.sources.convert import as_source, is_source, is_stored
from deepbelief.sources.derived_rows import JoinedSource, ScaledSource, SubsetSource, csr_of, underlying
from deepbelief.sources.entering import (
    OF_DENSITIES,
    OF_NETWORKS,
    EnteringSource,
    check_states,
    checked,
    entered,
    entering,
    entering_as,
    scaled,
)
from deepbelief.sources.exclusive import ExclusiveGroups, exclusive_groups
from deepbelief.sources.fasta import ALPHABETS, read_alignment, sequence_weights, write_fasta
from deepbelief.sources.files import read
from deepbelief.sources.formats import FORMATS, Format, format_of
from deepbelief.sources.h5 import HDF5Source
from deepbelief.sources.parquet import ParquetSource
from deepbelief.sources.rows import ArraySource, RowSource, blocks, chunk_rows, digest, fingerprint
from deepbelief.sources.scaling import SCALES, Scaling, column_map, grey_levels, original_dtype
from deepbelief.sources.sparse_rows import SparseSource, check_sparse
from deepbelief.sources.spill import ComputedSource, SpilledSource, fits_on_disk
from deepbelief.sources.weighted import counted, mean_one, quantile, weights_of, with_weights
from deepbelief.sources.zarr import ZarrSource

__all__ = [
    "ALPHABETS",
    "BINARIZATIONS",
    "FORMATS",
    "OF_DENSITIES",
    "OF_NETWORKS",
    "SCALES",
    "ArraySource",
    "ColumnStatistics",
    "ColumnsSource",
    "ComputedSource",
    "Content",
    "EnteringSource",
    "ExclusiveGroups",
    "FiniteSource",
    "Format",
    "HDF5Source",
    "JoinedSource",
    "ParquetSource",
    "RowSource",
    "ScaledSource",
    "Scaling",
    "SparseSource",
    "SpilledSource",
    "SubsetSource",
    "ZarrSource",
    "as_source",
    "binarize_rows",
    "binarized",
    "blocks",
    "check_binarization",
    "check_domain",
    "check_groups",
    "check_sparse",
    "check_states",
    "checked",
    "chunk_rows",
    "column_map",
    "column_statistics",
    "counted",
    "csr_of",
    "digest",
    "entered",
    "entering",
    "entering_as",
    "exclusive_groups",
    "fingerprint",
    "fits_on_disk",
    "format_of",
    "grey_levels",
    "has_missing",
    "is_source",
    "is_stored",
    "match_columns",
    "mean_one",
    "named",
    "names_of",
    "original_dtype",
    "quantile",
    "read",
    "read_alignment",
    "refuse_foreign",
    "scaled",
    "sequence_weights",
    "underlying",
    "weights_of",
    "with_weights",
    "write_fasta",
]

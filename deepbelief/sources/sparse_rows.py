"""Rows of sparse matrices; indices are checked before compiled code uses them."""

import numpy as np

from deepbelief.errors import DataError, FileError
from deepbelief.sources.rows import HostRows, RowIndex, _deliver, _indices, check_shape, exact_dtype, row_dtype
from deepbelief.typing import FloatArray, SparseMatrix

MAX_COLUMNS = 2**22
"""Columns of a sparse matrix in a file: a dense row of more would be absurdly large."""


def check_columns(n_columns: int, name: str) -> None:
    """Raise DataError if one dense row would be absurdly large."""
    if n_columns > MAX_COLUMNS:
        raise FileError(f"{name}: has {n_columns} columns, over {MAX_COLUMNS:,}; is an index wrong?")


def check_sparse(matrix: SparseMatrix) -> None:
    """Raise DataError if indices of a sparse matrix are out of range, because compiled code does not check them.

    Examples
    --------
    >>> import scipy.sparse
    >>> check_sparse(scipy.sparse.eye_array(3, format="csr"))
    """
    try:
        if hasattr(matrix, "check_format"):
            matrix.check_format(full_check=True)
            _check_extents(matrix)
        elif matrix.format == "coo":
            _check_coordinates(matrix)
        elif matrix.format == "dia" and (matrix.data.ndim != 2 or matrix.offsets.shape != matrix.data.shape[:1]):
            raise ValueError(f"{matrix.data.shape} diagonals have {matrix.offsets.shape} offsets")
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise DataError(f"the sparse matrix is damaged: {error}; its indices must lie within its shape") from error


def _check_extents(matrix: SparseMatrix) -> None:
    """Raise ValueError if a row of a compressed matrix ends before it begins; SciPy misses some cases."""
    ends = getattr(matrix, "indptr", np.zeros(1))
    if (ends[1:] < ends[:-1]).any():
        raise ValueError("indptr must not decrease")


def _check_coordinates(matrix: SparseMatrix) -> None:
    """Raise ValueError where the coordinates of a COO matrix are not one for each value, within its shape."""
    for indices, length in zip(matrix.coords, matrix.shape, strict=True):
        if indices.shape != matrix.data.shape or indices.dtype.kind not in "iu":
            raise ValueError(f"{matrix.data.shape} values have {indices.shape} indices of {indices.dtype}")
        if indices.size and (indices.min() < 0 or indices.max() >= length):
            raise ValueError(f"indices must lie in 0..{length - 1}, got {indices.min()}..{indices.max()}")


class SparseSource(HostRows):
    """Rows of a sparse matrix; only the rows taken become dense.

    Parameters
    ----------
    matrix : scipy sparse matrix or array of shape (n_rows, n_features)
        Of any format; kept as CSR.
    """

    def __init__(self, matrix: SparseMatrix) -> None:
        self.shape = check_shape(matrix.shape)
        row_dtype(matrix.dtype)
        check_sparse(matrix)
        csr = matrix.tocsr()
        self.dtype = exact_dtype(csr.data)
        csr = csr.astype(self.dtype, copy=False)
        if csr is not matrix:
            check_sparse(csr)
        plain = all(a.flags.aligned and a.flags.c_contiguous for a in (csr.data, csr.indices, csr.indptr))
        self.matrix = csr if plain else csr.copy()

    def widened(self, n_features: int) -> "SparseSource":
        """Return the same rows with columns of zeros added up to this number; wider rows stay as they are."""
        if n_features <= self.shape[1]:
            return self
        matrix = self.matrix.copy()
        matrix.resize(self.shape[0], n_features)
        return SparseSource(matrix)

    def after_zeros(self) -> "SparseSource":
        """Return the same rows behind a column of zeros."""
        matrix = self.matrix.copy()
        matrix.indices += 1
        matrix.resize(self.shape[0], self.shape[1] + 1)
        return SparseSource(matrix)

    def take(self, rows: RowIndex, out: FloatArray | None = None) -> FloatArray:
        """Return these rows (see `RowSource.take`)."""
        picked = self.matrix[rows if isinstance(rows, slice) else _indices(rows, self.shape[0])]
        if out is not None and out.dtype == self.dtype and out.flags.c_contiguous:
            picked.toarray(out=out)
            return out
        return _deliver(picked.toarray(order="C"), self.dtype, out)

    def csr(self) -> SparseMatrix | None:
        """Return all rows as a CSR matrix."""
        return self.matrix

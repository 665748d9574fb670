"""Rows derived from other rows: scaled, selected or joined."""

import numpy as np
from numpy.typing import ArrayLike

from deepbelief.errors import DataError
from deepbelief.sources.rows import HostRows, RowIndex, RowSource, _indices, check_shape
from deepbelief.typing import Float64Array, FloatArray, SparseMatrix


class ScaledSource(HostRows):
    """Rows of another source as ``(rows - mean) / scale``.

    Parameters
    ----------
    source : RowSource
    mean, scale : float or ndarray of shape (n_features,)

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief.sources import ArraySource
    >>> bytes_ = ArraySource(np.array([[0, 51, 255]], np.uint8))
    >>> ScaledSource(bytes_, 0.0, 255.0).take(slice(None))
    array([[0. , 0.2, 1. ]], dtype=float32)
    """

    def __init__(self, source: RowSource, mean: ArrayLike, scale: ArrayLike) -> None:
        self.source = source
        self.shape, self.dtype = source.shape, source.dtype
        self.mean, self.scale = (np.asarray(a, dtype=self.dtype) for a in (mean, scale))
        for name, array in (("mean", self.mean), ("scale", self.scale)):
            if array.shape not in ((), (self.shape[1],)):
                raise DataError(f"{name} has shape {array.shape} but the rows have {self.shape[1]} features")
        self._shifted = bool(np.any(self.mean != 0))

    def take(self, rows: RowIndex, out: FloatArray | None = None) -> FloatArray:
        """Return these rows (see `RowSource.take`)."""
        # The source may return a view of the caller's data, which must not be scaled in place.
        out = self._room(rows) if out is None else out
        self.source.take(rows, out)
        if self._shifted:
            np.subtract(out, self.mean, out=out)
        np.divide(out, self.scale, out=out)
        return out

    def csr(self) -> SparseMatrix | None:
        """Return all rows as a CSR matrix; None where they are not sparse, or the mean makes them dense."""
        matrix = None if self._shifted else csr_of(self.source)
        if matrix is not None:
            matrix = matrix.copy()
            matrix.data /= self.scale[matrix.indices] if self.scale.ndim else self.scale
        return matrix


class SubsetSource(HostRows):
    """Some rows of another source, in a given order.

    Parameters
    ----------
    source : RowSource
    indices : array-like of int of shape (n,)
    row_weights : ndarray of shape (n,), optional
        Weights of these rows, see `deepbelief.sources.with_weights`.
    """

    def __init__(self, source: RowSource, indices: ArrayLike, row_weights: Float64Array | None = None) -> None:
        self.source = source
        self.indices = _indices(np.asarray(indices), source.shape[0])
        self.shape = check_shape((len(self.indices), source.shape[1]))
        self.dtype, self.row_weights = source.dtype, row_weights

    def take(self, rows: RowIndex, out: FloatArray | None = None) -> FloatArray:
        """Return these rows (see `RowSource.take`)."""
        picked = self.indices[rows if isinstance(rows, slice) else _indices(rows, self.shape[0])]
        return self.source.take(picked, out)

    def csr(self) -> SparseMatrix | None:
        """Return the rows as a CSR matrix; None where they are not sparse."""
        matrix = csr_of(self.source)
        return None if matrix is None else matrix[self.indices]


class JoinedSource(HostRows):
    """Rows of two sources, with the columns of both.

    Parameters
    ----------
    left, right : RowSource
        Sources with the same number of rows; rows have the dtype of the left one.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief.sources import ArraySource
    >>> JoinedSource(ArraySource(np.eye(2)), ArraySource(np.array([[5], [6]]))).take(slice(None))
    array([[1., 0., 5.],
           [0., 1., 6.]])
    """

    def __init__(self, left: RowSource, right: RowSource) -> None:
        if left.shape[0] != right.shape[0]:
            raise DataError(f"{left.shape[0]} rows cannot be joined with {right.shape[0]}")
        self.left, self.right = left, right
        self.shape = (left.shape[0], left.shape[1] + right.shape[1])
        self.dtype = left.dtype

    def take(self, rows: RowIndex, out: FloatArray | None = None) -> FloatArray:
        """Return these rows (see `RowSource.take`)."""
        out = self._room(rows) if out is None else out
        n = self.left.shape[1]
        out[:, :n], out[:, n:] = self.left.take(rows), self.right.take(rows)
        return out


def csr_of(source: RowSource) -> SparseMatrix:
    """Return the rows of a source as a SciPy CSR matrix, not to be written to; None where they are not sparse.

    Examples
    --------
    >>> import scipy.sparse
    >>> from deepbelief.sources import ArraySource, SparseSource
    >>> csr_of(ScaledSource(SparseSource(scipy.sparse.eye_array(3)), 0, 2)).nnz
    3
    >>> csr_of(ArraySource(np.eye(2))) is None
    True
    """
    csr = getattr(source, "csr", None)
    return None if csr is None else csr()


def underlying(source: RowSource) -> RowSource:
    """Return the source that reads the rows, below all sources that scale or select them.

    Examples
    --------
    >>> from deepbelief.sources import ArraySource
    >>> underlying(ScaledSource(ArraySource(np.array([[1, 2]])), 0, 2))
    ArraySource(1 x 2, float32)
    """
    while isinstance(source, (ScaledSource, SubsetSource)):
        source = source.source
    return source

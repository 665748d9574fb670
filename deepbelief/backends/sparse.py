"""Sparse rows on the processor, by compiled loops or SciPy's kernels, which add their results to the output."""

import numpy as np
from scipy.sparse import csr_array
from threadpoolctl import threadpool_info

from deepbelief.backends import loops
from deepbelief.typing import Array, SparseMatrix

try:  # called by SciPy's operators, but not public; without them, products use dense minibatches
    from scipy.sparse._sparsetools import csc_matvecs, csr_matvecs, csr_tocsc, csr_todense
except ImportError:
    csr_todense = None

Compressed = tuple[Array, Array, Array]

# Largest share of nonzero values for which sparse products, and transposed ones, are faster than those of one BLAS
# thread (AVX-512): with compiled loops, and with SciPy's kernels.
DENSEST = {True: (0.22, 0.14), False: (0.1, 0.1)}

CACHED = 2**17  # values that stay in cache


class HostSparse:
    """Rows in compressed form; parts share their memory.

    Parameters
    ----------
    matrix : scipy CSR matrix or array of shape (n_rows, n_columns)
    """

    def __init__(self, matrix: SparseMatrix) -> None:
        self._matrix = matrix
        self.shape = (int(matrix.shape[0]), int(matrix.shape[1]))
        threads = max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1)
        self.pays, self._pays_transposed = (
            csr_todense is not None and bool(matrix.nnz * threads <= densest * self.shape[0] * self.shape[1])
            for densest in DENSEST[matrix.dtype == np.float32 and loops.load() is not None]
        )

    def shuffled(self, order: Array) -> "HostSparse":
        """Return all rows in this order."""
        other = object.__new__(HostSparse)
        other._matrix, other.shape = self._matrix[order], (len(order), self.shape[1])
        other.pays, other._pays_transposed = self.pays, self._pays_transposed
        return other

    def part(self, start: int, stop: int) -> "HostRows":
        """Return consecutive rows, without a copy."""
        ends = self._matrix.indptr[start : stop + 1]
        stored = slice(ends[0], ends[-1])
        rows = ends - ends[0], self._matrix.indices[stored], self._matrix.data[stored]
        return HostRows(rows, (stop - start, self.shape[1]), self._pays_transposed)


class HostRows:
    """Some rows in compressed form, to be multiplied.

    They are first converted to compressed columns if this keeps in cache the array that is accessed in random order
    (the other factor or the result), which then has as many rows as these.
    """

    def __init__(self, rows: Compressed, shape: tuple[int, int], pays_transposed: bool) -> None:
        self._rows = rows
        self.shape = shape
        self.pays_transposed = pays_transposed
        self._columns: Compressed | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def dense(self, out: Array) -> Array:
        """Write the rows into ``out``."""
        if csr_todense is None:
            ends, indices, data = self._rows
            out[...] = csr_array((data, indices, ends), shape=self.shape).toarray()
            return out
        out.fill(0)
        csr_todense(*self.shape, *self._rows, out)
        return out

    def times(self, W: Array, out: Array | None = None) -> Array:
        """Return the rows times ``W``."""
        out = np.empty((len(self), W.shape[1]), W.dtype) if out is None else out
        out.fill(0)
        found = loops.loops_for(self._rows[2], W, out)
        by_columns = None if found is not None else self._by_columns()
        if found is not None:
            _add_product(found, self._rows, 1, W, out)
        elif by_columns is None:
            csr_matvecs(*self.shape, W.shape[1], *self._rows, W.reshape(-1), _flat(out))
        else:
            csc_matvecs(*self.shape, W.shape[1], *by_columns, W.reshape(-1), _flat(out))
        return out

    def add_transposed(self, h: Array, out: Array, factor: float = 1) -> None:
        """Add ``factor`` times the transposed rows times ``h`` to ``out``."""
        n, n_columns = self.shape
        found, by_columns = loops.loops_for(self._rows[2], h, out), self._by_columns()
        if found is not None and by_columns is not None:
            _add_product(found, by_columns, factor, h, out)
            return
        ends, indices, data = self._rows if by_columns is None else by_columns
        kernel = csc_matvecs if by_columns is None else csr_matvecs
        if factor != 1:
            data = data * factor
        kernel(n_columns, n, h.shape[1], ends, indices, data, h.reshape(-1), _flat(out))

    def _by_columns(self) -> Compressed | None:
        n, n_columns = self.shape
        if n >= n_columns:
            return None
        if self._columns is None:
            ends, indices, data = self._rows
            self._columns = np.empty(n_columns + 1, ends.dtype), np.empty_like(indices), np.empty_like(data)
            csr_tocsc(n, n_columns, *self._rows, *self._columns)
        return self._columns


def _add_product(found: loops.Loops, rows: Compressed, factor: float, W: Array, out: Array) -> None:
    """Add ``factor`` times compressed rows times ``W``."""
    found.add_product(*rows, factor, W, out, max(1, CACHED // W.shape[1]))


def _flat(out: Array) -> Array:
    """Return an array as a vector that shares its memory."""
    flat = out.view()
    flat.shape = (-1,)  # raises an error if a copy would be needed
    return flat

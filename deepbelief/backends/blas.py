"""Access to NumPy's own BLAS, with the scalar factors that `numpy.matmul` lacks.

Adding a product to an existing matrix saves a pass over a matrix as large as the weights. The routines are looked up
in NumPy's own extension module, so that no second library with its own threads is loaded. If they are not found,
`load` returns None and the caller uses NumPy alone.
"""

import ctypes
import importlib
import sys
from functools import cache
from typing import Any

import numpy as np

from deepbelief.typing import Array, Dtype

ROW_MAJOR, AS_IT_IS, TRANSPOSED = 101, 111, 112
# Names of a routine in NumPy's wheels, and in builds with 64-bit or 32-bit indices.
SPELLINGS = (("scipy_cblas_{}64_", ctypes.c_int64), ("cblas_{}64_", ctypes.c_int64), ("cblas_{}", ctypes.c_int32))
TYPES: dict[str, tuple[str, type]] = {"f": ("s", ctypes.c_float), "d": ("d", ctypes.c_double)}


PLAIN = 0x101  # NumPy's flags of arrays that are C-contiguous and aligned


def is_plain(x: Array) -> bool:
    """Return whether compiled code can read the values of an array in place, as one contiguous block."""
    return x.flags.num & PLAIN == PLAIN


def holds_row_numbers(x: Array) -> bool:
    """Return whether compiled code can read row numbers in place."""
    return x.ndim == 1 and x.dtype == np.int64 and is_plain(x)


# OpenBLAS's functions that return its release, its kind of threads, and the number of threads it may use now.
OPENBLAS = ("scipy_openblas_get_{}64_", "openblas_get_{}64_", "openblas_get_{}")
RELEASES = tuple(f"OpenBLAS 0.3.{n}".encode() for n in range(27, 32))
POSIX_THREADS = 1


class Blas:
    """Two BLAS routines for C-contiguous arrays of one dtype."""

    def __init__(self, gemm: Any, axpy: Any, integer: type, real: type) -> None:
        flag, pointer = ctypes.c_int, ctypes.c_void_p
        gemm.restype = axpy.restype = None
        gemm.argtypes = [flag] * 3 + [integer] * 3 + [real, pointer, integer, pointer, integer, real, pointer, integer]
        axpy.argtypes = [integer, real, pointer, integer, pointer, integer]
        self._gemm, self._axpy = gemm, axpy

    def add_product(self, left: Array, right: Array, factor: float, out: Array, keep: float) -> None:
        """Replace ``out`` by ``keep * out + factor * left.T @ right``."""
        (n, rows), columns = left.shape, right.shape[1]
        self._gemm(
            ROW_MAJOR, TRANSPOSED, AS_IT_IS, rows, columns, n, factor, left.ctypes.data, rows, right.ctypes.data,
            columns, keep, out.ctypes.data, columns,
        )  # fmt: skip

    def add(self, x: Array, factor: float, out: Array) -> None:
        """Add ``factor * x`` to ``out``."""
        self._axpy(x.size, factor, x.ctypes.data, 1, out.ctypes.data, 1)


@cache
def _library() -> ctypes.CDLL | None:
    """Return NumPy's extension module, which gives access to its BLAS."""
    try:
        return ctypes.CDLL(importlib.import_module("numpy._core._multiarray_umath").__file__)
    except (ImportError, OSError, TypeError):
        return None


@cache
def thread_functions() -> tuple[int | None, int | None] | None:
    """Return the addresses of two functions of the BLAS: one counts its threads, the other runs tasks on them.

    The second one is OpenBLAS's `exec_blas`, which its public headers omit. Returns None for another BLAS, for a
    release that was not tested, and for threads other than POSIX threads.
    """
    library = _library()
    run = getattr(library, "exec_blas", None)
    if run is None or sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    for spelling in OPENBLAS:
        names = (spelling.format(name) for name in ("num_threads", "config", "parallel"))
        count, config, parallel = (getattr(library, name, None) for name in names)
        if count is not None and config is not None and parallel is not None:
            config.restype = ctypes.c_char_p
            known = config().startswith(RELEASES) and parallel() == POSIX_THREADS
            if not known:
                return None
            return ctypes.cast(count, ctypes.c_void_p).value, ctypes.cast(run, ctypes.c_void_p).value
    return None


@cache
def load(char: str) -> Blas | None:
    """Return the routines for a dtype's character, or None if they are missing or compute wrong results."""
    if char not in TYPES:
        return None
    letter, real = TYPES[char]
    library = _library()
    for spelling, integer in SPELLINGS:
        gemm, axpy = (getattr(library, spelling.format(letter + name), None) for name in ("gemm", "axpy"))
        if gemm is not None and axpy is not None:
            blas = Blas(gemm, axpy, integer, real)
            return blas if _is_right(blas, np.dtype(char)) else None
    return None


def _is_right(blas: Blas, dtype: Dtype) -> bool:
    """Check the routines on small integers, whose products are exact."""
    left, right = (np.arange(2 * n, dtype=dtype).reshape(2, n) for n in (3, 5))
    out = np.ones((3, 5), dtype)
    blas.add_product(left, right, -2, out, 4)
    blas.add(np.ones_like(out), 8, out)
    return np.array_equal(out, 4 - 2 * left.T @ right + 8)

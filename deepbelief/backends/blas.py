"""The BLAS that NumPy itself calls, with the scalars that `numpy.matmul` leaves out.

Adding a product to an existing matrix saves a pass over a matrix of the weights' size. The routines
are found through NumPy's own extension module, so that no second library with its own threads is loaded; where
they are not found, `load` returns None and the caller uses NumPy alone.
"""

import ctypes
import importlib
import sys
from functools import cache
from typing import Any

import numpy as np

from deepbelief.typing import Array, Dtype

ROW_MAJOR, AS_IT_IS, TRANSPOSED = 101, 111, 112
# What NumPy's wheels, and builds with 64-bit or 32-bit indices, call a routine.
SPELLINGS = (("scipy_cblas_{}64_", ctypes.c_int64), ("cblas_{}64_", ctypes.c_int64), ("cblas_{}", ctypes.c_int32))
TYPES: dict[str, tuple[str, type]] = {"f": ("s", ctypes.c_float), "d": ("d", ctypes.c_double)}


PLAIN = 0x101  # NumPy's flags of arrays that are C-contiguous and aligned


def is_plain(x: Array) -> bool:
    """Return whether compiled code can read the values of an array one after the other where they lie."""
    return x.flags.num & PLAIN == PLAIN


def holds_row_numbers(x: Array) -> bool:
    """Return whether compiled code can read row numbers where they lie."""
    return x.ndim == 1 and x.dtype == np.int64 and is_plain(x)


byref, first_byte = ctypes.byref, ctypes.c_char.from_buffer  # found once: each update asks for two dozen addresses


def at(x: Array) -> object:
    """Return where an array's values lie, as ctypes takes it: in a third of the time of ``x.ctypes.data``."""
    try:
        return byref(first_byte(x))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # it may not be written to, or is empty
        return x.ctypes.data


# OpenBLAS's functions that tell its release, its kind of threads, and how many of them it may use now.
OPENBLAS = ("scipy_openblas_get_{}64_", "openblas_get_{}64_", "openblas_get_{}")
RELEASES = tuple(f"OpenBLAS 0.3.{n}".encode() for n in range(27, 32))
POSIX_THREADS = 1


class Blas:
    """Two routines for arrays of one dtype; all arrays are C-contiguous."""

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
            ROW_MAJOR, TRANSPOSED, AS_IT_IS, rows, columns, n, factor, at(left), rows, at(right), columns, keep,
            at(out), columns,
        )  # fmt: skip

    def add(self, x: Array, factor: float, out: Array) -> None:
        """Add ``factor * x`` to ``out``."""
        self._axpy(x.size, factor, at(x), 1, at(out), 1)


@cache
def _library() -> ctypes.CDLL | None:
    """Return NumPy's extension module, through which its BLAS is found."""
    try:
        return ctypes.CDLL(importlib.import_module("numpy._core._multiarray_umath").__file__)
    except (ImportError, OSError, TypeError):
        return None


@cache
def thread_functions() -> tuple[ctypes.c_void_p, ctypes.c_void_p] | None:
    """Return the addresses of functions of the BLAS: of that which counts its threads, and that which runs tasks.

    The second one is OpenBLAS's `exec_blas`, which its headers for users leave out. None where the BLAS is another one,
    of a release that was not tried, or has other threads than those of POSIX.
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
            return (ctypes.cast(count, ctypes.c_void_p), ctypes.cast(run, ctypes.c_void_p)) if known else None
    return None


@cache
def load(char: str) -> Blas | None:
    """Return the routines for a dtype's character, or None where there are none to be trusted."""
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
    """Check the routines on small numbers that are exact."""
    left, right = (np.arange(2 * n, dtype=dtype).reshape(2, n) for n in (3, 5))
    out = np.ones((3, 5), dtype)
    blas.add_product(left, right, -2, out, 4)
    blas.add(np.ones_like(out), 8, out)
    return np.array_equal(out, 4 - 2 * left.T @ right + 8)

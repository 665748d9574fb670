"""Matrix products of bfloat16 numbers (8 significant bits, accumulated in float32) on the processor, by Intel's MKL.

Only processors with AMX multiply such matrices faster than float32 ones; on others, MKL takes several times as long.
"""

import ctypes
import importlib.metadata
from functools import cache
from pathlib import Path

import numpy as np

from deepbelief.backends.blas import AS_IT_IS, ROW_MAJOR, TRANSPOSED, at
from deepbelief.backends.loops import loops_for
from deepbelief.typing import Array, DeviceArray

INSTRUCTIONS = "amx_bf16"  # flag of processors on which bfloat16 products are faster


def rounded(x: Array) -> Array:
    """Round ``x`` to bfloat16, ties to even, and return the 16 bits of each number; infinities and NaN are preserved.

    Parameters
    ----------
    x : array of shape (m, n)
        float32, C-contiguous.

    Returns
    -------
    array of shape (m, n)
        uint16.

    Examples
    --------
    >>> import numpy as np
    >>> [hex(word) for word in rounded(np.array([[1, 1.004, 3]], np.float32))[0]]
    ['0x3f80', '0x3f81', '0x4040']
    """
    out, found = np.empty(x.shape, np.uint16), loops_for(x)
    if found is not None:
        found.round_words(x, out)
        return out
    words = x.reshape(-1).view(np.uint32)
    wide = words >> 16
    wide &= 1
    wide += 0x7FFF
    wide += words
    wide >>= 16
    out.reshape(-1)[:] = wide
    return out


class Bfloat16Products:
    """Products of float32 matrices whose factors are rounded to bfloat16 before they are multiplied.

    Parameters
    ----------
    library : ctypes.CDLL
        MKL.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        flag, real, pointer = ctypes.c_int, ctypes.c_float, ctypes.c_void_p
        gemm, axpy = library.cblas_gemm_bf16bf16f32, library.cblas_saxpy
        gemm.restype = axpy.restype = None
        gemm.argtypes = [flag] * 6 + [real, pointer, flag, pointer, flag, real, pointer, flag]
        axpy.argtypes = [flag, real, pointer, flag, pointer, flag]
        self._gemm, self._axpy = gemm, axpy

    @staticmethod
    def takes(*arrays: DeviceArray) -> bool:
        """Return whether all arguments are contiguous float32 matrices, stored by rows or by columns."""
        return all(
            a.dtype == np.float32 and a.ndim == 2 and a.size and (a.flags.c_contiguous or a.flags.f_contiguous)
            for a in arrays
        )

    def matmul(self, left: Array, right: Array, out: Array | None = None) -> Array:
        """Return ``left @ right``, in ``out`` if given."""
        room = np.empty((left.shape[0], right.shape[1]), np.float32) if out is None else out
        self._multiply(left, right, 1, room, 0)
        return room

    def add_product(self, left: Array, right: Array, factor: float, out: Array, keep: float) -> None:
        """Replace ``out`` by ``keep * out + factor * left.T @ right``."""
        self._multiply(left.T, right, factor, out, keep)

    def add(self, x: Array, factor: float, out: Array) -> None:
        """Add ``factor * x`` to ``out``."""
        self._axpy(x.size, factor, at(x), 1, at(out), 1)

    def _multiply(self, left: Array, right: Array, factor: float, out: Array, keep: float) -> None:
        (m, k), n = left.shape, right.shape[1]
        a, b = (rounded(x if x.flags.c_contiguous else x.T) for x in (left, right))
        flags = (AS_IT_IS if x.flags.c_contiguous else TRANSPOSED for x in (left, right))
        self._gemm(
            ROW_MAJOR, *flags, m, n, k, factor, at(a), a.shape[1], at(b), b.shape[1], keep, at(out), n,
        )  # fmt: skip


def _library() -> Path | None:
    """Return the path of MKL's library, or None if the package is not installed."""
    try:
        files = importlib.metadata.files("mkl") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = (Path(str(f.locate())) for f in files if f.name.startswith(("libmkl_rt", "mkl_rt")))
    return next((path.resolve() for path in found if path.exists()), None)


@cache
def load() -> Bfloat16Products | str:
    """Return the products on any processor, or the reason why there are none."""
    path = _library()
    if path is None:
        return "Intel's MKL is not installed: pip install 'deepbelief[mkl]'"
    try:
        return Bfloat16Products(ctypes.CDLL(str(path)))
    except (OSError, AttributeError) as error:
        return f"Intel's MKL cannot be used ({error})"


def fast() -> Bfloat16Products | str:
    """Return the products if they are faster than those of float32, or the reason why not."""
    info = Path("/proc/cpuinfo")
    if not info.exists() or INSTRUCTIONS not in info.read_text().split():
        return f"this processor has no instructions for bfloat16 matrix products ({INSTRUCTIONS})"
    return load()

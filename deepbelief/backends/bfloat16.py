"""Matrix products of bfloat16 numbers (8 significant bits, accumulated in float32) on the processor.

Processors with AMX or AVX512-BF16 multiply such matrices faster than float32 ones. With AMX, compiled loops do it;
otherwise a routine of oneDNN or of Intel's MKL.
"""

import ctypes
import importlib.metadata
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from deepbelief.backends import loops
from deepbelief.backends.blas import is_plain
from deepbelief.errors import PrecisionWarning
from deepbelief.typing import Array, DeviceArray

PROCESSOR = Path("/proc/cpuinfo")
INSTRUCTIONS = ("amx_bf16", "avx512_bf16")  # flags of processors on which bfloat16 products are faster
OWN_INSTRUCTIONS = {"amx_tile", "amx_bf16", "avx512_bf16", "avx512bw"}  # flags that the compiled loops for AMX need
MIN_MULTIPLICATIONS = 2**20  # of a product: below it float32 is as fast
MIN_ROWS = 4  # of the factors: with fewer, rounding the other factor takes longer than the product
MIN_COLUMNS = 16  # of the result: with fewer, float32 is as fast
TRIAL = (100, 784, 500)  # rows and columns of the first factor, and columns of the second one
N_TRIALS = 9  # rounds of products, to see whether a library is faster than float32


class Library(ctypes.Structure):
    """Addresses of a library's functions; as in bfloat16.h."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("dnnl", "cblas", "count", "limit")]


def takes(left: DeviceArray, right: DeviceArray, out: DeviceArray | None = None) -> bool:
    """Return whether the factors are float32 matrices large enough, stored without gaps by rows or by columns."""
    for x in (left, right):
        if x.ndim != 2 or x.dtype != np.float32 or not (x.flags.c_contiguous or x.flags.f_contiguous):
            return False
    (m, k), n = left.shape, right.shape[1]
    if k != len(right):
        return False
    if out is not None and not (out.dtype == np.float32 and is_plain(out) and out.shape == (m, n)):
        return False
    return bool(m * k * n >= MIN_MULTIPLICATIONS and min(m, k) >= MIN_ROWS and n >= MIN_COLUMNS)


class Routine:
    """A library's routine, on the threads of the BLAS.

    Parameters
    ----------
    dnnl, cblas : ctypes function, optional
        The routine `dnnl_gemm_bf16bf16f32` or `cblas_gemm_bf16bf16f32`.
    count, limit : ctypes function, optional
        The library's functions that return and set the number of threads that a call may use.
    """

    def __init__(
        self, *, dnnl: object = None, cblas: object = None, count: object = None, limit: object = None
    ) -> None:  # fmt: skip
        self._functions = dnnl, cblas, count, limit  # keeps them alive
        addresses = [None if f is None else ctypes.cast(f, ctypes.c_void_p).value for f in self._functions]  # type: ignore[arg-type]
        # On threads of the BLAS, each call of the library is to use one; else it uses its own.
        self.limited, self._free = Library(*addresses), Library(*addresses[:2])

    def __call__(self, left: Array, right: Array, factor: float, out: Array, keep: float) -> None:
        """Replace ``out`` by ``keep * out + factor * left @ right``."""
        found = loops.load()
        assert found is not None
        found.multiply_reduced(self.limited if found.on_threads else self._free, left, right, factor, out, keep)


class Bfloat16Products:
    """Products of float32 matrices whose factors are rounded to bfloat16 before they are multiplied.

    Parameters
    ----------
    name : str
        What multiplies: a library, or AMX.
    multiply : callable
        As `Routine`.
    step : callable, optional
        As `Loops.step_by_amx`; None: steps are made of products.
    """

    def __init__(
        self, name: str, multiply: Callable[[Array, Array, float, Array, float], None],
        step: Callable[..., None] | None = None,
    ) -> None:  # fmt: skip
        self.name, self.multiply, self._step = name, multiply, step

    def matmul(self, left: Array, right: Array, out: Array | None = None) -> Array:
        """Return ``left @ right``, in ``out`` if given."""
        room = np.empty((left.shape[0], right.shape[1]), np.float32) if out is None else out
        self.multiply(left, right, 1, room, 0)
        return room

    def add_product(self, left: Array, right: Array, factor: float, out: Array, keep: float) -> None:
        """Replace ``out`` by ``keep * out + factor * left.T @ right``."""
        self.multiply(left.T, right, factor, out, keep)

    def add(self, x: Array, factor: float, out: Array) -> None:
        """Add ``factor * x`` to ``out``."""
        out += np.float32(factor) * x

    def step_along(
        self, left: Array, right: Array, w: Array, velocity: Array, rate: float, momentum: float, decay: float,
        nesterov: bool,
    ) -> bool:  # fmt: skip
        """Take a step along ``left.T @ right`` at once, if that is possible; return whether it was taken."""
        if self._step is None or not (is_plain(left) and is_plain(right)):
            return False
        if not (takes(left.T, right, w) and takes(left.T, right, velocity)):
            return False
        self._step(left, right, w, velocity, rate, momentum, decay, nesterov)
        return True

    def __reduce__(self) -> tuple[Callable[[], object], tuple[()]]:
        """Let another process find its products: the system allows AMX to each process separately."""
        return restored, ()


def amx() -> Bfloat16Products | str:
    """Return the products by AMX, or the reason why there are none."""
    found = loops.load()
    if found is None or not found.has_amx:
        return "the compiled loops for AMX are not installed"
    if not _flags() >= OWN_INSTRUCTIONS:
        return "this processor has no AMX"
    if not found.allow_amx():
        return "the system does not allow the use of AMX"
    products = Bfloat16Products("AMX", found.multiply_by_amx, found.step_by_amx)
    return products if is_right(products) else "AMX computes wrong results"


def _flags() -> set[str]:
    """Return the words of the description of the processor, its instructions among them."""
    return set(PROCESSOR.read_text().split()) if PROCESSOR.exists() else set()


def _open(package: str, *names: str) -> ctypes.CDLL | None:
    """Return the library of a package, whose file's name starts with one of these; None if it is not installed."""
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = (Path(str(f.locate())) for f in files if f.name.startswith(names))
    path = next((path.resolve() for path in found if path.exists()), None)
    return None if path is None else ctypes.CDLL(str(path))


def _onednn() -> Bfloat16Products | None:
    library = _open("onednn-cpu-gomp", "libdnnl.so", "dnnl.dll")
    if library is None:
        return None
    threads = {"count": library.omp_get_max_threads, "limit": library.omp_set_num_threads}
    return Bfloat16Products("oneDNN", Routine(dnnl=library.dnnl_gemm_bf16bf16f32, **threads))


def _mkl() -> Bfloat16Products | None:
    library = _open("mkl", "libmkl_rt", "mkl_rt")
    if library is None:
        return None
    threads = {"count": library.MKL_Get_Max_Threads, "limit": library.MKL_Set_Num_Threads_Local}
    return Bfloat16Products("MKL", Routine(cblas=library.cblas_gemm_bf16bf16f32, **threads))


LIBRARIES: dict[str, tuple[Callable[[], Bfloat16Products | None], tuple[str, ...]]] = {
    "oneDNN": (_onednn, INSTRUCTIONS), "MKL": (_mkl, INSTRUCTIONS[:1]),
}  # fmt: skip
"""Functions that open a library (None: it is not installed), and the instructions with which it is fast, any of them.

The first one that is faster than float32 is used. The fastest one would depend on what else the machine does at the
time, and results with it.
"""


def is_right(products: Bfloat16Products) -> bool:
    """Check products of small integers, which are exact."""
    left, right = (np.arange(40 * n, dtype=np.float32).reshape(40, n) % 7 for n in (24, 50))
    out = np.ones((24, 50), np.float32)
    products.add_product(left, right, -2, out, 4)
    turned = products.matmul(left, np.asfortranarray(right[:24]))
    return np.array_equal(out, 4 - 2 * left.T @ right) and np.array_equal(turned, left @ right[:24])


def share_of_float32(products: Bfloat16Products) -> float:
    """Return the time of a product as a share of that of float32 numbers.

    It is the median over rounds, since other programs can slow any single product.
    """
    m, k, n = TRIAL
    rng, times = np.random.default_rng(0), np.empty((N_TRIALS + 1, 2))
    left, right, out = rng.random((m, k), np.float32), rng.random((k, n), np.float32), np.empty((m, n), np.float32)
    for i in range(N_TRIALS + 1):  # the first round prepares the routine
        began = time.perf_counter()
        products.matmul(left, right, out)
        middle = time.perf_counter()
        np.matmul(left, right, out=out)
        times[i] = middle - began, time.perf_counter() - middle
    return float(np.median(times[1:, 0] / times[1:, 1]))


def load(name: str) -> Bfloat16Products | str:
    """Return the products by a library, or the reason why there are none."""
    if loops.load() is None:
        return "the compiled loops, which they need, are not installed"
    try:
        products = LIBRARIES[name][0]()
    except (OSError, AttributeError) as error:
        return f"{name} cannot be used ({error})"
    if products is None:
        return f"{name} is not installed: pip install 'deepbelief[bfloat16]'"
    return products if is_right(products) else f"{name} has no such products for this processor"


@cache
def fast() -> Bfloat16Products | str:
    """Return the products by AMX or the first library that is faster than float32, or the reason why there is none."""
    own = amx()
    if not isinstance(own, str) and share_of_float32(own) < 1:
        return own
    flags, reasons = _flags(), []
    for name, (_, instructions) in LIBRARIES.items():
        if flags.isdisjoint(instructions):
            continue
        products = load(name)
        if isinstance(products, str):
            reasons.append(products)
        elif share_of_float32(products) < 1:
            return products
        else:
            reasons.append(f"products by {name} are slower on this machine")
    if reasons:
        return reasons[0]
    return f"this processor has no instructions for bfloat16 matrix products ({' or '.join(INSTRUCTIONS)})"


def restored() -> Bfloat16Products | None:
    """Return the products of this process, for a backend that was made in another one; None, with a warning: none."""
    found = fast()
    if isinstance(found, str):
        warn_of_float32(found)
        return None
    return found


def warn_of_float32(reason: str) -> None:
    """Warn that products are computed in float32, and say why."""
    warnings.warn(f"matrix products are computed in float32, not in bfloat16: {reason}", PrecisionWarning, stacklevel=4)


def describe() -> str:
    """Describe the implementation of bfloat16 products.

    Examples
    --------
    >>> describe() in ("AMX", *LIBRARIES) or describe().startswith("none: ")
    True
    """
    found = fast()
    return f"none: {found}" if isinstance(found, str) else found.name

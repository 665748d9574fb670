"""Matrix products of bfloat16 numbers (8 significant bits, accumulated in float32) on the processor.

Processors with AMX or AVX512-BF16 multiply such matrices faster than float32 ones.
"""

import time
import warnings
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

import numpy as np

from deepbelief.backends import loops
from deepbelief.backends.blas import is_plain
from deepbelief.errors import PrecisionWarning
from deepbelief.typing import Array, DeviceArray

PROCESSOR = Path("/proc/cpuinfo")
UNITS: Mapping[str, frozenset[str]] = {
    "AMX": frozenset({"amx_tile", "amx_bf16", "avx512_bf16", "avx512bw"}),
    "AVX512-BF16": frozenset({"avx512_bf16", "avx512bw"}),
}
"""Units of processors that multiply bfloat16 numbers, the fastest first, and the instructions that are needed."""

MIN_MULTIPLICATIONS = 2**20  # of a product: below it float32 is as fast
MIN_ROWS = 12  # of the factors, and twice as many in a step: with fewer, rounding takes longer than the product
MIN_COLUMNS = 16  # of the result: with fewer, float32 is as fast
TRIAL = (100, 784, 500)  # rows and columns of the first factor, and columns of the second one
N_TRIALS = 9  # rounds of products, to see whether they are faster than those of float32


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


class Bfloat16Products:
    """Products of float32 matrices whose factors are rounded to bfloat16 before they are multiplied.

    Parameters
    ----------
    name : str
        The unit of the processor that multiplies.
    multiply, step : callable
        `Loops.multiply_rounded` and `Loops.step_rounded` without their first argument.
    """

    def __init__(
        self, name: str, multiply: Callable[[Array, Array, float, Array, float], None], step: Callable[..., None]
    ) -> None:
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
        """Take a step along ``left.T @ right`` if these arrays are taken; return whether they are."""
        if len(left) < 2 * MIN_ROWS or not (is_plain(left) and is_plain(right)):
            return False
        if not (takes(left.T, right, w) and takes(left.T, right, velocity)):
            return False
        self._step(left, right, w, velocity, rate, momentum, decay, nesterov)
        return True

    def __reduce__(self) -> tuple[Callable[[], object], tuple[()]]:
        """Let another process find its products: the system allows AMX to each process separately."""
        return restored, ()


def load(unit: str) -> Bfloat16Products | str:
    """Return the products by a unit of the processor, or the reason why there are none."""
    found, amx = loops.load(), unit == "AMX"
    if found is None or not found.has_rounded:
        return "the compiled loops for them are not installed"
    words = set(PROCESSOR.read_text().split()) if PROCESSOR.exists() else set()
    if not words >= UNITS[unit]:
        return f"this processor has no {unit}"
    if not found.allow_rounded(amx):
        return f"the system does not allow the use of {unit}"
    products = Bfloat16Products(unit, partial(found.multiply_rounded, amx), partial(found.step_rounded, amx))
    return products if is_right(products) else f"{unit} computes wrong results"


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


@cache
def fast() -> Bfloat16Products | str:
    """Return the products by the first unit that is faster than float32, or the reason why there is none."""
    reasons = []
    for unit in UNITS:
        products = load(unit)
        if not isinstance(products, str) and share_of_float32(products) < 1:
            return products
        reasons.append(products if isinstance(products, str) else f"products by {unit} are slower on this machine")
    return reasons[-1]


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
    >>> describe() in UNITS or describe().startswith("none: ")
    True
    """
    found = fast()
    return f"none: {found}" if isinstance(found, str) else found.name

"""Whether there are compiled loops, and for which arrays."""

import importlib
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


@cache
def loops() -> Any:
    """Return the module of compiled loops; None without Numba, or where it does not work on this machine."""
    try:
        found = importlib.import_module("deepbelief.backends.loops")
        return found if _try_out(found) else None
    except Exception:  # a full disk, a processor that the compiler does not know: NumPy can do without
        return None


def _try_out(found: Any) -> bool:
    """Compile the loops, and tell whether they compute what they shall on a few numbers."""
    f32 = np.float32
    x, bias, out = np.linspace(-3, 3, 38, dtype=f32), np.linspace(-1, 1, 19, dtype=f32), np.empty(38, f32)
    mean = 1 / (1 + np.exp(-(x.reshape(2, 19) + bias)))
    one, other = x.copy(), x.copy()
    found.sigmoid(one, bias)
    found.sample(other, bias, np.zeros(38, np.int16), f32(2**15), out, 0, 38)
    right = [np.allclose(one, mean.reshape(-1)), np.array_equal(one, other), np.array_equal(out, one > 0.5)]
    w, velocity, sums = x.copy(), x.copy(), np.empty(19, f32)
    found.momentum_step(w, velocity, x, f32(0.5), f32(0.25), f32(0), f32(0))
    found.weigh(x.copy(), np.full(2, 2, f32), sums)
    right += [np.allclose(w, 0.75 * x), np.allclose(sums, 2 * x.reshape(2, 19).sum(axis=0), atol=1e-5)]
    found.adam_step(w, *np.zeros((2, 38), f32), x, f32(1), f32(0), f32(0), f32(0), f32(0))
    right.append(np.allclose(w, 0.75 * x - np.sign(x)))
    words = np.empty(38, np.uint16)
    found.round_words(x.view(np.uint32), words)
    right.append(np.allclose((words.astype(np.uint32) << 16).view(f32), x, rtol=2**-8))
    for kind in (np.int32, np.int64):
        product, columns = np.zeros((1, 19), f32), np.arange(2, dtype=kind)
        found.add_product(np.array([0, 2], kind), columns, np.ones(2, f32), f32(1), x.reshape(2, 19), product, 1)
        right.append(np.allclose(product, x.reshape(2, 19).sum(axis=0), atol=1e-5))
    return all(right)


def loops_for(*arrays: NDArray[Any]) -> Any:
    """Return the compiled loops where they take these arrays, else None."""
    if all(a.dtype == np.float32 and a.flags.c_contiguous for a in arrays):
        return loops()
    return None


def describe() -> str:
    """Return what compiles the element-wise work."""
    found = loops()
    return "NumPy" if found is None else f"Numba {found.numba.__version__}"

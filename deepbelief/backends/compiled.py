"""Whether there are compiled loops, and for which arrays."""

import importlib
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


@cache
def loops() -> Any:
    """Return the module of compiled loops, or None without Numba."""
    try:
        return importlib.import_module("deepbelief.backends.loops")
    except ImportError:
        return None


def loops_for(*arrays: NDArray[Any]) -> Any:
    """Return the compiled loops where they take these arrays, else None."""
    if all(a.dtype == np.float32 and a.flags.c_contiguous for a in arrays):
        return loops()
    return None


def describe() -> str:
    """Return what compiles the element-wise work."""
    found = loops()
    return "NumPy" if found is None else f"Numba {found.numba.__version__}"

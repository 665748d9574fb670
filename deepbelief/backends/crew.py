"""Threads for element-wise work: NumPy releases the interpreter lock, so halves of an array go in parallel."""

import contextvars
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

WORTHWHILE = 32768  # elements below which handing over costs more than it saves
_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def n_threads() -> int:
    """Return how many threads to use: the cores at hand, or fewer where the BLAS libraries are told so."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    told = [int(value) for name in _LIMITS if (value := os.environ.get(name, "")).isdigit() and int(value) > 0]
    return min([cores, *told])


class Crew:
    """Runs a function on equal shares of some arrays, split along their first axis."""

    def __init__(self) -> None:
        self._n = n_threads()
        self._pool: ThreadPoolExecutor | None = None

    def run(self, function: Callable[..., None], *arrays: Array) -> None:
        """Call ``function(*shares)`` for every share."""
        rows = len(arrays[0])
        parts = min(self._n, rows, arrays[0].size // WORTHWHILE)
        if parts < 2:
            function(*arrays)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._n - 1, thread_name_prefix="deepbelief")
        bounds = [rows * i // parts for i in range(parts + 1)]
        shares = [[a[lo:hi] for a in arrays] for lo, hi in itertools.pairwise(bounds)]
        # Each thread works in a copy of the caller's context, which holds NumPy's errstate.
        futures = [self._pool.submit(contextvars.copy_context().run, function, *share) for share in shares[1:]]
        function(*shares[0])
        for future in futures:
            future.result()


CREW = Crew()


def _after_fork() -> None:
    """Forget the parent's threads, which a forked child does not have."""
    CREW._pool = None
    CREW._n = n_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

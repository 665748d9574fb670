"""Speed of a backend: standard workloads, timed as multiples of their matrix products alone.

The products are a lower bound for any implementation, on arrays of the same shapes and on the same backend. The rest of
a workload's time is element-wise work, random draws and overhead.
"""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import scipy
import sklearn
from threadpoolctl import threadpool_info

from deepbelief.backends import Backend, bfloat16, get_backend, loops
from deepbelief.backends.device import device_name
from deepbelief.estimators.classifier import DBNClassifier
from deepbelief.estimators.dbn import DBN
from deepbelief.estimators.rbm import RBM
from deepbelief.training import BLOCK_ROWS
from deepbelief.typing import Array, DeviceArray, Estimator, StrDict

N_CLASSES = 10


@dataclass(frozen=True)
class Work:
    """A workload: one epoch of training, or one pass of encoding.

    Parameters
    ----------
    kind : {"cd", "pcd", "finetune", "encode"}
    sizes : tuple of int
        Units of each layer, from the input to the output.
    batch_size, n_rows : int
    """

    kind: str
    sizes: tuple[int, ...]
    batch_size: int
    n_rows: int


STANDARD: Mapping[str, Work] = {
    "CD-1 784 x 500, batch 100": Work("cd", (784, 500), 100, 5000),
    "PCD-1 784 x 500, batch 100": Work("pcd", (784, 500), 100, 5000),
    "CD-1 784 x 500, batch 32": Work("cd", (784, 500), 32, 3200),
    "CD-1 784 x 500, batch 10": Work("cd", (784, 500), 10, 1000),
    "CD-1 1024 x 4096, batch 256": Work("cd", (1024, 4096), 256, 1024),
    "fine-tuning 784-500-250-10, batch 100": Work("finetune", (784, 500, 250, N_CLASSES), 100, 5000),
    "encoding 784-500-250": Work("encode", (784, 500, 250), BLOCK_ROWS, 4 * BLOCK_ROWS),
}
"""Timed workloads, by name."""


def rows_for(work: Work) -> tuple[Array, Array]:
    """Return 0/1 rows with columns of different means, and classes."""
    rng = np.random.default_rng(1)
    means = rng.random(work.sizes[0], dtype=np.float32)
    X = (rng.random((work.n_rows, work.sizes[0]), dtype=np.float32) < means).astype(np.float32)
    return X, np.arange(work.n_rows) % N_CLASSES


def products(work: Work, bk: Backend) -> list[tuple[DeviceArray, DeviceArray, DeviceArray]]:
    """Return the matrix products of one minibatch: left and right factors, and a buffer for the result."""
    xp, rng, n = bk.xp, np.random.default_rng(0), work.batch_size

    def array(*shape: int) -> DeviceArray:
        return bk.asarray(rng.random(shape, dtype=np.float32))

    if work.kind in ("cd", "pcd"):
        v, h, W = array(2 * n, work.sizes[0]), array(2 * n, work.sizes[1]), array(*work.sizes)
        up, down = xp.empty_like(h[:n]), xp.empty_like(v[:n])
        return [(v[:n], W, up), (h[:n], W.T, down), (v[:n], W, up), (v.T, h, xp.empty_like(W))]
    states = [array(n, size) for size in work.sizes]
    layers = [(x, y, array(x.shape[1], y.shape[1])) for x, y in pairwise(states)]
    forward = [(x, W, xp.empty_like(y)) for x, y, W in layers]
    if work.kind == "encode":
        return forward
    down_to = [(y, W.T, xp.empty_like(x)) for x, y, W in layers[1:]]
    return forward + down_to + [(x.T, y, xp.empty_like(W)) for x, y, W in layers]


def floor(work: Work, bk: Backend) -> Callable[[], None]:
    """Return a function that multiplies the matrices of the work and does nothing else."""
    factors, n_updates = products(work, bk), work.n_rows // work.batch_size

    def epoch() -> None:
        for _ in range(n_updates):
            for left, right, out in factors:
                bk.xp.matmul(left, right, out=out)
        bk.synchronize()

    return epoch


def ours(work: Work, backend: str | Backend, n_epochs: int) -> Callable[[], Estimator]:
    """Return a function that does the work for some epochs, checks of its input included, and returns the model."""
    X, y = rows_for(work)
    common: StrDict = {"batch_size": work.batch_size, "random_state": 0, "backend": backend}
    if work.kind == "finetune":
        net = DBNClassifier(work.sizes[1:-1], pretraining="none", activation="sigmoid", max_iter=n_epochs, **common)
        return lambda: net.fit(X, y)
    if work.kind == "encode":
        dbn = DBN(work.sizes[1:], pretraining="none", random_state=0, backend=backend).fit(X[:100])
        return lambda: [dbn.transform(X) for _ in range(n_epochs)]
    # Small enough that no shape diverges: a run that stops early would appear fast.
    rbm = RBM(work.sizes[1], gradient=work.kind, learning_rate=0.001, n_iter=n_epochs, **common)
    return lambda: rbm.fit(X)


def timed(function: Callable[[], object], turns: int = 1) -> Callable[[], list[float]]:
    """Return a function that measures the seconds of one call of another function."""

    def call() -> list[float]:
        began = time.perf_counter()
        function()
        return [(time.perf_counter() - began) / turns]

    return call


def interleaved(things: Mapping[str, Callable[[], Sequence[float]]], repeats: int) -> dict[str, list[float]]:
    """Run functions in turn, so that other load on the machine slows all of them equally.

    Parameters
    ----------
    things : mapping of str to function
        Each returns the times that it measured.
    repeats : int
        Rounds that count; one before them warms up.

    Returns
    -------
    dict
        The times of each thing.
    """
    times: dict[str, list[float]] = {name: [] for name in things}
    for round_ in range(repeats + 1):
        for name, thing in things.items():
            taken = thing()
            times[name] += taken if round_ else []
    return times


@dataclass(frozen=True)
class Timing:
    """Time of a piece of work on a backend: medians, in seconds."""

    name: str
    floor: float
    seconds: float
    n_rows: int

    @property
    def of_floor(self) -> float:
        """Return the time as a multiple of the bare matrix products'."""
        return self.seconds / self.floor


def measure(name: str, backend: str | Backend = "numpy", *, repeats: int = 5, work: Work | None = None) -> Timing:
    """Time a piece of work beside its floor, interleaved.

    Parameters
    ----------
    name : str
        A name in `STANDARD`, or any with ``work``.
    backend : {"numpy", "cupy"} or Backend, default="numpy"
    repeats : int, default=5
    work : Work, optional

    Returns
    -------
    Timing

    Examples
    --------
    >>> from deepbelief.diagnostics.speed import Work, measure
    >>> timing = measure("a small machine", work=Work("cd", (16, 8), 10, 100), repeats=1)
    >>> timing.seconds > 0
    True
    """
    work = STANDARD[name] if work is None else work
    bk = get_backend(backend)
    model = ours(work, bk, 3)

    def epochs() -> list[float]:
        return [record["seconds"] for record in model().history_[1:]]  # the first one warms up

    things = {"floor": timed(floor(work, bk)), "ours": timed(model, 3) if work.kind == "encode" else epochs}
    times = interleaved(things, repeats)
    return Timing(name, statistics.median(times["floor"]), statistics.median(times["ours"]), work.n_rows)


def shortened(work: Work) -> Work:
    """Return the same work on a fifth of the rows."""
    return replace(work, n_rows=max(work.batch_size, work.n_rows // 5 // work.batch_size * work.batch_size))


def computer() -> StrDict:
    """Return what times were measured on: processor, versions, and the BLAS with its number of threads.

    Examples
    --------
    >>> computer()["cores"] >= 1
    True
    """
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = next((line.split(":")[1].split() for line in lines if line.startswith("flags")), [])
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    blas = dict.fromkeys(f"{p['internal_api']} {p['version']}, {p['num_threads']} threads" for p in pools)
    return {
        "cpu": device_name(get_backend("numpy")),
        "vectors": next((f for f in ("amx_tile", "avx512f", "avx2") if f in flags), "unknown"),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "blas": "; ".join(blas) or "unknown",
        "loops": loops.describe(),
        "bfloat16": bfloat16.describe(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        "deepbelief": getattr(sys.modules["deepbelief"], "__version__", "unknown"),
    }

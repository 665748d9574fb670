"""Measurement of a machine's constants, in some seconds."""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.optimize import nnls

from deepbelief.backends import Backend, Product, Rng, get_backend
from deepbelief.cost.machine_rates import MachineRates
from deepbelief.cost.operations import update_of_network
from deepbelief.datasets import open as open_data
from deepbelief.diagnostics.speed import computer
from deepbelief.distributed import Averaging, Partitioned, local_cluster
from deepbelief.distributed.clusters import Client, resident_bytes
from deepbelief.estimators.classifier import DBNClassifier
from deepbelief.estimators.dbn import DBN
from deepbelief.estimators.rbm import RBM
from deepbelief.optimizers import get_optimizer
from deepbelief.training import BLOCK_ROWS
from deepbelief.typing import DeviceArray, StrDict
from deepbelief.units import get_unit

Clock = Callable[[], float]
SHAPES = ((10, 784, 500), (100, 784, 500), (32, 300, 200), (200, 1000, 1500))
"""Rows, visible and hidden units of the machines whose products are timed."""

UNITS = ("bernoulli", "gaussian", "rectified", "relu", "spin")
GROUP = 8  # states of a softmax unit that is timed
N_ROWS, N_VISIBLE, N_HIDDEN = 100, 784, 500  # of element-wise work
TINY = (4, 3)  # units of the machine whose updates are overhead
BASE = """
import os, numpy as np
from deepbelief import DBNClassifier, RBM
X = np.eye(200, 300, dtype=np.float32)
RBM(100, batch_size=100, n_iter=1, learning_rate=1e-3, random_state=0).fit(X)
print(int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
"""


def measure_rates(
    backend: str | Backend = "numpy",
    *,
    clock: Clock = time.perf_counter,
    repeats: int = 7,
    workers: int = 0,
    folder: str | Path | None = None,
) -> MachineRates:
    """Measure the constants that `predict_cost` needs.

    Parameters
    ----------
    backend : {"numpy", "cupy"} or Backend, default="numpy"
        Backend whose operations are timed.
    clock : callable, default=time.perf_counter
        ``time.process_time`` leaves out what other processes take, and counts all threads.
    repeats : int, default=7
        Number of times that each operation is timed; the median counts.
    workers : int, default=0
        Number of local processes by which rounds of averaging are timed; 0: not measured.
    folder : str or Path, optional
        Where the rate of reading is measured; by default the folder for temporary files.

    Returns
    -------
    MachineRates

    Examples
    --------
    >>> from deepbelief.cost import measure_rates
    >>> rates = measure_rates(repeats=1)  # doctest: +SKIP
    >>> rates.save("machine.json")  # doctest: +SKIP
    """
    bk, timer = get_backend(backend), _Timer(clock, repeats)
    flop, value, amounts = _products(bk, timer)
    amounts |= _elements(bk, timer) | _sparse(bk, timer, flop, value)
    bare = MachineRates(flop, value, amounts, 0, 0, 1)
    amounts |= _calls(bk, timer, bare)
    amounts |= _rows(bk, timer)
    amounts["read"] = _reading(timer, folder)
    about = computer()
    round_seconds, network_bytes, worker_bytes = _rounds(workers) if workers else (None, None, None)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return MachineRates(
        flop, value, amounts, _base_bytes(), bk.memory(), cores, round_seconds, network_bytes, worker_bytes,
        clock=getattr(clock, "__name__", "clock"), about=about | {"backend": bk.name},
    )  # fmt: skip


class _Timer:
    """Median time of a call."""

    def __init__(self, clock: Clock, repeats: int) -> None:
        self.clock, self.repeats = clock, repeats

    def __call__(self, call: Callable[[], object], turns: int = 1) -> float:
        call()
        times = []
        for _ in range(self.repeats):
            began = self.clock()
            for _ in range(turns):
                call()
            times.append((self.clock() - began) / turns)
        return statistics.median(times)


def _arrays(bk: Backend, *shapes: tuple[int, int]) -> list[DeviceArray]:
    rng = np.random.default_rng(0)
    return [bk.asarray(rng.random(shape, dtype=np.float32) - np.float32(0.5)) for shape in shapes]


def _products(bk: Backend, timer: _Timer) -> tuple[float, float, dict[str, float]]:
    """Return times of a product for each operation and value, and of steps for each weight."""
    rows, seconds, steps = [], [], []
    for n, v, h in SHAPES:
        states, hidden, W, velocity, square = _arrays(bk, (2 * n, v), (2 * n, h), (v, h), (v, h), (v, h))
        square *= square
        up, down, room = (bk.xp.empty_like(a) for a in (hidden[:n], states[:n], W))
        product, turns = Product(states, hidden, room), max(1, int(2e7 / (n * v * h)))

        def step(
            nesterov: bool, W: DeviceArray = W, velocity: DeviceArray = velocity, product: Product = product
        ) -> None:
            bk.momentum_step(W, velocity, product, 1e-4, 0.9, 1e-4, nesterov)  # far from denormal numbers
            bk.synchronize()

        def adaptive(
            W: DeviceArray = W, v: DeviceArray = velocity, s: DeviceArray = square, g: DeviceArray = room
        ) -> None:
            bk.adam_step(W, v, s, g, 1e-4, (0.9, 0.999), 1e-8, 0.0)
            bk.synchronize()

        def times(left: DeviceArray, right: DeviceArray, out: DeviceArray) -> Callable[[], None]:
            def call() -> None:
                bk.matmul(left, right, out)
                bk.synchronize()

            return call

        for left, right, out in ((states[:n], W, up), (hidden[:n], W.T, down), (states.T, hidden, room)):
            rows.append([2.0 * left.shape[0] * left.shape[1] * out.shape[1], left.size + right.size + out.size])
            seconds.append(timer(times(left, right, out), turns))
        times_of_steps = [timer(partial(step, nesterov), turns) for nesterov in (False, True)]
        steps.append((times_of_steps, rows[-1], v * h, timer(adaptive, turns)))
    # Errors count relative to the times, of large products as of small ones.
    (flop, value), _ = nnls(np.array(rows) / np.array(seconds)[:, None], np.ones(len(seconds)))
    amounts = {"adaptive": statistics.median(took / weights for _, _, weights, took in steps)}
    for i, kind in enumerate(("momentum", "nesterov")):
        beside = [(took[i] - flop * row[0] - value * row[1]) / weights for took, row, weights, _ in steps]
        amounts[kind] = max(0.0, statistics.median(beside))
    return float(flop), float(value), amounts


def _elements(bk: Backend, timer: _Timer) -> dict[str, float]:
    """Return times of element-wise work for each value, in the order in which an update does it."""
    n = 2 * N_ROWS
    table, x, out = _arrays(bk, (20 * N_ROWS, N_VISIBLE), (n, N_VISIBLE), (n, N_VISIBLE))
    rng = bk.rng(np.random.SeedSequence(0))
    order = np.random.default_rng(0).permutation(len(table))[:n]
    index, weight, sums = bk.asarray(order), bk.xp.ones((n, 1), np.float32), bk.xp.empty(N_VISIBLE, np.float32)
    bias, p = bk.xp.zeros(N_VISIBLE, np.float32), bk.xp.full((n, N_VISIBLE), 0.5, np.float32)
    calls: dict[str, Callable[[], object]] = {
        "gather": lambda: bk.take(table, index, out),
        "sum": lambda: bk.xp.matmul(weight[:, 0], x, out=sums),
        "weigh": lambda: bk.weigh(x, weight, sums),
        "draw": lambda: rng.bernoulli(p, out),
        "pass": lambda: bk.xp.multiply(x, out, out=out),
        "fresh": lambda: bk.xp.square(x),
    }
    for name in (*UNITS, "softmax"):
        calls |= _of_unit(bk, name, x, bias, rng, out)
    found = {}
    for kind, call in calls.items():
        x[...] = 0.1
        out[...] = 0.1

        def once(call: Callable[[], object] = call) -> None:
            call()
            bk.synchronize()

        with np.errstate(over="ignore"):
            found[kind] = timer(once) / x.size
    return found


def _of_unit(
    bk: Backend, name: str, x: DeviceArray, bias: DeviceArray, rng: Rng, out: DeviceArray
) -> dict[str, Callable[[], object]]:
    sizes = ",".join([str(GROUP)] * (x.shape[1] // GROUP))
    unit = get_unit(name if name in UNITS else f"{name}:{sizes}")
    return {
        f"mean:{name}": lambda: unit.mean(bk, x, bias),
        f"sample:{name}": lambda: unit.sample(bk, x, bias, rng, out),
    }


def _sparse(bk: Backend, timer: _Timer, flop: float, value: float) -> dict[str, float]:
    """Return times of a product for each stored value and column, and of dense rows for each value."""
    density, n = 0.05, N_ROWS
    matrix = sparse.random(n, N_VISIBLE, density, "csr", np.float32, np.random.default_rng(0))
    rows = bk.sparse(matrix).part(0, n)
    W, out, h, dense = _arrays(bk, (N_VISIBLE, N_HIDDEN), (n, N_HIDDEN), (n, N_HIDDEN), (n, N_VISIBLE))
    up = timer(lambda: rows.times(W, out))
    back = timer(lambda: rows.add_transposed(h, W, 1e-9))
    to_dense = timer(lambda: rows.dense(dense))
    return {"sparse product": (up + back) / 2 / (matrix.nnz * N_HIDDEN), "to dense": to_dense / dense.size}


def _calls(bk: Backend, timer: _Timer, rates: MachineRates) -> dict[str, float]:
    """Return times of an update, a Gibbs step and a layer of a network beside what their operations take."""
    n_rows, batch = 2000, 10
    v, h = TINY
    X = (np.random.default_rng(0).random((n_rows, v)) < 0.5).astype(np.float32)
    y = np.arange(n_rows) % 2
    updates = n_rows // batch
    common: StrDict = {"batch_size": batch, "random_state": 0, "backend": bk}

    def per_update(fit: Callable[[int], object]) -> float:
        """Return the time of an update: that of three epochs less that of one."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit(1)
            spans = []
            for _ in range(max(3, timer.repeats // 2)):
                began = timer.clock()
                fit(1)
                middle = timer.clock()
                fit(4)
                spans.append((timer.clock() - middle - (middle - began)) / 3)
        return max(0.0, statistics.median(spans)) / updates

    def machine_of(steps: int) -> Callable[[int], object]:
        return lambda n: RBM(h, n_iter=n, learning_rate=1e-3, gibbs_steps=steps, **common).fit(X)

    def network_of(sizes: tuple[int, ...]) -> Callable[[int], object]:
        return lambda n: DBNClassifier(sizes, pretraining="none", max_iter=n, dropout=0.0, **common).fit(X, y)

    one, five = per_update(machine_of(1)), per_update(machine_of(5))
    shallow, deep = per_update(network_of((h,))), per_update(network_of((h,) * 5))
    layer = max(0.0, (deep - shallow) / 4)
    known = rates.seconds(update_of_network((v, h, 2), batch, get_optimizer("sgd"), ()))
    return {
        "update": one,
        "gibbs step": max(0.0, (five - one) / 4),
        "network layer": layer,
        "network update": max(0.0, shallow - layer - known),
    }


def _rows(bk: Backend, timer: _Timer) -> dict[str, float]:
    """Return the time of checks and column statistics for each value of the rows, and of blocks of hidden means."""
    X = np.random.default_rng(0).random((2 * BLOCK_ROWS, 300), dtype=np.float32)
    dbn = DBN((1,), pretraining="none", random_state=0, backend=bk)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small, large = (timer(lambda n=n: dbn.fit(X[:n])) for n in (BLOCK_ROWS // 2, len(X)))  # type: ignore[misc]
    rng = np.random.default_rng(0)
    return {
        "scan": max(0.0, large - small) / ((len(X) - BLOCK_ROWS // 2) * X.shape[1]),
        "initial": timer(lambda: rng.normal(0, 0.01, (300, 300)).astype(np.float32)) / 90_000,
    }


def _reading(timer: _Timer, folder: str | Path | None) -> float:
    """Return the time of a byte of rows that are read in windows from a file, which lies in the system's cache."""
    X = np.random.default_rng(0).random((4000, 784), dtype=np.float32)
    with tempfile.TemporaryDirectory(dir=folder) as own:
        path = Path(own) / "rows.npy"
        np.save(path, X)
        source, room = open_data(str(path), scale="none").rows, np.empty((500, 784), np.float32)

        def read() -> None:
            for start in range(0, len(X), len(room)):
                source.take(slice(start, start + len(room)), room)

        return timer(read) / X.nbytes


def _base_bytes() -> int:
    """Return the resident bytes of a separate process that has trained a small machine."""
    done = subprocess.run([sys.executable, "-c", BASE], capture_output=True, text=True, check=False)
    with contextlib.suppress(ValueError, IndexError):
        return int(done.stdout.split()[-1])
    return resident_bytes()


def _rounds(workers: int) -> tuple[float, float, int]:
    """Return the time of a round for each worker beside its bytes, bytes per second, and bytes of a local worker."""
    small, large = (10, 5), (1000, 1000)
    with local_cluster(workers) as client:
        times = {small: _seconds_of_round(client, workers, small)}
        own = max(client.run(resident_bytes).values())
        times[large] = _seconds_of_round(client, workers, large)
    sent = {sizes: round_bytes(*sizes) for sizes in times}
    per_byte = max(1e-12, (times[large] - times[small]) / (2 * workers * (sent[large] - sent[small])))
    return max(0.0, times[small] / workers), 1 / per_byte, own


def _seconds_of_round(client: Client, workers: int, sizes: tuple[int, int], rounds: int = 8) -> float:
    """Return the time of a round with one update, less that of the update: epochs of one round and of several."""
    import dask.array as da

    v, h = sizes
    n = 2 * rounds * workers
    X = (np.random.default_rng(0).random((n, v)) < 0.5).astype(np.float32)
    places = sorted(client.nthreads())
    parts = [client.scatter(p, workers=[w], direct=True) for p, w in zip(np.split(X, workers), places, strict=True)]
    placed = da.concatenate([da.from_delayed(p, (n // workers, v), np.float32) for p in parts])  # type: ignore[no-untyped-call]
    times: Mapping[int, list[float]] = {1: [], rounds: []}
    for _ in range(4):
        for n_rounds, found in times.items():  # of an epoch
            rows = Partitioned(placed, Averaging(rounds // n_rounds, "same"), client)
            rbm = RBM(h, batch_size=2, n_iter=3, learning_rate=1e-6, random_state=0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(min(record["seconds"] for record in rbm.fit(rows).history_[1:]))
    return max(0.0, (statistics.median(times[rounds]) - statistics.median(times[1])) / (rounds - 1))


def round_bytes(n_visible: int, n_hidden: int, *, velocities: bool = True, itemsize: int = 4) -> int:
    """Return the bytes that a worker sends in a round: parameters and, by default, velocities.

    Parameters
    ----------
    n_visible, n_hidden : int
        Units of the layer.
    velocities : bool, default=True
        Whether velocities are sent too.
    itemsize : int, default=4
        Bytes of a number.

    Returns
    -------
    int

    Examples
    --------
    >>> round_bytes(784, 500)
    3146272
    """
    return (1 + velocities) * itemsize * (n_visible * n_hidden + n_visible + n_hidden)

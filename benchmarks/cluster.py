"""One process compared with workers that average: likelihood, reconstruction, rows per second, and cost of a round.

    python cluster.py likelihood [--seeds 5] [--epochs 10]   exact, 20 hidden units, over workers and rate rules
    python cluster.py wide [--epochs 3]                      reconstruction error and rows per second, 500 hidden
    python cluster.py test [--seeds 5] [--epochs 5]          the default rule on the test rows
    python cluster.py faults [--seeds 5] [--epochs 10]       one of four killed in mid round, another joins later
    python cluster.py round [--round 100]                    time of a round of two workers against two processes
    python cluster.py bytes                                  what a round sends, and a model for larger clusters

MNIST thresholded at 0.5; the first 50,000 training rows are trained on, and the last 10,000 are evaluated (validation).
Each row of the table is written to cluster.json as soon as it is done.
"""

import argparse
import importlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np

FOLDER = str(Path(__file__).resolve().parent)
sys.path = [entry for entry in sys.path if entry != FOLDER]
import dask.array as da  # noqa: E402  # would take sparse.py in this folder for a package of that name

sys.path.append(FOLDER)
from common import HERE, add, mnist  # noqa: E402

from deepbelief import RBM  # noqa: E402
from deepbelief.distributed import RATE_RULES, Averaging, FileRows, Partitioned, local_cluster  # noqa: E402
from deepbelief.sources import ArraySource, Scaling  # noqa: E402
from deepbelief.training import Reporter  # noqa: E402

BATCH, RATE, ROUND = 100, 0.05, 100


def bits():
    rows = (mnist()[0] >= 0.5).astype(np.float32)
    return rows[:50_000], rows[50_000:]


def on_workers(client, X, n, rule, updates=ROUND):
    """Return the rows in n parts, each on a separate worker."""
    workers = sorted(client.nthreads())
    parts = np.array_split(X, n)
    chunks = client.scatter(parts, direct=True)
    chunks = [client.submit(np.array, c, workers=[w], pure=False) for c, w in zip(chunks, workers, strict=False)]
    client.gather([client.submit(len, c) for c in chunks])
    found = [da.from_delayed(c, p.shape, p.dtype) for c, p in zip(chunks, parts, strict=True)]
    return Partitioned(da.concatenate(found).persist(optimize_graph=False), Averaging(updates, rule), client)


def arms():
    return [(1, "same"), *((n, rule) for n in (2, 4) for rule in RATE_RULES)]


def likelihood(seeds, epochs):
    train, valid = bits()
    rows = []
    for seed in range(seeds):
        for n, rule in arms():
            with local_cluster(n) as client:
                rbm = RBM(20, batch_size=BATCH, learning_rate=RATE, n_iter=epochs, random_state=seed)
                began = time.perf_counter()
                rbm.fit(on_workers(client, train, n, rule))
                took = time.perf_counter() - began
            value = float(rbm.log_likelihood(valid, method="exact").rows.mean())
            error = rbm.history_[-1]["reconstruction_error"]
            rows.append({"seed": seed, "workers": n, "rate": rule, "log_likelihood": value, "error": error,
                         "rows_per_second": len(train) * epochs / took})  # fmt: skip
            print(rows[-1], flush=True)
            add("cluster", "likelihood", value={"epochs": epochs, "round": ROUND, "learning_rate": RATE, "rows": rows})


def test_rows(seeds, epochs):
    """The default rule, evaluated once on test rows."""
    train, test = bits()[0], (mnist("test")[0] >= 0.5).astype(np.float32)
    rows = []
    for seed in range(seeds):
        for n in (1, 2, 4):
            with local_cluster(n) as client:
                rbm = RBM(20, batch_size=BATCH, learning_rate=RATE, n_iter=epochs, random_state=seed)
                rbm.fit(on_workers(client, train, n, "sqrt"))
            value = float(rbm.log_likelihood(test, method="exact").rows.mean())
            rows.append({"seed": seed, "workers": n, "log_likelihood": value})
            print(rows[-1], flush=True)
            add(
                "cluster",
                "test",
                value={"epochs": epochs, "round": ROUND, "learning_rate": RATE, "rate": "sqrt", "rows": rows},
            )


class Killer(Reporter):
    """Reporter that kills a given process during an epoch, and records the number of workers."""

    def __init__(self, client, victim, epoch, delay):
        self.client, self.victim, self.epoch, self.delay, self.busy = client, victim, epoch, delay, []

    def record(self, record):
        if self.victim is not None:
            parts = self.client.run(lambda: len(importlib.import_module("deepbelief.distributed.part")._PARTS))
            self.busy.append(sum(parts.values()))
        if self.victim is not None and record["epoch"] == self.epoch:
            threading.Timer(self.delay, os.kill, (self.victim, signal.SIGKILL)).start()


def faults(seeds, epochs):
    """Four workers; one is killed in the middle of a round, and its nanny starts another, which joins."""
    train, valid = bits()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "rows.npy")
        np.save(path, train)
        for seed in range(seeds):
            for kill in (False, True):
                with local_cluster(4) as client, warnings.catch_warnings(record=True) as told:
                    warnings.simplefilter("always")
                    pids = client.run(os.getpid)
                    killer = Killer(client, pids[sorted(pids)[seed % 4]] if kill else None, 3, 0.03 * (1 + seed))
                    rbm = RBM(
                        20, batch_size=BATCH, learning_rate=RATE, n_iter=epochs, random_state=seed, verbose=killer
                    )
                    began = time.perf_counter()
                    rbm.fit(Partitioned(FileRows(path, ArraySource(train), Scaling()), Averaging(20), client))
                    took = time.perf_counter() - began
                value = float(rbm.log_likelihood(valid, method="exact").rows.mean())
                rows.append({"seed": seed, "killed": kill, "log_likelihood": value, "seconds": took,
                             "workers_after_epochs": killer.busy, "told": [str(w.message) for w in told]})  # fmt: skip
                print(rows[-1], flush=True)
                add("cluster", "faults", value={"epochs": epochs, "round": 20, "learning_rate": RATE, "rows": rows})


def wide(epochs):
    train, valid = bits()
    rows = []
    for n, rule in arms():
        with local_cluster(n) as client:
            rbm = RBM(500, batch_size=BATCH, learning_rate=RATE, n_iter=epochs, random_state=0)
            began = time.perf_counter()
            rbm.fit(on_workers(client, train, n, rule))
            took = time.perf_counter() - began
        h = 1 / (1 + np.exp(-(valid @ rbm.components_.T + rbm.intercept_hidden_)))
        back = 1 / (1 + np.exp(-(h @ rbm.components_ + rbm.intercept_visible_)))
        rows.append({"workers": n, "rate": rule, "error": float(np.square(back - valid).sum(axis=1).mean()),
                     "rows_per_second": len(train) * epochs / took})  # fmt: skip
        print(rows[-1], flush=True)
        add("cluster", "wide", value={"epochs": epochs, "round": ROUND, "learning_rate": RATE, "rows": rows})


def alone(part):
    """Train on a part without communication, and return the seconds of its fastest epoch (a task)."""
    rbm = RBM(500, batch_size=BATCH, learning_rate=RATE, n_iter=4, random_state=0).fit(np.array(part))
    return min(record["seconds"] for record in rbm.history_)


def round_time(updates, repeats=3):
    """Two workers that average, compared with the same two training independently at the same time, in turns."""
    train = bits()[0][:40_000]  # 200 updates of each worker an epoch
    best = {"averaging": np.inf, "independent": np.inf}
    with local_cluster(2) as client:
        workers = sorted(client.nthreads())
        parts = [client.scatter(p, workers=[w], direct=True) for p, w in zip(np.split(train, 2), workers, strict=True)]
        for _ in range(repeats):
            rbm = RBM(500, batch_size=BATCH, learning_rate=RATE, n_iter=4, random_state=0)
            rbm.fit(on_workers(client, train, 2, "same", updates))
            averaging = min(record["seconds"] for record in rbm.history_)
            both = [client.submit(alone, p, workers=[w], pure=False) for p, w in zip(parts, workers, strict=True)]
            best = {"averaging": min(best["averaging"], averaging),
                    "independent": min(best["independent"], max(client.gather(both)))}  # fmt: skip
            print(best, flush=True)
    ratio = best["averaging"] / best["independent"]
    add(
        "cluster",
        f"round of {updates}",
        value={"rounds_in_an_epoch": 200 / updates, "seconds_of_an_epoch": best, "ratio": ratio},
    )


def projected(n_workers, n_bytes, seconds, bandwidth=1.25e9, latency=1e-3):
    """Return the seconds that averaging adds to a round, by this model.

    All messages pass the single link of the coordinator and are merged as they arrive. The result goes to one worker
    and is copied from there to twice as many in each step. Each task costs the latency of the scheduler. Links carry 10
    Gbit/s.
    """
    up = n_workers * (n_bytes / bandwidth + latency)
    down = (1 + int(np.ceil(np.log2(n_workers)))) * (n_bytes / bandwidth + latency)
    return {"workers": n_workers, "bytes_per_round": 2 * n_workers * n_bytes, "seconds": up + down,
            "share_of_a_round": (up + down) / (up + down + seconds)}  # fmt: skip


def round_bytes():
    """Bytes that a worker sends in a round; the time of a round is that of independent workers in `round`."""
    n_bytes = 2 * 4 * (784 * 500 + 784 + 500)  # parameters and velocities in float32
    measured = json.loads((HERE / "cluster.json").read_text())[f"round of {ROUND}"]
    seconds = measured["seconds_of_an_epoch"]["independent"] / measured["rounds_in_an_epoch"]
    projection = [projected(n, n_bytes, seconds) for n in (10, 100, 1000)]
    print(json.dumps(projection))
    add("cluster", "bytes", value={"per_worker_and_way": n_bytes, "round_seconds": seconds, "projection": projection})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("likelihood", "wide", "test", "faults", "round", "bytes"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--round", type=int, default=ROUND)
    given = parser.parse_args()
    if given.what == "likelihood":
        likelihood(given.seeds, given.epochs or 10)
    elif given.what == "wide":
        wide(given.epochs or 3)
    elif given.what == "test":
        test_rows(given.seeds, given.epochs or 5)
    elif given.what == "faults":
        faults(given.seeds, given.epochs or 10)
    elif given.what == "round":
        round_time(given.round)
    else:
        round_bytes()

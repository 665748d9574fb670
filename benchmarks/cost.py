"""Predicted and measured cost of runs that no constant was fitted to, and a simulation of many workers.

    OPENBLAS_NUM_THREADS=1 python benchmarks/cost.py runs   eight runs: seconds, and peak memory
    python benchmarks/cost.py rounds      round times of averaging at 2 and 4 workers
    python benchmarks/cost.py simulate    4 to 1,000 workers, and 10^9 rows x 784; uses what `rounds` measured

The machine's constants are measured before and after each run, so that both see the same load. Seconds of a run are
those of its processor, all threads, which other processes disturb least; wall seconds stand beside them. With more than
one thread of the BLAS they are not comparable: threads that wait count too. Peak memory is VmHWM of the process (Linux)
that trains. Rounds are told in wall seconds, and their workers are processes of this machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import sparse

if __name__ == "__main__":  # Dask's processes import this module without its folder
    from common import add

FOLDER = str(Path(__file__).resolve().parent)
sys.path = [entry for entry in sys.path if entry != FOLDER]  # dask would take sparse.py there for another library
MIB = 2**20


def floats(rows, columns):
    """Return random numbers in [0, 1), made without a temporary array of their size."""
    X, rng = np.empty((rows, columns), np.float32), np.random.default_rng(0)
    for start in range(0, rows, 1000):
        X[start : start + 1000] = rng.random((len(X[start : start + 1000]), columns), np.float32)
    return X


def cases(name, folder):
    """Return the estimator, its rows, targets, and further arguments of the prediction."""
    from deepbelief import DBN, RBM, DBNClassifier, DeepAutoencoder
    from deepbelief.datasets import open as open_data

    common = {"learning_rate": 1e-4, "random_state": 0}
    if name == "cd dense 784-500":
        return RBM(500, batch_size=100, n_iter=3, **common), floats(15_000, 784), None, {}
    if name == "pcd-3 dense 1500-800":
        return (
            RBM(800, batch_size=128, gradient="pcd", gibbs_steps=3, n_iter=1, **common),
            floats(6_000, 1500),
            None,
            {},
        )
    if name == "sparse 3000-300":
        X = sparse.random(8_000, 3000, 0.02, "csr", np.float32, np.random.default_rng(0))
        return RBM(300, batch_size=100, n_iter=2, **common), X, None, {}
    if name == "stack 400-300-200":
        rbm = RBM(batch_size=50, n_iter=2, learning_rate=1e-4)
        return DBN((300, 200), rbm=rbm, random_state=0), floats(15_000, 400), None, {}
    if name == "from disk 784-300":
        path = str(Path(folder) / "rows.npy")
        if not Path(path).exists():
            np.save(path, floats(40_000, 784))
        rows = open_data(path, scale="none").rows
        return RBM(300, batch_size=100, n_iter=2, memory_limit="64 MiB", **common), rows, None, {}
    if name == "fine-tuning 784-500-250-10":
        X = floats(10_000, 784)
        net = DBNClassifier((500, 250), pretraining="none", activation="sigmoid", solver="sgd", max_iter=4, dropout=0.0,
                            input_dropout=0.0, batch_size=100, random_state=0)  # fmt: skip
        return net, X, np.arange(len(X)) % 10, {"n_outputs": 10}
    if name == "autoencoder 300-100-20":
        rbm = RBM(batch_size=50, n_iter=1, learning_rate=1e-4)
        net = DeepAutoencoder((100, 20), rbm=rbm, max_iter=4, batch_size=50, random_state=0)
        return net, floats(10_000, 300), None, {}
    raise ValueError(name)


RUNS = ("cd dense 784-500", "pcd-3 dense 1500-800", "sparse 3000-300", "stack 400-300-200", "from disk 784-300",
        "fine-tuning 784-500-250-10", "autoencoder 300-100-20")  # fmt: skip


def peak_bytes():
    """Return this process's largest resident size; `ru_maxrss` would begin with that of the process before."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def one(name, folder):
    """Train, and print what it took; rows from a file lie in the system's cache."""
    warnings.simplefilter("ignore")
    estimator, rows, targets, _ = cases(name, folder)
    began = time.perf_counter(), time.process_time()
    estimator.fit(rows) if targets is None else estimator.fit(rows, targets)
    took = time.perf_counter() - began[0], time.process_time() - began[1]
    print(json.dumps({"wall_s": took[0], "cpu_s": took[1], "peak": peak_bytes()}))


def mean_of(before, after):
    """Return the constants between two measurements."""
    pairs = {kind: (value + after.amounts[kind]) / 2 for kind, value in before.amounts.items()}
    return replace(before, flop=(before.flop + after.flop) / 2, amounts=pairs,
                   product_value=(before.product_value + after.product_value) / 2)  # fmt: skip


def compared(name, predicted, measured, clock):
    row = {"run": name, "clock": clock, "predicted_s": predicted[0], "measured_s": measured[0],
           "time_ratio": predicted[0] / measured[0], "predicted_MiB": predicted[1] / MIB,
           "measured_MiB": measured[1] / MIB, "memory_ratio": predicted[1] / measured[1]}  # fmt: skip
    row["kept"] = bool(abs(row["time_ratio"] - 1) <= 0.25 and abs(row["memory_ratio"] - 1) <= 0.15)
    print(f"{name:28}{row['predicted_s']:8.2f}{row['measured_s']:8.2f} s {row['time_ratio']:6.2f}"
          f"{row['predicted_MiB']:8.0f}{row['measured_MiB']:6.0f} MiB {row['memory_ratio']:6.2f}"
          f"  {'kept' if row['kept'] else 'MISSED'}", flush=True)  # fmt: skip
    return row


def runs(only):
    from deepbelief.cost import measure_rates, predict_cost

    repeats = 5
    with tempfile.TemporaryDirectory() as folder:
        before = measure_rates(clock=time.process_time, repeats=repeats)
        for name in RUNS:
            if only and name not in only:
                continue
            cases(name, folder)  # writes the file of rows
            command = [sys.executable, __file__, "one", "--case", name, "--folder", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            after = measure_rates(clock=time.process_time, repeats=repeats)
            estimator, data, _, more = cases(name, folder)
            cost = predict_cost(estimator, data, mean_of(before, after), **more)
            row = compared(name, (cost.seconds, cost.resident_bytes), (found["cpu_s"], found["peak"]), "process")
            add("cost", "runs", name, value=row | {"wall_s": found["wall_s"]})
            before = after


def peak_of_worker():
    return os.getpid(), peak_bytes()


def rounds(numbers):
    """Two and four workers: constants of rounds from two workers on other sizes, then epochs of 784-500."""
    import dask.array as da

    from deepbelief import RBM
    from deepbelief.cost import Workers, measure_rates, predict_cost, round_bytes, simulate_averaging
    from deepbelief.distributed import Averaging, Partitioned, local_cluster

    n_rows, per_round = 16_000, 10
    for n in numbers:
        X = floats(n_rows, 784)
        rates = measure_rates(repeats=3, workers=2)
        with local_cluster(n) as client, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            places = sorted(client.nthreads())
            parts = [client.scatter(p, workers=[w], direct=True)
                     for p, w in zip(np.split(X, n), places, strict=True)]  # fmt: skip
            placed = da.concatenate([da.from_delayed(p, (n_rows // n, 784), np.float32) for p in parts])
            rbm = RBM(500, batch_size=100, n_iter=4, learning_rate=1e-4, random_state=0)
            began = time.perf_counter()
            rbm.fit(Partitioned(placed, Averaging(per_round), client))
            took = time.perf_counter() - began
            peaks = [peak for _, peak in client.run(peak_of_worker).values()]
        cost = predict_cost(rbm, X, rates, workers=n, updates_per_round=per_round)
        layer, n_rounds = cost.parts[-1], -(-n_rows // n // 100 // per_round)
        alone = predict_cost(rbm, X, rates)
        update = alone.parts[-1].seconds / alone.parts[-1].updates
        simulated = simulate_averaging(
            n_rows, update, round_bytes(784, 500), rates, workers=(n,), updates_per_round=per_round, link=None,
            conditions=Workers(cores=rates.cores),
        ).runs[0]  # fmt: skip
        measured = float(np.median([record["seconds"] for record in rbm.history_[1:]])) / n_rounds
        row = {
            "workers": n,
            "measured_round_s": measured,
            "simulated_round_s": simulated.round_seconds,
            "ratio": simulated.round_seconds / measured,
            "exchanging": simulated.exchanging,
            "rates": {"round_seconds": rates.round_seconds, "network_bytes": rates.network_bytes, "update": update},
        }
        row["kept"] = bool(abs(row["ratio"] - 1) <= 0.25)
        print(row, flush=True)
        add("cost", "rounds", str(n), value=row)
        if n == 2:
            shared = layer.seconds * max(1.0, n / rates.cores) + cost.parts[0].seconds
            row = compared("two workers 784-500", (shared, cost.resident_bytes), (took, max(peaks)), "wall")
            add("cost", "runs", row["run"], value=row)
    add("cost", "rates", value=rates.to_dict())


def simulate():
    """What many workers would take, by the constants that `rounds` left."""
    from deepbelief import RBM
    from deepbelief.cost import DataSize, Link, MachineRates, Workers, predict_cost, round_bytes, simulate_averaging

    rates = MachineRates(**json.loads((Path(__file__).parent / "cost.json").read_text())["rates"])
    data = DataSize(10**9, 784, on_disk=True, itemsize=1)
    rbm = RBM(500, batch_size=100, n_iter=1, learning_rate=1e-3)
    cost = predict_cost(rbm, data, rates)
    update = cost.parts[-1].seconds / cost.parts[-1].updates
    many = (1, 4, 10, 30, 100, 300, 1000)
    arms = {
        "10 Gbit/s, 1 ms": (Link(), Workers()),
        "1 Gbit/s, 5 ms": (Link(1.25e8, 5e-3), Workers()),
        "10 Gbit/s, a tenth twice as slow": (Link(), Workers(slow=0.1)),
        "10 Gbit/s, each lost once in 100 hours": (Link(), Workers(lost_per_hour=0.01)),
    }
    for every in (100, 1000):
        for name, (link, workers) in arms.items():
            found = simulate_averaging(
                10**9, update, round_bytes(784, 500), rates, workers=many, updates_per_round=every, link=link,
                conditions=workers,
            )  # fmt: skip
            print(f"\n10^9 rows x 784, 500 hidden units, rounds of {every}; {name}\n{found}", flush=True)
            add("cost", "simulated", f"rounds of {every}, {name}", value=found.to_dict())
    add("cost", "simulated", "one process, 10^9 rows", value=cost.to_dict())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("runs", "rounds", "simulate", "one"))
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--workers", nargs="*", type=int, default=[2, 4], help="of rounds")
    parser.add_argument("--only", nargs="*", help="runs by name")
    given = parser.parse_args()
    if given.what == "one":
        one(given.case, given.folder)
    elif given.what == "runs":
        runs(given.only)
    elif given.what == "rounds":
        rounds(given.workers)
    else:
        simulate()

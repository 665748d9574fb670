"""Training on a file larger than memory: peak memory, rows per second compared with rows in memory, and shuffling.

    python stream.py generate [--gb 20] [--file F]   bits at random, a byte each, 784 columns
    python stream.py fit [--file F]                  one epoch of an RBM on all of it: peak resident memory, time
    python stream.py stack [--file F]                two layers, what is between them on the disk and computed again
    python stream.py rate [--file F]                 rows per second, in turns with rows in memory
    python stream.py sorted                          MNIST sorted by class in the file against shuffled rows in memory

The file is HDF5 in /var/tmp unless named; F.zarr and F.parquet are of those kinds, compressed as these are by default.
Each result is written to stream.json as soon as it is done. `fit` and `stack` run in a separate process with at most 1
GiB of data (RLIMIT_DATA), and report the peak resident size.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from common import add, mnist

import deepbelief.streaming
from deepbelief import DBN, RBM, DBNClassifier
from deepbelief.backends import get_backend
from deepbelief.layer import LayerTrainer, RBMSettings, choose_visible, initial_weights
from deepbelief.row_windows import memory_bytes
from deepbelief.sources import ArraySource, as_source
from deepbelief.streaming import Rows
from deepbelief.training import Reporter, Run
from deepbelief.units import get_unit

WIDTH, HIDDEN, BATCH = 784, 500, 100
LIMIT = "256 MiB"
RESIDENT = 2**30  # bytes that a process may have
CHUNK = 5_000  # rows in a chunk of a Zarr store, or a row group of a Parquet file


def generate(path, gigabytes):
    rng = np.random.default_rng(0)
    n = int(gigabytes * 1e9) // WIDTH
    block = (rng.random((20_000, WIDTH)) < rng.random(WIDTH)).astype(np.uint8)
    parts = ((start, np.roll(block, start // 20_000, axis=0)[: n - start]) for start in range(0, n, 20_000))
    match path.suffix:
        case ".parquet":
            import pyarrow.parquet

            schema = pyarrow.schema([(f"c{j}", pyarrow.uint8()) for j in range(WIDTH)])
            with pyarrow.parquet.ParquetWriter(path, schema) as file:
                for _, part in parts:
                    table = pyarrow.table(list(part.T.copy()), schema=schema)
                    file.write_table(table, row_group_size=CHUNK)
        case ".zarr":
            import zarr

            rows = zarr.create_array(path, shape=(n, WIDTH), chunks=(CHUNK, WIDTH), dtype="u1")
            for start, part in parts:
                rows[start : start + len(part)] = part
        case _:
            with h5py.File(path, "w") as file:
                rows = file.create_dataset("X", (n, WIDTH), np.uint8)
                for start, part in parts:
                    rows[start : start + len(part)] = part
    print(f"{path}: {n} rows")


def rows_of(path):
    """Return the rows of a file, to be read from there."""
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return as_source(pyarrow.parquet.ParquetFile(path))
    if path.suffix == ".zarr":
        import zarr

        return as_source(zarr.open_array(path, mode="r"))
    return as_source(h5py.File(path)["X"])


class Progress(Reporter):
    """Reporter that records the start of training and the number of updates."""

    updates, began = 0, 0.0

    def update(self, epoch, done, total):
        self.began = self.began or time.perf_counter()
        self.updates += 1


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fit_in_a_process(path, how, limit):
    """Fit the requested model to the file, and print time and memory."""
    resource.setrlimit(resource.RLIMIT_DATA, (RESIDENT, RESIDENT))
    if how == "computed":
        deepbelief.streaming.fits_on_disk = lambda n_bytes: False
    rbm = RBM(HIDDEN, batch_size=BATCH, n_iter=1, memory_limit=limit, random_state=0)
    model = rbm if how == "rbm" else DBN((HIDDEN, HIDDEN // 2), rbm=rbm, memory_limit=limit, random_state=0)
    before, progress, began = peak(), Progress(), time.perf_counter()
    rows = rows_of(path)
    model.set_params(verbose=progress).fit(rows)
    told = {
        "gb_of_bytes": rows.shape[0] * rows.shape[1] / 1e9,
        "memory_limit": limit,
        "resident_mib_at_most": peak(),
        "resident_mib_after_imports": before,
        "seconds_before_training": progress.began - began,
        "seconds": time.perf_counter() - began,
        "rows_trained": progress.updates * BATCH,
        "reconstruction_error": [record["reconstruction_error"] for record in model.history_],
    }
    print(json.dumps(told))


def fit(path, how, limit):
    command = [sys.executable, __file__, "child", "--file", path, "--how", how, "--limit", limit]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    print(how, told)
    return told


def trainer_of(source, limit):
    """Return a trainer in its first epoch, and the number of its updates."""
    bk = get_backend()
    settings = RBMSettings(visible="bernoulli", batch_size=BATCH, n_iter=1, learning_rate=0.05)
    unit, mean, scale, visible_mean = choose_visible("bernoulli", ArraySource(source.take(slice(0, 20_000))))
    settings = settings.resolve(source.shape[0], WIDTH, HIDDEN)
    hidden = get_unit("bernoulli")
    weights = initial_weights(HIDDEN, unit, hidden, mean, scale, visible_mean, seed=0, layer=0)
    trainer = LayerTrainer(weights, settings, Run(bk, 0), layer=0, horizon=1)
    rows = Rows(source, bk, np.float32, limit)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(rows)) if rows.windows is None else rows.windows.order(rng)
    trainer._rows = rows
    trainer.begin_epoch(0, order)
    return trainer, get_backend().rng(np.random.SeedSequence(0)), rows


def rate(path, rounds, updates):
    streamed = rows_of(path)
    resident = ArraySource(streamed.take(slice(0, 60_000)))
    pair = [trainer_of(streamed, memory_bytes(LIMIT)), trainer_of(resident, None)]
    times, cpu = np.zeros((rounds, 2)), np.zeros((rounds, 2))
    for i in range(-1, rounds):
        for which, (trainer, rng, rows) in enumerate(pair):
            began, worked = time.perf_counter(), time.process_time()
            for j in range((i + 1) * updates, (i + 2) * updates):
                start = j * BATCH % (len(rows) // BATCH * BATCH)
                trainer.update(start, start + BATCH, 0.0, rng)
            if i >= 0:
                times[i, which] = time.perf_counter() - began
                cpu[i, which] = time.process_time() - worked
    ratios = times[:, 1] / times[:, 0]
    told = {
        "rows_per_second_from_the_file": float(updates * BATCH / np.median(times[:, 0])),
        "rows_per_second_in_memory": float(updates * BATCH / np.median(times[:, 1])),
        "ratio_of_all_rounds": float(times[:, 1].sum() / times[:, 0].sum()),
        "ratio_of_processor_time": float(cpu[:, 1].sum() / cpu[:, 0].sum()),
        "rows_per_processor_second_in_memory": float(rounds * updates * BATCH / cpu[:, 1].sum()),
        "ratios": ratios.tolist(),
        "updates_in_a_round": updates,
    }
    print(told)
    add("stream", f"rate{path.suffix}", value=told)


def sorted_rows(seeds):
    """Compare held-out errors: windows of rows sorted by class, and a permutation of all."""
    X, y = mnist()
    train, held = slice(0, 50_000), slice(50_000, None)
    order = np.argsort(y[train], kind="stable")
    results = []
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, h5py.File(Path(folder) / "sorted.h5", "w") as file:
        file["X"] = X[train][order]
        for seed in range(seeds):
            errors = {}
            for name in ("sorted file", "in memory"):
                clf = DBNClassifier(
                    (200,), rbm=RBM(n_iter=3), max_iter=8, batch_size=100, dropout=0.0, input_dropout=0.0, alpha=3e-5,
                    random_state=seed,
                )  # fmt: skip
                if name == "in memory":
                    clf.fit(X[train], y[train])
                else:
                    clf.set_params(memory_limit="32 MiB").fit(file["X"], y[train][order])
                errors[name] = round(100 * (1 - clf.score(X[held], y[held])), 2)
            results.append(errors)
            print(seed, errors, flush=True)
            differences = [each["sorted file"] - each["in memory"] for each in results]
            told = {
                "error_in_percent_of_10000_validation_rows": results,
                "mean_difference": float(np.mean(differences)),
                "standard_error": float(np.std(differences, ddof=1) / len(results) ** 0.5) if seed else None,
                "net": "784-200-10",
                "limit": "32 MiB",
            }
            add("stream", "sorted", value=told)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["generate", "fit", "stack", "rate", "sorted", "child"])
    parser.add_argument("--file", type=Path, default=Path("/var/tmp/deepbelief-stream.h5"))
    parser.add_argument("--gb", type=float, default=20)
    parser.add_argument("--limit", default=LIMIT)
    parser.add_argument("--how", choices=["rbm", "spilled", "computed"], default="rbm")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=10)
    asked = parser.parse_args()
    match asked.what:
        case "generate":
            generate(asked.file, asked.gb)
        case "fit":
            add("stream", f"fit{asked.file.suffix}", value=fit(asked.file, "rbm", asked.limit))
        case "stack":
            for how in ("spilled", "computed"):
                add("stream", "stack", how, value=fit(asked.file, how, asked.limit))
        case "child":
            fit_in_a_process(asked.file, asked.how, asked.limit)
        case "rate":
            rate(asked.file, asked.rounds, asked.updates)
        case "sorted":
            sorted_rows(asked.seeds)

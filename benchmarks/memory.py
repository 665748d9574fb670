"""Peak memory of training on 60,000 x 784 rows, each case in a separate process.

    python benchmarks/memory.py [--rows 60000]

A process creates its rows block by block, trains for one epoch, and reports the growth of its largest resident size
(`ru_maxrss`) since its imports, including the caller's rows. Limits: 1.5 times the float32 rows for a machine; for a
stack, plus the largest hidden representation; for bytes, the memory of float32 rows in the same run.
"""

import argparse
import json
import resource
import subprocess
import sys

import numpy as np
from common import write

N_FEATURES, BATCH = 784, 100
STACKS = {"stack 784-500-250": (500, 250), "stack 784-500-500-2000": (500, 500, 2000)}
KEPT = {name: max(sizes[:-1]) for name, sizes in STACKS.items()} | {"fine-tuning": 500}  # the top layer's is not kept


def grey(rows):
    """Return random bytes, most of them 0 as in images, made without a temporary array of their size."""
    X = np.empty((rows, N_FEATURES), np.uint8)
    rng = np.random.default_rng(0)
    for start in range(0, rows, 1000):
        part = X[start : start + 1000]
        part[...] = rng.integers(0, 256, part.shape, np.uint8) * (rng.random(part.shape) < 0.2)
    return X


def floats(rows, dtype=np.float32):
    """Return random numbers in [0, 1), created in the same way."""
    X = np.empty((rows, N_FEATURES), dtype)
    rng = np.random.default_rng(0)
    for start in range(0, rows, 1000):
        X[start : start + 1000] = rng.random((len(X[start : start + 1000]), N_FEATURES))
    return X


def cases():
    """Return the cases, each a function of the number of rows that returns what trains."""
    from deepbelief import DBN, RBM, DBNClassifier
    from deepbelief.sources import ArraySource, ScaledSource

    settings = {"n_iter": 1, "batch_size": BATCH, "learning_rate": 0.001, "random_state": 0}

    def rbm(rows, **more):
        X = floats(rows)
        return lambda: RBM(500, **settings, **more).fit(X)

    def of_bytes(rows):
        X = ScaledSource(ArraySource(grey(rows)), 0.0, 255.0)
        return lambda: RBM(500, **settings).fit(X)

    def stack(sizes):
        def of_floats(rows):
            X = floats(rows)
            return lambda: DBN(sizes, rbm=RBM(**settings), random_state=0).fit(X)

        return of_floats

    def classifier(rows):
        X, y = floats(rows), np.arange(rows) % 10
        settings = {"pretraining": "none", "activation": "sigmoid", "max_iter": 1, "batch_size": BATCH}
        return lambda: DBNClassifier((500, 250), **settings, random_state=0).fit(X, y)

    return {
        "float32": rbm,
        "float32, Gaussian": lambda rows: rbm(rows, visible="gaussian"),
        "float32, a tenth held out": lambda rows: rbm(rows, validation_fraction=0.1),
        "bytes": of_bytes,
        **{name: stack(sizes) for name, sizes in STACKS.items()},
        "fine-tuning": classifier,
    }


def one(name, rows):
    """Train and print the growth of the largest resident size in MiB."""
    trains = cases()[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trains(rows)()
    print(json.dumps((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        one(options.case, options.rows)
        return
    data = options.rows * N_FEATURES * 4 / 2**20
    results, float32 = {}, np.inf
    print(f"{options.rows} x {N_FEATURES}: {data:.0f} MiB as float32")
    for name in cases():
        command = [sys.executable, __file__, "--rows", str(options.rows), "--case", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peak = json.loads(done.stdout.splitlines()[-1])
        float32 = peak if name == "float32" else float32
        limit = float32 if name == "bytes" else 1.5 * data + options.rows * KEPT.get(name, 0) * 4 / 2**20
        results[name] = {"peak_MiB": peak, "of_data": peak / data, "limit_MiB": limit, "kept": peak <= limit}
        verdict = "kept" if peak <= limit else "EXCEEDED"
        print(f"{name:28}{peak:6.0f} MiB, {peak / data:.2f} of the rows; limit {limit:.0f}: {verdict}", flush=True)
    write("memory", {"settings": vars(options), "data_MiB": data, "results": results})


if __name__ == "__main__":
    main()

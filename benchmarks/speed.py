"""One CD-1 epoch against scikit-learn's BernoulliRBM and against the bare matrix products, interleaved in one run.

    python benchmarks/speed.py [--repeats 7] [--epochs 10]

Each time is a whole `fit` divided by its epochs, checks and monitoring included. The floor is the products that
CD-1 cannot do without, on arrays of the same shapes, written to preallocated arrays.
"""

import argparse
import statistics
import time

import numpy as np
from common import write
from sklearn.neural_network import BernoulliRBM

from deepbelief import RBM

SHAPES = {"784x500, batch 100": (784, 500, 100, 10_000)}


def floor(n_visible, n_hidden, batch, rows):
    """Return a function that does one epoch's matrix products."""
    rng = np.random.default_rng(0)
    v = rng.random((2 * batch, n_visible), dtype=np.float32)
    h = rng.random((2 * batch, n_hidden), dtype=np.float32)
    W = rng.random((n_visible, n_hidden), dtype=np.float32)
    hidden, visible, gradient = np.empty_like(h[:batch]), np.empty_like(v[:batch]), np.empty_like(W)

    def epoch():
        for _ in range(rows // batch):
            np.matmul(v[:batch], W, out=hidden)
            np.matmul(h[:batch], W.T, out=visible)
            np.matmul(v[:batch], W, out=hidden)
            np.matmul(v.T, h, out=gradient)

    return epoch


def candidates(n_visible, n_hidden, batch, rows, epochs):
    """Return the things to time, each a function of no arguments and the epochs it does."""
    rng = np.random.default_rng(1)
    X = (rng.random((rows, n_visible)) < rng.random(n_visible)).astype(np.float32)
    ours = {"n_components": n_hidden, "batch_size": batch, "n_iter": epochs, "random_state": 0}
    return {
        "floor": (floor(n_visible, n_hidden, batch, rows), 1),
        "deepbelief CD-1": (lambda: RBM(**ours, learning_rate=0.05).fit(X), epochs),
        "deepbelief PCD-1": (lambda: RBM(**ours, learning_rate=0.05, gradient="pcd").fit(X), epochs),
        "BernoulliRBM PCD-1": (lambda: BernoulliRBM(**ours, learning_rate=0.05).fit(X), epochs),
    }


def measure(shape, repeats, epochs):
    """Time all candidates in turn, `repeats` times."""
    things = candidates(*shape, epochs)
    times = {name: [] for name in things}
    for _ in range(repeats + 1):
        for name, (function, count) in things.items():
            began = time.perf_counter()
            function()
            times[name].append((time.perf_counter() - began) / count)
    return {name: values[1:] for name, values in times.items()}  # the first round warms up


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    results = {}
    for title, shape in SHAPES.items():
        times = measure(shape, options.repeats, options.epochs)
        median = {name: statistics.median(t) for name, t in times.items()}
        best = {name: min(t) for name, t in times.items()}
        print(
            f"{title}, {shape[3]} rows\n{'':22}median s  of floor  of BernoulliRBM   best s  of floor  of BernoulliRBM"
        )
        rows = {}
        for name in times:
            row = {"median_s": median[name], "best_s": best[name]}
            for key, values in (("median", median), ("best", best)):
                row[f"{key}_of_floor"] = values[name] / values["floor"]
                row[f"{key}_of_bernoulli_rbm"] = values[name] / values["BernoulliRBM PCD-1"]
            rows[name] = row
            print(
                f"{name:22}{row['median_s']:8.3f}{row['median_of_floor']:10.2f}{row['median_of_bernoulli_rbm']:17.2f}"
                f"{row['best_s']:9.3f}{row['best_of_floor']:10.2f}{row['best_of_bernoulli_rbm']:17.2f}"
            )
        results[title] = rows
    write("speed", {"results": results})


if __name__ == "__main__":
    main()

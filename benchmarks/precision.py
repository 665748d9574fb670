"""float32 and bfloat16 products compared: quality of a model, and time of an epoch.

    python benchmarks/precision.py [--seeds 0,1,2] [--speed] [--anywhere]

Quality: MNIST, fixed settings: an RBM 784 x 500 (10 epochs of CD-1 on the training rows) by its pseudo-log-likelihood
of the test rows, and a DBNClassifier 784-500-250-10 pretrained by the same settings by its test error; seed by seed.
With --speed also epochs of CD-1 at 784 x 500, batch 100, beside the float32 products alone, interleaved.

The processor must have AMX; with --anywhere MKL's products run on any other too: they round in the same way, and are
slower than float32.
"""

import argparse
import time
import warnings

from clocks import clocked, ratios, summary
from common import add, mnist

from deepbelief import RBM, DBNClassifier
from deepbelief.backends import bfloat16, get_backend
from deepbelief.backends.numpy_backend import NumpyBackend
from deepbelief.diagnostics.speed import Work, floor, interleaved, ours
from deepbelief.likelihood import pseudo_log_likelihood

WORK = Work("cd", (784, 500), 100, 10_000)
RBM_SETTINGS = {"n_iter": 10, "batch_size": 100, "learning_rate": 0.05}


def backends(anywhere):
    """Return the backends by precision."""
    products = bfloat16.load() if anywhere else bfloat16.fast()
    if isinstance(products, str):
        raise SystemExit(f"no bfloat16 products: {products}")
    return {"float32": get_backend(), "bfloat16": NumpyBackend(products)}


def quality(bk, seed, train, test):
    """Return pseudo-log-likelihood and error on the test rows, and the seconds of both fits."""
    began = time.perf_counter()
    rbm = RBM(500, **RBM_SETTINGS, random_state=seed, backend=bk).fit(train[0])
    net = DBNClassifier(
        (500, 250), rbm=RBM(**RBM_SETTINGS), max_iter=15, dropout=0.0, input_dropout=0.0, alpha=3e-5, random_state=seed,
        backend=bk,
    ).fit(*train)  # fmt: skip
    seconds = time.perf_counter() - began
    return {
        "pseudo_log_likelihood": float(pseudo_log_likelihood(rbm, test[0]).mean()),
        "test_error": float(1 - net.score(*test)),
        "seconds": seconds,
    }


def speed(found, repeats=7, epochs=10):
    """Return the times of an epoch and their ratios to the products alone."""
    things = {"floor": clocked(floor(WORK, found["float32"]), 1)}
    things |= {name: clocked(ours(WORK, bk, epochs), epochs) for name, bk in found.items()}
    rows = {name: summary(times) for name, times in interleaved(things, repeats).items()}
    return {name: row | {"of_floor": ratios(rows, "floor")[name]} for name, row in rows.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--anywhere", action="store_true")
    options = parser.parse_args()
    found = backends(options.anywhere)
    if options.speed:
        rows = speed(found)
        for name, row in rows.items():
            print(f"{name:10} {row['median_s']:.4f} s, {row['of_floor']['median_s']:.2f} of the float32 products")
        add("precision", "speed", value=rows)
    train, test = mnist(), mnist("test")
    warnings.simplefilter("ignore", UserWarning)  # sizes
    for seed in (int(s) for s in options.seeds.split(",") if s):
        for name, bk in found.items():
            row = quality(bk, seed, train, test)
            print(f"seed {seed} {name:10}", {k: round(v, 4) for k, v in row.items()}, flush=True)
            add("precision", "quality", name, f"seed {seed}", value=row)


if __name__ == "__main__":
    main()

"""float32 and bfloat16 products compared: quality of a model, and time of an epoch.

    python benchmarks/precision.py [--seeds 0,1,2] [--speed [--repeats 7]]

Quality: MNIST, fixed settings: an RBM 784 x 500 (10 epochs of CD-1 on the training rows) by its pseudo-log-likelihood
of the test rows, an RBM 784 x 16 (10 epochs of CD-1 on rows of 0 and 1) by the exact log-likelihood of the test rows,
and a DBNClassifier 784-500-250-10 pretrained by the same settings by its test error; seed by seed.
With --speed also epochs of CD-1 and PCD-1, beside the float32 products alone, interleaved.

The processor must have AMX or AVX512-BF16.
"""

import argparse
import time
import warnings

from clocks import clocked, ratios, summary
from common import add, environment, mnist

from deepbelief import RBM, DBNClassifier
from deepbelief.backends import bfloat16, get_backend
from deepbelief.backends.numpy_backend import NumpyBackend
from deepbelief.diagnostics.speed import Work, floor, interleaved, ours
from deepbelief.likelihood import log_likelihood, pseudo_log_likelihood

WORKS = {
    "CD-1 784x500, batch 100": Work("cd", (784, 500), 100, 10_000),
    "PCD-1 784x500, batch 100": Work("pcd", (784, 500), 100, 10_000),
    "CD-1 784x500, batch 10": Work("cd", (784, 500), 10, 2000),
    "CD-1 1024x4096, batch 256": Work("cd", (1024, 4096), 256, 10_240),
}
RBM_SETTINGS = {"n_iter": 10, "batch_size": 100, "learning_rate": 0.05}


def backends():
    """Return the backends by precision, and the unit that multiplies bfloat16 numbers."""
    products = bfloat16.fast()
    if isinstance(products, str):
        raise SystemExit(f"no bfloat16 products: {products}")
    return {"float32": get_backend(), "bfloat16": NumpyBackend(products)}, products.name


def quality(bk, seed, train, test):
    """Return pseudo-log-likelihood and error on the test rows, and the seconds of both fits."""
    began = time.perf_counter()
    rbm = RBM(500, **RBM_SETTINGS, random_state=seed, backend=bk).fit(train[0])
    net = DBNClassifier(
        (500, 250), rbm=RBM(**RBM_SETTINGS), max_iter=15, dropout=0.0, input_dropout=0.0, alpha=3e-5, random_state=seed,
        backend=bk,
    ).fit(*train)  # fmt: skip
    seconds = time.perf_counter() - began
    states = [(X > 0.5).astype(X.dtype) for X in (train[0], test[0])]
    small = RBM(16, **RBM_SETTINGS, random_state=seed, backend=bk).fit(states[0])
    return {
        "pseudo_log_likelihood": float(pseudo_log_likelihood(rbm, test[0]).mean()),
        "log_likelihood_of_16_units": float(log_likelihood(small, states[1], method="exact").rows.mean()),
        "test_error": float(1 - net.score(*test)),
        "seconds": seconds,
    }


def speed(found, work, repeats, epochs):
    """Return the times of an epoch and their ratios to the products alone."""
    things = {"floor": clocked(floor(work, found["float32"]), 1)}
    things |= {name: clocked(ours(work, bk, epochs), epochs) for name, bk in found.items()}
    rows = {name: summary(times) for name, times in interleaved(things, repeats).items()}
    return {name: row | {"of_floor": ratios(rows, "floor")[name]} for name, row in rows.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--only", default="", help="with --speed: only the rows whose names contain this")
    options = parser.parse_args()
    (found, unit), machine = backends(), environment()
    warnings.simplefilter("ignore", UserWarning)  # sizes, and units that hardly vary
    key = f"{machine['cpu']}, {machine['vectors']}, {unit}"
    for title, work in WORKS.items():
        if not options.speed or options.only not in title:
            continue
        rows = speed(found, work, options.repeats, options.epochs)
        print(title)
        for name, row in rows.items():
            of_floor = row["of_floor"]
            cells = f"median {row['median_s']:.4f} s {of_floor['median_s']:.2f}, best {row['best_s']:.4f} s"
            print(f"  {name:10} {cells} {of_floor['best_s']:.2f} of the float32 products", flush=True)
        settings = {"repeats": options.repeats, "epochs": options.epochs}
        add("precision", "speed", key, title, value={"environment": machine, **settings, "rows": rows})
    if not options.seeds:
        return
    train, test = mnist(), mnist("test")
    for seed in map(int, options.seeds.split(",")):
        for name, bk in found.items():
            row = quality(bk, seed, train, test)
            print(f"seed {seed} {name:10}", {k: round(v, 4) for k, v in row.items()}, flush=True)
            add("precision", "quality", key, name, f"seed {seed}", value=row)


if __name__ == "__main__":
    main()

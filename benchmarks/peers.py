"""An epoch of persistent and plain contrastive divergence, compared with PyTorch and packages on it, interleaved.

    python -m venv peers && peers/bin/pip install torch==2.13.0 rbms learnergy deepbelief
    OPENBLAS_NUM_THREADS=2 OMP_NUM_THREADS=2 peers/bin/python benchmarks/peers.py [--repeats 5] [--only SHAPE]

float32, one Gibbs step, the same 0/1 rows, the same number of threads. Each package does an epoch with its own training
loop: `rbms` with the updates of its `train` (PCD, without the files that it writes), `learnergy` with `RBM.fit` (CD-1,
which also computes a pseudo-likelihood of each batch), we with `RBM.fit`. The loop written by hand with PyTorch is CD-1
with momentum and weight decay, as ours, with in-place operations and without gradients of PyTorch's own; once as it
stands and once by `torch.compile`, which needs a C++ compiler and compiles before the first repeat. Packages that are
not installed are left out. Where the processor multiplies bfloat16 numbers, ours and the compiled loop are also timed
with factors rounded to bfloat16. Times are medians and minima, relative to ours of the same gradient and precision.
"""

import argparse
import importlib
import importlib.metadata
import os
from functools import partial

from clocks import clocked, ratios, summary
from common import write

from deepbelief.backends import bfloat16
from deepbelief.diagnostics.speed import Work, interleaved, ours, rows_for

WORKS = {
    "784x500, batch 100": Work("pcd", (784, 500), 100, 10_000),
    "784x500, batch 10": Work("pcd", (784, 500), 10, 2000),
    "1024x4096, batch 256": Work("pcd", (1024, 4096), 256, 2560),
}
RATE, MOMENTUM, DECAY = 0.05, 0.5, 1e-4
OURS, REDUCED = "deepbelief CD-1", "bfloat16"


def threads():
    """Return the number of threads that the environment asks for."""
    return int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))


def rbms(work, X, epochs):
    """Return the updates that `rbms.training.pcd.train` makes."""
    import torch
    from rbms.bernoulli_bernoulli.classes import BBRBM
    from rbms.training.pcd import fit_batch_pcd

    rows = torch.from_numpy(X)
    weights = torch.ones(len(rows))

    def fit():
        torch.manual_seed(0)
        W = 0.01 * torch.randn(work.sizes)
        params = BBRBM(W, torch.zeros(work.sizes[0]), torch.zeros(work.sizes[1]))
        params.init_grad()
        optimizer = torch.optim.SGD(params.parameters(), lr=RATE, maximize=True)
        chains = params.init_chains(work.batch_size)
        with torch.no_grad():
            for _ in range(epochs * work.n_rows // work.batch_size):
                index = torch.randperm(len(rows))[: work.batch_size]
                optimizer.zero_grad(set_to_none=False)
                chains, _ = fit_batch_pcd(
                    (rows[index], weights[index]), chains, params, gibbs_steps=1, beta=1.0, centered=False
                )
                optimizer.step()

    return fit


def learnergy(work, X, epochs):
    """Return `learnergy.models.bernoulli.RBM.fit`."""
    import logging

    import torch
    from learnergy.models.bernoulli import RBM

    logging.disable(logging.INFO)  # a line for each epoch
    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.zeros(len(X)))

    def fit():
        torch.manual_seed(0)
        RBM(*work.sizes, steps=1, learning_rate=RATE).fit(data, batch_size=work.batch_size, epochs=epochs)

    return fit


def by_hand(work, X, epochs, *, compiled, reduced=False):
    """Return CD-1 as somebody writes it with PyTorch; if reduced, with factors of products rounded to bfloat16."""
    import torch

    rows = torch.from_numpy(X)

    def product(left, right):
        return (left.bfloat16() @ right.bfloat16()).float() if reduced else left @ right

    def update(v, W, vbias, hbias, velocity):
        h = torch.sigmoid(product(v, W) + hbias)
        states = (torch.rand_like(h) < h).to(v.dtype)
        v_neg = torch.sigmoid(product(states, W.T) + vbias)
        h_neg = torch.sigmoid(product(v_neg, W) + hbias)
        grad = (product(v.T, h) - product(v_neg.T, h_neg)) / len(v) - DECAY * W
        velocity.mul_(MOMENTUM).add_(grad, alpha=RATE)
        W.add_(velocity)
        vbias.add_((v - v_neg).mean(0), alpha=RATE)
        hbias.add_((h - h_neg).mean(0), alpha=RATE)

    step = torch.compile(update) if compiled else update

    def fit():
        torch.manual_seed(0)
        W = 0.01 * torch.randn(work.sizes)
        vbias, hbias = torch.zeros(work.sizes[0]), torch.zeros(work.sizes[1])
        velocity = torch.zeros_like(W)
        with torch.no_grad():
            for _ in range(epochs):
                for index in torch.randperm(len(rows)).split(work.batch_size):
                    step(rows[index], W, vbias, hbias, velocity)

    return fit


PEERS = {
    "rbms PCD-1": ("rbms", rbms),
    "learnergy CD-1": ("learnergy", learnergy),
    "PyTorch CD-1": ("torch", partial(by_hand, compiled=False)),
    "PyTorch CD-1, compiled": ("torch", partial(by_hand, compiled=True)),
    f"PyTorch CD-1, compiled, {REDUCED}": ("torch", partial(by_hand, compiled=True, reduced=True)),
}


def compare(work, options):
    """Return the results of a shape, and the versions of the packages."""
    X, epochs = rows_for(work)[0], options.epochs
    cd = Work("cd", work.sizes, work.batch_size, work.n_rows)
    things = {f"deepbelief {w.kind.upper()}-1": clocked(ours(w, "numpy", epochs), epochs) for w in (work, cd)}
    has_reduced, versions = not isinstance(bfloat16.fast(), str), {}
    if has_reduced:
        things[f"{OURS}, {REDUCED}"] = clocked(ours(cd, f"numpy:{REDUCED}", epochs), epochs)
    for title, (package, make) in PEERS.items():
        if REDUCED in title and not has_reduced:
            continue
        try:
            importlib.import_module(package)
        except ImportError as error:
            print(f"{package} is left out: {error}")
            continue
        import torch

        torch.set_num_threads(threads())
        things[title] = clocked(make(work, X, epochs), epochs)
        versions |= {p: importlib.metadata.version(p) for p in ("torch", package)}
    rows = {name: summary(values) for name, values in interleaved(things, options.repeats).items()}
    results = {}
    for name, row in rows.items():
        base = "deepbelief PCD-1" if "PCD" in name else f"{OURS}, {REDUCED}" if REDUCED in name else OURS
        ratio = ratios(rows, base)[name]
        results[name] = row | {"of_ours": ratio}
        print(f"{name:34}{row['median_s']:8.3f} s{ratio['median_s']:7.2f} of ours (best {ratio['best_s']:.2f})")
    return results, versions


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--only", default="", help="only the shapes whose names contain this")
    options = parser.parse_args()
    results = {}
    for name, work in WORKS.items():
        if options.only in name:
            print(name)
            results[name], versions = compare(work, options)
    settings = {"repeats": options.repeats, "epochs": options.epochs}
    write("peers", {"settings": settings, "versions": versions, "threads": threads(), "results": results})


if __name__ == "__main__":
    main()

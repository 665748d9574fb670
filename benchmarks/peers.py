"""An epoch of persistent and plain contrastive divergence, compared with packages on PyTorch, interleaved in one run.

    python -m venv peers && peers/bin/pip install torch==2.13.0 rbms learnergy deepbelief
    OPENBLAS_NUM_THREADS=2 OMP_NUM_THREADS=2 peers/bin/python benchmarks/peers.py [--repeats 5]

784 x 500, batches of 100, float32, one Gibbs step, the same 0/1 rows, the same number of threads. Each package does an
epoch with its own training loop: `rbms` with the updates of its `train` (PCD, without the files that it writes),
`learnergy` with `RBM.fit` (CD-1, which also computes a pseudo-likelihood of each batch), we with `RBM.fit`. Packages
that are not installed are left out. Times are medians and minima, relative to ours.
"""

import argparse
import importlib
import importlib.metadata
import os

from clocks import clocked, ratios, summary
from common import write

from deepbelief.diagnostics.speed import Work, interleaved, ours, rows_for

WORK = Work("pcd", (784, 500), 100, 10_000)
RATE = 0.05


def threads():
    """Return the number of threads that the environment asks for."""
    return int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))


def rbms(X, epochs):
    """Return the updates that `rbms.training.pcd.train` makes."""
    import torch
    from rbms.bernoulli_bernoulli.classes import BBRBM
    from rbms.training.pcd import fit_batch_pcd

    rows = torch.from_numpy(X)
    weights = torch.ones(len(rows))

    def fit():
        torch.manual_seed(0)
        W = 0.01 * torch.randn(WORK.sizes)
        params = BBRBM(W, torch.zeros(WORK.sizes[0]), torch.zeros(WORK.sizes[1]))
        params.init_grad()
        optimizer = torch.optim.SGD(params.parameters(), lr=RATE, maximize=True)
        chains = params.init_chains(WORK.batch_size)
        with torch.no_grad():
            for _ in range(epochs * WORK.n_rows // WORK.batch_size):
                index = torch.randperm(len(rows))[: WORK.batch_size]
                optimizer.zero_grad(set_to_none=False)
                chains, _ = fit_batch_pcd(
                    (rows[index], weights[index]), chains, params, gibbs_steps=1, beta=1.0, centered=False
                )
                optimizer.step()

    return fit


def learnergy(X, epochs):
    """Return `learnergy.models.bernoulli.RBM.fit`."""
    import logging

    import torch
    from learnergy.models.bernoulli import RBM

    logging.disable(logging.INFO)  # a line for each epoch
    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.zeros(len(X)))

    def fit():
        torch.manual_seed(0)
        RBM(*WORK.sizes, steps=1, learning_rate=RATE).fit(data, batch_size=WORK.batch_size, epochs=epochs)

    return fit


PEERS = {"rbms": ("rbms PCD-1", rbms), "learnergy": ("learnergy CD-1", learnergy)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    X, epochs = rows_for(WORK)[0], options.epochs
    cd = Work("cd", WORK.sizes, WORK.batch_size, WORK.n_rows)
    things = {f"deepbelief {w.kind.upper()}-1": clocked(ours(w, "numpy", epochs), epochs) for w in (WORK, cd)}
    versions, against = {}, {"rbms PCD-1": "deepbelief PCD-1", "learnergy CD-1": "deepbelief CD-1"}
    for package, (title, make) in PEERS.items():
        try:
            importlib.import_module(package)
        except ImportError as error:
            print(f"{package} is left out: {error}")
            continue
        import torch

        torch.set_num_threads(threads())
        things[title] = clocked(make(X, epochs), epochs)
        versions |= {p: importlib.metadata.version(p) for p in ("torch", package)}
    times = interleaved(things, options.repeats)
    rows = {name: summary(values) for name, values in times.items()}
    results = {}
    for name, row in rows.items():
        ratio = ratios(rows, against.get(name, name))[name]
        results[name] = row | {"of_ours": ratio}
        print(f"{name:20}{row['median_s']:8.3f} s{ratio['median_s']:7.2f} of ours (best {ratio['best_s']:.2f})")
    write("peers", {"settings": vars(options), "versions": versions, "threads": threads(), "results": results})


if __name__ == "__main__":
    main()

"""RBMs as density models of small binary sets, compared with independent columns.

    python benchmarks/binary_sets.py [--sets nltcs dna mushrooms nips]

The sets of Larochelle and Murray (2011) and Lowd and Davis (2010), `DEEPBELIEF_DATA` naming the folder that holds
binary-uci/. For each of a few settings one RBM is trained by centred persistent contrastive divergence on the training
split; size, epochs and weight decay are those of the best validation log-likelihood, at the low end of its interval.
The chosen settings are trained with three seeds and evaluated on the test split, once. log Z is enumerated if one side
has at most 25 units, otherwise estimated by 100 annealing runs along the 14,500 temperatures of the literature.
"""

import argparse
import itertools
import json
import os
import time
import warnings
from pathlib import Path

import numpy as np
from common import HERE, write

from deepbelief import RBM
from deepbelief.errors import DeepBeliefWarning
from deepbelief.likelihood import log_likelihood

SETS = ("nltcs", "mushrooms", "dna", "nips")
GRID = {
    "nltcs": [(20, 100, 0.0), (20, 100, 1e-4), (20, 300, 0.0), (50, 300, 0.0)],
    "mushrooms": [(20, 400, 2e-4), (20, 1000, 2e-4), (50, 400, 2e-4)],
    "dna": list(itertools.product((20, 50), (300, 1000), (3e-3, 1e-2))),
    "nips": list(itertools.product((10, 40), (400, 1500), (5e-3, 2e-2))),
}
"""Hidden units, epochs and weight decays that are tried."""


def splits(name):
    """Return the training, validation and test rows of a set as float32."""
    folder = Path(os.environ["DEEPBELIEF_DATA"]) / "binary-uci"
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        return [file[part].astype(np.float32) for part in ("train", "valid", "test")]


def floor(train, test):
    """Return the log-likelihood of rows under independent columns fitted to the training rows."""
    p = (train.sum(axis=0, dtype=np.float64) + 0.5) / (len(train) + 1)
    return float((test * np.log(p) + (1 - test) * np.log1p(-p)).sum(axis=1).mean())


def fitted(train, n_hidden, epochs, decay, seed):
    """Return an RBM trained by persistent contrastive divergence, its rate falling to 0."""
    return RBM(
        n_hidden, visible="bernoulli", gradient="pcd", batch_size=100, learning_rate=0.05, n_iter=epochs,
        centered=True, weight_decay=decay, random_state=seed,
    ).fit(train)  # fmt: skip


def choose(name, train, valid):
    """Try the grid and return all rows, the best first."""
    rows = []
    for n_hidden, epochs, decay in GRID[name]:
        began = time.process_time()
        rbm = fitted(train, n_hidden, epochs, decay, 0)
        found = log_likelihood(rbm, valid)
        row = {"n_hidden": n_hidden, "epochs": epochs, "weight_decay": decay, "valid": found.low}
        row["seconds"] = time.process_time() - began
        rows.append(row)
        print(f"{name:10}{n_hidden:5}{epochs:6}{decay:9g}{found.low:10.3f}  {row['seconds']:.1f} s", flush=True)
    return sorted(rows, key=lambda row: -row["valid"])


def judged(name, best, train, test):
    """Train the chosen settings with three seeds and evaluate each on the test rows."""
    seeds = []
    for seed in range(3):
        began = time.process_time()
        rbm = fitted(train, best["n_hidden"], best["epochs"], best["weight_decay"], seed)
        seconds = time.process_time() - began
        found = log_likelihood(rbm, test)
        row = {"test": found.mean, "low": found.low, "high": found.high, "method": found.method, "seconds": seconds}
        row["standard_error_over_rows"] = found.standard_error
        seeds.append(row)
        print(f"{name:10} seed {seed}  {found}", flush=True)
    return seeds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    options = parser.parse_args()
    warnings.simplefilter("ignore", DeepBeliefWarning)
    path = HERE / "binary_sets.json"
    results = json.loads(path.read_text())["results"] if path.exists() else {}
    for name in options.sets:
        train, valid, test = splits(name)
        tried = choose(name, train, valid)
        seeds = judged(name, tried[0], train, test)
        results[name] = {"floor": floor(train, test), "chosen": tried[0], "tried": tried, "seeds": seeds}
        print(f"{name:10} test {np.mean([s['low'] for s in seeds]):.3f}, floor {results[name]['floor']:.3f}")
        write("binary_sets", {"results": results})


if __name__ == "__main__":
    main()

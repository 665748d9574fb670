"""Effects of training advice on MNIST: one setting at a time, compared with the same base.

    python benchmarks/tips.py [--seeds 0,1,2]

784-200-100-10 with 5,000 labelled rows: the first 5,000 training rows train (pretraining and fine-tuning), the last
10,000 training rows are evaluated; the test rows are not used. The base is pretrained once for each seed with the
defaults and fine-tuned for 20 epochs with logistic units, a weight decay of 3e-5 and no dropout; each line changes only
the setting that it names. Rates are automatic unless a line names one; none was tuned. The standard deviation of the
base shows which differences are noise. Written to tips.json after each seed; TIPS.md explains the lines.
"""

import argparse
import time
import warnings
from itertools import pairwise

import numpy as np
from common import mnist, write

from deepbelief import DBN, RBM, DBNClassifier
from deepbelief.errors import DivergenceError, DivergenceWarning
from deepbelief.seeds import host_rng
from deepbelief.stack import Stack, Weights

SIZES = (200, 100)
BASE = {
    "max_iter": 20, "batch_size": 100, "activation": "sigmoid", "dropout": 0.0, "input_dropout": 0.0, "alpha": 3e-5,
}  # fmt: skip
PLAIN = {"momentum": 0.0, "nesterovs_momentum": False}
DROPS = {"dropout": 0.2, "input_dropout": 0.1}
# Fine-tuning from the base's stack.
TIPS = {
    "base": {},
    "activation='tanh'": {"activation": "tanh"},
    "activation='hard_tanh'": {"activation": "hard_tanh"},
    "activation='softsign'": {"activation": "softsign"},
    "activation='relu'": {"activation": "relu"},
    "activation='identity', learning_rate_init=0.003": {"activation": "identity", "learning_rate_init": 0.003},
    "momentum=0.0": PLAIN,
    "momentum=0.0, learning_rate_init=3.0": PLAIN | {"learning_rate_init": 3.0},
    "nesterovs_momentum=False": {"nesterovs_momentum": False},
    "momentum=0.99": {"momentum": 0.99},
    "momentum=0.99, learning_rate_init=0.3": {"momentum": 0.99, "learning_rate_init": 0.3},
    "momentum='ramp'": {"momentum": "ramp"},
    "solver='adagrad'": {"solver": "adagrad"},
    "solver='rmsprop'": {"solver": "rmsprop"},
    "solver='adam'": {"solver": "adam"},
    "schedule='constant'": {"schedule": "constant"},
    "schedule='cosine'": {"schedule": "cosine"},
    "schedule='exponential'": {"schedule": "exponential"},
    "schedule='inverse'": {"schedule": "inverse"},
    "schedule='halving', early_stopping=True": {"schedule": "halving", "early_stopping": True},
    "early_stopping=True": {"early_stopping": True},
    "max_iter=80": {"max_iter": 80},
    "max_iter=80, early_stopping=True": {"max_iter": 80, "early_stopping": True},
    "alpha=0.0": {"alpha": 0.0},
    "alpha=0.0003": {"alpha": 3e-4},
    "l1=1e-05": {"l1": 1e-5},
    "max_norm=4.0": {"max_norm": 4.0},
    "dropout=0.2": {"dropout": 0.2},
    "input_dropout=0.1": {"input_dropout": 0.1},
    "dropout=0.2, input_dropout=0.1": DROPS,
    "dropout=0.2, input_dropout=0.1, max_iter=80": DROPS | {"max_iter": 80},
    "head_epochs=5": {"head_epochs": 5},
    "pretrained_lr_factor=0.1": {"pretrained_lr_factor": 0.1},
    "n_frozen=1": {"n_frozen": 1},
    "n_frozen=2": {"n_frozen": 2},
    "batch_size=10, learning_rate_init=0.03": {"batch_size": 10, "learning_rate_init": 0.03},
    "batch_size=1000": {"batch_size": 1000},
    "batch_size=5000": {"batch_size": 5000},
}
NONE = {"pretraining": "none"}
# Separate stacks: their pretraining and fine-tuning.
STACKS = {
    "pretraining='denoising'": ({"pretraining": "denoising"}, {}),
    "rbm=RBM(gradient='pcd')": ({"rbm": RBM(gradient="pcd")}, {}),
    "rbm=RBM(sparsity_target=0.1)": ({"rbm": RBM(sparsity_target=0.1)}, {}),
    "rbm=RBM(visible='gaussian')": ({"rbm": [RBM(visible="gaussian"), RBM()]}, {}),
}
# No pretraining: initial weights by the activation's rule, or all drawn from N(0, 0.01).
STARTS = {
    "pretraining='none'": NONE,
    "pretraining='none', activation='tanh'": NONE | {"activation": "tanh"},
    "pretraining='none', activation='relu'": NONE | {"activation": "relu"},
    "pretraining='none', activation='tanh', rbm=RBM(visible='gaussian')": NONE
    | {"activation": "tanh", "rbm": RBM(visible="gaussian")},
}
SMALL = {
    "pretrained=N(0, 0.01)": {},
    "pretrained=N(0, 0.01), activation='relu'": {"activation": "relu"},
}


def small_stack(n_visible, seed):
    """Return layers with weights from N(0, 0.01), as RBMs start, and biases 0."""
    sizes, rng = (n_visible, *SIZES), host_rng(seed, "small")
    return Stack(
        tuple(
            Weights(rng.normal(0, 0.01, (n, m)).astype(np.float32), np.zeros(n, np.float32), np.zeros(m, np.float32))
            for n, m in pairwise(sizes)
        )
    )


def result(settings, X, y, X_held, y_held, seed):
    """Return the error on the held-out rows in percent, and the seconds of the fit; a net that diverges guesses."""
    began = time.perf_counter()
    try:
        clf = DBNClassifier(random_state=seed, **(BASE | settings)).fit(X, y)
    except DivergenceError:  # in its first epoch
        return 90.0, time.perf_counter() - began
    seconds = time.perf_counter() - began
    return 100 * (1 - clf.score(X_held, y_held)), seconds


def lines(data, seed):
    """Iterate over names and results of one seed."""

    def stack(**settings):
        return DBN(SIZES, random_state=seed, **settings).fit(data[0]).stack_

    base = stack()
    for name, settings in TIPS.items():
        yield name, result(settings | {"pretrained": base}, *data, seed)
    for name, (pretraining, settings) in STACKS.items():
        yield name, result(settings | {"pretrained": stack(**pretraining)}, *data, seed)
    for name, settings in STARTS.items():
        yield name, result(settings | {"hidden_layer_sizes": SIZES}, *data, seed)
    for name, settings in SMALL.items():
        yield name, result(settings | {"pretrained": small_stack(data[0].shape[1], seed)}, *data, seed)


def summary(found):
    """Return mean, spread and change of each line."""
    base, rows = np.mean([error for error, _ in found["base"]]), {}
    for name, runs in found.items():
        errors, seconds = zip(*runs, strict=True)
        mean, spread = float(np.mean(errors)), float(np.std(errors, ddof=min(1, len(errors) - 1)))
        rows[name] = {"error": mean, "sd": spread, "change": mean - base, "seconds": float(np.median(seconds))}
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    seeds = [int(seed) for seed in parser.parse_args().seeds.split(",")]
    warnings.simplefilter("ignore", DivergenceWarning)  # a line that diverges shows it by its error
    X, y = mnist()
    data, found = (X[:5_000], y[:5_000], X[50_000:], y[50_000:]), {}
    for i, seed in enumerate(seeds):
        for name, run in lines(data, seed):
            found.setdefault(name, []).append(run)
            print(f"seed {seed}  {name:64} {run[0]:6.2f} %  {run[1]:5.1f} s", flush=True)
        write("tips", {"seeds": seeds[: i + 1], "base": BASE, "rows": summary(found)})


if __name__ == "__main__":
    main()

"""What each piece of training advice changes on MNIST: one setting at a time, against the same base.

    python benchmarks/tips.py [--seeds 0,1,2]

784-500-250-10 with 10,000 labelled rows: the first 10,000 training rows train (pretraining and fine-tuning), the last
10,000 training rows judge; the test rows are not looked at. The base is pretrained once for each seed with the
defaults and fine-tuned for 20 epochs; each line changes one argument. A difference below about 0.25 points is within
the noise of three seeds. Written to tips.json.
"""

import argparse
import time

import numpy as np
from common import mnist, write

from deepbelief import DBN, RBM, DBNClassifier

SIZES = (500, 250)
BASE = {"learning_rate_init": 0.1, "max_iter": 20, "batch_size": 100}
PLAIN = {"momentum": 0.0, "nesterovs_momentum": False}
TIPS = {
    "base": {},
    "activation='tanh' (the same function)": {"activation": "tanh"},
    "activation='hard_tanh'": {"activation": "hard_tanh"},
    "activation='softsign'": {"activation": "softsign"},
    "activation='relu', rate 0.03": {"activation": "relu", "learning_rate_init": 0.03},
    "no momentum": PLAIN,
    "no momentum, ten times the rate": PLAIN | {"learning_rate_init": 1.0},
    "classical momentum": {"nesterovs_momentum": False},
    "momentum='ramp', a tenth of the rate": {"momentum": "ramp", "learning_rate_init": 0.01},
    "solver='adagrad'": {"solver": "adagrad", "learning_rate_init": "auto"},
    "solver='rmsprop'": {"solver": "rmsprop", "learning_rate_init": "auto"},
    "solver='adam'": {"solver": "adam", "learning_rate_init": "auto"},
    "schedule='constant'": {"schedule": "constant"},
    "schedule='cosine'": {"schedule": "cosine"},
    "schedule='exponential'": {"schedule": "exponential"},
    "schedule='inverse'": {"schedule": "inverse"},
    "schedule='halving', early_stopping": {"schedule": "halving", "early_stopping": True},
    "early_stopping": {"early_stopping": True},
    "alpha=0": {"alpha": 0.0},
    "alpha=3e-4": {"alpha": 3e-4},
    "l1=1e-5": {"l1": 1e-5},
    "max_norm=4": {"max_norm": 4.0},
    "dropout=0.2": {"dropout": 0.2},
    "dropout=0.2, input_dropout=0.1": {"dropout": 0.2, "input_dropout": 0.1},
    "dropout=0.2, input_dropout=0.1, 60 epochs": {"dropout": 0.2, "input_dropout": 0.1, "max_iter": 60},
    "head_epochs=5": {"head_epochs": 5},
    "pretrained_lr_factor=0.1": {"pretrained_lr_factor": 0.1},
    "n_frozen=2": {"n_frozen": 2},
    "batch_size=10, a tenth of the rate": {"batch_size": 10, "learning_rate_init": 0.01},
    "batch_size=1000": {"batch_size": 1000},
}
STACKS = {
    "no pretraining": {"pretraining": "none"},
    "no pretraining, activation='relu', rate 0.03": {"pretraining": "none", "activation": "relu"},
    "pretraining='denoising'": {"pretraining": "denoising"},
    "RBM(sparsity_target=0.1)": {"rbm": RBM(sparsity_target=0.1)},
    "RBM(gradient='pcd')": {"rbm": RBM(gradient="pcd")},
}


def error(settings, stack, X, y, X_held, y_held, seed):
    """Return the error on the held-out rows in percent, and the seconds."""
    began = time.perf_counter()
    clf = DBNClassifier(pretrained=stack, random_state=seed, **(BASE | settings)).fit(X, y)
    return 100 * (1 - clf.score(X_held, y_held)), time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    seeds = [int(seed) for seed in parser.parse_args().seeds.split(",")]
    X, y = mnist()
    data = X[:10_000], y[:10_000], X[50_000:], y[50_000:]
    found = {name: [] for name in (*TIPS, *STACKS)}
    for seed in seeds:
        base = DBN(SIZES, random_state=seed).fit(data[0]).stack_
        for name, settings in TIPS.items():
            found[name].append(error(settings, base, *data, seed))
        for name, settings in STACKS.items():
            own = dict(settings)
            tuned = {"activation": own.pop("activation"), "learning_rate_init": 0.03} if "activation" in own else {}
            stack = DBN(SIZES, random_state=seed, **own).fit(data[0]).stack_
            found[name].append(error(tuned, stack, *data, seed))
    base = np.mean([e for e, _ in found["base"]])
    rows = {}
    for name, runs in found.items():
        errors, seconds = zip(*runs, strict=True)
        mean, spread = float(np.mean(errors)), float(np.std(errors, ddof=min(1, len(errors) - 1)))
        rows[name] = {"error": mean, "sd": spread, "change": mean - base, "seconds": float(np.median(seconds))}
        print(
            f"{name:46} {mean:6.2f} % (s.d. {spread:.2f}) {mean - base:+6.2f}  {rows[name]['seconds']:6.1f} s",
            flush=True,
        )
    write("tips", {"seeds": seeds, "base": BASE, "rows": rows})


if __name__ == "__main__":
    main()

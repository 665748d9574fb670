"""Log-likelihoods of RBMs: Bars-and-Stripes, MNIST with 16 and with 500 hidden units, comparison of gradients.

    python benchmarks/likelihood.py bars                      # exact gradient, parallel tempering, PCD-10
    python benchmarks/likelihood.py small                     # 16 hidden units, exact log Z, 5 seeds
    python benchmarks/likelihood.py large [--binarize resample]    # 500 hidden units, AIS
    python benchmarks/likelihood.py dbn --models FOLDER       # 500-2000 on the first layer that `large` saved there
    python benchmarks/likelihood.py gradients                 # a table of gradient estimators

Each row is written to `likelihood.json` as soon as it is done. AIS uses twice the published 14,500 inverse
temperatures; the result is the pessimistic end of its interval.
"""

import argparse
import itertools
import json
import time

import numpy as np
from common import add, mnist

from deepbelief import RBM, load, save
from deepbelief.backends import get_backend
from deepbelief.estimators.base import rbm_settings
from deepbelief.likelihood import ais_log_z, log_likelihood
from deepbelief.likelihood.ais import default_betas
from deepbelief.pretraining import pretrain, transform
from deepbelief.sources import as_source, binarize_rows
from deepbelief.stack import Stack, Weights
from deepbelief.training import Run, get_reporter

BOUND = -30 * np.log(30)  # of the 30 patterns


def bars_and_stripes(n=4):
    """Return the distinct patterns of n x n pixels with equal rows or equal columns."""
    lines = np.array(list(itertools.product([0.0, 1.0], repeat=n)), np.float32)
    bars = np.repeat(lines[:, None, :], n, axis=1).reshape(len(lines), -1)
    stripes = np.repeat(lines[:, :, None], n, axis=2).reshape(len(lines), -1)
    return np.unique(np.concatenate([bars, stripes]), axis=0)


def keep(name, key, result):
    add("likelihood", name, key, value=result)
    print(name, key, json.dumps(result), flush=True)


def fit(n_hidden, X, **settings):
    """Return the fitted RBM and its processor seconds; on one thread these do not depend on other load."""
    began = time.process_time()
    rbm = RBM(n_hidden, weight_decay=settings.pop("weight_decay", 0.0), **settings).fit(X)
    return rbm, time.process_time() - began


BARS = {
    "exact, 10 hidden": {"gradient": "exact", "momentum": 0.95, "learning_rate": 1.0, "n_iter": 3000},
    "pt, 16 hidden": {
        "gradient": "pt", "learning_rate": 1.0, "n_iter": 5000, "n_chains": 100, "schedule": "constant",
        "averaging": 0.3,
    },
    "pcd10 with 500 chains, 16 hidden": {
        "gradient": "pcd", "gibbs_steps": 10, "learning_rate": 0.3, "n_iter": 8000, "n_chains": 500, "averaging": 0.3,
    },
}  # fmt: skip


def bars(options):
    X = bars_and_stripes()
    for name, settings in BARS.items():
        for seed in range(options.seeds or 3):
            n_hidden = int(name.split()[-2])
            rbm, seconds = fit(n_hidden, X, centered=True, batch_size=len(X), random_state=seed, **settings)
            total = log_likelihood(rbm, X).rows.sum()
            result = {"log_likelihood": total, "below_the_bound": BOUND - total, "seconds": seconds, **settings}
            keep("bars-and-stripes", f"{name}, seed {seed}", result)


SMALL = {"gradient": "pcd", "learning_rate": 0.05, "batch_size": 100, "n_iter": 50, "binarize": "threshold"}


SMALL_ARMS = (("centred", True, False), ("plain", False, False), ("centred, flipped", True, True))


def small(options):
    """16 hidden units on thresholded MNIST, as centred and as plain units, on the rows and on one minus them."""
    X, test = mnist()[0], mnist("test")[0]
    bits = binarize_rows(test, "threshold")
    for seed in range(options.seeds or 5):
        for name, centered, flip in (
            ("centred", True, False),
            ("plain", False, False),
            ("centred, flipped", True, True),
        ):
            if seed and name != "centred":
                continue
            rows, judged = (1 - X, 1 - bits) if flip else (X, bits)
            rbm, seconds = fit(16, rows, centered=centered, random_state=seed, **SMALL)
            result = {"test": log_likelihood(rbm, judged).mean, "seconds": seconds, **SMALL}
            keep("16 hidden, thresholded", f"{name}, seed {seed}", result)


LARGE = {
    "sample": {"learning_rate": 0.1, "n_iter": 160, "l1": 1e-4},
    "resample": {"learning_rate": 0.2, "n_iter": 400},
}


def judge(model, rows, runs, finer):
    """Return likelihoods of several sets of rows by one estimate of log Z, with betas finer by a factor."""
    began, published = time.perf_counter(), default_betas()
    steps = np.arange((len(published) - 1) * finer + 1) / finer
    top = model.layers[-1] if isinstance(model, Stack) else model
    log_z = ais_log_z(top, n_runs=runs, betas=np.interp(steps, np.arange(len(published)), published))
    result = {"log_z": log_z.log_z, "log_z_low": log_z.low, "log_z_high": log_z.high}
    result |= {"effective_sample_size": log_z.effective_sample_size, "runs": runs, "betas": len(steps)}
    for name, X in rows.items():
        found = log_likelihood(model, X, log_z=log_z)
        result |= {name: found.mean, f"{name}_pessimistic": found.low}
    return result | {"ais_seconds": time.perf_counter() - began}


def large(options):
    """500 hidden units; the test rows are binarised by sampling once, whatever the training rows are."""
    X, test = mnist()[0], mnist("test")[0]
    rows = {"test": binarize_rows(test), "train": binarize_rows(X[:10_000])}
    settings = {"gradient": "pcd", "centered": True, "batch_size": 100, **LARGE[options.binarize]}
    for seed in range(options.first_seed, options.first_seed + (options.seeds or 1)):
        rbm, seconds = fit(500, X, binarize=options.binarize, random_state=seed, **settings)
        if options.models:
            save(rbm, f"{options.models}/{options.binarize}-{seed}.h5")
        result = judge(rbm, rows, options.runs, options.finer) | {"seconds": seconds, **settings}
        keep(f"500 hidden, {options.binarize}", f"seed {seed}", result)


TOP = {"gradient": "pcd", "centered": True, "learning_rate": 0.05, "n_iter": 30, "batch_size": 100}


def dbn(options):
    """A second layer of 2,000 units on a saved first one: it learns hidden states that are drawn again in each epoch.

    784 of its units start as the first layer upside down, so that the bound starts at the first layer's likelihood
    (Hinton, Osindero and Teh 2006); the others start near 0.
    """
    X, test = mnist()[0], mnist("test")[0]
    lower = load(f"{options.models}/resample-{options.first_seed}.h5").weights_
    means = transform(Stack((lower,)), as_source(binarize_rows(X)), get_backend())
    W = np.random.default_rng(options.first_seed).normal(0, 0.01, (lower.n_hidden, 2000)).astype(np.float32)
    W[:, : lower.n_visible] = lower.W.T
    hbias = np.zeros(2000, np.float32)
    hbias[: lower.n_visible] = lower.vbias
    vbias = lower.hbias - W[:, lower.n_visible :].sum(axis=1) / 2
    mean = (means.sum(axis=0, dtype=np.float64) + 1) / (len(means) + 2)
    start = Weights(W, vbias, hbias, visible_mean=mean.astype(np.float32))
    settings = rbm_settings(RBM(2000, binarize="resample", weight_decay=0.0, **TOP))
    began = time.perf_counter()
    trained = pretrain(
        as_source(means), [2000], [settings], Run(get_backend(), options.first_seed, get_reporter(1)),
        start=Stack((start,)),
    )  # fmt: skip
    seconds = time.perf_counter() - began
    rows = {"test": binarize_rows(test), "train": binarize_rows(X[:10_000])}
    result = judge(Stack((lower, trained.stack.layers[0])), rows, options.runs, options.finer)
    keep("DBN 500-2000, resample", f"seed {options.first_seed}", result | {"seconds": seconds, **TOP})


GRADIENTS = {
    "CD-1": {"gradient": "cd", "momentum": 0.0},
    "CD-10": {"gradient": "cd", "gibbs_steps": 10, "momentum": 0.0},
    "CD-1 to CD-10": {"gradient": "cd", "gibbs_steps": (1, 10), "momentum": 0.0},
    "mean-field CD-1": {"gradient": "mfcd", "momentum": 0.0},
    "PCD-1": {"gradient": "pcd"},
    "PCD-1, averaged": {"gradient": "pcd", "schedule": "constant", "averaging": 0.5},
    "FPCD-1": {"gradient": "fpcd"},
    "PT, 10 temperatures": {"gradient": "pt"},
    "PTT": {"gradient": "ptt", "centered": False},
    "CD-1, centred": {"gradient": "cd", "momentum": 0.0, "centered": True},
    "CD-10, centred": {"gradient": "cd", "gibbs_steps": 10, "momentum": 0.0, "centered": True},
    "PCD-1, centred": {"gradient": "pcd", "centered": True},
    "FPCD-1, centred": {"gradient": "fpcd", "centered": True},
    "PT, 10 temperatures, centred": {"gradient": "pt", "centered": True},
    "PTT, centred": {"gradient": "ptt", "centered": True},
}


def gradients(options):
    """16 hidden units on 10,000 thresholded MNIST rows, exact test likelihood."""
    X, bits = mnist()[0][:10_000], binarize_rows(mnist("test")[0], "threshold")
    common = {"learning_rate": 0.05, "schedule": "linear", "batch_size": 100, "n_iter": 40, "binarize": "threshold"}
    for name in options.arms or GRADIENTS:
        settings = GRADIENTS[name]
        found = [fit(16, X, random_state=seed, **(common | settings)) for seed in range(options.seeds or 3)]
        tests = [log_likelihood(rbm, bits).mean for rbm, _ in found]
        result = {"test": tests, "seconds": [seconds for _, seconds in found], **(common | settings)}
        keep("gradients, 16 hidden, 10,000 rows", name, result)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=["bars", "small", "large", "dbn", "gradients"])
    parser.add_argument("--binarize", choices=list(LARGE), default="sample")
    parser.add_argument("--seeds", type=int, help="how many; by default as the table says")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=100, help="of annealing")
    parser.add_argument("--finer", type=int, default=2, help="times more inverse temperatures than published")
    parser.add_argument("--models", help="folder that the large models are saved in")
    parser.add_argument("--arms", nargs="+", choices=list(GRADIENTS), help="rows of the table of gradients")
    options = parser.parse_args()
    {"bars": bars, "small": small, "large": large, "dbn": dbn, "gradients": gradients}[options.row](options)


if __name__ == "__main__":
    main()

"""Filling in missing pixels of MNIST: an RBM beside the column means and scikit-learn's KNNImputer.

    python benchmarks/imputation.py [--choose]

All are fitted to the first 10,000 training rows, which are complete; of the first 2,000 test rows 30 % of the pixels
are missing at random, the same for all. The error is squared, summed over the missing pixels of a row, and averaged
over rows. Settings were chosen by ``--choose``: on the last 1,000 training rows with a mask of their own (KNNImputer:
the first 200 of these).
"""

import argparse
import time

import numpy as np
from common import mnist, write
from sklearn.impute import KNNImputer, SimpleImputer

from deepbelief import RBM

MISSING = 0.3
NEIGHBOURS = (3, 5, 8, 12)
MACHINES = {
    "cd-1, 50 epochs": {"gradient": "cd", "n_iter": 50},
    "cd-1, 100 epochs": {"gradient": "cd", "n_iter": 100},
    "cd-5, 50 epochs": {"gradient": "cd", "gibbs_steps": 5, "n_iter": 50},
}
CHOSEN = {"machine": "cd-1, 100 epochs", "neighbours": 5}


def with_gaps(rows, seed):
    """Return rows of which a share of the values is NaN."""
    missing = np.random.default_rng(seed).random(rows.shape) < MISSING
    return np.where(missing, np.float32(np.nan), rows)


def scores(name, filled, rows, gaps, seconds):
    """Return and print the squared error of what was filled in, per row."""
    missing = np.isnan(gaps)
    errors = np.square((filled - rows) * missing, dtype=np.float64).sum(axis=1)
    row = {"squared_error": float(errors.mean()), "standard_error": float(errors.std(ddof=1) / np.sqrt(len(errors)))}
    row |= {"root_mean_square": float(np.sqrt(errors.sum() / missing.sum())), "seconds": seconds}
    print(f"{name:34}{row['squared_error']:8.4f} (s.e. {row['standard_error']:.4f})  {seconds:.1f} s", flush=True)
    return row


def fill(name, imputer, rows, gaps):
    """Fill in and judge."""
    began = time.perf_counter()
    return scores(name, imputer(gaps), rows, gaps, time.perf_counter() - began)


def fitted(name, train):
    """Return a machine of 500 hidden units on grey levels, and the seconds that it took."""
    began = time.perf_counter()
    rbm = RBM(500, random_state=0, **MACHINES[name]).fit(train)
    return rbm, time.perf_counter() - began


def by_rbm(rbm, method, n_steps):
    """Return a function that fills in."""
    return lambda gaps: rbm.impute(gaps, method=method, n_steps=n_steps, random_state=0)


def choose(train, rows):
    """Try settings on training rows that none is fitted to."""
    gaps, tried = with_gaps(rows, 1), {}
    for name in MACHINES:
        rbm, seconds = fitted(name, train)
        for method, n_steps in (("gibbs", 30), ("gibbs", 100), ("mean_field", 100)):
            key = f"{name}, {method} {n_steps}"
            tried[key] = fill(key, by_rbm(rbm, method, n_steps), rows, gaps) | {"fit_seconds": seconds}
            write("imputation_choice", {"results": tried})
    for k in NEIGHBOURS:
        imputer = KNNImputer(n_neighbors=k, weights="distance").fit(train)
        tried[f"knn {k}"] = fill(f"knn {k}, distance", imputer.transform, rows[:200], gaps[:200])
        write("imputation_choice", {"results": tried})


def judge(train, rows):
    """Judge what was chosen on the test rows."""
    gaps, found = with_gaps(rows, 2), {}
    found["mean"] = fill("column means", SimpleImputer().fit(train).transform, rows, gaps)
    rbm, seconds = fitted(CHOSEN["machine"], train)
    for method, n_steps in (("gibbs", 100), ("mean_field", 100)):
        found[f"RBM {method}"] = fill(f"RBM {method}", by_rbm(rbm, method, n_steps), rows, gaps)
        found[f"RBM {method}"]["fit_seconds"] = seconds
    write("imputation", {"missing": MISSING, "chosen": CHOSEN, "results": found})
    imputer = KNNImputer(n_neighbors=CHOSEN["neighbours"], weights="distance").fit(train)
    found["KNNImputer"] = fill("KNNImputer", imputer.transform, rows, gaps)
    write("imputation", {"missing": MISSING, "chosen": CHOSEN, "results": found})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--choose", action="store_true", help="try settings on training rows")
    options = parser.parse_args()
    train = mnist()[0]
    if options.choose:
        choose(train[:10_000], train[-1000:])
    else:
        judge(train[:10_000], mnist("test")[0][:2000])


if __name__ == "__main__":
    main()

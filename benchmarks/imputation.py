"""Imputation of missing pixels of MNIST: an RBM compared with the column means and scikit-learn's KNNImputer.

    python benchmarks/imputation.py [--arms mean rbm knn]

All are fitted to the first 10,000 training rows, which are complete; of the first 2,000 test rows 30 % of the pixels
are missing at random, the same for all. The error is squared, summed over the missing pixels of a row, and averaged
over rows. The RBM has 500 hidden units and default settings otherwise (CD-1, 60 epochs, on grey levels); it imputes the
mean of E[v | h] over 100 Gibbs steps, or the mean field. KNNImputer weights its neighbours by distance; their number is
the best of a few on the last 100 training rows, with a separate mask.

Seconds are processor seconds of one thread.
"""

import argparse
import json
import time

import numpy as np
from common import HERE, mnist, write
from sklearn.impute import KNNImputer, SimpleImputer

from deepbelief import RBM

MISSING = 0.3
NEIGHBOURS = (3, 5, 8, 12, 16)


def with_gaps(rows, seed):
    """Return rows of which a share of the values is NaN."""
    missing = np.random.default_rng(seed).random(rows.shape) < MISSING
    return np.where(missing, np.float32(np.nan), rows)


def fill(name, imputer, rows, gaps, **about):
    """Impute, and return and print the squared error of the imputed values, per row."""
    began = time.process_time()
    filled = imputer(gaps)
    seconds = time.process_time() - began
    missing = np.isnan(gaps)
    errors = np.square((filled - rows) * missing, dtype=np.float64).sum(axis=1)
    row = {"squared_error": float(errors.mean()), "standard_error": float(errors.std(ddof=1) / np.sqrt(len(errors)))}
    row |= {"root_mean_square": float(np.sqrt(errors.sum() / missing.sum())), "seconds": seconds, **about}
    print(f"{name:24}{row['squared_error']:8.4f} (s.e. {row['standard_error']:.4f})  {seconds:.1f} s", flush=True)
    return row


def by_mean(train, rows, gaps):
    """Fill in with the column means."""
    yield "column means", fill("column means", SimpleImputer().fit(train).transform, rows, gaps)


def by_rbm(train, rows, gaps):
    """Fill in with a machine's conditional means, in both ways."""
    began = time.process_time()
    rbm = RBM(500, random_state=0).fit(train)
    seconds = time.process_time() - began
    for method in ("gibbs", "mean_field"):
        name = f"RBM, {method}"

        def imputer(gaps, method=method):
            return rbm.impute(gaps, method=method, random_state=0)

        yield name, fill(name, imputer, rows, gaps, fit_seconds=seconds)


def by_neighbours(train, rows, gaps):
    """Impute with neighbours; their number is chosen on training rows that the imputer was not fitted to."""
    held = mnist()[0][-100:]
    tried = {}
    for k in NEIGHBOURS:
        imputer = KNNImputer(n_neighbors=k, weights="distance").fit(train)
        tried[k] = fill(f"{k} neighbours, tried", imputer.transform, held, with_gaps(held, 1))["squared_error"]
    best = min(tried, key=tried.get)
    imputer = KNNImputer(n_neighbors=best, weights="distance").fit(train)
    yield "KNNImputer", fill("KNNImputer", imputer.transform, rows, gaps, neighbours=best, tried=tried)


ARMS = {"mean": by_mean, "rbm": by_rbm, "knn": by_neighbours}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    options = parser.parse_args()
    train, rows = mnist()[0][:10_000], mnist("test")[0][:2000]
    gaps = with_gaps(rows, 2)
    path = HERE / "imputation.json"
    results = json.loads(path.read_text())["results"] if path.exists() else {}
    for arm in options.arms:
        for name, row in ARMS[arm](train, rows, gaps):
            results[name] = row
            write("imputation", {"missing": MISSING, "results": results})


if __name__ == "__main__":
    main()

"""RBMs as outlier detectors: digits of one class are inliers, those of other classes outliers.

    python benchmarks/outliers.py [--repeats 5]

scikit-learn's digits in [0, 1]. For each class, half of its rows are fitted; a score must separate the other half from
as many rows of other classes, drawn at random. The result is ROC-AUC, the mean over classes and repeats, for an RBM's
scores and three of scikit-learn's detectors with their defaults.
"""

import argparse
import time

import numpy as np
from common import write
from sklearn.datasets import load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM

from deepbelief import RBM

DETECTORS = {
    "RBM free energy": (lambda seed: RBM(64, n_iter=100, random_state=seed), lambda m, X: -m.free_energy(X)),
    "RBM pseudo-likelihood": (
        lambda seed: RBM(64, n_iter=100, random_state=seed),
        lambda m, X: m.score_samples(X),
    ),
    "IsolationForest": (lambda seed: IsolationForest(random_state=seed), lambda m, X: m.score_samples(X)),
    "OneClassSVM": (lambda seed: OneClassSVM(), lambda m, X: m.score_samples(X)),
    "LocalOutlierFactor": (lambda seed: LocalOutlierFactor(novelty=True), lambda m, X: m.score_samples(X)),
}


def one_class(X, y, label, rng):
    """Return rows to fit, rows to score, and a mask of those that belong to the class."""
    inside, outside = rng.permutation(np.flatnonzero(y == label)), rng.permutation(np.flatnonzero(y != label))
    n = len(inside) // 2
    judged = np.concatenate([inside[n:], outside[: len(inside) - n]])
    return X[inside[:n]], X[judged], y[judged] == label


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    results = {}
    for name, (make, score) in DETECTORS.items():
        began, areas = time.perf_counter(), []
        for seed in range(options.repeats):
            for label in range(10):
                fit, judged, known = one_class(X, y, label, np.random.default_rng([seed, label]))
                areas.append(roc_auc_score(known, score(make(seed).fit(fit), judged)))
        row = {"roc_auc": float(np.mean(areas)), "each": areas, "seconds": time.perf_counter() - began}
        results[name] = row
        print(f"{name:24}{row['roc_auc']:.4f}  {row['seconds']:.1f} s", flush=True)
    write("outliers", {"repeats": options.repeats, "results": results})


if __name__ == "__main__":
    main()

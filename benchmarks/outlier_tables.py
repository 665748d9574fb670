"""Outlier detectors on raw tables: mean ROC-AUC and average precision over the sets of ADBench that are at hand.

    python benchmarks/outlier_tables.py FOLDER [--seeds 5] [--protocol same|split] [--only NAME ...]

FOLDER holds ``*.npz`` files with ``X`` (rows as they are, columns of any scale) and ``y`` (1: outlier). ``same``
scores the rows that were fitted, ``split`` fits 70 % of the rows and scores the others, stratified. All detectors have
their defaults; labels serve for the two scores only.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from common import add
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.svm import OneClassSVM

from deepbelief import AnomalyDetector


class Neighbours:
    """The distance to the fifth nearest row, as pyod's KNN has it."""

    def fit(self, X):
        self.index = NearestNeighbors(n_neighbors=5).fit(X)
        self.fitted = X
        return self

    def score_samples(self, X):
        own = X is self.fitted
        return -self.index.kneighbors(None if own else X)[0][:, -1]


class LocalFactor:
    """`LocalOutlierFactor`, which scores the rows that it was fitted to in another way than others."""

    def fit(self, X):
        self.fitted = X
        return self

    def score_samples(self, X):
        if X is self.fitted:
            return LocalOutlierFactor().fit(X).negative_outlier_factor_
        return LocalOutlierFactor(novelty=True).fit(self.fitted).score_samples(X)


DETECTORS = {
    "AnomalyDetector()": lambda seed: AnomalyDetector(random_state=seed),
    "IsolationForest()": lambda seed: IsolationForest(random_state=seed),
    "OneClassSVM()": lambda seed: OneClassSVM(),
    "LocalOutlierFactor()": lambda seed: LocalFactor(),
    "5 nearest neighbours": lambda seed: Neighbours(),
}
SEEDLESS = {"OneClassSVM()", "LocalOutlierFactor()", "5 nearest neighbours"}


def run(name, X, y, protocol, seed):
    """Return the scores of every detector on one set."""
    fit, judged, outlier = X, X, y
    if protocol == "split":
        fit, judged, _, outlier = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    rows = {}
    for detector, make in DETECTORS.items():
        if seed and protocol == "same" and detector in SEEDLESS:
            continue
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = -make(seed).fit(fit).score_samples(judged)
        rows[detector] = {
            "roc_auc": float(roc_auc_score(outlier, scores)),
            "average_precision": float(average_precision_score(outlier, scores)),
            "seconds": time.perf_counter() - began,
        }
    print(f"{name:20} seed {seed} " + ", ".join(f"{d} {r['roc_auc']:.3f}" for d, r in rows.items()), flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--protocol", choices=["same", "split"], default="same")
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    for path in sorted(options.folder.glob("*.npz")):
        if options.only and path.stem not in options.only:
            continue
        with np.load(path) as data:
            X, y = data["X"].astype(np.float64), data["y"]
        for seed in range(options.seeds):
            add(
                "outlier_tables",
                options.protocol,
                path.stem,
                f"seed {seed}",
                value=run(path.stem, X, y, options.protocol, seed),
            )


if __name__ == "__main__":
    main()

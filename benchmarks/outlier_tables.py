"""Outlier detectors on raw tables: mean ROC-AUC and average precision over the available sets of ADBench.

    python benchmarks/outlier_tables.py FOLDER [--seeds 5] [--first 0] [--protocol same|split] [--only NAME ...]
        [--arms DETECTOR ...]

FOLDER holds ``*.npz`` files with ``X`` (rows as they are, columns of any scale) and ``y`` (1: outlier). ``same`` scores
the rows that were fitted, ``split`` fits 70 % of the rows and scores the others, stratified. All detectors have their
defaults; labels are used for the two scores only. Detectors of pyod are included if it is installed. Existing scores of
other detectors and seeds are kept. Seconds are processor seconds.
"""

import argparse
import importlib
import importlib.util
import json
import time
import warnings
from pathlib import Path

import numpy as np
from common import HERE, add
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.svm import OneClassSVM

from deepbelief import AnomalyDetector


class Neighbours:
    """The distance to the fifth nearest row, as in pyod's KNN."""

    def fit(self, X):
        self.index = NearestNeighbors(n_neighbors=5).fit(X)
        self.fitted = X
        return self

    def score_samples(self, X):
        own = X is self.fitted
        return -self.index.kneighbors(None if own else X)[0][:, -1]


class LocalFactor:
    """`LocalOutlierFactor`, which scores the rows of `fit` in another way than new rows."""

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
SEEDLESS = {"OneClassSVM()", "LocalOutlierFactor()", "5 nearest neighbours", "pyod ECOD()", "pyod HBOS()"}


class OfPyod:
    """A detector of pyod with its defaults, whose scores are high for outliers."""

    def __init__(self, module, name, **settings):
        self.model = getattr(importlib.import_module(f"pyod.models.{module}"), name)(**settings)

    def fit(self, X):
        self.model.fit(X)
        return self

    def score_samples(self, X):
        return -self.model.decision_function(X)


if importlib.util.find_spec("pyod") is not None:
    DETECTORS |= {
        "pyod ECOD()": lambda seed: OfPyod("ecod", "ECOD"),
        "pyod HBOS()": lambda seed: OfPyod("hbos", "HBOS"),
        "pyod AutoEncoder()": lambda seed: OfPyod("auto_encoder", "AutoEncoder", random_state=seed, verbose=0),
    }


def run(name, X, y, protocol, seed, arms):
    """Return the scores of every detector on one set."""
    fit, judged, outlier = X, X, y
    if protocol == "split":
        fit, judged, _, outlier = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    rows = {}
    for detector, make in DETECTORS.items():
        if arms and detector not in arms:
            continue
        if seed and protocol == "same" and detector in SEEDLESS:
            continue
        began = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = -make(seed).fit(fit).score_samples(judged)
        rows[detector] = {
            "roc_auc": float(roc_auc_score(outlier, scores)),
            "average_precision": float(average_precision_score(outlier, scores)),
            "seconds": time.process_time() - began,
        }
    print(f"{name:20} seed {seed} " + ", ".join(f"{d} {r['roc_auc']:.3f}" for d, r in rows.items()), flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--arms", nargs="*", default=[])
    parser.add_argument("--protocol", choices=["same", "split"], default="same")
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    for path in sorted(options.folder.glob("*.npz")):
        if options.only and path.stem not in options.only:
            continue
        with np.load(path) as data:
            X, y = data["X"].astype(np.float64), data["y"]
        for seed in range(options.first, options.first + options.seeds):
            found = run(path.stem, X, y, options.protocol, seed, options.arms)
            known = HERE / "outlier_tables.json"
            kept = json.loads(known.read_text()) if known.exists() else {}
            before = kept.get(options.protocol, {}).get(path.stem, {}).get(f"seed {seed}", {})
            add("outlier_tables", options.protocol, path.stem, f"seed {seed}", value=before | found)


if __name__ == "__main__":
    main()

"""Defaults without a single setting, on small and large data, beside scikit-learn's with theirs.

    python benchmarks/defaults.py [--repeats 3] [--no-mnist]

Test error of `DBNClassifier()`, `MLPClassifier()`, and logistic regression on `RBM()` and `BernoulliRBM()` features:
digits and MNIST in [0, 1], breast cancer and wine standardised and squeezed to [0, 1]. Small sets: mean of stratified
splits, a quarter for testing. MNIST: its own split, the first 10,000 training rows.
"""

import argparse
import time
import warnings

import numpy as np
from common import mnist, write
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import BernoulliRBM, MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from deepbelief import RBM, DBNClassifier


def models(seed):
    return {
        "DBNClassifier()": DBNClassifier(random_state=seed),
        "MLPClassifier()": MLPClassifier(random_state=seed),
        "RBM() + LogisticRegression()": make_pipeline(RBM(random_state=seed), LogisticRegression()),
        "BernoulliRBM() + LogisticRegression()": make_pipeline(BernoulliRBM(random_state=seed), LogisticRegression()),
        "LogisticRegression()": LogisticRegression(),
    }


def splits(X, y, scaler, repeats):
    """Yield scaled training and test rows; the scaler is fitted on the training rows."""
    for seed in range(repeats):
        X_fit, X_test, y_fit, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=seed)
        scaler.fit(X_fit)
        # Test rows may leave [0, 1] a little: BernoulliRBM takes them, and so do we.
        yield scaler.transform(X_fit), y_fit, scaler.transform(X_test), y_test


def data_sets(repeats, with_mnist):
    digits = load_digits(return_X_y=True)
    yield "digits, [0, 1]", list(splits(*digits, MinMaxScaler(), repeats))
    for name, load in (("breast cancer", load_breast_cancer), ("wine", load_wine)):
        X, y = load(return_X_y=True)
        yield f"{name}, standardised", list(splits(X, y, StandardScaler(), repeats))
        yield f"{name}, [0, 1]", list(splits(X, y, MinMaxScaler(), repeats))
    if with_mnist:
        X, y = mnist()
        yield "MNIST, first 10,000 rows", [(X[:10_000], y[:10_000], *mnist("test"))]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-mnist", action="store_true")
    options = parser.parse_args()
    results = {}
    warnings.simplefilter("ignore", ConvergenceWarning)  # the peers' defaults are what they are
    for title, parts in data_sets(options.repeats, not options.no_mnist):
        results[title] = {}
        for name in models(0):
            errors, began = [], time.perf_counter()
            for seed, (X_fit, y_fit, X_test, y_test) in enumerate(parts):
                errors.append(1 - models(seed)[name].fit(X_fit, y_fit).score(X_test, y_test))
            seconds = (time.perf_counter() - began) / len(parts)
            results[title][name] = {"test_error": errors, "seconds": seconds}
            print(f"{title:28}{name:40}{100 * np.mean(errors):6.2f} %  {seconds:6.1f} s", flush=True)
    write("defaults", {"results": results})


if __name__ == "__main__":
    main()

"""Estimators with default settings on small and large sets, compared with scikit-learn's.

    python benchmarks/defaults.py [--sets digits,wine] [--repeats 5] [--skip HistGradientBoosting]

`DBNClassifier()` or `DBNRegressor()`, `MLP*()`, logistic regression or ridge regression, `HistGradientBoosting*()`, and
a linear model on the features of `RBM()` and of `BernoulliRBM()`. Columns are raw, except that images lie in [0, 1];
scikit-learn's models standardise them first, trees take them as they are. Splits are stratified where targets are
classes, a quarter for testing; MNIST and Fashion-MNIST have their own, the first 10,000 training rows. The tables of
DEEPBELIEF_DATA/tables are their complete rows, categories one-hot. The result is the test error in %, for regression
100 (1 - R2). Each set is added to defaults.json when it is done.
"""

import argparse
import csv
import json
import os
import time
import warnings
from pathlib import Path

import numpy as np
from common import HERE, add
from sklearn import datasets
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.neural_network import BernoulliRBM, MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from deepbelief import RBM, DBNClassifier, DBNRegressor
from deepbelief.datasets import open as open_data

N_IMAGES = 10_000
TABLES = {  # target, columns
    "mpg": ("mpg", "cylinders displacement horsepower weight acceleration model_year origin"),
    "tips": ("tip", "total_bill sex smoker day time size"),
    "penguins": ("species", "bill_length_mm bill_depth_mm flipper_length_mm body_mass_g sex"),
    "titanic": ("survived", "pclass sex age sibsp parch fare embarked"),
}
NUMBERS = {"diabetes", "mpg", "tips"}  # whose targets are numbers
IMAGES = {"digits", "mnist", "fashion-mnist"}
SETS = ("digits", "breast_cancer", "wine", "iris", "diabetes", *TABLES, "mnist", "fashion-mnist")


def read_table(name):
    """Return rows and targets of a table."""
    target, columns = TABLES[name]
    with (Path(os.environ["DEEPBELIEF_DATA"]) / "tables" / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = columns.split()
    rows = [row for row in rows if all(row[column] not in ("", "NA", "nan") for column in [*names, target])]
    parts = []
    for column in names:
        values = [row[column] for row in rows]
        try:
            parts.append(np.array(values, float)[:, None])
        except ValueError:
            parts.append(np.array([[float(value == one) for one in sorted(set(values))] for value in values]))
    y = np.array([row[target] for row in rows])
    return np.hstack(parts), y.astype(float) if name in NUMBERS else y


def splits(name, repeats):
    """Yield training rows, their targets, test rows and theirs."""
    if name in ("mnist", "fashion-mnist"):
        train, test = (open_data(f"{name}:{part}") for part in ("train", "test"))
        X, X_test = (data.rows.take(slice(0, data.rows.shape[0])).astype(np.float32) for data in (train, test))
        for _ in range(repeats):
            yield X[:N_IMAGES], train.labels[:N_IMAGES], X_test, test.labels
        return
    X, y = read_table(name) if name in TABLES else getattr(datasets, f"load_{name}")(return_X_y=True)
    X = X / 16 if name == "digits" else X
    for seed in range(repeats):
        X_fit, X_test, y_fit, y_test = train_test_split(
            X, y, test_size=0.25, stratify=None if name in NUMBERS else y, random_state=seed
        )
        yield X_fit, y_fit, X_test, y_test


def models(seed, name):
    """Return unfitted models by the names that they have in the results."""
    scaler = [] if name in IMAGES else [StandardScaler()]
    unit = [] if name in IMAGES else [MinMaxScaler(clip=True)]
    if name in NUMBERS:
        ours, net, linear = DBNRegressor(random_state=seed), MLPRegressor(random_state=seed), Ridge
        trees = HistGradientBoostingRegressor(random_state=seed)
    else:
        ours, net, linear = DBNClassifier(random_state=seed), MLPClassifier(random_state=seed), LogisticRegression
        trees = HistGradientBoostingClassifier(random_state=seed)
    return {
        "DBN": ours,
        "MLP": make_pipeline(*scaler, net),
        "linear": make_pipeline(*scaler, linear()),
        "HistGradientBoosting": trees,
        "RBM + linear": make_pipeline(RBM(random_state=seed), linear()),
        "BernoulliRBM + linear": make_pipeline(*unit, BernoulliRBM(random_state=seed), linear()),
    }


def measured(name, repeats, skipped):
    """Return test errors and seconds of each model."""
    found = {}
    for seed, (X, y, X_test, y_test) in enumerate(splits(name, repeats)):
        for arm, model in models(seed, name).items():
            if arm in skipped:
                continue
            began = time.perf_counter()
            error = 1 - model.fit(X, y).score(X_test, y_test)
            result = found.setdefault(arm, {"test_error": [], "seconds": []})
            result["test_error"].append(error)
            result["seconds"].append(time.perf_counter() - began)
    return found


def stored(name):
    """Return the results that there are for a set: models that are skipped keep theirs."""
    path = HERE / "defaults.json"
    return json.loads(path.read_text())["results"].get(name, {}) if path.exists() else {}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--skip", default="")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # convergence warnings of the other estimators' defaults
    for name in options.sets.split(","):
        found = measured(name, options.repeats, options.skip.split(","))
        for arm, result in found.items():
            errors = 100 * np.array(result["test_error"])
            spread = errors.std(ddof=min(1, len(errors) - 1)) / len(errors) ** 0.5
            seconds = np.mean(result["seconds"])
            print(f"{name:16}{arm:24}{errors.mean():7.2f} % (s.e. {spread:.2f})  {seconds:6.1f} s", flush=True)
        add("defaults", "results", name, value=stored(name) | found)


if __name__ == "__main__":
    main()

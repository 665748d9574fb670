"""Estimators with default settings on small and large sets, compared with scikit-learn's.

    python benchmarks/defaults.py [--sets digits,wine] [--repeats 5] [--rows 10000] [--skip MLP,linear] [--again]

`DBNClassifier()` or `DBNRegressor()`, `MLP*()`, logistic regression or ridge regression, `HistGradientBoosting*()`, and
a linear model on the features of `RBM()` and of `BernoulliRBM()`. Columns are raw, except that images lie in [0, 1];
scikit-learn's models standardise them first, trees take them as they are. Splits are stratified where targets are
classes, a quarter for testing; MNIST and Fashion-MNIST have their own test rows, and their first 10,000 training rows
or as many as `--rows` says, so that only the seeds of the models differ. The tables of DEEPBELIEF_DATA/tables are their
complete rows, categories one-hot; 20newsgroups are 16,242 documents by the presence of 100 words, in four groups. The
result is the test error in %, for regression 100 (1 - R2). Each seed is added to defaults.json when it is done, and a
run continues after the seeds that are there; with `--again` it starts with the first.
"""

import argparse
import csv
import json
import os
import time
import warnings
from pathlib import Path

import numpy as np
from common import HERE, add, images
from sklearn import datasets
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.neural_network import BernoulliRBM, MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from deepbelief import RBM, DBNClassifier, DBNRegressor

N_IMAGES = 10_000  # training rows
TABLES = {  # target, columns
    "mpg": ("mpg", "cylinders displacement horsepower weight acceleration model_year origin"),
    "tips": ("tip", "total_bill sex smoker day time size"),
    "penguins": ("species", "bill_length_mm bill_depth_mm flipper_length_mm body_mass_g sex"),
    "titanic": ("survived", "pclass sex age sibsp parch fare embarked"),
}
NUMBERS = {"diabetes", "mpg", "tips"}  # whose targets are numbers
LARGE_IMAGES = ("mnist", "fashion-mnist")
UNIT_INTERVAL = {"digits", "20newsgroups", *LARGE_IMAGES}  # nothing to scale
SETS = ("digits", "breast_cancer", "wine", "iris", "diabetes", *TABLES, "20newsgroups", *LARGE_IMAGES)


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


def read_rows(name):
    """Return all rows and targets of a set without test rows of its own."""
    if name in TABLES:
        return read_table(name)
    if name == "20newsgroups":
        stored = np.load(Path(os.environ["DEEPBELIEF_DATA"]) / name / "20news_w100.npz")
        return stored["X"].astype(np.float32), stored["group"]
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return (X / 16 if name == "digits" else X), y


def splits(name, repeats, n_images):
    """Yield training rows, their targets, test rows and theirs."""
    if name in LARGE_IMAGES:
        (X, y), (X_test, y_test) = images(name), images(name, "test")
        for _ in range(repeats):
            yield X[:n_images], y[:n_images], X_test, y_test
        return
    X, y = read_rows(name)
    for seed in range(repeats):
        X_fit, X_test, y_fit, y_test = train_test_split(
            X, y, test_size=0.25, stratify=None if name in NUMBERS else y, random_state=seed
        )
        yield X_fit, y_fit, X_test, y_test


def models(seed, name):
    """Return unfitted models by the names that they have in the results."""
    scaler = [] if name in UNIT_INTERVAL else [StandardScaler()]
    unit = [] if name in UNIT_INTERVAL else [MinMaxScaler(clip=True)]
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


def measured(name, repeats, n_images, skipped, found):
    """Add each model's test errors, seconds and seconds of processor time to the results, and yield these by seed."""
    for seed, (X, y, X_test, y_test) in enumerate(splits(name, repeats, n_images)):
        before = str(found)
        for arm, model in models(seed, name).items():
            if arm in skipped or len(found.get(arm, {}).get("test_error", [])) > seed:
                continue
            began, processor = time.perf_counter(), time.process_time()
            error = 1 - model.fit(X, y).score(X_test, y_test)
            result = found.setdefault(arm, {})
            spent = {"seconds": time.perf_counter() - began, "processor_seconds": time.process_time() - processor}
            for key, value in {"test_error": error, **spent}.items():
                result.setdefault(key, []).append(value)
            print(f"{name}, seed {seed}: {arm} {100 * error:.2f} %", flush=True)
        if str(found) != before:
            yield found


def stored(name):
    """Return the results that there are for a set."""
    path = HERE / "defaults.json"
    return json.loads(path.read_text())["results"].get(name, {}) if path.exists() else {}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=N_IMAGES, help="training rows of the large sets of images")
    parser.add_argument("--skip", default="")
    parser.add_argument("--again", action="store_true", help="discard the seeds that are there")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # convergence warnings of the other estimators' defaults
    for name in options.sets.split(","):
        key, skipped = f"{name}, {options.rows:,} rows" if name in LARGE_IMAGES else name, options.skip.split(",")
        found = {arm: result for arm, result in stored(key).items() if arm in skipped or not options.again}
        for results in measured(name, options.repeats, options.rows, skipped, found):
            add("defaults", "results", key, value=results)
        for arm, result in found.items():
            errors = 100 * np.array(result["test_error"])
            spread = errors.std(ddof=min(1, len(errors) - 1)) / len(errors) ** 0.5
            seconds = np.mean(result.get("processor_seconds", result["seconds"]))
            print(f"{key:28}{arm:24}{errors.mean():7.2f} % (s.e. {spread:.2f})  {seconds:6.1f} s", flush=True)


if __name__ == "__main__":
    main()

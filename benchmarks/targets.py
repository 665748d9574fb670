"""Targets other than a single class: regression on two tables, and two tasks on MNIST with one network or two.

    python benchmarks/targets.py [--repeats 10] [--seeds 5] [--only tables|mnist]

Regression, R2 on a quarter of the rows, `--repeats` random splits, columns standardised on the training rows:
scikit-learn's diabetes (442 rows), and a table made like the Californian houses (`houses` below says how). Every model
runs with its defaults, and again with early stopping where it has that; MLPRegressor gets standardised targets, which
it does not do itself, and DBNRegressor does.

Two tasks, the digit and whether it is odd: 784-300-150, pretrained once per seed on the first 10,000 training rows;
from that stack one net with two heads, and one net for each task, with the same settings. All rows have both labels;
then only the first 500 have the label of the digit: the digit network trains on these alone, for the same number of
epochs, and again for the same number of updates. Error on the 10,000 test rows. No setting was tuned on any of these.
"""

import argparse
import json
import time
import warnings

import numpy as np
from common import HERE, mnist, write
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from deepbelief import DBN, RBM, DBNClassifier, DBNRegressor

SIZES = (300, 150)
LAYER = {"n_iter": 10, "learning_rate": 0.1, "schedule": "linear", "batch_size": 100}
FINETUNE = {"max_iter": 15, "batch_size": 50, "dropout": 0.0, "input_dropout": 0.0, "alpha": 3e-5}
N_ROWS, N_DIGITS = 10_000, 500


def houses(n=6000, seed=0):
    """Return a table with the columns and the shape of the Californian houses, from `np.random.default_rng(seed)`.

    Income is log-normal, age uniform up to 52, the place lies along a line from north-west to south-east. The value
    rises with income and saturates, has two bumps (cities) by place, depends on rooms per head and on age times income,
    is multiplied by log-normal noise (s.d. 0.2), and is cut off at 5.
    """
    rng = np.random.default_rng(seed)
    income = np.exp(rng.normal(1.2, 0.45, n))
    age = rng.integers(1, 53, n)
    along = rng.random(n)
    north, west = 42 - 9 * along + rng.normal(0, 0.5, n), 124 - 9 * along + rng.normal(0, 0.7, n)
    rooms = np.exp(rng.normal(1.65, 0.25, n)) * (income / 3.5) ** 0.2
    bedrooms = rooms * rng.uniform(0.15, 0.25, n)
    people = np.exp(rng.normal(7.0, 0.7, n))
    household = np.exp(rng.normal(1.05, 0.25, n))
    cities = sum(np.exp(-((north - a) ** 2 + (west - b) ** 2) / 0.8) for a, b in ((37.8, 122.3), (34.0, 118.3)))
    value = 3.5 * np.tanh(income / 5) + 1.5 * cities + 0.6 * np.log(rooms / household) + 0.01 * age * (income > 4) - 0.6
    value = np.minimum(np.maximum(value, 0.15) * np.exp(rng.normal(0, 0.2, n)), 5)
    return np.column_stack([income, age, rooms, bedrooms, people, household, north, west]), value


def regressors(seed):
    def mlp(**settings):
        return TransformedTargetRegressor(MLPRegressor(random_state=seed, **settings), transformer=StandardScaler())

    return {
        "DBNRegressor()": DBNRegressor(random_state=seed),
        "DBNRegressor(early_stopping=True)": DBNRegressor(early_stopping=True, random_state=seed),
        "DBNRegressor(pretraining='none')": DBNRegressor(pretraining="none", random_state=seed),
        "MLPRegressor()": mlp(),
        "MLPRegressor(early_stopping=True)": mlp(early_stopping=True),
        "Ridge()": Ridge(),
    }


def tables(repeats):
    """Return R2, RMSE and seconds of each model on each split of each table."""
    results = {}
    for title, (X, y) in (("diabetes", load_diabetes(return_X_y=True)), ("generated houses", houses())):
        results[title] = {name: {"r2": [], "rmse": [], "seconds": []} for name in regressors(0)}
        for seed in range(repeats):
            X_fit, X_test, y_fit, y_test = train_test_split(X, y, test_size=0.25, random_state=seed)
            scaler = StandardScaler().fit(X_fit)
            for name, model in regressors(seed).items():
                began = time.perf_counter()
                predicted = model.fit(scaler.transform(X_fit), y_fit).predict(scaler.transform(X_test))
                found = results[title][name]
                found["seconds"].append(time.perf_counter() - began)
                found["r2"].append(r2_score(y_test, predicted))
                found["rmse"].append(root_mean_squared_error(y_test, predicted))
        for name, found in results[title].items():
            r2, spread = np.mean(found["r2"]), np.std(found["r2"], ddof=1)
            rest = f"RMSE {np.mean(found['rmse']):8.4g}  {np.mean(found['seconds']):5.1f} s"
            print(f"{title:18}{name:36} R2 {r2:.3f} (s.d. {spread:.3f})  {rest}", flush=True)
    return results


def two_tasks(n_seeds):
    """Return the test errors of one net for both tasks, and of one for each."""
    X, digit = (a[:N_ROWS] for a in mnist())
    X_test, digit_test = mnist("test")
    y, y_test = np.column_stack([digit, digit % 2]), np.column_stack([digit_test, digit_test % 2])
    few = y.copy()
    few[N_DIGITS:, 0] = -1
    results = {}
    for seed in range(n_seeds):
        stack = DBN(SIZES, rbm=RBM(**LAYER), random_state=seed).fit(X).stack_

        def tuned(targets, stack=stack, seed=seed, **settings):
            clf = DBNClassifier(pretrained=stack, random_state=seed, **FINETUNE | settings)
            return clf.fit(X, targets).predict(X_test)

        parity = tuned(y[:, 1])
        for title, labels in (("all digits labelled", y), (f"{N_DIGITS} digits labelled", few)):
            both, digits = tuned(labels), tuned(labels[:, 0])
            errors = {
                "one net, digit": (both[:, 0] != y_test[:, 0]).mean(),
                "two nets, digit": (digits != y_test[:, 0]).mean(),
                "one net, parity": (both[:, 1] != y_test[:, 1]).mean(),
                "two nets, parity": (parity != y_test[:, 1]).mean(),
                "parity of the digit net": (digits % 2 != y_test[:, 1]).mean(),
            }
            if labels is few:
                long = tuned(labels[:, 0], max_iter=FINETUNE["max_iter"] * N_ROWS // N_DIGITS)
                errors["two nets, digit, as many updates"] = (long != y_test[:, 0]).mean()
            for name, error in errors.items():
                results.setdefault(title, {}).setdefault(name, []).append(float(error))
        print(
            f"seed {seed}: " + "; ".join(f"{t}: {r['one net, digit'][-1]:.4f}" for t, r in results.items()), flush=True
        )
    for title, found in results.items():
        for name, errors in found.items():
            mean, spread = 100 * np.mean(errors), 100 * np.std(errors, ddof=1)
            print(f"{title:22}{name:34}{mean:6.2f} % (s.d. {spread:.2f})", flush=True)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=["tables", "mnist"])
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # convergence warnings of the other estimators' defaults
    before = json.loads((HERE / "targets.json").read_text()) if options.only else {}
    results = before | {"settings": {"sizes": SIZES, "rbm": LAYER, "finetune": FINETUNE, "rows": N_ROWS}}
    if options.only != "mnist":
        results["regression"] = tables(options.repeats)
    if options.only != "tables":
        results["test_error_of_each_seed"] = two_tasks(options.seeds)
    results.pop("environment", None)  # of this run
    write("targets", results)


if __name__ == "__main__":
    main()

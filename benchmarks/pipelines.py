"""Single rows and searches in scikit-learn pipelines, compared with scikit-learn's own estimators.

    python benchmarks/pipelines.py [row] [search] [--calls 1500] [--repeats 5]

row: `predict` of one row by 784-500-250-10, and `transform` and `score_samples` of one row by 784 x 500, in turns with
`MLPClassifier` and `BernoulliRBM`, whose weights they have; each with one BLAS thread and with all.

search: `GridSearchCV` with two jobs, of two fits each, compared with two fits one after the other on one thread. The
first search starts the processes and is not timed.
"""

import argparse
import time
import warnings

import numpy as np
from clocks import clocked, ratios, summary
from common import add, environment
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import BernoulliRBM, MLPClassifier
from threadpoolctl import threadpool_limits

from deepbelief import RBM, DBNClassifier
from deepbelief.diagnostics.speed import Work, interleaved, rows_for

V, H, N_ROWS = 784, 500, 2000
RATE = {"learning_rate": 0.001, "random_state": 0}


def pairs():
    """Return (ours, theirs) by name: functions of one row, of models with equal weights."""
    X, y = rows_for(Work("cd", (V, H), 100, N_ROWS))
    net = DBNClassifier((H, 250), pretraining="none", activation="sigmoid", max_iter=1, random_state=0).fit(X, y)
    mlp = MLPClassifier((H, 250), activation="logistic", max_iter=1, random_state=0).fit(X, y)
    mlp.coefs_, mlp.intercepts_ = list(net.coefs_), list(net.intercepts_)
    rbm = RBM(H, n_iter=2, **RATE).fit(X)
    theirs = BernoulliRBM(H, n_iter=1, **RATE).fit(X)
    theirs.components_, theirs.intercept_hidden_ = rbm.components_, rbm.intercept_hidden_
    theirs.intercept_visible_ = rbm.intercept_visible_
    row = X[:1]
    np.testing.assert_allclose(net.predict_proba(row), mlp.predict_proba(row), atol=1e-5)
    np.testing.assert_allclose(rbm.transform(row), theirs.transform(row), atol=1e-5)
    return {
        "predict": (lambda: net.predict(row), lambda: mlp.predict(row)),
        "transform": (lambda: rbm.transform(row), lambda: theirs.transform(row)),
        "score_samples": (lambda: rbm.score_samples(row), lambda: theirs.score_samples(row)),
    }


def called(function, calls):
    """Return median and lower decile of the microseconds of calls, after some that are not counted."""
    times = []
    for i in range(calls + calls // 10):
        began = time.perf_counter()
        function()
        times += [time.perf_counter() - began] if i >= calls // 10 else []
    return np.quantile(times, [0.5, 0.1]) * 1e6


def one_row(calls, rounds=10):
    """Time single rows: short series in turns, of which the median counts."""
    for threads in (1, None):
        for name, (ours, theirs) in pairs().items():
            with threadpool_limits(threads, "blas"):
                times = [[called(function, calls // rounds) for function in (ours, theirs)] for _ in range(rounds)]
            (ours_median, ours_low), (their_median, their_low) = np.median(times, axis=0)
            row = {"us": ours_median, "theirs_us": their_median, "ratio": ours_median / their_median,
                   "ratio_of_lower_deciles": ours_low / their_low}  # fmt: skip
            label = f"{name}, {'one thread' if threads else 'all threads'}"
            print(f"{label:28}{ours_median:8.0f} us{their_median:8.0f} us  {row['ratio']:.2f}, "
                  f"{row['ratio_of_lower_deciles']:.2f} by lower deciles", flush=True)  # fmt: skip
            add("pipelines", "row", f"{MACHINE['cpu']}, {MACHINE['vectors']}", label, value=row)


def search(repeats):
    """Time two jobs at once, and the fits of one of them alone."""
    X, _ = rows_for(Work("cd", (V, H), 100, 6000))
    grid = {"learning_rate": [1e-3, 1e-4]}
    rbm = RBM(H, batch_size=100, n_iter=5, random_state=0)
    halves = [(np.arange(0, 6000, 2), np.arange(1, 6000, 2)), (np.arange(1, 6000, 2), np.arange(0, 6000, 2))]
    both = GridSearchCV(rbm, grid, cv=halves, n_jobs=2, refit=False)
    alone = GridSearchCV(rbm, grid, cv=halves[:1], n_jobs=1, refit=False)

    def one_job():
        with threadpool_limits(1, "blas"):
            alone.fit(X)

    things = {"one job alone": clocked(one_job, 1), "two jobs": clocked(lambda: both.fit(X), 1)}
    rows = {name: summary(times) for name, times in interleaved(things, repeats).items()}
    for name, ratio in ratios(rows, "one job alone").items():
        rows[name]["of_one_job"] = ratio
        print(f"{name:16}{rows[name]['median_s']:8.3f} s  {ratio['median_s']:.2f}, {ratio['best_s']:.2f} by the best")
    add("pipelines", "search", f"{MACHINE['cpu']}, {MACHINE['vectors']}", value=rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["row", "search"], help="row, search")
    parser.add_argument("--calls", type=int, default=1500)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    MACHINE = environment()
    if "row" in given.what:
        one_row(given.calls)
    if "search" in given.what:
        search(given.repeats)

"""One, two or three passes through a stack at equal updates; which sizes for how many rows.

    python passes.py mnist [--seeds 0,1,2,3,4]   784-500-250, 12 epochs a layer as 1 x 12, 2 x 6 and 3 x 4
    python passes.py music                       88-200-100, 6 epochs a layer as 1 x 6, 2 x 3 and 3 x 2
    python passes.py sizes [--seeds 0,1,2]       784-n-n/2 on 2,000 to 50,000 rows of MNIST, 6,000 updates a layer

MNIST: pretraining uses the first 50,000 training rows, and the test rows are evaluated once per run. Music: the 511,481
training frames of four sets of polyphonic music, 88 notes each; the class of a frame is its set. The test rows are
4,000 frames of each set's test sequences. `DEEPBELIEF_DATA` names the folder that holds mnist/ and pianorolls/. Results
are the squared error per row of reconstructed test rows, the test error after fine-tuning with all labels and with a
class-balanced draw of 1,000, and that of logistic regression on the features of the 1,000. Every setting is a default
or was fixed beforehand; none was tuned. Results are written to passes.json after each run.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
from common import add, mnist
from sklearn.linear_model import LogisticRegression

from deepbelief import DBN, RBM, DBNClassifier

N_FIT, N_LABELS, BATCH = 50_000, 1_000, 100
SETS = ("jsb_chorales", "nottingham", "piano_midi", "musedata")
PASSES = {"mnist": ((500, 250), 12, 10), "music": ((200, 100), 6, 3)}
"""Hidden sizes, epochs of each layer, epochs of fine-tuning with all labels."""
PLAIN = {"dropout": 0.0, "input_dropout": 0.0, "alpha": 3e-5}
FEW = PLAIN | {"max_iter": 50, "batch_size": 20, "learning_rate_init": 0.1, "pretrained_lr_factor": 0.1}
ROWS, WIDTHS, UPDATES = (2_000, 10_000, 50_000), (250, 500, 1000), 6_000


def digits():
    """Return training rows and labels, and test rows and labels."""
    X, y = mnist()
    return X[:N_FIT], y[:N_FIT], *mnist("test")


def music():
    """Return the frames of four sets, labelled by set: all for training, 4,000 of each for testing."""
    parts = {0: ([], []), 2: ([], [])}
    for label, name in enumerate(SETS):
        data = np.load(Path(os.environ["DEEPBELIEF_DATA"]) / "pianorolls" / f"{name}.npz")
        split = np.repeat(data["split"], np.diff(data["offsets"]))
        for part, (frames, labels) in parts.items():
            rows = data["roll"][split == part]
            if part == 2:
                rows = rows[np.sort(np.random.default_rng(0).permutation(len(rows))[:4_000])]
            frames.append(rows.astype(np.float32))
            labels.append(np.full(len(rows), label))
    return tuple(np.concatenate(each) for part in parts.values() for each in part)


def balanced(y, n_labels, seed):
    """Return the rows of a class-balanced draw."""
    rng, classes = np.random.default_rng(seed), np.unique(y)
    return np.concatenate([rng.permutation(np.flatnonzero(y == k))[: n_labels // len(classes)] for k in classes])


def percent(clf, X, y):
    return round(100 * (1 - clf.score(X, y)), 3)


def judged(dbn, data, draw, seed, epochs=None):
    """Return the errors of a stack; with `epochs` also those after fine-tuning with all labels."""
    X, y, X_test, y_test = data
    top = dbn.transform(X_test)
    few = DBNClassifier(pretrained=dbn.stack_, random_state=seed, **FEW).fit(X[draw], y[draw])
    linear = LogisticRegression(C=1.0, max_iter=500).fit(dbn.transform(X[draw]), y[draw])
    told = {
        "squared_error_per_row": float(np.square(dbn.inverse_transform(top) - X_test).sum(axis=1).mean()),
        "error_1000_labels": percent(few, X_test, y_test),
        "error_1000_labels_logistic_regression": percent(linear, top, y_test),
    }
    if epochs:
        settings = PLAIN | {"max_iter": epochs, "batch_size": BATCH, "random_state": seed}
        told["error_all_labels"] = percent(DBNClassifier(pretrained=dbn.stack_, **settings).fit(X, y), X_test, y_test)
    return told


def pretrained(X, sizes, n_passes, n_iter, seed):
    began = time.perf_counter()
    rbm = RBM(n_iter=n_iter, batch_size=BATCH)
    return DBN(sizes, rbm=rbm, n_passes=n_passes, random_state=seed).fit(X), time.perf_counter() - began


def keep(name, key, result):
    add("passes", name, key, value=result)
    print(name, key, json.dumps(result), flush=True)


def passes(name, seeds):
    data = digits() if name == "mnist" else music()
    sizes, epochs, tuning = PASSES[name]
    for seed in seeds:
        draw = balanced(data[1], N_LABELS, seed)
        for n_passes in (1, 2, 3):
            dbn, seconds = pretrained(data[0], sizes, n_passes, epochs // n_passes, seed)
            result = {"seconds_pretraining": seconds, **judged(dbn, data, draw, seed, tuning)}
            keep(name, f"{n_passes} x {epochs // n_passes}, seed {seed}", result)


def sizes(seeds):
    X, y, *test = digits()
    for seed in seeds:
        draw = balanced(y[: ROWS[0]], N_LABELS, seed)  # within the fewest rows
        for n_rows in ROWS:
            for width in WIDTHS:
                n_iter = UPDATES * BATCH // n_rows
                dbn, seconds = pretrained(X[:n_rows], (width, width // 2), 1, n_iter, seed)
                result = {"seconds_pretraining": seconds, **judged(dbn, (X, y, *test), draw, seed)}
                keep("sizes", f"{n_rows} rows, {width}-{width // 2}, seed {seed}", result)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["mnist", "music", "sizes"])
    parser.add_argument("--seeds")
    asked = parser.parse_args()
    of_sizes = asked.what == "sizes"
    chosen = [int(seed) for seed in (asked.seeds or ("0,1,2" if of_sizes else "0,1,2,3,4")).split(",")]
    if of_sizes:
        sizes(chosen)
    else:
        passes(asked.what, chosen)

"""MNIST with few labels: pretraining on all 60,000 rows, fine-tuning on class-balanced draws, mean of 10 draws.

    python benchmarks/few_labels.py [--labels 1000,3000] [--draws 10]

Settings are fixed once for all draws and sizes; they were chosen on the last 10,000 training rows with draws from the
first 50,000. Beside it, on the same draws: the same network from Glorot weights, and logistic regression on pixels
and on the pretrained features.
"""

import argparse
import time

import numpy as np
from common import mnist, write
from mnist import start_layers
from sklearn.linear_model import LogisticRegression

from deepbelief import DBN, RBM, DBNClassifier
from deepbelief.backends import get_backend
from deepbelief.finetuning import FineTuneSettings, Labelled, finetune
from deepbelief.losses import SoftmaxNLL
from deepbelief.sources import as_source

SIZES = (2000,)
LAYER = {"n_iter": 12, "learning_rate": 0.1, "schedule": "linear", "batch_size": 100, "sparsity_target": 0.05}
FINETUNE = {"learning_rate_init": 0.1, "schedule": "linear", "batch_size": 20, "max_iter": 20, "alpha": 0.0}
PRETRAINED_LR_FACTOR = 0.1


def balanced(y, n_labels, seed):
    """Return the rows of a class-balanced draw."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(np.flatnonzero(y == k))[: n_labels // 10] for k in range(10)])


def without_pretraining(X, y, X_test, y_test, seed):
    """Return the error of the same network from Glorot weights, all layers at the full rate."""
    from mnist import errors_of, head_of

    layers = start_layers("none", {"sizes": SIZES}, X, seed)
    tuned = finetune(
        layers, head_of(layers), SoftmaxNLL(), Labelled(as_source(X), y), settings=FineTuneSettings(**FINETUNE),
        bk=get_backend(), seed=seed,
    )  # fmt: skip
    return errors_of(layers, tuned.params, X_test, y_test) / len(y_test)


def one_draw(stack, features, X, y, X_test, y_test, n_labels, seed):
    """Return the test errors of all arms on one draw."""
    rows = balanced(y, n_labels, seed)
    clf = DBNClassifier(pretrained=stack, pretrained_lr_factor=PRETRAINED_LR_FACTOR, random_state=seed, **FINETUNE)
    clf.fit(X[rows], y[rows])
    pixels = LogisticRegression(C=0.1, max_iter=200).fit(X[rows], y[rows])
    hidden = LogisticRegression(C=1.0, max_iter=200).fit(features[0][rows], y[rows])
    return {
        "pretrained": 1 - clf.score(X_test, y_test),
        "no pretraining": without_pretraining(X[rows], y[rows], X_test, y_test, seed),
        "logistic regression on pixels": 1 - pixels.score(X_test, y_test),
        "logistic regression on features": 1 - hidden.score(features[1], y_test),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", default="1000,3000")
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args()
    X, y = mnist()
    X_test, y_test = mnist("test")
    began = time.perf_counter()
    dbn = DBN(SIZES, rbm=RBM(**LAYER), random_state=0).fit(X)
    seconds = time.perf_counter() - began
    print(f"pretraining {dbn.stack_}: {seconds:.0f} s")
    features = dbn.transform(X), dbn.transform(X_test)
    results = {}
    for n_labels in map(int, options.labels.split(",")):
        draws = [one_draw(dbn.stack_, features, X, y, X_test, y_test, n_labels, seed) for seed in range(options.draws)]
        results[str(n_labels)] = {arm: [draw[arm] for draw in draws] for arm in draws[0]}
        for arm, errors in results[str(n_labels)].items():
            error, spread = 100 * np.mean(errors), 100 * np.std(errors, ddof=1) / np.sqrt(len(errors))
            print(f"{n_labels:5} labels  {arm:32} {error:6.2f} % (s.e. {spread:.2f})", flush=True)
    settings = {"sizes": SIZES, "rbm": LAYER, "finetune": FINETUNE, "pretrained_lr_factor": PRETRAINED_LR_FACTOR}
    write("few_labels", {"settings": settings, "seconds_pretraining": seconds, "test_error_of_each_draw": results})


if __name__ == "__main__":
    main()

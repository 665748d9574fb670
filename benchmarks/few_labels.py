"""MNIST with few labels: pretraining on all 60,000 rows, fine-tuning on class-balanced draws, mean of 10 draws.

    python benchmarks/few_labels.py [--recipe denoising|sparse] [--labels 100,600,1000,3000] [--draws 10]
    python benchmarks/few_labels.py --defaults [--data fashion-mnist] [--self-training] [--labels ...] [--draws 10]

Pretraining sees all training rows and no label, once for all draws. Settings are fixed once for all draws and sizes;
they were chosen with --validate, which draws from the first 50,000 training rows and evaluates the last 10,000. After
denoising a run has as many updates whatever the number of labels. `sparse` also has, on the same draws, the same
network from Glorot weights, and logistic regression on pixels and on the pretrained features. With --stack FILE the
pretrained stack is kept there, and taken from there. Results are added to few_labels.json after each size.

With --defaults no setting is given: `DBNClassifier(random_state=0)` is fitted on all rows, labels other than those of
the first draw being -1, and its pretrained layers serve the other draws of all sizes: pretraining sees no label.
Beside it are two of scikit-learn's classifiers on the labelled rows, and with --self-training a third that also labels
the first 10,000 training rows by itself: `SelfTrainingClassifier(LogisticRegression())`.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from common import HERE, environment, images
from mnist import errors_of, head_of, start_layers
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.semi_supervised import SelfTrainingClassifier

from deepbelief import DBN, RBM, DBNClassifier, load, save
from deepbelief.backends import get_backend
from deepbelief.finetuning import FineTuneSettings, TrainingSet, finetune
from deepbelief.losses import SoftmaxNLL
from deepbelief.sources import as_source
from deepbelief.training import Run

N_FIT, BATCH_SIZE = 50_000, 20
N_UNLABELLED = 10_000  # rows that self-training labels: with all of them each draw takes minutes
SPARSE = {"n_iter": 12, "learning_rate": 0.1, "schedule": "linear", "batch_size": 100, "sparsity_target": 0.05}
DENOISE = {"n_iter": 30, "learning_rate": 0.15, "schedule": "constant", "batch_size": 100}
FINETUNE = {"learning_rate_init": 0.1, "schedule": "linear", "batch_size": BATCH_SIZE, "alpha": 0.0}
RECIPES = {
    "sparse": {
        "sizes": (2000,),
        "dbn": {},
        "rbm": SPARSE,
        "finetune": FINETUNE | {"pretrained_lr_factor": 0.1},
        "epochs": 20,  # whatever the number of labels
    },
    "denoising": {
        "sizes": (500, 500, 500),
        "dbn": {"pretraining": "denoising", "corruption_level": 0.25},
        "rbm": DENOISE,
        "finetune": FINETUNE | {"dropout": 0.5, "input_dropout": 0.2},
        "updates": 5000,
    },
}


def balanced(y, n_labels, seed):
    """Return the rows of a class-balanced draw."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(np.flatnonzero(y == k))[: n_labels // 10] for k in range(10)])


def settings_of(recipe, n_labels):
    """Return the settings of fine-tuning for a number of labels."""
    epochs = recipe.get("epochs") or max(1, recipe["updates"] * BATCH_SIZE // n_labels)
    return recipe["finetune"] | {"max_iter": epochs}


def without_pretraining(recipe, settings, X, y, judged, seed):
    """Return the error of the same network from Glorot weights, all layers at the full rate."""
    layers = start_layers("none", recipe, X, seed)
    settings = FineTuneSettings(**{k: v for k, v in settings.items() if k != "pretrained_lr_factor"})
    tuned = finetune(
        layers, head_of(layers), SoftmaxNLL(), TrainingSet(as_source(X), y), settings, Run(get_backend(), seed)
    )
    return errors_of(layers, tuned.params, *judged) / len(judged[1])


def one_draw(recipe, dbn, beside, X, y, judged, n_labels, seed):
    """Return the errors of all arms on one draw."""
    rows = balanced(y, n_labels, seed)
    X, y = X[rows], y[rows]
    settings = settings_of(recipe, n_labels)
    clf = DBNClassifier(pretrained=dbn.stack_, random_state=seed, **settings).fit(X, y)
    errors = {"pretrained": 1 - clf.score(*judged)}
    if beside:
        pixels = LogisticRegression(C=0.1, max_iter=200).fit(X, y)
        hidden = LogisticRegression(C=1.0, max_iter=200).fit(dbn.transform(X), y)
        errors["no pretraining"] = without_pretraining(recipe, settings, X, y, judged, seed)
        errors["logistic regression on pixels"] = 1 - pixels.score(*judged)
        errors["logistic regression on features"] = 1 - hidden.score(dbn.transform(judged[0]), judged[1])
    return errors


def by_default(X, y, n_labels, path):
    """Return the layers that `DBNClassifier` pretrains by default, and the seconds of its whole fit."""
    if path is not None and path.exists():
        return load(path).pretrained_stack_, None
    labels = np.full(len(y), -1)
    rows = balanced(y, n_labels, 0)
    labels[rows] = y[rows]
    began = time.perf_counter()
    clf = DBNClassifier(random_state=0).fit(X, labels)
    seconds = time.perf_counter() - began
    print(f"DBNClassifier() on {n_labels} labels: {seconds:.0f} s, {clf.resolved_}", flush=True)
    if path is not None:
        save(clf, path)
    return clf.pretrained_stack_, seconds


def self_trained(X, y, rows):
    """Return a classifier that starts from labelled rows and labels others by itself."""
    some = np.concatenate([rows, np.setdiff1d(np.arange(N_UNLABELLED), rows)])
    labels = np.where(np.isin(some, rows), y[some], -1)
    return SelfTrainingClassifier(LogisticRegression(max_iter=1000)).fit(X[some], labels)


def default_draw(stack, X, y, judged, n_labels, seed, *, self_training):
    """Return the errors of default settings on one draw, beside classifiers of scikit-learn."""
    rows = balanced(y, n_labels, seed)
    more = {"SelfTrainingClassifier": 1 - self_trained(X, y, rows).score(*judged)} if self_training else {}
    X, y = X[rows], y[rows]
    arms = {
        "DBNClassifier()": DBNClassifier(pretrained=stack, random_state=seed),
        "LogisticRegression()": LogisticRegression(max_iter=1000),
        "MLPClassifier()": MLPClassifier(random_state=seed, max_iter=500),
    }
    return {arm: 1 - model.fit(X, y).score(*judged) for arm, model in arms.items()} | more


def pretrained(recipe, X, path):
    """Return the stack and the seconds it took; one that is kept in a file took none."""
    if path is not None and path.exists():
        return load(path), None
    began = time.perf_counter()
    dbn = DBN(recipe["sizes"], rbm=RBM(**recipe["rbm"]), random_state=0, **recipe["dbn"]).fit(X)
    seconds = time.perf_counter() - began
    print(f"pretraining {dbn.stack_}: {seconds:.0f} s", flush=True)
    if path is not None:
        save(dbn, path)
    return dbn, seconds


def store(name, recipe, n_labels, draws, seconds):
    """Add the errors of one size to few_labels.json, replacing older ones."""
    path = HERE / "few_labels.json"
    stored = json.loads(path.read_text())
    found = stored["recipes"].setdefault(name, {"test_error_of_each_draw": {}})
    found["recipe"], found["environment"] = recipe, environment()
    found["seconds_pretraining"] = found.get("seconds_pretraining") if seconds is None else seconds
    found["test_error_of_each_draw"][str(n_labels)] = {arm: [draw[arm] for draw in draws] for arm in draws[0]}
    path.write_text(json.dumps(stored, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", choices=RECIPES, default="denoising")
    parser.add_argument("--labels", default="100,600,1000,3000")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--stack", type=Path)
    parser.add_argument("--defaults", action="store_true", help="give no setting")
    parser.add_argument("--self-training", action="store_true", help="with --defaults, beside them")
    parser.add_argument("--data", default="mnist", help="images, with --defaults")
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--set", type=json.loads, default={}, help="settings to try, as JSON; with --validate")
    options = parser.parse_args()
    X, y = images(options.data if options.defaults else "mnist")
    judged = images(options.data if options.defaults else "mnist", "test")
    sizes = [int(n_labels) for n_labels in options.labels.split(",")]
    if options.defaults:
        stack, seconds = by_default(X, y, sizes[0], options.stack)
        for n_labels in sizes:
            draws = [
                default_draw(stack, X, y, judged, n_labels, seed, self_training=options.self_training)
                for seed in range(options.draws)
            ]
            store(f"defaults, {options.data}", "no setting", n_labels, draws, seconds)
            report(n_labels, draws)
        return
    recipe = RECIPES[options.recipe]
    dbn, seconds = pretrained(recipe, X, options.stack)
    if options.validate:
        judged, X, y = (X[N_FIT:], y[N_FIT:]), X[:N_FIT], y[:N_FIT]
        recipe = recipe | {k: v for k, v in options.set.items() if k in recipe}
        recipe["finetune"] = recipe["finetune"] | {k: v for k, v in options.set.items() if k not in recipe}
    for n_labels in sizes:
        beside = options.recipe == "sparse" and not options.validate
        draws = [one_draw(recipe, dbn, beside, X, y, judged, n_labels, seed) for seed in range(options.draws)]
        if not options.validate:
            store(options.recipe, recipe, n_labels, draws, seconds)
        report(n_labels, draws)


def report(n_labels, draws):
    """Print the mean error of each arm, and its standard error over draws."""
    for arm in draws[0]:
        errors = [100 * draw[arm] for draw in draws]
        spread = np.std(errors, ddof=min(1, len(draws) - 1)) / np.sqrt(len(draws))
        print(f"{n_labels:5} labels  {arm:32} {np.mean(errors):6.2f} % (s.e. {spread:.2f})", flush=True)


if __name__ == "__main__":
    main()

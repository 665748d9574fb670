"""MNIST test error by the protocol of a published number, each arm and seed in one process.

    python benchmarks/mnist.py [--net big|small] [--dropout] [--arm pretrained|none|mlp] [--seeds 0,1,2]

Pretrain on all 60,000 training rows without labels; fine-tune on the first 50,000 and choose the epoch on the last
10,000 under a fixed schedule; fine-tune again from the same stack on all 60,000 for that many epochs; evaluate the test
rows once. The arm without pretraining starts from Glorot weights; `mlp` is scikit-learn's MLPClassifier with its
default solver, on the same protocol. With --dropout units are dropped in fine-tuning, with separate recipes. Results
are added to mnist.json.
"""

import argparse
import time
from itertools import pairwise

import numpy as np
from common import add, mnist, wilson
from sklearn.neural_network import MLPClassifier

from deepbelief import DBN, RBM
from deepbelief.activations import get_activation
from deepbelief.backends import get_backend
from deepbelief.finetuning import FineTuneSettings, TrainingSet, finetune, outputs
from deepbelief.gradients import Denoising
from deepbelief.losses import SoftmaxNLL
from deepbelief.network import Layer, Network, layers_from_stack
from deepbelief.seeds import host_rng
from deepbelief.sources import as_source
from deepbelief.training import Run

N_FIT = 50_000
LAYER = {"learning_rate": 0.1, "schedule": "linear", "batch_size": 100}
LONG = LAYER | {"schedule": "constant", "n_iter": 50}
# The wide layer starts with units that are off seven times in eight; the sparsity cost is switched off.
WIDE = LONG | {"n_iter": 40, "sparsity_target": 0.12, "sparsity_cost": 0.0}
FINETUNE = {"learning_rate_init": 0.3, "schedule": "linear", "batch_size": 100, "max_iter": 30, "alpha": 3e-5}
RECIPES = {
    "big": {
        "sizes": (500, 500, 2000),
        "rbm": [LONG, LONG, WIDE],
        "finetune": FINETUNE | {"max_iter": 20, "alpha": 5e-6},
        "mlp_epochs": 15,
    },
    "small": {
        "sizes": (500, 250),
        "rbm": [LAYER | {"n_iter": 30}, LAYER | {"n_iter": 20}],
        "finetune": FINETUNE,
        "mlp_epochs": 20,
    },
}
# The lower layers as denoising autoencoders, the wide one as an RBM.
DENOISE = LONG | {"learning_rate": 0.15, "n_iter": 25, "gradient": Denoising("masking", 0.25)}
DROPOUT_RECIPES = {
    "big": {
        "sizes": (500, 500, 2000),
        "rbm": [DENOISE, DENOISE, WIDE | {"n_iter": 15}],
        "finetune": FINETUNE
        | {
            "learning_rate_init": 0.5,
            "max_iter": 36,
            "alpha": 1e-6,
            "dropout": [0.25, 0.25, 0.4],
            "input_dropout": 0.1,
        },
    },
    "small": {
        "sizes": (500, 250),
        "rbm": [DENOISE, DENOISE],
        "finetune": FINETUNE | {"max_iter": 40, "alpha": 5e-6, "dropout": [0.2, 0.1], "input_dropout": 0.1},
    },
}


def start_layers(arm, recipe, X, seed, bk):
    """Return the hidden layers to fine-tune: pretrained on X, or drawn at random."""
    if arm == "pretrained":
        rbm = [RBM(**settings) for settings in recipe["rbm"]]
        dbn = DBN(recipe["sizes"], rbm=rbm, random_state=seed, backend=bk, **recipe.get("dbn", {})).fit(X)
        return layers_from_stack(dbn.stack_)
    sizes, layers = (X.shape[1], *recipe["sizes"]), []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        # Glorot & Bengio (2010), four times as wide for the logistic function.
        limit = 4 * np.sqrt(6 / (n_in + n_out))
        W = host_rng(seed, "glorot", i).uniform(-limit, limit, (n_in, n_out)).astype(np.float32)
        layers.append(Layer(W, np.zeros(n_out, np.float32), get_activation("sigmoid")))
    return layers


def head_of(layers):
    return np.zeros((layers[-1].W.shape[1], 10), np.float32), np.zeros(10, np.float32)


def errors_of(layers, params, X, y):
    """Count wrong predictions."""
    tuned = [Layer(W, b, old.activation) for W, b, old in zip(params[:-2:2], params[1:-2:2], layers, strict=True)]
    network = Network(tuned, params[-2], params[-1], SoftmaxNLL(), get_backend())
    return sum(int((out.argmax(axis=1) != y[a:b]).sum()) for a, b, _, out in outputs(network, as_source(X)))


def network_arm(arm, recipe, X, y, X_test, y_test, seed, bk):
    began = time.perf_counter()
    layers = start_layers(arm, recipe, X, seed, bk)
    pretrained_at = time.perf_counter()
    max_iter = recipe["finetune"]["max_iter"]
    settings = FineTuneSettings(**recipe["finetune"], n_iter_no_change=max_iter)
    fit, held = (TrainingSet(as_source(X[s]), y[s]) for s in (slice(0, N_FIT), slice(N_FIT, None)))
    first = finetune(layers, head_of(layers), SoftmaxNLL(), fit, settings, Run(bk, seed), validation=held)
    scores = [record["validation_score"] for record in first.history]
    epoch = int(np.argmax(scores)) + 1
    whole = TrainingSet(as_source(X), y)
    second = finetune(layers, head_of(layers), SoftmaxNLL(), whole, settings, Run(bk, seed), n_epochs=epoch)
    wrong = errors_of(layers, second.params, X_test, y_test)
    return {
        "test_errors": wrong, "epoch": epoch, "validation_error": 1 - max(scores),
        "seconds_pretraining": pretrained_at - began, "seconds": time.perf_counter() - began,
    }  # fmt: skip


def mlp_arm(recipe, X, y, X_test, y_test, seed):
    began = time.perf_counter()

    def fitted(X, y, n_epochs, X_held=None, y_held=None):
        model, scores = MLPClassifier(recipe["sizes"], random_state=seed), []
        for _ in range(n_epochs):
            model.partial_fit(X, y, classes=np.arange(10))
            if X_held is not None:
                scores.append(model.score(X_held, y_held))
        return model, scores

    _, scores = fitted(X[:N_FIT], y[:N_FIT], recipe["mlp_epochs"], X[N_FIT:], y[N_FIT:])
    epoch = int(np.argmax(scores)) + 1
    model, _ = fitted(X, y, epoch)
    wrong = int((model.predict(X_test) != y_test).sum())
    seconds = time.perf_counter() - began
    return {"test_errors": wrong, "epoch": epoch, "validation_error": 1 - max(scores), "seconds": seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", choices=RECIPES, default="small")
    parser.add_argument("--dropout", action="store_true")
    parser.add_argument("--arm", choices=("pretrained", "none", "mlp"), default="pretrained")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--backend", default="numpy")
    options = parser.parse_args()
    bk = get_backend(options.backend)
    X, y = mnist()
    X_test, y_test = mnist("test")
    recipe, errors = (DROPOUT_RECIPES if options.dropout else RECIPES)[options.net], []
    title = "-".join(map(str, (784, *recipe["sizes"], 10))) + " dropout" * options.dropout
    title += "" if bk.name == "numpy" else f" {bk.name}"
    for seed in map(int, options.seeds.split(",")):
        if options.arm == "mlp":
            result = mlp_arm(recipe, X, y, X_test, y_test, seed)
        else:
            result = network_arm(options.arm, recipe, X, y, X_test, y_test, seed, bk)
        low, high = wilson(result["test_errors"], len(y_test))
        errors.append(result["test_errors"] / len(y_test))
        add("mnist", "runs", f"{title} {options.arm} seed {seed}", value={"recipe": recipe, **result})
        print(
            f"{title} {options.arm} seed {seed}: {100 * errors[-1]:.2f} % (95 % interval {100 * low:.2f} to "
            f"{100 * high:.2f}), epoch {result['epoch']}, {result['seconds']:.0f} s",
            flush=True,
        )
    print(f"mean {100 * np.mean(errors):.2f} %, s.d. {100 * np.std(errors, ddof=min(1, len(errors) - 1)):.2f}")


if __name__ == "__main__":
    main()

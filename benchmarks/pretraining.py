"""MNIST with three hidden layers: no pretraining, RBMs or denoising autoencoders, with all labels and with 1,000.

    python benchmarks/pretraining.py [--arms none,rbm,denoising] [--seeds 0,1,2,3,4] [--validate]

The first 50,000 training rows are used for training, the last 10,000 to choose the epoch (all labels), and the test
rows are evaluated once. With 1,000 labels the same stack, pretrained on the 50,000 rows without labels, is fine-tuned
on a class-balanced draw for a fixed number of epochs. The arm without pretraining starts from Glorot weights and gets
the computation that it saves as further epochs of fine-tuning. Settings were chosen with --validate, which evaluates
the last 10,000 rows only. Results are added to pretraining.json.
"""

import argparse
import json
import time

import numpy as np
from common import add, mnist
from few_labels import balanced
from mnist import errors_of, head_of

from deepbelief import DBN, RBM
from deepbelief.backends import get_backend
from deepbelief.finetuning import FineTuneSettings, TrainingSet, finetune
from deepbelief.losses import SoftmaxNLL
from deepbelief.network import layers_from_stack
from deepbelief.sources import as_source
from deepbelief.training import Run

N_FIT, N_LABELS = 50_000, 1_000
SIZES = (500, 500, 500)
DROPOUT = {"dropout": 0.2, "input_dropout": 0.1}
FINETUNE = {"learning_rate_init": 0.3, "schedule": "linear", "batch_size": 100, "max_iter": 30, "alpha": 5e-6} | DROPOUT
MORE_DROPOUT = {"dropout": 0.5, "input_dropout": 0.2}
FEW = {"learning_rate_init": 0.1, "schedule": "linear", "batch_size": 20, "max_iter": 100, "alpha": 0.0} | MORE_DROPOUT
LAYER = {"schedule": "constant", "batch_size": 100}
# Pretraining takes some 180 seconds on one core, an epoch of fine-tuning 5.3 with all labels and 0.11 with 1,000.
ARMS = {
    "none": {"pretraining": {}, "finetune": FINETUNE | {"max_iter": 64}, "few": FEW | {"max_iter": 1750}},
    "rbm": {
        "pretraining": {"rbm": LAYER | {"learning_rate": 0.1, "n_iter": 35}},
        "finetune": FINETUNE,
        "few": FEW,
    },
    "denoising": {
        "pretraining": {
            "rbm": LAYER | {"learning_rate": 0.15, "n_iter": 30},
            "corruption": "masking",
            "corruption_level": 0.25,
        },
        "finetune": FINETUNE,
        "few": FEW,
    },
}


def pretrained(arm, settings, X, seed):
    """Return the stack that the arm starts from."""
    settings = dict(settings)
    rbm = RBM(**settings.pop("rbm", {}))
    return DBN(SIZES, rbm=rbm, pretraining=arm, random_state=seed, **settings).fit(X).stack_


def tuned(stack, settings, rows, seed, judged, held=None):
    """Fine-tune, with the epoch chosen on held-out rows if there are any, and count errors on the evaluated rows."""
    bk, layers = get_backend(), layers_from_stack(stack)
    settings = FineTuneSettings(**settings, n_iter_no_change=settings["max_iter"])
    began = time.perf_counter()
    result = finetune(
        layers, head_of(layers), SoftmaxNLL(), TrainingSet(as_source(rows[0]), rows[1]), settings,
        Run(bk, seed), validation=None if held is None else TrainingSet(as_source(held[0]), held[1]),
    )  # fmt: skip
    seconds = time.perf_counter() - began
    scores = [] if held is None else [record["validation_score"] for record in result.history]
    chosen = {"epoch": int(np.argmax(scores)) + 1, "validation_error": 1 - max(scores)} if scores else {}
    return {"errors": errors_of(layers, result.params, *judged), "seconds": seconds, **chosen}


def run(arm, recipe, fit, held, judged, seed):
    """Pretrain once; fine-tune with all labels and with few."""
    began = time.perf_counter()
    stack = pretrained(arm, recipe["pretraining"], fit[0], seed)
    seconds = time.perf_counter() - began
    few = balanced(fit[1], N_LABELS, seed)
    return {
        "seconds_pretraining": seconds,
        "few": tuned(stack, recipe["few"], (fit[0][few], fit[1][few]), seed, judged),
        "all": tuned(stack, recipe["finetune"], fit, seed, judged, held),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arms", default="none,rbm,denoising")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--validate", action="store_true")
    options = parser.parse_args()
    X, y = mnist()
    fit, held = (X[:N_FIT], y[:N_FIT]), (X[N_FIT:], y[N_FIT:])
    judged = held if options.validate else mnist("test")
    for arm in options.arms.split(","):
        errors = {"few": [], "all": []}
        for seed in map(int, options.seeds.split(",")):
            result = run(arm, ARMS[arm], fit, held, judged, seed)
            if not options.validate:
                told = {"sizes": SIZES, "recipe": ARMS[arm], **result}
                add("pretraining", "runs", f"{arm} seed {seed}", value=told)
            print(arm, "seed", seed, json.dumps(result), flush=True)
            for labels, counts in errors.items():
                counts.append(100 * result[labels]["errors"] / len(judged[1]))
        for labels, percent in errors.items():
            spread = np.std(percent, ddof=min(1, len(percent) - 1))
            print(f"{arm}, {labels} labels: {np.mean(percent):.2f} % (s.d. {spread:.2f})", flush=True)


if __name__ == "__main__":
    main()

"""Make v1.h5, once: the archived file of format version 1, which every later release must read."""

import math
from pathlib import Path

import numpy as np

from deepbelief.hdf5 import ModelFile, write
from deepbelief.stack import Stack, Weights


def _layer(n_visible: int, n_hidden: int, visible: str, hidden: str, **more: np.ndarray) -> Weights:
    W = (np.arange(n_visible * n_hidden, dtype=np.float32).reshape(n_visible, n_hidden) - 7) / 16
    vbias = np.arange(n_visible, dtype=np.float32) / 8
    hbias = -np.arange(n_hidden, dtype=np.float32) / 4
    return Weights(W, vbias, hbias, visible, hidden, **more)


def model() -> ModelFile:
    """Return what v1.h5 holds: something of everything that the format can say."""
    scaling = {"mean": np.arange(6) / 4, "scale": np.arange(6) / 2 + 1, "visible_mean": np.full(6, 0.25)}
    lower = _layer(6, 4, "gaussian", "rectified", **scaling)
    upper = _layer(4, 3, "gaussian", "bernoulli")
    return ModelFile(
        "DBNClassifier",
        {
            "hidden_layer_sizes": [4, 3],
            "rbm": {"kind": "RBM", "params": {"learning_rate": "auto", "n_iter": 3}},
            "class_weight": {0: 1.0, 1: 2.5},
            "alpha": 1e-05,
            "warm_start": False,
            "random_state": None,
        },
        stack=Stack((lower, upper), tuned=True, metadata={"$key": [1, "ä", None]}),
        pretrained=Stack((_layer(6, 2, "softmax:4,2", "bernoulli"),)),
        arrays={
            "classes": np.array(["no", "ünsicher", "yes"]),
            "feature_names_in": np.array(["a", "日本"], dtype=object),
            "head_W": np.arange(9, dtype=np.float64).reshape(3, 3) / 7,
            "mask": np.array([True, False]),
            "counts": np.array([[1, 2], [3, 4]], dtype=np.uint16),
            "empty": np.empty((0, 3), dtype=np.float32),
        },
        attributes={"n_features_in": 6, "best": -math.inf},
        history=[{"phase": "finetune", "epoch": 1, "loss": math.nan, "validation_score": None}],
        metadata={"note": "the first format"},
    )


if __name__ == "__main__":
    target = Path(__file__).with_name("v1.h5")
    if target.exists():
        raise SystemExit(f"{target} is an archive and is never written again")
    write(target, model())

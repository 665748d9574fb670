"""Deep belief networks: restricted Boltzmann machines and stacked autoencoders, pretrained layer by layer.

The public names are imported on first use, so that ``import deepbelief`` costs nothing.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_NAMES = {
    "checkpoints": ("CheckpointFile",),
    "diagnostics": ("gradient_check", "learning_rate_sweep", "overfit_check"),
    "estimators.anomaly": ("AnomalyDetector",),
    "estimators.autoencoder": ("DeepAutoencoder",),
    "estimators.classifier": ("DBNClassifier",),
    "estimators.dbn": ("DBN",),
    "estimators.persistence": ("load", "save"),
    "estimators.rbm": ("RBM",),
    "estimators.rbm_classifier": ("RBMClassifier",),
    "estimators.recurrent_rbm": ("RecurrentRBM",),
    "estimators.regressor": ("DBNRegressor",),
    "evaluation": ("evaluate",),
    "health": ("rbm_health",),
    "sizing": ("check_layer_sizes", "suggest_layer_sizes"),
    "sources.ratings": ("Ratings",),
    "stack": ("Stack", "Weights"),
}
_HOMES = {name: f"deepbelief.{module}" for module, names in _NAMES.items() for name in names}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'deepbelief' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])

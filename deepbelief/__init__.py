"""Deep belief networks: restricted Boltzmann machines and stacked autoencoders, pretrained layer by layer.

The public names are imported on first use, so that ``import deepbelief`` costs nothing.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "AnomalyDetector": "deepbelief.estimators",
    "RBM": "deepbelief.estimators",
    "RBMClassifier": "deepbelief.estimators",
    "DBN": "deepbelief.estimators",
    "DBNClassifier": "deepbelief.estimators",
    "DBNRegressor": "deepbelief.estimators",
    "DeepAutoencoder": "deepbelief.estimators",
    "CheckpointFile": "deepbelief.checkpoints",
    "Ratings": "deepbelief.sources.ratings",
    "RecurrentRBM": "deepbelief.estimators",
    "save": "deepbelief.estimators",
    "load": "deepbelief.estimators",
    "Stack": "deepbelief.stack",
    "Weights": "deepbelief.stack",
    "suggest_layer_sizes": "deepbelief.sizing",
    "check_layer_sizes": "deepbelief.sizing",
    "evaluate": "deepbelief.evaluation",
    "rbm_health": "deepbelief.health",
    "gradient_check": "deepbelief.diagnostics",
    "overfit_check": "deepbelief.diagnostics",
    "learning_rate_sweep": "deepbelief.diagnostics",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'deepbelief' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])

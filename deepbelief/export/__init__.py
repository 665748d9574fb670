"""Exports of fitted models: PyTorch, ONNX, scikit-learn and plain arrays."""

from deepbelief.estimators.feedforward import FeedForward, feedforward
from deepbelief.export.arrays import to_npz
from deepbelief.export.onnx_graph import to_onnx
from deepbelief.export.sklearn_models import from_bernoulli_rbm, from_mlp, to_bernoulli_rbm, to_mlp
from deepbelief.export.torch_modules import to_torch

__all__ = [
    "FeedForward",
    "feedforward",
    "from_bernoulli_rbm",
    "from_mlp",
    "to_bernoulli_rbm",
    "to_mlp",
    "to_npz",
    "to_onnx",
    "to_torch",
]

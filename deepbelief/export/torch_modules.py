"""Export to PyTorch modules."""

import importlib
from collections import OrderedDict
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from deepbelief.errors import Mention, MissingExtraError, SettingError
from deepbelief.estimators.feedforward import FeedForward, Part, feedforward
from deepbelief.typing import Estimator

TorchModule: TypeAlias = Any  # torch.nn.Module: PyTorch is an extra
MODULES = {
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "hard_tanh": "Hardtanh",
    "softsign": "Softsign",
    "relu": "ReLU",
    "identity": None,
}
OUTPUTS = ("auto", "logits")


def to_torch(model: Estimator, *, part: Part = "auto", output: str = "auto") -> TorchModule:
    """Return a fitted model as a `torch.nn.Sequential` of standard modules.

    All scaling is folded into the first layer's weights, so that the module takes rows in the units of the data. Its
    parameters are named ``linear0.weight``, ``linear0.bias``, ``linear1.weight`` ...; weights are transposed, as in
    `torch.nn.Linear`. The weights of a tied decoder are stored separately.

    Parameters
    ----------
    model : fitted DBNClassifier, DBNRegressor, DeepAutoencoder, DBN, RBM or Stack
    part : {"auto", "encoder", "decoder"}, default="auto"
        As in `deepbelief.export.feedforward`.
    output : {"auto", "logits"}, default="auto"
        ``"auto"`` gives the same output as the model. ``"logits"`` omits the last softmax or logistic function, as
        `torch.nn.CrossEntropyLoss` requires for further training.

    Returns
    -------
    torch.nn.Sequential
        In evaluation mode, with the dtype of the model's weights.

    Raises
    ------
    MissingExtraError
        If PyTorch is not installed.
    SettingError
        If the model, or one of its activations, has no equivalent.
    """
    if output not in OUTPUTS:
        raise SettingError(f"`output` must be one of {', '.join(OUTPUTS)}, got {output!r}")
    network = feedforward(model, part)
    try:
        torch: ModuleType = importlib.import_module("torch")
    except ImportError as error:
        raise MissingExtraError("to_torch needs PyTorch: pip install torch") from error
    modules: OrderedDict[str, TorchModule] = OrderedDict()
    for i, layer in enumerate(network.layers):
        modules[f"linear{i}"] = linear = torch.nn.Linear(*layer.W.shape)
        linear.weight.data = torch.from_numpy(np.array(layer.W.T, order="C"))
        linear.bias.data = torch.from_numpy(np.array(layer.bias))
        name = layer.activation.name
        if name not in MODULES:
            raise SettingError(
                f"activation {name!r} has no PyTorch module: export with ", Mention("part", "encoder"), ", or retrain"
            )
        if (module := MODULES[name]) is not None:
            modules[f"{name}{i}"] = getattr(torch.nn, module)()
    if output == "auto":
        _add_output(torch, network, modules)
    return torch.nn.Sequential(modules).eval()


def _add_output(torch: ModuleType, network: FeedForward, modules: OrderedDict[str, TorchModule]) -> None:
    """Append the modules that compute the model's output from the values of the last layer."""
    if network.groups:
        if len(network.groups) > 1:
            raise SettingError(
                f"a torch.nn.Sequential has one softmax, but the model has {len(network.groups)}: pass output='logits' "
                f"and apply a softmax to each of the groups of {', '.join(map(str, network.groups))} columns"
            )
        modules["softmax"] = torch.nn.Softmax(dim=1)
    elif network.logistic:
        modules["output"] = torch.nn.Sigmoid()
    if network.mean is None or network.scale is None:
        return
    scale, mean = np.broadcast_to(network.scale, network.n_outputs), np.broadcast_to(network.mean, network.n_outputs)
    if not network.groups and not network.logistic:  # linear outputs: folded into the last layer
        last = modules[f"linear{len(network.layers) - 1}"]
        factor = torch.from_numpy(np.array(scale, dtype=network.dtype))
        last.weight.data *= factor[:, None]
        last.bias.data = last.bias.data * factor + torch.from_numpy(np.array(mean, dtype=network.dtype))
        return
    modules["units"] = units = torch.nn.Linear(network.n_outputs, network.n_outputs)
    units.weight.data = torch.from_numpy(np.diag(scale).astype(network.dtype))
    units.bias.data = torch.from_numpy(np.array(mean, dtype=network.dtype))

"""Fitted models as plain feed-forward networks, from rows in the units of the data to the model's output."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from deepbelief.activations import ACTIVATIONS, get_activation
from deepbelief.backends import get_backend
from deepbelief.errors import SettingError
from deepbelief.estimators.autoencoder import DeepAutoencoder
from deepbelief.estimators.classifier import DBNClassifier
from deepbelief.estimators.dbn import DBN
from deepbelief.estimators.heads import Labels, Tasks
from deepbelief.estimators.rbm import RBM
from deepbelief.estimators.rbm_classifier import RBMClassifier
from deepbelief.estimators.regressor import DBNRegressor
from deepbelief.network import Layer, layers_from_stack
from deepbelief.stack import Stack, Weights
from deepbelief.typing import Array, Dtype, Estimator
from deepbelief.units import Unit

Part = Literal["auto", "encoder", "decoder"]
PARTS = ("auto", "encoder", "decoder")
REASONS = {
    "AnomalyDetector": "its score is a sum of free energies and errors",
    "RecurrentRBM": "its output depends on the frames before",
}


@dataclass(frozen=True, eq=False)
class FeedForward:
    """Network of dense layers, with all scaling folded in.

    Parameters
    ----------
    layers : tuple of Layer
        Layers from the rows upwards. The last one computes the input of the output function and has the identity as
        activation, unless the network ends in hidden units.
    logistic : bool
        Whether the model's output is the logistic function of the last layer's values.
    groups : tuple of int
        Number of values in each softmax of the output; empty if there is none.
    mean, scale : ndarray of shape (n_outputs,) or None
        The model returns ``output * scale + mean``; None: the output itself.
    classes : list of ndarray
        Class labels, one array per softmax; empty for other models.
    """

    layers: tuple[Layer, ...]
    logistic: bool = False
    groups: tuple[int, ...] = ()
    mean: Array | None = None
    scale: Array | None = None
    classes: tuple[Array, ...] = ()

    @property
    def output(self) -> str:
        """Name of the function that is applied to the last layer: none, softmax or sigmoid."""
        return "softmax" if self.groups else "sigmoid" if self.logistic else "none"

    @property
    def n_inputs(self) -> int:
        """Number of input columns."""
        return int(self.layers[0].W.shape[0])

    @property
    def n_outputs(self) -> int:
        """Number of output columns."""
        return int(self.layers[-1].W.shape[1])

    @property
    def dtype(self) -> Dtype:
        """Floating type of the weights."""
        return self.layers[0].W.dtype


def feedforward(model: Estimator, part: Part = "auto") -> FeedForward:
    """Return a fitted model as a feed-forward network.

    The network of a model with a schema takes the output of ``model.schema_.encode`` for a table.

    Parameters
    ----------
    model : fitted DBNClassifier, DBNRegressor, DeepAutoencoder, DBN, RBM or Stack
    part : {"auto", "encoder", "decoder"}, default="auto"
        ``"auto"`` gives the main output of the model: class probabilities, predictions, reconstructions, or for an
        `RBM` or `DBN` the hidden means. ``"encoder"`` is its `transform`, ``"decoder"`` its `inverse_transform`.

    Returns
    -------
    FeedForward

    Raises
    ------
    SettingError
        If the model is not a feed-forward network, is not fitted, or has no such part.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import RBM
    >>> X = (np.random.default_rng(0).random((50, 6)) < 0.5).astype(float)
    >>> feedforward(RBM(4, n_iter=2, random_state=0).fit(X)).n_outputs
    4
    """
    if part not in PARTS:
        raise SettingError(f"`part` must be one of {', '.join(PARTS)}, got {part!r}")
    kind = type(model).__name__
    if isinstance(model, RBMClassifier):
        raise SettingError(
            "an RBMClassifier computes class probabilities from free energies, which no stack of dense layers does: "
            "export the features of an RBM, or use DBNClassifier"
        )
    if isinstance(model, (RBM, DBN, Stack)):
        stack = _stack_of(model, kind)
        if part == "decoder":
            return _decoder_of(stack)
        for weights in stack:
            _check_mean(weights.hidden_unit, weights.n_hidden, "hidden")
        return FeedForward(_entering(layers_from_stack(stack, "auto"), stack.layers[0]))
    if not isinstance(model, (DBNClassifier, DBNRegressor, DeepAutoencoder)):
        reason = REASONS.get(kind, "it has no dense layers that map rows to an output")
        raise SettingError(f"`model` must be a feed-forward network to be exported as one, got {kind}: {reason}")
    if not hasattr(model, "coefs_"):
        raise SettingError(f"this {kind} is not fitted: call fit first")
    if isinstance(model, DeepAutoencoder):
        return _autoencoder(model, part)
    if part == "decoder":
        raise SettingError(f"a {kind} has no decoder: export a DeepAutoencoder or a DBN")
    layers = _entering(model._layers(), model.pretrained_stack_.layers[0])
    if part == "encoder":
        return FeedForward(layers)
    return _with_head(model, layers)


def _stack_of(model: Estimator, kind: str) -> Stack:
    if isinstance(model, Stack):
        return model
    if hasattr(model, "stack_"):
        return model.stack_  # type: ignore[no-any-return]
    if hasattr(model, "weights_"):
        return Stack((model.weights_,))
    raise SettingError(f"this {kind} is not fitted: call fit first")


def _entering(layers: Sequence[Layer], first: Weights) -> tuple[Layer, ...]:
    """Return layers, of which the first takes rows in the units of the data; computed in float64."""
    if first.mean is None or first.scale is None:
        return tuple(layers)
    below = layers[0]
    W = below.W.astype(np.float64) / first.scale.astype(np.float64)[:, None]
    bias = below.bias.astype(np.float64) - first.mean.astype(np.float64) @ W
    return (Layer(W.astype(below.W.dtype), bias.astype(below.bias.dtype), below.activation), *layers[1:])


def _decoder_of(stack: Stack) -> FeedForward:
    """Return the network that maps codes down a stack, by the means of the visible units."""
    if stack.tuned:
        raise SettingError(
            "a fine-tuned stack cannot be decoded: export the model before fine-tuning, or a DeepAutoencoder"
        )
    layers = []
    for i, weights in reversed(list(enumerate(stack.layers))):
        W, bias = weights.folded_down() if i else (np.ascontiguousarray(weights.W.T), weights.vbias)
        unit = weights.visible_unit
        name = unit.activation if weights.mean is None and (i or not unit.unit_interval) else "identity"
        layers.append(Layer(W, bias, get_activation(name)))
    first = stack.layers[0]
    unit, grouped = first.visible_unit, first.visible_unit.group_sizes(first.n_visible)
    if max(grouped) > 1 and unit.activation not in ACTIVATIONS:
        return FeedForward(tuple(layers), False, grouped, first.mean, first.scale)
    _check_mean(unit, first.n_visible, "visible")
    logistic = unit.activation == "sigmoid"
    if not logistic:
        layers[-1] = Layer(layers[-1].W, layers[-1].bias, get_activation(unit.activation))
    return FeedForward(tuple(layers), logistic, (), first.mean, first.scale)


def _check_mean(unit: Unit, n_units: int, side: str) -> None:
    """Refuse units whose mean differs from the activation that represents them in a network, by testing some inputs."""
    if (
        unit.activation in ACTIVATIONS and not unit.parameters
    ):  # with learned parameters, each unit has a different mean function
        bk, x, bias = get_backend("numpy"), np.linspace(-4, 4, 9)[:, None].repeat(n_units, axis=1), np.zeros(n_units)
        mean = unit.mean(bk, x.copy(), bias)
        if np.allclose(mean, get_activation(unit.activation).forward(bk, x, bias), rtol=0, atol=1e-6):
            return
    raise SettingError(
        f"{side} units of type {unit.spec!r} have no equivalent in a feed-forward network: no activation computes "
        "their mean"
    )


def _with_head(model: Estimator, layers: tuple[Layer, ...]) -> FeedForward:
    """Return the network of a classifier or regressor with its head."""
    identity = get_activation("identity")
    W, bias = model.coefs_[-1], model.intercepts_[-1]
    if isinstance(model, DBNRegressor):
        scale, mean = model.target_scale_, model.target_mean_
        W, bias = (W * scale).astype(W.dtype), (bias * scale + mean).astype(W.dtype)
        return FeedForward((*layers, Layer(W, bias, identity)))
    head = model._head
    whole = (*layers, Layer(W, bias, identity))
    if isinstance(head, Labels):
        return FeedForward(whole, logistic=True)
    classes = tuple(head.classes) if isinstance(head, Tasks) else (head.classes,)
    return FeedForward(whole, groups=tuple(map(len, classes)), classes=classes)


def _autoencoder(model: DeepAutoencoder, part: Part) -> FeedForward:
    hidden, first = model._layers(), model.pretrained_stack_.layers[0]
    depth = len(model.pretrained_stack_)
    unit = first.visible_unit
    output = "identity" if unit.unit_interval else unit.activation
    last = Layer(model.coefs_[-1], model.intercepts_[-1], get_activation(output))
    if part == "encoder":
        return FeedForward(_entering(hidden[:depth], first))
    layers = (*hidden[depth:], last) if part == "decoder" else (*_entering(hidden, first), last)
    return FeedForward(tuple(layers), first.visible_unit.unit_interval, (), first.mean, first.scale)

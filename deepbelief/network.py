"""The feed-forward network on a device: layers with forward and backward, and how a stack becomes one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deepbelief.activations import Activation, get_activation
from deepbelief.backends import Backend, Product
from deepbelief.losses import Loss
from deepbelief.machine import Workspace
from deepbelief.stack import Stack
from deepbelief.units import get_unit

DeviceArray = Any
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class Layer:
    """Host values of one feed-forward layer: ``y = activation(x W + bias)``."""

    W: Array
    bias: Array
    activation: Activation


class Network:
    """A feed-forward network with its parameters on a device.

    Parameters
    ----------
    hidden : sequence of Layer
    head_W : ndarray of shape (n_top, n_outputs)
    head_bias : ndarray of shape (n_outputs,)
    loss : Loss
        It also computes the output from the head's input.
    bk : Backend
    """

    def __init__(self, hidden: Sequence[Layer], head_W: Array, head_bias: Array, loss: Loss, bk: Backend) -> None:
        self.bk = bk
        self.loss = loss
        self.dtype = head_W.dtype
        self.activations = [layer.activation for layer in hidden]
        host = [a for layer in hidden for a in (layer.W, layer.bias)] + [head_W, head_bias]
        # Copies: the parameters move in place and must not move the caller's values.
        self.params: list[DeviceArray] = [bk.asarray(a.astype(self.dtype, copy=True)) for a in host]
        self._room: list[DeviceArray] = [bk.xp.empty_like(p) for p in self.params]
        self._space = Workspace(bk, self.dtype)
        self._outputs: list[DeviceArray] = []

    def host_params(self) -> list[Array]:
        """Return copies of the parameters as NumPy arrays: W and bias of each layer, then of the head."""
        return [self.bk.to_numpy(p).copy() for p in self.params]

    def input(self, n_rows: int) -> DeviceArray:
        """Return room for a minibatch."""
        return self._space("x", n_rows, self.params[0].shape[0])

    def hidden(self, x: DeviceArray) -> DeviceArray:
        """Return the top hidden layer's output for these rows, in a buffer that the next call reuses."""
        self._outputs = [x]
        for i, activation in enumerate(self.activations):
            W, bias = self.params[2 * i], self.params[2 * i + 1]
            y = self.bk.xp.matmul(self._outputs[-1], W, out=self._space(f"y{i}", len(x), W.shape[1]))
            self._outputs.append(activation.forward(self.bk, y, bias))
        return self._outputs[-1]

    def forward(self, x: DeviceArray) -> DeviceArray:
        """Return the network's output for these rows, in a buffer that the next call reuses."""
        top = self.hidden(x)
        W, bias = self.params[-2:]
        out = self.bk.xp.matmul(top, W, out=self._space("output", len(x), W.shape[1]))
        return self.loss.predict(self.bk, out, bias)

    def backward(self, delta: DeviceArray) -> list[DeviceArray | Product]:
        """Return the gradients, given that of the loss with respect to the head's input.

        Those of the weights are products of the last `forward`'s outputs.
        """
        xp = self.bk.xp
        grads: list[DeviceArray | Product] = []
        for i in reversed(range(len(self.params) // 2)):
            below, (room, bias_room) = self._outputs[i], self._room[2 * i : 2 * i + 2]
            grads[:0] = [Product(below, delta, room), xp.sum(delta, axis=0, out=bias_room)]
            if i:
                W = self.params[2 * i]
                shape = len(delta), W.shape[0]
                grad = xp.matmul(delta, W.T, out=self._space(f"grad{i}", *shape))
                delta = self.activations[i - 1].backward(self.bk, grad, below, self._space(f"delta{i}", *shape))
        return grads


def layers_from_stack(stack: Stack, activation: str | Activation = "auto") -> list[Layer]:
    """Return the feed-forward layers that compute a stack's hidden means.

    ``"auto"`` follows the hidden units (Bernoulli: sigmoid, rectified: ReLU, Gaussian: identity). A stack
    of Bernoulli units becomes a tanh network exactly, through h = (1 + t) / 2: first layer W / 2 and b / 2,
    above W / 4 and b / 2 + (sum of W's columns) / 4. Any other activation takes the weights as a start.
    Scalings between layers are folded into the weights; that of the data is left to the rows.
    """
    layers = []
    for i, weights in enumerate(stack.layers):
        W, bias = weights.W, weights.hbias
        if i and weights.mean is not None:
            W = W / weights.scale[:, None]  # type: ignore[index]
            bias = bias - weights.mean @ W
        own = get_unit(weights.hidden).activation
        chosen = get_activation(own if isinstance(activation, str) and activation == "auto" else activation)
        if chosen.name == "tanh" and own == "sigmoid":
            bias = bias / 2 + W.sum(axis=0) / 4 if i else bias / 2
            W = W / 4 if i else W / 2
        layers.append(Layer(W, bias, chosen))
    return layers


def stack_from_layers(stack: Stack, layers: Sequence[Layer]) -> Stack:
    """Return the stack with the weights of a network made from it by `layers_from_stack`, marked as tuned."""
    tuned = []
    for i, (weights, layer) in enumerate(zip(stack.layers, layers, strict=True)):
        W, bias = layer.W, layer.bias
        if layer.activation.name == "tanh" and get_unit(weights.hidden).activation == "sigmoid":
            W = W * 4 if i else W * 2
            bias = bias * 2 - W.sum(axis=0) / 2 if i else bias * 2
        if i:  # folded into the weights
            weights = replace(weights, mean=None, scale=None)
        tuned.append(replace(weights, W=W, hbias=bias))
    return Stack(tuple(tuned), tuned=True, metadata=stack.metadata)

"""The feed-forward network on a device: layers with forward and backward, and how a stack becomes one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deepbelief.activations import Activation, activation_of, get_activation
from deepbelief.backends import Backend, Product, Rng, SparseRows, get_backend
from deepbelief.losses import Loss
from deepbelief.machine import Workspace
from deepbelief.stack import Stack
from deepbelief.typing import Array, DeviceArray
from deepbelief.units import get_unit


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
    tied : bool
        The upper half of the layers has the transposed weights of the lower half, as in an autoencoder whose
        decoder mirrors its encoder. Each such pair of matrices is then one parameter, with the sum of the gradients.
    dropout : sequence of float
        The share of the input, and of each hidden layer, that is dropped in training; layers beyond are kept whole.
    fixed : bool, default=False
        Whether the network only computes outputs. On a backend of the host its parameters are then the caller's own
        arrays, and there is no room for gradients.
    """

    def __init__(
        self, hidden: Sequence[Layer], head_W: Array, head_bias: Array, loss: Loss, bk: Backend, *,
        tied: bool = False, dropout: Sequence[float] = (), fixed: bool = False,
    ) -> None:  # fmt: skip
        self.bk = bk
        self.loss = loss
        self.dtype = head_W.dtype
        self.activations = [layer.activation for layer in hidden]
        Ws = [*(layer.W for layer in hidden), head_W]
        # Copies, where the parameters move in place: they must not move the caller's values.
        own = [bk.asarray(W.astype(self.dtype, copy=not fixed)) for W in (Ws[: len(Ws) // 2] if tied else Ws)]
        self._Ws: list[DeviceArray] = [*own, *(W.T for W in reversed(own))] if tied else own
        self._biases: list[DeviceArray] = [
            bk.asarray(b.astype(self.dtype, copy=not fixed)) for b in (*(layer.bias for layer in hidden), head_bias)
        ]
        self._tied = tied
        self._room: list[DeviceArray] = [] if fixed else [bk.xp.empty(W.shape, self.dtype) for W in self._Ws]
        self._bias_room: list[DeviceArray] = [] if fixed else [bk.xp.empty_like(b) for b in self._biases]
        self._space = Workspace(bk, self.dtype)
        self._dropout = [*dropout, *[0.0] * (len(self._Ws) - len(dropout))]
        self._outputs: list[DeviceArray] = []  # of each layer, the input first
        self._passed: list[DeviceArray] = []  # what was passed on: the outputs, or what dropout left of them
        self._masks: list[DeviceArray] = []
        self._ones: DeviceArray = bk.xp.ones(0, self.dtype)
        self._sparse: SparseRows | None = None  # the input in sparse form too, where products with it are faster

    @property
    def params(self) -> list[DeviceArray]:
        """Return the parameters: W and bias of each layer, the head's last; a tied decoder has biases only."""
        return _interleave(self._Ws[: len(self._Ws) // 2] if self._tied else self._Ws, self._biases)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Widths from the input to the output."""
        return (*(W.shape[0] for W in self._Ws), self._Ws[-1].shape[1])

    def host_params(self) -> list[Array]:
        """Return copies of W and bias of each layer, the head's last, as NumPy arrays."""
        host = (np.array(self.bk.to_numpy(p), order="C") for p in _interleave(self._Ws, self._biases))
        return list(host)

    def input(self, n_rows: int) -> DeviceArray:
        """Return room for a minibatch."""
        return self._space("x", n_rows, self._Ws[0].shape[0])

    def hidden(self, x: DeviceArray, rng: Rng | None = None, sparse: SparseRows | None = None) -> DeviceArray:
        """Return the top hidden layer's output for these rows, in a buffer that the next call reuses.

        With ``rng`` units are dropped, as in training. ``sparse`` are the same rows in sparse form.
        """
        self._outputs, self._passed, self._masks = [x], [], []
        self._drop(x, rng)
        self._sparse = sparse if self._masks[0] is None else None
        for i, (activation, W, bias) in enumerate(zip(self.activations, self._Ws, self._biases, strict=False)):
            rows = self._sparse if self._sparse is not None and not i else self._passed[-1]
            y = self.bk.matmul(rows, W, self._space(f"y{i}", len(x), W.shape[1]))
            self._outputs.append(activation.forward(self.bk, y, bias))
            self._drop(self._outputs[-1], rng)
        return self._passed[-1]

    def _drop(self, y: DeviceArray, rng: Rng | None) -> None:
        """Pass on a layer's output, with a share of it dropped and the rest larger by as much.

        Inverted dropout (Hinton et al. 2012): nothing is to be done at prediction.
        """
        i = len(self._passed)
        share = self._dropout[i]
        if rng is None or not share:
            self._passed.append(y)
            self._masks.append(None)
            return
        keep, mask, passed = (self._space(f"{name}{i}", *y.shape) for name in ("keep", "mask", "passed"))
        keep.fill(1 - share)
        rng.bernoulli(keep, mask)
        mask *= 1 / (1 - share)
        self._masks.append(mask)
        self._passed.append(self.bk.xp.multiply(y, mask, out=passed))

    def forward(self, x: DeviceArray, rng: Rng | None = None, sparse: SparseRows | None = None) -> DeviceArray:
        """Return the network's output for these rows, in a buffer that the next call reuses."""
        top = self.hidden(x, rng, sparse)
        W = self._Ws[-1]
        out = self.bk.matmul(top, W, self._space("output", len(x), W.shape[1]))
        return self.loss.predict(self.bk, out, self._biases[-1])

    def delta(self, output: DeviceArray, target: DeviceArray) -> DeviceArray:
        """Return the gradient of the rows' losses with respect to the head's input, in a buffer that is reused."""
        return self.loss.gradient(self.bk, output, target, self._space("delta", *output.shape))

    def backward(self, delta: DeviceArray) -> list[DeviceArray | Product]:
        """Return the gradients of `params`, given that of the loss with respect to the head's input.

        Those of the weights are products of what the last `forward` passed on.
        """
        xp = self.bk.xp
        if len(self._ones) < len(delta):
            self._ones = xp.ones(len(delta), self.dtype)
        products: list[DeviceArray | Product] = []
        for i in reversed(range(len(self._Ws))):
            W = self._Ws[i]
            if not i and self._sparse is not None and self._sparse.pays_transposed:
                products.insert(0, Product(self._passed[0][:0], delta[:0], self._room[0], (self._sparse, delta)))
            else:
                products.insert(0, Product(self._passed[i], delta, self._room[i]))
            xp.matmul(self._ones[: len(delta)], delta, out=self._bias_room[i])  # a third of the time of a sum
            if i:
                shape = len(delta), W.shape[0]
                grad = self.bk.matmul(delta, W.T, self._space(f"grad{i}", *shape))
                if self._masks[i] is not None:
                    grad *= self._masks[i]
                room = self._space(f"delta{i}", *shape)
                delta = self.activations[i - 1].backward(self.bk, grad, self._outputs[i], room)
        if self._tied:
            half = len(products) // 2
            products = [self._both(*pair) for pair in zip(products[:half], reversed(products[half:]), strict=True)]
        return _interleave(products, self._bias_room)

    def _both(self, encoder: Product, decoder: Product) -> DeviceArray:
        """Return the gradient of a matrix that is used as it is below and transposed above."""
        total = encoder.array(self.bk)
        total += decoder.array(self.bk).T
        return total


def _interleave(Ws: Sequence[object], biases: Sequence[object]) -> list[object]:
    """Return W, bias, W, bias ...; biases without a W come last."""
    pairs = [a for pair in zip(Ws, biases, strict=False) for a in pair]
    return [*pairs, *biases[len(Ws) :]]


def unroll(stack: Stack) -> tuple[list[Layer], tuple[Array, Array]]:
    """Return the autoencoder that a stack becomes: encoder and mirrored decoder but for its last layer, and that layer.

    The decoder has the transposed weights and the visible biases, so that it computes the means of the visible
    units going down (Hinton and Salakhutdinov 2006). Its last layer is the head: the loss makes the output.
    """
    hidden = layers_from_stack(stack)
    head: tuple[Array, Array] | None = None
    for i, weights in reversed(list(enumerate(stack.layers))):
        if i:
            W, bias = weights.folded_down()
            hidden.append(Layer(W, bias, activation_of(weights.visible_unit)))
        else:
            head = np.ascontiguousarray(weights.W.T), weights.vbias
    assert head is not None
    return hidden, head


def layers_from_stack(stack: Stack, activation: str | Activation = "auto") -> list[Layer]:
    """Return the feed-forward layers that compute a stack's hidden means.

    ``"auto"`` follows the hidden units (Bernoulli: sigmoid, rectified: ReLU, Gaussian: identity). A stack
    of Bernoulli units becomes a tanh network exactly, through h = (1 + t) / 2: first layer W / 2 and b / 2,
    above W / 4 and b / 2 + (sum of W's columns) / 4. Other activations take the weights as a start.
    Scalings between layers are folded into the weights; that of the data is left to the rows.
    """
    layers = []
    for i, weights in enumerate(stack.layers):
        W, bias = weights.folded() if i else (weights.W, weights.hbias)
        unit = weights.hidden_unit
        automatic = isinstance(activation, str) and activation == "auto"
        chosen = activation_of(unit) if automatic else get_activation(activation)
        if chosen.name == "tanh" and unit.activation == "sigmoid":
            bias = bias / 2 + W.sum(axis=0) / 4 if i else bias / 2
            W = W / 4 if i else W / 2
        layers.append(Layer(W, bias, chosen))
    return layers


def moderated(layers: Sequence[Layer], stack: Stack, rows: Array) -> list[Layer]:
    """Return layers to start from whose inputs are of moderate size where they do not compute the stack's means.

    A unit of another type was pretrained to saturate; as a linear or rectified one it would pass on its total input,
    which grows from layer to layer until gradients explode. The weights and biases of such a layer are divided by the
    root mean square of its total inputs on these rows, where that is above 1.

    Parameters
    ----------
    layers : sequence of Layer
        As `layers_from_stack` returns them.
    stack : Stack
    rows : ndarray of shape (n_rows, n_visible)
        As they enter the first layer.
    """
    bk, x = get_backend("numpy"), np.asarray(rows, layers[0].W.dtype)
    result = []
    for layer, weights in zip(layers, stack, strict=True):
        own = get_unit(weights.hidden).activation
        exact = layer.activation.name == own or (layer.activation.name == "tanh" and own == "sigmoid")
        if not exact:
            size = float(np.sqrt(np.square(x @ layer.W + layer.bias).mean()))
            layer = layer if size <= 1 else replace(layer, W=layer.W / size, bias=layer.bias / size)
        x = layer.activation.forward(bk, x @ layer.W, layer.bias)
        result.append(layer)
    return result


def redrawn(stack: Stack, activation: str | Activation) -> Stack:
    """Return a stack of initial weights, drawn for its own units, as one that starts as another activation wants.

    `layers_from_stack` then has weights from U(-r, r) with that activation's r, and biases as they were drawn.
    """
    layers = []
    for weights, layer in zip(stack, layers_from_stack(stack, activation), strict=True):
        own, shape = activation_of(weights.hidden_unit), weights.W.shape
        factor = layer.activation.initial_limit(*shape) / own.initial_limit(*shape)
        layers.append(Layer(weights.W * factor, weights.hbias, layer.activation))
    return replace(stack_from_layers(stack, layers), tuned=stack.tuned)


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

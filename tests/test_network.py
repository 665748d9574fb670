"""The feed-forward network: what a stack becomes, exactly, and gradients against finite differences."""

import itertools

import numpy as np
import pytest
from conftest import BACKENDS
from layer_runs import host
from pairwise import pairwise_cases
from tables import case_by_case

from deepbelief.activations import ACTIVATIONS, get_activation
from deepbelief.finetuning import FineTuner, FineTuneSettings, TrainingSet
from deepbelief.losses import SoftmaxNLL, SquaredError, get_loss
from deepbelief.machine import Machine
from deepbelief.network import Layer, Network, layers_from_stack, stack_from_layers, unroll
from deepbelief.pretraining import transform
from deepbelief.sources import as_source
from deepbelief.stack import Stack, Weights


def random_stack(hidden="bernoulli", *, scaled=False, dtype=np.float64, sizes=(6, 5, 4, 3)):
    rng = np.random.default_rng(1)
    layers = []
    for i, (n, m) in enumerate(itertools.pairwise(sizes)):
        arrays = [rng.normal(0, 1, shape).astype(dtype) for shape in ((n, m), n, m)]
        scaling = (rng.normal(0, 1, n).astype(dtype), rng.uniform(0.5, 2, n).astype(dtype)) if scaled else (None, None)
        real = hidden != "bernoulli" if i else scaled  # whether a layer takes values beyond [0, 1]
        layers.append(Weights(*arrays, "gaussian" if real else "bernoulli", hidden, *scaling))
    return Stack(tuple(layers), metadata={"kept": 1})


def hidden_output(layers, X, bk):
    head = np.zeros((layers[-1].W.shape[1], 2)), np.zeros(2)
    network = Network(layers, *head, SoftmaxNLL(), bk)
    return bk.to_numpy(network.hidden(bk.asarray(X))).copy()


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).random((7, 6))


@case_by_case("hidden", ["bernoulli", "rectified", "gaussian"])
@case_by_case("scaled", [False, True])
def test_auto_computes_the_hidden_means_of_the_stack(hidden, scaled, X, bk):
    """The fold of the scaling between layers into the weights is exact; that of the data stays with the rows."""
    stack = random_stack(hidden, scaled=scaled)
    rows = (X - stack.layers[0].mean) / stack.layers[0].scale if scaled else X
    means = transform(stack, as_source(X), bk)
    np.testing.assert_allclose(hidden_output(layers_from_stack(stack), rows, bk), means, rtol=1e-12, atol=1e-13)


@case_by_case("scaled", [False, True])
def test_tanh_takes_a_bernoulli_stack_over_exactly(scaled, X, bk):
    stack = random_stack(scaled=scaled)
    rows = (X - stack.layers[0].mean) / stack.layers[0].scale if scaled else X
    t = hidden_output(layers_from_stack(stack, "tanh"), rows, bk)
    np.testing.assert_allclose((1 + t) / 2, transform(stack, as_source(X), bk), rtol=0, atol=1e-12)


@pairwise_cases(bk=BACKENDS, activation=["auto", *ACTIVATIONS], hidden=["bernoulli", "rectified", "gaussian"])
def test_to_a_network_and_back(activation, hidden, X, bk):
    stack = random_stack(hidden, scaled=hidden == "rectified")
    layers = layers_from_stack(stack, activation)
    back = stack_from_layers(stack, layers)
    assert back.tuned
    assert not stack.tuned
    assert back.metadata == {"kept": 1}
    assert back.sizes == stack.sizes
    assert [w.hidden for w in back] == [w.hidden for w in stack]
    np.testing.assert_allclose(
        transform(back, as_source(X), bk), transform(stack, as_source(X), bk), rtol=1e-12, atol=1e-12
    )
    for again, layer in zip(layers_from_stack(back, activation), layers, strict=True):
        np.testing.assert_allclose(again.W, layer.W, rtol=1e-12)
        np.testing.assert_allclose(again.bias, layer.bias, rtol=1e-12, atol=1e-12)


def test_other_activations_take_the_weights_as_a_start():
    stack = random_stack("rectified")
    for layer, weights in zip(layers_from_stack(stack, "tanh"), stack, strict=True):
        assert layer.activation.name == "tanh"
        np.testing.assert_array_equal(layer.W, weights.W)
    own = get_activation("relu")
    assert layers_from_stack(random_stack(), own)[0].activation is own


def test_output_is_the_softmax_of_the_head(X, bk):
    rng = np.random.default_rng(2)
    layer = Layer(rng.normal(size=(6, 4)), rng.normal(size=4), get_activation("tanh"))
    W, b = rng.normal(size=(4, 3)), rng.normal(size=3)
    network = Network([layer], W, b, SoftmaxNLL(), bk)
    inputs = np.tanh(X @ layer.W + layer.bias) @ W + b
    expected = np.exp(inputs) / np.exp(inputs).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(bk.to_numpy(network.forward(bk.asarray(X))), expected, rtol=1e-12)


def test_the_callers_values_never_move(X, bk):
    stack = random_stack()
    layers = layers_from_stack(stack)
    head = np.zeros((3, 2)), np.zeros(2)
    before = [a.copy() for w in stack for a in (w.W, w.hbias)]
    network = Network(layers, *head, SoftmaxNLL(), bk)
    for p in network.params:
        p += 1
    kept = network.host_params()
    network.params[0] += 1
    assert (kept[0] == before[0] + 1).all()
    for a, b in zip((a for w in stack for a in (w.W, w.hbias)), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not head[0].any()


def penalised_loss(params, activations, X, targets, weights, alpha):
    """The mean loss written down plainly: what the gradient is the gradient of."""
    y = X
    for i, activation in enumerate(activations):
        z = y @ params[2 * i] + params[2 * i + 1]
        y = {
            "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
            "tanh": np.tanh,
            "relu": lambda z: np.maximum(z, 0),
            "identity": lambda z: z,
            "hard_tanh": lambda z: np.clip(z, -1, 1),
            "softsign": lambda z: z / (1 + np.abs(z)),
        }[activation](z)
    logits = y @ params[-2] + params[-1]
    nll = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(X)), targets]
    return (weights * nll).sum() / weights.sum() + alpha / 2 * sum((W**2).sum() for W in params[::2])


def numeric_gradient(loss, params, eps=1e-5):
    grads = []
    for p in params:
        grad = np.empty_like(p)
        for index in np.ndindex(p.shape):
            kept = p[index]
            p[index] = kept + eps
            above = loss(params)
            p[index] = kept - eps
            grad[index] = (above - loss(params)) / (2 * eps)
            p[index] = kept
        grads.append(grad)
    return grads


@pairwise_cases(bk=BACKENDS, activation=ACTIVATIONS, weighted=[False, True])
def test_gradient_of_the_full_batch_loss_is_that_of_finite_differences(activation, weighted, bk):
    rng = np.random.default_rng(3)
    n, alpha = 9, 0.3
    X, targets = rng.normal(size=(n, 5)), rng.integers(0, 3, n)
    weights = rng.uniform(0, 2, n) if weighted else None
    sizes = (5, 4, 4)
    hidden = [
        Layer(rng.normal(0, 0.7, (a, b)), rng.normal(0, 0.5, b), get_activation(activation))
        for a, b in itertools.pairwise(sizes)
    ]
    head = rng.normal(0, 0.7, (4, 3)), rng.normal(0, 0.5, 3)
    network = Network(hidden, *head, SoftmaxNLL(), bk)
    settings = FineTuneSettings(batch_size=n, alpha=alpha).resolve(n, 0.1)
    tuner = FineTuner(network, TrainingSet(as_source(X), targets, weights), None, settings)
    tuner.begin_epoch(0, rng.permutation(n))
    found = host(bk, network.backward(tuner.gradient_at_output(0, n)))
    params = network.host_params()
    found = [g + alpha * p if p.ndim == 2 else g for g, p in zip(found, params, strict=True)]
    w = np.ones(n) if weights is None else weights
    expected = numeric_gradient(
        lambda ps: penalised_loss(ps, [activation] * 2, X, targets, w, alpha), [p.copy() for p in params]
    )
    assert len(found) == len(expected) == 6
    for a, b in zip(found, expected, strict=True):
        assert np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b)) < 1e-7
    # The decay that the optimizer adds is the penalty's gradient: one plain step at rate 1 shows the sum.
    step = FineTuner(Network(hidden, *head, SoftmaxNLL(), bk), TrainingSet(as_source(X), targets, weights), None,
                     FineTuneSettings(batch_size=n, alpha=alpha, momentum=0.0, nesterov=False, schedule="constant",
                                      learning_rate_init=1.0).resolve(n, 0.1))  # fmt: skip
    step.begin_epoch(0, np.arange(n))
    step.update(0, n, 0.0, None)
    for before, after, g in zip(params, step.network.host_params(), expected, strict=True):
        np.testing.assert_allclose(before - after, g, rtol=1e-6, atol=1e-8)


def test_minibatches_sum_to_the_full_gradient_the_short_last_one_too(bk):
    rng = np.random.default_rng(4)
    n, batch = 10, 4
    X, targets, weights = rng.normal(size=(n, 5)), rng.integers(0, 3, n), rng.uniform(0, 2, n)
    hidden = [Layer(rng.normal(size=(5, 4)), rng.normal(size=4), get_activation("sigmoid"))]
    head = rng.normal(size=(4, 3)), rng.normal(size=3)

    def gradients(batch_size):
        network = Network(hidden, *head, SoftmaxNLL(), bk)
        settings = FineTuneSettings(batch_size=batch_size).resolve(n, 0.1)
        tuner = FineTuner(network, TrainingSet(as_source(X), targets, weights), None, settings)
        tuner.begin_epoch(0, np.arange(n))
        total = [0.0] * 4
        for start in range(0, n, batch_size):
            delta = tuner.gradient_at_output(start, min(start + batch_size, n))
            total = [t + g for t, g in zip(total, host(bk, network.backward(delta)), strict=True)]
        return [t * batch_size / n for t in total]

    for parts, whole in zip(gradients(batch), gradients(n), strict=True):
        np.testing.assert_allclose(parts, whole, rtol=1e-10, atol=1e-12)


def test_a_smaller_batch_after_a_larger_one_gives_what_it_gives_alone(bk):
    rng = np.random.default_rng(5)
    stack = random_stack()
    network = Network(layers_from_stack(stack), rng.normal(size=(3, 2)), np.zeros(2), SoftmaxNLL(), bk)
    X = rng.random((20, 6))
    network.forward(bk.asarray(X))
    few = bk.to_numpy(network.forward(bk.asarray(X[:3]))).copy()
    assert few.shape == (3, 2)
    np.testing.assert_allclose(few, bk.to_numpy(network.forward(bk.asarray(X)))[:3], rtol=1e-12)


# --- dropout ---


class Scripted:
    """A stream that gives the masks that it was made with."""

    def __init__(self, bk, masks):
        self.bk, self.masks, self.asked = bk, list(masks), []

    def bernoulli(self, p, out):
        self.asked.append(self.bk.to_numpy(p).copy())
        out[...] = self.bk.asarray(self.masks.pop(0))
        return out


@case_by_case("activation", list(ACTIVATIONS))
def test_gradient_under_dropout_is_that_of_finite_differences_with_the_masks_held(activation, bk):
    rng = np.random.default_rng(6)
    n, shares = 8, (0.25, 0.5, 0.4)
    X, targets = rng.normal(size=(n, 5)), rng.integers(0, 3, n)
    hidden = [
        Layer(rng.normal(0, 0.7, (a, b)), rng.normal(0, 0.5, b), get_activation(activation))
        for a, b in itertools.pairwise((5, 6, 4))
    ]
    head = rng.normal(0, 0.7, (4, 3)), rng.normal(0, 0.5, 3)
    masks = [(rng.random((n, m)) > share).astype(float) for m, share in zip((5, 6, 4), shares, strict=True)]
    act = {
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)), "tanh": np.tanh, "relu": lambda z: np.maximum(z, 0),
        "identity": lambda z: z, "hard_tanh": lambda z: np.clip(z, -1, 1), "softsign": lambda z: z / (1 + np.abs(z)),
    }[activation]  # fmt: skip

    def mean_loss(params):
        y = X * masks[0] / (1 - shares[0])
        for i in (0, 1):
            y = act(y @ params[2 * i] + params[2 * i + 1]) * masks[i + 1] / (1 - shares[i + 1])
        logits = y @ params[-2] + params[-1]
        return (np.logaddexp.reduce(logits, axis=1) - logits[np.arange(n), targets]).mean()

    network = Network(hidden, *head, SoftmaxNLL(), bk, dropout=shares)
    settings = FineTuneSettings(batch_size=n).resolve(n, 0.1)
    tuner = FineTuner(network, TrainingSet(as_source(X), targets), None, settings)
    tuner.begin_epoch(0, np.arange(n))
    stream = Scripted(bk, masks)
    found = host(bk, network.backward(tuner.gradient_at_output(0, n, stream)))
    assert [set(np.round(p.ravel(), 12)) for p in stream.asked] == [{0.75}, {0.5}, {0.6}]
    expected = numeric_gradient(mean_loss, [p.copy() for p in network.host_params()])
    for a, b in zip(found, expected, strict=True):
        assert np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b)) < 1e-7


def test_dropout_leaves_the_mean_and_prediction_alone(bk):
    """Inverted dropout: the mean of a linear unit's input over masks is what prediction computes."""
    rng = np.random.default_rng(7)
    X, W = rng.random((3, 6)), rng.normal(size=(6, 2))
    network = Network([], W, np.zeros(2), SquaredError(), bk, dropout=[0.4])
    stream = bk.rng(np.random.SeedSequence(0))
    draws = np.array([bk.to_numpy(network.forward(bk.asarray(X), stream)).copy() for _ in range(4000)])
    deviation = np.sqrt((X**2 * 0.4 / 0.6) @ W**2)
    # 6 outputs at 5 standard errors: a chance of 3e-6 to fail.
    assert (np.abs(draws.mean(axis=0) - X @ W) < 5 * deviation / np.sqrt(4000)).all()
    np.testing.assert_allclose(draws.std(axis=0), deviation, rtol=0.1)
    np.testing.assert_allclose(bk.to_numpy(network.forward(bk.asarray(X))), X @ W, rtol=1e-12)


def test_an_autoencoders_target_is_the_whole_row(bk):
    X = np.random.default_rng(0).random((4, 5))
    network = Network([], np.eye(5), np.zeros(5), SquaredError(), bk, dropout=[0.5])
    settings = FineTuneSettings(batch_size=4).resolve(4, 0.1)
    tuner = FineTuner(network, TrainingSet(as_source(X)), None, settings)
    tuner.begin_epoch(0, np.arange(4))
    mask = np.zeros((4, 5))
    delta = bk.to_numpy(tuner.gradient_at_output(0, 4, Scripted(bk, [mask])))
    np.testing.assert_allclose(delta, 2 * (0 - X) / 4)


# --- autoencoders ---


def tall_stack(code="gaussian", visible="bernoulli", middle="bernoulli"):
    """Return a stack 5-4-3 with every bias at work, and scales where its units have them."""
    rng = np.random.default_rng(8)

    def layer(n_visible, n_hidden, visible, hidden, scaled):
        mean, scale = (rng.normal(size=n_visible), rng.uniform(0.5, 2, n_visible)) if scaled else (None, None)
        arrays = (rng.normal(0, 0.7, shape) for shape in ((n_visible, n_hidden), n_visible, n_hidden))
        return Weights(*arrays, visible, hidden, mean, scale)

    above = "bernoulli" if middle == "bernoulli" else "gaussian"
    return Stack(
        (
            layer(5, 4, visible, middle, visible == "gaussian"),
            layer(4, 3, above, code, middle == "rectified"),
        )
    )


@pairwise_cases(
    bk=BACKENDS, code=["gaussian", "bernoulli"], visible=["gaussian", "bernoulli"], middle=["bernoulli", "rectified"]
)
def test_an_unrolled_stack_computes_the_means_up_and_down(code, visible, middle, bk):
    stack = tall_stack(code, visible, middle)
    X = np.random.default_rng(0).random((6, 5))
    hidden, head = unroll(stack)
    loss = SquaredError("identity" if visible == "gaussian" else "sigmoid")
    h = transform(stack, as_source(X), bk)
    for i, weights in reversed(list(enumerate(stack))):
        h = bk.to_numpy(Machine(weights, bk).mean_visible(bk.asarray(h)))
        if i and weights.mean is not None:
            h = h * weights.scale + weights.mean
    first = stack.layers[0]
    rows = X if first.mean is None else (X - first.mean) / first.scale
    output = Network(hidden, *head, loss, bk).forward(bk.asarray(rows))
    np.testing.assert_allclose(bk.to_numpy(output), h, rtol=1e-12, atol=1e-12)


@case_by_case("tied", [False, True])
@case_by_case("loss", [get_loss("cross_entropy"), SquaredError("sigmoid"), SquaredError()])
def test_gradient_of_an_autoencoder_is_that_of_finite_differences(tied, loss, bk):
    rng = np.random.default_rng(1)
    hidden, head = unroll(tall_stack())
    hidden = [Layer(layer.W, rng.normal(size=layer.bias.shape), layer.activation) for layer in hidden]
    n, alpha = 7, 0.3
    X = rng.random((n, 5))
    settings = FineTuneSettings(
        batch_size=n, alpha=alpha, momentum=0.0, nesterov=False, schedule="constant", learning_rate_init=1.0
    )
    tuner = FineTuner(
        Network(hidden, *head, loss, bk, tied=tied), TrainingSet(as_source(X)), None, settings.resolve(n, 1)
    )
    parameters = [bk.to_numpy(p).copy() for p in tuner.network.params]
    assert [p.shape for p in parameters] == (
        [(5, 4), (4,), (4, 3), (3,), (4,), (5,)] if tied else [(5, 4), (4,), (4, 3), (3,), (3, 4), (4,), (4, 5), (5,)]
    )

    def mean_loss(params):
        Ws, biases = params[:4:2] if tied else params[::2], [p for p in params if p.ndim == 1]
        y = X
        for i, W in enumerate([*Ws, Ws[1].T, Ws[0].T] if tied else Ws):
            z = y @ W + biases[i]
            y = z if i == 1 or (i == 3 and loss == SquaredError()) else 1 / (1 + np.exp(-z))
        cross = -(X * np.log(y) + (1 - X) * np.log(1 - y)) if loss == get_loss("cross_entropy") else (y - X) ** 2
        return cross.sum() / n + alpha / 2 * sum((W**2).sum() for W in Ws)

    expected = numeric_gradient(mean_loss, [p.copy() for p in parameters])
    tuner.begin_epoch(0, np.arange(n))
    tuner.update(0, n, 0.0, None)
    for before, after, g in zip(parameters, tuner.network.params, expected, strict=True):
        np.testing.assert_allclose(before - bk.to_numpy(after), g, rtol=1e-6, atol=1e-7)
    whole = tuner.network.host_params()
    assert [p.shape for p in whole] == [(5, 4), (4,), (4, 3), (3,), (3, 4), (4,), (4, 5), (5,)]
    if tied:
        np.testing.assert_array_equal(whole[6], whole[0].T)
        np.testing.assert_array_equal(whole[4], whole[2].T)

"""Optimizers go downhill, by their formulas."""

import numpy as np
import pytest
from tables import case_by_case

from deepbelief.backends import Product
from deepbelief.errors import SettingError
from deepbelief.optimizers import OPTIMIZERS, SGD, AdaGrad, Adam, RMSProp, get_optimizer

CURVATURE = np.array([1.0, 0.3, 3.0])
TARGET = np.array([1.0, -2.0, 0.5])
RATES = {"sgd": 0.1, "adagrad": 0.5, "rmsprop": 0.02, "adam": 0.1}
BOTH = pytest.mark.parametrize("nesterov", [False, True], ids=["classical", "nesterov"])


def slope(w):
    """Return the gradient of sum(CURVATURE (w - TARGET)**2) / 2."""
    return CURVATURE * (w - TARGET)


def run(bk, optimizer, n_steps, *, rate=0.1, momentum=0.5, decay=0.0):
    """Return the parameter's path."""
    w = bk.asarray(np.zeros(3))
    state = optimizer.start(bk, [w])
    path = [bk.to_numpy(w).copy()]
    for _ in range(n_steps):
        optimizer.step(bk, [w], [bk.asarray(slope(path[-1]))], state, [rate], momentum, [decay])
        path.append(bk.to_numpy(w).copy())
    return np.array(path)


@BOTH
@case_by_case("name", OPTIMIZERS)
def test_every_optimizer_reaches_the_minimum(bk, name, nesterov):
    path = run(bk, get_optimizer(name, nesterov=nesterov), 300, rate=RATES[name])
    np.testing.assert_allclose(path[-1], TARGET, atol=1e-3 if name == "sgd" else 0.02)
    loss = (CURVATURE * (path - TARGET) ** 2).sum(axis=1)
    assert loss[1] < loss[0]


@BOTH
def test_weight_decay_moves_the_minimum_as_an_l2_term_does(bk, nesterov):
    path = run(bk, SGD(nesterov), 400, decay=0.5)
    # The minimum of sum(c (w - t)**2) / 2 + (0.5 / 2) sum(w**2)
    np.testing.assert_allclose(path[-1], CURVATURE * TARGET / (CURVATURE + 0.5), atol=1e-6)


def test_classical_momentum(bk):
    w, velocity, truth = np.zeros(3), np.zeros(3), [np.zeros(3)]
    for _ in range(10):
        velocity = 0.8 * velocity - 0.1 * slope(w)
        w = w + velocity
        truth.append(w)
    np.testing.assert_allclose(run(bk, SGD(), 10, momentum=0.8), truth, rtol=1e-12)


def test_nesterovs_momentum_looks_ahead(bk):
    """Sutskever et al. 2013: the gradient is taken at theta + momentum velocity, which is what the optimizer moves."""
    theta, velocity, ahead = np.zeros(3), np.zeros(3), [np.zeros(3)]
    for _ in range(10):
        velocity = 0.8 * velocity - 0.1 * slope(theta + 0.8 * velocity)
        theta = theta + velocity
        ahead.append(theta + 0.8 * velocity)
    np.testing.assert_allclose(run(bk, SGD(nesterov=True), 10, momentum=0.8), ahead, rtol=1e-12, atol=1e-12)


@case_by_case("decay", [0.0, 0.4])
def test_adam(bk, decay):
    """Kingma and Ba 2015, algorithm 1, with the corrections where the paper has them."""
    w, m, s, truth = np.zeros(3), np.zeros(3), np.zeros(3), [np.zeros(3)]
    for n in range(1, 11):
        g = slope(w) + decay * w
        m, s = 0.8 * m + 0.2 * g, 0.99 * s + 0.01 * g * g
        w = w - 0.1 * (m / (1 - 0.8**n)) / (np.sqrt(s / (1 - 0.99**n)) + 1e-3)
        truth.append(w)
    found = run(bk, Adam(beta2=0.99, epsilon=1e-3), 10, momentum=0.8, decay=decay)
    np.testing.assert_allclose(found, truth, rtol=1e-12, atol=1e-15)


@case_by_case("decay", [0.0, 0.4])
def test_adagrad(bk, decay):
    """Duchi, Hazan and Singer 2011, figure 1, the diagonal case."""
    w, total, truth = np.zeros(3), np.zeros(3), [np.zeros(3)]
    for _ in range(10):
        g = slope(w) + decay * w
        total = total + g * g
        w = w - 0.1 * g / (np.sqrt(total) + 1e-3)
        truth.append(w)
    np.testing.assert_allclose(run(bk, AdaGrad(epsilon=1e-3), 10, decay=decay), truth, rtol=1e-12, atol=1e-15)


@case_by_case("decay", [0.0, 0.4])
def test_rmsprop(bk, decay):
    w, square, truth = np.zeros(3), np.zeros(3), [np.zeros(3)]
    for _ in range(10):
        g = slope(w) + decay * w
        square = 0.8 * square + 0.2 * g * g
        w = w - 0.1 * g / (np.sqrt(square) + 1e-3)
        truth.append(w)
    found = run(bk, RMSProp(beta2=0.8, epsilon=1e-3), 10, decay=decay)
    np.testing.assert_allclose(found, truth, rtol=1e-12, atol=1e-15)


def test_adam_takes_products_and_large_arrays(bk):
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(3, 300)), rng.normal(size=(3, 250))  # a product larger than a block
    paths = []
    for grad in (Product(bk.asarray(left), bk.asarray(right), bk.asarray(np.empty((300, 250)))), left.T @ right):
        w = bk.asarray(np.zeros((300, 250)))
        state = Adam().start(bk, [w])
        given = grad if isinstance(grad, Product) else bk.asarray(grad)
        Adam().step(bk, [w], [given], state, [0.1], 0.9, [0.0])
        paths.append(bk.to_numpy(w))
    grad = left.T @ right
    np.testing.assert_allclose(paths[0], -0.1 * grad / (np.abs(grad) + 1e-8), rtol=1e-9)
    np.testing.assert_allclose(paths[0], paths[1], rtol=1e-9)


def test_each_parameter_has_its_own_rate_decay_and_velocity(bk):
    params = [bk.asarray(np.ones((2, 3))), bk.asarray(np.ones(3))]
    state = SGD().start(bk, params)
    assert [v.shape for v in state] == [(2, 3), (3,)]
    grads = [bk.asarray(np.full((2, 3), 2.0)), bk.asarray(np.full(3, 4.0))]
    SGD().step(bk, params, grads, state, (0.1, 0.01), 0.5, (0.5, 0.0))
    np.testing.assert_allclose(bk.to_numpy(params[0]), 1 - 0.1 * (2 + 0.5))
    np.testing.assert_allclose(bk.to_numpy(params[1]), 1 - 0.01 * 4)
    np.testing.assert_allclose(bk.to_numpy(state[0]), -0.25)
    np.testing.assert_allclose(bk.to_numpy(state[1]), -0.04)


def test_optimizers_are_found_by_name_or_given():
    own = SGD(nesterov=True)
    assert get_optimizer(own, nesterov=False) is own
    with pytest.raises(SettingError, match="did you mean 'sgd'"):
        get_optimizer("sgdd", nesterov=False)
    with pytest.raises(SettingError, match="or an instance, got 3"):
        get_optimizer(3, nesterov=False)


@case_by_case("dtype", [np.float32, np.float64])
def test_moments_of_adam_are_right_up_to_rounding(bk, dtype):
    """A factor 1 - 0.999 in single precision would be off by 5e-5, and every step by half of that."""
    rng = np.random.default_rng(0)
    w, mean, grad = (rng.random((40, 30)).astype(dtype) for _ in range(3))
    g = grad.astype(np.float64)
    expected = 0.9 * mean.astype(np.float64) + (1 - 0.9) * g
    arrays = [bk.asarray(a.copy()) for a in (w, mean, np.zeros_like(w), grad)]
    bk.adam_step(*arrays, 1e-3, (0.9, 0.999), 1e-8, 0.0)
    rtol = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(bk.to_numpy(arrays[1]), expected, rtol=rtol)
    np.testing.assert_allclose(bk.to_numpy(arrays[2]), (1 - 0.999) * g**2, rtol=rtol)

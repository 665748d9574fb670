"""Losses against their formulas and finite differences."""

import numpy as np
import pytest

from deepbelief.losses import LOSSES, SoftmaxNLL

N, WIDTH = 6, 4
TARGETS = {"softmax_nll": np.array([0, 3, 1, 1, 2, 0])}  # what rows of each loss are compared with


def inputs(dtype=np.float64):
    rng = np.random.default_rng(0)
    return rng.normal(0, 2, (N, WIDTH)).astype(dtype), rng.normal(0, 1, WIDTH).astype(dtype)


def values(bk, loss, x, bias, target):
    output = loss.predict(bk, bk.asarray(x.copy()), bk.asarray(bias))
    return bk.to_numpy(loss.values(bk, output, bk.asarray(target)))


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_the_slope_of_the_values(bk, name):
    loss, target = LOSSES[name](), TARGETS[name]
    x, bias = inputs()
    output = loss.predict(bk, bk.asarray(x.copy()), bk.asarray(bias))
    got = bk.to_numpy(loss.gradient(bk, output, bk.asarray(target)))
    slope = np.empty_like(x)
    for j in range(WIDTH):
        step = 1e-6 * np.eye(WIDTH)[j]
        slope[:, j] = (values(bk, loss, x + step, bias, target) - values(bk, loss, x - step, bias, target)) / 2e-6
    np.testing.assert_allclose(got, slope, atol=1e-8)
    assert np.abs(slope).max() > 0.1


@pytest.mark.parametrize("name", LOSSES)
def test_there_is_one_value_per_row(bk, name):
    x, bias = inputs(np.float32)
    got = values(bk, LOSSES[name](), x, bias, TARGETS[name])
    assert got.shape == (N,)
    assert got.dtype == np.float32
    assert (got >= 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_and_its_negative_log_likelihood(bk, dtype):
    x, bias = inputs(dtype)
    total = x.astype(np.float64) + bias
    p = np.exp(total) / np.exp(total).sum(axis=1, keepdims=True)
    output = SoftmaxNLL().predict(bk, bk.asarray(x.copy()), bk.asarray(bias))
    rtol = 30 * np.finfo(dtype).eps
    np.testing.assert_allclose(bk.to_numpy(output), p, rtol=rtol)
    target = TARGETS["softmax_nll"]
    truth = -np.log(p[np.arange(N), target])
    np.testing.assert_allclose(values(bk, SoftmaxNLL(), x, bias, target), truth, rtol=rtol, atol=rtol)


def test_a_certain_mistake_costs_a_finite_amount(bk):
    x = np.array([[1e4, -1e4], [800.0, -800.0]], np.float32)
    got = values(bk, SoftmaxNLL(), x, np.zeros(2, np.float32), np.array([1, 1]))
    assert np.isfinite(got).all()
    assert (got > 80).all()

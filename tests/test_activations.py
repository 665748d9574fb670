"""Activations against their formulas and finite differences."""

import numpy as np
import pytest
from conftest import BACKENDS
from pairwise import pairwise_cases
from tables import case_by_case

from deepbelief.activations import ACTIVATIONS, get_activation
from deepbelief.errors import SettingError

TRUTH = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "relu": lambda x: np.where(x > 0, x, 0),
    "identity": lambda x: x,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
}


def forward(bk, name, x, bias):
    return get_activation(name).forward(bk, bk.asarray(x.copy()), bk.asarray(bias))


def inputs(dtype=np.float64):
    rng = np.random.default_rng(0)
    return rng.normal(0, 2, (9, 4)).astype(dtype), rng.normal(0, 1, 4).astype(dtype)


@pairwise_cases(bk=BACKENDS, dtype=[np.float32, np.float64], name=ACTIVATIONS)
def test_forward(bk, name, dtype):
    x, bias = inputs(dtype)
    got = bk.to_numpy(forward(bk, name, x, bias))
    assert got.dtype == dtype
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(got, TRUTH[name](x.astype(np.float64) + bias), rtol=20 * eps, atol=4 * eps)


@case_by_case("name", ACTIVATIONS)
def test_forward_works_in_place(bk, name):
    x, bias = inputs()
    on_device = bk.asarray(x.copy())
    result = get_activation(name).forward(bk, on_device, bk.asarray(bias))
    np.testing.assert_array_equal(bk.to_numpy(on_device), bk.to_numpy(result))


@case_by_case("name", ACTIVATIONS)
def test_backward_is_the_slope_of_forward(bk, name):
    x, bias = inputs()
    upstream = np.random.default_rng(1).normal(size=x.shape)
    slope = (TRUTH[name](x + bias + 1e-6) - TRUTH[name](x + bias - 1e-6)) / 2e-6
    grad = bk.asarray(upstream.copy())
    result = get_activation(name).backward(bk, grad, forward(bk, name, x, bias), bk.xp.empty_like(grad))
    np.testing.assert_allclose(bk.to_numpy(result), upstream * slope, atol=1e-8)


@case_by_case("name", ACTIVATIONS)
def test_extreme_inputs_give_no_nan(bk, name):
    x = np.array([[-1e4, -800.0, 800.0, 1e4]], np.float32)
    y = forward(bk, name, x, np.zeros(4, np.float32))
    assert np.isfinite(bk.to_numpy(y)).all()
    grad = get_activation(name).backward(bk, bk.asarray(np.ones_like(x)), y, bk.xp.empty_like(y))
    assert np.isfinite(bk.to_numpy(grad)).all()


def test_activations_are_found_by_name_or_given():
    for name in ACTIVATIONS:
        assert get_activation(name).name == name
        assert get_activation(get_activation(name)) == get_activation(name)
    with pytest.raises(SettingError, match="did you mean 'tanh'"):
        get_activation("tahn")
    with pytest.raises(SettingError, match="or an instance, got 3"):
        get_activation(3)

"""One machine against sums over every state of tiny ones."""

import exact
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_runs import host
from tables import case_by_case

from deepbelief.backends import get_backend
from deepbelief.errors import SettingError
from deepbelief.machine import Layers, Machine, Workspace
from deepbelief.seeds import stream
from deepbelief.stack import Stack, Weights

KINDS = ["bernoulli", "gaussian", "softmax:2,3"]


def rows_for(weights, n=12, seed=5):
    rng = np.random.default_rng(seed)
    if weights.visible == "gaussian":
        return rng.normal(0, 1.5, (n, weights.n_visible))
    V = exact.visible_states(weights)
    return V[rng.integers(len(V), size=n)]


@st.composite
def machines(draw):
    visible = draw(st.sampled_from(["bernoulli", "gaussian", "softmax"]))
    n_visible, n_hidden = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    if visible == "softmax" and n_visible > 2:
        first = draw(st.integers(1, n_visible - 1))
        visible = f"softmax:{first},{n_visible - first}"
    spread = draw(st.sampled_from([0.0, 0.1, 1.0, 10.0]))
    return exact.tiny(n_visible, n_hidden, seed=draw(st.integers(0, 2**32 - 1)), spread=spread, visible=visible)


@settings(max_examples=40, deadline=None)
@given(weights=machines())
def test_free_energy_is_the_log_sum_over_hidden_states(bk, weights):
    v = rows_for(weights)
    got = bk.to_numpy(Machine(weights, bk).free_energy(bk.asarray(v)))
    assert got.shape == (len(v),)
    np.testing.assert_allclose(got, exact.free_energy(weights, v), rtol=1e-11, atol=1e-11)


@settings(max_examples=40, deadline=None)
@given(weights=machines())
def test_hidden_means_are_sums_over_hidden_states(bk, weights):
    v = rows_for(weights)
    got = bk.to_numpy(Machine(weights, bk).mean_hidden(bk.asarray(v)))
    np.testing.assert_allclose(got, exact.hidden_given(weights, v), rtol=1e-9, atol=1e-11)


@case_by_case("visible", ["bernoulli", "softmax:2,3"])
def test_visible_means_are_sums_over_visible_states(bk, visible):
    weights = exact.tiny(visible=visible)
    V, H = exact.visible_states(weights), exact.states(3)
    log_p = -exact.energies(weights, V, H)
    p = np.exp(log_p - np.logaddexp.reduce(log_p, axis=0))
    got = bk.to_numpy(Machine(weights, bk).mean_visible(bk.asarray(H)))
    np.testing.assert_allclose(got, p.T @ V, rtol=1e-10)


def test_gaussian_visible_means_are_linear(bk):
    weights = exact.tiny(visible="gaussian")
    H = exact.states(3)
    got = bk.to_numpy(Machine(weights, bk).mean_visible(bk.asarray(H)))
    np.testing.assert_allclose(got, weights.vbias + H @ weights.W.T, rtol=1e-12)


def test_free_energy_with_gaussian_hidden_units_is_the_log_integral(bk):
    weights = exact.tiny(3, 1, hidden="gaussian")
    v = exact.states(3)
    h = np.linspace(-25, 25, 40001)[:, None]
    log_p = -exact.energies(weights, v, h) - h[:, 0] ** 2 / 2
    truth = -np.log(np.exp(log_p).sum(axis=1) * (h[1, 0] - h[0, 0]))
    got = bk.to_numpy(Machine(weights, bk).free_energy(bk.asarray(v)))
    np.testing.assert_allclose(got, truth, rtol=1e-10)


def test_rectified_machines_have_no_free_energy(bk):
    with pytest.raises(SettingError, match="no free energy"):
        Machine(exact.tiny(hidden="rectified"), bk).free_energy(bk.asarray(exact.states(5)))


# --- sufficient statistics ---


def exact_gradient(bk, weights, data):
    """Return positive less exact negative statistics: both phases in one call, the model's states weighted by p."""
    machine = Machine(weights, bk)
    v_model, h_model, p = exact.joint(weights)
    h_data = bk.to_numpy(machine.mean_hidden(bk.asarray(data)))
    v, h = np.vstack([data, v_model]), np.vstack([h_data, h_model])
    row_weight = np.concatenate([np.full(len(data), 1 / len(data)), -p])[:, None]
    out = tuple(bk.xp.empty_like(a) for a in machine.params)
    result = host(bk, machine.statistics(bk.asarray(v), bk.asarray(h), bk.asarray(row_weight), out))
    for a, b in zip(result, out, strict=True):
        np.testing.assert_array_equal(a, bk.to_numpy(b))
    return result


@case_by_case("visible", KINDS)
def test_statistics_give_the_slope_of_the_exact_log_likelihood(bk, visible):
    weights = exact.tiny(visible=visible)
    data = rows_for(weights)
    got = exact_gradient(bk, weights, data)
    arrays = [weights.W, weights.vbias, weights.hbias]
    for which, array in enumerate(arrays):
        slope = np.empty_like(array)
        for place in np.ndindex(array.shape):
            values = []
            for step in (1e-5, -1e-5):
                moved = [a.copy() for a in arrays]
                moved[which][place] += step
                values.append(-exact.log_likelihood(Weights(*moved, visible), data))
            slope[place] = (values[0] - values[1]) / 2e-5
        np.testing.assert_allclose(got[which], slope, atol=2e-9)
        assert np.abs(slope).max() > 0.01
    for a, b in zip(got, exact.gradient(weights, data), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_statistics_are_sums_with_the_rows_weights(bk):
    machine = Machine(exact.tiny(4, 2), bk)
    rng = np.random.default_rng(0)
    v, h, weight = rng.normal(size=(7, 4)), rng.normal(size=(7, 2)), rng.normal(size=(7, 1))
    out = tuple(bk.xp.empty_like(a) for a in machine.params)
    result = host(bk, machine.statistics(bk.asarray(v), bk.asarray(h.copy()), bk.asarray(weight), out))
    for got, truth in zip(result, (-v.T @ (weight * h), -(weight * v).sum(0), -(weight * h).sum(0)), strict=True):
        np.testing.assert_allclose(got, truth, rtol=1e-12, atol=1e-12)


# --- sampling, buffers, values ---


def test_gibbs_sampling_reaches_the_models_distribution(bk):
    weights = exact.tiny(4, 3)
    machine, rng = Machine(weights, bk), bk.rng(stream(1))
    n = 20_000
    v, h = bk.asarray(np.zeros((n, 4))), bk.asarray(np.zeros((n, 3)))
    for _ in range(60):
        machine.sample_hidden(v, rng, h)
        machine.sample_visible(h, rng, v)
    codes = bk.to_numpy(v) @ (8, 4, 2, 1)
    frequency = np.bincount(codes.astype(int), minlength=16) / n
    V = exact.states(4)
    p = np.exp(-exact.free_energy(weights, V) - exact.log_z(weights))
    assert (np.abs(frequency - p) <= 6 * np.sqrt(p * (1 - p) / n)).all()  # wrong once in 3e7 runs


@case_by_case("side", ["hidden", "visible"])
def test_sampling_leaves_the_means_where_they_are_asked_for(bk, side):
    machine = Machine(exact.tiny(5, 3), bk)
    x = bk.asarray(exact.states(5 if side == "hidden" else 3))
    width = 3 if side == "hidden" else 5
    states, means = bk.xp.empty((len(x), width)), bk.xp.empty((len(x), width))
    getattr(machine, f"sample_{side}")(x, bk.rng(stream(0)), states, mean=means)
    plain = getattr(machine, f"mean_{side}")(x)
    np.testing.assert_array_equal(bk.to_numpy(means), bk.to_numpy(plain))
    out = bk.xp.empty((len(x), width))
    getattr(machine, f"mean_{side}")(x, out=out)
    np.testing.assert_array_equal(bk.to_numpy(out), bk.to_numpy(plain))
    assert set(np.unique(bk.to_numpy(states))) == {0, 1}


@case_by_case("dtype", [np.float32, np.float64])
@case_by_case("order", ["C", "F"])
def test_a_machine_never_moves_the_callers_values(bk, dtype, order):
    weights = exact.tiny(dtype=dtype)
    weights = Weights(np.asarray(weights.W, order=order), weights.vbias, weights.hbias)
    before = weights.W.copy()
    machine = Machine(weights, bk)
    given = machine.weights()
    for param in machine.params:
        assert param.dtype == dtype
        param += 1
    np.testing.assert_array_equal(weights.W, before)
    np.testing.assert_array_equal(given.W, before)
    np.testing.assert_allclose(machine.weights().W, before + 1)
    assert all(type(a) is np.ndarray for a in machine.weights().arrays().values())


def test_layers_that_only_compute_take_no_copy_of_the_callers_values():
    weights = exact.tiny(dtype=np.float32)
    (machine,) = Layers((weights,), get_backend("numpy")).machines
    before = {name: a.copy() for name, a in weights.arrays().items()}
    for param, value in zip(machine.params, (weights.W, weights.vbias, weights.hbias), strict=True):
        assert np.shares_memory(param, value)
    v = np.ones((3, weights.n_visible), np.float32)
    machine.mean_visible(machine.mean_hidden(v))
    for name, array in weights.arrays().items():
        np.testing.assert_array_equal(array, before[name])


def test_weights_keep_what_is_not_learned(bk):
    weights = Weights(
        np.ones((2, 1)), np.ones(2), np.ones(1), "gaussian", "rectified", np.array([3.0, 4.0]), np.array([1.0, 2.0]),
        np.zeros(2),
    )  # fmt: skip
    back = Machine(weights, bk).weights()
    assert (back.visible, back.hidden) == ("gaussian", "rectified")
    for name in ("mean", "scale", "visible_mean"):
        np.testing.assert_array_equal(getattr(back, name), getattr(weights, name))


def test_a_workspace_reuses_its_memory(bk):
    space = Workspace(bk, np.float32)
    big = space("a", 10, 3)
    big[...] = 7
    np.testing.assert_array_equal(bk.to_numpy(space("a", 4, 3)), np.full((4, 3), 7))
    space("b", 4, 3)[...] = 1
    np.testing.assert_array_equal(bk.to_numpy(space("a", 10, 3)), np.full((10, 3), 7))
    assert space("a", 12, 3).shape == (12, 3)


def test_layers_go_up_and_down_through_the_scalings_between_them(bk):
    rng = np.random.default_rng(1)
    scaling = {"mean": rng.normal(size=3), "scale": rng.uniform(1, 2, 3)}
    below = Weights(rng.normal(size=(5, 3)), rng.normal(size=5), rng.normal(size=3), "gaussian", "rectified")
    above = Weights(rng.normal(size=(3, 2)), rng.normal(size=3), rng.normal(size=2), "gaussian", **scaling)
    v, layers = rng.normal(size=(7, 5)), Layers(Stack((below, above)), bk)
    first = np.maximum(v @ below.W + below.hbias, 0)
    second = 1 / (1 + np.exp(-((first - above.mean) / above.scale @ above.W + above.hbias)))
    for found, expected in zip(layers.up(bk.asarray(v)), (first, second), strict=True):
        np.testing.assert_allclose(bk.to_numpy(found), expected, rtol=1e-12)
    back = (second @ above.W.T + above.vbias) * above.scale + above.mean
    np.testing.assert_allclose(bk.to_numpy(layers.down(bk.asarray(second))), back @ below.W.T + below.vbias, rtol=1e-12)
    np.testing.assert_allclose(
        bk.to_numpy(layers.down(bk.asarray(first), 1)), first @ below.W.T + below.vbias, rtol=1e-12
    )
    np.testing.assert_allclose(above.leave(above.enter(first)), first, rtol=1e-12)
    W, bias = above.folded()
    np.testing.assert_allclose(first @ W + bias, above.enter(first) @ above.W + above.hbias, rtol=1e-12)

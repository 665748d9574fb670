"""Whole pretraining runs, judged by exact likelihood and bit for bit."""

import exact
import numpy as np
import pytest
import scipy.sparse
from tables import case_by_case

from deepbelief.backends import get_backend
from deepbelief.errors import DataError, DivergenceError, SettingError
from deepbelief.layer import LayerState, LayerTrainer, RBMSettings
from deepbelief.pretraining import pretrain, scaled, transform, visible_above
from deepbelief.sources import ArraySource, SparseSource, column_statistics
from deepbelief.stack import Stack
from deepbelief.training import Reporter, Run
from deepbelief.units import get_unit

GRADIENTS = ["cd", "pcd"]


def bits(n=90, width=8, seed=0):
    """Rows with structure: half of the columns repeat the other half, with some noise."""
    rng = np.random.default_rng(seed)
    half = rng.random((n, width // 2)) < rng.random(width // 2)
    rows = np.hstack([half, half ^ (rng.random(half.shape) < 0.1)])
    return rows.astype(np.float32)


def run(bk, rows, sizes=(5, 3), *, n_passes=1, seed=0, n_iter=2, held_out=None, **settings):
    per_layer = [RBMSettings(n_iter=n_iter, **({"batch_size": 16} | settings)) for _ in sizes]
    source = rows if hasattr(rows, "take") and not isinstance(rows, np.ndarray) else ArraySource(rows)
    return pretrain(source, sizes, per_layer, Run(bk, seed), n_passes=n_passes, held_out=held_out)


def arrays(result):
    return [a for w in result.stack for a in w.arrays().values()]


def assert_same(a, b):
    for x, y in zip(arrays(a), arrays(b), strict=True):
        np.testing.assert_array_equal(x, y)


def differ(a, b):
    return all((x.W != y.W).any() for x, y in zip(a.stack, b.stack, strict=True))


# --- it learns ---


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_training_closes_half_of_the_gap_to_the_datas_entropy(bk, patterns, gradient, seed):
    settings = {"gradient": gradient, "gibbs_steps": 5, "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0}
    result = run(bk, patterns, (4,), seed=seed, n_iter=100, batch_size=10, **settings)
    ceiling = -exact.entropy(patterns)
    floor = exact.independent_log_likelihood(patterns)
    reached = exact.log_likelihood(result.stack.layers[0], patterns.astype(np.float64))
    assert floor < ceiling - 1
    assert floor + 0.5 * (ceiling - floor) <= reached <= ceiling


def test_reconstruction_gets_better(bk):
    errors = [r["reconstruction_error"] for r in run(bk, bits(), (8,), n_iter=30).history]
    assert errors[-1] < 0.7 * errors[0]


# --- the same and not the same ---


@case_by_case("gradient", GRADIENTS)
def test_a_seed_gives_the_same_bits_and_another_seed_others(bk, gradient):
    first = run(bk, bits(), gradient=gradient)
    assert_same(first, run(bk, bits(), gradient=gradient))
    assert differ(first, run(bk, bits(), gradient=gradient, seed=1))


@case_by_case("hidden", ["bernoulli", "gaussian", "rectified"])
@case_by_case("gradient", GRADIENTS)
def test_the_fake_device_computes_what_numpy_does(fake_device, gradient, hidden):
    settings = {"gradient": gradient, "hidden": hidden, "n_passes": 2, "nesterov": True, "sparsity_target": None}
    held = ArraySource(bits(20, seed=3))
    on_device = run(fake_device, bits(), held_out=held, **settings)
    on_host = run(get_backend(), bits(), held_out=held, **settings)
    assert_same(on_device, on_host)
    np.testing.assert_array_equal(on_device.negative_states, on_host.negative_states)

    for device, host in zip(on_device.history, on_host.history, strict=True):
        # Compiled loops on the host sum free energies in another order.
        numbers = {k: v for k, v in host.items() if isinstance(v, float) and k != "seconds"}
        assert {k: device[k] for k in numbers} == pytest.approx(numbers, rel=1e-6, abs=1e-5, nan_ok=True)
        assert {k: v for k, v in device.items() if k not in numbers and k != "seconds"} == {
            k: v for k, v in host.items() if k not in numbers and k != "seconds"
        }


@case_by_case("gradient", GRADIENTS)
def test_sparse_rows_train_as_dense_ones(bk, gradient):
    rows = bits()
    sparse = SparseSource(scipy.sparse.csr_matrix(rows))
    assert_same(run(bk, rows, gradient=gradient), run(bk, sparse, gradient=gradient))


def test_sparse_rows_may_be_standardised(bk):
    rows = 3 * bits()
    rows[0, 0] = 2
    sparse = SparseSource(scipy.sparse.csr_matrix(rows))
    assert_same(run(bk, rows), run(bk, sparse))


@case_by_case("gradient", GRADIENTS)
def test_nothing_but_numpy_comes_back(bk, gradient):
    result = run(bk, bits(), gradient=gradient, sparsity_target=0.1)
    states = [array for s in result.states for own in s.arrays.values() for array in own.values()]
    for array in (*arrays(result), *states, result.negative_states):
        assert type(array) is np.ndarray
    assert all(isinstance(s, LayerState) for s in result.states)
    plain = (str, int, float, type(None))
    assert all(type(v) in plain for record in result.history for v in record.values())


# --- passes ---


@case_by_case("gradient", GRADIENTS)
@case_by_case("visible", ["bernoulli", "gaussian"])
def test_for_one_layer_passes_are_epochs(bk, gradient, visible):
    settings = {"gradient": gradient, "visible": visible, "schedule": "linear", "sparsity_target": 0.2}
    once = run(bk, bits(), (5,), n_iter=6, **settings)
    thrice = run(bk, bits(), (5,), n_iter=2, n_passes=3, **settings)
    assert_same(once, thrice)
    assert [r["pass"] for r in thrice.history] == [1, 1, 2, 2, 3, 3]
    assert [r["epoch"] for r in thrice.history] == [1, 2, 3, 4, 5, 6]
    for name, array in once.states[0].arrays["optimizer"].items():
        np.testing.assert_array_equal(array, thrice.states[0].arrays["optimizer"][name])
    np.testing.assert_array_equal(once.negative_states, thrice.negative_states)


def test_every_pass_trains_on_the_layer_below_as_it_now_is(bk, monkeypatch):
    """Layer 2's rows, in each pass, are the hidden means of layer 1 after its training in that same pass."""
    rows = bits()
    seen = []
    train = LayerTrainer.train

    def spy(self, given, *arguments, **labels):
        before = self.bk.to_numpy(given.block(0, len(given))).copy()
        history = train(self, given, *arguments, **labels)
        seen.append((before, self.machine.weights()))
        return history

    monkeypatch.setattr(LayerTrainer, "train", spy)
    run(bk, rows, n_passes=2, learning_rate=0.5)
    (_, first_below), (first_given, _), (_, second_below), (second_given, _) = seen
    np.testing.assert_allclose(first_given, exact.hidden_given(first_below, rows), rtol=1e-5)
    np.testing.assert_allclose(second_given, exact.hidden_given(second_below, rows), rtol=1e-5)
    assert np.abs(first_given - second_given).max() > 0.01


def test_held_out_rows_rise_through_the_same_layers(bk):
    rows = bits()
    history = run(bk, rows, held_out=ArraySource(rows), n_passes=2, learning_rate=0.5).history
    # The held-out rows are the training rows: at every layer and pass the gap is rounding.
    assert {(r["pass"], r["layer"]) for r in history} == {(1, 1), (1, 2), (2, 1), (2, 2)}
    assert max(abs(r["free_energy_gap"]) for r in history) < 1e-4
    assert all(r["free_energy_gap"] is None for r in run(bk, rows).history)


def test_history_tells_every_epoch(bk):
    class Listener(Reporter):
        def __init__(self):
            self.begun, self.records = [], []

        def begin(self, what):
            self.begun.append((what["pass"], what["layer"], what["n_passes"], what["n_layers"], what["n_epochs"]))

        def record(self, record):
            self.records.append(record)

    listener = Listener()
    settings = [RBMSettings(n_iter=3, batch_size=16), RBMSettings(n_iter=1, batch_size=16)]
    result = pretrain(ArraySource(bits()), (5, 3), settings, Run(bk, 0, listener), n_passes=2)
    assert result.history == listener.records
    assert listener.begun == [(1, 1, 2, 2, 3), (1, 2, 2, 2, 1), (2, 1, 2, 2, 3), (2, 2, 2, 2, 1)]
    places = [(r["pass"], r["layer"], r["epoch"]) for r in result.history]
    assert places == [(1, 1, 1), (1, 1, 2), (1, 1, 3), (1, 2, 1), (2, 1, 4), (2, 1, 5), (2, 1, 6), (2, 2, 2)]
    keys = {"phase", "reconstruction_error", "free_energy_gap", "learning_rate", "momentum", "seconds", "n_epochs"}
    assert all(keys <= r.keys() and r["phase"] == "pretrain" for r in result.history)


@case_by_case("gradient", GRADIENTS)
def test_a_second_run_goes_on_from_the_first(bk, gradient):
    first = run(bk, bits(), gradient=gradient, momentum=0.5, schedule="constant")
    settings = [RBMSettings(n_iter=2, batch_size=16, gradient=gradient, momentum=0.5, schedule="constant")] * 2
    arguments = {"run": Run(bk, 0), "start": first.stack, "states": first.states}
    second = pretrain(ArraySource(bits()), (5, 3), settings, **arguments)
    assert_same(second, pretrain(ArraySource(bits()), (5, 3), settings, **arguments))
    # The first layer, of which the rows never change, has then trained as in one long run.
    whole = run(bk, bits(), gradient=gradient, momentum=0.5, schedule="constant", n_iter=4)
    for a, b in zip(second.stack.layers[0].arrays().values(), whole.stack.layers[0].arrays().values(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [s.epochs for s in second.states] == [4, 4]


# --- visible types from layer to layer ---


def test_gaussian_rows_are_standardised_on_the_way_in(bk):
    rows = np.random.default_rng(0).normal([100, -3, 0, 5], [30, 0.1, 1, 2], (120, 4)).astype(np.float32)
    first = run(bk, rows, n_iter=5)
    assert first.stack.layers[0].visible == "gaussian"
    assert first.stack.layers[1].visible == "bernoulli"
    statistics = column_statistics(scaled(ArraySource(rows), first.stack.layers[0]))
    np.testing.assert_allclose(statistics.mean, 0, atol=1e-4)
    np.testing.assert_allclose(statistics.var, 1, rtol=1e-3)
    # Units of measurement do not matter: the same rows in other units train to the same machine.
    second = run(bk, rows * np.float32(1024) + np.float32(0), n_iter=5)
    np.testing.assert_allclose(second.stack.layers[0].W, first.stack.layers[0].W, rtol=1e-3, atol=1e-5)


@case_by_case(
    ("hidden", "visible", "standardised"),
    [("bernoulli", "bernoulli", False), ("gaussian", "gaussian", False), ("rectified", "gaussian", True)],
)
def test_the_next_layers_visible_type_follows_the_hidden_type(bk, hidden, visible, standardised):
    rows = bits()
    settings = [RBMSettings(n_iter=2, hidden=hidden, learning_rate=0.01), RBMSettings(n_iter=1, learning_rate=1e-9)]
    stack = pretrain(ArraySource(rows), (5, 3), settings, Run(bk, 0)).stack
    below, above = stack.layers
    assert (below.hidden, above.visible) == (hidden, visible)
    assert (above.mean is not None) == standardised
    x = rows @ below.W + below.hbias
    means = {"bernoulli": 1 / (1 + np.exp(-x)), "gaussian": x, "rectified": np.maximum(x, 0)}[hidden]
    if standardised:
        np.testing.assert_allclose(above.mean, means.mean(axis=0), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(above.scale, means.std(axis=0), rtol=1e-3, atol=1e-6)
        means = (means - above.mean) / above.scale
    entering = means.mean(axis=0)
    if visible == "bernoulli":
        entering = (entering * 90 + 1) / 92
        np.testing.assert_allclose(above.vbias, np.log(entering / (1 - entering)), rtol=1e-3, atol=1e-4)
    else:
        np.testing.assert_allclose(above.vbias, entering, atol=1e-4)
    np.testing.assert_allclose(above.visible_mean, entering, atol=1e-4)
    # And transform climbs the same way.
    got = transform(stack, ArraySource(rows), bk)
    assert type(got) is np.ndarray
    np.testing.assert_allclose(got, 1 / (1 + np.exp(-(means @ above.W + above.hbias))), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(transform(stack, ArraySource(rows), bk, n_layers=1).shape, (90, 5))


@pytest.mark.slow
def test_softmax_rows_train_in_groups(bk):
    rng = np.random.default_rng(0)
    kind = rng.integers(3, size=120)
    rows = np.hstack([np.eye(3)[kind], np.eye(2)[(kind == 1).astype(int)]]).astype(np.float32)
    weights = run(bk, rows, (4,), visible="softmax:3,2", n_iter=200, learning_rate=0.1).stack.layers[0]
    assert weights.visible == "softmax:3,2"
    independent = -exact.entropy(rows[:, :3]) - exact.entropy(rows[:, 3:])
    ceiling = -exact.entropy(rows)
    reached = exact.log_likelihood(weights, rows.astype(np.float64))
    assert independent + 0.5 * (ceiling - independent) <= reached <= ceiling


@case_by_case("dtype", [np.float32, np.float64])
def test_the_datas_precision_is_kept_throughout(bk, dtype):
    for rows in (bits().astype(dtype), bits().astype(dtype) + np.linspace(0, 1, len(bits()), dtype=dtype)[:, None]):
        result = run(bk, rows)
        assert {a.dtype for a in arrays(result)} == {np.dtype(dtype)}
        assert transform(result.stack, ArraySource(rows), bk).dtype == dtype


# --- what is refused, and divergence ---


@case_by_case("gradient", GRADIENTS)
def test_a_run_that_diverges_in_a_higher_layer_names_it(bk, gradient):
    settings = [RBMSettings(n_iter=1, gradient=gradient), RBMSettings(n_iter=1, gradient=gradient, learning_rate=1e12)]
    with pytest.raises(DivergenceError, match="layer 2 diverged in epoch 1"):
        pretrain(ArraySource(bits()), (5, 3), settings, Run(bk, 0))


@case_by_case("gradient", GRADIENTS)
def test_a_run_that_diverges_later_gives_back_the_last_good_epoch(bk, gradient):
    def explode(position):
        return 1.0 if position < 0.5 else 1e30

    result = run(bk, bits(), (5,), gradient=gradient, n_iter=4, schedule=explode)
    assert "layer 1 diverged in epoch 3" in str(result.diverged)
    assert len(result.history) == 3
    assert all(np.isfinite(a).all() for a in (*arrays(result), result.negative_states))
    # Layers that were not reached have no good epoch to go back to.
    with pytest.raises(DivergenceError, match="layer 1 diverged in epoch 3"):
        run(bk, bits(), (5, 3), gradient=gradient, n_iter=4, schedule=explode)
    # In the second pass every layer has one.
    passes = run(bk, bits(), (5, 3), gradient=gradient, n_iter=4, n_passes=2, schedule=explode)
    assert "layer 1 diverged in epoch 5" in str(passes.diverged)
    assert isinstance(passes.stack, Stack)
    assert len(passes.stack) == 2


def test_runs_that_cannot_be_are_refused(bk):
    with pytest.raises(DataError, match="at least 2 rows, got 1"):
        run(bk, bits(1))
    with pytest.raises(SettingError, match="softmax units are visible units"):
        run(bk, bits(), hidden="softmax")
    with pytest.raises(SettingError, match="rectified units are hidden units"):
        run(bk, bits(), visible="rectified")
    with pytest.raises(SettingError, match="3,3 sum to 6, not to 8 columns"):
        run(bk, bits(), visible="softmax:3,3")


def test_a_unit_that_is_all_but_dead_is_not_blown_up():
    """Its deviation is no scale: dividing weights by 1e-7 made them huge, once in thousands of fits."""
    means = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    means[:, 1] *= 1e-6
    means[:, 2] = 0.5
    _, mean, scale, _ = visible_above(get_unit("rectified"), ArraySource(means))
    np.testing.assert_allclose(scale, [means[:, 0].std(), 1, 1], rtol=1e-5)
    np.testing.assert_allclose(mean, means.mean(axis=0), rtol=1e-5)
    assert scale.dtype == np.float32

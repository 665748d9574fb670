"""One layer's training: settings, first weights, and what the hot path may not do."""

import tracemalloc
from dataclasses import dataclass

import exact
import numpy as np
import pytest
from conftest import BACKENDS
from fake_device import CROSSINGS, no_crossings
from layer_runs import bits, host, train, trainer_for
from pairwise import pairwise_cases
from tables import case_by_case

from deepbelief import DBN, RBM
from deepbelief.backends import get_backend
from deepbelief.errors import DataError, DataWarning, SettingError
from deepbelief.gradients import CD, PCD, get_gradient
from deepbelief.layer import LayerState, LayerTrainer, RBMSettings, choose_visible, initial_weights
from deepbelief.monitor import Monitor
from deepbelief.pretraining import scaled
from deepbelief.schedules import constant, linear
from deepbelief.seeds import host_rng
from deepbelief.sources import ArraySource, as_source
from deepbelief.training import Reporter, Rows, Run, split_rows
from deepbelief.units import get_unit

ESTIMATORS = ["cd", "pcd", "mfcd", "fpcd", "pt", "exact"]  # which never wait for the device
ALL = [*ESTIMATORS, "ptt"]  # which reads its acceptance at every update
PERSISTENT = ("pcd", "fpcd", "pt", "ptt", "exact")


# --- settings ---


@case_by_case(
    ("n_rows", "batch_size", "n_iter"),
    [(2, 10, 100), (600, 12, 100), (1797, 35, 100), (5000, 100, 100), (60_000, 100, 10), (10**6, 100, 5)],
)
def test_automatic_batches_and_epochs(n_rows, batch_size, n_iter):
    settings = RBMSettings(visible="bernoulli").resolve(n_rows, 784, 500)
    assert settings.batch_size == batch_size
    assert settings.n_iter == n_iter


@case_by_case(
    ("visible", "hidden", "gradient", "n_visible", "rate"),
    [
        ("bernoulli", "bernoulli", "cd", 784, 0.1),
        ("bernoulli", "bernoulli", "pcd", 784, 0.1),
        ("softmax", "bernoulli", "cd", 784, 0.1),
        ("gaussian", "bernoulli", "cd", 125, 0.008),
        ("gaussian", "bernoulli", "cd", 20, 0.01 * 0.4),  # many more hidden than visible units
        ("gaussian", "bernoulli", "cd", 1000, 0.001),
        ("bernoulli", "gaussian", "cd", 784, 0.001),
        ("bernoulli", "rectified", "cd", 784, 0.001),
    ],
)
def test_automatic_rates_follow_the_units(visible, hidden, gradient, n_visible, rate):
    settings = RBMSettings(visible=visible, hidden=hidden, gradient=gradient).resolve(1000, n_visible, 500)
    assert settings.learning_rate == pytest.approx(rate)
    assert settings.schedule is (linear if gradient == "pcd" else constant)


@case_by_case(("gradient", "given", "momentum"), [("cd", "auto", "auto"), ("pcd", "auto", 0.0), ("pcd", 0.5, 0.5)])
def test_persistent_chains_get_no_momentum_unless_asked_for(gradient, given, momentum):
    assert RBMSettings(visible="bernoulli", gradient=gradient, momentum=given).resolve(1000, 9, 9).momentum == momentum


def test_the_automatic_rate_falls_with_the_number_of_hidden_units():
    rates = [RBMSettings(visible="bernoulli").resolve(1000, 784, n).learning_rate for n in (1, 500, 1000, 2000)]
    assert rates == [0.1, 0.1, 0.05, 0.025]
    sparse = RBMSettings(visible="bernoulli", sparsity_target=0.05).resolve(1000, 784, 2000)
    assert sparse.learning_rate == 0.1  # a hundred units are on at the start


def test_the_automatic_rate_falls_where_visible_units_swing():
    def rate(mean, n_visible=64):
        settings = RBMSettings(visible="bernoulli").resolve(100, n_visible, 256, np.full(n_visible, mean))
        return settings.learning_rate

    assert rate(0.5) == pytest.approx(0.1 * 16 / (128 * 0.25))
    assert rate(0.01) == rate(0.99) == 0.1
    assert rate(0.01, n_visible=16) == pytest.approx(0.1 / 2)  # many more hidden than visible units


@case_by_case(("excess", "visible"), [(0.0, "bernoulli"), (1e-9, "bernoulli"), (1e-3, "gaussian")])
def test_rounding_does_not_turn_bits_into_real_numbers(excess, visible):
    X = np.array([[0.0, 1 + excess], [1.0, 0.0], [0.5, 0.5]] * 5)
    assert choose_visible("auto", as_source(X))[0].spec == visible
    assert choose_visible("auto", as_source(-X + 1))[0].spec == visible


def test_given_settings_stay():
    settings = RBMSettings(
        visible="bernoulli", gradient=PCD(3), learning_rate=0.3, batch_size=7, n_iter=2, schedule="constant"
    ).resolve(1000, 10, 5)
    assert (settings.learning_rate, settings.batch_size, settings.n_iter) == (0.3, 7, 2)
    assert settings.gradient == PCD(3)
    assert settings.schedule is constant
    assert RBMSettings(visible="bernoulli", gibbs_steps=4).resolve(9, 9, 9).gradient == CD(4)


# --- visible types and first weights ---


def test_rows_within_the_unit_interval_are_bernoulli():
    rows = bits(50)
    rows[:, 0], rows[:, 1] = 0, 0.25
    unit, mean, scale, smoothed = choose_visible("auto", ArraySource(rows))
    assert unit.spec == "bernoulli"
    assert mean is scale is None
    np.testing.assert_allclose(smoothed, (rows.sum(axis=0) + 1) / (50 + 2), rtol=1e-6)
    weights = initial_weights(300, unit, get_unit("bernoulli"), mean, scale, smoothed, seed=0, layer=0)
    np.testing.assert_allclose(weights.vbias, np.log(smoothed / (1 - smoothed)), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(weights.hbias, 0)
    assert abs(weights.W.std() - 0.01) < 6 * 0.01 / np.sqrt(2 * weights.W.size)
    assert abs(weights.W.mean()) < 6 * 0.01 / np.sqrt(weights.W.size)
    assert {a.dtype for a in weights.arrays().values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("n_visible", [1, 16, 37])
def test_initial_weights_are_one_stream_of_normal_draws(n_visible):
    unit, p = get_unit("bernoulli"), np.full(n_visible, 0.5)
    W = initial_weights(3, unit, unit, None, None, p, seed=4, layer=1).W
    np.testing.assert_array_equal(W, host_rng(4, 1, "weights").normal(0, 0.01, (n_visible, 3)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_other_rows_are_gaussian_and_standardised(dtype):
    rows = np.random.default_rng(0).normal([5, -3, 0.1], [2, 0.01, 300], (200, 3)).astype(dtype)
    rows = np.hstack([rows, np.full((200, 1), 7.7, dtype)])
    unit, mean, scale, smoothed = choose_visible("auto", ArraySource(rows))
    assert unit.spec == "gaussian"
    standard = (rows - mean) / scale
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(standard[:, :3].std(axis=0), 1, rtol=1e-4)
    assert scale[3] == 1
    weights = initial_weights(3, unit, get_unit("bernoulli"), mean, scale, smoothed, seed=0, layer=0)
    np.testing.assert_array_equal(weights.vbias, 0)
    assert (weights.visible, weights.W.dtype) == ("gaussian", dtype)


def test_weights_differ_by_seed_and_layer_and_start_as_sparse_as_asked():
    unit, hidden, p = get_unit("bernoulli"), get_unit("bernoulli"), np.full(4, 0.5)

    def first(seed, layer, target=None):
        return initial_weights(3, unit, hidden, None, None, p, seed=seed, layer=layer, sparsity_target=target)

    np.testing.assert_array_equal(first(1, 0).W, first(1, 0).W)
    assert (first(1, 0).W != first(2, 0).W).all()
    assert (first(1, 0).W != first(1, 1).W).all()
    np.testing.assert_allclose(1 / (1 + np.exp(-first(1, 0, 0.05).hbias)), 0.05)


def test_rows_that_do_not_fit_the_type_are_refused():
    rows = bits(20)
    rows[7, 2] = 1.5
    with pytest.raises(DataError, match=r"row 7.*column 2"):
        choose_visible("bernoulli", ArraySource(rows))
    assert choose_visible("auto", ArraySource(rows))[0].spec == "gaussian"
    rows[7, 2] = np.nan
    with pytest.raises(DataError, match=r"row 7.*column 2"):
        choose_visible("auto", ArraySource(rows))
    with pytest.raises(DataError, match=r"row 0, column 0 .* its softmax group of 2 sums to 2"):
        choose_visible("softmax:2,4", ArraySource(1 - np.tri(5, 6, -1, np.float32)))


# --- the update ---


@case_by_case("gradient", ALL)
def test_an_update_steps_down_the_estimated_gradient(bk, gradient):
    """W, vbias and hbias all move, by rate times estimate; decay acts on W alone."""
    rows = bits(10, dtype=np.float64)
    weights = exact.tiny(6, 4)
    trainer = trainer_for(
        bk, rows, weights=weights, gradient=gradient, weight_decay=0.5, learning_rate=0.2, schedule="constant"
    )
    seen = []

    class Spy:
        is_model = True

        def __call__(self, *arguments):
            grads = get_gradient(gradient, 1)(*arguments)
            seen.extend(host(trainer.bk, grads))
            return grads

    trainer.learner.estimator, start = Spy(), trainer.learner.estimator.start
    Spy.start = staticmethod(start)
    train(trainer, rows, (0, 1))
    after = trainer.machine.weights()
    np.testing.assert_allclose(after.W, weights.W - 0.2 * (seen[0] + 0.5 * weights.W), rtol=1e-12)
    np.testing.assert_allclose(after.vbias, weights.vbias - 0.2 * seen[1], rtol=1e-12)
    np.testing.assert_allclose(after.hbias, weights.hbias - 0.2 * seen[2], rtol=1e-12)
    assert all(np.abs(g).max() > 1e-3 for g in seen)


def test_schedule_and_momentum_reach_the_update(bk):
    rows = bits()
    trainer = trainer_for(bk, rows, schedule="linear", horizon=10)
    history = train(trainer, rows, (0, 10))
    assert [r["momentum"] for r in history] == [0.5] * 2 + [0.9] * 8
    np.testing.assert_allclose([r["learning_rate"] for r in history], 0.1 * (1 - (np.arange(10) + 6 / 7) / 10))
    assert trainer.state.updates == 70
    assert trainer.state.epochs == 10


def test_gibbs_steps_grow_with_the_epochs(bk):
    rows, steps = bits(), []

    @dataclass(frozen=True)
    class Spy(PCD):
        def __call__(self, *arguments):
            steps.append(self.gibbs_steps)
            return super().__call__(*arguments)

    train(trainer_for(bk, rows, gradient=Spy(gibbs_steps=(1, 5)), horizon=10), rows, (0, 10))
    assert steps[::7] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert len(steps) == 70


@case_by_case("gradient", ["pcd", "fpcd", "pt"])
def test_there_are_as_many_chains_as_asked_for(bk, gradient):
    rows = bits()
    trainer = trainer_for(bk, rows, gradient=gradient, n_chains=23)
    train(trainer, rows, (0, 1))
    assert trainer.negative_states(0).shape == (23, 4)
    assert len(trainer.learner.chains) == (230 if gradient == "pt" else 23)


@case_by_case("stop_after", [None, 8])
def test_the_last_weights_are_averaged(bk, stop_after):
    """The mean over the last 40 % of the updates, or over those of them that were made before the run was stopped."""
    rows, seen = bits(dtype=np.float64), []
    trainer = trainer_for(bk, rows, averaging=0.4, horizon=10)
    step = trainer.learner.update

    def watched(*arguments):
        step(*arguments)
        seen.append(host(bk, trainer.machine.params))

    class Enough(Reporter):
        def record(self, record):
            return record["epoch"] == stop_after

    trainer.learner.update = watched
    source = Rows(ArraySource(rows), bk, rows.dtype)
    trainer.run = trainer.learner.run = Run(bk, 0, Enough())
    trainer.train(source, None, range(10))
    last = seen[42:]
    assert len(last) == (28 if stop_after is None else 14)
    after = trainer.machine.weights()
    for name, arrays in zip(("W", "vbias", "hbias"), zip(*last, strict=True), strict=True):
        np.testing.assert_allclose(getattr(after, name), np.mean(arrays, axis=0), rtol=1e-12)
    assert np.abs(after.W - last[-1][0]).max() > 1e-4
    assert trainer.export_state().arrays["averaging"]["n"] == 0


@case_by_case("gradient", ESTIMATORS)
@case_by_case("shape", [{}, {"visible": "gaussian"}])
def test_no_copy_and_no_wait_inside_an_epoch(fake_device, gradient, shape, monkeypatch):
    rows = bits()
    trainer = trainer_for(
        fake_device, rows, gradient=gradient, gibbs_steps=2, nesterov=True, sparsity_target=0.1, centered=True,
        averaging=1.0, **shape,
    )  # fmt: skip
    update, epochs = LayerTrainer.update, []

    def watched(self, *arguments):
        epochs.append(len(CROSSINGS))
        with no_crossings():
            update(self, *arguments)

    monkeypatch.setattr(LayerTrainer, "update", watched)
    train(trainer, rows, (0, 3))
    assert len(epochs) == 3 * 7
    assert len(set(epochs)) == 3  # nothing crossed between the updates of an epoch either


@case_by_case("gradient", ESTIMATORS[:-1])
@case_by_case("nesterov", [False, True])
def test_after_its_first_minibatch_a_step_allocates_only_the_generators_words(gradient, nesterov):
    n_visible, n_hidden, batch = 400, 300, 100
    rows = bits(250, n_visible)
    trainer = trainer_for(
        get_backend(), rows, n_hidden, gradient=gradient, nesterov=nesterov, batch_size=batch, centered=nesterov,
        n_chains=batch // 10 if gradient == "pt" else "auto", averaging=float(nesterov),
    )  # fmt: skip
    words = 4 * batch * max(n_visible, n_hidden)  # bytes of one draw of states; freed before the next
    step, peaks = trainer.learner.update, []

    def measured(*arguments):
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        step(*arguments)
        peaks.append(tracemalloc.get_traced_memory()[1] - before)

    trainer.learner.update = measured
    tracemalloc.start()
    try:
        train(trainer, rows, (0, 3))
    finally:
        tracemalloc.stop()
    # The step's scratch is a block that stays in cache; a lost buffer would be a phase (240 kB) or a gradient (480 kB).
    slack = 130_000
    assert peaks[0] > 240_000  # the test can see buffers
    assert max(peaks[3:]) < max(words, 262_144) + slack, peaks


# --- what an epoch tells ---


@case_by_case("visible", ["bernoulli", "gaussian"])
def test_reconstruction_error_and_free_energy_gap(bk, visible):
    rng = np.random.default_rng(0)
    rows = bits(80, dtype=np.float64) if visible == "bernoulli" else rng.normal(size=(80, 6))
    held = bits(80, seed=9, dtype=np.float64) if visible == "bernoulli" else rng.normal(size=(80, 6))
    trainer = trainer_for(bk, rows, visible=visible, learning_rate=0.01)
    record = train(trainer, rows, (0, 1), held, layer=3)[-1]
    weights = trainer.machine.weights()
    rows, held = (scaled(ArraySource(a), weights).take(slice(None)) for a in (rows, held))
    h = exact.hidden_given(weights, rows)
    x = h @ weights.W.T + weights.vbias
    v = x if visible == "gaussian" else 1 / (1 + np.exp(-x))
    assert record["reconstruction_error"] == pytest.approx(((rows - v) ** 2).sum(axis=1).mean(), rel=1e-9)
    # As many rows are held out as there are, so that all of them are compared.
    gap = exact.free_energy(weights, held).mean() - exact.free_energy(weights, rows).mean()
    assert record["free_energy_gap"] == pytest.approx(gap, rel=1e-9)
    assert abs(gap) > 1e-3
    assert record["layer"] == 3
    assert type(record["reconstruction_error"]) is type(record["free_energy_gap"]) is float


def test_rectified_units_have_no_free_energy_gap(bk):
    rows = bits()
    trainer = trainer_for(bk, rows, hidden="rectified", learning_rate=0.001)
    assert train(trainer, rows, (0, 1), bits(20))[-1]["free_energy_gap"] is None


# --- state ---


@case_by_case("gradient", ALL)
def test_a_run_goes_on_bit_for_bit_from_its_exported_state(bk, gradient):
    rows = bits()
    settings = {"gradient": gradient, "sparsity_target": 0.1}
    start = exact.tiny(6, 4, dtype=np.float32)  # strong enough for every state to show in the next one
    whole = trainer_for(bk, rows, weights=start, **settings)
    train(whole, rows, (0, 4))
    half = trainer_for(bk, rows, weights=start, **settings)
    train(half, rows, (0, 2))
    state, weights = half.export_state(), half.machine.weights()
    for _ in range(2):  # twice: going on leaves the state as it was
        rest = trainer_for(bk, rows, weights=weights, state=state, **settings)
        train(rest, rows, (2, 4))
        assert (state.epochs, state.updates) == (2, 14)
        for a, b in zip(rest.machine.params, whole.machine.params, strict=True):
            np.testing.assert_array_equal(bk.to_numpy(a), bk.to_numpy(b))
    assert whole.export_state().epochs == 4


@case_by_case("gradient", ALL)
def test_nothing_but_numpy_leaves_the_device(fake_device, gradient):
    rows = bits()
    trainer = trainer_for(fake_device, rows, gradient=gradient, sparsity_target=0.1)
    train(trainer, rows, (0, 1))
    state = trainer.export_state()
    arrays = [trainer.negative_states(0), *trainer.machine.weights().arrays().values()]
    arrays += [array for own in state.arrays.values() for array in own.values()]
    assert {"optimizer", "gradient", "sparsity"} == set(state.arrays)
    assert ("chains" in state.arrays["gradient"]) == (gradient in PERSISTENT)
    assert all(type(a) is np.ndarray for a in arrays)
    assert isinstance(state, LayerState)


@pairwise_cases(bk=BACKENDS, gradient=ALL, n_rows=[3, 10, 25])
def test_negative_states_are_bits_however_few_the_rows(bk, gradient, n_rows):
    rows = bits(n_rows)
    trainer = trainer_for(bk, rows, gradient=gradient, batch_size=10)
    train(trainer, rows, (0, 2))
    states = trainer.negative_states(0)
    assert states.shape == (10 if gradient in PERSISTENT else min(10, n_rows), 4)
    assert set(np.unique(states)) <= {0, 1}
    np.testing.assert_array_equal(states, trainer.negative_states(0))


def test_negative_states_of_contrastive_divergence_follow_its_last_visible_states(bk):
    rows = np.ones((30, 6))
    weights = exact.Weights(np.zeros((6, 2)), np.full(6, 20.0), np.array([-9.0, 9.0]))
    with pytest.warns(DataWarning, match="constant"):
        trainer = trainer_for(bk, rows, weights=weights, learning_rate=1e-9)
    train(trainer, rows, (0, 1))
    trainer.machine.W[...] = bk.asarray(np.stack([np.full(6, 5.0), np.full(6, -5.0)], axis=1))
    # All visible states are 1, so that W adds 30 to the first unit's input and takes 30 from the second's.
    np.testing.assert_array_equal(trainer.negative_states(0), np.tile([1.0, 0.0], (10, 1)))


@case_by_case("n_negative", [3, 10, 17])
def test_negative_states_follow_a_negative_phase_of_any_number_of_rows(bk, n_negative):
    """Particles under another name than "chains", beside minibatches of 10 rows, and a last one of 4."""

    @dataclass(frozen=True)
    class Particles(CD):
        def start(self, machine, n_chains, rng):
            return {"particles": machine.bk.xp.zeros((n_negative, 6), machine.dtype)}

        def __call__(self, machine, buffers, n_rows, batch_size, state, rng):
            n = n_rows + n_negative
            v, h = buffers.visible(n), buffers.hidden(n)
            v[n_rows:] = state["particles"] = machine.bk.xp.ones((n_negative, 6), machine.dtype)
            machine.mean_hidden(v, out=h)
            return buffers.gradient(n_rows, n_negative, batch_size)

    rows, settings = bits(34, dtype=np.float64), {"gradient": Particles(), "learning_rate": 1e-9}
    weights = exact.Weights(np.zeros((6, 2)), np.zeros(6), np.array([-9.0, 9.0]))
    trainer, resumed = (trainer_for(bk, rows, weights=weights, **settings) for _ in range(2))
    train(trainer, rows, (0, 2))
    resumed.restore(trainer.snapshot())
    for each in (trainer, resumed):
        each.machine.W[...] = bk.asarray(np.stack([np.full(6, 5.0), np.full(6, -5.0)], axis=1))
        np.testing.assert_array_equal(each.negative_states(0), np.tile([1.0, 0.0], (n_negative, 1)))


def test_sparsity_brings_units_to_their_target(bk):
    rows = bits(200)
    means = []
    for target in (None, 0.05):
        trainer = trainer_for(bk, rows, 8, sparsity_target=target, sparsity_cost=1.0)
        train(trainer, rows, (0, 8))
        means.append(exact.hidden_given(trainer.machine.weights(), rows).mean())
    assert means[0] > 0.3
    assert means[1] < 0.15


def test_representations_are_hidden_means(bk):
    rows = bits(50)
    weights = exact.tiny(6, 3, dtype=np.float32)
    trainer = trainer_for(bk, rows, weights=weights)
    h = exact.hidden_given(weights, rows)
    plain = trainer.represent(Rows(ArraySource(rows), bk, np.float32))
    np.testing.assert_allclose(bk.to_numpy(plain.block(0, 50)), h, rtol=1e-5)
    mean, scale = np.array([0.1, 0.2, 0.3], np.float32), np.array([2, 3, 4], np.float32)
    plain = plain.standardised(mean, scale)
    np.testing.assert_allclose(bk.to_numpy(plain.block(0, 50)), (h - mean) / scale, rtol=1e-4, atol=1e-6)


def test_early_stopping_returns_to_the_weights_that_held_out_rows_score_best(monkeypatch):
    """By scores made up; then by the likelihood of rows that it held out itself."""
    scores, seen = iter([-5.0, -3.0, -4.0, -3.5, -9.0]), []

    def score(self, weights):
        seen.append(weights.W.copy())
        return next(scores)

    rows = (np.random.default_rng(0).random((60, 8)) < 0.4).astype(float)
    with monkeypatch.context() as patched:
        patched.setattr(Monitor, "score", score)
        rbm = RBM(4, n_iter=50, early_stopping=True, n_iter_no_change=2, random_state=0).fit(rows)
    assert rbm.n_iter_ == 4
    np.testing.assert_array_equal(rbm.weights_.W, seen[1])
    assert (seen[3] != seen[1]).any()
    assert [record["held_out_score"] for record in rbm.history_] == [-5, -3, -4, -3.5]
    plain = RBM(4, n_iter=2, validation_fraction=0.1, random_state=0).fit(rows)
    assert "held_out_score" not in plain.history_[0]


def test_the_score_of_held_out_rows_is_their_pseudo_log_likelihood():
    rows = (np.random.default_rng(0).random((50, 8)) < 0.4).astype(float)
    rbm = RBM(4, n_iter=3, early_stopping=True, n_iter_no_change=50, validation_fraction=0.2, random_state=0).fit(rows)
    held_out = split_rows(as_source(rows), 0.2, rbm._seed)[1].take(slice(None))
    assert max(record["held_out_score"] for record in rbm.history_) == pytest.approx(rbm.score(held_out), abs=1e-9)
    real = RBM(4, n_iter=2, early_stopping=True, random_state=0).fit(np.random.default_rng(1).normal(size=(50, 8)))
    error = -real.history_[0]["held_out_score"]
    assert 0 < error < 2 * 8


def test_early_stopping_of_a_stack_and_its_conflicts():
    rows = (np.random.default_rng(0).random((60, 8)) < 0.4).astype(float)
    dbn = DBN((6, 4), rbm=RBM(n_iter=40, early_stopping=True, n_iter_no_change=1), random_state=0).fit(rows)
    epochs = [max(r["epoch"] for r in dbn.history_ if r["layer"] == layer) for layer in (1, 2)]
    assert all("held_out_score" in record for record in dbn.history_)
    assert min(epochs) < 40
    with pytest.raises(SettingError, match=r"averaging=0.5 the mean of many: use only one of them"):
        RBM(4, early_stopping=True, averaging=0.5).fit(rows)

"""Multi-prediction training: hidden values are predicted from the others by the mean field."""

import tracemalloc

import numpy as np
import pytest
from conftest import BACKENDS, opened
from layer_runs import train, trainer_for

from deepbelief import RBM, load, save
from deepbelief.backends import get_backend
from deepbelief.components import MultiPrediction, multi_prediction
from deepbelief.components.multi_prediction import gradient_of_prediction, predictor
from deepbelief.errors import SettingError
from deepbelief.machine import Machine, Workspace
from deepbelief.optimizers import Adam
from deepbelief.seeds import stream
from deepbelief.stack import Weights

SIZES = {"softmax:3,2,4": (3, 2, 4), "bernoulli": (1,) * 9}


def one_hot(rng, n, sizes):
    if sizes[0] == 1:
        return (rng.random((n, len(sizes))) < 0.5).astype(float)
    return np.hstack([np.eye(size)[rng.integers(size, size=n)] for size in sizes])


def problem(visible, seed=0):
    rng, sizes = np.random.default_rng(seed), SIZES[visible]
    base = np.full(9, 0.3) if visible == "bernoulli" else np.repeat(1 / np.array(sizes), sizes)
    W, b, c = rng.normal(size=(9, 4)), rng.normal(size=9), rng.normal(size=4)
    groups = np.repeat(np.eye(len(sizes)), sizes, axis=0)
    hidden = (rng.random((5, len(sizes))) < 0.5).astype(float) @ groups.T
    missing = (rng.random((5, len(sizes))) < 0.2).astype(float) @ groups.T
    target = one_hot(rng, 5, sizes) * (1 - missing)
    given, weight = (1 - missing) * (1 - hidden), (1 - missing) * hidden * rng.uniform(0.5, 2, (5, 1))
    return Weights(W, b, c, visible, "bernoulli", None, None, base), target, given, weight, groups


def loss(weights, target, given, weight, groups, n_steps):
    """Return the weighted negative log-probability of the hidden values, written out."""
    v = target * given + (1 - given) * weights.visible_mean
    for _ in range(n_steps):
        h = 1 / (1 + np.exp(-(v @ weights.W + weights.hbias)))
        a = h @ weights.W.T + weights.vbias
        p = 1 / (1 + np.exp(-a)) if weights.visible == "bernoulli" else np.exp(a) / (np.exp(a) @ groups @ groups.T)
        v = target * given + (1 - given) * p
    if weights.visible == "bernoulli":
        return -(weight * (target * np.log(p) + (1 - target) * np.log(1 - p))).sum()
    return -(weight * target * np.log(p)).sum()


@pytest.mark.parametrize("visible", SIZES)
@pytest.mark.parametrize("n_steps", [1, 3])
def test_the_gradient_is_that_of_the_log_probability_of_hidden_values(visible, n_steps):
    weights, target, given, weight, groups = problem(visible)
    machine = Machine(weights, get_backend("numpy"))
    space = Workspace(machine.bk, machine.dtype)
    grads = gradient_of_prediction(machine, target, given, weight, groups, n_steps, space)
    for name, grad in zip(("W", "vbias", "hbias"), grads, strict=True):
        for place in np.ndindex(*grad.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = {key: getattr(weights, key).copy() for key in ("W", "vbias", "hbias")}
                moved[name][place] += step
                other = Weights(**moved, visible=visible, visible_mean=weights.visible_mean)
                ends.append(loss(other, target, given, weight, groups, n_steps))
            assert grad[place] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-7)


def dependent_rows(n=300):
    """Return rows of four groups of 4: the third is a permutation of the first, the others are independent."""
    a, b, noise = np.random.default_rng(0).integers(4, size=(3, n))
    return np.hstack([np.eye(4)[code] for code in (a, b, (a + 1) % 4, noise)])


def test_hidden_values_are_not_given_and_count_by_their_rows(monkeypatch):
    X = dependent_rows(100)
    X[::7, 4:8] = np.nan
    row_weights = np.where(X[:, 0] == 1, 3.0, 1.0)
    seen, steps, gradient = [], [], gradient_of_prediction

    def look(machine, *arrays):
        seen.append([a.reshape(len(a), 4, 4).copy() for a in arrays[:3]])
        return gradient(machine, *arrays)

    class Looking(Adam):
        def step(self, bk, params, grads, moments, rates, momentum, decays):
            steps.append((rates[0], decays))
            super().step(bk, params, grads, moments, rates, momentum, decays)

    monkeypatch.setattr(multi_prediction, "gradient_of_prediction", look)
    monkeypatch.setattr(multi_prediction, "Adam", Looking)
    component = MultiPrediction(n_hidden=8, rate=0.02, weight_decay=1e-3, shares=(0.3, 0.6))
    rbm = RBM(2, components=[component], n_iter=20, batch_size=25, visible=SETTINGS["visible"], random_state=0)
    rbm.fit(X, sample_weight=row_weights)
    shares = []
    for target, given, weight in seen:
        assert np.ptp(given, axis=2).max() == np.ptp(weight, axis=2).max() == 0  # whole groups
        missing, predicted = target.sum(axis=2) == 0, weight[:, :, 0] > 0
        np.testing.assert_array_equal(given[:, :, 0] + predicted + missing, 1)  # one of the three
        rows = np.where(target[:, 0, 0] == 1, 3, 1) / row_weights.mean() / 25
        np.testing.assert_allclose(weight[:, :, 0], predicted * rows[:, None], rtol=1e-5)
        shares.append(predicted.sum() / (~missing).sum())
    assert np.mean(shares) == pytest.approx(0.45, abs=0.03)  # the mean of the range
    rates = [rate for rate, _ in steps]
    assert rates[0] < rates[10] > rates[-1]
    assert rates[10] == pytest.approx(0.02)
    assert {decays for _, decays in steps} == {(1e-3, 0.0, 0.0)}


SETTINGS = {"visible": "softmax:4,4,4,4", "gradient": "pcd", "solver": "adam", "learning_rate": 0.01}


@pytest.mark.slow
def test_hidden_values_are_predicted_and_the_machine_stays_as_it_is(bk):
    X = dependent_rows()
    holes = X.copy()
    holes[:, 8:12] = np.nan
    settings = SETTINGS | {"n_iter": 60, "batch_size": 50, "centered": True, "backend": bk}
    rbm = RBM(4, components=[MultiPrediction(rate=0.03, n_hidden=16)], random_state=0, **settings).fit(X)
    filled = np.asarray(rbm.impute(holes))
    assert np.mean(filled[:, 8:12].argmax(axis=1) == X[:, 8:12].argmax(axis=1)) > 0.99
    assert rbm.weights_.n_hidden == 4
    draws = rbm.impute(holes, n_draws=1, random_state=0)  # of the machine, by Gibbs sampling
    assert set(np.unique(np.asarray(draws[0]))) == {0.0, 1.0}


def test_rows_with_missing_values_and_weights_count_as_they_should_and_files_keep_the_weights(tmp_path):
    X = dependent_rows(100)
    X[:60, :4] = np.nan
    t = (-1.0, 0.0, 0.5, 1.0)
    component = MultiPrediction(shares=[0.2, 0.4], groups=[(4, t)])
    rbm = RBM(6, components=[component], n_iter=2, random_state=0, **SETTINGS)
    rbm.fit(X, sample_weight=np.r_[np.zeros(50), np.ones(50)])
    alone = RBM(6, components=[component], n_iter=2, random_state=0, **SETTINGS).fit(X[50:])
    np.testing.assert_array_equal(rbm.impute(X), alone.impute(X))
    save(rbm, tmp_path / "model.h5")
    loaded = load(tmp_path / "model.h5")
    assert list(loaded.components) == [MultiPrediction(shares=(0.2, 0.4), groups=((4, t),))]
    np.testing.assert_array_equal(loaded.impute(X), rbm.impute(X))
    assert np.ptp(rbm.impute(X[:1])[0, :4]) > 0


def test_weights_of_neighbouring_cells_are_tied():
    t = tuple(np.linspace(-2, 2, 12))
    X = np.eye(12)[np.arange(240) % 12]
    rbm = RBM(2, visible="softmax:12", components=[MultiPrediction(groups=[(0, t)])], n_iter=2, random_state=0).fit(X)
    W = rbm._state.arrays["multi_prediction"]["W"]
    assert W.shape == (12, 64)
    assert np.linalg.matrix_rank(W, tol=1e-5) <= 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 0.0}, "rate must be a number > 0"),
        ({"shares": (0.6, 0.1)}, "shares must be two numbers"),
        ({"n_steps": 0}, "n_steps must be an integer >= 1"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        MultiPrediction(**settings)


def test_real_values_are_refused():
    with pytest.raises(SettingError, match="is for Bernoulli or softmax visible units"):
        RBM(4, components=["multi_prediction"]).fit(np.random.default_rng(0).normal(size=(20, 3)))


@pytest.mark.parametrize("make", BACKENDS)
def test_initial_weights_are_the_same_on_every_backend_and_small(make):
    rows = dependent_rows(20).astype(np.float32)
    settings = {"visible": "softmax:4,4,4,4", "components": [MultiPrediction(n_hidden=50)]}
    learner = trainer_for(bk := opened(make), rows, **settings).learner
    state = learner.arrays["multi_prediction"]
    expected = np.random.default_rng(stream(0, 0, "multi_prediction")).normal(scale=0.01, size=(16, 50))
    np.testing.assert_array_equal(bk.to_numpy(state["W"]), expected.astype(np.float32))
    np.testing.assert_array_equal(bk.to_numpy(state["vbias"]), bk.to_numpy(learner.machine.base_vbias))
    assert np.ptp(bk.to_numpy(state["vbias"])) > 0


def test_predicting_units_are_logistic_whatever_those_of_the_machine():
    machine = Machine(Weights(np.ones((3, 2)), np.zeros(3), np.zeros(2), "bernoulli", "gaussian"), get_backend())
    found = predictor(machine, {"W": np.full((3, 4), 2.0), "vbias": np.zeros(3), "hbias": np.zeros(4)})
    mean = found.mean_hidden(np.array([[1.0, 0.0, 0.0]]), out=np.empty((1, 4)))
    np.testing.assert_allclose(mean, 1 / (1 + np.exp(-2)))


def test_updates_after_the_first_minibatch_allocate_nothing_of_the_size_of_a_phase(monkeypatch):
    rows = np.tile(dependent_rows(250), 25).astype(np.float32)  # 400 columns
    component = MultiPrediction(n_hidden=300)
    hook, peaks = MultiPrediction.before_gradient, []

    def measured(*arguments):
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        hook(*arguments)
        peaks.append(tracemalloc.get_traced_memory()[1] - before)

    monkeypatch.setattr(MultiPrediction, "before_gradient", measured)
    trainer = trainer_for(
        get_backend(), rows, 4, visible="softmax:" + ",".join(["4"] * 100), components=[component], batch_size=100,
    )  # fmt: skip
    tracemalloc.start()
    try:
        train(trainer, rows, (0, 3))
    finally:
        tracemalloc.stop()
    assert peaks[0] > 480_000  # the test can see buffers
    assert max(peaks[3:]) < 130_000, peaks  # a phase of 100 rows is 160 kB, a gradient of W 480 kB

"""Learned variances of Gaussian visible units, against the exact likelihood and against data whose noise is known."""

import exact
import numpy as np
import pytest
from layer_runs import bits, train, trainer_for
from tables import case_by_case

from deepbelief import DBN, RBM, load, save
from deepbelief.components import LearnedVariance, TrainingStep
from deepbelief.errors import SettingError
from deepbelief.gradients import PhaseBuffers
from deepbelief.likelihood import log_likelihood
from deepbelief.machine import Machine
from deepbelief.pretraining import transform
from deepbelief.sources import as_source
from deepbelief.stack import Stack


def noisy(n=400, seed=0):
    """Rows of two centres far apart; each column's noise has its own deviation."""
    rng = np.random.default_rng(seed)
    which = rng.integers(0, 2, n)
    return np.array([[4.0, -1.0, 2.0], [0.0, 3.0, 2.0]])[which] + rng.normal(0, [0.5, 1.0, 2.0], (n, 3))


@case_by_case("share", [1.0, 0.6])
def test_the_gradient_is_that_of_the_exact_likelihood(bk, share):
    """Finite differences of log p(v) = -F(v / sigma) - log Z - sum of log sigma, W / sigma and b / sigma held."""
    weights = exact.tiny(5, 3, visible="gaussian", spread=0.4)
    rows = np.random.default_rng(0).normal(0.3, 1.2, (6, 5))
    machine, learned = Machine(weights, bk), LearnedVariance()
    step = TrainingStep(machine, PhaseBuffers(bk, machine), int(6 / share))
    step.n_rows, step.rate = 6, 0.1
    state = learned.start(step)
    at = np.linspace(-1, 0.5, 5)
    state["log_variance"][...] = bk.asarray(at)
    u = step.phases.visible(6)
    u[...] = bk.asarray(rows)
    learned.enter(step, state, u)
    learned.before_gradient(step, state)
    learned.after_step(step, state)
    got = (at - bk.to_numpy(state["log_variance"])) / 0.1

    def loss(log_variance):
        return -exact.log_likelihood(weights, rows * np.exp(-log_variance / 2)) + log_variance.sum() / 2

    slopes = [(loss(at + step) - loss(at - step)) / 2e-6 for step in 1e-6 * np.eye(5)]
    np.testing.assert_allclose(got, share * np.array(slopes), atol=1e-8)


@pytest.mark.slow
def test_variances_become_those_of_the_noise():
    X = noisy()
    fixed, learned = (
        RBM(1, visible="gaussian", learn_variance=learn, n_iter=100, learning_rate=0.03, batch_size=20, random_state=0,
            gradient="exact", weight_decay=0.0, momentum=0.5).fit(X)
        for learn in (False, True)
    )  # fmt: skip
    # Half the rows come from each centre; of n numbers the deviation is off by more than 6 / sqrt(2 n) once in 5e8.
    np.testing.assert_allclose(learned.weights_.scale, [0.5, 1.0, 2.0], rtol=6 / np.sqrt(2 * 400))
    assert fixed.weights_.scale[0] > 1.5
    test = noisy(seed=1)
    assert log_likelihood(learned, test).mean > log_likelihood(fixed, test).mean + 0.5


def test_rows_enter_by_the_learned_scale(tmp_path):
    X = noisy(60)
    rbm = RBM(3, visible="gaussian", learn_variance=True, n_iter=5, learning_rate=0.05, random_state=0).fit(X)
    weights = rbm.weights_
    u = (X - weights.mean) / weights.scale
    np.testing.assert_allclose(rbm.transform(X), 1 / (1 + np.exp(-(u @ weights.W + weights.hbias))), rtol=1e-6)
    save(rbm, tmp_path / "rbm.h5")
    np.testing.assert_array_equal(load(tmp_path / "rbm.h5").transform(X), rbm.transform(X))


def test_layers_above_see_rows_by_the_learned_scale(bk):
    X = noisy(60)

    def layers(n_passes, n_iter):
        rbm = RBM(visible="gaussian", learn_variance=True, n_iter=n_iter, learning_rate=0.05)
        return DBN((3, 2), rbm=rbm, n_passes=n_passes, random_state=0).fit(X).stack_

    first, second = layers(1, 2)
    means = transform(Stack((first,)), as_source(X), bk)
    np.testing.assert_allclose(second.visible_mean, (means.sum(axis=0) + 1) / 62, rtol=1e-6)
    again, _ = layers(2, 1)
    np.testing.assert_allclose(again.scale, first.scale, rtol=1e-6)
    np.testing.assert_allclose(again.W, first.W, rtol=1e-6)


def test_a_run_goes_on_bit_for_bit(bk):
    X = noisy(60)
    settings = {"visible": "gaussian", "learn_variance": True, "learning_rate": 0.05}
    whole = trainer_for(bk, X, **settings)
    start = whole.machine.weights()
    history = train(whole, X, (0, 4))
    half = trainer_for(bk, X, **settings)
    call = half.parts.call
    half.parts.call = lambda hook, *a: None if hook == "end" else call(hook, *a)  # as between two updates
    train(half, X, (0, 2))
    state = half.export_state()
    log_variance = state.arrays["variance"]["log_variance"]
    assert np.abs(log_variance).min() > 1e-4
    rest = trainer_for(bk, X, weights=half.machine.weights(), state=state, **settings)
    assert train(rest, X, (2, 4))[-1]["reconstruction_error"] == history[-1]["reconstruction_error"]
    for a, b in zip(rest.machine.weights().arrays().values(), whole.machine.weights().arrays().values(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert whole.export_state().arrays["variance"]["merged"] == 1
    assert np.abs(whole.machine.weights().scale / start.scale - 1).min() > 1e-4
    call("end")
    np.testing.assert_allclose(
        half.machine.weights().scale, start.scale * np.exp(log_variance / 2), rtol=1e-6
    )  # fmt: skip


def test_a_constant_column_has_a_variance_left(bk):
    trainer = trainer_for(bk, noisy(60), visible="gaussian", learn_variance=True)
    trainer.learner.phases.visible(10)[...] = 0  # what is left of a constant column once it is scaled
    trainer.learner.now.n_rows, trainer.learner.now.rate = 10, 1.0
    for _ in range(50):
        trainer.parts.call("before_gradient")
        trainer.parts.call("after_step")
    entered = bk.to_numpy(trainer.parts.entered(bk.xp.ones((1, 3))))
    np.testing.assert_allclose(entered, 100, rtol=1e-5)


def test_variances_are_learned_of_gaussian_units_only():
    for settings in ({}, {"visible": "gaussian", "hidden": "rectified"}):
        with pytest.raises(SettingError, match="learn_variance=True is for RBMs of Gaussian visible units"):
            RBM(3, learn_variance=True, **settings).fit(bits())

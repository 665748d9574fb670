"""Samples from stacks: where chains start, and the way down."""

import exact
import numpy as np
import pytest
from conftest import BACKENDS
from exact import states, tiny
from pairwise import pairwise
from tables import case_by_case

from deepbelief import DBN, RBM, RBMClassifier, load, save
from deepbelief.errors import DeepBeliefWarning, SettingError
from deepbelief.pretraining import transform
from deepbelief.sampling import first_states, rows_below, sample
from deepbelief.seeds import stream
from deepbelief.sources import as_source
from deepbelief.stack import Stack, Weights


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def with_means(weights, means):
    return Weights(weights.W, weights.vbias, weights.hbias, visible_mean=means)


@case_by_case("known", [True, False])
def test_chains_start_given_independent_units_with_the_column_means(bk, known):
    weights = tiny(4, 3, spread=3)
    means = np.array([0.9, 0.2, 0.5, 0.05]) if known else sigmoid(weights.vbias)
    drawn = first_states(with_means(weights, means) if known else weights, 40_000, bk, bk.rng(stream(0)))
    V = states(4)
    p = np.prod(np.where(V == 1, means, 1 - means), axis=1)
    expected = p @ sigmoid(V @ weights.W + weights.hbias)
    assert set(np.unique(drawn)) == {0, 1}
    assert type(drawn) is np.ndarray
    np.testing.assert_allclose(drawn.mean(axis=0), expected, atol=0.012)
    at_the_means = sigmoid(means @ weights.W + weights.hbias)
    assert np.abs(expected - at_the_means).max() > 0.03  # the test would see the difference


def test_standardised_rows_start_around_their_means(bk):
    weights = tiny(3, 2, visible="gaussian")
    given = Weights(
        weights.W, weights.vbias, weights.hbias, "gaussian", mean=np.full(3, 9.0), scale=np.ones(3),
        visible_mean=np.zeros(3),
    )  # fmt: skip
    drawn = first_states(given, 40_000, bk, bk.rng(stream(0)))
    v = np.random.default_rng(0).normal(size=(200_000, 3))
    np.testing.assert_allclose(drawn.mean(axis=0), sigmoid(v @ weights.W + weights.hbias).mean(axis=0), atol=0.012)


def test_the_way_down_undoes_the_scaling_of_every_layer(bk):
    rng = np.random.default_rng(0)
    lower = Weights(
        rng.normal(size=(4, 4)), rng.normal(size=4), rng.normal(size=4), "gaussian", "gaussian",
        mean=rng.normal(size=4), scale=rng.random(4) + 0.5,
    )  # fmt: skip
    upper = Weights(rng.normal(size=(4, 3)), rng.normal(size=4), np.zeros(3), "gaussian", "gaussian",
                    mean=rng.normal(size=4), scale=rng.random(4) + 0.5)  # fmt: skip
    h = rng.normal(size=(5, 3))
    middle = (h @ upper.W.T + upper.vbias) * upper.scale + upper.mean
    expected = (middle @ lower.W.T + lower.vbias) * lower.scale + lower.mean
    stack = Stack((lower, upper))
    np.testing.assert_allclose(bk.to_numpy(rows_below(stack, bk.asarray(h), bk)), expected, rtol=1e-12)
    np.testing.assert_allclose(sample(stack, h, 0, bk, bk.rng(stream(0))), expected, rtol=1e-12)
    assert transform(stack, as_source(expected), bk).shape == (5, 3)


def test_the_states_given_are_left_as_they_are(bk):
    stack, h = Stack((tiny(4, 3),)), np.ones((6, 3))
    sample(stack, h, 5, bk, bk.rng(stream(0)))
    np.testing.assert_array_equal(h, 1)


def test_fine_tuned_layers_are_refused(bk):
    with pytest.raises(SettingError, match="pretrained"):
        sample(Stack((tiny(4, 3),), tuned=True), np.ones((1, 3)), 1, bk, bk.rng(stream(0)))


# --- ladders ---


def modes(n=8, odds=3.0):
    """Return a machine with nearly all units at 0, or with these odds to one nearly all at 1."""
    strength = 3.0
    W, vbias = np.full((n, 1), 2 * strength), np.full(n, -strength)
    hbias = np.log(odds) + n * (np.logaddexp(0, -strength) - np.logaddexp(0, strength))
    return Weights(W, vbias, np.array([hbias]), visible_mean=np.full(n, odds / (1 + odds)))


def share_at_1(bk, weights, method, n=2000):
    start = np.zeros((n, weights.n_hidden))
    rows = sample(Stack((weights,)), start, 300, bk, bk.rng(stream(1)), method=method)
    return (rows.mean(axis=1) > 0.5).mean()


def test_a_ladder_gives_modes_their_weights(bk):
    """Plain chains stay where they start, at 0."""
    assert share_at_1(bk, modes(), "gibbs", 200) < 0.2
    assert share_at_1(bk, modes(), "pt") == pytest.approx(0.75, abs=0.06)


@pairwise(bk=BACKENDS, method=["pt", "ptt"], temperature=[0.8, 1.0, 1.5], indirect=["bk"])
def test_samples_of_a_ladder_follow_the_conditional_distribution(bk, method, temperature):
    """Clamped and at a temperature, against enumeration; the checkpoints of ``"ptt"`` are of another machine."""
    weights, n = tiny(5, 4, spread=1.5, seed=3), 8000
    rungs = [Weights(scale * weights.W, weights.vbias, weights.hbias) for scale in (0.0, 0.5)]
    ladder = {f"ladder_{name}": np.array([getattr(each, name) for each in rungs]) for name in ("W", "vbias", "hbias")}
    ladder |= {"ladder_v": np.zeros((2 * 40, 5)), "ladder_log_z": np.zeros(2)}
    clamp = np.tile([np.nan, 1.0, np.nan, 0.0, np.nan], (n, 1))
    rows = sample(
        Stack((weights,)), np.zeros((n, 4)), 200, bk, bk.rng(stream(2)), temperature=temperature, clamp=clamp,
        method=method, ladder=ladder,
    )  # fmt: skip
    cold = Weights(weights.W / temperature, weights.vbias / temperature, weights.hbias / temperature)
    V = states(5)
    V = V[(V[:, 1] == 1) & (V[:, 3] == 0)]
    log_p = -exact.free_energy(cold, V)
    p = np.exp(log_p - np.logaddexp.reduce(log_p))
    free = [0, 2, 4]
    np.testing.assert_allclose(rows.mean(axis=0)[free], (p @ V)[free], atol=0.03)


def test_a_ladder_whose_states_are_not_renewed_is_told(bk):
    with pytest.warns(DeepBeliefWarning, match="did not come from the first of"):
        sample(Stack((modes(),)), np.zeros((50, 1)), 2, bk, bk.rng(stream(1)), method="pt")


def test_units_without_a_free_energy_and_unknown_methods_are_refused(bk):
    start = np.zeros((2, 3))
    with pytest.raises(SettingError, match="use 'gibbs'"):
        sample(Stack((tiny(4, 3, hidden="rectified"),)), start, 5, bk, bk.rng(stream(1)), method="pt")
    with pytest.raises(SettingError, match="method"):
        sample(Stack((tiny(4, 3),)), start, 5, bk, bk.rng(stream(1)), method="annealed")


def test_every_model_samples_along_a_ladder(tmp_path):
    X = np.repeat([[0.0] * 6, [1.0] * 6], 20, axis=0)
    rbm = RBM(2, gradient="ptt", learning_rate=1.0, n_iter=60, batch_size=20, random_state=0).fit(X)
    save(rbm, tmp_path / "rbm.h5")
    back, how = load(tmp_path / "rbm.h5"), {"n_steps": 50, "random_state": 0}
    ladder = rbm.sample(5, method="ptt", **how)
    np.testing.assert_array_equal(ladder, rbm.sample(5, **how))  # "auto" takes the ladder of training
    np.testing.assert_array_equal(ladder, back.sample(5, **how))  # which files keep
    assert rbm.sample(3, method="gibbs", clamp=[1] + [np.nan] * 5, **how).shape == (3, 6)
    dbn = DBN((4, 3), rbm=RBM(n_iter=2), random_state=0).fit(X)
    assert dbn.sample(3, method="pt", **how).shape == (3, 6)
    clf = RBMClassifier(4, rbm=RBM(n_iter=2), random_state=0).fit(X, X[:, 0])
    assert clf.sample([0, 1], method="pt", **how).shape == (2, 6)

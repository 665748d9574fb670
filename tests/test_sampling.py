"""Samples from stacks: where chains start, and the way down."""

import numpy as np
import pytest
from exact import states, tiny

from deepbelief.errors import SettingError
from deepbelief.pretraining import transform
from deepbelief.sampling import first_states, rows_below, sample
from deepbelief.seeds import stream
from deepbelief.sources import as_source
from deepbelief.stack import Stack, Weights


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def with_means(weights, means):
    return Weights(weights.W, weights.vbias, weights.hbias, visible_mean=means)


@pytest.mark.parametrize("known", [True, False])
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

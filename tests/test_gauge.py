"""The zero-sum gauge of softmax groups changes no probability, and keeps the sums at 0."""

from dataclasses import replace

import numpy as np
import pytest
from exact import log_likelihood, tiny, visible_states

from deepbelief import RBM
from deepbelief.components import Gauge, TrainingStep
from deepbelief.errors import SettingError
from deepbelief.gradients import PhaseBuffers
from deepbelief.machine import Machine

KINDS = ("softmax:3,2", "softmax:1,4", "softmax:5")
MANY = "softmax:2,3,2,3,2,4,1"  # more sizes than are taken one after the other


def in_gauge(weights, bk):
    """Return weights after the component's step."""
    machine = Machine(weights, bk)
    step = TrainingStep(machine, PhaseBuffers(bk, machine), 1)
    Gauge().after_step(step, {})
    return machine.weights()


def sums(weights):
    sizes = weights.visible_unit.group_sizes(weights.n_visible)
    ends = np.cumsum(sizes)
    stacked = np.column_stack([weights.W, weights.vbias])
    return [stacked[end - size : end].sum(axis=0) for end, size in zip(ends, sizes, strict=True) if size > 1]


@pytest.mark.parametrize("visible", [*KINDS, MANY])
def test_no_probability_changes(visible, bk):
    n = sum(map(int, visible.removeprefix("softmax:").split(",")))
    weights = tiny(n, 3, visible=visible, seed=4)
    found = in_gauge(weights, bk)
    V = visible_states(weights)
    for v in V[:: max(1, len(V) // 20)]:
        assert abs(log_likelihood(found, v[None]) - log_likelihood(weights, v[None])) < 1e-12
    assert np.abs(sums(found)).max() < 1e-14
    assert np.linalg.norm(found.W) < np.linalg.norm(weights.W)


def test_other_units_of_a_mixed_layer_stay_as_they_are(bk):
    weights = replace(tiny(8, 3, visible="bernoulli", seed=1), visible="parts:bernoulli*2;softmax:3;gaussian*3")
    found = in_gauge(weights, bk)
    others = [0, 1, 5, 6, 7]
    np.testing.assert_array_equal(found.W[others], weights.W[others])
    np.testing.assert_array_equal(found.vbias[others], weights.vbias[others])
    assert abs(found.W[2:5].sum(axis=0)).max() < 1e-14


def rows(n=200):
    rng = np.random.default_rng(0)
    c = rng.integers(3, size=n)
    return np.hstack([np.eye(3)[c], np.eye(4)[np.where(rng.random(n) < 0.8, c, 3)]])


@pytest.mark.parametrize("more", [{"gradient": "cd"}, {"gradient": "pcd"}, {"centered": True}])
def test_training_stays_in_it(more):
    settings = {"visible": "softmax:3,4", "n_iter": 5, "random_state": 0, **more}
    assert np.abs(sums(RBM(4, **settings).fit(rows()).weights_)).max() > 1e-4
    rbm = RBM(4, components=["gauge"], **settings).fit(rows())
    assert np.abs(sums(rbm.weights_)).max() < 1e-5


def test_it_is_for_groups():
    with pytest.raises(SettingError, match="softmax groups"):
        RBM(2, components=["gauge"], n_iter=1).fit(np.eye(4))

"""Runs that diverge: what they say, and what they leave behind."""

import pickle

import exact
import numpy as np
import pytest
from conftest import BACKENDS
from layer_runs import bits, train, trainer_for
from pairwise import pairwise
from tables import case_by_case

from deepbelief.errors import DivergenceError

ESTIMATORS = ["cd", "pcd"]


def diverging_rows():
    return np.random.default_rng(0).normal(0, 50, (60, 8)).astype(np.float32)


@case_by_case("gradient", ESTIMATORS)
@case_by_case("rate", [10.0, 1e5, 1e30])
def test_a_run_that_diverges_at_once_names_layer_epoch_and_rate(bk, gradient, rate):
    rows = diverging_rows()
    trainer = trainer_for(bk, rows, visible="gaussian", gradient=gradient, learning_rate=rate, momentum=0.9)
    with pytest.raises(DivergenceError, match=r"layer 1 diverged in epoch 1: .*; try learning_rate=") as caught:
        train(trainer, rows, (0, 4))
    assert f"(it was {rate:.3g})" in str(caught.value)
    error = pickle.loads(pickle.dumps(caught.value))  # as it comes from a worker
    assert (error.layer, error.epoch, error.setting, error.value) == (1, 1, "learning_rate", rate)
    assert f"try --learning-rate={rate / 10:.3g}" in error.spelled(lambda mention: f"--learning-rate={mention.text}")


@pairwise(
    bk=BACKENDS,
    gradient=ESTIMATORS,
    hidden=["bernoulli", "gaussian"],
    visible=["bernoulli", "gaussian"],
    indirect=["bk"],
)
def test_a_run_that_diverges_later_keeps_its_last_good_epoch(bk, gradient, hidden, visible):
    rows = bits()
    settings = {"gradient": gradient, "hidden": hidden, "visible": visible, "horizon": 4, "learning_rate": 0.001}
    trainer = trainer_for(bk, rows, schedule=lambda p: 1.0 if p < 0.25 else 1e30, **settings)
    history = train(trainer, rows, (0, 4))
    assert len(history) == 2
    assert "layer 1 diverged in epoch 2" in history[-1]["diverged"]
    good = trainer_for(bk, rows, schedule="constant", **settings)
    train(good, rows, (0, 1))
    kept, wanted = trainer.machine.weights().arrays(), good.machine.weights().arrays()
    for name in kept:
        np.testing.assert_array_equal(kept[name], wanted[name])
    # What a later run would start from is sane too.
    state = trainer.export_state()
    assert all(np.isfinite(array).all() for own in state.arrays.values() for array in own.values())
    assert np.isfinite(trainer.negative_states(0)).all()
    again = trainer_for(bk, rows, weights=trainer.machine.weights(), state=state, schedule="constant", **settings)
    assert "diverged" not in train(again, rows, (2, 4))[-1]


def test_huge_inputs_have_diverged_even_where_rows_are_reconstructed(bk):
    rows = bits()
    identity = 1e5 * np.eye(6, dtype=np.float32)
    weights = exact.Weights(identity, np.full(6, -5e4, np.float32), np.full(6, -5e4, np.float32))
    trainer = trainer_for(bk, rows, weights=weights, learning_rate=1e-9)
    with pytest.raises(DivergenceError, match="hidden inputs reached 5e"):
        train(trainer, rows, (0, 1))


@case_by_case("values", [[np.nan], [np.inf], [-np.inf, np.inf]])
@case_by_case("name", ["W", "vbias", "hbias"])
def test_weights_that_are_not_finite_have_diverged(values, name, bk):
    trainer = trainer_for(bk, bits())
    train(trainer, bits(), (0, 1))
    weights = trainer.machine.weights()
    getattr(weights, name).reshape(-1)[: len(values)] = values
    with np.errstate(invalid="ignore"):  # as during an epoch
        assert trainer.monitor.divergence(weights, 0.0, 1.0, is_model=True) == "weights are no longer finite"


def test_weights_whose_sum_overflows_are_finite(bk):
    trainer = trainer_for(bk, bits())
    train(trainer, bits(), (0, 1))
    weights = trainer.machine.weights()
    weights.W[...] = np.finfo(np.float32).max
    with np.errstate(over="ignore"):
        assert trainer.monitor.divergence(weights, 0.0, 1.0, is_model=True) == ""


def test_reconstructing_worse_than_the_column_means_is_divergence(bk):
    rows = bits()
    weights = exact.Weights(np.zeros((6, 2), np.float32), np.full(6, 20, np.float32), np.zeros(2, np.float32))
    trainer = trainer_for(bk, rows, weights=weights, learning_rate=1e-9)
    with pytest.raises(DivergenceError, match="reconstructed worse") as caught:
        train(trainer, rows, (0, 1))
    # Every bit is taken for 1, against the bits' own variance.
    assert f"({(1 - rows).sum(axis=1).mean():.4g})" in str(caught.value)
    assert f"({rows.var(axis=0).sum():.4g})" in str(caught.value)


def test_gaussian_machines_without_a_minimum_have_diverged(bk):
    rows = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    weights = exact.Weights(
        np.eye(4, 3, dtype=np.float32) * 1.2, np.zeros(4, np.float32), np.zeros(3, np.float32), "gaussian", "gaussian"
    )
    trainer = trainer_for(bk, rows, visible="gaussian", hidden="gaussian", weights=weights, learning_rate=1e-6)
    with pytest.raises(DivergenceError, match="spectral norm 1"):
        train(trainer, rows, (0, 1))

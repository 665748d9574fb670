"""Training with centred units: the same model, moved by updates that do not depend on what is called 0 and 1."""

import exact
import numpy as np
import pytest
from conftest import BACKENDS
from layer_runs import bits, host, train, trainer_for
from pairwise import pairwise
from tables import case_by_case

from deepbelief.errors import SettingError
from deepbelief.gradients import MFCD, Denoising, Exact
from deepbelief.stack import Weights


def with_means(weights, rows):
    mean = (rows.sum(axis=0) + 1) / (len(rows) + 2)
    return Weights(weights.W, weights.vbias, weights.hbias, visible_mean=mean)


def flipped(weights):
    """The same distribution over 1 - v."""
    return Weights(
        -weights.W, -weights.vbias, weights.hbias + weights.W.sum(axis=0), visible_mean=1 - weights.visible_mean
    )


@pairwise(
    bk=BACKENDS,
    gradient=[Exact(), MFCD(3)],
    nesterov=[False, True],
    centered=[True, False],
    indirect=["bk"],
)
def test_updates_on_flipped_rows_are_flipped_updates(bk, gradient, nesterov, centered):
    """To 1e-12 after 28 updates with momentum and decay; plain updates are not."""
    rows = bits(64, dtype=np.float64)
    weights = with_means(exact.tiny(6, 4), rows)
    ends = []
    for start, data in ((weights, rows), (flipped(weights), 1 - rows)):
        trainer = trainer_for(
            bk, data, weights=start, gradient=gradient, centered=centered, weight_decay=0.05, momentum=0.7,
            nesterov=nesterov, l1=0.01,
        )  # fmt: skip
        train(trainer, data, (0, 4))
        ends.append(trainer.machine.weights())
    there, expected = ends[1], flipped(ends[0])
    difference = max(np.abs(getattr(there, n) - getattr(expected, n)).max() for n in ("W", "vbias", "hbias"))
    assert difference < 1e-12 if centered else difference > 1e-2
    assert np.abs(ends[0].W - weights.W).max() > 0.05


def test_an_update_is_that_of_centred_parameters(bk):
    """W, b' and c' step down; b = b' - W lambda and c = c' - mu W are what is kept."""
    rows = bits(10, dtype=np.float64)
    weights = with_means(exact.tiny(6, 4), rows)
    trainer = trainer_for(
        bk,
        rows,
        weights=weights,
        gradient=Exact(),
        centered=True,
        weight_decay=0.5,
        learning_rate=0.2,
        momentum=0.0,
        l1=0.4,
    )
    train(trainer, rows, (0, 1))
    after, mu = trainer.machine.weights(), weights.visible_mean
    start = exact.hidden_given(weights, mu[None])[0]
    offset = 0.99 * start + 0.01 * exact.hidden_given(weights, rows).mean(axis=0)
    W, vbias, hbias = exact.gradient(weights, rows)
    W = W - np.outer(mu, hbias) - np.outer(vbias, offset)
    new = weights.W - 0.2 * (W + 0.5 * weights.W)
    new = np.sign(new) * np.maximum(np.abs(new) - 0.2 * 0.4, 0)
    assert 0 < (new == 0).sum() < new.size
    np.testing.assert_allclose(after.W, new, atol=1e-13)
    np.testing.assert_allclose(after.vbias, weights.vbias + weights.W @ offset - 0.2 * vbias - new @ offset, atol=1e-13)
    np.testing.assert_allclose(after.hbias, weights.hbias + mu @ weights.W - 0.2 * hbias - mu @ new, atol=1e-13)
    np.testing.assert_allclose(bk.to_numpy(trainer.learner.arrays["centring"]["offset"]), offset, atol=1e-13)


@case_by_case("gradient", ["cd", "pcd", "fpcd", "pt", "mfcd"])
def test_a_centred_run_goes_on_bit_for_bit(bk, gradient):
    rows = bits()
    settings = {"gradient": gradient, "centered": True, "averaging": 0.9, "n_chains": 7}
    start = with_means(exact.tiny(6, 4, dtype=np.float32), rows)
    whole = trainer_for(bk, rows, weights=start, **settings)
    train(whole, rows, (0, 10))
    half = trainer_for(bk, rows, weights=start, **settings)
    train(half, rows, (0, 3))
    state, weights = half.export_state(), half.machine.weights()
    assert state.arrays["averaging"]["n"] == 14
    rest = trainer_for(bk, rows, weights=weights, state=state, **settings)
    train(rest, rows, (3, 10))
    for a, b in zip(rest.machine.params, whole.machine.params, strict=True):
        np.testing.assert_array_equal(bk.to_numpy(a), bk.to_numpy(b))


def test_gaussian_units_are_centred_by_the_mean_they_are_standardised_to(bk):
    rows = np.random.default_rng(0).normal([3, -2, 0], [1, 2, 3], (60, 3))
    ends = []
    for centered in (True, False):
        trainer = trainer_for(bk, rows, visible="gaussian", centered=centered, learning_rate=0.01)
        np.testing.assert_array_equal(train(trainer, rows, (0, 2))[-1]["epoch"], 2)
        ends.append(trainer.machine.weights())
    assert np.isfinite(ends[0].W).all()
    assert np.abs(ends[0].W - ends[1].W).max() > 1e-6  # by the hidden offsets


def test_diverged_offsets_do_not_outlive_the_run(bk):
    rows = bits(50)
    trainer = trainer_for(bk, rows, gradient="fpcd", centered=True, averaging=1.0)
    train(trainer, rows, (0, 1))
    before = trainer.machine.weights().W
    trainer.learner.arrays["centring"]["offset"][...] = float("nan")
    history = train(trainer, rows, (1, 2))
    assert "diverged" in history[-1]
    assert all(np.isfinite(a).all() for a in host(bk, trainer.learner.phases.offsets))
    assert all(np.isfinite(a).all() for a in trainer.machine.weights().arrays().values())
    fast = [a for name, a in trainer.learner.arrays["gradient"].items() if name.startswith("fast")]
    assert all((a == 0).all() for a in host(bk, fast))
    np.testing.assert_array_equal(trainer.machine.weights().W, before)


def test_centring_is_for_models(bk):
    with pytest.raises(SettingError, match="not for denoising"):
        trainer_for(bk, bits(), gradient=Denoising(), centered=True)
    with pytest.raises(SettingError, match="column means"):
        trainer_for(bk, bits(), weights=exact.tiny(6, 4, dtype=np.float32), centered=True)

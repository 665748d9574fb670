"""log Z along a ladder of annealed machines against enumeration, and where annealing goes wrong."""

import dataclasses
import warnings

import exact
import numpy as np
import pytest
from tables import case_by_case

from deepbelief import Weights
from deepbelief.errors import DeepBeliefWarning, SettingError
from deepbelief.likelihood import check_agreement, exact_log_z, ladder_log_z, log_likelihood, tempered

KINDS = [("bernoulli", "bernoulli", 1.3), ("softmax:2,3", "bernoulli", 1.3), ("gaussian", "bernoulli", 0.7)]


@case_by_case(("visible", "hidden", "spread"), KINDS)
def test_the_ladder_finds_log_z(bk, visible, hidden, spread):
    weights = exact.tiny(visible=visible, hidden=hidden, spread=spread)
    found = ladder_log_z(weights, n_runs=200, n_sweeps=100, backend=bk)
    assert found.met
    assert found.low < exact.log_z(weights) < found.high
    assert found.high - found.low < 0.4
    assert found.betas[0] == 0
    assert found.betas[-1] == 1
    assert (np.diff(found.betas) > 0).all()


def two_modes(n=16, weight=4.0, mean=0.26):
    """One hidden unit holds all visible units at 1, else all are at 0; the second mode has odds of 1/3."""
    W = np.full((n, 1), 2 * weight)
    hbias = -np.log(3) - n * np.log1p(np.exp(weight)) + n * np.log1p(np.exp(-weight))
    known = None if mean is None else np.full(n, mean)
    return Weights(W, np.full(n, -weight), np.array([hbias]), visible_mean=known)


@pytest.mark.slow
def test_a_mode_that_the_first_machine_never_visits_is_noticed():
    """Without column means the first machine has the model's visible biases, and with them its first mode only."""
    weights = two_modes(mean=None)
    with pytest.warns(DeepBeliefWarning, match="missed a mode"):
        found = ladder_log_z(weights)
    assert found.met
    assert not found.agrees
    assert found.log_z == pytest.approx(exact_log_z(weights), abs=0.1)
    assert found.low < exact_log_z(weights) < found.high


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_log_z_of_modes_far_apart_is_right_or_comes_with_a_warning(monkeypatch, seed):
    """The state of all 1 has a chance of 4e-10 in independent columns of mean 0.26, and of 2e-5 in even odds."""
    monkeypatch.setattr(tempered, "MAX_SWEEPS", 100)
    weights = two_modes(mean=0.26)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = ladder_log_z(weights, random_state=seed)
    assert any("missed a mode" in str(w.message) for w in caught) == (not found.agrees)
    assert any("did not meet" in str(w.message) for w in caught) == (not found.met)
    if found.met:
        assert found.low < exact_log_z(weights) < found.high
        assert found.log_z == pytest.approx(exact_log_z(weights), abs=0.1)


@pytest.mark.slow
def test_intervals_hold_in_95_of_100_repeats():
    weights = exact.tiny(6, 4, spread=1.5)
    truth = exact.log_z(weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeepBeliefWarning)  # two intervals of 3 s.d. can lie apart by chance
        found = [ladder_log_z(weights, n_runs=20, n_sweeps=20, random_state=seed) for seed in range(100)]
    assert sum(each.low < truth < each.high for each in found) >= 95
    z = [3 * (each.log_z - truth) / (each.high - each.log_z) for each in found if each.agrees]
    assert len(z) >= 95
    assert 0.5 < np.mean(np.square(z)) < 2


def test_the_likelihood_of_rows_uses_it():
    weights = exact.tiny(6, 4)
    V = exact.states(6)[:5]
    found = log_likelihood(weights, V, method="ptt", n_runs=50, n_sweeps=50)
    assert found.method == "ptt"
    assert found.low < exact.log_likelihood(weights, V) < found.high
    assert "a ladder of" in str(found)
    with pytest.raises(SettingError, match="betas is for method='ais'"):
        log_likelihood(weights, V, method="ptt", betas=10)
    for bad in (0, 1, 2.5):
        with pytest.raises(SettingError, match="n_runs"):
            ladder_log_z(weights, n_runs=bad)


def test_rows_with_a_probability_above_1_are_noticed():
    weights = exact.tiny(6, 4)
    low = dataclasses.replace(ladder_log_z(weights, n_runs=20, n_sweeps=10), log_z=-5.0, low=-5.1, high=-4.9)
    with pytest.warns(DeepBeliefWarning, match="probability above 1"):
        found = log_likelihood(weights, exact.states(6), log_z=low)
    assert found.log_z.log_z == pytest.approx(exact.log_z(weights))
    assert not found.log_z.agrees


def test_a_given_log_z_that_makes_rows_too_probable_is_noticed():
    """Such as the one that training reported, passed as a number."""
    weights = exact.tiny(6, 4)
    V, true = exact.states(6), exact.log_z(exact.tiny(6, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert log_likelihood(weights, V, log_z=true).log_z == true
    with pytest.warns(DeepBeliefWarning, match=r"the given log Z missed a mode.*probability above 1"):
        assert log_likelihood(weights, np.repeat(V, 2, axis=0), log_z=-5.0).log_z == pytest.approx(true)


def test_estimates_that_disagree_are_noticed():
    found = ladder_log_z(exact.tiny(6, 4), n_runs=20, n_sweeps=10)
    other = dataclasses.replace(found, log_z=found.log_z + 9, low=found.low + 9, high=found.high + 9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_agreement(found, found)
        assert check_agreement(found.high + 0.29, found)
    with pytest.warns(DeepBeliefWarning, match=r"disagree by 9.00 nats"):
        assert not check_agreement(other, found)
    with pytest.warns(DeepBeliefWarning, match="disagree"):
        assert not check_agreement(found, found.low - 0.31)
    for pair in ((found, other), (other, found)):
        with pytest.warns(DeepBeliefWarning, match="missed a mode"):
            both = tempered._checked(*pair)
        assert (both.log_z, both.low, both.high, both.agrees) == (other.log_z, found.low, other.high, False)
    met, unmet = (dataclasses.replace(found, met=met) for met in (True, False))
    assert tempered._checked(unmet, met) is tempered._checked(met, unmet) is met

"""Pseudo-likelihood against the conditionals that enumeration gives."""

import itertools

import numpy as np
import pytest
from exact import free_energy, tiny
from tables import case_by_case

from deepbelief import RBM
from deepbelief.errors import SettingError
from deepbelief.likelihood import conditional_log_likelihoods, pseudo_log_likelihood
from deepbelief.stack import Weights


def joint_weight(weights, v):
    """Return log of the unnormalised p(v), the sum over every hidden state."""
    return -free_energy(weights, v)


def conditional(weights, v, columns):
    """Return log p(unit in these columns = each of its states | the others), shape (n_rows, n_states)."""
    states = np.eye(len(columns)) if len(columns) > 1 else np.array([[0.0], [1.0]])
    logs = []
    for state in states:
        changed = v.copy()
        changed[:, columns] = state
        logs.append(joint_weight(weights, changed))
    logs = np.stack(logs, axis=1)
    return logs - np.logaddexp.reduce(logs, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def bernoulli():
    return tiny(5, 3, spread=1.5)


def test_bits_against_enumerated_conditionals(bernoulli, bk):
    v = np.array(list(itertools.product([0.0, 1.0], repeat=5)))
    expected = np.zeros(len(v))
    for i in range(5):
        log_p = conditional(bernoulli, v, [i])
        expected += log_p[np.arange(len(v)), v[:, i].astype(int)]
    np.testing.assert_allclose(pseudo_log_likelihood(bernoulli, v, backend=bk), expected, rtol=1e-12)
    one_by_one = [pseudo_log_likelihood(bernoulli, row[None], backend=bk)[0] for row in v]
    np.testing.assert_allclose(one_by_one, expected, rtol=1e-12)


def test_grey_levels_are_expected_bits(bernoulli):
    """v log p + (1 - v) log(1 - p), with p from the free energies at 0 and at 1, the others staying grey."""
    v = np.random.default_rng(0).random((20, 5))
    expected = np.zeros(len(v))
    for i in range(5):
        off, on = v.copy(), v.copy()
        off[:, i], on[:, i] = 0, 1
        logit = free_energy(bernoulli, off) - free_energy(bernoulli, on)
        p = 1 / (1 + np.exp(-logit))
        expected += v[:, i] * np.log(p) + (1 - v[:, i]) * np.log(1 - p)
    np.testing.assert_allclose(pseudo_log_likelihood(bernoulli, v), expected, rtol=1e-12)


@case_by_case(("visible", "sizes"), [("softmax:3,2", (3, 2)), ("softmax:1,4", (1, 4)), ("softmax", (5,))])
def test_a_softmax_group_is_one_unit(visible, sizes, bk):
    weights = tiny(5, 3, spread=1.5, visible=visible)
    choices = [np.eye(size) for size in sizes]
    v = np.array([np.concatenate(rows) for rows in itertools.product(*choices)])
    expected, start = np.zeros(len(v)), 0
    for size in sizes:
        columns = list(range(start, start + size))
        if size > 1:
            expected += (conditional(weights, v, columns) * v[:, columns]).sum(axis=1)
        start += size  # a group of one is always on
    np.testing.assert_allclose(pseudo_log_likelihood(weights, v, backend=bk), expected, rtol=1e-12, atol=1e-15)


def test_every_unit_is_conditioned_on_all_others_so_the_sum_is_no_likelihood(bernoulli):
    """On independent units it is one."""
    independent = Weights(np.zeros((5, 3)), bernoulli.vbias, bernoulli.hbias)
    v = np.array(list(itertools.product([0.0, 1.0], repeat=5)))
    assert np.exp(pseudo_log_likelihood(independent, v)).sum() == pytest.approx(1)
    assert np.exp(pseudo_log_likelihood(bernoulli, v)).sum() != pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("n_bits", [1, 3])
def test_some_bits_scaled_up_are_all_bits_on_average(bernoulli, n_bits):
    """Over all draws, each set of columns being equally likely; here by enough seeds to see all of them often."""
    v = np.random.default_rng(1).random((4, 5))
    draws = np.array([pseudo_log_likelihood(bernoulli, v, n_bits=n_bits, random_state=s) for s in range(1000)])
    standard_error = draws.std(axis=0) / np.sqrt(len(draws))
    assert (abs(draws.mean(axis=0) - pseudo_log_likelihood(bernoulli, v)) < 5 * standard_error).all()
    assert len(np.unique(draws[:, 0].round(9))) == len(list(itertools.combinations(range(5), n_bits)))


def test_one_draw_of_columns_holds_for_all_rows(bernoulli):
    v = np.tile(np.random.default_rng(2).random(5), (3, 1))
    assert len(np.unique(pseudo_log_likelihood(bernoulli, v, n_bits=2))) == 1
    np.testing.assert_allclose(pseudo_log_likelihood(bernoulli, v, n_bits=5), pseudo_log_likelihood(bernoulli, v))


def test_missing_units_are_left_out_of_the_sum():
    """Without connections each unit has its own probability, whatever the others are."""
    b, nan = np.array([0.3, -1.0, 0.8, 2.0, -0.5]), np.nan
    groups = Weights(np.zeros((5, 2)), b, np.zeros(2), "softmax:3,2")
    found = pseudo_log_likelihood(groups, [[0, 1, 0, nan, nan], [nan, nan, nan, 1, 0]])
    np.testing.assert_allclose(found, [-1.0 - np.log(np.exp(b[:3]).sum()), 2.0 - np.log(np.exp(b[3:]).sum())])
    bits, row = Weights(np.zeros((5, 2)), b, np.zeros(2)), [[1, nan, 0, 1, 0]]
    each = [-np.logaddexp(0, -b[0]), 0.0, -np.logaddexp(0, b[2]), -np.logaddexp(0, -b[3]), -np.logaddexp(0, b[4])]
    np.testing.assert_allclose(pseudo_log_likelihood(bits, row), [sum(each)])
    np.testing.assert_allclose(conditional_log_likelihoods(bits, row), [each])
    drawn = [pseudo_log_likelihood(bits, row, n_bits=1, random_state=seed)[0] for seed in range(50)]
    np.testing.assert_allclose(np.unique(np.round(drawn, 9)), np.sort(5 * np.array(each)), atol=1e-8)


def test_large_weights_of_either_sign_stay_exact():
    """Inputs of 700 and differences of 1e-30 against 1: softplus(o + W) - softplus(o) without cancellation."""
    W = np.array([[-60.0, 3.0], [5.0, -50.0], [400.0, -300.0]])
    weights = Weights(W, np.array([1.0, -2.0, 0.0]), np.array([70.0, 60.0]))
    v = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
    expected = np.zeros(len(v))
    for i in range(3):
        off = v.copy()
        off[:, i] = 0
        x = off @ W + weights.hbias
        logit = weights.vbias[i] + (np.logaddexp(0, x + W[i]) - np.logaddexp(0, x)).sum(axis=1)
        expected -= np.where(v[:, i] == 1, np.logaddexp(0, -logit), np.logaddexp(0, logit))
    np.testing.assert_allclose(pseudo_log_likelihood(weights, v), expected, rtol=1e-9)


@case_by_case("dtype", [np.float32, np.float64])
@case_by_case("size", [1.0, 200.0, 800.0, 5000.0])
def test_weights_of_any_size_have_the_conditionals_of_enumeration(size, dtype):
    weights = tiny(6, 3, spread=1.5)
    weights = Weights(*((size * a).astype(dtype) for a in (weights.W, weights.vbias, weights.hbias)))
    v = np.array(list(itertools.product([0.0, 1.0], repeat=6)))
    exact = Weights(*(a.astype(np.float64) for a in (weights.W, weights.vbias, weights.hbias)))
    logs = [conditional(exact, v, [i])[np.arange(len(v)), v[:, i].astype(int)] for i in range(6)]
    assert np.abs(logs).max() > size / 2
    np.testing.assert_allclose(conditional_log_likelihoods(weights, v), np.array(logs).T, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(pseudo_log_likelihood(weights, v), np.sum(logs, axis=0), rtol=1e-9, atol=1e-9)


@case_by_case("visible", ["parts:bernoulli*1;softmax:3;bernoulli*2", "softmax:3,3", "bernoulli"])
def test_conditionals_of_each_unit_are_those_of_the_free_energy(visible):
    rng = np.random.default_rng(5)
    weights = Weights(rng.normal(0, 1, (6, 3)), rng.normal(0, 1, 6), rng.normal(0, 1, 3), visible)
    sizes = weights.visible_unit.group_sizes(6)
    v = np.array([np.concatenate([np.eye(n)[rng.integers(n)] if n > 1 else rng.integers(0, 2, 1) for n in sizes])
                  for _ in range(8)])  # fmt: skip
    found, start = conditional_log_likelihoods(weights, v), 0
    for unit, n in enumerate(sizes):
        states = np.eye(n) if n > 1 else np.array([[0.0], [1.0]])
        log_p = []
        for state in states:
            rows = v.copy()
            rows[:, start : start + n] = state
            log_p.append(rows @ weights.vbias + np.logaddexp(0, rows @ weights.W + weights.hbias).sum(axis=1))
        chosen = [np.flatnonzero((states == row).all(axis=1))[0] for row in v[:, start : start + n]]
        wanted = np.array(log_p)[chosen, np.arange(8)] - np.logaddexp.reduce(log_p)
        np.testing.assert_allclose(found[:, unit], wanted, rtol=1e-9, atol=1e-12)
        start += n


def test_rows_are_scored_in_blocks_without_a_seam(bernoulli, monkeypatch):
    v = np.random.default_rng(3).random((50, 5))
    whole = pseudo_log_likelihood(bernoulli, v)
    monkeypatch.setattr("deepbelief.likelihood.pseudo.BLOCK_BYTES", 8 * 4 * 3 * 7)
    np.testing.assert_allclose(pseudo_log_likelihood(bernoulli, v), whole, rtol=1e-12)  # but for float64 rounding
    assert pseudo_log_likelihood(bernoulli, v[:0]).shape == (0,)


def test_a_fitted_machine_is_taken_too(bernoulli):
    rbm = RBM(3, n_iter=1, random_state=0).fit(np.eye(5))
    np.testing.assert_array_equal(pseudo_log_likelihood(rbm, np.eye(5)), rbm.score_samples(np.eye(5)))
    assert pseudo_log_likelihood(rbm, np.eye(5, dtype=np.float32)).dtype == np.float64


@pytest.mark.parametrize(("visible", "hidden"), [("gaussian", "bernoulli"), ("bernoulli", "rectified")])
def test_units_without_one_are_refused(visible, hidden):
    with pytest.raises(SettingError, match=f"visible='{visible}', hidden='{hidden}'"):
        pseudo_log_likelihood(tiny(5, 3, visible=visible, hidden=hidden), np.eye(5))


@case_by_case("n_bits", [0, 6, 1.0, "5"])
def test_numbers_of_bits_that_cannot_be(bernoulli, n_bits):
    with pytest.raises(SettingError, match="between 1 and 5"):
        pseudo_log_likelihood(bernoulli, np.eye(5), n_bits=n_bits)

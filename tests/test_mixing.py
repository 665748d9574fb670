"""Mixing of chains: autocorrelation of a known process, and models whose chains mix or do not."""

import dataclasses

import exact
import numpy as np
import pytest
from tables import case_by_case

from deepbelief import RBM, Weights
from deepbelief.diagnostics import mixing_report
from deepbelief.diagnostics.mixing import autocorrelation_time, nearest_of_own_kind, pair_correlation
from deepbelief.errors import DataError, SettingError


@case_by_case("decay", [0.0, 0.5, 0.9])
def test_the_autocorrelation_time_of_an_autoregressive_process(decay):
    """It is (1 + a) / (1 - a)."""
    rng = np.random.default_rng(0)
    x = np.empty((2000, 100))
    x[0] = rng.normal(size=100) / np.sqrt(1 - decay**2)
    for t in range(1, len(x)):
        x[t] = decay * x[t - 1] + rng.normal(size=100)
    assert autocorrelation_time(x) == pytest.approx((1 + decay) / (1 - decay), rel=0.06)


def test_chains_that_stay_in_their_modes_are_correlated():
    stuck = np.random.default_rng(0).normal(size=(200, 50)) + np.where(np.arange(50) % 2, 5.0, -5.0)
    assert autocorrelation_time(stuck) > 100


def test_nearest_neighbours_of_copies_and_of_other_places():
    rows = np.random.default_rng(0).normal(size=(200, 3))
    same = np.random.default_rng(1).normal(size=(200, 3))
    assert nearest_of_own_kind(rows, same) == (pytest.approx(0.5, abs=0.12), pytest.approx(0.5, abs=0.12))
    assert nearest_of_own_kind(rows, rows + 1e-3)[0] < 0.05
    assert nearest_of_own_kind(rows, same + 50) == (1.0, 1.0)


def test_pairs_of_columns_are_compared():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(4, 4))
    a, b = (rng.normal(size=(5000, 4)) @ mixing for _ in range(2))
    assert pair_correlation(a, b) > 0.98
    assert abs(pair_correlation(a, rng.normal(size=(5000, 4)))) < 0.9
    assert pair_correlation(a, np.zeros((9, 4))) == 0.0


@pytest.mark.slow
def test_a_model_that_mixes(bk):
    weights = Weights(np.kron(np.eye(3), [[3.0], [3.0]]), np.full(6, -1.5), np.full(3, -3.0))  # three pairs
    V = exact.states(6)
    log_p = -exact.free_energy(weights, V)
    p = np.exp(log_p - np.logaddexp.reduce(log_p))
    X = V[np.random.default_rng(0).choice(len(V), 2000, p=p)]
    found = mixing_report(weights, X, n_chains=2000, n_sweeps=100, backend=bk)
    assert found.mixes
    assert not found.out_of_equilibrium
    assert found.pair_correlation[-1] > 0.9
    assert found.aats == (pytest.approx(0.5, abs=0.1), pytest.approx(0.5, abs=0.1))
    assert found.mode_changes > 100
    assert "mode changes" in str(found)


def test_a_model_whose_chains_stay_in_their_modes():
    n = 12
    weights = Weights(np.full((n, 1), 8.0), np.full(n, -4.0), np.full(1, -4.0 * n), visible_mean=np.full(n, 0.5))
    X = np.repeat([[0.0] * n, [1.0] * n], 50, axis=0)
    found = mixing_report(weights, X, n_chains=100, n_sweeps=100)
    assert not found.mixes
    assert found.mode_changes < 1
    assert "sample with method='pt'" in str(found)
    early = dataclasses.replace(found, ceiling=1.0, pair_correlation=np.linspace(0.9, 0.5, len(found.sweeps)))
    assert early.out_of_equilibrium
    assert "samples are best after 1 sweeps" in str(early)


def test_what_cannot_be_reported_is_refused():
    X = np.eye(4)
    with pytest.raises(DataError, match="at least 10 rows"):
        mixing_report(exact.tiny(4, 3), X)
    with pytest.raises(SettingError, match="n_sweeps"):
        mixing_report(exact.tiny(4, 3), np.repeat(X, 5, axis=0), n_sweeps=1)
    with pytest.raises(SettingError):
        mixing_report(RBM(3, hidden="rectified", n_iter=1).fit(np.repeat(X, 5, axis=0)), np.repeat(X, 5, axis=0))

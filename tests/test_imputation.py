"""Held values: what chains average to, against conditionals by enumeration; rows that cannot be filled in."""

import warnings

import numpy as np
import pytest
from exact import energies, states, tiny, visible_states
from tables import case_by_case

from deepbelief import DBN, RBM, Weights
from deepbelief.errors import DataError, SettingError
from deepbelief.estimators.views import sample_rows
from deepbelief.sampling import fill_in, sample
from deepbelief.seeds import stream
from deepbelief.stack import Stack

KINDS = pytest.mark.parametrize("visible", ["bernoulli", "softmax:3,2", "gaussian"])


def known_row(visible):
    nan = np.nan
    return {
        "bernoulli": np.array([1, nan, nan, 0, nan]),
        "softmax:3,2": np.array([nan, nan, nan, 0, 1.0]),
        "gaussian": np.array([1.5, nan, nan, -0.7, nan]),
    }[visible]


def conditional_mean(weights, known, temperature=1.0):
    """Return E[v | known] by the sum over every state that agrees with what is known."""
    free = np.isnan(known)
    H = states(weights.n_hidden)
    if weights.visible == "gaussian":  # free units integrated out for each hidden state
        field = H @ weights.W.T
        own = known[~free] @ field.T[~free] if (~free).any() else 0
        log_p = H @ weights.hbias + own + (field @ weights.vbias + (field**2) / 2 @ np.ones(len(known)))
        log_p -= (field[:, ~free] @ weights.vbias[~free]) + (field[:, ~free] ** 2 / 2).sum(axis=1)
        p = np.exp(log_p - np.logaddexp.reduce(log_p))
        return np.where(free, p @ (field + weights.vbias), known)
    V = visible_states(weights)
    V = V[(V[:, ~free] == known[~free]).all(axis=1)]
    log_p = np.logaddexp.reduce(-energies(weights, V, H) / temperature, axis=1)
    return np.exp(log_p - np.logaddexp.reduce(log_p)) @ V


@KINDS
def test_chains_average_to_the_conditional_mean(visible, bk):
    """400 rows of 200 steps: the mean over rows within five of its own standard errors, and those are small."""
    weights, known = tiny(5, 3, visible=visible, spread=1.2, seed=3), known_row(visible)
    filled = fill_in(weights, np.tile(known, (400, 1)), bk, bk.rng(stream(0)), n_steps=200, burn_in=20)
    error = filled.std(axis=0, ddof=1) / 20
    assert type(filled) is np.ndarray
    assert error.max() < 0.02
    assert (np.abs(filled.mean(axis=0) - conditional_mean(weights, known)) < 5 * error + 1e-12).all()
    unconditional = conditional_mean(weights, np.full(5, np.nan))
    assert np.abs(conditional_mean(weights, known) - unconditional)[np.isnan(known)].max() > 0.04


@KINDS
def test_a_mean_field_is_the_fixed_point_of_its_equations(visible, bk):
    weights, known = tiny(5, 3, visible=visible), known_row(visible)
    filled = fill_in(weights, known[None], bk, None, n_steps=500)[0]
    h = 1 / (1 + np.exp(-(filled @ weights.W + weights.hbias)))
    x = weights.W @ h + weights.vbias
    if visible == "bernoulli":
        again = 1 / (1 + np.exp(-x))
    elif visible == "gaussian":
        again = x
    else:
        again = np.concatenate([np.exp(part) / np.exp(part).sum() for part in (x[:3], x[3:])])
    np.testing.assert_allclose(filled, np.where(np.isnan(known), again, known), atol=1e-3)


@pytest.mark.filterwarnings("ignore:.*hardly vary")
def test_independent_units_are_filled_in_with_their_means():
    weights = Weights(np.zeros((4, 2)), np.array([0.5, -1, 0.2, 2.0]), np.zeros(2))
    known = np.array([[1, np.nan, 0, np.nan]])
    means = 1 / (1 + np.exp(-weights.vbias))
    host = RBM(2).fit(np.eye(4))
    host.weights_ = weights
    for method in ("gibbs", "mean_field"):
        np.testing.assert_allclose(host.impute(known, method=method)[0], [1, means[1], 0, means[3]])


@case_by_case("temperature", [0.5, 3.0])
@case_by_case("clamped", [False, True])
def test_samples_have_the_temperature_and_what_is_held(temperature, clamped, bk):
    """4,000 chains of 60 steps: means within five of their own standard errors of exp(-E / T) by enumeration."""
    weights = tiny(5, 3, spread=1.2, seed=5)
    known = known_row("bernoulli") if clamped else np.full(5, np.nan)
    rows = sample(
        Stack((weights,)), np.zeros((4000, 3)), 60, bk, bk.rng(stream(1)), temperature=temperature,
        clamp=np.tile(known, (4000, 1)) if clamped else None,
    )  # fmt: skip
    expected = conditional_mean(weights, known, temperature)
    error = rows.std(axis=0, ddof=1) / np.sqrt(4000)
    free = np.isnan(known)
    assert (np.abs(rows.mean(axis=0) - expected) < 5 * error)[free].all()
    assert np.abs(expected - conditional_mean(weights, known))[free].max() > 0.05  # as at temperature 1 it is not


@pytest.fixture(scope="module")
def two_patterns():
    X = np.repeat([[0, 0, 1, 1], [1, 1, 0, 0]], 50, axis=0).astype(np.float32)
    return RBM(4, random_state=0).fit(X)


def test_what_is_known_stays_as_it_was(two_patterns, fake_device):
    X = np.array([[1, np.nan, 0, np.nan], [0, 0, 1, 1], [np.nan, np.nan, np.nan, 0.25]])
    for method in ("gibbs", "mean_field"):
        filled = two_patterns.impute(X, method=method)
        known = ~np.isnan(X)
        np.testing.assert_array_equal(filled[known], X[known])
        assert np.isfinite(filled).all()
        assert filled.dtype == X.dtype
        assert filled[0].round().tolist() == [1, 1, 0, 0]
    assert np.isnan(X).any()  # the caller's rows are not written to
    first, second = (two_patterns.impute(X, random_state=3) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (two_patterns.impute(X) != two_patterns.impute(X)).any()
    on_device = RBM(4, backend=fake_device, random_state=0, n_iter=2).fit(np.eye(4))
    assert type(on_device.impute(X)) is np.ndarray
    assert type(on_device.sample(2, n_steps=3)) is np.ndarray


@pytest.mark.slow
def test_filled_in_columns_are_in_the_units_of_the_data():
    rng = np.random.default_rng(0)
    common = rng.normal(size=(400, 1))
    X = 100 + 5 * (common + 0.3 * rng.normal(size=(400, 4)))
    rbm = RBM(8, n_iter=60, random_state=0).fit(X)
    gaps = X[:100].copy()
    gaps[:, 2] = np.nan
    for method in ("gibbs", "mean_field"):
        error = np.square(rbm.impute(gaps, method=method)[:, 2] - X[:100, 2]).mean()
        assert error < 0.5 * X[:100, 2].var()


def test_held_values_come_back_as_given(two_patterns):
    clamp = [1, np.nan, np.nan, 0.5]
    rows = two_patterns.sample(3, n_steps=20, clamp=clamp, random_state=0)
    assert rows[:, [0, 3]].tolist() == [[1, 0.5]] * 3
    first = np.arange(400) // 200  # a half of the chains
    each = two_patterns.sample(400, n_steps=300, clamp=np.stack([first, *[np.full(400, np.nan)] * 3], axis=1))
    means = np.stack([each[first == value].mean(axis=0) for value in (1, 0)])
    assert np.abs(means - [[1, 1, 0, 0], [0, 0, 1, 1]]).max() < 0.25
    np.testing.assert_array_equal(
        two_patterns.sample(5, n_steps=9, random_state=1), sample_rows(two_patterns, 5, n_steps=9, random_state=1)
    )
    assert (two_patterns.sample(50, temperature=5) != two_patterns.sample(50, temperature=5)).any()


@case_by_case(
    ("call", "error", "match"),
    [
        (lambda m: m.impute([[1, 0, 1, 0], [np.nan] * 4]), DataError, "row 1 has no observed value"),
        (lambda m: m.impute([[1, np.inf, 1, 0]]), ValueError, "infinity"),
        (lambda m: m.impute([[1, np.nan]]), ValueError, "2 features"),
        (lambda m: m.impute([[1, np.nan, 0, 0]], method="mean-field"), SettingError, "did you mean 'mean_field'"),
        (lambda m: m.impute([[1, np.nan, 0, 0]], n_steps=0), SettingError, "n_steps must be an integer >= 1, got 0"),
        (lambda m: m.impute([[1, np.nan, 0, 0]], burn_in=-1), SettingError, "burn_in"),
        (lambda m: m.sample(2, clamp=[1, 0]), DataError, r"clamp must be 4 numbers, or 2 rows of them.*shape \(2,\)"),
        (lambda m: m.sample(2, clamp=[1, 0, np.inf, 0]), DataError, "infinite"),
        (lambda m: m.sample(2, temperature=0), SettingError, "temperature must be a number > 0, got 0"),
        (lambda m: m.sample(0), SettingError, "n_samples"),
        (lambda m: m.sample(2, n_steps=0), SettingError, "n_steps"),
    ],
)
def test_what_cannot_be_filled_in_or_drawn(two_patterns, call, error, match):
    with pytest.raises(error, match=match):
        call(two_patterns)


def test_units_that_have_no_temperature():
    X = np.random.default_rng(0).normal(size=(40, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gaussian = RBM(2, n_iter=1).fit(X)
        rectified = RBM(2, n_iter=1, hidden="rectified").fit(np.abs(X) / 10)
    for rbm, named in ((gaussian, "visible='gaussian'"), (rectified, "hidden='rectified'")):
        with pytest.raises(SettingError, match=named):
            rbm.sample(2, temperature=2.0)
        assert np.isfinite(rbm.sample(2, n_steps=3)).all()


def test_a_softmax_group_is_missing_as_a_whole():
    X = np.concatenate([np.eye(3)[[0, 1, 2, 0]], np.eye(2)[[0, 1, 0, 1]]], axis=1)
    rbm = RBM(2, visible="softmax:3,2", n_iter=1, random_state=0).fit(X)
    gaps = X.copy()
    gaps[1, :3] = np.nan
    assert rbm.impute(gaps)[1, :3].sum() == pytest.approx(1, rel=1e-5)
    gaps[2, 4] = np.nan
    with pytest.raises(DataError, match="row 2, softmax group 1 is missing in part"):
        rbm.impute(gaps)
    with pytest.raises(DataError, match="clamp: row 0, softmax group 0"):
        rbm.sample(1, clamp=[1, np.nan, 0, 0, 1])


def test_temperature_of_a_stack_is_that_of_its_top_machine(two_patterns):
    dbn = DBN((4, 3), rbm=RBM(n_iter=2), random_state=0).fit(np.eye(4))
    assert dbn.sample(3, n_steps=5, temperature=2.0).shape == (3, 4)
    with pytest.raises(SettingError, match="temperature must be a number > 0"):
        dbn.sample(3, temperature=-1)

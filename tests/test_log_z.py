"""log Z: by enumeration against sums over every state, by annealing against enumeration."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from exact import log_likelihood as true_log_likelihood
from exact import log_z, states, tiny, visible_states
from scipy.special import log_ndtr
from tables import case_by_case

from deepbelief import RBM, Weights
from deepbelief.backends import get_backend
from deepbelief.errors import DataError, DeepBeliefWarning, SettingError
from deepbelief.likelihood import ais_log_z, exact_log_z, exact_samples, log_likelihood, reverse_ais_log_z
from deepbelief.likelihood import exact as exact_module
from deepbelief.likelihood.ais import Runs, default_betas
from deepbelief.machine import Machine
from deepbelief.seeds import stream

KINDS = [("bernoulli", 5, 3), ("bernoulli", 3, 5), ("softmax:3,2", 5, 3), ("gaussian", 4, 3)]
ALL = pytest.mark.parametrize(("visible", "n_visible", "n_hidden"), KINDS)


@ALL
def test_enumeration_sums_over_all_states(visible, n_visible, n_hidden):
    weights = tiny(n_visible, n_hidden, visible=visible)
    assert exact_log_z(weights) == pytest.approx(log_z(weights), rel=1e-12)


@pytest.mark.parametrize(("n_visible", "n_hidden"), [(5, 7), (7, 5)])
def test_blocks_leave_no_seam(monkeypatch, n_visible, n_hidden):
    weights = tiny(n_visible, n_hidden)
    monkeypatch.setattr(exact_module, "BLOCK_BYTES", 4 * 8 * 6)
    assert exact_log_z(weights) == pytest.approx(log_z(weights), rel=1e-12)


def test_gaussian_hidden_units_are_integrated_out():
    """Z = sum over v of exp(v b) times the Gaussian integral of each hidden unit."""
    weights = tiny(4, 3, hidden="gaussian")
    V = states(4)
    x = V @ weights.W + weights.hbias
    total = np.logaddexp.reduce(V @ weights.vbias + (x**2 / 2).sum(axis=1)) + 3 / 2 * np.log(2 * np.pi)
    assert exact_log_z(weights) == pytest.approx(total, rel=1e-12)


def test_large_weights_do_not_overflow():
    weights = Weights(np.full((4, 3), 500.0), np.zeros(4), np.zeros(3))
    assert exact_log_z(weights) == pytest.approx(500 * 12)


@pytest.mark.parametrize("side", ["visible", "hidden"])
def test_exact_samples_have_the_models_distribution(side, monkeypatch):
    """20,000 draws against 2**4 probabilities by chi-squared: a chance of 1e-6 to fail."""
    monkeypatch.setattr(exact_module, "BLOCK_BYTES", 4 * 8 * 6)
    weights = tiny(4, 3 if side == "hidden" else 6)
    draws = exact_samples(weights, 20_000, random_state=1)
    V = states(4)
    log_p = V @ weights.vbias + np.logaddexp(0, V @ weights.W + weights.hbias).sum(axis=1)
    expected = np.exp(log_p - np.logaddexp.reduce(log_p)) * len(draws)
    counts = (draws[:, None] == V[None]).all(axis=2).sum(axis=0)
    assert counts.sum() == len(draws)
    assert (np.square(counts - expected) / expected).sum() < 56.5  # 15 degrees of freedom


@ALL
@case_by_case("with_mean", [False, True])
def test_annealing_finds_log_z(visible, n_visible, n_hidden, with_mean, bk):
    """Unbiased in Z: 2,000 short runs, within five of their own standard errors and of 0.1 nat."""
    weights = tiny(n_visible, n_hidden, visible=visible, spread=0.9)
    if with_mean:
        mean = np.zeros(n_visible) if visible == "gaussian" else np.full(n_visible, 0.3)
        weights = Weights(
            *(getattr(weights, f) for f in ("W", "vbias", "hbias", "visible", "hidden")), None, None, mean
        )
    truth = log_z(weights)
    for estimate in (
        ais_log_z(weights, n_runs=2000, betas=40, backend=bk),
        reverse_ais_log_z(weights, n_runs=2000, betas=40, backend=bk),
    ):
        w = np.exp(estimate.log_weights - estimate.log_weights.max())
        error = w.std(ddof=1) / w.mean() / np.sqrt(len(w))
        assert abs(estimate.log_z - truth) < 5 * error + 1e-9
        assert 0 < error < 0.02
        assert estimate.low < truth < estimate.high or abs(estimate.log_z - truth) > 3 * error
        assert estimate.exact_start


def log_integral_of(hidden, x):
    """Return the log of the sum or integral over the states of hidden units with these inputs, by row."""
    square = x**2 / 2 + np.log(2 * np.pi) / 2
    each = {
        "bernoulli": np.logaddexp(0, x), "spin": np.logaddexp(x, -x), "gaussian": square, "drelu": square,
        "relu": square + log_ndtr(x),
    }  # fmt: skip
    return each[hidden].sum(axis=1)


HIDDEN = ["bernoulli", "spin", "gaussian", "drelu", "relu"]


@case_by_case("hidden", HIDDEN)
@case_by_case("dtype", [np.float32, np.float64])
def test_annealing_finds_log_z_for_each_type_of_hidden_units(hidden, dtype, bk):
    weights = tiny(5, 3, hidden=hidden, spread=0.5, dtype=dtype)
    V = states(5)
    log_p = V @ weights.vbias + log_integral_of(hidden, V @ weights.W + weights.hbias)
    truth = np.logaddexp.reduce(log_p)
    samples = V[np.random.default_rng(0).choice(len(V), 2000, p=np.exp(log_p - truth))]
    for estimate in (
        ais_log_z(weights, n_runs=2000, betas=40, backend=bk),
        reverse_ais_log_z(weights, samples, n_runs=2000, betas=40, backend=bk),
    ):
        w = np.exp(estimate.log_weights - estimate.log_weights.max())
        assert abs(estimate.log_z - truth) < 5 * w.std(ddof=1) / w.mean() / np.sqrt(len(w))


def plain_annealing(machine, base, runs, betas, rng):
    """Yield the log weights so far and the states of annealing runs, by definition, from the states of others."""
    bk, visible, W = machine.bk, machine.visible, machine.W
    v, h, total = runs.v.copy(), np.empty((len(runs.v), W.shape[1]), W.dtype), 0.0
    for before, after in pairwise(betas.tolist()):
        x = bk.matmul(v, W, np.empty_like(h)) + machine.hbias
        for beta, sign in ((before, -1), (after, 1)):
            vbias = base + (machine.vbias.astype(np.float64) - base) * beta
            log_p = log_integral_of(machine.hidden.spec, beta * x.astype(np.float64))
            total += sign * (log_p - visible.energy(bk, v.astype(np.float64), vbias))
        machine.hidden.sample(bk, x * W.dtype.type(after), np.zeros_like(machine.hbias), rng, h)
        x = bk.matmul(h, W.T, np.empty_like(v)) * W.dtype.type(after)
        visible.sample(bk, x, vbias.astype(W.dtype), rng, v)
        yield total, v


@case_by_case("dtype", [np.float32, np.float64])
@case_by_case("own_biases", [False, True])
@case_by_case(("visible", "hidden"), [*(("bernoulli", each) for each in HIDDEN), ("gaussian", "bernoulli"),
                                      ("softmax:30,40", "spin"), ("labelled:gaussian,10", "bernoulli")])  # fmt: skip
def test_log_weights_sum_ratios_of_probabilities(visible, hidden, own_biases, dtype):
    """Step by step: the states bit for bit, and the log weights to the rounding of float64."""
    bk, n, rng = get_backend("numpy"), 40, np.random.default_rng(0)
    machine = Machine(tiny(70, 45, visible=visible, hidden=hidden, spread=0.1, dtype=dtype), bk)
    if own_biases:
        machine = machine.with_biases(*(rng.normal(size=(n, m)).astype(dtype) for m in (70, 45)))
    base = 0.5 * rng.normal(size=machine.vbias.shape)
    runs, other = (Runs(machine, base, n, bk.rng(stream(3, "annealing"))) for _ in range(2))
    runs.start()
    other.start()
    betas, seen = np.array([0, 0.001, 0.5, 0.5001, 1]), []
    found = runs.anneal(betas, lambda done, total: seen.append(runs.v.copy()))
    plain = list(plain_annealing(machine, base, other, betas, other.rng))
    np.testing.assert_allclose(found, plain[-1][0], rtol=1e-11, atol=1e-11)
    np.testing.assert_array_equal(seen[-1], plain[-1][1])
    assert len(seen) == len(plain)


def test_one_step_is_plain_importance_sampling():
    """With betas (0, 1) the weights are p*(v) / p0*(v) for v drawn from the base: checked row by row."""
    weights = tiny(4, 3)
    estimate = ais_log_z(weights, n_runs=50, betas=1)
    V = states(4)
    unnormalised = V @ weights.vbias + np.logaddexp(0, V @ weights.W + weights.hbias).sum(axis=1)
    base = V @ weights.vbias + 3 * np.log(2)
    log_z_base = np.logaddexp(0, weights.vbias).sum() + 3 * np.log(2)
    possible = unnormalised - base + log_z_base
    assert np.abs(estimate.log_weights[:, None] - possible).min(axis=1).max() < 1e-9


def test_forward_is_below_and_reverse_above_in_expectation():
    """Few betas on strong couplings make the biases show: means of 60 estimates lie on their sides of the truth."""
    weights = tiny(6, 5, spread=2.5, seed=3)
    truth = log_z(weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeepBeliefWarning)
        forward = [ais_log_z(weights, n_runs=3, betas=3, random_state=s).log_z for s in range(60)]
        reverse = [reverse_ais_log_z(weights, n_runs=3, betas=3, random_state=s).log_z for s in range(60)]
    assert np.mean(forward) < truth - 3 * np.std(forward) / np.sqrt(60)
    assert np.mean(reverse) > truth + 3 * np.std(reverse) / np.sqrt(60)


@pytest.mark.slow
def test_three_standard_deviations_hold_the_truth():
    """On a small machine 100 intervals at 3 s.d.: at least 95 hold log Z."""
    weights = tiny(6, 4, seed=5)
    truth = log_z(weights)
    estimates = [ais_log_z(weights, n_runs=100, betas=30, random_state=s) for s in range(100)]
    assert sum(e.low <= truth <= e.high for e in estimates) >= 95


def test_published_betas():
    betas = default_betas()
    assert len(betas) == 14_501
    assert (np.diff(betas) > 0).all()
    assert (betas[0], betas[500], betas[4500], betas[-1]) == pytest.approx((0, 0.5, 0.9, 1))


def test_few_runs_that_carry_all_are_told():
    weights = tiny(12, 8, spread=4.0)
    with pytest.warns(DeepBeliefWarning) as caught:
        estimate = ais_log_z(weights, n_runs=100, betas=1)
    assert str(caught[0].message).startswith("the effective sample size of 100 annealing runs is")
    assert estimate.effective_sample_size < 10
    assert "effective" in str(estimate)


def two_modes(other, n_visible=20, n_hidden=30):
    """Return a machine of a mode near 0, where annealing starts, and one at 1 with exp(other) times its weight."""
    W = np.zeros((n_visible, n_hidden))
    W[:, 0] = 6.0
    hbias = np.zeros(n_hidden)
    hbias[0] = other - n_visible * 3.0
    return Weights(W, np.full(n_visible, -3.0), hbias)


@pytest.mark.slow
@case_by_case("other", [0.0, 5.0])
def test_a_mode_that_annealing_misses_from_one_start_is_found_from_another(other, bk):
    weights = two_modes(other)
    truth = 20 * np.log1p(np.exp(-3)) + np.logaddexp(0, other) + 29 * np.log(2)
    assert exact_log_z(weights) == pytest.approx(truth, rel=1e-12)
    with pytest.warns(DeepBeliefWarning, match="annealing missed a mode"):
        estimate = ais_log_z(weights, betas=400, backend=bk)
    assert estimate.low <= truth <= estimate.high
    assert abs(estimate.log_z - truth) < 0.3
    assert "disagree" in str(estimate)


def test_different_rows_are_not_more_probable_than_1_together():
    """From the base of even odds too, runs miss a mode of a single row; the rows themselves show it."""
    weights = Weights(np.full((40, 30), 0.0), np.full(40, -9.0), np.zeros(30), visible_mean=np.full(40, 1e-4))
    weights.W[:, 0], weights.hbias[0] = np.where(np.arange(40) < 20, 300.0, -300.0), -5800.0
    V = np.array([np.zeros(40), np.arange(40) < 20, np.zeros(40)], float)
    truth = np.logaddexp(40 * np.log1p(np.exp(-9)), 200.0 - 180.0) + 29 * np.log(2)
    with pytest.warns(DeepBeliefWarning, match="2 distinct rows have a total probability above 1"):
        found = log_likelihood(weights, V, betas=100)
    assert found.log_z.high == pytest.approx(truth, abs=1e-3)
    assert found.rows[1] == pytest.approx(0, abs=1e-3)
    assert not found.log_z.agrees


@case_by_case(
    ("visible", "n_visible"),
    [("softmax:3,4,2", 9), ("softmax:1,5", 6), ("softmax", 7), ("labelled:bernoulli,3", 7), ("bernoulli", 8)],
)
def test_discrete_visible_units_are_enumerated_beside_many_hidden_ones(visible, n_visible, monkeypatch):
    weights = tiny(n_visible, 40, visible=visible)
    V = visible_states(weights)
    minus_energy = V @ weights.vbias + np.logaddexp(0, V @ weights.W + weights.hbias).sum(axis=1)
    truth = np.logaddexp.reduce(minus_energy)
    found = log_likelihood(weights, V)
    assert found.method == "exact"
    assert found.log_z == pytest.approx(truth, rel=1e-12)
    assert np.exp(found.rows).sum() == pytest.approx(1)
    monkeypatch.setattr("deepbelief.likelihood.exact.BLOCK_BYTES", 8 * 40 * 3)  # a few states at a time
    assert exact_log_z(weights) == pytest.approx(truth, rel=1e-12)
    drawn = exact_samples(weights, 500)
    assert (drawn[:, None] == V[None]).all(axis=2).any(axis=1).all()


def test_reverse_from_rows_says_that_it_is_an_indication():
    weights = tiny(5, 3)
    estimate = reverse_ais_log_z(weights, states(5), n_runs=20, betas=10)
    assert not estimate.exact_start
    assert "indication" in str(estimate)


@case_by_case("method", ["exact", "ais"])
@ALL
def test_log_likelihood_of_rows(visible, n_visible, n_hidden, method):
    weights = tiny(n_visible, n_hidden, visible=visible)
    rng = np.random.default_rng(0)
    if visible == "gaussian":
        X = rng.normal(size=(20, n_visible))
    elif visible == "bernoulli":
        X = (rng.random((20, n_visible)) < 0.5).astype(float)
    else:
        X = np.concatenate([np.eye(3)[rng.integers(0, 3, 20)], np.eye(2)[rng.integers(0, 2, 20)]], axis=1)
    found = log_likelihood(weights, X, method=method, **({} if method == "exact" else {"n_runs": 500, "betas": 50}))
    truth = true_log_likelihood(weights, X)
    if method == "exact":
        assert found.mean == pytest.approx(truth, rel=1e-12)
        assert found.low == found.high == pytest.approx(found.mean)
    else:
        assert found.low <= truth <= found.high
        assert found.low < found.mean < found.high
    assert found.rows.shape == (20,)
    assert found.method == method
    assert f"{found.mean:.2f} nats per row" in str(found)
    again = log_likelihood(weights, X, log_z=found.log_z)
    np.testing.assert_array_equal(again.rows, found.rows)
    for wrong in ("1", np.nan, np.inf, -np.inf, True):
        with pytest.raises(SettingError, match="log_z must be a number"):
            log_likelihood(weights, X, log_z=wrong)


def test_densities_are_in_the_units_of_the_rows():
    """The same rows in metres and in millimetres: the density differs by the units, p(mm) = p(m) / 1000 a column."""
    X = np.random.default_rng(0).normal(2, 3, (60, 3))
    metres = RBM(2, n_iter=3, random_state=0).fit(X)
    millimetres = RBM(2, n_iter=3, random_state=0).fit(1000 * X)
    difference = log_likelihood(metres, X).mean - log_likelihood(millimetres, 1000 * X).mean
    assert difference == pytest.approx(3 * np.log(1000), rel=1e-6)
    assert metres.log_likelihood(X).mean == pytest.approx(log_likelihood(metres, X).mean)


def test_probabilities_of_all_rows_sum_to_one():
    weights = tiny(5, 3)
    assert np.exp(log_likelihood(weights, states(5)).rows).sum() == pytest.approx(1)


@case_by_case("betas", [0, -3, [0, 1, 1], [0.1, 1], [0, 0.5], [0, 0.6, 0.5, 1], [[0, 1]], True, [0]])
def test_betas_must_rise_from_0_to_1(betas):
    with pytest.raises(SettingError, match="betas"):
        ais_log_z(tiny(), betas=betas)


def test_what_has_no_likelihood_is_refused():
    broken = tiny()
    broken.W[0, 0] = np.nan
    with pytest.raises(SettingError, match="W has values that are not finite"):
        ais_log_z(broken)
    for make, match in (
        (lambda: exact_log_z(tiny(30, 30)), "30 visible and 30 hidden units: one side needs at most 25"),
        (lambda: exact_log_z(tiny(30, 26, visible="gaussian")), "ais_log_z"),
        (lambda: exact_log_z(tiny(hidden="rectified")), "rectified units have no energy"),
        (lambda: ais_log_z(tiny(visible="gaussian", hidden="gaussian")), "Gaussian units on both sides"),
        (lambda: exact_log_z("model.h5"), "got str"),
        (lambda: exact_log_z(RBM()), "fitted RBM or its weights, got RBM"),
        (lambda: ais_log_z(tiny(), n_runs=0), "n_runs must be an integer of at least 1, got 0"),
        (lambda: reverse_ais_log_z(tiny(30, 30)), "give rows to start from"),
        (lambda: log_likelihood(tiny(), states(5), method="exakt"), "did you mean 'exact'"),
    ):
        with pytest.raises(SettingError, match=match):
            make()
    for rows, match in ((states(5) * 0.5, r"row 1, column 4 is 0.5"), (states(4), "X has 4 features")):
        with pytest.raises(DataError, match=match):
            log_likelihood(tiny(), rows)
    with pytest.raises(DataError, match="X has shape"):
        reverse_ais_log_z(tiny(), states(4))

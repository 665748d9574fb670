"""Gradient estimators against the exact gradient of tiny machines."""

import exact
import numpy as np
import pytest
from conftest import BACKENDS
from layer_runs import host
from pairwise import pairwise
from tables import case_by_case

from deepbelief.backends import get_backend
from deepbelief.errors import SettingError
from deepbelief.gradients import (
    CD,
    CORRUPTIONS,
    FPCD,
    GRADIENTS,
    MFCD,
    PCD,
    PT,
    PTT,
    Denoising,
    Exact,
    PhaseBuffers,
    get_gradient,
)  # fmt: skip
from deepbelief.gradients.tempering import log_odds
from deepbelief.machine import Machine
from deepbelief.seeds import stream
from deepbelief.stack import Weights

N_ROWS = 6000
# Only the negative phase is drawn. A mean over N_ROWS numbers in [0, 1] is off by more than this once in 5e8; a run
# compares about two dozen of them, and there are a few dozen runs.
TOLERANCE = 6.0 * 0.5 / np.sqrt(N_ROWS)


def data_rows(n=N_ROWS, width=5):
    """Rows far from what the machine believes: a few states, unevenly."""
    V = exact.states(width)
    return V[np.random.default_rng(8).choice([3, 12, 17, 30, 31], size=n, p=[0.4, 0.3, 0.1, 0.1, 0.1])]


def estimate(bk, estimator, weights, rows, *, state=None, batch_size=None, key=0):
    """Return (W, vbias, hbias) of one call as NumPy arrays."""
    machine = Machine(weights, bk)
    buffers = PhaseBuffers(bk, machine)
    buffers.visible(len(rows))[...] = bk.asarray(rows, dtype=machine.dtype)
    grads = estimator(machine, buffers, len(rows), batch_size or len(rows), state or {}, bk.rng(stream(2, key)))
    return host(bk, grads)


TO_INFINITY = [CD(60, sample_visible=True), PCD(60), FPCD(60), PT(40, n_temperatures=3), PTT(60, reject=0), Exact()]


def started(bk, estimator, weights, n_chains):
    return estimator.start(Machine(weights, bk), n_chains, bk.rng(stream(2, "chains")))


def assert_near(got, truth, tolerance=TOLERANCE):
    for a, b in zip(got, truth, strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance)


# --- towards the exact gradient ---


@pytest.mark.slow
@pairwise(bk=BACKENDS, dtype=[np.float32, np.float64], estimator=TO_INFINITY, indirect=["bk"])
def test_long_chains_approach_the_exact_gradient(bk, estimator, dtype):
    weights = exact.tiny(seed=3, spread=1.0, dtype=dtype)
    rows = data_rows()
    truth = exact.gradient(weights, rows)
    # In sign and size: the truth is many times the tolerance, so that neither 0 nor its negative would pass.
    assert all(np.abs(t).max() > 4 * TOLERANCE for t in truth)
    state = started(bk, estimator, weights, N_ROWS)
    assert_near(estimate(bk, estimator, weights, rows, state=state), truth)


@pytest.mark.slow
@case_by_case("estimator", TO_INFINITY)
def test_long_chains_with_softmax_groups(estimator):
    bk = get_backend("numpy")
    weights = exact.tiny(visible="softmax:2,3")
    V = exact.visible_states(weights)
    rows = V[np.random.default_rng(8).choice(len(V), size=N_ROWS, p=[0.5, 0.1, 0.2, 0.1, 0.05, 0.05])]
    state = started(bk, estimator, weights, N_ROWS)
    assert_near(estimate(bk, estimator, weights, rows, state=state), exact.gradient(weights, rows))


@case_by_case("estimator", TO_INFINITY)
def test_long_chains_with_gaussian_visible_units(fake_device, estimator):
    bk = fake_device
    weights = exact.tiny(visible="gaussian", spread=0.5)
    rows = np.random.default_rng(8).normal(0.5, 1.0, (N_ROWS, 5))
    truth = exact.gradient(weights, rows)
    assert np.abs(truth[1]).max() > 0.4
    state = started(bk, estimator, weights, N_ROWS)
    # Gaussian states spread wider than bits: the standard deviation of v, and of v h, stays below 2.
    assert_near(estimate(bk, estimator, weights, rows, state=state), truth, 4 * TOLERANCE)


def test_short_chains_point_the_right_way(bk):
    weights, rows = exact.tiny(), data_rows()
    truth = exact.gradient(weights, rows)
    for estimator in (CD(1), CD(1, sample_visible=True), PCD(1)):
        got = estimate(bk, estimator, weights, rows, state=started(bk, estimator, weights, N_ROWS))
        assert sum(float((a * b).sum()) for a, b in zip(got, truth, strict=True)) > 0


def test_mean_field_contrastive_divergence_stays_biased(bk):
    # E[h | E[v|h]] is not the mean of E[h | v] over v given h.
    weights, rows = exact.tiny(seed=3, spread=1.0), data_rows()
    truth = exact.gradient(weights, rows)
    sampled = estimate(bk, CD(60, sample_visible=True), weights, rows)
    meaned = estimate(bk, CD(60), weights, rows)
    assert_near(sampled, truth)
    assert np.abs(meaned[0] - truth[0]).max() > 1.5 * TOLERANCE


def test_each_step_of_contrastive_divergence_counts(bk):
    weights, rows = exact.tiny(spread=1.5), data_rows()
    truth = exact.gradient(weights, rows)

    def distance(k):
        got = estimate(bk, CD(k, sample_visible=True), weights, rows)
        return sum(float(((a - b) ** 2).sum()) for a, b in zip(got, truth, strict=True)) ** 0.5

    distances = [distance(k) for k in (1, 2, 20)]
    assert distances[0] > 1.2 * distances[1] > 1.2 * 1.2 * distances[2]


# --- the positive phase ---


@case_by_case("estimator", [CD(), CD(3), PCD(0)])
def test_minibatches_of_an_epoch_add_up_to_the_whole(bk, estimator):
    """With one set of chains (PCD) or rows whose phases agree (CD) every row weighs the same, the short batch's too."""
    weights, rows = exact.tiny(), data_rows(50)
    if isinstance(estimator, CD):
        # W = 0 makes the negative phase's means the same for every row; what is left is the positive phase.
        weights = exact.Weights(np.zeros_like(weights.W), weights.vbias, weights.hbias)
        state = None
    else:
        state = started(bk, estimator, weights, 9)
    batch_size = 16
    parts = [
        estimate(bk, estimator, weights, rows[i : i + batch_size], state=state, batch_size=batch_size)
        for i in range(0, len(rows), batch_size)
    ]
    whole = estimate(bk, estimator, weights, rows, state=state)
    for part, total in zip(zip(*parts, strict=True), whole, strict=True):
        np.testing.assert_allclose(sum(part) * batch_size, total * len(rows), atol=1e-12)


def test_observers_see_the_hidden_means_of_the_minibatch(bk):
    weights, rows = exact.tiny(), data_rows(20)
    for estimator in (CD(2), PCD(2), Denoising(level=0.0)):
        machine, seen = Machine(weights, bk), []
        buffers = PhaseBuffers(bk, machine)
        buffers.observers.append(lambda h, seen=seen: seen.append(bk.to_numpy(h).copy()))
        state = started(bk, estimator, weights, 7)
        buffers.visible(20)[...] = bk.asarray(rows)
        estimator(machine, buffers, 20, 20, state, bk.rng(stream(0)))
        np.testing.assert_allclose(seen, [exact.hidden_given(weights, rows)], rtol=1e-10)


# --- persistent chains ---


@case_by_case("copies", [1, 3, 40])
def test_gradients_do_not_depend_on_the_number_of_chains(bk, copies):
    weights, rows = exact.tiny(), data_rows(30)
    chains = bk.to_numpy(started(bk, PCD(0), weights, 6)["chains"])
    once = estimate(bk, PCD(0), weights, rows, state={"chains": bk.asarray(chains)})
    got = estimate(bk, PCD(0), weights, rows, state={"chains": bk.asarray(np.tile(chains, (copies, 1)))})
    assert_near(got, once, 1e-12)
    # And it is the positive phase less the mean over the chains.
    v_model = 1 / (1 + np.exp(-(weights.vbias + chains @ weights.W.T)))
    h_data = exact.hidden_given(weights, rows)
    truth = (
        v_model.T @ chains / len(chains) - rows.T @ h_data / len(rows),
        v_model.mean(axis=0) - rows.mean(axis=0),
        chains.mean(axis=0) - h_data.mean(axis=0),
    )
    assert_near(got, truth, 1e-12)


@case_by_case("n_chains", [200, 20_000])
def test_fewer_or_more_chains_than_rows_are_unbiased(bk, n_chains):
    weights, rows = exact.tiny(), data_rows(2000)
    n_calls = max(1, 20_000 // n_chains)
    machine = Machine(weights, bk)
    buffers = PhaseBuffers(bk, machine)
    state = started(bk, PCD(10), weights, n_chains)
    rng = bk.rng(stream(6, n_chains))
    mean = [0.0, 0.0, 0.0]
    for call in range(n_calls + 5):  # the first calls bring the chains to the model's distribution
        buffers.visible(len(rows) + n_chains)[: len(rows)] = bk.asarray(rows)
        grads = PCD(10)(machine, buffers, len(rows), len(rows), state, rng)
        if call >= 5:
            mean = [m + g / n_calls for m, g in zip(mean, host(bk, grads), strict=True)]
    # 20,000 draws, of which ten steps apart two still resemble each other a little: twice the plain spread.
    assert_near(mean, exact.gradient(weights, rows), 2 * 6 * 0.5 / np.sqrt(20_000))


def test_without_steps_chains_stay_where_they_are(bk):
    weights = exact.tiny()
    state = started(bk, PCD(0), weights, 40)
    before = bk.to_numpy(state["chains"]).copy()
    estimate(bk, PCD(0), weights, data_rows(30), state=state)
    np.testing.assert_array_equal(bk.to_numpy(state["chains"]), before)


def test_chains_go_on_from_where_they_were_whatever_the_data(bk):
    weights = exact.tiny(spread=0.3)
    ends = []
    for rows in (np.zeros((30, 5)), np.ones((50, 5))):
        state = started(bk, PCD(1), weights, 40)
        estimate(bk, PCD(1), weights, rows, state=state)
        ends.append(bk.to_numpy(state["chains"]).copy())
    np.testing.assert_array_equal(*ends)
    # And where they were matters: frozen by a strong machine, every chain keeps its state.
    frozen = exact.Weights(40 * np.ones((5, 3)), np.full(5, -60.0), np.full(3, -100.0))
    half = np.repeat([[0.0] * 3, [1.0] * 3], 20, axis=0)
    state = {"chains": bk.asarray(half.copy())}
    for _ in range(3):
        estimate(bk, PCD(2), frozen, np.ones((10, 5)), state=state)
    np.testing.assert_array_equal(bk.to_numpy(state["chains"]), half)


@case_by_case("hidden", ["bernoulli", "gaussian", "rectified"])
def test_chains_start_at_the_hidden_biases(bk, hidden):
    weights = exact.tiny(hidden=hidden)
    n = 20_000
    chains = bk.to_numpy(started(bk, PCD(), weights, n)["chains"])
    assert chains.shape == (n, 3)
    means = {"bernoulli": 1 / (1 + np.exp(-weights.hbias)), "gaussian": weights.hbias}
    if hidden in means:
        np.testing.assert_allclose(chains.mean(axis=0), means[hidden], atol=6 / np.sqrt(n))
    assert started(bk, CD(), weights, 10) == {}


# --- names ---


def test_estimators_are_found_by_name_or_given():
    for name, kind in GRADIENTS.items():
        assert get_gradient(name, 7) == kind(gibbs_steps=7)
    own = CD(3, sample_visible=True)
    assert get_gradient(own, 7) is own
    with pytest.raises(SettingError, match="did you mean 'pcd'"):
        get_gradient("pcdd", 1)
    with pytest.raises(SettingError, match="cd, pcd"):
        get_gradient(3, 1)


# --- denoising autoencoders ---


def denoised(bk, weights, rows, estimator, seed=3):
    """Return the gradient of one call, and the rows as they were corrupted."""
    machine = Machine(weights, bk)
    buffers = PhaseBuffers(bk, machine)
    n = len(rows)
    v = buffers.visible(2 * n)
    v[:n] = bk.asarray(rows)
    grads = host(bk, estimator(machine, buffers, n, n, {}, bk.rng(stream(seed))))
    return grads, bk.to_numpy(v[n:]).copy()


def reconstruction_loss(weights, loss, rows, corrupted):
    """The mean loss of clean rows made from corrupted ones, written down plainly."""
    x = corrupted @ weights.W + weights.hbias
    h = {"bernoulli": lambda x: 1 / (1 + np.exp(-x)), "gaussian": lambda x: x, "rectified": lambda x: np.maximum(x, 0)}[
        weights.hidden
    ](x)
    y = h @ weights.W.T + weights.vbias
    if weights.visible == "bernoulli":
        y = 1 / (1 + np.exp(-y))
    if loss == "cross_entropy":
        return -(rows * np.log(y) + (1 - rows) * np.log(1 - y)).sum() / len(rows)
    return np.square(y - rows).sum() / len(rows)


@pairwise(
    bk=BACKENDS,
    kind=[
        ("bernoulli", "masking", "cross_entropy"),
        ("bernoulli", "salt_and_pepper", "cross_entropy"),
        ("bernoulli", "gaussian", "squared_error"),
        ("gaussian", "masking", "squared_error"),
        ("gaussian", "gaussian", "squared_error"),
    ],
    hidden=["bernoulli", "gaussian", "rectified"],
    indirect=["bk"],
)
def test_gradient_of_denoising_is_that_of_finite_differences(bk, kind, hidden):
    visible, corruption, loss = kind
    weights = exact.tiny(visible=visible, hidden=hidden)
    rows = np.random.default_rng(5).random((8, 5))
    found, corrupted = denoised(bk, weights, rows, Denoising(corruption, 0.4, loss))
    assert not np.array_equal(corrupted, rows)
    arrays = [weights.W, weights.vbias, weights.hbias]
    for which, array in enumerate(arrays):
        slope = np.empty_like(array)
        for place in np.ndindex(array.shape):
            values = []
            for step in (1e-6, -1e-6):
                moved = [a.copy() for a in arrays]
                moved[which][place] += step
                values.append(reconstruction_loss(Weights(*moved, visible, hidden), loss, rows, corrupted))
            slope[place] = (values[0] - values[1]) / 2e-6
        np.testing.assert_allclose(found[which], slope, rtol=1e-6, atol=1e-7)
        assert np.abs(slope).max() > 1e-3


def test_corruption_is_what_it_says(bk):
    rows = np.random.default_rng(6).uniform(0.2, 0.8, (2000, 5))
    weights, n = exact.tiny(), rows.size

    def corrupted(kind, level):
        return denoised(bk, weights, rows, Denoising(kind, level))[1]

    masked = corrupted("masking", 0.3)
    kept = masked == rows
    assert ((masked == 0) | kept).all()
    assert abs(kept.mean() - 0.7) <= 6 * np.sqrt(0.3 * 0.7 / n)
    salted = corrupted("salt_and_pepper", 0.4)
    for value in (0, 1):
        assert abs((salted == value).mean() - 0.2) <= 6 * np.sqrt(0.2 * 0.8 / n)
    assert ((salted == rows) | (salted == 0) | (salted == 1)).all()
    noise = corrupted("gaussian", 0.5) - rows
    assert abs(noise.mean()) <= 6 * 0.5 / np.sqrt(n)
    assert abs(noise.std() - 0.5) <= 6 * 0.5 / np.sqrt(2 * n)
    for kind in CORRUPTIONS:
        np.testing.assert_array_equal(corrupted(kind, 0.0), rows)


def test_denoising_refuses_what_does_not_go_together(bk):
    rows = np.zeros((2, 5))
    for settings, match in (({"loss": "cross_entropy"}, "cross_entropy"), ({"corruption": "salt_and_pepper"}, "salt")):
        with pytest.raises(SettingError, match=match):
            denoised(bk, exact.tiny(visible="gaussian"), rows, Denoising(**settings))
    with pytest.raises(SettingError, match="got softmax"):
        denoised(bk, exact.tiny(visible="softmax:5"), rows, Denoising())
    cases = (
        ({"corruption": "maskin"}, "did you mean"),
        ({"level": 1.0}, "< 1 for corruption"),
        ({"level": -0.1}, ">= 0 and"),
    )
    for bad, match in cases:
        with pytest.raises(SettingError, match=match):
            Denoising(**bad)
    assert Denoising("gaussian", 3.0).level == 3.0
    with pytest.raises(SettingError, match="did you mean"):
        Denoising(loss="squared_eror")


# --- the exact gradient ---


@pairwise(
    bk=BACKENDS,
    shape=[(5, 3), (3, 5)],
    kind=[{}, {"hidden": "gaussian"}, {"visible": "gaussian"}, {"visible": "softmax:2,3"}],
    indirect=["bk"],
)
def test_enumeration_gives_the_exact_gradient(bk, shape, kind):
    shape = (5, 3) if "softmax" in kind.get("visible", "") else shape
    weights = exact.tiny(*shape, spread=0.5, **kind)
    rows = np.random.default_rng(8).random((7, shape[0]))
    state = started(bk, Exact(), weights, 40)  # more than there are states of one side
    got = estimate(bk, Exact(), weights, rows, state=state, batch_size=10)
    if kind.get("hidden") == "gaussian":
        h_data, V = rows @ weights.W + weights.hbias, exact.states(shape[0])
        field = V @ weights.W + weights.hbias
        p = np.exp(V @ weights.vbias + 0.5 * np.square(field).sum(axis=1))
        p /= p.sum()
        truth = [
            (V * p[:, None]).T @ field - rows.T @ h_data / 7, p @ V - rows.mean(axis=0),
            p @ field - h_data.mean(axis=0),
        ]  # fmt: skip
    else:
        truth = exact.gradient(weights, rows)
    assert_near(got, [0.7 * t for t in truth], 1e-12)


def test_enumeration_refuses_what_is_too_large(bk):
    for weights, match in (
        (Weights(np.zeros((17, 18)), np.zeros(17), np.zeros(18)), "at most 16 Bernoulli units on one side, got 17"),
        (exact.tiny(hidden="rectified"), "rectified"),
        (exact.tiny(visible="gaussian", hidden="gaussian"), "at most 16 Bernoulli"),
    ):
        with pytest.raises(SettingError, match=match):
            started(bk, Exact(), weights, 3)


# --- mean-field steps ---


def test_mean_field_steps_follow_the_means(bk):
    weights, rows = exact.tiny(), data_rows(30)
    for k in (1, 2, 60):
        h = h_data = exact.hidden_given(weights, rows)
        for _ in range(k):
            v = 1 / (1 + np.exp(-(weights.vbias + h @ weights.W.T)))
            h = exact.hidden_given(weights, v)
        truth = (
            (v.T @ h - rows.T @ h_data) / 30,
            v.mean(axis=0) - rows.mean(axis=0),
            h.mean(axis=0) - h_data.mean(axis=0),
        )
        assert_near(estimate(bk, MFCD(k), weights, rows), truth, 1e-12)


# --- fast weights ---


def test_without_a_rate_fast_weights_are_none(bk):
    weights, rows = exact.tiny(spread=0.3), data_rows(30)
    found = [
        estimate(bk, estimator, weights, rows, state=started(bk, estimator, weights, 40))
        for estimator in (PCD(3), FPCD(3, fast_rate=0.0))
    ]
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


@case_by_case("centred", [False, True])
def test_fast_weights_drive_the_chains_and_decay(bk, centred):
    """The chains follow the sum of the parameters and the fast ones, which learn and decay."""
    weights, rows = exact.tiny(spread=0.5), data_rows(N_ROWS)
    machine = Machine(weights, bk)
    buffers = PhaseBuffers(bk, machine)
    if centred:
        buffers.offsets = bk.asarray(np.linspace(0.1, 0.9, 5)), bk.asarray(np.array([0.2, 0.5, 0.9]))
    estimator, rng = FPCD(40, fast_rate=4.0, fast_decay=0.5), bk.rng(stream(4))
    state = started(bk, estimator, weights, N_ROWS)
    fast = [np.zeros_like(p) for p in (weights.W, weights.vbias, weights.hbias)]
    for _ in range(3):
        buffers.visible(2 * N_ROWS)[:N_ROWS] = bk.asarray(rows)
        before = [f.copy() for f in fast]
        grads = host(bk, estimator(machine, buffers, N_ROWS, N_ROWS, state, rng))
        fast = [0.5 * f - 4.0 * g for f, g in zip(fast, grads, strict=True)]
        for name, b in zip(("W", "vbias", "hbias"), fast, strict=True):
            np.testing.assert_allclose(bk.to_numpy(state[f"fast_{name}"]), b, atol=1e-12)
    shift = [np.zeros(5), np.zeros(3)]
    if centred:
        mu, offset = (bk.to_numpy(o) for o in buffers.offsets)
        shift = [-before[0] @ offset, -mu @ before[0]]
    biases = (weights.vbias + before[1] + shift[0], weights.hbias + before[2] + shift[1])
    driven = Weights(weights.W + before[0], *biases)
    v, h, p = exact.joint(driven)
    slow_v, _, slow_p = exact.joint(weights)
    assert np.abs(p @ v - slow_p @ slow_v).max() > 3 * TOLERANCE
    np.testing.assert_allclose(bk.to_numpy(buffers.negative()).mean(axis=0), p @ v, atol=TOLERANCE)
    np.testing.assert_allclose(bk.to_numpy(state["chains"]).mean(axis=0), p @ h, atol=TOLERANCE)
    for a, b in zip(machine.params, (weights.W, weights.vbias, weights.hbias), strict=True):
        np.testing.assert_array_equal(bk.to_numpy(a), b)  # the parameters themselves are for the optimizer to move


@case_by_case("bad", [{"fast_rate": -1}, {"fast_rate": np.inf}, {"fast_decay": 1}, {"fast_decay": -0.1}])
def test_fast_weights_refuse_settings_that_are_none(bad):
    with pytest.raises(SettingError, match="must be a number"):
        FPCD(**bad)


# --- tempering ---


def tempered(weights, base, beta):
    """The machine at an inverse temperature."""
    return Weights(beta * weights.W, (1 - beta) * base + beta * weights.vbias, beta * weights.hbias)


def test_exchanges_keep_detailed_balance():
    """p_a(x) p_b(y) times the chance to accept is the same both ways, for every pair of states."""
    weights, base = exact.tiny(3, 2, spread=1.0), np.array([0.3, -0.4, 1.0])
    V, H = exact.states(3), exact.states(2)
    difference = exact.energies(weights, V, H) + (V @ base)[:, None]
    odds = log_odds(0.8, 0.3, difference.ravel()[:, None], difference.ravel()[None, :])
    log_a, log_b = (-exact.energies(tempered(weights, base, beta), V, H).ravel() for beta in (0.8, 0.3))
    joint = log_a[:, None] + log_b[None, :]
    flow = np.exp(joint) * np.minimum(1, np.exp(odds))
    np.testing.assert_allclose(flow, flow.T, rtol=1e-12)
    assert np.abs(odds).max() > 1


def test_every_temperature_keeps_its_own_distribution(bk):
    weights = exact.tiny(spread=1.2)
    mean = np.array([0.2, 0.5, 0.9, 0.4, 0.6])
    weights = Weights(weights.W, weights.vbias, weights.hbias, visible_mean=mean)
    n, estimator = 4000, PT(1, n_temperatures=3)
    state = started(bk, estimator, weights, n)
    assert len(state["chains"]) == 3 * n
    machine, rng = Machine(weights, bk), bk.rng(stream(5))
    buffers = PhaseBuffers(bk, machine)
    for _ in range(40):
        buffers.visible(1 + 3 * n)[:1] = 0
        estimator(machine, buffers, 1, 1, state, rng)
    found = bk.to_numpy(state["chains"]).reshape(3, n, 3)
    for beta, states in zip((1.0, 0.5, 0.0), found, strict=True):
        _, h, p = exact.joint(tempered(weights, np.log(mean / (1 - mean)), beta))
        np.testing.assert_allclose(states.mean(axis=0), p @ h, atol=6 * 0.5 / np.sqrt(n))
        np.testing.assert_allclose(states.T @ states / n, (h * p[:, None]).T @ h, atol=6 * 0.5 / np.sqrt(n))


def test_tempered_chains_cross_where_others_are_stuck(bk):
    """Two states far apart, one of them empty at first: plain chains stay, tempered ones find the other."""
    W = np.full((6, 3), 4.0)
    weights = Weights(W, -W.sum(axis=1) / 2, -W.sum(axis=0) / 2, visible_mean=np.full(6, 0.5))
    shares = []
    for estimator in (PCD(1), PT(1, n_temperatures=8)):
        state = started(bk, estimator, weights, 200)
        state["chains"][...] = 0
        machine, rng = Machine(weights, bk), bk.rng(stream(6))
        buffers = PhaseBuffers(bk, machine)
        for _ in range(60):
            buffers.visible(1)[...] = 0
            estimator(machine, buffers, 1, 1, state, rng)
        shares.append(bk.to_numpy(state["chains"])[:200].mean())
    assert shares[0] < 0.05
    assert 0.3 < shares[1] < 0.7


def test_tempering_refuses_what_it_cannot_do(bk):
    with pytest.raises(SettingError, match="needs Bernoulli hidden units"):
        started(bk, PT(), exact.tiny(hidden="gaussian"), 3)
    for bad in (1, 2.5, True):
        with pytest.raises(SettingError, match="n_temperatures must be an integer >= 2"):
            PT(n_temperatures=bad)


# --- centring ---


OF_MODELS = [CD(2), MFCD(2), PCD(2), FPCD(2), PT(2, n_temperatures=3), PTT(2, reject=0), Exact()]


@case_by_case("estimator", OF_MODELS)
def test_centred_gradients_are_those_of_centred_units(bk, estimator):
    """Of W: <(v - mu)(h - lambda)> of the model less that of the data; those of the biases stay."""
    weights, rows = exact.tiny(), data_rows(30)
    mu, offset = np.linspace(0.1, 0.9, 5), np.array([0.2, 0.5, 0.9])
    found = []
    for centred in (False, True):
        machine = Machine(weights, bk)
        buffers = PhaseBuffers(bk, machine)
        if centred:
            buffers.offsets = bk.asarray(mu), bk.asarray(offset)
        state = started(bk, estimator, weights, 40)
        buffers.visible(30)[...] = bk.asarray(rows)
        found.append(host(bk, estimator(machine, buffers, 30, 30, state, bk.rng(stream(7)))))
    (W, vbias, hbias), got = found
    assert_near(got, (W - np.outer(mu, hbias) - np.outer(vbias, offset), vbias, hbias), 1e-12)

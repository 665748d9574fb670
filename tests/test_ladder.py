"""Ladders of machines that exchange states: exact transition probabilities, and log Z against enumeration."""

import exact
import numpy as np
import pytest
from conftest import BACKENDS
from layer_runs import bits, host, train, trainer_for
from pairwise import pairwise
from tables import case_by_case

from deepbelief import RBM, DBNClassifier, load, save
from deepbelief.errors import DataError, SettingError, TrainingWarning
from deepbelief.estimators.outcome import check_ladder
from deepbelief.gradients import PTT, PhaseBuffers
from deepbelief.gradients.exchanges import MIN_TAIL, N_OFFERS, N_TURNS, acceptances, offer, turn
from deepbelief.gradients.trajectory import MIN_UPDATES, SINCE, rungs, step_length
from deepbelief.ladder import Ladder, bennett, difference, exchange_probability
from deepbelief.machine import Machine
from deepbelief.seeds import stream
from deepbelief.settings import RBMSettings
from deepbelief.sources import as_source
from deepbelief.stack import Weights

KINDS = ["bernoulli", "softmax:2,3"]


def scaled(weights, beta):
    """Return the machine whose weights and hidden biases are scaled."""
    return Weights(beta * weights.W, weights.vbias, beta * weights.hbias, weights.visible, weights.hidden)


def ladder_of(weights, bk, betas, n_columns, seed=0):
    machines = [Machine(scaled(weights, beta), bk) for beta in betas]
    v = bk.xp.zeros((len(betas), n_columns, weights.n_visible), weights.W.dtype)
    ladder = Ladder(machines, v)
    rng = bk.rng(stream(seed))
    for i, machine in enumerate(machines):
        machine.visible.sample(bk, bk.xp.zeros_like(v[i]), machine.vbias, rng, ladder.v[i])
    return ladder, rng


def probabilities(weights, V):
    log_p = -exact.free_energy(weights, V)
    return np.exp(log_p - np.logaddexp.reduce(log_p))


# --- exchanges ---


@case_by_case("visible", KINDS)
def test_exchanges_leave_both_distributions_unchanged(bk, visible):
    """By the transition matrix over all pairs of states: detailed balance, and the proposal alone for one machine."""
    weights = [exact.tiny(visible=visible, seed=seed, spread=1.5) for seed in (1, 2)]
    V = exact.visible_states(weights[0])
    p_a, p_b = (probabilities(each, V) for each in weights)
    d = bk.to_numpy(difference(*(Machine(each, bk) for each in weights), bk.asarray(V)))
    # Row: the state x of a; column: the state y of b.
    probability = exchange_probability(np, d[:, None], d[None, :])
    assert 0 < probability.min() < 0.01
    flow = p_a[:, None] * p_b[None, :] * probability
    np.testing.assert_allclose(flow, flow.T, atol=1e-15)
    # A chain y of b takes the proposal x, a sample of a, or stays.
    moves = p_a[None, :] * probability.T
    moves[np.diag_indices(len(V))] += 1 - moves.sum(axis=1)
    np.testing.assert_allclose(p_b @ moves, p_b, atol=1e-14)


@pairwise(bk=BACKENDS, visible=[*KINDS, "gaussian"], dtype=[np.float32, np.float64], indirect=["bk"])
def test_chains_of_all_rungs_reach_their_distributions(bk, visible, dtype):
    weights, n = exact.tiny(visible=visible, spread=0.6 if visible == "gaussian" else 1.2, dtype=dtype), 8000
    betas = (0.0, 0.5, 1.0)
    ladder, rng = ladder_of(weights, bk, betas, n)
    sweeps, met = ladder.thermalise(rng, 20, 200)
    assert met
    assert 20 <= sweeps < 200
    for beta, v in zip(betas, bk.to_numpy(ladder.v), strict=True):
        states, _, p = exact.joint(scaled(weights, beta))
        np.testing.assert_allclose(v.mean(axis=0), p.reshape(-1) @ states, atol=6 * 1.5 / np.sqrt(n))


def test_a_sweep_depends_only_on_the_states(bk):
    """Not on inputs of hidden units that are left from exchanges before: a new ladder makes the same sweep."""
    weights = exact.tiny(spread=1.0)
    ladder, rng = ladder_of(weights, bk, (0.0, 0.3, 0.6, 1.0), 50)
    for n in range(6):
        for _ in range(1 + n % 2):  # after even sweeps and odd ones
            ladder.sweep(rng)
        other = Ladder(ladder.machines, ladder.v.copy())
        other.n_sweeps = ladder.n_sweeps
        for each in (ladder, other):
            each.sweep(bk.rng(stream(n)))
        np.testing.assert_array_equal(bk.to_numpy(ladder.v), bk.to_numpy(other.v))


def test_columns_are_independent(bk):
    """States never leave their column: a column of its own states keeps them."""
    weights = exact.tiny(spread=1.0)
    ladder, rng = ladder_of(weights, bk, (0.0, 0.4, 1.0), 6)

    class Mark:
        def hold(self, v):
            v[:, 0] = bk.asarray(np.arange(6.0))

    ladder.held = Mark()
    for _ in range(10):
        ladder.sweep(rng)
    np.testing.assert_array_equal(bk.to_numpy(ladder.v)[:, :, 0], np.tile(np.arange(6.0), (3, 1)))


# --- log Z ---


def test_bennett_finds_the_ratio_of_normal_densities():
    """F_b - F_a is x mu - mu**2 / 2 negated; samples of both normals; log Z_b - log Z_a = 0.7."""
    rng, mu = np.random.default_rng(0), 1.5
    low, high = (mu**2 / 2 - mu * rng.normal(mean, 1, size) - 0.7 for mean, size in ((0, 40_000), (mu, 10_000)))
    assert bennett(low, high) == pytest.approx(0.7, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("visible", KINDS)
def test_log_z_lies_in_its_interval_in_95_of_100_repeats(visible):
    from deepbelief.backends import get_backend

    weights, bk = exact.tiny(6 if visible == "bernoulli" else 5, 4, spread=1.3, visible=visible), get_backend()
    truth, errors, widths = exact.log_z(weights), [], []
    for seed in range(100):
        ladder, rng = ladder_of(weights, bk, (0.0, 0.4, 1.0), 40, seed)
        ladder.thermalise(rng, 15, 15)
        ladder.record()
        for _ in range(10):
            ladder.sweep(rng)
        found = ladder.log_ratios()
        errors.append(found.log_z[-1] - truth)
        widths.append(found.error)
    z = np.abs(np.array(errors) / np.array(widths))
    assert (z < 3).sum() >= 95
    assert 0.6 < np.mean(z**2) < 1.7  # the error is neither too small nor too large
    assert np.mean(widths) < 0.2


# --- training ---


def call(bk, estimator, machine, state, rows, seed=0):
    buffers = PhaseBuffers(bk, machine)
    buffers.visible(len(rows))[...] = bk.asarray(rows, dtype=machine.dtype)
    return host(bk, estimator(machine, buffers, len(rows), len(rows), state, bk.rng(stream(seed))))


def test_a_model_far_away_returns_to_the_checkpoint_and_halves_the_rate(bk):
    rows = bits(dtype=np.float64)
    trainer = trainer_for(bk, rows, gradient="ptt", momentum=0.5, schedule="constant")
    train(trainer, rows, (0, 1))
    learner = trainer.learner
    state = learner.arrays["gradient"]
    assert learner.estimator.control(state, 0.0) == (1.0, False)
    learner.machine.vbias += 30
    v = learner.minibatch(10)
    v[...] = bk.asarray(rows[:10])
    learner.update(10, 0.5, bk.rng(stream(9)))
    assert learner.estimator.control(state, 0.0) == (0.5, True)
    assert learner.now.rate == 0.05
    # Hidden units differ after the return to the rung without connections: equal ones would learn the same for ever.
    assert np.linalg.matrix_rank(bk.to_numpy(learner.machine.W), tol=1e-4) == min(learner.machine.W.shape)
    # The velocity was cleared, so that the update after the return is a small one from the first rung.
    base = bk.to_numpy(state["ladder_vbias"][-1])
    assert np.abs(bk.to_numpy(learner.machine.vbias) - base).max() <= 0.05
    record = learner.report()
    assert (record["rejections"], record["rate_factor"], record["n_rungs"]) == (1, 0.5, 1)
    # A checkpoint that is due too soon is given up, and the rate doubles back in time.
    learner.estimator = PTT(freeze=0.999, reject=0)
    learner.machine.vbias += 0.5
    learner.update(10, 0.5, bk.rng(stream(9)))
    assert learner.estimator.control(state, 0.0) == (0.25, True)
    assert len(rungs(learner.machine, state)) == 1
    learner.machine.vbias += 0.5
    state["counts"][SINCE] = 2 * MIN_UPDATES - 1
    learner.update(10, 0.5, bk.rng(stream(9)))
    assert learner.estimator.control(state, 0.0) == (0.5, False)
    assert len(rungs(learner.machine, state)) == 2


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_every_chain_has_its_turn(n):
    turns = [range(n)[turn(n, exchange)] for exchange in range(N_TURNS)]
    assert set().union(*turns) == set(range(n))
    assert {len(each) for each in turns} == {-(-n // N_TURNS)}


def test_only_chains_whose_turn_it_is_take_samples(bk):
    """With a model equal to its checkpoint every offer is accepted, so that half of the chains are replaced."""
    rows = bits(dtype=np.float64)
    trainer = trainer_for(bk, rows, gradient="ptt", n_chains=20, momentum=0.0, learning_rate=1e-12)
    machine, estimator = trainer.learner.machine, trainer.learner.estimator
    machine.W[...] = 0
    state = trainer.learner.arrays["gradient"]
    machine.vbias[...] = state["ladder_vbias"][-1]
    buffers = trainer.learner.phases
    for _ in range(2):
        buffers.visible(25)[...] = 0.25
        x = bk.to_numpy(estimator._exchange(machine, buffers, state, 5, bk.rng(stream(3))))
        v = bk.to_numpy(buffers.visible(25))
        np.testing.assert_allclose(x[:25], v @ bk.to_numpy(machine.W), atol=1e-12)
        assert (v[:5] == 0.25).all()
        kept = (v[5:] == 0.25).all(axis=1)
        assert kept.sum() == 10
        now = turn(20, int(state["counts"][0]))
        assert not kept[now].any()


def test_offers_are_accepted_one_after_another(bk):
    """Compared with a loop over chains that draws by the probability of an exchange; three samples for four offers."""
    for n in (3, 40):
        rng = np.random.default_rng(n)
        low, high, u = rng.normal(0, 3, n), rng.normal(-1, 3, n), rng.random((N_OFFERS, n))

        class Given:
            def uniform(self, out, u=u):
                out[...] = bk.asarray(u)
                return out

        found = bk.to_numpy(offer(bk.xp, bk.asarray(low), bk.asarray(high), Given(), bk.asarray(np.empty_like(u))))
        for i, now in enumerate(high):
            taken = -1
            for k in range(min(N_OFFERS, n)):
                place = (i + k) % n
                if u[k, i] < exchange_probability(np, low[place], now):
                    taken, now = place, low[place]
            assert found[i] == taken
        assert found.max() > 0
        assert n < 40 or -1 in found


def test_offers_leave_the_distribution_of_the_chains_unchanged(bk):
    """Chains of one machine are offered samples of another; 7 standard deviations of each of 16 frequencies."""
    n, (a, b) = 60_000, [exact.tiny(4, 3, seed=seed, spread=1.5) for seed in (1, 2)]
    V, rng = exact.states(4), np.random.default_rng(0)
    d = bk.to_numpy(difference(Machine(a, bk), Machine(b, bk), bk.asarray(V)))
    p_a, p_b = probabilities(a, V), probabilities(b, V)
    assert np.abs(p_a - p_b).max() > 0.1
    samples, chains = rng.choice(16, n, p=p_a), rng.choice(16, n, p=p_b)
    u = bk.asarray(np.empty((N_OFFERS, n)))
    taken = bk.to_numpy(offer(bk.xp, bk.asarray(d[samples]), bk.asarray(d[chains]), bk.rng(stream(0)), u))
    assert 0.3 < (taken >= 0).mean() < 1
    chains = np.where(taken >= 0, samples[taken], chains)
    frequencies = np.bincount(chains, minlength=16) / n
    np.testing.assert_allclose(frequencies, p_b, atol=7 * 0.5 / np.sqrt(n))


def test_acceptances_are_those_of_all_pairs():
    low, high = (np.random.default_rng(seed).normal(mean, 3, n) for seed, mean, n in ((0, 2, 70), (1, -2, 60)))
    each = exchange_probability(np, low[None, :], high[:, None]).mean(axis=1)
    mean, tail = acceptances(low, high)
    assert mean == pytest.approx(each.mean(), rel=1e-12)
    assert tail == pytest.approx(np.sort(each)[3], rel=1e-12)
    assert acceptances(low, high * np.nan) == (0.0, 0.0)
    # A tenth of the chains in a mode that no sample has: the mean hardly notices.
    mean, tail = acceptances(np.zeros(100), np.where(np.arange(100) < 10, -20.0, 0.0))
    assert mean > 0.85
    assert tail < MIN_TAIL


@case_by_case("centered", [False, True])
def test_the_length_of_a_step_is_the_spread_of_the_change_of_energy(bk, centered):
    weights, n = exact.tiny(5, 4, spread=1.0), 20
    machine, rng = Machine(weights, bk), np.random.default_rng(0)
    buffers = PhaseBuffers(bk, machine)
    v, h = rng.integers(0, 2, (n + 12, 5)).astype(float), rng.random((n + 12, 4))
    buffers.visible(n + 12)[...] = bk.asarray(v)
    buffers.hidden(n + 12)[...] = bk.asarray(h)
    offsets = (v.mean(axis=0), h.mean(axis=0)) if centered else (np.zeros(5), np.zeros(4))
    buffers.offsets = tuple(bk.asarray(each) for each in offsets) if centered else None
    grads = buffers.gradient(n, 12, 25)
    length = step_length(bk, grads, n, 12 * 25 / n)
    product, *biases = grads
    G = bk.to_numpy(product.left).T @ bk.to_numpy(product.right)
    v, h = v[n:] - offsets[0], h[n:] - offsets[1]
    change = ((v @ G) * h).sum(axis=1) + v @ bk.to_numpy(biases[0]) + h @ bk.to_numpy(biases[1])
    assert length == pytest.approx(change.std(), rel=1e-10)
    state = {"numbers": np.array([1.0, 1.0, 0.0, 0.0, length])}
    assert PTT(max_step=0.5 * length).control(state, 1.0) == (pytest.approx(0.5), False)


def test_checkpoints_are_the_model_and_their_log_z_is_known(bk):
    weights = exact.tiny(6, 4, spread=1.0)
    machine, estimator = Machine(weights, bk), PTT(freeze=0.99, reject=0)
    state = estimator.start(machine, 400, bk.rng(stream(0)))
    first = Weights(0 * weights.W, np.zeros(6), weights.hbias)
    assert state["ladder_log_z"][0] == pytest.approx(exact.log_z(first), rel=1e-12)
    state["counts"][SINCE] = MIN_UPDATES
    call(bk, estimator, machine, state, exact.states(6)[:5])
    np.testing.assert_array_equal(bk.to_numpy(state["ladder_W"][1]), weights.W)
    assert state["ladder_log_z"][1] == pytest.approx(exact.log_z(weights), abs=5 * state["numbers"][3])
    assert 0 < state["numbers"][3] < 0.1
    # And the reservoir holds samples of the model.
    V = exact.states(6)
    atol = 6 * 0.5 / np.sqrt(len(state["reservoir"]) / 4)
    np.testing.assert_allclose(bk.to_numpy(state["reservoir"]).mean(axis=0), probabilities(weights, V) @ V, atol=atol)
    moved = Weights(weights.W + 0.05, weights.vbias, weights.hbias)
    assert estimator.log_z(Machine(moved, bk), state) == pytest.approx(exact.log_z(moved), abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "seed"), [(4, 0), (8, 1)])
def test_both_modes_are_learned(n, seed):
    """Half of the rows all 0, half all 1: no plain chain of a trained model goes from one to the other.

    Units are centred by default; without that n = 8 ends at a divergence of 0.08 to 0.11.
    """
    X = np.repeat([[0.0] * n, [1.0] * n], 20, axis=0)
    rbm = RBM(
        n // 2, gradient="ptt", learning_rate=1.0, n_iter=1000, batch_size=40, n_chains=100, weight_decay=0.0,
        random_state=seed,
    ).fit(X)  # fmt: skip
    weights = Weights(*(np.asarray(a, float) for a in (rbm.weights_.W, rbm.weights_.vbias, rbm.weights_.hbias)))
    log_p = -exact.free_energy(weights, X[[0, -1]]) - exact.log_z(weights)
    assert -np.log(2) - log_p.mean() < 0.06  # 1000 updates; plain chains end in one mode, above 1
    assert abs(np.exp(log_p[0]) - np.exp(log_p[1])) < 0.15
    assert rbm.history_[-1]["log_z"] == pytest.approx(exact.log_z(weights), abs=0.15)


# --- settings and files ---


def test_settings_that_cannot_be_are_refused(bk):
    for bad in (
        {"freeze": 1.0},
        {"reject": 0.4},
        {"reject": -0.1},
        {"max_sweeps": 3},
        {"max_sweeps": 30.0},
        {"max_step": 0.0},
        {"exchange_every": 0},
    ):
        with pytest.raises(SettingError, match="must be"):
            PTT(**bad)
    for units in ({"hidden": "rectified"}, {"visible": "gaussian", "hidden": "gaussian"}):
        with pytest.raises(SettingError, match=r"units with a free energy.*use 'pcd'"):
            PTT().start(Machine(exact.tiny(**units), bk), 3, bk.rng(stream(0)))


def test_a_model_trained_before_is_kept_by_the_first_update():
    X = np.repeat([[0.0] * 8, [1.0] * 8], 20, axis=0)
    rbm = RBM(4, gradient="pcd", n_iter=100, learning_rate=0.5, warm_start=True, random_state=0).fit(X)
    before = np.abs(rbm.components_).mean()
    assert before > 0.5
    rbm.set_params(gradient="ptt", n_iter=1, learning_rate=1e-4).fit(X)
    assert np.abs(rbm.components_).mean() == pytest.approx(before, rel=0.01)


def test_a_given_model_whose_chains_do_not_meet_is_kept_and_told(bk):
    """No update was made yet that could be undone: the first checkpoint is the model itself, counted as unmet."""
    weights = Weights(np.full((8, 2), 12.0), np.full(8, -12.0), np.full(2, -48.0))  # modes 0...0 and 1...1, no way over
    machine, estimator = Machine(weights, bk), PTT(max_sweeps=20)
    state = estimator.start(machine, 40, bk.rng(stream(0)))
    before = bk.to_numpy(machine.W).copy()
    call(bk, estimator, machine, state, exact.states(8)[:5])
    record = estimator.report(machine, state)
    assert (record["unmet"], record["n_rungs"], record["rejections"], record["rate_factor"]) == (1, 2, 0, 1.0)
    np.testing.assert_array_equal(bk.to_numpy(machine.W), before)


@pytest.mark.slow
def test_a_ladder_is_saved_with_the_model(tmp_path):
    X = np.repeat([[0.0] * 6, [1.0] * 6], 20, axis=0)
    rbm = RBM(3, gradient=PTT(freeze=0.5, reject=0), n_iter=100, learning_rate=1.0, warm_start=True, random_state=0)
    rbm.fit(X)
    assert rbm.history_[-1]["n_rungs"] > 2
    save(rbm, tmp_path / "rbm.h5")
    back = load(tmp_path / "rbm.h5")
    for each in (rbm, back):
        each.fit(X)
    np.testing.assert_array_equal(rbm.components_, back.components_)
    assert back.history_[-1]["n_rungs"] >= rbm.history_[99]["n_rungs"]
    rbm._state.arrays["gradient"]["ladder_W"] = rbm._state.arrays["gradient"]["ladder_W"][:1]
    with pytest.raises(DataError, match="of one ladder"):
        rbm.fit(X)


def test_units_are_centred_by_default():
    X = bits(40, 6)
    chosen, given, plain = (
        RBM(3, gradient="ptt", centered=centered, n_iter=2, random_state=0).fit(X) for centered in ("auto", True, False)
    )
    assert chosen.resolved_["centered"] == (True, "the default of PTT")
    assert "centered" not in plain.resolved_
    np.testing.assert_array_equal(chosen.components_, given.components_)
    assert np.abs(chosen.components_ - plain.components_).max() > 0
    without_means = RBMSettings("bernoulli", gradient="ptt", automatic=frozenset({"centered"})).resolve(40, 6, 3)
    assert not without_means.centered


def test_a_stack_is_pretrained_with_it():
    X = bits(40, 6)
    clf = DBNClassifier((4, 3), rbm=RBM(gradient="ptt", n_iter=2), max_iter=2, random_state=0).fit(X, X[:, 0])
    assert clf.predict(X).shape == (40,)


@pytest.mark.parametrize(("last", "told"), [({"unmet": 2}, "2 checkpoints"), ({"log_z": -9.0}, "probability above 1")])
def test_a_ladder_that_may_have_lost_a_mode_is_told(last, told):
    X = np.repeat([[0.0] * 4, [1.0] * 4], 20, axis=0)
    rbm = RBM(2, gradient="ptt", n_iter=2, random_state=0).fit(X)
    check_ladder(rbm, as_source(X))  # no warning
    rbm.history_[-1] |= last
    with pytest.warns(TrainingWarning, match=told):
        check_ladder(rbm, as_source(X))

"""The recurrent machine against truth: exact log-likelihoods of sequences, by loops with none of the engine's code."""

from dataclasses import replace

import exact
import numpy as np
import pytest
from conftest import BACKENDS
from pairwise import pairwise
from tables import case_by_case

from deepbelief.backends import get_backend
from deepbelief.errors import DataError, SettingError
from deepbelief.gradients import CD, PCD
from deepbelief.machine import Workspace
from deepbelief.recurrent.cells import CELLS, get_cell
from deepbelief.recurrent.model import NAMES, RecurrentMachine, RecurrentWeights
from deepbelief.recurrent.phases import NextFrame
from deepbelief.recurrent.trainer import RecurrentSettings, RecurrentTrainer, states_before
from deepbelief.recurrent.windows import check_lengths, make_plan
from deepbelief.sources import ArraySource
from deepbelief.training import Rows, Run

LENGTHS = np.array([4, 1, 7, 5])
FRAME_NAMES = ("W", "vbias", "hbias")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def random_weights(cell="tanh", n_visible=5, n_hidden=3, n_recurrent=4, *, visible="bernoulli", seed=0):
    """Return weights in float64, all of them large enough for every term to matter."""
    rng = np.random.default_rng(seed)
    n_inputs = get_cell(cell).n_gates * n_recurrent
    shapes = {"Wuv": (n_recurrent, n_visible), "Wuh": (n_recurrent, n_hidden), "Wvu": (n_visible, n_inputs)}
    shapes |= {"Wuu": (n_recurrent, n_inputs), "ubias": (n_inputs,), "u0": (n_recurrent,)}
    frame = exact.tiny(n_visible, n_hidden, seed=seed, visible=visible)
    return RecurrentWeights(frame, **{k: rng.normal(0, 0.6, s) for k, s in shapes.items()}, cell=cell)


def random_rows(n_rows=17, n_visible=5, *, visible="bernoulli", seed=1):
    rng = np.random.default_rng(seed)
    if visible == "gaussian":
        return rng.normal(size=(n_rows, n_visible))
    return (rng.random((n_rows, n_visible)) < 0.4).astype(np.float64)


def next_state(w, u, v):
    if w.cell == "tanh":
        return np.tanh(w.ubias + v @ w.Wvu + u @ w.Wuu)
    n = len(u)
    x, a = w.ubias + v @ w.Wvu, u @ w.Wuu
    r, z = sigmoid(x[:n] + a[:n]), sigmoid(x[n : 2 * n] + a[n : 2 * n])
    c = np.tanh(x[2 * n :] + r * a[2 * n :])
    return (1 - z) * c + z * u


def machine_at(w, u):
    return replace(w.frame, vbias=w.frame.vbias + u @ w.Wuv, hbias=w.frame.hbias + u @ w.Wuh)


def log_p(weights, V):
    """Return the log of the unnormalised probability of states of Bernoulli units."""
    return V @ weights.vbias + np.log1p(np.exp(V @ weights.W + weights.hbias)).sum(axis=1)


def log_likelihood(weights, V):
    """Return the mean log-likelihood of rows; the sum over hidden states of Bernoulli units is a product."""
    if weights.visible != "bernoulli":
        return exact.log_likelihood(weights, V)
    every = log_p(weights, exact.states(weights.n_visible))
    return log_p(weights, V).mean() - every.max() - np.log(np.exp(every - every.max()).sum())


def frame_log_likelihoods(w, X, lengths):
    """Return log p(v_t | v_1 .. v_t-1) of each frame, by the sums over all states."""
    found = []
    for rows in np.split(X, np.cumsum(lengths)[:-1]):
        u = w.u0
        for v in rows:
            found.append(log_likelihood(machine_at(w, u), v[None]))
            u = next_state(w, u, v)
    return np.array(found)


def frame_cross_entropies(w, X, lengths):
    """Return the cross-entropy of each frame where the visible biases alone predict it."""
    found = []
    for rows in np.split(X, np.cumsum(lengths)[:-1]):
        u = w.u0
        for v in rows:
            p = sigmoid(w.frame.vbias + u @ w.Wuv)
            found.append(-(v * np.log(p) + (1 - v) * np.log(1 - p)).sum())
            u = next_state(w, u, v)
    return np.array(found)


def with_value(w, name, value):
    if name in FRAME_NAMES:
        return replace(w, frame=replace(w.frame, **{name: value}))
    return replace(w, **{name: value})


def value_of(w, name):
    return getattr(w.frame if name in FRAME_NAMES else w, name)


def finite_differences(loss, w, name, step=1e-5):
    value = value_of(w, name)
    found = np.empty_like(value)
    for place in np.ndindex(value.shape):
        ends = []
        for sign in (1, -1):
            moved = value.copy()
            moved[place] += sign * step
            ends.append(loss(with_value(w, name, moved)))
        found[place] = (ends[0] - ends[1]) / (2 * step)
    return found


def exact_gradient(weights, V):
    """Return the gradient of the mean of -log p(v), by the sums over visible states where these are finite."""
    if weights.visible != "bernoulli":
        return exact.gradient(weights, V)
    every = exact.states(weights.n_visible)
    p = np.exp(log_p(weights, every))
    p /= p.sum()
    there, here = (sigmoid(v @ weights.W + weights.hbias) for v in (every, V))
    dW = (every * p[:, None]).T @ there - V.T @ here / len(V)
    return dW, p @ every - V.mean(axis=0), p @ there - here.mean(axis=0)


class Exact:
    """The negative phase by the sums over all states of each frame's machine."""

    gibbs_steps, schedule, momentum, is_model = 1, "constant", "auto", True

    def start(self, machine, n_chains, rng):
        return {}

    def __call__(self, machine, buffers, n_rows, batch_size, state, rng):
        bk = machine.bk
        V = bk.to_numpy(buffers.visible(2 * n_rows)[:n_rows])
        W, vbias, hbias = (bk.to_numpy(a) for a in machine.params)
        dW, dv, dh = np.zeros_like(W), np.empty_like(vbias), np.empty_like(hbias)
        weights = exact.tiny(*W.shape, visible=machine.visible.spec)
        for i, v in enumerate(V):
            gradient = exact_gradient(replace(weights, W=W, vbias=vbias[i], hbias=hbias[i]), v[None])
            dW += gradient[0] / batch_size
            dv[i], dh[i] = gradient[1] / batch_size, gradient[2] / batch_size
        return tuple(bk.asarray(a) for a in (dW, dv, dh))


def trainer_of(w, X, lengths, bk=None, **settings):
    bk = bk or get_backend("numpy")
    given = {"truncation": 1000, "gradient": Exact(), "batch_size": len(lengths)} | settings
    trainer = RecurrentTrainer(w, RecurrentSettings(**given).resolve(lengths), lengths, Run(bk, 3), horizon=4)
    trainer._rows, trainer._shuffle, trainer._labels = Rows(ArraySource(X), bk, X.dtype), False, {}
    return trainer


def gradients(w, X, lengths, bk=None, **settings):
    """Return the sum of the gradients of an epoch's minibatches, by name; the weights stand still."""
    trainer = trainer_of(w, X, lengths, bk, **settings)
    trainer.begin_epoch(0, np.arange(trainer.n_updates))
    rng = trainer.bk.rng(np.random.SeedSequence(0))
    total = None
    for number in range(trainer.n_updates):
        found = [g.array(trainer.bk) if hasattr(g, "array") else g for g in trainer.gradient(number, rng)]
        found = [trainer.bk.to_numpy(g).copy() for g in found]
        total = found if total is None else [a + b for a, b in zip(total, found, strict=True)]
    return dict(zip((*FRAME_NAMES, *NAMES), total, strict=True))


@pairwise(bk=BACKENDS, visible=["bernoulli", "gaussian", "softmax:3,2"], cell=CELLS, indirect=["bk"])
def test_the_gradient_is_that_of_the_exact_log_likelihood_of_sequences(cell, visible, bk):
    w, X = random_weights(cell, visible=visible), random_rows(visible=visible)
    if visible == "softmax:3,2":
        rng = np.random.default_rng(5)
        X = np.hstack([np.eye(3)[rng.integers(0, 3, len(X))], np.eye(2)[rng.integers(0, 2, len(X))]])
    found = gradients(w, X, LENGTHS, bk)
    for name, gradient in found.items():
        expected = finite_differences(lambda m: -frame_log_likelihoods(m, X, LENGTHS).mean(), w, name)
        assert np.abs(expected).max() > 1e-3, name
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8, err_msg=name)


def test_the_gradient_of_the_largest_machine_that_is_promised():
    """Of 12 visible and 8 hidden units, along one random direction in each parameter."""
    w, X, lengths = random_weights(n_visible=12, n_hidden=8, n_recurrent=6), random_rows(2, 12), np.array([2])
    rng = np.random.default_rng(0)
    for name, gradient in gradients(w, X, lengths).items():
        direction = rng.normal(size=gradient.shape)
        ends = [with_value(w, name, value_of(w, name) + sign * 1e-5 * direction) for sign in (1, -1)]
        up, down = (-frame_log_likelihoods(m, X, lengths).mean() for m in ends)
        assert (gradient * direction).sum() == pytest.approx((up - down) / 2e-5, rel=1e-6), name


@case_by_case("cell", CELLS)
def test_the_gradient_of_next_frame_pretraining_is_that_of_the_cross_entropy(cell, bk):
    w, X = random_weights(cell), random_rows()
    found = gradients(w, X, LENGTHS, bk, gradient=NextFrame())
    for name, gradient in found.items():
        expected = finite_differences(lambda m: frame_cross_entropies(m, X, LENGTHS).mean(), w, name)
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8, err_msg=name)
        assert (name in ("W", "hbias", "Wuh")) == (not gradient.any())


def test_long_chains_approach_the_exact_gradient():
    w, X = random_weights(), random_rows()
    lengths = np.array([len(X)])
    true = gradients(w, X, lengths)
    # 400 copies of the sequence: the standard error of each element is below 0.01.
    many = gradients(
        w, np.tile(X, (400, 1)), np.tile(lengths, 400), gradient=CD(40, sample_visible=True), batch_size=400
    )
    for name, gradient in many.items():
        np.testing.assert_allclose(gradient, true[name], atol=0.04, err_msg=name)


@case_by_case("cell", CELLS)
def test_truncation_as_long_as_the_sequences_is_none_bit_for_bit(cell, bk):
    w, X = random_weights(cell), random_rows()
    runs = [
        trainer_of(w, X, LENGTHS, bk, truncation=t, gradient="cd", batch_size=2) for t in (int(LENGTHS.max()), 10**9)
    ]
    for trainer in runs:
        trainer.train(trainer._rows, range(3))
    one, other = (trainer.result()[0] for trainer in runs)
    for name in (*FRAME_NAMES, *NAMES):
        np.testing.assert_array_equal(value_of(one, name), value_of(other, name))
        assert (value_of(one, name) != value_of(w, name)).any()


def test_shorter_truncation_cuts_the_gradient_and_nothing_else():
    """States are carried over the cut: the likelihood's gradients at the frames' biases do not change at all."""
    w, X = random_weights(), random_rows()
    whole, cut = gradients(w, X, LENGTHS), gradients(w, X, LENGTHS, truncation=2)
    n_updates = trainer_of(w, X, LENGTHS, truncation=2).n_updates
    for name in ("W", "vbias", "hbias", "Wuv", "Wuh"):
        scale = round(len(X) / n_updates) / len(X)
        np.testing.assert_allclose(cut[name] * scale, whole[name], rtol=1e-10, atol=1e-12, err_msg=name)
    for name in ("Wvu", "Wuu", "u0"):
        assert np.abs(cut[name] * scale - whole[name]).max() > 1e-3


def truncated_gradient(w, X, truncation, name):
    """Return the finite-difference gradient of one sequence where the state is a constant at each cut."""
    states, u = [], w.u0
    for v in X:
        states.append(u)
        u = next_state(w, u, v)
    total = 0
    for start in range(0, len(X), truncation):

        def loss(m, start=start):
            if start:
                m = replace(m, u0=states[start])
            return -frame_log_likelihoods(m, X[start : start + truncation], [len(X[start : start + truncation])]).sum()

        if start == 0 or name != "u0":
            total = total + finite_differences(loss, w, name)
    return total


def test_the_truncated_gradient_is_that_with_constant_states_at_the_cuts():
    w, X = random_weights(), random_rows(7)
    found = gradients(w, X, np.array([7]), truncation=3)
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient * 2, truncated_gradient(w, X, 3, name), rtol=1e-6, atol=1e-7, err_msg=name)


def test_each_frame_weighs_the_same_whatever_the_minibatches():
    w, X = random_weights(), random_rows()
    whole = gradients(w, X, LENGTHS)
    for batch_size in (1, 2, 3):
        trainer = trainer_of(w, X, LENGTHS, batch_size=batch_size)
        scale = round(len(X) / trainer.n_updates) / len(X)
        parts = gradients(w, X, LENGTHS, batch_size=batch_size)
        for name, gradient in parts.items():
            np.testing.assert_allclose(gradient * scale, whole[name], rtol=1e-10, atol=1e-12, err_msg=name)


@case_by_case("truncation", [1, 3, 100])
@case_by_case("cell", CELLS)
def test_states_are_those_of_the_recurrence_written_out(cell, truncation, bk):
    w, X = random_weights(cell), random_rows()
    before, after = states_before(w, Rows(ArraySource(X), bk, X.dtype), LENGTHS, bk, truncation=truncation, lanes=2)
    at = 0
    for rows in np.split(X, np.cumsum(LENGTHS)[:-1]):
        u = w.u0
        for v in rows:
            np.testing.assert_allclose(before[at], u, rtol=1e-12)
            u = next_state(w, u, v)
            np.testing.assert_allclose(after[at], u, rtol=1e-12)
            at += 1


def test_a_frames_machine_has_the_biases_of_its_state(bk):
    w, rows = random_weights(), random_rows(6)
    states = np.random.default_rng(0).normal(size=(6, 4))
    model = RecurrentMachine(w, bk)
    driven = model.driven_by(bk.asarray(states), Workspace(bk, np.float64))
    energies = bk.to_numpy(driven.free_energy(bk.asarray(rows)))
    expected = [exact.free_energy(machine_at(w, u), v[None])[0] for u, v in zip(states, rows, strict=True)]
    np.testing.assert_allclose(energies, expected)


@case_by_case(("lengths", "truncation", "batch_size"), [
    ([5, 2, 3], 2, 2), ([1], 5, 3), ([7, 1, 1, 1, 9, 4], 3, 2), ([100, 3], 10, 4), ([4] * 9, 4, 4), ([6, 6], 1, 1),
])  # fmt: skip
@case_by_case("seed", [0, 1])
def test_a_plan_visits_every_frame_once_and_windows_in_their_order(lengths, truncation, batch_size, seed):
    lengths = np.array(lengths)
    order = np.random.default_rng(seed).permutation(len(lengths))
    plan = make_plan(lengths, truncation, batch_size, order)
    np.testing.assert_array_equal(np.sort(plan.frames), np.arange(lengths.sum()))
    starts, next_frame = np.cumsum(lengths) - lengths, {}
    for k, steps in enumerate(plan.steps):
        windows = slice(*plan.lane_bounds[k : k + 2])
        lanes = plan.lanes[windows]
        frames = plan.frames[slice(*plan.frame_bounds[k : k + 2])]
        assert 1 <= len(set(lanes.tolist())) == len(lanes) == steps[0] <= batch_size
        assert len(steps) <= truncation
        assert steps == sorted(steps, reverse=True)
        at = 0
        for running in steps:
            for lane, frame in zip(lanes[:running], frames[at : at + running], strict=True):
                assert frame == next_frame.get(lane, starts[lane])
                next_frame[lane] = frame + 1
            at += running
    windows = -(-lengths // truncation)
    assert len(plan.steps) == max(-(-windows.sum() // batch_size), windows.max())
    assert plan.first.sum() == len(lengths)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_hot_path_crosses_between_host_and_device_only_at_the_ends_of_an_epoch(batch_size, fake_device):
    from fake_device import no_crossings

    trainer = trainer_of(random_weights(), random_rows(), LENGTHS, fake_device, gradient="cd", truncation=3,
                         batch_size=batch_size)  # fmt: skip
    trainer.begin_epoch(0, np.arange(trainer.n_updates))
    rng = fake_device.rng(np.random.SeedSequence(0))
    with no_crossings():
        for k in range(trainer.n_updates):
            trainer.update(k, k + 1, 0.0, rng)
    assert np.isfinite(trainer.end_epoch(0)["gradient_norm"])


def test_backends_train_to_the_same_bits(bk):
    if bk.name == "cupy":
        pytest.skip("CuPy's backend draws from a generator of its own")
    w, X = random_weights(), random_rows()
    here, there = (trainer_of(w, X, LENGTHS, b, gradient="cd", truncation=3, batch_size=2) for b in (None, bk))
    for trainer in (here, there):
        trainer.train(trainer._rows, range(2))
    for name in (*FRAME_NAMES, *NAMES):
        np.testing.assert_array_equal(value_of(there.result()[0], name), value_of(here.result()[0], name))


def test_clipping_shortens_a_gradient_and_keeps_its_direction():
    w, X = random_weights(), random_rows()
    norms = []
    for limit in (None, 0.01):
        trainer = trainer_of(w, X, LENGTHS, max_grad_norm=limit, solver="sgd", learning_rate=1.0, momentum=0.0)
        record = trainer.train(trainer._rows, range(1))[0]
        moved = trainer.result()[0]
        norms.append(np.concatenate([(value_of(moved, n) - value_of(w, n)).ravel() for n in (*FRAME_NAMES, *NAMES)]))
        assert record["gradient_norm"] > 0.01
    assert np.linalg.norm(norms[1]) == pytest.approx(0.01)
    assert norms[0] @ norms[1] == pytest.approx(np.linalg.norm(norms[0]) * np.linalg.norm(norms[1]))


@case_by_case("gradient", ["pcd", "fpcd", "pt", "exact", PCD(2), NextFrame()])
def test_estimators_that_cannot_work_for_frames_are_refused(gradient):
    from deepbelief.recurrent.phases import frame_gradient

    with pytest.raises(SettingError, match="use 'cd'"):
        frame_gradient(gradient, 1)


@case_by_case(("lengths", "match"), [
    ([4, 5], "sum to 9 over 2 sequence.*10 rows"),
    ([4, 0, 6], r"sequence 1 \(from 0\) is empty"),
    ([9, 1], r"sequence 1 \(from 0\) has 1 frame.*at least 2"),
    ([[10]], "one for each sequence"),
    ([5.0, 5.0], "must be integers"),
    ([], "must be integers"),
    ([12, -2], r"sequence 1 \(from 0\)"),
])  # fmt: skip
def test_lengths_that_cannot_be(lengths, match):
    with pytest.raises(DataError, match=match):
        check_lengths(lengths, 10, shortest=2)

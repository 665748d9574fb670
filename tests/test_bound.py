"""The lower bound for stacks: beside the likelihood and the bound by sums over every state."""

import numpy as np
import pytest
from exact import energies, log_z, states, tiny, visible_states

from deepbelief import DBN, RBM, Stack, Weights
from deepbelief.errors import DataError, SettingError
from deepbelief.likelihood import exact_log_z, has_bound, log_likelihood, unnormalised
from deepbelief.likelihood.bound import bound_samples
from deepbelief.sources import as_source


def log_sigmoid(x):
    return -np.logaddexp(0, -x)


def log_visible_given(weights, V, H):
    """Return log p(v | h) for every pair, by normalising exp(-E) over every visible state."""
    if weights.visible == "gaussian":
        centre = H @ weights.W.T + weights.vbias
        squares = ((V[:, None] - centre[None]) ** 2).sum(axis=2)
        return -squares / 2 - weights.n_visible / 2 * np.log(2 * np.pi)
    total = np.logaddexp.reduce(-energies(weights, visible_states(weights), H), axis=0)
    return -energies(weights, V, H) - total


def log_hidden_given(weights, V, H):
    """Return log q(h | v) for every pair."""
    x = V @ weights.W + weights.hbias
    return log_sigmoid(x) @ H.T + log_sigmoid(-x) @ (1 - H).T


def log_marginals(stack):
    """Return log p of every state of the units below each machine, from the top down to the first hidden layer."""
    top = stack[-1]
    H = states(top.n_visible)
    log_p = np.logaddexp.reduce(-energies(top, H, states(top.n_hidden)), axis=1) - log_z(top)
    for weights in reversed(stack[1:-1]):
        below = states(weights.n_visible)
        log_p = np.logaddexp.reduce(log_visible_given(weights, below, states(weights.n_hidden)) + log_p, axis=1)
    return log_p


def true_log_p(stack, V):
    """Return log p(v) of a network of at least two layers."""
    H = states(stack[0].n_hidden)
    return np.logaddexp.reduce(log_visible_given(stack[0], V, H) + log_marginals(stack), axis=1)


def true_bound(stack, V):
    """Return E_q[log p(v, h1, ...) - log q(h1, ... | v)] by the sum over every state, layer by layer."""
    if len(stack) == 1:
        return np.logaddexp.reduce(-energies(stack[0], V, states(stack[0].n_hidden)), axis=1) - log_z(stack[0])
    H = states(stack[0].n_hidden)
    log_q = log_hidden_given(stack[0], V, H)
    inner = log_visible_given(stack[0], V, H) - log_q + true_bound(stack[1:], H)
    return (np.exp(log_q) * inner).sum(axis=1)


def rows_for(weights, n=12):
    if weights.visible == "gaussian":
        return np.random.default_rng(0).normal(size=(n, weights.n_visible))
    return visible_states(weights)


STACKS = {
    "two": (tiny(5, 3, seed=1), tiny(3, 4, seed=2)),
    "three": (tiny(5, 3, seed=1), tiny(3, 4, seed=2), tiny(4, 3, seed=3)),
    "softmax": (tiny(5, 3, seed=1, visible="softmax:3,2"), tiny(3, 4, seed=2)),
    "gaussian": (tiny(4, 3, seed=1, visible="gaussian"), tiny(3, 4, seed=2)),
}
EACH = pytest.mark.parametrize("name", STACKS)


@pytest.mark.parametrize(
    "name", ["two", "gaussian", *(pytest.param(name, marks=pytest.mark.slow) for name in ("three", "softmax"))]
)
def test_draws_average_to_the_bound_and_the_bound_lies_below(name, bk):
    stack = STACKS[name]
    V = rows_for(stack[0])
    draws = bound_samples(Stack(stack), V, n_vectors=1500, backend=bk) - log_z(stack[-1])
    error = draws.std(axis=1, ddof=1) / np.sqrt(1500)
    bound, truth = true_bound(stack, V), true_log_p(stack, V)
    assert (np.abs(draws.mean(axis=1) - bound) < 5 * error).all()
    assert error.max() < 0.08
    assert (bound < truth).all()
    assert (truth - bound).max() > 0.05  # the test would see the difference


def turned(weights):
    """Return the same machine upside down."""
    return Weights(weights.W.T.copy(), weights.hbias, weights.vbias, weights.hidden, weights.visible)


def test_where_the_way_up_is_exact_each_draw_is():
    """Below a copy of itself upside down a machine's prior is its own, and q its posterior (Hinton et al. 2006)."""
    lower = tiny(5, 3, seed=4)
    V = states(5)
    for stack in ((lower, turned(lower)), (lower, turned(lower), lower)):
        draws = bound_samples(Stack(stack), V) - log_z(lower)
        np.testing.assert_allclose(draws, np.repeat(true_bound((lower,), V)[:, None], 20, axis=1), rtol=1e-10)
        np.testing.assert_allclose(true_log_p(stack, V), draws[:, 0], rtol=1e-10)


@pytest.fixture(scope="module")
def bits():
    return (np.random.default_rng(0).random((80, 6)) < [0.9, 0.8, 0.5, 0.5, 0.2, 0.1]).astype(np.float32)


def test_one_layer_is_a_machine(bits):
    dbn = DBN((3,), rbm=RBM(n_iter=3), random_state=0).fit(bits)
    machine = dbn.stack_.layers[0]
    found, expected = dbn.log_likelihood(bits), log_likelihood(machine, bits)
    np.testing.assert_array_equal(found.rows, expected.rows)
    assert not found.is_bound
    assert str(found) == str(expected)
    np.testing.assert_allclose(dbn.score_samples(bits) - exact_log_z(machine), expected.rows)


def test_a_network_tells_its_bound_and_the_errors_in_it(bits, fake_device):
    dbn = DBN((4, 3), rbm=RBM(n_iter=3), random_state=0).fit(bits)
    found = dbn.log_likelihood(bits)
    assert found.is_bound
    assert str(found).startswith(f"at least {found.mean:.2f} nats per row ({found.low:.2f} to {found.high:.2f} at 3")
    np.testing.assert_allclose(found.rows, dbn.score_samples(bits) - exact_log_z(dbn.stack_.layers[-1]))
    per_vector = unnormalised(dbn.stack_, as_source(bits)).mean(axis=0)
    assert found.sampling_error == pytest.approx(per_vector.std(ddof=1) / np.sqrt(20))
    assert found.mean - found.low == pytest.approx(3 * found.sampling_error)
    annealed = dbn.log_likelihood(bits, method="ais", betas=200)
    assert annealed.low < found.mean < annealed.high
    assert annealed.high - annealed.low > found.high - found.low
    np.testing.assert_array_equal(log_likelihood(dbn, bits).rows, found.rows)  # deterministic
    np.testing.assert_allclose(dbn.log_likelihood(bits[7:9]).rows, found.rows[7:9], rtol=1e-9)  # of each row by itself
    np.testing.assert_allclose(log_likelihood(dbn, bits, backend=fake_device).rows, found.rows, rtol=1e-9)


def test_densities_of_a_network_are_in_the_units_of_the_rows():
    X = np.random.default_rng(0).normal(2, 3, (60, 3))
    metres, millimetres = (DBN((3, 2), rbm=RBM(n_iter=3), random_state=0).fit(k * X) for k in (1, 1000))
    difference = metres.log_likelihood(X).mean - millimetres.log_likelihood(1000 * X).mean
    assert difference == pytest.approx(3 * np.log(1000), rel=1e-6)


def test_layers_that_have_none_are_refused(bits):
    two = STACKS["two"]
    rectified = tiny(5, 3, hidden="rectified"), tiny(3, 4, visible="gaussian")
    gaussian = tiny(5, 3, hidden="gaussian"), tiny(3, 4, visible="gaussian")
    V = states(5)
    for stack, match in (
        (Stack(two, tuned=True), "fine-tuned stack is no longer a deep belief network"),
        (Stack(two[:1], tuned=True), "fine-tuned stack"),
        (Stack(rectified), "bernoulli -> rectified -> bernoulli"),
        (Stack(gaussian), "bernoulli -> gaussian -> bernoulli"),
    ):
        assert not has_bound(stack)
        with pytest.raises(SettingError, match=match):
            log_likelihood(stack, V)
    with pytest.raises(DataError, match=r"row 0, column 0 is 0.5: a likelihood needs rows of 0 and 1"):
        log_likelihood(Stack(two), V + 0.5)
    with pytest.raises(SettingError, match="n_vectors must be an integer of at least 1, got 0"):
        log_likelihood(Stack(two), V, n_vectors=0)
    for unable in (DBN(rbm=RBM(hidden="rectified")), DBN(pretraining="denoising"), DBN(rbm=[RBM(hidden="rectified")])):
        assert not hasattr(unable, "score_samples")
        assert not hasattr(unable, "log_likelihood")
    assert hasattr(DBN(), "score_samples")

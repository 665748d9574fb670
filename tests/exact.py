"""Truth about tiny machines: sums over every state, in float64, by definitions and with none of the engine's code."""

import itertools

import numpy as np

from deepbelief.stack import Weights


def states(n):
    """Return every vector of n bits."""
    return np.array(list(itertools.product([0.0, 1.0], repeat=n))).reshape(-1, n)


def visible_states(weights):
    """Return every visible state of Bernoulli or softmax units, or of Bernoulli units with labels."""
    if weights.visible == "bernoulli":
        return states(weights.n_visible)
    if weights.visible.startswith("labelled:bernoulli"):
        n = int(weights.visible.split(",")[1])
        pairs = itertools.product(states(weights.n_visible - n), np.eye(n))
        return np.array([np.concatenate(pair) for pair in pairs])
    _, colon, sizes = weights.visible.rpartition(":")  # the labels of "labelled:softmax:2,3" are the last group
    groups = [np.eye(int(s)) for s in sizes.split(",")] if colon else [np.eye(weights.n_visible)]
    return np.array([np.concatenate(rows) for rows in itertools.product(*groups)])


def tiny(n_visible=5, n_hidden=3, *, seed=1, spread=0.7, visible="bernoulli", hidden="bernoulli", dtype=np.float64):
    """Return weights with both signs, large enough for every term to matter."""
    rng = np.random.default_rng(seed)
    shapes = ((n_visible, n_hidden), (n_visible,), (n_hidden,))
    return Weights(*(rng.normal(0, spread, shape).astype(dtype) for shape in shapes), visible, hidden)


def energies(weights, V, H):
    """Return E(v, h) for every pair, of shape (len(V), len(H)); Gaussian visible units have unit variance."""
    own = ((V - weights.vbias) ** 2).sum(axis=1) / 2 if weights.visible == "gaussian" else -V @ weights.vbias
    return own[:, None] - H @ weights.hbias - V @ weights.W @ H.T


def free_energy(weights, V):
    """Return -log of the sum over every hidden state."""
    return -np.logaddexp.reduce(-energies(weights, V, states(weights.n_hidden)), axis=1)


def log_z(weights):
    """Return log Z; Gaussian visible units are integrated out."""
    if weights.visible != "gaussian":
        return np.logaddexp.reduce(-free_energy(weights, visible_states(weights)))
    H = states(weights.n_hidden)
    field = H @ weights.W.T
    exponents = H @ weights.hbias + field @ weights.vbias + (field**2).sum(axis=1) / 2
    return np.logaddexp.reduce(exponents) + weights.n_visible / 2 * np.log(2 * np.pi)


def log_likelihood(weights, V):
    """Return the mean log-likelihood of rows."""
    return float(np.mean(-free_energy(weights, V)) - log_z(weights))


def joint(weights):
    """Return (v, h, p): states whose mean under p is the model's mean of v, h and v h."""
    H = states(weights.n_hidden)
    if weights.visible == "gaussian":
        field = H @ weights.W.T
        log_p = H @ weights.hbias + field @ weights.vbias + (field**2).sum(axis=1) / 2
        return weights.vbias + field, H, np.exp(log_p - np.logaddexp.reduce(log_p))
    V = visible_states(weights)
    log_p = -energies(weights, V, H)
    p = np.exp(log_p - np.logaddexp.reduce(log_p, axis=None))
    pairs = [(v, h) for v in V for h in H]
    return np.array([v for v, _ in pairs]), np.array([h for _, h in pairs]), p.ravel()


def hidden_given(weights, V):
    """Return E[h | v] by the sum over hidden states."""
    H = states(weights.n_hidden)
    log_p = -energies(weights, V, H)
    return np.exp(log_p - np.logaddexp.reduce(log_p, axis=1)[:, None]) @ H


def gradient(weights, V):
    """Return the gradient of the mean of -log p(v) with respect to (W, vbias, hbias)."""
    h_data = hidden_given(weights, V)
    v, h, p = joint(weights)
    return (
        (v * p[:, None]).T @ h - V.T @ h_data / len(V),
        p @ v - V.mean(axis=0),
        p @ h - h_data.mean(axis=0),
    )


def entropy(V):
    """Return the entropy of the rows' empirical distribution."""
    _, counts = np.unique(V, axis=0, return_counts=True)
    p = counts / len(V)
    return float(-(p * np.log(p)).sum())


def independent_log_likelihood(V):
    """Return the mean log-likelihood of rows under independent bits with the rows' own means."""
    p = V.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log(p), 0) + np.where(p < 1, (1 - p) * np.log1p(-p), 0)
    return float(terms.sum())

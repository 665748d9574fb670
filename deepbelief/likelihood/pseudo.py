"""Scores of a restricted Boltzmann machine that have the scale of a likelihood."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbelief.errors import SettingError
from deepbelief.stack import Weights
from deepbelief.units import Bernoulli, Softmax, get_unit

Array = NDArray[np.float64]

BLOCK_BYTES = 64 * 2**20  # bounds the scratch space


def pseudo_log_likelihood(weights: Any, X: Any, *, n_bits: int | None = None, random_state: int = 0) -> Array:
    """Return the pseudo-log-likelihood of each row, in nats: the sum over units of log p(v_i | all others).

    Grey levels count as ``v log p + (1 - v) log(1 - p)``; a softmax group is one unit. The result is exact
    and deterministic, and comparable between models of the same rows.

    Parameters
    ----------
    weights : Weights or fitted RBM
        Bernoulli or softmax visible units, Bernoulli hidden units.
    X : array-like of shape (n_rows, n_visible)
    n_bits : int, optional
        Use only so many visible units, drawn once for all rows, and scale up; None: all.
    random_state : int
        Seed of that draw.

    Returns
    -------
    ndarray of shape (n_rows,), float64

    Raises
    ------
    SettingError
        If the visible units are Gaussian, or the hidden units have no free energy of this form.

    Examples
    --------
    >>> import numpy as np
    >>> w = Weights(np.zeros((3, 2)), np.zeros(3), np.zeros(2))
    >>> pseudo_log_likelihood(w, np.eye(3)).round(4).tolist()
    [-2.0794, -2.0794, -2.0794]
    """
    weights = getattr(weights, "weights_", weights)
    visible = get_unit(weights.visible)
    if not isinstance(visible, (Bernoulli, Softmax)) or weights.hidden != "bernoulli":
        raise SettingError(
            "the pseudo-likelihood needs Bernoulli or softmax visible and Bernoulli hidden units, got "
            f"visible={weights.visible!r}, hidden={weights.hidden!r}"
        )
    groups = _groups(weights, visible)
    scale = 1.0
    if n_bits is not None:
        if not isinstance(n_bits, Integral) or not 1 <= n_bits <= len(groups):
            raise SettingError(f"n_bits must be an integer between 1 and {len(groups)}, got {n_bits!r}")
        chosen = np.sort(np.random.default_rng(random_state).permutation(len(groups))[:n_bits])
        groups, scale = [groups[i] for i in chosen], len(groups) / n_bits
    X = np.asarray(X)
    rows = max(1, BLOCK_BYTES // (8 * 4 * weights.n_hidden))
    parts = [_score_block(weights, X[i : i + rows].astype(np.float64), groups) for i in range(0, len(X), rows)]
    return scale * np.concatenate(parts) if parts else np.zeros(0)


def _groups(weights: Weights, visible: Any) -> list[NDArray[np.intp]]:
    """Return the columns of each visible unit; a Bernoulli unit is one column."""
    if isinstance(visible, Softmax):
        sizes = visible.groups or (weights.n_visible,)
        ends = np.cumsum(sizes)
        return [np.arange(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    return [np.array([i]) for i in range(weights.n_visible)]


def _score_block(weights: Weights, v: Array, groups: list[NDArray[np.intp]]) -> Array:
    W, vbias, hbias = (a.astype(np.float64) for a in (weights.W, weights.vbias, weights.hbias))
    x = v @ W + hbias
    growth = np.exp(np.minimum(W, 700))
    score = np.zeros(len(v))
    for columns in groups:
        # With o the hidden inputs while this unit is off, switching column i on adds its bias and the sum of
        # softplus(o + W_i) - softplus(o) = log((exp(W_i) + exp(-o)) / (1 + exp(-o))) to -F.
        decay = np.exp(-np.clip(x - v[:, columns] @ W[columns], -700, 700))
        odds = 1 + decay
        on = np.stack([vbias[i] + np.log((growth[i] + decay) / odds).sum(axis=1) for i in columns], axis=1)
        if len(columns) == 1 and weights.visible == "bernoulli":
            value = v[:, columns[0]]
            score -= value * np.logaddexp(0, -on[:, 0]) + (1 - value) * np.logaddexp(0, on[:, 0])
        else:
            score += ((on - np.logaddexp.reduce(on, axis=1, keepdims=True)) * v[:, columns]).sum(axis=1)
    return score

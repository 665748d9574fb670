"""Scores of a restricted Boltzmann machine that have the scale of a likelihood."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbelief.backends import Backend
from deepbelief.errors import SettingError
from deepbelief.likelihood.exact import double_machine
from deepbelief.machine import Machine
from deepbelief.stack import Weights

DeviceArray = Any
Array = NDArray[np.float64]

BLOCK_BYTES = 64 * 2**20  # bounds the scratch space
LARGEST = 700.0  # exponents that exp takes without overflow


def pseudo_log_likelihood(
    weights: Any, X: Any, *, n_bits: int | None = None, random_state: int = 0, backend: str | Backend = "numpy"
) -> Array:
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
    backend : {"numpy", "cupy"} or Backend

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
    if not weights.has_pseudo_likelihood:
        raise SettingError(
            "the pseudo-likelihood needs Bernoulli or softmax visible and Bernoulli hidden units, got "
            f"visible={weights.visible!r}, hidden={weights.hidden!r}"
        )
    groups = _groups(weights)
    scale = 1.0
    if n_bits is not None:
        if not isinstance(n_bits, Integral) or not 1 <= n_bits <= len(groups):
            raise SettingError(f"n_bits must be an integer between 1 and {len(groups)}, got {n_bits!r}")
        chosen = np.sort(np.random.default_rng(random_state).permutation(len(groups))[:n_bits])
        groups, scale = [groups[i] for i in chosen], len(groups) / n_bits
    X, machine = np.asarray(X), double_machine(weights, backend)
    growth = machine.bk.xp.exp(machine.bk.xp.minimum(machine.W, LARGEST))
    rows = max(1, BLOCK_BYTES // (8 * 4 * weights.n_hidden))
    parts = []
    for start in range(0, len(X), rows):
        v = machine.bk.asarray(X[start : start + rows], dtype=np.float64)
        parts.append(np.asarray(machine.bk.to_numpy(_score_block(machine, growth, v, groups))))
    return scale * np.concatenate(parts) if parts else np.zeros(0)


def _groups(weights: Weights) -> list[slice]:
    """Return the columns of each visible unit; a Bernoulli unit is one column."""
    sizes = weights.visible_unit.group_sizes(weights.n_visible)
    ends = np.cumsum(sizes).tolist()
    return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def _score_block(machine: Machine, growth: DeviceArray, v: DeviceArray, groups: list[slice]) -> DeviceArray:
    xp, W = machine.bk.xp, machine.W
    x = v @ W + machine.hbias
    score = xp.zeros(len(v), np.float64)
    for columns in groups:
        # With o the hidden inputs while this unit is off, switching column i on adds its bias and the sum of
        # softplus(o + W_i) - softplus(o) = log((exp(W_i) + exp(-o)) / (1 + exp(-o))) to -F.
        off = x - v[:, columns] @ W[columns]
        decay = xp.exp(xp.maximum(xp.minimum(-off, LARGEST), -LARGEST))
        odds = 1 + decay
        on = xp.stack([xp.log((growth[i] + decay) / odds).sum(axis=1) for i in range(*columns.indices(len(W)))], axis=1)
        on += machine.vbias[columns]
        value = v[:, columns]
        if machine.visible.enumerable:
            score -= (value * xp.logaddexp(0 * on, -on) + (1 - value) * xp.logaddexp(0 * on, on))[:, 0]
        else:
            top = on.max(axis=1, keepdims=True)
            total = xp.log(xp.exp(on - top).sum(axis=1, keepdims=True)) + top
            score += ((on - total) * value).sum(axis=1)
    return score

"""Pseudo-log-likelihood of rows under a restricted Boltzmann machine."""

from collections.abc import Callable, Iterator
from numbers import Integral

import numpy as np

from deepbelief.backends import Backend, get_backend
from deepbelief.completion import completed
from deepbelief.errors import Mention, SettingError
from deepbelief.likelihood.exact import double_machine
from deepbelief.machine import Machine
from deepbelief.sources import OF_DENSITIES, as_source, blocks, check_groups, entered, entering
from deepbelief.stack import Weights
from deepbelief.typing import Array, DeviceArray, Estimator, Float64Array, RowsLike

BLOCK_BYTES = 64 * 2**20  # bounds the scratch space
MAX_ROWS = 1024  # that are dense at a time


def pseudo_log_likelihood(
    weights: Weights | Estimator,
    X: RowsLike,
    *,
    n_bits: int | None = None,
    random_state: int = 0,
    backend: str | Backend = "numpy",
) -> Float64Array:
    """Return the pseudo-log-likelihood of each row, in nats: the sum over units of log p(v_i | all others).

    A grey level contributes ``v log p + (1 - v) log(1 - p)``; a softmax group is one unit. The result is exact and
    deterministic, and comparable between models of the same rows. Missing values (NaN) are left out; for the other
    units they are replaced by their mean field.

    Parameters
    ----------
    weights : Weights or fitted RBM
        Bernoulli or softmax visible units, Bernoulli hidden units.
    X : array-like, CSR matrix or RowSource of shape (n_rows, n_visible)
        In the units of the training rows. Values slightly outside their range are clipped, with a warning.
    n_bits : int, optional
        Number of visible units to score; they are drawn once for all rows, and the sum is scaled up. None means all
        units.
    random_state : int
        Seed of that draw.
    backend : {"numpy", "cupy"} or Backend

    Returns
    -------
    ndarray of shape (n_rows,), float64

    Raises
    ------
    DataError
        If a value is far outside the domain of the visible units.
    SettingError
        If the visible units are Gaussian, or the hidden units have no free energy of this form.

    Examples
    --------
    >>> import numpy as np
    >>> w = Weights(np.zeros((3, 2)), np.zeros(3), np.zeros(2))
    >>> pseudo_log_likelihood(w, np.eye(3)).round(4).tolist()
    [-2.0794, -2.0794, -2.0794]
    """
    weights = _checked(weights)
    groups, scale = None, 1.0
    if n_bits is not None:
        groups = _groups(weights)
        if not isinstance(n_bits, Integral) or not 1 <= n_bits <= len(groups):
            raise SettingError(f"n_bits must be an integer between 1 and {len(groups)}, got {n_bits!r}")
        chosen = np.sort(np.random.default_rng(random_state).permutation(len(groups))[:n_bits])
        groups, scale = [groups[i] for i in chosen], len(groups) / n_bits
    return scale * np.concatenate([np.zeros(0), *(terms.sum(axis=1) for terms in _terms(weights, X, groups, backend))])


def conditional_log_likelihoods(
    weights: Weights | Estimator, X: RowsLike, *, backend: str | Backend = "numpy"
) -> Float64Array:
    """Return log p(v_i | all others) of each visible unit in each row, in nats.

    They are the terms of the pseudo-log-likelihood (`pseudo_log_likelihood`): a low one marks a value that is unusual
    beside the others of its row.

    Parameters
    ----------
    weights : Weights or fitted RBM
        Bernoulli or softmax visible units, Bernoulli hidden units.
    X : array-like, CSR matrix or RowSource of shape (n_rows, n_visible)
        In the units of the training rows. NaN: missing.
    backend : {"numpy", "cupy"} or Backend

    Returns
    -------
    ndarray of shape (n_rows, n_units), float64
        A softmax group is one unit. 0 where the value is missing.

    Raises
    ------
    DataError, SettingError
        See `pseudo_log_likelihood`.

    Examples
    --------
    >>> import numpy as np
    >>> w = Weights(np.zeros((3, 2)), np.zeros(3), np.zeros(2))
    >>> conditional_log_likelihoods(w, [[1, 0, 1]]).round(4).tolist()
    [[-0.6931, -0.6931, -0.6931]]
    """
    weights = _checked(weights)
    n_units = len(weights.visible_unit.group_sizes(weights.n_visible))
    return np.concatenate([np.zeros((0, n_units)), *_terms(weights, X, None, backend)])


def _checked(weights: Weights | Estimator) -> Weights:
    """Return the weights of a machine that has a pseudo-likelihood."""
    weights = getattr(weights, "weights_", weights)
    if not weights.has_pseudo_likelihood:
        raise SettingError(
            "the pseudo-likelihood needs Bernoulli or softmax visible and Bernoulli hidden units, got ",
            Mention("visible", weights.visible),
            ", ",
            Mention("hidden", weights.hidden),
        )
    return weights


def _terms(weights: Weights, X: RowsLike, groups: list[slice] | None, backend: str | Backend) -> Iterator[Float64Array]:
    """Iterate over blocks of rows: log p(v_i | all others) of the units of these columns (None: of all units)."""
    score: Callable[..., DeviceArray] = _score_bits
    if not weights.visible_unit.enumerable:
        score, groups = _score_groups, _groups(weights) if groups is None else groups
    if len(np.shape(X)) == 2 and not np.shape(X)[0]:
        return
    source = as_source(X)
    if source.shape[0] == 1 and score is _score_bits and groups is None:
        row = entered(source.take(slice(1)), weights, OF_DENSITIES)
        if not np.isnan(row).any():
            yield _score_row(weights, get_backend(backend), row)
            return
    rows = entering(source, weights, OF_DENSITIES)
    machine = double_machine(weights, backend)
    for block in blocks(rows, max(1, min(MAX_ROWS, BLOCK_BYTES // (8 * 4 * sum(machine.W.shape))))):
        v = machine.bk.asarray(block, dtype=np.float64)
        present = ~np.isnan(block)
        check_groups(block, weights.visible_unit)
        counted = None if present.all() else machine.bk.asarray(present, dtype=np.float64)
        yield np.asarray(machine.bk.to_numpy(score(machine, completed(machine, v), groups, counted)))


def _groups(weights: Weights) -> list[slice]:
    """Return the columns of each visible unit; a Bernoulli unit is one column."""
    sizes = weights.visible_unit.group_sizes(weights.n_visible)
    ends = np.cumsum(sizes).tolist()
    return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def _score_row(weights: Weights, bk: Backend, row: Array) -> Float64Array:
    """Return the terms of one row of Bernoulli units.

    The product, and the log-odds where loops are compiled, are computed in the dtype of the weights: converting these
    to float64, as for many rows, would take as long as all else.
    """
    W = bk.asarray(weights.W)
    x = bk.asarray(row, dtype=W.dtype) @ W + bk.asarray(weights.hbias)
    v, x = (bk.asarray(values, dtype=np.float64) for values in (row, x))
    odds = bk.log_odds(x, v, W, bk.xp.empty_like(v))
    odds += bk.asarray(weights.vbias, dtype=np.float64)
    return np.asarray(bk.to_numpy(_log_p(bk, v, odds)))


def _log_p(bk: Backend, v: DeviceArray, odds: DeviceArray) -> DeviceArray:
    """Return log p(v) of units, given the log-odds of their state 1.

    It is ``-v softplus(-odds) - (1 - v) softplus(odds)``, where ``softplus(z)`` is ``max(z, 0) + log(1 + exp(-|z|))``.
    """
    xp = bk.xp
    found = xp.where(odds > 0, 1 - v, -v)
    found *= odds  # the larger of 0 and the input
    found += xp.log1p(xp.exp(-xp.abs(odds)))
    return -found


def _score_bits(
    machine: Machine, v: DeviceArray, groups: list[slice] | None, counted: DeviceArray | None
) -> DeviceArray:
    """Return the terms of rows of Bernoulli units, of these columns (None: of all); 0 where ``counted`` is 0."""
    bk, xp, x, W, vbias = machine.bk, machine.bk.xp, v @ machine.W, machine.W, machine.vbias
    x += machine.hbias
    if groups is not None:
        columns = bk.asarray(np.array([group.start for group in groups]))
        v, W, vbias = xp.take(v, columns, axis=1), W[columns], vbias[columns]
        counted = None if counted is None else xp.take(counted, columns, axis=1)
    on = bk.log_odds(x, v, W, xp.empty_like(v))
    on += vbias
    scores = _log_p(bk, v, on)
    return scores if counted is None else scores * counted


def _score_groups(machine: Machine, v: DeviceArray, groups: list[slice], counted: DeviceArray | None) -> DeviceArray:
    """Return the terms of rows of softmax groups and bits, of these groups; 0 where ``counted`` is 0."""
    bk, xp, W = machine.bk, machine.bk.xp, machine.W
    x = v @ W + machine.hbias
    terms = xp.zeros((len(v), len(groups)), np.float64)
    starts = {columns.start for columns, unit in machine.visible.split(len(W)) if unit.enumerable}
    bits = [i for i, columns in enumerate(groups) if columns.start in starts]
    if bits:
        terms[:, bk.asarray(np.array(bits))] = _score_bits(machine, v, [groups[i] for i in bits], counted)
    for i, columns in enumerate(groups):
        if columns.start in starts:
            continue
        value = v[:, columns].copy()
        off = x - value @ W[columns]
        on = bk.log_odds(off, 0 * value, W[columns], xp.empty_like(value))
        on += machine.vbias[columns]
        top = on.max(axis=1, keepdims=True)
        total = xp.log(xp.exp(on - top).sum(axis=1, keepdims=True)) + top
        one = ((on - total) * value).sum(axis=1)
        terms[:, i] = one if counted is None else one * counted[:, columns.start]
    return terms

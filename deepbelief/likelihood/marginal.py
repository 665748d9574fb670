"""Likelihood of rows with missing values: the likelihood of the observed values."""

import itertools

import numpy as np

from deepbelief.completion import completed
from deepbelief.machine import Machine
from deepbelief.typing import DeviceArray

MAX_SUMMED = 12  # hidden units whose states are summed over one by one


def is_exact(machine: Machine) -> bool:
    """Return whether `marginal_log_p` is exact: a few Bernoulli hidden units."""
    return machine.hidden.enumerable and len(machine.hbias) <= MAX_SUMMED


def marginal_log_p(machine: Machine, v: DeviceArray, *, exact: bool | None = None) -> DeviceArray:
    """Return the log of the sum, or integral, of exp(-E) over hidden states and missing visible values (NaN).

    For complete rows the result is -F(v). For other rows it is the sum over all states of the hidden units where these
    are few. Otherwise it is the lower bound -F(m) + H(m), where m is the mean field of the missing values and H its
    entropy.

    Parameters
    ----------
    machine : Machine
    v : device array of shape (n_rows, n_visible)
    exact : bool, optional
        Whether to sum over the hidden states; None: where there are at most 12.

    Returns
    -------
    device array of shape (n_rows,)
    """
    bk = machine.bk
    gaps = np.flatnonzero(bk.to_numpy(bk.xp.isnan(v.sum(axis=1))))
    if not len(gaps):
        return -machine.free_energy(v)
    index = bk.asarray(gaps)
    some = v[index]
    found = _summed(machine, some) if (is_exact(machine) if exact is None else exact) else _bound(machine, some)
    if len(gaps) == len(v):
        return found
    total = -machine.free_energy(bk.xp.where(bk.xp.isnan(v), 0.0, v))
    total[index] = found
    return total


def _summed(machine: Machine, v: DeviceArray) -> DeviceArray:
    """Return the sum over every state of the hidden units."""
    bk, xp, vbias = machine.bk, machine.bk.xp, machine.vbias
    states = np.array(list(itertools.product([0.0, 1.0], repeat=len(machine.hbias))))
    h = bk.asarray(states, dtype=machine.dtype)
    field = h @ machine.W.T
    missing = xp.isnan(v)
    known = xp.where(missing, 0.0, v)
    log_p = known @ field.T + h @ machine.hbias
    own = xp.zeros(len(v), machine.dtype)
    for columns, unit in machine.visible.split(len(vbias)):
        free = missing[:, columns.start].astype(machine.dtype)
        own -= (1 - free) * unit.energy(bk, known[:, columns], vbias[columns])
        log_p += free.reshape(-1, 1) * unit.log_integral(bk, field[:, columns], vbias[columns])
    top = log_p.max(axis=1, keepdims=True)
    return own + xp.log(xp.exp(log_p - top).sum(axis=1)) + top[:, 0]


def _bound(machine: Machine, v: DeviceArray) -> DeviceArray:
    """Return the bound of the mean field: -F is convex, so its mean is at least its value at the mean."""
    bk, xp, vbias = machine.bk, machine.bk.xp, machine.vbias
    mean = completed(machine, v)
    field = machine.mean_hidden(mean) @ machine.W.T
    held = machine.visible.mean(bk, field.copy(), vbias)  # one more step, so that the means follow from the field
    missing = xp.isnan(v)
    mean = xp.where(missing, held, mean)
    total = -machine.free_energy(mean)
    for columns, unit in machine.visible.split(len(vbias)):
        some, x, bias = mean[:, columns], field[:, columns], vbias[columns]
        entropy = unit.log_integral(bk, x, bias) - (x * some).sum(axis=1) + unit.energy(bk, some, bias)
        total += missing[:, columns.start].astype(machine.dtype) * entropy
    return total

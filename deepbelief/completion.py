"""Missing visible values, filled in by a mean field."""

import numpy as np

from deepbelief.backends import Backend
from deepbelief.machine import Machine
from deepbelief.typing import DeviceArray, DtypeLike

SETTLED = 1e-4  # largest change of a value in one step at which a mean field has converged


class Held:
    """Clamped visible states: the values that are not NaN in ``known``."""

    def __init__(self, known: DeviceArray, bk: Backend, dtype: DtypeLike) -> None:
        missing = bk.xp.isnan(known)
        self.free = missing.astype(dtype)
        self._values = bk.xp.where(missing, bk.xp.zeros_like(known), known).astype(dtype)

    def hold(self, v: DeviceArray) -> DeviceArray:
        """Put the held states back into ``v``."""
        v *= self.free
        v += self._values
        return v


def base_rates(machine: Machine, n: int) -> DeviceArray:
    """Return the visible means of rows without observed values."""
    xp = machine.bk.xp
    v = xp.zeros((n, len(machine.vbias)), machine.dtype)
    v += (
        machine.visible.mean(machine.bk, xp.zeros_like(v[:1]), machine.vbias)
        if machine.visible_mean is None
        else machine.visible_mean.astype(machine.dtype, copy=False)
    )
    return v


def mean_field(machine: Machine, known: DeviceArray, n_steps: int = 100) -> DeviceArray:
    """Return rows in which missing values (NaN) are the fixed point of the means of both sides.

    Parameters
    ----------
    machine : Machine
    known : device array of shape (n_rows, n_visible)
    n_steps : int
        Largest number of steps from the base rates.

    Returns
    -------
    device array of shape (n_rows, n_visible)
    """
    bk, xp = machine.bk, machine.bk.xp
    held = Held(known, bk, machine.dtype)
    v = held.hold(base_rates(machine, len(known)))
    mean, h = xp.empty_like(v), xp.empty((len(v), machine.W.shape[1]), machine.dtype)
    for step in range(n_steps):
        machine.mean_visible(machine.mean_hidden(v, out=h), out=mean)
        held.hold(mean)
        settled = False
        if step % 10 == 9:
            v -= mean
            settled = not float(bk.to_numpy(xp.abs(v).max())) > SETTLED  # NaN cannot settle later
        v, mean = mean, v
        if settled:
            break
    return v


def completed(machine: Machine, v: DeviceArray, n_steps: int = 100) -> DeviceArray:
    """Return rows with their missing values (NaN) filled in by `mean_field`; whole rows as they are."""
    bk, xp = machine.bk, machine.bk.xp
    gaps = np.flatnonzero(bk.to_numpy(xp.isnan(v.sum(axis=1))))
    if not len(gaps):
        return v
    index = bk.asarray(gaps)
    found = v.copy()
    found[index] = mean_field(machine, v[index], n_steps)
    return found

"""Learned variances of Gaussian visible units."""

import math
from typing import Any

from deepbelief.gradients.base import DeviceArray, PhaseBuffers
from deepbelief.machine import Machine

LEAST = math.log(1e-4)  # of the rows' own variance: a column that is constant would take it to 0


class LogVariance:
    """The logarithm of the variances, learned in the scale in which rows enter the machine.

    A machine with ``E = |v - b|^2 / 2 sigma^2 - (v / sigma^2) W h - c h`` is one of unit variance that rows enter as
    v / sigma, with W / sigma and b / sigma; log p(v) is then less by the sum of log sigma. With the latter weights
    held, log Z does not depend on sigma, so that the gradient needs no samples:
    d(-log p) / d(log sigma^2) = (1 - E[u (u - b - W h) | v]) / 2 for the entering row u.

    Parameters
    ----------
    machine : Machine
        Of Gaussian visible units, whose rows are standardised.
    """

    def __init__(self, machine: Machine) -> None:
        self.xp = machine.bk.xp
        self.value: DeviceArray = self.xp.zeros_like(machine.vbias)
        self.factor: DeviceArray = self.xp.ones(len(self.value), machine.dtype)
        self._grad: DeviceArray = self.xp.zeros_like(machine.vbias)

    def set(self, value: Any) -> None:
        """Set the logarithms."""
        self.value[...] = value
        self.xp.multiply(self.value, -0.5, out=self.factor)
        self.xp.exp(self.factor, out=self.factor)

    def gradient(self, machine: Machine, buffers: PhaseBuffers, n_rows: int, batch_size: int) -> DeviceArray:
        """Return the gradient for the minibatch in the first ``n_rows`` rows of the visible buffer."""
        u = buffers.visible(n_rows)
        h = machine.mean_hidden(u, out=buffers.space("h_variance", n_rows, len(machine.hbias)))
        rest = machine.mean_visible(h, out=buffers.space("v_variance", *u.shape))
        self.xp.subtract(u, rest, out=rest)
        rest *= u
        self.xp.sum(rest, axis=0, out=self._grad)
        self._grad -= n_rows
        self._grad *= -0.5 / batch_size
        return self._grad

    def step(self, grad: DeviceArray, rate: float) -> None:
        """Move against the gradient."""
        grad *= -rate
        grad += self.value
        self.set(self.xp.maximum(grad, LEAST, out=grad))

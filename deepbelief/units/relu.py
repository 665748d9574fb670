"""Rectified linear hidden units with a free energy."""

from dataclasses import dataclass

from deepbelief.backends import Backend, Rng
from deepbelief.typing import DeviceArray
from deepbelief.units.half_normal import log_half, mean_half, sample_half
from deepbelief.units.hidden_unit import HiddenUnit


@dataclass(frozen=True)
class ReLU(HiddenUnit):
    """Hidden units h >= 0 with the energy h**2 / 2 - x h (Tubiana and Monasson 2017).

    Given the input x the state is normal around x, truncated at 0. Unlike with the noisy units of `Rectified`, a
    machine of such units has a free energy and thus a likelihood.
    """

    spec = "relu"
    activation = "relu"
    next_visible = "gaussian"
    scaled_above = True
    quadratic = True
    rate = 0.01
    domain = "relu units cannot represent data"

    def mean(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the mean of the truncated normal distribution."""
        x += bias
        x[...] = mean_half(bk, x)
        return x

    def sample(self, bk: Backend, x: DeviceArray, bias: DeviceArray, rng: Rng, out: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the mean, and draw states into ``out``."""
        x += bias
        sample_half(bk, x, rng, out)
        x[...] = mean_half(bk, x)
        return out

    def energy(self, bk: Backend, v: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Return v**2 / 2 - v b, summed over the units."""
        return (v * (0.5 * v - bias)).sum(axis=1)

    def log_partition(self, bk: Backend, x: DeviceArray) -> DeviceArray:
        """Return the sum of x**2 / 2 + log Phi(x) + log(2 pi) / 2."""
        return log_half(bk, x).sum(axis=1)

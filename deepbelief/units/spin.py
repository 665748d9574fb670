"""Spins: units with the states -1 and +1."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from deepbelief.backends import Backend, Rng
from deepbelief.typing import DeviceArray
from deepbelief.units.unit import ROUNDING, Foreign, LinearUnit, outside


@dataclass(frozen=True)
class Spin(LinearUnit):
    """States -1 and +1; means, and grey levels between the two, lie in [-1, 1]."""

    spec = "spin"
    activation = "tanh"
    next_visible = "spin"
    states = (-1.0, 1.0)
    reconstruction_loss = "squared_error"
    rate = 0.05  # the states lie twice as far apart as those of Bernoulli units
    domain = "spins take values in [-1, 1]"

    def admits(self, low: Any, high: Any) -> bool:
        """Return whether all columns lie in [-1, 1]."""
        return bool(low.min() >= -1 - ROUNDING and high.max() <= 1 + ROUNDING)

    def foreign(self, block: Any, beyond: float = 0.0) -> Foreign | None:
        """Return the position of the first value outside [-1, 1]."""
        return outside((block + 1) / 2, beyond / 2)

    def clip(self, block: Any) -> None:
        """Clip to [-1, 1], in place."""
        np.clip(block, -1, 1, out=block)

    def mean(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by tanh(x + b)."""
        x += bias
        return bk.xp.tanh(x, out=x)

    def sample(self, bk: Backend, x: DeviceArray, bias: DeviceArray, rng: Rng, out: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the mean, and draw states into ``out``."""
        x *= 2
        bk.sigmoid_sample(x, 2 * bias, rng, out)
        for each in (x, out):
            each *= 2
            each -= 1
        return out

    def log_partition(self, bk: Backend, x: DeviceArray) -> DeviceArray:
        """Return the sum of log(2 cosh(x))."""
        xp = bk.xp
        size = xp.abs(x)
        return (size + xp.log1p(xp.exp(-2 * size))).sum(axis=1)

    def initial_bias(self, mean: Any) -> Any:
        """Return the biases whose hyperbolic tangents are the means."""
        return 0.5 * (np.log1p(mean) - np.log1p(-mean))

"""Binary units."""

from dataclasses import dataclass

import numpy as np

from deepbelief.backends import Backend, Rescaling, Rng
from deepbelief.typing import Array, DeviceArray
from deepbelief.units.unit import ROUNDING, Foreign, LinearUnit, outside


@dataclass(frozen=True)
class Bernoulli(LinearUnit):
    """States 0 and 1."""

    spec = "bernoulli"
    activation = "sigmoid"
    next_visible = "bernoulli"
    enumerable = True
    unit_interval = True
    has_pseudo_likelihood = True
    reconstruction_loss = "cross_entropy"
    domain = "Bernoulli units take values in [0, 1]"

    def mean_slope(self, mean: Array) -> float | None:
        """Return the mean of p (1 - p)."""
        return float(np.mean(mean * (1 - mean)))

    def admits(self, low: Array, high: Array) -> bool:
        """Return whether all columns lie in [0, 1]."""
        return bool(low.min() >= -ROUNDING and high.max() <= 1 + ROUNDING)

    def foreign(self, block: Array, beyond: float = 0.0) -> Foreign | None:
        """Return the position of the first value outside [0, 1]."""
        return outside(block, beyond)

    def clip(self, block: Array) -> None:
        """Clip to [0, 1], in place."""
        np.clip(block, 0, 1, out=block)

    def mean(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the probability of state 1."""
        return bk.sigmoid(x, bias)

    def sample(self, bk: Backend, x: DeviceArray, bias: DeviceArray, rng: Rng, out: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the probability of state 1 and draw states into ``out``."""
        return bk.sigmoid_sample(x, bias, rng, out)

    def log_partition(self, bk: Backend, x: DeviceArray) -> DeviceArray:
        """Return the sum of softplus(x)."""
        return bk.log_partition(x)

    def rescale(self, bk: Backend, x: DeviceArray, rescaling: Rescaling) -> DeviceArray:
        """Compute the change at once."""
        return bk.log_partition(x, rescaling=rescaling)

    def initial_bias(self, mean: Array) -> Array:
        """Return the logit of the means."""
        return np.log(mean) - np.log1p(-mean)

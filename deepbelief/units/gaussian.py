"""Real-valued units with unit variance."""

import math
from dataclasses import dataclass

from deepbelief.backends import Backend, Rng
from deepbelief.typing import Array, DeviceArray
from deepbelief.units.unit import Foreign, UnitType


@dataclass(frozen=True)
class Gaussian(UnitType):
    """Real states with unit variance around the input."""

    spec = "gaussian"
    activation = "identity"
    next_visible = "gaussian"
    standardises = True
    learns_variance = True
    quadratic = True
    reconstruction_loss = "squared_error"
    rate = 0.001
    domain = "Gaussian units take any finite value"

    def visible_rate(self, n_units: int) -> float:
        """Return 0.01, less for wide rows: every column adds its noise to a hidden unit's input."""
        return 0.01 * min(1.0, 100 / n_units)

    def admits(self, low: Array, high: Array) -> bool:
        """Return True."""
        return True

    def foreign(self, block: Array, beyond: float = 0.0) -> Foreign | None:
        """Return None: all values are valid."""
        return None

    def mean(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Add the bias."""
        x += bias
        return x

    def sample(self, bk: Backend, x: DeviceArray, bias: DeviceArray, rng: Rng, out: DeviceArray) -> DeviceArray:
        """Add the bias, and draw x + N(0, 1) into ``out``."""
        x += bias
        rng.normal(out)
        out += x
        return out

    def energy(self, bk: Backend, v: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Return half the squared distance from the bias."""
        return 0.5 * bk.xp.square(v - bias).sum(axis=1)

    def log_partition(self, bk: Backend, x: DeviceArray) -> DeviceArray:
        """Return the sum of x**2 / 2 + log(2 pi) / 2."""
        return 0.5 * bk.xp.square(x).sum(axis=1) + 0.5 * math.log(2 * math.pi) * x.shape[1]

    def log_integral(self, bk: Backend, field: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Return the sum of b x + x**2 / 2 + log(2 pi) / 2; no squares of large biases need to cancel."""
        total = (field * bias).sum(axis=-1) if bias.ndim > 1 else field @ bias
        total = total + 0.5 * bk.xp.square(field).sum(axis=-1)
        total += 0.5 * math.log(2 * math.pi) * field.shape[-1]
        return total

    def initial_bias(self, mean: Array) -> Array:
        """Return the means."""
        return mean

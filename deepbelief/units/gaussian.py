"""Real-valued units with unit variance."""

import math
from dataclasses import dataclass
from typing import Any

from deepbelief.backends import Backend, Rng
from deepbelief.typing import DeviceArray
from deepbelief.units.unit import Foreign


@dataclass(frozen=True)
class Gaussian:
    """Real states with unit variance around the input."""

    spec: str = "gaussian"
    activation: str = "identity"
    next_visible: str = "gaussian"
    scaled_above: bool = False
    tractable: bool = True
    can_be_hidden: bool = True
    enumerable: bool = False
    discrete: bool = False
    unit_interval: bool = False
    standardises: bool = True
    learns_variance: bool = True
    quadratic: bool = True
    has_pseudo_likelihood: bool = False
    reconstruction_loss: str = "squared_error"
    rate: float = 0.001

    def visible_rate(self, n_units: int) -> float:
        """Return 0.01, less for wide rows: every column adds its noise to a hidden unit's input."""
        return 0.01 * min(1.0, 100 / n_units)

    def mean_slope(self, mean: Any) -> float | None:
        """Return None."""
        return None

    def group_sizes(self, n_columns: int) -> tuple[int, ...]:
        """Return 1 for each column."""
        return (1,) * n_columns

    domain: str = "Gaussian units take any finite value"

    def check_visible(self, n_columns: int) -> None:
        """Accept any number."""

    def admits(self, low: Any, high: Any) -> bool:
        """Return True."""
        return True

    def foreign(self, block: Any, beyond: float = 0.0) -> Foreign | None:
        """Return None: all values belong."""
        return None

    def clip(self, block: Any) -> None:
        """Do nothing: all values belong."""

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
        """Return the sum of b x + x**2 / 2 + log(2 pi) / 2; squares of large biases do not have to cancel."""
        total = (field * bias).sum(axis=-1) if bias.ndim > 1 else field @ bias
        total = total + 0.5 * bk.xp.square(field).sum(axis=-1)
        total += 0.5 * math.log(2 * math.pi) * field.shape[-1]
        return total

    def initial_bias(self, mean: Any) -> Any:
        """Return the means."""
        return mean

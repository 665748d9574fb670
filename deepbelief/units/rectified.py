"""Noisy rectified linear hidden units."""

from dataclasses import dataclass

from deepbelief.backends import Backend, Rng
from deepbelief.errors import SettingError
from deepbelief.typing import DeviceArray
from deepbelief.units.hidden_unit import HiddenUnit

NO_ENERGY = "rectified hidden units have no free energy or likelihood: use the reconstruction error instead"


@dataclass(frozen=True)
class Rectified(HiddenUnit):
    """Noisy rectified linear hidden units (Nair & Hinton 2010): max(0, x + N(0, sigmoid(x))).

    No tractable energy has this conditional distribution, so that there is no free energy and no likelihood.
    """

    spec = "rectified"
    activation = "relu"
    next_visible = "gaussian"
    scaled_above = True
    tractable = False
    rate = 0.001
    domain = "rectified units cannot represent data"

    def mean(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by max(0, x + bias), the unit's output."""
        x += bias
        return bk.xp.maximum(x, 0, out=x)

    def sample(self, bk: Backend, x: DeviceArray, bias: DeviceArray, rng: Rng, out: DeviceArray) -> DeviceArray:
        """Draw max(0, x + noise) into ``out`` and replace ``x`` by max(0, x)."""
        x += bias
        rng.normal(out)
        # sigmoid(x) = (1 + tanh(x / 2)) / 2, through xp: two temporaries, only for this unit type.
        out *= bk.xp.sqrt(0.5 + 0.5 * bk.xp.tanh(0.5 * x))
        out += x
        bk.xp.maximum(out, 0, out=out)
        bk.xp.maximum(x, 0, out=x)
        return out

    def energy(self, bk: Backend, v: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Refuse: there is no energy."""
        raise SettingError(NO_ENERGY)

    def log_partition(self, bk: Backend, x: DeviceArray) -> DeviceArray:
        """Refuse: there is no energy."""
        raise SettingError(NO_ENERGY)

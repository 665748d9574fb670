"""Base of unit types that are hidden units only."""

from typing import Any, ClassVar, cast

from deepbelief.backends import Backend
from deepbelief.errors import Mention, SettingError
from deepbelief.typing import Array, DeviceArray
from deepbelief.units.unit import Foreign, Unit, UnitType


class HiddenUnit(UnitType):
    """A unit type for hidden units only: it refuses to be visible and accepts no value."""

    spec: ClassVar[str]

    def check_visible(self, n_columns: int) -> None:
        """Refuse: these are hidden units."""
        raise SettingError(
            f"{self.spec} units are hidden units: choose ",
            Mention("visible", "bernoulli"),
            ", 'gaussian', 'spin' or 'softmax:...'",
        )

    def admits(self, low: Array, high: Array) -> bool:
        """Return False: these are hidden units."""
        return False

    def foreign(self, block: Array, beyond: float = 0.0) -> Foreign | None:
        """Return the first position: these are hidden units."""
        return Foreign(0, 0)

    def log_integral(self, bk: Backend, field: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Return the log partition of the total input: the state 0 has the energy 0."""
        return cast(Unit, self).log_partition(bk, field + bias)

    def initial_bias(self, mean: Array) -> Any:
        """Refuse: these are hidden units."""
        self.check_visible(len(mean))

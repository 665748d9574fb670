"""Visible units for data and a label."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from deepbelief.backends import Backend, Rng
from deepbelief.errors import SettingError
from deepbelief.typing import Array, DeviceArray
from deepbelief.units.softmax import Softmax
from deepbelief.units.unit import TO_SCALE, Foreign, Unit, UnitType, dot


class OfTheData:
    """A property taken from the units of the data."""

    def __set_name__(self, owner: type, name: str) -> None:
        """Store the name of the property."""
        self._name = name

    def __get__(self, unit: "WithLabels | None", owner: type | None = None) -> Any:
        """Return the property of the data's units."""
        return self if unit is None else getattr(unit.data, self._name)


@dataclass(frozen=True)
class WithLabels(UnitType):
    """Visible units of one type, followed by a softmax group for the row's label.

    With it a machine models data and labels together (Hinton, Osindero and Teh 2006; Larochelle and Bengio 2008).

    Parameters
    ----------
    data : Bernoulli, Gaussian or Softmax
        The units before the labels.
    n_labels : int
        At least 2.
    """

    data: Unit
    n_labels: int
    activation = "identity"  # visible units have no activation in a feed-forward network
    can_be_hidden = False
    one_hot = True  # the labels
    remedy = TO_SCALE
    next_visible = OfTheData()
    discrete = OfTheData()
    unit_interval = OfTheData()
    quadratic = OfTheData()

    @classmethod
    def parsed(cls, text: str, get_unit: Callable[[str], Unit]) -> Self:
        """Return the units of a type and a number of labels such as ``"bernoulli,10"``."""
        below, _, n_labels = text.rpartition(",")
        if not n_labels.isdecimal():
            spec = f"labelled:{text}" if text else "labelled"
            raise SettingError(f"labels need a type and a number, for instance 'labelled:bernoulli,10', got {spec!r}")
        return cls(get_unit(below), int(n_labels))

    def __post_init__(self) -> None:
        """Check the settings."""
        if not self.data.tractable or isinstance(self.data, WithLabels) or self.n_labels < 2:
            raise SettingError(
                "labels need visible units with an energy, such as Bernoulli, and at least 2 classes; got "
                f"{self.data.spec!r} and {self.n_labels}"
            )

    @property
    def spec(self) -> str:
        """Spelling, for instance ``"labelled:bernoulli,10"``."""
        return f"labelled:{self.data.spec},{self.n_labels}"

    @property
    def _label(self) -> Softmax:
        return Softmax((self.n_labels,))

    def visible_rate(self, n_units: int) -> float:
        """Return the smaller rate of both types."""
        return min(float(self.rate), self.data.visible_rate(n_units - self.n_labels))

    def mean_slope(self, mean: Array) -> float | None:
        """Return that of the data."""
        return self.data.mean_slope(mean[: -self.n_labels])

    def group_sizes(self, n_columns: int) -> tuple[int, ...]:
        """Return those of the data, and the labels as one unit."""
        return (*self.data.group_sizes(n_columns - self.n_labels), self.n_labels)

    def split(self, n_columns: int) -> list[tuple[slice, Unit]]:
        """Return the columns of each unit of the data, and those of the labels."""
        n = n_columns - self.n_labels
        return [*self.data.split(n), (slice(n, n_columns), self._label)]

    @property
    def domain(self) -> str:
        """Domain of the data and of the labels, in words."""
        return f"{self.data.domain}; labels take values in [0, 1] that sum to 1"

    def check_visible(self, n_columns: int) -> None:
        """Refuse a number that leaves no column for the data."""
        if n_columns <= self.n_labels:
            raise SettingError(f"{self.n_labels} labels need further columns for the data, got {n_columns} columns")
        self.data.check_visible(n_columns - self.n_labels)

    def admits(self, low: Array, high: Array) -> bool:
        """Return False: the sums of the labels must be checked."""
        return False

    def foreign(self, block: Array, beyond: float = 0.0) -> Foreign | None:
        """Return the position of the first value that either type refuses."""
        n = block.shape[1] - self.n_labels
        found, label = self.data.foreign(block[:, :n], beyond), self._label.foreign(block[:, n:])
        if label is not None and (found is None or label.row < found.row):
            return label._replace(column=n + label.column)
        return found

    def clip(self, block: Array) -> None:
        """Move the values of the data into their domain, in place."""
        self.data.clip(block[:, : -self.n_labels])

    def mean(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the means of the data units and the probabilities of the labels."""
        n = -self.n_labels
        labels = x[:, n:].copy()
        if self._columnwise:  # including the few labels, which are corrected below
            self.data.mean(bk, x, bias)
        else:
            x[:, :n] = self.data.mean(bk, x[:, :n].copy(), bias[..., :n])
        x[:, n:] = self._label.mean(bk, labels, bias[..., n:])
        return x

    def sample(self, bk: Backend, x: DeviceArray, bias: DeviceArray, rng: Rng, out: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the means, and draw the data units and one label into ``out``."""
        n = -self.n_labels
        labels = x[:, n:].copy()
        if self._columnwise:
            self.data.sample(bk, x, bias, rng, out)
        else:
            data = x[:, :n].copy()
            out[:, :n] = self.data.sample(bk, data, bias[..., :n], rng, bk.xp.empty_like(data))
            x[:, :n] = data
        drawn = bk.xp.empty_like(labels)
        self._label.sample(bk, labels, bias[..., n:], rng, drawn)
        x[:, n:] = labels
        out[:, n:] = drawn
        return out

    @property
    def _columnwise(self) -> bool:
        """Whether each column of the data is a unit, so that they can be computed in place together with the labels."""
        return bool(self.data.reconstruction_loss)

    def energy(self, bk: Backend, v: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Return the sum of both parts' energies."""
        n = -self.n_labels
        return self.data.energy(bk, v[:, :n], bias[..., :n]) - dot(v[:, n:], bias[..., n:])

    def log_partition(self, bk: Backend, x: DeviceArray) -> DeviceArray:
        """Return the sum over both parts."""
        n = -self.n_labels
        return self.data.log_partition(bk, x[:, :n]) + self._label.log_partition(bk, x[:, n:])

    def log_integral(self, bk: Backend, field: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Return the sum over both parts."""
        n = -self.n_labels
        data = self.data.log_integral(bk, field[:, :n], bias[..., :n])
        return data + self._label.log_integral(bk, field[:, n:], bias[..., n:])

    def initial_bias(self, mean: Array) -> Array:
        """Return the biases of both parts."""
        n = -self.n_labels
        return np.concatenate([self.data.initial_bias(mean[:n]), self._label.initial_bias(mean[n:])])

"""Visible units for data and a label."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from deepbelief.backends import Backend, Rng
from deepbelief.errors import SettingError
from deepbelief.typing import Array, DeviceArray
from deepbelief.units.mixed import Composite
from deepbelief.units.softmax import Softmax
from deepbelief.units.unit import Unit


@dataclass(frozen=True)
class WithLabels(Composite):
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
    def next_visible(self) -> str:
        """Units that take the means of the data."""
        return self.data.next_visible

    @property
    def types(self) -> list[Unit]:
        """Types of the data and of the labels."""
        return [self.data, Softmax((self.n_labels,))]

    def columns(self, n_columns: int) -> list[tuple[Unit, slice]]:
        """Return the units of the data and the labels, and their columns."""
        n = n_columns - self.n_labels
        return list(zip(self.types, (slice(0, n), slice(n, n_columns)), strict=True))

    def visible_rate(self, n_units: int) -> float:
        """Return the smaller rate of both types."""
        return min(float(self.rate), self.data.visible_rate(n_units - self.n_labels))

    def mean_slope(self, mean: Array) -> float | None:
        """Return that of the data."""
        return self.data.mean_slope(mean[: -self.n_labels])

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

    def mean(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the means of the data units and the probabilities of the labels."""
        if not self._columnwise:
            return self.mean_of_each(bk, x, bias)
        n = -self.n_labels
        labels = x[:, n:].copy()
        self.data.mean(bk, x, bias)  # including the few labels, which are corrected here
        x[:, n:] = self.types[1].mean(bk, labels, bias[..., n:])
        return x

    def sample(self, bk: Backend, x: DeviceArray, bias: DeviceArray, rng: Rng, out: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the means, and draw the data units and one label into ``out``."""
        if not self._columnwise:
            return self.sample_of_each(bk, x, bias, rng, out)
        n = -self.n_labels
        labels = x[:, n:].copy()
        self.data.sample(bk, x, bias, rng, out)
        out[:, n:] = self.types[1].sample(bk, labels, bias[..., n:], rng, bk.xp.empty_like(labels))
        x[:, n:] = labels
        return out

    @property
    def _columnwise(self) -> bool:
        """Whether each column of the data is a unit, so that they can be computed in place together with the labels."""
        return bool(self.data.reconstruction_loss)

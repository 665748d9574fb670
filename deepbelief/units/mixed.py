"""Visible units of several types."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from deepbelief.backends import Backend, Rng
from deepbelief.errors import SettingError
from deepbelief.typing import DeviceArray
from deepbelief.units.unit import TO_SCALE, Foreign, Unit, UnitType

SEPARATOR = ";"  # between the parts of a name
TIMES = "*"  # between a part's type and its number of columns
EXAMPLE = "'parts:gaussian*3;bernoulli*2;softmax:4,3'"


class OfAll:
    """A property that holds if it holds for all parts, or for any part."""

    def __init__(self, test: Callable[[Iterator[Any]], bool]) -> None:
        self._test = test

    def __set_name__(self, owner: type, name: str) -> None:
        """Store the name of the property."""
        self._name = name

    def __get__(self, unit: Any, owner: type | None = None) -> Any:
        """Return whether it holds."""
        return self if unit is None else self._test(getattr(part, self._name) for part in unit.types)


class Composite(UnitType):
    """Base of visible units of several types, over which energies and log partitions add up."""

    activation = "identity"  # visible units have no activation in a feed-forward network
    can_be_hidden = False
    remedy = TO_SCALE
    one_hot = OfAll(any)
    discrete = OfAll(all)
    unit_interval = OfAll(all)
    quadratic = OfAll(any)

    def columns(self, n_columns: int) -> list[tuple[Unit, slice]]:
        """Return the units of each type, left to right, and their columns."""
        raise NotImplementedError

    def group_sizes(self, n_columns: int) -> tuple[int, ...]:
        """Return the numbers of columns of all units."""
        self.check_visible(n_columns)
        return tuple(size for unit, own in self.columns(n_columns) for size in unit.group_sizes(own.stop - own.start))

    def split(self, n_columns: int) -> list[tuple[slice, Unit]]:
        """Return the columns of each unit, and the type of that unit alone."""
        return [
            (slice(columns.start + s.start, columns.start + s.stop), unit)
            for part, columns in self.columns(n_columns)
            for s, unit in part.split(columns.stop - columns.start)
        ]

    def foreign(self, block: Any, beyond: float = 0.0) -> Foreign | None:
        """Return the position of the first value that its part refuses."""
        found = []
        for part, columns in self.columns(block.shape[1]):
            place = part.foreign(block[:, columns], beyond)
            if place is not None:
                found.append(place._replace(column=columns.start + place.column))
        return min(found, default=None, key=lambda place: (place.row, place.column))

    def clip(self, block: Any) -> None:
        """Move the values of each part into its domain, in place."""
        for part, columns in self.columns(block.shape[1]):
            part.clip(block[:, columns])

    def mean_of_each(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the means of all parts."""
        for part, columns in self.columns(x.shape[1]):
            x[:, columns] = part.mean(bk, x[:, columns].copy(), bias[..., columns])
        return x

    def sample_of_each(self, bk: Backend, x: DeviceArray, bias: DeviceArray, rng: Rng, out: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the means, and draw the states of all parts into ``out``."""
        for part, columns in self.columns(x.shape[1]):
            own = x[:, columns].copy()
            out[:, columns] = part.sample(bk, own, bias[..., columns], rng, bk.xp.empty_like(own))
            x[:, columns] = own
        return out

    def energy(self, bk: Backend, v: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Return the sum of the parts' energies."""
        return sum(part.energy(bk, v[:, columns], bias[..., columns]) for part, columns in self.columns(v.shape[1]))

    def log_partition(self, bk: Backend, x: DeviceArray) -> DeviceArray:
        """Return the sum over the parts."""
        return sum(part.log_partition(bk, x[:, columns].copy()) for part, columns in self.columns(x.shape[1]))

    def log_integral(self, bk: Backend, field: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Return the sum over the parts."""
        return sum(
            part.log_integral(bk, field[:, columns].copy(), bias[..., columns])
            for part, columns in self.columns(field.shape[1])
        )

    def initial_bias(self, mean: Any) -> Any:
        """Return the biases of all parts."""
        return np.concatenate([part.initial_bias(mean[columns]) for part, columns in self.columns(len(mean))])


@dataclass(frozen=True)
class Parts(Composite):
    """Visible units of several types, each with its own columns, left to right.

    Energies and log partitions add up over the parts. Columns of Gaussian parts are standardised, the others enter as
    they are. All parts share one learning rate, the smallest of theirs; ``solver="adam"`` scales the steps of each
    weight.

    Parameters
    ----------
    parts : tuple of (Unit, int)
        Type and number of columns of each part.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import RBM
    >>> rng = np.random.default_rng(0)
    >>> X = np.c_[rng.normal(170, 10, 60), np.eye(3)[rng.integers(3, size=60)]]
    >>> RBM(4, visible="parts:gaussian*1;softmax:3", n_iter=2, random_state=0).fit(X).transform(X).shape
    (60, 4)
    """

    parts: tuple[tuple[Unit, int], ...]
    tractable = OfAll(all)
    enumerable = OfAll(all)
    has_pseudo_likelihood = OfAll(all)
    standardises = OfAll(any)
    learns_variance = OfAll(any)
    mean = Composite.mean_of_each
    sample = Composite.sample_of_each

    @classmethod
    def parsed(cls, text: str, get_unit: Callable[[str], Unit]) -> Self:
        """Return the units of parts such as ``"gaussian*3;bernoulli*2;softmax:4,3"``."""
        return cls(tuple(_part(each.strip(), get_unit) for each in text.split(SEPARATOR)))

    def __post_init__(self) -> None:
        """Check the parts."""
        for part, n in self.parts:
            if isinstance(part, Parts):
                raise SettingError(f"a part must have a single type, got {part.spec!r}: list its parts instead")
            if n < 1:
                raise SettingError(f"a part must have at least one column, got {n} of {part.spec!r}")
            part.check_visible(n)

    @property
    def spec(self) -> str:
        """Spelling, for instance ``"parts:gaussian*3;softmax*4"``."""
        return "parts:" + SEPARATOR.join(
            part.spec if _own_width(part) else f"{part.spec}{TIMES}{n}" for part, n in self.parts
        )

    @property
    def next_visible(self) -> str:
        """Units that take the means of all parts."""
        return "bernoulli" if self.unit_interval else "gaussian"

    @property
    def types(self) -> list[Unit]:
        """Types of the parts."""
        return [part for part, _ in self.parts]

    @property
    def width(self) -> int:
        """Number of columns."""
        return sum(n for _, n in self.parts)

    @property
    def domain(self) -> str:
        """Domains of the types, in words."""
        return "; ".join(dict.fromkeys(part.domain for part, _ in self.parts))

    def visible_rate(self, n_units: int) -> float:
        """Return the smallest rate of the parts."""
        return min(part.visible_rate(n_units) for part, _ in self.parts)

    def standardised(self, n_columns: int) -> NDArray[np.bool_]:
        """Return the mask of the columns that are standardised."""
        return np.concatenate([part.standardised(n) for part, n in self.parts])

    def columns(self, n_columns: int) -> list[tuple[Unit, slice]]:
        """Return each part and its columns."""
        stops = accumulate(n for _, n in self.parts)
        return [(part, slice(stop - n, stop)) for (part, n), stop in zip(self.parts, stops, strict=True)]

    def check_visible(self, n_columns: int) -> None:
        """Refuse a number of columns that differs from that of the parts."""
        if n_columns != self.width:
            raise SettingError(f"the parts of {self.spec!r} have {self.width} columns, the rows have {n_columns}")

    def admits(self, low: Any, high: Any) -> bool:
        """Return whether the columns show that all values of every part are valid."""
        low, high = (np.broadcast_to(each, self.width) for each in (low, high))
        return all(part.admits(low[columns], high[columns]) for part, columns in self.columns(self.width))


def _own_width(unit: Unit) -> int:
    """Return the number of columns in a type's name; 0 if the name has none."""
    return sum(getattr(unit, "groups", ()))


def _part(text: str, get_unit: Callable[[str], Unit]) -> tuple[Unit, int]:
    """Return type and number of columns of a part such as ``"gaussian*3"`` or ``"softmax:4,3"``."""
    name, times, number = text.rpartition(TIMES)
    unit = get_unit(name if times else text)
    n = int(number) if times and number.isdecimal() else 0 if times else _own_width(unit)
    if n < 1:
        raise SettingError(f"parts need types and numbers of columns, for instance {EXAMPLE}, got {text!r}")
    return unit, n


def joined(parts: Iterator[tuple[Unit, int]]) -> Unit:
    """Return the type of these parts, with neighbours of the same type merged; a single part is its own type.

    Examples
    --------
    >>> from deepbelief.units import Bernoulli, Softmax
    >>> joined(iter([(Softmax((3,)), 3), (Softmax((2,)), 2), (Bernoulli(), 1), (Bernoulli(), 1)])).spec
    'parts:softmax:3,2;bernoulli*2'
    """
    found: list[tuple[Unit, int]] = []
    for unit, n in parts:
        before = found[-1][0] if found else None
        groups = getattr(unit, "groups", ())
        if before is not None and groups and type(before) is type(unit) and getattr(before, "groups", ()):
            both: Any = replace(before, groups=(*before.groups, *groups))  # type: ignore[type-var, attr-defined]
            found[-1] = both, found[-1][1] + n
        elif before == unit and not groups:
            found[-1] = unit, found[-1][1] + n
        else:
            found.append((unit, n))
    return found[0][0] if len(found) == 1 else Parts(tuple(found))

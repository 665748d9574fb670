"""Categorical visible units, in groups."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from deepbelief.backends import Backend, Rng
from deepbelief.errors import SettingError
from deepbelief.typing import Array, DeviceArray
from deepbelief.units.unit import SUM_TOLERANCE, Foreign, LinearUnit, Unit, outside


@dataclass(frozen=True)
class Softmax(LinearUnit):
    """Visible units in groups; exactly one unit of each group is on.

    Parameters
    ----------
    groups : tuple of int
        Sizes of the groups, left to right, which sum to the number of visible units. Empty means a single group.
    """

    groups: tuple[int, ...] = ()
    activation = "softmax"
    next_visible = "bernoulli"
    can_be_hidden = False
    unit_interval = True
    has_pseudo_likelihood = True
    one_hot = True
    domain = "softmax units take values in [0, 1] that sum to 1 in each group"

    @classmethod
    def parsed(cls, text: str, get_unit: Callable[[str], Unit]) -> Self:
        """Return the units of group sizes such as ``"3,3,2"``."""
        try:
            groups = tuple(int(size) for size in text.split(",")) if text else ()
        except ValueError:
            groups = (0,)
        if min(groups, default=1) < 1:
            spec = f"softmax:{text}"
            raise SettingError(f"softmax groups must be positive integers, for instance 'softmax:3,3,2', got {spec!r}")
        return cls(groups)

    def group_sizes(self, n_columns: int) -> tuple[int, ...]:
        """Return the sizes of the groups."""
        sizes = self.groups or (n_columns,)
        if sum(sizes) != n_columns:
            raise SettingError(
                f"softmax groups {','.join(map(str, sizes))} sum to {sum(sizes)}, not to {n_columns} columns"
            )
        return sizes

    @property
    def spec(self) -> str:
        """Spelling, for instance ``"softmax:3,3,2"``."""
        return "softmax:" + ",".join(map(str, self.groups)) if self.groups else "softmax"

    def _slices(self, n_units: int) -> list[slice]:
        sizes = self.group_sizes(n_units)
        ends = np.cumsum(sizes)
        return [slice(int(end) - size, int(end)) for end, size in zip(ends, sizes, strict=True)]

    def split(self, n_columns: int) -> list[tuple[slice, Unit]]:
        """Return the columns of each group, and a unit of that group alone."""
        return [(s, Softmax((s.stop - s.start,))) for s in self._slices(n_columns)]

    def check_visible(self, n_columns: int) -> None:
        """Refuse groups that do not fit."""
        self.group_sizes(n_columns)

    def admits(self, low: Array, high: Array) -> bool:
        """Return False: the sums must be checked."""
        return False

    def foreign(self, block: Array, beyond: float = 0.0) -> Foreign | None:
        """Return the position of the first value outside [0, 1], or the first column of a group whose sum is not 1.

        Missing groups (NaN) are valid.
        """
        found = outside(block)
        if found is not None:
            return found
        slices = self._slices(block.shape[1])
        totals = np.add.reduceat(block, [s.start for s in slices], axis=1)
        wrong = np.argwhere(np.abs(totals - 1) > SUM_TOLERANCE)
        if not len(wrong):
            return None
        (row, group), s = wrong[0], slices[wrong[0][1]]
        return Foreign(int(row), s.start, f"its softmax group of {s.stop - s.start} sums to {totals[row, group]:g}")

    def mean(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the probabilities within each group."""
        return bk.softmax(x, bias, self.group_sizes(x.shape[1]))

    def sample(self, bk: Backend, x: DeviceArray, bias: DeviceArray, rng: Rng, out: DeviceArray) -> DeviceArray:
        """Replace ``x`` by probabilities and draw one unit of each group into ``out``."""
        sizes = self.group_sizes(x.shape[1])
        return bk.one_hot_sample(bk.softmax(x, bias, sizes), rng, sizes, out)

    def log_partition(self, bk: Backend, x: DeviceArray) -> DeviceArray:
        """Return the log-sum-exp of each group, summed over groups."""
        return bk.log_partition(x, self.group_sizes(x.shape[1]))

    def initial_bias(self, mean: Array) -> Array:
        """Return the log of the means."""
        return np.log(mean)

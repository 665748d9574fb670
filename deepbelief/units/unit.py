"""Interface of unit types, and their common base class.

A unit type is a stateless strategy. ``x`` is always the total input with the bias added, an array of
shape (n_rows, n_units) on the device, and is overwritten by the methods that say so.
"""

from functools import partial
from typing import NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from deepbelief.backends import Backend, Rescaling, Rng
from deepbelief.errors import Mention, Message
from deepbelief.typing import Array, DeviceArray

ROUNDING = 1e-6  # tolerance for values that were scaled to [0, 1] elsewhere
TO_SCALE = Message(
    "scale the columns (", Mention("scale", "minmax"), " or '255') or use ", Mention("visible", "gaussian")
)
SUM_TOLERANCE = 1e-3  # tolerance for the sum of a softmax group, which is 1


class Foreign(NamedTuple):
    """Position of a value outside the domain of a unit type, and a description.

    Parameters
    ----------
    row, column : int
        Position of the value.
    detail : str
        Description of further problems than the value itself.
    """

    row: int
    column: int
    detail: str = ""


class UnitCapabilities(Protocol):
    """Properties of a unit type, which other modules use instead of its name."""

    @property
    def spec(self) -> str:
        """Name in settings and files, from which `get_unit` makes the unit type."""

    @property
    def activation(self) -> str:
        """The activation that computes its mean in a feed-forward network."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters that each hidden unit learns in addition to its bias."""

    @property
    def next_visible(self) -> str:
        """The visible type of a layer trained on its means."""

    @property
    def scaled_above(self) -> bool:
        """Whether that next layer scales its inputs to zero mean and unit variance."""

    @property
    def tractable(self) -> bool:
        """Whether it has an energy, and a machine of such units a free energy."""

    @property
    def can_be_hidden(self) -> bool:
        """Whether it can be a type of hidden units."""

    @property
    def enumerable(self) -> bool:
        """Whether its units are independent of each other given the input, with the states 0 and 1."""

    @property
    def discrete(self) -> bool:
        """Whether each column has two states; likelihoods are then probabilities, not densities."""

    @property
    def one_hot(self) -> bool:
        """Whether exactly one unit of a group is on."""

    @property
    def states(self) -> tuple[float, float]:
        """The two states of each column, where it is discrete."""

    @property
    def unit_interval(self) -> bool:
        """Whether its means are probabilities."""

    @property
    def standardises(self) -> bool:
        """Whether a visible layer of such units standardises the columns of its training rows."""

    @property
    def learns_variance(self) -> bool:
        """Whether a visible layer of such units can learn their variances."""

    @property
    def quadratic(self) -> bool:
        """Whether its log partition is quadratic: two such sides have an energy only while W is small."""

    @property
    def has_pseudo_likelihood(self) -> bool:
        """Whether visible units have a pseudo-likelihood: each has finitely many states."""

    @property
    def reconstruction_loss(self) -> str:
        """Name of the loss that compares its means with data; empty where there is none."""

    @property
    def rate(self) -> float:
        """Learning rate to start from, as hidden units."""

    @property
    def domain(self) -> str:
        """The values that it takes, in words."""

    @property
    def remedy(self) -> Message:
        """Remedy for other values."""


class Unit(UnitCapabilities, Protocol):
    """Interface of unit types; a new unit type is one subclass of `UnitType` and one entry in `UNITS`.

    A type with parameters has a class method ``parsed(text, get_unit)`` that creates it from the part of `spec` after
    the colon.
    """

    def visible_rate(self, n_units: int) -> float:
        """Return the learning rate to start from, as visible units."""

    def mean_slope(self, mean: Array) -> float | None:
        """Return the average slope of the mean's function at these column means; None where it has no bound."""

    def standardised(self, n_columns: int) -> NDArray[np.bool_]:
        """Return the mask of the visible columns that are standardised."""

    def group_sizes(self, n_columns: int) -> tuple[int, ...]:
        """Return the number of columns of each unit, left to right."""

    def split(self, n_columns: int) -> list[tuple[slice, "Unit"]]:
        """Return the columns of each unit, left to right, and the type of that unit alone."""

    def check_visible(self, n_columns: int) -> None:
        """Raise if it cannot be the type of this number of visible units."""

    def admits(self, low: Array, high: Array) -> bool:
        """Return whether column minima and maxima show that all values are valid for this type."""

    def foreign(self, block: Array, beyond: float = 0.0) -> Foreign | None:
        """Return the position of the first finite value outside this type's domain; None if all are valid.

        Values up to a distance of ``beyond`` from the domain are accepted and clipped later.
        """

    def clip(self, block: Array) -> None:
        """Clip values that `foreign` accepted outside the domain, in place."""

    def mean(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` (without bias) by the mean of the unit's state."""

    def sample(self, bk: Backend, x: DeviceArray, bias: DeviceArray, rng: Rng, out: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the mean and write a draw of the state into ``out``."""

    def energy(self, bk: Backend, v: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Return the energy of a state without connections: -v b and terms of v or b alone, shape (n_rows,)."""

    def log_partition(self, bk: Backend, x: DeviceArray) -> DeviceArray:
        """Return the log of the sum (or integral) over the unit's states, shape (n_rows,)."""

    def rescale(self, bk: Backend, x: DeviceArray, rescaling: Rescaling) -> DeviceArray:
        """Rescale ``x`` (without bias) in place, and return in float64 the change of the log partition."""

    def log_integral(self, bk: Backend, field: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Return the log of the sum (or integral) of exp(-E(v) + v field) over the states, shape (n_rows,)."""

    def initial_bias(self, mean: Array) -> Array:
        """Return visible biases that give these (smoothed) column means when W = 0."""


class Parametrised(Unit, Protocol):
    """Interface of hidden units with learned parameters, which `UnitCapabilities.parameters` names."""

    def bound(self, values: DeviceArray) -> Unit:
        """Return this type with the parameters of its units, of shape (n_parameters, n_units)."""

    def initial_parameters(self, n_units: int) -> Array:
        """Return the initial parameters."""

    def parameter_gradient(self, bk: Backend, x: DeviceArray, weight: DeviceArray) -> DeviceArray:
        """Return the weighted sum over rows of the mean dE / d(parameters), given the total input."""


class UnitType:
    """Base of unit types, with the properties that most of them share. A subclass defines the rest of `Unit`.

    Examples
    --------
    >>> from deepbelief.units import Gaussian
    >>> Gaussian().group_sizes(3), Gaussian().enumerable
    ((1, 1, 1), False)
    """

    parameters: tuple[str, ...] = ()
    scaled_above: bool = False
    tractable: bool = True
    can_be_hidden: bool = True
    enumerable: bool = False
    discrete: bool = False
    one_hot: bool = False
    states: tuple[float, float] = (0.0, 1.0)
    unit_interval: bool = False
    standardises: bool = False
    learns_variance: bool = False
    quadratic: bool = False
    has_pseudo_likelihood: bool = False
    reconstruction_loss: str = ""
    rate: float = 0.1
    remedy: Message = Message("use ", Mention("visible", "gaussian"))

    def visible_rate(self, n_units: int) -> float:
        """Return the rate of hidden units."""
        return float(self.rate)

    def mean_slope(self, mean: Array) -> float | None:
        """Return None: the slope has no bound."""
        return None

    def standardised(self, n_columns: int) -> NDArray[np.bool_]:
        """Return all columns if the type standardises, otherwise none."""
        return np.full(n_columns, bool(self.standardises))

    def group_sizes(self, n_columns: int) -> tuple[int, ...]:
        """Return 1 for each column."""
        return (1,) * n_columns

    def split(self, n_columns: int) -> list[tuple[slice, "Unit"]]:
        """Return each column with this type."""
        return [(slice(i, i + 1), cast("Unit", self)) for i in range(n_columns)]

    def check_visible(self, n_columns: int) -> None:
        """Accept any number."""

    def clip(self, block: Array) -> None:
        """Do nothing: there is nothing to clip to."""

    def rescale(self, bk: Backend, x: DeviceArray, rescaling: Rescaling) -> DeviceArray:
        """Compute both log partitions in float64."""
        return rescaling.apply(x, partial(cast(Unit, self).log_partition, bk))


class LinearUnit(UnitType):
    """Base of unit types with finitely many states v and the energy -v b."""

    discrete = True
    remedy = TO_SCALE

    def energy(self, bk: Backend, v: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Return -v b."""
        return -dot(v, bias)

    def log_integral(self, bk: Backend, field: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Return the log partition of the total input."""
        return cast(Unit, self).log_partition(bk, field + bias)


def outside(block: Array, beyond: float = 0.0) -> Foreign | None:
    """Return the position of the first value outside [0, 1] by more than ``beyond`` and a rounding error, NaN aside."""
    beyond = max(beyond, ROUNDING)
    if not block.size or (
        np.fmin.reduce(block, axis=None) >= -beyond and np.fmax.reduce(block, axis=None) <= 1 + beyond
    ):
        return None
    wrong = (block < -beyond) | (block > 1 + beyond)
    row, column = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    return Foreign(int(row), int(column)) if wrong.any() else None


def dot(v: DeviceArray, bias: DeviceArray) -> DeviceArray:
    """Return v b for each row; ``bias`` is one for all rows, or one for each."""
    return v @ bias if bias.ndim == 1 else (v * bias).sum(axis=1)

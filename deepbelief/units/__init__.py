"""Unit types: the distribution of a unit's state, given its total input."""

from collections.abc import Callable
from typing import Any

import numpy as np

from deepbelief.errors import SettingError, unknown
from deepbelief.typing import Array
from deepbelief.units.bernoulli import Bernoulli
from deepbelief.units.drelu import DReLU
from deepbelief.units.gaussian import Gaussian
from deepbelief.units.labelled import WithLabels
from deepbelief.units.mixed import Parts, joined
from deepbelief.units.rectified import Rectified
from deepbelief.units.relu import ReLU
from deepbelief.units.softmax import Softmax
from deepbelief.units.spin import Spin
from deepbelief.units.unit import Foreign, Unit, UnitCapabilities, UnitType

__all__ = [
    "CODES",
    "UNITS",
    "Bernoulli",
    "DReLU",
    "Foreign",
    "Gaussian",
    "Parts",
    "ReLU",
    "Rectified",
    "Softmax",
    "Spin",
    "Unit",
    "UnitType",
    "WithLabels",
    "get_unit",
    "hidden_types",
    "joined",
    "named_unit",
    "smaller_side",
    "smoothed_means",
    "states_of",
]

UNITS: dict[str, Callable[..., Unit]] = {
    "bernoulli": Bernoulli,
    "gaussian": Gaussian,
    "spin": Spin,
    "rectified": Rectified,
    "relu": ReLU,
    "drelu": DReLU,
    "softmax": Softmax,
    "labelled": WithLabels,
    "parts": Parts,
}
"""Unit types by name; to add one, write a class and add an entry."""

CODES = {"linear": "gaussian", "sigmoid": "bernoulli"}
"""Hidden units that pretrain an autoencoder's code, by the name of the code."""


REQUIRED = tuple(name for kind in (UnitCapabilities, Unit) for name in vars(kind) if not name.startswith("_"))
"""Names that every unit type has."""

_COMPLETE: set[type] = set()
"""Types that were found to have them: a prediction for one row asks a dozen times."""


def get_unit(spec: str | Unit) -> Unit:
    """Return the unit type of this name; an instance is returned as it is.

    Parameters
    ----------
    spec : str or Unit
        ``"bernoulli"``, ``"gaussian"``, ``"spin"``, ``"rectified"``, ``"relu"``, ``"drelu"``, ``"softmax:3,3,2"`` with
        the sizes of the groups, ``"labelled:bernoulli,10"`` with the type of the data units and the number of labels,
        or ``"parts:gaussian*3;softmax:4,3"`` with several types and their numbers of columns.

    Returns
    -------
    Unit

    Raises
    ------
    SettingError
        If there is no such type.

    Examples
    --------
    >>> get_unit("softmax:3,3,2").groups
    (3, 3, 2)
    """
    if not isinstance(spec, str):
        if type(spec) in _COMPLETE:
            return spec
        if isinstance(spec, type) or not (hasattr(spec, "spec") or isinstance(spec, UnitType)):
            raise SettingError(f"a unit type must be one of {', '.join(UNITS)} or an instance, got {spec!r}")
        missing = [name for name in REQUIRED if not hasattr(spec, name)]
        if missing:
            raise SettingError(f"the unit type {type(spec).__name__} must define {', '.join(missing)}")
        _COMPLETE.add(type(spec))
        return spec
    kind = UNITS.get(spec)
    if kind in _COMPLETE and not hasattr(kind, "parsed"):
        found: Unit = kind()
        return found
    name, colon, text = spec.partition(":")
    parsed = getattr(UNITS.get(name), "parsed", None)
    if name not in UNITS or (colon and text and parsed is None):
        raise SettingError(unknown("unit type", spec, UNITS))
    return get_unit(UNITS[name]() if parsed is None else parsed(text, get_unit))


def hidden_types() -> list[str]:
    """Return the names of the types of hidden units.

    Examples
    --------
    >>> "gaussian" in hidden_types(), "softmax" in hidden_types()
    (True, False)
    """
    return [name for name, kind in UNITS.items() if getattr(kind, "can_be_hidden", True)]


def smaller_side(visible: Unit, hidden: Unit, shape: tuple[int, int], limit: int) -> tuple[str, int] | None:
    """Return the side of a machine with fewer enumerable units, and their number; None if it exceeds the limit.

    Parameters
    ----------
    visible, hidden : Unit
    shape : tuple of int
        (n_visible, n_hidden).
    limit : int
        Largest number of units.

    Returns
    -------
    tuple of (str, int), or None

    Examples
    --------
    >>> smaller_side(Gaussian(), Bernoulli(), (2, 5), 16)
    ('hidden', 5)
    """
    sides = {"hidden": (hidden, shape[1]), "visible": (visible, shape[0])}
    sizes = {name: size for name, (unit, size) in sides.items() if unit.enumerable and size <= limit}
    side = min(sizes, key=lambda name: sizes[name], default=None)
    return None if side is None else (side, sizes[side])


def states_of(unit: Unit, n_columns: int) -> tuple[Array, Array]:
    """Return the two states of each column.

    Examples
    --------
    >>> [states.tolist() for states in states_of(Spin(), 2)]
    [[-1.0, -1.0], [1.0, 1.0]]
    """
    found = np.empty((2, n_columns))
    for columns, alone in unit.split(n_columns):
        found[:, columns] = np.array(alone.states)[:, None]
    return found[0], found[1]


def smoothed_means(unit: Unit, mean: Array, n: Any) -> Array:
    """Return the column means of ``n`` rows and of one more in either state.

    Examples
    --------
    >>> smoothed_means(Bernoulli(), np.array([0.0, 1.0]), 2).tolist()
    [0.25, 0.75]
    """
    low, high = states_of(unit, len(mean))
    return np.asarray((mean * n + (low + high)) / (n + 2))


def named_unit(spec: str | Unit) -> Unit:
    """Return the unit type of this name; refuse an instance whose name stands for another type.

    Weights and files refer to unit types by name, so that your own type must have one.

    Raises
    ------
    SettingError
        If the instance is not what `UNITS` makes of its ``spec``.

    Examples
    --------
    >>> named_unit(Softmax((2, 3))).spec
    'softmax:2,3'
    """
    unit = get_unit(spec)
    if not isinstance(spec, str) and (unit.spec.partition(":")[0] not in UNITS or get_unit(unit.spec) != unit):
        raise SettingError(
            f"the name {unit.spec!r} stands for another unit type than {unit!r}: give your own unit type a different "
            "spec, and enter it in deepbelief.units.UNITS under that name"
        )
    return unit

"""Kinds of settings: what a setting may be, how a wrong value is refused, how the kind reads in a docstring."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from deepbelief.bounds import Bounds, check_sizes
from deepbelief.errors import Mention, SettingError, invalid, unknown

NEVER: object = object()
"""The value of `Setting.off` where a setting cannot be switched off."""


class Kind(Protocol):
    """Kind of the values that a setting takes."""

    def checked(self, name: str, value: object) -> object:
        """Return the value as the engine takes it, or raise a `SettingError`."""

    def described(self) -> str:
        """Return the type as a docstring gives it."""


@dataclass(frozen=True)
class Setting:
    """One row of a table: the complete description of a setting.

    Parameters
    ----------
    default : object
    kind : Kind
        Range or choices.
    doc : str
        Paragraph of the docstrings.
    help : str, optional
        Text of the command line's option; None: there is no option.
    flag : str, optional
        Name of that option, where it is not the setting's.
    group : str
        Models that the setting is for, where not all have it.
    off : object
        Value without any effect, for what regularises.
    engine : str, optional
        Field of the engine's dataclass, where its name is another.
    """

    default: object
    kind: Kind
    doc: str
    help: str | None = None
    flag: str | None = None
    group: str = ""
    off: object = field(default=NEVER, repr=False)
    engine: str | None = None


@dataclass(frozen=True)
class Choice:
    """A name of a registry, or an instance.

    Parameters
    ----------
    registry : str
        ``"module:NAME"`` of a mapping or sequence of names, or of a function that returns one, imported when it is
        needed.
    others : tuple of str
        Further names, such as ``"auto"``.
    getter : str, optional
        ``"module:function"`` that refuses what is none of the registry; without it only names are allowed.
    instances : str, optional
        Class of the instances that are allowed.
    without : sequence of str
        Names of the registry that are not given alone.
    example : str
        A name with parameters.
    none : bool
        Whether None is allowed.
    """

    registry: str
    others: tuple[str, ...] = ()
    getter: str | None = None
    instances: str | None = None
    without: Sequence[str] = ()
    example: str = ""
    none: bool = False

    def names(self) -> list[str]:
        """Return the names that can be given."""
        found = imported(self.registry)
        names = found() if callable(found) else found
        return [*self.others, *(name for name in names if name not in self.without)]

    def checked(self, name: str, value: object) -> object:
        """Return the value, or refuse it and say which name is nearest."""
        if (value is None and self.none) or (isinstance(value, str) and value in self.others):
            return value
        if self.getter is not None:
            imported(self.getter)(value)
        elif not isinstance(value, str) or value not in self.names():
            raise SettingError(unknown(Mention(name), value, self.names()), setting=name, value=value)
        return value

    def described(self) -> str:
        """Return the names, and the class of instances."""
        names = [f'"{name}"' for name in (*self.names(), *((self.example,) if self.example else ()))]
        text = f"{{{', '.join(names)}}}"
        return text + (f" or {self.instances}" if self.instances else "") + (" or None" if self.none else "")


@dataclass(frozen=True)
class Flag:
    """True or False; any text would count as True, but for ``"auto"`` where that is allowed."""

    auto: bool = False

    def checked(self, name: str, value: object) -> bool | str:
        """Return the flag."""
        if self.auto and isinstance(value, str) and value == "auto":
            return value
        if not isinstance(value, bool) and type(value).__name__ != "bool":
            raise invalid(name, f"True or False{' or auto' if self.auto else ''}", value)
        return bool(value)

    def described(self) -> str:
        """Return the type."""
        return 'bool or "auto"' if self.auto else "bool"


@dataclass(frozen=True)
class Shares:
    """A number within bounds, or a list with one for each layer."""

    bounds: Bounds

    def checked(self, name: str, value: object) -> object:
        """Return the value, each number of which is within the bounds."""
        for each in value if isinstance(value, (list, tuple)) else [value]:
            self.bounds.checked(name, each)
        return value

    def described(self) -> str:
        """Return the type."""
        return "float or list of float" + (' or "auto"' if self.bounds.auto else "")


@dataclass(frozen=True)
class Checked:
    """Kind of the values that a function of this package checks.

    Parameters
    ----------
    check : str
        ``"module:function"``.
    text : str
        The type as a docstring gives it.
    """

    check: str
    text: str

    def checked(self, name: str, value: object) -> object:
        """Return what the function makes of the value."""
        return imported(self.check)(value)

    def described(self) -> str:
        """Return the type."""
        return self.text


@dataclass(frozen=True)
class Names(Checked):
    """A list of names of a registry, or of instances; a function of this package makes the list.

    Parameters
    ----------
    registry : str
        As of `Choice`: the names that the command line shows.
    """

    registry: str = ""


@dataclass(frozen=True)
class Described:
    """Kind of the values that are checked where they are used."""

    text: str

    def checked(self, name: str, value: object) -> object:
        """Return the value."""
        return value

    def described(self) -> str:
        """Return the type."""
        return self.text


def imported(path: str) -> Any:
    """Return what ``"module:NAME"`` stands for."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def layer_sizes(value: object) -> tuple[int, ...] | str:
    """Return hidden layer sizes, or ``"auto"``."""
    return "auto" if isinstance(value, str) and value == "auto" else check_sizes(value)


SCALE = Choice("deepbelief.sources.scaling:SCALES")
COMPOSED = ("softmax", "labelled", "parts")  # units that are not named alone
UNITS_BELOW = Choice(
    "deepbelief.units:UNITS", ("auto", "groups"), getter="deepbelief.units:get_unit", instances="Unit",
    without=COMPOSED,
    example="softmax:3,3,2",
)  # fmt: skip
UNITS_ABOVE = Choice("deepbelief.units:UNITS", getter="deepbelief.units:get_unit", instances="Unit", without=COMPOSED)
GRADIENT = Choice(
    "deepbelief.gradients:GRADIENTS", getter="deepbelief.gradients:get_gradient", instances="GradientEstimator"
)
SOLVER = Choice("deepbelief.optimizers:OPTIMIZERS", getter="deepbelief.optimizers:get_optimizer", instances="Optimizer")
SCHEDULE = Choice("deepbelief.schedules:SCHEDULES", getter="deepbelief.schedules:get_schedule", instances="callable")
AUTOMATIC_SCHEDULE = replace(SCHEDULE, others=("auto",))
STEPS = Checked("deepbelief.bounds:check_steps", 'int, tuple of two int or "auto"')
MARK_OF_UNLABELED = Described('"auto", None or label')
AUTOMATIC_GRADIENT = replace(GRADIENT, others=("auto",))
AUTOMATIC_SOLVER = replace(SOLVER, others=("auto",))
PRESET = Setting(
    "standard",
    Choice("deepbelief.recipes.presets:PRESETS"),
    doc=(
        'Time against quality, for settings left at "auto" only: ``"fast"`` trains for fewer epochs, ``"best"`` for '
        "more, and classifiers of images then get wider layers. *Choosing settings* lists what each changes and costs."
    ),
    help="Time against quality of automatic settings.",
)
SIZES = Checked("deepbelief.hyperparameters.kinds:layer_sizes", 'tuple of int or "auto"')

"""Types of option values, checked by the library's own bounds and registries before anything heavy is imported."""

import contextlib
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from deepbelief.bounds import BOUNDS, check_setting, check_sizes, check_steps
from deepbelief.errors import DataError, SettingError, unknown

Parameter = click.Parameter | None
Context = click.Context | None


class Bounded(click.ParamType):  # type: ignore[type-arg]
    """A number within the bounds of its setting, or ``auto`` where these allow it."""

    name = "number"

    def __init__(self, setting: str | None = None) -> None:
        self.setting = setting

    def _setting(self, param: Parameter) -> str:
        return self.setting or str(param.name if param is not None else "")

    def get_metavar(self, param: click.Parameter, ctx: Context = None) -> str:
        """Return how the value is shown in the help."""
        bounds = BOUNDS[self._setting(param)]
        return ("INTEGER" if bounds.integer else "NUMBER") + ("|auto" if bounds.auto else "")

    def convert(self, value: Any, param: Parameter, ctx: Context) -> int | float | str:
        """Return the number, or ``"auto"``."""
        setting = self._setting(param)
        bounds = BOUNDS[setting]
        if bounds.auto and value == "auto":
            return "auto"
        try:
            number = int(str(value)) if bounds.integer else float(str(value))
        except ValueError:
            word = "an integer" if bounds.integer else "a number"
            allowed = f"neither {word} nor auto" if bounds.auto else f"not {word}"
            self.fail(f"{value!r} is {allowed}", param, ctx)
        check_setting(setting, number)
        return number


class Registered(click.ParamType):  # type: ignore[type-arg]
    """A name of a registry, which is imported when it is needed.

    Parameters
    ----------
    registry : str
        ``"module:NAME"`` of a mapping or sequence of names.
    *others : str
        Further names, such as ``"auto"``.
    getter : str, optional
        ``"module:function"`` that refuses what is none, for names with parameters such as ``softmax:3,3``.
    without : sequence of str
        Names of the registry that are not for this option.
    """

    name = "name"

    def __init__(self, registry: str, *others: str, getter: str | None = None, without: Sequence[str] = ()) -> None:
        self.registry, self.others, self.getter, self.without = registry, others, getter, without

    def choices(self) -> list[str]:
        """Return the names."""
        return [*self.others, *(name for name in _imported(self.registry) if name not in self.without)]

    def get_metavar(self, param: click.Parameter, ctx: Context = None) -> str:
        """Return how the value is shown in the help."""
        return f"[{'|'.join(self.choices())}]"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> str:
        """Return the name, or refuse it and name the nearest one."""
        choices = self.choices()
        if value not in choices:
            if self.getter is None or not isinstance(value, str):
                what = str(param.name if param is not None else self.name).replace("_", " ")
                raise SettingError(unknown(what, value, choices))
            _imported(self.getter)(value)
        elif self.getter is not None and value not in self.others:
            _imported(self.getter)(value)
        return str(value)


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


class Layers(click.ParamType):  # type: ignore[type-arg]
    """Hidden layer sizes: ``500,250`` or ``auto``."""

    name = "sizes"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> tuple[int, ...] | str:
        """Return a tuple of integers, or ``"auto"``."""
        if value == "auto":
            return "auto"
        parts = value if isinstance(value, (list, tuple)) else str(value).split(",")
        try:
            sizes = tuple(int(str(part)) for part in parts)
        except ValueError:
            self.fail(f"{value!r} is not a list of sizes such as 500,250 (or auto)", param, ctx)
        return check_sizes(sizes)


class Steps(click.ParamType):  # type: ignore[type-arg]
    """Gibbs steps: ``5``, or ``1-25`` for a number that grows from the first epoch to the last."""

    name = "steps"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> int | tuple[int, int]:
        """Return a number, or that of the first and of the last epoch."""
        parts = value if isinstance(value, (list, tuple)) else str(value).split("-")
        try:
            numbers = [int(str(part)) for part in parts]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 2):
            self.fail(f"{value!r} is neither a number of steps such as 5 nor a range such as 1-25", param, ctx)
        return check_steps(numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1]))


class ImageShape(click.ParamType):  # type: ignore[type-arg]
    """Height and width of an image: ``28,28``, ``auto`` or ``none``."""

    name = "shape"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> tuple[int, int] | str:
        """Return (height, width), ``"auto"`` or ``"none"``."""
        if value in ("auto", "none") or isinstance(value, tuple):
            return value  # type: ignore[no-any-return]
        try:
            height, width = (int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a height and width such as 28,28 (or auto, or none)", param, ctx)
        return height, width


def check_given(model: str | None, data: str | None = None) -> None:
    """Refuse a model file or data that are not there, before anything heavy is imported.

    Raises
    ------
    DataError
    """
    there = model is None
    with contextlib.suppress(OSError, ValueError):  # a name that no file can have
        there = there or Path(str(model)).exists()
    if not there:
        raise DataError(f"no such file: {model}")
    if data is not None:
        from deepbelief.datasets import check_exists

        check_exists(data)

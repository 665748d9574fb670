"""Types of option values, checked by the library's own bounds and registries before anything heavy is imported."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from deepbelief.bounds import BOUNDS, Bounds, check_sizes, check_steps
from deepbelief.errors import DataError, Mention, SettingError, unknown
from deepbelief.hyperparameters import Choice
from deepbelief.hyperparameters.kinds import Names, imported

from ._text import as_typed, shortest

Parameter = click.Parameter | None
Context = click.Context | None


class Text(click.types.StringParamType):
    """A text that is not empty, as the value of an unset variable is."""

    def convert(self, value: object, param: Parameter, ctx: Context) -> Any:
        """Return the text."""
        if value == "":
            self.fail("it is empty", param, ctx)
        return super().convert(value, param, ctx)


class Bounded(click.ParamType):  # type: ignore[type-arg]
    """A number within bounds, or one of the words that these allow.

    Parameters
    ----------
    bounds : Bounds or str, optional
        Those of an argument of this name in `deepbelief.bounds.BOUNDS`; by default of the option's own.
    setting : str, optional
        Name in messages; by default the option's own.
    """

    name = "number"

    def __init__(self, bounds: Bounds | str | None = None, setting: str | None = None) -> None:
        self.bounds, self.setting = bounds, bounds if isinstance(bounds, str) else setting

    def _bounds(self, param: Parameter) -> Bounds:
        bounds = self.bounds if isinstance(self.bounds, Bounds) else BOUNDS[self._name(param)]
        return replace(bounds, none=False)  # which is an option that is not given

    def _name(self, param: Parameter) -> str:
        return self.setting or str(param.name if param is not None else "")

    def get_metavar(self, param: click.Parameter, ctx: Context = None) -> str:
        """Return how the value is shown in the help."""
        bounds = self._bounds(param)
        return "|".join(["INTEGER" if bounds.integer else "NUMBER", *bounds.all_words])

    def convert(self, value: object, param: Parameter, ctx: Context) -> int | float | str:
        """Return the number, or the word."""
        bounds = self._bounds(param)
        if isinstance(value, str) and value in bounds.all_words:
            return value
        try:
            number = int(str(value)) if bounds.integer else float(str(value))
        except ValueError:
            word = "an integer" if bounds.integer else "a number"
            allowed = f"neither {' nor '.join([word, *bounds.all_words])}" if bounds.all_words else f"not {word}"
            self.fail(f"{value!r} is {allowed}", param, ctx)
        bounds.checked(self._name(param), shortest(number))
        return number


class Registered(click.ParamType):  # type: ignore[type-arg]
    """A name of a registry, which is imported when it is needed.

    Parameters
    ----------
    choice : Choice or str
        The names that can be given, or ``"module:NAME"`` of a mapping or sequence of them.
    """

    name = "name"

    def __init__(self, choice: Choice | str) -> None:
        self.choice = Choice(choice) if isinstance(choice, str) else choice

    def get_metavar(self, param: click.Parameter, ctx: Context = None) -> str:
        """Return how the value is shown in the help."""
        return f"[{'|'.join(self.choice.names())}]"

    def convert(self, value: object, param: Parameter, ctx: Context) -> str:
        """Return the name, or refuse it and name the nearest one."""
        name = str(param.name if param is not None else self.name)
        has_parameters = self.choice.example and ":" in str(value)
        if value not in self.choice.names() and not has_parameters:
            raise SettingError(unknown(Mention(name), value, self.choice.names()), setting=name, value=value)
        return str(self.choice.checked(name, value))


class Listed(click.ParamType):  # type: ignore[type-arg]
    """Names of a registry with commas between them."""

    name = "names"

    def __init__(self, kind: Names) -> None:
        self.kind = kind

    def get_metavar(self, param: click.Parameter, ctx: Context = None) -> str:
        """Return how the value is shown in the help."""
        return f"[{'|'.join(imported(self.kind.registry)()) or 'NAME'}],..."

    def convert(self, value: object, param: Parameter, ctx: Context) -> list[str]:
        """Return the names, or refuse one and name the nearest."""
        names = value if isinstance(value, list) else str(value).split(",")
        try:
            self.kind.checked(self.name, names)
        except SettingError as error:
            raise error.prefixed(f"{param.opts[0]}: " if param is not None else "") from error
        return names


class Layers(click.ParamType):  # type: ignore[type-arg]
    """Hidden layer sizes: ``500,250`` or ``auto``."""

    name = "sizes"

    def convert(self, value: object, param: Parameter, ctx: Context) -> tuple[int, ...] | str:
        """Return a tuple of integers, or ``"auto"``."""
        if value == "auto":
            return "auto"
        parts = value if isinstance(value, (list, tuple)) else str(value).split(",")
        try:
            sizes = tuple(int(str(part)) for part in parts)
        except ValueError:
            self.fail(f"{value!r} is not a list of sizes such as 500,250 (or auto)", param, ctx)
        try:
            return check_sizes(sizes)
        except SettingError as error:
            setting = Mention("hidden_layer_sizes")
            message = setting, " must be positive integers, such as 500,250, or auto, got ", as_typed(sizes)
            raise SettingError(*message, setting=error.setting, value=error.value) from error


class Steps(click.ParamType):  # type: ignore[type-arg]
    """Gibbs steps: ``5``, ``1-25`` for a number that grows from the first epoch to the last, or ``auto``."""

    name = "steps"

    def convert(self, value: object, param: Parameter, ctx: Context) -> int | tuple[int, int] | str:
        """Return a number, or that of the first and of the last epoch."""
        parts = value if isinstance(value, (list, tuple)) else str(value).split("-")
        try:
            numbers = [int(str(part)) for part in parts]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 2):
            self.fail(f"{value!r} is neither a number of steps such as 5 nor a range such as 1-25", param, ctx)
        return check_steps(numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1]))


class Mark(click.ParamType):  # type: ignore[type-arg]
    """Mark of rows without a label: ``auto``, ``none``, or a label, a whole number or a text."""

    name = "label"

    def get_metavar(self, param: click.Parameter, ctx: Context = None) -> str:
        """Return how the value is shown in the help."""
        return "auto|none|LABEL"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> int | str:
        """Return the label; a whole number marks the text of it too."""
        text = str(value).strip()
        if not text:
            self.fail("it is empty", param, ctx)
        try:
            return int(text)
        except ValueError:
            return text


class ImageShape(click.ParamType):  # type: ignore[type-arg]
    """Height and width of an image: ``28,28``, ``auto`` or ``none``."""

    name = "shape"

    def convert(self, value: object, param: Parameter, ctx: Context) -> tuple[int, int] | str:
        """Return (height, width), ``"auto"`` or ``"none"``."""
        if value in ("auto", "none") or isinstance(value, tuple):
            return value
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

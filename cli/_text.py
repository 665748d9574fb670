"""Formatting of values for people and programs."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from deepbelief.errors import printable as clean
from deepbelief.quantities import duration, size_of
from deepbelief.sizing import arrows

__all__ = ["arrows", "as_json", "as_typed", "clean", "duration", "facts", "shortest", "size_of", "spelling"]

MAX_WHOLE = 1e15  # below which whole numbers are shown with all their digits


def facts(rows: Iterable[tuple[str, object]]) -> None:
    """Print names and values in two columns on stdout."""
    shown = [(name, clean(value)) for name, value in rows]
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        click.echo(f"{name:<{width}}  {value}")


def as_typed(value: object, separator: str = ",") -> str:
    """Return the value of an option as it is typed; None, True and False as whether the option was given.

    >>> as_typed((500, 250)), as_typed({"zip": "category"}), as_typed(2.0), as_typed(None)
    ('500,250', 'zip=category', '2', 'not given')
    """
    if value is None or isinstance(value, bool):
        return "given" if value else "not given"
    if isinstance(value, Mapping):
        return separator.join(f"{name}={each}" for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return separator.join(map(str, value))
    return str(shortest(value) if isinstance(value, float) else value)


def shortest(number: float) -> float:
    """Return a number as messages show it: ``0``, not ``0.0``."""
    return int(number) if abs(number) < MAX_WHOLE and number == int(number) else number


def spelling(parameter: click.Parameter) -> str:
    """Return the longest spelling of an option, or the name of an argument in the help."""
    return max(parameter.opts, key=len) if isinstance(parameter, click.Option) else parameter.human_readable_name


def as_json(value: object, **options: Any) -> str:
    """Return strict JSON: numbers that are not finite become null."""
    return json.dumps(_jsonable(value), allow_nan=False, **options)


def _jsonable(value: object) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_jsonable(v) for v in value]
    return value

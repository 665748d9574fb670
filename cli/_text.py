"""Formatting of values for people and programs."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from deepbelief.errors import printable as clean
from deepbelief.quantities import duration, size_of
from deepbelief.sizing import arrows

__all__ = ["arrows", "as_json", "clean", "duration", "facts", "size_of"]


def facts(rows: Iterable[tuple[str, object]]) -> None:
    """Print names and values in two columns on stdout."""
    shown = [(name, clean(value)) for name, value in rows]
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        click.echo(f"{name:<{width}}  {value}")


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

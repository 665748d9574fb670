"""Formatting of values for people and programs."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from deepbelief.errors import printable as clean
from deepbelief.sizing import arrows

__all__ = ["arrows", "as_json", "clean", "facts", "seconds", "size_of"]


def seconds(value: float) -> str:
    """Return a duration as ``0.4 s``, ``12 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size_of(n_bytes: int) -> str:
    """Return a file's size with a unit."""
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e5 else f"{n_bytes / 1e3:.1f} kB"


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

"""Gradients, optimizers, activations, losses, schedules and components as plain values in a file, and back."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from deepbelief.activations import ACTIVATIONS
from deepbelief.components import COMPONENTS
from deepbelief.errors import FileFormatError
from deepbelief.gradients import GRADIENTS, Denoising
from deepbelief.losses import LOSSES
from deepbelief.optimizers import OPTIMIZERS
from deepbelief.schedules import SCHEDULES
from deepbelief.typing import StrDict, StrMapping

KEYS = {"strategy", "settings"}


def strategies() -> dict[str, type[Any]]:
    """Return the classes that a file may name: those in the registries. Instances of others cannot be saved."""
    registries: tuple[StrMapping, ...] = (GRADIENTS, OPTIMIZERS, ACTIVATIONS, LOSSES, SCHEDULES, COMPONENTS)
    found = [kind for registry in registries for kind in registry.values() if isinstance(kind, type)]
    return {kind.__name__: kind for kind in (*found, Denoising)}


def plain_strategy(value: Any, plain: Callable[[object], object]) -> StrDict | None:
    """Return a strategy by its name and settings, or None if it is none of the package's own.

    Parameters
    ----------
    value : object
    plain : callable
        Makes its settings plain.
    """
    kind = strategies().get(type(value).__name__)
    if kind is None or type(value) is not kind:
        return None
    return {"strategy": kind.__name__, "settings": {f.name: plain(getattr(value, f.name)) for f in fields(kind)}}


def is_strategy(value: object) -> bool:
    """Return whether a plain value is what `plain_strategy` returns."""
    return isinstance(value, dict) and set(value) == KEYS


def rebuild_strategy(value: StrMapping, revive: Callable[[object], Any]) -> object:
    """Return the strategy that `plain_strategy` described.

    Raises
    ------
    FileFormatError
        If this release does not know it, or one of its settings.

    Examples
    --------
    >>> rebuild_strategy({"strategy": "CD", "settings": {"gibbs_steps": 3}}, lambda value: value).gibbs_steps
    3
    """
    name, settings = value["strategy"], value["settings"]
    kind = strategies().get(name) if isinstance(name, str) else None
    if kind is None:
        raise FileFormatError(
            f"the file holds a strategy {name!r}, which this release does not know: register the class before loading"
        )
    known = {f.name for f in fields(kind)}
    if not isinstance(settings, dict) or not set(settings) <= known:
        raise FileFormatError(f"the file's {name} has settings that this release does not know")
    return kind(**{key: revive(setting) for key, setting in settings.items()})

"""Components: optional parts of the training of a restricted Boltzmann machine, by name."""

import inspect
import math
from collections.abc import Sequence

from deepbelief.components.averaging import Averaging
from deepbelief.components.centring import Centring
from deepbelief.components.component import Component, TrainingStep
from deepbelief.components.gauge import Gauge
from deepbelief.components.l1 import L1
from deepbelief.components.missing import Missing
from deepbelief.components.multi_prediction import MultiPrediction
from deepbelief.components.parts import Parts
from deepbelief.components.resampling import Resampling
from deepbelief.components.smooth import Smooth
from deepbelief.components.sparsity import Sparsity
from deepbelief.components.unit_parameters import UnitParameters
from deepbelief.components.variance import LearnedVariance
from deepbelief.errors import SettingError, unknown
from deepbelief.typing import LayerSettings

COMPONENTS: dict[str, type[Component]] = {
    "missing": Missing,
    "multi_prediction": MultiPrediction,
    "unit_parameters": UnitParameters,
    "sparsity": Sparsity,
    "l1": L1,
    "resampling": Resampling,
    "centring": Centring,
    "variance": LearnedVariance,
    "smooth": Smooth,
    "gauge": Gauge,
    "averaging": Averaging,
}
"""Components by name; to add one, write a class and add an entry. Model files hold instances of these classes only."""


def get_component(component: str | Component) -> Component:
    """Return the component of this name; an instance is returned as it is.

    Parameters
    ----------
    component : str or Component
        Name in the registry, also with a number for the first setting, or an instance, which is returned as it is.

    Returns
    -------
    Component

    Raises
    ------
    SettingError
        If there is no such name, or its settings need other values.

    Examples
    --------
    >>> get_component("centring"), get_component("l1:0.001")
    (Centring(), L1(factor=0.001))
    """
    if isinstance(component, Component):
        return component
    name, colon, number = component.partition(":") if isinstance(component, str) else ("", "", "")
    if name not in COMPONENTS:
        raise SettingError(unknown("component", component, COMPONENTS))
    kind, given = COMPONENTS[name], _numbers(number) if colon else []
    settings = inspect.signature(kind)
    try:
        settings.bind(*given)
    except TypeError as error:
        raise SettingError(f"component {name!r} {_need(name, kind, settings)}") from error
    return kind(*given)


def _need(name: str, kind: type[Component], settings: inspect.Signature) -> str:
    """Say what a component needs that its name does not say, or that it needs nothing."""
    fields = list(settings.parameters.values())
    needed = [field.name for field in fields if field.default is field.empty]
    if not needed:
        return f"has no setting that a number could give: write {name!r}"
    if len(needed) == 1 and fields[0].annotation in (int, float, "int", "float"):
        return f"needs a number, its {needed[0]}: write it as in '{name}:0.1', or give an instance"
    return f"needs {' and '.join(needed)}, which a name cannot give: in Python, give an instance of {kind.__name__}"


def _numbers(text: str) -> list[float]:
    """Return the number that follows the name of a component."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SettingError(f"a component is NAME or NAME:NUMBER, got {text!r} for the number")
    return [int(number) if text.isdigit() else number]


def further_components() -> list[str]:
    """Return the names of the components that have no setting."""
    asked = Component.of.__func__  # type: ignore[attr-defined]
    return [name for name, kind in COMPONENTS.items() if kind.of.__func__ is asked]  # type: ignore[attr-defined]


def chosen_components(settings: LayerSettings) -> tuple[Component, ...]:
    """Return the components that a layer's settings require, and those given as ``components``.

    Raises
    ------
    SettingError
        If two of them have the same name, or one has none.
    """
    asked = (kind.of(settings) for kind in COMPONENTS.values())
    found = (*(each for each in asked if each is not None), *settings.components)
    names = [each.name for each in found]
    for name in names:
        if not name.isidentifier() or names.count(name) > 1 or name in {"optimizer", "gradient"}:
            raise SettingError(f"each component needs a unique name, such as 'my_part': got {names}")
    return found


def check_components(components: Sequence[str | Component] | None) -> tuple[Component, ...]:
    """Return the components that the setting ``components`` lists.

    Raises
    ------
    SettingError
        If it is not a list of names or components.
    """
    if components is None:
        return ()
    if not isinstance(components, (list, tuple)):
        raise SettingError(f"components must be a list of names or Component instances, got {components!r}")
    return tuple(get_component(each) for each in components)


__all__ = [
    "COMPONENTS", "L1", "Averaging", "Centring", "Component", "Gauge", "LearnedVariance", "Missing", "MultiPrediction",
    "Parts", "Resampling", "Smooth", "Sparsity", "TrainingStep", "UnitParameters", "check_components",
    "chosen_components",
    "further_components", "get_component",
]  # fmt: skip

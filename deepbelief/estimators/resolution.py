"""Content of ``resolved_``: the values of a fitted estimator's automatic settings, each with a reason."""

from collections.abc import Mapping, Sequence

from deepbelief.estimators.tables import schema_of
from deepbelief.recipes.presets import STANDARD, suggested_layers
from deepbelief.recipes.pretraining_rules import table_layers
from deepbelief.recipes.resolved import Choices, Resolved, is_auto
from deepbelief.settings import GROUPS
from deepbelief.sizing import suggest_layer_sizes
from deepbelief.stack import Stack, Weights
from deepbelief.typing import Estimator


def visible_choice(estimator: Estimator, first: Weights, given: object) -> Choices:
    """Return the type of the visible units, if it was determined by the data."""
    choices = Choices()
    unit = getattr(first.visible_unit, "data", first.visible_unit)  # without labels beside the data
    if schema_of(estimator) is not None:
        reason = "columns of several kinds: each has a group of units"
    elif first.visible_unit.unit_interval:
        reason = "all values lie in [0, 1]"
    else:
        reason = "values outside [0, 1]: each column is standardised"
    if isinstance(given, str) and given == GROUPS:
        choices["visible"] = Resolved(unit.spec, "groups of columns, exactly one of which is 1 in every row")
    else:
        choices.take("visible", given, Resolved(unit.spec, reason))
    return choices


def size_choice(
    given: object,
    n_rows: int,
    sizes: Sequence[int],
    *,
    n_labeled: int | None = None,
    table: bool = False,
    preset: str = STANDARD,
) -> Choices:
    """Return the hidden layer sizes, if they were automatic; ``n_labeled`` is for classifiers."""
    choices = Choices()
    if is_auto(given):
        if table:
            choices["hidden_layer_sizes"] = table_layers()
            return choices
        n_classes = None if n_labeled is None else 2  # the depth depends on whether there are classes
        advice = suggest_layer_sizes(sizes[0], n_rows, n_classes, n_labeled=n_labeled)
        reason = suggested_layers(advice, n_rows, STANDARD if n_labeled is None else preset).reason
        choices["hidden_layer_sizes"] = Resolved(tuple(sizes[1:]), reason)
    return choices


def layer_choices(
    estimator: Estimator,
    stack: Stack,
    of_layers: Sequence[Mapping[str, Resolved]],
    visible: object,
    prefix: str = "rbm__",
) -> Choices:
    """Return the choices for all layers, by the names of the template's settings.

    If layers differ, a value is a tuple with an entry per layer, which is None if the user gave the setting.
    """
    choices = Choices()
    own = visible_choice(estimator, stack.layers[0], visible)
    for name in dict.fromkeys([*own, *(name for found in of_layers for name in found)]):
        found = [own.get(name)] if name in own else [found.get(name) for found in of_layers]
        values = [None if each is None else each.value for each in found]
        reason = next(each.reason for each in found if each is not None)
        same = all(value == values[0] for value in values)
        choices[f"{prefix}{name}"] = Resolved(values[0] if same else tuple(values), reason)
    return choices

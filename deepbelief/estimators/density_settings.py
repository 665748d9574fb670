"""Automatic settings of machines with one-hot groups."""

from dataclasses import replace

from deepbelief.recipes.density_rules import DECIDING, DENSITY, OF_GROUPS, density_epochs, density_rate
from deepbelief.recipes.resolved import Resolved
from deepbelief.settings import GROUPS, RBMSettings
from deepbelief.typing import StrDict
from deepbelief.units import Unit, get_unit


def of_groups(visible: str | Unit) -> bool:
    """Return whether the visible units are discrete and include one-hot groups, given or still to be found.

    Examples
    --------
    >>> [of_groups(each) for each in ("softmax:3,2", "parts:softmax:3;bernoulli*2", "groups", "bernoulli", "auto")]
    [True, True, True, False, False]
    """
    if visible in (GROUPS, "auto"):
        return visible == GROUPS
    unit = get_unit(visible)
    return unit.discrete and unit.one_hot


def density_settings(settings: RBMSettings, n_hidden: int, n_rows: int = 0) -> RBMSettings:
    """Replace automatic settings by the recipe for densities, if the visible units are one-hot groups.

    Parameters
    ----------
    settings : RBMSettings
        Returned unchanged if the gradient, the solver or the learning rate is given, or rows are binarised.
    n_hidden : int
    n_rows : int, default=0
        Number of training rows; 0: the number of epochs does not change.

    Returns
    -------
    RBMSettings
    """
    if not settings.automatic >= DECIDING or settings.binarize or not of_groups(settings.visible):
        return settings
    chosen: StrDict = {name: ours for name, ours in DENSITY.items() if name in settings.automatic}
    if settings.early_stopping:
        chosen["averaging"] = 0.0
    chosen["learning_rate"] = density_rate(n_hidden)
    told = {name: Resolved(value, OF_GROUPS) for name, value in chosen.items()}
    if "n_iter" in settings.automatic and n_rows:
        told["n_iter"] = density_epochs(n_rows, min(int(chosen.get("batch_size", settings.batch_size)), n_rows))
        chosen["n_iter"] = told["n_iter"].value
    return replace(settings, resolved={**settings.resolved, **told}, **chosen)

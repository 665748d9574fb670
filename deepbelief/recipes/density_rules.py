"""Rules for the settings of a machine that is trained as a density: one-hot groups, and tables."""

from collections.abc import Mapping

from deepbelief.recipes.presets import Extent
from deepbelief.recipes.resolved import Resolved

OF_GROUPS = "the recipe for one-hot groups"
DENSITY: Mapping[str, object] = {
    "gradient": "pcd",
    "n_chains": 500,
    "gibbs_steps": 1,
    "centered": True,
    "solver": "adam",
    "weight_decay": 3e-4,
    "averaging": 0.25,
    "batch_size": 128,
    "schedule": "constant",  # its noise is averaged out
}
"""Settings of a density. 20 hidden units on `mushrooms` reach -9.5 nats per test row (benchmarks/binary_sets.json)."""
DECIDING = frozenset({"gradient", "solver", "learning_rate"})  # the recipe holds where none of these is given
RATE = 0.005  # of Adam, up to this number of hidden units
USUAL_UNITS = 256
DENSITY_UPDATES = 6_000
MAX_EPOCHS = 500


def density_rate(n_hidden: int) -> float:
    """Return the learning rate of Adam for a density.

    Examples
    --------
    >>> density_rate(512)
    0.0025
    """
    return RATE * min(1.0, USUAL_UNITS / n_hidden)


def density_epochs(n_rows: int, batch_size: int) -> Resolved:
    """Return the epochs of a density of one-hot groups.

    Examples
    --------
    >>> density_epochs(2_000, 128).value
    375
    """
    reason = f"about {DENSITY_UPDATES:,} updates of {batch_size} rows, at most {MAX_EPOCHS} epochs"
    n_epochs = Extent(DENSITY_UPDATES, 1, MAX_EPOCHS).epochs(-(-n_rows // batch_size))
    return Resolved(n_epochs, reason)

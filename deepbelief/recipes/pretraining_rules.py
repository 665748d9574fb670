"""Rules for the settings of one layer's pretraining."""

from collections.abc import Iterator, Mapping

from deepbelief.recipes.presets import PRESETS, STANDARD, Extent, named
from deepbelief.recipes.resolved import Resolved

USUAL: Mapping[str, Resolved] = {
    "gradient": Resolved("cd", "the usual one for arrays"),
    "gibbs_steps": Resolved(1, "the usual number for arrays"),
    "centered": Resolved(False, "as usual for arrays"),
    "weight_decay": Resolved(2e-4, "the usual one for arrays"),
    "averaging": Resolved(0.0, "as usual for arrays"),
    "solver": Resolved("sgd", "the usual one for arrays"),
}
"""Settings of a machine that are the same for all arrays; tables of mixed columns have others."""

GIVEN = "given"  # layers that are not pretrained because they are there
OF_DENOISING = frozenset({"corruption", "corruption_level"})
OF_MACHINES = frozenset({"rbm__gibbs_steps", "rbm__n_chains", "rbm__centered", "rbm__learn_variance"})
OF_TRAINING = frozenset(
    {"n_passes", "rbm__n_iter", "rbm__learning_rate", "rbm__gradient", "rbm__batch_size", "rbm__momentum"}
    | {"rbm__weight_decay", "rbm__schedule", "rbm__solver", "rbm__sparsity_target", "rbm__averaging"}
)
UNUSED: Mapping[str, frozenset[str]] = {
    "rbm": OF_DENOISING,
    "denoising": OF_MACHINES,
    "none": OF_DENOISING | OF_MACHINES | OF_TRAINING,
    GIVEN: OF_DENOISING | OF_MACHINES | OF_TRAINING | {"pretraining"},
}
"""Settings that each kind of pretraining does not use."""
ROWS = (10, 100)  # minimum and maximum number of rows in a minibatch
MINIBATCHES = 50  # in an epoch of few rows
UPDATES = 6_000
EPOCHS = (5, 100)
TABLE_UNITS = 64  # hidden units of a machine for a table of mixed columns; 256 sample slightly better in twice the time
DENOISING_UPDATES = 18_000  # on values in [0, 1]
DENOISING_RATE = 0.15
# The first updates move all active hidden units in the same way: a visible unit's input moves by rate x active units x
# error, and its mean by that times its slope p (1 - p). At a rate of 0.1 and momentum 0.9, training oscillates above
# this. Many more hidden than visible units, of any type, have the same effect, by the root of their ratio: with 256
# units on the 4 columns of iris, scaled to [0, 1], the error is smallest at a rate of 0.01 (0.004 standardised), and
# training oscillates at 0.03.
LARGEST_GAIN = 16.0
NARROWEST = 2.0  # root of the ratio of hidden to visible units above which the rate is lowered
USUAL_SLOPE = LARGEST_GAIN / 250  # if the slope is unknown: 250 active units are then the limit


def rows_in_minibatch(n_rows: int) -> Resolved:
    """Return the number of rows in a minibatch.

    Examples
    --------
    >>> rows_in_minibatch(60_000)
    Resolved(value=100, reason='a fiftieth of 60,000 rows, between 10 and 100')
    """
    low, high = ROWS
    return Resolved(
        min(max(n_rows // MINIBATCHES, low), high), f"a fiftieth of {n_rows:,} rows, between {low} and {high}"
    )


def epochs_of_layer(n_rows: int, batch_size: int, n_updates: int = UPDATES, preset: str = STANDARD) -> Resolved:
    """Return the number of epochs of a layer.

    Examples
    --------
    >>> epochs_of_layer(60_000, 100).value
    10
    """
    extent = Extent(n_updates, *EPOCHS).times(PRESETS[preset].pretraining)
    n_updates, low, high = extent
    return Resolved(
        extent.epochs(-(-n_rows // batch_size)),
        f"about {n_updates:,} updates of {batch_size} rows, between {low} and {high} epochs{named(preset)}",
    )


def machine_rate(usual: float, n_visible: int, n_hidden: int, n_active: float, slope: float | None) -> Resolved:
    """Return the learning rate of a layer: that of its unit types, lower for wide layers.

    Parameters
    ----------
    usual : float
        Rate of the types of units.
    n_visible, n_hidden : int
    n_active : float
        Hidden units that are on at the start.
    slope : float or None
        Mean slope of the visible units; None: not known.

    Examples
    --------
    >>> machine_rate(0.1, 784, 500, 250.0, None)
    Resolved(value=0.1, reason='the rate of these types of units')
    """
    steepness = LARGEST_GAIN / (n_active * (USUAL_SLOPE if slope is None else slope + 1e-12))
    width = NARROWEST * (n_visible / n_hidden) ** 0.5
    rate = usual * min(1.0, steepness) * min(1.0, width)
    if rate == usual:
        return Resolved(rate, "the rate of these types of units")
    return Resolved(rate, f"{usual:.4g}, the rate of these unit types, lowered for {n_hidden} hidden units")


def table_layers() -> Resolved:
    """Return the hidden layer sizes of a belief network on a table of mixed columns.

    Examples
    --------
    >>> table_layers().value
    (64,)
    """
    return Resolved((TABLE_UNITS,), "one hidden layer: the recipe for tables of mixed columns")


def denoising_rate() -> Resolved:
    """Return the learning rate of a denoising layer on values in [0, 1]."""
    return Resolved(DENOISING_RATE, "denoising of values in [0, 1]")


def without_effect(kind: str, settings: Mapping[str, object]) -> Iterator[str]:
    """Iterate over the lines that name given settings which a kind of pretraining does not use.

    Examples
    --------
    >>> list(without_effect("rbm", {"corruption_level": 0.4, "n_passes": 2}))
    ["corruption_level=0.4 has no effect: pretraining='rbm'"]
    """
    reason = "the layers are given" if kind == GIVEN else f"pretraining={kind!r}"
    for name, value in settings.items():
        if name in UNUSED[kind]:
            yield f"{name}={value!r} has no effect: {reason}"


def autoencoder_pretraining(*, missing: bool, real: bool, templates: bool) -> Resolved:
    """Return how the layers of an autoencoder are pretrained.

    Parameters
    ----------
    missing : bool
        Whether values are missing.
    real : bool
        Whether columns are real values.
    templates : bool
        Whether settings of machines are given.

    Examples
    --------
    >>> autoencoder_pretraining(missing=False, real=True, templates=False).value
    'denoising'
    """
    if missing:
        return Resolved("rbm", "missing values, which denoising cannot learn from")
    if templates:
        return Resolved("rbm", "settings of RBMs are given")
    if real:
        return Resolved("denoising", "the columns are real values")
    return Resolved("rbm", "the columns lie in [0, 1]")

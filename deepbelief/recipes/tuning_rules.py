"""Rules for the settings of classifiers and regressors, and of fine-tuning."""

from typing import NamedTuple

from deepbelief.recipes.presets import PRESETS, STANDARD, Extent, named
from deepbelief.recipes.resolved import Resolved
from deepbelief.sizing import FEW_LABELS

FEW_ROWS = 1_000  # with fewer, most of them labelled, pretraining gains nothing
WIDE = 100  # minimum number of units of a layer, or of inputs, for dropout
DROPPED = {"few": (0.5, 0.2), "many": (0.2, 0.1)}  # of hidden units and of inputs, by the number of labels
PRETRAINED_DECAY = 3e-5
DROPPED_DECAY = {"few": 0.0, "many": 5e-6}  # where units are dropped
ROWS_OF_FEW = 20  # rows in a minibatch
CODE_DECAY = 1e-4  # of autoencoders with short codes, which overfit
SHORT = 10  # minimum number of inputs per code unit of a short code
DECAY_ROWS = 5.0  # weight decay of layers that are not pretrained, times the number of rows
RATE_OF_FEW = 0.1
RATE_OF_LINEAR = 0.01  # of pretrained layers made linear; gains multiply: 0.03 diverges with 3 layers on 784 columns


USUAL_EXTENT = Extent(6_000, 20, 100)
AUTOENCODING = Extent(36_000, 20, 100)
DRAWN_OF_FEW = Extent(800, 20, 100)  # ReLU classifiers on few rows that are not pretrained
DROPPING = Extent(18_000, 20, 100)
DROPPING_OF_FEW = Extent(5_000, 20, 1_000)


class Supervision(NamedTuple):
    """Facts about data and layers that rules for classifiers and regressors depend on.

    Parameters
    ----------
    n_labelled : int
    pretrained : bool
        Whether layers have been pretrained, in this run or before.
    n_inputs : int
    n_narrowest : int
        Units of the narrowest hidden layer.
    classes : bool
        Whether targets are classes.
    logistic : bool
        Whether all hidden units are logistic.
    unit_interval : bool
        Whether rows lie in [0, 1].
    """

    n_labelled: int
    pretrained: bool
    n_inputs: int
    n_narrowest: int
    classes: bool
    logistic: bool
    unit_interval: bool

    @property
    def few(self) -> bool:
        """Whether labels are few."""
        return self.n_labelled < FEW_LABELS

    @property
    def images(self) -> bool:
        """Whether this is a pretrained classifier of rows such as images, for which dropout helps."""
        return self.pretrained and self.classes and self.logistic and self.unit_interval


def supervised_pretraining(
    n_rows: int, n_labelled: int, *, unit_interval: bool, modelled: bool, templates: bool
) -> Resolved:
    """Return how the layers of a classifier or regressor are pretrained.

    Parameters
    ----------
    n_rows, n_labelled : int
    unit_interval : bool
        Whether all values lie in [0, 1].
    modelled : bool
        Whether rows need a model: values are missing, or columns are of several kinds.
    templates : bool
        Whether settings of machines are given.

    Examples
    --------
    >>> supervised_pretraining(60_000, 1_000, unit_interval=True, modelled=False, templates=False).value
    'denoising'
    """
    if modelled:
        return Resolved("rbm", "missing values, or columns of several kinds")
    if templates:
        return Resolved("rbm", "settings of RBMs are given")
    labelled = 2 * n_labelled >= n_rows
    if labelled and n_rows < FEW_ROWS:
        return Resolved("none", f"pretraining gains nothing on fewer than {FEW_ROWS:,} labelled rows")
    if unit_interval:
        return Resolved("denoising", "values in [0, 1]")
    if labelled:
        return Resolved("rbm", "real values, most rows labelled")
    return Resolved("denoising", "real values, most rows without a label")


def layer_activation(hidden: str, *, pretrained: bool, classes: bool = False) -> Resolved:
    """Return the activation of hidden layers, given that of their units.

    Parameters
    ----------
    hidden : str
        Activation of the hidden units.
    pretrained : bool
        Whether layers have been pretrained, here or before.
    classes : bool
        Whether targets are classes.

    Examples
    --------
    >>> layer_activation("sigmoid", pretrained=False, classes=True).value
    'relu'
    """
    if not pretrained and hidden == "sigmoid":
        if classes:
            return Resolved("relu", "a classifier's layers that are not pretrained")
        return Resolved("tanh", "layers that are not pretrained")
    return Resolved(hidden, "that of the hidden units")


def tuning_decay(n_labelled: int, *, pretrained: bool, dropout: float = 0.0) -> Resolved:
    """Return the weight decay of fine-tuning, given the automatic dropout rate.

    Examples
    --------
    >>> tuning_decay(500, pretrained=False).value
    0.01
    """
    if dropout:
        kind = "few" if n_labelled < FEW_LABELS else "many"
        return Resolved(DROPPED_DECAY[kind], f"dropout, {kind} labels")
    if pretrained:
        return Resolved(PRETRAINED_DECAY, "layers that are pretrained")
    return Resolved(DECAY_ROWS / n_labelled, f"{DECAY_ROWS:g} / {n_labelled:,} rows: layers that are not pretrained")


def autoencoder_decay(n_inputs: int, n_code: int) -> Resolved:
    """Return the weight decay of an autoencoder.

    Parameters
    ----------
    n_inputs : int
    n_code : int
        Units of the code.

    Examples
    --------
    >>> autoencoder_decay(784, 30).value, autoencoder_decay(784, 250).value
    (0.0001, 0.0)
    """
    if n_inputs >= SHORT * n_code:
        return Resolved(CODE_DECAY, f"a code of {n_code} units for {n_inputs} inputs")
    return Resolved(0.0, "an autoencoder whose code is not short")


def hidden_dropout(facts: Supervision) -> Resolved:
    """Return the share of hidden units that is dropped."""
    if not facts.images:
        return Resolved(0.0, "only for classifiers with pretrained layers on values in [0, 1]")
    if facts.n_narrowest < WIDE:
        return Resolved(0.0, f"a layer has fewer than {WIDE} units")
    return _dropped(0, facts)


def tuning_input_dropout(facts: Supervision) -> Resolved:
    """Return the share of inputs that is dropped."""
    if not facts.images:
        return Resolved(0.0, "only for classifiers with pretrained layers on values in [0, 1]")
    if facts.n_inputs < WIDE:
        return Resolved(0.0, f"there are fewer than {WIDE} inputs")
    return _dropped(1, facts)


def _dropped(which: int, facts: Supervision) -> Resolved:
    kind = "few" if facts.few else "many"
    return Resolved(DROPPED[kind][which], f"{kind} labels: {facts.n_labelled:,}")


def tuning_extent(facts: Supervision, dropout: float) -> Extent:
    """Return the length of fine-tuning, given the automatic dropout rate."""
    if not dropout:
        drawn = facts.classes and not facts.pretrained and facts.n_labelled < FEW_ROWS
        return DRAWN_OF_FEW if drawn else USUAL_EXTENT
    return DROPPING_OF_FEW if facts.few else DROPPING


def tuning_epochs(n_rows: int, batch_size: int, extent: Extent = USUAL_EXTENT, preset: str = STANDARD) -> Resolved:
    """Return the number of epochs of fine-tuning.

    Examples
    --------
    >>> tuning_epochs(60_000, 100).value
    20
    """
    extent = extent.times(PRESETS[preset].tuning)
    n_updates, low, high = extent
    return Resolved(
        extent.epochs(-(-n_rows // batch_size)),
        f"about {n_updates:,} updates of {batch_size} rows, between {low} and {high} epochs{named(preset)}",
    )


def tuning_rate(of_layers: float, of_solver: float | None, velocity: float) -> Resolved:
    """Return the initial learning rate of fine-tuning.

    Parameters
    ----------
    of_layers : float
        Rate of the slowest activation or of the loss.
    of_solver : float or None
        Rate of the solver, which takes precedence.
    velocity : float
        Momentum. A velocity at momentum m sums about 1 / (1 - m) gradients. Above 0.9 the rate falls in inverse
        proportion, so that the same gradients move the weights by the same distance.

    Examples
    --------
    >>> round(tuning_rate(0.3, None, 0.95).value, 3)
    0.15
    """
    if of_solver is not None:
        return Resolved(of_solver, "the rate of the solver")
    factor = min(1.0, (1 - velocity) / (1 - 0.9))
    reason = "the rate of the slowest layer" + ("" if factor == 1 else f", less for a momentum of {velocity:g}")
    return Resolved(of_layers * factor, reason)

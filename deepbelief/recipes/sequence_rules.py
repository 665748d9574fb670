"""Rules for the settings of a model of sequences."""

from deepbelief.recipes.presets import PRESETS, STANDARD, Extent, named
from deepbelief.recipes.pretraining_rules import epochs_of_layer
from deepbelief.recipes.resolved import Resolved

FRAMES = (10, 400)  # approximate minimum and maximum number of frames in a minibatch
UPDATES = 6_000
EPOCHS = (5, 200)


def sequences_in_minibatch(n_frames: int, n_sequences: int, per_window: float) -> Resolved:
    """Return the number of sequences that are processed in parallel.

    Examples
    --------
    >>> sequences_in_minibatch(13_800, 229, 60.0).value
    5
    """
    low, high = FRAMES
    value = round(min(max(n_frames // 50, low), high) / per_window)
    return Resolved(
        min(max(value, 1), n_sequences), f"about a fiftieth of {n_frames:,} frames, between {low} and {high} frames"
    )


def sequence_epochs(n_updates: int, preset: str = STANDARD) -> Resolved:
    """Return the epochs for sequences of this many updates.

    Examples
    --------
    >>> sequence_epochs(46).value
    130
    """
    extent = Extent(UPDATES, *EPOCHS).times(PRESETS[preset].sequences)
    return Resolved(
        extent.epochs(n_updates),
        f"about {extent.updates:,} updates, between {extent.low} and {extent.high} epochs{named(preset)}",
    )


FEW_FRAMES = 1_000
FEW_SEQUENCES = 10
FRAME_UPDATES = 8_000
STOPPED_UPDATES = 20_000  # maximum, if held-out sequences decide when to stop
STOPPED_EPOCHS = (10, 100)
DECAY = (1e-4, 1e-3)  # minimum and maximum weight decay
DECAY_FRAMES = 15.0  # weight decay times the number of frames


def frame_epochs(n_frames: int, batch_size: int) -> Resolved:
    """Return the number of epochs in which single frames are learned first.

    Examples
    --------
    >>> frame_epochs(13_800, 100).value
    58
    """
    if n_frames < FEW_FRAMES:
        return Resolved(0, f"fewer than {FEW_FRAMES:,} frames")
    return epochs_of_layer(n_frames, batch_size, FRAME_UPDATES)


def sequence_decay(n_frames: int) -> Resolved:
    """Return the weight decay.

    Examples
    --------
    >>> sequence_decay(150_000).value
    0.0001
    """
    low, high = DECAY
    if n_frames < FEW_FRAMES:
        return Resolved(0.0, f"fewer than {FEW_FRAMES:,} frames")
    value = min(max(DECAY_FRAMES / n_frames, low), high)
    return Resolved(value, f"{DECAY_FRAMES:g} / {n_frames:,} frames, between {low:g} and {high:g}")


def stopping_of_sequences(n_sequences: int, n_frames: int, *, likelihood: bool, epochs_given: bool) -> Resolved:
    """Return whether held-out sequences decide when training stops.

    Parameters
    ----------
    n_sequences, n_frames : int
    likelihood : bool
        Whether frames have a likelihood.
    epochs_given : bool
        Whether the number of epochs is given.

    Examples
    --------
    >>> stopping_of_sequences(229, 13_800, likelihood=True, epochs_given=False).value
    True
    """
    if epochs_given:
        return Resolved(False, "the number of epochs is given")
    if n_sequences < FEW_SEQUENCES or n_frames < FEW_FRAMES:
        return Resolved(False, f"fewer than {FEW_SEQUENCES} sequences or {FEW_FRAMES:,} frames")
    if not likelihood:
        return Resolved(False, "grey levels have no likelihood")
    return Resolved(True, f"{n_sequences} sequences are enough to hold some out")


def stopped_epochs(n_updates: int, preset: str = STANDARD) -> Resolved:
    """Return the largest number of epochs where held-out sequences decide when training stops.

    Examples
    --------
    >>> stopped_epochs(46).value
    100
    """
    extent = Extent(STOPPED_UPDATES, *STOPPED_EPOCHS).times(PRESETS[preset].sequences)
    return Resolved(extent.epochs(n_updates), f"the maximum: held-out sequences decide when to stop{named(preset)}")

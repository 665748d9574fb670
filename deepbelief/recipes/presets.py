"""Presets: how long the automatic settings of an estimator train, and how wide its suggested layers are."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from deepbelief.recipes.resolved import Resolved, is_auto
from deepbelief.sizing import WIDE_INPUT, SizeAdvice

STANDARD = "standard"
ROWS_OF_WIDE = 2_000  # from which on wider layers were better


class Preset(NamedTuple):
    """Changes to the rules; a setting that is given never changes.

    Parameters
    ----------
    pretraining : float
        Factor on the updates of each layer's pretraining. It leaves single frames of sequences alone, because models
        of sequences depend on them most (``benchmarks/README.md``).
    tuning : float
        Factor on the updates of fine-tuning.
    sequences : float
        Factor on the updates of a model of sequences.
    width : float
        Factor on the width of the layers that are suggested for classifiers of wide rows, such as images.
    """

    pretraining: float = 1.0
    tuning: float = 1.0
    sequences: float = 1.0
    width: float = 1.0


PRESETS: Mapping[str, Preset] = {
    STANDARD: Preset(),
    "fast": Preset(pretraining=1 / 6, tuning=1 / 3, sequences=1 / 5),
    "best": Preset(pretraining=1.0, tuning=2.0, sequences=2.0, width=2.0),
}
"""What each value of ``preset`` changes."""


class Extent(NamedTuple):
    """Length of training: number of updates, and minimum and maximum number of epochs."""

    updates: int
    low: int
    high: int

    def times(self, factor: float) -> "Extent":
        """Return a shorter or longer extent: fewer updates lower the minimum number of epochs, more raise the maximum.

        Examples
        --------
        >>> Extent(6_000, 20, 100).times(2)
        Extent(updates=12000, low=20, high=200)
        """
        low, high = self.low * min(1.0, factor), self.high * max(1.0, factor)
        return Extent(round(self.updates * factor), max(1, round(low)), round(high))

    def epochs(self, n_minibatches: int) -> int:
        """Return the epochs that these updates take, within the bounds."""
        return min(max(round(self.updates / n_minibatches), self.low), self.high)


def named(preset: str) -> str:
    """Return what the reason for a value adds for a preset: nothing for the standard one."""
    return "" if preset == STANDARD else f"; preset {preset!r}"


def suggested_layers(advice: SizeAdvice, n_rows: int, preset: str = STANDARD) -> Resolved:
    """Return suggested hidden layer sizes, wider where a preset says so and rows are many.

    Examples
    --------
    >>> from deepbelief import suggest_layer_sizes
    >>> suggested_layers(suggest_layer_sizes(784, 60_000, 10), 60_000, "best").value
    (1000, 1000)
    """
    sizes, factor = advice.hidden_layer_sizes, PRESETS[preset].width
    if factor == 1 or advice.n_classes is None or advice.n_features < WIDE_INPUT or n_rows < ROWS_OF_WIDE:
        return Resolved(sizes, advice.depth_reason)
    width = round(factor * sizes[0])
    return Resolved((width,) * len(sizes), f"{advice.depth_reason}; {factor:g} times as wide{named(preset)}")


def kept_from_preset(preset: str, settings: Mapping[str, object]) -> Iterator[str]:
    """Iterate over the lines that name settings which a preset would change if they were not given.

    Examples
    --------
    >>> list(kept_from_preset("fast", {"max_iter": 7, "rbm__n_iter": "auto"}))
    ["preset='fast' does not change max_iter=7, which is given"]
    """
    if preset != STANDARD:
        for name, value in settings.items():
            if not is_auto(value):
                yield f"preset={preset!r} does not change {name}={value!r}, which is given"

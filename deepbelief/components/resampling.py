"""Bits resampled in each epoch with the probabilities in the rows."""

from dataclasses import dataclass
from typing import ClassVar, Self

from deepbelief.backends import Rng
from deepbelief.components.component import Component, TrainingStep
from deepbelief.gradients import Arrays
from deepbelief.typing import DeviceArray, LayerSettings


@dataclass(frozen=True)
class Resampling(Component):
    """Train on bits that are drawn for each minibatch from rows of probabilities."""

    name: ClassVar[str] = "resampling"

    @classmethod
    def of(cls, settings: LayerSettings) -> Self | None:
        """Return the component of ``binarize="resample"``."""
        return cls() if settings.binarize == "resample" else None

    def draw(self, step: TrainingStep, state: Arrays, rows: DeviceArray, rng: Rng) -> None:
        """Draw a bit for each value."""
        grey = step.phases.space("grey", *rows.shape)
        grey[...] = rows
        rng.bernoulli(grey, rows)

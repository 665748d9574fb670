"""L1 penalty of the weights by soft thresholding."""

from dataclasses import dataclass
from typing import ClassVar, Self

from deepbelief.bounds import check_number
from deepbelief.components.component import Component, TrainingStep
from deepbelief.gradients import Arrays
from deepbelief.typing import LayerSettings


@dataclass(frozen=True)
class L1(Component):
    """Move each weight towards 0 after each update by the learning rate times a factor, but not beyond 0.

    Beck and Teboulle, "A fast iterative shrinkage-thresholding algorithm", 2009, eq. 1.5.

    Parameters
    ----------
    factor : float
        Factor of the sum of absolute weights.
    """

    factor: float
    name: ClassVar[str] = "l1"

    def __post_init__(self) -> None:
        """Check the factor."""
        check_number("factor", self.factor, low=0)

    @classmethod
    def of(cls, settings: LayerSettings) -> Self | None:
        """Return the component of ``l1``."""
        return cls(settings.l1) if settings.l1 else None

    def after_step(self, step: TrainingStep, state: Arrays) -> None:
        """Subtract from W the part of it that lies within the threshold."""
        xp, W, threshold = step.machine.bk.xp, step.machine.W, step.rate * self.factor
        within = xp.maximum(W, -threshold, out=step.phases.space("within threshold", *W.shape))
        W -= xp.minimum(within, threshold, out=within)

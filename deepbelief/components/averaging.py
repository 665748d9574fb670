"""Average of the parameters over the last part of a run."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from deepbelief.bounds import check_number
from deepbelief.components.component import Component, TrainingStep
from deepbelief.gradients import Arrays
from deepbelief.typing import LayerSettings

NAMES = ("W", "vbias", "hbias")


@dataclass(frozen=True)
class Averaging(Component):
    """Replace the parameters at the end of the run by their mean over its last updates.

    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992.

    Parameters
    ----------
    share : float
        Share of the run, at its end, over which the mean is taken.
    """

    share: float
    name: ClassVar[str] = "averaging"
    order: ClassVar[int] = 30

    def __post_init__(self) -> None:
        """Check the share."""
        check_number("share", self.share, low=0, high=1)

    @classmethod
    def of(cls, settings: LayerSettings) -> Self | None:
        """Return the component of ``averaging``."""
        return cls(settings.averaging) if settings.averaging else None

    def start(self, step: TrainingStep) -> Arrays:
        """Return a mean of no updates."""
        means = (step.machine.bk.xp.zeros_like(p) for p in step.machine.params)
        return dict(zip(NAMES, means, strict=True)) | {"n": np.zeros(1, np.int64)}

    def after_step(self, step: TrainingStep, state: Arrays) -> None:
        """Add the parameters to the mean."""
        if step.position < 1 - self.share:
            return
        state["n"][0] += 1
        n = int(state["n"][0])
        for name, p, scratch in zip(NAMES, step.machine.params, step.phases.grad_buffers, strict=True):
            mean = state[name]
            mean *= 1 - 1 / n
            step.machine.bk.xp.multiply(p, 1 / n, out=scratch)
            mean += scratch

    def finish(self, step: TrainingStep, state: Arrays) -> None:
        """Replace the parameters by their mean, and begin a new mean."""
        if state["n"][0]:
            for name, p in zip(NAMES, step.machine.params, strict=True):
                p[...] = state[name]
        state["n"][0] = 0

    def reset(self, step: TrainingStep, state: Arrays) -> None:
        """Begin a new mean."""
        state["n"][0] = 0

"""Sparsity target of the hidden units."""

from dataclasses import dataclass
from typing import ClassVar, Self

from deepbelief.bounds import check_number
from deepbelief.components.component import Component, Gradients, TrainingStep
from deepbelief.errors import Mention, SettingError
from deepbelief.gradients import Arrays, GradientEstimator
from deepbelief.typing import DeviceArray, LayerSettings
from deepbelief.units import Unit

ACTIVITY_DECAY = 0.95  # share of the running mean of the hidden units that is kept per update


@dataclass(frozen=True)
class Sparsity(Component):
    """Move each hidden bias so that the running mean of its unit approaches a target.

    Hinton, "A practical guide to training restricted Boltzmann machines", 2010, section 11.

    Parameters
    ----------
    target : float
        Mean activity, between 0 and 1.
    cost : float
        Factor of the difference between running mean and target, which is added to the gradient.
    """

    target: float
    cost: float = 0.3
    name: ClassVar[str] = "sparsity"

    def __post_init__(self) -> None:
        """Check the settings."""
        check_number("target", self.target, low=0, high=1, open_low=True, open_high=True)
        check_number("cost", self.cost, low=0)

    @classmethod
    def of(cls, settings: LayerSettings) -> Self | None:
        """Return the component of ``sparsity_target`` and ``sparsity_cost``."""
        return None if settings.sparsity_target is None else cls(settings.sparsity_target, settings.sparsity_cost)

    def check(self, visible: Unit, hidden: Unit, gradient: GradientEstimator) -> None:
        """Refuse hidden units that are not Bernoulli."""
        if not hidden.enumerable:
            raise SettingError(
                Mention("sparsity_target"),
                " needs ",
                Mention("hidden", "bernoulli"),
                f", got {hidden.spec!r}",
                setting="sparsity_target",
                value=self.target,
            )

    def start(self, step: TrainingStep) -> Arrays:
        """Return running means at the target."""
        return {"activity": step.machine.bk.xp.full_like(step.machine.hbias, self.target)}

    def observe(self, step: TrainingStep, state: Arrays, h: DeviceArray) -> None:
        """Move the running means."""
        activity = state["activity"]
        mean = step.phases.mean(h, step.phases.space("mean activity", 1, h.shape[1])[0])
        mean *= 1 - ACTIVITY_DECAY
        activity *= ACTIVITY_DECAY
        activity += mean

    def adjust(self, step: TrainingStep, state: Arrays, grads: Gradients) -> None:
        """Add the difference from the target to the gradient of the hidden biases."""
        hbias: DeviceArray = grads[2]
        excess = step.phases.space("excess activity", 1, len(hbias))[0]
        step.machine.bk.xp.subtract(state["activity"], self.target, out=excess)
        excess *= self.cost
        hbias += excess

    def shared(self, state: Arrays) -> tuple[str, ...]:
        """Return the running means."""
        return ("activity",)

"""Learned parameters of hidden units."""

from dataclasses import dataclass
from typing import ClassVar, Self, cast

from deepbelief.components.component import Component, Gradients, TrainingStep
from deepbelief.gradients import Arrays
from deepbelief.typing import DeviceArray, LayerSettings
from deepbelief.units import get_unit
from deepbelief.units.unit import Parametrised

MAX_STEP = 0.05  # change of a parameter by one update


@dataclass(frozen=True)
class UnitParameters(Component):
    """Learn the parameters of the hidden unit type, at the learning rate of the weights.

    The state is the array of the machine itself, which steps change in place.
    """

    name: ClassVar[str] = "unit_parameters"
    needs_model: ClassVar[bool] = True

    @classmethod
    def of(cls, settings: LayerSettings) -> Self | None:
        """Return the component where hidden units have parameters."""
        return cls() if get_unit(settings.hidden).parameters else None

    def start(self, step: TrainingStep) -> Arrays:
        """Return the parameters."""
        return {"values": step.machine.hidden_parameters}

    def _gradient(self, step: TrainingStep) -> DeviceArray:
        return step.phases.space("gradient of unit parameters", *step.machine.hidden_parameters.shape)

    def adjust(self, step: TrainingStep, state: Arrays, grads: Gradients) -> None:
        """Compute the gradient from the rows of both phases."""
        machine, phases = step.machine, step.phases
        v, weight = phases.rows_of_gradient()
        x = machine.bk.matmul(v, machine.W, phases.space("inputs of units", len(v), machine.W.shape[1]))
        x += machine.hbias if phases.offsets is None else machine.hbias + phases.offsets[0] @ machine.W
        self._gradient(step)[...] = cast(Parametrised, machine.hidden).parameter_gradient(machine.bk, x, weight[:, 0])

    def after_step(self, step: TrainingStep, state: Arrays) -> None:
        """Move against the gradient, by no more than `MAX_STEP`."""
        grad, xp = self._gradient(step), step.machine.bk.xp
        grad *= step.rate
        xp.minimum(grad, MAX_STEP, out=grad)
        xp.maximum(grad, -MAX_STEP, out=grad)
        state["values"] -= grad

    def shared(self, state: Arrays) -> tuple[str, ...]:
        """Return the parameters."""
        return ("values",)

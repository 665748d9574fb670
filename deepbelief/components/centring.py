"""Centred units."""

from dataclasses import dataclass
from typing import ClassVar, Self

from deepbelief.components.component import Component, Gradients, TrainingStep
from deepbelief.errors import Mention, SettingError
from deepbelief.gradients import Arrays
from deepbelief.typing import DeviceArray, LayerSettings

OFFSET_RATE = 0.01  # of the running mean of the hidden units, per update (Melchior, Fischer and Wiskott 2016)


@dataclass(frozen=True)
class Centring(Component):
    """Subtract its mean from each unit: the mean of the data for visible units, a running mean for hidden units.

    The model stays the same, but its updates no longer depend on whether 0 or 1 is the common state: Melchior, Fischer
    and Wiskott, "How to center deep Boltzmann machines", JMLR 17, 2016.
    """

    name: ClassVar[str] = "centring"
    order: ClassVar[int] = 10
    needs_model: ClassVar[bool] = True

    @classmethod
    def of(cls, settings: LayerSettings) -> Self | None:
        """Return the component of ``centered``."""
        return cls() if settings.centered else None

    def start(self, step: TrainingStep) -> Arrays:
        """Return the hidden units' means given the data's mean."""
        machine = step.machine
        if machine.visible_mean is None:
            raise SettingError(
                Mention("centered", True), " needs the column means of the training rows, which these weights lack"
            )
        offset = machine.mean_hidden(machine.visible_mean.reshape(1, -1))[0]
        step.phases.offsets = machine.visible_mean, offset
        return {"offset": offset}

    def observe(self, step: TrainingStep, state: Arrays, h: DeviceArray) -> None:
        """Move the running mean of the hidden units."""
        offset = state["offset"]
        mean = step.phases.mean(h, step.phases.space("hidden mean", 1, h.shape[1])[0])
        mean *= OFFSET_RATE
        offset *= 1 - OFFSET_RATE
        offset += mean

    def adjust(self, step: TrainingStep, state: Arrays, grads: Gradients) -> None:
        """Change to the biases of centred units, b + W lambda and c + mu W, which the optimizer moves beside W."""
        self._shift(step, state, 1)

    def after_step(self, step: TrainingStep, state: Arrays) -> None:
        """Change back to the biases of units that are not centred."""
        self._shift(step, state, -1)

    def _shift(self, step: TrainingStep, state: Arrays, sign: int) -> None:
        machine, xp, space = step.machine, step.machine.bk.xp, step.phases.space
        above = xp.matmul(machine.W, state["offset"], out=space("visible shift", 1, len(machine.vbias))[0])
        below = xp.matmul(machine.visible_mean, machine.W, out=space("hidden shift", 1, len(machine.hbias))[0])
        for shift, bias in ((above, machine.vbias), (below, machine.hbias)):
            shift *= sign
            bias += shift

    def reset(self, step: TrainingStep, state: Arrays) -> None:
        """Start the offsets again."""
        machine = step.machine
        state["offset"][...] = machine.mean_hidden(machine.visible_mean.reshape(1, -1))[0]

    def shared(self, state: Arrays) -> tuple[str, ...]:
        """Return the offsets of the hidden units."""
        return ("offset",)

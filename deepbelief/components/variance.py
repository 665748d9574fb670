"""Learned variances of Gaussian visible units."""

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from deepbelief.components.component import Component, TrainingStep
from deepbelief.errors import Mention, SettingError
from deepbelief.gradients import Arrays, GradientEstimator
from deepbelief.typing import DeviceArray, LayerSettings
from deepbelief.units import Unit

MIN_LOG_VARIANCE = math.log(1e-4)  # relative to the variance of the rows: that of a constant column would become 0


@dataclass(frozen=True)
class LearnedVariance(Component):
    """Learn the logarithms of the variances, in the scale of the rows as they enter the machine.

    A machine with ``E = |v - b|^2 / 2 sigma^2 - (v / sigma^2) W h - c h`` is a machine of unit variance that rows
    enter as v / sigma, with W / sigma and b / sigma; log p(v) is then smaller by the sum of log sigma. With these
    weights fixed, log Z does not depend on sigma, so that the gradient needs no samples:
    d(-log p) / d(log sigma^2) = (1 - E[u (u - b - W h) | v]) / 2 for the entering row u.
    """

    name: ClassVar[str] = "variance"
    order: ClassVar[int] = 20
    needs_model: ClassVar[bool] = True

    @classmethod
    def of(cls, settings: LayerSettings) -> Self | None:
        """Return the component of ``learn_variance``."""
        return cls() if settings.learn_variance else None

    def check(self, visible: Unit, hidden: Unit, gradient: GradientEstimator) -> None:
        """Refuse all but RBMs of Gaussian visible units."""
        if not (visible.learns_variance and hidden.tractable and gradient.is_model):
            kind = hidden.spec if visible.learns_variance else visible.spec
            raise SettingError(
                Mention("learn_variance", True),
                f" is for RBMs of Gaussian visible units and hidden units with an energy, got {kind}",
            )

    def start(self, step: TrainingStep) -> Arrays:
        """Return the variances of the scaled rows, 1; ``merged`` says whether the weights' scale includes them."""
        zeros = step.machine.bk.xp.zeros_like
        vbias = step.machine.vbias
        return {"log_variance": zeros(vbias), "last_good": zeros(vbias), "merged": np.zeros(1, np.int64)}

    def begin(self, step: TrainingStep, state: Arrays) -> None:
        """Start from 1 where the scale of the rows already includes what was learned before."""
        if state["merged"][0]:
            state["log_variance"][...] = 0
            state["last_good"][...] = 0
            state["merged"][0] = 0

    def factor(self, step: TrainingStep, state: Arrays) -> DeviceArray:
        """Return 1 / sigma, by which rows are multiplied as they enter."""
        xp, log_variance = step.machine.bk.xp, state["log_variance"]
        factor = step.phases.space("variance factor", 1, len(log_variance))[0]
        xp.multiply(log_variance, -0.5, out=factor)
        return xp.exp(factor, out=factor)

    def enter(self, step: TrainingStep, state: Arrays, rows: DeviceArray) -> None:
        """Divide rows by the standard deviations."""
        rows *= self.factor(step, state)

    def leave(self, step: TrainingStep, state: Arrays, difference: DeviceArray) -> None:
        """Multiply by the standard deviations."""
        difference /= self.factor(step, state)

    def before_gradient(self, step: TrainingStep, state: Arrays) -> None:
        """Compute the gradient for the minibatch, in ``phases.space("variance gradient")``."""
        machine, space, xp, n = step.machine, step.phases.space, step.machine.bk.xp, step.n_rows
        u = step.phases.visible(n)
        h = machine.mean_hidden(u, out=space("h_variance", n, len(machine.hbias)))
        rest = machine.mean_visible(h, out=space("v_variance", *u.shape))
        xp.subtract(u, rest, out=rest)
        rest *= u
        weights = step.phases.weights
        if weights is None:
            grad = xp.sum(rest, axis=0, out=self._gradient(step))
            grad -= n
        else:
            grad = xp.matmul(weights, rest, out=self._gradient(step))
            grad -= weights.sum()
        grad *= -0.5 / step.batch_size
        grad *= self._learned(step)

    def _learned(self, step: TrainingStep) -> DeviceArray:
        """Return 1 for units whose variances are learned, and 0 for units of other types."""
        machine, n = step.machine, len(step.machine.vbias)
        return step.phases.constant(
            "learned variances", lambda: machine.bk.asarray(machine.visible.standardised(n), dtype=machine.dtype)
        )

    def _gradient(self, step: TrainingStep) -> DeviceArray:
        return step.phases.space("variance gradient", 1, len(step.machine.vbias))[0]

    def after_step(self, step: TrainingStep, state: Arrays) -> None:
        """Move against the gradient."""
        grad, log_variance = self._gradient(step), state["log_variance"]
        grad *= -step.rate
        grad += log_variance
        step.machine.bk.xp.maximum(grad, MIN_LOG_VARIANCE, out=log_variance)

    def end_epoch(self, step: TrainingStep, state: Arrays) -> None:
        """Keep the variances that belong to the weights of this epoch."""
        state["last_good"][...] = state["log_variance"]

    def end(self, step: TrainingStep, state: Arrays) -> None:
        """Include the variances in the scale of the weights."""
        step.machine.rescale(1 / step.machine.bk.to_numpy(self.factor(step, state)))
        state["merged"][0] = 1

    def reset(self, step: TrainingStep, state: Arrays) -> None:
        """Return to the variances of the last good epoch."""
        state["log_variance"][...] = state["last_good"]

    def shared(self, state: Arrays) -> tuple[str, ...]:
        """Return the logarithms of the variances."""
        return ("log_variance",)

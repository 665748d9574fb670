"""Missing values of the training rows."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from deepbelief.components.component import Component, TrainingStep
from deepbelief.gradients import Arrays
from deepbelief.typing import DeviceArray, LayerSettings


@dataclass(frozen=True)
class Missing(Component):
    """Complete rows with missing values (NaN) by the model itself, which then learns the likelihood of what is there.

    The gradient of log p(observed values) is that of the whole row, averaged over the missing values given the observed
    ones. The missing values of each row are the state of a Markov chain of its own, which starts at the base rates of
    the columns and takes one Gibbs step from one update with that row to the next (stochastic EM; Celeux and Diebolt
    1985; for Boltzmann machines Younes 1989). Values are assumed to be missing at random.

    Bernoulli hidden units are drawn from the means that the gradient computes, and are the state that is kept; of other
    hidden units the completed rows are. The state lives as long as the training on the rows.
    """

    name: ClassVar[str] = "missing"
    order: ClassVar[int] = -10  # all other components see completed rows
    needs_model: ClassVar[bool] = True

    @classmethod
    def of(cls, settings: LayerSettings) -> Self | None:
        """Return the component where values of the rows are missing."""
        return cls() if settings.missing else None

    def begin(self, step: TrainingStep, state: Arrays) -> None:
        """Allocate the states of the chains, unless a run that is resumed has left them."""
        machine = step.machine
        name, width = ("hidden", 1) if machine.hidden.enumerable else ("values", 0)
        shape, kept = (step.total, machine.W.shape[width]), state.get(name)
        if kept is None or kept.shape != shape or kept.dtype != machine.dtype or "seen" not in state:
            state.clear()
            state[name] = machine.bk.xp.zeros(shape, machine.dtype)
            state["seen"] = np.zeros(1, np.int64)

    def before_gradient(self, step: TrainingStep, state: Arrays) -> None:
        """Fill in the missing values: from the base rates, or by a Gibbs step with the observed values clamped."""
        machine, bk, n = step.machine, step.machine.bk, step.n_rows
        xp, space, values = bk.xp, step.phases.space, state.get("values")
        v = step.phases.visible(n)
        missing = xp.isnan(v)
        drawn, mean = space("missing drawn", *v.shape), space("missing mean", *v.shape)
        if int(state["seen"][0]) < step.total:  # no row has come up twice yet
            mean[...] = 0
            machine.visible.sample(bk, mean, machine.base_vbias, step.rng, drawn)
            state["seen"][0] += n
        else:
            h = space("missing hidden", n, machine.W.shape[1])
            if values is None:
                bk.take(state["hidden"], step.rows, h)
            else:
                bk.take(values, step.rows, drawn)
                xp.copyto(v, drawn, where=missing)
                machine.sample_hidden(v, step.rng, h)
            machine.sample_visible(h, step.rng, drawn, mean=mean)
        xp.copyto(v, drawn, where=missing)
        if values is not None:
            values[step.rows] = drawn  # of which only missing values are ever read

    def observe(self, step: TrainingStep, state: Arrays, h: DeviceArray) -> None:
        """Draw the hidden units of the completed rows."""
        if "hidden" in state:
            states = step.phases.space("missing hidden", *h.shape)
            state["hidden"][step.rows] = step.rng.bernoulli(h, states)

    def end(self, step: TrainingStep, state: Arrays) -> None:
        """Drop the states: they belong to these rows, and are not part of the model."""
        state.clear()

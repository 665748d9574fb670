"""Missing values of the training rows."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from deepbelief.backends.gaps import fill
from deepbelief.components.component import Component, TrainingStep
from deepbelief.gradients import Arrays
from deepbelief.typing import DeviceArray, LayerSettings


@dataclass(frozen=True)
class Missing(Component):
    """Complete rows with missing values (NaN) by the model, which thus learns the likelihood of the observed values.

    The gradient of log p(observed values) is that of the whole row, averaged over the missing values given the observed
    ones. The missing values of each row are the state of a separate Markov chain, which starts at the base rates of the
    columns and takes one Gibbs step at each update that uses the row (stochastic EM; Celeux and Diebolt 1985; for
    Boltzmann machines Younes 1989). Values are assumed to be missing at random.

    The state that is kept is the hidden units, drawn from the means that the gradient computes, if they are Bernoulli
    units; otherwise it is the completed rows. The state is dropped when training on these rows ends.
    """

    name: ClassVar[str] = "missing"
    order: ClassVar[int] = -10  # all other components see completed rows
    needs_model: ClassVar[bool] = True

    @classmethod
    def of(cls, settings: LayerSettings) -> Self | None:
        """Return the component where values of the rows are missing."""
        return cls() if settings.missing else None

    def begin(self, step: TrainingStep, state: Arrays) -> None:
        """Allocate the states of the chains, unless a resumed run has restored them."""
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
        drawn, mean = space("missing drawn", *v.shape), space("missing mean", *v.shape)
        if int(state["seen"][0]) < step.total:  # no row has been used twice yet
            mean[...] = 0
            machine.visible.sample(bk, mean, machine.base_vbias, step.rng, drawn)
            state["seen"][0] += n
        else:
            h = space("missing hidden", n, machine.W.shape[1])
            if values is None:
                bk.take(state["hidden"], step.rows, h)
            else:
                bk.take(values, step.rows, drawn)
                mean[...] = v
                fill(xp, mean, drawn)
                machine.sample_hidden(mean, step.rng, h)
            machine.sample_visible(h, step.rng, drawn, mean=mean)
        fill(xp, v, drawn)
        if values is not None:
            values[step.rows] = drawn  # only their missing values are ever read

    def observe(self, step: TrainingStep, state: Arrays, h: DeviceArray) -> None:
        """Draw the hidden units of the completed rows."""
        if "hidden" in state:
            states = step.phases.space("missing hidden", *h.shape)
            state["hidden"][step.rows] = step.rng.bernoulli(h, states)

    def end(self, step: TrainingStep, state: Arrays) -> None:
        """Drop the states, which belong to these rows and not to the model."""
        state.clear()

"""Multi-prediction training: separate weights that predict hidden values of each row by the mean field."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from deepbelief.completion import base_rates
from deepbelief.components.component import Component, TrainingStep
from deepbelief.components.smooth import Smooth
from deepbelief.errors import SettingError
from deepbelief.gradients import Arrays, GradientEstimator
from deepbelief.machine import Machine
from deepbelief.optimizers import Adam
from deepbelief.schedules import warm_up_decay
from deepbelief.typing import DeviceArray
from deepbelief.units import Unit, get_unit

PARTS = ("W", "vbias", "hbias")
SPREAD = 0.01  # standard deviation of the initial weights
MOMENTUM = 0.9


@dataclass(frozen=True)
class MultiPrediction(Component):
    """Train weights for imputation beside the machine: they predict values of each row from its other values.

    In each update a random share of the observed units of each row is hidden, and the mean field fills them in. The
    weights follow the gradient of the negative log-probability of the hidden values, through all steps of the mean
    field, by Adam: Goodfellow, Mirza, Courville and Bengio, "Multi-prediction deep Boltzmann machines", NIPS 2013. The
    machine itself learns the likelihood as it does without this component, and samples and scores come from it: the
    weights that are best for the mean field are not best for sampling. `RBM.impute` uses the weights of this component
    for ``method="mean_field"``.

    Parameters
    ----------
    n_hidden : int, default=64
        Hidden units of these weights.
    shares : tuple of two float, default=(0.1, 0.6)
        Range from which the hidden share of a row is drawn.
    n_steps : int, default=4
        Steps of the mean field.
    rate : float, default=0.01
        Learning rate of Adam; it rises in the first 5 % of the run and falls in its second half.
    weight_decay : float, default=1e-4
        L2 factor of these weights.
    groups : sequence of (int, sequence of float), default=()
        Softmax groups whose weights are tied smoothly, as for `Smooth`.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import RBM
    >>> from deepbelief.components import MultiPrediction
    >>> X = np.repeat([[0, 0, 1, 1], [1, 1, 0, 0]], 50, axis=0)
    >>> rbm = RBM(4, components=[MultiPrediction()], n_iter=20, random_state=0).fit(X)
    >>> rbm.impute([[1, np.nan, 0, np.nan]], method="mean_field").round().tolist()
    [[1.0, 1.0, 0.0, 0.0]]
    """

    n_hidden: int = 64
    shares: tuple[float, float] = (0.1, 0.6)
    n_steps: int = 4
    rate: float = 0.01
    weight_decay: float = 1e-4
    groups: Sequence[tuple[int, Sequence[float]]] = ()
    name: ClassVar[str] = "multi_prediction"
    order: ClassVar[int] = -20  # before missing values are filled in
    needs_model: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the settings, and keep sequences as tuples."""
        if len(self.shares) != 2 or not 0 <= self.shares[0] <= self.shares[1] <= 1:
            raise SettingError(f"shares must be two numbers between 0 and 1, in order, got {self.shares!r}")
        for name in ("n_hidden", "n_steps"):
            value = getattr(self, name)
            if not value >= 1 or int(value) != value:
                raise SettingError(f"{name} must be an integer >= 1, got {value!r}")
        if not (0 < self.rate < float("inf") and 0 <= self.weight_decay < float("inf")):
            raise SettingError(
                f"the rate must be > 0 and its weight decay >= 0, got {self.rate!r} and {self.weight_decay!r}"
            )
        object.__setattr__(self, "shares", tuple(float(share) for share in self.shares))
        object.__setattr__(self, "groups", Smooth(self.groups).groups)

    def check(self, visible: Unit, hidden: Unit, gradient: GradientEstimator) -> None:
        """Refuse units whose mean is not a probability."""
        if not (visible.unit_interval and visible.discrete):
            raise SettingError(
                f"multi-prediction training is for Bernoulli or softmax visible units, got {{visible={visible.spec!r}}}"
            )

    def start(self, step: TrainingStep) -> Arrays:
        """Return weights of 0, which the first update draws, the biases of the machine, and Adam's moments."""
        xp, machine = step.machine.bk.xp, step.machine
        shape = machine.W.shape[0], self.n_hidden
        arrays: Arrays = {
            "W": xp.zeros(shape, machine.dtype),
            "vbias": machine.base_vbias.copy(),
            "hbias": xp.zeros(shape[1], machine.dtype),
        }
        moments = Adam().start(machine.bk, [arrays[name] for name in PARTS])
        return arrays | {f"moment_{i}": moment for i, moment in enumerate(moments)}

    def before_gradient(self, step: TrainingStep, state: Arrays) -> None:
        """Move the weights by the gradient of the prediction, on the minibatch with its missing values."""
        xp, n = step.machine.bk.xp, step.n_rows
        v, groups = step.phases.visible(n), self._groups(step)
        machine, moments = predictor(step.machine, state), [state[f"moment_{i}"] for i in range(self._n_moments(state))]
        if not int(moments[-1][0]):
            step.rng.normal(machine.W)
            machine.W *= SPREAD
        observed = 1 - xp.isnan(v).astype(machine.dtype)
        target = xp.where(observed > 0, v, xp.zeros_like(v))
        chosen = self._hidden(step, groups)
        weight = observed * chosen
        weight *= (1 if step.phases.weights is None else step.phases.weights[:, None]) / step.batch_size
        grads = gradient_of_prediction(machine, target, observed * (1 - chosen), weight, groups, self.n_steps)
        rates = (self.rate * warm_up_decay(step.position),) * 3
        Adam().step(machine.bk, machine.params, grads, moments, rates, MOMENTUM, (self.weight_decay, 0.0, 0.0))
        Smooth(self.groups).tie(step, machine.W)

    def reset(self, step: TrainingStep, state: Arrays) -> None:
        """Start again from the state of `start`."""
        for name, array in self.start(step).items():
            state[name][...] = array

    def shared(self, state: Arrays) -> Sequence[str]:
        """Return the weights."""
        return PARTS

    def _n_moments(self, state: Arrays) -> int:
        return len(state) - len(PARTS)

    def _groups(self, step: TrainingStep) -> DeviceArray:
        """Return which unit belongs to which group, of shape (n_visible, n_groups)."""
        machine = step.machine
        sizes = machine.visible.group_sizes(machine.W.shape[0])

        def made() -> DeviceArray:
            return machine.bk.asarray(np.repeat(np.eye(len(sizes)), sizes, axis=0), dtype=machine.dtype)

        return step.phases.constant("groups of prediction", made)

    def _hidden(self, step: TrainingStep, groups: DeviceArray) -> DeviceArray:
        """Draw which units are hidden, whole groups, as 1 and 0."""
        n, (low, high) = step.n_rows, self.shares
        share = step.rng.uniform(step.phases.space("hidden share", n, 1))
        share *= high - low
        share += low
        drawn = step.rng.uniform(step.phases.space("hidden groups", n, groups.shape[1]))
        return (drawn < share).astype(step.machine.dtype) @ groups.T


def predictor(machine: Machine, state: Arrays) -> Machine:
    """Return the machine with the predicting parameters, which are not copied."""
    found = machine.with_biases(state["vbias"], state["hbias"])
    found.W, found.hidden = state["W"], get_unit("bernoulli")
    return found


def gradient_of_prediction(
    machine: Machine, target: DeviceArray, given: DeviceArray, weight: DeviceArray, groups: DeviceArray, n_steps: int
) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
    """Return the gradient of the weighted negative log-probability of hidden values, through the mean field.

    Parameters
    ----------
    machine : Machine
    target : device array of shape (n_rows, n_visible)
        The rows; 0 where a value is missing.
    given : device array of shape (n_rows, n_visible)
        1 for units whose values are given to the mean field, 0 for units that it fills in.
    weight : device array of shape (n_rows, n_visible)
        Weights of the predicted values; 0 for all others.
    groups : device array of shape (n_visible, n_groups)
        1 where a unit belongs to a group.
    n_steps : int
        Steps of the mean field, from the base rates of the columns.

    Returns
    -------
    tuple of device arrays shaped like the parameters
    """
    xp, bk, known = machine.bk.xp, machine.bk, target * given
    free = 1 - given
    v, tape = known + free * base_rates(machine, len(target)), []
    for _ in range(n_steps):
        h = machine.mean_hidden(v)
        p = machine.mean_visible(h)
        tape.append((v, h, p))
        v = known + free * p
    sums = [xp.zeros_like(param) for param in machine.params]
    above = weight * (tape[-1][2] - target)  # derivative with respect to the input of the visible units
    for i, (v, h, _) in reversed(list(enumerate(tape))):
        below = above @ machine.W
        below *= h * (1 - h)
        sums[0] += bk.matmul(above.T, h)
        sums[0] += bk.matmul(v.T, below)
        sums[1] += above.sum(axis=0)
        sums[2] += below.sum(axis=0)
        if i:
            mean = tape[i - 1][2]
            above = (below @ machine.W.T) * free * mean
            above -= mean * ((above @ groups) @ groups.T)  # within a group the means sum to 1
    return sums[0], sums[1], sums[2]

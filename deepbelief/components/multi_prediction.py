"""Multi-prediction training: separate weights that predict hidden values of each row by the mean field."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from deepbelief.bounds import COUNT, Bounds, check_fields
from deepbelief.components.component import Component, TrainingStep
from deepbelief.components.smooth import Smooth
from deepbelief.errors import Mention, SettingError
from deepbelief.gradients import Arrays, GradientEstimator
from deepbelief.machine import Machine, Workspace
from deepbelief.optimizers import Adam
from deepbelief.schedules import warm_up_decay
from deepbelief.typing import DeviceArray
from deepbelief.units import Unit, get_unit

PARTS = ("W", "vbias", "hbias")
FIELDS = {"n_hidden": COUNT, "n_steps": COUNT, "rate": Bounds(0, open_low=True), "weight_decay": Bounds(0)}
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
        check_fields(self, FIELDS)
        object.__setattr__(self, "shares", tuple(float(share) for share in self.shares))
        object.__setattr__(self, "groups", Smooth(self.groups).groups)

    def check(self, visible: Unit, hidden: Unit, gradient: GradientEstimator) -> None:
        """Refuse units whose mean is not a probability."""
        if not (visible.unit_interval and visible.discrete):
            raise SettingError(
                "multi-prediction training is for Bernoulli or softmax visible units, got ",
                Mention("visible", visible.spec),
            )

    def start(self, step: TrainingStep) -> Arrays:
        """Return small random weights drawn on the host, the biases of the machine, and Adam's moments."""
        xp, machine = step.machine.bk.xp, step.machine
        shape = machine.W.shape[0], self.n_hidden
        W = step.host_rng(self.name).normal(scale=SPREAD, size=shape)
        arrays: Arrays = {
            "W": machine.bk.asarray(W, dtype=machine.dtype),
            "vbias": machine.base_vbias.copy(),
            "hbias": xp.zeros(shape[1], machine.dtype),
        }
        moments = Adam().start(machine.bk, [arrays[name] for name in PARTS])
        return arrays | {f"moment_{i}": moment for i, moment in enumerate(moments)}

    def before_gradient(self, step: TrainingStep, state: Arrays) -> None:
        """Move the weights by the gradient of the prediction, on the minibatch with its missing values."""
        space, n, groups = step.phases.space, step.n_rows, self._groups(step)
        machine = predictor(step.machine, state)
        moments = [state[f"moment_{i}"] for i in range(len(state) - len(PARTS))]
        target, given = self._observed(step)
        weight = self._hidden(step, groups)
        weight *= given
        given -= weight
        weight *= 1 / step.batch_size
        if step.phases.weights is not None:
            weight *= step.phases.weights.reshape(n, 1)
        grads = gradient_of_prediction(machine, target, given, weight, groups, self.n_steps, space)
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

    def _groups(self, step: TrainingStep) -> DeviceArray:
        """Return which unit belongs to which group, of shape (n_visible, n_groups)."""
        machine = step.machine
        sizes = machine.visible.group_sizes(machine.W.shape[0])

        def made() -> DeviceArray:
            return machine.bk.asarray(np.repeat(np.eye(len(sizes)), sizes, axis=0), dtype=machine.dtype)

        return step.phases.constant("groups of prediction", made)

    def _hidden(self, step: TrainingStep, groups: DeviceArray) -> DeviceArray:
        """Draw which units are hidden, whole groups, as 1 and 0."""
        xp, space = step.machine.bk.xp, step.phases.space
        n, (low, high) = step.n_rows, self.shares
        share = step.rng.uniform(space("hidden share", n, 1))
        share *= high - low
        share += low
        drawn = step.rng.uniform(space("hidden groups", n, groups.shape[1]))
        xp.subtract(share, drawn, out=drawn)
        xp.sign(drawn, out=drawn)
        xp.maximum(drawn, 0, out=drawn)  # 1 where the number was below the share
        return xp.matmul(drawn, groups.T, out=space("hidden units", n, groups.shape[0]))

    def _observed(self, step: TrainingStep) -> tuple[DeviceArray, DeviceArray]:
        """Return the minibatch with 0 for missing values, and 1 for observed and 0 for missing ones."""
        xp, machine, phases, n = step.machine.bk.xp, step.machine, step.phases, step.n_rows
        v = phases.visible(n)
        gaps = phases.constant("gaps of prediction", lambda: xp.empty((step.batch_size, v.shape[1]), bool))[:n]
        zeros = phases.constant("zeros of prediction", lambda: xp.zeros(v.shape[1], machine.dtype))
        xp.isnan(v, out=gaps)
        target, observed = phases.space("prediction target", *v.shape), phases.space("prediction given", *v.shape)
        target[...] = v
        xp.copyto(target, zeros, where=gaps)
        observed[...] = gaps
        xp.subtract(1, observed, out=observed)
        return target, observed


def predictor(machine: Machine, state: Arrays) -> Machine:
    """Return the machine with the predicting parameters, which are not copied."""
    found = machine.with_biases(state["vbias"], state["hbias"])
    found.W, found.hidden = state["W"], get_unit("bernoulli")
    return found


def gradient_of_prediction(
    machine: Machine, target: DeviceArray, given: DeviceArray, weight: DeviceArray, groups: DeviceArray, n_steps: int,
    space: Workspace,
) -> tuple[DeviceArray, DeviceArray, DeviceArray]:  # fmt: skip
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
    space : Workspace
        Scratch arrays; the gradient lies there too.

    Returns
    -------
    tuple of device arrays shaped like the parameters
    """
    xp, bk, n, (n_visible, n_hidden) = machine.bk.xp, machine.bk, len(target), machine.W.shape
    half = n_steps * n
    # Both terms of the gradient of W are one product: derivatives and states, below them states and derivatives.
    left, right = space("prediction left", 2 * half, n_visible), space("prediction right", 2 * half, n_hidden)
    above, h, v, below = left[:half], right[:half], left[half:], right[half:]
    p = space("prediction means", half, n_visible)
    known, free = space("prediction known", n, n_visible), space("prediction free", n, n_visible)
    xp.multiply(target, given, out=known)
    xp.subtract(1, given, out=free)
    steps = [slice(i * n, (i + 1) * n) for i in range(n_steps)]
    mean = _base_rates(machine, space)
    for step in steps:
        xp.multiply(free, mean, out=v[step])
        v[step] += known
        machine.mean_hidden(v[step], out=h[step])
        mean = machine.mean_visible(h[step], out=p[step])
    last = steps[-1]
    xp.subtract(mean, target, out=above[last])
    above[last] *= weight  # derivative with respect to the input of the visible units
    for i in reversed(range(n_steps)):
        inputs = bk.matmul(above[steps[i]], machine.W, space("prediction inputs", n, n_hidden))
        bk.sigmoid_backward(inputs, h[steps[i]], below[steps[i]])
        if i:
            _through_means(machine, below[steps[i]], free, p[steps[i - 1]], groups, above[steps[i - 1]], space)
    biases = space("prediction vbias", 1, n_visible)[0], space("prediction hbias", 1, n_hidden)[0]
    xp.sum(above, axis=0, out=biases[0])
    xp.sum(below, axis=0, out=biases[1])
    return bk.matmul(left.T, right, space("prediction W", n_visible, n_hidden)), *biases


def _base_rates(machine: Machine, space: Workspace) -> DeviceArray:
    """Return the visible means of a row without observed values, of shape (1, n_visible)."""
    base = space("prediction base", 1, machine.W.shape[0])
    if machine.visible_mean is not None:
        base[0] = machine.visible_mean
        return base
    base.fill(0)
    return machine.visible.mean(machine.bk, base, machine.vbias)


def _through_means(
    machine: Machine, below: DeviceArray, free: DeviceArray, mean: DeviceArray, groups: DeviceArray, out: DeviceArray,
    space: Workspace,
) -> None:  # fmt: skip
    """Write the derivative with respect to the visible inputs that gave these means."""
    xp = machine.bk.xp
    machine.bk.matmul(below, machine.W.T, out)
    out *= free
    out *= mean
    sums = xp.matmul(out, groups, out=space("prediction group sums", len(out), groups.shape[1]))
    spread = xp.matmul(sums, groups.T, out=space("prediction spread", *out.shape))
    spread *= mean
    out -= spread  # within a group the means sum to 1

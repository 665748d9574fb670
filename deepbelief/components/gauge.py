"""Zero-sum gauge of softmax groups."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from deepbelief.components.component import Component, TrainingStep
from deepbelief.errors import Mention, SettingError
from deepbelief.gradients import Arrays, GradientEstimator
from deepbelief.machine import Machine
from deepbelief.typing import Array
from deepbelief.units import Unit

MAX_RUNS = 4  # groups of one size, up to which they are handled one after the other


@dataclass(frozen=True)
class Gauge(Component):
    """Keep the weights and biases of each softmax group at sum 0.

    Exactly one unit of a group is on, so that adding a constant to the weights of all its units is the same as adding
    it to the hidden biases: many parameter values describe one model. After each update the means over a group are
    subtracted from its weights and biases, and the means of the weights are added to the hidden biases. Probabilities
    do not change, the weights become as small as possible, and columns of W compare the categories of a column with
    their mean.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import RBM
    >>> X = np.eye(3)[np.arange(60) % 3]
    >>> rbm = RBM(2, visible="softmax:3", components=["gauge"], n_iter=2, random_state=0).fit(X)
    >>> bool(np.abs(rbm.weights_.W.sum(axis=0)).max() < 1e-6)
    True
    """

    name: ClassVar[str] = "gauge"
    order: ClassVar[int] = 15  # after centring, which changes the biases during a step

    def check(self, visible: Unit, hidden: Unit, gradient: GradientEstimator) -> None:
        """Refuse units of one column each."""
        if not visible.one_hot:
            raise SettingError("the zero-sum gauge is for softmax groups, got ", Mention("visible", visible.spec))

    def begin(self, step: TrainingStep, state: Arrays) -> None:
        """Bring the initial weights into the gauge."""
        self.after_step(step, state)

    def after_step(self, step: TrainingStep, state: Arrays) -> None:
        """Subtract the means over groups."""
        machine, xp, space = step.machine, step.machine.bk.xp, step.phases.space
        visible, n_visible, dtype = machine.visible, len(machine.vbias), machine.dtype
        runs = step.phases.constant("gauge runs", lambda: _neighbours(visible, n_visible))
        if len(runs) <= MAX_RUNS:
            for start, n, size in runs:
                self._centre_run(machine, slice(start, start + n * size), size)
            return
        share, member = step.phases.constant(
            "gauge", lambda: [machine.bk.asarray(each, dtype=dtype) for each in _memberships(runs, n_visible)]
        )
        means = machine.bk.matmul(share, machine.W, space("gauge means", len(share), machine.W.shape[1]))
        machine.hbias += means.sum(axis=0)
        machine.W -= machine.bk.matmul(member, means, space("gauge shift", *machine.W.shape))
        machine.vbias -= xp.matmul(member, xp.matmul(share, machine.vbias))

    @staticmethod
    def _centre_run(machine: Machine, units: slice, size: int) -> None:
        """Centre adjacent groups of one size."""
        weights, biases = machine.W[units].reshape(-1, size, machine.W.shape[1]), machine.vbias[units].reshape(-1, size)
        means = weights.mean(axis=1, keepdims=True)
        weights -= means
        machine.hbias += means.sum(axis=(0, 1))
        biases -= biases.mean(axis=1, keepdims=True)


def _memberships(runs: list[tuple[int, int, int]], n_columns: int) -> tuple[Array, Array]:
    """Return the matrix that computes means over groups, and the matrix that assigns each unit its group's mean."""
    spans = [(start + i * size, size) for start, n, size in runs for i in range(n)]
    member = np.zeros((n_columns, len(spans)))
    for group, (first, size) in enumerate(spans):
        member[first : first + size, group] = 1
    return np.ascontiguousarray((member / member.sum(axis=0)).T), member


def _neighbours(visible: Unit, n_columns: int) -> list[tuple[int, int, int]]:
    """Return first unit, number of groups and size of each run of adjacent groups of one size."""
    runs: list[tuple[int, int, int]] = []
    for columns, unit in visible.split(n_columns):
        size = columns.stop - columns.start
        if not unit.one_hot or size < 2:
            continue
        if runs and runs[-1][2] == size and runs[-1][0] + runs[-1][1] * size == columns.start:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1, size)
        else:
            runs.append((columns.start, 1, size))
    return runs

"""Smoothly tied weights of softmax groups that represent the bins of a number."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from deepbelief.components.component import Component, TrainingStep
from deepbelief.errors import Mention, SettingError
from deepbelief.gradients import Arrays, GradientEstimator
from deepbelief.typing import Array, DeviceArray
from deepbelief.units import Unit

N_HATS = 6  # hat functions; with the line and the parabola they span at most 8 dimensions


@dataclass(frozen=True)
class Smooth(Component):
    """Keep the weights of neighbouring bins of a number similar.

    A number is one softmax group over the bins of its range. Its rows of W, as functions of the bins' normal scores t,
    stay in the span of t, (t**2 - 1) / 2 and six hat functions: they are projected onto that span after each update.
    Groups with no more bins than the span has dimensions are not constrained, nor are biases.

    Parameters
    ----------
    groups : sequence of (int, sequence of float)
        First unit of each group, and the normal scores of its bins, ascending.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import RBM
    >>> from deepbelief.components import Smooth
    >>> t = np.linspace(-2, 2, 12)
    >>> X = np.eye(12)[np.arange(600) % 12]
    >>> rbm = RBM(4, visible="softmax:12", components=[Smooth(((0, tuple(t)),))], n_iter=2, random_state=0).fit(X)
    >>> int(np.linalg.matrix_rank(rbm.weights_.W, tol=1e-4)) <= 8
    True
    """

    groups: Sequence[tuple[int, Sequence[float]]]
    name: ClassVar[str] = "smooth"
    order: ClassVar[int] = 5

    def __post_init__(self) -> None:
        """Check the groups, and keep them as tuples."""
        try:
            groups = tuple((int(start), tuple(float(t) for t in scores)) for start, scores in self.groups)
        except (TypeError, ValueError) as error:
            raise SettingError(f"groups must be pairs of a first unit and scores, got {self.groups!r}") from error
        for start, scores in groups:
            if start < 0 or len(scores) < 2 or not (np.isfinite(scores).all() and (np.diff(scores) > 0).all()):
                raise SettingError(f"scores of a group must be at least 2 ascending numbers, got {scores} from {start}")
        object.__setattr__(self, "groups", groups)

    def check(self, visible: Unit, hidden: Unit, gradient: GradientEstimator) -> None:
        """Refuse units of one column each."""
        if visible.unit_interval and visible.discrete and not visible.enumerable:
            return
        raise SettingError("smoothly tied weights are for softmax groups, got ", Mention("visible", visible.spec))

    def begin(self, step: TrainingStep, state: Arrays) -> None:
        """Project the initial weights."""
        n = step.machine.W.shape[0]
        for start, scores in self.groups:
            if start + len(scores) > n:
                raise SettingError(f"a group of {len(scores)} bins from unit {start} exceeds the {n} visible units")
        self.after_step(step, state)

    def after_step(self, step: TrainingStep, state: Arrays) -> None:
        """Project W onto the span."""
        self.tie(step, step.machine.W)

    def tie(self, step: TrainingStep, W: DeviceArray) -> None:
        """Project weights of the machine's visible units onto the span, in place."""
        xp = step.machine.bk.xp
        for start, n, size, projections in self._runs(step):
            rows = W[start : start + n * size]
            tied = step.phases.space(f"smooth {W.shape[1]}", *rows.shape)
            xp.matmul(projections, rows.reshape(n, size, -1), out=tied.reshape(n, size, -1))
            rows[...] = tied

    def _runs(self, step: TrainingStep) -> Iterator[tuple[int, int, int, DeviceArray]]:
        """Yield first unit, number of groups, number of bins and projections of each run of equal adjacent groups."""
        bk, dtype = step.machine.bk, step.machine.dtype
        return iter(
            step.phases.constant(
                ("smooth", self.groups),
                lambda: [
                    (start, len(some), some[0].shape[0], bk.asarray(np.stack(some), dtype=dtype))
                    for start, some in _neighbours(self.groups)
                ],
            )
        )


def _neighbours(groups: Sequence[tuple[int, Sequence[float]]]) -> list[tuple[int, list[Array]]]:
    """Return first unit and projections of each run of adjacent groups of one size; free groups are left out."""
    runs: list[tuple[int, list[Array]]] = []
    for start, scores in sorted(groups):
        found, size = projection(scores), len(scores)
        if found is None:
            continue
        if runs and runs[-1][1][0].shape[0] == size and runs[-1][0] + size * len(runs[-1][1]) == start:
            runs[-1][1].append(found)
        else:
            runs.append((start, [found]))
    return runs


def projection(scores: Sequence[float]) -> Array | None:
    """Return the orthogonal projection onto the smooth functions of these scores; None where all functions are smooth.

    Examples
    --------
    >>> projection([-1, 0, 1]) is None
    True
    """
    t = np.asarray(scores, dtype=np.float64)
    knots = np.linspace(t[0], t[-1], N_HATS)
    hats = np.maximum(0, 1 - np.abs(t[:, None] - knots) / (knots[1] - knots[0]))
    span = np.column_stack([t, (t**2 - 1) / 2, hats])
    left, values, _ = np.linalg.svd(span, full_matrices=False)
    left = left[:, values > 1e-10 * values[0]]
    return None if left.shape[1] == len(t) else left @ left.T

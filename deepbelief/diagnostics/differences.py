"""Finite differences of an objective, one element at a time, with detection of kinks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from deepbelief.backends import Backend
from deepbelief.typing import Array, DeviceArray

TOLERANCE = 1e-6
MIN_NORM = 1e-10  # gradients whose norms are both below this agree
STEPS = (1e-4, 1e-5)  # steps; the second is used where the first may straddle a kink
KINK_SHARE = 1e-7  # share of the gradient's norm that a kink may hide
ROUNDING = np.finfo(np.float64).eps  # typical rounding error of a sum of values, relative to the objective
NOISE = 64  # largest multiple of that error


class Objective(Protocol):
    """A function of parameters on a device, with a gradient to be checked."""

    names: list[str]
    params: Sequence[DeviceArray]

    def terms(self) -> Array:
        """Return the numbers whose sum is the objective, on the host; differences of each lose fewer digits."""

    def gradient(self) -> list[Array]:
        """Return the gradient to be checked, on the host, as one array for each parameter."""


@dataclass(frozen=True)
class ParameterCheck:
    """Agreement of the gradient of one parameter array with finite differences.

    Attributes
    ----------
    name : str
        ``"W1"``, ``"bias1"`` ... ``"W_head"``, ``"bias_head"``; of machines ``"W1"``, ``"vbias1"``, ``"hbias1"`` ...
    shape : tuple of int
        Shape of the array.
    n_checked : int
        Elements that were compared.
    n_skipped : int
        Elements that were skipped because of a nearby kink of the objective.
    relative_error : float
        ||a - n|| / (||a|| + ||n||) of the compared elements; 0 where both norms are below 1e-10.
    """

    name: str
    shape: tuple[int, ...]
    n_checked: int
    n_skipped: int
    relative_error: float


@dataclass(frozen=True, repr=False)
class GradientCheck:
    """Result of `gradient_check`; it prints as a table.

    Attributes
    ----------
    rows : tuple of ParameterCheck
        One for each array of parameters.
    tolerance : float
        Largest relative error that counts as agreement.
    """

    rows: tuple[ParameterCheck, ...]
    tolerance: float = TOLERANCE

    @property
    def max_relative_error(self) -> float:
        """The largest relative error of any parameter array."""
        return max(row.relative_error for row in self.rows)

    @property
    def wrong(self) -> tuple[str, ...]:
        """Names of the parameter arrays that disagree, or whose elements all lie at kinks."""
        return tuple(row.name for row in self.rows if not (row.n_checked and row.relative_error <= self.tolerance))

    @property
    def ok(self) -> bool:
        """Whether every parameter array agrees."""
        return not self.wrong

    def __repr__(self) -> str:
        """Return the table."""
        lines = [f"{'parameter':<12}{'shape':>14}{'checked':>9}{'skipped':>9}  relative error"]
        for row in self.rows:
            shape = " x ".join(map(str, row.shape))
            error = f"{row.relative_error:.1e}" if row.n_checked else "all at kinks"
            mark = "  <- wrong" if row.name in self.wrong and row.n_checked else ""
            lines.append(f"{row.name:<12}{shape:>14}{row.n_checked:>9}{row.n_skipped:>9}  {error}{mark}")
        if self.ok:
            lines.append(f"ok: no relative error above {self.tolerance:.0e}")
        else:
            lines.append(f"not ok: {', '.join(self.wrong)} (tolerance {self.tolerance:.0e})")
        return "\n".join(lines)


def compare(objective: Objective, bk: Backend, n_elements: int, rng: np.random.Generator) -> GradientCheck:
    """Compare an objective's gradient with central differences at ``n_elements`` of each array's elements, or all."""
    rows = []
    analytic = objective.gradient()
    for name, param, grad in zip(objective.names, objective.params, analytic, strict=True):
        chosen = np.sort(rng.permutation(grad.size)[:n_elements])
        numeric, trusted, rounding = _differences(objective, param, np.unravel_index(chosen, grad.shape), bk)
        picked = grad.ravel()[chosen][trusted]
        error = relative_error(picked, numeric[trusted], float(np.linalg.norm(rounding[trusted])))
        rows.append(ParameterCheck(name, grad.shape, int(trusted.sum()), int((~trusted).sum()), error))
    return GradientCheck(tuple(rows))


def relative_error(a: Array, b: Array, rounding: float = 0.0) -> float:
    """Return ||a - b|| / (||a|| + ||b||); 0 if both are almost 0, infinity if one is not finite.

    ``rounding`` is the part of ||a - b|| that may be due to rounding.
    """
    norms = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if not np.isfinite(norms).all():
        return float("inf")
    if max(norms) < MIN_NORM:
        return 0.0
    return max(0.0, float(np.linalg.norm(a - b)) - rounding) / sum(norms)


def _differences(
    objective: Objective, param: DeviceArray, index: tuple[Array, ...], bk: Backend
) -> tuple[Array, Array, Array]:
    """Return the central differences for these elements, a mask of the reliable ones, and their rounding errors."""
    places = list(zip(*(i.tolist() for i in index), strict=True))
    base = objective.terms()
    estimate, doubt, rounding = (np.empty(len(places)) for _ in range(3))
    todo = np.ones(len(places), bool)
    for step in STEPS:
        for i in np.flatnonzero(todo):
            estimate[i], doubt[i], rounding[i] = _difference(objective, param, places[i], base, step, bk)
        todo = ~_trusted(estimate, doubt)
    return estimate, ~todo, rounding


def _difference(
    objective: Objective, param: DeviceArray, place: tuple[int, ...], base: Array, step: float, bk: Backend
) -> tuple[float, float, float]:
    """Return the central difference for one element, a measure of non-smoothness there, and a rounding error.

    The steps are h and h / 2. For a smooth function the central differences D agree up to a term in h**2, and the
    second differences S have the ratio 4 to 1; a kink within h changes one of the two wherever it lies. Only values of
    the objective are used, so that a wrong gradient is never mistaken for a kink.
    """
    kept = float(bk.to_numpy(param[place]))
    h = step * max(1.0, abs(kept))
    slope, bend = [], []
    for size in (h, h / 2):
        sides = []
        for moved in (kept + size, kept - size):
            param[place] = moved
            sides.append(objective.terms())
        slope.append(float((sides[0] - sides[1]).sum()) / ((kept + size) - (kept - size)))
        bend.append(float((sides[0] - base).sum() + (sides[1] - base).sum()))
    param[place] = kept
    doubt = max(abs(slope[0] - slope[1]), abs(bend[0] - 4 * bend[1]) / h)
    rounding = ROUNDING * float(np.abs(base).sum()) / h
    return (4 * slope[1] - slope[0]) / 3, max(0.0, doubt - NOISE * rounding), rounding


def _trusted(estimate: Array, doubt: Array) -> Array:
    """Return a mask of the elements whose doubt is small relative to the norm of all reliable ones."""
    good = np.isfinite(estimate) & np.isfinite(doubt)
    while True:  # a jump makes differences huge, so that the norm falls when they are removed
        better = good & (doubt <= KINK_SHARE * np.linalg.norm(estimate[good]))
        if np.array_equal(better, good):
            return good
        good = better

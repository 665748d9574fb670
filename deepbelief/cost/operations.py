"""Operations of an update: matrix products by shape, and element-wise work by kind."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from deepbelief.errors import Mention, SettingError
from deepbelief.gradients import CD, FPCD, MFCD, PCD, PT, Denoising, GradientEstimator
from deepbelief.optimizers import SGD, Optimizer

Shape = tuple[int, int, int]
"""Rows, summed length and columns of a product."""


class Work:
    """Amounts of work.

    Attributes
    ----------
    products : Counter of tuple of three int
        Number of dense matrix products by (rows, summed length, columns).
    amounts : Counter of str
        Other work by kind, in values, bytes or calls, as `deepbelief.cost.MachineRates` has a time for each.

    Examples
    --------
    >>> work = Work().product(100, 784, 500).add("gather", 78400) * 2
    >>> work.products[100, 784, 500], work.flops
    (2.0, 156800000.0)
    """

    def __init__(self) -> None:
        self.products: Counter[Shape] = Counter()
        self.amounts: Counter[str] = Counter()

    def product(self, rows: int, length: int, columns: int, times: float = 1.0) -> "Work":
        """Add products of this shape, and return the work."""
        if times:
            self.products[rows, length, columns] += times  # type: ignore[assignment]
        return self

    def add(self, kind: str, amount: float) -> "Work":
        """Add an amount of another kind, and return the work."""
        if amount:
            self.amounts[kind] += amount  # type: ignore[assignment]
        return self

    def __add__(self, other: "Work") -> "Work":
        """Return the sum of both."""
        total = Work()
        for each in (self, other):
            total.products.update(each.products)
            total.amounts.update(each.amounts)
        return total

    def __mul__(self, times: float) -> "Work":
        """Return the work done a number of times."""
        total = Work()
        total.products.update({shape: n * times for shape, n in self.products.items()})
        total.amounts.update({kind: n * times for kind, n in self.amounts.items()})
        return total

    @property
    def flops(self) -> float:
        """Floating-point operations of the dense products, two for each multiplication and addition."""
        return sum(2.0 * m * k * n * times for (m, k, n), times in self.products.items())


def name_of(spec: str) -> str:
    """Return the name of a unit type without its sizes.

    Examples
    --------
    >>> name_of("softmax:3,3,2")
    'softmax'
    """
    return spec.partition(":")[0]


@dataclass(frozen=True)
class Phases:
    """Sizes of an update of one machine.

    Parameters
    ----------
    n_rows, n_visible, n_hidden : int
    n_chains : int
        Of estimators with persistent chains.
    steps : float
        Number of Gibbs steps, the mean over the run.
    visible, hidden : str
        Unit types.
    density : float or None
        Share of the values of the rows that are stored where products with sparse rows pay; None: rows are dense.
    transposed : bool
        Whether the gradient's product with sparse rows pays too.
    """

    n_rows: int
    n_visible: int
    n_hidden: int
    n_chains: int = 0
    steps: float = 1.0
    visible: str = "bernoulli"
    hidden: str = "bernoulli"
    density: float | None = None
    transposed: bool = False

    def up(self, work: Work, rows: int, kind: str = "mean", times: float = 1.0) -> None:
        """Count hidden means or samples."""
        work.product(rows, self.n_visible, self.n_hidden, times)
        work.add(f"{kind}:{name_of(self.hidden)}", times * rows * self.n_hidden)

    def down(self, work: Work, rows: int, kind: str = "mean", times: float = 1.0) -> None:
        """Count visible means or samples."""
        work.product(rows, self.n_hidden, self.n_visible, times)
        work.add(f"{kind}:{name_of(self.visible)}", times * rows * self.n_visible)

    def positive(self, work: Work, kind: str = "mean") -> None:
        """Count the hidden means or samples of the minibatch."""
        if self.density is None:
            self.up(work, self.n_rows, kind)
            return
        work.add("sparse product", self.density * self.n_rows * self.n_visible * self.n_hidden)
        work.add(f"{kind}:{name_of(self.hidden)}", self.n_rows * self.n_hidden)

    def gradient(self, work: Work, n_negative: int) -> None:
        """Count the statistics of both phases, whose product is part of the step."""
        n = self.n_rows + n_negative
        work.add("sum", n * self.n_visible).add("weigh", n * self.n_hidden)
        if self.transposed and self.density is not None:
            work.product(self.n_visible, n_negative, self.n_hidden)
            work.add("sparse product", self.density * self.n_rows * self.n_visible * self.n_hidden)
        else:
            work.product(self.n_visible, n, self.n_hidden)


def _contrastive(work: Work, sizes: Phases, estimator: Any) -> None:
    more = sizes.steps - 1
    sizes.positive(work, "sample")
    sizes.down(work, sizes.n_rows, "sample", more)
    sizes.up(work, sizes.n_rows, "sample", more)
    sizes.down(work, sizes.n_rows, "sample" if estimator.sample_visible else "mean")
    sizes.up(work, sizes.n_rows)
    sizes.gradient(work, sizes.n_rows)


def _mean_field(work: Work, sizes: Phases, estimator: Any) -> None:
    sizes.positive(work)
    sizes.down(work, sizes.n_rows, times=sizes.steps)
    sizes.up(work, sizes.n_rows, times=sizes.steps)
    sizes.gradient(work, sizes.n_rows)


def _persistent(work: Work, sizes: Phases, estimator: Any) -> None:
    sizes.positive(work)
    sizes.down(work, sizes.n_chains, "sample", sizes.steps)
    sizes.up(work, sizes.n_chains, "sample", sizes.steps)
    sizes.gradient(work, sizes.n_chains)


def _fast_persistent(work: Work, sizes: Phases, estimator: Any) -> None:
    _persistent(work, sizes, estimator)
    weights = sizes.n_visible * sizes.n_hidden
    work.add("pass", weights).add("momentum", weights)
    work.product(sizes.n_visible, sizes.n_rows + sizes.n_chains, sizes.n_hidden)


def _tempered(work: Work, sizes: Phases, estimator: Any) -> None:
    n = sizes.n_chains * estimator.n_temperatures
    sizes.positive(work)
    sizes.down(work, n, "sample", sizes.steps)
    sizes.up(work, n, "sample", sizes.steps)
    # Tempered inputs, fields and energies, and the exchanges of both states.
    work.add("pass", sizes.steps * n * (4 * sizes.n_visible + 8 * sizes.n_hidden))
    sizes.up(work, sizes.n_chains)
    sizes.gradient(work, sizes.n_chains)


def _denoising(work: Work, sizes: Phases, estimator: Any) -> None:
    n, v, h = sizes.n_rows, sizes.n_visible, sizes.n_hidden
    work.add("draw", n * v).add("pass", n * (5 * v + 2 * h))
    work.product(n, v, h, 2).product(n, h, v).product(v, 2 * n, h)
    work.add(f"mean:{name_of(sizes.hidden)}", n * h).add(f"mean:{name_of(sizes.visible)}", n * v)
    work.add("sum", n * v + n * h)


WORK: Mapping[type[GradientEstimator], Callable[[Work, Phases, Any], None]] = {
    CD: _contrastive,
    MFCD: _mean_field,
    PCD: _persistent,
    FPCD: _fast_persistent,
    PT: _tempered,
    Denoising: _denoising,
}
"""Functions that count the operations of a gradient, by the class of the estimator."""


def update_of_machine(estimator: GradientEstimator, solver: Optimizer, sizes: Phases) -> Work:
    """Return the work of one update of a machine.

    Raises
    ------
    SettingError
        If there is no model of the estimator's cost.

    Examples
    --------
    >>> from deepbelief.gradients import CD
    >>> from deepbelief.optimizers import SGD
    >>> sorted(update_of_machine(CD(), SGD(), Phases(100, 784, 500)).products.items())
    [((100, 500, 784), 1.0), ((100, 784, 500), 2.0), ((784, 200, 500), 1.0)]
    """
    count = WORK.get(type(estimator))
    if count is None:
        known = ", ".join(kind.__name__ for kind in WORK)
        raise SettingError(
            Mention("gradient"),
            f" must be one whose cost is known ({known}), got {type(estimator).__name__}. Train for one epoch ",
            "to see its time.",
        )
    work = Work()
    count(work, sizes, estimator)
    values = sizes.n_rows * sizes.n_visible
    if sizes.density is None:
        work.add("gather", values)
    else:
        work.add("to dense", values)
    work.add("update", 1).add("gibbs step", max(0.0, sizes.steps - 1))
    return work.add(step_of(solver), sizes.n_visible * sizes.n_hidden)


def step_of(solver: Optimizer) -> str:
    """Return the kind of work of a step, for each weight and beside the product."""
    return "nesterov" if getattr(solver, "nesterov", False) else STEPS.get(type(solver), "adaptive")


STEPS: Mapping[type[Optimizer], str] = {SGD: "momentum"}
"""Kinds of steps by the class of the optimizer; all others are adaptive."""


def forward(sizes: Iterable[int], n_rows: int, activation: str = "mean:bernoulli") -> Work:
    """Return the work of a feed-forward network's outputs for rows.

    Examples
    --------
    >>> forward((784, 500, 10), 100).flops
    79400000.0
    """
    work = Work()
    for below, above in pairwise(sizes):
        work.product(n_rows, below, above).add(activation, n_rows * above)
    return work


def update_of_network(sizes: tuple[int, ...], n_rows: int, solver: Optimizer, drops: Iterable[float]) -> Work:
    """Return the work of one update of a feed-forward network by backpropagation.

    Parameters
    ----------
    sizes : tuple of int
        Units from the input to the output.
    n_rows : int
    solver : Optimizer
    drops : iterable of float
        Share of the units dropped in the input and in each hidden layer.
    """
    work = forward(sizes, n_rows).add("gather", n_rows * sizes[0])
    for units, share in zip(sizes, drops, strict=False):
        if share:
            work.add("draw", n_rows * units).add("pass", 4 * n_rows * units)
    for i, (below, above) in enumerate(pairwise(sizes)):
        work.product(below, n_rows, above).add(step_of(solver), below * above).add("sum", n_rows * above)
        if i:
            work.product(n_rows, above, below).add("weigh", n_rows * below)
    return work.add("network update", 1).add("network layer", len(sizes) - 2)

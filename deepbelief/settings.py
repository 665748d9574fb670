"""Settings of one layer, what ``"auto"`` means in them, and the weights that training starts from."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from deepbelief.activations import get_activation
from deepbelief.communicator import SINGLE_PROCESS, Communicator
from deepbelief.components import Component, chosen_components
from deepbelief.errors import DataWarning, Mention, SettingError, user_level
from deepbelief.gradients import GradientEstimator, get_gradient
from deepbelief.optimizers import Optimizer, get_optimizer
from deepbelief.recipes.presets import STANDARD
from deepbelief.recipes.pretraining_rules import (
    DENOISING_UPDATES,
    UPDATES,
    denoising_rate,
    epochs_of_layer,
    machine_rate,
    rows_in_minibatch,
)
from deepbelief.recipes.resolved import Choices, Resolved
from deepbelief.schedules import Schedule, get_schedule
from deepbelief.seeds import host_rng
from deepbelief.sources import (
    ColumnStatistics,
    RowSource,
    check_domain,
    column_map,
    column_statistics,
    original_dtype,
)
from deepbelief.sources.one_hot import one_hot_groups
from deepbelief.stack import Weights
from deepbelief.typing import Array, DtypeLike
from deepbelief.units import Unit, get_unit, joined, smoothed_means

MIN_COLUMN = 1e-5  # range of a column whose values may be probabilities
MIN_TABLE = 1e-2  # largest range of a column of a table whose values may be probabilities
MAX_EXACT = 2**53  # up to which float64 holds each integer
MIN_CODED_ROWS = 10  # rows from which on columns of two values are remarkable
DRAWN_ROWS = 16  # rows of initial weights that are drawn at a time
GROUPS = "groups"  # a visible type that is found in the rows
FROM_ROWS = ("auto", GROUPS)
AUTOMATIC = ("bernoulli", "gaussian")  # visible types that "auto" chooses from: the first that admits the rows


@dataclass(frozen=True)
class RBMSettings:
    """Settings of one layer, as the estimators spell them; ``"auto"`` is resolved against the rows."""

    visible: str | Unit = "auto"
    scale: str = "none"
    hidden: str | Unit = "bernoulli"
    gradient: str | GradientEstimator = "cd"
    gibbs_steps: int | tuple[int, int] = 1
    n_chains: int | str = "auto"
    centered: bool = False
    binarize: str | None = None
    learning_rate: float | str = "auto"
    schedule: str | Schedule = "auto"
    momentum: float | str = "auto"
    nesterov: bool = False
    weight_decay: float = 2e-4
    l1: float = 0.0
    batch_size: int | str = "auto"
    n_iter: int | str = "auto"
    sparsity_target: float | None = None
    sparsity_cost: float = 0.3
    averaging: float = 0.0
    learn_variance: bool = False
    solver: str | Optimizer = "sgd"
    components: tuple[Component, ...] = ()
    early_stopping: bool = False
    n_iter_no_change: int = 10
    preset: str = STANDARD
    """Of the estimator whose layer it is: how long training is where that is automatic."""
    missing: bool = False
    """Whether values of the rows are missing."""
    automatic: frozenset[str] = frozenset()
    """Names of the settings that were left at "auto"."""
    resolved: Mapping[str, Resolved] = field(default_factory=dict, compare=False)
    """Resolved automatic settings, if they have been resolved."""

    @property
    def all_components(self) -> tuple[Component, ...]:
        """Components that the settings ask for, and those that are given."""
        return chosen_components(self)

    @property
    def is_model(self) -> bool:
        """Whether the layer is trained as a model of its data."""
        return get_gradient(self.gradient, 1).is_model

    def resolve(self, n_rows: int, n_visible: int, n_hidden: int, visible_mean: Array | None = None) -> "RBMSettings":
        """Return the same settings with every ``"auto"`` but the visible type replaced by what it means here."""
        visible, hidden = get_unit(self.visible), get_unit(self.hidden)
        gradient = get_gradient(self.gradient, self.gibbs_steps)
        of_gradient = f"the default of {type(gradient).__name__}"
        if "centered" in self.automatic and not self.centered and centres(gradient) and visible_mean is not None:
            chosen = dict(self.resolved) | {"centered": Resolved(True, of_gradient)}
            return replace(self, centered=True, resolved=chosen).resolve(n_rows, n_visible, n_hidden, visible_mean)
        if self.missing and not gradient.is_model:
            raise SettingError(
                "missing values (NaN) need ", Mention("pretraining", "rbm"), ", which models them; else fill them in"
            )
        if self.early_stopping and self.averaging:
            raise SettingError(
                Mention("early_stopping", True),
                " returns the weights of one epoch, ",
                Mention("averaging", self.averaging, "g"),
                " the mean of many: use only one of them",
                setting="early_stopping",
                value=True,
            )
        for component in self.all_components:
            if component.needs_model and not gradient.is_model:
                raise SettingError(f"{component.name!r} is for gradients of RBMs, not for denoising autoencoders")
            component.check(visible, hidden, gradient)
        solver, choices = get_optimizer(self.solver, nesterov=self.nesterov), Choices()
        n_updates = DENOISING_UPDATES if denoises_bits(gradient, visible) else UPDATES
        batch_size = int(choices.take("batch_size", self.batch_size, rows_in_minibatch(n_rows)))
        n_iter = int(choices.take("n_iter", self.n_iter, epochs_of_layer(n_rows, batch_size, n_updates, self.preset)))
        slope = None if visible_mean is None else visible.mean_slope(visible_mean)
        if denoises_bits(gradient, visible) and solver.rate is None:
            rate = denoising_rate()
        else:
            rate = self._automatic_rate(solver, visible, hidden, n_visible, n_hidden, slope)
        chains = Resolved(batch_size, "the number of rows in a minibatch")
        return replace(
            self, visible=visible, hidden=hidden, gradient=gradient, batch_size=batch_size, n_iter=n_iter,
            n_chains=int(choices.take("n_chains", self.n_chains, chains)),
            learning_rate=float(choices.take("learning_rate", self.learning_rate, rate)),
            schedule=get_schedule(choices.take("schedule", self.schedule, Resolved(gradient.schedule, of_gradient))),
            momentum=choices.take("momentum", self.momentum, Resolved(gradient.momentum, of_gradient)),
            solver=solver, resolved=choices | dict(self.resolved),
        )  # fmt: skip

    def _automatic_rate(
        self, solver: Optimizer, visible: Unit, hidden: Unit, n_visible: int, n_hidden: int, slope: float | None
    ) -> Resolved:
        """Return the automatic learning rate."""
        if solver.rate is not None:
            return Resolved(solver.rate, "the rate of the solver")
        active = n_hidden * (0.5 if self.sparsity_target is None else self.sparsity_target)
        return machine_rate(min(visible.visible_rate(n_visible), hidden.rate), n_visible, n_hidden, active, slope)


def centres(gradient: GradientEstimator) -> bool:
    """Return whether units are centred by default with this gradient."""
    return bool(getattr(gradient, "centered", False))


def denoises_bits(gradient: GradientEstimator, visible: Unit) -> bool:
    """Return whether a layer is trained to undo corruption of values in [0, 1]."""
    return not gradient.is_model and visible.unit_interval


def _automatic(statistics: ColumnStatistics, dtype: DtypeLike) -> str:
    """Return the name of the visible type for rows with these statistics.

    Columns whose values differ by far less than 1 are quantities in a large unit, not probabilities.
    """
    ranges = (statistics.max - statistics.min)[~statistics.constant(dtype)]
    tiny = ranges.size and (ranges.min() < MIN_COLUMN or ranges.max() < MIN_TABLE)
    names = AUTOMATIC[1:] if tiny else AUTOMATIC
    return next(name for name in names if get_unit(name).admits(statistics.min, statistics.max))


def _warn_of_codes(statistics: ColumnStatistics, dtype: DtypeLike) -> None:
    """Warn of tables of two-valued columns that are taken as real values."""
    varied = ~statistics.constant(dtype)
    if statistics.n < MIN_CODED_ROWS or not varied.any() or not statistics.two_valued(dtype)[varied].all():
        return
    low, high = statistics.min[varied], statistics.max[varied]
    same = bool((low == low[0]).all() and (high == high[0]).all())
    if not same and any((ends != np.rint(ends)).any() for ends in (low, high)):
        return  # standardised on purpose
    values = f"the two values {low[0]:g} and {high[0]:g}" if same else "two values each"
    warning = DataWarning(
        f"all columns hold {values}: as real values they get Gaussian units, and likelihoods are densities; ",
        Mention("scale", "minmax"),
        " maps them to 0 and 1",
        symptom="two-values",
    )
    warnings.warn(warning, stacklevel=user_level())


def _warn_of_constants(source: RowSource, statistics: ColumnStatistics) -> None:
    """Warn of rows that are all alike, or have become so since float64 rounds large integers."""
    kind = getattr(original_dtype(source), "kind", "")
    if kind in "iu" and max(statistics.max.max(), -statistics.min.min()) > MAX_EXACT:
        column = int(np.argmax(np.maximum(statistics.max, -statistics.min)))
        found = (
            f"column {column} (counted from 0) holds integers beyond 2**53, which are rounded: subtract an offset first"
        )
    elif statistics.n > 1 and statistics.constant(source.dtype).all():
        found = "all columns are constant: pass rows that differ"
    else:
        return
    warnings.warn(found, DataWarning, stacklevel=user_level())


def check_binary(
    visible: str | Unit, source: RowSource, binarize: str | None, own: tuple[Array, Array] | None = None
) -> None:
    """Refuse rows that, scaled by a map, cannot be taken as probabilities, where they are to be binarised."""
    if binarize is None:
        return
    if visible == GROUPS or (visible != "auto" and not get_unit(visible).enumerable):
        raise SettingError(
            Mention("binarize", binarize), " needs Bernoulli visible units, got ", Mention("visible", visible)
        )
    check_domain(source, get_unit(AUTOMATIC[0]), own)


def _grouped(source: RowSource, statistics: ColumnStatistics, communicator: Communicator, scale: str) -> Unit:
    """Return softmax units for the one-hot groups among the columns, and for each other column the type it admits."""
    if communicator is not SINGLE_PROCESS or scale != "none":
        where = "rows in this process" if communicator is not SINGLE_PROCESS else Mention("scale", "none")
        raise SettingError(Mention("visible", "groups"), " needs ", where, ": name the groups, such as 'softmax:3,3,2'")
    found = one_hot_groups(source, tell=True)
    if not found:
        message = "no group of columns is one-hot in all rows: each column is a separate unit"
        warnings.warn(DataWarning(message), stacklevel=user_level())
    grouped = {i: s for s in found for i in range(s.start, s.stop)}
    parts: list[tuple[Unit, int]] = []
    for i, (low, high) in enumerate(zip(statistics.min, statistics.max, strict=True)):
        if i not in grouped:
            names = (name for name in AUTOMATIC if get_unit(name).admits(np.array([low]), np.array([high])))
            parts.append((get_unit(next(names)), 1))
        elif grouped[i].start == i:
            size = grouped[i].stop - i
            parts.append((get_unit(f"softmax:{size}"), size))
    return joined(iter(parts))


def choose_visible(
    visible: str | Unit, source: RowSource, communicator: Communicator = SINGLE_PROCESS, scale: str = "none", *,
    missing: bool = False,
) -> tuple[Unit, Array | None, Array | None, Array]:  # fmt: skip
    """Return (visible type, mean, scale, smoothed column means) for training on these rows.

    ``"auto"`` is Bernoulli where all values, scaled as ``scale`` says, lie in [0, 1], else Gaussian. ``"groups"`` has a
    softmax group for each one-hot group of columns, and decides on the other columns one by one. Gaussian units
    standardise each column; constant columns keep scale 1. Mean and scale are those of the map as a whole.
    With ``missing`` NaN marks a missing value, which is ignored.

    Raises
    ------
    DataError
        If a value is not finite or cannot belong to the type; the message names its row and column.
    """
    whole = communicator.statistics(column_statistics(source, missing=missing))
    own, dtype, n = column_map(scale, source, whole), source.dtype, whole.counts
    statistics = whole if own is None else whole.scaled(*own)
    if visible == GROUPS:
        visible = _grouped(source, whole, communicator, scale)
    unit = get_unit(_automatic(statistics, dtype) if visible == "auto" else visible)
    if visible == "auto" and not unit.discrete:
        _warn_of_codes(statistics, dtype)
    _warn_of_constants(source, whole)
    unit.check_visible(len(statistics.min))
    if not unit.admits(statistics.min, statistics.max):
        check_domain(source, unit, own, missing=missing, finite=True)  # names the row and the column
    smoothed = smoothed_means(unit, statistics.mean, n).astype(dtype)
    if unit.standardises:
        by_column, others = unit.standardised(len(smoothed)), (0.0, 1.0) if own is None else own
        spread = np.where(whole.constant(dtype) | ~by_column, others[1], np.sqrt(whole.var))
        mean = np.where(by_column, whole.mean, others[0])
        return unit, mean.astype(dtype), spread.astype(dtype), np.where(by_column, 0, smoothed).astype(dtype)
    if own is None:
        return unit, None, None, smoothed
    return unit, own[0].astype(dtype), own[1].astype(dtype), smoothed


def initial_weights(
    n_hidden: int, visible: Unit, hidden: Unit, mean: Array | None, scale: Array | None,
    visible_mean: Array, *, seed: int, layer: int,
    sparsity_target: float | None = None, is_model: bool = True,
) -> Weights:  # fmt: skip
    """Return weights drawn from N(0, 0.01**2) and visible biases that fit the column means.

    Hidden biases are 0, or the logit of the sparsity target: units then start at the target sparsity. Layers
    that are not models of the data, but learn by backpropagation, start from wider weights: those of Glorot and Bengio
    (2010), four times as wide for logistic units, or of He et al. (2015) for rectified ones.
    """
    n_visible, dtype = len(visible_mean), visible_mean.dtype
    rng = host_rng(seed, layer, "weights")
    if is_model:
        W = np.empty((n_visible, n_hidden), dtype)
        for start in range(0, n_visible, DRAWN_ROWS):  # a float64 array of all of them is slow to allocate
            part = W[start : start + DRAWN_ROWS]
            part[...] = rng.normal(0, 0.01, part.shape)
    else:
        limit = get_activation(hidden.activation).initial_limit(n_visible, n_hidden)
        W = rng.uniform(-limit, limit, (n_visible, n_hidden)).astype(dtype)
    bias = 0.0 if sparsity_target is None else np.log(sparsity_target / (1 - sparsity_target))
    return Weights(
        W, visible.initial_bias(visible_mean).astype(dtype), np.full(n_hidden, bias, dtype), visible.spec, hidden.spec,
        mean, scale, visible_mean,
    )  # fmt: skip

"""Settings of one layer, what ``"auto"`` means in them, and the weights that training starts from."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deepbelief.activations import get_activation
from deepbelief.communicator import SINGLE_PROCESS, Communicator
from deepbelief.components import Component, chosen_components
from deepbelief.errors import DataWarning, SettingError, user_level
from deepbelief.gradients import GradientEstimator, get_gradient
from deepbelief.optimizers import Optimizer, get_optimizer
from deepbelief.schedules import Schedule, get_schedule
from deepbelief.seeds import host_rng
from deepbelief.sources import ColumnStatistics, RowSource, check_domain, column_map, column_statistics
from deepbelief.stack import Weights
from deepbelief.units import Unit, get_unit

# The first updates move all hidden units that are on alike: a visible unit's input moves by rate x active units x
# error, its mean by that times its slope p (1 - p). At a rate of 0.1 and momentum 0.9, more than this swings up.
# Many more hidden than visible units of whatever type do so too, by the root of their ratio: at 256 on the 4 columns of
# iris, scaled to [0, 1], the error is least at a rate of 0.01 (0.004 standardised), and swings up at 0.03.
LARGEST_GAIN = 16.0
MIN_COLUMN = 1e-5  # largest value of a column whose values may be probabilities
MIN_TABLE = 1e-2  # largest value of a table whose values may be probabilities
MIN_CODED_ROWS = 10  # rows from which on columns of two values are remarkable
AUTOMATIC = ("bernoulli", "gaussian")  # visible types that "auto" chooses from: the first that admits the rows
NARROWEST = 2.0  # root of the hidden units for each visible one beyond which the rate is lowered
USUAL_SLOPE = LARGEST_GAIN / 250  # where the slope is not known: 250 active units are then the limit


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
    missing: bool = False
    """Whether values of the rows are missing."""

    @property
    def all_components(self) -> tuple[Component, ...]:
        """Components that the settings ask for, and those that are given."""
        return chosen_components(self)

    @property
    def is_model(self) -> bool:
        """Whether the layer is trained as a model of its data."""
        return get_gradient(self.gradient, 1).is_model

    def resolve(
        self, n_rows: int, n_visible: int, n_hidden: int, visible_mean: np.ndarray[Any, Any] | None = None
    ) -> "RBMSettings":
        """Return the same settings with every ``"auto"`` but the visible type replaced by what it means here."""
        visible, hidden = get_unit(self.visible), get_unit(self.hidden)
        gradient = get_gradient(self.gradient, self.gibbs_steps)
        if self.missing and not gradient.is_model:
            raise SettingError("missing values (NaN) need pretraining='rbm', which models them; else fill them in")
        for component in self.all_components:
            if component.needs_model and not gradient.is_model:
                raise SettingError(f"{component.name!r} is for gradients of RBMs, not for denoising autoencoders")
            component.check(visible, hidden, gradient)
        solver = get_optimizer(self.solver, nesterov=self.nesterov)
        batch_size = int(np.clip(n_rows // 50, 10, 100)) if self.batch_size == "auto" else int(self.batch_size)
        updates = -(-n_rows // batch_size)
        n_iter = int(np.clip(round(6000 / updates), 5, 100)) if self.n_iter == "auto" else int(self.n_iter)
        rate = self.learning_rate
        if rate == "auto" and solver.rate is not None:
            rate = solver.rate
        elif rate == "auto":
            active = n_hidden * (0.5 if self.sparsity_target is None else self.sparsity_target)
            rate = min(visible.visible_rate(n_visible), hidden.rate)
            slope = None if visible_mean is None else visible.mean_slope(visible_mean)
            rate *= min(1.0, LARGEST_GAIN / (active * (USUAL_SLOPE if slope is None else slope + 1e-12)))
            rate *= min(1.0, NARROWEST * (n_visible / n_hidden) ** 0.5)
        schedule = gradient.schedule if self.schedule == "auto" else self.schedule
        momentum = gradient.momentum if self.momentum == "auto" else self.momentum
        return replace(
            self, visible=visible, hidden=hidden, gradient=gradient, batch_size=batch_size, n_iter=n_iter,
            n_chains=batch_size if self.n_chains == "auto" else int(self.n_chains), learning_rate=float(rate),
            schedule=get_schedule(schedule), momentum=momentum, solver=solver,
        )  # fmt: skip


def _automatic(statistics: ColumnStatistics, dtype: Any) -> str:
    """Return the name of the visible type for rows with these statistics.

    Columns far below 1 are quantities in a large unit, not probabilities that hardly differ from 0.
    """
    largest = np.maximum(np.abs(statistics.min), np.abs(statistics.max))[~statistics.constant(dtype)]
    tiny = largest.size and (largest.min() < MIN_COLUMN or largest.max() < MIN_TABLE)
    names = AUTOMATIC[1:] if tiny else AUTOMATIC
    return next(name for name in names if get_unit(name).admits(statistics.min, statistics.max))


def _warn_of_codes(statistics: ColumnStatistics, dtype: Any) -> None:
    """Warn of tables of two-valued columns that are taken as real values."""
    varied = ~statistics.constant(dtype)
    if statistics.n < MIN_CODED_ROWS or not varied.any() or not statistics.two_valued(dtype)[varied].all():
        return
    low, high = statistics.min[varied], statistics.max[varied]
    same = bool((low == low[0]).all() and (high == high[0]).all())
    if not same and any((ends != np.rint(ends)).any() for ends in (low, high)):
        return  # standardised on purpose
    values = f"the two values {low[0]:g} and {high[0]:g}" if same else "two values each"
    message = (
        f"all columns hold {values}: as real values they get Gaussian units, and likelihoods are densities; "
        "scale='minmax' (--scale minmax) maps them to 0 and 1"
    )
    warnings.warn(DataWarning(message, symptom="two-values"), stacklevel=user_level())


def check_binary(
    visible: str | Unit, source: RowSource, binarize: str | None, own: tuple[Any, Any] | None = None
) -> None:
    """Refuse rows that, scaled by a map, cannot be taken as probabilities, where they are to be binarised."""
    if binarize is None:
        return
    if visible != "auto" and not get_unit(visible).enumerable:
        raise SettingError(f"binarize={binarize!r} needs Bernoulli visible units, got visible={visible!r}")
    check_domain(source, get_unit(AUTOMATIC[0]), own)


def choose_visible(
    visible: str | Unit, source: RowSource, communicator: Communicator = SINGLE_PROCESS, scale: str = "none", *,
    missing: bool = False,
) -> tuple[Unit, Any, Any, Any]:  # fmt: skip
    """Return (visible type, mean, scale, smoothed column means) for training on these rows.

    ``"auto"`` is Bernoulli where all values, scaled as ``scale`` says, lie in [0, 1], else Gaussian. Gaussian units
    standardise each column; constant columns keep scale 1. Mean and scale are those of the map as a whole.
    With ``missing`` NaN is a missing value, which does not count.

    Raises
    ------
    DataError
        If a value is not finite or cannot belong to the type; the message names its row and column.
    """
    whole = communicator.statistics(column_statistics(source, missing=missing))
    own, dtype, n = column_map(scale, source, whole), source.dtype, whole.counts
    statistics = whole if own is None else whole.scaled(*own)
    unit = get_unit(_automatic(statistics, dtype) if visible == "auto" else visible)
    if visible == "auto" and not unit.discrete:
        _warn_of_codes(statistics, dtype)
    unit.check_visible(len(statistics.min))
    if not unit.admits(statistics.min, statistics.max):
        check_domain(source, unit, own, missing=missing)  # names the row and the column
    if unit.standardises:
        spread = np.where(whole.constant(dtype), 1.0 if own is None else own[1], np.sqrt(whole.var))
        return unit, whole.mean.astype(dtype), spread.astype(dtype), np.zeros(len(spread), dtype)
    smoothed = ((statistics.mean * n + 1) / (n + 2)).astype(dtype)
    if own is None:
        return unit, None, None, smoothed
    return unit, own[0].astype(dtype), own[1].astype(dtype), smoothed


def initial_weights(
    n_hidden: int, visible: Unit, hidden: Unit, mean: Any, scale: Any, visible_mean: Any, *, seed: int, layer: int,
    sparsity_target: float | None = None, is_model: bool = True,
) -> Weights:  # fmt: skip
    """Return weights drawn from N(0, 0.01**2) and visible biases that fit the column means.

    Hidden biases are 0, or the logit of the sparsity target: units then start at the target sparsity. Layers
    that are no model of the data, but learn by backpropagation, start from wider weights: those of Glorot and Bengio
    (2010), four times as wide for logistic units, or of He et al. (2015) for rectified ones.
    """
    n_visible, dtype = len(visible_mean), visible_mean.dtype
    rng = host_rng(seed, layer, "weights")
    if is_model:
        W = rng.normal(0, 0.01, (n_visible, n_hidden)).astype(dtype)
    else:
        limit = get_activation(hidden.activation).initial_limit(n_visible, n_hidden)
        W = rng.uniform(-limit, limit, (n_visible, n_hidden)).astype(dtype)
    bias = 0.0 if sparsity_target is None else np.log(sparsity_target / (1 - sparsity_target))
    return Weights(
        W, visible.initial_bias(visible_mean).astype(dtype), np.full(n_hidden, bias, dtype), visible.spec, hidden.spec,
        mean, scale, visible_mean,
    )  # fmt: skip

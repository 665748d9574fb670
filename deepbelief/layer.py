"""Training of one layer: its settings, its initial weights, and the task that the epoch loop runs."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from deepbelief.activations import get_activation
from deepbelief.backends import Backend, Rng
from deepbelief.errors import DivergenceError
from deepbelief.gradients import GradientEstimator, PhaseBuffers, get_gradient
from deepbelief.health import idle_shares, update_ratio
from deepbelief.machine import Machine, Workspace
from deepbelief.optimizers import SGD
from deepbelief.schedules import Schedule, get_schedule, momentum_at
from deepbelief.seeds import host_rng, stream
from deepbelief.sources import ColumnStatistics, RowSource, blocks, check_unit_interval, column_statistics
from deepbelief.stack import Weights
from deepbelief.training import BLOCK_ROWS, Record, Reporter, Rows, run_epochs
from deepbelief.units import Softmax, Unit, get_unit, named_unit

DeviceArray = Any

MONITOR_ROWS = 1000
ROUNDING = 1e-6
ACTIVITY_DECAY = 0.95  # of the running mean that sparsity looks at
# The first updates move all hidden units that are on alike: a visible unit's input moves by rate x active units x
# error, its mean by that times its slope p (1 - p). At a rate of 0.1 and momentum 0.9, more than this swings up.
# Many more hidden than visible units do so too: 256 on the 13 columns of wine, at a rate of 0.05 but not of 0.03.
LARGEST_GAIN = 16.0
USUAL_SLOPE = LARGEST_GAIN / 250  # where the slope is not known: 250 active units are then the limit
LARGEST_INPUT = 1e4  # a hidden input beyond this means that the run has diverged


@dataclass(frozen=True)
class RBMSettings:
    """Settings of one layer, as the estimators spell them; ``"auto"`` is resolved against the rows."""

    visible: str | Unit = "auto"
    hidden: str | Unit = "bernoulli"
    gradient: str | GradientEstimator = "cd"
    gibbs_steps: int = 1
    learning_rate: float | str = "auto"
    schedule: str | Schedule = "auto"
    momentum: float | str = "auto"
    nesterov: bool = False
    weight_decay: float = 2e-4
    batch_size: int | str = "auto"
    n_iter: int | str = "auto"
    sparsity_target: float | None = None
    sparsity_cost: float = 0.3

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
        batch_size = int(np.clip(n_rows // 50, 10, 100)) if self.batch_size == "auto" else int(self.batch_size)
        updates = -(-n_rows // batch_size)
        n_iter = int(np.clip(round(6000 / updates), 5, 100)) if self.n_iter == "auto" else int(self.n_iter)
        rate = self.learning_rate
        if rate == "auto":
            active = n_hidden * (0.5 if self.sparsity_target is None else self.sparsity_target)
            rate = min(visible.visible_rate(n_visible), hidden.rate)
            rate *= min(1.0, LARGEST_GAIN / (active * _slope(visible, visible_mean)))
            if visible.spec == "bernoulli":
                rate *= min(1.0, 4 * n_visible / n_hidden)
        schedule = gradient.schedule if self.schedule == "auto" else self.schedule
        momentum = gradient.momentum if self.momentum == "auto" else self.momentum
        return replace(
            self, visible=visible, hidden=hidden, gradient=gradient, batch_size=batch_size, n_iter=n_iter,
            learning_rate=float(rate), schedule=get_schedule(schedule), momentum=momentum,
        )  # fmt: skip


def _within_unit_interval(statistics: ColumnStatistics) -> bool:
    """Tell whether all values lie in [0, 1], up to the rounding of whoever scaled them."""
    return bool(statistics.min.min() >= -ROUNDING and statistics.max.max() <= 1 + ROUNDING)


def _slope(visible: Unit, mean: np.ndarray[Any, Any] | None) -> float:
    """Return the mean slope of Bernoulli visible units at their column means."""
    if visible.spec != "bernoulli" or mean is None:
        return USUAL_SLOPE
    return float(np.mean(mean * (1 - mean))) + 1e-12


def choose_visible(visible: str | Unit, source: RowSource) -> tuple[Unit, Any, Any, Any]:
    """Return (visible type, mean, scale, smoothed column means) for training on these rows.

    ``"auto"`` is Bernoulli where all values lie in [0, 1], else Gaussian. Gaussian units standardise each
    column; constant columns keep scale 1.

    Raises
    ------
    DataError
        If a value is not finite or cannot belong to the type; the message names its row and column.
    """
    statistics = column_statistics(source)
    if visible == "auto":
        visible = "bernoulli" if _within_unit_interval(statistics) else "gaussian"
    unit = get_unit(visible)
    if unit.spec == "bernoulli" and not _within_unit_interval(statistics):
        check_unit_interval(source)  # names the row and the column
    elif unit.spec != "bernoulli":
        unit.check_rows(statistics.min, statistics.max)
    if isinstance(unit, Softmax):
        start = 0
        for block in blocks(source):
            unit.check_block(block, start)
            start += len(block)
    dtype = source.dtype
    n = source.shape[0]
    if unit.spec == "gaussian":
        deviation = np.sqrt(statistics.var)
        # A column that is constant up to rounding has no scale of its own.
        constant = deviation <= 1e-7 * np.maximum(1.0, np.abs(statistics.mean))
        scale = np.where(constant, 1.0, deviation)
        return unit, statistics.mean.astype(dtype), scale.astype(dtype), np.zeros(len(scale), dtype)
    smoothed = (statistics.mean * n + 1) / (n + 2)
    return unit, None, None, smoothed.astype(dtype)


def initial_weights(
    n_hidden: int, visible: Unit, hidden: Unit, mean: Any, scale: Any, visible_mean: Any, *, seed: int, layer: int,
    sparsity_target: float | None = None, is_model: bool = True,
) -> Weights:  # fmt: skip
    """Return weights drawn from N(0, 0.01**2) and visible biases that fit the column means.

    Hidden biases are 0, or the logit of the sparsity target: units then start as sparse as they shall be. Layers
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


@dataclass
class LayerState:
    """What the next update of a layer reads beside its weights, as host values."""

    velocities: list[np.ndarray[Any, Any]] = field(default_factory=list)
    chains: np.ndarray[Any, Any] | None = None
    activity: np.ndarray[Any, Any] | None = None  # running mean of each hidden unit, where sparsity is asked for
    epochs: int = 0  # epochs done
    updates: int = 0  # updates done


class LayerTrainer:
    """Trains one machine; keeps velocities, chains and counters from pass to pass."""

    finished = False

    def __init__(
        self, weights: Weights, settings: RBMSettings, bk: Backend, *, seed: int, layer: int, horizon: int,
        state: LayerState | None = None,
    ) -> None:  # fmt: skip
        named_unit(settings.hidden)
        self.bk = bk
        self.machine = Machine(weights, bk)
        self.settings = settings
        self.seed, self.layer, self.horizon = seed, layer, horizon
        self.buffers = PhaseBuffers(bk, self.machine)
        self.optimizer = SGD(settings.nesterov)
        self.velocities = self.optimizer.start(bk, self.machine.params)
        self.state = LayerState() if state is None else replace(state)  # a copy: counters move
        for velocity, kept in zip(self.velocities, self.state.velocities, strict=False):
            velocity[...] = bk.asarray(kept)
        self.estimator: GradientEstimator = settings.gradient  # type: ignore[assignment]
        self.chains: DeviceArray = None
        self.activity: DeviceArray = None
        if settings.sparsity_target is not None:
            self.buffers.activity = bk.xp.zeros_like(self.machine.hbias)
            self.activity = bk.xp.full_like(self.machine.hbias, settings.sparsity_target)
            if self.state.activity is not None:
                self.activity[...] = bk.asarray(self.state.activity)
        self._visible_mean = None if weights.visible_mean is None else bk.asarray(weights.visible_mean)
        self.good: Weights | None = weights if self.state.epochs else None
        self.diverged = ""

    def train(
        self,
        rows: Rows,
        held_out: Rows | None,
        epochs: range,
        reporter: Reporter,
        *,
        shuffle: bool = True,
        **labels: Any,
    ) -> list[Record]:
        """Train for some epochs and return their records, each with ``labels`` in it."""
        self._rows, self._n_rows = rows, len(rows)
        self._labels = labels
        self._watch(rows, held_out)
        self._start_chains()
        history = run_epochs(
            self, len(rows), bk=self.bk, epochs=epochs, horizon=self.horizon, batch_size=int(self.settings.batch_size),
            seed=self.seed, key=(self.layer,), reporter=reporter, shuffle=shuffle,
        )  # fmt: skip
        del self._rows  # a stack would else keep the rows of all its layers
        return history

    def _start_chains(self) -> None:
        if self.chains is not None:
            return
        if self.state.chains is not None:
            self.chains = self.bk.asarray(self.state.chains.copy())
            return
        rng = self.bk.rng(stream(self.seed, self.layer, self.state.epochs, "chains"))
        self.chains = self.estimator.start(self.machine, int(self.settings.batch_size), rng)

    def _watch(self, rows: Rows, held_out: Rows | None) -> None:
        """Choose the fixed rows that are judged after each epoch."""
        n = len(rows)
        size = min(MONITOR_ROWS, max(100, n // 100), n)  # a hundredth of an epoch's work
        self._monitor = rows.some(np.sort(host_rng(self.seed, self.layer, "monitor").permutation(n)[:size]))
        # By their own means, or by those that the layer was started with, whichever is further: the rows of a
        # `partial_fit` may be alike. A handful of rows says nothing.
        centres = [self._monitor.mean(axis=0)] + ([] if self._visible_mean is None else [self._visible_mean])
        spreads = [self.bk.xp.square(self._monitor - centre).sum(axis=1).mean() for centre in centres]
        far = max(float(self.bk.to_numpy(spread)) for spread in spreads)
        self._baseline = far if size >= 10 else float("inf")
        self._held_out = self._compared = None
        if held_out is not None and self.machine.hidden.tractable:
            size = min(MONITOR_ROWS, len(held_out), n)
            self._held_out = held_out.some(np.arange(size))
            self._compared = rows.some(np.sort(host_rng(self.seed, self.layer, "compared").permutation(n)[:size]))

    def begin_epoch(self, epoch: int, order: np.ndarray[Any, np.dtype[np.intp]]) -> None:
        """Shuffle the rows and set the epoch's momentum."""
        self._rows.begin(order)
        self._momentum = momentum_at(self.settings.momentum, epoch, self.horizon)

    def update(self, start: int, stop: int, position: float, rng: Rng) -> None:
        """Make one update with the rows at these places of the order."""
        n = stop - start
        n_negative = n if self.chains is None else len(self.chains)
        v = self.buffers.visible(n + n_negative)
        self._rows.batch(start, stop, v[:n])
        self.buffers.sparse = self._rows.sparse(start, stop)
        self.step(n, position, rng)

    def step(self, n: int, position: float, rng: Rng) -> None:
        """Make one update with the first ``n`` rows of the visible buffer."""
        settings = self.settings
        self._rate = float(settings.learning_rate) * settings.schedule(position)  # type: ignore[operator]
        grads = self.estimator(self.machine, self.buffers, n, int(settings.batch_size), self.chains, rng)
        if self.activity is not None:
            self._encourage_sparsity(grads[2])
        rates, decays = (self._rate,) * 3, (settings.weight_decay, 0.0, 0.0)
        self.optimizer.step(self.bk, self.machine.params, grads, self.velocities, rates, self._momentum, decays)
        self.state.updates += 1

    def _encourage_sparsity(self, hbias_grad: DeviceArray) -> None:
        """Push each hidden bias so that its unit's running mean nears the target (Hinton 2010, section 11)."""
        self.activity *= ACTIVITY_DECAY
        self.activity += (1 - ACTIVITY_DECAY) * self.buffers.activity
        hbias_grad += self.settings.sparsity_cost * (self.activity - self.settings.sparsity_target)

    def end_epoch(self, epoch: int) -> Record:
        """Judge the fixed rows; on divergence go back to the last good epoch and stop."""
        self.state.epochs = epoch + 1
        record: Record = dict(self._labels)
        largest, seen = self._look()
        error = seen["reconstruction_error"]
        record |= seen | {"free_energy_gap": self._free_energy_gap()}
        record |= {"learning_rate": self._rate, "momentum": self._momentum}
        weights = self.machine.weights()
        reason = self._divergence(weights, error, largest)
        if reason:
            self._fall_back(epoch, reason)
            record["diverged"] = self.diverged
        else:
            self.good = weights
        return record

    def _look(self) -> tuple[float, Record]:
        """Return the largest hidden input of the monitored rows, and what the record tells of them.

        That is the summed squared error per row, the size of the last update, and the hidden units that are alike for
        all rows (of Bernoulli units only).
        """
        xp = self.bk.xp
        machine = self.machine
        x = self._monitor @ machine.W
        largest = xp.abs(x + machine.hbias).max()
        h = machine.hidden.mean(self.bk, x, machine.hbias)
        error = xp.square(machine.mean_visible(h) - self._monitor).sum(axis=1).mean()
        ratio = update_ratio(self.bk, self.velocities[0], machine.W)
        shares = idle_shares(self.bk, h) if machine.hidden.spec == "bernoulli" else ()
        # One transfer for all of them.
        numbers = [
            float(n)
            for n in self.bk.to_numpy(xp.stack([x.astype(error.dtype) for x in (largest, error, ratio, *shares)]))
        ]
        names = ("reconstruction_error", "update_ratio", "never_on", "always_on")
        return numbers[0], dict.fromkeys(names) | dict(zip(names, numbers[1:], strict=False))

    def _free_energy_gap(self) -> float | None:
        if self._held_out is None:
            return None
        gap = self.machine.free_energy(self._held_out).mean() - self.machine.free_energy(self._compared).mean()
        return float(self.bk.to_numpy(gap))

    def _divergence(self, weights: Weights, error: float, largest: float) -> str:
        """Say why the run has diverged, or nothing."""
        if not all(np.isfinite(a).all() for a in (weights.W, weights.vbias, weights.hbias)) or not np.isfinite(error):
            return "weights are no longer finite"
        if largest > LARGEST_INPUT:
            return f"hidden inputs reached {largest:.3g}"
        # What is no model starts from wide weights and may well need its time.
        if self.estimator.is_model and error > 2 * self._baseline + 0.01 * weights.n_visible:
            return f"rows are reconstructed worse ({error:.4g}) than by their column means ({self._baseline:.4g})"
        if weights.visible == weights.hidden == "gaussian" and np.linalg.norm(weights.W, 2) >= 1:
            return "Gaussian-Gaussian weights reached spectral norm 1, where the energy has no minimum"
        return ""

    def _fall_back(self, epoch: int, reason: str) -> None:
        rate = float(self.settings.learning_rate)
        self.diverged = (
            f"layer {self.layer + 1} diverged in epoch {epoch + 1}: {reason}; try learning_rate={rate / 10:.3g} "
            f"(it was {rate:.3g})"
        )
        self.finished = True
        if self.good is None:
            raise DivergenceError(self.diverged)
        for param, kept in zip(self.machine.params, (self.good.W, self.good.vbias, self.good.hbias), strict=True):
            param[...] = self.bk.asarray(kept)
        # Velocities and chains have diverged too: a later run must not start from them.
        for velocity in self.velocities:
            velocity[...] = 0
        rng = self.bk.rng(stream(self.seed, self.layer, epoch, "fresh chains"))
        self.chains = self.estimator.start(self.machine, int(self.settings.batch_size), rng)

    def export_state(self) -> LayerState:
        """Return what the next update reads beside the weights, as host values."""
        to_numpy = self.bk.to_numpy
        chains = None if self.chains is None else to_numpy(self.chains).copy()
        velocities = [to_numpy(v).copy() for v in self.velocities]
        activity = None if self.activity is None else to_numpy(self.activity).copy()
        return replace(self.state, velocities=velocities, chains=chains, activity=activity)

    def negative_states(self, seed: int) -> np.ndarray[Any, Any]:
        """Return hidden states of the last negative phase: the chains, or a draw for those that do not persist."""
        if self.chains is not None:
            return self.bk.to_numpy(self.chains).copy()
        n = min(int(self.settings.batch_size), self._n_rows)  # rows of the largest minibatch there was
        # What a diverged run left behind may not be finite, and what is no model has no negative phase: rows that
        # are watched then stand in.
        there = self.estimator.is_model and self.state.updates and not self.diverged
        v = self.buffers.visible(2 * n)[n:] if there else self._monitor[:n]
        h = self.machine.sample_hidden(
            v, self.bk.rng(stream(seed, self.layer, "states")), self.bk.xp.empty_like(v @ self.machine.W)
        )
        return self.bk.to_numpy(h).copy()

    def represent(self, rows: Rows) -> Rows:
        """Return the hidden means of these rows, kept on the device; rows that are its own are used up."""
        out = rows.room(self.machine.W.shape[1])
        space = Workspace(self.bk, self.machine.dtype)  # the memory written to may be that read from
        for start, stop, block in rows.blocks(BLOCK_ROWS, sparse=True):
            out[start:stop] = self.machine.mean_hidden(block, out=space("h", stop - start, out.shape[1]))
        return Rows(out, self.bk, self.machine.dtype, own=True)

"""Training of one layer: what it keeps from update to update, and the task that the epoch loop runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from deepbelief.backends import Backend, Rng
from deepbelief.checkpoints import NO_KEEPER, Keeper
from deepbelief.errors import DivergenceError, SettingError
from deepbelief.gradients import GradientEstimator, LogVariance, Persistent, PhaseBuffers
from deepbelief.health import idle_shares, update_ratio
from deepbelief.machine import Machine
from deepbelief.optimizers import SGD, Average
from deepbelief.peers import ALONE, Peers
from deepbelief.rows import Index, WindowedOrder
from deepbelief.schedules import momentum_at, steps_at
from deepbelief.seeds import host_rng, stream
from deepbelief.settings import RBMSettings, choose_visible, initial_weights
from deepbelief.stack import State, Weights
from deepbelief.training import Record, Reporter, Rows, run_epochs
from deepbelief.units import named_unit

DeviceArray = Any

MONITOR_ROWS = 1000
ACTIVITY_DECAY = 0.95  # of the running mean that sparsity looks at
LARGEST_INPUT = 1e4  # a hidden input beyond this means that the run has diverged


@dataclass
class LayerState:
    """What the next update of a layer reads beside its weights, as host values."""

    velocities: list[np.ndarray[Any, Any]] = field(default_factory=list)
    chains: np.ndarray[Any, Any] | None = None
    activity: np.ndarray[Any, Any] | None = None  # running mean of each hidden unit, where sparsity is asked for
    offset: np.ndarray[Any, Any] | None = None  # what hidden units are centred by
    fast: list[np.ndarray[Any, Any]] = field(default_factory=list)  # fast weights of FPCD
    average: list[np.ndarray[Any, Any]] = field(default_factory=list)  # mean of the parameters so far
    averaged: int = 0  # updates in that mean
    log_variance: np.ndarray[Any, Any] | None = None  # what was learned since the rows were last scaled by it
    epochs: int = 0  # epochs done
    updates: int = 0  # updates done


class LayerTrainer:
    """Trains one machine; keeps velocities, chains and counters from pass to pass."""

    finished = False

    def __init__(
        self, weights: Weights, settings: RBMSettings, bk: Backend, *, seed: int, layer: int, horizon: int,
        state: LayerState | None = None, peers: Peers = ALONE,
    ) -> None:  # fmt: skip
        named_unit(settings.hidden)
        self.bk = bk
        self.machine = Machine(weights, bk)
        self.settings = settings
        self.seed, self.layer, self.horizon, self.peers = seed, layer, horizon, peers
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
        if settings.centered:
            self._centre()
        if self.state.fast:
            self.buffers.fast = [bk.asarray(a.copy()) for a in self.state.fast]
        self.average = Average(bk, self.machine.params) if settings.averaging else None
        if self.average is not None and self.state.averaged:
            self.average.mean, self.average.n = [bk.asarray(a.copy()) for a in self.state.average], self.state.averaged
        self.spread = LogVariance(self.machine) if settings.learn_variance else None
        if self.spread is not None and self.state.log_variance is not None:
            self.spread.set(bk.asarray(self.state.log_variance))
        self._scale_before: np.ndarray[Any, Any] | None = None
        self._row_factor: DeviceArray = None  # between rows as they were scaled before training and as they are now
        self.good: Weights | None = weights if self.state.epochs else None
        self._good_variance: DeviceArray = None if self.spread is None else self.spread.value.copy()
        self.diverged: DivergenceError | None = None
        self._rate = 0.0
        self._largest = 0  # rows in the largest minibatch of these epochs

    def train(
        self,
        rows: Rows,
        held_out: Rows | None,
        epochs: range,
        reporter: Reporter,
        *,
        shuffle: bool = True,
        keeper: Keeper = NO_KEEPER,
        **labels: Any,
    ) -> list[Record]:
        """Train for some epochs and return their records, each with ``labels`` in it."""
        self._rows = rows
        self._labels = labels
        self._largest = min(int(self.settings.batch_size), len(rows))
        self._row_factor = None
        self._watch(rows, held_out)
        self._start_chains()
        history = run_epochs(
            self, len(rows), bk=self.bk, epochs=epochs, horizon=self.horizon, batch_size=int(self.settings.batch_size),
            seed=self.seed, key=(self.layer,), reporter=reporter, shuffle=shuffle, keeper=keeper,
            windows=rows.windows,
        )  # fmt: skip
        del self._rows  # a stack would else keep the rows of all its layers
        if len(history) < len(epochs):
            self._finish_average()  # the run was stopped before its end
        self._keep_variance()
        return history

    def _keep_variance(self) -> None:
        """Make what was learned of the variances a part of the rows' scale."""
        if self.spread is None:
            return
        scale, before = 1 / self.bk.to_numpy(self.spread.factor), self.machine.weights().scale
        self.machine.rescale(scale)
        self._row_factor = self.spread.factor.copy()
        self._scale_before = before
        self.spread.set(0.0)

    def weights_of_rows(self) -> Weights:
        """Return the weights with the scale by which the rows of the last training entered."""
        weights = self.machine.weights()
        return weights if self._row_factor is None else replace(weights, scale=self._scale_before)

    def _entering(self, v: DeviceArray) -> DeviceArray:
        """Return rows that are watched as they enter the machine."""
        return v if self.spread is None else v * self.spread.factor

    def _centre(self) -> None:
        """Start the offsets: the data's mean, and the hidden units' means given that, or those of an earlier run."""
        xp, machine = self.bk.xp, self.machine
        if not self.estimator.is_model:
            raise SettingError("centered=True is for gradients of RBMs, not for denoising autoencoders")
        if self._visible_mean is None:
            raise SettingError("centered=True needs the column means of the training rows, which these weights lack")
        start = machine.mean_hidden(self._visible_mean.reshape(1, -1))[0]
        hidden = start if self.state.offset is None else self.bk.asarray(self.state.offset.copy())
        self.buffers.offsets = self._visible_mean, hidden
        self._shift = xp.empty_like(machine.vbias), xp.empty_like(machine.hbias)

    def _start_chains(self) -> None:
        if self.chains is not None:
            return
        if self.state.chains is not None:
            self.chains = self.bk.asarray(self.state.chains.copy())
            return
        rng = self.bk.rng(stream(self.seed, self.layer, self.state.epochs, "chains"))
        self.chains = self.estimator.start(self.machine, int(self.settings.n_chains), rng)

    def _watch(self, rows: Rows, held_out: Rows | None) -> None:
        """Choose the fixed rows that are judged after each epoch."""
        n = len(rows)
        size = min(MONITOR_ROWS, max(100, n // 100), n)  # a hundredth of an epoch's work
        self._monitor = self._fixed(rows, size, "monitor")
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
            self._compared = self._fixed(rows, size, "compared")

    def _fixed(self, rows: Rows, size: int, name: str) -> DeviceArray:
        """Return some rows that stay what they are; those that are drawn anew in training are drawn once."""
        found = rows.drawn(size, host_rng(self.seed, self.layer, name))
        if self.settings.binarize != "resample":
            return found
        rng = self.bk.rng(stream(self.seed, self.layer, name, "binarize"))
        return rng.bernoulli(found, self.bk.xp.empty_like(found))

    def begin_epoch(self, epoch: int, order: Index | WindowedOrder) -> None:
        """Shuffle the rows and set the epoch's momentum."""
        self._rows.begin(order)
        self._momentum = momentum_at(self.settings.momentum, epoch, self.horizon)
        steps = self.settings.gradient.gibbs_steps  # type: ignore[union-attr]
        if isinstance(steps, tuple):
            self.estimator = replace(self.settings.gradient, gibbs_steps=steps_at(steps, epoch, self.horizon))  # type: ignore[type-var, assignment]

    def update(self, start: int, stop: int, position: float, rng: Rng) -> None:
        """Make one update with the rows at these places of the order."""
        n = stop - start
        n_negative = n if self.chains is None else len(self.chains)
        v = self.buffers.visible(n + n_negative)
        if self.settings.binarize == "resample":
            grey = self._rows.batch(start, stop, self.buffers.space("grey", n, v.shape[1]))
            rng.bernoulli(grey, v[:n])
        else:
            self._rows.batch(start, stop, v[:n])
            self.buffers.sparse = self._rows.sparse(start, stop) if self.spread is None else None
        if self.spread is not None:
            v[:n] *= self.spread.factor
        self.step(n, position, rng)
        for _ in range(self.peers.rounds(start, stop, len(self._rows), int(self.settings.batch_size))):
            self._meet(rng)

    def _meet(self, rng: Rng) -> None:
        """Take the mean over all peers for what they share; chains, which stay, settle in it."""
        shared = [*self.machine.params, *(self.velocities if self.peers.velocities else ())]
        shared += [] if self.buffers.offsets is None else [self.buffers.offsets[1]]
        shared += [] if self.activity is None else [self.activity]
        shared += [] if self.spread is None else [self.spread.value]
        self._take_means(shared)
        if self.spread is not None:
            self.spread.set(self.spread.value)
        if self.chains is not None and self.peers.settling:
            estimator = cast(Persistent, self.estimator)
            estimator.settle(self.machine, self.buffers, self.chains, self.peers.settling, rng)

    def _take_means(self, shared: Sequence[DeviceArray]) -> None:
        means = self.peers.mean([self.bk.to_numpy(array) for array in shared])
        for array, mean in zip(shared, means, strict=True):
            array[...] = self.bk.asarray(mean)

    def step(self, n: int, position: float, rng: Rng) -> None:
        """Make one update with the first ``n`` rows of the visible buffer."""
        settings = self.settings
        self._rate = float(settings.learning_rate) * settings.schedule(position)  # type: ignore[operator]
        batch_size = int(settings.batch_size)
        variance = None
        if self.spread is not None:
            variance = self.spread.gradient(self.machine, self.buffers, n, batch_size)
        grads = self.estimator(self.machine, self.buffers, n, batch_size, self.chains, rng)
        if self.activity is not None:
            self._encourage_sparsity(grads[2])
        rates, decays = (self._rate,) * 3, (settings.weight_decay, 0.0, 0.0)
        self._shift_biases(1)
        self.optimizer.step(self.bk, self.machine.params, grads, self.velocities, rates, self._momentum, decays)
        if settings.l1:
            self._shrink(self._rate * settings.l1)
        self._shift_biases(-1)
        if self.spread is not None:
            self.spread.step(variance, self._rate)
        if self.average is not None and position >= 1 - settings.averaging:
            self.average.add(self.buffers.room)
        self.state.updates += 1

    def _shrink(self, most: float) -> None:
        """Move each weight towards 0 by so much, and no further: W less what of it lies within +-most."""
        W = self.machine.W
        within = self.bk.xp.maximum(W, -most, out=self.buffers.space("shrunk", *W.shape))
        W -= self.bk.xp.minimum(within, most, out=within)

    def _shift_biases(self, sign: int) -> None:
        """Go over to the biases of centred units, b + W lambda and c + mu W, which a step moves beside W, or back."""
        if self.buffers.offsets is None:
            return
        machine, (visible, hidden), (above, below) = self.machine, self.buffers.offsets, self._shift
        for product, bias in (
            (self.bk.xp.matmul(machine.W, hidden, out=above), machine.vbias),
            (self.bk.xp.matmul(visible, machine.W, out=below), machine.hbias),
        ):
            product *= sign
            bias += product

    def _encourage_sparsity(self, hbias_grad: DeviceArray) -> None:
        """Push each hidden bias so that its unit's running mean nears the target (Hinton 2010, section 11)."""
        self.activity *= ACTIVITY_DECAY
        self.activity += (1 - ACTIVITY_DECAY) * self.buffers.activity
        hbias_grad += self.settings.sparsity_cost * (self.activity - self.settings.sparsity_target)

    def end_epoch(self, epoch: int) -> Record:
        """Judge the fixed rows; on divergence go back to the last good epoch and stop."""
        self.state.epochs = epoch + 1
        if self.state.epochs == self.horizon:
            self._finish_average()
        record: Record = dict(self._labels)
        largest, seen = self._look()
        error = seen["reconstruction_error"]
        record |= seen | {"free_energy_gap": self._free_energy_gap()}
        record |= {"learning_rate": self._rate, "momentum": self._momentum}
        weights = self.machine.weights()
        record, reason = self.peers.judged(record, self._divergence(weights, error, largest))
        if reason:
            self._fall_back(epoch, reason)
            record["diverged"] = str(self.diverged)
        else:
            self.good = weights
            self._good_variance = None if self.spread is None else self.spread.value.copy()
        return record

    def _finish_average(self) -> None:
        if self.average is None:
            return
        if self.average.n:
            self.average.finish()
        self._take_means(self.machine.params)

    def _look(self) -> tuple[float, Record]:
        """Return the largest hidden input of the monitored rows, and what the record tells of them.

        That is the summed squared error per row, the size of the last update, and the hidden units that are alike for
        all rows (of Bernoulli units only).
        """
        xp = self.bk.xp
        machine = self.machine
        rows = self._entering(self._monitor)
        x = rows @ machine.W
        largest = xp.abs(x + machine.hbias).max()
        h = machine.hidden.mean(self.bk, x, machine.hbias)
        rest = machine.mean_visible(h) - rows
        if self.spread is not None:
            rest /= self.spread.factor
        error = xp.square(rest).sum(axis=1).mean()
        ratio = update_ratio(self.bk, self.velocities[0], machine.W)
        shares = idle_shares(self.bk, h) if machine.hidden.unit_interval else ()
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
        held_out, compared = (self.machine.free_energy(self._entering(v)) for v in (self._held_out, self._compared))
        return float(self.bk.to_numpy(held_out.mean() - compared.mean()))

    def _divergence(self, weights: Weights, error: float, largest: float) -> str:
        """Say why the run has diverged, or nothing."""
        if not all(np.isfinite(a).all() for a in (weights.W, weights.vbias, weights.hbias)) or not np.isfinite(error):
            return "weights are no longer finite"
        if largest > LARGEST_INPUT:
            return f"hidden inputs reached {largest:.3g}"
        # What is no model starts from wide weights and may well need its time.
        if self.estimator.is_model and error > 2 * self._baseline + 0.01 * weights.n_visible:
            return f"rows are reconstructed worse ({error:.4g}) than by their column means ({self._baseline:.4g})"
        if weights.is_quadratic and np.linalg.norm(weights.W, 2) >= 1:
            return "Gaussian-Gaussian weights reached spectral norm 1, where the energy has no minimum"
        return ""

    def _fall_back(self, epoch: int, reason: str) -> None:
        rate = float(self.settings.learning_rate)
        self.diverged = DivergenceError(
            f"layer {self.layer + 1} diverged in epoch {epoch + 1}: {reason}; try {{setting}}={rate / 10:.3g} "
            f"(it was {rate:.3g})",
            setting="learning_rate", value=rate, layer=self.layer + 1, epoch=epoch + 1,
        )  # fmt: skip
        self.finished = True
        if self.good is None:
            raise self.diverged
        for param, kept in zip(self.machine.params, (self.good.W, self.good.vbias, self.good.hbias), strict=True):
            param[...] = self.bk.asarray(kept)
        # Velocities and chains have diverged too: a later run must not start from them.
        for moved in (*self.velocities, *(self.buffers.fast or ())):
            moved[...] = 0
        if self.buffers.offsets is not None:
            self._centre()
        if self.average is not None:
            self.average.n = 0
        if self.spread is not None:
            self.spread.set(0.0 if self._good_variance is None else self._good_variance)
        rng = self.bk.rng(stream(self.seed, self.layer, epoch, "fresh chains"))
        self.chains = self.estimator.start(self.machine, int(self.settings.n_chains), rng)

    def export_state(self) -> LayerState:
        """Return what the next update reads beside the weights, as host values."""
        to_numpy = self.bk.to_numpy
        chains = None if self.chains is None else to_numpy(self.chains).copy()
        velocities = [to_numpy(v).copy() for v in self.velocities]
        activity = None if self.activity is None else to_numpy(self.activity).copy()
        offset = None if self.buffers.offsets is None else to_numpy(self.buffers.offsets[1]).copy()
        fast = [to_numpy(a).copy() for a in self.buffers.fast or ()]
        learning = self.spread is not None and bool(np.any(to_numpy(self.spread.value)))
        log_variance = to_numpy(self.spread.value).copy() if learning else None  # type: ignore[union-attr]
        n = 0 if self.average is None else self.average.n
        average = [to_numpy(a).copy() for a in self.average.mean] if self.average is not None and n else []
        return replace(
            self.state, velocities=velocities, chains=chains, activity=activity, offset=offset, fast=fast,
            average=average, averaged=n, log_variance=log_variance,
        )  # fmt: skip

    def snapshot(self) -> State:
        """Return everything that the next update and the end of the epoch read; `taken_up` makes a trainer of it."""
        n = self._largest
        started = n and self.chains is None and self.estimator.is_model and self.state.updates
        return {
            "weights": vars(self.machine.weights()), "state": vars(self.export_state()), "horizon": self.horizon,
            "good": None if self.good is None else vars(self.good), "rate": self._rate,
            "row_factor": None if self._row_factor is None else self.bk.to_numpy(self._row_factor).copy(),
            "scale_before": self._scale_before,
            "good_variance": None if self._good_variance is None else self.bk.to_numpy(self._good_variance).copy(),
            # What the last negative phase left there is where sampling from the model begins.
            "negative": self.bk.to_numpy(self.buffers.visible(2 * n)[n:]).copy() if started else None,
        }  # fmt: skip

    def restore(self, state: State) -> None:
        """Take up what weights and `LayerState`, which a trainer is made from, do not have."""
        self.good = None if state["good"] is None else Weights(**state["good"])
        self._rate, self._scale_before = state["rate"], state["scale_before"]
        for name in ("row_factor", "good_variance"):
            setattr(self, f"_{name}", None if state[name] is None else self.bk.asarray(state[name]))
        if state["negative"] is not None:
            n = self._largest = len(state["negative"])
            self.buffers.visible(2 * n)[n:] = self.bk.asarray(state["negative"])

    def negative_states(self, seed: int) -> np.ndarray[Any, Any]:
        """Return hidden states of the last negative phase: the chains, or a draw for those that do not persist."""
        if self.chains is not None:
            return self.bk.to_numpy(self.chains[: int(self.settings.n_chains)]).copy()
        n = self._largest
        # What a diverged run left behind may not be finite, and what is no model has no negative phase: rows that
        # are watched then stand in.
        there = self.estimator.is_model and self.state.updates and not self.diverged
        v = self.buffers.negative(n) if there else self._monitor[:n]
        h = self.machine.sample_hidden(
            v, self.bk.rng(stream(seed, self.layer, "states")), self.bk.xp.empty_like(v @ self.machine.W)
        )
        return self.bk.to_numpy(h).copy()

    def represent(self, rows: Rows) -> Rows:
        """Return the hidden means of these rows: on the device, or where they do not fit spilled to the disk.

        Rows that are themselves such means are used up.
        """
        machine, factor = self.machine, self._row_factor
        width = machine.W.shape[1]
        if factor is not None:
            return rows.mapped(lambda v: machine.mean_hidden(v * factor), width)
        return rows.mapped(machine.mean_hidden, width, sparse=True)


__all__ = ["LayerState", "LayerTrainer", "RBMSettings", "choose_visible", "initial_weights"]

"""Training of one layer: its state between updates, and the task that the epoch loop runs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from deepbelief.backends import Backend, Rng
from deepbelief.components import Parts, TrainingStep
from deepbelief.errors import DivergenceError
from deepbelief.fields import Fields
from deepbelief.gradients import GradientEstimator, Persistent, PhaseBuffers
from deepbelief.machine import Machine
from deepbelief.monitor import Monitor
from deepbelief.optimizers import Optimizer
from deepbelief.rows import Index, WindowedOrder
from deepbelief.schedules import momentum_at, steps_at
from deepbelief.seeds import stream
from deepbelief.settings import RBMSettings, choose_visible, initial_weights
from deepbelief.stack import State, Weights, weights_from_state
from deepbelief.training import Record, Rows, Run, run_epochs
from deepbelief.units import named_unit

DeviceArray = Any
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass
class LayerState:
    """State of a layer between two updates, beside its weights, as host values.

    Parameters
    ----------
    arrays : dict of dict of ndarray
        State of the optimizer, of the gradient and of each component, by their names: ``"optimizer"``, ``"gradient"``
        and `Component.name`.
    epochs, updates : int
        Number of epochs and of updates done.
    """

    arrays: dict[str, dict[str, Array]] = field(default_factory=dict)
    epochs: int = 0
    updates: int = 0


class LayerTrainer:
    """Trains one machine; its state goes on from pass to pass."""

    finished = False

    def __init__(
        self, weights: Weights, settings: RBMSettings, run: Run, *, layer: int, horizon: int,
        state: LayerState | None = None,
    ) -> None:  # fmt: skip
        named_unit(settings.hidden)
        bk = self.bk = run.bk
        self.run, self.settings, self.layer, self.horizon = run, settings, layer, horizon
        self.machine = Machine(weights, bk)
        self.state = LayerState() if state is None else replace(state)  # a copy: counters move
        self.estimator: GradientEstimator = settings.gradient  # type: ignore[assignment]
        self.buffers = PhaseBuffers(bk, self.machine)
        self.now = TrainingStep(self.machine, self.buffers, int(settings.batch_size))
        self.parts = Parts(settings.all_components, self.now)
        self.optimizer: Optimizer = settings.solver  # type: ignore[assignment]
        self._moments = self.optimizer.start(bk, self.machine.params)
        moments = {str(i): moment for i, moment in enumerate(self._moments)}
        chains = self._fresh_chains(self.state.epochs, "chains")
        self.arrays = {"optimizer": moments, "gradient": chains, **self.parts.state}
        fill_state(bk, self.arrays, self.state.arrays)
        self.good: Weights | None = weights if self.state.epochs else None
        self.diverged: DivergenceError | None = None
        self._largest = 0  # rows in the largest minibatch of these epochs
        self._entered = weights  # its scale is that of the rows of the last training

    @property
    def chains(self) -> DeviceArray | None:
        """Hidden states of the Markov chains that persist; None if none do."""
        return self.arrays["gradient"].get("chains")

    def _fresh_chains(self, epoch: int, purpose: str) -> dict[str, DeviceArray]:
        """Return the gradient's state as it is before an update."""
        rng = self.bk.rng(stream(self.run.seed, self.layer, epoch, purpose))
        return self.estimator.start(self.machine, int(self.settings.n_chains), rng)

    def train(
        self, rows: Rows, held_out: Rows | None, epochs: range, *, shuffle: bool = True, **labels: Any
    ) -> list[Record]:
        """Train for some epochs and return their records, each with ``labels`` in it."""
        self._rows, self._labels = rows, labels
        self._largest = min(self.now.batch_size, len(rows))
        self._entered = self.machine.weights()
        self.parts.call("begin")
        self.monitor = Monitor(self.machine, self.parts, rows, held_out, seed=self.run.seed, layer=self.layer)
        history = run_epochs(
            self, len(rows), self.run, epochs=epochs, horizon=self.horizon, batch_size=self.now.batch_size,
            key=(self.layer,), shuffle=shuffle, windows=rows.windows,
        )  # fmt: skip
        del self._rows  # a stack would else keep the rows of all its layers
        if len(history) < len(epochs):  # the run was stopped before its end
            self._finish()
        self.parts.call("end")
        return history

    def begin_epoch(self, epoch: int, order: Index | WindowedOrder) -> None:
        """Shuffle the rows and set the momentum and the number of Gibbs steps of the epoch."""
        self._rows.begin(order)
        self.now.momentum = momentum_at(self.settings.momentum, epoch, self.horizon)
        gradient = cast(Any, self.settings.gradient)
        if isinstance(gradient.gibbs_steps, tuple):
            steps = steps_at(gradient.gibbs_steps, epoch, self.horizon)
            self.estimator = replace(gradient, gibbs_steps=steps)

    def update(self, start: int, stop: int, position: float, rng: Rng) -> None:
        """Make one update with the rows at these places of the order."""
        n = stop - start
        n_negative = n if self.chains is None else len(self.chains)
        v = self.buffers.visible(n + n_negative)[:n]
        self._rows.batch(start, stop, v)
        changed = self.parts.has("draw") or self.parts.has("enter")
        self.buffers.sparse = None if changed else self._rows.sparse(start, stop)
        self.parts.call("draw", v, rng)
        self.parts.call("enter", v)
        self.step(n, position, rng)
        for _ in range(self.run.communicator.rounds(start, stop, len(self._rows), self.now.batch_size)):
            self._synchronise(rng)

    def step(self, n: int, position: float, rng: Rng) -> None:
        """Make one update with the first ``n`` rows of the visible buffer."""
        settings, now, params = self.settings, self.now, self.machine.params
        now.n_rows, now.position = n, position
        now.rate = float(settings.learning_rate) * settings.schedule(position)  # type: ignore[operator]
        self.parts.call("before_gradient")
        grads = self.estimator(self.machine, self.buffers, n, now.batch_size, self.arrays["gradient"], rng)
        self.parts.call("adjust", grads)
        rates, decays = (now.rate,) * 3, (settings.weight_decay, 0.0, 0.0)
        self.optimizer.step(self.bk, params, grads, self._moments, rates, now.momentum, decays)
        self.parts.call("after_step")
        self.state.updates += 1

    def _synchronise(self, rng: Rng) -> None:
        """Take the mean over all workers of the parameters and shared state; chains, which stay, follow them."""
        moments = self._moments if self.run.communicator.velocities else ()
        self._take_means([*self.machine.params, *moments, *self.parts.shared()])
        if self.chains is not None and self.run.communicator.settling:
            estimator, steps = cast(Persistent, self.estimator), self.run.communicator.settling
            estimator.equilibrate(self.machine, self.buffers, self.arrays["gradient"], steps, rng)

    def _take_means(self, shared: Iterable[DeviceArray]) -> None:
        shared = [array for array in shared if self.bk.owns(array) and array.dtype == self.machine.dtype]
        means = self.run.communicator.mean([self.bk.to_numpy(array) for array in shared])
        for array, mean in zip(shared, means, strict=True):
            array[...] = self.bk.asarray(mean)

    def end_epoch(self, epoch: int) -> Record:
        """Judge the monitored rows; on divergence return to the last good epoch and stop."""
        self.state.epochs = epoch + 1
        if self.state.epochs == self.horizon:
            self._finish()
        largest, seen = self.monitor.look(self._velocity())
        rates: Record = {"learning_rate": self.now.rate, "momentum": self.now.momentum}
        weights, error = self.machine.weights(), seen["reconstruction_error"]
        reason = self.monitor.divergence(weights, error, largest, is_model=self.estimator.is_model)
        record, reason = self.run.communicator.judged(self._labels | seen | rates, reason)
        if reason:
            self._fall_back(epoch, reason)
            return record | {"diverged": str(self.diverged)}
        self.good = weights
        self.parts.call("end_epoch")
        return record

    def _velocity(self) -> DeviceArray | None:
        """Return the last change of W, if the optimizer knows it."""
        velocity = getattr(self.optimizer, "velocity", None)
        return None if velocity is None else velocity(self._moments)

    def _finish(self) -> None:
        """Let components change the weights at the end of the run."""
        if self.parts.has("finish"):
            self.parts.call("finish")
            self._take_means(self.machine.params)

    def _fall_back(self, epoch: int, reason: str) -> None:
        """Return to the weights of the last good epoch, with a state that has not diverged."""
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
        for moment in self._moments:
            moment[...] = 0
        self.parts.call("reset")
        self.arrays["gradient"] = self._fresh_chains(epoch, "fresh chains")

    def export_state(self) -> LayerState:
        """Return the state beside the weights, as host values."""
        return replace(self.state, arrays=host_state(self.bk, self.arrays))

    def snapshot(self) -> State:
        """Return everything that the next update and the end of the epoch read."""
        n = self._largest
        started = n and self.chains is None and self.estimator.is_model and self.state.updates
        return {
            "weights": vars(self.machine.weights()), "state": vars(self.export_state()), "horizon": self.horizon,
            "good": None if self.good is None else vars(self.good), "rate": self.now.rate,
            "mean": self._entered.mean, "scale": self._entered.scale,
            # Sampling from the model begins at the last negative phase.
            "negative": self.bk.to_numpy(self.buffers.visible(2 * n)[n:]).copy() if started else None,
        }  # fmt: skip

    def restore(self, state: State) -> None:
        """Restore the part of a snapshot that weights and `LayerState`, from which a trainer is made, lack."""
        state = Fields.of(state)
        self.good = None if state["good"] is None else weights_from_state(state.fields("good"))
        self.now.rate = state.number("rate")
        scaling: dict[str, Any] = {
            name: None if state[name] is None else state.array(name) for name in ("mean", "scale")
        }
        self._entered = replace(self._entered, **scaling)
        if state["negative"] is not None:
            negative = state.array("negative")
            n = self._largest = len(negative)
            self.buffers.visible(2 * n)[n:] = self.bk.asarray(negative)

    def weights_of_rows(self) -> Weights:
        """Return the weights with the scale by which the rows of the last training entered."""
        return replace(self.machine.weights(), mean=self._entered.mean, scale=self._entered.scale)

    def negative_states(self, seed: int) -> Array:
        """Return hidden states of the last negative phase: the chains, or a draw where none persist."""
        if self.chains is not None:
            return self.bk.to_numpy(self.chains[: int(self.settings.n_chains)]).copy()
        n = self._largest
        # A diverged run may leave values that are not finite, and a layer that is not a model has no negative phase:
        # monitored rows then stand in.
        there = self.estimator.is_model and self.state.updates and not self.diverged
        v = self.buffers.negative(n) if there else self.monitor.rows[:n]
        out = self.bk.xp.empty_like(v @ self.machine.W)
        return self.bk.to_numpy(
            self.machine.sample_hidden(v, self.bk.rng(stream(seed, self.layer, "states")), out)
        ).copy()

    def represent(self, rows: Rows) -> Rows:
        """Return the hidden means of these rows: on the device, or spilled to the disk where they do not fit.

        Rows that are themselves such means are used up.
        """
        machine, width = self.machine, self.machine.W.shape[1]
        if self.parts.has("enter"):
            return rows.mapped(lambda v: machine.mean_hidden(self.parts.entered(v)), width)
        return rows.mapped(machine.mean_hidden, width, sparse=True)


def host_state(bk: Backend, arrays: Mapping[str, Mapping[str, DeviceArray]]) -> dict[str, dict[str, Array]]:
    """Return copies of nested device arrays as host values."""
    return {
        owner: {name: np.array(bk.to_numpy(array) if bk.owns(array) else array) for name, array in own.items()}
        for owner, own in arrays.items()
    }


def fill_state(
    bk: Backend, started: Mapping[str, dict[str, DeviceArray]], kept: Mapping[str, Mapping[str, Array]]
) -> None:
    """Restore kept arrays into a state that has just been started.

    The state of an owner is restored if it has the same names and shapes. The gradient's arrays may have another number
    of rows, such as the chains of an earlier run with another batch size.
    """
    for owner, own in started.items():
        found = kept.get(owner, {})
        if owner == "gradient":
            found = {name: a for name, a in found.items() if name in own and a.shape[1:] == own[name].shape[1:]}
        elif {name: a.shape for name, a in found.items()} != {name: a.shape for name, a in own.items()}:
            continue
        for name, array in found.items():
            if array.shape == own[name].shape:
                own[name][...] = bk.asarray(array) if bk.owns(own[name]) else array
            else:
                own[name] = bk.asarray(array.copy())


__all__ = ["LayerState", "LayerTrainer", "RBMSettings", "choose_visible", "initial_weights"]

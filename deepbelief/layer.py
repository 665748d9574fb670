"""Training of one layer: the task that the epoch loop runs."""

from dataclasses import replace

from deepbelief.backends import Rng
from deepbelief.completion import completed
from deepbelief.errors import DivergenceError, Mention
from deepbelief.fields import Fields
from deepbelief.learner import LayerState, Learner, host_state
from deepbelief.monitor import Monitor
from deepbelief.row_windows import Index, WindowedOrder
from deepbelief.seeds import stream
from deepbelief.settings import RBMSettings, choose_visible, initial_weights
from deepbelief.stack import State, Weights, weights_from_state
from deepbelief.training import Record, Rows, Run, run_epochs
from deepbelief.typing import Array, StrDict
from deepbelief.units import named_unit


class LayerTrainer:
    """Trains one machine; its state continues from pass to pass."""

    finished = False

    def __init__(
        self, weights: Weights, settings: RBMSettings, run: Run, *, layer: int, horizon: int,
        state: LayerState | None = None,
    ) -> None:  # fmt: skip
        named_unit(settings.hidden)
        self.bk, self.run, self.settings, self.layer, self.horizon = run.bk, run, settings, layer, horizon
        self.state = LayerState() if state is None else replace(state)  # a copy: counters move
        self.learner = Learner(weights, settings, run, layer=layer, state=self.state)
        self.machine, self.parts = self.learner.machine, self.learner.parts
        self.good: Weights | None = weights if self.state.epochs else None
        self.diverged: DivergenceError | None = None
        self._best: tuple[float, Weights] | None = None  # score of held-out rows, and the weights that have it
        self._stalled = 0  # epochs since then
        self._largest = 0  # rows in the largest minibatch of these epochs
        self._entered = weights  # its scale is that of the rows of the last training

    @property
    def is_model(self) -> bool:
        """Whether the layer is trained as a model of its data."""
        return self.learner.estimator.is_model

    def train(
        self, rows: Rows, held_out: Rows | None, epochs: range, *, shuffle: bool = True, **labels: object
    ) -> list[Record]:
        """Train for a number of epochs and return their records, to each of which ``labels`` are added."""
        self._rows, self._labels = rows, labels
        self._largest = min(int(self.settings.batch_size), len(rows))
        self._entered = self.machine.weights()
        self.learner.now.total = len(rows)
        self._by_number = self.settings.missing  # whether components ask which rows a minibatch holds
        self.parts.call("begin")
        self.monitor = Monitor(
            self.machine, self.parts, rows, held_out, seed=self.run.seed, layer=self.layer,
            is_judged=self.settings.early_stopping, is_model=self.is_model,
        )  # fmt: skip
        history = run_epochs(
            self, len(rows), self.run, epochs=epochs, horizon=self.horizon, batch_size=int(self.settings.batch_size),
            key=(self.layer,), shuffle=shuffle, windows=rows.windows,
        )  # fmt: skip
        del self._rows  # a stack would else keep the rows of all its layers
        if len(history) < len(epochs):  # the run was stopped before its end
            self.learner.finish()
        self._return_to_best()
        self.parts.call("end")
        return history

    def _return_to_best(self) -> None:
        """Return to the weights that held-out rows score best, where these are not the last ones."""
        if self._best is None or self.diverged:
            return
        if self._stalled:
            self.learner.reset(self._best[1], self.state.epochs)
            self.good = self._best[1]
        self._best, self._stalled, self.finished = None, 0, False

    def begin_epoch(self, epoch: int, order: Index | WindowedOrder) -> None:
        """Shuffle the rows, and set what changes from epoch to epoch."""
        self._rows.begin(order)
        self.learner.begin_epoch(epoch, self.horizon)

    def update(self, start: int, stop: int, position: float, rng: Rng) -> None:
        """Make one update with the rows at these places of the order."""
        v = self._rows.batch(start, stop, self.learner.minibatch(stop - start))
        changed = self.parts.has("draw") or self.parts.has("enter") or self._by_number
        self.learner.phases.sparse = None if changed else self._rows.sparse(start, stop)
        self.learner.phases.weights = self._rows.weights(start, stop)
        self.parts.call("draw", v, rng)
        self.parts.call("enter", v)
        if self._by_number:
            self.learner.now.rows = self._rows.numbers(start, stop)
        self.learner.update(stop - start, position, rng)
        self.state.updates += 1
        batch_size = int(self.settings.batch_size)
        for _ in range(self.run.communicator.rounds(start, stop, len(self._rows), batch_size)):
            self.learner.synchronise(rng)

    def end_epoch(self, epoch: int) -> Record:
        """Judge the monitored rows; on divergence return to the last good epoch and stop."""
        self.state.epochs = epoch + 1
        if self.state.epochs == self.horizon:
            self.learner.finish()
        now = self.learner.now
        largest, seen = self.monitor.look(self.learner.velocity)
        rates: Record = {"learning_rate": now.rate, "momentum": now.momentum} | self.learner.report()
        weights, error = self.machine.weights(), seen["reconstruction_error"]
        reason = self.monitor.divergence(weights, error, largest, is_model=self.is_model)
        record, reason = self.run.communicator.judged(self._labels | seen | rates, reason)
        if reason:
            self._fall_back(epoch, reason)
            return record | {"diverged": str(self.diverged)}
        self.good = weights
        self.parts.call("end_epoch")
        return record | self._score(weights)

    def _score(self, weights: Weights) -> Record:
        """Score the held-out rows, keep the best weights, and stop after `n_iter_no_change` epochs without better."""
        score = self.monitor.score(weights) if self.settings.early_stopping else None
        if score is None:
            return {}
        if self._best is None or score > self._best[0]:
            self._best, self._stalled = (score, weights), 0
        else:
            self._stalled += 1
            self.finished = self._stalled >= self.settings.n_iter_no_change
        return {"held_out_score": score}

    def _fall_back(self, epoch: int, reason: str) -> None:
        """Return to the weights of the last good epoch, with a state that has not diverged."""
        rate = float(self.settings.learning_rate)
        self.diverged = DivergenceError(
            f"layer {self.layer + 1} diverged in epoch {epoch + 1}: {reason}; try ",
            Mention("learning_rate", rate / 10, ".3g"),
            f" (it was {rate:.3g})",
            setting="learning_rate",
            value=rate,
            layer=self.layer + 1,
            epoch=epoch + 1,
        )
        self.finished = True
        if self.good is None:
            raise self.diverged
        self.learner.reset(self.good, epoch)

    def export_state(self) -> LayerState:
        """Return the state beside the weights, as host values."""
        return replace(self.state, arrays=host_state(self.bk, self.learner.arrays))

    def snapshot(self) -> State:
        """Return everything that the next update and the end of the epoch read."""
        negative = None if self.learner.chains is not None else self.learner.phases.negative(entered=True)
        return {
            "weights": vars(self.machine.weights()), "state": vars(self.export_state()), "horizon": self.horizon,
            "good": None if self.good is None else vars(self.good), "rate": self.learner.now.rate,
            "best": None if self._best is None else {"score": self._best[0], "weights": vars(self._best[1])},
            "stalled": self._stalled, "mean": self._entered.mean, "scale": self._entered.scale,
            # Sampling from the model begins at the last negative phase.
            "negative": None if negative is None else self.bk.to_numpy(negative).copy(),
        }  # fmt: skip

    def restore(self, state: State) -> None:
        """Restore the part of a snapshot that weights and `LayerState`, from which a trainer is made, lack."""
        state = Fields.of(state)
        self.good = None if state["good"] is None else weights_from_state(state.fields("good"))
        self.learner.now.rate, self._stalled = state.number("rate"), state.integer("stalled")
        if state["best"] is not None:
            best = state.fields("best")
            self._best = best.number("score"), weights_from_state(best.fields("weights"))
        scaling: StrDict = {name: None if state[name] is None else state.array(name) for name in ("mean", "scale")}
        self._entered = replace(self._entered, **scaling)
        if state["negative"] is not None:
            self.learner.phases.restore_negative(self.bk.asarray(state.array("negative")), self._largest)

    def weights_of_rows(self) -> Weights:
        """Return the weights with the scale by which the rows of the last training entered."""
        return replace(self.machine.weights(), mean=self._entered.mean, scale=self._entered.scale)

    def negative_states(self, seed: int) -> Array:
        """Return hidden states of the last negative phase: the chains, or a draw where none persist."""
        if self.learner.chains is not None:
            return self.bk.to_numpy(self.learner.chains[: int(self.settings.n_chains)]).copy()
        # A diverged run may leave values that are not finite, and a layer that is not a model has no negative phase:
        # monitored rows then stand in.
        v = self.learner.phases.negative() if self.is_model and not self.diverged else None
        if v is None:
            v = self.monitor.rows[: self._largest]
        out = self.bk.xp.empty((len(v), self.machine.W.shape[1]), self.machine.dtype)
        return self.bk.to_numpy(
            self.machine.sample_hidden(v, self.bk.rng(stream(seed, self.layer, "states")), out)
        ).copy()

    def represent(self, rows: Rows) -> Rows:
        """Return the hidden means of these rows: on the device, or spilled to the disk where they do not fit.

        Rows that are themselves such means are used up.
        """
        machine, width = self.machine, self.machine.W.shape[1]
        if self.settings.missing:
            return rows.mapped(lambda v: machine.mean_hidden(completed(machine, self.parts.entered(v))), width)
        if self.parts.has("enter"):
            return rows.mapped(lambda v: machine.mean_hidden(self.parts.entered(v)), width)
        return rows.mapped(machine.mean_hidden, width, sparse=True)


__all__ = ["LayerState", "LayerTrainer", "RBMSettings", "choose_visible", "initial_weights"]

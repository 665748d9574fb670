"""Training of a recurrent machine: its settings, and the task that the epoch loop runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from deepbelief.backends import Backend, Product, Rng
from deepbelief.errors import DivergenceError, Mention, Message
from deepbelief.fields import Fields
from deepbelief.gradients import GradientEstimator
from deepbelief.machine import Workspace
from deepbelief.monitor import MAX_HIDDEN_INPUT
from deepbelief.optimizers import Optimizer, get_optimizer
from deepbelief.recipes.presets import STANDARD
from deepbelief.recipes.resolved import Choices, Resolved
from deepbelief.recipes.sequence_rules import sequence_decay, sequence_epochs, sequences_in_minibatch, stopped_epochs
from deepbelief.recurrent.model import (
    RecurrentMachine,
    RecurrentWeights,
    recurrent_from_state,
    recurrent_state,
)
from deepbelief.recurrent.phases import FrameBuffers, NextFrame, frame_gradient
from deepbelief.recurrent.windows import count_updates, make_plan
from deepbelief.row_windows import Index, WindowedOrder
from deepbelief.schedules import Schedule, factor_at, get_schedule
from deepbelief.seeds import host_rng
from deepbelief.stack import State
from deepbelief.training import Record, Rows, Run, run_epochs
from deepbelief.typing import Array, DeviceArray

CLIPPING = 1.0  # norm that the error suggests if gradients explode
RATES = {"adam": 0.001}  # other optimizers: their own rate, or 0.01


@dataclass(frozen=True)
class RecurrentSettings:
    """Settings of training, as in the estimator; ``"auto"`` is resolved for the sequences."""

    truncation: int = 100
    gradient: str | GradientEstimator = "cd"
    gibbs_steps: int = 10
    solver: str | Optimizer = "adam"
    learning_rate: float | str = "auto"
    schedule: str | Schedule = "constant"
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float | str = "auto"
    max_grad_norm: float | None = CLIPPING
    batch_size: int | str = "auto"
    n_iter: int | str = "auto"
    n_iter_no_change: int = 10
    preset: str = STANDARD
    stopped: bool = False  # whether held-out sequences decide when training stops
    resolved: Mapping[str, Resolved] = field(default_factory=dict, compare=False)

    def resolve(self, lengths: Array) -> "RecurrentSettings":
        """Return the settings with every ``"auto"`` replaced by its value for these sequences."""
        truncation = int(min(self.truncation, lengths.max()))
        windows = -(-lengths // truncation)
        per_window = lengths.sum() / windows.sum()
        choices, solver = Choices(), get_optimizer(self.solver, nesterov=self.nesterov)
        beside = sequences_in_minibatch(int(lengths.sum()), len(lengths), float(per_window))
        batch_size = min(int(choices.take("batch_size", self.batch_size, beside)), len(lengths))
        n_updates = count_updates(lengths, truncation, batch_size)
        epochs = (stopped_epochs if self.stopped else sequence_epochs)(n_updates, self.preset)
        rate = RATES.get(str(self.solver), solver.rate or 0.01)
        rate = choices.take("learning_rate", self.learning_rate, Resolved(rate, "the rate of the solver"))
        decay = choices.take("weight_decay", self.weight_decay, sequence_decay(int(lengths.sum())))
        gradient = self.gradient
        if not isinstance(gradient, NextFrame):
            gradient = frame_gradient(gradient, self.gibbs_steps)
        return replace(
            self, truncation=truncation, gradient=gradient, solver=solver, learning_rate=float(rate),
            schedule=get_schedule(self.schedule), batch_size=batch_size,
            n_iter=int(choices.take("n_iter", self.n_iter, epochs)), weight_decay=float(decay), resolved=choices,
        )  # fmt: skip


@dataclass
class RecurrentState:
    """Training state in addition to the weights, as host values."""

    optimizer: list[Array] = field(default_factory=list)
    epochs: int = 0  # epochs done
    updates: int = 0  # updates done


class RecurrentTrainer:
    """Task of the epoch loop; an update is a minibatch of windows, each of which continues from the one before.

    All frames have the same weight: a gradient is the sum over the frames of a minibatch, divided by the mean number of
    frames in a minibatch.
    """

    finished = False

    def __init__(
        self, weights: RecurrentWeights, settings: RecurrentSettings, lengths: Array, run: Run, *, horizon: int,
        state: RecurrentState | None = None, judge: Callable[[RecurrentWeights], float] | None = None,
    ) -> None:  # fmt: skip
        bk = self.bk = run.bk
        self.model = RecurrentMachine(weights, bk)
        self.run, self.settings, self.lengths, self.horizon = run, settings, lengths, horizon
        self.state = RecurrentState() if state is None else replace(state)  # a copy: counters move
        self.n_updates = count_updates(lengths, settings.truncation, int(settings.batch_size))
        self._per_update = max(1, round(int(lengths.sum()) / self.n_updates))
        self._buffers = FrameBuffers(bk, self.model.machine)
        self._space = Workspace(bk, self.model.dtype)
        self._optimizer: Optimizer = settings.solver  # type: ignore[assignment]
        self._kept = self._optimizer.start(bk, self.model.params)
        # An optimizer other than that of the state starts with an empty state.
        same = [a.shape for a in self._kept] == [a.shape for a in self.state.optimizer]
        for own, kept in zip(self._kept, self.state.optimizer if same else [], strict=False):
            own[...] = bk.asarray(kept) if bk.owns(own) else kept
        self._decays = [float(settings.weight_decay) if p.ndim == 2 else 0.0 for p in self.model.params]
        self._states = bk.xp.zeros((len(lengths), weights.n_recurrent), self.model.dtype)
        self._seen = bk.xp.zeros(3, self.model.dtype)  # sum of squared errors, sum and maximum of gradient norms
        self._good: RecurrentWeights | None = weights if self.state.epochs else None
        self.diverged: DivergenceError | None = None
        self._judge = judge  # returns a score of the machine; larger is better
        self._best: tuple[float, RecurrentWeights] | None = None
        self._stalled = 0  # epochs since the best one

    def train(
        self, rows: Rows, epochs: range, *, shuffle: bool = True, **labels: object
    ) -> list[Record]:  # fmt: skip
        """Train for a number of epochs and return their records, to each of which ``labels`` are added."""
        self._rows, self._shuffle, self._labels = rows, shuffle, labels
        # An update is a minibatch of windows, which the loop counts.
        return run_epochs(
            self, self.n_updates, self.run, epochs=epochs, horizon=self.horizon, batch_size=1, key=self._key(),
            shuffle=shuffle,
        )  # fmt: skip

    def _key(self) -> tuple[str, ...]:
        return ("recurrent", type(self.settings.gradient).__name__)

    def begin_epoch(self, epoch: int, order: Index | WindowedOrder) -> None:
        """Arrange the windows of the shuffled sequences in minibatches, whose order is then fixed."""
        sequences = np.arange(len(self.lengths))
        if self._shuffle:
            host_rng(self.run.seed, *self._key(), epoch, "sequences").shuffle(sequences)
        plan = make_plan(self.lengths, self.settings.truncation, int(self.settings.batch_size), sequences)
        self._steps, self._frame_bounds, self._lane_bounds = plan.steps, plan.frame_bounds, plan.lane_bounds
        self._rows.begin(plan.frames)
        self._lanes = self.bk.asarray(plan.lanes)
        self._first = self.bk.asarray(plan.first[:, None].astype(self.model.dtype))
        self._later = self.bk.asarray(1 - plan.first[:, None].astype(self.model.dtype))
        self._seen[...] = 0

    def update(self, start: int, stop: int, position: float, rng: Rng) -> None:
        """Make one update with this minibatch of windows."""
        settings = self.settings
        self._rate = float(settings.learning_rate) * factor_at(settings.schedule, position)  # type: ignore[arg-type]
        grads = self.gradient(start, rng)
        self._clip(grads)
        params = self.model.params
        self._optimizer.step(
            self.bk, params, grads, self._kept, [self._rate] * len(params), settings.momentum, self._decays
        )
        self.state.updates += 1

    def gradient(self, number: int, rng: Rng) -> list[DeviceArray | Product]:
        """Return the gradient for a minibatch of the epoch, and store the last states of its windows."""
        xp, model = self.bk.xp, self.model
        begin, end = int(self._frame_bounds[number]), int(self._frame_bounds[number + 1])
        windows = slice(int(self._lane_bounds[number]), int(self._lane_bounds[number + 1]))
        n, lanes, first = end - begin, self._lanes[windows], self._first[windows]
        v = self._rows.batch(begin, end, self._buffers.visible(2 * n)[:n])
        entering = self._space("entering", len(lanes), model.n_recurrent)
        self.bk.take(self._states, lanes, entering)
        entering *= self._later[windows]
        entering += xp.multiply(first, model.u0, out=self._space("u0", *entering.shape))
        self._states[lanes] = model.forward(v, entering, self._steps[number])
        estimator = self.settings.gradient
        assert not isinstance(estimator, str)  # resolved
        frame = estimator(model.driven(), self._buffers, n, self._per_update, {}, rng)
        self._seen[0] += xp.square(frame[1], out=self._space("error", *frame[1].shape)).sum()
        return model.backward(frame, first)

    def _clip(self, grads: list[DeviceArray | Product]) -> None:
        """Clip the norm of the gradient (Pascanu, Mikolov and Bengio 2013), and record it."""
        xp = self.bk.xp
        for i, g in enumerate(grads):
            grads[i] = g.array(self.bk) if isinstance(g, Product) else g
        norm = xp.sqrt(sum(xp.square(g).sum() for g in grads))
        self._seen[1] += norm
        self._seen[2] = xp.maximum(self._seen[2], norm)
        if self.settings.max_grad_norm is not None:
            factor = self.settings.max_grad_norm / xp.maximum(norm, self.settings.max_grad_norm)
            for g in grads:
                g *= factor

    def end_epoch(self, epoch: int) -> Record:
        """Report the epoch; after a divergence, restore the last good epoch and stop."""
        self.state.epochs = epoch + 1
        squares, norms, largest = (float(x) for x in self.bk.to_numpy(self._seen))
        record: Record = dict(self._labels)
        record["reconstruction_error"] = squares * self._per_update**2 / int(self.lengths.sum())
        record |= {"gradient_norm": norms / self.n_updates, "largest_gradient_norm": largest}
        record |= {"learning_rate": self._rate}
        weights = self.model.weights()
        size = max(float(np.abs(a).max()) for a in (*weights.arrays().values(), weights.frame.W, weights.frame.vbias))
        if not (np.isfinite(squares) and np.isfinite(largest) and size <= MAX_HIDDEN_INPUT):
            self._fall_back(epoch, largest)
            return record | {"diverged": str(self.diverged)}
        self._good = weights
        return record | self._judged(epoch, weights)

    def _judged(self, epoch: int, weights: RecurrentWeights) -> Record:
        """Score the machine every few epochs, keep the best, and stop after `n_iter_no_change` without improvement."""
        patience = self.settings.n_iter_no_change
        every = max(1, patience // 2)
        if self._judge is None or ((epoch + 1) % every and epoch + 1 < self.horizon):
            return {}
        score = self._judge(weights)
        if self._best is None or score > self._best[0]:
            self._best, self._stalled = (score, weights), 0
        else:
            self._stalled += every
            self.finished = self._stalled >= patience
        return {"validation_log_likelihood": score}

    def _fall_back(self, epoch: int, largest: float) -> None:
        """Record the error with its advice, and restore the weights of the last good epoch."""
        clip, rate = self.settings.max_grad_norm, float(self.settings.learning_rate)
        if clip is None:
            advice = Message("clip them with ", Mention("max_grad_norm", CLIPPING, "g"), ", or try ")
        else:
            advice = Message("try ", Mention("max_grad_norm", clip / 10, ".3g"), f" (it was {clip:.3g}) or ")
        reached = f"reached a norm of {largest:.3g}" if np.isfinite(largest) else "are no longer finite"
        self.diverged = DivergenceError(
            f"training diverged in epoch {epoch + 1}: gradients {reached}; ", advice,
            Mention("learning_rate", rate / 10, ".3g"), f" (it was {rate:.3g})",
            setting="learning_rate", value=rate, epoch=epoch + 1,
        )  # fmt: skip
        self.finished = True
        if self._good is None:
            raise self.diverged

    def _moving(self) -> dict[str, list[DeviceArray]]:
        """Return by name the arrays that one update passes to the next."""
        return {
            "params": self.model.params, "optimizer": self._kept, "states": [self._states], "seen": [self._seen],
        }  # fmt: skip

    def snapshot(self) -> State:
        """Return everything that the next update and the end of the epoch read, as host values."""
        arrays = {name: [np.array(self.bk.to_numpy(a)) for a in several] for name, several in self._moving().items()}
        good = None if self._good is None else recurrent_state(self._good)
        best = None if self._best is None else {"score": self._best[0], "weights": recurrent_state(self._best[1])}
        counts = {"updates": self.state.updates, "stalled": self._stalled}
        return arrays | {"good": good, "best": best, "rate": self._rate, **counts}

    def restore(self, state: State) -> None:
        """Continue within an epoch that has begun, from the values of `snapshot`."""
        state = Fields.of(state)
        for name, several in self._moving().items():
            for own, kept in zip(several, state.arrays(name, several), strict=True):
                own[...] = self.bk.asarray(kept) if self.bk.owns(own) else kept
        self._good = None if state["good"] is None else recurrent_from_state(state.fields("good"))
        self._rate, self.state.updates = state.number("rate"), state.integer("updates")
        self._stalled = state.integer("stalled")
        if state["best"] is not None:
            best = state.fields("best")
            self._best = best.number("score"), recurrent_from_state(best.fields("weights"))

    def result(self) -> tuple[RecurrentWeights, RecurrentState]:
        """Return the final weights and the state for the next update, which is empty after a divergence."""
        if self.diverged:
            assert self._good is not None
            return self._good, replace(self.state, optimizer=[])
        if self._best is not None and self._stalled:
            return self._best[1], replace(self.state, optimizer=[])
        return self.model.weights(), replace(self.state, optimizer=[np.array(self.bk.to_numpy(a)) for a in self._kept])


def states_before(
    weights: RecurrentWeights, rows: Rows, lengths: Array, bk: Backend, *, truncation: int = 100, lanes: int = 64
) -> tuple[Array, Array]:
    """Return the states before and after each frame, of shape (n_frames, n_recurrent), on the host.

    Some sequences at a time are processed in windows that pass on their states, so that the memory used on the device
    does not depend on the number of sequences.
    """
    model = RecurrentMachine(weights, bk)
    plan = make_plan(lengths, int(min(truncation, lengths.max())), min(lanes, len(lengths)), range(len(lengths)))
    rows.begin(plan.frames)
    space = Workspace(bk, model.dtype)
    carried = bk.xp.zeros((len(lengths), weights.n_recurrent), model.dtype)
    found = [np.empty((len(plan.frames), weights.n_recurrent), model.dtype) for _ in range(2)]
    for number, steps in enumerate(plan.steps):
        begin, end = plan.frame_bounds[number : number + 2]
        windows = slice(*plan.lane_bounds[number : number + 2])
        lane, first = bk.asarray(plan.lanes[windows]), bk.asarray(plan.first[windows][:, None].astype(model.dtype))
        v = rows.batch(int(begin), int(end), space("v", int(end - begin), rows.shape[1]))
        entering = carried[lane] * (1 - first) + first * model.u0
        carried[lane] = model.forward(v, entering, steps)
        for room, states in zip(found, (model.before, model.after), strict=True):
            room[plan.frames[begin:end]] = bk.to_numpy(states)
    return found[0], found[1]

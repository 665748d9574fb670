"""Fine-tuning by backpropagation: a stack with a head becomes a network and learns from targets."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from deepbelief.backends import Backend, Product, Rng
from deepbelief.errors import DivergenceError, Mention, SettingError
from deepbelief.fields import Fields
from deepbelief.losses import Loss
from deepbelief.monitor import MAX_HIDDEN_INPUT
from deepbelief.network import Layer, Network
from deepbelief.optimizers import Optimizer, get_optimizer
from deepbelief.recipes.presets import STANDARD, Extent
from deepbelief.recipes.pretraining_rules import rows_in_minibatch
from deepbelief.recipes.resolved import Choices, Resolved, is_auto, resolution_lines
from deepbelief.recipes.tuning_rules import USUAL_EXTENT, tuning_decay, tuning_epochs, tuning_rate
from deepbelief.row_windows import Index, WindowedOrder
from deepbelief.schedules import LARGEST_MOMENTUM, Schedule, factor_at, get_schedule, momentum_ramp
from deepbelief.sources import RowSource
from deepbelief.stack import State
from deepbelief.training import BLOCK_ROWS, Record, Rows, Run, run_epochs, split_rows
from deepbelief.typing import Array, DeviceArray


@dataclass(frozen=True)
class FineTuneSettings:
    """Settings of fine-tuning, as the estimators spell them."""

    solver: str | Optimizer = "sgd"
    learning_rate_init: float | str = "auto"
    pretrained_lr_factor: float = 1.0
    schedule: str | Schedule = "linear"
    momentum: float | str = 0.9
    nesterov: bool = True
    alpha: float | str = "auto"
    l1: float = 0.0
    max_norm: float | None = None
    dropout: float | Sequence[float] | str = "auto"
    input_dropout: float | str = "auto"
    head_epochs: int = 0
    n_frozen: int = 0
    batch_size: int | str = "auto"
    max_iter: int | str = "auto"
    preset: str = STANDARD
    extent: Extent = USUAL_EXTENT  # of "auto" epochs
    rate: float | None = None  # what "auto" starts from; None: the rate of the slowest hidden activation
    n_iter_no_change: int = 10
    tol: float = 1e-4
    memory_limit: int | None = None  # bytes that rows may take; None: a quarter of the memory
    resolved: Mapping[str, Resolved] = field(default_factory=dict, compare=False)  # what automatic settings became

    def resolve(self, n_rows: int, rate: float) -> "FineTuneSettings":
        """Return the same settings with every ``"auto"`` replaced: ``rate`` is the automatic learning rate."""
        solver, choices = get_optimizer(self.solver, nesterov=self.nesterov), Choices()
        batch_size = min(int(choices.take("batch_size", self.batch_size, rows_in_minibatch(n_rows))), n_rows)
        max_iter = choices.take("max_iter", self.max_iter, tuning_epochs(n_rows, batch_size, self.extent, self.preset))
        momentum = LARGEST_MOMENTUM if isinstance(self.momentum, str) else self.momentum
        chosen = tuning_rate(rate, solver.rate, momentum)
        return replace(
            self, solver=solver, schedule=get_schedule(self.schedule), batch_size=batch_size, max_iter=int(max_iter),
            learning_rate_init=float(choices.take("learning_rate_init", self.learning_rate_init, chosen)),
            alpha=tuning_decay(n_rows, pretrained=True).value if is_auto(self.alpha) else self.alpha,
            dropout=0.0 if is_auto(self.dropout) else self.dropout,
            input_dropout=0.0 if is_auto(self.input_dropout) else self.input_dropout, resolved=choices,
        )  # fmt: skip

    def drops(self, n_hidden: int) -> list[float]:
        """Return the share of the input, and of each hidden layer, that is dropped."""
        hidden = list(self.dropout) if isinstance(self.dropout, (list, tuple)) else [self.dropout] * n_hidden
        if len(hidden) != n_hidden:
            raise SettingError(f"dropout has {len(hidden)} rates for {n_hidden} hidden layers")
        return [self.input_dropout, *hidden]  # type: ignore[list-item]


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Rows with targets (None: the rows themselves), and a weight for each row (None: all 1)."""

    rows: RowSource
    targets: Array | None = None
    weights: Array | None = None

    def mean_one(self) -> Array | None:
        """Return the weights scaled to mean 1: weight 0 is then removal and weight 2 repetition."""
        if self.weights is None:
            return None
        scaled: Array = self.weights * (len(self.weights) / self.weights.sum())
        return scaled


def hold_out(train: TrainingSet, fraction: float, seed: int, *, by_class: bool) -> tuple[TrainingSet, TrainingSet]:
    """Return training rows and held-out rows, drawn at random, stratified if targets are classes."""
    fit, held, *indices = split_rows(train.rows, fraction, seed, strata=train.targets if by_class else None)

    def part(rows: RowSource, index: Array) -> TrainingSet:
        picked = (None if a is None else a[index] for a in (train.targets, train.weights))
        return TrainingSet(rows, *picked)

    return part(fit, indices[0]), part(held, indices[1])


@dataclass(frozen=True, eq=False)
class FineTuned:
    """Result of fine-tuning."""

    params: list[Array]
    history: list[Record]
    epochs: int
    diverged: DivergenceError | None = None
    resolved: Mapping[str, Resolved] = field(default_factory=dict)


class FineTuner:
    """The task that the epoch loop runs: backpropagation with early stopping."""

    def __init__(
        self, network: Network, train: TrainingSet, validation: TrainingSet | None, settings: FineTuneSettings
    ) -> None:
        bk = self.bk = network.bk
        self.network = network
        self.settings = settings
        self.finished = False
        self.diverged: DivergenceError | None = None
        self.rows = Rows(train.rows, bk, network.dtype, settings.memory_limit)
        self._targets: DeviceArray = None if train.targets is None else bk.asarray(train.targets)
        weights = train.mean_one()
        self._weights = None if weights is None else bk.asarray(weights.astype(network.dtype))
        self._validation = validation
        self._optimizer: Optimizer = settings.solver  # type: ignore[assignment]
        self._state = self._optimizer.start(bk, network.params)
        self._decays = [float(settings.alpha) if p.ndim == 2 else 0.0 for p in network.params]
        self._losses: list[float] = []  # of the validation rows, for schedules that follow them
        self._epoch = 0
        self._order: DeviceArray = None
        self._loss: DeviceArray = bk.xp.zeros((), network.dtype)
        self._best: tuple[float, list[Array]] | None = None
        self._stalled = 0
        self._good: list[Array] | None = None
        self._rate, self._updates = 0.0, 0

    def begin_epoch(self, epoch: int, order: Index | WindowedOrder) -> None:
        """Shuffle rows, targets and weights alike."""
        self.rows.begin(order)
        self._order = order if isinstance(order, WindowedOrder) else self.bk.asarray(order)
        self._loss[...] = 0
        after = getattr(self.settings.schedule, "after", None)
        self._factor = 1.0 if after is None else after(self._losses)
        self._epoch = epoch
        self._updates = epoch * -(-len(order) // int(self.settings.batch_size))

    def update(self, start: int, stop: int, position: float, rng: Rng) -> None:
        """Make one update with the rows at these places of the order."""
        settings, network = self.settings, self.network
        self._rate = float(settings.learning_rate_init) * factor_at(settings.schedule, position) * self._factor  # type: ignore[arg-type]
        grads = network.backward(self.gradient_at_output(start, stop, rng))
        if settings.l1:
            self._add_l1(grads)
        momentum = momentum_ramp(self._updates) if isinstance(settings.momentum, str) else settings.momentum
        rates = self._rates(len(grads))
        self._optimizer.step(self.bk, network.params, grads, self._state, rates, momentum, self._decays)
        if settings.max_norm is not None:
            self._limit_norms(rates)
        self._updates += 1

    def _rates(self, n: int) -> list[float]:
        """Return the rate of each parameter; lower layers may have a smaller rate or none."""
        settings = self.settings
        still = n - 2 if self._epoch < settings.head_epochs else 2 * settings.n_frozen
        return [
            0.0 if i < still else self._rate * (settings.pretrained_lr_factor if i < n - 2 else 1) for i in range(n)
        ]

    def _add_l1(self, grads: list[DeviceArray | Product]) -> None:
        """Add the slope of ``l1`` times the sum of the weights' absolute values."""
        xp = self.bk.xp
        for i, (p, g) in enumerate(zip(self.network.params, grads, strict=True)):
            if p.ndim == 2:
                grads[i] = g.array(self.bk) if isinstance(g, Product) else g
                grads[i] += self.settings.l1 * xp.sign(p)

    def _limit_norms(self, rates: list[float]) -> None:
        """Shrink the weights into a unit whose norm is beyond ``max_norm`` (Srivastava et al. 2014)."""
        xp = self.bk.xp
        for p, rate in zip(self.network.params, rates, strict=True):
            if p.ndim == 2 and rate:
                norms = xp.sqrt(xp.square(p).sum(axis=0))
                p *= self.settings.max_norm / xp.maximum(norms, self.settings.max_norm)

    def gradient_at_output(self, start: int, stop: int, rng: Rng | None = None) -> DeviceArray:
        """Run a minibatch forward and return the gradient of its mean loss at the head's input."""
        network = self.network
        index = self._order[start:stop]
        if self.rows.windows is not None:
            index = self.bk.asarray(index)
        rows = self.rows.batch(start, stop, network.input(stop - start))
        target = rows if self._targets is None else self._targets[index]
        output = network.forward(rows, rng, self.rows.sparse(start, stop))
        values = network.loss.values(self.bk, output, target)
        delta = network.delta(output, target)
        if self._weights is not None:
            weight = self._weights[index]
            values *= weight
            delta *= weight[:, None]
        self._loss += values.sum()
        # Short minibatches divide by batch_size too, so that every row weighs the same in an epoch.
        delta /= min(int(self.settings.batch_size), len(self.rows))
        return delta

    def end_epoch(self, epoch: int) -> Record:
        """Judge the validation rows and decide whether to continue."""
        network, loss = self.network, float(self.bk.to_numpy(self._loss)) / len(self.rows)
        record: Record = {"phase": "finetune", "loss": loss, "validation_loss": None, "validation_score": None}
        record |= {"learning_rate": self._rate, **network.loss.measures(loss)}
        params = network.host_params()
        largest = max(float(np.abs(p).max()) for p in params)
        if not (np.isfinite(loss) and largest <= MAX_HIDDEN_INPUT):
            self._fall_back(epoch, largest)
            return record | {"diverged": str(self.diverged)}
        if self._validation is None:
            self._good = params
        else:
            loss, score = self._judge(self._validation)
            self._losses.append(loss)
            record |= {"validation_loss": loss, "validation_score": score}
            record |= {f"validation_{name}": value for name, value in network.loss.measures(loss).items()}
            self._remember(-loss if score is None else score, params)
        return record

    def _judge(self, held_out: TrainingSet) -> tuple[float, float | None]:
        """Return the weighted mean loss and, where the loss has one, score of held-out rows."""
        return judge(self.network, held_out)

    def _remember(self, score: float, params: list[Array]) -> None:
        """Keep the best weights; stop after `n_iter_no_change` epochs without a better score."""
        if self._best is None or score > self._best[0] + self.settings.tol:
            self._best, self._stalled = (score, params), 0
            return
        self._stalled += 1
        self.finished = self._stalled >= self.settings.n_iter_no_change

    def _fall_back(self, epoch: int, largest: float) -> None:
        rate = float(self.settings.learning_rate_init)
        reason = f"weights reached {largest:.3g}" if np.isfinite(largest) else "weights are no longer finite"
        self.diverged = DivergenceError(
            f"fine-tuning diverged in epoch {epoch + 1}: {reason}; try ",
            Mention("learning_rate_init", rate / 10, ".3g"),
            f" (it was {rate:.3g})",
            setting="learning_rate_init",
            value=rate,
            epoch=epoch + 1,
        )
        self.finished = True
        if self._good is None and self._best is None:
            raise self.diverged

    def snapshot(self) -> State:
        """Return everything that the next update and the end of the epoch read."""

        def host(arrays: Sequence[DeviceArray]) -> list[Array]:
            return [np.array(self.bk.to_numpy(a), order="C") for a in arrays]

        return {
            "params": host(self.network.params), "optimizer": host(self._state), "loss": host([self._loss]),
            "losses": list(self._losses), "best": None if self._best is None else list(self._best),
            "stalled": self._stalled, "good": self._good, "rate": self._rate, "updates": self._updates,
        }  # fmt: skip

    def restore(self, state: State) -> None:
        """Continue within an epoch that has begun, from the values of `snapshot`."""
        state, params = Fields.of(state), self.network.params
        moving = {"params": params, "optimizer": self._state, "loss": [self._loss]}
        for name, own in moving.items():
            for mine, kept in zip(own, state.arrays(name, own), strict=True):
                mine[...] = kept if isinstance(mine, np.ndarray) else self.bk.asarray(kept)
        losses = Fields(dict(enumerate(state.items_of("losses"))), f"{state.where}.losses")
        self._losses = [losses.number(name) for name in losses]
        whole = self.network.host_params()  # of tied layers too
        best = None if state["best"] is None else state.items_of("best", 2)
        if best is not None:
            found = Fields({"score": best[0], "params": best[1]}, f"{state.where}.best")
            self._best = found.number("score"), found.arrays("params", whole)
        self._good = None if state["good"] is None else state.arrays("good", whole)
        self._stalled, self._updates = state.integer("stalled"), state.integer("updates")
        self._rate = state.number("rate")

    def result(self) -> list[Array]:
        """Return the parameters to keep: the best ones where there are validation rows."""
        if self._best is not None:
            return self._best[1]
        return self._good if self._good is not None else self.network.host_params()


def start_tuning(
    hidden: Sequence[Layer], head: tuple[Array, Array], loss: Loss, train: TrainingSet, *, settings: FineTuneSettings,
    bk: Backend, validation: TrainingSet | None = None, tied: bool = False,
) -> FineTuner:  # fmt: skip
    """Return the task of fine-tuning a network, as `finetune` gives it to the epoch loop."""
    rate = min(layer.activation.rate for layer in hidden) if settings.rate is None else settings.rate
    settings = settings.resolve(train.rows.shape[0], rate)
    network = Network(hidden, *head, loss, bk, tied=tied, dropout=settings.drops(len(hidden)))
    return FineTuner(network, train, validation, settings)


def finetune(
    hidden: Sequence[Layer], head: tuple[Array, Array], loss: Loss, train: TrainingSet, settings: FineTuneSettings,
    run: Run, *, validation: TrainingSet | None = None, first_epoch: int = 0, n_epochs: int | None = None,
    tied: bool = False,
) -> FineTuned:  # fmt: skip
    """Fine-tune a network by minibatch backpropagation.

    Parameters
    ----------
    hidden : sequence of Layer
        Where to start, for instance from `deepbelief.network.layers_from_stack`.
    head : tuple of ndarray
        W of shape (n_top, n_outputs) and bias of shape (n_outputs,) to start from.
    loss : Loss
    train : TrainingSet
    settings : FineTuneSettings
    run : Run
    validation : TrainingSet, optional
        Rows for early stopping; the parameters with the best score there, or else the lowest loss, are kept.
    first_epoch : int
        Epochs done by earlier calls, so that random streams continue.
    n_epochs : int, optional
        Number of epochs to train, of the ``max_iter`` that the schedule is made for.
    tied : bool
        As for `Network`.

    Returns
    -------
    FineTuned

    Raises
    ------
    DivergenceError
        If the loss is not finite after the first epoch; after a later one the last good parameters are kept.
    """
    tuner = start_tuning(
        hidden, head, loss, train, settings=settings, bk=run.bk, validation=validation, tied=tied
    )  # fmt: skip
    settings, network = tuner.settings, tuner.network
    last = first_epoch + int(settings.max_iter)
    stop = last if n_epochs is None else first_epoch + n_epochs
    for line in resolution_lines(settings.resolved):
        run.reporter.note(line)
    run.reporter.begin({"phase": "finetune", "n_epochs": last, "sizes": network.sizes, "first_epoch": first_epoch})
    history = run_epochs(
        tuner, train.rows.shape[0], run, epochs=range(first_epoch, stop), horizon=last,
        batch_size=int(settings.batch_size), key=("finetune",), windows=tuner.rows.windows,
    )  # fmt: skip
    return FineTuned(tuner.result(), history, first_epoch + len(history), tuner.diverged, settings.resolved)


def judge(network: Network, held_out: TrainingSet) -> tuple[float, float | None]:
    """Return the weighted mean loss and, where the loss has one, score of held-out rows."""
    bk, of = network.bk, network.loss
    weights = held_out.mean_one()
    weights = np.ones(held_out.rows.shape[0]) if weights is None else weights
    loss, score = 0.0, None
    for start, stop, rows, output in outputs(network, held_out.rows):
        target = rows if held_out.targets is None else bk.asarray(held_out.targets[start:stop])
        loss += float(bk.to_numpy(of.values(bk, output, target)) @ weights[start:stop])
        each = of.score(bk, output, target)
        if each is not None:
            score = (score or 0.0) + float(bk.to_numpy(each) @ weights[start:stop])
    return loss / len(weights), None if score is None else score / len(weights)


def outputs(
    network: Network, source: RowSource, *, top: bool = False
) -> Iterator[tuple[int, int, DeviceArray, DeviceArray]]:
    """Iterate over (start, stop, rows, output) of the network, or of its top hidden layer, for blocks of rows.

    Each output lies in a buffer that the next one reuses.
    """
    n = source.shape[0]
    compute = network.hidden if top else network.forward
    for start in range(0, n, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, n)
        x = network.bk.asarray(source.take(slice(start, stop)), dtype=network.dtype)
        yield start, stop, x, compute(x)

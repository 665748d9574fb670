"""Prediction of the cost of a run: seconds, and bytes of memory, disk and network."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, cast

import numpy as np
from scipy import sparse

from deepbelief.backends import get_backend
from deepbelief.backends.products import scratch_bytes
from deepbelief.cost import footprint
from deepbelief.cost.calibration import round_bytes
from deepbelief.cost.footprint import DataSize, LayerSize
from deepbelief.cost.machine_rates import MachineRates
from deepbelief.cost.operations import Phases, Work, forward, update_of_machine, update_of_network
from deepbelief.errors import DataError, Mention, SettingError
from deepbelief.estimators.base import held_out_share
from deepbelief.estimators.pretraining_options import layer_settings, with_pretraining
from deepbelief.finetuning import FineTuneSettings
from deepbelief.layer import RBMSettings
from deepbelief.monitor import n_monitored
from deepbelief.optimizers import Optimizer
from deepbelief.quantities import duration, size_of
from deepbelief.recipes.tuning_rules import AUTOENCODING, USUAL_EXTENT
from deepbelief.row_windows import MEMORY_PARTS, memory_bytes, windows_for
from deepbelief.schedules import steps_at
from deepbelief.streaming import BLOCK_ROWS
from deepbelief.typing import Estimator, RowsLike, StrDict
from deepbelief.units import get_unit

QUESTIONS = 4  # of workers at the end of an epoch


@dataclass(frozen=True)
class Part:
    """Predicted cost of a part of a run."""

    name: str
    updates: int
    epochs: int
    seconds: float
    flops: float


@dataclass(frozen=True)
class Cost:
    """Predicted cost of a run.

    Parameters
    ----------
    parts : tuple of Part
        Setup, layers, and fine-tuning.
    resident_bytes : int
        Largest resident size of the process, or of each worker.
    rows_bytes : int
        Bytes of the rows in it, those of the caller included.
    model_bytes, checkpoint_bytes, spilled_bytes : int
        Bytes on disk: the model's file, a checkpoint with the one before it, and hidden representations that do not fit
        into memory.
    network_bytes : int
        Bytes that a cluster sends, in both directions.
    workers : int
        Number of processes that train.
    memory : int
        Bytes of memory of the machine.
    rows_limit : int
        Bytes that rows may take in memory: ``memory_limit``, or a share of the machine's memory.
    windowed : bool
        Whether rows are read in windows, because they exceed that limit.
    notes : tuple of str
        What the prediction assumes or leaves out.
    """

    parts: tuple[Part, ...]
    resident_bytes: int
    rows_bytes: int
    model_bytes: int
    checkpoint_bytes: int
    spilled_bytes: int
    network_bytes: int
    workers: int
    memory: int
    rows_limit: int
    windowed: bool = False
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Predicted seconds of the run."""
        return sum(part.seconds for part in self.parts)

    @property
    def flops(self) -> float:
        """Floating-point operations of the dense matrix products."""
        return sum(part.flops for part in self.parts)

    def to_dict(self) -> StrDict:
        """Return plain values."""
        return asdict(self) | {"seconds": self.seconds, "flops": self.flops, "predicted": True}

    def __str__(self) -> str:
        lines = [f"predicted, not measured: {duration(self.seconds)}"]
        for part in self.parts:
            extent = f"{part.epochs:,} epochs, {part.updates:,} updates" if part.updates else ""
            lines.append(f"  {part.name:<28}{duration(part.seconds):>12}  {extent}".rstrip())
        per = " of each worker" if self.workers > 1 else ""
        lines.append(f"memory{per}: {size_of(self.resident_bytes)} at most, rows {size_of(self.rows_bytes)}")
        spilled = f", {size_of(self.spilled_bytes)} of hidden representations" if self.spilled_bytes else ""
        lines.append(
            f"disk: model {size_of(self.model_bytes)}, checkpoints (if kept) {size_of(self.checkpoint_bytes)}{spilled}"
        )
        if self.network_bytes:
            lines.append(f"network: {size_of(self.network_bytes)}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def predict_cost(
    estimator: Estimator,
    rows: RowsLike | DataSize,
    rates: MachineRates,
    *,
    workers: int = 1,
    updates_per_round: int = 100,
    n_outputs: int = 0,
    sizes: Sequence[int] | None = None,
) -> Cost:
    """Predict the cost of ``estimator.fit(rows)``; nothing is trained.

    Parameters
    ----------
    estimator : RBM, DBN, DBNClassifier, DBNRegressor or DeepAutoencoder
        Its settings are those of the run.
    rows : array, CSR matrix, RowSource or DataSize
        Rows to train on, or a description of them.
    rates : MachineRates
        Of the machine that is to train, from `measure_rates`.
    workers : int, default=1
        Processes that pretrain on equal parts of the rows.
    updates_per_round : int, default=100
        Updates between two averages of the workers' parameters.
    n_outputs : int, default=0
        Number of classes or targets of a network that is fine-tuned.
    sizes : sequence of int, optional
        Hidden layer sizes where the estimator leaves them to the data.

    Returns
    -------
    Cost

    Raises
    ------
    SettingError
        If the cost of a setting is not known.
    DataError
        If there are fewer than 2 rows.

    Examples
    --------
    >>> from deepbelief import DBN, RBM
    >>> from deepbelief.cost import DataSize, MachineRates, predict_cost
    >>> rates = MachineRates(2e-11, 1e-10, {"update": 5e-5, "mean:bernoulli": 1e-9}, 10**8, 2**34, 2)
    >>> cost = predict_cost(DBN((500,), rbm=RBM(n_iter=10)), DataSize(60_000, 784), rates)
    >>> round(cost.flops / (10 * 60_000 * 5 * 2 * 784 * 500), 2)  # five products an update
    1.0
    """
    data = rows if isinstance(rows, DataSize) else DataSize.of(rows)
    run = _CostOfRun(estimator, data, rates, workers, updates_per_round, sizes)
    run.pretraining()
    if hasattr(estimator, "max_iter"):
        run.fine_tuning(n_outputs)
    return run.result()


class _CostOfRun:
    """Sums of a run while its parts are gone through."""

    def __init__(
        self, estimator: Estimator, data: DataSize, rates: MachineRates, workers: int, round_: int,
        sizes: Sequence[int] | None,
    ) -> None:  # fmt: skip
        if not (hasattr(estimator, "rbm") or hasattr(estimator, "n_components")) or hasattr(estimator, "truncation"):
            raise SettingError(
                f"`estimator` must be an RBM, a DBN or a network made from one, got {type(estimator).__name__}. The "
                "cost of others is not known: train for one epoch to see it."
            )
        if data.n_rows < 2:
            raise DataError(f"training needs at least 2 rows, got {data.n_rows}")
        workers = min(workers, data.n_rows)  # each has a row
        self.estimator, self.rates, self.workers, self.round = estimator, rates, workers, round_
        self.parts: list[Part] = []
        self.notes: list[str] = []
        self.sent, self.spilled, self.peak, self.row_bytes = 0, 0, 0, 0
        self.layers: list[LayerSize] = []
        self.settings, self.sizes = self._settings(sizes, data)
        template = estimator.rbm if hasattr(estimator, "rbm") else estimator
        first = template[0] if isinstance(template, (list, tuple)) else template
        held = held_out_share(0.0 if first is None else float(first.validation_fraction), self.settings[0])
        self.data = replace(data, n_rows=data.n_rows // workers)
        self.n_rows = self.data.n_rows - int(held * self.data.n_rows)
        limit = memory_bytes(estimator.memory_limit)
        self.limit = rates.memory // MEMORY_PARTS if limit is None else limit
        self.windowed = data.on_disk and self.data.n_rows * data.n_features * 4 > self.limit

    def _settings(self, sizes: Sequence[int] | None, data: DataSize) -> tuple[list[RBMSettings], tuple[int, ...]]:
        """Return resolved settings of each layer, and all sizes."""
        estimator = self.estimator
        if hasattr(estimator, "n_components"):
            hidden: tuple[int, ...] = (int(estimator.n_components),)
            settings, kind = layer_settings(estimator, 1), "rbm"
        else:
            given = estimator.hidden_layer_sizes if sizes is None else sizes
            if isinstance(given, str):
                raise SettingError(
                    Mention("hidden_layer_sizes"),
                    " must be numbers to predict a cost, got 'auto'. Pass `sizes`.",
                    setting="hidden_layer_sizes",
                    value=given,
                )
            hidden = tuple(int(s) for s in np.atleast_1d(np.asarray(given)))
            settings, kind = layer_settings(estimator.rbm, len(hidden)), str(estimator.pretraining)
            kind = "rbm" if kind == "auto" and estimator.rbm is not None else kind
            if kind == "auto":
                kind = "denoising"
                self.notes.append("pretraining='auto' is treated as denoising")
            settings = [with_pretraining(each, estimator, kind) for each in settings]
        found, below, visible = [], data.n_features, settings[0].visible
        for each, n_hidden in zip(settings, hidden, strict=True):
            unit = get_unit(data.visible if visible in ("auto", "groups") else visible)
            found.append(replace(each, visible=unit).resolve(data.n_rows, below, n_hidden))
            below, visible = n_hidden, get_unit(each.hidden).next_visible
            names = [component.name for component in each.all_components]
            if names:
                self.notes.append(f"not counted: {', '.join(names)}")
        if any(each.early_stopping for each in settings):
            self.notes.append("early stopping may end sooner")
        return found, (data.n_features, *hidden)

    def add(self, name: str, work: Work, updates: int = 0, epochs: int = 0, more: float = 0.0) -> None:
        """Add a part of the run."""
        self.parts.append(Part(name, updates, epochs, self.rates.seconds(work) + more, work.flops))

    def pretraining(self) -> None:
        """Go through the layers."""
        data, rates = self.data, self.rates
        passes = 1 if hasattr(self.estimator, "n_components") else int(self.estimator.n_passes)
        setup = Work().add("scan", data.n_rows * data.n_features)
        if data.on_disk:
            setup.add("read", (1 if self.windowed else 2) * data.n_bytes)
        self.add("checks of the rows", setup)
        bk = get_backend("numpy")
        pays = False
        if data.density is not None:
            n_columns = min(data.n_features, 1000)
            n_few = max(1, int(1e5 / n_columns))
            few = bk.sparse(sparse.random(n_few, n_columns, data.density, "csr", np.float32, np.random.default_rng(0)))
            pays = few.pays
            transposed = few.part(0, 1).pays_transposed if pays else False
        for i, settings in enumerate(self.settings):
            v, h = self.sizes[i : i + 2]
            epochs, batch = passes * int(settings.n_iter), min(int(settings.batch_size), self.n_rows)
            density = data.density if pays and not i else None
            phases = Phases(
                batch, v, h, int(settings.n_chains), _mean_steps(settings, epochs), cast(Any, settings.visible).spec,
                get_unit(settings.hidden).spec, density, density is not None and transposed,
            )  # fmt: skip
            update = update_of_machine(cast(Any, settings.gradient), cast(Optimizer, settings.solver), phases)
            updates = -(-self.n_rows // batch)
            work = _epoch(update, updates, self.n_rows / batch, phases, self.n_rows) * epochs
            work = work + Work().add("initial", v * h).add("fresh", 4 * v * h)
            more = self._passing_on(work, i, passes)
            if self.windowed and not i:
                more += max(0.0, epochs * rates.rate("read") * data.n_bytes)
            more += self._averaging(i, epochs, updates)
            self.add(f"layer {i + 1}, {v} -> {h}", work, epochs * updates, epochs, more)
            self._remember(i, batch, phases)

    def _passing_on(self, work: Work, layer: int, passes: int) -> float:
        """Count the hidden means of all rows that the next layer is trained on."""
        if layer + 1 == len(self.settings):
            return 0.0
        v, h = self.sizes[layer : layer + 2]
        n = self.n_rows
        work.product(BLOCK_ROWS, v, h, passes * n / BLOCK_ROWS).add("mean:bernoulli", passes * n * h)
        work.add("fresh", passes * 2 * n * h).add("scan", passes * n * h)
        if 4 * n * h <= self.limit:
            return 0.0
        self.spilled = max(self.spilled, 4 * n * h)
        epochs = int(self.settings[layer + 1].n_iter) * passes
        return self.rates.rate("read") * 4 * n * h * (epochs + 2)

    def _averaging(self, layer: int, epochs: int, updates: int) -> float:
        """Count the bytes of the rounds of a layer, and return their time."""
        if self.workers == 1:
            return 0.0
        rates = self.rates
        if rates.round_seconds is None or rates.network_bytes is None:
            raise SettingError("`rates` must include rounds of workers. Measure them by measure_rates(workers=2).")
        rounds = -(-updates // self.round) * epochs
        sent = 2 * self.workers * round_bytes(*self.sizes[layer : layer + 2])
        self.sent += sent * rounds
        questions = rounds + QUESTIONS * epochs
        return questions * self.workers * rates.round_seconds + rounds * sent / rates.network_bytes

    def _remember(self, layer: int, batch: int, phases: Phases) -> None:
        data, settings = self.data, self.settings[layer]
        persistent = footprint.persistent_rows(settings.gradient, int(settings.n_chains))
        chains = persistent or batch
        negative = int(settings.n_chains) if persistent else batch  # of one temperature
        here = LayerSize(
            phases.n_visible, phases.n_hidden, batch, chains, n_monitored(self.n_rows),
            footprint.moments(settings.solver), phases.steps > 1 or chains != batch,
            persistent, scratch=scratch_bytes(batch + negative, phases.n_visible, phases.n_hidden),
        )  # fmt: skip
        self.layers.append(here)
        if layer == 0:
            rows = data.n_bytes if not data.on_disk else 4 * data.n_rows * data.n_features
            if data.density is not None:
                rows += 2 * (data.n_bytes - 4 * data.n_rows) + 16 * data.n_rows  # two orders of the rows
            if self.windowed:
                windows = windows_for(data.n_rows, 4 * data.n_features, self.limit)
                rows = 2 * windows.block * windows.blocks * 4 * data.n_features
            self.row_bytes = rows
        below = 4 * self.n_rows * self.sizes[layer] if layer else 0
        if below > self.limit:
            windows = windows_for(self.n_rows, 4 * self.sizes[layer], self.limit)
            below = 2 * windows.block * windows.blocks * 4 * self.sizes[layer]
        if layer:  # a block of hidden means
            below += 8 * min(self.n_rows, BLOCK_ROWS) * self.sizes[layer]
        order = 16 * self.n_rows if not self.windowed else 0
        self.peak = max(self.peak, below + order + footprint.machines(self.layers))

    def fine_tuning(self, n_outputs: int) -> None:
        """Count fine-tuning of the network that the stack becomes."""
        estimator, n = self.estimator, self.n_rows
        autoencoder = hasattr(estimator, "inverse_transform")
        if not autoencoder and n_outputs < 1:
            raise SettingError("`n_outputs` must be the number of classes or targets, got 0.")
        hidden = self.sizes[1:]
        sizes = (*self.sizes, *reversed(self.sizes[:-1])) if autoencoder else (self.sizes[0], *hidden, n_outputs)
        names = ("solver", "batch_size", "max_iter", "dropout", "input_dropout", "preset")
        given = {name: getattr(estimator, name) for name in names if hasattr(estimator, name)}
        extent, nesterov = AUTOENCODING if autoencoder else USUAL_EXTENT, getattr(estimator, "nesterovs_momentum", True)
        settings = FineTuneSettings(**given, extent=extent, nesterov=bool(nesterov)).resolve(n, 0.1)
        if "auto" in (given.get("dropout"), given.get("input_dropout")):
            self.notes.append("dropout='auto' is treated as 0")
        if bool(estimator.early_stopping):
            n -= int(estimator.validation_fraction * n)
        batch, epochs = int(settings.batch_size), int(settings.max_iter)
        update = update_of_network(sizes, batch, cast(Optimizer, settings.solver), settings.drops(len(sizes) - 2))
        epoch = update * (n / batch)
        epoch.amounts["network update"] = math.ceil(n / batch)
        epoch.amounts["network layer"] = math.ceil(n / batch) * (len(sizes) - 2)
        weights = sum(a * b for a, b in pairwise(sizes))
        epoch = epoch + Work().add("fresh", 3 * weights)
        if bool(estimator.early_stopping):
            epoch = epoch + forward(sizes, BLOCK_ROWS) * ((self.n_rows - n) / BLOCK_ROWS)
        if self.data.on_disk and self.windowed:
            epoch.add("read", self.data.n_bytes)
        work = epoch * epochs + Work().add("scan", self.data.n_rows * self.data.n_features)
        self.add(f"fine-tuning, {' -> '.join(map(str, sizes))}", work, epochs * -(-n // batch), epochs)
        network = footprint.network(sizes, batch, footprint.moments(settings.solver))
        self.peak = max(self.peak, network + footprint.kept(self.layers) + 16 * n)

    def result(self) -> Cost:
        """Return the sums."""
        own = self.rates.worker_bytes if self.workers > 1 else None
        resident = (own or self.rates.base_bytes) + self.row_bytes + self.peak
        epochs, single = sum(part.epochs for part in self.parts), hasattr(self.estimator, "n_components")
        model = footprint.model_file(self.layers, epochs, moments=single)
        return Cost(
            tuple(self.parts), int(resident), int(self.row_bytes), model, footprint.checkpoints(self.layers),
            self.spilled, self.sent, self.workers, self.rates.memory, self.limit,
            self.windowed, tuple(dict.fromkeys(self.notes)),
        )  # fmt: skip


def _mean_steps(settings: RBMSettings, epochs: int) -> float:
    steps = cast(Any, settings.gradient).gibbs_steps
    if not isinstance(steps, tuple):
        return float(steps)
    return float(np.mean([steps_at(steps, epoch, epochs) for epoch in range(epochs)])) if epochs else float(steps[0])


def _epoch(update: Work, updates: int, whole: float, phases: Phases, n_rows: int) -> Work:
    """Return the work of an epoch: its updates, and the judgement of the monitored rows at its end."""
    work = update * whole
    work.amounts["update"] = updates
    v, h, n = phases.n_visible, phases.n_hidden, n_monitored(n_rows)
    work.product(n, v, h).product(n, h, v).add("mean:bernoulli", n * (v + h)).add("fresh", n * (2 * v + 6 * h))
    return work.add("fresh", 6 * v * h)

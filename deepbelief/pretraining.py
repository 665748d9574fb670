"""Greedy layer-wise pretraining: every layer is a machine trained on the hidden means of those below."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from deepbelief.backends import Backend
from deepbelief.checkpoints import ResumePoint
from deepbelief.communicator import SINGLE_PROCESS, Communicator
from deepbelief.errors import DataError, DivergenceError, FileFormatError, Mention, SettingError
from deepbelief.fields import Fields, restoring
from deepbelief.layer import LayerState, LayerTrainer, RBMSettings, choose_visible, initial_weights
from deepbelief.machine import Layers
from deepbelief.recipes.resolved import Resolved, resolution_lines
from deepbelief.settings import FROM_ROWS, check_binary
from deepbelief.sources import (
    OF_NETWORKS,
    RowSource,
    ScaledSource,
    binarized,
    column_map,
    column_statistics,
    entering,
    has_missing,
    scaled,
)
from deepbelief.stack import Stack, State, Weights, weights_from_state
from deepbelief.streaming import entering_blocks
from deepbelief.training import Record, Rows, Run
from deepbelief.typing import Array, StrMapping
from deepbelief.units import Unit, get_unit, hidden_types, named_unit, smoothed_means

ALL_BUT_DEAD = 1e-2  # of the largest standard deviation in a layer


@dataclass(frozen=True)
class Pretrained:
    """Result of pretraining."""

    stack: Stack
    history: list[Record]
    states: list[LayerState]
    negative_states: Array
    diverged: DivergenceError | None = None
    resolved: Sequence[Mapping[str, Resolved]] = field(default_factory=list)
    """Resolved automatic settings of each layer."""


def pretrain(
    source: RowSource, layer_sizes: Sequence[int], settings: Sequence[RBMSettings], run: Run, *, n_passes: int = 1,
    held_out: RowSource | None = None, start: Stack | None = None, states: Sequence[LayerState] | None = None,
) -> Pretrained:  # fmt: skip
    """Pretrain a stack layer by layer, in one or more passes.

    In each pass every layer resumes where it stopped - velocities, chains, schedules and all - on the
    hidden means of the layers below as they now are.

    Parameters
    ----------
    source : RowSource
    layer_sizes : sequence of int
        Hidden units of each layer.
    settings : sequence of RBMSettings
        One for each layer.
    run : Run
    n_passes : int
    held_out : RowSource, optional
        Rows that are watched and never trained on.
    start, states : Stack and sequence of LayerState, optional
        Go on from an earlier run.

    Returns
    -------
    Pretrained

    Raises
    ------
    DataError, SettingError
        If the rows cannot be used.
    DivergenceError
        If a layer diverges in its first epoch. In a later one its last good weights are kept, training stops
        and ``diverged`` says so; layers that were not reached yet are then an error too.
    """
    if source.shape[0] < 2:
        raise DataError(f"pretraining needs at least 2 rows, got {source.shape[0]}")
    seed, communicator = run.seed, run.communicator
    if communicator is not SINGLE_PROCESS and any(each.early_stopping for each in settings):
        raise SettingError(Mention("early_stopping", True), " is for a single process: leave it out on a cluster")
    own = replace(run, seed=communicator.seed(seed))
    n_rows = communicator.rows(source.shape[0])
    found = run.checkpointer.found("pretrain")
    stood = (0, 0) if found is None else _place(found, n_passes, len(layer_sizes))
    kept = [] if found is None else _kept(found, stood, (source.shape[1], *layer_sizes))
    before = None if start is None else start.layers[0]
    if kept:
        before = kept[0][0]
    given = FirstRows.of(source, held_out, settings[0], own.seed, before, communicator)
    settings = [replace(settings[0], missing=given.missing), *settings[1:]]
    layers = _Layers(given, settings, own, seed, n_rows, n_passes, start, states)
    history: list[Record] = [] if found is None else found.context.records("history")
    trainers = layers.restored(kept)
    for number in range(stood[0], n_passes):
        rows: Rows | None = None
        held: Rows | None = None
        for layer, n_hidden in enumerate(layer_sizes):
            if rows is not None:
                rows, held = layers.represented(trainers[layer - 1], rows, held)
            if layer == len(trainers):
                trainers.append(layers.first_trainer(rows, trainers, n_hidden))
            trainer = trainers[layer]
            done = (number, layer) < stood
            weights = trainer.weights_of_rows() if done else trainer.machine.weights()
            rows, held = layers.entering(trainer, weights, rows, held)
            if done:
                continue
            n_iter = int(trainer.settings.n_iter)
            first = found.context.integer("first") if found and (number, layer) == stood else trainer.state.epochs
            labels: Record = {"phase": "pretrain", "pass": number + 1, "layer": layer + 1}
            labels |= {} if trainer.settings.binarize is None else {"binarize": trainer.settings.binarize}
            extent = {"n_passes": n_passes, "n_layers": len(layer_sizes), "n_epochs": n_iter, "sizes": weights.W.shape}
            for line in resolution_lines(trainer.settings.resolved if n_iter and not number else {}):
                run.reporter.note(line)
            run.reporter.begin(labels | extent | {"first_epoch": first})
            run.checkpointer.enter("pretrain", partial(_context, number, layer, first, trainers, history))
            history += trainer.train(rows, held, range(first, first + n_iter), **labels)
            if trainer.diverged:
                return _result(trainers, len(layer_sizes), history, trainer.diverged, seed)
    return _result(trainers, len(layer_sizes), history, None, seed)


@dataclass(frozen=True, eq=False)
class _Layers:
    """Rows and trainer of each layer of a run; ``seed`` is that of all workers, the run has that of this one."""

    first: "FirstRows"
    settings: Sequence[RBMSettings]
    run: Run
    seed: int
    n_rows: int
    n_passes: int
    start: Stack | None
    states: Sequence[LayerState] | None

    def represented(self, below: LayerTrainer, rows: Rows, held: Rows | None) -> tuple[Rows, Rows | None]:
        """Return the rows of the next layer: the hidden means of the layer below, as bits where that is asked for."""
        settings, key = self.settings[below.layer + 1], (self.run.seed, below.layer, "rows")
        if below.settings.binarize == "resample":  # what is passed on stays what it is
            if below.layer == 0:
                rows = Rows(self.first.drawn, self.run.bk, below.machine.dtype, rows.limit)
            else:
                rows = rows.binarized("sample", *key, "drawn")
        rows = below.represent(rows)
        held = None if held is None else below.represent(held)
        if settings.binarize is not None:
            if not get_unit(below.machine.hidden.next_visible).enumerable:
                raise SettingError(Mention("binarize", settings.binarize), " needs Bernoulli units in the layer below")
            if settings.binarize != "resample":
                rows = rows.binarized(settings.binarize, *key, "binarize")
            if held is not None:
                held = held.binarized(settings.binarize, *key, "held-out")
        return rows, held

    def entering(
        self, trainer: LayerTrainer, weights: Weights, rows: Rows | None, held: Rows | None
    ) -> tuple[Rows, Rows | None]:
        """Return training and held-out rows as they enter a layer; those given are hidden means of the layer below."""
        if trainer.layer == 0:
            bk, dtype, limit = self.run.bk, trainer.machine.dtype, self.run.memory_limit
            sources = self.first.entering(weights)
            return tuple(None if each is None else Rows(each, bk, dtype, limit) for each in sources)  # type: ignore[return-value]
        assert rows is not None  # of the layer below
        if weights.mean is None or weights.scale is None:
            return rows, held
        return tuple(None if each is None else each.standardised(weights.mean, weights.scale) for each in (rows, held))  # type: ignore[return-value]

    def first_trainer(self, rows: Rows | None, below: list[LayerTrainer], n_hidden: int) -> LayerTrainer:
        """Return the trainer of the layer above these, which the first pass has reached with these hidden means."""
        layer = len(below)
        settings = self.settings[layer]
        hidden = named_unit(settings.hidden)
        if not hidden.can_be_hidden:
            raise SettingError(
                f"{hidden.spec} units are visible units: choose ",
                Mention("hidden", "bernoulli"),
                f", {', '.join(map(repr, hidden_types()[1:]))}",
            )
        state = None if self.states is None else self.states[layer]
        if self.start is not None:
            weights = self.start.layers[layer]
        else:
            unit, mean, scale, visible_mean = self._visible(rows, below)
            weights = initial_weights(
                n_hidden, unit, hidden, mean, scale, visible_mean, seed=self.seed, layer=layer,
                sparsity_target=settings.sparsity_target, is_model=settings.is_model,
            )  # fmt: skip
        n_iter = int(self._resolved(layer, weights).n_iter)
        return self._trainer(layer, weights, (0 if state is None else state.epochs) + n_iter * self.n_passes, state)

    def restored(self, kept: Sequence[tuple[Weights, Fields]]) -> list[LayerTrainer]:
        """Return the trainers of the layers that a run had reached."""
        trainers: list[LayerTrainer] = []
        for layer, (weights, state) in enumerate(kept):
            hidden = named_unit(self.settings[layer].hidden).spec
            if weights.hidden != hidden:
                raise FileFormatError(f"{state.where}.weights must have {hidden} hidden units, got {weights.hidden}")
            reached = _layer_state(state.fields("state"))
            with restoring(state.where):
                trainers.append(self._trainer(layer, weights, state.integer("horizon", low=1), reached))
                trainers[-1].restore(state)
            _check_restored(trainers[-1], reached, f"{state.where}.state")
        return trainers

    def _trainer(self, layer: int, weights: Weights, horizon: int, state: LayerState | None) -> LayerTrainer:
        settings = self._resolved(layer, weights)
        return LayerTrainer(weights, settings, self.run, layer=layer, horizon=horizon, state=state)

    def _resolved(self, layer: int, weights: Weights) -> RBMSettings:
        settings = replace(self.settings[layer], visible=weights.visible).resolve(
            self.n_rows, weights.n_visible, weights.n_hidden, weights.visible_mean
        )
        return replace(settings, learning_rate=self.run.communicator.rate(float(settings.learning_rate)))

    def _visible(self, rows: Rows | None, below: list[LayerTrainer]) -> tuple[Unit, Array | None, Array | None, Array]:
        if rows is None:
            visible = self.settings[0].visible
            visible = visible if visible in FROM_ROWS else named_unit(visible)
            return self.first.visible(visible, self.settings[0], self.run.communicator)
        return visible_above(below[-1].machine.hidden, rows.source(), self.run.communicator)


@dataclass(frozen=True, eq=False)
class FirstRows:
    """Rows of the first layer: in the units of the data, or where they are bits as they enter it."""

    source: RowSource
    held_out: RowSource | None
    drawn: RowSource
    """As bits that stay, if they are resampled in each epoch; else as `source`."""
    own: tuple[Array, Array] | None = None
    """Mean and scale of the map that has been applied already, to rows that are bits."""
    entered: bool = False
    missing: bool = False
    """Whether values are missing (NaN)."""

    @classmethod
    def of(
        cls, source: RowSource, held_out: RowSource | None, settings: RBMSettings, seed: int, before: Weights | None,
        communicator: Communicator = SINGLE_PROCESS, *, epoch: tuple[int, ...] = (),
    ) -> "FirstRows":  # fmt: skip
        """Return the rows as settings say; ``before`` are weights that training continues from."""
        how = settings.binarize
        if how is None:
            missing = communicator is SINGLE_PROCESS and has_missing(source)
            return cls(source, held_out, source, missing=missing)
        own = None
        if before is not None:
            own = None if before.mean is None or before.scale is None else (before.mean, before.scale)
        elif settings.scale != "none":
            own = column_map(settings.scale, source, communicator.statistics(column_statistics(source)))
        check_binary(settings.visible, source, how, own)
        if own is not None:
            source = ScaledSource(source, *own)
            held_out = None if held_out is None else ScaledSource(held_out, *own)
        drawn = binarized(source, how, seed, "rows", *epoch)
        held_out = None if held_out is None else binarized(held_out, how, seed, "held-out")
        return cls(source if how == "resample" else drawn, held_out, drawn, own, entered=True)

    def visible(
        self, visible: str | Unit, settings: RBMSettings, communicator: Communicator = SINGLE_PROCESS
    ) -> tuple[Unit, Array | None, Array | None, Array]:
        """Return (visible type, mean, scale, smoothed column means), as `choose_visible`."""
        if not self.entered:
            return choose_visible(visible, self.source, communicator, settings.scale, missing=self.missing)
        unit, mean, scale, smoothed = choose_visible(visible, self.source, communicator)
        if self.own is not None:
            mean, scale = (np.asarray(each, self.source.dtype) for each in self.own)
        return unit, mean, scale, smoothed

    def entering(self, weights: Weights) -> tuple[RowSource, RowSource | None]:
        """Return training and held-out rows as they enter the first layer."""
        if self.entered:
            return self.source, self.held_out
        return scaled(self.source, weights), None if self.held_out is None else scaled(self.held_out, weights)


def _layer_state(state: Fields) -> LayerState:
    """Return the state of a layer in a checkpoint."""
    owners = state.fields("arrays")
    arrays = {owner: dict(owners.fields(owner)) for owner in owners}
    for owner, own in arrays.items():
        for name, array in own.items():
            if not isinstance(array, np.ndarray) or (array.dtype.kind == "i" and (array < 0).any()):
                raise FileFormatError(f"{owners.where}.{owner}.{name} must be an array without negative counts")
    return LayerState(arrays, state.integer("epochs"), state.integer("updates"))


def _check_restored(trainer: LayerTrainer, kept: LayerState, where: str) -> None:
    """Refuse arrays of a checkpoint that a trainer with the settings of the run could not restore."""

    def outline(arrays: Mapping[str, StrMapping]) -> dict[tuple[str, str], object]:
        return {(owner, name): (a.shape, a.dtype) for owner, own in arrays.items() for name, a in own.items()}

    ours, theirs = outline(trainer.learner.arrays), outline(kept.arrays)
    for owner, name in ours.keys() | theirs.keys():
        if ours.get((owner, name)) != theirs.get((owner, name)):
            raise FileFormatError(
                f"{where}.arrays.{owner}.{name} must be as in a run with these settings, "
                f"{_shown(ours.get((owner, name)))}, got {_shown(theirs.get((owner, name)))}"
            )


def _shown(outline: Any) -> str:
    return "nothing" if outline is None else f"{outline[1]} {outline[0]}"


def _place(found: ResumePoint, n_passes: int, n_layers: int) -> tuple[int, int]:
    """Return the pass and the layer that a run had reached."""
    return found.context.integer("pass", high=n_passes - 1), found.context.integer("layer", high=n_layers - 1)


def _kept(found: ResumePoint, stood: tuple[int, int], sizes: Sequence[int]) -> list[tuple[Weights, Fields]]:
    """Return weights and state of the layers that a run had reached, from the lowest on."""
    number, layer = stood
    states = found.context.several("layers", len(sizes) - 2 if number else layer)
    states.insert(layer, found.task)
    kept = [(weights_from_state(state.fields("weights")), state) for state in states]
    for i, (weights, state) in enumerate(kept):
        if weights.W.shape != (sizes[i], sizes[i + 1]):
            raise FileFormatError(
                f"{state.where}.weights must have {sizes[i]} inputs and {sizes[i + 1]} hidden units, "
                f"got {weights.n_visible} and {weights.n_hidden}"
            )
    return kept


def _context(number: int, layer: int, first: int, trainers: list[LayerTrainer], history: list[Record]) -> State:
    """Return what is needed to come back to a layer's share of a pass, beside the state of its trainer."""
    others = [trainer.snapshot() for i, trainer in enumerate(trainers) if i != layer]
    return {"pass": number, "layer": layer, "first": first, "layers": others, "history": list(history)}


def _result(
    trainers: list[LayerTrainer], n_layers: int, history: list[Record], diverged: DivergenceError | None, seed: int
) -> Pretrained:
    if diverged is not None and len(trainers) < n_layers:
        raise diverged
    stack = Stack(tuple(t.machine.weights() for t in trainers))
    return Pretrained(
        stack,
        history,
        [t.export_state() for t in trainers],
        trainers[-1].negative_states(seed),
        diverged,
        [t.settings.resolved for t in trainers],
    )


def visible_above(
    hidden: Unit, means: RowSource, communicator: Communicator = SINGLE_PROCESS
) -> tuple[Unit, Array | None, Array | None, Array]:
    """Return (visible type, mean, scale, column means) of a layer trained on these means of hidden units."""
    unit = get_unit(hidden.next_visible)
    if hidden.scaled_above:
        _, mean, scale, centred = choose_visible(unit, means, communicator)
        # A nearly dead unit must not be scaled up to the size of the others: its weights would be huge.
        deviation = np.sqrt(communicator.statistics(column_statistics(means)).var)
        assert scale is not None  # these units are standardised
        return unit, mean, np.where(deviation < ALL_BUT_DEAD * deviation.max(), 1, scale).astype(scale.dtype), centred
    statistics = communicator.statistics(column_statistics(means))
    column_means, n = statistics.mean, statistics.counts
    if unit.discrete:
        column_means = smoothed_means(unit, column_means, n)
    return unit, None, None, column_means.astype(means.dtype)


def transform(stack: Stack, source: RowSource, bk: Backend, *, n_layers: int | None = None) -> Array:
    """Return the hidden means of a stack's top layer (or of its first ``n_layers``) as a NumPy array."""
    weights = stack.layers[:n_layers]
    layers, dtype = Layers(weights, bk), weights[0].W.dtype
    out = np.empty((source.shape[0], weights[-1].n_hidden), dtype)
    for start, stop, block in entering_blocks(entering(source, weights[0], OF_NETWORKS), bk, dtype):
        *_, top = layers.up(block)
        out[start:stop] = bk.to_numpy(top)
    return out


__all__ = ["FirstRows", "LayerState", "Pretrained", "RBMSettings", "pretrain", "transform", "visible_above"]

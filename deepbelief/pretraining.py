"""Greedy layer-wise pretraining: every layer is a machine trained on the hidden means of those below."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from deepbelief.backends import Backend
from deepbelief.checkpoints import NO_KEEPER, Found, Keeper
from deepbelief.errors import DataError, DivergenceError, SettingError
from deepbelief.layer import LayerState, LayerTrainer, RBMSettings, choose_visible, initial_weights
from deepbelief.machine import Machine
from deepbelief.peers import ALONE, Peers
from deepbelief.rows import entering_blocks
from deepbelief.settings import check_binary
from deepbelief.sources import RowSource, ScaledSource, binarized, column_statistics
from deepbelief.stack import Stack, State, Weights
from deepbelief.training import Record, Reporter, Rows
from deepbelief.units import Unit, get_unit, named_unit

ALL_BUT_DEAD = 1e-2  # of the largest standard deviation in a layer


@dataclass(frozen=True)
class Pretrained:
    """What pretraining gives back."""

    stack: Stack
    history: list[Record]
    states: list[LayerState]
    negative_states: np.ndarray[Any, Any]
    diverged: str = ""


def scaled(source: RowSource, weights: Weights) -> RowSource:
    """Return the rows as they enter a layer."""
    if weights.mean is None or weights.scale is None:
        return source
    return ScaledSource(source, weights.mean, weights.scale)


def pretrain(
    source: RowSource, layer_sizes: Sequence[int], settings: Sequence[RBMSettings], *, bk: Backend, seed: int,
    n_passes: int = 1, held_out: RowSource | None = None, reporter: Reporter | None = None,
    start: Stack | None = None, states: Sequence[LayerState] | None = None, keeper: Keeper = NO_KEEPER,
    memory_limit: int | None = None, peers: Peers = ALONE,
) -> Pretrained:  # fmt: skip
    """Pretrain a stack layer by layer, in one or more passes.

    In each pass every layer goes on where it stopped - velocities, chains, schedules and all - on the
    hidden means of the layers below as they now are.

    Parameters
    ----------
    source : RowSource
    layer_sizes : sequence of int
        Hidden units of each layer.
    settings : sequence of RBMSettings
        One for each layer.
    bk : Backend
    seed : int
    n_passes : int
    held_out : RowSource, optional
        Rows that are watched and never trained on.
    reporter : Reporter, optional
    start, states : Stack and sequence of LayerState, optional
        Go on from an earlier run.
    keeper : Keeper
        Keeps the run's state, and knows where one that goes on stood.
    memory_limit : int, optional
        Bytes that rows may take in memory; None: a quarter of what there is. More rows are read in windows.
    peers : Peers
        Others that train the same stack, each on rows of its own.

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
    reporter = reporter or Reporter()
    if source.shape[0] < 2:
        raise DataError(f"pretraining needs at least 2 rows, got {source.shape[0]}")
    own = peers.seed(seed)
    n_rows = peers.rows(source.shape[0])
    source, drawn, held_out = _binarized(source, held_out, settings[0], own)
    found = keeper.found("pretrain")
    stood = (0, 0) if found is None else (found.context["pass"], found.context["layer"])
    history: list[Record] = [] if found is None else list(found.context["history"])
    trainers = [] if found is None else _taken_up(found, settings, n_rows, bk, own, peers)
    for number in range(stood[0], n_passes):
        rows: Rows | None = None
        held: Rows | None = None
        for layer, n_hidden in enumerate(layer_sizes):
            if layer:
                rows, held = _represented(trainers[layer - 1], rows, held, drawn, settings[layer], own)
            if layer == len(trainers):
                trainer = _first_pass_trainer(
                    source,
                    rows,
                    n_rows,
                    trainers,
                    layer,
                    n_hidden,
                    settings[layer],
                    bk,
                    seed,
                    n_passes,
                    start,
                    states,
                    peers,
                )
                trainers.append(trainer)
            trainer = trainers[layer]
            done = (number, layer) < stood
            weights = trainer.weights_of_rows() if done else trainer.machine.weights()
            if layer == 0:
                rows = Rows(scaled(source, weights), bk, trainer.machine.dtype, memory_limit)
                held = None
                if held_out is not None:
                    held = Rows(scaled(held_out, weights), bk, trainer.machine.dtype, memory_limit)
            elif weights.mean is not None and weights.scale is not None:
                rows = rows.standardised(weights.mean, weights.scale)  # type: ignore[union-attr]
                held = None if held is None else held.standardised(weights.mean, weights.scale)
            if done:
                continue
            n_iter = int(trainer.settings.n_iter)
            first = found.context["first"] if found and (number, layer) == stood else trainer.state.epochs
            labels: Record = {"phase": "pretrain", "pass": number + 1, "layer": layer + 1}
            labels |= {} if trainer.settings.binarize is None else {"binarize": trainer.settings.binarize}
            extent = {"n_passes": n_passes, "n_layers": len(layer_sizes), "n_epochs": n_iter, "sizes": weights.W.shape}
            reporter.begin(labels | extent | {"first_epoch": first})
            keeper.enter("pretrain", partial(_context, number, layer, first, trainers, history))
            history += trainer.train(rows, held, range(first, first + n_iter), reporter, keeper=keeper, **labels)  # type: ignore[arg-type]
            if trainer.diverged:
                return _result(trainers, len(layer_sizes), history, trainer.diverged, seed)
    return _result(trainers, len(layer_sizes), history, "", seed)


def _binarized(
    source: RowSource, held_out: RowSource | None, settings: RBMSettings, seed: int
) -> tuple[RowSource, RowSource, RowSource | None]:
    """Return the first layer's rows as it is trained on them, as bits that stay, and the held-out rows as bits."""
    check_binary(settings.visible, source, settings.binarize)
    drawn = binarized(source, settings.binarize, seed, "rows")
    held_out = None if held_out is None else binarized(held_out, settings.binarize, seed, "held-out")
    return source if settings.binarize == "resample" else drawn, drawn, held_out


def _represented(
    below: LayerTrainer, rows: Any, held: Rows | None, drawn: RowSource, settings: RBMSettings, seed: int
) -> tuple[Rows, Rows | None]:
    """Return the rows of the next layer: the hidden means of the layer below, as bits where that is asked for."""
    bk, key = below.bk, (seed, below.layer, "rows")
    if below.settings.binarize == "resample":  # what is passed on stays what it is
        if below.layer == 0:
            rows = Rows(scaled(drawn, below.machine.weights()), bk, below.machine.dtype, rows.limit)
        else:
            rows = rows.binarized("sample", *key, "drawn")
    rows = below.represent(rows)
    held = None if held is None else below.represent(held)
    if settings.binarize is not None:
        if get_unit(below.machine.hidden.next_visible).spec != "bernoulli":
            raise SettingError(f"binarize={settings.binarize!r} needs Bernoulli units in the layer below")
        if settings.binarize != "resample":
            rows = rows.binarized(settings.binarize, *key, "binarize")
        if held is not None:
            held = held.binarized(settings.binarize, *key, "held-out")
    return rows, held


def _context(number: int, layer: int, first: int, trainers: list[LayerTrainer], history: list[Record]) -> State:
    """Return what is needed to come back to a layer's share of a pass, beside the state of its trainer."""
    others = [trainer.snapshot() for i, trainer in enumerate(trainers) if i != layer]
    return {"pass": number, "layer": layer, "first": first, "layers": others, "history": list(history)}


def _taken_up(
    found: Found, settings: Sequence[RBMSettings], n_rows: int, bk: Backend, seed: int, peers: Peers
) -> list[LayerTrainer]:
    """Return the trainers of the layers that a run had reached."""
    states = list(found.context["layers"])
    states.insert(found.context["layer"], found.task)
    trainers = []
    for layer, state in enumerate(states):
        weights = Weights(**state["weights"])
        trainer = LayerTrainer(
            weights, _resolved(settings[layer], weights, n_rows, peers), bk, seed=seed, layer=layer,
            horizon=state["horizon"], state=LayerState(**state["state"]), peers=peers,
        )  # fmt: skip
        trainer.restore(state)
        trainers.append(trainer)
    return trainers


def _resolved(settings: RBMSettings, weights: Weights, n_rows: int, peers: Peers) -> RBMSettings:
    settings = replace(settings, visible=weights.visible).resolve(
        n_rows, weights.n_visible, weights.n_hidden, weights.visible_mean
    )
    return replace(settings, learning_rate=peers.rate(float(settings.learning_rate)))


def _result(trainers: list[LayerTrainer], n_layers: int, history: list[Record], diverged: str, seed: int) -> Pretrained:
    if len(trainers) < n_layers:
        raise DivergenceError(diverged)
    stack = Stack(tuple(t.machine.weights() for t in trainers))
    return Pretrained(
        stack, history, [t.export_state() for t in trainers], trainers[-1].negative_states(seed), diverged
    )


def _first_pass_trainer(
    source: RowSource, rows: Rows | None, n_rows: int, trainers: list[LayerTrainer], layer: int, n_hidden: int,
    settings: RBMSettings, bk: Backend, seed: int, n_passes: int, start: Stack | None, states: Any, peers: Peers,
) -> LayerTrainer:  # fmt: skip
    """Return the trainer of a layer that the first pass has reached; ``rows`` are the hidden means of that below."""
    hidden = named_unit(settings.hidden)
    if hidden.spec.startswith("softmax"):
        raise SettingError("softmax units are visible units: choose hidden='bernoulli', 'gaussian' or 'rectified'")
    state = states[layer] if states is not None else None
    if start is not None:
        weights = start.layers[layer]
    else:
        unit, mean, scale, visible_mean = _visible_of(source, rows, trainers, layer, settings, peers)
        weights = initial_weights(
            n_hidden, unit, hidden, mean, scale, visible_mean, seed=seed, layer=layer,
            sparsity_target=settings.sparsity_target, is_model=settings.is_model,
        )  # fmt: skip
    settings = _resolved(settings, weights, n_rows, peers)
    horizon = (state.epochs if state is not None else 0) + int(settings.n_iter) * n_passes
    return LayerTrainer(
        weights, settings, bk, seed=peers.seed(seed), layer=layer, horizon=horizon, state=state, peers=peers
    )


def _visible_of(
    source: RowSource, rows: Rows | None, trainers: list[LayerTrainer], layer: int, settings: RBMSettings, peers: Peers
) -> tuple[Unit, Any, Any, Any]:
    if layer == 0:
        visible = settings.visible if settings.visible == "auto" else named_unit(settings.visible)
        return choose_visible(visible, source, peers)
    means = rows.source()  # type: ignore[union-attr]
    return visible_above(trainers[-1].machine.hidden, means, peers)


def visible_above(hidden: Unit, means: RowSource, peers: Peers = ALONE) -> tuple[Unit, Any, Any, Any]:
    """Return (visible type, mean, scale, column means) of a layer trained on these means of hidden units."""
    unit = get_unit(hidden.next_visible)
    if hidden.standardise:
        _, mean, scale, centred = choose_visible(unit, means, peers)
        # A unit that is all but dead is no column to be blown up to the others' size: its weights would be huge.
        deviation = np.sqrt(peers.statistics(column_statistics(means)).var)
        return unit, mean, np.where(deviation < ALL_BUT_DEAD * deviation.max(), 1, scale).astype(scale.dtype), centred
    statistics = peers.statistics(column_statistics(means))
    column_means, n = statistics.mean, statistics.n
    if unit.spec == "bernoulli":
        column_means = (column_means * n + 1) / (n + 2)
    return unit, None, None, column_means.astype(means.dtype)


def transform(stack: Stack, source: RowSource, bk: Backend, *, n_layers: int | None = None) -> np.ndarray[Any, Any]:
    """Return the hidden means of a stack's top layer (or of its first ``n_layers``) as a NumPy array."""
    layers = stack.layers[:n_layers]
    machines = [Machine(w, bk) for w in layers]
    dtype = machines[0].dtype
    out = np.empty((source.shape[0], layers[-1].n_hidden), dtype)
    entering = scaled(source, layers[0])
    for start, stop, block in entering_blocks(entering, bk, dtype):
        for i, machine in enumerate(machines):
            if i and layers[i].mean is not None:
                block = (block - bk.asarray(layers[i].mean)) / bk.asarray(layers[i].scale)
            block = machine.mean_hidden(block)
        out[start:stop] = bk.to_numpy(block)
    return out


__all__ = ["LayerState", "Pretrained", "RBMSettings", "pretrain", "scaled", "transform", "visible_above"]

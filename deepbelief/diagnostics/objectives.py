"""Objectives of gradient checks: the training loss of a network, the free energy of a machine."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from deepbelief.backends import Backend, Product, Rng
from deepbelief.errors import Mention, SettingError
from deepbelief.estimators.base import check_rows, rbm_settings
from deepbelief.estimators.pretraining_options import layer_sizes, templates_of
from deepbelief.estimators.rbm import RBM
from deepbelief.estimators.tuning import Problem
from deepbelief.finetuning import FineTuner, TrainingSet
from deepbelief.layer import choose_visible, initial_weights
from deepbelief.machine import Machine
from deepbelief.network import Layer, Network
from deepbelief.pretraining import visible_above
from deepbelief.seeds import run_seed, stream
from deepbelief.sources import ArraySource, RowSource, SubsetSource, scaled
from deepbelief.stack import Stack, Weights
from deepbelief.typing import Array, DeviceArray, Estimator, RowsLike
from deepbelief.units import Unit, get_unit

MOST_ROWS = 30


def on_host(bk: Backend, grad: DeviceArray | Product) -> Array:
    """Return a gradient as a new NumPy array."""
    return np.array(bk.to_numpy(grad.array(bk) if isinstance(grad, Product) else grad))


class _Recorder:
    """An optimizer that changes no parameters and keeps the gradient, decay included."""

    rate: float | None = None

    def start(self, bk: Backend, params: Sequence[DeviceArray]) -> list[DeviceArray]:
        """Return nothing."""
        return []

    def step(
        self, bk: Backend, params: Sequence[DeviceArray], grads: Sequence[DeviceArray | Product],
        state: Sequence[DeviceArray], rates: Sequence[float], momentum: float, decays: Sequence[float],
    ) -> None:  # fmt: skip
        """Keep the gradient that an optimizer would follow."""
        self.seen = [
            on_host(bk, grad) + decay * bk.to_numpy(param)
            for param, grad, decay in zip(params, grads, decays, strict=True)
        ]


class NetworkObjective:
    """Mean loss of some rows plus the penalties of the weights, in float64; the gradient is that of one update."""

    def __init__(self, problem: Problem, bk: Backend, seed: int, rng: np.random.Generator) -> None:
        hidden = [Layer(_exact(layer.W), _exact(layer.bias), layer.activation) for layer in problem.hidden]
        head_W, head_bias = map(_exact, problem.head)
        if not head_W.any():  # propagates no gradient: the layers below would not be checked
            head_W = rng.normal(0, 1 / np.sqrt(len(head_W)), head_W.shape)
        train = _few(problem.train, rng)
        self._n = n = train.rows.shape[0]
        self._recorder = _Recorder()
        # Schedules and limits of norms are not part of the gradient.
        self._settings = replace(
            problem.settings, solver=self._recorder, batch_size=n, max_iter=1, schedule="constant", max_norm=None
        ).resolve(n, 1.0)
        self._bk, self._seed = bk, seed
        dropout = self._settings.drops(len(hidden))
        self._network = Network(hidden, head_W, head_bias, problem.loss, bk, tied=problem.tied, dropout=dropout)
        self._tuner = FineTuner(self._network, train, None, self._settings)
        self._x = bk.asarray(train.rows.take(slice(0, n)), dtype=np.float64)
        self._target = self._x if train.targets is None else bk.asarray(train.targets)
        weights = train.mean_one()
        self._weights = (np.ones(n) if weights is None else weights) / n
        self.params = self._network.params
        self.names = _names(self.params, len(hidden) + 1)

    def _masks(self) -> Rng:
        """Return a new copy of dropout's random stream, so that every evaluation drops the same units."""
        return self._bk.rng(stream(self._seed, "gradient check", "dropout"))

    def terms(self) -> Array:
        """Return the rows' weighted losses and the penalties."""
        bk, settings = self._bk, self._settings
        output = self._network.forward(self._x, self._masks())
        losses = bk.to_numpy(self._network.loss.values(bk, output, self._target)) * self._weights
        penalties = []
        for p in self.params:
            if p.ndim == 2:
                squares, sizes = bk.xp.square(p).sum(), bk.xp.abs(p).sum()
                penalties += [
                    float(settings.alpha) / 2 * float(bk.to_numpy(squares)),
                    settings.l1 * float(bk.to_numpy(sizes)),
                ]
        return np.concatenate([losses, penalties])

    def gradient(self) -> list[Array]:
        """Return the gradients that an update passes to the optimizer."""
        self._tuner.begin_epoch(0, np.arange(self._n))
        self._tuner.update(0, self._n, 0.0, self._masks())
        return self._recorder.seen


def _exact(array: Array) -> Array:
    return np.array(array, np.float64)


def _few(train: TrainingSet, rng: np.random.Generator) -> TrainingSet:
    """Return some of the rows that have a positive weight."""
    counting = np.arange(train.rows.shape[0]) if train.weights is None else np.flatnonzero(train.weights)
    index = np.sort(rng.permutation(counting)[:MOST_ROWS])
    parts = (None if a is None else a[index] for a in (train.targets, train.weights))
    return TrainingSet(SubsetSource(train.rows, index), *parts)


def _names(params: Sequence[DeviceArray], n_layers: int) -> list[str]:
    """Return W1, bias1 ... W_head, bias_head; a tied decoder has biases only."""
    names, numbers = [], {1: 0, 2: 0}
    for p in params:
        numbers[p.ndim] += 1
        number = numbers[p.ndim]
        kind = "W" if p.ndim == 2 else "bias"
        names.append(f"{kind}_head" if number == n_layers else f"{kind}{number}")
    return names


class MachineObjective:
    """Mean free energy of rows minus that of samples of the machine; `Machine.statistics` gives its gradient.

    Training follows this difference. Terms that do not depend on the rows, and that an energy may omit, cancel. If the
    visible units have a free energy too, that of hidden states is added, so that their means are checked against their
    log-partition in the same way.
    """

    def __init__(
        self, layer: int, weights: Weights, visible: Unit, hidden: Unit, v: Array, bk: Backend, seed: int
    ) -> None:
        if not hidden.tractable:
            raise SettingError(
                f"layer {layer} has {hidden.spec} hidden units, which have no free energy: there is no gradient to "
                "compare with; check a network that is fine-tuned from it instead"
            )
        # Unit types given as instances may not be in the registry.
        machine = Machine(replace(weights, visible="bernoulli", hidden="bernoulli"), bk, np.float64)
        machine.visible, machine.hidden = visible, hidden
        rng = bk.rng(stream(seed, "gradient check", layer))
        xp, n = bk.xp, len(v)
        v_pos = bk.asarray(v, dtype=np.float64)
        h_pos, h_neg = (xp.empty((n, weights.n_hidden), np.float64) for _ in range(2))
        v_neg = xp.empty_like(v_pos)
        machine.sample_hidden(v_pos, rng, h_pos)
        machine.sample_visible(h_pos, rng, v_neg)
        machine.sample_hidden(v_neg, rng, h_neg)
        self._bk, self._machine = bk, machine
        self._phases = ((v_pos, h_pos, 1 / n), (v_neg, h_neg, -1 / n))
        self.params = machine.params
        self.names = [f"{name}{layer}" for name in ("W", "vbias", "hbias")]

    def terms(self) -> Array:
        """Return the weighted free energies."""
        bk, machine = self._bk, self._machine
        parts = []
        for v, h, weight in self._phases:
            parts.append(bk.to_numpy(machine.free_energy(v)) * weight)
            if machine.visible.tractable:
                x = h @ machine.W.T
                x += machine.vbias
                energy = machine.hidden.energy(bk, h, machine.hbias) - machine.visible.log_partition(bk, x)
                parts.append(bk.to_numpy(energy) * weight)
        return np.concatenate(parts)

    def gradient(self) -> list[Array]:
        """Return the sum of the statistics."""
        bk, machine = self._bk, self._machine
        total = [np.zeros(p.shape) for p in self.params]
        for v, h, weight in self._phases:
            pairs = [(v, machine.mean_hidden(v))]
            if machine.visible.tractable:
                pairs.append((machine.mean_visible(h), h.copy()))
            for pair in pairs:
                row_weight = bk.xp.full_like(v[:, :1], weight)
                room: tuple[DeviceArray, ...] = tuple(bk.xp.empty_like(p) for p in self.params)
                for t, found in zip(total, machine.statistics(*pair, row_weight, room), strict=True):
                    t += on_host(bk, found)
        return total


def machine_objectives(
    model: Estimator, X: RowsLike, bk: Backend, seed: int, rng: np.random.Generator
) -> Iterator[MachineObjective]:
    """Iterate over the layers of an RBM or a DBN (a copy that may change), as fitted or as `fit` would start."""
    stack = _fitted_stack(model)
    source = check_rows(model, X, bk, reset=stack is None, min_rows=2)
    sizes = [model.n_components] if isinstance(model, RBM) else layer_sizes(model.hidden_layer_sizes, source)
    if stack is not None:
        sizes = stack.sizes[1:]
    templates = [model] if isinstance(model, RBM) else templates_of(model.rbm, len(sizes))
    _refuse_other_layers(model, templates)
    run = run_seed(model.random_state)
    chosen = np.sort(rng.permutation(source.shape[0])[:MOST_ROWS])
    hidden: Unit | None = None
    for i, (size, template) in enumerate(zip(sizes, templates, strict=True)):
        if stack is not None:
            weights = stack.layers[i]
            visible = get_unit(weights.visible if i or isinstance(template.visible, str) else template.visible)
            hidden = get_unit(weights.hidden if isinstance(template.hidden, str) else template.hidden)
        else:
            unit = (
                choose_visible(template.visible, source, scale=template.scale)
                if hidden is None
                else visible_above(hidden, source)
            )
            visible, hidden = unit[0], get_unit(template.hidden)
            weights = initial_weights(
                int(size), visible, hidden, *unit[1:], seed=run, layer=i, sparsity_target=template.sparsity_target
            )
        rows = scaled(source, weights)
        yield MachineObjective(i + 1, weights, visible, hidden, rows.take(chosen), bk, seed)
        source = _means(weights, hidden, rows, bk)


def _fitted_stack(model: Estimator) -> Stack | None:
    """Return the layers of a model; None if it is not fitted."""
    stack = Stack((model.weights_,)) if hasattr(model, "weights_") else getattr(model, "stack_", None)
    if stack is not None and stack.tuned:
        raise SettingError("these layers are fine-tuned and no longer RBMs: check the estimator that fine-tuned them")
    return stack


def _refuse_other_layers(model: Estimator, templates: Sequence[RBM]) -> None:
    """Refuse layers that are not trained as machines."""
    if getattr(model, "pretraining", "rbm") != "rbm" or not all(rbm_settings(t).is_model for t in templates):
        raise SettingError(
            "layers that are not trained as restricted Boltzmann machines have no free energy: gradient_check ",
            "takes ",
            Mention("pretraining", "rbm"),
            " with ",
            Mention("gradient", "cd"),
            " or 'pcd'",
        )


def _means(weights: Weights, hidden: Unit, rows: RowSource, bk: Backend) -> RowSource:
    """Return the hidden means of rows, the training data of the layer above."""
    x = bk.asarray(rows.take(slice(0, rows.shape[0])), dtype=np.float64) @ bk.asarray(weights.W, dtype=np.float64)
    return ArraySource(np.array(bk.to_numpy(hidden.mean(bk, x, bk.asarray(weights.hbias, dtype=np.float64)))))

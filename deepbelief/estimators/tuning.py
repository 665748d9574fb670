"""Shared parts of fine-tuned estimators: settings, and the initial stack."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from deepbelief.activations import Activation, activation_of
from deepbelief.backends import Backend
from deepbelief.checkpoints import NO_CHECKPOINTS, Checkpointer
from deepbelief.errors import DataError, DivergenceError, FileFormatError, Mention, SettingError
from deepbelief.estimators.base import FLAGS, Pretraining, check_names, check_sizes, warn_diverged, whole_rows
from deepbelief.estimators.constructors import FineTuningParameters, ResumableParameters
from deepbelief.estimators.early_files import stack_of_file
from deepbelief.estimators.fitted import FittedState, after_fit
from deepbelief.estimators.heads import Head
from deepbelief.estimators.outcome import check_units
from deepbelief.estimators.pretraining_options import (
    check_templates,
    pretraining_choices,
    settings_given,
    stack_pretraining,
)
from deepbelief.estimators.rbm import RBM
from deepbelief.fields import restoring
from deepbelief.finetuning import FineTuneSettings, TrainingSet, finetune
from deepbelief.hyperparameters import FINE_TUNING, checked_settings, engine_settings
from deepbelief.losses import Loss, MissingTargets
from deepbelief.network import Layer, Network
from deepbelief.optimizers import get_optimizer
from deepbelief.pretraining import Pretrained
from deepbelief.recipes.presets import kept_from_preset
from deepbelief.recipes.pretraining_rules import GIVEN, without_effect
from deepbelief.recipes.resolved import Choices, Resolved, choices_of_file, is_auto, plain_choices, resolution_lines
from deepbelief.recipes.tuning_rules import AUTOENCODING, autoencoder_decay
from deepbelief.row_windows import memory_bytes
from deepbelief.schedules import get_schedule, needs_validation
from deepbelief.sizing import warn_batch_size
from deepbelief.sources import OF_NETWORKS, RowSource, blocks, checked, column_statistics, has_missing, weights_of
from deepbelief.stack import Stack, State, Weights, stack_from_state, stack_state
from deepbelief.training import Record, Reporter, Run
from deepbelief.typing import Array, Estimator, RowsLike, StrMapping, TargetsLike
from deepbelief.units import get_unit


@dataclass(frozen=True, eq=False)
class Problem:
    """Fine-tuning problem: initial network, rows and settings."""

    hidden: list[Layer]
    head: tuple[Array, Array]
    loss: Loss
    train: TrainingSet
    validation: TrainingSet | None
    settings: FineTuneSettings
    history: list[Record]  # of what came before
    seed: int
    tied: bool = False
    choices: Choices = field(default_factory=Choices)  # automatic settings so far


def _context(stack: Stack, history: list[Record], choices: Choices) -> State:
    """Return the values needed to resume fine-tuning."""
    return {"stack": stack_state(stack), "history": history, "choices": plain_choices(choices)}


class FineTunedMixin(ResumableParameters, FineTuningParameters):
    """Methods and fitted attributes shared by fine-tuned estimators."""

    coefs_: list[Array]
    intercepts_: list[Array]
    stack_: Stack
    pretrained_stack_: Stack
    history_: list[Record]
    resolved_: dict[str, Resolved]
    _head: Head
    _activations: list[Activation]
    _seed: int
    _epochs: int

    def _begin(
        self, checkpointer: Checkpointer, describe: Callable[..., tuple[StrMapping, StrMapping]], again: bool
    ) -> None:
        """Begin a run: draw its seed, or continue with the seed of an earlier run."""
        if again:
            start = [*self.coefs_, *self.intercepts_, np.array(self._epochs)]
            checkpointer.begin(self._seed, partial(describe, start=start))
        else:
            self._seed, self._epochs = checkpointer.begin(self.random_state, describe), 0

    def _solve(
        self, problem: Problem, bk: Backend, reporter: Reporter, checkpointer: Checkpointer = NO_CHECKPOINTS
    ) -> DivergenceError | None:
        """Fine-tune, store weights and history, and return the reason why the run diverged, or None."""
        n_rows = problem.train.rows.shape[0]
        for line in kept_from_preset(self.preset, {"max_iter": self.max_iter}):
            reporter.note(line)
        warn_batch_size(problem.settings.batch_size, n_rows, bk.least_batch)
        checkpointer.enter("finetune", partial(_context, self.pretrained_stack_, problem.history, problem.choices))
        result = finetune(
            problem.hidden, problem.head, problem.loss, problem.train, problem.settings,
            Run(bk, self._seed, reporter, checkpointer), validation=problem.validation, first_epoch=self._epochs,
            tied=problem.tied,
        )  # fmt: skip
        self.coefs_, self.intercepts_ = result.params[::2], result.params[1::2]
        self._activations = [layer.activation for layer in problem.hidden]
        self._epochs = result.epochs
        self.history_ = problem.history + result.history
        self.resolved_ = {**problem.choices, **result.resolved}
        return result.diverged

    def _layers(self) -> list[Layer]:
        """Return all fine-tuned layers except the head."""
        each = zip(self.coefs_[:-1], self.intercepts_[:-1], self._activations, strict=True)
        return [Layer(W, b, activation) for W, b, activation in each]

    def _as_network(self, bk: Backend) -> Network:
        return Network(self._layers(), self.coefs_[-1], self.intercepts_[-1], self._head.loss, bk, fixed=True)

    def _get_state(self) -> FittedState:
        arrays = {f"coef_{i}": c for i, c in enumerate(self.coefs_)}
        arrays |= {f"intercept_{i}": b for i, b in enumerate(self.intercepts_)}
        return FittedState(self.stack_, arrays, {"epochs": self._epochs}, self.pretrained_stack_)

    def _set_network(self, state: FittedState, sizes: tuple[int, ...]) -> None:
        """Adopt the layers of a network with these widths, and its stacks."""
        self.coefs_, self.intercepts_ = state.network(sizes)
        assert state.pretrained is not None
        self.stack_, self.pretrained_stack_ = state.stack, state.pretrained
        self._epochs = state.count("epochs")

    @property
    def input_mean_(self) -> Array:
        """Value subtracted from each column of the input, of shape (n_features,); 0 if rows are not scaled."""
        first = after_fit(self, "pretrained_stack_", "input_mean_").layers[0]
        return np.zeros_like(first.vbias) if first.mean is None else first.mean

    @property
    def input_scale_(self) -> Array:
        """Divisor of each column of the input, of shape (n_features,); 1 if rows are not scaled."""
        first = after_fit(self, "pretrained_stack_", "input_scale_").layers[0]
        return np.ones_like(first.vbias) if first.scale is None else first.scale

    @property
    def loss_curve_(self) -> list[float]:
        """Mean training loss of each fine-tuning epoch."""
        return [record["loss"] for record in after_fit(self, "history_", "loss_curve_") if "loss" in record]

    @property
    def seed_(self) -> int:
        """Seed of the run, given by ``random_state`` or drawn."""
        return int(after_fit(self, "_seed", "seed_"))

    @property
    def n_iter_(self) -> int:
        """Fine-tuning epochs done."""
        return int(after_fit(self, "_epochs", "n_iter_"))


def prepare(estimator: Estimator, X: RowsLike, y: TargetsLike, bk: Backend, reporter: Reporter) -> Problem:
    """Return the problem of fine-tuning an estimator on these rows, after checks and pretraining if needed."""
    problem: Problem = estimator._prepare(X, y, None, bk, reporter)
    return problem


def finetune_settings(estimator: Estimator) -> FineTuneSettings:
    """Check an estimator's fine-tuning settings and return them for the engine."""
    check_templates(estimator)
    values = checked_settings(estimator, FINE_TUNING, FLAGS)
    solver = get_optimizer(estimator.solver)
    if needs_validation(get_schedule(estimator.schedule)) and not estimator.early_stopping:
        raise SettingError(
            Mention("schedule", estimator.schedule),
            " follows held-out rows: pass ",
            Mention("early_stopping", True),
            " with it",
        )
    if estimator.momentum == "ramp" and not hasattr(solver, "velocity"):
        raise SettingError(
            Mention("momentum", "ramp"),
            " is for ",
            Mention("solver", "sgd"),
            ", got ",
            Mention("solver", estimator.solver),
        )
    limit = memory_bytes(estimator.memory_limit)
    settings: FineTuneSettings = engine_settings(FineTuneSettings, FINE_TUNING, values, memory_limit=limit)
    return settings


def autoencoder_settings(settings: FineTuneSettings, choices: Choices, sizes: Sequence[int]) -> FineTuneSettings:
    """Return an autoencoder's settings: dropout is symmetric and spares the code, and is off by default.

    ``sizes`` are the numbers of inputs and of units of each layer up to the code.
    """
    nothing = Resolved(0.0, "an autoencoder")
    rules = {"alpha": autoencoder_decay(sizes[0], sizes[-1]), "dropout": nothing, "input_dropout": nothing}
    settings = replace(settings, **{n: choices.take(n, getattr(settings, n), rule) for n, rule in rules.items()})
    dropout: Any = settings.dropout
    below = [dropout] * (len(sizes) - 2) if isinstance(dropout, (int, float)) else list(dropout)
    return replace(settings, dropout=[*below, 0.0, *reversed(below)], extent=AUTOENCODING)


@dataclass(frozen=True, eq=False)
class Start:
    """Initial stack of fine-tuning, or the pretraining that produces it.

    Parameters
    ----------
    choices : Choices
        Automatic settings so far.
    stack : Stack, optional
    history : list of dict
        Of the stack's pretraining.
    pretraining : callable, optional
        Produces the stack. The caller calls it and passes the result to `after`.
    templates : sequence of RBM
        Templates of the pretrained layers.
    """

    choices: Choices
    stack: Stack | None = None
    history: list[Record] = field(default_factory=list)
    pretraining: Pretraining | None = None
    templates: Sequence[RBM] = ()

    def after(
        self, result: Pretrained | None, estimator: Estimator, source: RowSource
    ) -> tuple[Stack, list[Record], Choices]:
        """Return the stack, its history and the automatic settings: those of the pretraining, if there was one."""
        if result is None:
            assert self.stack is not None
            return self.stack, self.history, self.choices
        warn_diverged(result.diverged)
        found = pretraining_choices(estimator, source, result, self.templates)
        drawn = chosen_kind(estimator, self.choices) == "none"
        kept = {n: c for n, c in found.items() if not drawn or n == "hidden_layer_sizes"}
        self.choices.update({n: c for n, c in kept.items() if n not in self.choices})
        return result.stack, result.history, self.choices


def start_of_tuning(
    estimator: Estimator, source: RowSource, sizes: Callable[[], tuple[int, ...]],
    templates: Callable[[int], list[RBM]], bk: Backend, reporter: Reporter, checkpointer: Checkpointer = NO_CHECKPOINTS,
) -> Start:  # fmt: skip
    """Return the initial stack if there is one, else its pretraining on these rows.

    ``sizes`` returns the layer sizes and ``templates`` the RBM settings; neither is called if a stack is given.
    """
    if (found := checkpointer.found("finetune")) is not None:
        stack = stack_from_state(found.context.fields("stack"))
        if stack.sizes[0] != source.shape[1]:
            raise FileFormatError(
                f"{found.context.where}.stack expects {stack.sizes[0]} features, X has {source.shape[1]}"
            )
        with restoring(f"{found.context.where}.stack"):
            estimator._check_layers(len(stack))
        choices = Choices(choices_of_file(found.context["choices"]))
        return Start(choices, stack, found.context.records("history"))
    if estimator.pretrained is None:
        return _to_pretrain(estimator, source, sizes(), templates, bk, reporter, checkpointer)
    statistics = column_statistics(source, missing=has_missing(source))  # refuses NaN and infinity
    stack, names = given_stack(estimator.pretrained), getattr(estimator.pretrained, "feature_names_in_", None)
    if names is not None and hasattr(estimator, "feature_names_in_"):
        check_names(names, estimator.feature_names_in_, "the pretrained model")
    if stack.sizes[0] != source.shape[1]:
        raise DataError(f"X has {source.shape[1]} features, the pretrained stack expects {stack.sizes[0]}")
    wished = estimator.hidden_layer_sizes
    if not (isinstance(wished, str) and wished == "auto") and check_sizes(wished) != stack.sizes[1:]:
        raise SettingError(
            Mention("hidden_layer_sizes", wished),
            f" disagrees with the pretrained stack, whose layers have {', '.join(map(str, stack.sizes[1:]))} ",
            "units: leave it at 'auto', or pretrain layers of these sizes",
        )
    estimator._check_layers(len(stack))
    check_units(stack.layers[0], statistics)
    for line in without_effect(GIVEN, settings_given(estimator)):
        reporter.note(line)
    choices = Choices()  # files store them; layers do not
    choices.take("pretraining", estimator.pretraining, Resolved("rbm", "the layers are given"))
    return Start(choices, stack)


def _to_pretrain(
    estimator: Estimator, source: RowSource, sizes: tuple[int, ...], templates: Callable[[int], list[RBM]], bk: Backend,
    reporter: Reporter, checkpointer: Checkpointer,
) -> Start:  # fmt: skip
    """Return the pretraining of a stack on these rows."""
    estimator._check_layers(len(sizes))
    rbm, choices, kind = templates(len(sizes)), Choices(), estimator.pretraining
    if is_auto(getattr(estimator, "activation", "auto")):
        for template in rbm:
            activation_of(get_unit(template.hidden))  # refused before pretraining, not after it
    if is_auto(kind):
        rule = estimator._pretraining_rule(source, rbm[0])
        kind = choices.take("pretraining", kind, rule)
        rbm = estimator._suited_templates(rule, rbm, source, choices)
    for line in resolution_lines(choices):
        reporter.note(line)
    pretraining = stack_pretraining(
        estimator, source, sizes, rbm, bk=bk, seed=estimator._seed, reporter=reporter, checkpointer=checkpointer,
        kind=kind,
    )  # fmt: skip
    return Start(choices, pretraining=pretraining, templates=rbm)


def rows_to_reconstruct(source: RowSource, first: Weights, loss: Loss, bk: Backend) -> tuple[TrainingSet, Loss]:
    """Return rows with themselves as targets, and the loss; missing values are filled in, but are not targets."""
    rows = checked(whole_rows(source, first, bk), first, OF_NETWORKS)
    if not has_missing(source):
        return TrainingSet(rows, weights=weights_of(source)), loss
    targets = np.concatenate(list(blocks(checked(source, first, OF_NETWORKS))))
    return TrainingSet(rows, targets.astype(first.W.dtype), weights_of(source)), MissingTargets(loss)


def chosen_kind(estimator: Estimator, choices: Mapping[str, Resolved]) -> str:
    """Return the kind of pretraining, as given or chosen by a rule."""
    found = choices.get("pretraining")
    return str(estimator.pretraining if found is None else found.value)


def check_dropout(dropout: float | Sequence[float] | str, n_layers: int) -> None:
    """Refuse a list without exactly one share for each layer with dropout."""
    if isinstance(dropout, (list, tuple)) and len(dropout) != n_layers:
        raise SettingError(f"dropout must be a number or a list of {n_layers} rates, got {len(dropout)}")


def given_stack(given: Stack | str | Path | Estimator) -> Stack:
    """Return the stack given as ``pretrained=``."""
    if isinstance(given, (str, Path)):
        return stack_of_file(given)
    if isinstance(given, Stack):
        return given
    if isinstance(given, BaseEstimator):
        if hasattr(given, "stack_"):
            return given.stack_  # type: ignore[no-any-return]
        if hasattr(given, "weights_"):
            return Stack((given.weights_,))
        raise SettingError(
            f"pretrained={type(given).__name__} is not fitted (clone() unfits it): pass its stack_, "
            "for instance pretrained=dbn.stack_"
        )
    raise SettingError(f"pretrained must be a Stack, a path, a fitted DBN or None, got {given!r}")

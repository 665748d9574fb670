"""Resumable training runs, each at its own learning rate, all from the same start."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from deepbelief.backends import Backend
from deepbelief.completion import completed
from deepbelief.errors import DataError, DivergenceError, Mention, SettingError
from deepbelief.estimators.base import check_rows, rbm_settings
from deepbelief.estimators.pretraining_options import check_pretraining, layer_sizes, templates_of, with_pretraining
from deepbelief.estimators.rbm import RBM
from deepbelief.estimators.tables import schema_of, table_settings
from deepbelief.estimators.tuning import Problem, prepare
from deepbelief.finetuning import FineTuneSettings, judge, start_tuning
from deepbelief.layer import LayerTrainer, RBMSettings, choose_visible, initial_weights
from deepbelief.likelihood import pseudo_log_likelihood
from deepbelief.recipes.resolved import is_auto
from deepbelief.seeds import host_rng
from deepbelief.sources import RowSource, has_missing, scaled
from deepbelief.stack import Weights
from deepbelief.training import Reporter, Rows, Run, run_epochs, split_rows
from deepbelief.typing import Array, Estimator, RowsLike, TargetsLike
from deepbelief.units import get_unit

HELD_OUT = 0.1  # where the model holds no rows out itself
HELD_ROWS = 300  # that judge a machine, by
HELD_BITS = 100  # maximum number of columns in the score; each costs a pass over the weights


class Trial:
    """A training run at one learning rate."""

    n_epochs: int
    score: float  # larger is better
    start: float  # loss or score of held-out rows at the start

    def __init__(self, rate: float) -> None:
        self.rate, self.epochs, self.seconds = rate, 0, 0.0
        self.gain = 0.0  # in the loss or score of held-out rows since the start
        self.finished = False  # before its last epoch, by early stopping
        self.diverged: DivergenceError | None = None
        self.reporter = Reporter()

    def advance(self, stop: int) -> Self:
        """Train up to a number of epochs, unless it diverges or early stopping ends it."""
        began = time.perf_counter()
        self._train(stop)
        self.seconds += time.perf_counter() - began
        return self

    def _train(self, stop: int) -> None:
        raise NotImplementedError

    @property
    def quality(self) -> tuple[float, ...]:
        """Rank of the run; the best has the largest."""
        return (self.score,)

    def is_no_worse(self, best: Any) -> bool:
        """Return whether the difference from the best run does not matter."""
        return self is best


@dataclass(frozen=True, eq=False)
class SweepPlan:
    """Plan of a sweep: how to make a run, and the meaning of its score."""

    make: Callable[[float], Trial]
    setting: str
    metric: str
    where: str = ""  # what of the model is trained, where not all of it


class PretrainRun(Trial):
    """The first layer's pretraining."""

    def __init__(
        self, rate: float, weights: Weights, settings: RBMSettings, rows: RowSource, held: Array, bk: Backend, seed: int
    ) -> None:
        super().__init__(rate)
        settings = replace(settings, visible=weights.visible, learning_rate=rate).resolve(
            rows.shape[0], weights.n_visible, weights.n_hidden, weights.visible_mean
        )
        self.n_epochs = int(settings.n_iter)
        self._by_likelihood = has_pseudo_likelihood(weights, settings)
        self._trainer = LayerTrainer(weights, settings, Run(bk, seed), layer=0, horizon=self.n_epochs)
        self._rows, self._held = Rows(rows, bk, self._trainer.machine.dtype), held
        self.held_scores = self._judge()
        self.start = self.score = float(self.held_scores.mean())

    def _train(self, stop: int) -> None:
        try:
            self._trainer.run = replace(self._trainer.run, reporter=self.reporter)
            self._trainer.train(self._rows, None, range(self.epochs, stop))
            self.diverged = self._trainer.diverged
        except DivergenceError as error:
            self.diverged = error
        self.epochs = self._trainer.state.epochs
        if not self.diverged:
            self.held_scores = self._judge()
            self.score = float(self.held_scores.mean())
            self.gain = self.score - self.start

    def is_no_worse(self, best: Any) -> bool:
        """Return whether the held-out rows leave open which is better: the one-standard-error rule, row by row."""
        behind = best.held_scores - self.held_scores
        error = behind.std(ddof=1) / math.sqrt(len(behind)) if len(behind) > 1 else 0.0
        return bool(behind.mean() <= error)

    def _judge(self) -> Array:
        """Return the pseudo-log-likelihoods of held-out rows, or negative squared errors of reconstruction."""
        machine = self._trainer.machine
        if self._by_likelihood:
            weights = replace(machine.weights(), mean=None, scale=None)  # the rows have entered
            n_bits = min(HELD_BITS, weights.n_visible) if weights.visible_unit.enumerable else None
            return pseudo_log_likelihood(weights, self._held, n_bits=n_bits)
        bk = machine.bk
        v = bk.asarray(self._held, dtype=machine.dtype)
        whole = completed(machine, v)
        rest = machine.mean_visible(machine.mean_hidden(whole)) - whole
        error = bk.xp.square(bk.xp.where(bk.xp.isnan(v), 0.0, rest)).sum(axis=1)
        return -bk.to_numpy(error).astype(np.float64)


def has_pseudo_likelihood(weights: Weights, settings: RBMSettings) -> bool:
    """Return whether a layer is a model whose held-out pseudo-likelihood can be computed."""
    return settings.is_model and weights.has_pseudo_likelihood


def pretraining_plan(own: Estimator, X: RowsLike, bk: Backend, seed: int) -> SweepPlan:
    """Return the plan for an RBM, or for the first layer of a DBN."""
    source = check_rows(own, X, bk, reset=True, min_rows=2)
    if isinstance(own, RBM):
        template, size, settings, where = own, int(own.n_components), rbm_settings(own), ""
    else:
        check_pretraining(own)
        if own.pretraining == "none":
            raise SettingError(
                Mention("pretraining", "none"), " has no learning rate: sweep that of the fine-tuning, or use 'rbm'"
            )
        sizes = layer_sizes(own.hidden_layer_sizes, source)
        template, size = templates_of(own.rbm, len(sizes))[0], sizes[0]
        kind = "rbm" if is_auto(own.pretraining) else own.pretraining
        settings, where = with_pretraining(rbm_settings(template), own, kind), "layer 1"
    missing = has_missing(source)
    settings = replace(table_settings(settings, schema_of(own), size, source.shape[0]), missing=missing)
    choose_visible(settings.visible, source, scale=settings.scale, missing=missing)  # an error names a row of the whole
    train, held_source, _, _ = split_rows(source, template.validation_fraction or HELD_OUT, seed)
    unit, mean, scale, visible_mean = choose_visible(settings.visible, train, scale=settings.scale, missing=missing)
    weights = initial_weights(
        size, unit, get_unit(settings.hidden), mean, scale, visible_mean, seed=seed, layer=0,
        sparsity_target=settings.sparsity_target, is_model=settings.is_model,
    )  # fmt: skip
    n_held = held_source.shape[0]
    some = np.sort(host_rng(seed, "sweep").permutation(n_held)[:HELD_ROWS])
    held = scaled(held_source, weights).take(some)
    rows = Rows(scaled(train, weights), bk, weights.W.dtype).source()  # read once, for all runs

    def make(rate: float) -> PretrainRun:
        return PretrainRun(rate, weights, settings, rows, held, bk, seed)

    by_likelihood = has_pseudo_likelihood(weights, settings)
    metric = "pseudo-log-likelihood" if by_likelihood else "negative squared reconstruction error"
    return SweepPlan(make, "learning_rate", f"{metric} of held-out rows", where)


class FinetuneRun(Trial):
    """Fine-tuning from a stack that all runs share."""

    def __init__(self, rate: float, problem: Problem, early_stopping: bool, bk: Backend, seed: int) -> None:
        super().__init__(rate)
        settings: FineTuneSettings = replace(problem.settings, learning_rate_init=rate)
        if not early_stopping:
            settings = replace(settings, n_iter_no_change=10**9)
        self.tuner = start_tuning(
            problem.hidden, problem.head, problem.loss, problem.train, settings=settings, bk=bk,
            validation=problem.validation, tied=problem.tied,
        )  # fmt: skip
        self._early_stopping, self._seed = early_stopping, seed
        self._n_rows = problem.train.rows.shape[0]
        self.n_epochs = int(self.tuner.settings.max_iter)
        assert problem.validation is not None
        self.start, score = judge(self.tuner.network, problem.validation)
        self.loss = self.start
        self.score = -self.start if score is None else score
        self._least = self.start
        self._best: tuple[float, float] = (-math.inf, -math.inf)

    def _train(self, stop: int) -> None:
        try:
            history = run_epochs(
                self.tuner, self._n_rows, Run(self.tuner.bk, self._seed, self.reporter),
                epochs=range(self.epochs, stop), horizon=self.n_epochs,
                batch_size=int(self.tuner.settings.batch_size), key=("finetune",),
            )  # fmt: skip
            self.epochs += len(history)
            self.diverged, self.finished = self.tuner.diverged, self.tuner.finished
            for record in history:
                if record["validation_loss"] is not None:
                    self._take(record["validation_loss"], record["validation_score"])
        except DivergenceError as error:
            self.epochs += 1
            self.diverged = error

    def _take(self, loss: float, score: float | None) -> None:
        """Keep an epoch's loss and score, or with early stopping those of the best epoch."""
        self._least = min(self._least, loss)
        self.gain = self.start - self._least
        found = (-loss if score is None else score, -loss)
        self._best = max(self._best, found) if self._early_stopping else found
        self.score, self.loss = self._best[0], -self._best[1]

    @property
    def quality(self) -> tuple[float, ...]:
        """The score, and the negative loss."""
        return (self.score, -self.loss)


def finetuning_plan(own: Estimator, X: RowsLike, y: TargetsLike, bk: Backend) -> SweepPlan:
    """Return the plan for an estimator that is fine-tuned; it is pretrained here, once for all runs."""
    early_stopping, own.early_stopping = own.early_stopping, True  # rows are held out in any case
    problem = prepare(own, X, y, bk, Reporter())
    if problem.validation is None or not problem.validation.rows.shape[0]:
        raise DataError(
            "there are no held-out rows to judge by: give more rows, or a larger ", Mention("validation_fraction")
        )

    def make(rate: float) -> FinetuneRun:
        return FinetuneRun(rate, problem, bool(early_stopping), bk, problem.seed)

    has_score = judge(make(1.0).tuner.network, problem.validation)[1] is not None
    metric = "accuracy of held-out rows" if has_score else "negative loss of held-out rows"
    return SweepPlan(make, "learning_rate_init", metric)

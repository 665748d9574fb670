"""What estimators that fine-tune share: their settings, and the stack that they start from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from deepbelief.activations import Activation
from deepbelief.backends import Backend
from deepbelief.errors import DataError, SettingError
from deepbelief.estimators.base import check_flags, check_number
from deepbelief.estimators.dbn import pretrain_stack
from deepbelief.finetuning import FineTuneSettings
from deepbelief.network import Layer
from deepbelief.optimizers import get_optimizer
from deepbelief.schedules import get_schedule
from deepbelief.sources import RowSource, column_statistics
from deepbelief.stack import Stack
from deepbelief.training import Record, Reporter

Array = np.ndarray[Any, np.dtype[Any]]


class FineTunedMixin:
    """What fine-tuned estimators show of their training."""

    @property
    def loss_curve_(self) -> list[float]:
        """Mean training loss of each fine-tuning epoch."""
        if "history_" not in self.__dict__:
            raise AttributeError("loss_curve_ is there after fit")
        return [record["loss"] for record in self.__dict__["history_"] if "loss" in record]

    @property
    def n_iter_(self) -> int:
        """Fine-tuning epochs done."""
        if "_epochs" not in self.__dict__:
            raise AttributeError("n_iter_ is there after fit")
        return int(self.__dict__["_epochs"])


def finetune_settings(estimator: Any, *, pretrained_lr_factor: float = 1.0) -> FineTuneSettings:
    """Check an estimator's settings of fine-tuning and return them for the engine."""
    check_flags(estimator, "nesterovs_momentum", "early_stopping", "warm_start")
    get_optimizer(estimator.solver, nesterov=True)
    get_schedule(estimator.schedule)
    check_number("learning_rate_init", estimator.learning_rate_init, low=0, open_low=True, auto=True)
    check_number("pretrained_lr_factor", pretrained_lr_factor, low=0)
    check_number("momentum", estimator.momentum, low=0, high=1, open_high=True)
    check_number("alpha", estimator.alpha, low=0)
    check_number("batch_size", estimator.batch_size, low=1, integer=True, auto=True)
    check_number("max_iter", estimator.max_iter, low=1, integer=True, auto=True)
    check_number("validation_fraction", estimator.validation_fraction, low=0, high=1, open_low=True, open_high=True)
    check_number("n_iter_no_change", estimator.n_iter_no_change, low=1, integer=True)
    check_number("tol", estimator.tol, low=0)
    return FineTuneSettings(
        solver=estimator.solver, learning_rate_init=estimator.learning_rate_init,
        pretrained_lr_factor=float(pretrained_lr_factor), schedule=estimator.schedule,
        momentum=float(estimator.momentum), nesterov=bool(estimator.nesterovs_momentum), alpha=float(estimator.alpha),
        batch_size=estimator.batch_size, max_iter=estimator.max_iter,
        n_iter_no_change=int(estimator.n_iter_no_change), tol=float(estimator.tol),
    )  # fmt: skip


def stack_to_tune(
    estimator: Any, source: RowSource, sizes: Callable[[], tuple[int, ...]], templates: Callable[[int], Any],
    bk: Backend, reporter: Reporter,
) -> tuple[Stack, list[Record]]:  # fmt: skip
    """Return the stack to start from, pretrained on these rows or given, and the history of pretraining.

    ``sizes`` makes the layer sizes and ``templates`` their RBM settings: a stack that is given has its own.
    """
    if estimator.pretrained is None:
        wanted = sizes()
        result = pretrain_stack(
            estimator, source, wanted, templates(len(wanted)), bk=bk, seed=estimator._seed, reporter=reporter
        )
        return result.stack, result.history
    column_statistics(source)  # refuses values that are not finite
    stack = given_stack(estimator.pretrained)
    if stack.sizes[0] != source.shape[1]:
        raise DataError(f"X has {source.shape[1]} features, the pretrained stack expects {stack.sizes[0]}")
    return stack, []


def given_stack(given: Any) -> Stack:
    """Return the stack that ``pretrained=`` means."""
    if isinstance(given, (str, Path)):
        from deepbelief.estimators.files import load

        given = load(given)
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


def tuned_layers(coefs: list[Array], intercepts: list[Array], activations: list[Activation]) -> list[Layer]:
    """Return the hidden layers of a fine-tuned network: all but the head."""
    return [Layer(W, b, a) for W, b, a in zip(coefs[:-1], intercepts[:-1], activations, strict=True)]

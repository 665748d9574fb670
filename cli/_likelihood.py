"""Likelihoods for `evaluate --likelihood`: binarised grey levels, log Z with its progress, and the text for both."""

import time
from typing import Any

import click

from deepbelief.errors import DataError, GreyLevelError, SettingError
from deepbelief.typing import StrDict

from ._annotations import DataSet, Model
from ._options import option, together
from ._text import arrows, duration
from ._types import Bounded, Registered

QUIET = 2.0  # seconds of annealing before progress is reported

likelihood_options = together(
    click.option("--likelihood", is_flag=True, help="The log-likelihood of the rows under the model, in nats."),
    option(
        "--method",
        type=Registered("deepbelief.likelihood.row_likelihood:METHODS"),
        help="Method of estimating log Z.  [default: auto]",
    ),
    option("--runs", type=Bounded("n_runs"), metavar="N", help="Runs of annealed importance sampling.  [default: 100]"),
    option("--betas", type=Bounded(), metavar="N", help="Equal steps of annealing.  [default: 14,500 uneven]"),
    option(
        "--binarize",
        type=Registered("deepbelief.sources.binary:FIXED_BINARIZATIONS"),
        help="Binarise the rows.",
    ),
    option("--seed", type=Bounded("random_state"), metavar="N", help="Seed of all random draws.  [default: 0]"),
)


class Annealing:
    """Says about every tenth of a long annealing how long it will still take."""

    def __init__(self) -> None:
        self._began, self._told = time.perf_counter(), 0

    def __call__(self, done: int, total: int) -> None:
        """Count a step."""
        spent = time.perf_counter() - self._began
        tenth = 10 * done // total
        if spent > QUIET and self._told < tenth < 10:
            self._told = tenth
            click.echo(f"log Z: {10 * tenth} %, {duration(spent * (total - done) / done)} left", err=True)


def check_options(model: Model, likelihood: bool, given: StrDict) -> None:
    """Refuse options that do not go together, before any data are read.

    Raises
    ------
    SettingError
    """
    from deepbelief.likelihood import has_bound

    if not likelihood:
        for name in (name for name, value in given.items() if value is not None):
            raise SettingError(f"--{name} requires --likelihood: add it, or leave --{name} out")
        return
    if model.is_sequences:
        raise SettingError(
            f"{model.path} is a model of sequences: evaluate reports its likelihood without --likelihood"
        )
    if model.kind == "RBMClassifier":
        raise SettingError(
            f"{model.path} models rows with their labels: evaluate it without --likelihood, or call its "
            "log_likelihood in Python"
        )
    if model.stack.tuned or model.task is not None:
        raise SettingError(
            f"{model.path} is fine-tuned and no longer a model of the data: pass the file that it was fine-tuned from"
        )
    if getattr(model.estimator, "pretraining", "rbm") != "rbm":
        raise SettingError(f"{model.path} holds layers other than restricted Boltzmann machines, without a likelihood")
    if not has_bound(model.stack):
        units = arrows((model.stack.layers[0].visible, *(weights.hidden for weights in model.stack)))
        raise SettingError(f"{model.path} has units without a likelihood, {units}: evaluate it without --likelihood")


def measure(model: Model, data: DataSet, backend: str, given: StrDict) -> Any:
    """Return the likelihood of rows as a `deepbelief.evaluation.Density`."""
    from deepbelief.evaluation import evaluate_likelihood

    n_runs = 100 if given["runs"] is None else given["runs"]
    try:
        return evaluate_likelihood(
            model.stack, data.rows, binarize=given["binarize"], method=given["method"] or "auto", backend=backend,
            n_runs=n_runs, betas=given["betas"], random_state=given["seed"] or 0, progress=Annealing(),
        )  # fmt: skip
    except GreyLevelError as error:
        raise DataError(
            f"{data.source_path}: row {error.row}, column {error.column} is {error.value:g}, a grey level, which has "
            "no likelihood: add --binarize sample (each value drawn once as a probability) or --binarize "
            "threshold, and report it with the result"
        ) from error

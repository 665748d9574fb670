"""What `evaluate --likelihood` does: bits from grey levels, log Z with its progress, and the words for both."""

import time
from typing import Any

import click

from ._options import option, together
from ._text import arrows, seconds

QUIET = 2.0  # seconds of annealing before it tells how far it is

likelihood_options = together(
    click.option("--likelihood", is_flag=True, help="The log-likelihood of the rows under the model, in nats."),
    option("--method", metavar="auto|exact|ais", help="How log Z is found.  [default: auto]"),
    option("--runs", type=int, metavar="N", help="Runs of annealed importance sampling.  [default: 100]"),
    option("--betas", type=int, metavar="N", help="Equal steps of annealing.  [default: the literature's 14,500]"),
    option("--binarize", metavar="threshold|sample", help="Make the rows 0 and 1: from a half on, or drawn once."),
    option("--seed", type=int, help="Of what is drawn.  [default: 0]"),
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
            click.echo(f"log Z: {10 * tenth} %, {seconds(spent * (total - done) / done)} left", err=True)


def check_options(model: Any, likelihood: bool, given: dict[str, Any]) -> None:
    """Refuse options that do not go together, before any data are read.

    Raises
    ------
    SettingError
    """
    from deepbelief.errors import SettingError, unknown
    from deepbelief.likelihood import has_bound

    if not likelihood:
        for name in (name for name, value in given.items() if value is not None):
            raise SettingError(f"--{name} goes with --likelihood: add that, or leave it out")
        return
    if model.is_sequences:
        raise SettingError(f"{model.path} is a model of sequences: evaluate tells its likelihood without --likelihood")
    if given["method"] not in (None, "auto", "exact", "ais"):
        raise SettingError(unknown("method", given["method"], ("auto", "exact", "ais")))
    if given["binarize"] not in (None, "threshold", "sample"):
        raise SettingError(unknown("binarize", given["binarize"], ("threshold", "sample")))
    if model.stack.tuned or model.task is not None:
        raise SettingError(
            f"{model.path} is fine-tuned, which leaves no model of the data: ask the file that it was fine-tuned from"
        )
    if getattr(model.estimator, "pretraining", "rbm") != "rbm":
        raise SettingError(f"{model.path} holds layers that are no restricted Boltzmann machines: no likelihood")
    if not has_bound(model.stack):
        units = arrows((model.stack.layers[0].visible, *(weights.hidden for weights in model.stack)))
        raise SettingError(f"{model.path} has units without a likelihood, {units}: evaluate it without --likelihood")


def scores(model: Any, data: Any, backend: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the likelihood of rows and what it rests on."""
    from deepbelief.errors import DataError
    from deepbelief.likelihood import AISEstimate, log_likelihood
    from deepbelief.sources import binarized, check_unit_interval

    rows, seed = data.rows, given["seed"] or 0
    if given["binarize"] is not None:
        check_unit_interval(rows)
        rows = binarized(rows, given["binarize"], seed, "evaluate")
    n_runs = 100 if given["runs"] is None else given["runs"]
    try:
        found = log_likelihood(
            model.stack, rows, method=given["method"] or "auto", backend=backend, n_runs=n_runs,
            betas=given["betas"], random_state=seed, progress=Annealing(),
        )  # fmt: skip
    except DataError as error:
        if "needs rows of 0 and 1" not in str(error):
            raise
        place = str(error).partition(":")[0]
        raise DataError(
            f"{data.source_path}: {place}, a grey level, which has no likelihood: add --binarize sample (each value "
            "drawn once with itself as probability) or --binarize threshold, and name it beside the result"
        ) from error
    annealed = found.log_z if isinstance(found.log_z, AISEstimate) else None
    return {
        "model": model.path,
        "data": data.source_path,
        "rows": rows.shape[0],
        "sizes": list(model.stack.sizes),
        "log_likelihood": found.mean,
        "log_likelihood_interval": [found.low, found.high],
        "log_likelihood_standard_error": found.standard_error,
        "lower_bound": found.is_bound,
        "binarize": given["binarize"],
        "seed": seed,
        "method": found.method,
        "log_z": found.log_z if annealed is None else annealed.log_z,
        "log_z_interval": None if annealed is None else [annealed.low, annealed.high],
        "effective_sample_size": None if annealed is None else annealed.effective_sample_size,
        "runs": None if annealed is None else len(annealed.log_weights),
    }


def shown(scores: dict[str, Any]) -> list[tuple[str, object]]:
    """Return the likelihood as people read it."""
    low, high = scores["log_likelihood_interval"]
    bound = "at least " if scores["lower_bound"] else ""
    interval = "" if low == high else f", {low:.3f} to {high:.3f} at 3 s.d.: quote {low:.2f}"
    rows: list[tuple[str, object]] = [
        ("layers", arrows(scores["sizes"])),
        ("log-likelihood", f"{bound}{scores['log_likelihood']:.3f} nats per row{interval}"),
        ("standard error", f"{scores['log_likelihood_standard_error']:.3f}, of these rows as a sample of more"),
    ]
    if scores["method"] == "exact":
        rows.append(("log Z", f"{scores['log_z']:.4f}, by enumeration"))
    else:
        z_low, z_high = scores["log_z_interval"]
        rows.append(("log Z", f"{scores['log_z']:.3f}, {z_low:.3f} to {z_high:.3f}, by annealed importance sampling"))
        worth = f"{scores['effective_sample_size']:.1f} of {scores['runs']} runs"
        rows.append(("effective", worth))
    names = {
        None: "no: they are 0 and 1, or real values as they are",
        "threshold": "1 from a half on",
        "sample": f"drawn once, seed {scores['seed']}",
    }
    rows.append(("binarised", names[scores["binarize"]]))
    return rows

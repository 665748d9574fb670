"""``deepbelief sweep``: which learning rates diverge, which are too slow, which one to use."""

import contextlib
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import click
from click.core import ParameterSource

from deepbelief.errors import Mention
from deepbelief.hyperparameters import MACHINE, PRETRAINING
from deepbelief.typing import StrDict

from ._options import data_options, option, run_options, setting_option, setting_options, type_of
from ._tables import reading
from ._text import as_json, clean, duration, facts
from ._types import Bounded, check_given

SweepRows = tuple[Any, ...]
COLUMNS = ("rate", "verdict", "score", "epochs", "time")
OF_LAYERS = ("batch_size", "gradient", "gibbs_steps", "visible", "hidden")


class Rates(click.ParamType):  # type: ignore[type-arg]
    """Learning rates: ``0.1,0.001``."""

    name = "rates"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Return a tuple of numbers; which of them can be rates is for the sweep to say."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of rates such as 0.1,0.001", param, ctx)


@click.command("sweep", short_help="Compare learning rates on held-out rows.")
@click.argument("data", default="digits28")
@click.option(
    "--rates",
    type=Rates(),
    default="0.1,0.001,1e-6",
    show_default=True,
    metavar="R,R...",
    help="Learning rates to try.",
)
@click.option("--refine", type=Bounded(), default=0, metavar="N", help="Try N more around the best.  [default: 0]")
@option("--jobs", "n_jobs", type=int, metavar="N", help="Number of concurrent runs.  [default: one for each core]")
@click.option("--finetune", is_flag=True, help="Sweep the rate of fine-tuning a classifier; needs labels.")
@setting_option("hidden_layer_sizes", PRETRAINING["hidden_layer_sizes"], help="Hidden layer sizes, as for `pretrain`.")
@option(
    "--epochs", type=type_of("n_iter", MACHINE["n_iter"].kind), help="Epochs of each run; auto: about 6,000 updates."
)
@setting_options({name: MACHINE[name] for name in OF_LAYERS})
@click.option(
    "--scale",
    type=type_of("scale", MACHINE["scale"].kind),
    default="auto",
    show_default=True,
    help="How values are scaled.",
)
@data_options
@run_options
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
def command(**options: Any) -> None:
    """Train at several learning rates in parallel on DATA, and report which to use.

    The first layer's pretraining is judged by the pseudo-log-likelihood of held-out rows (Gaussian data: by their
    squared error), fine-tuning by the accuracy on held-out rows. Runs start from the same weights and see the same
    minibatches; hopeless rates are stopped after a tenth of the epochs. Nothing is saved.

    \b
    Examples:
      deepbelief sweep digits28 --layers 500
      deepbelief sweep table.csv --labels species --rates 0.3,0.1,0.03 --refine 2
      deepbelief sweep digits28 --finetune --epochs 20
    """  # noqa: D301
    check_given(None, options["data"])
    from deepbelief import learning_rate_sweep
    from deepbelief.datasets import open as open_data
    from deepbelief.diagnostics.rate_sweep import check_rates
    from deepbelief.seeds import run_seed

    from ._inputs import classes_of
    from ._plans import chosen_scale

    began = time.perf_counter()
    seed = run_seed(options["seed"])
    check_rates(options["rates"])
    where = {name: options[name] for name in ("labels", "limit", "data_dir")}
    data = open_data(options["data"], scale="none", **where, table=reading(options))
    options["scale"], scaling = chosen_scale(data, options["scale"])
    labels = classes_of(data) if options["finetune"] else None
    if not options["quiet"]:
        n_rows = data.rows.shape[0]
        doing = "fine-tuning, after pretraining once" if options["finetune"] else "pretraining of layer 1"
        click.echo(f"{clean(data.name)}: {n_rows} rows, {data.columns_text}, {scaling}; {doing}", err=True)
    with _display(quiet=options["quiet"]) as show:
        result = learning_rate_sweep(
            _model(options), data.rows, labels, rates=options["rates"], refine=options["refine"],
            n_jobs=options["n_jobs"], random_state=seed, callback=show,
        )  # fmt: skip
    if options["json_"]:
        rows = [vars(row) for row in result.rows]
        click.echo(
            as_json({"best_rate": result.best_rate, "metric": result.metric, "rows": rows, "seed": seed}, indent=2)
        )
        return
    _report(result, options, seed, time.perf_counter() - began)


def _model(options: StrDict) -> Any:
    """Return the estimator whose rate is sought."""
    from deepbelief import DBN, RBM, DBNClassifier

    given = {name: options[name] for name in (*OF_LAYERS[1:], "scale") if options[name] is not None}
    # Epochs and batch size are those of what is swept.
    swept = {"batch_size": options["batch_size"], "max_iter" if options["finetune"] else "n_iter": options["epochs"]}
    swept = {name: value for name, value in swept.items() if value is not None}
    outer = {"backend": options["backend"]}
    if options["hidden_layer_sizes"] is not None:
        outer["hidden_layer_sizes"] = options["hidden_layer_sizes"]
    if options["finetune"]:
        return DBNClassifier(rbm=RBM(**given), **swept, **outer)
    return DBN(rbm=RBM(**given, **swept), **outer)


def _report(result: Any, options: StrDict, seed: int, took: float) -> None:
    """Print the table, what the scores are, and what to do next."""

    def spelled(mention: Mention) -> str:  # the rate is an option of the command that trains with it
        return f"{'--refine' if mention.name == 'refine' else '--learning-rate'}={mention.text}"

    cells = [COLUMNS, *(_cells(row) for row in result.rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
    for i, row in enumerate(cells):
        notes = "" if not i else _note(result.rows[i - 1], result.best_rate)
        line = "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(f"{line}{notes}")
    click.echo()
    shown = [
        ("score", f"{result.metric}, larger is better"),
        ("advice", result.advice_for(spelled)),
        ("seed", seed),
        ("time", duration(took)),
    ]
    if result.best_rate is not None and not options["finetune"]:
        shown.append(("next", next_command(options, result.best_rate)))
    facts(shown)


def next_command(options: StrDict, rate: float) -> str:
    """Return the command that pretrains on the same data, with the options that were given and the best rate."""
    from .pretrain import command as pretrain

    names = {parameter.name: max(parameter.opts, key=len) for parameter in pretrain.params}
    words, ctx = ["deepbelief", "pretrain", options["data"]], click.get_current_context()
    for name, value in options.items():
        option = names.get({"epochs": "n_iter"}.get(name, name), "")
        given = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and option.startswith("--") and name != "quiet":
            parts = value if isinstance(value, tuple) else (value,)
            words += [option, ("-" if name == "gibbs_steps" else ",").join(map(str, parts))]
    return shlex.join([*words, "--learning-rate", f"{rate:.4g}"])


def _cells(row: Any) -> tuple[str, ...]:
    """Return a row of the table."""
    return f"{row.rate:.4g}", row.verdict, f"{row.score:.5g}", f"{row.epochs}/{row.n_epochs}", duration(row.seconds)


def _note(row: Any, best: float | None) -> str:
    return "  <- best" if row.rate == best else "  stopped early" if row.stopped else ""


@contextlib.contextmanager
def _display(*, quiet: bool) -> Iterator[Callable[[SweepRows], None] | None]:
    """Give what shows the rows on stderr whenever they change: a table on a terminal, lines elsewhere."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.live import Live

        with Live(console=Console(stderr=True), refresh_per_second=5, transient=True) as live:
            yield lambda rows: live.update(_table(rows))
    else:
        yield _lines()


def _table(rows: SweepRows) -> Any:
    """Return the rows as a table for a terminal."""
    from rich.table import Table

    table = Table(*COLUMNS, box=None)
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _lines() -> Callable[[SweepRows], None]:
    """Return what prints a line about each tenth of a run, and where a verdict falls."""
    before: dict[float, tuple[str, int]] = {}

    def show(rows: SweepRows) -> None:
        for row in rows:
            state = row.verdict, 10 * row.epochs // row.n_epochs
            if row.verdict != "waiting" and before.get(row.rate) != state:
                before[row.rate] = state
                rate, verdict, score, epochs, took = _cells(row)
                click.echo(f"rate {rate}: {verdict}, epoch {epochs}, score {score}, {took}", err=True)

    return show

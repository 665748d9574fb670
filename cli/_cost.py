"""Predicted cost of a run, printed in place of the run."""

from typing import TYPE_CHECKING

import click

from deepbelief.errors import SettingError, literal
from deepbelief.typing import StrDict

from ._options import option, section
from ._text import clean, facts, size_of

if TYPE_CHECKING:
    from deepbelief.cost import Cost, MachineRates

    from ._plans import PretrainingPlan

plan_options = section(
    "Cost",
    click.option("--plan", is_flag=True, help="Print the predicted time, memory, disk and network, and train nothing."),
    option("--machine", metavar="FILE", help="With --plan: constants that `bench --out` measured; else measured now."),
)


def check_plan(options: StrDict) -> None:
    """Refuse options that cannot be combined with a prediction.

    Raises
    ------
    SettingError
    """
    if options["machine"] is not None and not options["plan"]:
        raise SettingError("--machine is for predictions: add --plan, or leave it out")
    if options["plan"] and options["recurrent"]:
        raise SettingError("--plan is for stacks: the cost of models of sequences is not known; train for --epochs 1")
    if options["plan"] and options["scheduler"] is not None:
        raise SettingError("--plan needs a number of workers: use --workers in place of --scheduler")


def show_cost(plan: "PretrainingPlan", options: StrDict) -> None:
    """Print what the run of a plan would cost.

    Raises
    ------
    SettingError
        If the data are a table of mixed columns, or the cost of a setting is not known.
    """
    from deepbelief.cost import predict_cost

    if plan.data.schema is not None:
        raise SettingError("--plan is for arrays: the cost of tables of mixed columns is not known; use --epochs 1")
    rates = _rates(options)
    cost = predict_cost(
        plan.estimator, plan.data.rows, rates, workers=options["workers"] or 1,
        updates_per_round=options["round_updates"] or 100, sizes=plan.sizes[1:],
    )  # fmt: skip
    click.echo(f"{clean(plan.data.name)}: {plan.summary}", err=True)
    click.echo(str(cost))
    facts(_memory(cost))


def _rates(options: StrDict) -> "MachineRates":
    from deepbelief.cost import MachineRates, measure_rates

    if options["machine"] is not None:
        rates = MachineRates.load(options["machine"])
        if (options["workers"] or 1) > 1 and None in (rates.round_seconds, rates.network_bytes):
            file = literal(options["machine"])
            raise SettingError(
                f"{file} has no times of --workers. Write it by `deepbelief bench --workers 2 --out FILE`."
            )
        return rates
    click.echo("measuring this machine for some seconds; `bench --out FILE` keeps the constants", err=True)
    workers = options["workers"] or 1
    return measure_rates(options["backend"], repeats=3, workers=2 if workers > 1 else 0)


def _memory(cost: "Cost") -> list[tuple[str, object]]:
    """Return the rows' share of the memory, and how they are read."""
    read = "read in windows" if cost.windowed else "they stay in memory"
    lines: list[tuple[str, object]] = [
        ("memory limit", f"{size_of(cost.rows_limit)} for rows: {read}"),
        ("peak", f"{size_of(cost.resident_bytes)} of {size_of(cost.memory)} of memory"),
    ]
    if cost.resident_bytes > cost.memory:
        lines.append(("advice", "more than the memory: lower --memory-limit, the layers or the batch size"))
    return lines

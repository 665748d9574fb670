"""``deepbelief pretrain``: train a deep belief network layer by layer and keep it in a file."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from deepbelief.errors import SettingError
from deepbelief.hyperparameters import FINE_TUNING, MACHINE, PRETRAINING
from deepbelief.typing import RowsLike, StrDict

from ._annotations import CheckpointFile, Cost, DataSet, MachineRates
from ._config import config_option
from ._families import identity_option
from ._files import absolute, check_outputs, same_file, save_model
from ._options import (
    DataCommand,
    data_options,
    holdout_option,
    memory_option,
    option,
    report_options,
    run_options,
    section,
    setting_option,
    setting_options,
    type_of,
)
from ._plans import PretrainingPlan, chosen_scale, plan_stack
from ._resume import checkpoint_for, checkpoint_options, recorded
from ._sequences import check_options, plan_sequences, recurrent_options
from ._tables import reading, table_options
from ._text import clean, duration, facts, size_of
from ._types import Registered, check_given

plan_options = section(
    "Cost",
    click.option("--plan", is_flag=True, help="Print the predicted time, memory, disk and network, and train nothing."),
    option(
        "--machine",
        metavar="FILE",
        help="With --plan: a file from `bench --out`; without it, the machine is measured now.",
    ),
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


def show_cost(plan: PretrainingPlan, options: StrDict) -> None:
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


def _rates(options: StrDict) -> MachineRates:
    from deepbelief.cost import MachineRates, measure_rates

    if options["machine"] is not None:
        rates = MachineRates.load(options["machine"])
        if (options["workers"] or 1) > 1 and None in (rates.round_seconds, rates.network_bytes):
            file = options["machine"]
            raise SettingError(
                f"{file} has no times of --workers. Write it by `deepbelief bench --workers 2 --out FILE`."
            )
        return rates
    click.echo("measuring this machine for some seconds; `bench --out FILE` keeps the constants", err=True)
    workers = options["workers"] or 1
    return measure_rates(options["backend"], repeats=3, workers=2 if workers > 1 else 0)


def _memory(cost: Cost) -> list[tuple[str, object]]:
    """Return the rows' share of the memory, and how they are read."""
    read = "read in windows" if cost.windowed else "they stay in memory"
    lines: list[tuple[str, object]] = [
        ("memory limit", f"{size_of(cost.rows_limit)} for rows: {read}"),
        ("peak", f"{size_of(cost.resident_bytes)} of {size_of(cost.memory)} of memory"),
    ]
    if cost.resident_bytes > cost.memory:
        lines.append(("advice", "more than the memory: lower --memory-limit, the layers or the batch size"))
    return lines


cluster_options = section(
    "Cluster",
    option(
        "--workers", type=int, metavar="N", help="Train in N processes on this machine, each on its own part of DATA."
    ),
    option(
        "--scheduler", metavar="ADDRESS", help="Train on the workers of a Dask scheduler: tcp:// or tls://HOST:PORT."
    ),
    option("--round", "round_updates", type=int, metavar="N", help="Updates between averages.  [default: 100]"),
    option(
        "--rate-rule",
        type=Registered("deepbelief.distributed.worker_averaging:RATE_RULES"),
        help="Rate for n workers; inverse: 1/n.  [default: sqrt]",
    ),
)


def check_cluster(options: StrDict) -> bool:
    """Return whether a cluster is requested, after refusing options that exclude or require one."""
    asked = [name for name in ("workers", "scheduler") if options[name] is not None]
    if len(asked) == 2:
        raise SettingError("--workers starts a cluster and --scheduler names one: use only one of them")
    for name, spelled in (("round_updates", "--round"), ("rate_rule", "--rate-rule")):
        if not asked and options[name] is not None:
            raise SettingError(f"{spelled} is a setting of clusters: add --workers or --scheduler, or leave it out")
    if asked and (options["recurrent"] or options["lengths"] is not None):
        raise SettingError(f"--recurrent cannot be combined with --{asked[0]}: sequences are trained in this process")
    if asked and options["holdout"] is not None:
        raise SettingError(f"--holdout cannot be combined with --{asked[0]}: pass a file without these rows")
    return bool(asked)


@contextlib.contextmanager
def on_cluster(data: DataSet, options: StrDict, where: StrDict) -> Iterator[Any]:
    """Give the data with rows that the workers of the cluster read."""
    from deepbelief.distributed import Averaging, FileRows, Partitioned, connected, local_cluster

    given = {"updates": options["round_updates"], "rate": options["rate_rule"]}
    averaging = Averaging(**{name: value for name, value in given.items() if value is not None})
    rows = FileRows(
        data.source_path, data.rows, data.scale, absolute(where["labels"]), where["limit"], where["data_dir"]
    )
    workers = options["workers"]
    with local_cluster(workers) if workers is not None else connected(options["scheduler"]) as client:
        yield replace(data, rows=Partitioned(rows, averaging, client))


machine_options = section(
    "Model and training",
    setting_options(MACHINE, PRETRAINING),
    click.option(
        "--autoencoder", is_flag=True, help="Pretrain the encoder of an autoencoder: the top layer is a code."
    ),
    setting_option("code", FINE_TUNING["code"], help="Code units of an autoencoder.  [default: linear]"),
)
scale_option = click.option(
    "--scale", type=type_of("scale", MACHINE["scale"].kind), default="auto", show_default=True,
    help="Scaling of values, stored in the model.",
)  # fmt: skip
out_option = option("--out", metavar="FILE", help="The model's file.  [default: DATA-NAME.h5 in this folder]")


@click.command("pretrain", cls=DataCommand, short_help="Train a deep belief network layer by layer.")
@click.argument("data", default="digits28")
@machine_options
@recurrent_options
@section("Data", scale_option, data_options, holdout_option)
@section("Tables and aligned sequences", table_options, identity_option)
@section("Run", run_options, out_option, memory_option, checkpoint_options)
@cluster_options
@plan_options
@report_options
@config_option
def command(**options: Any) -> None:
    """Train a deep belief network on DATA and save it.

    DATA is digits, digits28, mnist or fashion-mnist, or a file: {formats}. FILE:NAME names one of several arrays in a
    file. Labels are not used in pretraining; they are left out of the features, and later commands find them again.

    CSV and Parquet files may contain text, booleans and missing values (empty cells). The kind of each column is
    printed and stored in the model; --columns overrides it. In aligned sequences (FASTA) each site is a column of
    letters; FILE:protein, FILE:rna or FILE:dna names the alphabet, which is detected by default.

    \b
    Examples:
      deepbelief pretrain
      deepbelief pretrain mnist --data-dir ~/mnist --layers 500,250 --epochs 20
      deepbelief pretrain table.csv --labels species --scale minmax --out table.h5
      deepbelief pretrain titanic.csv --labels survived --columns pclass=category
      deepbelief pretrain mnist --autoencoder --layers 1000,500,250,30 --out codes.h5
      deepbelief pretrain mnist --epochs 200 --checkpoint mnist.ckpt.h5
      deepbelief pretrain --resume mnist.ckpt.h5
      deepbelief pretrain mnist --workers 4
      deepbelief pretrain mnist --layers 500,250 --plan
      deepbelief pretrain /shared/rows.h5 --scheduler tls://cluster:8786
      deepbelief pretrain family.fasta --layers 100
      deepbelief pretrain songs.npz:roll --recurrent --lengths offsets --out songs.h5
    """  # noqa: D301
    from deepbelief.datasets import open as open_data
    from deepbelief.seeds import run_seed

    from ._inputs import describe_data

    began = time.perf_counter()
    options = recorded("pretrain", options)
    inputs = (options["data"], options["labels"], options["config"], options["lengths"])
    check_given(None, options["data"])
    check_options(options)
    check_plan(options)
    clustered = check_cluster(options)
    seed = run_seed(options["seed"])
    outputs = {"log": options["log"], "force": options["force"], "resumed": options["resume"] is not None}
    if not options["plan"]:
        check_outputs(options["out"], **outputs, inputs=inputs)
    where = {name: options[name] for name in ("labels", "limit", "data_dir")}
    data = open_data(options["data"], scale="none", **where, table=None if options["recurrent"] else reading(options))
    if clustered and data.schema is not None:
        asked = "--workers" if options["workers"] is not None else "--scheduler"
        raise SettingError(
            f"{data.name} is a table of mixed columns, which is trained in this process: leave {asked} out, or encode "
            "all columns as numbers first"
        )
    scale, words = chosen_scale(data, options["scale"])
    out = options["out"] or default_out(data)
    if not options["plan"]:
        check_outputs(out, **outputs, inputs=inputs)
    plan = (plan_sequences if options["recurrent"] else plan_stack)({**options, "scale": scale}, seed, data, words)
    if options["plan"]:
        show_cost(plan, options)
        return
    values = {"data": data.source_path, "seed": seed, **plan.recorded}
    file = checkpoint_for("pretrain", options, out, (data.source_path, *inputs), **values)
    with on_cluster(plan.data, options, where) if clustered else contextlib.nullcontext(plan.data) as placed:
        train(plan, placed.rows, file, options)
    described = describe_data(plan.data, **where) | plan.of_data
    metadata = {"data": described, "scale": scale, "seed": seed, **plan.marks}
    save_model(plan.estimator, out, metadata, str(file.path), force=options["force"])
    report(plan, out, seed, time.perf_counter() - began)


def default_out(data: DataSet) -> str:
    """Return the name of the model's file: that of the data, in this folder, but never the data themselves."""
    out = f"{data.name}.h5"
    return f"{data.name}-dbn.h5" if same_file(out, data.source_path) else out


def train(plan: PretrainingPlan, rows: RowsLike, file: CheckpointFile, options: StrDict) -> None:
    """Fit the estimator of a plan under a progress display."""
    from ._progress import reporting

    if not options["quiet"]:
        click.echo(f"{clean(plan.data.name)}: {plan.summary}", err=True)
    if plan.warning:
        click.echo(f"Warning: {plan.warning}", err=True)
    words = {name: options[name] for name in ("quiet", "log", "force")} | {"resumed": options["resume"] is not None}
    with reporting(**words, sizes=plan.sizes) as reporter:
        plan.estimator.set_params(verbose=reporter, checkpoint=file)
        plan.fit(rows)
    plan.estimator.set_params(verbose=0, checkpoint=None)


def report(plan: PretrainingPlan, out: str, seed: int, took: float) -> None:
    """Say where the model is and what to do next."""
    lines, advice = plan.report()
    facts(
        [
            ("model", f"{out} ({size_of(Path(out).stat().st_size)})"),
            *lines,
            ("seed", seed),
            *advice,
            ("time", duration(took)),
            ("next", plan.next_command(out)),
        ]
    )

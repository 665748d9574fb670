"""``deepbelief pretrain``: train a deep belief network layer by layer and keep it in a file."""

import contextlib
import shlex
import time
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deepbelief.hyperparameters import FINE_TUNING, MACHINE, PRETRAINING
from deepbelief.typing import Estimator, StrDict

from ._cluster import check_cluster, cluster_options, on_cluster
from ._config import config_option
from ._families import identity_option, with_identity
from ._options import (
    DataCommand,
    data_options,
    holdout_option,
    memory_option,
    option,
    report_options,
    run_options,
    setting_option,
    setting_options,
    together,
    type_of,
)
from ._resume import checkpoint_for, checkpoint_options, recorded
from ._sequences import check_options, pretrain_sequences, recurrent_options
from ._tables import column_lines, left_out, reading, table_options
from ._text import arrows, clean, facts, seconds, size_of
from ._types import check_given

if TYPE_CHECKING:
    from deepbelief.datasets import DataSet

machine_options = together(
    setting_options(MACHINE, PRETRAINING),
    click.option("--autoencoder", is_flag=True, help="Pretrain an autoencoder's encoder: the top layer is a code."),
    setting_option("code", FINE_TUNING["code"], help="Code units of an autoencoder.  [default: linear]"),
)


@click.command("pretrain", cls=DataCommand, short_help="Train a deep belief network layer by layer.")
@click.argument("data", default="digits28")
@machine_options
@recurrent_options
@click.option(
    "--scale",
    type=type_of("scale", MACHINE["scale"].kind),
    default="auto",
    show_default=True,
    help="Kept in the model.",
)
@data_options
@table_options
@identity_option
@holdout_option
@run_options
@option("--out", metavar="FILE", help="The model's file.  [default: DATA-NAME.h5 in this folder]")
@memory_option
@checkpoint_options
@cluster_options
@report_options
@config_option
def command(**options: Any) -> None:
    """Train a deep belief network on DATA and save it.

    DATA is digits, digits28, mnist or fashion-mnist, or a file: {formats}. FILE:NAME is one of several arrays in a
    file. Labels are not used here, but left out of the features and found again by the commands that come after.

    CSV and Parquet files may have columns of text and booleans, and missing values (empty cells): what each column was
    taken for is printed and kept in the model; --columns overrides it. Of aligned sequences (FASTA) each site is a
    column of letters; FILE:protein, FILE:rna or FILE:dna names the alphabet, which else is found.

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
      deepbelief pretrain /shared/rows.h5 --scheduler tls://cluster:8786
      deepbelief pretrain family.fasta --layers 100
      deepbelief pretrain songs.npz:roll --recurrent --lengths offsets --out songs.h5
    """  # noqa: D301
    from deepbelief.datasets import open as open_data
    from deepbelief.errors import SettingError
    from deepbelief.seeds import run_seed

    from ._files import check_outputs, save_model
    from ._inputs import describe_run
    from ._scale import chosen_scale

    began = time.perf_counter()
    options = recorded("pretrain", options)
    inputs = (options["data"], options["labels"], options["config"], options["lengths"])
    check_given(None, options["data"])
    check_options(options)
    clustered = check_cluster(options)
    seed = run_seed(options["seed"])
    outputs = {"log": options["log"], "force": options["force"], "resumed": options["resume"] is not None}
    check_outputs(options["out"], **outputs, inputs=inputs)
    where = {name: options[name] for name in ("labels", "limit", "data_dir")}
    data = open_data(options["data"], scale="none", **where, table=None if options["recurrent"] else reading(options))
    if clustered and data.schema is not None:
        raise SettingError("tables of text and missing values are trained in this process: leave the cluster out")
    scale, words = chosen_scale(data, options["scale"])
    out = options["out"] or default_out(data)
    check_outputs(out, **outputs, inputs=inputs)
    read = (data.source_path, *inputs)
    checkpoint = partial(checkpoint_for, "pretrain", options, out, read, data=data.source_path, seed=seed)
    if options["recurrent"]:
        pretrain_sequences({**options, "scale": scale}, seed, data, out, checkpoint, began, words)
        return
    held: StrDict = {}
    if options["holdout"] is not None:
        from ._holdout import hold_out

        data, held = hold_out(data, options["holdout"], seed)
    data, weights = with_identity(data, options["identity"])
    dbn = make_dbn({**options, "scale": scale}, seed, data.rows.shape)
    file = checkpoint()
    with on_cluster(data, options, where) if clustered else contextlib.nullcontext(data) as placed:
        dbn = train(dbn.set_params(checkpoint=file), placed, options, words)
    marks: StrDict = {"autoencoder": True} if options["autoencoder"] else {}
    if options["handle_unknown"] is not None:
        marks["handle_unknown"] = options["handle_unknown"]
    save_model(dbn, out, describe_run(data, seed, where, scale, held) | marks, str(file.path))
    verb = "finetune" if options["autoencoder"] or data.labels is not None else "encode"
    report(dbn, data, words, out, time.perf_counter() - began, verb=verb, held=held, weights=weights)


def default_out(data: "DataSet") -> str:
    """Return the name of the model's file: that of the data, in this folder, but never the data themselves."""
    from ._files import same_file

    out = f"{data.name}.h5"
    return f"{data.name}-dbn.h5" if same_file(out, data.source_path) else out


def make_dbn(options: StrDict, seed: int, shape: tuple[int, ...]) -> Any:
    """Return the unfitted estimator with the settings that were given, for rows of this shape."""
    from deepbelief import DBN, RBM, suggest_layer_sizes
    from deepbelief.errors import SettingError
    from deepbelief.estimators.pretraining_options import code_templates

    given = {name: value for name, value in options.items() if value is not None}
    outer = {name: given[name] for name in (*PRETRAINING, "backend", "memory_limit") if name in given}
    rbm: Estimator = RBM(**{name: given[name] for name in MACHINE if name in given})
    if options["autoencoder"]:
        sizes = outer.get("hidden_layer_sizes", "auto")
        if sizes == "auto":
            sizes = suggest_layer_sizes(shape[1], shape[0], autoencoder=True).hidden_layer_sizes
        outer["hidden_layer_sizes"] = sizes
        rbm = code_templates(rbm, len(sizes), options["code"] or "linear")
    elif options["code"] is not None:
        raise SettingError(f"--code {options['code']} is a setting of autoencoders: add --autoencoder, or leave it out")
    return DBN(rbm=rbm, random_state=seed, **outer)


def train(dbn: Any, data: "DataSet", options: StrDict, scaling: str) -> Any:
    """Fit the estimator under a progress display."""
    from deepbelief.errors import SizingWarning
    from deepbelief.sizing import suggest_layer_sizes, warn_layer_sizes

    from ._progress import reporting

    n_rows, n_features = data.rows.shape
    sizes = dbn.hidden_layer_sizes
    sizes = (n_features, *(suggest_layer_sizes(n_features, n_rows) if sizes == "auto" else sizes))
    if not options["quiet"]:
        click.echo(f"{clean(data.name)}: {n_rows} rows, {data.columns_text}, {scaling}; {arrows(sizes)}", err=True)
    if data.schema is not None and (dropped := left_out(data.schema)):
        click.echo(f"Warning: left out of the model: {dropped}; --columns says what to take a column for", err=True)
    words = {name: options[name] for name in ("quiet", "log")} | {"resumed": options["resume"] is not None}
    with reporting(**words, sizes=sizes) as reporter, warnings.catch_warnings():
        if options["autoencoder"]:
            warn_layer_sizes(n_features, sizes[1:], n_samples=n_rows, autoencoder=True)
            warnings.simplefilter("ignore", SizingWarning)  # a code on top is meant to be narrow
        dbn.set_params(verbose=reporter).fit(data.rows)
    return dbn.set_params(verbose=0, checkpoint=None)


def report(
    dbn: Any, data: "DataSet", scaling: str, out: str, took: float, *, verb: str, held: StrDict, weights: str = ""
) -> None:  # fmt: skip
    """Say where the model is and what to do next."""
    from deepbelief.health import Health, layer_findings

    left = f", {held['rows']} more held out" if held else ""
    advice = Health(layer_findings(dbn.history_)).advice
    last = {record["layer"]: record["reconstruction_error"] for record in dbn.history_}
    errors = ", ".join(f"{error:.4g} (layer {layer})" for layer, error in sorted(last.items()))
    facts(
        [
            ("model", f"{out} ({size_of(Path(out).stat().st_size)})"),
            ("layers", arrows(dbn.stack_.sizes)),
            ("units", arrows([dbn.stack_.layers[0].visible, *(weights.hidden for weights in dbn.stack_)])),
            ("data", f"{data.source_path}, {data.rows.shape[0]} rows{left}, {scaling}"),
            *([] if data.schema is None else column_lines(data.schema)),
            *([("weights", weights)] if weights else []),
            ("error", f"{errors}: squared, summed over units, per row"),
            ("seed", dbn.random_state),
            *(("advice" if i == 0 else "", line) for i, line in enumerate(advice)),
            ("time", seconds(took)),
            ("next", f"deepbelief {verb} {shlex.quote(out)}"),
        ]
    )

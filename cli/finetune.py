"""``deepbelief finetune``: train a pretrained model as a whole: a classifier, a regressor or an autoencoder."""

import re
import shlex
import time
from pathlib import Path
from typing import Any

import click

from deepbelief.errors import SettingError
from deepbelief.hyperparameters import FINE_TUNING
from deepbelief.typing import Estimator, StrDict

from ._annotations import DataSet, Model
from ._files import absolute, check_outputs, save_model
from ._options import (
    DataCommand,
    data_options,
    holdout_option,
    memory_option,
    option,
    option_name,
    report_options,
    run_options,
    section,
    setting_options,
)
from ._resume import checkpoint_for, checkpoint_options, recorded
from ._tables import unknown_option
from ._text import arrows, clean, duration, facts, size_of
from ._types import check_given

network_options = section(
    "Network and training",
    setting_options({name: setting for name, setting in FINE_TUNING.items() if name != "code"}),
    click.option("--regression", is_flag=True, help="Train a regressor; the labels are the numbers to predict."),
    click.option("--autoencoder", is_flag=True, help="Train an autoencoder; the default after pretrain --autoencoder."),
)
GROUPS = {"classifier": ("", "head", "classes"), "regressor": ("", "head"), "autoencoder": ("", "autoencoder")}
ARTICLE = {"classifier": "a classifier", "regressor": "a regressor", "autoencoder": "an autoencoder"}


out_option = option(
    "--out", metavar="FILE", help="The fine-tuned model's file.  [default: MODEL-tuned.h5 in this folder]"
)


@click.command("finetune", cls=DataCommand, short_help="Fine-tune a pretrained model: classes, numbers or codes.")
@click.argument("model", required=False)
@click.argument("data", required=False)
@network_options
@section("Data", data_options, unknown_option, holdout_option)
@section("Run", run_options, out_option, memory_option, checkpoint_options)
@report_options
def command(**options: Any) -> None:
    """Fine-tune MODEL into a classifier, a regressor (--regression) or, without labels, an autoencoder.

    MODEL is a file from pretrain, or a fine-tuned model to continue; a model from pretrain --autoencoder becomes an
    autoencoder. DATA is by default the training data of MODEL, and is scaled in the same way. Rows without a label are
    left out; a classifier treats the label -1 as unlabelled unless --unlabeled names another mark.

    \b
    Examples:
      deepbelief finetune digits28.h5
      deepbelief finetune table.h5 table.csv --labels species --early-stopping
      deepbelief finetune table.h5 table.csv --labels price --regression
      deepbelief finetune codes.h5 --epochs 30
      deepbelief finetune digits28.h5 --checkpoint run.ckpt.h5 --checkpoint-every 10min
      deepbelief finetune --resume run.ckpt.h5
    """  # noqa: D301
    from ._inputs import data_for, read_model

    began = time.perf_counter()
    options = recorded("finetune", options)
    if options["model"] is None:
        raise click.UsageError("Missing argument 'MODEL'.")
    check_given(options["model"], options["data"])
    out = options["out"] or default_out(options["model"])
    outputs = {"log": options["log"], "force": options["force"], "resumed": options["resume"] is not None}
    model = read_model(options["model"])
    estimator = make_estimator(model, options)
    check_outputs(out, **outputs, inputs=(options["data"], options["labels"]))
    labelled = hasattr(estimator, "predict")
    where = {name: options[name] for name in ("labels", "limit", "data_dir", "handle_unknown")}
    holdout = None if options["holdout"] is None else (options["holdout"], options["seed"] or 0)
    numbers = kind_to_make(model, options) == "regressor"
    data, origin = data_for(model, options["data"], **where, need_labels=labelled, numbers=numbers, holdout=holdout)
    check_outputs(out, **outputs, inputs=(data.source_path,))
    file = checkpoint_for(
        "finetune", options, out, (options["model"], data.source_path, options["labels"]),
        model=absolute(options["model"]), data=options["data"] and data.source_path,
    )  # fmt: skip
    previous, epochs_before = estimator.warm_start, len(getattr(estimator, "history_", ()))
    if estimator is model.estimator:
        estimator.set_params(warm_start=True)
    estimator.set_params(checkpoint=file)
    train(estimator, data, labelled, options)
    estimator.set_params(warm_start=previous, verbose=0, checkpoint=None)
    save_model(
        estimator, out, finetuned_metadata(model, data, origin, estimator.seed_), str(file.path), force=options["force"]
    )
    report(estimator, estimator.history_[epochs_before:], data, origin, out, time.perf_counter() - began)


def default_out(model: str) -> str:
    """Return NAME-tuned.h5 in this folder, and NAME-tuned2.h5 for what is tuned already."""
    stem = Path(model).name.removesuffix(".h5").removesuffix(".hdf5")
    tuned = re.fullmatch(r"(.*-tuned)(\d*)", stem, re.DOTALL)
    return f"{tuned[1]}{int(tuned[2] or 1) + 1}.h5" if tuned else f"{stem}-tuned.h5"


def kind_to_make(model: Model, options: StrDict) -> str:
    """Return the kind of model to train: the kind that it already has, or the requested one."""
    wanted = [kind for kind, asked in (("autoencoder", "autoencoder"), ("regressor", "regression")) if options[asked]]
    if model.task is not None and not hasattr(model.estimator, "coefs_"):
        raise SettingError(
            f"{model.path} holds a {model.kind}, which is trained as a whole and is not fine-tuned: "
            "finetune a file from pretrain"
        )
    if len(wanted) > 1:
        raise SettingError("--autoencoder and --regression exclude each other: choose one")
    tuned_without_head = wanted == ["autoencoder"] and model.tuned and model.task is None
    if tuned_without_head or (model.task and wanted and wanted != [model.task]):
        raise SettingError(f"{model.path} is already fine-tuned: train {ARTICLE[wanted[0]]} from the pretrained file")
    if model.task:
        return str(model.task)
    default = "autoencoder" if model.for_autoencoder and not model.tuned else "classifier"
    return wanted[0] if wanted else default


def make_estimator(model: Model, options: StrDict) -> Any:
    """Return the estimator to fit: a new one on the model's layers, or the model itself to continue."""
    from deepbelief import DBNClassifier, DBNRegressor, DeepAutoencoder

    kind = kind_to_make(model, options)
    given = {name: options[name] for name in (*FINE_TUNING, "memory_limit") if options.get(name) is not None}
    for name in given:
        if name in FINE_TUNING and FINE_TUNING[name].group not in GROUPS[kind]:
            raise SettingError(f"{option_name(name)} is not a setting of {ARTICLE[kind]}: leave it out")
    given["backend"] = options["backend"]
    if given.get("unlabeled") == "none":
        given["unlabeled"] = None
    if model.task is None:
        classes = {"classifier": DBNClassifier, "regressor": DBNRegressor, "autoencoder": DeepAutoencoder}
        return classes[kind](pretrained=model.stack, random_state=options["seed"], **given)
    for name in ("seed", "activation", "loss", "tied"):
        if options[name] is not None:
            raise SettingError(f"{model.path} is already fine-tuned: --{name} cannot change when fine-tuning continues")
    return model.estimator.set_params(**given)


def train(estimator: Estimator, data: DataSet, labelled: bool, options: StrDict) -> None:
    """Fit the estimator under a progress display."""
    from ._progress import reporting

    if not options["quiet"]:
        click.echo(f"{clean(data.name)}: {data.rows.shape[0]} rows, {data.columns_text}", err=True)
    words = {name: options[name] for name in ("quiet", "log", "force")} | {"resumed": options["resume"] is not None}
    with reporting(**words) as reporter:
        estimator.set_params(verbose=reporter).fit(data.rows, data.labels if labelled else None)


def finetuned_metadata(model: Model, data: DataSet, origin: StrDict, seed: int) -> StrDict:
    """Return the model's metadata with the data of fine-tuning in place of those of pretraining."""
    before = {name: model.metadata[name] for name in ("data", "seed") if name in model.metadata}
    kept = {"pretraining": before} if before and not model.tuned else {}
    return {**kept, **model.metadata, "data": origin, "seed": seed}


def report(estimator: Estimator, history: list[StrDict], data: DataSet, origin: StrDict, out: str, took: float) -> None:
    """Say where the model is and what to do next."""
    sizes, rows = estimator.stack_.sizes, f"{data.source_path}, {data.rows.shape[0]} rows"
    rows += f", {origin['holdout']['rows']} more held out" if "holdout" in origin else ""
    n_unlabeled, with_head = getattr(estimator, "n_unlabeled_", 0), hasattr(estimator, "predict")
    told = hasattr(estimator, "classes_") or n_unlabeled
    shown = [
        ("model", f"{out} ({size_of(Path(out).stat().st_size)})"),
        ("layers", arrows((*sizes, len(estimator.intercepts_[-1])) if with_head else (*sizes, *sizes[-2::-1]))),
        ("data", f"{rows}, {n_unlabeled} unlabelled" if told else rows),
    ]
    shown += [
        *goodness(history, estimator.n_iter_),
        ("seed", str(estimator.seed_)),
        ("time", duration(took)),
        ("next", f"deepbelief evaluate {shlex.quote(out)}"),
    ]
    facts(shown)


def goodness(history: list[StrDict], n_epochs: int) -> list[tuple[str, str]]:
    """Return the last training error, and the best epoch's on held-out rows if there are any."""
    held_out = {
        name: values
        for name in ("validation_score", "validation_rmse", "validation_loss")
        if (values := [r[name] for r in history if r.get(name) is not None])
    }
    measure = "rmse" if "rmse" in history[-1] else "loss"
    shown = [(measure, f"{history[-1][measure]:.4g} on the training rows, after {n_epochs} epochs")]
    best = "on held-out rows, the best epoch's"
    if "validation_score" in held_out:
        shown.append(("error", f"{100 * (1 - max(held_out['validation_score'])):.2f} % {best}"))
    elif f"validation_{measure}" in held_out:
        shown.append(("", f"{min(held_out[f'validation_{measure}']):.4g} {best}"))
    return shown

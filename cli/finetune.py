"""``deepbelief finetune``: train a pretrained model as a whole, as a classifier or as an autoencoder."""

import re
import shlex
import time
from pathlib import Path
from typing import Any

import click

from ._options import OrAuto, data_options, option, report_options, run_options, together
from ._text import arrows, clean, facts, seconds, size_of

network_options = together(
    option("--epochs", "max_iter", type=OrAuto(int), help="auto: about 6,000 updates, 20 to 100 epochs."),
    option(
        "--learning-rate",
        "learning_rate_init",
        type=OrAuto(float),
        help="auto: 0.3 (sigmoid), 0.003 (adam).",
    ),
    option("--pretrained-lr-factor", type=float, help="Rate below the head, as a multiple.  [default: 1]"),
    option("--head-epochs", type=int, help="Epochs in which the head learns alone.  [default: 0]"),
    option("--freeze", "n_frozen", type=int, help="Leave the lowest so many layers as they are.  [default: 0]"),
    option("--schedule", help="linear, constant, cosine, exponential, inverse or halving.  [default: linear]"),
    option("--batch-size", type=OrAuto(int), help="auto: a fiftieth of the labelled rows, 10 to 100."),
    option("--alpha", type=float, help="L2 factor of the weights.  [default: 3e-5; autoencoders 0]"),
    option("--l1", type=float, help="L1 factor of the weights.  [default: 0]"),
    option("--max-norm", type=float, help="Limit of the norm of the weights into each unit."),
    option("--dropout", type=float, help="Share of the hidden units dropped in each update.  [default: 0]"),
    option("--input-dropout", type=float, help="Share of the inputs dropped.  [default: 0]"),
    option("--activation", help="auto (as the hidden units), sigmoid, tanh, hard_tanh, softsign, relu or identity."),
    option("--solver", help="sgd, adagrad, rmsprop or adam.  [default: sgd; of autoencoders adam]"),
    option(
        "--early-stopping",
        is_flag=True,
        default=None,
        help="Hold out a tenth of the rows; keep the best weights for them.",
    ),
    click.option("--autoencoder", is_flag=True, help="Make an autoencoder: after pretrain --autoencoder it is one."),
    option("--loss", help="Of an autoencoder: auto, cross_entropy or squared_error."),
    click.option("--tied", is_flag=True, default=None, help="Of an autoencoder: the decoder stays a mirror."),
)
BOTH = (
    "max_iter", "learning_rate_init", "schedule", "batch_size", "alpha", "l1", "max_norm", "dropout", "input_dropout",
    "solver", "early_stopping",
)  # fmt: skip
OF_CLASSIFIERS = ("pretrained_lr_factor", "head_epochs", "n_frozen", "activation")
OF_AUTOENCODERS = ("loss", "tied")


@click.command("finetune", short_help="Fine-tune a pretrained model into a classifier or an autoencoder.")
@click.argument("model")
@click.argument("data", required=False)
@network_options
@data_options
@run_options
@option("--out", metavar="FILE", help="The fine-tuned model's file.  [default: MODEL-tuned.h5 in this folder]")
@report_options
def command(**options: Any) -> None:
    """Fine-tune MODEL with the labels of DATA and save a classifier; or without labels, and save an autoencoder.

    MODEL is a file from pretrain, or a classifier or an autoencoder to go on with; what pretrain --autoencoder made
    becomes an autoencoder. DATA is by default what MODEL was trained on, and is scaled as that was. Rows labelled -1
    are unlabelled: a classifier leaves them out.

    \b
    Examples:
      deepbelief finetune digits28.h5
      deepbelief finetune table.h5 table.csv --labels species --early-stopping
      deepbelief finetune codes.h5 --epochs 30
    """  # noqa: D301
    from deepbelief import save
    from deepbelief.backends import get_backend

    from ._files import check_outputs
    from ._inputs import data_for, read_model

    began = time.perf_counter()
    get_backend(options["backend"])
    out = options["out"] or default_out(options["model"])
    check_outputs(out, options["log"], force=options["force"], inputs=(options["data"], options["labels"]))
    model = read_model(options["model"])
    estimator = make_estimator(model, options)
    labelled = hasattr(estimator, "predict")
    where = {name: options[name] for name in ("labels", "limit", "data_dir")}
    data, origin = data_for(model, options["data"], **where, need_labels=labelled)
    check_outputs(out, options["log"], force=options["force"], inputs=(data.source_path,))
    previous, epochs_before = estimator.warm_start, len(getattr(estimator, "history_", ()))
    if estimator is model.estimator:
        estimator.set_params(warm_start=True)
    train(estimator, data, labelled=labelled, quiet=options["quiet"], log=options["log"])
    estimator.set_params(warm_start=previous, verbose=0)
    save(estimator, out, metadata=describe_run(model, data, origin, estimator._seed))
    report(estimator, estimator.history_[epochs_before:], data, out, time.perf_counter() - began)


def default_out(model: str) -> str:
    """Return NAME-tuned.h5 in this folder, and NAME-tuned2.h5 for what is tuned already."""
    stem = Path(model).name.removesuffix(".h5").removesuffix(".hdf5")
    tuned = re.fullmatch(r"(.*-tuned)(\d*)", stem, re.DOTALL)
    return f"{tuned[1]}{int(tuned[2] or 1) + 1}.h5" if tuned else f"{stem}-tuned.h5"


def make_estimator(model: Any, options: dict[str, Any]) -> Any:
    """Return the estimator to fit: a new one on the model's layers, or the model itself to go on with."""
    from deepbelief import DBNClassifier, DeepAutoencoder
    from deepbelief.errors import SettingError

    wants_autoencoder = model.is_autoencoder or options["autoencoder"] or (model.for_autoencoder and not model.tuned)
    if options["autoencoder"] and model.tuned and not model.is_autoencoder:
        raise SettingError(f"{model.path} is fine-tuned already: make an autoencoder from the pretrained file")
    names, others = (OF_AUTOENCODERS, OF_CLASSIFIERS) if wants_autoencoder else (OF_CLASSIFIERS, OF_AUTOENCODERS)
    for name in others:
        if options[name] is not None:
            kind = "an autoencoder" if wants_autoencoder else "a classifier"
            spelled = "--freeze" if name == "n_frozen" else f"--{name.replace('_', '-')}"
            raise SettingError(f"{spelled} is no setting of {kind}, which this makes: leave it out")
    given = {name: options[name] for name in (*BOTH, *names) if options[name] is not None}
    given["backend"] = options["backend"]
    if not (model.is_classifier or model.is_autoencoder):
        kind = DeepAutoencoder if wants_autoencoder else DBNClassifier
        return kind(pretrained=model.stack, random_state=options["seed"], **given)
    for name in ("seed", "activation", "loss", "tied"):
        if options[name] is not None:
            raise SettingError(f"{model.path} is fine-tuned and goes on with its own: leave --{name} out")
    return model.estimator.set_params(**given)


def train(estimator: Any, data: Any, *, labelled: bool, quiet: bool, log: str | None) -> None:
    """Fit the estimator under a progress display."""
    from ._progress import reporting

    if not quiet:
        n_rows, n_features = data.rows.shape
        click.echo(f"{clean(data.name)}: {n_rows} rows, {n_features} features", err=True)
    with reporting(quiet=quiet, log=log) as reporter:
        estimator.set_params(verbose=reporter).fit(data.rows, data.labels if labelled else None)


def describe_run(model: Any, data: Any, origin: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the model's metadata with the data of fine-tuning in place of those of pretraining."""
    before = {name: model.metadata[name] for name in ("data", "seed") if name in model.metadata}
    kept = {"pretraining": before} if before and not model.tuned else {}
    return {**kept, **model.metadata, "data": origin, "scaling": data.scale.to_dict(), "seed": seed}


def report(estimator: Any, history: list[dict[str, Any]], data: Any, out: str, took: float) -> None:
    """Say where the model is and what to do next."""
    scores = [r["validation_score"] for r in history if r.get("validation_score") is not None]
    losses = [r["validation_loss"] for r in history if r.get("validation_loss") is not None]
    sizes, rows = estimator.stack_.sizes, f"{data.source_path}, {data.rows.shape[0]} rows"
    is_classifier = hasattr(estimator, "classes_")
    shown = [
        ("model", f"{out} ({size_of(Path(out).stat().st_size)})"),
        ("layers", arrows((*sizes, len(estimator.classes_)) if is_classifier else (*sizes, *sizes[-2::-1]))),
        ("data", f"{rows}, {estimator.n_unlabeled_} unlabelled" if is_classifier else rows),
        ("loss", f"{history[-1]['loss']:.4g} on the training rows, after {estimator.n_iter_} epochs"),
    ]
    if scores:
        shown.append(("error", f"{100 * (1 - max(scores)):.2f} % on held-out rows, the best epoch's"))
    elif losses:
        shown.append(("", f"{min(losses):.4g} on held-out rows, the best epoch's"))
    shown += [
        ("seed", str(estimator._seed)),
        ("time", seconds(took)),
        ("next", f"deepbelief evaluate {shlex.quote(out)}"),
    ]
    facts(shown)

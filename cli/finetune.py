"""``deepbelief finetune``: put a softmax head on a pretrained model and train both with labels."""

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
    option("--learning-rate", "learning_rate_init", type=OrAuto(float), help="auto: 0.3 for sigmoid layers."),
    option("--pretrained-lr-factor", type=float, help="Rate below the head, as a multiple.  [default: 1]"),
    option("--batch-size", type=OrAuto(int), help="auto: a fiftieth of the labelled rows, 10 to 100."),
    option("--alpha", type=float, help="L2 factor of the weights.  [default: 3e-5]"),
    option("--activation", help="auto (as the hidden units), sigmoid, tanh, relu or identity."),
    option(
        "--early-stopping",
        is_flag=True,
        default=None,
        help="Hold out a tenth of the rows; keep the best weights for them.",
    ),
)
SETTINGS = (
    "max_iter",
    "learning_rate_init",
    "pretrained_lr_factor",
    "batch_size",
    "alpha",
    "activation",
    "early_stopping",
)


@click.command("finetune", short_help="Fine-tune a pretrained model into a classifier.")
@click.argument("model")
@click.argument("data", required=False)
@network_options
@data_options
@run_options
@option("--out", metavar="FILE", help="The classifier's file.  [default: MODEL-tuned.h5 in this folder]")
@report_options
def command(**options: Any) -> None:
    """Fine-tune MODEL with the labels of DATA and save a classifier.

    MODEL is a file from pretrain, or a classifier to go on with. DATA is by default what MODEL was trained on, and
    is scaled as that was. Rows labelled -1 are unlabelled and left out.

    \b
    Examples:
      deepbelief finetune digits28.h5
      deepbelief finetune table.h5 table.csv --labels species --early-stopping
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
    classifier = make_classifier(model, options)
    where = {name: options[name] for name in ("labels", "limit", "data_dir")}
    data, origin = data_for(model, options["data"], **where, need_labels=True)
    check_outputs(out, options["log"], force=options["force"], inputs=(data.source_path,))
    previous, epochs_before = classifier.warm_start, len(getattr(classifier, "history_", ()))
    if model.is_classifier:
        classifier.set_params(warm_start=True)
    train(classifier, data, quiet=options["quiet"], log=options["log"])
    classifier.set_params(warm_start=previous, verbose=0)
    save(classifier, out, metadata=describe_run(model, data, origin, classifier._seed))
    report(classifier, classifier.history_[epochs_before:], data, out, time.perf_counter() - began)


def default_out(model: str) -> str:
    """Return NAME-tuned.h5 in this folder, and NAME-tuned2.h5 for what is tuned already."""
    stem = Path(model).name.removesuffix(".h5").removesuffix(".hdf5")
    tuned = re.fullmatch(r"(.*-tuned)(\d*)", stem, re.DOTALL)
    return f"{tuned[1]}{int(tuned[2] or 1) + 1}.h5" if tuned else f"{stem}-tuned.h5"


def make_classifier(model: Any, options: dict[str, Any]) -> Any:
    """Return the classifier to fit: a new one on the model's layers, or the model itself to go on with."""
    from deepbelief import DBNClassifier
    from deepbelief.errors import SettingError

    given = {name: options[name] for name in SETTINGS if options[name] is not None}
    given["backend"] = options["backend"]
    if not model.is_classifier:
        return DBNClassifier(pretrained=model.stack, random_state=options["seed"], **given)
    for name, value in (("--seed", options["seed"]), ("--activation", options["activation"])):
        if value is not None:
            raise SettingError(f"{model.path} is a classifier and goes on with its own: leave {name} {value} out")
    return model.estimator.set_params(**given)


def train(classifier: Any, data: Any, *, quiet: bool, log: str | None) -> None:
    """Fit the classifier under a progress display."""
    from ._progress import reporting

    if not quiet:
        n_rows, n_features = data.rows.shape
        click.echo(f"{clean(data.name)}: {n_rows} rows, {n_features} features", err=True)
    with reporting(quiet=quiet, log=log) as reporter:
        classifier.set_params(verbose=reporter).fit(data.rows, data.labels)


def describe_run(model: Any, data: Any, origin: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the model's metadata with the data of fine-tuning in place of those of pretraining."""
    before = {name: model.metadata[name] for name in ("data", "seed") if name in model.metadata}
    kept = {"pretraining": before} if before and not model.is_classifier else {}
    return {**kept, **model.metadata, "data": origin, "scaling": data.scale.to_dict(), "seed": seed}


def report(classifier: Any, history: list[dict[str, Any]], data: Any, out: str, took: float) -> None:
    """Say where the classifier is and what to do next."""
    held = [r["validation_score"] for r in history if r.get("validation_score") is not None]
    rows = [
        ("model", f"{out} ({size_of(Path(out).stat().st_size)})"),
        ("layers", arrows((*classifier.stack_.sizes, len(classifier.classes_)))),
        ("data", f"{data.source_path}, {data.rows.shape[0]} rows, {classifier.n_unlabeled_} unlabelled"),
        ("loss", f"{history[-1]['loss']:.4g} on the training rows, after {classifier.n_iter_} epochs"),
    ]
    if held:
        rows.append(("error", f"{100 * (1 - max(held)):.2f} % on held-out rows, the best epoch's"))
    rows += [
        ("seed", str(classifier._seed)),
        ("time", seconds(took)),
        ("next", f"deepbelief evaluate {shlex.quote(out)}"),
    ]
    facts(rows)

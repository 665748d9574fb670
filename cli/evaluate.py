"""``deepbelief evaluate``: errors and likelihoods of a model on data."""

from typing import Any

import click

from deepbelief.errors import SettingError

from ._annotations import DataSet, Model
from ._likelihood import likelihood_options
from ._options import backend_option, data_options
from ._sequences import check_sequences_wanted, select_recorded, sequence_options
from ._tables import unknown_option
from ._text import as_json, facts
from ._types import check_given


@click.command("evaluate", short_help="Measure a model's error on data.")
@click.argument("model")
@click.argument("data", required=False)
@data_options
@unknown_option
@sequence_options
@backend_option
@click.option(
    "--bits", type=click.IntRange(1, 16), default=None, help="Number of bits to round an autoencoder's codes to."
)
@likelihood_options
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def command(
    model: str, data: str | None, backend: str, bits: int | None, json_: bool, lengths: str | None,
    sequences: str | None, likelihood: bool, **others: Any,
) -> None:  # fmt: skip
    """Evaluate MODEL on DATA (by default the test split of its training data, if there is one).

    A classifier: error with its 95 % interval (Wilson), negative log-likelihood per row in nats, confusion matrix. A
    regressor: RMSE in the unit of the labels, and R2. An autoencoder: squared error and cross-entropy per row,
    compared with PCA of the same code size fitted to the same rows, and the size of codes and rows in bytes. A model
    of sequences: log-likelihood per frame given the preceding frames, and the expected accuracy of the next frame.
    Other models: squared error of the reconstruction through 1, 2 ... layers, and the pseudo-log-likelihood of the
    first layer.

    With --likelihood: the log-likelihood of the rows for a model of one layer, a lower bound for several layers. log Z
    of the top RBM is computed by enumeration if one side has at most 25 units, otherwise by annealed importance
    sampling.

    \b
    Examples:
      deepbelief evaluate digits28-tuned.h5
      deepbelief evaluate table-tuned.h5 new.csv --labels species --json
      deepbelief evaluate mnist.h5 mnist:test --likelihood --binarize sample
      deepbelief evaluate songs.h5 more-songs.npz:roll --lengths offsets
    """  # noqa: D301
    check_given(model, data)

    from . import _likelihood
    from ._inputs import data_for, read_model

    loaded = read_model(model, sequences=True, backend=backend)
    asked = {name: others.pop(name) for name in ("method", "runs", "betas", "binarize", "seed")}
    _likelihood.check_options(loaded, likelihood, asked)
    labelled = loaded.is_classifier or loaded.is_regressor
    if labelled and loaded.n_targets > 1:
        raise SettingError(f"{model} predicts {loaded.n_targets} columns, but DATA has one: evaluate it in Python")
    opened, _ = data_for(loaded, data, **others, need_labels=labelled, numbers=loaded.is_regressor, held_out=True)
    check_sequences_wanted(loaded, lengths, sequences)
    if bits is not None and not loaded.is_autoencoder:
        raise SettingError(f"--bits rounds the codes of an autoencoder; {model} is a {loaded.kind}: leave it out")
    if likelihood:
        found = _likelihood.measure(loaded, opened, backend, asked)
    else:
        found = measure(loaded, opened, data is None, backend, bits, (lengths, sequences))
    if json_:
        part = {"part": name} if (name := part_of(loaded, opened, data is None)[0]) else {}
        click.echo(as_json({**header(loaded, opened), **part, **found.to_dict()}, indent=2))
        return
    where = header(loaded, opened)
    where["data"] += f", {found.size}{part_of(loaded, opened, data is None)[1]}"
    facts([*where.items(), *found.facts()])
    if found.table():
        click.echo(f"\n{found.table()}")


def header(model: Model, data: DataSet) -> dict[str, str]:
    """Return what was evaluated on what, and how the rows were scaled if they were."""
    scaling = {} if model.scale == "none" else {"scaling": model.scale}
    return {"model": model.path, "data": data.source_path, **scaling}


def part_of(model: Model, data: DataSet, own: bool) -> tuple[str, str]:
    """Return the part of the recorded data, as a word and as a text; empty for other data.

    Parameters
    ----------
    model : Model
    data : DataSet
    own : bool
        Whether the data were not named.
    """
    from ._inputs import is_recorded

    record = model.recorded("holdout", dict)
    if own and not is_recorded(model, data):
        return "test", ", the test split"
    if not is_recorded(model, data):
        return "", ""
    if own and record is not None:
        return "held-out", " held out of training"
    if record is not None:
        return "training", f", all but {record['rows']} of them training rows: new rows will do worse"
    return "training", ", the training rows: new rows will do worse (train with --holdout 0.2 to see)"


def measure(
    model: Model, data: DataSet, own: bool, backend: str, bits: int | None, chosen: tuple[str | None, str | None]
) -> Any:
    """Return the model's evaluation on data; ``own``: on those that the file records."""
    from deepbelief.evaluation import evaluate

    lengths = None
    if model.is_sequences:
        data, lengths = select_recorded(model, data, own, chosen)
    return evaluate(model.estimator, data.rows, data.labels, lengths=lengths, bits=bits, backend=backend)

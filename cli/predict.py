"""``deepbelief predict``: the class of each row, or its value."""

from typing import Any

import click

from deepbelief.errors import SettingError

from ._annotations import Model
from ._files import check_output
from ._options import backend_option, data_options, force_option
from ._rows import check_format, write_blocks
from ._tables import STDOUT, unknown_option
from ._text import clean
from ._types import check_given

FORMATS = (".csv", ".npy")


@click.command("predict", short_help="Predict the class or the value of each row.")
@click.argument("model")
@click.argument("data", required=False)
@click.option("--out", metavar="FILE", default="-", help="A .csv or .npy file, or - for CSV on stdout.  [default: -]")
@click.option("--probabilities", is_flag=True, help="One column per class instead of the most probable class.")
@data_options
@unknown_option
@backend_option
@force_option
def command(
    model: str, data: str | None, out: str, probabilities: bool, backend: str, force: bool, **where: Any
) -> None:
    """Predict classes, or a regressor's values, for the rows of DATA.

    DATA is by default the test split of the training data of MODEL, if there is one.

    \b
    Examples:
      deepbelief predict digits28-tuned.h5 | head
      deepbelief predict table-tuned.h5 new.csv --probabilities --out predicted.csv
    """  # noqa: D301
    check_given(model, data)
    import numpy as np

    from ._inputs import data_for, read_model

    check_format(out, FORMATS)
    loaded = read_model(model, backend=backend)
    if not (loaded.is_classifier or loaded.is_regressor):
        raise SettingError(f"{model} holds a {loaded.kind}, which does not predict: fine-tune it first, or use encode")
    if probabilities and loaded.is_regressor:
        raise SettingError(f"{model} predicts values, which have no probabilities: leave --probabilities out")
    if out != STDOUT:
        check_output(out, force=force, inputs=(model, data, where["labels"]))
    opened, _ = data_for(loaded, data, **where, held_out=True)
    if out != STDOUT:
        check_output(out, force=force, inputs=(opened.source_path,))
    result = (loaded.estimator.predict_proba if probabilities else loaded.estimator.predict)(opened.rows)
    if isinstance(result, list):  # the probabilities of several tasks
        result = np.hstack(result)
    header = _columns(loaded, probabilities=probabilities)
    write_blocks(out, [result], shape=result.shape, dtype=result.dtype, header=header, name="predicted")
    if out != STDOUT:
        kind = "probabilities" if probabilities else "values" if loaded.is_regressor else "classes"
        columns = "1 column" if len(header) == 1 else f"{len(header)} columns"
        click.echo(f"{clean(out)}: {result.shape[0]} rows, {columns} of {kind}")


def _columns(model: Model, *, probabilities: bool) -> list[str]:
    """Return the header of what is predicted."""
    name, n = "value" if model.is_regressor else "label", model.n_targets
    if not probabilities:
        return [name] if n == 1 else [f"{name}_{k}" for k in range(n)]
    classes = model.estimator.classes_
    if isinstance(classes, list):
        return [f"label_{k}={c}" for k, each in enumerate(classes) for c in each]
    return [str(c) for c in classes] if n == 1 else [f"label_{c}" for c in classes]

"""``deepbelief predict``: the class of each row."""

from typing import Any

import click

from ._options import backend_option, data_options, force_option

FORMATS = (".csv", ".npy")


@click.command("predict", short_help="Predict the class of each row.")
@click.argument("model")
@click.argument("data", required=False)
@click.option("--out", metavar="FILE", default="-", help="A .csv or .npy file, or - for CSV on stdout.  [default: -]")
@click.option("--probabilities", is_flag=True, help="One column per class instead of the most probable class.")
@data_options
@backend_option
@force_option
def command(
    model: str, data: str | None, out: str, probabilities: bool, backend: str, force: bool, **where: Any
) -> None:
    """Predict classes for the rows of DATA (by default the test split of what MODEL was trained on, if there is one).

    \b
    Examples:
      deepbelief predict digits28-tuned.h5 | head
      deepbelief predict table-tuned.h5 new.csv --probabilities --out predicted.csv
    """  # noqa: D301
    from deepbelief.backends import get_backend
    from deepbelief.errors import SettingError

    from ._files import check_output
    from ._inputs import data_for, read_model
    from ._rows import STDOUT, check_format, writing

    get_backend(backend)
    check_format(out, FORMATS)
    if out != STDOUT:
        check_output(out, force=force, inputs=(model, data, where["labels"]))
    loaded = read_model(model)
    if not loaded.is_classifier:
        raise SettingError(f"{model} holds a {loaded.kind}, which knows no classes: fine-tune it first, or use encode")
    opened, _ = data_for(loaded, data, **where, held_out=True)
    if out != STDOUT:
        check_output(out, force=force, inputs=(opened.source_path,))
    classifier = loaded.estimator.set_params(backend=backend)
    result = classifier.predict_proba(opened.rows) if probabilities else classifier.predict(opened.rows)
    header = [str(c) for c in classifier.classes_] if probabilities else ["label"]
    with writing(out, shape=result.shape, dtype=result.dtype, header=header, name="predicted") as writer:
        writer.write(result)

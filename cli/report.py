"""``deepbelief report``: a page that shows what a model has learned."""

from pathlib import Path
from typing import Any

import click

from deepbelief.errors import DataError, SettingError
from deepbelief.typing import StrDict

from ._annotations import Model
from ._files import check_output, write_whole
from ._options import backend_option, data_options, force_option, option, shape_option
from ._rows import check_format
from ._sequences import check_sequences_wanted, select_recorded, sequence_options
from ._tables import unknown_option
from ._text import clean, facts, size_of
from ._types import check_given

FORMATS = (".html", ".htm")


@click.command("report", short_help="Write a page of plots and measurements of a model.")
@click.argument("model")
@click.argument("data", required=False)
@option("--out", metavar="FILE", help="The page.  [default: MODEL-report.html in this folder]")
@shape_option
@data_options
@sequence_options
@unknown_option
@backend_option
@force_option
def command(
    model: str, data: str | None, out: str | None, shape: tuple[int, int] | str, backend: str, force: bool,
    lengths: str | None, sequences: str | None, **where: Any,
) -> None:  # fmt: skip
    """Write an HTML page about MODEL: receptive fields, reconstructions, samples, learning curves and settings.

    The page shows rows of DATA, by default the test split of the training data of MODEL, if there is one. For a
    model of sequences it shows likelihood, accuracy and piano rolls. It needs no network connection and runs no
    scripts.

    \b
    Examples:
      deepbelief report digits28.h5
      deepbelief report table-tuned.h5 new.csv --labels species --out page.html
    """  # noqa: D301
    check_given(model, data)
    from deepbelief import hdf5
    from deepbelief.plotting import check_matplotlib
    from deepbelief.plotting.axes import image_shape

    from ._inputs import read_model

    check_matplotlib()
    out = out or Path(model).name.removesuffix(".h5").removesuffix(".hdf5") + "-report.html"
    check_format(out, FORMATS)
    loaded = read_model(model, sequences=True, backend=backend)
    check_sequences_wanted(loaded, lengths, sequences)
    if loaded.schema is not None and shape not in ("auto", "none"):
        raise SettingError(f"{model} was trained on a table, whose rows are not images: leave --shape out")
    shown = None if shape == "none" or loaded.schema is not None else shape
    image_shape(shown, loaded.n_features)
    check_output(out, force=force, inputs=(model, data, where["labels"]))
    opened, missing = open_rows(loaded, data, where)
    if opened is not None:
        check_output(out, force=force, inputs=(opened.source_path,))
    content = {**hdf5.describe(model), "history": hdf5.read(model).history}
    frames = None
    if opened is not None and loaded.is_sequences:
        opened, frames = select_recorded(loaded, opened, data is None, (lengths, sequences))
    write(out, loaded, content, opened, missing, shown, frames)
    facts(
        [
            ("page", f"{out} ({size_of(Path(out).stat().st_size)})"),
            ("model", model),
            ("data", opened.source_path if opened is not None else f"none: {missing}"),
        ]
    )


def open_rows(model: Model, data: str | None, where: StrDict) -> tuple[Any, str]:
    """Return the rows to show, or None and why there are none: named data must be there, recorded ones may be gone."""
    from ._inputs import data_for

    try:
        return data_for(model, data, **where, held_out=True)[0], ""
    except DataError as error:
        if data is not None:
            raise
        click.echo(f"Warning: {clean(error)}: the page shows the model without data", err=True)
        return None, str(error)


def write(
    out: str, model: Model, content: Any, opened: Any, missing: str, shape: tuple[int, int] | str | None,
    lengths: Any,
) -> None:  # fmt: skip
    """Draw the page and write it; ``lengths``: of the sequences of a model of such."""
    from ._page import page
    from ._sections import Report
    from ._sequence_sections import SequenceReport

    report = Report(model, content, opened, missing, shape)
    if model.is_sequences:
        report = SequenceReport(model, content, opened, missing, shape, lengths)
    text = page(Path(model.path).name, report.lead(), report.sections())
    write_whole(out, text.encode("utf-8"))

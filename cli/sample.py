"""``deepbelief sample``: samples from a model."""

from pathlib import Path

import click

from deepbelief.errors import SettingError
from deepbelief.typing import RowsLike, StrDict

from ._annotations import Model, Schema
from ._files import check_output, write_whole
from ._options import backend_option, force_option, option, seed_option, shape_option
from ._rows import check_format, write_blocks
from ._tables import (
    FASTA_FORMATS,
    STDOUT,
    TABLE_FORMATS,
    Values,
    check_table_output,
    clamped_values,
    csv_file,
    write_table,
)
from ._text import clean
from ._types import Bounded, Registered, check_given

FORMATS = (".npy", ".csv", ".h5", ".png")


@click.command("sample", short_help="Draw samples from a model.")
@click.argument("model")
@click.option("--n", type=Bounded("n_samples"), metavar="N", default=16, show_default=True, help="Number of rows.")
@option(
    "--steps",
    type=Bounded("n_steps"),
    metavar="N",
    help="Gibbs steps in the top RBM, or per frame; sweeps at most with --method pt or ptt.  "
    "[default: 1000; 50 for frames]",
)
@option(
    "--method",
    type=Registered("deepbelief.sampling:METHODS"),
    help="Plain Gibbs chains, or a ladder of RBMs (pt: annealed, ptt: the checkpoints of --gradient ptt), whose chains "
    "reach distant modes.  [default: auto: ptt after such training, else gibbs]",
)
@click.option(
    "--temperature",
    type=Bounded(),
    default=1.0,
    show_default=True,
    help="Rows are more typical below 1 and more varied above 1.",
)
@option(
    "--clamp",
    type=Values(),
    metavar="NAME=VALUE,...",
    help="For models of tables with one hidden layer: clamp columns, and sample the others given their values.",
)
@click.option(
    "--missing",
    is_flag=True,
    help="Also sample which values of a table are missing.",
)
@option(
    "--match",
    metavar="FILE",
    help="For models of tables with one hidden layer: match means and pairwise moments of these rows, usually the "
    "training rows. Such rows are not samples of the model.",
)
@seed_option
@option(
    "--out",
    metavar="FILE",
    help="A .npy, .csv, .h5 or .png file (tables: .csv, .parquet; FASTA models: .fasta), or - for CSV on stdout.  "
    "[default: MODEL-samples.npy; tables: .csv; FASTA models: .fasta]",
)
@shape_option
@backend_option
@force_option
def command(
    model: str, n: int, steps: int | None, method: str | None, temperature: float, clamp: dict[str, str] | None,
    missing: bool, match: str | None, seed: int | None, out: str | None, shape: tuple[int, int] | str, backend: str,
    force: bool,
) -> None:  # fmt: skip
    """Draw rows from MODEL by Gibbs sampling in its top RBM and a downward pass through the means of the layers below.

    Rows are in the units of the training data. A fine-tuned network is no longer a model of its data; if its file
    contains the pretrained layers, rows are drawn from these. A classification RBM draws its classes in turn. For a
    model of sequences, the rows are the frames of one sequence, and pictures show time from left to right. A model of
    a table draws tables with the columns and categories of the training rows and with numbers within their range.

    \b
    Examples:
      deepbelief sample digits28.h5 --n 64 --out samples.png
      deepbelief sample table.h5 --steps 5000 --seed 1 --out -
      deepbelief sample table.h5 --method pt
      deepbelief sample titanic.h5 --n 500 --out synthetic.csv
      deepbelief sample titanic.h5 --n 500 --missing --out synthetic.csv
      deepbelief sample titanic.h5 --clamp sex=female,age=30 --out women.csv
      deepbelief sample titanic.h5 --n 500 --match titanic.csv --out synthetic.csv
    """  # noqa: D301
    check_given(model, match)
    from deepbelief.estimators.views import sample_rows
    from deepbelief.seeds import run_seed

    from ._inputs import data_for, read_model

    seed = run_seed(seed)
    ending = "" if out is None else check_format(out, (*FORMATS, *TABLE_FORMATS[1:], *FASTA_FORMATS))
    loaded = read_model(model, sequences=True, backend=backend)
    if out is None:
        schema = loaded.schema
        ending = ".npy" if schema is None else FASTA_FORMATS[0] if schema.alphabet else ".csv"
        out = Path(model).name.removesuffix(".h5") + f"-samples{ending}"
    check_table_output(out, loaded.schema, FORMATS)
    check_missing(loaded.schema, missing=missing)
    steps = steps if steps is not None else 50 if loaded.is_sequences else 1000
    if loaded.is_sequences:
        check_sequences(temperature, method, ending, {"clamp": clamp, "match": match})
    else:
        if ending == ".png":
            check_image(loaded, shape)
        check_model(loaded)
    if out != STDOUT:
        check_output(out, force=force, inputs=(model, match))
    if loaded.is_sequences:
        rows = loaded.estimator.sample(n, gibbs_steps=steps, random_state=seed)
    else:
        how: StrDict = {"n_steps": steps, "method": method or "auto", "temperature": temperature, "missing": missing}
        how["clamp"] = None if clamp is None else clamped_values(loaded.schema, clamp)
        how["match"] = None if match is None else data_for(loaded, match)[0].rows
        rows = sample_rows(loaded.estimator, n, **how, random_state=seed, backend=backend)
    write_samples(out, ending, loaded, rows, shape)
    columns = f"{rows.shape[1]} features" if loaded.schema is None else f"{len(loaded.schema.columns)} columns"
    name = "samples" if out == STDOUT else clean(out)
    unit = "sweeps at most" if method in ("pt", "ptt") else "Gibbs steps"
    click.echo(f"{name}: {n} rows, {columns}, {steps} {unit}, seed {seed}", err=out == STDOUT)


def write_samples(out: str, ending: str, model: Model, rows: RowsLike, shape: tuple[int, int] | str) -> None:
    """Write the rows as a picture, an alignment, a table or numbers in the units of the data."""
    if ending == ".png":
        from deepbelief.plotting import plot_rows, plot_sequence, to_png

        write_whole(out, to_png(plot_sequence(rows) if model.is_sequences else plot_rows(rows, shape=shape)))
    elif ending in FASTA_FORMATS:
        from deepbelief.sources.fasta import write_fasta

        with csv_file(out) as file:
            write_fasta(file, rows)
    elif model.schema is not None:
        write_table(out, rows, model.schema)
    else:
        from ._columns import model_names

        header = model_names(model) or [f"feature{i}" for i in range(rows.shape[1])]
        write_blocks(out, [rows], shape=rows.shape, dtype=rows.dtype, header=header, name="samples")


def check_missing(schema: Schema | None, *, missing: bool) -> None:
    """Refuse missing values of a model that has no columns with some.

    Raises
    ------
    SettingError
    """
    from deepbelief.sources.table_columns import MIN_MISSING, MIN_MISSING_SHARE

    if missing and (schema is None or not schema.gaps):
        raise SettingError(
            "--missing is for models of tables with a column in which at least "
            f"{MIN_MISSING_SHARE:.0%} and {MIN_MISSING} values are missing"
            + ("" if schema is None else "; the training rows have none")
        )


def check_sequences(temperature: float, method: str | None, ending: str, of_tables: StrDict) -> None:
    """Refuse options of rows for frames, and find out first whether a picture of them can be drawn.

    Raises
    ------
    SettingError
    """
    refused = {"temperature": temperature != 1, "method": method is not None}
    refused |= {name: value is not None for name, value in of_tables.items()}
    for name, given in refused.items():
        if given:
            raise SettingError(f"--{name} is for models of rows; leave it out for a model of sequences")
    if ending == ".png":
        from deepbelief.plotting import check_matplotlib

        check_matplotlib()


def check_model(model: Model) -> None:
    """Refuse layers that are not a model of the data; report if the layers from before fine-tuning replace them.

    Raises
    ------
    SettingError
        If there are only fine-tuned layers.
    """
    from deepbelief.estimators.views import pretrained_layers

    try:
        pretrained_layers(model.estimator)
    except SettingError as error:
        raise SettingError(
            f"{model.path} holds fine-tuned layers only, which are not a model of the data: sample from the "
            "pretrained file"
        ) from error
    if model.stack.tuned:
        click.echo(f"{clean(model.path)} is fine-tuned: sampling from its pretrained layers", err=True)


def check_image(model: Model, shape: tuple[int, int] | str) -> None:
    """Refuse a picture of rows that are not images.

    Raises
    ------
    SettingError
        If they are not.
    MissingExtraError
        If matplotlib is not installed.
    """
    from deepbelief.plotting.axes import check_matplotlib, image_shape

    check_matplotlib()
    if shape == "none" or image_shape(shape, model.n_features) is None:
        raise SettingError(
            f"rows of {model.n_features} features are not square images: give --shape HEIGHT,WIDTH or another --out"
        )

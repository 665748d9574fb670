"""``deepbelief impute``: a table with its missing values filled in."""

import csv
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import click

from deepbelief.errors import DataError, SettingError
from deepbelief.typing import StrDict

from ._annotations import Model, Schema
from ._files import check_output
from ._options import backend_option, force_option, limit_option, option, seed_option
from ._tables import cell, csv_file, plain, set_unknown, unknown_option, write_parquet
from ._text import clean
from ._types import Bounded, check_given


@click.command("impute", short_help="Fill in the missing values of a table.")
@click.argument("model")
@click.argument("data", required=False)
@option("--out", metavar="FILE", help="A file in the format of DATA, or - for CSV.  [default: DATA-filled.csv]")
@option("--draws", type=Bounded("n_draws"), metavar="N", help="Write N tables of draws, for multiple imputation.")
@option(
    "--steps",
    type=Bounded("n_steps"),
    metavar="N",
    help="Gibbs steps that are averaged, or reconstructions of an autoencoder.  [default: 100, or 1]",
)
@seed_option
@limit_option
@unknown_option
@backend_option
@force_option
def command(model: str, data: str | None, **options: Any) -> None:
    """Fill in the missing values of DATA (by default the training table of MODEL).

    Missing values are empty cells of a CSV file, or nulls of a Parquet file. A missing number is replaced by its mean
    given the rest of the row, a missing category by the most probable one. All other cells, labels included, are
    copied. With --draws N the command writes N files, FILE-1 to FILE-N, with values drawn at random given the rest of
    the row. An autoencoder fills in its reconstruction of the row, and does not accept --draws or --seed.

    \b
    Examples:
      deepbelief impute titanic.h5 titanic.csv --out filled.csv
      deepbelief impute titanic.h5 titanic.csv --draws 5 --seed 1 --out filled.csv
    """  # noqa: D301
    check_given(model, data)
    from deepbelief.seeds import run_seed

    from ._inputs import read_model

    loaded = read_model(model, backend=options["backend"])
    check_model(loaded, options)
    seed = run_seed(options["seed"]) if draws_rows(loaded) else None
    spec, limit = given_table(loaded, data, options["limit"])
    outputs = names_of_outputs(spec, options["out"], options["draws"])
    for out in outputs:
        if out != "-":
            check_output(out, force=options["force"], inputs=(model, spec))
    if options["handle_unknown"] is not None:
        set_unknown(loaded, options["handle_unknown"])
    table = read(loaded, spec, limit)
    how = {"n_steps": options["steps"]} if options["steps"] else {}
    if seed is not None:
        how |= {"n_draws": options["draws"], "random_state": seed}
    for out, filled in zip(outputs, imputed(loaded, table, how), strict=True):
        write_filled(out, table, filled, loaded.schema)
    used = table.gaps if loaded.schema is None else {column.name for column in loaded.schema.used}
    n_filled = sum(int(gone.sum()) for name, gone in table.gaps.items() if name in used)
    names = "filled" if outputs == ["-"] else ", ".join(map(clean, outputs))
    told = f"{names}: {table.frame.n_rows} rows, {n_filled} missing values filled in"
    click.echo(told if seed is None else f"{told}, seed {seed}", err=outputs == ["-"])


def draws_rows(model: Model) -> bool:
    """Return whether a model has a distribution of its rows to draw from."""
    return hasattr(model.estimator, "sample")


def check_model(model: Model, options: StrDict) -> None:
    """Refuse a model that cannot fill in, and options that are not for it.

    Raises
    ------
    SettingError
    """
    if not hasattr(model.estimator, "impute"):
        hint = ": use the file that it was fine-tuned from" if model.stack.tuned else ""
        raise SettingError(f"{model.path} holds a {model.kind}, which cannot impute rows{hint}")
    given = [f"--{name}" for name in ("draws", "seed") if options[name] is not None]
    if given and not draws_rows(model):
        raise SettingError(
            f"{given[0]} is for models that draw values at random, and {model.path} holds a {model.kind}, which fills "
            "in its reconstructions: leave it out, or use the file that it was fine-tuned from"
        )


def given_table(model: Model, data: str | None, limit: int | None) -> tuple[str, int | None]:
    """Return the file to fill in and the number of its rows: the recorded ones where none is named.

    Raises
    ------
    DataError
    """
    if data is not None:
        return data, limit
    source = model.recorded("source", str)
    if source is None:
        raise DataError(f"{model.path} does not record its training data; pass DATA explicitly")
    click.echo(f"Using {clean(source)}, the training data", err=True)
    return source, limit if limit is not None else model.recorded("limit", int)


def names_of_outputs(spec: str, out: str | None, draws: int | None) -> list[str]:
    """Return the files to write.

    Raises
    ------
    SettingError
        If their format is not that of the table.
    """
    from deepbelief.sources.files import split_spec
    from deepbelief.sources.formats import format_of

    path = split_spec(spec)[0]
    ending = ".parquet" if format_of(path) == "parquet" else ".csv"
    out = out or f"{path.name.split('.')[0]}-filled{ending}"
    if out == "-" and draws is not None:
        raise SettingError("--draws writes several files: name them with --out")
    if out != "-" and Path(out).suffix.lower() != ending:
        raise SettingError(f"{out}: the output must have the format of the input, {ending}: choose another --out")
    if draws is None:
        return [out]
    return [f"{out.removesuffix(Path(out).suffix)}-{i}{Path(out).suffix}" for i in range(1, draws + 1)]


@dataclass(frozen=True, eq=False)
class Table:
    """A file to fill in: its columns without the labels, and the line of each row of a text file."""

    spec: str
    frame: Any
    lines: Any
    label: str | None

    @property
    def rows(self) -> StrDict:
        """The columns by name."""
        return dict(zip(self.frame.names, self.frame.values, strict=True))

    @property
    def gaps(self) -> StrDict:
        """The mask of the missing values of each column that has some."""
        return {
            name: gone for name, gone in zip(self.frame.names, self.frame.missing, strict=True) if gone.any()
        }  # fmt: skip


def read(model: Model, spec: str, limit: int | None) -> Table:
    """Read the columns of a file as the model takes them."""
    from deepbelief.sources.frames import as_frame
    from deepbelief.sources.table_files import column_names, read_table

    label, schema = model.recorded("labels", str), model.schema
    known = () if schema is None else schema.names
    label = label if label in column_names(spec) and label not in known else None
    table = read_table(spec, label, limit, schema=schema)
    return Table(spec, as_frame(table.columns), table.lines, label)


def imputed(model: Model, table: Table, how: StrDict) -> list[StrDict]:
    """Return the filled columns, for each draw."""
    import numpy as np

    names = table.frame.names if model.schema is not None else order_of(model, table)
    try:
        rows = table.rows if model.schema is not None else numbers(table, names)
        found = model.estimator.impute(rows, **how)
    except DataError as error:
        line = "" if table.lines is None or error.row is None else f"line {table.lines[error.row]}, "
        raise error.prefixed(f"{table.spec}: {line}") from None
    draws = found if isinstance(found, list) else [found]
    if model.schema is not None:
        return draws
    return [dict(zip(names, np.asarray(draw).T, strict=True)) for draw in draws]


def order_of(model: Model, table: Table) -> list[str]:
    """Return the names of the columns in the order of those of a model of plain numbers.

    Raises
    ------
    DataError
    """
    from ._columns import model_names

    have, wanted = list(table.frame.names), model_names(model)
    if wanted is not None and set(have) == set(wanted):
        return wanted
    if len(have) != model.n_features or wanted is not None:
        raise DataError(f"{table.spec}: it has {len(have)} columns, but {model.path} was trained on {model.n_features}")
    return have


def numbers(table: Table, names: list[str]) -> Any:
    """Return columns of numbers as an array.

    Raises
    ------
    DataError
        If a column has texts.
    """
    import numpy as np

    for name, numeric, gone in zip(table.frame.names, table.frame.numeric, table.frame.missing, strict=True):
        if not (numeric or gone.all()):
            raise DataError(f"column {name!r} has texts, but the model was trained on numbers")
    return np.column_stack([np.asarray(table.rows[name], np.float64) for name in names])


def write_filled(out: str, table: Table, filled: StrDict, schema: Schema) -> None:
    """Write the file again with its missing values filled in."""
    import numpy as np

    from deepbelief.sources.frames import as_objects, with_columns

    new = {}
    for name in table.gaps:
        values = as_objects(np.asarray(filled[name], dtype=object).tolist())
        still = [value is None or value != value for value in values]
        new[name] = plain(values, still, None if schema is None else schema.column(name), rounded=True)
    if Path(out).suffix.lower() == ".parquet":
        from deepbelief.sources.parquet import read_parquet_table

        whole = read_parquet_table(Path(table.spec), None, table.frame.n_rows).columns
        write_parquet(out, with_columns(whole, new))
        return
    write_text(out, table, new, schema)


def write_text(out: str, table: Table, new: dict[str, list[Any]], schema: Schema) -> None:
    """Write a text file again, cell by cell as it was, but for those that are filled in."""
    from deepbelief.sources.text_columns import layout_of, records

    layout = layout_of(Path(table.spec), table.label)
    names = layout.header or [f"x{i}" for i in range(layout.n_columns)]
    places = [(j, names[j]) for j in layout.features if names[j] in new]
    columns = {name: None if schema is None else schema.column(name) for name in new}
    with csv_file(out) as file:
        writer = csv.writer(file, delimiter=layout.delimiter, lineterminator="\n")
        if layout.header is not None:
            writer.writerow(layout.header)
        for i, (_, cells) in enumerate(islice(records(layout), table.frame.n_rows)):
            for j, name in places:
                if table.gaps[name][i]:
                    cells[j] = cell(new[name][i], columns[name])
            writer.writerow(cells)

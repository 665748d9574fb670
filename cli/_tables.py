"""Tables of mixed columns: options, kinds of columns, and tables out as CSV or Parquet."""

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from deepbelief.errors import SettingError, unknown
from deepbelief.hyperparameters import MACHINE
from deepbelief.typing import StrDict, StrMapping

from ._annotations import Column, Model, Schema
from ._options import option, together, type_of
from ._text import clean

STDOUT = "-"
TABLE_FORMATS = (".csv", ".parquet")
FASTA_FORMATS = (".fasta", ".fa")  # of aligned sequences
MAX_LINES = 60  # columns that are listed
DIGITS = 9  # significant ones of a number that is written


class Kinds(click.ParamType):  # type: ignore[type-arg]
    """Kinds of columns: ``pclass=category,id=dropped``."""

    name = "kinds"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, str]:
        """Return a mapping of names to kinds."""
        from deepbelief.sources.schema import check_columns

        if isinstance(value, Mapping):
            return check_columns(value) or {}
        found = pairs_of(str(value))
        if found is None:
            self.fail(f"{value!r} is not a list of kinds such as pclass=category,id=dropped", param, ctx)
        return check_columns(found) or {}


class Values(click.ParamType):  # type: ignore[type-arg]
    """Values of columns: ``sex=female,age=30``."""

    name = "values"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, str]:
        """Return a mapping of names to values, as text."""
        found = dict(value) if isinstance(value, Mapping) else pairs_of(str(value))
        if found is None:
            self.fail(f"{value!r} is not a list of values such as sex=female,age=30", param, ctx)
        return found


def pairs_of(text: str) -> dict[str, str] | None:
    """Return the pairs of ``NAME=VALUE,...``; None if the text is something else."""
    pairs = [part.rpartition("=") for part in text.split(",")]
    return {n.strip(): v.strip() for n, _, v in pairs} if all(n and equals for n, equals, _ in pairs) else None


unknown_option = option(
    "--handle-unknown",
    type=type_of("handle_unknown", MACHINE["handle_unknown"].kind),
    help="Treatment of a category that did not occur in training: an error, or a missing value.  [default: error]",
)
table_options = together(
    option(
        "--columns",
        type=Kinds(),
        metavar="NAME=KIND,...",
        help="Override the kind of columns: number, category or dropped.",
    ),
    unknown_option,
)


def reading(options: StrMapping) -> StrDict:
    """Return how files of mixed columns are read for training."""
    given = {name: options[name] for name in ("columns", "handle_unknown") if options.get(name) is not None}
    return {**given, "numbers": options.get("visible") in (None, "auto")}


def clamped_values(schema: Schema | None, values: Mapping[str, str]) -> dict[str, str | float]:
    """Return values of columns as the model's table has them.

    Raises
    ------
    SettingError
        If the model is not one of a table, or a value cannot belong to its column.
    """
    if schema is None or schema.alphabet:
        raise SettingError("--clamp is for models of tables")
    found: dict[str, str | float] = {}
    for name, text in values.items():
        column = schema.column(name)
        if column is None or not column.width:
            raise SettingError("--clamp: ", unknown("column", name, [column.name for column in schema.used]))
        if column.kind == "category":
            categories = {f"{v:.{DIGITS}g}" if isinstance(v, float) else str(v): v for v in column.values}
            same = [v for v in column.values if isinstance(v, float) and v == _number(text)]
            if text not in categories and not same:
                raise SettingError("--clamp: ", unknown(f"value of {name!r}", text, categories))
            found[name] = categories.get(text, *same)
            continue
        number = _number(text)
        if number is None:
            raise SettingError(f"--clamp: the column {name!r} is a number, got {text!r}")
        found[name] = number
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def column_lines(schema: Schema) -> list[tuple[str, str]]:
    """Return a line with the kind of each column; one for the sites of sequences."""
    if schema.alphabet:
        return [("sequences", str(schema))]
    lines = [str(column) for column in schema.columns[:MAX_LINES]]
    if len(schema.columns) > MAX_LINES:
        lines.append(f"... and {len(schema.columns) - MAX_LINES} more: see deepbelief info")
    return [("" if i else "columns", line) for i, line in enumerate(lines)]


def check_table_output(out: str, schema: Schema, formats: Sequence[str]) -> None:
    """Refuse formats that have no columns of text for a table, and Parquet for rows of numbers.

    Raises
    ------
    SettingError
    """
    ending = ".csv" if out == STDOUT else Path(out).suffix.lower()
    if ending in FASTA_FORMATS and schema is not None and schema.alphabet:
        return
    if schema is not None and ending not in TABLE_FORMATS:
        raise SettingError(f"{out}: rows of a table are written as {' or '.join(TABLE_FORMATS)}: choose another --out")
    if ending in FASTA_FORMATS:
        raise SettingError(f"{out}: FASTA is for models of aligned sequences: choose one of {', '.join(formats)}")
    if schema is None and ending not in formats:
        raise SettingError(f"{out}: Parquet is for tables of mixed columns: choose one of {', '.join(formats)}")


def write_table(out: str, table: Any, schema: Schema) -> None:
    """Write a table that a model has made: CSV, or Parquet with the types of the columns.

    Parameters
    ----------
    out : str
        A file, or ``-`` for CSV on stdout.
    table : DataFrame, Table, mapping or ndarray
    schema : Schema
    """
    from deepbelief.sources.frames import as_frame

    frame = as_frame(table, schema.names)
    values = {name: frame.column(i) for i, name in enumerate(frame.names)}
    if Path(out).suffix.lower() == ".parquet":
        write_parquet(out, {name: plain(*pair, schema.column(name)) for name, pair in values.items()})
        return
    columns = [written(*pair, schema.column(name)) for name, pair in values.items()]
    with csv_file(out) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(values)
        writer.writerows(zip(*columns, strict=True))


def set_unknown(model: Model, handle_unknown: str) -> None:
    """Set the treatment of categories that did not occur in training, overriding the model's own setting."""
    from deepbelief import RBM

    if model.schema is None:
        raise SettingError(f"--handle-unknown is for models of tables with categories, which {model.path} is not")
    estimator = model.estimator
    if model.kind == "RBM":
        estimator.handle_unknown = handle_unknown
        return
    first = estimator.rbm[0] if isinstance(estimator.rbm, (list, tuple)) else estimator.rbm
    if first is None:
        first = estimator.rbm = RBM()
    first.handle_unknown = handle_unknown


def plain(values: Any, missing: Any, column: Any, *, rounded: bool = False) -> list[Any]:
    """Return values of a column as Python's: whole numbers as integers, None where they are missing.

    With ``rounded``, other numbers in columns of whole numbers are rounded.
    """
    whole = column is not None and column.is_whole
    found = [None if gone else value for value, gone in zip(list(values.tolist()), list(missing), strict=True)]
    return [round(v) if whole and isinstance(v, float) and (rounded or v.is_integer()) else v for v in found]


def written(values: Any, missing: Any, column: Any) -> list[str]:
    """Return the cells of a column as written in a CSV file; a missing value is empty."""
    return [cell(value, column) for value in plain(values, missing, column)]


def cell(value: object, column: Column | None = None) -> str:
    """Return a value as written in a CSV file; numbers rounded to the decimals of their column have all digits."""
    if value is None:
        return ""
    decimals = None if column is None else column.decimals
    if not isinstance(value, float) or (decimals is not None and value == round(value, decimals)):
        return str(value)
    return f"{value:.{DIGITS}g}"


@contextmanager
def csv_file(out: str) -> Iterator[Any]:
    """Give a text file that appears whole or not at all, or stdout."""
    if out == STDOUT:
        yield sys.stdout
        return
    from deepbelief.hdf5 import replacing

    with replacing(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as text:
        yield text


def write_parquet(out: str, columns: Any) -> None:
    """Write a mapping of columns, or a pyarrow Table.

    Raises
    ------
    MissingExtraError
        If pyarrow is not installed.
    """
    from deepbelief.hdf5 import replacing
    from deepbelief.sources.parquet import write_table as write

    with replacing(out) as temporary:
        write(temporary, columns)


def left_out(schema: Schema) -> str:
    """Return the columns that are left out of the model, with the reasons, in one line."""
    told = [c for c in schema.columns if c.kind == "dropped" and c.reason != "as asked"]
    return clean("; ".join(f"{c.name!r} ({c.reason})" for c in told))

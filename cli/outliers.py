"""``deepbelief outliers``: how usual each row is, which rows are outliers, and why."""

import csv
from pathlib import Path
from typing import Any

import click

from deepbelief.bounds import Bounds
from deepbelief.errors import DataError, SettingError
from deepbelief.typing import StrDict

from ._annotations import Model, Outliers
from ._files import check_output
from ._options import backend_option, data_options, force_option, option
from ._tables import STDOUT, cell, csv_file, unknown_option
from ._text import clean, facts
from ._types import Bounded, check_given

SHOWN = 5  # of the oddest rows


@click.command("outliers", short_help="Score rows and find outliers among them.")
@click.argument("model")
@click.argument("data", required=False)
@option("--out", metavar="FILE", help="A .csv file, or - for stdout.  [default: DATA-outliers.csv]")
@option(
    "--contamination",
    type=Bounded(Bounds(0, 0.5, auto=True, open_low=True)),
    metavar="SHARE|auto",
    help="Share of outliers among these rows; auto: more than 3 robust standard deviations below the median.  "
    "[default: auto; a detector has its own threshold]",
)
@data_options
@unknown_option
@backend_option
@force_option
def command(
    model: str, data: str | None, out: str | None, contamination: Any, backend: str, force: bool, **where: Any
) -> None:
    """Score the rows of DATA (by default the training data of MODEL) and find outliers among them.

    MODEL is a file from pretrain, or an outlier detector saved in Python. The output has a line for each row: its
    score (the higher, the more typical), 1 if it is an outlier and, for a table, the column whose value is unusually
    surprising given the rest of the row, with its surprise in nats.

    \b
    Examples:
      deepbelief outliers titanic.h5 new.csv --out scores.csv
      deepbelief outliers titanic.h5 --contamination 0.02
    """  # noqa: D301
    check_given(model, data)
    from deepbelief.evaluation import find_outliers

    from ._inputs import read_model

    loaded = read_model(model, detectors=True, backend=backend)
    if out not in (None, STDOUT) and Path(str(out)).suffix.lower() != ".csv":
        raise SettingError(f"{out}: scores are written as .csv: choose another --out")
    name, rows = rows_to_score(loaded, data, where)
    out = out or f"{name}-outliers.csv"
    if out != STDOUT:
        check_output(out, force=force, inputs=(model, data, where["labels"]))
    found = find_outliers(loaded.estimator, rows, contamination=contamination)
    write(out, found)
    if out != STDOUT:
        facts(
            [
                ("scores", f"{clean(out)}, {len(found.scores)} rows"),
                ("outliers", f"{int(found.is_outlier.sum())} with a score below {found.threshold:.4g}"),
                *(("" if i else "oddest", line) for i, line in enumerate(oddest(found))),
            ]
        )


def rows_to_score(model: Model, data: str | None, where: StrDict) -> tuple[str, Any]:
    """Return the short name of the data, and their rows as the model takes them.

    Raises
    ------
    DataError
    """
    from deepbelief.sources.formats import FORMATS, format_of
    from deepbelief.sources.table_files import read_table

    from ._inputs import data_for

    if model.kind != "AnomalyDetector":
        opened, _ = data_for(model, data, **where)
        return opened.name, opened.rows
    if data is None:
        raise DataError(f"{model.path} does not record its training data; pass DATA explicitly")
    path = Path(data)
    if path.is_file() and FORMATS[format_of(path)].read_columns is not None:
        return path.name.split(".")[0], read_table(data, where["labels"], where["limit"]).columns
    from deepbelief.datasets import open as open_data

    opened = open_data(data, scale="none", labels=where["labels"], limit=where["limit"], data_dir=where["data_dir"])
    return opened.name, opened.rows


def write(out: str, found: Outliers) -> None:
    """Write a line for each row."""
    why = found.surprise is not None
    with csv_file(out) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["score", "outlier", *(["column", "surprise"] if why else [])])
        for i, (score, odd) in enumerate(zip(found.scores.tolist(), found.is_outlier.tolist(), strict=True)):
            column, nats = found.reason(i) if why else ("", 0.0)
            writer.writerow([cell(score), int(odd), *([column, f"{nats:.4g}"] if why else [])])


def oddest(found: Outliers) -> list[str]:
    """Return the oddest rows in words."""
    lines = []
    for i in found.worst(SHOWN).tolist():
        why = ""
        if found.surprise is not None:
            column, nats = found.reason(i)
            why = f", {column} ({nats:.2g} nats)"
        lines.append(f"row {i} (from 0): {found.scores[i]:.4g}{why}")
    return lines

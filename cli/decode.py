"""``deepbelief decode``: rows from codes."""

from pathlib import Path
from typing import Any

import click

from deepbelief.errors import DataError, SettingError

from ._annotations import Backend, Model
from ._files import check_output
from ._options import backend_option, force_option, option
from ._rows import check_format, write_blocks
from ._tables import STDOUT, TABLE_FORMATS, check_table_output, write_table
from ._text import arrows, clean
from ._types import check_given

FORMATS = (".npy", ".csv", ".h5")


@click.command("decode", short_help="Turn codes back into rows.")
@click.argument("model")
@click.argument("codes")
@option(
    "--out",
    metavar="FILE",
    help="A .npy, .csv or .h5 file (.csv or .parquet for a table), or - for CSV on stdout.  [default: "
    "CODES-decoded.npy; tables: .csv]",
)
@click.option(
    "--scaled", is_flag=True, help="Keep the rows in the scale of the model, such as grey levels from 0 to 1."
)
@backend_option
@force_option
def command(model: str, codes: str, out: str | None, scaled: bool, backend: str, force: bool) -> None:
    """Decode CODES, as written by `encode` with MODEL, into rows in the units of the data.

    MODEL is an autoencoder, or a pretrained model, which decodes by the means of its units. For a model of a table the
    output is a table with the most probable categories and the mean numbers.

    \b
    Examples:
      deepbelief encode codes.h5 new.npy --out new-codes.npy
      deepbelief decode codes.h5 new-codes.npy --out again.npy
    """  # noqa: D301
    check_given(model, codes)
    from deepbelief.backends import get_backend
    from deepbelief.datasets import open as open_data
    from deepbelief.sources import blocks, column_statistics
    from deepbelief.training import BLOCK_ROWS

    from ._columns import model_names
    from ._inputs import read_model

    bk = get_backend(backend)
    if out is not None:
        check_format(out, (*FORMATS, *TABLE_FORMATS[1:]))
    loaded = read_model(model, backend=backend)
    ending = ".npy" if loaded.schema is None else ".csv"
    out = out or f"{Path(codes.partition(':')[0]).stem}-decoded{ending}"
    check_table_output(out, loaded.schema, FORMATS)
    if loaded.schema is not None and scaled:
        raise SettingError(f"--scaled is for rows of numbers, and {model} was trained on a table: leave it out")
    decode = decoder(loaded, bk)
    if out != STDOUT:
        check_output(out, force=force, inputs=(model, codes))
    data = open_data(codes, scale="none")
    first = loaded.stack.layers[0]
    units = first.enter if scaled else (lambda rows: rows)
    dtype, n_features = loaded.stack.layers[0].W.dtype, loaded.n_features
    shape = (data.rows.shape[0], n_features)
    n_codes, width = loaded.stack.sizes[-1], data.rows.shape[1]
    if width != n_codes:
        raise DataError(f"{codes} has {width} columns, {model} has codes of {n_codes}")
    column_statistics(data.rows)  # refuses NaN and infinity
    if loaded.schema is not None:
        table = loaded.estimator.inverse_transform(data.rows.take(slice(None)))
        write_table(out, table, loaded.schema)
        if out != STDOUT:
            click.echo(f"{clean(out)}: {shape[0]} rows, {len(loaded.schema.columns)} columns")
        return
    header = model_names(loaded) or [f"x{i}" for i in range(n_features)]
    rows = (units(decode(block)) for block in blocks(data.rows, BLOCK_ROWS))
    write_blocks(out, rows, shape=shape, dtype=dtype, header=header, name="rows")
    if out != STDOUT:
        kind = "in the scale of the model" if scaled and first.mean is not None else "in the units of the data"
        click.echo(f"{clean(out)}: {shape[0]} rows, {arrows((data.rows.shape[1], n_features))}, {kind}")


def decoder(model: Model, bk: Backend) -> Any:
    """Return the function that decodes a block of codes."""
    from deepbelief.sampling import rows_below
    from deepbelief.sources import check_states

    if model.is_autoencoder:
        return model.estimator.inverse_transform
    if model.stack.tuned:
        raise SettingError(
            f"{model.path} holds fine-tuned layers without a decoder: decode with an autoencoder or the pretrained file"
        )
    dtype, unit = model.stack.layers[0].W.dtype, model.stack.layers[-1].hidden_unit

    def decode(codes: Any) -> Any:
        check_states(codes, unit)
        return bk.to_numpy(rows_below(model.stack, bk.asarray(codes, dtype=dtype), bk))

    return decode

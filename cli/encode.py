"""``deepbelief encode``: the top layer's units for each row."""

from pathlib import Path
from typing import Any

import click

from deepbelief.errors import SettingError

from ._annotations import Backend, Model
from ._files import check_output
from ._options import backend_option, data_options, force_option, option
from ._rows import check_format, write_blocks
from ._tables import STDOUT, unknown_option
from ._text import arrows, clean
from ._types import check_given

FORMATS = (".npy", ".csv", ".h5")


@click.command("encode", short_help="Turn rows into codes: the top layer's units.")
@click.argument("model")
@click.argument("data", required=False)
@option("--out", metavar="FILE", help="A .npy, .csv or .h5 file, or - for CSV on stdout.  [default: MODEL-codes.npy]")
@data_options
@unknown_option
@backend_option
@force_option
def command(model: str, data: str | None, out: str | None, backend: str, force: bool, **where: Any) -> None:
    """Encode the rows of DATA (by default the training data of MODEL) as the values of the top layer's units.

    Rows are read and written in blocks, so that data larger than memory can be encoded.

    \b
    Examples:
      deepbelief encode digits28.h5
      deepbelief encode table.h5 new.csv --out codes.csv
    """  # noqa: D301
    check_given(model, data)
    from deepbelief.backends import get_backend
    from deepbelief.sources import blocks
    from deepbelief.training import BLOCK_ROWS

    from ._inputs import data_for, read_model

    bk = get_backend(backend)
    out = out or Path(model).name.removesuffix(".h5") + "-codes.npy"
    check_format(out, FORMATS)
    loaded = read_model(model, backend=backend)
    encode = encoder(loaded, bk)
    if out != STDOUT:
        check_output(out, force=force, inputs=(model, data, where["labels"]))
    opened, _ = data_for(loaded, data, **where)
    if out != STDOUT:
        check_output(out, force=force, inputs=(opened.source_path,))
    shape = (opened.rows.shape[0], loaded.stack.sizes[-1])
    dtype = loaded.stack.layers[0].W.dtype
    header = [f"unit{i}" for i in range(shape[1])]
    codes = map(encode, blocks(opened.rows, BLOCK_ROWS))
    write_blocks(out, codes, shape=shape, dtype=dtype, header=header, name="codes")
    if out != STDOUT:
        click.echo(f"{clean(out)}: {shape[0]} rows, {arrows((opened.rows.shape[1], shape[1]))}")


def encoder(model: Model, bk: Backend) -> Any:
    """Return the function that encodes a block of rows."""
    from deepbelief.pretraining import transform
    from deepbelief.sources import as_source, named
    from deepbelief.stack import Stack

    if isinstance(model.estimator, Stack):
        return lambda block: transform(model.estimator, as_source(block), bk)
    estimator = model.estimator
    if not hasattr(estimator, "transform"):
        raise SettingError(f"{model.path} holds a {model.kind}, which has no codes: use predict or sample")
    names = getattr(estimator, "feature_names_in_", None) if model.schema is None else None
    return lambda block: estimator.transform(named(as_source(block), names))

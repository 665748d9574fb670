"""``deepbelief export``: a model for PyTorch, ONNX, scikit-learn or any reader of NumPy archives."""

from pathlib import Path
from typing import Any

import click

from deepbelief.errors import SettingError
from deepbelief.typing import Estimator

from ._files import check_output
from ._options import force_option, option
from ._text import clean, size_of

SUFFIXES = {"onnx": ".onnx", "torch": ".pt", "sklearn": ".joblib", "npz": ".npz"}


@click.command("export", short_help="Write a model for PyTorch, ONNX, scikit-learn or NumPy.")
@click.argument("model")
@click.option("--to", "target", type=click.Choice(list(SUFFIXES)), required=True, help="The kind of file.")
@click.option(
    "--part",
    type=click.Choice(["auto", "encoder", "decoder"]),
    default="auto",
    show_default=True,
    help="auto: predictions, reconstructions, or the features of an unsupervised model.",
)
@option("--out", metavar="FILE", help="[default: MODEL with the suffix .onnx, .pt, .joblib or .npz]")
@force_option
def command(model: str, target: str, part: str, out: str | None, force: bool) -> None:
    """Export MODEL as a feed-forward network that runs without deepbelief.

    All scaling is folded in: the network expects rows in the units of the training data. A PyTorch file contains a
    whole module (load it with torch.load(FILE, weights_only=False)), a scikit-learn file a joblib archive. Both
    execute code when they are loaded.

    \b
    Examples:
      deepbelief export digits28-tuned.h5 --to onnx
      deepbelief export codes-tuned.h5 --to torch --part encoder --out encoder.pt
    """  # noqa: D301
    from deepbelief.hdf5 import replacing

    from ._inputs import read_model

    out = out or Path(model).name.removesuffix(".h5") + SUFFIXES[target]
    check_output(out, force=force, inputs=(model,))
    if target == "sklearn" and part != "auto":
        raise SettingError("--part is for onnx, torch and npz: scikit-learn's networks only predict")
    estimator = read_model(model).estimator
    with replacing(out) as temporary:
        _write(estimator, target, part, temporary)
    click.echo(f"{clean(out)}: {size_of(Path(out).stat().st_size)}")


def _write(estimator: Estimator, target: str, part: Any, path: Path) -> None:
    """Write one kind of file."""
    import importlib

    from deepbelief.export import to_mlp, to_npz, to_onnx, to_torch

    if target == "onnx":
        to_onnx(estimator, path, part=part)
    elif target == "npz":
        to_npz(estimator, path, part=part)
    elif target == "torch":
        module: Any = to_torch(estimator, part=part)
        with path.open("wb") as file:
            importlib.import_module("torch").save(module, file)
    else:
        importlib.import_module("joblib").dump(to_mlp(estimator), path)

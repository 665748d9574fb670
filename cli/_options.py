"""Options that several commands share, and the types of their values."""

from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Any], Any]


class Layers(click.ParamType):  # type: ignore[type-arg]
    """Hidden layer sizes: ``500,250`` or ``auto``."""

    name = "sizes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...] | str:
        """Return a tuple of integers, or ``"auto"``."""
        if value == "auto":
            return "auto"
        parts = value if isinstance(value, (list, tuple)) else str(value).split(",")
        try:
            return tuple(int(str(part)) for part in parts)
        except ValueError:
            self.fail(f"{value!r} is not a list of sizes such as 500,250 (or auto)", param, ctx)


class OrAuto(click.ParamType):  # type: ignore[type-arg]
    """A number, or ``auto``."""

    def __init__(self, kind: type[int] | type[float]) -> None:
        self.kind = kind
        self.name = "integer" if kind is int else "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | float | str:
        """Return the number, or ``"auto"``."""
        if value == "auto":
            return "auto"
        try:
            return self.kind(str(value))
        except ValueError:
            self.fail(f"{value!r} is neither {'an integer' if self.kind is int else 'a number'} nor auto", param, ctx)


class Steps(click.ParamType):  # type: ignore[type-arg]
    """Gibbs steps: ``5``, or ``1-25`` for a number that grows from the first epoch to the last."""

    name = "steps"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | tuple[int, int]:
        """Return a number, or that of the first and of the last epoch."""
        parts = value if isinstance(value, (list, tuple)) else str(value).split("-")
        try:
            numbers = [int(str(part)) for part in parts]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 2):
            self.fail(f"{value!r} is neither a number of steps such as 5 nor a range such as 1-25", param, ctx)
        return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


class ImageShape(click.ParamType):  # type: ignore[type-arg]
    """Height and width of an image: ``28,28``, ``auto`` or ``none``."""

    name = "shape"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int] | str:
        """Return (height, width), ``"auto"`` or ``"none"``."""
        if value in ("auto", "none") or isinstance(value, tuple):
            return value  # type: ignore[no-any-return]
        try:
            height, width = (int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a height and width such as 28,28 (or auto, or none)", param, ctx)
        return height, width


def option(*names: str, **settings: Any) -> Decorator:
    """Return a click option whose value is None unless it is given."""
    return click.option(*names, **{"default": None, "metavar": None, **settings})


def together(*decorators: Decorator) -> Decorator:
    """Return one decorator that applies these in their written order."""

    def apply(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


labels_option = option(
    "--labels", metavar="NAME|FILE", help="Labels: a CSV column (name or index), a key (npz, HDF5, Zarr), or a file."
)
limit_option = option("--limit", type=int, metavar="N", help="Use the first N rows only.")
data_dir_option = option(
    "--data-dir", metavar="FOLDER", help="Where mnist and fashion-mnist lie; else DEEPBELIEF_DATA."
)
memory_option = option(
    "--memory-limit", metavar="SIZE", help="Memory for rows, such as 512MiB; more are read in windows.  [default: 1/4]"
)
backend_option = click.option(
    "--backend", default="numpy", show_default=True,
    help="numpy, cupy for a GPU, or numpy:bfloat16 for products of less precision where the processor has AMX.",
)  # fmt: skip
shape_option = click.option(
    "--shape", type=ImageShape(), default="auto", show_default=True,
    help="Height and width of the image that a row is; auto: square from 8,8 on; none: no image.",
)  # fmt: skip
force_option = click.option("--force", is_flag=True, help="Replace an existing file.")
data_options = together(labels_option, limit_option, data_dir_option)
run_options = together(
    backend_option,
    option("--seed", type=int, help="Repeats a run exactly; a fresh one is drawn and printed by default."),
)
report_options = together(
    force_option,
    option("--log", metavar="FILE", help="Write one line of JSON per epoch."),
    click.option("--quiet", "-q", is_flag=True, help="Show no progress."),
)

"""Options that several commands share."""

from collections.abc import Callable
from typing import Any

import click

from ._types import Bounded, ImageShape, Registered

Decorator = Callable[[Any], Any]


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


BACKEND = Registered("deepbelief.backends:BACKENDS", getter="deepbelief.backends:get_backend")
GRADIENT = Registered("deepbelief.gradients:GRADIENTS")
COMPOSED = ("softmax", "labelled")  # units that are not named alone
VISIBLE = Registered("deepbelief.units:UNITS", "auto", getter="deepbelief.units:get_unit", without=COMPOSED)
HIDDEN = Registered("deepbelief.units:UNITS", getter="deepbelief.units:get_unit", without=COMPOSED)
SCALE = Registered("deepbelief.sources.scaling:SCALES")
SCHEDULE = Registered("deepbelief.schedules:SCHEDULES")
BINARIZE = Registered("deepbelief.sources.binary:BINARIZATIONS")

labels_option = option(
    "--labels", metavar="NAME|FILE", help="Labels: a CSV column (name or index), a key (npz, HDF5, Zarr), or a file."
)
holdout_option = option(
    "--holdout", type=Bounded(), metavar="SHARE", help="Leave this share of the rows, by class, to `evaluate`."
)
limit_option = option("--limit", type=Bounded(), metavar="N", help="Use the first N rows only.")
data_dir_option = option(
    "--data-dir", metavar="FOLDER", help="Where mnist and fashion-mnist lie; else DEEPBELIEF_DATA."
)
memory_option = option(
    "--memory-limit", metavar="SIZE", help="Memory for rows, such as 512MiB; more are read in windows.  [default: 1/4]"
)
backend_option = click.option(
    "--backend", type=BACKEND, default="numpy", show_default=True,
    help="cupy: on a GPU; numpy:bfloat16: products of less precision where the processor has AMX.",
)  # fmt: skip
shape_option = click.option(
    "--shape", type=ImageShape(), default="auto", show_default=True,
    help="Height and width of the image that a row is; auto: square from 8,8 on; none: no image.",
)  # fmt: skip
force_option = click.option("--force", is_flag=True, help="Replace an existing file.")
data_options = together(labels_option, limit_option, data_dir_option)
run_options = together(
    backend_option,
    option(
        "--seed",
        type=Bounded("random_state"),
        metavar="N",
        help="Repeats a run exactly; a fresh one is drawn and printed by default.",
    ),
)
report_options = together(
    force_option,
    option("--log", metavar="FILE", help="Write one line of JSON per epoch."),
    click.option("--quiet", "-q", is_flag=True, help="Show no progress."),
)

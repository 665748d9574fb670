"""Options that several commands share."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from deepbelief.bounds import Bounds
from deepbelief.hyperparameters import EXECUTION, Choice, Flag, Kind, Setting, Shares
from deepbelief.hyperparameters.kinds import MARK_OF_UNLABELED, SIZES, STEPS, Names

from ._text import spelling
from ._types import Bounded, ImageShape, Layers, Listed, Mark, Registered, Steps

Decorator = Callable[[object], Any]
SECTIONS: dict[click.Parameter, str] = {}
"""Sections of the help that options belong to."""


class DataCommand(click.Command):
    """A command whose help lists the formats of data, for ``{formats}``, and options by `section`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those without a section last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                sections.setdefault(SECTIONS.get(parameter, "Options"), []).append(record)
        rest = sections.pop("Options", [])
        for title, records in [*sections.items(), ("Options" if not sections else "Other options", rest)]:
            with formatter.section(title):
                formatter.write_dl(records)

    @property
    def help(self) -> str | None:
        """The help text."""
        from deepbelief.sources.formats import formats_text

        return None if self._help is None else self._help.replace("{formats}", formats_text())

    @help.setter
    def help(self, text: str | None) -> None:
        self._help = text


def option(*names: str, **settings: Any) -> Decorator:
    """Return a click option whose value is None unless it is given."""
    return click.option(*names, **{"default": None, "metavar": None, **settings})


def section(title: str, *decorators: Decorator) -> Decorator:
    """Return one decorator that applies these and gives their options a section in the help."""

    def apply(function: Any) -> Any:
        before = list(getattr(function, "__click_params__", ()))
        function = together(*decorators)(function)
        SECTIONS.update({parameter: title for parameter in function.__click_params__ if parameter not in before})
        return function

    return apply


def together(*decorators: Decorator) -> Decorator:
    """Return one decorator that applies these in their written order."""

    def apply(function: object) -> object:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def option_name(name: str) -> str:
    """Return the longest spelling of an option of the running command, or the name of an argument in its help."""
    parameters = {parameter.name: parameter for parameter in click.get_current_context().command.params}
    return spelling(parameters[name])


def setting_option(name: str, setting: Setting, **other: Any) -> Decorator:
    """Return the option of a setting: its type, its help with the default, and the name that the table gives it."""
    kind, text, default = setting.kind, setting.help or "", setting.default
    told = "[default:" in text or (default == "auto" and "auto" in text)
    if default is not None and default is not False and not told:
        text += f"  [default: {default:g}]" if isinstance(default, float) else f"  [default: {default}]"
    flag = setting.flag or f"--{name.replace('_', '-')}"
    if isinstance(kind, Flag):
        return click.option(flag, name, **{"is_flag": True, "default": None, "help": text, **other})
    return option(flag, name, **{"type": type_of(name, kind), "help": text, **other})


def type_of(name: str, kind: Kind) -> click.ParamType:  # type: ignore[type-arg]
    """Return the type of the values of a setting's option."""
    if isinstance(kind, Choice):
        return Registered(kind)
    if isinstance(kind, Names):
        return Listed(kind)
    if isinstance(kind, Shares):
        return Bounded(kind.bounds, name)
    if isinstance(kind, Bounds):
        return Bounded(kind, name)
    return {STEPS: Steps, SIZES: Layers, MARK_OF_UNLABELED: Mark}[kind]()


def setting_options(*tables: Mapping[str, Setting]) -> Decorator:
    """Return the options of all settings in these tables that have a help text, those of each name once."""
    rows = {name: setting for table in reversed(tables) for name, setting in table.items()}
    return together(*(setting_option(name, setting) for name, setting in rows.items() if setting.help is not None))


labels_option = option(
    "--labels", metavar="NAME|FILE", help="Labels: a CSV column (name or index), a key (npz, HDF5, Zarr), or a file."
)
holdout_option = option(
    "--holdout",
    type=Bounded(),
    metavar="SHARE",
    help="Hold out this share of the rows, stratified by class, for `evaluate`.",
)
limit_option = option("--limit", type=Bounded(), metavar="N", help="Use the first N rows only.")
data_dir_option = option(
    "--data-dir", metavar="FOLDER", help="Folder with mnist and fashion-mnist. [default: DEEPBELIEF_DATA]"
)
memory_option = option(
    "--memory-limit",
    metavar="SIZE",
    help="Memory for rows, such as 512MiB; larger data are read in windows.  [default: a quarter]",
)
backend_option = click.option(
    "--backend", type=type_of("backend", EXECUTION["backend"].kind), default="numpy", show_default=True,
    help="cupy: on a GPU; numpy:bfloat16: lower-precision products on processors with AVX512-BF16 or AMX.",
)  # fmt: skip
shape_option = click.option(
    "--shape", type=ImageShape(), default="auto", show_default=True,
    help="Height and width of the image in each row; auto: square, if at least 8,8; none: rows are not images.",
)  # fmt: skip
force_option = click.option("--force", is_flag=True, help="Replace an existing file.")
data_options = together(labels_option, limit_option, data_dir_option)
seed_option = option(
    "--seed", type=Bounded("random_state"), metavar="N", help="Random seed; drawn and printed by default."
)
run_options = together(backend_option, seed_option)
report_options = together(
    force_option,
    option("--log", metavar="FILE", help="Write one line of JSON per epoch."),
    click.option("--quiet", "-q", is_flag=True, help="Show no progress."),
)

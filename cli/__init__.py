"""The command line: ``deepbelief COMMAND``; every module here without a leading underscore is one command.

Commands from outside the package are entries of `COMMANDS`.

Nothing heavy is imported before a command runs, so that ``--help`` answers at once.
"""

import difflib
import importlib
import io
import pkgutil
import sys
from typing import Any

import click

from deepbelief import __version__
from deepbelief.extensions import load_extensions

from ._errors import reported
from ._types import Text

COMMANDS: dict[str, click.Command] = {}
"""Commands from other packages by name; to add one, write a click command and add an entry."""


class Commands(click.Group):
    """Finds the commands among the modules beside this one; each has its click command as ``command``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return sorted({*_own_commands(), *COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, whose module is then imported."""
        if cmd_name not in _own_commands():
            return COMMANDS.get(cmd_name)
        command: click.Command = importlib.import_module(f"{__name__}.{cmd_name}").command
        for parameter in command.params:
            if parameter.type is click.STRING:
                parameter.type = Text()
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command that is meant; name the nearest one where there is none."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"{error.message}{hint}", ctx) from None

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; bad input ends in one line and an exit code, never in a traceback."""
        with reported():
            return super().invoke(ctx)


def _own_commands() -> list[str]:
    """Return the names of the modules beside this one that are commands."""
    return [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with:  deepbelief pretrain   (a demonstration on built-in data, about a minute)",
)
@click.version_option(__version__, prog_name="deepbelief")
def cli() -> None:
    """Deep belief networks: pretrain layer by layer, fine-tune, use.

    \b
    deepbelief pretrain digits28 --layers 500,250
    deepbelief finetune digits28.h5
    deepbelief evaluate digits28-tuned.h5
    """  # noqa: D301


def main() -> None:
    """Run the command line; the console script's entry."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a class called 'naïve' is no reason to fail on an ASCII terminal
        sys.stdout.reconfigure(errors="backslashreplace")
    with reported():
        load_extensions()
    cli(prog_name="deepbelief")


__all__ = ["COMMANDS", "cli", "main"]

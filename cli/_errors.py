"""Errors in one line: exit code 1 for bad input, 130 for Ctrl-C, 143 for SIGTERM."""

import contextlib
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Mapping

import click

from deepbelief.errors import (
    DeepBeliefError,
    DeepBeliefWarning,
    DivergenceError,
    DivergenceWarning,
    Interrupted,
    Mention,
    Structured,
    one_line,
)

from ._text import as_typed, clean, spelling

BAD_INPUT, INTERRUPTED = 1, 130
OTHER_NAMES = {
    "n_iter": ("epochs",),
    "max_iter": ("epochs",),
    "learning_rate": ("learning_rate_init", "rates"),
    "learning_rate_init": ("learning_rate", "rates"),
    "gibbs_steps": ("steps",),
    "n_steps": ("steps",),
    "n_samples": ("n", "rows"),
    "n_classes": ("classes",),
    "n_labeled": ("labeled",),
    "n_draws": ("draws",),
    "n_runs": ("runs",),
    "n_components": ("hidden_layer_sizes",),
    "random_state": ("seed",),
    "level": ("corruption_level",),
}
"""Parameters of commands that stand for a setting of another name."""


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Turn warnings and errors of the body into one line each on stderr, and errors into an exit code."""
    try:
        with _one_line_warnings():
            yield
            sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough, as in `... | head`
        _silence_stdout()
        raise click.exceptions.Exit(0) from None
    except Interrupted as error:
        click.echo(_how_to_go_on(error), err=True)
        raise click.exceptions.Exit(128 + error.number) from None
    except KeyboardInterrupt:
        click.echo("Interrupted: the output file is unchanged", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    except click.UsageError as error:
        raise click.UsageError(clean(one_line(error.format_message())), error.ctx) from None
    except (DeepBeliefError, DivergenceWarning, OSError, MemoryError) as error:
        click.echo(f"Error: {clean(one_line(_message(error)))}", err=True)
        if isinstance(error, OSError):
            _silence_stdout()
        raise click.exceptions.Exit(BAD_INPUT) from None


def _how_to_go_on(error: Interrupted) -> str:
    if not error.path:
        return f"Interrupted: {clean(error)}; the output file is unchanged"
    command = click.get_current_context().invoked_subcommand
    return f"Interrupted: resume with  deepbelief {command} --resume {shlex.quote(error.path)}"


def _message(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory: use --limit, fewer units or a smaller --batch-size"
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename is not None else ""
        return f"{name}{error.strerror or error}"
    if isinstance(error, DivergenceWarning) and error.error is not None:  # nothing is kept here
        error = error.error
    text = error.spelled(option_of) if isinstance(error, Structured) else str(error)
    return f"{text} [{error.link}]; nothing was written" if isinstance(error, DivergenceError) else text


def option_of(mention: Mention) -> str:
    """Return a setting as an option of the running command, or as Python writes it where there is none.

    ``early_stopping=True`` becomes ``--early-stopping``, ``unlabeled=None`` ``--unlabeled=none``, and
    ``columns={'zip': 'dropped'}`` ``--columns=zip=dropped``.
    """
    parameter = _parameter_of(mention.name)
    if parameter is None or not (isinstance(parameter, click.Option) or mention.value is ...):
        return str(mention)
    option = spelling(parameter)
    if mention.value is ...:
        return option
    if getattr(parameter, "is_flag", False):
        return option if mention.value is True else f"no {option}"
    if isinstance(mention.value, Mapping):
        return f"{option}={shlex.quote(as_typed(mention.value))}"
    return f"{option}={'none' if mention.value is None else mention.text}"


def _parameter_of(setting: str) -> click.Parameter | None:
    """Return the parameter of the running command that stands for a setting."""
    ctx = click.get_current_context(silent=True)
    if ctx is None:
        return None
    command: click.Command | None = ctx.command  # while it runs, and warns; after it failed its group is current
    if isinstance(command, click.Group):
        command = command.get_command(ctx, ctx.invoked_subcommand) if ctx.invoked_subcommand else None
    parameters = {p.name: p for p in command.params} if command is not None else {}
    return next((parameters[name] for name in (setting, *OTHER_NAMES.get(setting, ())) if name in parameters), None)


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Show warnings meant for users as one line, each once; a run that diverged is an error here."""
    shown = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        text = clean(message.spelled(option_of) if isinstance(message, Structured) else message)
        if text not in shown:
            click.echo(f"Warning: {text}", err=True)
        shown.add(text)

    with warnings.catch_warnings():
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning, RuntimeWarning):
            warnings.simplefilter("ignore", category)
        warnings.simplefilter("always", DeepBeliefWarning)
        warnings.simplefilter("error", DivergenceWarning)
        warnings.showwarning = show
        yield


def _silence_stdout() -> None:
    """Let the interpreter's last flush go nowhere: what is left cannot be written."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)

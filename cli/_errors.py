"""What goes wrong, in one line: exit code 1 for bad input, 130 for Ctrl-C, 143 for SIGTERM."""

import contextlib
import os
import re
import shlex
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import click

from deepbelief.errors import DeepBeliefError, DeepBeliefWarning, DivergenceWarning, Interrupted

from ._text import clean

BAD_INPUT, INTERRUPTED = 1, 130


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
        click.echo("Interrupted: the output file is as it was", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    except (DeepBeliefError, DivergenceWarning, OSError, MemoryError) as error:
        click.echo(f"Error: {_message(error)}", err=True)
        if isinstance(error, OSError):
            _silence_stdout()
        raise click.exceptions.Exit(BAD_INPUT) from None


def _how_to_go_on(error: Interrupted) -> str:
    if not error.path:
        return f"Interrupted: {clean(error)}; the output file is as it was"
    command = click.get_current_context().invoked_subcommand
    return f"Interrupted: go on with  deepbelief {command} --resume {shlex.quote(error.path)}"


def _message(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory: use --limit, fewer units or a smaller --batch-size"
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename is not None else ""
        return clean(f"{name}{error.strerror or error}")
    text = clean(error)
    if isinstance(error, DivergenceWarning) or "diverged in epoch" in text:
        # Here nothing is kept, and the setting is an option.
        text = re.sub("; the weights of the last good epoch were kept$", "", text)
        text = re.sub(r"\blearning_rate(_init)?=", "--learning-rate ", text) + "; nothing was written"
    return text


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Show warnings meant for users as one line, each once; a run that diverged is an error here."""
    shown = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = clean(message)
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

"""Errors and warnings of the package.

Every class is a `DeepBeliefError` and also the built-in that fits, so that both
``except DeepBeliefError`` and ``except ValueError`` do what a caller expects.
Messages are one line: what was given, what is allowed, what to do. The field ``symptom`` names the row of the page
*Diagnose a run* that says more: warnings show it behind their message, errors as a note below the traceback.
"""

import difflib
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Number
from typing import Self

from deepbelief import documentation

MAX_MESSAGE = 1000  # characters of a message; values from files and callers may be of any length


def one_line(text: str) -> str:
    """Return a message as one line of at most `MAX_MESSAGE` characters, without the middle of a longer one."""
    text = re.sub(r"\s*[\n\r]\s*", " ", text)
    return text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE - 305]} ... {text[-300:]}"


def printable(value: object) -> str:
    """Return text that a terminal only prints: one line, control and invisible characters as escapes."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in str(value)
    )


@dataclass(frozen=True)
class Mention:
    """A setting that a message names: the command line writes it as an option.

    Parameters
    ----------
    name : str
        Name in Python.
    value : object, optional
        Its value, if the message gives one.
    form : str, default=""
        Format of the value, as `format` takes it. By default numbers are written as they print, and other values as
        Python writes them.

    Examples
    --------
    >>> print(Mention("n_iter"), Mention("hidden", "spin"), Mention("learning_rate", 1 / 3, form=".3g"))
    n_iter hidden='spin' learning_rate=0.333
    """

    name: str
    value: object = ...
    form: str = ""

    @property
    def text(self) -> str:
        """The value as it is written, empty if there is none."""
        if self.value is ...:
            return ""
        return format(self.value, self.form) if self.form or isinstance(self.value, Number) else repr(self.value)

    def __str__(self) -> str:
        return self.name if self.value is ... else f"{self.name}={self.text}"


class Message(tuple[str | Mention, ...]):
    """A message in parts: text, which stays as it is whatever it contains, and settings.

    Parameters
    ----------
    *parts : object
        Instances of `Mention`, messages, errors with a message, and anything else as text.

    Examples
    --------
    >>> message = Message("{a=1} b.csv: ", Mention("tied", True), " needs a table")
    >>> print(message)
    {a=1} b.csv: tied=True needs a table
    >>> message.spelled(lambda setting: f"--{setting.name}")
    '{a=1} b.csv: --tied needs a table'
    """

    def __new__(cls, *parts: object) -> Self:  # noqa: D102  # the class says it
        found: list[str | Mention] = []
        for part in parts:
            inner = part.message if isinstance(part, Structured) else part
            found += inner if isinstance(inner, Message) else [inner if isinstance(inner, Mention) else str(inner)]
        return tuple.__new__(cls, found)

    def __getnewargs__(self) -> tuple[object, ...]:
        return tuple(self)

    def __str__(self) -> str:
        return self.spelled(str)

    def spelled(self, name_of: Callable[[Mention], str]) -> str:
        """Return one line of text with settings as `name_of` writes them."""
        return one_line("".join(part if isinstance(part, str) else name_of(part) for part in self))


class Structured(Exception):
    """Base of errors and warnings: a message and, as far as they apply, what it is about as fields.

    Parameters
    ----------
    *parts : object
        Parts of the `Message`.
    **fields
        Values of the class's fields, None by default. Code decides by these and never reads the message.

    Examples
    --------
    >>> error = SettingError(Mention("n_iter"), " must be an integer >= 1, got 0", setting="n_iter", value=0)
    >>> str(error)
    'n_iter must be an integer >= 1, got 0'
    >>> error.spelled(lambda setting: "--epochs")
    '--epochs must be an integer >= 1, got 0'
    """

    setting: str | None = None
    value: object = None
    symptom: str = ""

    def __init__(self, *parts: object, **fields: object) -> None:
        unknown_names = [name for name in fields if not hasattr(type(self), name)]
        if unknown_names:
            raise TypeError(f"{type(self).__name__} has no field {unknown_names[0]!r}")
        self.message = Message(*parts)
        vars(self).update(fields)
        Exception.__init__(self, str(self.message))

    def spelled(self, name_of: Callable[[Mention], str]) -> str:
        """Return the message with its settings as `name_of` writes them."""
        return self.message.spelled(name_of)

    @property
    def link(self) -> str:
        """Place in the documentation that says more: an address, or the name of a row; empty if there is none."""
        return documentation.row(self.symptom) if self.symptom else ""

    def prefixed(self, text: str) -> Self:
        """Return the same error with a text before its message."""
        fields = {name: value for name, value in vars(self).items() if hasattr(type(self), name)}
        return type(self)(text, self, **fields)


class DeepBeliefError(Structured):
    """Base of all errors raised on purpose."""

    def __init__(self, *parts: object, **fields: object) -> None:
        Structured.__init__(self, *parts, **fields)
        if self.symptom:
            self.add_note(f"See {self.link}")


class BackendError(DeepBeliefError, RuntimeError):
    """A backend is unknown, not installed, or has no device."""

    symptom = "no-device"


class DataError(DeepBeliefError, ValueError):
    """Rows that cannot be used: wrong shape, not finite, out of range, unreadable."""

    row: int | None = None
    column: int | None = None


class FileError(DataError):
    """Rows in a file that cannot be used; the message begins with the name of the file."""


class NotNumericError(FileError):
    """A file with text or missing values among its rows, where numbers are needed."""


class ClassesError(DataError):
    """Targets with other classes than those that a model was fitted to."""

    symptom = "other-classes"
    expected: str | None = None
    given: str | None = None


class GreyLevelError(DataError):
    """Rows of Bernoulli units with values other than 0 and 1, which have no likelihood."""

    symptom = "grey-levels"


class SettingError(DeepBeliefError, ValueError):
    """A setting outside what is allowed, or two that contradict each other."""


class FileFormatError(DeepBeliefError, ValueError):
    """A model file that is damaged, malicious, of another kind, or too new."""

    symptom = "file-refused"


class DivergenceError(DeepBeliefError, ArithmeticError):
    """Training diverged and there is no good epoch to fall back on; ``setting`` is its learning rate."""

    symptom = "diverged"
    layer: int | None = None
    epoch: int | None = None


class ClusterError(DeepBeliefError, RuntimeError):
    """A cluster that cannot be reached, or whose workers cannot be used or are lost."""

    symptom = "cluster-lost"


class MissingExtraError(DeepBeliefError, ImportError):
    """A library that only some functions need is not installed."""

    symptom = "missing-extra"


class Interrupted(KeyboardInterrupt):
    """A signal stopped a run after an update; a checkpoint has all of it.

    Parameters
    ----------
    message : str
    number : int
        Of the signal.
    path : str
        The checkpoint that the run can resume from; empty: none could be written.
    """

    def __init__(self, message: str, number: int, path: str) -> None:
        KeyboardInterrupt.__init__(self, message)
        self.number, self.path = number, path


class DeepBeliefWarning(Structured, UserWarning):
    """Base of all warnings given on purpose."""

    def spelled(self, name_of: Callable[[Mention], str]) -> str:
        """Return the message with its settings as `name_of` writes them, and its symptom."""
        text = Structured.spelled(self, name_of)
        return f"{text} [{self.link}]" if self.symptom else text

    def __str__(self) -> str:
        """Return the message and its symptom."""
        return self.spelled(str)


class DivergenceWarning(DeepBeliefWarning):
    """Training diverged; the weights of the last good epoch were kept. ``error`` has the fields."""

    symptom = "diverged"
    error: DivergenceError | None = None


class SizingWarning(DeepBeliefWarning):
    """Layer sizes that the sizing guidance advises against."""

    symptom = "sizes"


class PrecisionWarning(DeepBeliefWarning):
    """Matrix products are made in another precision than was asked for."""

    symptom = "precision"


class CheckpointWarning(DeepBeliefWarning):
    """A checkpoint that could not be written, or is not quite what it should be."""

    symptom = "checkpoint"


class LogWarning(DeepBeliefWarning):
    """A log or event file that cannot be written; training continues."""

    symptom = "no-log"


class TrainingWarning(DeepBeliefWarning):
    """Training that ended without having learned anything, or worse than a simple model."""

    symptom = "learned-nothing"


class ExtensionWarning(DeepBeliefWarning):
    """An extension that cannot be imported; it is left out."""

    symptom = "extension"


class DataWarning(DeepBeliefWarning):
    """Data that can be used but may not be what was intended."""

    symptom = "data-in-doubt"


_COMPLETE: set[tuple[type, type]] = set()
"""Types whose instances were found to have all members of a protocol: a prediction for one row asks several times."""


def check_members(
    what: str, given: object, protocol: type, allowed: Iterable[str], error: type[DeepBeliefError] = SettingError
) -> None:
    """Refuse an instance that lacks members of its protocol, or inherits them from it without a body.

    Parameters
    ----------
    what : str
        Name of the setting.
    given : object
        Value to check.
    protocol : type
        A protocol whose members have no bodies but docstrings.
    allowed : iterable of str
        Names that could be given instead.
    error : type, default=SettingError
        Class of the error.

    Raises
    ------
    SettingError
    """
    if (type(given), protocol) in _COMPLETE:
        return
    if isinstance(given, type):
        raise error(f"{what} must be one of {', '.join(allowed)} or an instance, got the class {given.__name__}")
    names = [name for name in {**vars(protocol), **protocol.__annotations__} if name == "__call__" or name[0] != "_"]
    missing = [name for name in names if not _has(given, name, protocol)]
    if len(missing) == len(names):
        raise error(f"{what} must be one of {', '.join(allowed)} or an instance, got {given!r}")
    if missing:
        raise error(f"{what}={type(given).__name__} must define {', '.join(missing)} as well")
    _COMPLETE.add((type(given), protocol))


def _has(given: object, name: str, protocol: type) -> bool:
    """Return whether an object defines a member itself, and does not inherit it from the protocol."""
    kind = next((kind for kind in type(given).__mro__ if name in vars(kind)), None)
    if kind is not None and vars(kind)[name] is not None and vars(kind)[name] is vars(protocol).get(name):
        return False
    return kind is not None or hasattr(given, name)


def user_level() -> int:
    """Return the `stacklevel` of a warning that is about the line which called this package, or scikit-learn's."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("deepbelief."):
        level, frame = level + 1, frame.f_back
    return level


def invalid(name: str, constraint: str, value: object) -> SettingError:
    """Return the error of a setting whose value breaks a constraint.

    Examples
    --------
    >>> print(invalid("n_iter", "an integer >= 1", 0))
    n_iter must be an integer >= 1, got 0
    """
    return SettingError(Mention(name), f" must be {constraint}, got {value!r}", setting=name, value=value)


def unknown(what: str | Mention, given: object, allowed: Iterable[str]) -> Message:
    """Return the message for a name that is not in a registry, with the nearest match."""
    names = list(allowed)
    near = difflib.get_close_matches(str(given), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return Message("unknown ", what, f" {given!r}: choose one of {', '.join(names)}{hint}")

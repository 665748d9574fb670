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
from typing import Self

from deepbelief import documentation

MAX_MESSAGE = 1000  # characters of a message; values from files and callers may be of any length
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
PLACEHOLDER = re.compile(
    rf"(?<!\w)(?:{_QUOTED})"  # values and names of the user, in which braces are text
    rf"|(?<![^\s(\[`])\{{(?P<setting>[a-z_]+(?:=(?:{_QUOTED}|[^{{}}'\"]|\{{[^{{}}]*\}})*)?)\}}"
    r"(?![\w/{\\-]|\.\w)"  # {a=1}.csv is the name of a file
)
LITERAL_BRACE = "\ufdd0"  # noncharacter: stands for a brace that begins no placeholder


def one_line(text: str) -> str:
    """Return a message as one line of at most `MAX_MESSAGE` characters, without the middle of a longer one."""
    text = re.sub(r"\s*[\n\r]\s*", " ", text)
    return text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE - 305]} ... {text[-300:]}"


def printable(value: object) -> str:
    """Return text that a terminal only prints: one line, control and invisible characters as escapes."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in str(value)
    )


def spelled(template: str, settings: Iterable[str] = (), name_of: Callable[[str], str] = str) -> str:
    """Return a text in which settings stand as `name_of` writes them.

    Parameters
    ----------
    template : str
        With ``{NAME}`` for each of the settings, and ``{NAME=VALUE}`` for any setting with a value.
        Braces within quotes, within words, and in text from `literal` are text.
    settings : iterable of str
        Names that the template has without a value.
    name_of : callable, default=str
        Function that writes ``NAME`` and ``NAME=VALUE``.

    Returns
    -------
    str

    Examples
    --------
    >>> spelled("{tied=True} needs an {activation}", ["activation"])
    'tied=True needs an activation'
    >>> spelled(f"{literal('{a=1} b.csv')}: '{{a=1}}' needs {{tied=True}}")
    "{a=1} b.csv: '{a=1}' needs tied=True"
    """
    names = set(settings)

    def replaced(found: re.Match[str]) -> str:
        name = found["setting"]
        return found[0] if name is None or not ("=" in name or name in names) else name_of(name)

    return PLACEHOLDER.sub(replaced, template).replace(LITERAL_BRACE, "{")


def literal(text: object) -> str:
    """Return text for a template whose braces begin no placeholders, such as the name of a file."""
    return str(text).replace("{", LITERAL_BRACE)


class Structured(Exception):
    """Base of errors and warnings: a message and, as far as they apply, what it is about as fields.

    Parameters
    ----------
    message : str
        ``{setting}`` stands for the name of the field `setting`, ``{NAME}`` for each NAME of `settings`, and
        ``{NAME=VALUE}`` for a setting with a value: the command line writes them as options.
    **fields
        Values of the class's fields, None by default. Code decides by these and never reads the message.
        ``verbatim`` of a class says that a message without ``settings`` has no placeholders.

    Examples
    --------
    >>> error = SettingError("{setting} must be an integer >= 1, got 0", setting="n_iter", value=0)
    >>> str(error)
    'n_iter must be an integer >= 1, got 0'
    >>> error.spelled({"n_iter": "--epochs"}.get)
    '--epochs must be an integer >= 1, got 0'
    """

    setting: str | None = None
    settings: tuple[str, ...] = ()
    value: object = None
    symptom: str = ""
    verbatim: bool = False

    def __init__(self, message: object = "", **fields: object) -> None:
        unknown_names = [name for name in fields if not hasattr(type(self), name)]
        if unknown_names:
            raise TypeError(f"{type(self).__name__} has no field {unknown_names[0]!r}")
        is_text = self.verbatim and not fields.get("settings")
        self.template = literal(message) if is_text else str(message)
        vars(self).update(fields)
        Exception.__init__(self, Structured.spelled(self, str))

    def spelled(self, name_of: Callable[[str], str]) -> str:
        """Return the message with its settings under the names that `name_of` gives them."""
        name = self.setting
        names = self.settings if name is None else (*self.settings, "setting")
        return one_line(
            spelled(self.template, names, lambda text: name_of(name if name and text == "setting" else text))
        )

    @property
    def link(self) -> str:
        """Place in the documentation that says more: an address, or the name of a row; empty if there is none."""
        return documentation.row(self.symptom) if self.symptom else ""

    def prefixed(self, text: str) -> Self:
        """Return the same error with a text before its message."""
        fields = {name: value for name, value in vars(self).items() if name != "template" and hasattr(type(self), name)}
        return type(self)(literal(text) + self.template, **fields)


class DeepBeliefError(Structured):
    """Base of all errors raised on purpose."""

    def __init__(self, message: object = "", **fields: object) -> None:
        Structured.__init__(self, message, **fields)
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
    """Rows in a file that cannot be used; the message begins with the name of the file, whose braces are text."""

    verbatim = True


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

    symptom, verbatim = "file-refused", True


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

    def spelled(self, name_of: Callable[[str], str]) -> str:
        """Return the message with its settings under the names that `name_of` gives them, and its symptom."""
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
    if isinstance(given, type):
        raise error(f"{what} must be one of {', '.join(allowed)} or an instance, got the class {given.__name__}")
    names = [name for name in {**vars(protocol), **protocol.__annotations__} if _is_public(name)]
    missing = [name for name in names if not _has(given, name, protocol)]
    if len(missing) == len(names):
        raise error(f"{what} must be one of {', '.join(allowed)} or an instance, got {given!r}")
    if missing:
        raise error(f"{what}={type(given).__name__} must define {', '.join(missing)} as well")


def _is_public(name: str) -> bool:
    return name == "__call__" or not name.startswith("_")


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


def unknown(what: str, given: object, allowed: Iterable[str]) -> str:
    """Return the message for a name that is not in a registry, with the nearest match."""
    names = list(allowed)
    near = difflib.get_close_matches(str(given), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {given!r}: choose one of {', '.join(names)}{hint}"

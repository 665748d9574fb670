"""Everything that this package raises or warns of on purpose.

Every class is a `DeepBeliefError` and also the built-in that fits, so that both
``except DeepBeliefError`` and ``except ValueError`` do what a caller expects.
Messages are one line: what was given, what is allowed, what to do.
"""

import difflib
from collections.abc import Iterable


class DeepBeliefError(Exception):
    """Base of all errors raised on purpose."""


class BackendError(DeepBeliefError, RuntimeError):
    """A backend is unknown, not installed, or has no device."""


class DataError(DeepBeliefError, ValueError):
    """Rows that cannot be used: wrong shape, not finite, out of range, unreadable."""


class SettingError(DeepBeliefError, ValueError):
    """A setting outside what is allowed, or two that contradict each other."""


class FileFormatError(DeepBeliefError, ValueError):
    """A model file that is damaged, hostile, foreign, or too new."""


class DivergenceError(DeepBeliefError, ArithmeticError):
    """Training diverged and there is no good epoch to fall back on."""


class ClusterError(DeepBeliefError, RuntimeError):
    """A cluster that cannot be reached, or whose workers cannot be used or are lost."""


class MissingExtraError(DeepBeliefError, ImportError):
    """A library that only some functions need is not installed."""


class Interrupted(KeyboardInterrupt):
    """A signal stopped a run after an update; a checkpoint has all of it.

    Parameters
    ----------
    message : str
    number : int
        Of the signal.
    path : str
        The checkpoint that the run can go on from; empty: none could be written.
    """

    def __init__(self, message: str, number: int, path: str) -> None:
        KeyboardInterrupt.__init__(self, message)
        self.number, self.path = number, path


class DeepBeliefWarning(UserWarning):
    """Base of all warnings given on purpose."""


class DivergenceWarning(DeepBeliefWarning):
    """Training diverged; the weights of the last good epoch were kept."""


class SizingWarning(DeepBeliefWarning):
    """Layer sizes that the sizing guidance advises against."""


class PrecisionWarning(DeepBeliefWarning):
    """Matrix products are made in another precision than was asked for."""


class CheckpointWarning(DeepBeliefWarning):
    """A checkpoint that could not be written, or is not quite what it should be."""


class DataWarning(DeepBeliefWarning):
    """Data that can be used but were perhaps not meant so."""


def unknown(what: str, given: object, allowed: Iterable[str]) -> str:
    """Return the message for a name that is not in a registry, with the nearest match."""
    names = list(allowed)
    near = difflib.get_close_matches(str(given), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {given!r}: choose one of {', '.join(names)}{hint}"

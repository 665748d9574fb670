"""Values chosen for automatic settings, each with its reason."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from deepbelief.errors import FileFormatError
from deepbelief.typing import Estimator, StrDict


class Resolved(NamedTuple):
    """Value of an automatic setting, and the reason for it.

    Examples
    --------
    >>> Resolved(100, "a fiftieth of 60,000 rows, between 10 and 100").value
    100
    """

    value: Any
    reason: str


class Choices(dict[str, Resolved]):
    """Automatic settings that have been resolved, by name.

    Examples
    --------
    >>> choices = Choices()
    >>> choices.take("batch_size", "auto", Resolved(10, "few rows"))
    10
    >>> choices.take("n_iter", 7, Resolved(100, "few rows"))
    7
    >>> choices
    {'batch_size': Resolved(value=10, reason='few rows')}
    """

    def take(self, name: str, given: object, rule: Resolved) -> Any:
        """Return the given value or, for ``"auto"``, the value of the rule, which is then recorded."""
        if not is_auto(given):
            return given
        self[name] = rule
        return rule.value


def is_auto(value: object) -> bool:
    """Return whether a setting is chosen by a rule."""
    return isinstance(value, str) and value == "auto"


def resolution_lines(choices: Mapping[str, Resolved]) -> Iterator[str]:
    """Iterate over the lines that report the choices.

    Examples
    --------
    >>> list(resolution_lines({"n_iter": Resolved(10, "6,000 updates")}))
    ['n_iter=10: 6,000 updates']
    """
    for name, (value, reason) in choices.items():
        yield f"{name}={f'{value:.4g}' if isinstance(value, float) else repr(value)}: {reason}"


def in_effect(estimator: Estimator, name: str) -> Any:
    """Return the value of a setting in a fitted estimator, given or chosen by a rule; None if there is neither."""
    value = getattr(estimator, name, None)
    found = getattr(estimator, "resolved_", {}).get(name)
    return value if found is None or not is_auto(value) else found.value


def plain_choices(choices: Mapping[str, Resolved]) -> StrDict:
    """Return choices as plain values for a file."""
    return {name: [list(v) if isinstance(v, tuple) else v, reason] for name, (v, reason) in choices.items()}


def choices_of_file(plain: object) -> dict[str, Resolved]:
    """Return the choices that a file holds, or refuse them."""
    if not isinstance(plain, Mapping):
        raise FileFormatError("the file's resolved settings must be values with reasons, by name")
    found: dict[str, Resolved] = {}
    for name, pair in plain.items():
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not isinstance(pair[1], str):
            raise FileFormatError(f"the file's resolved setting {name!r} must be a value and a reason")
        value = tuple(pair[0]) if isinstance(pair[0], list) else pair[0]
        found[str(name)] = Resolved(value, pair[1])
    return found

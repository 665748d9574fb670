"""Completion of an estimator's docstring with parameters from the tables of settings."""

import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import TypeVar

from deepbelief.hyperparameters import Setting

Class = TypeVar("Class", bound=type)
HEADING = "Parameters\n----------\n"
WIDTH = 112


def documented(*tables: Mapping[str, Setting]) -> Callable[[Class], Class]:
    r"""Return a class decorator that adds the parameters missing from a docstring.

    The text of each comes from the first table that contains it.

    Examples
    --------
    >>> from deepbelief.hyperparameters import MACHINE
    >>> class Model:
    ...     __doc__ = "A model.\n\nParameters\n----------\nn_units : int, default=3\n"
    ...
    ...     def __init__(self, n_units=3, l1=0.1): ...
    >>> documented(MACHINE)(Model).__doc__.splitlines()[5]
    'l1 : float, default=0.1'
    """

    def fill(cls: Class) -> Class:
        if cls.__doc__ is not None:  # python -OO
            before, _, rest = inspect.cleandoc(cls.__doc__).partition(HEADING)
            own, gap, after = rest.partition("\n\n")
            cls.__doc__ = f"{before}{HEADING}{_parameters(cls, own, tables)}{gap}{after}"
        return cls

    return fill


def _parameters(cls: type, own: str, tables: tuple[Mapping[str, Setting], ...]) -> str:
    """Return the parameters of a constructor in its order, from the docstring or else from the tables."""
    written: dict[str, str] = {}
    name = ""
    for line in own.splitlines():
        name = name if line.startswith(" ") else line.partition(" : ")[0]
        written[name] = f"{written[name]}\n{line}" if name in written else line
    parts = []
    for parameter in list(inspect.signature(cls).parameters.values()):
        setting = next((table[parameter.name] for table in tables if parameter.name in table), None)
        if parameter.name in written:
            parts.append(written[parameter.name])
        elif setting is not None:
            default = f'"{parameter.default}"' if isinstance(parameter.default, str) else repr(parameter.default)
            text = textwrap.fill(setting.doc, WIDTH, break_long_words=False, break_on_hyphens=False)
            head = f"{parameter.name} : {setting.kind.described()}, default={default}"
            parts.append(f"{head}\n{textwrap.indent(text, '    ')}")
    return "\n".join(parts)

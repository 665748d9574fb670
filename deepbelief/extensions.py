"""Extensions: installed packages that add strategies, data formats, backends or commands."""

import importlib.metadata
import warnings
from functools import cache

from deepbelief.errors import ExtensionWarning

GROUP = "deepbelief.extensions"
"""Entry point group of the modules and functions that register extensions."""


@cache
def load_extensions() -> tuple[str, ...]:
    """Import the extensions of the installed packages, once, and return their names.

    An extension is an entry point of the group ``deepbelief.extensions``: a module that enters its classes in the
    registries when it is imported, or a function of no arguments that does so. In ``pyproject.toml``::

        [project.entry-points."deepbelief.extensions"]
        mine = "my_package.my_module"

    The command line and the workers of a cluster call this function; a Python program may call it, or import the
    module itself.

    Warns
    -----
    ExtensionWarning
        If an extension cannot be imported.

    Examples
    --------
    >>> isinstance(load_extensions(), tuple)
    True
    """
    loaded = []
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            found = entry.load()
            if callable(found):
                found()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            warnings.warn(
                f"the extension {entry.name!r} ({entry.value}) cannot be imported ({reason}). Update or remove it.",
                ExtensionWarning, stacklevel=2,
            )  # fmt: skip
        else:
            loaded.append(entry.name)
    return tuple(loaded)

"""scikit-learn estimators."""

import sys


def __getattr__(name: str) -> object:
    """Return an estimator that the package names, so that it can be imported from here too."""
    package = sys.modules["deepbelief"]
    found = getattr(package, name) if name in package.__all__ else None
    if not getattr(found, "__module__", "").startswith(f"{__name__}."):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found

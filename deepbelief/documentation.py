"""Links into the documentation."""

import functools
from importlib.metadata import PackageNotFoundError, metadata

DIAGNOSE = "settings/diagnose"


@functools.cache
def site() -> str:
    """Return the address of the documentation that the package's metadata names; empty if they name none."""
    try:
        urls = metadata("deepbelief").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    named = dict(url.split(", ", 1) for url in urls if ", " in url)
    return str(named.get("Documentation", "")).rstrip("/")


def page(name: str) -> str:
    """Return the address of a page; empty without a site.

    Examples
    --------
    >>> page("settings/diagnose").endswith("settings/diagnose.html") or not site()
    True
    """
    return f"{site()}/{name}.html" if site() else ""


def row(symptom: str) -> str:
    """Return where a symptom is explained: an address, or the name of the row in *Diagnose a run*.

    Examples
    --------
    >>> row("diverged").endswith("diverged")
    True
    """
    address = page(DIAGNOSE)
    return f"{address}#{symptom}" if address else f"Diagnose a run: {symptom}"

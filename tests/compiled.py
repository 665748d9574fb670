"""The functions of the compiled extension, for tests that must reach each of them."""

from deepbelief.backends import loops

SERVICES = {"follow", "slots", "are_plain", "loop_threads", "multiplies", "allow_rounded"}


def names_of_loops(*, rounded=False):
    """Return the names of the loops, with those of bfloat16 products or without; none if they were not compiled."""
    found = loops.load()
    names = set() if found is None else {name for name in dir(found._c) if not name.startswith("_")} - SERVICES
    return sorted(name for name in names if rounded or "rounded" not in name)

"""Parametrize tests so that every two values of different parameters meet: a fraction of the full product."""

from itertools import combinations, product

import pytest

ParameterSet = type(pytest.param(None))


def pairs(*axes):
    """Return rows of indices, one for each axis, in which every pair of indices of two axes occurs."""
    places = list(combinations(range(len(axes)), 2))
    candidates = list(product(*(range(len(axis)) for axis in axes)))
    missing = {(i, j, row[i], row[j]) for row in candidates for i, j in places}
    rows = []
    while missing:
        best = max(candidates, key=lambda row: sum((i, j, row[i], row[j]) in missing for i, j in places))
        missing -= {(i, j, best[i], best[j]) for i, j in places}
        rows.append(best)
    return sorted(rows)


def pairwise(indirect=(), **axes):
    """Parametrize a test over the named axes; the marks and names of pytest.param are kept."""
    values = [[v if isinstance(v, ParameterSet) else pytest.param(v) for v in axis] for axis in axes.values()]
    sets = []
    for row in pairs(*values):
        chosen = [axis[i] for axis, i in zip(values, row, strict=True)]
        names = [p.id or _name(p.values[0], i) for p, i in zip(chosen, row, strict=True)]
        marks = [mark for p in chosen for mark in p.marks]
        sets.append(pytest.param(*(p.values[0] for p in chosen), id="-".join(names), marks=marks))
    return pytest.mark.parametrize(tuple(axes), sets, indirect=list(indirect))


def _name(value, index):
    """Return what stands for a value in a test's name."""
    if value is None or isinstance(value, str | int | float | bool):
        return str(value)
    return getattr(value, "__name__", None) or (str(index) if len(str(value)) > 24 else str(value).replace(" ", ""))

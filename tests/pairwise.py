"""Parametrize tests so that every two values of different parameters meet: a fraction of the full product."""

import functools
import inspect
from itertools import combinations, product

import pytest
from tables import on_each

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


def pairwise_cases(fixture="bk", **axes):
    """Run a test on the rows of `pairwise`, those of each value of a fixture as one test of quick cases."""
    values = [v if isinstance(v, ParameterSet) else pytest.param(v) for v in axes.pop(fixture)]
    axes = {name: list(axis) for name, axis in axes.items()}
    rows = pairs(values, *axes.values())
    sets = []
    for i, given in enumerate(values):
        cases = [tuple(axis[j] for axis, j in zip(axes.values(), row[1:], strict=True)) for row in rows if row[0] == i]
        sets.append(pytest.param(given.values[0], cases, id=given.id or _name(given.values[0], i), marks=given.marks))

    def decorate(function):
        signature = inspect.signature(function)

        @functools.wraps(function)
        def run(cases, **given):
            on_each(function, list(axes), cases, given)

        kept = [p for name, p in signature.parameters.items() if name not in axes]
        cases = inspect.Parameter("cases", inspect.Parameter.KEYWORD_ONLY)
        run.__signature__ = signature.replace(parameters=[*kept, cases])
        del run.__wrapped__  # pytest would ask it for the names of fixtures
        run.on_one_case = getattr(function, "on_one_case", function)
        return pytest.mark.parametrize((fixture, "cases"), sets, indirect=[fixture])(run)

    return decorate


def _name(value, index):
    """Return what stands for a value in a test's name."""
    if value is None or isinstance(value, str | int | float | bool):
        return str(value)
    return getattr(value, "__name__", None) or (str(index) if len(str(value)) > 24 else str(value).replace(" ", ""))

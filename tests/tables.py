"""A table of quick cases as one test: a fraction of the set-up of as many parametrized tests."""

import functools
import inspect

import pytest


def case_by_case(names, cases):
    """Run a test on every case of a table and report all cases that fail.

    For cases of milliseconds. Each has a ``monkeypatch`` and a ``tmp_path`` of its own and finds ``capsys`` and
    ``recwarn`` empty; all other fixtures are shared.
    """
    names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    rows = [case if len(names) > 1 else (case,) for case in cases]

    def decorate(function):
        signature = inspect.signature(function)
        fixtures = [p for name, p in signature.parameters.items() if name not in names]

        @functools.wraps(function)
        def run(**given):
            on_each(function, names, rows, given)

        run.__signature__ = signature.replace(parameters=fixtures)
        del run.__wrapped__  # pytest would ask it for the names of fixtures
        run.on_one_case = getattr(function, "on_one_case", function)
        return run

    return decorate


def on_each(function, names, rows, given):
    """Call a test with each row of a table beside the fixtures that were given, and report all that fail."""
    failures = []
    for at, row in enumerate(rows):
        with pytest.MonkeyPatch.context() as patch:
            try:
                function(**given | _own(given, patch, at) | dict(zip(names, row, strict=True)))
            except (Exception, pytest.fail.Exception) as error:
                error.add_note(f"case {at} of the table: {row!r}")
                failures.append(error if isinstance(error, Exception) else AssertionError(str(error)))
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(rows)} cases failed", failures)


def _own(given, patch, at):
    """Return the fixtures that a case does not share with the cases before it."""
    own = {"monkeypatch": patch} if "monkeypatch" in given else {}
    if "tmp_path" in given:
        own["tmp_path"] = given["tmp_path"] / str(at)
        own["tmp_path"].mkdir()
    if "capsys" in given:
        given["capsys"].readouterr()
    if "recwarn" in given:
        given["recwarn"].clear()
    return own

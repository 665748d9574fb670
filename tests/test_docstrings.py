"""Docstrings of public names: complete in numpydoc, as the API pages of the site show them."""

import ast
import inspect
import re
import sys
import textwrap
from importlib import import_module
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "docs"))
from public import MODULES, public_names

SECTIONS = (
    "Parameters", "Returns", "Yields", "Raises", "Warns", "Attributes", "See Also", "Notes", "References", "Examples",
)  # fmt: skip
SAYS_IT = re.compile(r"of shape|fitted|ignored|RowSource|Weights|Axes|Backend|or [Pp]ath|Generator|ModelFile|Unit$")
"""Types that need no further words: arrays with their shape, models, sources, files, seeds."""
OF_A_KIND = {
    "args",
    "kwargs",
    "name",
    "rate",
    "schedule",
    "momentum",
    "is_model",
    "gibbs_steps",
}  # fixed by the class of a strategy
PAPERS = ["AnomalyDetector", "DBN", "DeepAutoencoder", "RBM", "RBMClassifier", "RecurrentRBM"]


def sections(text: str) -> dict[str, str]:
    """Return the sections of a docstring by title; the summary is that of the empty title."""
    parts = re.split(rf"^({'|'.join(SECTIONS)})\n-+\n", inspect.cleandoc(text), flags=re.M)
    return {"": parts[0].strip(), **dict(zip(parts[1::2], parts[2::2], strict=True))}


def entries(body: str) -> dict[str, tuple[str, str]]:
    """Return (type, text) by name of what a section lists."""
    found: dict[str, tuple[str, str]] = {}
    names: list[str] = []
    for line in body.splitlines():
        if line and not line.startswith(" "):
            head, _, kind = line.partition(" : ")
            names = [name.strip().lstrip("*") for name in head.split(",")]
            found |= dict.fromkeys(names, (kind, ""))
        else:
            found |= {name: (found[name][0], found[name][1] + line.strip()) for name in names}
    return found


def undescribed(thing: object, own: set[str]) -> list[str]:
    """Return the parameters that a docstring leaves out, or without type or text."""
    found = sections(thing.__doc__ or "")
    listed = entries(found.get("Parameters", "")) | (
        entries(found.get("Attributes", "")) if inspect.isclass(thing) else {}
    )
    for base in inspect.getmro(thing)[1:] if inspect.isclass(thing) else ():
        listed = entries(sections(base.__doc__ or "").get("Attributes", "")) | listed
    wrong = [*own - (OF_A_KIND if inspect.isclass(thing) else set()) - set(listed)]
    for name in own & set(listed):
        kind, text = listed[name]
        elsewhere = re.match(r"(As|Passed on|Its|Further) ", text)
        if not (kind or elsewhere) or not (text or SAYS_IT.search(kind)):
            wrong.append(name)
    return sorted(wrong)


def silent(function: object) -> list[str]:
    """Return the sections that a function's docstring needs and lacks: of results and errors."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    inner = [n for n in ast.walk(tree) if n is not tree and isinstance(n, (ast.FunctionDef, ast.Lambda, ast.ClassDef))]
    hidden = {id(n) for each in inner for n in ast.walk(each)}
    own = [n for n in ast.walk(tree) if id(n) not in hidden]
    found, wanted = sections(function.__doc__ or ""), []
    if any(isinstance(n, (ast.Yield, ast.YieldFrom)) for n in own):
        wanted = ["Yields"]
    elif any(isinstance(n, ast.Return) and n.value is not None for n in own):
        wanted = ["Returns"]
    wanted += ["Raises"] if any(isinstance(n, ast.Raise) for n in own) else []
    return [title for title in wanted if title not in found]


def methods(cls: type) -> list[tuple[str, object]]:
    """Return the public methods that a class defines itself."""
    plain = ((n, getattr(v, "__func__", v)) for n, v in vars(cls).items() if not n.startswith("_"))
    return [(name, value) for name, value in plain if inspect.isfunction(value)]


def parameters(thing: object) -> set[str]:
    if inspect.isclass(thing) and issubclass(thing, BaseException):
        return set()
    return {*inspect.signature(thing).parameters} - {"self", "cls"}


NAMES = [(module, name) for modules in MODULES.values() for module in modules for name in public_names(module)]


@pytest.mark.parametrize("module", sorted({module for module, _ in NAMES}))
def test_public_docstrings_are_complete(module):
    wrong = {}
    for name in (name for of, name in NAMES if of == module):
        thing = getattr(import_module(module), name)
        if not thing.__module__.startswith("deepbelief"):
            continue
        parts = [(name, thing)] if inspect.isclass(thing) or inspect.isfunction(thing) else []
        if inspect.isclass(thing) and module == "deepbelief":
            parts += [(f"{name}.{part}", method) for part, method in methods(thing)]
        for label, part in parts:
            found = undescribed(part, parameters(part))
            found += silent(part) if inspect.isfunction(part) else []
            found += [] if sections(part.__doc__ or "")[""] else ["summary"]
            if found:
                wrong[label] = found
        if module == "deepbelief" and "Examples" not in sections(thing.__doc__):
            wrong[f"{name} "] = ["Examples"]
    assert wrong == {}


@pytest.mark.parametrize("name", PAPERS)
def test_methods_with_a_paper_name_it(name):
    assert "References" in sections(getattr(import_module("deepbelief"), name).__doc__)


def test_what_is_missing_is_found():
    def complete(x):
        """Return it.

        Parameters
        ----------
        x : int
            A number.

        Returns
        -------
        int

        Raises
        ------
        ValueError
        """
        if x < 0:
            raise ValueError
        return x

    def lacking(x, y):
        """Return it.

        Parameters
        ----------
        x : int
        """
        if x < 0:
            raise ValueError
        return y

    assert undescribed(complete, {"x"}) == silent(complete) == []
    assert undescribed(lacking, {"x", "y"}) == ["x", "y"]
    assert silent(lacking) == ["Returns", "Raises"]

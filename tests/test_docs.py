"""The documentation's pages: their Python runs, their links lead somewhere, and every name they document exists."""

import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from tables import case_by_case

from deepbelief.optimizers import OPTIMIZERS
from deepbelief.sources import FORMATS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
GENERATED = {"api", "commands", "gallery"}
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.relative_to(DOCS).parts[0] not in GENERATED)
NAMES = [str(path.relative_to(DOCS)) for path in PAGES]


def blocks(path: Path, language: str) -> list[str]:
    """Return a page's code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.M | re.S)


def test_there_are_pages():
    assert len(PAGES) > 10


def test_measured_tables_are_those_of_the_results():
    command = [sys.executable, "benchmarks/tables_to_docs.py", "--check"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0, "run python benchmarks/tables_to_docs.py"


def test_every_page_is_in_a_table_of_contents():
    listed = {DOCS / "index"}
    for page in PAGES:
        for tree in re.findall(r"^```\{toctree\}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S):
            listed |= {(page.parent / line).resolve() for line in tree.split() if not line.startswith(":")}
    assert [str(page) for page in PAGES if page.with_suffix("") not in listed] == []


@pytest.fixture
def _registries():
    """Undo what a page has registered."""
    found = [OPTIMIZERS, FORMATS]
    kept = [dict(registry) for registry in found]
    yield
    for registry, before in zip(found, kept, strict=True):
        registry.clear()
        registry.update(before)


@pytest.mark.slow
@pytest.mark.usefixtures("_registries")
@pytest.mark.parametrize("name", [n for n, p in zip(NAMES, PAGES, strict=True) if blocks(p, "python")])
def test_python_on_a_page_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a page may show a model that warns
        for number, block in enumerate(blocks(DOCS / name, "python")):
            exec(compile(block, f"{name}, block {number}", "exec"), scope)


@case_by_case("name", NAMES)
def test_links_between_pages_lead_somewhere(name):
    page = DOCS / name
    for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        path = (page.parent / target).resolve()
        if path.relative_to(DOCS).parts[0] not in GENERATED:
            assert path.is_file() or path.with_suffix(".rst").is_file(), f"{name} links to {target}"


@case_by_case("name", NAMES)
def test_commands_on_a_page_exist(name):
    from deepbelief.cli import cli

    known = set(cli.list_commands(None))
    for block in blocks(DOCS / name, "sh"):
        for command in re.findall(r"^\$? ?deepbelief ([a-z]\S*)", block, re.M):
            assert command in known, f"{name}: deepbelief {command}"
            options = {o for p in cli.get_command(None, command).params for o in (*p.opts, *p.secondary_opts)}
            for line in re.findall(rf"^\$? ?deepbelief {command} (.*)$", block, re.M):
                for option in re.findall(r"(?<=\s)--[a-z-]+", " " + line.split("#")[0]):
                    assert option in options | {"--help"}, f"{name}: deepbelief {command} {option}"

"""The documentation's pages: their Python runs, their links lead somewhere, and every name they document exists."""

import ast
import contextlib
import importlib.util
import io
import pickle
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from tables import case_by_case

from deepbelief import DBN, RBM, errors, finetuning, layer, save
from deepbelief.diagnostics import trials
from deepbelief.optimizers import OPTIMIZERS
from deepbelief.recurrent import trainer
from deepbelief.sources import FORMATS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
GENERATED = {"api", "commands", "gallery"}
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.relative_to(DOCS).parts[0] not in GENERATED)
NAMES = [str(path.relative_to(DOCS)) for path in PAGES]
TRAINERS = (layer, finetuning, trainer, trials)
RUN = [path for path in [ROOT / "README.md", *PAGES] if "```python\n" in path.read_text(encoding="utf-8")]


def blocks(path: Path, language: str) -> list[str]:
    """Return a page's code blocks of one language, without those below ``<!-- needs PACKAGE -->`` that is missing."""
    text = path.read_text(encoding="utf-8")
    found = re.findall(rf"^(?:<!-- needs (\w+) -->\n)?```{language}\n(.*?)^```$", text, re.M | re.S)
    return [block for needed, block in found if not needed or importlib.util.find_spec(needed)]


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


def shown_output(path: Path, block: str) -> str | None:
    """Return what a page says that a block prints, if it does."""
    found = re.search(
        rf"^```python\n{re.escape(block)}```\n\n```text\n(.*?)^```$", path.read_text("utf-8"), re.M | re.S
    )
    return found and found[1]


@contextlib.contextmanager
def two_epochs():
    """Let every phase of training end after two epochs: enough to find out whether code runs."""
    with pytest.MonkeyPatch.context() as patch:
        for module in TRAINERS:
            train = module.run_epochs
            patch.setattr(module, "run_epochs", lambda *a, train=train, epochs, **k: train(*a, epochs=epochs[:2], **k))
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("_registries")
@pytest.mark.parametrize("path", RUN, ids=[path.stem for path in RUN])
def test_python_on_a_page_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a page may show a model that warns
        for number, block in enumerate(blocks(path, "python")):
            shown = shown_output(path, block)  # whose numbers are those of whole runs
            with (
                contextlib.nullcontext() if shown else two_epochs(),
                contextlib.redirect_stdout(io.StringIO()) as printed,
            ):
                exec(compile(block, f"{path.name}, block {number}", "exec"), scope)
            if shown:
                agree(printed.getvalue(), shown, drawn="sample(" in block)


def agree(printed: str, shown: str, *, drawn: bool) -> None:
    """Check the output of a block against that on its page: words, and numbers within 10 %; of drawn values the lines.

    Processors round differently, so that a whole number, such as a prediction for a doubtful row, may change.
    """
    ours, theirs = printed.strip().splitlines(), shown.strip().splitlines()
    assert len(ours) == len(theirs), f"printed:\n{printed}"
    for line, expected in zip(ours, theirs, strict=True):
        if drawn:
            continue
        number = r"-?\d+(?:\.\d+)?"
        assert re.sub(number, "#", line).split() == re.sub(number, "#", expected).split(), f"printed:\n{printed}"
        pairs = zip(re.findall(number, line), re.findall(number, expected), strict=True)
        np.testing.assert_allclose(
            *np.array([(float(a), float(b)) for a, b in pairs if "." in b]).reshape(-1, 2).T, rtol=0.1
        )


def test_an_output_that_differs_from_its_page_is_found():
    agree("0.965\n[0 1 2]\n", "0.963\n[0 1 1]", drawn=False)
    for printed in ("0.81\n[0 1 1]", "0.963\n", "error 0.963\n[0 1 1]"):
        with pytest.raises(AssertionError):
            agree(printed, "0.963\n[0 1 1]", drawn=False)


def test_names_imported_on_pages_have_a_page():
    spec = importlib.util.spec_from_file_location("public", DOCS / "public.py")
    public = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(public)
    documented = {name for modules in public.MODULES.values() for m in modules for name in public.public_names(m)}
    documented |= {path.rsplit(".", 1)[1] for path in public.REGISTRIES}
    submodules = {path.stem for path in (ROOT / "deepbelief").iterdir()}
    missing = set()
    for path in [ROOT / "README.md", *PAGES, *(DOCS / "examples").glob("*.py")]:
        code = [path.read_text("utf-8")] if path.suffix == ".py" else blocks(path, "python")
        for node in (n for block in code for n in ast.walk(ast.parse(block)) if isinstance(n, ast.ImportFrom)):
            if node.module.split(".")[0] == "deepbelief":
                missing |= {f"{path.name}: {a.name}" for a in node.names if a.name not in documented | submodules}
    assert missing == set()


def test_each_row_of_a_table_is_one_line():
    broken = []
    for path in [*ROOT.glob("*.md"), *(ROOT / "benchmarks").glob("*.md"), *PAGES]:
        rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
        broken += [f"{path.name}: {row[:60]}" for row in rows if not row.endswith("|")]
    assert broken == []


def test_all_python_on_pages_can_be_read():
    for path in [*ROOT.glob("*.md"), *(ROOT / "benchmarks").glob("*.md"), *PAGES]:
        for block in re.findall(r"^```(?:python|text)\n(.*?)^```$", path.read_text(encoding="utf-8"), re.M | re.S):
            if re.search(r"^(?:from|import) \w", block, re.M) and "library(" not in block:
                ast.parse(block, f"{path.name}: {block[:40]}")


@case_by_case("name", NAMES)
def test_links_between_pages_lead_somewhere(name):
    page = DOCS / name
    for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        path = (page.parent / target).resolve()
        if not path.is_relative_to(DOCS) or path.relative_to(DOCS).parts[0] not in GENERATED:
            assert path.is_file() or path.with_suffix(".rst").is_file(), f"{name} links to {target}"


def anchors_of(path: Path) -> set[str]:
    """Return the anchors of a page: its headings, as GitHub and MyST spell them, and explicit ones."""
    text = path.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)$", prose, re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings} | set(
        re.findall(r'<a id="([^"]+)"', text)
    )


@case_by_case("name", ["../README.md", *NAMES])
def test_links_to_a_section_find_it(name):
    page = DOCS / name
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
        path = (page.parent / target).resolve() if target else page
        assert anchor in anchors_of(path), f"{name} links to {target}#{anchor}"


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


ROWS = DOCS / "settings" / "diagnose.md"


def anchors() -> list[str]:
    """Return the names of the rows of *Diagnose a run*."""
    return re.findall(r'^\| <a id="([a-z-]+)"></a>`\1`: ', ROWS.read_text(encoding="utf-8"), re.M)


def named_symptoms(source: str) -> list[str]:
    """Return the symptoms that a module names, and an empty one for each warning of the package without any."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "symptom":
            found.append(ast.literal_eval(node.value))
        if not isinstance(node, ast.Call):
            continue
        found += [k.value.value for k in node.keywords if k.arg == "symptom" and isinstance(k.value, ast.Constant)]
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        bare = called == "warn" and any(getattr(a, "id", "") == "DeepBeliefWarning" for a in node.args)
        if bare or (called == "DeepBeliefWarning" and not any(k.arg == "symptom" for k in node.keywords)):
            found.append("")
    return found


@pytest.mark.slow
def test_every_warning_and_error_with_advice_has_a_row_in_diagnose():
    rows = anchors()
    assert len(rows) == len(set(rows)) > 30
    assert ROWS.read_text(encoding="utf-8").count("<a id=") == len(rows)
    files = [*(ROOT / "deepbelief").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]
    named = {(str(path.relative_to(ROOT)), s) for path in files for s in named_symptoms(path.read_text("utf-8"))}
    assert {pair for pair in named if pair[1] not in rows} == set()


def test_every_class_of_warnings_has_a_row():
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.DeepBeliefWarning)]
    assert [k.__name__ for k in kinds if k.symptom not in anchors()] == ["DeepBeliefWarning"]


def test_warnings_and_errors_point_to_their_row(monkeypatch):
    for address, pointer in (
        ("", "Diagnose a run: sizes"),
        ("https://a.b", "https://a.b/settings/diagnose.html#sizes"),
    ):
        monkeypatch.setattr("deepbelief.documentation.site", lambda address=address: address)
        warning = pickle.loads(pickle.dumps(errors.SizingWarning(errors.Mention("n_iter"), " is 3", setting="n_iter")))
        assert str(warning) == f"n_iter is 3 [{pointer}]"
        assert warning.spelled(lambda _: "--epochs") == f"--epochs is 3 [{pointer}]"
        error = errors.SettingError("n_iter is 3", symptom="sizes")
        assert (str(error), error.__notes__) == ("n_iter is 3", [f"See {pointer}"])
    assert str(errors.DeepBeliefWarning("plain")) == "plain"
    assert not hasattr(errors.DataError("plain"), "__notes__")


def test_the_search_check_asks_for_pages_that_exist_with_the_scores_of_the_site():
    tree = ast.parse((DOCS / "check_search.py").read_text(encoding="utf-8"))
    named = {getattr(n.targets[0], "id", ""): n.value for n in tree.body if isinstance(n, ast.Assign)}
    questions, folders = ast.literal_eval(named["QUESTIONS"]), ast.literal_eval(named["FOLDERS"])
    assert len(questions) >= 30
    missing = [p for p in questions.values() if p.split("/")[0] not in GENERATED and not list(DOCS.glob(f"{p}.*"))]
    assert missing == []
    scorer = (DOCS / "scorer.js").read_text(encoding="utf-8")
    written = dict(re.findall(r"(\w+): (\d+)", re.search(r"folders: \{(.*?)\}", scorer)[1]))
    assert {folder: int(points) for folder, points in written.items() if points != "0"} == folders
    assert re.findall(r'"([a-z/_]+)"', re.search(r"generated: \[(.*?)\]", scorer)[1]) == list(
        ast.literal_eval(named["GENERATED"])
    )


LANGUAGES = {
    "R": (
        ["Rscript", "-e"],
        "library(hdf5r)",
        'x <- as.matrix(read.csv("x.csv", header = FALSE))\n{lines}\nwrite(h, "h.txt", ncolumns = 1)\n',
    ),
    "Julia": (
        ["julia", "-e"],
        "using HDF5",
        'x = parse.(Float64, split(read("x.csv", String), ","))\n{lines}\nwrite("h.txt", join(h, "\\n"))\n',
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_lines_for_a_language_compute_hidden_means(language, tmp_path):
    command, library, program = LANGUAGES[language]
    found = shutil.which(command[0]) is not None
    if not found or subprocess.run([*command, library], capture_output=True, check=False).returncode:
        pytest.skip(f"needs {command[0]}, and: {library}")
    X = load_digits().data[:50].astype(np.float32)
    dbn = DBN((6,), rbm=RBM(visible="gaussian", n_iter=1), random_state=0).fit(X)
    save(dbn, tmp_path / "digits.h5")
    np.savetxt(tmp_path / "x.csv", X[:1], delimiter=",")
    text = (DOCS / "howto" / "other_languages.md").read_text(encoding="utf-8")
    lines = re.search(rf"^## {language}\n\n```{language.lower()}\n(.*?)^```$", text, re.M | re.S)[1]
    code = program.replace("{lines}", lines)
    subprocess.run([*command, code], cwd=tmp_path, capture_output=True, check=True)
    np.testing.assert_allclose(np.loadtxt(tmp_path / "h.txt"), dbn.transform(X[:1])[0], atol=1e-5)


def test_other_hdf5_readers_find_the_arrays(tmp_path):
    h5dump = shutil.which("h5dump")
    if h5dump is None:
        pytest.skip("needs h5dump of the HDF5 tools")
    dbn = DBN((3,), rbm=RBM(n_iter=1), random_state=0).fit(np.eye(8, dtype=np.float32))
    save(dbn, tmp_path / "m.h5")
    command = [h5dump, "-y", "-m", "%.9g", "-w", "0", "-d", "/stack/layer_1/hbias", "m.h5"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    values = re.search(r"DATA \{(.*?)\}", told, re.S)[1]
    np.testing.assert_allclose([float(v) for v in values.split(",")], dbn.stack_.layers[0].hbias, rtol=1e-7)

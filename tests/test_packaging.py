"""What is installed is what is on disk, and importing it costs nothing."""

import importlib
import re
import runpy
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def packages_on_disk(root: Path) -> set[str]:
    """Return the dotted names of all folders that hold Python modules, cli/ as deepbelief.cli."""
    folders = {path.parent for top in ("deepbelief", "cli") for path in (root / top).rglob("*.py")}
    names = {".".join(folder.relative_to(root).parts) for folder in folders}
    return {f"deepbelief.{name}" if name.split(".")[0] == "cli" else name for name in names}


def run(code: str) -> str:
    """Run code in a fresh interpreter and return what it printed."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_folder_is_packaged():
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == packages_on_disk(ROOT)


def test_every_package_has_an_init_and_the_library_is_typed():
    directories = PYPROJECT["tool"]["setuptools"]["package-dir"]
    for name in PYPROJECT["tool"]["setuptools"]["packages"]:
        assert (ROOT / directories.get(name, name.replace(".", "/")) / "__init__.py").is_file()
    assert (ROOT / "deepbelief" / "py.typed").is_file()


def test_a_forgotten_folder_is_seen(tmp_path):
    for name in ("deepbelief/__init__.py", "deepbelief/new/part.py", "cli/__init__.py", "cli/views/table.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert packages_on_disk(tmp_path) == {"deepbelief", "deepbelief.new", "deepbelief.cli", "deepbelief.cli.views"}


def test_import_is_lazy():
    heavy = run(
        "import sys, deepbelief\n"
        "heavy = {'numpy', 'scipy', 'sklearn', 'h5py', 'cupy', 'click', 'rich', 'pandas', 'matplotlib'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    assert heavy == ""


@pytest.mark.slow
def test_public_names_come_on_first_use():
    names = run(
        "import deepbelief\n"
        "listed = set(deepbelief.__all__)\n"
        "assert listed <= set(dir(deepbelief)), 'dir() does not show ' + str(listed - set(dir(deepbelief)))\n"
        "for name in listed: getattr(deepbelief, name)\n"
        "print(*sorted(listed))"
    )
    expected = {"RBM", "DBN", "DBNClassifier", "save", "load", "suggest_layer_sizes", "check_layer_sizes"}
    assert expected <= set(names.split())


def test_an_unknown_name_is_an_attribute_error():
    import deepbelief

    with pytest.raises(AttributeError, match="no_such_name"):
        deepbelief.no_such_name  # noqa: B018


def test_the_version_is_the_projects():
    import deepbelief

    assert deepbelief.__version__ == PYPROJECT["project"]["version"]


def test_constraints_pin_every_dependency():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pin) == 2 and pin[1] for pin in pins)
    pinned = {name.lower().replace("_", "-") for name, _ in pins}
    project = PYPROJECT["project"]
    wanted = project["dependencies"] + [
        r for extra in ("test", "docs", "dev") for r in project["optional-dependencies"][extra]
    ]
    names = {requirement.split(">=")[0].split("[")[0].lower() for requirement in wanted} | {"setuptools"}
    assert names - {"deepbelief"} <= pinned


@pytest.mark.parametrize(("free_threaded", "wheel"), [(0, {"py_limited_api": "cp311"}), (1, {})])
def test_wheels_of_the_stable_abi_are_built_only_where_python_has_one(monkeypatch, free_threaded, wheel):
    asked = {}
    setuptools = SimpleNamespace(Extension=lambda *args, **options: options, setup=asked.update)
    monkeypatch.setitem(sys.modules, "setuptools", setuptools)
    known = sysconfig.get_config_var
    monkeypatch.setattr(
        sysconfig, "get_config_var", lambda name: free_threaded if name == "Py_GIL_DISABLED" else known(name)
    )
    runpy.run_path(str(ROOT / "setup.py"))
    assert asked["options"].get("bdist_wheel", {}) == wheel
    assert [extension["py_limited_api"] for extension in asked["ext_modules"]] == [not free_threaded]


def test_the_loops_use_nothing_of_python():
    """Only binding.c does, so that a program without Python can run the loops under sanitizers."""
    for path in (ROOT / "deepbelief" / "backends").glob("*.[ch]"):
        found = re.findall(r"\bPy\w+", path.read_text(encoding="utf-8").replace("Python", ""))
        assert bool(found) == (path.name == "binding.c")


def test_python_m_runs_the_command_line():
    command = [sys.executable, "-m", "deepbelief", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("deepbelief, version ")


def test_the_citation_names_this_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {PYPROJECT['project']['version']}\n" in citation


def test_estimators_can_be_imported_from_their_folder():
    package, folder = importlib.import_module("deepbelief"), importlib.import_module("deepbelief.estimators")
    for name in ("RBM", "DBN", "DBNClassifier", "AnomalyDetector", "RecurrentRBM", "load"):
        assert getattr(folder, name) is getattr(package, name)
    for name in ("Stack", "evaluate", "sizing", "RBN"):
        with pytest.raises(AttributeError, match=name):
            getattr(folder, name)

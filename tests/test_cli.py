"""The command line as a whole: help, version, exit codes, what is imported, and `size` and `info`."""

import importlib
import json
import re

import click
import numpy as np
import pytest
from cli_runs import COMMAND, ENVIRONMENT, ROOT, good, process, put_model, run
from tables import case_by_case

import deepbelief
from deepbelief import hdf5
from deepbelief.hdf5 import ModelFile
from deepbelief.stack import Stack, Weights

COMMANDS = sorted(p.stem for p in (ROOT / "cli").glob("*.py") if not p.stem.startswith("_"))


def test_every_command_is_listed_with_a_line():
    listed = good("--help").stdout.split("Commands:")[1]
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\w", listed, re.MULTILINE), name


@case_by_case("name", COMMANDS)
def test_every_help_shows_an_example_that_parses(name):
    from deepbelief.cli import cli

    text = good(name, "--help").stdout
    examples = re.findall(r"^ +deepbelief (.*)$", text.split("Example")[1].split("Options:")[0], re.MULTILINE)
    assert examples
    for example in examples:
        words = example.split("|")[0].split()
        command = cli.get_command(click.Context(cli), words[0])
        command.make_context(words[0], words[1:])  # raises UsageError for what is no option


@case_by_case("name", COMMANDS)
def test_every_option_says_what_it_does(name):
    from deepbelief.cli import cli

    command = cli.get_command(click.Context(cli), name)
    assert command.name == name
    assert all(p.help for p in command.params if isinstance(p, click.Option))


def test_version():
    assert good("--version").stdout == f"deepbelief, version {deepbelief.__version__}\n"


@case_by_case("args", [("nosuch",), ("size",), ("pretrain", "--epochs", "ten"), ("info", "--nosuch", "x")])
def test_wrong_usage_exits_2(args):
    result = run(*args)
    assert result.exit_code == 2
    assert "Usage:" in result.stderr


def test_the_nearest_command_is_named():
    assert "Did you mean pretrain?" in run("pretran").stderr
    assert "Did you mean" not in run("zzz").stderr


def test_private_modules_are_no_commands():
    assert run("_files").exit_code == 2


def test_help_imports_nothing_heavy():
    import subprocess

    code = COMMAND[-1].replace(
        "main()",
        "import sys\n"
        "sys.argv = ['deepbelief', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'scipy', 'sklearn', 'h5py', 'rich.console', 'pandas', 'matplotlib'}\n"
        "print('HEAVY', *sorted(heavy & set(sys.modules)))",
    )
    command = [*COMMAND[:-1], code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=ENVIRONMENT)
    assert done.stdout.endswith("HEAVY\n"), done.stdout + done.stderr


ANSWERED_AT_ONCE = [
    ("pretrain", "nonexist.csv"), ("pretrain", "--gradient", "nope"), ("evaluate", "missing.h5"),
    ("pretrain", "--epochs", "0"), ("finetune", "missing.h5"), ("sample", "missing.h5", "--out", "x.npy"),
]  # fmt: skip


def test_wrong_paths_and_options_are_answered_without_heavy_imports(tmp_path):
    """scikit-learn, pandas and matplotlib take most of the seconds before training."""
    import subprocess

    code = COMMAND[-1].replace(
        "main()",
        f"import sys\nfor args in {ANSWERED_AT_ONCE!r}:\n"
        " sys.argv = ['deepbelief', *args]\n"
        " try: main()\n"
        " except SystemExit: pass\n"
        " print('HEAVY', *sorted({'sklearn', 'pandas', 'matplotlib', 'rich.console'} & set(sys.modules)))",
    )
    command = [*COMMAND[:-1], code]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=ENVIRONMENT, cwd=tmp_path
    )  # fmt: skip
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["Error:"] * len(ANSWERED_AT_ONCE), done.stderr
    assert done.stdout.splitlines() == ["HEAVY"] * len(ANSWERED_AT_ONCE)


@case_by_case(
    ("command", "option", "registry"),
    [
        ("pretrain", "--gradient", "deepbelief.gradients:GRADIENTS"),
        ("pretrain", "--schedule", "deepbelief.schedules:SCHEDULES"),
        ("finetune", "--activation", "deepbelief.activations:ACTIVATIONS"),
        ("finetune", "--solver", "deepbelief.optimizers:OPTIMIZERS"),
        ("sweep", "--visible", "deepbelief.units:UNITS"),
        ("predict", "--backend", "deepbelief.backends:BACKENDS"),
    ],
)
def test_choices_are_those_of_the_registry(command, option, registry, monkeypatch):
    module, _, name = registry.partition(":")
    names = getattr(importlib.import_module(module), name)
    monkeypatch.setitem(names, "of_a_stranger", next(iter(names.values())))
    shown = "".join(good(command, "--help").stdout.split())
    assert re.search(rf"{option}\[[\w|]*of_a_stranger", shown)
    monkeypatch.undo()
    arguments = {"finetune": ("m.h5",), "predict": ("m.h5",)}.get(command, ())
    line = run(command, *arguments, option, "of_a_strangr").stderr
    assert line.startswith("Error: unknown ")
    assert next(iter(names)) in line


def test_size_gives_the_standard_shape_with_reasons():
    out = good("size", 784, "--rows", 60000, "--classes", 10).stdout
    assert out.startswith("784 -> 500 -> 250 -> 10\n")
    assert len(out.splitlines()) > 4
    few = good("size", 784, "--rows", 60000, "--classes", 10, "--labeled", 1000).stdout
    assert few.startswith("784 -> 500 -> 500 -> 500 -> 10\n")


def test_info_as_json_tells_everything(tmp_path):
    path = put_model(tmp_path, "classifier")
    content = json.loads(good("info", path, "--json").stdout)
    assert content["kind"] == "DBNClassifier"
    assert content["sizes"] == [64, 12, 8]
    assert content["tuned"] is True
    assert [r["epoch"] for r in content["history"]] == [1, 2, 3]
    assert content["metadata"]["data"] == {"source": "digits", "name": "digits", "rows": 200, "limit": 200}


def test_info_as_a_table(tmp_path):
    out = good("info", put_model(tmp_path, "dbn")).stdout
    for piece in ("64 -> 12 -> 8", "bernoulli", "n_iter: 2", "source: digits", "reconstruction_error"):
        assert piece in out
    assert out.count("\n") < 80


def test_info_prints_hostile_texts_harmlessly(tmp_path):
    path = tmp_path / "model.h5"
    texts = {"note": "[red]bold[/red] \x1b[31mred\x1b[0m \u202e reversed\nsecond line", "\x1b]0;title\x07": 1}
    stack = Stack((Weights(np.zeros((2, 1)), np.zeros(2), np.zeros(1)),))
    hdf5.write(path, ModelFile("Stack", {}, stack=stack, metadata=texts, history=[{"\x1b[2J[b]x": "[link=a]\x07"}]))
    out = good("info", path).stdout
    assert "[red]bold[/red]" in out
    assert "[link=a]" in out
    assert "[b]x" in out
    assert all(c.isprintable() or c == "\n" for c in out)
    assert "\nsecond line" not in out
    assert "\x1b" not in good("info", path, "--json").stdout


def test_info_json_is_strict_where_values_are_not_finite(tmp_path):
    path = tmp_path / "model.h5"
    stack = Stack((Weights(np.zeros((2, 1)), np.zeros(2), np.zeros(1)),))
    hdf5.write(path, ModelFile("Stack", {}, stack=stack, history=[{"loss": float("nan")}]))
    content = json.loads(good("info", path, "--json").stdout, parse_constant=pytest.fail)
    assert content["history"] == [{"loss": None}]


def test_a_bare_process_works(tmp_path):
    done = process("size", 64, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("64 -> 100")


def test_options_of_pretrain_have_sections():
    text = good("pretrain", "--help").stdout
    titles = [
        "Model and training", "Sequences, with --recurrent", "Data", "Tables and aligned sequences", "Run", "Cluster",
        "Cost", "Other options",
    ]  # fmt: skip
    assert re.findall(r"^(\w[\w, -]+):$", text, flags=re.M) == titles
    parts = dict(zip(titles, re.split(r"^\w[\w, -]+:$", text, flags=re.M)[1:], strict=True))
    assert all(
        f" {option} " in parts["Sequences, with --recurrent"] for option in ("--recurrent", "--lengths", "--cell")
    )
    assert " --columns " in parts["Tables and aligned sequences"]
    assert " --workers " in parts["Cluster"]
    assert " --config " in parts["Other options"]
    listed = re.findall(r"^  (?:-\w, )?(--[\w-]+)", text, flags=re.M)
    assert len(listed) == len(set(listed))

"""The table of tips is true: its tests exist, its arguments are taken, its numbers are those that were measured."""

import ast
import inspect
import json
import re
from pathlib import Path

import pytest

import deepbelief
from deepbelief import DBN, RBM, DBNClassifier, DBNRegressor

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "benchmarks" / "TIPS.md"
ESTIMATORS = (RBM, DBN, DBNClassifier, DBNRegressor)
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split(" | ")]
    for line in TABLE.read_text().splitlines()
    if re.match(r"\| \d", line)
]
MEASURED = json.loads((ROOT / "benchmarks" / "tips.json").read_text())["rows"]


def calls(argument):
    """Return the calls that an argument cell stands for: keywords are those of an estimator."""
    text = argument.strip("`").replace("N(0, 0.01)", "None")
    return ast.parse(text if re.match(r"\w+\(", text) else f"DBNClassifier({text})", mode="eval").body


def signature(name):
    found = getattr(deepbelief, name, None)
    if found is None:  # in a room of its own
        rooms = {"rbm_health": "health", "Reporter": "training", "TensorBoard": "tensorboard"}
        found = getattr(__import__(f"deepbelief.{rooms[name]}", fromlist=[name]), name)
    return inspect.signature(found)


def test_every_item_has_lines_of_five_cells():
    assert {row[0] for row in ROWS} == {str(item) for item in range(1, 12)}
    assert all(len(row) == 5 and all(row) for row in ROWS)
    assert "{{" not in TABLE.read_text()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2])
def test_the_test_of_a_line_exists(row):
    name, function = row[3].strip("`").split("::")
    assert re.search(rf"^def {function}\(", (ROOT / "tests" / name).read_text(), re.MULTILINE)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2])
def test_the_argument_of_a_line_is_taken(row):
    for call in (node for node in ast.walk(calls(row[2])) if isinstance(node, ast.Call)):
        parameters = signature(call.func.id).parameters
        assert {word.arg for word in call.keywords} <= set(parameters)
        assert len(call.args) <= len(parameters)


@pytest.mark.parametrize("row", [row for row in ROWS if row[2].strip("`") in MEASURED], ids=lambda row: row[2])
def test_the_numbers_of_a_line_are_those_of_the_measurement(row):
    before, after = MEASURED["base"]["error"], MEASURED[row[2].strip("`")]["error"]
    assert row[4].startswith(f"{before:.2f} → {after:.2f} %")


def test_every_measured_line_is_told():
    told = {row[2].strip("`") for row in ROWS}
    assert set(MEASURED) - told <= {"base", "max_iter=80"}
    assert f"{MEASURED['base']['error']:.2f} %" in TABLE.read_text()

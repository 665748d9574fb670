"""The table of tips is true: its tests exist, its arguments are taken, its numbers are those that were measured."""

import ast
import inspect
import json
import re
from pathlib import Path

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


def test_the_tests_of_the_lines_exist():
    for row in ROWS:
        name, function = row[3].strip("`").split("::")
        text = (ROOT / "tests" / name).read_text()
        assert re.search(rf"^def {function}\(", text, re.MULTILINE), row[3]


def test_the_arguments_of_the_lines_are_taken():
    for row in ROWS:
        for call in (node for node in ast.walk(calls(row[2])) if isinstance(node, ast.Call)):
            parameters = signature(call.func.id).parameters
            assert {word.arg for word in call.keywords} <= set(parameters), row[2]
            assert len(call.args) <= len(parameters), row[2]


def test_the_numbers_of_the_lines_are_those_of_the_measurement():
    before = MEASURED["base"]["error"]
    measured = [row for row in ROWS if row[2].strip("`") in MEASURED]
    assert len(measured) > 20
    for row in measured:
        assert row[4].startswith(f"{before:.2f} → {MEASURED[row[2].strip('`')]['error']:.2f} %"), row[2]


def test_every_measured_line_is_told():
    told = {row[2].strip("`") for row in ROWS}
    assert set(MEASURED) - told <= {"base", "max_iter=80"}
    assert f"{MEASURED['base']['error']:.2f} %" in TABLE.read_text()

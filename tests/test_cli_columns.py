"""Columns of tables: kept by name in a model, matched by name later, and written back."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from cli_runs import bad, good
from tables import case_by_case

from deepbelief import RBM, DBNClassifier, load
from deepbelief.datasets import open as open_data
from deepbelief.errors import DataError, DataWarning
from deepbelief.sources import as_source, named

NAMES = ["a", "b", "c"]
QUICK = ("--layers", "4", "--epochs", "2", "--seed", "0", "--quiet")


def write(path, columns, order, header=True):
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        if header:
            out.writerow(order)
        out.writerows(zip(*(columns[name] for name in order), strict=True))


@pytest.fixture
def columns():
    rng = np.random.default_rng(0)
    values = {name: rng.normal(mean, 1, 60).round(3).tolist() for name, mean in zip(NAMES, (10, -5, 3), strict=True)}
    kinds = np.where(np.array(values["a"]) + np.array(values["b"]) > 5, "up", "down").tolist()
    return {**values, "y": kinds, "z": values["a"]}


@pytest.fixture
def tuned(columns, tmp_path, monkeypatch):
    """A classifier that was trained in the shell on columns a, b and c, with labels y."""
    monkeypatch.chdir(tmp_path)
    write("t.csv", columns, [*NAMES, "y"])
    good("pretrain", "t.csv", "--labels", "y", *QUICK, "--out", "m.h5")
    good("finetune", "m.h5", "--seed", "0", "--epochs", "3", "--quiet", "--out", "f.h5")
    return "f.h5"


def test_svmlight_files_are_counted_from_where_those_of_training_were(tmp_path, monkeypatch):
    """Files that begin at index 0 have rows without it, whose columns must not move to the left."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows, labels = rng.integers(0, 9, (60, 5)), np.arange(60) % 2
    rows[::2, 0] = 0

    def write_rows(path, chosen, first):
        lines = [f"{labels[i]} " + " ".join(f"{j + first}:{v}" for j, v in enumerate(rows[i]) if v) for i in chosen]
        Path(path).write_text("\n".join(lines) + "\n")

    write_rows("train.svm", range(60), 0)
    good("pretrain", "train.svm", *QUICK, "--out", "m.h5")
    good("finetune", "m.h5", "--seed", "0", "--epochs", "3", "--quiet", "--out", "f.h5")
    write_rows("new.svm", range(0, 60, 2), 0)
    for model in ("m.h5", "f.h5"):
        expected = load(model).transform(rows[::2])
        found = np.loadtxt(
            good("encode", model, "new.svm", "--out", "-").stdout.splitlines(), delimiter=",", skiprows=1
        )
        np.testing.assert_allclose(found.reshape(len(expected), -1)[:, : expected.shape[1]], expected, rtol=1e-4)


def test_names_are_kept_and_columns_found_by_them(tuned, columns):
    assert load("m.h5").feature_names_in_.tolist() == NAMES
    assert load(tuned).feature_names_in_.tolist() == NAMES
    write("r.csv", columns, ["y", "c", "b", "a"])
    write("bare.csv", columns, ["c", "a", "b"])
    right = good("predict", tuned, "t.csv", "--labels", "y", "--probabilities").stdout
    for spec in ("r.csv", "bare.csv"):
        found = good("predict", tuned, spec, "--probabilities")
        assert found.stdout == right
        assert "columns put in the order" in found.stderr
    scores = [good("evaluate", tuned, f, "--labels", "y", "--json").stdout for f in ("t.csv", "r.csv")]
    assert json.loads(scores[0])["confusion"] == json.loads(scores[1])["confusion"]
    codes = good("encode", "m.h5", "t.csv", "--out", "-").stdout
    assert good("encode", "m.h5", "r.csv", "--out", "-").stdout == codes


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (["a", "b"], "missing: c"),
        (["a", "b", "z"], "missing: c; new: z"),
        (["a", "b", "c", "z"], "new: z"),
    ],
)
def test_other_columns_are_refused_by_name(tuned, columns, order, words):
    write("other.csv", columns, order)
    message = bad("predict", tuned, "other.csv")
    assert "other.csv" in message
    assert words in message


def test_tables_without_names_go_by_position_and_say_so(tuned, columns):
    write("plain.csv", columns, NAMES, header=False)
    found = good("predict", tuned, "plain.csv")
    assert "plain.csv has no column names: its columns are assumed to be in the order of a, b, c" in found.stderr
    assert "feature names" not in found.stderr
    assert found.stdout == good("predict", tuned, "t.csv").stdout
    np.save("x.npy", np.transpose([columns[name] for name in NAMES]))
    good("pretrain", "x.npy", *QUICK, "--out", "n.h5")
    write("named.csv", columns, NAMES)
    assert "n.h5 has no column names" in good("encode", "n.h5", "named.csv", "--out", "-").stderr


def test_python_checks_the_names_of_a_model_from_the_shell(tuned, columns):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({name: columns[name] for name in NAMES})
    model = load("m.h5")
    assert model.transform(frame).shape == (60, 4)
    with pytest.raises(ValueError, match="feature names should match"):
        model.transform(frame[["c", "b", "a"]])
    with pytest.raises(DataError, match="order"):
        DBNClassifier(pretrained=model, max_iter=1).fit(frame[["c", "b", "a"]], columns["y"])
    with pytest.raises(DataError, match="the columns must be in the order of those that DBN was fitted on: a, b, c"):
        model.transform(named(as_source(frame[["c", "b", "a"]].to_numpy()), ["c", "b", "a"]))


def test_samples_and_decoded_rows_have_the_names(tuned):
    assert good("sample", "m.h5", "--n", "2", "--steps", "2", "--out", "-").stdout.splitlines()[0] == "a,b,c"
    good("encode", "m.h5", "t.csv", "--out", "codes.csv")
    assert good("decode", "m.h5", "codes.csv", "--out", "-").stdout.splitlines()[0] == "a,b,c"


def test_labels_by_index_are_found_by_name_in_another_order(columns, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("t.csv", columns, [*NAMES, "y"])
    write("r.csv", columns, ["y", *NAMES])
    good("pretrain", "t.csv", "--labels", "-1", *QUICK, "--out", "m.h5")
    good("finetune", "m.h5", "r.csv", "--epochs", "2", "--quiet", "--out", "f.h5")
    assert load("f.h5").classes_.tolist() == ["down", "up"]


@case_by_case("kind", ["npz", "h5", "parquet"])
def test_names_come_with_other_files(kind, tmp_path):
    h5py = pytest.importorskip("h5py")
    X = np.random.default_rng(0).random((20, 3))
    path = tmp_path / f"x.{kind}"
    if kind == "npz":
        np.savez(path, X=X, feature_names=np.array(NAMES))
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file["X"], file["feature_names"] = X, NAMES
    else:
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        pq.write_table(pa.table(dict(zip(NAMES, X.T, strict=True))), path)
    data = open_data(str(path), scale="none", limit=15)
    assert data.feature_names == NAMES
    rbm = RBM(2, n_iter=1).fit(data.rows)
    assert rbm.feature_names_in_.tolist() == NAMES
    with pytest.raises(DataError, match=r"missing: c; new: d"):
        rbm.transform(named(as_source(X), ["a", "b", "d"]))


@case_by_case(
    ("order", "words"),
    [
        (["x", "label"], "column 'label' looks like labels .* --labels label"),
        (["id", "x"], "column 'id' numbers the rows"),
        (["x", "kind"], "column 'kind' looks like labels .* --labels kind"),  # the only whole numbers
        (None, r"the last column \(2\) looks like labels .* --labels -1"),
    ],
)
def test_features_that_look_like_labels_or_numbers_of_rows_are_told(order, words, tmp_path):
    columns = {"id": range(40), "label": [i % 3 for i in range(40)], "x": np.linspace(0, 1, 40).tolist()}
    columns["kind"] = columns["label"]
    write(tmp_path / "t.csv", columns, order or ["x", "label"], header=order is not None)
    with pytest.warns(DataWarning, match=words):
        open_data(str(tmp_path / "t.csv"), scale="none")
    if order and "label" in order:
        open_data(str(tmp_path / "t.csv"), scale="none", labels="label")

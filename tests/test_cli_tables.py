"""Tables of text, booleans and missing values on the command line: the same columns as those of a DataFrame."""

import csv
import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_runs import bad, good, run
from tables import case_by_case

from deepbelief import DBN, RBM, AnomalyDetector, learning_rate_sweep, load, save
from deepbelief.cli._tables import clamped_values
from deepbelief.datasets import open as open_data
from deepbelief.errors import DataError, SettingError
from deepbelief.evaluation import find_outliers
from deepbelief.sources.schema import Schema
from deepbelief.sources.table_columns import Column
from deepbelief.sources.table_files import read_table

TABLES = Path(__file__).resolve().parents[2] / "shared" / "datasets" / "tables"
NAMES = ("titanic", "penguins", "mpg", "tips", "planets")
LABEL = {"titanic": "survived", "penguins": "species", "mpg": "mpg", "tips": "tip", "planets": "method"}


def mixed(n=150, seed=0):
    """Return a table whose columns depend on each other, with holes, and a label."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, n)
    table = pd.DataFrame(
        {
            "size": np.round(10.0 * kind + rng.normal(0, 1, n), 2),
            "count": pd.array(kind + rng.integers(0, 2, n), "Int64"),
            "colour": np.array(["dark, red", "green", 'a "blue"\nlight'])[kind],
            "good": pd.array(kind == 1, "boolean"),
            "name": [f"row {i}" for i in range(n)],
            "y": np.array(["a", "b", "b"])[kind],
        }
    )
    for name in ("size", "count", "colour", "good"):
        table.loc[rng.random(n) < 0.1, name] = pd.NA
    return table


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a table as CSV and Parquet, and a model of it."""
    path = tmp_path_factory.mktemp("tables")
    mixed().to_csv(path / "t.csv", index=False)
    mixed().to_parquet(path / "t.parquet", index=False)
    good(
        "pretrain", path / "t.csv", "--labels", "y", "--layers", 16, "--epochs", 200, "--seed", 1, "-q",
        "--out", path / "t.h5",
    )  # fmt: skip
    return path


def rows_of(text):
    return list(csv.reader(io.StringIO(text)))


def assert_same_columns(found, expected):
    """Compare schemas but for the names that libraries have for types."""
    found, expected = ([dataclasses.replace(c, dtype="") for c in schema.columns] for schema in (found, expected))
    assert found == expected


@case_by_case("name", NAMES)
def test_a_file_has_the_columns_of_a_data_frame(name):
    path = TABLES / f"{name}.csv"
    if not path.exists():
        pytest.skip("the tables are not here")
    data = open_data(str(path), table={})
    schema, frame = data.schema, pd.read_csv(path)
    assert_same_columns(schema, Schema.fit(frame))
    np.testing.assert_array_equal(data.rows.take(slice(None)), schema.encode(frame))
    label = open_data(str(path), labels=LABEL[name], table={})
    assert LABEL[name] not in label.schema.names
    assert len(label.labels) == len(frame)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_of_either_kind_is_encoded_as_in_python(folder, kind):
    table = mixed()
    data = open_data(str(folder / f"t.{kind}"), labels="y", table={"columns": {"count": "category"}})
    frame = table.drop(columns="y").astype({"count": "Int64"})
    expected = Schema.fit(frame, {"count": "category"}, labelled=True)
    assert_same_columns(data.schema, expected)
    np.testing.assert_array_equal(data.rows.take(slice(None)), expected.encode(frame))
    assert data.labels.tolist() == table["y"].tolist()
    assert data.columns_text == f"5 columns as {expected.n_units} units"
    first = open_data(str(folder / f"t.{kind}"), labels="y", limit=40, table={})
    assert first.rows.shape[0] == len(first.labels) == 40


def test_files_of_numbers_stay_files_of_numbers(tmp_path):
    path = tmp_path / "n.csv"
    path.write_text("a,b\n1,2\n3,4.5\n5,6\n")
    plain, table = open_data(str(path)), open_data(str(path), table={})
    assert table.schema is None
    assert table.feature_names == plain.feature_names == ["a", "b"]
    np.testing.assert_array_equal(table.rows.take(slice(None)), plain.rows.take(slice(None)))
    path.write_text("a,b\nTrue,False\nFalse,False\nTrue,True\n")
    booleans = open_data(str(path), table={})
    assert booleans.schema is None
    assert booleans.rows.take(slice(None)).tolist() == [[1, 0], [0, 0], [1, 1]]
    path.write_text("a,b\n1,2\n3,\n5,6\n")
    assert open_data(str(path), table={}).schema is not None
    gaps = open_data(str(path), table={"numbers": False}, scale="none")
    assert gaps.schema is None
    assert np.isnan(gaps.rows.take(slice(None))).sum() == 1
    with pytest.raises(DataError, match="the cell is empty"):
        open_data(str(path))


def read(tmp_path, text, **options):
    path = tmp_path / "r.csv"
    path.write_bytes(text.encode())
    return read_table(str(path), **options)


def test_cells_of_text_files(tmp_path):
    found = read(tmp_path, 'a;b;c;d\r\n1;"x;y";True;?\r\n\r\nNA;" z ";;3\r\n1e2;"p""q\nr";false;-\r\n')
    assert {name: column.tolist() for name, column in found.columns.items() if name != "a"} == {
        "b": ["x;y", "z", 'p"q\nr'], "c": [True, None, False], "d": pytest.approx([np.nan, 3, np.nan], nan_ok=True),
    }  # fmt: skip
    np.testing.assert_array_equal(found.columns["a"], [1, np.nan, 100])
    assert found.lines.tolist() == [2, 4, 5]
    nameless = read(tmp_path, "5.1,red,3\n4.9,,2\n", labels="0")
    assert nameless.columns["x1"].tolist() == ["red", None]
    assert nameless.labels.tolist() == [5.1, 4.9]


def test_a_few_words_among_numbers_are_mistakes_and_many_are_categories(tmp_path):
    numbers = "".join(f"{i},{i}\n" for i in range(100))
    with pytest.raises(DataError, match=r"line 102, column 2 \('b'\): '12..5' is not a number, and line 2 has '0'"):
        read(tmp_path, f"a,b\n{numbers}1,12..5\n")
    columns = read(tmp_path, f"a,b\n{numbers}1,12..5\n", columns={"b": "category"}).columns
    assert columns["b"][-2:].tolist() == ["99", "12..5"]
    columns = read(tmp_path, f"a,b\n{numbers}" + "1,3+\n" * 10).columns
    assert columns["b"][-2:].tolist() == ["3+", "3+"]


def test_what_columns_were_taken_for_is_printed_and_kept(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = good(
        "pretrain", folder / "t.csv", "--labels", "y", "--layers", 4, "--epochs", 1, "--columns", "count=category"
    )
    assert "colour: category of 3" in told.stdout
    assert "count: category of 4" in told.stdout
    assert "left out of the model: 'name' (150 values in 150 rows: they identify rows)" in told.stderr
    shown = good("info", "t.h5").stdout
    assert "count: category of 4: 0.0, 1.0, 2.0, 3.0" in shown
    model = load("t.h5")
    assert model.schema_.names == ("size", "count", "colour", "good", "name")
    assert model.rbm.columns == {"count": "category"}


def test_drawn_rows_are_a_table_with_the_columns_of_the_file(folder, tmp_path):
    good("sample", folder / "t.h5", "--n", 300, "--seed", 1, "--out", tmp_path / "s.csv")
    found, table = pd.read_csv(tmp_path / "s.csv"), mixed()
    assert found.columns.tolist() == ["size", "count", "colour", "good", "name"]
    assert len(found) == 300
    assert set(found["colour"]) <= set(table["colour"].dropna())
    assert found["good"].dtype == bool
    assert found["count"].dtype.kind == "i"
    assert found["size"].between(table["size"].min(), table["size"].max()).all()
    assert (found["size"].round(2) == found["size"]).all()
    assert ((found["colour"] == "green") == found["good"]).mean() > 0.8
    good("sample", folder / "t.h5", "--n", 300, "--seed", 1, "--out", tmp_path / "s.parquet")
    again = pq.read_table(tmp_path / "s.parquet")
    assert again.schema.field("good").type == pa.bool_()
    assert again.schema.field("count").type == pa.int64()
    assert again["colour"].to_pylist() == found["colour"].tolist()
    assert len(rows_of(good("sample", folder / "t.h5", "--n", 2, "--out", "-").stdout)) == 3
    assert "written as .csv or .parquet" in bad("sample", folder / "t.h5", "--out", tmp_path / "s.npy")


def test_columns_can_be_clamped(folder, tmp_path):
    asked = ("sample", folder / "t.h5", "--n", 60, "--seed", 1)
    good(*asked, "--clamp", "good=True,size=9.876,count=1", "--out", tmp_path / "s.csv")
    found = pd.read_csv(tmp_path / "s.csv")
    assert found["good"].all()
    assert (found["size"] == 9.876).all()
    assert (found["count"] == 1).all()
    assert (found["colour"] == "green").mean() > 0.8  # a third of all rows
    for clamp, message in {
        "good=true": "--clamp: unknown value of 'good' 'true': choose one of False, True; did you mean 'True'?",
        "size=x": "--clamp: the column 'size' is a number, got 'x'",
        "sizes=1": "did you mean 'size'?",
        "name=a1": "--clamp: unknown column 'name'",  # it is not in the model
    }.items():
        assert message in bad(*asked, "--clamp", clamp)
    assert "'size' is not a list of values such as" in run(*asked, "--clamp", "size").stderr
    good(*asked, "--clamp", "count=2.5", "--out", tmp_path / "s.csv", "--force")
    # It is not rounded, though the numbers of the training rows are whole.
    assert (pd.read_csv(tmp_path / "s.csv")["count"] == 2.5).all()


def test_samples_match_the_rows_of_a_file(folder, tmp_path):
    green = mixed().query("colour == 'green' or count == 3")
    green.to_csv(tmp_path / "green.csv", index=False)
    asked = ("sample", folder / "t.h5", "--n", 300, "--steps", 100, "--seed", 1)
    good(*asked, "--match", tmp_path / "green.csv", "--out", tmp_path / "s.csv")
    share = (green["colour"] == "green").sum() / green["colour"].notna().sum()
    assert (pd.read_csv(tmp_path / "s.csv")["colour"] == "green").mean() == pytest.approx(share, abs=0.1)
    assert share > 0.6  # a third of the training rows
    assert "give either --clamp or --match" in bad(*asked, "--match", tmp_path / "green.csv", "--clamp", "good=True")
    assert "--match needs plain Gibbs" in bad(*asked, "--match", tmp_path / "green.csv", "--method", "pt")
    assert "no such" in bad(*asked, "--match", tmp_path / "none.csv")
    green[:1].to_csv(tmp_path / "one.csv", index=False)
    refused = bad(*asked, "--match", tmp_path / "one.csv", "--out", tmp_path / "no.csv")
    assert refused.startswith("--match must have at least 2 rows, got 1. Match ")
    assert not (tmp_path / "no.csv").exists()


def test_the_label_is_not_used_and_may_be_absent_from_new_files(folder, tmp_path):
    mixed().to_csv(tmp_path / "with.csv", index=False)
    mixed().drop(columns="y").to_csv(tmp_path / "without.csv", index=False)
    mixed().assign(y="never seen").to_csv(tmp_path / "other.csv", index=False)
    mixed().assign(y=None).to_csv(tmp_path / "empty.csv", index=False)
    mixed().assign(y=None).to_parquet(tmp_path / "empty.parquet")
    mixed().assign(y="NA").to_csv(tmp_path / "na.csv", index=False)
    model = folder / "t.h5"
    for command in (("encode", model), ("outliers", model), ("sample", model, "--seed", 1, "--steps", 2, "--match")):
        first, *rest = (
            good(*command, tmp_path / name, "--out", "-").stdout
            for name in ("with.csv", "without.csv", "other.csv", "empty.csv", "empty.parquet", "na.csv")
        )
        assert rest == [first] * 5, command
    assert rows_of(first)[0] == ["size", "count", "colour", "good", "name"]
    assert "called 'y'" in bad("finetune", model, tmp_path / "without.csv", "--out", tmp_path / "c.h5")
    for name in ("empty.csv", "empty.parquet", "na.csv"):
        assert "every row is unlabelled" in bad("finetune", model, tmp_path / name, "--out", tmp_path / "c.h5")
        short = ("--labels", "y", "--layers", 4, "--epochs", 1, "--out", tmp_path / "e.h5", "--force")
        assert "deepbelief encode" in good("pretrain", tmp_path / name, *short).output
    mixed().assign(more=1).to_csv(tmp_path / "more.csv", index=False)
    assert "the column 'more', which the training rows lack" in bad("encode", model, tmp_path / "more.csv")


def test_categories_that_are_numbers_are_clamped_by_their_value():
    column = Column("n", "category", "float64", (0.1, 1234567.0, 1234568.0))
    schema = Schema((column,), "array")
    for text, value in {"1234567": 1234567, "1234568.0": 1234568, ".1": 0.1, "1e-1": 0.1}.items():
        assert clamped_values(schema, {"n": text}) == {"n": value}
    with pytest.raises(SettingError, match=r"choose one of 0\.1, 1234567, 1234568"):
        clamped_values(schema, {"n": "2"})


def test_drawn_rows_have_missing_values_where_they_are_asked_for(folder, tmp_path):
    for name, more in (("whole.csv", ()), ("gaps.csv", ("--missing",))):
        good("sample", folder / "t.h5", "--n", 300, "--seed", 1, *more, "--out", tmp_path / name)
    whole, gaps, train = pd.read_csv(tmp_path / "whole.csv"), pd.read_csv(tmp_path / "gaps.csv"), mixed()
    assert not whole.drop(columns="name").isna().any().any()
    for name in ("size", "count", "colour", "good"):
        assert gaps[name].isna().mean() == pytest.approx(train[name].isna().mean(), abs=0.08)
    same = gaps["size"].notna()
    np.testing.assert_array_equal(gaps["size"][same], whole["size"][same])
    train.dropna().drop(columns="name").to_csv(tmp_path / "full.csv", index=False)
    short = ("--layers", 2, "--epochs", 1, "-q", "--out", tmp_path / "full.h5")
    good("pretrain", tmp_path / "full.csv", "--labels", "y", *short)
    assert "the training rows have none" in bad("sample", tmp_path / "full.h5", "--missing")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_holes_are_filled_and_all_else_stays(folder, tmp_path, kind):
    out = tmp_path / f"f.{kind}"
    told = good("impute", folder / "t.h5", folder / f"t.{kind}", "--seed", 2, "--out", out)
    before = (pd.read_csv if kind == "csv" else pd.read_parquet)(folder / f"t.{kind}")
    after = (pd.read_csv if kind == "csv" else pd.read_parquet)(out)
    assert after.columns.tolist() == before.columns.tolist()
    assert not after.isna().to_numpy().any()
    assert f"{before.isna().to_numpy().sum()} missing values filled in" in told.stdout
    for name in before:
        known = before[name].notna()
        assert (after[name][known] == before[name][known]).all()
    assert after["count"].dtype.kind == "i"
    truth = {"dark, red": "a", "green": "b", 'a "blue"\nlight': "b"}
    assert (after["colour"].map(truth) == after["y"]).mean() > 0.95


def test_cells_that_are_not_filled_are_written_as_they_were(folder, tmp_path):
    text = 'y;size;colour;good;count;name\nb;1.50;green;;1;"x;1"\n;;"dark, red";False;01;x2\n'
    (tmp_path / "h.csv").write_text(text)
    good("impute", folder / "t.h5", tmp_path / "h.csv", "--seed", 2, "--out", tmp_path / "f.csv")
    found = list(csv.reader(io.StringIO((tmp_path / "f.csv").read_text()), delimiter=";"))
    assert found[0] == text.split("\n")[0].split(";")
    assert found[1] == ["b", "1.50", "green", "True", "1", "x;1"]
    assert found[2][:1] == [""]
    assert abs(float(found[2][1])) < 5
    assert found[2][2:] == ["dark, red", "False", "01", "x2"]


def test_values_that_are_filled_in_are_means_of_as_many_steps_as_are_named(folder, tmp_path):
    table = pd.read_csv(folder / "t.csv")
    table.loc[:9, "name"] = np.nan  # a column that the model leaves out
    table.to_csv(tmp_path / "h.csv", index=False)
    told = good("impute", folder / "t.h5", tmp_path / "h.csv", "--steps", 3, "--seed", 2, "--out", tmp_path / "f.csv")
    used = ["size", "count", "colour", "good"]
    assert f"{table[used].isna().to_numpy().sum()} missing values filled in" in told.stdout
    found, rows = pd.read_csv(tmp_path / "f.csv")["size"], table.drop(columns="y")
    three, more = (load(folder / "t.h5").impute(rows, n_steps=n, random_state=2)["size"] for n in (3, 100))
    np.testing.assert_allclose(found, three, rtol=1e-5)
    assert np.abs(found - more).max() > 1e-3


def test_means_of_whole_numbers_are_rounded_and_long_numbers_are_written_in_full(folder, tmp_path):
    table = pd.read_csv(folder / "t.csv")
    table["size"] += 12_345_678
    table.to_csv(tmp_path / "l.csv", index=False)
    good("pretrain", tmp_path / "l.csv", "--labels", "y", "--epochs", 3, "-q", "--out", tmp_path / "l.h5")
    good("impute", tmp_path / "l.h5", "--seed", 2, "--out", tmp_path / "f.csv")
    means = load(tmp_path / "l.h5").impute(table.drop(columns="y"), random_state=2)["count"]
    assert not (means == means.round()).all()
    np.testing.assert_array_equal(pd.read_csv(tmp_path / "f.csv")["count"], means.round())
    good("sample", tmp_path / "l.h5", "--n", 100, "--out", tmp_path / "s.csv")
    good("impute", tmp_path / "l.h5", "--draws", 1, "--out", tmp_path / "f.csv")
    for name, rows in (("s.csv", range(100)), ("f-1.csv", np.flatnonzero(table["size"].isna()))):
        found = list(csv.DictReader(io.StringIO((tmp_path / name).read_text())))
        assert max(len(found[i]["size"].partition(".")[2]) for i in rows) == 2
    assert (pd.read_csv(tmp_path / "s.csv")["size"] % 0.1 > 0.001).mean() > 0.5


def test_draws_differ_and_have_a_file_each(folder, tmp_path):
    good("impute", folder / "t.h5", "--draws", 2, "--seed", 2, "--out", tmp_path / "f.csv")
    one, two = (pd.read_csv(tmp_path / f"f-{i}.csv") for i in (1, 2))
    assert not one.equals(two)
    assert not one.isna().to_numpy().any()
    assert "name them with --out" in bad("impute", folder / "t.h5", "--draws", 2, "--out", "-")


def test_outliers_are_the_rows_whose_columns_disagree(folder, tmp_path):
    table = mixed(seed=3).dropna()[["size", "count", "colour", "good"]].head(60).reset_index(drop=True)
    table.loc[5, "colour"] = "green" if table.loc[5, "colour"] != "green" else "dark, red"
    table.loc[9, "size"] = 30 - table.loc[9, "size"]
    table.to_csv(tmp_path / "new.csv", index=False)
    told = good("outliers", folder / "t.h5", tmp_path / "new.csv", "--out", tmp_path / "s.csv").stdout
    scores = pd.read_csv(tmp_path / "s.csv")
    assert len(scores) == 60
    assert set(scores["score"].argsort()[:2]) == {5, 9}
    assert scores["outlier"][[5, 9]].tolist() == [1, 1]
    assert scores["outlier"].sum() < 10
    assert set(scores["column"]) <= {"size", "count", "colour", "good"}
    assert "row 5 (from 0)" in told
    again = good(
        "outliers", folder / "t.h5", tmp_path / "new.csv", "--contamination", 0.05, "--out", "-"
    )  # fmt: skip
    assert 2 <= sum(row[1] == "1" for row in rows_of(again.stdout)) <= 3
    for share in ("0", "0.6", "-1"):
        assert "contamination must be" in bad("outliers", folder / "t.h5", "--contamination", share).replace("--", "")
    model = load(folder / "t.h5")
    table["name"] = "x"
    found = find_outliers(model, table)
    np.testing.assert_allclose(found.scores, scores["score"], rtol=1e-6)
    row = table.iloc[[5]]
    p = [model.score_samples(row.assign(colour=c))[0] for c in model.schema_.column("colour").values]
    p = np.exp(p - np.max(p)) / np.exp(p - np.max(p)).sum()
    at = model.schema_.column("colour").values.index(table["colour"][5])
    assert found.surprise[5][2] == pytest.approx(-np.log(p[at]), rel=1e-4)


def test_a_saved_detector_finds_outliers_too(folder, tmp_path):
    table = mixed(seed=3).drop(columns=["y", "name"]).astype({"good": object, "count": float})
    detector = AnomalyDetector(RBM(4, n_iter=5), contamination=0.1, random_state=0).fit(table)
    save(detector, tmp_path / "d.h5")
    table.to_csv(tmp_path / "new.csv", index=False)
    good("outliers", tmp_path / "d.h5", tmp_path / "new.csv", "--out", tmp_path / "s.csv")
    scores = pd.read_csv(tmp_path / "s.csv")
    np.testing.assert_allclose(scores["score"], detector.score_samples(table), rtol=1e-6)
    assert scores["outlier"].tolist() == (detector.predict(table) == -1).astype(int).tolist()
    assert "pass DATA" in bad("outliers", tmp_path / "d.h5")
    assert "only info and outliers" in bad("impute", tmp_path / "d.h5", tmp_path / "new.csv")


@pytest.mark.slow
@pytest.mark.usefixtures("sketched")
def test_a_table_goes_through_every_command(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, n = folder / "t.h5", len(mixed())
    assert "nan" not in good("evaluate", model).stdout
    assert "log-likelihood" in good("evaluate", model, "--likelihood").stdout
    good("encode", model, "--out", "codes.npy")
    assert np.load("codes.npy").shape == (n, 16)
    good("decode", model, "codes.npy", "--out", "d.csv")
    decoded, table = pd.read_csv("d.csv"), mixed()
    assert decoded.columns.tolist() == table.columns.tolist()[:-1]
    known = table["colour"].notna()
    assert (decoded["colour"] == table["colour"])[known].mean() > 0.9
    good("finetune", model, "--epochs", 5, "--seed", 1, "--out", "c.h5", "-q")
    found = load("c.h5")
    assert found.schema_.names == ("size", "count", "colour", "good", "name")
    good("predict", "c.h5", folder / "t.csv", "--out", "p.csv")
    predicted = pd.read_csv("p.csv")["label"]
    assert (predicted == table["y"]).mean() > 0.95
    assert predicted.tolist() == found.predict(table.drop(columns="y").astype({"good": object})).tolist()
    assert "error" in good("evaluate", "c.h5").stdout
    drawn = good("sample", "c.h5", "--n", 3, "--out", "-")
    assert rows_of(drawn.stdout)[0] == ["size", "count", "colour", "good", "name"]
    good(
        "pretrain", folder / "t.csv", "--labels", "y", "--holdout", 0.2, "--layers", 8, "--epochs", 20, "--out", "h.h5"
    )
    good("finetune", "h.h5", "--autoencoder", "--epochs", 2, "--out", "a.h5", "-q")
    assert "held out" in good("evaluate", "a.h5").stdout
    told = good("impute", "a.h5", folder / "t.csv", "--steps", 2, "--out", "a.csv").stdout
    assert "missing values filled in" in told
    assert "seed" not in told
    assert not pd.read_csv("a.csv").isna().to_numpy().any()
    for option in ("--draws", "--seed"):
        line = bad("impute", "a.h5", folder / "t.csv", option, 2, "--out", "b.csv")
        assert f"{option} is for models that draw values at random" in line
    good("finetune", "h.h5", folder / "t.csv", "--labels", "y", "--epochs", 2, "--out", "h2.h5", "-q")
    good("export", "c.h5", "--to", "npz")
    pytest.importorskip("matplotlib")
    good("report", "c.h5")
    page = (tmp_path / "c-report.html").read_text()
    assert "colour: category of 3" in page
    assert "Not drawn" not in page


@pytest.mark.parametrize("name", ["titanic", "mpg"])
def test_a_table_as_it_stands_goes_from_file_to_file(tmp_path, monkeypatch, name):
    path = TABLES / f"{name}.csv"
    if not path.exists():
        pytest.skip("the tables are not here")
    monkeypatch.chdir(tmp_path)
    good("pretrain", path, "--labels", LABEL[name], "--layers", 8, "--epochs", 2, "-q")
    good("impute", f"{name}.h5", path, "--steps", 2, "--out", "filled.csv")
    good("sample", f"{name}.h5", "--n", 50, "--steps", 2, "--out", "synthetic.csv")
    good("outliers", f"{name}.h5", path, "--out", "scores.csv")
    table, filled = pd.read_csv(path), pd.read_csv("filled.csv")
    assert filled.shape == table.shape
    assert not filled.isna().to_numpy().any()
    assert pd.read_csv("synthetic.csv").columns.tolist() == table.columns.drop(LABEL[name]).tolist()
    assert len(pd.read_csv("scores.csv")) == len(table)


HEADER = "size,count,colour,good\n"
BAD = [
    (
        HEADER + "1.5,1,purple,True\n",
        "line 2, row 0, column 'colour': 'purple' is a category that the training rows lack",
    ),
    (HEADER + "tall,1,green,True\n", "line 2, column 1 ('size'): 'tall' is not a number"),
    (HEADER + "\n1,1,green,True\ninf,1,green,True\n", "line 4, column 1 ('size'): the value is inf"),
    (HEADER + "1,1,green,5\n", "column 'good': '5' is a category that the training rows lack"),
    ("size,count,colour\n1,1,green\n", "the table lacks the column 'good'"),
    ("size,count,color,good\n1,1,green,True\n", "lacks the column 'colour'; it has the column 'color', which"),
    (
        "size,count,colour,good,more\n1,1,green,True,3\n",
        "the column 'more', which the training rows lack: leave it out",
    ),
    (HEADER + "1,1,green\n", "line 2 has 3 cells where the first line has 4"),
    (HEADER + '1,1,"green,True\n', "line 2 leaves a quote open"),
    (HEADER, "there are no rows below the header"),
    ("size,count,colour,good,good\n1,1,green,True,True\n", "two columns are called 'good'"),
]


@case_by_case("text, message", BAD)
def test_rows_that_do_not_fit_are_refused_in_one_line(folder, tmp_path, text, message):
    path = tmp_path / "b.csv"
    path.write_text(text)
    line = bad("impute", folder / "t.h5", path, "--out", tmp_path / "f.csv")
    assert message in line
    assert str(path) in line
    assert not (tmp_path / "f.csv").exists()


def test_an_unknown_category_may_be_a_missing_value(folder, tmp_path):
    path = tmp_path / "b.csv"
    path.write_text(HEADER + "1.5,1,purple,True\n")
    assert "--handle-unknown='missing'" in bad("impute", folder / "t.h5", path, "--out", "-")
    assert (
        rows_of(good("impute", folder / "t.h5", path, "--handle-unknown", "missing", "--out", "-").stdout)[1][2]
        == "purple"
    )


def test_the_choice_for_unknown_categories_is_kept_with_the_model(folder, tmp_path):
    options = ("--labels", "y", "--layers", 4, "--epochs", 1, "--handle-unknown", "missing", "-q")
    good("pretrain", folder / "t.csv", *options, "--out", tmp_path / "m.h5")
    good("finetune", tmp_path / "m.h5", "--epochs", 1, "-q", "--out", tmp_path / "c.h5")
    path = tmp_path / "b.csv"
    path.write_text(HEADER + "1.5,1,purple,True\n")
    assert len(rows_of(good("predict", tmp_path / "c.h5", path).stdout)) == 2
    assert "'purple' is a category" in bad("predict", tmp_path / "c.h5", path, "--handle-unknown", "error")
    (tmp_path / "n.csv").write_text("a,b\n1,0\n0,1\n1,1\n0,0\n")
    good("pretrain", tmp_path / "n.csv", "--layers", 2, "--epochs", 1, "--out", tmp_path / "n.h5", "-q")
    assert "is for models of tables" in bad("encode", tmp_path / "n.h5", "--handle-unknown", "missing", "--out", "-")


def test_a_sweep_takes_a_table_by_its_own_recipe(folder):
    swept = ("--labels", "y", "--layers", 8, "--epochs", 20, "--rates", "0.02,1e-6", "--jobs", 1, "-q", "--json")
    found = json.loads(good("sweep", folder / "t.csv", *swept, "--seed", 1).stdout)
    assert found["best_rate"] == 0.02
    assert found["metric"] == "pseudo-log-likelihood of held-out rows"
    rows = open_data(str(folder / "t.csv"), labels="y", table={}).rows
    result = learning_rate_sweep(DBN((8,), rbm=RBM(n_iter=20)), rows, rates=(0.02, 1e-6), n_jobs=1, random_state=1)
    scores = [row.score for row in result.rows]
    np.testing.assert_allclose(scores, [row["score"] for row in found["rows"]], rtol=1e-5)
    assert scores[0] > scores[1] + 0.3


@pytest.mark.slow
def test_a_sweep_of_fine_tuning_takes_tables(folder):
    told = good(
        "sweep", folder / "t.csv", "--labels", "y", "--finetune", "--rates", "0.01", "--epochs", 1, "--layers", 4,
        "--limit", 40, "--jobs", 1, "-q",
    )  # fmt: skip
    assert "accuracy of held-out rows" in told.stdout


TRAINING = [
    ("a,b\n1,\n2,\n3,\n", (), "column 'b' has no value at all: leave it out"),
    ("a,b\n" + "".join(f"{i},{i}\n" for i in range(30)) + "x,1\n", (), "line 32, column 1 ('a'): 'x' is not a number"),
    ("a,b\n1,x\n1,x\n1,x\n", (), "all columns of the table are constant"),
    ("a,b\n1,x\n2,y\n1,x\n", ("--columns", "c=category"), "unknown column 'c'"),
    ("a,b\n1,x\n2,y\n1,x\n", ("--columns", "b=number"), "line 2, column 2 ('b'): 'x' is not a number"),
    ("a,b\n1,x\n2,y\n1,x\n", ("--columns", "b=text"), "unknown kind 'text'"),
    ("a,b\n1,x\n2,y\n1,x\n", ("--scale", "minmax"), "--scale minmax is for files of numbers"),
    ("a,b\n1,x\n2,y\n1,x\n", ("--visible", "gaussian"), "must be 'auto' for a table"),
    ("a,b\n1,x\n2,y\n1,x\n", ("--recurrent",), "'x' is not a number"),
    ("a,b\n1,2\n,2\n3,3\n", ("--workers", "2"), "trained in this process"),
]


@case_by_case("text, options, message", TRAINING)
def test_tables_that_cannot_be_learned_are_refused_in_one_line(tmp_path, text, options, message):
    path = tmp_path / "b.csv"
    path.write_text(text)
    line = bad("pretrain", path, *options, "--out", tmp_path / "m.h5")
    assert message in line
    assert not (tmp_path / "m.h5").exists()

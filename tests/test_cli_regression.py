"""Regressors from the command line, and classifiers of several columns made in Python: what is printed is true."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from cli_runs import bad, good, put_model
from sklearn.datasets import load_diabetes, load_digits
from sklearn.metrics import r2_score, root_mean_squared_error

from deepbelief import DBNClassifier, DBNRegressor, load, save


@pytest.fixture(autouse=True)
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, y = load_diabetes(return_X_y=True)
    X = X.astype(np.float32)  # as tables are read
    names = ",".join([*(f"c{i}" for i in range(10)), "progression"])
    for name, part in (("table", slice(0, 300)), ("rest", slice(300, None))):
        np.savetxt(f"{name}.csv", np.column_stack([X, y])[part], "%.17g", ",", header=names, comments="")
    good("pretrain", "table.csv", "--labels", "progression", "--layers", "12,8", "--epochs", 3, "--seed", 1)
    return X, y


@pytest.mark.parametrize(("added", "option"), [(0.5, " --regression"), (0, "")])
def test_pretrain_names_the_command_that_its_labels_need(added, option):
    rows = np.random.default_rng(0).random((40, 3)).round(3)
    table = np.column_stack([rows, np.arange(40) % 3 + added])
    np.savetxt("some.csv", table, "%.17g", ",", header="a,b,c,target", comments="")
    result = good("pretrain", "some.csv", "--labels", "target", "--layers", 2, "--epochs", 1)
    assert re.search(rf"next +deepbelief finetune some\.h5{option}$", result.stdout, re.MULTILINE)
    good(*result.stdout.rsplit("deepbelief ", 1)[1].split(), "--epochs", 1)


def fine_tune(*options):
    return good("finetune", "table.h5", "--regression", "--epochs", 20, "--seed", 2, *options)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_finetune_trains_what_python_trains(table):
    X, y = table
    result = fine_tune("--early-stopping", "--learning-rate", 0.01)
    expected = DBNRegressor(
        pretrained=load("table.h5"), max_iter=20, early_stopping=True, learning_rate_init=0.01, random_state=2
    ).fit(X[:300], y[:300])
    tuned = load("table-tuned.h5")
    assert type(tuned) is DBNRegressor
    np.testing.assert_array_equal(tuned.predict(X), expected.predict(X))
    assert "layers  10 -> 12 -> 8 -> 1" in result.stdout
    last, n_epochs = expected.history_[-1]["rmse"], len(expected.history_)
    assert f"rmse    {last:.4g} on the training rows, after {n_epochs} epochs" in result.stdout
    best = min(r["validation_rmse"] for r in expected.history_)
    assert f"{best:.4g} on held-out rows, the best epoch's" in result.stdout
    assert "held-out rmse" in result.stderr


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_evaluate_agrees_with_scikit_learn(table):
    X, y = table
    fine_tune()
    model = load("table-tuned.h5")
    scores = json.loads(good("evaluate", "table-tuned.h5", "rest.csv", "--json").stdout)
    assert scores["rows"] == 142
    assert scores["rmse"] == pytest.approx(root_mean_squared_error(y[300:], model.predict(X[300:])))
    assert scores["r2"] == pytest.approx(r2_score(y[300:], model.predict(X[300:])))
    text = good("evaluate", "table-tuned.h5").stdout
    assert f"R2     {model.score(X[:300], y[:300]):.4f}" in text
    np.savez("flat.npz", X=X, y=np.full(len(y), 3))
    flat = json.loads(good("evaluate", "table-tuned.h5", "flat.npz", "--labels", "y", "--json").stdout)
    assert flat["r2"] is None
    assert "all labels are the same" in good("evaluate", "table-tuned.h5", "flat.npz", "--labels", "y").stdout


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_predict_writes_values(table):
    X, _ = table
    fine_tune()
    out = list(csv.reader(io.StringIO(good("predict", "table-tuned.h5", "rest.csv").stdout)))
    assert out[0] == ["value"]
    np.testing.assert_array_equal([float(row[0]) for row in out[1:]], load("table-tuned.h5").predict(X[300:]))
    told = good("predict", "table-tuned.h5", "rest.csv", "--out", "values.csv").stdout
    assert told == "values.csv: 142 rows, 1 column of values\n"
    assert "no probabilities" in bad("predict", "table-tuned.h5", "rest.csv", "--probabilities")


def test_labels_are_numbers_even_where_they_look_like_classes(table):
    X, y = table
    np.savez("whole.npz", X=X, y=np.where(y > 140, -1, 7))
    fine = ("--labels", "y", "--epochs", 1)
    good("finetune", "table.h5", "whole.npz", "--regression", *fine)
    mean = load("table-tuned.h5").target_mean_
    np.testing.assert_allclose(mean, np.where(y > 140, -1, 7).mean())
    np.savez("words.npz", X=X, y=np.where(y > 140, "much", "little"))
    assert "needs numbers" in bad("finetune", "table.h5", "words.npz", "--regression", *fine, "--force")
    np.savez("shares.npz", X=X, y=y / 7)
    assert "finetune --regression" in bad("finetune", "table.h5", "shares.npz", *fine, "--out", "classes.h5")
    np.save("rows.npy", X)
    assert "no labels" in bad("finetune", "table.h5", "rows.npy", "--regression", "--out", "none.h5")


def test_a_regressor_goes_on_and_becomes_nothing_else():
    fine_tune()
    good("finetune", "table-tuned.h5", "--epochs", 2)
    assert load("table-tuned2.h5").n_iter_ == 22
    assert load("table-tuned2.h5").warm_start is False
    good("finetune", "table-tuned.h5", "--regression", "--epochs", 2, "--out", "again.h5")
    assert "train an autoencoder from the pretrained" in bad("finetune", "table-tuned.h5", "--autoencoder", "--force")
    assert "choose one" in bad("finetune", "table.h5", "--regression", "--autoencoder", "--force")
    assert "--loss is not a setting of a regressor" in bad(
        "finetune", "table.h5", "--regression", "--loss", "squared_error", "--out", "other.h5"
    )
    assert "--seed cannot change" in bad("finetune", "table-tuned.h5", "--seed", 3, "--force")


def test_a_classifier_does_not_become_a_regressor(tmp_path):
    path = put_model(tmp_path, "classifier")
    assert "train a regressor from the pretrained file" in bad("finetune", path, "--regression")


@pytest.mark.slow
@pytest.mark.usefixtures("sketched")
def test_a_report_tells_what_it_is():
    pytest.importorskip("matplotlib")
    fine_tune()
    good("report", "table-tuned.h5")
    page = next(p.read_text() for p in Path().glob("*.html"))
    text = re.sub(r"<[^>]*>", " ", page).replace("-&gt;", "->")
    assert "deep belief network regressor" in text
    assert "10 -> 12 -> 8 -> 1" in text


@pytest.mark.parametrize("loss", ["softmax_nll", "cross_entropy"])
def test_several_columns_from_python_are_predicted_but_not_compared(loss, tmp_path):
    X, y = load_digits().data[:200] / 16, load_digits().target[:200]
    columns = np.column_stack([y % 2, y > 4]).astype(int)
    clf = DBNClassifier(pretrained=load(put_model(tmp_path, "dbn")), loss=loss, max_iter=2, random_state=0)
    clf.fit(X.astype(np.float32), columns)
    save(clf, "several.h5")
    np.savez("digits.npz", X=X.astype(np.float32), y=y)
    out = list(csv.reader(io.StringIO(good("predict", "several.h5", "digits.npz", "--labels", "y").stdout)))
    assert out[0] == ["label_0", "label_1"]
    np.testing.assert_array_equal(np.array(out[1:], int), clf.predict(X))
    shown = good("predict", "several.h5", "digits.npz", "--labels", "y", "--probabilities").stdout
    rows = list(csv.reader(io.StringIO(shown)))
    tasks = loss == "softmax_nll"
    assert rows[0] == (["label_0=0", "label_0=1", "label_1=0", "label_1=1"] if tasks else ["label_0", "label_1"])
    expected = np.hstack(clf.predict_proba(X)) if tasks else clf.predict_proba(X)
    np.testing.assert_allclose(np.array(rows[1:], float), expected, rtol=1e-6)
    assert "predicts 2 columns" in bad("evaluate", "several.h5", "digits.npz", "--labels", "y")


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_rows_without_a_number_are_left_out_and_counted(table):
    X, y = table
    rows = list(csv.reader(Path("table.csv").read_text().splitlines()))
    holes = {5: "", 17: "nan", 40: "NA"}
    for row, word in holes.items():
        rows[row + 1][-1] = word
    with Path("table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    known = np.setdiff1d(np.arange(300), list(holes))
    result = fine_tune("--force")
    assert "300 rows, 3 unlabelled" in result.stdout
    expected = DBNRegressor(pretrained=load("table.h5"), max_iter=20, random_state=2).fit(X[known], y[:300][known])
    tuned = load("table-tuned.h5")
    np.testing.assert_array_equal(tuned.predict(X), expected.predict(X))
    found = json.loads(good("evaluate", "table-tuned.h5", "table.csv", "--json").stdout)
    assert (found["rows"], found["unlabeled"]) == (297, 3)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(y[known], tuned.predict(X[known])))
    np.savez("np.npz", X=X[:300], y=np.where(np.isin(np.arange(300), list(holes)), np.nan, y[:300]))
    good("finetune", "table.h5", "np.npz:X", "--labels", "y", "--regression", "--epochs", 20, "--seed", 2, "--force")
    np.testing.assert_array_equal(load("table-tuned.h5").predict(X), tuned.predict(X))

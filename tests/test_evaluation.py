"""`evaluate`: one result for every kind of model, equal to what the command prints, with the right numbers."""

import json
import math

import numpy as np
import pytest
from cli_runs import bad, good, put_model
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.metrics import r2_score, root_mean_squared_error
from tables import case_by_case

from deepbelief import (
    DBN,
    RBM,
    AnomalyDetector,
    DBNClassifier,
    DBNRegressor,
    DeepAutoencoder,
    RBMClassifier,
    RecurrentRBM,
    Stack,
    evaluate,
    load,
    save,
)
from deepbelief.errors import DataError, GreyLevelError, SettingError
from deepbelief.evaluation import evaluate_likelihood, wilson_interval

Y = load_digits().target[:60]
X = (load_digits().data[:60] > 8).astype(np.float32)
RUN = {"random_state": 0, "max_iter": 1}
LENGTHS = [20, 40]


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_inverts_the_score_test(counts):
    wrong, n = counts
    low, high = wilson_interval(wrong, n)
    p = wrong / n
    assert 0 <= low <= p <= high <= 1
    assert (low == 0, high == 1) == (wrong == 0, wrong == n)
    for end in (low, high):
        if 0 < end < 1:  # there the observed rate is 1.96 standard errors away
            assert abs(p - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / n), rel=1e-5, abs=1e-12)


def fitted(kind):
    """Fit a tiny model of a kind; return it with the arguments of `evaluate` and of the command."""
    rbm, labels = RBM(n_iter=1), ("--labels", "y")
    match kind:
        case "RBM":
            return RBM(5, n_iter=1, random_state=0).fit(X), {}, ()
        case "DBN" | "Stack":
            dbn = DBN((6, 4), rbm=rbm, random_state=0).fit(X)
            return (dbn if kind == "DBN" else dbn.stack_), {}, ()
        case "DBNClassifier":
            return DBNClassifier((6, 4), rbm=rbm, **RUN).fit(X, Y), {"y": Y}, labels
        case "RBMClassifier":
            return RBMClassifier(6, rbm=rbm, random_state=0).fit(X, Y), {"y": Y}, labels
        case "DBNRegressor":
            return DBNRegressor((6, 4), rbm=rbm, **RUN).fit(X, Y), {"y": Y}, labels
        case "DeepAutoencoder":
            return DeepAutoencoder((6, 3), rbm=rbm, **RUN).fit(X), {"bits": 4}, ("--bits", "4")
        case _:
            model = RecurrentRBM(4, 3, n_iter=1, pretrain_frames=1, random_state=0).fit(X, lengths=LENGTHS)
            return model, {"lengths": LENGTHS}, ("--lengths", "lengths")


@case_by_case("kind", [
    "RBM", "DBN", "Stack", "DBNClassifier", "RBMClassifier", "DBNRegressor", "DeepAutoencoder", "RecurrentRBM",
])  # fmt: skip
def test_python_returns_what_the_command_prints(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    np.savez("rows.npz", X=X, y=Y, lengths=LENGTHS)
    model, arguments, options = fitted(kind)
    save(model, "m.h5")
    result = evaluate(model, X, **arguments)
    printed = json.loads(good("evaluate", "m.h5", "rows.npz:X", *options, "--json").stdout)
    assert {name: printed[name] for name in result.to_dict()} == json.loads(json.dumps(result.to_dict()))
    assert set(printed) - set(result.to_dict()) == {"model", "data"}
    text = good("evaluate", "m.h5", "rows.npz:X", *options).stdout
    for _, value in result.facts():
        assert value in text
        assert value in str(result)
    assert result.table() in text
    assert len(result.row_errors) == len(X)
    assert list(result.worst(3)) == sorted(range(60), key=lambda i: -result.row_errors[i])[:3]


def test_python_and_the_command_refuse_detectors_of_outliers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("rows.npz", X=X, y=np.where(Y == 0, -1, 1))
    model = AnomalyDetector(RBM(5, n_iter=1), random_state=0).fit(X)
    save(model, "m.h5")
    for y, options in ((None, ()), (np.where(Y == 0, -1, 1), ("--labels", "y"))):
        with pytest.raises(SettingError, match=r"got AnomalyDetector. Use find_outliers\(model, X\)"):
            evaluate(model, X, y)
        assert "only info and outliers accept it" in bad("evaluate", "m.h5", "rows.npz:X", *options)


def test_a_classification_has_its_wrong_rows_and_leaves_out_unlabelled_ones():
    model, _, _ = fitted("DBNClassifier")
    y = np.where(np.arange(60) < 10, -1, Y)
    found = evaluate(model, X, y)
    assert (found.n_rows, found.n_unlabeled) == (50, 10)
    assert found.n_wrong == (model.predict(X)[10:] != y[10:]).sum()
    assert np.isnan(found.row_errors[:10]).all()
    p = model.predict_proba(X)[np.arange(60), Y]
    np.testing.assert_allclose(found.row_errors[10:], -np.log(p[10:]), rtol=1e-5)
    assert found.nll == pytest.approx(-np.log(p[10:]).mean(), rel=1e-5)
    with pytest.raises(DataError, match="label 77 is not one of the model's classes"):
        evaluate(model, X, np.full(60, 77))
    with pytest.raises(DataError, match="`y` must be given"):
        evaluate(model, X)


def test_several_columns_have_a_result_each():
    both = np.column_stack([Y, Y % 2])
    tasks = evaluate(DBNClassifier((6,), rbm=RBM(n_iter=1), **RUN).fit(X, both), X, both)
    assert [each.confusion.shape for each in tasks.columns] == [(10, 10), (2, 2)]
    model = DBNRegressor((6,), rbm=RBM(n_iter=1), **RUN).fit(X, both.astype(float))
    values = evaluate(model, X, both)
    for k, each in enumerate(values.columns):
        assert each.rmse == pytest.approx(root_mean_squared_error(both[:, k], model.predict(X)[:, k]))
        assert each.r2 == pytest.approx(r2_score(both[:, k], model.predict(X)[:, k]))
    labels = np.eye(10, dtype=int)[Y]
    model = DBNClassifier((6,), rbm=RBM(n_iter=1), loss="cross_entropy", **RUN).fit(X, labels)
    matrix = evaluate(model, X, labels)
    wrong = [int(n) for n in (model.predict(X) != labels).sum(axis=0)]
    assert [each.n_wrong for each in matrix.columns] == wrong
    assert len(json.dumps(matrix.to_dict()["columns"])) > 0
    with pytest.raises(DataError, match="10 columns"):
        evaluate(model, X, labels[:, :3])


def test_arguments_of_other_kinds_of_models_are_refused(tmp_path):
    model, _, _ = fitted("DBN")
    with pytest.raises(SettingError, match="`bits` rounds the codes of an autoencoder, not of a DBN"):
        evaluate(model, X, bits=3)
    with pytest.raises(SettingError, match="`lengths` are for models of sequences"):
        evaluate(model, X, lengths=[60])
    with pytest.raises(SettingError, match="no longer reconstruct"):
        evaluate(load(put_model(tmp_path, "classifier")).stack_, X)


def test_likelihood_names_the_grey_level_in_fields():
    stack = Stack((fitted("DBN")[0].stack_.layers[0],))
    grey = X.copy()
    grey[7, 3] = 0.25
    with pytest.raises(GreyLevelError) as caught:
        evaluate_likelihood(stack, grey)
    assert (caught.value.row, caught.value.column, caught.value.value) == (7, 3, 0.25)
    found = evaluate_likelihood(stack, grey, binarize="threshold")
    assert found.likelihood.mean == pytest.approx(-found.row_errors.mean())
    assert "1 from a half on" in str(found)


def test_evaluate_and_score_leave_out_the_same_rows():
    gone = np.arange(60) % 4 == 0
    words = np.array(["zero", "one", "two", "three", "more"])[np.minimum(Y, 4)]
    classifier = DBNClassifier((4,), **RUN).fit(X, words)
    marked = [-1 if g else str(w) for g, w in zip(gone, words, strict=True)]
    for y in (np.where(gone, "", words), np.where(gone, None, words), marked):
        result = evaluate(classifier, X, y)
        assert (result.n_rows, result.n_unlabeled) == (45, 15)
        assert 1 - result.n_wrong / 45 == pytest.approx(classifier.score(X, y))
        assert classifier.score(X, y) == pytest.approx((classifier.predict(X[~gone]) == words[~gone]).mean())
    regressor = DBNRegressor((4,), **RUN).fit(X, Y)
    result = evaluate(regressor, X, np.where(gone, np.nan, Y))
    assert result.rmse == pytest.approx(root_mean_squared_error(Y[~gone], regressor.predict(X[~gone])))
    assert result.to_dict()["unlabeled"] == 15

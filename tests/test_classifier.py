"""DBNClassifier: all rows pretrain, labelled rows fine-tune, and what comes out of it."""

import sys
import traceback
from collections import Counter
from contextlib import nullcontext

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs
from sklearn.model_selection import cross_val_score, train_test_split
from tables import case_by_case

from deepbelief import DBN, RBM, DBNClassifier, DBNRegressor, DeepAutoencoder, RBMClassifier, save
from deepbelief.activations import ACTIVATIONS
from deepbelief.backends import get_backend
from deepbelief.errors import DataError, DataWarning, DivergenceError, DivergenceWarning, SettingError, TrainingWarning
from deepbelief.estimators import tuning
from deepbelief.estimators.labels import labelled_rows, row_weights
from deepbelief.losses import LOSSES
from deepbelief.network import layers_from_stack, moderated, stack_from_layers
from deepbelief.pretraining import transform
from deepbelief.sizing import suggest_layer_sizes
from deepbelief.sources import as_source
from deepbelief.stack import Stack, Weights
from deepbelief.training import Reporter

SHORT = {"rbm": RBM(n_iter=2, batch_size=20), "max_iter": 4, "random_state": 0}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    causes = rng.random((120, 2)) < 0.5
    X = (np.repeat(causes, 5, axis=1) ^ (rng.random((120, 10)) < 0.1)).astype(np.float64)
    return X, causes[:, 0] * 2 + causes[:, 1]


@pytest.fixture(scope="module")
def stack(data):
    return DBN((6, 5), rbm=SHORT["rbm"], random_state=1).fit(data[0]).stack_


def spy_on(monkeypatch, name, module=tuning):
    """Note the arguments of every call."""
    seen, function = [], getattr(module, name)

    def spy(*args, **kwargs):
        seen.append(args)
        return function(*args, **kwargs)

    monkeypatch.setattr(module, name, spy)
    return seen


@pytest.mark.slow
def test_defaults_learn_blobs_scaled_or_not():
    X, y = make_blobs(300, centers=4, n_features=6, random_state=0)
    for rows in (X, (X - X.min(axis=0)) / np.ptp(X, axis=0)):
        X_train, X_test, y_train, y_test = train_test_split(rows, y, random_state=0)
        assert DBNClassifier(max_iter=20, random_state=0).fit(X_train, y_train).score(X_test, y_test) > 0.95


def test_prediction_is_the_network_written_out(data):
    X, y = data
    clf = DBNClassifier((6, 5), **SHORT).fit(X, np.array(list("wxyz"))[y])
    h = X
    for W, b in zip(clf.coefs_[:-1], clf.intercepts_[:-1], strict=True):
        h = 1 / (1 + np.exp(-h @ W - b))
    np.testing.assert_allclose(clf.transform(X), h, rtol=1e-10)
    logits = h @ clf.coefs_[-1] + clf.intercepts_[-1]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(clf.predict_proba(X), p, rtol=1e-10)
    np.testing.assert_allclose(clf.predict_log_proba(X), np.log(p), rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(clf.predict(X), np.array(list("wxyz"))[p.argmax(axis=1)])
    assert clf.classes_.tolist() == list("wxyz")
    assert clf.score(X, np.array(list("wxyz"))[y]) == (p.argmax(axis=1) == y).mean()


def test_predict_log_proba_is_finite_where_a_class_is_impossible(data):
    clf = DBNClassifier((6,), **SHORT).fit(*data)
    clf.intercepts_[-1][0] = -2000
    assert clf.predict_proba(data[0])[:, 0].max() == 0
    assert np.isfinite(clf.predict_log_proba(data[0])).all()


def test_the_fine_tuned_stack_computes_what_transform_gives(data):
    for settings in ({}, {"activation": "tanh"}, {"rbm": RBM(hidden="rectified", n_iter=2)}):
        clf = DBNClassifier((6, 5), **SHORT | settings).fit(*data)
        assert clf.stack_.tuned
        assert not clf.pretrained_stack_.tuned
        assert clf.stack_.sizes == (10, 6, 5)
        hidden = transform(clf.stack_, as_source(data[0]), get_backend("numpy"))
        out = clf.transform(data[0])
        np.testing.assert_allclose(out if clf.activation != "tanh" else (1 + out) / 2, hidden, rtol=1e-9, atol=1e-12)


def test_fine_tuning_starts_from_the_pretrained_stack_with_an_empty_head(data, stack, monkeypatch):
    seen = spy_on(monkeypatch, "finetune")
    DBNClassifier(pretrained=stack, **SHORT).fit(*data)
    layers, head = seen[0][:2]
    for layer, weights in zip(layers, stack, strict=True):
        np.testing.assert_array_equal(layer.W, weights.W)
        np.testing.assert_array_equal(layer.bias, weights.hbias)
    assert [a.shape for a in head] == [(5, 4), (4,)]
    assert not any(a.any() for a in head)


@case_by_case(
    ("y", "unlabeled", "known"),
    [
        ([0, 1, -1, 1], "auto", [1, 1, 0, 1]),
        ([0.0, 1.0, -1.0, 1.0], "auto", [1, 1, 0, 1]),
        ([-1, 1, -1, 1], "auto", [1, 1, 1, 1]),  # an ordinary binary problem
        ([-1, 5, 5, 5], "auto", [1, 1, 1, 1]),
        ([-1, -1, -1, -1], "auto", [1, 1, 1, 1]),
        (["a", "-1", "b", "a"], "auto", [1, 0, 1, 1]),  # the same mark as text
        (["-1", "a", "a", "-1"], "auto", [1, 1, 1, 1]),
        (["a", "-1", " ", "b"], None, [1, 1, 0, 1]),  # an empty text never is a label
        ([0, np.nan, 0, 1], "auto", [1, 0, 1, 1]),
        ([0, np.nan, -1, 1], None, [1, 0, 1, 1]),
        ([np.nan, 1, -1, 1], "auto", [0, 1, 1, 1]),  # what is missing is no other label
        ([True, False, True, True], "auto", [1, 1, 1, 1]),
        ([0, 1, -1, 1], None, [1, 1, 1, 1]),
        ([-1, 1, -1, 1], -1, [0, 1, 0, 1]),
        ([0, 1, 9, 1], 9, [1, 1, 0, 1]),
        (["a", "?", "b", "auto"], "?", [1, 0, 1, 1]),
        (["a", "b", "", "b"], "", [1, 1, 0, 1]),
        (["a", "b", "c", "b"], -1, [1, 1, 1, 1]),
        (["-1.0", "0.0", "1.0", "1.0"], "auto", [0, 1, 1, 1]),  # a column of floats as texts
        (["a", "7", "7.0", "b"], 7, [1, 0, 0, 1]),
    ],
)
def test_what_marks_unlabelled_rows(y, unlabeled, known):
    for labels in (np.array(y), np.array(y, dtype=object)):
        found = labelled_rows(labels, unlabeled)
        assert found.dtype == bool
        np.testing.assert_array_equal(found, np.array(known, bool))


def with_missing(kind):
    """Return labels of four classes in which every third is missing, and those that remain."""
    pd = pytest.importorskip("pandas")
    y = np.arange(120) % 4
    gone = np.arange(120) % 3 == 0
    words = np.array(["w", "x", "y", "z"])[y]
    huge = [2**63 + 5 * c for c in range(4)]
    made = {
        "float NaN": lambda: np.where(gone, np.nan, y),
        "list of None": lambda: [None if g else int(c) for g, c in zip(gone, y, strict=True)],
        "huge and None": lambda: [None if g else huge[c] for g, c in zip(gone, y, strict=True)],
        "object -1": lambda: np.where(gone, -1, y).astype(object),
        "categorical": lambda: pd.Categorical(np.where(gone, np.nan, y)),
        "index": lambda: pd.Index(np.where(gone, np.nan, y)),
        "texts and -1": lambda: [-1 if g else c for g, c in zip(gone, words.tolist(), strict=True)],
        "texts and '-1'": lambda: np.where(gone, "-1", words),
        "texts and NaN": lambda: np.array([np.nan if g else c for g, c in zip(gone, words, strict=True)], object),
        "empty texts": lambda: np.where(gone, "", words),
        "Int64": lambda: pd.Series(np.where(gone, -7, y)).replace(-7, pd.NA).astype("Int64"),
        "boolean": lambda: pd.Series(
            [pd.NA if g else bool(c % 2) for g, c in zip(gone, y, strict=True)], dtype="boolean"
        ),
        "string": lambda: pd.Series([pd.NA if g else c for g, c in zip(gone, words, strict=True)], dtype="string"),
        "category": lambda: pd.Series([None if g else c for g, c in zip(gone, words, strict=True)], dtype="category"),
        "masked": lambda: np.ma.array(y, mask=gone),
    }
    known = np.array(huge, np.uint64)[y] if "huge" in kind else y % 2 == 1 if kind == "boolean" else y
    text = any(word in kind for word in ("text", "string", "category"))
    return made[kind](), (words if text else known)[~gone], ~gone


@case_by_case(
    "kind",
    ["float NaN", "list of None", "huge and None", "object -1", "texts and -1", "texts and '-1'", "texts and NaN",
     "empty texts", "Int64", "boolean", "string", "category", "masked", "categorical", "index"],
)  # fmt: skip
@case_by_case("make", [DBNClassifier, RBMClassifier])
def test_missing_labels_of_every_kind_are_left_out(data, stack, kind, make):
    y, known, index = with_missing(kind)
    X = data[0]
    lines = []

    class Notes(Reporter):
        def note(self, text):
            if "unlabelled" in text:
                lines.append(text)

    settings = {"max_iter": 1, "pretrained": stack} if make is DBNClassifier else {"rbm": SHORT["rbm"]}
    clf = make(random_state=0, verbose=Notes(), **settings).fit(X, y)
    assert clf.n_unlabeled_ == 40
    assert len(lines) == 1
    assert "40 of 120 rows" in lines[0]
    assert clf.classes_.tolist() == np.unique(known).tolist()
    assert clf.score(X, y) == pytest.approx((clf.predict(X[index]) == known).mean())
    alone = make(random_state=0, **settings).fit(X[index], known)
    np.testing.assert_array_equal(clf.predict_proba(X[:5]), alone.predict_proba(X[:5]))


@case_by_case("make", [DBNClassifier, RBMClassifier])
@case_by_case("text", [False, True])
def test_a_class_of_minus_one_is_asked_about(data, make, text):
    X, y = data[0], np.arange(120) % 3 - 1
    y = y.astype(str) if text else y
    settings = {"max_iter": 1} if make is DBNClassifier else {}
    settings |= {"rbm": SHORT["rbm"], "random_state": 0}
    with pytest.warns(DataWarning, match=r"its 40 rows labelled -1 were treated as unlabelled: pass unlabeled=None"):
        clf = make(**settings).fit(X, y)
    assert clf.classes_.astype(int).tolist() == [0, 1]
    assert clf.n_unlabeled_ == 40
    assert make(unlabeled=-1, **settings).fit(X, y).n_unlabeled_ == 40
    kept = make(unlabeled=None, **settings).fit(X, y)
    assert kept.classes_.astype(int).tolist() == [-1, 0, 1]
    assert kept.score(X, y) == pytest.approx((kept.predict(X) == y).mean())


@case_by_case("mark", [-1, 7, "?"])
def test_all_rows_pretrain_and_the_labelled_ones_fine_tune(data, mark, monkeypatch):
    X, y = data
    y = np.array(list("wxyz"))[y] if mark == "?" else y.copy()
    hidden_from_it = np.random.default_rng(0).random(120) < 0.7
    y[hidden_from_it] = mark
    pretrained, tuned = spy_on(monkeypatch, "stack_pretraining"), spy_on(monkeypatch, "finetune")
    clf = DBNClassifier((6, 5), unlabeled="auto" if mark == -1 else mark, **SHORT).fit(X, y)
    assert clf.n_unlabeled_ == hidden_from_it.sum()
    assert mark not in clf.classes_.tolist()
    assert len(clf.classes_) == 4
    np.testing.assert_array_equal(pretrained[0][1].take(slice(None)), X)
    train = tuned[0][3]
    np.testing.assert_array_equal(train.rows.take(slice(None)), X[~hidden_from_it])
    np.testing.assert_array_equal(clf.classes_[train.targets], y[~hidden_from_it])
    alone = DBNClassifier((6, 5), pretrained=clf.pretrained_stack_, **SHORT).fit(X[~hidden_from_it], y[~hidden_from_it])
    for a, b in zip(alone.coefs_, clf.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


def test_labels_that_cannot_be_used(data):
    X, y = data
    cases = [
        (np.full(120, -1), {"unlabeled": -1}, "every row is unlabelled.*DBN"),
        (np.full(120, 3), {}, "at least 2 classes, got 1 class: 3$"),
        (np.where(y, 3, -1), {"unlabeled": -1}, "at least 2 classes, got 1"),
        (y + 0.5, {}, "Unknown label type: continuous"),
        (np.where(y, y, np.inf), {}, "infinity"),
        (np.full(120, np.nan), {}, "every row is unlabelled.*DBN"),
        ([1, "a"] * 60, {}, "y must be numbers or strings, got both, such as 1 and 'a'"),
        ([3 + 1j, 4 + 2j] * 60, {}, "unknown|Complex"),
        (y[:-1], {}, "inconsistent|119"),
        ([[1], [1, 2]] * 60, {}, r"y must have a label for each row, a number or a string, got \[1\]"),
        (y, {"unlabeled": []}, r"unlabeled must be 'auto', None or a label, a number or a string, got \[\]"),
        (np.stack([y, y], axis=-1)[:, None], {}, "dim 3"),
    ]
    for labels, settings, match in cases:
        for rows in (X, as_source(X)):
            with pytest.raises(ValueError, match=match):
                DBNClassifier((6,), **SHORT | settings).fit(rows, labels)


@case_by_case("make", [DBNClassifier, RBMClassifier])
@case_by_case("text", ["nan", "None", "NaT", "<NA>"])
def test_a_missing_label_turned_into_a_text_is_asked_about(data, make, text):
    y = np.where(data[1] == 0, text, np.array(list("wxyz"))[data[1]])
    settings = {"max_iter": 1} if make is DBNClassifier else {}
    with pytest.warns(DataWarning, match=f"y has the class '{text}', the text of a missing label"):
        clf = make(rbm=SHORT["rbm"], random_state=0, **settings).fit(data[0], y)
    assert text in clf.classes_


@case_by_case("label", [np.array, lambda y: y > 1, lambda y: y * 0.5 - 1, lambda y: np.array(list("wxyz"))[y]])
def test_labels_of_every_type_come_back_as_they_were(data, label):
    y = label(data[1])
    if y.dtype == float:
        y = y.round()
    clf = DBNClassifier((6,), unlabeled=None, **SHORT).fit(data[0], y)
    assert clf.classes_.dtype == clf.predict(data[0]).dtype == y.dtype
    assert set(clf.predict(data[0])) <= set(y)


def test_pretrained_takes_a_stack_a_path_and_fitted_estimators(data, stack, tmp_path):
    X, y = data
    expected = DBNClassifier(pretrained=stack, **SHORT).fit(X, y)
    dbn = DBN((6, 5), rbm=SHORT["rbm"], random_state=1).fit(X)
    save(stack, tmp_path / "stack.h5")
    save(dbn, tmp_path / "dbn.h5")
    for given in (dbn, tmp_path / "stack.h5", str(tmp_path / "dbn.h5")):
        clf = DBNClassifier(pretrained=given, **SHORT).fit(X, y)
        np.testing.assert_array_equal(clf.predict_proba(X), expected.predict_proba(X))
        assert {r["phase"] for r in clf.history_} == {"finetune"}
    rbm = RBM(5, n_iter=1, random_state=0).fit(X)
    assert DBNClassifier(pretrained=rbm, **SHORT).fit(X, y).stack_.sizes == (10, 5)
    tuned = DBNClassifier(pretrained=expected, **SHORT).fit(X, y)
    np.testing.assert_array_equal(tuned.pretrained_stack_.layers[0].W, expected.stack_.layers[0].W)


def test_pretrained_that_does_not_fit(data, stack, tmp_path):
    X, y = data
    dbn = DBN((6, 5), rbm=SHORT["rbm"]).fit(X)
    with pytest.raises(SettingError, match=r"not fitted.*pretrained=dbn\.stack_"):
        clone(DBNClassifier(pretrained=dbn, **SHORT)).fit(X, y)
    scores = cross_val_score(DBNClassifier(pretrained=dbn.stack_, **SHORT), X, y, cv=2, error_score="raise")
    assert len(scores) == 2
    with pytest.raises(DataError, match=r"8 features.*expects 10"):
        DBNClassifier(pretrained=stack, **SHORT).fit(X[:, :8], y)
    with pytest.raises(DataError, match="nowhere"):
        DBNClassifier(pretrained=tmp_path / "nowhere.h5", **SHORT).fit(X, y)
    broken = X.copy()
    broken[11, 2] = np.inf
    with pytest.raises(DataError, match="row 11, column 2"):
        DBNClassifier(pretrained=stack, **SHORT).fit(as_source(broken), y)


def test_a_stack_of_scaled_rows_keeps_their_scale():
    X, y = make_blobs(100, centers=3, n_features=5, random_state=0)
    X = X * [1, 10, 100, 1000, 1e-3] + 7
    dbn = DBN((8,), rbm=RBM(n_iter=3), random_state=0).fit(X)
    clf = DBNClassifier(pretrained=dbn.stack_, max_iter=30, random_state=0).fit(X, y)
    assert clf.score(X, y) > 0.9
    np.testing.assert_array_equal(clf.stack_.layers[0].mean, dbn.stack_.layers[0].mean)
    # Products of 3 and of 100 rows may be summed in another order, of 5 and 8 terms each.
    np.testing.assert_allclose(clf.predict_proba(X[:3]), clf.predict_proba(X)[:3], rtol=1e-12)


def test_auto_sizes_are_those_suggested_for_a_classifier(data):
    X = np.random.default_rng(0).random((60, 30))
    clf = DBNClassifier(rbm=RBM(n_iter=1), max_iter=1).fit(X, np.arange(60) % 3)
    assert clf.stack_.sizes == (30, *suggest_layer_sizes(30, 60, 3).hidden_layer_sizes)


def test_weights_by_row_times_class():
    y, known = np.array([3, 5, 5, -1]), np.array([1, 1, 1, 0], bool)
    assert row_weights(y, known, None, None) is None
    assert row_weights(y, known, [1, 2, 3, 9], None).tolist() == [1, 2, 3]
    assert row_weights(y, known, None, {3: 4, 5: 1}).tolist() == [4, 1, 1]
    assert row_weights(y, known, [1, 2, 3, 9], {3: 4, 5: 0.5}).tolist() == [4, 1, 1.5]
    np.testing.assert_allclose(row_weights(y, known, None, "balanced"), [1.5, 0.75, 0.75])


@pytest.mark.parametrize("early_stopping", [False, True])
def test_sample_weight_reaches_the_engine_in_the_rows_order(data, early_stopping, monkeypatch):
    X, y = data
    y = np.where(np.arange(120) % 4 == 0, -1, y)
    weights = np.arange(120.0)
    seen = spy_on(monkeypatch, "finetune")
    rows = X.copy()
    rows[:, 0] = weights / 120
    DBNClassifier((6,), early_stopping=early_stopping, **SHORT).fit(rows, y, sample_weight=weights)
    train = seen[0][3]
    np.testing.assert_allclose(train.rows.take(slice(None))[:, 0] * 120, train.weights)
    assert len(train.targets) == (81 if early_stopping else 90)


def test_weights_that_cannot_be_used(data):
    X, y = data
    few = np.zeros(120)
    few[:1] = 1
    for weights, match in [(np.zeros(120), "above 0|non-zero"), (-np.ones(120), "at least 0"), (np.ones(3), "one"),
                           (np.full(120, np.nan), "finite|NaN")]:  # fmt: skip
        with pytest.raises(ValueError, match=match):
            DBNClassifier((6,), **SHORT).fit(X, y, sample_weight=weights)
    with pytest.raises(DataError, match="fine-tuning are 0"):
        DBNClassifier((6,), **SHORT).fit(X, np.where(few, -1, y), sample_weight=few)
    with pytest.raises(DataError, match="early stopping are 0"):
        DBNClassifier((6,), early_stopping=True, **SHORT).fit(X, y, sample_weight=few)


def test_early_stopping_holds_out_by_class_and_judges_by_accuracy(data, monkeypatch):
    X, y = data
    seen = []
    finetune = tuning.finetune

    def spy(*args, **kwargs):
        seen.append((args[3], kwargs["validation"]))
        return finetune(*args, **kwargs)

    monkeypatch.setattr(tuning, "finetune", spy)
    settings = SHORT | {"max_iter": 100}
    clf = DBNClassifier((6,), early_stopping=True, validation_fraction=0.25, n_iter_no_change=2, **settings).fit(X, y)
    train, held = seen[0]
    assert (len(train.targets), len(held.targets)) == (90, 30)
    np.testing.assert_allclose(np.bincount(held.targets) / 30, np.bincount(y) / 120, atol=0.04)
    together = np.concatenate([train.rows.take(slice(None)), held.rows.take(slice(None))])
    np.testing.assert_array_equal(np.sort(together.ravel()), np.sort(X.ravel()))
    assert clf.n_iter_ == len(clf.loss_curve_) < 100
    scores = [r["validation_score"] for r in clf.history_ if r["phase"] == "finetune"]
    reached = (clf.classes_[clf.predict_proba(held.rows.take(slice(None))).argmax(axis=1)] == held.targets).mean()
    assert reached == pytest.approx(max(scores), abs=1e-4)


def test_warm_start_goes_on_from_the_fine_tuned_weights(data, monkeypatch):
    """Epochs count on; the velocities, and a falling rate, begin anew with each fit."""
    X, y = data
    plain = SHORT | {"max_iter": 3, "schedule": "constant", "momentum": 0.0, "warm_start": True}
    pretrained = spy_on(monkeypatch, "stack_pretraining")
    parts = DBNClassifier((6,), **plain).fit(X, y).fit(X, y)
    assert len(pretrained) == 1
    assert parts.n_iter_ == len(parts.loss_curve_) == 6
    whole = DBNClassifier((6,), **plain | {"max_iter": 6}).fit(X, y)
    np.testing.assert_array_equal(parts.predict_proba(X), whole.predict_proba(X))
    anew = DBNClassifier((6,), **plain | {"warm_start": False}).fit(X, y)
    before = anew.predict_proba(X)
    np.testing.assert_array_equal(anew.fit(X, y).predict_proba(X), before)
    assert anew.n_iter_ == 3


def test_warm_start_with_tanh_goes_on_from_the_network_itself(data):
    plain = SHORT | {"max_iter": 2, "schedule": "constant", "momentum": 0.0, "warm_start": True, "activation": "tanh"}
    parts = DBNClassifier((6, 5), **plain).fit(*data).fit(*data)
    whole = DBNClassifier((6, 5), **plain | {"max_iter": 4}).fit(*data)
    np.testing.assert_array_equal(parts.predict_proba(data[0]), whole.predict_proba(data[0]))


def test_warm_start_refuses_other_classes_and_features_and_stays_as_it_was(data):
    X, y = data
    clf = DBNClassifier((6,), warm_start=True, **SHORT).fit(X, y)
    before = clf.predict_proba(X)
    with pytest.raises(DataError, match=r"classes \[0, 1, 2, 3\], y has \[5, 6, 7, 8\]"):
        clf.fit(X, y + 5)
    with pytest.raises(DataError, match="classes"):
        clf.fit(X, y % 2)
    with pytest.raises(ValueError, match="8 features, but DBNClassifier is expecting 10"):
        clf.fit(X[:, :8], y)
    np.testing.assert_array_equal(clf.predict_proba(X), before)
    assert clf.classes_.tolist() == [0, 1, 2, 3]


def test_a_rate_that_is_far_too_large_is_an_error_with_one_to_try(data):
    with pytest.raises(DivergenceError, match=r"fine-tuning diverged in epoch 1.*learning_rate_init=1e\+08"):
        DBNClassifier((6,), learning_rate_init=1e9, **SHORT).fit(*data)


def test_divergence_later_warns_and_keeps_finite_weights(data):
    def explode(position):
        return 1.0 if position < 0.5 else 1e12

    with pytest.warns(DivergenceWarning, match=r"learning_rate_init=0\.01.*last good epoch") as caught:
        clf = DBNClassifier((6,), schedule=explode, learning_rate_init=0.1, **SHORT).fit(*data)
    assert caught[0].filename == __file__
    assert all(np.isfinite(a).all() for a in clf.coefs_ + clf.intercepts_)
    assert np.isfinite(clf.predict_proba(data[0])).all()


def test_history_is_that_of_pretraining_and_then_of_fine_tuning(data):
    records = []

    class Remember(Reporter):
        def record(self, record):
            records.append(record)

    clf = DBNClassifier((6, 5), n_passes=2, verbose=Remember(), **SHORT).fit(*data)
    assert clf.history_ == records
    assert [r["phase"] for r in records] == ["pretrain"] * 8 + ["finetune"] * 4
    assert clf.loss_curve_ == [r["loss"] for r in records[8:]]
    assert clf.n_iter_ == 4


@case_by_case("activation", ["sigmoid", "tanh", "relu", "identity"])
def test_every_activation_learns(data, activation):
    clf = DBNClassifier((12,), activation=activation, **SHORT | {"max_iter": 30}).fit(*data)
    assert clf.score(*data) > 0.9


def test_methods_ask_for_fit_first(data):
    from sklearn.exceptions import NotFittedError

    for method in ("predict", "predict_proba", "predict_log_proba", "transform"):
        with pytest.raises(NotFittedError):
            getattr(DBNClassifier(), method)(data[0])
    for name in ("loss_curve_", "n_iter_"):
        assert not hasattr(DBNClassifier(), name)


def test_round_trip_between_stack_and_layers_is_what_fit_uses(data, stack):
    clf = DBNClassifier(pretrained=stack, activation="tanh", **SHORT).fit(*data)
    rebuilt = stack_from_layers(stack, clf._layers())
    for a, b in zip(rebuilt, clf.stack_, strict=True):
        np.testing.assert_array_equal(a.W, b.W)
    for layer, W in zip(layers_from_stack(clf.stack_, "tanh"), clf.coefs_, strict=False):
        np.testing.assert_allclose(layer.W, W, rtol=1e-12)
    assert isinstance(clf.pretrained_stack_, Stack)


@case_by_case(
    ("activation", "limit"),
    [
        ("auto", lambda n, m: np.sqrt(6 / n)), ("sigmoid", lambda n, m: 4 * np.sqrt(6 / (n + m))),
        ("tanh", lambda n, m: np.sqrt(6 / (n + m))), ("hard_tanh", lambda n, m: np.sqrt(6 / (n + m))),
        ("softsign", lambda n, m: np.sqrt(6 / (n + m))), ("relu", lambda n, m: np.sqrt(6 / n)),
        ("identity", lambda n, m: np.sqrt(6 / (n + m))),
    ],
)  # fmt: skip
def test_without_pretraining_weights_are_drawn_for_the_activation(activation, limit, data):
    """Glorot and Bengio (2010), He et al. (2015): the first layers as a rate of almost 0 leaves them."""
    clf = DBNClassifier(
        (30, 20), pretraining="none", activation=activation, learning_rate_init=1e-12, max_iter=1, alpha=0.0
    ).fit(*data)
    for W, bias in zip(clf.coefs_[:-1], clf.intercepts_, strict=False):
        r = limit(*W.shape)
        assert 0.97 * r < np.abs(W).max() <= r * (1 + 1e-6)  # of 300 draws the largest: below 0.97 r once in 9,000
        assert W.std() == pytest.approx(r / np.sqrt(3), rel=0.15)
        np.testing.assert_allclose(bias, 0, atol=1e-9)
    assert not clf.pretrained_stack_.tuned
    np.testing.assert_allclose(clf.transform(data[0]), clf.transform(data[0].astype(np.float32)), atol=1e-5)


@case_by_case("sizes", [(6,), (6, 4), [5, 6], 6])
def test_sizes_that_disagree_with_a_given_stack_are_refused(sizes, data, stack):
    with pytest.raises(SettingError, match="disagrees with the pretrained stack, whose layers have 6, 5 units"):
        DBNClassifier(sizes, pretrained=stack).fit(*data)


def test_sizes_that_agree_with_a_given_stack_change_nothing(data, stack):
    one, other = (DBNClassifier(sizes, pretrained=stack, **SHORT).fit(*data) for sizes in ("auto", [6, 5]))
    np.testing.assert_array_equal(one.predict_proba(data[0]), other.predict_proba(data[0]))


@pytest.mark.parametrize("activation", ["relu", "identity", pytest.param("softsign", marks=pytest.mark.slow)])
def test_an_activation_unlike_the_stacks_units_trains_at_the_default_rate(activation):
    rows, y = load_digits(return_X_y=True)
    X = np.repeat(rows / 16, 8, axis=1).astype(np.float32)  # 512 columns
    stack = DBN((256, 128), rbm=RBM(n_iter=3), random_state=0).fit(X[300:]).stack_
    clf = DBNClassifier(
        pretrained=stack, activation=activation, dropout=0.0, input_dropout=0.0, max_iter=5, random_state=0
    )
    clf.fit(X[300:], y[300:])
    assert clf.score(X[:300], y[:300]) > 0.85
    assert np.diff(clf.loss_curve_).max() < 0


def test_starting_layers_pass_on_values_of_moderate_size():
    rng = np.random.default_rng(0)
    X, W, V = rng.random((50, 8)), rng.normal(0, 9, (8, 6)), rng.normal(0, 0.01, (6, 4))
    stack = Stack((Weights(W, np.zeros(8), np.ones(6)), Weights(V, np.zeros(6), np.zeros(4))))
    first, second = moderated(layers_from_stack(stack, "relu"), stack, X)
    size = np.sqrt(np.square(X @ W + 1).mean())
    np.testing.assert_allclose([first.W[0, 0], first.bias[0]], [W[0, 0] / size, 1 / size])
    assert second.W is V  # small enough as it is
    for activation in ("auto", "tanh"):  # which take over the stack exactly
        exact = layers_from_stack(stack, activation)
        kept = moderated(exact, stack, X)
        assert all(a.W is b.W and a.bias is b.bias for a, b in zip(exact, kept, strict=True))


def test_a_fit_that_learned_nothing_says_so():
    X = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
    y = np.array([0, 1, 1, 0])
    for targets in (y, np.column_stack([y, y[::-1]]).tolist()):
        with pytest.warns(TrainingWarning, match=r"DBNClassifier has learned nothing .* same for all rows. Try .*tanh"):
            DBNClassifier((8,), rbm=RBM(), max_iter=10, random_state=0).fit(X, targets)
    rng = np.random.default_rng(0)
    X = rng.random((400, 2))
    y = (X[:, 0] > 0.5) != (X[:, 1] > 0.5)
    with pytest.warns(TrainingWarning, match=r"RBMClassifier has learned nothing .* that of constant outputs, .* Try"):
        RBMClassifier(16, rbm=RBM(n_iter=10), random_state=0).fit(X, y)
    with pytest.warns(TrainingWarning, match=r"DBNRegressor has learned nothing .* Try less dropout"):
        DBNRegressor((16,), dropout=0.5, max_iter=10, random_state=0).fit(X, rng.normal(size=400))


@case_by_case(
    ("trained", "given", "told"),
    [
        (lambda X: X / 255, lambda X: X, "255 times"),
        (lambda X: X, lambda X: X / 255, "0.00392 times"),
        (lambda X: X - 5, lambda X: 50 * X - 250, "50 times"),
        (lambda X: X - 5, lambda X: X + 95, "standard deviations away"),
        (lambda X: X, lambda X: X[::-1] * 0.9, None),
        (lambda X: 3 * X - 5, lambda X: 3 * X[::2] - 5, None),
    ],
)
def test_rows_in_other_units_than_the_stacks_are_told(trained, given, told):
    rng = np.random.default_rng(0)
    X, y = rng.random((200, 12)), np.arange(200) % 2
    X[:, 0] = y
    stack = DBN((6,), rbm=RBM(n_iter=1), random_state=0).fit(trained(X)).stack_
    rows = given(X)
    context = (
        nullcontext() if told is None else pytest.warns(DataWarning, match=f"other units .*{told}.*Scale the rows")
    )
    with context:
        DBNClassifier(pretrained=stack, max_iter=1).fit(rows, y[: len(rows)])


class Traced:
    """NumPy's backend, which notes by how many frames of the package each matrix product is reached."""

    name = "traced"

    def __init__(self):
        self._inner, self.depths = get_backend("numpy"), Counter()

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def matmul(self, rows, W, out=None):
        frames = [frame for frame, _ in traceback.walk_stack(sys._getframe(1))]
        self.depths[sum(frame.f_globals["__name__"].startswith("deepbelief.") for frame in frames)] += 1
        return self._inner.matmul(rows, W, out)


def test_fit_reaches_the_matrix_product_in_ten_frames(data):
    backend = Traced()
    DBNClassifier((6, 5), backend=backend, **SHORT).fit(*data)
    assert sum(backend.depths.values()) > 100
    assert max(backend.depths) <= 10


@case_by_case("loss", ["auto", "squared_error", "cross_entropy"])
def test_activations_and_losses_are_made_in_fit_and_not_at_prediction(loss, data, monkeypatch):
    X, y = data
    settings = {"loss": loss} | SHORT
    if loss == "auto":
        model = DBNClassifier((6, 5), activation="tanh", **settings).fit(X, y)
    elif loss == "squared_error":
        model = DBNRegressor((6, 5), **settings).fit(X, X[:, :2])
    else:
        model = DeepAutoencoder((6, 5), **settings).fit(X)
    methods = [getattr(model, name) for name in ("predict", "predict_proba", "transform") if hasattr(model, name)]
    before = [method(X) for method in methods]

    def refuse(*_):
        raise AssertionError

    for registry in (ACTIVATIONS, LOSSES):
        for name in registry:
            monkeypatch.setitem(registry, name, refuse)
    for result, method in zip(before, methods, strict=True):
        np.testing.assert_array_equal(method(X), result)


@pytest.mark.slow
def test_three_pretrained_layers_made_linear_train_at_the_default_rate():
    rows, y = load_digits(return_X_y=True)
    images = np.repeat(np.repeat(rows.reshape(-1, 8, 8), 3, axis=1), 3, axis=2)
    X = np.pad(images, ((0, 0), (2, 2), (2, 2))).reshape(-1, 784).astype(np.float32) / 16
    clf = DBNClassifier((512, 256, 128), rbm=RBM(n_iter=10), activation="identity", max_iter=3, random_state=0)
    assert clf.fit(X[300:], y[300:]).score(X[:300], y[:300]) > 0.85  # at a rate of 0.03 it diverges
    assert clf.resolved_["learning_rate_init"].value == 0.01


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
@pytest.mark.parametrize("labels", [["a", "b", None], [0, 1, None], [0.0, 1.0, None]], ids=str)
def test_columns_of_other_libraries_have_missing_labels(library, labels):
    module = pytest.importorskip(library)
    column = (module.Series if library == "polars" else module.array)(labels * 5)
    X = np.tile(np.eye(3), (5, 1))
    clf, same = (
        DBNClassifier((3,), max_iter=1, rbm=RBM(n_iter=1), random_state=0).fit(X, y) for y in (column, labels * 5)
    )
    assert clf.n_unlabeled_ == 5
    np.testing.assert_array_equal(clf.classes_, same.classes_)
    np.testing.assert_array_equal(clf.coefs_[0], same.coefs_[0])

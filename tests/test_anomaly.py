"""The outlier detector: scikit-learn's checks, raw tables, exact conditional surprise, and what it finds."""

import itertools
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from tables import case_by_case

from deepbelief import DBN, RBM, AnomalyDetector, DBNClassifier, DeepAutoencoder, load, save
from deepbelief.errors import DataError, DataWarning, FileFormatError, SettingError
from deepbelief.estimators import anomaly
from deepbelief.estimators.persistence import from_model_file, to_model_file
from deepbelief.estimators.views import reconstruct, rows_of
from deepbelief.stack import Stack


def table(n=300, seed=0):
    """Return a table whose columns agree with each other, but for its last ten rows."""
    rng = np.random.default_rng(seed)
    size = rng.normal(1e4, 2e3, n)
    colour = np.where(size > 1e4, "red", "blue").astype(object)
    colour[-10:] = np.where(size[-10:] > 1e4, "blue", "red")
    share = size / 1e9 + rng.normal(0, 1e-8, n)
    share[-10:] = rng.normal(2e-5, 1e-6, 10)
    frame = pd.DataFrame({"size": size, "share": share, "colour": colour, "constant": 1.0})
    frame.loc[::9, "size"] = np.nan
    frame.loc[4::17, "colour"] = None
    return frame, np.r_[np.zeros(n - 10, bool), np.ones(10, bool)]


def shorten(monkeypatch, n_updates):
    """Let each model of a detector make this number of updates."""
    for name in ("DENSITY_UPDATES", "GAUSSIAN_UPDATES", "RECONSTRUCTION_UPDATES"):
        monkeypatch.setattr(anomaly, name, n_updates)


@pytest.fixture
def quick(monkeypatch):
    """Make fits short where their quality does not matter."""
    shorten(monkeypatch, 8)


def test_columns_that_say_nothing_are_left_out_and_told(quick):
    frame = table()[0].assign(ticket=[f"t{i}" for i in range(300)], empty=np.nan)
    with pytest.warns(DataWarning, match=r"'ticket' \(300 values in 300 rows.*'empty' \(no value at all\)") as found:
        detector = AnomalyDetector(random_state=0).fit(frame)
    assert "constant" not in str(found[0].message)
    whole = AnomalyDetector(random_state=0).fit(table()[0])
    np.testing.assert_array_equal(detector.score_samples(frame), whole.score_samples(table()[0]))


@pytest.mark.slow
@parametrize_with_checks(
    [AnomalyDetector(random_state=0)],
    expected_failed_checks=lambda _: {
        f"check_sample_weight_equivalence_on_{kind}_data": "minibatches are drawn by row"
        for kind in ("dense", "sparse")
    },
)
def test_scikit_learns_checks(estimator, check, quick):
    check(estimator)


@pytest.mark.slow
def test_a_table_as_it_is_and_the_column_that_is_odd(monkeypatch):
    shorten(monkeypatch, 200)  # as few as outliers that are easily found allow
    frame, odd = table()
    detector = AnomalyDetector(contamination=10 / 300, random_state=0).fit(frame)
    scores = detector.score_samples(frame)
    assert roc_auc_score(odd, -scores) > 0.95
    assert (detector.predict(frame) == -1).sum() == 10
    np.testing.assert_allclose(detector.decision_function(frame), scores - detector.offset_)
    surprise = detector.explain(frame)
    assert surprise.shape == (300, 4)
    assert np.all(surprise[:, 3] == 0)
    assert (surprise[-10:].argmax(axis=1) == 1).all()
    # The order of columns is scikit-learn's business, the units of columns are nobody's.
    with pytest.raises(ValueError, match="feature names"):
        detector.score_samples(frame[["colour", "size", "share", "constant"]])
    other = frame.assign(size=frame["size"] * 1e-6 - 3, share=frame["share"] * 1e9)
    again = AnomalyDetector(contamination=10 / 300, random_state=0).fit(other)
    np.testing.assert_allclose(again.score_samples(other), scores, atol=0.1)


def test_the_surprise_of_a_value_is_its_conditional_probability(quick):
    rng = np.random.default_rng(0)
    X = np.c_[rng.integers(0, 3, 60), rng.integers(0, 2, 60), rng.integers(0, 4, 60)].astype(float)
    detector = AnomalyDetector(random_state=0).fit(X)
    found = detector.explain(X[:5])
    columns, rbm = detector._columns, detector._binned
    for row, j in itertools.product(range(5), range(3)):
        changed = np.repeat(X[row : row + 1], len(np.unique(X[:, j])), axis=0)
        changed[:, j] = np.unique(X[:, j])
        log_p = -rbm.free_energy(columns.states(changed)).astype(float)
        log_p -= np.logaddexp.reduce(log_p)
        np.testing.assert_allclose(found[row, j], -log_p[np.unique(X[:, j]) == X[row, j]][0], rtol=1e-4, atol=1e-5)


@case_by_case(
    "model", [RBM(8, n_iter=5), DBN((8,), rbm=RBM(n_iter=5)), DeepAutoencoder((3,), rbm=RBM(n_iter=5), max_iter=5)]
)
def test_a_model_of_ones_own(model):
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(0, 1, (200, 4)), rng.normal(0, 8, (10, 4))])
    detector = AnomalyDetector(model, contamination=0.05, random_state=0).fit(X)
    assert roc_auc_score(np.r_[np.zeros(200), np.ones(10)], -detector.score_samples(X)) > 0.9
    surprise = detector.explain(X)
    assert surprise.shape == X.shape
    assert np.median(surprise[200:].max(axis=1)) > 4 * np.median(surprise[:200].max(axis=1))


def test_the_surprise_of_a_value_under_a_model_of_a_table(quick):
    frame, _ = table(80)
    frame.loc[frame.index[:3], "colour"] = None
    with pytest.warns(DataWarning, match="'constant'"):
        detector = AnomalyDetector(RBM(4, n_iter=5), random_state=0).fit(frame)
    rbm, found = detector.estimator_, detector.explain(frame.head(6))
    assert np.all(found[:3, list(frame.columns).index("colour")] == 0)
    rows = frame.iloc[[3, 5]]
    values = rbm.schema_.column("colour").values
    log_p = -np.array([rbm.free_energy(rows.assign(colour=value)) for value in values], np.float64)
    log_p -= np.logaddexp.reduce(log_p, axis=0)
    wanted = [-log_p[values.index(colour), i] for i, colour in enumerate(rows["colour"])]
    np.testing.assert_allclose(found[[3, 5], list(frame.columns).index("colour")], wanted, rtol=1e-4, atol=1e-5)
    assert np.all(found[:, list(frame.columns).index("constant")] == 0)


@pytest.mark.slow
def test_the_surprise_of_a_column_under_an_autoencoder_of_a_table(quick):
    frame, _ = table(80)
    frame.loc[frame["share"] > frame["share"].median(), "colour"] = None  # units for whether it is missing come last
    with pytest.warns(DataWarning, match="'constant'"):
        detector = AnomalyDetector(DeepAutoencoder((3,), rbm=RBM(n_iter=2), max_iter=2), random_state=0).fit(frame)
    surprise = detector.explain(frame)
    assert surprise.shape == frame.shape
    model = detector.estimator_
    assert "colour" in model.schema_.gaps
    rows = rows_of(model, frame).take(slice(None))
    back = np.where(np.isnan(rows), rows, reconstruct(model, frame))
    start = model.schema_.starts[list(frame.columns).index("colour")]
    wanted = np.square(back - rows)[:, start : start + model.schema_.column("colour").width].sum(axis=1)
    wanted = np.nan_to_num(wanted)
    np.testing.assert_allclose(surprise[:, list(frame.columns).index("colour")], wanted, rtol=1e-3, atol=1e-5)


def test_same_seed_same_scores_through_clone_and_pickle(quick):
    frame, _ = table(120)
    detector = AnomalyDetector(random_state=3).fit(frame)
    scores = detector.score_samples(frame)
    assert np.array_equal(clone(detector).fit(frame).score_samples(frame), scores)
    assert np.array_equal(pickle.loads(pickle.dumps(detector)).score_samples(frame), scores)


def test_a_mapping_of_columns_is_a_table(quick):
    columns = {"size": [1.0, 2.0, 3.0, 4.0, 50.0], "kind": list("xxyyx")}
    detector = AnomalyDetector(random_state=0).fit(columns)
    assert detector.feature_names_in_.tolist() == ["size", "kind"]
    frame = AnomalyDetector(random_state=0).fit(pd.DataFrame(columns))
    np.testing.assert_array_equal(detector.score_samples(columns), frame.score_samples(pd.DataFrame(columns)))


@case_by_case("contamination", [0, 0.6, -1, "some", True])
def test_contamination_has_bounds(contamination):
    with pytest.raises(SettingError, match="contamination"):
        AnomalyDetector(contamination=contamination).fit(np.eye(5))


def test_what_does_not_fit_is_refused(quick):
    frame, _ = table(120)
    detector = AnomalyDetector(random_state=0).fit(frame)
    with pytest.raises(DataError, match=r"row 0, column 'colour': 'green'.*'blue'"):
        detector.predict(frame.assign(colour="green"))
    with pytest.raises(DataError, match="row 0, column 'size': 'tall' is not a number"):
        detector.predict(frame.assign(size="tall"))
    with pytest.raises(SettingError, match="free_energy or reconstruction_error"):
        AnomalyDetector(AnomalyDetector()).fit(np.eye(5))


def test_texts_that_name_rows_are_left_out(quick):
    frame, _ = table(120)
    named = frame.assign(name=[f"row {i}" for i in range(120)])
    with pytest.warns(DataWarning, match="'name' .120 values in 120 rows"):
        detector = AnomalyDetector(random_state=0).fit(named)
    plain = AnomalyDetector(random_state=0).fit(frame)
    other = named.assign(name="a new name")
    np.testing.assert_array_equal(detector.score_samples(other), plain.score_samples(frame))
    assert np.all(detector.explain(other)[:, list(named.columns).index("name")] == 0)


def mixed():
    """Return a table with a column of every kind that a detector knows."""
    frame, _ = table(120)
    return frame.assign(big=frame["size"] > 1e4, level=pd.Categorical(np.arange(120) % 3))


SAVED = {
    "table": (AnomalyDetector(random_state=0), mixed),
    "array": (AnomalyDetector(contamination=0.1), lambda: np.random.default_rng(0).normal(size=(60, 3)).astype("f4")),
    "constant": (AnomalyDetector(random_state=0), lambda: np.ones((20, 2))),
    "DBN of a table": (AnomalyDetector(DBN((4,), rbm=RBM(n_iter=2)), random_state=0), mixed),
    "autoencoder": (
        AnomalyDetector(DeepAutoencoder((4, 2), rbm=RBM(n_iter=2), max_iter=2)),
        lambda: np.random.default_rng(0).normal(size=(60, 3)),
    ),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:left out of the model", "ignore:all columns are constant")
@pytest.mark.parametrize("name", SAVED)
def test_a_saved_detector_scores_to_the_same_bits(name, quick, tmp_path):
    detector, rows = SAVED[name][0], SAVED[name][1]()
    detector.fit(rows)
    save(detector, tmp_path / "detector.h5")
    back = load(tmp_path / "detector.h5")
    assert back.get_params().keys() == detector.get_params().keys()
    assert np.array_equal(back.score_samples(rows), detector.score_samples(rows))
    assert np.array_equal(back.predict(rows), detector.predict(rows))
    if detector.estimator is None:
        assert np.array_equal(back.explain(rows), detector.explain(rows))
    if name == "table":
        assert back.feature_names_in_.tolist() == list(rows.columns)
        with pytest.raises(ValueError, match="feature names"):
            back.predict(rows[rows.columns[::-1]])
    save(back, tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "detector.h5").read_bytes()


def test_a_file_cannot_plant_a_detector_that_fit_would_not_make(quick):
    model = to_model_file(AnomalyDetector(random_state=0).fit(mixed()), {})
    schema = model.attributes["columns"]
    columns = schema["columns"]
    number = next(i for i, column in enumerate(columns) if column["kind"] == "number")
    category = next(i for i, column in enumerate(columns) if column["kind"] == "category")

    def with_columns(columns):
        return replace(model, attributes=model.attributes | {"columns": schema | {"columns": columns}})

    def with_column(i, **changes):
        return with_columns([column | changes if i == j else column for j, column in enumerate(columns)])

    def with_array(name, value):
        return replace(model, arrays=dict(model.arrays) | {name: np.full_like(model.arrays[name], value)})

    def with_gaussian(**units):
        part = model.parts["gaussian"]
        layer = replace(part.stack.layers[0], mean=None, scale=None, **units)
        return replace(model, parts=dict(model.parts) | {"gaussian": replace(part, stack=Stack((layer,)))})

    bad = [
        (with_array("column_scales", 0), "column_scales must be finite and above 0"),
        (with_array("column_centres", np.nan), "finite"),
        (with_column(number, edges=columns[number]["edges"][::-1]), "not valid"),
        (with_column(number, edges=["x"]), "no schema"),
        (with_column(number, missing_unit=99), "not valid"),
        (with_column(number, missing_unit=True), "not valid"),
        (with_column(category, values=["red", "red"]), "not valid"),
        (with_column(category, name="size"), "different names"),
        (with_column(category, kind="number"), "not valid"),
        (with_columns(columns[1:]), "columns must be 6, got 5"),
        (
            with_columns(
                [column | {"kind": "dropped", "missing_unit": None, "values": [], "cells": []} for column in columns]
            ),
            "must vary",
        ),
        (replace(model, attributes=model.attributes | {"offset": float("nan")}), "offset must be finite"),
        (replace(model, arrays=dict(model.arrays) | {"spreads": np.zeros(3)}), "spreads must be finite and above 0"),
        (replace(model, arrays=dict(model.arrays) | {"errors": np.ones((2, 3))}), "belongs"),
        (replace(model, parts={**model.parts, "binned": model.parts["gaussian"]}), "binned must be of kind RBM"),
        (with_gaussian(visible="rectified"), "gaussian and bernoulli units"),
        (replace(model, parts={**model.parts, "network_1": model.parts["gaussian"]}), "of kind DBN"),
        (replace(model, parts={n: part for n, part in model.parts.items() if n != "network_2"}), "network_2"),
        (replace(model, params=dict(model.params) | {"contamination": 0.9}), "contamination"),
        (replace(model, params=dict(model.params) | {"estimator": {"kind": "Popen", "params": {}}}), "Popen"),
    ]
    assert from_model_file(model).predict(mixed()).shape == (120,)
    for changed, match in bad:
        with pytest.raises(FileFormatError, match=match):
            from_model_file(changed)


def test_what_a_detector_cannot_keep_in_a_file_is_told(quick, tmp_path):
    class Mine(RBM):
        pass

    X = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(SettingError, match="not fitted"):
        save(AnomalyDetector(), tmp_path / "detector.h5")
    with pytest.raises(SettingError, match="estimator="):
        save(AnomalyDetector(Mine(3, visible="gaussian", n_iter=1)).fit(X), tmp_path / "detector.h5")
    save(AnomalyDetector().fit(X), tmp_path / "detector.h5")
    with pytest.raises(FileFormatError, match="holds no layers"):
        DBNClassifier(pretrained=tmp_path / "detector.h5").fit(X, X[:, 0] > 0)

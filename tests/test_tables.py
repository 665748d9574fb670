"""Estimators on tables of mixed columns: fitted, filled, drawn, scored, saved and loaded as tables."""

import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from tables import case_by_case

from deepbelief import (
    DBN,
    RBM,
    AnomalyDetector,
    DBNClassifier,
    DBNRegressor,
    DeepAutoencoder,
    RBMClassifier,
    load,
    save,
)
from deepbelief.errors import DataError, DataWarning, FileFormatError, SettingError, TrainingWarning
from deepbelief.estimators.persistence import from_model_file, to_model_file
from deepbelief.gradients import CD
from deepbelief.sources.schema import Schema

TABLES = Path(__file__).resolve().parents[2] / "shared" / "datasets" / "tables"


def mixed(n=120, seed=0):
    """Return a table whose columns depend on each other: the colour tells the size, and whether it is good."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, n)
    return pd.DataFrame(
        {
            "size": np.round(10.0 * kind + rng.normal(0, 1, n), 2),
            "count": kind + rng.integers(0, 2, n),
            "colour": np.array(["red", "green", "blue"])[kind],
            "good": kind == 1,
            "grade": pd.Categorical(np.array(["a", "b", "b"])[kind], ["c", "b", "a"], ordered=True),
        },
        index=range(100, 100 + n),
    )


@pytest.fixture(scope="module")
def rbm():
    return RBM(16, n_iter=600, random_state=0).fit(mixed())


def assert_alike(a, b):
    pd.testing.assert_series_equal(a.dtypes, b.dtypes)
    assert list(a.columns) == list(b.columns)


def test_the_model_knows_its_columns(rbm):
    assert rbm.schema_.names == tuple(mixed().columns)
    assert rbm.n_features_in_ == 5
    assert rbm.feature_names_in_.tolist() == list(mixed().columns)
    assert rbm.transform(mixed()).shape == (120, 16)
    assert rbm.weights_.n_visible == rbm.schema_.n_units


def test_weights_of_neighbouring_cells_are_tied(rbm):
    assert rbm.schema_.groups[0] == 20
    assert np.linalg.matrix_rank(rbm.weights_.W[:20], tol=1e-3) <= 8


def test_drawn_rows_are_a_table_that_looks_like_the_one_in_fit(rbm):
    table, drawn = mixed(), rbm.sample(400, n_steps=200, random_state=0)
    assert_alike(table, drawn)
    assert drawn["grade"].cat.ordered
    assert drawn["size"].between(table["size"].min(), table["size"].max()).all()
    size = {"red": 0, "green": 10, "blue": 20}
    near = np.abs(drawn["size"] - drawn["colour"].map(size)) < 5
    assert near.mean() > 0.8  # a third for independent columns
    assert ((drawn["colour"] == "green") == drawn["good"]).mean() > 0.8
    again = rbm.sample(400, n_steps=200, random_state=0)
    assert drawn.equals(again)


def test_clamped_columns_are_held(rbm):
    drawn = rbm.sample(200, n_steps=50, clamp={"colour": "blue"}, random_state=0)
    assert (drawn["colour"] == "blue").all()
    assert (drawn["size"] > 12).mean() > 0.8  # a third for independent columns
    with pytest.raises(DataError, match="`clamp` must map names"):
        rbm.sample(2, clamp=[1, 2])
    with pytest.raises(DataError, match="'purple' is a category"):
        rbm.sample(2, clamp={"colour": "purple"})
    with pytest.raises(DataError, match="must have 1 row or 3, as many as samples, got 2"):
        rbm.sample(3, clamp={"size": [1, 2]})


def test_columns_are_clamped_in_networks_and_below_labels(rbm):
    table = mixed()
    template = RBM(n_iter=600)
    dbn = DBN((16,), rbm=template, random_state=0).fit(table)
    joint = RBMClassifier(16, rbm=template, random_state=0).fit(table.drop(columns="good"), table["good"])
    for drawn in (
        dbn.sample(200, n_steps=50, clamp={"colour": "blue", "count": 2}, random_state=0),
        joint.sample([False] * 200, n_steps=50, clamp={"colour": "blue", "count": 2}, random_state=0),
    ):
        assert (drawn["colour"] == "blue").all()
        assert (drawn["count"] == 2).all()
        # All rows of the table, a third for independent columns, 0.89 to 0.91 here by the seed of the training.
        assert (drawn["size"] > 12).mean() > 0.8
    drawn = joint.sample([True, False] * 100, n_steps=50, clamp={"count": 1}, random_state=0)
    good = drawn[::2]["colour"] == "green"  # the labels stay clamped too
    other = drawn[1::2]["colour"] == "green"
    assert good.mean() > 0.8 > 0.2 > other.mean()
    with pytest.raises(SettingError, match="clamp is for models with one hidden layer, got 2"):
        DBN((4, 3), rbm=RBM(n_iter=1), random_state=0).fit(table).sample(clamp={"colour": "blue"})
    numbers = RBMClassifier(4, rbm=RBM(n_iter=1), random_state=0).fit(
        table[["size", "count"]].to_numpy(), table["good"]
    )
    with pytest.raises(DataError, match="clamp must be 2 numbers"):
        numbers.sample([True], clamp=[1, 2, 3, 4])


def test_clamped_numbers_are_returned_as_given(rbm):
    drawn = rbm.sample(3, n_steps=5, clamp={"size": 12.34567}, random_state=0)
    assert drawn["size"].tolist() == [12.34567] * 3  # not another number of its cell
    drawn = rbm.sample(3, n_steps=5, clamp={"size": [-3.21987, None, 99]}, random_state=0)
    assert drawn["size"][0] == -3.21987
    assert mixed()["size"].min() <= drawn["size"][1] <= mixed()["size"].max()
    assert drawn["size"][2] == 99  # in the last cell, which is open
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"n": np.repeat([0, 40], 30) + rng.integers(0, 9, 60), "kind": np.repeat(["a", "b"], 30)})
    table.loc[rng.random(60) < 0.2, "kind"] = None
    counts = RBM(4, n_iter=2, random_state=0).fit(table)
    for missing in (False, True):
        held = counts.sample(40, n_steps=2, clamp={"kind": "a", "n": 2.5}, missing=missing, random_state=0)
        assert held["n"].tolist() == [2.5] * 40  # a dtype of integers could not hold it
        assert held["kind"].tolist() == ["a"] * 40
    assert counts.sample(4, n_steps=2, clamp={"n": 2}, random_state=0)["n"].dtype == table["n"].dtype


@case_by_case("dtype, value", [("uint8", 300), ("uint8", -1), ("Int8", 128), ("int64", 1e30), ("float16", 1e6)])
@case_by_case("library", ["pandas", "polars", "pyarrow"])
def test_a_clamped_number_that_its_dtype_cannot_hold_changes_the_dtype(dtype, value, library):
    table = pd.DataFrame({"n": np.arange(60) % 9, "kind": list("abc") * 20}).astype({"n": dtype})
    table = {"pandas": table, "polars": pl.from_pandas(table), "pyarrow": pa.Table.from_pandas(table)}[library]
    drawn = RBM(2, n_iter=1, random_state=0).fit(table).sample(2, n_steps=1, clamp={"n": value}, random_state=0)
    assert [float(n) for n in np.asarray(drawn["n"])] == [value] * 2


@case_by_case(
    "sizes", [[1, 2, 3], (1, 2, 3), range(1, 4), pd.Series([1, 2, 3], index=[7, 8, 9]), pl.Series([1, 2, 3]),
              pd.Categorical([1, 2, 3]), pa.array([1, 2, 3])],
)  # fmt: skip
def test_clamped_values_come_as_any_sequence_beside_single_ones(rbm, sizes):
    drawn = rbm.sample(3, n_steps=2, clamp={"size": sizes, "count": np.array(2), "colour": "blue"}, random_state=0)
    assert drawn["size"].tolist() == [1, 2, 3]
    assert drawn["count"].tolist() == [2] * 3
    assert drawn["colour"].tolist() == ["blue"] * 3


@case_by_case("library", ["pandas", "polars", "array"])
def test_clamped_numbers_may_be_texts(library):
    table = pd.DataFrame({"n": np.arange(60) % 9, "kind": [0, 1, 2] * 20, "constant": 1})
    table = {"pandas": table, "polars": pl.from_pandas(table), "array": table.to_numpy()}[library]
    names = list(getattr(table, "columns", ["x0", "x1", "x2"]))
    rbm = RBM(2, n_iter=1, columns={names[1]: "category", names[2]: "dropped"}, random_state=0).fit(table)
    drawn = np.asarray(rbm.sample(3, n_steps=1, clamp={names[0]: ["2.5", None, "3"], names[2]: "2"}, random_state=0))
    assert drawn[[0, 2], 0].tolist() == [2.5, 3]
    assert drawn[:, 2].tolist() == [2] * 3
    for name in names[::2]:
        with pytest.raises(DataError, match=f"row 0, column '{name}': 'abc' is not a number"):
            rbm.sample(3, clamp={name: "abc"})


def test_columns_of_plain_numbers_are_clamped_by_their_names():
    X = np.random.default_rng(0).integers(0, 2, (60, 3)).astype(float)
    rbm, how = RBM(2, n_iter=1, random_state=0).fit(pd.DataFrame(X, columns=list("abc"))), {"random_state": 0}
    expected = rbm.sample(3, clamp=[0, np.nan, 1], **how)
    for clamp in ({"c": 1, "a": 0}, pd.DataFrame({"c": [1], "b": [np.nan], "a": [0]})):
        np.testing.assert_array_equal(rbm.sample(3, clamp=clamp, **how), expected)
    np.testing.assert_array_equal(rbm.sample(3, clamp={"b": [0, None, 1]}, **how)[[0, 2], 1], [0, 1])
    with pytest.raises(DataError, match="unknown column 'd'"):
        rbm.sample(3, clamp={"d": 1})
    with pytest.raises(DataError, match="had no names: pass an array"):
        RBM(2, n_iter=1, random_state=0).fit(X).sample(3, clamp={"a": 1})
    with pytest.raises(DataError, match="clamp must be numbers: "):
        rbm.sample(3, clamp="abc")


def test_holes_are_filled_and_all_else_stays(rbm):
    table = mixed(seed=1)
    holes = table.copy()
    holes.loc[100:130, "colour"] = None
    holes.loc[120:150, "size"] = np.nan
    holes.loc[140:160, "grade"] = None
    filled = rbm.impute(holes, random_state=0)
    assert_alike(table, filled)
    assert filled.index.equals(table.index)
    for name in table:
        known = holes[name].notna()
        pd.testing.assert_series_equal(filled[name][known], table[name][known])
    assert not filled.isna().to_numpy().any()
    assert (filled["colour"] == table["colour"]).mean() > 0.97
    assert np.abs(filled["size"] - table["size"]).max() < 5
    draws = rbm.impute(holes, n_draws=3, random_state=0)
    assert len(draws) == 3
    assert len({tuple(draw.loc[120:150, "size"]) for draw in draws}) == 3
    for draw in draws:
        assert (draw["colour"] == table["colour"]).mean() > 0.95
    with pytest.raises(SettingError, match="n_draws"):
        rbm.impute(holes, n_draws=2, method="mean_field")


@pytest.mark.slow
def test_an_autoencoder_fills_in_columns_that_others_determine(tmp_path):
    table = mixed(240)
    table["double"] = 2 * table["size"] + 1
    rng, holes = np.random.default_rng(0), table.copy()
    for name in ("colour", "double", "grade"):
        holes[name] = table[name].where(rng.random(len(table)) > 0.2)
    model = DeepAutoencoder((16,), rbm=RBM(n_iter=300), input_dropout=0.3, max_iter=60, random_state=0).fit(holes)
    filled = model.impute(holes)
    assert_alike(table, filled)
    assert filled.index.equals(table.index)
    for name in table:
        known = holes[name].notna()
        pd.testing.assert_series_equal(filled[name][known], table[name][known])
    assert (filled["colour"] == table["colour"]).all()
    assert (filled["grade"] == table["grade"]).all()
    gone = holes["double"].isna()
    missed = (filled["double"] - table["double"])[gone].std() / table["double"].std()
    assert missed < 0.15  # within a bin; the mean of the column misses by 1
    save(model, tmp_path / "model.h5")
    pd.testing.assert_frame_equal(load(tmp_path / "model.h5").impute(holes), filled)
    pd.testing.assert_frame_equal(model.impute(filled), filled)
    with pytest.raises(SettingError, match="n_steps"):
        model.impute(holes, n_steps=0)


def test_draws_of_an_array_are_states_of_the_units():
    X = np.repeat([[0, 0, 1, 1], [1, 1, 0, 0]], 50, axis=0)
    rbm = RBM(4, random_state=0).fit(X)
    draws = rbm.impute([[1, np.nan, 0, np.nan]] * 5, n_draws=2, random_state=0)
    assert all(set(draw.ravel()) == {0.0, 1.0} for draw in draws)


def test_known_rows_score_higher_than_broken_ones(rbm):
    table = mixed(seed=1)
    broken = table.assign(colour=np.roll(table["colour"], 1))
    changed = (broken["colour"] != table["colour"]).to_numpy()
    scores, worse = rbm.score_samples(table), rbm.score_samples(broken)
    assert (worse[changed] < scores[changed]).mean() > 0.95
    assert rbm.score(table) == pytest.approx(scores.mean())


def test_inverse_transform_and_gibbs_return_tables(rbm):
    table = mixed()
    back = rbm.inverse_transform(rbm.transform(table))
    assert_alike(table, back)
    assert (back["colour"] == table["colour"].to_numpy()).mean() > 0.9
    assert_alike(table, rbm.gibbs(table, random_state=0))


def test_saved_cloned_and_pickled_models_keep_the_schema(rbm, tmp_path):
    save(rbm, tmp_path / "rbm.h5")
    for again in (load(tmp_path / "rbm.h5"), pickle.loads(pickle.dumps(rbm))):
        assert again.schema_ == rbm.schema_
        assert np.array_equal(again.transform(mixed()), rbm.transform(mixed()))
        assert again.sample(5, random_state=0).equals(rbm.sample(5, random_state=0))
    assert not hasattr(clone(rbm), "schema_")


def test_a_file_with_another_schema_is_refused(rbm):
    model = to_model_file(rbm, {})
    for schema in ({"columns": 3}, Schema.fit({"a": ["x", "y"]}).to_dict(), {"library": "pandas", "columns": []}):
        with pytest.raises(FileFormatError):
            from_model_file(type(model)(**{**vars(model), "attributes": {**model.attributes, "schema": schema}}))


@pytest.mark.parametrize("library", ["pyarrow", "mapping", "polars"])
def test_tables_of_other_libraries(library):
    if library == "polars":
        make = pytest.importorskip("polars").from_pandas
    else:
        make = {"pyarrow": pa.Table.from_pandas, "mapping": lambda t: {n: t[n].tolist() for n in t}}[library]
    table = make(mixed().drop(columns="grade").reset_index(drop=True))
    rbm = RBM(8, n_iter=5, random_state=0).fit(table)
    assert rbm.transform(table).shape == (120, 8)
    drawn = rbm.sample(40, n_steps=5)
    assert type(drawn) is (np.ndarray if library == "mapping" else type(table))
    sizes = (drawn[:, 0] if library == "mapping" else np.asarray(drawn["size"])).astype(float)
    assert np.array_equal(sizes.round(2), sizes)
    assert type(rbm.impute(table)) is type(table)


def test_columns_may_be_taken_for_something_else():
    table = mixed()
    rbm = RBM(8, columns={"count": "category", "size": "dropped"}, n_iter=2, random_state=0).fit(table)
    assert [c.kind for c in rbm.schema_.columns] == ["dropped", "category", "category", "category", "category"]
    assert rbm.schema_.groups == (4, 3, 2, 2)
    array = RBM(4, columns={}, n_iter=2, random_state=0).fit(table[["size", "count"]].to_numpy())
    assert array.sample(3).shape == (3, 2)
    assert array.schema_.names == ("x0", "x1")
    for columns, message in (({"size": "text"}, "unknown kind"), ({"hue": "number"}, "'hue'"), ([1], "must map")):
        with pytest.raises(SettingError, match=message):
            RBM(columns=columns).fit(table)
    with pytest.raises(SettingError, match=r"^visible must be 'auto'"):
        RBM(visible="gaussian").fit(table)


def test_a_table_of_plain_numbers_is_an_array_with_names():
    table = mixed()[["size", "count"]]
    rbm = RBM(4, n_iter=2, random_state=0).fit(table)
    assert not hasattr(rbm, "schema_")
    assert rbm.weights_.visible == "gaussian"
    bits = RBM(4, n_iter=2, random_state=0).fit(pd.get_dummies(mixed()["colour"]))
    assert bits.weights_.visible == "bernoulli"
    # A model that is fitted again on an array knows no columns any more.
    again = RBM(4, n_iter=1, random_state=0).fit(mixed()).fit(table)
    assert not hasattr(again, "schema_")


def test_settings_that_are_given_win_over_those_for_tables():
    first = RBM(8, n_iter=1, random_state=0).fit(mixed())
    assert len(first.h_samples_) == 128  # chains
    for gradient in (CD(), "cd"):  # also where they are what they are for arrays
        given = RBM(8, n_iter=1, gradient=gradient, batch_size=30, random_state=0).fit(mixed())
        assert len(given.h_samples_) == 30
    assert first.resolved_["gradient"].value == "pcd"
    assert first.resolved_["learning_rate"].value == 0.005
    assert RBM(512, n_iter=1, random_state=0).fit(mixed()).resolved_["learning_rate"].value == 0.0025
    assert {"gradient", "batch_size"}.isdisjoint(given.resolved_)
    assert RBM(8, n_iter=1, random_state=0).fit(np.eye(8)).resolved_["solver"].value == "sgd"


def test_left_out_columns_are_told():
    table = mixed().assign(name=[f"row {i}" for i in range(120)], constant=1)
    with pytest.warns(DataWarning, match="'name' .120 values in 120 rows.*'constant'"):
        rbm = RBM(4, n_iter=1, random_state=0).fit(table)
    drawn = rbm.sample(3, n_steps=3)
    assert (drawn["constant"] == 1).all()
    assert drawn["name"].isna().all()


@pytest.mark.slow
@case_by_case(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="size"), "(?s)feature names should match.*- size"),
        (lambda t: t.rename(columns={"size": "length"}), "(?s)feature names should match.*length"),
        (lambda t: t.assign(more=1), "(?s)feature names should match.*- more"),
        (lambda t: t.assign(colour="purple"), "row 0, column 'colour': 'purple'"),
        (lambda t: t.assign(size="tall"), "row 0, column 'size': 'tall' is not a number"),
        (lambda t: t.assign(size=np.inf), "row 0, column 'size': inf is not finite"),
        (lambda t: t.to_numpy()[:, :3], "X has 3 features, but RBM is expecting 5"),
    ],
)
def test_rows_that_are_no_rows_of_the_table_are_refused(rbm, change, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for method in (rbm.transform, rbm.impute, rbm.score_samples):
            with pytest.raises(ValueError, match=message):
                method(change(mixed()))


def test_unknown_categories_may_be_missing():
    rbm = RBM(8, handle_unknown="missing", n_iter=5, random_state=0).fit(mixed())
    table = mixed()
    table.loc[100, "colour"] = "purple"
    assert rbm.impute(table, random_state=0).loc[100, "colour"] == "purple"  # it is known, if not to the model
    assert np.isfinite(rbm.impute(table.assign(size=np.nan), random_state=0)["size"]).all()
    with pytest.raises(DataError, match=r"'count': 1\.5 is a category"):  # a plain number, not np.float64(1.5)
        RBM(2, columns={"count": "category"}, n_iter=1).fit(mixed()).transform(mixed().assign(count=1.5))
    with pytest.raises(SettingError, match="unknown handle_unknown"):
        RBM(handle_unknown="zero").fit(mixed())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::deepbelief.errors.TrainingWarning")  # 20 epochs are few
def test_networks_take_tables():
    table = mixed()
    y = table["colour"]
    X = table.drop(columns="colour")
    few = RBM(n_iter=20)
    clf = DBNClassifier((16,), rbm=few, max_iter=20, random_state=0).fit(X, y)
    assert clf.score(X, y) > 0.9
    assert clf.predict_proba(X).shape == (120, 3)
    assert clf.schema_.names == tuple(X.columns)
    own = RBMClassifier(16, rbm=RBM(n_iter=300), random_state=0).fit(X, y)
    assert own.score(X, y) > 0.9
    assert_alike(X, own.sample(["red", "blue"], n_steps=50))
    number = DBNRegressor((16,), rbm=few, max_iter=20, random_state=0).fit(table.drop(columns="size"), table["size"])
    assert number.score(table.drop(columns="size"), table["size"]) > 0.8
    dbn = DBN((16, 8), rbm=few, random_state=0).fit(X)
    assert_alike(X, dbn.sample(3, n_steps=5))
    assert_alike(X, dbn.inverse_transform(dbn.transform(X)))
    tuned = DBNClassifier(pretrained=dbn, max_iter=20, random_state=0).fit(X, y)
    assert tuned.schema_ == dbn.schema_
    assert tuned.score(X, y) > 0.9


@case_by_case("kind", [DBN, DBNClassifier, DBNRegressor, RBMClassifier])
def test_networks_of_tables_are_saved(kind, tmp_path):
    table, few = mixed(), RBM(n_iter=2)
    X, y = table.drop(columns="count"), table["count"]
    own = {} if kind in (DBN, RBMClassifier) else {"max_iter": 2}
    model = kind(8 if kind is RBMClassifier else (8,), rbm=few, random_state=0, **own).fit(X, y)
    save(model, tmp_path / "model.h5")
    again = load(tmp_path / "model.h5")
    assert again.schema_ == model.schema_
    show = "transform" if kind is DBN else "predict"
    assert np.array_equal(getattr(again, show)(X), getattr(model, show)(X))


@pytest.mark.slow
def test_pipelines_and_output_of_pandas():
    table = mixed()
    X, y = table.drop(columns="good"), table["good"]
    pipe = make_pipeline(RBM(16, n_iter=300, random_state=0), LogisticRegression()).fit(X, y)
    assert pipe.score(X, y) > 0.9
    rbm = RBM(4, n_iter=1, random_state=0).set_output(transform="pandas").fit(X)
    out = rbm.transform(X)
    assert out.columns.tolist() == ["rbm0", "rbm1", "rbm2", "rbm3"]
    assert out.index.equals(X.index)


def test_partial_fit_and_warm_start_go_on_with_the_schema_of_the_first_rows():
    table = mixed()
    rbm = RBM(8, random_state=0).partial_fit(table[:60]).partial_fit(table[60:])
    assert rbm.n_iter_ == 2
    warm = RBM(8, n_iter=1, warm_start=True, random_state=0).fit(table)
    schema = warm.schema_
    assert warm.fit(table[:50]).schema_ is schema


def test_a_schema_is_plain_values(rbm):
    assert Schema.from_dict(json.loads(json.dumps(rbm.schema_.to_dict()))) == rbm.schema_


def with_holes(table, share=0.2, seed=0):
    rng = np.random.default_rng(seed)
    out = table.copy()
    for name in out:
        gone = rng.random(len(out)) < share
        out[name] = out[name].astype("boolean") if out[name].dtype == bool else out[name]
        out.loc[gone, name] = None
    return out


@pytest.mark.slow
def test_models_learn_from_tables_with_holes():
    table = mixed(200)
    holes = with_holes(table)
    rbm = RBM(16, n_iter=300, random_state=0).fit(holes)
    filled = rbm.impute(holes, random_state=0)
    gone = holes["colour"].isna()
    assert (filled["colour"] == table["colour"])[gone].mean() > 0.8
    gone = holes["size"].isna()
    assert np.abs(filled["size"] - table["size"])[gone].median() < 2
    assert_alike(holes, rbm.sample(5, n_steps=5))
    assert not rbm.sample(50, n_steps=5).isna().to_numpy().any()
    assert np.isfinite(rbm.score_samples(holes)).all()
    assert np.isfinite(rbm.transform(holes)).all()
    assert rbm.get_params() == RBM(16, n_iter=300, random_state=0).get_params()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [DBNClassifier, DBNRegressor, RBMClassifier, DeepAutoencoder])
def test_networks_learn_from_tables_with_holes(kind):
    table = mixed(200)
    y = table["size"] if kind is DBNRegressor else table["colour"]
    X = with_holes(table.drop(columns=y.name))
    own = {} if kind is RBMClassifier else {"max_iter": 30}
    model = kind(16 if kind is RBMClassifier else (16,), rbm=RBM(n_iter=60), random_state=0, **own)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)
        model.fit(X, y)
    if kind is DeepAutoencoder:
        back = model.inverse_transform(model.transform(X))
        assert_alike(X, back)
        known = X["grade"].notna()
        assert (back["grade"].to_numpy() == X["grade"])[known].mean() > 0.9
        return
    assert model.score(X, y) > 0.7  # the most common colour, or the mean, gets 0.4 and 0
    assert len(model.predict(X.iloc[:2].map(lambda value: None))) == 2


@pytest.mark.slow
def test_arrays_with_holes_need_no_schema():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 1)) + rng.normal(size=(100, 6)) / 3
    X[rng.random(X.shape) < 0.2] = np.nan
    y = np.nan_to_num(X).mean(axis=1) > 0
    assert not hasattr(RBM(4, n_iter=2).fit(X), "schema_")
    for model in (
        DBNClassifier((8,), max_iter=20, random_state=0),
        RBMClassifier(8, rbm=RBM(n_iter=20), random_state=0),
        make_pipeline(DBN((8,), rbm=RBM(n_iter=20), random_state=0), LogisticRegression()),
    ):
        assert model.fit(X, y).score(X, y) > 0.85
    assert np.isfinite(DeepAutoencoder((4, 2), max_iter=3, random_state=0).fit(X).score(np.nan_to_num(X)))


TABLE_TARGETS = {"titanic": "survived", "penguins": "species", "mpg": "mpg", "tips": "tip", "planets": "method"}


@pytest.mark.skipif(not TABLES.is_dir(), reason="no data sets at hand")
@pytest.mark.filterwarnings("ignore::deepbelief.errors.DataWarning")
@pytest.mark.filterwarnings("ignore::deepbelief.errors.TrainingWarning")
@pytest.mark.parametrize(
    "name", ["titanic", *(pytest.param(name, marks=pytest.mark.slow) for name in TABLE_TARGETS if name != "titanic")]
)
def test_real_tables_need_no_preparation(name, tmp_path):
    table = pd.read_csv(TABLES / f"{name}.csv")
    rbm = RBM(8, n_iter=3, random_state=0).fit(table)
    used = [column.name for column in rbm.schema_.used]
    assert not rbm.impute(table)[used].isna().to_numpy().any()
    assert list(rbm.sample(20, n_steps=5).columns) == list(table.columns)
    assert np.isfinite(rbm.score_samples(table)).all()
    save(rbm, tmp_path / "model.h5")
    assert load(tmp_path / "model.h5").schema_ == rbm.schema_
    y = table.pop(TABLE_TARGETS[name])
    kind = DBNRegressor if y.dtype.kind == "f" else DBNClassifier
    model = kind((8,), rbm=RBM(n_iter=3), max_iter=3, random_state=0).fit(table, y)
    assert len(model.predict(table)) == len(table)


@pytest.mark.slow
def test_missing_values_are_learned_from_and_drawn_where_asked_for():
    rng = np.random.default_rng(6)
    kind = rng.choice(["a", "b"], 400)
    size = np.where((kind == "a") & (rng.random(400) < 0.9), np.nan, rng.normal(size=400))
    table = pd.DataFrame({"kind": kind, "size": size})
    rbm = RBM(16, n_iter=100, random_state=0).fit(table)
    assert rbm.schema_.gaps == {"size": 22}
    unknown = pd.DataFrame({"kind": [None, None], "size": [np.nan, 0.0]}, dtype=object)
    assert rbm.impute(unknown, random_state=0)["kind"].tolist() == ["a", "b"]  # that it is missing says which kind
    drawn = rbm.sample(400, missing=True, random_state=0)
    shares = drawn["size"].isna().groupby(drawn["kind"]).mean()
    assert shares["a"] > 0.75
    assert shares["b"] < 0.15
    assert not rbm.sample(50, random_state=0).isna().any(axis=None)
    held = rbm.sample(50, clamp={"kind": "a", "size": 1.0}, missing=True, random_state=0)
    assert held["size"].notna().all()
    joint = RBMClassifier(8, rbm=RBM(n_iter=20), random_state=0).fit(table[["size"]], kind)
    for model, asked in ((DBN((16,), rbm=RBM(n_iter=60), random_state=0).fit(table), 200), (joint, ["a"] * 200)):
        gone = model.sample(asked, n_steps=50, missing=True, random_state=0)["size"].isna()
        assert 0.2 < gone.mean() < 0.99
        assert model.sample(asked, n_steps=5, random_state=0)["size"].notna().all()
    with pytest.raises(SettingError, match="models of tables"):
        RBM(2, n_iter=1, random_state=0).fit(np.eye(4)).sample(2, missing=True)


def test_means_of_whole_numbers_are_rounded_in_integer_columns_only():
    rng = np.random.default_rng(0)
    reals = pd.DataFrame({"n": rng.integers(0, 3, 200).astype(float), "kind": rng.choice(["a", "b"], 200)})
    holes = reals.assign(n=reals["n"].where(np.arange(200) >= 20))
    rbm = RBM(2, n_iter=3, random_state=0).fit(reals)
    filled = rbm.impute(holes)["n"].iloc[:20]
    assert not filled.isin([0.0, 1.0, 2.0]).any()
    assert filled.between(0.5, 1.5).all()
    drawn = rbm.impute(holes, n_draws=1, random_state=0)[0]["n"]
    assert drawn.isin([0.0, 1.0, 2.0]).all()
    whole = RBM(2, n_iter=3, random_state=0).fit(reals.assign(n=reals["n"].astype(int)))
    assert (whole.impute(holes)["n"].iloc[:20] == 1).all()


def test_drawn_numbers_have_the_decimals_of_the_column_and_means_have_all(rbm):
    table = mixed().assign(size=mixed()["size"].astype("Float64"), share=np.random.default_rng(0).random(120))
    holes = table.assign(size=table["size"].where(np.arange(120) >= 20))
    model = RBM(4, n_iter=3, random_state=0).fit(holes)
    drawn = model.sample(200, n_steps=10, random_state=0)
    for rows in (drawn, model.impute(holes, n_draws=1, random_state=0)[0]):
        assert rows["size"].dtype == "Float64"
        assert (rows["size"].round(2) == rows["size"]).all()
    assert not (drawn["size"].round(1) == drawn["size"]).all()
    assert not (drawn["share"].round(6) == drawn["share"]).any()
    filled = model.impute(holes)["size"].iloc[:20]
    assert not (filled.round(2) == filled).any()


def test_values_missing_whatever_the_rest_holds_get_no_units():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"kind": rng.choice(["a", "b", "c"], 1000), "size": rng.normal(size=1000)})
    holes = table.assign(size=table["size"].where(rng.random(1000) > 0.3))
    rbm = RBM(8, n_iter=5, random_state=0).fit(holes)
    assert rbm.schema_.gaps == {}
    assert rbm.schema_.column("size").absent == pytest.approx(0.3, abs=0.05)
    assert "missing at random" in str(rbm.schema_)
    drawn = rbm.sample(2000, n_steps=2, missing=True, random_state=0)
    assert drawn["size"].isna().mean() == pytest.approx(0.3, abs=0.05)
    assert drawn["kind"].notna().all()


def test_a_network_of_a_table_has_one_layer_and_imputes_as_a_machine_does(tmp_path):
    dbn = DBN(rbm=RBM(n_iter=1), random_state=0).fit(mixed())
    assert dbn.stack_.sizes[1:] == (64,)
    assert dbn.resolved_["hidden_layer_sizes"].value == (64,)
    assert "tables of mixed columns" in dbn.resolved_["hidden_layer_sizes"].reason
    holes = mixed().assign(colour=None)
    save(dbn, tmp_path / "model.h5")
    assert_alike(load(tmp_path / "model.h5").impute(holes), dbn.impute(holes))
    assert load(tmp_path / "model.h5").impute(holes)["colour"].tolist() == dbn.impute(holes)["colour"].tolist()
    found = dbn.impute(holes, method="mean_field")["colour"].tolist()
    assert found == dbn.impute(holes)["colour"].tolist()
    assert DBN((8, 4), rbm=RBM(n_iter=1), random_state=0).fit(mixed()).stack_.sizes[1:] == (8, 4)


def test_an_array_is_imputed_like_the_same_table():
    table = mixed().drop(columns="grade")
    table.loc[::4, "colour"], table.loc[1::5, "size"] = None, np.nan
    rbm = RBM(6, n_iter=2, random_state=0).fit(table)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        found = rbm.impute(table.to_numpy(dtype=object))
    expected = rbm.impute(table)
    assert found.shape == table.shape
    for values, name in zip(found.T, table.columns, strict=True):
        assert values.tolist() == expected[name].tolist(), name


N = 60
HOSTILE = {
    "two columns of one name": (lambda t: pd.concat([t, t[["a"]]], axis=1), "same name, 'a'"),
    "names alike as texts": (lambda t: t.set_axis([0, "0", "c"], axis=1), "same name, '0'"),
    "values of several types": (lambda t: t.assign(b=["x", 1, 2.5] * (N // 3)), "'b' has values of several types"),
    "text and booleans": (lambda t: t.assign(b=["x", True] * (N // 2)), "'b' has .* .bool in row 1, str in row 0."),
    "dates": (lambda t: t.assign(a=pd.date_range("2020", periods=N)), "'a' holds dates or times"),
    "durations": (lambda t: t.assign(a=pd.to_timedelta(np.arange(N), unit="h")), "'a' holds dates or times"),
    "periods": (lambda t: t.assign(a=pd.period_range("2020", periods=N, freq="D")), "'a' has values of type Period"),
    "lists": (lambda t: t.assign(b=[[1, 2]] * N), "'b' has values of type list"),
    "bytes": (lambda t: t.assign(b=[b"x", b"y"] * (N // 2)), "'b' has values of type bytes"),
    "complex numbers": (lambda t: t.assign(a=t["a"] + 1j), "'a' has values of type complex"),
    "no rows": (lambda t: t.iloc[:0], "no rows"),
    "no columns": (lambda t: t[[]], "no columns"),
    "one row": (lambda t: t.iloc[:1], "all columns of the table are constant|minimum of 2"),
    "an infinite number": (lambda t: t.assign(a=np.r_[np.inf, t["a"][1:]]), "row 0, column 'a': inf is not finite"),
    "columns of different lengths": (lambda t: {"a": [1, 2, 3], "b": ["x", "y"]}, "different lengths"),
    "nullable types": (
        lambda t: t.assign(
            a=pd.array([1, None] * (N // 2), "Int64"),
            c=pd.array([True, None] * (N // 2), "boolean"),
            b=t["b"].astype("string"),
        ),
        None,
    ),
    "columns of pairs": (lambda t: t.set_axis(pd.MultiIndex.from_product([["u"], list("abc")]), axis=1), None),
    "an index of pairs": (lambda t: t.set_index(pd.MultiIndex.from_arrays([np.arange(N)] * 2)), None),
    "an index of one value": (lambda t: t.set_axis([0] * N), None),
    "categories that are not there": (
        lambda t: t.assign(b=pd.Categorical([None, "u", "v"] * (N // 3), categories=["w", "v", "u"])), None
    ),
    "numbers as categories": (lambda t: t.assign(b=pd.Categorical(np.arange(N) % 4)), None),
    "1e300": (lambda t: t.assign(a=np.r_[1e300, t["a"][1:]]), None),
    "booleans with gaps": (lambda t: t.assign(c=pd.Series([True, None, False] * (N // 3), dtype=object)), None),
    "many categories": (lambda t: t.assign(b=[f"k{i // 2}" for i in range(N)]), None),
    "names beyond ASCII": (lambda t: t.set_axis(["größe 你", "\u202e", "é"], axis=1), None),
    "texts of 5,000 characters": (lambda t: t.assign(b=["x" * 5000, "y" * 5000] * (N // 2)), None),
    "names that are numbers": (lambda t: t.set_axis([0, 1, 2], axis=1), None),
    "texts of Arrow": (lambda t: t.assign(b=t["b"].astype("string[pyarrow]")), None),
    "types of Arrow": (lambda t: t.convert_dtypes(dtype_backend="pyarrow"), None),
    "sparse numbers": (lambda t: t.assign(a=pd.arrays.SparseArray(t["a"])), None),
    "half precision": (lambda t: t.assign(a=t["a"].astype("float16")), None),
    "scalars of NumPy as objects": (
        lambda t: t.assign(
            a=pd.Series([np.float32("nan"), *t["a"].to_numpy("float32")[1:]], dtype=object),
            b=pd.Series([np.str_("x"), np.str_("y")] * (N // 2), dtype=object),
            c=pd.Series([np.int64(1), np.int64(5)] * (N // 2), dtype=object),
        ),
        None,
    ),
    "numbers as objects": (lambda t: t.assign(a=t["a"].astype(object)), None),
}  # fmt: skip


def plain_table():
    rng = np.random.default_rng(0)
    return pd.DataFrame({"a": rng.normal(size=N), "b": rng.choice(["x", "y", "z"], N), "c": rng.random(N) < 0.5})


@pytest.mark.slow
@pytest.mark.parametrize("kind", [RBM, DBNRegressor, AnomalyDetector])
@case_by_case("name", HOSTILE)
def test_tables_of_any_kind_are_taken_or_refused_in_a_line(kind, name):
    change, message = HOSTILE[name]
    table, few = change(plain_table()), RBM(2, n_iter=1, random_state=0)
    y = np.arange(len(next(iter(table.values())) if isinstance(table, dict) else table))
    model = {
        RBM: few,
        DBNRegressor: DBNRegressor((2,), rbm=few, max_iter=1, random_state=0),
        AnomalyDetector: AnomalyDetector(few, random_state=0),
    }[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if message is not None:
            with pytest.raises(ValueError, match=message) as error:
                model.fit(table, y)
            assert "\n" not in str(error.value)
            return
        model.fit(table, y)
        if kind is RBM:
            assert model.impute(table, random_state=0).shape == table.shape
            assert model.sample(3, n_steps=2, random_state=0).columns.tolist() == [str(c) for c in table.columns]
        else:
            assert len(model.predict(table)) == N


def test_a_table_with_gaps_through_every_door_as_it_stands():
    table = mixed()
    y = np.where(np.arange(len(table)) % 3, "yes", "no")
    rbm = RBM(100, n_iter=3, random_state=0).fit(table)
    assert not rbm.impute(table).isna().any(axis=None)
    drawn = rbm.sample(50)
    assert drawn.columns.tolist() == table.columns.tolist()
    assert drawn.dtypes.tolist() == table.dtypes.tolist()
    assert np.isfinite(rbm.score_samples(table)).all()
    fast = RBM(n_iter=2)
    few = DBNClassifier((4,), rbm=fast, max_iter=2, random_state=0)
    assert few.fit(table.drop(columns="colour"), y).predict(table.drop(columns="colour")).shape == (len(table),)
    pipe = make_pipeline(RBM(100, n_iter=2, random_state=0), LogisticRegression()).fit(table, y)
    assert pipe.predict(table).shape == (len(table),)
    detector = AnomalyDetector(RBM(100, n_iter=2), contamination=0.02).fit(table)
    assert set(detector.predict(table)) <= {1, -1}
    np.testing.assert_array_equal(detector.decision_function(table) < 0, detector.predict(table) == -1)
    assert detector.score_samples(table).shape == (len(table),)

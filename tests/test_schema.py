"""Schemas: what the columns of a table are taken for, and rows of units that become the table again."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import case_by_case

from deepbelief.errors import DataError, SettingError
from deepbelief.sources.decimals import decimals_of
from deepbelief.sources.frames import as_frame, needs_schema
from deepbelief.sources.schema import Schema
from deepbelief.sources.table_columns import READINGS, read_column
from deepbelief.units import get_unit

TABLES = Path(__file__).resolve().parents[2] / "shared" / "datasets" / "tables"


def mixed(n=60, library="pandas"):
    rng = np.random.default_rng(0)
    size = rng.normal(10, 3, n)
    size[::7] = np.nan
    columns = {
        "size": size,
        "count": rng.integers(0, 4, n),
        "colour": [None if i % 11 == 0 else str(rng.choice(["red", "green", "blue"])) for i in range(n)],
        "good": rng.random(n) < 0.5,
        "constant": ["same"] * n,
        "name": [f"row {i}" for i in range(n)],
    }
    return {"pandas": pd.DataFrame, "pyarrow": pa.table, "mapping": dict}[library](columns)


@pytest.mark.parametrize("library", ["pandas", "pyarrow", "mapping"])
def test_columns_are_taken_for_what_they_are(library):
    schema = Schema.fit(mixed(library=library))
    assert {c.name: c.kind for c in schema.columns} == {
        "size": "number", "count": "number", "colour": "category", "good": "category", "constant": "dropped",
        "name": "dropped",
    }  # fmt: skip
    assert schema.groups == (20, 4, 3, 2)
    assert get_unit(schema.visible).group_sizes(schema.n_units) == schema.groups
    assert "they identify rows" in str(schema)


def test_units_are_one_of_each_group_or_missing():
    table = mixed()
    units = Schema.fit(table).encode(table)
    sums = np.add.reduceat(units, [0, 20, 24, 27], axis=1)
    assert np.array_equal(np.isnan(sums[:, 0]), table["size"].isna())
    assert np.array_equal(np.isnan(sums[:, 2]), table["colour"].isna())
    assert set(np.unique(sums[~np.isnan(sums)])) == {1.0}


@pytest.mark.parametrize("library", ["pandas", "pyarrow"])
def test_a_table_comes_back(library):
    table = mixed(library=library)
    schema = Schema.fit(table)
    units = schema.encode(table)
    back = schema.table(schema.decode(units))
    assert type(back) is type(table)
    before, after = (t if library == "pandas" else t.to_pandas() for t in (table, back))
    assert before.dtypes.equals(after.dtypes)
    for name in ("count", "good", "constant"):
        assert before[name].equals(after[name]), name
    assert before["colour"].fillna("-").tolist() == after["colour"].fillna("-").tolist()
    assert np.abs(before["size"] - after["size"]).max() < np.ptp(before["size"].dropna())  # within its cell
    again = schema.encode(back)
    assert np.array_equal(np.isnan(again), np.isnan(units))
    assert np.array_equal(again[:, 20:], units[:, 20:], equal_nan=True)
    # A number drawn within its cell stays in it.
    drawn = schema.table(schema.decode(units, random=np.random.default_rng(0)))
    assert np.array_equal(schema.encode(drawn), units, equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda x: round(x, 3)), min_size=2, max_size=80))
def test_cells_of_any_number_hold_its_values(values):
    if len(set(values)) == 1:
        return
    (column,) = Schema.fit({"x": values}).columns
    assert 2 <= column.width <= 20
    assert np.all(np.diff(column.edges) > 0)
    assert np.all(np.diff(column.scores) > 0)
    cells = np.searchsorted(column.edges, values)
    for k in range(column.width):
        inside = np.array(values)[cells == k]
        assert (inside.min(), inside.max()) == (column.low[k], column.high[k])
        np.testing.assert_allclose(column.cells[k], inside.mean(), rtol=1e-9, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-(10**8), 10**8), min_size=30, max_size=60, unique=True), st.integers(0, 6), st.booleans())
def test_drawn_numbers_have_the_decimals_of_the_training_values(counts, n, single):
    values = np.array([int(count) / 10**n for count in counts])
    if single:
        values = values.astype(np.float32)
    schema = Schema.fit({"x": values})
    (column,) = schema.columns
    assert column.decimals is not None
    assert column.decimals <= n
    if not single:
        assert all(round(x, column.decimals) == x for x in values.tolist())
        assert column.decimals == 0 or any(round(x, column.decimals - 1) != x for x in values.tolist())
    units = np.repeat(np.eye(column.width), 20, axis=0)
    drawn = np.array(schema.decode(units, random=np.random.default_rng(0))["x"])
    assert all(round(x, column.decimals) == x for x in drawn.tolist())
    assert np.array_equal(schema.encode({"x": drawn.astype(values.dtype)}), units)
    assert len(np.unique(drawn)) > column.width  # not the means of the cells only


@case_by_case(
    ("values", "decimals"),
    [
        ([1.0, 2.0, -3.0], 0), ([1e300, 1.5], 1), ([1e305, 1.000001], None), ([0.1 + 0.2, 0.1], 1),
        ([1 / 3, 1.0], None), ([1e-7, 1.0], None), ([1e-6, 1.0], 6), ([np.float32(0.1), 7.0], 1),
        ([np.float32(1 / 3), 0.5], None), ([8388607.5, 1.0], 1), ([0.0, -0.25], 2),
    ],
)  # fmt: skip
def test_decimals_are_those_that_all_values_have(values, decimals):
    assert decimals_of(np.array(values, np.float64)) == decimals


def test_means_have_all_digits_unless_they_are_rounded_on_request():
    table = {"x": [0.25 * i for i in range(40)], "n": pd.array(range(40), "Int64")}
    schema = Schema.fit(pd.DataFrame(table))
    units = np.hstack([np.eye(20) * 0.7 + 0.015] * 2)
    for rounded in (True, False):
        found = schema.decode(units, rounded=rounded)
        assert all(value == round(value) for value in found["n"])
        assert all(value == round(value, 2) for value in found["x"]) == rounded


def test_schemas_of_early_files_know_whole_numbers_but_no_decimals():
    schema = Schema.fit({"x": [0.25 * i for i in range(40)], "n": list(range(40)), "kind": ["a", "b"] * 20})
    early = json.loads(json.dumps(schema.to_dict()))
    for column in early["columns"]:
        column["whole"] = column.pop("decimals") == 0
    assert [column.decimals for column in Schema.from_dict(early).columns] == [None, 0, None]
    for wrong in (-1, 7, 1.0, True, "2"):
        broken = json.loads(json.dumps(schema.to_dict()))
        broken["columns"][0]["decimals"] = wrong
        with pytest.raises(DataError, match="no schema"):
            Schema.from_dict(broken)


def test_plain_values_give_the_same_schema():
    schema = Schema.fit(mixed())
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema
    with pytest.raises(DataError, match="no schema"):
        Schema.from_dict({"columns": 3})


def test_overrides_win():
    table = mixed()
    schema = Schema.fit(table, {"count": "category", "name": "dropped", "size": "dropped"})
    assert {c.name: c.kind for c in schema.columns}["count"] == "category"
    assert schema.groups == (4, 3, 2)
    with pytest.raises(SettingError, match="did you mean 'colour'"):
        Schema.fit(table, {"color": "category"})
    with pytest.raises(SettingError, match="unknown kind"):
        Schema.fit(table, {"colour": "text"})


@case_by_case(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="size"), "lacks the column 'size'"),
        (lambda t: t.assign(more=1), "has the column 'more'"),
        (lambda t: t.assign(colour="purple"), "row 0, column 'colour': 'purple'.*blue"),
        (lambda t: t.assign(size="tall"), "row 0, column 'size': 'tall' is not a number"),
        (lambda t: t.assign(size=np.inf), "row 0, column 'size': inf is not finite"),
    ],
)
def test_rows_that_do_not_fit_are_refused(change, message):
    table = mixed()
    schema = Schema.fit(table)
    with pytest.raises(DataError, match=message):
        schema.encode(change(table))


def test_unknown_categories_may_be_missing():
    table = mixed()
    schema = Schema.fit(table)
    units = schema.encode(table.assign(colour="purple"), handle_unknown="missing")
    assert np.isnan(units[:, 24:27]).all()


def test_order_of_columns_and_dropped_columns_do_not_matter():
    table = mixed()
    schema = Schema.fit(table)
    turned = table[["good", "colour", "size", "count"]]
    assert np.array_equal(schema.encode(turned), schema.encode(table), equal_nan=True)


@case_by_case(
    ("table", "message"),
    [
        ({"a": [None, None], "b": [1, 2]}, "column 'a' has no value at all"),
        ({"a": ["x", 3, True], "b": [1, 2, 3]}, "several types"),
        ({"a": [1, 2], "b": [1]}, "different lengths"),
        ({"a": []}, "no rows"),
        ({}, "no columns"),
        ({"a": [1, 1]}, "all columns of the table are constant"),
        (pd.DataFrame({"a": pd.to_datetime(["2020-01-01", "2020-01-02"])}), "dates"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "same name, 'a'"),
        (pd.DataFrame([[1, "x"]], columns=["1", 1]), "same name, '1'"),
        ({"1": [1, 2], 1: ["x", "y"]}, "same name, '1'"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(table, message):
    with pytest.raises(Exception, match=message) as error:
        Schema.fit(table)
    assert isinstance(error.value, (DataError, ValueError))


@case_by_case(
    "column",
    [
        pd.array([1, None, 3, 4], "Int64"), pd.array([True, None, False, True], "boolean"),
        pd.array(["a", None, "b", "a"], "string"), pd.Categorical(["a", None, "b", "a"]),
        pd.array([1.5, None, 2.5, 1.5], "Float64"), pd.array([1, None, 2, 1], "int64[pyarrow]"),
    ],
)  # fmt: skip
def test_nullable_columns_come_back_in_their_type(column):
    table = pd.DataFrame({"x": column, "y": [1.0, 2.0, 3.0, 4.0]})
    schema = Schema.fit(table)
    back = schema.table(schema.decode(schema.encode(table)))
    assert back.dtypes["x"] == table.dtypes["x"]
    assert back["x"].isna().tolist() == [False, True, False, False]
    assert back["x"].dropna().tolist() == table["x"].dropna().tolist()


def test_only_tables_that_need_one_get_a_schema():
    plain = pd.DataFrame({"a": [1.0, 2.0], "b": [3, 4]})
    assert not needs_schema(plain)
    assert needs_schema(plain.assign(a=[np.nan, 1]))
    assert needs_schema(plain.assign(a=[True, False]))
    assert not needs_schema(plain.to_numpy())
    assert not needs_schema(pd.DataFrame(np.eye(3)))


@pytest.mark.parametrize("name", ["titanic", "penguins", "mpg", "tips", "planets"])
def test_real_tables(name):
    path = TABLES / f"{name}.csv"
    if not path.is_file():
        pytest.skip(f"{path.name} is not there")
    table = pd.read_csv(path)
    schema = Schema.fit(table)
    back = schema.table(schema.decode(schema.encode(table)))
    assert back.shape == table.shape
    for column in schema.used:
        assert back[column.name].isna().equals(table[column.name].isna())
        if column.kind == "category":
            assert back[column.name].dropna().tolist() == table[column.name].dropna().tolist()


def gappy(n=120):
    """Return a table in which a number is missing for one of two kinds only."""
    rng = np.random.default_rng(5)
    kind = rng.choice(["a", "b"], n)
    return pd.DataFrame(
        {"kind": kind, "size": np.where((kind == "a") & (rng.random(n) < 0.8), np.nan, rng.normal(size=n)),
         "few": np.where(np.arange(n) < 4, np.nan, rng.normal(size=n))}
    )  # fmt: skip


def test_columns_with_many_missing_values_have_units_that_say_so():
    table = gappy()
    schema = Schema.fit(table)
    assert schema.groups == (2, 20, 20, 2)  # not for the column that lacks 4 values
    assert schema.gaps == {"size": 42}
    units = schema.encode(table)
    assert np.array_equal(units[:, 43] == 1, table["size"].isna())
    assert np.array_equal(units[:, 42:].sum(axis=1), np.ones(len(table)))
    assert schema.columns[1].gaps
    assert "or missing" in str(schema.columns[1])
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema
    whole = np.nan_to_num(units, nan=0.05)
    assert None not in schema.decode(whole)["size"]
    assert [value is None for value in schema.decode(whole, gaps=True)["size"]] == table["size"].isna().tolist()
    conditions = schema.encode(table, gaps=False)
    assert np.array_equal(np.isnan(conditions[:, 42]), table["size"].isna())
    unknown = schema.encode({**table[:1], "kind": ["c"]}, handle_unknown="missing")
    assert np.isnan(unknown[0, :2]).all()


def test_numbers_drawn_from_a_cell_have_its_mean():
    """The last cell of a heavy-tailed number reaches far: draws that fill it evenly would be too large."""
    rng = np.random.default_rng(7)
    schema = Schema.fit({"size": np.exp(2 * rng.normal(size=400)), "kind": rng.choice(["a", "b"], 400)})
    column = schema.columns[0]
    last = np.zeros((4000, schema.n_units))
    last[:, [len(column.cells) - 1, -1]] = 1
    drawn = np.array(schema.decode(last, random=rng)["size"])
    assert drawn.min() >= column.low[-1]
    assert drawn.max() <= column.high[-1]
    assert abs(drawn.mean() - column.cells[-1]) < 5 * drawn.std() / 4000**0.5
    assert (column.low[-1] + column.high[-1]) / 2 > column.cells[-1] + 10 * drawn.std() / 4000**0.5


def test_cells_of_equal_width_and_units_of_missing_values():
    values = np.r_[np.zeros(50), np.linspace(-1, 1, 49), 9.0]
    frame = as_frame({"a": values, "b": [None, "x"] * 50, "c": ["y"] * 100, "d": [None] * 100})
    number, category, constant, empty = (read_column(frame, i, None, READINGS["equal"]) for i in range(4))
    bounds = values.mean() + values.std() * np.linspace(-3, 3, 13)[1:-1]
    first, last = np.searchsorted(bounds, [-1, 1])
    # The empty cells between those of 1 and of 9 go to the nearer one of the two.
    middle = bounds[(last + len(bounds) + 1) // 2 - 1]
    np.testing.assert_allclose(number.edges, [*bounds[first:last], middle], rtol=1e-12)
    assert number.missing_unit == np.searchsorted(number.edges, 0.0)  # no value is missing: the most frequent cell
    assert (category.values, category.missing_unit, category.width) == (("x",), 1, 2)
    assert (constant.kind, constant.width, empty.kind, empty.width) == ("dropped", 0, "dropped", 0)
    found = Schema((number, category)).encode({"a": [None, 0.0], "b": [None, "x"]})
    assert np.array_equal(found[0, : number.width], found[1, : number.width])
    assert found[:, number.width :].tolist() == [[0, 1], [1, 0]]

"""CSV: delimiters, headers, labels, and errors that name line and column."""

import csv
import gzip
import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables import case_by_case

import deepbelief.sources.text as text_module
from deepbelief.datasets import open as open_data
from deepbelief.errors import DataError, DataWarning


@pytest.fixture
def opened(tmp_path):
    """Write a CSV file and open it."""

    def write_and_open(text, name="a.csv", **options):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return open_data(str(path), **{"scale": "none", **options})

    return write_and_open


def rows_of(dataset):
    return dataset.rows.take(slice(None))


number = st.one_of(st.integers(-300, 300), st.floats(-1e6, 1e6, width=32))
word = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=6).map(
    lambda s: "name" + s
)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_what_is_written_is_read(opened, monkeypatch, draw):
    n, d = draw.draw(st.integers(1, 12)), draw.draw(st.integers(1, 5))
    rows = draw.draw(st.lists(st.lists(number, min_size=d, max_size=d), min_size=n, max_size=n))
    names = draw.draw(st.none() | st.lists(word, min_size=d + 1, max_size=d + 1, unique=True))
    labels = draw.draw(st.lists(word if names else number, min_size=n, max_size=n))
    column = draw.draw(st.integers(0, d))
    buffer = io.StringIO()
    quoting = draw.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    end = draw.draw(st.sampled_from(["\n", "\r\n"]))
    writer = csv.writer(buffer, delimiter=draw.draw(st.sampled_from(",;\t")), quoting=quoting, lineterminator=end)
    if names:
        writer.writerow(names)
    writer.writerows([*row[:column], label, *row[column:]] for row, label in zip(rows, labels, strict=True))
    text = buffer.getvalue().encode(draw.draw(st.sampled_from(["utf-8", "utf-8-sig"])))
    monkeypatch.setattr(text_module, "CHUNK", draw.draw(st.sampled_from([1, 30, 2**20])))
    by_name = names is not None and draw.draw(st.booleans())
    dataset = opened(text, labels=names[column] if by_name else str(column))
    np.testing.assert_array_equal(rows_of(dataset), np.array(rows, np.float32))
    np.testing.assert_array_equal(dataset.labels, np.array(labels))
    assert dataset.feature_names == (names[:column] + names[column + 1 :] if names else None)
    limited = opened(text, labels=str(column), limit=max(1, n // 2))
    np.testing.assert_array_equal(rows_of(limited), np.array(rows[: max(1, n // 2)], np.float32))


def test_bytes_stay_bytes_and_other_numbers_become_float32(opened, monkeypatch):
    monkeypatch.setattr(text_module, "CHUNK", 1)
    assert opened("0,255\n1,2\n").rows.array.dtype == np.uint8
    mixed = opened("0,255\n0.5,2\n")
    assert mixed.rows.array.dtype == np.float32
    np.testing.assert_array_equal(rows_of(mixed), [[0, 255], [0.5, 2]])


@case_by_case(
    ("text", "scaling"),
    [("0,255\n", "none"), ("0,1\n", "none"), ("pixel1,pixel2\n0,255\n", "255"), (",".join(["0", "255"] * 32), "255")],
)
@case_by_case("chunk", [1, 2**20])
def test_auto_scale_of_text(text, scaling, chunk, opened, monkeypatch):
    monkeypatch.setattr(text_module, "CHUNK", chunk)
    assert opened(text, scale="auto").scaling == scaling


@case_by_case(
    ("text", "labels", "header", "expected"),
    [
        ("a,b\n1,2\n", None, ["a", "b"], [[1, 2]]),
        ("label,0,1\n7,1,2\n", None, ["label", "0", "1"], [[7, 1, 2]]),
        ("1,2\n3,4\n", None, None, [[1, 2], [3, 4]]),
        ("label,0,1\n7,1,2\n", "0", ["0", "1"], [[1, 2]]),  # a header over numbered columns
        ("label,0,1\n7,1,2\n", "label", ["0", "1"], [[1, 2]]),
        ("a,2020,c\n7,1,2\n", "2020", ["a", "c"], [[7, 2]]),  # no index, so a name
        ("label,0,1\nsetosa,1,2\n", "label", ["0", "1"], [[1, 2]]),
        ("setosa,1,2\nvirginica,3,4\n", "0", None, [[1, 2], [3, 4]]),  # labels that are words are no header
        ("1,2,setosa\n3,4,virginica\n", "-1", None, [[1, 2], [3, 4]]),
        ("\n1\n\n2\n", None, None, [[1], [2]]),
        ("x;y\n1;2", None, ["x", "y"], [[1, 2]]),
        ('"x, y",z\n"1","2"\n', None, ["x, y", "z"], [[1, 2]]),
        (" 1 , 2e-1 \n", None, None, [[1, 0.2]]),
    ],
)
def test_headers_and_labels(text, labels, header, expected, opened):
    dataset = opened(text, labels=labels)
    assert dataset.feature_names == header
    np.testing.assert_array_equal(rows_of(dataset), np.array(expected, np.float32))


@case_by_case(
    ("text", "words"),
    [
        ("1,2\n3,x\n", "line 2, column 2: 'x' is not a number"),
        ("3,x\n1,2\n", "line 1, column 2: 'x' is not a number"),  # no header: its row would be lost without a word
        ("3,,5\n1,2,3\n", "line 1, column 2: the cell is empty"),
        ("1,5;2,5\n", "line 1, column 2: '5;2' is not a number"),
        (",0,1\n0,1,0\n", "line 1, column 1: the cell is empty"),
        ("5.1,3.5,n/a\n4.9,3.0,1.4\n", "line 1, column 3: 'n/a' is not a number"),
        ("n/a,1,2\n3,4,5\n", "line 1, column 1: 'n/a' is not a number"),
        ("x1,x2,3\n1,2,3\n", "line 1, column 1: 'x1' is not a number; if these are the labels, name the column"),
        ("x,0,1\n1,0,1\n", "line 1, column 1: 'x' is not a number"),
        ("a,b,a\n1,2,3\n", "two columns are called 'a'; rename one"),
        ("a,,b\n1,2,3\n", "column 2 has no name in the header"),
        ("a,b,\n1,2,\n", "the lines end in a delimiter: column 3 is empty"),
        ('a,b\n1,"2\n', "line 2 leaves a quote open"),
        ('a,b\n1,"' + "9" * 140_000 + '"\n', "line 2 cannot be split into cells: field larger"),
        ("a,b\n1," + "9" * 140_000 + "\n", "line 2, column 2 ('b'): the value is 9999"),
        ("5.1,3.5,setosa\n", "line 1, column 3: 'setosa' is not a number; if these are the labels"),
        ("a,b\n1,2\n\n3,1_0\n", "line 4, column 2 ('b'): '1_0' is not a number"),
        ("1,2\n3,\n", "line 2, column 2: the cell is empty"),
        ("1,2\n3\n", "line 2 has 1 cells where the first line has 2"),
        ("1,2\n3,4,5\n", "line 2 has 3 cells"),
        ("a,b\n3,4,5\n", "line 2 has 3 cells"),
        ("1,2\nnan,4\n", "line 2, column 1: the value is nan"),
        ("1,2\n1,-inf\n", "line 2, column 2: the value is -inf"),
        ("1,2\n1,1e999\n", "line 2, column 2: the value is 1e999"),
        ("1,2\n1,NA\n", "'NA' is not a number"),
        ("1,2\n3,4+5j\n", "'4+5j' is not a number"),
        ("1,2\n#3,4\n", "'#3' is not a number"),
        (
            "a,b,kind\n2,3,virginica\n",
            "line 2, column 3 ('kind'): 'virginica' is not a number; if these are the labels",
        ),
        ('1,2\n"3",x\n', "line 2, column 2: 'x'"),
        ("1,2\n3,1e300\n", "line 2, column 2: 1e300 is too large"),
    ],
)
@case_by_case(("pack", "chunk"), [(None, 2**20), (gzip.compress, 1)])
def test_errors_name_line_and_column(text, words, pack, chunk, opened, monkeypatch):
    monkeypatch.setattr(text_module, "CHUNK", chunk)
    with pytest.raises(DataError) as error:
        opened(pack(text.encode()) if pack else text, "a.csv.gz" if pack else "a.csv")
    assert words in str(error.value)
    assert "a.csv" in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@case_by_case(
    ("text", "names"),
    [
        (",a,b\n0,1,2\n1,1,2\n", ["a", "b"]),
        ("Unnamed: 0,a,b\n7,1,2\n3,1,2\n", ["a", "b"]),
        ('"","a","b"\n"Mazda",1,2\n"Fiat",1,2\n', ["a", "b"]),
        (",0,1\n0,1,2\n1,1,2\n", ["0", "1"]),
    ],
)
def test_the_index_of_a_frame_is_left_out_and_told(text, names, opened):
    with pytest.warns(DataWarning, match="column 1 .*index"):
        dataset = opened(text)
    assert dataset.feature_names == names
    np.testing.assert_array_equal(rows_of(dataset), [[1, 2], [1, 2]])


def test_a_header_that_counts_is_told(opened):
    with pytest.warns(DataWarning, match="counts from 0 to 4"):
        assert opened("0,1,2,3,4\n5,6,7,8,9\n").feature_names == list("01234")


def test_blank_lines_end_somewhere(opened, monkeypatch):
    monkeypatch.setattr(text_module, "MAX_BLANK", 50)
    with pytest.raises(DataError, match="line 52 ends 50 blank lines"):
        opened("1\n" + "\n" * 60)


@case_by_case(
    ("cells", "expected"),
    [
        (["7", "-1"], np.array([7, -1])),
        (["7", "007"], np.array(["7", "007"])),
        (["10", "1_0"], np.array(["10", "1_0"])),
        (["1", "18446744073709551615"], np.array(["1", "18446744073709551615"])),
        (["9007199254740993", "9007199254740992", "0.5"], np.array(["9007199254740993", "9007199254740992", "0.5"])),
        (["1.5", "-2e3"], np.array([1.5, -2000])),
        (["1", "01.5"], np.array(["1", "01.5"])),
        (["", "1"], np.array([np.nan, 1])),
        (["1", "n/a", "2"], np.array([1, np.nan, 2])),
        (["", "a"], np.array([None, "a"], object)),
    ],
)
def test_labels_are_numbers_only_where_each_is_written_as_one(cells, expected, opened, tmp_path):
    found = opened("x,y\n" + "".join(f"1,{cell}\n" for cell in cells), labels="y").labels
    (tmp_path / "y.csv").write_text("name\n" + "\n".join(cells))
    for labels in (found, opened("1\n" * len(cells), labels=str(tmp_path / "y.csv")).labels):
        assert labels.dtype.kind == expected.dtype.kind
        np.testing.assert_array_equal(labels, expected)


@case_by_case(
    ("labels", "words"),
    [
        ("z", "no column and no file is called 'z'; the first line has: a, b"),
        ("2", "no column 2: there are 2"),
        ("-3", "no column -3"),
    ],
)
def test_labels_that_are_not_there(labels, words, opened):
    with pytest.raises(DataError) as error:
        opened("a,b\n1,2\n,3\n", labels=labels)
    assert words in str(error.value)


def test_a_limit_stops_the_reading(opened):
    assert rows_of(opened("1,2\n3,x\n", limit=1)).tolist() == [[1, 2]]


def test_a_line_without_an_end(opened, monkeypatch):
    monkeypatch.setattr(text_module, "LINE_LIMIT", 50)
    with pytest.raises(DataError, match=r"a.csv: line 2 is longer than 50 bytes"):
        opened("1,2\n" + "1," * 200)


def test_a_table_of_labels_alone(opened):
    with pytest.raises(DataError, match="beside the labels"):
        opened("a\n1\n", labels="a")


@case_by_case(
    ("text", "expected"),
    [
        ("3\n-1\n4\n", [3, -1, 4]),
        ("y\n3\n-1\n4\n", [3, -1, 4]),
        ("cat\ndog\ncat\n", ["cat", "dog", "cat"]),
        ("kind\ncat\ndog\ncat\n", ["cat", "dog", "cat"]),
        ("0.5\n1\n2\n", [0.5, 1, 2]),
    ],
)
def test_a_file_of_labels(text, expected, opened, tmp_path):
    (tmp_path / "y.csv").write_text(text)
    dataset = opened("1,2\n3,4\n5,6\n", labels=str(tmp_path / "y.csv"))
    np.testing.assert_array_equal(dataset.labels, np.array(expected))
    assert dataset.labels.dtype.kind == np.array(expected).dtype.kind
    limited = opened("1,2\n3,4\n5,6\n", labels=str(tmp_path / "y.csv"), limit=2)
    np.testing.assert_array_equal(limited.labels, np.array(expected)[:2])


@case_by_case(
    ("text", "words"),
    [
        ("1\n2\n", "has 3 rows but there are 2 labels in .*y.csv"),
        ("1\n2\n3\n4\n5\n", "has 3 rows but there are 5 labels"),
        ("1,2\n", "one column"),
        ("1\n1e999\n2\n", "label 1 .* is inf"),
        ("y\n\n\n\n", "there are 1 labels"),
    ],
)
def test_a_bad_file_of_labels(text, words, opened, tmp_path):
    (tmp_path / "y.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        opened("1,2\n3,4\n5,6\n", labels=str(tmp_path / "y.csv"))


def test_a_folder_of_the_same_name_hides_no_column(opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    np.testing.assert_array_equal(opened("data,x\n1,2\n", labels="data").labels, [1])


@case_by_case(
    "text", ["1700000001,0.5\n1700000002,2\n", "20000000.25,1\n20000000.5,2\n", "100000.001,1\n100000.002,2\n"]
)
def test_large_values_that_hardly_differ_are_read_exactly(text, opened):
    expected = np.array([line.split(",") for line in text.split()], float)
    np.testing.assert_array_equal(opened(text).rows.take(slice(None)), expected)

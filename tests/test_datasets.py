"""Data by name and by file, and every way in which a file can be bad."""

import gzip
import io
import struct
import time
import urllib.error
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import sklearn.datasets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables import case_by_case

import deepbelief.sources.content as content_module
import deepbelief.sources.text as text_module
from deepbelief.datasets import open as open_data
from deepbelief.errors import DataError, DataWarning, SettingError
from deepbelief.sources import Scaling

SAMPLES = Path(__file__).parent.parent / "data"
DIGITS, LABELS = sklearn.datasets.load_digits(return_X_y=True)
GREY = np.rint(DIGITS[:60] * 255 / 16)


def rows_of(dataset):
    return dataset.rows.take(slice(None))


def idx(array, code=0x08, dtype=">u1"):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape) + array.astype(dtype).tobytes()


@pytest.fixture(autouse=True)
def _no_data_dir(monkeypatch):
    monkeypatch.delenv("DEEPBELIEF_DATA", raising=False)


@pytest.fixture
def refused(tmp_path):
    """Write content to a file, and return the one line with which opening it is refused."""

    def refuse(name, content, **options):
        path = tmp_path / name.partition(":")[0]
        if content is not None:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        with pytest.raises(DataError) as error:
            rows_of(open_data(str(tmp_path / name), **options))
        line = str(error.value)
        assert "\n" not in line
        assert str(path) in line
        return line

    return refuse


@case_by_case(
    ("spec", "labels", "rows"),
    [
        ("digits.npy", "digits-labels.npy", slice(60)),
        ("digits.npz", "y", slice(60)),
        ("digits.npz:X", "y", slice(60)),
        ("digits.csv", "digit", slice(60)),
        ("digits.csv", "-1", slice(60)),
        ("digits.csv.gz", "64", slice(60)),
        ("digits.h5", "y", slice(60)),
        ("digits.h5:/X", "/y", slice(60)),
        ("digits.h5", "digits.npz:y", slice(60)),
        ("digits.npy", "digits.h5:/y", slice(60)),
        ("digits.svmlight", None, slice(60)),
        ("idx", None, slice(40)),
        ("idx:train", None, slice(40)),
        ("idx:test", None, slice(40, 60)),
        ("idx/t10k-images-idx3-ubyte", "idx/t10k-labels-idx1-ubyte", slice(40, 60)),
        ("idx/train-images-idx3-ubyte.gz", "idx/train-labels-idx1-ubyte.gz", slice(40)),
    ],
)
def test_every_sample_holds_the_same_digits(spec, labels, rows):
    if labels and ("." in labels or "idx" in labels):
        labels = str(SAMPLES / labels)
    dataset = open_data(str(SAMPLES / spec), labels=labels)
    np.testing.assert_array_equal(rows_of(dataset), (GREY[rows] / 255).astype(np.float32))
    np.testing.assert_array_equal(dataset.labels, LABELS[rows])
    assert dataset.labels.dtype == np.int64
    assert dataset.scaling == "255"
    assert dataset.rows.dtype == np.float32
    limited = open_data(str(SAMPLES / spec), labels=labels, limit=7)
    np.testing.assert_array_equal(rows_of(limited), rows_of(dataset)[:7])
    np.testing.assert_array_equal(limited.labels, dataset.labels[:7])


def test_a_data_set_knows_its_name_and_where_it_came_from(monkeypatch):
    monkeypatch.chdir(SAMPLES)
    for spec, name in (
        ("digits.csv.gz", "digits"),
        ("digits.h5:/X", "digits"),
        ("idx", "idx"),
        ("idx:test", "idx-test"),
    ):
        dataset = open_data(spec)
        assert dataset.name == name
        assert dataset.source_path == str(SAMPLES.resolve() / spec)
        assert open_data(dataset.source_path).rows.shape == dataset.rows.shape
    assert open_data("digits28").source_path == "digits28"
    assert open_data("digits.csv", labels="digit").feature_names == [f"p{i}" for i in range(64)]


def test_a_scaling_is_reapplied_as_it_was():
    train = open_data(str(SAMPLES / "idx"), scale="minmax")
    test = open_data(str(SAMPLES / "idx:test"), scale=train.scale)
    low, spread = GREY[:40].min(0), np.ptp(GREY[:40], axis=0)
    np.testing.assert_allclose(rows_of(test), (GREY[40:] - low) / np.where(spread, spread, 1), rtol=1e-6)
    assert test.scaling == "minmax"
    np.testing.assert_array_equal(
        rows_of(open_data("digits", scale=Scaling("255"), limit=9)), (DIGITS[:9] / 16 / 255).astype("f4")
    )


def test_built_in_digits_lie_in_the_unit_interval():
    small, large = open_data("digits"), open_data("digits28")
    np.testing.assert_array_equal(rows_of(small), DIGITS / 16)
    np.testing.assert_array_equal(large.labels, LABELS)
    rows = rows_of(large)
    assert rows.shape == (1797, 784)
    assert rows.dtype == np.float32
    assert rows.min() >= 0
    assert rows.max() <= 1
    assert large.scaling == "none"
    # Averaging the large pictures back over 7 x 7 fields of a 56 x 56 enlargement must give nearly the small ones.
    back = rows.reshape(-1, 28, 28).repeat(2, 1).repeat(2, 2).reshape(-1, 8, 7, 8, 7).mean((2, 4)).reshape(-1, 64)
    assert np.abs(back - DIGITS / 16).mean() < 0.05
    assert np.corrcoef(back.ravel(), DIGITS.ravel())[0, 1] > 0.97
    np.testing.assert_array_equal(rows, rows_of(open_data("digits28")))


@case_by_case("name", ["mnist", "fashion-mnist"])
@case_by_case("by_variable", [True, False])
@case_by_case("in_folder", [True, False])
def test_named_sets_come_from_a_folder(name, by_variable, in_folder, tmp_path, monkeypatch):
    folder = tmp_path / name if in_folder else tmp_path
    folder.mkdir(exist_ok=True)
    images = np.arange(3 * 4).reshape(3, 2, 2)
    (folder / "train-images-idx3-ubyte").write_bytes(idx(images))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([7, 8, 9]))))
    (folder / "t10k-images.idx3-ubyte").write_bytes(idx(images[:1]))
    (folder / "t10k-labels.idx1-ubyte").write_bytes(idx(np.array([5])))
    monkeypatch.setenv("DEEPBELIEF_DATA", str(tmp_path if by_variable else "/nowhere"))
    options = {} if by_variable else {"data_dir": str(tmp_path)}
    train, test = open_data(name, scale="none", **options), open_data(f"{name}:test", scale="none", **options)
    np.testing.assert_array_equal(rows_of(train), images.reshape(3, 4))
    np.testing.assert_array_equal(train.labels, [7, 8, 9])
    np.testing.assert_array_equal(rows_of(test), images[:1].reshape(1, 4))
    np.testing.assert_array_equal(test.labels, [5])
    assert (train.name, test.name) == (name, f"{name}-test")


def test_named_sets_come_from_openml_otherwise(monkeypatch):
    def fetch(name, **options):
        assert name == "mnist_784"
        images = np.zeros((70_000, 1))
        images[60_000:] = 255
        return images, np.array(["3"] * 60_000 + ["4"] * 10_000, dtype=object)

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    train, test = open_data("mnist", scale="none"), open_data("mnist:test")
    assert train.rows.shape == (60_000, 1)
    assert set(train.labels) == {3}
    assert set(test.labels) == {4}
    assert test.scaling == "255"


@pytest.mark.parametrize("data_dir", [None, "/nowhere"])
def test_named_sets_that_are_nowhere_name_both_ways(data_dir, monkeypatch):
    def fail(*args, **options):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fail)
    with pytest.raises(DataError, match=r"IDX files.*DEEPBELIEF_DATA.*fetch_openml\('Fashion-MNIST'\)") as error:
        open_data("fashion-mnist", data_dir=data_dir)
    assert "Name or service not known" in str(error.value)
    assert (data_dir or "not set") in str(error.value)


def test_names_and_options_that_are_wrong():
    with pytest.raises(DataError, match="did you mean mnist"):
        open_data("mnits")
    with pytest.raises(DataError, match="digits, digits28, mnist, fashion-mnist"):
        open_data("/nowhere/rows.csv")
    with pytest.raises(DataError, match="mnist:test"):
        open_data("mnist:valid")
    with pytest.raises(DataError, match="no splits"):
        open_data("digits:test")
    with pytest.raises(SettingError, match="limit"):
        open_data("digits", limit=0)
    with pytest.raises(SettingError, match="auto, none, 255, minmax"):
        open_data("digits", scale="standard")
    with pytest.raises(SettingError, match="labels"):
        open_data("digits", labels="y")
    for spec in ("", ":", "\0", "x" * 5000, "a:b:c"):
        with pytest.raises(DataError):
            open_data(spec)


DTYPES = [(0x08, ">u1"), (0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")]


@case_by_case("code, dtype", DTYPES)
@case_by_case("compress", [bytes, gzip.compress])
def test_idx_of_every_dtype(code, dtype, compress, tmp_path):
    array = np.arange(24).reshape(4, 2, 3)
    (tmp_path / "a.idx").write_bytes(compress(idx(array, code, dtype)))
    dataset = open_data(str(tmp_path / "a.idx"))
    assert dataset.scaling == "none"  # whole numbers up to 23 are no grey levels
    assert rows_of(dataset).dtype == (np.float64 if dtype == ">f8" else np.float32)
    np.testing.assert_allclose(rows_of(dataset), array.reshape(4, 6), rtol=1e-6)


IDX = idx(np.arange(12).reshape(3, 2, 2))


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_every_cut_of_an_idx_file_is_told(compress, refused):
    whole = compress(IDX)
    for n in range(len(whole)):
        refused("cut.idx", whole[:n])


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
@pytest.mark.parametrize("name", ["digits.npy", "digits.npz", "digits.csv.gz", "digits.h5", "digits.svmlight"])
def test_a_damaged_file_is_read_or_told_and_nothing_else(name, tmp_path, draw):
    content = bytearray((SAMPLES / name).read_bytes())
    content = content[: draw.draw(st.integers(0, len(content)))]
    for _ in range(draw.draw(st.integers(0, 3)) if content else 0):
        content[draw.draw(st.integers(0, len(content) - 1))] = draw.draw(st.integers(0, 255))
    path = tmp_path / name
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    line = None
    try:
        rows_of(open_data(str(path)))
    except (DataError, DataWarning) as told:  # a name lost from the header is a warning
        line = str(told)
    assert line is None or (str(path) in line and "\n" not in line)


@pytest.mark.parametrize("name", ["digits.npy", "digits.npz", "digits.csv.gz", "digits.h5"])
def test_a_file_cut_in_half_is_told(name, refused):
    whole = (SAMPLES / name).read_bytes()
    refused(name, whole[: len(whole) // 2])


@case_by_case(
    ("name", "content", "words"),
    [
        ("a.npy", b"", "empty"),
        ("a.csv", b"", "empty"),
        ("a.csv", "\n \n", "no rows"),
        ("a.csv", "x,y\n", "below the header"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "no rows"),
        ("a.idx", b"\0\1\x08\x01\0\0\0\1\5", "00 01 08 01"),
        ("a.idx", b"\0\0\x07\x02" + bytes(8), "00 00 07 02"),
        ("a-idx3-ubyte", b"PNG...", "not an IDX file"),
        ("a.idx", idx(np.arange(3)), "labels"),
        ("a.idx", idx(np.zeros((0, 3))), "empty"),
        ("a.idx", IDX + b"x", "continues after"),
        ("a.idx", struct.pack(">BBBB3I", 0, 0, 8, 3, 2**31, 2**31, 2**31), "cut off"),
        ("a.idx", gzip.compress(struct.pack(">BBBB3I", 0, 0, 8, 3, 60000, 2800, 2800), mtime=0), "declares"),
        ("a.h5", b"not HDF5 at all", "not an HDF5 file"),
        ("a.npy", b"not NumPy at all", "magic string"),
        ("a.xls", b"\xd0\xcf", "unknown kind"),
        ("a.csv:x", "1,2\n", "no parts"),
        ("a.csv", b"\x89PNG\r\n\x1a\n\0\0\xff", "UTF-8"),
        ("a.svmlight", "1 1:0.5\n2 1:0.5 2:x\n", "line 2"),
        ("a.svmlight", "1 1:0.5 99999999999:1\n", "a.svmlight"),
        ("a.svmlight", "1 1:0.5 500000000:1\n", "500000000 columns"),
        (".", None, "train-images-idx3-ubyte"),
    ],
)
def test_bad_files(name, content, words, refused):
    assert words in refused(name, content)


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


BOMB = {"a": object}


@case_by_case(
    ("array", "words"),
    [
        (np.array([[1, "a"], [BOMB, 2]], dtype=object), "pickled"),
        (np.array([["a"]]), "<U1"),
        (np.zeros((2, 2), complex), "complex"),
        (np.zeros(4), "shape (4,)"),
        (np.zeros(()), "shape ()"),
        (np.zeros((0, 4)), "empty"),
        (np.zeros((4, 0)), "empty"),
        (np.zeros(3, "M8[s]"), "datetime64"),
        (np.zeros(3, [("a", "f4")]), "dtype"),
    ],
)
def test_arrays_that_are_no_rows(array, words, refused):
    assert words in refused("a.npy", npy(array))
    assert words in refused("a.npz", npz(only=array))
    assert words in refused("a.npz:data", npz(only=np.eye(2), data=array))


def test_pickles_are_never_loaded(tmp_path, refused):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    array = np.array([[Evil()]], dtype=object)
    for name, content in (("a.npy", npy(array)), ("a.npz", npz(X=array))):
        assert "pickled" in refused(name, content)
        (tmp_path / "b.npy").write_bytes(npy(np.eye(1)))
        with pytest.raises(DataError, match="pickled"):
            open_data(str(tmp_path / "b.npy"), labels=str(tmp_path / name))
    assert not (tmp_path / "ran").exists()


def test_npz_keys(tmp_path, refused):
    assert "one of: a, b" in refused("a.npz", npz(a=np.eye(2), b=np.eye(3)))
    assert "one of: none" in refused("a.npz", npz())
    assert "no array 'c'; available: a, b" in refused("a.npz:c", npz(a=np.eye(2), b=np.eye(3)))
    assert "called 'y'; available: X" in refused("a.npz", npz(X=np.eye(2)), labels="y")
    (tmp_path / "a.npz").write_bytes(npz(x_train=np.zeros((5, 2, 2), np.uint8), y_train=np.array(list("abcde"))))
    dataset = open_data(str(tmp_path / "a.npz:x_train"), labels="y_train")
    assert dataset.rows.shape == (5, 4)
    assert list(dataset.labels) == list("abcde")


def test_sparse_matrices_in_npz(tmp_path, refused):
    matrix = scipy.sparse.random(20, 30, 0.2, format="csr", random_state=0)
    scipy.sparse.save_npz(tmp_path / "s.npz", matrix)
    dataset = open_data(str(tmp_path / "s.npz"))
    np.testing.assert_array_equal(rows_of(dataset), matrix.toarray())
    matrix.indices[3] = 10**6  # compiled code would follow it out of bounds
    scipy.sparse.save_npz(tmp_path / "s.npz", matrix)
    refused("s.npz", None)


def test_svmlight_rows_are_as_wide_as_the_model_expects(tmp_path):
    (tmp_path / "a.svm").write_text("1 1:0.5\n-1 2:1.5 # comment\n")
    dataset = open_data(str(tmp_path / "a.svm"), n_features=4)
    np.testing.assert_array_equal(rows_of(dataset), [[0.5, 0, 0, 0], [0, 1.5, 0, 0]])
    np.testing.assert_array_equal(dataset.labels, [1, -1])


@case_by_case(
    ("text", "asked", "rows", "first"),
    [
        ("1 1:5 2:6\n0 2:7\n", None, [[5, 6], [0, 7]], 1),  # as the format has it
        ("1 0:5 1:6\n0 1:7\n", None, [[5, 6], [0, 7]], 0),
        ("1 1:5 2:6\n0 2:7\n", 0, [[0, 5, 6], [0, 0, 7]], 0),
        ("1 0:5 1:6\n0 1:7\n", 1, [[5, 6], [0, 7]], 0),  # an index 0 is there
    ],
)
def test_the_first_index_of_svmlight(tmp_path, text, asked, rows, first):
    (tmp_path / "a.svm").write_text(text)
    dataset = open_data(str(tmp_path / "a.svm"), first_index=asked)
    np.testing.assert_array_equal(rows_of(dataset), rows)
    assert dataset.first_index == first


def test_large_integers_of_svmlight_stay_as_they_are(tmp_path):
    (tmp_path / "a.svm").write_text("1 1:1700000001\n0 1:1700000002\n")
    np.testing.assert_array_equal(rows_of(open_data(str(tmp_path / "a.svm"))), [[1_700_000_001], [1_700_000_002]])


def test_a_zip_archive_that_declares_too_much(refused):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "X.npy", npy(np.zeros((2, 2))).replace(b"(2, 2), }   ", b"(2, 20000000000), }")[:128] + bytes(32)
        )
    start = time.monotonic()
    refused("a.npz", buffer.getvalue())
    assert time.monotonic() - start < 5


def test_files_beyond_the_memory_limit(monkeypatch, refused):
    monkeypatch.setattr(content_module, "MEMORY_LIMIT", 1000)
    monkeypatch.setattr(text_module, "MEMORY_LIMIT", 1000)
    for name in ("digits.npz", "digits.csv", "idx/train-images-idx3-ubyte.gz"):
        assert "1 kB" in refused(Path(name).name, (SAMPLES / name).read_bytes())


FOLDERS = Path(__file__).resolve().parents[2] / "shared" / "datasets"


@pytest.mark.parametrize(
    ("name", "other", "split"), [("mnist", "fashion-mnist", ":test"), ("fashion-mnist", "mnist", "")]
)
def test_the_folder_of_another_set_is_refused(name, other, split):
    if not (FOLDERS / name).is_dir() or not (FOLDERS / other).is_dir():
        pytest.skip("the data sets are not here")
    with pytest.raises(DataError, match=f"holds the images of {other}, not of {name}"):
        open_data(name + split, data_dir=str(FOLDERS / other))
    assert open_data(name + split, data_dir=str(FOLDERS), limit=10).rows.shape == (10, 784)

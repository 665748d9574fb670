"""Zarr stores and Parquet files as data: what is read, in what order, with how much memory, and what is refused."""

import json
import os
import sys
import threading

import h5py
import numpy as np
import pytest
from tables import case_by_case

import deepbelief.sources.parquet as parquet_module
import deepbelief.sources.zarr as zarr_module
from deepbelief import DBN, RBM, DBNClassifier, row_windows
from deepbelief.backends import get_backend
from deepbelief.datasets import open as open_data
from deepbelief.errors import DataError, MissingExtraError
from deepbelief.sources import ArraySource, HDF5Source, ParquetSource, ZarrSource, as_source
from deepbelief.sources.bands import Bands
from deepbelief.streaming import Rows

zarr = pytest.importorskip("zarr")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

BITS = (np.random.default_rng(0).random((230, 6)) > 0.5).astype(np.uint8)
KINDS = np.array(["b", "ä"] * 115)
QUICK = {"n_iter": 2, "batch_size": 20}


def zarr_of(path, rows=BITS, chunks=(40, 4), name="X", **settings):
    group = zarr.open_group(path, mode="a")
    group.create_array(name, data=rows, chunks=chunks[: rows.ndim], **settings)
    return zarr.open_array(path, path=name, mode="r")


def parquet_of(path, rows=BITS, group=40, **more):
    columns = {f"c{j}": rows[:, j] for j in range(rows.shape[1])} | more
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return pq.ParquetFile(path)


@pytest.fixture(params=[("a.zarr", zarr_of, ZarrSource), ("a.parquet", parquet_of, ParquetSource)])
def kind(request, tmp_path):
    """Return a path, what writes rows there and opens them again, and what they are read by."""
    name, write, source = request.param
    return tmp_path / name, write, source


@pytest.fixture
def nothing_fits(monkeypatch):
    monkeypatch.setattr(zarr_module, "IN_MEMORY", 0)
    monkeypatch.setattr(parquet_module, "IN_MEMORY", 0)
    monkeypatch.setattr(row_windows, "LEAST_MEMORY", 1)


def refused(spec, **options):
    with pytest.raises(DataError) as error:
        open_data(str(spec), **options)
    assert "\n" not in str(error.value)
    assert str(spec).partition(":")[0] in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("dtype", ["u1", "?", "i4", "f4", "f8"])
def test_rows_come_as_they_were_written(kind, dtype, nothing_fits):
    path, write, source = kind
    data = (np.random.default_rng(1).random((230, 6)) * 4).astype(dtype)
    write(path, data)
    rows = open_data(str(path), scale="none").rows
    assert isinstance(rows, source)
    assert rows.dtype == (np.float64 if dtype == "f8" else np.float32)
    out = np.empty((230, 6), rows.dtype)
    assert rows.take(slice(0, 230), out) is out
    np.testing.assert_array_equal(out, data.astype(rows.dtype))
    for some in (slice(35, 130), slice(3, 3), slice(0, 230, 50), np.array([229, 5, 80, 5, 0]), np.empty(0, np.intp)):
        np.testing.assert_array_equal(rows.take(some), data[some].astype(rows.dtype))
    with pytest.raises(IndexError):
        rows.take(np.array([230]))


def test_small_tables_are_read_at_once_and_labels_by_name(kind):
    path, write, _ = kind
    write(path)
    if path.suffix == ".zarr":
        zarr_of(path, KINDS, name="kind")
        zarr_of(path, np.arange(230), name="number")
    else:
        parquet_of(path, kind=KINDS, number=np.arange(230))
    if path.suffix == ".zarr":
        spec = f"{path}:X"
    else:
        spec = str(path)
        refused(path)  # a column of words
    found = open_data(spec, labels="kind", scale="none")
    assert isinstance(found.rows, ArraySource)
    assert list(found.labels) == list(KINDS)
    assert "available: " in refused(spec, labels="none")
    if path.suffix == ".parquet":  # the number is a feature, and the labels are not
        assert found.feature_names == ["c0", "c1", "c2", "c3", "c4", "c5", "number"]
        assert "has no parts" in refused(f"{path}:X")
    else:
        np.testing.assert_array_equal(open_data(spec, labels="number").labels, np.arange(230))


@pytest.mark.parametrize("limit", [1_000, 6_000, 10**6])
def test_windows_take_each_row_once_whatever_the_bands(kind, limit):
    """Rows whose first columns spell their number come out in the order that was asked for."""
    path, write, _ = kind
    numbers = (np.arange(230)[:, None] >> np.arange(8)) & 1
    source = as_source(write(path, numbers.astype(np.uint8)))
    rows = Rows(source, get_backend(), np.float32, limit)
    order = np.random.default_rng(0)
    order = order.permutation(230) if rows.windows is None else rows.windows.order(order)
    assert rows.windows is None or rows.windows.block % 40 == 0 or limit == 1_000
    rows.begin(order)
    taken = np.empty((230, 8), np.float32)
    for start in range(0, 230, 30):
        rows.batch(start, min(start + 30, 230), taken[start : start + 30])
    np.testing.assert_array_equal(taken @ (1 << np.arange(8)), order[0:230])


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.uint64])
def test_integers_that_float32_would_round_stay_as_they_are(kind, dtype, nothing_fits):
    path, write, _ = kind
    times = np.array([[3, 1_700_000_001], [0, 1_700_000_002]] * 50, dtype)
    sources = [as_source(write(path, times)), open_data(str(path)).rows]
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        sources.append(HDF5Source(file.create_dataset("X", data=times, chunks=(7, 2))))
        assert HDF5Source(file.create_dataset("small", data=np.minimum(times, 2**24))).dtype == np.float32
        for source in sources:
            assert source.dtype == np.float64
            np.testing.assert_array_equal(source.take(np.array([99, 0])), times[[99, 0]])


def test_training_on_a_store_is_training_on_its_rows(kind, nothing_fits):
    """In one window rows have the order that they have in memory, so that the weights are the same to the bit."""
    path, write, _ = kind
    file = write(path)
    direct = RBM(5, random_state=0, **QUICK).fit(BITS.astype(np.float32))
    np.testing.assert_array_equal(RBM(5, random_state=0, **QUICK).fit(file).components_, direct.components_)
    opened = open_data(str(path)).rows
    np.testing.assert_array_equal(RBM(5, random_state=0, **QUICK).fit(opened).components_, direct.components_)
    dbn = DBN((5, 3), rbm=RBM(**QUICK), memory_limit=2_000, random_state=0).fit(file)
    assert dbn.transform(file).shape == (230, 3)
    clf = DBNClassifier((5,), rbm=RBM(**QUICK), max_iter=1, memory_limit=2_000, random_state=0)
    assert clf.fit(file, KINDS).predict(file).shape == (230,)


def test_a_band_is_read_once_for_its_neighbours_and_never_all_at_once(kind):
    path, write, _ = kind
    source = as_source(write(path))
    asked, read = [], source._bands._read
    source._bands._read = lambda band: asked.append(band) or read(band)
    for start in range(0, 230, 10):
        source.take(slice(start, start + 10))
    assert asked == list(range(6))
    source.take(np.array([200, 10, 30, 210]))
    assert asked[6:] == [0, 5]


def test_two_threads_may_read():
    source = Bands(range(0, 2001, 10), lambda band: np.arange(10 * band, 10 * band + 10.0)[:, None], "a file")
    wrong = []

    def look(seed):
        for index in np.random.default_rng(seed).integers(0, 2000, (300, 5)):
            found = source.fill(index, np.empty((5, 1)))[:, 0]
            wrong.extend([index] if (found != index).any() else [])

    threads = [threading.Thread(target=look, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_values_that_are_missing_are_named_before_training(kind, nothing_fits):
    path, write, _ = kind
    rows = BITS.astype(np.float32)
    rows[77, 2] = np.nan
    with pytest.raises(DataError, match=r"row 77, column 2 .* is nan"):
        RBM(5, **QUICK).fit(write(path, rows))
    if path.suffix == ".parquet":
        holes = pa.array([None if i == 90 else 1 for i in range(230)], pa.int32())
        with pytest.raises(DataError, match=r"a\.parquet: row 90 .* has no value in column 'hole'"):
            RBM(5, **QUICK).fit(open_data(str(path), scale="none").rows if parquet_of(path, hole=holes) else None)
        gaps = open_data(str(path), scale="none", labels="hole").labels
        assert np.isnan(gaps[90])
        assert np.nansum(gaps) == 229


@case_by_case(
    ("column", "told"),
    [
        (pa.array(["a"] * 230), "column 'bad' is of type string"),
        (pa.array([None] * 230), "column 'bad' is of type null"),
        (pa.array([[1.0, 2.0]] * 230), "column 'bad' is of type list<"),
        (pa.array([0] * 230, pa.timestamp("s")), "column 'bad' is of type timestamp"),
        (pa.array(["a"] * 230).dictionary_encode(), "column 'bad' is of type dictionary"),
    ],
)
def test_columns_that_are_no_numbers_are_named(tmp_path, column, told):
    parquet_of(tmp_path / "a.parquet", bad=column)
    assert told in refused(tmp_path / "a.parquet")


def test_tables_without_rows_or_columns_are_refused(tmp_path):
    empty = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": pa.array([], pa.int32())}), empty)
    assert "the data are empty" in refused(empty)
    pq.write_table(pa.table({"kind": KINDS}), empty)
    assert "no column of numbers beside the labels" in refused(empty, labels="kind")
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), empty)
    assert "two columns are called 'a'" in refused(empty)
    zarr_of(tmp_path / "a.zarr", np.empty((0, 3)), chunks=(1, 3))
    assert "the data are empty" in refused(tmp_path / "a.zarr")
    zarr.open_group(tmp_path / "b.zarr", mode="w")
    assert "holds no arrays" in refused(tmp_path / "b.zarr")


def test_the_index_of_a_frame_is_no_feature(tmp_path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [0.0, 1.0], "b": [1.0, 0.0]}, index=pd.Index([10, 20], name="id"))
    frame.to_parquet(tmp_path / "a.parquet")
    assert open_data(str(tmp_path / "a.parquet")).feature_names == ["a", "b"]


def test_row_groups_and_chunks_that_are_too_large_are_refused(kind, monkeypatch):
    path, write, _ = kind
    write(path)
    monkeypatch.setattr(zarr_module, "ROW_LIMIT", 200)
    monkeypatch.setattr(parquet_module, "ROW_LIMIT", 200)
    told = "row_group_size=8 or less" if path.suffix == ".parquet" else "fewer rows in a chunk"
    assert told in refused(path)


def test_damaged_files_are_told_of_in_one_line(kind, nothing_fits):
    path, write, _ = kind
    write(path)
    if path.suffix == ".parquet":
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        assert "cannot be read" in refused(path)
        bad = bytearray(whole)
        bad[4:400] = os.urandom(396)
        path.write_bytes(bad)
        rows = ParquetSource(pq.ParquetFile(path), name=str(path))
    else:
        (path / "X" / "c" / "0" / "0").write_bytes(b"none of zstandard")
        rows = as_source(zarr.open_array(path, path="X", mode="r"))
    with pytest.raises(DataError, match=r"rows 0 to 39 cannot be read: .") as error:
        rows.take(slice(0, 230))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("version", [2, 3])
def test_what_zarr_stores_hold_is_never_run(tmp_path, version):
    """Pickled chunks, codecs that are not known, bytes that lie elsewhere, sizes that are not true."""
    path = tmp_path / "a.zarr"
    zarr_of(path) if version == 3 else zarr.create_array(path / "X", data=BITS, chunks=(40, 4), zarr_format=2)
    if version == 2:
        (path / ".zgroup").write_text('{"zarr_format": 2}')
    open_data(str(path))
    described = path / "X" / ("zarr.json" if version == 3 else ".zarray")
    metadata = json.loads(described.read_text())
    bad = dict(metadata)
    if version == 3:
        bad["codecs"] = [*metadata["codecs"], {"name": "numcodecs.pickle", "configuration": {}}]
    else:
        bad["filters"] = [{"id": "pickle", "protocol": 5}]
    described.write_text(json.dumps(bad))
    assert "pickle" in refused(path)
    described.write_text(json.dumps(metadata | {"shape": [10**13, 6]}))
    assert "declares 60 TB" in refused(path)
    described.write_text(json.dumps(metadata))
    chunk = next(p for p in (path / "X").rglob("*0") if p.is_file())
    (tmp_path / "elsewhere").write_bytes(chunk.read_bytes())
    chunk.unlink()
    chunk.symlink_to(tmp_path / "elsewhere")
    assert "is a link, which is not followed" in refused(path)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_shards_and_both_formats_are_read(tmp_path, zarr_format, nothing_fits):
    shards = {"shards": (80, 4)} if zarr_format == 3 else {}
    zarr.create_array(tmp_path / "a.zarr", data=BITS, chunks=(20, 4), zarr_format=zarr_format, **shards)
    rows = open_data(str(tmp_path / "a.zarr"), scale="none").rows
    np.testing.assert_array_equal(rows.take(slice(None)), BITS)


def test_arrays_of_a_store_are_found_by_name(tmp_path):
    path = tmp_path / "a.zarr"
    zarr_of(path, name="deep/a")
    assert open_data(str(path)).rows.shape == (230, 6)
    zarr_of(path, BITS[:50], name="b")
    assert "one of: " in refused(path)
    assert open_data(f"{path}:b").rows.shape == (50, 6)
    assert "no array 'c'" in refused(f"{path}:c")
    zarr_of(path, np.arange(230), name="y")
    np.testing.assert_array_equal(open_data(f"{path}:deep/a", labels=f"{path}:y").labels, np.arange(230))
    assert "50 rows but there are 230 labels" in refused(f"{path}:b", labels="y")


@pytest.mark.parametrize(
    ("package", "suffix", "extra"), [("zarr", ".zarr", "zarr"), ("pyarrow", ".parquet", "parquet")]
)
def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch, package, suffix, extra):
    path = tmp_path / f"a{suffix}"
    (zarr_of if suffix == ".zarr" else parquet_of)(path)
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'deepbelief\[{extra}\]'"):
        open_data(str(path))


def test_long_labels_are_refused_before_all_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_module, "text_labels", None)
    parquet_of(tmp_path / "a.parquet", kind=["x" * 900] + ["y"] * 229)
    assert "labels may have 256 characters, one has 900" in refused(tmp_path / "a.parquet", labels="kind")

"""Rows that do not fit into memory: the order of an epoch, windows, what is spilled, and training on them."""

import os
import threading

import h5py
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import case_by_case
from test_checkpoints import StopAfter, Stopped, assert_same, stop_everywhere

from deepbelief import DBN, RBM, CheckpointFile, DBNClassifier, DeepAutoencoder, row_windows
from deepbelief.backends import get_backend
from deepbelief.errors import DataError, SettingError
from deepbelief.row_windows import Windows, memory_bytes, windows_for
from deepbelief.sources import ArraySource, HDF5Source, SpilledSource, as_source
from deepbelief.streaming import Rows

QUICK = {"n_iter": 2, "batch_size": 20}


@pytest.fixture(autouse=True)
def little_memory_is_allowed(monkeypatch):
    monkeypatch.setattr(row_windows, "LEAST_MEMORY", 1)


def table(n=200, width=12, seed=0):
    return (np.random.default_rng(seed).random((n, width)) > 0.5).astype(np.float32)


@pytest.fixture
def stored(tmp_path):
    """Return a function that puts a table into an HDF5 file and gives the open dataset."""
    files = []

    def put(array, **settings):
        file = h5py.File(tmp_path / f"{len(files)}.h5", "w")
        files.append(file)
        return file.create_dataset("X", data=array, **settings)

    yield put
    for file in files:
        file.close()


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 9), st.integers(0, 3))
def test_an_order_takes_each_row_once(n, block, blocks, seed):
    windows = Windows(n, block, blocks)
    order = windows.order(np.random.default_rng(seed))
    whole = order[0:n]
    assert sorted(whole.tolist()) == list(range(n))
    pieces = np.concatenate([order[i : i + 7] for i in range(0, n, 7)])
    assert np.array_equal(pieces, whole)
    assert np.array_equal(windows.order(np.random.default_rng(seed))[n // 2 : n], whole[n // 2 :])
    assert np.array_equal(windows.order(None)[0:n], np.arange(n))
    for number in range(len(order.bounds) - 1):  # a window's rows come from its own blocks
        start, stop = order.bounds[number : number + 2]
        inside = np.concatenate([np.arange(*span) for span in order.spans(number)])
        assert set(whole[start:stop].tolist()) == set(inside.tolist())


def test_rows_are_shuffled_far_and_near():
    """Rows sorted by class: each minibatch of 100 has its classes as often as a random one, within chance."""
    n, classes = 20_000, np.arange(20_000) // 2000
    order = Windows(n, 20, 64).order(np.random.default_rng(0))
    counts = np.array([np.bincount(classes[order[i : i + 100]], minlength=10) for i in range(0, n - 300, 100)])
    assert counts.std() < 2 * 3.0  # of a random minibatch sqrt(100 x 0.1 x 0.9) = 3; sorted rows have 30
    assert (counts.max(axis=1) < 50).all()
    assert np.abs(np.corrcoef(np.arange(n), order[0:n])[0, 1]) < 0.1


def test_one_window_has_the_order_of_rows_in_memory():
    order = Windows(50, 7, 8).order(np.random.default_rng(3))
    assert np.array_equal(order[0:50], np.random.default_rng(3).permutation(50))


@case_by_case("limit", [10_000, 10**6, 2**31])
@case_by_case("chunk", [1, 3, 50])
def test_windows_keep_to_the_limit(limit, chunk):
    windows = windows_for(10**6, 48, limit, chunk)
    assert 2 * 48 * windows.block * windows.blocks <= limit
    assert windows.block % chunk == 0 or windows.block == max(1, limit // 4 // 48)


def test_blocks_are_whole_chunks_of_the_file(bk, stored):
    rows = Rows(as_source(stored(table(), chunks=(9, 4), compression="gzip")), bk, np.float32, 4000)
    assert rows.windows.block == 9


@case_by_case("dtype", [np.float32, np.uint8])
def test_rows_come_from_the_file_by_minibatch(bk, stored, dtype):
    truth = table()
    rows = Rows(as_source(stored(truth.astype(dtype))), bk, np.float32, 4000)
    for seed in (0, 1):
        order = rows.windows.order(np.random.default_rng(seed))
        rows.begin(order)
        out = bk.asarray(np.zeros((33, 12), np.float32))
        for start in (*range(0, 198, 33), 60):  # in order, and as a run that goes on
            rows.batch(start, start + 33, out) if start < 165 else None
            if start < 165:
                np.testing.assert_array_equal(bk.to_numpy(out), truth[order[start : start + 33]])


def test_a_thread_reads_ahead_and_no_further():
    taken = []

    class Watched(ArraySource):
        def take(self, rows, out=None):
            taken.append((rows, threading.current_thread() is threading.main_thread()))
            return ArraySource.take(self, rows, out)

    source = Watched(table().astype(np.uint8))
    rows = Rows(source, get_backend(), np.float32, 4000)
    order = rows.windows.order(np.random.default_rng(0))
    rows.begin(order)
    rows.batch(0, 5, np.empty((5, 12), np.float32))
    rows._reader._ahead[1].result()
    spans = [(rows.start, rows.stop) for rows, _ in taken]
    assert spans == order.spans(0) + order.spans(1)
    assert not any(main for _, main in taken)


def test_what_goes_wrong_while_reading_ahead_is_told(stored):
    dataset = stored(table())
    rbm = RBM(4, memory_limit=4000, random_state=0, **QUICK)

    class Broken(HDF5Source):
        def take(self, rows, out=None):
            if threading.current_thread() is not threading.main_thread():
                raise DataError("the disk has gone")
            return HDF5Source.take(self, rows, out)

    with pytest.raises(DataError, match="the disk has gone"):
        rbm.fit(Broken(dataset))


@pytest.fixture
def few_at_a_time(monkeypatch):
    """Hidden layers do not fit either."""
    monkeypatch.setattr(row_windows, "BLOCKS", 4)


def make(**settings):
    return DBN((8, 5), rbm=RBM(**QUICK), n_passes=2, random_state=3, memory_limit=4000, **settings)


def test_an_open_dataset_and_a_memory_map_train_alike(stored, tmp_path, monkeypatch, few_at_a_time):
    monkeypatch.setattr("deepbelief.estimators.base.LARGE_MAP", 1)
    np.save(tmp_path / "rows.npy", table())
    from_map = make().fit(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    assert_same(from_map, make().fit(stored(table())))
    with pytest.raises(AssertionError):  # other minibatches than where all rows are in memory
        assert_same(from_map, make().set_params(memory_limit=None).fit(stored(table())))


def test_hidden_layers_are_spilled_or_computed_anew(stored, monkeypatch, few_at_a_time):
    spilled = []
    monkeypatch.setattr(
        "deepbelief.streaming.SpilledSource", lambda *a: spilled.append(SpilledSource(*a)) or spilled[-1]
    )
    first = make().fit(stored(table()))
    assert [source.shape for source in spilled] == [(200, 8), (200, 8)]
    monkeypatch.setattr("deepbelief.streaming.fits_on_disk", lambda n_bytes: False)
    second = make().fit(stored(table()))
    assert len(spilled) == 2
    for one, other in zip(first.stack_, second.stack_, strict=True):
        np.testing.assert_allclose(one.W, other.W, rtol=1e-3, atol=1e-5)


def test_a_full_disk_means_computing_anew(stored, monkeypatch, few_at_a_time):
    def full(self, block):
        raise OSError(28, "No space left on device")

    whole = make().fit(stored(table()))
    monkeypatch.setattr(SpilledSource, "append", full)
    again = make().fit(stored(table()))
    np.testing.assert_allclose(whole.stack_.layers[1].W, again.stack_.layers[1].W, rtol=1e-3, atol=1e-5)


@pytest.mark.skipif(os.name != "posix", reason="files without a name")
def test_what_is_spilled_has_no_name(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    source = SpilledSource((30, 4), np.float32)
    source.append(np.arange(120, dtype=np.float32).reshape(30, 4))
    assert not list(tmp_path.iterdir())
    truth = np.arange(120, dtype=np.float32).reshape(30, 4)
    for rows in (slice(3, 9), slice(None), np.array([5, 6, 7, 2, 2, 29]), np.array([], np.intp)):
        np.testing.assert_array_equal(source.take(rows), truth[rows])
        out = np.empty_like(truth[rows], dtype=np.float64)
        np.testing.assert_array_equal(source.take(rows, out), truth[rows])


@pytest.mark.slow
def test_rows_and_labels_stay_together(stored):
    rows = table(400)
    clf = DBNClassifier((16,), rbm=RBM(**QUICK), max_iter=15, batch_size=10, solver="adam", random_state=0)
    clf.set_params(learning_rate_init=0.02)
    clf.set_params(memory_limit=16_000).fit(stored(rows), rows[:, 3].astype(int))
    assert clf.score(rows, rows[:, 3].astype(int)) > 0.97
    held = clf.set_params(early_stopping=True).fit(stored(rows), np.where(rows[:, 3] > 0, "a", "b"))
    assert held.score(rows, np.where(rows[:, 3] > 0, "a", "b")) > 0.97


@pytest.mark.slow
def test_an_autoencoder_of_a_file(stored):
    rows = np.repeat(np.eye(4, 12, dtype=np.float32), 50, axis=0)  # sorted by class
    model = DeepAutoencoder((6, 3), rbm=RBM(n_iter=5), max_iter=30, learning_rate_init=0.03, random_state=0)
    model.set_params(memory_limit=8000)
    assert model.fit(stored(rows)).reconstruction_error(rows).mean() < 0.3


def test_units_that_are_scaled_and_bits_that_are_drawn(stored, few_at_a_time):
    grey = np.random.default_rng(0).random((200, 12)).astype(np.float32)
    for rbm in ([RBM(hidden="rectified", **QUICK), RBM(**QUICK)], RBM(binarize="sample", **QUICK)):
        dbn = DBN((8, 5), rbm=rbm, random_state=0, memory_limit=4000).fit(stored(grey))
        assert all(np.isfinite(w.W).all() for w in dbn.stack_)


def test_one_ordered_pass(stored):
    small = RBM(5, batch_size=20, random_state=0, memory_limit=4000).partial_fit(stored(table()))
    whole = RBM(5, batch_size=20, random_state=0).partial_fit(table())
    np.testing.assert_array_equal(small.components_, whole.components_)


def test_sparse_rows_keep_the_order_of_dense_ones():
    small = RBM(5, random_state=0, memory_limit=4000, **QUICK).fit(scipy.sparse.csr_matrix(table()))
    np.testing.assert_array_equal(small.components_, RBM(5, random_state=0, **QUICK).fit(table()).components_)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pretraining", "fine-tuning"])
def test_training_on_a_file_goes_on_anywhere(tmp_path, stored, kind, few_at_a_time):
    dataset = stored(table(60))
    settings = {"rbm": RBM(n_iter=1, batch_size=20), "random_state": 3, "memory_limit": 800}
    if kind == "pretraining":
        stop_everywhere(lambda **more: DBN((8, 5), n_passes=2, **settings, **more), tmp_path, dataset, n_updates=12)
    else:
        settings |= {"max_iter": 3, "batch_size": 20, "dropout": 0.2, "solver": "adam"}
        stop_everywhere(
            lambda **more: DBNClassifier((8,), **settings, **more), tmp_path, dataset, table(60)[:, 0], n_updates=12
        )


def test_rows_that_are_read_otherwise_are_another_run(tmp_path, stored):
    file = CheckpointFile(tmp_path / "run.h5", every="1 update")
    with pytest.raises(Stopped):
        make(checkpoint=file, verbose=StopAfter(3)).fit(stored(table()))
    with pytest.raises(SettingError, match=r"read its rows in .*'block': .*, but this one would in none: pass"):
        make(checkpoint=file).fit(table())


def test_a_map_lets_go_of_what_was_read(tmp_path):
    np.save(tmp_path / "rows.npy", table(5000))
    for mode in ("r", "c", "r+"):
        array = np.load(tmp_path / "rows.npy", mmap_mode=mode)
        if mode == "c":
            array[0] = 7  # lies nowhere but in memory
        source, out = ArraySource(array), np.empty((5000, 12), np.float32)
        assert not source.is_in_memory
        for _ in range(2):
            source.take(slice(0, 5000), out)
            assert out[0, 0] == (7 if mode == "c" else table(5000)[0, 0])
            np.testing.assert_array_equal(out[1:], table(5000)[1:])
    assert ArraySource(table()).is_in_memory


@case_by_case("limit", ["much", "1 KiB", 5, -1, True, "3 parsecs", 1.5])
def test_limits_that_are_none(limit, monkeypatch):
    monkeypatch.setattr(row_windows, "LEAST_MEMORY", 2**20)
    with pytest.raises(SettingError, match="memory_limit must be bytes, or '512 MiB'"):
        RBM(2, memory_limit=limit).fit(table())
    assert memory_bytes("1.5GB") == 1_500_000_000
    assert memory_bytes("2 mib") == 2**21

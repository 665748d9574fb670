"""Minibatches, the epoch loop and rows on their way to the device."""

import numpy as np
import pytest
import scipy.sparse
from conftest import BACKENDS
from fake_device import no_crossings
from hypothesis import given, settings
from hypothesis import strategies as st
from pairwise import pairwise

from deepbelief import DBN, RBM, DBNClassifier
from deepbelief.backends import get_backend
from deepbelief.errors import SettingError
from deepbelief.sources import ArraySource, ScaledSource, SparseSource, as_source
from deepbelief.training import PrintReporter, Reporter, Rows, Run, get_reporter, run_epochs, split_rows


class Recorder:
    """A task that writes down what the loop does with it."""

    def __init__(self, stop_after=None):
        self.orders, self.updates, self.draws = [], [], []
        self.stop_after = stop_after
        self.finished = False

    def begin_epoch(self, epoch, order):
        self.orders.append(order)
        self.updates.append([])

    def update(self, start, stop, position, rng):
        self.updates[-1].append((start, stop, position))
        self.draws.append(float(rng.uniform(np.empty(1))[0]))

    def end_epoch(self, epoch):
        self.finished = epoch + 1 == self.stop_after
        return {"told": epoch}


def run(task, n_rows, **changes):
    arguments = {"epochs": range(3), "horizon": 3, "batch_size": 7, "key": (0,)}
    context = Run(get_backend(), changes.pop("seed", 0), changes.pop("reporter", Reporter()))
    return run_epochs(task, n_rows, context, **(arguments | changes))


@settings(max_examples=60, deadline=None)
@given(n_rows=st.integers(1, 300), batch_size=st.integers(1, 120), seed=st.integers(0, 2**63))
def test_minibatches_partition_the_rows_in_every_epoch(n_rows, batch_size, seed):
    task = Recorder()
    run(task, n_rows, batch_size=batch_size, seed=seed)
    for order, updates in zip(task.orders, task.updates, strict=True):
        seen = np.concatenate([order[start:stop] for start, stop, _ in updates])
        np.testing.assert_array_equal(np.sort(seen), np.arange(n_rows))
        sizes = [stop - start for start, stop, _ in updates]
        assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
        assert 0 < sizes[-1] <= batch_size


def test_rows_are_shuffled_anew_in_every_epoch():
    task = Recorder()
    run(task, 100)
    first, second, third = task.orders
    for a, b in ((first, second), (second, third), (first, np.arange(100))):
        assert (a != b).mean() > 0.9


def test_rows_keep_their_order_where_that_is_asked_for():
    task = Recorder()
    run(task, 20, shuffle=False)
    for order in task.orders:
        np.testing.assert_array_equal(order, np.arange(20))


def test_streams_belong_to_seed_key_and_epoch():
    def trace(**changes):
        task = Recorder()
        run(task, 30, **changes)
        return task.orders, task.draws

    orders, draws = trace()
    again, drawn_again = trace()
    np.testing.assert_array_equal(orders, again)
    assert draws == drawn_again
    assert len(set(draws)) == len(draws)
    for changes in ({"seed": 1}, {"key": (1,)}):
        others, other_draws = trace(**changes)
        assert (np.array(others) != np.array(orders)).any()
        assert not set(draws) & set(other_draws)
    # Epochs 1 and 2 are the same, whether epoch 0 was run before them or in an earlier call.
    later, later_draws = trace(epochs=range(1, 3))
    np.testing.assert_array_equal(later, orders[1:])
    assert later_draws == draws[len(draws) // 3 :]


def test_positions_run_from_the_start_to_the_end_of_the_horizon():
    task = Recorder()
    run(task, 21, epochs=range(2, 4), horizon=8)
    positions = [p for updates in task.updates for _, _, p in updates]
    np.testing.assert_allclose(positions, (np.arange(6) / 3 + 2) / 8)


def test_each_epoch_leaves_a_record_and_is_reported():
    class Listener(Reporter):
        def __init__(self):
            self.updates, self.records = [], []

        def update(self, epoch, done, total):
            self.updates.append((epoch, done, total))

        def record(self, record):
            self.records.append(record)

    listener = Listener()
    history = run(Recorder(), 10, reporter=listener)
    assert [(r["epoch"], r["n_epochs"], r["told"]) for r in history] == [(1, 3, 0), (2, 3, 1), (3, 3, 2)]
    assert all(r["seconds"] >= 0 for r in history)
    assert listener.records == history
    assert listener.updates == [(e, d, 2) for e in (1, 2, 3) for d in (1, 2)]


def test_a_finished_task_is_not_trained_on():
    task = Recorder(stop_after=2)
    assert len(run(task, 10, epochs=range(9))) == 2
    assert len(task.orders) == 2


def test_verbose_prints_a_line_per_epoch(capsys):
    assert type(get_reporter(0)) is Reporter
    own = Reporter()
    assert get_reporter(own) is own
    with pytest.raises(SettingError, match="verbose"):
        get_reporter("yes")
    reporter = get_reporter(1)
    assert isinstance(reporter, PrintReporter)
    run(Recorder(), 10, reporter=reporter)
    out = capsys.readouterr().out
    assert out.count("\n") == 3
    assert "epoch 2" in out
    run(Recorder(), 10)
    assert capsys.readouterr().out == ""


# --- rows on their way to the device ---


def dense(dtype=np.float32):
    rows = np.random.default_rng(0).random((23, 5))
    rows[rows < 0.5] = 0
    return rows.astype(dtype)


SOURCES = {
    "array": lambda: ArraySource(dense()),
    "float64": lambda: ArraySource(dense(np.float64)),
    "bytes": lambda: ScaledSource(ArraySource((dense() * 255).astype(np.uint8)), 0.0, 255.0),
    "sparse": lambda: SparseSource(scipy.sparse.csr_matrix(dense())),
    "scaled sparse": lambda: ScaledSource(SparseSource(scipy.sparse.csr_matrix(dense())), np.ones(5), 2.0),
}


@pairwise(bk=BACKENDS, kind=SOURCES, resident=[True, False], indirect=["bk"])
def test_rows_are_the_same_however_they_travel(bk, kind, resident, monkeypatch):
    source = SOURCES[kind]()
    if not resident:
        monkeypatch.setattr(type(bk), "memory", lambda self: 0)
    rows = Rows(source, bk, np.float32)
    truth = source.take(slice(None)).astype(np.float32)
    assert rows.shape == truth.shape
    assert len(rows) == 23
    rng = np.random.default_rng(1)
    order = rng.permutation(23) if rows.windows is None else rows.windows.order(rng)
    rows.begin(order)
    out = bk.asarray(np.full((6, 5), np.nan, np.float32))
    got = rows.batch(17, 23, out)
    np.testing.assert_array_equal(bk.to_numpy(out), truth[order[17:23]])
    np.testing.assert_array_equal(bk.to_numpy(got), truth[order[17:23]])
    assert bk.owns(rows.block(3, 9))
    np.testing.assert_array_equal(bk.to_numpy(rows.block(3, 9)), truth[3:9])
    parts = [(start, stop, bk.to_numpy(block)) for start, stop, block in rows.blocks(10)]
    assert [(start, stop) for start, stop, _ in parts] == [(0, 10), (10, 20), (20, 23)]
    np.testing.assert_array_equal(np.vstack([block for _, _, block in parts]), truth)
    np.testing.assert_array_equal(bk.to_numpy(rows.some(np.array([4, 0, 22]))), truth[[4, 0, 22]])
    np.testing.assert_array_equal(rows.source().take(slice(None)).astype(np.float32), truth)


def test_rows_that_are_on_the_device_stay_there(bk):
    on_device = bk.asarray(dense())
    with no_crossings():
        rows = Rows(on_device, bk, np.float32)
        block = rows.block(0, 4)
    np.testing.assert_array_equal(bk.to_numpy(block), dense()[:4])


def test_numpy_rows_are_not_copied():
    array = dense()
    rows = Rows(as_source(array), get_backend(), np.float32)
    assert np.shares_memory(rows.block(0, 23), array)
    assert not np.shares_memory(rows.some(np.arange(23)), array)


def test_shifted_sparse_rows_are_never_dense_as_a_whole(monkeypatch):
    source = SparseSource(scipy.sparse.csr_matrix(dense()))
    taken = []
    take = SparseSource.take

    def spy(self, rows, out=None):
        result = take(self, rows, out)
        taken.append(len(result))
        return result

    monkeypatch.setattr(SparseSource, "take", spy)
    rows = Rows(ScaledSource(source, 1.0, 2.0), get_backend(), np.float32)
    rows.begin(np.arange(23))
    rows.batch(0, 4, np.empty((4, 5), np.float32))
    list(rows.blocks(6))
    assert max(taken) <= 6


# --- held-out rows ---


@settings(max_examples=60, deadline=None)
@given(n=st.integers(2, 200), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 1000), by_class=st.booleans())
def test_held_out_rows_and_the_others_partition_the_rows(n, fraction, seed, by_class):
    source = ArraySource(np.arange(n, dtype=np.float32)[:, None])
    strata = np.arange(n) % 3 if by_class else None
    kept_rows, held_rows, kept, held = split_rows(source, fraction, seed, strata)
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, held])), np.arange(n))
    assert len(held) == min(max(1, round(fraction * n)), n - 1)
    np.testing.assert_array_equal(kept_rows.take(slice(None))[:, 0], kept)
    np.testing.assert_array_equal(held_rows.take(slice(None))[:, 0], held)


def test_held_out_rows_are_drawn_by_seed_and_in_proportion():
    source = ArraySource(np.zeros((400, 1), np.float32))
    strata = np.repeat(["a", "b", "c"], [200, 160, 40])
    held = split_rows(source, 0.1, 3, strata)[3]
    assert {c: int((strata[held] == c).sum()) for c in "abc"} == {"a": 20, "b": 16, "c": 4}
    np.testing.assert_array_equal(held, split_rows(source, 0.1, 3, strata)[3])
    assert (held != split_rows(source, 0.1, 4, strata)[3]).any()
    plain = split_rows(source, 0.1, 3)[3]
    assert (plain != split_rows(source, 0.1, 4)[3]).any()
    assert len(np.unique(plain // 100)) == 4


# --- reporters that ask to stop ---


class Enough(Reporter):
    """Asks to stop after so many records."""

    def __init__(self, after):
        self.after, self.seen, self.begun, self.updates = after, [], 0, 0

    def begin(self, what):
        self.begun += 1
        self.seen = []

    def update(self, epoch, done, total):
        self.updates += 1

    def record(self, record):
        self.seen.append(record["epoch"])
        return len(self.seen) == self.after


def test_a_reporter_ends_the_phase_it_is_told_of():
    X = np.random.default_rng(0).random((40, 6))
    reporter = Enough(3)
    dbn = DBN((5, 4), rbm=RBM(n_iter=8), verbose=reporter, random_state=0).fit(X)
    assert [(r["layer"], r["epoch"]) for r in dbn.history_] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    clf = DBNClassifier(pretrained=dbn.stack_, max_iter=9, verbose=Enough(2), random_state=0).fit(X, X[:, 0] > 0.5)
    assert clf.n_iter_ == 2
    # As long as a run of 2 epochs of the 9 that the schedule was made for: stopping leaves the weights as they were.
    assert [r["learning_rate"] for r in clf.history_] != sorted(r["learning_rate"] for r in clf.history_)


def test_several_reporters_hear_the_same_and_any_may_stop():
    late, soon = Enough(5), Enough(2)
    rbm = RBM(3, n_iter=8, verbose=[late, soon], random_state=0).fit(np.eye(12))
    assert late.seen == soon.seen == [1, 2]
    assert len(rbm.history_) == 2
    assert late.begun == soon.begun == 1
    assert late.updates == soon.updates > 0
    with pytest.raises(SettingError, match="list of them"):
        RBM(3, verbose=[late, "loud"]).fit(np.eye(12))


def test_every_phase_ends_also_where_it_fails():
    class Ends(Enough):
        ended = 0

        def end(self):
            self.ended += 1

    one, other = Ends(99), Ends(1)
    dbn = DBN((5, 4), rbm=RBM(n_iter=2), verbose=[one, other], random_state=0).fit(np.eye(12))
    assert len(dbn.stack_.layers) == one.ended == other.ended == 2

    class Interrupted(Ends):
        def record(self, record):
            raise KeyboardInterrupt

    interrupted = Interrupted(1)
    with pytest.raises(KeyboardInterrupt):
        RBM(3, verbose=interrupted).fit(np.eye(12))
    assert interrupted.ended == 1

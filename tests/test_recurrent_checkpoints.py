"""Checkpoints of models of sequences: stopped after any update, in any phase, they go on to the same bits."""

import numpy as np
import pytest
from fake_device import FakeDevice
from tables import case_by_case
from test_checkpoints import Counter, StopAfter, Stopped, assert_same, explode, quick_disk, stop_everywhere

from deepbelief import CheckpointFile, RecurrentRBM
from deepbelief.errors import DataError, SettingError
from deepbelief.hdf5 import read_checkpoint
from deepbelief.training import Reporter

__all__ = ["quick_disk"]  # used by every test

LENGTHS = [7, 2, 11, 5]  # with windows of three frames, two at a time: five updates in an epoch
ROWS = (np.random.default_rng(0).random((25, 6)) > 0.5).astype(np.float32)
GREY = np.random.default_rng(1).normal(2, 3, (25, 6))


def make(**settings):
    quick = {"truncation": 3, "batch_size": 2, "gibbs_steps": 2, "n_iter": 2, "random_state": 3}
    return RecurrentRBM(5, 4, **quick | settings)


RUNS = {
    "adam, all phases": ({"pretrain_frames": 2, "pretrain_recurrent": 2}, ROWS, 2 * 3 + 2 * 5 + 2 * 5),
    "momentum": ({"solver": "sgd", "schedule": "cosine", "weight_decay": 1e-3, "pretrain_frames": 1}, GREY, 3 + 10),
    "gated units": ({"cell": "gru", "solver": "adagrad", "max_grad_norm": None, "pretrain_recurrent": 1}, ROWS, 15),
    "mean field": ({"gradient": "mfcd", "solver": "rmsprop", "visible": "softmax:4,2"}, None, 10),
    "held-out sequences": ({"early_stopping": True, "n_iter_no_change": 2, "weight_decay": 0.0}, ROWS, 8),
    "on a device": ({"backend": FakeDevice(), "pretrain_frames": 1, "pretrain_recurrent": 1}, ROWS, 3 + 5 + 10),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_stopped_at_every_update(tmp_path, name):
    settings, rows, n_updates = RUNS[name]
    if rows is None:  # a choice among four beside one among two
        rng = np.random.default_rng(2)
        rows = np.hstack([np.eye(4)[rng.integers(0, 4, 25)], np.eye(2)[rng.integers(0, 2, 25)]])
    stop_everywhere(lambda **more: make(**settings, **more), tmp_path, rows, LENGTHS, n_updates=n_updates)


@pytest.mark.slow
def test_a_run_that_goes_on_from_an_earlier_fit(tmp_path):
    def again(**more):
        return make(warm_start=True, pretrain_frames=1, n_iter=1).fit(ROWS, LENGTHS).set_params(n_iter=2, **more)

    stop_everywhere(again, tmp_path, ROWS, LENGTHS, n_updates=10)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::deepbelief.errors.DivergenceWarning")
def test_a_run_that_diverges_falls_back_to_the_same_epoch(tmp_path):
    settings = {"schedule": explode, "solver": "sgd", "max_grad_norm": None, "n_iter": 4, "learning_rate": 0.1}
    counter = Counter()
    assert "diverged" in make(verbose=counter, **settings).fit(ROWS, LENGTHS).history_[-1]
    stop_everywhere(lambda **more: make(**settings, **more), tmp_path, ROWS, LENGTHS, n_updates=counter.n)


def stopped(path, n=8, **settings):
    """Leave a checkpoint behind of a run that was ended after so many updates."""
    file = CheckpointFile(path / "run.h5", every="1 update")
    with pytest.raises(Stopped):
        make(checkpoint=file, verbose=StopAfter(n), **settings).fit(ROWS, LENGTHS)
    return file


@pytest.mark.parametrize("warm_start", [False, True])
def test_an_estimator_whose_fit_was_stopped_is_as_before_and_goes_on(tmp_path, warm_start):
    file = CheckpointFile(tmp_path / "run.h5", every="1 update")
    rnn = make(checkpoint=file, verbose=StopAfter(8), warm_start=warm_start)
    with pytest.raises(Stopped):
        rnn.fit(ROWS, LENGTHS)
    assert not rnn.__sklearn_is_fitted__()
    assert_same(rnn.set_params(verbose=0).fit(ROWS, LENGTHS), make().fit(ROWS, LENGTHS))


def test_a_fresh_seed_is_kept(tmp_path):
    file = stopped(tmp_path, random_state=None, pretrain_recurrent=1)
    seed = read_checkpoint(file.path).seed
    went_on = make(checkpoint=file, random_state=None, pretrain_recurrent=1).fit(ROWS, LENGTHS)
    assert_same(went_on, make(random_state=seed, pretrain_recurrent=1).fit(ROWS, LENGTHS))
    np.testing.assert_array_equal(
        went_on.sample(5), make(random_state=seed, pretrain_recurrent=1).fit(ROWS, LENGTHS).sample(5)
    )


CHANGED = ROWS.copy()
CHANGED[24, 5] = 1 - CHANGED[24, 5]


@pytest.mark.slow
@case_by_case("when", ["frames", "recurrent net", "all"])
@case_by_case(
    ("rows", "lengths", "line"),
    [(CHANGED, LENGTHS, "sha256 was"), (ROWS, [7, 2, 5, 11], "lengths was"),
     (ROWS, [7, 2, 16], "sequences was 4, is 3"), (ROWS, None, "sequences was 4, is 1"),
     (ROWS[:20], LENGTHS[:3], "rows was 25, is 20")],
)  # fmt: skip
def test_other_sequences_are_refused(tmp_path, when, rows, lengths, line):
    phases = {"pretrain_frames": 1, "pretrain_recurrent": 1}  # of three and five updates
    file = stopped(tmp_path, {"frames": 2, "recurrent net": 5, "all": 10}[when], **phases)
    before = file.path.read_bytes()
    with pytest.raises(
        DataError, match=f"run.h5 belongs to a run with other data: {line}.*; resume it unchanged, or delete"
    ) as e:
        make(checkpoint=file, **phases).fit(rows, lengths)
    assert "\n" not in str(e.value)
    assert file.path.read_bytes() == before


@pytest.mark.slow
@case_by_case(
    ("change", "line"),
    [({"truncation": 4}, "truncation was 3, is 4"), ({"cell": "gru"}, "cell was tanh, is gru"),
     ({"pretrain_frames": 1}, "pretrain_frames was auto, is 1"), ({"solver": "sgd"}, "solver was adam, is sgd"),
     ({"random_state": 4, "n_iter": 3}, "n_iter was 2, is 3; random_state was 3, is 4")],
)  # fmt: skip
def test_other_settings_are_refused(tmp_path, change, line):
    file = stopped(tmp_path)
    before = file.path.read_bytes()
    with pytest.raises(
        SettingError, match=f"run.h5 belongs to a run with other settings: {line}; resume it unchanged"
    ) as e:
        make(checkpoint=file, **change).fit(ROWS, LENGTHS)
    assert "\n" not in str(e.value)
    assert file.path.read_bytes() == before


def test_a_run_that_goes_on_from_another_fit_is_refused(tmp_path):
    def again(n):
        rnn = make(warm_start=True, n_iter=n).fit(ROWS, LENGTHS)
        return rnn.set_params(n_iter=2, checkpoint=CheckpointFile(tmp_path / "run.h5", every="1 update"))

    with pytest.raises(Stopped):
        again(1).set_params(verbose=StopAfter(4)).fit(ROWS, LENGTHS)
    with pytest.raises(SettingError, match="run with other settings: start was"):
        again(2).fit(ROWS, LENGTHS)


class Enough(Reporter):
    def record(self, record):
        return record["phase"] == "recurrent"


def test_a_run_that_a_reporter_ended_is_kept_as_it_was(tmp_path):
    """The last checkpoint is marked as finished after two more updates, which are none of it."""
    file = CheckpointFile(tmp_path / "run.h5", every="3 updates")
    whole = make(checkpoint=file, verbose=Enough()).fit(ROWS, LENGTHS)
    found = read_checkpoint(file.path)
    assert (found.finished, found.state["phase"]["updates"]) == (True, 3)
    assert_same(make(checkpoint=file, verbose=Enough()).fit(ROWS, LENGTHS), whole)


def test_lists_go_on_where_rows_with_lengths_stopped(tmp_path):
    file = stopped(tmp_path)
    assert_same(make(checkpoint=file).fit(np.split(ROWS, np.cumsum(LENGTHS)[:-1])), make().fit(ROWS, LENGTHS))
    assert read_checkpoint(file.path).finished

"""Checkpoints: a run that stops anywhere and goes on ends as one that never stopped, to the last bit."""

import errno
import functools
import multiprocessing
import os
import signal
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_device import FakeDevice
from tables import case_by_case

from deepbelief import DBN, RBM, CheckpointFile, DBNClassifier, DBNRegressor, DeepAutoencoder, RecurrentRBM, save
from deepbelief.checkpoints import locked, remove
from deepbelief.checkpoints.checkpointer import differences, environment
from deepbelief.components import MultiPrediction
from deepbelief.errors import CheckpointWarning, DataError, FileFormatError, Interrupted, SettingError
from deepbelief.gradients import PTT
from deepbelief.hdf5 import last_checkpoint, previous_of, read_checkpoint, write_checkpoint
from deepbelief.stack import Checkpoint
from deepbelief.training import Reporter

ROWS = (np.random.default_rng(0).random((45, 12)) > 0.5).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 3, 45)
NUMBERS = np.random.default_rng(2).random(45).astype(np.float32)
QUICK = {"n_iter": 2, "batch_size": 30}  # two updates in an epoch, the last one of fifteen rows
TUNED = {"rbm": RBM(n_iter=1, batch_size=30), "random_state": 3, "max_iter": 3, "batch_size": 30}


class Stopped(Exception):
    pass


class Counter(Reporter):
    n = 0

    def update(self, *_):
        self.n += 1


class StopAfter(Reporter):
    """Ends the program, as it were, after so many updates."""

    def __init__(self, n):
        self.left = n

    def update(self, *_):
        self.left -= 1
        if not self.left:
            raise Stopped


def values(estimator):
    """Return all that was learned, by name."""
    found = {f"{i}{name}": a for i, w in enumerate(stack(estimator)) for name, a in w.arrays().items()}
    for name in ("coefs_", "intercepts_"):
        found |= {f"{name}{i}": a for i, a in enumerate(getattr(estimator, name, []))}
    found |= {name: getattr(estimator, name) for name in ("_h_states", "h_samples_") if hasattr(estimator, name)}
    if hasattr(estimator, "_state"):
        state = estimator._state
        owners = {"optimizer": dict(enumerate(state.optimizer))} if hasattr(state, "optimizer") else state.arrays
        found |= {f"{owner}.{name}": a for owner, own in owners.items() for name, a in own.items()}
        found["counters"] = np.array([state.epochs, state.updates])
    return found


def stack(estimator):
    if isinstance(estimator, RecurrentRBM):
        return [estimator.machine_.frame, estimator.machine_]
    return [estimator.weights_] if isinstance(estimator, RBM) else estimator.stack_


def assert_same(one, other):
    ours, theirs = values(one), values(other)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert array.tobytes() == theirs[name].tobytes(), name
    without_time = [[{k: v for k, v in r.items() if k != "seconds"} for r in e.history_] for e in (one, other)]
    assert without_time[0] == without_time[1]


class Copies(Reporter):
    """Copies the checkpoint after each update: what a run would leave behind that is ended there."""

    def __init__(self, path):
        self.path, self.contents = path, []

    def update(self, *_):
        self.contents.append(self.path.read_bytes())


def stop_everywhere(make, path, *data, n_updates):
    """Go on from each update of a run, and compare with the run that was not stopped."""
    copies = Copies(path / "all.h5")
    whole = make(checkpoint=CheckpointFile(copies.path, every="1 update"), verbose=copies).fit(*data)
    assert len(copies.contents) == n_updates
    for n, content in enumerate(copies.contents, start=1):
        file = CheckpointFile(path / "one.h5", every=None)
        file.path.write_bytes(content)
        left = Counter()
        assert_same(whole, make(checkpoint=file, verbose=left).fit(*data))
        assert left.n == n_updates - n
    assert_same(whole, make().fit(*data))


@pytest.fixture(autouse=True)
def quick_disk(request, monkeypatch):
    """Do not wait for the disk; a kill does not switch it off."""
    monkeypatch.setattr("deepbelief.hdf5.replacement.os.fsync", lambda handle: None)


PRETRAINING = {
    "cd": {"rbm": RBM(momentum=0.9, **QUICK)},
    "pcd": {"rbm": RBM(gradient="pcd", momentum=0.5, **QUICK)},
    "sparse": {"rbm": RBM(sparsity_target=0.1, nesterovs_momentum=True, **QUICK)},
    "gaussian below": {"rbm": [RBM(visible="gaussian", hidden="rectified", **QUICK), RBM(hidden="gaussian", **QUICK)]},
    "held out": {"rbm": RBM(validation_fraction=0.2, early_stopping=True, schedule="cosine", **QUICK)},
    "centred": {"rbm": RBM(gradient="pcd", centered=True, n_chains=7, gibbs_steps=(1, 3), **QUICK)},
    "averaged": {"rbm": RBM(averaging=0.6, l1=1e-3, binarize="resample", **QUICK)},
    "variance": {"rbm": [RBM(visible="gaussian", learn_variance=True, **QUICK), RBM(**QUICK)]},
    "own parameters": {"rbm": [RBM(hidden="drelu", gradient="pcd", **QUICK), RBM(**QUICK)]},
    "fast weights": {"rbm": RBM(gradient="fpcd", **QUICK)},
    "tempering": {"rbm": RBM(gradient="pt", **QUICK)},
    "trajectory": {"rbm": RBM(gradient=PTT(freeze=0.998, reject=0.97, max_sweeps=20), n_chains=7, **QUICK)},
    "denoising": {"rbm": RBM(**QUICK), "pretraining": "denoising"},
}


def test_the_run_of_a_trajectory_freezes_and_rejects():
    history = DBN((8,), random_state=3, n_passes=2, **PRETRAINING["trajectory"]).fit(ROWS).history_
    assert any(record["n_rungs"] > 1 for record in history), history
    assert any(record["rejections"] for record in history)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRETRAINING)
def test_pretraining_stopped_at_every_update(tmp_path, name):
    """In two passes, through two layers where these differ and for both kinds of chains."""
    settings = {"random_state": 3, "n_passes": 2} | PRETRAINING[name]
    sizes = (8, 5) if name in ("cd", "pcd") or isinstance(settings["rbm"], list) else (8,)
    stop_everywhere(lambda **more: DBN(sizes, **settings, **more), tmp_path, ROWS, n_updates=len(sizes) * 2 * 2 * 2)


@pytest.mark.parametrize("device", [False, True])
def test_missing_values_stopped_at_every_update(tmp_path, device):
    rows = np.where(np.random.default_rng(3).random(ROWS.shape) < 0.3, np.nan, ROWS)
    backend = FakeDevice() if device else "numpy"
    settings = {"components": [MultiPrediction(n_hidden=3)], "backend": backend, "random_state": 3} | QUICK
    stop_everywhere(lambda **more: RBM(4, gradient="pcd", **settings, **more), tmp_path, rows, n_updates=4)


def test_on_a_device(tmp_path):
    stop_everywhere(
        lambda **more: DBN((6,), rbm=RBM(gradient="pcd", **QUICK), backend=FakeDevice(), random_state=3, **more),
        tmp_path, ROWS, n_updates=4,
    )  # fmt: skip


@pytest.mark.parametrize("gradient", ["cd", "pcd"])
def test_a_machine(tmp_path, gradient):
    stop_everywhere(
        lambda **more: RBM(6, gradient=gradient, random_state=3, **QUICK, **more), tmp_path, ROWS, n_updates=4
    )


def test_a_machine_that_goes_on_from_an_earlier_fit(tmp_path):
    def make(**more):
        return RBM(6, warm_start=True, random_state=3, **QUICK).fit(ROWS).set_params(**more)

    stop_everywhere(make, tmp_path, ROWS, n_updates=4)


FINE_TUNING = {
    "sgd": {"dropout": 0.3, "input_dropout": 0.1, "l1": 1e-3, "max_norm": 1.0},
    "adam, stopped early": {"solver": "adam", "dropout": 0.3, "early_stopping": True, "validation_fraction": 0.3},
    "best epoch": {"learning_rate_init": 2.0, "early_stopping": True, "n_iter_no_change": 1, "max_iter": 6},
    "halving": {"schedule": "halving", "early_stopping": True, "head_epochs": 1, "solver": "adagrad"},
    "ramp": {"momentum": "ramp", "activation": "tanh", "n_frozen": 1},
    "no pretraining": {"pretraining": "none", "solver": "rmsprop"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FINE_TUNING)
def test_fine_tuning_stopped_at_every_update(tmp_path, name):
    settings = TUNED | FINE_TUNING[name]

    def make(**more):
        return DBNClassifier((8, 5), **settings, **more)

    counter = Counter()
    make(verbose=counter).fit(ROWS, LABELS)
    stop_everywhere(make, tmp_path, ROWS, LABELS, n_updates=counter.n)


def test_a_regressor(tmp_path):
    stop_everywhere(lambda **more: DBNRegressor((6,), **TUNED, **more), tmp_path, ROWS, NUMBERS, n_updates=2 + 6)


@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, False])
def test_an_autoencoder(tmp_path, tied):
    stop_everywhere(
        lambda **more: DeepAutoencoder((8, 4), tied=tied, dropout=0.2, **TUNED, **more),
        tmp_path, ROWS, n_updates=4 + 6,
    )  # fmt: skip


def test_going_on_with_fine_tuning_after_a_warm_start(tmp_path):
    def make(**more):
        first = DBNClassifier((6,), warm_start=True, **TUNED).fit(ROWS, LABELS)
        return first.set_params(**more)

    stop_everywhere(make, tmp_path, ROWS, LABELS, n_updates=6)


def explode(position):
    return 1.0 if position < 0.6 else 1e6


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::deepbelief.errors.DivergenceWarning")
def test_a_run_that_diverges_falls_back_to_the_same_epoch(tmp_path):
    settings = {"n_iter": 4, "batch_size": 30, "random_state": 3}
    stop_everywhere(lambda **more: RBM(6, schedule=explode, **settings, **more), tmp_path, ROWS, n_updates=6)
    settings, counter = TUNED | {"schedule": explode, "max_iter": 4}, Counter()
    assert "diverged" in DBNClassifier((6,), verbose=counter, **settings).fit(ROWS, LABELS).history_[-1]
    stop_everywhere(lambda **more: DBNClassifier((6,), **settings, **more), tmp_path, ROWS, LABELS, n_updates=counter.n)


def test_a_fresh_seed_is_kept(tmp_path):
    file = CheckpointFile(tmp_path / "run.h5", every="1 update")
    settings = {"rbm": RBM(**QUICK), "checkpoint": file}
    with pytest.raises(Stopped):
        DBN((5,), verbose=StopAfter(4), **settings).fit(ROWS)
    seed = read_checkpoint(file.path).seed
    went_on = DBN((5,), **settings).fit(ROWS)
    assert_same(went_on, DBN((5,), rbm=RBM(**QUICK), random_state=seed).fit(ROWS))


def interrupted(path, n=4, **settings):
    """Leave a checkpoint of a run behind, and the one before it."""
    if settings:
        return interrupt(path, n, **settings)
    for name, content in _files_of_an_interrupted_run(n).items():
        (path / name).write_bytes(content)
    return CheckpointFile(path / "run.h5", every="1 update")


def interrupt(path, n, **settings):
    file = CheckpointFile(path / "run.h5", every="1 update")
    with pytest.raises(Stopped):
        make(checkpoint=file, verbose=StopAfter(n), **settings).fit(ROWS)
    return file


@functools.cache
def _files_of_an_interrupted_run(n):
    with tempfile.TemporaryDirectory() as folder:
        interrupt(Path(folder), n)
        return {each.name: each.read_bytes() for each in Path(folder).iterdir()}


def make(**settings):
    return DBN(**{"hidden_layer_sizes": (5, 4), "rbm": RBM(**QUICK), "random_state": 3} | settings)


@case_by_case(
    ("change", "line"),
    [({"rbm": RBM(n_iter=2, batch_size=21)}, "rbm.batch_size was 30, is 21"),
     ({"random_state": 4}, "random_state was 3, is 4"),
     ({"hidden_layer_sizes": (5, 3)}, r"hidden_layer_sizes was \[5, 4\], is \[5, 3\]")],
)  # fmt: skip
def test_other_settings_are_refused(tmp_path, change, line):
    file = interrupted(tmp_path)
    before = file.path.read_bytes()
    with pytest.raises(SettingError, match=f"other settings: {line}; resume it unchanged, or delete"):
        make(checkpoint=file, **change).fit(ROWS)
    assert file.path.read_bytes() == before


def test_other_data_are_refused(tmp_path):
    file = interrupted(tmp_path)
    changed = ROWS.copy()
    changed[44, 11] = 1 - changed[44, 11]
    with pytest.raises(DataError, match="other data: sha256 was"):
        make(checkpoint=file).fit(changed)
    with pytest.raises(DataError, match="other data: rows was 45, is 44"):
        make(checkpoint=file).fit(ROWS[:-1])
    path = tmp_path / "labels.h5"
    file = CheckpointFile(path, every="1 update")
    with pytest.raises(Stopped):
        DBNClassifier((5,), checkpoint=file, verbose=StopAfter(8), **TUNED).fit(ROWS, LABELS)
    with pytest.raises(DataError, match="targets was"):
        DBNClassifier((5,), checkpoint=file, **TUNED).fit(ROWS, LABELS[::-1])


def test_what_is_finished_makes_room_for_another_run(tmp_path):
    file = CheckpointFile(tmp_path / "run.h5")
    whole = make(checkpoint=file).fit(ROWS)
    assert read_checkpoint(file.path).finished
    assert_same(whole, make(checkpoint=file, verbose=StopAfter(2)).fit(ROWS))  # from the last update on
    other = make(checkpoint=file, random_state=4).fit(ROWS)
    assert read_checkpoint(file.path).seed == 4
    assert_same(other, make(random_state=4).fit(ROWS))


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_torn_checkpoint_is_found_and_the_one_before_it_used(tmp_path, damage):
    file = interrupted(tmp_path, 5)
    content = bytearray(file.path.read_bytes())
    if damage == "cut":
        file.path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[-99] ^= 1
        file.path.write_bytes(content)
    else:
        file.path.unlink()
    with pytest.warns(CheckpointWarning, match=r"run.h5.*; resuming from the previous one, .*run.h5.previous"):
        went_on = make(checkpoint=file).fit(ROWS)
    assert_same(went_on, make().fit(ROWS))


def test_a_kill_while_a_damaged_checkpoint_is_replaced_leaves_the_one_before_it(tmp_path, monkeypatch):
    file = interrupted(tmp_path, 5)
    file.path.write_bytes(file.path.read_bytes()[:-99])
    before = previous_of(file.path).read_bytes()
    rename = Path.replace

    def killed(self, target):
        if Path(target) == file.path:
            raise Stopped
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.warns(CheckpointWarning, match="the previous one"), pytest.raises(Stopped):
            make(checkpoint=file).fit(ROWS)
    assert previous_of(file.path).read_bytes() == before


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@case_by_case("step", range(8))
def test_a_kill_between_any_two_steps_of_writing_leaves_a_whole_checkpoint(tmp_path, step):
    file = interrupted(tmp_path, 5)
    old, count = read_checkpoint(file.path), iter(range(100))

    def counted(function):
        def call(*args, **kwargs):
            if next(count) == step:
                os._exit(9)
            return function(*args, **kwargs)

        return call

    child = os.fork()
    if not child:
        for owner, name in [(os, "open"), (os, "fsync"), (Path, "hardlink_to"), (Path, "replace")]:
            setattr(owner, name, counted(getattr(owner, name)))
        write_checkpoint(file.path, replace(old, seed=old.seed + 1))
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found, trouble = last_checkpoint(file.path)
    assert trouble == ""
    assert ended == (0 if step == 7 else 9)
    assert found.seed == old.seed + (step > 4)  # after the last rename
    assert read_checkpoint(previous_of(file.path)).seed == old.seed
    make(checkpoint=replace(file, path=tmp_path / "other.h5")).fit(ROWS)
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".tmp")]


def test_two_generations_are_kept_and_nothing_else(tmp_path):
    file = interrupted(tmp_path, 5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.h5", "run.h5.previous"]
    last, before = read_checkpoint(file.path), read_checkpoint(previous_of(file.path))
    assert (last.state["phase"]["updates"], before.state["phase"]["updates"]) == (1, 2)


def test_where_no_checkpoint_is_whole(tmp_path):
    file = interrupted(tmp_path, 1)
    file.path.write_bytes(file.path.read_bytes()[:-1])
    with pytest.raises(FileFormatError, match=r"damaged.*no complete earlier checkpoint"):
        make(checkpoint=file).fit(ROWS)


def another_file(path, kind):
    """Put something at a path that is not a checkpoint."""
    match kind:
        case "text":
            path.write_text("mine")
        case "model":
            save(RBM(2, n_iter=1).fit(ROWS), path)
        case "damaged model":
            save(RBM(2, n_iter=1).fit(ROWS), path)
            path.write_bytes(path.read_bytes()[:-9])
        case "empty":
            path.touch()
        case "link":
            path.with_name("target").write_text("mine")
            path.symlink_to("target")
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)


def left(path):
    """Return all that is in a folder."""
    return {p.name: p.read_bytes() if p.is_file() else os.lstat(p).st_mode for p in path.iterdir()}


@pytest.mark.skipif(os.name != "posix", reason="pipes and links")
@case_by_case("name", ["run.h5", "run.h5.previous", "run.h5.lock"])
@case_by_case("kind", ["text", "model", "damaged model", "empty", "link", "folder", "pipe"])
def test_another_file_is_never_replaced_or_removed(tmp_path, kind, name):
    another_file(tmp_path / name, kind)
    if name == "run.h5.lock" and kind == "empty":
        return  # what a killed run leaves
    before, path = left(tmp_path), tmp_path / "run.h5"
    with pytest.raises((FileFormatError, DataError, SettingError), match=r"is not a checkpoint|regular file|lock"):
        make(checkpoint=CheckpointFile(path, every="1 update")).fit(ROWS)
    with pytest.raises((FileFormatError, DataError, SettingError)):
        remove(path)
    if name != "run.h5.lock":
        with pytest.raises((FileFormatError, DataError)):
            write_checkpoint(path, Checkpoint({}, {}, {}, 0))
    assert left(tmp_path) == before


def test_a_file_put_there_during_the_run_stays(tmp_path):
    class Replaced(Reporter):
        def update(self, *_):
            (tmp_path / "run.h5").write_text("mine")

    with pytest.warns(CheckpointWarning, match="is not a checkpoint of deepbelief and is left as it is"):
        make(checkpoint=CheckpointFile(tmp_path / "run.h5", every="1 update"), verbose=Replaced()).fit(ROWS)
    assert (tmp_path / "run.h5").read_text() == "mine"


@pytest.mark.skipif(os.name != "posix", reason="symbolic links")
def test_a_checkpoint_behind_a_symbolic_link(tmp_path):
    """Both generations lie where the link points; the link stays."""
    (tmp_path / "far").mkdir()
    (tmp_path / "run.h5").symlink_to("far/real.h5")
    file = interrupt(tmp_path, 5)
    assert sorted(p.name for p in (tmp_path / "far").iterdir()) == ["real.h5", "real.h5.previous"]
    assert_same(make(checkpoint=file).fit(ROWS), make().fit(ROWS))
    remove(file.path)
    assert [*(tmp_path / "far").iterdir()] == []
    assert file.path.is_symlink()


def test_an_empty_file_that_a_power_failure_left(tmp_path):
    file = interrupt(tmp_path, 5)
    file.path.write_bytes(b"")
    with pytest.warns(CheckpointWarning, match="is empty; resuming from the previous one"):
        assert_same(make(checkpoint=file).fit(ROWS), make().fit(ROWS))


def rewritten(file, change):
    """Change the values of a checkpoint, and seal it again."""
    found = read_checkpoint(file.path)
    whole = {"state": dict(found.state), "seed": found.seed, "data": found.data, "finished": found.finished}
    change(whole)
    write_checkpoint(file.path, replace(found, **whole))


def set_at(*path, value):
    def change(whole):
        *inner, last = path
        for name in inner:
            whole = whole[name]
        if value is None:
            del whole[last]
        else:
            whole[last] = value

    return change


WRONG = [
    (set_at("state", value={}), "state lacks"),
    (set_at("state", "context", value=[1]), r"state.context must be an object, got \[1\]"),
    (set_at("state", "phase", "task", value=None), "state.phase lacks task"),
    (set_at("state", "phase", "records", value=[3]), "state.phase.records.0 must be an object, got 3"),
    (set_at("state", "phase", "updates", value=-1), "state.phase.updates must be an integer >= 0, got -1"),
    (set_at("state", "phase", "stream", value={}), "state.phase.stream lacks"),
    (set_at("state", "phase", "stream", "lane_0", value=3), "state.phase.stream cannot be used: TypeError"),
    (set_at("state", "context", "layer", value=2), "state.context.layer must be an integer from 0 to 1, got 2"),
    (set_at("state", "context", "layers", value=[]), "state.context.layers must be a list of 1 items"),
    (set_at("state", "phase", "task", "horizon", value="x"), "task.horizon must be an integer >= 1, got 'x'"),
    (set_at("state", "phase", "task", "weights", "W", value=np.ones((5, 3), "f4")), "cannot be used: hbias must have"),
    (set_at("state", "phase", "task", "weights", "W", value=[1]), "task.weights.W must be an array"),
    (set_at("state", "phase", "task", "weights", "hidden", value="x"), "weights cannot be used: unknown unit type 'x'"),
    (
        set_at("state", "phase", "task", "weights", "hidden", value="gaussian"),
        "bernoulli hidden units, got gaussian",
    ),
    (
        set_at("state", "phase", "task", "state", "arrays", "optimizer", "0", value=np.zeros((5, 3), "f4")),
        r"arrays.optimizer.0 must be as in a run with these settings, float32 \(5, 4\), got float32 \(5, 3\)",
    ),
    (set_at("seed", value="x"), "seed must be an integer"),
    (set_at("seed", value=-1), "seed must be an integer"),
    (set_at("data", value=3), "data must be an object"),
    (set_at("finished", value=3), "finished must be true or false"),
]


@pytest.mark.slow
@case_by_case("number", range(len(WRONG)))
def test_a_checkpoint_of_wrong_contents_names_the_file_and_the_element(tmp_path, number):
    change, match = WRONG[number]
    file = interrupted(tmp_path, 6)
    rewritten(file, change)
    previous_of(file.path).unlink()
    before = file.path.read_bytes()
    with pytest.raises(FileFormatError, match=match) as caught:
        make(checkpoint=file).fit(ROWS)
    assert str(file.path) in str(caught.value)
    assert file.path.read_bytes() == before


def test_counts_below_zero_are_refused(tmp_path):
    """Adam's number of updates."""
    file = CheckpointFile(tmp_path / "run.h5", every="1 update")
    settings = TUNED | {"solver": "adam", "checkpoint": file}
    with pytest.raises(Stopped):
        DBNClassifier((5,), verbose=StopAfter(4), **settings).fit(ROWS, LABELS)

    def change(whole):
        (count,) = (a for a in whole["state"]["phase"]["task"]["optimizer"] if a.dtype.kind == "i")
        count[...] = -1

    rewritten(file, change)
    previous_of(file.path).unlink()
    with pytest.raises(FileFormatError, match=r"task.optimizer.\d+ must not be negative: it is a count"):
        DBNClassifier((5,), **settings).fit(ROWS, LABELS)


def test_a_full_disk_does_not_stop_training(tmp_path, monkeypatch):
    file = interrupted(tmp_path, 3)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("deepbelief.hdf5.replacement.os.fsync", full)
    monkeypatch.setattr("deepbelief.checkpoints.checkpointer.check_writable", lambda path: None)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        went_on = make(checkpoint=file).fit(ROWS)
    assert [str(w.message) for w in told if w.category is CheckpointWarning] == [
        f"no checkpoint: cannot write {file.path}: No space left on device; the old file is unchanged; "
        "training continues [Diagnose a run: checkpoint]"
    ]
    assert_same(went_on, make().fit(ROWS))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_two_runs_on_one_file(tmp_path):
    pytest.importorskip("fcntl")
    file = CheckpointFile(tmp_path / "run.h5")
    with locked(file.path), pytest.raises(SettingError, match="a run in progress"):
        make(checkpoint=file).fit(ROWS)
    make(checkpoint=file).fit(ROWS)


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_answered_after_the_update(tmp_path, number, monkeypatch):
    monkeypatch.setattr("deepbelief.checkpoints.checkpointer.USUAL", {number: signal.getsignal(number)})
    before = signal.getsignal(number)
    told = []

    class Killed(Reporter):
        def update(self, *_):
            told.append(None)
            if len(told) == 3:
                os.kill(os.getpid(), number)

    file = CheckpointFile(tmp_path / "run.h5", every=None)
    with pytest.raises(Interrupted, match="can resume from") as caught:
        make(checkpoint=file, verbose=Killed()).fit(ROWS)
    assert (caught.value.number, caught.value.path) == (number, str(file.path))
    assert signal.getsignal(number) == before
    assert len(told) == 3
    assert read_checkpoint(file.path).state["phase"]["updates"] == 2
    assert_same(make(checkpoint=file).fit(ROWS), make().fit(ROWS))


def test_another_machine_is_told_of(tmp_path, monkeypatch):
    file = interrupted(tmp_path)
    monkeypatch.setattr("deepbelief.checkpoints.checkpointer.versions", lambda: {"numpy": "0.9"})
    with pytest.warns(
        CheckpointWarning, match="written elsewhere, and the last bits may differ: .*numpy was .*, is 0.9"
    ):
        make(checkpoint=file).fit(ROWS)


def test_two_libraries_of_matrix_products_are_told_apart_in_any_order(monkeypatch):
    versions = ["0.3.30", "0.3.31"]
    pools = [{"user_api": "blas", "internal_api": "openblas", "version": v, "num_threads": 1} for v in versions]
    found = []
    for several in (pools, pools[::-1], [pools[0], {**pools[1], "num_threads": 2}], [{**pools[0], "version": "0.2"}]):
        monkeypatch.setattr("deepbelief.checkpoints.checkpointer.threadpool_info", lambda several=several: several)
        found.append(environment())
    assert differences(found[0], found[1]) == []
    assert differences(found[0], found[2]) == ["openblas 2 was 0.3.31  threads 1, is 0.3.31  threads 2"]
    assert len(differences(found[0], found[3])) == 2


@case_by_case("every", ["often", "0 s", "-1", "3 weeks", True, ""])
def test_intervals_that_are_none(every):
    with pytest.raises(SettingError, match="written every '10 min'"):
        CheckpointFile("run.h5", every=every)


@case_by_case(
    ("every", "written"), [("1 update", 8), ("2 updates", 4), (1, 4), ("2 epochs", 2), ("1 h", 2), ("0.0000001 s", 8)]
)
def test_how_often_it_is_written(tmp_path, every, written, monkeypatch):
    """8 updates in 2 layers of 2 epochs of 2 updates; at the end of each layer in any case."""
    count = []
    monkeypatch.setattr(
        "deepbelief.checkpoints.checkpointer.write_checkpoint", lambda path, it, **_: count.append(it.finished)
    )
    make(checkpoint=CheckpointFile(tmp_path / "run.h5", every=every)).fit(ROWS)
    assert count == [False] * written + [True]


def test_nothing_but_a_path_is_taken(tmp_path):
    with pytest.raises(SettingError, match="checkpoint must be a path"):
        make(checkpoint=3).fit(ROWS)
    with pytest.raises(SettingError, match="without NUL"):
        make(checkpoint="run\0.h5").fit(ROWS)
    with pytest.raises(DataError, match="does not exist"):
        make(checkpoint=tmp_path / "no" / "run.h5").fit(ROWS)
    assert last_checkpoint(tmp_path / "none.h5") == (None, "")


def test_a_checkpoint_of_another_version_is_refused(tmp_path, monkeypatch):
    file = CheckpointFile(tmp_path / "run.h5", every="1 update")
    with monkeypatch.context() as patch:
        patch.setattr("deepbelief.hdf5.checkpoint.LAYOUT", 1)
        make(checkpoint=file).fit(ROWS)
    with pytest.raises(FileFormatError, match=r"run\.h5 is a checkpoint of another version of deepbelief") as caught:
        make(checkpoint=file).fit(ROWS)
    assert "\n" not in str(caught.value)


def long_fit(path):
    rows = (np.random.default_rng(0).random((600, 12)) > 0.5).astype(np.float32)
    rbm = RBM(n_iter=15, batch_size=20, gradient="pcd")
    file = CheckpointFile(path, every="29 updates")
    clf = DBNClassifier((9, 6), rbm=rbm, dropout=0.2, max_iter=15, batch_size=20, random_state=1, checkpoint=file)
    return clf.fit(rows, rows[:, 0] > 0.5)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="fork and SIGKILL")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_kill_9(tmp_path):
    """A process that is killed has no time to say goodbye; its lock goes with it."""
    path = tmp_path / "run.h5"
    for seconds in (0.1, 0.15, 0.2):
        child = multiprocessing.get_context("fork").Process(target=long_fit, args=(path,))
        child.start()
        child.join(seconds)
        child.kill()
        child.join()
    assert_same(long_fit(path), long_fit(tmp_path / "whole.h5"))
    assert not Path(f"{path}.lock").exists()

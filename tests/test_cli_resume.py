"""Checkpoints from the shell: --checkpoint, --resume, Ctrl-C and SIGTERM."""

import json
import os
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli_runs import TINY, bad, good, put_model, run, snapshot
from tables import case_by_case

from deepbelief import load
from deepbelief.checkpoints import locked
from deepbelief.cli._files import absolute
from deepbelief.cli._progress import PlainReporter
from deepbelief.hdf5 import read_checkpoint, write_checkpoint

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
FINE = ("--epochs", "3", "--seed", "2")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, where Ctrl-C works as in a shell of one's own."""
    monkeypatch.chdir(tmp_path)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield tmp_path
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def stop(monkeypatch):
    """Return a function that sends this process a signal at an update to come."""

    def at(n, number=signal.SIGTERM):
        count = iter(range(1, 10**6))

        def update(*_):
            if next(count) == n:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(PlainReporter, "update", update)

    return at


def learned(path):
    model = load(path)
    layers = [model.machine_, model.machine_.frame] if hasattr(model, "machine_") else model.stack_
    arrays = [*getattr(model, "coefs_", ()), *getattr(model, "intercepts_", ())]
    return [a.tobytes() for a in arrays] + [a.tobytes() for w in layers for a in w.arrays().values()]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_pretraining_goes_on(folder, stop, number, code):
    good("pretrain", *TINY, "--passes", "2", "--out", "whole.h5", "--quiet")
    stop(12, number)
    stopped = run("pretrain", *TINY, "--passes", "2", "--out", "part.h5", "--checkpoint", "run.ckpt.h5")
    assert stopped.exit_code == code
    assert stopped.stderr.endswith("\nInterrupted: resume with  deepbelief pretrain --resume run.ckpt.h5\n")
    assert sorted(snapshot(folder)) == ["run.ckpt.h5", "whole.h5"]
    good("pretrain", "--resume", "run.ckpt.h5")
    assert learned("part.h5") == learned("whole.h5")
    assert sorted(snapshot(folder)) == ["part.h5", "whole.h5"]


def test_fine_tuning_goes_on(folder, stop):
    path = put_model(folder, "dbn")
    good("finetune", path, *FINE, "--dropout", "0.2", "--early-stopping", "--out", "whole.h5", "--quiet")
    stop(20)
    words = ("--dropout", "0.2", "--early-stopping", "--checkpoint", "c.h5", "--checkpoint-every", "7updates")
    assert run("finetune", path.name, *FINE, *words, "--out", "part.h5").exit_code == 143
    good("finetune", "--resume", "c.h5", "--quiet")
    assert learned("part.h5") == learned("whole.h5")


def test_going_on_with_a_tuned_model_goes_on(folder, stop):
    path = put_model(folder, "classifier")
    good("finetune", path, "--epochs", "2", "--out", "whole.h5", "--quiet")
    stop(9)
    assert run("finetune", path.name, "--epochs", "2", "--out", "part.h5").exit_code == 143
    good("finetune", "--resume", "part.ckpt.h5", "--out", "other.h5")
    assert learned("other.h5") == learned("whole.h5")


def test_an_autoencoder_goes_on(folder, stop):
    words = ("digits", "--autoencoder", "--layers", "12,4", "--limit", "200", "--epochs", "2", "--seed", "1")
    good("pretrain", *words, "--out", "whole.h5", "--quiet")
    stop(9)
    assert run("pretrain", *words, "--out", "part.h5").exit_code == 143
    good("pretrain", "--resume", "part.ckpt.h5", "--quiet")
    assert learned("part.h5") == learned("whole.h5")


SONGS = (
    "songs.npz:roll", "--recurrent", "--lengths", "offsets", "--layers", "5", "--recurrent-units", "4", "--epochs", "2",
    "--pretrain-frames", "2", "--pretrain-recurrent", "2", "--truncation", "3", "--batch-size", "2", "--seed", "3",
)  # fmt: skip
"""Two epochs of three updates on frames, two of six of the recurrent net, two of six of all."""


@pytest.fixture
def songs(folder):
    """Four sequences in eleven windows."""
    rows = (np.random.default_rng(0).random((30, 6)) > 0.5).astype(np.uint8)
    np.savez("songs.npz", roll=rows, offsets=[0, 9, 13, 25, 30], lengths=[9, 4, 12, 5])
    return rows


def logged(path):
    """Return what a log tells of each epoch, time left out."""
    records = (json.loads(line) for line in Path(path).read_text().splitlines())
    return [{name: value for name, value in record.items() if name != "seconds"} for record in records]


@pytest.mark.parametrize(
    ("n", "where"),
    [(1, "pretrain, pass 1, layer 1, 2 updates of the epoch"), (13, "pretrain recurrent, 2 updates of the epoch"),
     (26, "recurrent, 3 updates of the epoch")],
)  # fmt: skip
def test_a_model_of_sequences_goes_on(songs, stop, n, where):
    good("pretrain", *SONGS, "--out", "whole.h5", "--log", "whole.jsonl", "--quiet")
    stop(n, signal.SIGINT)
    stopped = run("pretrain", *SONGS, "--out", "part.h5", "--checkpoint", "c.h5", "--log", "part.jsonl")
    assert stopped.exit_code == 130
    assert stopped.stderr.endswith("\nInterrupted: resume with  deepbelief pretrain --resume c.h5\n")
    assert not Path("part.h5").exists()
    told = good("info", "c.h5").stdout
    for line in (f"run         {where}\n", "data        30 rows, 4 sequences\n", "pretrain --resume c.h5\n"):
        assert line in told
    assert json.loads(good("info", "c.h5", "--json").stdout)["stage"] == where.split(",")[0]
    shown = good("pretrain", "--resume", "c.h5").stderr
    assert ("sequences, 6 -> 5: epoch 1/2" in shown) == (n < 24)
    assert "sequences, 6 -> 5: epoch 2/2" in shown
    assert learned("part.h5") == learned("whole.h5")
    assert logged("part.jsonl") == logged("whole.jsonl")
    assert not Path("c.h5").exists()


def test_sequences_go_on_as_they_were_only(songs, stop):
    stop(27)
    assert run("pretrain", *SONGS, "--out", "m.h5").exit_code == 143
    before = Path("m.ckpt.h5").read_bytes()
    assert bad("pretrain", "--resume", "m.ckpt.h5", "--truncation", "4", "--lengths", "lengths") == (
        "m.ckpt.h5 belongs to a run with other options: --truncation was 3, is 4; --lengths was offsets, is lengths; "
        "leave them out to resume"
    )
    np.savez("songs.npz", roll=songs, offsets=[0, 9, 14, 25, 30])
    assert bad("pretrain", "--resume", "m.ckpt.h5").startswith(
        "m.ckpt.h5 belongs to a run with other data: lengths was"
    )
    np.savez("songs.npz", roll=1 - songs, offsets=[0, 9, 13, 25, 30])
    assert bad("pretrain", "--resume", "m.ckpt.h5").startswith("m.ckpt.h5 belongs to a run with other data: sha256 was")
    assert Path("m.ckpt.h5").read_bytes() == before
    np.savez("songs.npz", roll=songs, offsets=[0, 9, 13, 25, 30])
    good("pretrain", *SONGS, "--resume", "m.ckpt.h5", "--quiet")
    good("pretrain", *SONGS, "--out", "whole.h5", "--quiet")
    assert learned("m.h5") == learned("whole.h5")


def test_sequences_go_on_from_another_folder(songs, stop, folder, monkeypatch):
    np.save("lengths.npy", [9, 4, 12, 5])
    stop(26)
    assert run("pretrain", *SONGS, "--lengths", "lengths.npy", "--out", "m.h5").exit_code == 143
    (folder / "other").mkdir()
    monkeypatch.chdir(folder / "other")
    good("pretrain", "--resume", "../m.ckpt.h5", "--quiet")
    assert load(folder / "m.h5").n_iter_ == 2


@pytest.fixture
def stopped(folder, stop):
    """A run that was stopped without a word about checkpoints."""
    stop(29)
    assert run("pretrain", *TINY, "--out", "m.h5", "--log", "m.jsonl").exit_code == 143
    return folder / "m.ckpt.h5"


def test_the_log_goes_on(stopped):
    good("pretrain", "--resume", "m.ckpt.h5")
    lines = [json.loads(line) for line in (stopped.parent / "m.jsonl").read_text().splitlines()]
    assert [(line["layer"], line["epoch"]) for line in lines] == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_progress_counts_on(stopped):
    told = good("pretrain", "--resume", "m.ckpt.h5").stderr
    assert "layer 1/2, 64 -> 12: epoch 1/" not in told
    assert "layer 1/2, 64 -> 12: epoch 2/2" in told


def test_what_is_typed_must_agree(stopped):
    line = bad("pretrain", "--resume", "m.ckpt.h5", "--layers", "12,9", "--seed", "5")
    assert line == (
        "m.ckpt.h5 belongs to a run with other options: --layers was 12,8, is 12,9; --seed was 1, is 5; "
        "leave them out to resume"
    )
    for words, told in {
        ("--l1", "2"): "--l1 was not given, is 2;",
        ("--gibbs-steps", "1-3"): "--gibbs-steps was not given, is 1-3;",
        ("--centered",): "--centered was not given, is given;",
        ("--columns", "a=number,b=dropped"): "--columns was not given, is a=number,b=dropped;",
        ("--components", "gauge,multi_prediction"): "--components was not given, is gauge,multi_prediction;",
    }.items():
        assert f"other options: {told}" in bad("pretrain", "--resume", "m.ckpt.h5", *words)
    assert bad("pretrain", "mnist", "--resume", "m.ckpt.h5").startswith(
        "m.ckpt.h5 belongs to a run with other options: DATA was digits, is mnist;"
    )
    assert "leave --checkpoint other.h5 out" in bad("pretrain", "--resume", "m.ckpt.h5", "--checkpoint", "other.h5")
    good("pretrain", *TINY, "--resume", "m.ckpt.h5", "--quiet")


def test_a_checkpoint_is_not_overwritten(stopped):
    before = stopped.read_bytes()
    assert "resume with deepbelief pretrain --resume m.ckpt.h5, or start again with --force" in bad(
        "pretrain", *TINY, "--out", "m.h5"
    )
    assert stopped.read_bytes() == before
    good("pretrain", *TINY, "--out", "m.h5", "--force", "--quiet")
    assert not stopped.exists()


def test_no_such_checkpoint(folder):
    assert bad("pretrain", "--resume", "none.h5") == "no such checkpoint: none.h5"
    assert "already used" in bad("pretrain", *TINY, "--out", "m.h5", "--checkpoint", "m.h5")
    assert "is written every" in bad("pretrain", *TINY, "--checkpoint-every", "rarely")
    assert run("finetune").exit_code == 2


@case_by_case("force", [(), ("--force",)])
@case_by_case("name", ["thesis.txt", "dbn.h5", "m.ckpt.h5"])
def test_another_file_is_no_checkpoint(folder, name, force):
    """Given by name, or there by chance where the checkpoint of --out m.h5 lies."""
    put_model(folder, "dbn")
    Path("thesis.txt").write_text("mine")
    Path("m.ckpt.h5").write_text("mine")
    before = snapshot(folder)
    given = () if name == "m.ckpt.h5" else ("--checkpoint", name)
    says = f"{name} is not a checkpoint of deepbelief and is left as it is: choose another name"
    assert bad("pretrain", *TINY, "--out", "m.h5", *given, *force) == says
    assert bad("finetune", "dbn.h5", *FINE, "--out", "m.h5", *given, *force) in (
        says, f"--checkpoint {name} is already used as input or output; choose another name"
    )  # fmt: skip
    assert bad("pretrain", "--resume", name, *force) == says
    assert snapshot(folder) == before


def test_a_checkpoint_of_something_else(stopped):
    assert bad("finetune", "--resume", "m.ckpt.h5").startswith(
        "m.ckpt.h5 is a checkpoint of pretrain: deepbelief pretrain"
    )
    found = read_checkpoint(stopped)
    object.__setattr__(found, "metadata", {})
    write_checkpoint(stopped, found)
    assert "written by a Python program" in bad("pretrain", "--resume", "m.ckpt.h5")


def test_a_torn_checkpoint(folder, stop):
    stop(9)
    words = ("--checkpoint", "c.h5", "--checkpoint-every", "1update")
    assert run("pretrain", *TINY, "--out", "m.h5", *words).exit_code == 143
    (folder / "c.h5").write_bytes((folder / "c.h5").read_bytes()[:-1])
    told = good("pretrain", "--resume", "c.h5", "--quiet").stderr
    assert told.startswith("Warning: c.h5 is damaged")
    assert told.endswith("resuming from the previous one, c.h5.previous [Diagnose a run: checkpoint]\n")
    good("pretrain", *TINY, "--out", "whole.h5", "--quiet")
    assert learned("m.h5") == learned("whole.h5")
    assert sorted(snapshot(folder)) == ["m.h5", "whole.h5"]


def test_a_run_that_goes_on_elsewhere(stopped):
    pytest.importorskip("fcntl")
    with locked("m.ckpt.h5"):
        assert "a run in progress" in bad("pretrain", "--resume", "m.ckpt.h5")
    assert "m.ckpt.h5" in snapshot(stopped.parent)


def test_what_is_told_of_a_checkpoint(stopped):
    told = good("info", "m.ckpt.h5").stdout
    for line in (
        "kind        Checkpoint",
        "run         pretrain, pass 1, layer 1, ",
        "data        200 rows",
        "seed        1",
    ):
        assert line in told
    assert "next        deepbelief pretrain --resume m.ckpt.h5" in told
    assert json.loads(good("info", "m.ckpt.h5", "--json").stdout)["layer"] == 1


def test_a_file_that_does_not_fit_into_memory(folder, stop, monkeypatch):
    """Read in windows, stopped, gone on with, encoded block by block."""
    rows = (np.random.default_rng(0).random((300, 16)) > 0.5).astype(np.uint8)
    with h5py.File("rows.h5", "w") as file:
        file["X"] = rows
    monkeypatch.setattr("deepbelief.sources.h5.IN_MEMORY", 0)
    monkeypatch.setattr("deepbelief.row_windows.LEAST_MEMORY", 1)
    words = ("rows.h5", "--layers", "8,6", "--epochs", "2", "--seed", "1", "--memory-limit", "8kB")
    good("pretrain", *words, "--out", "whole.h5", "--quiet")
    stop(40)
    assert run("pretrain", *words, "--out", "part.h5").exit_code == 143
    assert "--memory-limit was 8kB, is 9kB" in bad("pretrain", "--resume", "part.ckpt.h5", "--memory-limit", "9kB")
    good("pretrain", "--resume", "part.ckpt.h5")
    assert learned("part.h5") == learned("whole.h5")
    good("encode", "part.h5", "rows.h5", "--out", "codes.npy")
    assert np.load("codes.npy").shape == (300, 6)
    assert "--memory-limit must be bytes" in bad("pretrain", *words[:-1], "some", "--out", "m.h5")


@case_by_case("spec", ["y", "rows.npz", "rows.npz:y", "missing", None])
def test_only_files_are_recorded_by_absolute_paths(tmp_path, monkeypatch, spec):
    monkeypatch.chdir(tmp_path)
    Path("y").mkdir()  # a folder may have the name of a column of labels
    Path("rows.npz").touch()
    assert absolute(spec) == (str(tmp_path / spec) if str(spec).startswith("rows") else spec)

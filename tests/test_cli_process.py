"""The command line as a process: signals, pipes, terminals."""

import contextlib
import io
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cli_runs import COMMAND, ENVIRONMENT, TINY, good, process, put_model, snapshot
from rich.console import Console
from tables import case_by_case

from deepbelief import load
from deepbelief.quantities import duration

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="POSIX signals and terminals"),
    pytest.mark.slow,
]

# A shell may have started the tests with Ctrl-C ignored, which children inherit.
HEARS_CTRL_C = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
LONG = ("digits", "--layers", "64,32", "--epochs", "100000", "--out", "model.h5")


def start(*args, cwd, **settings):
    command = [*COMMAND[:-1], HEARS_CTRL_C + COMMAND[-1], *args]
    return subprocess.Popen(command, cwd=cwd, env=ENVIRONMENT, **settings)


def read_until(stream, wanted, seconds=30):
    """Read from a stream until a text has come; return all of it."""
    text, deadline = "", time.monotonic() + seconds
    while wanted not in text:
        assert time.monotonic() < deadline, text
        if select.select([stream], [], [], 0.2)[0]:
            chunk = os.read(stream.fileno(), 4096).decode()
            assert chunk, f"it ended after: {text}"
            text += chunk
    return text


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_ctrl_c_in_training_ends_in_one_line(tmp_path, command):
    (tmp_path / "model.h5").write_bytes(b"old")
    words = LONG if command == "pretrain" else (str(put_model(tmp_path, "dbn")), *LONG[3:])
    before = snapshot(tmp_path)
    child = start(command, *words, "--force", cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with child:
        read_until(child.stderr, "epoch 1/")
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    last = err.decode().splitlines()[-1]
    assert child.returncode == 130
    assert last == f"Interrupted: resume with  deepbelief {command} --resume model.ckpt.h5"
    assert "Traceback" not in err.decode()
    assert out == b""
    after = snapshot(tmp_path)
    assert after.pop("model.ckpt.h5")
    assert after == before


def test_exit_codes_reach_the_shell(tmp_path):
    assert process("size", 64).returncode == 0
    assert process("size", 0).returncode == 1
    assert process("size").returncode == 2
    done = process("pretrain", "nosuch", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize("words", [("predict",), ("encode", "--out", "-")])
def test_a_reader_that_has_seen_enough(tmp_path, words):
    path = put_model(tmp_path, "classifier")
    child = start(
        words[0], str(path), "digits", *words[1:], cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with child:
        child.stdout.readline()
        child.stdout.close()
        err = child.stderr.read()
    assert err == b""
    assert child.returncode == 0


def test_words_that_the_terminal_does_not_know(tmp_path):
    from deepbelief import load, save

    model = load(put_model(tmp_path, "classifier"))
    model.classes_ = np.array([f"n\xe4{i}" for i in range(10)])
    save(model, tmp_path / "words.h5")
    words = [*COMMAND, "predict", "words.h5", "digits"]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, check=False, env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert re.fullmatch(rb"label\n(n\\xe4\d\n){1797}", done.stdout)


def test_results_alone_go_to_stdout(tmp_path):
    path = put_model(tmp_path, "classifier")
    done = good("predict", path)
    assert done.stderr == "Using digits, the first 200 rows, the training data\n"
    assert re.fullmatch(r"label\n(\d\n){200}", done.stdout)


def test_a_terminal_gets_a_live_display(tmp_path):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    child = start("pretrain", *TINY, "--passes", "2", cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = b""
    with child, contextlib.suppress(OSError):  # EIO at the end
        while chunk := os.read(ours, 4096):
            shown += chunk
    os.close(ours)
    assert child.wait() == 0
    text = shown.decode()
    assert "\x1b[" in text
    for title in ("pass 1/2, layer 1/2, 64 -> 12", "pass 2/2, layer 2/2, 12 -> 8"):
        assert title in text
    assert "epoch 2/2" in text


def told(reporter, n_passes, n_epochs):
    """Play a run of two layers to a reporter."""
    for number in range(n_passes):
        for layer, sizes in ((1, (64, 12)), (2, (12, 8))):
            reporter.begin(
                {"phase": "pretrain", "pass": number + 1, "layer": layer, "n_passes": n_passes, "n_layers": 2,
                 "n_epochs": n_epochs, "sizes": sizes}
            )  # fmt: skip
            for epoch in range(number * n_epochs + 1, (number + 1) * n_epochs + 1):
                reporter.update(epoch, 1, 2)
                reporter.update(epoch, 2, 2)
                reporter.record({"epoch": epoch, "reconstruction_error": 1.5, "free_energy_gap": -0.25, "seconds": 0.1})


def test_the_live_display_shows_errors_and_counts():
    from deepbelief.cli._live import LiveReporter
    from deepbelief.cli._pace import Pace

    out = io.StringIO()
    live = LiveReporter(Pace((64, 12, 8)), Console(file=out, force_terminal=True, width=150))
    told(live, n_passes=2, n_epochs=3)
    live.close()
    last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue()).splitlines()[-4:]
    assert "pass 1/2, layer 1/2, 64 -> 12" in last[0]
    assert "pass 2/2, layer 2/2, 12 -> 8" in last[-1]
    assert all("epoch 3/3" in line and "error 1.5, gap -0.25" in line for line in last)


def test_the_time_left_goes_by_the_work(monkeypatch):
    from deepbelief.cli import _pace

    clock = iter([0.0])
    monkeypatch.setattr(_pace.time, "perf_counter", lambda: next(clock))
    pace = _pace.Pace((100, 30, 10))  # the first layer is ten times the second
    what = {"phase": "pretrain", "n_passes": 2, "n_layers": 2, "n_epochs": 5}
    clock = iter([10.0, 110.0, 210.0])
    pace.begin({**what, "pass": 1, "layer": 1})
    assert pace.left(1) == pytest.approx(10.0 * (110 - 10) / 10)
    for epoch in range(2, 5):
        pace.at(epoch)
    pace.begin({**what, "pass": 2, "layer": 1})
    assert pace.at(6) == (1, 5)
    assert pace.left(6, part=0.5) == pytest.approx(110.0 * (110 - 60) / 60)
    pace.begin({**what, "pass": 2, "layer": 2})
    pace.at(6)
    assert pace.left(10) == 0


def test_the_time_left_is_that_of_a_phase_where_phases_cannot_be_compared(monkeypatch):
    """The first one goes on in its last epoch."""
    from deepbelief.cli import _pace

    clock = iter([0.0, 100.0, 130.0, 200.0, 220.0])
    monkeypatch.setattr(_pace.time, "perf_counter", lambda: next(clock))
    pace = _pace.Pace()
    pace.begin({"phase": "pretrain recurrent", "n_epochs": 2, "first_epoch": 0})
    assert pace.at(2) == (2, 2)
    assert pace.left(2) == 0
    pace.begin({"phase": "recurrent", "n_epochs": 4, "first_epoch": 0})
    assert pace.left(1) == pytest.approx(20 * 3)


def test_going_on_with_fine_tuning_counts_from_one():
    from deepbelief.cli._pace import Pace

    pace = Pace()
    pace.begin({"phase": "finetune", "n_epochs": 12, "sizes": (3, 2, 2)})
    assert pace.at(11) == (1, 2)
    assert pace.at(12) == (2, 2)


@case_by_case(
    ("value", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"),
                        (3599.4, "59 min 59 s"), (3599.6, "1 h 00 min"), (7384, "2 h 03 min"), (864_000, "10.0 days")]
)  # fmt: skip
def test_durations(value, text):
    assert duration(value) == text


def test_help_is_quick(tmp_path):
    """In processor time, which other processes do not lengthen as they do the time on the clock."""

    def used(command):
        before = os.times()
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, env=ENVIRONMENT)
        after = os.times()
        return sum(after[2:4]) - sum(before[2:4])

    bare = used([sys.executable, "-c", "pass"])
    assert min(used([*COMMAND, "--help"]) for _ in range(2)) < 0.5 + bare


def test_the_log_of_an_interrupted_run_is_whole_lines(tmp_path):
    import json

    child = start("pretrain", *LONG, "--log", "log.jsonl", "--quiet", cwd=tmp_path, stderr=subprocess.PIPE)
    log = Path(tmp_path / "log.jsonl")
    with child:
        deadline = time.monotonic() + 30
        while not (log.exists() and log.read_text().count("\n") > 2):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=30)
    assert child.returncode == 130
    assert [json.loads(line)["epoch"] for line in log.read_text().splitlines()][:3] == [1, 2, 3]


def test_two_runs_at_once_on_the_same_files_lose_nothing(tmp_path):
    """Both checked that there was no such file; the second to end finds the other's and keeps it."""
    words = (
        "pretrain",
        "digits",
        "--limit",
        "60",
        "--layers",
        "4",
        "--epochs",
        "1",
        "--out",
        "m.h5",
        "--log",
        "l.jsonl",
    )
    runs = [
        subprocess.Popen(
            [*COMMAND, *words, "--seed", str(seed), "--checkpoint", f"{seed}.h5"], cwd=tmp_path, env=ENVIRONMENT,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for seed in (1, 2)
    ]  # fmt: skip
    ends = [(run, *run.communicate(timeout=120)) for run in runs]
    done = [told for run, told, _ in ends if run.returncode == 0]
    refused = [error.splitlines()[-1] for run, _, error in ends if run.returncode == 1]
    assert len(done) >= 1
    assert len(done) + len(refused) == 2
    models = {load(path).stack_.layers[0].W.tobytes() for path in tmp_path.glob("m*.h5")}
    for line in refused:  # before training, or after it
        before = "m.h5 exists" in line or "l.jsonl exists" in line  # the other one had begun to write its log
        assert before or "m.h5 was written by another program" in line, line
        assert before or len(models) == 2
    assert not [p.name for p in tmp_path.iterdir() if p.suffix in (".tmp", ".lock")]
    records = [json.loads(line) for line in (tmp_path / "l.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1]

"""``deepbelief sweep``: a table that recommends rightly, and bad input in one line."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from cli_runs import bad, good, process, run, snapshot
from rich.console import Console
from tables import case_by_case

from deepbelief.diagnostics import SweepRow

TINY = ("digits", "--limit", "300", "--layers", "12", "--epochs", "40", "--seed", "1")


def table(result):
    """Return the rows of the table by rate: verdict, epochs done, and the note behind."""
    rows = {}
    for line in result.stdout.split("\n\n")[0].splitlines()[1:]:
        rate, verdict, epochs, note = re.fullmatch(
            r"\s*(\S+)\s+(\D+?)\s+\S+\s+(\d+)/\d+\s+(?:\d+ min )?\S+ s(.*)", line
        ).groups()  # fmt: skip
        rows[float(rate)] = verdict, int(epochs), note.strip()
    return rows


def test_the_table_tells_of_each_rate_and_recommends_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = good("sweep", *TINY, "--rates", "1e5,0.1,1e-9")
    rows = table(result)
    assert list(rows) == [1e5, 0.1, 1e-9]
    assert rows[1e5][0] == "diverged"
    assert rows[0.1] == ("good", 40, "<- best")
    assert rows[1e-9] == ("too slow", 4, "stopped early")
    assert "pseudo-log-likelihood of held-out rows" in result.stdout
    assert "advice  Use --learning-rate=0.1" in result.stdout
    typed = "--limit 300 --layers 12 --epochs 40 --seed 1"
    assert f"next    deepbelief pretrain digits {typed} --learning-rate 0.1\n" in result.stdout
    assert "seed    1" in result.stdout
    assert snapshot(tmp_path) == {}


def test_progress_goes_to_stderr_and_quiet_shows_none():
    loud, quiet = good("sweep", *TINY), good("sweep", *TINY, "--quiet")
    assert "digits: 300 rows, 64 features" in loud.stderr
    assert "rate 0.1: running, epoch 40/40" in loud.stderr
    assert "rate 1e-06: too slow, epoch 4/40" in loud.stderr
    assert quiet.stderr == ""
    assert table(loud) == table(quiet)


def test_refine_and_jobs(tmp_path):
    result = good("sweep", *TINY, "--rates", "1e4,0.1,1e-3", "--refine", "2", "--jobs", "1", "--quiet")
    rates = sorted(table(result))
    assert len(rates) == 5
    np.testing.assert_allclose(rates, [1e-3, 1e-2, 0.1, 10**1.5, 1e4], rtol=1e-3)


def test_fine_tuning_is_swept_by_labels():
    result = good("sweep", "digits", "--limit", "300", "--layers", "20", "--epochs", "10", "--finetune", "--rates",
                  "0.3,1e-9", "--quiet", "--seed", "0")  # fmt: skip
    assert table(result)[0.3] == ("good", 10, "<- best")
    assert table(result)[1e-9][0] == "too slow"
    assert "accuracy of held-out rows" in result.stdout
    assert "next" not in result.stdout


def test_json_holds_the_same():
    said = json.loads(good("sweep", *TINY, "--rates", "1e5,0.1", "--json", "--quiet").stdout)
    assert said["best_rate"] == 0.1
    assert [row["verdict"] for row in said["rows"]] == ["diverged", "good"]
    assert said["rows"][0]["score"] is None
    assert said["seed"] == 1


def test_the_next_command_keeps_the_labels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = np.repeat((np.random.default_rng(0).random((200, 1)) < 0.5).astype(int), 5, axis=1)
    lines = [",".join(map(str, row)) for row in rows]
    Path("t.csv").write_text("a,b,c,d,kind\n" + "\n".join(lines) + "\n")
    result = good(
        "sweep", "t.csv", "--labels", "kind", "--layers", "3", "--epochs", "10", "--rates", "0.1,1e-9", "--seed", "0"
    )
    assert "next    deepbelief pretrain t.csv --labels kind --layers 3 --epochs 10 --seed 0 " in result.stdout


def test_where_no_rate_is_good_none_comes_next():
    result = good("sweep", *TINY, "--rates", "1e-9", "--quiet")
    assert "try larger ones, such as 1e-08" in result.stdout
    assert "best" not in result.stdout
    assert "next" not in result.stdout


@case_by_case(
    ("arguments", "words"),
    [
        (("--rates", "0.1,0.1"), "rates must be different numbers above 0.*got 0.1 2 times"),
        (("--rates", "0.1,0"), "such as 0.1 and 0.001, got 0$"),
        (("--rates", "0.1,-1"), "got -1$"),
        (("--rates", "nan"), "got nan"),
        (("--refine", "-1"), "--refine must be an integer >= 0"),
        (("--jobs", "0"), "--jobs must be an integer other than 0"),
        (("--limit", "9"), "at least 10 rows.*got 9"),
        (("--gradient", "cdd"), "unknown --gradient.*cdd.*cd"),
        (("--backend", "cuda"), "backend"),
    ],
)
def test_bad_input_ends_in_one_line(arguments, words):
    assert re.search(words, bad("sweep", "digits", *arguments, "--quiet"))


def test_fine_tuning_without_labels_is_refused(tmp_path):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).random((20, 4)))
    assert "has no labels" in bad("sweep", tmp_path / "rows.npy", "--finetune", "--quiet")
    assert good("sweep", tmp_path / "rows.npy", "--epochs", "2", "--layers", "3", "--quiet").exit_code == 0


@case_by_case("rates", ["a", "0.1;0.2", ""])
def test_what_are_no_numbers_is_wrong_usage(rates):
    result = run("sweep", "digits", "--rates", rates)
    assert result.exit_code == 2
    assert "is not a list of rates such as 0.1,0.001" in result.stderr


def test_help_shows_an_example():
    assert "deepbelief sweep digits28 --layers 500" in good("sweep", "--help").stdout


@pytest.mark.slow
def test_in_a_process_of_its_own_results_and_progress_go_their_ways():
    done = process("sweep", *TINY, "--rates", "0.1,1e-9")
    assert done.returncode == 0, done.stderr
    assert "<- best" in done.stdout
    assert "running" not in done.stdout
    assert "rate 0.1: running" in done.stderr


def test_a_terminal_sees_the_rows_as_a_table():
    from deepbelief.cli.sweep import _table

    out = io.StringIO()
    rows = (SweepRow(0.1, "running", -26.5, 3, 20, 1.25), SweepRow(1e-6, "waiting", -27.0, 0, 20, 0.0))
    Console(file=out, width=80).print(_table(rows))
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert lines == [
        ["rate", "verdict", "score", "epochs", "time"],
        ["0.1", "running", "-26.5", "3/20", "1.2", "s"],
        ["1e-06", "waiting", "-27", "0/20", "0.0", "s"],
    ]

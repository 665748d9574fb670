"""`pretrain` on a cluster, from the shell."""

import os
import signal

import pytest
from cli_runs import TINY, bad, good, run
from tables import case_by_case

from deepbelief.cli._progress import PlainReporter

pytestmark = pytest.mark.slow

pytest.importorskip("distributed")


def test_a_run_that_is_stopped_goes_on_with_another_number_of_workers(tmp_path, monkeypatch):
    from deepbelief.distributed import clusters

    monkeypatch.chdir(tmp_path)

    def stop(self, record):
        if (record["layer"], record["epoch"]) == (2, 1):
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as stopping:
        stopping.setattr(PlainReporter, "record", stop)
        words = ("--workers", 2, "--round", 3, "--rate-rule", "sqrt", "--out", "d.h5", "--checkpoint", "c.h5")
        stopped = run("pretrain", *TINY, *words)
    assert stopped.exit_code == 143
    assert stopped.stderr.endswith("resume with  deepbelief pretrain --resume c.h5\n")
    assert not (tmp_path / "d.h5").exists()
    with monkeypatch.context() as hasty:
        hasty.setattr(clusters, "PATIENCE", 1)
        assert "no scheduler answers at nowhere" in bad("pretrain", "--resume", "c.h5", "--scheduler", "nowhere")
    assert "64 -> 12 -> 8" in good("pretrain", "--resume", "c.h5", "--workers", 1).output
    assert "64 -> 12 -> 8" in good("info", "d.h5").output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.h5"]


@case_by_case(
    ("options", "told"),
    [
        (("--workers", 2, "--scheduler", "tcp://127.0.0.1:1"), "use only one of them"),
        (("--round", 5), "--round is a setting of clusters: add --workers or --scheduler"),
        (("--rate-rule", "sqrt"), "--rate-rule is a setting of clusters"),
        (("--workers", 0), "--workers must be an integer >= 1, got 0"),
        (("--workers", 2, "--rate-rule", "lin"), "unknown --rate-rule 'lin'"),
        (("--scheduler", "nowhere"), "no scheduler answers at nowhere"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, monkeypatch, options, told):
    from deepbelief.distributed import clusters

    monkeypatch.setattr(clusters, "PATIENCE", 1)
    assert told in bad("pretrain", *TINY, *options, "--out", tmp_path / "d.h5")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cluster", [("--workers", 2), ("--scheduler", "tcp://127.0.0.1:1")])
def test_a_table_of_mixed_columns_is_refused_before_a_cluster_is_asked(tmp_path, cluster):
    (tmp_path / "t.csv").write_text("size,colour\n" + "1.5,red\n2.5,blue\n,red\n" * 20)
    told = bad("pretrain", tmp_path / "t.csv", *cluster, "--out", tmp_path / "t.h5")
    assert f"leave {cluster[0]} out, or encode all columns as numbers" in told
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]

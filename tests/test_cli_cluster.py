"""`pretrain` on a cluster, from the shell."""

import pytest
from cli_runs import TINY, bad, good

pytest.importorskip("distributed")


def test_workers(tmp_path):
    out = tmp_path / "d.h5"
    told = good("pretrain", *TINY, "--workers", 2, "--round", 3, "--rate-rule", "sqrt", "--out", out)
    assert "64 -> 12 -> 8" in told.output
    assert "64 -> 12 -> 8" in good("info", out).output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.h5"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--workers", 2, "--scheduler", "tcp://127.0.0.1:1"), "leave one of the two out"),
        (("--round", 5), "--round is a setting of clusters: add --workers or --scheduler"),
        (("--rate-rule", "sqrt"), "--rate-rule is a setting of clusters"),
        (("--workers", 2, "--checkpoint", "c.h5"), "--checkpoint does not go with --workers"),
        (("--workers", 0), "workers must be an integer >= 1, got 0"),
        (("--workers", 2, "--rate-rule", "lin"), "unknown rate rule 'lin'"),
        (("--scheduler", "nowhere"), "no scheduler answers at nowhere"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, monkeypatch, options, told):
    from deepbelief.distributed import clusters

    monkeypatch.setattr(clusters, "PATIENCE", 1)
    assert told in bad("pretrain", *TINY, *options, "--out", tmp_path / "d.h5")
    assert not list(tmp_path.iterdir())

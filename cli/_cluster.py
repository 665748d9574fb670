"""Pretraining on a cluster: a local cluster, or an existing scheduler."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deepbelief.errors import SettingError
from deepbelief.typing import StrDict

from ._files import absolute
from ._options import option, section
from ._types import Registered

if TYPE_CHECKING:
    from deepbelief.datasets import DataSet

cluster_options = section(
    "Cluster",
    option(
        "--workers", type=int, metavar="N", help="Train in N processes on this machine, each on its own part of DATA."
    ),
    option(
        "--scheduler", metavar="ADDRESS", help="Train on the workers of a Dask scheduler: tcp:// or tls://HOST:PORT."
    ),
    option("--round", "round_updates", type=int, metavar="N", help="Updates between averages.  [default: 100]"),
    option(
        "--rate-rule",
        type=Registered("deepbelief.distributed.worker_averaging:RATE_RULES"),
        help="Rate for n workers; inverse: 1/n.  [default: sqrt]",
    ),
)


def check_cluster(options: StrDict) -> bool:
    """Return whether a cluster is requested, after refusing options that exclude or require one."""
    asked = [name for name in ("workers", "scheduler") if options[name] is not None]
    if len(asked) == 2:
        raise SettingError("--workers starts a cluster and --scheduler names one: leave one of the two out")
    for name, spelled in (("round_updates", "--round"), ("rate_rule", "--rate-rule")):
        if not asked and options[name] is not None:
            raise SettingError(f"{spelled} is a setting of clusters: add --workers or --scheduler, or leave it out")
    if asked and (options["recurrent"] or options["lengths"] is not None):
        raise SettingError(f"--recurrent cannot be combined with --{asked[0]}: sequences are trained in this process")
    if asked and options["holdout"] is not None:
        raise SettingError(f"--holdout cannot be combined with --{asked[0]}: pass a file without these rows")
    return bool(asked)


@contextlib.contextmanager
def on_cluster(data: "DataSet", options: StrDict, where: StrDict) -> Iterator[Any]:
    """Give the data with rows that the workers of the cluster read."""
    from deepbelief.distributed import Averaging, FileRows, Partitioned, connected, local_cluster

    given = {"updates": options["round_updates"], "rate": options["rate_rule"]}
    averaging = Averaging(**{name: value for name, value in given.items() if value is not None})
    rows = FileRows(
        data.source_path, data.rows, data.scale, absolute(where["labels"]), where["limit"], where["data_dir"]
    )
    workers = options["workers"]
    with local_cluster(workers) if workers is not None else connected(options["scheduler"]) as client:
        yield replace(data, rows=Partitioned(rows, averaging, client))

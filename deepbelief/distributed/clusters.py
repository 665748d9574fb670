"""Dask clusters: local or existing ones, and checks of their workers."""

import contextlib
import importlib
import signal
from collections.abc import Iterator
from typing import Any

from deepbelief.errors import ClusterError, MissingExtraError, SettingError
from deepbelief.hdf5 import versions

NO_DASHBOARD = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}  # its server of metrics listens in any case
PATIENCE = 10  # seconds for a scheduler to answer


def library() -> Any:
    """Return the module `distributed`.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise MissingExtraError("training on a cluster needs Dask: pip install 'deepbelief[dask]'") from error


def _ignore_interrupts(plugin: Any, worker: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def local_cluster(n_workers: int) -> Iterator[Any]:
    """Give the client of a cluster of local processes, each with one thread.

    It listens on 127.0.0.1 only, and has no dashboard. Ctrl-C in a terminal reaches the workers too, which leave it to
    this process to end them.
    """
    if not isinstance(n_workers, int) or isinstance(n_workers, bool) or n_workers < 1:
        raise SettingError(
            f"{{setting}} must be an integer >= 1, got {n_workers!r}", setting="workers", value=n_workers
        )
    distributed = library()
    cluster = distributed.LocalCluster(
        n_workers=n_workers, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None,
        scheduler_kwargs=NO_DASHBOARD, memory_limit=0, silence_logs="CRITICAL",
    )  # fmt: skip
    with cluster, distributed.Client(cluster, timeout=PATIENCE) as client:
        client.wait_for_workers(n_workers, timeout=6 * PATIENCE)
        client.register_plugin(type("Deaf", (distributed.WorkerPlugin,), {"setup": _ignore_interrupts})())
        yield client


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """Give a client of the scheduler at an address, ``tcp://HOST:PORT`` or ``tls://HOST:PORT``.

    Raises
    ------
    ClusterError
        If there is none, within seconds.
    """
    distributed = library()
    try:
        client = distributed.Client(address, timeout=PATIENCE)
    except (OSError, TimeoutError, ValueError, RuntimeError, ImportError) as error:
        raise ClusterError(
            f"no scheduler answers at {address} ({str(error).splitlines()[0][:120] if str(error) else 'no answer'}): "
            "check the address, tcp://HOST:PORT or tls://HOST:PORT, and that it runs"
        ) from error
    with client:
        yield client


def current_client() -> Any:
    """Return the client that there is."""
    try:
        return library().get_client(timeout=PATIENCE)
    except ValueError as error:
        raise ClusterError(
            "there is no Dask client: make one before fit, for instance distributed.Client('tcp://HOST:8786')"
        ) from error


def alive(client: Any) -> set[str]:
    """Return the addresses of the workers that are there."""
    try:
        return set(client.sync(client.scheduler.ncores, callback_timeout=PATIENCE))
    except (OSError, TimeoutError, AttributeError, RuntimeError) as error:
        raise ClusterError("the scheduler does not answer any more") from error


def check_workers(client: Any) -> list[str]:
    """Return the addresses of the workers, sorted, after refusing any that cannot train.

    Raises
    ------
    ClusterError
        Naming those without this package, or with another version of it.
    """
    name, own = "deepbelief", versions()["deepbelief"]

    def look() -> str | None:  # sent as code: a worker without this package could not find it by name
        try:
            return str(importlib.import_module(name).__version__)
        except ImportError:
            return None

    found = client.run(look)
    if not found:
        raise ClusterError("the scheduler has no workers: start some, and try again")
    wrong = [
        f"{address} has {'none' if version is None else version}"
        for address, version in sorted(found.items())
        if version != own
    ]
    if wrong:
        raise ClusterError(f"every worker needs deepbelief {own}: {'; '.join(wrong)}; install it there")
    return sorted(found)

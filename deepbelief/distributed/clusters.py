"""Dask clusters: local or existing ones, and checks of their workers."""

import asyncio
import contextlib
import importlib
import os
import queue
import signal
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from deepbelief.bounds import COUNT
from deepbelief.errors import ClusterError, DeepBeliefError, MissingExtraError
from deepbelief.hdf5 import versions

Client: TypeAlias = Any  # distributed.Client: Dask is an extra
Future: TypeAlias = Any  # distributed.Future
NO_DASHBOARD = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}  # its metrics server listens in any case
PATIENCE = 10  # seconds for a scheduler to answer


def resident_bytes() -> int:
    """Return the resident bytes of this process, 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def library() -> ModuleType:
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


def _ignore_interrupts(plugin: object, worker: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def local_cluster(n_workers: int) -> Iterator[Client]:
    """Yield the client of a cluster of local processes, each with one thread.

    It listens on 127.0.0.1 only, and has no dashboard. Ctrl-C in a terminal also reaches the workers; they ignore it,
    and this process ends them.
    """
    COUNT.checked("workers", n_workers)
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
def connected(address: str) -> Iterator[Client]:
    """Yield a client of the scheduler at an address, ``tcp://HOST:PORT`` or ``tls://HOST:PORT``.

    Raises
    ------
    ClusterError
        If no scheduler answers within a few seconds.
    """
    distributed = library()
    connection = distributed.Security().get_connection_args("client")
    if address.startswith("tls://") and connection.get("ssl_context") is None:
        raise ClusterError(
            f"no scheduler answers at {address}: tls:// needs the certificates distributed.comm.tls of Dask's "
            "configuration"
        )
    try:
        _check_scheduler(address)
        client = distributed.Client(address, timeout=PATIENCE)
    except Exception as error:
        reason = str(error).splitlines()[0][:120] if str(error) else "no answer"
        raise ClusterError(
            f"no scheduler answers at {address} ({reason}): check the address, tcp://HOST:PORT or tls://HOST:PORT, and "
            "that it runs"
        ) from error
    with client:
        yield client


def _check_scheduler(address: str) -> None:
    """Raise an error unless a scheduler answers: a client would wait for minutes for another kind of service."""
    answer: queue.SimpleQueue[object] = queue.SimpleQueue()

    async def ask() -> object:
        security = library().Security().get_connection_args("client")
        remote = library().rpc(address, timeout=PATIENCE, connection_args=security)
        try:
            return await asyncio.wait_for(remote.identity(), PATIENCE)
        finally:
            await remote.close_rpc()

    def run() -> None:
        try:
            answer.put(asyncio.run(ask()))
        except BaseException as error:
            answer.put(error)

    # In a separate thread, because this one may run an event loop, and the other side may send anything.
    threading.Thread(target=run, name="deepbelief scheduler", daemon=True).start()
    try:
        found = answer.get(timeout=PATIENCE + 1)
    except queue.Empty:
        raise TimeoutError("no answer") from None
    if isinstance(found, BaseException):
        raise found
    kind = found.get("type") if isinstance(found, dict) else None
    if kind != "Scheduler":
        raise ValueError(f"a {kind} listens there")


def current_client() -> Client:
    """Return the current client."""
    try:
        return library().get_client(timeout=PATIENCE)
    except ValueError as error:
        raise ClusterError(
            "there is no Dask client: create one before fit, for instance distributed.Client('tcp://HOST:8786')"
        ) from error


def check_client(client: Client) -> None:
    """Refuse a client that is closed or has lost its scheduler."""
    if client.status != "running":
        raise ClusterError(f"the Dask client must be connected, got one that is {client.status}: create a new one")


def alive(client: Client) -> set[str]:
    """Return the addresses of the connected workers."""
    try:
        return set(client.sync(client.scheduler.ncores, callback_timeout=PATIENCE))
    except (OSError, TimeoutError, AttributeError, RuntimeError) as error:
        raise ClusterError("the scheduler no longer answers") from error


@contextlib.contextmanager
def translated(client: Client) -> Iterator[None]:
    """Turn errors of Dask into a `ClusterError`.

    Calls that might never return have a ``callback_timeout``; the caller handles its `TimeoutError`.
    """
    try:
        yield
    except (DeepBeliefError, TimeoutError):
        raise
    except Exception as error:
        if client.status == "closed":
            raise ClusterError("the Dask client has been closed, which ended the run") from error
        if isinstance(error, CancelledError):  # raised by Dask for everything that waited for a lost scheduler
            raise ClusterError("the scheduler has stopped, which ended the run") from error
        raise ClusterError(f"the cluster failed: {brief(error)}") from error


def brief(error: BaseException) -> str:
    """Return the type and the first line of an error."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def no_answer(workers: Collection[str]) -> ClusterError:
    """Return the error about workers that do not answer."""
    return ClusterError(f"no answer from worker {', '.join(sorted(workers))}: end or restart it, then try again")


def answering(client: Client, addresses: Collection[str], patience: float) -> set[str]:
    """Return the workers that answer within a number of seconds."""

    async def ask(address: str) -> str | None:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(client.rpc(address).identity(), patience)
            return address
        return None

    async def ask_all() -> set[str]:
        return set(filter(None, await asyncio.gather(*map(ask, addresses))))

    with translated(client):
        try:
            found: set[str] = client.sync(ask_all, callback_timeout=patience + 1)
        except TimeoutError:
            return set()
        return found


def check_workers(client: Client) -> list[str]:
    """Return the sorted addresses of the workers, or refuse workers that cannot train.

    Raises
    ------
    ClusterError
        If workers lack this package or have another version of it; the message names them.
    """
    name, own = "deepbelief", versions()["deepbelief"]

    def look() -> str | None:  # sent as code: a worker without this package could not find it by name
        try:
            return str(importlib.import_module(name).__version__)
        except ImportError:
            return None

    with translated(client):
        try:
            found = client.sync(client._run, look, callback_timeout=PATIENCE)
        except TimeoutError:
            there = alive(client)
            raise no_answer(there - answering(client, there, PATIENCE / 2) or there) from None
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

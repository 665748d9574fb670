"""A cluster trains as its parts would: by hand, one after another, on workers of this process; faults on real ones."""

import contextlib
import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from joblib import parallel_config
from tables import case_by_case

import deepbelief
from deepbelief import DBN, RBM, DBNClassifier, learning_rate_sweep
from deepbelief.backends import get_backend
from deepbelief.checkpoints import CheckpointFile
from deepbelief.communicator import SINGLE_PROCESS, Communicator
from deepbelief.distributed import Averaging, FileRows, Partitioned, clusters, connected, local_cluster, partitions
from deepbelief.distributed.clusters import alive, check_workers
from deepbelief.distributed.coordinator import Coordinator
from deepbelief.distributed.worker_averaging import Question, merged, merged_statistics
from deepbelief.errors import ClusterError, DataError, DeepBeliefWarning, DivergenceError, SettingError
from deepbelief.hdf5 import last_checkpoint
from deepbelief.layer import RBMSettings, initial_weights
from deepbelief.pretraining import pretrain
from deepbelief.seeds import stream
from deepbelief.settings import choose_visible
from deepbelief.sources import ArraySource, Scaling, as_source, column_statistics
from deepbelief.stack import Stack
from deepbelief.training import Reporter, Run

pytestmark = pytest.mark.slow

distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")
psutil = pytest.importorskip("psutil")


@pytest.fixture(scope="module")
def client():
    """Three workers in threads of this process."""
    with (
        distributed.LocalCluster(
            n_workers=3,
            threads_per_worker=1,
            processes=False,
            dashboard_address=None,
            scheduler_kwargs=clusters.NO_DASHBOARD,
            silence_logs="CRITICAL",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_received_rows_are_not_copied():
    received = np.frombuffer(b"\0" + np.eye(4, dtype=np.float32).tobytes(), np.float32, offset=1).reshape(4, 4)
    assert not received.flags.aligned
    assert np.shares_memory(partitions._joined(received).array, received)
    assert partitions._joined(received[:, ::2]).array.flags.c_contiguous


def bits(n=60, width=8, seed=0):
    return (np.random.default_rng(seed).random((n, width)) < np.linspace(0.1, 0.7, width)).astype(np.float32)


def placed(client, *parts):
    """Return a dask array of these parts, each on a worker of its own, in the order of their addresses."""
    dask = importlib.import_module("dask")
    chunks = [
        da.from_delayed(dask.delayed(client.scatter(part, workers=[address])), part.shape, part.dtype)
        for part, address in zip(parts, sorted(alive(client)), strict=False)
    ]
    return da.concatenate(chunks).persist(optimize_graph=False)


def same(one, other):
    for a, b in zip(one.arrays().values(), other.arrays().values(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "settings", [{}, {"gradient": "pcd"}, {"centered": True, "sparsity_target": 0.2}, {"averaging": 0.5}]
)
def test_one_worker_is_plain_training(client, settings):
    X = bits()
    plain = RBM(4, n_iter=3, validation_fraction=0.2, random_state=1, **settings).fit(X)
    rows = Partitioned(placed(client, X), Averaging(updates=2))
    clustered = RBM(4, n_iter=3, validation_fraction=0.2, random_state=1, **settings).fit(rows)
    same(plain.weights_, clustered.weights_)
    np.testing.assert_array_equal(plain.h_samples_, clustered.h_samples_)
    kept = [[{k: v for k, v in r.items() if k != "seconds"} for r in each.history_] for each in (plain, clustered)]
    assert kept[0] == kept[1]


def by_hand(parts, rate, seed=3):
    """Return the weights after one epoch of each part from the common start, averaged by their rows."""
    X = np.concatenate(parts)
    unit, mean, scale, visible_mean = choose_visible("bernoulli", as_source(X))
    start = initial_weights(4, unit, unit, mean, scale, visible_mean, seed=seed, layer=0)
    settings = RBMSettings(visible="bernoulli", batch_size=10, n_iter=1, learning_rate=rate)
    found = []
    for number, part in enumerate(parts):
        own = int(stream(seed, "part", number).generate_state(1, np.uint64)[0] >> 1) if number else seed
        trained = pretrain(ArraySource(part), [4], [settings], Run(get_backend(), own), start=Stack((start,)))
        found.append(trained.stack.layers[0])
    shares = np.array([len(part) for part in parts]) / len(X)
    return {
        name: sum(share * getattr(w, name).astype(np.float64) for share, w in zip(shares, found, strict=True))
        for name in ("W", "vbias", "hbias")
    }


@pytest.mark.parametrize(("rule", "factor"), [("same", 1), ("inverse", 1 / 3), ("sqrt", 3**0.5), ("linear", 3)])
def test_the_mean_is_that_of_the_parts_weighted_by_their_rows(client, rule, factor):
    parts = [bits(60, seed=0), bits(40, seed=1), bits(20, seed=2)]
    rows = Partitioned(placed(client, *parts), Averaging(updates=100, rate=rule))
    found = RBM(4, batch_size=10, n_iter=1, learning_rate=0.05, random_state=3).fit(rows).weights_
    expected = by_hand(parts, 0.05 * factor)
    for name, array in expected.items():
        np.testing.assert_allclose(getattr(found, name), array, rtol=0, atol=1e-6)
    assert np.abs(found.W - expected["W"].mean()).max() > 1e-3


@pytest.mark.parametrize("settings", [{}, {"gradient": "pcd"}, {"gradient": "pt"}, {"hidden": "rectified"}])
def test_a_stack_is_trained_on_three_parts(client, settings):
    """Two layers, two passes: what is above learns from representations that stay on the workers."""
    parts = [bits(50, seed=seed) for seed in range(3)]
    rbm = RBM(n_iter=2, learning_rate=0.01, **settings)
    told = []

    class Heard(Reporter):
        def record(self, record):
            told.append(record)

    network = DBN((6, 4), rbm=rbm, n_passes=2, random_state=0, verbose=Heard())
    network.fit(Partitioned(placed(client, *parts), Averaging(updates=2)))
    assert len(told) == len(network.history_) == 8
    assert network.stack_.sizes == (8, 6, 4)
    again = DBN((6, 4), rbm=rbm, n_passes=2, random_state=0).fit(
        Partitioned(placed(client, *parts), Averaging(updates=2))
    )
    for one, other in zip(network.stack_, again.stack_, strict=True):
        same(one, other)


def test_a_reporter_ends_the_phase_on_all_workers(client):
    class Enough(Reporter):
        def record(self, record):
            return True

    rbm = RBM(3, n_iter=5, random_state=0, verbose=Enough()).fit(placed(client, bits(), bits(seed=1)))
    assert len(rbm.history_) == 1


def test_statistics_of_parts_are_those_of_the_whole():
    parts = [np.random.default_rng(seed).normal(seed, 2, (n, 3)) for seed, n in ((0, 7), (1, 50), (2, 1))]
    whole = column_statistics(as_source(np.concatenate(parts)))
    questions = [Question("statistics", column_statistics(as_source(p)), float(len(p))) for p in parts]
    found = merged(*questions).value
    assert found.n == whole.n
    for name in ("mean", "var", "min", "max"):
        np.testing.assert_allclose(getattr(found, name), getattr(whole, name), rtol=1e-12)
    assert merged_statistics(found, found, 0.5).n == 2 * whole.n


def test_workers_out_of_step_are_found():
    with pytest.raises(RuntimeError, match="out of step"):
        merged(Question("mean", [], 1.0), Question("judged", ({}, ""), 1.0))


def test_classifier_pretrains_on_the_cluster(client):
    X = np.concatenate([bits(60), 1 - bits(60, seed=1)])
    y = np.repeat([0, 1], 60)
    classifier = DBNClassifier((6,), rbm=RBM(n_iter=3), max_iter=20, random_state=0)
    classifier.fit(placed(client, X[:60], X[60:]), y)
    assert classifier.score(X, y) > 0.8
    assert classifier.predict(placed(client, X[:60], X[60:])).shape == (120,)


def test_all_stop_where_one_diverges(client):
    with pytest.raises(DivergenceError, match="layer 1 diverged in epoch 1"):
        RBM(4, learning_rate=1e6, n_iter=2, random_state=0).fit(placed(client, bits(), bits(seed=1)))


def test_bad_rows_are_told_by_part(client):
    bad = bits()
    bad[7, 3] = np.nan
    with pytest.raises(DataError, match="part 2 of the rows: row 7, column 3"):
        RBM(4).fit(placed(client, bits(), bad))


@case_by_case(
    ("settings", "told"),
    [
        ({"rate": "liner"}, "unknown rate rule 'liner'.*did you mean 'linear'"),
        ({"updates": 0}, "updates must be an integer >= 1, got 0"),
        ({"gibbs_steps": -1}, "gibbs_steps must be an integer >= 0"),
        ({"timeout": 0}, "timeout must be a number of seconds > 0"),
    ],
)
def test_settings_are_checked(settings, told):
    with pytest.raises(SettingError, match=told):
        Averaging(**settings)


def test_rows_that_are_no_table_are_refused():
    with pytest.raises(DataError, match="two dimensions"):
        Partitioned(da.zeros(3))
    with pytest.raises(DataError, match="real numbers"):
        Partitioned(da.zeros((3, 2), dtype=complex))


@pytest.mark.parametrize(("parts", "gradient"), [(1, "cd"), (1, "pcd"), (3, "cd")])
def test_a_run_that_stopped_goes_on_to_the_same_bits(client, tmp_path, parts, gradient):
    """Chains are those of the first part, so that persistent ones go on alike where there is no other."""

    class Stops(Reporter):
        def record(self, record):
            if record["epoch"] == 3:
                raise RuntimeError("enough")

    X = placed(client, *[bits(seed=i) for i in range(parts)])
    settings = {"gradient": gradient, "n_iter": 6, "random_state": 3, "momentum": 0.5}
    whole = RBM(4, **settings).fit(X)
    kept = settings | {"checkpoint": CheckpointFile(tmp_path / "c.h5", every="1 epochs")}
    with pytest.raises(RuntimeError, match="enough"):
        RBM(4, verbose=Stops(), **kept).fit(X)
    epochs = []

    class Hears(Reporter):
        def record(self, record):
            epochs.append(record["epoch"])

    resumed = RBM(4, verbose=Hears(), **kept).fit(X)
    assert epochs == [3, 4, 5, 6]
    same(whole.weights_, resumed.weights_)


class Counts(Reporter):
    """Counts updates by epoch; stops the run, as a crash would, when an epoch is told of."""

    def __init__(self, stop=0):
        self.stop, self.updates = stop, Counter()

    def update(self, epoch, done, total):
        self.updates[epoch] += 1

    def record(self, record):
        if record["epoch"] == self.stop:
            raise RuntimeError("enough")


def test_a_run_of_three_parts_goes_on_here_after_the_epoch_that_was_finished(client, tmp_path):
    parts = [bits(seed=i) for i in range(3)]
    rbm = RBM(
        4, n_iter=4, batch_size=10, random_state=3, checkpoint=CheckpointFile(tmp_path / "c.h5", every="1 epochs")
    )
    with pytest.raises(RuntimeError, match="enough"):
        rbm.set_params(verbose=Counts(stop=2)).fit(placed(client, *parts))
    here = Counts()
    rbm.set_params(verbose=here).fit(np.concatenate(parts))
    assert here.updates == {3: 18, 4: 18}
    assert [record["epoch"] for record in rbm.history_] == [1, 2, 3, 4]


def test_a_run_that_stands_in_mid_epoch_does_not_go_over_to_a_cluster(client, tmp_path):
    class Stops(Reporter):
        def update(self, epoch, done, total):
            if (epoch, done) == (2, 4):
                raise RuntimeError("enough")

    rbm = RBM(
        4, n_iter=3, batch_size=10, random_state=3, checkpoint=CheckpointFile(tmp_path / "c.h5", every="1 updates")
    )
    with pytest.raises(RuntimeError, match="enough"):
        rbm.set_params(verbose=Stops()).fit(bits())
    with pytest.raises(SettingError, match="from the middle of an epoch of a run without a cluster: resume"):
        rbm.set_params(verbose=0).fit(placed(client, bits()))


@pytest.mark.parametrize(("every", "kept"), [("6 updates", 2), ("13 updates", None)])
def test_intervals_count_the_updates_of_a_worker(client, tmp_path, every, kept):
    """Six in an epoch: the second is told of when the state of two is written, or none yet."""
    path = tmp_path / "c.h5"
    rbm = RBM(4, n_iter=4, batch_size=10, random_state=3, checkpoint=CheckpointFile(path, every=every))
    with pytest.raises(RuntimeError, match="enough"):
        rbm.set_params(verbose=Counts(stop=2)).fit(placed(client, bits()))
    found, _ = last_checkpoint(path)
    assert kept == (None if found is None else len(found.state["phase"]["records"]) + 1)


@pytest.mark.parametrize(("gone", "times"), [([0], 1), ([], 3)])
def test_results_of_a_worker_that_is_gone_are_not_waited_for(monkeypatch, gone, times):
    """The fourth attempt has them, if anybody is still there."""
    asked = []

    class Client:
        _gather, status = None, "running"

        def sync(self, *_, callback_timeout, **__):
            asked.append(callback_timeout)
            if len(asked) <= 3:
                raise TimeoutError
            return ["results"]

    job = SimpleNamespace(averaging=Averaging())
    coordinator = Coordinator(Client(), job, Reporter())
    monkeypatch.setattr(coordinator.roster, "gone", lambda: gone)
    assert coordinator._brought([]) == (None if gone else ["results"])
    assert len(asked) == (times if gone else times + 1)
    assert asked[0] < 15
    assert asked == sorted(asked)


def test_no_client(monkeypatch):
    def none(**_):
        raise ValueError("No clients found")

    monkeypatch.setattr(distributed, "get_client", none)
    with pytest.raises(ClusterError, match="no Dask client"):
        RBM(2).fit(Partitioned(da.from_array(bits())))


def test_an_unreachable_scheduler_is_told_of_in_time(monkeypatch):
    assert clusters.PATIENCE < 15
    monkeypatch.setattr(clusters, "PATIENCE", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(ClusterError, match=f"no scheduler answers at {address}"), connected(address):
            pass
    assert time.monotonic() - began < 6


def silence(connection):
    time.sleep(20)


def greet(connection):
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@contextlib.contextmanager
def service(answer):
    """Give the port of a service of another kind."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        held = []

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    held.append(listener.accept()[0])
                    threading.Thread(target=answer, args=held[-1:], daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        for connection in held:
            connection.close()


@pytest.mark.parametrize("answer", [silence, greet])
def test_a_service_of_another_kind_is_told_of_in_time(monkeypatch, answer):
    monkeypatch.setattr(clusters, "PATIENCE", 1)
    with service(answer) as port:
        began = time.monotonic()
        with pytest.raises(ClusterError, match="no scheduler answers at"), connected(f"tcp://127.0.0.1:{port}"):
            pass
        assert time.monotonic() - began < 4


def test_a_worker_is_no_scheduler(client):
    with (
        pytest.raises(ClusterError, match="a Worker listens there"),
        connected(next(iter(alive(client)))),
    ):
        pass


def test_tls_without_certificates_is_refused():
    with (
        pytest.raises(ClusterError, match=r"needs the certificates distributed\.comm\.tls"),
        connected("tls://127.0.0.1:9"),
    ):
        pass


def test_a_closed_client_is_refused(client):
    rows = placed(client, bits())
    with distributed.Client(client.cluster) as other:
        pass
    with pytest.raises(ClusterError, match="must be connected, got one that is closed"):
        RBM(4).fit(Partitioned(rows, client=other))


def checkpointed(path, reporter, epochs=5):
    return RBM(4, n_iter=epochs, random_state=0, checkpoint=CheckpointFile(path, every="1 h"), verbose=reporter)


def test_a_client_that_is_closed_in_mid_run_leaves_a_checkpoint(client, tmp_path):
    class Closer(Reporter):
        def record(self, record):
            if record["epoch"] == 2:
                other.close()

    other = distributed.Client(client.cluster)
    rows = Partitioned(da.from_array(bits()), Averaging(timeout=2), other)
    with pytest.raises(ClusterError, match=r"client has been closed.* resumes from its checkpoint"):
        checkpointed(tmp_path / "c.h5", Closer()).fit(rows)
    assert len(checkpointed(tmp_path / "c.h5", 0).fit(bits()).history_) == 5


def test_a_coordinator_that_is_late_is_told_so_and_goes_on_from_its_checkpoint(client, tmp_path):
    """As after its lid was closed: workers have given it up."""

    class Sleeper(Reporter):
        def record(self, record):
            if record["epoch"] == 3:
                time.sleep(1)

    rows = Partitioned(placed(client, bits()), Averaging(timeout=0.2), client)
    began = time.monotonic()
    with pytest.raises(
        ClusterError, match=r"part 1 .* the run did not respond .* 0\.8 seconds: .* from its checkpoint"
    ):
        checkpointed(tmp_path / "c.h5", Sleeper()).fit(rows)
    assert time.monotonic() - began < 5
    plain = RBM(4, n_iter=5, random_state=0).fit(bits())
    same(checkpointed(tmp_path / "c.h5", 0).fit(bits()).weights_, plain.weights_)


def test_settings_that_cannot_be_sent_are_refused(client):
    job = SimpleNamespace(averaging=Averaging(), lock=threading.Lock())
    with pytest.raises(ClusterError, match=r"picklable to be sent to workers, got TypeError: .*lock"):
        Coordinator(client, job, Reporter()).run({})


@pytest.mark.parametrize("error", [ValueError("of a worker"), SystemExit("of a worker")])
def test_the_end_of_a_thread_reaches_the_caller(client, monkeypatch, error):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr("deepbelief.distributed.part.pretrain", fails)
    with pytest.raises(ClusterError, match=r"ValueError: of a worker|stopped by SystemExit"):
        RBM(4).fit(Partitioned(placed(client, bits()), client=client))


def test_frozen_workers_are_left_out_and_the_last_leaves_a_checkpoint(tmp_path, monkeypatch):
    """Their connections stay, and nothing is answered; they are offered nothing any more."""
    with local_cluster(2) as client:
        monkeypatch.setattr(clusters, "PATIENCE", 2)
        pids = client.run(os.getpid)
        frozen = {}

        class Freezer(Reporter):
            def record(self, record):
                if record["epoch"] in {2, 4}:
                    os.kill(pid := pids[sorted(pids)[record["epoch"] == 2]], signal.SIGSTOP)
                    frozen[pid] = time.monotonic()

        np.save(tmp_path / "rows.npy", bits(120))
        rows = FileRows(str(tmp_path / "rows.npy"), ArraySource(bits(120)), Scaling())
        try:
            with pytest.raises(ClusterError, match=r"all workers are lost.* resumes from its checkpoint"):
                checkpointed(tmp_path / "c.h5", Freezer(), 6).fit(Partitioned(rows, Averaging(timeout=1), client))
            assert len(frozen) == 2
            assert time.monotonic() - min(frozen.values()) < 15
            with pytest.raises(ClusterError, match="no answer from worker tcp://"):
                RBM(4).fit(Partitioned(rows, Averaging(timeout=1), client))
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
    assert len(checkpointed(tmp_path / "c.h5", 0, 6).fit(bits(120)).history_) == 6


def test_other_versions_are_told_by_worker(client, monkeypatch):
    async def run(look):
        return {"tcp://a": None, "tcp://b": deepbelief.__version__, "tcp://c": "0.0.1"}

    monkeypatch.setattr(client, "_run", run)
    with pytest.raises(ClusterError, match=r"tcp://a has none; tcp://c has 0\.0\.1; install it there"):
        check_workers(client)


def test_each_worker_opens_its_part_of_a_file(client, tmp_path):
    X = bits(90)
    np.save(tmp_path / "rows.npy", X)
    rows = FileRows(str(tmp_path / "rows.npy"), ArraySource(X), Scaling())
    from_file = RBM(4, n_iter=2, random_state=0).fit(Partitioned(rows, client=client))
    from_array = RBM(4, n_iter=2, random_state=0).fit(Partitioned(placed(client, X[:30], X[30:60], X[60:])))
    same(from_file.weights_, from_array.weights_)
    (tmp_path / "rows.npy").unlink()
    with pytest.raises(DataError, match=r"worker inproc://\S+ cannot read \S+rows.npy: no such file"):
        RBM(4).fit(Partitioned(rows, client=client))
    np.save(tmp_path / "rows.npy", X[1:])
    with pytest.raises(DataError, match=r"another file\?"):
        RBM(4).fit(Partitioned(rows, client=client))


def listening():
    """Return where this process and its children listen."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    connections = [each for process in processes for each in process.net_connections("tcp")]
    return {tuple(each.laddr) for each in connections if each.status == psutil.CONN_LISTEN}


def test_a_worker_that_is_killed_costs_its_share():
    """On processes: the second of two is killed in mid run; the first goes on to the end, and lets Ctrl-C pass."""
    before = listening()
    with local_cluster(2) as client:
        assert {ip for ip, _ in listening() - before} == {"127.0.0.1"}
        pids = client.run(os.getpid)
        survivor, victim = (pids[address] for address in sorted(pids))

        class Killer(Reporter):
            def record(self, record):
                if record["epoch"] == 1:
                    os.kill(survivor, signal.SIGINT)
                if record["epoch"] == 2:
                    os.kill(victim, signal.SIGKILL)

        rows = Partitioned(placed(client, bits(), bits(seed=1)), Averaging(updates=2), client)
        with warnings.catch_warnings():  # whether another worker is there in time, whom the lost rows cannot be given
            warnings.simplefilter("ignore", DeepBeliefWarning)
            rbm = RBM(4, n_iter=6, random_state=0, verbose=Killer()).fit(rows)
        assert len(rbm.history_) == 6
        assert np.isfinite(rbm.components_).all()


def test_a_scheduler_that_goes_away_is_told_of_in_time_and_leaves_a_checkpoint(monkeypatch, tmp_path):
    """On processes of their own: nothing hangs. The run goes on in this process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, dask = f"tcp://127.0.0.1:{port}", [sys.executable, "-m", "dask"]
    here = ["--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    quiet = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    scheduler = subprocess.Popen([*dask, "scheduler", "--port", str(port), *here], **quiet)
    worker = subprocess.Popen([*dask, "worker", address, "--nthreads", "1", *here, "--no-nanny"], **quiet)

    class Killer(Reporter):
        def record(self, record):
            scheduler.kill()
            self.at = time.monotonic()

    killer = Killer()
    try:
        monkeypatch.setattr(clusters, "PATIENCE", 5)
        with connected(address) as client:
            client.wait_for_workers(1, timeout=15)
            rows = Partitioned(da.from_array(bits()), client=client)
            rbm = RBM(4, n_iter=5, random_state=0, checkpoint=CheckpointFile(tmp_path / "c.h5", every="1 h"))
            with pytest.raises(ClusterError, match=r"scheduler has stopped.* resumes from its checkpoint"):
                rbm.set_params(verbose=killer).fit(rows)
        assert time.monotonic() - killer.at < 40
        same(rbm.set_params(verbose=0).fit(bits()).weights_, RBM(4, n_iter=5, random_state=0).fit(bits()).weights_)
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()


def test_independent_runs_go_through_joblib(client):
    def scores(**where):
        with parallel_config(**where):
            found = learning_rate_sweep(RBM(4, n_iter=2, random_state=0), bits(), rates=[0.01, 0.1], n_jobs=2)
        return [(row.rate, row.score) for row in found.rows]

    assert scores(backend="dask") == scores(backend="threading")


def test_a_worker_that_comes_later_takes_over_a_lost_part(tmp_path):
    """Of two processes one is killed; its nanny starts another, which joins at the end of an epoch."""
    X = bits(120)
    np.save(tmp_path / "rows.npy", X)
    with local_cluster(2) as client:
        pids = client.run(os.getpid)
        victim = pids[sorted(pids)[0]]
        speaks_for = []

        class Watch(Reporter):
            def record(self, record):
                if record["epoch"] == 2:
                    os.kill(victim, signal.SIGKILL)
                elif record["epoch"] > 2:
                    time.sleep(0.3)
                    busy = client.run(lambda: len(importlib.import_module("deepbelief.distributed.part")._PARTS))
                    speaks_for.append(sorted(busy.values()))
                return speaks_for[-3:] == [[1, 1]] * 3

        rows = FileRows(str(tmp_path / "rows.npy"), ArraySource(X), Scaling())
        network = DBN((5, 4), rbm=RBM(n_iter=60), random_state=0, verbose=Watch())
        network.fit(Partitioned(rows, Averaging(updates=2), client))
    assert [1, 1] in speaks_for
    assert network.history_[-1]["layer"] == 2


@case_by_case("gradient", ["pcd", "fpcd", "pt"])
def test_chains_settle_after_a_round_and_nothing_learns_from_it(bk, gradient):
    class AtTheEnd(Communicator):
        def __init__(self, settling):
            self.settling = settling

        def rounds(self, start, stop, n, batch_size):
            return int(stop == n)

    def trained(peers):
        settings = RBMSettings(visible="bernoulli", gradient=gradient, batch_size=10, n_iter=1)
        return pretrain(ArraySource(bits()), [4], [settings], Run(bk, 0, communicator=peers))

    still, moved = trained(AtTheEnd(0)), trained(AtTheEnd(3))
    same(still.stack.layers[0], moved.stack.layers[0])
    same(trained(SINGLE_PROCESS).stack.layers[0], still.stack.layers[0])
    assert (still.states[0].arrays["gradient"]["chains"] != moved.states[0].arrays["gradient"]["chains"]).any()
    assert set(np.unique(moved.states[0].arrays["gradient"]["chains"])) <= {0, 1}

"""The model of cost: counted work, bytes, the constants of a machine, and the simulation of many workers."""

import json
import math
import threading
import tracemalloc
import warnings
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from cli_runs import run
from scipy import sparse
from sklearn.base import clone

from deepbelief import DBN, RBM, CheckpointFile, DBNClassifier, DeepAutoencoder, RecurrentRBM, save
from deepbelief.backends import loops
from deepbelief.backends.interface import Product
from deepbelief.backends.numpy_backend import NumpyBackend
from deepbelief.cost import (
    DataSize,
    Link,
    MachineRates,
    Workers,
    exchange_seconds,
    footprint,
    measure_rates,
    predict_cost,
    round_bytes,
    simulate_averaging,
)
from deepbelief.cost.operations import Phases, update_of_machine, update_of_network
from deepbelief.datasets import open as open_data
from deepbelief.errors import DataError, SettingError
from deepbelief.gradients import CD, FPCD, PT, Denoising
from deepbelief.optimizers import SGD, get_optimizer
from deepbelief.sources import blocks
from deepbelief.training import Reporter

B, V, H, C = 8, 13, 5, 7  # rows of a minibatch, visible and hidden units, chains
N = 5 * B
RATES = MachineRates(
    2e-11, 1e-10, {"mean:bernoulli": 1e-9, "update": 1e-5}, 10**8, 2**34, 2, round_seconds=1e-3, network_bytes=1e9
)


class Counting(NumpyBackend):
    """NumPy that counts the shapes of its products and the values of its other work."""

    def __init__(self):
        super().__init__()
        self.products, self.amounts = Counter(), Counter()

    def matmul(self, rows, W, out=None):
        self.products[rows.shape[0], rows.shape[1], W.shape[1]] += 1
        return super().matmul(rows, W, out)

    def momentum_step(self, w, velocity, grad, *more):
        before = self.products.copy()
        super().momentum_step(w, velocity, grad, *more)
        if isinstance(grad, Product):
            self.amounts["nesterov" if more[-1] else "momentum"] += w.size
            if self.products == before:  # within the step, not multiplied out
                self.products[grad.left.shape[1], len(grad.left), grad.right.shape[1]] += 1

    def adam_step(self, w, *more):
        self.amounts["adaptive"] += w.size * (w.ndim == 2)
        super().adam_step(w, *more)

    def take(self, rows, index, out):
        self.amounts["gather"] += out.size
        return super().take(rows, index, out)

    def sigmoid_sample(self, x, *more):
        self.amounts["sample:bernoulli"] += x.size
        return super().sigmoid_sample(x, *more)

    def weigh(self, x, weight, out):
        self.amounts["weigh"] += x.size
        return super().weigh(x, weight, out)


def fitted(estimator, X, y=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(X) if y is None else estimator.fit(X, y)


def counted(make, X, y=None):
    """Return what one epoch does: two epochs less one."""
    found = []
    for n in (1, 2):
        bk = Counting()
        fitted(make(n).set_params(backend=bk), X, y)
        found.append(bk)
    one, two = found
    return two.products - one.products, two.amounts - one.amounts


def predicted(make, X, **more):
    """Return the work of an epoch by the formulas: that of two epochs less one."""
    from deepbelief.cost import prediction

    works = []
    for n in (1, 2):
        runs = prediction._CostOfRun(make(n), DataSize.of(X), RATES, 1, 100, None)
        added = []
        runs.add = lambda name, work, *rest, added=added: added.append(work)
        runs.pretraining()
        if more:
            runs.fine_tuning(**more)
        works.append((sum((w.products for w in added), Counter()), sum((w.amounts for w in added), Counter())))
    return works[1][0] - works[0][0], works[1][1] - works[0][1]


def rows(n=N, columns=V):
    return (np.random.default_rng(0).random((n, columns)) < 0.4).astype(np.float32)


MACHINES = {
    "cd": {"gradient": "cd"},
    "cd-3": {"gradient": "cd", "gibbs_steps": 3},
    "mfcd": {"gradient": "mfcd", "gibbs_steps": 2},
    "pcd-2": {"gradient": "pcd", "gibbs_steps": 2, "n_chains": C},
    "fpcd": {"gradient": "fpcd", "n_chains": C},
    "pt": {"gradient": PT(gibbs_steps=2, n_temperatures=3), "n_chains": C},
    "cd, adam": {"gradient": "cd", "solver": "adam"},
    "cd, drawn rows": {"gradient": CD(sample_visible=True)},
}


@pytest.mark.parametrize("name", MACHINES)
def test_the_products_of_a_machine_are_those_that_a_backend_is_asked_for(name):
    def make(n):
        return RBM(H, batch_size=B, n_iter=n, learning_rate=1e-3, random_state=0, **MACHINES[name])

    X = rows()
    products, amounts = counted(make, X)
    expected, expected_amounts = predicted(make, X)
    assert {s: n for s, n in products.items() if n} == {s: round(n) for s, n in expected.items() if round(n)}
    assert products[N, V, H] == products[N, H, V] == 1  # at the end of an epoch
    for kind in amounts:
        if kind == "sample:bernoulli" and "pt" in name:
            continue  # the same number, in blocks of one temperature
        assert expected_amounts[kind] == pytest.approx(amounts[kind]), kind


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_the_products_of_a_network_are_those_that_a_backend_is_asked_for(solver):
    def make(n):
        return DBNClassifier(
            (6, 4), pretraining="none", max_iter=n, batch_size=B, dropout=0.0, input_dropout=0.0, solver=solver,
            random_state=0,
        )  # fmt: skip

    X, y = rows(), np.arange(N) % 3
    products, amounts = counted(make, X, y)
    expected, expected_amounts = predicted(make, X, n_outputs=3)
    assert products == Counter({shape: round(n) for shape, n in expected.items()})
    assert products[V, B, 6] == 5
    for kind in amounts:
        assert expected_amounts[kind] == amounts[kind], kind
    assert amounts["gather"] == N * V


def test_the_products_of_denoising_are_those_that_a_backend_is_asked_for():
    def make(n):
        rbm = RBM(batch_size=B, n_iter=n, learning_rate=1e-3)
        return DBN((H,), pretraining="denoising", rbm=rbm, random_state=0)

    products, amounts = counted(make, rows())
    expected, expected_amounts = predicted(make, rows())
    assert products == Counter({s: round(n) for s, n in expected.items()})
    assert {kind: expected_amounts[kind] for kind in amounts} == amounts
    assert expected_amounts["draw"] == N * V  # which values are set to 0


def test_other_work_of_an_update_is_what_it_goes_over():
    n, v, h, c = 10, 7, 3, 4
    three = update_of_machine(CD(gibbs_steps=3), SGD(), Phases(n, v, h, steps=3)).amounts
    assert (three["update"], three["gibbs step"], three["gather"]) == (1, 2, n * v)
    assert (three["sum"], three["weigh"]) == (2 * n * v, 2 * n * h)  # both phases
    assert update_of_machine(CD(), SGD(), Phases(n, v, h)).amounts["gibbs step"] == 0
    fast = update_of_machine(FPCD(), SGD(nesterov=False), Phases(n, v, h, c)).amounts
    assert (fast["pass"], fast["momentum"]) == (v * h, 2 * v * h)  # slow and fast weights are added, and both moved
    noisy = update_of_machine(Denoising(), SGD(), Phases(n, v, h)).amounts
    assert (noisy["draw"], noisy["sum"]) == (n * v, n * (v + h))
    stored = update_of_machine(CD(), SGD(), Phases(n, v, h, density=0.1, transposed=True))
    assert stored.products == {(n, h, v): 1, (n, v, h): 1, (v, n, h): 1}  # the last: the gradient's negative phase
    assert stored.amounts["sparse product"] == pytest.approx(2 * 0.1 * n * v * h)
    assert (stored.amounts["to dense"], stored.amounts["gather"]) == (n * v, 0)
    net = update_of_network((4, 3, 2), n, SGD(nesterov=True), (0.2, 0.5))
    assert net.products == {(n, 4, 3): 1, (n, 3, 2): 1, (4, n, 3): 1, (3, n, 2): 1, (n, 2, 3): 1}
    assert net.amounts == {
        "mean:bernoulli": n * (3 + 2), "gather": n * 4, "draw": n * (4 + 3), "pass": 4 * n * (4 + 3),
        "sum": n * (3 + 2), "weigh": n * 3, "nesterov": 4 * 3 + 3 * 2, "network update": 1, "network layer": 1,
    }  # fmt: skip


def test_seconds_are_the_sum_of_the_operations():
    cost = predict_cost(RBM(500, n_iter=3, batch_size=100), DataSize(1000, 784), replace(RATES, amounts={}))
    update = 3 * 100 * 784 * 500 + 784 * 200 * 500
    monitor = 2 * 100 * 784 * 500
    values = 784 * 500 + 100 * (784 + 500)
    touched = 10 * (3 * values + 200 * (784 + 500) + 784 * 500) + 2 * values
    assert cost.seconds == pytest.approx(3 * ((10 * update + monitor) * 2 * 2e-11 + touched * 1e-10))
    assert cost.parts[-1].updates == 30
    assert cost.flops == 3 * 2 * (10 * update + monitor)


def test_sparse_rows_cost_their_stored_values():
    X = sparse.random(2000, 300, 0.01, "csr", np.float32, np.random.default_rng(0))
    rates = replace(RATES, flop=0.0, product_value=0.0, amounts={"sparse product": 1.0})
    cost = predict_cost(RBM(50, n_iter=1, batch_size=100), X, rates)
    assert cost.seconds in (pytest.approx(2 * X.nnz * 50), pytest.approx(X.nnz * 50))  # with the gradient, or without
    assert DataSize.of(X).density == pytest.approx(0.01)


@pytest.mark.parametrize("gradient", ["cd", "pcd"])
def test_the_bytes_of_a_model_file_are_those_of_the_written_one(tmp_path, gradient):
    X = rows(300, 200)
    rbm = RBM(n_iter=3, batch_size=50, gradient=gradient, learning_rate=1e-3)
    dbn = fitted(DBN((150, 100), rbm=rbm, random_state=0), X)
    save(dbn, tmp_path / "model.h5")
    written = (tmp_path / "model.h5").stat().st_size
    assert predict_cost(dbn, X, RATES).model_bytes == pytest.approx(written, rel=0.05)


@pytest.mark.parametrize(
    ("shape", "settings"), [((784, 500), {}), ((784, 500), {"solver": "adam"}), ((20_000, 1), {}), ((2, 5000), {})]
)
def test_the_file_of_a_machine_has_the_moments_from_which_it_continues(tmp_path, shape, settings):
    X = rows(60, shape[0])
    rbm = fitted(RBM(shape[1], n_iter=1, batch_size=50, learning_rate=1e-4, random_state=0, **settings), X)
    save(rbm, tmp_path / "model.h5")
    written = (tmp_path / "model.h5").stat().st_size
    assert predict_cost(rbm, X, RATES).model_bytes == pytest.approx(written, rel=0.05)


def test_each_epoch_adds_its_record_to_the_file(tmp_path):
    found = []
    for n_iter in (3, 60):
        rbm = fitted(RBM(2, n_iter=n_iter, batch_size=50, learning_rate=1e-3, random_state=0), rows(60, 5))
        save(rbm, tmp_path / f"{n_iter}.h5")
        found.append(((tmp_path / f"{n_iter}.h5").stat().st_size, predict_cost(rbm, rows(60, 5), RATES).model_bytes))
    (least, few), (most, many) = found
    assert many - few == pytest.approx(most - least, rel=0.3)


@pytest.mark.parametrize("settings", [{}, {"batch_size": 300}, {"gradient": "pcd", "n_chains": 600}])
def test_the_bytes_of_checkpoints_are_those_of_the_written_ones(tmp_path, settings):
    X = rows(300, 400)
    path = tmp_path / "run.ckpt.h5"

    class Look:
        total = 0

    def seen():
        Look.total = max(Look.total, sum(p.stat().st_size for p in tmp_path.iterdir()))

    class Watching(Reporter):
        def record(self, record):
            seen()

    rbm = RBM(**({"n_iter": 4, "batch_size": 50, "learning_rate": 1e-3} | settings))
    dbn = DBN((300, 200), rbm=rbm, random_state=0, checkpoint=CheckpointFile(path, every="1 epoch"), verbose=Watching())
    fitted(dbn, X)
    assert predict_cost(dbn, X, RATES).checkpoint_bytes == pytest.approx(Look.total, rel=0.05)


LARGE = {
    "one layer": lambda: RBM(1500, n_iter=2, batch_size=50, learning_rate=1e-4, random_state=0),
    "pcd": lambda: RBM(900, n_iter=2, batch_size=50, gradient="pcd", n_chains=300, learning_rate=1e-4, random_state=0),
    "two layers": lambda: DBN((900, 700), rbm=RBM(n_iter=1, batch_size=50, learning_rate=1e-4), random_state=0),
    "few hidden units": lambda: RBM(20, n_iter=2, batch_size=50, learning_rate=1e-4, random_state=0),
}


@pytest.mark.parametrize("name", LARGE)
def test_the_bytes_in_memory_are_those_that_are_allocated(name):
    X, estimator = rows(400, 600), LARGE[name]()
    fitted(LARGE[name]().set_params(**({"n_components": 5} if name != "two layers" else {})), X)  # imports
    peak = allocated(estimator, X)
    cost = predict_cost(estimator, X, replace(RATES, base_bytes=0))
    # The room of a gradient that is never multiplied out is allocated, but takes no memory.
    sizes = {"one layer": (600, 1500), "pcd": (600, 900), "two layers": (600, 900, 700), "few hidden units": (600, 20)}
    room = 4 * sum(a * b for a, b in pairwise(sizes[name]))
    assert cost.resident_bytes - cost.rows_bytes == pytest.approx(peak - room, rel=0.08)


def allocated(estimator, X, y=None):
    if loops.load() is not None:
        loops.load()._rooms = threading.local()  # scratch memory of products, which other fits may have left
    tracemalloc.start()
    fitted(estimator, X, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_the_bytes_of_fine_tuning_are_those_that_are_allocated(solver):
    class FromTheFirstEpoch(Reporter):
        started = False

        def record(self, record):
            if not self.started and "layer" not in record:
                self.started = True
                tracemalloc.reset_peak()

    X, reporter = rows(200, 400), FromTheFirstEpoch()
    settings = {"pretraining": "none", "max_iter": 3, "batch_size": 50, "dropout": 0.0, "input_dropout": 0.0}
    net = DBNClassifier((900, 900), solver=solver, activation="sigmoid", random_state=0, verbose=reporter, **settings)
    fitted(clone(net).set_params(hidden_layer_sizes=(5, 5), verbose=0), X, np.arange(len(X)) % 10)  # imports
    peak = allocated(net, X, np.arange(len(X)) % 10)
    assert reporter.started
    layers = [footprint.LayerSize(*sizes, 50, 50, 50) for sizes in ((400, 900), (900, 900))]
    room = footprint.network((400, 900, 900, 10), 50, footprint.moments(get_optimizer(solver)))
    assert room + footprint.kept(layers) == pytest.approx(peak, rel=0.06)


@pytest.mark.parametrize("kind", ["chains at each temperature", "moments and gradient of Adam"])
def test_what_is_more_in_memory_is_what_is_predicted_to_be(kind):
    """The difference of two runs, where all else is the same."""
    if kind == "moments and gradient of Adam":
        ends, close, common = ({"n_components": 300}, {"n_components": 900}), 0.15, {"solver": "adam"}
    else:
        ends, close = ({"gradient": PT(n_temperatures=2)}, {"gradient": PT(n_temperatures=6)}), 0.04
        common = {"n_components": 100, "n_chains": 150}
    X, found = rows(200, 300), []
    fitted(RBM(n_iter=1, batch_size=50, random_state=0, **(common | ends[0] | {"n_components": 5})), X)  # imports
    for settings in ends:
        rbm = RBM(n_iter=2, batch_size=50, learning_rate=1e-4, random_state=0, **(common | settings))
        found.append((allocated(rbm, X), predict_cost(rbm, X, RATES).resident_bytes))
    (least, few), (most, many) = found
    assert many - few == pytest.approx(most - least, rel=close)


def test_rows_in_windows_take_two_windows_and_are_read_in_each_epoch():
    data = DataSize(10**6, 784, on_disk=True)
    rates = replace(RATES, flop=0.0, product_value=0.0, amounts={"read": 1.0})
    cost = predict_cost(RBM(10, n_iter=3, batch_size=100, memory_limit="64 MiB"), data, rates)
    assert cost.windowed
    assert cost.seconds == 4 * data.n_bytes  # once for the statistics
    assert 0.9 * 2 * 2**24 < cost.rows_bytes <= 2 * 2**24
    assert not predict_cost(RBM(10, n_iter=3, batch_size=100), data, rates).windowed


def test_workers_share_the_rows_and_send_parameters():
    rbm = RBM(500, n_iter=2, batch_size=100)
    data = DataSize(40_000, 784)
    one, four = (predict_cost(rbm, data, RATES, workers=n, updates_per_round=50) for n in (1, 4))
    assert one.network_bytes == 0
    assert four.network_bytes == 2 * 2 * 4 * 2 * round_bytes(784, 500)  # epochs, rounds, workers, both directions
    assert four.parts[-1].updates * 4 == one.parts[-1].updates
    with pytest.raises(SettingError, match="workers=2"):
        predict_cost(rbm, data, replace(RATES, round_seconds=None), workers=2)
    own = replace(RATES, worker_bytes=RATES.base_bytes // 2)  # a worker imports less than the process of an estimator
    small = predict_cost(rbm, data, own, workers=4, updates_per_round=50)
    assert four.resident_bytes - small.resident_bytes == RATES.base_bytes // 2
    assert predict_cost(rbm, data, own).resident_bytes == one.resident_bytes


def test_hidden_representations_that_do_not_fit_are_spilled():
    dbn = DBN((500, 100), rbm=RBM(n_iter=1, batch_size=100), memory_limit="64 MiB")
    assert predict_cost(dbn, DataSize(100_000, 784, on_disk=True), RATES).spilled_bytes == 4 * 100_000 * 500
    assert predict_cost(dbn, DataSize(10_000, 784), RATES).spilled_bytes == 0


def test_a_prediction_says_that_it_is_one():
    net = DeepAutoencoder((50, 10), rbm=RBM(n_iter=1, batch_size=50), max_iter=2, batch_size=50)
    cost = predict_cost(net, DataSize(1000, 200), RATES)
    assert str(cost).startswith("predicted, not measured")
    assert cost.to_dict()["predicted"] is True
    assert cost.parts[-1].name == "fine-tuning, 200 -> 50 -> 10 -> 50 -> 200"
    assert json.loads(json.dumps(cost.to_dict()))["seconds"] == cost.seconds


def test_what_has_no_model_of_cost_is_refused_in_one_line():
    data = DataSize(1000, 12)
    for estimator in (RBM(4, gradient="exact"), RecurrentRBM(4), RBM(4, gradient="ptt")):
        with pytest.raises(SettingError, match="cost") as caught:
            predict_cost(estimator, data, RATES)
        assert "\n" not in str(caught.value)
    with pytest.raises(SettingError, match="n_outputs"):
        predict_cost(DBNClassifier((4,), rbm=RBM(n_iter=1)), data, RATES)


def test_constants_are_kept_in_a_file(tmp_path):
    path = tmp_path / "machine.json"
    RATES.save(path)
    assert MachineRates.load(path) == RATES
    with pytest.raises(DataError, match="exists"):
        RATES.save(path)
    wrong = (
        {"flop": "fast"}, {"flop": 10**400}, {"memory": 0}, {"cores": True}, {"amounts": {"pass": None}}, {"about": 3},
        {"clock": [1]}, {"round_seconds": "x"}, {"round_seconds": -1}, {"network_bytes": 0}, {"base_bytes": 1.5},
        {"worker_bytes": "x"},
    )  # fmt: skip
    for text in ("{", "[" * 100_000, '{"flop": 1}', *(json.dumps(RATES.to_dict() | one) for one in wrong)):
        path.write_text(text)
        with pytest.raises(DataError, match="bench --out"):
            MachineRates.load(path)


@pytest.mark.slow
def test_measured_constants_are_times():
    rates = measure_rates(repeats=1)
    assert 1e-14 < rates.flop < 1e-8
    assert all(0 <= value < 1e-2 for value in rates.amounts.values())
    assert rates.amounts["update"] > 1e-7
    assert rates.base_bytes > 2**25


def test_equal_workers_without_exchange_share_the_work():
    free = replace(RATES, round_seconds=0.0, network_bytes=math.inf)
    found = simulate_averaging(
        64_000, 0.01, 10**6, free, workers=(1, 4, 64), batch_size=100, updates_per_round=10, link=None,
        conditions=Workers(spread=0.0),
    )  # fmt: skip
    assert found.one_worker == pytest.approx(6.4)
    assert [each.speedup for each in found.runs] == pytest.approx([1, 4, 64])
    shared = simulate_averaging(
        64_000, 0.01, 10**6, free, workers=(4,), updates_per_round=10, link=None,
        conditions=Workers(spread=0.0, cores=2),
    )  # fmt: skip
    assert shared.runs[0].speedup == pytest.approx(2)


def test_a_simulated_epoch_is_the_sum_of_its_rounds_and_exchanges():
    """Four workers take 25 updates of 0.01 s each, in rounds of 10, 10 and 5."""
    found = simulate_averaging(
        10_000, 0.01, 10**6, RATES, workers=(1, 4, 50), batch_size=100, updates_per_round=10, link=None,
        conditions=Workers(spread=0.0, cores=100),
    )  # fmt: skip
    one, four, fifty = found.runs
    exchange = 4 * (1e-3 + 2 * 10**6 / 1e9)  # a message, and the bytes in both directions
    assert four.round_seconds == pytest.approx(0.1 + exchange)
    assert four.epoch_seconds == pytest.approx(0.25 + 3 * exchange)
    assert (one.network_bytes, four.network_bytes) == (0, 2 * 4 * 3 * 10**6)
    assert (four.training, four.exchanging) == pytest.approx((0.1 / (0.1 + exchange), exchange / (0.1 + exchange)))
    assert four.waiting == pytest.approx(0)
    assert (four.speedup, 4 * four.efficiency) == pytest.approx((1 / four.epoch_seconds,) * 2)
    assert fifty.epoch_seconds == pytest.approx(0.02 + 0.15)
    assert (found.fastest, found.worthwhile, replace(found, runs=(fifty,)).worthwhile) == (50, 4, 1)
    # One worker never waits. Over a link of a tenth of the bandwidth the coordinator takes longer for each worker's
    # bytes, and the mean is copied in 1 + log2(4) steps; each way has a delay.
    alone = simulate_averaging(10_000, 0.01, 10**6, RATES, workers=(1,), conditions=Workers(spread=0.5))
    assert alone.runs[0].epoch_seconds == pytest.approx(alone.one_worker)
    over = exchange_seconds(4, 10**6, RATES, Link(1e8, 0.005))
    assert over == pytest.approx(exchange + 4 * (0.01 - 0.001) + 2 * 0.005 + 3 * (0.01 + 0.005))


def test_slow_and_lost_workers_hold_the_others_up():
    free = replace(RATES, round_seconds=0.0, network_bytes=math.inf)

    def of(**conditions):
        return simulate_averaging(
            10**6, 0.01, 10**6, free, workers=(10,), link=None, n_rounds=2000,
            conditions=Workers(**{"spread": 0.0, **conditions}),
        ).runs[0]  # fmt: skip

    assert of(slow=0.1, slow_factor=3.0).round_seconds == pytest.approx(3.0)  # 100 updates of 0.01 s, three times
    spread = of(spread=0.2).round_seconds
    assert spread == pytest.approx(np.exp(0.2 * 1.5388 - 0.02), rel=0.03)  # mean of the largest of ten normal numbers
    lost = of(lost_per_hour=3.6, patience=10.0)  # 0.01 in each round
    assert lost.round_seconds == pytest.approx(1 + 10 * (1 - math.exp(-0.01)), rel=0.05)
    many = of(lost_per_hour=360.0, slow=1.0, slow_factor=2.0)  # 2 in each round of 2 seconds; 10 rounds
    assert many.round_seconds == pytest.approx(2 + 10 * (1 - math.exp(-2)), rel=0.03)
    assert many.lost == pytest.approx(20, rel=0.03)
    pair = simulate_averaging(
        10**4, 0.01, 10**6, free, workers=(2,), link=None, n_rounds=100_000, conditions=Workers(spread=1.0)
    ).runs[0]  # fmt: skip
    # The larger of two log-normal numbers of mean 1 has the mean 2 Phi(spread / sqrt(2)) = 1 + erf(spread / 2).
    assert pair.round_seconds == pytest.approx(1 + math.erf(0.5), rel=0.02)


def test_more_workers_stop_paying_where_the_exchange_takes_longer_than_the_training():
    found = simulate_averaging(10**6, 0.004, round_bytes(784, 500), RATES, workers=(1, 4, 16, 64, 1000))
    times = {each.workers: each.epoch_seconds for each in found.runs}
    assert times[4] < times[1]
    assert times[1000] > times[found.fastest]
    assert found.worthwhile <= found.fastest < 1000
    assert "simulated, not measured" in str(found)
    assert exchange_seconds(1, 10**6, RATES) == 0
    slow = Link(1.25e8, 5e-3)
    assert exchange_seconds(8, 10**6, RATES, slow) > exchange_seconds(8, 10**6, RATES, Link())


def test_the_shell_prints_a_plan_and_trains_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    RATES.save("machine.json")
    result = run("pretrain", "digits", "--layers", "20,10", "--epochs", "3", "--plan", "--machine", "machine.json")
    assert result.exit_code == 0, result.stderr
    assert "predicted, not measured" in result.stdout
    assert "layer 2, 20 -> 10" in result.stdout
    assert "they stay in memory" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["machine.json"]
    many = run("pretrain", "digits", "--limit", "3", "--plan", "--machine", "machine.json", "--workers", "9")
    assert many.exit_code == 0, many.stderr  # as a run does with fewer rows than workers
    two = run("pretrain", "digits", "--epochs", "3", "--plan", "--machine", "machine.json", "--workers", "2")
    assert "network: " in two.stdout


def test_the_shell_refuses_plans_that_it_cannot_make(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    RATES.save("machine.json")
    replace(RATES, round_seconds=None).save("{epochs=1}.json")
    (tmp_path / "table.csv").write_text("a,b\n" + "red,1\nblue,2\n" * 20)
    plan = ("--plan", "--machine", "machine.json")
    for words, told in (
        (("digits", "--machine", "machine.json"), "--plan"),
        (("digits", "--recurrent", *plan), "sequences"),
        (("table.csv", *plan), "mixed columns"),
        (("digits", "--gradient", "exact", *plan), "--gradient must be one whose cost"),
        (("digits", "--limit", "1", *plan), "at least 2 rows, got 1"),
        (("digits", "--workers", "2", "--plan", "--machine", "{epochs=1}.json"), "{epochs=1}.json has no times of"),
        (("digits", "--plan", "--machine", "nothing.json"), "bench --out"),
    ):
        result = run("pretrain", *words)
        assert result.exit_code == 1, words
        assert told in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


def test_epochs_of_presets_and_autoencoders_are_those_of_their_rules():
    def epochs(estimator):
        return [part.epochs for part in predict_cost(estimator, DataSize(60_000, 784), RATES).parts if part.epochs]

    assert epochs(DBN((500,))) == [10]
    assert epochs(DBN((500,), preset="fast")) == [2]  # a sixth of 6,000 updates, 600 in an epoch
    assert epochs(DeepAutoencoder((30,), pretraining="rbm")) == [10, 60]
    assert epochs(DeepAutoencoder((30,), pretraining="rbm", preset="fast")) == [2, 20]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's report of mapped pages")
def test_rows_of_a_mapped_file_do_not_count_as_memory(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.zeros((20_000, 500), np.float32))  # 40 MB
    source = open_data(str(path), scale="none").rows

    def mapped():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile"))

    before = mapped()
    for block in blocks(source):
        assert block.shape[1] == 500
        assert mapped() - before < 2**23
    some = source.take(np.arange(0, 20_000, 100))
    assert some.shape == (200, 500)
    assert mapped() - before < 2**23

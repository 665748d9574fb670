"""Threads of the compiled loops: the same bits for any number of them, and no more of them than the BLAS may use."""

import ctypes
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from compiled import names_of_loops
from threadpoolctl import threadpool_limits

from deepbelief.backends import bfloat16, blas, get_backend, loops
from deepbelief.backends.numpy_backend import BLOCK
from deepbelief.seeds import stream

pytestmark = [
    pytest.mark.skipif(loops.load() is None, reason="the loops were not compiled"),
    pytest.mark.skipif(sys.platform != "linux" or sys.maxsize < 2**32, reason="loops run on one thread"),
]

COUNT, RUN = ctypes.CFUNCTYPE(ctypes.c_int), ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_long, ctypes.c_void_p)
ROUTINE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Task(ctypes.Structure):
    """A task as OpenBLAS takes it, without what only its own routines read."""

    _fields_ = [
        ("routine", ctypes.c_void_p), ("numbers", ctypes.c_long * 2), ("arguments", ctypes.c_void_p),
        ("own", ctypes.c_void_p * 4), ("next", ctypes.c_void_p), ("rest", ctypes.c_char * 96),
    ]  # fmt: skip


def run_tasks(n, address):
    """Do what `exec_blas` does, on new threads, the last task first."""
    tasks = []
    while address:
        tasks.append(Task.from_address(address))
        address = tasks[-1].next
    assert len(tasks) == n
    threads = [threading.Thread(target=ROUTINE(task.routine), args=(task.arguments,)) for task in reversed(tasks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0


def address_of(function):
    return ctypes.cast(function, ctypes.c_void_p).value


@pytest.fixture
def on_threads():
    """Return a function that sets the number of threads of a loop."""
    found, run, kept = loops.load(), RUN(run_tasks), []

    def follow(n):
        kept.append(COUNT(lambda: n))
        found.follow(address_of(kept[-1]), address_of(run))
        assert found.on_threads
        return found

    yield follow
    found.follow(*(blas.thread_functions() or (None, None)))


def numbers(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def sampled(found, with_bias, shape):
    rng = get_backend().rng(stream(0, "threads"))
    p, out = numbers(*shape), np.empty(shape, np.float32)
    found.sample(p, numbers(shape[1], seed=1) if with_bias else None, rng._addresses, out, BLOCK)
    return [p, out, *(lane.random_raw(3) for lane in rng._lanes)]


def stepped(method, n_arrays, *arguments):
    def call(found):
        arrays = [np.abs(numbers(300, 501, seed=i)) for i in range(n_arrays)]
        getattr(found, method)(*arrays, *arguments)
        return arrays

    return call


def by_rows(method):
    def call(found):
        x = numbers(201, 501)
        getattr(found, method)(x, numbers(501, seed=1))
        return [x]

    return call


def backward(method):
    def call(found):
        out = np.empty((300, 501), np.float32)
        getattr(found, method)(numbers(300, 501), numbers(300, 501, seed=1), out)
        return [out]

    return call


def gathered(found):
    out = np.empty((301, 503), np.float32)
    found.gather(numbers(400, 503), np.random.default_rng(0).integers(0, 400, 301), out)
    return [out]


def weighed(found):
    x, out = numbers(300, 501), np.empty(501, np.float32)
    found.weigh(x, numbers(300, 1, seed=1), out)
    return [x, out]


def grouped(found):
    sizes = np.array([3, 20, 1, 477], np.int64)
    x, out = numbers(101, 501), np.empty((101, 501), np.float32)
    found.softmax(x, numbers(501, seed=1), sizes)
    found.one_hot(x, np.random.default_rng(0).random((101, 4), np.float32), sizes, out)
    return [x, out]


def odds(found):
    v, out = (numbers(101, 33, dtype=np.float64) > 0).astype(float), np.empty((101, 33))
    v[:, 3] = 0.5
    found.log_odds_of_rows(numbers(101, 77, dtype=np.float64), v, numbers(33, 77, dtype=np.float64, seed=1), out)
    return [out]


def odds_of_row(found):
    v, out = (numbers(1, 301, dtype=np.float64) > 0).astype(float), np.empty((1, 301))
    v[:, 3] = 0.5
    found.log_odds_of_row(numbers(1, 177, dtype=np.float64), v, numbers(301, 177, seed=1), out)
    return [out]


def filled(found):
    x = numbers(300, 501)
    x[x < -0.5] = np.nan
    found.fill(x, numbers(300, 501, seed=1))
    return [x]


def changes(found):
    x, results = numbers(201, 501), []
    for bias in (numbers(501, seed=1), numbers(201, 501, seed=2)):
        results += [found.softplus_changes(x, bias, 0.25, 0.5), x.copy()]
    return results


def statistics(found):
    x = numbers(300, 501)
    x[x < -0.5] = np.nan
    x[:, 7] = np.nan
    return list(found.column_statistics(x))


def rounded(amx):
    def call(found):
        results = []
        few, many = (np.random.default_rng(n).integers(-8, 9, (301, n)).astype(np.float32) for n in (101, 300))
        for left, right in ((many.T, few), (few.T, many), (np.ascontiguousarray(few.T), np.asfortranarray(many))):
            results.append(np.ones((left.shape[0], right.shape[1]), np.float32))
            found.multiply_rounded(amx, left, right, 0.5, results[-1], 2)
            np.testing.assert_array_equal(results[-1], 2 + 0.5 * left @ right)
            results.append(np.empty_like(results[-1]))
            found.multiply_rounded(amx, numbers(*left.shape), numbers(*right.shape, seed=1), 1, results[-1], 0)
        return results

    return call


def sparse_product(kind):
    def call(found):
        rng = np.random.default_rng(0)
        n_rows, depth, stored = 131, 90, 20
        indices = np.sort(np.stack([rng.permutation(depth)[:stored] for _ in range(n_rows)]), axis=1)
        ends, out = np.arange(0, n_rows * stored + 1, stored, dtype=kind), np.zeros((n_rows, 501), np.float32)
        data = numbers(n_rows * stored)
        found.add_product(ends, indices.reshape(-1).astype(kind), data, 0.3, numbers(depth, 501, seed=1), out, 16)
        return [out]

    return call


def multiplied(found):
    out, W = np.empty((101, 133), np.float32), numbers(333, 133, seed=1)
    found.multiply(numbers(101, 333), W, out)
    return [out]


def multiplied_by_transposed(found):
    out, W = np.empty((101, 333), np.float32), numbers(333, 133, seed=1)
    found.multiply_by_transposed(numbers(101, 133), W, out)
    return [out]


def stepped_along(name, *unit):
    def call(found):
        w, velocity = numbers(333, 533), numbers(333, 533, seed=1)
        getattr(found, name)(*unit, numbers(41, 333), numbers(41, 533, seed=1), w, velocity, 0.1, 0.9, 1e-3, True)
        return [w, velocity]

    return call


CALLS = {
    "sigmoid": by_rows("sigmoid"),
    "sample": lambda found: sampled(found, False, (301, 501)),
    "sample_of_sigmoid": lambda found: sampled(found, True, (301, 501)),
    "sample of one block": lambda found: sampled(found, True, (100, 501)),
    "sigmoid_backward": backward("sigmoid_backward"),
    "gather": gathered,
    "weigh": weighed,
    "softmax and one_hot": grouped,
    "momentum_step": stepped("momentum_step", 3, 0.1, 0.9, 1e-3, False),
    "momentum_step, Nesterov's": stepped("momentum_step", 3, 0.1, 0.9, 1e-3, True),
    "settle": stepped("settle", 2, 1e-3),
    "adam_step": stepped("adam_step", 4, 1e-3, 0.9, 0.1, 0.999, 0.001, 1e-8, 1e-4),
    "log_odds_of_rows": odds,
    "log_odds_of_row": odds_of_row,
    "softplus_sums": lambda found: [found.softplus_sums(numbers(201, 501, dtype=d)) for d in (np.float64, np.float32)],
    "fill": filled,
    "softplus_changes": changes,
    "weighted_sums": lambda found: [found.weighted_sums(numbers(301, 501), numbers(501, dtype=np.float64))],
    "column_statistics": statistics,
    "add_product_32": sparse_product(np.int32),
    "add_product_64": sparse_product(np.int64),
}
if loops.load() is not None and loops.load().has_products:
    CALLS |= {
        "multiply": multiplied,
        "multiply_by_transposed": multiplied_by_transposed,
        "step_by_tiles": stepped_along("step_along"),
    }
for unit in bfloat16.UNITS:
    if isinstance(bfloat16.load(unit), bfloat16.Bfloat16Products):
        CALLS |= {
            f"multiply_rounded by {unit}": rounded(unit == "AMX"),
            f"step_rounded by {unit}": stepped_along("step_rounded", unit == "AMX"),
        }


def test_every_loop_is_called_here():
    rounded = any(name.startswith("multiply_rounded") for name in CALLS)
    assert set(names_of_loops(rounded=rounded)) <= set(" ".join(CALLS).replace(",", "").split())


@pytest.mark.parametrize("name", CALLS)
def test_results_have_the_same_bits_for_any_number_of_threads(on_threads, name):
    one = CALLS[name](on_threads(1))
    for n in (2, 3, 5):
        for a, b in zip(one, CALLS[name](on_threads(n)), strict=True):
            np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))


def test_a_loop_has_no_more_threads_than_it_has_room_for(on_threads):
    taken = on_threads(loops.MAX_THREADS + 36).slots(200)
    assert set(taken) == set(range(loops.MAX_THREADS))
    assert set(np.diff(taken)) <= {0, 1}


@pytest.mark.parametrize("n", [1, 3])
def test_each_value_meets_the_bias_of_its_column(on_threads, n):
    x, bias = numbers(301, 501), numbers(501, seed=1)
    p, _, *_ = sampled(on_threads(n), True, x.shape)
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-(x + bias))), rtol=1e-5)


@pytest.mark.parametrize("n_rows", [1, 3, 4, 7, 9])
def test_each_group_is_drawn_by_its_own_number(n_rows):
    sizes, rng = np.array([2, 21, 5]), np.random.default_rng(0)
    p, u = rng.random((n_rows, 28), np.float32), rng.random((n_rows, 3), np.float32)
    out, wanted = np.full_like(p, np.nan), np.zeros_like(p)
    loops.load().one_hot(p, u, sizes, out)
    for row in range(n_rows):
        for group, (start, stop) in enumerate(((0, 2), (2, 23), (23, 28))):
            so_far = np.cumsum(p[row, start:stop], dtype=np.float64)
            wanted[row, start + np.argmax(so_far >= (1.0 - u[row, group]) * so_far[-1])] = 1
    np.testing.assert_array_equal(out, wanted)


def test_numbers_of_rows_that_do_not_exist_give_the_nearest_ones():
    table, out = numbers(400, 3), np.empty((5, 3), np.float32)
    loops.load().gather(table, np.array([-(2**40), -1, 7, 400, 2**40]), out)
    np.testing.assert_array_equal(out, table[[0, 0, 7, 399, 399]])


def test_draws_on_threads_are_those_of_numpy(on_threads, monkeypatch):
    p, found, results = np.random.default_rng(10).random(2 * BLOCK + 77, np.float32), on_threads(3), []
    for each in (found, None):
        monkeypatch.setattr(loops, "load", lambda each=each: each)
        rng = get_backend("numpy").rng(stream(0, "a"))
        results += [[rng.bernoulli(p, np.empty_like(p)).copy() for _ in range(2)], rng.uniform(np.empty(3))]
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_array_equal(results[1], results[3])


def test_loops_that_callers_run_at_once_do_not_disturb_each_other(on_threads):
    one, found, wrong = CALLS["sample"](on_threads(1)), on_threads(3), []

    def call():
        for _ in range(20):
            wrong.extend(not np.array_equal(a, b) for a, b in zip(one, CALLS["sample"](found), strict=True))

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong
    assert not any(wrong)


def run_task(number, address):
    """Run one of the tasks of a loop."""
    for _ in range(number):
        address = Task.from_address(address).next
    task = Task.from_address(address)
    ROUTINE(task.routine)(task.arguments)
    return 0


def run_first_task(n, address):
    return run_task(0, address)


@pytest.mark.parametrize("name", ["softmax", "log_odds_of_rows"])
@pytest.mark.parametrize("slot", [0, 2])
def test_each_thread_has_room_of_its_own(on_threads, name, slot):
    """With one room for all of them, they would disturb each other when they run at once."""
    found, width = on_threads(3), 500
    run, three = RUN(lambda n, address: run_task(slot, address)), COUNT(lambda: 3)
    found._c.follow(address_of(three), address_of(run))
    size = width if name == "softmax" else (2 * loops.BLOCK_ROWS + 1) * width
    room, dtype = np.full((loops.MAX_THREADS, size), np.nan), np.float64
    if name == "softmax":
        room, sizes, x = room.astype(np.float32), np.array([100, 400], np.int64), numbers(99, width)
        found._c.softmax(x, numbers(width), sizes, room, 99, 2, width)
    else:
        x, v, W, out = (numbers(*shape, dtype=dtype) for shape in ((40, width), (40, 33), (33, width), (40, 33)))
        v[...] = v > 0
        large = np.zeros(33, np.int64)
        found._c.log_odds_of_rows(x, v, W, room, out, large, 40, 33, width)
    written = ~np.isnan(room)
    assert written[slot].all()
    assert not np.delete(written, slot, axis=0).any()


HELPED = (
    "sigmoid", "sigmoid_backward", "gather", "softmax and one_hot", "momentum_step", "settle", "adam_step",
    "log_odds_of_rows", "log_odds_of_row", "softplus_sums", "softplus_changes", "weighted_sums", "multiply",
    "multiply_by_transposed", "step_by_tiles", *(name for name in CALLS if "_rounded" in name),
)  # fmt: skip


@pytest.mark.parametrize("name", HELPED)
def test_a_thread_that_has_finished_helps_the_others(on_threads, name):
    """One thread never begins here; the other one has to compute everything."""
    if name not in CALLS:
        pytest.skip("the compiler left the products out, or the processor has no AMX")
    one, alone = CALLS[name](on_threads(1)), []
    run = RUN(lambda n, address: run_first_task(n, address) if alone else run_tasks(n, address))
    found, two = loops.load(), COUNT(lambda: 2)
    found.follow(address_of(two), address_of(run))
    alone.append(True)
    for a, b in zip(one, CALLS[name](found), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", [name for name in CALLS if name.startswith("multiply") and "transposed" not in name])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_halves_of_a_product_are_added_in_either_order(on_threads, name, order):
    one, two = CALLS[name](on_threads(1)), COUNT(lambda: 2)
    run = RUN(lambda n, address: max(run_task(slot, address) for slot in order) if n == 2 else run_tasks(n, address))
    loops.load()._c.follow(address_of(two), address_of(run))
    for a, b in zip(one, CALLS[name](loops.load()), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("run", [lambda n, address: 0, run_first_task])
def test_a_library_that_runs_no_tasks_is_not_used(on_threads, run):
    found, three, run = on_threads(1), COUNT(lambda: 3), RUN(run)
    found.follow(address_of(three), address_of(run))
    assert not found.on_threads
    np.testing.assert_array_equal(found.slots(9), 0)


def test_loops_run_on_as_many_threads_as_the_blas_may_use_and_start_none():
    found = loops.load()
    if not found.on_threads or blas.thread_functions() is None:
        pytest.skip("the BLAS runs no tasks of others")
    one = {name: call(found) for name, call in CALLS.items()}
    for n in (1, 2):
        with threadpool_limits(n, "blas"):
            get_backend().matmul(numbers(300, 300), numbers(300, 300))
            before = threads()
            assert found.slots(9).max() + 1 == n
            for name, call in CALLS.items():
                for a, b in zip(one[name], call(found), strict=True):
                    np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))
            assert threads() == before


def threads():
    """Return the number of threads of this process, where the system tells it."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else None


def run_alone(program, **environment):
    """Run a program in a process of its own."""
    lines = "import os, numpy as np\nfrom deepbelief.backends import loops\nfound = loops.load()\n" + textwrap.dedent(
        program
    )
    done = subprocess.run(
        [sys.executable, "-c", lines], env=os.environ | environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(blas.thread_functions() is None, reason="the BLAS runs no tasks of others")
@pytest.mark.parametrize("n", [1, 2])
def test_the_environment_limits_threads(n):
    """As in a worker of joblib, which sets these variables."""
    n = min(n, len(os.sched_getaffinity(0)))
    program = "print(found.slots(64).max() + 1)"
    assert run_alone(program, OPENBLAS_NUM_THREADS=str(n), OMP_NUM_THREADS=str(n)) == [str(n)]


@pytest.mark.skipif(blas.thread_functions() is None, reason="the BLAS runs no tasks of others")
def test_loops_run_in_a_child_of_fork():
    program = """
        x, y = np.ones((400, 500), np.float32), np.ones((400, 500), np.float32)
        found.sigmoid(x, np.zeros(500, np.float32))
        for _ in range(3):
            child = os.fork()
            if not child:
                found.sigmoid(y, np.zeros(500, np.float32))
                os._exit(0 if np.array_equal(x, y) else 1)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        found.sigmoid(y, np.zeros(500, np.float32))
        print(np.array_equal(x, y))
    """
    assert run_alone(program, OPENBLAS_NUM_THREADS="2") == ["0", "0", "0", "True"]


SEARCH = """
import os
import numpy as np
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_info
from deepbelief import RBM
from deepbelief.backends import loops

def threads(estimator, X, y=None):
    of_blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return float(max(*of_blas, loops.load().slots(64).max() + 1))

X = (np.random.default_rng(0).random((60, 20)) < 0.5).astype(np.float32)
search = GridSearchCV(RBM(8, n_iter=1, random_state=0), {"learning_rate": [0.1, 0.05]}, scoring=threads, cv=2, n_jobs=2)
print(int(search.fit(X).cv_results_["mean_test_score"].max()), len(os.sched_getaffinity(0)), int(threads(None, None)))
"""


@pytest.mark.slow
def test_two_jobs_of_a_search_use_no_more_threads_than_there_are_processors():
    own = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", SEARCH], capture_output=True, text=True, env=own, check=False)
    assert done.returncode == 0, done.stderr
    of_a_job, processors, alone = map(int, done.stdout.split())
    assert 2 * of_a_job <= max(2, processors)
    assert alone <= processors

"""`deepbelief bench` and the timing behind it."""

import importlib.util

import numpy as np
from cli_runs import run
from tables import case_by_case

from deepbelief.diagnostics import speed
from deepbelief.diagnostics.speed import STANDARD, Work, computer, interleaved, measure, products, shortened

SMALL = {
    "small CD": Work("cd", (12, 8), 10, 40),
    "small PCD": Work("pcd", (12, 8), 10, 40),
    "small net": Work("finetune", (12, 8, 6, 10), 10, 40),
    "small code": Work("encode", (12, 8, 6), 20, 40),
}


def multiplications(work, bk):
    found = products(work, bk)
    for left, right, out in found:
        assert out.shape == (left.shape[0], right.shape[1])
    return sum(left.shape[0] * left.shape[1] * right.shape[1] for left, right, _ in found)


def test_the_floor_is_the_products_that_cannot_be_done_without(bk):
    # CD: up, down, up, and both phases' statistics; backpropagation: all layers three times, but not to the input.
    assert multiplications(SMALL["small CD"], bk) == multiplications(SMALL["small PCD"], bk) == 5 * 10 * 12 * 8
    assert multiplications(SMALL["small net"], bk) == 10 * (3 * (12 * 8 + 8 * 6 + 6 * 10) - 12 * 8)
    assert multiplications(SMALL["small code"], bk) == 20 * (12 * 8 + 8 * 6)


@case_by_case("name", SMALL)
def test_every_kind_of_work_is_timed(bk, name):
    timing = measure(name, bk, repeats=1, work=SMALL[name])
    assert timing.floor > 0
    assert timing.of_floor == timing.seconds / timing.floor > 0


def test_rounds_alternate_and_the_first_does_not_count():
    done = []
    things = {name: lambda name=name: done.append(name) or [len(done)] for name in "ab"}
    assert interleaved(things, 2) == {"a": [3, 5], "b": [4, 6]}
    assert done == list("ababab")


def test_standard_work_keeps_whole_minibatches():
    for work in (*STANDARD.values(), *map(shortened, STANDARD.values())):
        assert work.n_rows % work.batch_size == 0
        assert work.n_rows >= work.batch_size


def test_the_table_names_machine_and_backends(monkeypatch):
    monkeypatch.setattr(speed, "STANDARD", SMALL)
    result = run("bench", "--quick")
    assert result.exit_code == 0
    assert all(name in result.stdout for name in SMALL)
    assert computer()["cpu"] in result.stdout
    assert np.__version__ in result.stdout
    if importlib.util.find_spec("cupy") is None:
        assert "cupy is left out" in result.stderr


def test_a_backend_that_is_asked_for_must_be_there():
    result = run("bench", "--backend", "abacus")
    assert result.exit_code == 1
    assert "abacus" in result.stderr
    assert "numpy" in result.stderr

"""Fixtures: every backend there is, and one that finds on any machine what would break on a GPU."""

import gc
import importlib.util
import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # processes side by side leave each one thread, from before NumPy's import
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from fake_device import FakeDevice
from figures import sketch

import deepbelief
from deepbelief.backends import get_backend
from deepbelief.backends import loops as compiled
from deepbelief.errors import BackendError

# A bare checkout, or one beside an installed wheel, has no deepbelief/cli: it lies in cli/.
if importlib.util.find_spec("deepbelief.cli") is None:
    deepbelief.__path__.append(str(Path(__file__).resolve().parents[1]))


def asks_for_equal_bits(function):
    """Return whether a test compares arrays bit for bit: another kernel of the BLAS may round otherwise."""
    code = getattr(function, "__code__", None)
    return code is not None and any(name.startswith(("assert_array_equal", "assert_same")) for name in code.co_names)


def pytest_configure(config):
    """Do not collect docstrings' examples, which are slow tests, where slow ones are left out."""
    if config.option.markexpr == "not slow":
        config.option.doctestmodules = False


def pytest_collection_modifyitems(config, items):
    """Mark docstrings' examples slow and comparisons of bits blas; leave out tests for a GPU unless -m names them."""
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            item.add_marker("slow")
        elif asks_for_equal_bits(getattr(item.function, "on_one_case", item.function)):
            item.add_marker("blas")
    if "gpu" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("gpu")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("gpu")]


def pytest_collection_finish(session):
    """Leave what the imports and the collection made out of every later garbage collection: a tenth of the time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Return how many processes -n auto starts: each takes seconds to import everything."""
    return min(os.cpu_count() or 1, 8)


BACKENDS = [
    pytest.param(lambda: get_backend("numpy"), id="numpy"),
    pytest.param(FakeDevice, id="fake-device"),
    pytest.param(lambda: get_backend("cupy"), id="cupy", marks=pytest.mark.gpu),
]


def opened(make):
    """Return a backend; CuPy is skipped where it cannot run, with the reason it gives."""
    try:
        return make()
    except BackendError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session", params=BACKENDS)
def bk(request):
    """Each backend."""
    return opened(request.param)


@pytest.fixture(params=["compiled", "numpy"])
def loops(request, monkeypatch):
    """Element-wise work by compiled loops, and by NumPy alone."""
    if request.param == "numpy":
        monkeypatch.setattr(compiled, "load", lambda: None)
    elif compiled.load() is None:
        pytest.skip("the loops were not compiled")
    return request.param


@pytest.fixture(scope="session")
def fake_device():
    return FakeDevice()


@pytest.fixture
def sketched(monkeypatch):
    """Let reports hold sketches of their figures: rendering takes most of the time of a report."""
    monkeypatch.setattr("deepbelief.cli._sections.to_png", sketch)


@pytest.fixture
def patterns():
    """60 rows of three patterns of four bits: entropy log 3, against 4 log 2 for independent bits at a half."""
    rows = np.array([[0, 0, 1, 1], [1, 1, 0, 0], [1, 0, 0, 1]], np.float32)
    return np.repeat(rows, 20, axis=0)

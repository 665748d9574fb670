"""The compiled module: what its functions accept, and what they refuse."""

import ctypes
import threading

import numpy as np
import pytest
from compiled import names_of_loops

from deepbelief.backends import loops

pytestmark = pytest.mark.skipif(loops.load() is None, reason="the loops were not compiled")


def module():
    return loops.load()._c


def ones(*shape):
    return np.ones(shape, np.float32)


@pytest.mark.parametrize("name", [*names_of_loops(rounded=True), "follow", "slots"])
def test_a_wrong_number_of_arguments_is_refused(name):
    with pytest.raises(TypeError, match=r"^\d+ arguments, not 1$"):
        getattr(module(), name)(ones(3))
    with pytest.raises(TypeError, match=r"^\d+ arguments, not 40$"):
        getattr(module(), name)(*[ones(3)] * 40)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((ones(3), ones(3), 1.0), TypeError),  # a number where an integer is expected
        ((ones(3), ones(3), 2**64), OverflowError),
        ((ones(3), "abc", 3), TypeError),  # a text has no buffer
        ((ones(3), 7, 3), TypeError),
        ((ones(3), ones(6)[::2], 3), ValueError),
        ((ones(3, 3).T, ones(3), 3), ValueError),
        ((b"read-only", ones(3), 3), BufferError),
    ],
)
def test_arguments_of_other_kinds_are_refused(arguments, error):
    with pytest.raises(error):
        module().fill(*arguments)


def test_outputs_that_are_read_only_are_refused():
    x = ones(3)
    x.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        module().fill(x, ones(3), 3)
    module().fill(ones(3), x, 3)


def test_arrays_are_released_whatever_happens():
    x = bytearray(12)
    for values in (ones(3), "abc"):
        try:
            module().fill(x, values, 3)
        except TypeError:
            assert values == "abc"
        x.append(0)  # impossible while anything uses its buffer


@pytest.mark.parametrize(
    ("x", "letter", "plain"),
    [
        (ones(2, 3), "f", True),
        (ones(2, 3)[1:], "f", True),
        (np.ones((2, 3)), "d", True),
        (np.empty((0, 3), np.float32), "f", True),
        (np.float32(1), "f", True),
        (np.ones((2, 3)), "f", False),
        (ones(2, 3), "d", False),
        (np.ones(3, np.int32), "f", False),
        (np.ones(3, ">f4" if np.little_endian else "<f4"), "f", False),
        (np.ones(3, np.complex64), "f", False),
        (np.ones(3, [("a", np.float32)]), "f", False),
        (np.zeros(3, "M8[s]"), "f", False),
        (np.array([None]), "f", False),
        (ones(2, 3).T, "f", False),
        (ones(2, 3)[:, :2], "f", False),
        (np.frombuffer(bytearray(13), np.uint8)[1:].view(np.float32), "f", False),
        (None, "f", False),
        (1.0, "f", False),
        ([1.0], "f", False),
    ],
)
def test_arrays_are_plain_where_compiled_code_can_read_them_in_place(x, letter, plain):
    assert module().are_plain(letter, x) is plain
    assert module().are_plain(letter, np.ones(3, letter), x) is plain
    assert module().are_plain(letter, x, np.ones(3, letter)) is plain


def test_a_read_only_array_is_plain():
    x = ones(3)
    x.flags.writeable = False
    assert module().are_plain("f", x)


def test_other_threads_run_during_a_call():
    """The function that runs tasks is Python here: without the lock it would wait for ever."""
    began, ended = threading.Event(), threading.Event()

    def wait(n, address):
        began.set()
        assert ended.wait(60)
        return 0

    count, run = (
        ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 2),
        ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_long, ctypes.c_void_p)(wait),
    )
    if not loops.load().on_threads:
        pytest.skip("loops run on one thread")
    module().follow(*(ctypes.cast(f, ctypes.c_void_p).value for f in (count, run)))
    caller = threading.Thread(target=loops.load().slots, args=(9,))
    try:
        caller.start()
        assert began.wait(60)
    finally:
        ended.set()
        caller.join()
        loops.load().follow(*(loops.thread_functions() or (None, None)))

"""CUDA kernels on the processor: their very source compiled as C++, and a stand-in for CuPy that launches them.

Blocks run one after the other, and so do the threads of a block, unless the kernel waits for them (__syncthreads):
then they are threads of the processor. The stand-in refuses arguments that a launch would misread: memory that is
not contiguous or of another dtype, and numbers that are not exactly of the kernel's types.
"""

import ctypes
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fake_device import CROSSINGS, DeviceArray, Namespace, device, raw

from deepbelief.backends.cupy_backend import CupyBackend

HEAD = r"""
#include <math.h>
#include <barrier>
#include <thread>
#include <vector>
#define __global__
#define __device__
#define __shared__ static
#define __syncthreads() everyone->arrive_and_wait()

struct Place { unsigned x, y; };
static thread_local Place blockIdx, threadIdx;
static Place blockDim;
static std::barrier<>* everyone;

template <typename T>
static void sincospi(T x, T* sine, T* cosine) {
    const long double angle = 3.14159265358979323846264338327950288L * x;
    *sine = (T)sinl(angle);
    *cosine = (T)cosl(angle);
}
"""

TAIL = r"""
template <typename Kernel>
static void launch(const bool waits, const unsigned first, const unsigned last, const Place block, Kernel kernel) {
    blockDim = block;
    std::barrier<> barrier(block.x * block.y);
    everyone = &barrier;
    auto run = [&](unsigned x, unsigned y) {
        threadIdx = {x, y};
        for (unsigned b = first; b < last; b++) {
            blockIdx = {b, 0};
            kernel();
            if (waits) barrier.arrive_and_wait();  // shared memory is the next block's now
        }
    };
    std::vector<std::thread> threads;
    for (unsigned y = 0; y < block.y; y++)
        for (unsigned x = 0; x < block.x; x++)
            if (waits) threads.emplace_back(run, x, y);
            else run(x, y);
    for (auto& thread : threads) thread.join();
}

extern "C" void philox_block(unsigned* at, unsigned key0, unsigned key1) { philox(at, key0, key1); }
extern "C" int in_one_piece_float(const float* x, Index i, Index n) { return in_one_piece(x, i, n); }
extern "C" int in_one_piece_double(const double* x, Index i, Index n) { return in_one_piece(x, i, n); }
"""

NUMBERS = {"Index": np.int64, "Word64": np.uint64, "int": np.int32, "float": np.float32, "double": np.float64}
KERNEL = re.compile(r"__global__ void (\w+)\(([^)]*)\) \{(.*?)\n\}", re.DOTALL)


def signatures(code, ctype, *, const=False):
    """Return the types of each kernel's parameters, as they are written or without const."""
    found = {}
    for name, parameters, _ in KERNEL.findall(code):
        types = [re.sub(r"\bT\b", ctype, parameter.rsplit(None, 1)[0].strip()) for parameter in parameters.split(",")]
        found[name] = types if const else [t.removeprefix("const ") for t in types]
    return found


def _driver(kernel, ctype, types, waits):
    names = [f"a{i}" for i in range(len(types))]
    parameters = ", ".join(f"{t} {name}" for t, name in zip(types, names, strict=True))
    return (
        f'extern "C" void {kernel}_{ctype}(unsigned first, unsigned last, unsigned x, unsigned y, {parameters}) {{'
        f"launch({str(waits).lower()}, first, last, {{x, y}}, [&] {{ {kernel}<{ctype}>({', '.join(names)}); }}); }}\n"
    )


@cache
def library(code):
    """Compile the kernels for the processor."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not on the path")
    waits = {name: "__syncthreads" in body for name, _, body in KERNEL.findall(code)}
    drivers = "".join(
        _driver(kernel, ctype, types, waits[kernel])
        for ctype in ("float", "double")
        for kernel, types in signatures(code, ctype).items()
    )
    with tempfile.TemporaryDirectory() as folder:
        source, built = Path(folder, "kernels.cpp"), Path(folder, "kernels.so")
        source.write_text(HEAD + code + TAIL + drivers)
        command = ["g++", "-std=c++20", "-O0", "-shared", "-fPIC", "-pthread", "-o", str(built), str(source)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert run.returncode == 0, run.stderr
        return ctypes.CDLL(str(built))


def as_c(value):
    """Return a NumPy number, an array of the device or an address as C takes it."""
    if isinstance(value, np.generic):
        return np.ctypeslib.as_ctypes_type(type(value))(value.item())
    return ctypes.c_void_p(raw(value).ctypes.data) if isinstance(value, DeviceArray) else value


def _check(value, ctype):
    """Refuse what a kernel would misread."""
    if not ctype.endswith("*"):
        assert type(value) is NUMBERS[ctype], f"{type(value).__name__} for {ctype}"
    elif type(value) is not np.intp or value != 0:  # no array
        assert type(value) is DeviceArray, f"{type(value).__name__} for an array of the device"
        assert value.dtype == NUMBERS[ctype.removesuffix("*")], f"{value.dtype} for {ctype}"
        assert raw(value).flags.c_contiguous, "a kernel reads contiguous memory"


class RawModule:
    """CuPy's module of kernels."""

    def __init__(self, *, code, options=(), name_expressions=None):
        assert isinstance(options, tuple)
        self._code, self._names = code, tuple(name_expressions)
        self._library = library(code)

    def get_function(self, name):
        assert name in self._names
        kernel, ctype = name.removesuffix(">").split("<")
        types = signatures(self._code, ctype)[kernel]

        def launch(grid, block, args):
            assert len(grid) == 1
            assert grid[0] > 0
            assert len(args) == len(types)
            x, y = (*block, 1)[:2]
            for value, t in zip(args, types, strict=True):
                _check(value, t)
            self._library[f"{kernel}_{ctype}"](0, grid[0], x, y, *map(as_c, args))

        return launch


class Cupy(Namespace):
    """As much of CuPy as its backend uses."""

    RawModule = RawModule
    cuda = SimpleNamespace(
        runtime=SimpleNamespace(
            getDeviceCount=lambda: 1,
            memGetInfo=lambda: (2**30, 2**31),  # free and total
            getDeviceProperties=lambda device: {"name": b"the host"},
        ),
        Device=lambda: SimpleNamespace(id=0),
        get_current_stream=lambda: SimpleNamespace(synchronize=lambda: CROSSINGS.append("synchronize")),
    )

    def asarray(self, a, dtype=None):
        return device(np.asarray(a._raw, dtype)) if isinstance(a, DeviceArray) else device(np.array(a, dtype))

    def ascontiguousarray(self, a, dtype=None):
        return device(np.ascontiguousarray(raw(a), dtype))

    def asnumpy(self, a):
        return a._raw.copy() if isinstance(a, DeviceArray) else np.asarray(a)


@contextmanager
def cupy_on_host():
    """Yield the CuPy backend on top of the stand-in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", Cupy())
        yield CupyBackend()

"""The CUDA sources compile; what they compute is tested against NumPy where there is a device."""

import re
import shutil
import subprocess

import pytest

from deepbelief.backends import kernels

# CuPy compiles with NVRTC, which knows CUDA's built-ins without a header; nvcc does too.
INSTANCES = {
    "sigmoid": "template __global__ void sigmoid<{t}>({t}*, const {t}*, const long long, const int);",
    "momentum_step": (
        "template __global__ void momentum_step<{t}>({t}*, {t}*, const {t}*, const {t}, const {t}, const {t}, "
        "const int, const long long);"
    ),
    "adam_step": (
        "template __global__ void adam_step<{t}>({t}*, {t}*, {t}*, const {t}*, const {t}, const {t}, const {t}, "
        "const {t}, const {t}, const long long);"
    ),
    "bernoulli": "template __global__ void bernoulli<{t}>(const {t}*, {t}*, const long long);",
}


def test_every_kernel_has_a_name_and_an_instance_here():
    written = set(re.findall(r"__global__ void (\w+)\(", kernels.SOURCE))
    assert written == set(INSTANCES) == {name.partition("<")[0] for name in kernels.NAMES}
    assert set(kernels.NAMES) == {f"{kernel}<{t}>" for kernel in written for t in ("float", "double")}


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on the path")
def test_kernels_compile(tmp_path):
    instances = [line.format(t=t) for line in INSTANCES.values() for t in ("float", "double")]
    source = tmp_path / "kernels.cu"
    source.write_text(kernels.SOURCE + "\n".join(instances))
    command = ["nvcc", "-ptx", "-std=c++14", "-Werror", "all-warnings", "-o", str(tmp_path / "out.ptx"), str(source)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    ptx = (tmp_path / "out.ptx").read_text()
    assert len(re.findall(r"\.visible \.entry", ptx)) == len(instances)

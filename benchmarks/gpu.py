"""Everything that needs a GPU, in one command: the tests of the CuPy backend, and its speed.

    python benchmarks/gpu.py [--repeats 5] [--skip recipe,quality]

Runs `pytest -m gpu`; times the standard work of `deepbelief bench` on CuPy and on NumPy, an epoch of CD-1 on 60,000
rows compared with the same loop in plain PyTorch if that is installed, and one of 4096 x 11008 in batches of 1024 as a
share of the device's TF32 matrix rate; trains 784-500-500-2000-10 on MNIST by `mnist.py`, and small nets on NumPy and
CuPy to compare error and pseudo-log-likelihood over 3 seeds (both need DEEPBELIEF_DATA). Each part is written to
`gpu.json` when it is done, with the device's name. Without CuPy or without a device it reports which of them is
missing, writes nothing, and exits with 3.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
from dataclasses import asdict

import precision
from clocks import clocked, summary
from common import HERE, add, mnist

from deepbelief.backends import get_backend
from deepbelief.backends.device import device_name
from deepbelief.diagnostics.speed import STANDARD, Work, interleaved, measure, ours, rows_for
from deepbelief.errors import BackendError

EPOCH = Work("cd", (784, 500), 100, 60_000)
WIDE = Work("cd", (4096, 11008), 1024, 8192)
TF32 = """
import sys, time
sys.path.insert(0, "benchmarks")
from gpu import WIDE, get_backend
from deepbelief.diagnostics.speed import floor, timed
run = timed(floor(WIDE, get_backend("cupy")))
print(min(run()[0] for _ in range(6)))
"""
N_EPOCHS = 5


def tests():
    """Run the tests that need a device and return their last line."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests"]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=False)
    print(done.stdout[-2000:])
    return {"exit_code": done.returncode, "summary": (done.stdout.strip().splitlines() or [""])[-1]}


def standard(repeats):
    """Time the standard work on both backends."""
    pairs = [(title, backend) for backend in ("cupy", "numpy") for title in STANDARD]
    timings = {f"{title}, {backend}": measure(title, backend, repeats=repeats) for title, backend in pairs}
    return {name: asdict(timing) | {"of_floor": timing.of_floor} for name, timing in timings.items()}


def epoch(repeats):
    """Time an epoch of CD-1 on 60,000 rows, beside PyTorch."""
    things = {"deepbelief": clocked(ours(EPOCH, "cupy", N_EPOCHS), N_EPOCHS)}
    if importlib.util.find_spec("torch"):
        things["PyTorch, eager"] = clocked(torch_cd(EPOCH, N_EPOCHS), N_EPOCHS)
    return {name: summary(times) for name, times in interleaved(things, repeats).items()}


def wide(repeats):
    """Time an epoch of wide layers, and their products alone in TF32, in a process that CuPy lets use it."""
    environment = os.environ | {"CUPY_TF32": "1"}
    command = [sys.executable, "-c", TF32]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=True, env=environment)
    products = float(done.stdout)
    seconds = summary(interleaved({"wide": clocked(ours(WIDE, "cupy", N_EPOCHS), N_EPOCHS)}, repeats)["wide"])
    return {"products_in_tf32_s": products, "epoch": seconds, "share_of_tf32_rate": products / seconds["median_s"]}


def quality():
    """Return error and pseudo-log-likelihood on both backends, seed by seed."""
    train, test = mnist(), mnist("test")
    found = {name: get_backend(name) for name in ("numpy", "cupy")}
    return {name: [precision.quality(bk, seed, train, test) for seed in range(3)] for name, bk in found.items()}


def recipe():
    """Train the large network on MNIST, and return the results of `mnist.py`."""
    command = [sys.executable, "benchmarks/mnist.py", "--net", "big", "--seeds", "0", "--backend", "cupy"]
    return subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=True).stdout


def torch_cd(work, n_epochs):
    """Return CD-1 with momentum written in plain PyTorch, eager, with the rows on the device."""
    import torch

    rows = torch.from_numpy(rows_for(work)[0]).cuda()

    @torch.no_grad()
    def fit():
        W = 0.01 * torch.randn(work.sizes, device="cuda")
        vbias, hbias = (torch.zeros(size, device="cuda") for size in work.sizes)
        params = W, vbias, hbias
        velocities = [torch.zeros_like(p) for p in params]
        for _ in range(n_epochs):
            for index in torch.randperm(len(rows), device="cuda").split(work.batch_size):
                v = rows[index]
                h = torch.sigmoid(v @ W + hbias)
                v_neg = torch.sigmoid(torch.bernoulli(h) @ W.T + vbias)
                h_neg = torch.sigmoid(v_neg @ W + hbias)
                grads = (v.T @ h - v_neg.T @ h_neg) / len(v), (v - v_neg).mean(0), (h - h_neg).mean(0)
                for p, velocity, grad in zip(params, velocities, grads, strict=True):
                    velocity.mul_(0.9).add_(grad, alpha=0.05)
                    p.add_(velocity)
        torch.cuda.synchronize()

    return fit


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--skip", default="", help="parts to leave out: tests, standard, epoch, wide, recipe, quality")
    options = parser.parse_args()
    try:
        device = device_name(get_backend("cupy"))
    except BackendError as error:
        print(f"No GPU was used and nothing was measured: {error}")
        sys.exit(3)
    print(device)
    parts = {
        "tests": tests,
        "standard": lambda: standard(options.repeats),
        "epoch": lambda: epoch(options.repeats),
        "wide": lambda: wide(options.repeats),
        "recipe": recipe,
        "quality": quality,
    }
    for name, part in parts.items():
        if name not in options.skip.split(","):
            result = part()
            print(f"{name}: {result}", flush=True)
            add("gpu", device, name, value=result)


if __name__ == "__main__":
    main()

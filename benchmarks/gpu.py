"""Everything that needs a GPU, in one command: the tests of the CuPy backend, and its speed.

    python benchmarks/gpu.py [--repeats 5]

Runs `pytest -m gpu`, times the standard work of `deepbelief bench` on CuPy and on NumPy, and an epoch of CD-1 on
60,000 rows beside the same loop in plain PyTorch where that is installed, and writes `gpu.json` with the device's
name. Without CuPy or without a device it says which of them is missing, writes nothing, and exits with 3.
"""

import argparse
import importlib.util
import subprocess
import sys
from dataclasses import asdict

from clocks import clocked, summary
from common import HERE, write

from deepbelief.backends import get_backend
from deepbelief.diagnostics.speed import STANDARD, Work, interleaved, measure, ours, rows_for
from deepbelief.errors import BackendError

EPOCH = Work("cd", (784, 500), 100, 60_000)
N_EPOCHS = 5


def tests():
    """Run the tests that need a device and return their last line."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests"]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=False)
    print(done.stdout[-2000:])
    return {"exit_code": done.returncode, "summary": (done.stdout.strip().splitlines() or [""])[-1]}


def torch_cd(work, n_epochs):
    """Return CD-1 with momentum as one writes it in PyTorch, eager, with the rows on the device."""
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
    options = parser.parse_args()
    try:
        device = get_backend("cupy").describe()
    except BackendError as error:
        print(f"No GPU was used and nothing was measured: {error}")
        sys.exit(3)
    print(device)
    results = {"tests": tests(), "standard": {}}
    for backend in ("cupy", "numpy"):
        for title in STANDARD:
            timing = measure(title, backend, repeats=options.repeats)
            results["standard"][f"{title}, {backend}"] = asdict(timing) | {"of_floor": timing.of_floor}
            print(f"{title}, {backend}: {1000 * timing.seconds:.1f} ms, {timing.of_floor:.2f} of its floor", flush=True)
    things = {"deepbelief": clocked(ours(EPOCH, "cupy", N_EPOCHS), N_EPOCHS)}
    if importlib.util.find_spec("torch"):
        things["PyTorch, eager"] = clocked(torch_cd(EPOCH, N_EPOCHS), N_EPOCHS)
    times = interleaved(things, options.repeats)
    results["epoch of CD-1, 60,000 x 784, 500 units, batch 100"] = {n: summary(t) for n, t in times.items()}
    for name, values in times.items():
        print(f"epoch of CD-1, {name}: {1000 * summary(values)['median_s']:.1f} ms")
    write("gpu", {"device": device, "settings": vars(options), "results": results})


if __name__ == "__main__":
    main()

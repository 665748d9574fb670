"""One sequence of 100,000 frames: time and memory per frame, compared with a hand-written PyTorch loop of the model.

    python benchmarks/recurrent_speed.py [--frames 100000] [--torch PYTHON]

The model has 88 visible, 150 hidden and 100 recurrent units (tanh), CD-10, windows of 100 frames with carried state,
one window in a minibatch, Adam, gradients clipped, float32, one thread. --torch names an interpreter that has PyTorch
and runs the loop at the end of this file; both loops alternate, `--repeats` times each. Memory is the largest growth
of the process over training after its first epoch on a tenth of the frames. Results go to recurrent_speed.json.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SIZES = {"n_visible": 88, "n_hidden": 150, "n_recurrent": 100, "truncation": 100, "gibbs_steps": 10}


def frames(n):
    """Return a generated piano roll: four notes at a time that change occasionally."""
    rng = np.random.default_rng(0)
    notes = np.cumsum(rng.integers(-2, 3, (n, 4)) * (rng.random((n, 4)) < 0.3), axis=0)
    notes = 20 + np.abs((notes + np.array([10, 25, 40, 55])) % 120 - 60)
    roll = np.zeros((n, SIZES["n_visible"]), np.float32)
    roll[np.arange(n)[:, None], notes] = 1
    return roll


def ours(n):
    """Train for an epoch on one sequence of n frames; return wall and processor seconds."""
    from deepbelief import RecurrentRBM

    model = RecurrentRBM(
        SIZES["n_hidden"], SIZES["n_recurrent"], truncation=SIZES["truncation"], gibbs_steps=SIZES["gibbs_steps"],
        batch_size=1, n_iter=1, pretrain_frames=0, random_state=0,
    )  # fmt: skip
    rows = frames(n)
    began = time.perf_counter(), time.process_time()
    model.fit(rows)
    return time.perf_counter() - began[0], time.process_time() - began[1]


def by_torch(n):
    """Do the same with PyTorch: autograd through the recurrence, the negative phase without it."""
    import torch
    from torch.nn.functional import softplus

    torch.manual_seed(0)
    torch.set_num_threads(1)
    v_, h_, u_ = SIZES["n_visible"], SIZES["n_hidden"], SIZES["n_recurrent"]
    spread = {"W": (0.01, (v_, h_)), "Wvu": (0.1, (v_, u_)), "Wuu": (0.1, (u_, u_))}
    zeros = {"Wuv": (u_, v_), "Wuh": (u_, h_), "vb": (v_,), "hb": (h_,), "ub": (u_,), "u0": (u_,)}
    p = {k: (torch.randn(shape) * s).requires_grad_() for k, (s, shape) in spread.items()}
    p |= {k: torch.zeros(shape, requires_grad=True) for k, shape in zeros.items()}
    params, rows = list(p.values()), torch.from_numpy(frames(n))
    adam = torch.optim.Adam(params, lr=0.001)
    state, began = None, (time.perf_counter(), time.process_time())
    for start in range(0, n, SIZES["truncation"]):
        v = rows[start : start + SIZES["truncation"]]
        u = p["u0"] if state is None else state
        x, before = v @ p["Wvu"] + p["ub"], []
        for t in range(len(v)):
            before.append(u)
            u = torch.tanh(x[t] + u @ p["Wuu"])
        state, before = u.detach(), torch.stack(before)
        vb, hb = before @ p["Wuv"] + p["vb"], before @ p["Wuh"] + p["hb"]
        with torch.no_grad():
            neg = v
            for _ in range(SIZES["gibbs_steps"]):
                h = torch.bernoulli(torch.sigmoid(neg @ p["W"] + hb))
                neg = torch.bernoulli(torch.sigmoid(h @ p["W"].T + vb))

        def energy(s, vb=vb, hb=hb):
            return -(s * vb).sum() - softplus(s @ p["W"] + hb).sum()

        loss = (energy(v) - energy(neg)) / len(v)
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        adam.step()
    return time.perf_counter() - began[0], time.process_time() - began[1]


def memory():
    """Return the largest resident size of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(arm, n):
    """Run one arm for an epoch in a separate process; return its output."""
    interpreter = sys.executable if arm == "ours" else run.torch
    env = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [interpreter, str(Path(__file__).resolve()), "--arm", arm, "--frames", str(n)]
    return json.loads(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--torch", default=None)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--arm", choices=("ours", "torch"), default=None)
    options = parser.parse_args()
    if options.arm:
        arm = ours if options.arm == "ours" else by_torch
        arm(options.frames // 10)
        before = memory()
        seconds, processor = arm(options.frames)
        rows = options.frames * SIZES["n_visible"] * 4 / 2**20
        told = {"seconds": seconds, "processor_seconds": processor, "growth_mb": memory() - before, "rows_mb": rows}
        print(json.dumps(told))
        return
    from common import write  # needs this package, which the interpreter of --torch may lack

    run.torch = options.torch
    found = {"ours": [], "torch": [], "ours_tenth": []}
    for _ in range(options.repeats):
        found["ours"].append(run("ours", options.frames))
        found["ours_tenth"].append(run("ours", options.frames // 10))
        if options.torch:
            found["torch"].append(run("torch", options.frames))
        print({arm: runs[-1] for arm, runs in found.items() if runs}, flush=True)
        write("recurrent_speed", {"sizes": SIZES, "frames": options.frames, "runs": found})


if __name__ == "__main__":
    main()

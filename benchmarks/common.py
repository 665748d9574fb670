"""What the benchmark scripts share: data, the machine's description, results as JSON, intervals."""

import json
import os
import platform
from pathlib import Path

import numpy as np
import scipy
import sklearn

import deepbelief
from deepbelief.datasets import open as open_data

HERE = Path(__file__).resolve().parent


def environment():
    """Describe what the numbers were measured on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), cpu)
    flags = next((line.split(":")[1].split() for line in lines if line.startswith("flags")), [])
    return {
        "cpu": cpu,
        "vectors": next((f for f in ("amx_tile", "avx512f", "avx2") if f in flags), "unknown"),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        "deepbelief": deepbelief.__version__,
    }


def mnist(split="train"):
    """Return MNIST as float32 rows in [0, 1] and int labels (DEEPBELIEF_DATA or --data-dir names its folder)."""
    data = open_data(f"mnist:{split}")
    return data.rows.take(slice(0, data.rows.shape[0])).astype(np.float32), data.labels.astype(np.int64)


def wilson(errors, n, z=1.96):
    """Return the 95 % Wilson interval of an error rate."""
    p = errors / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return centre - half, centre + half


def write(name, results):
    """Write results beside the script, with the machine they were measured on."""
    path = HERE / f"{name}.json"
    path.write_text(json.dumps({"environment": environment(), **results}, indent=1) + "\n")
    print(f"wrote {path.name}")

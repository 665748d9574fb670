"""Shared functions of the benchmark scripts: data, description of the machine, results as JSON, intervals."""

import json
from pathlib import Path

import numpy as np

from deepbelief.datasets import open as open_data
from deepbelief.diagnostics.speed import computer as environment

__all__ = ["HERE", "add", "environment", "mnist", "wilson", "write"]

HERE = Path(__file__).resolve().parent


def mnist(split="train"):
    """Return MNIST as float32 rows in [0, 1] and int labels (DEEPBELIEF_DATA or --data-dir names its folder)."""
    return images("mnist", split)


def images(name, split="train"):
    """Return a set of images by name as float32 rows in [0, 1] and int labels."""
    data = open_data(f"{name}:{split}")
    return data.rows.take(slice(0, data.rows.shape[0])).astype(np.float32), data.labels.astype(np.int64)


def wilson(errors, n, z=1.96):
    """Return the 95 % Wilson interval of an error rate."""
    p = errors / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return centre - half, centre + half


def write(name, results):
    """Write results to a file beside the script, with a description of the machine."""
    path = HERE / f"{name}.json"
    path.write_text(json.dumps({"environment": environment(), **results}, indent=1, default=repr) + "\n")
    print(f"wrote {path.name}")


def add(name, *keys, value):
    """Set the value of nested keys in the results file of the script, and keep all others."""
    path = HERE / f"{name}.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    results.pop("environment", None)
    inner = results
    for key in keys[:-1]:
        inner = inner.setdefault(key, {})
    inner[keys[-1]] = value
    write(name, results)

"""MNIST with all labels by each preset: test error and cost of `DBNClassifier(preset=...)`.

    python benchmarks/presets.py [--presets fast,standard,best] [--seed 0] [--folder FOLDER]

No other setting is given. With --folder the fit keeps a checkpoint there, from which the same command resumes after an
interruption. Each preset is added to presets.json when it is done; processor time counts all threads.
"""

import argparse
import time
from pathlib import Path

from common import add, environment, mnist

from deepbelief import DBNClassifier


def measured(preset, seed, folder):
    """Return the test error of a preset, what it chose and what it cost."""
    (X, y), judged = mnist(), mnist("test")
    checkpoint = None if folder is None else folder / f"{preset}-{seed}.ckpt.h5"
    began, processor = time.perf_counter(), time.process_time()
    clf = DBNClassifier(preset=preset, random_state=seed, checkpoint=checkpoint).fit(X, y)
    return {
        "test_error": 1 - clf.score(*judged),
        "seconds": time.perf_counter() - began,
        "processor_seconds": time.process_time() - processor,
        "resolved": {name: found.value for name, found in clf.resolved_.items()},
        "environment": environment(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", default="fast,standard,best")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    for preset in options.presets.split(","):
        found = measured(preset, options.seed, options.folder)
        add("presets", "runs", f"{preset}, seed {options.seed}", value=found)
        print(f"{preset}: {100 * found['test_error']:.2f} %, {found['processor_seconds']:.0f} s of processor time")


if __name__ == "__main__":
    main()

"""Mutation of files of every kind that the package reads, with counts of the outcomes.

Each file is used in the usual ways: a model is described, loaded, applied and saved again; a checkpoint is shown and
its run resumed. Only an error of the package in one line, or a success, is correct; another exception, more than five
seconds or more memory than the stated limit is a fault, and so is the end of the process. The targets are those of
tests/fuzzing.py. Files that cause a fault are kept in --keep.

    python fuzz.py [--targets model checkpoint] [--n 20000] [--seed 1000000] [--keep faults]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from common import add

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from fuzzing import TARGETS, run

RIGHT = ("used", "refused")
PART = 500  # files per process, the most that a crash can hide


def part(name: str, n: int, seed: int, keep: Path) -> None:
    """Mutate some files in this process, and print a line of JSON for each."""
    with tempfile.TemporaryDirectory() as folder:
        for number, content, outcome in run(name, n, seed, Path(folder)):
            if outcome.verdict not in RIGHT:
                keep.mkdir(exist_ok=True)
                (keep / f"{name}-{number}").write_bytes(content)
                (keep / f"{name}-{number}.txt").write_text(outcome.detail)
            print(json.dumps({"number": number, **vars(outcome)}), flush=True)


def measure(name: str, n: int, seed: int, keep: Path) -> dict:
    """Return the counts of a target."""
    began, outcomes = time.perf_counter(), []
    for start in range(seed, seed + n, PART):
        length = min(PART, seed + n - start)
        words = ["--part", name, "--n", str(length), "--seed", str(start), "--keep", str(keep)]
        done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=False)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        if len(found) < length:
            found.append({"number": start + len(found), "verdict": f"process ended: {done.returncode}"})
        outcomes += found
        counts = Counter(outcome["verdict"] for outcome in outcomes)
        print(f"{name}: {len(outcomes)} files, {dict(counts)}", flush=True)
    return {
        "files": len(outcomes), "first_seed": seed, "verdicts": dict(counts),
        "faults": [o["number"] for o in outcomes if o["verdict"] not in RIGHT],
        "slowest_seconds": max(o.get("seconds", 0) for o in outcomes),
        "largest_growth_mib": max(o.get("grown", 0) for o in outcomes) / 2**20,
        "seconds": time.perf_counter() - began,
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, default=Path("faults"))
    parser.add_argument("--part")
    asked = parser.parse_args()
    if asked.part:
        part(asked.part, asked.n, asked.seed, asked.keep)
    else:
        for target in asked.targets:
            add("fuzz", target, value=measure(target, asked.n, asked.seed, asked.keep))

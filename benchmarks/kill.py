"""Small runs killed with SIGKILL at random moments and resumed, compared with an undisturbed run.

A child process is forked, trains with checkpoints and is killed; a second process resumes from the files on disk. Its
weights must equal those of the undisturbed run byte for byte. It takes about two minutes.

    python kill.py [--kills 50] [--only cd]
"""

import argparse
import hashlib
import json
import multiprocessing
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from common import HERE, write

from deepbelief import RBM, CheckpointFile, DBNClassifier, load, save
from deepbelief.errors import CheckpointWarning
from deepbelief.hdf5 import last_checkpoint

EVERY = "7 updates"
RUNS = {
    "cd": {"rbm": RBM(n_iter=5, batch_size=20, momentum=0.9), "max_iter": 1},
    "pcd": {"rbm": RBM(n_iter=5, batch_size=20, gradient="pcd", momentum=0.5), "max_iter": 1},
    "fine-tuning": {"rbm": RBM(n_iter=1, batch_size=20), "max_iter": 10, "momentum": 0.9, "dropout": 0.2},
}


def fit(name: str, folder: Path) -> None:
    """Train or resume, and save the model."""
    rows = (np.random.default_rng(0).random((400, 30)) > 0.5).astype(np.float32)
    file = CheckpointFile(folder / "run.ckpt.h5", every=EVERY)
    clf = DBNClassifier((20, 10), batch_size=20, random_state=0, checkpoint=file, **RUNS[name])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", CheckpointWarning)
        clf.fit(rows, rows[:, :3].sum(axis=1).astype(int))
    if any(issubclass(w.category, CheckpointWarning) for w in told):
        (folder / "told").touch()
    save(clf, folder / "model.h5")


def start(name: str, folder: Path) -> multiprocessing.Process:
    child = multiprocessing.get_context("fork").Process(target=fit, args=(name, folder))
    child.start()
    return child


def learned(folder: Path) -> str:
    """Return a digest of all weights."""
    clf, found = load(folder / "model.h5"), hashlib.sha256()
    for array in (*clf.coefs_, *clf.intercepts_, *(w.W for w in clf.pretrained_stack_)):
        found.update(array.tobytes())
    return found.hexdigest()


def trial(name: str, after: float, whole: str) -> tuple[str, bool, bool]:
    """Kill a run and resume it; return its position, whether the bytes are equal, whether an older file was used."""
    with tempfile.TemporaryDirectory() as folder:
        child = start(name, Path(folder))
        child.join(after)
        child.kill()
        child.join()
        found, _ = last_checkpoint(Path(folder) / "run.ckpt.h5")
        where = "before the first checkpoint" if found is None else found.state["stage"]
        if child.exitcode == 0:
            where = "after the end"
        start(name, Path(folder)).join()
        same = (Path(folder) / "model.h5").exists() and learned(Path(folder)) == whole
        return where, same, (Path(folder) / "told").exists()


def measure(name: str, kills: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        start(name, Path(folder)).join()
        seconds, whole = time.perf_counter() - began, learned(Path(folder))
    rng = np.random.default_rng(1)
    trials = [trial(name, rng.uniform(0, seconds), whole) for _ in range(kills)]
    return {
        "kills": kills,
        "seconds_of_the_whole_run": seconds,
        "where": dict(Counter(where for where, _, _ in trials)),
        "ended_with_the_same_bytes": sum(same for _, same, _ in trials),
        "an_older_checkpoint_was_used": sum(told for _, _, told in trials),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--only", choices=RUNS)
    asked = parser.parse_args()
    path = HERE / "kill.json"
    for name in [asked.only] if asked.only else RUNS:
        found = measure(name, asked.kills)
        print(name, found, flush=True)
        results = json.loads(path.read_text())["runs"] if path.exists() else {}
        write("kill", {"checkpoint_every": EVERY, "runs": results | {name: found}})

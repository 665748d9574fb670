"""Targets of the fuzzers: whatever a file holds, reading it ends soon, in little memory, in an error of this package.

`TARGETS` is the registry: a target makes good files, mutates one of them and uses what came out. The short run is in
test_fuzz.py, the long one in benchmarks/fuzz.py.
"""

import contextlib
import functools
import os
import random
import resource
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import numpy as np
from fuzzing_data import make_tables, mutate_table, use_table
from hdf5_files import sealed
from mutations import mutate_bytes, mutate_hdf5

from deepbelief import (
    DBN,
    RBM,
    AnomalyDetector,
    CheckpointFile,
    DBNClassifier,
    DBNRegressor,
    DeepAutoencoder,
    RBMClassifier,
    RecurrentRBM,
    load,
    save,
)
from deepbelief.errors import MAX_MESSAGE, DeepBeliefError
from deepbelief.estimators import anomaly
from deepbelief.hdf5 import describe
from deepbelief.hdf5.safety import default_limit
from deepbelief.training import Reporter

MAX_SECONDS = 5
ROWS = (np.random.default_rng(0).random((40, 6)) > 0.5).astype(np.float32)
GREY = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
CLASSES = np.arange(40) % 3
SOFTMAX = np.hstack([np.eye(2)[CLASSES % 2], np.eye(4)[CLASSES]]).astype(np.float32)
LENGTHS = [10, 20, 10]
QUICK = {"n_iter": 2, "batch_size": 20}
TUNED = {"rbm": RBM(**QUICK), "max_iter": 2, "batch_size": 20, "random_state": 0}


@dataclass(frozen=True)
class Target:
    """One kind of file.

    Parameters
    ----------
    make : callable
        Takes a folder and returns good files by name, as bytes.
    mutate : callable
        Takes a generator and a good file, and returns another.
    use : callable
        Takes a path and the name of the good file that it was made from, and does all that people do with such a file.
    """

    make: Callable[[Path], dict[str, bytes]]
    mutate: Callable[[random.Random, bytes], bytes]
    use: Callable[[Path, str], None]


@dataclass(frozen=True)
class Outcome:
    """What became of one mutated file: ``"used"``, ``"refused"``, or a fault, with its traceback."""

    verdict: str
    detail: str = ""
    seconds: float = 0.0
    grown: int = 0  # bytes by which the process's largest memory grew


class Hang(BaseException):
    """It took longer than `MAX_SECONDS`."""


def attempt(target: Target, path: Path, name: str) -> Outcome:
    """Use a file under a limit of time, and measure the memory."""
    before, began = _peak(), time.perf_counter()
    detail = ""
    try:
        with _limited(), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            target.use(path, name)
            verdict = "used"
    except DeepBeliefError as error:
        verdict, detail = "refused", str(error)
        if "\n" in detail or len(detail) > MAX_MESSAGE:
            verdict = "long message"
    except (Exception, Hang) as error:
        verdict, detail = type(error).__name__, traceback.format_exc(limit=-8)
    grown = _peak() - before
    if grown > default_limit(path.stat().st_size) + 2**26:
        verdict, detail = "memory", f"{grown} bytes for a file of {path.stat().st_size}"
    return Outcome(verdict, detail, time.perf_counter() - began, grown)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# Model files


@functools.cache
def models() -> dict[str, Any]:
    """Return fitted models of every kind, by name."""
    two = np.stack([CLASSES, CLASSES % 2], axis=1)
    many = (ROWS[:, :4] > 0.5).astype(int)
    made = {
        "rbm": RBM(4, **QUICK).fit(ROWS),
        "pcd": RBM(4, gradient="pcd", centered=True, averaging=0.5, sparsity_target=0.1, **QUICK).fit(ROWS),
        "fpcd": RBM(4, gradient="fpcd", n_chains=5, **QUICK).fit(ROWS),
        "gaussian": RBM(4, visible="gaussian", learn_variance=True, **QUICK).fit(GREY),
        "softmax": RBM(3, visible="softmax:2,4", **QUICK).fit(SOFTMAX),
        "rbm classifier": RBMClassifier(4, rbm=RBM(**QUICK)).fit(ROWS, CLASSES),
        "dbn": DBN((5, 4), rbm=RBM(**QUICK)).fit(ROWS),
        "classifier": DBNClassifier((5, 4), **TUNED).fit(GREY, CLASSES),
        "tasks": DBNClassifier((5,), **TUNED).fit(ROWS, two),
        "labels": DBNClassifier((5,), loss="cross_entropy", **TUNED).fit(ROWS, many),
        "regressor": DBNRegressor((5,), **TUNED).fit(GREY, GREY[:, 0]),
        "autoencoder": DeepAutoencoder((5, 3), **TUNED).fit(ROWS),
        "tied": DeepAutoencoder((5, 3), tied=True, **TUNED).fit(GREY),
        "recurrent": RecurrentRBM(4, n_recurrent=3, n_iter=1).fit(ROWS, lengths=LENGTHS),
        "gru": RecurrentRBM(4, n_recurrent=3, cell="gru", n_iter=1).fit(ROWS, lengths=LENGTHS),
    }
    made["stack"] = made["dbn"].stack_
    # An array of 0 and 1 is a table of booleans and numbers too.
    table = {"flag": ROWS[:, 0] > 0, "number": GREY[:, 0].astype(np.float64), "same": np.ones(40)}
    with mock.patch.multiple(anomaly, DENSITY_UPDATES=5, GAUSSIAN_UPDATES=5, RECONSTRUCTION_UPDATES=5):
        made["detector"] = AnomalyDetector(random_state=0).fit(table)
    made["detector of a model"] = AnomalyDetector(DeepAutoencoder((5, 3), **TUNED), random_state=0).fit(GREY)
    return made


def make_models(folder: Path) -> dict[str, bytes]:
    """Return a file of each model."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, model in models().items():
            save(model, folder / "good.h5", metadata={"data": {"labels": "y"}, "scaling": {"kind": "none"}})
            found[name] = (folder / "good.h5").read_bytes()
    return found


METHODS = (
    "predict", "predict_proba", "predict_log_proba", "decision_function", "transform", "score_samples", "gibbs",
    "reconstruction_error", "free_energy", "reconstruct",
)  # fmt: skip


def use_model(path: Path, name: str) -> None:
    """Describe, load and apply a model, save it again, and train it further."""
    describe(path)
    model = load(path)
    if hasattr(model, "layers"):
        save(model, path.with_name("again.h5"))
        return
    rows = (np.arange(7 * model.n_features_in_).reshape(7, -1) % 2).astype(np.float32)
    for method in METHODS:
        if hasattr(model, method):
            getattr(model, method)(rows)
    if hasattr(model, "explain") and model.estimator is None:
        model.explain(rows)
    if hasattr(model, "inverse_transform"):
        model.inverse_transform(model.transform(rows))
    if hasattr(model, "sample"):
        model.sample(2)
    repr(model)
    save(model, path.with_name("again.h5"))


# Checkpoints


class _Stop(Reporter):
    def __init__(self, n: int) -> None:
        self.left = n

    def update(self, *_: Any) -> None:
        self.left -= 1
        if not self.left:
            raise InterruptedError


def _runs() -> dict[str, tuple[Any, tuple[Any, ...], dict[str, Any], int]]:
    """Return estimator, data, further arguments of `fit` and updates until the stop, by name."""
    early = TUNED | {"early_stopping": True, "solver": "adam", "dropout": 0.2, "max_iter": 3}
    plain = {"random_state": 0}
    return {
        "rbm": (RBM(4, gradient="pcd", centered=True, **QUICK, **plain), (ROWS,), {}, 3),
        "sparse": (RBM(4, sparsity_target=0.1, averaging=0.9, **QUICK, **plain), (ROWS,), {}, 3),
        "variance": (RBM(4, visible="gaussian", learn_variance=True, **QUICK, **plain), (GREY,), {}, 3),
        "first layer": (DBN((5, 4), rbm=RBM(**QUICK), **plain), (ROWS,), {}, 3),
        "second layer": (DBN((5, 4), rbm=RBM(gradient="fpcd", **QUICK), **plain), (ROWS,), {}, 7),
        "second pass": (DBN((5, 4), rbm=RBM(**QUICK), n_passes=2, **plain), (GREY,), {}, 11),
        "classifier": (DBNClassifier((5,), **early), (ROWS, CLASSES), {}, 8),
        "regressor": (DBNRegressor((5,), **TUNED), (GREY, GREY[:, 0]), {}, 7),
        "autoencoder": (DeepAutoencoder((5, 3), tied=True, **TUNED), (ROWS,), {}, 11),
        "recurrent": (RecurrentRBM(4, n_recurrent=3, n_iter=3, **plain), (ROWS,), {"lengths": LENGTHS}, 2),
        "next frames": (
            RecurrentRBM(4, n_recurrent=3, n_iter=2, pretrain_frames=1, pretrain_recurrent=3, **plain),
            (ROWS,), {"lengths": LENGTHS}, 4,
        ),
    }  # fmt: skip


def make_checkpoints(folder: Path) -> dict[str, bytes]:
    """Return the checkpoint of a stopped run of each kind."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, (estimator, data, more, n) in _runs().items():
            file = CheckpointFile(folder / f"{name}.h5", every="1 update")
            with contextlib.suppress(InterruptedError):
                estimator.set_params(checkpoint=file, verbose=_Stop(n)).fit(*data, **more)
                raise AssertionError(f"{name} ended before update {n}")
            found[name] = Path(file.path).read_bytes()
    return found


def use_checkpoint(path: Path, name: str) -> None:
    """Tell what is in a checkpoint, as the shell does, and resume the run."""
    from click.testing import CliRunner

    from deepbelief.cli import cli

    words = ["--json"] if path.stat().st_size % 2 else []
    result = CliRunner().invoke(cli, ["info", str(path), *words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    estimator, data, more, _ = _runs()[name]
    estimator.set_params(checkpoint=CheckpointFile(path, every=None)).fit(*data, **more)


def mutate_sealed(rng: random.Random, content: bytes) -> bytes:
    """Return a model file with other contents, and a right length and checksum in most cases."""
    if rng.random() < 0.02:
        return mutate_bytes(rng, content)
    body = content[512:]
    body = mutate_bytes(rng, body) if rng.random() < 0.2 else mutate_hdf5(rng, content)[512:]
    return sealed(body)


TARGETS: dict[str, Target] = {
    "model": Target(make_models, mutate_sealed, use_model),
    "checkpoint": Target(make_checkpoints, mutate_sealed, use_checkpoint),
    "data": Target(make_tables, mutate_table, use_table),
}


@contextlib.contextmanager
def without_sync() -> Iterator[None]:
    """Do not wait for the disk."""
    real, os.fsync = os.fsync, lambda handle: None
    try:
        yield
    finally:
        os.fsync = real


def run(name: str, n: int, seed: int, folder: Path) -> Iterator[tuple[int, bytes, Outcome]]:
    """Yield number, content and outcome of ``n`` mutated files of a target, from this seed on."""
    target = TARGETS[name]
    with without_sync():
        good = target.make(folder)
        names = sorted(good)
        for number in range(seed, seed + n):
            rng = random.Random(f"{name} {number}")
            chosen = names[number % len(names)]
            content = target.mutate(rng, good[chosen])
            for old in folder.iterdir():
                old.unlink()
            path = folder / "file.h5"
            path.write_bytes(content)
            yield number, content, attempt(target, path, chosen)

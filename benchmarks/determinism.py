"""Hashes of the weights and outputs of small models trained from fixed seeds, to compare two states of the code.

    OPENBLAS_NUM_THREADS=1 python benchmarks/determinism.py > before.txt
    OPENBLAS_NUM_THREADS=1 python benchmarks/determinism.py | diff before.txt -

A change that only moves code leaves every line unchanged, on the same machine with the same number of threads. Each
line is the name of a run and the digest of what it learned; ``--only TEXT`` runs those with TEXT in their names.
"""

import argparse
import contextlib
import hashlib
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from deepbelief import DBN, RBM, DBNClassifier, DBNRegressor, DeepAutoencoder, RBMClassifier, RecurrentRBM, load, save
from deepbelief.checkpoints import CheckpointFile
from deepbelief.gradients import CD, FPCD, PT
from deepbelief.schedules import Exponential
from deepbelief.sources import as_source
from deepbelief.training import Reporter

RNG = np.random.default_rng(0)
BITS = (RNG.random((120, 10)) < np.linspace(0.1, 0.9, 10)).astype(np.float32)
GREY = np.clip(BITS * 0.7 + RNG.random(BITS.shape) * 0.3, 0, 1).astype(np.float32)
REAL = (RNG.normal(size=(120, 10)) @ RNG.normal(size=(10, 10)) + 3).astype(np.float32)
CODES = np.concatenate([np.eye(3)[RNG.integers(0, 3, 120)], np.eye(4)[RNG.integers(0, 4, 120)]], 1).astype(np.float32)
CLASSES = (BITS[:, 2] + 2 * BITS[:, 7]).astype(int)
LENGTHS = [30, 50, 40]
NOT_LEARNED = {"n_iter_", "resolved_"}
SMALL = {"n_iter": 4, "batch_size": 16, "random_state": 0}


class Stop(Reporter):
    """Interrupts a run at an update."""

    def __init__(self, at: int) -> None:
        self.left = at

    def update(self, epoch: int, done: int, total: int) -> None:
        """Count updates down."""
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def rbm(X: Any = BITS, **settings: Any) -> RBM:
    return RBM(6, **(SMALL | settings)).fit(X)


def again(X: Any, **settings: Any) -> RBM:
    """Return a machine that was fitted twice, and saved in between."""
    first = rbm(X, warm_start=True, **settings)
    with tempfile.TemporaryDirectory() as folder:
        save(first, Path(folder) / "rbm.h5")
        return load(Path(folder) / "rbm.h5").fit(X)


def resumed(make: Callable[[], Any], *data: Any, at: int = 13) -> Any:
    """Return a model whose run was stopped and resumed from its checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        file = CheckpointFile(Path(folder) / "run.h5", every="1 updates")
        with contextlib.suppress(KeyboardInterrupt):
            make().set_params(checkpoint=file, verbose=Stop(at)).fit(*data)
        return make().set_params(checkpoint=file).fit(*data)


def partial(n: int, **settings: Any) -> RBM:
    model = RBM(6, **(SMALL | settings))
    for start in range(0, 120, 40):
        model.partial_fit(GREY[start : start + 40])
    return model


def windows() -> DBN:
    """Return a stack trained on rows that exceed the memory limit."""
    rows = as_source(np.tile(GREY, (300, 1)))
    template = RBM(n_iter=1, batch_size=500, binarize="resample")
    return DBN((6, 4), rbm=template, memory_limit=2**20, random_state=0).fit(rows)


def stack(kind: type[Any] = DBN, **settings: Any) -> Any:
    template = settings.pop("rbm", RBM(n_iter=2, batch_size=16))
    return kind((6, 4), rbm=template, random_state=0, **settings)


EVERYTHING = {"gradient": "fpcd", "centered": True, "sparsity_target": 0.2, "averaging": 0.5, "l1": 1e-3}
RUNS: dict[str, Callable[[], Any]] = {
    "cd": rbm,
    "cd schedule steps nesterov": lambda: rbm(
        gradient=CD((1, 3), sample_visible=True), schedule="linear", nesterovs_momentum=True
    ),
    "mfcd validation": lambda: rbm(gradient="mfcd", validation_fraction=0.2, schedule=Exponential(0.1)),
    "pcd cosine": lambda: rbm(gradient="pcd", schedule="cosine", n_chains=7),
    "fpcd": lambda: rbm(gradient=FPCD(fast_rate=0.02)),
    "pt": lambda: rbm(gradient=PT(n_temperatures=4)),
    "exact": lambda: rbm(gradient="exact"),
    "float64 gaussian": lambda: rbm(REAL.astype(float)),
    "rectified": lambda: rbm(REAL, hidden="rectified", learning_rate=1e-3),
    "gaussian hidden": lambda: rbm(hidden="gaussian"),
    "softmax": lambda: rbm(CODES, visible="softmax:3,4"),
    "sparsity": lambda: rbm(sparsity_target=0.1),
    "centred": lambda: rbm(centered=True),
    "averaging l1": lambda: rbm(averaging=0.5, l1=1e-3),
    "variance": lambda: rbm(REAL, learn_variance=True, learning_rate=0.01, validation_fraction=0.2),
    "resample": lambda: rbm(GREY, binarize="resample"),
    "sample": lambda: rbm(GREY, binarize="sample"),
    "everything": lambda: rbm(**EVERYTHING),
    "sparse rows": lambda: rbm(sparse.csr_array(BITS)),
    "warm start": lambda: again(BITS, **EVERYTHING),
    "warm start variance": lambda: again(REAL, learn_variance=True, averaging=0.3),
    "partial": lambda: partial(3, centered=True, sparsity_target=0.1),
    "resumed everything": lambda: resumed(lambda: RBM(6, **(SMALL | EVERYTHING)), BITS),
    "resumed variance": lambda: resumed(lambda: RBM(6, learn_variance=True, **SMALL), REAL),
    "dbn passes": lambda: stack(n_passes=2, rbm=RBM(n_iter=2, batch_size=16, gradient="pcd")).fit(GREY),
    "dbn variance resumed": lambda: resumed(
        lambda: stack(n_passes=2, rbm=RBM(n_iter=2, batch_size=16, learn_variance=True)), REAL, at=27
    ),
    "dbn denoising": lambda: stack(pretraining="denoising").fit(GREY),
    "windows": windows,
    "diverged": lambda: rbm(REAL, learning_rate=0.2, momentum=0.9, n_iter=12, **{**EVERYTHING, "averaging": 0.9}),
    "rbm classifier": lambda: RBMClassifier(6, rbm=RBM(**SMALL), random_state=0).fit(BITS, CLASSES),
    "classifier": lambda: stack(DBNClassifier, max_iter=5, dropout=0.1, early_stopping=True).fit(GREY, CLASSES),
    "classifier resumed": lambda: resumed(
        lambda: stack(DBNClassifier, max_iter=5, solver="adam", schedule="inverse"), GREY, CLASSES, at=45
    ),
    "classifier tasks": lambda: stack(DBNClassifier, max_iter=3, solver="rmsprop").fit(GREY, np.c_[CLASSES, CLASSES]),
    "regressor": lambda: stack(DBNRegressor, max_iter=5, activation="tanh").fit(REAL, REAL[:, 0]),
    "autoencoder": lambda: stack(DeepAutoencoder, max_iter=5).fit(GREY),
    "recurrent": lambda: RecurrentRBM(5, 4, n_iter=3, pretrain_frames=2, pretrain_recurrent=2, random_state=0).fit(
        BITS, lengths=LENGTHS
    ),
    "recurrent gru": lambda: RecurrentRBM(5, 4, cell="gru", n_iter=3, random_state=0).fit(REAL, lengths=LENGTHS),
}


def digest(model: Any) -> str:
    """Return the hash of a model's fitted values, its history without the seconds, and its outputs."""
    found = hashlib.sha256()
    learned = {name: value for name, value in vars(model).items() if name.endswith("_") and name not in NOT_LEARNED}
    rows = CODES if model.n_features_in_ == 7 else BITS if isinstance(model, RecurrentRBM) else GREY
    for name in ("transform", "predict", "score_samples"):
        if hasattr(model, name):
            learned[name] = getattr(model, name)(rows)
    _feed(found, {name: learned[name] for name in sorted(learned)})
    return found.hexdigest()[:16]


def _feed(found: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        found.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, dict):
        for name, each in value.items():
            if name not in {"seconds", "diverged"}:
                found.update(str(name).encode())
                _feed(found, each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            _feed(found, each)
    elif is_dataclass(value):
        _feed(found, {field.name: getattr(value, field.name) for field in fields(value)})
    elif isinstance(value, (int, float, str, bool, type(None), np.generic)):
        found.update(repr(value).encode())


def main() -> None:
    """Print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    wanted = parser.parse_args().only
    warnings.simplefilter("ignore")
    for name, run in RUNS.items():
        if wanted in name:
            print(f"{digest(run())}  {name}", flush=True)


if __name__ == "__main__":
    main()

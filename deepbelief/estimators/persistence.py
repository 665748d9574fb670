"""Estimators and stacks to and from model files.

Files contain only data; estimators are rebuilt from a fixed list of names.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from deepbelief import hdf5
from deepbelief.activations import ACTIVATIONS
from deepbelief.backends import BACKENDS, is_backend_name
from deepbelief.components import COMPONENTS
from deepbelief.errors import FileFormatError, SettingError, unknown
from deepbelief.estimators.anomaly import AnomalyDetector
from deepbelief.estimators.autoencoder import DeepAutoencoder
from deepbelief.estimators.classifier import DBNClassifier
from deepbelief.estimators.dbn import DBN
from deepbelief.estimators.early_files import with_own_scaling
from deepbelief.estimators.fitted import FittedState
from deepbelief.estimators.rbm import RBM
from deepbelief.estimators.rbm_classifier import RBMClassifier
from deepbelief.estimators.recurrent_rbm import RecurrentRBM
from deepbelief.estimators.regressor import DBNRegressor
from deepbelief.estimators.tables import schema_of
from deepbelief.fields import restoring
from deepbelief.gradients import GRADIENTS, Denoising
from deepbelief.hdf5 import ModelFile
from deepbelief.losses import LOSSES
from deepbelief.optimizers import OPTIMIZERS
from deepbelief.recipes.resolved import choices_of_file, plain_choices
from deepbelief.recurrent.cells import CELLS
from deepbelief.schedules import SCHEDULES
from deepbelief.seeds import run_seed
from deepbelief.sources.schema import Schema
from deepbelief.stack import Stack
from deepbelief.typing import Estimator, StrDict, StrMapping

KEYS = {"strategy", "settings"}


REGISTRIES: dict[str, StrMapping] = {
    "gradient": GRADIENTS, "solver": OPTIMIZERS, "activation": ACTIVATIONS, "loss": LOSSES, "schedule": SCHEDULES,
    "components": COMPONENTS,
}  # fmt: skip
"""Registries of the classes that a file may name, by the setting that takes them. Others cannot be saved."""


def strategies() -> dict[str, type[Any]]:
    """Return the classes that a file may name: those in the registries, as ``SETTING:KEY``, and `Denoising`."""
    found = {f"{name}:{key}": kind for name, registry in REGISTRIES.items() for key, kind in registry.items()}
    return {"gradient:denoising": Denoising} | {name: kind for name, kind in found.items() if isinstance(kind, type)}


def _named_strategy(name: object) -> type[Any] | None:
    """Return the class of a name in a file; files of early versions have names of classes."""
    found = strategies()
    early = {kind.__name__: kind for kind in found.values() if kind.__module__.startswith("deepbelief.")}
    return (
        ({kind.__name__: kind for kind in found.values()} | early | found).get(name) if isinstance(name, str) else None
    )


def plain_strategy(value: Any, plain: Callable[[object], object]) -> StrDict | None:
    """Return a strategy by its name and settings, or None if its class is not in a registry.

    Parameters
    ----------
    value : object
    plain : callable
        Makes its settings plain.

    Raises
    ------
    SettingError
        If it is not a dataclass.
    """
    name = next((name for name, kind in strategies().items() if kind is type(value)), None)
    if name is None:
        return None
    if not is_dataclass(value):
        raise SettingError(
            f"{type(value).__name__} must be a dataclass, whose fields are the settings that a file keeps"
        )
    return {"strategy": name, "settings": {f.name: plain(getattr(value, f.name)) for f in fields(value)}}


def rebuild_strategy(value: StrMapping, revive: Callable[[object], Any]) -> object:
    """Return the strategy that `plain_strategy` described.

    Raises
    ------
    FileFormatError
        If this release does not have the strategy, or one of its settings.

    Examples
    --------
    >>> rebuild_strategy({"strategy": "gradient:cd", "settings": {"gibbs_steps": 3}}, lambda value: value).gibbs_steps
    3
    """
    name, settings = value["strategy"], value["settings"]
    kind = _named_strategy(name)
    if kind is None:
        raise FileFormatError(
            f"the file holds a strategy {name!r}, which is not registered: register the class before loading"
        )
    known = {f.name for f in fields(kind)} if is_dataclass(kind) else set()
    if not isinstance(settings, dict) or not set(settings) <= known:
        raise FileFormatError(f"the file's {name} has settings that this release does not support")
    return kind(**{key: revive(setting) for key, setting in settings.items()})


ESTIMATORS: dict[str, type[Estimator]] = {
    kind.__name__: kind
    for kind in (RBM, RBMClassifier, DBN, DBNClassifier, DBNRegressor, DeepAutoencoder, RecurrentRBM, AnomalyDetector)
}
"""Classes that a file may name; each has `_get_state`, `_set_state` and `_settings`, which checks as `fit` does."""

# Settings of a run, not of a model: files contain these values, and other values in a file are ignored.
TEMPLATES = ("rbm", "estimator")  # settings that are estimators or lists of estimators
OF_A_RUN = {"pretrained": None, "verbose": 0, "checkpoint": None, "memory_limit": None}


def save(estimator: Estimator, path: str | os.PathLike[str], *, metadata: StrMapping | None = None) -> None:
    """Write a fitted estimator, or a bare stack, to an HDF5 model file.

    The file is written under a temporary name and then renamed, so that an old file survives any failure.

    Parameters
    ----------
    estimator : Stack or an estimator of this package, fitted
    path : str or path
    metadata : mapping, optional
        Plain values to store in the file, returned by ``deepbelief.hdf5.read(path).metadata``.

    Raises
    ------
    SettingError
        If the estimator is not fitted, or has a setting that cannot be stored in a file.
    DataError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> from deepbelief import RBM, load, save
    >>> rbm = RBM(2, n_iter=1, random_state=0).fit(np.eye(4))
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "rbm.h5"
    >>> save(rbm, path)
    >>> bool((load(path).transform(np.eye(4)) == rbm.transform(np.eye(4))).all())
    True
    """
    hdf5.write(path, to_model_file(estimator, metadata or {}))


def load(path: str | os.PathLike[str], *, memory_limit: int | None = None) -> Estimator:
    """Read a model file and return the fitted estimator, or the stack, that it holds.

    Parameters
    ----------
    path : str or path
    memory_limit : int, optional
        Largest size of the content in bytes; by default 64 MiB plus 40 times the length of the file, but at most half
        of the machine's memory.

    Returns
    -------
    estimator or Stack
        Its predictions have the same bits as those of the saved one, on the same machine with the same versions.

    Raises
    ------
    FileFormatError
        If the file is damaged, malicious, of another kind, or of a newer version.
    DataError
        If there is no such file.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> from deepbelief import RBM, load, save
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "rbm.h5"
    >>> save(RBM(2, n_iter=1, random_state=0).fit(np.eye(4)), path)
    >>> load(path).n_components
    2
    """
    model = hdf5.read(path, memory_limit=memory_limit)
    try:
        return from_model_file(model)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error


def to_model_file(estimator: Estimator, metadata: StrMapping) -> ModelFile:
    """Return the file content for a fitted estimator."""
    if isinstance(estimator, Stack):
        return ModelFile("Stack", {}, stack=estimator, metadata=metadata)
    kind = type(estimator).__name__
    if ESTIMATORS.get(kind) is not type(estimator):
        raise SettingError(f"save takes a Stack, {', '.join(ESTIMATORS)}, got {kind}")
    if not (hasattr(estimator, "history_") or hasattr(estimator, "offset_")):
        raise SettingError(f"{kind} is not fitted: call fit before save")
    state = estimator._get_state()
    names = {} if not hasattr(estimator, "feature_names_in_") else {"feature_names_in": estimator.feature_names_in_}
    schema = schema_of(estimator)
    more: StrDict = {} if schema is None else {"schema": schema.to_dict()}
    if getattr(estimator, "resolved_", None):
        more["resolved"] = _plain(kind, "resolved", plain_choices(estimator.resolved_))
    return ModelFile(
        kind, _plain_params(estimator), stack=state.layers, pretrained=state.pretrained,
        arrays={**state.arrays, **names},
        attributes={"seed": estimator._seed, "n_features_in": estimator.n_features_in_, **more, **state.values},
        history=getattr(estimator, "history_", ()), metadata=metadata,
        parts={name: to_model_file(part, {}) for name, part in state.parts.items()},
    )  # fmt: skip


def _plain_params(estimator: Estimator) -> StrDict:
    """Return the settings as plain values."""
    return {name: _plain(type(estimator).__name__, name, v) for name, v in estimator.get_params(deep=False).items()}


def _plain(owner: str, name: str, value: Any) -> object:
    if name in OF_A_RUN:
        return OF_A_RUN[name]
    if name in TEMPLATES and ESTIMATORS.get(type(value).__name__) is type(value):
        return {"kind": type(value).__name__, "params": _plain_params(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(owner, name, v) for v in value]
    if name == "random_state" and value is not None and not isinstance(value, (int, np.integer)):
        return None  # its position is outdated; the seed drawn from it is stored separately
    if name == "backend" and is_backend_name(getattr(value, "name", None)):
        return value.name
    if name in ("visible", "hidden") and not isinstance(value, str):
        return value.spec
    if name == "cell" and not isinstance(value, str) and value in (kind() for kind in CELLS.values()):
        return value.name
    if isinstance(value, Mapping):
        return {k: _plain(owner, name, v) for k, v in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    strategy = plain_strategy(value, lambda setting: _plain(owner, name, setting))
    if strategy is not None:
        return strategy
    raise SettingError(f"{owner}({name}={value!r}) cannot be kept in a file: use one of the names, or a plain value")


def _rebuild(kind: str, params: StrMapping) -> Estimator:
    """Return an unfitted estimator of this kind."""
    if kind == hdf5.CHECKPOINT:
        raise FileFormatError("the file holds a checkpoint of a run, not a model: resume the run to get its model")
    if kind not in ESTIMATORS:
        raise FileFormatError(f"the file holds a {kind!r}, which this release does not support")
    cls = ESTIMATORS[kind]
    allowed = set(cls._get_param_names())
    if unknown := sorted(set(params) - allowed):
        raise FileFormatError(
            f"the file's {kind} has settings that this release does not support: {', '.join(unknown)}"
        )
    params = {name: value for name, value in params.items() if name not in OF_A_RUN}
    return cls(**{name: _revive_templates(v) if name in TEMPLATES else _revive(v) for name, v in params.items()})


def _revive(value: Any) -> object:
    if isinstance(value, dict) and set(value) == KEYS:
        return rebuild_strategy(value, _revive)
    return tuple(_revive(item) for item in value) if isinstance(value, list) else value


def _revive_templates(value: Any) -> Estimator:
    if isinstance(value, list):
        return [_revive_templates(v) for v in value]
    return value if value is None else _rebuild(value["kind"], value["params"])


def from_model_file(model: ModelFile) -> Estimator:
    """Return the fitted estimator in a file."""
    model = with_own_scaling(model)
    if model.kind == "Stack":
        return FittedState(model.stack, {}, {}).stack
    with restoring(f"the file's {model.kind}"):
        try:
            estimator = _rebuild(model.kind, model.params)
            if not is_backend_name(estimator.backend):
                raise FileFormatError(unknown("backend", estimator.backend, BACKENDS))
            if estimator.random_state is not None:  # otherwise NumPy's global stream would advance
                run_seed(estimator.random_state)
            estimator._settings()
            _restore(estimator, model)
        except KeyError as error:
            raise FileFormatError(f"the file's {model.kind} lacks {error}") from error
    return estimator


def _restore(estimator: Estimator, model: ModelFile) -> None:
    parts = {name: from_model_file(part) for name, part in model.parts.items()}
    state = FittedState(model.stack, model.arrays, model.attributes, model.pretrained, parts)
    estimator.n_features_in_ = state.count("n_features_in")
    estimator._seed = state.count("seed")
    if model.stack is not None:
        estimator.history_ = [dict(record) for record in model.history]
    schema = Schema.from_dict(model.attributes["schema"]) if "schema" in model.attributes else None
    if schema is not None:
        estimator.schema_ = schema
    if "resolved" in model.attributes:
        estimator.resolved_ = choices_of_file(model.attributes["resolved"])
    estimator._set_state(state)
    if model.stack is not None:
        n_inputs = n_features = state.stack.sizes[0] - getattr(estimator, "_n_labels", 0)
        if schema is not None:
            n_features = len(schema.columns) if schema.n_units == n_inputs else -1
        if estimator.n_features_in_ != n_features:
            raise FileFormatError(
                f"the file declares {estimator.n_features_in_} features, but its stack takes {n_inputs}"
            )
    if "feature_names_in" in model.arrays:
        names = estimator.feature_names_in_ = model.arrays["feature_names_in"].astype(object)
        if names.shape != (estimator.n_features_in_,) or not all(isinstance(name, str) for name in names):
            raise FileFormatError("the file's feature names must be one text for each feature")

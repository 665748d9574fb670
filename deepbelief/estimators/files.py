"""Estimators and stacks to and from model files. A file is data: estimators are rebuilt from a fixed list of names."""

import itertools
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from deepbelief import hdf5
from deepbelief.backends import BACKENDS, get_backend, is_backend_name
from deepbelief.errors import DeepBeliefError, FileFormatError, SettingError, unknown
from deepbelief.estimators.autoencoder import DeepAutoencoder
from deepbelief.estimators.base import check_number, check_sizes, rbm_settings
from deepbelief.estimators.classifier import DBNClassifier
from deepbelief.estimators.dbn import DBN, check_pretraining, layer_settings
from deepbelief.estimators.heads import ClassHead, Labels, OneClass, Tasks, Values, class_loss, value_loss
from deepbelief.estimators.rbm import RBM
from deepbelief.estimators.rbm_classifier import RBMClassifier
from deepbelief.estimators.rbm_state import plain_state, state_from_file
from deepbelief.estimators.recurrent import RecurrentRBM
from deepbelief.estimators.regressor import DBNRegressor
from deepbelief.estimators.strategies import is_strategy, plain_strategy, rebuild_strategy
from deepbelief.fields import restoring
from deepbelief.hdf5 import ModelFile
from deepbelief.optimizers import get_optimizer
from deepbelief.recurrent import CELLS, RecurrentState, RecurrentWeights, get_cell
from deepbelief.recurrent.model import NAMES
from deepbelief.seeds import run_seed
from deepbelief.sources import Scaling
from deepbelief.stack import Stack
from deepbelief.units import get_unit

Array = np.ndarray[Any, np.dtype[Any]]

ESTIMATORS: Mapping[str, type[Any]] = {
    "RBM": RBM,
    "RBMClassifier": RBMClassifier,
    "DBN": DBN,
    "DBNClassifier": DBNClassifier,
    "DBNRegressor": DBNRegressor,
    "DeepAutoencoder": DeepAutoencoder,
    "RecurrentRBM": RecurrentRBM,
}
"""Classes that a file may name; each has `_fitted_state` and `_restore` below."""

# Settings of a run, not of a model: a file holds these values, and whatever it holds is not taken from it.
OF_A_RUN = {"pretrained": None, "verbose": 0, "checkpoint": None, "memory_limit": None}


def save(estimator: Any, path: str | os.PathLike[str], *, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a fitted estimator, or a bare stack, to an HDF5 model file.

    The file is written beside its place and then moved there: an old file survives any failure.

    Parameters
    ----------
    estimator : RBM, RBMClassifier, DBN, DBNClassifier, DBNRegressor, DeepAutoencoder, RecurrentRBM or Stack
    path : str or path
    metadata : mapping, optional
        Plain values of your own, returned by ``deepbelief.hdf5.read(path).metadata``.

    Raises
    ------
    SettingError
        If it is not fitted, or has a setting that a file cannot hold.
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


def load(path: str | os.PathLike[str], *, memory_limit: int | None = None) -> Any:
    """Read a model file and return the fitted estimator, or the stack, that it holds.

    Parameters
    ----------
    path : str or path
    memory_limit : int, optional
        Bytes that the content may take; by default 64 MiB and 40 times the length of the file, but at most half of
        the machine's memory.

    Returns
    -------
    RBM, RBMClassifier, DBN, DBNClassifier, DBNRegressor, DeepAutoencoder, RecurrentRBM or Stack
        It predicts bit for bit what the saved one did, on the same machine and versions.

    Raises
    ------
    FileFormatError
        If the file is damaged, hostile, foreign, or of a newer version.
    DataError
        If there is no such file.
    """
    model = hdf5.read(path, memory_limit=memory_limit)
    try:
        return from_model_file(model)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error


def with_own_scaling(model: ModelFile) -> ModelFile:
    """Return a model that takes rows in the units of the data.

    Files of early versions keep the scaling of the command line beside the model, in their metadata.
    """
    recorded = model.metadata.get("scaling")
    if not isinstance(recorded, Mapping) or "kind" not in recorded or model.stack is None:
        return model
    try:
        own = Scaling.from_dict(recorded).map_of(model.stack.sizes[0])
    except (DeepBeliefError, TypeError, ValueError) as error:
        raise FileFormatError("its metadata hold no valid scaling") from error
    kept = {name: value for name, value in model.metadata.items() if name != "scaling"}
    metadata = {**kept, "scale": str(recorded["kind"])}
    if own is None:
        return replace(model, metadata=metadata)
    pretrained = None if model.pretrained is None else model.pretrained.after(*own)
    return replace(model, stack=model.stack.after(*own), pretrained=pretrained, metadata=metadata)


def to_model_file(estimator: Any, metadata: Mapping[str, Any]) -> ModelFile:
    """Return what a file holds of a fitted estimator."""
    if isinstance(estimator, Stack):
        return ModelFile("Stack", {}, stack=estimator, metadata=metadata)
    kind = type(estimator).__name__
    if ESTIMATORS.get(kind) is not type(estimator):
        raise SettingError(f"save takes a Stack, {', '.join(ESTIMATORS)}, got {kind}")
    if not hasattr(estimator, "history_"):
        raise SettingError(f"{kind} is not fitted: there is nothing to save")
    params = _plain_params(estimator)
    common = {"kind": kind, "params": params, "history": estimator.history_, "metadata": metadata}
    names = {} if not hasattr(estimator, "feature_names_in_") else {"feature_names_in": estimator.feature_names_in_}
    attributes = {"seed": estimator._seed, "n_features_in": estimator.n_features_in_}
    if isinstance(estimator, (RBM, RBMClassifier)):
        arrays, progress = plain_state(estimator._state)
        arrays["h_samples"] = estimator.h_samples_
        if isinstance(estimator, RBMClassifier):
            arrays["classes"], attributes["n_unlabeled"] = estimator.classes_, estimator.n_unlabeled_
        return ModelFile(
            **common, stack=Stack((estimator.weights_,)), arrays=arrays | names,
            attributes=attributes | progress | {"draws": estimator._draws},
        )  # fmt: skip
    if isinstance(estimator, RecurrentRBM):
        machine, kept = estimator.machine_, estimator._state
        arrays = machine.arrays() | {f"optimizer_{i}": a for i, a in enumerate(kept.optimizer)}
        progress = {"epochs": kept.epochs, "updates": kept.updates, "draws": estimator._draws}
        return ModelFile(
            **common, stack=Stack((machine.frame,)), arrays=arrays | names,
            attributes=attributes | progress | {"cell": machine.cell},
        )  # fmt: skip
    if isinstance(estimator, DBN):
        return ModelFile(
            **common, stack=estimator.stack_, arrays={"h_states": estimator._h_states} | names,
            attributes=attributes | {"draws": estimator._draws},
        )  # fmt: skip
    arrays = {f"coef_{i}": c for i, c in enumerate(estimator.coefs_)}
    arrays |= {f"intercept_{i}": b for i, b in enumerate(estimator.intercepts_)}
    attributes |= {"epochs": estimator._epochs}
    if isinstance(estimator, DBNClassifier):
        each = estimator.classes_
        arrays |= {f"classes_{k}": c for k, c in enumerate(each)} if isinstance(each, list) else {"classes": each}
        attributes |= {"n_unlabeled": estimator.n_unlabeled_, "targets": estimator._head.targets}
    if isinstance(estimator, DBNRegressor):
        arrays |= {"target_mean": estimator.target_mean_, "target_scale": estimator.target_scale_}
        attributes |= {"n_unlabeled": estimator.n_unlabeled_}
    return ModelFile(
        **common, stack=estimator.stack_, pretrained=estimator.pretrained_stack_, arrays=arrays | names,
        attributes=attributes,
    )  # fmt: skip


def _plain_params(estimator: Any) -> dict[str, Any]:
    """Return the settings as plain values."""
    return {name: _plain(type(estimator).__name__, name, v) for name, v in estimator.get_params(deep=False).items()}


def _plain(owner: str, name: str, value: Any) -> Any:
    if name in OF_A_RUN:
        return OF_A_RUN[name]
    if isinstance(value, RBM):
        return {"kind": "RBM", "params": _plain_params(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(owner, name, v) for v in value]
    if name == "random_state" and value is not None and not isinstance(value, (int, np.integer)):
        return None  # a generator's position is of the past; the seed that it gave is kept beside
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


def _rebuild(kind: str, params: Mapping[str, Any]) -> Any:
    """Return an unfitted estimator of this kind."""
    if kind not in ESTIMATORS:
        raise FileFormatError(f"the file holds a {kind!r}, which this release does not know")
    cls = ESTIMATORS[kind]
    allowed = set(cls._get_param_names())
    if unknown := sorted(set(params) - allowed):
        raise FileFormatError(f"the file's {kind} has settings that this release does not know: {', '.join(unknown)}")
    params = {name: value for name, value in params.items() if name not in OF_A_RUN}
    return cls(**{name: _revive_templates(v) if name == "rbm" else _revive(v) for name, v in params.items()})


def _revive(value: Any) -> Any:
    if is_strategy(value):
        return rebuild_strategy(value, _revive)
    return tuple(_revive(item) for item in value) if isinstance(value, list) else value


def _revive_templates(value: Any) -> Any:
    if isinstance(value, list):
        return [_revive_templates(v) for v in value]
    return value if value is None else _rebuild(value["kind"], value["params"])


def _check_settings(estimator: Any) -> None:
    """Refuse what `fit` would refuse."""
    if not is_backend_name(estimator.backend):
        raise FileFormatError(unknown("backend", estimator.backend, BACKENDS))
    if estimator.random_state is not None:  # else NumPy's global stream would move
        run_seed(estimator.random_state)
    if isinstance(estimator, RBM):
        rbm_settings(estimator)
        check_number("n_components", estimator.n_components, low=1, integer=True)
        return
    if isinstance(estimator, (RBMClassifier, RecurrentRBM)):
        estimator._settings()
        return
    layer_settings(estimator.rbm, len(estimator.rbm) if isinstance(estimator.rbm, list) else 1)
    check_pretraining(estimator)
    if estimator.hidden_layer_sizes != "auto":
        check_sizes(estimator.hidden_layer_sizes)
    if isinstance(estimator, (DBNClassifier, DBNRegressor, DeepAutoencoder)):
        estimator._settings()


def from_model_file(model: ModelFile) -> Any:
    """Return the fitted estimator that a file holds."""
    if model.stack is None:
        raise FileFormatError("the file holds no layers")
    model = with_own_scaling(model)
    assert model.stack is not None
    if model.kind == "Stack":
        return model.stack
    with restoring(f"the file's {model.kind}"):
        try:
            estimator = _rebuild(model.kind, model.params)
            _check_settings(estimator)
            _restore(estimator, model)
        except KeyError as error:
            raise FileFormatError(f"the file's {model.kind} lacks {error}") from error
    return estimator


def _restore(estimator: Any, model: ModelFile) -> None:
    arrays, attributes = dict(model.arrays), model.attributes
    assert model.stack is not None
    estimator.n_features_in_ = _count(attributes, "n_features_in")
    n_inputs = model.stack.sizes[0] - (arrays["classes"].size if isinstance(estimator, RBMClassifier) else 0)
    if estimator.n_features_in_ != n_inputs:
        raise FileFormatError(f"the file says {estimator.n_features_in_} features, its stack {n_inputs}")
    estimator._seed = _count(attributes, "seed")
    estimator.history_ = [dict(record) for record in model.history]
    if "feature_names_in" in arrays:
        names = estimator.feature_names_in_ = arrays["feature_names_in"].astype(object)
        if names.shape != (estimator.n_features_in_,) or not all(isinstance(name, str) for name in names):
            raise FileFormatError("the file's feature names must be one text for each feature")
    if isinstance(estimator, (RBM, RBMClassifier)):
        _restore_rbm(estimator, model.stack, arrays, attributes)
    elif isinstance(estimator, RecurrentRBM):
        _restore_recurrent(estimator, model.stack, arrays, attributes)
    elif isinstance(estimator, DBN):
        estimator.stack_ = model.stack
        top = model.stack.layers[-1].W
        estimator._h_states = _shaped(arrays["h_states"], (None, top.shape[1]), top.dtype)
        estimator._draws = _count(attributes, "draws")
    elif isinstance(estimator, DBNClassifier):
        _restore_classifier(estimator, model, arrays)
    elif isinstance(estimator, DBNRegressor):
        _restore_regressor(estimator, model, arrays)
    else:
        _restore_autoencoder(estimator, model, arrays)


def _count(attributes: Mapping[str, Any], name: str) -> int:
    """Return an attribute that counts something."""
    value = attributes[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise FileFormatError(f"the file's {name} must be an integer >= 0, got {value!r}")
    return value


def _shaped(array: Array, shape: tuple[int | None, ...], dtype: Any) -> Array:
    """Return the array, or refuse it for its shape or dtype; None stands for any number of rows but 0."""
    agrees = array.ndim == len(shape) and all(
        n == s or (s is None and n) for s, n in zip(shape, array.shape, strict=True)
    )
    if not agrees or array.dtype != dtype:
        raise FileFormatError(
            f"the file holds an array of {array.dtype} {array.shape} where {np.dtype(dtype)} {shape} belongs"
        )
    if array.dtype.kind == "i" and (array < 0).any():
        raise FileFormatError("the file holds a negative count")
    return array


def _restore_rbm(
    rbm: RBM | RBMClassifier, stack: Stack, arrays: Mapping[str, Array], attributes: Mapping[str, Any]
) -> None:
    if len(stack) != 1:
        raise FileFormatError(f"an RBM has one layer, the file holds {len(stack)}")
    weights = rbm.weights_ = stack.layers[0]
    settings = rbm._settings() if isinstance(rbm, RBMClassifier) else rbm_settings(rbm)
    for name in ("epochs", "updates", *(("averaged",) if "averaged" in attributes else ())):
        _count(attributes, name)
    rbm._state = state_from_file(arrays, attributes, weights, settings)
    rows, dtype = (None, weights.n_hidden), weights.W.dtype
    rbm.h_samples_ = _shaped(arrays["h_samples"], rows, dtype)
    rbm._draws = _count(attributes, "draws")
    if isinstance(rbm, RBMClassifier):
        rbm.classes_ = _classes(arrays["classes"])
        rbm.n_unlabeled_ = _count({"n_unlabeled": 0, **attributes}, "n_unlabeled")
        if getattr(get_unit(weights.visible), "n_labels", 0) != len(rbm.classes_):
            raise FileFormatError(f"the file has {len(rbm.classes_)} classes, but {weights.visible} visible units")


def _classes(classes: Array) -> Array:
    """Return the classes of a task, or refuse them."""
    if classes.ndim != 1 or len(classes) < 2 or not np.array_equal(np.unique(classes), classes):
        raise FileFormatError("the file's classes must be at least two, sorted, and each there once")
    return classes


def _restore_recurrent(
    rnn: RecurrentRBM, stack: Stack, arrays: Mapping[str, Array], attributes: Mapping[str, Any]
) -> None:
    if len(stack) != 1:
        raise FileFormatError(f"a RecurrentRBM has one layer, the file holds {len(stack)}")
    frame, cell = stack.layers[0], str(attributes["cell"])
    get_cell(cell)  # refuses an unknown name
    dtype = frame.W.dtype
    for name in NAMES:
        if arrays[name].dtype != dtype:
            raise FileFormatError(f"the file's {name} is of {arrays[name].dtype}, its layer of {dtype}")
    rnn.machine_ = RecurrentWeights(frame, **{name: arrays[name] for name in NAMES}, cell=cell)
    params = [frame.W, frame.vbias, frame.hbias, *(arrays[name] for name in NAMES)]
    solver = get_optimizer(rnn.solver, nesterov=False)
    started = solver.start(get_backend("numpy"), params) if "optimizer_0" in arrays else []
    kept = [_shaped(arrays[f"optimizer_{i}"], a.shape, a.dtype) for i, a in enumerate(started)]
    rnn._state = RecurrentState(kept, _count(attributes, "epochs"), _count(attributes, "updates"))
    rnn._draws = _count(attributes, "draws")


def _restore_classifier(clf: DBNClassifier, model: ModelFile, arrays: Mapping[str, Array]) -> None:
    assert model.stack is not None
    clf._head = _class_head(clf, model.attributes.get("targets", "classes"), arrays)
    clf.classes_ = clf._head.classes
    _restore_network(clf, model, arrays, (*model.stack.sizes, clf._head.n_outputs))
    clf.n_unlabeled_ = _count(model.attributes, "n_unlabeled")


def _class_head(clf: DBNClassifier, targets: Any, arrays: Mapping[str, Array]) -> ClassHead:
    """Return the head of a classifier with these targets and classes."""
    loss, several = class_loss(clf.loss), targets == "tasks"
    if targets not in ("classes", "tasks", "labels") or (targets == "labels") != (loss.targets == "labels"):
        raise FileFormatError(f"the file's targets {targets!a} do not go with loss={clf.loss!r}")
    if targets == "labels":
        head = Labels(arrays["classes"].size, loss)
        if not np.array_equal(arrays["classes"], head.classes):
            raise FileFormatError("the file's classes must be the numbers of its labels, from 0")
        return head
    n_tasks = sum(name.startswith("classes_") for name in arrays)
    names = [f"classes_{k}" for k in range(max(2, n_tasks))] if several else ["classes"]
    for name in names:
        _classes(arrays[name])
    if several:
        weights = None if clf.task_weights is None else tuple(map(float, clf.task_weights))
        return Tasks([arrays[name] for name in names], weights)
    return OneClass(arrays["classes"], loss)


def _restore_regressor(regressor: DBNRegressor, model: ModelFile, arrays: Mapping[str, Array]) -> None:
    assert model.stack is not None
    mean = _shaped(arrays["target_mean"], (None,), np.float64)
    scale = _shaped(arrays["target_scale"], mean.shape, np.float64)
    if not (scale > 0).all():
        raise FileFormatError("the file's scale of the targets must be > 0")
    regressor._keep(Values(mean, scale, value_loss(regressor.loss)))
    regressor.n_unlabeled_ = _count({"n_unlabeled": 0, **model.attributes}, "n_unlabeled")
    _restore_network(regressor, model, arrays, (*model.stack.sizes, len(mean)))


def _restore_autoencoder(autoencoder: DeepAutoencoder, model: ModelFile, arrays: Mapping[str, Array]) -> None:
    assert model.stack is not None
    sizes = model.stack.sizes
    _restore_network(autoencoder, model, arrays, (*sizes, *sizes[-2::-1]))
    autoencoder._loss()  # refuses what does not go with the stack
    autoencoder._check_tied(any(weights.mean is not None for weights in autoencoder.pretrained_stack_.layers[1:]))


def _restore_network(estimator: Any, model: ModelFile, arrays: Mapping[str, Array], sizes: tuple[int, ...]) -> None:
    """Restore the layers of a fine-tuned network of these widths, and the stacks that go with it."""
    assert model.stack is not None
    if model.pretrained is None or model.pretrained.sizes != model.stack.sizes:
        raise FileFormatError("the file's pretrained and fine-tuned stacks do not agree")
    shapes, dtype = list(itertools.pairwise(sizes)), model.stack.layers[-1].W.dtype
    estimator.coefs_ = [_shaped(arrays[f"coef_{i}"], shape, dtype) for i, shape in enumerate(shapes)]
    estimator.intercepts_ = [_shaped(arrays[f"intercept_{i}"], (shape[1],), dtype) for i, shape in enumerate(shapes)]
    estimator.stack_, estimator.pretrained_stack_ = model.stack, model.pretrained
    estimator._epochs = _count(model.attributes, "epochs")

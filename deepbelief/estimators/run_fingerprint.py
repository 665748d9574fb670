"""Fingerprint of a run, compared on resume: its settings and its data, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator

from deepbelief.hyperparameters import EXECUTION
from deepbelief.sources import RowSource, digest, fingerprint, weights_of
from deepbelief.stack import Stack
from deepbelief.typing import Array, Estimator, StrDict, WeightsLike

TOLD_ONLY = ("verbose", "checkpoint")
OF_TEMPLATES = ("n_components", *EXECUTION)  # ignored by a DBN


def describe_run(
    estimator: Estimator, source: RowSource, targets: Array | None = None, weights: WeightsLike = None, *,
    lengths: Array | None = None, start: Sequence[object] = (),
) -> tuple[StrDict, StrDict]:  # fmt: skip
    """Return the settings and the data of a run; ``start`` contains the initial arrays of a warm start.

    ``lengths`` are the lengths of the sequences that the rows consist of.
    """
    settings, weights = _settings(estimator), weights_of(source) if weights is None else weights
    if start:
        settings["start"] = [digest(np.asarray(array)) for array in start]
    data: StrDict = fingerprint(source)
    if lengths is not None:
        data["sequences"] = len(lengths)
    for name, array in (("lengths", lengths), ("targets", targets), ("sample_weight", weights)):
        if array is not None:
            data[name] = digest(np.asarray(array))
    return settings, data


def _settings(estimator: Estimator, without: Sequence[str] = ()) -> StrDict:
    params = estimator.get_params(deep=False)
    return {name: _plain(value) for name, value in params.items() if name not in (*TOLD_ONLY, *without)}


def _plain(value: object) -> object:
    """Return a setting as plain values that are equal in all processes."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return digest(value)
    if isinstance(value, Stack):
        return [digest(array) for weights in value for array in weights.arrays().values()]
    if isinstance(value, BaseEstimator):
        return {"kind": type(value).__name__, **_settings(value, OF_TEMPLATES)}
    return _known_by_name(value)


def _known_by_name(value: object) -> object:
    """Return the name of a function or of a strategy's class, with the settings of the strategy."""
    if isinstance(value, (np.random.Generator, np.random.RandomState)):
        return None  # its position has changed; the checkpoint contains the seed
    if is_dataclass(value) and not isinstance(value, type):
        return {"kind": type(value).__name__, **{f.name: _plain(getattr(value, f.name)) for f in fields(value)}}
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"

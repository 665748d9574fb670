"""Columns of data for a model: matched by name where both have names, else by position with a note."""

import re
import warnings
from dataclasses import replace
from typing import Any, TypeAlias

import click

from deepbelief.datasets import DataSet
from deepbelief.errors import DataError, DataWarning
from deepbelief.sources import match_columns, named
from deepbelief.sources.content import names_text

from ._text import clean

LABEL_HINT = "; name the column of the labels with --labels"
Model: TypeAlias = Any  # that of `_inputs`, which imports this module


def model_names(model: Model) -> list[str] | None:
    """Return the names of the features that a model was trained on; None where the file has none."""
    names = getattr(model.estimator, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def matched(model: Model, spec: str, data: DataSet) -> DataSet:
    """Return data whose columns are those of the training data, in their order.

    Raises
    ------
    DataError
        If columns are missing or additional; the message names them.
    """
    wanted, have = model_names(model), data.feature_names
    if wanted is None or have is None:
        return _by_position(model, spec, data, wanted)
    label = model.recorded("labels", str)
    try:
        rows = match_columns(data.rows, have, wanted, leave_out=label)
    except DataError as error:
        one_more = data.labels is None and len(have) == len(wanted) + 1 and set(wanted) < set(have)
        raise DataError(f"{spec}: {error}{LABEL_HINT if one_more else ''}") from error
    if [name for name in have if name != label or name in wanted] != wanted:
        click.echo(f"{clean(spec)}: columns put in the order of those that {clean(model.path)} has", err=True)
    return replace(data, rows=rows, feature_names=wanted)


def _by_position(model: Model, spec: str, data: DataSet, wanted: list[str] | None) -> DataSet:
    """Return data of which, or of whose model, the columns have no names."""
    width = data.rows.shape[1]
    if width != model.n_features:
        hint = LABEL_HINT if data.labels is None and width == model.n_features + 1 else ""
        raise DataError(f"{spec} has {width} features, {model.path} was trained on {model.n_features}{hint}")
    if wanted is not None:
        _note(f"{spec} has no column names: its columns are assumed to be in the order of {names_text(wanted)}")
    elif data.feature_names is not None:
        _note(f"{model.path} has no column names: the columns of {spec} are taken by position")
    return replace(data, rows=named(data.rows, wanted), feature_names=wanted)


def _note(message: str) -> None:
    warnings.warn(DataWarning(message, symptom="column-names"), stacklevel=3)


def label_record(data: DataSet, labels: str | None) -> str | None:
    """Return the name of a label column that was given by its index, so that it is found in any order."""
    name = data.label_name
    if labels is None or not name or not re.fullmatch(r"-?\d{1,9}", labels) or re.fullmatch(r"-?\d{1,9}", name):
        return labels
    return name

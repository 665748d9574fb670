"""Models and data for a command: what was recorded in training is applied again."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import click
import numpy as np

from deepbelief import hdf5
from deepbelief.datasets import BUILTIN, OPENML, DataSet
from deepbelief.datasets import open as open_data
from deepbelief.errors import DataError, DataWarning, FileFormatError, SettingError
from deepbelief.losses import get_loss
from deepbelief.sources import SubsetSource, column_statistics
from deepbelief.sources.files import split_spec
from deepbelief.sources.formats import FORMATS, format_of
from deepbelief.sources.label_values import MAX_EXACT, is_number
from deepbelief.stack import Stack
from deepbelief.typing import Array, Estimator, StrDict

from ._columns import label_record, matched, model_names
from ._files import absolute
from ._text import clean

Metadata = StrDict

TASKS = {
    "DBNClassifier": "classifier",
    "RBMClassifier": "classifier",
    "DBNRegressor": "regressor",
    "DeepAutoencoder": "autoencoder",
}


@dataclass(frozen=True, eq=False)
class Model:
    """A model file, read: the estimator (or bare stack), and what the file records of its training."""

    path: str
    estimator: Estimator
    stack: Stack
    metadata: Metadata

    @property
    def kind(self) -> str:
        """The class of the model."""
        return type(self.estimator).__name__

    @property
    def task(self) -> str | None:
        """Task of fine-tuning: a classifier, a regressor or an autoencoder; None: it is not."""
        return TASKS.get(self.kind)

    @property
    def is_classifier(self) -> bool:
        """Whether it predicts classes."""
        return self.task == "classifier"

    @property
    def is_regressor(self) -> bool:
        """Whether it predicts numbers."""
        return self.task == "regressor"

    @property
    def is_autoencoder(self) -> bool:
        """Whether it encodes and decodes as a whole."""
        return self.task == "autoencoder"

    @property
    def is_sequences(self) -> bool:
        """Whether it is a model of sequences."""
        return self.kind == "RecurrentRBM"

    @property
    def n_targets(self) -> int:
        """Number of columns of `predict`."""
        if self.is_regressor:
            return len(self.estimator.target_mean_)
        classes = self.estimator.classes_
        return len(classes) if isinstance(classes, list) or self.predicts_labels else 1

    @property
    def predicts_labels(self) -> bool:
        """Whether it predicts a 0/1 matrix."""
        loss = getattr(self.estimator, "loss", "auto") if self.is_classifier else "auto"
        return loss != "auto" and get_loss(loss).targets == "labels"

    @property
    def tuned(self) -> bool:
        """Whether its layers are fine-tuned."""
        return self.stack.tuned

    @property
    def for_autoencoder(self) -> bool:
        """Whether it was pretrained to become an autoencoder."""
        return self.metadata.get("autoencoder") is True

    @property
    def n_features(self) -> int:
        """Number of inputs; labels that are units beside them do not count."""
        return getattr(self.estimator, "n_features_in_", self.stack.sizes[0])

    @property
    def schema(self) -> Any:
        """Schema of a table's columns; None where rows are plain numbers."""
        return getattr(self.estimator, "schema_", None)

    @property
    def handle_unknown(self) -> str:
        """Treatment of a category that training rows did not have."""
        template = getattr(self.estimator, "rbm", None) if self.kind != "RBM" else self.estimator
        first = template[0] if isinstance(template, (list, tuple)) and template else template
        recorded = self.metadata.get("handle_unknown", "error")
        return str(getattr(first, "handle_unknown", recorded if isinstance(recorded, str) else "error"))

    @property
    def scale(self) -> str:
        """The scale that was chosen for the training data."""
        recorded = self.metadata.get("scale", "none")
        return recorded if isinstance(recorded, str) else "none"

    def recorded(self, key: str, kind: type) -> Any:
        """Return what the file says of its training data, if it does."""
        data = self.metadata.get("data")
        value = data.get(key) if isinstance(data, Mapping) else None
        return value if type(value) is kind else None


def read_model(
    path: str, *, sequences: bool = False, detectors: bool = False, backend: str | None = None
) -> Model:  # fmt: skip
    """Read a model file; those of sequences and outlier detectors only for a command that takes them.

    With ``backend``, its estimator uses that one.

    Raises
    ------
    FileFormatError
        If it cannot be used.
    SettingError
        If it holds a model of sequences and the command does not take these, or a model without layers.
    """
    file = hdf5.read(path)
    # scikit-learn comes with it: after all that may be wrong
    from deepbelief.estimators.early_files import with_own_scaling
    from deepbelief.estimators.persistence import from_model_file

    if file.kind == "RecurrentRBM" and not sequences:
        raise SettingError(
            f"{path} holds a model of sequences: only evaluate, sample, report and info accept it, and "
            "deepbelief.load in Python"
        )
    try:
        file = with_own_scaling(file)
        estimator = from_model_file(file)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error
    if file.stack is None and not detectors:
        raise SettingError(
            f"{path} holds an estimator of kind {file.kind}, which has no stack of layers: only info and outliers "
            "accept it, and deepbelief.load in Python"
        )
    if backend is not None and hasattr(estimator, "set_params"):
        estimator.set_params(backend=backend)
    return Model(path, estimator, cast(Stack, file.stack), dict(file.metadata))


def describe_data(data: DataSet, *, labels: str | None, limit: int | None, data_dir: str | None) -> Metadata:
    """Return the plain values that let later commands open the same data again."""
    values = {
        "source": data.source_path,
        "name": data.name,
        "rows": data.rows.shape[0],
        "labels": absolute(label_record(data, labels)),
        "limit": limit,
        "data_dir": None if data_dir is None else str(Path(data_dir).expanduser().resolve()),
        "first_index": data.first_index,
    }
    return {key: value for key, value in values.items() if value is not None}


def data_for(
    model: Model, spec: str | None, *, labels: str | None = None, limit: int | None = None, data_dir: str | None = None,
    handle_unknown: str | None = None, need_labels: bool = False, numbers: bool = False, held_out: bool = False,
    holdout: tuple[float, int] | None = None,
) -> tuple[DataSet, Metadata]:  # fmt: skip
    """Open data for a model; those very data where none are named.

    Parameters
    ----------
    model : Model
    spec, labels, limit, data_dir
        As typed; None: as recorded in the model.
    handle_unknown : {"error", "missing"}, optional
        Of a table; None: as the model does.
    need_labels : bool
        Whether rows without labels are an error.
    numbers : bool
        Whether such labels are real values rather than classes.
    held_out : bool
        Whether to prefer the test split of the recorded data, or the rows held out of training.
    holdout : (share, seed), optional
        Leave these rows out of data of which none were held out so far.

    Returns
    -------
    data, origin : DataSet, dict
        The rows and labels, and the plain values by which they are found again.

    Raises
    ------
    DataError
        If the data do not fit the model.
    """
    where: Metadata = {"labels": labels, "limit": limit, "data_dir": data_dir or model.recorded("data_dir", str)}
    named, record = spec is not None, model.recorded("holdout", dict)
    if spec is None:
        spec, where = _recorded(model, where, held_out)
    elif labels is None:
        where["labels"] = _recorded_labels(model, spec, need_labels)
    data = _open(model, spec, where, handle_unknown)
    origin = describe_data(data, **where)
    if record is not None and is_recorded(model, data) and not (named and held_out):
        if holdout is not None and holdout[0] != record["fraction"]:
            raise SettingError(
                f"pretraining held out a share of {record['fraction']:g} of these rows: leave --holdout out"
            )
        data, origin = _part(data, record, held_out, limit), origin | {"holdout": record}
    elif holdout is not None:
        from ._holdout import hold_out

        data, record = hold_out(data, *holdout)
        origin |= {"holdout": record}
    origin["rows"] = data.rows.shape[0]
    if need_labels:
        data = replace(data, labels=numbers_of(data) if numbers else classes_of(data))
    return data, origin


def is_recorded(model: Model, data: DataSet) -> bool:
    """Return whether data are those that the model was trained on."""
    return bool(data.source_path == model.recorded("source", str))


def _part(data: DataSet, record: Metadata, held_out: bool, limit: int | None) -> DataSet:
    """Return the rows held out of training, or all others; the first of them if these are limited."""
    from ._holdout import part

    data = part(data, record, held_out=held_out)
    if not held_out:
        return data
    click.echo(f"Using the {data.rows.shape[0]} rows held out of training", err=True)
    if limit is None:
        return data
    first = np.arange(min(limit, data.rows.shape[0]))
    return replace(
        data, rows=SubsetSource(data.rows, first), labels=None if data.labels is None else data.labels[first]
    )


def _recorded(model: Model, where: Metadata, held_out: bool) -> tuple[str, Metadata]:
    """Return the recorded data, or their test split if it is preferred, and report which."""
    source = model.recorded("source", str)
    if source is None:
        raise DataError(f"{model.path} does not record its training data; pass DATA explicitly")
    where = {**where, "labels": where["labels"] or model.recorded("labels", str)}
    if held_out and (source in OPENML or Path(source).is_dir()):
        click.echo(f"Using {clean(source)}:test", err=True)
        return f"{source}:test", where
    record = model.recorded("holdout", dict)
    if where["limit"] is None or (held_out and record is not None):
        where["limit"] = model.recorded("limit", int)
    if held_out and record is not None:
        return source, where
    first = f", the first {where['limit']} rows" if where["limit"] else ""
    click.echo(f"Using {clean(source)}{first}, the training data", err=True)
    return source, where


def _recorded_labels(model: Model, spec: str, need_labels: bool) -> str | None:
    """Return the recorded name of the labels if the named data hold them too."""
    recorded = model.recorded("labels", str)
    if (
        recorded is None
        or spec.partition(":")[0] in BUILTIN
        or (absolute(recorded) == recorded and Path(recorded).is_file())
    ):
        return None
    if not FORMATS[format_of(split_spec(spec)[0])].labelled:
        return None
    if need_labels:
        return str(recorded)
    if model.schema is not None:
        from deepbelief.sources.table_files import column_names

        return str(recorded) if recorded in column_names(spec) and recorded not in model.schema.names else None
    try:
        first = open_data(spec, scale="none", limit=1, n_features=model.n_features)
    except DataError:  # a column of words
        return str(recorded)
    names = model_names(model)
    if first.feature_names is not None and names is not None:
        return str(recorded) if recorded in first.feature_names and recorded not in names else None
    return None if first.rows.shape[1] == model.n_features else str(recorded)


def _open(model: Model, spec: str, where: Metadata, handle_unknown: str | None = None) -> DataSet:
    """Open data and check that they fit the model."""
    if model.schema is not None:
        known = None if model.schema.alphabet else model.handle_unknown  # unknown letters are gaps
        how = {"schema": model.schema, "handle_unknown": handle_unknown or known}
        return open_data(spec, scale="none", **where, table=how)
    if handle_unknown is not None:
        raise SettingError(f"--handle-unknown is for models of tables with categories, which {model.path} is not")
    first_index = model.recorded("first_index", int)
    data = open_data(spec, scale="none", n_features=model.n_features, first_index=first_index, **where)
    data = matched(model, spec, data)
    statistics = column_statistics(data.rows)  # refuses NaN and infinity
    if model.scale == "255" and float(statistics.max.max()) < 1.5:
        message = f"no value is above 1, but {model.path} divides by 255 as in training: pass values from 0 to 255"
        warnings.warn(DataWarning(message, symptom="other-units"), stacklevel=2)
    return data


def _labels(data: DataSet) -> Array:
    """Return the labels, which must be there."""
    if data.labels is None:
        raise DataError(f"{data.name} has no labels: name them with --labels (a column, a key or a file)")
    return data.labels


def numbers_of(data: DataSet) -> Array:
    """Return the labels as real values, NaN where there is none."""
    labels = _labels(data)
    if labels.dtype.kind in "iuf":
        return labels.astype(np.float64)
    for row, label in enumerate(labels):
        if label is not None and not is_number(str(label)):
            raise DataError(
                f"{data.name}: a regressor needs numbers, but the label of row {row} (from 0) is {clean(label)!r}"
            )
    return np.array([np.nan if label is None else float(label) for label in labels])


def has_numbers(data: DataSet) -> bool:
    """Return whether the labels are numbers that are not classes, for a regressor."""
    labels = _labels(data)
    return labels.dtype.kind == "f" and len(_not_classes(labels)) > 0


def _not_classes(labels: Array) -> Array:
    """Return the rows whose numbers are not integers, or too large to be exact."""
    wrong = (labels != np.rint(labels)) | (np.abs(labels) > MAX_EXACT)
    return np.flatnonzero(~np.isnan(labels) & wrong)


def classes_of(data: DataSet) -> Array:
    """Return the labels as integers or texts."""
    labels = _labels(data)
    if labels.dtype.kind != "f":
        return labels
    broken = _not_classes(labels)
    if len(broken):
        raise DataError(
            f"{data.name}: the label of row {broken[0]} (from 0) is {labels[broken[0]]:g}, which is not a class; "
            "use finetune --regression for numbers"
        )
    known = ~np.isnan(labels)
    if known.all():
        return labels.astype(np.int64)
    return np.array([int(label) if there else None for label, there in zip(labels, known, strict=True)], object)

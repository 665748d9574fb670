"""Tables of mixed columns for estimators, encoded as rows of visible units and decoded back into tables.

An estimator fitted on such a table has a ``schema_``. Settings of the columns, like all settings of the rows, are in
the template of the first layer.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import is_classifier, is_regressor
from sklearn.utils.validation import validate_data

from deepbelief import hdf5
from deepbelief.components import Component, MultiPrediction, Smooth
from deepbelief.errors import DataError, DataWarning, Mention, SettingError, unknown, user_level
from deepbelief.recipes.density_rules import DENSITY, density_rate
from deepbelief.recipes.presets import PRESETS
from deepbelief.recipes.resolved import Resolved
from deepbelief.schedules import warm_up_decay
from deepbelief.settings import RBMSettings
from deepbelief.sources import RowSource
from deepbelief.sources.frames import Frame, as_frame, check_different_names, is_table, needs_schema, with_columns
from deepbelief.sources.ratings import LIBRARY as RATINGS
from deepbelief.sources.schema import Schema, table_schema
from deepbelief.sources.table_columns import Column, numbers_of
from deepbelief.typing import Array, Estimator, RowsLike, StrDict, StrMapping, TableLike

N_UPDATES = 2000  # of a table's layer
TABLE_DEFAULTS: StrMapping = {
    **DENSITY,
    "n_chains": DENSITY["batch_size"],
    "gibbs_steps": 5,
    "schedule": warm_up_decay,
}
"""Automatic settings of an `RBM` for a table with a schema."""
RATING_DEFAULTS: StrMapping = {**TABLE_DEFAULTS, "weight_decay": 1e-2}
"""Automatic settings for ratings, where a row has few values."""
FOR_TABLES = "the recipe for tables of mixed columns"


def schema_of(model: Estimator) -> Schema | None:
    """Return the schema of a fitted model; None if it was not fitted on a table of mixed columns."""
    return getattr(model, "schema_", None)


def is_mixed(schema: Schema | None) -> bool:
    """Return whether a schema describes a table of mixed columns, rather than aligned sequences or ratings."""
    return schema is not None and not schema.alphabet and schema.library != RATINGS


def _template(estimator: Estimator, name: str, default: object) -> Any:
    """Return a setting of the first layer's template."""
    rbm = estimator if hasattr(estimator, name) else getattr(estimator, "rbm", None)
    if isinstance(rbm, (list, tuple)) and rbm:
        rbm = rbm[0]
    return getattr(rbm, name, default)


def _given_schema(estimator: Estimator) -> Schema | None:
    """Return the schema of the model given as ``pretrained=``."""
    given = getattr(estimator, "pretrained", None)
    if isinstance(given, (str, Path)):
        found = hdf5.read(given).attributes.get("schema")
        return None if found is None else Schema.from_dict(found)
    return schema_of(given)


def encoded(
    estimator: Estimator, X: RowsLike, *, reset: bool, min_rows: int = 1, weights: Array | None = None
) -> RowsLike:  # fmt: skip
    """Return a table as rows of visible units, or None if X needs no encoding.

    Parameters
    ----------
    estimator : estimator
        Estimator on which schema, names and number of the columns are set, or which is fitted and has them.
    X : object
        Rows of any kind. A `RowSource` is never a table: it has rows of visible units, possibly with the schema of a
        file.
    reset : bool
        Whether the estimator is being fitted.
    min_rows : int, default=1
    weights : ndarray of shape (n_rows,), optional
        Weights of training rows.

    Returns
    -------
    ndarray of shape (n_rows, n_units), RowSource of this shape, or None
    """
    if reset and table_schema(X) is not None:
        return _adopted(estimator, X, min_rows)
    if is_table(X):
        check_different_names(X)
    if reset:
        schema = _fitted_schema(estimator, X, weights)
        if schema is None:
            if hasattr(estimator, "schema_"):
                del estimator.schema_
            return None
        estimator.schema_ = schema
    else:
        schema = schema_of(estimator)
        if schema is not None and schema.library == RATINGS and sparse.issparse(X):
            raise DataError("the model was fitted on Ratings: pass Ratings(X), whose absent entries are missing, not 0")
        if schema is None or not (is_table(X) or _is_array(X)):
            return None
    check_names(estimator, X, schema.names, reset=reset)
    units = schema.encode(X, handle_unknown=_template(estimator, "handle_unknown", "error"))
    _check_count(estimator, len(units), min_rows)
    return units


def _adopted(estimator: Estimator, source: RowSource, min_rows: int) -> RowSource:
    """Return rows that have a schema, after adopting the schema."""
    schema = table_schema(source)
    assert schema is not None
    _check_count(estimator, source.shape[0], min_rows)
    _check_visible(estimator)
    estimator.schema_ = schema
    estimator.n_features_in_ = len(schema.columns)
    estimator.feature_names_in_ = np.array(schema.names, dtype=object)
    return source


def _check_count(estimator: Estimator, n_rows: int, min_rows: int) -> None:
    if n_rows < min_rows:
        name = type(estimator).__name__
        raise DataError(f"found {n_rows} sample(s) while a minimum of {min_rows} is required by {name}")


def _check_visible(estimator: Estimator) -> None:
    """Refuse a given type of visible units for a table, whose columns are softmax groups."""
    visible = _template(estimator, "visible", "auto")
    if visible != "auto":
        raise SettingError(
            Mention("visible"), " must be 'auto' for a table with text, categories, booleans or ", Mention("columns"),
            f", got {visible!r}. Encode the columns as numbers first, or leave it out.", setting="visible",
        )  # fmt: skip


def _is_array(X: RowsLike) -> bool:
    return isinstance(X, (np.ndarray, list, tuple)) and not sparse.issparse(X)


def _fitted_schema(estimator: Estimator, X: RowsLike, weights: Array | None) -> Schema | None:
    """Return the schema for fitting on these rows; None if they need none."""
    if not (is_table(X) or _is_array(X)):
        return None
    given, columns = _given_schema(estimator), _template(estimator, "columns", None)
    if given is not None:
        return given
    numbers = _template(estimator, "visible", "auto") == "auto"
    if columns is None and not needs_schema(X, numbers=numbers):
        return None
    _check_visible(estimator)
    labelled = is_classifier(estimator) or is_regressor(estimator)
    schema = Schema.fit(X, columns, weights=weights, labelled=labelled)
    told = [column for column in schema.columns if column.reason != "as asked"]
    warn_dropped(told, "; ", Mention("columns"), " names the kinds of columns")
    return schema


def warn_dropped(columns: Iterable[Column], *advice: object) -> None:
    """Warn of columns that are left out of a model, with the reason."""
    dropped = "; ".join(f"{column.name!r} ({column.reason})" for column in columns if column.kind == "dropped")
    if dropped:
        warning = DataWarning(f"left out of the model: {dropped}", *advice, symptom="dropped-columns")
        warnings.warn(warning, stacklevel=user_level())


def check_names(estimator: Estimator, X: RowsLike, names: Sequence[str], *, reset: bool) -> None:
    """Check the number and names of a table's columns as scikit-learn does; with ``reset``, store them."""
    if not isinstance(X, Mapping):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
    elif reset:
        estimator.n_features_in_ = len(names)
        estimator.feature_names_in_ = np.array(names, dtype=object)


def table_settings(
    settings: RBMSettings, schema: Schema | None, n_hidden: int, n_rows: int = 0, *, imputes: bool = False
) -> RBMSettings:
    """Return the settings of the first layer with automatic ones set for tables.

    Parameters
    ----------
    settings : RBMSettings
    schema : Schema or None
        None: the settings are returned unchanged.
    n_hidden : int
    n_rows : int, default=0
        Number of training rows; 0: the number of epochs does not change.
    imputes : bool, default=False
        Whether weights for imputation are also trained.

    Returns
    -------
    RBMSettings
    """
    if schema is None:
        return settings
    if not settings.is_model:
        return replace(settings, visible=schema.visible, scale="none", binarize=None)
    defaults = TABLE_DEFAULTS if schema.library != RATINGS else RATING_DEFAULTS
    chosen = {name: ours for name, ours in defaults.items() if name in settings.automatic}
    if settings.learning_rate == "auto" and "solver" in chosen:
        chosen["learning_rate"] = density_rate(n_hidden)
    if settings.n_iter == "auto" and n_rows:
        size = chosen.get("batch_size", settings.batch_size)
        chosen["n_iter"] = max(1, round(PRESETS[settings.preset].pretraining * N_UPDATES / -(-n_rows // int(size))))
    told = {name: Resolved("warm-up and decay" if name == "schedule" else v, FOR_TABLES) for name, v in chosen.items()}
    given = {component.name for component in settings.components}
    own: list[Component] = [Smooth(schema.grids)] if schema.grids else []
    if imputes and is_mixed(schema):
        own.append(MultiPrediction(groups=schema.grids))
    chosen["components"] = (*settings.components, *(component for component in own if component.name not in given))
    resolved = {**settings.resolved, **told}
    return replace(settings, visible=schema.visible, scale="none", binarize=None, resolved=resolved, **chosen)


def decoded(
    model: Estimator,
    rows: RowsLike,
    random: np.random.SeedSequence | np.random.Generator | None = None,
    *,
    gaps: bool = False,
    clamp: Mapping[str, Sequence[object]] | None = None,
) -> RowsLike:
    """Decode rows of a model's visible units into a table; without a schema they are returned unchanged.

    Parameters
    ----------
    model : fitted estimator
    rows : ndarray of shape (n_rows, n_units)
        Means of the units.
    random : SeedSequence or Generator, optional
        Draw categories and numbers from the means, instead of returning the most probable category and the mean number.
    gaps : bool, default=False
        Also draw which values are missing, as in the training rows.
    clamp : mapping of str to sequence, optional
        Values of `Clamped`, for all rows or for each.

    Returns
    -------
    DataFrame, Table or ndarray
    """
    schema = schema_of(model)
    if schema is None:
        if gaps:
            raise SettingError(
                "`missing` is for models of tables, whose training rows had missing values; leave it out"
            )
        return rows
    rng = None if random is None else np.random.default_rng(random)
    found = schema.decode(np.asarray(rows), random=rng, gaps=gaps)
    return schema.table(_with_clamped(found, clamp or {}))


class Clamped(NamedTuple):
    """Clamped values of a table.

    Parameters
    ----------
    units : ndarray of shape (n_rows, n_units)
        NaN where a unit is free.
    values : dict of str to list
        Values as given, by column; None where a value is free.
    """

    units: Array
    values: dict[str, list[object]]


def clamped(schema: Schema, clamp: RowsLike, n_samples: int) -> Clamped:
    """Return the clamped values of a table; columns that are not named are free.

    Parameters
    ----------
    schema : Schema
    clamp : mapping of str to value or sequence, DataFrame or Table
    n_samples : int

    Raises
    ------
    DataError
        If the values are neither one row nor one for each sample, or do not fit the columns.
    """
    if not is_table(clamp):
        raise DataError(f"`clamp` must map names of columns to values, or be a table, got {type(clamp).__name__}.")
    frame = _clamped_frame(clamp, n_samples)
    given: dict[str, list[object]] = {}
    for i, name in enumerate(frame.names):
        values, missing = frame.column(i)
        if _holds_numbers(schema.column(name)) and not frame.numeric[i]:  # such as numbers in texts
            known = numbers_of(values[~missing], name, missing)
            values = np.full(len(values), np.nan)
            values[~missing] = known
        given[name] = [None if free else value for value, free in zip(values.tolist(), missing, strict=True)]
    free: dict[str, list[object]] = {name: [None] * frame.n_rows for name in schema.names}
    return Clamped(schema.encode({**free, **given}, gaps=False), given)


def _holds_numbers(column: Column | None) -> bool:
    """Return whether a column holds numbers other than categories, in the model or left out of it."""
    if column is None or column.kind == "category":
        return False
    return column.kind == "number" or column.dtype.lower().startswith(("int", "uint", "float"))


def in_order(model: Estimator, clamp: RowsLike, n_samples: int) -> RowsLike:
    """Return the clamped values of a model of plain numbers as an array, in the order of the model's columns.

    Parameters
    ----------
    model : fitted estimator
        Without a schema.
    clamp : array-like, mapping or table
        Columns that a mapping or table does not name are free.
    n_samples : int

    Raises
    ------
    DataError
        If the model has no such columns, or there is neither one row nor one for each sample.
    """
    names = getattr(model, "feature_names_in_", None)
    if not is_table(clamp) or (names is None and not isinstance(clamp, Mapping)):
        return clamp
    if names is None:
        raise DataError("`clamp` names columns, and the training rows had no names: pass an array")
    frame, places = _clamped_frame(clamp, n_samples), {name: place for place, name in enumerate(names)}
    held = np.full((frame.n_rows, len(names)), np.nan)
    for i, name in enumerate(frame.names):
        if name not in places:
            raise DataError("`clamp`: ", unknown("column", name, names))
        values, missing = frame.column(i)
        held[~missing, places[name]] = numbers_of(values[~missing], name, missing)
    return held[0] if len(held) == 1 else held


def _clamped_frame(clamp: RowsLike, n_samples: int) -> Frame:
    """Return the columns of a mapping or table with one row or one for each sample; single values are repeated."""
    if isinstance(clamp, Mapping):
        lists = {str(name): np.atleast_1d(np.asarray(values, dtype=object)) for name, values in clamp.items()}
        n_rows = max((len(values) for values in lists.values()), default=0)
        clamp = {name: np.repeat(values, n_rows) if len(values) == 1 else values for name, values in lists.items()}
    frame = as_frame(clamp)
    if frame.n_rows not in {1, n_samples}:
        allowed = "1 row" if n_samples == 1 else f"1 row or {n_samples}"
        raise DataError(f"`clamp` must have {allowed}, as many as samples, got {frame.n_rows}.")
    return frame


def _with_clamped(found: StrDict, clamp: Mapping[str, Sequence[object]]) -> StrDict:
    """Return columns in which clamped values are those given, of which the units know only the cell."""
    new = dict(found)
    for name, given in clamp.items():
        held = list(given) * len(found[name]) if len(given) == 1 else given
        new[name] = [made if value is None else value for value, made in zip(held, found[name], strict=True)]
    return new


def completed(model: Estimator, X: RowsLike, units: Array, random: np.random.Generator | None = None) -> TableLike:
    """Return a table with its missing values replaced by values decoded from rows of units.

    Parameters
    ----------
    model : fitted estimator
        With a schema.
    X : DataFrame, Table, mapping or array
    units : ndarray of shape (n_rows, n_units)
        Means of the units of the complete rows.
    random : Generator, optional
        As in `decoded`.

    Returns
    -------
    DataFrame, Table, dict or ndarray
        Of the same kind as X, with observed values unchanged.
    """
    schema = model.schema_
    frame, found = as_frame(X, schema.names), schema.decode(units, random=random, rounded=random is not None)
    new = {}
    for i, name in enumerate(frame.names):
        values, missing = frame.column(i)
        if missing.any():
            filled = zip(values.tolist(), missing, found[name], strict=True)
            new[name] = [made if gone else value for value, gone, made in filled]
    return with_columns(X, new, schema.names)

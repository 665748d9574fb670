"""Surprise of each column of a row under a fitted model, given the other columns."""

import numpy as np

from deepbelief.backends import get_backend
from deepbelief.estimators.base import first_layer, rows_to_use
from deepbelief.estimators.tables import schema_of
from deepbelief.estimators.views import layers_of, rows_of
from deepbelief.likelihood import conditional_log_likelihoods
from deepbelief.sources import blocks
from deepbelief.sources.schema import Schema
from deepbelief.typing import Array, Estimator, RowsLike


def has_conditionals(model: Estimator) -> bool:
    """Return whether a model has log p(v_i | all others): one machine of bits, categories or cells of numbers."""
    layers = layers_of(model).layers
    return hasattr(model, "log_likelihood") and len(layers) == 1 and layers[0].has_pseudo_likelihood


def column_surprise(model: Estimator, X: RowsLike) -> Array:
    """Return how unusual each value is, given the rest of its row.

    Parameters
    ----------
    model : fitted RBM, DBN or DeepAutoencoder
    X : array-like, table or RowSource of shape (n_rows, n_features)

    Returns
    -------
    ndarray of shape (n_rows, n_columns)
        Where `has_conditionals`, the negative logarithm of the value's conditional probability, in nats. Otherwise the
        squared error of its reconstruction, in standard deviations where the model standardises. 0 where the value is
        missing, and for columns of a table without units. Softmax groups of an array are one column.
    """
    schema = schema_of(model)
    if has_conditionals(model):
        by_group = -conditional_log_likelihoods(layers_of(model).layers[0], rows_of(model, X), backend=model.backend)
        return by_group if schema is None else by_column(schema, by_group)
    bk, first = get_backend(model.backend), first_layer(model)
    gaps = np.concatenate([np.isnan(rows) for rows in blocks(rows_to_use(model, X, bk, fill=False))])
    errors = [
        np.square(first.enter(back) - first.enter(rows), dtype=np.float64)
        for _, _, rows, back in model._reconstructions(rows_to_use(model, X, bk), bk)
    ]
    found = np.where(gaps, 0.0, np.concatenate(errors))
    if schema is None:
        return found
    ends = sum(column.width for column in schema.used)
    return by_column(schema, np.add.reduceat(found[:, :ends], schema.starts, axis=1))


def by_column(schema: Schema, found: Array) -> Array:
    """Return values of the columns that have units, in the order of the units, as those of all columns."""
    columns = np.zeros((len(found), len(schema.columns)))
    used = [j for j, column in enumerate(schema.columns) if column.width]
    columns[:, used] = found[:, : len(used)]
    return columns

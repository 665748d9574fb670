"""Reconstruction of rows by fitted estimators, and its error."""

from collections.abc import Iterator

import numpy as np
from sklearn.utils.validation import check_array, check_is_fitted

from deepbelief.backends import Backend
from deepbelief.errors import DataError
from deepbelief.estimators.base import check_backend, on_device, rows_to_use
from deepbelief.estimators.tables import decoded
from deepbelief.pretraining import transform
from deepbelief.sampling import rows_below
from deepbelief.sources import RowSource, as_source, blocks, check_states, column_statistics, mean_one, weights_of
from deepbelief.stack import Stack
from deepbelief.training import BLOCK_ROWS
from deepbelief.typing import Array, DeviceArray, RowsLike

Reconstructions = Iterator[tuple[int, int, Array, Array]]
"""(start, stop, rows, reconstructions), both in the units of the data."""


class ReconstructionErrorMixin:
    """The error of each row's reconstruction, for an estimator that reconstructs rows block by block."""

    backend: str | Backend

    def _reconstructions(self, source: RowSource, bk: Backend) -> Reconstructions:
        raise NotImplementedError

    def reconstruction_error(self, X: RowsLike) -> Array:
        """Return the squared error of each row's reconstruction, summed over columns, in the units of the data.

        Rows unlike those of training have large errors: the error is an anomaly score too.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows,)
        """
        check_is_fitted(self)
        bk = check_backend(self.backend, X)
        parts = [
            np.square(back - rows, dtype=np.float64).sum(axis=1)
            for _, _, rows, back in self._reconstructions(rows_to_use(self, X, bk), bk)
        ]
        return np.concatenate(parts)


class LayerReconstructionMixin(ReconstructionErrorMixin):
    """Reconstruction through the layers of a generative model: up and down by the means of the units."""

    def _generative_stack(self) -> Stack:
        raise NotImplementedError

    def inverse_transform(self, X: RowsLike) -> DeviceArray:
        """Return rows from hidden states of the top layer, layer by layer through the means of the visible units.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_hidden)
            States of the top layer, for instance from `transform`.

        Returns
        -------
        ndarray of shape (n_rows, n_features)
            In the units of the data; CuPy if X is. A table, of the most probable categories and the mean numbers, where
            the model was fitted on one of mixed columns.
        """
        return decoded(self, self._decode(X))

    def _decode(self, X: RowsLike) -> RowsLike:
        """Return the rows of visible units that codes stand for."""
        check_is_fitted(self)
        bk, stack = check_backend(self.backend, X), self._generative_stack()
        codes = check_array(bk.to_numpy(X) if bk.owns(X) else X, dtype=[np.float64, np.float32])
        if codes.shape[1] != stack.sizes[-1]:
            raise DataError(f"codes have {codes.shape[1]} columns, the top layer has {stack.sizes[-1]} units")
        check_states(codes, stack.layers[-1].hidden_unit)
        h = bk.asarray(codes, dtype=stack.layers[0].W.dtype)
        return on_device(bk.to_numpy(rows_below(stack, h, bk)), X, bk)

    def _reconstructions(self, source: RowSource, bk: Backend) -> Reconstructions:
        """Iterate over (start, stop, rows, reconstructions), both in the units of the data."""
        stack, start = self._generative_stack(), 0
        for block in blocks(source, BLOCK_ROWS):
            rows = np.asarray(block, dtype=stack.layers[0].W.dtype)
            codes = bk.asarray(transform(stack, as_source(rows), bk))
            yield start, start + len(rows), rows, bk.to_numpy(rows_below(stack, codes, bk))
            start += len(rows)


def explained_variance(source: RowSource, reconstructions: Reconstructions, *, by_column: bool) -> float:
    """Return the share of the rows' variance that their reconstructions explain: 1 is perfect, the means have 0.

    Parameters
    ----------
    source : RowSource
        At least two rows, not all alike; with weights they count by them.
    reconstructions : iterator
        Of all these rows.
    by_column : bool
        Whether columns are in units of their own: the mean share of those that vary; else that of all values.
    """
    statistics, weights = column_statistics(source), weights_of(source)
    counts = np.ones(source.shape[0]) if weights is None else mean_one(weights)
    missed = np.zeros(source.shape[1])
    for start, stop, rows, back in reconstructions:
        missed += counts[start:stop] @ np.square(back.astype(np.float64) - rows)
    varies = statistics.max > statistics.min
    if not varies.any():
        raise DataError("X must have rows that differ, got rows that are all alike. Score at least two different rows.")
    missed, variance = missed[varies] / source.shape[0], statistics.var[varies]
    return 1 - float((missed / variance).mean() if by_column else missed.sum() / variance.sum())

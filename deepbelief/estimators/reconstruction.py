"""Codes and reconstructions of rows by fitted estimators, errors of the latter, and imputation by them."""

from collections.abc import Iterator

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_array, check_is_fitted

from deepbelief.backends import Backend
from deepbelief.errors import DataError
from deepbelief.estimators.base import check_backend, check_number, first_layer, on_device, rows_to_use, whole_rows
from deepbelief.estimators.generative import rows_with_gaps
from deepbelief.estimators.tables import completed, decoded, encoded
from deepbelief.network import Network
from deepbelief.pretraining import transform
from deepbelief.sampling import rows_below
from deepbelief.sources import RowSource, as_source, blocks, check_states, column_statistics, mean_one, weights_of
from deepbelief.stack import Stack
from deepbelief.training import BLOCK_ROWS
from deepbelief.typing import Array, DeviceArray, RowsLike

Reconstructions = Iterator[tuple[int, int, Array, Array]]
"""(start, stop, rows, reconstructions), both in the units of the data."""


class CodesMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Codes of rows, for an estimator with ``stack_``: what the units of its top layer pass on."""

    stack_: Stack
    backend: str | Backend
    pretraining: str

    def transform(self, X: RowsLike) -> DeviceArray:
        """Return the hidden means of the top layer; of an autoencoder these are the codes.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, n_top)
            CuPy if X is.
        """
        check_is_fitted(self, "stack_")
        bk = check_backend(self.backend, X)
        source = rows_to_use(self, X, bk)
        return on_device(transform(self.stack_, source, bk), X, bk)

    @property
    def _n_features_out(self) -> int:
        return self.stack_.sizes[-1]

    def __sklearn_tags__(self) -> Tags:
        """Declare support for sparse input and missing values, and the preserved dtypes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self.pretraining in ("auto", "rbm")
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class ReconstructionErrorMixin:
    """Reconstruction errors of rows, for an estimator that reconstructs rows block by block."""

    backend: str | Backend

    def _reconstructions(self, source: RowSource, bk: Backend) -> Reconstructions:
        raise NotImplementedError

    def reconstruction_error(self, X: RowsLike) -> Array:
        """Return the squared error of each row's reconstruction, summed over columns, in the units of the data.

        Rows that differ from the training rows have large errors, so the error can serve as an anomaly score.

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
    """Reconstruction through the layers of a generative model, up and down by the means of the units."""

    def _generative_stack(self) -> Stack:
        raise NotImplementedError

    def inverse_transform(self, X: RowsLike) -> DeviceArray:
        """Map hidden states of the top layer to rows, layer by layer through the means of the visible units.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_hidden)
            States of the top layer, for instance from `transform`.

        Returns
        -------
        ndarray of shape (n_rows, n_features)
            In the units of the data; CuPy if X is. If the model was fitted on a table of mixed columns, a table of the
            most probable categories and the mean numbers.
        """
        return decoded(self, self._decode(X))

    def _decode(self, X: RowsLike) -> RowsLike:
        """Return the visible units for codes."""
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


class ReconstructionImputationMixin:
    """Imputation by a network that reconstructs rows."""

    backend: str | Backend

    def _as_network(self, bk: Backend) -> Network:
        raise NotImplementedError

    def impute(self, X: RowsLike, *, n_steps: int = 1) -> RowsLike:
        """Replace the missing values of rows by their reconstructions.

        The missing values of a row are first replaced by the mean field of the pretrained first layer, then by the
        network's reconstructions of the row. A network trained with ``input_dropout`` has learned to reconstruct
        values that are hidden from it, and imputes better than a network trained without.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features) or table
            NaN marks missing values; in a table, so do the missing values of its library.
        n_steps : int, default=1
            Number of reconstructions, each of the row with the values from the previous one. Without ``input_dropout``,
            1 works best.

        Returns
        -------
        ndarray of shape (n_rows, n_features), or table as X is
            Rows whose observed values are unchanged. In a table a missing category is the most probable one, and a
            missing number a mean, which is rounded only where the column holds integers. An autoencoder has no
            distribution of the missing values: `RBM.impute` draws from one with ``n_draws``, for multiple imputation.

        Raises
        ------
        DataError
            If a row has no observed value, or a softmax group is only partly observed.
        SettingError

        Examples
        --------
        >>> import numpy as np
        >>> from deepbelief import DeepAutoencoder
        >>> X = np.repeat([[0, 0, 1, 1], [1, 1, 0, 0]], 50, axis=0).astype(float)
        >>> autoencoder = DeepAutoencoder((3,), input_dropout=0.3, random_state=0).fit(X)
        >>> autoencoder.impute([[1, np.nan, 0, np.nan]]).round().tolist()
        [[1.0, 1.0, 0.0, 0.0]]
        """
        check_is_fitted(self)
        check_number("n_steps", n_steps, low=1, integer=True)
        bk, first = check_backend(self.backend, X), first_layer(self)
        units = encoded(self, X, reset=False)
        found = np.array(rows_with_gaps(self, X, bk) if units is None else units)
        network, sizes = self._as_network(bk), first.visible_unit.group_sizes(first.n_visible)
        for start in range(0, len(found), BLOCK_ROWS):
            block = found[start : start + BLOCK_ROWS]
            missing = np.isnan(block)
            if not missing.any():
                continue
            inside = np.array(first.enter(whole_rows(as_source(block), first, bk).take(slice(0, len(block)))))
            first.visible_unit.clip(inside)
            for _ in range(n_steps):
                output = network.forward(bk.asarray(inside, dtype=network.dtype))
                inside[missing] = _of_sum_one(bk.to_numpy(output), sizes)[missing]
            block[missing] = first.leave(inside)[missing]
        return on_device(found, X, bk) if units is None else completed(self, X, found)


def _of_sum_one(output: Array, sizes: tuple[int, ...]) -> Array:
    """Normalise the outputs of each group with several columns to a sum of 1."""
    if len(sizes) == output.shape[1]:
        return output
    widths = np.array(sizes)
    totals = np.add.reduceat(output, np.cumsum(widths) - widths, axis=1)
    totals[:, widths == 1] = 1
    return np.asarray(output / np.repeat(np.maximum(totals, np.finfo(output.dtype).tiny), widths, axis=1))


def explained_variance(source: RowSource, reconstructions: Reconstructions, *, by_column: bool) -> float:
    """Return the share of the rows' variance that their reconstructions explain: 1 if perfect, 0 for the means.

    Parameters
    ----------
    source : RowSource
        At least two rows, which must not all be equal; their weights, if any, are used.
    reconstructions : iterator
        Of all these rows.
    by_column : bool
        If columns have different units, True for the mean share over the columns that vary; otherwise False, for the
        share of the total variance.
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

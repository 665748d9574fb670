"""Ratings of items by users, most of which are absent: users x items, with absent entries as missing values."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from scipy import sparse

from deepbelief.errors import DataError, SettingError
from deepbelief.typing import Array, Float64Array, RandomState, RowsLike

LIBRARY = "ratings"  # what the schema of such a table says that it was made from


class Ratings:
    """Ratings of items by users: a table of numbers in which an absent entry is a missing value, not 0.

    `RBM.fit` makes each item a softmax group over the levels that occur, and learns from the known ratings.
    `RBM.impute` returns the expected rating for every absent entry, also for users who were not in training.

    Parameters
    ----------
    X : sparse matrix or array of shape (n_users, n_items)
        The stored entries of a sparse matrix are ratings, including stored zeros. In an array, NaN marks an absent
        rating.
    items : sequence of str, optional
        Names of the items; ``item 0``, ``item 1`` ... else.

    Attributes
    ----------
    matrix : csr_array of shape (n_users, n_items)
    shape : tuple of int
    n_ratings : int

    Examples
    --------
    >>> from scipy.sparse import coo_array
    >>> users, items, stars = [0, 0, 1, 2], [0, 2, 1, 2], [5.0, 1.0, 4.0, 2.0]
    >>> Ratings(coo_array((stars, (users, items)), shape=(3, 3))).array().tolist()
    [[5.0, nan, 1.0], [nan, 4.0, nan], [nan, nan, 2.0]]
    """

    matrix: Any

    def __init__(self, X: RowsLike, items: Sequence[str] | None = None) -> None:
        if isinstance(X, Ratings):
            X, items = X.matrix, X.columns if items is None else items
        matrix: Any = _from_sparse(X) if sparse.issparse(X) else _from_array(X)
        if not all(matrix.shape):
            raise DataError(f"ratings need at least one user and one item, got shape {matrix.shape}")
        if not np.isfinite(matrix.data).all():
            raise DataError("ratings must be finite numbers: leave absent ones out of a sparse matrix")
        self.matrix = matrix
        self.columns = [f"item {i}" for i in range(matrix.shape[1])] if items is None else [str(name) for name in items]
        if len(self.columns) != matrix.shape[1]:
            raise DataError(f"`items` must have {matrix.shape[1]} names, got {len(self.columns)}")

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of users and items."""
        return self.matrix.shape  # type: ignore[no-any-return]

    @property
    def n_ratings(self) -> int:
        """Number of ratings."""
        return int(self.matrix.nnz)

    def __repr__(self) -> str:
        """Show the sizes rather than the ratings."""
        return f"Ratings({self.shape[0]} users, {self.shape[1]} items, {self.n_ratings} ratings)"

    def array(self) -> Float64Array:
        """Return the ratings as an array, NaN where they are absent.

        Returns
        -------
        ndarray of shape (n_users, n_items)
        """
        out = np.full(self.shape, np.nan)
        users, items = self._places()
        out[users, items] = self.matrix.data
        return out

    def users(self, rows: slice | Array) -> Self:
        """Return the ratings of some users.

        Parameters
        ----------
        rows : slice or array of int or bool
            Which users.

        Returns
        -------
        Ratings
        """
        return type(self)(self.matrix[rows], self.columns)

    def split(self, share: float = 0.2, random_state: RandomState = None) -> tuple[Self, Self]:
        """Split the ratings at random into a part to fit and a held-out part.

        Parameters
        ----------
        share : float, default=0.2
            Above 0 and below 1.
        random_state : int, RandomState, Generator or None

        Returns
        -------
        tuple of (Ratings, Ratings)

        Raises
        ------
        SettingError
            If the share is out of bounds.

        Examples
        --------
        >>> known, held_out = Ratings(np.ones((4, 5))).split(0.25, random_state=0)
        >>> known.n_ratings, held_out.n_ratings
        (15, 5)
        """
        if not 0 < share < 1:
            raise SettingError(f"`share` must be a number > 0 and < 1, got {share!r}")
        rng = random_state if hasattr(random_state, "permutation") else np.random.default_rng(random_state)
        order = rng.permutation(self.n_ratings)  # type: ignore[union-attr]
        cut = round(share * self.n_ratings)
        return self._some(order[cut:]), self._some(order[:cut])

    def error(self, predicted: RowsLike) -> float:
        """Return the root of the mean squared error of predicted ratings.

        Parameters
        ----------
        predicted : array-like of shape (n_users, n_items)
            Result of `RBM.impute` for other ratings of the same users. If `impute` received *these* ratings, it would
            return them unchanged, with an error of 0.

        Returns
        -------
        float

        Raises
        ------
        DataError
            If every rating is predicted exactly, because the ratings were passed to `impute`.
        """
        found = np.asarray(predicted, np.float64)
        if found.shape != self.shape or not self.n_ratings:
            raise DataError(f"predicted ratings must be of shape {self.shape} for some ratings, got {found.shape}")
        error = found[self._places()] - self.matrix.data
        if self.n_ratings > 1 and not error.any():
            raise DataError(
                "all ratings are predicted exactly, which happens if they were passed to `impute`: predict held-out "
                "ratings from other ones, see Ratings.split"
            )
        return float(np.sqrt(np.mean(np.square(error))))

    def _places(self) -> tuple[Array, Array]:
        entries = self.matrix.tocoo()
        return entries.row, entries.col

    def _some(self, which: Array) -> Self:
        users, items = self._places()
        part = sparse.coo_array((self.matrix.data[which], (users[which], items[which])), shape=self.shape)
        return type(self)(part, self.columns)


def _from_sparse(X: Any) -> Any:
    """Return a sparse matrix as CSR, in which entries of 0 stay, after refusing an entry that occurs twice."""
    if X.ndim != 2:
        raise DataError(f"ratings have two dimensions, got shape {X.shape}")
    entries = sparse.coo_array(X)
    places = entries.row.astype(np.int64) * X.shape[1] + entries.col
    different, counts = np.unique(places, return_counts=True)
    if len(different) < len(places):
        user, item = divmod(int(different[np.argmax(counts > 1)]), X.shape[1])
        raise DataError(f"user {user} has rated item {item} {int(counts.max())} times: keep one rating")
    return sparse.csr_array((entries.data.astype(np.float64), (entries.row, entries.col)), shape=X.shape)


def _from_array(X: RowsLike) -> Any:
    try:
        array = np.asarray(X, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"ratings must be numbers, got a {type(X).__name__}: {error}") from error
    if array.ndim != 2:
        raise DataError(f"ratings have two dimensions, got shape {array.shape}")
    users, items = np.nonzero(~np.isnan(array))
    return sparse.csr_array((array[users, items], (users, items)), shape=array.shape)

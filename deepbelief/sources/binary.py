"""Rows of 0 and 1 from values in [0, 1]: thresholded, or each value taken as the probability of a 1."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepbelief.errors import SettingError, unknown
from deepbelief.seeds import run_seed, stream
from deepbelief.sources.checks import check_domain
from deepbelief.sources.convert import as_source
from deepbelief.sources.rows import HostRows, RowIndex, RowSource, _deliver
from deepbelief.typing import FloatArray, RandomState
from deepbelief.units import get_unit

BINARIZATIONS = ("threshold", "sample", "resample")
"""Ways to binarise values in [0, 1]: by a threshold, drawn once, or drawn in each epoch."""


FIXED_BINARIZATIONS = ("threshold", "sample")
"""Ways that binarise rows once, before training."""


def check_binarization(binarize: object) -> None:
    """Validate `binarize`: a known method or None."""
    if binarize is not None and binarize not in BINARIZATIONS:
        raise SettingError(unknown("binarize", binarize, BINARIZATIONS), ", or None")


def _uniforms(key: np.uint64, index: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Return a number in [0, 1), a multiple of 2**-24, for each index: the output function of SplitMix64.

    Each value has its own number, independent of which rows are read and in which order.
    """
    x = index
    x *= np.uint64(0x9E3779B97F4A7C15)
    x += key
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x ^= x >> np.uint64(shift)
        x *= np.uint64(factor)
    x ^= x >> np.uint64(31)
    return (x >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


class BinarySource(HostRows):
    """Rows of another source as 0 and 1.

    Parameters
    ----------
    source : RowSource
        Values in [0, 1].
    binarize : {"threshold", "sample"}
        ``"threshold"``: 1 if a value is at least 1/2. ``"sample"``: 1 with the value as probability. A row is the same
        each time it is taken.
    seed : int
        Of the draws.
    *key : int or str
        Name of the draws' stream.
    """

    def __init__(self, source: RowSource, binarize: str, seed: int = 0, *key: int | str) -> None:
        self.source = source
        self.shape, self.dtype = source.shape, source.dtype
        self._threshold = binarize == "threshold"
        self._key = stream(seed, "binarize", *key).generate_state(1, np.uint64)[0]

    def take(self, rows: RowIndex, out: FloatArray | None = None) -> FloatArray:
        """Return these rows (see `RowSource.take`)."""
        n, width = self.shape
        numbers = np.arange(*rows.indices(n)) if isinstance(rows, slice) else np.asarray(rows)
        out = self._room(rows) if out is None else out
        columns = np.arange(width, dtype=np.uint64)
        for start in range(0, len(numbers), 1024):  # scratch of a bounded size
            some = numbers[start : start + 1024]
            values = self.source.take(some)
            if self._threshold:
                bits = values >= 0.5
            else:
                index = some.astype(np.uint64)[:, None] * np.uint64(width) + columns
                bits = _uniforms(self._key, index) < values
            _deliver(bits, self.dtype, out[start : start + 1024])
        return out


def binarized(source: RowSource, binarize: str | None, seed: int, *key: int | str) -> RowSource:
    """Return the rows as fixed bits; ``"resample"`` is treated like ``"sample"``."""
    return source if binarize is None else BinarySource(source, binarize, seed, *key)


def binarize_rows(X: ArrayLike, binarize: str = "sample", random_state: RandomState = 0) -> FloatArray:
    """Return rows of 0 and 1 from values in [0, 1], for example to compute the likelihood of test rows.

    Likelihoods of rows that were binarised in different ways differ by several nats: report the method with them.

    Parameters
    ----------
    X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
        Values in [0, 1].
    binarize : {"sample", "threshold"}, default="sample"
        ``"sample"`` uses each value as the probability of a 1; ``"threshold"`` sets values of at least 1/2 to 1.
    random_state : int, Generator, RandomState or None, default=0
        Seed of the draws. The result does not depend on the blocks in which rows are read.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        float64 for float64 rows, else float32.

    Raises
    ------
    SettingError
        If `binarize` is unknown.
    DataError
        If a value lies outside [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> binarize_rows(np.array([[0.0, 0.2, 0.5, 1.0]]), "threshold")
    array([[0., 0., 1., 1.]])
    >>> binarize_rows(np.full((10000, 1), 0.3)).mean().round(1)
    np.float64(0.3)
    """
    if binarize not in FIXED_BINARIZATIONS:
        raise SettingError(unknown("binarize", binarize, FIXED_BINARIZATIONS))
    source = as_source(X)
    check_domain(source, get_unit("bernoulli"))
    return BinarySource(source, binarize, run_seed(random_state)).take(slice(None))

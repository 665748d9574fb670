"""Types of NumPy's arrays, under the names that `deepbelief.typing` hands on."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

Dtype: TypeAlias = np.dtype[Any]
Array: TypeAlias = np.ndarray[Any, Dtype]  # of the host, of any shape and dtype
FloatArray: TypeAlias = np.ndarray[Any, np.dtype[np.floating[Any]]]
Float64Array: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
RandomState: TypeAlias = int | np.random.RandomState | np.random.Generator | None
DtypeLike: TypeAlias = DTypeLike
WeightsLike: TypeAlias = ArrayLike | None  # a nonnegative number for each row: (n_rows,)
LengthsLike: TypeAlias = ArrayLike | None  # rows of each sequence: (n_sequences,)

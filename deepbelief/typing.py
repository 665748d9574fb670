"""Types that many modules name: arrays, rows and labels as users pass them, plain records."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

Dtype: TypeAlias = np.dtype[Any]
Array: TypeAlias = np.ndarray[Any, Dtype]  # of the host, of any shape and dtype
FloatArray: TypeAlias = np.ndarray[Any, np.dtype[np.floating[Any]]]
Float64Array: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
DeviceArray: TypeAlias = Any  # NumPy's or CuPy's: of the backend at hand, whose namespace mypy cannot see

# Arguments of public functions, before they are checked. pandas, polars, SciPy's sparse matrices and
# scikit-learn's estimators have no types that mypy could compare with.
RowsLike: TypeAlias = Any  # array, CSR matrix, DataFrame, row source: (n_rows, n_features)
TargetsLike: TypeAlias = Any  # labels, numbers, or a column for each task: (n_rows,) or (n_rows, n_outputs)
WeightsLike: TypeAlias = Any  # a nonnegative number for each row: (n_rows,), or None
LengthsLike: TypeAlias = Any  # rows of each sequence: (n_sequences,), or None
RandomState: TypeAlias = int | np.random.RandomState | np.random.Generator | None
DtypeLike: TypeAlias = Any  # whatever np.dtype() takes
Estimator: TypeAlias = Any  # a scikit-learn estimator, fitted or a template

StrDict: TypeAlias = dict[str, Any]  # settings, history records, JSON objects: values of mixed types
StrMapping: TypeAlias = Mapping[str, Any]

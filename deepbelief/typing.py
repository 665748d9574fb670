"""Types that many modules name: host arrays, device arrays, dtypes."""

from typing import Any, TypeAlias

import numpy as np

Dtype: TypeAlias = np.dtype[Any]
Array: TypeAlias = np.ndarray[Any, Dtype]  # of the host, of any shape and dtype
FloatArray: TypeAlias = np.ndarray[Any, np.dtype[np.floating[Any]]]
Float64Array: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
DeviceArray: TypeAlias = Any  # NumPy's or CuPy's: of the backend at hand, whose namespace mypy cannot see

"""Types that many modules name: arrays, rows and labels as users pass them, plain records."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from deepbelief.array_types import Array as Array
    from deepbelief.array_types import Dtype as Dtype
    from deepbelief.array_types import DtypeLike as DtypeLike
    from deepbelief.array_types import Float64Array as Float64Array
    from deepbelief.array_types import FloatArray as FloatArray
    from deepbelief.array_types import LengthsLike as LengthsLike
    from deepbelief.array_types import RandomState as RandomState
    from deepbelief.array_types import WeightsLike as WeightsLike

DeviceArray: TypeAlias = Any  # NumPy's or CuPy's: of the backend at hand, whose namespace mypy cannot see

# Arguments of public functions, before they are checked. pandas, polars, SciPy's sparse matrices and
# scikit-learn's estimators have no types that mypy could compare with.
RowsLike: TypeAlias = Any  # array, CSR matrix, DataFrame, row source: (n_rows, n_features)
TargetsLike: TypeAlias = Any  # labels, numbers, or a column for each task: (n_rows,) or (n_rows, n_outputs)
TableLike: TypeAlias = Any  # DataFrame or Table of pandas, polars or pyarrow, or a mapping of columns
ClassWeight: TypeAlias = Mapping[Any, float] | str | Sequence[Mapping[Any, float] | str | None] | None
SparseMatrix: TypeAlias = Any  # of scipy.sparse, whose formats have no common type
Estimator: TypeAlias = Any  # a scikit-learn estimator, fitted or a template

LayerSettings: TypeAlias = Any  # RBMSettings, whose module comes later; a component of one's own may read more
StrDict: TypeAlias = dict[str, Any]  # settings, history records, JSON objects: values of mixed types
StrMapping: TypeAlias = Mapping[str, Any]

if not TYPE_CHECKING:

    def __getattr__(name):
        """Return a type of arrays; NumPy is imported for these only, which --help and wrong usage do without."""
        if name.startswith("__"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from deepbelief import array_types

        return getattr(array_types, name)

"""Checks of settings and rows that all estimators share, and conversion of rows for the engine."""

import threading
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse
from sklearn.utils import get_tags
from sklearn.utils.validation import check_array, column_or_1d, validate_data

from deepbelief.backends import Backend, get_backend
from deepbelief.bounds import check_number as check_number
from deepbelief.bounds import check_sizes as check_sizes
from deepbelief.distributed import Partitioned, is_dask
from deepbelief.errors import (
    BackendError,
    DataError,
    DivergenceError,
    DivergenceWarning,
    Mention,
    SettingError,
    user_level,
)
from deepbelief.estimators.labels import as_labels
from deepbelief.estimators.labels import filled as filled_labels
from deepbelief.estimators.sample_weights import weighted
from deepbelief.estimators.tables import encoded, schema_of
from deepbelief.hyperparameters import EXECUTION, MACHINE, checked_settings, engine_settings
from deepbelief.layer import RBMSettings, choose_visible
from deepbelief.pretraining import Pretrained, pretrain
from deepbelief.recipes.pretraining_rules import USUAL
from deepbelief.recipes.resolved import is_auto
from deepbelief.sampling import filled_source
from deepbelief.schedules import get_schedule, needs_validation
from deepbelief.seeds import run_seed, stream
from deepbelief.sources import (
    FiniteSource,
    RowSource,
    as_source,
    blocks,
    check_sparse,
    checked,
    has_missing,
    is_source,
    is_stored,
    names_of,
)
from deepbelief.sources.content import names_text
from deepbelief.stack import Stack, Weights
from deepbelief.training import Run, split_rows
from deepbelief.typing import Array, DeviceArray, Estimator, RandomState, RowsLike, TargetsLike
from deepbelief.units import Unit, get_unit

FLAGS = {"warm_start": EXECUTION["warm_start"]}
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
LARGE_MAP = 2**26  # size in bytes from which the rows of a memory map are checked in blocks


def streamed(X: RowsLike) -> RowsLike:
    """Return the rows of an open file, a large memory map or a dask array as a source; other rows unchanged.

    Masked values of NumPy's masked arrays become NaN.
    """
    if isinstance(X, np.ma.MaskedArray):
        if not np.ma.is_masked(X):
            return X.data
        numbers = X.data.astype(np.result_type(X.dtype, np.float32))
        numbers[np.ma.getmaskarray(X)] = np.nan
        return numbers
    if sparse.issparse(X):
        check_sparse(X)  # before scikit-learn converts it
    if is_dask(X):
        return Partitioned(X)
    large = isinstance(X, np.memmap) and X.ndim == 2 and X.nbytes >= LARGE_MAP
    return as_source(X) if large or is_stored(X) else X


def check_backend(backend: str | Backend, X: RowsLike) -> Backend:
    """Return the backend; refuse device rows that belong to another one."""
    bk = get_backend(backend)
    if hasattr(X, "__cuda_array_interface__") and not bk.owns(X):
        raise BackendError(
            "X is on a CUDA device but ",
            Mention("backend", bk.name),
            ": pass ",
            Mention("backend", "cupy"),
            ", or move the rows with X.get()",
        )
    return bk


def check_rows(
    estimator: Estimator, X: RowsLike, bk: Backend, *, reset: bool, min_rows: int = 1, weights: Array | None = None
) -> RowSource:  # fmt: skip
    """Return X as a source, after scikit-learn's checks; sparse rows stay sparse, integers stay integers.

    Tables of mixed columns become rows of visible units, see `deepbelief.estimators.tables`. The source keeps the
    ``weights`` of its rows.
    """
    if hasattr(X, "collect_schema") and hasattr(X, "collect"):  # a LazyFrame of polars
        raise DataError(f"`X` must be in memory, got a {type(X).__name__}. Call its collect() first.")
    units = encoded(estimator, X, reset=reset, min_rows=min_rows, weights=weights)
    if units is not None:
        return weighted(as_source(units), weights)
    if not reset and _needs_no_check(estimator, X, min_rows):
        return weighted(as_source(X), weights)
    X = streamed(X)
    if is_source(X):
        _check_source(estimator, X, reset=reset, min_rows=min_rows)
        return weighted(X, weights)
    if bk.owns(X) and not isinstance(X, np.ndarray):
        X = bk.to_numpy(X)
    try:
        X = validate_data(
            estimator, X, reset=reset, accept_sparse="csr", dtype="numeric", ensure_min_samples=min_rows,
            ensure_all_finite=_finite(estimator, X),
        )  # fmt: skip
    except RuntimeError as error:  # a torch tensor that requires gradients or is on a device
        raise DataError(f"`X` must be readable by NumPy, got a {type(X).__name__}: {error}") from error
    return weighted(as_source(X), weights)


def _needs_no_check(estimator: Estimator, X: RowsLike, min_rows: int) -> bool:
    """Return whether scikit-learn's checks would return X unchanged; they take longer than the product of one row."""
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.dtype in FLOATS
        and X.dtype.isnative
        and X.shape[1] == getattr(estimator, "n_features_in_", None)
        and len(X) >= max(min_rows, 1)
        and not hasattr(estimator, "feature_names_in_")
        and bool(np.isfinite(X).all())
    )


def _finite(estimator: Estimator, X: RowsLike) -> bool | str:
    """Return scikit-learn's ``ensure_all_finite``: values may be missing (NaN) if the estimator allows it."""
    return "allow-nan" if get_tags(estimator).input_tags.allow_nan and not sparse.issparse(X) else True


def first_layer(estimator: Estimator) -> Weights:
    """Return the first layer of a fitted estimator."""
    if hasattr(estimator, "weights_"):
        return estimator.weights_  # type: ignore[no-any-return]
    stack = estimator.pretrained_stack_ if hasattr(estimator, "pretrained_stack_") else estimator.stack_
    return stack.layers[0]  # type: ignore[no-any-return]


def whole_rows(source: RowSource, first: Weights, bk: Backend) -> RowSource:
    """Return rows in the units of the data, with missing values filled in once by the mean field of a layer."""
    if not has_missing(source):
        return source
    return as_source(np.concatenate(list(blocks(filled_source(source, first, bk)))))


def rows_to_use(estimator: Estimator, X: RowsLike, bk: Backend, *, fill: bool = True) -> RowSource:
    """Return rows for a fitted estimator; the rows of a source are checked as they are read.

    Missing values are filled in by the mean field of the first layer, unless ``fill`` is False.
    """
    source = check_rows(estimator, X, bk, reset=False)
    if has_missing(source) and get_tags(estimator).input_tags.allow_nan:  # tags take longer to make than a row to check
        source = FiniteSource(source, missing=True)
        return filled_source(source, first_layer(estimator), bk) if fill else source
    return FiniteSource(source) if is_source(X) else source


def visible_type(estimator: Estimator, rbm: Estimator, source: RowSource) -> Unit:
    """Return the type of visible units of an RBM with these settings for these rows of an estimator."""
    schema = schema_of(estimator)
    if schema is not None:
        return get_unit(schema.visible)
    return choose_visible(rbm.visible, source, scale=rbm.scale, missing=has_missing(source))[0]


def check_rows_and_targets(
    estimator: Estimator, X: RowsLike, y: TargetsLike, bk: Backend, *, reset: bool, weights: Array | None = None
) -> tuple[RowSource, Array]:  # fmt: skip
    """Return X as a source and y as an array of the same length, after scikit-learn's checks; one column as a vector.

    Missing labels or targets remain in y, see `deepbelief.estimators.labels`.
    """
    units, y = encoded(estimator, X, reset=reset, min_rows=2, weights=weights), as_labels(y)
    X = streamed(X) if units is None else as_source(units)
    checked = filled_labels(y)
    if is_source(X):
        if units is None:
            _check_source(estimator, X, reset=reset, min_rows=2)
        if y is None:
            raise DataError(f"{type(estimator).__name__} needs targets: y is None")
        checked = check_array(checked, ensure_2d=False, dtype=None, input_name="y")
        if len(checked) != X.shape[0]:
            raise DataError(f"X has {X.shape[0]} rows but y has {len(checked)}")
    else:
        if bk.owns(X) and not isinstance(X, np.ndarray):
            X = bk.to_numpy(X)
        X, checked = validate_data(
            estimator, X, checked, reset=reset, accept_sparse="csr", dtype="numeric", ensure_min_samples=2,
            multi_output=True, ensure_all_finite=_finite(estimator, X),
        )  # fmt: skip
        X = as_source(X)
    X = weighted(X, weights)
    if sparse.issparse(checked):
        raise DataError("y is sparse: give an array, for instance y.toarray()")
    y = y if isinstance(y, np.ndarray) else checked
    if checked.ndim == 2 and checked.shape[1] > 1:
        return X, y
    column_or_1d(checked, warn=True)
    return X, y.ravel()


def _check_source(estimator: Estimator, source: RowSource, *, reset: bool, min_rows: int) -> None:
    if source.shape[0] < min_rows:
        name = type(estimator).__name__
        raise DataError(f"found {source.shape[0]} sample(s) while a minimum of {min_rows} is required by {name}")
    schema = None if reset else schema_of(estimator)
    if schema is not None:  # rows of its visible units
        if source.shape[1] != schema.n_units:
            raise DataError(f"rows of visible units have {schema.n_units} columns here, got {source.shape[1]}")
        return
    names = names_of(source)
    fitted = getattr(estimator, "feature_names_in_", None)
    if names is None or (not reset and fitted is None):
        # Number and names of features only; names of an earlier fit are removed if the source has none.
        validate_data(estimator, source, reset=reset, skip_check_array=True)
        return
    if reset:
        validate_data(estimator, source, reset=True, skip_check_array=True)
        estimator.feature_names_in_ = np.array(names, dtype=object)
        return
    check_names([] if fitted is None else fitted, names, type(estimator).__name__)
    with warnings.catch_warnings():  # scikit-learn does not recognise the names of a source
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        validate_data(estimator, source, reset=False, skip_check_array=True)


def check_names(fitted: Sequence[str], names: Sequence[str], what: str) -> None:
    """Raise DataError unless the columns have the names of the columns in `fit`, in the same order."""
    fitted, names = [str(name) for name in fitted], [str(name) for name in names]
    if fitted == names:
        return
    if sorted(fitted) == sorted(names):
        raise DataError(f"the columns must be in the order of those that {what} was fitted on: {names_text(fitted)}")
    told = {
        "missing": [name for name in fitted if name not in set(names)],
        "new": [name for name in names if name not in set(fitted)],
    }
    shown = "; ".join(f"{word}: {names_text(some)}" for word, some in told.items() if some)
    raise DataError(f"the columns are not those that {what} was fitted on ({shown})")


def on_device(result: Array, X: RowsLike, bk: Backend) -> DeviceArray:
    """Return the result on the device of the rows: CuPy in, CuPy out."""
    if isinstance(X, np.ndarray) or not bk.owns(X):
        return result
    return bk.asarray(result)


def rbm_settings(rbm: Estimator) -> RBMSettings:
    """Check the settings of an RBM and return them for the engine."""
    values = checked_settings(rbm, MACHINE, FLAGS)
    check_schedule(rbm, "which an RBM does not have")
    automatic = frozenset(name for name, value in values.items() if is_auto(value))
    usual = {name: rule for name, rule in USUAL.items() if name in automatic}
    values |= {name: rule.value for name, rule in usual.items()}
    settings: RBMSettings = engine_settings(RBMSettings, MACHINE, values, automatic=automatic, resolved=usual)
    return settings


def check_schedule(estimator: Estimator, missing: str) -> None:
    """Refuse a schedule that follows a validation loss; ``missing`` completes the message."""
    if estimator.schedule != "auto" and needs_validation(get_schedule(estimator.schedule)):
        raise SettingError(
            Mention("schedule", estimator.schedule),
            f" follows a validation loss, {missing}: use linear",
            setting="schedule",
            value=estimator.schedule,
        )


def warn_diverged(error: DivergenceError | None) -> None:
    """Warn that training diverged and stopped at the last good epoch."""
    if error is not None:
        warning = DivergenceWarning(f"{error}; the weights of the last good epoch were kept", error=error)
        warnings.warn(warning, stacklevel=user_level())


Pretraining: TypeAlias = Callable[[], Pretrained]  # a run that is ready to start


HELD_OUT_SHARE = 0.1  # share of the rows held out for early stopping by default


def held_out_share(given: float, settings: RBMSettings) -> float:
    """Return the share of the rows to hold out: the given share, or the default of early stopping."""
    return given or (HELD_OUT_SHARE if settings.early_stopping else 0.0)


def pretraining_on(
    source: RowSource, sizes: Sequence[int], settings: Sequence[RBMSettings], validation_fraction: float, run: Run, *,
    start: Stack | None = None, **more: Any,
) -> Pretraining:  # fmt: skip
    """Return the pretraining on these rows without the held-out ones, in this process or on the cluster of the rows."""
    validation_fraction = held_out_share(validation_fraction, settings[0])
    if isinstance(source, Partitioned):
        more |= {"validation_fraction": validation_fraction}
        return partial(source.pretrain, sizes, settings, run, start=start, **more)
    held_out = None
    if start is not None:
        checked(source, start.layers[0])
    if validation_fraction:
        if start is None:  # so that an error names the row's number in X
            choose_visible(settings[0].visible, source, scale=settings[0].scale, missing=has_missing(source))
        source, held_out, _, _ = split_rows(source, validation_fraction, run.seed)
    return partial(pretrain, source, sizes, settings, run, held_out=held_out, start=start, **more)


_NUMBERING = threading.Lock()  # a lock of the module, because pickles and clones of an estimator cannot contain one


def next_stream(estimator: Estimator, purpose: str, random_state: RandomState) -> np.random.SeedSequence:
    """Return the seed of the next draw from a fitted model.

    Parameters
    ----------
    estimator : fitted estimator
        It has the seed of its run in ``_seed`` and the number of draws so far in ``_draws``.
    purpose : str
        Name of the stream.
    random_state : int, Generator, RandomState or None
        None: the next stream of the model; threads that share the model receive different streams.

    Returns
    -------
    numpy.random.SeedSequence
    """
    if random_state is not None:
        return stream(run_seed(random_state), purpose)
    with _NUMBERING:
        number = estimator._draws
        estimator._draws = number + 1
    return stream(estimator._seed, purpose, number)

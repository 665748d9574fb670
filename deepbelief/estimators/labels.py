"""Labels and targets: missing labels, and weights of rows.

One rule holds for every estimator and for the command line. A missing value (None, NaN, NaT, ``pandas.NA``, an empty
text) is never a label. With ``unlabeled="auto"``, -1 (a number or the text "-1") also marks a missing label if at least
two other labels are present. Any other value of ``unlabeled`` replaces -1 as the mark, and None means that only missing
values mark missing labels.
"""

import numbers
import warnings
from collections.abc import Hashable, Mapping

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from deepbelief.errors import DataError, DataWarning, Mention, Message, SettingError, invalid, user_level
from deepbelief.estimators.sample_weights import checked_weights
from deepbelief.recipes.resolved import is_auto
from deepbelief.seeds import host_rng
from deepbelief.typing import Array, ClassWeight, TargetsLike, WeightsLike

MARK = -1
MISSING_AS_TEXT = {"nan", "None", "NaT", "<NA>"}
ONE_HOT = 0.9  # smallest share of rows with a single 1 at which a 0/1 matrix is treated as one-hot classes
MAX_EXACT = 2**53  # float64 represents all whole numbers up to this one


def as_labels(y: TargetsLike) -> TargetsLike:
    """Return labels or targets as an array in which `missing_labels` finds the missing ones.

    Lists and columns of pandas, polars and pyarrow become arrays of objects if a plain array would hide missing values,
    and masked values become None. Other input is left to the checks that follow.
    """
    if isinstance(y, np.ma.MaskedArray):
        values = y.data.astype(object)
        values[np.ma.getmaskarray(y)] = None
        return _numbers_where_possible(values)
    if isinstance(y, (list, tuple)):
        values = np.asarray(y, dtype=object)
        if all(isinstance(value, str) for value in values.ravel()):
            return np.asarray(y)
        return _numbers_where_possible(values)
    if isinstance(y, np.ndarray):
        return _numbers_where_possible(y)
    library = type(y).__module__.partition(".")[0]
    if library in ("polars", "pyarrow") and not hasattr(y, "columns"):
        return as_labels(y.to_list() if library == "polars" else y.to_pylist())
    if hasattr(y, "__array__") and (hasattr(y, "iloc") or library == "pandas"):
        return _numbers_where_possible(np.asarray(y))
    return y


def _numbers_where_possible(y: Array) -> Array:
    """Convert an array of objects without missing values to numbers, if all values are numbers."""
    if y.dtype != object or not y.size:
        return y
    values = y.ravel().tolist()
    if not all(isinstance(value, (numbers.Real, np.bool_)) for value in values):  # NaN is a Real too
        return y
    if all(isinstance(value, (bool, np.bool_)) for value in values):
        return y.astype(bool)
    whole = [int(value) for value in values if isinstance(value, (numbers.Integral, np.bool_))]
    if len(whole) < len(values):
        return y if any(abs(value) > MAX_EXACT for value in whole) else y.astype(np.float64)
    low, high = min(whole), max(whole)
    for dtype in (np.int64, np.uint64):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return y.astype(dtype)
    return y


def _is_missing(value: object) -> bool:
    if value is None:
        return True
    if isinstance(value, (str, bytes)):
        return not value.strip()
    try:
        return bool(value != value)  # NaN and NaT
    except TypeError:  # pandas.NA is neither
        return True


def missing_labels(y: Array) -> Array:
    """Return a mask, of the shape of ``y``, of the labels that are missing."""
    kind = y.dtype.kind
    if kind == "f":
        return np.isnan(y)
    if kind in "mM":
        return np.isnat(y)
    if kind in "US":
        return np.asarray(np.char.str_len(np.char.strip(y)) == 0)
    if kind == "O":
        return np.fromiter(map(_is_missing, y.ravel()), bool, y.size).reshape(y.shape)
    return np.zeros(y.shape, bool)


def filled(y: TargetsLike) -> TargetsLike:
    """Replace missing labels by present ones, for checks that do not support missing labels."""
    if not isinstance(y, np.ndarray) or not (missing := missing_labels(y)).any():
        return y
    if missing.all():
        return np.zeros(y.shape)
    y = y.copy()
    y[missing] = y[~missing][0]
    return y


def known_labels(y: Array) -> Array:
    """Return labels without missing ones as an array of numbers or texts.

    Raises
    ------
    DataError
        If they are both.
    """
    y = _numbers_where_possible(y)
    if y.dtype == object and len({isinstance(value, (str, bytes)) for value in y.tolist()}) > 1:
        text = next(value for value in y.tolist() if isinstance(value, (str, bytes)))
        other = next(value for value in y.tolist() if not isinstance(value, (str, bytes)))
        raise DataError(
            f"y must be numbers or strings, got both, such as {other!r} and {text!r}: make all of them strings"
        )
    return y


def check_classes(y: Array) -> Array:
    """Return labels without missing ones as classes.

    Raises
    ------
    DataError
        If they are real values, or neither numbers nor texts.
    """
    y = known_labels(y)
    whole = y.dtype.kind in "biuUSmM" or (y.dtype.kind == "f" and bool((y == np.rint(y)).all()))
    if not whole and not (y.dtype == object and all(isinstance(v, (str, bytes, numbers.Integral)) for v in y.tolist())):
        kind = "continuous" if y.dtype.kind == "f" else "unknown"
        raise DataError(
            f"Unknown label type: {kind}: classes in y must be whole numbers or strings, got {y.tolist()[0]!r}; use "
            "DBNRegressor for real values"
        )
    return y


def _texts(mark: object) -> set[str]:
    """Return the spellings of a mark: a whole number may be written with or without a decimal place."""
    if isinstance(mark, numbers.Real) and not isinstance(mark, (bool, np.bool_)) and mark % 1 == 0:
        return {str(int(mark)), str(float(mark))}  # type: ignore[call-overload]
    return {str(mark).strip()}


def _equal(y: Array, mark: object) -> Array:
    """Return a mask of the labels that equal this value or one of its spellings."""
    kind = y.dtype.kind
    if kind in "US":
        texts = np.char.decode(y, "utf-8", "replace") if kind == "S" else y
        return np.isin(np.char.strip(texts), list(_texts(mark)))
    if kind == "O":
        marks = _texts(mark)
        same = (
            value.strip() in marks if isinstance(value, str) else not _is_missing(value) and bool(value == mark)
            for value in y.ravel()
        )
        return np.fromiter(same, bool, y.size).reshape(y.shape)
    if isinstance(mark, (str, bytes)):
        return np.zeros(y.shape, bool)
    return np.asarray(y == mark)


def labelled_rows(y: Array, unlabeled: object) -> Array:
    """Return a mask of the labelled rows, by the rule at the top of this module."""
    known: Array = ~missing_labels(y)
    if unlabeled is None:
        return known
    if not isinstance(unlabeled, (str, bytes, numbers.Real, np.bool_, np.datetime64)):
        raise invalid("unlabeled", "'auto', None or a label, a number or a string", unlabeled)
    if not is_auto(unlabeled):
        return known & ~_equal(y, unlabeled)
    unmarked = known & ~_equal(y, MARK)
    return unmarked if n_different(y[unmarked]) >= 2 else known


def n_different(y: Array) -> int:
    """Return the number of different labels, given labels without missing ones."""
    if y.dtype != object:
        return len(np.unique(y))
    try:
        return len(set(y.tolist()))
    except TypeError:
        wrong = next(value for value in y.tolist() if not isinstance(value, Hashable))
        raise DataError(f"y must have a label for each row, a number or a string, got {wrong!r}") from None


def warn_doubts(y: Array, classes: Array | list[Array], unlabeled: object, targets: str = "classes") -> None:
    """Warn of -1 treated as a mark next to the labels 0 and 1, and of one-hot classes treated as tasks.

    Parameters
    ----------
    y : ndarray of shape (n_rows,) or (n_rows, n_columns)
    classes : ndarray, or a list of them
        As found in ``y``.
    unlabeled : "auto", None or label
    targets : {"classes", "tasks", "labels"}
    """
    if targets == "labels":  # for 0/1 labels, -1 is no class and several columns are intended
        return
    each = [(y, np.asarray(classes))] if targets == "classes" else list(zip(y.T, classes, strict=True))
    names = ["y"] if targets == "classes" else [f"column {k} of y (from 0)" for k in range(len(each))]
    columns = [(name, *pair) for name, pair in zip(names, each, strict=True)]
    doubts = [doubt for name, column, found in columns if (doubt := _doubt_of_mark(name, column, found, unlabeled))]
    doubts += [doubt for name, _, found in columns if (doubt := _doubt_of_text(name, found))]
    doubts += [doubt] if targets == "tasks" and (doubt := _doubt_of_tasks(y, list(classes))) else []
    for doubt in doubts:
        warnings.warn(DataWarning(doubt, symptom="labels-in-doubt"), stacklevel=user_level())


def _doubt_of_mark(name: str, y: Array, classes: Array, unlabeled: object) -> Message | None:
    if not is_auto(unlabeled) or sorted(map(str, classes.tolist())) not in (["0", "1"], ["0.0", "1.0"]):
        return None
    n_marked = int(_equal(y, MARK).sum())
    if not n_marked:
        return None
    return Message(
        f"{name} has labels -1, 0 and 1, and its {n_marked} rows labelled -1 were treated as unlabelled: pass ",
        Mention("unlabeled", None),
        " if -1 is a class, or ",
        Mention("unlabeled", -1),
        " if it is not",
    )


def _doubt_of_text(name: str, classes: Array) -> Message | None:
    found = [value for value in classes.tolist() if isinstance(value, str) and value in MISSING_AS_TEXT]
    if not found:
        return None
    return Message(
        f"{name} has the class {found[0]!r}, the text of a missing label: leave it missing (None, "
        "NaN or an empty text) if these rows have no label"
    )


def _doubt_of_tasks(y: Array, classes: list[Array]) -> Message | None:
    if y.dtype.kind not in "biuf" or not all(np.array_equal(found, (0, 1)) for found in classes):
        return None
    ones = (y == 1).sum(axis=1)
    n_one, none = int((ones == 1).sum()), np.flatnonzero(ones == 0)
    if n_one < ONE_HOT * len(y):
        return None
    without = f"; {len(none)} rows, the first of them row {none[0]} (from 0), have none" if len(none) else ""
    return Message(
        f"y looks like one-hot classes, since {n_one} of {len(y)} rows have a single 1{without}: its {y.shape[1]} "
        "columns are learned as separate tasks. For one class per row pass y.argmax(axis=1), with -1 for rows without "
        "a class; for any number of labels per row ",
        Mention("loss", "cross_entropy"),
    )


def rows_to_compare(y: Array, classes: Array, unlabeled: object) -> Array:
    """Return a mask of the rows whose labels can be compared with predictions.

    Missing labels cannot, nor can the mark of unlabelled rows unless it is one of the classes.
    """
    known: Array = ~missing_labels(y)
    mark = MARK if is_auto(unlabeled) else unlabeled
    if mark is None or _equal(classes, mark).any():
        return known
    return known & ~_equal(y, mark)


def share_right(
    y: TargetsLike, predicted: Array, classes: Array, unlabeled: object, weights: WeightsLike, what: str = "y"
) -> float:
    """Return the share of the labelled rows whose label is predicted correctly.

    Raises
    ------
    DataError
        If no row has a label, or ``y`` and ``predicted`` cannot be compared.
    """
    y = as_labels(y)
    y = np.asarray(y)
    y = y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y
    if y.shape != predicted.shape:
        raise DataError(f"y has shape {y.shape}, the predictions have {predicted.shape}")
    known = rows_to_compare(y, classes, unlabeled)
    if not known.any():
        raise DataError(f"{what} has no label to compare predictions with: leave it out")
    truth = known_labels(y[known])
    if is_text(truth) != is_text(classes):
        one, other = truth.tolist()[0], classes.tolist()[0]
        raise DataError(f"{what} has labels such as {one!r}, but the model has classes such as {other!r}")
    counted = None if weights is None else np.asarray(weights)[known]
    return float(np.average(predicted[known] == truth, weights=counted))


def is_text(labels: Array) -> bool:
    """Return whether labels without missing ones are texts."""
    return labels.dtype.kind in "US" or isinstance(labels[0], (str, bytes))


def row_weights(
    y: Array, known: Array, sample_weight: WeightsLike, class_weight: ClassWeight, labelled: Array | None = None
) -> Array | None:
    """Return the weights of the labelled rows (row weight times class weight); None if all are 1.

    Parameters
    ----------
    y : ndarray of shape (n_rows,) or (n_rows, n_columns)
    known : ndarray of shape (n_rows,)
        Mask of the labelled rows.
    sample_weight : array-like of shape (n_rows,) or None
    class_weight : dict, "balanced", list of these or None
    labelled : ndarray of shape (n_labelled_rows, n_columns), optional
        Mask of the labels that the labelled rows have, if y has several columns.
    """
    weights = None
    if sample_weight is not None:
        weights = checked_weights(sample_weight, len(y))[known]
    if class_weight is not None:
        by_row = class_weights(y[known], class_weight) if y.ndim == 1 else _by_column(y[known], labelled, class_weight)
        weights = by_row if weights is None else weights * by_row
    return weights


def _by_column(y: Array, labelled: Array | None, class_weight: ClassWeight) -> Array:
    """Return the product of the weights of each row's classes; a missing label has weight 1."""
    each = class_weight if isinstance(class_weight, (list, tuple)) else [class_weight] * y.shape[1]
    if len(each) != y.shape[1] or isinstance(class_weight, Mapping):
        raise SettingError(
            f"class_weight must be 'balanced' or a list with one setting for each of the {y.shape[1]} columns of y, "
            f"got {class_weight!r}"
        )
    weights = np.ones(len(y))
    for k, weight in enumerate(each):
        known = slice(None) if labelled is None else labelled[:, k]
        if weight is not None:
            weights[known] *= class_weights(y[known, k], weight)
    return weights


def class_weights(y: Array, class_weight: ClassWeight) -> Array:
    """Return the weight of each row's class."""
    y = known_labels(y)
    classes, places = np.unique(y, return_inverse=True)
    try:
        per_class = compute_class_weight(class_weight, classes=classes, y=y)
    except ValueError as error:
        raise SettingError(f"class_weight={class_weight!r} cannot be used: {error}") from error
    if not (np.isfinite(per_class).all() and per_class.min() >= 0 and per_class.max() > 0):
        raise SettingError(f"class_weight must be finite, >= 0 and not all 0, got {class_weight!r}")
    return per_class[places]  # type: ignore[no-any-return]


MAX_REPEATED = 10  # maximum ratio of rows after and before they are repeated by class


def repeated(weights: Array, numbers: Array, seed: int) -> Array:
    """Return row numbers in which the frequency of each row is its weight divided by the smallest weight.

    Fractions of a row are assigned to randomly drawn rows of the class.
    """
    present = weights[weights > 0]
    copies = weights / max(present.min(), present.sum() / (MAX_REPEATED * len(weights)))
    rng, index = host_rng(seed, "class_weight"), []
    for c in np.unique(numbers):
        rows = rng.permutation(np.flatnonzero(numbers == c))
        total = round(float(copies[rows].sum()))
        index.append(np.resize(rows, max(total, int(copies[rows[0]] > 0))))
    return np.sort(np.concatenate(index))

"""Data sets by name or by file: what a DATA argument means.

Built-in names are ``digits`` and ``digits28`` (which come with scikit-learn), ``mnist`` and
``fashion-mnist`` (from a folder of IDX files, else downloaded by scikit-learn); ``mnist:test`` is the
test split. Everything else is a file or folder as `deepbelief.sources.read` takes it.
"""

import difflib
import hashlib
import importlib.util
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepbelief.errors import DataError, DataWarning, Mention, SettingError, invalid
from deepbelief.sources.content import Content
from deepbelief.sources.files import first_rows, read, split_spec
from deepbelief.sources.idx import has_idx_files, read_idx_folder
from deepbelief.sources.rows import ArraySource, RowSource
from deepbelief.sources.scaling import Scaling
from deepbelief.sources.schema import Schema, table_schema
from deepbelief.sources.table_files import read_mixed
from deepbelief.typing import Array, StrMapping

LABEL_NAME = re.compile(
    r"(.*[ _.-])?(labels?|class(es)?|targets?|y|species|categor(y|ies)|outcome|diagnosis|survived)(_?(id|code))?",
    re.IGNORECASE,
)
"""Frequent names of label columns."""

INDEX_NAME = re.compile(r"id|index|row|row_?(id|number|nr)|unnamed: \d+", re.IGNORECASE)
"""Frequent names of columns with row numbers."""

LOOKED_AT = 1000
"""Number of rows to check."""

MAX_VALUES = 2**22
"""Number of values to check."""

MAX_CLASSES = 50


def warn_of_suspects(path: str, content: Content) -> None:
    """Warn about features that may be labels (by name, or as the only whole numbers) or row numbers."""
    if Path(path).is_dir() and content.feature_names is None:
        return
    width = content.rows.shape[1]
    n = min(content.rows.shape[0], LOOKED_AT, MAX_VALUES // width)
    if n < 3 or width < 2:
        return
    values, names = content.rows.take(slice(0, n)), content.feature_names
    others = values[:, :-1]
    last_is_whole = bool((others != np.rint(others)).any(axis=0).all())  # and no other column is
    for j in range(width) if names else (width - 1,):
        column = values[:, j]
        alone = j == width - 1 and last_is_whole
        if names and not (alone or LABEL_NAME.fullmatch(names[j]) or INDEX_NAME.fullmatch(names[j])):
            continue
        if not (column == np.rint(column)).all():
            continue
        n_values = len(np.unique(column))
        name = f"column {names[j][:40]!r}" if names else f"the last column ({width})"
        few = 1 < n_values <= min(MAX_CLASSES, n // 2)
        if few and (alone or (names and LABEL_NAME.fullmatch(names[j]))):
            option = names[j] if names else "-1"
            _warn(f"{path}: {name} looks like labels and is treated as a feature: name it with --labels {option}")
        elif names and INDEX_NAME.fullmatch(names[j]) and (np.abs(np.diff(column)) == 1).all():
            _warn(f"{path}: {name} numbers the rows and is treated as a feature: leave it out of the file")


def _warn(message: str) -> None:
    warnings.warn(DataWarning(message, symptom="columns-in-doubt"), stacklevel=4)


DATA_DIR_VARIABLE = "DEEPBELIEF_DATA"
OPENML = {"mnist": "mnist_784", "fashion-mnist": "Fashion-MNIST"}
N_TRAIN = 60_000
N_KNOWN = 100
KNOWN = {
    "c8d7b3ac57a59fa463cbbcdc21a53485e2990f12ca46d0fef62dd86cadfd67a3": "mnist",
    "8a004a2f81a80f4866259cbb77cf37af89315036b298b250b4d45c24aaa92048": "mnist",
    "9fd5e05238929f78618002dd971c29d7154e418c5e6c5159dcbc48bead93a90f": "fashion-mnist",
    "d8c9b85550f6c8fa33478e27cb3fe70fd34b4cc96e6ab91b911853b51fb3d527": "fashion-mnist",
}
"""Sets by the SHA-256 of the first `N_KNOWN` images of their training and test splits, as bytes."""


@dataclass(frozen=True, eq=False)
class DataSet:
    """Rows ready for a model, and what belongs to them.

    Parameters
    ----------
    rows : RowSource
        Already scaled.
    labels : ndarray of shape (n_rows,) or None
        int64, float64 or str.
    name : str
        Short, fit for a file name.
    source_path : str
        What opens the same data from any folder: a built-in name or an absolute path.
    scale : Scaling
        Pass it to `open` as ``scale=`` to treat other data alike.
    feature_names : list of str or None
        Names of the columns, where they have some.
    label_name : str or None
        Name of the column of the labels, where it has one.
    schema : Schema or None
        What the columns are, where they are not plain numbers: rows are then visible units.
    first_index : int or None
        Index that an svmlight file has for the first column.
    """

    rows: RowSource
    labels: Array | None = field(repr=False)
    name: str
    source_path: str
    scale: Scaling
    feature_names: list[str] | None = field(default=None, repr=False)
    label_name: str | None = field(default=None, repr=False)
    schema: Schema | None = field(default=None, repr=False)
    first_index: int | None = field(default=None, repr=False)

    @property
    def columns_text(self) -> str:
        """Number of columns in words, and of a table that of the visible units."""
        n = self.rows.shape[1]
        if self.schema is None:
            return f"{n} features"
        return f"{len(self.schema.columns)} {'sites' if self.schema.alphabet else 'columns'} as {n} units"

    @property
    def scaling(self) -> str:
        """Kind of scaling: ``"none"``, ``"255"`` or ``"minmax"``."""
        return self.scale.kind


def open(
    spec: str,
    *,
    scale: str | Scaling = "auto",
    labels: str | None = None,
    limit: int | None = None,
    data_dir: str | None = None,
    n_features: int | None = None,
    table: StrMapping | None = None,
    first_index: int | None = None,
) -> DataSet:
    """Open a data set by its built-in name or from a file or folder.

    Parameters
    ----------
    spec : str
        A key of `BUILTIN` or ``NAME:test``, a file, ``FILE:PART`` (``rows.h5:/train/X``, ``rows.npz:X``), or a
        folder of IDX files (``FOLDER:test`` for its test split).
    scale : {"auto", "none", "255", "minmax"} or Scaling
        ``"auto"`` divides grey levels (bytes, or images with a maximum of 255) by 255 and leaves all else as it is.
        With ``"none"`` a model can scale them itself: ``RBM(scale="255")``.
        The `Scaling` of other data is applied as it is.
    labels : str, optional
        Column name or index (CSV), key (npz, HDF5), or a file with one label per row. Built-in sets, folders
        and svmlight files bring theirs along.
    limit : int, optional
        Keep the first rows only; the scaling is decided on them.
    data_dir : str, optional
        Folder of IDX files, or folder with a folder ``mnist`` or ``fashion-mnist`` in it; the environment
        variable ``DEEPBELIEF_DATA`` by default.
    n_features : int, optional
        Number of features that a model expects: svmlight files leave out columns that are zero at the end.
    table : mapping, optional
        Read CSV and Parquet files with text, booleans and missing values too, as rows of visible units: arguments of
        `deepbelief.sources.table_files.read_mixed`, such as ``{"columns": {"zip": "category"}}``, or none.
    first_index : {0, 1}, optional
        Index of the first column of an svmlight file in which no row has index 0; 1 by default, as the format has it.

    Returns
    -------
    DataSet

    Raises
    ------
    DataError
        One line that names the file (and line and column of a text file).
    SettingError
        If `scale` or `limit` is not one of the above.

    Examples
    --------
    >>> digits = open("digits28", limit=100)
    >>> digits.rows.shape, digits.labels[:3], digits.scaling
    ((100, 784), array([0, 1, 2]), 'none')
    """
    if limit is not None and limit < 1:
        raise invalid("limit", "at least 1", limit)
    base, colon, split = spec.partition(":")
    if base in BUILTIN:
        content = _builtin(base, split if colon else None, labels, data_dir)
        content = first_rows(content, limit)
        name, origin = spec.replace(":", "-"), spec
    else:
        check_exists(spec)
        if table is None:
            content = read(spec, labels, limit, n_features, first_index)
        else:
            content = read_mixed(spec, labels, limit, n_features, **table)
        path, part = split_spec(spec)
        name = path.resolve().name
        name = name if path.is_dir() else name.split(".")[0] or name
        name += "-test" if path.is_dir() and part == "test" else ""
        origin = str(path.resolve()) + (f":{part}" if part else "")
        if content.labels is None and n_features is None and table_schema(content.rows) is None:
            warn_of_suspects(spec, content)
    names = content.feature_names
    schema = table_schema(content.rows)
    if schema is not None:
        _check_scale(spec, scale)
        scale = "none"
    scaling = scale if isinstance(scale, Scaling) else Scaling.fit(content.rows, scale, names)
    rows = scaling.apply(content.rows)
    return DataSet(rows, content.labels, name, origin, scaling, names, content.label_name, schema, content.first_index)


def _check_scale(spec: str, scale: str | Scaling) -> None:
    """Refuse to scale a table of mixed columns, whose numbers are binned."""
    if isinstance(scale, str) and scale not in ("auto", "none"):
        raise SettingError(
            Mention("scale", scale),
            f" is for files of numbers; {spec} is a table: leave it out",
            setting="scale",
            value=scale,
        )


def check_exists(spec: str) -> None:
    """Refuse data that are neither built in nor a file or folder, and name the nearest built-in set.

    Raises
    ------
    DataError
    """
    if spec.partition(":")[0] in BUILTIN:
        return
    try:
        split_spec(spec)
    except DataError as error:
        near = difflib.get_close_matches(spec.partition(":")[0], BUILTIN, n=1)
        hint = f"did you mean {near[0]}?" if near else f"built-in sets are {', '.join(BUILTIN)}"
        raise DataError(f"{error}; {hint}") from None


def _builtin(name: str, split: str | None, labels: str | None, data_dir: str | None) -> Content:
    """Load a built-in set."""
    if labels is not None:
        raise SettingError(f"{name} already has labels; leave ", Mention("labels", labels), " out", setting="labels")
    if name not in OPENML and split is not None:
        raise DataError(f"{name} has no splits, got {name}:{split}")
    if split not in (None, "train", "test"):
        raise DataError(f"no split {split!r}; write {name}, {name}:train or {name}:test")
    return BUILTIN[name](name, split or "train", data_dir)


def _digits(name: str, split: str, data_dir: str | None) -> Content:
    """Load the 1,797 digits of 8 x 8 pixels that come with scikit-learn, divided by 16: values in [0, 1]."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return Content(ArraySource((images / 16).astype(np.float32)), labels.astype(np.int64))


def _digits28(name: str, split: str, data_dir: str | None) -> Content:
    """Load the same digits resampled to 28 x 28 = 784 pixels by cubic splines: values in [0, 1]."""
    from scipy.ndimage import zoom

    small = _digits(name, split, data_dir)
    # Spline interpolation is linear in the pixels and separable: one 28 x 8 matrix does both axes.
    spread = zoom(np.eye(8), (28 / 8, 1), order=3, mode="nearest", grid_mode=True)
    images = small.rows.take(slice(None)).astype(np.float64).reshape(-1, 8, 8)
    large = np.clip(spread @ images @ spread.T, 0, 1)
    return Content(ArraySource(large.reshape(-1, 784).astype(np.float32)), small.labels)


def _idx_or_openml(name: str, split: str, data_dir: str | None) -> Content:
    """Load a set of 70,000 images from a folder of IDX files, else by scikit-learn's fetch_openml."""
    given = data_dir or os.environ.get(DATA_DIR_VARIABLE)
    if given:
        for folder in (Path(given).expanduser() / name, Path(given).expanduser()):
            if has_idx_files(folder):
                content = read_idx_folder(folder, split)
                _check_identity(name, folder, content)
                return content
    try:
        images, labels = _fetch_openml(OPENML[name])
    except Exception as error:  # the network fails in many ways, and each means the same here
        where = f"no IDX files in {given} or {Path(given) / name}" if given else f"{DATA_DIR_VARIABLE} is not set"
        reason = (str(error) or repr(error)).splitlines()[0]
        raise DataError(
            f"{name}: {where}, and downloading failed ({reason}); either "
            f"put its four IDX files in a folder and name that by --data-dir or {DATA_DIR_VARIABLE}, or go online once "
            f"so that scikit-learn's fetch_openml({OPENML[name]!r}) can store it"
        ) from error
    part = slice(None, N_TRAIN) if split == "train" else slice(N_TRAIN, None)
    return Content(ArraySource(images[part]), labels[part], whole=True)


def _check_identity(name: str, folder: Path, content: Content) -> None:
    """Refuse images that are known to be those of another set: all such folders hold files of the same names."""
    images = content.rows.take(slice(0, N_KNOWN)).astype(np.uint8)
    known = KNOWN.get(hashlib.sha256(images.tobytes()).hexdigest(), name)
    if known != name:
        raise DataError(
            f"{folder}: holds the images of {known}, not of {name}; name the data {known} or another folder"
        )


def _fetch_openml(name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return all images and labels of a set on openml.org, from scikit-learn's cache if it is there."""
    from sklearn.datasets import fetch_openml

    parser = "pandas" if importlib.util.find_spec("pandas") else "liac-arff"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one per retry
        images, labels = fetch_openml(
            name, version=1, return_X_y=True, as_frame=False, parser=parser, n_retries=1, delay=0.5
        )
    return np.asarray(images).astype(np.uint8), np.asarray(labels).astype(np.int64)


BUILTIN: dict[str, Callable[[str, str, str | None], Content]] = {
    "digits": _digits,
    "digits28": _digits28,
    "mnist": _idx_or_openml,
    "fashion-mnist": _idx_or_openml,
}
"""Built-in sets by name: functions of (name, split, data_dir)."""

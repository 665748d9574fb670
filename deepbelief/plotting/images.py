"""Images of rows: reconstructions, samples, and hidden units on a minibatch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from deepbelief.bounds import COUNT
from deepbelief.errors import DataError
from deepbelief.estimators.tables import schema_of
from deepbelief.estimators.views import (
    as_array,
    first_rows,
    hidden_values,
    layers_of,
    n_inputs,
    reconstruct,
    rows_of,
    sample_rows,
)
from deepbelief.plotting.axes import (
    WIDTH,
    Shape,
    columns_for,
    image_shape,
    mosaic,
    new_axes,
    set_names,
    set_title,
    show,
    tile_of,
)
from deepbelief.plotting.weights import check_layer
from deepbelief.typing import Array, Estimator, RandomState, RowsLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _range(rows: Array) -> tuple[float, float]:
    """Return the values of black and white: 0 and 1 if all values lie in between, otherwise the extremes."""
    finite = rows[np.isfinite(rows)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _take(model: Estimator, X: RowsLike, n: int) -> tuple[RowsLike, Array]:
    """Return the first rows as given and as an array; rows of a table as visible units, with NaN where missing."""
    is_table = schema_of(model) is not None
    given = first_rows(rows_of(model, X) if is_table else X, n)
    rows = as_array(given)
    if np.isinf(rows).any() or (np.isnan(rows).any() and not is_table):
        raise DataError("X has values that are not finite")
    return given, rows


def _units(model: Estimator, rows: Array) -> Array:
    """Return rows of a table as they enter the first layer, where columns of different kinds have similar scales."""
    stack = layers_of(model)
    labels = np.zeros((len(rows), stack.sizes[0] - n_inputs(stack)), rows.dtype)
    return np.asarray(stack.layers[0].enter(np.hstack([rows, labels])))[:, : n_inputs(stack)]


def plot_rows(
    rows: RowsLike, ax: "Axes | None" = None, *, n_columns: int | None = None, shape: Shape = "auto"
) -> "Axes":
    """Draw rows in grey, as images if they have a shape, otherwise one below the other.

    Parameters
    ----------
    rows : array-like of shape (n_rows, n_features)
    ax : matplotlib Axes, optional
    n_columns : int, optional
        Images in a row; by default they fill a square.
    shape : (height, width), "auto" or None, default="auto"
        As in `plot_receptive_fields`.

    Returns
    -------
    matplotlib Axes
        Its only image holds the rows. 0 is black and 1 is white if all values lie in between, otherwise the extremes
        are.

    Raises
    ------
    DataError, SettingError
        If the rows are not a table, or have no such shape.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from deepbelief.plotting import plot_rows
    >>> plot_rows(load_digits().data[:6] / 16).images[0].get_array().shape
    (17, 26)
    """
    rows = as_array(rows)
    low, high = _range(rows)
    tile = image_shape(shape, rows.shape[1])
    if tile is None:
        ax = new_axes(ax, 2.9)
        show(ax, rows, low=low, high=high, colors="gray", frame=True)
        ax.set(xlabel="feature", ylabel="row")
        return ax
    image = mosaic(rows, tile, columns_for(len(rows)) if n_columns is None else COUNT.checked("n_columns", n_columns))
    ax = new_axes(ax, WIDTH * image.shape[0] / image.shape[1] + 0.4)
    show(ax, image, low=low, high=high, colors="gray", frame=False)
    return ax


def plot_sequence(frames: RowsLike, ax: "Axes | None" = None) -> "Axes":
    """Draw a sequence as a piano roll: time from left to right, features from bottom to top.

    Parameters
    ----------
    frames : array-like of shape (n_frames, n_features)
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        Its only image holds the frames, dark where a value is large; the last feature is its first row.

    Raises
    ------
    DataError
        If the frames are not a table.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief.plotting import plot_sequence
    >>> plot_sequence(np.eye(88)[:30]).images[0].get_array().shape
    (88, 30)
    """
    frames = as_array(frames)
    low, high = _range(frames)
    ax = new_axes(ax, 2.9)
    show(ax, frames.T[::-1], low=low, high=high, colors="gray_r", frame=True)
    last = frames.shape[1] - 1
    ticks = sorted({0, last // 2, last})
    ax.set_yticks([last - tick for tick in ticks], [str(tick) for tick in ticks])
    ax.set(xlabel="frame", ylabel="feature")
    return ax


def plot_reconstructions(
    model: Estimator, X: RowsLike, ax: "Axes | None" = None, *, n: int = 10, shape: Shape = "auto",
    feature_names: Sequence[str] | None = None,
) -> "Axes":  # fmt: skip
    """Draw rows above their reconstructions, computed up through the layers and down again.

    Parameters
    ----------
    model : fitted estimator or Stack
    X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
    ax : matplotlib Axes, optional
    n : int, default=10
        Maximum number of rows; the first ones are drawn.
    shape : (height, width), "auto" or None, default="auto"
        As in `plot_receptive_fields`. Rows that are not images are drawn below each other, standardised where the
        model does so.
    feature_names : sequence of str, optional
        Labels below rows that are not images; by default the feature names of `fit`.

    Returns
    -------
    matplotlib Axes
        Its only image holds originals and reconstructions.

    Raises
    ------
    SettingError
        If the model is not fitted, or keeps only fine-tuned layers, which cannot be decoded.
    DataError
        If the rows do not fit the model.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from deepbelief import DBN, RBM
    >>> from deepbelief.plotting import plot_reconstructions
    >>> X = load_digits().data / 16
    >>> dbn = DBN((32, 16), rbm=RBM(n_iter=1), random_state=0).fit(X)
    >>> plot_reconstructions(dbn, X, n=3).images[0].get_array().shape
    (17, 26)
    """
    given, rows = _take(model, X, COUNT.checked("n", n))
    made = reconstruct(model, given)
    tile = tile_of(model, shape, rows.shape[1])
    if tile is not None:
        ax = plot_rows(np.concatenate([rows, made]), ax, n_columns=len(rows), shape=tile)
    else:
        gap = np.full((1, rows.shape[1]), np.nan)
        low, high = _range(_units(model, rows))
        ax = new_axes(ax, 3.6)
        parts = [_units(model, rows), gap, _units(model, made)]
        show(ax, np.concatenate(parts), low=low, high=high, colors="gray", frame=True)
        middle = (len(rows) - 1) / 2
        places, words = [middle, len(rows) + 1 + middle], ["originals", "reconstructions"]
        ax.set_yticks(places, words, rotation=90, va="center", fontsize="small")
        ax.set_xlabel("feature")
        set_names(ax, "x", model, feature_names)
    set_title(ax, "Originals above, reconstructions below")
    return ax


def plot_samples(
    model: Estimator, ax: "Axes | None" = None, *, n: int = 16, n_steps: int = 1000, random_state: RandomState = None,
    shape: Shape = "auto", feature_names: Sequence[str] | None = None, start: RowsLike = None,
) -> "Axes":  # fmt: skip
    """Draw samples from the model: Gibbs sampling in its top machine, then means down through the layers.

    Parameters
    ----------
    model : fitted estimator or Stack
    ax : matplotlib Axes, optional
    n : int, default=16
        Number of samples.
    n_steps : int, default=1000
        Gibbs steps.
    random_state : int, Generator or None
    shape : (height, width), "auto" or None, default="auto"
        As in `plot_reconstructions`.
    feature_names : sequence of str, optional
        As in `plot_reconstructions`.
    start : array-like, CSR matrix or RowSource of shape (n_rows, n_features), optional
        Rows from which the chains start; by default the states that the model kept from training.

    Returns
    -------
    matplotlib Axes
        Its only image holds the samples.

    Raises
    ------
    SettingError
        If the model is not fitted, or keeps only fine-tuned layers.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from deepbelief import RBM
    >>> from deepbelief.plotting import plot_samples
    >>> rbm = RBM(16, n_iter=1, random_state=0).fit(load_digits().data / 16)
    >>> plot_samples(rbm, n=4, n_steps=5, random_state=0).images[0].get_array().shape
    (17, 17)
    """
    rows = sample_rows(model, COUNT.checked("n", n), n_steps=n_steps, random_state=random_state, start=start)
    schema = schema_of(model)
    if schema is not None:
        rows = schema.encode(rows)
    tile = tile_of(model, shape, rows.shape[1])
    ax = plot_rows(rows if tile else _units(model, rows), ax, shape=tile)
    if tile is None:
        set_names(ax, "x", model, feature_names)
    set_title(ax, f"{n} samples after {n_steps} Gibbs steps")
    return ax


def plot_hidden_probabilities(
    model: Estimator, X: RowsLike, ax: "Axes | None" = None, layer: int = 0, *, n: int = 100
) -> "Axes":
    """Draw the values of the units of a layer for each row of a minibatch (Hinton 2010, section 15).

    Units with the same value for every row appear as columns, and rows that activate no unit as black rows.

    Parameters
    ----------
    model : fitted estimator or Stack
    X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
    ax : matplotlib Axes, optional
    layer : int, default=0
        0 for the first.
    n : int, default=100
        Maximum number of rows; the first ones are drawn.

    Returns
    -------
    matplotlib Axes
        Its only image has a row for each row of X and a column for each unit. Probabilities are drawn from black (0) to
        white (1), values of other units (tanh, rectified ...) from the smallest to the largest.

    Raises
    ------
    SettingError
        If the model is not fitted, or there is no such layer.
    DataError
        If the rows do not fit the model.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from deepbelief import RBM
    >>> from deepbelief.plotting import plot_hidden_probabilities
    >>> X = load_digits().data / 16
    >>> rbm = RBM(16, n_iter=1, random_state=0).fit(X)
    >>> plot_hidden_probabilities(rbm, X).images[0].get_array().shape
    (100, 16)
    """
    layer = check_layer(layers_of(model), layer)
    given, _ = _take(model, X, COUNT.checked("n", n))
    values = hidden_values(model, given, layer)
    low, high = _range(values)
    ax = new_axes(ax, 3.4)
    show(ax, values, low=low, high=high, colors="gray", frame=True)
    ax.set(xlabel="hidden unit", ylabel="case")
    set_title(ax, f"Layer {layer + 1}: {len(values)} cases, {low:.2g} (black) to {high:.2g} (white)")
    return ax

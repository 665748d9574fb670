"""Figures of weights: receptive fields, and histograms of weights and their updates."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from deepbelief.bounds import COUNT
from deepbelief.errors import SettingError, unknown
from deepbelief.estimators.views import layers_of, n_inputs, updates_of
from deepbelief.plotting.axes import (
    COLORS,
    WIDTH,
    Shape,
    columns_for,
    mosaic,
    new_axes,
    set_names,
    set_title,
    show,
    tile_of,
)
from deepbelief.stack import Stack
from deepbelief.typing import Array, Estimator

if TYPE_CHECKING:
    from matplotlib.axes import Axes


BINS = 61
MAX_WEIGHT = 1e100
OF = ("weights", "updates")


def check_layer(stack: Stack, layer: object) -> int:
    """Return the index of a layer of the stack, or refuse it."""
    if isinstance(layer, (int, np.integer)) and not isinstance(layer, bool) and 0 <= layer < len(stack):
        return int(layer)
    raise SettingError(f"layer must be an integer from 0 to {len(stack) - 1}, got {layer!r}")


def receptive_fields(stack: Stack, layer: int) -> Array:
    """Return the weights of a layer projected onto the inputs, linearly through the layers below.

    Returns
    -------
    ndarray of shape (n_features, n_hidden)
        For the first layer, its weights without those of label units.
    """
    fields: Array = stack.layers[0].W[: n_inputs(stack)]
    for weights in stack.layers[1 : layer + 1]:
        W = weights.W if weights.scale is None else weights.W / weights.scale[:, None]
        fields = fields @ W
    return fields


def plot_receptive_fields(
    model: Estimator, ax: "Axes | None" = None, *, layer: int = 0, n: int = 64, shape: Shape = "auto",
    feature_names: Sequence[str] | None = None,
) -> "Axes":  # fmt: skip
    """Draw the receptive fields of a layer: the weights of its first units to the inputs, blue below 0 and red above.

    Units above the first layer are projected down linearly, through the product of the weights.

    Parameters
    ----------
    model : fitted estimator or Stack
    ax : matplotlib Axes, optional
    layer : int, default=0
        0 for the first.
    n : int, default=64
        Maximum number of units.
    shape : (height, width), "auto" or None, default="auto"
        Shape of a row as an image. ``"auto"`` is square if there are 64, 81, 100 ... features. Rows that are not images
        (None) are drawn as a heat map with inputs as rows and units as columns.
    feature_names : sequence of str, optional
        Labels of the inputs of a heat map; by default the feature names of `fit`.

    Returns
    -------
    matplotlib Axes
        Its only image holds the weights; pixels between the units are masked.

    Raises
    ------
    SettingError
        If the model is not fitted, or there is no such layer or shape.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from deepbelief import RBM
    >>> from deepbelief.plotting import plot_receptive_fields
    >>> rbm = RBM(16, n_iter=1, random_state=0).fit(load_digits().data / 16)
    >>> plot_receptive_fields(rbm).images[0].get_array().shape
    (35, 35)
    """
    stack = layers_of(model)
    layer = check_layer(stack, layer)
    fields = receptive_fields(stack, layer)
    n_features, n_hidden = fields.shape
    tile, n = tile_of(model, shape, n_features), min(COUNT.checked("n", n), n_hidden)
    fields = fields[:, :n]
    limit = float(np.quantile(np.abs(_tamed(fields)), 0.999))  # outliers would hide the others
    style = {"low": -limit, "high": limit, "colors": "RdBu_r"}
    if tile is None:
        ax = new_axes(ax, 4.0)
        show(ax, fields, frame=True, **style)  # type: ignore[arg-type]
        ax.set(xlabel="hidden unit", ylabel="input")
        set_names(ax, "y", model, feature_names)
    else:
        image = mosaic(fields.T, tile, columns_for(n))
        ax = new_axes(ax, WIDTH * image.shape[0] / image.shape[1] + 0.4)
        show(ax, image, frame=False, **style)  # type: ignore[arg-type]
    through = " seen through the layers below" if layer else ""
    set_title(ax, f"Layer {layer + 1}: {n} of {n_hidden} units{through}, {-limit:.2g} (blue) to {limit:.2g} (red)")
    return ax


def plot_weight_histogram(model: Estimator, ax: "Axes | None" = None, layer: int = 0, *, of: str = "weights") -> "Axes":
    """Draw a histogram of the weights of a layer, or of their updates (Hinton 2010, section 7).

    Parameters
    ----------
    model : fitted estimator or Stack
    ax : matplotlib Axes, optional
    layer : int, default=0
        0 for the first.
    of : {"weights", "updates"}, default="weights"
        ``"updates"``: for an `RBM` the last update including momentum, which should be about a thousandth of the
        weights; for a fine-tuned model the difference from the pretrained weights. Other models keep no updates.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    SettingError
        If the model is not fitted, there is no such layer, or the model keeps no updates.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import RBM
    >>> from deepbelief.plotting import plot_weight_histogram
    >>> rbm = RBM(4, n_iter=1, random_state=0).fit(np.eye(6))
    >>> int(sum(bar.get_height() for bar in plot_weight_histogram(rbm).patches))
    24
    """
    if of not in OF:
        raise SettingError(unknown("of", of, OF))
    stack = layers_of(model)
    layer = check_layer(stack, layer)
    values, what = stack.layers[layer].W, "weights"
    if of == "updates":
        size = _size(values)
        values, kind = updates_of(model, layer)
        words = {"last update": "last update of the weights", "fine-tuning": "move of the weights in fine-tuning"}
        what = words[kind] + (f", {_size(values) / size:.2g} of their size" if size else "")
    ax = new_axes(ax, 2.9)
    values = _tamed(values)
    counts, edges = np.histogram(values, BINS, _bounds(values))
    ax.bar(edges[:-1], counts, np.diff(edges), align="edge", color=COLORS[of == "updates"])
    ax.locator_params(axis="x", nbins=6)
    name = "weight" if of == "weights" else "change"
    ax.set(xlabel=f"{name} (root mean square {_size(values):.2g})", ylabel="number of weights")
    set_title(ax, f"Layer {layer + 1}: {what}")
    return ax


def _tamed(values: Array) -> Array:
    """Return values whose squares are finite; a file may contain others."""
    return np.clip(np.nan_to_num(values.astype(np.float64)), -MAX_WEIGHT, MAX_WEIGHT)


def _bounds(values: Array) -> tuple[float, float]:
    """Return the ends of a histogram, which differ even if all values are equal."""
    low, high = float(values.min()), float(values.max())
    room = max(0.0, 1e-6 * max(abs(low), abs(high)) - (high - low)) or (0.5 if low == high else 0.0)
    return low - room, high + room


def _size(values: Array) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(_tamed(values)))))

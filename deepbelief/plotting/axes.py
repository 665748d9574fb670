"""Shared parts of figures: axes without pyplot, rows as images, and PNG bytes for light and dark pages."""

import io
import math
import operator
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from deepbelief.errors import DataError, MissingExtraError, SettingError
from deepbelief.typing import Array, Estimator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Shape = tuple[int, int] | str | None

SMALLEST_IMAGE = 8  # a table of 25 or 49 columns is more often a table than an image
GAP = "#85858c"  # between images: a grey that differs from the ground of light and dark pages
WIDTH = 4.6  # inches: text stays legible on a phone, where the figure is 9 cm wide
COLORS = ("#3987cd", "#dd7a2c", "#36a06a", "#b566c4", "#d4534f", "#8f8a33")
MOST_NAMES = 40


def new_axes(ax: "Axes | None", height: float, width: float = WIDTH) -> "Axes":
    """Return the given axes, or new ones in a figure of this size in inches.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    if ax is not None:
        return ax
    check_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").add_subplot()


def check_matplotlib() -> None:
    """Raise MissingExtraError if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("figures need matplotlib: pip install 'deepbelief[plot]'") from error


def image_shape(shape: Shape, n_features: int) -> tuple[int, int] | None:
    """Return (height, width) of the image in a row; None if a row is not an image.

    ``"auto"`` treats rows of a square number of features, from 8 x 8, as images.

    Raises
    ------
    SettingError
        If the shape is invalid or has another number of pixels.
    """
    if shape is None:
        return None
    if isinstance(shape, str):
        if shape != "auto":
            raise SettingError(f"shape must be (height, width), 'auto' or None, got {shape!r}")
        side = math.isqrt(n_features)
        return (side, side) if side * side == n_features and side >= SMALLEST_IMAGE else None
    try:
        height, width = (operator.index(n) for n in shape)
    except (TypeError, ValueError) as error:
        raise SettingError(f"shape must be (height, width), 'auto' or None, got {shape!r}") from error
    if min(height, width) < 1 or height * width != n_features:
        raise SettingError(f"shape {height} x {width} has {height * width} pixels, but a row has {n_features} features")
    return height, width


def tile_of(model: Estimator, shape: Shape, n_features: int) -> tuple[int, int] | None:
    """Return the shape of a row's image, as `image_shape` does; rows of a table have none by default."""
    is_table = getattr(model, "schema_", None) is not None
    return None if is_table and shape == "auto" else image_shape(shape, n_features)


def columns_for(n: int) -> int:
    """Return the number of columns that arranges n images in a square."""
    return math.ceil(math.sqrt(n))


def mosaic(rows: Array, shape: tuple[int, int], n_columns: int) -> Array:
    """Return images in a grid, one pixel apart, in reading order; NaN where there is no image.

    Parameters
    ----------
    rows : ndarray of shape (n, height * width)
    shape : tuple of int
        (height, width) of each.
    n_columns : int

    Returns
    -------
    ndarray of shape (n_rows * (height + 1) - 1, n_columns * (width + 1) - 1)
    """
    height, width = shape
    n_rows = -(-len(rows) // n_columns)
    out = np.full((n_rows * (height + 1) - 1, n_columns * (width + 1) - 1), np.nan)
    for i, row in enumerate(rows):
        top, left = (i // n_columns) * (height + 1), (i % n_columns) * (width + 1)
        out[top : top + height, left : left + width] = row.reshape(height, width)
    return out


def show(ax: "Axes", image: Array, *, low: float, high: float, colors: str, frame: bool) -> None:
    """Draw an array with row 0 at the top; without a frame its pixels are square."""
    if not high > low:
        high = low + 1
    import matplotlib

    cmap = matplotlib.colormaps[colors].with_extremes(bad=GAP)
    ax.imshow(np.ma.masked_invalid(image), cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    ax.set_aspect("auto" if frame else "equal")
    if not frame:
        ax.set_axis_off()


def set_names(ax: "Axes", which: str, model: Estimator, names: Sequence[str] | None) -> None:
    """Label an axis with the names of the features, if they are known and not too many; ``$`` is escaped.

    The name of a table's column is placed at the middle of its units.
    """
    schema = getattr(model, "schema_", None)
    if schema is not None:
        columns = list(zip(schema.starts, schema.used, strict=True))
        places: Sequence[float] = [start + (column.width - 1) / 2 for start, column in columns]
        _write_names(ax, which, places, [column.name for column in schema.used])
        return
    known = getattr(model, "feature_names_in_", ()) if names is None else names
    _write_names(ax, which, range(len(known)), known)


def _write_names(ax: "Axes", which: str, places: Sequence[float], names: Sequence[str]) -> None:
    if not 0 < len(names) <= MOST_NAMES:
        return
    axis = ax.xaxis if which == "x" else ax.yaxis
    shown = [plain(name) for name in names]
    axis.set_ticks(list(places), shown, parse_math=False, fontsize=7, rotation=90 if which == "x" else 0)


def plain(text: object, length: int = 20) -> str:
    """Return text for a figure: short, and without characters that do not print."""
    kept = "".join(c if c.isprintable() else " " for c in str(text))
    return kept if len(kept) <= length else kept[: length - 3] + "..."


def set_title(ax: "Axes", text: str) -> None:
    """Write a title that may be longer than the axes are wide."""
    ax.set_title(text, fontsize="medium", wrap=True)


def to_png(ax: "Axes", *, ink: str = "black", dpi: int = 150) -> bytes:
    """Return the figure of these axes as a PNG file with a transparent ground.

    Parameters
    ----------
    ax : matplotlib Axes
    ink : color, default="black"
        Colour of text and frames: ``"white"`` for a dark page.
    dpi : int, default=150
        Pixels per inch.

    Returns
    -------
    bytes

    Raises
    ------
    DataError
        If the figure has nothing to draw.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import RBM
    >>> from deepbelief.plotting import plot_receptive_fields, to_png
    >>> rbm = RBM(4, n_iter=1, random_state=0).fit(np.eye(9))
    >>> to_png(plot_receptive_fields(rbm, shape=(3, 3)), ink="white")[1:4]
    b'PNG'
    """
    figure = ax.get_figure(root=True)
    if figure is None:
        raise DataError("these axes do not belong to a figure: pass axes that a plotting function returned")
    for axes in figure.axes:
        _recolor(axes, ink)
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a letter that the font lacks is drawn as a box
        figure.savefig(
            out,
            format="png",
            dpi=dpi,
            facecolor="none",
            bbox_inches="tight",
            pad_inches=0.03,
            metadata={"Software": None},
        )
    return out.getvalue()


def _recolor(ax: "Axes", ink: str) -> None:
    ax.patch.set_alpha(0)
    ax.tick_params(which="both", color=ink, labelcolor=ink)
    texts = [ax.title, ax.xaxis.label, ax.yaxis.label, ax.xaxis.get_offset_text(), ax.yaxis.get_offset_text()]
    legend = ax.get_legend()
    if legend is not None:
        legend.get_frame().set_alpha(0)
        texts += legend.get_texts()
    for text in texts:
        text.set_color(ink)
    for spine in ax.spines.values():
        spine.set_edgecolor(ink)

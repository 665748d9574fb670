"""Figures for families of sequences: sequence logos, and statistics of samples against those of the sequences."""

from typing import TYPE_CHECKING

import numpy as np

from deepbelief.plotting.axes import COLORS, GAP, new_axes, set_title
from deepbelief.typing import Array, Float64Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SITE = 0.09  # width of a site of a logo, in inches
MAX_LOGO = 12.0  # inches
LEAST_LETTER = 0.02  # minimum height of a letter, in bits
LETTERS = {letter: COLORS[i % len(COLORS)] for i, letter in enumerate("AGCUTDEKRHNQSYWFPVILM")}


def plot_agreement(data: Float64Array, samples: Float64Array, name: str, ax: "Axes | None" = None) -> "Axes":
    """Draw statistics of samples against those of the data; both are equal on the dashed line.

    Parameters
    ----------
    data, samples : ndarray
        Of the same length.
    name : str
        Name of the statistics.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> ax = plot_agreement(np.array([0.1, 0.5]), np.array([0.2, 0.5]), "frequencies")
    >>> ax.get_xlabel()
    'of the data'
    """
    ax = new_axes(ax, 3.6)
    ends = min(data.min(), samples.min()), max(data.max(), samples.max())
    ax.hexbin(data, samples, gridsize=60, bins="log", mincnt=1, cmap="Blues")
    ax.plot(ends, ends, "--", color=GAP, linewidth=1)
    ax.set(xlabel="of the data", ylabel="of samples")
    set_title(ax, name)
    return ax


def plot_logo(frequencies: Array, alphabet: str, ax: "Axes | None" = None) -> "Axes":
    """Draw a sequence logo: the letters of each site, with the site's information in bits as total height.

    The gap counts as a letter, and its share of the height is left empty.

    Parameters
    ----------
    frequencies : ndarray of shape (n_sites * n_letters,)
    alphabet : str
        Letters of the alphabet, the gap first.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> ax = plot_logo(np.array([0, 0.5, 0.5, 0, 1, 0]), "-AB")
    >>> len(ax.patches)
    3
    """
    p = np.asarray(frequencies, np.float64).reshape(-1, len(alphabet))
    ax = new_axes(ax, 1.6, min(MAX_LOGO, max(3.0, SITE * len(p))))
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    font = FontProperties(weight="bold")
    paths = {letter: TextPath((0, 0), letter, size=1, prop=font) for letter in alphabet[1:]}
    bits = np.log2(len(alphabet)) + (p * np.log2(np.maximum(p, 1e-300))).sum(axis=1)
    for site, (height, shares) in enumerate(zip(bits, p, strict=True)):
        bottom = 0.0
        for k in np.argsort(shares[1:], kind="stable") + 1:
            size = height * shares[k]
            if size < LEAST_LETTER:
                continue
            path, letter = paths[alphabet[k]], alphabet[k]
            box = path.get_extents()
            move = Affine2D().translate(-box.x0, -box.y0).scale(0.9 / box.width, size / box.height)
            shape = path.transformed(move.translate(site + 0.55, bottom))
            ax.add_patch(PathPatch(shape, color=LETTERS.get(letter, GAP), linewidth=0))
            bottom += size
    ax.set(xlim=(0.4, len(p) + 0.6), ylim=(0, np.log2(len(alphabet))), xlabel="site", ylabel="bits")
    return ax

"""Figures without rendering, for tests of what a page shows rather than of how it looks."""

import hashlib
import struct

import numpy as np

CONTENT = {
    "Text": lambda text: text.get_text(),
    "Line2D": lambda line: line.get_xydata(),
    "AxesImage": lambda image: image.to_rgba(image.get_array(), bytes=True),
    "Patch": lambda patch: patch.get_extents().bounds,
    "Collection": lambda points: points.get_offsets(),
}


def sketch(ax, *, ink="black", dpi=150):
    """Return the first bytes of a PNG file and a hash of everything that would be drawn."""
    figure = ax.get_figure(root=True)
    drawn = hashlib.sha256(ink.encode() * any(axes.axison for axes in figure.axes))  # images alone have no ink
    for artist in figure.findobj():
        for content in [CONTENT[kind.__name__](artist) for kind in type(artist).__mro__ if kind.__name__ in CONTENT]:
            drawn.update(np.ma.filled(content).tobytes() if isinstance(content, np.ndarray) else repr(content).encode())
    width, height = (figure.get_size_inches() * dpi).astype(int)
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + drawn.digest()

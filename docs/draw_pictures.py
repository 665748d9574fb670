"""Draw the pictures of the how-to pages from examples of the gallery: ``python docs/draw_pictures.py [NAME ...]``.

The pictures are kept in the repository, so that the pages show them wherever they are read.
"""

import io
import os
import runpy
import sys
from pathlib import Path

os.environ["MPLBACKEND"] = "Agg"
HERE = Path(__file__).resolve().parent
EXAMPLES = {
    "few_labels": "plot_02_few_labels",
    "codes": "plot_03_autoencoder_and_pca",
    "lower_halves": "plot_05_fill_in",
    "log_z": "plot_06_likelihood",
    "two_modes": "plot_07_two_modes",
    "outliers": "plot_08_outliers",
    "piano_roll": "plot_09_piano_roll",
    "table": "plot_15_table_with_holes",
}
"""Examples by the name of their picture in ``docs/howto/pictures``."""
DPI = 80
N_COLOURS = 128  # in a picture, which makes its file small


def main() -> None:
    """Run each example and save its last figure."""
    import matplotlib.pyplot as plt
    from PIL import Image

    (HERE / "howto" / "pictures").mkdir(exist_ok=True)
    for name in sys.argv[1:] or EXAMPLES:
        runpy.run_path(str(HERE / "examples" / f"{EXAMPLES[name]}.py"))
        drawn = io.BytesIO()
        plt.gcf().savefig(drawn, dpi=DPI)
        small = Image.open(drawn).convert("RGB").quantize(N_COLOURS)
        small.save(HERE / "howto" / "pictures" / f"{name}.png", optimize=True)
        plt.close("all")


if __name__ == "__main__":
    main()

"""Figures of models and of training: ``pip install 'deepbelief[plot]'``.

Every function draws on the given matplotlib axes, or on new ones in a new figure, and returns them. No function uses
pyplot: nothing is shown, no global state changes, and no display is needed. ``ax.figure.savefig(path)`` writes a
picture.

`TrainingDisplay`, `WeightsDisplay`, `ReconstructionDisplay` and `RateSweepDisplay` are display classes like those of
scikit-learn: ``from_estimator`` computes and draws, and the display keeps the numbers.

Models are fitted estimators or a `Stack`. Where a model must be decoded (reconstructions, samples), a
fine-tuned classifier is represented by the layers it had before, ``pretrained_stack_``.
"""

from deepbelief.plotting.axes import check_matplotlib, to_png
from deepbelief.plotting.curves import QUANTITIES, plot_learning_curves, plot_mixing
from deepbelief.plotting.displays import (
    Display,
    RateSweepDisplay,
    ReconstructionDisplay,
    TrainingDisplay,
    WeightsDisplay,
)
from deepbelief.plotting.images import (
    plot_hidden_probabilities,
    plot_reconstructions,
    plot_rows,
    plot_samples,
    plot_sequence,
)
from deepbelief.plotting.logos import plot_agreement, plot_logo
from deepbelief.plotting.weights import plot_receptive_fields, plot_weight_histogram

__all__ = [
    "QUANTITIES",
    "Display",
    "RateSweepDisplay",
    "ReconstructionDisplay",
    "TrainingDisplay",
    "WeightsDisplay",
    "check_matplotlib",
    "plot_agreement",
    "plot_hidden_probabilities",
    "plot_learning_curves",
    "plot_logo",
    "plot_mixing",
    "plot_receptive_fields",
    "plot_reconstructions",
    "plot_rows",
    "plot_samples",
    "plot_sequence",
    "plot_weight_histogram",
    "to_png",
]

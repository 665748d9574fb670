"""Sections of a report on a model of sequences: rolls of frames over time."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from deepbelief.errors import DeepBeliefError
from deepbelief.evaluation import evaluate
from deepbelief.plotting import plot_receptive_fields, plot_sequence, plot_weight_histogram
from deepbelief.recurrent.model import NAMES
from deepbelief.stack import Stack
from deepbelief.typing import Array

from ._page import Section
from ._quality import TITLE, which_part
from ._sections import FIELDS, Report, picture

N_ROLLS, MAX_FRAMES, STEPS = 4, 200, 50
RECURRENT = {
    "Wuv": "from states to the visible biases",
    "Wuh": "from states to the hidden biases",
    "Wvu": "from frames to states",
    "Wuu": "from states to the next states",
}


class SequenceReport(Report):
    """A report on a `RecurrentRBM`.

    Parameters
    ----------
    model, content, data, missing, shape
        As of `Report`.
    lengths : ndarray of int or None
        Frames of each sequence of the data.
    """

    def __init__(self, model: Any, content: Any, data: Any, missing: str, shape: Any, lengths: Any) -> None:
        super().__init__(model, content, data, missing, shape)
        self.lengths = lengths

    def sections(self) -> list[Section]:
        """Return all of it."""
        return [
            self.overview(),
            self.quality(),
            self.receptive_fields(),
            self.samples(),
            self.learning_curves(),
            self.weights(),
            self.hidden_probabilities(),
            self.settings(),
            self.environment(),
        ]

    def n_parameters(self) -> int:
        """Return the number of parameters, those of the recurrence included."""
        arrays = self.estimator.machine_.arrays()
        return super().n_parameters() + sum(int(arrays[name].size) for name in NAMES)

    def overview(self) -> Section:
        """Tell kind, sizes, states and file."""
        found, machine = super().overview(), self.estimator.machine_
        states = ("states", f"{machine.n_recurrent} {machine.cell} units")
        facts = [fact for name, value in found.facts for fact in ((name, value), states)[: 2 if name == "units" else 1]]
        if self.data is not None:
            facts.append(("sequences shown", f"{len(self.lengths):,}"))
        return Section(found.title, found.notes, found.pictures, facts)

    def quality(self) -> Section:
        """Measure likelihood and predictions of the next frame."""
        if self.data is None:
            return Section(TITLE, [f"Not measured: {self.missing}"])
        try:
            found = evaluate(self.estimator, self.data.rows, lengths=self.lengths)
        except DeepBeliefError as error:
            return Section(TITLE, [f"Not measured: {error}"])
        where = f"{self.data.source_path}{which_part(self.model, self.data)}"
        return Section(TITLE, [f"Measured on {len(self.lengths):,} sequences of {where}."], facts=found.facts())

    def receptive_fields(self) -> Section:
        """Draw the weights that lead from a frame to each hidden unit."""
        ax = plot_receptive_fields(Stack((self.stack.layers[0],)), n=FIELDS, shape=self.shape, feature_names=self.names)
        return Section("Receptive fields", ["The weights from a frame to each hidden unit."], [picture(ax)])

    def samples(self) -> Section:
        """Draw sequences of the data and of the model."""
        pictures, n_frames = [], MAX_FRAMES
        for number, frames in self._sequences():
            pictures.append(roll(frames, f"Sequence {number} of the data"))
            n_frames = min(n_frames, max(len(frames), 2))
        for seed in range(N_ROLLS - len(pictures)):
            frames = self.estimator.sample(n_frames, gibbs_steps=STEPS, random_state=seed)
            pictures.append(roll(frames, f"Drawn from the model, seed {seed}"))
        notes = [
            f"Samples from the model, {n_frames} frames each, with {STEPS} Gibbs steps per frame. Time "
            "runs from left to right.",
        ]
        return Section("Samples", notes, pictures)

    def weights(self) -> Section:
        """Draw how large the weights are."""
        pictures = [picture(plot_weight_histogram(self.stack))]
        dtype = self.stack.layers[0].W.dtype
        for name, text in RECURRENT.items():
            ax = plot_weight_histogram(_layer(getattr(self.estimator.machine_, name), dtype))
            ax.set_title(f"{name}: {text}")
            pictures.append(picture(ax))
        return Section("Weights", pictures=pictures)

    def hidden_probabilities(self) -> Section:
        """Draw what hidden units say of frames."""
        title = "Hidden probabilities"
        if self.data is None:
            return Section(title, [f"Not drawn: {self.missing}"])
        notes = ["Time runs from left to right; each row is a hidden unit."]
        pictures = []
        for number, frames in self._sequences():
            ax = plot_sequence(self.estimator.transform(frames))
            ax.set_ylabel("hidden unit")
            ax.set_title(f"Sequence {number} of the data")
            pictures.append(picture(ax))
        return Section(title, notes, pictures)

    def _sequences(self) -> Iterator[tuple[int, Array]]:
        """Yield the first sequences of the data with their numbers, no more of each than can be seen."""
        if self.data is None:
            return
        ends = np.cumsum(self.lengths)
        for number in range(min(N_ROLLS // 2, len(ends))):
            start = ends[number] - self.lengths[number]
            yield number + 1, self.data.rows.take(slice(int(start), int(min(ends[number], start + MAX_FRAMES))))


def roll(frames: Array, caption: str) -> Any:
    """Return the picture of a sequence."""
    ax = plot_sequence(frames)
    ax.set_title(caption)
    return picture(ax)


def _layer(values: Array, dtype: Any) -> Stack:
    """Return a matrix as a layer, which histograms are drawn of."""
    from deepbelief.stack import Weights

    n_visible, n_hidden = values.shape
    return Stack((Weights(values, np.zeros(n_visible, dtype), np.zeros(n_hidden, dtype)),))

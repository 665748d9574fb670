"""Held-out sequences, and their likelihood as the score of a recurrent machine."""

from dataclasses import dataclass

import numpy as np

from deepbelief.recurrent.frame_likelihood import frame_log_likelihood
from deepbelief.recurrent.model import RecurrentWeights
from deepbelief.recurrent.trainer import states_before
from deepbelief.seeds import host_rng, stream
from deepbelief.sources import RowSource, SubsetSource, checked
from deepbelief.training import Rows, Run
from deepbelief.typing import Array

MAX_FRAMES = 600  # that judge a machine, about
N_RUNS, N_BETAS = 5, 200  # of annealing for each frame


@dataclass(frozen=True, eq=False)
class Sequences:
    """Concatenated frames of sequences, with the lengths of the sequences."""

    source: RowSource
    lengths: Array

    def part(self, index: Array) -> "Sequences":
        """Return a subset of the sequences."""
        ends = np.cumsum(self.lengths)
        frames = [np.arange(ends[i] - self.lengths[i], ends[i]) for i in index]
        return Sequences(SubsetSource(self.source, np.concatenate(frames)), self.lengths[index])

    def split(self, fraction: float, seed: int) -> tuple["Sequences", "Sequences"]:
        """Split into training sequences and randomly drawn, whole held-out sequences."""
        n = len(self.lengths)
        order = host_rng(seed, "held-out sequences").permutation(n)
        n_held = min(max(1, round(fraction * n)), n - 1)
        return self.part(np.sort(order[n_held:])), self.part(np.sort(order[:n_held]))

    def some(self, most: int) -> "Sequences":
        """Return the first sequences, at least one, up to about this number of frames."""
        return self.part(np.flatnonzero(np.cumsum(self.lengths) - self.lengths < most))


@dataclass(frozen=True, eq=False)
class Judge:
    """Scorer of a machine by the log-likelihood of held-out frames, with the same random numbers at each call."""

    held_out: Sequences
    run: Run

    def __call__(self, weights: RecurrentWeights) -> float:
        """Return the lower end of the interval of the mean over frames."""
        bk, some = self.run.bk, self.held_out.some(MAX_FRAMES)
        rows = Rows(checked(some.source, weights.frame), bk, weights.frame.W.dtype)
        before, _ = states_before(weights, rows, some.lengths, bk)
        rows = Rows(checked(some.source, weights.frame), bk, weights.frame.W.dtype)
        rng = bk.rng(stream(self.run.seed, "held-out sequences", "annealing"))
        return frame_log_likelihood(weights, rows, before, bk, rng, n_runs=N_RUNS, betas=N_BETAS).low

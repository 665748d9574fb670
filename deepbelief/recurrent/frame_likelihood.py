"""Likelihood of frames, given the frames before them, and of held-out sequences as the score of a machine."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from deepbelief.backends import Backend, Rng
from deepbelief.errors import DataError, SettingError, unknown
from deepbelief.likelihood.driven import EXACT_UNITS, ais_driven_log_z, exact_driven_log_z
from deepbelief.machine import Workspace
from deepbelief.recurrent.model import RecurrentMachine, RecurrentWeights
from deepbelief.recurrent.trainer import states_before
from deepbelief.seeds import host_rng, stream
from deepbelief.sources import RowSource, SubsetSource, checked
from deepbelief.training import BLOCK_ROWS, Rows, Run
from deepbelief.typing import Array, Float64Array

METHODS = ("auto", "exact", "ais")


@dataclass(frozen=True, eq=False)
class FrameLogLikelihood:
    """Log-likelihoods of frames given the preceding frames of their sequences, in nats.

    Attributes
    ----------
    frames : ndarray of shape (n_frames,)
    low, high : float
        The mean over the frames minus and plus 3 standard errors of the estimates of log Z. Annealing underestimates
        log Z by half its variance in expectation, which ``low`` also subtracts. Both equal the mean if log Z is exact.
        Report ``low``.
    method : str
        How log Z was found.
    """

    frames: Float64Array
    low: float
    high: float
    method: str

    @property
    def mean(self) -> float:
        """Mean over the frames."""
        return float(self.frames.mean())

    def __str__(self) -> str:
        """Return the mean with its interval and the method."""
        interval = f"{self.low:.3f} to {self.high:.3f}"
        return f"{self.mean:.3f} nats per frame ({interval}), {len(self.frames)} frames; {self.method}"


def frame_log_likelihood(
    weights: RecurrentWeights, rows: Rows, before: Array, bk: Backend, rng: Rng, *, method: str = "auto",
    **ais: Any,
) -> FrameLogLikelihood:  # fmt: skip
    """Return the log-likelihood of each frame: -F(v) - log Z of its machine.

    Parameters
    ----------
    weights : RecurrentWeights
    rows : Rows
        As they enter the machine.
    before : ndarray of shape (n_frames, n_recurrent)
        States before the frames.
    bk : Backend
    rng : Rng
    method : {"auto", "exact", "ais"}
        ``"auto"`` enumerates up to 12 hidden units.
    **ais
        As for `ais_driven_log_z`.
    """
    if method not in METHODS:
        raise SettingError(unknown("method", method, METHODS))
    exact = method == "exact" or (method == "auto" and weights.frame.n_hidden <= EXACT_UNITS)
    model, space = RecurrentMachine(weights, bk), Workspace(bk, weights.frame.W.dtype)
    found, variance, how = np.empty(len(rows)), np.empty(len(rows)), ""
    for start, stop, v in rows.blocks(BLOCK_ROWS):
        _check_binary(weights, bk.to_numpy(v), start)
        machine = model.driven_by(bk.asarray(before[start:stop], dtype=model.dtype), space)
        energy = bk.to_numpy(machine.free_energy(v)).astype(np.float64)
        log_z = exact_driven_log_z(machine) if exact else ais_driven_log_z(machine, rng, **ais)
        found[start:stop], variance[start:stop], how = -energy - log_z.log_z, log_z.variance, log_z.method
    found -= weights.frame.log_volume
    mean, error = float(found.mean()), 3 * float(np.sqrt(variance.sum())) / len(found)
    return FrameLogLikelihood(found, mean - error - 0.5 * float(variance.mean()), mean + error, how)


def _check_binary(weights: RecurrentWeights, v: Array, start: int) -> None:
    """Refuse grey levels, for which a binary machine has no likelihood."""
    if not weights.frame.visible_unit.discrete:
        return
    wrong = np.argwhere((v != 0) & (v != 1))
    if len(wrong):
        row, column = wrong[0]
        raise DataError(
            f"row {start + row}, column {column} is {v[row, column]:g}: a likelihood needs frames of 0 and 1; "
            "threshold them, or sample them once, and report which"
        )


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

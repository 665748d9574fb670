"""Phases of the training of a model of sequences."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from deepbelief.estimators.base import warn_diverged
from deepbelief.recipes import (
    Choices,
    resolution_lines,
)
from deepbelief.recurrent import (
    RecurrentSettings,
    RecurrentState,
    RecurrentTrainer,
    RecurrentWeights,
    recurrent_state,
)
from deepbelief.recurrent.held_out_sequences import Judge
from deepbelief.sources import RowSource, checked, column_statistics
from deepbelief.stack import State
from deepbelief.training import Record, Rows, Run
from deepbelief.typing import Array
from deepbelief.units import get_unit


@dataclass(frozen=True, eq=False)
class SequenceRun:
    """Values that stay the same from phase to phase of a fit."""

    source: RowSource
    lengths: Array
    run: Run
    pretrain_frames: int
    judge: Judge | None
    choices: Choices  # automatic settings so far

    def train(
        self, phase: str, settings: RecurrentSettings, machine: RecurrentWeights, state: RecurrentState,
        history: list[Record], *, shuffle: bool = True, judged: bool = False,
    ) -> tuple[RecurrentWeights, RecurrentState]:  # fmt: skip
        """Train a machine in a phase of this name, which is added to the history.

        Returns the machine, and what its next update reads beside it.
        """
        settings = settings.resolve(self.lengths)
        for line in resolution_lines({n: c for n, c in settings.resolved.items() if self.choices.get(n) != c}):
            self.run.reporter.note(line)
        self.choices.update(settings.resolved)
        first, last = state.epochs, state.epochs + int(settings.n_iter)
        judge = self.judge if judged else None
        trainer = RecurrentTrainer(machine, settings, self.lengths, self.run, horizon=last, state=state, judge=judge)
        rows = Rows(checked(self.source, machine.frame), self.run.bk, trainer.model.dtype)
        self.run.checkpointer.enter(phase, partial(_context, machine, history))
        extent = {"n_epochs": last, "sizes": machine.frame.W.shape, "first_epoch": first}
        self.run.reporter.begin({"phase": phase, **extent})
        history += trainer.train(rows, range(first, last), shuffle=shuffle, phase=phase)
        warn_diverged(trainer.diverged)
        return trainer.result()


def has_frame_likelihood(source: RowSource) -> bool:
    """Return whether frames have a likelihood: bits, or values beyond [0, 1]; grey levels have none."""
    statistics = column_statistics(source)
    if not get_unit("bernoulli").admits(statistics.min, statistics.max):
        return True
    bits = statistics.two_valued(source.dtype) | statistics.constant(source.dtype)
    ends = np.concatenate([statistics.min, statistics.max])
    return bool(bits.all() and np.isin(ends, (0, 1)).all())


def _context(machine: RecurrentWeights, history: list[Record]) -> State:
    """Return what is needed to come back to a phase, beside the state of its trainer."""
    return {"machine": recurrent_state(machine), "history": list(history)}

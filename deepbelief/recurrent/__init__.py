"""Recurrent restricted Boltzmann machines: models of sequences, trained by truncated backpropagation through time."""

from deepbelief.recurrent.cells import CELLS, get_cell
from deepbelief.recurrent.model import (
    RecurrentMachine,
    RecurrentWeights,
    initial_recurrent,
    recurrent_from_state,
    recurrent_state,
)
from deepbelief.recurrent.phases import NextFrame
from deepbelief.recurrent.trainer import RecurrentSettings, RecurrentState, RecurrentTrainer, states_before
from deepbelief.recurrent.windows import check_lengths, make_plan

__all__ = [
    "CELLS",
    "NextFrame",
    "RecurrentMachine",
    "RecurrentSettings",
    "RecurrentState",
    "RecurrentTrainer",
    "RecurrentWeights",
    "check_lengths",
    "get_cell",
    "initial_recurrent",
    "make_plan",
    "recurrent_from_state",
    "recurrent_state",
    "states_before",
]

"""Recurrent restricted Boltzmann machines: models of sequences, trained by truncated backpropagation through time."""

from deepbelief.recurrent.cells import CELLS

__all__ = ["CELLS"]

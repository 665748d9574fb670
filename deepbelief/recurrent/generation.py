"""Prediction of the next frame, and sampling of sequences."""

import numpy as np

from deepbelief.backends import Backend, Rng
from deepbelief.likelihood.driven import EXACT_UNITS, ais_driven_means
from deepbelief.machine import Machine, Workspace
from deepbelief.recurrent.model import RecurrentMachine, RecurrentWeights
from deepbelief.typing import Array, DeviceArray

BLOCK_FRAMES = 1024


def expected_frames(
    weights: RecurrentWeights, before: Array, bk: Backend, rng: Rng, *, n_chains: int = 10, betas: int = 100,
    gibbs_steps: int = 50,
) -> Array:  # fmt: skip
    """Return the expectation of frames given the recurrent states before them.

    With at most 12 hidden units it is exact. Otherwise it is a weighted mean of E[v | h] over Gibbs chains that start
    from annealed runs, with the weights of these runs (`deepbelief.likelihood.driven.ais_driven_means`).

    Parameters
    ----------
    weights : RecurrentWeights
    before : ndarray of shape (n_frames, n_recurrent)
    bk : Backend
    rng : Rng
    n_chains, betas, gibbs_steps : int
        Number of chains of each frame, their inverse temperatures, and the number of final steps.

    Returns
    -------
    ndarray of shape (n_frames, n_visible)
        As frames enter the machine.
    """
    model, space = RecurrentMachine(weights, bk), Workspace(bk, weights.frame.W.dtype)
    found = np.empty((len(before), weights.frame.n_visible), model.dtype)
    for start in range(0, len(before), BLOCK_FRAMES):
        states = bk.asarray(before[start : start + BLOCK_FRAMES], dtype=model.dtype)
        machine = model.driven_by(states, space)
        if weights.frame.n_hidden <= EXACT_UNITS:
            mean = _exact(machine)
        else:
            mean = ais_driven_means(machine, rng, n_runs=n_chains, betas=betas, gibbs_steps=gibbs_steps)
        found[start : start + BLOCK_FRAMES] = bk.to_numpy(mean)
    return found


def _exact(machine: Machine) -> DeviceArray:
    """Return the expectation of v by the sum over all hidden states of each row's machine."""
    bk, xp, n = machine.bk, machine.bk.xp, machine.W.shape[1]
    h = bk.asarray(np.arange(2**n)[:, None] >> np.arange(n) & 1, dtype=machine.dtype)
    field = h @ machine.W.T
    found = xp.empty(machine.vbias.shape, machine.dtype)
    for i in range(len(found)):
        log_p = h @ machine.hbias[i] + machine.visible.log_integral(bk, field, machine.vbias[i])
        p = xp.exp(log_p - log_p.max())
        mean = machine.visible.mean(bk, field.copy(), machine.vbias[i])
        found[i] = (p @ mean) / p.sum()
    return found


def sample_sequence(
    weights: RecurrentWeights, n_steps: int, state: Array, bk: Backend, rng: Rng, *, gibbs_steps: int = 50
) -> Array:
    """Draw a sequence frame by frame; the Gibbs chain of each frame's machine starts from the previous frame.

    Parameters
    ----------
    weights : RecurrentWeights
    n_steps : int
    state : ndarray of shape (n_recurrent,)
        Before the first frame.
    bk : Backend
    rng : Rng
    gibbs_steps : int
        For each frame.

    Returns
    -------
    ndarray of shape (n_steps, n_visible)
        As frames enter the machine.
    """
    model, space = RecurrentMachine(weights, bk), Workspace(bk, weights.frame.W.dtype)
    xp, u = bk.xp, bk.asarray(state[None], dtype=model.dtype)
    v = xp.zeros((1, weights.frame.n_visible), model.dtype)
    h = xp.empty((1, weights.frame.n_hidden), model.dtype)
    frames = xp.empty((n_steps, weights.frame.n_visible), model.dtype)
    for step in range(n_steps):
        machine = model.driven_by(u, space)
        if not step:
            machine.visible.sample(bk, xp.zeros_like(v), machine.vbias, rng, v)
        for _ in range(gibbs_steps):
            machine.sample_hidden(v, rng, h)
            machine.sample_visible(h, rng, v)
        frames[step : step + 1] = v
        u = model.forward(v, u, [1]).copy()
    return bk.to_numpy(frames)

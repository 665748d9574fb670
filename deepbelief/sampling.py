"""Rows drawn from a stack: Gibbs steps in the top machine, then down through the means."""

from typing import Any

import numpy as np

from deepbelief.backends import Backend, Rng
from deepbelief.errors import SettingError
from deepbelief.machine import Machine
from deepbelief.stack import Stack, Weights

DeviceArray = Any
Array = np.ndarray[Any, np.dtype[Any]]


def rows_below(stack: Stack, h: DeviceArray, bk: Backend) -> DeviceArray:
    """Return the rows, in the units of the data, that top-layer states stand for: the means, layer by layer.

    Parameters
    ----------
    stack : Stack
    h : device array of shape (n_rows, n_top)
    bk : Backend

    Returns
    -------
    device array of shape (n_rows, n_features)
    """
    for weights in reversed(stack.layers):
        h = Machine(weights, bk).mean_visible(h)
        if weights.mean is not None:
            h = h * bk.asarray(weights.scale) + bk.asarray(weights.mean)
    return h


def first_states(weights: Weights, n_chains: int, bk: Backend, rng: Rng) -> Array:
    """Draw hidden states where chains without a past can start.

    They are drawn given visible units that are independent of each other and have the column means of the training
    rows, or where these are not known those that the visible biases give.

    Parameters
    ----------
    weights : Weights
    n_chains : int
    bk : Backend
    rng : Rng

    Returns
    -------
    ndarray of shape (n_chains, n_hidden)
    """
    machine, xp = Machine(weights, bk), bk.xp
    bias = weights.vbias if weights.visible_mean is None else machine.visible.initial_bias(weights.visible_mean)
    v = xp.zeros((n_chains, weights.n_visible), machine.dtype)
    machine.visible.sample(bk, xp.zeros_like(v), bk.asarray(bias, dtype=machine.dtype), rng, v)
    h = xp.zeros((n_chains, weights.n_hidden), machine.dtype)
    return bk.to_numpy(machine.sample_hidden(v, rng, h))


def sample(stack: Stack, states: Array, n_steps: int, bk: Backend, rng: Rng) -> Array:
    """Run Gibbs chains in the top machine and return the rows that they end in.

    Parameters
    ----------
    stack : Stack
    states : ndarray of shape (n_samples, n_top)
        Hidden states of the top machine to start from.
    n_steps : int
    bk : Backend
    rng : Rng

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Means of the visible units given the states above, in the units of the data.

    Raises
    ------
    SettingError
        If the stack is fine-tuned.
    """
    check_generative(stack)
    top = Machine(stack.layers[-1], bk)
    h = bk.asarray(states, dtype=top.dtype).copy()
    v = bk.xp.empty((len(h), top.W.shape[0]), top.dtype)
    for _ in range(n_steps):
        top.sample_visible(h, rng, v)
        top.sample_hidden(v, rng, h)
    return bk.to_numpy(rows_below(stack, h, bk))


def check_generative(stack: Stack, pretraining: str = "rbm") -> None:
    """Refuse layers that are no deep belief network: fine-tuned ones, or pretrained as something else."""
    if stack.tuned:
        raise SettingError("a fine-tuned stack is no longer a deep belief network: sample from the pretrained one")
    if pretraining != "rbm":
        raise SettingError(f"pretraining={pretraining!r} makes no model to sample from: use pretraining='rbm'")

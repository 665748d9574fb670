"""Training runs of one layer, and what they make, for the tests of layers, gradients and divergence."""

import numpy as np

from deepbelief.backends import Product
from deepbelief.layer import LayerTrainer, RBMSettings, choose_visible, initial_weights
from deepbelief.pretraining import scaled
from deepbelief.sources import ArraySource
from deepbelief.training import Rows, Run
from deepbelief.units import get_unit


def host(bk, grads):
    """Return gradients as NumPy arrays, products multiplied out."""
    arrays = (g.array(bk) if isinstance(g, Product) else g for g in grads)
    return [bk.to_numpy(a).copy() for a in arrays]


def bits(n=64, width=6, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return (rng.random((n, width)) < np.linspace(0.1, 0.9, width)).astype(dtype)


def trainer_for(bk, rows, n_hidden=4, *, state=None, weights=None, horizon=10, **settings):
    source = ArraySource(rows)
    unit, mean, scale, visible_mean = choose_visible(settings.pop("visible", "auto"), source)
    hidden = get_unit(settings.pop("hidden", "bernoulli"))
    if weights is None:
        weights = initial_weights(n_hidden, unit, hidden, mean, scale, visible_mean, seed=0, layer=0)
    settings = {"batch_size": 10, "n_iter": 4, "learning_rate": 0.1} | settings
    resolved = RBMSettings(visible=unit, hidden=hidden, **settings).resolve(*source.shape, 4)
    return LayerTrainer(weights, resolved, Run(bk, 0), layer=0, horizon=horizon, state=state)


def train(trainer, rows, epochs, held_out=None, **more):
    weights = trainer.machine.weights()

    def entering(array):
        return Rows(scaled(ArraySource(array), weights), trainer.bk, array.dtype)

    held_out = None if held_out is None else entering(held_out)
    return trainer.train(entering(rows), held_out, range(*epochs), **more)

"""
Your own unit type: counts
==========================

The pixels of 8 x 8 digits are counts from 0 to 16. A binomial unit is the sum of 16 Bernoulli units with shared
weights: its log partition function is 16 times that of one unit, and its mean 16 times a sigmoid. One class and one
registry entry add it to RBMs, checkpoints and model files.
"""

from dataclasses import dataclass
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import gammaln, logsumexp
from sklearn.datasets import load_digits

from deepbelief import RBM
from deepbelief.plotting import plot_rows
from deepbelief.units import UNITS, Foreign, UnitType


@dataclass(frozen=True)
class Binomial(UnitType):
    """States 0 to ``n``: the number of ones among ``n`` Bernoulli units with the same input."""

    n: int = 16
    activation = "binomial"  # not in ACTIVATIONS: enough for an RBM, but not for a DeepAutoencoder
    next_visible = "gaussian"
    can_be_hidden = False
    reconstruction_loss = "squared_error"
    domain = "binomial units take values from 0 to n"
    rate = 0.01

    @classmethod
    def parsed(cls, text, get_unit):
        return cls(int(text)) if text else cls()

    @property
    def spec(self):
        return f"binomial:{self.n}"

    def admits(self, low, high):
        return False  # only on request: visible="binomial:16"

    def foreign(self, block, beyond=0.0):
        wrong = np.argwhere((block < -beyond) | (block > self.n + beyond))
        return Foreign(*map(int, wrong[0])) if len(wrong) else None

    def clip(self, block):
        np.clip(block, 0, self.n, out=block)

    def mean(self, bk, x, bias):
        bk.sigmoid(x, bias)
        x *= self.n
        return x

    def sample(self, bk, x, bias, rng, out):
        p, one = bk.sigmoid(x, bias).copy(), bk.xp.empty_like(out)
        out[...] = 0
        for _ in range(self.n):
            out += rng.bernoulli(p, one)
        x *= self.n
        return out

    def energy(self, bk, v, bias):
        arrangements = gammaln(self.n + 1) - gammaln(v + 1) - gammaln(self.n - v + 1)
        return -(v * bias).sum(axis=1) - arrangements.sum(axis=1)

    def log_partition(self, bk, x):
        return self.n * bk.xp.logaddexp(0, x).sum(axis=1)

    def log_integral(self, bk, field, bias):
        return self.log_partition(bk, field + bias)

    def initial_bias(self, mean):
        return np.log(mean) - np.log(self.n - mean)


UNITS["binomial"] = Binomial

# %%
# First check the formulas on an RBM so small that all its states can be enumerated: the probabilities that follow from
# the free energy must sum to 1, with log Z by enumeration of the hidden units.

rng = np.random.default_rng(0)
small = RBM(3, visible="binomial:2", n_iter=5, random_state=0).fit(rng.integers(0, 3, (50, 4)))
states = np.array(list(product(range(3), repeat=4)), float)
log_z = small.log_likelihood(states).log_z
print(f"sum of all probabilities: {np.exp(logsumexp(-small.free_energy(states)) - log_z):.6f}")

# %%
# Then learn the digits without scaling.

X = load_digits().data
rbm = RBM(100, visible="binomial:16", n_iter=30, random_state=0).fit(X)
error = ((rbm.inverse_transform(rbm.transform(X)) - X) ** 2).sum(axis=1).mean()
print(f"squared error {error:.1f} of {((X - X.mean(axis=0)) ** 2).sum(axis=1).mean():.1f} per row")
samples = rbm.sample(36, n_steps=500, random_state=0)
fig, axes = plt.subplots(1, 2, figsize=(8, 4.2))
plot_rows(X[:36], ax=axes[0])
plot_rows(samples, ax=axes[1])
axes[0].set_title("counts in the data")
axes[1].set_title("counts drawn from the model")
fig.tight_layout()

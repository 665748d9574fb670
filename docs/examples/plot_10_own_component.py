"""
Your own component: parts-based features
========================================

A component is an optional part of training, written as one class. This one pulls negative weights towards zero, as in
the nonnegative RBM of Nguyen et al. (2013), so that hidden units learn parts of digits instead of contrasts.
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np

from deepbelief import RBM
from deepbelief.components import Component
from deepbelief.datasets import open as open_data


@dataclass(frozen=True)
class Nonnegative(Component):
    """Shrink negative weights by a share of themselves after each update."""

    share: float = 0.05
    name = "nonnegative"

    def after_step(self, step, state):
        xp, W = step.machine.bk.xp, step.machine.W
        W -= self.share * xp.minimum(W, 0)


# %%
# Checkpoints, files, clones and clusters support it like the built-in components.

X = open_data("digits28").rows.take(slice(None))
machines = {
    "plain": RBM(36, n_iter=20, random_state=0).fit(X),
    "nonnegative": RBM(36, n_iter=20, components=[Nonnegative()], random_state=0).fit(X),
}
fig, axes = plt.subplots(1, 2, figsize=(9, 4.5))
for ax, (name, rbm) in zip(axes, machines.items(), strict=True):
    W = rbm.weights_.W
    tiles = W.T.reshape(6, 6, 28, 28).swapaxes(1, 2).reshape(168, 168)
    limit = np.abs(W).max()
    ax.imshow(tiles, cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.set_title(f"{name}: {100 * (W < -0.01).mean():.0f} % of the weights negative")
    ax.axis("off")
fig.tight_layout()

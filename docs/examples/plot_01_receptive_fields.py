"""
Receptive fields of a restricted Boltzmann machine
==================================================

A Bernoulli RBM learns strokes and blobs from handwritten digits. The columns of its weight matrix, drawn as images, are
the receptive fields of its hidden units.
"""

import matplotlib.pyplot as plt

from deepbelief import RBM
from deepbelief.datasets import open as open_data
from deepbelief.plotting import plot_receptive_fields

X = open_data("digits28").rows.take(slice(None))
fig, axes = plt.subplots(1, 3, figsize=(10, 3.6))
for ax, n_iter in zip(axes, (1, 5, 30), strict=True):
    rbm = RBM(49, n_iter=n_iter, random_state=0).fit(X)
    plot_receptive_fields(rbm, ax=ax)
    ax.set_title(f"{n_iter} epochs")

# %%
# The reconstruction error falls with the epochs; `history_` has one record for each.

print([round(record["reconstruction_error"], 2) for record in rbm.history_][::6])

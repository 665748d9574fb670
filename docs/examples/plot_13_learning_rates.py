"""
Compare learning rates
======================

`deepbelief.learning_rate_sweep` starts every run from the same weights and scores it on held-out rows.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from deepbelief import RBM, learning_rate_sweep
from deepbelief.plotting import plot_learning_curves

X = load_digits().data / 16
sweep = learning_rate_sweep(RBM(64, n_iter=15, random_state=0), X, rates=[0.5, 0.05, 0.005])
print(sweep)

# %%
# Learning curves of a longer run at the chosen rate.

rbm = RBM(64, n_iter=30, learning_rate=sweep.best_rate, validation_fraction=0.1, random_state=0).fit(X)
fig, ax = plt.subplots(figsize=(6, 3.5))
plot_learning_curves(rbm, ax=ax)
fig.tight_layout()

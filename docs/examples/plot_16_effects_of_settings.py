"""
Effects of settings on features
===============================

Six RBMs with 36 hidden units learn the same digits. Each differs from the first in one setting. The pictures show the
weights of every hidden unit (blue below 0, red above). The titles give the reconstruction error and the share of
hidden units that are on.
"""

import warnings

import matplotlib.pyplot as plt

from deepbelief import RBM
from deepbelief.datasets import open as open_data
from deepbelief.plotting import WeightsDisplay

X = open_data("digits28").rows.take(slice(None))
settings = {
    "base": {},
    "learning_rate=0.002": {"learning_rate": 0.002},
    "learning_rate=2": {"learning_rate": 2.0},
    "sparsity_target=0.05": {"sparsity_target": 0.05},
    "l1=0.003": {"l1": 0.003},
    'gradient="pcd"': {"gradient": "pcd"},
}
fig, axes = plt.subplots(2, 3, figsize=(9, 6.6))
for ax, (name, setting) in zip(axes.flat, settings.items(), strict=True):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a rate that is too high may be said to diverge
        rbm = RBM(36, n_iter=15, random_state=0, **setting).fit(X)
    WeightsDisplay.from_estimator(rbm, n=36, ax=ax)
    error = rbm.reconstruction_error(X).mean()
    ax.set_title(f"{name}\nerror {error:.1f}, {100 * rbm.transform(X).mean():.0f} % on", fontsize="medium")
fig.tight_layout(h_pad=2)

# %%
# With a small rate, features are still broad after 15 epochs, because training has made little progress. A rate that is
# too high leaves dead units (blank) and others with the same strong stroke, and the error is five times that of the
# base. A sparsity target lowers the share of units that are on at nearly the same error. L1 removes weights that the
# data do not support. Persistent chains learn a better density but reconstruct less well.
# `Choosing settings <../settings/choosing.html>`_ has the measured tables.

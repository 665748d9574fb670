"""
Outliers among digits
=====================

A small RBM is fitted to sevens mixed with a few other digits. The rows with the highest free energy are the least
likely ones, and most of them are the intruders. Use few hidden units: a large RBM learns the intruders too.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from deepbelief import RBM

X, y = load_digits(return_X_y=True)
X = X / 16
rng = np.random.default_rng(0)
rows = np.r_[np.flatnonzero(y == 7), rng.choice(np.flatnonzero(y != 7), 10, replace=False)]
odd = y[rows] != 7
scores = -RBM(8, random_state=0).fit(X[rows]).free_energy(X[rows])
print(f"ROC-AUC {roc_auc_score(odd, -scores):.3f}")

order = scores.argsort()[:16]
fig, axes = plt.subplots(2, 8, figsize=(9, 3.4))
for ax, i in zip(axes.ravel(), order, strict=True):
    ax.imshow(X[rows[i]].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"{scores[i]:.0f}", color="tab:red" if odd[i] else "black", fontsize=9)
    ax.axis("off")
fig.suptitle("the 16 least likely rows; intruders in red")
fig.tight_layout()

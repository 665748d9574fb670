"""
Fill in the lower half of digits
================================

Given the upper half of a digit, an RBM samples the lower half by Gibbs sampling with the known pixels clamped.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from deepbelief import RBM

bits = (load_digits().data >= 8).astype(float)
rbm = RBM(100, gradient="pcd", n_chains=100, n_iter=150, random_state=0).fit(bits[:1700])

half = bits[1700:1710].copy()
half[:, 32:] = np.nan
draws = [rbm.impute(half, random_state=seed) for seed in range(3)]

fig, axes = plt.subplots(5, 10, figsize=(9, 4.8))
for row, images in zip(axes, (bits[1700:1710], half, *draws), strict=True):
    for ax, image in zip(row, images, strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        ax.axis("off")
for ax, title in zip(axes[:, 0], ("truth", "known", "draw 1", "draw 2", "draw 3"), strict=True):
    ax.set_title(title, fontsize=9, loc="left")
fig.tight_layout()

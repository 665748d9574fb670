"""
Remove noise
============

A denoising autoencoder is trained to reconstruct rows from corrupted copies. It then removes the same kind of noise
from new rows.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from deepbelief import DBN

X = load_digits().data / 16
rng = np.random.default_rng(0)
noisy = np.clip(X + rng.normal(0, 0.25, X.shape), 0, 1)
dbn = DBN((200,), pretraining="denoising", corruption="gaussian", corruption_level=0.25, random_state=0).fit(X[:1500])
clean = dbn.inverse_transform(dbn.transform(noisy[1500:]))
before = ((noisy[1500:] - X[1500:]) ** 2).sum(axis=1).mean()
after = ((clean - X[1500:]) ** 2).sum(axis=1).mean()
print(f"squared error per row: {before:.2f} before, {after:.2f} after")

# %%
# Original, noisy, reconstructed.

fig, axes = plt.subplots(3, 10, figsize=(9, 3))
for row, images in zip(axes, (X[1500:], noisy[1500:], clean), strict=True):
    for ax, image in zip(row, images[:10], strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        ax.axis("off")
fig.tight_layout()

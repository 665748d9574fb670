"""
Two-dimensional codes: deep autoencoder and PCA
===============================================

A 64-100-50-2 autoencoder compared with two principal components on the same digits. Colours show the classes, which
neither model was given.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from deepbelief import DeepAutoencoder

X, y = load_digits(return_X_y=True)
X = X / 16
autoencoder = DeepAutoencoder((100, 50, 2), max_iter=60, random_state=0).fit(X)
pca = PCA(2).fit(X)
codes = {"autoencoder": autoencoder.transform(X), "PCA": pca.transform(X)}
errors = {
    "autoencoder": autoencoder.reconstruction_error(X).mean(),
    "PCA": ((pca.inverse_transform(codes["PCA"]) - X) ** 2).sum(axis=1).mean(),
}

fig, axes = plt.subplots(1, 2, figsize=(10, 4.6))
for ax, (name, code) in zip(axes, codes.items(), strict=True):
    points = ax.scatter(*code.T, c=y, cmap="tab10", s=6)
    ax.set_title(f"{name}: squared error {errors[name]:.2f} per row")
    ax.set(xticks=[], yticks=[])
fig.colorbar(points, ax=axes, ticks=range(10))

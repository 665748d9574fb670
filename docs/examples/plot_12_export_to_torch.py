"""
Leave for another library
=========================

A fine-tuned network becomes scikit-learn's ``MLPClassifier`` with equal predictions; `deepbelief.export.to_torch` and
`deepbelief.export.to_onnx` do the same for PyTorch and ONNX.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from deepbelief import DBNClassifier
from deepbelief.export import to_mlp

X, y = load_digits(return_X_y=True)
X = X / 16
clf = DBNClassifier((60, 30), max_iter=20, random_state=0).fit(X[300:], y[300:])
mlp = to_mlp(clf)
difference = np.abs(clf.predict_proba(X[:300]) - mlp.predict_proba(X[:300]))
print(f"{type(mlp).__name__}: largest difference of probabilities {difference.max():.1e}")

fig, ax = plt.subplots(figsize=(4, 4))
ax.scatter(clf.predict_proba(X[:300]).ravel(), mlp.predict_proba(X[:300]).ravel(), s=4)
ax.set(xlabel="DBNClassifier", ylabel="MLPClassifier", aspect="equal")
fig.tight_layout()

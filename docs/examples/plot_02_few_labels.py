"""
Few labels, many rows
=====================

Only 50 digits have a label. The network is pretrained on all training rows. Logistic regression is fitted to the 50
labelled rows only, once on pixels and once on the features of an RBM with sparse units.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from deepbelief import RBM, DBNClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=500, stratify=y, random_state=0)
rng = np.random.default_rng(0)
few = np.concatenate([rng.choice(np.flatnonzero(y_train == k), 5, replace=False) for k in range(10)])
labels = np.full(len(y_train), -1)
labels[few] = y_train[few]

# %%
# Three classifiers, each with the same 50 labels.

rbm = RBM(200, sparsity_target=0.1, n_iter=40, random_state=0).fit(X_train)
linear = LogisticRegression(max_iter=1000)
scores = {
    "logistic regression\non pixels": linear.fit(X_train[few], y_train[few]).score(X_test, y_test),
    "logistic regression\non RBM features": linear.fit(rbm.transform(X_train[few]), y_train[few]).score(
        rbm.transform(X_test), y_test
    ),
    "DBNClassifier": DBNClassifier(
        (200,), rbm=RBM(sparsity_target=0.1, n_iter=40), dropout=0.2, max_iter=60, random_state=0
    )
    .fit(X_train, labels)
    .score(X_test, y_test),
}

fig, ax = plt.subplots(figsize=(6, 3))
bars = ax.barh(list(scores), [100 * (1 - score) for score in scores.values()])
ax.bar_label(bars, fmt="%.1f %%", padding=3)
ax.set_xlabel("test error (%)")
ax.margins(x=0.15)
ax.invert_yaxis()
fig.tight_layout()

"""
Grid search over settings of pretraining
========================================

The learning rate and the number of hidden units of an RBM in a pipeline are chosen by cross-validation. For the RBMs
that pretrain the layers of a `DBNClassifier`, use the same parameter names, such as ``rbm__learning_rate``.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from deepbelief import RBM

X, y = load_digits(return_X_y=True)
X, y = X[:800] / 16, y[:800]
pipeline = make_pipeline(RBM(n_iter=10, random_state=0), LogisticRegression(max_iter=500))
grid = {"rbm__learning_rate": [0.003, 0.03, 0.3], "rbm__n_components": [30, 100]}
search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
print(search.best_params_, round(search.best_score_, 3))

fig, ax = plt.subplots(figsize=(6, 3.5))
results = search.cv_results_
for size in grid["rbm__n_components"]:
    chosen = [i for i, p in enumerate(results["params"]) if p["rbm__n_components"] == size]
    ax.plot(grid["rbm__learning_rate"], results["mean_test_score"][chosen], marker="o", label=f"{size} units")
ax.set(xscale="log", xlabel="learning rate", ylabel="accuracy, 3-fold")
ax.legend()
fig.tight_layout()

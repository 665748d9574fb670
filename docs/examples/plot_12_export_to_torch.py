"""
Export to PyTorch, ONNX and scikit-learn
========================================

A fine-tuned network can be exported as a ``torch.nn.Sequential``, an ONNX file or a scikit-learn ``MLPClassifier``.
Each computes the same probabilities and does not require this package.
"""

import importlib.util
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from deepbelief import DBNClassifier
from deepbelief.export import to_mlp, to_npz, to_onnx, to_torch

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
clf = DBNClassifier((60, 30), max_iter=20, random_state=0).fit(X[300:], y[300:])
own = clf.predict_proba(X[:300])
exported = {"scikit-learn": to_mlp(clf).predict_proba(X[:300])}

# %%
# PyTorch: the module includes all scaling, so it expects rows in the units of the training data. The keys of its
# ``state_dict`` are ``linear0.weight``, ``linear0.bias`` and so on.

if importlib.util.find_spec("torch"):
    import torch

    module = to_torch(clf)
    print(module)
    with torch.no_grad():
        exported["PyTorch"] = module(torch.from_numpy(X[:300])).numpy()

# %%
# ONNX, run by onnxruntime.

if importlib.util.find_spec("onnx") and importlib.util.find_spec("onnxruntime"):
    import onnxruntime

    path = Path(tempfile.mkdtemp()) / "digits.onnx"
    to_onnx(clf, path)
    session = onnxruntime.InferenceSession(str(path))
    exported["ONNX"] = session.run(None, {"X": X[:300]})[0]

# %%
# Plain arrays: for any language with matrices.

path = Path(tempfile.mkdtemp()) / "digits.npz"
to_npz(clf, path)
print(sorted(np.load(path)))

fig, axes = plt.subplots(1, len(exported), figsize=(3.2 * len(exported), 3.4), squeeze=False)
for ax, (name, theirs) in zip(axes[0], exported.items(), strict=True):
    print(f"{name}: largest difference of probabilities {np.abs(own - theirs).max():.1e}")
    ax.scatter(own.ravel(), theirs.ravel(), s=4)
    ax.set(xlabel="DBNClassifier", ylabel=name, aspect="equal")
fig.tight_layout()

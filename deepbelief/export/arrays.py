"""Export to a NumPy archive of plain arrays."""

from pathlib import Path

import numpy as np

from deepbelief.estimators.feedforward import Part, feedforward
from deepbelief.hdf5 import replacing
from deepbelief.typing import Estimator, StrDict


def to_npz(model: Estimator, path: str | Path, *, part: Part = "auto") -> None:
    """Write a fitted model's weights as plain arrays, with all scaling folded in.

    The archive holds ``W0``, ``b0``, ``W1`` ... from the rows upwards, ``activations`` (one name for each layer),
    ``output`` (``"none"``, ``"softmax"`` or ``"sigmoid"``), ``classes0`` ... (one for each softmax), and
    ``output_mean`` and ``output_scale`` if the output has to be scaled to the units of the data. Layer i computes
    ``activation(x @ W + b)``.

    Parameters
    ----------
    model : fitted DBNClassifier, DBNRegressor, DeepAutoencoder, DBN, RBM or Stack
    path : str or Path
    part : {"auto", "encoder", "decoder"}, default="auto"
        As in `deepbelief.export.feedforward`.

    Raises
    ------
    SettingError
        If the model is not a feed-forward network.

    Examples
    --------
    >>> import numpy as np, pathlib, tempfile
    >>> from deepbelief import RBM
    >>> X = (np.random.default_rng(0).random((50, 6)) < 0.5).astype(float)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "rbm.npz"
    >>> to_npz(RBM(4, n_iter=2, random_state=0).fit(X), path)
    >>> np.load(path)["W0"].shape
    (6, 4)
    """
    network = feedforward(model, part)
    arrays: StrDict = {"output": np.array(network.output), "groups": np.array(network.groups, np.int64)}
    arrays["activations"] = np.array([layer.activation.name for layer in network.layers])
    for i, layer in enumerate(network.layers):
        arrays |= {f"W{i}": layer.W, f"b{i}": layer.bias}
    for i, classes in enumerate(network.classes):
        arrays[f"classes{i}"] = classes.astype(str) if classes.dtype.kind == "O" else classes
    if network.mean is not None and network.scale is not None:
        arrays |= {"output_mean": network.mean, "output_scale": network.scale}
    with replacing(path) as temporary, temporary.open("wb") as file:  # NumPy would add a suffix to a path
        np.savez(file, **arrays)

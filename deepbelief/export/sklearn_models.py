"""Exchange of fitted models with scikit-learn's multi-layer perceptrons and BernoulliRBM."""

import numpy as np
from sklearn.neural_network import BernoulliRBM, MLPClassifier, MLPRegressor
from sklearn.preprocessing import LabelBinarizer

from deepbelief.errors import SettingError
from deepbelief.estimators.dbn import DBN
from deepbelief.estimators.feedforward import FeedForward, feedforward
from deepbelief.estimators.persistence import from_model_file
from deepbelief.estimators.rbm import RBM
from deepbelief.hdf5 import ModelFile
from deepbelief.stack import Stack, Weights
from deepbelief.typing import Array, Estimator, StrDict

ACTIVATIONS = {"sigmoid": "logistic", "tanh": "tanh", "relu": "relu", "identity": "identity"}


def to_mlp(model: Estimator) -> MLPClassifier | MLPRegressor:
    """Return a fitted classifier or regressor as a scikit-learn estimator with equal predictions.

    Parameters
    ----------
    model : fitted DBNClassifier, DBNRegressor or DeepAutoencoder

    Returns
    -------
    MLPClassifier or MLPRegressor
        Fitted. An autoencoder with linear outputs becomes a regressor of its rows.

    Raises
    ------
    SettingError
        If the model has several tasks, different activations in its hidden layers, an activation that scikit-learn
        lacks, or a schema of a table.
    """
    network = feedforward(model)
    if isinstance(model, (RBM, DBN, Stack)):
        raise SettingError(
            f"`model` must be a classifier, a regressor or an autoencoder, got {type(model).__name__}, whose features "
            "are not predictions. Use to_torch, to_onnx or to_npz; for an RBM of Bernoulli units to_bernoulli_rbm."
        )
    if network.n_inputs != model.n_features_in_:
        raise SettingError(
            f"the network takes {network.n_inputs} units, which model.schema_.encode computes from a table of "
            f"{model.n_features_in_} columns, and scikit-learn's networks take numbers: use to_npz, to_torch or to_onnx"
        )
    activation = _activation(network)
    coefs, intercepts = [layer.W for layer in network.layers], [layer.bias for layer in network.layers]
    sizes = tuple(W.shape[1] for W in coefs[:-1])
    if not network.groups and not network.logistic:
        regressor = MLPRegressor(hidden_layer_sizes=sizes, activation=activation)
        if network.mean is not None:
            coefs[-1], intercepts[-1] = coefs[-1] * network.scale, intercepts[-1] * network.scale + network.mean
        return _filled(regressor, model, coefs, intercepts, "identity")
    if not hasattr(model, "classes_"):
        raise SettingError("scikit-learn's regressor has linear outputs only, but this autoencoder has logistic ones")
    if len(network.groups) > 1:
        raise SettingError("scikit-learn's classifier supports one task: export a model with one column of labels")
    classifier = MLPClassifier(hidden_layer_sizes=sizes, activation=activation)
    classes, kind = model.classes_, "softmax"
    if network.logistic:
        kind = "logistic"
    elif len(classes) == 2:  # one logistic output, of the difference of the two inputs
        kind = "logistic"
        coefs[-1], intercepts[-1] = np.diff(coefs[-1], axis=1), np.diff(intercepts[-1])
    several_labels = network.logistic and len(classes) > 1
    classifier._label_binarizer = LabelBinarizer()
    classifier._label_binarizer.fit(np.eye(len(classes), dtype=int) if several_labels else classes)
    classifier.classes_ = classifier._label_binarizer.classes_
    return _filled(classifier, model, coefs, intercepts, kind)


def _activation(network: FeedForward) -> str:
    names = {layer.activation.name for layer in network.layers[:-1]}
    if len(names) != 1 or not names <= set(ACTIVATIONS):
        raise SettingError(
            f"scikit-learn's networks have one activation of {', '.join(ACTIVATIONS)} in all hidden layers, "
            f"this model has {', '.join(sorted(names))}"
        )
    return ACTIVATIONS[names.pop()]


def _filled(mlp: Estimator, model: Estimator, coefs: list[Array], intercepts: list[Array], output: str) -> Estimator:
    """Set the fitted attributes of a perceptron."""
    mlp.coefs_, mlp.intercepts_ = coefs, intercepts
    mlp.n_layers_, mlp.n_outputs_, mlp.out_activation_ = len(coefs) + 1, coefs[-1].shape[1], output
    mlp.n_features_in_ = model.n_features_in_
    if hasattr(model, "feature_names_in_"):
        mlp.feature_names_in_ = model.feature_names_in_
    mlp.n_iter_, mlp.t_, mlp.loss_curve_ = model.n_iter_, 0, list(model.loss_curve_)
    mlp.loss_ = mlp.best_loss_ = mlp.loss_curve_[-1] if mlp.loss_curve_ else np.nan
    return mlp


def from_mlp(mlp: MLPClassifier | MLPRegressor) -> Estimator:
    """Return a fitted perceptron of scikit-learn as a `DBNClassifier` or `DBNRegressor` with equal predictions.

    Parameters
    ----------
    mlp : fitted MLPClassifier or MLPRegressor

    Returns
    -------
    DBNClassifier or DBNRegressor
        Fitted: it predicts, transforms, saves and continues training with ``warm_start=True``.

    Raises
    ------
    SettingError
        If the perceptron is not fitted or has no hidden layer.
    """
    if not isinstance(mlp, (MLPClassifier, MLPRegressor)) or not hasattr(mlp, "coefs_"):
        raise SettingError(f"from_mlp takes a fitted MLPClassifier or MLPRegressor, got {type(mlp).__name__}")
    if len(mlp.coefs_) < 2:
        raise SettingError("from_mlp needs at least one hidden layer")
    coefs, intercepts = list(mlp.coefs_), list(mlp.intercepts_)
    names = {theirs: ours for ours, theirs in ACTIVATIONS.items()}
    params: StrDict = {
        "activation": names[mlp.activation],
        "hidden_layer_sizes": [W.shape[1] for W in coefs[:-1]],
    }
    arrays: StrDict = {}
    if isinstance(mlp, MLPRegressor):
        kind, attributes = "DBNRegressor", {}
        arrays |= {"target_mean": np.zeros(mlp.n_outputs_), "target_scale": np.ones(mlp.n_outputs_)}
    else:
        kind, attributes = "DBNClassifier", {"n_unlabeled": 0, "targets": "classes"}
        arrays["classes"] = np.asarray(mlp.classes_)
        if mlp.out_activation_ == "logistic" and mlp._label_binarizer.y_type_.startswith("multilabel"):
            params["loss"], attributes["targets"] = "cross_entropy", "labels"
        elif mlp.out_activation_ == "logistic":  # a softmax over 0 and the output
            coefs[-1] = np.hstack([np.zeros_like(coefs[-1]), coefs[-1]])
            intercepts[-1] = np.hstack([np.zeros_like(intercepts[-1]), intercepts[-1]])
    stack = Stack(
        tuple(_weights(W, b, i) for i, (W, b) in enumerate(zip(coefs[:-1], intercepts[:-1], strict=True))), tuned=True
    )
    arrays |= {f"coef_{i}": np.ascontiguousarray(W) for i, W in enumerate(coefs)}
    arrays |= {f"intercept_{i}": b for i, b in enumerate(intercepts)}
    if hasattr(mlp, "feature_names_in_"):
        arrays["feature_names_in"] = mlp.feature_names_in_
    attributes |= {"seed": 0, "n_features_in": mlp.n_features_in_, "epochs": int(mlp.n_iter_)}
    file = ModelFile(kind, params, stack=stack, pretrained=stack, arrays=arrays, attributes=attributes, history=[])
    return from_model_file(file)


def _weights(W: Array, bias: Array, i: int) -> Weights:
    zeros = np.zeros(len(W), W.dtype)
    return Weights(
        np.ascontiguousarray(W), zeros, bias, "bernoulli" if i else "gaussian", "bernoulli", visible_mean=zeros
    )


def to_bernoulli_rbm(rbm: RBM) -> BernoulliRBM:
    """Return a fitted `RBM` of Bernoulli units as a `BernoulliRBM` of scikit-learn.

    Parameters
    ----------
    rbm : fitted RBM
        With Bernoulli visible and hidden units, and no scaling of rows.

    Returns
    -------
    BernoulliRBM
        Fitted: `transform`, `gibbs` and `score_samples` work, and `partial_fit` continues from the weights.

    Raises
    ------
    SettingError
        If the RBM has other units or scales its rows.
    """
    if not isinstance(rbm, RBM) or not hasattr(rbm, "weights_"):
        raise SettingError(f"to_bernoulli_rbm takes a fitted RBM, got {type(rbm).__name__}")
    weights = rbm.weights_
    if not (weights.visible_unit.enumerable and weights.hidden_unit.enumerable) or weights.mean is not None:
        raise SettingError(
            f"BernoulliRBM has Bernoulli units and does not scale rows, but this RBM has {weights.visible} visible and "
            f"{weights.hidden} hidden units{' and scales its rows' if weights.mean is not None else ''}"
        )
    theirs = BernoulliRBM(n_components=weights.n_hidden)
    theirs.components_ = np.ascontiguousarray(weights.W.T)
    theirs.intercept_hidden_, theirs.intercept_visible_ = weights.hbias.copy(), weights.vbias.copy()
    theirs.h_samples_ = np.zeros((theirs.batch_size, weights.n_hidden), weights.W.dtype)
    theirs.n_features_in_, theirs._n_features_out = rbm.n_features_in_, weights.n_hidden
    theirs.random_state_ = np.random.RandomState(0)
    if hasattr(rbm, "feature_names_in_"):
        theirs.feature_names_in_ = rbm.feature_names_in_
    return theirs


def from_bernoulli_rbm(theirs: BernoulliRBM) -> Stack:
    """Return a fitted `BernoulliRBM` of scikit-learn as a `Stack` of one layer.

    Parameters
    ----------
    theirs : fitted BernoulliRBM

    Returns
    -------
    Stack
        For `save`, for ``DBNClassifier(pretrained=...)``, and for the functions of `deepbelief.likelihood`.

    Raises
    ------
    SettingError
        If it is not fitted.
    """
    if not isinstance(theirs, BernoulliRBM) or not hasattr(theirs, "components_"):
        raise SettingError(f"from_bernoulli_rbm takes a fitted BernoulliRBM, got {type(theirs).__name__}")
    W = np.ascontiguousarray(theirs.components_.T)
    mean = 1 / (1 + np.exp(-theirs.intercept_visible_))
    weights = Weights(
        W, theirs.intercept_visible_.copy(), theirs.intercept_hidden_.copy(), visible_mean=mean.astype(W.dtype)
    )
    return Stack((weights,))

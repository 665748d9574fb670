"""scikit-learn estimators."""

from deepbelief.estimators.anomaly import AnomalyDetector
from deepbelief.estimators.autoencoder import DeepAutoencoder
from deepbelief.estimators.classifier import DBNClassifier
from deepbelief.estimators.dbn import DBN
from deepbelief.estimators.persistence import load, save
from deepbelief.estimators.rbm import RBM
from deepbelief.estimators.rbm_classifier import RBMClassifier
from deepbelief.estimators.recurrent_rbm import RecurrentRBM
from deepbelief.estimators.regressor import DBNRegressor

__all__ = [
    "DBN",
    "RBM",
    "AnomalyDetector",
    "DBNClassifier",
    "DBNRegressor",
    "DeepAutoencoder",
    "RBMClassifier",
    "RecurrentRBM",
    "load",
    "save",
]

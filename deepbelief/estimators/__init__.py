"""scikit-learn's face of the engine."""

from deepbelief.estimators.autoencoder import DeepAutoencoder
from deepbelief.estimators.classifier import DBNClassifier
from deepbelief.estimators.dbn import DBN
from deepbelief.estimators.files import load, save
from deepbelief.estimators.rbm import RBM

__all__ = ["DBN", "RBM", "DBNClassifier", "DeepAutoencoder", "load", "save"]

"""Parameters of a fitted machine under the names that scikit-learn's BernoulliRBM gives them."""

from dataclasses import replace

import numpy as np

from deepbelief.stack import Weights
from deepbelief.typing import Array


class WeightsMixin:
    """``components_``, ``intercept_hidden_`` and ``intercept_visible_`` of an estimator with ``weights_``."""

    weights_: Weights

    @property
    def components_(self) -> Array:
        """Weights, of shape (n_components, n_features)."""
        return self._fitted("components_").W.T

    @components_.setter
    def components_(self, value: Array) -> None:
        self.weights_ = replace(self._fitted("components_"), W=np.ascontiguousarray(value.T))

    @property
    def intercept_hidden_(self) -> Array:
        """Hidden biases, of shape (n_components,)."""
        return self._fitted("intercept_hidden_").hbias

    @intercept_hidden_.setter
    def intercept_hidden_(self, value: Array) -> None:
        self.weights_ = replace(self._fitted("intercept_hidden_"), hbias=value)

    @property
    def intercept_visible_(self) -> Array:
        """Visible biases, of shape (n_features,)."""
        return self._fitted("intercept_visible_").vbias

    @intercept_visible_.setter
    def intercept_visible_(self, value: Array) -> None:
        self.weights_ = replace(self._fitted("intercept_visible_"), vbias=value)

    def _fitted(self, name: str) -> Weights:
        if not hasattr(self, "weights_"):
            raise AttributeError(f"{name} is only available after fit")
        return self.weights_

"""Parameters of estimators that have an RBM as the template of their layers."""

from typing import Self

from sklearn.base import BaseEstimator

from deepbelief.errors import SettingError
from deepbelief.estimators.doc_links import DocumentationLinkMixin


class TemplatedEstimator(DocumentationLinkMixin, BaseEstimator):
    """Base of estimators with a template ``rbm``, which must be there before its parameters are set."""

    def set_params(self, **params: object) -> Self:
        """Set parameters of this estimator, and of its template as ``rbm__NAME``.

        Parameters
        ----------
        **params
            Values by name.

        Returns
        -------
        estimator
            Itself.

        Raises
        ------
        SettingError
            If ``rbm`` is None or a list, which have no parameters.
        """
        rbm = params.get("rbm", getattr(self, "rbm", None))
        nested = next((name for name in params if name.startswith("rbm__")), None)
        if nested is not None and not hasattr(rbm, "set_params"):
            is_list = isinstance(rbm, (list, tuple))
            fix = "Give one RBM for all layers, or whole lists as rbm" if is_list else "Pass rbm=RBM() to the estimator"
            raise SettingError(f"`{nested}` needs one RBM as `rbm`, got {'a list' if is_list else repr(rbm)}. {fix}.")
        return super().set_params(**params)  # type: ignore[no-any-return]

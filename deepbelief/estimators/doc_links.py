"""Links from the HTML view of an estimator to its page in the documentation."""

from deepbelief import documentation


class DocumentationLinkMixin:
    """Mixin of public estimators, to the left of `BaseEstimator`.

    scikit-learn reads these names. Without a documentation site in the metadata of the package there is no link.
    """

    _doc_link_module = "deepbelief"

    @property
    def _doc_link_template(self) -> str:
        return documentation.page("api/generated/deepbelief.{estimator_name}")

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return {"estimator_name": type(self).__name__}

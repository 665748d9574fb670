"""Deep belief network classifier: a pretrained stack with a softmax head, fine-tuned."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import Tags

from deepbelief.errors import ClassesError, FileFormatError, Mention
from deepbelief.estimators.base import check_backend
from deepbelief.estimators.documented import documented
from deepbelief.estimators.fitted import FittedState
from deepbelief.estimators.heads import ClassHead, Labels, OneClass, Tasks
from deepbelief.estimators.labels import row_weights, warn_doubts
from deepbelief.estimators.supervised import SupervisedEstimator
from deepbelief.estimators.targets import check_task_weights, class_head, class_loss, same_classes
from deepbelief.finetuning import FineTuneSettings, TrainingSet
from deepbelief.hyperparameters import EXECUTION, FINE_TUNING, SUPERVISED_PRETRAINING
from deepbelief.losses import Loss
from deepbelief.sources import RowSource, SubsetSource
from deepbelief.typing import Array, ClassWeight, DeviceArray, RowsLike, TargetsLike, WeightsLike


@documented(FINE_TUNING, SUPERVISED_PRETRAINING, EXECUTION)
@dataclass(eq=False, repr=False, kw_only=True)
class DBNClassifier(ClassifierMixin, SupervisedEstimator):
    """Deep belief network for classification: pretrained without labels, fine-tuned with labels.

    Each column of a two-dimensional y is a task with its own softmax on shared hidden layers; the losses of the tasks
    are added. With ``loss="cross_entropy"``, y is a 0/1 matrix in which a row may have any number of labels.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        As in `DBN`. If ``pretrained`` is given, the sizes must agree with its stack.
    loss : {"auto", "softmax_nll", "cross_entropy"} or Loss, default="auto"
        ``"auto"`` is ``"softmax_nll"``: one class for each row (and task). ``"cross_entropy"``: logistic outputs for
        a 0/1 matrix y of shape (n_rows, n_labels). For the squared error use `DBNRegressor`.
    task_weights : list of float or None, default=None
        Weight of the loss of each task; None: 1.
    class_weight : dict, "balanced", list of these or None, default=None
        Weights of rows by class. With several columns of y, a row's weights of all columns are multiplied, as in
        scikit-learn; a list has one setting for each column.
    unlabeled : "auto", None or label, default="auto"
        Mark of rows without a label. Missing values (None, NaN, NaT, ``pandas.NA``, an empty text) always mark them
        too. ``"auto"``: -1, as a number or as the text "-1", if there are at least two other labels; None: no mark.
        Rows without a label are used in pretraining only. If y has several columns, this applies to each column: a
        missing label is ignored, and the other labels of its row are used.
    warm_start : bool, default=False
        `fit` continues from the fine-tuned weights instead of pretraining again.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or a list of them
        One array per task if there are several; for a 0/1 matrix, the indices of its columns.
    stack_ : Stack
        The fine-tuned layers; ``stack_.tuned`` is True.
    pretrained_stack_ : Stack
        The layers before fine-tuning.
    coefs_, intercepts_ : list of ndarray
        Weights and biases of each layer, with the head last: one output per class; the outputs of all tasks are
        adjacent.
    input_mean_, input_scale_ : ndarray of shape (n_features,)
        Rows enter the first layer as ``(X - input_mean_) / input_scale_``, which the weights leave out.
    resolved_ : dict
        Value of each setting that was ``"auto"``, and the reason for it; settings of the template are named
        ``rbm__NAME``.
    history_ : list of dict
    loss_curve_ : list of float
        Mean training loss of each fine-tuning epoch.
    n_iter_ : int
        Fine-tuning epochs done.
    n_unlabeled_ : int
        Number of rows without any label.
    n_features_in_ : int

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from deepbelief import DBNClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:600] / 16, y[:600]
    >>> clf = DBNClassifier((64, 64), max_iter=5, random_state=0).fit(X, y)
    >>> clf.score(X, y) > 0.9
    True

    Two tasks, the digit and whether it is odd:

    >>> import numpy as np
    >>> both = DBNClassifier((64, 64), max_iter=5, random_state=0).fit(X, np.column_stack([y, y % 2]))
    >>> [p.shape for p in both.predict_proba(X)]
    [(600, 10), (600, 2)]
    """

    task_weights: Sequence[float] | None = None
    class_weight: ClassWeight = None
    unlabeled: object = "auto"

    classes_: Array | list[Array] = field(init=False)
    _head: ClassHead = field(init=False)

    def _settings(self) -> FineTuneSettings:
        class_loss(self.loss)
        check_task_weights(self.task_weights)
        return super()._settings()

    def _read(self, source: RowSource, y: Array, sample_weight: WeightsLike, again: bool) -> TrainingSet:
        """Return the labelled rows with their class numbers or 0/1 labels, and their weights."""
        head, targets, known = class_head(y, self.loss, self.unlabeled, self.task_weights)
        if again and not same_classes(head.classes, self.classes_):
            expected, given = _told(self.classes_), _told(head.classes)
            raise ClassesError(
                f"warm_start continues with classes {expected}, y has {given}", expected=expected, given=given
            )
        warn_doubts(y, head.classes, self.unlabeled, head.targets)
        self._head, self.classes_, self.n_unlabeled_ = head, head.classes, int((~known).sum())
        weights = row_weights(y, known, sample_weight, self.class_weight, targets >= 0)
        rows = source if known.all() else SubsetSource(source, np.flatnonzero(known))
        return TrainingSet(rows, targets, weights)

    def _get_state(self) -> FittedState:
        state, each = super()._get_state(), self.classes_
        own = {f"classes_{k}": c for k, c in enumerate(each)} if isinstance(each, list) else {"classes": each}
        values = {"n_unlabeled": self.n_unlabeled_, "targets": self._head.targets}
        return replace(state, arrays={**state.arrays, **own}, values={**state.values, **values})

    def _set_state(self, state: FittedState) -> None:
        self._head = stored_head(state, self.loss, self.task_weights)
        self.classes_, self.n_unlabeled_ = self._head.classes, state.count("n_unlabeled")
        self._set_network(state, (*state.stack.sizes, self._head.n_outputs))

    def predict_proba(self, X: RowsLike) -> DeviceArray:
        """Return class probabilities.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, n_classes), or a list of them
            One column for each of ``classes_``, and one array per task if there are several. For a 0/1 matrix, the
            probability of each label, of shape (n_rows, n_labels). A CuPy array if X is one.
        """
        output = self._outputs(X)
        probabilities = self._head.probabilities(output)
        if isinstance(probabilities, list):
            return [self._where_from(p, X) for p in probabilities]
        return self._where_from(probabilities, X)

    def predict_log_proba(self, X: RowsLike) -> DeviceArray:
        """Return the logarithms of class probabilities.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, n_classes), or a list of them
        """
        probabilities = self.predict_proba(X)
        bk = check_backend(self.backend, X)

        def log(p: DeviceArray) -> DeviceArray:
            xp = bk.xp if bk.owns(p) else np
            return xp.log(xp.maximum(p, xp.finfo(p.dtype).tiny))

        return [log(p) for p in probabilities] if isinstance(probabilities, list) else log(probabilities)

    def score(self, X: RowsLike, y: TargetsLike, sample_weight: WeightsLike = None) -> float:
        """Return the accuracy on the labelled rows, averaged over tasks.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
        y : array-like of shape (n_rows,) or (n_rows, n_columns)
            Missing labels are left out, as is the mark of unlabelled rows (see ``unlabeled``) unless it is one of
            ``classes_``. For a 0/1 matrix, a row is correct if all its labels are.
        sample_weight : array-like of shape (n_rows,), optional

        Returns
        -------
        float

        Raises
        ------
        DataError
            If no row has a label.
        """
        predicted = self.predict(X)
        predicted = check_backend(self.backend, X).to_numpy(predicted)
        return self._head.accuracy(y, predicted, self.unlabeled, sample_weight)

    def __sklearn_tags__(self) -> Tags:
        """Declare support for several labels per row."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _told(classes: Array | list[Array]) -> str:
    return str([each.tolist() for each in classes] if isinstance(classes, list) else classes.tolist())


def stored_head(state: FittedState, loss: str | Loss, task_weights: Sequence[float] | None) -> ClassHead:
    """Return the head of a classifier for the targets and classes in a file.

    Raises
    ------
    FileFormatError
        If they do not fit the loss, or are not classes.
    """
    targets, chosen = state.values.get("targets", "classes"), class_loss(loss)
    if targets not in ("classes", "tasks", "labels") or (targets == "labels") != (chosen.targets == "labels"):
        raise FileFormatError(f"the file's targets {targets!a} do not fit ", Mention("loss", loss))
    if targets == "labels":
        head = Labels(state.arrays["classes"].size, chosen)
        if not np.array_equal(state.arrays["classes"], head.classes):
            raise FileFormatError("the file's classes must be the numbers of its labels, from 0")
        return head
    if targets == "tasks":
        n_tasks = max(2, sum(name.startswith("classes_") for name in state.arrays))
        classes = [state.classes(f"classes_{k}") for k in range(n_tasks)]
        return Tasks(classes, None if task_weights is None else tuple(map(float, task_weights)))
    return OneClass(state.classes(), chosen)

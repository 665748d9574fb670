"""The head of a classifier from the values in a file."""

from collections.abc import Sequence

import numpy as np

from deepbelief.errors import FileFormatError
from deepbelief.estimators.fitted import FittedState
from deepbelief.estimators.heads import ClassHead, Labels, OneClass, Tasks
from deepbelief.estimators.targets import class_loss
from deepbelief.losses import Loss


def stored_head(state: FittedState, loss: str | Loss, task_weights: Sequence[float] | None) -> ClassHead:
    """Return the head of a classifier with the targets and classes of a file.

    Raises
    ------
    FileFormatError
        If they do not fit the loss, or are not classes.
    """
    targets, chosen = state.values.get("targets", "classes"), class_loss(loss)
    if targets not in ("classes", "tasks", "labels") or (targets == "labels") != (chosen.targets == "labels"):
        raise FileFormatError(f"the file's targets {targets!a} do not fit {{loss}}={loss!r}", settings=("loss",))
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

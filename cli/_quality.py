"""Parts of a report: how good the model is on rows, and the values that automatic settings took."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from deepbelief.errors import DeepBeliefError
from deepbelief.evaluation import Classification, Evaluation, Regression, evaluate
from deepbelief.typing import Array, StrMapping

from ._annotations import DataSet, Model
from ._inputs import classes_of, is_recorded, numbers_of
from ._page import Section
from ._text import clean

MAX_CLASSES = 30  # classes of the largest confusion matrix on a page
MAX_LABEL = 40  # characters of a label in a sentence
WORST = 10

TITLE = "Quality"


def measured(model: Model, data: DataSet) -> Evaluation | str:
    """Return the evaluation of a model on rows, or why there is none."""
    labelled = model.is_classifier or model.is_regressor
    try:
        if labelled:
            data = replace(data, labels=numbers_of(data) if model.is_regressor else classes_of(data))
        return evaluate(model.estimator, data.rows, data.labels if labelled else None)
    except DeepBeliefError as error:
        return str(error)


def section(model: Model, data: DataSet, found: Evaluation | str, pictures: Sequence[Any]) -> Section:
    """Return the section on what was found; ``pictures`` show the worst rows."""
    if isinstance(found, str):
        return Section(TITLE, [f"Not measured: {found}"])
    notes = [f"Measured on {data.rows.shape[0]:,} rows of {data.source_path}{which_part(model, data)}."]
    grid: Sequence[Sequence[str]] = ()
    if isinstance(found, Classification) and len(found.classes) <= MAX_CLASSES:
        notes.append("In the matrix, rows are true classes and columns are predicted classes.")
        names = [_label(name) for name in found.classes.tolist()]
        rows = zip(names, found.confusion.tolist(), strict=True)
        grid = [["", *names], *([name, *(str(n or "") for n in row)] for name, row in rows)]
    if pictures:
        notes.append(f"The rows with the largest errors, worst first: {worst_in_words(data, found)}.")
    return Section(TITLE, notes, pictures, found.facts(), grid)


def which_part(model: Model, data: DataSet) -> str:
    """Return which part of the recorded data the rows are."""
    record = model.recorded("holdout", dict)
    if is_recorded(model, data):
        return ", the training data" if record is None or data.rows.shape[0] == record["of"] else ", held out"
    return ""


def worst_rows(data: DataSet, found: Evaluation) -> Array:
    """Return the positions of the worst rows, of a classifier those that are wrong."""
    labels = data.labels
    index = found.worst(len(found.row_errors) if isinstance(found, Classification) else WORST)
    if isinstance(found, Classification) and labels is not None:
        index = index[[_label(labels[i]) != _label(found.predicted[i]) for i in index]]
    return index[:WORST]


def worst_in_words(data: DataSet, found: Evaluation) -> str:
    """Return the numbers of the worst rows, with true and predicted labels where there are some."""
    index, labels = worst_rows(data, found), data.labels
    if isinstance(found, Classification) and labels is not None:
        parts = (f"row {i} is {_label(labels[i])}, predicted as {_label(found.predicted[i])}" for i in index)
    elif isinstance(found, Regression) and labels is not None:
        parts = (f"row {i} is {_label(labels[i])}, off by {np.sqrt(found.row_errors[i]):.4g}" for i in index)
    else:
        parts = (f"row {i} with an error of {found.row_errors[i]:.4g}" for i in index)
    return "; ".join(parts)


def _label(value: object) -> str:
    return clean(value)[:MAX_LABEL]


def automatic(model: Model, history: Sequence[StrMapping]) -> dict[str, str]:
    """Return the values that settings at ``"auto"`` took, as far as the file records them, by name."""
    stack, found = model.stack, {"hidden_layer_sizes": ", ".join(map(str, model.stack.sizes[1:]))}
    found["visible"] = str(stack.layers[0].visible)
    if len(hidden := {str(weights.hidden) for weights in stack}) == 1:
        found["activation"] = f"as {hidden.pop()} hidden units"
    for phase, rate, epochs in (
        ("pretrain", "learning_rate", "n_iter"), ("finetune", "learning_rate_init", "max_iter"),
    ):  # fmt: skip
        records = [r for r in history if r.get("phase", "pretrain") == phase]
        layers = sorted({r.get("layer") or 1 for r in records})
        firsts = [next(r for r in records if (r.get("layer") or 1) == n) for n in layers]
        found[rate] = ", ".join(f"{r['learning_rate']:.4g}" for r in firsts if r.get("learning_rate") is not None)
        found[epochs] = ", ".join(str(r["n_epochs"]) for r in firsts if r.get("n_epochs") is not None)
        if phase == "pretrain":
            found["momentum"] = ", ".join(f"{r['momentum']:.3g}" for r in firsts if r.get("momentum") is not None)
    for name, resolved in getattr(model.estimator, "resolved_", {}).items():
        value = resolved.value
        found.setdefault(
            name.rpartition(".")[2], f"{value:.4g}" if isinstance(value, float) else clean(value)[:MAX_LABEL]
        )
    return {name: value for name, value in found.items() if value}


def with_automatic(facts: Sequence[tuple[str, object]], found: Mapping[str, str]) -> list[tuple[str, object]]:
    """Return settings with what ``auto`` became beside it."""
    return [
        (name, f"auto: {found[key]}" if value == "auto" and (key := name.rpartition(".")[2]) in found else value)
        for name, value in facts
    ]

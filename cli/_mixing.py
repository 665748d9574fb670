"""Part of a report: how chains of a model mix, and whether the ladder of its training can be trusted."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from deepbelief.diagnostics import mixing_report
from deepbelief.errors import DeepBeliefError, DeepBeliefWarning
from deepbelief.estimators.outcome import check_ladder
from deepbelief.estimators.pretraining_options import kind_of_pretraining
from deepbelief.estimators.views import n_inputs, pretrained_layers, whole_rows_of
from deepbelief.likelihood import ais_log_z, check_agreement
from deepbelief.plotting import plot_mixing
from deepbelief.sources import ArraySource
from deepbelief.stack import Weights
from deepbelief.typing import StrMapping

from ._annotations import DataSet, Model

N_CHAINS, N_SWEEPS = 200, 300
N_STEPS = 1000  # of annealing


def mixing(model: Model, data: DataSet) -> tuple[list[str], list[Any]]:
    """Return findings and figures on the chains of a model with one layer; none where it has no likelihood."""
    try:
        stack = pretrained_layers(model.estimator)
        if len(stack) > 1 or n_inputs(stack) != stack.sizes[0]:
            return [], []
        if kind_of_pretraining(model.estimator, stack.layers[0].visible_unit) != "rbm":
            return [], []
        rows = whole_rows_of(model.estimator, data.rows)
        some = rows.take(np.unique(np.linspace(0, rows.shape[0] - 1, min(rows.shape[0], 2000)).astype(np.intp)))
        found = mixing_report(stack.layers[0], some, n_chains=N_CHAINS, n_sweeps=N_SWEEPS)
    except DeepBeliefError:
        return [], []
    notes = [
        f"{N_CHAINS} Gibbs chains start from independent columns and are compared with {len(some):,} rows of "
        f"{data.source_path}.",
        *(f"{line[0].upper()}{line[1:]}." for line in str(found).rstrip(".").split("\n")),
    ]
    return notes + ladder_notes(model, stack.layers[0], some), [plot_mixing(found)]


def ladder_notes(model: Model, weights: Weights, rows: Any) -> list[str]:
    """Return the log Z of a model's training by its ladder and by annealing, and warnings where one is wrong."""
    history: Sequence[StrMapping] = getattr(model.estimator, "history_", [])
    if not history or "unmet" not in history[-1]:
        return []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DeepBeliefWarning)
        if hasattr(model.estimator, "weights_"):
            check_ladder(model.estimator, ArraySource(rows))
        annealed, own = ais_log_z(weights, betas=N_STEPS), float(history[-1]["log_z"])
        check_agreement(own, annealed)
    warned = [f"Warning: {warning.message}." for warning in told]
    return [f"log Z by the ladder of training: {own:.2f}; {annealed}.", *warned]

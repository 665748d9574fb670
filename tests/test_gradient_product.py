"""Every activation with every loss and every regulariser, tied and not, against finite differences in float64.

The networks are built by the engine's own pieces, so that an autoencoder takes every activation too; what the
estimators make of their settings is checked in test_diagnostics.py.
"""

import itertools

import numpy as np
from conftest import BACKENDS
from pairwise import pairwise

from deepbelief.activations import ACTIVATIONS, get_activation
from deepbelief.diagnostics.differences import TOLERANCE, compare
from deepbelief.diagnostics.objectives import NetworkObjective
from deepbelief.estimators.tuning import Problem
from deepbelief.finetuning import FineTuneSettings, TrainingSet
from deepbelief.losses import LOSSES, CrossEntropy, SoftmaxNLL, SquaredError, TaskSoftmaxNLL
from deepbelief.network import Layer
from deepbelief.sources import as_source

# Max-norm and the sparsity target are no part of this gradient: test_finetuning.py and test_layer.py have theirs.
REGULARISERS = {
    "none": {},
    "L2": {"alpha": 0.3},
    "L1": {"l1": 0.05},
    "dropout": {"dropout": 0.4, "input_dropout": 0.2},
    "all": {"alpha": 0.3, "l1": 0.05, "dropout": 0.4, "input_dropout": 0.2},
}
N_ROWS, SIZES = 7, (4, 3, 2)
N_ELEMENTS = 3  # of each array, drawn anew for each combination
RNG = np.random.default_rng(0)
X = RNG.random((N_ROWS, SIZES[0]))
TARGETS = {
    "softmax_nll": (SoftmaxNLL(), 3, np.arange(N_ROWS) % 3),
    "softmax_nll of two tasks": (
        TaskSoftmaxNLL((3, 2), (1.0, 0.5)),
        5,
        np.column_stack([np.arange(N_ROWS) % 3, np.arange(N_ROWS) % 3 - 1]),  # -1: no label
    ),
    "cross_entropy": (CrossEntropy(), 3, (RNG.random((N_ROWS, 3)) < 0.5).astype(float)),
    "squared_error": (SquaredError(), 3, RNG.normal(size=(N_ROWS, 3))),
}
RECONSTRUCTIONS = {
    "cross_entropy": CrossEntropy(),
    "squared_error": SquaredError(),
    "squared_error of sigmoid": SquaredError("sigmoid"),
}


def layers(sizes, activation, seed=1):
    """Weights of both signs, some so large that units saturate, and biases that are not 0."""
    rng = np.random.default_rng(seed)
    return [
        Layer(rng.normal(0, 0.8, (n, m)), rng.normal(0, 0.5, m), get_activation(activation))
        for n, m in itertools.pairwise(sizes)
    ]


def problem(hidden, loss, targets, tied, settings):
    *below, head = hidden
    return Problem(below, (head.W, head.bias), loss, TrainingSet(as_source(X), targets), None, settings, [], 0, tied)


def check(make, bk, activation):
    """Errors below 1e-6 wherever there is no kink, some elements of each array compared, for each regulariser.

    Alone they are checked with one activation: what each adds does not depend on it, and all of them together do.
    """
    names = REGULARISERS if activation == "tanh" else ("none", "all")
    for seed, (name, settings) in enumerate((name, REGULARISERS[name]) for name in names):
        objective = NetworkObjective(make(FineTuneSettings(**settings)), bk, 0, np.random.default_rng(0))
        assert all(p.dtype == np.float64 for p in objective.params)
        result = compare(objective, bk, N_ELEMENTS, np.random.default_rng(seed))
        assert result.ok, f"{name}\n{result}"
        assert result.max_relative_error < TOLERANCE == 1e-6
        assert all(row.n_checked + row.n_skipped == min(N_ELEMENTS, np.prod(row.shape)) for row in result.rows)


def test_the_product_is_whole():
    """A new loss by name must be found here too; activations are read from their dict."""
    for losses in (TARGETS, {"softmax_nll": 0} | RECONSTRUCTIONS):
        assert set(LOSSES) == {name.split(" of ")[0] for name in losses}
    fields = {"alpha", "l1", "dropout", "input_dropout"}
    assert set().union(*REGULARISERS.values()) == fields


@pairwise(bk=BACKENDS, loss=TARGETS, activation=ACTIVATIONS, indirect=["bk"])
def test_networks_with_targets(activation, loss, bk):
    chosen, n_outputs, targets = TARGETS[loss]
    hidden = layers((*SIZES, n_outputs), activation)
    check(lambda settings: problem(hidden, chosen, targets, False, settings), bk, activation)


@pairwise(bk=BACKENDS, tied=[False, True], loss=RECONSTRUCTIONS, activation=ACTIVATIONS, indirect=["bk"])
def test_autoencoders(activation, loss, tied, bk):
    hidden = layers((*SIZES, *SIZES[-2::-1]), activation)
    check(lambda settings: problem(hidden, RECONSTRUCTIONS[loss], None, tied, settings), bk, activation)


@pairwise(
    bk=BACKENDS,
    tied=[False, True],
    output=[name for name in ACTIVATIONS if name not in ("identity", "sigmoid")],
    indirect=["bk"],
)
def test_other_outputs(output, tied, bk):
    """Nothing pairs them with a loss by name; a loss of one's own may."""
    hidden = layers((*SIZES, *SIZES[-2::-1]), "tanh")
    check(lambda settings: problem(hidden, SquaredError(output), None, tied, settings), bk, output)

"""Strategies given as instances refuse settings out of bounds, each in one line that names the setting."""

import math

import numpy as np
import pytest

from deepbelief import RBM
from deepbelief.components import L1, Averaging, MultiPrediction, Sparsity
from deepbelief.errors import SettingError
from deepbelief.gradients import CD, FPCD, PCD, PT, PTT, get_gradient
from deepbelief.optimizers import SGD, AdaGrad, Adam, RMSProp
from deepbelief.schedules import Exponential, Halving, Inverse

FIELDS = [  # kind, its other settings, setting, values out of bounds beside those that are no numbers
    (L1, {}, "factor", (-0.1, math.inf)),
    (Averaging, {}, "share", (-0.1, 1.1)),
    (Sparsity, {}, "target", (0, 1)),
    (Sparsity, {"target": 0.1}, "cost", (-0.1,)),
    (MultiPrediction, {}, "n_hidden", (0, 1.5)),
    (MultiPrediction, {}, "n_steps", (0,)),
    (MultiPrediction, {}, "rate", (0,)),
    (MultiPrediction, {}, "weight_decay", (-0.1,)),
    (SGD, {}, "rate", (0, -1)),
    (AdaGrad, {}, "epsilon", (0,)),
    (AdaGrad, {}, "rate", (0,)),
    (RMSProp, {}, "beta2", (-0.1, 1)),
    (RMSProp, {}, "epsilon", (0,)),
    (Adam, {}, "beta2", (-0.1, 1)),
    (Adam, {}, "epsilon", (0, -1e-8)),
    (Adam, {}, "rate", (0,)),
    (Exponential, {}, "final", (0, 1.1)),
    (Inverse, {}, "tau", (0, 1.1)),
    (Halving, {}, "patience", (0, 1.5)),
    (FPCD, {}, "fast_rate", (-0.1,)),
    (FPCD, {}, "fast_decay", (1,)),
    (PT, {}, "n_temperatures", (1,)),
    (PTT, {}, "freeze", (1,)),
    (PTT, {}, "reject", (-0.1,)),
    (PTT, {}, "max_sweeps", (0,)),
    (PTT, {}, "max_step", (0,)),
    (PTT, {}, "exchange_every", (0,)),
]


@pytest.mark.parametrize(("kind", "others", "name", "values"), FIELDS, ids=lambda x: getattr(x, "__name__", None))
def test_settings_out_of_bounds_are_refused(kind, others, name, values):
    for value in (*values, math.nan, "x", True):
        with pytest.raises(SettingError, match=rf"^{name} must be .* got {value!r}"):
            kind(**others, **{name: value})


@pytest.mark.parametrize("kind", [CD, PCD, PT, PTT])
def test_numbers_of_gibbs_steps_of_an_instance_are_checked(kind):
    for steps in (-1, 1.5, "x", (1, -1)):
        with pytest.raises(SettingError, match=r"gibbs_steps must be an integer >= 0, got (-1|1\.5|'x')"):
            get_gradient(kind(steps))
    assert get_gradient(kind((1, 3))).gibbs_steps == (1, 3)
    with pytest.raises(SettingError, match="gibbs_steps"):
        RBM(2, gradient=kind(-2)).fit(np.eye(4))

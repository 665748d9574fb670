"""Table of the settings of a restricted Boltzmann machine."""

from collections.abc import Mapping

from deepbelief.bounds import AUTOMATIC_COUNT, COUNT, RATE, Bounds
from deepbelief.hyperparameters.kinds import (
    AUTOMATIC_GRADIENT,
    AUTOMATIC_SCHEDULE,
    AUTOMATIC_SOLVER,
    SCALE,
    STEPS,
    UNITS_ABOVE,
    UNITS_BELOW,
    Checked,
    Choice,
    Flag,
    Names,
    Setting,
)

MACHINE: Mapping[str, Setting] = {
    "visible": Setting(
        "auto",
        UNITS_BELOW,
        doc=(
            'Type of the visible units. ``"auto"`` is Bernoulli where all values in `fit` lie in [0, 1], else '
            "Gaussian with each column standardised by its mean and deviation in `fit`. "
            '``"groups"`` finds one-hot groups of neighbouring columns, which become softmax groups. '
            '``"parts:gaussian*2;softmax:3,2"`` combines types, with their numbers of columns.'
        ),
        help="Type of the visible units; also softmax:3,3,2, or parts:gaussian*2;softmax:3,2.",
    ),
    "scale": Setting(
        "none",
        SCALE,
        doc=(
            "Scaling of rows before the first layer, undone on output; chosen in `fit` and stored with "
            'the weights, so that every method takes and returns rows in the units of the data. ``"255"`` divides '
            'by 255, ``"minmax"`` maps each column\'s range in `fit` to [0, 1], ``"auto"`` divides by 255 where '
            "the rows are grey levels (bytes, or images with a maximum of 255) and otherwise leaves them unchanged. "
            '``visible="auto"`` looks at the scaled values. Later values outside [0, 1] are clipped, with a '
            "`DataWarning`, up to a distance of 1 in `transform` and 0.1 in scores; values farther away are "
            "refused."
        ),
    ),
    "hidden": Setting(
        "bernoulli",
        UNITS_ABOVE,
        doc=("Type of the hidden units."),
        help="Hidden units.",
    ),
    "gradient": Setting(
        "auto",
        AUTOMATIC_GRADIENT,
        doc=(
            '``"auto"``: contrastive divergence for arrays, persistent for tables of mixed columns and, in an RBM, for '
            "one-hot groups. Contrastive "
            "divergence (Hinton 2002) or its mean-field variant; persistent contrastive divergence (Tieleman "
            "2008), its variant with fast weights (Tieleman and Hinton 2009), or parallel tempering, for a good "
            "likelihood; the exact gradient, for at most 16 units on one side. Instances of "
            "`deepbelief.gradients` have further settings."
        ),
        help="Estimator of the gradient; auto: cd, for tables pcd.",
    ),
    "gibbs_steps": Setting(
        "auto",
        STEPS,
        doc=(
            "Gibbs steps k for each update; (1, 25) grows evenly from 1 in the first epoch to 25 in the last. "
            '``"auto"``: 1 for arrays, 5 for tables of mixed columns.'
        ),
        help="Gibbs steps per update; 1-25 grows with the epochs; auto: 1, for tables 5.",
    ),
    "n_chains": Setting(
        "auto",
        Bounds(1, integer=True, auto=True),
        doc=('Persistent Markov chains, for gradients that have them; ``"auto"``: as many as rows in a minibatch.'),
        help="Persistent chains; auto: as many as rows in a minibatch.",
        flag="--chains",
    ),
    "centered": Setting(
        "auto",
        Flag(auto=True),
        doc=(
            "Subtract its mean from each unit before units are multiplied: the data's mean for visible units, a "
            "running mean for hidden ones (Melchior, Fischer and Wiskott 2016). The model is the same, but its "
            "training depends less on whether 0 or 1 is the common state, and reaches better likelihoods. "
            '``"auto"``: for tables of mixed columns and with ``gradient="ptt"``.'
        ),
        help="Centre the units by their means.",
    ),
    "binarize": Setting(
        None,
        Choice(
            "deepbelief.sources.binary:BINARIZATIONS", getter="deepbelief.sources.binary:check_binarization", none=True
        ),
        doc=(
            "Train on bits: 1 if a value in [0, 1] is at least 0.5, or with the value as probability, drawn once "
            "or again in each epoch. None: train on the values themselves. Rows given to other methods are used "
            "as they are: `deepbelief.sources.binarize_rows` makes bits of them."
        ),
        help="Train on binary rows: sample once, or resample in each epoch.",
    ),
    "columns": Setting(
        None,
        Checked("deepbelief.sources.schema:check_columns", "mapping of str to str or None"),
        doc=(
            'Kinds of columns of a table, overriding the automatic choice (see Notes): ``"number"``, ``"category"`` or '
            '``"dropped"``, by name. With an array, whose columns are called x0, x1 ..., it makes the array a table.'
        ),
    ),
    "handle_unknown": Setting(
        "error",
        Choice("deepbelief.sources.schema:UNKNOWN"),
        doc=("Treatment of a category that did not occur in `fit`: raise an error, or treat it as a missing value."),
    ),
    "learning_rate": Setting(
        "auto",
        RATE,
        doc=(
            '``"auto"``: 0.1 for Bernoulli and softmax units, 0.01 or less for Gaussian visible, 0.001 for '
            "Gaussian or rectified hidden units; less for many hidden units on rows that are neither 0 nor 1, or "
            "for more than four times as many hidden as visible units, where larger rates are unstable."
        ),
        help="auto: depends on the unit types.",
    ),
    "schedule": Setting(
        "auto",
        AUTOMATIC_SCHEDULE,
        doc=('Schedule of the learning rate; ``"auto"`` is constant, or linear to 0 with persistent chains.'),
        help="Schedule of the learning rate.",
    ),
    "momentum": Setting(
        "auto",
        Bounds(0, 1, auto=True, open_high=True),
        doc=(
            '``"auto"``: 0.5, then 0.9 after five epochs or a fifth of a shorter run; 0 with persistent chains, '
            "which must keep up with the weights."
        ),
        help="auto: 0.5, later 0.9.",
    ),
    "nesterovs_momentum": Setting(
        False,
        Flag(),
        doc=("Use Nesterov's momentum: compute the gradient after a step along the velocity."),
        engine="nesterov",
    ),
    "weight_decay": Setting(
        "auto",
        Bounds(0, auto=True),
        doc=('L2 factor of the weights (not the biases). ``"auto"``: 2e-4, for tables of mixed columns 3e-4.'),
        help="L2 factor of the weights; auto: 2e-4, for tables 3e-4.",
    ),
    "l1": Setting(
        0.0,
        Bounds(0),
        doc=(
            "L1 factor of the weights: each update also moves them towards 0 by the learning rate times l1, but "
            "not beyond 0 (iterative soft thresholding; Beck and Teboulle 2009, eq. 1.5), so that unnecessary "
            "weights become 0. Against overfitting it is more effective than weight_decay (500 hidden units on "
            "MNIST: 1e-4)."
        ),
        help="L1 factor of an RBM's weights: unnecessary weights become 0.",
    ),
    "sparsity_target": Setting(
        None,
        Bounds(0, 1, open_low=True, open_high=True, none=True),
        doc=(
            "Target of the mean activity of each hidden unit, for instance 0.05; it also sets the initial hidden "
            "biases. None: no target."
        ),
        help="Target of the mean activity of hidden units, such as 0.05.",
    ),
    "sparsity_cost": Setting(
        0.3,
        Bounds(0),
        doc=("Weight of the sparsity target."),
    ),
    "learn_variance": Setting(
        False,
        Flag(),
        doc=(
            "Learn the variance of each Gaussian visible unit instead of fixing it at that of its column. It "
            "becomes the variance of the noise and is part of the scale in ``weights_``."
        ),
        help="Learn the variances of Gaussian visible units.",
    ),
    "averaging": Setting(
        "auto",
        Bounds(0, 1, auto=True),
        doc=(
            'Final share of the run over which the weights are averaged (Polyak and Juditsky 1992). ``"auto"``: 0, '
            "for tables of mixed columns 0.25."
        ),
        help="Average the weights over this final share of the run; auto: 0, for tables 0.25.",
    ),
    "solver": Setting(
        "auto",
        AUTOMATIC_SOLVER,
        doc=(
            'Optimizer; ``"auto"``: sgd, for tables of mixed columns adam. With other optimizers than ``"sgd"``, '
            '``learning_rate="auto"`` is the default rate of the optimizer.'
        ),
    ),
    "components": Setting(
        None,
        Names(
            "deepbelief.components:check_components",
            "list of Component or str, optional",
            registry="deepbelief.components:further_components",
        ),
        doc=(
            "Optional parts of training: instances of subclasses of `deepbelief.components.Component`, or their "
            "names in `deepbelief.components.COMPONENTS`, also as ``'NAME:NUMBER'`` with a number for the first "
            "setting. Only instances of classes in that registry can be saved."
        ),
        help="Optional parts of training, by name, or as NAME:NUMBER with a number for the first setting.",
    ),
    "batch_size": Setting(
        "auto",
        AUTOMATIC_COUNT,
        doc=('``"auto"``: a fiftieth of the rows, between 10 and 100.'),
        help="auto: a fiftieth of the rows, 10 to 100.",
    ),
    "n_iter": Setting(
        "auto",
        AUTOMATIC_COUNT,
        doc=('Number of epochs; ``"auto"``: about 6,000 updates, between 5 and 100 epochs.'),
        help="Epochs per layer and pass; auto: about 6,000 updates.",
        flag="--epochs",
    ),
    "early_stopping": Setting(
        False,
        Flag(),
        doc=(
            "Stop when the score of held-out rows has not improved for ``n_iter_no_change`` epochs, and keep the "
            "best weights. The score is the pseudo-log-likelihood or, if there is none, the negative reconstruction "
            "error. If ``validation_fraction`` is 0, a tenth of the rows is held out."
        ),
        help="Stop when the score of held-out rows no longer improves; keep the best weights.",
        off=False,
    ),
    "n_iter_no_change": Setting(
        10,
        COUNT,
        doc=("Epochs without a better score after which ``early_stopping`` stops."),
    ),
    "validation_fraction": Setting(
        0.0,
        Bounds(0, 1, open_high=True),
        doc=("Share of rows held out to monitor the free-energy gap and for ``early_stopping``."),
        help="Share of rows held out to monitor the free-energy gap.",
    ),
}
"""Settings of a layer's training as a machine, by name."""

"""Table of the settings of fine-tuning."""

from collections.abc import Mapping

from deepbelief.bounds import AUTOMATIC_COUNT, COUNT, RATE, Bounds
from deepbelief.hyperparameters.kinds import (
    MARK_OF_UNLABELED,
    PRESET,
    SCHEDULE,
    SOLVER,
    Choice,
    Described,
    Flag,
    Setting,
    Shares,
)

FINE_TUNING: Mapping[str, Setting] = {
    "preset": PRESET,
    "pretrained": Setting(
        None,
        Described("Stack, str, Path, DBN or None"),
        doc=(
            "Stack to start from instead of pretraining: ``dbn.stack_``, a model file, or a fitted `DBN` (which "
            "`sklearn.base.clone` unfits: pass ``dbn.stack_`` to searches and cross-validation)."
        ),
    ),
    "code": Setting(
        "linear",
        Choice("deepbelief.units:CODES"),
        doc=(
            "Units of the code. A linear code is pretrained with Gaussian hidden units, a sigmoid code with "
            "Bernoulli units."
        ),
        group="autoencoder",
    ),
    "loss": Setting(
        "auto",
        Choice(
            "deepbelief.losses:reconstruction_losses", ("auto",), getter="deepbelief.losses:get_loss", instances="Loss"
        ),
        doc=(
            'Loss of fine-tuning. ``"auto"``: cross-entropy of logistic outputs if the data lie in [0, 1], '
            "squared error of linear outputs if they are real values. Squared error in [0, 1] has logistic "
            "outputs too."
        ),
        help="Loss of an autoencoder.",
        group="autoencoder",
    ),
    "tied": Setting(
        False,
        Flag(),
        doc=("Keep the decoder's weights equal to the transposed weights of the encoder; False only starts from them."),
        help="Use the encoder's weights, transposed, in the decoder.",
        group="autoencoder",
    ),
    "activation": Setting(
        "auto",
        Choice(
            "deepbelief.activations:ACTIVATIONS",
            ("auto",),
            getter="deepbelief.activations:get_activation",
            instances="Activation",
        ),
        doc=(
            '``"auto"`` follows the hidden units, except that layers without pretraining use ReLU (classifiers) or '
            'tanh (regressors) instead of sigmoid. ``"tanh"`` reproduces a Bernoulli stack exactly. Other activations '
            "start from its weights; in each layer these are divided by the root mean square of its total inputs if "
            'that is above 1. With ``pretraining="none"`` weights are drawn for the activation: U(-r, r) with '
            "r = sqrt(6 / (fan_in + fan_out)), four times that for sigmoid, r = sqrt(6 / fan_in) for ReLU, biases 0. "
            'tanh and similar activations learn faster from columns with mean 0: ``rbm=RBM(visible="gaussian")`` '
            "standardises them and stores the scaling with the model."
        ),
        help="auto: that of the hidden units; without pretraining relu (regressors: tanh).",
        group="head",
    ),
    "solver": Setting(
        "sgd",
        SOLVER,
        doc=("Optimizer of fine-tuning."),
        help="[default: sgd; adam for regressors and autoencoders]",
    ),
    "learning_rate_init": Setting(
        "auto",
        RATE,
        doc=(
            'Initial learning rate of fine-tuning; ``"auto"``: 0.3 for sigmoid layers, 0.1 for tanh, 0.01 for '
            "pretrained logistic layers made linear, 0.03 otherwise; 0.01 for AdaGrad, 0.001 for RMSProp, 0.003 "
            "for Adam. A momentum above 0.9 lowers it, because the velocity sums 1 / (1 - momentum) gradients."
        ),
        help="auto: 0.3 (sigmoid), 0.003 (adam).",
        flag="--learning-rate",
    ),
    "pretrained_lr_factor": Setting(
        1.0,
        Bounds(0),
        doc=(
            "Factor of the learning rate of the layers below the head; 0 freezes them. With few labels, a small "
            "factor preserves the pretrained features."
        ),
        help="Factor of the learning rate below the head.",
        group="head",
    ),
    "head_epochs": Setting(
        0,
        Bounds(0, integer=True),
        doc=("Number of initial epochs in which only the head is trained."),
        help="Initial epochs in which only the head is trained.",
        group="head",
    ),
    "n_frozen": Setting(
        0,
        Bounds(0, integer=True),
        doc=("Number of layers, from the bottom, that keep their pretrained weights."),
        help="Number of lowest layers to freeze.",
        flag="--freeze",
        group="head",
    ),
    "schedule": Setting(
        "linear",
        SCHEDULE,
        doc=(
            'Schedule of the learning rate of fine-tuning: ``"linear"`` to 0, ``"constant"``, half a ``"cosine"``; '
            '``"exponential"`` by a constant ratio to a hundredth; ``"inverse"`` as 1 / t after a tenth of the run; '
            '``"halving"`` each time the loss of the held-out rows has not fallen for 2 epochs (requires '
            "``early_stopping``). A callable receives the position in the run, from 0 to 1, and returns a factor."
        ),
        help="Schedule of the learning rate.",
    ),
    "momentum": Setting(
        0.9,
        Bounds(0, 1, open_high=True, words=("ramp",)),
        doc=(
            'Factor of the velocity in each update; ``"ramp"`` rises from 0.5 by 1 - 1 / (2 (t // 250 + 1)) in t '
            "updates, to 0.99 (Sutskever et al. 2013)."
        ),
    ),
    "nesterovs_momentum": Setting(
        True,
        Flag(),
        doc=('Use Nesterov\'s momentum, with ``solver="sgd"``.'),
        engine="nesterov",
    ),
    "alpha": Setting(
        "auto",
        Bounds(0, auto=True),
        doc=(
            "L2 factor of the weights: (alpha / 2) ||W||**2 is added to the mean loss. (`MLPClassifier` divides "
            'its alpha by the batch size.) ``"auto"``: 3e-5 for pretrained layers, 5 / labelled rows for others; for '
            "autoencoders 1e-4 with at least 10 inputs for each unit of the code, and 0 with fewer."
        ),
        help="L2 factor of the weights; auto: 3e-5, of autoencoders 1e-4 for short codes, else 0.",
        off=0.0,
    ),
    "l1": Setting(
        0.0,
        Bounds(0),
        doc=("L1 factor of the weights: ``l1 * sum(|W|)`` is added to the mean loss."),
        help="L1 factor of the weights.",
        off=0.0,
    ),
    "max_norm": Setting(
        None,
        Bounds(0, open_low=True, none=True),
        doc=("Maximum norm of the incoming weights of each unit."),
        help="Maximum norm of the incoming weights of each unit.",
        off=None,
    ),
    "dropout": Setting(
        "auto",
        Shares(Bounds(0, 1, open_high=True, auto=True)),
        doc=(
            "Share of the units of each hidden layer that are dropped in each update: one number for all layers, "
            "or one for each. Outputs of kept units are multiplied by 1 / (1 - dropout), so that pretrained "
            'weights need no rescaling. ``"auto"``: 0.2 for classifiers with pretrained logistic layers of 100 '
            "units or more on rows in [0, 1], 0.5 with fewer than 5,000 labels; otherwise 0."
        ),
        help="Share of the hidden units dropped in each update; auto: 0 to 0.5, by the data.",
        off=0.0,
    ),
    "input_dropout": Setting(
        "auto",
        Bounds(0, 1, open_high=True, auto=True),
        doc=(
            'Share of the inputs that are dropped. ``"auto"``: 0.1 for classifiers with pretrained logistic layers '
            "on at least 100 values in [0, 1], 0.2 with fewer than 5,000 labels; otherwise 0."
        ),
        help="Share of the inputs dropped; auto: 0 to 0.2, by the data.",
        off=0.0,
    ),
    "batch_size": Setting(
        "auto",
        AUTOMATIC_COUNT,
        doc=('``"auto"``: a fiftieth of the labelled rows, between 10 and 100.'),
        help="auto: a fiftieth of the labelled rows, 10 to 100.",
    ),
    "max_iter": Setting(
        "auto",
        AUTOMATIC_COUNT,
        doc=(
            'Epochs of fine-tuning; ``"auto"``: about 6,000 updates, between 20 and 100 epochs. Where dropout is '
            "automatic and not 0: about 18,000 updates, or 5,000 with fewer than 5,000 labels. Autoencoders: about "
            "36,000. Classifiers of fewer than 1,000 labelled rows without pretraining: about 800."
        ),
        help="auto: depends on rows, labels and model.",
        flag="--epochs",
    ),
    "early_stopping": Setting(
        False,
        Flag(),
        doc=(
            "Hold out a share of the labelled rows, stop when their accuracy has not risen for "
            "``n_iter_no_change`` epochs, and keep the best weights. With several tasks this is the mean over "
            "rows of the share of their labels that are right; a 0/1 matrix is judged by its loss."
        ),
        help="Hold out a tenth of the rows; keep the best weights for them.",
        off=False,
    ),
    "validation_fraction": Setting(
        0.1,
        Bounds(0, 1, open_low=True, open_high=True),
        doc=("Share of the rows that ``early_stopping`` holds out."),
    ),
    "n_iter_no_change": Setting(
        10,
        COUNT,
        doc=("Epochs without improvement after which ``early_stopping`` stops."),
    ),
    "tol": Setting(
        0.0001,
        Bounds(0),
        doc=("Smallest change that counts as an improvement for ``early_stopping``."),
    ),
    "class_weight": Setting(
        None,
        Described('dict, "balanced", list of these or None'),
        doc=(
            "Weights of rows by their class. With several columns of y the weights of each are multiplied, as in "
            "scikit-learn; a list has one setting for each."
        ),
        group="classes",
        off=None,
    ),
    "unlabeled": Setting(
        "auto",
        MARK_OF_UNLABELED,
        doc=(
            "Mark of rows without a label. Missing values (None, NaN, NaT, ``pandas.NA``, an empty text) always "
            'mark them too. ``"auto"``: -1, as a number or as the text "-1", if there are at least two other '
            "labels; None: no mark. Rows without a label are used in pretraining only. If y has several columns, "
            "this applies to each: a missing label is ignored, the other labels of its row are used."
        ),
        help="Mark of rows without a label, or none. auto: -1 if there are at least two other labels.",
        group="classes",
    ),
}
"""Settings of fine-tuning, by name."""

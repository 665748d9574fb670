"""Table of the settings of a model of sequences."""

from collections.abc import Mapping

from deepbelief.bounds import AUTOMATIC_COUNT, COUNT, RATE, Bounds
from deepbelief.hyperparameters.kinds import PRESET, SCALE, SCHEDULE, SOLVER, UNITS_BELOW, Choice, Flag, Setting

RECURRENT: Mapping[str, Setting] = {
    "preset": PRESET,
    "n_components": Setting(
        150,
        COUNT,
        doc=("Hidden units of each frame's machine."),
    ),
    "n_recurrent": Setting(
        100,
        COUNT,
        doc=("Recurrent units."),
        help="Number of recurrent units.",
        flag="--recurrent-units",
    ),
    "visible": Setting(
        "auto",
        UNITS_BELOW,
        doc=("Type of the visible units, as in `RBM`."),
    ),
    "scale": Setting(
        "none",
        SCALE,
        doc=("Scaling of rows before the first layer, undone on output, as in `RBM`."),
    ),
    "cell": Setting(
        "tanh",
        Choice("deepbelief.recurrent.cells:CELLS", getter="deepbelief.recurrent.cells:get_cell", instances="Cell"),
        doc=('``"gru"`` remembers over more steps and takes about twice the time for the recurrence.'),
        help="Recurrent cell.",
    ),
    "truncation": Setting(
        100,
        COUNT,
        doc=(
            "Number of frames through which gradients are propagated back: sequences are split into windows of "
            "this length, each of which starts from the final state of the window before. The state may carry "
            "older information, but training does not teach it to. Use twice the longest dependency that matters,"
            " so that half of these lie within a window, or the length of the sequences if they are short. Time "
            "per frame does not depend on it, memory grows with it."
        ),
        help="Number of frames through which gradients are propagated back.",
    ),
    "gradient": Setting(
        "cd",
        Choice(
            "deepbelief.recurrent.phases:FRAME_GRADIENTS",
            getter="deepbelief.recurrent.phases:frame_gradient",
            instances="GradientEstimator",
        ),
        doc=(
            "Contrastive divergence, with visible units that are drawn in the last step too, as in the paper; or "
            "its mean-field version. Others have one negative phase for all rows."
        ),
    ),
    "gibbs_steps": Setting(
        10,
        COUNT,
        doc=("Gibbs steps k for each update."),
    ),
    "solver": Setting(
        "adam",
        SOLVER,
        doc=("Optimizer of fine-tuning."),
    ),
    "learning_rate": Setting(
        "auto",
        RATE,
        doc=('``"auto"``: 0.001 for Adam.'),
    ),
    "schedule": Setting(
        "constant",
        SCHEDULE,
        doc=("Schedule of the learning rate."),
    ),
    "momentum": Setting(
        0.9,
        Bounds(0, 1, open_high=True),
        doc=("Factor of the velocity in each update, for solvers that have one."),
    ),
    "weight_decay": Setting(
        "auto",
        Bounds(0, auto=True),
        doc=(
            'L2 factor of all weight matrices; ``"auto"``: 15 / frames, between 1e-4 and 1e-3, and 0 for fewer than '
            "1,000 frames."
        ),
    ),
    "max_grad_norm": Setting(
        1.0,
        Bounds(0, open_low=True, none=True),
        doc=("Gradients with a larger norm are scaled down to it; None: no clipping."),
        help="Maximum norm of gradients.",
    ),
    "batch_size": Setting(
        "auto",
        AUTOMATIC_COUNT,
        doc=('Number of sequences processed in parallel; ``"auto"``: a fiftieth of all frames, between 10 and 400.'),
    ),
    "n_iter": Setting(
        "auto",
        AUTOMATIC_COUNT,
        doc=(
            'Epochs; ``"auto"``: with early stopping at most 20,000 updates and 100 epochs, else about 6,000 '
            "updates, between 5 and 200 epochs."
        ),
    ),
    "early_stopping": Setting(
        "auto",
        Flag(auto=True),
        doc=(
            "Hold out a share of the sequences, stop when the log-likelihood of their frames has not risen for "
            '``n_iter_no_change`` epochs, and keep the best weights. ``"auto"``: where ``n_iter`` is not given, for '
            "at least 10 sequences and 1,000 frames that have a likelihood."
        ),
        off=False,
    ),
    "validation_fraction": Setting(
        0.1,
        Bounds(0, 1, open_low=True, open_high=True),
        doc=("Share of the sequences that ``early_stopping`` holds out."),
    ),
    "n_iter_no_change": Setting(
        10,
        COUNT,
        doc=(
            "Epochs without improvement after which ``early_stopping`` stops; the score is computed twice in this time."
        ),
    ),
    "pretrain_frames": Setting(
        "auto",
        Bounds(0, integer=True, auto=True),
        doc=(
            "Epochs in which W and the biases are first trained as an `RBM` of frames, without time; "
            '``"auto"``: about 8,000 updates, between 5 and 100 epochs, and none for fewer than 1,000 frames.'
        ),
        help="Initial epochs on single frames; auto: about 8,000 updates.",
    ),
    "pretrain_recurrent": Setting(
        0,
        Bounds(0, integer=True),
        doc=(
            "Epochs in which the recurrent network is then trained to predict the next frame by itself "
            "(cross-entropy), with W and all biases of frames restored afterwards."
        ),
        help="Initial epochs of the recurrent network alone.",
    ),
}
"""Settings of a recurrent machine's training, by name."""

"""Rules behind ``"auto"``: one for each automatic setting, which returns a value and the reason for it.

A rule is a function of facts about the data: numbers of rows, columns and labels, and types of units. It never sees a
setting that somebody gave, which always wins.
"""

from deepbelief.recipes.pretraining_rules import (
    DENOISING_UPDATES,
    UPDATES,
    USUAL,
    autoencoder_pretraining,
    denoising_rate,
    epochs_of_layer,
    machine_rate,
    persistent_chains,
    rows_in_minibatch,
    table_layers,
)
from deepbelief.recipes.resolved import (
    Choices,
    Resolved,
    choices_of_file,
    in_effect,
    is_auto,
    plain_choices,
    resolution_lines,
)
from deepbelief.recipes.sequence_rules import (
    frame_epochs,
    sequence_decay,
    sequence_epochs,
    sequences_in_minibatch,
    stopped_epochs,
    stopping_of_sequences,
)
from deepbelief.recipes.tuning_rules import (
    RATE_OF_FEW,
    ROWS_OF_FEW,
    USUAL_EXTENT,
    Extent,
    Supervision,
    hidden_dropout,
    layer_activation,
    supervised_pretraining,
    tuning_decay,
    tuning_epochs,
    tuning_extent,
    tuning_input_dropout,
    tuning_rate,
)

__all__ = [
    "DENOISING_UPDATES",
    "RATE_OF_FEW",
    "ROWS_OF_FEW",
    "UPDATES",
    "USUAL",
    "USUAL_EXTENT",
    "Choices",
    "Extent",
    "Resolved",
    "Supervision",
    "autoencoder_pretraining",
    "choices_of_file",
    "denoising_rate",
    "epochs_of_layer",
    "frame_epochs",
    "hidden_dropout",
    "in_effect",
    "is_auto",
    "layer_activation",
    "machine_rate",
    "persistent_chains",
    "plain_choices",
    "resolution_lines",
    "rows_in_minibatch",
    "sequence_decay",
    "sequence_epochs",
    "sequences_in_minibatch",
    "stopped_epochs",
    "stopping_of_sequences",
    "supervised_pretraining",
    "table_layers",
    "tuning_decay",
    "tuning_epochs",
    "tuning_extent",
    "tuning_input_dropout",
    "tuning_rate",
]

"""Table of the settings of a run, which say nothing about the model."""

from collections.abc import Mapping

from deepbelief.hyperparameters.kinds import Choice, Described, Flag, Setting

EXECUTION: Mapping[str, Setting] = {
    "warm_start": Setting(
        False,
        Flag(),
        doc=("Whether `fit` continues from the result of the last `fit`."),
        off=False,
    ),
    "backend": Setting(
        "numpy",
        Choice(
            "deepbelief.backends:BACKENDS",
            getter="deepbelief.backends:get_backend",
            instances="Backend",
            example="numpy:bfloat16",
        ),
        doc=("Where matrix products are computed: NumPy on the processor, CuPy on a GPU."),
    ),
    "memory_limit": Setting(
        None,
        Described("int, str or None"),
        doc=(
            'Maximum memory for rows, such as ``"512 MiB"``; None: a quarter of the machine\'s memory. Larger data '
            "are read in windows during training, and hidden representations are stored on disk."
        ),
    ),
    "checkpoint": Setting(
        None,
        Described("str, Path, CheckpointFile or None"),
        doc=(
            "File in which `fit` stores its state during training, every five minutes or as a `CheckpointFile` "
            "specifies. After a crash or Ctrl-C the same `fit` resumes from it and ends with the same weights as an "
            "uninterrupted run."
        ),
    ),
    "verbose": Setting(
        0,
        Described("int, Reporter or list of Reporter"),
        doc=("1 prints a line per epoch; reporters receive each epoch and may stop training."),
    ),
    "random_state": Setting(
        None,
        Described("int, Generator, RandomState or None"),
        doc=("None: the seed is drawn from NumPy's global stream, which ``np.random.seed`` sets, as in scikit-learn."),
    ),
}
"""Settings of a run, by name."""

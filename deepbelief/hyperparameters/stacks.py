"""Tables of the settings of pretraining a stack, and of a run on a machine."""

from collections.abc import Mapping

from deepbelief.bounds import COUNT, Bounds
from deepbelief.hyperparameters.kinds import PRESET, SIZES, Choice, Described, Flag, Setting

PRETRAINING: Mapping[str, Setting] = {
    "hidden_layer_sizes": Setting(
        "auto",
        SIZES,
        doc=(
            'Hidden units of each layer from the data upwards; ``"auto"`` is `suggest_layer_sizes` (784 columns: '
            "500, 250), for a `DBN` on a table of mixed columns one layer of 64."
        ),
        help="Hidden layer sizes, such as 500,250; by default those of `size`, for a table 64.",
        flag="--layers",
    ),
    "rbm": Setting(
        None,
        Described("RBM, list of RBM or None"),
        doc="Settings of pretraining: one template for all layers or one for each, as in `DBN`.",
    ),
    "pretraining": Setting(
        "rbm",
        Choice("deepbelief.bounds:PRETRAININGS"),
        doc=(
            '``"denoising"`` trains each layer as a denoising autoencoder with tied weights (Vincent et al. '
            '2010), with the rates and epochs of ``rbm``; ``"none"`` draws initial weights only (Glorot and '
            "Bengio 2010; He et al. 2015)."
        ),
        help="denoising: train each layer as a denoising autoencoder.",
    ),
    "corruption": Setting(
        "masking",
        Choice("deepbelief.gradients.denoising:CORRUPTIONS"),
        doc=("Corruption of the rows that denoising removes."),
        help="Corruption that denoising removes.",
    ),
    "corruption_level": Setting(
        0.25,
        Bounds(0),
        doc=("Share of values that are corrupted; for Gaussian noise, its standard deviation."),
        help="Share of values, or standard deviation of the noise.",
    ),
    "n_passes": Setting(
        1,
        COUNT,
        doc=(
            "Passes through the whole stack. In a later pass each layer resumes where it stopped, on the current "
            "outputs of the layers below. With equal numbers of updates, more passes gained nothing measurable "
            "(`benchmarks/passes.py`): increase the epochs of the layers first."
        ),
        help="Passes through the whole stack.",
        flag="--passes",
    ),
    "preset": PRESET,
}
"""Settings of a stack's pretraining, by name."""

SUPERVISED_PRETRAINING: Mapping[str, Setting] = {
    **PRETRAINING,
    "pretraining": Setting(
        "auto",
        Choice("deepbelief.bounds:PRETRAININGS", others=("auto",)),
        doc=(
            'Pretraining of the layers, as in `DBN`. ``"auto"`` is ``"rbm"`` if ``rbm`` is given, if values are '
            'missing, or for columns of several kinds. Otherwise it is ``"none"`` for fewer than 1,000 rows and '
            'for real values, if at least half of the rows are labelled, or else ``"denoising"``.'
        ),
    ),
}
"""Settings of the pretraining of a classifier or regressor, by name."""

AUTOENCODER_PRETRAINING: Mapping[str, Setting] = {
    **PRETRAINING,
    "pretraining": Setting(
        "auto",
        Choice("deepbelief.bounds:PRETRAININGS", others=("auto",)),
        doc=(
            'How the layers are pretrained, as in `DBN`. ``"auto"`` is ``"denoising"`` for real values where '
            '``rbm`` is not given, else ``"rbm"``: on 143 real columns explained by 6 factors, the error of a code '
            "of length 4 is 1.2 times that of PCA with denoising and 2.5 times with RBMs."
        ),
    ),
}
"""Settings of an autoencoder's pretraining, by name."""


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

"""Layer sizes: the guidance, as a suggestion and as a check.

A hidden layer of a belief network should neither copy its input (an identity) nor throw most of it away, and the depth
should be what the data carry. For 784 inputs that is 784 -> 500 -> 250.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from deepbelief.bounds import COUNT, check_sizes
from deepbelief.errors import Mention, Message, SizingWarning, user_level

MANY_ROWS = 1000  # with fewer no minibatch wastes anything worth a word
FULL_BATCH_ROWS = 2000  # from here on full-batch descent wastes rows
WIDE_INPUT = 160
"""From this many features on, layers shrink with the input; below it they have `SMALL_INPUT_WIDTH` units."""
SMALL_INPUT_WIDTH = 100
LEAST_SUPERVISED = 64
"""Fewest units of a suggested layer for classification."""
LEAST_ROWS_FOR_TWO = 100
FEW_LABELS = 5_000
"""Fewer labelled rows than this are few beside `MANY_UNLABELED` rows."""
MANY_UNLABELED = 10_000
DEPTHS = ((100, 2), (1_000, 3), (10_000, 4), (100_000, 6))
"""(rows, layers): sets of fewer rows than this carry at most that number of hidden layers; larger sets any number."""


@dataclass(frozen=True, repr=False)
class SizeAdvice:
    """Suggested layer sizes; iterates over the hidden sizes and prints with the reasons.

    Attributes
    ----------
    n_features : int
        Number of inputs.
    hidden_layer_sizes : tuple of int
        What estimators take as ``hidden_layer_sizes``.
    n_classes : int or None
        Number of outputs; None without a head.
    reasons : tuple of str
        One line for each number of `sizes`.
    depth_reason : str
        Reason for the number of hidden layers.
    """

    n_features: int
    hidden_layer_sizes: tuple[int, ...]
    n_classes: int | None
    reasons: tuple[str, ...]
    depth_reason: str

    @property
    def sizes(self) -> tuple[int, ...]:
        """All sizes from the input to the output, ``(784, 500, 250, 10)``."""
        head = () if self.n_classes is None else (self.n_classes,)
        return (self.n_features, *self.hidden_layer_sizes, *head)

    def __iter__(self) -> Iterator[int]:
        return iter(self.hidden_layer_sizes)

    def __len__(self) -> int:
        return len(self.hidden_layer_sizes)

    def __repr__(self) -> str:
        return f"<SizeAdvice {arrows(self.sizes)}>"

    def __str__(self) -> str:
        width = max(len(str(size)) for size in self.sizes)
        lines = [f"  {size:>{width}}  {reason}" for size, reason in zip(self.sizes, self.reasons, strict=True)]
        return "\n".join([arrows(self.sizes), *lines, f"  {self.depth_reason}"])


def suggest_layer_sizes(
    n_features: int,
    n_samples: int | None = None,
    n_classes: int | None = None,
    *,
    n_labeled: int | None = None,
    autoencoder: bool = False,
) -> SizeAdvice:
    """Suggest hidden layer sizes for data of this shape.

    Parameters
    ----------
    n_features : int
        Number of columns of the data.
    n_samples : int or None
        Number of rows, labelled or not; None: not known, taken as enough for two layers.
    n_classes : int or None
        Number of classes; None: pretraining only.
    n_labeled : int or None
        Number of rows that have a label; None: all. With few labels and many rows without one, a classifier has
        three layers of equal width: pretraining on all rows has enough data for them.
    autoencoder : bool
        Whether the top layer is a code that the input is reconstructed from: then never as wide as the input.

    Returns
    -------
    SizeAdvice
        ``.hidden_layer_sizes``, ``.sizes`` with input and output, and the reason for each number.

    Raises
    ------
    SettingError
        If an argument is not a positive integer.

    Examples
    --------
    >>> from deepbelief import suggest_layer_sizes
    >>> advice = suggest_layer_sizes(784, 60000, 10)
    >>> advice.hidden_layer_sizes
    (500, 250)
    >>> suggest_layer_sizes(784, 60000, 10, n_labeled=1000).hidden_layer_sizes
    (500, 500, 500)
    >>> print(advice)
    784 -> 500 -> 250 -> 10
      784  inputs, one for each feature
      500  0.64 x 784, rounded: too narrow to copy the input, wide enough to keep what matters
      250  half the layer below, 0.32 x 784: still over a quarter of the input
       10  softmax outputs, one for each class
      two hidden layers: a good start; a third pays off only once these are tuned
    """
    n_features = COUNT.checked("n_features", n_features)
    n_samples = None if n_samples is None else COUNT.checked("n_samples", n_samples)
    n_classes = None if n_classes is None else COUNT.checked("n_classes", n_classes)
    n_labeled = None if n_labeled is None else COUNT.checked("n_labeled", n_labeled)
    layers = _hidden_layers(n_features, supervised=n_classes is not None)
    depth_reason = "two hidden layers: a good start; a third pays off only once these are tuned"
    if n_samples is not None and n_samples < LEAST_ROWS_FOR_TWO:
        layers = layers[:1]
        depth_reason = f"one hidden layer: {n_samples} rows are too few for a second (from {LEAST_ROWS_FOR_TWO} on)"
    if n_classes is not None and few_of_many_labeled(n_labeled, n_samples) and n_features >= WIDE_INPUT:
        equal = (layers[0][0], "as wide as the layer below")
        layers = [layers[0], equal, equal]
        depth_reason = f"three hidden layers of equal width: {n_labeled:,} of {n_samples:,} rows have a label"
    if autoencoder and n_features < WIDE_INPUT:
        width = _code_width(n_features)
        layers = [*layers[:-1], (width, f"the code: a third of {n_features}, too narrow to copy the input")]
    reasons = ["inputs, one for each feature", *(reason for _, reason in layers)]
    if n_classes is not None:
        reasons.append("softmax outputs, one for each class")
    return SizeAdvice(n_features, tuple(size for size, _ in layers), n_classes, tuple(reasons), depth_reason)


def few_of_many_labeled(n_labeled: int | None, n_samples: int | None) -> bool:
    """Return whether few of many rows have a label.

    Examples
    --------
    >>> few_of_many_labeled(1_000, 60_000), few_of_many_labeled(1_000, 1_000)
    (True, False)
    """
    if n_labeled is None or n_samples is None:
        return False
    return n_labeled < FEW_LABELS and n_samples - n_labeled >= MANY_UNLABELED


def check_layer_sizes(
    n_features: int,
    hidden_layer_sizes: int | Sequence[int],
    *,
    n_samples: int | None = None,
    autoencoder: bool = False,
    code: bool | None = None,
    noise: bool = False,
    sparsity: bool = False,
) -> list[str]:
    """Check layer sizes against the guidance; emit one `SizingWarning` if there is something to say.

    Three faults are reported, each with the right number: an identity (an autoencoder whose narrowest layer
    has at least 0.8 times as many units as there are inputs), a hidden layer under a quarter of 160 or more inputs, and
    more hidden layers than the rows carry. A narrow layer is fine where it was plainly meant: as the code on top, or
    where the layers taper to it, each at least 0.4 times as wide as the one below.

    Parameters
    ----------
    n_features : int
        Number of columns of the data.
    hidden_layer_sizes : int or sequence of int
        Hidden sizes from the bottom up, without input and output; of an autoencoder the encoder half with its code.
    n_samples : int or None
        Number of rows that train the layers; None: depth is not checked.
    autoencoder : bool
        Whether the layers are trained to reproduce their input.
    code : bool or None
        Whether the top layer is a code, which may be as narrow as it likes. None: yes for an autoencoder and for three
        or more layers that narrow towards the top.
    noise, sparsity : bool
        Whether training adds noise to the input or asks for sparse units: a wide layer then does not copy its input.

    Returns
    -------
    list of str
        One line of advice for each finding; empty if there is none.

    Raises
    ------
    SettingError
        If a size is not a positive integer or there is none.

    Examples
    --------
    >>> from deepbelief import check_layer_sizes
    >>> check_layer_sizes(784, (500, 250), n_samples=60000)
    []
    """
    n_features = COUNT.checked("n_features", n_features)
    sizes = check_sizes(hidden_layer_sizes)
    if code is None:
        narrows = len(sizes) >= 3 and sizes == tuple(sorted(sizes, reverse=True)) and sizes[-1] < sizes[-2]
        code = autoencoder or narrows  # like 1000-500-250-30
    advice = []
    if autoencoder and not noise and not sparsity:
        advice += _identity(n_features, sizes)
    advice += _too_narrow(n_features, sizes, code=code)
    if n_samples is not None:
        advice += _too_deep(COUNT.checked("n_samples", n_samples), sizes)
    if advice:
        warnings.warn("; ".join(advice), SizingWarning, stacklevel=user_level())
    return advice


def _hidden_layers(n_features: int, *, supervised: bool) -> list[tuple[int, str]]:
    """Return the size of two hidden layers, each with its reason."""
    if n_features < WIDE_INPUT:
        reason = f"for fewer than {WIDE_INPUT} inputs a fixed {SMALL_INPUT_WIDTH}: a smaller layer would lose too much"
        return [(SMALL_INPUT_WIDTH, reason), (SMALL_INPUT_WIDTH, "as wide as the layer below")]
    wide = _pleasant(0.64 * n_features)
    narrow = wide // 2
    narrow_reason = f"half the layer below, 0.32 x {n_features}: still over a quarter of the input"
    if supervised and narrow < LEAST_SUPERVISED:
        narrow, narrow_reason = LEAST_SUPERVISED, f"never under {LEAST_SUPERVISED} for classification"
    wide_reason = f"0.64 x {n_features}, rounded: too narrow to copy the input, wide enough to keep what matters"
    return [(wide, wide_reason), (narrow, narrow_reason)]


def _identity(n_features: int, sizes: tuple[int, ...]) -> list[str]:
    narrowest = min(sizes)
    if 5 * narrowest < 4 * n_features:
        return []
    most = -(-4 * n_features // 5) - 1  # the largest number under 0.8 of the input
    remedy = "add noise or sparsity"
    if most:
        remedy = f"give the code at most {most} units (for instance {_code_width(n_features)}), or {remedy}"
    return [f"the narrowest layer has {narrowest} units for {n_features} inputs and can learn to copy them: {remedy}"]


def _too_narrow(n_features: int, sizes: tuple[int, ...], *, code: bool) -> list[str]:
    if n_features < WIDE_INPUT:
        return []
    below = (n_features, *sizes)
    narrow = [
        i
        for i, size in enumerate(sizes[:-1] if code else sizes)
        if 4 * size < n_features and (i == 0 or 5 * size < 2 * below[i])
    ]
    if not narrow:
        return []
    names = " and ".join(f"layer {i + 1} with {sizes[i]} units" for i in narrow)
    least = -(-n_features // 4)
    suggested = arrows((n_features, *suggest_layer_sizes(n_features)))
    return [
        f"hidden {names}: under a quarter of the {n_features} inputs, which loses much of them: "
        f"take at least {least} units, for instance {suggested}"
    ]


def batch_size_advice(batch_size: int, n_rows: int, least: int) -> Message:
    """Return what is wrong with a minibatch size, and what would be right, or nothing.

    Parameters
    ----------
    batch_size : int
    n_rows : int
    least : int
        Rows that keep the backend's matrix products busy (`Backend.least_batch`).

    Examples
    --------
    >>> print(batch_size_advice(1, 1000, 2))
    batch_size=1 makes matrix products inefficient: an update takes nearly as long as with 2 rows; take 10 to 100
    >>> len(batch_size_advice(100, 1000, 2))
    0
    """
    if batch_size < least and n_rows >= MANY_ROWS:
        return Message(
            Mention("batch_size", batch_size),
            f" makes matrix products inefficient: an update takes nearly as long as with {least} rows; take "
            f"{max(10, least)} to {max(100, 10 * least)}",
        )
    if batch_size >= n_rows >= FULL_BATCH_ROWS:
        return Message(
            Mention("batch_size", batch_size),
            f" makes one update in an epoch of {n_rows} rows, but minibatches of 10 to 1000 make many updates that "
            "are as good: use 100",
        )
    return Message()


def warn_batch_size(batch_size: int | str, n_rows: int, least: int) -> None:
    """Emit one `SizingWarning` for a minibatch size that was given and wastes the backend or the rows."""
    advice = Message() if isinstance(batch_size, str) else batch_size_advice(int(batch_size), n_rows, least)
    if advice:
        warnings.warn(SizingWarning(advice), stacklevel=user_level())


def _too_deep(n_samples: int, sizes: tuple[int, ...]) -> list[str]:
    most = next((depth for rows, depth in DEPTHS if n_samples < rows), len(sizes))
    if len(sizes) <= most:
        return []
    return [f"{len(sizes)} hidden layers are too many for {n_samples} rows: use at most {most}"]


def _code_width(n_features: int) -> int:
    return _hidden_layers(n_features, supervised=False)[1][0] if n_features >= WIDE_INPUT else -(-n_features // 3)


def _pleasant(size: float) -> int:
    """Round to two significant digits, at least to a multiple of ten."""
    step: int = max(10, 10 ** (len(str(int(size))) - 2))
    return max(step, step * round(size / step))


def arrows(sizes: Iterable[object]) -> str:
    """Return layer sizes as ``784 -> 500 -> 250``."""
    return " -> ".join(str(size) for size in sizes)

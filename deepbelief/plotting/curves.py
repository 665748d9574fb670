"""Curves by epoch, and by sampling time."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deepbelief.diagnostics.mixing import MixingReport
from deepbelief.errors import SettingError, unknown
from deepbelief.plotting.axes import COLORS, GAP, new_axes, plain, set_title
from deepbelief.typing import StrMapping

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE_RANGE = 20.0  # a line that falls by more is drawn on a logarithmic scale
MOST_LINES = 24
MAX_VALUE = 1e30


@dataclass(frozen=True)
class Quantity:
    """Label and style of a quantity that a history records."""

    label: str
    held_out: bool = False


QUANTITIES: Mapping[str, Quantity] = {
    "reconstruction_error": Quantity("squared error per row"),
    "free_energy_gap": Quantity("free-energy gap", held_out=True),
    "loss": Quantity("loss per row"),
    "validation_loss": Quantity("loss per row", held_out=True),
    "validation_score": Quantity("score on held-out rows", held_out=True),
    "validation_log_likelihood": Quantity("log-likelihood of held-out data", held_out=True),
}
"""Quantities that can be drawn, by their name in ``history_``."""

AUTO = ("reconstruction_error", "loss", "validation_loss")


@dataclass
class Line:
    """One line: a quantity of one layer, or of fine-tuning."""

    stage: str
    quantity: str
    epochs: list[int]
    values: list[float]
    passes: list[int]  # positions at which a later pass begins
    last_pass: object = None


def plot_learning_curves(
    model_or_history: object, ax: "Axes | None" = None, *, quantities: str | Sequence[str] = "auto"
) -> "Axes":
    """Draw the learning curves in ``history_``, a line for each layer and for fine-tuning.

    Lines of held-out rows are dashed. A layer's line runs through all passes, with a dot at the start of each later
    pass.

    Parameters
    ----------
    model_or_history : fitted estimator or list of dict
        An estimator's ``history_`` or the estimator.
    ax : matplotlib Axes, optional
    quantities : str or sequence of str, default="auto"
        Names of `QUANTITIES`. ``"auto"`` draws reconstruction error, loss, and loss on held-out rows, where recorded.

    Returns
    -------
    matplotlib Axes
        Each line has a label. The scale is logarithmic if values fall by a large factor.

    Raises
    ------
    SettingError
        If there is no history, or it has no such quantity.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import DBN, RBM
    >>> from deepbelief.plotting import plot_learning_curves
    >>> dbn = DBN((4, 3), rbm=RBM(n_iter=3), random_state=0).fit(np.eye(6))
    >>> [line.get_label() for line in plot_learning_curves(dbn).lines]
    ['layer 1', 'layer 2']
    """
    lines = learning_curves(_history(model_or_history), quantities)
    ax = new_axes(ax, 3.2)
    from matplotlib.ticker import MaxNLocator

    stages = list(dict.fromkeys(line.stage for line in lines))
    for line in lines[:MOST_LINES]:
        _draw(ax, line, COLORS[stages.index(line.stage) % len(COLORS)])
    values = [value for line in lines for value in line.values]
    if min(values) > 0 and max(values) > WIDE_RANGE * min(values):
        ax.set_yscale("log")
    labels = list(dict.fromkeys(QUANTITIES[line.quantity].label for line in lines))
    ax.set(xlabel="epoch", ylabel=labels[0] if len(labels) == 1 else "error or loss")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    for text in ax.legend(fontsize="small").get_texts():
        text.set_parse_math(False)
    set_title(ax, f"{' and '.join(labels).capitalize()}, by epoch")
    return ax


def _draw(ax: "Axes", line: Line, color: str) -> None:
    held_out = QUANTITIES[line.quantity].held_out
    every = line.passes if len(line.values) > 1 else [0]  # a single epoch makes no line
    label = f"{line.stage}, held-out rows" if held_out else line.stage
    ax.plot(
        line.epochs, line.values, "--" if held_out else "-", color=color, label=label, linewidth=1.5,
        marker="o" if every else "", markersize=4, markevery=every,
    )  # fmt: skip


def learning_curves(history: Iterable[StrMapping], quantities: str | Sequence[str] = "auto") -> list[Line]:
    """Return the lines of these quantities in the order in which they were recorded.

    Raises
    ------
    SettingError
        If no such quantity was recorded.
    """
    names = AUTO if quantities == "auto" else (quantities,) if isinstance(quantities, str) else tuple(quantities)
    for name in names:
        if name not in QUANTITIES:
            raise SettingError(unknown("quantity", name, QUANTITIES))
    lines: dict[tuple[str, str], Line] = {}
    for number, record in enumerate(history, 1):
        for name in names:
            value = _number(record.get(name))
            if value is not None:
                _add(lines, _stage(record), name, record, number, value)
    if not lines:
        raise SettingError(f"history_ lacks {', '.join(names)}: train first, or hold out rows to record them")
    return list(lines.values())


def _add(
    lines: dict[tuple[str, str], Line], stage: str, name: str, record: StrMapping, number: int, value: float
) -> None:
    line = lines.setdefault((stage, name), Line(stage, name, [], [], []))
    if line.values and record.get("pass") != line.last_pass:
        line.passes.append(len(line.values))
    line.last_pass = record.get("pass")
    epoch = record.get("epoch")
    line.epochs.append(epoch if type(epoch) is int and 0 <= epoch < MAX_VALUE else number)
    line.values.append(value)


def _stage(record: StrMapping) -> str:
    """Return what was trained in an epoch: a layer, or all of them."""
    phase = record.get("phase", "pretrain")
    if phase == "pretrain":
        return f"layer {plain(record.get('layer', 1))}"
    return {"finetune": "fine-tuning", "partial_fit": "partial_fit"}.get(str(phase), plain(phase))


def _number(value: object) -> float | None:
    """Return a finite number that can be drawn; None for any other value."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > MAX_VALUE:
        return None
    return None if math.isnan(value) else float(value)


def _history(model_or_history: object) -> list[StrMapping]:
    history = getattr(model_or_history, "history_", model_or_history)
    if not isinstance(history, (list, tuple)) or not all(isinstance(record, Mapping) for record in history):
        name = type(model_or_history).__name__
        raise SettingError(f"a fitted model with a history_, or a list of records, is needed, got {name}")
    return list(history)


def plot_mixing(report: MixingReport, ax: "Axes | None" = None) -> "Axes":
    """Draw the correlation of pair covariances of samples with those of the data against the sampling time.

    The dashed line is the correlation between two halves of the rows. A curve that rises and then falls means that the
    model was trained out of equilibrium.

    Parameters
    ----------
    report : MixingReport
        Of `deepbelief.diagnostics.mixing_report`.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import Weights
    >>> X = np.random.default_rng(0).integers(0, 2, (100, 4))
    >>> model = Weights(np.zeros((4, 2)), np.zeros(4), np.zeros(2))
    >>> from deepbelief.diagnostics import mixing_report
    >>> report = mixing_report(model, X, n_chains=50, n_sweeps=50)
    >>> len(plot_mixing(report).lines)
    2
    """
    ax = new_axes(ax, 3.2)
    ax.plot(report.sweeps, report.pair_correlation, "-o", color=COLORS[0], markersize=3, label="samples")
    ax.axhline(report.ceiling, color=GAP, linestyle="--", label="two halves of the rows")
    ax.set(xscale="log", xlabel="Gibbs steps", ylabel="correlation of pair covariances")
    ax.legend(fontsize="small")
    set_title(ax, "Samples compared with the data, by sampling time")
    return ax

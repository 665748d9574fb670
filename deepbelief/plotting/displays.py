"""Display classes like those of scikit-learn: computed once by ``from_estimator``, drawn by ``plot``.

Each display keeps its data as attributes, so that it can be drawn again, on other axes or in another size, without the
model. ``ax_`` and ``figure_`` are those of the last drawing.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from deepbelief.diagnostics.rate_sweep import learning_rate_sweep
from deepbelief.diagnostics.sweep_result import LearningRateSweep
from deepbelief.errors import SettingError
from deepbelief.estimators.views import layers_of
from deepbelief.plotting.axes import COLORS, Shape, new_axes, set_title
from deepbelief.plotting.curves import plot_learning_curves
from deepbelief.plotting.images import plot_reconstructions
from deepbelief.plotting.weights import plot_receptive_fields
from deepbelief.stack import Stack
from deepbelief.typing import Estimator, RowsLike, StrMapping, TargetsLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VERDICT_COLORS = {"good": COLORS[2], "too slow": COLORS[0], "too high": COLORS[1], "diverged": "black"}


class Display:
    """Base of the display classes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last drawing.
    figure_ : matplotlib Figure
        The figure of `ax_`.
    """

    ax_: "Axes"
    figure_: "Figure"

    def _drawn(self, ax: "Axes") -> Self:
        self.ax_, self.figure_ = ax, ax.figure  # type: ignore[assignment]
        return self


class TrainingDisplay(Display):
    """Learning curves from the records of ``history_``.

    Parameters
    ----------
    history : list of dict
        Records of epochs.

    See Also
    --------
    plot_learning_curves : The drawing itself.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import RBM
    >>> from deepbelief.plotting import TrainingDisplay
    >>> display = TrainingDisplay.from_estimator(RBM(4, n_iter=3, random_state=0).fit(np.eye(6)))
    >>> len(display.history), display.ax_.get_xlabel()
    (3, 'epoch')
    """

    def __init__(self, history: Sequence[StrMapping]) -> None:
        self.history = history

    @classmethod
    def from_estimator(
        cls, estimator: Estimator, *, ax: "Axes | None" = None, quantities: str | Sequence[str] = "auto"
    ) -> "TrainingDisplay":
        """Draw the history of a fitted estimator.

        Parameters
        ----------
        estimator : fitted estimator
        ax : matplotlib Axes, optional
            By default those of a new figure.
        quantities : str or sequence of str, default="auto"
            Names of `QUANTITIES`.

        Returns
        -------
        TrainingDisplay

        Raises
        ------
        SettingError
            If the estimator is not fitted.
        """
        history = getattr(estimator, "history_", None)
        if history is None:
            raise SettingError(
                f"`estimator` must be fitted, got {type(estimator).__name__} without history_. Call fit."
            )
        return cls(list(history)).plot(ax, quantities=quantities)

    def plot(self, ax: "Axes | None" = None, *, quantities: str | Sequence[str] = "auto") -> Self:
        """Draw the curves on these axes, or on new ones, and return the display."""
        return self._drawn(plot_learning_curves(self.history, ax, quantities=quantities))


class WeightsDisplay(Display):
    """Receptive fields: the weights of hidden units to the inputs.

    Parameters
    ----------
    stack : Stack
        Layers, from the data upwards.
    feature_names : sequence of str, optional
        Names of the inputs.

    See Also
    --------
    plot_receptive_fields : The drawing itself.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from deepbelief import RBM
    >>> from deepbelief.plotting import WeightsDisplay
    >>> rbm = RBM(16, n_iter=1, random_state=0).fit(load_digits().data / 16)
    >>> WeightsDisplay.from_estimator(rbm, n=4).ax_.images[0].get_array().shape
    (17, 17)
    """

    def __init__(self, stack: Stack, *, feature_names: Sequence[str] | None = None) -> None:
        self.stack = stack
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls, estimator: Estimator, *, ax: "Axes | None" = None, layer: int = 0, n: int = 64, shape: Shape = "auto"
    ) -> "WeightsDisplay":
        """Draw units of one layer of a fitted estimator.

        Parameters
        ----------
        estimator : fitted estimator or Stack
        ax : matplotlib Axes, optional
            By default those of a new figure.
        layer : int, default=0
            0 for the first.
        n : int, default=64
            Largest number of units.
        shape : (height, width), "auto" or None, default="auto"
            As in `plot_receptive_fields`.

        Returns
        -------
        WeightsDisplay
        """
        names = getattr(estimator, "feature_names_in_", None)
        display = cls(layers_of(estimator), feature_names=None if names is None else [str(name) for name in names])
        return display.plot(ax, layer=layer, n=n, shape=shape)

    def plot(self, ax: "Axes | None" = None, *, layer: int = 0, n: int = 64, shape: Shape = "auto") -> Self:
        """Draw units of one layer on these axes, or on new ones, and return the display."""
        names = self.feature_names
        drawn = plot_receptive_fields(self.stack, ax, layer=layer, n=n, shape=shape, feature_names=names)
        return self._drawn(drawn)


class ReconstructionDisplay(Display):
    """Rows above their reconstructions.

    Parameters
    ----------
    model : fitted estimator or Stack
    rows : ndarray of shape (n_rows, n_features)

    See Also
    --------
    plot_reconstructions : The drawing itself.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from deepbelief import RBM
    >>> from deepbelief.plotting import ReconstructionDisplay
    >>> X = load_digits().data / 16
    >>> rbm = RBM(16, n_iter=1, random_state=0).fit(X)
    >>> ReconstructionDisplay.from_estimator(rbm, X[:3]).ax_.images[0].get_array().shape
    (17, 26)
    """

    def __init__(self, model: Estimator, rows: RowsLike) -> None:
        self.model = model
        self.rows = rows

    @classmethod
    def from_estimator(
        cls, estimator: Estimator, X: RowsLike, *, ax: "Axes | None" = None, n: int = 10, shape: Shape = "auto"
    ) -> "ReconstructionDisplay":
        """Draw the first rows and their reconstructions by a fitted estimator.

        Parameters
        ----------
        estimator : fitted estimator or Stack
        X : array-like of shape (n_rows, n_features)
        ax : matplotlib Axes, optional
            By default those of a new figure.
        n : int, default=10
            Largest number of rows.
        shape : (height, width), "auto" or None, default="auto"
            As in `plot_receptive_fields`.

        Returns
        -------
        ReconstructionDisplay
        """
        return cls(estimator, X).plot(ax, n=n, shape=shape)

    def plot(self, ax: "Axes | None" = None, *, n: int = 10, shape: Shape = "auto") -> Self:
        """Draw the rows on these axes, or on new ones, and return the display."""
        drawn = plot_reconstructions(self.model, self.rows, ax, n=n, shape=shape)
        return self._drawn(drawn)


class RateSweepDisplay(Display):
    """Scores of a learning-rate sweep, by rate, each with its verdict.

    Parameters
    ----------
    sweep : LearningRateSweep
        Result of `deepbelief.learning_rate_sweep`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from deepbelief import RBM
    >>> from deepbelief.plotting import RateSweepDisplay
    >>> X = load_digits().data[:200] / 16
    >>> display = RateSweepDisplay.from_estimator(RBM(8, n_iter=2, random_state=0), X, rates=[0.1, 0.001])
    >>> [row.rate for row in display.sweep.rows], display.ax_.get_xscale()
    ([0.1, 0.001], 'log')
    """

    def __init__(self, sweep: LearningRateSweep) -> None:
        self.sweep = sweep

    @classmethod
    def from_estimator(
        cls, estimator: Estimator, X: RowsLike, y: TargetsLike = None, *, ax: "Axes | None" = None, **settings: Any
    ) -> "RateSweepDisplay":
        """Sweep learning rates of an estimator and draw their scores.

        Parameters
        ----------
        estimator : estimator
            Estimator with the settings to use; it is not changed.
        X : array-like of shape (n_rows, n_features)
        y : array-like, optional
            Targets of estimators that are fine-tuned.
        ax : matplotlib Axes, optional
            By default those of a new figure.
        **settings
            Of `deepbelief.learning_rate_sweep`, for instance ``rates``.

        Returns
        -------
        RateSweepDisplay
        """
        return cls(learning_rate_sweep(estimator, X, y, **settings)).plot(ax)

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw the scores on these axes, or on new ones, and return the display."""
        ax = new_axes(ax, 3.2)
        finite = [row for row in self.sweep.rows if np.isfinite(row.score)]
        line = sorted(finite, key=lambda row: row.rate)
        ax.plot([row.rate for row in line], [row.score for row in line], color="0.7", linewidth=1, zorder=1)
        for verdict in dict.fromkeys(row.verdict for row in self.sweep.rows):
            rows = [row for row in finite if row.verdict == verdict]
            color = VERDICT_COLORS.get(verdict, "0.5")
            ax.scatter([row.rate for row in rows], [row.score for row in rows], color=color, label=verdict, zorder=2)
        if self.sweep.best_rate is not None:
            ax.axvline(self.sweep.best_rate, color="0.5", linestyle=":", label=f"best: {self.sweep.best_rate:g}")
        for row in self.sweep.rows:
            if not np.isfinite(row.score):
                ax.axvline(row.rate, color=VERDICT_COLORS["diverged"], linestyle="--", linewidth=0.8)
        ax.set(xscale="log", xlabel=self.sweep.setting, ylabel="score of held-out rows")
        ax.legend(fontsize="small")
        set_title(ax, self.sweep.metric.capitalize())
        return self._drawn(ax)

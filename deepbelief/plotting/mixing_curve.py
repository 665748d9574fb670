"""Mixing curve: agreement of samples with the data by sampling time."""

from typing import TYPE_CHECKING

from deepbelief.diagnostics.mixing import MixingReport
from deepbelief.plotting.axes import COLORS, GAP, new_axes, set_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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

"""Families of aligned sequences: weights by identity in training, and samples as FASTA."""

from dataclasses import replace
from typing import Any

from deepbelief.bounds import Bounds
from deepbelief.errors import SettingError
from deepbelief.typing import Estimator

from ._annotations import DataSet, Schema
from ._options import option
from ._types import Bounded

DEFAULT_IDENTITY = 0.8
N_SAMPLES, N_STEPS = 500, 300  # of the report
MAX_SEQUENCES = 5000  # of the data in the report


identity_option = option(
    "--identity", type=Bounded(Bounds(0, 1, open_low=True, words=("none",))), metavar="SHARE|none",
    help="Weight of an aligned sequence: 1 / the number of sequences that agree with it at this share of the sites; "
         "none: equal weights.  [default: 0.8]",
)  # fmt: skip


def with_identity(data: DataSet, identity: float | str | None) -> tuple[DataSet, str]:
    """Return data whose sequences have weights, and these in words; other data as they are.

    Raises
    ------
    SettingError
        If weights are asked for and the rows are not aligned sequences.
    """
    if data.schema is None or not data.schema.alphabet:
        if identity is not None:
            raise SettingError("--identity is for aligned sequences (FASTA files): leave it out")
        return data, ""
    if identity == "none":
        return data, "all alike"
    from deepbelief.sources import with_weights
    from deepbelief.sources.fasta import sequence_weights

    share = DEFAULT_IDENTITY if identity is None else float(identity)
    weights = sequence_weights(data.rows, share)
    words = f"1 / number of sequences within {share:.0%} identity; {weights.sum():.1f} effective sequences"
    return replace(data, rows=with_weights(data.rows, weights)), words


def family_figures(estimator: Estimator, schema: Schema, data: DataSet) -> tuple[list[str], list[Any]]:
    """Compare sequences with samples of the model: logos, frequencies of letters, and correlations of two sites."""
    from deepbelief.estimators.views import sample_rows
    from deepbelief.evaluation.families import site_statistics
    from deepbelief.plotting import plot_agreement, plot_logo

    rows = data.rows.take(slice(0, min(data.rows.shape[0], MAX_SEQUENCES)))
    drawn = schema.encode(sample_rows(estimator, N_SAMPLES, n_steps=N_STEPS, random_state=0))
    ours, theirs = (site_statistics(each, schema.groups) for each in (rows, drawn))
    of_letters, of_pairs = ours.agreement(theirs)
    notes = [
        f"{N_SAMPLES} samples after {N_STEPS} Gibbs steps, compared with {len(rows):,} unweighted sequences of "
        f"{data.source_path}.",
        f"Pearson's r of letter frequencies: {of_letters:.3f}; of the connected correlations of two sites: "
        f"{of_pairs:.3f}. The second is low if the chains are still close to their start; even two halves of the "
        "data do not reach 1.",
    ]
    figures = []
    for found, name in ((ours, "the data"), (theirs, "samples")):
        figures.append(plot_logo(found.frequencies, schema.alphabet))
        figures[-1].set_title(f"Logo of {name}")
    figures.append(plot_agreement(ours.frequencies, theirs.frequencies, "Letter frequencies"))
    figures.append(plot_agreement(ours.correlations, theirs.correlations, "Connected correlations of two sites"))
    return notes, figures

"""Families of aligned sequences: weights by identity in training, and samples as FASTA."""

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from deepbelief.bounds import Bounds
from deepbelief.errors import SettingError
from deepbelief.typing import RowsLike

from ._options import option
from ._tables import FASTA_FORMATS, csv_file

if TYPE_CHECKING:
    from deepbelief.datasets import DataSet

DEFAULT_IDENTITY = 0.8

__all__ = ["FASTA_FORMATS", "identity_option", "with_identity", "write_letters"]


class Identity(click.ParamType):  # type: ignore[type-arg]
    """A share of sites in (0, 1], or ``none``."""

    name = "share"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        """Return the share, or ``"none"``."""
        if value == "none":
            return "none"
        try:
            number = float(str(value))
        except ValueError:
            self.fail(f"{value!r} is neither a number nor none", param, ctx)
        return float(Bounds(0, 1, open_low=True).checked("identity", number))


identity_option = option(
    "--identity", type=Identity(), metavar="SHARE|none",
    help="Weight of an aligned sequence: 1 / the number of sequences that agree with it at this share of the sites; "
         "none: equal weights.  [default: 0.8]",
)  # fmt: skip


def with_identity(data: "DataSet", identity: float | str | None) -> tuple["DataSet", str]:
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


def write_letters(out: str, rows: RowsLike) -> None:
    """Write sequences as FASTA."""
    from deepbelief.sources.fasta import write_fasta

    with csv_file(out) as file:
        write_fasta(file, rows)

"""Scaling of DATA for a model, decided on the training rows and described in words."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepbelief.datasets import DataSet

WORDS = {"255": "divided by 255", "minmax": "the range of each column mapped to [0, 1]"}


def chosen_scale(data: "DataSet", scale: str) -> tuple[str, str]:
    """Return the scale setting that training takes for ``--scale``, and what it does to the rows in words.

    Raises
    ------
    SettingError
        If there is no such scale.
    """
    from deepbelief.errors import SettingError, unknown
    from deepbelief.sources import SCALES, column_statistics, grey_levels, has_missing

    if scale not in SCALES:
        raise SettingError(unknown("scale", scale, SCALES))
    if data.schema is not None:
        if scale in WORDS:
            raise SettingError(f"--scale {scale} is for files of numbers; numbers of a table are binned: leave it out")
        return "none", "as aligned sequences" if data.schema.alphabet else "as a table"
    if scale in WORDS:
        return scale, WORDS[scale]
    statistics = column_statistics(data.rows, missing=has_missing(data.rows))
    reason = grey_levels(data.rows, statistics, data.feature_names) if scale == "auto" else ""
    if reason:
        return "255", f"divided by 255 ({reason})"
    low, high = float(statistics.min.min()), float(statistics.max.max())
    if low >= 0 and high <= 1:
        return "none", "not scaled"
    return "none", f"not scaled to [0, 1] (values from {low:.4g} to {high:.4g})"

"""Path and frequency of checkpoints."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from deepbelief.errors import SettingError
from deepbelief.typing import StrMapping

EVERY_UNITS = {
    "s": ("seconds", 1.0), "min": ("seconds", 60.0), "h": ("seconds", 3600.0), "epoch": ("epochs", 1.0),
    "epochs": ("epochs", 1.0), "update": ("updates", 1.0), "updates": ("updates", 1.0),
}  # fmt: skip


@dataclass(frozen=True)
class CheckpointFile:
    """Checkpoint file of a run and the interval between checkpoints.

    Parameters
    ----------
    path : str or Path
        Path of the file. The previous checkpoint is kept next to it, with ``.previous`` added to its name.
    every : str, int or None, default="5 min"
        ``"10 min"``, ``"90 s"``, ``"2 h"``, ``"3 epochs"``, ``"500 updates"``, or a number of epochs. A checkpoint is
        also written at the end of each layer and of the run. None: only when Ctrl-C or SIGTERM stops the run.
    metadata : mapping
        Your own plain values to store in the file.

    Examples
    --------
    >>> CheckpointFile("run.ckpt.h5", every="10 min").interval
    ('seconds', 600.0)
    """

    path: str | Path
    every: str | int | None = "5 min"
    metadata: StrMapping = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the interval."""
        if not isinstance(self.path, (str, Path)) or not str(self.path):
            raise SettingError(f"checkpoint must be a path, a CheckpointFile or None, got {self.path!r}")
        if "\0" in str(self.path):
            raise SettingError(f"checkpoint must be a path without NUL, got {self.path!r}")
        _ = self.interval

    @property
    def interval(self) -> tuple[str, float] | None:
        """Unit and length of the interval between two checkpoints."""
        if self.every is None:
            return None
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([a-z]*)\s*", str(self.every))
        unit = found and EVERY_UNITS.get(found[2] or "epochs")
        if isinstance(self.every, bool) or not found or not unit or float(found[1]) <= 0:
            raise SettingError(
                f"a checkpoint is written every '10 min', '90 s', '2 h', '3 epochs' or '500 updates', "
                f"got {self.every!r}"
            )
        return unit[0], float(found[1]) * unit[1]


def as_checkpoint_file(checkpoint: str | Path | CheckpointFile | None) -> CheckpointFile | None:
    """Return the value of ``checkpoint=`` as a `CheckpointFile`, or None."""
    if checkpoint is None or isinstance(checkpoint, CheckpointFile):
        return checkpoint
    return CheckpointFile(checkpoint)

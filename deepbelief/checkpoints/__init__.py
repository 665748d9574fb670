"""Checkpoints of long runs: when they are written, by which run, and how one goes on from them."""

from deepbelief.checkpoints.file import CheckpointFile, as_checkpoint_file
from deepbelief.checkpoints.keeper import NO_KEEPER, FileKeeper, Found, Keeper, keeping
from deepbelief.checkpoints.lock import locked, remove

__all__ = [
    "NO_KEEPER",
    "CheckpointFile",
    "FileKeeper",
    "Found",
    "Keeper",
    "as_checkpoint_file",
    "keeping",
    "locked",
    "remove",
]

"""Checkpoints of long runs: writing and resuming."""

from deepbelief.checkpoints.checkpointer import (
    NO_CHECKPOINTS,
    Checkpointer,
    FileCheckpointer,
    ResumePoint,
    checkpointing,
)
from deepbelief.checkpoints.file import CheckpointFile, as_checkpoint_file
from deepbelief.checkpoints.lock import locked, remove

__all__ = [
    "NO_CHECKPOINTS",
    "CheckpointFile",
    "Checkpointer",
    "FileCheckpointer",
    "ResumePoint",
    "as_checkpoint_file",
    "checkpointing",
    "locked",
    "remove",
]

"""Model files of early versions, and the stack in a model file."""

import os
from collections.abc import Mapping
from dataclasses import replace

from deepbelief import hdf5
from deepbelief.errors import DeepBeliefError, FileFormatError
from deepbelief.hdf5 import ModelFile
from deepbelief.sources import Scaling
from deepbelief.stack import Stack


def with_own_scaling(model: ModelFile) -> ModelFile:
    """Return a model that takes rows in the units of the data.

    Files of early versions store the scaling of the command line in their metadata.
    """
    recorded = model.metadata.get("scaling")
    if not isinstance(recorded, Mapping) or "kind" not in recorded or model.stack is None:
        return model
    try:
        own = Scaling.from_dict(recorded).map_of(model.stack.sizes[0])
    except (DeepBeliefError, TypeError, ValueError) as error:
        raise FileFormatError("its metadata contain no valid scaling") from error
    kept = {name: value for name, value in model.metadata.items() if name != "scaling"}
    metadata = {**kept, "scale": str(recorded["kind"])}
    if own is None:
        return replace(model, metadata=metadata)
    pretrained = None if model.pretrained is None else model.pretrained.after(*own)
    return replace(model, stack=model.stack.after(*own), pretrained=pretrained, metadata=metadata)


def stack_of_file(path: str | os.PathLike[str]) -> Stack:
    """Return the layers of a model file.

    Raises
    ------
    FileFormatError
        If it holds none.
    """
    stack = with_own_scaling(hdf5.read(path)).stack
    if stack is None:
        raise FileFormatError("the file holds no layers")
    return stack

"""Content of a model file as a value, and the names that writer and reader share."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from deepbelief.stack import Stack
from deepbelief.typing import Array, StrMapping

FORMAT = "deepbelief"
FORMAT_VERSION = 1

LAYER_ARRAYS = ("W", "vbias", "hbias", "mean", "scale", "visible_mean", "hidden_parameters")
MAX_ATTRIBUTE_TEXT = 32768
MAX_JSON = 16 * 2**20
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}", re.ASCII)

FLOATS = tuple(np.dtype(code) for code in ("<f4", "<f8"))
NUMBERS = (*FLOATS, *(np.dtype(code) for code in ("|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "|b1")))


@dataclass(frozen=True, eq=False)
class ModelFile:
    """Content of a model file: plain values, layers and arrays.

    Parameters
    ----------
    kind : str
        The class of the model: ``"RBM"``, ``"DBN"``, ``"DBNClassifier"``, ``"Stack"`` ...
    params : mapping
        Settings by name. Plain values: None, bool, int, float (NaN and infinity too), str, and lists and
        mappings of these. NumPy scalars become plain values; tuples and arrays are read as lists. A nested
        estimator is ``{"kind": "RBM", "params": {...}}``.
    stack : Stack or None
        Layers of the model.
    pretrained : Stack or None
        The stack before fine-tuning, if it was kept.
    arrays : mapping of str to ndarray
        Further fitted arrays by name, for instance ``"classes"`` or ``"head_W"``: real floats of 4 or 8 bytes (finite),
        integers, bools, fixed-width strings, or objects that are all strings. Values, shape and dtype are
        preserved; the byte order becomes the machine's own.
    attributes : mapping
        Further fitted plain values by name.
    history : sequence of mapping
        One record of plain values per epoch.
    metadata : mapping
        Plain values supplied by the user.
    parts : mapping of str to ModelFile
        Models that this one consists of; they have neither parts nor metadata.
    """

    kind: str
    params: StrMapping
    stack: Stack | None = None
    pretrained: Stack | None = None
    arrays: Mapping[str, Array] = field(default_factory=dict)
    attributes: StrMapping = field(default_factory=dict)
    history: Sequence[StrMapping] = ()
    metadata: StrMapping = field(default_factory=dict)
    parts: Mapping[str, "ModelFile"] = field(default_factory=dict)

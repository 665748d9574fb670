"""Model files: plain values, arrays and layers in HDF5, checked whole before they are believed.

Format version 1
================
This text is the specification: a reader in another language can be written from it.

A model file is a user block of 512 bytes followed by an HDF5 file (readable by HDF5 1.8 and later;
any HDF5 tool skips the user block). It is data only: nothing in it is ever executed.

User block
----------
Four lines of ASCII, each ended by one line feed, then NUL bytes up to byte 511::

    deepbelief
    version 1
    length N
    sha256 H

N is the number of bytes after the user block, in decimal without leading zeros or sign; H is the
SHA-256 of these N bytes as 64 lower-case hexadecimal digits. The file is exactly 512 + N bytes long.
A reader checks all 512 bytes, the length and the digest before it opens the HDF5 part. The first two
lines stay as they are in every later version.

Types
-----
- *text*: a scalar dataset (or attribute) of a fixed-length, NUL-padded UTF-8 string.
- *integer*: a scalar attribute, signed 64-bit little-endian.
- *number array*: IEEE float32 or float64, or a signed or unsigned integer of 1, 2, 4 or 8 bytes, all
  little-endian; or a boolean, which is HDF5's enumeration of an 8-bit integer with FALSE = 0 and
  TRUE = 1. Floating values are finite.
- *string array*: fixed-length, NUL-padded UTF-8 strings, with an integer attribute ``characters``: the
  width in code points of the fixed-width array it was (NumPy's ``U``), or 0 for strings of any length
  (NumPy's ``object``). No string ends in NUL.
- *JSON text*: a text holding strict JSON (RFC 8259, no NaN literal), at most 16 MiB long and nested at
  most 64 deep; integers are exact at any size. Three spellings carry what JSON lacks:
  ``{"$float": "nan"}``, with ``"inf"`` and ``"-inf"`` likewise, is that floating value;
  ``{"$map": [[key, value], ...]}`` is a mapping whose keys are not all strings; in any other object a
  key that starts with ``$`` was written with one more ``$`` in front. Tuples and arrays are written as
  lists and come back as lists.

HDF5 part
---------
Nothing else than this, all of it reached by hard links::

    /                       attributes: format = "deepbelief" (text), format_version = 1 (integer),
                            kind (text): the class of the model, "RBM", "DBN", "DBNClassifier", "Stack" ...
    /params                 JSON text, an object: the settings by name. A setting that is itself an estimator
                            is {"kind": "RBM", "params": {...}}
    /attributes             JSON text, an object: further fitted values by name
    /history                JSON text, a list of objects: one record per epoch
    /metadata               JSON text, an object: the user's own
    /versions               JSON text, an object: the library versions that wrote the file
    /arrays/NAME            optional; number or string arrays by name: "classes", "head_W" ...
    /stack                  optional group; attribute tuned (integer): 1 once fine-tuning has moved the weights
    /stack/metadata         JSON text, an object: plain values that travel with the stack
    /stack/layer_1          group per layer from the data upwards, numbered without a gap; attributes
                            n_visible, n_hidden (integer), visible, hidden (text): sizes and unit types
    /stack/layer_1/W        (n_visible, n_hidden), floating
    /stack/layer_1/vbias    (n_visible,), floating
    /stack/layer_1/hbias    (n_hidden,), floating
    /stack/layer_1/mean, scale
                            (n_visible,), floating; both or neither: rows enter as (v - mean) / scale
    /stack/layer_1/visible_mean
                            (n_visible,), floating, optional: column means of the training rows after scaling
    /pretrained             optional group, like /stack: the layers before fine-tuning

A file of kind ``"Checkpoint"`` is a run between two updates. Its params are the settings of the run; its attributes are
``state``, ``data`` (by which the rows are known), ``seed``, ``machine`` (what computed it) and ``finished``. In
``state``, nested objects and lists, an object ``{"array at": NAME}`` stands for the array /arrays/NAME. The checkpoint
before the last one lies beside it, under the same name with ``.previous`` after it.

Datasets are stored compact, contiguous or in chunks (at most 65536 of them); chunks may pass through
gzip, shuffle and fletcher32, each once, and no other filter. This library writes contiguous ones without filters,
and equal content gives equal bytes. A name (kind, array) is a letter or underscore followed by at most
127 letters, digits, underscores, dots or hyphens; a text in an attribute has at most 32768 bytes. Refused
are soft and external links, external storage, virtual datasets, references, further members, other types,
and declared sizes beyond a memory limit or beyond what the file can hold (deflate makes at most 1032 bytes
of one); all of that is checked before any array is read.
"""

from deepbelief.hdf5.checkpoint import (
    KIND,
    check_replaceable,
    is_checkpoint,
    last_checkpoint,
    previous_of,
    read_checkpoint,
    write_checkpoint,
)
from deepbelief.hdf5.model import FORMAT_VERSION, ModelFile
from deepbelief.hdf5.reading import describe, read
from deepbelief.hdf5.replacement import check_writable, replacing
from deepbelief.hdf5.writing import versions, write

CHECKPOINT = KIND

__all__ = [
    "CHECKPOINT",
    "FORMAT_VERSION",
    "ModelFile",
    "check_replaceable",
    "check_writable",
    "describe",
    "is_checkpoint",
    "last_checkpoint",
    "previous_of",
    "read",
    "read_checkpoint",
    "replacing",
    "versions",
    "write",
    "write_checkpoint",
]

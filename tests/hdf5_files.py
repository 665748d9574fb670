"""Small model files, good ones and such as an attacker would make."""

import hashlib
import math

import h5py
import numpy as np
import pytest

from deepbelief.errors import FileFormatError
from deepbelief.hdf5 import ModelFile, describe, read, write
from deepbelief.stack import Stack, Weights


def layer(n_visible, n_hidden, dtype=np.float32, *, scaled=False, **units):
    rng = np.random.default_rng(n_visible)
    extra = {"mean": rng.random(n_visible), "scale": rng.random(n_visible) + 1} if scaled else {}
    W = rng.standard_normal((n_visible, n_hidden)).astype(dtype)
    return Weights(W, rng.random(n_visible).astype(dtype), rng.random(n_hidden).astype(dtype), **extra, **units)


def small():
    return ModelFile(
        "DBNClassifier",
        {"alpha": 1e-5, "rbm": {"kind": "RBM", "params": {"n_iter": 3}}},
        stack=Stack((layer(3, 2, scaled=True, visible="gaussian"), layer(2, 2)), tuned=True, metadata={"scale": 255}),
        arrays={"classes": np.array(["ja", "näin"]), "head_W": np.ones((2, 2))},
        history=[{"epoch": 1, "loss": math.nan}],
        metadata={"who": "me"},
    )


def seal(path, body):
    """Write a file as the specification says, whatever the HDF5 part is."""
    path.write_bytes(sealed(body))


def sealed(body):
    """Return a file as the specification says, whatever the HDF5 part is."""
    text = f"deepbelief\nversion 1\nlength {len(body)}\nsha256 {hashlib.sha256(body).hexdigest()}\n"
    return text.encode().ljust(512, b"\0") + body


def edit(path, change, model=None, **options):
    """Write a good file, change its HDF5 part, and give it a correct checksum again."""
    write(path, model or small())
    with h5py.File(path, "r+", **options) as file:
        change(file)
    seal(path, path.read_bytes()[512:])


def same(a, b):
    """Compare plain values: types, order, NaN and the sign of zero too."""
    return repr(a) == repr(b)


def assert_same_array(a, b):
    assert type(b) is np.ndarray
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    assert a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes()


def assert_same_stack(a, b):
    if a is None or b is None:
        assert a is b
        return
    assert (a.tuned, len(a)) == (b.tuned, len(b))
    assert same(a.metadata, b.metadata)
    for one, two in zip(a, b, strict=True):
        assert (one.visible, one.hidden) == (two.visible, two.hidden)
        assert one.arrays().keys() == two.arrays().keys()
        for name, array in one.arrays().items():
            assert_same_array(array, two.arrays()[name])


def assert_same(a, b):
    for name in ("kind", "params", "attributes", "metadata"):
        assert same(getattr(a, name), getattr(b, name)), name
    assert same(list(a.history), list(b.history))
    assert_same_stack(a.stack, b.stack)
    assert_same_stack(a.pretrained, b.pretrained)
    assert a.arrays.keys() == b.arrays.keys()
    for name, array in a.arrays.items():
        assert_same_array(array, b.arrays[name])


def refused(path, match="model"):
    """Assert that one clear line says why a file is not read, in both readers."""
    for reader in (read, describe):
        with pytest.raises(FileFormatError, match=match) as info:
            reader(path)
        assert "\n" not in str(info.value)
        assert str(path) in str(info.value)

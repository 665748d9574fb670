"""What is written for TensorBoard is what history_ says, read back by the format's own definition."""

import struct
import sys

import numpy as np
import pytest
from sklearn.base import clone

from deepbelief import DBN, RBM, DBNClassifier
from deepbelief.errors import LogWarning, SettingError
from deepbelief.tensorboard import TensorBoard


def events(folder):
    """Return {(tag, step): value} of all files: records of length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for path in folder.iterdir():
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + size])
            found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
            data = data[16 + size :]
    return found


def test_every_number_of_the_history_is_written(tmp_path):
    pytest.importorskip("tensorboardX")
    X = np.random.default_rng(0).random((40, 6))
    clf = DBNClassifier((5, 4), rbm=RBM(n_iter=2), max_iter=3, random_state=0, verbose=TensorBoard(tmp_path / "run"))
    clf.fit(X, X[:, 0] > 0.5)
    written = events(tmp_path / "run")
    expected = {
        ((f"layer{r['layer']}" if "layer" in r else "finetune") + f"/{name}", r["epoch"]): value
        for r in clf.history_
        for name, value in r.items()
        if isinstance(value, float)
    }
    assert written.keys() == expected.keys()
    assert ("layer2/reconstruction_error", 2) in written
    assert ("finetune/loss", 3) in written
    for key, value in expected.items():
        assert written[key] == pytest.approx(value, rel=1e-6)


def test_copies_write_files_of_their_own(tmp_path):
    pytest.importorskip("tensorboardX")
    X = np.random.default_rng(0).random((20, 6))
    dbn = DBN((3,), rbm=RBM(n_iter=1), verbose=TensorBoard(tmp_path)).fit(X)
    clone(dbn).fit(X)
    RBM(3, verbose=TensorBoard(tmp_path)).partial_fit(X)
    assert len(list(tmp_path.iterdir())) == 3
    assert {tag.split("/")[0] for tag, _ in events(tmp_path)} == {"layer1", "partial_fit"}


def test_a_full_disk_is_told_once(tmp_path):
    pytest.importorskip("tensorboardX")
    (tmp_path / "file").touch()
    X = np.random.default_rng(0).random((20, 6))
    with pytest.warns(
        LogWarning, match="no events are written to .*file/run: Not a directory; training continues"
    ) as told:
        rbm = RBM(3, n_iter=4, verbose=TensorBoard(tmp_path / "file" / "run")).fit(X)
    assert len(told) == 1
    assert len(rbm.history_) == 4


def test_the_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.setitem(sys.modules, "tensorboardX.event_file_writer", None)
    with pytest.raises(SettingError, match=r"pip install 'deepbelief\[tensorboard\]'"):
        RBM(3, n_iter=1, verbose=TensorBoard(tmp_path)).fit(np.eye(6))

"""Data files that would fill the memory or never answer, and damaged ones: refused in one line, quickly."""

import gzip
import io
import os
import tracemalloc
import zipfile

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_svmlight_file
from tables import case_by_case

from deepbelief.errors import DataError
from deepbelief.sources import read


def _npz_of_zeros(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("X.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**4, 10**3)})
        for _ in range(80):
            file.write(bytes(10**6))


def _npz_that_declares(path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**3, 10**2)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.npy", header.getvalue() + bytes(1000))


BOMBS = {
    "blank.csv.gz": (lambda p: p.write_bytes(gzip.compress(b"\n" * 20_000_000)), "expands to over 8.39 MB, 100 times"),
    "long.csv.gz": (lambda p: p.write_bytes(gzip.compress(b"0," * 9_000_000)), "expands to over 8.39 MB, 100 times"),
    "zeros.svm.gz": (lambda p: p.write_bytes(gzip.compress(b"1 1:0\n" * 2_000_000)), "expands to over 8.39 MB"),
    "wide.svm": (lambda p: p.write_text("1 1:1 2000000000:1\n"), "has 2000000000 columns, over 4,194,304"),
    "zeros.npz": (_npz_of_zeros, "expand to 80 MB, over 200 times"),
    "short.npz": (_npz_that_declares, "cut off: it declares shape"),
    "tall.npz": (
        lambda p: scipy.sparse.save_npz(p, scipy.sparse.csc_array((np.ones(1), ([0], [0])), shape=(2 * 10**9, 2))),
        "declares 2000000000 rows",
    ),
    "cut.idx": (lambda p: p.write_bytes(b"\0\0\x08\x03" + b"\xff" * 12 + b"1" * 99), "cut off"),
}


@case_by_case("name", BOMBS)
def test_files_that_expand_too_far_are_refused_at_once(name, tmp_path):
    write, words = BOMBS[name]
    write(tmp_path / name)
    load_svmlight_file(io.BytesIO(b"1 1:0\n"))  # imports are not counted
    tracemalloc.start()
    with pytest.raises(DataError, match=words) as error:
        read(str(tmp_path / name))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26
    assert len(str(error.value)) < 400


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    np.save(tmp_path / "x.npy", np.eye(3))
    with pytest.raises(DataError, match=r"pipe.csv: is a named pipe, not a file"):
        read(str(tmp_path / "pipe.csv"))
    with pytest.raises(DataError, match="is a named pipe"):
        read(str(tmp_path / "x.npy"), labels=str(tmp_path / "pipe.csv"))
    with pytest.raises(DataError, match="is a device"):
        read("/dev/null")

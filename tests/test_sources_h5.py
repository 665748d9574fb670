"""HDF5 files as data: what is read, and what is refused before it is read."""

import os
import time

import h5py
import numpy as np
import pytest
from tables import case_by_case

import deepbelief.sources.h5 as h5_module
from deepbelief.datasets import open as open_data
from deepbelief.errors import DataError
from deepbelief.sources import HDF5Source

X = np.random.default_rng(0).random((30, 4)).astype(np.float32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.h5"


def refused(spec, **options):
    with pytest.raises(DataError) as error:
        open_data(str(spec), **options)
    assert "\n" not in str(error.value)
    assert "a.h5" in str(error.value)
    return str(error.value)


def test_datasets_are_found_by_name_or_alone(path):
    with h5py.File(path, "w") as file:
        file["deep/er/rows"] = X
        file["deep/kinds"] = np.array(["b", "ä"] * 15, dtype=h5py.string_dtype())
    for spec in (f"{path}", f"{path}:/deep/er/rows", f"{path}:deep/er/rows"):
        dataset = open_data(spec, labels="deep/kinds")
        np.testing.assert_array_equal(dataset.rows.take(slice(None)), X)
        assert list(dataset.labels) == ["b", "ä"] * 15
    assert "no dataset 'deep/x'; available: deep/er/rows, deep/kinds" in refused(f"{path}:deep/x")
    assert "'deep' is not a dataset" in refused(f"{path}:deep")
    assert "no dataset 'y'" in refused(path, labels="y")


def test_several_tables_need_a_name(path):
    with h5py.File(path, "w") as file:
        file["a"], file["b"] = X, X
        file["y"] = np.arange(29)
    assert "one of: a, b, y" in refused(path)
    assert "30 rows but there are 29 labels" in refused(f"{path}:a", labels="y")
    with h5py.File(path, "a") as file:
        file["data"] = X[:3]
    assert open_data(str(path)).rows.shape == (3, 4)
    with h5py.File(path, "w") as file:
        file.create_group("empty")
    assert "no dataset" in refused(path)


@case_by_case("options", [{}, {"compression": "gzip", "shuffle": True, "fletcher32": True}, {"chunks": (7, 3)}])
@case_by_case("dtype", ["u1", "?", "f4", "f8", ">i2", "f2"])
def test_large_datasets_stay_in_the_file(path, options, dtype, monkeypatch):
    data = (X * 4).astype(dtype)
    with h5py.File(path, "w") as file:
        file.create_dataset("X", data=data, **options)
    small = open_data(str(path), scale="none").rows
    monkeypatch.setattr(h5_module, "IN_MEMORY", 10)
    large = open_data(str(path), scale="none").rows
    assert isinstance(large, HDF5Source)
    for rows in (slice(3, 20), np.array([5, 2, 2, 29])):
        np.testing.assert_array_equal(large.take(rows), data[rows].astype(large.dtype))
        np.testing.assert_array_equal(large.take(rows), small.take(rows))


def soft(file, folder):
    file["real"] = X
    file["X"] = h5py.SoftLink("/real")


def soft_group(file, folder):
    file["real/X"] = X
    file["group"] = h5py.SoftLink("/real")


def external_link(file, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["X"] = X
    file["X"] = h5py.ExternalLink("other.h5", "/X")


def external_storage(file, folder):
    (folder / "secret").write_bytes(bytes(480))
    file.create_dataset("X", (30, 4), "f4", external=[(str(folder / "secret"), 0, 480)])


def virtual(file, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["X"] = X
    layout = h5py.VirtualLayout((30, 4), "f4")
    layout[:] = h5py.VirtualSource(folder / "other.h5", "X", (30, 4))
    file.create_virtual_dataset("X", layout)


def lzf(file, folder):
    file.create_dataset("X", data=X, compression="lzf")


def scale_offset(file, folder):
    file.create_dataset("X", data=X, scaleoffset=2)


def reference(file, folder):
    file["real"] = X
    file.create_dataset("X", data=np.array([[file["real"].ref]], dtype=h5py.ref_dtype))


def strings(file, folder):
    file["X"] = np.array([["a"]], dtype=h5py.string_dtype())


def compound(file, folder):
    file["X"] = np.zeros((3, 3), [("a", "f4"), ("b", "f4")])


def complex_numbers(file, folder):
    file["X"] = X + 1j


def scalar(file, folder):
    file["X"] = 3.0


def vector(file, folder):
    file["X"] = X[0]


def nothing(file, folder):
    file["X"] = h5py.Empty("f4")


def no_rows(file, folder):
    file["X"] = X[:0]


def huge(file, folder):
    file.create_dataset("X", (10**8, 1000), "f4", chunks=(10, 1000), compression="gzip")


def huge_plain(file, folder):
    file.create_dataset("X", (10**8, 1000), "f4")


@case_by_case(
    ("make", "part", "words"),
    [
        (soft, "X", "link"),
        (soft_group, "group/X", "link"),
        (external_link, "X", "link"),
        (external_storage, "X", "external storage"),
        (virtual, "X", "virtual"),
        (lzf, "X", "filter"),
        (scale_offset, "X", "filter 6"),
        (reference, "X", "object"),
        (strings, "X", "object"),
        (compound, "X", "dtype"),
        (complex_numbers, "X", "complex"),
        (scalar, "X", "shape ()"),
        (vector, "X", "shape (4,)"),
        (nothing, "X", "empty"),
        (no_rows, "X", "empty"),
        (huge, "X", "declares 400 GB"),
        (huge_plain, "X", "declares 400 GB"),
    ],
)
def test_hostile_and_unfit_datasets(make, part, words, path, tmp_path):
    with h5py.File(path, "w") as file:
        make(file, tmp_path)
    start = time.monotonic()
    assert words in refused(f"{path}:{part}")
    # The same dataset is no way in as labels either.
    if words in ("link", "external storage", "virtual", "filter", "declares 400 GB"):
        with h5py.File(path, "a") as file:
            file["rows"] = X
        assert words in refused(f"{path}:rows", labels=part)
        np.save(tmp_path / "rows.npy", X)
        with pytest.raises(DataError, match=words):
            open_data(str(tmp_path / "rows.npy"), labels=f"{path}:{part}")
    assert time.monotonic() - start < 5


def test_rows_and_chunks_beyond_the_limit(path, monkeypatch):
    with h5py.File(path, "w") as file:
        file.create_dataset("wide", data=np.zeros((2, 200), "u1"))
        file.create_dataset("chunky", data=np.zeros((100, 2), "u1"), chunks=(100, 2))
    monkeypatch.setattr(h5_module, "ROW_LIMIT", 150)
    assert "limit of 150 bytes" in refused(f"{path}:wide")
    assert "limit of 150 bytes" in refused(f"{path}:chunky")


def test_a_file_that_is_cut_off_while_it_is_read_is_told_of(path):
    """HDF5 itself makes zeros of what lies beyond the end."""
    with h5py.File(path, "w") as file:
        file["X"] = X
    with h5py.File(path) as file:
        source = HDF5Source(file["X"])
        np.testing.assert_array_equal(source.take(slice(20, 30)), X[20:])
        os.truncate(path, path.stat().st_size - 200)
        with pytest.raises(DataError, match=r"a\.h5: the file has become shorter while it was read"):
            source.take(slice(0, 30))


@case_by_case("layout", [{}, {"chunks": (10,), "compression": "gzip"}])
@case_by_case("userblock", [0, 512])
def test_strings_of_variable_length_are_read_unless_their_heap_is_damaged(path, layout, userblock):
    """libhdf5 never returns from a heap of which an object has no length."""
    names, classes = list("abcd"), [f"class {'é' * (i % 7)}" for i in range(30)]
    with h5py.File(path, "w", userblock_size=userblock) as file:
        file["X"], file["feature_names"] = X, names
        file.create_dataset("y", data=classes, dtype=h5py.string_dtype(), **layout)
        file.create_dataset("unwritten", shape=(30,), dtype=h5py.string_dtype(), **layout)
    read = open_data(f"{path}:X", labels="y")
    assert read.labels.tolist() == classes
    assert read.feature_names == names
    assert open_data(f"{path}:X", labels="unwritten").labels.tolist() == [""] * 30

    good = path.read_bytes()
    heap = good.index(b"GCOL")
    for bad in (good[:heap] + b"GCOL\1\0\0\0\0" + b"\xff" * 7 + good[heap + 16 :], _shifted(good, heap)):
        path.write_bytes(bad)
        assert f"the heap of its strings at byte {heap} cannot be read" in refused(f"{path}:X", labels="y")


def _shifted(content, heap):
    """Return the content with the heap's first object twice, so that the last header is zeros."""
    first = content[heap + 16 : heap + 32]
    return content[: heap + 16] + first + content[heap + 16 : heap + 4096 - 16] + content[heap + 4096 :]


def test_values_of_variable_length_that_are_no_strings_are_refused(path):
    with h5py.File(path, "w") as file:
        file["X"] = X
        file.create_dataset("y", (30,), dtype=h5py.vlen_dtype(np.int32))
    assert "y must hold numbers or strings" in refused(f"{path}:X", labels="y")

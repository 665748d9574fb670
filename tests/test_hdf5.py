"""Model files: what is written comes back, and nothing else is believed."""

import enum
import hashlib
import itertools
import math
import os
import random
import re
import runpy
import stat
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hdf5_files import assert_same, layer, refused, same, small
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tables import case_by_case

from deepbelief.errors import DataError, FileFormatError
from deepbelief.hdf5 import ModelFile, check_writable, describe, envelope, read, reading, replacing, write
from deepbelief.hdf5.replacement import _start_of
from deepbelief.stack import Stack, Weights

DATA = Path(__file__).parent / "data"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.h5"


# What is written comes back

KEYS = st.text(max_size=8) | st.sampled_from(["$", "$float", "$map", "$$map", "kind"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.dictionaries(SCALARS, inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, PLAIN, max_size=3)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
CLEAN = st.text(st.characters(exclude_categories=["Cs"]), max_size=5).map(lambda s: s.rstrip("\0"))
FINITE = {"allow_nan": False, "allow_infinity": False}
NUMBERS = st.sampled_from(["f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"]).flatmap(
    lambda code: hnp.arrays(code, SHAPES, elements=FINITE if code[0] == "f" else None)
)
STRINGS = hnp.arrays(st.integers(5, 7).map("U{}".format), SHAPES, elements=CLEAN) | hnp.arrays(
    object, SHAPES, elements=CLEAN
)
NAMES = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_.-]{0,12}\Z")
POSITIVE = st.floats(2.0**-20, 2.0**20, width=32)
VISIBLE = st.sampled_from(["bernoulli", "gaussian", "spin"])
HIDDEN = st.sampled_from(["bernoulli", "gaussian", "rectified"])


@st.composite
def stacks(draw):
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    dtype = draw(st.sampled_from(["f4", "f8"]))

    def array(*shape, elements=FINITE):
        return draw(hnp.arrays(dtype, shape, elements=elements))

    layers = []
    for n, m in itertools.pairwise(sizes):
        extra = {"mean": array(n), "scale": array(n, elements=POSITIVE)} if draw(st.booleans()) else {}
        extra |= {"visible_mean": array(n)} if draw(st.booleans()) else {}
        extra |= {"visible": draw(VISIBLE), "hidden": draw(HIDDEN)}
        layers.append(Weights(array(n, m), array(n), array(m), **extra))
    return Stack(tuple(layers), tuned=draw(st.booleans()), metadata=draw(OBJECTS))


MODELS = st.builds(
    ModelFile,
    kind=NAMES,
    params=OBJECTS,
    stack=st.none() | stacks(),
    pretrained=st.none() | stacks(),
    arrays=st.dictionaries(NAMES, NUMBERS | STRINGS, max_size=4),
    attributes=OBJECTS,
    history=st.lists(OBJECTS, max_size=3),
    metadata=OBJECTS,
)


@pytest.mark.slow
@settings(max_examples=75, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(model=MODELS)
def test_what_is_written_comes_back(path, model):
    write(path, model)
    assert_same(model, read(path))


def test_equal_content_gives_equal_bytes(path, tmp_path):
    write(path, small())
    write(tmp_path / "again.h5", small())
    assert path.read_bytes() == (tmp_path / "again.h5").read_bytes()


def test_numpy_scalars_become_plain_values_and_tuples_become_lists(path):
    class Solver(enum.StrEnum):
        SGD = "sgd"

    params = {
        "a": np.float32(0.5),
        "b": np.int64(3),
        "c": np.bool_(True),
        "d": (1, (2,)),
        "e": np.array([[1.5]]),
        "f": np.str_("x"),
        "g": Solver.SGD,
        "h": {np.int64(0): np.float64(-math.inf), "x": -0.0},
    }
    write(path, ModelFile("RBM", params))
    expected = {"a": 0.5, "b": 3, "c": True, "d": [1, [2]], "e": [[1.5]], "f": "x", "g": "sgd"}
    assert same(read(path).params, expected | {"h": {0: -math.inf, "x": -0.0}})


def test_big_endian_and_strided_arrays_keep_their_values(path):
    arrays = {"big": np.arange(3, dtype=">f4"), "strided": np.arange(12.0).reshape(3, 4)[::2, ::-1]}
    write(path, ModelFile("RBM", {}, arrays=arrays))
    for name, array in read(path).arrays.items():
        assert array.dtype == arrays[name].dtype.newbyteorder("=")
        np.testing.assert_array_equal(array, arrays[name])


def test_a_plain_hdf5_reader_finds_what_the_specification_says(path):
    model = small()
    write(path, model)
    content = path.read_bytes()
    lines = content[:512].rstrip(b"\0").decode("ascii")
    match = re.fullmatch(r"deepbelief\nversion 1\nlength (\d+)\nsha256 ([0-9a-f]{64})\n", lines)
    assert match is not None
    assert int(match[1]) == len(content) - 512
    assert match[2] == hashlib.sha256(content[512:]).hexdigest()
    with h5py.File(path) as file:
        assert file.userblock_size == 512
        assert (file.attrs["format"], file.attrs["format_version"], file.attrs["kind"]) == (
            b"deepbelief",
            1,
            b"DBNClassifier",
        )
        first = file["stack/layer_1"]
        assert dict(first.attrs) == {"n_visible": 3, "n_hidden": 2, "visible": b"gaussian", "hidden": b"bernoulli"}
        np.testing.assert_array_equal(first["W"][()], model.stack.layers[0].W)
        assert file["history"][()] == b'[{"epoch": 1, "loss": {"$float": "nan"}}]'
        assert [text.decode() for text in file["arrays/classes"][()]] == ["ja", "näin"]
        assert file["arrays/classes"].attrs["characters"] == 4


def test_the_archived_file_loads_for_ever():
    archive = DATA / "v1.h5"
    digest = "bf85f24bdc16786f54625618bfb16bec8b7aa40ea3d9760211f3257db18670e4"
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == digest, "the archive is never written again"
    assert_same(runpy.run_path(str(DATA / "make_v1.py"))["model"](), read(archive))


def test_describe(path):
    write(path, small())
    found = describe(path)
    assert (found["kind"], found["sizes"], found["tuned"], found["pretrained"]) == (
        "DBNClassifier",
        [3, 2, 2],
        True,
        False,
    )
    first = {
        "n_visible": 3,
        "n_hidden": 2,
        "visible": "gaussian",
        "hidden": "bernoulli",
        "dtype": "float32",
        "scaled": True,
    }
    assert found["layers"][0] == first
    assert found["arrays"] == {
        "classes": {"shape": [2], "dtype": "str"},
        "head_W": {"shape": [2, 2], "dtype": "float64"},
    }
    assert (found["metadata"], found["stack_metadata"], found["epochs"]) == ({"who": "me"}, {"scale": 255}, 1)
    assert found["versions"]["numpy"] == np.__version__
    assert found["bytes"] == path.stat().st_size


# Every cut and every flipped byte is found


@pytest.mark.slow
def test_every_cut_is_found(path):
    write(path, small())
    content = path.read_bytes()
    for length in range(len(content) - 1, -1, -1):
        os.truncate(path, length)
        with pytest.raises(FileFormatError):
            read(path)


@pytest.mark.slow
def test_every_flipped_byte_is_found(path):
    write(path, small())
    content = path.read_bytes()
    rng = random.Random(0)
    places = [(i, 1 << bit) for i in range(512) for bit in range(8)]
    places += [(rng.randrange(512, len(content)), rng.randrange(1, 256)) for _ in range(2000)]
    with path.open("r+b") as file:
        for place, mask in places:
            os.pwrite(file.fileno(), bytes([content[place] ^ mask]), place)
            with pytest.raises(FileFormatError):
                read(path)
            os.pwrite(file.fileno(), content[place : place + 1], place)
    assert_same(small(), read(path))


def test_bytes_after_the_end_are_found(path):
    write(path, small())
    path.write_bytes(path.read_bytes() + b"\0")
    refused(path, "damaged")


def test_the_library_never_opens_a_damaged_file(path, monkeypatch):
    write(path, small())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    opened = []
    monkeypatch.setattr(reading.h5py, "File", lambda *args, **kwargs: opened.append(args))
    refused(path, "damaged")
    assert opened == []


def test_the_file_that_was_checked_is_the_one_that_is_read(path, tmp_path, monkeypatch):
    write(path, small())
    write(tmp_path / "other.h5", ModelFile("RBM", {}))
    check = envelope._check_version

    def swap(name, block):
        check(name, block)
        (tmp_path / "other.h5").replace(path)

    monkeypatch.setattr(envelope, "_check_version", swap)
    assert read(path).kind == "DBNClassifier"


@pytest.mark.parametrize("version", ["2", "17"])
def test_a_newer_version_says_what_to_do(path, version):
    write(path, small())
    path.write_bytes(path.read_bytes().replace(b"version 1\n", f"version {version}\n".encode(), 1))
    refused(path, f"version {version}, this release reads up to 1: upgrade")


@case_by_case(
    ("content", "match"),
    [(b"", "empty"), (b"a,b\n1,2\n", "not HDF5"), (b"\x80\x04" * 900, "not HDF5"), (b"deepbel", "not HDF5")],
)
def test_a_file_that_is_not_hdf5(path, content, match):
    path.write_bytes(content)
    refused(path, match)


def test_an_hdf5_file_of_somebody_else(path):
    for block in (0, 512):
        with h5py.File(path, "w", userblock_size=block) as file:
            file["W"] = np.zeros((3, 2))
        refused(path, "not a model that deepbelief wrote")


def test_paths_that_are_not_files(path, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, match in [
        (path, "^no such file: "),
        (tmp_path, "^cannot read .*: not a regular file$"),
        (tmp_path / "pipe", "^cannot read .*: not a regular file$"),
        ("\0", "null"),
    ]:
        with pytest.raises(DataError, match=match) as info:
            read(name)
        assert str(info.value).count(str(name)) == 1


# Writing is whole or not at all


def leftovers(folder):
    return sorted(item.name for item in folder.iterdir() if item.name != "model.h5")


def test_a_reader_that_has_the_old_file_open_keeps_it(path):
    write(path, small())
    old = path.read_bytes()
    with path.open("rb") as file:
        write(path, ModelFile("RBM", {"n_components": 2}))
        assert file.read() == old
    assert read(path).kind == "RBM"
    assert leftovers(path.parent) == []


@case_by_case("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()])
@case_by_case("step", ["fsync", "rename"])
def test_a_failure_midway_leaves_the_old_file(path, monkeypatch, error, step):
    write(path, small())
    old = path.read_bytes()

    def fail(*args):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync", fail) if step == "fsync" else (Path, "replace", fail)))
        expected = DataError if isinstance(error, OSError) else type(error)
        with pytest.raises(expected) as info:
            write(path, ModelFile("RBM", {}))
    if expected is DataError:
        assert str(info.value) == f"cannot write {path}: No space left on device; the old file is unchanged"
    assert path.read_bytes() == old
    assert leftovers(path.parent) == []


def test_a_full_disk_leaves_the_old_file(path):
    write(path, small())
    old = path.read_bytes()
    code = f"""
        import resource
        import h5py
        import numpy as np
        from deepbelief.errors import DataError
        from deepbelief.hdf5 import ModelFile, replacing, write

        path = {str(path)!r}

        def model():
            write(path, ModelFile("RBM", {{}}, arrays={{"a": np.ones(10**6)}}))

        def hdf5():
            with replacing(path) as temporary, h5py.File(temporary, "w") as file:
                file["rows"] = np.ones(10**6)

        def closing():
            with replacing(path) as temporary:
                temporary.write_bytes(bytes(100_000))
                raise RuntimeError("as h5py does where it cannot close a file")

        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        for writing in (model, hdf5, closing):
            try:
                writing()
            except DataError as error:
                print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"cannot write {path}: File too large; the old file is unchanged\n" * 3
    assert path.read_bytes() == old
    assert leftovers(path.parent) == []


def test_the_new_file_is_on_the_disk_before_it_takes_the_name(path, monkeypatch):
    events = []
    fsync, rename = os.fsync, Path.replace

    def log_fsync(handle):
        info = os.fstat(handle)
        events.append(("sync", stat.S_ISDIR(info.st_mode) or info.st_size))
        fsync(handle)

    def log_rename(self, target):
        events.append(("rename", Path(target)))
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", log_fsync)
    monkeypatch.setattr(Path, "replace", log_rename)
    write(path, small())
    assert events == [("sync", path.stat().st_size), ("rename", path), ("sync", True)]


def test_the_mode_is_the_old_files_or_what_the_umask_gives(path):
    previous = os.umask(0o027)
    try:
        write(path, small())
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        write(path, small())
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(previous)


def test_a_symbolic_link_stays_one(path, tmp_path):
    (tmp_path / "kept").mkdir()
    target = tmp_path / "kept" / "real.h5"
    path.symlink_to(target)
    for kind in ("RBM", "DBN"):  # first dangling, then not
        write(path, ModelFile(kind, {}))
        assert path.is_symlink()
        assert read(target).kind == kind
    assert leftovers(target.parent) == ["real.h5"]


@pytest.mark.parametrize("attempt", [lambda path: write(path, ModelFile("RBM", {})), check_writable])
def test_places_that_cannot_be_written(path, tmp_path, monkeypatch, attempt):
    for name, match in [
        (tmp_path / "no" / "model.h5", "does not exist"),
        (tmp_path, "not a regular file"),
        ("/dev/null", "not a regular file"),
        (tmp_path / ("x" * 300), "too long"),
        ("\0", "null"),
    ]:
        with pytest.raises(DataError, match=match):
            attempt(name)

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(DataError, match=r"model.h5: Permission denied$"):
        attempt(path)


def test_check_writable_leaves_nothing_behind(path):
    check_writable(path)
    assert list(path.parent.iterdir()) == []
    write(path, small())
    check_writable(path)
    assert_same(small(), read(path))
    assert leftovers(path.parent) == []


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from deepbelief.hdf5 import ModelFile, replacing, write

    def killed(*_):
        print(flush=True)
        sys.stdin.read(1)
        os.kill(os.getpid(), signal.SIGKILL)

    Path.replace = killed
    if sys.argv[2] == "write":
        write(sys.argv[1], ModelFile("RBM", {}))
    with replacing(sys.argv[1]):
        pass
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
@pytest.mark.parametrize("way", ["write", "replacing"])
def test_the_temporary_files_of_killed_processes_are_removed(path, way):
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(path), way]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]) as run:
        run.stdout.readline()
        (left,) = leftovers(path.parent)
        check_writable(path)
        assert leftovers(path.parent) == [left]  # its process lives
        run.stdin.close()
        run.wait()
    assert leftovers(path.parent) == [left]
    host, pid, start = left.split("-")[1:4]
    elsewhere = left.replace(host, "0" * 12)
    other = [elsewhere, left.replace(".tmp", ".h5"), ".deepbelief-mine.tmp", "notes.tmp"]
    reused = left.replace(f"-{pid}-{start}-", f"-{os.getpid()}-1-")
    ours = left.replace(f"-{pid}-{start}-", f"-{os.getpid()}-{_start_of(os.getpid())}-")
    for name in (*other, reused, ours):
        path.with_name(name).touch()
    with replacing(path) as temporary:
        temporary.write_text("x")
        kept = {*other, ours, temporary.name, *([] if Path("/proc/self/stat").exists() else [reused])}
        assert set(leftovers(path.parent)) == kept
    path.with_name(left).touch()
    write(path, small())
    assert not path.with_name(left).exists()


def deep(n):
    value = 1
    for _ in range(n):
        value = [value]
    return value


BAD = [
    ({"kind": "../RBM"}, "name of a class"),
    ({"kind": ""}, "name of a class"),
    ({"params": {"a": {1, 2}}}, r"params\.a is a set"),
    ({"params": {"rbm": {"x": [print]}}}, r"params\.rbm\.x is a builtin"),
    ({"params": {1: 2}}, "params must be a dict with strings"),
    ({"params": {"a": {(1, 2): 3}}}, "has a key"),
    ({"params": {"a": deep(100)}}, "params is nested more than 64 deep"),
    ({"params": {"a": deep(100_000)}}, "nested"),
    ({"params": {"a": 10**5000}}, "params cannot be stored"),
    ({"metadata": {"a": "x" * 2**24}}, "store it as an array"),
    ({"history": [1]}, "list of dicts"),
    ({"arrays": {"a/b": np.ones(1)}}, "name of each array must consist of"),
    ({"arrays": {"a": np.array([np.nan])}}, "not finite"),
    ({"arrays": {"a": np.array([1, None])}}, "all values must be strings"),
    ({"arrays": {"a": np.array(["x\0"], object)}}, "ends in NUL"),
    ({"arrays": {"a": np.array(["\ud800"])}}, "surrogate"),
    ({"arrays": {"a": np.array([b"x"])}}, "has dtype"),
    ({"arrays": {"a": np.array([1j])}}, "has dtype complex128"),
    ({"arrays": {"a": np.array(["2020-01-01"], "M8[D]")}}, "has dtype"),
    ({"arrays": {"a": np.array(["a"], np.dtypes.StringDType())}}, "has dtype"),
    (
        {"stack": Stack((Weights(np.full((3, 2), np.nan, np.float32), np.zeros(3, "f4"), np.zeros(2, "f4")),))},
        "not finite",
    ),
    ({"stack": Stack((Weights(np.zeros((3, 2), int), np.zeros(3), np.zeros(2)),))}, "W of layer 1 must be float32"),
    ({"stack": Stack((layer(3, 2, visible="x" * 40000),))}, "visible must be 1 to 32768 bytes"),
]


@case_by_case(("change", "match"), BAD)
def test_what_a_file_cannot_hold_is_refused_before_anything_is_touched(path, change, match):
    with pytest.raises(DataError, match=match):
        write(path, replace(small(), **change))
    assert list(path.parent.iterdir()) == []

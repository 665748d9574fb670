"""Hostile model files: every checksum is right, and still nothing is believed."""

import io
import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest
from hdf5_files import assert_same, edit, refused, seal, small
from tables import case_by_case

from deepbelief.errors import FileFormatError
from deepbelief.hdf5 import read, reading, write


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.h5"


def set_json(name, text):
    def change(file):
        del file[name]
        file.create_dataset(name, data=np.bytes_(text), dtype=h5py.string_dtype("utf-8", len(text)))

    return change


def replace_W(**options):
    def change(file):
        W = file["stack/layer_1/W"][()]
        del file["stack/layer_1/W"]
        file["stack/layer_1"].create_dataset("W", **({"data": W} | options))

    return change


def low_level_W(plan, shape=(3, 2), kind=h5py.h5t.IEEE_F32LE):
    def change(file):
        group = file["stack/layer_1"]
        del group["W"]
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan(properties)
        h5py.h5d.create(group.id, b"W", kind, h5py.h5s.create_simple(shape), properties)

    return change


def unwritten(properties):
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)


def two_filters(properties):
    properties.set_chunk((3, 2))
    properties.set_deflate(9)
    properties.set_deflate(9)


def external_storage(file):
    secret = Path(file.filename).with_name("secret")
    secret.write_bytes(np.ones(6, np.float32).tobytes())
    low_level_W(lambda properties: properties.set_external(os.fsencode(secret), 0, 24))(file)


def virtual(file):
    secret = Path(file.filename).with_name("secret.h5")
    with h5py.File(secret, "w") as other:
        other["W"] = np.ones((3, 2), np.float32)
    layout = h5py.VirtualLayout((3, 2), np.float32)
    layout[:] = h5py.VirtualSource(secret, "W", (3, 2))
    del file["stack/layer_1/W"]
    file["stack/layer_1"].create_virtual_dataset("W", layout)


def external_link(file):
    secret = Path(file.filename).with_name("secret.h5")
    write(secret, small())
    del file["stack"]
    file["stack"] = h5py.ExternalLink(secret, "/stack")


def soft_link(file):
    file.move("stack/layer_1/W", "stack/layer_2/hidden_W")
    file["stack/layer_1/W"] = h5py.SoftLink("/stack/layer_2/hidden_W")


def set_attr(where, name, value):
    def change(file):
        file[where].attrs[name] = value

    return change


def set_utf8(where, name, text):
    def change(file):
        file[where].attrs.create(name, text, dtype=h5py.string_dtype("utf-8", len(text)))

    return change


def padded_variable():
    kind = h5py.h5t.py_create(h5py.string_dtype(), logical=True).copy()
    kind.set_strpad(h5py.h5t.STR_NULLPAD)
    return kind


def set_array(**options):
    return lambda file: file["arrays"].create_dataset("new", **options)


def no_extent(file):
    file["arrays/new"] = h5py.Empty("f4")


def named_type(file):
    file["arrays/new"] = np.dtype("f4")


def loop(file):
    file["arrays/new"] = file["/"]


def drop(name):
    def change(file):
        del file[name]

    return change


def drop_attr(where, name):
    def change(file):
        del file[where].attrs[name]

    return change


def rename(old, new):
    return lambda file: file.move(old, new)


def bad_strings(file):
    file["arrays"].create_dataset("new", data=np.bytes_(b"\xff\xfe"), dtype=h5py.string_dtype("utf-8", 2))
    file["arrays/new"].attrs["characters"] = 2


def strings(characters):
    def change(file):
        file["arrays/classes"].attrs["characters"] = np.int64(characters)

    return change


def many_members(file):
    for i in range(4097):
        file["arrays"].create_group(f"a{i}")


HOSTILE = {
    "soft link": (soft_link, "soft or external link"),
    "external link": (external_link, "soft or external link"),
    "external storage": (external_storage, "external storage"),
    "virtual dataset": (virtual, "virtual"),
    "lzf": (replace_W(compression="lzf"), "filter"),
    "scale-offset": (set_array(data=np.arange(9), scaleoffset=0, chunks=(3,)), "filter"),
    "deflate twice": (low_level_W(two_filters), "one twice"),
    "400 GB contiguous": (low_level_W(unwritten, (10**5, 10**6)), "declares 400000000000 bytes but has 0"),
    "400 GB array": (set_array(shape=(10**11,), dtype="f4", chunks=(10**8,), compression="gzip"), "cannot hold"),
    "huge chunk": (
        set_array(shape=(3,), maxshape=(None,), dtype="f4", chunks=(10**9,), compression="gzip"),
        "cannot hold",
    ),
    "many chunks": (set_array(shape=(10**6,), dtype="u1", chunks=(1,), compression="gzip"), "chunks"),
    "overflowing size": (set_array(shape=(2**40, 2**40), dtype="u1", chunks=(2**31, 1), compression="gzip"), "chunks"),
    "unwritten": (low_level_W(unwritten), "declares 24 bytes but has 0"),
    "many members": (many_members, "more than 4096 members"),
    "long attribute": (set_utf8("/", "kind", b"x" * 40000), "single short value"),
    "ASCII attribute": (set_attr("/", "kind", np.bytes_(b"RBM")), "type that is not allowed"),
    "array attribute": (set_attr("/", "format_version", np.ones(2, np.int64)), "single short value"),
    "small version": (set_attr("/", "format_version", np.int64(2)), "not of format"),
    "32-bit integer": (set_attr("/", "format_version", np.int32(1)), "64-bit"),
    "another format": (
        set_utf8("/", "format", b"x"),
        "not of format",
    ),
    "text for integer": (
        set_utf8("stack", "tuned", b"1"),
        "integer",
    ),
    "variable-length attribute": (set_attr("/", "kind", "RBM"), "type that is not allowed"),
    "integer kind": (set_attr("/", "kind", np.int64(1)), "must be a text"),
    "kind": (set_utf8("/", "kind", b"../x"), "name of a class"),
    "no kind": (drop_attr("/", "kind"), "lacks the attribute kind"),
    "no n_hidden": (drop_attr("stack/layer_1", "n_hidden"), "lacks the attribute n_hidden"),
    "no characters": (drop_attr("arrays/classes", "characters"), "lacks the attribute characters"),
    "too few characters": (strings(1), "more than 1 characters"),
    "negative characters": (strings(-1), "declares strings of -1"),
    "10^13 characters": (strings(10**13), "declares strings of 10000000000000"),
    "10^7 characters": (strings(10**7), "cannot hold"),
    "not UTF-8": (bad_strings, "UnicodeDecodeError"),
    "variable-length strings": (set_array(data=["a"], dtype=h5py.string_dtype()), "type that is not allowed"),
    "padded variable-length strings": (low_level_W(unwritten, (3,), padded_variable()), "type that is not allowed"),
    "object reference": (
        lambda file: file["arrays"].create_dataset("new", data=file.ref, dtype=h5py.ref_dtype),
        "type",
    ),
    "region reference": (
        lambda file: file["arrays"].create_dataset(
            "new", data=file["arrays/head_W"].regionref[:], dtype=h5py.regionref_dtype
        ),
        "type",
    ),
    "compound": (set_array(data=np.zeros(2, "f4,f4")), "type"),
    "opaque": (set_array(data=np.zeros(2, "V3")), "type"),
    "float16": (set_array(data=np.zeros(2, "f2")), "type"),
    "big-endian": (set_array(data=np.zeros(2, ">f4")), "type"),
    "complex": (set_array(data=np.zeros(2, "c8")), "type"),
    "enumeration": (set_array(data=np.zeros(2, "i1"), dtype=h5py.enum_dtype({"A": 0, "B": 1}, "i1")), "type"),
    "integer weights": (replace_W(data=np.zeros((3, 2), np.int32)), "must be floating"),
    "transposed weights": (replace_W(data=np.zeros((2, 3), np.float32)), r"must be floating of shape \(3, 2\)"),
    "flat weights": (replace_W(data=np.zeros(6, np.float32)), "must be floating"),
    "weights that are NaN": (replace_W(data=np.full((3, 2), np.nan, np.float32)), "not finite"),
    "array that is infinite": (set_array(data=[1.0, np.inf]), "not finite"),
    "declared size": (set_attr("stack/layer_1", "n_visible", np.int64(4)), "must be floating of shape"),
    "negative size": (set_attr("stack/layer_1", "n_visible", np.int64(-3)), "must be floating of shape"),
    "layers that do not fit": (rename("stack/layer_2/hbias", "stack/layer_2/x"), "lacks hbias"),
    "gap in layers": (rename("stack/layer_2", "stack/layer_3"), "lacks layer_2"),
    "no layers": (lambda file: [file.__delitem__(f"stack/layer_{i}") for i in (1, 2)], "at least one layer"),
    "scale of 0": (lambda file: file["stack/layer_1/scale"].write_direct(np.zeros(3)), "scale must be > 0, got 0"),
    "mean without scale": (drop("stack/layer_1/scale"), "mean and scale"),
    "tuned": (set_attr("stack", "tuned", np.int64(2)), "must be 0 or 1"),
    "unknown units": (
        set_utf8("stack/layer_1", "visible", b"exec"),
        "unknown unit type 'exec'",
    ),
    "groups": (
        lambda file: file["stack/layer_1"].attrs.create(
            "visible", b"softmax:2,2", dtype=h5py.string_dtype("utf-8", 11)
        ),
        "3 units, but groups of 4",
    ),
    "unexpected member": (lambda file: file.create_group("extra"), "unexpected member 'extra'"),
    "unexpected array": (lambda file: file["stack/layer_1"].create_dataset("b", data=1.0), "unexpected member 'b'"),
    "array's name": (rename("arrays/classes", "arrays/\x1b[2J"), "name that is not allowed"),
    "missing text": (drop("history"), "lacks history"),
    "group for dataset": (lambda file: (drop("params")(file), file.create_group("params")), "must be a dataset"),
    "dataset for group": (
        lambda file: (drop("arrays")(file), file.create_dataset("arrays", data=1.0)),
        "must be a group",
    ),
    "named type": (named_type, "must be a dataset"),
    "loop": (loop, "must be a dataset"),
    "no extent": (no_extent, "no extent"),
    "nested lists": (set_json("params", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "nested"),
    "nested objects": (set_json("params", b'{"a":' * 90 + b"1" + b"}" * 90), "nested"),
    "nested map": (set_json("params", b'{"a":' + b'{"$map":[[1,' * 40 + b"1" + b"]]}" * 40 + b"}"), "nested"),
    "not JSON": (set_json("params", b"__import__('os')"), "not valid JSON"),
    "NaN literal": (set_json("params", b'{"a": NaN}'), "not valid JSON"),
    "list for object": (set_json("metadata", b"[]"), "must hold an object"),
    "object for list": (set_json("history", b"{}"), "must hold a list of objects"),
    "list of lists": (set_json("history", b"[[]]"), "must hold a list of objects"),
    "map for object": (set_json("params", b'{"$map": 3}'), "single \\$"),
    "unhashable key": (set_json("params", b'{"a": {"$map": [[[], 1]]}}'), "not valid JSON"),
    "long integer": (set_json("params", b'{"a": ' + b"9" * 5000 + b"}"), "not valid JSON"),
    "long text": (set_json("params", b" " * (2**24 + 1)), "at most 16777216"),
    "text that is a list": (set_json("params", b"1"), "must hold an object"),
}


@pytest.mark.slow
@case_by_case("name", HOSTILE)
def test_a_hostile_file_is_refused(path, name):
    change, match = HOSTILE[name]
    edit(path, change)
    assert path.stat().st_size < 2**25
    refused(path, match)


def test_a_huge_attribute_is_refused(path):
    model = io.BytesIO()
    with h5py.File(model, "w", userblock_size=512, libver="latest") as file:
        file.attrs["format"] = np.zeros(10**6, np.uint8)
    seal(path, model.getvalue()[512:])
    refused(path, "single short value")


def test_layers_that_do_not_fit_are_refused(path):
    def swap(file):
        file.move("stack/layer_2", "stack/x")
        file.copy("stack/layer_1", "stack/layer_2")
        del file["stack/x"]

    edit(path, swap)
    refused(path, "layer 1 has 2 hidden units, layer 2 expects 3")


def test_garbage_with_a_correct_checksum_is_refused(path):
    write(path, small())
    body = path.read_bytes()[512:]
    for content in (b"", b"x", body[:100], body[:-1], bytes(len(body)), b"\0" * 512 + body):
        seal(path, content)
        refused(path)


@pytest.mark.slow
def test_mutilated_files_with_a_correct_checksum_never_crash(path):
    write(path, small())
    body = path.read_bytes()[512:]
    rng = random.Random(1)
    for _ in range(500):
        content = bytearray(body)
        for _ in range(rng.choice([1, 1, 2, 8])):
            content[rng.randrange(len(content))] = rng.choice([0, 1, 8, 127, 128, 255, rng.randrange(256)])
        seal(path, bytes(content))
        try:
            read(path)
        except FileFormatError as error:
            assert "\n" not in str(error)  # noqa: PT017 - reading it is fine too


def test_the_memory_limit_is_checked_before_reading(path, monkeypatch):
    def gzipped(file):
        del file["arrays/head_W"]
        file["arrays"].create_dataset("head_W", data=np.zeros((1000, 1000)), compression="gzip", chunks=(500, 500))

    edit(path, gzipped)
    np.testing.assert_array_equal(read(path).arrays["head_W"], np.zeros((1000, 1000)))
    assert path.stat().st_size < 100_000
    taken = []
    monkeypatch.setattr(reading.safety.Dataset, "read", lambda self: taken.append(self))
    with pytest.raises(FileFormatError, match="the limit is 8000000: raise memory_limit"):
        read(path, memory_limit=8_000_000)
    assert taken == []


@pytest.mark.slow
def test_a_small_file_cannot_take_much_memory(path):
    """Zeros that gzip makes a thousand times smaller; the limit follows the length of the file."""

    def bomb(file):
        zeros = np.zeros((2**12, 6000), np.float32)
        file["arrays"].create_dataset("coef_0", data=zeros, chunks=(512, 3000), compression=1)

    edit(path, bomb)
    length = path.stat().st_size
    assert length < 2**20
    code = f"""
        import resource
        from deepbelief import load
        from deepbelief.errors import FileFormatError
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            load({str(path)!r})
        except FileFormatError as error:
            print(error)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=Path(__file__).parents[1],
                          capture_output=True, text=True, check=True, timeout=60)  # fmt: skip
    line, taken = done.stdout.splitlines()
    assert f"the limit is {2**26 + 40 * length}: raise memory_limit" in line
    assert int(taken) < 2**16  # KiB


def test_chunks_with_the_allowed_filters_are_read(path):
    edit(path, replace_W(compression="gzip", shuffle=True, fletcher32=True, chunks=(2, 2)))
    assert_same(small(), read(path))

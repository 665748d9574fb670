"""Rows by index, one pass over them, and scaling."""

import json
from functools import partial

import h5py
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import case_by_case

from deepbelief import RBM
from deepbelief.errors import DataError, FileError, SettingError
from deepbelief.sources import (
    ArraySource,
    HDF5Source,
    RowSource,
    ScaledSource,
    Scaling,
    SparseSource,
    SubsetSource,
    as_source,
    blocks,
    check_domain,
    column_statistics,
    read,
)
from deepbelief.units import Bernoulli

N, D = 23, 5
RNG = np.random.default_rng(0)
VALUES = np.rint(RNG.uniform(0, 9, (N, D)))  # whole, so that every dtype holds them exactly
DTYPES = ["u1", "i2", "i8", "f2", "f4", "f8", ">f4", ">i4", "?"]
SOURCES = ["c", "fortran", "strided", "sparse", "coo", "h5", "subset", "scaled", "memmap"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rows")


def make(kind, dtype, folder):
    """Return a source of this kind and the plain array that it should equal."""
    data = VALUES.astype(dtype)
    plain = data.astype(np.float64 if data.dtype.kind == "f" and data.dtype.itemsize == 8 else np.float32)
    match kind:
        case "c":
            return as_source(data), plain
        case "fortran":
            return as_source(np.asfortranarray(data)), plain
        case "strided":
            wide = np.repeat(np.repeat(data, 2, axis=0), 2, axis=1)
            return as_source(wide[::2, ::2]), plain
        case "sparse" | "coo":
            return as_source((scipy.sparse.csr_matrix if kind == "sparse" else scipy.sparse.coo_array)(data)), plain
        case "h5":
            path = folder / f"{data.dtype.str.strip('<>|')}.h5"
            if not path.exists():
                with h5py.File(path, "w") as file:
                    file["X"] = data
            return as_source(h5py.File(path)["X"]), plain
        case "subset":
            order = np.array([3, 3, 0, N - 1, 7, *range(N)])
            return SubsetSource(as_source(data), order), plain[order]
        case "scaled":
            mean, scale = np.arange(D), np.arange(1, D + 1)
            return ScaledSource(as_source(data), mean, scale), (plain - mean.astype(plain.dtype)) / scale.astype(
                plain.dtype
            )
        case _:
            path = folder / f"{data.dtype.str.strip('<>|')}.npy"
            np.save(path, data)
            return as_source(np.load(path, mmap_mode="r")), plain


# Each source with three dtypes, each dtype in three sources.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (kind, dtype)
        for i, kind in enumerate(SOURCES)
        for dtype in (DTYPES[(i + j) % 9] for j in (0, 2, 5))
        if not (kind in ("sparse", "coo") and dtype in ("f2", ">f4", ">i4"))  # which SciPy has no matrices of
    ],
)
@settings(max_examples=15, deadline=None)
@given(draw=st.data())
def test_taking_rows_equals_indexing(kind, dtype, folder, draw):
    source, plain = make(kind, dtype, folder)
    n = len(plain)
    assert isinstance(source, RowSource)
    assert source.shape == plain.shape
    assert source.dtype == plain.dtype
    rows = draw.draw(
        st.one_of(st.slices(n), st.lists(st.integers(0, n - 1), max_size=2 * n).map(lambda i: np.array(i, np.intp)))
    )
    taken = source.take(rows)
    np.testing.assert_array_equal(taken, plain[rows])
    assert taken.dtype == plain.dtype
    assert taken.dtype.isnative
    assert taken.flags.c_contiguous
    out = np.full_like(plain[rows], -1, order="C")
    assert source.take(rows, out) is out
    np.testing.assert_array_equal(out, plain[rows])


@case_by_case("kind", SOURCES)
def test_blocks_are_all_rows_in_order(kind, folder):
    source, plain = make(kind, "f4", folder)
    parts = [block.copy() for block in blocks(source, 4)]
    assert max(map(len, parts)) == 4
    np.testing.assert_array_equal(np.concatenate(parts), plain)


@case_by_case("kind", SOURCES)
def test_indices_that_name_no_row_are_refused(kind, folder):
    source, plain = make(kind, "f4", folder)
    for rows in ([-1], [10**6], [0.5], [[0, 1]], [True] * N):
        with pytest.raises(IndexError):
            source.take(np.array(rows))
    with pytest.raises(IndexError):
        source.take(np.array([len(plain)]))


def test_float_arrays_are_kept_and_never_copied():
    data = VALUES.astype(np.float32)
    source = as_source(data)
    assert isinstance(source, ArraySource)
    assert np.shares_memory(source.array, data)
    assert np.shares_memory(source.take(slice(2, 9)), data)
    matrix = scipy.sparse.csr_matrix(data)
    assert np.shares_memory(as_source(matrix).matrix.data, matrix.data)
    assert as_source(source) is source


@pytest.mark.parametrize("rows", [slice(None), np.arange(N)])
def test_scaling_leaves_the_data_alone(rows):
    data = VALUES.copy()
    ScaledSource(as_source(data), 1.0, 2.0).take(rows)
    SubsetSource(ScaledSource(as_source(data), 1.0, 2.0), np.arange(N)).take(rows)
    np.testing.assert_array_equal(data, VALUES)


def test_lists_and_frames_are_rows_too():
    pandas = pytest.importorskip("pandas")
    np.testing.assert_array_equal(as_source([[1, 2], [3, 4]]).take(slice(None)), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(as_source(pandas.DataFrame(VALUES)).take(np.array([4, 2])), VALUES[[4, 2]])


def test_sparse_rows_become_wider_on_demand():
    source = SparseSource(scipy.sparse.csr_matrix(VALUES))
    wide = source.widened(D + 2).take(slice(None))
    np.testing.assert_array_equal(wide, np.pad(VALUES, ((0, 0), (0, 2))))
    assert source.widened(D - 1) is source
    assert source.shape == (N, D)


@case_by_case(
    ("data", "words"),
    [
        (np.zeros(5), "shape (5,)"),
        (np.zeros((2, 3, 4)), "shape (2, 3, 4)"),
        (np.zeros((0, 3)), "empty"),
        (np.zeros((3, 0)), "empty"),
        (np.array([["a", "b"]]), "<U1"),
        (np.zeros((2, 2), complex), "complex128"),
        (np.array([[1, None]], dtype=object), "object"),
        ([[1, 2], [3]], "list"),
        (scipy.sparse.csr_matrix((0, 3)), "empty"),
        (scipy.sparse.csr_matrix((2, 3), dtype=complex), "complex128"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused(data, words):
    with pytest.raises(DataError) as error:
        as_source(data)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_damaged_hdf5_file_is_told_while_reading(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("X", data=RNG.random((100, 5)), chunks=(10, 5), compression="gzip")
        chunk = data.id.get_chunk_info(4)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)
    source = HDF5Source(h5py.File(path)["X"])
    with pytest.raises(DataError, match=r"x\.h5: rows cannot be read"):
        source.take(slice(None))


@case_by_case("kind", SOURCES)
def test_statistics_of_columns(kind, folder):
    source, plain = make(kind, "f8", folder)
    columns = column_statistics(source, 4)
    assert columns.n == len(plain)
    for name, expected in (
        ("mean", plain.mean(0)),
        ("var", plain.var(0)),
        ("min", plain.min(0)),
        ("max", plain.max(0)),
    ):
        array = getattr(columns, name)
        assert array.dtype == np.float64
        np.testing.assert_allclose(array, expected, rtol=1e-12)


def test_statistics_survive_a_large_offset_and_constant_columns():
    noise = RNG.standard_normal((3000, 2))
    columns = column_statistics(
        as_source(np.column_stack([noise[:, 0] + 1e9, noise[:, 1] - 1e12, np.full(3000, 0.1)])), 128
    )
    np.testing.assert_allclose(columns.var[:2], noise.var(0), rtol=1e-3)  # 1e-4 of a unit is left beside 1e12
    np.testing.assert_allclose(columns.var[0], noise[:, 0].var(), rtol=1e-6)
    assert columns.var[2] == 0
    assert columns.mean[2] == 0.1


def test_statistics_of_float32_are_summed_in_float64():
    data = np.full((200_000, 1), 0.1, np.float32)
    data[0] = 0.2
    np.testing.assert_allclose(column_statistics(as_source(data)).mean, data.astype(np.float64).mean(0), rtol=1e-12)


@case_by_case("value", [np.nan, np.inf, -np.inf])
@case_by_case("check", [column_statistics, partial(check_domain, unit=Bernoulli())])
@case_by_case("convert", [np.asarray, scipy.sparse.csr_matrix])
def test_values_that_are_not_finite_are_named(value, check, convert):
    data = np.zeros((9, 4), np.float32)
    data[7, 2] = value
    data[8, 0] = np.nan
    with pytest.raises(DataError, match=f"row 7, column 2 .*counted from 0.* {value}"):
        check(as_source(convert(data)), block_size=3)


@case_by_case("value", [-0.001, 1.001, 300])
def test_values_outside_the_unit_interval_are_named(value):
    data = RNG.random((9, 4))
    data[0, 0], data[0, 1] = 0, 1
    check_domain(as_source(data), Bernoulli(), block_size=4)
    data[5, 3] = value
    with pytest.raises(DataError, match=f"row 5, column 3 .*{value:g}.*minmax.*gaussian"):
        check_domain(as_source(data), Bernoulli(), block_size=4)


@case_by_case(
    ("dtype", "values", "kind"), [("u1", [[0, 255]], "255"), ("u1", [[0, 16]], "none"), ("i8", [[0, 255]], "none")]
)
def test_auto_divides_grey_levels_and_nothing_else(dtype, values, kind):
    assert Scaling.fit(as_source(np.array(values, dtype)), "auto") == Scaling(kind)


def test_minmax_ends_exactly_at_0_and_1():
    data = (RNG.standard_normal((500, 20)) * 10.0 ** RNG.integers(-6, 7, 20)).astype(np.float32)
    data[:, 3] = 7
    scaling = Scaling.fit(as_source(data), "minmax")
    rows = scaling.apply(as_source(data)).take(slice(None))
    check_domain(as_source(rows), Bernoulli())
    assert (rows[:, 3] == 0).all()
    varied = np.delete(rows, 3, axis=1)
    assert (varied.min(0) == 0).all()
    assert (varied.max(0) == 1).all()


@case_by_case("kind", ["none", "255", "minmax"])
def test_a_scaling_survives_json_and_treats_other_rows_alike(kind):
    train, other = as_source(VALUES[:10]), as_source(VALUES[10:])
    scaling = Scaling.fit(train, kind)
    again = Scaling.from_dict(json.loads(json.dumps(scaling.to_dict())))
    assert again == scaling
    low, spread = VALUES[:10].min(0), np.ptp(VALUES[:10], axis=0)
    expected = {
        "none": VALUES[10:],
        "255": VALUES[10:] / 255,
        "minmax": (VALUES[10:] - low) / np.where(spread, spread, 1),
    }
    np.testing.assert_allclose(again.apply(other).take(slice(None)), expected[kind], rtol=1e-12)


def test_scalings_that_make_no_sense_are_refused():
    with pytest.raises(SettingError, match="'standard'"):
        Scaling.fit(as_source(VALUES), "standard")
    for bad in ({"kind": "auto"}, {"kind": "minmax"}, {"kind": "255", "mean": [1], "scale": [1]}):
        with pytest.raises(SettingError):
            Scaling.from_dict(bad)
    for bad_scale in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(SettingError):
            Scaling("minmax", (0.0,), (bad_scale,))
    with pytest.raises(DataError, match=r"5 features .* 2"):
        Scaling("minmax", (0.0, 0.0), (1.0, 1.0)).apply(as_source(VALUES))
    with pytest.raises(DataError, match=r"mean has shape \(2,\)"):
        ScaledSource(as_source(VALUES), [1.0, 2.0], 1.0)


@case_by_case("convert", [np.array, scipy.sparse.csr_array])
@case_by_case("dtype", [np.int32, np.uint32, np.int64, np.uint64])
def test_integers_that_float32_would_round_become_float64(dtype, convert):
    times = np.array([[1_700_000_001, 3], [1_700_000_002, 0]], dtype)
    source = as_source(convert(times))
    assert source.dtype == np.float64
    np.testing.assert_array_equal(source.take(np.array([1, 0])), times[::-1])
    assert as_source(convert(np.array([[2**24, 1]], dtype))).dtype == np.float32


def test_a_column_of_times_in_integers_is_learned():
    clock = 1_700_000_000 + np.arange(60)
    rbm = RBM(2, n_iter=1, random_state=0).fit(np.column_stack([clock, np.arange(60) % 7]))
    assert rbm.weights_.scale[0] == pytest.approx(np.std(np.arange(60)))


def test_an_array_of_python_2_is_read_without_a_warning(tmp_path):
    rows = np.arange(24.0).reshape(4, 6)
    np.save(tmp_path / "rows.npy", rows)
    text = (tmp_path / "rows.npy").read_bytes()
    (tmp_path / "rows.npy").write_bytes(text.replace(b"(4, 6), } ", b"(4L, 6), }", 1))
    np.testing.assert_array_equal(read(str(tmp_path / "rows.npy")).rows.take(slice(0, 4)), rows)


def test_an_error_names_its_file_once(tmp_path):
    (tmp_path / "rows.csv").write_text("1,2\n3,x\n")
    np.save(tmp_path / "rows.npy", np.array(["a"]))
    for name in ("rows.csv", "rows.npy"):
        with pytest.raises(FileError) as caught:
            read(str(tmp_path / name))
        assert str(caught.value).count(name) == 1

"""Aligned sequences: FASTA files in and out, their alphabets, weights by identity, and models of them."""

import gzip
import io
import time

import numpy as np
import pytest
from cli_runs import bad, good
from tables import case_by_case

from deepbelief import RBM, datasets, load, save
from deepbelief.errors import DataError, DataWarning, SettingError
from deepbelief.evaluation.families import site_statistics
from deepbelief.sources import SubsetSource, as_source, with_weights
from deepbelief.sources.fasta import ALPHABETS, family_schema, read_alignment, sequence_weights, write_fasta
from deepbelief.sources.schema import Schema, table_schema

PROTEINS = ["MKVL-A", "MRVLGA", "MK-LGW"]


def fasta(folder, sequences, name="family.fasta"):
    path = folder / name
    path.write_text("".join(f">s{i} some family\n{s[:3]}\n{s[3:]}\n" for i, s in enumerate(sequences)))
    return str(path)


@case_by_case(
    ("sequences", "alphabet"),
    [(PROTEINS, "protein"), (["AC-U", "ACGU"], "rna"), (["AC-T", "acgt"], "dna"), (["NNA-", "NACG"], "dna")],
)
@pytest.mark.filterwarnings("ignore::deepbelief.errors.DataWarning")
def test_the_alphabet_is_found_from_the_letters(tmp_path, sequences, alphabet):
    data = datasets.open(fasta(tmp_path, sequences))
    q = len(ALPHABETS[alphabet])
    assert q == {"protein": 21, "rna": 5, "dna": 5}[alphabet]
    assert data.schema.visible == "softmax:" + ",".join([str(q)] * len(sequences[0]))
    assert data.rows.shape == (len(sequences), q * len(sequences[0]))
    back = data.schema.decode(data.rows.take(slice(None)))
    letters = "".join(row[0] for row in back.values())
    assert letters == sequences[0].upper().replace("N", "-")


def test_an_alphabet_is_named(tmp_path):
    path = fasta(tmp_path, ["AC-T", "ACGT"])
    assert read_alignment(path, "rna").codes.tolist() == [[1, 2, 0, 4], [1, 2, 3, 4]]  # T and U are one letter
    assert datasets.open(f"{path}:protein").rows.shape == (2, 4 * 21)
    assert datasets.open(f"{path}:-ACGTX").rows.shape == (2, 4 * 6)
    for wrong in ("protien", "ACGT", "-", "-AA"):
        with pytest.raises((SettingError, DataError), match="alphabet"):
            datasets.open(f"{path}:{wrong}")


def test_compressed_files_and_insertions_are_read(tmp_path):
    path = tmp_path / "family.fa.gz"
    with gzip.open(path, "wt") as file:
        file.write(">a\r\nACG\r\nU\r\n\r\n>b\r\nA.~-\r\n")
    assert read_alignment(path).codes.tolist() == [[1, 2, 3, 4], [1, 0, 0, 0]]
    inserted = fasta(tmp_path, ["MK.VL-A", "MKiVL-A", "MKVL-A"], "family.a3m")
    assert read_alignment(inserted).codes.shape == (3, 6)


@case_by_case(
    ("text", "message"),
    [
        (">a\nACGU\n>b\nACG\n>c\nA\n", r"sequence 2 \('b'\) has 3 letters, the first has 4: .*aligned"),
        (">a\nACGU\n", "at least 2 sequences, got 1"),
        (">a\nACGU\n>b\n", r"sequence 2 \('b'\) has no letters"),
        (">a\n>b\nACGU\n", r"sequence 1 \('a'\) has no letters"),
        ("ACGU\n>b\nACGU\n", "line 1 is not FASTA"),
        (">a\nACGU\n>b\nAC1U\n", r"sequence 2 \('b'\), site 3: '1' is not a letter"),
        (">a\nACGU\n>b\nACé\n", r"sequence 2 \('b'\), site 3"),
        ("", "empty"),
    ],
)
def test_files_that_are_no_alignment_are_refused(tmp_path, text, message):
    path = tmp_path / "bad.fasta"
    path.write_bytes(text.encode())
    with pytest.raises(DataError, match=message):
        datasets.open(str(path))


def test_unknown_letters_are_counted_or_refused(tmp_path):
    path = fasta(tmp_path, ["MKXLBA", "MRVLXA", *PROTEINS[:1]])
    with pytest.warns(DataWarning, match=r"taken as gaps: 1 B, 2 X \(16.67% of all\)"):
        data = datasets.open(path)
    assert data.schema.decode(data.rows.take(slice(None)))["site3"] == ["-", "V", "V"]
    with pytest.raises(DataError, match=r"sequence 1 \('s0 some family'\), site 3: .*1 B, 2 X"):
        datasets.open(path, table={"handle_unknown": "error"})
    with pytest.warns(DataWarning, match="missing values"):
        missing = datasets.open(path, table={"handle_unknown": "missing"})
    assert np.isnan(missing.rows.take(slice(None))).reshape(3, 6, 21).all(axis=2).sum() == 3


def test_read_alignment_counts_or_refuses_unknown_letters(tmp_path):
    path = fasta(tmp_path, ["MKXLBA", "MRVLXA", *PROTEINS[:1]])
    with pytest.warns(DataWarning, match=r"taken as gaps: 1 B, 2 X \(16.67% of all\)"):
        found = read_alignment(path)
    assert found.counts == {"B": 1, "X": 2}
    assert found.one_hot().reshape(3, 6, 21)[found.unknown, 0].tolist() == [1, 1, 1]
    with pytest.warns(DataWarning, match="missing values"):
        missing = read_alignment(path, handle_unknown="missing")
    assert np.isnan(missing.one_hot()).reshape(3, 6, 21).all(axis=2).tolist() == missing.unknown.tolist()
    with pytest.raises(DataError, match=r"sequence 1 \('s0 some family'\), site 3: .*1 B, 2 X"):
        read_alignment(path, handle_unknown="error")
    with pytest.raises(SettingError, match=r"treatment of unknown letters 'gaps': .*did you mean 'gap'"):
        read_alignment(path, handle_unknown="gaps")


def test_known_letters_give_no_warning(tmp_path):
    assert read_alignment(fasta(tmp_path, PROTEINS), handle_unknown="missing").one_hot().dtype == np.uint8


def test_the_first_sequences_are_read_alone(tmp_path):
    path = tmp_path / "long.fasta"
    path.write_text(">a\nACGU\n>b\nACGU\n>c\nnot aligned\n")
    assert datasets.open(str(path), limit=1).rows.shape == (1, 20)
    assert datasets.open(str(path), limit=2).schema is not None


# --- weights ---


def naive_weights(codes, identity):
    alike = (codes[:, None] == codes[None]).sum(axis=2) >= identity * codes.shape[1] - 1e-9
    return 1 / alike.sum(axis=1)


@pytest.mark.parametrize("identity", [0.3, 0.6, 0.8, 1.0, 1e-9])
def test_weights_count_sequences_that_are_alike(identity, monkeypatch):
    monkeypatch.setattr("deepbelief.sources.fasta.BLOCK", 16)
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, (50, 10))
    codes[20:] = np.where(rng.random((30, 10)) < 0.2, codes[20:], codes[:1])
    rows = np.eye(3)[codes].reshape(50, -1)
    np.testing.assert_array_equal(sequence_weights(rows, identity), naive_weights(codes, identity))


def test_weights_of_ten_thousand_sequences_take_seconds():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 5, (2000, 100))
    rows = np.eye(5, dtype=np.uint8)[codes].reshape(2000, -1)
    began = time.process_time()
    weights = sequence_weights(rows)
    assert time.process_time() - began < 10  # of a 25th of the pairs of 10,000
    assert weights.sum() == 2000


@pytest.mark.parametrize("identity", [0, -0.1, 1.01, np.nan, "0.8"])
def test_thresholds_outside_their_range_are_refused(identity):
    with pytest.raises(SettingError, match="identity must be a number > 0 and <= 1"):
        sequence_weights(np.eye(4), identity)


# --- models ---


@pytest.mark.parametrize("weighted", [False, True])
def test_site_statistics_are_those_of_pairs_of_letters(weighted):
    rng = np.random.default_rng(0)
    codes, weights = rng.integers(0, 3, (20, 4)), rng.random(20)
    rows = np.eye(3)[codes].reshape(20, -1)
    found = site_statistics(with_weights(as_source(rows), weights) if weighted else rows, (3,) * 4)
    w = weights / weights.sum() if weighted else np.full(20, 1 / 20)
    pairs = []
    for i in range(4):
        for a in range(3):
            np.testing.assert_allclose(found.frequencies[3 * i + a], w[codes[:, i] == a].sum())
            pairs += [
                w[(codes[:, i] == a) & (codes[:, j] == b)].sum() - w[codes[:, i] == a].sum() * w[codes[:, j] == b].sum()
                for j in range(i + 1, 4) for b in range(3)
            ]  # fmt: skip
    np.testing.assert_allclose(found.correlations, pairs, atol=1e-15)
    assert found.agreement(found) == pytest.approx((1, 1))


def test_a_schema_of_a_file_has_the_letters_of_its_alphabet():
    values = family_schema("-ACGU", 2).to_dict()
    assert Schema.from_dict(values) == family_schema("-ACGU", 2)
    with pytest.raises(DataError, match="letters of its alphabet"):
        Schema.from_dict({**values, "alphabet": "-ACGT"})


@pytest.fixture
def family(tmp_path):
    """Return a file of 60 sequences in which the sites 1 and 2 have the same letter."""
    rng = np.random.default_rng(0)
    pairs = zip(rng.choice(["A", "U"], 60), rng.choice(["C", "G"], 60), strict=True)
    sequences = [f"{a}{a}{b}-" for a, b in pairs]
    return fasta(tmp_path, sequences), sequences


def test_a_model_of_sequences_samples_sequences(family, tmp_path):
    path, _ = family
    data = datasets.open(path)
    weights = sequence_weights(data.rows)
    rbm = RBM(8, n_iter=400, random_state=0).fit(data.rows, sample_weight=weights)
    assert rbm.weights_.visible == "softmax:5,5,5,5"
    save(rbm, tmp_path / "family.h5")
    rbm = load(tmp_path / "family.h5")
    assert rbm.schema_.alphabet == "-ACGU"
    letters = rbm.sample(200, n_steps=100, random_state=0)
    assert letters.shape == (200, 4)
    assert (letters[:, 0] == letters[:, 1]).mean() > 0.9
    out = io.StringIO()
    write_fasta(out, letters)
    (tmp_path / "samples.fasta").write_text(out.getvalue())
    again = datasets.open(str(tmp_path / "samples.fasta:rna"))
    np.testing.assert_array_equal(np.array(list(again.schema.decode(again.rows.take(slice(None))).values())).T, letters)
    assert table_schema(SubsetSource(data.rows, np.arange(5))).alphabet == "-ACGU"


@pytest.mark.slow
@pytest.mark.usefixtures("sketched")
def test_the_command_line_trains_samples_and_evaluates(family, tmp_path, monkeypatch):
    path, sequences = family
    monkeypatch.chdir(tmp_path)
    out = good("pretrain", path, "--epochs", "20", "--layers", "8", "--out", "family.h5", "--seed", "0", "-q")
    assert "4 sites, letters -ACGU" in out.stdout
    assert "weights" in out.stdout
    good("sample", "family.h5", "--n", "7", "--steps", "50", "--out", "samples.fasta", "--seed", "0")
    made = read_alignment(tmp_path / "samples.fasta", "rna")
    assert made.codes.shape == (7, 4)
    good("evaluate", "family.h5")
    good("evaluate", "family.h5", path)
    good("report", "family.h5", "--out", "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Logo of the data" in page
    assert "connected correlations of two sites" in page
    assert "-ACGU" in good("info", "family.h5").stdout
    other = fasta(tmp_path, [s + "A" for s in sequences], "longer.fasta")
    assert "5 sites" in bad("evaluate", "family.h5", other)

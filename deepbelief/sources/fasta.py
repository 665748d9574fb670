"""Aligned sequences of letters in FASTA files: proteins, RNA and DNA, and their weights by identity."""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from deepbelief.bounds import Bounds
from deepbelief.errors import DataWarning, FileError, SettingError, unknown, user_level
from deepbelief.sources.content import MEMORY_LIMIT, Content, size_text
from deepbelief.sources.convert import as_source
from deepbelief.sources.gzipped import open_bytes
from deepbelief.sources.rows import RowSource
from deepbelief.sources.schema import Schema, table_rows
from deepbelief.sources.table_columns import Column
from deepbelief.typing import Array, Float64Array

GAP = "-"
ALPHABETS: dict[str, str] = {
    "protein": "-ACDEFGHIKLMNPQRSTVWY",
    "rna": "-ACGU",
    "dna": "-ACGT",
}
"""Alphabets by name; the first letter is the gap."""

FASTA = (".fasta", ".fasta.gz", ".fa", ".fa.gz", ".fas", ".afa", ".faa", ".fna")
WITH_INSERTS = (".a3m", ".a3m.gz", ".a2m", ".a2m.gz")  # small letters and dots are not aligned, and left out
GAPS = "-._~"
NUCLEOTIDES = frozenset("ACGTUN")
NUCLEOTIDE_SHARE = 0.9  # of the letters, from which on sequences are RNA or DNA
UNKNOWN = ("gap", "missing", "error")
TREATMENTS: Mapping[str, str] = {"gap": "gaps", "missing": "missing values"}
MIN_SEQUENCES = 2
MIN_ALPHABET = 2  # letters other than the gap
FOREIGN, NOT_LISTED = 255, 254  # codes of characters that are not letters, and of letters outside the alphabet
BLOCK = 2048  # sequences in a block; identities of pairs of blocks are computed at once
IDENTITY = Bounds(0, 1, open_low=True)
ROUNDING = 1e-9  # of the product of a threshold and the number of sites


@dataclass(frozen=True, eq=False)
class Alignment:
    """Aligned sequences.

    Parameters
    ----------
    names : list of str
        Header lines, without the ``>``.
    codes : ndarray of uint8 of shape (n_sequences, n_sites)
        Indices of the letters in the alphabet.
    alphabet : str
        Its first letter is the gap.
    unknown : ndarray of bool of the shape of ``codes``
        Mask of letters that the alphabet lacks; they have the code of the gap.
    counts : dict of str to int
        Number of each of these letters.
    missing : bool
        Whether these letters are missing values in `one_hot`; else they are gaps.
    """

    names: list[str]
    codes: Array
    alphabet: str
    unknown: Array = field(repr=False)
    counts: dict[str, int] = field(default_factory=dict)
    missing: bool = False

    def one_hot(self) -> Array:
        """Return one 0/1 column for each site and letter, site by site; those of missing letters are NaN."""
        units = np.eye(len(self.alphabet), dtype=np.uint8)[self.codes]
        if self.missing and self.counts:
            units = units.astype(np.float32)
            units[self.unknown] = np.nan
        return units.reshape(len(self.codes), -1)


def read_alignment(
    path: str | Path, alphabet: str | None = None, limit: int | None = None, handle_unknown: str = "gap"
) -> Alignment:
    r"""Read aligned sequences.

    Lower-case letters count as upper-case, and ``.``, ``_`` and ``~`` as gaps. In ``.a2m`` and ``.a3m`` files
    lower-case letters and dots are insertions, which are left out. T and U are the same letter, U in RNA and T in DNA.

    Parameters
    ----------
    path : str or Path
    alphabet : str, optional
        A key of `ALPHABETS`, or the letters, the gap ``-`` first. None: found from the letters.
    limit : int, optional
        Read the first sequences only.
    handle_unknown : {"gap", "missing", "error"}
        Treatment of letters that the alphabet lacks, such as X and N. They are counted in a warning, or refused.

    Returns
    -------
    Alignment

    Raises
    ------
    DataError
        If there are fewer than two sequences, or they are not aligned; the message names the first wrong sequence.
        Also if the alphabet lacks a letter and ``handle_unknown="error"``.
    SettingError
        If there is no such alphabet, or no such treatment.

    Warns
    -----
    DataWarning
        If the alphabet lacks letters; it counts each of them.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "two.fasta"
    >>> _ = path.write_text(">first\nAC-U\n>second\nACGU\n")
    >>> alignment = read_alignment(path)
    >>> alignment.alphabet, alignment.codes.tolist()
    ('-ACGU', [[1, 2, 0, 4], [1, 2, 3, 4]])
    """
    path = Path(path)
    if handle_unknown not in UNKNOWN:
        raise SettingError(unknown("treatment of unknown letters", handle_unknown, UNKNOWN))
    letters = None if alphabet is None else letters_of(alphabet)
    inserts = path.name.lower().endswith(WITH_INSERTS)
    names: list[str] = []
    texts: list[bytes] = []
    for name, text in _records(path):
        if inserts:
            text = bytes(c for c in text if not 97 <= c <= 122 and c != ord("."))
        if not text or len(text) != len(texts[0] if texts else text):
            raise FileError(f"{path}: {_misaligned(len(names), name, text, texts)}")
        names.append(name)
        texts.append(text)
        if limit is not None and len(names) >= max(limit, MIN_SEQUENCES):
            break
    if len(names) < MIN_SEQUENCES:
        raise FileError(f"{path}: an alignment has at least {MIN_SEQUENCES} sequences, got {len(names)}")
    names, texts = names[:limit], texts[:limit]
    characters = np.frombuffer(b"".join(texts), np.uint8).reshape(len(texts), -1)
    letters = letters or _found(characters)
    codes = _codes(letters)[characters]
    if (codes == FOREIGN).any():
        row, site = np.argwhere(codes == FOREIGN)[0]
        shown = repr(chr(characters[row, site]))
        raise FileError(f"{path}: sequence {row + 1} ({names[row]!r}), site {site + 1}: {shown} is not a letter")
    other = codes == NOT_LISTED
    codes[other] = 0
    counts = Counter(chr(c) for c in np.char.upper(characters[other].view("S1")).view(np.uint8).tolist())
    found = Alignment(names, codes, letters, other, dict(sorted(counts.items())), missing=handle_unknown == "missing")
    if counts:
        _tell_unknown(path, found, handle_unknown)
    return found


def _records(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the letters of each sequence of a file."""
    name: str | None = None
    lines: list[bytes] = []
    with open_bytes(path) as file:
        for number, line in enumerate(file, 1):
            line = line.strip()
            if line.startswith(b">"):
                if name is not None:
                    yield name, b"".join(lines)
                name, lines = line[1:].decode("utf-8", "replace").strip(), []
            elif name is not None:
                lines.append(line.replace(b" ", b"").removesuffix(b"*"))
            elif line and not line.startswith((b";", b"#")):
                raise FileError(f"{path}: line {number} is not FASTA: a sequence begins with a line '>NAME'")
    if name is not None:
        yield name, b"".join(lines)


def _misaligned(row: int, name: str, text: bytes, before: Sequence[bytes]) -> str:
    """Return what is wrong with the length of a sequence."""
    what = f"sequence {row + 1} ({name[:80]!r}) has {len(text) or 'no'} letters"
    if not before:
        return what
    return f"{what}, the first has {len(before[0])}: sequences must be aligned, with gaps ({GAP}) in them"


def letters_of(alphabet: str) -> str:
    """Return the letters of an alphabet, given by its name or by the letters themselves.

    Raises
    ------
    SettingError

    Examples
    --------
    >>> letters_of("rna"), letters_of("-AB")
    ('-ACGU', '-AB')
    """
    if alphabet.lower() in ALPHABETS:
        return ALPHABETS[alphabet.lower()]
    rest = alphabet[1:]
    capitals = rest.isascii() and rest.isalpha() and rest.isupper()
    if alphabet[:1] == GAP and capitals and MIN_ALPHABET <= len(rest) == len(set(rest)):
        return alphabet
    raise SettingError(unknown("alphabet", alphabet, ALPHABETS), ", or give its letters, the gap first: -ACGU")


def _found(characters: Array) -> str:
    """Return the alphabet that sequences are written in."""
    counts = np.bincount(characters.ravel(), minlength=256)
    of = {chr(c): int(counts[c] + counts[c + 32]) for c in range(65, 91)}
    total = sum(of.values())
    if total and sum(of[c] for c in NUCLEOTIDES) < NUCLEOTIDE_SHARE * total:
        return ALPHABETS["protein"]
    return ALPHABETS["rna" if of["U"] else "dna"]


def _codes(alphabet: str) -> Array:
    """Return the code of each byte."""
    codes = np.full(256, FOREIGN, np.uint8)
    codes[[*range(65, 91), *range(97, 123)]] = NOT_LISTED
    codes[[ord(c) for c in GAPS]] = 0
    places = {letter: place for place, letter in enumerate(alphabet)}
    if set(places) <= {GAP, *NUCLEOTIDES}:  # T and U are one letter
        for letter, other in ("TU", "UT"):
            places.setdefault(letter, places.get(other, NOT_LISTED))
    for letter, place in places.items():
        codes[[ord(letter), ord(letter.lower())]] = place
    return codes


def family_schema(alphabet: str, n_sites: int) -> Schema:
    """Return the schema of aligned sequences: each site is a group of one unit for each letter.

    Examples
    --------
    >>> family_schema("-ACGU", 3).visible
    'softmax:5,5,5'
    """
    columns = (Column(f"site{i + 1}", "category", "object", tuple(alphabet)) for i in range(n_sites))
    return Schema(tuple(columns), alphabet=alphabet)


def read_fasta(path: Path, alphabet: str | None, limit: int | None, unknown: str = "gap") -> Content:
    """Read aligned sequences as rows of visible units: one group of 0 and 1 for each site.

    Parameters
    ----------
    path : Path
    alphabet : str or None
        As in `read_alignment`.
    limit : int or None
    unknown : {"gap", "missing", "error"}
        As in `read_alignment`.

    Returns
    -------
    Content
        Its rows have a schema, see `deepbelief.sources.schema.table_schema`.
    """
    found = read_alignment(path, alphabet, limit, unknown)
    n, n_sites = found.codes.shape
    itemsize = 4 if found.missing else 1
    if (n_bytes := n * n_sites * len(found.alphabet) * itemsize) > MEMORY_LIMIT:
        raise FileError(f"{path}: the rows need {size_text(n_bytes)} of memory; use fewer sequences")
    return Content(table_rows(found.one_hot(), family_schema(found.alphabet, n_sites)))


def _tell_unknown(path: Path, found: Alignment, treatment: str) -> None:
    """Count unknown letters in a warning, or refuse them."""
    counts = ", ".join(f"{n} {letter}" for letter, n in found.counts.items())
    if treatment == "error":
        row, site = np.argwhere(found.unknown)[0]
        raise FileError(
            f"{path}: sequence {row + 1} ({found.names[row]!r}), site {site + 1}: the alphabet {found.alphabet} lacks "
            f"its letter (in all {counts}); name another alphabet, or take unknown letters as gaps"
        )
    share = found.unknown.mean()
    message = (
        f"{path}: letters that the alphabet {found.alphabet} lacks are taken as {TREATMENTS[treatment]}: {counts} "
        f"({share:.2%} of all)"
    )
    warnings.warn(DataWarning(message, symptom="unknown-letters"), stacklevel=user_level())


def sequence_weights(rows: object, identity: float = 0.8) -> Float64Array:
    """Return a weight for each aligned sequence: 1 / the number of similar sequences, including itself.

    Two sequences are similar if they have the same letter, or both a gap, at a share of at least ``identity`` of the
    sites. Pass the weights to ``fit`` as ``sample_weight``; their sum is the effective number of sequences.

    Parameters
    ----------
    rows : RowSource, array or CSR matrix of shape (n_sequences, n_units)
        0/1 columns with a group for each site, as `deepbelief.datasets.open` makes them of a FASTA file.
    identity : float, default=0.8
        Above 0, at most 1.

    Returns
    -------
    ndarray of shape (n_sequences,)

    Raises
    ------
    SettingError
        If ``identity`` is outside (0, 1].

    Examples
    --------
    >>> rows = np.eye(2)[[[0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1]]].reshape(3, 8)
    >>> sequence_weights(rows, 0.75).tolist()
    [0.5, 0.5, 1.0]
    """
    identity = IDENTITY.checked("identity", identity)
    source = as_source(rows)
    n = source.shape[0]
    starts = range(0, n, BLOCK)
    schema = getattr(source, "schema", None)
    n_sites = (
        len(schema.columns) if isinstance(schema, Schema) else max(_known(source, i).sum(axis=1).max() for i in starts)
    )
    need = identity * float(n_sites) - ROUNDING
    alike = np.zeros(n, np.int64)
    for i in starts:
        one = _known(source, i)
        for j in range(i, n, BLOCK):
            other = one if i == j else _known(source, j)
            near = one @ other.T >= need
            alike[i : i + len(one)] += near.sum(axis=1)
            if i != j:
                alike[j : j + len(other)] += near.sum(axis=0)
    return 1 / np.maximum(alike, 1)


def _known(source: RowSource, start: int) -> Array:
    """Return a block of rows in single precision; missing letters match no letter."""
    return np.nan_to_num(np.asarray(source.take(slice(start, start + BLOCK)), np.float32), nan=0.0)


def write_fasta(file: IO[str], letters: Iterable[Sequence[str]], names: Iterable[str] | None = None) -> None:
    """Write aligned sequences.

    Parameters
    ----------
    file : text file
        Open for writing.
    letters : iterable of sequence of str
        The letters of each sequence, as `RBM.sample` returns them.
    names : iterable of str, optional
        By default ``sample1``, ``sample2`` ...

    Examples
    --------
    >>> import sys
    >>> write_fasta(sys.stdout, [["A", "-", "U"]])
    >sample1
    A-U
    """
    given = iter(names) if names is not None else None
    for i, sequence in enumerate(letters, 1):
        name = f"sample{i}" if given is None else next(given)
        file.write(f">{name}\n{''.join(sequence)}\n")

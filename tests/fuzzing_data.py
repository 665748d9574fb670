"""Data files for the fuzzers: a table of each format, mutated where its reader looks, and read as in the shell."""

import contextlib
import gzip
import io
import random
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import scipy.sparse
from mutations import mutate_bytes

from deepbelief import RBM
from deepbelief.datasets import open as open_data
from deepbelief.errors import DeepBeliefError
from deepbelief.sources import column_statistics

X = (np.random.default_rng(0).random((30, 4)) * 4).round(2)
Y = np.arange(30) % 3
WORDS = [
    "", "nan", "inf", "1e999", "-1", "007", "1_0", "n/a", '"', '""', "\ufeff", "\x00", "é", "0x1", "1e-400", "9" * 40,
    "9" * 140_000, "a", "b", "y", "18446744073709551616", ",", ";", "\t", "\n", "\r", "\n\n\n", "1,5", "1:1", "0:1",
    "2000000000:1", "#", "qid:1", "\u2028",
]  # fmt: skip


def make_tables(folder: Path) -> dict[str, bytes]:
    """Return the same table in each format, by file name."""
    lines = [",".join(map(str, [*row, y])) for row, y in zip(X.tolist(), Y.tolist(), strict=True)]
    text = ("a,b,c,d,y\n" + "\n".join(lines) + "\n").encode()
    svm = "".join(f"{y} " + " ".join(f"{j + 1}:{v}" for j, v in enumerate(r)) + "\n" for r, y in zip(X, Y, strict=True))
    idx = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (30, 2, 2)) + X.astype(np.uint8).tobytes()
    found = {"t.csv": text, "t.tsv": text.replace(b",", b"\t"), "t.svm": svm.encode(), "t.idx": idx}
    found |= {f"{name}.gz": gzip.compress(found[name], mtime=0) for name in ("t.csv", "t.svm", "t.idx")}
    np.save(folder / "t.npy", X)
    np.savez(folder / "t.npz", X=X, y=Y, feature_names=np.array(list("abcd")))
    np.savez_compressed(folder / "packed.npz", X=X, y=Y.astype(str))
    scipy.sparse.save_npz(folder / "sparse.npz", scipy.sparse.csr_array(X))
    with h5py.File(folder / "t.h5", "w") as file:
        file.create_dataset("X", data=X, chunks=(10, 4), compression="gzip", shuffle=True, fletcher32=True)
        file["y"], file["feature_names"] = Y, list("abcd")
    names = ["t.npy", "t.npz", "packed.npz", "sparse.npz", "t.h5"]
    with contextlib.suppress(ImportError):
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = dict(zip("abcd", X.T, strict=True)) | {"y": Y}
        pq.write_table(pa.table(columns), folder / "t.parquet", row_group_size=10, compression="zstd")
        names.append("t.parquet")
    found |= {name: (folder / name).read_bytes() for name in names}
    with contextlib.suppress(ImportError):
        found["t.zarr"] = _packed_store(folder)
    return found


def _packed_store(folder: Path) -> bytes:
    """Return a Zarr store as a ZIP archive, which `use_table` unpacks."""
    import zarr

    group = zarr.open_group(folder / "store", mode="w")
    group.create_array("X", data=X, chunks=(10, 4))
    group.create_array("y", data=Y)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted((folder / "store").rglob("*")):
            if path.is_file():
                archive.writestr(str(path.relative_to(folder / "store")), path.read_bytes())
    for path in sorted((folder / "store").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (folder / "store").rmdir()
    return packed.getvalue()


def mutate_table(rng: random.Random, content: bytes) -> bytes:
    """Return the file with other bytes, or with other contents below its compression or archive."""
    if rng.random() < 0.2:
        return mutate_bytes(rng, content)
    if content[:2] == b"\x1f\x8b":
        return gzip.compress(mutate_table(rng, gzip.decompress(content)), mtime=0)
    if content[:2] == b"PK":
        return _mutate_archive(rng, content)
    if content[:6] == b"\x93NUMPY":
        start = mutate_bytes(rng, content[:128]) if rng.random() < 0.7 else content[:128]
        return start + (mutate_bytes(rng, content[128:]) if rng.random() < 0.4 else content[128:])
    if content[:2] == b"\0\0":
        return mutate_bytes(rng, content[:16]) + content[16:]
    try:
        return _mutate_text(rng, content.decode()).encode()
    except UnicodeDecodeError:
        return mutate_bytes(rng, content)


def _mutate_archive(rng: random.Random, content: bytes) -> bytes:
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        chosen = rng.choice(old.namelist())
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, mutate_table(rng, data) if name == chosen else data)
    return changed.getvalue()


def _mutate_text(rng: random.Random, text: str) -> str:
    for _ in range(rng.choice([1, 1, 2, 5])):
        delimiter = rng.choice([",", "\n", " ", ":", "\t"])
        cells = text.split(delimiter)
        place = rng.randrange(len(cells))
        match rng.randrange(4):
            case 0:
                del cells[place]
            case 1:
                cells.insert(place, rng.choice(WORDS))
            case 2:
                cells[place] = rng.choice([rng.choice(WORDS), f'"{cells[place]}"', cells[place] + rng.choice(WORDS)])
            case _:
                cells[place:place] = cells[place : place + rng.choice([1, 1, 50])]
        text = delimiter.join(cells)
    return text


def use_table(path: Path, name: str) -> None:
    """Read rows with and without labels, labels alone, and train on what is small."""
    table = path.with_name(name)
    if name.endswith(".zarr"):
        with contextlib.suppress(zipfile.BadZipFile, ValueError, OSError), zipfile.ZipFile(path) as archive:
            archive.extractall(table)
        if not table.exists():
            return
    else:
        path.replace(table)
        path.touch()
    try:
        _use(table)
    finally:
        shutil.rmtree(table) if table.is_dir() else table.unlink()


def _use(table: Path) -> None:
    refused = None
    for labels in (None, "y", "-1", str(table)):
        try:
            data = open_data(str(table), labels=labels)
            column_statistics(data.rows)
            if labels is None and data.rows.shape[1] < 100:
                RBM(2, visible="gaussian", n_iter=1, batch_size=20).fit(data.rows)
        except DeepBeliefError as error:
            if labels is None or "\n" in str(error):
                refused = error
    if refused is not None:
        raise refused

"""Write the samples beside this script: the first 60 digits that come with scikit-learn, in every readable format.

Run it as ``python data/make_samples.py``; the files it writes are the committed ones.
"""

import gzip
import struct
from pathlib import Path

import h5py
import numpy as np
from sklearn.datasets import dump_svmlight_file, load_digits

HERE = Path(__file__).parent
N_ROWS, N_TEST = 60, 20


def idx(array: np.ndarray) -> bytes:
    """Return unsigned bytes as an IDX file."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 0x08, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_idx_folder(images: np.ndarray, labels: np.ndarray) -> None:
    """Write a folder named as MNIST's: the training split compressed, the test split plain."""
    folder = HERE / "idx"
    folder.mkdir(exist_ok=True)
    for what, array in (("images-idx3", images), ("labels-idx1", labels)):
        train, test = idx(array[:-N_TEST]), idx(array[-N_TEST:])
        (folder / f"train-{what}-ubyte.gz").write_bytes(gzip.compress(train, mtime=0))
        (folder / f"t10k-{what}-ubyte").write_bytes(test)


def main() -> None:
    """Write all samples."""
    images, labels = load_digits(return_X_y=True)
    rows = np.rint(images[:N_ROWS] * 255 / 16).astype(np.uint8)
    labels = labels[:N_ROWS].astype(np.int64)
    np.save(HERE / "digits.npy", rows)
    np.save(HERE / "digits-labels.npy", labels)
    np.savez_compressed(HERE / "digits.npz", X=rows, y=labels)
    lines = [",".join([*(f"p{i}" for i in range(64)), "digit"])]
    lines += [",".join(map(str, [*row, label])) for row, label in zip(rows, labels, strict=True)]
    text = ("\n".join(lines) + "\n").encode()
    (HERE / "digits.csv").write_bytes(text)
    (HERE / "digits.csv.gz").write_bytes(gzip.compress(text, mtime=0))
    with h5py.File(HERE / "digits.h5", "w") as file:
        file.create_dataset("X", data=rows, compression="gzip")
        file.create_dataset("y", data=labels)
    dump_svmlight_file(rows.astype(np.float64), labels, str(HERE / "digits.svmlight"), zero_based=False)
    write_idx_folder(rows.reshape(-1, 8, 8), labels)


if __name__ == "__main__":
    main()

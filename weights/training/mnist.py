"""Reads MNIST's four IDX files, plain or gzipped, from a directory."""

import gzip
from pathlib import Path

import numpy as np

# The first byte of an IDX file's type field: 8 is an unsigned byte. The next one counts the dimensions.
UNSIGNED_BYTE = 8


def read_idx(path: Path) -> np.ndarray:
    """The array in an IDX file: a magic number, one big-endian size a dimension, then the bytes."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        raw = file.read()
    if raw[:2] != b"\0\0" or raw[2] != UNSIGNED_BYTE:
        raise ValueError(f"{path} is not an IDX file of unsigned bytes")
    dimensions = raw[3]
    header = 4 + 4 * dimensions
    shape = np.frombuffer(raw, ">u4", dimensions, 4).astype(int)
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def load(directory: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """The images [N, 28, 28] and labels [N] of a part, "train" (60,000) or "t10k" (10,000)."""
    arrays = []
    for kind in ("images-idx3", "labels-idx1"):
        found = sorted(directory.glob(f"{part}-{kind}-ubyte*"))
        if not found:
            raise FileNotFoundError(f"{directory} has no {part}-{kind}-ubyte or {part}-{kind}-ubyte.gz")
        arrays.append(read_idx(found[0]))
    images, labels = arrays
    if len(images) != len(labels):
        raise ValueError(f"{directory}: {len(images)} {part} images but {len(labels)} labels")
    return images, labels

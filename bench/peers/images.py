# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The real images that the comparisons train on, and nasturtium's HDF5 data sets."""

import gzip
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from torch_network import REPOSITORY


@dataclass
class Images:
    """Images (N, H, W, C) of 8 bits and their labels."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


def idx(path: Path) -> np.ndarray:
    """A gzipped IDX file of bytes."""
    data = gzip.decompress(path.read_bytes())
    dimensions = data[3]
    extent = np.frombuffer(data, ">i4", dimensions, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(extent)


def fashion_mnist(folder: Path) -> Images:
    """The four IDX files, 60,000 and 10,000 images of 28 x 28 x 1."""
    return Images(idx(folder / "train-images-idx3-ubyte.gz")[..., None], idx(folder / "train-labels-idx1-ubyte.gz"),
                  idx(folder / "t10k-images-idx3-ubyte.gz")[..., None], idx(folder / "t10k-labels-idx1-ubyte.gz"))


def cifar10_subset() -> Images:
    """10,000 and 2,000 images of 32 x 32 x 3, in CIFAR-10's binary format."""

    def records(path: Path) -> tuple[np.ndarray, np.ndarray]:
        data = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8).reshape(-1, 3073)
        return data[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), data[:, 0]

    folder = cifar10_folder()
    if not (folder / "cifar10_train_10000.bin.gz").exists():
        sys.exit(f"bench: the CIFAR-10 subset is missing: no cifar10_train_10000.bin.gz in {folder} (its parent: NASTURTIUM_SHARED_DATA)")
    return Images(*records(folder / "cifar10_train_10000.bin.gz"), *records(folder / "cifar10_test_2000.bin.gz"))


def cifar10_folder() -> Path:
    return Path(os.environ.get("NASTURTIUM_SHARED_DATA", REPOSITORY.parent / "shared" / "data")) / "images"


def made_up(height: int, width: int, channels: int, train: int, test: int) -> Images:
    """Ten faint patterns of patches, brightness of each image its own, and noise: for machines without data sets. Faint, so that losses stay
    far from zero; brightness, so that the means of batch norms do too: deviations from PyTorch are relative."""
    generator = np.random.default_rng(1)
    patches = generator.normal(0, 12, (10, -(-height // 4), -(-width // 4), channels))
    patterns = patches.repeat(4, 1).repeat(4, 2)[:, :height, :width]

    def split(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = generator.integers(10, size=count)
        brightness = generator.normal(128, 40, (count, 1, 1, 1))
        noise = generator.normal(0, 25, (count, height, width, channels))
        return np.clip(brightness + patterns[labels] + noise, 0, 255).astype(np.uint8), labels.astype(np.uint8)

    return Images(*split(train), *split(test))


def normalisation(train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation per channel of the training images as stored, rounded to float32 as nasturtium keeps them."""
    values = train.reshape(-1, train.shape[-1]).astype(np.float64)
    mean = values.mean(0)
    deviation = np.sqrt(np.square(values - mean).mean(0))
    return mean.astype(np.float32), deviation.astype(np.float32)


def save_dataset(path: Path, images: Images) -> None:
    """Writes groups train and test with images and labels."""
    with h5py.File(path, "w") as file:
        for split, values, labels in (("train", images.train, images.train_labels), ("test", images.test, images.test_labels)):
            file[f"{split}/images"] = values
            file[f"{split}/labels"] = labels.astype(np.int32)

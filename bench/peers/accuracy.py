# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The same training recipes in nasturtium and in PyTorch: the test accuracy that both reach. Run by accuracy.sh:

  accuracy.py command NETWORK [--epochs N] [--train N] [--seeds A,B]     prints the options of `nasturtium train`
  accuracy.py compare NETWORK OURS.json RESULTS [the same options]       trains in PyTorch, prints and writes the table
"""

import argparse
import csv
import json
import shlex
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import images
from provenance import write_provenance
from recipe import Optimiser, Schedule, Stepper
from torch_network import Network, load_architecture

FASHION_MNIST = Path("build/peers/fashion-mnist")


@dataclass(frozen=True)
class Recipe:
    """Everything but the network; `bar` is the accuracy to reach and `gap` the most that PyTorch may be ahead, in percent."""

    optimiser: Optimiser
    schedule: Schedule
    epochs: int
    gap: float
    bar: float = 0.0
    batch: int = 128
    crop_padding: int = 0
    flip: bool = False
    seeds: tuple[int, ...] = (1, 2, 3)
    peer_seeds: tuple[int, ...] = (1, 2, 3)  # PyTorch's
    train: int = 0  # samples, for trials (a stratified choice in nasturtium, the first ones in PyTorch); 0: all


RECIPES = {
    "cnn2": Recipe(Optimiser("sgd", learning_rate=0.05, nesterov=True, weight_decay=5e-4), Schedule("one_cycle"),
                   epochs=10, bar=92.0, gap=0.4, flip=True),
    "resnet20": Recipe(Optimiser("sgd", learning_rate=0.1, nesterov=True, weight_decay=5e-4), Schedule("one_cycle"),
                       epochs=20, gap=1.0, crop_padding=4, flip=True),
}


def load_images(network: str) -> images.Images:
    return images.fashion_mnist(FASHION_MNIST) if network == "cnn2" else images.cifar10_subset()


def command(network: str, recipe: Recipe) -> list[str]:
    if network == "cnn2":
        dataset = f"idx:{FASHION_MNIST}"
    else:
        folder = images.cifar10_folder()
        dataset = f"cifar10:{folder}/cifar10_train_10000.bin.gz:{folder}/cifar10_test_2000.bin.gz"
    return ["--arch", network, "--dataset", dataset, "--epochs", str(recipe.epochs), "--batch-size", str(recipe.batch),
            *recipe.optimiser.arguments(), *recipe.schedule.arguments(), "--crop-padding", str(recipe.crop_padding),
            *["--flip"] * recipe.flip, "--seeds", ",".join(map(str, recipe.seeds)), "--subset", str(recipe.train)]


def augmented(padded: Tensor, chosen: Tensor, size: tuple[int, int], recipe: Recipe, generator: torch.Generator) -> Tensor:
    """A crop at a random place of each chosen image (N, H + 2 p, W + 2 p, C), mirrored by chance; as (N, C, H, W)."""
    count = len(chosen)
    rows, columns = torch.arange(size[0]).expand(count, -1), torch.arange(size[1]).expand(count, -1)
    if recipe.flip:
        mirrored = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, size[1] - 1 - columns, columns)
    places = 2 * recipe.crop_padding + 1
    rows = rows + torch.randint(places, (count, 1), generator=generator)
    columns = columns + torch.randint(places, (count, 1), generator=generator)
    return padded[chosen[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def train(network_name: str, recipe: Recipe, data: images.Images, seed: int) -> tuple[float, float, float]:
    """Trains in PyTorch; test accuracy in percent, loss of the last epoch, seconds of training."""
    count = recipe.train or len(data.train)
    mean, deviation = (torch.from_numpy(x) for x in images.normalisation(data.train[:count]))
    labels = torch.from_numpy(data.train_labels[:count].astype(np.int64))
    normal = (torch.from_numpy(data.train[:count].astype(np.float32)) - mean) / deviation
    size = normal.shape[1:3]
    p = recipe.crop_padding
    padded = F.pad(normal, (0, 0, p, p, p, p))  # zeros after normalisation
    network = Network(load_architecture(network_name)).to(memory_format=torch.channels_last)
    network.initialise(seed)
    stepper = Stepper(network, recipe.optimiser)
    generator = torch.Generator().manual_seed(seed)
    per_epoch = -(-count // recipe.batch)
    step, loss_sum, start = 0, 0.0, time.perf_counter()
    for epoch in range(recipe.epochs):
        network.train()
        order = torch.randperm(count, generator=generator)
        loss_sum = 0.0
        for first in range(0, count, recipe.batch):
            chosen = order[first:first + recipe.batch]
            batch = augmented(padded, chosen, size, recipe, generator)
            network.zero_grad()
            loss = F.cross_entropy(network(batch), labels[chosen])
            loss.backward()
            stepper.step(recipe.schedule.rate(recipe.optimiser.learning_rate, step, per_epoch, per_epoch * recipe.epochs))
            loss_sum += loss.item() * len(chosen)
            step += 1
        print(f"pytorch {network_name} seed {seed} epoch {epoch + 1}: loss {loss_sum / count:.4f}, "
              f"{time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - start
    network.eval()
    right = 0
    with torch.no_grad():
        for first in range(0, len(data.test), 500):
            x = (torch.from_numpy(data.test[first:first + 500].astype(np.float32)) - mean) / deviation
            predicted = network(x.permute(0, 3, 1, 2)).argmax(1).numpy()
            right += int((predicted == data.test_labels[first:first + 500]).sum())
    return 100 * right / len(data.test), loss_sum / count, seconds


def compare(network: str, recipe: Recipe, ours_file: Path, results: Path) -> bool:
    ours = json.loads(ours_file.read_text(encoding="utf-8"))["candidates"] if ours_file.name != "none" else []
    data = load_images(network)
    samples = recipe.epochs * (recipe.train or len(data.train))
    rows = []
    for seed, candidate in zip(recipe.seeds, ours, strict=False):
        rows.append({"network": network, "framework": "nasturtium", "seed": seed, "epochs": recipe.epochs,
                     "test_accuracy": 100 * candidate["test_accuracy"], "train_loss": candidate["train_loss"],
                     "seconds": candidate["seconds"], "images_per_second": samples / candidate["seconds"]})
    for seed in recipe.peer_seeds:
        accuracy, loss, seconds = train(network, recipe, data, seed)
        rows.append({"network": network, "framework": "pytorch", "seed": seed, "epochs": recipe.epochs,
                     "test_accuracy": accuracy, "train_loss": loss, "seconds": seconds, "images_per_second": samples / seconds})
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"{network}.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    shown = shlex.join(command(network, recipe)).replace(str(images.cifar10_folder()), "$NASTURTIUM_SHARED_DATA/images")
    write_provenance(path, {"recipe": shown})
    print(f"{'network':9} {'framework':10} {'seed':>4} {'test %':>7} {'loss':>7} {'seconds':>8} {'images/s':>8}")
    for row in rows:
        print(f"{network:9} {row['framework']:10} {row['seed']:4} {row['test_accuracy']:7.2f} {row['train_loss']:7.4f} "
              f"{row['seconds']:8.1f} {row['images_per_second']:8.0f}")
    means = {}
    for framework in ("nasturtium", "pytorch"):
        values = [row["test_accuracy"] for row in rows if row["framework"] == framework]
        if values:
            means[framework] = statistics.mean(values)
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            print(f"{network:9} {framework:10} mean {means[framework]:7.2f} +- {spread:.2f}")
    if len(means) < 2:
        return False
    behind = means["pytorch"] - means["nasturtium"]
    good = means["nasturtium"] >= recipe.bar and behind <= recipe.gap
    print(f"{network}: PyTorch is ahead by {behind:.2f} points (bar {recipe.gap}); accuracy bar {recipe.bar or 'none'}: "
          f"{'ok' if good else 'MISSED'}")
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name in ("command", "compare"):
        verb = verbs.add_parser(name)
        verb.add_argument("network", choices=RECIPES)
        if name == "compare":
            verb.add_argument("ours", type=Path)
            verb.add_argument("results", type=Path)
        verb.add_argument("--epochs", type=int)
        verb.add_argument("--train", type=int)
        for option in ("--seeds", "--peer-seeds"):
            verb.add_argument(option, type=lambda text: tuple(int(seed) for seed in text.split(",")))
    options = parser.parse_args()
    recipe = RECIPES[options.network]
    changes = {name: getattr(options, name) for name in ("epochs", "train", "seeds", "peer_seeds") if getattr(options, name) is not None}
    recipe = replace(recipe, **changes)
    if options.verb == "command":
        print(shlex.join(command(options.network, recipe)))
    elif not compare(options.network, recipe, options.ours, options.results):
        sys.exit(1)


if __name__ == "__main__":
    main()

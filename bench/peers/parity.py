# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Nasturtium against PyTorch, step by step, from the same weights on the same images. Run by parity.sh:

  parity.py prepare FOLDER [CASE...]   writes data, initial weights and FOLDER/commands, one `nasturtium` command a line
  parity.py compare FOLDER RESULTS     runs PyTorch, compares, prints the table, writes RESULTS; exit status 1 beyond a bar

`prepare --made-up-images` needs no data sets; `compare --device cuda` trains on the GPU, without TF32, and its bar in float32 is not
below twice what PyTorch's float32 is from its own float64.
"""

import argparse
import csv
import os
import shlex
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import h5py
import numpy as np
import torch
import torch.nn.functional as F

import images
from provenance import write_provenance
from recipe import Optimiser, Schedule, Stepper
from torch_network import NETWORKS, Network, load_architecture, load_weights, save_weights

STEPS = 50
BATCH = 32
EPOCHS = 2
TRAIN = 25 * BATCH + 13  # an epoch of 26 steps that ends with a batch of 13, so that 50 steps see it
EPOCH_STEPS = -(-TRAIN // BATCH)
TOTAL_STEPS = min(STEPS, EPOCHS * EPOCH_STEPS)
# Largest relative deviation of a loss, and of the batch-norm statistics in the norm of each tensor.
BARS = {"float32": 1e-4, "float64": 1e-9}
# Training is chaotic: at 0.01 PyTorch's float32 leaves its own float64 by 1e-1 within 50 steps of the networks with batch
# norm (its forward pass alone differs by 2e-6). In float32 the steps are small enough that rounding stays rounding.
RATE = 0.01
FLOAT32_RATES = {"lenet": 0.001, "cnn2": 3e-5, "vgg32": 3e-5, "resnet20": 3e-5, "odd": 0.001}


@dataclass(frozen=True)
class Case:
    name: str
    architecture: str
    data: str  # mnist, cifar
    precision: str
    optimiser: Optimiser = field(default_factory=Optimiser)
    label_smoothing: float = 0.0
    schedule: Schedule = field(default_factory=Schedule)


def cases() -> list[Case]:
    result = []
    for precision in BARS:
        for network in NETWORKS:
            data = "mnist" if network in ("mlp", "lenet", "cnn2") else "cifar"
            rate = FLOAT32_RATES.get(network, RATE) if precision == "float32" else RATE
            result.append(Case(f"{network}-{precision}", network, data, precision, Optimiser(learning_rate=rate)))
    every_op = "bench/peers/parity_net.json"
    result.append(Case("every-op-float32", every_op, "mnist", "float32", Optimiser(learning_rate=0.001)))
    base = Case("", every_op, "mnist", "float64", Optimiser(learning_rate=RATE))
    slow = Optimiser(learning_rate=0.001)
    optimisers = {
        "sgd-plain": replace(base.optimiser, momentum=0.0),
        "sgd-momentum": base.optimiser,
        "sgd-nesterov": replace(base.optimiser, nesterov=True),
        "sgd-decay": replace(base.optimiser, weight_decay=1e-2),
        "sgd-decoupled-decay": replace(base.optimiser, weight_decay=1e-2, decoupled=True),
        "sgd-clipped": replace(base.optimiser, clip_norm=0.3),
        "adam": replace(slow, kind="adam"),
        "adam-decay": replace(slow, kind="adam", weight_decay=1e-2),
        "adamw": replace(slow, kind="adamw", weight_decay=1e-2),
        "rmsprop": replace(slow, kind="rmsprop", momentum=0.0),
        "rmsprop-momentum": replace(slow, kind="rmsprop", weight_decay=1e-3, learning_rate=0.0001),
    }
    result += [replace(base, name=name, optimiser=options) for name, options in optimisers.items()]
    result.append(replace(base, name="label-smoothing", label_smoothing=0.1))
    schedules = {
        "warm-up-step": Schedule("step", warmup_epochs=0.5, step_epochs=0.7, gamma=0.3),
        "warm-up-cosine": Schedule("cosine", warmup_epochs=0.5, final_fraction=0.01),
        "one-cycle": Schedule("one_cycle"),
    }
    result += [replace(base, name=name, schedule=schedule) for name, schedule in schedules.items()]
    return result


def source_images(name: str, folder: Path, made_up: bool) -> images.Images:
    if made_up:
        return images.made_up(*((32, 32, 3) if name == "cifar" else (28, 28, 1)), TRAIN, 100)
    return images.cifar10_subset() if name == "cifar" else images.fashion_mnist(folder.parent / "fashion-mnist")


def prepare(folder: Path, names: list[str], made_up: bool = False) -> None:
    chosen = [case for case in cases() if not names or case.name in names or case.architecture in names]
    if not chosen:
        sys.exit(f"parity: no case is called {' or '.join(names)}; cases: {' '.join(case.name for case in cases())}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in {case.data for case in chosen}:
        source = source_images(name, folder, made_up)
        # Stored as float32 in [0, 1]: the path of foreign data, normalised by either side with the measured moments.
        part = images.Images((source.train[:TRAIN] / 255).astype(np.float32), source.train_labels[:TRAIN],
                             (source.test[:100] / 255).astype(np.float32), source.test_labels[:100])
        images.save_dataset(folder / f"{name}.h5", part)
    commands = []
    for case in chosen:
        network = Network(load_architecture(case.architecture))
        network.initialise(seed=1)
        save_weights(folder / f"{case.name}.init.h5", network)
        commands.append(["train", "--arch", case.architecture, "--init-weights", f"{folder}/{case.name}.init.h5",
                         "--dataset", f"hdf5:{folder}/{case.data}.h5", "--order", "sequential", "--batch-size", str(BATCH),
                         "--epochs", str(EPOCHS), "--steps", str(STEPS), "--precision", case.precision,
                         *case.optimiser.arguments(), *case.schedule.arguments(), "--label-smoothing", repr(case.label_smoothing),
                         "--log-steps", f"{folder}/{case.name}.steps.csv", "--export-weights", f"{folder}/{case.name}.final.h5",
                         "--out", f"{folder}/{case.name}.run"])
    (folder / "commands").write_text("".join(shlex.join(command) + "\n" for command in commands), encoding="utf-8")
    (folder / "cases").write_text("\n".join(case.name for case in chosen), encoding="utf-8")


def pytorch_run(case: Case, folder: Path, dtype: torch.dtype, device: str = "cpu") -> tuple[list[float], dict[tuple[str, str], np.ndarray]]:
    """The losses of all steps, before each update, and the final weights."""
    with h5py.File(folder / f"{case.data}.h5", "r") as file:
        stored, labels = file["train/images"][()], torch.from_numpy(file["train/labels"][()]).long()
    mean, deviation = images.normalisation(stored)
    real = np.float32 if dtype == torch.float32 else np.float64
    values = torch.from_numpy((stored.astype(real) - mean) / deviation.astype(real)).to(dtype).permute(0, 3, 1, 2).contiguous().to(device)
    labels = labels.to(device)
    network = Network(load_architecture(case.architecture)).to(dtype)
    network.set_weights(load_weights(folder / f"{case.name}.init.h5"))
    network.to(device).train()
    stepper = Stepper(network, case.optimiser)
    losses: list[float] = []
    while len(losses) < STEPS:
        for first in range(0, TRAIN, BATCH):
            if len(losses) == STEPS:
                break
            network.zero_grad()
            logits = network(values[first:first + BATCH])
            loss = F.cross_entropy(logits, labels[first:first + BATCH], label_smoothing=case.label_smoothing)
            loss.backward()
            stepper.step(case.schedule.rate(case.optimiser.learning_rate, len(losses), EPOCH_STEPS, TOTAL_STEPS))
            losses.append(loss.item())
    return losses, network.cpu().weights()


def nasturtium_run(case: Case, folder: Path) -> tuple[list[float], dict[tuple[str, str], np.ndarray]]:
    with open(folder / f"{case.name}.steps.csv", encoding="utf-8", newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    if len(losses) != STEPS:
        sys.exit(f"parity: {folder}/{case.name}.steps.csv has {len(losses)} steps, not {STEPS}")
    return losses, load_weights(folder / f"{case.name}.final.h5")


def deviations(a: list[float], b: list[float]) -> np.ndarray:
    """Relative, per step; infinite where a loss is not finite."""
    x, y = np.array(a), np.array(b)
    return np.where(np.isfinite(x) & np.isfinite(y), np.abs(x - y) / np.abs(y), np.inf)


def weights_deviation(a: dict[tuple[str, str], np.ndarray], b: dict[tuple[str, str], np.ndarray]) -> float:
    """|a - b| / |b| of all trainable weights as one vector: biases before a batch norm are rounding noise, alone."""
    keys = [key for key in b if not key[1].startswith("moving_")]
    difference = sum(np.square(a[key].astype(np.float64) - b[key]).sum() for key in keys)
    return float(np.sqrt(difference / sum(np.square(b[key].astype(np.float64)).sum() for key in keys)))


def statistics_deviation(a: dict[tuple[str, str], np.ndarray], b: dict[tuple[str, str], np.ndarray]) -> float:
    """The largest |a - b| / |b| of a running mean or variance; 0 without batch norm."""
    keys = [key for key in b if key[1].startswith("moving_")]
    return max((float(np.linalg.norm(a[key] - b[key]) / np.linalg.norm(b[key])) for key in keys), default=0.0)


def compare(folder: Path, results: Path, device: str = "cpu") -> bool:
    results.mkdir(parents=True, exist_ok=True)
    names = (folder / "cases").read_text(encoding="utf-8").split("\n")
    rows, steps, passed = [], [], True
    print(f"{'case':22} {'precision':9} {'rate':>6} {'loss, first..last':>17} {'max deviation':>13} {'step':>4} {'weights':>8} "
          f"{'statistics':>10} {'own float32':>11} {'bar':>6}  verdict")
    for case in (case for case in cases() if case.name in names):
        ours, our_weights = nasturtium_run(case, folder)
        theirs, their_weights = pytorch_run(case, folder, torch.float32 if case.precision == "float32" else torch.float64, device)
        deviation = deviations(ours, theirs)
        weights = weights_deviation(our_weights, their_weights)
        statistics = statistics_deviation(our_weights, their_weights)
        bar = BARS[case.precision]
        # How far PyTorch's float32 is from its own float64: what rounding alone makes of these steps.
        own = ""
        if case.precision == "float32":
            exact, _ = pytorch_run(case, folder, torch.float64, device)
            rounding = float(deviations(theirs, exact).max())
            own = f"{rounding:.1e}"
            if device == "cuda" and np.isfinite(rounding):
                bar = max(bar, 2 * rounding)  # sums run in an order of their own there, in nasturtium and in PyTorch
        good = bool(deviation.max() <= bar and statistics <= bar)
        passed = passed and good
        worst = int(deviation.argmax())
        print(f"{case.name:22} {case.precision:9} {case.optimiser.learning_rate:6g} {theirs[0]:8.4f} {theirs[-1]:8.4f} {deviation.max():13.1e} {worst:4} "
              f"{weights:8.1e} {statistics:10.1e} {own:>11} {bar:6.0e}  {'ok' if good else 'BEYOND THE BAR'}", flush=True)
        rows.append({"case": case.name, "precision": case.precision, "optimiser": case.optimiser.kind,
                     "learning_rate": case.optimiser.learning_rate, "batch": BATCH, "steps": STEPS,
                     "max_loss_deviation": deviation.max(), "at_step": worst, "weights_deviation": weights,
                     "statistics_deviation": statistics, "pytorch_float32_from_float64": own, "bar": bar, "ok": int(good)})
        steps += [{"case": case.name, "step": n, "nasturtium": a, "pytorch": b, "relative_deviation": d}
                  for n, (a, b, d) in enumerate(zip(ours, theirs, deviation, strict=True))]
    for name, table in (("summary", rows), ("steps", steps)):
        path = results / f"{name}.csv"
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, table[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(table)
        write_provenance(path, {"device": torch.cuda.get_device_name() if device == "cuda" else "cpu", "nasturtium": (folder / "nasturtium.json").read_text(encoding="utf-8")
                                if (folder / "nasturtium.json").exists() else "unknown"})
    return passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("prepare")
    verb.add_argument("folder", type=Path)
    verb.add_argument("cases", nargs="*")
    verb.add_argument("--made-up-images", action="store_true", help="random patterns instead of Fashion-MNIST and CIFAR-10")
    verb = verbs.add_parser("compare")
    verb.add_argument("folder", type=Path)
    verb.add_argument("results", type=Path)
    verb.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of PyTorch")
    options = parser.parse_args()
    if options.verb == "prepare":
        torch.use_deterministic_algorithms(True)
        prepare(options.folder, options.cases, options.made_up_images)
        return
    on_gpu = options.device == "cuda"
    if on_gpu and not torch.cuda.is_available():
        sys.exit("parity: PyTorch sees no GPU")
    if on_gpu:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what PyTorch wants for repeatable products
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    # On a GPU some operations have no repeatable form; a warning is enough there.
    torch.use_deterministic_algorithms(True, warn_only=on_gpu)
    if not compare(options.folder, options.results, options.device):
        sys.exit(1)


if __name__ == "__main__":
    main()

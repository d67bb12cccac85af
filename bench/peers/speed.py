# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whole training steps of nasturtium and of PyTorch, in interleaved rounds. Run by speed.sh.

A step: zero the gradients, forward, cross-entropy, backward, SGD with momentum 0.9, on one batch in memory. PyTorch runs
in this process, as its users write it (symmetric padding, ReLU in place), in every variant of memory layout and optimiser;
after a trial round the two fastest stay, and the faster of them at the end counts. Ours starts from bytes and
normalises them in the step; PyTorch's batch is normalised already.
"""

import argparse
import csv
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from provenance import provenance, write_provenance
from torch_network import NETWORKS, Network, load_architecture
from turns import Server, ratio, spread

LAYOUTS = {"nchw": torch.contiguous_format, "channels-last": torch.channels_last}
OPTIMISERS = {"foreach": {"foreach": True}, "fused": {"fused": True}}


def pytorch_step(name: str, batch: int, layout: str, optimiser: str, compiled: bool = False) -> Callable[[], None]:
    """One training step of a fresh network on a batch of its own."""
    torch.manual_seed(1)
    architecture = load_architecture(name)
    size = architecture["input"]
    network = Network(architecture, idiomatic=True)
    network.initialise(seed=1)
    network = network.to(memory_format=LAYOUTS[layout]).train()
    x = torch.randn(batch, size["channels"], size["height"], size["width"]).contiguous(memory_format=LAYOUTS[layout])
    labels = torch.randint(architecture["output"]["classes"], (batch,))
    update = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, **OPTIMISERS[optimiser])
    forward = torch.compile(network) if compiled else network

    def step() -> None:
        update.zero_grad()
        F.cross_entropy(forward(x), labels).backward()
        update.step()

    return step


def seconds_per_step(step: Callable[[], None], seconds: float) -> float:
    """As bench::seconds_per_call: two steps warm up, two estimate, the rest of about `seconds` counts."""

    def timed(steps: int) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        return time.perf_counter() - start

    timed(2)
    steps = max(2, math.ceil(seconds / (timed(2) / 2)))
    return timed(steps) / steps


def measure(name: str, batch: int, server: Server, rounds: int, seconds: float, compiled: bool) -> dict[str, object]:
    variants = {f"{layout}, {optimiser}": pytorch_step(name, batch, layout, optimiser)
                for layout in LAYOUTS for optimiser in OPTIMISERS}
    for step in variants.values():
        seconds_per_step(step, seconds / 4)  # first calls create oneDNN's primitives
    trial = {key: seconds_per_step(step, seconds / 2) for key, step in variants.items()}
    best_two = sorted(trial, key=trial.__getitem__)[:2]
    if compiled:
        variants["compiled"] = pytorch_step(name, batch, "channels-last", "fused", compiled=True)
        variants["compiled"]()
        best_two.append("compiled")
    server.ask(name, batch, seconds / 4)
    ours: list[float] = []
    theirs: dict[str, list[float]] = {key: [] for key in best_two}
    for _ in range(rounds):
        ours.append(float(server.ask(name, batch, seconds)))
        for key, times in theirs.items():
            times.append(seconds_per_step(variants[key], seconds))
    eager = [key for key in theirs if key != "compiled"]
    best = min(eager, key=lambda key: statistics.median(theirs[key]))
    value, error = ratio(ours, theirs[best])
    row: dict[str, object] = {
        "network": name, "batch": batch, "rounds": rounds,
        "nasturtium_images_per_second": batch / statistics.median(ours),
        "nasturtium_spread": batch / statistics.median(ours) * spread(ours) / statistics.median(ours),
        "pytorch_images_per_second": batch / statistics.median(theirs[best]),
        "pytorch_spread": batch / statistics.median(theirs[best]) * spread(theirs[best]) / statistics.median(theirs[best]),
        "pytorch_variant": best, "ratio": value, "ratio_spread": error, "compiled_images_per_second": "", "ratio_to_compiled": ""}
    if compiled:
        row["compiled_images_per_second"] = batch / statistics.median(theirs["compiled"])
        row["ratio_to_compiled"] = ratio(ours, theirs["compiled"])[0]
    return row


def table(rows: list[dict[str, object]]) -> list[str]:
    """Markdown."""
    compiled = any(row["ratio_to_compiled"] != "" for row in rows)
    lines = ["| network | batch | nasturtium, images/s | PyTorch, images/s | its best variant | ratio |" + " to compiled |" * compiled,
             "|---|--:|--:|--:|---|--:|" + "--:|" * compiled]
    for row in rows:
        line = (f"| {row['network']} | {row['batch']} | {row['nasturtium_images_per_second']:,.0f} | "
                f"{row['pytorch_images_per_second']:,.0f} | {row['pytorch_variant']} | {row['ratio']:.2f} ± {row['ratio_spread']:.2f} |")
        lines.append(line + (f" {row['ratio_to_compiled']:.2f} |" if compiled else ""))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="Training steps side by side with PyTorch.")
    parser.add_argument("server", type=Path, help="folder with the FIFOs of step_server")
    parser.add_argument("results", type=Path)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--batches", type=lambda text: [int(x) for x in text.split(",")], default=[32, 128])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--compiled", action="store_true", help="torch.compile as well (minutes of compilation)")
    options = parser.parse_args()
    server = Server.at(options.server)
    description = server.ask("describe")
    rows = []
    for name in options.networks:
        for batch in options.batches:
            row = measure(name, batch, server, options.rounds, options.seconds, options.compiled)
            rows.append(row)
            print(f"{name:9} batch {batch:4}: nasturtium {row['nasturtium_images_per_second']:9,.0f}, PyTorch "
                  f"{row['pytorch_images_per_second']:9,.0f} images/s ({row['pytorch_variant']}), ratio {row['ratio']:.2f} "
                  f"± {row['ratio_spread']:.2f}", file=sys.stderr, flush=True)
    ratios = [float(row["ratio"]) for row in rows]
    summary = [f"Geometric mean of the ratios: {statistics.geometric_mean(ratios):.2f}; smallest {min(ratios):.2f}.", ""]
    text = "\n".join(["# Training steps, nasturtium and PyTorch side by side", "", *table(rows), "", *summary,
                      f"Median ± half the interquartile range of {options.rounds} interleaved rounds of {options.seconds:g} s. "
                      f"A ratio above 1: nasturtium is faster.", "",
                      *(f"* {key}: {value}" for key, value in (provenance() | {"nasturtium": description}).items())]) + "\n"
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / "steps.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_provenance(path, {"nasturtium": description})
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()

# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Optimisers and learning-rate schedules of nasturtium, expressed in PyTorch."""

import math
from dataclasses import dataclass

import torch

from torch_network import Network


@dataclass(frozen=True)
class Optimiser:
    """nn::OptimiserOptions (nn/options.hpp)."""

    kind: str = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    decoupled: bool = False
    clip_norm: float = 0.0

    def arguments(self) -> list[str]:
        """The same as options of `nasturtium train`."""
        result = ["--optimiser", self.kind, "--learning-rate", repr(self.learning_rate), "--momentum", repr(self.momentum),
                  "--weight-decay", repr(self.weight_decay), "--clip-norm", repr(self.clip_norm)]
        return result + ["--nesterov"] * self.nesterov + ["--decoupled"] * self.decoupled


class Stepper:
    """A PyTorch optimiser with weight decay on kernels alone, and clipping by the norm of all gradients."""

    def __init__(self, network: Network, options: Optimiser):
        self.options = options
        self.kernels = network.kernels()
        self.parameters = list(network.parameters())
        self.decoupled = options.decoupled or options.kind == "adamw"
        others = [p for p in self.parameters if all(p is not kernel for kernel in self.kernels)]
        decay = 0.0 if self.decoupled else options.weight_decay
        groups = [{"params": self.kernels, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
        rate = options.learning_rate
        match options.kind:
            case "sgd":
                self.optimiser = torch.optim.SGD(groups, rate, momentum=options.momentum, nesterov=options.nesterov)
            case "adam" | "adamw":
                self.optimiser = torch.optim.Adam(groups, rate)
            case "rmsprop":
                self.optimiser = torch.optim.RMSprop(groups, rate, momentum=options.momentum)
            case _:
                raise ValueError(f"unknown optimiser '{options.kind}'")

    def step(self, rate: float) -> None:
        """One update with the gradients that are there."""
        if self.options.clip_norm > 0:
            # torch.nn.utils.clip_grad_norm_ adds 1e-6 to the norm; nasturtium does not.
            norm = torch.sqrt(sum(p.grad.square().sum() for p in self.parameters))
            if norm > self.options.clip_norm:
                for p in self.parameters:
                    p.grad.mul_(self.options.clip_norm / norm)
        if self.decoupled:
            with torch.no_grad():
                for kernel in self.kernels:
                    kernel.mul_(1 - rate * self.options.weight_decay)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()


@dataclass(frozen=True)
class Schedule:
    """nn::ScheduleOptions (nn/options.hpp)."""

    kind: str = "constant"
    warmup_epochs: float = 0.0
    step_epochs: float = 10.0
    gamma: float = 0.1
    final_fraction: float = 0.0
    peak_fraction: float = 0.3
    initial_fraction: float = 0.04

    def arguments(self) -> list[str]:
        """The same as options of `nasturtium train`."""
        return ["--schedule", self.kind, "--warmup-epochs", repr(self.warmup_epochs), "--step-epochs", repr(self.step_epochs),
                "--gamma", repr(self.gamma), "--final-fraction", repr(self.final_fraction),
                "--peak-fraction", repr(self.peak_fraction), "--initial-fraction", repr(self.initial_fraction)]

    def rate(self, peak: float, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """nn::learning_rate_at: the rate of a step, counted from 0."""
        warmup = self.warmup_epochs * steps_per_epoch
        rise = min(1.0, (step + 1) / warmup) if warmup > 0 else 1.0
        match self.kind:
            case "constant":
                factor = 1.0
            case "step":
                factor = self.gamma ** math.floor(step / (self.step_epochs * steps_per_epoch))
            case "cosine":
                factor = 1.0 if step < warmup else anneal(1, self.final_fraction, (step - warmup) / (total_steps - warmup))
            case "one_cycle":
                top = self.peak_fraction * total_steps - 1
                if step < top:
                    factor = anneal(self.initial_fraction, 1, step / top)
                else:
                    factor = anneal(1, self.final_fraction, (step - top) / (total_steps - 1 - top))
            case _:
                raise ValueError(f"unknown schedule '{self.kind}'")
        return peak * rise * factor


def anneal(first: float, last: float, part: float) -> float:
    """From `first` to `last` along half a cosine."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * part))

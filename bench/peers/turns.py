# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Two measuring processes that take turns: the asking side of turns.hpp, and the statistics of interleaved rounds."""

import statistics
from pathlib import Path
from typing import IO


class Server:
    """A process that answers a line with a line. It reads from FIFOs where it runs in the other environment."""

    def __init__(self, requests: IO[str], answers: IO[str]):
        self.requests, self.answers = requests, answers

    @classmethod
    def at(cls, folder: Path) -> "Server":
        """The process that reads folder/requests and writes folder/answers; both ends open in this order."""
        requests = open(folder / "requests", "w", encoding="utf-8")
        return cls(requests, open(folder / "answers", encoding="utf-8"))

    def ask(self, *words: object) -> str:
        self.requests.write(" ".join(map(str, words)) + "\n")
        self.requests.flush()
        answer = self.answers.readline().strip()
        if not answer or answer.startswith("error"):
            raise RuntimeError(f"asked for '{' '.join(map(str, words))}': {answer or 'the process is gone'}")
        return answer


def spread(values: list[float]) -> float:
    """Half the interquartile range."""
    if len(values) < 2:
        return 0.0
    quartiles = statistics.quantiles(values, n=4, method="inclusive")
    return (quartiles[2] - quartiles[0]) / 2


def ratio(ours: list[float], theirs: list[float]) -> tuple[float, float]:
    """Median and spread of the rounds' own ratios theirs / ours (of seconds: how many times faster ours is)."""
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(ratios), spread(ratios)

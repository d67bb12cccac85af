# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the estimated training times are worth to a search: how good they are, and how long the generations of a search
take on several workers when candidates begin as they were asked for, or the longest expected first. Run by run.sh.

usage: search_order.py PROGRAM WORK_FOLDER RESULTS_FOLDER [SEARCH OPTIONS...]

Real searches train one candidate at a time on one thread; from the times of theirs the schedules are reckoned, so that
neighbours on a small machine do not disturb them. A worker takes the next candidate when it is free, and a generation
begins when the one before has ended.
"""

import csv
import heapq
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

SEARCHES = {"evocnn": ["--space", "evocnn", "--algorithm", "evocnn", "--population", "20"],
            "nsga-net": ["--space", "nsga-net-narrow", "--algorithm", "nsga-net", "--population", "20"],
            "random": ["--space", "menndl", "--algorithm", "random"]}
WORKERS = (2, 4, 8, 16)


def length(times: list[float], workers: int) -> float:
    """Of a list schedule."""
    free = [0.0] * workers
    for time in times:
        heapq.heappush(free, heapq.heappop(free) + time)
    return max(free)


def ranks(values: list[float]) -> list[float]:
    order = sorted(range(len(values)), key=values.__getitem__)
    result = [0.0] * len(values)
    for rank, i in enumerate(order):
        result[i] = float(rank)
    return result


def run(*words: str) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def write(path: Path, head: list[str], lines: list[list]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *lines])


def main() -> int:
    if len(sys.argv) < 4:
        print(__doc__, file=sys.stderr)
        return 2
    program, work, results, options = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]
    model = work / "estimator.json"
    run(program, "estimate", "evolve", "--strategy", "random", "--networks", "1000", "--founders", "1000", "--threads", "1", "--out", str(work / "timings"))
    run(program, "estimate", "fit", str(work / "timings/timings.jsonl"), "--out", str(model))
    candidates, schedules, errors = [], [], []
    provenance = {}
    for name, words in SEARCHES.items():
        folder = work / name
        run(program, "search", *words, "--dataset", "fashion-mnist", "--subset", "2000", "--validation", "0.25", "--epochs", "3", "--evaluations", "60",
            "--threads", "1", "--estimator", str(model), "--out", str(folder), *options)
        provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        with open(folder / "trials.csv", encoding="utf-8", newline="") as file:
            trials = [row for row in csv.DictReader(file) if row["status"] == "completed"]
        generations: dict[int, list[tuple[float, float]]] = {}
        for row in sorted(trials, key=lambda row: int(row["trial"])):
            expected, measured = float(row["expected_seconds"]), float(row["seconds"])
            generations.setdefault(int(row["generation"]), []).append((expected, measured))
            candidates.append([name, row["trial"], row["generation"], row["expected_seconds"], row["seconds"]])
        pairs = [pair for generation in generations.values() for pair in generation]
        off = sorted(abs(expected - measured) / measured for expected, measured in pairs)
        spearman = statistics.correlation(*(ranks([pair[i] for pair in pairs]) for i in (0, 1)))
        errors.append([name, len(pairs), f"{statistics.median(off):.4f}", f"{off[int(0.9 * (len(off) - 1))]:.4f}", f"{spearman:.4f}"])
        for workers in WORKERS:
            total = lambda key: sum(length([m for _, m in (sorted(g, key=key) if key else g)], workers) for g in generations.values())
            bound = sum(max(sum(m for _, m in g) / workers, max(m for _, m in g)) for g in generations.values())
            schedules.append([name, workers, f"{total(None):.3f}", f"{total(lambda pair: -pair[0]):.3f}", f"{total(lambda pair: -pair[1]):.3f}", f"{bound:.3f}"])
    results.mkdir(parents=True, exist_ok=True)
    write(results / "candidates.csv", ["search", "trial", "generation", "expected_seconds", "measured_seconds"], candidates)
    write(results / "estimates.csv", ["search", "candidates", "median_error", "p90_error", "spearman"], errors)
    write(results / "schedules.csv", ["search", "workers", "as_asked_seconds", "longest_expected_first_seconds", "longest_first_seconds", "bound_seconds"],
          schedules)
    provenance["command_line"] = "./nasturtium bench search-order"
    provenance["git"] = os.environ.get("NASTURTIUM_GIT", "unknown")
    for name in ("candidates", "estimates", "schedules"):
        (results / f"{name}.provenance.json").write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")
    for line in (*errors, *schedules):
        print(*line)
    return 0


if __name__ == "__main__":
    sys.exit(main())

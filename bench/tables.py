#!/usr/bin/env python3
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Fills the tables of the documents from the files under results/: what stands between `<!-- table NAME -->` and
`<!-- end -->` is written anew.

usage: bench/tables.py [--check]     with --check nothing is written; exit status 1 where a document differs
"""

import csv
import io
import json
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
DOCUMENTS = [ROOT / "README.md", RESULTS / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LAYERS = {"c01": "3->32 @32, stem", "c02": "1->32 @28, stem", "c15": "1->20 @28, 5x5, stem", "c03": "16->16 @32", "c04": "32->32 @32",
          "c05": "64->64 @16", "c06": "128->128 @8", "c07": "256->256 @8", "c08": "64->64 @16, 1x1", "c09": "24->40 @16",
          "c10": "20->50 @12, 5x5 valid", "c11": "20->50 @12, 5x5", "c26": "40->50 @16, 5x5", "c13": "16->32 @32, stride 2",
          "c14": "32->64 @16, stride 2", "c16": "16->32 @32, 1x1, stride 2", "c12d": "64 @16, depthwise"}
PASSES = ("forward", "backward_data", "backward_weights")


def rows(name: str) -> list[dict[str, str]]:
    with open(RESULTS / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table(head: list[str], lines: list[list[str]], text_columns: int = 1) -> list[str]:
    rule = ["---"] * text_columns + ["--:"] * (len(head) - text_columns)
    return ["| " + " | ".join(line) + " |" for line in (head, rule, *lines)]


def steps() -> list[str]:
    lines = [[r["network"], r["batch"], f"{float(r['nasturtium_images_per_second']):,.0f}",
              f"{float(r['pytorch_images_per_second']):,.0f}",
              f"{float(r['ratio']):.2f} ± {float(r['ratio_spread']):.2f}"] for r in rows("speed/steps.csv")]
    ratios = [float(r["ratio"]) for r in rows("speed/steps.csv")]
    return [*table(["network", "batch", "nasturtium", "PyTorch", "ratio"], lines), "",
            f"Geometric mean of the ratios {statistics.geometric_mean(ratios):.2f}, smallest {min(ratios):.2f}."]


def kernels() -> list[str]:
    """Ratio to oneDNN's faster layout, batch 32 and 128."""
    found = {(r["layer"], r["batch"], r["pass"]): float(r["ratio"]) for r in rows("speed/kernels.csv")}
    cell = lambda layer, one: " / ".join(f"{found[layer, b, one]:.2f}" if (layer, b, one) in found else "-" for b in ("32", "128"))
    return table(["layer", *(p.replace("_", "-") for p in PASSES)], [[f"{n} {text}", *(cell(n, p) for p in PASSES)] for n, text in LAYERS.items()])


def own() -> list[str]:
    """Percent of the multiply-add peak of the same run, batch 32."""
    found = {tuple(r["name"].split("/")): float(r["%peak"]) for r in rows("speed/kernels-own.csv")}
    def cell(layer: str, one: str) -> str:
        values = [v for k, v in found.items() if k[:4] == ("conv", layer, one, "mb32")]
        return f"{max(values):.0f}" if values else "-"
    return table(["layer", *(p.replace("_", "-") for p in PASSES)], [[f"{n} {text}", *(cell(n, p) for p in PASSES)] for n, text in LAYERS.items()])


def gemm() -> list[str]:
    """Speed over OpenBLAS' in the same run."""
    found = {r["name"]: float(r["GFLOP/s"]) for r in rows("speed/kernels-own.csv")}
    lines = []
    for kind, shape, batches in [("dense", f"f{i:02}", ("mb32", "mb128")) for i in range(1, 10)] + [
            ("matmul", s, (f"mb{s.split('x')[0]}",)) for s in ("256x3072x512", "128x3136x128", "256x256x256", "512x512x512", "1024x1024x1024")]:
        cells = []
        for one in PASSES:
            names = [f"{kind}/{shape}/{one}/{batch}/" for batch in batches]
            cells.append(" / ".join(f"{found[n + 'native'] / found[n + 'cblas']:.2f}" for n in names))
        lines.append([f"{kind} {shape}", *cells])
    return table(["shape", *(p.replace("_", "-") for p in PASSES)], lines)


def accuracy() -> list[str]:
    lines = []
    for path in sorted((ROOT / "results/accuracy").glob("*.csv")):
        per: dict[str, list[float]] = {}
        for r in rows(f"accuracy/{path.name}"):
            per.setdefault(r["framework"], []).append(float(r["test_accuracy"]))
        for framework, values in per.items():
            lines.append([path.stem, framework, " ".join(f"{v:.2f}" for v in values), f"{statistics.mean(values):.2f}"])
    return table(["network", "framework", "test accuracy % of each seed", "mean"], lines, 2)


def parity() -> list[str]:
    lines = [[r["case"], r["precision"], f"{float(r['max_loss_deviation']):.1e}", f"{float(r['statistics_deviation']):.1e}", r["bar"]]
             for r in rows("parity/summary.csv")]
    return table(["case", "precision", "loss", "batch-norm statistics", "bar"], lines, 2)


def demo() -> list[str]:
    """What the demo prints last, as it prints it."""
    columns = (("method", None), ("saved %", 1), ("factor", 2), ("MAE", 2), ("recall 10 %", 0), ("gap", 2), ("regret", 2))
    body = [[r[c] if d is None else f"{float(r[c]):.{d}f}" if r[c] else "" for c, d in columns]
            for r in rows("demo/replayed.csv") if ":" not in r["method"] and r["saved %"]]
    live = rows("demo/live.csv")[0]
    head = [c.replace("recall 10 %", "recall %") for c, _ in columns]
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    align = lambda line: "  ".join(t.ljust(w) if i == 0 else t.rjust(w) for i, (t, w) in enumerate(zip(line, widths))).rstrip()
    return ["```", "  ".join(t.ljust(w) for t, w in zip(head, widths)).rstrip(), "  ".join("-" * w for w in widths), *map(align, body), "```", "",
            f"and, with `nasturtium` stopping networks for real, {float(live['saved %']):.0f} % of the epochs saved, "
            f"{float(live['seconds to the end']):.0f} s become {float(live['seconds with engine']):.0f} s, and the best network reaches "
            f"{float(live['test with engine']):.1f} instead of {float(live['test to the end']):.1f} % on test images."]


def penguin_rows(name: str) -> list[dict[str, str]]:
    return [r for part in ("fashion-mnist", "cifar100") for r in rows(f"penguin/laptop/{part}/{name}.csv")]


def penguin() -> list[str]:
    """The methods, without the baselines at their stops; wall factors of the replays, from the recorded seconds."""
    key = lambda r: (r["search"], r["data set"], r["method"])
    wall = {key(r): r["wall factor"] for r in penguin_rows("timing")}
    lines = [[f"{r['search']}, {r['data set']}", r["method"], number(r["saved %"], 1), number(r["factor"], 2), number(wall.get(key(r), ""), 2),
              *(number(r[c], d) for c, d in (("MAE", 2), ("recall 10 %", 0), ("gap", 2), ("regret", 2), ("Spearman", 3), ("in 90 %", 0)))]
             for r in penguin_rows("replayed") if ":" not in r["method"] and r["saved %"]]
    return table(["search", "method", "saved %", "factor", "wall", "error", "recall %", "gap", "regret", "Spearman", "in 90 %"], lines, 2)


def number(text: str, digits: int) -> str:
    return f"{float(text):.{digits}f}" if text else ""


def transfer_scores() -> list[str]:
    lines = [[f"{r['task']}, {r['arm']}", r["seeds"], *(number(r[c], d) for c, d in (
        ("best", 2), ("top", 2), ("median", 2), ("gain of top", 2), ("p, Holm", 4), ("gain of median", 2), ("p of median", 4)))]
             for r in transfer_rows("scores")]
    return table(["task, arm", "seeds", "best", "top 5 / 3", "median", "gain of top", "p (Holm)", "gain of median", "p"], lines)


def transfer_rows(name: str) -> list[dict[str, str]]:
    return [r for part in ("fashion-mnist", "cifar10") for r in rows(f"weight-transfer/laptop/{part}/{name}.csv")]


def transfer_full() -> list[str]:
    lines = [[f"{r['task']}, {r['arm']}", *(number(r[c], d) for c, d in (
        ("R epochs", 1), ("O epochs", 1), ("T epochs", 1), ("R/T", 2), ("O/T", 2), ("R test %", 2), ("T test %", 2), ("T - R", 2), ("p, T worse", 3)))]
             for r in transfer_rows("full")]
    return table(["task, arm", "R epochs", "O", "T", "R/T", "O/T", "R test %", "T test %", "T - R", "p, T worse"], lines)


def transfer_controls() -> list[str]:
    lines = [[f"{r['task']}, {r['arm']}", *(number(r[c], d) for c, d in (
        ("score of the top", 2), ("from scratch", 2), ("inflation", 2), ("lineage epochs", 2), ("scratch, lineage epochs", 2), ("gain over it", 2), ("p", 4)))]
             for r in transfer_rows("controls")]
    return table(["task, arm", "score of the top", "again from scratch", "inflation", "lineage epochs", "scratch, so many epochs", "gain over it", "p"], lines)


def transfer_cost() -> list[str]:
    lines = [[f"{r['task']}, {r['arm']}", *(number(r[c], d) for c, d in (
        ("warm starts %", 0), ("all layers %", 0), ("lineage", 1), ("ms/evaluation", 0), ("match ms", 3), ("load ms", 2), ("store ms", 2), ("overhead %", 2), ("ratio", 2)))]
             for r in transfer_rows("overhead") if r["arm"] != "none"]
    return table(["task, arm", "warm %", "all layers %", "lineage", "ms/evaluation", "match ms", "load ms", "store ms", "overhead %", "whole files / stored"], lines)


def transfer_ranks() -> list[str]:
    lines = [[f"{r['task']}, {r['arm']}", r["candidates"], *(number(r[c], 3) for c in ("tau-b", "tau-b, short lineages", "tau-b, long lineages"))]
             for r in transfer_rows("ranks")]
    return table(["task, arm", "candidates", "tau-b", "short lineages", "long lineages"], lines)


def together() -> list[str]:
    lines = [[r["search"], r["seeds"], *(number(r[c], d) for c, d in (("epochs", 0), ("saved %", 1), ("seconds", 0), ("best measured", 2), ("median measured", 2)))]
             for r in rows("weight-transfer/laptop/fashion-mnist/together.csv")]
    return table(["search", "seeds", "epochs", "saved %", "seconds", "best measured", "median measured"], lines)


def penguin_live() -> list[str]:
    lines = [[f"{r['search']}, {r['data set']}", *(number(r[c], d) for c, d in (
        ("saved %", 1), ("seconds to the end", 0), ("seconds with engine", 0), ("wall factor", 2), ("best to the end", 2), ("best with engine", 2), ("test to the end", 2), ("test with engine", 2)))]
             for r in penguin_rows("live")]
    return table(["search", "saved %", "s to the end", "s with engine", "wall factor", "best to the end", "best with engine", "test to the end", "test with engine"], lines)


def ensembles_rows(name: str) -> list[dict[str, str]]:
    return [r for part in ("fashion-mnist", "cifar100") for r in rows(f"ensembles/laptop/{part}/{name}.csv")]


def ensembles(name: str, columns: list[tuple[str, str, int]], keep=lambda row: True):
    """A table of the ensemble experiment, both data sets: (column, its title here, digits; -1: as it is)."""
    def made() -> list[str]:
        lines = [[r["data set"], *(r[c] if digits < 0 else number(r[c], digits) for c, _, digits in columns)] for r in ensembles_rows(name) if keep(r)]
        return table(["data set", *(title for _, title, _ in columns)], lines, 2)
    return made


def ensembles_serving() -> list[str]:
    """Per ensemble that was served: the fastest of the planned ones, and errors of prediction."""
    lines = []
    found = ensembles_rows("serving")
    for key in dict.fromkeys((r["data set"], r["ensemble"]) for r in found):
        own = [r for r in found if (r["data set"], r["ensemble"]) == key]
        plans = [r for r in own if r["plan"].startswith("plan")]
        best = max(plans, key=lambda r: float(r["samples/s"]))
        errors = [float(r["error %"]) for r in own if r["error %"]]
        lines.append([*key, best["models"], number(best["samples/s"], 0), number(best["ratio"], 2), number(best["achieved"], 2),
                      number(best["p50 ms"], 1), number(best["p99 ms"], 1), f"{statistics.median(errors):.1f}"])
    medians = [f"{part} {statistics.median(float(r['error %']) for r in found if r['error %'] and r['data set'] == part):.1f} %"
               for part in dict.fromkeys(r["data set"] for r in found)]
    return [*table(["data set", "no", "models", "samples/s", "/ best baseline", "/ fluid", "p50 ms", "p99 ms", "error of prediction %"], lines, 2), "",
            f"Median error over all plans and baselines: {', '.join(medians)}."]


def selection() -> list[str]:
    """A step of ensemble selection and one reading of its columns, of the same run."""
    times = {r["name"]: float(r["time_us"]) for r in rows("speed/selection-own.csv")}
    lines = []
    for name, step in times.items():
        if name.startswith("step/"):
            models, samples = (part.split(":")[1] for part in name.split("/")[1:3])
            read = times[name.replace("step/", "read_columns/")]
            lines.append([int(models), int(samples), step, read])
    return table(["models", "samples", "step, µs", "reading, µs", "ratio"],
                 [[f"{m:,}", f"{n:,}", f"{step:,.1f}", f"{read:,.1f}", f"{step / read:.2f}"] for m, n, step, read in sorted(lines, reverse=True)])


def ensemble_planner() -> list[str]:
    """Mean, worst twentieth and worst fraction of the optimum over the seeds; milliseconds of a plan."""
    found = {r["name"].split("/iterations:")[0]: r for r in rows("ensemble/planner.csv")}
    lines = []
    for suite in dict.fromkeys(name.split("/")[0] for name in found):
        cell = lambda method: " / ".join(number(found[f"{suite}/{method}"][c], 3) for c in ("mean", "worst_twentieth", "worst"))
        lines.append([suite, found[f"{suite}/local"]["problems"], *map(cell, ("local", "worst_fit", "round_robin", "longest_first")),
                      *(number(found[f"{suite}/{method}"]["time_ms"], 1) for method in ("local", "exact"))])
    return table(["suite", "problems", "`local`", "worst fit", "round robin", "longest first", "`local` ms", "`exact` ms"], lines)


def ensemble_runtime() -> list[str]:
    lines = [[r["name"].split("/")[1].replace("_", " "), number(r["samples/s"], 0), *(number(r[c], 2) for c in ("achieved/fluid", "achieved/segments", "ratio")),
              *(number(r[c], 1) if float(r["p50_ms"]) > 0 else "" for c in ("p50_ms", "p95_ms", "p99_ms"))] for r in rows("ensemble/runtime.csv")]
    return table(["plan", "samples/s", "/ fluid", "/ segments", "/ best baseline", "p50 ms", "p95 ms", "p99 ms"], lines)


def estimator_accuracy() -> list[str]:
    chosen = ("paper-mlp, short", "paper-mlp, rich", "log-linear, rich", "nnls-roofline, rich", "trees-ratio, physics", "ensemble5, physics", "li-linear, rich",
              "neusight-u, physics", "layer-sum, physics", "nasturtium, physics")
    found = {(r["estimator"], r["test set"][:1]): r for r in rows("time-estimator/laptop/accuracy.csv")}
    cell = lambda method, test, column, digits: number(found[method, test][column], digits)
    return table(["estimator", "(a) MAPE %", "p90 %", "Spearman", "(b) MAPE %", "p90 %", "(c) MAPE %", "p90 %"],
                 [[m, cell(m, "a", "MAPE %", 1), cell(m, "a", "p90 %", 1), cell(m, "a", "Spearman", 3), cell(m, "b", "MAPE %", 1),
                   cell(m, "b", "p90 %", 1), cell(m, "c", "MAPE %", 1), cell(m, "c", "p90 %", 1)] for m in chosen])


def estimator_strategies() -> list[str]:
    found = {(r["generator"], r["strategy"], r["estimator"], r["budget"]): r for r in rows("time-estimator/laptop/strategies.csv") if r["test set"].startswith("a")}
    def cell(key: tuple[str, str], method: str, budget: str) -> str:
        r = found[*key, method, budget]
        if not r["minus random"]:
            return number(r["MAPE %"], 1)
        return f"{number(r['MAPE %'], 1)} ({float(r['minus random']):+.1f}; {float(r['95 % low']):+.1f} to {float(r['95 % high']):+.1f})"
    keys = list(dict.fromkeys(k[:2] for k in found))
    return table(["generator", "strategy", "paper-mlp, short", "equal seconds", "paper-mlp, rich", "nasturtium"],
                 [[*key, cell(key, "paper-mlp, short", "count"), cell(key, "paper-mlp, short", "seconds"), cell(key, "paper-mlp, rich", "count"),
                   cell(key, "nasturtium, physics", "count")] for key in keys], 2)


def copied(name: str, columns: list[str], digits: list[int], text_columns: int = 1, keep=lambda row: True):
    """A table of results/ with some of its columns."""
    def made() -> list[str]:
        return table([c.rstrip() for c in columns], [[r[c] if d < 0 else number(r[c], d) for c, d in zip(columns, digits)] for r in rows(name) if keep(r)], text_columns)
    return made


def span(values, digits: int) -> str:
    """The smallest and the largest of them."""
    found = [float(v) for v in values if v]
    low, high = f"{min(found):.{digits}f}", f"{max(found):.{digits}f}"
    return low if low == high else f"{low} to {high}"


def penguin_claims() -> list[str]:
    """The published figures beside the spans of ours over searches and data sets."""
    def of(method: str, column: str, digits: int) -> str:
        return span((r[column] for r in penguin_rows("replayed") if r["method"] == method), digits)
    def replayed_wall(method: str) -> str:
        return span((r["wall factor"] for r in penguin_rows("timing") if r["method"] == method), 1)
    def live(column: str, digits: int) -> str:
        return span((r[column] for r in penguin_rows("live")), digits)
    searches = len(penguin_rows("live"))
    minutes = {part: sum(float(r["seconds to the end"]) + float(r["seconds with engine"]) for r in rows(f"penguin/laptop/{part}/live.csv")) / 60
               for part in ("fashion-mnist", "cifar100")}
    return [*table(["claim", "PEng4NN", "PENGUIN", "`penguin` here, replayed", "`nasturtium` here, replayed", "`nasturtium` here, live"], [
        ["epochs saved, %", "61-82", "", of("penguin", "saved %", 0), of("nasturtium", "saved %", 0), live("saved %", 0)],
        ["throughput, times", "2.5-5", "1.6-7.1", of("penguin", "factor", 1), of("nasturtium", "factor", 1), span((1 / (1 - float(r["saved %"]) / 100) for r in penguin_rows("live")), 1)],
        ["wall time, times shorter", "", "2.5-5.3", replayed_wall("penguin"), replayed_wall("nasturtium"), live("wall factor", 1)],
        ["true best in the predicted best, %", "74-97", "", of("penguin", "recall 10 %", 0), of("nasturtium", "recall 10 %", 0), ""],
        ["mean accuracy of the two sets differs by, points", "at most 0.7", "", of("penguin", "gap", 2), of("nasturtium", "gap", 2), ""]], 6), "",
        f"Smallest and largest of {searches} searches. Both searches, to the end and with the engine, took",
        f"{minutes['fashion-mnist']:.0f} minutes for the three of Fashion-MNIST and {minutes['cifar100']:.0f} for those of CIFAR-100, on one thread."]


def transfer_claims() -> list[str]:
    def of(task: str, name: str, column: str, digits: int) -> str:
        return span((r[column] for r in rows(f"weight-transfer/laptop/{task}/{name}.csv") if r["arm"] in ("lp", "lcs")), digits)
    claims = (("best candidates at equal epochs, gain in points", "better", "scores", "gain of top", 1), ("the same, Holm's p", "", "scores", "p, Holm", 3),
              ("full training of the best, times fewer epochs (R/T)", "1.4-1.5", "full", "R/T", 1), ("test accuracy after it, gain in points", "", "full", "T - R", 1),
              ("gain over as many epochs from scratch, points", "", "controls", "gain over it", 1))
    return table(["claim", "CLUSTER 2021", "Fashion-MNIST, `lp` and `lcs`", "CIFAR-10, `lp` and `lcs`"],
                 [[claim, published, *(of(task, name, column, digits) for task in ("fashion-mnist", "cifar10"))] for claim, published, name, column, digits in claims], 4)


def transfer_hours() -> list[str]:
    seconds = {}
    for task in ("fashion-mnist", "cifar10"):
        plan = re.search(r"(\d+) paired seeds, (\d+) candidates", (RESULTS / f"weight-transfer/laptop/{task}/tables.md").read_text(encoding="utf-8"))
        seconds[task] = int(plan[1]) * int(plan[2]) * sum(float(r["ms/evaluation"]) for r in rows(f"weight-transfer/laptop/{task}/overhead.csv")) / 1000
    return [f"The searches of all arms and seeds took {seconds['fashion-mnist'] / 60:.0f} minutes on Fashion-MNIST and {seconds['cifar10'] / 60:.0f} on CIFAR-10, "
            "on one thread; full training comes on top."]


def estimator_claims() -> list[str]:
    """How many of the strategies differ from random draws of the same generator, by their 95 % intervals, at equal count."""
    lines = []
    for method, text in (("paper-mlp, short", "`paper-mlp` on `short`, the reconstruction"), ("paper-mlp, rich", "`paper-mlp` on `rich`"), ("nasturtium, physics", "`nasturtium` on `physics`")):
        for generator in ("uniform", "skewed"):
            found = [r for r in rows("time-estimator/laptop/strategies.csv") if r["estimator"] == method and r["generator"] == generator
                     and r["test set"].startswith("a") and r["budget"] == "count" and r["minus random"]]
            better = sum(float(r["95 % high"]) < 0 for r in found)
            worse = sum(float(r["95 % low"]) > 0 for r in found)
            lines.append([text, generator, "better", str(better), str(len(found) - better - worse), str(worse)])
    return table(["estimator", "generator", "published: evolved is", "strategies that are better here", "no difference", "worse"], lines, 3)


# Of a measurement below results/: what it is, the page that shows it, and the launcher's name of the script that its provenance names.
MEASUREMENTS = {
    "accuracy/cnn2": ("the same recipe in PyTorch, accuracy reached", "reproduce-foundation.md#accuracy"),
    "accuracy/resnet20": ("the same recipe in PyTorch, accuracy reached", "reproduce-foundation.md#accuracy"),
    "cuda-gate/kernels": ("registers, spills and stack frames of the CUDA kernels as compiled", "performance.md#cuda-kernels-as-compiled"),
    "ensemble/planner": ("plans of allocation against known optima", "ensembles-serving.md#how-close-local-comes"),
    "ensemble/runtime": ("serving an ensemble, planned against the baselines", "ensembles-serving.md#measuring-it"),
    "parity/steps": ("fifty steps against PyTorch, every loss", "reproduce-foundation.md#parity"),
    "parity/summary": ("fifty steps against PyTorch, largest deviations", "reproduce-foundation.md#parity"),
    "search-order/candidates": ("candidates of three searches, expected and measured training times", "guide/search.md#estimated-training-times"),
    "search-order/estimates": ("how far these estimates were off", "guide/search.md#estimated-training-times"),
    "search-order/schedules": ("lengths of these searches on several workers, by the order of the candidates", "guide/search.md#estimated-training-times"),
    "speed/kernels": ("layers against oneDNN", "performance.md#contraction-on-the-host"),
    "speed/kernels-own": ("own contractions, against the peak and OpenBLAS", "performance.md#contraction-on-the-host"),
    "speed/memory-own": ("own memory-bound kernels", "performance.md"),
    "speed/populations-own": ("launches of a step of several networks, apart and together", "performance.md#launches-of-a-population"),
    "speed/selection-own": ("a step of ensemble selection against reading its columns", "ensembles-selection.md#on-devices"),
    "speed/steps": ("training steps against PyTorch", "performance.md#whole-training-steps"),
    "speed/steps-own": ("own training steps", "performance.md#whole-training-steps"),
    "time-estimator/public": ("estimators on public tables of layers", "estimator.md#public-tables"),
}
LAUNCHED = {"bench/peers/accuracy.sh": "./nasturtium bench accuracy", "bench/peers/kernels.sh": "./nasturtium bench peers-kernels",
            "bench/peers/parity.sh": "./nasturtium bench parity", "bench/peers/speed.sh": "./nasturtium bench peers-steps"}
PAGES = {"penguin": "papers/penguin.md", "weight-transfer": "papers/weight-transfer.md", "time-estimator": "papers/time-estimator.md",
         "ensembles": "papers/ensembles.md"}


def recorded(provenance: dict) -> list[str]:
    """Machine, day, commit and command, of either kind of provenance."""
    threads = str(provenance.get("extra", {}).get("host threads") or provenance.get("threads") or provenance.get("host threads") or "")
    cores = provenance.get("host_cores") or provenance.get("cores") or provenance.get("num_cpus")
    processor = provenance.get("cpu") or (f"{provenance['mhz_per_cpu'] / 1000:.1f} GHz" if "mhz_per_cpu" in provenance else "")
    backend = provenance.get("backend", "openmp")
    machine = ", ".join(part for part in (processor, f"{cores} cores" if cores else "", f"{threads} thread{'s' * (threads != '1')}" if threads else "",
                                          f"backend {backend}" if backend != "openmp" else "") if part)
    commit, *rest = (provenance.get("git_hash") or provenance.get("git") or "unknown").split(" ")
    modified = " (modified)" if rest or provenance.get("git_state", "clean") != "clean" else ""
    command = (provenance.get("command_line") or provenance.get("command", "")).strip()
    for script, launched in LAUNCHED.items():
        command = command.replace(script, launched)
    command = f"./{command}" if command.startswith("nasturtium ") else command
    day = (provenance.get("utc") or provenance.get("time") or provenance.get("date") or "")[:10]
    return [machine, day, f"`{commit[:12]}`{modified}", f"`{command}`"]


def search_order() -> list[str]:
    """Lengths of all generations, of the shortest that there can be."""
    error = {r["search"]: r for r in rows("search-order/estimates.csv")}
    lines = []
    for r in rows("search-order/schedules.csv"):
        bound, mine = float(r["bound_seconds"]), error[r["search"]]
        first = [r["search"], f"{100 * float(mine['median_error']):.1f} / {100 * float(mine['p90_error']):.1f} %, {float(mine['spearman']):.3f}"]
        lines.append([*(first if r["workers"] == "2" else ["", ""]), r["workers"],
                      *(f"{float(r[key]) / bound:.3f}" for key in ("as_asked_seconds", "longest_expected_first_seconds", "longest_first_seconds"))])
    return table(["search", "error, median / 90 %; rank correlation", "workers", "as asked", "longest expected first", "longest first"], lines, 2)


def results_experiments() -> list[str]:
    """A row for every report.json; links are those of results/README.md."""
    lines = []
    for path in sorted(RESULTS.rglob("report.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        folder, provenance = path.parent.relative_to(RESULTS).as_posix(), report["provenance"]
        page = f" ([page](../docs/{PAGES[report['experiment']]}))" if report["experiment"] in PAGES else ""
        lines.append([f"[{folder}]({folder}/tables.md)", report["title"].removeprefix("nasturtium: ") + page, provenance.get("extra", {}).get("scale", ""), *recorded(provenance)])
    return table(["tables", "what", "scale", "machine", "day", "commit", "command"], lines, 7)


def results_measurements() -> list[str]:
    """A row for every other measurement: a CSV with its provenance beside it."""
    lines = []
    for path in sorted(RESULTS.rglob("*.provenance.json")):
        name = path.relative_to(RESULTS).as_posix().removesuffix(".provenance.json")
        what, page = MEASUREMENTS.get(name, ("", ""))
        lines.append([f"[{name}.csv]({name}.csv)", f"{what} ([page](../docs/{page}))" if page else what, *recorded(json.loads(path.read_text(encoding="utf-8")))])
    return table(["file", "what", "machine", "day", "commit", "command"], lines, 6)


def results_bare() -> list[str]:
    """What has no provenance beside it."""
    lines = []
    for path in sorted(RESULTS.rglob("*.csv")):
        if path.with_suffix(".provenance.json").exists() or any((folder / "report.json").exists() for folder in path.parents if folder != ROOT):
            continue
        name, folder = path.relative_to(RESULTS).as_posix(), path.parent.relative_to(RESULTS).as_posix()
        what, page = MEASUREMENTS.get(folder, ("", ""))
        lines.append([f"[{name}]({name})", what, f"[the commands](../docs/{page})" if page else ""])
    return table(["file", "what", "how"], lines, 3)


MATH = ("float32", "tf32", "bf16")


def cuda_contraction() -> list[str]:
    """Registers of the tiles; spilled bytes in brackets."""
    found = {}
    for row in rows("cuda-gate/kernels.csv"):
        if match := re.search(r"cuda::Tile<(\w+), \(\w*:*Pass\)(\d), \(\w*:*MathMode\)(\d), \([\w:]*TileShape\)(\d), (\d)>", row["kernel"]):
            real, one, math, shape, vector = match.groups()
            spilled = int(row["spill_stores"])
            text = row["registers"] + (f" ({spilled} B)" if spilled else "")
            found["double" if real == "double" else MATH[int(math)], PASSES[int(one)], int(shape), int(vector) > 1] = text
    tiles = [(0, True), (1, True), (2, True), (1, False), (2, False)]
    lines = [[f"{math}, {one.replace('_', ' ')}", *(found.get((math, one, *tile), "-") for tile in tiles)] for math in (*MATH, "double") for one in PASSES]
    return table(["arithmetic, pass", "wide 128x64", "narrow 128x32", "small 64x32", "narrow, single", "small, single"], lines)


def cuda_sources() -> list[str]:
    """Kernels of each source: registers, and which spill or have a stack frame without a spill."""
    by_source: dict[str, list[dict[str, str]]] = {}
    for row in rows("cuda-gate/kernels.csv"):
        if row["source"].startswith("kernels/") and int(row["registers"]) > 4:  # the rest are Kokkos' own: fills, and a test of the device
            by_source.setdefault(row["source"], []).append(row)
    lines = []
    for source, kernels in sorted(by_source.items()):
        spilling = [k for k in kernels if int(k["spill_stores"]) + int(k["spill_loads"])]
        framed = [k for k in kernels if int(k["stack"]) and k not in spilling]
        worst = max((int(k["spill_stores"]) for k in spilling), default=0)
        lines.append([source, f"{len(kernels)}", f"{statistics.median(int(k['registers']) for k in kernels):.0f}", f"{max(int(k['registers']) for k in kernels)}",
                      f"{len(spilling)}" + (f" (at most {worst} B)" if spilling else ""), f"{len(framed)}", f"{max(int(k['smem']) for k in kernels):,}"])
    return table(["source", "kernels", "median registers", "most", "spill", "stack frame alone", "most static shared bytes"], lines)


def launches() -> list[str]:
    """Of a step of 1, 8 and 32 networks, apart and fused."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for row in rows("speed/populations-own.csv"):
        _, networks, _, models, _ = row["name"].split("/")
        found.setdefault(networks, {})[models] = row
    number = lambda text: f"{float(text):,.0f}"
    lines = []
    for networks, by in found.items():
        single = number(str(float(by["P8"]["launches_apart"]) / 8)) if "+" not in networks else ""
        lines.append([networks.replace("+", ", "), single, *(number(by[models][column]) for models in ("P8", "P32") for column in ("launches_apart", "launches"))])
    return table(["networks", "one", "8 apart", "8 fused", "32 apart", "32 fused"], lines)


PUBLIC = ["method", "MAPE %", "reference", "median %", "p90 %", "p99 %", "RMSE ms", "Spearman"]
HELD_OUT = ["held out", "method", "transfer", "probes", "MAPE %", "reference", "p90 %", "Spearman"]
ESTIMATOR = {
    "estimator-accuracy": estimator_accuracy, "estimator-strategies": estimator_strategies,
    **{f"estimator-{kind}-random": copied(f"time-estimator/public/{kind}-random.csv", PUBLIC, [-1, 1, 1, 1, 1, 1, 3, 4]) for kind in ("convolution", "dense")},
    **{f"estimator-{kind}-held-out": copied(f"time-estimator/public/{kind}-held-out.csv", HELD_OUT, [-1, -1, -1, 0, 1, 1, 1, 4], 3) for kind in ("convolution", "dense")},
    "estimator-families": copied("time-estimator/laptop/families.csv", ["family", "networks", "random only: MAPE %", "bias %", "in 90 %", "warned %", "with other families: MAPE %"], [-1, 0, 1, 1, 0, 0, 1]),
    "estimator-intervals": copied("time-estimator/laptop/intervals.csv", ["test set", "interval %", "covered %", "width / estimate", "warned %"], [-1, 0, 1, 2, 1]),
    "estimator-wall-time": copied("time-estimator/laptop/wall_time.csv", ["test set", "risk %", "killed %", "over-ask"], [-1, 1, 1, 2]),
    "estimator-backfill": copied("time-estimator/laptop/backfill.csv", ["rule", "mean wait h", "bounded slowdown", "killed %", "over-ask", "utilisation %"], [-1, 2, 1, 2, 2, 1]),
    "estimator-memory": copied("time-estimator/laptop/memory.csv", ["model", "networks", "MAPE %", "worst under %", "under by > 5 %", "above margin %"], [-1, 0, 2, 1, 0, 1]),
    "estimator-transfer": copied("time-estimator/laptop/transfer.csv", ["from", "to", "probes", "MAPE %", "p90 %", "Spearman"], [-1, -1, 0, 1, 1, 3], 2),
    "estimator-cost": copied("time-estimator/laptop/cost.csv", ["estimator", "fit s", "us/query"], [-1, 1, 1]),
}

ENSEMBLES = {
    "ensembles-search": ensembles("search", [("search", "search", -1), ("trials", "trials", 0), ("epochs", "epochs", 0), ("loss at random's epochs", "loss at random's epochs", 4),
                                             ("less than random's", "less than random's", 4), ("p", "p", 3), ("reached random's best", "reached its best", -1), ("epochs to it / random's", "epochs to it / random's", 3), ("worst", "worst", 3)]),
    "ensembles-quality": ensembles("quality", [("ensemble", "ensemble", -1), ("models", "models", 1), ("cost / best single's", "cost", 2), ("accuracy %", "accuracy %", 2), ("NLL", "NLL", 4),
                                               ("calibrated NLL", "calibrated", 4), ("ECE %", "ECE %", 2), ("calibrated ECE %", "calibrated", 2), ("deep ensemble of", "deep ensemble of", -1)]),
    "ensembles-dominance": ensembles("dominance", [("seeds", "seeds", -1), ("better NLL", "better NLL", -1), ("better calibrated NLL", "better calibrated NLL", -1), ("better accuracy", "better accuracy", -1),
                                                   ("same loss at cost of", "same loss at cost of", 2), ("pool", "models", 0), ("disagreement %", "disagreement %", 1), ("Q", "Q", 2)]),
    "ensembles-selection": ensembles("selection", [("preset", "preset", -1), ("select, mean", "mean", 3), ("select, worst", "worst", 3), ("test, mean", "test", 3), ("whole library, mean", "whole library", 3)]),
    "ensembles-serving": ensembles_serving,
}

TABLES = {**ESTIMATOR, **ENSEMBLES, "results-experiments": results_experiments, "results-measurements": results_measurements, "results-bare": results_bare,
          "ensemble-planner": ensemble_planner, "ensemble-runtime": ensemble_runtime,
          "launches": launches, "search-order": search_order, "cuda-contraction": cuda_contraction, "cuda-sources": cuda_sources, "selection": selection, "demo": demo, "penguin-claims": penguin_claims, "transfer-claims": transfer_claims, "transfer-hours": transfer_hours, "estimator-claims": estimator_claims, "penguin": penguin, "penguin-live": penguin_live, "steps": steps, "kernels": kernels, "own": own, "gemm": gemm, "accuracy": accuracy, "parity": parity,
          "transfer-scores": transfer_scores, "transfer-full": transfer_full, "transfer-controls": transfer_controls,
          "transfer-cost": transfer_cost, "transfer-ranks": transfer_ranks, "together": together}


def filled(path: Path) -> str:
    lines: list[str] = []
    inside = False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line == "<!-- end -->":
            inside = False
        if not inside:
            lines.append(line)
        if line.startswith("<!-- table ") and line.endswith(" -->"):
            name = line.removeprefix("<!-- table ").removesuffix(" -->")
            if name not in TABLES:
                sys.exit(f"{path.relative_to(ROOT)}: no table is called '{name}' ({', '.join(TABLES)})")
            lines += TABLES[name]()
            inside = True
    if inside:
        sys.exit(f"{path.relative_to(ROOT)}: a table has no '<!-- end -->'")
    return "\n".join(lines) + "\n"


def with_the_committed_demo(folder: Path) -> Path:
    """results/, but with the demo as committed: ./nasturtium demo writes there, and no document differs for that."""
    if not subprocess.run(["git", "status", "--porcelain", "--", "results/demo"], cwd=ROOT, capture_output=True, text=True, check=False).stdout:
        return ROOT / "results"
    shutil.copytree(ROOT / "results", folder / "results", ignore=lambda path, _: ["demo"] if Path(path) == ROOT / "results" else [])
    archive = subprocess.run(["git", "archive", "HEAD", "results/demo"], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        packed.extractall(folder, filter="data")
    return folder / "results"


def main() -> int:
    global RESULTS
    if sys.argv[1:] not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        if sys.argv[1:]:
            RESULTS = with_the_committed_demo(Path(folder))
        differs = [path for path in DOCUMENTS if filled(path) != path.read_text(encoding="utf-8")]
    for path in differs:
        if sys.argv[1:]:
            print(f"{path.relative_to(ROOT)}: its tables are not those of results/ (run bench/tables.py)")
        else:
            path.write_text(filled(path), encoding="utf-8")
    return 1 if differs and sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Short tables of what run.sh left in its folder: benchmarks.csv of all medians, ratios.csv of all comparisons with PyTorch.

usage: summary.py OUT_DIR

Training: candidates per hour = 3600 / (10 epochs x images / images per second), with 60,000 images of 28 x 28 and 50,000 else;
ours / theirs at the same network, batch, number of models and arithmetic (steps-MATH.json, peer-steps.csv). Kernels: cuDNN's and
cuBLAS' time / ours of the same shape, pass, batch and arithmetic (kernels-MATH.json, peers.csv), in both of many calls that
are queued and waited for together. Tiles: the plan's shape of tiles beside the others in one run (tiles-MATH.json).
Tuned: a step's time with the plan's tiles / with measured ones (steps-MATH.json, tuned-MATH.json). Populations: a call's time x models / the time of as many independent calls in common launches (populations-MATH.json).
Peak: the largest rate that cuBLAS reached in peers.csv in that arithmetic.
In bf16 and tf32 our tensors in memory are float32; PyTorch's are bf16 in bf16.
"""

import csv
import json
import re
import statistics
import sys
import xml.etree.ElementTree as tree
from pathlib import Path

PARTS = ("context", "build", "tests", "determinism", "policies", "memory-limit", "sanitizer", "kernels", "memory", "tiles", "populations", "steps", "tuned",
         "peers", "peer-steps", "parity", "search")
CLASSES = {"mlp": "mlp", "lenet": "small", "cnn2": "small", "vgg32": "medium", "resnet20": "medium", "odd": "medium"}
IMAGES = {"mlp": 60000, "lenet": 60000, "cnn2": 60000}
EPOCHS = 10
FIELDS = ("kind", "class", "name", "batch", "models", "pass", "math", "ours_by", "theirs_by", "unit", "ours", "theirs", "ratio", "peak_share")
Row = dict[str, str | int | float]
US = {"ns": 1e-3, "us": 1.0, "ms": 1e3, "s": 1e6}


def candidates_per_hour(net: str, images_per_second: float) -> float:
    return 3600 / (EPOCHS * IMAGES.get(net, 50000) / images_per_second)


def states(out: Path) -> list[str]:
    """A line for every part, with its time, and their sum."""
    lines, total = [], 0
    for part in PARTS:
        done, log = out / f"{part}.done", out / f"{part}.log"
        skipped = re.search(r"^skipped: (.*)", log.read_text(errors="replace"), re.MULTILINE) if log.exists() else None
        state = "FAILED or stopped" if log.exists() else "not run"
        if done.exists():
            seconds = int(done.read_text().split()[0])
            total += seconds
            state = f"done in {seconds} s"
        elif skipped:
            state = f"skipped: {skipped.group(1)}"
        lines.append(f"{part:12} {state}")
    return lines + [f"{'all':12} {total} s"]


def benchmarks(out: Path) -> list[Row]:
    """The medians of all of Google Benchmark's files; of one without repetitions, its figures."""
    rows: list[Row] = []
    for path in sorted(out.glob("*-*.json")):
        kind, _, math = path.stem.rpartition("-")
        if kind not in ("kernels", "memory", "steps", "tuned", "tiles", "populations"):
            continue
        try:
            runs = json.loads(path.read_text())["benchmarks"]
        except (ValueError, KeyError, TypeError):
            print(f"summary: {path}: is no whole file of a benchmark, left out", file=sys.stderr)
            continue
        for run in runs:
            if run.get("error_occurred") or run.get("aggregate_name") not in (None, "median"):
                continue
            known = {"name", "real_time", "cpu_time", "time_unit"}
            counters = {k: v for k, v in run.items() if isinstance(v, float) and k not in known}
            name = re.sub(r"/(real_time|process_time|manual_time|repeats:\d+|min_time:[\d.]+|iterations:\d+)", "", run["name"].removesuffix("_median"))
            rows.append({"kind": kind, "math": math, "name": name, "time": run["real_time"], "unit": run["time_unit"], "counters": json.dumps(counters)})
    return rows


def table(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def our_steps(rows: list[Row]) -> dict[tuple[str, int, int, str], tuple[str, float]]:
    """(network, batch, models, math) -> name and images per second of all models together; the best where there are several.

    Names of step_bench: step/NETWORK/mbBATCH, for populations with a further /pMODELS (or /models:MODELS and the like)."""
    result: dict[tuple[str, int, int, str], tuple[str, float]] = {}
    for row in rows:
        parts = str(row["name"]).split("/")
        if row["kind"] != "steps" or len(parts) < 3 or parts[0] != "step" or not re.fullmatch(r"mb\d+", parts[2]):
            continue
        models = 1
        for part in parts[3:]:
            if match := re.fullmatch(r"(?:p|models|population)[:=]?(\d+)", part, re.IGNORECASE):
                models = int(match.group(1))
        rate = json.loads(str(row["counters"])).get("items_per_second")
        key = parts[1], int(parts[2][2:]), models, str(row["math"])
        if rate and rate > result.get(key, ("", 0.0))[1]:
            result[key] = str(row["name"]), rate
    return result


def compare_steps(rows: list[Row], peers: list[dict[str, str]]) -> list[Row]:
    ours = our_steps(rows)
    result: list[Row] = []
    for peer in peers:
        key = peer["net"], int(peer["batch"]), int(peer["models"]), peer["math"]
        if not peer["images_per_second"] or key not in ours:
            continue
        name, rate = ours[key]
        a, b = (candidates_per_hour(key[0], value) for value in (rate, float(peer["images_per_second"])))
        result.append({"kind": "steps", "class": CLASSES.get(key[0], key[0]), "name": key[0], "batch": key[1], "models": key[2], "pass": "",
                       "math": key[3], "ours_by": name, "theirs_by": peer["mode"], "unit": "candidates/h", "ours": a, "theirs": b,
                       "ratio": a / b, "peak_share": ""})
    return result


def peaks(peers: list[dict[str, str]]) -> dict[str, tuple[float, str]]:
    """GFLOP/s and name of the fastest product of cuBLAS, by arithmetic."""
    result: dict[str, tuple[float, str]] = {}
    for peer in peers:
        rate = float(peer["gflops"])
        if (peer["layer"].startswith("f") or "x" in peer["layer"]) and rate > result.get(peer["math"], (0.0, ""))[0]:
            result[peer["math"]] = rate, f"{peer['layer']} {peer['pass']}"
    return result


def compare_kernels(rows: list[Row], peers: list[dict[str, str]]) -> list[Row]:
    theirs = {(peer["layer"], int(peer["batch"]), peer["pass"], peer["math"]): peer for peer in peers}
    best: dict[tuple[str, int, str, str], tuple[float, float, Row]] = {}
    for row in rows:
        parts = str(row["name"]).split("/")
        if row["kind"] != "kernels" or len(parts) != 5 or parts[4] == "cblas" or not re.fullmatch(r"mb\d+", parts[3]):
            continue
        key = parts[1], int(parts[3][2:]), parts[2], str(row["math"])
        time = float(row["time"]) * US[str(row["unit"])]
        if key in theirs and time < best.get(key, (float("inf"),))[0]:
            best[key] = time, json.loads(str(row["counters"])).get("GFLOP/s", 0.0), row
    top = peaks(peers)
    result: list[Row] = []
    for key, (time, rate, row) in best.items():
        layer, batch, direction, math = key
        peer = float(theirs[key]["median_us"])
        result.append({"kind": "kernels", "class": str(row["name"]).split("/")[0], "name": layer, "batch": batch, "models": 1, "pass": direction,
                       "math": math, "ours_by": str(row["name"]).split("/")[4], "theirs_by": "cuDNN" if layer.startswith("c") else "cuBLAS",
                       "unit": "us", "ours": time, "theirs": peer, "ratio": peer / time,
                       "peak_share": rate / top[math][0] if top.get(math, (0.0,))[0] > 0 and rate else ""})
    return result


def mean(rows: list[Row], field: str = "ratio") -> float:
    return statistics.geometric_mean(float(row[field]) for row in rows)


def ordered(values: set) -> list:
    return sorted(values, key=str)


def steps_table(ratios: list[Row]) -> list[str]:
    """One line for each class, arithmetic and number of models, at batch 128 or what comes nearest."""
    rows = [row for row in ratios if row["kind"] == "steps"]
    lines: list[str] = []
    for models in sorted({row["models"] for row in rows}):
        some = [row for row in rows if row["models"] == models]
        modes = list(dict.fromkeys(row["theirs_by"] for row in some))
        lines += ["", f"Candidates per hour of nasturtium, {models} model{'s' * (models != 1)}, and how many times PyTorch's (above 1: nasturtium is faster):",
                  f"    {'class':8} {'math':8} {'batch':>5} {'nasturtium':>11}  " + "  ".join(f"{mode:>12}" for mode in modes)]
        for group in [c for c in ("mlp", "small", "medium") if c in {row["class"] for row in some}]:
            for math in ordered({row["math"] for row in some if row["class"] == group}):
                there = [row for row in some if (row["class"], row["math"]) == (group, math)]
                batch = min({row["batch"] for row in there}, key=lambda batch: (abs(batch - 128), batch))
                there = [row for row in there if row["batch"] == batch]
                rate = mean(list({row["name"]: row for row in there}.values()), "ours")
                cells = []
                for mode in modes:
                    of_mode = [row for row in there if row["theirs_by"] == mode]
                    cells.append(f"{f'{mean(of_mode):.2f}':>{max(12, len(mode))}}" if of_mode else " " * (max(12, len(mode)) - 1) + "-")
                lines.append(f"    {group:8} {math:8} {batch:5} {rate:11,.0f}  " + "  ".join(cells))
    if lines:
        lines.append("    (geometric means of a class's networks; each network and batch: ratios.csv)")
    return lines


def kernels_table(ratios: list[Row], peers: list[dict[str, str]]) -> list[str]:
    rows = [row for row in ratios if row["kind"] == "kernels"]
    lines = [f"Measured peak, {math}: {rate:,.0f} GFLOP/s ({name})" for math, (rate, name) in peaks(peers).items()]
    if lines:
        lines.insert(0, "")
    if not rows:
        return lines
    lines += ["", "Kernels, time of cuDNN or cuBLAS / ours (above 1: nasturtium is faster), and our best share of the measured peak:",
              f"    {'op':7} {'pass':16} {'math':8} {'shapes':>6} {'mean':>6} {'least':>6} {'most':>6} {'peak':>7}"]
    for op, direction, math in dict.fromkeys((row["class"], row["pass"], row["math"]) for row in rows):
        some = [row for row in rows if (row["class"], row["pass"], row["math"]) == (op, direction, math)]
        values = [float(row["ratio"]) for row in some]
        shares = [float(row["peak_share"]) for row in some if row["peak_share"] != ""]
        share = f"{100 * max(shares):5.1f} %" if shares else "-"
        lines.append(f"    {op:7} {direction:16} {math:8} {len(some):6} {mean(some):6.2f} {min(values):6.2f} {max(values):6.2f} {share:>7}")
    slow = sorted((row for row in rows if float(row["ratio"]) < 0.5), key=lambda row: float(row["ratio"]))
    lines.append(f"Under 50 % of cuDNN or cuBLAS: {len(slow)} of {len(rows)}" + (" (the slowest 30; all: ratios.csv)" if len(slow) > 30 else ""))
    lines += [f"    {100 * float(row['ratio']):5.1f} %  {row['name']:14} {row['pass']:16} batch {row['batch']:4} {row['math']:8} "
              f"{float(row['ours']):10.1f} us, theirs {float(row['theirs']):10.1f} us" for row in slow[:30]]
    return lines


def tiles_table(rows: list[Row]) -> list[str]:
    """What a measured choice of tiles would gain over the plan's."""
    times: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        if row["kind"] == "tiles":
            shape, _, tiles = str(row["name"]).rpartition("/")
            times.setdefault((str(row["math"]), shape), {})[tiles] = float(row["time"]) * US[str(row["unit"])]
    lines: list[str] = []
    for math in dict.fromkeys(math for math, _ in times):
        gains = []
        for (of, shape), by in times.items():
            others = {tiles: time for tiles, time in by.items() if tiles != "tiles"}
            if of == math and "tiles" in by and others:
                best = min(others, key=lambda tiles: others[tiles])
                gains.append((by["tiles"] / others[best], shape, best))
        faster = sorted((gain for gain in gains if gain[0] >= 1.05), reverse=True)
        possible = statistics.geometric_mean(max(1.0, gain) for gain, _, _ in gains) if gains else 1.0
        lines.append(f"Tiles, {math}: another shape is 5 % faster than the plan's on {len(faster)} of {len(gains)}; the best of all would gain "
                     f"{100 * (possible - 1):.1f} % in the mean")
        lines += [f"    {gain:5.2f} x  {shape:44} {tiles}" for gain, shape, tiles in faster[:10]]
    return [""] + lines if lines else []


def populations_table(rows: list[Row]) -> list[str]:
    """What common launches gain over a launch for every model."""
    alone: dict[tuple[str, str], float] = {}
    fused: dict[tuple[str, str, int, str], list[float]] = {}
    some = [(str(row["math"]), str(row["name"]).split("/"), float(row["time"]) * US[str(row["unit"])]) for row in rows if row["kind"] == "populations"]
    for math, parts, time in some:
        if len(parts) == 5 and parts[4] != "cblas":
            key = math, "/".join(parts[:4])
            alone.setdefault(key, time)  # the first is what runs by default
    for math, parts, time in some:
        if len(parts) == 6 and (math, "/".join(parts[:4])) in alone:
            models = int(parts[5].removeprefix("P"))
            fused.setdefault((parts[0], parts[2], models, math), []).append(models * alone[math, "/".join(parts[:4])] / time)
    if not fused:
        return []
    lines = ["", "Populations of independent models, time of their calls one after another / in common launches:",
             f"    {'op':7} {'pass':16} {'models':>6} {'math':8} {'shapes':>6} {'mean':>6} {'least':>6} {'most':>6}"]
    for (op, direction, models, math), gains in fused.items():
        lines.append(f"    {op:7} {direction:16} {models:6} {math:8} {len(gains):6} {statistics.geometric_mean(gains):6.2f} {min(gains):6.2f} {max(gains):6.2f}")
    return lines


def tuned_table(rows: list[Row]) -> list[str]:
    """What measured tiles gain in whole steps."""
    times = {kind: {(str(row["math"]), str(row["name"])): float(row["time"]) * US[str(row["unit"])] for row in rows if row["kind"] == kind}
             for kind in ("steps", "tuned")}
    lines: list[str] = []
    for math in dict.fromkeys(math for math, _ in times["tuned"]):
        gains = [times["steps"][key] / time for key, time in times["tuned"].items() if key[0] == math and key in times["steps"]]
        if gains:
            lines.append(f"Measured tiles, {math}: a step is {statistics.geometric_mean(gains):.3f} x as fast in the mean of {len(gains)}, "
                         f"{min(gains):.3f} to {max(gains):.3f}")
    return [""] + lines if lines else []


def write(path: Path, fields: tuple[str, ...], rows: list[Row]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()} for row in rows)


def main() -> int:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    out = Path(sys.argv[1])
    print("\n".join(states(out)))
    if (out / "tests.xml").exists():
        suite = tree.parse(out / "tests.xml").getroot()
        print("tests        " + ", ".join(f"{k} {suite.get(k)}" for k in ("tests", "failures", "skipped", "disabled")))
    rows = benchmarks(out)
    if rows:
        write(out / "benchmarks.csv", ("kind", "math", "name", "time", "unit", "counters"), rows)
        print(f"{len(rows)} medians in {out / 'benchmarks.csv'}")
    steps, kernels = table(out / "peer-steps.csv"), table(out / "peers.csv")
    ratios = compare_steps(rows, steps) + compare_kernels(rows, kernels)
    if ratios:
        write(out / "ratios.csv", FIELDS, ratios)
        print(f"{len(ratios)} ratios in {out / 'ratios.csv'}")
    refused = [row for row in steps if row["reason"] and not row["reason"].startswith("not ")]
    for row in refused[:10]:
        print(f"PyTorch failed: {row['net']} batch {row['batch']} models {row['models']} {row['math']} {row['mode']}: {row['reason']}")
    if len(refused) > 10:
        print(f"PyTorch failed: {len(refused) - 10} more in {out / 'peer-steps.csv'}")
    print("\n".join(kernels_table(ratios, kernels) + tiles_table(rows) + tuned_table(rows) + populations_table(rows) + steps_table(ratios)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

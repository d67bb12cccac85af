# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Short table of what run.sh left in its folder, and benchmarks.csv of all medians.

usage: summary.py OUT_DIR
"""

import csv
import json
import sys
import xml.etree.ElementTree as tree
from pathlib import Path

PARTS = ("context", "build", "tests", "determinism", "sanitizer", "kernels", "memory", "steps", "peers")


def main() -> int:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    out = Path(sys.argv[1])
    for part in PARTS:
        done, log = out / f"{part}.done", out / f"{part}.log"
        skipped = log.exists() and "\nskipped: " in "\n" + log.read_text(errors="replace")
        state = "FAILED" if log.exists() else "not run"
        state = "skipped" if skipped else f"done in {done.read_text().strip()} s" if done.exists() else state
        print(f"{part:12} {state}")
    if (out / "tests.xml").exists():
        suite = tree.parse(out / "tests.xml").getroot()
        print("tests        " + ", ".join(f"{k} {suite.get(k)}" for k in ("tests", "failures", "skipped", "disabled")))

    rows = []
    for path in sorted(out.glob("*-*.json")):
        kind, _, mode = path.stem.rpartition("-")
        for run in json.loads(path.read_text())["benchmarks"]:
            if run.get("aggregate_name") not in (None, "median"):
                continue
            known = {"name", "real_time", "cpu_time", "time_unit"}
            counters = {k: v for k, v in run.items() if isinstance(v, float) and k not in known}
            rows.append([kind, mode, run["name"].removesuffix("_median"), run["real_time"], run["time_unit"], json.dumps(counters)])
    if rows:
        with open(out / "benchmarks.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["kind", "math", "name", "median_time", "unit", "counters"])
            writer.writerows(rows)
        print(f"{len(rows)} medians in {out / 'benchmarks.csv'}")
        for row in rows[:40]:
            print(f"    {row[0]:8} {row[1]:8} {row[2]:50} {row[3]:12.3f} {row[4]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Google Benchmark's JSON as a result of the project: NAME.csv and NAME.provenance.json. Run by run.sh.

usage: results.py BENCHMARK.json RESULTS/NAME.csv COMMAND
"""

import csv
import json
import os
import sys
from pathlib import Path

KNOWN = {"name", "real_time", "cpu_time", "time_unit", "iterations", "repetitions", "repetition_index", "threads",
         "family_index", "per_family_instance_index"}


def main() -> int:
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    document = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    runs = [run for run in document["benchmarks"] if run.get("aggregate_name") in (None, "median")]
    failed = [run["name"] for run in runs if run.get("error_occurred")]
    if failed or not runs:
        print(f"results: {sys.argv[1]}: {'failed: ' + ' '.join(failed) if failed else 'holds no benchmark'}", file=sys.stderr)
        return 2
    counters = [key for key, value in runs[0].items() if key not in KNOWN and isinstance(value, float)]
    path = Path(sys.argv[2])
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", f"time_{runs[0]['time_unit']}", *counters])
        for run in runs:
            name = run["name"].removesuffix("_median").removesuffix("/real_time")
            writer.writerow([name, f"{run['real_time']:.4g}", *(f"{run.get(key, float('nan')):.4g}" for key in counters)])
    context = {key: value for key, value in document["context"].items() if key not in ("host_name", "executable", "load_avg")}
    provenance = {"git": os.environ.get("NASTURTIUM_GIT", "unknown"), "command": sys.argv[3],
                  "omp": " ".join(f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith("OMP_")) or "defaults"}
    path.with_suffix(".provenance.json").write_text(json.dumps(provenance | context, indent=2) + "\n", encoding="utf-8")
    print(f"{len(runs)} benchmarks in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

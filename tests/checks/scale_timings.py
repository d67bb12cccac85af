#!/usr/bin/env python3
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""For tests of the gate alone: a file of `nasturtium compare run` with the seconds of one network multiplied, marked as such.

usage: scale_timings.py IN.json OUT.json NETWORK FACTOR
"""

import json
import sys
from pathlib import Path


def main() -> int:
    if len(sys.argv) != 5:
        print(__doc__, file=sys.stderr)
        return 2
    source, target, network, factor = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
    document = json.loads(Path(source).read_text(encoding="utf-8"))
    scaled = [timing for timing in document["measurements"] if timing["network"] == network]
    if not scaled:
        print(f"scale_timings: {source} has no network '{network}'", file=sys.stderr)
        return 2
    for timing in scaled:
        timing["seconds"] = [factor * seconds for seconds in timing["seconds"]]
    document["provenance"]["extra"]["not measured"] = f"seconds of {network} were multiplied by {factor} for a test of the gate"
    Path(target).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"{target}: {len(scaled)} measurements of {network} times {factor}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks the direction of includes between the folders, and where Kokkos may be seen (docs/architecture.md)."""
from __future__ import annotations

import pathlib
import re
import sys

MAY_INCLUDE = {
    "core": set(),
    "kernels": {"core"},
    "datasets": {"core"},
    "predictor": {"core"},
    "nn": {"core", "kernels", "datasets"},
    "nas": {"core", "nn", "datasets", "predictor"},
    "estimator": {"core", "datasets", "nn"},
    "ensemble": {"core", "datasets", "nn", "nas"},
}
SEES_EVERYTHING = {"cli", "bench", "tests"}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')
SPDX = "SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception"


def faults(root: pathlib.Path) -> list[str]:
    found: list[str] = []
    sources = [p for f in [*MAY_INCLUDE, *SEES_EVERYTHING] for p in (root / f).rglob("*") if p.suffix in {".hpp", ".cpp"}]
    for path in sorted(sources):
        relative = path.relative_to(root)
        module = relative.parts[0]
        text = path.read_text()
        if SPDX not in text[:400]:
            found.append(f"{relative}:1: no SPDX line")
        if path.suffix == ".hpp" and "#pragma once" not in text:
            found.append(f"{relative}:1: no #pragma once")
        if module in SEES_EVERYTHING:
            continue
        public = "include" in relative.parts
        spec = "spec" in relative.parts
        for number, line in enumerate(text.splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            target = match.group(1)
            where = f"{relative}:{number}"
            if target.startswith("Kokkos"):
                # Kernels are the place for Kokkos; nn uses it behind its headers; nothing else knows it.
                if module not in {"kernels", "nn"} or (module == "nn" and (public or spec)):
                    found.append(f"{where}: includes {target}; Kokkos is seen in kernels and in nn/src alone")
            elif target.startswith("nasturtium/"):
                other = target.split("/")[1]
                if other != module and other not in MAY_INCLUDE[module]:
                    found.append(f"{where}: {module} must not include {other}")
                elif module == "nn" and other == "kernels" and (public or spec):
                    found.append(f"{where}: public headers of nn and nn/spec must not include kernels")
    return found


def main() -> int:
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = faults(root)
    print("\n".join(found) if found else "includes: every arrow points the right way")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

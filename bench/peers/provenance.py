# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Where a result comes from: written beside every result file as NAME.provenance.json."""

import ctypes
import json
import os
import platform
import re
import sys
from datetime import datetime, timezone
from pathlib import Path

import torch


def openblas_core() -> str:
    """The kernels that the OpenBLAS of this process chose."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        path = line.split()[-1]
        if "openblas" in path and path.startswith("/"):
            name = getattr(ctypes.CDLL(path), "openblas_get_corename", None)
            if name is None:  # a build whose names have a prefix
                continue
            name.restype = ctypes.c_char_p
            return name().decode()
    return "none"


def provenance() -> dict[str, str]:
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    onednn = re.search(r"MKL-DNN (v[\d.]+)", torch.__config__.show())
    return {
        "git": os.environ.get("NASTURTIUM_GIT", "unknown"),
        "command": os.environ.get("NASTURTIUM_COMMAND", " ".join(sys.argv)),
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu.group(1) if cpu else platform.processor(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "omp": " ".join(f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith("OMP_")) or "defaults",
        "pytorch": torch.__version__,
        "pytorch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "pytorch_onednn": onednn.group(1) if onednn else "none",
        "pytorch_openblas_core": openblas_core(),
        "python": platform.python_version(),
    }


def write_provenance(result: Path, extra: dict[str, str] | None = None) -> None:
    """Writes it beside `result`."""
    path = result.with_suffix(".provenance.json")
    path.write_text(json.dumps(provenance() | (extra or {}), indent=2) + "\n", encoding="utf-8")

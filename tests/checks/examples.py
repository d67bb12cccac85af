#!/usr/bin/env python3
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs the commands of a document: the code blocks below `<!-- run -->`, from first to last, in one empty folder where ./nasturtium is
the program and docs/ is the project's. `<!-- run with --epochs 2 --subset 200 -->` gives these options of the block other values, so
that a check takes seconds; options that a command does not have are not added. Every command must end with status 0, and what
`<!-- run, leaves FILE ... -->` names must be there afterwards.

usage: examples.py PROGRAM DOCUMENT [--whole]      --whole: with the numbers of the page; exit status 77: the data set that the document needs is not here
"""
from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import markdown  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def with_values(script: str, values: list[str]) -> str:
    """The script with other values of the options that it has."""
    for option, value in zip(values[::2], values[1::2]):
        script = re.sub(rf"(?<=\s){re.escape(option)}([ =])\S+", rf"{option}\g<1>{value}", script)
    return script


def scripts(document: markdown.Document, whole: bool = False) -> list[tuple[int, str, list[str]]]:
    """(line, script, files that it must leave) of each block that is to be run."""
    found = []
    for block in document.blocks:
        match = re.fullmatch(r"run(?: with (.*?))?(?:, leaves (.*))?", block.mark)
        if not match:
            continue
        values = (match.group(1) or "").split()
        if len(values) % 2:
            raise ValueError(f"{document.path.name}:{block.line - 2}: 'run with' takes options and values in pairs")
        text = with_values("\n".join(block.lines), [] if whole else values)
        found.append((block.line, text, (match.group(2) or "").split()))
    return found


def run(program: pathlib.Path, document: markdown.Document, whole: bool = False) -> list[str]:
    """What went wrong."""
    blocks = scripts(document, whole)
    if not blocks:
        return [f"{document.path.name}: has no block to run"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NASTURTIUM_") or name == "NASTURTIUM_DATA"}
    environment |= {"OMP_NUM_THREADS": environment.get("OMP_NUM_THREADS", "1"), "OMP_WAIT_POLICY": "passive", "PYTHONPATH": str(ROOT / "tests/cli/optuna_stand_in")}
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "nasturtium").symlink_to(program)
        (pathlib.Path(folder) / "docs").symlink_to(ROOT / "docs")
        for line, script, leaves in blocks:
            started = time.monotonic()
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
            print(f"{document.path.name}:{line}: {time.monotonic() - started:.1f} s")
            if done.returncode != 0:
                return [f"{document.path.name}:{line}: exit status {done.returncode}\n{script}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"]
            missing = [name for name in leaves if not (pathlib.Path(folder) / name).exists()]
            if missing:
                return [f"{document.path.name}:{line}: left no {', '.join(missing)}\n{script}"]
    return []


def has_data(program: pathlib.Path, document: markdown.Document) -> bool:
    names = {m for _, script, _ in scripts(document) for m in re.findall(r"--dataset ([a-z][a-z0-9-]*)(?=\s|$)", script)} - {"synthetic"}
    return all(subprocess.run([program, "datasets", "info", name], capture_output=True).returncode == 0 for name in names)


def main() -> int:
    if len(sys.argv) not in (3, 4) or sys.argv[3:] not in ([], ["--whole"]):
        print(__doc__, file=sys.stderr)
        return 2
    program, document = pathlib.Path(sys.argv[1]).resolve(), markdown.read(pathlib.Path(sys.argv[2]))
    if not has_data(program, document):
        print(f"{document.path.name}: a data set is not here")
        return 77
    found = run(program, document, len(sys.argv) == 4)
    print("\n".join(found) if found else f"{document.path.name}: every command works")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

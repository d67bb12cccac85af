# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The growing tables of torch_peers.py and torch_steps.py: read to go on where a call stopped, replaced as a whole."""

import csv
from pathlib import Path


def read_rows(path: Path, header: list[str], what: str) -> list[list[str]]:
    """The rows, none where there is no file. ValueError for another header."""
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        first, *rows = list(csv.reader(file)) or [[]]
    if first != header:
        raise ValueError(f"{path}: is no table of {what}; remove it or name another with --out")
    return rows


def write_rows(path: Path, header: list[str], rows: list[list[str]]) -> None:
    part = path.with_name(path.name + ".part")
    with open(part, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    part.replace(path)

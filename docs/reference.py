#!/usr/bin/env python3
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes docs/reference.md: what the program says to --help, verb by verb and subcommand by subcommand.

usage: docs/reference.py [--check] [--program FILE]     with --check nothing is written; exit status 1 where the page differs
FILE is build/openmp/cli/nasturtium unless told otherwise. Inside the environment: ./nasturtium shell python3 docs/reference.py
"""

import difflib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference.md"
AGAIN = "./nasturtium build && ./nasturtium shell python3 docs/reference.py"
# What a help text must not depend on. The check takes other values than the page was written with, so that it would be seen.
WRITING = {"HOME": "/home/reader", "OMP_NUM_THREADS": "1"}
CHECKING = {"HOME": "/", "OMP_NUM_THREADS": "2", "NASTURTIUM_DATA": "/elsewhere", "XDG_CACHE_HOME": "/elsewhere"}
HEAD = f"""# Reference

Every verb and every subcommand, as `--help` prints it. This page is written by a program and a test holds it against the
program's help; do not edit it. After a change of options:

```
{AGAIN}
```

What the verbs are for, with examples: [guide/](guide/).
"""


class Program:
    def __init__(self, path: str, variables: dict[str, str]):
        self.path = path
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "ASAN_OPTIONS") if name in os.environ}
        self.environment = {**kept, **variables, "LANG": "C.UTF-8", "COLUMNS": "110"}
        self.folder = tempfile.gettempdir()

    def help(self, *words: str) -> str:
        done = subprocess.run([self.path, *words, "--help"], capture_output=True, text=True, env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            sys.exit(f"docs/reference.py: {' '.join(['nasturtium', *words])} --help: exit status {done.returncode}: {done.stderr.strip()}")
        return done.stdout.rstrip()


def section(text: str, title: str) -> list[str]:
    """The lines below `title:`, up to the next section."""
    match = re.search(rf"^{title}:\n((?:[ ]+.*\n?|\n(?=[ ]))*)", text, re.MULTILINE)
    return match.group(1).splitlines() if match else []


def names(lines: list[str]) -> list[str]:
    return [match.group(1) for line in lines if (match := re.match(r"  ([a-z][a-z0-9-]*)(?: |$)", line))]


def children(program: Program, words: tuple[str, ...], text: str) -> list[str]:
    """Subcommands as the help lists them; or the choices of a first positional that have a help of their own."""
    listed = names(section(text, "Subcommands"))
    if listed:
        return listed
    first = next(iter(section(text, "Positionals")), "")
    match = re.match(r"  [A-Z]+ ([a-z0-9-]+(?:\|[a-z0-9-]+)+) ", first)
    return [name for name in match.group(1).split("|") if program.help(*words, name) != text] if match else []


def pages(program: Program, words: tuple[str, ...], above: str = "") -> list[tuple[tuple[str, ...], str]]:
    """(words, help) of a verb and of all below it. Examples that only repeat those of the verb above are left out."""
    text = program.help(*words)
    name = " ".join(["nasturtium", *words])
    shown = re.sub(r"^Usage: .*?(?= \[options\])", f"Usage: {name}", text, count=1, flags=re.MULTILINE)
    examples = text.find("\nExamples:\n")
    if above and examples >= 0 and above.endswith(text[examples:]):
        shown = shown[:shown.find("\nExamples:\n")].rstrip()
    found = [(words, shown)]
    for child in children(program, words, text):
        found += pages(program, (*words, child), text)
    return found


def reference(program: Program) -> str:
    text = program.help()
    verbs = names(section(text, "Verbs"))
    if not verbs:
        sys.exit(f"docs/reference.py: {program.path} --help lists no verbs")
    summaries = dict(re.match(r"  (\S+) +(.*)", line).groups() for line in section(text, "Verbs") if line.strip())
    all_pages = [page for verb in verbs for page in pages(program, (verb,))]
    lines = [HEAD, "| verb | |", "| --- | --- |"]
    for verb in verbs:
        below = [words for words, _ in all_pages if words[0] == verb and len(words) > 1]
        links = ", ".join(f"[{' '.join(words[1:])}](#{'-'.join(['nasturtium', *words])})" for words in below)
        lines.append(f"| [{verb}](#nasturtium-{verb}) | {summaries[verb]}{': ' if links else ''}{links} |")
    for words, help_text in all_pages:
        lines += ["", f"{'##' if len(words) == 1 else '###'} nasturtium {' '.join(words)}", "", "```text", help_text, "```"]
    return "\n".join(lines) + "\n"


def main() -> int:
    arguments, check, path = sys.argv[1:], False, str(ROOT / "build/openmp/cli/nasturtium")
    while arguments:
        word = arguments.pop(0)
        if word == "--check":
            check = True
        elif word == "--program" and arguments:
            path = arguments.pop(0)
        else:
            print(__doc__, file=sys.stderr)
            return 2
    path = os.path.abspath(path)
    if not os.access(path, os.X_OK):
        print(f"docs/reference.py: no program '{path}' (./nasturtium build)", file=sys.stderr)
        return 2
    text = reference(Program(path, CHECKING if check else WRITING))
    if not check:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    committed = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if text == committed:
        return 0
    print("".join(difflib.unified_diff(committed.splitlines(True), text.splitlines(True), "docs/reference.md", "--help", n=1)))
    print(f"docs/reference.md is not what the program prints. To write it again:\n  {AGAIN}")
    return 1


if __name__ == "__main__":
    sys.exit(main())

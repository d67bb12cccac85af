#!/usr/bin/env python3
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks the documents: links and anchors lead somewhere, files that are named exist, and every command of the program that is shown
could be given: its verb, its options and their choices are in docs/reference.md. A block below `<!-- from FILE -->` stands in that file.
Every report below results/ is in results/README.md.

usage: documents.py [ROOT]
"""
from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import sys
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import markdown  # noqa: E402

SHELL = {"", "sh", "bash", "console"}
PROGRAM = re.compile(r"(?:[A-Z_]+=\S* +)*(?:\./)?nasturtium +\S")
NAMED_FILE = re.compile(r"(?:[A-Za-z_][\w.-]*/)+[\w.-]+\.(?:md|py|sh|sbatch|hpp|cpp|json|csv|txt|cff)")
WRITTEN = ("build", "runs")  # by commands; not part of the project
STANDS_FOR_MANY = re.compile(r"(?:^|/)[A-Z]+(?:_\w+)?\.(?!md)\w+$")
PLACEHOLDER = re.compile(r"\.\.\.|[A-Z][A-Z0-9_]*(?:\.\.\.)?|.*[<>…].*")


@dataclasses.dataclass
class Verb:
    """A verb or subcommand as docs/reference.md shows it: option -> (takes a value, choices or nothing)."""
    options: dict[str, tuple[bool, set[str]]]
    required: list[set[str]]
    positionals: list[str]


def read_verb(lines: list[str]) -> Verb:
    verb = Verb({}, [], [])
    section = ""
    for line in lines:
        if title := re.fullmatch(r"([A-Z][\w ]*):", line):
            section = title.group(1)
        elif section == "Positionals" and (match := re.match(r"  ([A-Z]\w*) ", line)):
            verb.positionals.append(match.group(1))
        elif section not in ("", "Positionals", "Subcommands", "Examples") and (match := re.match(r"  (-\S+)(?: (\S.*?))?(?:  +.*)?$", line)):
            names, value = set(match.group(1).split(",")), match.group(2) or ""
            first = value.split(" ")[0]
            choices = set(first.split("|")) if re.fullmatch(r"[a-z0-9_-]+(\|[a-z0-9_-]+)+", first) else set()
            verb.options |= {name: (bool(value), choices) for name in names}
            if re.search(r"\(required\)|REQUIRED", value):
                verb.required.append(names)
    return verb


def read_reference(path: pathlib.Path) -> dict[tuple[str, ...], Verb]:
    verbs: dict[tuple[str, ...], Verb] = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    heads = [i for i, line in enumerate(lines) if re.match(r"#{2,3} nasturtium ", line)]
    for start, end in zip(heads, [*heads[1:], len(lines)]):
        verbs[tuple(lines[start].split()[2:])] = read_verb(lines[start + 1:end])
    return verbs


class Launcher:
    """What ./nasturtium knows beside the program's verbs."""

    def __init__(self, root: pathlib.Path):
        text = lambda name: (root / name).read_text(encoding="utf-8") if (root / name).exists() else ""
        self.choices = {"test": set(re.findall(r"^suite_(\w+)\(\)", text("tests/run.sh"), re.MULTILINE)),
                        "bench": set(re.findall(r"^  ([a-z][a-z-]+)  +\S", text("bench/run.sh"), re.MULTILINE)) | {"results", "parity", "accuracy"},
                        "build": {p["name"] for p in json.loads(text("CMakePresets.json") or "{}").get("configurePresets", []) if not p.get("hidden")},
                        "shell": set()}

    def fault(self, words: list[str]) -> str:
        what, arguments = words[0], words[1:]
        known = self.choices[what]
        chosen = arguments if what == "test" else arguments[:1]
        wrong = [] if what == "shell" else [a for a in chosen if a not in known and not PLACEHOLDER.fullmatch(a) and not a.startswith("-")]
        return f"'./nasturtium {what}' knows no '{wrong[0]}'" if wrong else ""


def command_fault(words: list[str], reference: dict[tuple[str, ...], Verb], launcher: Launcher, whole: bool) -> str:
    """What is wrong with `nasturtium ...`, or nothing. `whole`: the command is shown to be given, not only mentioned."""
    program, arguments = words[0], [word.strip("[]") if not word.startswith("[[") else word for word in words[1:]]
    arguments = [word for word in arguments if word]
    if not arguments or arguments[0] in ("--help", "-h", "--version", "help") or PLACEHOLDER.fullmatch(arguments[0]):
        return ""
    if program == "./nasturtium" and arguments[0] in launcher.choices:
        return launcher.fault(arguments)
    name: tuple[str, ...] = (arguments[0],)
    if name not in reference:
        return f"no verb is called '{arguments[0]}'"
    children = lambda: {verb[len(name)] for verb in reference if len(verb) > len(name) and verb[:len(name)] == name}
    given: set[str] = set()
    position, rest = 0, arguments[1:]
    while position < len(rest):
        word = rest[position]
        position += 1
        if word.startswith("-") and len(word) > 1 and not re.fullmatch(r"-[\d.]+", word):
            option, has_value, value = word.partition("=")
            owner = next((name[:n] for n in range(len(name), 0, -1) if option in reference[name[:n]].options), None)
            if owner is None:
                return f"'nasturtium {' '.join(name)}' has no option '{option}'"
            given.add(option)
            takes_value, choices = reference[owner].options[option]
            if takes_value and not has_value and position < len(rest) and not rest[position].startswith("--"):
                value = rest[position]
                position += 1
            wrong = [v for v in value.split(",") if choices and v and v not in choices and not PLACEHOLDER.fullmatch(v)]
            if wrong:
                return f"'nasturtium {' '.join(name)} {option}' does not know '{wrong[0]}' ({', '.join(sorted(choices))})"
        elif word in children():
            name = (*name, word)
        elif PLACEHOLDER.fullmatch(word) or "|" in word:
            if children():
                return ""
        elif children() and reference[name].positionals in ([], ["COMMAND"], ["EXPERIMENT"]):
            return f"'nasturtium {' '.join(name)}' has no subcommand '{word}' ({', '.join(sorted(children()))})"
        elif not reference[name].positionals and not given:
            return f"'nasturtium {' '.join(name)}' takes no argument, got '{word}'"
    if whole and not given & {"--help", "-h", "--config", "--resume"} and "..." not in rest:
        for depth in range(1, len(name) + 1):
            for names in reference[name[:depth]].required:
                if not names & given:
                    return f"'nasturtium {' '.join(name)}' needs {max(names, key=len)}"
    return ""


def link_fault(path: pathlib.Path, target: str, root: pathlib.Path, known: dict[pathlib.Path, set[str]]) -> str:
    if re.match(r"[a-z][a-z0-9+.-]*:", target):
        return ""
    name, _, anchor = target.partition("#")
    file = (path.parent / urllib.parse.unquote(name)).resolve() if name else path
    if root not in [file, *file.parents]:
        return f"the link '{target}' leads out of the project"
    if not file.exists():
        return f"the link '{target}' leads nowhere"
    if anchor and file.suffix == ".md":
        if file not in known:
            known[file] = markdown.read(file).anchors()
        if anchor not in known[file]:
            return f"the link '{target}' names no heading of {file.relative_to(root)}"
    return ""


def named_file_fault(path: pathlib.Path, name: str, root: pathlib.Path) -> str:
    """A file that is named in the text: from the root, from the document, or a header as it is included."""
    top = name.split("/")[0]
    if not NAMED_FILE.fullmatch(name) or not (root / top).is_dir() or top in WRITTEN or STANDS_FOR_MANY.search(name):
        return ""
    places = [root / name, path.parent / name, *root.glob(f"*/include/nasturtium/{name}"), *root.glob(f"{top}/src/{name.split('/', 1)[1]}")]
    return "" if any(place.exists() for place in places) else f"no file is called '{name}'"


def excerpt_fault(path: pathlib.Path, block: markdown.Block) -> str:
    """A block below `<!-- from FILE -->` stands in that file, line by line."""
    if not block.mark.startswith("from "):
        return ""
    name = block.mark.removeprefix("from ")
    source = path.parent / name
    if not source.is_file():
        return f"no file is called '{name}'"
    return "" if "\n".join(["", *block.lines, ""]) in "\n" + source.read_text(encoding="utf-8") else f"these lines do not stand in {name}"


def unlisted_reports(root: pathlib.Path) -> list[str]:
    """Reports below results/ that results/README.md does not link to."""
    index = root / "results" / "README.md"
    reports = sorted((root / "results").rglob("report.json"))
    linked = {(index.parent / target.split("#")[0]).resolve() for _, target in markdown.read(index).links()} if index.exists() else set()
    return [f"results/README.md: does not link to {report.parent.relative_to(root)}/" for report in reports
            if not any(target == report.parent or report.parent in target.parents for target in linked)]


def faults(root: pathlib.Path) -> list[str]:
    root = root.resolve()
    reference, launcher = read_reference(root / "docs/reference.md"), Launcher(root)
    anchors: dict[pathlib.Path, set[str]] = {}
    found: list[str] = []
    for path in markdown.files(root):
        document = markdown.read(path)
        def say(line: int, fault: str) -> None:
            if fault:
                found.append(f"{path.relative_to(root)}:{line}: {fault}")
        for line, target in document.links():
            say(line, link_fault(path.resolve(), target, root, anchors))
        for block in document.blocks:
            say(block.line, excerpt_fault(path, block))
        if path == root / "docs/reference.md":
            continue
        shown = [(block.line + at, text, True) for block in document.blocks if block.language in SHELL and not block.generated
                 for at, text in markdown.commands(block.lines)]
        for line, text, whole in [*shown, *((line, code, False) for line, code in document.code())]:
            if not whole:
                say(line, named_file_fault(path, text.removeprefix("./"), root))
            try:
                parts = markdown.words(text) if PROGRAM.match(text) or whole else []
            except ValueError:
                if PROGRAM.match(text):
                    say(line, f"'{text}' is no line of shell")
                continue
            for words in parts:
                if words[0] in ("nasturtium", "./nasturtium") and PROGRAM.match(text):
                    say(line, command_fault(words, reference, launcher, whole))
                elif whole and re.fullmatch(r"(?:\./)?(?:bench|docs|env|tests)/[\w./-]+", words[0]) and not (root / words[0]).exists():
                    say(line, f"no file is called '{words[0]}'")
    return found + unlisted_reports(root)


def main() -> int:
    if len(sys.argv) > 2 or sys.argv[1:2] == ["--help"]:
        print(__doc__, file=sys.stderr)
        return 2
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    if not (root / "docs/reference.md").exists():
        print(f"{root}: has no docs/reference.md", file=sys.stderr)
        return 2
    found = faults(root)
    print("\n".join(found) if found else "documents: every link leads somewhere, every command could be given")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

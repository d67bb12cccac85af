# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the checks need of Markdown: code blocks, code in the text, links, anchors. Used by documents.py and examples.py."""
from __future__ import annotations

import dataclasses
import pathlib
import re
import shlex
import subprocess

FENCE = re.compile(r"^( {0,3})(`{3,}|~{3,})\s*(\S*)")
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^()\s<>]+(?:\([^()]*\)[^()\s<>]*)*)>?(?:\s+\"[^\"]*\")?\s*\)")
DEFINITION = re.compile(r"^ {0,3}\[[^\]]+\]:\s+<?([^\s>]+)>?", re.MULTILINE)


@dataclasses.dataclass
class Block:
    line: int  # of its first line of code, from 1
    language: str  # of a fence; "" where it names none, and of an indented block
    lines: list[str]
    mark: str = ""  # what the comment in the line before the fence says
    generated: bool = False  # between `<!-- table NAME -->` and `<!-- end -->`


@dataclasses.dataclass
class Document:
    path: pathlib.Path
    blocks: list[Block]
    prose: str  # the text with all code blocks blank; lines keep their numbers

    def code(self) -> list[tuple[int, str]]:
        """Code within the text, and the line where it begins; a line break within it is a blank."""
        return [(self.prose.count("\n", 0, m.start()) + 1, " ".join(m.group(2).split()))
                for m in re.finditer(r"(?<!`)(`+)(?!`)((?:(?!\n\s*\n).)+?)(?<!`)\1(?!`)", self.prose, re.DOTALL)]

    def links(self) -> list[tuple[int, str]]:
        text = re.sub(r"(?<!`)(`+)(?!`)((?:(?!\n\s*\n).)+?)(?<!`)\1(?!`)", lambda m: re.sub(r"[^\n]", " ", m.group(0)), self.prose, flags=re.DOTALL)
        return [(text.count("\n", 0, m.start()) + 1, m.group(1)) for pattern in (LINK, DEFINITION) for m in pattern.finditer(text)]

    def anchors(self) -> set[str]:
        """Of its headings, as GitHub makes them."""
        found: set[str] = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", self.prose))
        for heading in re.findall(r"^#{1,6}\s+(.*?)\s*#*$", self.prose, re.MULTILINE):
            text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            name, number = slug, 0
            while name in found:
                number += 1
                name = f"{slug}-{number}"
            found.add(name)
        return found


def read(path: pathlib.Path) -> Document:
    prose: list[str] = []
    blocks: list[Block] = []
    fence, mark, generated, after_blank = "", "", False, True
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = FENCE.match(line)
        if fence:
            if match and match.group(2).startswith(fence) and not match.group(3):
                fence = ""
            else:
                blocks[-1].lines.append(line)
            prose.append("")
            after_blank = True
            continue
        comment = re.fullmatch(r"<!-- (.*) -->", line.strip())
        if comment and comment.group(1).startswith("table "):
            generated = True
        if comment and comment.group(1) == "end":
            generated = False
        if match:
            fence = match.group(2)
            blocks.append(Block(number + 1, match.group(3), [], mark, generated))
            prose.append("")
        elif line.startswith("    ") and line.strip() and (after_blank or (blocks and blocks[-1].line + len(blocks[-1].lines) == number)):
            # An indented block; within a list it may be text, which does no harm: only commands are looked for.
            if not blocks or blocks[-1].line + len(blocks[-1].lines) != number:
                blocks.append(Block(number, "", [], mark, generated))
            blocks[-1].lines.append(line[4:])
            prose.append(line)
            after_blank = False
            continue
        else:
            prose.append(line)
        mark = comment.group(1) if comment else (mark if not line.strip() else "")
        after_blank = not line.strip()
    return Document(path, blocks, "\n".join(prose))


def files(root: pathlib.Path) -> list[pathlib.Path]:
    """All Markdown of the project: what git knows or would add; below a plain folder, everything."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z", "*.md"], capture_output=True, text=True)
    if listed.returncode == 0 and (root / ".git").exists():
        return sorted(path for name in listed.stdout.split("\0") if name and (path := root / name).exists())
    return sorted(root.rglob("*.md"))


def commands(lines: list[str]) -> list[tuple[int, str]]:
    """Lines of a block with their numbers from 0; what ends in a backslash goes on in the next."""
    found: list[tuple[int, str]] = []
    at = 0
    while at < len(lines):
        start, text = at, lines[at]
        while text.endswith("\\") and at + 1 < len(lines):
            at += 1
            text = text[:-1] + " " + lines[at].strip()
        found.append((start, text.strip().removeprefix("$ ")))
        at += 1
    return found


def words(command: str) -> list[list[str]]:
    """The simple commands of a line of shell, as words: cut at | ; &, without comments, redirections and assignments before them."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    redirected = False
    for word in lexer:
        if set(word) <= set("|&;"):
            parts.append([])
        elif set(word) <= set("<>"):
            redirected = True
        elif redirected:
            redirected = False
        elif not parts[-1] and re.match(r"[A-Za-z_]\w*=", word):
            continue
        else:
            parts[-1].append(word)
    return [part for part in parts if part]

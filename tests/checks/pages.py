#!/usr/bin/env python3
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks HTML pages that the program writes: well formed, no request to anywhere, every figure has a text for those who
cannot see it, headings in order. With --browser, Chromium also loads each page without any network at the width of a
laptop and of a phone: no error in its console, nothing wider than the window.

usage: tests/checks/pages.py [--browser] [--pictures DIR] PAGE...     --pictures keeps a PNG of each page and width
"""
from __future__ import annotations

import html.parser
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
LOADS = {"src", "href", "srcset", "data", "poster", "action", "xlink:href"}
WIDTHS = {"laptop": 1280, "phone": 390}
PROBE = """<script>addEventListener('load', () => { const root = document.documentElement;
document.title = 'width ' + root.scrollWidth + ' of ' + root.clientWidth; });</script>"""


class Reader(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.level = 0
        self.figures: list[bool] = []  # of every open svg: whether a title or a label has been seen
        self.language = self.charset = self.viewport = self.titled = False

    def say(self, fault: str) -> None:
        self.faults.append(f"line {self.getpos()[0]}: {fault}")

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if len(given) != len(attributes):
            self.say(f"<{tag}> has an attribute twice")
        for name in LOADS & given.keys():
            if not given[name].startswith(("#", "data:")):
                self.say(f"<{tag}> loads or leads to '{given[name]}'")
        if "id" in given:
            if given["id"] in self.ids:
                self.say(f"id '{given['id']}' is there twice")
            self.ids.add(given["id"])
        if tag == "img" and not given.get("alt"):
            self.say("<img> has no alt")
        if tag == "svg":
            self.figures.append(given.get("role") == "presentation" or bool(given.get("aria-label") or given.get("aria-labelledby")))
        if tag == "title" and self.figures:
            self.figures[-1] = True
        if re.fullmatch("h[1-6]", tag):
            level = int(tag[1])
            if level > self.level + 1:
                self.say(f"<{tag}> comes below a heading of level {self.level}")
            self.level = level
        self.language |= tag == "html" and bool(given.get("lang"))
        self.charset |= tag == "meta" and given.get("charset", "").lower() == "utf-8"
        self.viewport |= tag == "meta" and given.get("name") == "viewport"
        self.titled |= tag == "title" and not self.figures
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "svg" and self.figures and not self.figures.pop():
            self.say("an <svg> has no text for those who cannot see it")
        if not self.open or self.open[-1] != tag:
            self.say(f"</{tag}> closes {self.open[-1] if self.open else 'nothing'}")
            return
        self.open.pop()


def faults(text: str) -> list[str]:
    reader = Reader()
    reader.feed(text)
    reader.close()
    found = reader.faults + [f"<{tag}> is never closed" for tag in reader.open]
    for what, there in (("lang", reader.language), ("charset", reader.charset), ("viewport", reader.viewport), ("title", reader.titled)):
        if not there:
            found.append(f"the page has no {what}")
    for call in re.findall(r"@import|url\((?!['\"]?(?:#|data:))[^)]*\)|\b(?:fetch|XMLHttpRequest|importScripts)\b", text):
        found.append(f"the page may ask for something: {call[:60]}")
    if not text.lstrip().lower().startswith("<!doctype html>"):
        found.append("the page has no doctype")
    return found


def browse(page: pathlib.Path, pictures: pathlib.Path | None) -> list[str]:
    """What Chromium finds; the network is cut off."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        return ["there is no Chromium"]
    found: list[str] = []
    common = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr"]
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "page.html"
        copy.write_text(page.read_text(encoding="utf-8").replace("</body>", PROBE + "</body>"), encoding="utf-8")
        for name, width in WIDTHS.items():
            # Windows have a least width of their own: the page is put in a frame of the wanted one.
            frame = pathlib.Path(folder) / f"{name}.html"
            frame.write_text(f"<!doctype html><title>-</title><body style='margin:0'><iframe src='page.html' style='border:0;width:{width}px;height:4000px'></iframe>"
                             "<script>addEventListener('load', () => { document.title = frames[0].document.title; });</script>", encoding="utf-8")
            done = subprocess.run([*common, "--allow-file-access-from-files", "--virtual-time-budget=3000", f"--window-size={max(width, 600)},900", "--dump-dom", frame.as_uri()],
                                  capture_output=True, text=True, timeout=120, check=False)
            for line in done.stderr.splitlines():
                if "CONSOLE" in line:
                    found.append(f"{name}: console: {line.split('CONSOLE', 1)[1][:160]}")
            match = re.search(r"<title>width (\d+) of (\d+)</title>", done.stdout)
            if not match:
                found.append(f"{name}: the page did not load")
            elif int(match.group(1)) > int(match.group(2)):
                found.append(f"{name}: {match.group(1)} pixels wide in a window of {match.group(2)}")
            if pictures:
                pictures.mkdir(parents=True, exist_ok=True)
                shot = pictures / f"{page.parent.name}-{name}.png"
                subprocess.run([*common, f"--window-size={max(width, 600)},4000", f"--screenshot={shot}", frame.as_uri().replace(f"{name}.html", "page.html") if width >= 600 else frame.as_uri()],
                               capture_output=True, timeout=120, check=False)
    return found


def main() -> int:
    arguments, browser, pictures, pages = sys.argv[1:], False, None, []
    while arguments:
        word = arguments.pop(0)
        if word == "--browser":
            browser = True
        elif word == "--pictures" and arguments:
            pictures = pathlib.Path(arguments.pop(0))
        else:
            pages.append(pathlib.Path(word))
    if not pages:
        print(__doc__, file=sys.stderr)
        return 2
    bad = 0
    for page in pages:
        found = faults(page.read_text(encoding="utf-8"))
        if browser:
            found += browse(page, pictures)
        for fault in found:
            print(f"{page}: {fault}")
        bad += len(found)
    print(f"pages: {len(pages)} looked at, {bad} faults")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

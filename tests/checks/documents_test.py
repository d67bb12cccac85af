# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tests of documents.py and markdown.py: what is broken is found and what is whole passes. Run with unittest."""
from __future__ import annotations

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import documents  # noqa: E402
import markdown  # noqa: E402

REFERENCE = """# Reference

## nasturtium train

```text
Trains.

Usage: nasturtium train [options]

Options:
  -h,--help                       Print this help message and exit
  --arch FILE ...                 Architecture
  --epochs N [10]                 Passes
  --order shuffled|sequential [shuffled]
                                  Order of the samples, not --other
  --flip,--no-flip                Flips

Examples:
  nasturtium train --bogus
```

## nasturtium evaluate

```text
Usage: nasturtium evaluate [options]

Options:
  --weights FILE (required)       Weights
```

## nasturtium store

```text
Usage: nasturtium store [options] SUBCOMMAND

Options:
  --json                          As JSON

Subcommands:
  ls                              All
  rm                              Remove
```

### nasturtium store ls

```text
Usage: nasturtium store ls [options]

Options:
  -h,--help                       Print this help message and exit
```

### nasturtium store rm

```text
Usage: nasturtium store rm [options] ID...

Positionals:
  ID TEXT ... REQUIRED            Models
```
"""


class Documents(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name).resolve()
        self.put("docs/reference.md", REFERENCE)
        self.put("tests/run.sh", "suite_style() { :; }\n")

    def put(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def found(self, text: str) -> list[str]:
        self.put("README.md", text)
        return documents.faults(self.root)

    def test_whole_documents_pass(self) -> None:
        self.put("docs/other.md", "# A title, with `code` and (more)\n\n## Twice\n\n## Twice\n")
        self.assertEqual(self.found(
            "# One\n\n[a](docs/other.md#a-title-with-code-and-more) [b](docs/other.md#twice-1) [c](#one) [d](docs/) [e](https://x.org/#y)\n\n"
            "`[not](a-link.md)` and `nasturtium train --arch\nmine.json`, `docs/other.md`, `./nasturtium test style`\n\n"
            "```\n./nasturtium train --arch a.json b.json --epochs=3 \\\n    --order sequential --no-flip   # --bogus in a comment\n"
            "nasturtium store ls --json | head; nasturtium store rm 17 > out.txt\n```\n\n"
            "    OMP_NUM_THREADS=1 ./nasturtium evaluate --weights w.h5\n\n"
            "```cpp\nnasturtium train --bogus\n```\n"), [])

    def test_every_fault_is_found(self) -> None:
        for text, fault in {
            "[a](gone.md)": "README.md:1: the link 'gone.md' leads nowhere",
            "# One\n\n[a](#two)": "README.md:3: the link '#two' names no heading of README.md",
            "[a](docs/reference.md#nasturtium-fly)": "names no heading of docs/reference.md",
            "![a](docs/gone.svg)": "the link 'docs/gone.svg' leads nowhere",
            "[a](../outside)": "leads out of the project",
            "[a]: docs/gone.md": "the link 'docs/gone.md' leads nowhere",
            "see `docs/gone.md`": "no file is called 'docs/gone.md'",
            "`nasturtium fly`": "no verb is called 'fly'",
            "`nasturtium train --wings 2`": "'nasturtium train' has no option '--wings'",
            "```\nnasturtium train --epochs 3 \\\n  --wings\n```": "README.md:2: 'nasturtium train' has no option '--wings'",
            "```sh\nls && ./nasturtium train --wings\n./nasturtium train --wings\n```": "README.md:3: 'nasturtium train' has no option",
            "    nasturtium train --order backwards": "'nasturtium train --order' does not know 'backwards' (sequential, shuffled)",
            "```\nnasturtium train lenet\n```": "'nasturtium train' takes no argument, got 'lenet'",
            "```\nnasturtium evaluate\n```": "'nasturtium evaluate' needs --weights",
            "```\nnasturtium store sell\n```": "'nasturtium store' has no subcommand 'sell' (ls, rm)",
            "```\nnasturtium store ls --other\n```": "'nasturtium store ls' has no option '--other'",
            "```\n./nasturtium test speed\n```": "'./nasturtium test' knows no 'speed'",
            "```\nnasturtium train --arch 'a\n```": "is no line of shell",
            "```\ntests/gone.sh --fast\n```": "no file is called 'tests/gone.sh'",
        }.items():
            with self.subTest(text=text):
                found = self.found(text)
                self.assertEqual(len(found), 1, found)
                self.assertIn(fault, found[0])

    def test_mentions_need_no_required_options(self) -> None:
        self.assertEqual(self.found("`nasturtium evaluate`, `nasturtium VERB [options]`, `nasturtium store` and `nasturtium train [--epochs N]`"), [])

    def test_reports_must_be_listed(self) -> None:
        self.put("results/one/report.json", "{}")
        self.put("results/two/report.json", "{}")
        self.put("results/two/tables.md", "")
        self.assertEqual(self.found(""), ["results/README.md: does not link to results/one/", "results/README.md: does not link to results/two/"])
        self.put("results/README.md", "[two](two/tables.md)")
        self.assertEqual(self.found(""), ["results/README.md: does not link to results/one/"])

    def test_excerpts_stand_in_their_files(self) -> None:
        self.put("a.cpp", "one\n  two\nthree\n")
        self.assertEqual(self.found("<!-- from a.cpp -->\n```cpp\n  two\nthree\n```\n"), [])
        self.assertEqual(self.found("<!-- from a.cpp -->\n```cpp\ntwo\nthree\n```\n"), ["README.md:3: these lines do not stand in a.cpp"])
        self.assertEqual(self.found("<!-- from b.cpp -->\n```cpp\ntwo\n```\n"), ["README.md:3: no file is called 'b.cpp'"])

    def test_any_text_is_read(self) -> None:
        for text in ("", "```", "`", "``a`b``", "[", "[](", "    ", "```\n\\", "~~~\n```\n~~~\n[a](gone.md)", "<!-- table x -->"):
            with self.subTest(text=text):
                self.assertIsInstance(self.found(text), list)
        self.assertEqual(self.found("~~~\n```\n[b](gone)\n~~~\n[a](gone.md)"), ["README.md:5: the link 'gone.md' leads nowhere"])

    def test_generated_tables_are_not_commands(self) -> None:
        self.assertEqual(self.found("<!-- table demo -->\n```\nnasturtium  50.9  2.0\n```\n<!-- end -->\n"), [])


class Words(unittest.TestCase):
    def test_simple_commands(self) -> None:
        self.assertEqual(markdown.words("A=1 a --b 'c d' | e > f && g # h"), [["a", "--b", "c d"], ["e"], ["g"]])
        self.assertEqual(markdown.words("a 2>/dev/null; b"), [["a", "2"], ["b"]])
        self.assertEqual(markdown.words(""), [])

    def test_continued_lines(self) -> None:
        self.assertEqual(markdown.commands(["$ a \\", "   b", "c", "d \\"]), [(0, "a  b"), (2, "c"), (3, "d \\")])


if __name__ == "__main__":
    unittest.main()

# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tests of examples.py, with a program that is a stand-in."""
from __future__ import annotations

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import examples  # noqa: E402
import markdown  # noqa: E402


class Examples(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.program = self.folder / "program"
        self.program.write_text(f"#!/bin/sh\necho \"$@\" >>{self.folder}/program.calls\n[ \"$1\" != fail ]\n", encoding="utf-8")
        self.program.chmod(0o755)

    def document(self, text: str) -> markdown.Document:
        path = self.folder / "page.md"
        path.write_text(text, encoding="utf-8")
        return markdown.read(path)

    def calls(self) -> list[str]:
        path = self.folder / "program.calls"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def test_marked_blocks_run_in_order_in_one_folder(self) -> None:
        self.assertEqual(examples.run(self.program, self.document(
            "```\n./nasturtium fail\n```\n\n<!-- run, leaves a -->\n```\ntouch a\n./nasturtium one --epochs 20 \\\n   --subset=9 # not --epochs\n```\n"
            "<!-- run with --epochs 2 --subset 3 -->\n```\n./nasturtium two --epochs 20 \\\n   --subset=9\nls a docs/\n```\n")), [])
        self.assertEqual(self.calls(), ["one --epochs 20 --subset=9", "two --epochs 2 --subset=3"])

    def test_the_numbers_of_the_page(self) -> None:
        self.assertEqual(examples.run(self.program, self.document("<!-- run with --epochs 2 -->\n```\n./nasturtium --epochs 20\n```\n"), True), [])
        self.assertEqual(self.calls(), ["--epochs 20"])

    def test_what_fails_is_told(self) -> None:
        for text, fault in (("<!-- run -->\n```\n./nasturtium fail\ntouch never\n```\n", "page.md:3: exit status 1"),
                            ("<!-- run -->\n```\nfalse | true\n```\n", "page.md:3: exit status 1"),
                            ("<!-- run, leaves a b -->\n```\ntouch a\n```\n", "page.md:3: left no b"),
                            ("```\ntrue\n```\n", "page.md: has no block to run")):
            found = examples.run(self.program, self.document(text))
            self.assertEqual(len(found), 1)
            self.assertIn(fault, found[0])
        with self.assertRaises(ValueError):
            examples.run(self.program, self.document("<!-- run with --epochs -->\n```\ntrue\n```\n"))

    def test_data_sets_that_are_missing(self) -> None:
        page = self.document("<!-- run -->\n```\n./nasturtium train --dataset fashion-mnist --dataset synthetic --dataset csv:a\n```\n")
        self.assertTrue(examples.has_data(self.program, page))
        self.assertEqual(self.calls(), ["datasets info fashion-mnist"])
        self.program.write_text("#!/bin/sh\nexit 2\n", encoding="utf-8")
        self.assertFalse(examples.has_data(self.program, page))


if __name__ == "__main__":
    unittest.main()

# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A page with every fault is found out, and one without is left alone."""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import pages  # noqa: E402

GOOD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>t</title></head><body><h1>a</h1><h2 id="b">b</h2><p>c<br>d</p><a href="#b">e</a>
<svg role="img" aria-label="a line"><path d="M0 0"/></svg></body></html>"""


class Pages(unittest.TestCase):
    def test_a_good_page_has_no_faults(self):
        self.assertEqual(pages.faults(GOOD), [])

    def test_every_fault_is_found(self):
        for old, new, expected in (('<a href="#b">', '<a href="https://example.org">', "example.org"),
                                   ("<p>c", "<p>c<script src='x.js'></script>", "x.js"),
                                   (' aria-label="a line"', "", "cannot see"),
                                   ("<h2 id", "<h3 id", "below a heading"),
                                   ("</p>", "", "closes p"),
                                   ("<p>", '<p id="b">', "twice"),
                                   (' lang="en"', "", "lang"),
                                   ("<!doctype html>", "", "doctype"),
                                   ("<p>c", "<p>c<img src='data:,'>", "alt"),
                                   ("<p>c", "<style>@import 'x.css';</style><p>c", "@import"),
                                   ("<p>c", "<style>p { background: url(http://a/b.png) }</style><p>c", "url(http"),
                                   ("<title>t</title>", "", "no title"),
                                   ("</body>", "", "closes body")):
            with self.subTest(new=new, expected=expected):
                self.assertIn(old, GOOD)
                self.assertTrue(any(expected in fault for fault in pages.faults(GOOD.replace(old, new, 1))),
                                pages.faults(GOOD.replace(old, new, 1)))


if __name__ == "__main__":
    unittest.main()

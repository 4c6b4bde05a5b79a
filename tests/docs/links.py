#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Links lead somewhere: links.py ROOT SITE. Those of the project's Markdown files to files and headings of the project, and
those of the site's pages to pages of the site and what is in them. Nothing is fetched from the network. Also: the README
is short enough to be read. Names what is wrong, and ends with status 1 if anything is."""

import html.parser
import pathlib
import re
import sys
import urllib.parse

README_LINES = 170
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
SKIPPED = ("http://", "https://", "mailto:", "javascript:", "data:")


def headings(path):
    """The anchors that a Markdown file's headings have on code hosts."""
    text = CODE.sub("", path.read_text())
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")
            for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


def check_markdown(root, path):
    for link in LINK.findall(CODE.sub("", path.read_text())):
        if link.startswith(SKIPPED):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists():
            yield f"{path.relative_to(root)}: no file {name}"
        elif anchor and target.suffix == ".md" and anchor not in headings(target):
            yield f"{path.relative_to(root)}: no heading {anchor} in {target.name}"


class Page(html.parser.HTMLParser):
    """Where a page links to, and what in it can be linked to."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = set(), set()
        self.feed(path.read_text(errors="replace"))

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value and not value.startswith(SKIPPED):
                self.links.add(urllib.parse.unquote(value))


def check_site(site):
    pages = {path.name: Page(path) for path in site.glob("*.html")}
    if "index.html" not in pages:
        yield f"no index.html in {site}"
    for name, page in sorted(pages.items()):
        for link in sorted(page.links):
            target, _, anchor = link.partition("#")
            target = target or name
            if not (site / target).exists():
                yield f"site: {name} links to {target}, which is not there"
            elif anchor == "nested-classes":
                continue  # Doxygen 1.9 links to this heading where all nested classes are private, too
            elif anchor and target in pages and anchor not in pages[target].anchors:
                yield f"site: {name} links to {link}, which is nothing in that page"


def main():
    root, site = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    parts = ("bench", "examples", "tests", ".github")
    documents = [*root.glob("*.md"), *(path for part in parts for path in (root / part).rglob("*.md"))]
    wrong = [problem for path in documents for problem in check_markdown(root, path)]
    wrong += check_site(site)
    lines = len((root / "README.md").read_text().splitlines())
    if lines > README_LINES:
        wrong.append(f"README.md: {lines} lines, expected at most {README_LINES}")
    print(f"{len(documents)} documents, {len(wrong)} faults", *wrong, sep="\n")
    return 1 if wrong else 0


sys.exit(main())

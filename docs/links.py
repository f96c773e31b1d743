"""Checks a built site: every internal link, anchor and picture exists, and no page loads anything from elsewhere.

    python -m docs.links docs/_build/html

prints what is wrong, a line each, and ends with status 1 if anything is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {
    "img": "src",
    "script": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "object": "data",
}


class Page(HTMLParser):
    """What a page has (ids), loads and links to, with the lines."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.loads: list[tuple[int, str]] = []
        self.links: list[tuple[int, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        line = self.getpos()[0]
        if tag == "a" and "href" in found:
            self.links.append((line, found["href"]))
        elif tag == "image" and "xlink:href" in found:
            self.loads.append((line, found["xlink:href"]))
        elif tag in LOADS and LOADS[tag] in found and found.get("rel") not in ("canonical", "next", "prev", "search"):
            self.loads.append((line, found[LOADS[tag]]))


def problems(site: Path) -> Iterator[str]:
    """A line for everything that is wrong with the pages and style sheets of a folder."""
    site = site.resolve()
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    if not pages:
        yield f"{site}: no pages"
    for path, page in pages.items():
        for is_load, (line, address) in [(True, x) for x in page.loads] + [(False, x) for x in page.links]:
            where = f"{path.relative_to(site)}:{line}"
            url = urlsplit(address)
            if url.scheme == "data":
                continue
            if url.scheme or url.netloc:
                if is_load:
                    yield f"{where}: loads {address}"
                continue
            if url.path.startswith("/"):
                yield f"{where}: {address} is not relative"
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path.resolve()
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                yield f"{where}: {address} does not exist"
            elif url.fragment and not is_load and target in pages:
                if unquote(url.fragment) not in pages[target].anchors:
                    yield f"{where}: {address} has no such anchor"
    for style in sorted(site.rglob("*.css")):
        for address in re.findall(
            r"(?:url\(|@import\s+)[\"']?((?:https?:)?//[^)\"']+)", style.read_text(encoding="utf-8")
        ):
            yield f"{style.relative_to(site)}: loads {address}"


def main(folder: str) -> int:
    found = list(problems(Path(folder)))
    print("\n".join(found) or "every link of the site leads somewhere, and nothing is loaded from elsewhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

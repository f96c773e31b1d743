"""What the pages of the site say of the project exists: names, files, pages. Needs no Sphinx."""

import inspect
import json
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from docs import names, pictures
from docs.links import problems

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [p for p in sorted(DOCS.rglob("*.md")) if "_build" not in p.parts]
PROSE = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def prose(page):
    """A page, or a notebook's cells of text, without blocks of code."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        text = "\n".join("".join(c["source"]) for c in json.loads(text)["cells"] if c["cell_type"] == "markdown")
    return re.sub(r"^(`{3,}).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE)


def directives(page, name):
    """(argument, options) of every directive of this name."""
    pattern = rf"^```\{{{name}\}} ?(.*?)\n((?::.*\n)*)"
    for argument, options in re.findall(pattern, page.read_text(encoding="utf-8"), re.MULTILINE):
        yield argument, dict(re.findall(r"^:([\w-]+): *\"?(.*?)\"?$", options, re.MULTILINE))


def anchors(page):
    """The headings of a page, as links name them."""
    if page.suffix not in (".md", ".ipynb"):
        return None
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", prose(page), re.M)}


@pytest.mark.parametrize("page", PROSE, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    for address in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(page))):
        path, _, anchor = address.partition("#")
        target = (page.parent / path if path else page).resolve()
        if target.parent == DOCS / "tutorials" and target.suffix == ".ipynb":
            target = ROOT / "notebooks" / target.name  # the build puts them there
        assert not address.startswith("http"), f"{page.name}: {address}"
        assert target.exists(), f"{page.name}: {address}"
        known = anchors(target)
        assert not anchor or known is None or anchor in known, f"{page.name}: {address}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(DOCS)))
def test_source_that_a_page_shows_is_there(page):
    for path, options in [*directives(page, "literalinclude"), *directives(page, "include")]:
        text = (page.parent / path).read_text(encoding="utf-8")
        for key in ("start-at", "start-after", "end-before"):
            assert options.get(key, "") in text, f"{page.name}: {path} has no {options[key]!r}"
        for name in options.get("pyobject", "").split(".")[-1:]:
            assert not name or re.search(rf"^ *(def|class) {name}\b", text, re.MULTILINE), (
                f"{page.name}: {path}: {name}"
            )


def drawn():
    return {n for n, f in vars(pictures).items() if inspect.isfunction(f) and f.__module__ == "docs.pictures"}


def test_every_picture_is_drawn_by_a_function_and_shown_in_the_gallery():
    assert {name for page in PAGES for name, _ in directives(page, "picture")} <= drawn()
    assert {name for name, _ in directives(DOCS / "gallery.md", "picture")} == drawn()


def test_every_public_name_is_described_once_with_a_docstring():
    found = [entry for module in names.MODULES for entry in names.entries(module)[0]]
    assert max(Counter(entry.name for entry in found).values()) == 1
    assert max(Counter(id(entry.value) for entry in found).values()) == 1
    assert [e.name for e in found if not (inspect.getdoc(e.value) or "").strip()] == []
    for module in names.MODULES:
        grouped = [e.name for members in names.grouped(module).values() for e in members]
        assert sorted(grouped) == sorted(e.name for e in names.entries(module)[0])


def test_the_reference_lists_every_module():
    listed = re.findall(r"^[\w.]+$", (DOCS / "reference" / "index.md").read_text(), re.MULTILINE)
    assert set(names.MODULES) <= set(listed)


def test_all_37_systems_have_names_and_pages_that_exist():
    rows = re.findall(r"^\| ([A-Z]\d+) \| (.*) \| (.*) \| (.*) \|$", (DOCS / "systems.md").read_text(), re.MULTILINE)
    counts = Counter(row[0][0] for row in rows)
    assert counts == {"E": 10, "S": 5, "N": 11, "O": 10, "V": 1}
    assert len({row[0] for row in rows}) == 37
    for ident, _, named, pages in rows:
        wanted = re.findall(r"`([^`]+)`", named)
        assert wanted and [n for n in wanted if n not in names.described()] == [], ident
        assert re.search(r"\]\(", pages), ident


def test_version_changelog_and_citation_agree():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == version
    assert re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1] == version


def test_the_readme_has_at_most_200_lines():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_the_checker_of_links_sees_what_is_wrong(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="here"></p><a href="#here"></a><a href="b.html#there"></a><a href="https://example.org/"></a>'
    )
    (tmp_path / "b.html").write_text('<h1 id="there"></h1><img src="data:image/png;base64,">')
    (tmp_path / "style.css").write_text("body { background: url(data:image/png;base64,) }")
    assert list(problems(tmp_path)) == []
    (tmp_path / "a.html").write_text(
        '<a href="c.html"></a><a href="b.html#nowhere"></a><a href="/b.html"></a>'
        '<img src="https://example.org/x.png"><script src="//example.org/x.js"></script><img src="x.png">'
    )
    (tmp_path / "style.css").write_text('@import "https://example.org/x.css";')
    found = "\n".join(problems(tmp_path))
    for word in ("c.html does", "no such anchor", "not relative", "x.png", "x.js", "x.png does", "x.css"):
        assert word in found
    assert len(found.splitlines()) == 7

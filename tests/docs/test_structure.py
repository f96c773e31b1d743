"""What the pages of the site say of the project exists: names, files, pages. Needs no Sphinx."""

import doctest
import inspect
import json
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from docs import examples, names, pictures
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
    parts = (DOCS / "systems.md").read_text().split("\n## ")[1:]
    rows = [re.findall(r"^\| ([^|]+) \| (`[^|]+) \| ([^|]+) \|$", part, re.MULTILINE) for part in parts]
    assert [len(part) for part in rows] == [10, 5, 11, 10, 1]
    assert len({system for part in rows for system, _, _ in part}) == 37
    for system, named, pages in (row for part in rows for row in part):
        assert [n for n in re.findall(r"`([^`]+)`", named) if n not in names.described()] == [], system
        assert "](" in pages, system


@pytest.mark.parametrize("module", names.MODULES)
def test_the_examples_of_a_page_take_what_it_says(module):
    made = {}
    exec("\n".join(examples.imports(module)), made)
    for name, text in examples.examples(module):
        unknown = examples.taken(text) - set(made)
        assert not unknown, f"{name}: {unknown}"


@pytest.mark.slow
@pytest.mark.parametrize("module", names.MODULES)
def test_the_examples_of_a_page_run_after_the_imports_that_it_names(module):
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    for name, text in examples.examples(module):
        made = {}
        exec("\n".join(examples.imports(module)), made)
        test = doctest.DocTestParser().get_doctest(text, made, name, None, None)
        assert doctest.DocTestRunner(optionflags=flags).run(test).failed == 0, name


def test_every_extra_is_described_in_what_it_needs():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    rows = re.findall(r"^\| (`\[\w+\]`.*?) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    described = {extra: row for row in rows for extra in re.findall(r"`\[(\w+)\]`", row)}
    assert described.keys() == extras.keys()
    for extra, row in described.items():
        packages = [re.match(r"[\w-]+", p)[0] for p in extras[extra] if not p.startswith("autodiff")]
        assert set(packages) <= set(re.findall(r"[\w-]+", row)), extra


@pytest.mark.parametrize("page", [*PROSE, *sorted((ROOT / "notebooks").glob("*.ipynb"))], ids=lambda p: p.name)
def test_every_column_of_a_table_has_a_name(page):
    for head in re.findall(r"^(\|.*\|)\n\| *:?-", prose(page), re.MULTILINE):
        assert all(cell.strip() for cell in re.split(r"(?<!\\)\|", head)[1:-1]), head


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

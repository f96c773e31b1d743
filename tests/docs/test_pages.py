"""The pages of the site: their code runs, and what they point to exists. Needs no Sphinx."""

from pathlib import Path

import pytest

from .. import snippets

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts and snippets.blocks(p))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(DOCS)))
def test_the_code_of_a_page_runs_and_gives_what_it_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    snippets.run(page)

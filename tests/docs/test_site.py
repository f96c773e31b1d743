"""The built site in a browser. Build it first: ``python -m sphinx -W --keep-going -b html docs docs/_build/html``."""

import json
import re
from importlib import resources
from itertools import cycle
from pathlib import Path

import pytest

from .. import chromium

SITE = Path(__file__).parents[2] / "docs" / "_build" / "html"
PAGES = sorted(p for p in SITE.rglob("*.html") if "_static" not in p.parts)
WAYS = [(390, False), (1400, True), (390, True), (1400, False)]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PAGES, reason="the site is not built"),
    pytest.mark.skipif(chromium.PROGRAM is None, reason="no Chromium"),
]


@pytest.fixture
def browser():
    browser = chromium.Browser()
    yield browser
    browser.close()


def opened(browser, page, width, dark):
    """What went wrong while a page was opened."""
    browser.window(width, 900, dark=dark)
    browser.open(page)
    browser.run("Promise.all([window.MathJax?.startup?.promise, document.fonts.ready])")
    browser.run("new Promise(done => setTimeout(done, 300))")
    browser.run("document.getAnimations().forEach(animation => animation.cancel())")  # colours on their way to others
    where = f"{page.relative_to(SITE)} at {width} {'dark' if dark else 'light'}"
    for event in browser.events:
        method, params = event["method"], event["params"]
        if method == "Network.requestWillBeSent" and not params["request"]["url"].startswith(
            ("file:", "data:", "about:")
        ):
            yield f"{where}: asks for {params['request']['url']}"
        if method in ("Runtime.exceptionThrown", "Network.loadingFailed"):
            yield f"{where}: {json.dumps(params)[:300]}"
    if browser.run("document.documentElement.scrollWidth > window.innerWidth"):
        yield f"{where}: is wider than the window"


def test_pages_load_nothing_from_elsewhere_and_fit_the_window(browser):
    wrong = [w for page, way in zip(PAGES, cycle(WAYS)) for w in opened(browser, page, *way)]
    assert not wrong, "\n".join(wrong)


def test_every_formula_is_shown_as_one():
    """A dollar sign that is left outside of code is a formula that nobody recognised."""
    drawn = r'(?s)<(script|style|pre|code|svg)\b.*?</\1>|<(span|div) class="math.*?</\2>|<[^>]*>'
    wrong = [p.name for p in PAGES if "$" in re.sub(drawn, "", p.read_text(encoding="utf-8"))]
    assert not wrong, wrong


@pytest.mark.parametrize("share", range(4))
def test_pages_pass_axe(browser, share):
    """But for what is in frames, pages of pictures, which the browser shuts off from each other in files."""
    pytest.importorskip("axe_core_python")
    axe = (resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    wrong = []
    for page, (width, dark) in list(zip(PAGES, cycle(WAYS)))[share * len(PAGES) // 4 : (share + 1) * len(PAGES) // 4]:
        list(opened(browser, page, width, dark))
        # What is folded has places on the page too, which axe takes for the ground of others.
        browser.run("document.querySelectorAll('details').forEach(folded => folded.open = true)")
        browser.run("new Promise(done => setTimeout(done, 100))")
        # Entries of the reference and of the index are of one kind; of more than a thousand the first ones are enough.
        browser.run("[...document.querySelectorAll('dl.py')].slice(30).forEach(entry => entry.remove())")
        browser.run("[...document.querySelectorAll('.indextable li')].slice(100).forEach(entry => entry.remove())")
        browser.run(axe + ";0")
        found = browser.run(
            "axe.run(document, {iframes: false, resultTypes: ['violations']}).then(r => JSON.stringify(r.violations.map("
            "v => v.id + ': ' + v.nodes[0].html.slice(0, 200))))"
        )
        wrong += [f"{page.relative_to(SITE)} at {width} {'dark' if dark else 'light'}: {v}" for v in json.loads(found)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("dark", [False, True])
def test_tables_of_steps_have_gaps_between_columns_and_the_ground_of_the_page(browser, dark):
    assert list(opened(browser, SITE / "tutorials" / "02_backprop_step_by_step.html", 1400, dark)) == []
    grounds, gaps = json.loads(
        browser.run(
            "JSON.stringify([[...document.querySelectorAll('.text_html')].map(e => getComputedStyle(e).backgroundColor),"
            "[...document.querySelectorAll('.autodiff-explanation td')].map(e => parseFloat(getComputedStyle(e).paddingRight))])"
        )
    )
    assert grounds and set(grounds) == {"rgba(0, 0, 0, 0)"}
    assert gaps and min(gaps) >= 16


@pytest.mark.parametrize("page", ["explanation/double_backward.html", "gallery.html"])
def test_two_backward_passes_are_shown_whole(browser, page):
    """The map of a frame, which covers a corner of it, comes up where the picture is larger than the frame."""
    browser.window(1400, 1000)
    browser.open(SITE / page)
    frame = "document.querySelector('[aria-label=\\'double backward\\'] iframe')"
    height = browser.run(f"{frame}.parentElement.clientHeight")
    inside = browser.run(f"{frame}.srcdoc")
    width = browser.run(f"{frame}.clientWidth")
    alone = Path(browser.folder.name) / "alone.html"
    alone.write_text(inside, encoding="utf-8")
    browser.window(width, height)
    browser.open(alone)
    browser.run("new Promise(done => setTimeout(done, 500))")
    assert browser.run("document.getElementById('map').hasAttribute('hidden')")


def test_search_works_from_the_file_system(browser):
    browser.window(1400)
    browser.open(SITE / "search.html", "?q=hessian")
    browser.run(
        "new Promise(done => { const look = () => document.querySelector('#search-results li a') ? done() :"
        " setTimeout(look, 100); setTimeout(done, 15000); look(); })"
    )
    found = browser.run(
        "[...document.querySelectorAll('#search-results li a')].map(a => a.getAttribute('href')).join(' ')"
    )
    assert "curvature" in found

"""The page: one file that needs nothing else, true to the engine's numbers, safe from its texts, usable by everybody."""

import ast
import html
import json
import os
import re
import stat
import time
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import autodiff as ad
from autodiff.seeing import page, standalone
from tests import chromium

HOSTILE = ["</script><script>alert(1)</script>", "</td></tr></table><img src=x onerror=alert(1)>", '"', "'", "<b>", "&amp;", "&",
           "{x}", "$title", "\n", "", "a\nb", "\0", "\ud800", "\u202e", "-->", "]]>", "\\", "`${1}`", "é漢∂"]  # fmt: skip


def neuron():
    x = ad.Tensor(2.0, name="x")
    w = ad.Tensor(-0.5, requires_grad=True, name="w")
    b = ad.Tensor(1 / 3, requires_grad=True, name="b")
    a = np.tanh(w * x + b)
    return w, b, (a - 1.0) ** 2 * a


def layer():
    w = ad.Tensor([[0.5, -1.0], [0.2, 0.3]], requires_grad=True, name="W")
    v = ad.Tensor([0.1, 0.2], requires_grad=True, name="v")
    return w, v, (np.tanh(w @ np.array([1.0, 2.0])) * v).sum() ** 2


def long(n=170):
    y = x = ad.Tensor(0.5, requires_grad=True, name="x")
    for _ in range(n):
        y = np.sin(y) * 1.01
    return x, y


class Reader(HTMLParser):
    """The tags of a page, and the rows of its table, as a browser's parser sees them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.cell, self.svg = [], [], None, 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.svg += tag == "svg"
        if tag == "tr":
            self.rows.append((dict(attributes), []))
        elif tag in ("td", "th"):
            self.rows[-1][1].append("")
            self.cell = True

    def handle_endtag(self, tag):
        if tag in ("td", "th", "tbody"):
            self.cell = None

    def handle_data(self, data):
        if self.cell:
            self.rows[-1][1][-1] += data


def standin(texts, output=None):
    """An explanation with any texts in its cells, worse than `explain` would ever write."""
    output = ad.Tensor(1.0) if output is None else output
    rows = [
        SimpleNamespace(step=i + 1, quantity=t, expression=t, value=t, sources=(1,) * (i > 0), phase="forward", tensor=output, number=None, formula=None)
        for i, t in enumerate(texts)
    ]  # fmt: skip
    return SimpleNamespace(rows=rows, output=output, names={output._number: texts[0]}, wrt=(), digits=6)


def data_of(text):
    """The data of a page: for each step its facts."""
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])
    facts = {name: [texts[i] for i in places] for name, (texts, places) in data["steps"].items()}
    data["steps"] = [dict(zip(facts, step)) for step in zip(*facts.values())]
    for step in data["steps"]:
        step["full"] = re.sub(r"\d+", lambda m: data["numbers"][int(m[0])], step["full"])
    return data


# The file


def test_the_page_is_one_file_that_loads_and_runs_nothing_else():
    w, v, y = layer()
    text = ad.explain(y, hvp=[np.ones((2, 2)), np.ones(2)]).to_html()
    assert "://" not in text and "@import" not in text and not re.search(r"\b(eval|Function)\s*\(", text)
    assert set(re.findall(r"url\(([^)]*)\)", text)) == {"#against", "#head", "#lit-head"}
    tags = Reader(text).tags
    for _, attributes in tags:
        assert not {"src", "href", "srcset", "data", "action", "xlink:href"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
    policy = next(a["content"] for t, a in tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_every_step_of_the_explanation_is_a_row_with_its_texts_and_sources():
    w, v, y = layer()
    explanation = ad.explain(y, hvp=[np.ones((2, 2)), np.ones(2)], update=("sgd", 0.1))
    _, *rows = Reader(explanation.to_html()).rows
    assert len(rows) == len(explanation.rows)
    for (_, cells), row in zip(rows, explanation.rows):
        assert cells == [str(row.step), row.quantity, row.expression, row.value, ", ".join(map(str, row.sources))]


def test_every_step_has_its_node_and_products_follow_their_local_derivatives():
    for explanation in (
        ad.explain(neuron()[2], update=("sgd", 0.1)),
        ad.explain(layer()[2], hvp=[np.ones((2, 2)), np.ones(2)]),
        ad.explain(long()[1]),
    ):
        text = explanation.to_html()
        reader = Reader(text)
        assert len([t for t, a in reader.tags if a.get("class") == "view"]) == 1
        roles = []
        for fact, row in zip(data_of(text)["steps"], explanation.rows, strict=True):
            role, node = fact["role"], fact["node"]
            assert any(a.get("data-node") == node for _, a in reader.tags if a.get("class", "").startswith("node"))
            if row.tensor is not None and not node.startswith("module"):
                kind = ("p" if role == "local" else "d") if row.phase == "second" else "op" if role == "local" else "t"
                assert node == f"{kind}{row.tensor._number}"
            if role == "product":
                assert roles[-1] == "local" and row.sources[1] == row.step - 1
                operation = "p" if row.phase == "second" else "op"
                made = f"{operation}{explanation.rows[row.step - 2].tensor._number}"
                assert fact["other"] == made or fact["other"].startswith("module")
            if row.phase == "local":
                assert role == "local"
            roles.append(role)
        assert roles.count("local") == roles.count("product") > 0


def test_a_long_chain_is_folded_and_every_step_of_it_is_lit():
    W = ad.Tensor(np.eye(2) * 0.5, requires_grad=True, name="W")
    x, h = ad.Tensor(np.ones(2), name="x"), np.zeros(2)
    for _ in range(60):
        h = np.tanh(W @ h + x)
    loss = h.sum()
    for explanation in (ad.explain(loss), ad.explain(long()[1])):
        text = explanation.to_html()
        drawn = {a.get("data-node") for _, a in Reader(text).tags if a.get("class", "").startswith("node")}
        assert len(drawn) < 12 and not any(name.startswith(("gap", "rest")) for name in drawn)
        for fact, row in zip(data_of(text)["steps"], explanation.rows, strict=True):
            assert fact["node"] in drawn, row.quantity
    assert "×60" in ad.explain(loss).to_html() and "not shown" not in ad.explain(loss).to_html()


def test_texts_can_neither_break_the_page_nor_inject_anything():
    for explanation in (standin(HOSTILE), standin(["L"] * len(HOSTILE))):
        reader = Reader(page.write(explanation))
        tags = [tag for tag, _ in reader.tags]
        expected = tags if explanation.rows[0].quantity == "L" else expected_of(tags)
        assert tags == expected
        assert tags.count("script") == 2 and "img" not in tags and "b" not in tags
        for (_, cells), row in zip(reader.rows[1:], explanation.rows):
            shown = row.quantity.encode("utf-8", "backslashreplace").decode()
            if shown.isprintable() or "\n" in shown:
                assert cells[1:4] == [shown] * 3
            else:
                assert "".join(cells).isprintable()
    page.write(standin(HOSTILE)).encode()


def expected_of(tags):
    return [tag for tag, _ in Reader(page.write(standin(["L"] * len(HOSTILE)))).tags]


def test_hostile_names_of_tensors_come_out_as_they_are_in_the_table():
    tensors = [ad.Tensor(float(i + 1), requires_grad=True, name=name) for i, name in enumerate(HOSTILE)]
    total = tensors[0]
    for t in tensors[1:]:
        total = total * t
    explanation = ad.explain(total)
    text = explanation.to_html()
    reader = Reader(text)
    assert [tag for tag, _ in reader.tags].count("script") == 2
    assert [cells[1] for _, cells in reader.rows[1:]] == [row.quantity for row in explanation.rows]
    text.encode()


def test_without_a_layout_program_the_page_works_with_the_table_alone_and_says_so(monkeypatch):
    from autodiff.seeing import layout

    def missing(*args):
        raise layout.LayoutError(layout.INSTALL)

    monkeypatch.setattr(layout, "layout", missing)
    explanation = ad.explain(neuron()[2])
    text = explanation.to_html()
    assert "There is no picture" in text and "pip install" in text
    assert len(Reader(text).rows) == len(explanation.rows) + 1
    assert not any(fact["node"] for fact in data_of(text)["steps"])


def test_a_graph_freed_since_leaves_the_table():
    w, b, y = neuron()
    explanation = ad.explain(y)
    y.backward(retain_graph=False)
    text = explanation.to_html()
    assert "There is no picture" in text and len(Reader(text).rows) == len(explanation.rows) + 1


def test_the_picture_never_contradicts_the_table():
    w, b, y = neuron()
    explanation = ad.explain(y)
    assert "-0.5</text>" in explanation.to_html()
    w.data -= 7.25
    later = explanation.to_html()
    assert "-7.75" not in later and ">w</text>" in later
    assert Reader(later).rows[1][1][3] == "-0.5"


def test_leaves_and_unusual_numbers_have_pages():
    for output in (ad.Tensor(3.0, name="x"), ad.Tensor([]), ad.Tensor(np.zeros((2, 0)), requires_grad=True)):
        assert len(Reader(ad.explain(output).to_html()).rows) == 2
    x = ad.Tensor([np.nan, np.inf, -np.inf], requires_grad=True, name="x")
    text = ad.explain((x * 2.0).sum()).to_html()
    assert "nan" in text and "inf" in text


def test_arrays_are_called_in_the_picture_as_in_the_table():
    text = ad.explain(layer()[2]).to_html()
    svg = text[text.index('class="graph"') : text.index("</svg></div>")]
    assert ">v1</text>" in svg and ">constant</text>" not in svg


def test_all_digits_are_those_of_the_number():
    x = ad.Tensor([1 / 3, 2 / 3], requires_grad=True, dtype=np.float32, name="x")
    assert data_of(ad.explain(x.sum()).to_html())["steps"][0]["full"] == "[0.33333334, 0.6666667]"


def test_a_notebook_shows_the_page_in_a_frame_that_cannot_reach_it():
    explanation = ad.explain(neuron()[2])
    shown = explanation.to_html()
    (frame,) = [a for t, a in Reader(shown._repr_html_()).tags if t == "iframe"]
    assert frame["srcdoc"] == str(shown) and frame["sandbox"] == "allow-scripts" and frame["title"]
    assert len(repr(shown)) < 100


# Writing


def test_the_file_is_written_whole_and_is_what_comes_back(tmp_path):
    path = tmp_path / "steps.html"
    path.write_text("old")
    path.chmod(0o640)
    shown = ad.explain(neuron()[2]).to_html(path)
    assert path.read_text("utf-8") == shown and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["steps.html"]
    link = tmp_path / "link.html"
    link.symlink_to(path)
    ad.explain(ad.Tensor(1.0)).to_html(str(link))
    assert link.is_symlink() and path.read_text("utf-8") != shown


def test_a_path_that_cannot_be_written_is_an_oserror_and_leaves_nothing(tmp_path, monkeypatch):
    explanation = ad.explain(neuron()[2])
    for path in (tmp_path / "missing" / "page.html", tmp_path, "/proc/page.html"):
        with pytest.raises(OSError):
            explanation.to_html(path)
    target = tmp_path / "page.html"
    target.write_text("old")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        explanation.to_html(target)
    assert target.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_what_is_no_path_of_a_file_gets_one_clear_error(tmp_path):
    explanation = ad.explain(neuron()[2])
    for path, kind, said in (
        (
            tmp_path / "none" / "x.html",
            FileNotFoundError,
            "to_html: there is no folder .*none for x.html; make it first",
        ),
        ("", ValueError, "to_html: takes the path of a file to be written, as .*, not an empty one"),
        (3, TypeError, "to_html: takes the path of a file to be written, as .*, not 3"),
    ):
        for write in (explanation.to_html, ad.graph(explanation.output).to_html):
            with pytest.raises(kind, match=said):
                write(path)
    assert not list(tmp_path.iterdir())


def test_a_device_is_written_to_and_not_replaced():
    ad.explain(ad.Tensor(1.0)).to_html("/dev/null")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


# In a browser

in_browser = pytest.mark.skipif(chromium.PROGRAM is None, reason="no chromium or chrome is installed")

STATE = """(() => {
  const rows = [...document.querySelectorAll("#rows tr")], text = (id) => document.getElementById(id).textContent;
  const last = rows.filter((row) => !row.hidden).at(-1);
  return {
    shown: rows.filter((row) => !row.hidden).length, marked: [...document.querySelectorAll(".now-row")].map((r) => r.cells[0].textContent),
    title: text("now-title"), quantity: text("now-quantity"), value: text("now-value"), full: text("now-full"),
    row: [...last.cells].map((c) => c.textContent), status: text("status"),
    factors: [...document.querySelectorAll("#now-factors dt")].map((dt) => [dt.textContent, dt.nextElementSibling.textContent]),
    lit: [...document.querySelectorAll(".view:not([hidden]) .node.lit:not(.near)")].map((n) => n.dataset.node),
    edges: [...document.querySelectorAll(".view:not([hidden]) .edge.lit")].map((e) => [e.dataset.from, e.dataset.to]),
    back: document.querySelectorAll(".lit.back").length,
    seek: Number(document.getElementById("seek").value), focus: document.activeElement.id,
  };
})()"""


@pytest.fixture(scope="module")
def browser():
    window = chromium.Browser()
    yield window
    window.close()


def trouble(browser):
    """What the browser complains of, and all it loaded but the file itself."""
    said = [e["params"] for e in browser.events if e["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
    loaded = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    return said, [url for url in loaded if not url.startswith("file:///")]


@in_browser
def test_pressing_the_steps_shows_the_numbers_of_the_engine(browser, tmp_path):
    w, v, y = layer()
    vectors = [np.array([[1.0, 2.0], [-1.0, 0.5]]), np.array([0.3, -0.7])]
    explanation = ad.explain(y, hvp=vectors, update=("sgd", 0.1), digits=8, variables=False)
    explanation.to_html(tmp_path / "page.html")
    browser.window(1200, 900)
    browser.open(tmp_path / "page.html")
    found = {}
    for i, row in enumerate(explanation.rows):
        state = browser.run(STATE)
        assert state["shown"] == row.step == i + 1 == state["seek"] and state["marked"] == [str(row.step)]
        assert state["title"].startswith(f"Step {row.step} of {len(explanation.rows)}")
        assert state["quantity"] == row.quantity == state["row"][1]
        assert state["value"] == f"= {row.value}" and state["row"][3] == row.value
        assert row.quantity in state["status"] or i == 0
        if row.number is not None:
            full = state["full"].removeprefix("All digits: ") or row.value
            np.testing.assert_array_equal(np.array(ast.literal_eval(full)), row.number)
            found[row.quantity] = np.array(ast.literal_eval(full))
        factors = [explanation.rows[s - 1].value for s in row.sources]
        if (
            state["factors"] and state["factors"][-1][0] == "local derivative"
        ):  # shown with what it is multiplied by next
            incoming = explanation.rows[explanation.rows[i + 1].sources[0] - 1]
            assert state["factors"][0] == [
                f"incoming cotangent {incoming.quantity} step {incoming.step}",
                incoming.value,
            ]
            factors.insert(0, incoming.value)
        assert [value for _, value in state["factors"]] == [*factors, row.value][: len(factors) + bool(factors)]
        if len(state["factors"]) > 2 and "product" in state["factors"][-1][0]:
            assert state["factors"][0][0].startswith("incoming cotangent")
            assert state["factors"][1][0].startswith("local derivative")
        number = row.tensor._number if row.tensor is not None else None
        assert len(state["lit"]) == 1
        assert number is None or state["lit"][0] in (f"t{number}", f"op{number}", f"d{number}", f"p{number}")
        assert bool(state["back"]) == (row.phase in ("local", "backward", "gradient", "second"))
        browser.press("ArrowRight")
    assert browser.run(STATE)["seek"] == len(explanation.rows)  # the last step stays
    y.backward()
    np.testing.assert_array_equal(found["∂L/∂W"], w.grad.data)
    np.testing.assert_array_equal(found["∂L/∂v"], v.grad.data)
    np.testing.assert_array_equal(found["W⁺"], w.data - 0.1 * w.grad.data)

    def loss(w, v):
        return (np.tanh(w @ np.array([1.0, 2.0])) * v).sum() ** 2

    for name, product in zip("Wv", ad.hvp(loss, (w.data, v.data), tuple(vectors))):
        np.testing.assert_allclose(found[f"(H·u)[{name}]"], product, rtol=1e-12)
    assert trouble(browser) == ([], [])


@in_browser
def test_a_step_back_and_the_ends_work_with_buttons_and_keys(browser, tmp_path):
    explanation = ad.explain(neuron()[2])
    n = len(explanation.rows)
    explanation.to_html(tmp_path / "page.html")
    browser.window(1200, 900)
    browser.open(tmp_path / "page.html", "#step=7")
    at = lambda: browser.run(STATE)["seek"]
    assert at() == 7 == browser.run(STATE)["shown"]
    for key, place in (
        ("ArrowLeft", 6),
        ("End", n),
        ("ArrowLeft", n - 1),
        ("Home", 1),
        ("ArrowLeft", 1),
        ("ArrowRight", 2),
    ):
        browser.press(key)
        assert at() == place == browser.run(STATE)["shown"]
    for button, place in (("next", 3), ("previous", 2), ("last", n), ("first", 1)):
        browser.run(f"document.getElementById('{button}').click()")
        assert at() == place
    browser.run("location.hash = '#step=5'; new Promise((done) => setTimeout(done, 50))")
    assert at() == 5
    browser.run("document.querySelector('#now-factors button').click()")
    assert at() == explanation.rows[4].sources[0]
    browser.run("document.activeElement.blur()")
    browser.press("ArrowRight", modifiers=1)  # Alt and arrow belong to the browser
    assert at() == explanation.rows[4].sources[0]


@in_browser
def test_the_direction_of_the_pass_is_lit_on_the_edges(browser, tmp_path):
    explanation = ad.explain(neuron()[2])
    explanation.to_html(tmp_path / "page.html")
    v1, w = (next(r for r in explanation.rows if r.quantity == q) for q in ("v1", "∂L/∂w"))
    op = f"op{v1.tensor._number}"
    for row, edges in ((v1, 3), (w, 2)):
        browser.open(tmp_path / "page.html", f"#step={row.step}")
        state = browser.run(STATE)
        assert all(op in edge for edge in state["edges"]) and len(state["edges"]) == edges
    start = "getComputedStyle(document.querySelector('.edge.lit path')).markerStart"
    assert "against" in browser.run(start)  # the arrow of the backward pass points against that of the edge


LIT = """(() => {
  const view = document.querySelector(".view:not([hidden])"), box = view.getBoundingClientRect();
  const lit = [...view.querySelectorAll(".node.lit:not(.near)")].map((n) => n.getBoundingClientRect());
  const near = [...view.querySelectorAll(".node.near")].map((n) => n.getBoundingClientRect());
  const right = box.left + view.clientLeft + view.clientWidth, bottom = box.top + view.clientTop + view.clientHeight;
  const inside = (r) => r.left >= Math.max(box.left, 0) - 1 && r.right <= Math.min(right, innerWidth) + 1
    && r.top >= Math.max(box.top, 0) - 1 && r.bottom <= Math.min(bottom, innerHeight) + 1;
  const all = [...lit, ...near], wide = (low, high) => Math.max(...all.map((r) => r[high])) - Math.min(...all.map((r) => r[low]));
  return { count: lit.length, inside: lit.every(inside), near: near.every(inside),
           fits: wide("left", "right") < view.clientWidth - 16 && wide("top", "bottom") < view.clientHeight - 16 };
})()"""


@in_browser
@pytest.mark.parametrize(
    "width, height",
    [
        (1200, 900),
        pytest.param(500, 740, marks=pytest.mark.slow),
        pytest.param(360, 740, marks=pytest.mark.slow),
        (360, 640),
    ],
)
def test_the_lit_node_is_in_sight_at_every_step_wherever_the_page_was_scrolled_to(browser, tmp_path, width, height):
    w, v, y = layer()
    explanation = ad.explain(y, hvp=[np.ones((2, 2)), np.ones(2)], update=("sgd", 0.1))
    explanation.to_html(tmp_path / "page.html")
    browser.window(width, height)
    browser.open(tmp_path / "page.html")
    for fit in (False, True):
        browser.run(
            f"document.getElementById('fit').checked !== {str(fit).lower()} && document.getElementById('fit').click()"
        )
        browser.press("Home")
        for i, row in enumerate(explanation.rows):
            if i % 10 == 5:
                browser.run("scrollTo(0, document.documentElement.scrollHeight)")
            state = browser.run(LIT)
            assert state["count"] == 1 and state["inside"], (row.step, row.quantity, fit)
            assert state["near"] or not state["fits"], (row.step, row.quantity, fit)
            browser.press("ArrowRight")
    browser.window(height, width)  # the phone is turned
    browser.run("scrollTo(0, 0); new Promise((done) => setTimeout(done, 100))")
    assert browser.run(LIT)["inside"]


@in_browser
def test_smooth_scrolling_comes_to_rest_with_the_lit_node_in_sight(browser, tmp_path):
    w, v, y = layer()
    ad.explain(y, hvp=[np.ones((2, 2)), np.ones(2)]).to_html(tmp_path / "page.html")
    browser.window(360, 740, calm=False)
    browser.open(tmp_path / "page.html", "#step=3")
    for _ in range(40):
        browser.press("ArrowRight")  # faster than any animation
    end = time.monotonic() + 10
    while not browser.run(LIT)["inside"] and time.monotonic() < end:
        time.sleep(0.05)
    assert browser.run(STATE)["seek"] == 43 and browser.run(LIT)["inside"]
    browser.window(1200, 900)


@in_browser
def test_everything_is_reached_by_tab_and_seen_and_nothing_keeps_the_focus(browser, tmp_path):
    ad.explain(neuron()[2]).to_html(tmp_path / "page.html")
    browser.window(1200, 900)
    browser.open(tmp_path / "page.html", "#step=12")
    seen = []
    for _ in range(40):
        browser.press("Tab")
        focus = browser.run(
            "(() => { const e = document.activeElement, s = getComputedStyle(e); return e === document.body ? null :"
            " [e.id || e.dataset.node || e.className || e.textContent, s.outlineStyle, parseFloat(s.outlineWidth)]; })()"
        )
        if focus is None or (seen and focus[0] == seen[0]):
            break
        assert focus[1] != "none" and focus[2] >= 2
        seen.append(focus[0])
    else:
        pytest.fail(f"the focus never leaves the page: {seen}")
    assert seen[:5] == ["first", "previous", "play", "next", "last"] and {"seek", "speed", "fit", "steps"} <= set(seen)
    browser.run("document.getElementById('next').focus()")
    for key in ("Enter", " "):
        browser.press(key)
    assert browser.run(STATE)["seek"] == 14 and browser.run(STATE)["focus"] == "next"


@in_browser
def test_play_goes_on_by_itself_until_it_is_paused(browser, tmp_path):
    ad.explain(long()[1]).to_html(tmp_path / "page.html")
    browser.window(1200, 900)
    browser.open(tmp_path / "page.html")
    play = "document.getElementById('play')"
    browser.run(f"document.getElementById('speed').value = '80'; {play}.click()")
    assert "Pause" in browser.run(f"{play}.textContent")
    end = time.monotonic() + 30
    while browser.run(STATE)["seek"] < 5 and time.monotonic() < end:
        time.sleep(0.05)
    browser.press("ArrowRight")
    place = browser.run(STATE)["seek"]
    time.sleep(0.3)
    assert browser.run(STATE)["seek"] == place >= 5 and "Play" in browser.run(f"{play}.textContent")


@in_browser
def test_a_thousand_steps_stay_quick(browser, tmp_path):
    explanation = ad.explain(long()[1])
    n = len(explanation.rows)
    assert n > 1000
    explanation.to_html(tmp_path / "page.html")
    browser.window(1200, 900)
    browser.open(tmp_path / "page.html")
    took = browser.run(
        """(() => { const start = performance.now();
        for (const id of ["last", "first", "last"]) document.getElementById(id).click();
        for (let i = 0; i < 50; i++) document.getElementById("previous").click();
        return performance.now() - start; })()"""
    )
    state = browser.run(STATE)
    assert (
        state["seek"] == state["shown"] == n - 50 and took < 15000
    )  # milliseconds; a few hundred where nothing else runs
    assert browser.run("document.querySelector('.now-row').getBoundingClientRect().bottom <= innerHeight + 1")


CONTRAST = """(() => {
  const numbers = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = (c) => numbers(c).slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (numbers(c)[3] !== 0) return c; } return "rgb(255, 255, 255)"; };
  const worst = {};
  for (const e of document.querySelectorAll("h1, p, dt, dd, td, th, button, label, summary, caption, legend, select"))
    if (e.checkVisibility() && e.textContent.trim()) worst[e.tagName + "." + e.className] = ratio(getComputedStyle(e).color, ground(e));
  for (const n of document.querySelectorAll(".node")) {
    const text = n.querySelector("text"), shape = n.querySelector("polygon, path, ellipse, rect");
    if (text && shape) worst[n.getAttribute("class")] = ratio(getComputedStyle(text).fill, getComputedStyle(shape).fill);
  }
  const edges = [...document.querySelectorAll(".node > :is(path, polygon, ellipse, rect, polyline)")];
  const faint = edges.filter((e) => !(ratio(getComputedStyle(e).stroke, ground(e)) >= 3)).map((e) => [e.outerHTML, 0]);
  if (faint.length) return faint;
  for (const e of document.querySelectorAll(".edge.lit path")) worst.edge = ratio(getComputedStyle(e).stroke, ground(e));
  return Object.entries(worst).filter(([, r]) => !(r >= 4.5));
})()"""


@in_browser
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, 360])
def test_it_fits_the_window_without_overlaps_and_is_legible(browser, tmp_path, width, dark):
    w, v, y = layer()
    ad.explain(y, names={"a_very_long_name_" * 9: w}, hvp=[np.ones((2, 2)), np.ones(2)]).to_html(tmp_path / "page.html")
    browser.window(width, 740, dark=dark)
    for step in (3, 20, 50):
        browser.open(tmp_path / "page.html", f"#step={step}")
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        assert browser.run("matchMedia('(prefers-color-scheme: dark)').matches") == dark
        assert browser.run(CONTRAST) == []
        overlaps = browser.run("""(() => {
          const blocks = [...document.querySelectorAll(".controls, .bar, .view:not([hidden]), .words, .now, .steps")].map((e) => e.getBoundingClientRect());
          return blocks.some((a, i) => blocks.some((b, j) => i < j && a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1));
        })()""")
        assert not overlaps
        assert browser.run("[...document.querySelectorAll('.controls button, .controls select')].every((b) => { const r = b.getBoundingClientRect(); return r.width >= 24 && r.height >= 24 && r.right <= innerWidth; })")  # fmt: skip


@in_browser
@pytest.mark.parametrize("width", [1200, 360])
def test_screen_readers_find_the_table_its_headers_the_buttons_and_the_picture(browser, tmp_path, width):
    explanation = ad.explain(neuron()[2])
    explanation.to_html(tmp_path / "page.html")
    browser.window(width, 740)
    browser.open(tmp_path / "page.html", "#step=4")
    browser.call("Accessibility.enable")
    nodes = [n for n in browser.call("Accessibility.getFullAXTree")["nodes"] if not n.get("ignored")]
    browser.call("Accessibility.disable")
    found = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes]
    named = lambda role: [name for r, name in found if r == role]
    assert named("columnheader") == ["Step", "Quantity", "Expression", "Value", "From"]
    assert len(named("row")) == 5 and len(named("rowheader")) == 4 and "table" in dict(found)
    assert {"First", "Previous", "Play", "Next", "Last"} <= set(named("button"))
    assert named("slider") == ["Step"] and named("combobox") == ["Pace", "Speed"]
    assert any("Graph of the computation of L" in name for name in named("group"))
    assert any(name.startswith("w") and "-0.5" in name for name in named("button"))  # a node, and what it shows so far
    assert "status" in dict(found) and all(name for role in ("button", "region", "checkbox") for name in named(role))


@in_browser
@pytest.mark.parametrize("dark", [False, True])
def test_every_kind_of_node_is_legible(browser, tmp_path, dark):
    import nn
    from autodiff.seeing.looks import STYLES

    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    loss = nn.CrossEntropyLoss()(model(np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)), np.array([0, 1]))
    ad.explain(loss, names=model).to_html(tmp_path / "net.html")
    ad.explain(long()[1]).to_html(tmp_path / "long.html")
    browser.window(1200, 900, dark=dark)
    seen = set()
    for name, step in (("net", 19), ("long", 9)):
        browser.open(tmp_path / f"{name}.html", f"#step={step}")
        seen |= set(browser.run("[...document.querySelectorAll('.node')].map((n) => n.classList[1])"))
        assert browser.run(CONTRAST) == []
        for kind in STYLES if name == "net" else ():  # and those that pages do not hold today
            browser.run(
                f"document.querySelector('.node.operation, .node.seen').setAttribute('class', 'node seen {kind}')"
            )
            assert browser.run(CONTRAST) == [], kind
    assert {"parameter", "constant", "operation", "result", "output", "module"} <= seen


@in_browser
def test_the_page_works_in_the_frame_of_a_notebook_without_a_layout_program_too(browser, tmp_path, monkeypatch):
    from autodiff.seeing import layout

    explanation = ad.explain(neuron()[2])
    pages = [explanation.to_html()]

    def missing(*args):
        raise layout.LayoutError(layout.INSTALL)

    monkeypatch.setattr(layout, "layout", missing)
    pages.append(explanation.to_html())
    for i, shown in enumerate(pages):
        before, after = str(shown).rsplit("</script>", 1)
        inner = f"{before}\nparent.postMessage(document.getElementById('now-title').textContent, '*');</script>{after}"
        script = re.search(r"<script>(.*?)</script>", inner, re.DOTALL)[1]
        old = re.search(r"<script>(.*?)</script>", str(shown), re.DOTALL)[1]
        inner = inner.replace(html.escape(standalone.digest(old), quote=False), standalone.digest(script))
        outer = tmp_path / f"frame{i}.html"
        heard = "<script>addEventListener('message', (e) => { window.heard = e.data; });</script>"
        outer.write_text(
            f"<!DOCTYPE html><meta charset=utf-8>{heard}{standalone.Page(inner, '', 860)._repr_html_()}", "utf-8"
        )
        browser.open(outer)
        assert browser.run("window.heard") == f"Step 1 of {len(explanation.rows)}, forward pass"
        (tmp_path / "table.html").write_text(shown, "utf-8")
        browser.open(tmp_path / "table.html")
        browser.press("ArrowRight")
        assert browser.run(STATE)["seek"] == 2
        assert trouble(browser) == ([], [])


@in_browser
def test_hostile_texts_show_as_text_and_run_nothing(browser, tmp_path):
    names = [
        "</script><script>document.title='hit'</script>",
        "<img src=x onerror=\"document.title='hit'\">",
        "'\"&<b>{}",
    ]
    tensors = [ad.Tensor(float(i + 2), requires_grad=True, name=name) for i, name in enumerate(names)]
    explanation = ad.explain(tensors[0] * tensors[1] * tensors[2], names={"</title><script>": tensors[0]})
    explanation.to_html(tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    browser.press("End")
    quantities = browser.run("[...document.querySelectorAll('#rows tr')].map((r) => r.cells[1].textContent)")
    assert quantities == [row.quantity for row in explanation.rows]
    rules = browser.run("""(() => { const math = document.querySelector('#now-math math');
      return [math.textContent, [...math.querySelectorAll('*')].every((e) => e.namespaceURI === math.namespaceURI)]; })()""")
    assert names[1] in rules[0] and rules[1]
    assert browser.run("document.title !== 'hit' && document.images.length === 0 && document.scripts.length === 2")
    assert trouble(browser) == ([], []) and json.dumps(quantities)


# Watching


SLOTS = """(() => Object.fromEntries([...document.querySelectorAll("[data-node]")].filter((n) => n.localName === "g").map((n) =>
  [n.dataset.node, {
    value: [...n.querySelectorAll('[data-slot="value"] text')].map((t) => t.textContent).filter(Boolean),
    grad: [...n.querySelectorAll('[data-slot="grad"] text')].map((t) => t.textContent).filter(Boolean),
    classes: n.getAttribute("class").split(" "), said: n.getAttribute("aria-description"),
  }])))()"""


def opened(browser, tmp_path, explanation, step=1, width=1200, height=900):
    explanation.to_html(tmp_path / "page.html")
    browser.window(width, height)
    browser.open(tmp_path / "page.html", f"#step={step}")


@in_browser
def test_each_slot_is_empty_until_its_step_and_then_shows_the_number_of_the_table(browser, tmp_path):
    explanation = ad.explain(neuron()[2], variables=False)
    opened(browser, tmp_path, explanation)
    arrived = {}
    for row in explanation.rows:
        if row.tensor is not None and row.phase != "local":
            slot = "grad" if row.phase in ("backward", "gradient") else "value"
            before = arrived.get((row.tensor._number, slot))
            arrived[row.tensor._number, slot] = row, before
        shown = browser.run(SLOTS)
        for node, slots in shown.items():
            for slot in ("value", "grad"):
                row_there, before = (
                    arrived.get((int(node[1:]), slot), (None, None)) if node[1:].isdigit() else (None, None)
                )
                if row_there is None or node[0] != "t":
                    assert slots[slot] == [], (row.step, node, "the future is not shown")
                elif " via " in row_there.quantity:
                    assert slots[slot][0].endswith(f"+= {row_there.value}")
                    assert before is None or slots[slot][0].startswith(f"grad {before[0].value} += ")
                else:
                    assert slots[slot] == [f"{'grad ' * (slot == 'grad')}{row_there.value}"], (row.step, node)
        browser.press("ArrowRight")
    assert trouble(browser) == ([], [])


@in_browser
def test_the_loss_is_not_known_anywhere_before_its_step(browser, tmp_path):
    explanation = ad.explain(neuron()[2], variables=False)
    loss = next(row for row in explanation.rows if row.quantity == "L")
    opened(browser, tmp_path, explanation)
    for _ in range(loss.step - 1):
        state = browser.run(SLOTS)
        assert not any(loss.value in text for slots in state.values() for text in (*slots["value"], slots["said"]))
        assert "future" in state[f"t{loss.tensor._number}"]["classes"]
        visible = browser.run("document.body.innerText")
        assert loss.value not in visible
        browser.press("ArrowRight")
    assert browser.run(SLOTS)[f"t{loss.tensor._number}"]["value"] == [loss.value]


def test_without_a_script_the_picture_shows_all_values_and_gradients():
    explanation = ad.explain(neuron()[2], variables=False)
    svg = page.write(explanation).split("<svg")[-1 - 0]
    text = page.write(explanation)
    for row in explanation.rows:
        if row.phase == "forward":
            assert f">{row.value}</text>" in text
        if row.phase == "gradient":
            assert f">grad {row.value}</text>" in text
    assert svg


@in_browser
def test_a_matrix_has_its_rows_in_its_slots(browser, tmp_path):
    w, v, y = layer()
    explanation = ad.explain(y, variables=False)
    opened(browser, tmp_path, explanation, len(explanation.rows))
    shown = browser.run(SLOTS)[f"t{w._number}"]
    assert shown["value"] == ["[0.5, -1]", "[0.2, 0.3]"]
    (g,) = ad.gradients(y, w)
    rows = [re.findall(r"[-\d.e]+", line.removeprefix("grad ")) for line in shown["grad"]]
    np.testing.assert_allclose(np.array(rows, float), g.data, rtol=5e-4)


@in_browser
def test_by_operation_one_key_shows_cotangent_local_derivative_and_product_together(browser, tmp_path):
    explanation = ad.explain(neuron()[2], variables=False)
    opened(browser, tmp_path, explanation)
    browser.run("document.getElementById('pace').value = 'operation'")
    at, steps = 1, []
    browser.press("ArrowRight")
    while (state := browser.run(STATE))["seek"] != at:
        at = state["seek"]
        steps.append(explanation.rows[at - 1])
        browser.press("ArrowRight")
    assert at == len(explanation.rows)
    operations = [row for row in explanation.rows if row.phase == "forward"]
    assert [row for row in steps if row.phase == "forward"] == operations
    backward = [row for row in steps if row.phase in ("backward", "gradient", "local")]
    assert len(backward) == len(operations) and all(row.phase != "local" for row in backward)
    browser.press("Home")
    for row in steps:
        browser.press("ArrowRight")
        shown = browser.run("[...document.querySelectorAll('tr.with')].map((r) => r.cells[1].textContent)")
        assert browser.run(STATE)["seek"] == row.step and row.quantity not in shown
        assert shown == [other.quantity for other in explanation.rows[row.step - 1 - len(shown) : row.step - 1]]
    for row in reversed(steps[:-1]):
        browser.press("ArrowLeft")
        assert browser.run(STATE)["seek"] == row.step


@in_browser
def test_space_plays_and_pauses_and_up_and_down_move_in_the_table(browser, tmp_path):
    opened(browser, tmp_path, ad.explain(neuron()[2]), 5)
    for key, step in (("ArrowDown", 6), ("ArrowUp", 5), ("ArrowUp", 4)):
        browser.press(key)
        assert browser.run(STATE)["seek"] == step
    browser.run("document.getElementById('speed').value = '80'")
    browser.press(" ")
    assert "Pause" in browser.run("document.getElementById('play').textContent")
    end = time.monotonic() + 30
    while browser.run(STATE)["seek"] < 7 and time.monotonic() < end:
        time.sleep(0.05)
    browser.press(" ")
    place = browser.run(STATE)["seek"]
    time.sleep(0.3)
    assert browser.run(STATE)["seek"] == place >= 7 and "Play" in browser.run(
        "document.getElementById('play').textContent"
    )


@in_browser
def test_the_address_follows_the_steps(browser, tmp_path):
    opened(browser, tmp_path, ad.explain(neuron()[2]), 5)
    for _ in range(3):
        browser.press("ArrowRight")
    time.sleep(0.5)
    assert browser.run("location.hash") == "#step=8"


@in_browser
def test_an_address_of_no_step_opens_the_nearest_and_says_so(browser, tmp_path):
    explanation = ad.explain(neuron()[2])
    for wanted, step in (("99999", len(explanation.rows)), ("0", 1), ("abc", 1)):
        opened(browser, tmp_path, explanation, wanted)
        assert browser.run(STATE)["seek"] == step
        said = browser.run(
            "(({ textContent, hidden }) => (hidden ? '' : textContent))(document.getElementById('verdict'))"
        )
        assert said.startswith(f"There is no step {wanted}: the steps are 1 to {len(explanation.rows)}."), said


@in_browser
def test_a_constant_and_a_matrix_are_said_once(browser, tmp_path):
    explanation = ad.explain(layer()[2])
    local = next(row for row in explanation.rows if row.expression == row.value == "1")
    matrix = next(row for row in explanation.rows if row.quantity == "W")
    opened(browser, tmp_path, explanation, local.step)
    assert browser.run("document.querySelector('.equation').textContent.split('=').length") == 2
    opened(browser, tmp_path, explanation, matrix.step)
    assert browser.run("document.getElementById('now-value').offsetWidth") <= 1
    assert browser.run("document.querySelector('#now-matrix table').rows.length") == 2


@in_browser
def test_a_click_on_a_node_goes_to_its_value_and_then_to_its_gradient(browser, tmp_path):
    w, b, y = neuron()
    explanation = ad.explain(y, variables=False)
    opened(browser, tmp_path, explanation, 12)
    steps = [row.step for row in explanation.rows if row.quantity in ("b", "∂L/∂b")]
    click = f"document.querySelector('[data-node=t{b._number}] text').dispatchEvent(new MouseEvent('click', {{bubbles: true}}))"
    for expected in (*steps, steps[0]):
        browser.run(click)
        assert browser.run(STATE)["seek"] == expected
        assert browser.run(
            "!document.getElementById('tip').hidden && document.getElementById('tip').innerText.includes('b = 0.333')"
        )
    browser.press("Escape")
    assert browser.run("document.getElementById('tip').hidden")


@in_browser
def test_tooltips_open_by_keyboard_and_by_tap_and_say_nothing_of_the_future(browser, tmp_path):
    explanation = ad.explain(neuron()[2], variables=False)
    opened(browser, tmp_path, explanation, 1)
    tip = "document.getElementById('tip').hidden ? null : document.getElementById('tip').innerText"
    browser.run("document.querySelector('.view').focus()")
    browser.press("Tab")
    seen = []
    for _ in range(browser.run("document.querySelectorAll('g[data-node]').length")):
        seen.append(browser.run(tip))
        browser.press("ArrowDown")
    values = [row.value for row in explanation.rows[1:] if len(row.value) > 4]
    assert all(seen) and not any(value in text for text in seen for value in values)
    assert any("value: not yet" in text for text in seen) and any("tanh" in text for text in seen)
    browser.press("Enter")
    assert browser.run("document.activeElement.dataset.node") and browser.run(tip)
    node = browser.run(
        "(() => { const r = document.querySelector('g[data-node].output').getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
    )
    browser.press("Escape")
    touch = [{"x": node[0], "y": node[1]}]
    browser.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=touch)
    browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    end = time.monotonic() + 30
    while browser.run(tip) is None and time.monotonic() < end:
        time.sleep(0.05)
    assert "output L" in browser.run(tip)


def answer(browser, text):
    browser.run(f"document.getElementById('guess').value = {json.dumps(text)}")
    browser.run("document.getElementById('guess').focus()")
    browser.press("Enter")


@in_browser
def test_in_predict_mode_the_next_number_is_a_question_that_is_checked_and_explained(browser, tmp_path):
    explanation = ad.explain(neuron()[2], variables=False)
    opened(browser, tmp_path, explanation, 2)
    browser.run("document.getElementById('predict').click()")
    browser.press("ArrowRight")
    row = explanation.rows[2]
    assert row.quantity == "v1" and row.value == "-1"
    text = lambda name: browser.run(f"document.getElementById({name!r}).innerText")
    state = browser.run(STATE)
    assert state["row"][3] == "?" and state["value"] == "= ?" and "What is v1?" in text("question")
    assert browser.run(SLOTS)[f"t{row.tensor._number}"]["value"] == ["?"]
    answer(browser, "five")
    assert "type a number" in text("verdict")
    guess = "document.getElementById('guess')"
    assert (
        browser.run(f"{guess}.value.slice({guess}.selectionStart, {guess}.selectionEnd)") == "five"
    )  # to be typed over
    answer(browser, "5")
    assert text("verdict").startswith("Not 5. The rule: v1 = w · x, with numbers (-0.5) · 2.")
    answer(browser, "−1,0")  # a sign and a comma as people write them
    assert (
        text("verdict").startswith("Now it is right. v1 = w · x = (-0.5) · 2 = -1.") and text("score") == "0 of 1 right"
    )
    assert browser.run(STATE)["row"][3] == "-1"
    browser.press("ArrowRight")  # an input is no question
    assert browser.run(STATE)["row"][1] == "b" and browser.run("document.getElementById('predict-box').hidden")
    browser.press("ArrowRight")
    answer(browser, "-2/3")
    assert text("verdict").startswith("Right.") and text("score") == "1 of 2 right"
    browser.press("ArrowRight")  # tanh(−2/3) = −0.5827829…
    answer(browser, "-0.582")
    assert text("verdict").startswith("Not -0.582")
    answer(browser, "-0.583")
    assert text("verdict").startswith("Now it is right.")
    browser.press("ArrowRight")
    browser.run("document.getElementById('guess').blur()")
    browser.press("ArrowRight")  # shows it
    assert text("verdict").startswith("Shown.") and text("score") == "1 of 4 right"
    browser.press("ArrowLeft")
    assert browser.run(STATE)["row"][3] != "?"  # what was answered is not asked again


@in_browser
def test_a_comma_in_an_answer_may_stand_before_decimals_or_between_thousands(browser, tmp_path):
    right = [("1,000", 1000), ("1,000", 1), ("1.000", 1), ("0,5", 0.5), (",5", 0.5), ("-1,000.5", -1000.5), ("1.000,5", 1000.5),
             ("1,234,567", 1234567), ("1,5e3", 1500), ("1,000/4", 250), ("1,5/0,5", 3), ("2,000e-3", 2), ("−3,000", -3000)]  # fmt: skip
    wrong = [
        ("1,000", 2, "Not 1,000 (1 or 1000)."),
        ("1,5", 15, "Not 1,5."),
        ("0,500", 500, "Not 0,500."),
        ("1.000", 1000, "Not 1.000."),
    ]
    none = ["1,0,0", "1,00,000", "1.000.000", "1,,5", "1/2/3", ",", "/", "e5", "1,000,5"]
    x = ad.Tensor(1.0, requires_grad=True, name="x")
    total = x
    for value in [value for _, value in right] + [value for _, value, _ in wrong]:
        total = total + value * x
    explanation = ad.explain(total, variables=False)
    opened(browser, tmp_path, explanation)
    browser.run("document.getElementById('predict').click()")
    verdict = "document.getElementById('verdict').innerText"

    def go(value):
        while True:
            browser.run("document.getElementById('next').click()")
            row = explanation.rows[browser.run(STATE)["seek"] - 1]
            if not browser.run("document.getElementById('predict-box').hidden") and " + " not in row.expression:
                assert float(row.number) == value
                return

    for text, value in right:
        go(value)
        answer(browser, text)
        assert browser.run(verdict).startswith("Right."), (text, value)
    for text, value, said in wrong:
        go(value)
        for each in none:
            answer(browser, each)
            assert "type a number" in browser.run(verdict), each
        answer(browser, text)
        assert browser.run(verdict).startswith(said)


@in_browser
def test_of_a_matrix_one_entry_is_asked_and_by_operation_no_local_derivative(browser, tmp_path):
    w, v, y = layer()
    explanation = ad.explain(y, variables=False)
    opened(browser, tmp_path, explanation)
    browser.run("document.getElementById('pace').value = 'operation'; document.getElementById('predict').click()")
    asked = 0
    for _ in range(2 * len(explanation.rows)):
        browser.run("document.getElementById('next').click()")
        if browser.run("document.getElementById('predict-box').hidden"):
            continue
        row = explanation.rows[browser.run(STATE)["seek"] - 1]
        assert row.phase != "local"
        index = re.search(r"\[([\d, ]+)\]\?", browser.run("document.getElementById('question').innerText"))
        entry = row.number[tuple(map(int, index[1].split(", ")))] if index else row.number
        assert bool(index) == bool(row.number.ndim)
        answer(browser, f"{entry:.3g}")
        assert browser.run("document.getElementById('verdict').innerText").startswith("Right."), row.quantity
        asked += 1
    assert asked > 8 and browser.run("document.getElementById('score').innerText") == f"{asked} of {asked} right"


@in_browser
def test_what_a_rule_reads_is_lit_and_what_it_will_read_is_marked_as_kept(browser, tmp_path):
    explanation = ad.explain(neuron()[2], variables=False)
    local = next(row for row in explanation.rows if row.quantity == "∂v2/∂v1" or row.expression.startswith("1 / cosh²"))
    read = {f"t{explanation.rows[s - 1].tensor._number}" for s in local.sources}
    opened(browser, tmp_path, explanation, local.step)
    assert {node for node, slots in browser.run(SLOTS).items() if "read" in slots["classes"]} == read
    forward = max(row.step for row in explanation.rows if row.phase == "forward")
    opened(browser, tmp_path, explanation, forward)
    assert read <= {node for node, slots in browser.run(SLOTS).items() if "kept" in slots["classes"]}
    assert "bytes kept" in browser.run("document.getElementById('now-cost').innerText")


@in_browser
def test_matrices_are_shown_as_such_and_large_ones_as_heat_maps(browser, tmp_path):
    W = ad.Tensor(np.linspace(-1, 1, 40 * 70).reshape(40, 70), requires_grad=True, name="W")
    m = ad.Tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True, name="m")
    explanation = ad.explain((W * W).sum() + (m * m).sum(), variables=False)
    step = {row.quantity: row.step for row in explanation.rows}
    opened(browser, tmp_path, explanation, step["m"])
    cells = browser.run(
        "[...document.querySelectorAll('.matrix tr')].map((r) => [...r.cells].map((c) => Number(c.textContent)))"
    )
    assert cells == m.data.tolist()
    opened(browser, tmp_path, explanation, step["W"])
    assert browser.run("[document.querySelector('canvas').height, document.querySelector('canvas').width]") == [20, 24]
    ends = browser.run(
        "[[0, 0], [23, 19]].map(([x, y]) => [...document.querySelector('canvas').getContext('2d').getImageData(x, y, 1, 1).data])"
    )
    assert ends[0][2] > ends[0][0] and ends[1][0] > ends[1][2]  # blue below zero, orange above
    assert "mean of 2 × 3 entries" in browser.run("document.querySelector('.heat figcaption').innerText")


@in_browser
def test_what_is_no_number_in_a_heat_map_has_a_pattern_and_is_named(browser, tmp_path):
    array = np.linspace(-1, 1, 25).reshape(5, 5)
    array[0, 1], array[1, 1], array[2, 1], array[2, 2] = np.nan, np.inf, -np.inf, -np.inf
    everywhere = np.full((5, 5), np.nan)
    pages = [ad.explain(ad.Tensor(each, name="W")) for each in (array, everywhere)]
    opened(browser, tmp_path, pages[0])
    said = "document.querySelector('.heat figcaption').innerText"
    assert browser.run(said) == (
        "blue -1 … orange 1, 1 NaN (chequered), 1 ∞ (upright stripes), 2 −∞ (level stripes)"
    )  # fmt: skip
    assert "1 NaN" in browser.run("document.querySelector('canvas').getAttribute('aria-label')")
    cells = browser.run("""[[0, 0], [1, 0], [1, 1], [1, 2]].map(([x, y]) => {
      const canvas = document.querySelector('canvas'), side = canvas.width / 5;
      const { data } = canvas.getContext('2d').getImageData(x * side, y * side, side, side);
      return [...Array(side * side).keys()].map((i) => data[4 * i]); })""")
    plain, nan, inf, minus = (np.array(cell).reshape(8, 8) for cell in cells)
    assert len(set(plain.flat)) == 1
    assert (inf == inf[0]).all() and len(set(inf[0])) == 2
    np.testing.assert_array_equal(minus, inf.T)
    assert len(set(nan[0])) == len(set(nan[:, 0])) == 2
    opened(browser, tmp_path, pages[1])
    assert browser.run(said) == "25 NaN (chequered)"
    assert trouble(browser) == ([], [])


@in_browser
def test_in_an_opened_graph_frames_hide_nothing_and_what_scrolls_is_reached_by_keys(browser, tmp_path):
    import nn

    nn.manual_seed(0)
    model = nn.LSTM(3, 4)
    x = ad.Tensor(np.ones((2, 2, 3), "f"), name="a_rather_long_name_of_an_input")
    explanation = ad.explain((model(x)[0] ** 2).sum(), names=model, expand=True, variables=False)
    opened(browser, tmp_path, explanation, width=390, height=844)
    browser.run("for (const each of document.querySelectorAll('details')) each.open = true")
    frames = browser.run(
        "[...document.querySelectorAll('.cluster > :not(title, text)')].map((e) => getComputedStyle(e).fill)"
    )
    assert len(frames) > 3 and set(frames) == {"none"}
    seen = set()
    for step in range(0, len(explanation.rows), 9):
        browser.run(f"document.querySelectorAll('#rows tr')[{step}].click()")
        scrolled = browser.run("""[...document.querySelectorAll("body *")].filter((e) =>
          /auto|scroll/.test(getComputedStyle(e).overflow) && e.checkVisibility()
          && (e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight)).map((e) => [e.id || e.className || e.localName, e.tabIndex])""")
        assert all(index == 0 for _, index in scrolled), scrolled
        seen |= {name for name, _ in scrolled}
    assert {"steps", "now-full"} <= seen
    place = browser.run(STATE)["seek"]
    browser.run("document.querySelector('.scrolled').focus()")
    browser.press("ArrowRight")
    assert browser.run(STATE)["seek"] == place  # it scrolls by them


def test_an_update_shows_so_many_digits_that_it_shows_a_change():
    w = ad.Tensor(1.0, requires_grad=True, name="w")
    table = ad.explain((w - 0.999) ** 2, update=("sgd", 1e-6))
    (row,) = [row for row in table.rows if row.phase == "update"]
    assert row.value == "0.999999998" and float(row.value) == pytest.approx(float(row.number), abs=1e-10)
    assert 'class="update"' in table.to_html()  # in the legend
    still = ad.explain(w * 0.0, update=("sgd", 0.1)).rows[-1]
    assert still.value == "1"


def test_a_hessian_vector_product_keeps_the_function_in_view_in_three_bands():
    w, v, y = layer()
    explanation = ad.explain(y, hvp=[np.ones((2, 2)), np.ones(2)], variables=False)
    text = explanation.to_html()
    assert [text.count(f'class="cluster pass{i}"') for i in range(3)] == [1, 1, 1]
    assert len(re.findall('class="view"', text)) == 1
    nodes = set(re.findall(r'<g class="node[^>]*data-node="(\w+)"', text))
    assert {f"t{row.tensor._number}" for row in explanation.rows if row.phase == "forward"} <= nodes
    assert {f"d{x._number}" for x in (w, v)} <= nodes and {f"u{x._number}" for x in (w, v)} <= nodes
    edges = set(re.findall(r'data-from="(\w+)" data-to="(\w+)"', text))
    slope = next(row.tensor for row in explanation.rows if row.quantity == "s")
    assert (f"op{slope._number}", f"t{slope._number}") in edges and (f"u{w._number}", f"op{slope._number}") in edges
    copies = [fact["also"] for fact in data_of(text)["steps"] if fact["also"]]
    assert copies and set(" ".join(copies).split()) <= nodes  # the first pass fills the second band


@in_browser
def test_h_times_u_of_two_inputs_is_drawn_as_the_change_of_the_gradient(browser, tmp_path):
    w = ad.Tensor([1.0, 2.0], requires_grad=True, name="w")
    explanation = ad.explain(w[0] ** 2 * w[1] + w[1] ** 3, hvp=[[0.5, -1.0]], variables=False)
    opened(browser, tmp_path, explanation, len(explanation.rows))
    arrow = """((kind) => {
      const [, x0, y0] = document.querySelector(`.plane .${kind} path`).getAttribute("d").match(/M([-\\d.]+) ([-\\d.]+)/).map(Number);
      const [x1, y1] = document.querySelector(`.plane .${kind} polygon`).getAttribute("points").split(" ")[0].split(",").map(Number);
      return [x1 - x0, y0 - y1];
    })"""
    before, after, change = (np.array(browser.run(f"{arrow}('{kind}')")) for kind in ("before", "after", "change"))
    gradient, hu = np.array([4.0, 13.0]), np.array([[4.0, 2.0], [2.0, 12.0]]) @ [0.5, -1.0]  # by hand
    scale = np.linalg.norm(before) / np.linalg.norm(gradient)
    np.testing.assert_allclose(before, scale * gradient, atol=0.2)
    np.testing.assert_allclose(after, scale * (gradient + hu), atol=0.2)
    np.testing.assert_allclose(change, scale * hu, atol=0.2)
    assert browser.run("document.querySelector('.plane').checkVisibility()")
    browser.press("Home")
    assert not browser.run("document.querySelector('.plane').checkVisibility()")


def test_the_page_of_a_small_net_is_small():
    import nn

    model = nn.Sequential(nn.Linear(2, 3, dtype=float), nn.Tanh(), nn.Linear(3, 1, dtype=float))
    loss = (model(ad.Tensor([[1.0, 2.0], [0.5, -1.0]])) ** 2).mean()
    vectors = [np.ones(p.shape) for p in model.parameters()]
    assert len(ad.explain(loss, names=model, update=("sgd", 0.1)).to_html().encode()) < 400_000
    assert len(ad.explain(loss, names=model, hvp=vectors).to_html().encode()) < 400_000


def test_no_python_object_shows_through():
    w, v, y = layer()
    text = html.unescape(ad.explain(y, hvp=[np.ones((2, 2)), np.ones(2)], update=("sgd", 0.1)).to_html())
    assert "array(" not in text and "vectors=" not in text and "object at" not in text and "None" not in text

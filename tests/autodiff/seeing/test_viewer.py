"""The page of a graph: complete, true to NumPy's numbers, safe from its texts, usable with mouse or keyboard alone."""

import html
import json
import os
import re
from collections import Counter

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff.seeing import layout
from autodiff.seeing.details import described
from autodiff.seeing.palette import DARK
from autodiff.seeing.repeats import runs
from tests import chromium

HOSTILE = ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"', "&amp;", "-->", "${1}", "$title", "\\N", "\0",
           "\ud800", "\u202e", "é漢∂"]  # fmt: skip

in_browser = pytest.mark.skipif(chromium.PROGRAM is None, reason="no Chromium")


class Block(nn.Module):
    def __init__(self, size):
        self.norm, self.inner, self.act, self.outer = (
            nn.LayerNorm(size),
            nn.Linear(size, 8),
            nn.GELU(),
            nn.Linear(8, size),
        )

    def forward(self, x):
        return x + self.outer(self.act(self.inner(self.norm(x))))


def deep(blocks=25):
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), *[Block(6) for _ in range(blocks)], nn.Linear(6, 3))
    x = ad.Tensor(np.random.default_rng(0).normal(size=(5, 4)).astype("f"), name="features")
    loss = nn.functional.cross_entropy(model(x), np.arange(5) % 3)
    loss.backward()
    return model, loss


def mlp():
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    x = ad.Tensor(np.ones((32, 2), "f"), name="features")
    return model, nn.functional.mse_loss(model(x), np.ones((32, 1), "f"))


def recurrent(steps=60):
    rng = np.random.default_rng(0)
    w, u = (ad.Tensor(rng.normal(size=(n, 8)) * 0.3, requires_grad=True, name=name) for n, name in ((8, "W"), (3, "U")))
    h = ad.Tensor(np.zeros(8), name="h0")
    for t in range(steps):
        h = ad.tanh(ad.Tensor(rng.normal(size=3), name=f"x{t}") @ u + h @ w)
    return (h**2).sum()


def processors():
    """Seconds that processors have worked for us, the layout's process among them: other programs are not."""
    return sum(os.times()[:4])


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


# Folding


@pytest.mark.parametrize("ids, expected", [
    ([1, 2] * 5, [(0, 2, 5)]), ([7, 1, 1, 1, 9], [(1, 1, 3)]), ([1, 2, 1, 2], []), ([], []), ([3, 1, 1, 2] * 4, [(0, 4, 4)]),
    ([5] + [1, 2, 3] * 3 + [8] + [4] * 6, [(1, 3, 3), (11, 1, 6)]),
])  # fmt: skip
def test_runs_are_found_where_a_sequence_repeats_itself(ids, expected):
    assert runs(np.array(ids, int)) == expected


def test_runs_are_what_they_say_and_do_not_overlap():
    rng = np.random.default_rng(0)
    for _ in range(200):
        ids = np.concatenate([np.tile(rng.integers(0, 3, rng.integers(1, 5)), rng.integers(1, 6)) for _ in range(4)])
        end = 0
        for start, period, count in runs(ids):
            assert start >= end and count >= 3
            end = start + period * count
            assert (ids[start:end].reshape(count, period) == ids[start : start + period]).all()


def test_a_deep_net_is_one_spine_with_its_blocks_folded():
    model, loss = deep()
    picture = ad.graph(loss, names={"net": model})
    assert "Block ×25" in picture.source and "net.1 … 25" in picture.source and picture.source.count(" -> ") < 10
    width, height = map(float, re.search(r'width="(\d+)pt" height="(\d+)pt"', picture.pipe("svg").decode()).groups())
    assert width < 600 and height < 900
    began = processors()
    assert picture.pipe("png").startswith(b"\x89PNG")
    assert processors() - began < 5


def test_time_steps_are_folded_without_modules_and_each_keeps_its_own_input():
    picture = ad.graph(recurrent())
    assert "×60" in picture.source and "x30<" not in picture.source and repr(picture).startswith("<Graph: 7 nodes")
    data = data_of(picture.to_html())
    repeat = next(g for g in data["groups"] if g["kind"] == "repeat")
    assert len(repeat["nodes"]) == 60
    members = [data["groups"][data["nodes"][i]["group"]] for i in repeat["nodes"]]
    assert [m["label"] for m in members][::59] == ["1 of 60", "60 of 60"]
    for t, member in enumerate(members):
        assert f"x{t}" in [data["nodes"][i]["name"] for i in member["nodes"]]


def test_a_folded_loop_says_the_name_of_what_comes_out_of_it():
    h = w = ad.Tensor(np.eye(3), requires_grad=True)
    for _ in range(60):
        h = np.tanh(h @ w)
    picture = ad.graph((h**2).sum())
    (folded,) = (node for node in picture.hierarchy.nodes if node.group is not None and node.around == 0)
    assert "×60" in folded.name and ("value", "h") in folded.lines
    assert ">h<" in picture.source


def test_a_small_network_fits_a_thousand_pixels_with_parameters_inside_and_can_show_them_apart():
    model, loss = mlp()
    loss.backward()
    picture = ad.graph(loss, names=model)
    width, height = map(float, re.search(r'width="(\d+)pt" height="(\d+)pt"', picture.pipe("svg").decode()).groups())
    assert width * 4 / 3 < 1000 and height * 4 / 3 < 1000
    assert "weight (16, 2)" in picture.source and "class=parameter" not in picture.source
    apart = ad.graph(loss, names=model, compact=False)
    assert apart.source.count("class=parameter") == 6
    assert sum(node["kind"] == "parameter" for node in data_of(apart.to_html())["nodes"]) == 6


def test_what_only_the_middle_of_a_long_repeat_uses_or_gives_is_drawn_with_its_edges():
    x, z = ad.Tensor(1.0, requires_grad=True, name="x"), ad.Tensor(2.0, requires_grad=True, name="z")
    y, kept = x, []
    for i in range(300):
        y = y + (z if i in (150, 151) else x)
        kept += [y] if i == 140 else []
    middle = ad.exp(kept[0])
    middle.name = "middle"
    picture = ad.graph(y * middle, variables=False)
    data = data_of(picture.to_html())
    names = [node["name"] for node in data["nodes"]]
    edges = set()
    for group in data["groups"]:
        ends = [*group["ins"], *(names[i] for i in group["nodes"]), *group["outs"]]
        edges |= {(ends[a], ends[b]) for a, b, *_ in data["layouts"][group["layout"]]["edges"]}
    repeat = next(name for name in names if "×300" in name)
    assert {("x", repeat), (repeat, "exp → middle"), (repeat, "multiply → L")} <= edges
    assert {("z", repeat), ("z", "… 236 nodes not shown")} <= edges  # outside, and the port inside
    assert "+ ×300" in picture.source and "300 operations" in picture.source


def chain(n):
    y = ad.Tensor([1.0, 2.0], requires_grad=True, name="x")
    for _ in range(n):
        y = ad.tanh(y) * 1.01
    return y.sum()


@pytest.mark.parametrize("n", [100, 1600])
def test_the_passes_of_a_long_chain_are_a_page_and_a_picture_within_seconds(n):
    y = chain(n)
    began = processors()
    picture = ad.graph(y, order=2, variables=False)
    page, svg = picture.to_html(), picture.pipe("svg", encoding="utf-8")
    assert processors() - began < 5 * n**0.5 / 10
    assert repr(picture).startswith("<Graph: 2") and len(svg) < 60_000  # some twenty nodes, however long the chain
    assert f"tanh · × ×{n:,}" in picture.source and f"{n - 1:,} values from earlier passes" in picture.source
    for title in ("∂L/∂x", "∂s/∂x", "∂s/∂s"):
        assert title in picture.source
    for group in data_of(page)["groups"]:
        assert len(group["ins"]) <= 12 and len(group["outs"]) <= 12


def test_the_passes_of_a_deep_net_have_its_blocks_and_their_parameters_and_gradients_in_one_node_each():
    model, loss = deep()
    began = processors()
    picture = ad.graph(loss, names={"net": model}, order=2)
    assert picture.pipe("png").startswith(b"\x89PNG")
    assert processors() - began < 5  # 2 where nothing else runs
    assert int(repr(picture).split()[1]) < 90 and "not shown" not in picture.source
    assert "Block ×25" in picture.source and "net.13.inner" not in picture.source
    found = re.findall(r"<([\d,]+) results>", picture.source)
    assert found.count("151") == 2  # of either pass: of six parameters in each of 25 blocks, and one by their input
    assert "∂loss/∂net.0.weight" in picture.source  # what belongs to no repeat stays


def test_many_tensors_that_enter_a_module_have_one_port_that_says_how_many():
    class Total(nn.Module):
        def forward(self, parts):
            total = ad.exp(parts[0])
            for part in parts[1:]:
                total = ad.sin(total + part)
            return total

    class Model(nn.Module):
        def __init__(self):
            self.total, self.scale = Total(), nn.Parameter(1.0)

        def forward(self, parts):
            return self.total([part * self.scale for part in parts])

    model = Model()
    y = model([ad.Tensor(float(i), requires_grad=True, name=f"x{i}") for i in range(40)])
    data = data_of(ad.graph(y, names=model, variables=False).to_html())
    assert "… 16 nodes not shown" in [node["name"] for node in data["nodes"]]  # 40 leaves and 40 results, less 64
    inner = next(g for g in data["groups"] if "Total" in g["label"])
    assert inner["ins"] == ["multiply", "multiply, 39 tensors"]  # the first goes to exp
    outer = next(g for g in data["groups"] if g["kind"] == "repeat")
    assert outer["outs"] == ["multiply, 40 tensors, from 33 nodes"]


# Numbers, texts, themes


def test_the_panel_has_numpys_numbers_and_every_gradient():
    model, loss = deep(3)
    tensors = {t["name"]: t for t in data_of(ad.graph(loss, names={"net": model}).to_html())["tensors"]}
    for name, parameter in model.named_parameters():
        shown = tensors[f"net.{name}"]
        for found, array in ((shown, parameter.data), (shown["gradient"], parameter.grad.data)):
            assert found["shape"] == str(array.shape) and found["dtype"] == "float32"
            assert np.float32(found["min"]) == array.min() and np.float32(found["max"]) == array.max()
            assert float(found["mean"]) == array.mean(dtype=float) and float(found["std"]) == array.std(dtype=float)
            assert found["counts"] == np.histogram(array.astype(float), 24)[0].tolist()


@pytest.mark.parametrize("array", [
    np.array([np.nan, 1.0, np.inf, -np.inf]), np.array([1e300, -1e308, 1e308]), np.zeros(0), np.array(3), np.ones(5), np.array([True, False]),
    np.array([np.nan, np.nan]), np.array([1e300, np.nextafter(1e300, 2e300)]), np.arange(5, dtype=np.uint8), np.full(3, 5e-324),
])  # fmt: skip
def test_any_array_can_be_described(array):
    with np.errstate(all="ignore"):
        found = described(array)
        json.dumps(found, allow_nan=False)
        if "min" in found:
            np.testing.assert_equal(float(found["min"]), float(array.min()))
            np.testing.assert_equal(float(found["std"]), array.std(dtype=float))


def test_values_have_four_figures_on_few_lines_and_all_of_them_beside():
    array = np.random.default_rng(0).normal(size=(5, 4))
    found = described(array)
    assert found["values"].count("\n") == 4 and " ," not in found["values"]
    np.testing.assert_allclose(np.array(json.loads(found["values"])), array, rtol=5e-4)
    np.testing.assert_array_equal(np.array(json.loads(found["digits"])), array)
    assert "digits" not in described(np.array([0.5, 2.0])) and "digits" not in described(np.arange(6))


def test_the_bands_of_a_small_picture_are_open_and_the_output_stands_in_the_forward_pass():
    w = ad.Tensor([0.5, -1.0], requires_grad=True)
    hierarchy = ad.graph((np.tanh(w * 2.0) ** 2).sum(), order=2, variables=False).hierarchy
    bands = [group for group in hierarchy.groups if group.kind == "band"]
    assert len(bands) == 3 and all(group.opened for group in bands)
    (output,) = (node for node in hierarchy.nodes if node.kind == "output")
    assert hierarchy.groups[output.around] is bands[0] and bands[0].label == "forward pass"


def test_the_histogram_of_a_large_array_says_that_it_is_of_a_sample():
    found = described(np.arange(1_000_000.0))
    assert found["every"] == 50 and sum(found["counts"]) == 20_000 and found["max"] == "999999.0"


def test_texts_stay_text_and_the_page_loads_nothing():
    y = ad.Tensor(1.0, requires_grad=True, name="x")
    for name in HOSTILE:
        y = y * 2.0
        y.name = name
    page = ad.graph(y, names=None).to_html()
    assert page.count("</script>") == 2 and "<img" not in page and "://" not in page.replace("\\/", "/")
    assert "unsafe" not in page and "default-src 'none'" in page
    names = [node["name"] for node in data_of(page)["nodes"]]
    assert any("</script>" in name for name in names) and any("\\ud800" in name for name in names)


def test_pictures_in_one_page_have_no_id_in_common_and_the_same_run_gives_the_same():
    x = ad.Tensor(3.0, requires_grad=True, name="x")
    picture, other = ad.graph(x * x), ad.graph(x * x + 1.0)
    model, loss = mlp()
    deeper = [ad.graph(loss, names=model, order=order, direction=way) for order in (1, 2) for way in ("LR", "TB")]
    shown = [p._repr_mimebundle_()["text/html"] for p in (picture, other, picture, *deeper, *deeper)]
    ids = [i for text in shown for i in re.findall(r'(?<= )id="([^"]*)"', text)]
    assert len(ids) == len(set(ids)) > 10
    assert picture.pipe("svg") == picture.pipe("svg")
    for text in shown:
        root = re.search(r'<svg [^>]*id="([^"]*)"', text)[1]
        assert f'[data-jp-theme-light="false"] #{root},.vscode-dark #{root}{{color-scheme:dark}}' in text


def test_every_colour_of_a_picture_has_one_for_dark_grounds():
    w = ad.Tensor(0.5, requires_grad=True, name="w")
    model, loss = deep(3)
    for picture in (ad.graph(ad.tanh(w * 2.0) ** 2, order=2, legend=True), ad.graph(loss, names=model, compact=False)):
        svg = picture.pipe("svg").decode()
        used = set(re.findall(r'(?:fill|stroke)="([^"]*)"', svg)) - {"none", "black", "transparent"}
        assert used <= DARK.keys()


def test_a_legend_explains_each_kind_on_request():
    x = ad.Tensor(3.0, requires_grad=True, name="x")
    assert "legend" not in ad.graph(x * x).source
    source = ad.graph(x * x, legend=True).source
    for word in ("leaf that requires a gradient", "parameter", "constant", "result", "operation", "output"):
        assert f"<{word}>" in source
    with pytest.raises(TypeError, match="legend must be True or False, not 3"):
        ad.graph(x * x, legend=3)
    with pytest.raises(TypeError, match="compact must be True or False, not 'yes'"):
        ad.graph(x * x, compact="yes")


def test_results_and_output_show_their_gradients_in_both_forms():
    x = ad.Tensor([1.0, 2.0], requires_grad=True, name="x")
    h = x * 3.0
    y = (h**2).sum()
    h.retain_grad(), y.retain_grad()
    y.backward()
    for compact in (False, True):
        source = ad.graph(y, compact=compact).source
        for text in ("grad [18, 36]", "grad [6, 12]", "grad 1<"):
            assert text in source


def test_without_a_layout_program_to_html_says_what_to_install(monkeypatch, tmp_path):
    def missing(*args):
        raise layout.LayoutError(layout.INSTALL)

    monkeypatch.setattr(layout, "layout", missing)
    with pytest.raises(layout.LayoutError, match="pip install"):
        ad.graph(ad.Tensor(1.0)).to_html(tmp_path / "graph.html")
    assert not list(tmp_path.iterdir())


def test_a_notebook_shows_a_large_graph_as_the_page_before_the_picture():
    model, loss = deep(3)
    text = ad.graph(loss, names=model)._repr_mimebundle_()["text/html"]
    frame = re.search(r'<iframe [^>]*srcdoc="([^"]*)" sandbox="allow-scripts"', text)
    assert html.unescape(frame[1]).startswith("<!DOCTYPE html>") and "<svg" in text[: frame.start()]
    x = ad.Tensor(3.0, requires_grad=True)
    assert "iframe" not in ad.graph(x * x)._repr_html_()


# In a browser


@pytest.fixture(scope="module")
def browser():
    window = chromium.Browser()
    yield window
    window.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    model, loss = deep()
    path = tmp_path_factory.mktemp("viewer") / "graph.html"
    ad.graph(loss, names={"net": model}).to_html(path)
    return path


def trouble(browser):
    said = [e["params"] for e in browser.events if e["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
    loaded = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    return said + [url for url in loaded if not url.startswith("file:///")]


STATE = """(() => {
  const shown = [...document.querySelectorAll("[data-node]")];
  return { names: shown.map((n) => n.textContent), view: document.getElementById("world").getAttribute("transform"),
           panel: document.getElementById("panel").hidden ? null : document.getElementById("panel").textContent,
           hash: location.hash, focus: document.activeElement.getAttribute("aria-label") || document.activeElement.textContent, map: !document.getElementById("map").hasAttribute("hidden") };
})()"""

INSIDE = """(() => {
  const wrong = [];
  for (const node of document.querySelectorAll(".node, .port, .bar")) {
    const box = node.querySelector("rect").getBBox();
    for (const text of node.querySelectorAll("text")) {
      const t = text.getBBox();
      if (t.x < box.x - 1 || t.x + t.width > box.x + box.width + 1) wrong.push(text.textContent);
    }
  }
  return wrong;
})()"""

OVER = """(() => {
  const nodes = [...document.querySelectorAll(".node")].map((n) => [n.dataset.node, n.querySelector("rect").getBBox()]), wrong = [];
  for (const edge of document.querySelectorAll(".edge")) {
    const length = edge.getTotalLength();
    for (let s = 4; s < length - 4; s += 4) {
      const p = edge.getPointAtLength(s);
      for (const [name, b] of nodes) if (p.x > b.x + 3 && p.x < b.x + b.width - 3 && p.y > b.y + 3 && p.y < b.y + b.height - 3) wrong.push(name);
    }
  }
  for (const [n, a] of nodes) for (const [m, b] of nodes)
    if (n < m && a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height) wrong.push([n, m]);
  return wrong;
})()"""


def click(browser, label, count=1):
    x, y = browser.run(
        f"(() => {{ const b = [...document.querySelectorAll('[data-node]')].find((n) => n.textContent.includes({json.dumps(label)}))"
        ".querySelector('rect').getBoundingClientRect(); return [b.x + Math.min(b.width, 200) / 2, b.y + Math.min(b.height, 40) / 2]; })()"
    )
    for kind in ("mousePressed", "mouseReleased"):
        browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def key(browser, name, code, text="", modifiers=0):
    common = {"key": name, "code": name, "windowsVirtualKeyCode": code, "modifiers": modifiers}
    browser.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
    browser.call("Input.dispatchKeyEvent", type="keyUp", **common)


@in_browser
@pytest.mark.parametrize("width, dark", [(1400, False), (1400, True), (800, True), (390, False)])
def test_modules_open_and_close_at_a_click_and_the_address_keeps_it(browser, page, width, dark):
    browser.window(width, 900, dark=dark)
    browser.open(page)
    began = browser.run(STATE)
    assert any("Block ×25" in name for name in began["names"]) and len(began["names"]) < 12
    click(browser, "Block ×25")
    opened = browser.run(STATE)
    assert sum("Block" in name for name in opened["names"]) >= 25 and opened["map"] and "open=" in opened["hash"]
    assert browser.run(INSIDE) == [] and browser.run(OVER) == []
    browser.open(page, opened["hash"])
    assert browser.run(STATE)["names"] == opened["names"]
    click(browser, "Block ×25")
    assert len(browser.run(STATE)["names"]) == len(began["names"])
    browser.run("document.getElementById('close-all').click()")
    assert len(browser.run(STATE)["names"]) < len(began["names"])
    browser.run("document.getElementById('open-all').click()")
    assert len(browser.run(STATE)["names"]) > 150
    assert browser.run(INSIDE) == [] and browser.run(OVER) == []
    ground = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(21, 24, 28)") == dark
    assert trouble(browser) == []


@in_browser
def test_wheel_drag_buttons_and_map_move_the_picture(browser, page):
    browser.window(1400, 900)
    browser.open(page)
    click(browser, "Block ×25")
    views = [browser.run(STATE)["view"]]
    browser.call("Input.dispatchMouseEvent", type="mouseWheel", x=700, y=500, deltaX=0, deltaY=-200)
    browser.run("new Promise((done) => setTimeout(done, 100))")
    views.append(browser.run(STATE)["view"])
    browser.call("Input.dispatchMouseEvent", type="mousePressed", x=200, y=500, button="left", clickCount=1)
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=260, y=420, button="left", buttons=1)
    browser.call("Input.dispatchMouseEvent", type="mouseReleased", x=260, y=420, button="left", clickCount=1)
    views.append(browser.run(STATE)["view"])
    for button in ("in", "out", "fit"):
        browser.run(f"document.getElementById('{button}').click()")
        views.append(browser.run(STATE)["view"])
    assert all(a != b for a, b in zip(views, views[1:]))
    scale = [float(re.search(r"scale\(([\d.e-]+)\)", view)[1]) for view in views]
    assert scale[1] > scale[0] and scale[2] == scale[1] and scale[3] > scale[2] and scale[4] < scale[3]


@in_browser
@pytest.mark.parametrize("width", [1400, 390])
def test_what_is_larger_than_the_page_is_seen_from_its_first_node_on(browser, tmp_path, width):
    model, loss = mlp()
    ad.graph(loss, names=model, order=2).to_html(tmp_path / "graph.html")
    browser.window(width, 800)
    browser.open(tmp_path / "graph.html")
    for button in (None, "open-all"):
        if button:
            browser.run(f"document.getElementById('{button}').click()")
        left, top, right, bottom, edge = browser.run(
            "(() => { const n = [...document.querySelectorAll('.node')].find((n) => n.textContent.startsWith('features'))"
            ".querySelector('rect').getBoundingClientRect(), c = document.getElementById('canvas').getBoundingClientRect();"
            "return [n.left, n.top, n.right, n.bottom, c.top]; })()"
        )
        assert 0 <= left and right <= width and edge <= top and bottom <= 800


@in_browser
def test_a_page_that_gets_its_size_later_or_another_one_is_fitted_to_it_until_somebody_moves_it(browser, page):
    views = []
    for first in (1, 390, 1400):
        browser.window(first, 800)
        browser.open(page)
        browser.window(1400, 800)
        browser.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        views.append(browser.run(STATE)["view"])
    assert len(set(views)) == 1
    browser.run("document.getElementById('in').click()")
    moved = browser.run(STATE)["view"]
    browser.window(1300, 800)
    browser.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert browser.run(STATE)["view"] == moved != views[0]


@in_browser
def test_two_fingers_zoom_and_a_tap_opens(browser, page):
    browser.window(390, 800)
    browser.open(page)
    scale = lambda: float(re.search(r"scale\(([\d.e-]+)\)", browser.run(STATE)["view"])[1])
    before = scale()
    touch = lambda kind, *points: browser.call(
        "Input.dispatchTouchEvent",
        type=kind,
        touchPoints=[{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)],
    )
    touch("touchStart", (150, 400), (200, 400))
    for k in range(5):
        touch("touchMove", (150 - 10 * k, 400), (200 + 10 * k, 400))
    touch("touchEnd")
    assert scale() > 1.3 * before
    browser.open(page)
    x, y = browser.run(
        "(() => { const b = [...document.querySelectorAll('[data-node]')].find((n) => n.textContent.includes('×25')).getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
    )
    touch("touchStart", (x, y))
    touch("touchEnd")
    assert len(browser.run(STATE)["names"]) > 25 and trouble(browser) == []


@in_browser
@pytest.mark.parametrize("width", [1400, 800, 390])
def test_searching_opens_what_is_found_and_the_panel_shows_its_numbers_by_keyboard_alone(browser, page, width):
    model, _ = deep()
    browser.window(width, 900)
    browser.open(page)
    browser.run("document.getElementById('canvas').focus()")
    key(browser, "/", 191, "/")
    for letter in "net.13.inner":
        browser.call("Input.dispatchKeyEvent", type="char", text=letter)
    key(browser, "Enter", 13, "\r")
    state = browser.run(STATE)
    weight = dict(model.named_parameters())["13.inner.weight"]
    assert state["focus"].startswith("Linear net.13.inner ")
    for exact in (weight.data.min(), weight.data.std(dtype=float)):
        assert f"{exact:.4g}" in state["panel"] and str(exact) in browser.run(
            "[...document.querySelectorAll('#panel [title]')].map((e) => e.title)"
        )
    assert "node=" in state["hash"] and "formula" in state["panel"]
    key(browser, "ArrowDown", 40)
    assert browser.run(STATE)["focus"] != state["focus"]
    key(browser, "Escape", 27)
    assert browser.run(STATE)["panel"] is None
    for name, code, modifiers in (("+", 187, 0), ("0", 48, 0), ("ArrowDown", 40, 8)):
        before = browser.run(STATE)["view"]
        key(browser, name, code, modifiers=modifiers)
        assert browser.run(STATE)["view"] != before
    assert trouble(browser) == []


@in_browser
def test_hostile_names_run_nothing(browser, tmp_path):
    y = ad.Tensor(1.0, requires_grad=True, name=HOSTILE[0])
    for name in HOSTILE:
        y = y * 2.0
        y.name = name
    ad.graph(y, legend=True).to_html(tmp_path / "graph.html")
    browser.open(tmp_path / "graph.html")
    assert browser.run("document.querySelectorAll('img').length") == 0 and trouble(browser) == []
    assert any("alert(1)" in name for name in browser.run(STATE)["names"])
    assert not browser.run("document.getElementById('legend').hidden")


@in_browser
@pytest.mark.parametrize("mark, dark", [('data-jp-theme-light="false"', True), ('data-jp-theme-light="true"', False),
                                        ('class="vscode-dark"', True), ("", None)])  # fmt: skip
@pytest.mark.parametrize("order", [1, 2])
def test_a_picture_in_a_notebook_takes_the_notebooks_theme_with_legible_text(browser, tmp_path, mark, dark, order):
    x = ad.Tensor(3.0, requires_grad=True, name="x")
    picture = ad.graph(x * x, order=order).pipe("svg", encoding="utf-8")
    text = picture[picture.index("<svg ") :]
    (tmp_path / "notebook.html").write_text(f"<!DOCTYPE html><meta charset=utf-8><body {mark}>{text}</body>")
    for system in (False, True):
        browser.window(800, 600, dark=system)
        browser.open(tmp_path / "notebook.html")
        fill = browser.run("getComputedStyle(document.querySelector('.node.variable polygon')).fill")
        expected = system if dark is None else dark
        assert fill == ("rgb(18, 53, 74)" if expected else "rgb(214, 236, 250)")
        for title, shape, frame in browser.run(INKS):
            assert contrast(title, shape if shape != "none" else frame) >= 4.5, (title, shape, frame)


@in_browser
def test_a_framed_page_in_a_notebook_takes_the_notebooks_theme_or_else_the_systems(browser, tmp_path):
    image = pytest.importorskip("matplotlib.image")
    _, loss = deep(3)
    text = ad.graph(loss)._repr_mimebundle_()["text/html"]
    for mark, expected in (('data-jp-theme-light="false"', True), ('data-jp-theme-light="true"', False), ("", None)):
        (tmp_path / "notebook.html").write_text(f"<!DOCTYPE html><meta charset=utf-8><body {mark}>{text}</body>")
        for system in (False, True):
            browser.window(800, 700, dark=system)
            browser.open(tmp_path / "notebook.html")
            browser.run("new Promise((done) => setTimeout(done, 150))")
            browser.picture(tmp_path / "notebook.png")
            corner = image.imread(tmp_path / "notebook.png")[580, 30, :3] * 255  # of the frame, where nothing is drawn
            dark = system if expected is None else expected
            np.testing.assert_allclose(corner, [21, 24, 28] if dark else [255] * 3, atol=1)


def contrast(*colours):
    """The ratio of WCAG 2.2 of two colours as a browser gives them."""
    light = []
    for colour in colours:
        channels = np.array(re.findall(r"[\d.]+", colour)[:3], float) / 255
        channels = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        light.append(channels @ [0.2126, 0.7152, 0.0722])
    return (max(light) + 0.05) / (min(light) + 0.05)


INKS = """(() => {
  const fill = (x) => getComputedStyle(x).fill, ground = fill(document.querySelector('.graph polygon'));
  return [...document.querySelectorAll('.node text, .cluster text')].map((text) => {
    const shape = [...text.closest('.node, .cluster').querySelectorAll('polygon, path, ellipse')][0];
    return [fill(text), shape ? fill(shape) : 'none', ground];
  });
})()"""
"""Of each text, its colour, that of the shape behind it, and that of the picture's ground."""


def spoken(browser, role):
    """The names that the browser tells assistive programs, of all elements of a role."""
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    return [node["name"]["value"].strip() for node in nodes if node.get("role", {}).get("value") == role]


@in_browser
@pytest.mark.parametrize("width", [1400, 390])
def test_the_map_is_in_the_order_of_tab_says_what_its_keys_do_and_moves_the_view(browser, page, width):
    browser.window(width, 900)
    browser.open(page)
    browser.run("document.getElementById('open-all').click()")
    assert spoken(browser, "application") == ["Map. Arrow keys move the view."]
    browser.run("document.getElementById('canvas').focus()")
    for _ in range(2):  # to the node that has its turn, then on
        browser.press("Tab")
    assert browser.run(STATE)["focus"].startswith("Map")
    place = lambda: np.array(re.findall(r"-?[\d.]+", browser.run(STATE)["view"])[:2], float)
    for name, way in {"ArrowDown": (0, -1), "ArrowRight": (-1, 0), "ArrowUp": (0, 1), "ArrowLeft": (1, 0)}.items():
        before = place()
        browser.press(name)
        moved = (place() - before) * way  # the view goes one way, the picture the other
        assert moved.max() > width / 20 and moved.min() == 0
    assert re.fullmatch(
        r"Centre at \d+% from the left, \d+% from the top", browser.run("document.getElementById('status').textContent")
    )
    browser.run("document.getElementById('close-all').click(), document.getElementById('fit').click()")
    state = browser.run(STATE)
    assert not state["map"] and state["focus"].startswith("Graph of")  # the focus is not lost with the map
    assert trouble(browser) == []


@in_browser
@pytest.mark.parametrize("order", [1, 2])
def test_every_node_of_a_page_is_a_button_of_a_name_that_says_what_is_seen_within_landmarks(browser, tmp_path, order):
    x = ad.Tensor([1.0, 2.0], requires_grad=True, name="x")
    ad.graph(ad.tanh(x * 2.0) ** 2, order=order).to_html(tmp_path / "graph.html")
    browser.window(1400, 900)
    browser.open(tmp_path / "graph.html")
    browser.run("document.getElementById('open-all').click()")
    seen = browser.run(
        "[...document.querySelectorAll('[data-node]')].map((n) => [...n.querySelectorAll('text:not([aria-hidden])')]"
        ".map((text) => text.textContent.trim()).join(' '))"
    )
    assert len(seen) >= 5 and not Counter(seen) - Counter(spoken(browser, "button"))
    # A name that an attribute gives is another than what is seen where a part of the node is out of sight.
    assert browser.run("document.querySelectorAll('[data-node][aria-label]').length") == 0
    assert browser.run(
        "[...document.querySelectorAll('h1, [role=status], [role=toolbar]')].every((e) => e.closest('header, main'))"
    )


@in_browser
@pytest.mark.parametrize("width", [1400, 390])
def test_passes_stand_below_each_other_in_a_page(browser, tmp_path, width):
    ad.graph(chain(100), order=2).to_html(tmp_path / "graph.html")
    browser.window(width, 900)
    browser.open(tmp_path / "graph.html")
    tops = browser.run(
        "[...document.querySelectorAll('.frame.band')].map((b) => [b.y.baseVal.value, b.y.baseVal.value + b.height.baseVal.value])"
    )
    tops.sort()
    assert len(tops) == 3 and all(a[1] < b[0] for a, b in zip(tops, tops[1:]))


def test_a_loop_that_is_not_folded_is_laid_out_in_a_second_of_the_processor():
    h = variable = ad.Tensor(np.eye(3), requires_grad=True)
    for _ in range(60):
        h = np.tanh(variable @ h + np.ones((3, 3)) @ variable)
    picture, before = ad.graph(h.sum(), group=False), os.times().children_user
    assert len(picture.hierarchy.nodes) > 100 and picture.to_html()
    assert os.times().children_user - before < 1.5

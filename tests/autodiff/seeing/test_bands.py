"""The picture of a Hessian-vector product: every step has its place in it, however many there are."""

import json
import re

import numpy as np
import pytest

import autodiff as ad
import nn
from tests import chromium

in_browser = pytest.mark.skipif(chromium.PROGRAM is None, reason="no chromium or chrome is installed")


def chain(n):
    y = ad.Tensor(0.5, requires_grad=True, name="x")
    for _ in range(n):
        y = np.sin(y) * 1.01
    return ad.explain(y, hvp=[1.0], variables=False)


def recurrent(n=24):
    w, h = ad.Tensor(0.3 * np.eye(3), requires_grad=True, name="w"), ad.Tensor(np.ones((1, 3)))
    for _ in range(n):
        h = np.tanh(h @ w + np.ones(3))
    return ad.explain((h**2).sum(), hvp=[np.ones((3, 3))], variables=False)


def deep(n=20):
    nn.manual_seed(0)
    model = nn.Sequential(*[layer for _ in range(n) for layer in (nn.Linear(4, 4, dtype=float), nn.Tanh())])
    loss = (model(np.ones((2, 4))) ** 2).sum()
    return ad.explain(loss, names=model, hvp=[np.ones(p.shape) for p in model.parameters()], variables=False)


def unlike(n=70):
    """A computation that never repeats itself for long."""
    rng = np.random.default_rng(0)
    y = ad.Tensor(0.5, requires_grad=True, name="x")
    for k in rng.integers(0, 5, n):
        y = (np.sin, np.cos, np.tanh, lambda y: y * 0.9, lambda y: y * y)[k](y)
    return ad.explain(y, hvp=[1.0], variables=False)


def read(page):
    """The nodes, with their texts, the edges, and the node and the phase of each step."""
    svg = page[page.index('class="graph"') : page.index("</svg></div>")]
    nodes = {
        name: re.findall(r"<text[^>]*>([^<]*)</text>", inside)
        for name, inside in re.findall(r'data-node="(\w+)"[^>]*>(.*?)</g>(?=<g class="|</g>$)', svg, re.DOTALL)
    }
    edges = re.findall(r'data-from="(\w+)" data-to="(\w+)"', svg)
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])["steps"]
    texts = {fact: [data[fact][0][i] for i in data[fact][1]] for fact in ("node", "other")}
    return nodes, edges, texts["node"], texts["other"]


@pytest.mark.parametrize("make, folded", [(lambda: chain(50), True), (recurrent, True), (deep, True), (unlike, False)])
def test_every_step_of_a_long_second_pass_has_a_node_that_is_drawn(make, folded):
    explanation = make()
    assert len(explanation.rows) > 850
    nodes, edges, places, others = read(explanation.to_html())
    assert set(places) <= nodes.keys() and set(others) - {""} <= nodes.keys()
    boxes = [name for name in nodes if name.startswith("gap2")]
    assert boxes and any("×" in nodes[box][0] for box in boxes) == folded
    for box in boxes:
        (n,) = re.findall(r"… ([\d,]+) steps not shown", nodes[box][-1])
        assert int(n.replace(",", "")) == places.count(box) > 8
    second = [name for name in nodes if name[0] in "dp" or name in boxes]
    assert 10 < len(second) <= 320 and sum(places.count(box) for box in boxes) > 100
    # From the seed of the pass every product H·u is reached, in the boxes too.
    slope = next(row.tensor for row in explanation.rows if row.phase == "second")
    reached, todo = set(), [f"d{slope._number}"]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += [end for start, end in edges if start == name]
    assert {f"d{x._number}" for x in explanation.wrt} <= reached and set(boxes) <= reached
    assert set(second) <= reached


def test_both_ends_of_what_repeats_are_drawn_with_their_numbers():
    explanation = chain(50)
    nodes, _, places, _ = read(explanation.to_html())
    rows = [(row, node) for row, node in zip(explanation.rows, places) if row.phase == "second"]
    for row, node in rows[:12] + rows[-3:]:
        if node[0] == "d":
            assert row.value in nodes[node] or " via " in row.quantity, row.quantity
    assert [node[0] for _, node in rows[:8]] == list("dpdpdpdp")
    titles = sorted(texts[0] for name, texts in nodes.items() if name.startswith("gap2"))
    assert titles == ["∂ (sin · ×) ×46", "∂ (× · cos · ×) ×48"]


def test_a_short_second_pass_is_drawn_whole():
    explanation = chain(20)
    nodes, _, places, _ = read(explanation.to_html())
    assert not any(name.startswith("gap2") for name in nodes)
    for row, node in zip(explanation.rows, places):
        if row.phase == "second":
            assert node[1:] == str(row.tensor._number)


@pytest.mark.parametrize(
    "f", [lambda x: (x * 3.0).sum(), lambda x: x[0], lambda x: (x * np.ones(2) * np.ones(2)).sum()]
)
def test_of_a_linear_function_too_each_step_has_a_node(f):
    x = ad.Tensor([1.0, 2.0], requires_grad=True, name="x")
    explanation = ad.explain(f(x), hvp=[np.ones(2)], variables=False)
    nodes, edges, places, _ = read(explanation.to_html())
    assert set(places) <= nodes.keys()
    (slope,) = (
        place for row, place in zip(explanation.rows, places) if row.phase == "slope" and row.tensor is not None
    )
    assert (f"u{x._number}", slope) in edges and explanation.rows[-2].value in nodes[slope]


@pytest.fixture(scope="module")
def browser():
    window = chromium.Browser()
    yield window
    window.close()


@in_browser
def test_a_step_in_a_box_lights_it(browser, tmp_path):
    explanation = chain(50)
    page = explanation.to_html(tmp_path / "page.html")
    _, _, places, _ = read(page)
    browser.window(1200, 900)
    browser.open(tmp_path / "page.html")
    lit = browser.run("""(() => { const found = [], rows = document.querySelectorAll("#rows tr");
      for (let i = 0; i < rows.length; i += 31) {
        rows[i].click();
        found.push([...document.querySelectorAll(".node.lit:not(.near)")].map((n) => n.dataset.node));
      }
      return found; })()""")
    assert lit == [[node] for node in places[::31]]
    assert any(node.startswith("gap2") for (node,) in lit)

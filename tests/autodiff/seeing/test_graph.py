"""Walking and drawing the graph: complete, faithful to hostile names, and safe."""

import gc
import html
import json
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import autodiff as ad
import nn
from autodiff.seeing import layout, looks, selection
from autodiff.seeing.graph import graph as graph_with_variables
from autodiff.seeing.graph import walk
from autodiff.seeing.printable import printable

graph = partial(graph_with_variables, variables=False)  # tests/autodiff/seeing/test_names.py has those

HOSTILE = ["", " ", "\n", "a\nb", '"', '\\"', "\\", "a\\nb", "\\N", "<b>", "<>", "&", "&amp;", "&lt;", "{|}", "]; x -> y", "\0",
           "\x08", "é漢∂", "\ud800", "\u202e", "x" * 500, "%s{0}", "--></svg><script>alert(1)</script>", "'"]  # fmt: skip


def texts(picture):
    """What the SVG shows, by node: the text lines of each node, with its tooltip."""
    svg = ElementTree.fromstring(picture.pipe("svg"))
    found = []
    for group in svg.iter("{http://www.w3.org/2000/svg}g"):
        if (group.get("class") or "").startswith("node"):
            lines = [t.text for t in group.iter("{http://www.w3.org/2000/svg}text")]
            tips = [a.get("{http://www.w3.org/1999/xlink}title") for a in group.iter("{http://www.w3.org/2000/svg}a")]
            found.append((lines, tips[0] if tips else None))
    return found


def net():
    x = ad.Tensor([1.0, 2.0], requires_grad=True, name="x")
    w = ad.Tensor([[0.5, -1.0], [2.0, 3.0]], requires_grad=True)
    return x, w, (ad.tanh(w @ x) * 2.0).sum()


# walk


def test_walk_visits_every_tensor_once_after_all_that_use_it_with_operations_and_inputs():
    x, w, y = net()
    steps = list(walk(y))
    assert [operation for _, operation, _ in steps] == ["sum", "multiply", None, "tanh", "matmul", None, None]
    place = {id(t): i for i, (t, _, _) in enumerate(steps)}
    assert len(place) == len(steps)
    for i, (_, _, inputs) in enumerate(steps):
        assert all(place[id(t)] > i for t in inputs)
    assert {id(x), id(w)} <= set(place)
    assert steps[2][0].item() == 2.0


def test_walking_by_hand_with_the_rules_gives_the_gradients():
    x, w, y = net()
    cotangents = {id(y): np.ones(())}
    for tensor, operation, inputs in walk(y):
        g = cotangents.get(id(tensor))
        if operation is not None:
            record = tensor._primitive
            for t, rule in zip(inputs, record.vjps):
                d = rule(g, tensor.data, *(i.data for i in inputs), **(tensor._params or {}))
                cotangents[id(t)] = cotangents.get(id(t), 0) + d
    y.backward()
    np.testing.assert_allclose(cotangents[id(x)], x.grad.data)
    np.testing.assert_allclose(cotangents[id(w)], w.grad.data)


def test_walk_of_a_leaf_gives_the_leaf_alone():
    x = ad.Tensor(1.0)
    assert [(t is x, o, i) for t, o, i in walk(x)] == [(True, None, ())]


def test_walking_and_drawing_still_work_after_the_parameters_were_updated():
    x, _, y = net()
    x.data -= 1.0
    assert [o for _, o, _ in walk(y)].count(None) == 3
    assert "tanh" in graph(y).source


# graph


def test_every_tensor_and_operation_is_drawn_with_its_values_and_gradients():
    x, w, y = net()
    y.backward()
    shown = [lines for lines, _ in texts(graph(y, names={"w": w}))]
    assert ["x", "(2,)", "[1, 2]", f"grad [{x.grad.data[0]:.4g}, {x.grad.data[1]:.4g}]"] in shown
    assert any(lines[:4] == ["w", "(2, 2)", "[0.5, -1]", "[2, 3]"] for lines in shown)
    assert ["L", f"{y.item():.4g}"] in shown
    assert ["2"] in shown
    for operation in ["@", "tanh", "×", "Σ"]:
        assert [operation] in shown
    assert len(shown) == 4 + 3 + 4  # operations, leaves, results


def test_tooltips_carry_formula_and_rule():
    _, _, y = net()
    tips = {lines[0]: tip for lines, tip in texts(graph(y))}
    assert "tanh" in tips["tanh"] and "1 / cosh² v2" in tips["tanh"]
    assert "leaf that requires a gradient" in tips["x"]


def test_show_chooses_what_is_written():
    x, _, y = net()
    y.backward()
    for show, expected in [
        ((), ["x"]),
        (("value",), ["x", "[1, 2]"]),
        ("shape", ["x", "(2,)"]),
        (("grad", "value"), ["x", "[1, 2]", f"grad [{x.grad.data[0]:.4g}, {x.grad.data[1]:.4g}]"]),
    ]:
        assert expected in [lines for lines, _ in texts(graph(y, show=show))]


def test_kinds_differ_by_shape_and_by_colour():
    p, c = nn.Parameter([1.0]), ad.Tensor([2.0], name="c")
    x = ad.Tensor([3.0], requires_grad=True, name="x")
    source = graph(p * c * x, names={"p": p}).source
    looks = {}
    for line in source.splitlines():
        for kind in ["variable", "parameter", "constant", "result", "output", "operation"]:
            if f"class={kind} " in line:
                attributes = dict(part.split("=", 1) for part in line.split() if part.count("=") == 1)
                looks[kind] = (
                    attributes["shape"],
                    attributes.get("peripheries"),
                    "rounded" in line,
                    attributes["fillcolor"],
                )
    assert len(looks) == 6
    assert len({look[:3] for look in looks.values()}) == 6
    assert len({look[3] for look in looks.values()}) == 6


def test_large_and_odd_values_are_summarised():
    x = ad.Tensor(np.arange(100.0), requires_grad=True)
    for made, line in [
        (x * 1.0, "0 … 99, mean 49.5"),
        (x[:0] * 1.0, "(no elements)"),
        (ad.Tensor([np.nan, np.inf], requires_grad=True) * 1.0, "[nan, inf]"),
        (x * np.nan, "nan … nan, mean nan"),
    ]:
        assert line in [text for lines, _ in texts(graph(made)) for text in lines]


def test_a_tensor_without_a_graph_is_one_node():
    assert [lines for lines, _ in texts(graph(ad.Tensor(3.0)))] == [["3"]]
    assert [lines for lines, _ in texts(graph(ad.Tensor(3.0, requires_grad=True, name="x")))] == [["x", "3"]]


def test_drawing_changes_no_gradient_and_keeps_nothing_alive():
    x, w, y = net()
    graph(y, names={"w": w})
    assert x.grad is None and w.grad is None and y.grad is None
    y.backward()
    before = x.grad
    graph(y)
    assert x.grad is before
    import weakref

    gc.disable()
    try:
        picture, alive = graph(y), weakref.ref(y)
        del y
        assert alive() is None and picture.source
    finally:
        gc.enable()


def test_a_module_s_operations_are_drawn_in_its_frame():
    model = nn.Sequential(nn.Linear(2, 3, rng=np.random.default_rng(0)), nn.Tanh(), nn.Linear(3, 1))
    y = model(ad.Tensor([1.0, 2.0], name="x")).sum()
    source = graph(y, names={"net": model}, compact=False).source
    for label in ["net · Sequential", "net.0 · Linear", "net.1 · Tanh", "net.2 · Linear", "net.0.weight"]:
        assert f'"{label}"' in source or f"<B>{label}</B>" in source
    svg = graph(y, names=model, compact=False).pipe("svg").decode()
    assert svg.count('class="cluster') == 4
    assert "subgraph" not in graph(y, names=model, group=False).source
    model(ad.Tensor([5.0, 5.0]))  # a later call must not disturb what was recorded
    assert graph(y, names={"net": model}, compact=False).source == source


def test_the_same_module_called_twice_gets_two_frames_and_its_parameters_stand_outside():
    layer = nn.Linear(2, 2)
    y = layer(layer(ad.Tensor([1.0, 2.0]))).sum()
    source = graph(y, names=layer).source
    assert source.count("subgraph") == 2
    depth, outside = 0, False
    for line in source.splitlines():
        depth += line.count("subgraph") - (line.strip() == "}")
        outside |= "<B>weight</B>" in line and depth == 0
    assert outside


def test_above_max_nodes_modules_become_nodes_and_then_the_middle_is_left_out():
    layers = [layer for _ in range(6) for layer in (nn.Linear(2, 2), nn.Tanh())]
    model = nn.Sequential(*layers)
    y = model(ad.Tensor([1.0, 2.0], name="x")).sum()
    everything = texts(graph(y, names=model, compact=False))
    assert len(everything) == 13 + 13 + 12 + 1
    folded = [lines for lines, _ in texts(graph(y, names=model, compact=False, max_nodes=30))]
    assert ["Linear", "0"] in folded and len(folded) == 13 * 2 + 1
    few = [lines for lines, _ in texts(graph(y, names=model, compact=False, max_nodes=10))]
    assert len(few) <= 10
    gap = next(lines[0] for lines in few if "not shown" in lines[0])
    assert int(gap.split()[1]) == len(folded) - (len(few) - 1)
    assert any(lines[:2] == ["x", "(2,)"] for lines in few) and any(lines[0] == "L" for lines in few)


def test_what_is_left_out_of_a_module_is_said_within_its_frame():
    widths = [w for n in range(2, 32) for w in (n, n)]  # no two layers are the same, so that none are folded
    model = nn.Sequential(*[layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.Tanh())])
    y = (model(ad.Tensor([[1.0, 2.0]])) ** 2).mean()
    for order, gap, expected, max_nodes in [(1, "gap", 1, 60), (2, "gap0", 2, 60)]:
        depth, found = 0, None
        for line in graph(y, names=model, order=order, max_nodes=max_nodes, compact=False).source.splitlines():
            depth += line.count("subgraph") - (line.strip() == "}")
            if line.startswith(f"\t{gap} [label="):
                found = depth
        assert found == expected


def test_a_name_given_singly_wins_over_that_of_a_module_s_parameter():
    layer = nn.Linear(2, 2)
    y = layer(ad.Tensor([1.0, 2.0]))
    for names in ({"W": layer.weight, "l": layer}, {"l": layer, "W": layer.weight}):
        titles = [lines[0] for _, lines, _ in nodes(graph(y, names=names)).values()]
        assert "W" in titles and "l.bias" in titles and "l.weight" not in titles


@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.booleans()), min_size=1, max_size=40),
    st.integers(1, 60),
)
@settings(deadline=None, max_examples=60)
def test_what_is_drawn_and_what_is_said_to_be_left_out_add_up(steps, max_nodes):
    tensors = [ad.Tensor(1.0, requires_grad=True), ad.Tensor(2.0)]
    for a, b, number in steps:
        a, b = tensors[a % len(tensors)], tensors[b % len(tensors)]
        tensors.append(a * 0.5 if number else a + b)
    y = tensors[-1]
    total = sum(1 + (operation is not None) for _, operation, _ in walk(y))
    source = graph(y, max_nodes=max_nodes, group=False, compact=False).source
    nodes = [line for line in source.splitlines() if " [label=" in line]
    left_out = [line for line in nodes if "not shown" in line]
    counts = [int(line.split("… ")[1].split()[0].replace(",", "")) for line in left_out]
    assert len(nodes) - len(left_out) + sum(counts) == total
    assert len(nodes) <= max(max_nodes, 6)
    names = {line.split()[0] for line in nodes}
    for line in source.splitlines():
        if "->" in line and "label" not in line:
            assert set(line.split()) - {"->"} <= names


@pytest.mark.slow
def test_a_million_nodes_return_within_five_seconds_and_the_picture_is_small():
    x = ad.Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(1_000_000):
        y = y + x
    began = time.process_time()
    picture = graph(y)
    assert time.process_time() - began < 5
    assert sorted(lines[0] for _, lines, _ in nodes(picture).values()) == ["+ ×1,000,000", "L", "input"]
    assert any("1,000,000 operations" in lines for _, lines, _ in nodes(picture).values())
    assert picture.pipe("svg")
    began = sum(os.times()[:4])
    page = picture.to_html()
    assert sum(os.times()[:4]) - began < 5 and len(page) < 100_000
    assert "999,936 nodes not shown" in page
    picture = graph(y, group=False, compact=False)
    shown = sum(" [label=" in line for line in picture.source.splitlines()) - 1
    assert f"{2_000_001 - shown:,} nodes not shown" in picture.source
    picture = graph(y, order=2)
    assert "the backward passes of 1,000,000 operations are not shown" in picture.source


def test_an_operation_of_very_many_inputs_stays_small():
    y = ad.concatenate([ad.Tensor([1.0], requires_grad=True) for _ in range(1000)]).sum()
    assert len(texts(graph(y, max_nodes=50))) <= 50


# Order 2


def neuron():
    w, b = ad.Tensor(0.5, requires_grad=True, name="w"), ad.Tensor(0.1, requires_grad=True, name="b")
    return w, b, (ad.tanh(w * 2.0 + b) - 1.0) ** 2


def nodes(picture):
    """The nodes of a picture's source: by id, their kind, label lines and attributes."""
    found = {}
    for line in picture.source.splitlines():
        node = re.match(r"\t(\w+) \[label=<(.*?)> class=(\w+) ", line)
        if node:
            attributes = dict(re.findall(r'(\w+)="?([^"\]]*?)"?(?= \w+=|\])', line[node.end() :]))
            lines = [html.unescape(re.sub("<[^>]*>", "", text)) for text in node[2].split("<BR/>")]
            found[node[1]] = node[3], lines, attributes
    return found


def shown_value(picture, title):
    (found,) = [lines for _, lines, _ in nodes(picture).values() if title in lines[0].split(" = ") and len(lines) > 1]
    return float(found[-1])


def test_order_2_shows_the_gradient_and_the_hessian_vector_product_that_torch_computes():
    torch = pytest.importorskip("torch")
    w, b, f = neuron()
    picture = graph(f, order=2)
    tw, tb = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.5, 0.1))
    tf = (torch.tanh(tw * 2.0 + tb) - 1.0) ** 2
    gw, gb = torch.autograd.grad(tf, [tw, tb], create_graph=True)
    hw, hb = torch.autograd.grad(gw + gb, [tw, tb])
    for title, value in [("∂L/∂w", gw), ("∂L/∂b", gb), ("s", gw + gb), ("∂s/∂w", hw), ("∂s/∂b", hb)]:
        assert shown_value(picture, title) == pytest.approx(value.item(), rel=1e-3)


def test_the_scalar_of_the_second_pass_has_a_name_that_no_tensor_of_the_user_has_alike_in_picture_and_table():
    s, u = (ad.Tensor(v, requires_grad=True, name=name) for v, name in ((3.0, "s"), (2.0, "u")))
    f = s * s * u  # Hu for u = 1 is (2u + 2s, 2s)
    picture = graph(f, order=2)
    assert shown_value(picture, "∂s′/∂s") == 10 and shown_value(picture, "∂s′/∂u") == 6
    assert {"u", "u′ for u", "u′ for s", "s", "s′", "∂s′/∂s′"} <= {lines[0] for _, lines, _ in nodes(picture).values()}
    assert "from s′ = ∇Lᵀu′, u′ = 1, to ∇s′ = Hu′" in picture.source
    table = ad.explain(f, hvp=[1.0, 1.0], variables=False)
    found = {row.quantity: row.number for row in table.rows}
    assert found["s′"] == 21 and found["∂s′/∂s"] == 10 and found["∂s′/∂s′"] == 1 and found["s"] == 3
    assert "first backward pass, from L to s′ = ∇Lᵀu" in table.to_html()


def test_an_array_of_an_earlier_pass_is_referred_to_by_a_name_that_its_own_node_shows_and_no_edge_leads_across():
    x = ad.Tensor(np.arange(12.0).reshape(4, 3), requires_grad=True, name="x")
    picture = graph(nn.functional.cross_entropy(x, [0, 1, 2, 0]), order=2)
    found = nodes(picture)
    asked = {lines[0] for kind, lines, _ in found.values() if kind == "reference" and re.fullmatch(r"r\d+", lines[0])}
    shown = {line for kind, lines, _ in found.values() if kind != "reference" for line in lines}
    assert asked and asked <= shown
    band, of = None, {}
    for line in picture.source.splitlines():
        if frame := re.search(r" id=(pass\d)", line):
            band = frame[1]
        elif node := re.match(r"\t(\w+) \[", line):
            of[node[1]] = band
    crossing = [
        line
        for line in picture.source.splitlines()
        if (edge := re.match(r"\t(\w+) -> (\w+)", line)) and of[edge[1]] != of[edge[2]]
    ]
    assert len(crossing) == 2 and all("style=bold" in line for line in crossing)  # the turns


def test_the_gradients_of_a_net_in_a_picture_of_order_2_are_those_of_finite_differences():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(2, 5, 2))
    w = ad.Tensor(rng.normal(size=(2, 2)), requires_grad=True, name="w")

    def gradient(data):
        v = ad.Tensor(data, requires_grad=True)
        return ad.gradients(((ad.tanh(x @ v) - t) ** 2).mean(), v)[0].data

    picture = graph(((ad.tanh(x @ w) - t) ** 2).mean(), order=2, show="value")
    u, step = np.ones((2, 2)), 1e-5
    hu = (gradient(w.data + step * u) - gradient(w.data - step * u)) / (2 * step)
    for title, expected in [("∂L/∂w", gradient(w.data)), ("∂s/∂w", hu)]:
        (lines,) = [lines for _, lines, _ in nodes(picture).values() if lines[0] == title and len(lines) > 1]
        np.testing.assert_allclose([json.loads(line) for line in lines[1:]], expected, rtol=2e-3)


def test_the_three_passes_differ_by_shape_frame_and_tint():
    _, _, f = neuron()
    picture = graph(f, order=2)
    looks = {(a["shape"], a["fillcolor"]) for kind, _, a in nodes(picture).values() if kind == "operation"}
    assert {shape for shape, _ in looks} == {"ellipse", "hexagon", "octagon"} and len(looks) == 3
    frames = [line for line in picture.source.splitlines() if " id=pass" in line]
    assert [re.search(r'label="?(forward|first|second)', line)[1] for line in frames] == ["second", "first", "forward"]
    assert len({re.search(r"style=(\w+)", line)[1] for line in frames}) == 3
    svg = picture.pipe("svg").decode()
    heights = [float(re.search(rf'id="g\w+-pass{i}".*?points="[-\d.]+,([-\d.]+)', svg, re.DOTALL)[1]) for i in range(3)]
    assert heights == sorted(heights)  # the forward pass on top


def numbers(text):
    return np.array([float(v) for v in re.findall(r"-?[\d.]+", text)]).reshape(-1, 2)


@pytest.mark.parametrize("direction", ["LR", "TB", "RL", "BT"])
def test_the_heavy_arrows_from_pass_to_pass_cross_no_title(direction):
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    for f, names in [(neuron()[2], None), ((model(ad.Tensor([[1.0, 2.0]])) ** 2).sum(), model)]:
        svg = graph(f, names=names, order=2, direction=direction).pipe("svg").decode()
        turns = [numbers(re.sub("[MC]", " ", path)) for path in re.findall(
            r'<path[^>]*stroke="#222222" stroke-width="2"[^>]* d="([^"]*)"', svg)]  # fmt: skip
        titles = re.findall(r'<text [^>]*x="([-\d.]+)" y="([-\d.]+)"[^>]*font-size="14.00"[^>]*>([^<]*)<', svg)
        assert len(turns) == 2 and len(titles) == 3
        for points in turns:
            curve = bezier(points)
            for x, y, text in titles:
                beside = np.abs(curve[:, 0] - float(x)) > 3 * len(text)
                assert (beside | (curve[:, 1] < float(y) - 12) | (curve[:, 1] > float(y) + 3)).all()


def bezier(points):
    """Points on the Bézier curves through every third of these."""
    t = np.linspace(0, 1, 30)[:, None]
    parts = [
        a * (1 - t) ** 3 + 3 * b * t * (1 - t) ** 2 + 3 * c * t**2 * (1 - t) + d * t**3
        for a, b, c, d in (points[i : i + 4] for i in range(0, len(points) - 3, 3))
    ]
    return np.concatenate(parts)


@pytest.mark.parametrize("direction", ["TB", "BT"])
def test_edges_lead_past_the_titles_of_the_frames_that_they_enter_whatever_these_are(direction):
    inner = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    model = nn.Sequential(inner, nn.Linear(2, 1), nn.Tanh())
    y = (model(ad.Tensor(np.ones((1, 2), "f"), name="x")) ** 2).sum()
    for name in ("net", "a <b> & \\N"):
        svg = ElementTree.fromstring(graph(y, names={name: model}, compact=True, direction=direction).pipe("svg"))
        groups = [g for g in svg.iter("{http://www.w3.org/2000/svg}g") if g.get("class") in ("cluster", "edge")]
        titles = [(float(text.get("x")), float(text.get("y")), text.text) for g in groups if g.get("class") == "cluster"
                  for text in g.iter("{http://www.w3.org/2000/svg}text")]  # fmt: skip
        assert {text for *_, text in titles} == {f"{name} · Sequential", f"{name}.0 · Sequential"}
        edges = [numbers(re.sub("[MC]", " ", path.get("d"))) for g in groups if g.get("class") == "edge"
                 for path in g.iter("{http://www.w3.org/2000/svg}path")]  # fmt: skip
        for curve in map(bezier, edges):
            for left, y0, text in titles:
                beside = (curve[:, 0] < left) | (curve[:, 0] > left + 5.5 * len(text))
                assert (beside | (curve[:, 1] < y0 - 9) | (curve[:, 1] > y0 + 2)).all()


def test_text_is_legible_on_every_fill_and_the_ground_is_white():
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        return sum(k * (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
                   for k, c in zip((0.2126, 0.7152, 0.0722), parts))  # fmt: skip

    fills = [look["fillcolor"] for look in looks.STYLES.values() if "fillcolor" in look]
    fills += [look["fillcolor"] for band in looks._IN_BAND for look in band.values() if "fillcolor" in look]
    fills += [band["bgcolor"] for band in looks.BANDS]
    for fill in fills:  # WCAG's formula for contrast; 7 is its strictest level, with the darkest text used, #444444
        assert (luminance(fill) + 0.05) / (luminance("#444444") + 0.05) > 6
        assert (luminance(fill) + 0.05) / (luminance("#111111") + 0.05) > 7
    _, _, f = neuron()
    assert all("bgcolor=white" in graph(f, order=order).source for order in (1, 2))


def test_order_2_changes_no_gradient_runs_in_any_mode_and_keeps_nothing_alive():
    w, b, f = neuron()
    w.retain_grad(), f.retain_grad()
    with ad.no_grad():
        graph(f, order=2)
    assert w.grad is None and b.grad is None and f.grad is None
    f.backward()
    kept = w.grad, b.grad, f.grad
    values = [g.item() for g in kept]
    broken = f * np.nan
    with ad.detect_anomaly():  # which is for finding a NaN; the picture shows where it went
        graph(broken, order=2)
    del broken
    graph(f, order=2)
    assert (w.grad, b.grad, f.grad) == kept and [g.item() for g in kept] == values
    import weakref

    gc.disable()
    try:
        picture, alive = graph(f, order=2), weakref.ref(f)
        del f
        assert alive() is None and picture.source
    finally:
        gc.enable()


def test_names_that_the_picture_gives_are_not_taken_from_the_user_s():
    v1, r1 = ad.Tensor(0.5, requires_grad=True, name="v1"), ad.Tensor(0.1, requires_grad=True, name="r1")
    picture = nodes(graph((ad.tanh(v1 * 2.0 + r1) - 1.0) ** 2, order=2))
    titles = [title for kind, lines, _ in picture.values() for title in lines if kind != "reference"]
    written = Counter(title.split(" = ")[0] for title in titles if re.match(r"[vr]\d+( =|$)", title))
    assert {"v1", "v2", "r1"} <= set(written) and set(written.values()) == {1}


def test_every_cotangent_of_a_named_result_is_shown_with_its_name():
    w = ad.Tensor(0.5, requires_grad=True, name="w")
    z = w * 3.0
    z.name = "z"
    picture = graph(ad.exp(z), order=2)
    titles = {name for _, lines, _ in nodes(picture).values() for name in lines[0].split(" = ")}
    assert {"∂L/∂L", "∂L/∂z", "∂L/∂w", "s", "u", "∂s/∂s", "∂s/∂(∂L/∂w)", "∂s/∂z", "∂s/∂w"} <= titles
    assert shown_value(picture, "∂L/∂z") == pytest.approx(np.exp(1.5), rel=1e-3)
    assert shown_value(picture, "∂s/∂w") == pytest.approx(9 * np.exp(1.5), rel=1e-3)


@pytest.mark.parametrize("output", [
    lambda x: x * 2.0, lambda x: x + x, lambda x: x * 1.0 + 0.0, lambda x: x[:0] ** 2, lambda x: (x**2)[None],
    lambda x: x**2 * np.inf, lambda x: x * np.nan, lambda x: x.reshape(2, 1).T, lambda x: ad.concatenate([x, x]),
    lambda x: ad.where(x > 1.5, x, x**2), lambda x: ad.checkpoint(lambda t: ad.tanh(t) ** 2, x),
    lambda x: x.astype(np.float32) ** 2, lambda x: (x * ad.Tensor(np.ones((3, 2)), requires_grad=True)).sum(),
    lambda x: ad.Tensor(3.0, requires_grad=True) * 2.0, lambda x: (x.reshape(1, 1, 2, 1, 1) * np.ones((2, 1, 3))).mean(),
    lambda x: x[np.array([1, 0, 1])] * np.array([True, False, True]), lambda x: x[:0] @ np.ones((0, 3)),
    lambda x: nn.Sequential(nn.Linear(2, 2, dtype=float), nn.Tanh())(x), lambda x: x * 1e300 * 1e8,
])  # fmt: skip
def test_any_graph_can_be_drawn_with_its_backward_passes(output):
    with np.errstate(all="ignore"):
        y = output(ad.Tensor([1.0, 2.0], requires_grad=True, name="x"))
    picture = graph(y, order=2)
    assert {"gradient", "output"} <= {kind for kind, _, _ in nodes(picture).values()}
    for direction, max_nodes, show in [("LR", 300, ()), ("TB", 8, "value"), ("RL", 2, "grad"), ("BT", 1, ["shape"])]:
        for order in (1, 2):
            assert graph(y, order=order, direction=direction, max_nodes=max_nodes, show=show).pipe("svg")


def test_what_a_checkpoint_recomputes_belongs_to_its_backward_pass():
    x = ad.Tensor(0.5, requires_grad=True, name="x")
    picture = graph(ad.checkpoint(lambda t: ad.tanh(t) ** 2, x) * 3.0, order=2)
    shapes = Counter(a["shape"] for kind, _, a in nodes(picture).values() if kind == "operation")
    assert shapes["ellipse"] == 2 and "tanh" in {
        lines[0] for _, lines, a in nodes(picture).values() if a["shape"] == "hexagon"
    }
    y = np.tanh(0.5)
    assert shown_value(picture, "∂L/∂x") == pytest.approx(6 * y * (1 - y**2), rel=1e-3)
    assert shown_value(picture, "∂s/∂x") == pytest.approx(6 * (1 - y**2) * (1 - 3 * y**2), rel=1e-3)


def test_float32_parameters_below_a_float64_loss_and_hooks_are_drawn_with_their_backward_passes():
    layer = nn.Linear(2, 2)
    scale = ad.Tensor(3.0, requires_grad=True, name="scale")
    doubled = scale * 2.0
    layer.weight.register_hook(lambda g: g * doubled)
    x = ad.Tensor([[1.0, 2.0]], requires_grad=True, name="x")
    f = (layer(x * 1.0) ** 2).sum()
    picture = graph(f, names=layer, order=2, show="value")
    assert picture.pipe("svg")
    expected = {"∂L/∂weight": ad.gradients(f, layer.weight)[0], "∂L/∂x": ad.gradients(f, x)[0]}
    for title, g in expected.items():
        shown = [lines for kind, lines, _ in nodes(picture).values() if kind == "gradient" and title in lines[0]]
        (lines,) = [lines for lines in shown if "∂s" not in lines[0]]
        np.testing.assert_allclose([json.loads(line) for line in lines[1:]], g.data, rtol=2e-3)


def test_a_gradient_that_vanishes_is_shown_as_zero():
    picture = graph(ad.Tensor(3.0, requires_grad=True, name="x") * 2.0, order=2)
    assert shown_value(picture, "∂L/∂x") == 2.0 and shown_value(picture, "∂s/∂x") == 0.0


def test_order_2_of_a_tensor_without_a_graph_is_one_node():
    assert len(nodes(graph(ad.Tensor(3.0), order=2))) == 1
    assert len(nodes(graph(ad.Tensor(3.0, requires_grad=True), order=2))) == 1


def test_what_a_rule_makes_stands_in_the_frame_of_the_module_that_it_differentiates(monkeypatch):
    monkeypatch.setattr(selection, "READABLE", 100)
    layers = [nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1)]
    model = nn.Sequential(*layers)
    f = (model(ad.Tensor(np.ones((3, 2), np.float32))) ** 2).mean()
    source = graph(f, names={"net": model}, order=2, compact=False).source
    for path in ("net · Sequential", "net.0 · Linear", "net.1 · Tanh", "net.4 · Linear"):
        for label, n in [(path, 1), (f"∂ {path}", 2), (f"∂(∂ {path})", 1)]:
            assert source.count(f'label="{label}"') == n, label
    assert "net.0 · Linear" not in graph(f, names={"net": model}, order=2, group=False).source
    few = nodes(graph(f, names=model, order=2, max_nodes=150))
    assert sum(kind == "module" for kind, _, _ in few.values()) == 4 * 5 and not any("not shown" in n for n in few)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 2)), min_size=1, max_size=25),
       st.integers(12, 150))  # fmt: skip
@example([(0, 0, 2)], 12)
@example([(0, 0, 0)] * 6 + [(1, 0, 0), (2, 44, 1), (49, 0, 0)], 12)
@settings(deadline=None, max_examples=40)
def test_with_backward_passes_too_what_is_drawn_and_what_is_left_out_add_up(steps, max_nodes):
    tensors = [ad.Tensor(1.0, requires_grad=True), ad.Tensor(2.0)]
    for a, b, kind in steps:
        a, b = tensors[a % len(tensors)], tensors[b % len(tensors)]
        tensors.append(a * 0.5 if kind == 0 else a + b if kind == 1 else a * b)

    def counted(limit):
        picture = graph(tensors[-1], order=2, max_nodes=limit)
        found = nodes(picture)
        lost = [lines[0] for kind, lines, _ in found.values() if kind == "gap"]
        own = sum(kind not in ("gap", "reference") for kind, _, _ in found.values())
        for line in picture.source.splitlines():
            if "->" in line:
                assert set(line.split("[")[0].split()) - {"->"} <= found.keys()
        return len(found), own + sum(int(text.split()[1].replace(",", "")) for text in lost)

    drawn, total = counted(max_nodes)
    assert total == counted(10**6)[1]
    assert drawn <= max_nodes + 8


def test_backward_passes_that_the_graph_holds_are_recognised():
    w, b, f = neuron()
    assert "hexagon" not in graph(f, order=1).source
    g = ad.gradients(f, [w, b], create_graph=True)
    s = g[0] * 2.0 + g[1] * 3.0
    s.name = "s"
    picture = graph(s, order=2)
    shapes = Counter(a["shape"] for kind, _, a in nodes(picture).values() if kind == "operation")
    assert set(shapes) == {"ellipse", "hexagon", "octagon"}
    assert shapes["ellipse"] == 4  # × + tanh −; the power itself is needed by no derivative
    h = ad.gradients(s, [w, b], create_graph=True)
    assert shown_value(picture, "∂s/∂w") == pytest.approx(h[0].item(), rel=1e-3)
    shapes = Counter(a["shape"] for kind, _, a in nodes(graph(h[0], order=2)).values() if kind == "operation")
    assert set(shapes) == {"ellipse", "hexagon", "octagon"} and shapes["ellipse"] == 4
    assert ["s", "output"] == [next(lines[0] for kind, lines, _ in nodes(graph(y, order=2)).values() if kind == "output")
                               for y in (s, h[0])]  # fmt: skip
    two = ad.gradients(f, w, create_graph=True)[0] + ad.gradients(ad.exp(w), w, create_graph=True)[0]
    bands = {a["id"] for kind, _, a in nodes(graph(two, order=2)).values() if a["shape"] == "hexagon"}
    assert f"op{two._number}" in bands  # a sum of two gradients is of the first order


# Identity, tooltips


def test_nodes_carry_the_numbers_of_their_tensors_as_ids():
    x, w, y = net()
    for order in (1, 2):
        svg = graph(y, order=order).pipe("svg").decode()
        for tensor, operation, _ in walk(y):
            if tensor._primitive is not None or tensor is x or tensor is w:
                assert f'-t{tensor._number}"' in svg
            if operation is not None:
                assert f'-op{tensor._number}"' in svg
        number = next(t for t, operation, _ in walk(y) if operation == "multiply")._number
        assert f'-t{number}i1"' in svg and f"<title>t{number}i1&#45;&gt;op{number}</title>" in svg


def test_tooltips_carry_all_digits_and_the_recorded_line():
    x = ad.Tensor(np.linspace(0, 1, 300), requires_grad=True, name="x")
    with ad.record_lines():
        y = ad.sin(x)  # the line
    y.sum().backward()
    tips = {lines[0]: tip for lines, tip in texts(graph(y))}
    values, gradients = (
        [float(v) for v in re.search(r"\[([^]]*)\]", part)[1].split()] for part in tips["x"].split("gradient\n")
    )
    assert values == x.data.tolist() and gradients == x.grad.data.tolist()
    assert all("test_graph.py" in tips[node] and "y = ad.sin(x)" in tips[node] for node in ("sin", "L"))
    assert "cos x" in tips["sin"]
    large = texts(graph(ad.Tensor(np.arange(1e5), requires_grad=True) * 1.0))
    assert all(len(tip) < 3000 for _, tip in large)


# Names


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_shown_as_itself_and_breaks_nothing(name):
    x = ad.Tensor(1.0, requires_grad=True, name=name)
    y = x * 2.0
    y.name = name
    shown = texts(graph(y, names={name: x}))
    assert len(shown) == 4
    assert {printable(name), printable(f"{printable(name)} #2")} <= {lines[0] for lines, _ in shown}
    assert all(line.strip() for lines, _ in shown for line in lines)


@given(st.text(max_size=30), st.text(max_size=30))
@settings(deadline=None, max_examples=30)
def test_any_text_is_a_name(a, b):
    x = ad.Tensor(1.0, requires_grad=True, name=b)
    shown = texts(graph(x * 1.0, names={a: x}))
    assert [printable(a), "1"] in [lines for lines, _ in shown]


def test_options_are_shown_in_their_operation():
    class Silent:
        def __repr__(self):
            raise RuntimeError("cannot show itself")

    odd = ad.primitive(lambda x, option=None: x * 2, name="odd", vjps=[lambda g, y, x, option=None: g * 2])
    x = ad.Tensor(np.ones((2, 3)), requires_grad=True)
    for y, line in [
        (x.astype(np.float32), "dtype=float32"),
        (x.sum(axis=1), "axis=1"),
        (x[np.array([1, 0, 0])], "[[1, 0, 0]]"),
        (odd(x, option=Silent()), "option=Silent"),
    ]:
        (shown,) = [lines for kind, lines, _ in nodes(graph(y)).values() if kind == "operation"]
        assert any(line in text for text in shown[1:]), shown


def test_hostile_operations_and_modules_are_drawn():
    odd = ad.primitive(lambda x: x, name='a"\n<&{}', vjps=[lambda g, y, x: g], formula="<&\n")
    model = nn.Sequential({'<"&\n': nn.Tanh()})
    y = model(odd(ad.Tensor(1.0, requires_grad=True)))
    assert len(texts(graph(y, names={"\n": model}))) == 5


@pytest.mark.slow
def test_drawing_hostile_graphs_hundreds_of_times_never_takes_the_process_down():
    pictures = []
    for name in HOSTILE:
        x = ad.Tensor(1.0, requires_grad=True, name=name)
        y = (x * 2.0) ** 3
        y.name = name
        pictures += [graph(y, order=order, show=show) for order in (1, 2) for show in ((), ("value", "grad"))]
    with ThreadPoolExecutor(3) as pool:
        for data in pool.map(lambda p: p.pipe("svg"), pictures * 2):
            assert b"</svg>" in data
    assert len(pictures) * 2 == 200


# Files, notebooks, and machines without a layout program


def test_pictures_are_saved_and_rendered_without_a_dot_program(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    _, _, y = net()
    picture = graph(y)
    (tmp_path / "deep").mkdir()
    assert picture.render(outfile=tmp_path / "deep" / "a.svg") == str(tmp_path / "deep" / "a.svg")
    assert (tmp_path / "deep" / "a.svg").read_text().startswith("<?xml")
    assert picture.render(str(tmp_path / "b"), format="png", cleanup=True) == str(tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG") and not (tmp_path / "b").exists()
    assert (tmp_path / "deep" / "a.gv").read_text() == picture.source
    saved = picture.save(str(tmp_path / "c.gv"))
    assert open(saved).read() == picture.source
    assert picture.pipe("pdf").startswith(b"%PDF")
    assert "<svg" in picture._repr_svg_() and "<svg" in picture._repr_mimebundle_()["image/svg+xml"]
    with pytest.raises(OSError):
        picture.render(outfile="/proc/no/a.svg")
    with pytest.raises(ValueError, match="format"):
        picture.pipe("hologram")
    with pytest.raises(ValueError, match="engine"):
        picture.pipe("svg", engine="steam")


@pytest.mark.parametrize("content", [b"weights", b"", b"digraph { mine }", b"// digraph {\n"])
def test_render_neither_replaces_nor_deletes_a_file_that_it_did_not_make(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine, (_, _, y) = tmp_path / "loss", net()
    mine.write_bytes(content)
    assert graph(y).render("loss", cleanup=True) == "loss.svg"
    assert mine.read_bytes() == content and sorted(os.listdir()) == ["loss", "loss.svg"]
    os.remove("loss.svg")
    with pytest.raises(FileExistsError, match="render: loss exists, and is no DOT source of a graph; give another"):
        graph(y).render("loss")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.gv").write_bytes(content)
    with pytest.raises(FileExistsError, match=r"deep/a\.gv exists"):
        graph(y).render(outfile="deep/a.png")
    assert mine.read_bytes() == (tmp_path / "deep" / "a.gv").read_bytes() == content
    assert sorted(os.listdir()) == ["deep", "loss"] and os.listdir("deep") == ["a.gv"]


def test_render_replaces_the_source_that_it_wrote_before_and_cleanup_leaves_it(tmp_path):
    _, _, y = net()
    for _ in range(2):
        graph(y).render("loss", directory=tmp_path)
        source = (tmp_path / "loss").read_text()
        assert source == graph(y).source
    graph(y * 2).render("loss", directory=tmp_path, cleanup=True)
    assert (tmp_path / "loss").read_text() == source
    graph(y * 2).render("loss", directory=tmp_path)
    assert (tmp_path / "loss").read_text() != source
    assert sorted(os.listdir(tmp_path)) == ["loss", "loss.svg"]


def test_in_a_notebook_a_wide_picture_fits_the_page_and_its_tooltips_work():
    _, _, y = net()
    picture = graph(y)
    shown = picture._repr_mimebundle_()
    for svg in (shown["image/svg+xml"], shown["text/html"], picture._repr_svg_()):
        assert 'style="max-width:100%;height:auto' in svg
    page = ElementTree.fromstring(shown["text/html"].replace("xlink:", ""))  # well-formed, without a prolog
    (svg,) = page
    natural = float(svg.get("width")[:-2])
    assert f"min-width:{natural / 3:.0f}pt" in svg.get("style") and "overflow-x:auto" in page.get("style")
    assert any("1 / cosh² v" in (a.get("title") or "") for a in svg.iter())
    assert picture._repr_mimebundle_(include=["image/svg+xml"]).keys() == {"image/svg+xml"}
    assert picture._repr_mimebundle_(exclude=["text/html"]).keys() == {"image/svg+xml"}
    assert b"max-width" not in picture.pipe("svg")  # a file keeps its size


def test_the_repr_of_a_picture_says_how_large_it_is():
    model = nn.Linear(2, 2)
    assert repr(graph(ad.Tensor(1.0))) == "<Graph: 1 node, 0 edges>"
    y = model(ad.Tensor([1.0, 2.0], name="a [label=b] -> c"))
    assert repr(graph(y, names=model)) == "<Graph: 5 nodes, 4 edges>"


def test_a_crash_of_the_library_is_survived_and_told(monkeypatch):
    monkeypatch.setattr(layout, "_CHILD", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setenv("PATH", "")
    picture = graph(ad.Tensor(1.0))
    with pytest.raises(RuntimeError, match="crashed"):
        picture.pipe()
    assert picture.source in picture._repr_mimebundle_()["text/plain"]


def test_a_layout_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(layout, "_CHILD", "import time; time.sleep(60)")
    monkeypatch.setattr(layout, "TIMEOUT", 0.3)
    with pytest.raises(RuntimeError, match="max_nodes"):
        graph(ad.Tensor(1.0)).pipe()


def test_without_any_layout_program_the_notebook_shows_dot_and_what_to_install(monkeypatch):
    monkeypatch.setattr(layout.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    picture = graph(ad.Tensor(1.0, name="<x>"))
    shown = picture._repr_mimebundle_()
    assert "pip install" in shown["text/plain"].splitlines()[0] and picture.source in shown["text/plain"]
    assert "&lt;x&gt;" in shown["text/html"]
    with pytest.raises(RuntimeError, match="pip install"):
        picture.pipe()


def test_a_dot_program_is_used_where_only_that_is_there(monkeypatch, tmp_path):
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\n/bin/cat >/dev/null\necho drawn $1\n")
    program.chmod(0o755)
    monkeypatch.setattr(layout.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert graph(ad.Tensor(1.0)).pipe("svg") == b"drawn -Tsvg\n"


def test_importing_autodiff_does_not_import_graphviz():
    code = "import sys, autodiff; assert 'graphviz' not in sys.modules and 'pygraphviz' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# Bad input


def test_bad_input_is_refused_by_name():
    x, _, y = net()
    stranger = ad.Tensor(1.0)
    for call, kind, words in [
        (lambda: graph(3.0), TypeError, "needs a Tensor"),
        (lambda: walk(np.ones(2)), TypeError, "needs a Tensor"),
        (lambda: graph(y, show=("colour",)), ValueError, "colour"),
        (lambda: graph(y, direction="up"), ValueError, "up"),
        (lambda: graph(y, order=7), ValueError, "7"),
        (lambda: graph(y, order=True), ValueError, "True"),
        (lambda: graph(y, order="2"), ValueError, "'2'"),
        (lambda: graph(y, max_nodes=0), ValueError, "max_nodes"),
        (lambda: graph(y, max_nodes="many"), ValueError, "many"),
        (lambda: graph(y, names={"stranger": stranger}), ValueError, "stranger"),
        (lambda: graph(y, names={"net": nn.Linear(2, 2)}), ValueError, r"names\['net'\], Linear, has no parameter"),
        (lambda: graph(y, names=nn.Linear(2, 2)), ValueError, "names, Linear, has no parameter"),
        (lambda: graph(y, names={3: x}), TypeError, "3"),
        (lambda: graph(y, names={"x": 3.0}), TypeError, "float"),
        (lambda: graph(y, names=[x]), TypeError, "list"),
    ]:
        with pytest.raises(kind, match=words):
            call()


def test_a_freed_graph_is_a_runtime_error():
    _, _, y = net()
    y.backward(retain_graph=False)
    for call in (graph, walk):
        with pytest.raises(RuntimeError, match="gone"):
            call(y)


def test_the_name_of_a_closed_pass_is_not_shortened():
    from autodiff.seeing.looks import module_lines
    from autodiff.seeing.selection import Call

    label = "second backward pass: from s = ∇lossᵀu, u = 1, to ∇s = Hu"
    title, note = (text for _, text in module_lines(Call(0, 1, label, band=2), 34))
    assert title == "second backward pass" and note == "from s = ∇lossᵀu, u = 1, to ∇s = Hu, 34 operations"


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return x + np.tanh(self.linear(x))


@pytest.mark.parametrize("required", [False, True])
@pytest.mark.parametrize("depth", [5, 25, 100])
def test_the_input_of_a_deep_net_is_drawn_with_its_arrow_into_the_blocks(depth, required):
    net = nn.Sequential(*(Residual() for _ in range(depth)))
    xin = ad.Tensor(np.ones((2, 4), "float32"), requires_grad=required, name="xin")
    picture = graph(net(xin).sum(), names=net)
    assert f"\tt{xin._number} -> module" in picture.source
    ((node, label),) = (
        (node, picture.hierarchy.groups[node.around].label) for node in picture.hierarchy.nodes if node.name == "xin"
    )
    assert label == "graph" and node.kind == ("variable" if required else "constant")


def test_of_time_steps_the_first_state_stands_before_them_and_their_own_inputs_in_them():
    W, h0 = (ad.Tensor(np.eye(3)[:n].squeeze(), requires_grad=True, name=name) for n, name in [(3, "W"), (1, "h0")])
    h, inputs = h0, [ad.Tensor(np.ones(3) * t, requires_grad=True) for t in range(60)]
    for x in inputs:
        h = np.tanh(W @ h + x)
    picture = graph((h**2).sum())
    assert f"\tt{h0._number} -> module" in picture.source
    where = {node.name: picture.hierarchy.groups[node.around].label for node in picture.hierarchy.nodes}
    assert where["h0"] == "graph" and f"t{inputs[5]._number} ->" not in picture.source


def test_the_backward_passes_of_a_transformer_have_its_encoder_s_gradients_in_one_node():
    vit = nn.VisionTransformer(8, 4, 4, 2, 16, 32, num_classes=3, in_channels=1, rng=np.random.default_rng(0))
    f = nn.functional.cross_entropy(vit(np.ones((2, 1, 8, 8), "float32")), np.array([0, 1]))
    picture = graph(f, order=2, names=vit)
    nodes, edges = map(int, re.findall(r"\d+", repr(picture)))
    assert nodes <= 120 and edges <= 140
    assert "52 results" in picture.source


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("nodir/x", FileNotFoundError, "there is no folder nodir for x.*; make it first"),
        (".", IsADirectoryError, r"\. is a folder; write '(page|graph)\."),
        ("", ValueError, "takes the path of a file to be written, as 'page.html', not an empty one"),
        (3, TypeError, "takes the path of a file to be written, as 'page.html', not 3"),
    ],
)
def test_what_is_no_path_of_a_file_is_said_alike_and_no_folder_is_made(path, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    y = ad.Tensor(2.0, requires_grad=True) ** 2
    with pytest.raises(error, match=f"^to_html: {message}"):
        graph(y).to_html(path)
    with pytest.raises(error, match=f"^to_html: {message}"):
        ad.explain(y).to_html(path)
    if path == "nodir/x":
        with pytest.raises(error, match=f"^render: {message}"):
            graph(y).render(path, format="svg")
        with pytest.raises(error, match=f"^render: {message}"):
            graph(y).render(outfile="nodir/x.svg")
    assert not list(tmp_path.iterdir())


def test_a_page_at_the_end_of_a_cell_shows_itself():
    page = graph(ad.Tensor(2.0, requires_grad=True) ** 2).to_html()
    assert repr(page) == f"<page of {len(page):,} characters; write it with to_html(path)>"
    assert page.startswith("<!DOCTYPE html>") and html.escape(page) in page._repr_html_()


class _Hidden(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a_first_part_of_a_long_path = nn.MultiheadAttention(4, 2)

    def forward(self, x):
        return self.a_first_part_of_a_long_path(x, x, x)[0]


def test_long_names_keep_their_last_part_and_private_classes_are_called_as_public_ones():
    model = nn.Sequential(_Hidden(), _Hidden())
    y = model(np.ones((3, 2, 4), "float32")).sum()
    lines = {
        text for node in graph(y, names={"the_model": model}, expand=True).hierarchy.nodes for _, text in node.lines
    }
    assert "in_proj_weight (12, 4)" in lines and "Hidden" in lines and not any("_Hidden" in text for text in lines)
    alone = graph(y, names={"the_model": model}, group=False)
    written = {text for lines, _ in texts(alone) for text in lines}
    assert "…in_proj_weight (12, 4)" in written
    assert "max #2" in lines | {lines[0] for lines, _ in texts(graph(y, expand=True, group=False))}


def test_the_patch_behind_a_pixel_is_seen_as_a_patch():
    conv = nn.Conv2d(1, 1, 3)
    picture = graph(conv(np.ones((1, 1, 5, 5), "float32")).sum(), expand=True)
    assert any("[:, :, 0…2, 0…2]" in lines for lines, _ in texts(picture))


def test_what_cannot_be_drawn_or_opened_is_said_with_what_to_write():
    model = nn.Sequential(nn.Conv2d(1, 1, 3))
    y = model(np.ones((1, 1, 5, 5), "float32")).sum()
    for thing, said in [
        ([y, y], "of several give one"),
        (np.ones(3), "compute it from Tensors"),
        (model, "call it on"),
    ]:
        with pytest.raises(TypeError, match=f"^graph: needs a Tensor, not {type(thing).__name__}; {said}"):
            graph(thing)
    with pytest.raises(ValueError, match="there is 'convolution', or modules by their class or their place: 'Conv2d'"):
        graph(y, names=model, expand="conv2d")
    with pytest.raises(ValueError, match="its operations are plain ones already, so leave expand out"):
        graph(ad.Tensor(1.0, requires_grad=True) * 2.0, expand="exp")


def test_every_word_of_a_picture_has_a_colour_which_the_dark_theme_knows():
    w = ad.Tensor([1.0, 2.0], requires_grad=True, name="w")
    svg = ad.graph((w * 2).sum(), legend=True).pipe("svg").decode()
    words = re.findall(r"<text[^>]*>", svg)
    assert ">legend<" in svg and [word for word in words if "fill=" not in word] == []

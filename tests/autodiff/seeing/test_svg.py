"""The picture of a page, made small: every line and every text where Graphviz put it."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff.seeing import layout, svg

NAMESPACE = "{http://www.w3.org/2000/svg}"


def tenths(text):
    """Numbers as SVG's grammar reads them."""
    return [round(10 * float(n)) for n in re.findall(r"-?(?:\d+\.?\d*|\.\d+)", text)]


def drawn(path):
    """The curves of a relative path, as absolute points; a line as the curve with its handles at its ends."""
    at, found = np.zeros(2, int), []
    for command, text in re.findall(r"([mlc])([^mlc]*)", path):
        points = np.array(tenths(text)).reshape(-1, 2)
        if command == "m":
            at = points[0]
            continue
        for group in points.reshape(-1, {"l": 1, "c": 3}[command], 2):
            curve = at + group
            found.append((at, *(curve if command == "c" else (at, curve[0], curve[0]))))
            at = curve[-1]
    return np.array(found)


@pytest.mark.parametrize("seed", range(20))
def test_a_path_leads_through_the_same_points_without_adding_up_errors(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 30))
    points = [tuple(map(int, p)) for p in rng.integers(-(10 ** rng.integers(1, 6)), 10**5, (3 * n + 1, 2))]
    curves = drawn(svg.path(points))
    expected = np.array([points[3 * i : 3 * i + 4] for i in range(n)])
    np.testing.assert_array_equal(curves[:, [0, 3]], expected[:, [0, 3]])
    t = np.linspace(0, 1, 50)[:, None]
    for curve, wanted in zip(curves, expected):
        if (curve != wanted).any():  # drawn as a line: no point of the curve is off it
            start, end = wanted[0], wanted[3]
            weights = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
            away = weights @ wanted - start
            along = np.clip((away @ (end - start)) / max((end - start) @ (end - start), 1), 0, 1)[:, None]
            assert np.hypot(*(away - along * (end - start)).T).max() <= svg.STRAIGHT


def test_a_curve_becomes_a_line_only_where_it_is_one():
    assert "l" in svg.path([(0, 0), (100, 1), (200, -1), (300, 0)])
    for handle in ((100, 30), (-100, 0), (500, 0)):
        assert "l" not in svg.path([(0, 0), handle, (200, 0), (300, 0)])
    assert svg.path([(5, 5)] * 4) == "m.5 .5l0 0"


def absolute(part, x=0.0, y=0.0):
    """The box of a shape: left, top, right, bottom."""
    number = lambda name: float(part.get(name, "0"))
    if part.tag.endswith("ellipse"):
        return [x + number("cx") - number("rx"), y + number("cy") - number("ry"),
                x + number("cx") + number("rx"), y + number("cy") + number("ry")]  # fmt: skip
    if part.tag.endswith("rect"):
        return [x + number("x"), y + number("y"), x + number("x") + number("width"), y + number("y") + number("height")]
    if part.get("points"):
        points = np.array(tenths(part.get("points"))).reshape(-1, 2) / 10
    elif part.get("d").startswith("m"):
        points = drawn(part.get("d")).reshape(-1, 2) / 10
    else:
        points = np.array(re.findall(r"-?[\d.]+", part.get("d")), float).reshape(-1, 2)
    return [*(points.min(0) + (x, y)), *(points.max(0) + (x, y))]


def nodes_of(root, prefix=""):
    """For each node of an SVG the boxes of its shapes, and the places of its texts."""
    found = {}
    for group in root.iter(f"{prefix}g"):
        if not group.get("class", "").startswith("node"):
            continue
        title = group.find(f"{prefix}title")
        name = title.text if prefix else group.get("data-node")
        x, y = (n / 10 for n in tenths(group.get("transform"))) if group.get("transform") else (0.0, 0.0)
        slots = {rect for inner in group.iter("g") if inner.get("data-slot") for rect in inner.iter("rect")}
        kinds = [f"{prefix}{tag}" for tag in ("path", "polygon", "polyline", "ellipse", "rect")]
        shapes = [absolute(p, x, y) for p in group.iter() if p.tag in kinds and p not in slots]
        middle = [t.get("text-anchor") != "start" for t in group.iter(f"{prefix}text")]
        texts = [(x + float(t.get("x", 0)), y + float(t.get("y", 0))) for t in group.iter(f"{prefix}text")]
        found[name] = shapes, texts, middle
    return found


def a_net():
    model = nn.Sequential(nn.Linear(2, 3, dtype=float), nn.Tanh(), nn.Linear(3, 2, dtype=float))
    loss = (model(ad.Tensor([[1.0, 2.0], [0.5, -1.0]])) ** 2).mean()
    return ad.explain(loss, names=model, hvp=[np.ones(p.shape) for p in model.parameters()])


def test_every_shape_and_text_is_where_graphviz_put_it(monkeypatch):
    layouts = []
    original = layout.layout

    def kept(*args):
        layouts.append(original(*args))
        return layouts[-1]

    monkeypatch.setattr(layout, "layout", kept)
    page = a_net().to_html()
    (source,) = layouts
    text = next(found for found in re.findall(r"<svg .*?</svg>", page, re.DOTALL) if 'class="graph"' in found)
    ours, theirs = nodes_of(ElementTree.fromstring(text)), nodes_of(ElementTree.fromstring(source), NAMESPACE)
    assert ours.keys() == theirs.keys() and len(ours) > 60
    for name, (shapes, texts, _) in ours.items():
        their_shapes, their_texts, middle = theirs[name]
        np.testing.assert_allclose(shapes, their_shapes, atol=0.11, err_msg=name)
        np.testing.assert_allclose(np.array(texts)[:, 1], np.array(their_texts)[:, 1], atol=0.11)
        same = np.array(middle)
        np.testing.assert_allclose(np.array(texts)[same, 0], np.array(their_texts)[same, 0], atol=0.21)
    assert len(text) < 0.45 * len(source)


def test_edges_lead_from_where_they_start_to_where_they_end_in_every_band():
    page = a_net().to_html()
    text = next(found for found in re.findall(r"<svg .*?</svg>", page, re.DOTALL) if 'class="graph"' in found)
    root = ElementTree.fromstring(text)
    sides = {name: np.array(shapes) for name, (shapes, _, _) in nodes_of(root).items()}
    boxes = {name: np.hstack([each.min(0)[:2], each.max(0)[2:]]) for name, each in sides.items()}

    def away(point, box):
        return np.hypot(*np.maximum(0, np.maximum(box[:2] - point, point - box[2:])))

    edges = [group for group in root.iter("g") if group.get("class") == "edge"]
    assert len(edges) > 60
    for group in edges:
        assert [part.tag for part in group] == ["path"]
        curves = drawn(group[0].get("d")) / 10
        start, end = boxes[group.get("data-from")], boxes[group.get("data-to")]
        assert away(curves[0, 0], start) < 3 and away(curves[-1, -1], end) < 10, group.attrib


def test_an_edge_with_more_than_a_plain_head_keeps_its_parts():
    root = ElementTree.fromstring(
        '<svg><g class="edge"><title>cut</title><path fill="none" stroke="#555555" stroke-dasharray="5,2" '
        'd="M1.04,-2C3,-2 5,-2 7.06,-2"/><polygon fill="#555555" stroke="#555555" points="7,-4 9,-4 9,0 7,0 7,-4"/>'
        '<polyline fill="none" stroke="#555555" points="7,-2 8,-2"/><text text-anchor="middle" x="4" y="-5" '
        'font-size="10.00">detached</text></g></svg>'
    )
    assert svg.shortened(root).partition(">")[2] == (
        '<g class="edge"><title>cut</title><path stroke-dasharray="5,2" d="m1-2l6.1 0"/><polygon points="7-4 9-4 9 0 7 0"/>'
        '<polyline fill="none" points="7-2 8-2"/><text x="4" y="-5" font-size="10">detached</text></g></svg>'
    )

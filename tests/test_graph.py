"""Walking and drawing the graph: complete, faithful to hostile names, and safe."""

import gc
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autodiff as ad
import nn
from autodiff import layout
from autodiff.graph import graph, printable, walk

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


def example():
    x = ad.Tensor([1.0, 2.0], requires_grad=True, name="x")
    w = ad.Tensor([[0.5, -1.0], [2.0, 3.0]], requires_grad=True)
    return x, w, (ad.tanh(w @ x) * 2.0).sum()


# walk


def test_walk_visits_every_tensor_once_after_all_that_use_it_with_operations_and_inputs():
    x, w, y = example()
    steps = list(walk(y))
    assert [operation for _, operation, _ in steps] == ["sum", "multiply", None, "tanh", "matmul", None, None]
    place = {id(t): i for i, (t, _, _) in enumerate(steps)}
    assert len(place) == len(steps)
    for i, (_, _, inputs) in enumerate(steps):
        assert all(place[id(t)] > i for t in inputs)
    assert {id(x), id(w)} <= set(place)
    assert steps[2][0].item() == 2.0


def test_walking_by_hand_with_the_rules_gives_the_gradients():
    x, w, y = example()
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
    x, _, y = example()
    x.data -= 1.0
    assert [o for _, o, _ in walk(y)].count(None) == 3
    assert "tanh" in graph(y).source


# graph


def test_every_tensor_and_operation_is_drawn_with_its_values_and_gradients():
    x, w, y = example()
    y.backward()
    shown = [lines for lines, _ in texts(graph(y, names={"w": w}))]
    assert ["x", "float64 2", "[1, 2]", f"grad [{x.grad.data[0]:.4g}, {x.grad.data[1]:.4g}]"] in shown
    assert any(lines[:4] == ["w", "float64 2 × 2", "[0.5, -1]", "[2, 3]"] for lines in shown)
    assert ["output", "float64", f"{y.item():.4g}"] in shown
    assert ["2"] in shown
    for operation in ["@", "tanh", "×", "Σ"]:
        assert [operation] in shown
    assert len(shown) == 4 + 3 + 4  # operations, leaves, results


def test_tooltips_carry_formula_and_rule():
    _, _, y = example()
    tips = {lines[0]: tip for lines, tip in texts(graph(y))}
    assert "tanh" in tips["tanh"] and "1 − y²" in tips["tanh"]
    assert "leaf that requires a gradient" in tips["x"]


def test_show_chooses_what_is_written():
    x, _, y = example()
    y.backward()
    for show, expected in [
        ((), ["x"]),
        (("value",), ["x", "[1, 2]"]),
        ("shape", ["x", "float64 2"]),
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
    assert [lines for lines, _ in texts(graph(ad.Tensor(3.0)))] == [["float64", "3"]]
    assert [lines for lines, _ in texts(graph(ad.Tensor(3.0, requires_grad=True, name="x")))] == [["x", "float64", "3"]]


def test_drawing_changes_no_gradient_and_keeps_nothing_alive():
    x, w, y = example()
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
    source = graph(y, names={"net": model}).source
    for label in ["net · Sequential", "net.0 · Linear", "net.1 · Tanh", "net.2 · Linear", "net.0.weight"]:
        assert f'"{label}"' in source or f'"{label}\\n' in source
    svg = graph(y, names=model).pipe("svg").decode()
    assert svg.count('class="cluster') == 4
    assert "subgraph" not in graph(y, names=model, group=False).source
    model(ad.Tensor([5.0, 5.0]))  # a later call must not disturb what was recorded
    assert graph(y, names={"net": model}).source == source


def test_the_same_module_called_twice_gets_two_frames_and_its_parameters_stand_outside():
    layer = nn.Linear(2, 2)
    y = layer(layer(ad.Tensor([1.0, 2.0]))).sum()
    source = graph(y, names=layer).source
    assert source.count("subgraph") == 2
    depth, outside = 0, False
    for line in source.splitlines():
        depth += line.count("subgraph") - (line.strip() == "}")
        outside |= 'label="weight\\n' in line and depth == 0
    assert outside


def test_above_max_nodes_modules_become_nodes_and_then_the_middle_is_left_out():
    layers = [layer for _ in range(6) for layer in (nn.Linear(2, 2), nn.Tanh())]
    model = nn.Sequential(*layers)
    y = model(ad.Tensor([1.0, 2.0], name="x")).sum()
    everything = texts(graph(y, names=model))
    assert len(everything) == 13 + 13 + 12 + 1
    folded = [lines for lines, _ in texts(graph(y, names=model, max_nodes=30))]
    assert ["0 · Linear", "1 operation"] in folded and len(folded) == 13 * 2 + 1
    few = [lines for lines, _ in texts(graph(y, names=model, max_nodes=10))]
    assert len(few) <= 10
    gap = next(lines[0] for lines in few if "not shown" in lines[0])
    assert int(gap.split()[1]) == len(folded) - (len(few) - 1)
    assert ["x", "float64 2", "[1, 2]"] in few and any(lines[0] == "output" for lines in few)


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
    source = graph(y, max_nodes=max_nodes).source
    nodes = [line for line in source.splitlines() if " [label=" in line]
    left_out = [line for line in nodes if "not shown" in line]
    counts = [int(line.split("… ")[1].split()[0].replace(",", "")) for line in left_out]
    assert len(nodes) - len(left_out) + sum(counts) == total
    assert len(nodes) <= max(max_nodes, 6)
    names = {line.split()[0] for line in nodes}
    for line in source.splitlines():
        if "->" in line and "label" not in line:
            assert set(line.split()) - {"->"} <= names


def test_a_million_nodes_return_within_five_seconds_and_the_picture_is_small():
    x = ad.Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(1_000_000):
        y = y + x
    began = time.perf_counter()
    picture = graph(y)
    assert time.perf_counter() - began < 5
    assert "not shown" in picture.source
    total = 2_000_001
    shown = sum(" [label=" in line for line in picture.source.splitlines()) - 1
    assert f"{total - shown:,} nodes not shown" in picture.source
    assert picture.pipe("svg")


def test_an_operation_of_very_many_inputs_stays_small():
    y = ad.concatenate([ad.Tensor([1.0], requires_grad=True) for _ in range(1000)]).sum()
    assert len(texts(graph(y, max_nodes=50))) <= 50


# Names


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_shown_as_itself_and_breaks_nothing(name):
    x = ad.Tensor(1.0, requires_grad=True, name=name)
    y = x * 2.0
    y.name = name
    shown = texts(graph(y, names={name: x}))
    assert len(shown) == 4
    assert [lines[0] for lines, _ in shown].count(printable(name)) == 2
    assert all(line.strip() for lines, _ in shown for line in lines)


@given(st.text(max_size=30), st.text(max_size=30))
@settings(deadline=None, max_examples=30)
def test_any_text_is_a_name(a, b):
    x = ad.Tensor(1.0, requires_grad=True, name=b)
    shown = texts(graph(x * 1.0, names={a: x}))
    assert [printable(a), "float64", "1"] in [lines for lines, _ in shown]


def test_hostile_operations_and_modules_are_drawn():
    odd = ad.primitive(lambda x: x, name='a"\n<&{}', vjps=[lambda g, y, x: g], formula="<&\n")
    model = nn.Sequential({'<"&\n': nn.Tanh()})
    y = model(odd(ad.Tensor(1.0, requires_grad=True)))
    assert len(texts(graph(y, names={"\n": model}))) == 5


def test_drawing_in_many_threads_many_times_never_takes_the_process_down():
    pictures = [graph(ad.Tensor(1.0, requires_grad=True, name=name) * 2.0) for name in HOSTILE]
    with ThreadPoolExecutor(4) as pool:
        for data in pool.map(lambda p: p.pipe("png"), pictures * 2):
            assert data.startswith(b"\x89PNG")


# Files, notebooks, and machines without a layout program


def test_pictures_are_saved_and_rendered_without_a_dot_program(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    _, _, y = example()
    picture = graph(y)
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
    x, _, y = example()
    stranger = ad.Tensor(1.0)
    for call, kind, words in [
        (lambda: graph(3.0), TypeError, "needs a Tensor"),
        (lambda: walk(np.ones(2)), TypeError, "needs a Tensor"),
        (lambda: graph(y, show=("colour",)), ValueError, "colour"),
        (lambda: graph(y, direction="up"), ValueError, "up"),
        (lambda: graph(y, order=7), ValueError, "7"),
        (lambda: graph(y, max_nodes=0), ValueError, "max_nodes"),
        (lambda: graph(y, max_nodes="many"), ValueError, "many"),
        (lambda: graph(y, names={"stranger": stranger}), ValueError, "stranger"),
        (lambda: graph(y, names={3: x}), TypeError, "3"),
        (lambda: graph(y, names={"x": 3.0}), TypeError, "float"),
        (lambda: graph(y, names=[x]), TypeError, "list"),
    ]:
        with pytest.raises(kind, match=words):
            call()


def test_a_freed_graph_is_a_runtime_error():
    _, _, y = example()
    y.backward(retain_graph=False)
    for call in (graph, walk):
        with pytest.raises(RuntimeError, match="gone"):
            call(y)

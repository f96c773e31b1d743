"""Live pages: what they compute from other values is what the engine computes, and where they cannot they say so."""

import json
import re

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff.seeing.live import OPERATIONS, live_page
from autodiff.seeing.playback import playback
from autodiff.seeing.rows import roles
from autodiff.seeing.slots import fills
from autodiff.seeing.stage import Stage, slot_of
from nn.recurrent import recurrence
from tests import chromium
from tests.autodiff.seeing.test_page import HOSTILE, Reader, data_of, trouble

in_browser = pytest.mark.skipif(chromium.PROGRAM is None, reason="no chromium or chrome is installed")


@pytest.fixture(scope="module")
def browser():
    window = chromium.Browser()
    window.window(1400, 900)
    window.call(
        "Page.addScriptToEvaluateOnNewDocument",
        source="document.addEventListener('numbers', (event) => { window.numbers = event.detail; });",
    )
    yield window
    window.close()


def tensors(values, dtype="f8", constant=()):
    return {
        name: ad.Tensor(np.array(value, dtype), requires_grad=name not in constant, name=name)
        for name, value in values.items()
    }


def opened(browser, tmp_path, explanation, fragment=""):
    path = tmp_path / "page.html"
    explanation.to_html(path, live=True)
    browser.open(path, fragment)
    return path


def type_in(browser, entry, value):
    """Write a number into the field of an entry of a leaf, and tell the page."""
    browser.run(f"""(() => {{
      const field = document.querySelector(`[aria-label="{entry} as a number"]`);
      field.value = "{value!r}";
      field.dispatchEvent(new Event("input", {{ bubbles: true }}));
      field.dispatchEvent(new Event("change", {{ bubbles: true }}));
    }})()""")


def fill_in(browser, values):
    for name, value in values.items():
        array = np.asarray(value, float)
        for index in np.ndindex(array.shape):
            type_in(browser, f"{name}[{', '.join(map(str, index))}]" if index else name, float(array[index]))


def shown(browser):
    """The texts of all steps, as the page writes them now."""
    return browser.run("""[...document.querySelectorAll("#rows tr")].map((row, i) => ({
      quantity: row.cells[1].textContent, value: row.cells[3].textContent, ...(window.numbers[i] || {}) }))""")


def numbers_in(text):
    return np.array([float(x) for x in re.findall(r"-?(?:inf|nan|\d[\d.]*(?:e[-+]?\d+)?)", text)])


def facts_of(explanation):
    """What the page of an explanation knows of its steps."""
    rows, n = explanation.rows, len(explanation.rows)
    written = fills(rows, roles(rows), [slot_of(row) for row in rows], explanation.digits)
    data = playback(rows, roles(rows), Stage(places=["t"] * n, fills=written, also=[[] for _ in rows]))
    return data_of(f'<script type="application/json" id="data">{json.dumps(data)}</script>')["steps"]


def agree(browser, expected, close=1e-12):
    """Compare every text of every step with those of the page that the engine writes for the same values."""
    facts = facts_of(expected)
    found = shown(browser)
    assert len(found) == len(expected.rows)
    for texts, row, fact in zip(found, expected.rows, facts):
        assert texts["quantity"] == row.quantity
        assert texts["value"] == row.value or close > 1e-9, (row.quantity, texts["value"], row.value)
        if "full" not in texts:  # a step that does not change
            continue
        a, b = numbers_in(texts["full"] or texts["value"]), numbers_in(fact["full"] or row.value)
        scale = np.abs(b[np.isfinite(b)]).max(initial=0)
        np.testing.assert_allclose(a, b, rtol=close, atol=close * scale, err_msg=row.quantity)
        if close < 1e-9:
            assert texts["put"] == fact["put"]
            lines = "\n".join(texts["lines"])
            assert lines == re.sub(r"^(grad |→ )*", "", fact.get("lines") or lines), row.quantity
            heat = texts["heat"].rsplit(" ", 1), fact["heat"].rsplit(" ", 1)
            assert heat[0][0] == heat[1][0]


def neuron(w, x, b):
    a = np.tanh(w * x + b)
    return (a - 1.0) ** 2 * a


def layer(W, v):
    return (np.tanh(W @ np.array([1.0, 2.0])) * v).sum() ** 2


def classifier(W, b, X):
    return nn.functional.cross_entropy(np.maximum(X @ W + b, 0) @ W.T, np.array([0, 2, 1]))


def varied(x, y):
    a = np.where(np.array([False, True, False]), np.exp(-x), x**3) + np.sort(y)[::-1] * np.max(x)
    return (np.concatenate([a, x[1:] / y[:-1]]).var() + np.logaddexp(x, y).sum() + np.abs(x - 1).prod()) ** 0.5


def wide(x):
    return (np.outer(x, np.sin(x)) ** 2).sum(axis=0).mean()


def image(x, w, b):
    y = nn.functional.conv2d(x, w, b, padding=1, stride=(1, 2))
    return (nn.functional.max_pool2d(np.tanh(y), 2) ** 2).sum() + (nn.functional.avg_pool2d(y, 2, 1) ** 3).sum()


def upsampled(x, w):
    return (nn.functional.conv_transpose1d(x, w, stride=2) ** 2).sum() + nn.functional.adaptive_avg_pool1d(
        x, 2
    ).sum() ** 2


def matrices(A, b):
    M = A @ A.swapaxes(-1, -2) + 2 * np.eye(2)
    solved = np.linalg.solve(M, b)[..., 0] * np.linalg.det(A)[:, None] + np.linalg.inv(M)[..., 0]
    return (solved + np.linalg.cholesky(M).sum(axis=-1)).sum() ** 2 + np.linalg.slogdet(M)[1].sum()


def of_examples(x, w):
    def one(x):
        return np.tanh((x * w).sum()) ** 2 + ad.vmap(lambda t: np.exp(t) * w[0])(x).max()

    return (ad.vmap(one)(x) * ad.vmap(one, in_axes=1)(x.T)).sum()


def cell(kind):
    """A sequence of two steps, of one unit."""

    def loss(W, U, b, x):
        states = [ad.Tensor(np.full((1, 1), 0.3 - k)) for k in range(1 + (kind == "lstm"))]
        return (recurrence.scan(kind, x, states, (W, U, b, b)) ** 2).sum()

    n = {"lstm": 4, "gru": 3, "tanh": 1}[kind]
    before = {"W": np.linspace(-1, 1, n)[:, None], "U": np.linspace(0.5, -0.2, n)[:, None], "b": np.linspace(0, 0.3, n)}
    before["x"] = np.array([[[0.4]], [[-0.7]]])
    return loss, before, {name: 0.3 - 1.5 * value for name, value in before.items()}


CASES = {
    "neuron": (neuron, {"w": -0.5, "x": 2.0, "b": 1 / 3}, {"w": 0.75, "x": -1.3, "b": 0.1}),
    "layer": (layer, {"W": [[0.5, -1.0], [0.2, 0.3]], "v": [0.1, 0.2]}, {"W": [[1.5, -1e-5], [2e5, 3]], "v": [-0.7, 1]}),
    "classifier": (
        classifier,
        {"W": np.linspace(-1, 1, 9).reshape(3, 3), "b": [0.1, 0.2, -0.3], "X": np.linspace(-1, 2, 9).reshape(3, 3) ** 2},
        {"W": np.linspace(1.7, -1, 9).reshape(3, 3), "b": [0.3, -0.2, 0.3], "X": np.cos(np.arange(9.0)).reshape(3, 3)},
    ),
    "varied": (varied, {"x": [0.2, 0.5, -1.0], "y": [1.0, 2.0, 0.7]}, {"x": [-0.4, 0.1, 1.7], "y": [0.6, -0.5, 2.7]}),
    "wide": (wide, {"x": np.linspace(0.1, 1, 7)}, {"x": np.linspace(-2, 1.3, 7)}),
    "image": (
        image,
        {"x": np.cos(np.arange(16.0)).reshape(1, 1, 4, 4), "w": np.linspace(-1, 1, 8).reshape(2, 1, 2, 2), "b": [0.1, -0.2]},
        {"x": np.sin(np.arange(16.0)).reshape(1, 1, 4, 4), "w": np.linspace(1.3, -1, 8).reshape(2, 1, 2, 2), "b": [0, 0.4]},
    ),
    "upsampled": (
        upsampled,
        {"x": np.linspace(-1, 1, 6).reshape(1, 2, 3), "w": np.cos(np.arange(6.0)).reshape(2, 1, 3)},
        {"x": np.linspace(2, -1, 6).reshape(1, 2, 3), "w": np.sin(np.arange(6.0)).reshape(2, 1, 3)},
    ),
    "matrices": (
        matrices,
        {"A": np.cos(np.arange(8.0)).reshape(2, 2, 2), "b": [[0.5], [2.0]]},
        {"A": np.sin(np.arange(8.0)).reshape(2, 2, 2), "b": [[-0.5], [1.0]]},
    ),
    "examples": (
        of_examples,
        {"x": [[1.0, 2.0], [0.5, -1.0], [3.0, 1.0]], "w": [0.3, -0.4]},
        {"x": [[0.1, 0.2], [0.5, -0.3], [1.0, 0.7]], "w": [1.3, 0.4]},
    ),
    **{kind: cell(kind) for kind in ("lstm", "gru", "tanh")},
}  # fmt: skip


LONGER = {"upsampled", "matrices", "gru", "tanh"}


@in_browser
@pytest.mark.parametrize("case", [pytest.param(c, marks=[pytest.mark.slow] * (c in LONGER)) for c in CASES])
def test_every_number_of_the_page_is_the_engines_for_other_values_of_the_leaves(browser, tmp_path, case):
    function, before, after = CASES[case]
    options = {"update": ("sgd", 0.1), "variables": False}
    opened(browser, tmp_path, ad.explain(function(**tensors(before)), **options))
    assert trouble(browser) == ([], [])
    agree(browser, ad.explain(function(**tensors(before)), **options))
    fill_in(browser, after)
    agree(browser, ad.explain(function(**tensors(after)), **options))
    assert browser.run("document.body.classList.contains('moved')")
    browser.run("document.getElementById('live-reset').click()")
    agree(browser, ad.explain(function(**tensors(before)), **options))
    assert trouble(browser) == ([], [])


@in_browser
def test_the_second_backward_pass_is_the_engines_too(browser, tmp_path):
    function, before, after = CASES["layer"]
    options = {"hvp": [np.ones((2, 2)), np.array([1.0, -2.0])], "variables": False}
    opened(browser, tmp_path, ad.explain(function(**tensors(before)), **options))
    after = {"W": [[1.5, -0.2], [0.3, 1]], "v": [-0.7, 1]}
    fill_in(browser, after)
    agree(browser, ad.explain(function(**tensors(after)), **options))


@in_browser
def test_in_single_precision_results_are_rounded_as_the_engines_are(browser, tmp_path):
    function, before, after = CASES["neuron"]
    opened(browser, tmp_path, ad.explain(function(**tensors(before, "f4")), variables=False))
    fill_in(browser, after)
    agree(browser, ad.explain(function(**tensors(after, "f4")), variables=False), close=1e-5)


@in_browser
def test_a_slider_is_dragged_and_moved_by_keys(browser, tmp_path):
    function, before, _ = CASES["neuron"]
    opened(browser, tmp_path, ad.explain(function(**tensors(before)), variables=False))
    box = browser.run("""(() => { const slider = document.querySelector('[aria-label="w"]'); slider.scrollIntoView();
      const { x, y, width, height } = slider.getBoundingClientRect(); return [x, y + height / 2, width]; })()""")
    for kind, at in (("mousePressed", 0.5), ("mouseMoved", 0.6), ("mouseMoved", 0.8), ("mouseReleased", 0.8)):
        browser.call(
            "Input.dispatchMouseEvent", type=kind, x=box[0] + at * box[2], y=box[1], button="left", clickCount=1
        )
    w = browser.run("""document.querySelector('[aria-label="w"]').valueAsNumber""")
    assert 0.3 < w < 1.2
    agree(browser, ad.explain(function(**tensors(before | {"w": w})), variables=False))
    for key in ("ArrowLeft", "ArrowLeft", "ArrowRight", "ArrowUp"):
        browser.press(key)
    again = browser.run("""document.querySelector('[aria-label="w"]').valueAsNumber""")
    assert browser.run("document.activeElement.getAttribute('aria-label')") == "w"
    agree(browser, ad.explain(function(**tensors(before | {"w": again})), variables=False))
    browser.press("End")
    end = browser.run("""document.querySelector('[aria-label="w"]').valueAsNumber""")
    assert end == pytest.approx(1.5)
    agree(browser, ad.explain(function(**tensors(before | {"w": end})), variables=False))


@in_browser
@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_steps_descend_as_the_engine_does_and_the_loss_so_far_is_drawn(browser, tmp_path, dtype):
    function, before, _ = CASES["classifier"]
    leaves = tensors(before, dtype, constant={"X"})
    loss = function(**leaves)
    opened(browser, tmp_path, ad.explain(loss, variables=False))
    type_in(browser, "W[0, 0]", -0.5)
    leaves["W"].data[0, 0] = -0.5
    browser.run("document.getElementById('live-rate').value = '0.3'")
    losses = []
    for _ in range(6):
        browser.run("document.getElementById('live-step').focus()")
        browser.press("Enter")
        loss = function(**leaves)
        losses.append(loss.item())
        ad.no_grad()
        for x, g in zip((leaves["W"], leaves["b"]), ad.gradients(loss, [leaves["W"], leaves["b"]])):
            x.data -= 0.3 * g.data
    close = 1e-12 if dtype == "f8" else 1e-5
    agree(browser, ad.explain(function(**leaves), variables=False), close)
    drawn = browser.run("document.querySelector('#live-chart polyline').getAttribute('points')").split()
    losses.append(function(**leaves).item())
    heights = np.array([float(point.split(",")[1]) for point in drawn])
    expected = 66 - 60 * (np.array(losses) - min(losses)) / (max(losses) - min(losses))
    np.testing.assert_allclose(heights, expected, atol=0.06)
    said = browser.run("document.querySelector('#live-chart svg').getAttribute('aria-label')")
    assert said == f"L after 6 steps: {losses[0]:.4g} → {losses[-1]:.4g}"
    browser.run("document.getElementById('live-reset').click()")
    assert browser.run("document.getElementById('live-chart').hidden")
    agree(browser, ad.explain(function(**tensors(before, dtype, {"X"})), variables=False), close)


@in_browser
def test_where_a_rule_would_go_another_way_no_numbers_are_shown(browser, tmp_path):
    x = ad.Tensor([4.0, 9.0], requires_grad=True, name="x")
    opened(browser, tmp_path, ad.explain(np.sqrt(x).sum(), variables=False))
    type_in(browser, "x[0]", 0.0)
    assert "does not hold for these values" in browser.run("document.getElementById('live-note').textContent")
    assert {step["value"] for step in shown(browser)} <= {"—"} | {"1", "[1, 1]"}
    assert browser.run("document.getElementById('live-loss').textContent") == "L = —"
    type_in(browser, "x[0]", 16.0)
    assert browser.run("document.getElementById('live-note').hidden")
    x = ad.Tensor([16.0, 9.0], requires_grad=True, name="x")
    agree(browser, ad.explain(np.sqrt(x).sum(), variables=False))


@in_browser
def test_a_way_that_is_rare_is_followed_as_far_as_it_holds(browser, tmp_path):
    """Of attention so sharp that its rule takes care, the page has that rule."""

    def function(x):
        q = (x * 8).reshape(1, 1, 3, 1)
        return (nn.functional.scaled_dot_product_attention(q, q, q) ** 2).sum()

    before, after = {"x": [1.0, -0.5, 0.3]}, {"x": [1.1, -0.6, 0.3]}
    opened(browser, tmp_path, ad.explain(function(**tensors(before)), variables=False))
    fill_in(browser, after)
    agree(browser, ad.explain(function(**tensors(after)), variables=False))


@in_browser
def test_an_operation_without_a_form_is_named_and_what_lies_behind_it_is_shown_for_the_recorded_values(
    browser, tmp_path
):
    A = ad.Tensor([[2.0, 1.0], [0.0, 3.0]], requires_grad=True, name="A")
    b = ad.Tensor(0.5, requires_grad=True, name="b")
    explanation = ad.explain(np.linalg.svd(A, compute_uv=False).sum() * b, variables=False)
    opened(browser, tmp_path, explanation)
    said = browser.run("document.getElementById('live-fixed').textContent")
    assert "A goes into svd, which a page cannot compute, and keeps its value." in said
    assert "There are no steps: gradients lie behind svd" in said
    assert browser.run("document.getElementById('live-step').disabled")
    names = "[...document.querySelectorAll('.live input')].map((x) => x.getAttribute('aria-label')).filter(Boolean)"
    assert browser.run(names) == ["b", "b as a number"]
    type_in(browser, "b", 2.0)
    b = ad.Tensor(2.0, requires_grad=True, name="b")
    agree(browser, ad.explain(np.linalg.svd(A, compute_uv=False).sum() * b, variables=False))


@in_browser
def test_what_lies_behind_a_derivative_without_a_form_is_blank(browser, tmp_path):
    square = ad.primitive(lambda x: x * x, name="mine", vjps=[lambda g, y, x: g * 2 * x])
    x, c = ad.Tensor(3.0, requires_grad=True, name="x"), ad.Tensor(2.0, requires_grad=True, name="c")
    opened(browser, tmp_path, ad.explain(square(x) + c * c, variables=False))
    assert "x goes into mine" in browser.run("document.getElementById('live-fixed').textContent")


def test_what_a_check_needs_that_a_page_cannot_compute_keeps_its_value():
    A = ad.Tensor([[2.0, 1.0], [0.0, 3.0]], requires_grad=True, name="A")
    c = ad.Tensor(2.0, requires_grad=True, name="c")
    live = live_page(ad.explain(np.sqrt(np.linalg.svd(A, compute_uv=False)).sum() + c * c, variables=False)).data
    assert live["unchecked"] == [0]
    assert [(leaf["name"], leaf["slider"]) for leaf in live["inputs"]] == [("A", False), ("c", True)]


def test_a_function_of_a_users_that_reads_more_than_its_inputs_is_taken_to_depend_on_all():
    w, x = ad.Tensor(3.0, requires_grad=True, name="w"), ad.Tensor(2.0, name="x")
    y = ad.checkpoint(lambda w: np.exp(w * x), w) + w * x
    live = live_page(ad.explain(y, variables=False)).data
    assert [(leaf["name"], leaf["slider"]) for leaf in live["inputs"]] == [("w", False), ("x", False)]
    assert live["formless"] == ["checkpoint"]


def test_what_follows_a_result_moves_with_it():
    x = ad.Tensor([1.0, 2.0], requires_grad=True, name="x")
    h = np.exp(x)
    live = live_page(ad.explain((h * h.detach()).sum(), variables=False)).data
    assert [leaf["name"] for leaf in live["inputs"]] == ["x"]


@in_browser
def test_a_detached_result_follows_its_leaf(browser, tmp_path):
    def function(x):
        h = np.exp(x)
        return (h * h.detach()).sum()

    opened(browser, tmp_path, ad.explain(function(**tensors({"x": [1.0, 2.0]})), variables=False))
    fill_in(browser, {"x": [0.5, -1.0]})
    agree(browser, ad.explain(function(**tensors({"x": [0.5, -1.0]})), variables=False))


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (lambda x: (np.exp(x) * np.exp(x).detach()[:1]).sum(), None),
        (lambda x: (lambda h: (h * h.detach()[:1]).sum())(np.exp(x)), "a leaf holds a part of a result"),
        (lambda x: (np.sqrt(x - 1) * np.array([0.0, 1.0])).sum(), None),
        (lambda x: (x.astype("f2") * 2).sum(), "no numbers of dtype float16"),
        (lambda x: (lambda h: (h.register_hook(lambda g: g * 2), h.sum())[1])(np.exp(x)), "a gradient hook"),
    ],
)
def test_what_cannot_be_computed_again_leaves_the_page_as_it_is_and_says_why(output, said):
    x = ad.Tensor([1.0, 2.0], requires_grad=True)
    live = live_page(ad.explain(output(x)))
    assert (said in live.data["failure"] and "const program" not in live.script) if said else "failure" not in live.data


@in_browser
def test_a_page_that_cannot_compute_says_so_and_is_otherwise_whole(browser, tmp_path):
    x = ad.Tensor([1.0, 2.0], requires_grad=True)
    y = np.exp(x)
    y.register_hook(lambda g: g * 2)
    opened(browser, tmp_path, ad.explain(y.sum()))
    said = browser.run("document.getElementById('live-note').textContent")
    assert said.startswith("This page cannot compute with other values: a gradient hook is a function of yours")
    assert browser.run("document.getElementById('live-tools').hidden")
    assert trouble(browser) == ([], [])


def test_a_function_of_a_users_in_a_vmap_leaves_the_page_as_it_is_and_says_why():
    cube = ad.primitive(lambda x: x**3, name="cube", vjps=[lambda g, y, x: g * 3 * x**2])
    x = ad.Tensor([1.0, 2.0], requires_grad=True)
    y = ad.vmap(lambda x: cube(x) * 2)(x).sum()
    assert "cube cannot be followed" in live_page(ad.explain(y)).data["failure"]


def test_masks_that_are_not_recorded_are_named():
    x = ad.Tensor([1.0, -2.0], requires_grad=True, name="x")
    live = live_page(ad.explain(np.where(x > 0, x, x * 0.1).sum(), variables=False)).data
    assert live["decided"] == ["v2"]


def test_a_leaf_a_large_graph_and_a_graph_that_is_gone_get_one_clear_error():
    x = ad.Tensor(1.0, requires_grad=True)
    with pytest.raises(ValueError, match="live=True needs a computation"):
        ad.explain(x).to_html(live=True)
    y = x
    for _ in range(OPERATIONS + 1):
        y = y * 1.0001
    with pytest.raises(ValueError, match="takes graphs of up to 1,000 operations, not 1,001"):
        ad.explain(y).to_html(live=True)
    y = np.exp(x) * x
    explanation = ad.explain(y)
    y.backward(retain_graph=False)
    with pytest.raises(RuntimeError, match="is gone"):
        explanation.to_html(live=True)


def test_the_file_loads_nothing_and_runs_its_own_script_alone():
    text = ad.explain(layer(**tensors(CASES["layer"][1]))).to_html(live=True)
    assert "://" not in text and not re.search(r"\b(eval|Function)\s*\(", text)
    for _, attributes in Reader(text).tags:
        assert not {"src", "href", "action"} & set(attributes) and not any(name.startswith("on") for name in attributes)
    assert 'id="live"' not in ad.explain(layer(**tensors(CASES["layer"][1]))).to_html()


@in_browser
def test_hostile_names_are_text(browser, tmp_path):
    total = sum((ad.Tensor(float(i), requires_grad=True, name=name) ** 2 for i, name in enumerate(HOSTILE, 1)), 0.0)
    opened(browser, tmp_path, ad.explain(total, variables=False))
    assert trouble(browser) == ([], [])
    assert browser.run("document.querySelectorAll('.live fieldset').length") == len(HOSTILE)
    assert browser.run("[...document.querySelectorAll('.live legend')].map((x) => x.children.length)") == [0] * len(
        HOSTILE
    )


@in_browser
@pytest.mark.parametrize(("width", "height", "dark"), [(390, 844, False), (1400, 900, True), (900, 700, False)])
def test_the_panel_fits_the_window_and_every_control_has_a_name(browser, tmp_path, width, height, dark):
    browser.window(width, height, dark)
    function, before, _ = CASES["classifier"]
    opened(browser, tmp_path, ad.explain(function(**tensors(before)), variables=False))
    for _ in range(3):
        browser.run("document.getElementById('live-step').click()")
    found = browser.run("""(() => {
      const live = document.getElementById("live"), box = live.getBoundingClientRect();
      const inside = [...live.querySelectorAll("input, button, svg")].filter((each) => each.offsetParent || each.tagName === "svg");
      return {
        wide: document.documentElement.scrollWidth, room: innerWidth,
        out: inside.filter((each) => { const b = each.getBoundingClientRect(); return b.left < box.left || b.right > box.right + 1; }).length,
        small: [...live.querySelectorAll("button, input")].filter((each) => each.getBoundingClientRect().height < 28).length,
        nameless: [...live.querySelectorAll("input")].filter((each) => !each.getAttribute("aria-label") && !each.labels.length).length,
      };
    })()""")
    assert found.pop("wide") <= found.pop("room") == width
    assert found == {"out": 0, "small": 0, "nameless": 0}
    browser.window(1400, 900)


@in_browser
def test_a_number_that_is_none_is_marked_and_changes_nothing(browser, tmp_path):
    function, before, _ = CASES["neuron"]
    opened(browser, tmp_path, ad.explain(function(**tensors(before)), variables=False))
    browser.run("""(() => { const field = document.querySelector('[aria-label="w as a number"]');
      field.value = ""; field.dispatchEvent(new Event("input")); })()""")
    assert (
        browser.run("""document.querySelector('[aria-label="w as a number"]').getAttribute("aria-invalid")""") == "true"
    )
    agree(browser, ad.explain(function(**tensors(before)), variables=False))


@in_browser
def test_a_leaf_of_many_numbers_has_no_sliders_and_steps_move_it(browser, tmp_path):
    def function(x):
        return (np.sin(x) ** 2).sum()

    values = np.linspace(-1, 2, 20)
    opened(browser, tmp_path, ad.explain(function(**tensors({"x": values})), variables=False))
    assert browser.run("document.getElementById('live-fixed').textContent") == "x (20) is changed by steps alone."
    browser.run("document.getElementById('live-step').click()")
    moved = values - 0.1 * np.sin(2 * values)
    agree(browser, ad.explain(function(**tensors({"x": moved})), variables=False), close=1e-11)


@in_browser
def test_predictions_are_asked_of_the_numbers_that_are_shown(browser, tmp_path):
    function, before, after = CASES["neuron"]
    opened(browser, tmp_path, ad.explain(function(**tensors(before)), variables=False))
    fill_in(browser, after)
    browser.run("document.getElementById('predict').click()")
    for _ in range(5):
        browser.run("document.getElementById('next').click()")
        if not browser.run("document.getElementById('predict-box').hidden"):
            break
    step = browser.run("document.getElementById('seek').valueAsNumber")
    answer = ad.explain(function(**tensors(after)), variables=False).rows[step - 1].value
    browser.run(
        f"document.getElementById('guess').value = {json.dumps(answer)}; document.getElementById('check').click()"
    )
    assert browser.run("document.getElementById('verdict').textContent").startswith("Right.")


@in_browser
def test_numbers_are_written_as_python_writes_them(browser, tmp_path):
    """Halves are rounded to even, in every precision that a page may have."""
    values = [0.5, 2.5, 1.015625, 1e-5, 123456.5, 1234567.5, 1e16, 1e22, -1.5e-300, 3.0000005, 0.1, 1 / 3, 99999.95]
    for digits in (1, 3, 6, 17):
        opened(browser, tmp_path, ad.explain((ad.Tensor(1.0, requires_grad=True, name="x") * 1.0) ** 2, digits=digits))
        for value in values:
            type_in(browser, "x", value)
            x = ad.Tensor(value, requires_grad=True, name="x")
            found, expected = shown(browser)[0], ad.explain((x * 1.0) ** 2, digits=digits)
            assert (found["value"], found["full"]) == (expected.rows[0].value, facts_of(expected)[0]["full"]), value

"""What each input gets of a cotangent, as it is written: the text is computed with NumPy, and is the engine's number."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff import backward
from autodiff.seeing.graph import graph
from autodiff.seeing.looks import rules_of

RNG = np.random.default_rng(3)


def variable(*shape: int, name: str) -> ad.Tensor:
    return ad.Tensor(RNG.normal(size=shape), requires_grad=True, name=name)


class Array:
    """A NumPy array with the signs of the formulas: · by element, @ and ⊗ of matrices, ᵀ of the last two axes."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)

    def __mul__(self, other: Any) -> Array:
        return Array(self.values * other.values)

    def __truediv__(self, other: Any) -> Array:
        return Array(self.values / other.values)

    def __matmul__(self, other: Any) -> Array:
        return Array(self.values @ other.values)

    def __mod__(self, other: Any) -> Array:
        return Array(self.values[..., :, None] * other.values[..., None, :])

    def __neg__(self) -> Array:
        return Array(-self.values)

    @property
    def T(self) -> Array:
        return Array(self.values.swapaxes(-1, -2))


def computed(text: str, values: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """What a text says, its sums taken over the axes that `shape` has not."""
    summed = "Σ" in text
    names = "|".join(re.escape(name) for name in sorted(values, key=len, reverse=True))
    text = re.sub(
        rf"({names})|(\d+)",
        lambda m: f"v[{list(values).index(m[1])}]" if m[1] else f"Array({m[2]})",
        text.removeprefix("Σ "),
    )
    text = text.replace("·", "*").replace("⊗", "%").replace("−", "-").replace("ᵀ", ".T")
    found = eval(text, {"v": [Array(x) for x in values.values()], "Array": Array}).values
    if summed:
        found = found.sum(axis=tuple(range(found.ndim - len(shape))))
        found = found.sum(axis=tuple(k for k, n in enumerate(shape) if n == 1), keepdims=True)
    found = np.broadcast_to(found, shape) if "y" in values and np.ndim(values["y"]) == 0 else found
    assert found.shape == shape, text
    return found


X, W, B = variable(5, 3, name="x"), variable(4, 3, name="W"), variable(4, name="b")
STACK, ONE, M = variable(2, 5, 3, name="s"), variable(3, name="o"), variable(3, 4, name="M")
A, N = variable(3, 3, name="A"), variable(2, 3, 4, name="N")
linear, norm = nn.functional.linear, nn.functional.layer_norm


@pytest.mark.parametrize(
    "y",
    [
        linear(X, W, B), linear(STACK, W, B), linear(ONE, W, B), linear(X, W), linear(ONE, W),
        X @ M, STACK @ M, ONE @ M, X @ ONE, STACK @ N, W.T, X * ONE, X - ONE, X * variable(5, 1, name="c"), X / 2.0, X**2,
        np.linalg.inv(A), np.linalg.solve(A, variable(3, 3, name="R")), norm(X, (3,), variable(3, name="w"), ONE),
        ONE @ variable(3, name="d"), X.sum(), X.mean(), np.broadcast_to(ONE, (5, 3)), variable(3, 1, name="p") + N,
    ],
)  # fmt: skip
def test_what_the_rule_says_is_what_the_engine_adds(y):
    cotangent = RNG.normal(size=y.shape)
    leaves = [x for x in y.inputs if x.requires_grad]
    names = {id(x): x.name for x in leaves} | {id(y): "y"}
    texts = [text for word, text in rules_of(y, names, "L") if word == "rule"]
    gradients = backward.gradients(y, leaves, cotangent)
    assert len(texts) == len(leaves)
    for x, text, expected in zip(leaves, texts, gradients):
        start, _, said = text.partition(" goes ")
        assert start == f"to {x.name}"
        if ", " in said:
            continue  # the product with a Jacobian, which is named and not written
        values = {"∂L/∂y": cotangent, "y": y.data} | {leaf.name: leaf.data for leaf in leaves}
        if y.op in ("inv", "solve"):
            said, values["A⁻ᵀ"] = said.replace(" ", " @ "), np.linalg.inv(A.data).T
        np.testing.assert_allclose(computed(said, values, x.shape), expected.data, rtol=1e-10)


def facts(picture: Any) -> list[str]:
    """Formulas and rules in the panels of its page."""
    found = (fact for node in picture.hierarchy.nodes for fact in node.facts)
    return [text for word, text in found if word in ("formula", "rule")]


def test_the_letters_of_the_records_are_none_of_the_readers():
    y = ad.Tensor(3.0, requires_grad=True)
    z = y**2
    g = ad.Tensor(2.0, requires_grad=True)
    q = z * g
    assert facts(graph(q)) == ["z = y²", "to y goes ∂q/∂z · (2 · y)", "q = z · g", "to z goes ∂q/∂q · g", "to g goes ∂q/∂q · z"]  # fmt: skip
    assert "q = z · g" in graph(q).source and "g · g" not in graph(q).source


def test_a_module_s_rules_are_those_of_the_table():
    model = nn.Linear(3, 4)
    loss = model(np.ones((5, 3), "float32")).sum()
    shown, rows = facts(graph(loss)), ad.explain(loss).rows
    for name, product in [("weight", "(∂loss/∂v2)ᵀ @ v1"), ("bias", "Σ ∂loss/∂v2")]:
        assert f"to model.{name} goes {product}" in shown
        assert [row.expression for row in rows if row.quantity == f"∂loss/∂model.{name}"] == [product]


def test_a_batch_has_one_name_in_its_box_its_panel_and_the_table():
    model = nn.Linear(3, 4)
    loss = model(np.ones((5, 3), "float32")).sum()
    (row,) = (row for row in ad.explain(loss).rows if row.expression == "constant")
    (node,) = (node for node in graph(loss).hierarchy.nodes if node.kind == "constant")
    hierarchy = graph(loss).hierarchy
    assert row.quantity == node.name == node.lines[0][1] == hierarchy.tensors[node.tensors[0]]["name"] == "v1"


def test_no_rule_is_said_of_a_pass_that_is_the_last():
    x = ad.Tensor(2.0, requires_grad=True)
    picture = graph(x**3, order=2)
    passes = [
        picture.hierarchy.groups[node.around].label for node in picture.hierarchy.nodes if "rule" in dict(node.facts)
    ]
    assert passes and not any(label.startswith("second") for label in passes)
    assert all(" = y" not in text and "x0" not in text for text in facts(picture))

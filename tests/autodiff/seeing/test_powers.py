"""A power with a number as exponent is one node, in which the exponent is written."""

import html
import re

import numpy as np
import pytest

import autodiff as ad


def labels(y, **options):
    found = re.findall(r"\t\w+ \[label=<(.*?)> class", ad.graph(y, variables=False, compact=False, **options).source)
    return [html.unescape(re.sub("<[^>]*>", "", label.split("<BR/>")[0])) for label in found]


@pytest.mark.parametrize(
    "exponent, text", [(2, "x²"), (-3, "x⁻³"), (0.5, "x^0.5"), (np.float32(3), "x³"), (np.inf, "x^inf")]
)
def test_the_exponent_is_written_in_the_operation_and_has_no_node(exponent, text):
    x = ad.Tensor(2.0, requires_grad=True, name="x")
    assert sorted(labels(x**exponent)) == sorted(["x", text, "L"])


def test_an_exponent_that_is_a_tensor_or_an_array_has_its_node():
    x, p = ad.Tensor([2.0, 3.0], requires_grad=True, name="x"), ad.Tensor([1.0, 2.0], requires_grad=True, name="p")
    assert {"xʸ", "p"} <= set(labels(x**p)) and "xʸ" in labels(x ** np.array([1.0, 2.0]))


def test_what_is_drawn_and_what_is_said_to_be_left_out_add_up_with_powers():
    y = ad.Tensor(1.5, requires_grad=True, name="x")
    for _ in range(30):
        y = y**2
    drawn = labels(y, max_nodes=20)
    (hidden,) = re.findall(r"… (\d+) nodes", ad.graph(y, max_nodes=20, compact=False).source)[:1]
    assert len(drawn) - 1 + int(hidden) == 1 + 2 * 30 == len(labels(y))

"""What the nodes of the page's picture show after each step."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autodiff as ad
from autodiff.seeing.formats import text_of
from autodiff.seeing.rows import roles
from autodiff.seeing.slots import fills, lines


def shown(table, x, slot="grad"):
    """What the steps write about a tensor, in their order."""
    kinds = roles(table.rows)
    slots = ["grad" if row.phase in ("local", "backward", "gradient") else "value" for row in table.rows]
    found = zip(table.rows, fills(table.rows, kinds, slots, table.digits))
    return [fill.lines for row, fill in found if fill is not None and row.tensor is x and fill.slot == slot]


def test_a_gradient_adds_up_contribution_by_contribution():
    x = ad.Tensor(3.0, requires_grad=True, name="x")
    table = ad.explain(x * x + 5.0 * x)
    assert shown(table, x) == [("grad 0 += 5",), ("grad 5 += 3",), ("grad 8 += 3",), ("grad 11",)]


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=6))
def test_each_contribution_is_added_to_the_sum_of_those_before(factors):
    x = ad.Tensor(1.0, requires_grad=True, name="x")
    total = sum((x * f for f in factors[1:]), x * factors[0])
    *parts, last = (" ".join(each).removeprefix("grad ") for each in shown(ad.explain(total, digits=17), x))
    known = 0.0
    for part, f in zip(parts, reversed(factors), strict=True):
        before, more = map(float, part.split(" += "))
        assert before == known and more == pytest.approx(f, abs=1e-300)
        known = before + more
    assert float(last) == known == pytest.approx(ad.gradients(total, x)[0].item(), abs=1e-12)


def test_an_update_replaces_the_value():
    w = ad.Tensor([1.0, 2.0], requires_grad=True, name="w")
    table = ad.explain((w * w).sum(), update=("sgd", 0.25))
    assert shown(table, w, "value") == [("[1, 2]",), ("→ [0.5, 1]",)]


def test_matrices_keep_their_rows_and_large_ones_their_range():
    assert lines(np.array([[1.0, 2.0], [3.0, 4.0]]), "") == ["[1, 2]", "[3, 4]"]
    assert lines(np.arange(100.0), "") == ["0 … 99"] and lines(np.zeros((0, 2)), "") == ["[] (0×2)"]
    assert lines(np.float64(1 / 3), "0.333") == ["0.333"] and lines(None, "(too large to show)") == ["…"]


def test_what_is_left_out_of_a_long_second_pass_says_how_much_it_is():
    x = ad.Tensor(1.01, requires_grad=True, name="x")
    s = 1.0
    for _ in range(36):
        s = s * x
    page = str(ad.explain(s, hvp=[1.0]).to_html())
    assert re.search(r">… \d+ steps not shown<", page) and 'width="-' not in page


@pytest.mark.parametrize("bad, said", [(np.nan, "1 nan"), (np.inf, "1 inf"), (-np.inf, "1 -inf")])
def test_a_value_that_is_not_finite_leaves_the_range_of_the_others(bad, said):
    data = np.linspace(-1.0, 3.0, 40).reshape(5, 8)
    data[1, 2] = bad
    assert lines(data, "") == [f"-1 … 3, {said}"]
    assert text_of(data, 6) == f"5×8: -1 … 3, {said}, mean {np.mean(data):g}"
    assert text_of(np.full(20, np.nan), 6) == "20: 20 nan, mean nan"

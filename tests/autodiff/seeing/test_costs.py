"""The costs that a page counts are those counted by hand."""

import numpy as np

import autodiff as ad
from autodiff.seeing.costs import lifetimes, running, work
from autodiff.seeing.rows import roles


def costs(table):
    return running(table.rows, roles(table.rows))


def test_a_matrix_product_counts_its_sums_in_each_direction():
    A, B = ad.Tensor(np.ones((2, 3)), requires_grad=True), ad.Tensor(np.ones((3, 5)), requires_grad=True)
    C = A @ B
    assert work(C) == 2 * 3 * 5
    end = costs(ad.explain(C.sum()))[-1]
    assert end.forward == 30 + 10 and end.known  # the product, and the sum of its 10 elements
    assert end.backward == 2 * 30  # one product for each input; the sum's rule copies a number
    (g,) = ad.gradients(C.sum(), B, create_graph=True)  # Aᵀ times a cotangent of shape (2, 5)
    (product,) = (node for node, operation, _ in ad.walk(g) if operation and "matmul" in operation)
    assert product.shape == (3, 5) and work(product) == 3 * 5 * 2


def test_elementwise_operations_count_their_elements_and_moves_nothing():
    x = ad.Tensor(np.ones(7), requires_grad=True, name="x")
    assert [work(y) for y in (np.tanh(x), x * 2.0, x.reshape(7, 1), x[2:], x.sum())] == [7, 7, 0, 0, 7]
    end = costs(ad.explain(np.tanh(x).sum()))[-1]
    assert (end.forward, end.backward) == (14, 7 + 7)  # 1/cosh² x, and its product with the cotangent


def test_an_operation_of_unknown_cost_is_said_to_be_left_out():
    x = ad.Tensor([[2.0, 0.5], [0.5, 1.0]], requires_grad=True)
    assert not costs(ad.explain(np.linalg.inv(x).sum()))[-1].known


def test_what_a_rule_reads_is_kept_until_it_has_run():
    x = ad.Tensor(np.ones(10), requires_grad=True, name="x")
    h = np.exp(x)  # its rule reads its result
    k = np.sin(h)  # its rule reads its input
    table = ad.explain(k.sum(), variables=False, names={"h": h})
    kept = [cost.kept for cost in costs(table)]
    steps = {row.quantity: row.step for row in table.rows}
    assert kept[steps["x"] - 1] == 0 and kept[steps["h"] - 1] == 80  # h, once, though two rules read it
    last = next(row.step for row in table.rows if row.quantity == "∂h/∂x")
    assert kept[last - 2] == 80 and kept[last - 1] == 0
    assert lifetimes(table.rows, roles(table.rows)) == {steps["h"]: (steps["h"], last)}


def test_a_second_pass_is_counted_apart():
    x = ad.Tensor(2.0, requires_grad=True, name="x")
    table = ad.explain(x**3, hvp=[1.0])
    first, last = next(c for r, c in zip(table.rows, costs(table)) if r.phase == "slope"), costs(table)[-1]
    assert (first.forward, first.backward, first.second) == (last.forward, last.backward, 0) and last.second > 0

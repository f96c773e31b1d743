"""The costs that a page counts are those counted by hand."""

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff.seeing.costs import lifetimes, running, work
from autodiff.seeing.rows import roles


def costs(table):
    return running(table.rows, roles(table.rows))


def test_a_matrix_product_counts_its_sums_in_each_direction():
    A, B = ad.Tensor(np.ones((2, 3)), requires_grad=True), ad.Tensor(np.ones((3, 5)), requires_grad=True)
    C = A @ B
    assert work(C) == (2 * 3 * 5, True)
    end = costs(ad.explain(C.sum()))[-1]
    assert end.forward == 30 + 10 and end.known  # the product, and the sum of its 10 elements
    assert end.backward == 2 * 30  # one product for each input; the sum's rule copies a number
    (g,) = ad.gradients(C.sum(), B, create_graph=True)  # Aᵀ times a cotangent of shape (2, 5)
    (product,) = (node for node, operation, _ in ad.walk(g) if operation and "matmul" in operation)
    assert product.shape == (3, 5) and work(product) == (3 * 5 * 2, True)


def test_elementwise_operations_count_their_elements_and_moves_nothing():
    x = ad.Tensor(np.ones(7), requires_grad=True, name="x")
    assert [work(y).number for y in (np.tanh(x), x * 2.0, x.reshape(7, 1), x[2:], x.sum())] == [7, 7, 0, 0, 7]
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


def ends(output, **options):
    end = costs(ad.explain(output, **options))[-1]
    return end.forward, end.backward, end.known


def test_a_linear_layer_counts_its_product_and_its_bias_in_both_directions():
    x = np.ones((5, 3), "float32")
    # W x: 5 · 3 · 4; + b: 20; the sum: 20. Backward: a product of the same size for W, the sum of 20 numbers for b.
    assert ends(nn.Linear(3, 4)(x).sum()) == (60 + 20 + 20, 60 + 20, True)
    assert ends(nn.Linear(3, 4, bias=False)(ad.Tensor(x, requires_grad=True)).sum()) == (60 + 20, 60 + 60, True)


def test_a_convolution_counts_a_product_for_each_pixel_channel_and_tap():
    layer = nn.Conv2d(2, 3, 3, bias=False)
    x = np.ones((1, 2, 5, 5), "float32")
    products, outputs = 3 * 3 * (2 * 3 * 3) * 3, 3 * 3 * 3
    forward, backward, known = ends(layer(x).sum())
    assert (forward, known) == (products + outputs, True)
    # Opened, one pixel's patch is apart from the others, so that two contributions to the weight are added.
    assert backward == products + layer.weight.size


def test_attention_counts_its_two_products_and_its_softmax():
    q = ad.Tensor(np.ones((1, 6, 4)), requires_grad=True)
    forward, backward, known = ends(nn.functional.scaled_dot_product_attention(q, q, q).sum())
    products = 2 * 6 * 6 * 4
    softmax = 6 * 36  # scale, max, minus, exp, sum, divide: 36 each, at the most
    assert known and products + 36 < forward <= products + softmax + 24
    assert 2 * products < backward


MODELS = {
    "an MLP": lambda: (nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2)), (5, 3)),
    "a convolution": lambda: (nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)), (2, 2, 4, 4)),
    "a recurrent layer": lambda: (nn.LSTM(3, 4), (5, 2, 3)),
    "attention": lambda: (nn.TransformerEncoderLayer(4, 2, 8), (2, 3, 4)),
    "norms": lambda: (nn.Sequential(nn.LayerNorm(4), nn.RMSNorm(4), nn.BatchNorm1d(4)), (3, 4)),
}


@pytest.mark.parametrize("model", MODELS)
def test_a_fused_layer_costs_what_the_same_mathematics_opened_costs(model):
    layer, shape = MODELS[model]()
    x = ad.Tensor(np.random.default_rng(0).normal(size=shape).astype("float32"), requires_grad=True)
    y = layer(x)
    y = y[0] if isinstance(y, tuple) else y
    classes = np.zeros(y.shape[0], int)
    loss = nn.functional.cross_entropy(y, classes) if y.ndim == 2 else (y * y).mean()
    closed, opened = ends(loss), ends(loss, expand=True)
    assert closed == opened and closed[2] and closed[1] > closed[0] > x.size

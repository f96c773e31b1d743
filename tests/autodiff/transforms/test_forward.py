"""Forward mode: tangents pushed through recorded graphs, and Hessian products forward over reverse. (That every
operation's forward derivative is right is in test_primitives.py.)"""

import gc
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings

import autodiff as ad
import nn
from autodiff import Tensor
from autodiff.primitive import KINDS, Primitive, Sample, declare
from autodiff.transforms.forward import ForwardOverReverse, Pushforward, Unsupported

torch = pytest.importorskip("torch")

from tests.autodiff.ops.test_primitives import check_forward  # noqa: E402
from tests.autodiff.test_random_graphs import OPS, close, programs  # noqa: E402

rng = np.random.default_rng(0)


def variable(array):
    return Tensor(array, requires_grad=True)


def network(params, x):
    """A loss with every kind of operation: products, a bias, tanh, relu, a softmax, a mean."""
    a, b, c, d = params
    h = np.tanh(x @ a + b)
    h = np.maximum(h @ c + d, 0.1)
    return ((np.exp(h) / np.exp(h).sum(1, keepdims=True)) ** 2).mean() + (a * a).sum() * 0.1


SHAPES = [(3, 4), (4,), (4, 2), (2,)]


def draw(dtype=np.float64):
    return [rng.normal(size=s).astype(dtype) for s in SHAPES]


def torch_hvp(params, x, vectors):
    leaves = [torch.tensor(p, requires_grad=True) for p in params]
    a, b, c, d = leaves
    h = torch.tanh(torch.as_tensor(x) @ a + b)
    h = torch.maximum(h @ c + d, torch.tensor(0.1, dtype=h.dtype))
    loss = ((torch.exp(h) / torch.exp(h).sum(1)[:, None]) ** 2).mean() + (a * a).sum() * 0.1
    first = torch.autograd.grad(loss, leaves, create_graph=True)
    second = torch.autograd.grad(first, leaves, [torch.as_tensor(v) for v in vectors])
    return [g.detach().numpy() for g in first], [h.numpy() for h in second]


# Against PyTorch


@settings(max_examples=150, deadline=None)
@given(programs(list(OPS), 3, 12))
def test_forward_products_and_hessian_products_of_random_graphs_agree_with_torch(program):
    directions = np.random.default_rng(program.seed + 1)
    v = tuple(directions.standard_normal(np.shape(leaf)) for leaf in program.leaves)
    ours, theirs = tuple(program.leaves), [torch.tensor(leaf, requires_grad=True) for leaf in program.leaves]

    def loss(*leaves):
        return program.loss(leaves, "ours")

    first = torch.autograd.grad(program.loss(theirs, "theirs"), theirs, create_graph=True)
    slope = sum((g * torch.as_tensor(d)).sum() for g, d in zip(first, v))
    close(Tensor(ad.jvp(loss, ours, v)[1]), slope, "jvp")
    second = [torch.zeros_like(x) for x in theirs]
    if slope.requires_grad:
        second = torch.autograd.grad(slope, theirs, allow_unused=True, materialize_grads=True)
    for h, again, expected in zip(
        ad.hvp(loss, ours, v), ad.jvp(ad.grad(loss, tuple(range(len(v)))), ours, v)[1], second
    ):
        close(Tensor(h), expected, "hvp")
        close(Tensor(again), expected, "jvp of grad")


@pytest.mark.parametrize("dtype, rtol", [(np.float64, 1e-10), (np.float32, 1e-4)])
def test_one_recorded_graph_gives_value_gradient_and_any_number_of_products(dtype, rtol):
    params, x = draw(dtype), rng.normal(size=(5, 3)).astype(dtype)
    leaves = [variable(p) for p in params]
    H = ForwardOverReverse([network(leaves, x)], leaves)
    for _ in range(3):
        v = draw(dtype)
        first, second = torch_hvp(params, x, v)
        for found, expected in zip([*H(v), *H.gradient()], [*second, *first]):
            assert found.dtype == dtype and found.shape == expected.shape
            assert np.linalg.norm(found - expected) <= rtol * (np.linalg.norm(expected) + 1e-3)


def test_a_product_is_linear_and_its_matrix_symmetric():
    leaves, x = [variable(p) for p in draw()], rng.normal(size=(5, 3))
    H = ForwardOverReverse([network(leaves, x)], leaves)
    v, w = draw(), draw()
    inner = lambda a, b: sum(np.vdot(p, q) for p, q in zip(a, b))
    np.testing.assert_allclose(inner(w, H(v)), inner(v, H(w)), rtol=1e-12)
    both = H([2 * a - b for a, b in zip(v, w)])
    for p, q, r in zip(both, H(v), H(w)):
        np.testing.assert_allclose(p, 2 * q - r, rtol=1e-12, atol=1e-14)


def test_products_leave_tangents_parameters_and_earlier_results_as_they_were():
    leaves, x = [variable(p) for p in draw()], rng.normal(size=(5, 3))
    H, v = ForwardOverReverse([network(leaves, x)], leaves), draw()
    before = [a.copy() for a in (*v, *(p.data for p in leaves))]
    first = H(v)
    kept = [a.copy() for a in first]
    H(draw())
    for a, b in zip((*v, *(p.data for p in leaves), *first), (*before, *kept)):
        np.testing.assert_array_equal(a, b)
    for results in (ad.hvp(lambda x: x.sum() * x[0], v[1], v[1]), ad.jvp(lambda x: +x, v[1], v[1])[1]):
        results += 1.0  # what the transforms return is the caller's own
    np.testing.assert_array_equal(v[1], before[1])


# What moves and what does not


def test_leaves_that_do_not_matter_or_only_linearly_give_none():
    a, b, c = variable(np.ones(3)), variable(np.ones(3)), variable(np.ones(3))
    H = ForwardOverReverse([(a * a).sum() + b.sum()], [a, b, c])
    np.testing.assert_array_equal(H([np.ones(3)] * 3)[0], [2.0, 2.0, 2.0])
    assert H([np.ones(3)] * 3)[1:] == [None, None]
    assert H([None, np.ones(3), None])[0] is None
    assert ForwardOverReverse([None, Tensor(1.0)], [a])([np.ones(3)]) == [None]
    assert [g is None for g in H.gradient()] == [False, False, True]


def test_only_some_leaves_may_move_the_others_stay():
    a, b = variable(np.array([1.0, 2.0])), variable(np.array([3.0, 4.0]))
    loss = (a * a * b).sum() + (a * b).sum() ** 2
    (found,) = ForwardOverReverse([loss], [b])([np.array([1.0, 0.0])])
    np.testing.assert_allclose(found, 2 * a.data * a.data[0])
    (y,) = Pushforward([a * b], [b])([np.array([1.0, 10.0])])
    np.testing.assert_allclose(y, [1.0, 20.0])


def test_several_outputs_with_their_cotangents_are_summed():
    x = variable(np.array([1.0, 2.0]))
    u = [np.array([1.0, 3.0]), np.array(5.0), None]
    H = ForwardOverReverse([x**3, (x * x).sum(), x.sum() ** 2], [x], u)
    np.testing.assert_allclose(H([np.array([1.0, 1.0])])[0], [6 * 1 + 10, 6 * 2 * 3 + 10])
    np.testing.assert_allclose(H.gradient()[0], [3 + 10, 3 * 3 * 4 + 20])
    same = x * x
    H = ForwardOverReverse([same, same], [x], [np.ones(2), np.ones(2)])
    np.testing.assert_allclose(H([np.ones(2)])[0], [4.0, 4.0])


def test_an_output_may_be_a_leaf_itself():
    x = variable(np.array([1.0, 2.0]))
    assert ForwardOverReverse([x], [x])([np.ones(2)]) == [None]
    np.testing.assert_array_equal(ForwardOverReverse([x], [x]).gradient()[0], [1.0, 1.0])
    np.testing.assert_array_equal(Pushforward([x], [x])([np.array([5.0, 6.0])])[0], [5.0, 6.0])
    np.testing.assert_array_equal(ad.jvp(lambda x: x, np.ones(2), np.array([5.0, 6.0]))[1], [5.0, 6.0])


def test_a_tensor_changed_after_it_was_recorded_is_an_error_never_a_mixture():
    x, c = variable(np.array([1.0, 2.0])), Tensor([1.0, 3.0])
    for changed in (x, c):
        loss = (x * x * c).sum()
        H, J = ForwardOverReverse([loss], [x]), Pushforward([loss], [x])
        changed.data = changed.data + 1.0
        for product in (H, J):
            with pytest.raises(RuntimeError, match=r"input of this multiply \(shape \(2,\)\) was written or assigned"):
                product([np.ones(2)])
        with pytest.raises(RuntimeError, match="was written or assigned"):
            ForwardOverReverse([loss], [x])([np.ones(2)])


# Kinds and rules


@pytest.mark.parametrize("kind", KINDS)
def test_the_sweep_finds_a_wrong_kind(kind):
    right = Primitive(
        "bent", lambda x, axis=None: np.sin(x).sum(axis=axis) ** 2, samples=lambda rng: [Sample((rng.normal(size=3),))],
        vjps=(lambda g, y, x, axis=None: 2 * g * np.sin(x).sum() * np.cos(x),),
    )  # fmt: skip
    wrong = Primitive(right.name, right.forward, right.vjps, samples=right.samples, jvps=kind)
    check_forward(right)
    if kind == "reduction":  # which it is
        return check_forward(wrong)
    with pytest.raises((AssertionError, ValueError)):
        check_forward(wrong)


def test_the_sweep_finds_a_kind_that_is_right_in_first_order_only():
    record = Primitive("cube", lambda x: x**3, vjps=(lambda g, y, x: 3 * g * x**2,), jvps="piecewise",
                       samples=lambda rng: [Sample((rng.normal(size=3),))])  # fmt: skip
    with pytest.raises(AssertionError, match="Not equal"):
        check_forward(record)


def test_an_unknown_kind_is_refused_with_the_list_of_kinds():
    with pytest.raises(ValueError, match=r"product of one's own: jvps takes .* elementwise, .* not 'bilinear'"):
        declare("product of one's own", np.multiply, jvps="bilinear")


def logged(rule, log, name):
    def logging(t, y, *inputs):
        log.append(name)
        return rule(t, y, *inputs)

    return logging


def test_a_forward_rule_of_ones_own_is_used_and_differentiated():
    log = []
    product = ad.primitive(
        lambda a, b: a * b, name="product", vjps=[lambda g, y, a, b: g * b, lambda g, y, a, b: g * a],
        jvps=[logged(lambda t, y, a, b: t * b, log, "a"), logged(lambda t, y, a, b: t * a, log, "b")],
    )  # fmt: skip
    y, slope = ad.jvp(product, (np.array([2.0, 3.0]), 4.0), (np.array([1.0, 0.0]), 1.0))
    np.testing.assert_array_equal(slope, [6.0, 3.0])
    assert log == ["a", "b"]
    assert ad.grad(lambda x: ad.jvp(lambda a: product(a, a), x, 1.0)[1])(3.0) == 2.0
    assert ad.hvp(lambda a: product(a, a), 3.0, 1.0) == 2.0


def test_a_kind_may_be_named_for_an_operation_of_ones_own():
    double = ad.primitive(lambda x: 2 * x, name="double", vjps=[lambda g, y, x: 2 * g], jvps="linear")
    assert ad.jvp(double, 3.0, 5.0) == (6.0, 10.0)
    assert ad.hvp(lambda x: double(x) ** 2, 3.0, 5.0) == 40.0


@pytest.mark.parametrize(
    "jvps, error, match",
    [
        ("straight", ValueError, "cube: jvps takes one rule for each input, or one of elementwise"),
        ([lambda t, y, x: t, lambda t, y, x: t], ValueError, "cube: 2 forward rules for 1 vjps"),
        ([3], TypeError, "jvps"),
    ],
)
def test_forward_rules_that_cannot_be_are_refused(jvps, error, match):
    with pytest.raises(error, match=match):
        ad.primitive(lambda x: x**3, name="cube", vjps=[lambda g, y, x: 3 * g * x**2], jvps=jvps)


def test_a_forward_rule_of_the_wrong_shape_is_named():
    odd = ad.primitive(lambda x: x * 1.0, name="odd", vjps=[lambda g, y, x: g], jvps=[lambda t, y, x: t[:2]])
    with pytest.raises(ValueError, match=r"odd: its forward rule returned shape \(2,\); .* output's shape \(3,\)"):
        ad.jvp(odd, np.ones(3), np.ones(3))


def test_a_forward_rule_that_leaves_the_graph_is_an_error_where_it_would_be_differentiated():
    cut = ad.primitive(
        lambda x: x**2, name="cut", vjps=[lambda g, y, x: 2 * g * x],
        jvps=[lambda t, y, x: 2 * np.asarray(t) * np.asarray(x)],
    )  # fmt: skip
    assert ad.jvp(cut, 3.0, 1.0) == (9.0, 6.0)
    with pytest.raises(TypeError, match="where a derivative of it is taken"):
        ad.grad(lambda x: ad.jvp(cut, x, 1.0)[1])(3.0)


def test_a_rule_may_close_over_a_tensor_that_moves():
    def loss(x, k):
        scaled = ad.primitive(lambda a: a**2, name="own", vjps=[lambda g, y, a: 2 * g * a * k])
        return scaled(x).sum()

    x, k, v = np.array([1.0, 2.0]), 3.0, np.array([1.0, -1.0])
    found = ad.hvp(loss, (x, k), (v, 0.5))
    np.testing.assert_allclose(found[0], 2 * k * v + 2 * x * 0.5)
    assert found[1] == 0.0


def test_a_rule_may_close_over_a_result_that_the_graph_itself_does_not_reach():
    def loss(x):
        k = (x**2).sum()
        return ad.primitive(lambda a: a**2, name="own", vjps=[lambda g, y, a: 2 * g * a * k])(x).sum()

    x, v = np.array([1.0, 2.0]), np.array([1.0, -1.0])
    leaf = variable(x)
    expected = 2 * (x @ x) * v + 4 * x * (x @ v)  # of the gradient as the rule gives it, 2 x k
    np.testing.assert_allclose(ad.hvp(loss, x, v), expected, rtol=1e-12)
    np.testing.assert_allclose(ad.curvature.Hessian(loss(leaf), leaf) @ v, expected, rtol=1e-12)


# Nesting


def test_transforms_of_forward_products_nest_in_any_order():
    f = lambda x: np.sin(x) * x**2  # f', f'', f''' by hand
    x, sin, cos = 0.7, np.sin(0.7), np.cos(0.7)
    second = -sin * x**2 + 4 * x * cos + 2 * sin
    third = -cos * x**2 - 6 * x * sin + 6 * cos
    d = lambda g: lambda x: ad.jvp(g, x, 1.0)[1]
    for twice in (d(d(f)), d(ad.grad(f)), ad.grad(d(f)), lambda x: ad.hvp(f, x, 1.0)):
        np.testing.assert_allclose(twice(x), second, rtol=1e-12)
    for thrice in (d(d(d(f))), d(d(ad.grad(f))), ad.grad(d(d(f))), d(ad.grad(d(f))), ad.grad(ad.grad(d(f))),
                   d(lambda x: ad.hvp(f, x, 1.0)), ad.grad(lambda x: ad.hvp(f, x, 1.0)),
                   lambda x: ad.hvp(d(f), x, 1.0)):  # fmt: skip
        np.testing.assert_allclose(thrice(x), third, rtol=1e-12)


def test_an_inner_forward_product_does_not_confuse_its_variable_with_the_outer_one():
    outer = lambda x: x * ad.jvp(lambda y: x * y, 2.0, 1.0)[1]
    assert ad.jvp(outer, 3.0, 1.0)[1] == 6.0 and ad.grad(outer)(3.0) == 6.0
    tangent = lambda x: ad.jvp(lambda y: y**2, 2.0, x)[1]
    assert ad.jvp(tangent, 3.0, 1.0)[1] == 4.0 and ad.grad(tangent)(3.0) == 4.0


def test_second_derivatives_of_the_layers_agree_with_two_reverse_passes():
    nn.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, dtype=np.float64), nn.GELU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(8, 5, dtype=np.float64), nn.LayerNorm(5, dtype=np.float64), nn.ReLU(),
        nn.Linear(5, 3, dtype=np.float64),
    )  # fmt: skip
    params = list(model.parameters())
    x, target = rng.normal(size=(4, 1, 4, 4)), np.array([0, 2, 1, 1])
    loss = nn.functional.cross_entropy(model(Tensor(x)), target)
    v = [rng.normal(size=p.shape) for p in params]
    first = ad.gradients(loss, params, create_graph=True)
    H = ForwardOverReverse([loss], params)
    for found, g, expected, again in zip(H.gradient(), first, ad.gradients(first, params, v), H(v)):
        np.testing.assert_allclose(found, g.data, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(again, expected.data, rtol=1e-9, atol=1e-12)
    (slope,) = Pushforward([loss], params)(v)
    np.testing.assert_allclose(slope, sum(np.vdot(g.data, d) for g, d in zip(first, v)), rtol=1e-11)


# What only the reverse pass knows


def test_hooks_are_heard_in_products_as_they_are_in_gradients():
    def f(x):
        h = x * x
        h.register_hook(lambda g: 3 * g)
        return (h * x).sum()

    x, v = np.array([1.0, 2.0]), np.array([1.0, -1.0])
    np.testing.assert_allclose(ad.grad(f)(x), 7 * x**2)
    x_ = variable(x)
    twice = ad.gradients(ad.gradients(f(x_), x_, create_graph=True), x_, [v])[0].data  # hears it in both passes
    np.testing.assert_allclose(ad.hvp(f, x, v), twice)
    np.testing.assert_allclose(ad.jvp(f, x, v)[1], np.vdot(7 * x**2, v))
    leaf = variable(x)
    with pytest.raises(Unsupported):
        ForwardOverReverse([f(leaf)], [leaf])


def test_a_branch_not_taken_gives_no_nan():
    for branch in (np.sqrt, np.log, lambda x: x**0.5, lambda x: 1 / x):
        f = lambda x, branch=branch: np.where(x > 0, branch(x), x).sum()
        v = np.array([1.0, 1.0])
        with np.errstate(all="ignore"):
            for x in (np.array([0.0, 2.0]), np.array([-1.0, 2.0])):
                assert np.isfinite(ad.jvp(f, x, v)[1])
                product = ad.hvp(f, x, v)
                assert product[0] == 0.0 and np.isfinite(product).all()


def test_anomalies_are_found_in_products():
    with ad.detect_anomaly(), np.errstate(all="ignore"), pytest.raises(Exception, match=r"log|divide|sqrt"):
        ad.hvp(lambda x: np.sqrt(x).sum(), np.zeros(2), np.ones(2))


def test_products_go_through_checkpoints():
    def f(x):
        return ad.checkpoint(lambda h: np.tanh(h) * x, x * x).sum()

    plain = lambda x: (np.tanh(x * x) * x).sum()
    x, v = np.array([0.3, -0.8]), np.array([1.0, 2.0])
    np.testing.assert_allclose(ad.jvp(f, x, v)[1], ad.jvp(plain, x, v)[1], rtol=1e-12)
    np.testing.assert_allclose(ad.hvp(f, x, v), ad.hvp(plain, x, v), rtol=1e-12)
    np.testing.assert_allclose(ad.jvp(ad.grad(f), x, v)[1], ad.hvp(plain, x, v), rtol=1e-12)


# Cost, memory, threads, depth


def test_a_forward_product_calls_each_rule_once_and_the_function_once():
    calls = []
    rule = lambda g, y, x: calls.append("rule") or g * np.cos(x)
    sine = ad.primitive(lambda x: calls.append("forward") or np.sin(x), name="sine", vjps=[rule], jvps="elementwise")
    ad.jvp(lambda x: sine(sine(x)), np.ones(3), np.ones(3))
    assert calls == ["forward", "forward", "rule", "rule"]


def test_a_product_does_not_compute_what_only_the_gradient_needs():
    """The derivative of a product by a leaf is not taken at u itself, only its change."""
    calls = []
    log = lambda name, rule: lambda g, y, a, b: calls.append(name) or rule(g, y, a, b)
    times = ad.primitive(
        np.matmul, name="times", jvps="multilinear",
        vjps=[log("by x", lambda g, y, a, b: g @ b.T), log("by w", lambda g, y, a, b: a.T @ g)],
    )  # fmt: skip
    x, w = rng.normal(size=(3, 3)), variable(np.eye(3))
    H = ForwardOverReverse([(times(Tensor(x), w) ** 2).sum()], [w])
    assert calls == []
    H([np.eye(3)])
    assert calls == ["by w"]
    H.gradient()
    assert calls == ["by w", "by w"]


def test_memory_does_not_grow_over_a_thousand_products_without_the_garbage_collector():
    leaves, x, v = [variable(p) for p in draw()], rng.normal(size=(5, 3)), draw()
    H = ForwardOverReverse([network(leaves, x)], leaves)
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for product in (H, lambda v: Pushforward([network(leaves, x)], leaves)(v),
                        lambda v: ForwardOverReverse([network(leaves, x)], leaves)(v)):  # fmt: skip
            for _ in range(20):
                product(v)
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(1000 if product is H else 200):
                product(v)
            assert tracemalloc.get_traced_memory()[0] - before < 30_000
        assert gc.collect() == 0
    finally:
        tracemalloc.stop()
        if enabled:
            gc.enable()


def test_one_operator_serves_several_threads():
    leaves, x = [variable(p) for p in draw()], rng.normal(size=(5, 3))
    H = ForwardOverReverse([network(leaves, x)], leaves)
    vectors = [draw() for _ in range(4)]
    expected, wrong = [H(v) for v in vectors], []

    def work(v, right):
        for _ in range(50):
            if not all(np.array_equal(a, b) for a, b in zip(H(v), right)):
                wrong.append(v)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(vectors, expected)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_hundred_thousand_operations_deep_is_no_recursion():
    def deep(x):
        y = x
        for _ in range(50_000):
            y = y * 1.00001 + x
        return y.sum()

    assert np.isfinite(ad.jvp(deep, np.ones(2), np.ones(2))[1])
    np.testing.assert_array_equal(ad.hvp(deep, np.ones(2), np.ones(2)), [0.0, 0.0])

"""Transforms of functions, against closed forms, PyTorch and the matrices they stand for."""

import gc
import threading
import tracemalloc
import warnings
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import autodiff as ad
from autodiff import Tensor
from autodiff.transforms import functional
from autodiff.transforms.tree import flatten, tree_map
from tests.processor_time import least_times


def cube(x):
    return x**3


def network(p, x):
    return np.tanh(x @ p["w"] + p["b"])


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# Trees


Point = namedtuple("Point", "x y")


def test_trees_are_rebuilt_with_their_own_types_and_with_none_in_place():
    tree = {"a": [1, (2, None)], "b": Point(3, {"c": 4}), "d": OrderedDict(z=5, y=6)}
    leaves, form = flatten(tree)
    assert leaves == [1, 2, 3, 4, 5, 6]
    again = form.build(leaves)
    assert again == tree and type(again["b"]) is Point and type(again["d"]) is OrderedDict
    assert tree_map(lambda v: -v, tree)["b"] == Point(-3, {"c": -4})


def test_a_tree_of_another_form_is_refused_at_the_place_where_it_differs():
    _, form = flatten({"a": [1, 2], "b": (3,)})
    assert form.leaves_of({"b": (6,), "a": [4, 5]}, "here") == [4, 5, 6]
    for other, place in [
        ({"a": [1, 2]}, r"here: needs a dict with the keys \['a', 'b'\]"),
        ({"a": [1], "b": (3,)}, r"here\['a'\]: needs a list of 2, not a list of 1"),
        ({"a": [1, (2, 2)], "b": (3,)}, r"here\['a'\]\[1\]: needs an array or a number"),
        ({"a": [1, 2], "b": [3]}, r"here\['b'\]: needs a tuple of 1"),
    ]:
        with pytest.raises(ValueError, match=place):
            form.leaves_of(other, "here")


_trees = st.recursive(
    st.none() | st.integers(),
    lambda t: st.lists(t) | st.lists(t).map(tuple) | st.dictionaries(st.text(max_size=2), t) | st.builds(Point, t, t),
    max_leaves=8,
)


@settings(deadline=None, max_examples=50)
@given(_trees)
def test_any_tree_comes_back_and_has_a_path_for_each_leaf(tree):
    leaves, form = flatten(tree)
    assert form.build(leaves) == tree and form.leaves_of(tree, "") == leaves
    assert [eval("tree" + path, {"tree": tree}) for path in form.paths()] == leaves


# grad: what it takes and returns


def test_derivatives_of_a_cube_to_the_fourth_order():
    f = cube
    for expected in (12.0, 12.0, 6.0, 0.0):
        f = ad.grad(f)
        result = f(2.0)
        assert type(result) is float and result == expected


def test_a_gradient_is_the_kind_of_thing_its_argument_is():
    f = lambda x: (x * x).sum()
    assert type(ad.grad(f)(3)) is float
    assert type(ad.grad(f)(np.float32(3))) is np.float32
    assert type(ad.grad(f)(np.int64(3))) is np.float64
    zero_d = ad.grad(f)(np.array(3.0, np.float32))
    assert type(zero_d) is np.ndarray and zero_d.shape == () and zero_d.dtype == np.float32
    array = ad.grad(f)(np.ones((2, 1), np.float32))
    assert type(array) is np.ndarray and array.dtype == np.float32 and array.shape == (2, 1)
    assert array.flags.writeable and array.flags.owndata
    tensor = ad.grad(f)(Tensor([1.0, 2.0]))
    assert type(tensor) is Tensor and not tensor.requires_grad and tensor.tolist() == [2.0, 4.0]


def test_value_and_grad_returns_both_of_one_run():
    calls = []

    def f(x):
        calls.append(1)
        return (x**3).sum()

    y, g = ad.value_and_grad(f)(np.array([1.0, 2.0]))
    assert y == 9.0 and not isinstance(y, Tensor) and len(calls) == 1
    np.testing.assert_array_equal(g, [3.0, 12.0])
    assert ad.value_and_grad(cube)(2.0) == (8.0, 12.0)


def test_argnums_choose_arguments_and_the_rest_is_passed_on():
    def f(a, b, *, scale, power=1):
        assert scale == 10 and isinstance(a, (float, Tensor))
        return (a * b**power).sum() * scale

    assert ad.grad(f)(2.0, 3.0, scale=10) == 30.0
    assert ad.grad(f, 1)(2.0, 3.0, scale=10, power=2) == 120.0
    assert ad.grad(f, -1)(2.0, 3.0, scale=10) == 20.0
    assert ad.grad(f, (1, 0))(2.0, 3.0, scale=10) == (20.0, 30.0)
    assert ad.grad(f, (0,))(2.0, 3.0, scale=10) == (30.0,)
    seen = []
    ad.grad(lambda x, *rest: (seen.append(rest), x)[1])(1.0, "text", [1, 2], None)
    assert seen == [("text", [1, 2], None)]


@pytest.mark.parametrize(
    "call, error, match",
    [
        (lambda: ad.grad(cube, 1)(2.0), TypeError, "argnums 1 is out of range for 1 positional"),
        (lambda: ad.grad(cube)(x=2.0), TypeError, "passed by position"),
        (lambda: ad.grad(cube, (0, -1))(2.0), ValueError, "twice"),
        (lambda: ad.grad(cube, "x"), TypeError, "argnums"),
        (lambda: ad.grad(cube, np.ones(2)), TypeError, r"at x is ad\.grad\(f\)\(x\)"),
        (lambda: ad.jacobian(cube, np.ones(2)), TypeError, r"at x is ad\.jacobian\(f\)\(x\)"),
        (lambda: ad.hessian(cube, Tensor(np.ones(2))), TypeError, r"at x is ad\.hessian\(f\)\(x\)"),
        (lambda: ad.grad(cube, ()), TypeError, "argnums"),
        (lambda: ad.grad(3.0), TypeError, "needs a function"),
        (lambda: ad.grad(lambda x: x)(np.ones(3)), ValueError, r"grad: .*\(3,\).*jacobian.*elementwise_grad"),
        (lambda: ad.hessian(lambda x: x)(np.ones(3)), ValueError, r"hessian: .*\(3,\)"),
        (lambda: ad.hvp(lambda x: x, np.ones(3), np.ones(3)), ValueError, r"hvp: .*\(3,\)"),
        (lambda: ad.grad(lambda x: 3.0)(1.0), TypeError, r"must return a Tensor.*not 3.0 \(float\)"),
        (lambda: ad.grad(lambda x: float(x) ** 2)(1.0), TypeError, "must return a Tensor"),
        (lambda: ad.grad(lambda x: x.numpy())(np.ones(2)), TypeError, r"array of shape \(2,\)"),
        (lambda: ad.grad(lambda x: None)(1.0), TypeError, "not None"),
        (lambda: ad.grad(lambda x: (x, x))(1.0), TypeError, "must return one Tensor, not a tuple of 2"),
        (lambda: ad.grad(lambda x: {"y": x})(1.0), TypeError, "must return one Tensor, not a dict"),
        (lambda: ad.jacobian(lambda x: [x, 1.0])(1.0), TypeError, "must return a Tensor"),
        (lambda: ad.grad(cube)(np.arange(3)), TypeError, r"int64.*pass floats"),
        (lambda: ad.grad(cube)(Tensor([1, 2])), TypeError, r"int64.*pass floats"),
        (lambda: ad.grad(cube)(True), TypeError, "bool"),
        (lambda: ad.grad(cube)([1.0, "a"]), TypeError, r"\[0\]\[1\].*str"),
    ],
)
def test_what_cannot_be_differentiated_is_refused_with_a_reason(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_an_output_of_one_element_counts_as_a_scalar():
    np.testing.assert_array_equal(ad.grad(lambda x: (x * x).sum(keepdims=True))(np.array([1.0, 2.0])), [2.0, 4.0])


def test_nested_arguments_give_nested_gradients():
    p = {"w": draw(3, 2), "layers": [Point(1.5, draw(2)), None, (2.0,)]}
    x = draw(4, 3)

    def f(p, x):
        (first, none, (scale,)) = p["layers"]
        assert none is None and isinstance(first, Point)
        return ((x @ p["w"] + first.y) * first.x * scale).sum()

    g = ad.grad(f)(p, x)
    assert list(g) == ["w", "layers"] and type(g["layers"][0]) is Point and g["layers"][1] is None
    np.testing.assert_allclose(g["w"], np.repeat(x.sum(0)[:, None], 2, 1) * 3.0)
    np.testing.assert_allclose(g["layers"][0].y, [12.0, 12.0])
    np.testing.assert_allclose(g["layers"][0].x, (x @ p["w"] + p["layers"][0].y).sum() * 2.0)
    assert type(g["layers"][2][0]) is float
    assert ad.grad(lambda p: Tensor(1.0))([]) == []


def test_arguments_are_not_changed_and_results_share_no_memory_with_them():
    x = np.array([1.0, 2.0])
    y, pullback = ad.vjp(lambda x: x, x)
    y += 100.0
    assert x.tolist() == [1.0, 2.0]
    (g,) = pullback(x)
    g += 100.0
    assert x.tolist() == [1.0, 2.0]
    y, y_dot = ad.jvp(lambda x: x, x, x)
    y += 1.0
    y_dot += 1.0
    assert x.tolist() == [1.0, 2.0]


def test_writing_to_the_arguments_or_the_value_after_vjp_does_not_change_its_pullback():
    x = np.array([1.0, 2.0])
    y, pullback = ad.vjp(lambda x: np.exp(x) * x, x)
    expected = pullback(np.ones(2))[0]
    x += 1.0
    y += 1.0
    np.testing.assert_array_equal(pullback(np.ones(2))[0], expected)


def test_a_tensor_that_does_not_depend_on_an_argument_gives_zeros():
    assert ad.grad(lambda x: Tensor(3.0))(2.0) == 0.0
    assert ad.grad(lambda x, y: x * 2, (0, 1))(2.0, np.ones(2))[1].tolist() == [0.0, 0.0]
    assert ad.hessian(lambda x: (2 * x).sum())(np.ones(2)).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert ad.hvp(lambda x: x.sum(), np.ones(2), np.ones(2)).tolist() == [0.0, 0.0]
    assert ad.jvp(lambda x: Tensor([1.0, 2.0]), 3.0, 1.0)[1].tolist() == [0.0, 0.0]
    assert ad.jacobian(lambda x: x.argmax(keepdims=True))(np.ones(2)).tolist() == [[0.0, 0.0]]


def test_zeros_also_come_out_of_nested_transforms():
    assert ad.grad(lambda x: ad.grad(lambda y: 2.0 * y)(x))(3.0) == 0.0
    assert ad.grad(lambda x: ad.grad(lambda y: x + y)(2.0))(3.0) == 0.0
    assert ad.grad(lambda x: ad.grad(lambda y: x * 1.0)(2.0))(3.0) == 0.0
    assert ad.grad(lambda x: ad.grad(lambda y: Tensor(1.0))(x))(3.0) == 0.0
    assert ad.grad(lambda x: ad.jvp(lambda y: 3 * y, x, 1.0)[1])(3.0) == 0.0
    assert ad.grad(lambda x: ad.hvp(lambda y: y * y, x, 1.0))(3.0) == 0.0


# Fresh variables and nesting


def test_the_rows_of_a_jacobian_take_no_more_memory_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(functional, "ROOM", 1 << 16)
    wide, out = np.random.default_rng(0).normal(size=(2, 10_000)), np.random.default_rng(1).normal(size=(10_000, 60))
    f = lambda x: np.tanh(x @ wide) @ out  # all 60 rows at once: 5 MB for every array between
    x = np.array([0.3, -0.2])
    tracemalloc.start()
    try:
        found = ad.jacobian(f)(x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_allclose(found, (wide * (1 - np.tanh(x @ wide) ** 2) @ out).T, rtol=1e-10)
    assert peak < 4e6


def test_the_jacobian_of_a_wide_network_takes_a_third_of_the_time_of_its_rows():
    rng = np.random.default_rng(0)
    a, b, c = (rng.normal(size=s).astype(np.float32) / 16 for s in ((784, 256), (256, 128), (128, 100)))
    f = lambda x: np.tanh(np.tanh(x @ a) @ b) @ c
    x, rows = rng.normal(size=784).astype(np.float32), np.eye(100, dtype=np.float32)

    def one_by_one():
        given = Tensor(x, requires_grad=True)
        y = f(given)
        return np.stack([ad.gradients(y, given, row)[0].data for row in rows])

    np.testing.assert_allclose(ad.jacobian(f)(x), one_by_one(), rtol=1e-3, atol=1e-5)
    all_at_once, loop = least_times(
        lambda: ad.jacobian(f)(x), one_by_one, rounds=12, enough=lambda a, b: a < b / 5
    )  # fmt: skip
    assert all_at_once < loop / 3  # about a sixth where nothing else runs


def test_the_same_tensor_in_two_places_gives_partial_derivatives():
    t = Tensor(3.0, requires_grad=True)
    a, b = ad.grad(lambda x, y: x * x * y, (0, 1))(t, t)
    assert (a.item(), b.item()) == (18.0, 9.0)
    assert ad.grad(lambda x: x * t)(t).item() == 3.0  # t is closed over: held fixed
    (total,) = ad.gradients(ad.grad(lambda x: x * t)(t), t)
    assert total.item() == 1.0  # and yet the result depends on it


def test_an_inner_function_that_closes_over_the_outer_variable_is_differentiated_by_the_right_one():
    assert ad.grad(lambda x: x * ad.grad(lambda y: x * y)(2.0))(3.0) == 6.0
    assert ad.grad(lambda x: x * ad.grad(lambda y: x + y)(1.0))(1.0) == 1.0
    assert ad.grad(lambda x: ad.grad(lambda y: x**2 * y**3)(x))(2.0) == 2 * 3 * 2.0**3 + 3 * 2 * 2.0**3
    # three deep: d/dx [x · d/dy (y · d/dz (x y z)|₂)|₃] = d/dx [x · d/dy (x y²)|₃] = d/dx 6 x² = 12 x
    deep = lambda x: x * ad.grad(lambda y: y * ad.grad(lambda z: x * y * z)(2.0))(3.0)
    assert ad.grad(deep)(5.0) == 60.0


def test_results_that_depend_on_a_recorded_tensor_are_tensors_that_go_on():
    w = Tensor([1.0, 2.0], requires_grad=True)
    x = np.array([3.0, 4.0])
    g = ad.grad(lambda x: (w * x**2).sum())(x)
    assert isinstance(g, Tensor) and g.requires_grad
    (by_w,) = ad.gradients(g.sum(), w)
    np.testing.assert_array_equal(by_w.numpy(), 2 * x)
    y, pullback = ad.vjp(lambda x: w * x**2, x)
    assert ad.gradients(y.sum(), w)[0].tolist() == [9.0, 16.0]
    assert ad.gradients(pullback(np.ones(2))[0].sum(), w)[0].tolist() == [6.0, 8.0]
    H = ad.hessian(lambda x: (w * x**2).sum())(x)
    assert ad.gradients(H.sum(), w)[0].tolist() == [2.0, 2.0]
    assert ad.gradients(ad.hvp(lambda x: (w * x**2).sum(), x, np.ones(2)).sum(), w)[0].tolist() == [2.0, 2.0]
    assert w.grad is None


def test_arrays_come_out_where_recording_is_off_and_recording_is_on_inside():
    w = Tensor([1.0, 2.0], requires_grad=True)
    seen = []
    with ad.no_grad():
        g = ad.grad(lambda x: (seen.append(ad.is_grad_enabled()), (w * x * x).sum())[1])(np.ones(2))
        h = ad.hvp(lambda x: (w * x * x).sum(), np.ones(2), np.ones(2))
        t = ad.grad(lambda x: (x * x).sum())(w)
        assert not ad.is_grad_enabled()
    assert seen == [True]
    assert type(g) is np.ndarray and g.tolist() == [2.0, 4.0]
    assert type(h) is np.ndarray and h.tolist() == [2.0, 4.0]
    assert type(t) is Tensor and not t.requires_grad and t.tolist() == [2.0, 4.0]


def test_a_recorded_argument_stays_connected_to_its_history():
    w = Tensor([1.0, 2.0], requires_grad=True)
    h = np.exp(w)
    g = ad.grad(lambda h: (h**3).sum())(h)  # 3 h² = 3 e^(2w)
    (by_w,) = ad.gradients(g.sum(), w)
    np.testing.assert_allclose(by_w.numpy(), 6 * np.exp(2 * w.numpy()), rtol=1e-14)


def test_grad_modes_inside_the_function_are_respected():
    def f(x):
        with ad.no_grad():
            constant = x * 10.0
        return x * constant

    assert ad.grad(f)(2.0) == 20.0


def test_every_transform_nests_in_every_other():
    x, v = np.array([0.3, -0.7, 1.1]), np.array([1.0, 2.0, -1.0])
    f = lambda x: (np.sin(x) * x[::-1] ** 2).sum()
    H = ad.hessian(f)(x)
    third = ad.jacobian(ad.hessian(f))(x)
    np.testing.assert_allclose(H, H.T, rtol=1e-12)
    np.testing.assert_allclose(ad.hvp(f, x, v), H @ v, rtol=1e-12)
    np.testing.assert_allclose(ad.jvp(ad.grad(f), x, v)[1], H @ v, rtol=1e-12)
    np.testing.assert_allclose(ad.vjp(ad.grad(f), x)[1](v)[0], H @ v, rtol=1e-12)
    np.testing.assert_allclose(ad.grad(lambda x: ad.jvp(f, x, v)[1])(x), H @ v, rtol=1e-12)
    np.testing.assert_allclose(ad.jacobian(lambda x: ad.vjp(f, x)[1](1.0)[0])(x), H, rtol=1e-12)
    np.testing.assert_allclose(ad.grad(lambda x: ad.hessian(f)(x).sum())(x), third.sum((0, 1)), rtol=1e-12)
    np.testing.assert_allclose(ad.jacobian(lambda x: ad.hvp(f, x, v))(x), third @ v, rtol=1e-12)
    np.testing.assert_allclose(ad.hessian(lambda x: ad.hvp(f, x, v) @ v)(x), ad.hessian(
        lambda x: ad.jvp(lambda x: ad.jvp(f, x, v)[1], x, v)[1])(x), rtol=1e-10)  # fmt: skip
    np.testing.assert_allclose(ad.jvp(lambda x: ad.jvp(f, x, v)[1], x, v)[1], v @ H @ v, rtol=1e-12)
    np.testing.assert_allclose(ad.elementwise_grad(ad.elementwise_grad(np.sin))(x), -np.sin(x), rtol=1e-14)
    gn = lambda x: ad.gauss_newton_vp(np.sin, lambda z: (z**4).sum(), x, v).sum()
    closed = lambda x: (np.cos(x) ** 2 * 12 * np.sin(x) ** 2 * v).sum()
    np.testing.assert_allclose(ad.grad(gn)(x), ad.grad(closed)(x), rtol=1e-12)


# Against PyTorch


def test_transforms_agree_with_torch_func():
    torch = pytest.importorskip("torch")
    p = {"w": draw(3, 2), "b": draw(2, seed=1)}
    v = {"w": draw(3, 2, seed=2), "b": draw(2, seed=3)}
    x, u = draw(4, 3, seed=4), draw(4, 2, seed=5)
    T = lambda tree: tree_map(torch.from_numpy, tree)
    f = lambda p: network(p, x)
    tf = lambda p: torch.tanh(torch.from_numpy(x) @ p["w"] + p["b"])
    loss, tloss = (lambda p: (f(p) ** 3).sum()), (lambda p: (tf(p) ** 3).sum())
    same = lambda a, b: [np.testing.assert_allclose(c, d.numpy(), rtol=1e-9, atol=1e-12)
                         for c, d in zip(flatten(a)[0], flatten(b)[0], strict=True)]  # fmt: skip
    same(ad.grad(loss)(p), torch.func.grad(tloss)(T(p)))
    same(ad.vjp(f, p)[1](u), torch.func.vjp(tf, T(p))[1](torch.from_numpy(u)))
    same(ad.jvp(f, p, v), torch.func.jvp(tf, (T(p),), (T(v),)))
    same(ad.jacobian(f)(p), torch.func.jacrev(tf)(T(p)))
    same(ad.hessian(loss)(p), torch.func.hessian(tloss)(T(p)))
    same(ad.hvp(loss, p, v), torch.func.jvp(torch.func.grad(tloss), (T(p),), (T(v),))[1])


# vjp and jvp


def test_pullback_takes_a_cotangent_in_the_form_of_the_value_and_always_returns_a_tuple():
    f = lambda a, b: {"sum": a + b, "both": (a * b, b.sum())}
    y, pullback = ad.vjp(f, np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    assert y["both"][0].tolist() == [3.0, 8.0] and y["both"][1] == 7.0
    g = {"both": (np.array([1.0, 10.0]), 100.0), "sum": np.array([1.0, 1.0])}
    for _ in range(2):
        a, b = pullback(g)
        assert a.tolist() == [4.0, 41.0] and b.tolist() == [102.0, 121.0]
    assert ad.vjp(cube, 2.0)[1](1.0) == (12.0,)
    assert ad.vjp(lambda p: p[0] * p[1], [2.0, 3.0])[1](1.0) == ([3.0, 2.0],)


@pytest.mark.parametrize(
    "cotangent, error, match",
    [
        (np.ones(3), ValueError, r"cotangent: has shape \(3,\) where shape \(2,\)"),
        (1.0, ValueError, r"has shape \(\)"),
        ((np.ones(2),), ValueError, "a tuple of 1"),
        (None, ValueError, "None"),
        (np.ones(2, np.float64), TypeError, r"float64 where float32.*astype"),
    ],
)
def test_a_cotangent_that_does_not_fit_is_refused(cotangent, error, match):
    _, pullback = ad.vjp(np.exp, np.ones(2, np.float32))
    with pytest.raises(error, match=match):
        pullback(cotangent)
    assert pullback([1.0, 1.0])[0].dtype == np.float32  # Python numbers are weak


@pytest.mark.parametrize("transform", [ad.jvp, ad.hvp, lambda f, p, t: ad.gauss_newton_vp(f, lambda z: z, p, t)])
def test_tangents_have_the_form_of_the_primals(transform):
    f = lambda a, b=1.0: (a * b).sum()
    for primals, tangents, match in [
        ((np.ones(2), 1.0), (np.ones(2),), "needs a tuple of 2"),
        ((np.ones(2), 1.0), [np.ones(2), 1.0], "needs a tuple of 2, not a list"),
        (np.ones(2), np.ones(3), r"shape \(3,\) where shape \(2,\)"),
        (np.ones(2), (np.ones(2),), "needs an array"),
        (np.ones(2), None, "None"),
    ]:
        with pytest.raises(ValueError, match=match):
            transform(f, primals, tangents)


def test_only_a_tuple_means_several_primals():
    pair = lambda p: p[0] * p[1] ** 2
    assert ad.hvp(pair, [2.0, 3.0], [1.0, 0.0]) == [0.0, 6.0]
    assert ad.hvp(lambda a, b: pair((a, b)), (2.0, 3.0), (1.0, 0.0)) == (0.0, 6.0)
    assert ad.hvp(cube, (2.0,), (1.0,)) == (12.0,)
    assert ad.hvp(lambda d: d["a"] ** 3, {"a": 2.0}, {"a": 1.0}) == {"a": 12.0}
    assert ad.jvp(pair, [2.0, 3.0], [1.0, 1.0]) == (18.0, 9.0 + 12.0)


def test_tangents_that_are_recorded_tensors_are_differentiated_through():
    v = Tensor([1.0, -1.0], requires_grad=True)
    x = np.array([2.0, 3.0])
    _, y_dot = ad.jvp(lambda x: x**2, x, v)
    assert ad.gradients(y_dot.sum(), v)[0].tolist() == [4.0, 6.0]
    assert ad.gradients(ad.hvp(lambda x: (x**3).sum(), x, v).sum(), v)[0].tolist() == [12.0, 18.0]
    _, pullback = ad.vjp(lambda x: x**2, x)
    assert ad.gradients(pullback(v)[0].sum(), v)[0].tolist() == [4.0, 6.0]
    assert ad.jacobian(lambda g: pullback(g)[0])(np.ones(2)).tolist() == [[4.0, 0.0], [0.0, 6.0]]


def test_jvp_at_zero_times_infinity_in_a_branch_not_taken_is_zero():
    f = lambda x: np.where(x > 0, np.sqrt(x), 0.0)
    with np.errstate(all="ignore"):
        _, y_dot = ad.jvp(f, np.array([0.0, 4.0]), np.array([1.0, 1.0]))
    assert y_dot.tolist() == [0.0, 0.25]


@settings(deadline=None, max_examples=50)
@given(
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    dtype=st.sampled_from([np.float64, np.float32]),
    data=st.data(),
)
def test_products_agree_with_the_jacobian_for_every_shape(shape, dtype, data):
    arrays = hnp.arrays(dtype, shape, elements=st.integers(-4, 4))
    x, v, u = (data.draw(arrays) / 4 for _ in range(3))
    f = lambda x: np.tanh(x) * (x * x).sum() + x
    y, y_dot = ad.jvp(f, x, v)
    (pulled,) = ad.vjp(f, x)[1](u)
    J = ad.jacobian(f)(x)
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-12}
    assert J.shape == shape + shape and y_dot.shape == pulled.shape == y.shape == shape
    assert J.dtype == y_dot.dtype == pulled.dtype == dtype
    matrix = J.reshape(x.size, x.size)
    np.testing.assert_allclose(y_dot.ravel(), matrix @ v.ravel(), **tolerance)
    np.testing.assert_allclose(np.ravel(pulled), u.ravel() @ matrix, **tolerance)
    H = ad.jacobian(ad.grad(lambda x: f(x).sum()))(x).reshape(x.size, x.size)
    np.testing.assert_allclose(np.ravel(ad.hvp(lambda x: f(x).sum(), x, v)), H @ v.ravel(), **tolerance)


# Matrices


def test_jacobian_of_nested_outputs_and_arguments_is_nested_the_outputs_outside():
    f = lambda p, x: {"y": p["a"] * x, "s": [x.sum()]}
    J = ad.jacobian(f, (0, 1))({"a": np.ones((2, 1))}, np.array([1.0, 2.0, 3.0]))
    assert J["y"][0]["a"].shape == (2, 3, 2, 1) and J["y"][1].shape == (2, 3, 3)
    assert J["s"][0][0]["a"].shape == (2, 1) and J["s"][0][1].tolist() == [1.0, 1.0, 1.0]
    np.testing.assert_array_equal(
        J["y"][0]["a"][:, :, :, 0], np.eye(2)[:, None, :] * np.array([1.0, 2.0, 3.0])[:, None]
    )
    np.testing.assert_array_equal(J["y"][1], np.stack([np.eye(3)] * 2))


def test_jacobian_runs_the_function_once():
    calls = []
    ad.jacobian(lambda x: (calls.append(1), x * x)[1])(np.ones(5))
    assert len(calls) == 1


def test_jacobian_shapes_for_scalars_and_empty_arrays():
    assert ad.jacobian(cube)(2.0) == 12.0
    assert ad.jacobian(lambda x: np.stack([x, x * x]))(3.0).tolist() == [1.0, 6.0]
    assert ad.jacobian(lambda x: x[:0])(np.ones(3)).shape == (0, 3)
    assert ad.jacobian(lambda x: x[:2])(np.ones((3, 0))).shape == (2, 0, 3, 0)
    assert ad.jacobian(lambda x: x * 2)(np.ones(3, np.float32)).dtype == np.float32


def test_hessian_of_several_arguments_has_a_block_for_each_pair():
    f = lambda a, b: (a**2).sum() * b
    a = np.array([1.0, 2.0])
    (aa, ab), (ba, bb) = ad.hessian(f, (0, 1))(a, 3.0)
    np.testing.assert_array_equal(aa, 6 * np.eye(2))
    np.testing.assert_array_equal(ab, 2 * a)
    np.testing.assert_array_equal(ba, 2 * a)
    assert bb == 0.0
    nested = ad.hessian(lambda p: (p["a"] ** 2).sum() * p["b"])({"a": a, "b": 3.0})
    np.testing.assert_array_equal(nested["a"]["b"], 2 * a)


def test_elementwise_grad_is_the_derivative_at_each_element():
    x = draw(3, 4)
    np.testing.assert_allclose(ad.elementwise_grad(np.tanh)(x), 1 - np.tanh(x) ** 2, rtol=1e-14)
    assert ad.elementwise_grad(np.tanh)(0.0) == 1.0
    np.testing.assert_allclose(ad.elementwise_grad(lambda a, b: a**b, 1)(2.0, np.array([1.0, 3.0])),
                               np.log(2) * np.array([2.0, 8.0]))  # fmt: skip


def test_gauss_newton_product_is_the_product_with_the_explicit_matrix():
    p = {"w": draw(3, 2), "b": draw(2, seed=1)}
    v = {"w": draw(3, 2, seed=2), "b": draw(2, seed=3)}
    x = draw(4, 3, seed=4)
    model = lambda p: network(p, x)
    loss = lambda z: np.log(np.exp(z).sum(axis=1)).sum() + (z**4).sum()
    flat = lambda tree, n: np.concatenate([tree["w"].reshape(n, -1), tree["b"].reshape(n, -1)], axis=1)
    J = flat(ad.jacobian(model)(p), 8)
    H = ad.hessian(loss)(np.tanh(x @ p["w"] + p["b"])).reshape(8, 8)
    product = ad.gauss_newton_vp(model, loss, p, v)
    np.testing.assert_allclose(flat(product, 1)[0], J.T @ H @ J @ flat(v, 1)[0], rtol=1e-11)


def test_gauss_newton_of_a_linear_model_is_the_hessian_and_outputs_may_be_nested():
    A, x, v = draw(4, 3), draw(3, seed=1), draw(3, seed=2)
    model, loss = (lambda x: (A @ x, [x * 2.0])), (lambda z: (z[0] ** 4).sum() * (z[1][0] ** 2).sum())
    np.testing.assert_allclose(
        ad.gauss_newton_vp(model, loss, x, v), ad.hvp(lambda x: loss(model(x)), x, v), rtol=1e-11
    )
    a, b = ad.gauss_newton_vp(lambda a, b: a * b, lambda z: z * z, (2.0, 3.0), (1.0, 0.0))
    assert (a, b) == (18.0, 12.0)


# Memory, threads, depth


@pytest.mark.parametrize(
    "product",
    [
        lambda f, x: ad.hvp(f, x, x),
        lambda f, x: ad.grad(lambda x: (ad.grad(f)(x) * x).sum())(x),
        lambda f, x: ad.jvp(ad.grad(f), x, x),
        lambda f, x: ad.gauss_newton_vp(np.tanh, f, x, x),
    ],
    ids=["hvp", "grad of grad", "jvp of grad", "gauss_newton_vp"],
)
def test_memory_does_not_grow_over_a_thousand_products_without_the_garbage_collector(product):
    f, x = (lambda x: (np.tanh(x) * np.exp(x)).sum()), draw(50)
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(20):
            product(f, x)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(1000 if product.__code__.co_names[1] == "hvp" else 200):
            product(f, x)
        grown = tracemalloc.get_traced_memory()[0] - before
        assert gc.collect() == 0
    finally:
        tracemalloc.stop()
        if enabled:
            gc.enable()
    assert grown < 30_000, f"{grown} bytes more"  # one array of 50 floats lost in each of 200 products would be 80,000


def test_threads_do_not_disturb_each_other():
    errors = []

    def work(seed):
        x = draw(5, seed=seed)
        for _ in range(30):
            with ad.no_grad() if seed % 2 else ad.enable_grad():
                if not np.allclose(ad.hvp(lambda x: (x**3).sum(), x, x), 6 * x * x):
                    errors.append(seed)

    threads = [threading.Thread(target=work, args=(s,)) for s in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors


def test_a_hundred_thousand_operations_deep_is_no_recursion():
    def f(x):
        for _ in range(50_000):
            x = x * 0.99999 + 1.0
        return x * x

    slope = 0.99999**50_000
    assert ad.hvp(f, 1.0, 1.0) == pytest.approx(2 * slope**2, rel=1e-9)


def test_an_error_inside_the_function_leaves_the_grad_mode_as_it_was():
    def f(x):
        raise KeyError("mine")

    with ad.no_grad():
        with pytest.raises(KeyError, match="mine"):
            ad.grad(f)(1.0)
        assert not ad.is_grad_enabled()


def _of_arrays_alone(g, y, x):
    if isinstance(g, Tensor):
        return g * 2
    assert isinstance(g, np.ndarray)
    slopes = np.zeros(x.shape)
    slopes[:] = g
    return 2 * slopes


@pytest.mark.parametrize(
    "rule",
    [lambda g, y, x: 2 * g + 0 * g[g != 0].sum(), lambda g, y, x: g * 2 if g[0] != 0 else 2 * g, _of_arrays_alone],
)
def test_a_rule_that_takes_one_cotangent_alone_has_a_jacobian_too(rule):
    twice = ad.primitive(lambda x: 2 * x, name="twice", vjps=[rule])
    x = np.arange(1.0, 6.0)
    np.testing.assert_array_equal(ad.jacobian(lambda x: twice(x * x))(x), np.diag(4 * x))
    w = Tensor(np.ones(5), requires_grad=True)
    np.testing.assert_array_equal(ad.jacobian(lambda x: twice(x * w))(Tensor(x)).detach().numpy(), 2 * np.eye(5))
    slope = ad.grad(lambda x: (ad.jacobian(lambda x: twice(x) * x)(x) ** 2).sum())
    np.testing.assert_allclose(slope(x), 32 * x)


def test_jacobians_leave_the_filters_of_warnings_as_they_are():
    before = list(warnings.filters)
    seen = []

    def rule(g, y, x):
        seen.append(warnings.filters == before)
        return 2 * g

    ad.jacobian(ad.primitive(lambda x: 2 * x, name="twice", vjps=[rule]))(np.arange(5.0))
    assert seen and all(seen)

"""The reverse pass: what `backward` leaves in .grad, what `gradients` returns, hooks, freeing, changed data, pruning.

Expectations are derivatives known in closed form.
"""

import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor
from autodiff.primitive import REGISTRY


def leaf(*values, **options):
    return Tensor(list(values) if len(values) != 1 else values[0], requires_grad=True, **options)


def equal(ours, theirs):
    np.testing.assert_allclose(ours.data, theirs, rtol=1e-12, atol=0)


# backward and .grad


def test_backward_leaves_the_gradient_in_every_leaf_that_requires_one():
    x, w, c = leaf(2.0, 3.0), leaf(5.0, 7.0), Tensor([1.0, 1.0])
    y = x * w
    (y * c).sum().backward()
    equal(x.grad, [5.0, 7.0])
    equal(w.grad, [2.0, 3.0])
    assert c.grad is None and y.grad is None


def test_a_leaf_can_be_its_own_output():
    x = leaf(2.0)
    x.backward()
    equal(x.grad, 1.0)
    (g,) = ad.gradients(x, x)
    equal(g, 1.0)


def test_grad_accumulates_over_calls_and_zero_grad_forgets_it():
    x = leaf(3.0)
    (x * x).backward()
    (x * 2).backward()
    equal(x.grad, 8.0)
    x.zero_grad()
    assert x.grad is None
    (x * x).backward()
    equal(x.grad, 6.0)


def test_a_tensor_used_many_times_sums_its_contributions():
    x = leaf(3.0)
    y = x * x  # x twice in one operation
    z = y * x + y * y + y  # y in three
    z.backward()
    equal(x.grad, 3 * 3.0**2 + 4 * 3.0**3 + 2 * 3.0)


def test_many_contributions_do_not_write_into_a_shared_cotangent():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    s = x + y
    total = s + s + s + x
    seed = np.array([1.0, 10.0])
    total.backward(seed)
    equal(x.grad, [4.0, 40.0])
    equal(y.grad, [3.0, 30.0])
    np.testing.assert_array_equal(seed, [1.0, 10.0])


def test_grad_is_a_constant_tensor_and_with_create_graph_part_of_a_graph():
    x = leaf(3.0)
    (x**3).backward()
    assert type(x.grad) is Tensor and not x.grad.requires_grad and x.grad.is_leaf
    x.zero_grad()
    (x**3).backward(create_graph=True)
    assert x.grad.requires_grad
    (second,) = ad.gradients(x.grad, x)
    equal(second, 18.0)
    x.zero_grad()


def test_create_graph_accumulates_into_a_graph_too():
    x = leaf(2.0)
    (x**2).backward()
    (x**3).backward(create_graph=True)
    equal(x.grad, 4.0 + 12.0)
    (second,) = ad.gradients(x.grad, x)
    equal(second, 12.0)
    x.zero_grad()


@pytest.mark.parametrize("create_graph", [False, True])
def test_grad_owns_its_memory(create_graph):
    x, y, z = leaf(1.0, 2.0), leaf(3.0, 4.0), leaf(np.ones((2, 2)))
    seed = np.ones((2, 2))
    out = (x + y) + z
    out.backward(seed, create_graph=create_graph)
    arrays = [x.grad.data, y.grad.data, z.grad.data, seed, x.data]
    for i, a in enumerate(arrays):
        for b in arrays[:i]:
            assert not np.shares_memory(a, b)
    for t in (x, y, z):
        t.grad.data[...] = -1.0
    np.testing.assert_array_equal(seed, 1.0)
    np.testing.assert_array_equal(z.grad.data, -1.0)


def test_every_gradient_of_views_owns_its_memory():
    x, y = leaf(np.ones((2, 3))), leaf(np.ones(6))
    (x.reshape(6) + y).reshape(3, 2).T.sum().backward()
    x.grad.data[...] = 5.0
    y.grad.data[...] = 7.0
    np.testing.assert_array_equal(x.grad.data, np.full((2, 3), 5.0))
    assert x.grad.data.flags.writeable and x.grad.data.flags.owndata


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 3), (2, 1), (2, 3), (0, 3), (4, 2, 3)])
def test_a_gradient_has_exactly_the_shape_and_dtype_of_its_tensor(shape, dtype):
    x = Tensor(np.ones(shape), dtype=dtype, requires_grad=True)
    other = Tensor(np.ones((4, 2, 3) if 0 not in shape else (4, 0, 3)), requires_grad=True)
    for y in (x * other, x + other, other / x, np.maximum(x, other), np.where(other.data > 2, x, other)):
        for create_graph in (False, True):
            x.zero_grad(), other.zero_grad()
            y.sum().backward(create_graph=create_graph)
            assert x.grad.shape == shape and x.grad.dtype == dtype and type(x.grad.data) is np.ndarray
            assert other.grad.shape == other.shape and other.grad.dtype == np.float64
            x.zero_grad(), other.zero_grad()


def test_grad_can_be_assigned_and_is_checked():
    x = leaf(1.0, 2.0)
    x.grad = Tensor([3.0, 4.0])
    equal(x.grad, [3.0, 4.0])
    x.grad = np.array([5.0, 6.0])
    equal(x.grad, [5.0, 6.0])
    with pytest.raises(ValueError, match=r"\(3,\)"):
        x.grad = np.zeros(3)
    equal(x.grad, [5.0, 6.0])
    x.grad = None
    assert x.grad is None


@pytest.mark.parametrize("form", [np.array, Tensor, list])
def test_backward_takes_the_cotangent_of_a_result_that_is_no_scalar(form):
    x = leaf(2.0, 3.0)
    (x * x).backward(form([1.0, 10.0]))
    equal(x.grad, [4.0, 60.0])


def test_a_one_element_output_of_any_shape_needs_no_cotangent():
    x = leaf(np.full((1, 1), 3.0))
    (x * x).backward()
    equal(x.grad, [[6.0]])


def test_a_cotangent_that_requires_grad_is_differentiated_too():
    x, v = leaf(2.0, 3.0), leaf(1.0, 10.0)
    (g,) = ad.gradients(x**3, x, grad_outputs=v, create_graph=True)
    gx, gv = ad.gradients(g.sum(), (x, v))
    equal(gx, 6 * np.array([2.0, 3.0]) * [1.0, 10.0])
    equal(gv, 3 * np.array([2.0, 3.0]) ** 2)


# retain_graph


def test_the_graph_is_kept_unless_told_otherwise():
    x = leaf(3.0)
    y = x * x * x
    y.backward()
    y.backward()
    equal(x.grad, 54.0)


def test_retain_graph_false_frees_the_graph_and_a_second_backward_says_so():
    x = leaf(3.0)
    y = np.exp(x) * x
    z = y * 2
    z.backward(retain_graph=False)
    before = x.grad.data.copy()
    for t in (z, y, y + 1):
        with pytest.raises(RuntimeError, match="retain_graph=False"):
            t.backward()
        with pytest.raises(RuntimeError, match="retain_graph=False"):
            ad.gradients(t, x)
    np.testing.assert_array_equal(x.grad.data, before)
    (x * x).backward()  # the leaf itself is as good as new


@pytest.mark.parametrize("retain_graph", [None, True, False])
def test_gradients_keep_the_graph_unless_told_otherwise(retain_graph):
    x, other = leaf(3.0), leaf(2.0)
    y = np.exp(x) * other
    z = y * other
    (g,) = ad.gradients(z, x, retain_graph=retain_graph)
    equal(g, 4 * np.exp(3.0))
    if retain_graph is False:
        with pytest.raises(RuntimeError, match="retain_graph=False"):
            ad.gradients(z, x)
        assert not z.inputs and not y.inputs
    else:
        equal(ad.gradients(z, x, create_graph=True, retain_graph=retain_graph)[0], 4 * np.exp(3.0))
        equal(ad.gradients(z, x)[0], 4 * np.exp(3.0))


# Changed data


def test_writing_a_leafs_data_after_it_was_used_is_detected():
    def subtract(p):
        p.data -= 1.0

    def assign(p):
        p.data = np.array([9.0, 9.0])

    for change in (subtract, assign):
        p = leaf(1.0, 2.0)
        y = (p * p).sum()
        y.backward()
        p.zero_grad()
        change(p)
        for attempt in (y.backward, lambda: ad.gradients(y, p), lambda: y.backward(create_graph=True)):
            with pytest.raises(RuntimeError):
                attempt()
            assert p.grad is None
        ((p * p).sum()).backward()
        equal(p.grad, 2 * p.data)


def test_the_error_about_changed_data_names_the_operation_and_the_remedy():
    p, q = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = (p * q).sum()
    p.data -= 1.0
    with pytest.raises(RuntimeError, match=r"multiply.*before the update"):
        y.backward()
    assert q.grad is None and p.grad is None


def test_assigning_items_of_a_constant_that_was_used_is_detected():
    x, c = leaf(1.0, 2.0), Tensor([3.0, 4.0])
    y = (x * c).sum()
    c[0] = 100.0
    with pytest.raises(RuntimeError, match="multiply"):
        y.backward()
    assert x.grad is None


def test_the_data_of_a_result_cannot_be_written_and_assigning_it_cuts_its_history():
    x = leaf(1.0, 2.0)
    y = x * x
    with pytest.raises(ValueError, match="read-only"):
        y.data -= 1.0
    y.sum().backward()
    equal(x.grad, [2.0, 4.0])
    x.zero_grad()
    z = y * 3
    y.data = np.array([0.0, 0.0])
    with pytest.raises(RuntimeError):
        z.sum().backward()
    assert x.grad is None


def test_updating_parameters_between_recordings_is_the_normal_case():
    w = leaf(5.0)
    for _ in range(60):
        w.zero_grad()
        ((w - 2.0) ** 2).backward()
        w.data -= 0.2 * w.grad.data
    np.testing.assert_allclose(w.data, 2.0, atol=1e-9)


# Hooks


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_hook_on_a_leaf_is_called_once_with_the_summed_gradient(create_graph):
    x = leaf(3.0)
    seen = []
    handle = x.register_hook(lambda g: seen.append(g))
    (x * x + 5 * x).backward(create_graph=create_graph)
    assert len(seen) == 1 and type(seen[0]) is Tensor and seen[0].requires_grad is create_graph
    equal(seen[0], 11.0)
    equal(x.grad, 11.0)
    ad.gradients(x * x, x, create_graph=create_graph)
    equal(seen[1], 6.0)
    handle.remove()
    handle.remove()
    (x * x).backward()
    assert len(seen) == 2
    x.zero_grad()


def test_a_hook_on_a_result_sees_and_replaces_the_gradient_that_flows_on():
    x = leaf(3.0)
    y = x * x
    seen = []

    def double(g):
        seen.append(g.item())
        return 2 * g

    y.register_hook(double)
    (y * 5).backward()
    assert seen == [5.0]
    equal(x.grad, 60.0)
    (g,) = ad.gradients(y * 5, y)
    equal(g, 10.0)


def test_hooks_run_in_the_order_of_registration_each_on_the_result_of_the_one_before():
    x = leaf(1.0)
    x.register_hook(lambda g: g + 1)
    x.register_hook(lambda g: None)
    x.register_hook(lambda g: g * 10)
    (x * 2).backward()
    equal(x.grad, 30.0)


def test_a_hook_may_change_what_it_was_given_without_harm():
    x, y = leaf(1.0, 2.0), leaf(1.0, 2.0)

    def spoil(g):
        g.data[...] = np.nan

    x.register_hook(spoil)
    (x + y).backward(np.ones(2))
    equal(x.grad, [1.0, 1.0])
    equal(y.grad, [1.0, 1.0])


def test_a_hook_can_be_differentiated_through():
    x = leaf(3.0)
    x.register_hook(lambda g: g * g)
    (g,) = ad.gradients(x**2, x, create_graph=True)
    equal(g, 36.0)
    x2 = leaf(3.0)
    (g,) = ad.gradients(x2**2, x2, create_graph=True)
    (h,) = ad.gradients(g * g, x2)
    equal(h, 24.0)


@pytest.mark.parametrize("bad, error", [(lambda g: 2.0, TypeError), (lambda g: g.data, TypeError),
                                        (lambda g: Tensor([1.0, 2.0, 3.0]), ValueError)])  # fmt: skip
def test_a_bad_replacement_is_refused_and_leaves_no_gradient(bad, error):
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    x.register_hook(bad)
    with pytest.raises(error, match="hook"):
        (x * w).sum().backward()
    assert x.grad is None and w.grad is None


def test_an_exception_in_a_hook_comes_through_and_leaves_no_gradient():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = x * w
    y.retain_grad()

    def fail(g):
        raise KeyError("mine")

    x.register_hook(fail)
    with pytest.raises(KeyError, match="mine"):
        y.sum().backward()
    assert x.grad is None and w.grad is None and y.grad is None


def test_a_replacement_gets_the_tensors_dtype():
    x = Tensor([1.0, 2.0], dtype=np.float32, requires_grad=True)
    x.register_hook(lambda g: Tensor([7.0, 8.0]))
    (x * x).sum().backward()
    assert x.grad.dtype == np.float32
    equal(x.grad, [7.0, 8.0])


def test_hooks_and_retain_grad_are_refused_without_gradient():
    for call in (lambda t: t.register_hook(print), lambda t: t.retain_grad()):
        with pytest.raises(RuntimeError, match="does not require"):
            call(Tensor(1.0))
    with pytest.raises(TypeError, match="function"):
        leaf(1.0).register_hook(3)


# retain_grad


def test_retain_grad_leaves_the_gradient_in_a_result():
    x = leaf(3.0)
    y = x * x
    y.retain_grad()
    z = y * 5
    z.backward()
    equal(y.grad, 5.0)
    equal(x.grad, 30.0)
    z.backward()
    equal(y.grad, 10.0)
    assert z.grad is None
    ad.gradients(z, x)
    equal(y.grad, 10.0)


def test_retain_grad_on_the_output_itself_and_on_a_leaf():
    x = leaf(3.0)
    x.retain_grad()
    y = x * x
    y.retain_grad()
    y.backward()
    equal(y.grad, 1.0)
    equal(x.grad, 6.0)


def test_retained_gradients_keep_a_graph_with_create_graph():
    x = leaf(3.0)
    y = x * x
    y.retain_grad()
    (y**3).backward(create_graph=True)
    (second,) = ad.gradients(y.grad, x)
    equal(second, 6 * 9.0 * 6.0)  # d/dx of 3y², y = x²
    x.zero_grad()
    y.zero_grad()


# gradients


def test_gradients_returns_a_tuple_and_leaves_every_grad_untouched():
    x, w = leaf(3.0), leaf(4.0)
    x.grad = 7.0
    result = ad.gradients(x * w, x)
    assert type(result) is tuple and len(result) == 1
    gx, gw = ad.gradients(x * w, [x, w])
    equal(gx, 4.0)
    equal(gw, 3.0)
    equal(x.grad, 7.0)
    assert w.grad is None and not gx.requires_grad


def test_gradients_by_intermediate_results():
    x = leaf(3.0)
    y = x * x
    z = y * y + x
    gy, gx = ad.gradients(z, [y, x])
    equal(gy, 18.0)
    equal(gx, 4 * 27.0 + 1)
    (gz,) = ad.gradients(z, z)
    equal(gz, 1.0)


def test_gradients_of_several_outputs_are_summed():
    x = leaf(1.0, 2.0)
    y, z = x * x, x.sum()
    (g,) = ad.gradients([y.sum(), z], x)
    equal(g, [3.0, 5.0])
    (g,) = ad.gradients((y, z), x, grad_outputs=(np.array([1.0, 10.0]), None))
    equal(g, [3.0, 41.0])
    (g,) = ad.gradients([y, y], x, grad_outputs=[np.ones(2), np.ones(2)])
    equal(g, [4.0, 8.0])


def test_an_input_named_twice_gets_its_gradient_twice():
    x, w = leaf(3.0), leaf(4.0)
    for g, value in zip(ad.gradients(x * x * w, [x, w, x]), (24.0, 9.0, 24.0), strict=True):
        equal(g, value)


def test_an_unused_input_is_an_error_or_none():
    x, unused = leaf(3.0), leaf(1.0, 2.0, name="unused")
    with pytest.raises(RuntimeError, match=r"input 1.*unused.*allow_unused=True"):
        ad.gradients(x * x, [x, unused])
    g, none = ad.gradients(x * x, [x, unused], allow_unused=True)
    equal(g, 6.0)
    assert none is None
    assert ad.gradients(Tensor(1.0), x, allow_unused=True) == (None,)


def test_only_what_leads_to_the_wanted_inputs_is_computed():
    calls = []

    def rule(g, y, x):
        calls.append("rule")
        return g

    tracked = ad.primitive(lambda a: a + 0.0, name="tracked", vjps=[rule])
    x, w = leaf(2.0), leaf(3.0)
    y = tracked(x) * w
    (g,) = ad.gradients(y, w)
    equal(g, 2.0)
    assert calls == []
    ad.gradients(y, x)
    assert calls == ["rule"]


def test_rules_run_only_for_inputs_that_need_a_gradient():
    calls = []
    product = ad.primitive(
        lambda a, b: a * b,
        name="product",
        vjps=[lambda g, y, a, b: calls.append("a") or g * b, lambda g, y, a, b: calls.append("b") or g * a],
    )
    x, c = leaf(2.0), Tensor(3.0)
    ad.gradients(product(x, c), x)
    ad.gradients(product(c, x), x)
    ad.gradients(product(x, 3.0), x)
    assert calls == ["a", "b", "a"]


def test_gradients_records_only_when_asked_also_inside_no_grad():
    x = leaf(3.0)
    y = x**3
    (g,) = ad.gradients(y, x)
    assert not g.requires_grad
    with ad.no_grad():
        (g,) = ad.gradients(y, x, create_graph=True)
        (plain,) = ad.gradients(y, x)
    assert g.requires_grad and not plain.requires_grad
    (h,) = ad.gradients(g, x)
    equal(h, 18.0)


@pytest.mark.parametrize("order", range(1, 7))
def test_derivatives_of_any_order_by_repeated_gradients(order):
    x = leaf(0.7)
    y = np.sin(x)
    for _ in range(order):
        (y,) = ad.gradients(y, x, create_graph=True)
    expected = [np.sin, np.cos, lambda v: -np.sin(v), lambda v: -np.cos(v)][order % 4](0.7)
    np.testing.assert_allclose(y.item(), expected, rtol=1e-13)


def test_a_hessian_vector_product_by_double_backward():
    A = np.array([[2.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 4.0]])
    x, v = leaf(1.0, -2.0, 0.5), np.array([0.3, 0.1, -1.0])
    (g,) = ad.gradients(0.5 * (x @ (A @ x)) + (x**4).sum(), x, create_graph=True)
    (hv,) = ad.gradients(g, x, grad_outputs=v)
    equal(hv, A @ v + 12 * x.data**2 * v)
    (hv,) = ad.gradients((g * v).sum(), x)
    equal(hv, A @ v + 12 * x.data**2 * v)


def test_broadcasting_is_undone_by_summing():
    row, column, scalar = leaf(1.0, 2.0, 3.0), leaf(np.array([[1.0], [2.0]])), leaf(2.0)
    y = row * column * scalar
    y.sum().backward()
    equal(row.grad, [6.0, 6.0, 6.0])
    equal(column.grad, [[12.0], [12.0]])
    equal(scalar.grad, 18.0)


def test_detach_cuts_the_graph():
    x = leaf(3.0)
    y = x * x.detach()
    y.backward()
    equal(x.grad, 3.0)


def test_no_grad_inside_a_computation_makes_constants():
    x = leaf(3.0)
    with ad.no_grad():
        c = x * x
    (c * x).backward()
    equal(x.grad, 9.0)


def test_subclasses_are_leaves_and_their_results_plain_tensors():
    class Weight(Tensor):
        __slots__ = ()

    w = Weight([1.0, 2.0], requires_grad=True)
    y = (w * w).sum()
    assert type(y) is Tensor
    y.backward()
    equal(w.grad, [2.0, 4.0])
    x = leaf(3.0, 4.0)
    for z in (w + x, x + w, 2.0 * w, w @ x, w[0] * x, -w):
        assert type(z) is Tensor
        assert len(ad.gradients(z.sum(), w)) == 1


# An operation of the user's own


def test_a_users_primitive_has_first_and_second_derivatives():
    cube = ad.primitive(lambda x: x**3, name="cube", vjps=[lambda g, y, x: g * 3 * x**2])
    x = leaf(2.0, -1.0)
    y = cube(x)
    assert y.op == "cube"
    (g,) = ad.gradients(y.sum(), x, create_graph=True)
    equal(g, [12.0, 3.0])
    (h,) = ad.gradients(g.sum(), x, create_graph=True)
    equal(h, [12.0, -6.0])
    (t,) = ad.gradients(h.sum(), x)
    equal(t, [6.0, 6.0])


def test_a_users_rule_may_return_an_array_it_keeps():
    kept = np.array([1.0, 2.0])
    odd = ad.primitive(lambda x: x * 1.0, name="odd", vjps=[lambda g, y, x: kept])
    x, w = leaf(3.0, 4.0), leaf(3.0, 4.0)
    (odd(x) + odd(w)).sum().backward()
    x.grad.data[...] = -5.0
    np.testing.assert_array_equal(kept, [1.0, 2.0])
    equal(w.grad, [1.0, 2.0])
    (odd(x) + odd(x)).sum().backward()
    np.testing.assert_array_equal(kept, [1.0, 2.0])


def test_a_users_primitive_with_options_and_an_input_without_derivative():
    scaled = ad.primitive(
        lambda x, mask, *, by=1.0: x * mask * by,
        name="scaled",
        vjps=[lambda g, y, x, mask, by=1.0: g * mask * by, None],
    )
    x, mask = leaf(2.0, 3.0), np.array([1.0, 0.0])
    (g,) = ad.gradients(scaled(x, mask, by=4.0).sum(), x)
    equal(g, [4.0, 0.0])
    with pytest.raises(TypeError, match=r"scaled.*input 1.*detach"):
        scaled(x, leaf(1.0, 0.0))


def test_a_rule_of_the_wrong_shape_is_named():
    wrong = ad.primitive(lambda x: x * 1.0, name="wrong", vjps=[lambda g, y, x: g[:1]])
    x = leaf(1.0, 2.0, 3.0)
    with pytest.raises(ValueError, match=r"wrong.*input 0.*\(1,\).*\(3,\)"):
        wrong(x).sum().backward()
    assert x.grad is None


def test_a_detached_tensor_cannot_be_written_behind_the_graphs_back():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    alias = x.detach()
    assert np.shares_memory(alias.data, x.data)
    with pytest.raises(TypeError, match=r"t\.copy\(\)"):
        alias[0] = 9.0
    with pytest.raises(ValueError, match="read-only"):
        alias.data[0] = 9.0
    y.backward()
    np.testing.assert_array_equal(x.grad.data, [2.0, 4.0])
    free = x.detach().copy()
    free[0] = 9.0
    assert x.data[0] == 1.0


# Linear operations do not read what they are given


def test_a_linear_operation_that_copied_its_input_has_its_gradient_after_a_write():
    w = leaf(1.0, 2.0, 3.0)
    y = w[np.array([0, 0, 2])]
    w.data = w.data * 10
    (y * y).sum().backward()
    equal(w.grad, [4.0, 0.0, 6.0])  # at the values that were looked up


def test_a_view_of_what_was_written_since_is_refused():
    w = leaf(1.0, 2.0, 3.0)
    y = w.reshape(3, 1)
    with ad.no_grad():
        w[0] = 10.0
    with pytest.raises(RuntimeError, match="written or assigned after it was used"):
        (y * y).sum().backward()


LINEAR = [record for record in REGISTRY.values() if record.jvps == "linear"]


@pytest.mark.parametrize("record", LINEAR, ids=lambda record: record.name)
def test_a_linear_operation_reads_no_values_in_its_rules_and_gives_a_view_or_memory_of_its_own(record):
    for sample in record.samples(np.random.default_rng(0)):
        arrays = [x for x in sample.inputs if isinstance(x, np.ndarray)]
        y = np.asarray(record.forward(*sample.inputs, **sample.params))
        assert y.base is not None or not any(np.shares_memory(y, x) for x in arrays)
        g = np.random.default_rng(1).normal(size=y.shape)
        others = [x * 0 + np.nan if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in sample.inputs]
        for rule in record.rules(len(sample.inputs)):
            if rule is not None:
                once = rule(g, y, *sample.inputs, **sample.params)
                again = rule(g, y * np.nan, *others, **sample.params)
                np.testing.assert_array_equal(once, again)


@pytest.mark.parametrize(
    "view", [lambda p: p[:2], lambda p: p.reshape(-1)[:2], lambda p: p.T[:2], lambda p: p[None, :2][0]]
)
def test_a_view_of_a_leaf_that_was_written_is_an_error_also_for_another_tensors_gradient(view):
    p, w = Tensor([1.0, 2.0, 3.0], requires_grad=True), Tensor([4.0, 5.0], requires_grad=True)
    y = (view(p) * w).sum()
    (p * p).sum().backward()
    with ad.no_grad():
        p -= 10 * p.grad
    with pytest.raises(RuntimeError, match="was written or assigned"):
        ad.gradients(y, w)
    z = (view(p) * w).sum()
    np.testing.assert_array_equal(ad.gradients(z, w)[0].data, p.data[:2])


def test_the_hook_of_a_leaf_is_called_once_as_soon_as_its_gradient_is_complete():
    order = []
    a, b = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 5.0], requires_grad=True)
    h = a * 2
    for name, t in {"a": a, "b": b, "h": h}.items():
        t.register_hook(lambda g, name=name: order.append((name, g.numpy().tolist())))
    (h * b + b).sum().backward()
    assert order == [("b", [3.0, 5.0]), ("h", [3.0, 5.0]), ("a", [6.0, 10.0])]
    assert a.grad.numpy().tolist() == [6.0, 10.0] and b.grad.numpy().tolist() == [3.0, 5.0]

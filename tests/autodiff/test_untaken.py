"""Zero times infinity: 0 in a branch that was not taken, NaN on one that was, in every mode and order."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autodiff as ad
import nn
from autodiff import Tensor
from autodiff.ops.guards import times

NAN = math.nan
W = np.array([[0.0, 1.0], [0.0, 2.0]])


def ways(f, x):
    """The gradient of f at x in every mode that has one, and the Hessian in each."""
    x = np.asarray(x, float)
    basis = np.eye(x.size).reshape(x.size, *x.shape)
    t = Tensor(x, requires_grad=True)
    f(t).backward(retain_graph=False)
    slopes = {
        "reverse": ad.grad(f)(x),
        "freed": t.grad.data,
        "forward": np.array([ad.jvp(f, x, e)[1] for e in basis]).reshape(x.shape),
        "checkpoint": ad.grad(lambda z: ad.checkpoint(f, z))(x),
        "forward over forward": np.array([ad.jvp(lambda z: ad.jvp(f, z, e)[0], x, e)[1] for e in basis]).reshape(
            x.shape
        ),
    }
    n = x.size
    curvature = {
        "reverse over reverse": np.reshape(ad.hessian(f)(x), (n, n)),
        "forward over reverse": np.array([np.ravel(ad.hvp(f, x, e)) for e in basis]),
        "operator": ad.curvature.Hessian(lambda: f(t), t).to_dense(),
    }
    return slopes, curvature


TAKEN = {
    "cos of sqrt": (lambda x: np.cos(np.sqrt(x)), 0.0),
    "square of sqrt": (lambda x: np.sqrt(x) ** 2, 0.0),
    "square of sqrt, by np.square": (lambda x: np.square(np.sqrt(x)), 0.0),
    "square of arccos": (lambda x: np.arccos(x) ** 2, 1.0),
    "square of arccosh": (lambda x: np.arccosh(x) ** 2, 1.0),
    "cosh of cbrt": (lambda x: np.cosh(np.cbrt(x)), 0.0),
    "product of two moving factors": (lambda x: np.sqrt(x) * x, 0.0),
    "a kink of relu": (lambda x: ad.relu(np.sqrt(x)), 0.0),
    "a kink of abs": (lambda x: abs(np.sqrt(x)), 0.0),
    "power with a moving exponent": (lambda x: (x**0.5) ** (2 + x), 0.0),
    "inside a where that takes it": (lambda x: np.where(x < 1, np.cos(np.sqrt(x)), 5.0), 0.0),
    "behind a matrix": (lambda x: np.sqrt(x) @ np.array([[1.0, 2.0], [3.0, 4.0]]) @ np.sqrt(x), [0.0, 0.0]),
}


@pytest.mark.parametrize("case", TAKEN)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_branch_that_was_taken_has_no_derivative_where_the_chain_rule_has_0_times_infinity(case):
    f, x = TAKEN[case]
    slopes, curvature = ways(f, x)
    for way, found in (slopes | curvature).items():
        assert np.isnan(found).all(), (way, found)


UNTAKEN = {  # the function, the point, its gradient and its Hessian by hand
    "where": (lambda x: np.where(x > 0, np.sqrt(x), 0).sum(), [0.0, 4.0], [0, 0.25], [0, -1 / 32]),
    "index": (lambda x: np.sqrt(x)[1:].sum(), [0.0, 4.0], [0, 0.25], [0, -1 / 32]),
    "mask": (lambda x: np.sqrt(x)[x > 0].sum(), [0.0, 4.0], [0, 0.25], [0, -1 / 32]),
    "range": (lambda x: np.sqrt(x)[[1]].sum(), [0.0, 4.0], [0, 0.25], [0, -1 / 32]),
    "take": (lambda x: np.take(np.sqrt(x), [1, 1]).sum(), [0.0, 4.0], [0, 0.5], [0, -1 / 16]),
    "a constant 0": (lambda x: (np.sqrt(x) * np.array([0.0, 1.0])).sum(), [0.0, 4.0], [0, 0.25], [0, -1 / 32]),
    "a constant tensor": (lambda x: (np.sqrt(x) * Tensor([0.0, 1.0])).sum(), [0.0, 4.0], [0, 0.25], [0, -1 / 32]),
    "a matrix": (lambda x: (W @ np.sqrt(x)).sum(), [0.0, 4.0], [0, 0.75], [0, -3 / 32]),
    "einsum": (lambda x: np.einsum("ij,j->", W, np.sqrt(x)), [0.0, 4.0], [0, 0.75], [0, -3 / 32]),
    "a reduction's maximum": (lambda x: np.max(np.sqrt(x)), [0.0, 4.0], [0, 0.25], [0, -1 / 32]),
    "a maximum": (lambda x: np.maximum(np.sqrt(x), 0.5).sum(), [0.0, 4.0], [0, 0.25], [0, -1 / 32]),
    "clip": (lambda x: np.clip(np.sqrt(x), 0.5, 9).sum(), [0.0, 4.0], [0, 0.25], [0, -1 / 32]),
    "relu below its kink": (lambda x: ad.relu(np.sqrt(x) - 1).sum(), [0.0, 4.0], [0, 0.25], [0, -1 / 32]),
    "x log x": (lambda x: np.where(x > 0, x * np.log(x), 0).sum(), [0.0, 2.0], [0, 1 + math.log(2)], [0, 0.5]),
    "sin x / x": (lambda x: np.where(x != 0, np.sin(x) / x, 1).sum(), [0.0, math.pi], [0, -1 / math.pi], [0, 2 / math.pi**2]),
    "a norm in a where": (
        lambda x: np.where(x.sum() > 9, np.linalg.norm(x) ** 2, 0) + (x**2).sum(), [0.0, 0.0], [0, 0], [2, 2]
    ),
    "a where in a where": (
        lambda x: np.where(x > 9, np.where(x > 0, np.cos(np.sqrt(x)), 0), x).sum(), [0.0, 4.0], [1, 1], [0, 0]
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNTAKEN)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_branch_that_was_not_taken_has_derivative_zero(case):
    f, x, slope, diagonal = UNTAKEN[case]
    slopes, curvature = ways(f, x)
    for way, found in slopes.items():
        np.testing.assert_allclose(found, slope, rtol=1e-12, err_msg=way)
    for way, found in curvature.items():
        np.testing.assert_allclose(found, np.diag(diagonal), rtol=1e-12, atol=1e-15, err_msg=way)


BELOW = {  # zeros that stay, below an infinite slope
    "sqrt of relu": lambda x: np.sqrt(ad.relu(x)).sum(),
    "sqrt of hardtanh": lambda x: np.sqrt(nn.functional.hardtanh(x, 0.0, 9.0)).sum(),
    "sqrt of softshrink": lambda x: np.sqrt(abs(nn.functional.softshrink(x, 1.5)) + np.array([0.0, 1.5])).sum(),
    "sqrt of hardshrink": lambda x: np.sqrt(nn.functional.hardshrink(x, 1.5)).sum(),
    "sqrt of leaky relu of slope 0": lambda x: np.sqrt(nn.functional.leaky_relu(x, 0.0)).sum(),
    "sqrt of maximum": lambda x: np.sqrt(np.maximum(x, 0)).sum(),
    "sqrt of clip": lambda x: np.sqrt(np.clip(x, 0, None)).sum(),
    "sqrt of where": lambda x: np.sqrt(np.where(x > 0, x, 0)).sum(),
    "a sum that cancels": lambda x: np.sqrt(x[1]) + np.diff(np.broadcast_to(np.sqrt(x[0] + 1), (3,))).sum(),
    "a difference that cancels": lambda x: (lambda s: s - s)(np.sqrt(x[0] + 1)) + np.sqrt(x[1]),
}


@pytest.mark.parametrize("case", BELOW)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_slope_of_zero_that_stays_takes_an_infinite_one_away(case):
    slopes, curvature = ways(BELOW[case], [-1.0, 4.0])
    for way, found in slopes.items():
        if way != "forward over forward":
            np.testing.assert_allclose(found, [0, 0.25], rtol=1e-12, err_msg=way)
    for way, found in curvature.items():
        np.testing.assert_allclose(found, np.diag([0, -1 / 32]), rtol=1e-12, atol=1e-15, err_msg=way)


@pytest.mark.parametrize("f", [ad.relu, lambda x: nn.functional.hardtanh(x, 0.0, 9.0)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_at_a_kink_an_infinite_slope_has_no_derivative(f):
    slopes, _ = ways(lambda x: np.sqrt(f(x)).sum(), [0.0])
    assert all(np.isnan(found).all() for found in slopes.values())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_forward_mode_knows_which_infinite_slopes_a_sum_cancels_and_which_do_not_move():
    """Every element of the tangent is that of its own gradient times the direction, over what moves."""

    def f(x):
        s = np.sqrt(x)
        return np.concatenate([np.diff(np.broadcast_to(s[0], (3,))), s, s[1:] - s[:1], np.cos(s)])

    x = np.array([0.0, 4.0])
    c = -0.25 * math.sin(2)
    at = {(1, 0): [0, 0, math.inf, 0, -math.inf, NAN, 0], (0, 1): [0, 0, 0, 0.25, 0.25, 0, c]}
    for direction, expected in at.items():
        for found in (
            ad.jvp(f, x, np.array(direction, float))[1],
            ad.jvp(lambda x, d=direction: ad.jvp(f, x, np.array(d, float))[0], x, np.array(direction, float))[1],
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-12)
    flat = lambda x: np.diff(np.broadcast_to(np.sqrt(x[0]), (3,))).sum() + x[1] ** 2
    np.testing.assert_array_equal(ad.grad(lambda x: ad.jvp(flat, x, np.array([1.0, 1.0]))[1])(x), [0, 2])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_distances_with_a_mask_of_the_diagonal():
    """The distances of points to themselves are 0 and masked: the gradient is that of the others."""
    x = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 2.0]])

    def total(x):
        difference = x[:, None] - x[None]
        return (np.sqrt((difference**2).sum(-1)) * (1 - np.eye(3))).sum()

    expected = np.zeros_like(x)
    for i in range(3):
        for j in range(3):
            if i != j:
                expected[i] += 2 * (x[i] - x[j]) / np.linalg.norm(x[i] - x[j])
    np.testing.assert_allclose(ad.grad(total)(x), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "f", [lambda x: np.linalg.norm(x) ** 2, lambda x: np.hypot(x[0], x[1]) ** 2, lambda x: np.std(x) ** 2]
)
def test_norms_at_zero_have_gradient_zero_and_no_second_derivative(f):
    slopes, curvature = ways(f, [0.0, 0.0])
    for found in slopes.values():
        np.testing.assert_array_equal(found, [0.0, 0.0])
    for found in curvature.values():
        assert np.isnan(found).all()


def test_detect_anomaly_names_the_line():
    with ad.detect_anomaly(), np.errstate(all="ignore"):
        x = Tensor(0.0, requires_grad=True)
        y = np.sqrt(x)
        z = np.cos(y)
        with pytest.raises(ad.AnomalyError, match=r"backward of sqrt.*\n.*y = np.sqrt\(x\)"):
            z.backward()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_cotangent_of_zero_from_the_user_belongs_to_no_branch():
    t = Tensor([0.0, 4.0], requires_grad=True)
    np.sqrt(t).backward([0.0, 1.0])
    np.testing.assert_array_equal(t.grad.data, [0.0, 0.25])
    (g,) = ad.gradients(np.sqrt(t), t, Tensor([0.0, 1.0]), create_graph=True)
    np.testing.assert_array_equal(g.data, [0.0, 0.25])
    _, pullback = ad.vjp(np.sqrt, np.array([0.0, 4.0]))
    np.testing.assert_array_equal(pullback(np.array([0.0, 1.0]))[0], [0.0, 0.25])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_hook_may_make_any_zero():
    x = Tensor([0.0, 4.0], requires_grad=True)
    y = np.sqrt(x)
    y.register_hook(lambda g: g * np.array([0.0, 1.0]))
    y.sum().backward()
    assert np.isnan(x.grad.data[0]) and x.grad.data[1] == 0.25


@given(
    st.lists(st.sampled_from(["where", "index", "constant", "cos", "double", "add"]), min_size=1, max_size=5), st.data()
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_wrong_finite_number_never_comes_out(steps, data):
    """Random functions of u = √x at 0: where √x is taken by something whose slope at 0 is 0 the derivative is NaN, where
    nothing takes it 0, and where something takes it with another slope infinite; never another number."""
    x = np.array([0.0, 4.0])
    position = data.draw(st.sampled_from([0, 1]))

    def f(x):
        u = np.sqrt(x)
        for step in steps:
            if step == "where":
                u = np.where(np.array([False, True]), u, 0.25)
            elif step == "index":
                u = np.concatenate([u[1:], u[1:]])
            elif step == "constant":
                u = u * np.array([0.0, 2.0])
            elif step == "cos":
                u = np.cos(u)
            elif step == "double":
                u = 2 * u
            else:
                u = u + np.array([1.0, 0.5])
        return u[position]

    def state(steps):
        """Of the first entry of x: untaken (0), taken with a slope of 0 (NaN), or with another (inf)."""
        u, t = np.array([0.0, 2.0]), np.array([1.0, 0.0])  # the values, and their derivatives by u₀ alone
        structural = np.array([True, False])  # whether u₀ is taken by each entry
        for step in steps:
            if step == "where":
                u, t = np.where([False, True], u, 0.25), t * [0, 1]
                structural = structural & [False, True]
            elif step == "index":
                u, t, structural = u[[1, 1]], t[[1, 1]], structural[[1, 1]]
            elif step == "constant":
                u, t, structural = u * [0, 2], t * [0, 2], structural & [False, True]
            elif step == "cos":
                u, t = np.cos(u), -np.sin(u) * t
            elif step == "double":
                u, t = 2 * u, 2 * t
            else:
                u = u + [1.0, 0.5]
        if not structural[position]:
            return 0.0
        return NAN if t[position] == 0 else math.copysign(math.inf, t[position])

    found = ad.grad(f)(x)[0]
    expected = state(steps)
    assert found == expected or (math.isnan(found) and math.isnan(expected)), (found, expected)
    forward = ad.jvp(f, x, np.array([1.0, 0.0]))[1]
    assert forward == found or (math.isnan(forward) and math.isnan(found))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_derivative_taken_inside_a_rule_is_decided_by_itself():
    """The outer pass knows that its own cotangent is untaken; the inner one has a 0 · ∞ that is taken."""

    def rule(g, y, x):
        inner = ad.grad(lambda z: np.cos(np.sqrt(z)))(0.0)
        found.append(inner)
        return times(g, np.where(x == 0, np.inf, 1.0))

    found = []
    own = ad.primitive(lambda x: x + 0.0, name="own", vjps=[rule])
    slope = ad.grad(lambda x: np.where(x > 0, own(x), 0.0).sum())(np.array([0.0, 4.0]))
    np.testing.assert_array_equal(slope, [0.0, 1.0])
    assert len(found) > 1 and np.isnan(found).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_many_meetings_in_one_graph_take_time_in_proportion():
    def padded(w, n):
        h = w * 0.0
        for _ in range(n):
            h = np.where([True, False], np.sqrt(np.stack([h[0] + 1.0, h[1] * 0.0])), 0.0)
        return h.sum()

    seconds = []
    for n in (100, 800):
        start = time.process_time()
        np.testing.assert_array_equal(ad.grad(lambda w, n=n: padded(w, n))(np.ones(2)), [0.0, 0.0])
        seconds.append(time.process_time() - start)
    assert seconds[1] < 30 * seconds[0]  # 8 times the steps; by looks at all of the graph for each it was 400 times


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["leaky_relu", "gelu", "silu", "elu", "selu", "mish", "hardtanh", "softplus"])
def test_below_an_activation_a_branch_that_was_not_taken_has_derivative_0(name):
    f = getattr(nn.functional, name)
    loss = lambda x: np.where(x > 0, f(np.sqrt(x)), 0.0).sum()
    x, alone = np.array([0.0, 4.0]), ad.grad(lambda x: f(np.sqrt(x)))
    np.testing.assert_allclose(ad.grad(loss)(x), [0.0, alone(4.0)], rtol=1e-12)
    np.testing.assert_allclose(ad.hvp(loss, x, np.ones(2)), [0.0, ad.grad(alone)(4.0)], rtol=1e-10)

"""Numerical care: branches that were not taken leak no NaN in any order of derivative, kinks and ties have the
documented subgradient, and the functions that could overflow do not, in float32 as in float64.

Expectations are limits and closed forms; where a library computes them safely (SciPy, torch), it is asked.
"""

import math

import numpy as np
import pytest
import scipy.special

import autodiff as ad
from autodiff import Tensor


def derivatives(f, x, order=3, dtype=np.float64):
    """f(x), f'(x), f''(x), … elementwise, as arrays; a derivative that the graph does not reach is 0."""
    x = Tensor(np.asarray(x, dtype), requires_grad=True)
    y = f(x)
    found = [y.data]
    for _ in range(order):
        if y.requires_grad:
            (g,) = ad.gradients(y.sum(), x, create_graph=True, allow_unused=True)
        else:
            g = None
        y = Tensor(np.zeros(x.shape, dtype)) if g is None else g
        assert y.dtype == dtype and y.shape == x.shape
        found.append(y.data)
    return found


def check(f, x, *expected, dtype=np.float64, rtol=1e-12, atol=0.0):
    with np.errstate(all="ignore"):
        found = derivatives(f, x, len(expected) - 1, dtype)
    for order, (ours, theirs) in enumerate(zip(found, expected)):
        np.testing.assert_allclose(
            ours, np.broadcast_to(theirs, np.shape(x)), rtol=rtol, atol=atol, err_msg=f"derivative of order {order}"
        )


# A branch that was not taken


@pytest.mark.parametrize(
    "name, f",
    [
        ("sqrt", lambda x: np.where(x > 0, np.sqrt(x), 0.0)),
        ("log", lambda x: np.where(x > 0, np.log(x), 0.0)),
        ("log2", lambda x: np.where(x > 0, np.log2(x), 0.0)),
        ("log10", lambda x: np.where(x > 0, np.log10(x), 0.0)),
        ("log1p", lambda x: np.where(x > 0, np.log1p(x - 1), 0.0)),
        ("reciprocal", lambda x: np.where(x > 0, 1 / x, 0.0)),
        ("np.reciprocal", lambda x: np.where(x > 0, np.reciprocal(x), 0.0)),
        ("power", lambda x: np.where(x > 0, x**0.5, 0.0)),
        ("power with a tensor exponent", lambda x: np.where(x > 0, x ** (x - 0.5), 0.0)),
        ("negative power", lambda x: np.where(x > 0, x**-1.5, 0.0)),
        ("division of zeros", lambda x: np.where(x > 0, np.sin(x) / x, 0.0)),
        ("overflow", lambda x: np.where(x > 0, 0.0, np.exp(1000 * x)) * 0.0 + np.where(x > 0, x, 0.0)),
        ("arcsin", lambda x: np.where(x > 0, np.arcsin(1 - x), 0.0)),
        ("arccosh", lambda x: np.where(x > 0, np.arccosh(1 + x), 0.0)),
        ("arctanh", lambda x: np.where(x > 0, np.arctanh(1 - x), 0.0)),
        ("cbrt", lambda x: np.where(x > 0, np.cbrt(x), 0.0)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_where_keeps_out_the_branch_that_was_not_taken_in_every_order(name, f, dtype):
    with np.errstate(all="ignore"):
        for order, y in enumerate(derivatives(f, [0.0, 0.5], 3, dtype)):
            assert np.isfinite(y[1]), f"{name}: derivative of order {order} at a point inside"
            assert y[0] == 0, f"{name}: derivative of order {order} where the branch was not taken is {y[0]}"


@pytest.mark.parametrize("values", [[-1.0, 2.0], [0.0, 2.0], [np.nan, 2.0], [-np.inf, 2.0]], ids=str)
def test_selecting_by_index_keeps_out_what_was_not_selected(values):
    with np.errstate(all="ignore"):
        for order, y in enumerate(derivatives(lambda x: np.sqrt(x)[1:] + np.log(x)[1:], values, 3)[1:], 1):
            assert y[0] == 0 and np.isfinite(y[1]), (order, y)


@pytest.mark.parametrize(
    "f",
    [lambda x: np.maximum(np.log(x), -5.0), lambda x: np.clip(np.sqrt(x), 0.5, 3.0), lambda x: np.minimum(1 / x, 3.0)],
)
def test_maximum_minimum_and_clip_keep_out_what_they_cut_off(f):
    with np.errstate(all="ignore"):
        for y in derivatives(f, [0.0, 1.0], 3)[1:]:
            assert y[0] == 0 and np.isfinite(y[1])


def test_a_weight_of_zero_keeps_out_an_infinite_derivative():
    x = Tensor([0.0, 4.0], requires_grad=True)
    (g,) = ad.gradients((np.sqrt(x) * np.array([0.0, 1.0])).sum(), x)
    np.testing.assert_array_equal(g.data, [0.0, 0.25])


def test_infinite_derivatives_that_are_asked_for_are_infinite():
    with np.errstate(all="ignore"):
        for f in (np.sqrt, lambda x: x**0.5, np.cbrt, np.log):
            assert derivatives(f, [0.0], 1)[1] == np.inf


# Powers at zero


SQUARES = [2, 2.0, np.float64(2.0), np.array(2.0), Tensor(2.0)]


@pytest.mark.parametrize("exponent", SQUARES, ids=lambda p: type(p).__name__)
def test_x_squared_has_second_derivative_2_and_third_derivative_0_at_0(exponent):
    check(lambda x: x**exponent, [0.0, 1.5, -2.0], [0, 2.25, 4], [0, 3, -4], 2, 0, 0)


@pytest.mark.parametrize("f", [lambda x: np.square(x), lambda x: x * x, lambda x: np.power(x, 2), lambda x: (x**4) ** 0.5,
                               lambda x: np.float_power(x, 2)])  # fmt: skip
def test_other_squares_at_a_point_away_from_zero(f):
    check(f, [1.5, 2.0], [2.25, 4], [3, 4], 2, 0, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", [int, float, np.array])
def test_whole_powers_at_zero_have_the_derivatives_of_the_polynomial(n, kind):
    expected = [math.perm(n, k) * (1.0 if n == k else 0.0) for k in range(5)]
    check(lambda x: x ** kind(n), [0.0], *expected)


def test_a_power_of_zero_as_exponent():
    check(lambda x: x**0, [0.0, 2.0], 1, 0, 0)
    check(lambda x: x**0.0, [0.0, 2.0], 1, 0, 0)
    check(lambda p: 0.0**p, [1.0, 2.0], 0, 0, 0)
    check(lambda p: 2.0**p, [0.0, 1.0], [1, 2], [np.log(2), 2 * np.log(2)], [np.log(2) ** 2, 2 * np.log(2) ** 2])


def test_mixed_derivatives_of_a_power_are_symmetric_also_where_the_exponent_is_zero():
    for a, b in [(2.0, 0.0), (2.0, 1.0), (2.0, -1.0), (0.5, 2.0)]:
        x, p = Tensor(a, requires_grad=True), Tensor(b, requires_grad=True)
        gx, gp = ad.gradients(x**p, (x, p), create_graph=True)
        expected = a ** (b - 1) * (1 + b * math.log(a))
        for g, other in ((gx, p), (gp, x)):
            (mixed,) = ad.gradients(g, other)
            np.testing.assert_allclose(mixed.data, expected, rtol=1e-13)


def test_norm_and_hypot_at_zero_have_gradient_zero_and_no_second_derivative():
    nan = np.nan
    check(lambda x: np.linalg.norm(x[None], axis=0), [0.0, 3.0, -2.0], [0, 3, 2], [0, 1, -1], [nan, 0, 0])
    check(lambda x: np.hypot(x, 0.0), [0.0, 3.0, -2.0], [0, 3, 2], [0, 1, -1], [nan, 0, 0], atol=1e-12)


@pytest.mark.parametrize("ord", [None, 2, 1, 3, 2.5])
def test_the_norm_of_zeros_has_gradient_zero_and_but_for_order_1_no_second_derivative(ord):
    x = Tensor(np.zeros(3), requires_grad=True)
    y = np.linalg.norm(x, ord=ord) if ord is not None else np.linalg.norm(x)
    assert y.data == 0
    (g,) = ad.gradients(y, x, create_graph=True)
    np.testing.assert_array_equal(g.data, np.zeros(3))
    if g.requires_grad:
        (h,) = ad.gradients((g * np.array([1.0, 2.0, 3.0])).sum(), x)
        np.testing.assert_array_equal(h.data, np.zeros(3) if ord == 1 else np.full(3, np.nan))


def test_the_norm_of_a_matrix_of_zeros_and_norms_of_zero_rows():
    x = Tensor(np.array([[0.0, 0.0], [3.0, 4.0]]), requires_grad=True)
    (g,) = ad.gradients(np.linalg.norm(x, axis=1).sum(), x, create_graph=True)
    np.testing.assert_allclose(g.data, [[0, 0], [0.6, 0.8]])
    (h,) = ad.gradients((g * g.detach()).sum() + g[0].sum(), x)
    assert np.isnan(h.data[0]).all() and np.isfinite(h.data[1]).all()
    (h,) = ad.gradients(g[1].sum(), x)  # the zero row is not taken
    np.testing.assert_allclose(h.data, [[0, 0], [(16 - 12) / 125, (9 - 12) / 125]], rtol=1e-12)
    z = Tensor(np.zeros((2, 2)), requires_grad=True)
    (g,) = ad.gradients(np.linalg.norm(z), z)
    np.testing.assert_array_equal(g.data, np.zeros((2, 2)))


@pytest.mark.parametrize("x", [np.zeros(4), np.full(4, 2.5), np.full((2, 3), 0.5)], ids=["zeros", "equal", "matrix"])
def test_std_of_equal_values_has_gradient_zero_and_no_second_derivative(x):
    t = Tensor(x, requires_grad=True)
    (g,) = ad.gradients(np.std(t), t, create_graph=True)
    np.testing.assert_array_equal(g.data, np.zeros(x.shape))
    (h,) = ad.gradients((g * np.arange(x.size).reshape(x.shape)).sum(), t)
    assert np.isnan(h.data).all()


# sinc, removable singularities


def test_sinc_at_zero():
    pi = math.pi
    check(np.sinc, [0.0], 1, 0, -(pi**2) / 3, 0, pi**4 / 5, atol=1e-12)
    check(np.sinc, [1.0], 0, -1, 2, -6 + pi**2, rtol=1e-11, atol=1e-12)


def test_sinc_is_exact_near_zero_in_the_third_derivative_too():
    x = np.array([1e-8, 1e-5, 1e-3, 0.01, 0.1])
    pi = math.pi
    series = sum(
        (-1) ** k * pi ** (2 * k) * x ** (2 * k - 3) * math.perm(2 * k, 3) / math.factorial(2 * k + 1)
        for k in range(2, 12)
    )
    np.testing.assert_allclose(derivatives(np.sinc, x, 3)[3], series, rtol=1e-9)


# Kinks


@pytest.mark.parametrize(
    "name, f, value, slope",
    [
        ("absolute", np.abs, 0, 0),
        ("fabs", np.fabs, 0, 0),
        ("relu", ad.relu, 0, 0),
        ("sign", np.sign, 0, 0),
        ("maximum(x, 0)", lambda x: np.maximum(x, 0.0), 0, 0.5),
        ("maximum(0, x)", lambda x: np.maximum(0.0, x), 0, 0.5),
        ("minimum(x, 0)", lambda x: np.minimum(x, 0.0), 0, 0.5),
        ("maximum(x, x)", lambda x: np.maximum(x, x), 0, 1),
        ("fmax(x, 0)", lambda x: np.fmax(x, 0.0), 0, 0.5),
        ("maximum(x, -x)", lambda x: np.maximum(x, -x), 0, 0),
        ("clip at a bound", lambda x: np.clip(x, 0.0, 1.0), 0, 1),
        ("leaky relu", lambda x: np.where(x > 0, x, 0.01 * x), 0, 0.01),
        ("floor", np.floor, 0, 0),
        ("heaviside", lambda x: np.heaviside(x, 0.5), 0.5, 0),
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_at_a_kink_at_zero_the_documented_subgradient_is_taken(name, f, value, slope, dtype):
    check(f, [0.0], value, slope, 0, dtype=dtype, rtol=1e-6)


@pytest.mark.parametrize("f", [np.max, lambda x: x.max(axis=0), np.amax, lambda x: np.max(x, keepdims=True)[0],
                               lambda x: -np.min(-x), lambda x: np.maximum.reduce(x)])  # fmt: skip
def test_ties_of_a_maximum_share_the_gradient_equally(f):
    x = Tensor([1.0, 3.0, 3.0, 2.0, 3.0], requires_grad=True)
    (g,) = ad.gradients(f(x), x, create_graph=True)
    np.testing.assert_allclose(g.data, [0, 1 / 3, 1 / 3, 0, 1 / 3], rtol=1e-15)


def test_ties_are_counted_for_each_row():
    x = Tensor([[1.0, 1.0], [2.0, 1.0]], requires_grad=True)
    (g,) = ad.gradients(x.max(axis=1).sum(), x)
    np.testing.assert_array_equal(g.data, [[0.5, 0.5], [1, 0]])
    (g,) = ad.gradients(np.maximum(x, x.detach()).sum(), x)
    np.testing.assert_array_equal(g.data, np.full((2, 2), 0.5))


def test_steps_have_gradient_zero_not_none():
    for f in (np.floor, np.ceil, np.round, np.trunc, np.sign):
        x = Tensor([0.3, 1.7], requires_grad=True)
        (g,) = ad.gradients(f(x).sum(), x)
        np.testing.assert_array_equal(g.data, [0, 0])


# No overflow

EXTREMES = np.array([-1e4, -100.0, -1.0, 0.0, 1.0, 100.0, 1e4])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("f", [ad.sigmoid, ad.special.expit], ids=["sigmoid", "expit"])
def test_sigmoid_never_overflows(f, dtype):
    s = scipy.special.expit(EXTREMES)
    t = scipy.special.expit(-EXTREMES)
    tol = 1e-14 if dtype is np.float64 else 2e-6
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        check(f, EXTREMES.astype(dtype), s, s * t, s * t * (t - s), dtype=dtype, rtol=tol, atol=tol)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("f", [ad.softplus, lambda x: np.logaddexp(x, 0.0), lambda x: np.logaddexp(0.0, x)],
                         ids=["softplus", "logaddexp(x, 0)", "logaddexp(0, x)"])  # fmt: skip
def test_softplus_never_overflows(f, dtype):
    s, t = scipy.special.expit(EXTREMES), scipy.special.expit(-EXTREMES)
    tol = 1e-14 if dtype is np.float64 else 2e-6
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        check(
            f,
            EXTREMES.astype(dtype),
            np.logaddexp(EXTREMES, 0),
            s,
            s * t,
            s * t * (t - s),
            dtype=dtype,
            rtol=tol,
            atol=tol,
        )


def test_the_tail_of_softplus_keeps_its_relative_precision():
    x = np.array([-30.0, -300.0, -700.0])
    check(ad.softplus, x, np.log1p(np.exp(x)), np.exp(x), np.exp(x), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("rows", [[[1e4, -1e4, 0.0]], [[1e4, 1e4, 1e4]], [[-1e4, -1e4, -1e4 + 1]], [[88.0, 89.0, 90.0]],
                                  [[0.0, 0.0, 0.0], [1e4, 0.0, -1e4]]], ids=str)  # fmt: skip
def test_logsumexp_softmax_and_log_softmax_never_overflow(rows, dtype):
    torch = pytest.importorskip("torch")
    v = np.linspace(0.5, 2.0, np.size(rows)).reshape(np.shape(rows))
    eps = np.finfo(dtype).eps
    rounding = 30 * eps  # of the result; logsumexp's derivative exp(x - y) also carries that of y
    ours_v, theirs_v, classes = v.astype(dtype), torch.tensor(v), np.arange(len(rows)) % 3
    cases = [
        (lambda x: ad.logsumexp(x, axis=-1).sum(), lambda x: torch.logsumexp(x, -1).sum()),
        (lambda x: (ad.softmax(x, axis=-1) * ours_v).sum(), lambda x: (torch.softmax(x, -1) * theirs_v).sum()),
        (lambda x: (ad.log_softmax(x) * ours_v).sum(), lambda x: (torch.log_softmax(x, -1) * theirs_v).sum()),
        (lambda x: ad.cross_entropy(x, classes), lambda x: torch.nn.functional.cross_entropy(x, torch.tensor(classes))),
    ]
    for k, (ours, theirs) in enumerate(cases):
        tol = rounding + (eps * np.abs(rows).max() if k == 0 else 0)
        x = Tensor(np.array(rows, dtype), requires_grad=True)
        z = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            y = ours(x)
            (g,) = ad.gradients(y, x, create_graph=True)
            (h,) = ad.gradients((g * ours_v).sum(), x)
        w = theirs(z)
        (e,) = torch.autograd.grad(w, z, create_graph=True)
        (he,) = torch.autograd.grad((e * theirs_v).sum(), z)
        for found, expected in ((y, w), (g, e), (h, he)):
            assert found.dtype == dtype
            np.testing.assert_allclose(found.data, expected.detach().numpy(), rtol=tol, atol=tol)


def test_logsumexp_of_minus_infinities():
    x = Tensor([[-np.inf, 0.0], [-np.inf, -np.inf]], requires_grad=True)
    y = ad.logsumexp(x, axis=1)
    np.testing.assert_array_equal(y.data, [0, -np.inf])
    (g,) = ad.gradients(y.sum(), x)
    np.testing.assert_array_equal(g.data, [[0, 1], [0, 0]])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_binary_cross_entropy_on_logits_written_with_softplus_never_overflows(dtype):
    logits = np.array([1e4, -1e4, 40.0, -40.0], dtype)
    for target in (0.0, 1.0):
        s, t = scipy.special.expit(logits.astype(float)), scipy.special.expit(-logits.astype(float))
        loss = lambda z: ad.softplus(z) - target * z
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            values = np.logaddexp(logits, 0) - target * logits
            check(loss, logits, values, s - target, s * t, dtype=dtype, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_saturated_functions_have_finite_derivatives(dtype):
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for f in (np.tanh, np.arctan, ad.special.erf, ad.special.erfc, ad.special.log_ndtr, np.arcsinh):
            for y in derivatives(f, EXTREMES / 100, 2, dtype):
                assert np.isfinite(y).all(), f


def test_the_tail_of_log_ndtr():
    x = np.array([-40.0, -10.0, -1.0, 0.0, 5.0])
    ratio = np.exp(-(x**2) / 2 - scipy.special.log_ndtr(x)) / math.sqrt(2 * math.pi)  # φ/Φ
    check(ad.special.log_ndtr, x, scipy.special.log_ndtr(x), ratio, -ratio * (x + ratio), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_hypot_and_norm_do_not_overflow_where_the_result_is_representable(dtype):
    big = np.array([3.0, 4.0], dtype) * dtype(1e30 if dtype is np.float32 else 1e200)
    x = Tensor(big, requires_grad=True)
    y = np.hypot(x[0], x[1])
    (g,) = ad.gradients(y, x)
    np.testing.assert_allclose(g.data, [0.6, 0.8], rtol=1e-6)
    assert np.isfinite(y.data)


# Zeros in products


ZEROS = [[2.0, 0.0, 3.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0], [2.0, 5.0, 3.0], [0.0]]


@pytest.mark.parametrize("x", ZEROS, ids=str)
def test_prod_and_cumprod_with_zeros_have_the_derivatives_of_the_polynomial(x):
    n = len(x)
    H = ad.hessian(lambda v: np.prod(v))(np.array(x))
    g = ad.grad(lambda v: np.prod(v))(np.array(x))
    others = lambda *skip: np.prod([v for k, v in enumerate(x) if k not in skip])
    np.testing.assert_allclose(g, [others(i) for i in range(n)])
    np.testing.assert_allclose(H, [[0 if i == j else others(i, j) for j in range(n)] for i in range(n)])
    w = np.arange(1.0, n + 1)
    partial = lambda k, *skip: np.prod([v for m, v in enumerate(x[: k + 1]) if m not in skip])
    g = ad.grad(lambda v: (np.cumprod(v) * w).sum())(np.array(x))
    np.testing.assert_allclose(g, [sum(w[k] * partial(k, i) for k in range(i, n)) for i in range(n)])
    H = ad.hessian(lambda v: (np.cumprod(v) * w).sum())(np.array(x))
    np.testing.assert_allclose(
        H,
        [
            [0 if i == j else sum(w[k] * partial(k, i, j) for k in range(max(i, j), n)) for j in range(n)]
            for i in range(n)
        ],
    )


def test_the_determinant_of_a_singular_matrix_has_its_adjugate_as_derivative():
    A = np.array([[1.0, 2.0], [2.0, 4.0]])
    np.testing.assert_allclose(ad.grad(np.linalg.det)(A), [[4.0, -2.0], [-2.0, 1.0]], atol=1e-12)


# NaN and infinity are passed on, not invented


def test_nan_in_one_element_stays_there():
    x = Tensor([np.nan, 1.0, 2.0], requires_grad=True)
    (g,) = ad.gradients((np.exp(x) * x).sum(), x)
    assert np.isnan(g.data[0]) and np.isfinite(g.data[1:]).all()


def test_nan_to_num_gives_replaced_elements_no_gradient():
    x = Tensor([np.nan, np.inf, 2.0], requires_grad=True)
    (g,) = ad.gradients((np.nan_to_num(x, posinf=3.0) ** 2).sum(), x)
    np.testing.assert_array_equal(g.data, [0, 0, 4])


def test_an_empty_input_gives_an_empty_gradient():
    x = Tensor(np.zeros((0, 3)), requires_grad=True)
    for f in (
        lambda v: np.exp(v).sum(),
        lambda v: (v @ np.ones((3, 2))).sum(),
        lambda v: v.sum(axis=0).sum(),
        lambda v: v.prod(),
    ):
        (g,) = ad.gradients(f(x), x)
        assert g.shape == (0, 3)

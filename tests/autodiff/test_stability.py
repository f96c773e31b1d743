"""Numerical care: branches that were not taken leak no NaN in any order of derivative, kinks and ties have the
documented subgradient, and the functions that could overflow do not, in float32 as in float64.

Expectations are limits and closed forms; where a library computes them safely (SciPy, torch), it is asked.
"""

import fractions
import itertools
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


def test_std_of_one_element_is_0_with_all_its_derivatives():
    for x, options in ((2.0, {}), (np.array([[1.0, 2.0]]), {"axis": 0}), (3.0 + 1j, {})):
        t = Tensor(x, requires_grad=True)
        y = np.std(t, **options).sum()
        for _ in range(2):
            (g,) = ad.gradients(y, t, create_graph=True)
            assert y == 0 and (g.data == 0).all()
            y = abs(g).sum() if g.dtype.kind == "c" else g.sum()
    assert np.isnan(ad.grad(lambda x: np.std(x, ddof=1))(2.0))


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


# Remainders


@pytest.mark.parametrize("a, b", [(1.0, 0.1), (-1.0, 0.1), (5.3, -1.3), (1e15, 0.1), (0.3, 2.0)])
@pytest.mark.parametrize("f", [np.mod, np.remainder, np.fmod, lambda a, b: np.divmod(a, b)[1], lambda a, b: a % b])
def test_the_derivative_of_a_remainder_is_the_quotient_that_its_value_has(f, a, b):
    n = round((f(a, b) - a) / b)  # the value is a + n b
    assert ad.grad(f, argnums=1)(a, b) == n and ad.grad(f)(a, b) == 1
    assert ad.jvp(lambda b: f(a, b), (b,), (1.0,))[1] == n
    assert ad.grad(lambda b: b * f(a, b))(b) == pytest.approx(f(a, b) + b * n, abs=1e-9)


# Numbers without axes


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("f", [np.sum, np.prod, np.max, np.min, np.ptp, np.cumsum, np.cumprod, np.maximum.reduce])
def test_a_number_is_reduced_over_the_axis_that_numpy_accepts_with_its_gradient(f, axis):
    x = Tensor(3.0, requires_grad=True)
    y = f(x, axis=axis)
    assert y.shape == np.shape(f(np.array(3.0), axis=axis))
    (g,) = ad.gradients((y**2).sum(), x, create_graph=True)
    value = 0.0 if f is np.ptp else 3.0
    assert g.shape == () and g.item() == 2 * value
    assert ad.gradients(g, x)[0].item() == (0.0 if f is np.ptp else 2.0)
    with pytest.raises(np.exceptions.AxisError):
        f(x, axis=1)


# Products of factors that are far apart


@pytest.mark.parametrize("dtype, far", [(np.float32, 20), (np.float64, 160)])
@pytest.mark.parametrize(
    "signs", [(-1, -1, 1, 1), (1, 1, -1, -1), (-1, 1, -1, 1), (1, -1, 0, -1, 1), (1,) * 7 + (-1,) * 7]
)
def test_products_of_some_factors_may_over_or_underflow_where_the_derivative_does_not(signs, dtype, far):
    x = np.array([(2.0 + k) * 10.0 ** (far * s) for k, s in enumerate(signs)], dtype)
    others = lambda *skip: math.prod([fractions.Fraction(float(v)) for k, v in enumerate(x) if k not in skip])
    n, limits = len(x), np.finfo(dtype)

    def agree(found, expected):
        if limits.tiny < abs(expected) < limits.max:
            assert abs(fractions.Fraction(float(found)) / expected - 1) < 20 * limits.eps

    t = Tensor(x, requires_grad=True)
    with np.errstate(all="ignore"):
        (g,) = ad.gradients(np.prod(t), t)
        (c,) = ad.gradients(np.cumprod(t)[-1], t)
        H = ad.hessian(lambda v: np.prod(v))(x)
    for i in range(n):
        agree(g.data[i], others(i))
        agree(c.data[i], others(i))
        if len(signs) < 6:
            for j in range(n):
                if i != j:
                    agree(H[i, j], others(i, j))


def test_running_products_of_factors_that_are_far_apart_have_the_exact_gradient_of_every_cotangent():
    """All short programs of large, small, zero and negative factors: the sums of products of some of them."""
    huge = [3e200, 5e-201, 2.0, 0.0, -7e299]
    for x, g in itertools.product(itertools.product(huge, repeat=4), ([1, 1, 1, 1], [0, 0, 0, 1], [0, 2, 0, 0])):
        with np.errstate(all="ignore"):
            (found,) = ad.vjp(np.cumprod, np.array(x))[1](np.array(g, float))
        exact = [fractions.Fraction(v) for v in x]
        for i in range(4):
            terms = [g[k] * math.prod(exact[:i] + exact[i + 1 : k + 1]) for k in range(i, 4)]
            right, size = sum(terms), sum(abs(t) for t in terms)
            if abs(right) > np.finfo(float).max:
                assert found[i] == (math.inf if right > 0 else -math.inf), (x, g, i)
            elif size < np.finfo(float).max:
                assert abs(fractions.Fraction(float(found[i])) - right) <= size * 1e-14 + 1e-300, (x, g, i, found[i])


def test_a_running_product_up_to_an_infinite_factor_has_the_limits_of_its_gradient():
    with np.errstate(all="ignore"):
        pull = lambda x, g: ad.vjp(np.cumprod, np.array(x))[1](np.array(g))[0].tolist()
        assert pull([1e-200, 1e-200, np.inf], [1.0, 1.0, 1.0]) == [np.inf, np.inf, 0.0]
        assert pull([1e200, 1e200, np.inf, 1e-200], [0.0, 0.0, 0.0, 1.0])[:3] == [np.inf, np.inf, 1e200]


def test_a_zero_among_factors_that_are_far_apart_leaves_the_exact_product_of_the_others():
    x = np.array([3e200, 0.0, 1e-200, 2e250, 1e-250])
    for f in (np.prod, lambda v: np.cumprod(v)[-1]):
        np.testing.assert_allclose(ad.grad(f)(x), [0, 6, 0, 0, 0], rtol=1e-14)
    two = np.array([0.0, 3e200, 1e-200, 0.0, 2e250, 1e-250])
    H = ad.hessian(lambda v: np.prod(v))(two)
    np.testing.assert_allclose(H[0, 3], 6, rtol=1e-14)
    assert np.count_nonzero(H) == 2 and not ad.grad(lambda v: np.prod(v))(two).any()
    third = ad.grad(lambda z: ad.hessian(lambda v: np.prod(v))(two + z)[0, 3])(np.zeros(6))
    np.testing.assert_allclose(third, [0, 2e-200, 6e200, 0, 3e-250, 6e250], rtol=1e-13)


# Lengths at the ends of the range


@pytest.mark.parametrize(
    "scale, dtype", [(1e200, np.float64), (1e-160, np.float64), (1e-25, np.float32), (1e30, np.float32)]
)
def test_lengths_have_their_hessian_at_every_scale(scale, dtype):
    tolerance = 1e-13 if dtype is np.float64 else 1e-5
    expected = np.array([[16, -12], [-12, 9]]) / 125
    x = np.array([3 * scale, 4 * scale], dtype)
    for f in (lambda v: np.hypot(v[0], v[1]), np.linalg.norm, lambda v: np.linalg.norm(v, ord=2.0)):
        np.testing.assert_allclose(float(ad.vjp(f, x)[0]), 5 * scale, rtol=tolerance)
        np.testing.assert_allclose(ad.grad(f)(x), [0.6, 0.8], rtol=tolerance)
        np.testing.assert_allclose(np.float64(ad.hessian(f)(x)) * scale, expected, rtol=tolerance)
    at_one = np.array([3.0, 4.0, 7.0])
    for f in (np.std, lambda v: np.linalg.norm(v, ord=3), lambda v: np.linalg.norm(v, ord=-1.5)):
        v = (at_one * scale).astype(dtype)
        np.testing.assert_allclose(float(ad.vjp(f, v)[0]) / scale, f(at_one), rtol=tolerance)
        np.testing.assert_allclose(ad.grad(f)(v), ad.grad(f)(at_one), rtol=3 * tolerance)
        np.testing.assert_allclose(np.float64(ad.hessian(f)(v)) * scale, ad.hessian(f)(at_one), rtol=20 * tolerance)


def test_the_hessian_of_hypot_keeps_its_digits_where_one_side_is_short():
    H = ad.hessian(lambda v: np.hypot(v[0], v[1]))(np.array([1.0, 1e-9]))
    np.testing.assert_allclose(H, [[1e-18, -1e-9], [-1e-9, 1]], rtol=1e-13)


# Poles


@pytest.mark.parametrize("f", [lambda x: 1 / x, np.reciprocal, lambda x: x**-1, lambda x: np.divide(1.0, x)])
def test_the_reciprocal_has_the_limits_of_its_derivatives_at_zero_from_either_side(f):
    with np.errstate(all="ignore"):
        check(f, [0.0], np.inf, -np.inf, np.inf)
        check(f, [-0.0], -np.inf, -np.inf, -np.inf)


@pytest.mark.parametrize("f", [lambda p: 0.0**p, lambda p: np.array(0.0) ** p, lambda p: np.power(np.zeros(2), p)])
def test_a_power_of_zero_has_the_limits_of_its_derivatives_by_a_negative_exponent(f):
    p = Tensor([-1.0, -0.5], requires_grad=True)
    with np.errstate(all="ignore"):
        (g,) = ad.gradients(f(p).sum(), p, create_graph=True)
        (h,) = ad.gradients(g.sum(), p)
    assert (g.data == -np.inf).all() and (h.data == np.inf).all()


# Infinities: limits where they exist


INF = math.inf
NAN = math.nan


@pytest.mark.parametrize(
    "row, soft, log_soft, lse, gradient",
    [
        ([INF, 0.0, 1.0], [1, 0, 0], [0, -INF, -INF], INF, [1, 0, 0]),
        ([INF, -INF, 1.0], [1, 0, 0], [0, -INF, -INF], INF, [1, 0, 0]),
        ([INF, INF, 1.0], [NAN, NAN, 0], [NAN, NAN, -INF], INF, [NAN, NAN, 0]),
        ([-INF, -INF, -INF], [NAN] * 3, [NAN] * 3, -INF, [0, 0, 0]),
        ([-INF, 0.0, 0.0], [0, 0.5, 0.5], [-INF, -math.log(2), -math.log(2)], math.log(2), [0, 0.5, 0.5]),
        ([NAN, 0.0, INF], [NAN] * 3, [NAN] * 3, NAN, [NAN] * 3),
    ],
)  # fmt: skip
def test_infinite_logits_have_the_limits_and_nan_where_there_is_none(row, soft, log_soft, lse, gradient):
    x = np.array(row)
    np.testing.assert_allclose(ad.softmax(x).data, soft, rtol=1e-15)
    np.testing.assert_allclose(ad.log_softmax(x).data, log_soft, rtol=1e-15)
    np.testing.assert_allclose(ad.logsumexp(x).data, lse, rtol=1e-15)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(ad.grad(lambda t: ad.logsumexp(t))(x), gradient, rtol=1e-15)
        p = np.array(gradient, float)
        second = np.diag(p) - np.outer(p, p)
        found = ad.hessian(lambda t: ad.logsumexp(t))(x)
        if np.isfinite(p).all():
            np.testing.assert_allclose(found, second, atol=1e-15)
            np.testing.assert_allclose(
                ad.jacobian(lambda t: ad.softmax(t))(x), second if lse != -INF else NAN, atol=1e-15
            )
        else:
            assert np.isnan(found[np.isnan(p)][:, np.isnan(p)]).all()
        for k in range(3):
            np.testing.assert_allclose(ad.cross_entropy(x, k).data, -np.array(log_soft[k]), rtol=1e-15)
            if np.isfinite(np.array(soft, float)).all():
                slope = ad.grad(lambda t: ad.cross_entropy(t, k))(x)
                np.testing.assert_allclose(slope, np.array(soft) - np.eye(3)[k], rtol=1e-15)
                curvature = ad.hessian(lambda t: ad.cross_entropy(t, k))(x)
                np.testing.assert_allclose(curvature, second, atol=1e-15)


@pytest.mark.parametrize(
    "a, b, by_a, by_b, second",
    [(INF, 0.0, 1, 0, 0), (0.0, INF, 0, 1, 0), (-INF, 0.0, 0, 1, 0), (INF, -INF, 1, 0, 0), (-INF, -INF, 0, 0, 0),
     (INF, INF, NAN, NAN, NAN)],
)  # fmt: skip
@pytest.mark.parametrize("f", [np.logaddexp, np.logaddexp2])
def test_logaddexp_of_infinities_agrees_with_logsumexp(f, a, b, by_a, by_b, second):
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(ad.grad(f, argnums=(0, 1))(a, b), [by_a, by_b])
        np.testing.assert_array_equal(ad.hessian(lambda v: f(v[0], v[1]))(np.array([a, b])), np.full((2, 2), second))


# Half precision: counts and sums beyond 65504


@pytest.mark.parametrize(
    "f",
    [np.mean, np.max, np.var, np.std, np.linalg.norm, ad.logsumexp, lambda x: ad.softmax(x)[0] * 1000,
     lambda x: ad.log_softmax(x)[0], lambda x: ad.cross_entropy(x, 3), lambda x: np.sum(x, axis=0) / 64],
)  # fmt: skip
def test_long_rows_in_half_precision_have_the_values_and_gradients_of_double_precision(f):
    rng = np.random.default_rng(0)
    x = (rng.integers(-8, 8, 200_000) / 8).astype(np.float16)
    found, expected = ([], [])
    for dtype, into in ((np.float16, found), (np.float64, expected)):
        t = Tensor(x.astype(dtype), requires_grad=True)
        y = f(t)
        (g,) = ad.gradients(y, t)
        assert y.dtype == g.dtype == dtype
        into += [y.data, g.data]
    eps, tiny = 2.0**-10, 2.0**-24  # the step of half precision below 1, and the least number it has
    np.testing.assert_allclose(found[0], expected[0], rtol=2 * eps)
    np.testing.assert_allclose(found[1].astype(float), expected[1], rtol=4 * eps, atol=2 * tiny)


# Axes of softmax and its kin


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (2, 0), (0, 1, 2), (1,), [0, 1]], ids=str)
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_softmax_and_its_kin_take_the_axes_that_scipy_takes(name, axis):
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    ours, theirs = getattr(ad, name), getattr(scipy.special, name)
    axes = tuple(axis) if isinstance(axis, list) else axis
    np.testing.assert_allclose(ours(x, axis).data, theirs(x, axis=axes), rtol=1e-13)
    assert ad.gradcheck(lambda t: ours(t, axis), [x]) and ad.gradgradcheck(lambda t: ours(t, axis), [x])


def test_softmax_of_nothing_is_refused_as_scipy_does_and_logsumexp_of_nothing_is_minus_infinity():
    for f in (ad.softmax, ad.log_softmax):
        for shape, axis in (((0,), None), ((2, 0), 1), ((2, 0), (0, 1))):
            with pytest.raises(ValueError, match="no class along axis"):
                f(np.zeros(shape), axis)
        assert f(np.zeros((2, 0)), 0).shape == (2, 0) and f(3.0).shape == ()
    assert ad.logsumexp(np.zeros((0, 2)), 0).tolist() == [-INF, -INF]
    assert ad.grad(lambda t: ad.logsumexp(t, 0).sum())(np.zeros((0, 2))).shape == (0, 2)


# NumPy's dtypes


def test_float_power_dot_and_inner_have_numpys_dtype():
    x = np.array([1.0, 2.0], np.float32)
    for args in ((x, 2.0), (2, x), (x, np.float32(2)), (x, x), (x.astype(int), x), (2, 2)):
        given = [Tensor(v) if isinstance(v, np.ndarray) else v for v in args]
        assert ad.float_power(*given).dtype == np.float_power(*args).dtype == np.float64
    for f in (np.dot, np.inner):
        for other in (2.0, 3, True, np.float32(2), np.float64(2)):
            assert f(Tensor(x), other).dtype == f(x, other).dtype
            assert f(other, Tensor(x)).dtype == f(other, x).dtype
    t = Tensor(x, requires_grad=True)
    (g,) = ad.gradients(np.dot(t, 2.0).sum() + np.float_power(t, 2).sum(), t)
    assert g.dtype == np.float32 and g.tolist() == [4.0, 6.0]


def test_errors_of_nan_to_num_and_unstack_say_what_was_met():
    with pytest.raises(ValueError, match=r"nan_to_num\(shape \(2,\), nan=\[1, 2, 3\]"):
        np.nan_to_num(Tensor([1.0, np.nan]), nan=[1, 2, 3])
    with pytest.raises(TypeError, match=r"nan_to_num\(shape \(1,\).*posinf='a'"):
        np.nan_to_num(Tensor([1.0]), posinf="a")
    with pytest.raises(ValueError, match=r"unstack: a single number, of shape \(\), has no axis"):
        ad.unstack(Tensor(1.0))
    with pytest.raises(np.exceptions.AxisError, match=r"unstack\(shape \(1, 1\)\): axis 5 is out of bounds for 2 axes"):
        ad.unstack(Tensor([[1.0]]), axis=5)


# Outside the domain


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("f", "outside"),
    [
        (np.log, -2.0), (np.log2, -2.0), (np.log10, -2.0), (np.log1p, -3.0), (np.arctanh, 2.0), (np.sqrt, -1.0),
        (np.arcsin, 2.0), (np.arccos, -2.0), (np.arccosh, 0.5), (ad.special.logit, 2.0), (ad.special.logit, -1.0),
        (lambda x: ad.special.xlogy(1.0, x), -1.0), (lambda x: ad.special.xlog1py(1.0, x), -3.0),
        (lambda x: x % 0.0 * x, 1.5), (lambda x: np.fmod(x, 0.0) * x, 1.5), (lambda x: x**0.5, -1.0),
        (ad.special.erfinv, 2.0), (ad.special.ndtri, 1.5),
    ],
)  # fmt: skip
def test_where_the_value_is_nan_so_is_every_derivative(f, outside):
    x = np.array(outside)
    assert np.isnan(ad.value_and_grad(f)(x)).all()
    assert np.isnan(ad.jvp(f, (x,), (1.0,))).all()
    assert np.isnan(ad.grad(ad.grad(f))(x))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("outer", [np.square, lambda u: u * u, lambda u: u**2, lambda u: u**3, np.exp, np.abs, np.sin])
def test_what_where_hides_outside_the_domain_of_log_has_derivative_0(outer):
    def f(x):
        return np.where(x > 0, outer(np.log(x)), 0.0).sum()

    def inside(x):
        return outer(np.log(x)).sum()

    x = np.array([-2.0, 0.0, 4.0])
    first, second = ad.grad(f)(x), ad.hvp(f, x, np.ones(3))
    np.testing.assert_allclose(first, [0, 0, ad.grad(inside)(4.0)])
    np.testing.assert_allclose(second, [0, 0, ad.grad(ad.grad(inside))(4.0)])


# Mixed precisions: rules compute in the result's


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (lambda t: t ** np.array(-128, np.int8), 1.01, -128 * 1.01**-129),
        (lambda t: np.array(200, np.uint8) ** t, 0.5, 200**0.5 * np.log(200)),
        (lambda t: ad.special.xlogy(t, np.array(3, np.uint8)), 1.0, np.log(3)),
        (lambda t: ad.special.xlog1py(t, np.array(3, np.int8)), 1.0, np.log(4)),
        (lambda t: t / np.float16(3), 1.0, 1 / 3),
        (lambda t: t / np.array([3], np.float32).sum(), 1.0, 1 / 3),
        (lambda t: t / ad.Tensor(3, dtype="float32"), 1.0, 1 / 3),
        (lambda t: t ** np.array(0.25, np.float16), 1e-3, 0.25 * 1e-3**-0.75),
        (lambda t: np.average(ad.stack([t, t * 0, t * 0]), weights=np.array([3, 2, 7], np.float16)), 1.0, 0.25),
    ],
)
def test_a_narrow_constant_does_not_make_the_gradient_less_precise(f, x, expected):
    np.testing.assert_allclose(ad.grad(f)(x), expected, rtol=1e-14)
    np.testing.assert_allclose(ad.jvp(f, (x,), (1.0,))[1], expected, rtol=1e-14)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_mixed_derivatives_of_powers_of_0_are_not_made_up():
    """∂²(xᵖ)/∂x∂p = xᵖ⁻¹ (1 + p log x), at x = 0: no finite number up to p = 1, 0 beyond."""
    mixed = ad.grad(ad.grad(lambda x, p: x**p, 1), 0)
    assert not np.isfinite([mixed(0.0, 0.5), mixed(0.0, 1.0)]).any()
    assert mixed(0.0, 2.0) == mixed(0.0, 1.5) == 0
    assert ad.grad(lambda x: x**x)(0.0) == -np.inf
    assert np.isnan(ad.grad(ad.grad(ad.special.xlogy, 1), 1)(0.0, 0.0))

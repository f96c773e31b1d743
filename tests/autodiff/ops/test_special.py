"""Special functions against SciPy's values, PyTorch's derivatives and arbitrary precision."""

import math
import subprocess
import sys

import numpy as np
import pytest

import autodiff as ad
import autodiff.special as special
from autodiff import Tensor
from autodiff.checking.gradcheck import gradcheck, gradgradcheck
from autodiff.ops.special import _inverse_mills
from tests.against_torch import agrees_with_torch
from tests.mathematics import derivatives_agree

LINE = np.array([-3.1, -1.2, -0.4, 0.0, 0.3, 1.7, 2.9])
POSITIVE = np.array([0.05, 0.3, 0.9, 1.5, 4.2, 11.0])
UNIT = np.array([0.02, 0.3, 0.5, 0.81, 0.97])
DOMAINS = {
    "erf": LINE, "erfc": LINE, "erfinv": 2 * UNIT - 1, "ndtr": LINE, "ndtri": UNIT, "log_ndtr": 4 * LINE,
    "gammaln": POSITIVE, "gamma": POSITIVE, "digamma": POSITIVE, "expit": LINE, "log_expit": LINE, "logit": UNIT,
    "entr": POSITIVE,
}  # fmt: skip


@pytest.mark.parametrize("name", DOMAINS)
def test_values_are_scipys_and_scipys_function_of_a_tensor_is_ours(name):
    import scipy.special

    x = DOMAINS[name]
    theirs = getattr(scipy.special, name)
    for shape in [x.shape, (1, -1, 1), (0,)]:
        a = x.reshape(shape) if shape != (0,) else x[:0]
        np.testing.assert_allclose(getattr(special, name)(a).numpy(), theirs(a), rtol=1e-14)
    y = theirs(Tensor(x, requires_grad=True))
    assert isinstance(y, Tensor) and y.requires_grad
    narrow = theirs(Tensor(x.astype(np.float32), requires_grad=True))
    assert narrow.dtype == np.float32
    assert getattr(special, name)(0.5).shape == ()


@pytest.mark.parametrize("name", DOMAINS)
def test_first_and_second_derivatives_agree_with_torch(name):
    torch = pytest.importorskip("torch")
    theirs = {
        "gammaln": torch.lgamma,
        "gamma": lambda x: torch.exp(torch.lgamma(x)),
        "log_expit": torch.nn.functional.logsigmoid,
        "log_ndtr": lambda x: torch.log(
            torch.special.erfc(-x / math.sqrt(2)) / 2
        ),  # torch's own has no second derivative
    }.get(name) or getattr(torch.special, name)
    ours = getattr(special, name)
    agrees_with_torch(lambda x: ours(x), theirs, DOMAINS[name], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", ["xlogy", "xlog1py"])
def test_x_times_a_logarithm_agrees_with_torch_where_x_is_zero_too(name):
    torch = pytest.importorskip("torch")
    x, y = np.array([[0.0], [0.7], [-2.0]]), np.array([0.3, 1.0, 2.5])
    agrees_with_torch(getattr(special, name), getattr(torch.special, name), x, y)


def test_a_product_with_the_logarithm_of_zero_is_zero_and_has_no_nan():
    for f, zero in ((special.xlogy, 0.0), (special.xlog1py, -1.0)):
        x, y = Tensor([0.0, 1.0], requires_grad=True), Tensor([zero, 1.0], requires_grad=True)
        with np.errstate(all="ignore"):
            dx, dy = ad.gradients(f(x, y).sum(), (x, y))
        assert f(x, y).numpy()[0] == 0 and dy.numpy()[0] == 0 and dx.numpy()[0] == -np.inf
    x = Tensor([0.0, 0.5], requires_grad=True)
    with np.errstate(all="ignore"):
        (d,) = ad.gradients(np.where(x.numpy() > 0, special.entr(x), 0.0).sum(), x, create_graph=True)
        (dd,) = ad.gradients(d.sum(), x)
    np.testing.assert_allclose(d.numpy(), [0, -math.log(0.5) - 1])
    np.testing.assert_allclose(dd.numpy(), [0, -2])


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_polygamma_is_scipys_and_closed_under_differentiation(n):
    from scipy.special import polygamma

    x = Tensor(POSITIVE, requires_grad=True)
    y = special.polygamma(n, x)
    for order in range(3):
        np.testing.assert_allclose(y.numpy(), polygamma(n + order, POSITIVE), rtol=1e-12)
        (y,) = ad.gradients(y, x, np.ones(y.shape), create_graph=True)
    assert special.polygamma(2, Tensor(POSITIVE.astype(np.float32))).dtype == np.float32
    assert special.polygamma(1, [1, 2]).dtype == np.float64
    gradcheck(lambda x: special.polygamma(n, x), np.array([-0.4, -1.3, 0.7]))


def test_polygamma_of_a_wrong_order_is_refused():
    with pytest.raises(TypeError, match="polygamma"):
        special.polygamma(0.5, Tensor(1.0))
    with pytest.raises(ValueError, match="-1"):
        special.polygamma(-1, Tensor(1.0))


@pytest.mark.parametrize("name", ["erf", "erfc", "digamma", "gammaln", "gamma"])
def test_derivatives_of_higher_order_are_those_of_differences(name):
    x = np.array([0.4, 1.3, 2.2])
    f = getattr(special, name)
    gradcheck(f, x)
    gradgradcheck(f, x)
    gradgradcheck(ad.elementwise_grad(f), x, rtol=1e-4)


def test_log_ndtr_is_right_to_four_orders_far_into_both_tails():
    """The derivatives of φ/Φ in 50 digits, from h′ = −h (x + h)."""
    mpmath = pytest.importorskip("mpmath")
    points = [-1e4, -300.0, -100.0, -37.0, -20.0, -12.1, -11.9, -8.0, -5.0, -2.0, -0.1, 0.0, 0.3, 2.0, 6.0, 15.0, 30.0]
    for x in points:
        with mpmath.workdps(80):
            z = mpmath.mpf(x)
            h = mpmath.npdf(z) / (mpmath.erfc(-z / mpmath.sqrt(2)) / 2)
            h1 = -h * (z + h)
            h2 = -h1 * (z + h) - h * (1 + h1)
            h3 = -h2 * (z + h) - 2 * h1 * (1 + h1) - h * h2
            exact = [float(v) for v in (h, h1, h2, h3)]
        for order, tolerance in enumerate([1e-13, 1e-11, 1e-9, 1e-7]):
            found = float(_inverse_mills(Tensor(x), order=order))
            assert math.isclose(found, exact[order], rel_tol=tolerance, abs_tol=1e-300), (x, order, found, exact[order])
    t = Tensor(points, requires_grad=True)
    (d,) = ad.gradients(special.log_ndtr(t).sum(), t, create_graph=True)
    (dd,) = ad.gradients(d.sum(), t)
    assert np.isfinite(d.numpy()).all() and (dd.numpy() <= 0).all() and (dd.numpy() >= -1 - 1e-12).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["erf", "erfc", "ndtr", "log_ndtr", "expit", "log_expit"])
def test_values_and_two_derivatives_are_finite_at_large_inputs(name, dtype):
    x = Tensor(np.array([-100, -30, -9, 9, 30, 100], dtype), requires_grad=True)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = getattr(special, name)(x)
        (d,) = ad.gradients(y.sum(), x, create_graph=True)
        (dd,) = ad.gradients(d.sum(), x)
    for v in (y, d, dd):
        assert v.dtype == dtype and np.isfinite(v.numpy()).all()
    if name == "log_ndtr":
        np.testing.assert_allclose(d.numpy()[0], 100.009998, rtol=1e-6)
        np.testing.assert_allclose(dd.numpy()[0], -0.99990006, rtol=1e-6)


def test_gammaln_and_digamma_are_finite_at_a_hundred_in_float32():
    x = Tensor(np.array([0.01, 100.0], np.float32), requires_grad=True)
    (d,) = ad.gradients(special.gammaln(x).sum(), x, create_graph=True)
    (dd,) = ad.gradients(d.sum(), x, create_graph=True)
    (ddd,) = ad.gradients(dd.sum(), x)
    for v in (d, dd, ddd):
        assert v.dtype == np.float32 and np.isfinite(v.numpy()).all()


def test_scipy_is_imported_by_the_first_call_and_not_before():
    code = (
        "import sys, autodiff, autodiff.special, autodiff.linalg\n"
        "assert not any(m.split('.')[0] == 'scipy' for m in sys.modules), 'scipy was imported'\n"
        "print(float(autodiff.special.erf(0.0)), 'scipy.special' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout.split() == ["0.0", "True"], result.stderr


def test_a_special_function_without_a_rule_is_refused_by_name():
    import scipy.special

    x = Tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError, match=r"scipy\.special\.struve"):
        scipy.special.struve(1, x)
    with pytest.raises(TypeError, match="polygamma"):
        scipy.special.polygamma(1, x)


UFUNCS = {
    "erfcinv": (UNIT * 2,), "gammasgn": (LINE,), "erfi": (LINE,), "fresnel": (LINE,), "spence": (POSITIVE,),
    "hyp0f1": (2.5, LINE), "hyp1f1": (0.5, 2.5, LINE), "hyp2f1": (0.5, 1.5, 2.5, UNIT - 1), "rel_entr": (POSITIVE, UNIT[:1]), "kl_div": (POSITIVE, UNIT[:1]),
    "huber": (UNIT[:1], LINE), "pseudo_huber": (UNIT[:1], LINE),
    "beta": (POSITIVE, UNIT[:1]), "betaln": (POSITIVE, UNIT[:1]), "betainc": (POSITIVE, UNIT[:1], UNIT[2]),
    "betaincc": (POSITIVE, UNIT[:1], UNIT[2]), "gammainc": (POSITIVE, UNIT[:1]), "gammaincc": (POSITIVE, UNIT[:1]),
    "rgamma": (LINE,), "loggamma": (POSITIVE,), "erfcx": (LINE,), "dawsn": (LINE,), "expi": (LINE,), "exp1": (POSITIVE,),
    "expn": (2, POSITIVE), "owens_t": (LINE, UNIT[:1]), "sici": (POSITIVE,), "cosm1": (LINE,), "exprel": (LINE,),
    "expm1": (LINE,), "log1p": (POSITIVE,), "boxcox": (POSITIVE, UNIT[:1]), "boxcox1p": (POSITIVE, LINE[1]),
    "inv_boxcox": (POSITIVE, UNIT[:1]), "i0e": (LINE,), "i1e": (LINE,), "ive": (2, LINE), "yn": (2, POSITIVE),
    **{f"{letter}{v}": (POSITIVE,) for letter in "jyik" for v in (0, 1)},
    **{f"{letter}v": (2.5, POSITIVE) for letter in "jyik"},
}  # fmt: skip


@pytest.mark.parametrize("name", UFUNCS)
def test_scipys_function_of_a_tensor_has_scipys_values_and_dtype_and_a_graph(name):
    import scipy.special

    theirs, args = getattr(scipy.special, name), UFUNCS[name]
    *before, last = args
    if before and np.size(last) < np.size(before[0]):
        (last, *before), place = args, 0
    else:
        place = len(before)

    def given(x):
        return (*before[:place], x, *before[place:])

    for function in (theirs, getattr(special, name)):
        for dtype in (np.float64, np.float32):
            x = np.asarray(last).astype(dtype)
            found = function(*given(Tensor(x, requires_grad=True)))
            expected = theirs(*given(x))
            for y, right in zip(*[v if isinstance(v, tuple) else (v,) for v in (found, expected)], strict=True):
                assert y.requires_grad and y.dtype == right.dtype and y.shape == right.shape
                np.testing.assert_allclose(y.numpy(), right, rtol=4 * np.finfo(right.dtype).eps)


@pytest.mark.parametrize(
    "name", [n for n, args in UFUNCS.items() if len(args) > 1 and "hyp" not in n] + ["stdtr", "gammaincinv", "xlogy"]
)
def test_the_other_inputs_may_be_python_numbers_also_in_further_derivatives(name):
    import scipy.special

    theirs = getattr(scipy.special, name)
    n = len(UFUNCS.get(name, (0, 0)))
    for place in range(n):
        if place == 0 and name in ("jv", "yv", "iv", "kv", "ive", "yn", "expn"):
            continue
        numbers = [2 if name in ("yn", "expn") else 0.3, 0.4, 0.6][:n]

        def f(x, place=place, numbers=numbers):
            return theirs(*numbers[:place], x, *numbers[place + 1 :])

        gradcheck(f, numbers[place])
        gradcheck(ad.grad(f), numbers[place])
        arrays = [np.array(v) for v in numbers]
        exact = ad.grad(lambda x: theirs(*arrays[:place], x, *arrays[place + 1 :]))(numbers[place])
        assert ad.grad(f)(numbers[place]) == exact  # a number has all its digits


def test_relative_entropies_at_zero_are_their_limits_and_nan_outside():
    x, y = Tensor([0.0, 0.0, -1.0], requires_grad=True), Tensor([1.0, 0.0, -2.0], requires_grad=True)
    dx, dy = ad.gradients(special.rel_entr(x, y).sum(), (x, y))
    np.testing.assert_array_equal(dx.numpy(), [-np.inf, np.nan, np.nan])
    np.testing.assert_array_equal(dy.numpy(), [0, 0, np.nan])
    (dy,) = ad.gradients(special.kl_div(x, y).sum(), y)
    np.testing.assert_array_equal(dy.numpy(), [1, 1, np.nan])


@pytest.mark.parametrize("name", ["huber", "pseudo_huber"])
def test_robust_losses_have_the_derivatives_of_differences_by_both_inputs(name):
    gradcheck(getattr(special, name), (np.array([[0.7], [2.0]]), np.array([-3.0, -0.3, 0.0, 0.5, 1.1])))
    d = ad.grad(getattr(special, name), (0, 1))(0.0, 2.0)
    assert d[1] == 0 and d[0] == 2


def test_relative_entropies_have_the_derivatives_of_arbitrary_precision():
    mp = pytest.importorskip("mpmath")
    points = [(0.3, 2.0), (3.0, 0.01), (1.0, 1.0)]
    derivatives_agree(special.rel_entr, lambda x, y: x * mp.log(x / y), points)
    derivatives_agree(special.kl_div, lambda x, y: x * mp.log(x / y) - x + y, points)
    derivatives_agree(lambda y, x: special.kl_div(x, y), lambda y, x: x * mp.log(x / y) - x + y, points)
    derivatives_agree(special.erfcinv, lambda x: mp.erfinv(1 - x), [(1e-9,), (0.5,), (1.9,)], rtol=1e-10)

"""`optim.least_squares` is SciPy's with the exact Jacobian, for nested arrays."""

import numpy as np
import pytest
import scipy.optimize

import autodiff as ad
import optim

T = np.linspace(0, 3, 25)
DATA = 2.5 * np.exp(-1.3 * T) + 0.4 + 0.05 * np.random.default_rng(0).normal(size=25)
OUTLIERS = np.where(np.arange(25) % 8 == 3, DATA + 3, DATA)


def residuals(p, data=DATA):
    return p[0] * np.exp(-p[1] * T) + p[2] - data


def by_hand(p, data=DATA):
    e = np.exp(-p[1] * T)
    return np.stack([e, -p[0] * T * e, np.ones_like(T)], axis=1)


ROBUST, BOUNDED = {"loss": "soft_l1", "f_scale": 0.2}, {"bounds": ([0, 0, 0], [2.2, 5, 1])}


@pytest.mark.parametrize(
    "method, options", [("lm", {}), *((m, options) for m in ("trf", "dogbox") for options in ({}, ROBUST, BOUNDED))]
)
def test_it_takes_scipy_s_path_with_the_jacobian_written_by_hand(method, options):
    data = OUTLIERS if "loss" in options else DATA
    start = np.array([1.0, 1.0, 0.1])
    wanted = scipy.optimize.least_squares(residuals, start, by_hand, method=method, args=(data,), **options)
    if "bounds" in options:
        options = {"bounds": tuple(map(np.array, options["bounds"]))}
    found = optim.least_squares(lambda p: residuals(p, data), start, method, **options)
    assert (found.nfev, found.njev, found.status) == (wanted.nfev, wanted.njev, wanted.status)
    np.testing.assert_allclose(found.x, wanted.x, rtol=1e-9)
    np.testing.assert_allclose(found.jac, wanted.jac, rtol=1e-7, atol=1e-9)
    assert found.cost == pytest.approx(wanted.cost, rel=1e-10)


def test_nested_variables_and_residuals_in_a_list():
    def fun(p):
        return [p["w"][0] - 1, 10 * (p["w"][1] - p["w"][0] ** 2), p["b"] - 3 * p["w"][1]]

    found = optim.least_squares(fun, {"w": ad.Tensor([-1.2, 1.0]), "b": 0}, xtol=1e-12)
    assert isinstance(found.x["w"], ad.Tensor) and isinstance(found.x["b"], float) and found.success
    np.testing.assert_allclose([*found.x["w"].numpy(), found.x["b"]], [1, 1, 3], rtol=1e-7)
    assert found.grad["w"].shape == (2,) and found.jac.shape == (3, 3)


def test_products_alone_lead_to_the_same_place():
    n = 40
    chain = lambda x: np.concatenate([10 * (x[1:] - x[:-1] ** 2), 1 - x])
    start = np.full(n, 0.5)
    products = optim.least_squares(chain, start, jac="products", tr_solver="lsmr", gtol=1e-12, xtol=1e-12)
    np.testing.assert_allclose(products.x, 1, atol=1e-6)
    options = {"bounds": (None, 0.9), "ftol": 1e-12, "xtol": 1e-12}
    bounded = [optim.least_squares(chain, start, jac=jac, **options).x for jac in ("products", "dense")]
    np.testing.assert_allclose(*bounded, atol=1e-4)


def test_mistakes_are_named():
    x = np.ones(2)
    for call, error, text in [
        (lambda: optim.least_squares(1, x), TypeError, "fun must be a function of x, not int"),
        (lambda: optim.least_squares(np.sin, x, args=(1,)), TypeError, r"takes x alone, .* lambda x: fun\(x, \*args\)"),
        (lambda: optim.least_squares(np.sin, x, "newton"), ValueError, "one of trf, dogbox, lm, not 'newton'"),
        (lambda: optim.least_squares(np.sin, x, "lm", bounds=(0, 1)), ValueError, "lm takes no bounds; take 'trf'"),
        (lambda: optim.least_squares(np.sin, x, "lm", jac="products"), ValueError, "lm takes no products"),
        (lambda: optim.least_squares(np.sin, x, jac=np.cos), ValueError, "jac is 'dense' or 'products'"),
        (lambda: optim.least_squares(lambda x: x.numpy(), x), TypeError, "must return a Tensor that it computed"),
        (lambda: optim.least_squares(lambda x: x * np.nan, x), FloatingPointError, "not finite at x0"),
        (lambda: optim.least_squares(lambda x: ad.sqrt(x - 1), x), FloatingPointError, "derivative of fun has NaN"),
        (lambda: optim.least_squares(np.sin, x.astype(complex)), ValueError, "real numbers, not complex128"),
    ]:
        with np.errstate(all="ignore"), pytest.raises(error, match=text):
            call()

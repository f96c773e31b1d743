"""`optim.minimize` is SciPy's `minimize` with the engine's derivatives, for nested arrays."""

import re
import warnings

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import rosen, rosen_der, rosen_hess

import autodiff as ad
import optim

START = np.array([-1.2, 1.0, -0.5, 0.8])
DERIVATIVE_FREE = ["Nelder-Mead", "Powell", "COBYLA", "COBYQA"]
GRADIENT = ["CG", "BFGS", "L-BFGS-B", "TNC", "SLSQP"]
SECOND = ["Newton-CG", "trust-ncg", "trust-krylov", "trust-constr", "trust-exact"]


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def bowl(p):
    a, (b, c) = p["a"], p["rest"]
    return ((a - 1) ** 2).sum() + (b - 2) ** 2 + ((c * a.sum() - 3) ** 2).sum() + 0.5 * (a**4).sum()


BOWL = {"a": np.zeros((2, 2)), "rest": (0.5, [np.ones(3)][0])}


@pytest.mark.parametrize("method", GRADIENT + SECOND)
def test_it_takes_scipy_s_path_with_scipy_s_hand_written_derivatives(method):
    theirs = {} if method in GRADIENT else {"hess": rosen_hess}
    for steps, tol in ((5, 1e-6), (1000, 1e-4)):
        options = {"maxfun" if method == "TNC" else "maxiter": steps}
        wanted = scipy.optimize.minimize(
            rosen, START, method=method, jac=rosen_der, tol=1e-6, options=options, **theirs
        )
        found = optim.minimize(rosenbrock, START, method, tol=1e-6, options=options)
        assert found.success == wanted.success
        np.testing.assert_allclose(found.x, wanted.x, atol=tol)
    assert isinstance(found.x, np.ndarray) and isinstance(found.fun, float)


@pytest.mark.parametrize("method", DERIVATIVE_FREE + GRADIENT + SECOND)
def test_x_is_nested_like_x0_whatever_the_method(method):
    options = {"maxiter": 20_000, "adaptive": True} if method == "Nelder-Mead" else None
    result = optim.minimize(bowl, BOWL, method.lower(), tol=1e-8, options=options)
    best = optim.minimize(bowl, BOWL, "trust-exact", tol=1e-10)
    assert result.x.keys() == {"a", "rest"} and isinstance(result.x["rest"], tuple)
    assert (
        result.x["a"].shape == (2, 2) and isinstance(result.x["rest"][0], float) and result.x["rest"][1].shape == (3,)
    )
    assert result.fun == pytest.approx(best.fun, abs=1e-3)
    if method in SECOND + ["BFGS", "CG"]:
        assert result.fun == pytest.approx(best.fun, abs=1e-9)
        np.testing.assert_allclose(result.x["a"], best.x["a"], atol=1e-4)
    if "jac" in result and method not in DERIVATIVE_FREE:
        jac = result.jac if isinstance(result.jac, dict) else None
        assert jac is None or jac["a"].shape == (2, 2)


def test_dogleg_gets_a_positive_definite_hessian():
    result = optim.minimize(lambda x: ad.cosh(x - 1).sum() + (x[0] * x[1]) ** 2, np.zeros(3), "dogleg", tol=1e-10)
    assert result.success
    slope = ad.grad(lambda x: ad.cosh(x - 1).sum() + (x[0] * x[1]) ** 2)(result.x)
    np.testing.assert_allclose(slope, 0, atol=1e-9)


def test_tensors_come_back_as_tensors_and_dtypes_are_kept():
    x0 = {"t": ad.Tensor(np.zeros(2, "float32")), "n": 3, "s": np.float32(1.0), "none": None}

    def fun(p):
        assert p["t"].dtype == p["s"].dtype == np.float32 and p["n"].dtype == np.float64
        return ((p["t"] - 1) ** 2).sum() + (p["n"] - 2) ** 2 + (p["s"] - 4) ** 2

    x = optim.minimize(fun, x0).x
    assert isinstance(x["t"], ad.Tensor) and x["t"].dtype == np.float32 and not x["t"].requires_grad
    assert isinstance(x["n"], float) and x["s"].dtype == np.float32 and x["none"] is None
    np.testing.assert_allclose([*x["t"].numpy(), x["n"], x["s"]], [1, 1, 2, 4], rtol=1e-4)
    assert x0["t"].numpy().tolist() == [0.0, 0.0]  # the start is left alone
    assert optim.minimize(lambda x: (x - 2) ** 2, 1.0).x == pytest.approx(2.0)


@pytest.mark.parametrize(
    "method", ["Nelder-Mead", "Powell", "L-BFGS-B", "TNC", "SLSQP", "trust-constr", "COBYLA", "COBYQA"]
)
def test_bounds_hold_nested_or_as_numbers_or_scipy_s(method):
    def fun(p):
        return ((p["a"] - 3) ** 2).sum() + (p["b"] + 3) ** 2

    x0 = {"a": np.zeros(2), "b": 0.0}
    for bounds in (
        ({"a": -np.inf, "b": -1.0}, {"a": [1.0, 2.0], "b": np.inf}),
        scipy.optimize.Bounds([-np.inf, -np.inf, -1.0], [1.0, 2.0, np.inf]),
    ):
        result = optim.minimize(fun, x0, method, bounds=bounds)
        np.testing.assert_allclose([*result.x["a"], result.x["b"]], [1, 2, -1], atol=2e-3)
    result = optim.minimize(fun, x0, method, bounds=(None, 0.5))
    np.testing.assert_allclose([*result.x["a"], result.x["b"]], [0.5, 0.5, -3], atol=2e-3)


@pytest.mark.parametrize("method", DERIVATIVE_FREE + GRADIENT + SECOND)
def test_a_callback_sees_nested_x_and_may_stop(method):
    seen = []

    def callback(p):
        seen.append(p)
        if len(seen) == 2:
            raise StopIteration

    options = {"initial_tr_radius": 0.1} if method == "COBYQA" else None
    optim.minimize(bowl, BOWL, method, callback=callback, options=options)
    assert 1 <= len(seen) and seen[0]["a"].shape == (2, 2)
    assert len(seen) == 2


def test_one_graph_serves_value_gradient_and_all_products_at_a_point():
    calls = []

    def fun(x):
        calls.append(1)
        return rosenbrock(x)

    result = optim.minimize(fun, START, "trust-ncg", tol=1e-8)
    assert result.success and len(calls) <= result.nit + 10 and result.nhev >= result.nit // 2


def test_a_leaf_without_influence_stays():
    for method in ("trust-ncg", "BFGS", "L-BFGS-B"):
        result = optim.minimize(lambda p: ((p[0] - 1) ** 2).sum(), [np.zeros(2), np.full(3, 7.0)], method)
        np.testing.assert_array_equal(result.x[1], [7.0, 7.0, 7.0])
        np.testing.assert_allclose(result.x[0], 1)


def test_an_indefinite_start_is_left_by_the_trust_region_methods():
    for method in ("trust-ncg", "trust-krylov", "trust-exact", "Newton-CG"):
        result = optim.minimize(lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2, np.array([0.1, 1.0]), method, tol=1e-8)
        assert result.fun == pytest.approx(0, abs=1e-8)


# Constraints: SciPy's, with its own results from derivatives written by hand

CORNER = np.array([0.3, 0.8])  # a start inside of all constraints


def disc(x):
    return [1.5 - x[0] ** 2 - x[1] ** 2, x[0] - 0.2 * x[1] ** 3]


def hand_written(x):
    return np.array([[-2 * x[0], -2 * x[1]], [1.0, -0.6 * x[1] ** 2]])


def curvature_by_hand(x, v):
    return np.array([[-2 * v[0], 0.0], [0.0, -2 * v[0] - 1.2 * x[1] * v[1]]])


LINE = scipy.optimize.LinearConstraint([[1.0, 2.0]], -np.inf, 2.2)


@pytest.mark.parametrize("method", ["SLSQP", "trust-constr", "COBYLA", "COBYQA"])
@pytest.mark.parametrize("as_dict", [True, False])
def test_constraints_take_scipy_s_path_with_derivatives_written_by_hand(method, as_dict):
    numbers = lambda x: np.array(disc(x))
    if as_dict:
        ours, by_hand = {"type": "ineq", "fun": disc}, {"type": "ineq", "fun": numbers, "jac": hand_written}
        if method.startswith("COB"):
            del by_hand["jac"]
    else:
        ours = [scipy.optimize.NonlinearConstraint(disc, 0, [np.inf, 0.9]), LINE]
        given = {"jac": hand_written, "hess": curvature_by_hand} if method == "trust-constr" else {"jac": hand_written}
        by_hand = [scipy.optimize.NonlinearConstraint(numbers, 0, [np.inf, 0.9], **given), LINE]
    options = {"maxiter": 60, "disp": False}
    derivatives = {} if method.startswith("COB") else {"jac": rosen_der}
    if method == "trust-constr":
        derivatives["hess"] = rosen_hess
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of SciPy's: a dict has no second derivatives by hand
        wanted = scipy.optimize.minimize(
            rosen, CORNER, method=method, constraints=by_hand, tol=1e-8, options=options, **derivatives
        )
        found = optim.minimize(rosenbrock, CORNER, method, constraints=ours, tol=1e-8, options=options)
    assert (found.nfev, found.success) == (wanted.nfev, wanted.success)
    np.testing.assert_allclose(found.x, wanted.x, rtol=1e-6)
    if not as_dict:
        assert found.x @ [1, 2] <= 2.2 + 1e-6


def test_an_equality_with_further_arguments_holds_for_nested_arrays():
    for method in ("SLSQP", "trust-constr"):
        sphere = {"type": "eq", "fun": lambda p, r: (p["a"] ** 2).sum() + p["b"] ** 2 - r, "args": (4.0,)}
        found = optim.minimize(
            lambda p: p["a"].sum() + p["b"], {"a": np.ones(2), "b": 0.5}, method, constraints=[sphere], tol=1e-9
        )
        np.testing.assert_allclose([*found.x["a"], found.x["b"]], -2 / np.sqrt(3), rtol=1e-5)


def test_a_constant_constraint_has_no_slope():
    still = scipy.optimize.NonlinearConstraint(lambda x: ad.Tensor([1.0]), 0, 2)
    found = optim.minimize(rosenbrock, CORNER, "trust-constr", constraints=still, tol=1e-8)
    np.testing.assert_allclose(found.x, 1, atol=1e-4)


def test_second_derivatives_are_given_as_asked():
    ring = lambda: scipy.optimize.NonlinearConstraint(lambda x: (x * x).sum(), 0.5, 1.5)
    best = {}
    for hess in ("exact", "products", "dense", None, scipy.optimize.SR1(), scipy.optimize.BFGS()):
        result = optim.minimize(
            rosenbrock, CORNER, "trust-constr", constraints=ring(), hess=hess, tol=1e-9, options={"maxiter": 300}
        )
        best[str(hess)[:25]] = result.x
        if hess in ("products", "dense") and isinstance(hess, str):
            assert result.nhev > 0
    for x in best.values():
        np.testing.assert_allclose(x, best["exact"], atol=1e-4)
    wanted = scipy.optimize.minimize(rosen, CORNER, method="trust-constr", jac=rosen_der, options={"maxiter": 9})
    found = optim.minimize(rosenbrock, CORNER, "trust-constr", hess=None, options={"maxiter": 9})
    np.testing.assert_allclose(found.x, wanted.x, rtol=1e-9)
    for method in ("Newton-CG", "trust-ncg", "trust-krylov"):
        products, dense = (optim.minimize(rosenbrock, START, method, hess=h, tol=1e-8) for h in ("products", "dense"))
        np.testing.assert_allclose(products.x, dense.x, atol=1e-6)


def test_bounds_may_be_scipy_s_list_of_pairs():
    fun = lambda p: ((p["a"] - 3) ** 2).sum() + (p["b"] + 3) ** 2
    x0 = {"a": np.zeros(2), "b": 0.0}
    for pairs in ([(None, 1), (0, 2.0), [-1, None]], ((-np.inf, 1), (None, 2), (-1, np.inf))):
        result = optim.minimize(fun, x0, "L-BFGS-B", bounds=pairs)
        np.testing.assert_allclose([*result.x["a"], result.x["b"]], [1, 2, -1], atol=1e-6)
    two = optim.minimize(lambda x: ((x - 3) ** 2).sum(), np.zeros(2), "TNC", bounds=[(0, 1), (0, 2)]).x
    np.testing.assert_allclose(two, [1, 2], atol=1e-6)
    one = optim.minimize(lambda x: (x - 3) ** 2, 0.0, "TNC", bounds=[(0, 1)]).x
    assert one == pytest.approx(1)


def test_constraints_that_do_not_fit_are_named():
    g, x = lambda x: x.sum(), np.ones(2)
    nonlinear, linear = scipy.optimize.NonlinearConstraint, scipy.optimize.LinearConstraint
    for options, error, text in [
        ({"method": "BFGS", "constraints": {"type": "eq", "fun": g}}, ValueError, "BFGS takes no constraints; .*cobyla"),
        ({"constraints": 3}, TypeError, r"constraints\[0\] must be a dict .*not int"),
        ({"constraints": [{"type": "<", "fun": g}]}, ValueError, r"constraints\[0\] is {'type': 'eq' or 'ineq'"),
        ({"constraints": [{"type": "eq", "fun": 1}]}, TypeError, "the fun of .* must be a function of x, not int"),
        ({"constraints": {"type": "eq", "fun": g, "jac": g}}, ValueError, "brings a 'jac' of its own; leave it out"),
        ({"constraints": nonlinear(g, 0, 1, hess=lambda x, v: 0)}, ValueError, "brings a 'hess' of its own"),
        ({"constraints": linear(np.ones((1, 3)), 0, 1)}, ValueError, "of 3 columns, but the flattened x has 2"),
        ({"constraints": nonlinear(lambda x: float(x.numpy().sum()), 0, 1)}, TypeError, r"constraints\[0\] must return"),
        ({"constraints": nonlinear(lambda x: ad.sqrt(x - 1), 0, 1)}, FloatingPointError, r"derivative of constraints\[0\]"),
        ({"hess": "all"}, ValueError, "SLSQP takes hess='exact', None, not 'all'"),
        ({"method": "trust-ncg", "hess": None}, ValueError, "trust-ncg takes hess='exact', 'products', 'dense', not None"),
        ({"method": "dogleg", "hess": "products"}, ValueError, "dogleg takes hess='exact', 'dense', not"),
        ({"bounds": ((0, 1), (2, 3))}, ValueError, r"may be \(low, high\) or a pair for each.*Bounds\(low, high\)"),
        ({"bounds": [(0, 1)] * 3}, ValueError, "3 pairs, the flattened x 2 entries"),
        ({"bounds": [(0, 1), (4, 3)]}, ValueError, "low bound 4 of entry 1"),
    ]:  # fmt: skip
        with np.errstate(all="ignore"), pytest.raises(error, match=text):
            optim.minimize(rosenbrock, x, **{"method": "SLSQP", **options})


def test_mistakes_are_named():
    x = np.ones(2)
    for call, error, text in [
        (lambda: optim.minimize(3, x), TypeError, "fun must be a function"),
        (lambda: optim.minimize(rosenbrock, x, "newton"), ValueError, "method must be one of nelder-mead"),
        (lambda: optim.minimize(rosenbrock, x, "trust-ncg", bounds=(0, 1)), ValueError, "takes no bounds"),
        (lambda: optim.minimize(rosenbrock, x, "TNC", bounds=(1, 0)), ValueError, "low bound 1 of entry 0"),
        (lambda: optim.minimize(rosenbrock, x, "TNC", bounds=(1, 0, 3)), ValueError, "a pair"),
        (lambda: optim.minimize(rosenbrock, x, "TNC", bounds=(np.zeros(3), 1)), ValueError, "does not fit"),
        (lambda: optim.minimize(rosenbrock, x, callback=1), TypeError, "callback"),
        (lambda: optim.minimize(rosenbrock, []), ValueError, "no entries"),
        (lambda: optim.minimize(rosenbrock, np.array(["a"])), ValueError, "real numbers"),
        (lambda: optim.minimize(lambda x: x, x), ValueError, r"returned shape \(2,\)"),
        (lambda: optim.minimize(lambda x: float(x.numpy().sum()), x), TypeError, "must return a Tensor"),
        (lambda: optim.minimize(lambda x: x.sum() * float(x[0]), x), TypeError, "where a derivative of it is taken"),
        (lambda: optim.minimize(lambda x: x.sum() * float(x[0]), x, "BFGS"), TypeError, "a plain float is asked for"),
        (lambda: optim.minimize(lambda x: x.sum() * np.nan, x), FloatingPointError, "nan at x0"),
        (lambda: optim.minimize(lambda x: ad.sqrt(x - 1).sum(), x), FloatingPointError, "gradient of fun has NaN"),
        (lambda: optim.minimize(lambda x: ((x - 1) ** 1.5 + x).sum(), x), FloatingPointError, "product of fun has NaN"),
    ]:
        with np.errstate(all="ignore"), pytest.raises(error, match=text):
            call()


def test_a_method_without_derivatives_takes_a_function_that_returns_a_number():
    result = optim.minimize(lambda x: float(((x.numpy() - 1) ** 2).sum()), np.zeros(2), "Nelder-Mead")
    np.testing.assert_allclose(result.x, 1, atol=1e-3)


@pytest.mark.parametrize("method", [*GRADIENT, *SECOND, "dogleg"])
def test_the_minimum_of_a_constant_is_where_it_begins(method):
    for constant in (lambda x: ad.Tensor(3.0), lambda x: 3.0 + (x * 0).sum()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SciPy's quasi-Newton updates divide by the gradient's change
            result = optim.minimize(constant, np.ones(2), method)
        np.testing.assert_array_equal(result.x, np.ones(2))
        assert result.fun == 3.0


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ({"args": (3.0,)}, "lambda x: fun(x, *args)"),
        ({"jac": True}, "the gradient comes from the engine"),
        ({"hessp": np.dot}, "come from the engine"),
        ({"maxiter": 3}, "write options={'maxiter': 3}"),
    ],
)
def test_arguments_of_scipys_that_are_not_here_are_told_what_stands_in_their_place(given, written):
    (name,) = given
    with pytest.raises(TypeError, match=f"minimize: got {name}=; .*{re.escape(written)}"):
        optim.minimize(lambda x: (x**2).sum(), np.ones(2), **given)

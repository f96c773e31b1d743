"""Distributions of one variable against SciPy's values, and their derivatives against differences and mpmath."""

import copy
import functools
import pydoc
import re

import mpmath as mp
import numpy as np
import pytest
import scipy.stats

import autodiff as ad
from autodiff import Tensor, stats
from autodiff.checking.gradcheck import gradcheck, gradgradcheck
from tests.mathematics import derivatives_agree

X = np.array(
    [-np.inf, -200, -30, -8, -2, -1, -0.3, 0, 1e-9, 0.3, 0.5, 0.97, 1, 1.5, 2, 3.7, 10, 40, 700, np.inf, np.nan]
)
K = np.array([-1, 0, 1, 2, 3, 5, 7, 20, 100, 2.5, np.inf, -np.inf, np.nan])
CONTINUOUS = {
    "norm": [()], "t": [(0.3,), (4.0,), (1e6,)], "cauchy": [()], "laplace": [()], "logistic": [()], "uniform": [()],
    "expon": [()], "gamma": [(0.3,), (1.0,), (40.0,), (-1.0,)], "chi2": [(1.0,), (2.0,), (7.5,)],
    "beta": [(0.5, 0.5), (1.0, 1.0), (2.0, 5.0), (2.0, -1.0)], "lognorm": [(0.4,), (2.0,)], "pareto": [(0.5,), (3.0,)],
    "weibull_min": [(0.7,), (1.0,), (3.0,)], "invgamma": [(0.6,), (3.0,)], "halfnorm": [()],
    "gennorm": [(0.7,), (2.0,), (5.0,)], "gumbel_r": [()], "gumbel_l": [()],
}  # fmt: skip
DISCRETE = {
    "poisson": [(0.3,), (0.0,), (40.0,)], "bernoulli": [(0.3,), (0.0,), (1.0,)],
    "binom": [(7, 0.3), (0, 0.2), (7, 0.0), (7, 1.0), (20, 0.9)], "geom": [(0.3,), (1.0,), (1e-6,)],
    "nbinom": [(3.0, 0.3), (2.5, 1.0), (0.2, 0.9)],
}  # fmt: skip


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_continuous_family_has_scipys_values_in_tails_at_ends_and_outside(name):
    ours, theirs = getattr(stats, name), getattr(scipy.stats, name)
    with np.errstate(all="ignore"):
        for shapes in CONTINUOUS[name]:
            for loc, scale in ((0, 1), (0.5, 2.0), (0, -1)):
                for method in ("pdf", "logpdf", "cdf", "logcdf", "sf", "logsf"):
                    found, right = (getattr(f, method)(X, *shapes, loc, scale) for f in (ours, theirs))
                    if (name, method) == ("halfnorm", "logsf"):  # SciPy's underflows
                        right = np.minimum(scipy.stats.norm.logsf(X, loc, scale) + np.log(2), 0)
                    np.testing.assert_allclose(
                        found.numpy(), right, rtol=1e-12, atol=1e-300, err_msg=f"{method} {shapes}"
                    )


@pytest.mark.parametrize(
    "name, shapes", [("vonmises", (0.0,)), ("vonmises", (2.5,)), ("vonmises", (3e4,)), ("wrapcauchy", (0.3,))]
)
def test_a_family_on_the_circle_has_scipys_density_with_derivatives_and_no_cdf(name, shapes):
    ours, theirs = getattr(stats, name), getattr(scipy.stats, name)
    x = np.array([0.0, 1e-3, 0.5, 2.0, 3.0])
    for method in ("pdf", "logpdf"):
        found, right = (getattr(f, method)(x, *shapes, 0.1 * (name == "vonmises"), 1.0) for f in (ours, theirs))
        np.testing.assert_allclose(found.numpy(), right, rtol=2e-11, atol=1e-300)
        if 0 < shapes[0] < 1e4:
            gradcheck(getattr(ours, method), (x[2:], *shapes, 0.1, 1.0))
            gradgradcheck(getattr(ours, method), (x[2:], *shapes, 0.1, 1.0), rtol=1e-4)
    with pytest.raises(TypeError, match=rf"{name}\.cdf: has no closed form .* scipy\.stats\.{name}\.cdf"):
        ours.cdf(0.5, *shapes)
    with pytest.raises(TypeError, match=rf"{name}\.rvs: has no draws that move"):
        ours.rvs(*shapes)


def test_the_beta_binomial_distribution_is_scipys_with_derivatives_by_its_shapes():
    for method in ("pmf", "logpmf"):
        found, right = (getattr(f.betabinom, method)(K, 7, 0.6, 2.3) for f in (stats, scipy.stats))
        np.testing.assert_allclose(found.numpy(), right, rtol=1e-12)
        f = lambda a, b, m=method: getattr(stats.betabinom, m)(np.arange(8), 7, a, b)
        gradcheck(f, (0.6, 2.3))
        gradgradcheck(f, (0.6, 2.3), rtol=1e-4)
    assert np.isnan(stats.betabinom.pmf(1, 3, -1.0, 2.0).numpy())


@pytest.mark.parametrize("name", DISCRETE)
def test_a_discrete_family_has_scipys_values_between_whole_numbers_and_outside(name):
    ours, theirs = getattr(stats, name), getattr(scipy.stats, name)
    with np.errstate(all="ignore"):
        for shapes in DISCRETE[name]:
            for loc in (0, 1):
                for method in ("pmf", "logpmf", "cdf", "logcdf", "sf", "logsf"):
                    found, right = (getattr(f, method)(K, *shapes, loc) for f in (ours, theirs))
                    near_1 = 1e-16 if method in ("logcdf", "logsf") else 1e-300  # where SciPy takes the log of 1 − tail
                    np.testing.assert_allclose(
                        found.numpy(), right, rtol=1e-11, atol=near_1, err_msg=f"{method} {shapes}"
                    )
        for bad in (
            {"poisson": (-1.0,), "bernoulli": (1.2,), "binom": (2.5, 0.2), "geom": (0.0,), "nbinom": (-1.0, 0.2)}[name],
        ):
            assert np.isnan(getattr(ours, "pmf")(1, *bad).numpy()) and np.isnan(ours.cdf(1, *bad).numpy())


INSIDE = {"beta": [0.2, 0.7], "uniform": [0.2, 0.7], "pareto": [1.3, 4.0]}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_continuous_family_has_the_derivatives_of_differences_by_value_and_parameters(name):
    family, shapes = (
        getattr(stats, name),
        CONTINUOUS[name][-1 if name in ("lognorm", "pareto", "weibull_min", "invgamma", "gennorm") else 0],
    )
    if name in ("t", "gamma", "beta", "chi2"):
        shapes = (2.7, 1.6)[: len(shapes)]
    x = np.array(INSIDE.get(name, [0.3, 2.2])) * 1.3 + 0.1
    for method in ("pdf", "logpdf", "cdf", "logcdf", "sf", "logsf"):
        f = getattr(family, method)
        gradcheck(f, (x, *shapes, 0.1, 1.3))
        if method in ("logpdf", "sf"):
            gradgradcheck(f, (x, *shapes, 0.1, 1.3), rtol=1e-4)


@pytest.mark.parametrize("name", DISCRETE)
def test_a_discrete_family_has_the_derivatives_of_differences_by_its_parameters(name):
    family = getattr(stats, name)
    shapes = tuple(s for s in DISCRETE[name][0] if isinstance(s, float))
    n = tuple(s for s in DISCRETE[name][0] if not isinstance(s, float))
    for k in ([0, 1], [1, 3]):
        for method in ("pmf", "logpmf", "cdf", "logcdf", "sf", "logsf"):
            f = lambda *s, k=k, method=method: getattr(family, method)(np.array(k), *n, *s)
            if np.isfinite(f(*shapes).numpy()).all():
                gradcheck(f, shapes)
                gradgradcheck(f, shapes, rtol=1e-4)


def test_students_distribution_has_its_derivatives_by_the_degrees_of_freedom_near_the_middle_and_in_the_tails():
    def cdf(t, df):
        tail = mp.betainc(df / 2, mp.mpf(1) / 2, 0, df / (df + t * t), regularized=True) / 2
        return tail if t < 0 else 1 - tail

    points = [(-3.0, 2.5), (-30.0, 0.7), (-0.4, 3.0), (-1e-6, 5.0), (0.9, 50.0), (-4.0, 200.0), (-1.5, 1.0)]
    derivatives_agree(stats.t.cdf, cdf, points, (0, 1, 2), rtol=1e-8, digits=60)
    derivatives_agree(
        lambda df, t: stats.t.cdf(t, df), lambda df, t: cdf(t, df), [(b, a) for a, b in points], (0, 1, 2), 1e-10, 60
    )


def test_outside_the_support_a_density_has_slope_0_and_its_logarithm_none():
    for family, shapes in ((stats.expon, ()), (stats.gamma, (2.0,)), (stats.pareto, (3.0,)), (stats.uniform, ())):
        xs = [Tensor(v, requires_grad=True) for v in (-0.5, *shapes, 0.0, 1.0)]
        for d in ad.gradients(family.pdf(*xs), xs, allow_unused=True):
            assert d is None or d == 0
        for d in ad.gradients(family.logpdf(*xs), xs, allow_unused=True):
            assert d is not None and np.isnan(d.numpy())
        assert ad.grad(family.cdf)(-0.5, *shapes) == 0


def test_at_an_end_of_the_support_the_slope_is_that_from_inside_and_at_a_kink_of_the_cdf_the_density():
    assert ad.grad(stats.expon.pdf)(0.0) == -1 and ad.grad(stats.laplace.cdf)(0.0) == 0.5
    assert ad.grad(stats.weibull_min.pdf)(0.0, 2.0) == 2
    assert ad.grad(stats.expon.logsf)(0.5) == -1


def test_parameters_of_no_distribution_have_nan_for_every_derivative():
    x = Tensor([0.5, 0.5], requires_grad=True)
    (d,) = ad.gradients(stats.gamma.logpdf(x, [2.0, -1.0]).sum(), x)
    np.testing.assert_array_equal(np.isnan(d.numpy()), [False, True])


def test_single_precision_stays_single():
    x = Tensor(np.array([0.3, 0.7], np.float32), requires_grad=True)
    for name in CONTINUOUS:
        shapes = [np.float32(2.0)] * len(CONTINUOUS[name][0])
        for method in ("pdf", "logpdf", "cdf", "logcdf", "sf", "logsf"):
            y = getattr(getattr(stats, name), method)(x, *shapes, np.float32(0.1), np.float32(1.5))
            assert y.dtype == np.float32, (name, method)


RANDOM = {**{n: s[-1] for n, s in CONTINUOUS.items()}, "t": (4.0,), "gamma": (0.7,), "beta": (2.0, 0.6)}


@pytest.mark.parametrize("name", RANDOM)
def test_draws_have_the_familys_distribution_and_move_with_their_parameters(name):
    family, shapes = getattr(stats, name), RANDOM[name]
    y = family.rvs(*shapes, 0.5, 2.0, size=2000, rng=np.random.default_rng(3))
    assert y.shape == (2000,)
    assert scipy.stats.kstest(y.numpy(), getattr(scipy.stats, name)(*shapes, 0.5, 2.0).cdf).pvalue > 1e-3
    gradcheck(lambda *p: family.rvs(*p, size=4, rng=np.random.default_rng(5)), (*shapes, 0.5, 2.0), rtol=1e-4)


def test_draws_take_the_shape_of_their_parameters_and_say_what_does_not_fit():
    assert stats.gamma.rvs([[1.0], [2.0]], loc=np.zeros(3)).shape == (2, 3)
    with pytest.raises(ValueError, match=r"norm\.rvs: parameters of shapes \(2,\), \(\) do not broadcast to size 3"):
        stats.norm.rvs(loc=[0.0, 1.0], size=3)
    with pytest.raises(ValueError, match=r"gamma\.rvs: there is no such distribution, a=-1"):
        stats.gamma.rvs(-1.0)


def test_the_mean_of_gamma_draws_has_the_gradient_of_the_mean():
    a = Tensor(1.7, requires_grad=True)
    d = ad.gradients(stats.gamma.rvs(a, size=4000, rng=np.random.default_rng(0)).mean(), a)[0]
    assert abs(d.item() - 1) < 0.1


def test_wrong_arguments_are_named_with_what_would_be_right():
    with pytest.raises(TypeError, match=r"gamma\.pdf: got no a; it takes \(x, a, loc=0\.0, scale=1\.0\)"):
        stats.gamma.pdf(1.0)
    with pytest.raises(TypeError, match=r"norm\.cdf: got an argument 'sigma'"):
        stats.norm.cdf(1.0, sigma=2.0)
    with pytest.raises(TypeError, match=r"norm\.cdf: got 4 arguments"):
        stats.norm.cdf(1.0, 0.0, 1.0, 2.0)
    with pytest.raises(
        TypeError, match=r"norm\.cdf: is defined for real numbers, not for an input of shape \(\) \(complex128\)"
    ):
        stats.norm.cdf(1j)
    with pytest.raises(TypeError, match=r"binom\.pmf: has no derivative by n, a whole number"):
        stats.binom.pmf(1, Tensor(3.0, requires_grad=True), 0.5)
    with pytest.raises(TypeError, match=r"poisson\.cdf: has no derivative by k, a whole number"):
        stats.poisson.cdf(Tensor(3.0, requires_grad=True), 0.5)


@pytest.mark.parametrize("name", ["norm", "expon", "beta", "laplace"])
def test_a_family_of_a_batch_or_compiled_is_what_it_is_for_each_example(name):
    family, shapes = getattr(stats, name), (2.0, 3.0) if name == "beta" else ()
    x = np.array([[0.3, 0.9], [-1.0, 0.5], [4.0, 0.1]])
    with np.errstate(all="ignore"):
        for method in ("logpdf", "cdf", "logcdf"):
            f = lambda x, method=method: getattr(family, method)(x, *shapes)
            d = ad.grad(lambda x: f(x).sum())
            for h in (f, d):
                each = np.stack([np.asarray(h(row)) for row in x])
                np.testing.assert_allclose(np.asarray(ad.vmap(h)(x)), each, rtol=1e-12)
                compiled = ad.compile(h)
                np.testing.assert_allclose(np.stack([np.asarray(compiled(row)) for row in x]), each, rtol=1e-12)


def test_compiled_draws_go_on_with_their_generator():
    compiled = ad.compile(lambda a, rng: stats.gamma.rvs(a, size=3, rng=rng))
    ours, theirs = np.random.default_rng(0), np.random.default_rng(0)
    for a in (2.0, 2.0, 0.5):
        np.testing.assert_allclose(compiled(np.array(a), ours), stats.gamma.rvs(a, size=3, rng=theirs), rtol=1e-12)


DISTRIBUTIONS = [*CONTINUOUS, *DISCRETE, "multinomial", "multivariate_normal", "dirichlet"]


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_distribution_shows_methods_of_scipys_alone(name):
    ours, theirs = getattr(stats, name), getattr(scipy.stats, name)
    shown = set(dir(ours)) - {"name", "shapes"}
    assert shown <= set(dir(theirs)) and shown & {"logpdf", "logpmf"}
    assert ("rvs" in shown) == (name in CONTINUOUS or name in ("multivariate_normal", "dirichlet"))
    assert {"cdf", "logcdf", "sf", "logsf"} <= shown or name in DISTRIBUTIONS[-3:]
    assert "ppf" not in shown and "fit" not in shown


def test_a_call_of_a_distribution_says_which_method_takes_the_parameters():
    with pytest.raises(TypeError, match=r"no frozen form here; .* ad\.stats\.norm\.logpdf\(x, 0, scale=2\.0\)"):
        stats.norm(0, scale=2.0)
    with pytest.raises(TypeError, match=r"ad\.stats\.poisson\.logpmf\(x, …\)"):
        stats.poisson(Tensor(2.0))
    with pytest.raises(TypeError, match=r"ad\.stats\.multivariate_normal\.logpdf\(x, …, cov=1\)"):
        stats.multivariate_normal([0.0, 0.0], cov=1)


@pytest.mark.parametrize("name", [*CONTINUOUS, *DISCRETE])
def test_the_help_of_a_family_names_its_arguments_in_scipys_order_and_its_methods(name):
    ours, theirs = getattr(stats, name), getattr(scipy.stats, name)
    text, shapes = pydoc.plain(pydoc.render_doc(ours)), (theirs.shapes or "").replace(" ", "").split(",")
    assert list(ours.shapes) == [s for s in shapes if s]
    variable = "k" if name in DISCRETE else "x"
    assert (
        f"ad.stats.{name}.log{'pmf' if name in DISCRETE else 'pdf'}({', '.join([variable, *ours.shapes])}, loc=0.0"
        in text
    )
    assert ("rvs(" in text) == (ours.__dict__.get("draw") is not None)
    for method in re.findall(r"^    (\w+): ", text, re.M):
        assert callable(getattr(ours, method))


def test_what_a_distribution_has_not_says_what_to_write():
    data = scipy.stats.gamma.rvs(2.0, size=50, random_state=0)
    with pytest.raises(
        AttributeError, match=r"gamma has no fit; .*optim\.minimize\(lambda p: -ad\.stats\.gamma\.logpdf"
    ):
        stats.gamma.fit(data)
    with pytest.raises(AttributeError, match=r"poisson has no log_prob; write ad\.stats\.poisson\.logpmf\(x, …\)"):
        _ = stats.poisson.log_prob
    with pytest.raises(AttributeError, match=r"norm has no ppf; .*ad\.solvers\.root"):
        stats.norm.ppf(0.5)
    with pytest.raises(AttributeError, match=r"'Continuous' object has no attribute 'nothing'"):
        _ = stats.norm.nothing
    with pytest.raises(
        TypeError, match=r"norm.rvs: got an argument 'random_state'; .*loc=0.0, scale=1.0, \*, size=None, rng="
    ):
        stats.norm.rvs(size=3, random_state=0)
    assert copy.deepcopy(stats.norm).logpdf(1.0) == stats.norm.logpdf(1.0)


def test_the_advice_for_a_quantile_has_scipys_value_and_its_derivative():
    a = Tensor(2.5, requires_grad=True)
    with pytest.raises(AttributeError) as error:
        stats.gamma.ppf(0.3, a)
    advice = str(error.value)[str(error.value).index("ad.solvers") :]
    ppf = eval(advice, {"ad": ad, "x0": 1.0, "q": 0.3, "p": (a,)})
    ppf.backward()
    quantile = functools.partial(scipy.stats.gamma.ppf, 0.3)
    np.testing.assert_allclose(ppf.item(), quantile(2.5), rtol=1e-9)
    np.testing.assert_allclose(a.grad.item(), (quantile(2.5 + 1e-5) - quantile(2.5 - 1e-5)) / 2e-5, rtol=1e-6)

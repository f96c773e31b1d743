"""Order statistics, what NaN does not enter, covariances, histograms and different values."""

import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor
from tests.against_numpy import same_as_numpy
from tests.against_torch import agrees_with_torch

rng = np.random.default_rng(4)
A = rng.normal(size=(4, 5))
V = rng.normal(size=7)
N = A.copy()
N[0, 1] = N[2, 2:] = N[:, 0] = np.nan
STACK = rng.normal(size=(3, 4, 2))
METHODS = """inverted_cdf averaged_inverted_cdf closest_observation interpolated_inverted_cdf hazen weibull linear
    median_unbiased normal_unbiased lower higher midpoint nearest""".split()


@pytest.mark.parametrize("name", "nansum nanprod nanmean nanvar nanstd nanmax nanmin nanmedian".split())
def test_a_nan_counts_as_missing(name):
    for call in (
        lambda f: f(N),
        lambda f: f(N, axis=0),
        lambda f: f(N, axis=1, keepdims=True),
        lambda f: f(N, axis=(0, 1)),
        lambda f: f(A, 0),
        lambda f: f(N.astype(np.float32), axis=1),
        lambda f: f(np.arange(6).reshape(2, 3), axis=1),
    ):
        same_as_numpy(name, call)
    for row in (N[0], N[2]):  # of what is there the derivatives are those of the function without nan

        def of_rest(x, row=row):
            return getattr(np, name)(ad.array(row).at[~np.isnan(row)].set(x))

        ad.gradcheck(of_rest, [row[~np.isnan(row)]])
        ad.gradgradcheck(of_rest, [row[~np.isnan(row)]])
    x = Tensor(N, requires_grad=True)
    with np.errstate(all="ignore"):
        getattr(np, name)(x, axis=0).sum().backward()
    assert (x.grad.data[np.isnan(N)] == 0).all() and np.isfinite(x.grad.data).all()


@pytest.mark.parametrize("name", ["nancumsum", "nancumprod"])
def test_running_results_pass_over_nan(name):
    same_as_numpy(name, lambda f: f(N))
    same_as_numpy(name, lambda f: f(N, axis=1))
    x = Tensor(N, requires_grad=True)
    getattr(np, name)(x, axis=1).sum().backward()
    assert (x.grad.data[np.isnan(N)] == 0).all() and np.isfinite(x.grad.data).all()


@pytest.mark.parametrize("name", ["nanmax", "nanmin"])
def test_extremes_without_nan_take_options_and_share_ties(name):
    same_as_numpy(name, lambda f: f(N, axis=1, initial=0.2))
    same_as_numpy(name, lambda f: f(N, axis=1, initial=0.2, where=A > 0))
    same_as_numpy(name, lambda f: f(np.ones((0, 2)), axis=0, initial=0.5))
    infinite = -np.inf if name == "nanmax" else np.inf
    x = Tensor([infinite, infinite, np.nan], requires_grad=True)
    y = getattr(np, name)(x)
    y.backward()
    assert y.item() == infinite and x.grad.tolist() == [0.5, 0.5, 0.0]


@pytest.mark.parametrize("name", ["fmax", "fmin"])
def test_fmax_and_fmin_reduce(name):
    same_as_numpy(f"{name}.reduce", lambda f: f(N, axis=1))
    same_as_numpy(f"{name}.reduce", lambda f: f(A))


@pytest.mark.parametrize("method", METHODS)
def test_quantiles_by_every_method(method):
    for n in range(1, 8):
        for q in (0.0, 0.1, 0.25, 1 / 3, 0.5, 0.75, 0.9, 1.0):
            for name, scale in (("quantile", 1), ("percentile", 100)):
                call = lambda f, n=n, q=q, s=scale: f(V[:n], q * s, method=method)
                same_as_numpy(name, call, derivatives=2 if n == 6 and q == 0.1 and scale == 1 else 0)
    for data in (A, N):
        for name, scale in (("quantile", 1), ("percentile", 100), ("nanquantile", 1), ("nanpercentile", 100)):
            for axis in (None, 0, 1):
                call = lambda f, d=data, a=axis, s=scale: f(d, (0.2 * s, 0.5 * s, 0.7 * s), axis=a, method=method)
                same_as_numpy(name, call, derivatives=int(name == "nanquantile" and axis == 1))


def test_quantiles_of_several_axes_and_of_several_q():
    for name in ("quantile", "nanquantile"):
        same_as_numpy(name, lambda f: f(V, [[0.3], [0.4]]))
        same_as_numpy(name, lambda f: f(A, 0.3, axis=1, keepdims=True))
        same_as_numpy(name, lambda f: f(A, (0.1, 0.3), keepdims=True))
        same_as_numpy(name, lambda f: f(STACK, (0.1, 0.3), axis=(0, 2)))
        same_as_numpy(name, lambda f: f(STACK.astype(np.float32), 0.3, axis=1))
        same_as_numpy(name, lambda f: f(np.arange(5), 0.3))
    same_as_numpy("median", lambda f: f(A, axis=1))
    same_as_numpy("median", lambda f: f(A, 0, keepdims=True))
    same_as_numpy("median", lambda f: f(V))
    same_as_numpy("median", lambda f: f(N, axis=0))
    same_as_numpy("median", lambda f: f(np.array([1.0, np.inf, np.inf, -np.inf, np.inf, np.inf])))
    same_as_numpy("median", lambda f: f(np.ones((0, 3)), axis=1))


def weighted(x, w):
    return np.quantile(x, 0.5, axis=1, weights=w, method="inverted_cdf")


@pytest.mark.parametrize(
    "name, scale", [("quantile", 1), ("percentile", 100), ("nanquantile", 1), ("nanpercentile", 100)]
)
def test_quantiles_of_weighted_elements(name, scale):
    w, q = np.array([3, 0, 1, 2, 1, 0, 5]), [part * scale for part in (0.0, 0.2, 0.25, 0.5, 0.51, 1.0)]
    options = {"method": "inverted_cdf"}
    same_as_numpy(name, lambda f: f(V, q, weights=w, axis=0, **options), derivatives=1)
    same_as_numpy(name, lambda f: f(V, q[1], weights=w, **options))
    same_as_numpy(name, lambda f: f(np.array([1.0, 2.0, 2.0, 3.0]), q, weights=[0, 1, 1, 1], **options), derivatives=0)
    rows = np.array([1, 2, 0, 1])
    for data in (A, N, A.astype(np.float32)):
        each = np.broadcast_to(rows[:, None], data.shape)
        same_as_numpy(name, lambda f, d=data, w=each: f(d, q, axis=0, weights=w, **options), derivatives=0)
        same_as_numpy(
            name, lambda f, d=data: f(d, q[2], weights=np.arange(1, 21).reshape(4, 5), **options), derivatives=0
        )
    if "nan" not in name:  # of which NumPy's own take no weights of an axis
        same_as_numpy(name, lambda f: f(A, q, axis=0, weights=rows, **options), derivatives=0)
        s = np.arange(6)[::-1].reshape(2, 3) + 1
        same_as_numpy(name, lambda f: f(STACK, q, axis=(2, 0), weights=s, keepdims=True, **options), derivatives=0)


def test_quantiles_have_the_derivatives_of_pytorch():
    torch = pytest.importorskip("torch")
    for q in (0.1, 0.5, 0.77):
        agrees_with_torch(lambda x, q=q: np.quantile(x, q, axis=1), lambda x, q=q: torch.quantile(x, q, dim=1), A)
    agrees_with_torch(lambda x: np.nanmean(x, axis=0), lambda x: torch.nanmean(x, dim=0), A)
    agrees_with_torch(lambda x: np.cov(x), torch.cov, A)
    agrees_with_torch(lambda x: np.corrcoef(x), torch.corrcoef, A, rtol=1e-8)


def test_the_gradient_of_a_median_goes_to_the_one_or_two_in_the_middle():
    for values, gradient in (
        ([3.0, 1.0, 10.0], [1.0, 0.0, 0.0]),
        ([3.0, 1.0, 10.0, 4.0], [0.5, 0.0, 0.0, 0.5]),
        ([2.0, 1.0, 2.0, 2.0, 3.0], [0.0, 0.0, 1.0, 0.0, 0.0]),  # equal ones in their order
    ):
        x = Tensor(values, requires_grad=True)
        np.median(x).backward()
        assert x.grad.tolist() == gradient


def test_a_median_with_a_nan_is_nan_and_so_is_its_gradient():
    x = Tensor([1.0, np.nan, 3.0], requires_grad=True)
    y = np.median(x)
    y.backward()
    assert np.isnan(y.item()) and np.isnan(x.grad.data).any()


@pytest.mark.parametrize(
    "call, kind, match",
    [
        (lambda x: np.quantile(x, 1.5), ValueError, "quantile: q lies between 0 and 1, not 1.5"),
        (lambda x: np.percentile(x, -1), ValueError, "percentile: q lies between 0 and 100, not -1"),
        (lambda x: np.quantile(x, 0.5, method="best"), ValueError, "quantile: method 'best' is none of inverted_cdf"),
        (lambda x: np.quantile(x, 0.5, 1, weights=np.ones(5)), ValueError, "quantile: weights= takes method='inv"),
        (lambda x: weighted(x, np.ones(4)), ValueError, r"quantile: weights of shape \(4,\) fit neither"),
        (lambda x: weighted(x, -np.ones(5)), ValueError, "quantile: weights are finite and not negative"),
        (lambda x: weighted(x, np.zeros(5)), ValueError, "quantile: weights that are all 0"),
        (lambda x: weighted(x, x[0]), TypeError, "quantile: has no derivative by weights"),
        (lambda x: np.quantile(x, Tensor(0.5, requires_grad=True)), TypeError, "quantile: has no derivative by q"),
        (lambda x: np.cov(x[None]), ValueError, r"cov: takes one or two axes, not shape \(1, 4, 5\)"),
        (lambda x: np.cov(x, x[:, :3]), ValueError, "cov: variables with 5 and 3 observations"),
        (lambda x: np.cov(x, aweights=np.ones(4)), ValueError, r"cov: aweights of shape \(4,\) for 5 observations"),
        (lambda x: np.cov(x, fweights=np.ones(5)), TypeError, "cov: fweights are integers"),
        (lambda x: np.cov(x, aweights=-np.ones(5)), ValueError, "cov: aweights must not be negative"),
        (lambda x: np.histogram(x, bins=0), ValueError, r"histogram\(shape \(4, 5\)\)"),
        (lambda x: np.nanmax(x, out=np.zeros(())), TypeError, "np.nanmax: out="),
    ],
)
def test_arguments_that_do_not_fit_are_named(call, kind, match):
    with pytest.raises(kind, match=match):
        call(Tensor(A, requires_grad=True))


COVARIANCES = [
    lambda f: f(A),
    lambda f: f(A, rowvar=False),
    lambda f: f(V),
    lambda f: f(A, A[::-1]),
    lambda f: f(V, V**2),
    lambda f: f(A.astype(np.float32)),
]


@pytest.mark.parametrize("call", COVARIANCES)
def test_covariances_and_correlations(call):
    same_as_numpy("cov", call)
    same_as_numpy("corrcoef", call)


def test_covariances_with_weights():
    f, w = np.array([1, 2, 3, 1, 2]), np.array([1.0, 2.0, 3.0, 0.1, 2.0])
    for options in ({}, {"bias": True}, {"ddof": 0}, {"ddof": 2}):
        order = 1 if options else 2
        same_as_numpy("cov", lambda g, o=options: g(A[:2], **o), order)
        same_as_numpy("cov", lambda g, o=options: g(A[:2], fweights=f, **o), order)
        same_as_numpy("cov", lambda g, o=options: g(A[:2], aweights=w, **o), order)
        same_as_numpy("cov", lambda g, o=options: g(A[:2], fweights=f, aweights=w, **o), order)
    same_as_numpy("cov", lambda g: g(A, dtype=np.float32), derivatives=0)
    same_as_numpy("cov", lambda g: g(A[:, :1]), derivatives=0)


def test_a_correlation_that_rounding_puts_beyond_one_is_one_and_keeps_its_derivative():
    x = np.array([[0.1, 0.3, 0.7], [0.2, 0.6, 1.4], [-0.3, -0.9, -2.1]]) * np.array([[1.1], [1 / 3], [0.7]])
    same_as_numpy("corrcoef", lambda f: f(x), derivatives=0)
    t = Tensor(x, requires_grad=True)
    (d,) = ad.gradients(np.corrcoef(t), [t], np.ones((3, 3)))
    np.testing.assert_allclose(d, 0, atol=1e-12)


def test_different_values_have_the_gradient_of_the_first_that_has_each():
    u = np.array([2.0, 1.0, 2.0, 3.0, 1.0])
    for call in (
        lambda f: f(u),
        lambda f: f(u, return_index=True, return_inverse=True, return_counts=True),
        lambda f: f(np.array([[1.0, 2.0], [1.0, 2.0], [0.0, 1.0]]), axis=0),
        lambda f: f(np.array([np.nan, 1.0, np.nan])),
        lambda f: f(np.array([np.nan, 1.0, np.nan]), equal_nan=False),
    ):
        same_as_numpy("unique", call, derivatives=0)
    for name in ("unique_values", "unique_counts", "unique_inverse", "unique_all"):
        same_as_numpy(name, lambda f: f(u), derivatives=0)
    assert np.unique_counts(Tensor(u)).counts.tolist() == [2, 2, 1]
    x = Tensor(u, requires_grad=True)
    (np.unique(x) * [1.0, 10.0, 100.0]).sum().backward()
    assert x.grad.tolist() == [10, 1, 0, 100, 0]


def test_histograms_count_and_add_weights_up():
    w = V**2
    for call in (
        lambda f: f(V),
        lambda f: f(V, 4, density=True),
        lambda f: f(V, [-1.0, 0.0, 1.0]),
        lambda f: f(A, 3, range=(-0.5, 0.5)),
        lambda f: f(V, 3, weights=w),
        lambda f: f(V, 3, weights=w, density=True),
        lambda f: f(V, 3, (-0.5, 0.5), weights=w),
        lambda f: f(np.array([0.0, 1.0, 1.0, 2.0]), [0.0, 1.0, 2.0], weights=np.array([1.0, 2.0, 4.0, 8.0])),
    ):
        same_as_numpy("histogram", call, derivatives=0)
    ad.gradcheck(lambda w: ad.histogram(V, 3, weights=w)[0], [w])
    ad.gradcheck(lambda w: ad.histogram(V, 3, weights=w, density=True)[0], [w])


def test_questions_without_a_gradient_give_constants():
    x = Tensor(V, requires_grad=True)
    for found, expected in (
        (np.isin(x, V[:2]), np.isin(V, V[:2])),
        (np.lexsort((x, x)), np.lexsort((V, V))),
        (np.nanargmax(Tensor(N[1, 1:])), np.nanargmax(N[1, 1:])),
        (np.histogram_bin_edges(x, 3), np.histogram_bin_edges(V, 3)),
        (np.digitize(x, [0.0, 1.0]), np.digitize(V, [0.0, 1.0])),
        (np.searchsorted(x, 0.2), np.searchsorted(V, 0.2)),
        (np.argpartition(x, 2), np.argpartition(V, 2)),
        (np.isreal(x), np.isreal(V)),
        (np.iscomplex(x), np.iscomplex(V)),
        (np.isposinf(x), np.isposinf(V)),
        (np.isneginf(x), np.isneginf(V)),
    ):
        assert isinstance(found, Tensor) and not found.requires_grad
        np.testing.assert_array_equal(found, expected)


def test_statistics_of_complex_numbers():
    c = A[:3] + 1j * A[1:]
    for call in (lambda f: f(c), lambda f: f(c, rowvar=False), lambda f: f(c, c[:1], aweights=np.arange(1.0, 6.0))):
        same_as_numpy("cov", call, derivatives=1)
    same_as_numpy("corrcoef", lambda f: f(c), derivatives=1)
    for name in ("nansum", "nanmean", "nanvar", "nanstd"):
        same_as_numpy(name, lambda f: f(c), derivatives=1)
        same_as_numpy(name, lambda f: f(np.where(N[:3] > 0, np.nan, c)))
    same_as_numpy("unique", lambda f: f(c), derivatives=0)
    with pytest.raises(TypeError, match="median: complex numbers have no order"):
        np.median(Tensor(c))


@pytest.mark.parametrize("name", ["nanvar", "nanstd"])
@pytest.mark.parametrize("ddof", [3, 4, 5])
def test_too_few_numbers_have_no_spread(name, ddof):
    for a in (A, N):
        same_as_numpy(name, lambda f, a=a: f(a, axis=0, ddof=ddof), derivatives=0)
        same_as_numpy(name, lambda f, a=a: f(a, axis=0, correction=ddof, keepdims=True), derivatives=0)


@pytest.mark.parametrize("name", ["nanmax", "nanmin"])
def test_a_single_number_has_no_axis_but_the_one_that_numpy_allows(name):
    x = np.array(1.5)
    for axis in (None, 0, -1, ()):
        same_as_numpy(name, lambda f, axis=axis: f(x, axis=axis))
    for axis in (1, 5, (0,)):
        with pytest.raises(np.exceptions.AxisError, match=name):
            getattr(np, name)(Tensor(x), axis=axis)

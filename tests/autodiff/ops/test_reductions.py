"""Reductions with NumPy's options, running results and segments."""

import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor
from tests.against_numpy import same_as_numpy

rng = np.random.default_rng(3)
A = rng.normal(size=(3, 4))
MASK = np.array([[True, False, True, True], [True] * 4, [False, True, False, False]])
HOLES = np.where(MASK, A, np.nan)

OPTIONS = [{}, {"axis": 0}, {"axis": 1, "keepdims": True}, {"axis": (0, 1)}, {"axis": [0]}]


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "var", "std"])
def test_a_mask_leaves_elements_out_as_numpy_does(name):
    for options in OPTIONS[:4]:
        for mask in (MASK, MASK[:1], MASK[:, :1] | True, np.True_):
            call = lambda f, o=options, m=mask: f(A, where=m, **o)
            same_as_numpy(name, call, derivatives=2 if mask is MASK and options.get("axis") != 0 else 0)
    same_as_numpy(name, lambda f: f(A.astype(np.float32), 1, where=MASK))
    same_as_numpy(name, lambda f: f(np.arange(12).reshape(3, 4), 1, where=MASK))


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "var", "std"])
def test_what_is_left_out_counts_neither_in_the_value_nor_in_the_gradient(name):
    x, y = Tensor(HOLES, requires_grad=True), Tensor(A, requires_grad=True)
    a, b = getattr(np, name)(x, axis=1, where=MASK), getattr(np, name)(y, axis=1, where=MASK)
    np.testing.assert_array_equal(a.detach(), b.detach())
    (d,), (e,) = ad.gradients(a, [x], np.ones(3)), ad.gradients(b, [y], np.ones(3))
    np.testing.assert_array_equal(d, e)
    assert (d.data[~MASK] == 0).all()


@pytest.mark.parametrize("name", ["mean", "var", "std"])
def test_in_half_precision_a_mask_leaves_the_digits_of_single(name):
    a = np.array([100, 200, 300, 60000], np.float16)
    same_as_numpy(name, lambda f: f(a[:3]))
    found = getattr(np, name)(Tensor(a), where=a < 1000)
    assert found.dtype == np.float16 and found.item() == np.float16(getattr(np, name)(a[:3].astype(float)))


@pytest.mark.parametrize("name", ["mean", "var", "std"])
def test_of_nothing_the_moments_are_nan_and_gradients_zero(name):
    x = Tensor(A, requires_grad=True)
    with np.errstate(all="ignore"):
        y = getattr(np, name)(x, axis=0, where=np.array([True, False, True, True]))
    assert np.isnan(y.data[1]) and np.isfinite(y.data[[0, 2, 3]]).all()
    y.sum().backward()
    assert (x.grad.data[:, 1] == 0).all() and np.isfinite(x.grad.data).all()


def test_a_variance_of_one_element_has_no_value_where_one_is_taken_away():
    x = Tensor(A, requires_grad=True)
    y = np.var(x, axis=1, ddof=1, where=MASK)
    assert np.isnan(y.data[2]) and np.isfinite(y.data[:2]).all()
    y.sum().backward()
    np.testing.assert_array_equal(np.isnan(x.grad.data), [[False] * 4, [False] * 4, [False, True, False, False]])


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min"])
def test_a_reduction_starts_with_its_initial_value(name):
    for options in OPTIONS[:4]:
        same_as_numpy(name, lambda f, o=options: f(A, initial=0.3, **o), derivatives=1)
        same_as_numpy(name, lambda f, o=options: f(A, initial=0.3, where=MASK, **o))
    same_as_numpy(name, lambda f: f(np.ones((0, 3)), axis=0, initial=2.0))
    same_as_numpy(name, lambda f: f(np.ones((0, 3)), initial=2.0))
    same_as_numpy(name, lambda f: f(np.arange(4), initial=7))
    same_as_numpy(name, lambda f: f(A.astype(np.float32), initial=7))


def test_an_initial_value_has_a_gradient():
    ad.gradcheck(lambda x, v: ad.sum(x, axis=0, initial=v), [A, np.array(0.5)])
    ad.gradcheck(lambda x, v: ad.prod(x, axis=0, initial=v), [A, np.array(0.5)])
    ad.gradcheck(lambda x, v: ad.max(x, axis=0, initial=v), [A, np.array(0.5)])


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "var", "std", "cumsum", "cumprod"])
def test_a_reduction_computes_in_the_dtype_it_is_given(name):
    for a, dtype in ((A, np.float32), (A.astype(np.float32), np.float64), (np.arange(6), np.float32)):
        same_as_numpy(name, lambda f, a=a, d=dtype: f(a, dtype=d), derivatives=0)
    x = Tensor(A.astype(np.float32), requires_grad=True)
    getattr(np, name)(x, dtype=float).sum().backward()
    assert x.grad.dtype == np.float32


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min", "var", "std", "any", "all"])
def test_methods_of_tensors_take_the_options_of_arrays(name):
    a, options = A, {"axis": 1, "keepdims": True, "where": MASK}
    options |= {"initial": 0.5} if name in ("max", "min") else {}
    options |= {"dtype": np.float32} if name in ("sum", "mean", "prod", "var", "std") else {}
    found, expected = getattr(Tensor(a), name)(**options), getattr(a, name)(**options)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found.data, expected, rtol=1e-5, atol=1e-7)
    if name in ("sum", "prod", "mean"):
        assert getattr(Tensor(a), name)(0, np.float32).dtype == np.float32


@pytest.mark.parametrize(
    "call, kind, match",
    [
        (lambda x: x.sum(where=[1, 0, 1, 1]), TypeError, "sum: where= is a mask of booleans"),
        (lambda x: x.sum(where=np.ones(3, bool)), ValueError, r"sum: where= of shape \(3,\) does not broadcast"),
        (lambda x: x.sum(where=np.ones((2, 3, 4), bool)), ValueError, "does not broadcast to shape"),
        (lambda x: x.max(where=MASK), ValueError, "max: a mask, where=, may leave nothing; give its maximum"),
        (lambda x: np.nanmin(x, where=MASK), ValueError, "nanmin: a mask"),
        (lambda x: x.sum(initial=[1.0]), ValueError, "sum: initial= is a single number"),
        (lambda x: x.astype(int).sum(initial=0.5), TypeError, "sum: initial= of float64 does not fit"),
        (lambda x: x.sum(out=np.zeros(())), TypeError, "np.sum: out="),
        (lambda x: np.cumulative_sum(x), ValueError, r"cumulative_sum\(shape \(3, 4\)\): axis="),
        (lambda x: np.add.reduceat(x, [0, 3]), ValueError, r"add.reduceat\(shape \(3, 4\), axis=0\): takes"),
        (lambda x: np.maximum.accumulate(x, axis=2), ValueError, "axis 2 is out of bounds"),
        (lambda x: np.average(x, axis=0, weights=np.ones(4)), ValueError, r"average: weights of shape \(4,\)"),
    ],
)
def test_options_that_do_not_fit_are_named(call, kind, match):
    with pytest.raises(kind, match=match):
        call(Tensor(A))


@pytest.mark.parametrize("name", ["maximum", "minimum", "logaddexp", "logaddexp2", "hypot", "add", "multiply"])
def test_running_results_of_a_ufunc(name):
    for axis in (0, 1, -1):
        same_as_numpy(f"{name}.accumulate", lambda f, a=axis: f(A, axis=a), derivatives=2 if axis == 1 else 1)
    same_as_numpy(f"{name}.accumulate", lambda f: f(A.ravel()), derivatives=1)
    same_as_numpy(f"{name}.accumulate", lambda f: f(np.ones((2, 0)), axis=1))
    same_as_numpy(f"{name}.accumulate", lambda f: f(A.astype(np.float32)))


def test_a_running_maximum_is_shared_equally_by_the_equal_ones_so_far():
    x = Tensor([1.0, 1.0, 2.0, 0.0, 2.0, np.nan, 3.0], requires_grad=True)
    y = np.maximum.accumulate(x)
    np.testing.assert_array_equal(y.detach(), [1, 1, 2, 2, 2, np.nan, np.nan])
    (d,) = ad.gradients(y, [x], np.array([1.0, 10, 100, 1000, 10000, 1e5, 1e6]))
    np.testing.assert_array_equal(d, [1 + 5, 5, 100 + 1000 + 5000, 0, 5000, 1.1e6, 0])


@pytest.mark.parametrize("name", ["add", "multiply", "maximum", "minimum"])
def test_reductions_of_segments(name):
    for axis, starts in ((0, [0, 1]), (1, [0, 2, 1, 3]), (-1, [2, 2, 0]), (1, [1])):
        same_as_numpy(f"{name}.reduceat", lambda f, a=axis, s=starts: f(A, s, axis=a))


@pytest.mark.parametrize("name", ["cumulative_sum", "cumulative_prod"])
def test_cumulative_results_with_the_initial_one(name):
    same_as_numpy(name, lambda f: f(A[0]))
    same_as_numpy(name, lambda f: f(A, axis=0, include_initial=True))
    same_as_numpy(name, lambda f: f(A, axis=-1, include_initial=True, dtype=np.float32), derivatives=0)


def test_averages_return_their_weights():
    same_as_numpy("average", lambda f: f(A, axis=1, returned=True))
    same_as_numpy("average", lambda f: f(A, axis=1, weights=A[0] ** 2, returned=True))
    same_as_numpy("average", lambda f: f(A, weights=A**2, returned=True))
    same_as_numpy("average", lambda f: f(np.stack([A, A]), axis=(2, 1), weights=A.T**2, returned=True))
    same_as_numpy("average", lambda f: f(np.stack([A, A]), axis=(1, 2), weights=A**2, keepdims=True))


def test_astype_without_copy_gives_the_tensor_itself():
    x = Tensor(A)
    assert x.astype(float, copy=False) is x and np.astype(x, np.float64, copy=False) is x
    assert x.astype(float) is not x and x.astype(np.float32, copy=False).dtype == np.float32


C = A + 1j * A[::-1]


@pytest.mark.parametrize("name", ["sum", "mean", "var", "std"])
def test_masks_and_complex_numbers(name):
    same_as_numpy(name, lambda f: f(C, axis=1, where=MASK | True), derivatives=1)
    same_as_numpy(name, lambda f: f(C, where=MASK), derivatives=1)
    same_as_numpy(name, lambda f: f(C.astype(np.complex64), where=MASK))
    same_as_numpy("cumulative_sum", lambda f: f(C, axis=1), derivatives=1)
    same_as_numpy("add.reduceat", lambda f: f(C, [0, 2], axis=1), derivatives=1)
    with pytest.raises(TypeError, match=r"max\(shape \(3, 4\) \(complex128\)\): is not declared for complex"):
        np.max(Tensor(C), where=MASK, initial=0)


@pytest.mark.parametrize(
    "f", [np.std, np.var, np.nanstd, np.mean, lambda x: np.std(x, ddof=1), lambda x: np.linalg.norm(x)]
)
@pytest.mark.parametrize("x", [np.arange(5), np.array([True, False, True]), np.arange(4, dtype=np.int8)])
def test_moments_of_integers_and_booleans_are_numpys(f, x):
    found = f(Tensor(x))
    assert found.dtype == f(x).dtype
    np.testing.assert_allclose(found.data, f(x), rtol=1e-15)


@pytest.mark.parametrize("name", ["mean", "var", "std", "nanmean", "nanvar"])
def test_a_moment_is_no_sum_of_integers(name):
    with pytest.raises(TypeError, match=f"{name.removeprefix('nan')}: dtype=int64 cuts its fractions off"):
        getattr(np, name)(Tensor(A), axis=0, dtype=int)

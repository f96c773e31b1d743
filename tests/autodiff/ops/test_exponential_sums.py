"""Sums of exponentials with SciPy's arguments, against SciPy and differences."""

import numpy as np
import pytest
import scipy.special

import autodiff as ad
from autodiff import special
from autodiff.checking.gradcheck import gradcheck, gradgradcheck

A = np.array([[0.3, -1.2, 800.0], [799.0, 2.0, 0.1]])
B = np.array([[1.0, -2.0, 0.5], [-0.3, 0.0, 3.0]])


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_sums_with_factors_are_scipys(axis, keepdims):
    for b in (None, B, 2.0, B[0]):
        options = {"axis": axis, "b": b, "keepdims": keepdims}
        y, sign = special.logsumexp(A, return_sign=True, **options)
        right, right_sign = scipy.special.logsumexp(A, return_sign=True, **options)
        np.testing.assert_allclose(y.numpy(), right, rtol=1e-15)
        np.testing.assert_array_equal(sign.numpy(), right_sign)
        with np.errstate(invalid="ignore"):
            np.testing.assert_allclose(special.logsumexp(A, **options).numpy(), scipy.special.logsumexp(A, **options))


def test_softmax_without_an_axis_is_over_all_elements_as_in_scipy():
    np.testing.assert_allclose(special.softmax(A).numpy(), scipy.special.softmax(A))
    np.testing.assert_allclose(special.log_softmax(A, 0).numpy(), scipy.special.log_softmax(A, 0))


def test_sums_with_factors_have_the_derivatives_of_differences_by_both():
    a, b = np.array([0.3, -1.2, 2.0]), np.array([1.0, -2.0, 0.5])
    for f in (lambda a, b: special.logsumexp(a, b=b), lambda a, b: special.logsumexp(a, b=-b, return_sign=True)[0]):
        gradcheck(f, (a, b))
        gradgradcheck(f, (a, b))


def test_an_element_with_a_factor_of_0_counts_for_nothing_whatever_it_is():
    a, b = ad.Tensor([1.0, np.inf], requires_grad=True), ad.Tensor([2.0, 0.0])
    y = special.logsumexp(a, b=b)
    np.testing.assert_allclose(y.numpy(), 1 + np.log(2))
    np.testing.assert_array_equal(ad.gradients(y, a)[0].numpy(), [1, 0])

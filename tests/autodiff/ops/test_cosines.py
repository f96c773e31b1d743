"""Discrete cosine transforms against SciPy and differences."""

import numpy as np
import pytest
import scipy.fft

import autodiff as ad
from autodiff import Tensor

X = np.random.default_rng(3).normal(size=(3, 4, 5))


@pytest.mark.parametrize("name", ["dct", "idct"])
@pytest.mark.parametrize("kind", [2, 3])
@pytest.mark.parametrize("norm", [None, "ortho", "forward", "backward"])
def test_cosine_transforms_are_scipys_with_their_derivatives(name, kind, norm):
    ours, theirs = getattr(ad.fft, name), getattr(scipy.fft, name)
    for options in ({}, {"axis": 0}, {"n": 3}, {"n": 7, "axis": 1}, {"orthogonalize": True}, {"orthogonalize": False}):
        right = theirs(X, kind, norm=norm, **options)
        found = ours(Tensor(X, requires_grad=True), kind, norm=norm, **options)
        np.testing.assert_allclose(found.detach().numpy(), right, rtol=1e-12, atol=1e-13)
    assert ours(X.astype(np.float32), kind).dtype == np.float32
    for n in (1, 4, 7):
        ad.gradcheck(lambda x, n=n: ours(x, kind, n, norm=norm), X[0, 0])
    ad.gradgradcheck(lambda x: np.sin(ours(x, kind, norm=norm)), X[0, :2])


@pytest.mark.parametrize("name", ["dctn", "idctn"])
def test_cosine_transforms_of_several_axes_are_scipys_and_their_inverses(name):
    ours, theirs = getattr(ad.fft, name), getattr(scipy.fft, name)
    for options in ({}, {"axes": (0, 2)}, {"s": (4, 3)}, {"s": (2, 6), "axes": (1, 0), "type": 3, "norm": "ortho"}):
        np.testing.assert_allclose(ours(X, **options).numpy(), theirs(X, **options), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(ad.fft.idctn(ad.fft.dctn(X)).numpy(), X, rtol=1e-12)
    ad.gradcheck(ours, X[:2, :2, 0])
    np.testing.assert_allclose(ad.vmap(ours)(X).shape, X.shape)
    np.testing.assert_allclose(ad.vmap(ours)(X)[1], theirs(X[1]), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    "call, kind, match",
    [
        (lambda: ad.fft.dct(X, 1), ValueError, "dct: type=1, norm='backward'; the type is 2 or 3"),
        (lambda: ad.fft.idct(X, norm="best"), ValueError, "idct: type=2, norm='best'"),
        (lambda: ad.fft.dct(X * 1j), TypeError, "dct: is for real numbers"),
        (lambda: ad.fft.dct(X, axis=4), np.exceptions.AxisError, "dct"),
        (lambda: ad.fft.dct(X, n=0), ValueError, "dct: a length of 0"),
        (lambda: ad.fft.dctn(X, s=(2,), axes=(0, 1)), ValueError, "dctn: 1 lengths for 2 axes"),
    ],
)
def test_what_does_not_fit_is_named(call, kind, match):
    with pytest.raises(kind, match=match):
        call()

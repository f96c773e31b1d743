"""Convolutions and filters against SciPy and differences."""

import numpy as np
import pytest
import scipy.signal

import autodiff as ad
from autodiff import signal
from autodiff.checking.gradcheck import gradcheck, gradgradcheck

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("shapes", [((6,), (3,)), ((3,), (5,)), ((4, 5), (2, 3)), ((3, 2, 2), (1, 2, 2))])
def test_convolutions_are_scipys_with_the_derivatives_of_differences(mode, shapes):
    a, b = (RNG.normal(size=s) for s in shapes)
    for method in ("direct", "fft", "auto"):
        right = scipy.signal.convolve(a, b, mode, method)
        np.testing.assert_allclose(signal.convolve(a, b, mode, method).numpy(), right, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(signal.fftconvolve(a, b, mode).numpy(), right, rtol=1e-12, atol=1e-13)
    gradcheck(lambda a, b: signal.convolve(a, b, mode), (a, b))
    gradgradcheck(lambda a, b: signal.fftconvolve(a, b, mode), (a, b))


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("shapes", [((6,), (3,)), ((3,), (6,)), ((6,), (4,)), ((4, 5), (2, 3))])
def test_correlations_are_scipys(mode, shapes):
    a, b = (RNG.normal(size=s) for s in shapes)
    np.testing.assert_allclose(signal.correlate(a, b, mode), scipy.signal.correlate(a, b, mode), rtol=1e-12, atol=1e-13)
    gradcheck(lambda a, b: signal.correlate(a, b, mode), (a, b))


@pytest.mark.parametrize("boundary", ["fill", "wrap", "symm"])
@pytest.mark.parametrize("name", ["convolve2d", "correlate2d"])
def test_convolutions_of_images_go_on_at_their_boundary_as_scipys(name, boundary):
    ours, theirs = getattr(signal, name), getattr(scipy.signal, name)
    for shapes in (((4, 5), (2, 3)), ((3, 4), (4, 2)), ((2, 2), (5, 5)), ((4, 3), (1, 1))):
        a, b = (RNG.normal(size=s) for s in shapes)
        for mode in ("full", "same", "valid"):
            if mode == "valid" and shapes == ((3, 4), (4, 2)):
                continue
            options = (mode, boundary, 0.7)
            np.testing.assert_allclose(ours(a, b, *options), theirs(a, b, *options), rtol=1e-12, atol=1e-13)
    gradcheck(lambda a, b: ours(a, b, "same", boundary), (a, b))
    gradgradcheck(lambda a, b: ours(a, b, "full", boundary), (a, b))


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"convolve2d: shapes \(3,\) and \(2, 2\); both have two axes"):
        signal.convolve2d(np.ones(3), np.ones((2, 2)))
    with pytest.raises(ValueError, match="correlate2d: boundary='mirror'"):
        signal.correlate2d(np.ones((3, 3)), np.ones((2, 2)), boundary="mirror")
    with pytest.raises(ValueError, match=r"convolve: shapes \(3,\) and \(2, 2\) do not fit"):
        signal.convolve(np.ones(3), np.ones((2, 2)))
    with pytest.raises(ValueError, match="neither holds the other"):
        signal.convolve(np.ones((3, 1)), np.ones((1, 3)), "valid")
    with pytest.raises(ValueError, match="mode='circular'"):
        signal.convolve(np.ones(3), np.ones(2), "circular")


@pytest.mark.parametrize("b, a", [([1.0, 0.3], [2.0, -0.5, 0.2]), ([0.7], [1.0]), ([1.0, 2.0, 3.0], [0.5])])
def test_filters_are_scipys_with_the_derivatives_of_differences_by_signal_and_coefficients(b, a):
    b, a, x = np.array(b), np.array(a), RNG.normal(size=(2, 5, 3))
    for axis in (0, 1, -1):
        np.testing.assert_allclose(
            signal.lfilter(b, a, x, axis).numpy(), scipy.signal.lfilter(b, a, x, axis), rtol=1e-13
        )
    gradcheck(lambda b, a, x: signal.lfilter(b, a, x, 1), (b, a, x))
    gradgradcheck(signal.lfilter, (b, a, x[0, :, 0]))
    with pytest.raises(ValueError, match=r"a\[0\] not 0"):
        signal.lfilter(b, [0.0, 1.0], x)


def test_the_decay_rate_of_a_signal_is_found_by_its_gradient():
    target = scipy.signal.lfilter([1.0], [1.0, -0.8], np.eye(30)[0])
    loss = lambda p: ((signal.lfilter(np.ones(1), ad.stack([np.ones(()), -p]), np.eye(30)[0]) - target) ** 2).sum()
    p = 0.5
    for _ in range(30):
        p -= ad.grad(loss)(p) / ad.grad(ad.grad(loss))(0.8)
    assert abs(p - 0.8) < 1e-6

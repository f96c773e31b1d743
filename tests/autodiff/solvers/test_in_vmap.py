"""Initial value problems of many examples at once: closed forms, and the loop over the examples."""

import warnings

import numpy as np
import pytest

import autodiff as ad
from autodiff.batching.batch import BatchError, PerformanceWarning

RATES, STARTS, TIMES = np.array([0.3, 1.0, 40.0]), np.array([[1.0, 2.0], [0.5, -1.0], [3.0, 1.0]]), np.linspace(0, 1, 5)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", PerformanceWarning)
        yield


def decay(y, t, rate):
    return -rate * y


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
def test_every_example_is_as_accurate_as_asked_for(axes):
    y0, rate = (STARTS if axes[0] == 0 else STARTS[0]), (RATES if axes[1] == 0 else RATES[2])
    exact = np.exp(-np.atleast_1d(rate)[:, None, None] * TIMES[:, None]) * np.atleast_2d(y0)[:, None]
    found = ad.vmap(lambda y, k: ad.solvers.odeint(decay, y, TIMES, (k,), 1e-10, 1e-10), axes)(y0, rate)
    np.testing.assert_allclose(found, np.broadcast_to(exact, found.shape), rtol=1e-8, atol=1e-8)
    found = ad.vmap(lambda y, k: ad.solvers.solve_ivp(lambda t, y: -k * y, (0, 1), y, atol=[1e-9, 1e-8], rtol=1e-8).y[:, -1], axes)(y0, rate)  # fmt: skip
    np.testing.assert_allclose(found, np.broadcast_to(exact, (3, 5, 2))[:, -1], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "slope",
    [
        lambda f: lambda y, k: ad.grad(lambda y: (f(y, k) ** 2).sum())(y),
        lambda f: lambda y, k: ad.grad(lambda k: (f(y, k) ** 2).sum())(k),
        lambda f: lambda y, k: ad.jvp(lambda y: f(y, k), y, y * 0.5)[1],
        lambda f: lambda y, k: ad.hvp(lambda y: (f(y, k) ** 2).sum(), y, y * 0.5),
    ],
)
def test_derivatives_inside_and_outside_are_those_of_the_loop(slope):
    def f(y, k):
        return ad.solvers.odeint(lambda y, t: np.stack([y[1], -k * np.sin(y[0])]), y, TIMES, (), 1e-11, 1e-11)[-1]

    of_each = slope(f)
    found = ad.vmap(of_each)(STARTS, RATES / 10)
    expected = np.stack([of_each(y, k) for y, k in zip(STARTS, RATES / 10)])
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-8)
    outside = ad.grad(lambda y: (ad.vmap(f)(y, RATES / 10) ** 2).sum())(STARTS)
    each = [ad.grad(lambda y, k=k: (f(y, k) ** 2).sum())(y) for y, k in zip(STARTS, RATES / 10)]
    np.testing.assert_allclose(outside, np.stack(each), rtol=1e-7, atol=1e-8)


def test_maps_in_maps_take_their_steps_together():
    f = lambda y, k: ad.solvers.odeint(decay, y, TIMES, (k,))[-1]
    found = ad.vmap(lambda k: ad.vmap(lambda y: f(y, k))(STARTS))(RATES)
    np.testing.assert_allclose(found, np.exp(-RATES)[:, None, None] * STARTS, rtol=1e-6, atol=1e-7)


def test_times_that_differ_between_examples_are_refused():
    with pytest.raises(BatchError, match="times of solve_ivp differ"):
        ad.vmap(lambda t: ad.solvers.odeint(lambda y, t: -y, [1.0], np.stack([0 * t, t])))(RATES)

"""Functions known at points: integrals, slopes, interpolation, convolution, phases."""

import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor
from tests.against_numpy import same_as_numpy

rng = np.random.default_rng(5)
A = rng.normal(size=(4, 5))
V, W = rng.normal(size=7), rng.normal(size=3)
KNOTS = np.array([0.0, 0.7, 1.0, 2.0, 3.0])
STACK = rng.normal(size=(3, 4, 2))


@pytest.mark.parametrize(
    "call",
    [
        lambda f: f(A),
        lambda f: f(A, dx=0.3, axis=0),
        lambda f: f(A, KNOTS),
        lambda f: f(A, A**2, axis=0),
        lambda f: f(STACK, np.arange(4.0) ** 2, axis=1),
        lambda f: f(A.astype(np.float32)),
        lambda f: f(np.arange(5)),
        lambda f: f(STACK, STACK[0], axis=-2),
    ],
)
def test_integrals_by_trapezoids(call):
    same_as_numpy("trapezoid", call)


@pytest.mark.parametrize(
    "call",
    [
        lambda f: f(A),
        lambda f: f(V, 0.3),
        lambda f: f(A, 2.0, axis=0),
        lambda f: f(A, 2.0, 3.0, edge_order=2),
        lambda f: f(A, KNOTS, axis=1),
        lambda f: f(A, KNOTS, axis=1, edge_order=2),
        lambda f: f(A, np.float64(0.1), KNOTS),
        lambda f: f(STACK, axis=(2, 0)),
        lambda f: f(np.arange(5)),
        lambda f: f(A, [0, 1, 2, 3, 4], axis=1),
        lambda f: f(A.astype(np.float32)),
    ],
)
def test_slopes_on_a_grid(call):
    same_as_numpy("gradient", call)


def test_slopes_have_derivatives_by_the_steps():
    for order in (1, 2):
        ad.gradcheck(lambda f, h, o=order: ad.gradient(f, h, axis=1, edge_order=o), [A, np.array(0.4)])
        ad.gradcheck(lambda f, x, o=order: ad.gradient(f, x, axis=1, edge_order=o), [A, KNOTS])
        ad.gradcheck(
            lambda x, o=order: ad.gradient(V, x, edge_order=o), [np.arange(7.0)]
        )  # even steps may become uneven


X = np.array([-1.0, 0.15, 0.3, 0.8, 2.5, 4.0])


@pytest.mark.parametrize(
    "options", [{}, {"left": 7.0, "right": -8.0}, {"period": 2.9}, {"period": -3.5}], ids=["", "ends", "period", "p"]
)
def test_interpolation_has_derivatives_by_the_points_and_the_places(options):
    same_as_numpy("interp", lambda f: f(X, KNOTS, A[0], **options))
    order = [2, 0, 1, 4, 3] if "period" in options else slice(None)
    same_as_numpy("interp", lambda f: f(X, KNOTS[order], A[0], **options))
    same_as_numpy("interp", lambda f: f(np.r_[KNOTS, np.nan, np.inf, -np.inf], KNOTS, A[0], **options), derivatives=0)


def test_interpolation_of_other_inputs():
    same_as_numpy("interp", lambda f: f(0.5, KNOTS, A[0]))
    same_as_numpy("interp", lambda f: f(X.reshape(2, 3), KNOTS, A[0]))
    same_as_numpy("interp", lambda f: f(X, [1.0], [2.0]))
    same_as_numpy("interp", lambda f: f(X.astype(np.float32), KNOTS.astype(np.float32), A[0]))
    same_as_numpy("interp", lambda f: f(np.arange(3), [0, 2], [5, 6]))
    same_as_numpy("interp", lambda f: f(np.r_[X, KNOTS], [0.0, 1.0, 1.0, 2.0, 2.0], A[0]), derivatives=0)


def test_at_a_point_the_slope_is_that_to_the_right_and_at_the_last_that_to_the_left():
    x = Tensor([-1.0, 0.0, 1.0, 2.0, 3.0], requires_grad=True)
    np.interp(x, [0.0, 1.0, 2.0], [0.0, 10.0, 40.0]).sum().backward()
    assert x.grad.tolist() == [0, 10, 30, 30, 0]


def test_the_values_at_the_ends_have_gradients():
    left, right = Tensor(1.0, requires_grad=True), Tensor(2.0, requires_grad=True)
    np.interp(Tensor(X), KNOTS, A[0], left, right).sum().backward()
    assert left.grad.item() == 1 and right.grad.item() == 1


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_convolutions_and_correlations(name, mode):
    for a in (V, W, V[:4]):
        for v in (V, W, V[:2], V[:4]):
            same_as_numpy(name, lambda f, a=a, v=v: f(a, v, mode))
    same_as_numpy(name, lambda f: f(V.astype(np.float32), W.astype(np.float32), mode))
    same_as_numpy(name, lambda f: f(V, W.astype(np.float32), mode), derivatives=0)
    same_as_numpy(name, lambda f: f(np.ones(1), W, mode))


def test_a_convolution_agrees_with_that_of_polynomials_and_closes_to_any_order():
    def cubed(a):
        return np.convolve(np.convolve(a, a), a).sum()  # (Σ a)³, whose third derivative is 6

    third = ad.grad(lambda a: ad.grad(lambda a: ad.grad(cubed)(a).sum())(a).sum())
    np.testing.assert_allclose(third(W), np.full(3, 6.0 * 3**2))


def test_phases_are_unwrapped_and_keep_their_derivative():
    for call in (
        lambda f: f(V * 4),
        lambda f: f(A * 5, axis=0),
        lambda f: f(A * 5, period=3.0),
        lambda f: f(A * 5, discont=4.0),
        lambda f: f(np.array([0.0, 350.0, 10.0]), period=360),
    ):
        same_as_numpy("unwrap", call)


@pytest.mark.parametrize(
    "call, kind, match",
    [
        (lambda: np.interp(Tensor(X), KNOTS, A), ValueError, r"interp: xp of shape \(5,\) and fp of shape \(4, 5\)"),
        (lambda: np.interp(Tensor(X), KNOTS, A[0], period=0), ValueError, "interp: period must not be 0"),
        (lambda: np.gradient(Tensor(A), 1.0, 2.0, 3.0), TypeError, r"gradient\(shape \(4, 5\)\): 3 steps for 2 axes"),
        (lambda: np.gradient(Tensor(A), KNOTS, KNOTS), ValueError, r"gradient: coordinates of shape \(5,\) for axis 0"),
        (lambda: np.gradient(Tensor(V[:1])), ValueError, "axis 0 of length 1 is too short; edge_order=1 takes 2"),
        (lambda: np.gradient(Tensor(V), edge_order=3), ValueError, "gradient: edge_order is 1 or 2, not 3"),
        (lambda: np.trapezoid(Tensor(A), W), ValueError, r"trapezoid: points of shape \(1, 3\) do not fit"),
        (lambda: np.convolve(Tensor(A), W), ValueError, r"convolve: takes two vectors .* \(4, 5\) and \(3,\)"),
        (lambda: np.correlate(Tensor(V), W, "half"), ValueError, "correlate: mode is 'full', 'same' or 'valid'"),
    ],
)
def test_arguments_that_do_not_fit_are_named(call, kind, match):
    with pytest.raises(kind, match=match):
        call()


def test_functions_of_complex_values():
    c, d = V + 1j * V[::-1], W - 1j * W[::-1]
    for mode in ("full", "same", "valid"):
        for name in ("convolve", "correlate"):
            for v in (d, d[:2], W, c[:5]):
                same_as_numpy(name, lambda f, v=v, m=mode: f(c, v, m), derivatives=1)
                same_as_numpy(name, lambda f, v=v, m=mode: f(v, c, m), derivatives=1)
    same_as_numpy("interp", lambda f: f(X, KNOTS, c[:5]), derivatives=1)
    same_as_numpy("gradient", lambda f: f(c), derivatives=1)
    same_as_numpy("trapezoid", lambda f: f(c), derivatives=1)
    with pytest.raises(TypeError, match="interp: x and xp are real, not complex128"):
        np.interp(Tensor(c), KNOTS, KNOTS)

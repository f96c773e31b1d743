"""The figure of an activation: f, f′ and f″ are the closed forms, on axes of one's choice."""

import numpy as np
import pytest
from scipy.stats import norm

import autodiff as ad
import nn


def test_the_second_derivative_of_tanh_is_its_closed_form():
    curves = nn.plot.activation_curves(nn.Tanh())
    t = np.tanh(curves.x)
    assert (curves.x[0], curves.x[-1], len(curves.x)) == (-4, 4, 401)
    np.testing.assert_allclose(curves.f, t, rtol=1e-12)
    np.testing.assert_allclose(curves.first, 1 - t**2, rtol=1e-9)
    np.testing.assert_allclose(curves.second, -2 * t * (1 - t**2), atol=1e-12)


def test_gelu_has_the_derivatives_of_x_times_the_normal_distribution():
    curves = nn.plot.activation_curves(nn.GELU(), (-3.0, 3.0))
    x = curves.x
    np.testing.assert_allclose(curves.first, norm.cdf(x) + x * norm.pdf(x), atol=1e-12)
    np.testing.assert_allclose(curves.second, (2 - x**2) * norm.pdf(x), atol=1e-12)


def test_a_step_has_derivatives_0_everywhere():
    curves = nn.plot.activation_curves(nn.Step())
    assert set(curves.f) == {0, 1} and not curves.first.any() and not curves.second.any()


def test_the_lines_are_the_curves_and_the_axes_mine(plt):
    _, mine = plt.subplots()
    assert nn.plot.activation(np.sin, np.linspace(0, 3, 7), ax=mine) is mine
    curves = [line.get_ydata() for line in mine.lines[1:]]
    x = np.linspace(0, 3, 7)
    np.testing.assert_allclose(curves, [np.sin(x), np.cos(x), -np.sin(x)], atol=1e-12)
    dashes = {str(line._unscaled_dash_pattern) + str(line.get_color()) for line in mine.lines[1:]}
    assert len(dashes) == 3 and mine.get_title() == "sin"


def test_an_activation_with_parameters_is_drawn_in_their_precision(plt):
    curves = nn.plot.activation_curves(nn.PReLU())
    assert curves.first.dtype == np.float32 and set(curves.first.round(6)) == {np.float32(0.25), np.float32(1)}


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((3,), TypeError, "takes a module or a function, not 3"),
        ((nn.Tanh,), TypeError, r"write nn\.Tanh\(\)"),
        ((nn.Softmax(-1),), ValueError, "mixes its inputs"),
        ((nn.GLU(), np.linspace(0, 1, 4)), ValueError, "mixes its inputs"),
        ((np.tanh, (1, 0)), ValueError, "x is"),
        ((np.tanh, 3.0), ValueError, "x is"),
        ((np.tanh, (0, np.inf)), ValueError, "x is"),
        ((np.tanh, "ab"), ValueError, "x is"),
        ((lambda x: 3.0,), TypeError, "returns one, not float"),
    ],
)
def test_bad_input_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        nn.plot.activation(*arguments)


def test_a_representation_is_a_line():
    assert repr(nn.plot.activation_curves(ad.sigmoid, (-1, 1))).startswith(
        "ActivationCurves(sigmoid on [-1, 1]: f from"
    )

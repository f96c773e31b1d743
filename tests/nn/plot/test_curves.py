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


@pytest.mark.filterwarnings("error")
def test_a_pole_does_not_flatten_the_curves(plt):
    ax = nn.plot.activation(lambda x: 1 / x, (-1, 1))
    ax.figure.canvas.draw()
    assert ax.get_ylim()[1] < 1e5 and np.nanmax(ax.lines[3].get_ydata()) > 1e7
    for f in (nn.SELU(), nn.GELU(), nn.Step(), nn.PReLU(dtype="float16")):
        ax = nn.plot.activation(f)
        low, high = ax.get_ylim()
        assert all(low <= line.get_ydata().min() and line.get_ydata().max() <= high for line in ax.lines[1:])


@pytest.mark.filterwarnings("error")
def test_functions_that_are_not_finite_are_said_to_be_so_and_names_are_no_formulas(plt):
    ax = nn.plot.activation(lambda x: x * np.nan)
    assert [text.get_text() for text in ax.texts] == ["no finite value"]

    def named(x):
        return x

    named.__name__ = "$a_$_<漢"
    nn.plot.activation(named).figure.canvas.draw()


@pytest.mark.parametrize("x", [(-1e308, 1.7e308), (-1e-310, 1e-310)])
def test_a_line_that_floats_cannot_divide_is_refused(x):
    with pytest.raises(ValueError, match=r"within ±1e\+300, its ends 1e-300 apart"):
        nn.plot.activation(np.tanh, x)

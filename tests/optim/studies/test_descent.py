"""Gradient descent by learning rate: the losses are closed forms, and divergence is told."""

import numpy as np
import pytest

import autodiff as ad
import optim
from optim.plot import descents


def quadratic(w):
    return 0.5 * (np.array([1.0, 20.0]) * w**2).sum()


def test_the_losses_on_a_quadratic_are_the_powers_of_its_factors():
    rates = [0.01, 0.09, 0.12]
    found = descents(quadratic, [5.0, 1.0], rates, steps=30)
    t = np.arange(31)
    for rate, losses in zip(rates, found.losses, strict=True):
        expected = 0.5 * ((1 - rate) ** t * 5) ** 2 + 10 * ((1 - 20 * rate) ** t) ** 2
        np.testing.assert_allclose(losses, expected, rtol=1e-9)
    assert found.diverged.tolist() == [False, False, True]
    assert [row["diverged"] for row in found.table().rows] == ["no", "no", "yes"]


def test_a_run_ends_where_the_loss_is_no_longer_finite():
    found = descents(lambda w: (w**4).sum(), 3.0, [1.0], steps=30)
    assert found.diverged[0] and np.isnan(found.losses[0, -1]) and np.isfinite(found.losses[0, 0])


def test_the_figure_marks_what_diverges_and_keeps_the_rest_in_sight(plt):
    _, mine = plt.subplots()
    assert optim.plot.learning_rates(quadratic, [5.0, 1.0], [0.01, 0.09, 0.15, 1e200], ax=mine) is mine
    labels = [line.get_label() for line in mine.lines]
    assert labels == ["0.01", "0.09", "0.15 diverges", "1e+200 diverges"]
    assert mine.get_yscale() == "log" and mine.get_ylim()[1] < 1000
    assert max(line.get_ydata().max() for line in mine.lines) <= mine.get_ylim()[1] * (1 + 1e-12)
    assert [line.get_marker() for line in mine.lines][2:] == ["x", "x"]


def test_losses_that_all_diverge_or_are_negative_or_constant_are_drawn(plt):
    for f, start in ((quadratic, [5.0, 1.0]), (lambda w: -(w**2).sum() - 3, 1.0), (lambda w: 0 * w, 1.0)):
        optim.plot.learning_rates(f, start, [2.0, 3.0], steps=4).figure.canvas.draw()


@pytest.mark.parametrize(
    "change, error, message",
    [
        (dict(f=3), TypeError, "f takes a function of the parameters, not 3"),
        (dict(rates=[0.1, -1]), ValueError, "numbers more than 0"),
        (dict(rates=[]), ValueError, "numbers more than 0"),
        (dict(rates=[np.nan]), ValueError, "numbers more than 0"),
        (dict(start=np.inf), ValueError, "start must be finite"),
        (dict(start="a"), TypeError, "take numbers or arrays of them"),
        (dict(rates=["a"]), TypeError, "take numbers or arrays of them"),
        (dict(steps=0), ValueError, "steps must be a whole number of at least 1, not 0"),
        (dict(f=lambda w: ad.stack([w, w])), ValueError, "grad"),
    ],
)
def test_bad_input_is_refused(change, error, message):
    arguments = dict(f=lambda w: w**2, start=1.0, rates=[0.1], steps=3) | change
    with pytest.raises(error, match=message):
        descents(**arguments)


def test_one_diverging_run_does_not_hide_the_steps_of_the_others_and_no_name_is_left_out():
    import matplotlib.pyplot as plt

    makers = {"good": lambda p: optim.SGD(p, lr=0.005), "_bad": lambda p: optim.SGD(p, lr=10.0)}
    compared = optim.compare(lambda x, y: x**2 + 100 * y**2, (10, 1), makers, steps=30)
    ax = optim.plot.step_sizes(compared)
    low, high = ax.get_ylim()
    assert low < compared.step_sizes["good"].min() and high < 1e6
    assert [text.get_text().strip() for text in ax.get_legend().get_texts()] == ["good", "_bad"]
    plt.close(ax.figure)


@pytest.mark.filterwarnings("error")
def test_many_rates_are_told_apart_by_a_scale_of_colours(plt):
    rates = np.geomspace(1e-3, 3, 30)
    ax = optim.plot.learning_rates(lambda w: 0.5 * w**2, 1.0, rates)
    ax.figure.canvas.draw()
    assert ax.get_legend() is None and len(ax.lines) == 30
    bar = ax.figure.axes[1]
    assert bar.get_ylabel() == "learning rate; dotted, up to a cross: diverges" and bar.get_yscale() == "log"
    np.testing.assert_allclose(bar.get_ylim(), (1e-3, 3))
    assert len({line.get_color() for line in ax.lines}) == 30
    _, mine = plt.subplots(layout="constrained")
    assert optim.plot.learning_rates(lambda w: 0.5 * w**2, 1.0, np.linspace(1, 1.5, 13), ax=mine) is mine
    mine.figure.canvas.draw()
    assert mine.figure.axes[1].get_ylabel() == "learning rate" and mine.figure.axes[1].get_yscale() == "linear"


def test_up_to_twelve_different_rates_have_a_line_in_the_legend(plt):
    ax = optim.plot.learning_rates(lambda w: 0.5 * w**2, 1.0, [*np.linspace(0.1, 1.2, 12), 0.1, 0.2])
    assert len(ax.lines) == 14 and len(ax.get_legend().get_texts()) == 12
    assert ax.lines[0].get_color() == ax.lines[12].get_color()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("start", [np.nan, 1e154, 1e200, 1e-160])
def test_losses_of_any_size_are_drawn_and_tabled(plt, start):
    f = (lambda w: w * np.nan) if np.isnan(start) else (lambda w: w**2)
    found = descents(f, 1.0 if np.isnan(start) else start, [0.1, 0.5, 1.1])
    assert len(repr(found).splitlines()) == 5
    ax = found.plot()
    ax.figure.canvas.draw()
    assert [text.get_text() for text in ax.texts] == ([] if start in (1e154, 1e-160) else ["no finite value"])

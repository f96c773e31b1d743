"""The style of all figures: it is set on new axes alone, readable without colours, and shows no empty decades."""

import sys
from itertools import combinations

import numpy as np
import pytest

from autodiff import figures


def test_new_axes_have_the_style_and_the_users_settings_stay(plt):
    before = dict(plt.rcParams)
    ax = figures.axes_for("f")
    assert not ax.spines["top"].get_visible() and ax.xaxis.get_gridlines()[0].get_visible()
    assert dict(plt.rcParams) == before


def test_axes_that_are_given_keep_their_look(plt):
    _, mine = plt.subplots()
    assert figures.axes_for("f", mine) is mine
    assert mine.spines["top"].get_visible() and not mine.xaxis.get_gridlines()[0].get_visible()


def test_new_axes_follow_the_users_dark_style(plt):
    with plt.style.context("dark_background"):
        ax = figures.axes_for("f")
        assert figures.ink(ax) == "white" and figures.paper(ax) == (0, 0, 0)
        np.testing.assert_allclose(figures.tinted(ax, (1.0, 0.5, 0.0), 0.5), (0.5, 0.25, 0.0))
    ax = figures.axes_for("f")
    assert figures.ink(ax) == "black" and figures.paper(ax) == (1, 1, 1)


def _luminance(colour):
    """Of WCAG 2."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_every_colour_can_be_seen_on_white_and_on_black():
    for colour in figures.PALETTE:
        assert 1.05 / (_luminance(colour) + 0.05) > 1.9 and (_luminance(colour) + 0.05) / 0.05 > 4


# Viénot, Brettel & Mollon, "Digital video colourmaps for checking the legibility of displays by dichromats", 1999:
# what is left of linear red, green and blue to who lacks the long or the middle cones.
PROTAN = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]])
DEUTAN = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])


@pytest.mark.parametrize("lacks", [PROTAN, DEUTAN], ids=["protan", "deutan"])
def test_colour_blind_readers_tell_the_colours_apart(lacks):
    channels = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in figures.PALETTE]) / 255
    seen = np.clip((channels**2.2) @ lacks.T, 0, 1) ** (1 / 2.2)
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 0.1


def test_lines_differ_and_the_first_six_in_black_and_white_too():
    styles = [figures.line_style(i, marker=True) for i in range(36)]
    assert len({(s["color"], str(s["linestyle"]), s["marker"]) for s in styles}) == 36
    assert len({(str(s["linestyle"]), s["marker"]) for s in styles[:6]}) == 6
    assert len({str(s["linestyle"]) for s in styles[:6]}) == 6


def test_a_grid_of_axes_is_as_many_as_are_wanted(plt):
    axes = figures.axes_grid("f", 5)
    assert axes.shape == (5,) and len(axes[0].figure.axes) == 5
    _, mine = plt.subplots(2, 2)
    assert list(figures.axes_grid("f", 4, mine)) == list(mine.flat)


@pytest.mark.parametrize(
    "ax, n, error, message",
    [
        (3, 1, TypeError, "f: ax takes one matplotlib Axes"),
        (np.zeros(2), 1, TypeError, r"not an array of shape \(2,\)"),
        ("figure", 2, TypeError, "f: ax takes matplotlib Axes, 2 of them, not str"),
    ],
)
def test_what_is_no_axes_is_refused(ax, n, error, message):
    with pytest.raises(error, match=message):
        figures.axes_for("f", ax) if n == 1 else figures.axes_grid("f", n, ax)


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"nn\.plot\.activation needs matplotlib: pip install matplotlib"):
        figures.axes_for("nn.plot.activation")


def test_a_logarithmic_range_cuts_what_lasts_for_one_step_and_what_lies_too_deep():
    falling = 10.0 ** -np.arange(5)
    low, high = figures.log_range([falling])
    assert 1e-4 < low < 1e-3 < 1 < high < 3  # the last value has no second step
    assert figures.log_range([np.r_[falling, falling[-1]]])[0] < 1e-4
    assert figures.log_range([np.r_[1.0, 1e-3, 1e-40, 1e-40]])[0] > 1e-18
    assert figures.log_range([[1.0, -1.0]]) is None and figures.log_range([[1.0, 0.5]]) is None
    assert figures.log_range([[np.nan, np.inf]]) is None and figures.log_range([[0.0, 0.0]]) is None


def test_a_legend_beside_new_axes_grows_the_figure_and_leaves_the_axes_their_width(plt):
    widths, heights = [], []
    for n, name in ((3, "a"), (40, "quite a long name for a line")):
        ax = figures.axes_for("f", size=(6, 3))
        for i in range(n):
            ax.plot([0, 1], label=f"{name} {i}")
        figures.legend(ax, beside=True)
        ax.figure.canvas.draw()
        box = ax.get_window_extent()
        widths.append(box.width / 100), heights.append(ax.figure.get_figheight())
        assert len(ax.get_legend().get_texts()) == n
        assert ax.get_legend().get_window_extent().y0 >= 0
    assert min(widths) > 3.5 and heights[0] == 3 < heights[1]


def test_a_legend_over_given_axes_counts_what_they_have_no_room_for(plt):
    _, ax = plt.subplots(figsize=(4, 2))
    for i in range(40):
        ax.plot([0, 1], label=str(i))
    figures.legend(ax)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert 3 <= len(texts) < 12 and texts[0] == "0" and texts[-1] == f"… {40 - len(texts) + 1} more"
    assert len(ax.lines) == 40


def test_what_cannot_be_drawn_is_nan_and_words_say_so(plt):
    ax = figures.axes_for("f")
    figures.note_unseen(ax, [1.0, np.nan])
    assert not ax.texts
    figures.note_unseen(ax, [np.nan, np.inf])
    figures.note_unseen(ax, [1e305])
    assert [text.get_text() for text in ax.texts] == ["no finite value", "no value within ±1e+300"]


@pytest.mark.parametrize(
    "values", [[1e200], [-1e300, 1e300], [1e16, 1e16 + 2], [0.0, 1e-310], [], [np.nan], [1 + 1e-16]]
)
def test_limits_are_finite_and_can_be_told_apart(values):
    low, high = figures.limits(values, 0.1)
    lines = np.linspace(low, high, 241)
    assert np.isfinite(lines).all() and (np.diff(lines) > 0).all()
    assert all(low < value < high for value in values if np.isfinite(value))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("span", [(1e-304, 1e304), (1e-3, 1e3), (1e290, 1e300), (1e-300, 1e-290)])
def test_logarithmic_axes_of_any_range_have_ticks(plt, span):
    ax = figures.axes_for("f")
    figures.log_scale(ax, span)
    ax.figure.canvas.draw()
    assert sum(span[0] <= tick <= span[1] for tick in ax.get_yticks()) >= 2


def test_a_value_alone_needs_a_marker():
    assert figures.dotted([1.0]) and figures.dotted([1.0, 1.0, np.nan, 2.0])
    assert not figures.dotted([np.nan, 1.0, 2.0]) and not figures.dotted([])

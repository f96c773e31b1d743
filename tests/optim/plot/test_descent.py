"""The figures of a comparison show its numbers, and take nothing else."""

import numpy as np
import pytest

import optim


@pytest.fixture
def seen():
    makers = {"SGD": lambda p: optim.SGD(p, lr=0.01), "Adam": lambda p: optim.Adam(p, lr=0.1)}
    return optim.compare(lambda x, y: x**2 + 10 * y**2, (3, 1), makers, steps=12)


def test_step_sizes_are_drawn_over_the_steps_from_the_first_on(plt, seen):
    _, mine = plt.subplots()
    assert optim.plot.step_sizes(seen, ax=mine) is mine
    for line, name in zip(mine.lines, seen.paths, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 13))
        np.testing.assert_array_equal(line.get_ydata(), seen.step_sizes[name])


def test_moments_are_drawn_by_coordinate(plt, seen):
    axes = optim.plot.moments(seen)
    assert len(axes) == 2
    for i in range(2):
        np.testing.assert_array_equal(axes[0].lines[i].get_ydata(), seen.states["Adam"]["exp_avg"][:, i])


def test_what_is_no_comparison_is_refused():
    for figure in (optim.plot.step_sizes, optim.plot.moments):
        with pytest.raises(TypeError, match=r"takes what optim\.compare returned, not dict"):
            figure({})


def quadratic(x, y):
    return x**2 + 3 * y**2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "f, words",
    [
        (lambda x, y: 0 * x + 3.0, "f = 3 all over"),
        (lambda x, y: x * np.nan, "no finite value"),
        (lambda x, y: 1e305 + 0 * x, "no value within ±1e+300"),
    ],
)
def test_a_surface_with_nothing_to_see_says_why(plt, f, words):
    ax = optim.plot.surface(f, [(2, 1), (1, -0.5)])
    ax.figure.canvas.draw()
    assert [text.get_text() for text in ax.texts] == [words]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["path"]  # there are no arrows


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("far", [1e100, 1e200, 1e308, np.inf, np.nan])
def test_points_too_far_away_do_not_hide_the_surface_and_are_counted(plt, far):
    ax = optim.plot.surface(quadratic, [(0, 0), (1, 1), (0.5, 1), (far, -far)])
    ax.figure.canvas.draw()
    np.testing.assert_allclose(ax.get_xlim(), (-0.15, 1.15))
    assert [text.get_text() for text in ax.texts] == ["outside: 1 point, too far away or where f is not finite"]
    if far != 1e100:  # where f is not finite
        assert optim.plot.surface(quadratic, [(0, 0), (far, far)]).get_xlim() == (-1, 1)
    assert not optim.plot.surface(quadratic, [(0, 0), (1, 1), (50, 50)]).texts


def test_points_in_scale_are_all_within_the_limits(plt):
    path = np.random.default_rng(0).normal(size=(500, 2)).cumsum(axis=0)
    ax = optim.plot.surface(quadratic, path)
    assert not ax.texts
    np.testing.assert_allclose(ax.get_xlim(), path[:, 0].min() - 0.15 * np.ptp(path[:, 0]) * np.array([1, 0])
                               + [0, np.ptp(path[:, 0]) * 1.15])  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e290])
def test_a_surface_of_any_height_has_contours_and_arrows(plt, scale):
    ax = optim.plot.surface(lambda x, y: scale * quadratic(x, y), xlim=(-1, 1), ylim=(-1, 1))
    ax.figure.canvas.draw()
    *contours, arrows = ax.collections
    assert len(contours) == 2 and not ax.texts
    lengths = np.hypot(arrows.U, arrows.V)[~arrows.Umask]
    assert len(lengths) == 21 * 21 - 1 and 0.05 < lengths.max() < 0.2  # of cells of 0.1


def test_two_plateaus_have_a_contour_between_them(plt):
    ax = optim.plot.surface(lambda x, y: (x > 0) * 1.0 + 0 * y, field=False)
    edge = np.concatenate([path.vertices for path in ax.collections[1].get_paths()])
    assert np.abs(edge[:, 0]).max() < 0.03


def test_an_empty_path_is_refused_in_words():
    with pytest.raises(ValueError, match=r"shape \(n, 2\).*; got \[\]"):
        optim.plot.surface(quadratic, [])


@pytest.mark.filterwarnings("error")
def test_states_of_hostile_names_and_single_values_can_be_seen(plt):
    makers = {name: lambda p: optim.Adam(p, lr=0.1) for name in ("$a_$_", "_b", "漢")}
    seen = optim.compare(quadratic, (1, 1), makers, steps=1)
    axes = optim.plot.moments(seen)
    axes[0].figure.canvas.draw()
    assert axes[0].get_title() == r"\$a_\$_: exp_avg" and axes[0].lines[0].get_marker() not in ("None", "", None)
    for ax in (seen.plot(), seen.plot_values(), optim.plot.step_sizes(seen)):
        ax.figure.canvas.draw()
        assert len(ax.get_legend().get_texts()) >= 3


def test_a_function_of_other_arguments_than_x_and_y_is_refused_in_one_sentence():
    for f in (lambda w: (w**2).sum(), lambda x, y, z: x * y * z, lambda: 1.0):
        with pytest.raises(TypeError, match=r"optim.plot.surface: f is called as f\(x, y\)"):
            optim.plot.surface(f)
    optim.plot.surface(lambda *at: at[0] ** 2 + at[1])


@pytest.mark.filterwarnings("error")
def test_a_comparison_in_which_all_diverge_shows_how(plt):
    seen = optim.compare(quadratic, (1, 1), {"bad": lambda p: optim.SGD(p, lr=5.0)}, steps=400)
    for ax in (seen.plot(), seen.plot_values()):
        ax.figure.canvas.draw()
    assert ax.get_yscale() == "log" and ax.get_ylim()[0] < 10 and ax.get_ylim()[1] > 1e250

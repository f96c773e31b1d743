"""Values and gradients of a function of two variables over a region."""

import numpy as np
import pytest

import autodiff as ad
import optim
from optim.studies.landscape import landscape


def saddle(x, y):
    return x**2 - 3 * x * y + ad.sin(y)


def test_values_and_gradients_are_those_of_the_function():
    seen = landscape(saddle, (-1, 2), (0, 3), field=5, points=21)
    x, y = np.meshgrid(seen.x, seen.y)
    np.testing.assert_allclose(seen.values, x**2 - 3 * x * y + np.sin(y), rtol=1e-12, atol=1e-12)
    u, v = seen.at[..., 0], seen.at[..., 1]
    np.testing.assert_allclose(seen.gradient, np.stack([2 * u - 3 * v, np.cos(v) - 3 * u], axis=-1), atol=1e-12)
    assert (seen.at[0, 0] == (-1, 0)).all() and (seen.at[-1, -1] == (2, 3)).all()


def test_functions_of_numbers_only_have_the_same_values_and_gradients():
    def numbers(x, y):
        return x**2 - 3 * x * y + ad.sin(y) if float(x) > -9 else y

    seen = landscape(numbers, (-1, 2), (0, 3), field=4)
    assert seen.values.shape == (81, 81)
    x, y = np.meshgrid(seen.x, seen.y)
    np.testing.assert_allclose(seen.values, x**2 - 3 * x * y + np.sin(y), rtol=1e-12, atol=1e-12)
    u, v = seen.at[..., 0], seen.at[..., 1]
    np.testing.assert_allclose(seen.gradient, np.stack([2 * u - 3 * v, np.cos(v) - 3 * u], axis=-1), atol=1e-12)


def test_a_function_that_takes_arrays_for_something_else_is_asked_point_by_point():
    seen = landscape(lambda x, y: ((x - np.array([1.0, 3.0])) ** 2).mean() + y, (-1, 1), (0, 1), field=3, points=241)
    x, y = np.meshgrid(seen.x, seen.y)
    np.testing.assert_allclose(seen.values, ((x - 1) ** 2 + (x - 3) ** 2) / 2 + y)
    np.testing.assert_allclose(seen.gradient[..., 0], 2 * seen.at[..., 0] - 4)


def test_a_function_of_one_of_the_two_has_slope_0_along_the_other():
    assert (landscape(lambda x, y: x**2, (-1, 1), (0, 1), field=3).gradient[..., 1] == 0).all()


def test_arrows_point_down_and_the_steepest_is_the_longest(plt):
    ax = landscape(lambda x, y: x**2 + 100 * y**2, (-2, 2), (-2, 2), field=5).plot()
    arrows = next(c for c in ax.collections if hasattr(c, "U"))
    x, y = arrows.XY.T + np.stack([arrows.U, arrows.V], axis=-1).T / 2  # an arrow's middle is where its slope is taken
    down = -np.stack([2 * x, 200 * y])
    away = np.hypot(*down) > 1e-9
    cross = arrows.U * down[1] - arrows.V * down[0]
    np.testing.assert_allclose((cross / np.hypot(*down))[away], 0, atol=1e-9)
    assert (arrows.U * down[0] + arrows.V * down[1])[away].min() > 0
    assert np.hypot(arrows.U, arrows.V)[away].max() < 1  # the lines are 1 apart


@pytest.mark.parametrize("limits", [(1, 0), (0, 0), (0, np.inf), 3, (0, 1, 2)])
def test_limits_are_finite_and_increase(limits):
    with pytest.raises(ValueError, match="xlim is \\(low, high\\)"):
        landscape(saddle, limits, (0, 1))


def test_a_function_that_returns_no_tensor_is_refused():
    with pytest.raises(TypeError, match="one element, not float"):
        landscape(lambda x, y: 1.0, (0, 1), (0, 1))


def test_the_surface_has_contours_arrows_paths_and_my_axes(plt):
    _, mine = plt.subplots()
    path = np.array([[1.0, 1.0], [0.5, 0.2], [0.1, 0.0]])
    assert optim.plot.surface(saddle, {"a": path, "b": path[::-1]}, ax=mine) is mine
    drawn = [line.get_xydata() for line in mine.lines]
    assert any(d.shape == path.shape and (d == path).all() for d in drawn)
    assert [t.get_text() for t in mine.get_legend().get_texts()] == ["−∇f", "a", "b"]
    (x0, x1), (y0, y1) = mine.get_xlim(), mine.get_ylim()
    assert x0 < 0.1 < 1 < x1 and y0 < 0 < 1 < y1
    assert not any(hasattr(c, "U") for c in optim.plot.surface(saddle, path, field=False).collections)


def test_the_surface_of_a_comparison_is_its_plot(plt):
    seen = optim.compare(saddle, (1, 1), {"SGD": lambda p: optim.SGD(p, lr=0.1)}, steps=3)
    ax = optim.plot.surface(saddle, seen, xlim=(-2, 2), ylim=(-1, 3))
    assert ax.get_xlim() == (-2, 2) and "SGD" in [t.get_text() for t in ax.get_legend().get_texts()]


@pytest.mark.parametrize("path", [[1, 2], np.ones((3, 3)), "adam", [["a", "b"]], np.zeros((0, 2)), 3])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ValueError, match=r"path takes points \(x, y\) of shape \(n, 2\)"):
        optim.plot.surface(saddle, path)


def test_a_field_is_shown_or_not():
    seen = optim.compare(saddle, (1, 1), {"SGD": lambda p: optim.SGD(p, lr=0.1)}, steps=3)
    for figure in (lambda: optim.plot.surface(saddle, field="no"), lambda: seen.plot(field="no")):
        with pytest.raises(TypeError, match="field is True or False, not 'no'"):
            figure()


def test_flat_and_infinite_functions_are_drawn(plt):
    for f in (lambda x, y: 0 * x, lambda x, y: 1 / (x * 0 + y * 0), lambda x, y: ad.log(x)):
        optim.plot.surface(f).figure.canvas.draw()

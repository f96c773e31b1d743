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

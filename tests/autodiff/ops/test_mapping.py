"""A function applied to the lines of a tensor, or to one axis after another."""

import numpy as np
import pytest

from autodiff import Tensor
from tests.against_numpy import same_as_numpy

A = np.random.default_rng(7).normal(size=(2, 3, 2))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_a_function_of_lines_may_return_numbers_vectors_and_matrices(axis):
    same_as_numpy("apply_along_axis", lambda f: f(np.sum, axis, A))
    same_as_numpy("apply_along_axis", lambda f: f(lambda line: line / np.sqrt(np.sum(line**2)), axis, A))
    same_as_numpy("apply_along_axis", lambda f: f(lambda line, k: np.outer(line, line[:1] * k), axis, A, k=2.0))
    same_as_numpy("apply_along_axis", lambda f: f(np.sum, 0, A[:, 0, 0]))


def test_a_function_is_applied_to_one_axis_after_another():
    same_as_numpy("apply_over_axes", lambda f: f(np.sum, A, (0, 2)))
    same_as_numpy("apply_over_axes", lambda f: f(np.mean, A, -1))
    same_as_numpy("apply_over_axes", lambda f: f(np.cumsum, A, [0, 1]))


def test_functions_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"apply_along_axis: the function returned shapes \(1,\) and \(2,\)"):
        np.apply_along_axis(lambda line: line[line > 5 * line[0] ** 2], 0, Tensor(np.array([[1.0, 0.1], [6.0, 0.2]])))
    with pytest.raises(ValueError, match=r"apply_along_axis\(shape \(0, 2\), axis=1\): there is no line"):
        np.apply_along_axis(np.sum, 1, Tensor(np.ones((0, 2))))
    with pytest.raises(ValueError, match=r"apply_over_axes\(shape \(2, 3, 2\)\): the function must keep"):
        np.apply_over_axes(lambda x, axis: np.sum(x), Tensor(A), 0)

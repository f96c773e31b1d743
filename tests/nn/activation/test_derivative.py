"""The derivative at each element, and what is no function of single elements."""

import numpy as np
import pytest

import nn
from nn.activation.derivative import local_derivative

X = np.random.default_rng(0).normal(size=(4, 6))


def test_the_derivative_of_tanh_and_sigmoid_is_their_closed_form():
    np.testing.assert_allclose(local_derivative(nn.Tanh(), X), 1 / np.cosh(X) ** 2, rtol=1e-12)
    y = 1 / (1 + np.exp(-X))
    np.testing.assert_allclose(local_derivative(nn.Sigmoid(), X), y * (1 - y), rtol=1e-12)


@pytest.mark.parametrize("mixes", [nn.Softmax(-1), nn.Softmax(0), nn.LogSoftmax(-1), nn.Softmin(-1), nn.GLU()])
def test_functions_that_mix_elements_have_none(mixes):
    assert local_derivative(mixes, X) is None


def test_a_constant_has_derivative_0_and_other_things_are_refused():
    np.testing.assert_array_equal(local_derivative(nn.Step(), X), np.zeros_like(X))
    with pytest.raises(TypeError, match="returns one, not float"):
        local_derivative(lambda x: 1.0, X)

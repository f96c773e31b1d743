"""Constants in place of variables."""

from typing import NamedTuple

import numpy as np

import autodiff as ad
from autodiff import Tensor


class State(NamedTuple):
    mean: object
    count: object


def test_no_derivative_of_any_order_or_mode_goes_through():
    f = lambda x: (ad.stop_gradient(np.sin(x)) * x**2).sum()
    x, v = np.array([0.5, 2.0]), np.array([1.0, -2.0])
    np.testing.assert_allclose(ad.grad(f)(x), 2 * x * np.sin(x), rtol=1e-15)
    np.testing.assert_allclose(ad.hvp(f, x, v), 2 * np.sin(x) * v, rtol=1e-15)
    np.testing.assert_allclose(ad.jvp(f, x, v)[1], (2 * x * np.sin(x)) @ v, rtol=1e-15)
    np.testing.assert_allclose(ad.vmap(ad.grad(f))(np.stack([x, v]))[0], 2 * x * np.sin(x), rtol=1e-15)


def test_the_structure_and_what_is_no_tensor_stay():
    t = Tensor([1.0, 2.0], requires_grad=True)
    array = np.ones(2)
    stopped = ad.stop_gradient({"state": State(t, 3), "rest": [None, array, (2 * t,)]})
    assert type(stopped["state"]) is State and stopped["state"].count == 3
    assert stopped["rest"][0] is None and stopped["rest"][1] is array
    for constant, value in ((stopped["state"].mean, [1.0, 2.0]), (stopped["rest"][2][0], [2.0, 4.0])):
        assert not constant.requires_grad and constant.tolist() == value

"""Elementwise operations beside the sweep of all records: kinks, signs and powers of two."""

import numpy as np

import autodiff as ad
from autodiff import Tensor
from tests.against_numpy import same_as_numpy

V = np.array([1.5, -2.0, 0.25])


def test_a_sign_is_copied_also_from_zero():
    signs = np.array([0.0, -0.0, -3.0])
    same_as_numpy("copysign", lambda f: f(V, signs), derivatives=0)
    same_as_numpy("copysign", lambda f: f(V, -2.0))
    same_as_numpy("copysign", lambda f: f(V.astype(np.float32), -2.0))
    x, s = Tensor([1.5, -2.0, 0.0], requires_grad=True), Tensor(signs, requires_grad=True)
    np.copysign(x, s).sum().backward()
    assert x.grad.tolist() == [1, 1, 0] and s.grad.tolist() == [0, 0, 0]
    np.testing.assert_array_equal(
        ad.jacobian(lambda x: np.copysign(x, signs))(np.array([1.0, 2.0, 3.0])), np.diag([1, -1, -1])
    )
    y, tangent = ad.jvp(lambda x: np.copysign(x, signs), (V,), (np.ones(3),))
    assert tangent.tolist() == [1, 1, -1]


def test_a_power_of_two_is_exact():
    same_as_numpy("ldexp", lambda f: f(V, 3))
    same_as_numpy("ldexp", lambda f: f(V[:, None], np.arange(-2, 3)))
    x = Tensor([1e-300], requires_grad=True)
    y = np.ldexp(np.ldexp(x, 1000), 900)
    y.sum().backward()
    assert y.item() == np.ldexp(np.ldexp(1e-300, 1000), 900) and np.isinf(x.grad.item())

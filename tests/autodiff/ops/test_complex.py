"""Functions of complex numbers, element by element: PyTorch's values and derivatives, at branch cuts and far out too."""

import mpmath as mp
import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor
from tests.against_torch import agrees_with_torch

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(11)
Z = RNG.normal(size=(2, 3)) + 1j * RNG.normal(size=(2, 3))
W = RNG.normal(size=3) + 1j * RNG.normal(size=3)
X = RNG.normal(size=3)

ONE = {
    **{name: getattr(torch, name) for name in (
        "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "square", "reciprocal", "sin", "cos", "tan",
        "sinh", "cosh", "tanh", "sinc", "negative", "positive", "conj", "real", "imag", "angle", "abs")},
    "sign": torch.sgn, "conjugate": torch.conj, "absolute": torch.abs,
    "arcsin": torch.asin, "arccos": torch.acos, "arctan": torch.atan,
    "arcsinh": torch.asinh, "arccosh": torch.acosh, "arctanh": torch.atanh,
}  # fmt: skip
TWO = {
    "add": lambda a, b: a + b, "subtract": lambda a, b: a - b, "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b, "power": lambda a, b: a**b,
}  # fmt: skip
ALSO = {
    "**3": (lambda z: z**3, lambda z: z**3), "**-1.5": (lambda z: z**-1.5, lambda z: z**-1.5),
    "**(1+2j)": (lambda z: z ** (1 + 2j), lambda z: z ** (1 + 2j)), "2**": (lambda z: 2.0**z, lambda z: 2.0**z),
    "where": (lambda z: np.where(Z.real > 0, z, 1j * z), lambda z: torch.where(torch.tensor(Z.real > 0), z, 1j * z)),
    "mean": (lambda z: z.mean(0), lambda z: z.mean(0)), "astype": (lambda z: z.real.astype(complex) * z, lambda z: z.real.to(torch.complex128) * z),
    "index": (lambda z: z[:, [0, 0, 2]] ** 2, lambda z: z[:, [0, 0, 2]] ** 2),
    "set": (lambda z: z.at[0].set(W * z[1]), lambda z: torch.stack([torch.tensor(W) * z[1], z[1]])),
    "deg": (lambda z: np.angle(z, deg=True), lambda z: torch.rad2deg(z.angle())),
    "polar": (lambda z: abs(z) * np.exp(1j * np.angle(z)) * z, lambda z: z * z),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE)
def test_functions_of_one_number_have_pytorchs_derivatives(name):
    function = getattr(np, name)
    np.testing.assert_allclose(function(Tensor(Z)).data, function(Z), rtol=1e-15)
    assert function(Tensor(Z)).dtype == function(Z).dtype
    agrees_with_torch(lambda z: function(z) * z, lambda z: ONE[name](z) * z, Z, rtol=1e-8)


@pytest.mark.parametrize("name", TWO)
def test_functions_of_two_numbers_have_pytorchs_derivatives_mixed_with_real_ones_too(name):
    for a, b in ((Z, W), (Z, X), (np.abs(X), Z), (np.abs(W), np.array(1j) * X)):
        agrees_with_torch(getattr(np, name), TWO[name], a, b, rtol=1e-8)


@pytest.mark.parametrize("name", ALSO)
def test_other_ways_to_write_them_have_pytorchs_derivatives(name):
    agrees_with_torch(*ALSO[name], Z, rtol=1e-8)


CUTS = {
    "arcsin": [2 + 0j, 2 - 0j, -2 + 0j, complex(-2, -0.0)], "arccos": [2 + 0j, complex(2, -0.0), -2 + 0j, complex(-2, -0.0)],
    "arctan": [2j, complex(-0.0, 2), -2j, complex(-0.0, -2)], "arcsinh": [2j, complex(-0.0, 2), -2j, complex(-0.0, -2)],
    "arccosh": [0.5 + 0j, complex(0.5, -0.0), -2 + 0j, complex(-2, -0.0)],
    "arctanh": [2 + 0j, complex(2, -0.0), -2 + 0j, complex(-2, -0.0)],
    "log": [-2 + 0j, complex(-2, -0.0)], "sqrt": [-2 + 0j, complex(-2, -0.0)], "log1p": [-2 + 0j, complex(-2, -0.0)],
}  # fmt: skip


@pytest.mark.parametrize("name", CUTS)
def test_on_a_branch_cut_the_derivative_is_that_of_the_side_the_value_is_on(name):
    function = getattr(np, name)
    for z in CUTS[name]:
        value, slope = ad.value_and_grad(lambda t: function(t), holomorphic=True)(z)
        assert value == function(z)
        h, found = 1e-6, []
        for step in (h, 1j * h, -1j * h, -h):  # along the cut, or to the side from which it is continued
            ahead = function(z + step)
            if abs(ahead - value) < 0.1:
                found.append((ahead - value) / step)
        assert found, name
        assert min(abs(d - slope) for d in found) < 1e-5 * max(1, abs(slope)), (name, z, slope, found)
        assert max(abs(d - slope) for d in found) < 1e-5 * max(1, abs(slope)), (name, z, slope, found)


@pytest.mark.parametrize(
    "name", ["tan", "tanh", "arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh", "log1p"]
)
def test_derivatives_keep_their_digits_far_out_and_near_the_special_points(name):
    other = {"log1p": lambda z: mp.log(1 + z)}.get(name) or getattr(mp, name.replace("arc", "a"))
    points = [30j + 0.3, 20 + 0.2j, -18j + 1, 1 + 1e-7j, 1e-9 + 1e-9j, 1j + 1e-6, 40 - 7j, -1 + 1e-5j]
    with mp.workdps(60):
        for z in points:
            if name in ("tan", "tanh") and abs(z) < 3:
                continue
            exact = complex(mp.diff(other, mp.mpc(z)))
            found = ad.grad(getattr(np, name), holomorphic=True)(z)
            assert abs(found - exact) <= 1e-9 * abs(exact), (name, z, found, exact)


def test_a_branch_that_was_not_taken_gives_exactly_nothing():
    z = np.array([0j, 1 + 1j, 1j, 0j])
    for f in (
        np.log,
        np.sqrt,
        np.reciprocal,
        np.arctan,
        np.arcsinh,
        lambda t: t**-1.5,
        lambda t: 1 / t,
        np.sign,
        np.angle,
    ):
        with np.errstate(all="ignore"):
            loss = lambda t: abs(np.where(z == 1 + 1j, f(t), 0) ** 2).sum()
            d, h = ad.grad(loss)(z), ad.hvp(loss, z, np.ones(4, complex))
        assert np.isfinite(d).all() and np.isfinite(h).all() and not d[z != 1 + 1j].any() and not h[z != 1 + 1j].any()


def test_at_zero_size_and_angle_have_gradient_zero_and_no_second_derivative():
    for f in (np.abs, lambda t: np.linalg.norm(t[None]), lambda t: np.std(np.stack([t, -t]))):
        assert ad.grad(f)(0j) == 0
        with np.errstate(all="ignore"):
            assert np.isnan(ad.hvp(f, 0j, 1 + 0j))
    assert ad.grad(np.angle)(0j) == 0 and abs(ad.grad(lambda t: np.sign(t).real)(2j) - 0.5) < 1e-15
    with np.errstate(all="ignore"):
        assert np.isnan(ad.grad(lambda t: np.sign(t).real)(0j))


def test_real_tensors_have_real_imag_conj_and_angle():
    x = Tensor([1.0, -2.0], requires_grad=True)
    assert x.real is x and x.conj() is x and x.conjugate() is x and np.conj(x) is x and np.real(x) is x
    assert x.imag.tolist() == [0.0, 0.0] and np.angle(x).tolist() == [0.0, np.pi]
    for y in (x.imag, np.angle(x)):
        assert ad.gradients(y.sum(), x)[0].tolist() == [0.0, 0.0]
    z = Tensor([1 + 2j])
    assert (
        z.real.tolist() == [1.0]
        and z.imag.tolist() == [2.0]
        and z.conj().tolist() == z.conjugate().tolist() == [1 - 2j]
    )


def test_nan_to_num_and_round_take_complex_numbers_apart():
    z = np.array([complex(np.nan, 2), 1.26 + 3j, complex(1, np.inf)])
    np.testing.assert_array_equal(np.nan_to_num(Tensor(z)).data, np.nan_to_num(z))
    d = ad.grad(lambda t: (np.nan_to_num(t, posinf=9.0) * np.array([1, 1j, 1])).real.sum() + t.imag.sum() * 0)(
        z[:2].tolist() and z
    )
    np.testing.assert_allclose(d[1], 1j.conjugate(), atol=1e-15)
    np.testing.assert_array_equal(np.round(Tensor(z[1:2]), 1).data, np.round(z[1:2], 1))


@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
@pytest.mark.parametrize("z", [1000 + 1j, -1000 + 1j, 703 + 0.3j, 400 - 2j, 30 + 1j, 1e30 - 1e3j])
def test_hyperbolic_tangents_far_out_have_their_derivatives(z, dtype):
    with mp.workdps(60):
        exact = complex(mp.sech(mp.mpc(z)) ** 2) if abs(z.real) < 1e4 else 0
    close = {"rtol": 1e-13 if dtype is np.complex128 else 2e-5, "atol": 4 * np.finfo(dtype).tiny}
    with np.errstate(all="raise", under="ignore"):
        for f, x in ((np.tanh, z), (np.tan, 1j * z)):  # tan iz = i tanh z
            np.testing.assert_allclose(ad.grad(f, holomorphic=True)(dtype(x)), exact, **close)


@pytest.mark.parametrize("base", [-2.0, -3, np.array([-2.0, 0.5, -1.0])])
def test_a_negative_number_has_complex_powers_with_their_derivatives(base):
    agrees_with_torch(lambda z: base**z, lambda z: torch.as_tensor(base, dtype=torch.complex128) ** z, Z, rtol=1e-8)

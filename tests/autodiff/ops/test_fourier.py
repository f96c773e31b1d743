"""Discrete Fourier transforms: NumPy's values, PyTorch's derivatives, and three programs that are made of them."""

import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor
from tests.against_torch import agrees_with_torch

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(5)
X1, X2, X3 = (RNG.normal(size=s) for s in ((5,), (4, 6), (2, 3, 4)))
Z1, Z2, Z3 = (x + 1j * RNG.normal(size=x.shape) for x in (X1, X2, X3))
ONE = [(), (4,), (7, -1), (None, 0), (3, 0, "ortho"), (None, -1, "forward")]
MANY = [{}, {"norm": "ortho"}, {"norm": "forward"}, {"s": (3, 5), "axes": (0, 1)}, {"axes": (1, 0)}, {"axes": (-1,)}]
CASES = [
    *[(name, x, dict(zip(("n", "axis", "norm"), options)))
      for name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft") for options in ONE for x in (X2, Z2)],
    *[(name, x, options) for name in ("fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn")
      for options in MANY for x in (X2, Z2)],
    *[(name, x, {axes: value}) for name in ("fftshift", "ifftshift") for x in (X3, Z2)
      for axes, value in (("axes", None), ("axes", (0, 1)), ("axes", 1))],
]  # fmt: skip
CASES = [
    (name, x, options) for name, x, options in CASES
    if not (name in ("rfft", "rfft2", "rfftn", "ihfft") and np.iscomplexobj(x))
]  # fmt: skip


def test_every_transform_has_numpys_values_and_pytorchs_derivatives():
    for name, x, options in CASES:
        ours, plain = getattr(np.fft, name), getattr(np.fft, name)(x, **options)
        found = ours(Tensor(x), **options)
        assert found.dtype == plain.dtype, name
        np.testing.assert_allclose(found.data, plain, rtol=1e-13, atol=1e-13, err_msg=f"{name} {options}")
        assert getattr(ad.fft, name) is not ours
        theirs = {{"axis": "dim", "axes": "dim"}.get(k, k): v for k, v in options.items()}
        agrees_with_torch(
            lambda t: np.abs(ours(t * t, **options)) ** 2,
            lambda t: getattr(torch.fft, name)(t * t, **theirs).abs() ** 2,
            x,
        )


@pytest.mark.parametrize("kind", [np.float32, np.complex64])
def test_single_precision_stays(kind):
    x = Tensor(X1.astype(kind), requires_grad=True)
    y = np.fft.fft(x)
    (np.abs(y) ** 2).sum().backward()
    assert y.dtype == np.complex64 and x.grad.dtype == kind
    np.testing.assert_allclose(x.grad.data, 2 * 5 * x.data, rtol=1e-5)


def test_an_axis_that_is_named_twice_is_transformed_twice():
    np.testing.assert_allclose(ad.fft.fftn(Tensor(X2), axes=(0, 0)).data, np.fft.fftn(X2, axes=(0, 0)), atol=1e-12)
    assert ad.gradcheck(lambda x: ad.fft.fftn(x, axes=(0, 0)), X2)


def test_frequencies_are_numpys_and_take_a_tensor_as_spacing():
    np.testing.assert_array_equal(ad.fft.fftfreq(5, 0.1), np.fft.fftfreq(5, 0.1))
    d = Tensor(0.5, requires_grad=True)
    np.testing.assert_allclose(ad.gradients(np.fft.rfftfreq(4, d).sum(), d)[0].item(), -3 / 4 / 0.25)


@pytest.mark.parametrize(
    "call, error, match",
    [
        (lambda: np.fft.rfft(Tensor(Z1)), TypeError, r"rfft\(shape \(5,\)\): takes real numbers, not complex128"),
        (lambda: np.fft.fft(Tensor(X1), 0), ValueError, "fft.*at least one point, not 0"),
        (lambda: np.fft.irfft(Tensor(X1[:1])), ValueError, "irfft.*at least one point, not 0"),
        (lambda: np.fft.fft(Tensor(X1), norm="none"), ValueError, "fft: norm='none'"),
        (lambda: np.fft.fft(Tensor(X1), axis=1), np.exceptions.AxisError, r"fft\(shape \(5,\)\)"),
        (lambda: np.fft.fftn(Tensor(X2), s=(2,), axes=(0, 1)), ValueError, "equally many"),
        (lambda: np.fft.fft(Tensor(1.0)), np.exceptions.AxisError, r"fft\(shape \(\)\)"),
    ],
)
def test_bad_arguments_get_one_clear_error(call, error, match):
    with pytest.raises(error, match=match):
        call()


# Programs


def test_a_filter_in_fourier_space_is_learned_from_what_it_does_to_a_signal():
    """The least squares of a real filter's spectrum: the gradient is that of the convolution theorem."""
    signal, kernel = RNG.normal(size=32), np.r_[0.5, -0.3, 0.2, np.zeros(29)]
    target = np.fft.irfft(np.fft.rfft(signal) * np.fft.rfft(kernel))
    taps = Tensor(np.zeros(3), requires_grad=True)
    for _ in range(300):
        found = np.fft.irfft(np.fft.rfft(signal) * np.fft.rfft(taps, 32))
        loss = ((found - target) ** 2).mean()
        (slope,) = ad.gradients(loss, taps)
        taps.data = taps.data - 0.4 * slope.data
    np.testing.assert_allclose(taps.data, kernel[:3], atol=1e-6)


def test_a_complex_field_is_recovered_from_the_size_of_its_transform():
    """Phase retrieval: from |F(mask · z)| for several masks, by gradient descent on the complex numbers themselves."""
    n = 16
    truth = RNG.normal(size=n) + 1j * RNG.normal(size=n)
    masks = np.exp(2j * np.pi * RNG.random((8, n)))
    sizes = np.abs(np.fft.fft(masks * truth))

    def loss(z):
        return ((np.abs(np.fft.fft(masks * z, norm="ortho")) - sizes / 4) ** 2).mean()

    assert ad.gradcheck(loss, truth + 0.3)
    z = truth + 0.3 * (RNG.normal(size=n) + 1j * RNG.normal(size=n))
    for _ in range(2000):
        z = z - 4.0 * ad.grad(loss)(z)
    turn = np.vdot(z, truth) / abs(np.vdot(z, truth))
    np.testing.assert_allclose(z * turn, truth, atol=1e-4)


def test_the_viscosity_of_a_flow_is_found_through_spectral_steps():
    """Burgers' equation u_t + u u_x = ν u_xx, by exponential steps in Fourier space; derivatives through 20 of them."""
    n, dt = 32, 0.02
    k = np.fft.rfftfreq(n, 1 / n)
    start = np.sin(2 * np.pi * np.arange(n) / n)

    def final(nu):
        u, decay = np.fft.rfft(start), np.exp(-nu * k**2 * dt)
        for _ in range(20):
            u = decay * (u - dt * 0.5j * k * np.fft.rfft(np.fft.irfft(u) ** 2))
        return np.fft.irfft(u)

    seen = final(Tensor(0.1)).data
    loss = lambda nu: ((final(nu) - seen) ** 2).sum()
    assert ad.gradcheck(loss, 0.2) and ad.gradgradcheck(loss, 0.2)
    nu = 0.2
    for _ in range(8):
        nu = nu - ad.grad(loss)(nu) / ad.hessian(loss)(nu)
    np.testing.assert_allclose(nu, 0.1, rtol=1e-8)

"""Complex numbers: what the gradients of every surface mean, against PyTorch's in complex128."""

import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor
from tests.against_torch import agrees_with_torch

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(3)


def points(*shape):
    return RNG.normal(size=shape) + 1j * RNG.normal(size=shape)


Z, W, X = points(3), points(3), RNG.normal(size=3)
M, N = points(3, 3), points(3, 2)


# What a gradient is


def test_the_gradient_of_a_real_loss_is_dx_plus_i_dy_so_that_a_step_against_it_descends():
    z = Tensor([1 + 2j, -0.5j], requires_grad=True)
    loss = (abs(z - 1j) ** 2).sum()
    loss.backward()
    np.testing.assert_allclose(z.grad.data, 2 * (z.data - 1j), rtol=1e-14)
    step = z.detach() - 0.1 * z.grad
    assert (abs(step - 1j) ** 2).sum().item() < loss.item()


def test_every_surface_shows_the_same_gradient():
    f = lambda z: (abs(np.exp(z) * W) ** 2).sum()
    t = torch.tensor(Z, requires_grad=True)
    (torch.exp(t) * torch.tensor(W)).abs().square().sum().backward()
    expected = t.grad.numpy()
    z, seen = Tensor(Z, requires_grad=True), []
    z.register_hook(lambda g: seen.append(g.numpy().copy()))
    f(z).backward()
    row = ad.vjp(f, Z)[1](1.0)[0]
    for found in (z.grad.data, seen[0], ad.gradients(f(z), z)[0].data, ad.grad(f)(Z), row, ad.jacobian(f)(Z)):
        assert found.dtype == np.complex128
        np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_hooks_and_retained_gradients_in_the_middle_of_a_graph_are_pytorchs():
    def both(z, relu, backward):
        y = z * z * (1 - 2j)
        y.retain_grad()
        seen = []
        y.register_hook(lambda g: seen.append(g) or g * 2j)
        backward((y * y.conj()).real.sum())
        return seen[0], y.grad, z.grad

    ours = both(Tensor(Z, requires_grad=True), None, lambda y: y.backward())
    theirs = both(torch.tensor(Z, requires_grad=True), None, lambda y: y.backward())
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a.numpy(), b.numpy(force=True), rtol=1e-13)


def test_a_given_cotangent_means_what_pytorchs_means():
    z, t = Tensor(Z, requires_grad=True), torch.tensor(Z, requires_grad=True)
    (z**3).backward(W)
    (t**3).backward(torch.tensor(W))
    np.testing.assert_allclose(z.grad.data, t.grad.numpy(), rtol=1e-13)
    (pulled,) = ad.vjp(lambda z: z**3, Z)[1](W)
    np.testing.assert_allclose(pulled, t.grad.numpy(), rtol=1e-13)
    (by_real,) = ad.gradients(z**3, z, np.ones(3))
    np.testing.assert_allclose(by_real.data, (3 * Z**2).conj(), rtol=1e-13)


def test_a_real_input_of_a_complex_operation_has_a_real_gradient():
    f = lambda x: (abs(x * W + x**2 * (1 + 1j) + np.exp(1j * x)) ** 2).sum()
    x, t = Tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    f(x).backward()
    (t * torch.tensor(W) + t**2 * (1 + 1j) + torch.exp(1j * t)).abs().square().sum().backward()
    assert x.grad.dtype == np.float64
    np.testing.assert_allclose(x.grad.data, t.grad.numpy(), rtol=1e-12)
    (again,) = ad.gradients(f(x), x, create_graph=True)
    assert again.dtype == np.float64
    seen = []
    x.register_hook(lambda g: seen.append(g.dtype))
    f(x).backward()
    assert seen == [np.float64]


def test_a_real_input_that_is_used_really_and_complexly_sums_both():
    for order in (0, 1):
        x = Tensor(X, requires_grad=True)
        parts = [(x * 3).sum(), (x * W).real.sum(), (x * x).sum(), abs(x * 1j).sum()]
        sum(parts[:: -1 if order else 1]).backward()
        np.testing.assert_allclose(x.grad.data, 3 + W.real + 2 * X + np.sign(X), rtol=1e-13)
        bias = Tensor(0.5, requires_grad=True)
        (abs(Z + bias) ** 2).sum().backward()
        assert bias.grad.shape == () and bias.grad.dtype == np.float64
        np.testing.assert_allclose(bias.grad.item(), 2 * (Z.real + 0.5).sum(), rtol=1e-13)


@pytest.mark.parametrize("kind", [np.complex64, np.complex128])
def test_precision_stays(kind):
    z = Tensor(Z.astype(kind), requires_grad=True)
    y = (abs(z * 2.0 + 1j) ** 2).sum()
    y.backward()
    assert (z * 2.0 + 1j).dtype == kind and z.grad.dtype == kind and y.dtype == np.finfo(kind).dtype


# Complex outputs


def test_the_gradient_of_a_complex_output_is_refused_and_says_what_to_write():
    z = Tensor(1 + 1j, requires_grad=True)
    with pytest.raises(ValueError, match=r"backward: the output is complex.*y\.real"):
        (z * z).backward()
    with pytest.raises(ValueError, match="gradients: the output is complex"):
        ad.gradients(z * z, z)
    for transform in (ad.grad, ad.value_and_grad, ad.elementwise_grad, ad.jacobian):
        with pytest.raises(TypeError, match="holomorphic=True"):
            transform(np.exp)(1j)
        with pytest.raises(TypeError, match="complex functions of complex arguments, not float64"):
            transform(np.exp, holomorphic=True)(1.0)
        with pytest.raises(ValueError, match="not holomorphic here"):
            transform(lambda z: z * np.conj(z) * (1 + 0j), holomorphic=True)(1j)
    with pytest.raises(TypeError, match="hessian: the second derivatives by a complex argument"):
        ad.hessian(lambda z: abs(z) ** 2)(1j)
    with pytest.raises(TypeError, match="complex128"):
        (Tensor(1.0, requires_grad=True) * 2).backward(1j)
    with pytest.raises(TypeError, match="complex128"):
        ad.jvp(np.sin, 1.0, 1j)


def test_holomorphic_derivatives_are_the_complex_ones_to_any_order():
    f = lambda z: np.sin(z) * np.exp(z) / (2 + z)
    h = 1e-5
    for transform in (ad.grad, ad.jacobian):
        d = transform(f, holomorphic=True)
        np.testing.assert_allclose(d(0.3 + 0.2j), (f(0.3 + h + 0.2j) - f(0.3 - h + 0.2j)) / (2 * h), rtol=1e-8)
        np.testing.assert_allclose(
            transform(d, holomorphic=True)(0.3 + 0.2j), (d(0.3 + (0.2 + h) * 1j) - d(0.3 + (0.2 - h) * 1j)) / (2j * h),
            rtol=1e-8,
        )  # fmt: skip
    value, slope = ad.value_and_grad(np.exp, holomorphic=True)(1j)
    assert value == slope == np.exp(1j)
    np.testing.assert_allclose(ad.elementwise_grad(np.sin, holomorphic=True)(Z), np.cos(Z), rtol=1e-13)
    J = ad.jacobian(lambda z: M @ z**2, holomorphic=True)(Z)
    np.testing.assert_allclose(J, M * 2 * Z, rtol=1e-13)


def test_the_real_output_of_a_jacobian_by_complex_numbers_has_gradients_as_rows():
    J = ad.jacobian(lambda z: abs(M @ z))(Z)
    theirs = torch.autograd.functional.jacobian(lambda z: (torch.tensor(M) @ z).abs(), torch.tensor(Z))
    np.testing.assert_allclose(J, theirs.numpy(), rtol=1e-12)


# Second order and forward


def test_hessian_products_agree_with_pytorch_and_with_each_other():
    f = lambda z: (abs(np.sin(M @ z) + z * z) ** 2).sum()

    def theirs(z):
        return (torch.sin(torch.tensor(M) @ z) + z * z).abs().square().sum()

    expected = torch.autograd.functional.hvp(theirs, torch.tensor(Z), torch.tensor(W))[1].numpy()
    np.testing.assert_allclose(ad.hvp(f, Z, W), expected, rtol=1e-11)
    np.testing.assert_allclose(ad.jvp(ad.grad(f), Z, W)[1], expected, rtol=1e-11)
    over_reverse = ad.grad(lambda z: (ad.grad(f)(z) * W.conj()).sum().real)(Z)
    np.testing.assert_allclose(over_reverse, expected, rtol=1e-11)
    mixed = lambda x, z: (abs(np.exp(1j * x) * z + x) ** 2 * x).sum()
    u, v = ad.hvp(mixed, (X, Z), (X[::-1].copy(), W))
    assert u.dtype == np.float64 and v.dtype == np.complex128
    a, b = ad.jvp(ad.grad(mixed, (0, 1)), (X, Z), (X[::-1].copy(), W))[1]
    np.testing.assert_allclose(u, a, rtol=1e-12)
    np.testing.assert_allclose(v, b, rtol=1e-12)


def test_a_tangent_is_a_step_in_the_complex_plane():
    f = lambda z: np.abs(z) * np.conj(z) + np.angle(z) * z.imag
    h = 1e-6
    ahead, behind = (f(Tensor(Z + s * h * W)).data for s in (1, -1))
    y, moved = ad.jvp(f, Z, W)
    np.testing.assert_allclose(moved, (ahead - behind) / (2 * h), rtol=1e-7, atol=1e-8)


def test_gradcheck_steps_along_both_axes_and_names_the_part_that_is_wrong():
    f = lambda z, x: np.exp(z) * x + np.conj(z) * abs(z)
    assert ad.gradcheck(f, (Z, X)) and ad.gradgradcheck(f, (Z, X))
    wrong = ad.primitive(np.conj, name="wrong", vjps=[lambda g, y, z: g], complex=True)
    with pytest.raises(ad.GradientCheckError, match="the imaginary part of input 0"):
        ad.gradcheck(wrong, Z)
    right = ad.primitive(np.conj, name="right", vjps=[lambda g, y, z: np.conj(g)], complex=True)
    assert ad.gradcheck(right, Z) and ad.gradgradcheck(right, Z)


# What is not declared


@pytest.mark.parametrize(
    "call, name",
    [
        (lambda z: ad.relu(z), "relu"),
        (lambda z: np.maximum(z, 1.0), "maximum"),
        (lambda z: np.maximum(1.0, z), "maximum"),
        (lambda z: ad.softmax(z), "softmax"),
        (lambda z: np.max(z), "max"),
        (lambda z: np.sort(z), "sort"),
        (lambda z: np.arctan2(z, 1.0), "arctan2"),
        (lambda z: np.hypot(z, 1j), "hypot"),
        (lambda z: ad.primitive(np.sin, name="own", vjps=[lambda g, y, x: g * np.cos(x)])(z), "own"),
    ],
)
def test_an_operation_that_is_not_declared_for_complex_numbers_refuses_them_by_name(call, name):
    for z in (Tensor(Z), Tensor(Z, requires_grad=True)):
        with pytest.raises(TypeError, match=rf"^{name}\(.*not declared for complex numbers"):
            call(z)
    with pytest.raises(TypeError, match=r"minimum.*not declared for complex numbers"):
        np.minimum(Tensor(X), 1j)


# Random programs


def _programs(seed):
    """A program of complex numbers as two functions, of ours and of PyTorch's."""
    rng = np.random.default_rng(seed)
    steps = [(int(rng.integers(11)), int(rng.integers(99)), int(rng.integers(99))) for _ in range(12)]

    def run(xp, values):
        held = list(values)
        for kind, i, j in steps:
            a, b = held[i % len(held)], held[j % len(held)]
            held.append(
                [
                    lambda: a * b, lambda: a + b * 1j, lambda: a - 0.5 * b, lambda: a / (b * b + (3 + 1j)),
                    lambda: xp.exp(1j * a * 0.3), lambda: xp.conj(a), lambda: xp.sin(a * 0.5), lambda: a.real * b,
                    lambda: xp.abs(a) * b, lambda: xp.tanh(a * 0.2) + a.imag, lambda: (a @ M3[xp is np]) * 0.5,
                ][kind]()
            )  # fmt: skip
        return sum((v * v.conj()).real.sum() if v.dtype in COMPLEX else (v * v).sum() for v in held[2:])

    return (lambda *xs: run(np, xs)), (lambda *ts: run(torch, ts))


COMPLEX = (np.dtype(complex), torch.complex128)
M3 = {True: M, False: torch.tensor(M)}


@pytest.mark.parametrize("seed", range(25))
def test_random_programs_of_complex_numbers_have_pytorchs_derivatives(seed):
    ours, theirs = _programs(seed)
    agrees_with_torch(ours, theirs, Z * 0.5, W * 0.5, rtol=1e-8)


def test_pythons_complex_numbers_take_on_the_precision_of_what_they_meet():
    for kind in (np.float32, np.float64, np.complex64, np.complex128):
        for shape in ((), (3,)):
            x = Tensor(np.full(shape, 0.7, kind), requires_grad=True)
            plain = x.data
            for f in (
                lambda v: 1j * v,
                lambda v: v + 0.1j,
                lambda v: (1 + 2j) / v,
                lambda v: v / 2j,
                lambda v: v**1.5j,
            ):
                for y, right in ((f(x), f(plain)), (f(x.sum()), f(np.asarray(plain.sum())))):
                    assert y.dtype == right.dtype and y.shape == np.shape(right)
                    np.testing.assert_allclose(y.data, right, rtol=1e-6)
                d = ad.jvp(lambda v: f(v), plain, np.ones_like(plain))[1]
                assert ad.grad(lambda v: abs(f(v)).sum())(plain).dtype == kind and np.shape(d) == shape


def test_transforms_of_complex_functions_compose_with_vmap_and_compile():
    f = lambda z: (abs(np.fft.fft(M @ z)) ** 2 * z.real + np.angle(z) * z.imag).sum() * np.linalg.norm(z)
    stack, directions = points(4, 3), points(4, 3)
    rows = np.stack([ad.grad(f)(z) for z in stack])
    np.testing.assert_allclose(ad.vmap(ad.grad(f))(stack), rows, rtol=1e-11)
    np.testing.assert_allclose(
        ad.vmap(lambda z, v: ad.hvp(f, z, v))(stack, directions),
        np.stack([ad.hvp(f, z, v) for z, v in zip(stack, directions)]), rtol=1e-10,
    )  # fmt: skip
    compiled = ad.compile(ad.grad(f))
    for z, row in zip(stack, rows):
        np.testing.assert_allclose(compiled(z), row, rtol=1e-11)


def test_a_checkpoint_of_real_and_complex_outputs_is_what_it_is_without():
    part = lambda z: (np.exp(z) * z, abs(z))
    loss = lambda run: lambda z: (abs(run(z)[0]) ** 2).sum() + run(z)[1].sum()
    found = ad.grad(loss(lambda z: ad.checkpoint(part, z)))(Z)
    np.testing.assert_allclose(found, ad.grad(loss(part))(Z), rtol=1e-13)


def test_pictures_show_complex_numbers_and_what_needs_real_ones_refuses_them():
    z = Tensor([1.5 - 2j, 1j], requires_grad=True, name="z")
    y = (abs(z * (2 + 1j)) ** 2).sum()
    y.backward()
    assert "[1.5-2j, 0+1j]" in ad.graph(y).source and "Tensor([1.5-2.j, 0. +1.j]" in repr(z)
    with pytest.raises(TypeError, match="explain: the output is complex, and only a real number has a gradient"):
        ad.explain((z * z).sum())
    with pytest.raises(TypeError, match="explain: hvp= shows second derivatives of real numbers"):
        ad.explain(y, hvp=[np.ones(2)])
    with pytest.raises(TypeError, match="to_html: live=True computes with real numbers"):
        ad.explain(y).to_html(live=True)
    many = Tensor(np.arange(20.0) * 1j, name="many")
    assert "sizes 0 … 19, mean 9.5" in ad.graph(many * 1.0).source
    with pytest.raises(TypeError, match="graph: order=2"):
        ad.graph(y, order=2)


def test_what_trains_or_measures_real_parameters_refuses_complex_ones_by_name():
    import nn
    import optim
    from autodiff import curvature

    z = Tensor(Z, requires_grad=True)
    loss = (abs(z) ** 2).sum()
    loss.backward()
    before = z.grad.data.copy()
    norm = nn.utils.clip_grad_norm_([z], 1.0)
    np.testing.assert_allclose(norm.item(), np.linalg.norm(before), rtol=1e-13)
    np.testing.assert_allclose(z.grad.data, before / norm.item(), rtol=1e-5)
    for call, error, match in (
        (lambda: optim.Newton([z]), ValueError, r"Newton.*complex128.*z = x \+ 1j \* y"),
        (lambda: optim.HessianFree([z]), ValueError, "HessianFree.*complex128"),
        (lambda: optim.minimize(lambda x: (abs(x) ** 2).sum(), Z), ValueError, "minimize: x0.*complex128"),
        (lambda: curvature.Hessian(loss, [z]), TypeError, r"Hessian: params\[0\].*complex"),
        (lambda: curvature.Jacobian(Tensor(X, requires_grad=True) * 1j, z.real.detach()), (TypeError, ValueError), ""),
        (lambda: nn.LayerNorm(3)(z), TypeError, r"LayerNorm.*x\.real and x\.imag"),
        (lambda: nn.functional.mse_loss(Tensor(X), Z), TypeError, "real targets, not complex128"),
        (lambda: nn.utils.clip_grad_value_([z], 1.0), TypeError, "clip_grad_value_: a gradient is complex"),
        (lambda: nn.utils.vector_to_parameters(np.zeros(Z.size), [z]), TypeError, r"is complex; assign its p\.data"),
        (lambda: np.bincount([0, 1, 1], weights=Tensor(Z)), TypeError, "bincount: weights are real numbers"),
    ):
        with pytest.raises(error, match=match):
            call()

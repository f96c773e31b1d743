"""Making tensors: NumPy's values and dtypes, `requires_grad=` and `name=`, and ranges that are differentiable."""

import numpy as np
import pytest

import autodiff as ad
from tests.against_numpy import same_as_numpy

LIKE = np.arange(6, dtype=np.float32).reshape(2, 3)

CASES = [
    ("zeros", (3,), {}), ("zeros", ((2, 3),), {"dtype": np.float32}), ("zeros", ((),), {}),
    ("zeros", ((0, 2), int), {}), ("eye", (2, 3, -1, np.float32), {}), ("identity", (2,), {}),
    ("ones", (3,), {}), ("ones", ((2, 1),), {"dtype": bool}), ("full", ((2, 2), 3.5), {}), ("full", (2, 7), {}),
    ("full", ((2, 2), [1, 2]), {"dtype": np.float32}), ("eye", (3,), {}), ("eye", (2, 3), {"k": 1}),
    ("arange", (4,), {}), ("arange", (1.0, 3.0, 0.5), {}), ("arange", (5, 0, -2), {}),
    ("arange", (3,), {"dtype": np.float32}), ("arange", (3,), {"step": 2}), ("linspace", (0, 1), {}),
    ("linspace", (0.0, 1.0, 5), {"endpoint": False}), ("linspace", ([0, 1], [1, 3], 4), {"axis": -1}),
    ("linspace", (0, 5, 6), {"dtype": int}), ("linspace", (1.0, 2.0, 1), {}), ("linspace", (1.0, 2.0, 0), {}),
    ("logspace", (0, 2, 3), {}), ("logspace", (0, 2, 3), {"base": 2.0}), ("geomspace", (1, 8, 4), {}),
    ("zeros_like", (LIKE,), {}), ("ones_like", (LIKE,), {"dtype": np.float64}), ("full_like", (LIKE, 2.5), {}),
    ("zeros_like", (LIKE,), {"shape": (4,)}), ("full_like", (LIKE, 2.9), {"dtype": int}),
]  # fmt: skip


@pytest.mark.parametrize("name, args, options", CASES, ids=[f"{i} {c[0]}" for i, c in enumerate(CASES)])
def test_values_and_dtypes_are_numpys(name, args, options):
    y, expected = getattr(ad, name)(*args, **options), getattr(np, name)(*args, **options)
    np.testing.assert_array_equal(y.numpy(), expected)
    assert isinstance(y, ad.Tensor) and y.dtype == expected.dtype and y.shape == expected.shape
    assert not y.requires_grad and y.is_leaf and y.name is None
    y.data[...] = 1  # it owns writable memory
    if y.dtype.kind in "fc":
        z = getattr(ad, name)(*args, **options, requires_grad=True, name="w")
        assert z.requires_grad and z.is_leaf and z.name == "w"
    else:
        with pytest.raises(TypeError, match="only floating-point tensors"):
            getattr(ad, name)(*args, **options, requires_grad=True)


def test_functions_of_a_tensor_are_constants_under_numpys_name_and_ours():
    t = ad.Tensor(LIKE, requires_grad=True)
    for f in ("zeros_like", "ones_like", "empty_like"):
        for y in (getattr(np, f)(t), getattr(ad, f)(t)):
            assert type(y) is ad.Tensor and not y.requires_grad and y.shape == (2, 3) and y.dtype == np.float32
    np.testing.assert_array_equal(np.full_like(t, 7).numpy(), np.full_like(LIKE, 7))
    assert ad.empty((2, 3), np.float32).shape == (2, 3)
    n = ad.Tensor(3)
    assert ad.zeros(n).shape == (3,) and ad.zeros((n, 2)).shape == (3, 2)


def test_a_fill_value_with_gradient_keeps_it():
    v = ad.Tensor(2.0, requires_grad=True)
    for y in (ad.full((2, 3), v), ad.full_like(LIKE, v), np.full_like(ad.Tensor(LIKE), v)):
        np.testing.assert_array_equal(y.numpy(), np.full((2, 3), 2.0))
        assert ad.gradients(y.sum(), v)[0].item() == 6
    assert ad.full_like(LIKE, v).dtype == np.float32


@pytest.mark.parametrize("endpoint", [True, False])
@pytest.mark.parametrize("axis", [0, -1])
def test_linspace_is_differentiable_by_both_ends(endpoint, axis):
    a, b = np.array([0.0, -1.0]), np.array([[2.0, 3.0], [4.0, 5.0], [6.0, 7.0]])
    t, u = ad.Tensor(a, requires_grad=True), ad.Tensor(b, requires_grad=True)
    y, step = np.linspace(t, u, 5, endpoint=endpoint, retstep=True, axis=axis)
    expected, distance = np.linspace(a, b, 5, endpoint=endpoint, retstep=True, axis=axis)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(step.numpy(), distance, rtol=1e-15)
    g = np.random.default_rng(0).normal(size=expected.shape)
    da, db = ad.gradients(y, [t, u], g)
    weight = np.linspace(0, 1, 5, endpoint=endpoint).reshape((5, 1, 1) if axis == 0 else (1, 1, 5))
    np.testing.assert_allclose(da.numpy(), (g * (1 - weight)).sum(axis).sum(0), rtol=1e-13)
    np.testing.assert_allclose(db.numpy(), (g * weight).sum(axis), rtol=1e-13)


def test_ranges_with_gradient_keep_float32_and_their_ends_exactly():
    b = ad.Tensor(np.float32(0.3), requires_grad=True)
    y = ad.linspace(0.0, b, 7)
    assert y.dtype == np.float32 and y[-1].item() == b.item()
    y = ad.linspace(0, ad.Tensor(1.0, requires_grad=True), 1)
    assert y.tolist() == [0.0]
    assert ad.linspace(b, 1.0, 0).shape == (0,)


def test_logspace_is_differentiable_to_second_order():
    torch = pytest.importorskip("torch")
    t, u = ad.Tensor(0.7, requires_grad=True), torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    (d,) = ad.gradients((np.logspace(0.1, t, 4) ** 2).sum(), t, create_graph=True)
    w = torch.linspace(0, 1, 4, dtype=torch.float64)
    (e,) = torch.autograd.grad(((10 ** (0.1 * (1 - w) + u * w)) ** 2).sum(), u, create_graph=True)
    np.testing.assert_allclose(d.item(), e.item(), rtol=1e-12)
    np.testing.assert_allclose(ad.gradients(d, t)[0].item(), torch.autograd.grad(e, u)[0].item(), rtol=1e-12)


R = ad.Tensor(2.0, requires_grad=True)
ERRORS = [
    (lambda: ad.zeros(-1), ValueError, ["zeros", "-1"]),
    (lambda: ad.zeros("a"), TypeError, ["zeros", "'a'"]),
    (lambda: ad.zeros(3, 2), TypeError, ["a shape of several lengths is a tuple, zeros((3, 2))"]),
    (lambda: ad.ones(2, dtype="U3"), TypeError, ["<U3"]),
    (lambda: ad.zeros(2, name=3), TypeError, ["name", "3"]),
    (lambda: ad.full((2, 2), [1.0, 2.0, 3.0]), ValueError, ["full", "(2, 2)"]),
    (lambda: ad.full((2, 2), ad.Tensor([1.0, 2.0, 3.0], requires_grad=True)), ValueError, ["(3,)", "(2, 2)"]),
    (lambda: ad.eye(-2), ValueError, ["eye", "-2"]),
    (lambda: ad.arange(R), TypeError, ["arange", "linspace"]),
    (lambda: ad.arange(0, 1, 0.0), ValueError, ["arange"]),
    (lambda: ad.linspace(0.0, 1.0, -3), ValueError, ["linspace", "-3"]),
    (lambda: ad.linspace(0.0, R, -3), ValueError, ["linspace", "-3"]),
    (lambda: ad.linspace(0.0, R * np.ones(2), 3, axis=4), np.exceptions.AxisError, ["linspace", "4"]),
    (lambda: ad.geomspace(-1.0, R * R), ValueError, ["geomspace", "sign"]),
    (lambda: ad.geomspace(1j, R), TypeError, ["geomspace", "linspace"]),
    (lambda: ad.zeros_like(R, shape=(-1,)), ValueError, ["zeros_like"]),
]


@pytest.mark.parametrize("f, kind, words", ERRORS, ids=[str(i) for i in range(len(ERRORS))])
def test_bad_arguments_get_an_error_that_names_the_function(f, kind, words):
    with pytest.raises(kind) as caught:
        f()
    for word in words:
        assert word in str(caught.value)


def test_a_geometric_sequence_has_derivatives_by_both_ends():
    a, b = np.array([0.5, -2.0]), np.array([3.0, -0.1])
    same_as_numpy("geomspace", lambda f: f(a, b, 5))
    same_as_numpy("geomspace", lambda f: f(a, b, 4, endpoint=False, axis=-1), derivatives=1)
    same_as_numpy("geomspace", lambda f: f(a[:1], 7.0, 3, dtype=np.float32), derivatives=0)


@pytest.mark.parametrize("mapped", [ad.vmap, lambda f: ad.vmap(ad.compile(f))], ids=["vmap", "compiled"])
@pytest.mark.parametrize(
    "f",
    [
        lambda x: ad.array([[x[0], 2.0], [x[1] * 3, x[0]]]),
        lambda x: ad.array([x, [1.0, 2.0]]),
        lambda x: ad.full((2, 3), x[0]),
        lambda x: ad.full_like(np.zeros(3), x[1]),
    ],
)
def test_numbers_of_examples_enter_new_tensors_without_a_gradient_too(f, mapped):
    x = np.arange(6.0).reshape(3, 2)
    expected = np.stack([f(ad.Tensor(row)).numpy() for row in x])
    for given in (x, ad.Tensor(x), ad.Tensor(x, requires_grad=True)):
        np.testing.assert_array_equal(ad.stop_gradient(mapped(f)(given)), expected)
    leaf = []
    ad.vmap(lambda row: leaf.append(ad.array([row[0], 1.0], requires_grad=True)) or row)(x)
    assert leaf[0].requires_grad

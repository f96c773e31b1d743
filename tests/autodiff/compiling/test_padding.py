"""A NumPy program adds arrays that are zeros but for a slice where they overlap, to the same bits."""

import numpy as np
import pytest

import autodiff as ad

EDGES = [0.0, -0.0, 1.0, -1.0, 3.0, 0.1, np.inf, np.nan]
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def padded(x, shape, index, zero=0.0):
    """Zeros with x at an index, as the derivative of an index is; of traced arrays too."""
    y = np.full_like(x, zero, shape=shape)
    y[index] = x
    return y


def same_bits(found, expected):
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found)[numbers], np.signbit(expected)[numbers])


SLICES = [
    ((6,), slice(1, None), slice(None, -1)),
    ((6,), slice(None, 2), slice(4, None)),
    ((6,), slice(2, 5), slice(3, 4)),
    ((6,), slice(2, 3), slice(2, 3)),
    ((6,), slice(1, 3), slice(2, 6)),
    ((6,), slice(1, 4), slice(None)),
    ((2,), slice(1, None), slice(None, -1)),
    ((5, 3), slice(1, None), slice(None, -1)),
    ((5, 3), (slice(None), slice(2, None)), (slice(None), slice(1))),
    ((5, 3), (slice(None), slice(1, None)), slice(None)),
    ((5, 3), slice(2, 4), (slice(None), slice(1))),  # along two axes
    ((4, 3, 2), (slice(None), slice(1, 3)), (slice(None), slice(None, 2))),
    ((7,), slice(None, None, 2), slice(4)),  # with steps
    ((5,), slice(1, None), slice(None, None, -1)),
    ((5, 2), (slice(1, None), 1), (slice(None, -1), 1)),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "first", "second"), SLICES)
@pytest.mark.parametrize("reuse_outputs", [False, True])
def test_sums_of_padded_arrays_are_the_same_bits_zeros_too(shape, first, second, dtype, reuse_outputs):
    def summed(a, b):
        return padded(3 * a, shape, first) + padded(b / 2, shape, second)

    run = ad.compile(summed, backend="numpy", reuse_outputs=reuse_outputs)
    rng, like = np.random.default_rng(0), np.zeros(shape)
    for _ in range(4):
        a, b = (rng.choice(EDGES, like[i].shape).astype(dtype) for i in (first, second))
        same_bits(run(a, b), summed(a, b))


def test_a_gradient_of_two_slices_makes_no_array_of_zeros_and_no_copy():
    slope = ad.compile(ad.grad(lambda x: (x[1:] * x[:-1]).sum()), backend="numpy")
    for _ in range(2):
        x = np.random.default_rng(0).choice(EDGES[:-2], 100)
        same_bits(slope(x), ad.grad(lambda x: (x[1:] * x[:-1]).sum())(x))
    assert "copyto" not in slope.source and "zeros" not in slope.source
    names = {}
    exec(slope.source, names)
    (found,) = names[slope.source.partition("def ")[2].partition("(")[0]](x)
    same_bits(found, slope(x))


def test_gradients_of_more_slices_and_of_their_sums_equal_those_that_are_not_compiled():
    def energy(x):
        bent, moved = x[2:] - 2 * x[1:-1] + x[:-2], x[1:] - x[:-1]
        return (bent**2).sum() + (moved**4).sum() + (x**2).sum() + np.sin(x[:3]).sum()

    for f in (ad.grad(energy), lambda x: ad.hvp(energy, x, np.cos(x))):
        run = ad.compile(f, backend="numpy")
        for shape in ((9,), (9, 2)):
            for _ in range(2):
                x = np.random.default_rng(0).normal(size=shape)
                np.testing.assert_allclose(run(x), f(x), rtol=1e-12, atol=1e-12)


def test_a_padded_array_that_is_read_elsewhere_too_is_there():
    def f(a, b):
        p, q = padded(a, (5,), slice(1, None)), padded(b, (5,), slice(None, -1))
        return p + q, p * 2, q

    run = ad.compile(f, backend="numpy")
    for _ in range(2):
        a, b = np.random.default_rng(0).choice(EDGES, (2, 4))
        for found, expected in zip(run(a, b), f(a, b), strict=True):
            same_bits(found, expected)


def test_zeros_with_a_sign_are_no_padding():
    def f(a, b):
        return padded(a, (5,), slice(1, None), -0.0) + padded(b, (5,), slice(2, None), -0.0)

    run = ad.compile(f, backend="numpy")
    for a, b in ((np.ones(4), np.ones(3)), (np.zeros(4), -np.zeros(3))):
        same_bits(run(a, b), f(a, b))


def test_padded_arrays_are_added_into_parameters_and_in_the_steps_of_loops():
    def step(w, g):
        w[...] = padded(w[:-1] * g, (4,), slice(1, None)) + padded(w[1:], (4,), slice(None, -1))
        return w.sum()

    run = ad.compile(step, backend="numpy")
    w, u = np.arange(4.0), np.arange(4.0)
    for _ in range(3):
        assert run(w, np.ones(3)) == step(u, np.ones(3))
        same_bits(w, u)

    def moved(x):
        return ad.scan(lambda c, _: (c + ad.grad(lambda x: (x[1:] * x[:-1]).sum())(c) / 7, None), x, length=3)[0]

    looped = ad.compile(moved, backend="numpy")
    for x in np.random.default_rng(0).normal(size=(2, 5)):
        np.testing.assert_allclose(looped(x), moved(x), rtol=1e-12)


def test_what_is_taken_for_granted_is_checked_at_every_call():
    product = ad.compile(lambda x, v: ad.hvp(lambda x: (x[1:] ** 3 * x[:-1]).sum(), x, v), backend="numpy")
    x, v = np.arange(1.0, 5.0), np.ones(4)
    expected = product(x, v)
    assert ".item() < np.inf" in product.source
    large = np.full(4, 1e200)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(
            product(large, large), ad.hvp(lambda x: (x[1:] ** 3 * x[:-1]).sum(), large, large)
        )
    np.testing.assert_array_equal(product(x, v), expected)

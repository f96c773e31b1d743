"""In whose memory a program's results lie: nothing is copied that need not be, and no result is written twice."""

import re

import numpy as np
import pytest

import autodiff as ad
import nn

BACKENDS = ("numpy", "native")


def attended(q, k, v):
    """A layer's attention without its layer: heads are an axis of a view, and turned back into one row."""
    q, k, v = (x.reshape(2, 5, 3, 4).transpose(0, 2, 1, 3) for x in (q, k, v))
    scores = q @ k.transpose(0, 1, 3, 2)
    e = np.exp(scores - np.max(scores, axis=-1, keepdims=True, initial=-np.inf))
    return ((e / e.sum(-1, keepdims=True)) @ v).transpose(0, 2, 1, 3).reshape(2, 5, 12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_that_are_turned_and_flattened_are_written_where_the_copy_would_lie(backend, dtype):
    rng = np.random.default_rng(0)
    slopes = ad.compile(ad.grad(lambda q, k, v: (attended(q, k, v) ** 2).sum(), argnums=(0, 1, 2)), backend=backend)
    for _ in range(3):
        given = rng.normal(size=(3, 2, 5, 12)).astype(dtype)
        expected = ad.grad(lambda q, k, v: (attended(q, k, v) ** 2).sum(), argnums=(0, 1, 2))(*given)
        for found, want in zip(slopes(*given), expected, strict=True):
            np.testing.assert_allclose(found, want, rtol=1e-10 if dtype == np.float64 else 2e-4, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_attention_of_the_engine_turns_its_products_without_a_copy(backend):
    nn.manual_seed(0)
    layer = nn.MultiheadAttention(12, 3, batch_first=True)
    run = ad.compile(lambda x: layer(x, x, x, need_weights=False)[0].data * 2, backend=backend)
    for _ in range(2):
        x = np.random.default_rng(0).normal(size=(2, 5, 12)).astype(np.float32)
        np.testing.assert_allclose(run(x), layer(x, x, x, need_weights=False)[0].data * 2, rtol=1e-4, atol=1e-6)
    head, _, body = run.source.partition("def ")
    turned = [line.split(" = ")[0] for line in head.splitlines() if line.endswith(".transpose((0, 2, 1, 3))")]
    assert any(re.search(rf"np\.matmul\(.*, {name}\)", body) for name in turned)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_product_that_leaves_or_is_read_twice_keeps_its_own_order(backend):
    def turned(a, b):
        y = a @ b
        z = (b.transpose(0, 1, 3, 2) @ a.transpose(0, 1, 3, 2)).transpose(0, 2, 1, 3).copy()
        return z, y, y.transpose(0, 2, 1, 3).reshape(2, 4, 15), y.transpose(0, 1, 3, 2).reshape(2, 3, 20)

    rng = np.random.default_rng(0)
    run = ad.compile(turned, backend=backend)
    for _ in range(2):
        a, b = rng.normal(size=(2, 3, 4, 6)), rng.normal(size=(2, 3, 6, 5))
        for found, want in zip(run(a, b), turned(a, b), strict=True):
            np.testing.assert_allclose(found, want, rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sum_of_products_of_rows_is_right_of_any_layout_and_at_infinity(backend):
    def products(a, b):
        turned = a.transpose(1, 0, 2)
        return np.vecdot(a, b), np.vdot(turned, turned), np.vdot(a, b), np.max(b, axis=1, initial=-np.inf)

    rng = np.random.default_rng(0)
    run = ad.compile(products, backend=backend)
    for b in (rng.normal(size=(2, 3, 40)), np.full((2, 3, 40), -np.inf)):
        a = rng.normal(size=(2, 3, 40))
        with np.errstate(invalid="ignore"):
            for found, want in zip(run(a, b), products(a, b), strict=True):
                np.testing.assert_allclose(found, want, rtol=1e-12)


def test_zeros_into_which_a_part_is_written_are_no_array_of_the_source():
    slope = ad.compile(ad.grad(lambda x: (np.tanh(x * 3)[2:] ** 2).sum()))
    for _ in range(2):
        x = np.random.default_rng(0).normal(size=(50, 40))
        want = np.zeros((50, 40))
        want[2:] = (6 * np.tanh(3 * x) / np.cosh(3 * x) ** 2)[2:]
        np.testing.assert_allclose(slope(x), want, rtol=1e-12)
    assert "np.full" not in slope.source and "k0[" not in slope.source

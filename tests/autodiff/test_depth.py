"""Depth and width: a million operations in a row, deep derivatives of derivatives, and very many inputs or readers.

Python's recursion limit (1,000) is not raised, and the garbage collector is off.
"""

import sys

import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor

pytestmark = pytest.mark.usefixtures("no_collector")
MILLION = 1_000_000


@pytest.fixture(autouse=True)
def low_limit():
    """Little room for recursion, so that any of it fails soon."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(min(limit, 1000))
    yield
    sys.setrecursionlimit(limit)


def chain(length, x):
    y = x
    for _ in range(length):
        y = y + x
    return y


def test_a_chain_of_a_million_operations_is_recorded_differentiated_and_freed():
    x = Tensor(1.0, requires_grad=True)
    y = chain(MILLION, x)
    y.backward()
    assert x.grad.item() == MILLION + 1
    del y  # a million nodes go here, by reference counting alone


def test_a_long_chain_is_freed_by_backward_itself():
    x = Tensor(1.0, requires_grad=True)
    y = chain(200_000, x)
    y.backward(retain_graph=False)
    assert x.grad.item() == 200_001


def test_a_long_chain_that_is_never_differentiated_is_freed():
    y = chain(200_000, Tensor(1.0, requires_grad=True))
    del y


def test_a_long_chain_without_gradient_keeps_no_history():
    x = Tensor(1.0, requires_grad=True)
    with ad.no_grad():
        y = chain(100_000, x)
    assert y.is_leaf and y.item() == 100_001


@pytest.mark.parametrize("operation", [lambda y: y * 1.0, lambda y: -y, lambda y: y[...], lambda y: y.reshape(1),
                                       lambda y: np.maximum(y, -1.0), lambda y: np.concatenate([y])])  # fmt: skip
def test_long_chains_of_other_operations_are_freed_too(operation):
    x = Tensor([1.0], requires_grad=True)
    y = x
    for _ in range(20_000):
        y = operation(y)
    y.backward()
    assert abs(x.grad.item()) == 1.0
    del y


def test_a_long_chain_is_differentiated_twice():
    n = 20_000
    x = Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(n):
        y = y * x  # y = x^(n+1)
    (g,) = ad.gradients(y, x, create_graph=True)
    (h,) = ad.gradients(g, x, create_graph=True)
    assert (g.item(), h.item()) == (n + 1, (n + 1) * n)
    del y, g, h


def test_a_long_chain_of_grad_is_broken_by_zero_grad():
    x = Tensor(1.0, requires_grad=True)
    chain(20_000, x * x).backward(create_graph=True)  # 20,001 x²
    (h,) = ad.gradients(x.grad, x)
    assert h.item() == 40_002.0
    x.zero_grad()
    del h


def test_the_same_tensor_read_very_many_times():
    n = 100_000
    x = Tensor(2.0, requires_grad=True)
    y = x * 3.0
    readers = [y * 1.0 for _ in range(n)]
    total = readers[0]
    for r in readers[1:]:
        total = total + r
    total.backward()
    assert x.grad.item() == 3.0 * n
    del readers, total, y


def test_one_operation_of_very_many_inputs():
    n = 2_000
    x = Tensor(np.ones(2), requires_grad=True)
    parts = [x * float(i) for i in range(n)]
    y = np.concatenate(parts).sum()
    (g,) = ad.gradients(y, x, create_graph=True)
    np.testing.assert_array_equal(g.data, np.full(2, n * (n - 1) / 2))
    z = np.stack(parts).sum()
    z.backward()
    np.testing.assert_array_equal(x.grad.data, g.data)
    del parts, y, z, g


def test_a_diamond_of_diamonds_is_walked_once():
    x = Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(1000):  # 2^1000 paths
        y = (y + y) * 0.5
    y.backward()
    assert x.grad.item() == 1.0


def test_transforms_of_a_long_chain():
    assert ad.grad(lambda x: x * chain(20_000, x))(1.0) == 40_002.0
    f = lambda x: chain(5_000, x) * x
    assert ad.grad(f)(1.0) == 2 * 5_001.0
    assert ad.hvp(f, 1.0, 1.0) == 2 * 5_001.0


def test_a_deep_graph_of_modules_of_the_same_parameter():
    w = Tensor(np.eye(3), requires_grad=True)
    h = Tensor(np.ones((1, 3)))
    for _ in range(3_000):
        h = h @ w
    h.sum().backward()
    np.testing.assert_array_equal(w.grad.data, np.full((3, 3), 3_000.0))

"""A function of one example, run for many and compiled, against itself run as it is, on other values and both back ends."""

import numpy as np
import pytest

import autodiff as ad
import nn
import optim
from autodiff.batching.batch import BatchError
from autodiff.tensor import plain
from tests.autodiff.compiling.test_compile import same

BACKENDS = pytest.mark.parametrize("backend", ["numpy", "native"])


def drawn(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


def agree(f, *shapes, backend="numpy", rtol=1e-12):
    """Compiled, it gives what it gives as it is, at values that are not those of the first call."""
    compiled = ad.compile(f, backend=backend)
    for seed in range(3):
        same(compiled(*drawn(seed, *shapes)), f(*drawn(seed, *shapes)), rtol)
    assert compiled.programs
    return compiled


@BACKENDS
@pytest.mark.parametrize("out_axes", [0, 1, -1])
@pytest.mark.parametrize("f", [np.sin, lambda x: x[::-1] * x.sum(), lambda x: x, lambda x: np.ones(2)])
def test_values_of_all_examples_are_compiled(f, out_axes, backend):
    agree(ad.vmap(f, out_axes=out_axes), (3, 2), backend=backend)


@BACKENDS
def test_a_result_of_the_examples_is_no_other_name_for_an_argument(backend):
    def f(x):
        y = ad.vmap(lambda x: x)(x)
        y += 1
        return x, y

    agree(f, (3, 2), backend=backend)
    x = np.arange(6.0).reshape(3, 2)
    same(ad.vmap(f)(x.copy()), (x, x + 1))


# What the examples share


def squared(w, x, y):
    return (w @ x - y) ** 2


@BACKENDS
@pytest.mark.parametrize("f", [
    squared,
    ad.grad(squared),
    ad.value_and_grad(squared, (0, 1)),
    ad.grad(squared, 1),
    ad.hessian(squared),
    lambda w, x, y: ad.hvp(lambda w: squared(w, x, y), w, x),
    lambda w, x, y: ad.jvp(lambda w: np.tanh(squared(w, x, y)), w, x),
    ad.jacobian(lambda w, x, y: np.outer(w, np.sin(x)) * y),
    lambda w, x, y: np.einsum("i,i,->i", w, x, y),
    lambda w, x, y: w[np.argsort(x)] / x,
    lambda w, x, y: np.where(x > 0, w, y),
    lambda w, x, y: np.concatenate([w, x]) + np.stack([y, y, y, y]),
    lambda w, x, y: np.linalg.solve(np.outer(x, x) + np.eye(2), w),
    lambda w, x, y: [w - x, {"q": w % x, "p": np.maximum(w, y)}],
])  # fmt: skip
def test_what_all_examples_share_and_what_differs_meet_in_compiled_operations(f, backend):
    agree(ad.vmap(f, in_axes=(None, 0, 0)), (2,), (3, 2), (3,), backend=backend, rtol=1e-10)


@BACKENDS
@pytest.mark.parametrize("outer", [ad.grad, ad.value_and_grad, ad.hessian, lambda f: lambda w: ad.hvp(f, w, w)])
def test_a_derivative_through_examples_of_the_closure_is_compiled(outer, backend):
    X = drawn(9, (3, 2))[0]
    agree(outer(lambda w: (np.tanh(ad.vmap(lambda x: w @ x)(X)) ** 2).sum()), (2, 2), backend=backend, rtol=1e-10)


@BACKENDS
@pytest.mark.parametrize("meet", [
    lambda w, x: w @ x, lambda w, x: x @ w, lambda w, x: w * x, lambda w, x: x - w, lambda w, x: w[0] ** 2 / x,
    lambda w, x: w < x, lambda w, x: 2 * x // w, lambda w, x: np.dot(w, x), lambda w, x: np.add.outer(w[0], x),
    lambda w, x: np.einsum("ij,j->i", w, x), lambda w, x: np.hypot(w, x), lambda w, x: np.clip(x, w[0], w[1]),
])  # fmt: skip
@pytest.mark.parametrize("kind", [lambda a: a, ad.Tensor])
def test_operators_and_functions_take_a_shared_traced_array_and_an_example(meet, kind, backend):
    closed = ad.vmap(meet, in_axes=(None, 0))
    agree(lambda w, x: closed(kind(w), kind(x)), (2, 2), (3, 2), backend=backend)
    agree(lambda w, x: ad.vmap(lambda x: meet(w, x))(kind(x)), (2, 2), (3, 2), backend=backend)


def test_an_example_is_not_written_into_what_all_share_compiled_as_little_as_eagerly():
    def f(w, x):
        def one(x):
            a = w.copy()
            a += plain(x)
            return a

        return ad.vmap(one)(x)

    for call in (f, ad.compile(f)):
        with pytest.raises(TypeError, match="written into an array that they share"):
            call(*drawn(0, (2,), (3, 2)))


@BACKENDS
def test_in_place_operations_on_an_example_are_compiled(backend):
    def one(w, x):
        a = x * 1
        a *= w
        a[0] = w[1]
        a[1:] += x[:1]
        return a

    agree(lambda w, x: ad.vmap(lambda x: one(w, x))(x), (2,), (3, 2), backend=backend)


# Inside one another


@BACKENDS
def test_examples_of_examples_are_compiled(backend):
    agree(ad.vmap(ad.vmap(lambda x, y: x @ y, (None, 0)), (0, None)), (3, 2), (4, 2), backend=backend)
    kernel = ad.vmap(ad.vmap(ad.grad(lambda x, y: np.exp(-((x - y) ** 2).sum())), (None, 0)), (0, None), 1)
    agree(kernel, (3, 2), (4, 2), backend=backend)
    w = drawn(5, (2,))[0]
    agree(ad.grad(lambda v: ad.vmap(lambda x: ad.vmap(lambda s: np.sin(v @ x * s))(v * w).sum())(x0()).sum()), (2,),
          backend=backend)  # fmt: skip


def x0():
    return drawn(7, (3, 2))[0]


@BACKENDS
def test_a_compiled_function_runs_on_examples(backend):
    inner = ad.compile(lambda w, x: np.tanh(w @ x), backend=backend)
    agree(lambda w, x: ad.vmap(inner, in_axes=(None, 0))(w, x), (2, 2), (3, 2), backend=backend)


# Models


# Models and training


def cross_entropy(weights, x, target):
    w, b, v = weights
    return nn.functional.cross_entropy(nn.functional.gelu(nn.functional.linear(x, w, b)) @ v, target)


@BACKENDS
def test_gradients_of_each_example_of_a_network_are_compiled(backend):
    each = ad.vmap(ad.grad(lambda w, b, v, x, t: cross_entropy((w, b, v), x, t), (0, 1, 2)), (None, None, None, 0, 0))
    compiled = ad.compile(each, backend=backend)
    for seed, targets in enumerate(([0, 2, 1, 1, 0], [2, 2, 0, 1, 0])):
        *weights, x = drawn(seed, (4, 3), (4,), (4, 3), (5, 3))
        t = np.array(targets)
        same(compiled(*weights, x, t), each(*weights, x, t), 1e-10)
        loop = [ad.grad(lambda *w: cross_entropy(w, x[i], t[i]), (0, 1, 2))(*weights) for i in range(5)]
        same(compiled(*weights, x, t), tuple(np.stack(column) for column in zip(*loop)), 1e-10)


LOSSES = {
    "values": lambda model, X: (ad.vmap(model)(X) ** 2).mean(),
    "layers": lambda model, X: (ad.vmap(lambda x: model[2](model[1](model[0](x))).sum() ** 2)(X)).sum(),
    "slopes": lambda model, X: (ad.vmap(ad.grad(lambda x: model(x).sum()))(X) ** 2).sum(),
}


def side(kind, backend=None):
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.05)

    def step(x):
        optimizer.zero_grad()
        loss = LOSSES[kind](model, x)
        loss.backward()
        optimizer.step()
        return loss

    return model, step if backend is None else ad.compile(step, params=model, optimizer=optimizer, backend=backend)


@BACKENDS
@pytest.mark.parametrize("kind", LOSSES)
def test_a_compiled_training_step_has_examples_inside(kind, backend):
    (model, step), (twin, compiled) = side(kind), side(kind, backend)
    for seed in range(4):
        x = drawn(seed, (6, 3))[0].astype("f4")
        np.testing.assert_allclose(compiled(x).item(), step(x).item(), rtol=1e-4)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(q.data, p.data, rtol=1e-3, atol=1e-6)
    assert compiled.programs


@BACKENDS
def test_a_compiled_training_step_clips_the_gradient_of_each_example(backend):
    each = ad.vmap(ad.grad(squared), in_axes=(None, 0, 0))

    def step(w, x, y):
        g = each(w, x, y)
        norm = np.sqrt((g**2).sum(axis=1, keepdims=True))
        return w - 0.1 * (g * np.minimum(1, 1 / norm)).mean(axis=0)

    agree(step, (2,), (5, 2), (5,), backend=backend)


@pytest.mark.parametrize("f", [
    lambda x: x[x > 0].sum(),
    lambda x: x if x.sum() > 0 else -x,
    lambda x: float(x[0]),
])  # fmt: skip
def test_what_an_example_alone_can_do_is_refused_compiled_as_it_is_eagerly(f):
    with pytest.raises(BatchError):
        ad.compile(ad.vmap(f))(np.eye(2))

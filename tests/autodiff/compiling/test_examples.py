"""Loops in a `vmap`, and derivatives of many rows of a loop, are one loop of the program."""

import numpy as np
import pytest

import autodiff as ad
from autodiff.transforms.tree import flatten

RNG = np.random.default_rng(0)
W, X, C = RNG.normal(size=(3, 3)) / 2, RNG.normal(size=(4, 5, 3)), RNG.normal(size=(4, 3))


def recurrent(w, c, xs):
    """A carry of each example's own, and of one that all examples share, which meets the others' on the way."""

    def step(state, x):
        h, total, n, flag = state
        h = np.tanh(w @ h + x)
        return (h, total * 0.5 + (h * x).sum(), n + 1, ~flag), (h[:2] * n, w[0] * 2)

    (h, total, n, flag), (ys, same) = ad.scan(step, (c, np.array(1.0), np.array(0), np.array(True)), xs)
    return h.sum() + np.where(flag, total, 2 * total) * n + (ys**2).sum() + same.sum()


def backwards(w, c, xs):
    end, ys = ad.scan(lambda h, x: (np.sin(w @ h) * x, (h * h).sum()), c, xs, reverse=True)
    return end * ys.sum()


def closed_over(w, c, xs):
    """Nothing that is carried or cut differs between examples, but what the step closes over."""
    rate = (c * xs[0]).sum()
    end, ys = ad.scan(lambda h, _: (h + rate * np.cos(h), h * rate), np.full(2, 0.3), length=4)
    return end.sum() + (ys * ys).sum() + (w * end[0]).sum()


def every(f):
    loss = lambda w, c, xs: f(w, c, xs).sum()
    of_each = (None, 0, 0)
    return {
        "vmap": ad.vmap(f, of_each),
        "gradients": ad.vmap(ad.grad(loss, (0, 1, 2)), of_each),
        "gradient of a vmap": ad.grad(lambda *a: ad.vmap(loss, of_each)(*a).sum(), (0, 1, 2)),
        "hvp": lambda w, c, xs: ad.hvp(lambda c: ad.vmap(loss, of_each)(w, c, xs).sum(), c, np.cos(c)),
        "jvp": lambda w, c, xs: ad.jvp(lambda c, xs: ad.vmap(f, of_each)(w, c, xs), (c, xs), (np.cos(c), np.sin(xs))),
        "hessians": lambda w, c, xs: ad.vmap(ad.hessian(lambda c, xs: loss(w, c, xs)))(c, xs),
        "inside one another": lambda w, c, xs: ad.vmap(lambda c: ad.vmap(f, (None, None, 0))(w, c, xs[:2]))(c[:3]),
    }


def scans(program):
    return [node for node in program.nodes if node.op == "scan"]


def agree(g, arguments, backend):
    compiled = ad.compile(g, backend=backend)
    for k in range(2):
        given = [a + 0.1 * k for a in arguments]
        for a, b in zip(flatten(compiled(*given))[0], flatten(g(*given))[0], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
    (program,) = compiled.programs
    return program


@pytest.mark.parametrize("f", [recurrent, backwards, closed_over])
def test_a_loop_in_a_vmap_is_one_loop_forward_and_backward(f):
    for name in ("vmap", "gradient of a vmap"):
        program = agree(every(f)[name], (W, C, X), "numpy")
        assert 1 <= len(scans(program)) <= 2 and len(program.nodes) < 90, (name, len(program.nodes))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("f", [recurrent, backwards, closed_over])
def test_a_loop_in_a_vmap_is_few_loops_in_every_derivative(f, backend):
    if backend == "native":
        pytest.importorskip("llvmlite")
    for name, g in every(f).items():
        program = agree(g, (W, C, X), backend)
        assert 1 <= len(scans(program)) <= 8, (name, len(program.nodes))


@pytest.mark.parametrize("max_steps", [None, 9])
def test_other_loops_and_branches_of_examples_are_written_out(max_steps):
    def f(c):
        end, n = ad.while_loop(lambda s: s[1] < 4, lambda s: (np.sin(s[0]), s[1] + 1), (c, 0), max_steps=max_steps)
        return ad.cond(n > 2, lambda x: x * x, lambda x: x, end).sum()

    for g in (ad.vmap(f), lambda c: ad.vmap(f)(c * 2 + 0 * c.sum())):
        agree(g, (C,), "numpy")


V = RNG.normal(size=(5, 5)) / 2


def long(c):
    return ad.scan(lambda h, _: (np.tanh(V @ h) + 0.1 * h, None), c, length=60)[0]


ROWS = {
    "jacobian": (ad.jacobian(long), 2),
    "hessian": (ad.hessian(lambda c: long(c).sum()), 5),
    "jacobian of a gradient": (ad.jacobian(ad.grad(lambda c: (long(c) ** 2).sum())), 5),
}


@pytest.mark.parametrize("name", ROWS)
def test_all_rows_of_a_jacobian_of_a_loop_are_one_loop(name):
    g, loops = ROWS[name]
    program = agree(g, (np.linspace(-1, 1, 5),), "numpy")
    assert len(scans(program)) <= loops and len(program.nodes) < 60


def test_rows_that_no_batch_can_take_are_pulled_one_by_one():
    def f(x):
        return ad.cond(x.sum() > 0, lambda x: x * x[0], lambda x: np.sin(x), x)

    program = agree(ad.jacobian(f), (np.linspace(-0.2, 1, 6),), "numpy")
    assert any(node.op == "cond" for node in program.nodes)

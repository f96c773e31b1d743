"""Loops in machine code give what NumPy's loops give, and have no Python in between."""

import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor
from autodiff.compiling.native.compiled import Compiled, Unmet
from autodiff.compiling.source import Source, numpy_function


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def both(f, *args, rtol=1e-12, python=False):
    """What the two back ends make of a function's program agrees, on these arguments and on others; `python`: whether
    machine code calls Python for a part of it."""
    traced = ad.compile(f)
    traced(*args)
    (program,) = traced.programs
    expected, compiled = numpy_function(Source(program))[0], Compiled(program)
    for scale in (1.0, 0.7, 1.0):
        given = [np.array(x) if x.dtype.kind != "f" else np.array(x * x.dtype.type(scale)) for x in args]
        found, wanted = compiled.run(*given), expected(*given)
        for a, b in zip(found, wanted, strict=True):
            assert np.shape(a) == np.shape(b) and a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
    assert ("fitted(" in compiled.source or "f0(" in compiled.source) is python
    assert python or "@loop" in compiled.ir
    return compiled


def cell(w):
    def step(h, x):
        h = np.tanh(h @ w + x)
        return h, (h * x).sum()

    return step


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_recurrent_network_and_its_gradient_are_two_loops_of_machine_code(dtype, reverse):
    f = lambda w, h, xs: (lambda h, ys: (h**2).sum() + (ys**2).sum())(*ad.scan(cell(w), h, xs, reverse=reverse))
    given = [x.astype(dtype) for x in (0.3 * draw(5, 5), draw(4, 5), draw(6, 4, 5))]
    compiled = both(ad.value_and_grad(f, (0, 1, 2)), *given, rtol=1e-5 if dtype == "f" else 1e-11)
    assert compiled.source.count("segment") == 1


def test_products_of_large_matrices_inside_of_a_loop_are_blass():
    f = lambda w, h, xs: ad.scan(cell(w), h, xs)[0].sum()
    compiled = both(ad.grad(f, (0, 1)), 0.1 * draw(40, 40), draw(30, 40), draw(3, 30, 40), rtol=1e-11)
    assert "autodiff_dgemm" in compiled.ir


def test_loops_inside_of_loops_are_machine_code_to_any_order():
    def inner(c, row):
        c, ys = ad.scan(lambda c, x: (np.sin(c + x), c * x), c, row)
        return c, ys.sum()

    f = lambda xs: (lambda c, ys: c * ys.sum())(*ad.scan(inner, 0.3, xs))
    both(ad.value_and_grad(f), draw(3, 4), rtol=1e-11)
    both(lambda x, v: ad.hvp(f, x, v), draw(3, 4), draw(3, 4, seed=1), rtol=1e-10)
    both(lambda x, v: ad.jvp(f, x, v), draw(3, 4), draw(3, 4, seed=1), rtol=1e-11)


def test_carries_change_places_and_results_are_inputs_constants_and_counts():
    def f(x, y, zs):
        step = lambda s, z: ((s[1], s[0], s[2] + 1), (s[0], z, np.ones(2), s[2], z[::-1] * s[0], s[1] > 0))
        return ad.scan(step, (x, y, np.array(0)), zs)

    for n in (1, 2, 5):
        both(f, draw(2), draw(2, seed=1), draw(n, 2))


def test_inputs_of_any_layout_are_taken():
    f = lambda w, xs, k: ad.scan(lambda h, x: (h @ w + x[::-1] @ k.T, h[0]), w[0], xs)
    given = 0.3 * draw(4, 4).T, draw(3, 8)[:, ::2][::-1], draw(4, 4)
    both(lambda w, xs, k: f(w, xs, k), *given)
    both(ad.grad(lambda w, xs, k: (f(w, xs.T, k)[1] ** 2).sum(), (0, 1, 2)), given[0], draw(4, 6), given[2], rtol=1e-11)


def test_branches_are_machine_code_in_loops_and_around_them():
    def f(x, k):
        step = lambda c, x: (ad.cond(c > k, lambda c, x: c - x * x, lambda c, x: c + np.exp(x), c, x), c)
        whole = lambda x: (lambda c, ys: c * ys.sum())(*ad.scan(step, 0.0, x))
        return ad.cond(x[0] > 0, whole, lambda x: (x**2).sum() * k, x)

    for x in (np.abs(draw(6)), -np.abs(draw(6))):
        both(f, x, np.array(1.5))
        both(ad.value_and_grad(f, (0, 1)), x, np.array(1.5), rtol=1e-11)
        both(lambda x, k, v: ad.hvp(f, (x, k), (v, k)), x, np.array(1.5), draw(6, seed=3), rtol=1e-10)
    g = ad.compile(ad.value_and_grad(f, (0, 1)), backend="native")
    for x in (draw(6), -draw(6), draw(6, seed=1)):
        for a, b in zip(g(x, np.array(1.2))[1], ad.value_and_grad(f, (0, 1))(x, np.array(1.2))[1]):
            np.testing.assert_allclose(a, b, rtol=1e-11)
    assert len(g.programs) == 1


def test_a_while_loop_is_machine_code_and_stops_where_numpys_does():
    def root(a):
        far = lambda s: np.abs(s["x"] ** 2 - a).max() > 1e-10
        return ad.while_loop(far, lambda s: {"x": (s["x"] + a / s["x"]) / 2, "n": s["n"] + 1}, {"x": a, "n": 0})

    both(root, np.array([2.0, 3.0]))
    both(root, np.array([1.0, 1.0]))
    both(lambda xs: ad.scan(lambda c, x: (c + root(x)["x"], None), np.zeros(2), xs)[0], np.abs(draw(4, 2)) + 0.5)
    bounded = lambda a: ad.while_loop(lambda x: x * x - a > 1e-10, lambda x: (x + a / x) / 2, a + 1, max_steps=30)
    both(ad.value_and_grad(bounded), np.array(2.0))


def test_what_branches_take_for_granted_is_looked_at_where_they_are_taken():
    f = lambda x: ad.cond(x[0] > 0, lambda x: np.where(x > 1, np.sqrt(x - 1), 0).sum(), lambda x: x.sum() * 2, x)
    g = ad.compile(ad.grad(f), backend="native")
    for x in ([2.0, 3.0], [2.0, 1.0], [-1.0, 1.0], [5.0, 1.5]):
        np.testing.assert_array_equal(g(np.array(x)), ad.grad(f)(np.array(x)))
    compiled = Compiled(g.programs[0])
    with pytest.raises(Unmet):
        compiled.run(np.array([2.0, 1.0]))
    np.testing.assert_array_equal(compiled.run(np.array([-1.0, 1.0]))[0], [2.0, 2.0])


def test_what_has_no_machine_code_is_a_loop_of_numpys():
    both(lambda x: ad.scan(lambda c, x: (np.sort(c) + x, None), x[0], x), draw(4, 3), python=True)
    both(
        lambda x, n: ad.scan(lambda c, s: (c + s[0], s[1]), x[0], (x, n)),
        draw(4),
        np.arange(4, dtype="i4"),
        python=True,
    )


def test_what_steps_take_for_granted_is_looked_at_after_the_loop():
    f = ad.grad(lambda x: ad.scan(lambda c, x: (c + np.where(x > 0, np.sqrt(x), 0), None), 0.0, x)[0])
    traced = ad.compile(f, backend="native")
    np.testing.assert_array_equal(traced(np.array([1.0, 4.0])), [0.5, 0.25])
    np.testing.assert_array_equal(traced(np.array([1.0, 0.0])), [0.5, 0.0])  # by an eager run
    compiled = Compiled(traced.programs[0])
    assert "@loop" in compiled.ir and "fitted(" not in compiled.source
    for bad in (np.array([0.0, 1.0]), np.array([1.0, 0.0])):
        with pytest.raises(Unmet, match="assumed"):
            compiled.run(bad)
    compiled.run(np.array([4.0, 9.0]))


def test_a_training_step_through_a_loop_leaves_the_parameters_of_the_eager_one():
    import optim

    def run(backend):
        w = Tensor(0.3 * draw(3, 3), requires_grad=True)
        optimizer = optim.Adam([w], lr=0.01)

        def step(xs):
            optimizer.zero_grad()
            loss = (ad.scan(cell(w), np.zeros(3), xs)[0] ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss.detach()

        f = step if backend is None else ad.compile(step, params=[w], optimizer=optimizer, backend=backend)
        return [f(draw(5, 3, seed=k)).item() for k in range(4)], w.numpy()

    (losses, w), (expected, v) = run("native"), run(None)
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    np.testing.assert_allclose(w, v, rtol=1e-10)


def test_a_thousand_steps_of_a_pendulum_are_as_exact_as_the_eager_loop():
    def loss(x, v, k):
        def step(s, _):
            x, v = s
            v = v - 0.01 * (k * np.sin(x) + 0.1 * v)
            return (x + 0.01 * v, v), None

        (x, v), _ = ad.scan(step, (x, v), length=1000)
        return (x * x).sum() + (v * v).sum()

    f, given = ad.value_and_grad(loss, (0, 1, 2)), (np.linspace(0.1, 1, 4), np.zeros(4), np.full(4, 2.0))
    both(f, *given, rtol=1e-10)
    value, found = ad.compile(f, backend="native")(*given)
    expected, slopes = f(*given)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for a, b in zip(found, slopes):
        np.testing.assert_allclose(a, b, rtol=1e-11)

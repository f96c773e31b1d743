"""Compiled loops and branches give what eager ones do, in every derivative, and are one operation of the program."""

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff import Tensor

BACKENDS = ["numpy", "native"]


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def ops_of(program):
    """Names of all operations, those of steps and branches too."""
    found = []
    for node in program.nodes:
        found.append(node.op)
        for value in node.options.values():
            if hasattr(value, "nodes"):
                found += ops_of(value)
    return found


def agree(f, args, others, rtol=1e-12, backend="numpy", loops=1):
    """What f gives compiled, on other arguments than it was traced with, is what it gives as it is."""
    g = ad.compile(f, backend=backend)
    for given in (args, others, args):
        for a, b in zip(leaves(g(*given)), leaves(f(*given)), strict=True):
            assert np.shape(a) == np.shape(b) and np.asarray(a).dtype == np.asarray(b).dtype
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
    (program,) = g.programs
    assert sum(op in ("scan", "cond", "while") for op in ops_of(program)) >= loops
    assert not any(event.startswith(("a call failed", "what is")) for event in g.explain().splitlines())
    return g


def leaves(x):
    if isinstance(x, dict):
        x = list(x.values())
    if isinstance(x, (tuple, list)):
        return [y for part in x for y in leaves(part)]
    return [] if x is None else [x.numpy() if isinstance(x, Tensor) else x]


def cell(w, b):
    def step(h, x):
        h = np.tanh(h @ w + x * b)
        return h, {"sum": h.sum(), "h": h * x}

    return step


def scanned(**how):
    def f(w, b, h, xs):
        h, ys = ad.scan(cell(w, b), h, xs, **how)
        return (h**3).sum() + (ys["sum"] ** 2 * ys["h"][:, 0]).sum() + ys["h"].prod(0).sum()

    return f


WAYS = [{}, {"reverse": True}, {"checkpoint": True}]
GIVEN = (0.6 * draw(3, 3), draw(3, seed=1), draw(3, seed=2), draw(7, 3, seed=3))
OTHERS = tuple(0.9 * x + 0.01 for x in GIVEN)
ALL = (0, 1, 2, 3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", WAYS)
def test_a_scan_is_one_operation_with_the_values_and_derivatives_of_the_eager_loop(how, backend):
    f = scanned(**how)
    agree(f, GIVEN, OTHERS, backend=backend)
    agree(ad.value_and_grad(f, ALL), GIVEN, OTHERS, rtol=1e-10, backend=backend, loops=2)


@pytest.mark.parametrize("how", WAYS)
def test_hessian_products_and_tangents_of_a_scan_are_those_of_the_eager_loop(how):
    f = scanned(**how)
    vs = tuple(draw(*x.shape, seed=9) for x in GIVEN)
    agree(lambda *xs: ad.hvp(f, xs[:4], xs[4:]), (*GIVEN, *vs), (*OTHERS, *GIVEN), rtol=1e-9, loops=4)
    agree(lambda *xs: ad.jvp(f, xs[:4], xs[4:]), (*GIVEN, *vs), (*OTHERS, *GIVEN), rtol=1e-10, loops=2)
    agree(
        ad.grad(lambda w, v: ad.jvp(lambda w: f(w, *GIVEN[1:]), w, v)[1]),
        (GIVEN[0], vs[0]),
        (OTHERS[0], vs[0]),
        rtol=1e-9,
    )


def test_derivatives_of_a_scan_to_the_fourth_order_are_exact():
    power = lambda x: ad.scan(lambda y, _: (y * x, None), 1.0, length=5)[0]  # x⁵
    f = power
    for expected in (80.0, 160.0, 240.0, 240.0):
        f = ad.grad(f)
        compiled = ad.compile(f)
        assert compiled(np.array(3.0)) != expected and compiled(np.array(2.0)) == expected
        assert len(compiled.programs) == 1


def test_a_program_computes_no_results_of_loops_that_nobody_takes():
    w = Tensor(0.5, requires_grad=True)

    def f(x):
        (a, b, n), (ys, zs) = ad.scan(
            lambda s, x: ((s[0] * w, s[1] + x, s[2] + 1), (s[1], np.sin(s[0]))), (1.0, 0.0, 0), x
        )
        return ys.detach()

    (program,) = agree(f, (draw(5),), (draw(5, seed=1),)).programs
    (loop,) = [node for node in program.nodes if node.op == "scan"]
    assert loop.options["carry"] == 1 and len(loop.options["step"].outputs) == 2 and "sin" not in ops_of(program)


def test_a_scan_closes_over_parameters_results_and_constants():
    w, table = Tensor(draw(3, 3), requires_grad=True), draw(3, seed=5)

    def loss(b, xs):
        u = np.tanh(w @ w.T) * b  # a result that the steps close over, and that depends on w too
        step = lambda h, x: (np.sin(h @ u + x + table) + b * h, None)
        return (ad.scan(step, np.zeros(3), xs)[0] ** 2).sum()

    def both(b, xs):
        b, xs = Tensor(b, requires_grad=True), Tensor(xs, requires_grad=True)
        y = loss(b, xs)
        return y.detach(), *(d.detach() for d in ad.gradients(y, [w, b, xs]))

    def curved(b, xs):
        (d,) = ad.gradients(loss(b, xs), [w], create_graph=True)
        return ad.gradients((d * d).sum(), [w])[0].detach()

    for f in (both, curved):
        g = agree(f, (draw(3), draw(4, 3)), (draw(3, seed=1), draw(4, 3, seed=2)), rtol=1e-10)
        w.data = w.data * 0.5
        for a, b in zip(leaves(g(draw(3), draw(4, 3))), leaves(f(draw(3), draw(4, 3)))):
            np.testing.assert_allclose(a, b, rtol=1e-11)


def test_scans_nest():
    def inner(c, row):
        c, total = ad.scan(lambda c, x: (np.sin(c + x), c * x), c, row)
        return c, total.sum()

    f = lambda xs: (lambda c, ys: c * ys.sum())(*ad.scan(inner, 0.3, xs))
    xs, v = draw(3, 4), draw(3, 4, seed=1)
    agree(ad.value_and_grad(f), (xs,), (v,), loops=4, rtol=1e-11)
    agree(lambda x, v: ad.hvp(f, x, v), (xs, v), (v, xs), loops=4, rtol=1e-10)
    agree(lambda x, v: ad.jvp(f, x, v), (xs, v), (v, xs), loops=4, rtol=1e-11)


def test_forms_and_dtypes_of_carry_and_slices_are_kept():
    def f(h, x, n):
        def step(c, x):
            h = c["h"] + x["a"] * x["n"].astype(np.float32) * np.float32(0.5)
            return {"h": h, "count": c["count"] + 1, "nothing": None}, (x["n"], [], h.sum(), np.float64(2.0))

        return ad.scan(step, {"h": h, "count": 0, "nothing": None}, {"a": x, "n": n})

    given = draw(2).astype("f"), draw(3, 2).astype("f"), np.arange(3)
    out, ys = ad.compile(f)(*given)
    assert (
        list(out) == ["h", "count", "nothing"] and isinstance(ys, tuple) and ys[1] == [] and ys[0].tolist() == [0, 1, 2]
    )
    agree(f, given, (given[0] * 2, given[1] + 1, given[2] + 3))
    loss = lambda h, x, n: (lambda out, ys: out["h"].sum() + (ys[2] ** 2 * ys[3]).sum())(*f(h, x, n))
    agree(ad.value_and_grad(loss, (0, 1)), given, (given[0] * 2, given[1] + 1, given[2] + 3), rtol=1e-6)


def test_long_loops_over_slices_and_unused_slices_and_carries():
    given, others = (1 + 0.01 * draw(600), draw(600, 2)), (1 + 0.01 * draw(600, seed=1), draw(600, 2, seed=3))
    for how in ({}, {"reverse": True}):
        f = lambda x, z: ad.scan(lambda p, s: ((p[0] * s[0], p[1]), p[0]), (1.0, x[0]), (x, z), **how)
        agree(ad.compile(lambda x, z: [f(x, z)[0][0], f(x, z)[0][1], f(x, z)[1]]), given, others)
        loss = lambda x, z: (lambda c, ys: c[0] * c[1] + np.sin(ys).sum())(*f(x, z))
        agree(ad.grad(loss, (0, 1)), given, others, rtol=1e-11)


def test_what_a_loop_leaves_as_it_is_has_memory_of_its_own():
    f = ad.compile(lambda x: ad.scan(lambda c, x: ((c[1], c[0]), c[0]), (x, x[::-1]), length=3))
    x = np.arange(3.0)
    (a, b), ys = f(x)
    a.data[:] = 9
    assert x.tolist() == [0, 1, 2] and f(x)[0][0].tolist() == [2, 1, 0] and ys[0].tolist() == [0, 1, 2]


def test_a_step_whose_way_depends_on_values_is_written_out():
    def f(x):
        return ad.scan(lambda c, x: (c * x if c.item() < 2 else c - x, c), 1.0, x)

    g, xs = ad.compile(f), np.array([1.5, 1.5, 1.0, 0.5])
    np.testing.assert_array_equal(g(xs)[1], f(xs)[1])
    np.testing.assert_array_equal(g(xs + 0.01)[1], f(xs + 0.01)[1])
    np.testing.assert_array_equal(g(xs / 2)[1], f(xs / 2)[1])
    assert "scan" not in ops_of(g.programs[0])


def test_a_step_that_draws_is_written_out_and_draws_as_the_eager_loop_does():
    rng = np.random.default_rng(0)
    f = lambda x: ad.scan(lambda c, x: (nn.functional.dropout(c + x, rng=rng), None), np.ones(9), x)[0].sum()
    g, x = ad.compile(ad.value_and_grad(f)), draw(4, 9)
    found = [g(x) for _ in range(3)]
    rng = np.random.default_rng(0)
    for a, b in zip(leaves(found), leaves([ad.value_and_grad(f)(x) for _ in range(3)])):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_step_that_writes_into_an_array_from_outside_is_written_out():
    def f(x):
        seen = np.zeros_like(x)

        def step(c, i):
            seen[...] = seen + c.data
            return c * 2, None

        c, _ = ad.scan(step, x, length=3)
        return c.detach() * 1.0, Tensor(seen * 1.0)

    for x in (draw(2), draw(2, seed=1)):
        for a, b in zip(ad.compile(f)(x), f(x)):
            np.testing.assert_array_equal(a, b)


def counted(x):
    t = [0]

    def step(c, x):
        t[0] += 1
        return c + t[0] * x, c

    return ad.scan(step, 0.0, x)


def counted_by_an_object(x):
    counter = type("Counter", (), {"n": 0, "next": lambda self: setattr(self, "n", self.n + 1) or self.n})()
    return ad.scan(lambda c, x: (c + counter.next() * x, c), 0.0, x)


def counted_by_an_iterator(x):
    numbers = iter(range(100))
    return ad.scan(lambda c, x: (c + next(numbers) * x, c), 0.0, x)


def kept_outside(x):
    kept = []
    ad.scan(lambda c, x: (kept.append(c), (c * x, None))[1], 1.0, x)
    return [c * 2.0 for c in kept]


def kept_in_a_variable(x):
    last = None

    def step(c, x):
        nonlocal last
        last = c * x
        return last, None

    ad.scan(step, 1.0, x)
    return last * 2.0


def counted_in_a_branch(x):
    t = [0]
    add = lambda x: (t.__setitem__(0, t[0] + 1), x * t[0])[1]
    return ad.cond(x[0] > 0, add, lambda x: x * 1.0, x) + ad.cond(x[1] > 0, add, lambda x: x * 1.0, x)


def counted_in_a_while_loop(x):
    t = [0]
    step = lambda s: (t.__setitem__(0, t[0] + 1), (s[0] + 1, s[1] * t[0]))[1]
    return ad.while_loop(lambda s: s[0] < 4, step, (0, x))[1]


def left_as_a_gradient(x):
    w = Tensor([1.0, 2.0], requires_grad=True)

    def step(c, x):
        (w * c.detach() * x).sum().backward()
        return c * 2.0, None

    ad.scan(step, 1.0, x)
    return w.grad * 1.0


def counted_in_an_array(x):
    n = x * 0

    def step(c, x):
        n[0] += 1.0
        return c + x, None

    return ad.scan(step, 0.0, x)[0], Tensor(n + 0.0)


@pytest.mark.parametrize("f", [counted_in_an_array, counted, counted_by_an_object, counted_by_an_iterator, kept_outside, kept_in_a_variable,
                               counted_in_a_branch, counted_in_a_while_loop, left_as_a_gradient])  # fmt: skip
def test_a_step_that_changes_something_outside_is_written_out(f):
    g = ad.compile(f)
    for x in (draw(4), draw(4, seed=1)):
        for a, b in zip(leaves(g(x)), leaves(f(x)), strict=True):
            np.testing.assert_array_equal(a, b)


def test_steps_may_take_derivatives_and_checkpoints_themselves():
    w = draw(3, 3, seed=4)

    def descended(x, rates):
        inner = lambda c: ad.checkpoint(lambda c: (np.sin(c @ w) ** 2).sum(), c)
        return (ad.scan(lambda c, rate: (c - rate * ad.grad(inner)(c), None), x, rates)[0] ** 2).sum()

    given, others = (draw(3), np.abs(draw(4))), (draw(3, seed=1), np.abs(draw(4, seed=2)))
    agree(ad.value_and_grad(descended, (0, 1)), given, others, rtol=1e-10, loops=2)
    agree(
        lambda x, r, v: ad.hvp(descended, (x, r), (v, r)), (*given, others[0]), (*others, given[0]), rtol=1e-8, loops=2
    )
    whole = lambda x, r: ad.checkpoint(descended, x, r)
    agree(ad.value_and_grad(whole, (0, 1)), given, others, rtol=1e-10, loops=2)


def test_values_that_are_no_common_ones_in_a_later_step_run_as_they_are():
    """The slope of √x at 0, where its cotangent is 0, is known by an eager run alone."""
    f = lambda x: ad.scan(lambda c, x: (c + np.where(x > 0, np.sqrt(x), 0), None), 0.0, x)[0]
    g = ad.compile(ad.grad(f))
    for x in (np.array([1.0, 4.0, 0.25]), np.array([1.0, 0.0, 4.0]), np.array([4.0, 1.0, 1.0])):
        np.testing.assert_array_equal(g(x), ad.grad(f)(x))
    first = ad.compile(ad.grad(f))
    np.testing.assert_array_equal(first(np.array([1.0, 0.0, 4.0])), [0.5, 0.0, 0.25])


def test_the_source_of_a_loop_is_a_loop_that_runs_with_numpy_alone(tmp_path):
    f = ad.compile(ad.value_and_grad(scanned(), ALL))
    expected = leaves(f(*GIVEN))
    assert (
        "for i in range(7):" in f.source
        and "in range(6, -1, -1):" in f.source
        and "def step(carry, x, w, b):" in f.source
    )
    f.save(tmp_path / "model.py")
    names: dict = {}
    exec((tmp_path / "model.py").read_text(), names)
    found = names["gradient"](*GIVEN)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_errors_of_a_step_are_those_of_the_eager_loop():
    for step, error, match in [
        (lambda c, x: c, TypeError, r"must return a pair \(carry, y\)"),
        (lambda c, x: (c[None], None), ValueError, r"step 0: carry has shape \(1,\)"),
        (lambda c, x: (c.astype("f"), None), TypeError, "step 0: carry has dtype float32"),
    ]:
        with pytest.raises(error, match=match):
            ad.compile(lambda x: ad.scan(step, 0.0, x)[0])(draw(3))
    empty = lambda x: ad.scan(lambda c, x: (c + x, c), 1.0, x)
    for a, b in zip(ad.compile(empty)(np.zeros(0)), empty(np.zeros(0))):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(TypeError, match="carries a derivative"):
        ad.compile(empty)(Tensor(draw(3), requires_grad=True))


def test_a_training_step_trains_through_a_scan():
    import optim

    def run(compiled):
        w = Tensor(0.3 * draw(3, 3), requires_grad=True)
        optimizer = optim.Adam([w], lr=0.01)

        def step(xs):
            optimizer.zero_grad()
            loss = (ad.scan(lambda h, x: (np.tanh(h @ w + x), None), np.zeros(3), xs)[0] ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss.detach()

        f = ad.compile(step, params=[w], optimizer=optimizer) if compiled else step
        return [f(draw(5, 3, seed=k)).item() for k in range(4)], w.numpy()

    (losses, w), (expected, v) = run(True), run(False)
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    np.testing.assert_allclose(w, v, rtol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_branch_is_chosen_at_every_call_with_its_derivatives(backend):
    w = Tensor([2.0, 3.0], requires_grad=True)
    inner = lambda x, y: {"a": (np.sin(x) * w).sum() * y.sum(), "b": x}

    def f(x, y):
        z = ad.cond((x > 0).all(), inner, lambda x, y: {"a": (x * x).sum() + y[0], "b": x * 2}, x, y)
        return z["a"] + (z["b"] ** 3).sum()

    given, others = (np.array([1.0, 2.0]), draw(2)), (np.array([1.0, -2.0]), draw(2, seed=1))
    loss = lambda x, y: f(x, y).detach()
    agree(loss, given, others, backend=backend)
    w = w.detach()
    agree(ad.value_and_grad(f, (0, 1)), given, others, backend=backend, loops=2)
    curve = lambda x, y, u, v: ad.hvp(f, (x, y), (u, v))
    agree(curve, (*given, *others), (*others, *given), rtol=1e-11, backend=backend)
    push = lambda x, y, u, v: ad.jvp(f, (x, y), (u, v))
    agree(push, (*given, *others), (*others, *given), rtol=1e-11, backend=backend)
    agree(ad.grad(lambda x, y: push(x, y, y, x)[1]), given, others, rtol=1e-10, backend=backend)


def test_only_the_branch_that_is_taken_is_computed():
    x = np.array([4.0, 9.0])
    f = lambda x: ad.cond(x.sum() > 0, lambda x: np.sqrt(x + 100), lambda x: x * np.inf, x).sum()
    agree(ad.value_and_grad(f), (x,), (-x,))
    alike = lambda x: ad.cond(x.sum() > 0, lambda x: np.exp(x) + 1, lambda x: np.exp(x) * 2, x)
    (program,) = agree(alike, (x,), (-x,)).programs
    assert "exp" not in [node.op for node in program.nodes] and ops_of(program).count("exp") == 2
    far = lambda x: ad.cond(x[0] > 0, np.sqrt, lambda x: x * x, x).sum()
    g = ad.compile(ad.grad(far))
    for given in (x, -x, x * 2, -x * 3):
        np.testing.assert_allclose(g(given), ad.grad(far)(given))


def test_branches_of_two_kinds_are_followed_as_python_does():
    for other in (lambda x: x[:1], lambda x: [x], lambda x: x.astype("f"), lambda x: (x, None)):
        f = lambda x: ad.cond(x.sum() > 0, lambda x: (x,), other, x)
        g = ad.compile(f)
        for x in (np.ones(2), -np.ones(2)):
            for a, b in zip(leaves(g(x)), leaves(f(x)), strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)
            assert type(g(x)) is type(f(x))


def test_scans_and_branches_go_inside_each_other():
    def f(x, k):
        step = lambda c, x: (ad.cond(c > k, lambda c, x: c - x * x, lambda c, x: c + np.exp(x), c, x), c)
        whole = lambda x: (lambda c, ys: c * ys.sum())(*ad.scan(step, 0.0, x))
        return ad.cond(x[0] > 0, whole, lambda x: (x**2).sum() * k, x)

    given, others = (np.abs(draw(6)), np.array(1.5)), (np.abs(draw(6, seed=1)), np.array(0.7))
    g = agree(ad.value_and_grad(f, (0, 1)), given, others, rtol=1e-11, loops=4)
    for a, b in zip(leaves(g(-given[0], given[1])), leaves(ad.value_and_grad(f, (0, 1))(-given[0], given[1]))):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    agree(lambda x, k, v: ad.hvp(f, (x, k), (v, k)), (*given, others[0]), (*others, given[0]), rtol=1e-9, loops=4)
    agree(lambda x, k, v: ad.jvp(f, (x, k), (v, k)), (*given, others[0]), (*others, given[0]), rtol=1e-10, loops=4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_while_loop_takes_as_many_steps_as_each_call_needs(backend):
    def root(a, limit=None):
        far = lambda s: np.abs(s["x"] ** 2 - a) > 1e-12
        step = lambda s: {"x": (s["x"] + a / s["x"]) / 2, "n": s["n"] + 1}
        return ad.while_loop(far, step, {"x": 1.0, "n": 0}, max_steps=limit)

    with ad.no_grad():
        g = agree(root, (np.array(2.0),), (np.array(2000.0),), backend=backend)
        agree(lambda a: root(a, 40), (np.array(2.0),), (np.array(2000.0),), backend=backend)
    assert "while holds(" in g.source
    bounded = ad.value_and_grad(lambda a: root(a, 25)["x"])
    agree(bounded, (np.array(2.0),), (np.array(2000.0),), backend=backend, loops=3)
    agree(ad.grad(ad.grad(lambda a: root(a, 25)["x"])), (np.array(2.0),), (np.array(50.0),), rtol=1e-9)
    agree(lambda a: ad.jvp(lambda a: root(a, 25)["x"], a, 1.0), (np.array(2.0),), (np.array(50.0),))
    unbounded = ad.compile(ad.grad(lambda a: root(a)["x"]))
    for a in (2.0, 2000.0):
        np.testing.assert_allclose(unbounded(np.array(a)), 0.5 / np.sqrt(a), rtol=1e-9)
    short = ad.compile(lambda a: root(a.detach(), 3)["n"])
    with pytest.raises(RuntimeError, match="still holds after max_steps=3"):
        short(Tensor(2000.0))
    few = ad.compile(ad.grad(lambda a: root(a, 6)["x"]))
    few(np.array(2.0))
    with pytest.raises(RuntimeError, match="still holds after max_steps=6"):
        few(np.array(2000.0))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_carry_may_become_a_constant(backend):
    f = lambda x, y: (lambda s, _: (s[0] * s[1]).sum())(
        *ad.scan(lambda s, _: ((np.ones(3) * 2.0, s[1] * s[0]), None), (x, y), length=3)
    )
    agree(ad.value_and_grad(f, (0, 1)), (draw(3), draw(3, seed=1)), (draw(3, seed=2), draw(3, seed=3)), backend=backend)


def test_complex_loops_are_written_out():
    w = 0.5 + 0.25j

    def f(x):
        z, _ = ad.scan(lambda z, x: (z * w + x, None), np.array(1.0 + 0.5j), x)
        y = ad.cond(x[0] > 0, lambda x: (x * w).sum(), lambda x: (x * x * w).sum(), x)
        return (z * np.conj(z)).real + (y * np.conj(y)).real

    g = ad.compile(ad.value_and_grad(f))
    for x in (draw(4), draw(4, seed=1), -draw(4)):
        for a, b in zip(leaves(g(x)), leaves(ad.value_and_grad(f)(x))):
            np.testing.assert_allclose(a, b, rtol=1e-12)

"""Loops and branches give the values and derivatives of the steps they stand for."""

import contextlib
import tracemalloc
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor
from autodiff.transforms.control import staging


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


W, B, H, XS = 0.6 * draw(3, 3), draw(3, seed=1), draw(3, seed=2), draw(7, 3, seed=3)


def cell(w, b):
    def step(h, x):
        h = np.tanh(h @ w + x * b)
        return h, {"sum": h.sum(), "h": h * x}

    return step


def torch_loop(w, b, h, xs, order):
    torch = pytest.importorskip("torch")
    sums, products = [None] * len(xs), [None] * len(xs)
    for t in order:
        h = torch.tanh(h @ w + xs[t] * b)
        sums[t], products[t] = h.sum(), h * xs[t]
    return h, torch.stack(sums), torch.stack(products)


def loss(h, sums, products):
    return (h**3).sum() + (sums**2 * products[:, 0]).sum() + products.prod(0).sum()


WAYS = [{}, {"checkpoint": True}, {"checkpoint": 2}, {"reverse": True}, {"reverse": True, "checkpoint": 3}]


def scanned(**how):
    def f(w, b, h, xs):
        h, ys = ad.scan(cell(w, b), h, xs, **how)
        return loss(h, ys["sum"], ys["h"])

    return f


@pytest.mark.parametrize("how", WAYS)
def test_values_gradients_and_hessian_products_of_a_scan_are_those_of_torchs_loop(how):
    torch = pytest.importorskip("torch")
    order = range(6, -1, -1) if how.get("reverse") else range(7)
    ts = [torch.tensor(a, requires_grad=True) for a in (W, B, H, XS)]
    vs = [draw(*a.shape, seed=9) for a in (W, B, H, XS)]
    y = loss(*torch_loop(*ts, order))
    slopes = torch.autograd.grad(y, ts, create_graph=True)
    curved = torch.autograd.grad(sum((s * torch.tensor(v)).sum() for s, v in zip(slopes, vs)), ts)
    value, found = ad.value_and_grad(scanned(**how), (0, 1, 2, 3))(W, B, H, XS)
    np.testing.assert_allclose(value, y.item(), rtol=1e-12)
    for a, b in zip(found, slopes):
        np.testing.assert_allclose(a, b.detach(), rtol=1e-10, atol=1e-12)
    for a, b in zip(ad.hvp(scanned(**how), (W, B, H, XS), tuple(vs)), curved):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
    pushed = ad.jvp(scanned(**how), (W, B, H, XS), tuple(vs))[1]
    np.testing.assert_allclose(
        pushed, sum((s.detach() * torch.tensor(v)).sum() for s, v in zip(slopes, vs)), rtol=1e-10
    )


@pytest.mark.parametrize("how", WAYS)
def test_a_scan_passes_gradgradcheck_with_tensors_it_closes_over(how):
    w = Tensor(W, requires_grad=True)
    f = lambda h, xs: ad.scan(cell(w, B), h, xs, **how)[1]["h"]
    assert ad.gradgradcheck(f, (H, XS[:3]))
    assert ad.gradcheck(lambda w: ad.scan(cell(w, B), H, XS, **how)[0], (W,))


@pytest.mark.parametrize("how", WAYS)
def test_the_third_derivative_of_a_scanned_power_is_exact(how):
    power = lambda x: ad.scan(lambda y, _: (y * x, None), 1.0, length=5, **how)[0]  # x⁵
    assert ad.grad(ad.grad(ad.grad(power)))(2.0) == 240.0
    assert ad.scan(lambda y, _: (y * 2.0, None), 1.0, length=5)[1] is None


def test_a_scan_of_newtons_method_has_the_derivatives_of_its_limit():
    root = lambda a: ad.scan(lambda x, _: ((x + a / x) / 2, x), 1.0, length=9)[0]
    for order, f in enumerate([root, ad.grad(root), ad.grad(ad.grad(root)), ad.grad(ad.grad(ad.grad(root)))]):
        exact = mpmath.diff(mpmath.sqrt, 2, order)
        found = f(2.0).item() if order == 0 else f(2.0)
        assert found == pytest.approx(float(exact), rel=1e-12)


def test_the_slices_of_long_inputs_receive_their_gradients_in_every_order():
    """Past the length from which xs are cut in two stages, a cumulative product by a closed form."""
    x = 1 + 0.01 * draw(600)
    for how in ({}, {"reverse": True}, {"checkpoint": True}):
        f = lambda x: ad.scan(lambda p, x: (p * x, None), 1.0, x, **how)[0]
        value, g = ad.value_and_grad(f)(x)
        np.testing.assert_allclose(value, np.prod(x), rtol=1e-12)
        np.testing.assert_allclose(g, np.prod(x) / x, rtol=1e-11)
        v = draw(600, seed=1)
        expected = np.prod(x) / x * ((v / x).sum() - v / x)
        np.testing.assert_allclose(ad.hvp(f, x, v), expected, rtol=1e-10, atol=1e-10)
    ys = ad.scan(lambda p, x: (p * x, p), 1.0, x)[1]
    np.testing.assert_allclose(ys.numpy(), np.r_[1.0, np.cumprod(x)[:-1]], rtol=1e-13)
    back = ad.scan(lambda p, x: (p + x, p + x), 0.0, x, reverse=True)[1]
    np.testing.assert_allclose(back.numpy(), np.cumsum(x[::-1])[::-1], rtol=1e-12)


@pytest.mark.parametrize("how", WAYS)
def test_scans_nest_and_go_inside_checkpoints(how):
    def inner(c, row):
        c, total = ad.scan(lambda c, x: (np.sin(c + x), c * x), c, row, **how)
        return c, total.sum()

    f = lambda xs: (lambda c, ys: c * ys.sum())(*ad.scan(inner, 0.3, xs, **how))

    def plain(xs):
        c, total = 0.3, 0.0
        for row in xs[::-1] if how.get("reverse") else xs:
            for x in row[::-1] if how.get("reverse") else row:
                total, c = total + c * x, np.sin(c + x)
        return c * total

    xs, v = draw(3, 4), draw(3, 4, seed=1)
    expected, curved = ad.grad(plain)(xs), ad.hvp(plain, xs, v)
    for g in (f, lambda xs: ad.checkpoint(f, xs)):
        np.testing.assert_allclose(ad.grad(g)(xs), expected, rtol=1e-10)
        np.testing.assert_allclose(ad.hvp(g, xs, v), curved, rtol=1e-9, atol=1e-12)
    kept = lambda xs: ad.scan(lambda c, x: (ad.checkpoint(lambda c: np.sin(c * x), c), None), 0.5, xs, **how)[0]
    bare = lambda xs: ad.scan(lambda c, x: (np.sin(c * x), None), 0.5, xs, **how)[0]
    np.testing.assert_allclose(ad.grad(kept)(xs[0]), ad.grad(bare)(xs[0]), rtol=1e-12)


def test_forms_and_dtypes_of_carry_and_slices_are_kept():
    xs = {"a": np.arange(6.0, dtype=np.float32).reshape(3, 2), "n": np.arange(3)}
    carry = {"h": np.zeros(2, np.float32), "count": 0, "nothing": None}

    def f(c, x):
        assert isinstance(x["a"], Tensor) and isinstance(c["count"], Tensor)
        return {"h": c["h"] + x["a"] * x["n"].astype(np.float32), "count": c["count"] + 1, "nothing": None}, (
            x["n"],
            [],
        )

    out, ys = ad.scan(f, carry, xs)
    assert list(out) == ["h", "count", "nothing"] and out["h"].dtype == np.float32 and out["nothing"] is None
    assert out["h"].tolist() == [10.0, 13.0] and out["count"].item() == 3
    assert isinstance(ys, tuple) and ys[0].tolist() == [0, 1, 2] and ys[1] == []
    assert not out["h"].requires_grad


def test_a_scan_of_no_steps_returns_the_carry_and_empty_results():
    calls = []

    def f(c, x):
        calls.append(1)
        return c / x.sum(), {"y": c[None] * x[:, None], "k": x.argmax()}

    c = Tensor([1.0, 2.0], requires_grad=True)
    for how in ({}, {"checkpoint": True}, {"reverse": True}):
        out, ys = ad.scan(f, c, np.zeros((0, 3), np.float32), **how)
        assert out is c and ys["y"].shape == (0, 3, 2) and ys["k"].dtype.kind == "i" and ys["y"].dtype == np.float64
    assert len(calls) == 3
    start = np.ones(2)
    out, _ = ad.scan(lambda c, _: (c, None), start, length=0)
    start[:] = 5
    assert out.tolist() == [1.0, 1.0]
    assert ad.grad(lambda x: ad.scan(lambda c, _: (c * c, None), x, length=0)[0])(3.0) == 1.0


def test_a_scan_under_no_grad_records_nothing_and_runs_once():
    calls, w = [], Tensor(2.0, requires_grad=True)
    for how in WAYS:
        calls.clear()
        with ad.no_grad():
            out, ys = ad.scan(lambda c, x: (calls.append(1), (c * w + x, c))[1], 1.0, np.ones(4), **how)
        assert not out.requires_grad and not ys.requires_grad and len(calls) == 4


def test_the_random_numbers_of_a_checkpointed_scan_are_the_same_in_its_second_run():
    rng = np.random.default_rng(0)
    x = Tensor(draw(9, 50), requires_grad=True)
    drop = lambda c, x: (c + x * (rng.uniform(size=50) > 0.5), None)
    out, _ = ad.scan(drop, np.zeros(50), x, checkpoint=True, rng=rng)
    out.sum().backward()
    np.testing.assert_allclose((x.grad * x).sum(axis=0).numpy(), out.numpy(), rtol=1e-12, atol=1e-12)
    with pytest.raises(RuntimeError, match=r"drop.*rng="):
        drop.__name__ = "drop"
        ad.scan(drop, np.zeros(50), x, checkpoint=True)[0].sum().backward()


def peak(steps, how):
    w = Tensor(0.1 * draw(4), requires_grad=True)
    tracemalloc.start()
    with contextlib.closing(SimpleNamespace(close=tracemalloc.stop)):
        h, _ = ad.scan(lambda h, _: (np.sin(h * w[0]) + w[1] * h, None), np.ones(2000), length=steps, **how)
        h.sum().backward()
        return tracemalloc.get_traced_memory()[1]


def test_memory_grows_with_the_root_of_the_steps_where_they_are_computed_again():
    plain, kept = [[peak(n, how) for n in (64, 576)] for how in ({}, {"checkpoint": True})]
    assert plain[1] / plain[0] > 7  # nine times the steps
    assert kept[1] / kept[0] < 3.6  # three times the root
    assert kept[1] < plain[1] / 5


def test_steps_are_drawn_folded_in_pictures():
    w = Tensor(0.5, requires_grad=True, name="w")
    picture = ad.graph(ad.scan(lambda h, _: (np.tanh(h * w), None), 1.0, length=30)[0]).source
    assert "× · tanh ×30" in picture


BAD = [
    (lambda: ad.scan(3, 0.0, length=2), TypeError, "needs a function, not 3"),
    (lambda: ad.scan(lambda c, x: c, 0.0, length=2), TypeError, r"<lambda> must return a pair \(carry, y\).*not a Tensor"),
    (lambda: ad.scan(lambda c, x: (c, x, 1), 0.0, length=2), TypeError, "not a tuple of 3"),
    (lambda: ad.scan(lambda c, x: (c, x), 0.0), ValueError, "given as length="),
    (lambda: ad.scan(lambda c, x: (c, x), 0.0, length=-1), ValueError, "at least 0, not -1"),
    (lambda: ad.scan(lambda c, x: (c, x), 0.0, length=2.0), TypeError, "length is an integer, not 2.0"),
    (lambda: ad.scan(lambda c, x: (c, x), 0.0, np.ones(3), length=2), ValueError, "length is 2, but xs have 3 slices"),
    (lambda: ad.scan(lambda c, x: (c, x), 0.0, {"a": np.ones(3), "b": np.ones((2, 4))}), ValueError,
     r"xs\['b'\] has shape \(2, 4\), 2 steps, but xs\['a'\] 3"),
    (lambda: ad.scan(lambda c, x: (c, x), 0.0, [np.ones(3), 2.0]), ValueError, r"xs\[1\] has shape \(\)"),
    (lambda: ad.scan(lambda c, x: (c, x), 0.0, np.ones(3), reverse=1), TypeError, "reverse is True or False, not 1"),
    (lambda: ad.scan(lambda c, x: (c, x), 0.0, np.ones(3), checkpoint=0), ValueError, "checkpoint .* at least 1, not 0"),
    (lambda: ad.scan(lambda c, x: (c, x), 0.0, np.ones(3), checkpoint="yes"), TypeError, "an integer, not 'yes'"),
    (lambda: ad.scan(lambda c, x: ({"h": c["h"] * x}, None), {"h": np.ones(2)}, np.ones((3, 4, 1))), ValueError,
     r"step 0: carry\['h'\] has shape \(4, 2\), but it began with \(2,\)"),
    (lambda: ad.scan(lambda c, x: (c + x, None), 0, np.ones(3)), TypeError,
     "step 0: carry has dtype float64, but it began with int64; begin with float64"),
    (lambda: ad.scan(lambda c, x: ((c, c), None), 0.0, np.ones(3)), ValueError, "step 0: the carry: needs an array or"),
    (lambda: ad.scan(lambda c, x: (c[:1], None), [1.0, 2.0], np.ones(3)), ValueError, "step 0: the carry: needs a list of 2"),
    (lambda: ad.scan(lambda c, x: (c + 1, np.ones(int(c.item()))), 1.0, np.ones(3)), ValueError,
     r"step 1: y has shape \(2,\), but \(1,\) before"),
    (lambda: ad.scan(lambda c, x: (c + 1, None if c.item() else c), 0.0, np.ones(3)), ValueError, "step 1: y: needs an arr"),
    (lambda: ad.scan(lambda c, x: (c, x), "text", length=2), TypeError, "scan: carry: .* not 'text'"),
    (lambda: ad.cond("yes", np.sin, np.cos, 1.0), TypeError, "cond: pred is a boolean, not 'yes'; write a comparison"),
    (lambda: ad.cond(Tensor(1.0), np.sin, np.cos, 1.0), TypeError, "not of dtype float64; write a comparison"),
    (lambda: ad.cond(np.ones(2, bool), np.sin, np.cos, 1.0), ValueError, r"has shape \(2,\).*\.any\(\) or \.all\(\)"),
    (lambda: ad.cond(True, np.sin, None, 1.0), TypeError, "needs a function, not None"),
    (lambda: ad.while_loop(lambda x: x, lambda x: x, 1.0), TypeError, "condition <lambda> is a boolean, not of dtype flo"),
    (lambda: ad.while_loop(lambda x: x > 0, lambda x: x[None], 1.0), ValueError, r"step 0: state has shape \(1,\)"),
    (lambda: ad.while_loop(lambda x: x > 0, lambda x: x * 1.5, 1), TypeError, "step 0: state has dtype float64"),
    (lambda: ad.while_loop(lambda x: x > 0, lambda x: x, 1.0, max_steps=5), RuntimeError,
     "<lambda> still holds after max_steps=5 steps"),
    (lambda: ad.while_loop(lambda x: x > 0, lambda x: x, 1.0, max_steps=-5), ValueError, "at least 0, not -5"),
]  # fmt: skip


@pytest.mark.parametrize("call, error, match", BAD)
def test_what_is_wrong_with_a_loop_or_branch_is_said(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_only_the_branch_that_is_taken_runs_and_receives_a_gradient():
    calls = []
    f = lambda p: (calls.append("f"), {"y": np.sqrt(p["a"])})[1]
    g = lambda p: (calls.append("g"), {"y": p["b"] * 2})[1]
    a, b = Tensor(0.0, requires_grad=True), Tensor([1.0, 2.0], requires_grad=True)
    for pred in (False, np.False_, 0, Tensor(False), np.zeros((), bool), a > 1):
        calls.clear()
        y = ad.cond(pred, f, g, {"a": a, "b": b})["y"]
        assert calls == ["g"] and y.tolist() == [2.0, 4.0]
        da, db = ad.gradients(y.sum(), (a, b), allow_unused=True)
        assert da is None and db.tolist() == [2.0, 2.0]
    assert isinstance(ad.cond(True, lambda: 1.0, lambda: 2.0), Tensor)
    second = lambda x: ad.cond(x > 0, lambda x: x**4, np.sin, x)
    assert ad.grad(ad.grad(second))(2.0) == 48.0
    assert ad.hvp(second, -1.0, 1.0) == pytest.approx(np.sin(1.0), rel=1e-15)
    assert ad.jvp(second, 2.0, 1.0) == (16.0, 32.0)


def test_a_while_loop_is_differentiable_through_the_steps_it_took():
    """Newton's method for the Lambert function, against mpmath."""

    def lambert(z):
        step = lambda s: {
            "w": s["w"] - (s["w"] * np.exp(s["w"]) - z) / (np.exp(s["w"]) * (s["w"] + 1)),
            "n": s["n"] + 1,
        }
        far = lambda s: (np.abs(s["w"] * np.exp(s["w"]) - z) > 1e-9) | (s["n"] < 6)
        return ad.while_loop(far, step, {"w": 0.5, "n": 0}, max_steps=20)["w"]

    for z in (0.5, 3.0):
        for order, f in enumerate([lambda z: lambert(z).item(), ad.grad(lambert), ad.grad(ad.grad(lambert))]):
            assert f(z) == pytest.approx(float(mpmath.diff(mpmath.lambertw, z, order).real), rel=1e-9)
        assert ad.jvp(lambert, z, 1.0)[1] == pytest.approx(ad.grad(lambert)(z), rel=1e-12)
    unbounded = lambda x: ad.while_loop(lambda x: x < 100, lambda x: x * x, x)
    assert ad.grad(unbounded)(2.0) == 8 * 2.0**7
    assert ad.while_loop(lambda x: x < 0, lambda x: x, 3.0, max_steps=0).item() == 3.0
    out = ad.while_loop(lambda s: s[0] < 2, lambda s: (s[0] + 1, s[1] * 2), (0, Tensor(1.0, requires_grad=True)))
    assert out[0].item() == 2 and out[1].item() == 4.0 and out[1].requires_grad


def test_a_condition_is_not_recorded():
    seen = []
    x = Tensor(4.0, requires_grad=True)
    ad.while_loop(lambda s: (seen.append((s * s).requires_grad), s > 1)[1], lambda s: s / 2, x)
    assert seen == [False] * 3


def test_who_stages_programs_is_asked_first_and_may_decline():
    met = []

    class Stage:
        def scan(self, loop):
            carry, y = loop.step(loop.carry, [x[0] for x in loop.xs], 0)
            met.append((loop.length, loop.reverse, loop.segment, carry, y, loop.y_form.paths()))
            return NotImplemented

        def cond(self, pred, f, g, args):
            return "taken", pred, f(*args), g(*args)

        def while_loop(self, loop):
            met.append((loop.max_steps, loop.holds(loop.state), loop.step(loop.state, 0)[0].item()))
            return NotImplemented

    token = staging.set(Stage())
    try:
        assert ad.scan(lambda c, x: (c + x, {"d": c}), 0.0, np.ones(9), checkpoint=True)[0].item() == 9.0
        assert met.pop()[:3] == (9, False, 3)
        taken, pred, a, b = ad.cond("anything", np.sin, np.cos, 0.0)
        assert (taken, pred, a.item(), b.item()) == ("taken", "anything", 0.0, 1.0)
        assert ad.while_loop(lambda x: x > 1, lambda x: x - 1, 3.0, max_steps=4).item() == 1.0
        assert met == [(4, True, 2.0)]
    finally:
        staging.reset(token)

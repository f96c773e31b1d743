"""Checkpoints give the gradients of the plain function, in less memory."""

import gc
import tracemalloc

import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor, checkpoint


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def leaf(*shape, seed=0):
    return Tensor(draw(*shape, seed=seed), requires_grad=True)


def both(f, *tensors):
    """f and its checkpointed version, and the gradients of each."""
    results = []
    for run in (f, lambda *a: checkpoint(f, *a)):
        y = run(*tensors)
        results.append((y.numpy(), [g.numpy() for g in ad.gradients((y**2).sum(), tensors)]))
    return results


def test_values_and_gradients_are_those_of_the_plain_function():
    w = leaf(3, 2, seed=1)
    (y, plain), (z, again) = both(lambda x, w: np.tanh(x @ w) * np.exp(x.sum()), leaf(4, 3), w)
    np.testing.assert_array_equal(y, z)
    for a, b in zip(plain, again):
        np.testing.assert_allclose(a, b, rtol=1e-13)


def test_gradients_reach_what_the_function_closes_over_and_tensors_inside_its_arguments():
    w, b, x = leaf(3, 3), leaf(3, seed=1), leaf(2, 3, seed=2)
    layer = lambda p, *, shift: np.tanh(p["x"] @ w + p["list"][0]) + shift
    arguments = {"x": x, "list": [b], "note": "text"}
    y = checkpoint(layer, arguments, shift=1.0)
    assert y.op == "checkpoint" and set(map(id, y.inputs)) == {id(w), id(b), id(x)}
    y.sum().backward()
    plain = ad.gradients(layer(arguments, shift=1.0).sum(), (w, b, x))
    for t, d in zip((w, b, x), plain):
        np.testing.assert_allclose(t.grad.numpy(), d.numpy(), rtol=1e-13)


def test_an_input_that_was_computed_from_another_input_is_not_counted_twice():
    x = leaf(4)
    h = np.sin(x)
    y = checkpoint(lambda h: h * np.exp(h) * x, h)  # x directly and through h
    (found,) = ad.gradients(y.sum(), x)
    expected = ad.grad(lambda x: (np.sin(x) * np.exp(np.sin(x)) * x).sum())(x.numpy())
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-13)


def test_derivatives_of_every_order_are_those_of_the_plain_function():
    w = leaf(3, 3, seed=1)
    f = lambda x: np.tanh(x @ w) * x
    x, v = draw(3), draw(3, seed=2)
    plain, kept = (lambda x: (f(x) ** 2).sum()), (lambda x: (checkpoint(f, x) ** 2).sum())
    with ad.no_grad():
        np.testing.assert_allclose(ad.hvp(kept, x, v), ad.hvp(plain, x, v), rtol=1e-12)
        np.testing.assert_allclose(ad.jacobian(ad.hessian(kept))(x), ad.jacobian(ad.hessian(plain))(x), rtol=1e-11)
        assert ad.gradgradcheck(lambda x, w: checkpoint(lambda x: np.tanh(x @ w), x), (x, w))
    g = ad.gradients(ad.grad(kept)(x).sum(), w)[0]
    np.testing.assert_allclose(g.numpy(), ad.gradients(ad.grad(plain)(x).sum(), w)[0].numpy(), rtol=1e-12)


def test_checkpoints_nest():
    inner = lambda x: np.sin(x) * x
    outer = lambda x: checkpoint(inner, checkpoint(inner, x)) + x
    x = leaf(3)
    (found,) = ad.gradients(checkpoint(outer, x).sum(), x)
    expected = ad.grad(lambda x: (inner(inner(x)) + x).sum())(x.numpy())
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-13)


def test_nested_outputs_of_several_dtypes_come_back_in_their_form():
    x, y = leaf(2, 3), Tensor([1.0, 2.0], requires_grad=True, dtype=np.float32)
    constant = Tensor([7.0])
    f = lambda x, y: {"a": x * 2, "b": [y.sum(), None, (constant, x)], "c": x.argmax()}
    out = checkpoint(f, x, y)
    plain = f(x, y)
    assert out["b"][1] is None and out["b"][2][0] is constant and out["b"][2][1] is x
    assert out["c"].dtype == plain["c"].dtype and not out["c"].requires_grad
    assert out["a"].dtype == np.float64 and out["b"][0].dtype == np.float32 and out["b"][0].shape == ()
    assert out["a"].tolist() == plain["a"].tolist() and out["b"][0].item() == 3.0
    gx, gy = ad.gradients([(out["a"] * 3).sum(), out["b"][0] * 5], (x, y))
    assert gx.tolist() == np.full((2, 3), 6.0).tolist()
    assert gy.tolist() == [5.0, 5.0] and gy.dtype == np.float32


def test_the_function_runs_twice_with_gradients_and_once_without():
    calls = []
    f = lambda x: (calls.append(1), np.exp(x) * x)[1]
    x = leaf(3)
    y = checkpoint(f, x)
    assert len(calls) == 1
    a = leaf(3, seed=1)
    z = checkpoint(lambda x: f(x) * a, x)
    (z + y).sum().backward()
    assert len(calls) == 4  # one second run each, however many inputs
    calls.clear()
    with ad.no_grad():
        assert not checkpoint(f, x).requires_grad
    assert len(calls) == 1
    constant = checkpoint(f, Tensor([1.0]))
    assert not constant.requires_grad and constant.op is None


def test_random_numbers_are_the_same_in_both_runs_and_go_on_undisturbed():
    rng, other = np.random.default_rng(3), np.random.default_rng(4)
    dropout = lambda x: x * (rng.uniform(size=x.shape) > 0.5) * other.normal()
    x = leaf(50)
    y = checkpoint(dropout, x, rng=[rng, other])
    after = rng.bit_generator.state
    y.sum().backward()
    assert rng.bit_generator.state == after
    np.testing.assert_allclose(x.grad.numpy() * x.numpy(), y.numpy(), rtol=1e-14)


@pytest.mark.parametrize(
    "change, match",
    [
        (lambda state: state.update(factor=3.0), r"second run of .* gave .* at index \(0,\).*rng="),
        (lambda state: state.update(axis=0), "gave shape"),
        (lambda state: state.update(other=leaf(3)), r"used tensors \(of shape \(3,\)\) that the first run did not"),
    ],
)
def test_a_function_that_does_something_else_the_second_time_is_found_out(change, match):
    state = {"factor": 2.0, "axis": None, "other": None}

    def f(x):
        y = x * state["factor"] if state["other"] is None else x * state["factor"] + 0 * state["other"]
        return np.exp(y).sum(axis=0) if state["axis"] is not None else np.exp(y)

    y = checkpoint(f, leaf(3))
    change(state)
    with pytest.raises(RuntimeError, match=match):
        y.sum().backward()


def test_an_undeclared_random_generator_is_found_out():
    rng = np.random.default_rng(0)
    y = checkpoint(lambda x: x * rng.normal(), leaf(3))
    with pytest.raises(RuntimeError, match="random generators"):
        y.sum().backward()


def test_values_that_are_not_finite_are_the_same_when_they_are():
    x = Tensor([0.0, 1.0, -1.0], requires_grad=True)
    with np.errstate(all="ignore"):
        checkpoint(np.log, x).sum().backward()
    np.testing.assert_array_equal(x.grad.data, [np.inf, 1.0, np.nan])


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: checkpoint(3.0, leaf(2)), "needs a function"),
        (lambda: checkpoint(lambda x: 3.0, leaf(2)), "must return Tensors, not float"),
        (lambda: checkpoint(lambda x: (x * 2, "a"), leaf(2)), "must return Tensors, not str"),
        (lambda: checkpoint(np.sin, leaf(2), rng=5), "numpy.random.Generator"),
        (lambda: checkpoint(np.sin, leaf(2), rng=[np.random.default_rng(0), None]), "numpy.random.Generator"),
    ],
)
def test_bad_arguments_are_refused(call, match):
    with pytest.raises(TypeError, match=match):
        call()


def test_writing_a_parameter_before_the_backward_pass_is_an_error():
    w, x = leaf(3), leaf(3, seed=1)
    y = checkpoint(lambda x: np.exp(x * w), x)
    w.data -= 1.0
    with pytest.raises(RuntimeError, match="written or assigned"):
        y.sum().backward()


def test_a_freed_graph_lets_go_of_the_arguments_and_cannot_be_used_again():
    x = leaf(3)
    y = checkpoint(lambda x: np.exp(x), x)
    y.sum().backward(retain_graph=False)
    with pytest.raises(RuntimeError, match="gone"):
        y.sum().backward()


def test_hooks_run_once():
    seen = []
    x = leaf(3)
    h = x * 2
    h.register_hook(lambda g: seen.append("h"))
    x.register_hook(lambda g: seen.append("x"))
    checkpoint(lambda h: np.sin(h) * h, h).sum().backward()
    assert seen == ["h", "x"]


def test_the_backward_pass_may_run_under_no_grad():
    x = leaf(3)
    y = checkpoint(np.sin, x).sum()
    with ad.no_grad():
        y.backward()
    np.testing.assert_allclose(x.grad.numpy(), np.cos(x.numpy()))


def peak(run):
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1], tracemalloc.get_traced_memory()[0], gc.collect()
    finally:
        tracemalloc.stop()
        gc.enable()


def test_a_deep_chain_needs_the_memory_of_one_piece_and_the_boundaries():
    size, pieces, length = 20_000, 10, 10

    def piece(x):
        for _ in range(length):
            x = np.sin(x) * 1.01
        return x

    def chain(run):
        x = leaf(size)
        y = x
        for _ in range(pieces):
            y = run(piece, y)
        y.sum().backward()

    plain, _, _ = peak(lambda: chain(lambda f, x: f(x)))
    kept, left, cycles = peak(lambda: chain(checkpoint))
    arrays = 8 * size
    assert plain > 2 * pieces * length * arrays
    assert kept < (pieces + 2 * length + 8) * arrays, f"{kept / arrays:.0f} arrays"
    assert kept < 0.25 * plain and left < 10 * arrays and cycles == 0


@pytest.mark.parametrize("write", [lambda c: c.__setitem__(0, 9.0), lambda c: c.data.__setitem__(0, 9.0)])
@pytest.mark.parametrize("f", [lambda w, c: c * (w - 1), lambda w, c: c[:2] * (w - 1)[:2]])
def test_a_constant_written_since_is_an_error_though_the_values_are_the_same(f, write):
    w, c = Tensor(np.ones(3), requires_grad=True), Tensor([2.0, 3.0, 4.0])
    y = ad.checkpoint(lambda w: f(w, c), w).sum()
    y.backward()
    write(c)
    with pytest.raises(RuntimeError, match=r"shape \(3,\).* was written or assigned"):
        y.backward()

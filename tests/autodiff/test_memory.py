"""Memory: a graph is freed by reference counting alone, nothing grows over many steps, and a node stays small.

All of it with the garbage collector off: what only the collector could free counts as a leak here.
"""

import gc
import tracemalloc
import weakref
from itertools import pairwise

import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor

pytestmark = pytest.mark.usefixtures("no_collector")


def network(rng, sizes=(4, 5, 5, 2)):
    return [Tensor(rng.standard_normal(s), requires_grad=True) for n, m in pairwise(sizes) for s in ((n, m), (m,))]


def loss_of(parameters, x):
    for w, b in zip(parameters[::2], parameters[1::2]):
        x = np.tanh(x @ w + b)
    return (x**2).mean() + ad.logsumexp(x, axis=-1).sum() * 0.1


NOTHING = 8  # bytes a step: less than any object has, so not even one stays from each


def leak(step, steps=1000):
    """Bytes a step that stay allocated, over `steps` calls in windows, and not one object in a reference cycle.

    Between windows the collector runs once, to show that it finds nothing, and because it empties the lists of freed
    objects that Python keeps for later. NumPy's caches fill slowly, some steps here and some there, but what leaks from
    every step shows in every window: the window that grew least counts, and more are tried if all of them grew.
    """
    gc.collect()
    window, growths, cycles = steps // 4, [], 0
    tracemalloc.start()
    try:
        before = None
        while len(growths) < 4 or (min(growths) >= NOTHING and len(growths) < 20):
            for _ in range(window):
                step()
            cycles += gc.collect()
            now = tracemalloc.get_traced_memory()[0]
            if before is not None:  # the first window only warms up
                growths.append((now - before) / window)
            before = now
    finally:
        tracemalloc.stop()
    assert cycles == 0, f"only the collector could free {cycles} objects"
    return min(growths)


@pytest.mark.slow
def test_the_measure_sees_one_object_a_step():
    kept = []
    assert leak(lambda: kept.append(object()), steps=40) > NOTHING
    x = Tensor(1.0, requires_grad=True)

    def step():  # each .grad is made from the one before: the cycle that zero_grad() breaks, here left alone
        (x * x).backward(create_graph=True)

    assert leak(step, steps=40) > NOTHING
    x.zero_grad()

    def circle():
        lonely = []
        lonely.append(lonely)

    with pytest.raises(AssertionError, match="only the collector"):
        leak(circle, steps=40)


def test_a_graph_is_freed_when_its_last_output_goes(rng):
    x = Tensor(rng.standard_normal((3, 4)), requires_grad=True)
    parameters = network(rng)
    hidden = np.exp(x * 2)
    inner = weakref.ref(hidden)
    loss = loss_of(parameters, hidden)
    last = weakref.ref(loss)
    del hidden
    assert inner() is not None
    del loss
    assert last() is None and inner() is None


@pytest.mark.parametrize("retain_graph", [True, False])
def test_a_graph_is_freed_after_backward(rng, retain_graph):
    parameters = network(rng)
    x = Tensor(rng.standard_normal((3, 4)), requires_grad=True)
    hidden = np.sin(x)
    inner = weakref.ref(hidden)
    loss = loss_of(parameters, hidden)
    del hidden
    loss.backward(retain_graph=retain_graph)
    assert (inner() is None) is (not retain_graph)
    del loss
    assert inner() is None and all(p.grad is not None for p in parameters)


def test_the_graph_of_a_derivative_is_freed_with_its_last_name(rng):
    parameters = network(rng)
    x = Tensor(rng.standard_normal((3, 4)), requires_grad=True)
    loss = loss_of(parameters, x)
    gs = ad.gradients(loss, parameters, create_graph=True)
    hs = ad.gradients(sum((g * g).sum() for g in gs), parameters, create_graph=True)
    refs = [weakref.ref(t) for t in (loss, *gs, *hs)]
    del loss, gs, hs
    assert [r() for r in refs] == [None] * len(refs)


def test_hooks_and_retained_gradients_do_not_keep_a_graph(rng):
    x = Tensor(rng.standard_normal(3), requires_grad=True)
    y = np.exp(x)
    seen = []
    handle = y.register_hook(lambda g: seen.append(g.item(0)))
    y.retain_grad()
    loss = y.sum()
    loss.backward()
    ref = weakref.ref(y)
    del y, loss
    assert ref() is None and seen == [1.0]
    handle.remove()


def test_an_error_in_the_middle_leaves_nothing_behind(rng):
    x = Tensor(rng.standard_normal(3), requires_grad=True)
    y = np.exp(x)
    ref = weakref.ref(y)
    try:
        y @ np.ones(4)
    except ValueError:
        pass
    else:
        pytest.fail("the shapes do not fit")
    del y
    assert ref() is None


def test_the_one_cycle_goes_through_grad_of_create_graph_and_zero_grad_breaks_it(rng):
    x = Tensor(rng.standard_normal(3), requires_grad=True)
    y = np.exp(x)
    ref = weakref.ref(y)
    (y**2).sum().backward(create_graph=True)  # x.grad is made from y, which is made from x, which holds x.grad
    del y
    assert ref() is not None
    x.zero_grad()
    assert ref() is None


def test_the_same_cycle_is_found_by_the_collector_if_nobody_breaks_it(rng):
    x = Tensor(rng.standard_normal(3), requires_grad=True)
    loss = (np.exp(x) ** 2).sum()
    loss.backward(create_graph=True)
    ref = weakref.ref(x)
    del x, loss
    gc.collect()
    assert ref() is None


@pytest.mark.slow
def test_a_thousand_training_steps_leave_nothing(rng):
    parameters, x = network(rng), rng.standard_normal((8, 4))

    def step():
        for p in parameters:
            p.zero_grad()
        loss_of(parameters, x).backward()
        for p in parameters:
            p.data -= 0.01 * p.grad.data

    assert leak(step) < NOTHING


def test_a_thousand_training_steps_with_an_optimiser_leave_nothing(rng):
    nn, optim = pytest.importorskip("nn"), pytest.importorskip("optim")
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    x, target = rng.standard_normal((8, 4)).astype(np.float32), rng.integers(0, 3, 8)
    optimizer, criterion = optim.Adam(model.parameters(), lr=1e-3), nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad()
        criterion(model(x), target).backward()
        optimizer.step()

    assert leak(step) < NOTHING


@pytest.mark.slow
def test_a_thousand_hessian_vector_products_by_hvp_leave_nothing(rng):
    parameters = [p.data for p in network(rng)]
    x, v = rng.standard_normal((8, 4)), [rng.standard_normal(p.shape) for p in parameters]
    assert leak(lambda: ad.hvp(lambda ps: loss_of(ps, x), parameters, v)) < NOTHING


@pytest.mark.slow
def test_a_thousand_hessian_vector_products_by_double_backward_leave_nothing(rng):
    parameters, x = network(rng), rng.standard_normal((8, 4))
    v = [rng.standard_normal(p.shape) for p in parameters]

    def step():
        gs = ad.gradients(loss_of(parameters, x), parameters, create_graph=True)
        return ad.gradients(sum((g * d).sum() for g, d in zip(gs, v)), parameters)

    assert leak(step) < NOTHING


@pytest.mark.slow
def test_a_thousand_double_backwards_through_grad_leave_nothing_if_zeroed(rng):
    parameters, x = network(rng), rng.standard_normal((8, 4))

    def step():
        loss_of(parameters, x).backward(create_graph=True)
        slope = sum((p.grad**2).sum() for p in parameters)
        for p in parameters:
            p.zero_grad()
        slope.backward()
        for p in parameters:
            p.zero_grad()

    assert leak(step) < NOTHING


@pytest.mark.parametrize(
    "transform",
    [
        lambda f, x: ad.grad(f)(x),
        lambda f, x: ad.value_and_grad(f)(x),
        lambda f, x: ad.vjp(f, x)[1](1.0),
        lambda f, x: ad.jvp(f, x, x),
        lambda f, x: ad.hessian(f)(x),
        lambda f, x: ad.grad(lambda z: ad.grad(f)(z).sum())(x),
        lambda f, x: ad.checkpoint(f, Tensor(x, requires_grad=True)).backward(),
    ],
    ids=["grad", "value_and_grad", "vjp", "jvp", "hessian", "grad of grad", "checkpoint"],
)
@pytest.mark.slow
def test_transforms_leave_nothing(transform, rng):
    x = rng.standard_normal(4)
    assert leak(lambda: transform(lambda z: (np.sin(z) * z**2).sum(), x)) < NOTHING


def test_failed_operations_and_backward_passes_leave_nothing(rng):
    x = Tensor(rng.standard_normal(3), requires_grad=True)
    unused = Tensor(1.0, requires_grad=True)

    def step():
        y = np.exp(x) * x
        for attempt in (lambda: y + np.ones(5), y.backward, lambda: ad.gradients(y.sum(), unused)):
            try:
                attempt()
            except (ValueError, RuntimeError):
                pass

    assert leak(step) < NOTHING


def chain(length, x):
    y = x
    for _ in range(length):
        y = y + x
    return y


def check_bytes_per_node(length):
    x = Tensor(1.0, requires_grad=True)
    chain(100, x).backward()
    x.zero_grad()
    tracemalloc.start()
    try:
        start = tracemalloc.get_traced_memory()[0]
        y = chain(length, x)
        recorded = (tracemalloc.get_traced_memory()[0] - start) / length
        tracemalloc.reset_peak()
        y.backward()
        peak = (tracemalloc.get_traced_memory()[1] - start) / length
        assert x.grad.item() == length + 1
        del y
        left = (tracemalloc.get_traced_memory()[0] - start) / length
    finally:
        tracemalloc.stop()
    assert recorded <= 450, f"{recorded:.0f} bytes a node recorded"
    assert peak <= 600, f"{peak:.0f} bytes a node at the peak of backward"
    assert left * length < 200_000  # what Python keeps for later, however long the chain


def test_a_node_costs_at_most_450_bytes_recorded_and_600_at_the_peak_of_backward():
    check_bytes_per_node(100_000)


@pytest.mark.slow
def test_a_million_nodes_cost_no_more_each():
    check_bytes_per_node(1_000_000)


def test_the_engine_never_touches_the_collector(rng, monkeypatch):
    for name in ("collect", "disable", "enable", "freeze", "set_threshold"):
        monkeypatch.setattr(gc, name, lambda *a, name=name: pytest.fail(f"gc.{name} was called"))
    parameters, x = network(rng), rng.standard_normal((8, 4))
    loss_of(parameters, x).backward(retain_graph=False)
    ad.hvp(lambda p: loss_of(p, x), parameters, [p.data for p in parameters])
    y = chain(20_000, parameters[0])
    y.sum().backward(retain_graph=False)
    del y


def test_backward_keeps_no_second_copy_of_large_gradients():
    x = Tensor(np.ones(1_000_000), requires_grad=True)
    tracemalloc.start()
    try:
        y = (x * 2.0).sum()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        y.backward()
        assert tracemalloc.get_traced_memory()[0] - before < 1.1 * x.nbytes
        assert tracemalloc.get_traced_memory()[1] - before < 2.1 * x.nbytes
    finally:
        tracemalloc.stop()

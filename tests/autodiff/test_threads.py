"""Threads and async tasks: grad mode belongs to each, and backward passes that run together give the exact sum."""

import asyncio
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import autodiff as ad
import nn
import optim
from autodiff import Tensor

THREADS = 8


@pytest.fixture(autouse=True)
def frequent_switches():
    """Let Python change threads a thousand times more often than it does, so that races show."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def together(function, count=THREADS):
    """function(i) in `count` threads that start at the same moment; the results in order, errors raised here."""
    barrier = threading.Barrier(count)

    def run(i):
        barrier.wait()
        return function(i)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_grad_mode_of_one_thread_does_not_reach_another():
    x = Tensor(2.0, requires_grad=True)

    def work(i):
        seen = []
        for _ in range(200):
            if i % 2:
                with ad.no_grad():
                    seen.append((x * x).requires_grad or ad.is_grad_enabled())
                    with ad.enable_grad():
                        seen.append(not (x * x).requires_grad)
            seen.append(not (x * x).requires_grad)
        return any(seen)

    assert together(work) == [False] * THREADS
    assert ad.is_grad_enabled()


def test_a_new_thread_records_even_if_it_is_started_under_no_grad():
    with ad.no_grad():
        assert together(lambda i: ad.is_grad_enabled()) == [True] * THREADS


def test_async_tasks_have_a_grad_mode_each():
    x = Tensor(2.0, requires_grad=True)

    async def task(i):
        wrong = 0
        for _ in range(20):
            if i % 2:
                with ad.no_grad():
                    await asyncio.sleep(0)
                    wrong += (x * x).requires_grad
            else:
                await asyncio.sleep(0)
                wrong += not (x * x).requires_grad
        return wrong

    async def main():
        return await asyncio.gather(*(task(i) for i in range(THREADS)))

    assert asyncio.run(main()) == [0] * THREADS
    assert ad.is_grad_enabled()


def test_an_async_function_decorated_with_no_grad_is_under_it_also_after_awaiting():
    @ad.no_grad()
    async def quiet():
        before = ad.is_grad_enabled()
        await asyncio.sleep(0)
        return before, ad.is_grad_enabled()

    async def loud():
        await asyncio.sleep(0)
        return ad.is_grad_enabled(), ad.is_grad_enabled()

    async def main():
        return await asyncio.gather(quiet(), loud(), quiet(), loud())

    assert asyncio.run(main()) == [(False, False), (True, True)] * 2


def test_a_generator_decorated_with_no_grad_leaves_its_reader_alone():
    x = Tensor(2.0, requires_grad=True)

    @ad.no_grad()
    def squares():
        received = None
        try:
            while True:
                received = yield (x * x).requires_grad, ad.is_grad_enabled(), received
        except ValueError:
            yield ad.is_grad_enabled()
        return "done"

    reader = squares()
    assert next(reader) == (False, False, None)
    assert ad.is_grad_enabled() and (x * x).requires_grad
    assert reader.send(5) == (False, False, 5)
    with ad.no_grad(), ad.enable_grad():
        assert next(reader) == (False, False, None)
        assert ad.is_grad_enabled()
    assert reader.throw(ValueError) is False
    with pytest.raises(StopIteration) as stop:
        next(reader)
    assert stop.value.value == "done" and ad.is_grad_enabled()


def test_an_async_generator_decorated_with_no_grad_is_under_it():
    @ad.no_grad()
    async def ticks():
        for _ in range(3):
            yield ad.is_grad_enabled()
            await asyncio.sleep(0)

    async def main():
        seen = []
        async for value in ticks():
            seen.append((value, ad.is_grad_enabled()))
        return seen

    assert asyncio.run(main()) == [(False, True)] * 3


def test_closing_a_decorated_generator_early_runs_its_cleanup():
    closed = []

    @ad.no_grad()
    def items():
        try:
            yield 1
            yield 2
        finally:
            closed.append(ad.is_grad_enabled())

    reader = items()
    next(reader)
    reader.close()
    assert closed == [False] and ad.is_grad_enabled()


def test_a_decorated_function_runs_under_its_own_mode_in_every_thread():
    x = Tensor(2.0, requires_grad=True)

    @ad.no_grad()
    def quiet(depth):
        return (x * x).requires_grad or (depth > 0 and quiet(depth - 1))

    assert together(lambda i: any(quiet(3) or not (x * x).requires_grad for _ in range(200))) == [False] * THREADS


def test_one_context_object_can_be_entered_again_while_it_is_open():
    quiet = ad.no_grad()
    with quiet:
        with quiet:
            assert not ad.is_grad_enabled()
        assert not ad.is_grad_enabled()
    assert ad.is_grad_enabled()


def test_backward_passes_of_many_threads_into_one_leaf_give_the_exact_sum():
    w = Tensor(np.zeros(50), requires_grad=True)
    rounds = 100

    def work(i):
        for k in range(rounds):
            (w * float(i + 1) * np.full(50, float(k % 3 + 1))).sum().backward()

    together(work)
    # whole numbers: the sum is exact in any order
    expected = sum(i + 1 for i in range(THREADS)) * sum(k % 3 + 1 for k in range(rounds))
    np.testing.assert_array_equal(w.grad.data, np.full(50, float(expected)))


def test_backward_passes_of_many_threads_over_one_shared_graph_give_the_exact_sum():
    x = Tensor(np.arange(1.0, 6.0), requires_grad=True)
    y = x
    for _ in range(20):
        y = y + x * 2.0
    loss = (y * y).sum()
    x.zero_grad()
    together(lambda i: [loss.backward() for _ in range(25)])
    np.testing.assert_array_equal(x.grad.data, THREADS * 25 * 2 * 41.0**2 * x.data)


def test_gradients_of_many_threads_over_one_shared_graph_agree_at_every_order():
    x = Tensor(np.linspace(0.1, 1.0, 5), requires_grad=True)
    loss = (np.sin(x) * np.exp(x)).sum()

    def work(i):
        (g,) = ad.gradients(loss, x, create_graph=True)
        (h,) = ad.gradients(g.sum(), x)
        return np.concatenate([g.data, h.data])

    results = together(work)
    expected = np.concatenate([np.exp(x.data) * (np.sin(x.data) + np.cos(x.data)), 2 * np.exp(x.data) * np.cos(x.data)])
    for result in results:
        np.testing.assert_allclose(result, expected, rtol=1e-13)


def test_transforms_run_in_threads():
    f = lambda v: (v**3).sum()
    points = [np.full(3, i + 1.0) for i in range(THREADS)]
    for i, g in enumerate(together(lambda i: [ad.hvp(f, points[i], np.ones(3)) for _ in range(20)][-1])):
        np.testing.assert_array_equal(g, 6 * points[i])


def test_numbers_of_nodes_stay_in_order_when_threads_record_at_once():
    x = Tensor(1.0, requires_grad=True)

    def work(i):
        y = x
        for _ in range(500):
            y = y + x
        (g,) = ad.gradients(y, x)
        return g.item()

    assert together(work) == [501.0] * THREADS


FORKS = """
import os, sys, threading, time
import autodiff as ad

x = ad.Tensor([1.0] * 3000, requires_grad=True)
stop = False

def work():
    while not stop:
        (x * x).sum().backward()

sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads:
    t.start()
hung = 0
for _ in range(40):
    child = os.fork()
    if not child:
        y = ad.Tensor(3.0, requires_grad=True)
        (y * y).backward()
        os._exit(0 if y.grad.item() == 6.0 else 1)
    deadline = time.monotonic() + 10
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, status
            break
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            hung += 1
            break
        time.sleep(0.001)
    if hung:
        break
stop = True
for t in threads:
    t.join()
print("hung", hung)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_is_forked_while_other_threads_are_in_backward_goes_through_backward_itself():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "hung 0\n"), done.stderr


def test_eight_threads_that_train_networks_of_their_own_get_what_one_after_the_other_gets():
    def trained(i):
        rng = np.random.default_rng(i)
        model = nn.Sequential(
            nn.Conv2d(1, 3, 3, rng=rng), nn.GELU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2, rng=rng),
            nn.LayerNorm(27), nn.Linear(27, 4, rng=rng),
        )  # fmt: skip
        optimizer = optim.Adam(model.parameters(), lr=0.01)
        x, y = Tensor(rng.normal(size=(8, 1, 8, 8)).astype(np.float32)), rng.integers(0, 4, 8)
        for _ in range(5):
            optimizer.zero_grad()
            ad.cross_entropy(model(x), y).backward()
            optimizer.step()
        return [p.numpy().copy() for p in model.parameters()]

    for one, other in zip(map(trained, range(THREADS)), together(trained), strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)

"""Elementwise calls of large arrays run block by block in the NumPy program, and give what they give as they are."""

from __future__ import annotations

import re

import numpy as np
import pytest

import autodiff as ad
import nn
import optim
from autodiff.compiling import blocks

from .native.programs import agree, evaluated, random_program


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every array is, and every loop worth its while."""
    for name, value in {"LARGE": 1, "LONGEST": 64, "SHORTEST": 2, "WORTH": 0}.items():
        monkeypatch.setattr(blocks, name, value)


def loops(text: str) -> int:
    return len(re.findall(r"    for i\w* in range\(0, \d+, \d+\):", text))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(960,), (12, 80), (3, 4, 5, 16)])
def test_a_chain_with_its_sums_is_one_loop(large: None, dtype: type, shape: tuple[int, ...]) -> None:
    def f(x, y, a):
        z = np.tanh(x) * a + y
        return z / (1 + z * z), (z * z).sum(), np.max(x * 2), np.sqrt(z * z)

    x, y = np.random.default_rng(0).standard_normal((2, *shape)).astype(dtype)
    run, rtol = ad.compile(f), {"f": 1e-5, "d": 1e-13}[np.dtype(dtype).char]
    for given in (x, x * 2, np.asfortranarray(x)):
        for got, want in zip(run(given, y, dtype(0.7)), f(given, y, dtype(0.7)), strict=True):
            np.testing.assert_allclose(np.asarray(got), want, rtol, rtol)
    assert loops(run.source) == 1


@pytest.mark.parametrize("seeds", [range(40), pytest.param(range(40, 600), marks=pytest.mark.slow)])
def test_random_programs_give_what_their_calls_give(large: None, seeds: range) -> None:
    found = 0
    for seed in seeds:
        tape, outputs, exact = random_program(seed)
        program = tape.program(*outputs)
        found += len(blocks.blocked(program)[1])
        given = [np.array(x) for x in tape.arguments]
        for _ in range(2):
            for i, (got, x) in enumerate(zip(evaluated(program, *given), outputs, strict=True)):
                want = tape.values[id(x)]
                agree(got, want, {"f": 1e-5, "d": 1e-11}.get(want.dtype.char, 0), f"seed {seed}, output {i}, {exact}")
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(given, tape.arguments, strict=True))
    assert found > len(seeds) // 3


def test_a_training_step_and_what_it_draws_are_the_same(large: None) -> None:
    left = []
    for compiled in (False, True):
        nn.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Dropout(0.5), nn.Linear(8, 4), nn.Dropout(0.5))
        optimizer = optim.Adam(model.parameters(), lr=0.05)

        def step(x, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (model(x) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss.detach()

        run = ad.compile(step, params=model, optimizer=optimizer) if compiled else step
        x = np.random.default_rng(1).standard_normal((8, 6)).astype(np.float32)
        left.append([run(x).item() for _ in range(4)] + [p.numpy().copy() for p in model.parameters()])
    assert loops(run.source)
    for a, b in zip(*left, strict=True):
        np.testing.assert_allclose(b, a, 2e-4, 1e-6)


def test_what_stays_inside_of_a_loop_has_memory_for_one_block() -> None:
    def f(x):
        y = x
        for _ in range(10):
            y = np.sin(y) * 2
        return y.sum()

    x = np.linspace(-1, 1, 1 << 18)
    run = ad.compile(f)
    np.testing.assert_allclose(run(x).item(), f(x), 1e-12, 1e-9)
    assert loops(run.source) == 1
    size = re.search(r"memory = np\.empty\((\d+), np\.uint8\)", run.source)
    assert size is not None and int(size[1]) <= 2 * 8 * blocks.LONGEST + 64
    prime = np.linspace(-1, 1, 262147)  # of no length is a block whole
    assert run(prime).item() == f(prime) and loops(run.source) <= 1


def test_an_assumption_that_fails_in_one_block_is_seen(large: None) -> None:
    slope = ad.compile(ad.grad(lambda x: np.sqrt(x * x + np.abs(x)).sum()))
    x = np.linspace(1, 2, 640)
    for at in (None, 3, 639):
        x = x.copy()
        if at is not None:
            x[at] = 0
        with np.errstate(invalid="ignore", divide="ignore"):
            expected = ad.grad(lambda x: np.sqrt(x * x + np.abs(x)).sum())(x)
            np.testing.assert_allclose(np.asarray(slope(x)), np.asarray(expected), 1e-12)
    assert loops(slope.source)

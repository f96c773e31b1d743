"""ad.compile(backend="native") gives what the functions themselves give."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import autodiff as ad
import nn
import optim
from autodiff import Tensor


def network(seed: int) -> nn.Sequential:
    nn.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3))


def loss_of(model: nn.Sequential, x: np.ndarray, labels: np.ndarray) -> Tensor:
    return nn.functional.cross_entropy(model(Tensor(x)), labels)


def test_a_training_step_with_adam_leaves_the_parameters_that_the_eager_one_leaves() -> None:
    rng = np.random.default_rng(0)
    batches = [(rng.standard_normal((16, 5)), rng.integers(0, 3, 16)) for _ in range(6)]
    left = []
    for native in (False, True):
        model = network(1)
        optimizer = optim.Adam(model.parameters(), lr=0.05)

        def step(x: np.ndarray, labels: np.ndarray, model: nn.Sequential = model, optimizer: optim.Adam = optimizer):
            optimizer.zero_grad()
            loss = loss_of(model, x, labels)
            loss.backward()
            optimizer.step()
            return loss.detach()

        run = ad.compile(step, params=model, optimizer=optimizer, backend="native") if native else step
        losses = [run(x, labels).item() for x, labels in batches]
        left.append([losses, *(p.numpy() for p in model.parameters())])
        if native:
            assert "failed" not in run.explain() and "run as it is" not in run.explain()
    for a, b in zip(*left, strict=True):
        np.testing.assert_allclose(b, a, 1e-9, 1e-12)


def test_derivatives_are_those_of_the_function() -> None:
    def f(x):
        y = ad.tanh(x * 2) / (1 + x * x)
        return (ad.where(x > 0, y, ad.sin(x)) * ad.logsumexp(x, axis=1, keepdims=True)).sum()

    x = np.random.default_rng(2).standard_normal((7, 11))
    for transform in (ad.grad, ad.value_and_grad, lambda f: ad.grad(lambda x: (ad.grad(f)(x) ** 2).sum())):
        compiled = ad.compile(transform(f), backend="native")
        for scale in (1.0, 0.3):
            got, want = compiled(x * scale), transform(f)(x * scale)
            for a, b in zip(np.atleast_1d(*got) if isinstance(got, tuple) else [got],
                            np.atleast_1d(*want) if isinstance(want, tuple) else [want], strict=True):  # fmt: skip
                np.testing.assert_allclose(np.asarray(a), np.asarray(b), 1e-11, 1e-13)
        assert "failed" not in compiled.explain()


@pytest.mark.parametrize("strides", [(0, 8), (8, 0), (8, 8)])
def test_a_tensor_whose_elements_shared_memory_may_be_any_other_later(strides: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    shared = np.lib.stride_tricks.as_strided(rng.standard_normal(9), (3, 4), strides)
    t, x = Tensor(np.zeros(())), rng.standard_normal((3, 4))
    compiled = ad.compile(lambda x: np.exp(x) * t, backend="native")
    for array in (shared, rng.standard_normal((3, 4)), shared * 2, rng.standard_normal((4, 3)).T, shared):
        t.data = array
        np.testing.assert_allclose(compiled(x).data, np.exp(x) * array, 1e-13)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.ones(3),
        lambda x: np.zeros((2, 3)).T,
        lambda x: np.arange(6).reshape(2, 3)[1],
        lambda x: np.broadcast_to(np.arange(3.0), (2, 3)),
        lambda x: (np.ones(3), x * 2, None, "text", 2.0),
    ],
)
def test_a_result_that_is_the_same_at_every_call_is_the_callers_own(f) -> None:
    compiled = ad.compile(f, backend="native")
    for x in (np.arange(3.0), np.ones(3)):
        found, expected = compiled(x), f(x)
        found, expected = (v if isinstance(v, tuple) else (v,) for v in (found, expected))
        np.testing.assert_equal(found, expected)
        found[0][...] = 77


def test_without_llvmlite_the_native_backend_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from autodiff.machine.machine import llvm

    for name in [n for n in sys.modules if n.split(".")[0] == "llvmlite"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    llvm.cache_clear()
    with pytest.raises(ImportError, match=r"pip install 'autodiff\[compile\]'"):
        ad.compile(lambda x: x * 3.0 + 1.0, backend="native")(np.ones(3))

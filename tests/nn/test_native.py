"""Fused operations as machine code give what they give without, and what PyTorch gives in double precision."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autodiff as ad
import nn
import nn.functional as F
from autodiff import Tensor
from autodiff.machine import kernels

pytest.importorskip("llvmlite")

DTYPES = [np.float32, np.float64]
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-12}


def numbers(shape: Any, dtype: Any, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def batch_last(x: Any) -> Any:
    """The same array, with the first axis last in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0)


def derivatives(f: Callable[..., Any], arrays: list[Any]) -> list[Any]:
    """Value, gradient, the gradient recorded, and the gradient of its square, which is a Hessian-vector product."""

    def loss(x: list[Tensor]) -> tuple[Tensor, Tensor]:
        y = f(*x)
        return y, (y * y + y).sum()

    x = [Tensor(a, requires_grad=True) for a in arrays]
    y, total = loss(x)
    first = ad.gradients(total, x)
    recorded = ad.gradients(loss(x)[1], x, create_graph=True)
    second = ad.gradients(sum((d * d).sum() for d in recorded), x)
    return [t.numpy() for t in (y, *first, *recorded, *second)]


def with_and_without(f: Callable[..., Any], arrays: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways give the same, and the kernels did run."""
    found, runs = {}, []
    run = kernels.Kernel._run
    monkeypatch.setattr(kernels.Kernel, "_run", lambda *a: (runs.append(a[0]), run(*a))[1])
    for native in ("0", "1"):
        assert not runs
        monkeypatch.setenv("AUTODIFF_NATIVE", native)
        found[native] = derivatives(f, arrays)
    assert runs
    dtype = arrays[0].dtype.type
    for a, b in zip(found["1"], found["0"], strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        scale = np.abs(b).max() if b.size else 0
        np.testing.assert_allclose(a, b, rtol=TOLERANCE[dtype], atol=2 * TOLERANCE[dtype] * scale)


def shaped(*shapes: Any) -> Callable[[Any], list[Any]]:
    return lambda dtype: [numbers(s, dtype, k) for k, s in enumerate(shapes)]


def model(layer: Callable[[Any], Any]) -> Callable[..., Any]:
    """A layer as a function of its input, whose outputs are one vector."""

    def f(x: Tensor) -> Tensor:
        y, states = layer(x.dtype)(x)
        states = states if isinstance(states, tuple) else (states,)
        return ad.concatenate([y.reshape(-1), *[3 * s.reshape(-1) for s in states]])

    return f


def recurrent(kind: str, **options: Any) -> Callable[..., Any]:
    return model(lambda dtype: getattr(nn, kind)(5, 20, dtype=dtype, rng=np.random.default_rng(0), **options))


def cell(kind: str, **options: Any) -> Callable[..., Any]:
    """Three steps of a cell."""

    def f(x: Tensor) -> Tensor:
        layer = getattr(nn, kind)(6, 64, dtype=x.dtype, rng=np.random.default_rng(0), **options)
        state: Any = None
        for _ in range(3):
            state = layer(x, state)
        return ad.concatenate(list(state)) if isinstance(state, tuple) else state

    return f


def depthwise(**options: Any) -> Callable[..., Any]:
    return lambda x, w, b: (F.conv2d if x.ndim == 4 else F.conv1d)(x, w, b, groups=w.shape[0], **options)


CASES: dict[str, tuple[Callable[..., Any], Callable[[Any], list[Any]]]] = {
    "gelu": (F.gelu, shaped((70, 71))),
    "gelu, tanh": (lambda x: F.gelu(x, "tanh"), shaped((70, 71))),
    "silu": (F.silu, shaped((70, 71))),
    "mish": (F.mish, shaped((70, 71))),
    "mish of a view": (lambda x: F.mish(x[::2].T), shaped((170, 71))),
    "softmax": (lambda x: ad.softmax(x * 3), shaped((3, 40, 41))),
    "layer norm": (lambda x, w, b: F.layer_norm(x, (71,), w, b), shaped((5, 14, 71), 71, 71)),
    "layer norm over two axes": (lambda x, w: F.layer_norm(x, (10, 11)) * w, shaped((50, 10, 11), (50, 10, 11))),
    "layer norm far from 0": (lambda x, w, b: F.layer_norm(x + 64, (71,), w, b), shaped((70, 71), 71, 71)),
    "rms norm": (lambda x, w: F.rms_norm(x, (71,), w), shaped((70, 71), 71)),
    "attention": (F.scaled_dot_product_attention, shaped(*[(2, 3, 30, 8)] * 3)),
    "attention, causal": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), shaped(*[(2, 3, 30, 8)] * 3),
    ),
    "lstm": (recurrent("LSTM"), shaped((9, 32, 5))),
    "lstm without bias": (recurrent("LSTM", bias=False), shaped((9, 32, 5))),
    "gru": (recurrent("GRU"), shaped((9, 32, 5))),
    "gru without bias": (recurrent("GRU", bias=False), shaped((9, 32, 5))),
    "gru, update is new": (recurrent("GRU", update="new"), shaped((9, 32, 5))),
    "lstm cell": (cell("LSTMCell"), shaped((65, 6))),
    "gru cell": (cell("GRUCell"), shaped((65, 6))),
    "gru cell, update is new": (cell("GRUCell", update="new"), shaped((65, 6))),
    "depthwise": (depthwise(padding=1), shaped((4, 6, 20, 21), (6, 1, 3, 3), 6)),
    "depthwise, batch last": (
        depthwise(padding=(3, 2)), lambda dtype: [batch_last(numbers((4, 6, 20, 21), dtype)),
                                                  numbers((6, 1, 7, 5), dtype, 1), numbers(6, dtype, 2)],
    ),
    "depthwise, stride and dilation": (
        depthwise(stride=(2, 1), dilation=(2, 3), padding=2), shaped((4, 6, 20, 21), (6, 1, 3, 3), 6),
    ),
    "depthwise without padding": (depthwise(), shaped((3, 6, 20, 21), (6, 1, 4, 3), 6)),
    "depthwise over one axis": (depthwise(padding=2), shaped((4, 6, 201), (6, 1, 5), 6)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_with_machine_code_values_and_derivatives_of_both_orders_are_the_same(
    name: str, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    f, arrays = CASES[name]
    with_and_without(f, arrays(dtype), monkeypatch)


# Against PyTorch in double precision


def torch_cases(torch: Any) -> dict[str, Any]:
    functional = torch.nn.functional
    return {
        "gelu": functional.gelu,
        "gelu, tanh": lambda x: functional.gelu(x, approximate="tanh"),
        "silu": functional.silu,
        "mish": functional.mish,
        "softmax": lambda x: torch.softmax(x * 3, -1),
        "layer norm": lambda x, w, b: functional.layer_norm(x, (71,), w, b),
        "layer norm far from 0": lambda x, w, b: functional.layer_norm(x + 64, (71,), w, b),
        "rms norm": lambda x, w: functional.rms_norm(x, (71,), w),
        "attention, causal": lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, is_causal=True),
        "depthwise": lambda x, w, b: functional.conv2d(x, w, b, groups=6, padding=1),
        "depthwise, batch last": lambda x, w, b: functional.conv2d(x, w, b, groups=6, padding=(3, 2)),
        "depthwise, stride and dilation": lambda x, w, b: functional.conv2d(
            x, w, b, groups=6, stride=(2, 1), dilation=(2, 3), padding=2
        ),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [
    "gelu", "gelu, tanh", "silu", "mish", "softmax", "layer norm", "layer norm far from 0", "rms norm", "attention, causal",
    "depthwise", "depthwise, batch last", "depthwise, stride and dilation",
])  # fmt: skip
def test_machine_code_gives_what_pytorch_gives_in_double_precision(
    name: str, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("AUTODIFF_NATIVE", "1")
    f, arrays = CASES[name]
    given = arrays(dtype)
    found = derivatives(f, given)[: 1 + len(given)]
    x = [torch.tensor(np.ascontiguousarray(a, float), requires_grad=True) for a in given]
    y = torch_cases(torch)[name](*x)
    exact = [y, *torch.autograd.grad((y * y + y).sum(), x)]
    for a, b in zip(found, exact, strict=True):
        expected = b.detach().numpy()
        scale = np.abs(expected).max() * (20 if "far" in name else 1)  # the input has lost digits already
        np.testing.assert_allclose(a, expected, rtol=TOLERANCE[dtype], atol=2 * TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gelu_keeps_its_digits_in_the_tails(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    special = pytest.importorskip("scipy.special")
    monkeypatch.setenv("AUTODIFF_NATIVE", "1")
    x = np.linspace(-12.5, 12.5, 20_001).astype(dtype)
    wide = x.astype(float)
    t = Tensor(x, requires_grad=True)
    y = F.gelu(t)
    y.sum().backward()
    density = np.exp(-wide * wide / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(y.numpy(), wide * special.ndtr(wide), rtol=TOLERANCE[dtype])
    off = np.abs(t.grad.numpy() - (special.ndtr(wide) + wide * density))
    assert (off <= TOLERANCE[dtype] * (special.ndtr(wide) + np.abs(wide) * density)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("f", [F.gelu, lambda x: F.gelu(x, "tanh"), F.silu, F.mish])
def test_numbers_without_a_finite_value_are_what_they_are_without_machine_code(
    f: Any, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = np.finfo(dtype)
    ends = [
        0.0,
        -0.0,
        info.tiny,
        -info.tiny,
        info.smallest_subnormal,
        -info.smallest_subnormal,
        1e5,
        -1e5,
        info.max / 4,
    ]
    at = np.array([np.nan, np.inf, *ends, -info.max / 4], dtype)
    results = []
    for native in ("0", "1"):
        monkeypatch.setenv("AUTODIFF_NATIVE", native)
        x = Tensor(np.tile(at, 500), requires_grad=True)
        with np.errstate(all="ignore"):
            y = f(x)
            y.backward(np.ones_like(x.numpy()))
        results.append((y.numpy(), x.grad.numpy()))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=TOLERANCE[dtype], atol=info.smallest_subnormal)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_with_infinities_have_the_softmax_that_they_have_without_machine_code(
    dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = numbers((300, 37), dtype)
    x[0, 3], x[1, :], x[2, [4, 36]], x[3, 5], x[4, 1:] = np.inf, -np.inf, np.inf, np.nan, -np.inf
    q = k = np.eye(37, dtype=dtype)
    found = []
    for native in ("0", "1"):
        monkeypatch.setenv("AUTODIFF_NATIVE", native)
        t = Tensor(x, requires_grad=True)
        with np.errstate(all="ignore"):
            y = ad.softmax(t)
            (d,) = ad.gradients((y * y).sum(), t)
            rows = [0, 1, 2, 4, *range(5, 200)]
            mixed = F.scaled_dot_product_attention(np.zeros((len(rows), 37), dtype), k, q, Tensor(x[rows]))
        found.append([y.numpy(), d.numpy(), mixed.numpy()])
    assert (found[1][0][0, 3], found[1][0][4, 0]) == (1, 1) and (found[1][2][1] == 0).all()
    assert np.isnan(found[1][0][1]).all() and np.isnan(found[1][0][2]).sum() == 2
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_empty_and_small_arrays_stay_with_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTODIFF_NATIVE", "1")
    monkeypatch.setattr(kernels.Kernel, "_run", lambda *a: pytest.fail("a kernel ran"))
    for shape in [(), (3,), (0, 200), (10, 10)]:
        x = Tensor(np.ones(shape), requires_grad=True)
        for f in (F.gelu, F.silu, F.mish, ad.softmax):
            f(x).sum().backward()
    F.layer_norm(np.ones((0, 5000)), (5000,))
    F.conv2d(np.ones((0, 2, 50, 50)), np.ones((2, 1, 3, 3)), groups=2)


def test_half_precision_is_computed_in_single_and_rounded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x = numbers(6000, np.float16)
    results = []
    for native in ("0", "1"):
        monkeypatch.setenv("AUTODIFF_NATIVE", native)
        results.append(F.gelu(x))
    assert results[1].dtype == np.float16
    np.testing.assert_allclose(*[r.numpy().astype(float) for r in results], rtol=1e-3)


ROOT = Path(__file__).parents[2]
CODE = """
import sys
import numpy as np, autodiff, nn
assert not sys.modules.get("llvmlite"), "at import"
nn.functional.gelu(np.ones(10))
assert not sys.modules.get("llvmlite"), "for ten numbers"
print(nn.functional.gelu(np.ones(5000)).numpy()[0], "llvmlite.binding" in sys.modules)
"""


@pytest.mark.parametrize("native, there", [("1", "True"), ("0", "False")])
def test_llvmlite_is_imported_by_the_first_large_array_and_never_where_it_is_switched_off(
    native: str, there: str
) -> None:
    env = os.environ | {"AUTODIFF_NATIVE": native}
    run = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    value, loaded = run.stdout.split()
    assert abs(float(value) - 0.8413447460685429) < 1e-15 and loaded == there


def test_without_llvmlite_everything_is_numpys() -> None:
    code = 'import sys; sys.modules["llvmlite"] = None\n' + CODE
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.stdout.split()[1:] == ["False"], run.stderr

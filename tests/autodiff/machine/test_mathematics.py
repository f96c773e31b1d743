"""The functions of mathematics.py against mpmath, in units in the last place, over random bit patterns."""

from __future__ import annotations

import ctypes
import functools
import math

import mpmath
import numpy as np
import pytest

from autodiff.machine.ir import DTYPE, Builder, Module
from autodiff.machine.machine import Machine
from autodiff.machine.mathematics import FUNCTIONS

LANES = 8
EXACT = {
    "exp": mpmath.exp, "exp2": lambda x: mpmath.mpf(2) ** x, "expm1": mpmath.expm1, "log": mpmath.log,
    "log2": lambda x: mpmath.log(x, 2), "log1p": mpmath.log1p, "tanh": mpmath.tanh,
    "cosh": mpmath.cosh, "sinh": mpmath.sinh,
    "special.expit": lambda x: 1 / (1 + mpmath.exp(-x)), "special.erf": mpmath.erf, "special.erfc": mpmath.erfc,
    "special.ndtr": mpmath.ncdf, "sin": mpmath.sin, "cos": mpmath.cos,
}  # fmt: skip
BOUND = 4  # ulp, over few numbers; 5 over many: ndtr of float64 near 0 has 4.1


@functools.cache
def compiled(lanes: int):
    """All functions, called on `lanes` numbers at a time."""
    module = Module(256)
    for name, write in FUNCTIONS.items():
        for t in "fd":
            b = Builder(module, lanes)
            kind = b.type(t)
            y = b.function(name, t, write, b(f"load {kind}, ptr %x, align 4"))
            text = "\n".join([f'define void @"run.{name}.{t}"(ptr %x, ptr %y) #0 {{', *b.lines])
            module.functions[f"run.{name}.{t}"] = text + f"\n  store {kind} {y}, ptr %y, align 4\n  ret void\n}}"
    return Machine(module.text)


def evaluated(name: str, x: np.ndarray, lanes: int = LANES) -> np.ndarray:
    t = "f" if x.dtype == np.float32 else "d"
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(compiled(lanes).address(f"run.{name}.{t}"))
    padded = np.ones(-(-x.size // lanes) * lanes, x.dtype)
    padded[: x.size] = x
    y = np.empty_like(padded)
    for i in range(0, padded.size, lanes):
        call(padded.ctypes.data + i * x.itemsize, y.ctypes.data + i * x.itemsize)
    return y[: x.size]


def patterns(t: str, n: int, seed: int) -> np.ndarray:
    """Numbers of every kind: random bits (half of them huge or tiny), ordinary ones, near the ends of domains."""
    rng = np.random.default_rng(seed)
    quarters = rng.integers(1, 2**29, n) * (np.pi / 2)  # near which a sine or cosine is tiny
    dtype = DTYPE[t]
    raw = np.frombuffer(rng.bytes(n * dtype.itemsize), dtype)
    scale = {"f": 110, "d": 760}[t]
    ordinary = [
        rng.uniform(-scale, scale, n), rng.standard_normal(n), rng.uniform(-40, 40, n), rng.uniform(0.5, 2, n), quarters,
        rng.uniform(-1, 1, n) * 10.0 ** rng.uniform(-20, 0, n), np.exp2(rng.uniform(20, 90, n)),
    ]  # fmt: skip
    return np.concatenate([raw, *(x.astype(dtype) for x in ordinary)])


def ulps(name: str, x: np.ndarray) -> np.ndarray:
    """How far a result is from the exact one, in distances of neighbouring numbers there; 0 where both are the same
    infinity or NaN."""
    y = evaluated(name, x)
    info = np.finfo(x.dtype)
    out = np.empty(x.size)
    with mpmath.workprec(200):
        for i, (a, b) in enumerate(zip(x.tolist(), y.tolist())):
            out[i] = distance(name, a, b, info)
    return out


def distance(name: str, a: float, b: float, info: np.finfo) -> float:
    if math.isnan(a) or (name.startswith("log") and a < (-1 if name == "log1p" else 0)):
        return 0 if math.isnan(b) else math.inf
    if math.isinf(a):
        expected = LIMITS[name][a < 0]
        return 0 if (expected == b or (expected != expected and b != b)) else math.inf
    if (a == 0 and name in ("log", "log2")) or (a == -1 and name == "log1p"):
        return 0 if b == -math.inf else math.inf
    if math.isnan(b):
        return math.inf
    if abs(a) > 1100 and name in LEVEL:
        return 0 if b == LIMITS[name][a < 0] else math.inf
    exact = EXACT[name](mpmath.mpf(a))
    if math.isinf(b):
        return 0 if abs(exact) > mpmath.mpf(float(info.max)) and b * float(mpmath.sign(exact)) > 0 else math.inf
    if exact == 0:
        return 0 if b == 0 else math.inf
    unit = mpmath.mpf(2) ** max(int(mpmath.floor(mpmath.log(abs(exact), 2))) - info.nmant, info.minexp - info.nmant)
    return float(abs(exact - b) / unit)


LIMITS = {
    "exp": (math.inf, 0), "exp2": (math.inf, 0), "expm1": (math.inf, -1), "log": (math.inf, math.nan),
    "log2": (math.inf, math.nan), "log1p": (math.inf, math.nan), "tanh": (1, -1),
    "cosh": (math.inf, math.inf), "sinh": (math.inf, -math.inf), "special.expit": (1, 0),
    "special.erf": (1, -1), "special.erfc": (0, 2), "special.ndtr": (1, 0), "sin": (math.nan, math.nan),
    "cos": (math.nan, math.nan),
}  # fmt: skip
LEVEL = set(LIMITS) - {"log", "log2", "log1p", "sin", "cos"}
"""Far out these are their limits, and mpmath slow."""


def corners(t: str) -> np.ndarray:
    info = np.finfo(DTYPE[t])
    positive = [
        0,
        info.smallest_subnormal,
        info.tiny,
        info.eps,
        1,
        np.pi / 2,
        np.pi,
        2**30,
        1e5,
        88.72,
        709.78,
        info.max,
        np.inf,
    ]
    return np.array([*positive, *(-np.array(positive)), np.nan], DTYPE[t])


@pytest.mark.parametrize("t", "fd")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_right_to_a_few_units_in_the_last_place(name: str, t: str) -> None:
    x = np.concatenate([corners(t), patterns(t, 60, 0)])
    found = ulps(name, x)
    assert found.max() <= BOUND, (name, t, x[found.argmax()], found.max())


@pytest.mark.slow
@pytest.mark.parametrize("t", "fd")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_right_to_a_few_units_over_dense_patterns(name: str, t: str) -> None:
    x = patterns(t, 4000, 1)
    found = ulps(name, x)
    assert found.max() <= BOUND + 1, (name, t, x[found.argmax()], found.max())


@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh", "sinh", "special.erf", "sin"])
def test_an_odd_function_keeps_the_sign_of_zero(name: str) -> None:
    for t in "fd":
        zeros = np.array([0.0, -0.0], DTYPE[t])
        assert (np.signbit(evaluated(name, zeros)) == [False, True]).all()


def test_a_result_does_not_depend_on_the_width_of_the_vectors() -> None:
    x = np.concatenate([corners("d"), patterns("d", 50, 2)])
    for name in FUNCTIONS:
        np.testing.assert_array_equal(evaluated(name, x, 1), evaluated(name, x, 8))

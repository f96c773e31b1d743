"""Transforms, checkpoints and clipping on an array type that is not NumPy's."""

from __future__ import annotations

import math

import numpy as np
import pytest

import autodiff as ad
from autodiff.clipping import clip_grad_norm_, clip_grad_value_
from autodiff.tensor import variable, wrap
from tests.stand_in import StandIn, watching

RNG = np.random.default_rng(0)
X, V, A = RNG.normal(size=4), RNG.normal(size=4), RNG.normal(size=(3, 3))
W, T = ([RNG.normal(size=s) for s in ((4, 5), (5, 2))] for _ in range(2))
INPUT = RNG.normal(size=(6, 4))


def total(x):
    return (np.tanh(x) * x).sum()


def curve(x):
    return np.tanh(x * 2)


def pulled(kind):
    y, pullback = ad.vjp(curve, kind(X))
    return y, pullback(kind(V))


def backward(kind, function=total, times=1):
    x = variable(kind(X))
    for _ in range(times):
        function(x).backward()
    return x


def hooked(kind):
    x = variable(kind(X))
    y = x * 2
    y.register_hook(lambda g: g * 3)
    y.retain_grad()
    total(y).backward()
    return x.grad, y.grad


def clipped(kind, limit=0.1, p=2.0):
    x, y = backward(kind), backward(kind, lambda x: (x**3).sum())
    norm = clip_grad_norm_([x, y], limit, p)
    return norm, x.grad, y.grad


def clipped_complex(kind):
    z = variable(kind(X * (1 - 2j)))
    (z * z.conj()).real.sum().backward()
    return clip_grad_norm_([z], 0.1), z.grad


def limited(kind):
    x = backward(kind)
    clip_grad_value_(x, 0.1)
    return x.grad


CASES = {
    "grad": lambda kind: ad.grad(total)(kind(X)),
    "value_and_grad": lambda kind: ad.value_and_grad(total)(kind(X)),
    "grad of grad": lambda kind: ad.grad(lambda x: ad.grad(total)(x).sum())(kind(X)),
    "elementwise_grad": lambda kind: ad.elementwise_grad(curve)(kind(X)),
    "vjp": pulled,
    "jvp": lambda kind: ad.jvp(curve, kind(X), kind(V)),
    "jvp of a sort": lambda kind: ad.jvp(np.sort, kind(X), kind(V)),
    "jacobian": lambda kind: ad.jacobian(curve)(kind(X)),
    "jacobian of nothing": lambda kind: ad.jacobian(lambda x: x.detach())(kind(X)),
    "hessian": lambda kind: ad.hessian(total)(kind(X)),
    "hvp": lambda kind: ad.hvp(
        lambda a, b: ((np.tanh(wrap(kind(INPUT)) @ a) @ b) ** 2).mean(), tuple(map(kind, W)), tuple(map(kind, T))
    ),
    "gauss_newton_vp": lambda kind: ad.gauss_newton_vp(curve, total, kind(X), kind(V)),
    "checkpoint": lambda kind: ad.grad(lambda x: ad.checkpoint(curve, x).sum())(kind(X)),
    "scan": lambda kind: ad.grad(lambda x: ad.scan(lambda c, v: (c * 0.5 + v, c), x[0], x)[0])(kind(X)),
    "accumulated": lambda kind: backward(kind, times=2).grad,
    "hooks": hooked,
    "clipped norm": clipped,
    "clipped norm of complex numbers": clipped_complex,
    "norm below its limit": lambda kind: clipped(kind, 1e3),
    "largest value": lambda kind: clipped(kind, 0.1, math.inf),
    "clipped values": limited,
    "norms": lambda kind: ad.grad(lambda x: ad.linalg.norm(x) * np.std(x) * np.prod(x))(kind(X)),
    "systems": lambda kind: ad.grad(lambda a: ad.linalg.inv(a @ a.T + a).sum())(kind(A)),
}


def flat(results):
    if isinstance(results, (tuple, list)):
        return [y for r in results for y in flat(r)]
    return [getattr(results, "_ndarray", results)]


@pytest.mark.parametrize("name", CASES)
def test_a_transform_gives_the_same_on_another_array_type(name):
    expected = flat(CASES[name](np.array))
    with watching() as log:
        found = flat(CASES[name](StandIn))
    assert log.conversions == 0
    for a, b in zip(expected, found, strict=True):
        assert type(b) is StandIn
        np.testing.assert_allclose(b.value, a, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("size", [1e200, 1e-200, 0.0, np.inf, np.nan])
def test_a_norm_beyond_the_range_of_squares_clips_as_numpy_s_does(size):
    results = []
    for kind in (np.array, StandIn):
        x = variable(kind(X))
        x.grad = wrap(kind(X * size))
        with np.errstate(invalid="ignore"):
            results.append(flat([clip_grad_norm_(x, 0.5), x.grad]))
    (norm, clipped), (of_stand_in, also) = results
    np.testing.assert_allclose(of_stand_in.value, norm, rtol=1e-12)
    np.testing.assert_allclose(also.value, clipped, rtol=1e-12)


def test_a_norm_that_is_not_finite_is_refused_on_demand():
    x = variable(StandIn(X))
    x.grad = wrap(StandIn(X * np.inf))
    with pytest.raises(RuntimeError, match="the norm of order 2 is"):
        clip_grad_norm_(x, 0.5, error_if_nonfinite=True)


def test_a_checkpoint_that_does_something_else_is_found_out():
    scale = iter([1.0, 2.0])
    x = variable(StandIn(X))
    y = ad.checkpoint(lambda x: x * next(scale), x)
    with pytest.raises(RuntimeError, match=r"checkpoint: the second run .* gave other values"):
        y.sum().backward()

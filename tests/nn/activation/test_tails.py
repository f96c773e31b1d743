"""Activations and losses on logits keep the digits of their derivatives far out, against mpmath; in half precision they
keep its dtype and are rounded once."""

import functools
import math

import numpy as np
import pytest

import autodiff as ad
import nn
import nn.functional as F
from autodiff import Tensor

mp = pytest.importorskip("mpmath")

DIGITS = 420
TOLERANCE = {np.float64: 1e-12, np.float32: 1e-5}
SIZES = [1e-20, 1e-3, 0.1, 0.5, 1.0, 1.5, 2.5, 3.2, 4.5, 8.5, 12.0, 16.0, 19.5, 20.5, 33.0, 43.0, 60.0, 86.0, 120.0]
NUMBERS = [-x for x in SIZES] + SIZES + [-50.0, -300.0, 300.0]
NEAR = [x for x in NUMBERS if abs(x) < 21]
SCALE, ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def sigmoid(x):
    return 1 / (1 + mp.exp(-x))


def softplus(x):
    return mp.log1p(mp.exp(x))


def elu(x, alpha=1, scale=1, rate=1):
    return scale * (x if x > 0 else alpha * mp.expm1(rate * x))


def ones(x):
    return np.ones(x.shape, x.dtype)


CASES = {
    "sigmoid": (F.sigmoid, sigmoid, NUMBERS),
    "tanh": (F.tanh, lambda x: mp.tanh(x), NUMBERS),
    "logsigmoid": (F.logsigmoid, lambda x: -softplus(-x), NUMBERS),
    "softplus": (F.softplus, lambda x: x if x > 20 else softplus(x), NUMBERS),
    "softplus, beta": (lambda x: F.softplus(x, 0.5, 1e9), lambda x: softplus(x / 2) * 2, NUMBERS),
    "softsign": (F.softsign, lambda x: x / (1 + abs(x)), [*NUMBERS, 1e30, -1e9]),
    "elu": (F.elu, elu, NUMBERS),
    "celu": (lambda x: F.celu(x, 2.0), lambda x: elu(x, 2, 1, mp.mpf(0.5)), NUMBERS),
    "selu": (F.selu, lambda x: elu(x, mp.mpf(ALPHA), mp.mpf(SCALE)), NUMBERS),
    "silu": (F.silu, lambda x: x * sigmoid(x), NUMBERS),
    "mish": (F.mish, lambda x: x * mp.tanh(softplus(x)), NUMBERS),
    "gelu": (F.gelu, lambda x: x * mp.ncdf(x), NEAR),
    "gelu, tanh": (
        lambda x: F.gelu(x, "tanh"),
        lambda x: x * sigmoid(2 * mp.sqrt(2 / mp.pi) * (x + mp.mpf(0.044715) * x**3)),
        [x for x in NUMBERS if abs(x) < 12],
    ),
    "glu": (lambda x: F.glu(np.stack([ones(x), x]), 0)[0], sigmoid, [x for x in NUMBERS if abs(x) > 0.01]),
    "sine": (lambda x: F.sine(x, 2.0), lambda x: mp.sin(2 * x), NEAR),
    "snake": (lambda x: F.snake(x, 2.0), lambda x: x + mp.sin(2 * x) ** 2 / 2, NEAR),
    "cross_entropy": (
        lambda x: F.cross_entropy(np.stack([x, 0 * x], 1), np.zeros(x.shape, int), reduction="none"),
        lambda x: softplus(-x),
        NUMBERS,
    ),
    "binary_cross_entropy_with_logits": (
        lambda x: F.binary_cross_entropy_with_logits(x, ones(x), reduction="none"), lambda x: softplus(-x), NUMBERS,
    ),
    "soft_margin_loss": (lambda x: F.soft_margin_loss(x, ones(x), reduction="none"), lambda x: softplus(-x), NUMBERS),
    "focal_loss": (
        lambda x: F.focal_loss(x, ones(x), 1.0, reduction="none"), lambda x: softplus(-x) * sigmoid(-x) ** 2, NUMBERS,
    ),
}  # fmt: skip


@functools.cache
def truth(name, x, order):
    with mp.workdps(DIGITS):
        return mp.diff(CASES[name][1], mp.mpf(x), order, relative=True)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CASES)
def test_first_and_second_derivatives_keep_their_digits_over_the_whole_range(name, dtype):
    function, _, points = CASES[name]
    limits = np.finfo(dtype)
    x = Tensor(np.array(points, dtype), requires_grad=True)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        (first,) = ad.gradients(function(x).sum(), x, create_graph=True)
        (plain,) = ad.gradients(function(x).sum(), x)
        (second,) = ad.gradients(first.sum(), x)
    for order, found in ((1, first), (1, plain), (2, second)):
        for at, value in zip(x.tolist(), found.tolist()):
            expected = truth(name, at, order)
            if limits.tiny <= abs(expected) <= limits.max:
                off = abs((mp.mpf(value) - expected) / expected)
                assert off < TOLERANCE[dtype], (
                    f"{name}: derivative of order {order} at {at} is {value}, not {mp.nstr(expected, 17)}"
                )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["silu", "mish"])
@pytest.mark.parametrize("native", ["0", "1"])
def test_large_arrays_keep_their_digits_too_block_by_block_and_as_machine_code(name, dtype, native, monkeypatch):
    monkeypatch.setenv("AUTODIFF_NATIVE", native)
    function, formula, _ = CASES[name]
    limits, points = np.finfo(dtype), np.array([*NUMBERS, -88.0, -90.0, -709.5, 21.0, 30.0], dtype)
    for first in (slice(None), slice(8, 30)):  # with and without points so far out that the whole block is affected
        at = np.tile(points[first], 40_000 // len(points[first]))  # more than one block
        x = Tensor(at.reshape(-1, 2).T, requires_grad=True)
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            y = function(x)
            (d,) = ad.gradients((y * 0.5).sum(), x)
        y, d = np.array(y.data.T.reshape(-1)), 2 * d.data.T.reshape(-1)
        for found, order in ((y, 0), (d, 1)):
            np.testing.assert_array_equal(found, np.tile(found[: len(points[first])], len(at) // len(points[first])))
        for p, value, slope in zip(points[first].tolist(), y.tolist(), d.tolist()):
            for found, expected in ((value, formula(mp.mpf(p))), (slope, truth(name, p, 1))):
                if limits.tiny <= abs(expected) <= limits.max:
                    assert abs((mp.mpf(found) - expected) / expected) < (1e-14 if dtype is np.float64 else 1e-5), p


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("f", [F.silu, F.mish])
@pytest.mark.parametrize("native", ["0", "1"])
def test_large_arrays_give_what_small_ones_give_where_nothing_is_finite(f, dtype, native, monkeypatch):
    monkeypatch.setenv("AUTODIFF_NATIVE", native)
    with np.errstate(all="ignore"):
        for x in (np.nan, np.inf, -np.inf, 0.0, -0.0, np.finfo(dtype).max / 4, -np.finfo(dtype).max / 4):
            found = []
            for shape in ((), (20_000,)):
                t = Tensor(np.full(shape, x, dtype), requires_grad=True)
                y = f(t)
                (g,) = ad.gradients(y.sum(), t)
                found.append((y.numpy().flat[0], g.numpy().flat[0]))
            np.testing.assert_allclose(*found, rtol=4 * np.finfo(dtype).eps)
            assert np.isnan(x) or np.signbit(found[0][0]) == np.signbit(found[1][0])


PIECEWISE = {
    "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "PReLU", "ReLU", "ReLU6", "Sign", "Softshrink",
    "Step", "TriangleWave",
}  # fmt: skip
OVER_AXES = {"LogSoftmax", "Softmax", "Softmin"}


def test_no_smooth_activation_is_left_out():
    smooth = {name for name in nn.activation.__all__ if name[0].isupper()} - PIECEWISE - OVER_AXES
    assert {name.lower() for name in smooth} <= CASES.keys()


EXTREMES = [-60000.0, -300.0, -256.0, -20.0, -8.0, -4.0, -1.0, -1e-3, 0.0, 0.5, 3.0, 10.0, 256.0, 300.0, 60000.0]


@pytest.mark.parametrize(
    "f",
    [F.hardswish, F.mish, F.snake, lambda x: F.snake(x, 3.0), F.gelu, lambda x: F.gelu(x, "tanh"), F.silu, F.softplus,
     F.elu, F.selu, F.celu, F.logsigmoid, F.softsign, F.tanh, F.sigmoid, F.sine, lambda x: F.triangle_wave(x, 3.0),
     F.hardsigmoid, lambda x: F.layer_norm(x, x.shape), lambda x: F.rms_norm(x, x.shape), lambda x: F.softmin(x, 0)],
)  # fmt: skip
def test_in_half_precision_values_and_gradients_are_those_of_double_precision_rounded(f):
    x = np.array(EXTREMES, np.float16)
    found = []
    for dtype in (np.float16, np.float64):
        t = Tensor(x.astype(dtype), requires_grad=True)
        y = f(t)
        (g,) = ad.gradients(y.sum(), t)
        assert y.dtype == g.dtype == dtype
        found.append((y.data, g.data))
    for half, double in zip(*found):
        np.testing.assert_allclose(half.astype(float), double, rtol=3 * 2.0**-10, atol=4e-3 if f is F.sine else 1e-3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "f, slopes", [(F.hardswish, (0, 1)), (lambda x: F.gelu(x, "tanh"), (0, 1)), (F.gelu, (0, 1)), (F.mish, (0, 1)),
                  (F.silu, (0, 1)), (F.selu, (0, SCALE)), (F.softsign, (0, 0)), (F.softplus, (0, 1))],
)  # fmt: skip
def test_at_the_ends_of_the_range_the_slopes_are_the_limits(f, slopes, dtype):
    most = float(np.finfo(dtype).max) / 4
    x = Tensor(np.array([-most, most], dtype), requires_grad=True)
    with np.errstate(all="ignore"):
        y = f(x)
        (g,) = ad.gradients(y.sum(), x, create_graph=True)
        (h,) = ad.gradients(g.sum(), x)
    assert np.isfinite(y.data).all()
    np.testing.assert_allclose(g.data, slopes, rtol=1e-6)
    np.testing.assert_array_equal(h.data, [0, 0])


LONG = 70_000


@pytest.mark.parametrize(
    "f",
    [
        lambda x: F.mse_loss(x, 0 * x.detach()),
        lambda x: F.mse_loss(x, 0 * x.detach(), weight=np.ones(LONG)),
        lambda x: F.l1_loss(x, 0 * x.detach()),
        lambda x: F.cross_entropy(x, 5),
        lambda x: F.cross_entropy(np.stack([x, -x], 1), np.arange(LONG) % 2, ignore_index=0),
        lambda x: F.nll_loss(np.stack([x, -x], 1), np.arange(LONG) % 2, weight=[1.0, 2.0]),
        lambda x: F.kl_div(x.reshape(-1, 1), np.ones((LONG, 1), np.float16), reduction="batchmean"),
        lambda x: F.dice_loss(x, np.ones(LONG)),
        lambda x: F.iou_loss(x, np.ones(LONG)),
        lambda x: F.cosine_embedding_loss(x, ad.Tensor(np.linspace(0, 2, LONG).astype(x.dtype)), 1),
        lambda x: F.layer_norm(x, (LONG,))[7],
        lambda x: F.rms_norm(x, (LONG,))[7],
    ],
)
def test_losses_and_norms_of_long_rows_in_half_precision_are_those_of_double_precision(f):
    x = (np.random.default_rng(0).integers(4, 9, LONG) / 8).astype(np.float16)
    found = []
    for dtype in (np.float16, np.float64):
        t = Tensor(x.astype(dtype), requires_grad=True)
        y = f(t)
        (g,) = ad.gradients(y, t)
        assert y.dtype == g.dtype == dtype
        found.append((float(y.data), g.data.astype(float)))
    assert math.isclose(found[0][0], found[1][0], rel_tol=4e-3, abs_tol=1e-3)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=8e-3, atol=2.0**-22)

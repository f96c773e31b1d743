"""Half precision: every operation gives the value and gradient of double precision at the same inputs, rounded."""

import dataclasses
import zlib

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff import Tensor
from autodiff.primitive import REGISTRY
from autodiff.transforms.functional import vjp
from autodiff.transforms.tree import flatten
from tests.autodiff.ops.test_primitives import function_of

EPS, TINY = 2.0**-10, 2.0**-24  # the step of half precision below 1, and the least number it has
ROUNDINGS = 4

LOOSER = {
    "rnn_tanh": 40, "rnn_tanh_pullback": 40, "lstm_pullback": 12, "gru_pullback": 12, "gru_new_pullback": 12, "owens_t": 8,
    "lstm_cell_pullback": 80,
}  # fmt: skip
"""A state or gate near 1 is kept in half precision, and the slope is taken from it, 1 − h² or z (1 − z)."""

WIDER = {
    "expn", "hyp0f1", "hyp1f1", "hyp2f1", "iv", "ive", "ive_derivative", "jv", "kv", "yn", "yv", "zeta", "solve_banded", "solve_sylvester",
}  # fmt: skip
"""SciPy computes them in single or double precision, and that is what their values are in."""

REFUSED = {"lfilter", "lu_square"}
"""SciPy takes no half precision, and says so."""

WIDENED = {"batch_norm", "batch_norm_inference", "group_norm", "layer_norm", "rms_norm", "normalization_pullback"}
"""Norms take half precision into single before they come to their operations: see test_a_norm_… below."""

LAPACK = {
    "cholesky", "cofactor", "det", "dyads", "eigh", "eigvalsh", "inv", "pinv", "projectors", "qr", "slogdet", "solve",
    "svd", "svdvals",
}  # fmt: skip
"""NumPy has none of them in half precision, and says so."""


def rounded(sample, dtype):
    """The sample with all its floating values rounded to half precision, in a dtype."""
    cast = lambda v: v.astype(np.float16).astype(dtype) if getattr(v, "dtype", None) == np.float64 else v
    params = {k: cast(v) for k, v in sample.params.items()}
    return dataclasses.replace(sample, inputs=tuple(cast(v) for v in sample.inputs), params=params)


def pulled(record, sample, dtype):
    """Values and cotangents in a dtype, of the inputs that are arrays."""
    function, arrays = function_of(record, rounded(sample, np.float64))
    held = [np.asarray(v).astype(np.float16).astype(dtype) for v in arrays]
    y, pullback = vjp(function, *held)
    leaves, form = flatten(y)
    rng = np.random.default_rng(0)
    cotangents = [rng.uniform(0.5, 1.5, np.shape(v)).astype(np.float16).astype(np.asarray(v).dtype) for v in leaves]
    return leaves, pullback(form.build(cotangents))


def agree(found, expected, what, roundings=ROUNDINGS, wider=False):
    """Within a few roundings of the largest element: a sum of roundings, beside which small elements may cancel."""
    assert found.dtype == np.float16 or wider, (what, found.dtype)
    assert found.shape == expected.shape, what
    scale = np.max(np.abs(expected), initial=0.0)
    off = np.abs(found.astype(float) - expected)
    assert (off <= roundings * (EPS * scale + TINY)).all(), (what, found, expected)


@pytest.mark.parametrize("name", sorted(REGISTRY.keys() - WIDENED - LAPACK - REFUSED))
def test_each_primitive_has_the_values_and_gradients_of_double_precision_rounded(name):
    record = REGISTRY[name]
    for sample in record.samples(np.random.default_rng(zlib.crc32(name.encode()))):
        if "dtype" in sample.params or any(hasattr(v, "format") for v in sample.params.values()):
            continue  # its dtype is asked for; a sparse matrix of double precision
        if any(
            getattr(getattr(v, "dtype", None), "kind", "") == "c" for v in (*sample.inputs, *sample.params.values())
        ):
            continue  # complex numbers have no half precision
        with np.errstate(all="ignore"):
            try:
                found, expected = pulled(record, sample, np.float16), pulled(record, sample, np.float64)
            except TypeError as error:  # a power of a matrix, say, that goes through LAPACK
                assert "take single precision" in str(error)
                continue
        held = [v for v in (*sample.inputs, *sample.params.values()) if getattr(v, "dtype", None) == np.float64]
        if len(held) > len(found[1]):  # another input stays in double precision
            continue
        for what, ours, exact in zip(("value", "gradient"), found, expected):
            for a, b in zip(ours, exact):
                wider = name in WIDER and what == "value"
                what_of = f"{what} of {name}, {sample.params}"
                agree(np.asarray(a), np.asarray(b), what_of, LOOSER.get(name, ROUNDINGS), wider)


@pytest.mark.parametrize("name", sorted(LAPACK))
def test_what_lapack_refuses_says_what_to_write(name):
    with pytest.raises(
        TypeError, match=r"float16 is unsupported in linalg; take single precision, t.astype\('float32'\)"
    ):
        pulled(REGISTRY[name], next(iter(REGISTRY[name].samples(np.random.default_rng(0)))), np.float16)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: nn.functional.batch_norm(x, None, None, training=True),
        lambda x: nn.functional.batch_norm(x, np.full(4, 0.5, np.float32), np.full(4, 2.0, np.float32)),
        lambda x: nn.functional.layer_norm(x, 4),
        lambda x: nn.functional.rms_norm(x, 4, eps=1e-3),
        lambda x: nn.functional.group_norm(x, 2),
    ],
    ids=["batch norm", "batch norm in evaluation", "layer norm", "rms norm", "group norm"],
)
def test_a_norm_in_half_precision_is_that_of_double_precision_rounded(f):
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(6, 4)).astype(np.float16), rng.normal(size=(6, 4)).astype(np.float16)
    (y, pull), (exact, pull_exactly) = vjp(f, x), vjp(f, x.astype(float))
    agree(y, exact, "value")
    agree(pull(g)[0], pull_exactly(g.astype(float))[0], "gradient")


LONG = {
    "cumsum": lambda x: np.cumsum(x)[-1:] / 64,
    "cumprod": lambda x: np.cumprod(1 + (x[:99] - 0.4375) / 8)[-1:],
    "average": lambda x: np.average(x, weights=np.ones_like(x.detach())),
    "average by its weights": lambda x: np.average(np.ones(len(x), np.float16) * np.float16(3), weights=x + 2),
    "einsum": lambda x: np.einsum("i->", x) / 64,
    "einsum of columns": lambda x: np.einsum("ij,ij->j", x.reshape(-1, 2), x.reshape(-1, 2)) / 1024,
    "matmul": lambda x: x.reshape(2, -1) @ x / 1024 if x.ndim == 2 else x @ x / 1024,
    "vecdot": lambda x: np.vecdot(x, x) / 1024,
    "a bias": lambda x: ((x.reshape(-1, 4) + x[:4]) * 1.0).sum(0)[:1] / 1024,
}


@pytest.mark.parametrize("name", LONG)
def test_long_sums_in_half_precision_keep_their_digits(name):
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 8, 100_000) / 8).astype(np.float16)
    results = []
    for dtype in (np.float16, np.float64):
        t = Tensor(x.astype(dtype), requires_grad=True)
        y = LONG[name](t)
        results.append([np.atleast_1d(y.data), ad.gradients(y.sum(), t)[0].data])
    for a, b in zip(*results):
        np.testing.assert_allclose(a.astype(float), b, rtol=6 * EPS, atol=4 * TINY)


def test_the_gradient_of_what_was_broadcast_over_many_is_summed_in_single_precision():
    """A bias, a row, a scale and a number, each broadcast over 30000 rows whose sum half precision loses at 2048."""
    rows = np.full((30_000, 2), 0.25, np.float16)
    for shape in ((2,), (1, 2), ()):
        b = Tensor(np.ones(shape, np.float16), requires_grad=True)
        for y in (b + rows, b * rows * 4, np.maximum(b, rows)):
            (g,) = ad.gradients(y, b, np.full((30_000, 2), 0.5, np.float16))
            assert g.dtype == np.float16
            np.testing.assert_array_equal(g.data, np.full(shape, 15_000.0 * (1 if shape else 2)))

"""The engine on an array type that is not NumPy's: the same values as on NumPy's arrays, and nothing converted."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

import autodiff as ad
import nn  # noqa: F401 (its layers declare operations too)
from autodiff.primitive import REGISTRY, general
from autodiff.tensor import variable, wrap
from autodiff.transforms.forward import Pushforward, Unsupported
from tests.stand_in import StandIn, watching


def same(found, expected, what):
    assert (found is None) == (expected is None), what
    if found is not None:
        found, expected = found._ndarray if hasattr(found, "_ndarray") else found, expected
        expected = expected._ndarray if hasattr(expected, "_ndarray") else expected
        assert type(found) is StandIn, f"{what}: {type(found).__name__}"
        assert found.shape == expected.shape and found.dtype == expected.dtype, what
        np.testing.assert_allclose(found.value, expected, rtol=1e-12, atol=1e-12, err_msg=what)


def results(record, sample, kind):
    """The output, its gradients, the derivatives of those and a forward derivative, on arrays of a kind."""
    xs, inputs = [], []
    for x in sample.inputs:
        if isinstance(x, np.ndarray) and x.dtype.kind == "f":
            xs.append(variable(kind(x)))
            inputs.append(xs[-1])
        else:
            inputs.append(wrap(kind(x)) if isinstance(x, np.ndarray) else x)
    if sample.wrap:
        inputs = sample.wrap(*inputs)
        inputs = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
    y = (sample.function or general(record))(*inputs, **sample.params)
    if not y.requires_grad:
        return {"value": y}
    rng = np.random.default_rng(7)
    draw = lambda x: kind(np.asarray(rng.uniform(0.5, 1.5, x.shape).astype(x.dtype)))
    g, ts = draw(y), [draw(x) for x in xs]
    found = {"value": y}
    first = ad.gradients(y, xs, wrap(g), allow_unused=True)
    found |= {f"gradient {i}": d for i, d in enumerate(first)}
    if sample.smooth >= 1:
        (tangent,) = Pushforward([y], xs)(ts)
        found["tangent"] = tangent
    if sample.smooth >= 2:
        first = ad.gradients(y, xs, wrap(g), allow_unused=True, create_graph=True)
        kept = [(d, draw(d)) for d in first if d is not None and d.requires_grad]
        if kept:
            second = ad.gradients([d for d, _ in kept], xs, [wrap(u) for _, u in kept], allow_unused=True)
            found |= {f"second {i}": d for i, d in enumerate(second)}
    return found


NOT_YET = frozenset(
    """
    absolute_power arcsinh arctan arctan2 attention_weights avg_pool avg_pool_transposed batch_norm
    batch_norm_inference cholesky cofactor convolution convolution_by_weight convolution_without_bias
    cosine_of_angle cross_entropy cross_entropy_with_probabilities cumprod det digamma dropout dyads eigh einsum elu
    embedding embedding_pullback embedding_share funm_sym gamma gammaln group_norm gru gru_new hardshrink hardswish
    hardtanh hook_junction hypot index_max index_min index_set inverse_mills layer_norm leaky_relu linear_recurrence
    log_ndtr log_softmax logsumexp lstm lstm_cell masked_attention_weights max max_pool_choice max_pool_transposed
    min normalization_pullback partition polygamma power prelu prod projectors qr recurrence recurrence_transposed
    relu rnn_relu rnn_tanh sinc slogdet softmax softplus_of_beta softshrink solve_triangular sort sparse_matmul
    spectral_sum svd transposed_convolution transposed_convolution_without_bias triangle_wave
    """.split()
)
"""Operations whose forward function or rules still ask for NumPy's own arrays: an error, never another value."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xfail(strict=True, raises=Exception) if name in NOT_YET else ())
        for name in sorted(REGISTRY)
    ],
)
def test_each_operation_gives_the_same_on_another_array_type(name):
    record = REGISTRY[name]
    with np.errstate(all="ignore"):
        for sample in record.samples(np.random.default_rng(zlib.crc32(name.encode()))):
            try:
                expected = results(record, sample, np.array)
            except Unsupported:
                continue
            with watching() as log:
                found = results(record, sample, StandIn)
            assert found.keys() == expected.keys()
            for key, value in expected.items():
                same(found[key], value, f"{name}{sample.params}: {key}")
            assert log.conversions == 0, name

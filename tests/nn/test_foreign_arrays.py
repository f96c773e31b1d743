"""Layers and losses on an array type that is not NumPy's: the same values and gradients, and nothing converted."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff.tensor import variable, wrap
from tests.stand_in import StandIn, watching

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape)


def classes(n, *shape):
    return RNG.integers(0, n, shape)


D = {"dtype": "float64"}
IMAGE, SEQUENCE, ROWS = normal(2, 2, 5, 5), normal(5, 2, 3), normal(4, 3)
CASES = {
    "linear": (nn.Linear(3, 2, **D), ROWS),
    "mlp": (nn.MLP([3, 5, 2], **D), ROWS),
    "convolution": (nn.Conv2d(2, 3, 3, padding=1, **D), IMAGE),
    "convolution along one axis": (nn.Conv1d(2, 3, 3, **D), normal(2, 2, 5)),
    "transposed convolution": (nn.ConvTranspose2d(2, 3, 3, stride=2, **D), IMAGE),
    "max pooling": (nn.MaxPool2d(2), IMAGE),
    "average pooling": (nn.AvgPool2d(2, padding=1, count_include_pad=False), IMAGE),
    "adaptive average pooling": (nn.AdaptiveAvgPool2d(2), IMAGE),
    "lstm": (nn.LSTM(3, 4, num_layers=2, bidirectional=True, **D), SEQUENCE),
    "gru": (nn.GRU(3, 4, **D), SEQUENCE),
    "gru, reset first": (nn.GRU(3, 4, reset_after=False, **D), SEQUENCE),
    "rnn": (nn.RNN(3, 4, nonlinearity="relu", **D), SEQUENCE),
    "lstm cell": (nn.LSTMCell(3, 4, **D), ROWS),
    "gru cell": (nn.GRUCell(3, 4, **D), ROWS),
    "layer norm": (nn.LayerNorm(3, **D), ROWS),
    "rms norm": (nn.RMSNorm(3, **D), ROWS),
    "group norm": (nn.GroupNorm(2, 4, **D), normal(2, 4, 3)),
    "batch norm": (nn.BatchNorm1d(3, **D), ROWS),
    "batch norm, cumulative": (nn.BatchNorm1d(3, momentum=None, **D), ROWS),
    "batch norm, evaluating": (nn.BatchNorm1d(3, **D).eval(), ROWS),
    "embedding": (nn.Embedding(5, 3, padding_idx=0, **D), classes(5, 2, 3)),
    "dropout": (nn.Dropout(0.5, rng=np.random.default_rng(1)), ROWS),
    "attention": (nn.MultiheadAttention(4, 2, **D), *[normal(3, 2, 4)] * 3),
    "transformer": (nn.TransformerEncoderLayer(4, 2, 8, 0.0, activation="gelu", **D), normal(3, 2, 4)),
    "softmax": (nn.Softmax(dim=-1), ROWS),
    "mean squared error": (nn.MSELoss(), ROWS, normal(4, 3)),
    "huber": (nn.HuberLoss(), ROWS, normal(4, 3)),
    "cross-entropy": (nn.CrossEntropyLoss(), ROWS, classes(3, 4)),
    "binary cross-entropy": (nn.BCEWithLogitsLoss(), ROWS, RNG.random((4, 3))),
    "poisson": (nn.PoissonNLLLoss(), ROWS, RNG.random((4, 3))),
    "divergence": (nn.KLDivLoss(), ROWS, RNG.random((4, 3))),
    "hinge": (nn.HingeEmbeddingLoss(), ROWS, np.sign(normal(4, 3))),
    **{
        name: (getattr(nn, name)(), 3 * normal(4, 4))
        for name in "ReLU GELU SiLU Mish Softplus ELU SELU LeakyReLU Hardtanh LogSigmoid GLU Hardswish Tanh".split()
    },
}  # fmt: skip


def flat(results):
    return [y for r in results for y in (flat(r) if isinstance(r, tuple) else [r]) if y is not None]


def everything(model, inputs, kind):
    """Outputs, gradients by inputs and parameters, and buffers afterwards, on arrays of a kind."""
    model = deepcopy(model)
    for t in [*model.parameters(), *model.buffers()]:
        t.data = kind(np.array(t.data))
    inputs = [variable(kind(x)) if x.dtype.kind == "f" else wrap(kind(x)) for x in inputs]
    ys = flat([model(*inputs)])
    total = sum((y * y).sum() for y in ys)
    gradients = ad.gradients(total, [t for t in [*inputs, *model.parameters()] if t.requires_grad], allow_unused=True)
    return [*ys, *[g for g in gradients if g is not None], *model.buffers()]


@pytest.mark.parametrize("name", CASES)
def test_a_layer_gives_the_same_on_another_array_type(name):
    model, *inputs = CASES[name]
    with np.errstate(all="ignore"), watching() as log:
        pairs = list(zip(everything(model, inputs, np.array), everything(model, inputs, StandIn), strict=True))
    assert log.conversions == 0
    for expected, found in pairs:
        assert type(found._ndarray) is StandIn and found.dtype == expected.dtype
        np.testing.assert_allclose(found._ndarray.value, expected.data, rtol=1e-12, atol=1e-12)


def test_gelu_in_single_precision_is_the_same_up_to_its_approximation():
    x = np.linspace(-6, 6, 41).astype(np.float32)
    expected, found = (everything(nn.GELU(), [x], kind) for kind in (np.array, StandIn))
    for a, b in zip(expected, found):
        np.testing.assert_allclose(b._ndarray.value, a.data, rtol=1e-5, atol=1e-6)


def test_long_columns_in_single_precision_are_summed_in_double():
    x = (np.random.default_rng(4).normal(size=(50_001, 2)) + 0.5).astype(np.float32)
    layer = nn.BatchNorm1d(2)
    layer.running_mean.data = StandIn(np.zeros(2, np.float32))
    layer.running_var.data = StandIn(np.ones(2, np.float32))
    for p in layer.parameters():
        p.data = StandIn(p.data)
    layer(wrap(StandIn(x)))
    np.testing.assert_allclose(layer.running_mean._ndarray.value, 0.1 * x.mean(axis=0, dtype=float), rtol=1e-7)


def test_infinite_scores_of_attention_have_the_same_limits():
    q, k = np.array([[np.inf, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [1.0, 2.0], [-1.0, 0.0]])
    mask = np.array([[False, True, False], [True, True, True]])
    with np.errstate(all="ignore"):
        expected, found = (
            nn.functional.scaled_dot_product_attention(*[wrap(kind(a)) for a in (q, k, k, ~mask)])
            for kind in (np.array, StandIn)
        )
    np.testing.assert_array_equal(found._ndarray.value, expected.data)


def test_a_dropout_mask_is_one_draw_from_the_generator():
    layer = nn.Dropout(0.5, rng=np.random.default_rng(3))
    with watching() as log:
        layer(wrap(StandIn(np.ones((3, 4)))))
    assert log.calls == ["dropout_mask"]
    again = np.random.default_rng(3)
    again.random((3, 4), np.float32)
    assert layer.rng.bit_generator.state == again.bit_generator.state


def test_a_sequence_runs_and_is_swept_as_one_call_each():
    lstm, x = deepcopy(CASES["lstm"][0]), variable(StandIn(SEQUENCE))
    for p in lstm.parameters():
        p.data = StandIn(p.data)
    with watching() as log:
        lstm(x)[0].sum().backward()
    assert log.calls == ["lstm: steps"] * 4 + ["lstm: sweep"] * 4

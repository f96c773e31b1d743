"""`unrolled` and the opened layer against PyTorch in double precision and against the layer itself, in all options."""

import itertools

import numpy as np
import pytest
from scipy.special import expit

import autodiff as ad
import nn
from autodiff import Tensor
from autodiff.seeing.expansion import expanded
from autodiff.seeing.graph import results_behind

LAYERS = [
    (nn.RNN, {}), (nn.RNN, {"nonlinearity": "relu"}), (nn.LSTM, {}), (nn.GRU, {}),
    (nn.GRU, {"update": "new"}), (nn.GRU, {"reset_after": False}), (nn.GRU, {"update": "new", "reset_after": False}),
]  # fmt: skip
NAMES = ["RNN", "RNN-relu", "LSTM", "GRU", "GRU-new", "GRU-first", "GRU-new-first"]
OPTIONS = [
    {}, {"bias": False}, {"batch_first": True}, {"bidirectional": True}, {"num_layers": 2},
    {"num_layers": 2, "bidirectional": True, "learn_initial_state": True, "bias": False},
    {"num_layers": 3, "dropout": 0.5},
]  # fmt: skip


def leaves_of(layer, *tensors):
    return [*(x for x in tensors if x is not None), *layer.parameters()]


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o) or "plain")
@pytest.mark.parametrize("kind, own", LAYERS, ids=NAMES)
def test_unrolled_steps_have_the_layers_states_and_gradients(kind, own, options):
    rng = np.random.default_rng(0)
    layer = kind(3, 2, **own, **options, dtype="float64", rng=rng)
    x = Tensor(rng.normal(size=(4, 5, 3)), requires_grad=True)
    layer.rng = np.random.default_rng(1)
    output, final = layer(x)
    layer.rng = np.random.default_rng(1)
    (result, ends), rows = layer.unrolled(x)
    close(result.data, output.data)
    for a, b in zip(ends if isinstance(ends, tuple) else (ends,), final if isinstance(final, tuple) else (final,)):
        close(a.data, b.data)
    assert all(g is not None for row in rows for g in ad.gradients(result.sum(), [step["h"] for step in row]))
    directions = 1 + layer.bidirectional
    assert len(rows) == layer.num_layers * directions
    again = ad.concatenate([ad.stack([step["h"] for step in row]) for row in rows[-directions:]], axis=-1)
    again = again.swapaxes(0, 1) if layer.batch_first else again
    close(again.data, output.data)
    finals = final if isinstance(final, tuple) else (final,)
    ends = [
        ad.stack([row[0 if i % directions else -1][letter] for i, row in enumerate(rows)])
        for letter in "hc"[: len(finals)]
    ]
    for a, b in zip(ends, finals):
        close(a.data, b.data)
    g = rng.normal(size=output.shape)
    loss, copy = (output * g).sum(), (again * g).sum()
    for a, b in zip(finals, ends):
        loss, copy = loss + (a * a).sum(), copy + (b * b).sum()
    leaves = leaves_of(layer, x)
    for a, b in zip(ad.gradients(copy, leaves), ad.gradients(loss, leaves)):
        close(a.data, b.data)


@pytest.mark.parametrize("given", ["x", "states", "both", "neither"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o) or "plain")
@pytest.mark.parametrize("kind, own", LAYERS[:5], ids=NAMES[:5])
def test_an_opened_layer_has_the_layers_gradients(kind, own, options, given):
    rng = np.random.default_rng(0)
    layer = kind(3, 2, **own, **options, dtype="float64", rng=rng)
    x = Tensor(rng.normal(size=(4, 4, 3)), requires_grad=given in ("x", "both"))
    states, n = None, layer.num_layers * (1 + layer.bidirectional)
    if given in ("states", "both"):
        states = [Tensor(rng.normal(size=(n, 4, 2)), requires_grad=True) for _ in range(1 + (kind is nn.LSTM))]
    output, final = layer(x, states if states is None or len(states) > 1 else states[0])
    loss = (output * rng.normal(size=output.shape)).sum()
    for state in final if isinstance(final, tuple) else (final,):
        loss = loss + (state * state).sum()
    inside = expanded("test", loss, results_behind(loss, "test"), True)
    found = [node.op for node in results_behind(inside, "test")]
    assert not {"lstm", "gru", "gru_new", "rnn_tanh", "rnn_relu", "vector", "linear"} & set(found)
    assert found.count("matmul") == 8 * n
    close(inside.data, loss.data)
    leaves = leaves_of(layer, x if x.requires_grad else None, *(states or []))
    if states:  # in place of those that the layer learns
        leaves = [p for p in leaves if not any(p is own for name, own in layer.named_parameters() if name[1:] == "_0")]
    for a, b in zip(ad.gradients(inside, leaves), ad.gradients(loss, leaves)):
        close(a.data, b.data)


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "RNNCell"])
def test_an_opened_cell_has_the_cells_gradients(kind):
    rng = np.random.default_rng(0)
    cell = getattr(nn, kind)(3, 2, dtype="float64", rng=rng)
    x = Tensor(rng.normal(size=(5, 3)), requires_grad=True)
    result = cell(x)
    loss = sum((state * state).sum() for state in (result if isinstance(result, tuple) else (result,)))
    inside = expanded("test", loss, results_behind(loss, "test"), True)
    assert not {"lstm_cell", "gru_cell", "linear"} & {node.op for node in results_behind(inside, "test")}
    for a, b in zip(ad.gradients(inside, leaves_of(cell, x)), ad.gradients(loss, leaves_of(cell, x))):
        close(a.data, b.data)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_the_states_of_unrolled_are_torchs(kind, bidirectional):
    torch = pytest.importorskip("torch")
    ours = getattr(nn, kind)(3, 2, bidirectional=bidirectional, dtype="float64", rng=np.random.default_rng(0))
    theirs = getattr(torch.nn, kind)(3, 2, bidirectional=bidirectional, dtype=torch.float64)
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    x = np.random.default_rng(1).normal(size=(6, 4, 3))
    expected = theirs(torch.tensor(x))[0].detach().numpy()
    for d, row in enumerate(ours.unrolled(x)[1]):
        for t, step in enumerate(row):
            close(step["h"].data, expected[t, :, 2 * d : 2 * d + 2])
            if kind == "LSTM" and not d:
                c = theirs(torch.tensor(x[: t + 1]))[1][1].detach().numpy()[0]
                close(step["c"].data, c)


def test_the_gates_of_unrolled_are_their_formulas():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 5, 3))
    for kind, letters in ((nn.LSTM, "ifgo"), (nn.GRU, "rzn")):
        layer = kind(3, 2, dtype="float64", rng=rng)
        w, u, b, d = (getattr(layer, f"{name}_l0").data for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        h = np.zeros((5, 2))
        for t, step in enumerate(layer.unrolled(x)[1][0]):
            p, a = x[t] @ w.T + b, h @ u.T + d
            for k, letter in enumerate(letters):
                part = slice(2 * k, 2 * k + 2)
                if letter == "n":
                    expected = np.tanh(p[:, part] + step["r"].data * a[:, part])
                else:
                    expected = (np.tanh if letter == "g" else expit)(p[:, part] + a[:, part])
                close(step[letter].data, expected)
            h = step["h"].data


def test_a_single_sequence_is_unrolled_as_a_batch_of_one():
    layer = nn.LSTM(3, 2, dtype="float64", rng=np.random.default_rng(0))
    x = np.random.default_rng(0).normal(size=(4, 3))
    h = Tensor(np.ones((1, 2))), Tensor(np.ones((1, 2)))
    (output, _), (row,) = layer.unrolled(x, h)
    assert {step[letter].shape for step, letter in itertools.product(row, "ifgohc")} == {(1, 2)}
    close(row[-1]["h"].data[0], layer(x, h)[0].data[-1])
    close(output.data, layer(x, h)[0].data)


def test_unrolled_refuses_what_the_layer_refuses():
    layer = nn.GRU(3, 2)
    with pytest.raises(ValueError, match="got input of shape"):
        layer.unrolled(np.ones((4, 5, 2), "float32"))
    with pytest.raises(ValueError, match="got h_0 of shape"):
        layer.unrolled(np.ones((4, 5, 3), "float32"), np.ones((1, 4, 2), "float32"))


def test_mixed_dtypes_are_opened_in_the_wider_one():
    layer = nn.LSTM(3, 2, rng=np.random.default_rng(0))
    for x, dtype in ((np.ones((2, 1, 3)), "float64"), (np.ones((2, 1, 3), "float32"), "float32")):
        output, _ = layer(x)
        loss = output.sum()
        inside = expanded("test", loss, results_behind(loss, "test"), "lstm")
        assert inside.dtype == dtype
        for a, b in zip(ad.gradients(inside, list(layer.parameters())), ad.gradients(loss, list(layer.parameters()))):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a.data, b.data, rtol=1e-5, atol=1e-6)


def test_outputs_that_are_written_without_recording_leave_the_final_states_as_they_are():
    layer = nn.RNN(3, 2, rng=np.random.default_rng(0))
    with ad.no_grad():
        output, final = layer(np.ones((4, 1, 3), "float32"))
        before = final.numpy().copy()
        output[...] = 7.0
    assert (final.numpy() == before).all()
    output, final = layer(np.ones((4, 1, 3), "float32"))
    for x in (final.detach(), output.detach()):
        with pytest.raises(TypeError, match="shares its memory"):
            x[...] = 7.0


def test_a_product_with_the_hessian_of_a_layer_runs_its_linear_recurrence_once():
    layer = nn.LSTM(3, 2, dtype="float64", rng=np.random.default_rng(0))
    leaves = list(layer.parameters())
    gradients = ad.gradients((layer(np.ones((4, 5, 3)))[0] ** 2).sum(), leaves, create_graph=True)
    product = ad.gradients(gradients, leaves, [p.data for p in leaves], create_graph=True)
    ops = [node.op for node in results_behind(sum(p.sum() for p in product), "test")]
    assert ops.count("recurrence") == 1

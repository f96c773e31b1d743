"""Packed sequences and projected LSTMs against PyTorch in double precision."""

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff import Tensor
from nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

LENGTHS = [3, 5, 1, 5]


def pair(kind, **options):
    torch = pytest.importorskip("torch")
    ours = getattr(nn, kind)(3, 4, **options, dtype="float64", rng=np.random.default_rng(0))
    theirs = getattr(torch.nn, kind)(3, 4, **options, dtype=torch.float64)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    return ours, theirs, torch


def states_of(ours, rng, n):
    rows = ours.num_layers * (1 + ours.bidirectional)
    widths = {"h": getattr(ours, "proj_size", 0) or 4, "c": 4}
    found = [rng.normal(size=(rows, n, widths[name])) for name in "hc"[: 1 + isinstance(ours, nn.LSTM)]]
    return found if len(found) > 1 else found[0]


def nested(f, value):
    return tuple(f(v) for v in value) if isinstance(value, (list, tuple)) else f(value)


def compare(ours, theirs, torch, run, x, states):
    """Results, gradients and Hessian-vector products; `run` of a layer, the input and states."""
    a = run(ours, Tensor(x, requires_grad=True), nested(Tensor, states))
    b = run(theirs, torch.tensor(x, requires_grad=True), nested(torch.tensor, states))
    rng, total, reference = np.random.default_rng(5), 0, 0
    for mine, other in zip(a, b, strict=True):
        np.testing.assert_allclose(mine.numpy(), other.detach().numpy(), rtol=1e-9, atol=1e-12)
        g = rng.normal(size=mine.shape)
        total, reference = total + (mine * g).sum(), reference + (other * torch.tensor(g)).sum()
    leaves, others = list(ours.parameters()), list(theirs.parameters())
    ds = ad.gradients(total, leaves, create_graph=True)
    es = torch.autograd.grad(reference, others, create_graph=True)
    again, other = 0, 0
    for d, e in zip(ds, es):
        np.testing.assert_allclose(d.numpy(), e.detach().numpy(), rtol=1e-9, atol=1e-11)
        v = rng.normal(size=d.shape)
        again, other = again + (d * v).sum(), other + (e * torch.tensor(v)).sum()
    for d, e in zip(ad.gradients(again, leaves), torch.autograd.grad(other, others)):
        np.testing.assert_allclose(d.numpy(), e.numpy(), rtol=1e-7, atol=1e-9)


OPTIONS = [{}, {"num_layers": 2, "bidirectional": True, "batch_first": True}]


@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "stacked"])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_packed_sequences_run_as_torchs(kind, options):
    ours, theirs, torch = pair(kind, **options)
    first = ours.batch_first
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, 5, 3) if first else (5, 4, 3))

    def run(layer, x, states):
        rnn = torch.nn.utils.rnn if isinstance(layer, torch.nn.Module) else nn.utils.rnn
        packed = rnn.pack_padded_sequence(x, LENGTHS, batch_first=first, enforce_sorted=False)
        output, ends = layer(packed, states)
        padded, lengths = rnn.pad_packed_sequence(output, batch_first=first, padding_value=0.5)
        assert list(lengths) == LENGTHS
        return padded, *(ends if isinstance(ends, tuple) else (ends,))

    compare(ours, theirs, torch, run, x, states_of(ours, rng, 4))


@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "stacked"])
def test_projected_lstms_are_torchs(options):
    ours, theirs, torch = pair("LSTM", proj_size=2, **options)
    rng = np.random.default_rng(1)

    def run(layer, x, states):
        output, ends = layer(x, states)
        return output, *ends

    compare(ours, theirs, torch, run, rng.normal(size=(4, 4, 3)), states_of(ours, rng, 4))


def test_what_is_in_the_padding_has_no_influence():
    layer = nn.LSTM(2, 3, bidirectional=True, dtype="float64", rng=np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(5, 4, 2))
    x[np.arange(5)[:, None] >= LENGTHS] = np.nan
    x = Tensor(x, requires_grad=True)
    output, (h, _) = layer(pack_padded_sequence(x, LENGTHS, enforce_sorted=False))
    for n, length in enumerate(LENGTHS):
        alone, (end, _) = layer(x[:length, n : n + 1])
        np.testing.assert_allclose(pad_packed_sequence(output)[0].numpy()[:length, n], alone.numpy()[:, 0], rtol=1e-12)
        np.testing.assert_allclose(h.numpy()[:, n], end.numpy()[:, 0], rtol=1e-12)
    gradient = ad.gradients((output.data**2).sum(), x)[0].numpy()
    assert (np.isnan(x.numpy()) == (gradient == 0)).all() and np.isfinite(gradient).all()


def test_a_projected_lstm_learns_its_initial_states_and_is_unrolled():
    layer = nn.LSTM(3, 4, proj_size=2, learn_initial_state=True, dtype="float64", rng=np.random.default_rng(0))
    assert layer.h_0.shape == (1, 1, 2) and layer.c_0.shape == (1, 1, 4)
    assert repr(layer).startswith("LSTM(3, 4, proj_size=2, learn_initial_state=True)") or "proj_size=2" in repr(layer)
    x = np.ones((5, 2, 3))
    (output, _), (row,) = layer.unrolled(x)
    np.testing.assert_allclose(output.numpy(), layer(x)[0].numpy(), rtol=1e-12)
    assert row[0]["h"].shape == (2, 2) and row[0]["c"].shape == (2, 4)


def test_what_recurrent_layers_return_is_refused_where_one_tensor_belongs():
    with pytest.raises(TypeError, match=r"nn.Sequential\(rnn, lambda pair: pair\[0\], layer\)"):
        nn.Sequential(nn.LSTM(3, 2), nn.Linear(2, 1))(np.ones((4, 3), "float32"))
    packed = pack_padded_sequence(np.ones((2, 1, 3), "float32"), [2])
    with pytest.raises(TypeError, match=r"got a PackedSequence .* packed._replace\(data=layer\(packed.data\)\)"):
        nn.Linear(3, 2)(packed)
    assert nn.Sequential(nn.LSTM(3, 2), lambda pair: pair[0], nn.Linear(2, 1))(np.ones((4, 3), "float32")).shape == (
        4,
        1,
    )
    with pytest.raises(ValueError, match="proj_size is less than hidden_size=2, not 2"):
        nn.LSTM(3, 2, proj_size=2)
    with pytest.raises(TypeError, match="unrolled takes sequences of one length"):
        nn.LSTM(3, 2).unrolled(packed)
    with pytest.raises(ValueError, match=r"got h_0 of shape \(1, 1, 3\), expects .* proj_size\) = \(1, 1, 2\)"):
        nn.LSTM(3, 3, proj_size=2)(np.ones((4, 1, 3), "float32"), (np.ones((1, 1, 3)), np.ones((1, 1, 3))))
